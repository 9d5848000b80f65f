"""Pictures and videos as latents and back: scaled to cover the model's frame, cropped, encoded in pieces."""

from __future__ import annotations

import math
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
from longtake.model.device import autocast
from longtake.provenance.label import lift
from longtake.video import Frame, read_frames, read_picture

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models


def native_size(width: int, height: int, models: Models) -> tuple[int, int]:
    """The model's own (width, height) whose shape is nearest to the asked one."""
    wanted = math.log(width / height)
    return min(models.config.sizes, key=lambda size: abs(math.log(size[0] / size[1]) - wanted))


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


def decode(latent: Tensor, memory: Tensor | None, models: Models) -> tuple[Tensor, Tensor]:
    """The next latent frame [1 z 1 h w] -> its frames [1 3 t h w] in [-1, 1], and the memory for the next call."""
    device = _device(models)
    with torch.no_grad(), autocast(device):
        decoded, memory = models.vae.stream(latent.to(device), memory)
    return decoded.float().cpu(), memory


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
    """One frame at encoder size, [3 h w] in [-1, 1], without the label of an earlier film of ours."""
    pixels = torch.from_numpy(lift(frame).astype(np.float32)) / 127.5 - 1
    whole = fit(rearrange(pixels, "h w c -> 1 c h w"), *size).clamp(-1, 1)
    return F.avg_pool2d(whole, upscale)[0]


def _device(models: Models) -> torch.device:
    return next(models.vae.parameters()).device
