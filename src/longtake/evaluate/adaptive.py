"""Attacks on the pixel mark by people who know how it is made but have no key, each with what it costs.

What is subtracted is what is finer than the mark's longest wave in the mean of many frames, held to the size that a
mark may have; after every attack the film is encoded with x264 at CRF 18.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from longtake.evaluate.attacks import FPS, Frames, codec, resize
from longtake.evaluate.material import drawn_clip
from longtake.provenance.keys import MasterKey
from longtake.provenance.pattern import BAND, SIDE
from longtake.provenance.watermark import TURN, Marker

KEY = MasterKey(0, bytes(range(32)), "for measuring only")
IDENT = 0x5EED5EED42
ANOTHER = MasterKey(0, bytes(32), "another user's")
STRENGTHS = (0.5, 1.0, 2.0, 4.0)
"""Of the estimated mark that is subtracted or added."""
_LOUDEST = 5.0
"""Levels of brightness: more than that in an estimate is the picture's, not the mark's."""
_FILMS = 10

Plane = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Known:
    """A row: from the marked film the (attacked film, the film that its PSNR is taken against)."""

    name: str
    run: Callable[[Frames], tuple[Frames, Frames]]


def marked(frames: Frames, ident: int = IDENT, key: MasterKey = KEY) -> Frames:
    height, width = frames[0].shape[:2]
    marker = Marker(width, height, ident, key)
    return [marker.apply(frame, t / FPS) for t, frame in enumerate(frames)]


def _turns(frames: Frames) -> list[Frames]:
    """What is shown in each turn of the moving layers."""
    length = round(TURN * FPS)
    return [frames[start : start + length] for start in range(0, len(frames), length)]


def _estimate(frames: Frames) -> Plane:
    """The mark, as far as the mean of the frames shows it [h w]."""
    mean = torch.from_numpy(np.mean(frames, 0, dtype=np.float32)).mean(-1)[None, None]  # 1 1 h w
    wave = round(min(mean.shape[-2:]) / (SIDE * BAND[0])) // 2 * 2 + 1
    fine = mean - F.avg_pool2d(mean, wave, 1, wave // 2, count_include_pad=False)
    return np.asarray(fine.clamp(-_LOUDEST, _LOUDEST)[0, 0])


def _added(frames: Frames, planes: list[Plane], strength: float) -> Frames:
    """A plane onto each turn's frames, encoded."""
    changed = [
        np.clip(np.rint(frame + strength * plane[..., None]), 0, 255).astype(np.uint8)
        for turn, plane in zip(_turns(frames), planes, strict=True)
        for frame in turn
    ]
    return codec(changed, "libx264", 18)


def _subtracted(strength: float, film: Frames) -> tuple[Frames, Frames]:
    return _added(film, [_estimate(film)] * len(_turns(film)), -strength), film


def _colluded(strength: float, film: Frames) -> tuple[Frames, Frames]:
    """By someone who has ten films of the same key, and knows when its layers change."""
    others = _accomplices(len(film), *film[0].shape[:2])
    own = [_estimate(turn) for turn in _turns(film)]
    planes: list[Plane] = [
        (a + (_FILMS - 1) * b) / np.float32(_FILMS) for a, b in zip(own, others, strict=True)
    ]
    return _added(film, planes, -strength), film


@lru_cache(maxsize=2)
def _accomplices(count: int, height: int, width: int) -> list[Plane]:
    """The mean estimate of nine other films of this key, for each turn."""
    films = [marked(drawn_clip(1000 + i, count, height, width), ident=i) for i in range(_FILMS - 1)]
    estimates = [[_estimate(turn) for turn in _turns(film)] for film in films]
    return [np.mean(planes, 0) for planes in zip(*estimates, strict=True)]


def _copied(strength: float, film: Frames) -> tuple[Frames, Frames]:
    """The mark carried over to a film that had none."""
    height, width = film[0].shape[:2]
    plain = drawn_clip(2000, len(film), height, width)
    return _added(plain, [_estimate(turn) for turn in _turns(film)], strength), plain


def _made_anew(size: tuple[int, int] | None, film: Frames) -> tuple[Frames, Frames]:
    """Through the pocket model's autoencoder at this (width, height), or about the film's own."""
    from longtake.model import checkpoint

    models = checkpoint.load()
    vae, config = models.vae, models.config.vae
    height, width = film[0].shape[:2]
    unit = config.stride * config.upscale
    wide, high = (max(1, round(n / unit)) * unit for n in size or (width, height))
    spare = -len(film) % config.group
    small = resize(film + film[-1:] * spare, wide // config.upscale, high // config.upscale)
    made: Frames = []
    with torch.inference_mode():
        for start in range(0, len(small), config.group):
            group = torch.from_numpy(np.stack(small[start : start + config.group])).float() / 127.5 - 1
            decoded = vae.decode(vae.encode(group.permute(3, 0, 1, 2)[None]))[0]  # 3 t h w
            pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            made += list(pixels.permute(1, 2, 3, 0).numpy())
    return codec(resize(made[: len(film)], width, height), "libx264", 18), film


ADAPTIVE = (
    *(Known(f"mean of the film subtracted {s:g} times", partial(_subtracted, s)) for s in STRENGTHS),
    *(Known(f"mean of ten films subtracted {s:g} times", partial(_colluded, s)) for s in STRENGTHS),
    Known("pocket's autoencoder, at its size", partial(_made_anew, None)),
    Known("pocket's autoencoder, at 320x192", partial(_made_anew, (320, 192))),
    Known("marked again with another key", lambda film: (marked(film, 1, ANOTHER), film)),
    *(Known(f"mean of the film put on another {s:g} times", partial(_copied, s)) for s in STRENGTHS),
)
