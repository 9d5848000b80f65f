"""Which kernel computes attention: what is installed and fits, behind one callable.

A backend is a function (q, k, v, mask) -> out, all `b k l d`, that a network's attention layers are given from outside.
PyTorch's own come first and need no build; flash-attn and SageAttention are used where they can be imported and
are never required. Sage rounds q and k to 8 bits, so it is never chosen by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from longtake.errors import MissingExtraError, RequestError, nearest
from longtake.model.dit import Attend, Attention, attend

_EXTERNAL = {"flash": "flash_attn", "sage": "sageattention"}
CHOICES = ("auto", "sdpa", "cudnn", "flex", *_EXTERNAL)


def use_attention(network: nn.Module, choice: str) -> None:
    """Give every attention layer below `network` this backend. Raises RequestError or MissingExtraError."""
    chosen = backend(choice)
    for module in network.modules():
        if isinstance(module, Attention):
            module.attend = chosen


def backend(choice: str) -> Attend:
    """The function of this name. "auto" is the model's own: explicit products for few tokens on a CPU, else SDPA.

    Raises RequestError for an unknown name, MissingExtraError for a package that is not installed.
    """
    if choice not in CHOICES:
        raise RequestError(
            f"unknown attention {choice!r}; choose one of: {', '.join(CHOICES)}{nearest(choice, CHOICES)}"
        )
    if package := _EXTERNAL.get(choice):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                f"--attention {choice} needs the package {package}; install it or use auto"
            )
        return {"flash": _flash, "sage": _sage}[choice]
    if choice == "cudnn" and not torch.cuda.is_available():
        raise RequestError("--attention cudnn needs a CUDA device; use auto")
    return {"auto": attend, "sdpa": _sdpa, "cudnn": _cudnn, "flex": _flex}[choice]


def available() -> list[str]:
    """The choices that would work here."""
    return [
        choice
        for choice in CHOICES
        if not (choice == "cudnn" and not torch.cuda.is_available())
        and not (choice in _EXTERNAL and importlib.util.find_spec(_EXTERNAL[choice]) is None)
    ]


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _cudnn(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    ranked = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    context: AbstractContextManager[Any] = sdpa_kernel([*ranked, SDPBackend.MATH], set_priority=True)
    with context:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


_compiled_flex: Callable[..., Any] | None = None


def _flex(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """FlexAttention (PyTorch): a mask is never written out, blocks it empties are skipped. Compiled on CUDA."""
    global _compiled_flex
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    attention: Callable[..., Any] = flex_attention
    if q.device.type == "cuda":
        _compiled_flex = _compiled_flex or torch.compile(flex_attention, dynamic=False)
        attention = _compiled_flex
    block_mask = None
    if mask is not None:

        def may_look(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            assert mask is not None
            return mask[i, j]

        block_mask = create_block_mask(may_look, None, None, q.shape[-2], k.shape[-2], device=str(q.device))
    out: Tensor = attention(q, k, v, block_mask=block_mask)
    return out


def _flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    from flash_attn import flash_attn_func  # type: ignore[import-not-found]

    if mask is not None or q.dtype not in (torch.bfloat16, torch.float16):
        return _sdpa(q, k, v, mask)
    out: Tensor = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def _sage(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    from sageattention import sageattn  # type: ignore[import-not-found]

    if mask is not None or q.dtype not in (torch.bfloat16, torch.float16):
        return _sdpa(q, k, v, mask)
    out: Tensor = sageattn(q, k, v, tensor_layout="HND")
    return out
