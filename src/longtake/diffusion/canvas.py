"""A canvas wider than the picture that a network knows, denoised through windows of that width, each with its words.

Every step asks the network once a window and joins the answers where windows overlap (MultiDiffusion, Bar-Tal et al.
2023, arXiv:2302.08113). So each of several characters is made by a caption of its own, which a small network
understands, and a camera has somewhere to turn to. Latents b c f h w; columns are those of latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.diffusion.sample import DenoiseAt

FALL = 2.0
"""A column belongs to the window whose middle is nearest; one column farther counts e^-FALL."""
EDGE = 4.0
"""The same at the edge of what stands in front."""
SETTLED = 0.9
"""Noise level below which the background is what it will be."""
_RAMP, _LEAST = 2, 1e-3
"""Columns from a window's edge within which it gives way to what fills the canvas beyond, down to this."""


@dataclass(frozen=True)
class Region:
    """What a window has a say in."""

    left: int
    """Its first column."""
    fills: bool = False
    """Only where no other sees."""
    front: float | None = None
    """So many columns to each side of its middle, and there alone: whoever is in them stands before the others."""


@dataclass(frozen=True)
class Window:
    """Words for a part of the canvas."""

    denoise: DenoiseAt
    region: Region


def over_canvas(windows: Sequence[Window], width: int, columns: int) -> DenoiseAt:
    """The denoiser of a canvas of so many `columns` through windows of `width`. Raises ValueError for a gap.

    What fills is background: below noise level SETTLED it is asked every second step, and answers for the next too.
    """
    share = shares([window.region for window in windows], width, columns)
    held: dict[int, Tensor] = {}
    before = 0.0

    def denoise(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        nonlocal before
        level = sigma.max().item()
        if level >= before:  # another run begins
            held.clear()
        before = level
        x0 = torch.zeros_like(x)
        for number, (window, weight) in enumerate(zip(windows, share, strict=True)):
            seen = slice(window.region.left, window.region.left + width)
            made = held.pop(number, None)
            if made is None:
                made = window.denoise(x[..., seen].contiguous(), sigma, positions)
                if window.region.fills and level < SETTLED:
                    held[number] = made
            x0[..., seen] += weight[seen] * made
        return x0

    return denoise


def shares(regions: Sequence[Region], width: int, columns: int) -> Tensor:
    """Weight of each of n regions in each column: n by columns, 1 in the sum of n. Raises ValueError for a gap."""
    fills = torch.tensor([region.fills for region in regions])[:, None]
    front = torch.tensor([region.front or 0.0 for region in regions])[:, None]
    backs = ~fills & (front == 0)
    middles = torch.tensor([region.left + width / 2 for region in regions])[:, None]
    away = (torch.arange(columns) + 0.5 - middles).abs()  # n columns
    inside = away < width / 2
    if not bool((inside & (front == 0)).any(0).all()):
        raise ValueError(f"windows of {width} columns at {regions} leave a gap in {columns} columns")
    edge = inside * ((width / 2 - away) / _RAMP).clamp(_LEAST, 1)
    before = torch.where(front > 0, inside * torch.sigmoid(EDGE * (front - away)), 0.0)
    nearest = torch.where(backs & inside, away, torch.inf).amin(0)
    falling = torch.exp(-FALL * (away - nearest.where(nearest.isfinite(), 0.0)))
    taken = torch.where(backs, edge, 0.0).amax(0)
    behind = torch.where(fills, edge * (1 - taken), torch.where(backs, edge * falling, 0.0))
    return before + (1 - before.amax(0)) * behind / behind.sum(0)


def fitted(latents: Tensor, columns: int) -> Tensor:
    """Latents in the middle of so many columns: their edges repeated where they are too narrow, else cut off."""
    spare = columns - latents.shape[-1]
    if spare <= 0:
        return latents[..., -spare // 2 : -spare // 2 + columns].contiguous()
    batch = latents.shape[0]
    flat = latents.flatten(0, 2)  # padding by repetition wants three axes
    wide = F.pad(flat, (spare // 2, spare - spare // 2), mode="replicate")
    unfolded: Tensor = wide.unflatten(0, (batch, *latents.shape[1:3]))
    return unfolded
