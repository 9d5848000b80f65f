"""How a pattern may lie in a picture, and the picture's spectrum when it is laid back under such an assumption.

Coordinates: canonical pixels of the pattern, and pixels of the looked-at picture. Axes: planes [row column]; of spectra
those frequencies f of `torch.fft.rfft2` on the torus that are in the band.
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


class Pictures:
    """Pictures [... h w] to be laid onto the torus in many ways."""

    def __init__(self, planes: Tensor) -> None:
        self._planes = planes
        self._shrunk: dict[tuple[int, int], Tensor] = {}

    def laid(self, geometry: Geometry) -> Tensor:
        """Their spectra [... f] under this geometry."""
        height, width = self._planes.shape[-2:]
        if geometry.turn % 2:
            height, width = width, height
        base = SIDE / min(height, width)
        mx, my = base * geometry.sx, base * geometry.sy
        factor = 1
        if max(mx, my) < 0.6:  # before shrinking: nothing finer than the torus can hold
            factor = math.floor(1 / max(mx, my) + 0.4)
            mx, my = mx * factor, my * factor
        turned = self._turned(geometry.turn, factor)
        pictures = F.grid_sample(
            turned, _grid(geometry, mx, my, turned), mode="bilinear", align_corners=False
        )
        tiles = pictures.shape[-2] // TORUS, pictures.shape[-1] // TORUS
        if tiles != (1, 1):
            pictures = pictures.reshape(-1, tiles[0], TORUS, tiles[1], TORUS).sum((1, 3))
        spectra: Tensor = torch.fft.rfft2(pictures.reshape(*self._planes.shape[:-2], TORUS, TORUS))
        return spectra.flatten(-2)[..., _bins(TORUS)]

    def _turned(self, turn: int, factor: int) -> Tensor:
        """Mirrored and in quarter turns, so many times smaller, [1 n h w]."""
        if (turn, factor) not in self._shrunk:
            planes = self._planes.flip(-1) if turn >= 4 else self._planes
            planes = torch.rot90(planes, -(turn % 4), (-2, -1))
            planes = planes.reshape(1, -1, *planes.shape[-2:])  # one grid for all
            self._shrunk[turn, factor] = F.avg_pool2d(planes, factor) if factor > 1 else planes
        return self._shrunk[turn, factor]


def laid(planes: Tensor, geometry: Geometry) -> Tensor:
    """The spectra [... f] of pictures [... h w] under this geometry."""
    return Pictures(planes).laid(geometry)


def _grid(geometry: Geometry, mx: float, my: float, turned: Tensor) -> Tensor:
    """Where each canonical pixel lies in the picture [1 y x 2], in units of half its size; whole tori."""
    height, width = turned.shape[-2:]
    angle = math.radians(geometry.angle)
    cos, sin = math.cos(angle), math.sin(angle)
    wide = abs(width * cos) + abs(height * sin), abs(width * sin) + abs(height * cos)
    tiles = [max(1, math.ceil((extent * m - 4) / TORUS)) for extent, m in zip(wide, (mx, my), strict=True)]
    x, y = ((torch.arange(n * TORUS) + 0.5 - n * TORUS / 2) for n in tiles)
    u = (2 / width) * (cos / mx * x[None] - sin / my * y[:, None])
    v = (2 / height) * (sin / mx * x[None] + cos / my * y[:, None])
    if geometry.px or geometry.py:
        depth = (1 + geometry.px * u + geometry.py * v).clamp(min=0.2)
        u, v = u / depth, v / depth
    there = torch.empty(1, len(y), len(x), 2)
    there[0, ..., 0], there[0, ..., 1] = u, v
    return there


def whitened(spectrum: Tensor) -> Tensor:
    """[... f] with no frequency much louder than the others."""
    size = spectrum.abs()
    return spectrum / (size + 0.5 * size.mean(-1, keepdim=True) + 1e-9)


def correlate(spectrum: Tensor, template: Tensor, side: int = TORUS) -> Tensor:
    """Of spectra [... f] the agreement at every shift [... side, side], in standard deviations over all shifts (which
    Parseval's theorem gives). `side`: TORUS, or SEARCH for a coarse look."""
    products = spectrum * template.conj()
    spread = torch.view_as_real(products).square().sum((-2, -1)).mul_(2).sqrt_() / side**2
    products = products / spread.clamp(min=1e-12)[..., None]
    whole = torch.zeros(*products.shape[:-1], side * (side // 2 + 1), dtype=products.dtype)
    whole[..., _bins(side)] = products
    plane: Tensor = torch.fft.irfft2(whole.unflatten(-1, (side, -1)), s=(side, side))
    return plane


def as_made(height: int, width: int) -> tuple[float, float]:
    """Where the pattern lies on the torus when the picture was neither cut nor turned: centre on centre."""
    base = SIDE / min(height, width)
    middles = []
    for extent in (height, width):
        tiles = max(1, math.ceil((extent * base - 4) / TORUS))
        middles.append(tiles * TORUS / 2 - extent * base / 2)
    return middles[0], middles[1]


def ramp(shift: tuple[float, float]) -> Tensor:
    """The phase that undoes a shift, [f]."""
    rows, columns = np.divmod(band(), TORUS // 2 + 1)
    cycles = np.fft.fftfreq(TORUS)[rows] * shift[0] + np.fft.rfftfreq(TORUS)[columns] * shift[1]
    angle = torch.from_numpy(2 * math.pi * cycles).float()
    return torch.polar(torch.ones_like(angle), angle)


@lru_cache(maxsize=2)
def _bins(side: int) -> Tensor:
    """Where the band is in a flattened half spectrum of a plane of this side."""
    rows, columns = np.divmod(band(), TORUS // 2 + 1)
    rows = np.where(rows < TORUS // 2, rows, rows - TORUS) % side
    return torch.from_numpy(rows * (side // 2 + 1) + columns)
