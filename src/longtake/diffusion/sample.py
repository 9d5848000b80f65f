"""The one sampler: steps along the flow, where any latent frame may be given instead of made.

What is given (nothing, a still, a prefix, a suffix, both ends) is a `Known` mask with a noise level of its
own; every task of `film` is such a mask.  The network is reached through a callable that estimates clean
latents, so this file needs no model; `predictor` builds that callable from one, with guidance.

Latents stay on the CPU in float32 here and the predictor moves them, so that a seed draws the same noise
on every device.  Axes: latents `b c f h w`, noise levels `b f`, text `b l d`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from einops import reduce, repeat
from torch import Tensor

from longtake.diffusion import flow
from longtake.diffusion import solver as solvers
from longtake.model.causal import Causal
from longtake.model.device import autocast

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_s [b c f h w], sigma [b f]) -> x0 of the same shape."""
DenoiseAt = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The same with the temporal positions (int, [f]; 0 is the image slot) as third argument."""


@dataclass(frozen=True)
class Known:
    """Latent frames that are given.  They stay at noise level `sigma` meanwhile and come out unchanged.

    latents: b c f h w, read only where `mask` (bool, f) is true.
    sigma: above 0 the network trusts them less, which keeps errors of a long rollout from adding up.
    """

    latents: Tensor
    mask: Tensor
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool or self.mask.shape != self.latents.shape[2:3]:
            raise ValueError(
                f"the mask must be bool of shape [{self.latents.shape[2]}], one value a latent frame; "
                f"got {self.mask.dtype} {list(self.mask.shape)}"
            )
        if bool(self.mask.all()):
            raise ValueError("every frame is known, nothing is left to make: leave at least one frame open")
        if not 0 <= self.sigma < 1:
            raise ValueError(f"the noise level of known frames must lie in [0, 1); got {self.sigma}")


@dataclass(frozen=True)
class Start:
    """Begin from these latents (b c f h w) noised to `strength` in (0, 1], not from pure noise.

    SDEdit, Meng et al. 2021 (arXiv:2108.01073): low strength keeps more of the original.
    """

    latents: Tensor
    strength: float


@dataclass(frozen=True)
class Limits:
    """Per-channel mean and std (both b c 1 1 1) that latents may leave only by `tolerance` (of the std)."""

    mean: Tensor
    std: Tensor
    tolerance: float = 0.15

    @classmethod
    def of(cls, latents: Tensor, tolerance: float = 0.15) -> Limits:
        return cls(*_statistics(latents), tolerance)

    def clamp(self, latents: Tensor) -> Tensor:
        """Shift and scale each channel by as little as brings its mean and std within the limits."""
        mean, std = _statistics(latents)
        margin = self.tolerance * self.std
        wanted_mean = mean.clamp(self.mean - margin, self.mean + margin)
        wanted_std = std.clamp(self.std - margin, self.std + margin)
        return (latents - mean) * (wanted_std / std.clamp(min=1e-6)) + wanted_mean


@dataclass(frozen=True)
class Step:
    """Step `index` of `total` is done: the clean latents as estimated so far (in the last, the result)."""

    index: int
    total: int
    latents: Tensor


def sample(
    denoise: Denoise,
    shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    known: Known | None = None,
    start: Start | None = None,
    limits: Limits | None = None,
    steps: int = 8,
    shift: float = 2.5,
    solver: solvers.Name = "euler",
    distilled: Sequence[float] = (),
    noise: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Step]:
    """Make latents of `shape` (b c f h w) in `steps` steps of the solver; close the iterator to stop early.

    Yields a `Step` after each; the last holds the result, with known frames bit for bit as given.
    `generator` is a CPU generator and alone decides the noise, which `noise` may change (both b c f h w) before
    the first step; `limits` correct the frames made at the end.
    """
    if len(shape) != 5:
        raise ValueError(f"the shape must be (b, c, f, h, w); got {shape}")
    for guide in (known, start):
        if guide is not None and guide.latents.shape != shape:
            raise ValueError(f"given latents have shape {tuple(guide.latents.shape)}, expected {shape}")
    batch, frames = shape[0], shape[2]
    levels = solvers.levels(solver, steps, shift, 1.0 if start is None else start.strength, distilled)
    solve = solvers.solver(solver, generator)
    x = torch.randn(shape, generator=generator)
    x = x if noise is None else noise(x)
    if start is not None:
        x = flow.add_noise(start.latents.float().cpu(), x, levels[:1].expand(batch, frames))
    is_known = torch.zeros(frames, dtype=torch.bool)
    given = held = x
    if known is not None:
        is_known, given = known.mask.cpu(), known.latents.float().cpu()
        blur = torch.randn(shape, generator=generator)
        held = flow.add_noise(given, blur, torch.full((batch, frames), known.sigma))
    over_known = is_known[:, None, None]  # f 1 1
    known_level = torch.tensor(0.0 if known is None else known.sigma)

    for index, (now, following) in enumerate(pairwise(levels), start=1):
        x = torch.where(over_known, held, x)
        sigma = repeat(torch.where(is_known, known_level, now), "f -> b f", b=batch)
        x0 = denoise(x, sigma)
        x = solve.step(x, x0, now.item(), following.item())
        if index == steps and limits is not None:
            x0 = x0.clone()
            x0[:, :, ~is_known] = limits.clamp(x0[:, :, ~is_known])
        yield Step(index, steps, torch.where(over_known, given, x0))


def predictor(
    models: Models, tokens: Tensor, negative_tokens: Tensor | None = None, guidance: float = 3.0
) -> DenoiseAt:
    """Bind a caption to the network: a denoiser with classifier-free guidance, both branches in one forward.

    `tokens` and `negative_tokens` are int, b l.  The text is encoded here, once.  At guidance 1 the negative
    branch is not computed.  Ho & Salimans 2022 (arXiv:2207.12598): x0 = x0_neg + guidance (x0_pos - x0_neg).
    """
    guided = guidance != 1
    if guided:
        if negative_tokens is None:
            raise ValueError(f"guidance {guidance} needs negative_tokens; use guidance=1 to go without")
        tokens = torch.cat([tokens, negative_tokens.expand_as(tokens)])
    device = next(models.dit.parameters()).device
    prediction: flow.Prediction = models.config.dit.prediction
    recipe = models.config.sampling
    boundary = getattr(models.config, "boundary", None) or 0.0
    block = getattr(models.config, "block", None)
    network = models.dit if block is None else Causal(models.dit, block)
    with torch.no_grad(), autocast(device):
        text = models.text(tokens.to(device))  # b l d, twice the batch when guided

    def denoise(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        x_s, level = x.to(device), sigma.to(device)
        if guided:
            x_s, level = torch.cat([x_s, x_s]), torch.cat([level, level])
        with torch.no_grad(), autocast(device):
            timestep = 1000 * level
            if recipe.solver == "unipc":  # whole timesteps, as in training
                timestep = timestep.floor()
            output: Tensor = network(x_s, timestep, text, positions.to(device))
        x0 = flow.to_x0(output.float(), x_s, level, prediction)
        if guided:
            positive, negative = x0.chunk(2)
            late = recipe.late_guidance if level.max() < boundary else 1.0
            x0 = negative + late * guidance * (positive - negative)
        return x0.to(x.device)

    return denoise


def _statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std of each channel, both b c 1 1 1."""
    mean = reduce(latents, "b c f h w -> b c 1 1 1", "mean")
    return mean, reduce((latents - mean).square(), "b c f h w -> b c 1 1 1", "mean").sqrt()
