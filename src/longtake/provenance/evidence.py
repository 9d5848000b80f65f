"""Pictures -> what a detector needs of them: the fine structure, levelled, summed over short windows of time.

High-pass, divided by the local contrast, clipped, so that no edge and no bright spot speaks louder than the rest;
content that moves averages out, the mark stays. Memory is bounded: a fixed number of windows of a fixed size.
Axes: frames in a window t, rows h, columns w.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

WORKING_SIDE = 320
"""Pixels of the shorter side that the detector looks at."""
LONGEST_SIDE = 1280
WINDOW = 12
"""Frames summed into one window: shorter than a moving layer is shown."""
_COARSE, _LOCAL = 9, 12
"""Widths of the blocks, in pixels at WORKING_SIDE, that tell coarse from fine and measure local contrast."""

Grey = np.ndarray[Any, np.dtype[np.uint8]]


def working_size(width: int, height: int) -> tuple[int, int]:
    """The (width, height) at which a picture is looked at: never larger than it is."""
    scale = min(1.0, WORKING_SIDE / min(width, height), LONGEST_SIDE / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def windows(frames: Iterable[Grey]) -> Iterator[Tensor]:
    """Grey frames [h w] -> sums of their fine structure [h w], one every WINDOW frames."""
    batch: list[Grey] = []
    for frame in frames:
        if batch and frame.shape != batch[0].shape:
            continue  # a stream that changes its size: what came first is looked at
        batch.append(frame)
        if len(batch) == WINDOW:
            yield fine_structure(np.stack(batch))
            batch = []
    if batch:
        yield fine_structure(np.stack(batch))


def fine_structure(frames: Grey) -> Tensor:
    """[t h w] uint8 -> [h w] float32, the levelled residual summed over time."""
    y = torch.from_numpy(frames).float()[:, None]  # t 1 h w
    residual = y - _smooth(y, _COARSE)
    spread = (_smooth(residual.square(), _LOCAL).sqrt() + 1.5).reciprocal_()
    return residual.mul_(spread).clamp_(-2, 2).sum((0, 1))


def _smooth(planes: Tensor, width: int) -> Tensor:
    """Means of blocks of this width, blended; cheap, and smooth enough to be a level. [t 1 h w]"""
    size = planes.shape[-2:]
    blocks = F.avg_pool2d(planes, min(width, *size), ceil_mode=True, count_include_pad=False)
    return F.interpolate(blocks, size=size, mode="bilinear", align_corners=False)
