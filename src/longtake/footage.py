"""The user's own pictures and videos as latents: scaled to cover the model's frame, cropped, encoded in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.finish.size import fit
from longtake.video import Frame, read_frames, read_picture

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models


def encode_picture(path: Path, models: Models, size: tuple[int, int]) -> Tensor:
    """A picture as one latent frame, [1 z 1 h w]. Raises MediaError when it cannot be read."""
    pixels = _native(read_picture(path), size, models.config.vae.upscale)
    with torch.no_grad():
        return models.vae.encode_still(pixels[None].to(_device(models))).cpu()


def encode_video(path: Path, models: Models, size: tuple[int, int]) -> Tensor:
    """A video as latents [1 z f h w], at the model's frame rate; the last group is filled with its last frame.

    Only one group of frames is held at a time. Raises MediaError when the video cannot be read.
    """
    vae = models.vae
    latents = []
    with torch.no_grad():
        for group in _groups(path, models, size):
            latents.append(vae.encode(rearrange(group, "t c h w -> 1 c t h w").to(_device(models))).cpu())
    return torch.cat(latents, 2)


def _groups(path: Path, models: Models, size: tuple[int, int]) -> Iterator[Tensor]:
    group: list[Tensor] = []
    with closing(read_frames(path, fps=models.config.fps)) as frames:
        for frame in frames:
            group.append(_native(frame, size, models.config.vae.upscale))
            if len(group) == models.config.vae.group:
                yield torch.stack(group)
                group = []
    if group:
        yield torch.stack(group + [group[-1]] * (models.config.vae.group - len(group)))


def _native(frame: Frame, size: tuple[int, int], upscale: int) -> Tensor:
    """One frame at encoder size, [3 h w] in [-1, 1]."""
    pixels = torch.from_numpy(frame.astype(np.float32)) / 127.5 - 1
    whole = fit(rearrange(pixels, "h w c -> 1 c h w"), *size).clamp(-1, 1)
    return F.avg_pool2d(whole, upscale)[0]


def _device(models: Models) -> torch.device:
    return next(models.vae.parameters()).device
