"""The picture between two pictures: a small network that sees motion, trained on the paper theatre.

Intermediate flow from coarse to fine (Huang et al. 2022, arXiv:2011.06294): three blocks at a quarter, half and the
whole size refine two flows, from the wanted moment back to the first frame and on to the second, and a mask that
says which of the two shows what; the last block also adds what neither has. Axes: frames b 3 h w in [-1, 1], flow
in pixels (x, y), time 0..1 between the two.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.model.device import autocast
from longtake.model.tensorfile import load_strictly, read_safetensors

FILE = Path(__file__).parent.parent / "weights" / "interpolate.safetensors"
CELL = 8
"""Both sides are padded to a multiple of this."""
_SEEN = 18
"""Channels a block reads: both frames, both warped, time, two flows, mask."""


class Block(nn.Module):
    """One refinement at 1/scale of the size; answers with changes of flows and mask (and of the picture)."""

    def __init__(self, scale: int, width: int, outputs: int = 5) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(_SEEN, width, 4, stride=2, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.last = nn.Conv2d(width, 4 * outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, seen: Tensor) -> Tensor:
        """b 18 h w -> b outputs h w."""
        scale = self.scale
        if scale > 1:
            seen = F.avg_pool2d(seen, scale)
        x = F.silu(self.first(seen))
        for layer in self.body:
            x = x + F.silu(layer(x))
        change = F.pixel_shuffle(self.last(x).float(), 2)
        if scale > 1:
            change = F.interpolate(change, scale_factor=scale, mode="bilinear", align_corners=False)
        return change


class Interpolator(nn.Module):
    """Two frames and a time -> the frame at that time."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(4, 64), Block(2, 48), Block(1, 32, outputs=8)])

    def forward(self, first: Tensor, second: Tensor, time: Tensor) -> Tensor:
        """b 3 h w twice and b -> b 3 h w; h and w multiples of CELL."""
        b, _, h, w = first.shape
        moment = time.view(b, 1, 1, 1).expand(b, 1, h, w)
        flow = first.new_zeros(b, 4, h, w)
        mask = first.new_zeros(b, 1, h, w)
        before, after, rest = first, second, None
        for block in self.blocks:
            seen = torch.cat([first, second, before, after, moment, flow / 16, mask], 1)
            change = block(seen)
            flow, mask, rest = flow + 16 * change[:, :4], mask + change[:, 4:5], change[:, 5:]
            before, after = warp(first, flow[:, :2]), warp(second, flow[:, 2:])
        share = torch.sigmoid(mask + torch.logit(1 - moment, eps=1e-3))
        assert rest is not None
        made: Tensor = before * share + after * (1 - share) + rest
        return made


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Each pixel fetched from `flow` (b 2 h w, pixels) away; the edge goes on outside."""
    _, _, h, w = frames.shape
    y, x = torch.meshgrid(
        torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij"
    )
    u = (flow[:, 0] + x + 0.5) * (2 / w) - 1
    v = (flow[:, 1] + y + 0.5) * (2 / h) - 1
    return F.grid_sample(
        frames, torch.stack([u, v], -1), mode="bilinear", padding_mode="border", align_corners=False
    )


@lru_cache(maxsize=2)
def load(path: Path = FILE) -> Interpolator:
    """The trained network. Raises WeightsError."""
    network = Interpolator()
    load_strictly(network, read_safetensors(path)[0], path)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def between(first: Tensor, second: Tensor, times: Tensor) -> Tensor:
    """The frames [n 3 h w] at `times` [n] between two frames [3 h w]."""
    h, w = first.shape[-2:]
    padding = (0, -w % CELL, 0, -h % CELL)
    pair = F.pad(torch.stack([first, second]), padding, mode="replicate")
    made = []
    for time in times:  # one at a time: less memory, and the caches stay warm
        with autocast(torch.device("cpu")):
            made.append(load()(pair[:1], pair[1:], time.view(1))[..., :h, :w])
    return torch.cat(made).clamp(-1, 1)
