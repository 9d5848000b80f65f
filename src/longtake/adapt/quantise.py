"""Linear layers that keep their weights in fewer bits: int8 or float8 with one scale a row, or bfloat16.

Only the linear layers of the repeated blocks are changed: nearly all of the weights, and none of what time, text and
output hang on. A weight is brought back to the dtype of the activations in every call, so activations keep full
precision and any device will do. Symmetric rounding to the nearest, scale = largest magnitude of the row; the formats:
Dettmers et al. 2022 (arXiv:2208.07339, section 2), Micikevicius et al. 2022 (arXiv:2209.05433).
Axes: x ... i, weight o i, scale o.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.adapt.plan import BYTES, Precision
from longtake.errors import RequestError, nearest

_STORED = {"fp8": (torch.float8_e4m3fn, 448.0), "int8": (torch.int8, 127.0)}


class QuantisedLinear(nn.Module):
    """A linear layer whose weight is stored in 8 bits with a float32 scale for each row."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None
    bits = 8

    def __init__(self, linear: nn.Linear, precision: Precision) -> None:
        super().__init__()
        dtype, largest = _STORED[precision]
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=1e-12) / largest
        scaled = weight / scale[:, None]
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight", (scaled.round() if dtype == torch.int8 else scaled).to(dtype))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """x ... i -> ... o in the dtype of x, or of autocast where that is on."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        out = F.linear(x.to(dtype), self.weight.to(dtype)) * self.scale.to(dtype)
        return out if self.bias is None else out + self.bias.to(dtype)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.weight.dtype}"


def quantise(blocks: nn.Module, precision: Precision) -> None:
    """Bring the linear layers below `blocks` to this precision, in place and one at a time.

    Weights that are mapped from a file are read as they are turned, so the whole model is never held in full
    precision. Raises RequestError for another precision, ValueError for layers that are quantised already.
    """
    if precision not in get_args(Precision):
        choices = ", ".join(get_args(Precision))
        raise RequestError(
            f"unknown precision {precision!r}; choose one of: {choices}{nearest(precision, BYTES)}"
        )
    for parent in list(blocks.modules()):
        if isinstance(parent, QuantisedLinear):
            raise ValueError(
                "these layers are quantised already; load the model again to choose another precision"
            )
        for name, child in list(parent.named_children()):
            if not isinstance(child, nn.Linear):
                continue
            if precision in _STORED:
                setattr(parent, name, QuantisedLinear(child, precision))
            else:
                child.to(torch.bfloat16 if precision == "bf16" else torch.float32)


def weight_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, as they are stored."""
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
