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
_RAMP = 2
"""Columns from a window's edge within which it gives way to what fills the canvas beyond."""


@dataclass(frozen=True)
class Window:
    """Words for a part of the canvas. One that `fills` has a say only where no other sees."""

    denoise: DenoiseAt
    left: int
    """Its first column."""
    fills: bool = False


def over_canvas(windows: Sequence[Window], width: int, columns: int) -> DenoiseAt:
    """The denoiser of a canvas of so many `columns` through windows of `width`. Raises ValueError for a gap."""
    share = shares([(window.left, window.fills) for window in windows], width, columns)

    def denoise(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        x0 = torch.zeros_like(x)
        for window, weight in zip(windows, share, strict=True):
            seen = slice(window.left, window.left + width)
            x0[..., seen] += weight[seen] * window.denoise(x[..., seen].contiguous(), sigma, positions)
        return x0

    return denoise


def shares(windows: Sequence[tuple[int, bool]], width: int, columns: int) -> Tensor:
    """Weight of each window (first column, whether it fills) in each column: n by columns, 1 in the sum of n."""
    middle = torch.arange(columns) + 0.5
    left = torch.tensor([float(first) for first, _ in windows])[:, None]
    fills = torch.tensor([fill for _, fill in windows])[:, None]
    away = (middle - left - width / 2).abs()  # n columns
    inside = (away < width / 2).float()
    if not bool((inside.sum(0) > 0).all()):
        raise ValueError(f"windows of {width} columns at {windows} leave a gap in {columns} columns")
    edge = ((width / 2 - away) / _RAMP).clamp(0, 1)
    taken = torch.where(fills, 0.0, edge).amax(0)
    nearest = torch.where(inside > 0, away, torch.inf).where(~fills, torch.inf).amin(0)
    own = inside * torch.exp(-FALL * (away - nearest.where(nearest.isfinite(), 0.0)))
    weight = torch.where(fills, inside * (1 - taken) * edge.clamp(min=1e-3), own * edge.clamp(min=1e-3))
    return weight / weight.sum(0)


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
