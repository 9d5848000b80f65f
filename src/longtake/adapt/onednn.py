"""Linear layers and attention by oneDNN's products, where a CPU has none that is faster; on weights as they lie.

- PyTorch gives float32 products on x86 to MKL, which has no AVX-512 code for processors that are not Intel's: there
  oneDNN takes half the time.
- What comes between a layer and its GELU is never written out: a feed-forward holds half as much, and GELU, which
  PyTorch computes apart and slowly in its tanh form, costs nothing. The activation sees what it is given in float32.
  Nor is the wide middle of a feed-forward held for all tokens at once.
- PyTorch's fused attention for CPUs multiplies in bfloat16 by AMX alone, and elsewhere by MKL in float32. Here scores
  are written out for some queries of one head at a time, few enough for the cache: products of queries and keys are in
  float32, as the fused ones are, those with values in the dtype of the values.

Results differ by rounding alone, and are as near to the exact ones.
Axes: heads b k l d.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from longtake.model.dit import Attend, Attention, FeedForward, Gelu

SCORES = 2**19
"""As many scores are written out at once: 2 MB."""
TOKENS = 1024
"""As many tokens go through a feed-forward at once."""


def use_products(network: nn.Module, attention: bool = True) -> None:
    """Let every linear layer below `network`, with its GELU where one follows, be computed so; and its attention.

    Adapters, weights that are swapped or trained, autocast: all work on. Where oneDNN cannot, nothing changes.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__dict__["forward"] = _linear(module, module.forward)
        elif isinstance(module, Gelu):
            module.__dict__["forward"] = _activated(module, module.forward)
        elif isinstance(module, FeedForward):
            module.__dict__["forward"] = _in_pieces(module.forward)
        elif isinstance(module, Attention) and attention:
            module.attend = attending(module.attend)


def _linear(layer: nn.Linear, plain: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        return _product(x, layer, "none", "") if _can(x, layer) else plain(x)

    return forward


def _activated(module: Gelu, apart: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        layer = module.proj
        bare = type(layer) is nn.Linear and not layer._forward_hooks  # an adapter acts before the activation
        return _product(x, layer, "gelu", module.approximate) if bare and _can(x, layer) else apart(x)

    return forward


def _in_pieces(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def pieces(x: Tensor) -> Tensor:
        tokens = x.shape[:-1].numel()
        if tokens <= TOKENS or x.device.type != "cpu" or torch.is_grad_enabled():
            return forward(x)
        some = x.reshape(tokens, -1).split(TOKENS)
        return torch.cat([forward(piece) for piece in some]).view(*x.shape[:-1], -1)

    return pieces


def _product(x: Tensor, layer: nn.Linear, activation: str, form: str) -> Tensor:
    dtype = _dtype(x)
    bias = None if layer.bias is None else layer.bias.to(dtype)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.to(dtype), layer.weight.to(dtype), bias, activation, [], form
    )
    return out


def _can(x: Tensor, layer: nn.Linear) -> bool:
    """On a CPU that multiplies this dtype, and nothing to train."""
    if x.device.type != "cpu" or torch.is_grad_enabled():
        return False
    dtype = _dtype(x)
    return _multiplies(dtype) and (layer.weight.dtype == dtype or torch.is_autocast_enabled("cpu"))


def _dtype(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _multiplies(dtype: torch.dtype) -> bool:
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def attending(attend: Attend) -> Attend:
    """This attention, computed by products of a head's queries, some at a time, where that is faster."""

    def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        fused = v.dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()
        if v.device.type != "cpu" or torch.is_grad_enabled() or fused or not _multiplies(v.dtype):
            return attend(q, k, v, mask)
        return by_heads(q, k, v, mask)

    return attention


def by_heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of q (b k l d) over k and v (b k s d). `mask` broadcasts to b k l s: boolean, true where a query may
    look, or scores to be added."""
    batch, heads, length, width = q.shape
    seen = k.shape[2]
    rows = max(32, min(256, SCORES // seen))
    if mask is not None:
        mask = mask.expand(batch, heads, length, seen)
    out = torch.empty(batch, length, heads, width, dtype=v.dtype, device=v.device).transpose(1, 2)
    multiply = torch.ops.mkldnn._linear_pointwise  # (x, y) -> x y^T
    for b in range(batch):
        for head in range(heads):
            keys = k[b, head].float() * width**-0.5
            values = v[b, head].t().contiguous()
            for begin in range(0, length, rows):
                some = slice(begin, begin + rows)
                scores = multiply(q[b, head, some].float(), keys, None, "none", [], "")
                if mask is not None:
                    add = mask[b, head, some]
                    scores = (
                        scores.masked_fill_(~add, -torch.inf) if add.dtype == torch.bool else scores.add_(add)
                    )
                weights = torch.softmax(scores, -1).to(v.dtype)
                out[b, head, some] = multiply(weights, values, None, "none", [], "")
    return out
