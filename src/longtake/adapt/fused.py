"""A linear layer and its activation in one kernel, where a CPU has one: oneDNN's, on weights as they lie.

What comes between the two is never written out: a feed-forward holds half as much, and GELU, which PyTorch computes
apart and slowly in its tanh form, costs nothing. The result differs by one rounding: the activation sees what it is
given in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from longtake.model.dit import Gelu


def fuse_activations(network: nn.Module) -> None:
    """Let every GELU below `network` be computed by the layer before it. Where that cannot be, nothing changes."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for module in network.modules():
        if isinstance(module, Gelu):
            module.__dict__["forward"] = _fused(module, module.forward)


def _fused(module: Gelu, apart: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        layer = module.proj
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if not _can(layer, x.device, dtype):
            return apart(x)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype), "gelu", [], module.approximate
        )
        return out

    return forward


def _can(layer: nn.Module, device: torch.device, dtype: torch.dtype) -> bool:
    """A plain layer without adapters, on a CPU that multiplies this dtype, and nothing to train."""
    plain = type(layer) is nn.Linear and layer.bias is not None and not layer._forward_hooks
    if not plain or device.type != "cpu" or torch.is_grad_enabled():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
