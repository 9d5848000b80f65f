"""A tiny instance of the noise process of `diffusion.flow`, trained in seconds: for experiments about training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from longtake.diffusion import flow

SHIFT = 1.0
"""So few values need no more noise than the logit-normal draw gives (Esser et al. 2024 shift by resolution)."""
EULER_STEPS = 24
WAVES = 16


@dataclass(frozen=True)
class Recipe:
    """How a tiny model is trained. AdamW; the rate falls to 0 along a half cosine."""

    steps: int = 500
    batch: int = 64
    width: int = 128
    rate: float = 2e-3


class TinyFlow(nn.Module):
    """x_s (b k) and sigma (b) -> x0 (b k): a residual perceptron."""

    def __init__(self, values: int, recipe: Recipe, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.enter = nn.Linear(values + 2 * WAVES, recipe.width)
            self.blocks = nn.ModuleList(
                nn.Sequential(
                    nn.LayerNorm(recipe.width),
                    nn.Linear(recipe.width, recipe.width),
                    nn.SiLU(),
                    nn.Linear(recipe.width, recipe.width),
                )
                for _ in range(2)
            )
            self.leave = nn.Linear(recipe.width, values)
        self.values = values

    def forward(self, x_s: Tensor, sigma: Tensor) -> Tensor:
        waves = sigma[:, None] * math.pi * torch.arange(1, WAVES + 1) / 2
        hidden = self.enter(torch.cat([x_s, waves.sin(), waves.cos()], 1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return torch.as_tensor(self.leave(hidden))


def train(network: TinyFlow, latents: Tensor, recipe: Recipe, seed: int) -> None:
    """Fit `network` to `latents` n k, in place; the same seed gives the same model."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, fused=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    for _ in range(recipe.steps):
        x = _as_video(latents[torch.randint(len(latents), (recipe.batch,), generator=generator)])
        sigma, carries_loss = flow.draw_sigmas(recipe.batch, 1, generator, SHIFT)
        noise = torch.randn(x.shape, generator=generator)
        x_s = flow.add_noise(x, noise, sigma)
        x0 = _as_video(network(x_s.flatten(1), sigma[:, 0]))
        loss = flow.loss(x0, x, sigma, carries_loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()


@torch.no_grad()
def draw(network: TinyFlow, count: int, generator: torch.Generator) -> Tensor:
    """Samples, count k, by Euler steps."""
    x = _as_video(torch.randn(count, network.values, generator=generator))
    levels = flow.schedule(EULER_STEPS, SHIFT)
    for here, after in pairwise(levels):
        sigma, following = here.expand(count, 1), after.expand(count, 1)
        x0 = _as_video(network(x.flatten(1), sigma[:, 0]))
        x = flow.step(x, flow.to_velocity(x0, x, sigma, "x0"), sigma, following)
    return x.flatten(1)


def _as_video(values: Tensor) -> Tensor:
    """b k -> b k 1 1 1: the axes of `flow`."""
    return values[:, :, None, None, None]
