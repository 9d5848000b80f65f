"""Native frames -> frames of the asked size and rate: scaled to cover, cropped exactly, never stretched.

Streaming: one group of frames at a time. A rate above the model's is reached by showing each frame again;
frames are not interpolated.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.video import Frame


def fit(frames: Tensor, width: int, height: int) -> Tensor:
    """Scale [t 3 h w] until it covers width x height, then cut out the centre. Antialiased bicubic."""
    rows, columns = frames.shape[-2:]
    scale = max(width / columns, height / rows)
    size = max(height, round(rows * scale)), max(width, round(columns * scale))
    if size != (rows, columns):
        frames = F.interpolate(frames, size=size, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return frames[..., top : top + height, left : left + width]


def finish(decoded: Tensor, width: int, height: int, repeats: int) -> list[Frame]:
    """Decoded frames [1 3 t h w] in [-1, 1] -> uint8 [height width 3], each `repeats` times."""
    frames = rearrange(decoded.float().clamp(-1, 1), "1 c t h w -> t c h w")
    pixels = (fit(frames, width, height).clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
    arrays = rearrange(pixels, "t c h w -> t h w c").contiguous().numpy()
    return [frame for frame in arrays for _ in range(repeats)]
