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

LEVELS = ((8, 3, 1), (4, 1, 1), (2, 1, 4), (1, 1, 4))
"""Scale, how far is searched there to each side, and the side of a cell whose pixels move as one, all in pixels of that
scale: half-displacements up to 31 pixels. Cells take half the time of single pixels, and err less."""
WINDOW = 13
"""Side of the window that is compared, pixels; 7 at the coarse scales."""
PRICE = 0.02
"""Added per pixel of change, to a difference of brightness of 0..2: flat areas stay where they are."""

DOUBT = 0.25
"""Difference (of 2) between what both frames show of one place from which the motion found there is not believed:
something is hidden in one of them, or turns up from nowhere. Such places are blended."""
_MEDIAN_OF_NINE = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip
"""Exchanges after which cell 4 of nine is their median (Paeth 1990, Graphics Gems), far faster than sorting."""


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
    for scale, radius, cell in LEVELS:
        small = F.avg_pool2d(pair, scale) if scale > 1 else pair
        flow = _enlarged(flow, small) * (coarser / scale)
        window = WINDOW if scale < 4 else 7
        change = _search(warp(small[:1], -flow), warp(small[1:], flow), radius, window, cell)
        flow, coarser = _median(F.avg_pool2d(flow, cell) + change), scale
    return _enlarged(flow, pair)[0]


def _enlarged(flow: Tensor, frames: Tensor) -> Tensor:
    return F.interpolate(flow, size=frames.shape[-2:], mode="bilinear", align_corners=False)


def _search(first: Tensor, second: Tensor, radius: int, window: int, cell: int) -> Tensor:
    """The whole-pixel change of flow, [1 2 h/cell w/cell], after which two frames 1 3 h w fit best."""
    h, w = first.shape[-2:]
    padding = (radius,) * 4
    a, b = (F.pad(frame, padding, mode="replicate")[0] for frame in (first, second))
    reach = range(-radius, radius + 1)
    moves = [(x, y) for y in reach for x in reach]

    def shifted(frame: Tensor, x: int, y: int) -> Tensor:
        return frame[:, radius + y : radius + y + h, radius + x : radius + x + w]

    unlike = torch.stack([(shifted(a, -x, -y) - shifted(b, x, y)).abs_().mean(0) for x, y in moves])
    cells = window // cell // 2 * 2 + 1
    unlike = _box(_box(F.avg_pool2d(unlike, cell), cells, 1), cells, 2)
    table = torch.tensor(moves, dtype=first.dtype)  # moves 2
    unlike += PRICE * table.norm(dim=1).view(-1, 1, 1)
    least, best = unlike[0], torch.zeros(unlike.shape[1:], dtype=torch.int64)
    for index in range(1, len(moves)):  # faster than argmin over the first axis
        better = unlike[index] < least
        least, best = torch.where(better, unlike[index], least), torch.where(better, index, best)
    return table[best].permute(2, 0, 1)[None]


def _box(values: Tensor, window: int, dim: int) -> Tensor:
    """Mean of n h w over `window` places along h (dim 1) or w (2), of those inside: a difference of running sums."""
    half, size = window // 2, values.shape[dim]
    margin = (0, 0, half + 1, half) if dim == 1 else (half + 1, half)
    sums = F.pad(values, margin).cumsum(dim)
    places = torch.arange(size)
    inside = (places + half).clamp(max=size - 1) - (places - half).clamp(min=0) + 1
    return (sums.narrow(dim, window, size) - sums.narrow(dim, 0, size)) / (
        inside[:, None] if dim == 1 else inside
    )


def _median(flow: Tensor) -> Tensor:
    """Median of each 3 x 3 neighbourhood of [1 2 h w]: single wrong vectors go."""
    h, w = flow.shape[-2:]
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    cells = [padded[..., y : y + h, x : x + w] for y in range(3) for x in range(3)]
    for low, high in _MEDIAN_OF_NINE:
        cells[low], cells[high] = (
            torch.minimum(cells[low], cells[high]),
            torch.maximum(cells[low], cells[high]),
        )
    return cells[4]


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Each pixel of [b 3 h w] fetched from `flow` [b 2 h w] pixels away; the edge goes on outside."""
    h, w = frames.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    u = (flow[:, 0] + x + 0.5) * (2 / w) - 1
    v = (flow[:, 1] + y + 0.5) * (2 / h) - 1
    return F.grid_sample(
        frames, torch.stack([u, v], -1), mode="bilinear", padding_mode="border", align_corners=False
    )
