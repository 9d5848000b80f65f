"""Native frames -> the asked size: enlarged by the network, scaled to cover, cropped exactly, never stretched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.finish import upscale
from longtake.video import Frame

Enlarge = Callable[[Tensor, int, int], Tensor]


def enlarger(decoder_enlarges: int) -> Enlarge:
    """How frames of a decoder become larger: the network sharpens what is sharp at its size, and is nothing but slow
    where the decoder has enlarged them already (by the factor given)."""
    return enlarge if decoder_enlarges == 1 else fit


def fit(frames: Tensor, width: int, height: int) -> Tensor:
    """Scale [t 3 h w] until it covers width x height, then cut out the centre. Antialiased bicubic."""
    rows, columns = frames.shape[-2:]
    scale = max(width / columns, height / rows)
    size = max(height, round(rows * scale)), max(width, round(columns * scale))
    if size != (rows, columns):
        frames = F.interpolate(frames, size=size, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return frames[..., top : top + height, left : left + width]


def enlarge(frames: Tensor, width: int, height: int) -> Tensor:
    """`fit`, through the upscaler where the frames [t 3 h w] in [-1, 1] are too small."""
    rows, columns = frames.shape[-2:]
    scale = max(width / columns, height / rows)
    if scale > 1:
        frames = upscale.upscale(frames, 2 if scale <= 2 else 4)
    return fit(frames, width, height)


def to_bytes(frames: Tensor) -> list[Frame]:
    """[t 3 h w] in [-1, 1] -> uint8 arrays [h w 3]."""
    pixels = (frames.clamp(-1, 1) * 127.5 + 127.5).round_().to(torch.uint8)
    arrays = rearrange(pixels, "t c h w -> t h w c").contiguous().numpy()
    return [np.ascontiguousarray(frame) for frame in arrays]
