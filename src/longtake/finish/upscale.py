"""Twice or four times as many pixels: a small sub-pixel network, trained on the paper theatre.

Sub-pixel convolution: Shi et al. 2016 (arXiv:1609.05158). Everything is computed at the small size; the network adds
what is missing to the repeated pixels (the anchor of Du et al. 2021, arXiv:2105.09750). It learned from sharp frames
and from what the pocket decoder makes of them (train/upscale.py), so it sharpens as well as enlarges.
Axes: frames t 3 h w in [-1, 1].
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.model.device import autocast
from longtake.model.tensorfile import load_strictly, read_safetensors

FILE = Path(__file__).parent.parent / "weights" / "upscale.safetensors"
FACTORS = (2, 4)
WIDTH, DEPTH = 32, 5


class Upscaler(nn.Module):
    """One trunk, one head for each factor."""

    def __init__(self, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.trunk = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.heads = nn.ModuleDict({str(f): nn.Conv2d(width, 3 * f * f, 3, padding=1) for f in FACTORS})
        for head in self.heads.values():
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def features(self, frames: Tensor) -> Tensor:
        """t 3 h w -> t width h w."""
        x = F.silu(self.first(frames))
        for layer in self.trunk:
            x = x + F.silu(layer(x))
        return x

    def head(self, features: Tensor, frames: Tensor, factor: int) -> Tensor:
        """-> t 3 factor*h factor*w; the anchor is added in float32, so bfloat16 only rounds the correction."""
        missing = F.pixel_shuffle(self.heads[str(factor)](features), factor)
        return F.interpolate(frames, scale_factor=factor, mode="nearest") + missing.float()

    def forward(self, frames: Tensor, factor: int) -> Tensor:
        return self.head(self.features(frames), frames, factor)


@lru_cache(maxsize=2)
def load(path: Path = FILE) -> Upscaler:
    """The trained network. Raises WeightsError."""
    network = Upscaler()
    load_strictly(network, read_safetensors(path)[0], path)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def upscale(frames: Tensor, factor: int) -> Tensor:
    """Frames [t 3 h w] in [-1, 1] at 2 or 4 times their size."""
    with autocast(torch.device("cpu")):
        enlarged: Tensor = load()(frames.contiguous(memory_format=torch.channels_last), factor)
    return enlarged.clamp(-1, 1)
