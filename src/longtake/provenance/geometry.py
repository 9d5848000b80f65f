"""How a pattern may lie in a picture, and the picture's spectrum when it is laid back under such an assumption.

Coordinates: canonical pixels of the pattern, and pixels of the looked-at picture. Axes: planes [row column], spectra
those of `torch.fft.rfft2` on the torus.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.provenance.pattern import SIDE, TORUS, band

SEARCH = 160
"""Side of the correlation plane in a search: just holds the band."""


@dataclass(frozen=True)
class Geometry:
    """Stretched to sx, sy times the expected size after a rotation in degrees; `turn` counts quarter turns, plus 4 when
    mirrored; px, py say by how much the picture is nearer at its right and lower edge than in its middle."""

    sx: float = 1.0
    sy: float = 1.0
    angle: float = 0.0
    turn: int = 0
    px: float = 0.0
    py: float = 0.0


def hypotheses() -> Iterator[tuple[Geometry, range]]:
    """Cut-outs and pictures in pictures (one scale), stretched ones, rotated ones, ones seen from an angle."""
    everything, upright = range(8), range(0, 8, 4)
    for scale in np.exp(np.arange(math.log(0.4), math.log(2.4), 0.018)):
        yield Geometry(float(scale), float(scale)), everything
    for stretch in np.exp(np.arange(math.log(0.42), math.log(2.4), 0.018)):
        yield Geometry(float(stretch), 1.0), upright
        yield Geometry(1.0, float(stretch)), upright
    for angle in np.arange(-45, 45.1, 1.0):
        yield Geometry(angle=float(angle)), upright
    for lean in (0.03, 0.06, 0.09, 0.12, 0.15, 0.18):
        for p in (lean, -lean):  # the nearer edge as long as it was, or the middle
            for wide in (1 / (1 - lean), 1.0):
                yield Geometry(sx=wide, py=p), upright
                yield Geometry(sy=wide, px=p), upright


def laid(planes: Tensor, geometry: Geometry) -> Tensor:
    """The spectra [... r c] of pictures [... h w] laid onto the torus under this geometry."""
    turned = torch.rot90(planes.flip(-1) if geometry.turn >= 4 else planes, -(geometry.turn % 4), (-2, -1))
    turned = turned.reshape(1, -1, *turned.shape[-2:])  # one grid for all
    height, width = turned.shape[-2:]
    base = SIDE / min(height, width)
    mx, my = base * geometry.sx, base * geometry.sy
    angle = math.radians(geometry.angle)
    cos, sin = math.cos(angle), math.sin(angle)
    if max(mx, my) < 0.6:  # before shrinking: nothing finer than the torus can hold
        factor = math.floor(1 / max(mx, my) + 0.4)
        turned = F.avg_pool2d(turned, factor)
        height, width = turned.shape[-2:]
        mx, my = mx * factor, my * factor
    wide = abs(width * cos) + abs(height * sin), abs(width * sin) + abs(height * cos)
    tiles = [max(1, math.ceil((extent * m - 4) / TORUS)) for extent, m in zip(wide, (mx, my), strict=True)]
    # where each canonical pixel lies in the picture, in units of half its size
    x, y = ((torch.arange(n * TORUS) + 0.5 - n * TORUS / 2) for n in tiles)
    u = (2 / width) * (cos / mx * x[None] - sin / my * y[:, None])
    v = (2 / height) * (sin / mx * x[None] + cos / my * y[:, None])
    if geometry.px or geometry.py:
        depth = (1 + geometry.px * u + geometry.py * v).clamp(min=0.2)
        u, v = u / depth, v / depth
    there = torch.empty(1, len(y), len(x), 2)
    there[0, ..., 0], there[0, ..., 1] = u, v
    pictures = F.grid_sample(turned, there, mode="bilinear", align_corners=False)
    if tiles != [1, 1]:
        pictures = pictures.reshape(-1, tiles[1], TORUS, tiles[0], TORUS).sum((1, 3))
    spectra: Tensor = torch.fft.rfft2(pictures.reshape(*planes.shape[:-2], TORUS, TORUS))
    return spectra


def whitened(spectrum: Tensor) -> Tensor:
    """Cut to the band, no frequency much louder than the others; of a whole spectrum or a `coarse` one."""
    inside = _band(spectrum.shape[-2])
    size = spectrum.abs()
    return torch.where(inside, spectrum / (size + 0.5 * (size * inside).sum() / inside.sum() + 1e-9), 0)


def coarse(spectra: Tensor) -> Tensor:
    """The part that holds the band, [... r c] -> [... SEARCH, SEARCH // 2 + 1]."""
    half = SEARCH // 2
    return torch.cat([spectra[..., :half, : half + 1], spectra[..., -half:, : half + 1]], -2)


def as_made(height: int, width: int) -> tuple[float, float]:
    """Where the pattern lies on the torus when the picture was neither cut nor turned: centre on centre."""
    base = SIDE / min(height, width)
    middles = []
    for extent in (height, width):
        tiles = max(1, math.ceil((extent * base - 4) / TORUS))
        middles.append(tiles * TORUS / 2 - extent * base / 2)
    return middles[0], middles[1]


def ramp(shift: tuple[float, float]) -> Tensor:
    """The phase that undoes a shift."""
    rows, columns = torch.fft.fftfreq(TORUS), torch.fft.rfftfreq(TORUS)
    angle = 2 * math.pi * (rows[:, None] * shift[0] + columns[None] * shift[1])
    return torch.polar(torch.ones_like(angle), angle)


@lru_cache(maxsize=2)
def _band(side: int) -> Tensor:
    inside = np.zeros(TORUS * (TORUS // 2 + 1), bool)
    inside[band()] = True
    whole = torch.from_numpy(inside.reshape(TORUS, TORUS // 2 + 1))
    return whole if side == TORUS else coarse(whole)
