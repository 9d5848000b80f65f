"""Pictures -> what a detector needs of them: the fine structure, levelled, summed over short windows of time.

High-pass, divided by the local contrast, clipped, so that no edge and no bright spot speaks louder than the rest, then
weighed by what each place can say: content that moves averages out, the mark stays. Memory is bounded: a fixed number
of windows of a fixed size.
Axes: frames in a window t, rows h, columns w.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.provenance.abreast import abreast, cores

WORKING_SIDE = 320
"""Pixels of the shorter side that the detector looks at."""
LONGEST_SIDE = 1280
WINDOW = 12
"""Frames summed into one window: shorter than a moving layer is shown."""
_BLOCK = 3
"""Pixels of the blocks in which levels and contrasts are measured."""
_COARSE, _LOCAL = 2, 1
"""Times that the blocks are blended with their neighbours: to tell coarse from fine, and to measure contrast. In pixels
the standard deviations are about 3.9 and 3."""
_CLIP = 0.7
"""Of the local contrast: little more than the sign of the fine structure counts, because a picture's own is peaked."""
_CALM = 1.5
"""Levels of brightness, below which contrast is noise."""

Grey = np.ndarray[Any, np.dtype[np.uint8]]


def working_size(width: int, height: int) -> tuple[int, int]:
    """The (width, height) at which a picture is looked at: never larger than it is."""
    scale = min(1.0, WORKING_SIDE / min(width, height), LONGEST_SIDE / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def windows(frames: Iterable[Grey]) -> Iterator[Tensor]:
    """Grey frames [h w] -> sums of their fine structure [h w], one every WINDOW frames."""
    return abreast(fine_structure, _batches(frames), cores())


def _batches(frames: Iterable[Grey]) -> Iterator[Grey]:
    """WINDOW frames at a time [t h w]."""
    batch: list[Grey] = []
    for frame in frames:
        if batch and frame.shape != batch[0].shape:
            continue  # a stream that changes its size: what came first is looked at
        batch.append(frame)
        if len(batch) == WINDOW:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def fine_structure(frames: Grey) -> Tensor:
    """[t h w] uint8 -> [h w] float32, the levelled residual summed over time."""
    y = torch.from_numpy(frames).float()[:, None]  # t 1 h w
    residual = y - _smooth(y, _COARSE)
    spread = _smooth(residual.square(), _LOCAL).sqrt_().add_(_CALM)
    levelled = residual.div_(spread).clamp_(-_CLIP, _CLIP)
    # The best weight is the mark's size over the square of what drowns it (a matched filter). It grows with less than
    # the contrast's power of 0.7 (watermark.LEANING) and not at all where it is capped: contrast to -1.75, one power
    # of which is divided out already.
    root = spread.rsqrt_()
    return levelled.mul_(root).mul_(root.sqrt_()).sum((0, 1))


def _smooth(planes: Tensor, times: int) -> Tensor:
    """Means of blocks, blended so many times with their neighbours; cheap, and nearly Gaussian. [t 1 h w]"""
    size = planes.shape[-2:]
    blocks = F.avg_pool2d(planes, min(_BLOCK, *size), ceil_mode=True, count_include_pad=False)
    for _ in range(times):
        blocks = F.avg_pool2d(blocks, 3, 1, 1, count_include_pad=False)
    return F.interpolate(blocks, size=size, mode="bilinear", align_corners=False)
