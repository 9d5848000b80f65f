"""Truth for finishing: the same moment of the paper theatre at two sizes, and many moments between two frames.

    enlarging      target uint8 [n 3 H W] and, at a quarter of the size, low uint8 [n 2 3 h w]: averaged, and as the
                   pocket decoder answers when it is shown the frame
    interpolating  frames uint8 [n 7 3 h w] at MOMENTS tenths of the way between two frames of a 12 fps film
The upscaler learns from the first; bench/finish.py measures with both. Rendered once into a folder; held-out
scenes have pairs of words no training scene has.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.model import checkpoint
from longtake.model.device import autocast
from longtake.model.tensorfile import read_safetensors, write_safetensors
from longtake.model.vae import VAE
from longtake.train.data import window
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, codes, sample_scene
from longtake.world.scene import Tracks
from longtake.world.stage import Stage

FACTOR = 4
"""Of the largest enlargement."""
LOW = (320, 192)
"""Native size, width x height."""
MOMENTS = (0, 2, 4, 5, 6, 8, 10)
"""Tenths of the time between two frames: what 12 -> 24 and 12 -> 30 frames a second need."""
_RATE, _SUB = 12, 10


@dataclass(frozen=True)
class Material:
    """What to render: `scenes` of `split`, and the drawings they are made of."""

    scenes: int
    split: str = "train"
    atlas: Path | None = None
    seed: int = 0
    cut: int = 256
    """Side of the cuts that training draws, at the large size; held-out frames are kept whole."""
    cuts: int = 4
    """Cuts of each frame."""


def enlarging(material: Material, folder: Path) -> dict[str, Tensor]:
    """Pairs of small and large pictures, rendered into `folder` the first time."""
    return _kept(folder / f"enlarging-{material.split}-{material.scenes}.safetensors", _pairs(material))


def interpolating(material: Material, folder: Path) -> dict[str, Tensor]:
    """Moments between two frames, rendered into `folder` the first time."""
    return _kept(folder / f"interpolating-{material.split}-{material.scenes}.safetensors", _moments(material))


def _kept(path: Path, rendered: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    if not path.exists():
        print(f"rendering {path.name}", file=sys.stderr, flush=True)
        parts = list(rendered)
        write_safetensors(path, {key: torch.cat([part[key] for part in parts]) for key in parts[0]}, {})
    return read_safetensors(path)[0]


def _scenes(material: Material, sub: int) -> Iterator[tuple[Tracks, random.Random, Atlas]]:
    """Scenes of four seconds at 12 * sub frames a second."""
    rng = random.Random(f"finishing {material.seed} {material.split} {sub}")
    preset = PRESETS["pocket"]
    atlas = Atlas.load(material.atlas, codes(preset))
    for _ in range(material.scenes):
        scene = sample_scene(rng, preset, held_out=material.split == "held")
        scene = replace(scene, frames=48 * sub, fps=_RATE * sub)
        yield choreograph(scene, atlas, LOW[0] / LOW[1]), rng, atlas


@torch.no_grad()
def _pairs(material: Material) -> Iterator[dict[str, Tensor]]:
    models = checkpoint.load()
    large: Stage | None = None
    small: Stage | None = None
    for tracks, rng, atlas in _scenes(material, 1):
        large = large or Stage(atlas, LOW[1] * FACTOR, LOW[0] * FACTOR, chunk=2)
        small = small or Stage(atlas, LOW[1], LOW[0])
        group = models.config.vae.group
        part = window(tracks, rng.randrange(48 - group + 1), group)
        target = large.render([part])[0].transpose(0, 1)  # t 3 H W in 0..1
        low = torch.stack(
            [F.avg_pool2d(target, FACTOR), _decoded(models.vae, small.render([part]))], 1
        )  # t 2 3 h w
        if material.split == "held":
            frame = rng.randrange(group)
            yield {"target": _bytes(target[frame : frame + 1]), "low": _bytes(low[frame : frame + 1])}
        else:
            yield _cuts(target, low, material, rng)


def _decoded(vae: VAE, frames: Tensor) -> Tensor:
    """What the pocket decoder answers: 1 3 t h w in 0..1 -> t 3 h w in 0..1."""
    shrunk = F.avg_pool2d((frames[0] * 2 - 1).transpose(0, 1), vae.config.upscale).transpose(0, 1)
    with autocast(torch.device("cpu")):
        made = vae.decode(vae.encode(shrunk[None]))[0]
    return (made.float().transpose(0, 1) / 2 + 0.5).clamp(0, 1)


def _cuts(target: Tensor, low: Tensor, material: Material, rng: random.Random) -> dict[str, Tensor]:
    side = material.cut // FACTOR
    targets, lows = [], []
    for frame in range(len(target)):
        for _ in range(material.cuts):
            y, x = rng.randrange(low.shape[-2] - side + 1), rng.randrange(low.shape[-1] - side + 1)
            lows.append(low[frame, ..., y : y + side, x : x + side])
            rows, columns = (
                slice(FACTOR * y, FACTOR * (y + side)),
                slice(FACTOR * x, FACTOR * (x + side)),
            )
            targets.append(target[frame, :, rows, columns])
    return {"target": _bytes(torch.stack(targets)), "low": _bytes(torch.stack(lows))}


@torch.no_grad()
def _moments(material: Material) -> Iterator[dict[str, Tensor]]:
    stage: Stage | None = None
    for tracks, rng, atlas in _scenes(material, _SUB):
        stage = stage or Stage(atlas, LOW[1], LOW[0])
        for _ in range(2):
            part = window(tracks, rng.randrange(48 * _SUB - _SUB), _SUB + 1)
            if part.cuts:
                continue
            frames = stage.render([part])[0].transpose(0, 1)[list(MOMENTS)]  # 7 3 h w
            yield {"frames": _bytes(frames[None])}


def _bytes(share: Tensor) -> Tensor:
    return (share.clamp(0, 1) * 255).round().to(torch.uint8)


def floats(values: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return values.float() / 127.5 - 1


def flipped(tensors: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """All tensors mirrored left-right together, half of the time."""
    if torch.rand((), generator=generator) < 0.5:
        return tuple(tensor.flip(-1) for tensor in tensors)
    return tensors


def softened(frames: Tensor, generator: torch.Generator) -> Tensor:
    """The frames [n 3 h w] blurred by a random small Gaussian: decoders differ in how sharp they are."""
    sigma = 0.4 + 0.9 * float(torch.rand((), generator=generator))
    offsets = torch.arange(-3, 4, dtype=frames.dtype)
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    line = line / line.sum()
    kernel = (line[:, None] * line[None]).expand(frames.shape[1], 1, 7, 7)
    return F.conv2d(F.pad(frames, (3, 3, 3, 3), mode="replicate"), kernel, groups=frames.shape[1])
