"""The picture between two pictures: each place is fetched from both along the motion found there.

Symmetric block matching from coarse to fine: for every pixel of the picture half-way, the displacement d is sought
for which the first frame at x - d and the second at x + d look alike, over a window that grows with the square of
its side and with a small price on moving. Being anchored in the picture that is made, it leaves no holes. On the
paper theatre it did better than a small learned network (docs/finish.md).
Axes: frames 3 h w in [-1, 1], flow 2 h w in pixels (x, y), time 0..1 between the two frames.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = ((8, 3), (4, 2), (2, 2), (1, 1))
"""Scale, and how far is searched there to each side, in pixels of that scale: half-displacements up to 37 pixels."""
WINDOW = 13
"""Side of the window that is compared, pixels; 7 at the coarse scales."""
PRICE = 0.02
"""Added per pixel of change, to a difference of brightness of 0..2: flat areas stay where they are."""

DOUBT = 0.25
"""Difference (of 2) between what both frames show of one place from which the motion found there is not believed:
something is hidden in one of them, or turns up from nowhere. Such places are blended."""


def between(first: Tensor, second: Tensor, times: Tensor) -> Tensor:
    """The frames [n 3 h w] at `times` [n] between two frames [3 h w]."""
    flow = find_motion(first, second)[None]
    made = []
    for time in times.tolist():
        before = warp(first[None], -2 * time * flow)
        after = warp(second[None], 2 * (1 - time) * flow)
        moved = before * (1 - time) + after * time
        unlike = F.avg_pool2d((before - after).abs().mean(1, keepdim=True), 7, 1, 3, count_include_pad=False)
        trust = torch.exp(-((unlike / DOUBT) ** 2))
        made.append(moved * trust + (first * (1 - time) + second * time) * (1 - trust))
    return torch.cat(made)


@torch.no_grad()
def find_motion(first: Tensor, second: Tensor) -> Tensor:
    """Half the displacement from the first frame to the second, seen from half-way, [2 h w]."""
    pair = torch.stack([first, second])  # 2 3 h w
    flow = pair.new_zeros(1, 2, 1, 1)
    coarser = LEVELS[0][0] * 2
    for scale, radius in LEVELS:
        small = F.avg_pool2d(pair, scale) if scale > 1 else pair
        flow = F.interpolate(flow, size=small.shape[-2:], mode="bilinear", align_corners=False) * (
            coarser / scale
        )
        flow = flow + _search(
            warp(small[:1], -flow), warp(small[1:], flow), radius, WINDOW if scale < 4 else 7
        )
        flow, coarser = _median(flow), scale
    return flow[0]


def _search(first: Tensor, second: Tensor, radius: int, window: int) -> Tensor:
    """The whole-pixel change of flow [1 2 h w] after which two frames 1 3 h w fit best."""
    h, w = first.shape[-2:]
    padding = (radius,) * 4
    a, b = F.pad(first, padding, mode="replicate"), F.pad(second, padding, mode="replicate")
    reach = range(-radius, radius + 1)
    moves = [(x, y) for y in reach for x in reach]

    def shifted(frame: Tensor, x: int, y: int) -> Tensor:
        return frame[..., radius + y : radius + y + h, radius + x : radius + x + w]

    unlike = torch.cat(
        [(shifted(a, -x, -y) - shifted(b, x, y)).abs().mean(1, keepdim=True) for x, y in moves]
    )
    half = window // 2
    unlike = F.avg_pool2d(unlike, (window, 1), 1, (half, 0), count_include_pad=False)
    unlike = F.avg_pool2d(unlike, (1, window), 1, (0, half), count_include_pad=False)
    table = torch.tensor(moves, dtype=first.dtype)  # moves 2
    best = (unlike[:, 0] + PRICE * table.norm(dim=1).view(-1, 1, 1)).argmin(0)  # h w
    return table[best].permute(2, 0, 1)[None]


def _median(flow: Tensor) -> Tensor:
    """Median of each 3 x 3 neighbourhood: single wrong vectors go."""
    h, w = flow.shape[-2:]
    patches = F.unfold(F.pad(flow, (1, 1, 1, 1), mode="replicate"), 3).view(1, 2, 9, h, w)
    return patches.median(2).values


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Each pixel of [b 3 h w] fetched from `flow` [b 2 h w] pixels away; the edge goes on outside."""
    h, w = frames.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    u = (flow[:, 0] + x + 0.5) * (2 / w) - 1
    v = (flow[:, 1] + y + 0.5) * (2 / h) - 1
    return F.grid_sample(
        frames, torch.stack([u, v], -1), mode="bilinear", padding_mode="border", align_corners=False
    )
