"""Pictures and videos as latents and back: scaled to cover the model's frame, cropped, encoded in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.errors import RequestError
from longtake.finish.size import fit
from longtake.model.device import autocast
from longtake.provenance.label import lift
from longtake.video import Frame, read_frames, read_picture

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models


def native_size(width: int, height: int, models: Models) -> tuple[int, int]:
    """The (width, height) at which the model makes a film of this size."""
    return models.config.native(width, height)


def encode_picture(path: Path, models: Models, size: tuple[int, int]) -> Tensor:
    """A picture as one latent frame, [1 z 1 h w]. Raises MediaError when it cannot be read."""
    pixels = _native(read_picture(path), size, models.config.vae.upscale)
    with torch.no_grad():
        return models.vae.encode_still(pixels[None].to(_device(models))).cpu()


def animates(models: Models) -> bool:
    """Whether the model is one that is always given a picture, as further channels of its input."""
    return bool(getattr(models.config, "animates", False))


def animated(models: Models, path: Path | None, size: tuple[int, int], latents: int) -> Models:
    """These models, bound to the picture if they are of the kind that needs one. Raises RequestError without it."""
    if not animates(models):
        return models
    if path is None:
        raise RequestError(
            f"{models.name} animates a picture; give it with --image, in one take, or choose a text-to-video model"
        )
    from longtake.model.wan import bind_picture

    window = min(latents, models.config.window)
    pixels = _native(read_picture(path), size, 1)[None].to(_device(models))
    return bind_picture(models, pixels, 1 + window)


def encode_video(path: Path, models: Models, size: tuple[int, int]) -> Tensor:
    """A video as latents [1 z f h w], at the model's frame rate; the last group is filled with its last frame.

    Only one group of frames is held at a time. Raises MediaError when the video cannot be read.
    """
    with closing(read_frames(path, fps=models.config.fps)) as frames:
        return encode_frames(frames, models, size)


def encode_frames(frames: Iterable[Frame], models: Models, size: tuple[int, int]) -> Tensor:
    """Frames at the model's rate as latents [1 z f h w]; the last group is filled with its last frame."""
    vae = models.vae
    latents = []
    memory = None
    with torch.no_grad():
        for group in _groups(frames, models, size):
            pixels = rearrange(group, "t c h w -> 1 c t h w").to(_device(models))
            made, memory = vae.encode_more(pixels, memory)
            latents.append(made.cpu())
    return torch.cat(latents, 2)


def decode(latent: Tensor, memory: Any, models: Models) -> tuple[Tensor, Any]:
    """The next latent frame [1 z 1 h w] -> its frames [1 3 t h w] in [-1, 1], and the memory for the next call."""
    device = _device(models)
    with torch.no_grad(), autocast(device):
        decoded, memory = models.vae.stream(latent.to(device), memory)
    return decoded.float().cpu(), memory


def _groups(frames: Iterable[Frame], models: Models, size: tuple[int, int]) -> Iterator[Tensor]:
    group: list[Tensor] = []
    wanted = models.config.vae.first
    for frame in frames:
        group.append(_native(frame, size, models.config.vae.upscale))
        if len(group) == wanted:
            yield torch.stack(group)
            group, wanted = [], models.config.vae.group
    if group:
        yield torch.stack(group + [group[-1]] * (wanted - len(group)))


def _native(frame: Frame, size: tuple[int, int], upscale: int) -> Tensor:
    """One frame at encoder size, [3 h w] in [-1, 1], without the label of an earlier film of ours."""
    pixels = torch.from_numpy(lift(frame).astype(np.float32)) / 127.5 - 1
    whole = fit(rearrange(pixels, "h w c -> 1 c h w"), *size).clamp(-1, 1)
    return F.avg_pool2d(whole, upscale)[0]


def _device(models: Models) -> torch.device:
    return next(models.vae.parameters()).device
