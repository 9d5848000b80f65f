"""Which optimiser moves which parameter: Muon for inner matrices and convolutions, AdamW for the rest.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; the update is scaled to AdamW's size
(Liu et al. 2025, arXiv:2502.16982, equation 4), so both take rates of the same order.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from longtake.model.vae import VAE


@dataclass(frozen=True)
class OptimConfig:
    """Peak rates; the loop's warm-up and final ramp multiply them."""

    muon_rate: float = 4e-3
    adam_rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)


def is_block_matrix(name: str, parameter: Tensor) -> bool:
    """True for the weights of linear layers inside the repeated blocks: what Muon is meant for."""
    return parameter.ndim == 2 and "blocks." in name and name.endswith("weight") and "norm" not in name


def muon_and_adamw(modules: Mapping[str, nn.Module], config: OptimConfig) -> dict[str, torch.optim.Optimizer]:
    """Optimisers over every trainable parameter of `modules`, each parameter in exactly one of them."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for module in modules.values():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                (matrices if is_block_matrix(name, parameter) else others).append(parameter)
    optimizers: dict[str, torch.optim.Optimizer] = {}
    if matrices:
        optimizers["muon"] = torch.optim.Muon(
            matrices,
            lr=config.muon_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
    if others:
        optimizers["adamw"] = adamw(others, config.adam_rate, config)
    return optimizers


class KernelMuon(torch.optim.Muon):
    """Muon for convolutions: a kernel o i h w is the matrix o (h w i) of its channels-last storage.

    The matrices share the kernels' storage, so a step moves the kernels themselves. Jordan et al. treat the
    kernels of an image classifier the same way. Raises ValueError for a kernel that is not channels-last.
    """

    def __init__(self, kernels: Sequence[nn.Parameter], config: OptimConfig) -> None:
        self._kernels = list(kernels)
        matrices = []
        for kernel in self._kernels:
            matrix = kernel.detach().permute(0, 2, 3, 1).reshape(len(kernel), -1)
            if matrix.data_ptr() != kernel.data_ptr():
                raise ValueError(f"the kernel of shape {list(kernel.shape)} is not stored channels-last")
            matrices.append(nn.Parameter(matrix))
        super().__init__(
            matrices,
            lr=config.muon_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )

    def step(self, closure: Any = None) -> Any:
        for kernel, matrix in zip(self._kernels, self.param_groups[0]["params"], strict=True):
            gradient = kernel.grad
            matrix.grad = (
                None if gradient is None else gradient.permute(0, 2, 3, 1).reshape(len(gradient), -1)
            )
        result = super().step(closure)  # type: ignore[no-untyped-call]
        for matrix in self.param_groups[0]["params"]:
            matrix.grad = None
        return result

    def zero_grad(self, set_to_none: bool = True) -> None:
        for kernel in self._kernels:
            kernel.grad = None


def muon_for_convolutions(vae: VAE, config: OptimConfig) -> dict[str, torch.optim.Optimizer]:
    """Muon over the inner kernels of an autoencoder, AdamW over those that touch pixels or latents, and biases."""
    ends = [vae.encoder[1], vae.encoder[-1], vae.decoder[0], vae.decoder[-2]]
    outer = {id(parameter) for module in ends for parameter in module.parameters()}
    moving = [p for p in vae.parameters() if p.requires_grad]
    kernels = [p for p in moving if p.ndim == 4 and min(p.shape[:2]) > 1 and id(p) not in outer]
    taken = {id(kernel) for kernel in kernels}
    others = [p for p in moving if id(p) not in taken]
    return {"muon": KernelMuon(kernels, config), "adamw": adamw(others, config.adam_rate, config)}


def adamw(parameters: Sequence[Tensor], rate: float, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW in one fused pass over the parameters (CPU and CUDA)."""
    return torch.optim.AdamW(
        list(parameters), lr=rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


class Average:
    """Exponential moving average of the weights, warmed up: decay at update i is min(decay, i / (i + 20))."""

    def __init__(self, modules: Mapping[str, nn.Module], decay: float = 0.999) -> None:
        self.decay = decay
        self.modules = {name: copy.deepcopy(m).eval().requires_grad_(False) for name, m in modules.items()}
        self._sources: list[Tensor] = [p for m in modules.values() for p in m.parameters()]
        self._targets: list[Tensor] = [p for m in self.modules.values() for p in m.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the current weights; `step` counts updates from 1."""
        decay = min(self.decay, step / (step + 20))
        torch._foreach_lerp_(self._targets, self._sources, 1 - decay)
