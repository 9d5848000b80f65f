"""Find the pixel mark without the original: where the pattern lies in the picture, then what it says.

The sync pattern of a key is looked for by correlation with the whitened spectrum, all shifts at once, under a range
of scales, aspects, rotations and flips; the best places are refined, and there the payload is read from the still
and the moving layers together. Coordinates: canonical pixels of the pattern, and pixels of the looked-at picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.provenance import payload
from longtake.provenance.keys import KeyRing, MasterKey
from longtake.provenance.pattern import MOVING, SIDE, TORUS, band, layer

SYNC_HIT = 8.9
"""Standard deviations from which the sync pattern counts as found without a readable payload: by a fit of extreme
values to 40,000 readings of real footage with wrong keys, 8.8 come up once in a million searches (docs/marks.md)."""
_PROMISING = 5.0
_TRIED = 6
"""Of the best places of a search, refined and read."""
_SMALLEST = 48
_SEARCH = 160
"""Side of the correlation plane in a search: just holds the band."""


@dataclass(frozen=True)
class Geometry:
    """How the pattern lies in the picture: stretched to sx, sy times the expected size, after a rotation in
    degrees; `turn` counts quarter turns, plus 4 when mirrored."""

    sx: float = 1.0
    sy: float = 1.0
    angle: float = 0.0
    turn: int = 0


@dataclass(frozen=True)
class Reading:
    """What was found: the height of the sync peak in standard deviations, the id where it can be read."""

    z: float
    geometry: Geometry = Geometry()
    ident: int | None = None
    version: int = 0
    soft: payload.Soft | None = None
    searched: int = 0

    @property
    def found(self) -> bool:
        return self.ident is not None or self.z >= SYNC_HIT


def detect(windows: Iterable[Tensor], ring: KeyRing, thorough: bool = True, hurried: bool = True) -> Reading:
    """Read the mark from summed fine structure (evidence.windows).

    `thorough` also looks for scaled, stretched and turned pictures when nothing lies as it was made; `hurried`
    stops at the first windows that suffice.
    """
    held: list[Tensor] = []
    best = Reading(0.0)
    for window in windows:
        held.append(window)
        if hurried and len(held) in (1, 2, 4, 8, 16):
            best = _best(_plain(held, ring))
            if best.ident is not None:
                return best
    if not held or not ring.keys or min(held[0].shape) < _SMALLEST:
        return Reading(0.0)
    best = _best(_plain(held, ring))
    if best.ident is None and thorough:
        best = _best([best, *_search(held, ring)])
    return best


def _best(readings: Iterable[Reading]) -> Reading:
    return max(readings, key=_rank, default=Reading(0.0))


def _rank(reading: Reading) -> tuple[bool, float]:
    return reading.ident is not None, reading.z


def read_at(windows: list[Tensor], key: MasterKey, geometry: Geometry) -> Reading:
    """Align with the still layer at this geometry and read all layers."""
    total = torch.stack(windows).sum(0)
    aligned = spectrum_of(total, geometry)
    plane = correlate(aligned, _sync(key, 0))
    z, shift = peak(plane)
    return _read_aligned(windows, key, geometry, aligned, z, shift)


def _read_aligned(
    windows: list[Tensor],
    key: MasterKey,
    geometry: Geometry,
    aligned: Tensor,
    z: float,
    shift: tuple[float, float],
) -> Reading:
    ramp = _ramp(shift)
    soft = layer(key, 0).read((aligned * ramp).numpy())
    for window in windows:
        spectrum = spectrum_of(window, geometry) * ramp
        scores = [float((spectrum * _sync(key, k).conj()).real.sum()) for k in range(1, MOVING + 1)]
        number = int(np.argmax(scores))
        soft = soft + layer(key, 1 + number).read(spectrum.numpy()) / math.sqrt(len(windows))
    ident = payload.decode(soft, key)
    return Reading(z, geometry, ident, key.version, soft)


def _plain(windows: list[Tensor], ring: KeyRing) -> Iterator[Reading]:
    """As it was made, then mirrored and in quarter turns, then by the moving layers alone."""
    if min(windows[0].shape) < _SMALLEST:
        return
    aligned = spectrum_of(torch.stack(windows).sum(0), Geometry())
    place = _as_made(windows[0].shape[0], windows[0].shape[1])
    for key in reversed(ring.keys):
        plane = correlate(aligned, _sync(key, 0))
        z = float(plane[round(place[0]) % TORUS, round(place[1]) % TORUS] / plane.std().clamp(min=1e-12))
        reading = _read_aligned(windows, key, Geometry(), aligned, z, place)
        if (
            reading.ident is not None
        ):  # nothing moved, so sync is not needed: this reads deeper into compression
            yield reading
            return
        peaks = _turned_peaks(aligned, key, range(8))
        turn = int(np.argmax(peaks))
        reading = read_at(windows, key, Geometry(turn=turn))
        if reading.ident is None:
            moving = _read_moving(windows, key)
            reading = max(reading, moving, key=_rank)
        yield reading
        if reading.ident is not None:
            return


def _as_made(height: int, width: int) -> tuple[float, float]:
    """Where the pattern lies on the torus when the picture was neither cut nor turned: centre on centre."""
    base = SIDE / min(height, width)
    middles = []
    for extent in (height, width):
        tiles = max(1, math.ceil((extent * base - 4) / TORUS))
        middles.append(tiles * TORUS / 2 - extent * base / 2)
    return middles[0], middles[1]


def _read_moving(windows: list[Tensor], key: MasterKey) -> Reading:
    """Sync by the moving layers, for a film whose still layer was averaged out of it."""
    spectra = [spectrum_of(window, Geometry()) for window in windows]
    templates = torch.stack([_sync(key, k) for k in range(1, MOVING + 1)])
    total = torch.zeros(TORUS, TORUS)
    for spectrum in spectra:
        planes = torch.fft.irfft2(spectrum * templates.conj(), s=(TORUS, TORUS))
        total += (planes / planes.std((1, 2), keepdim=True)).amax(0)
    z, shift = peak(total)
    aligned = torch.stack(spectra).sum(0)
    return _read_aligned(windows, key, Geometry(), aligned, z, shift)


def _search(windows: list[Tensor], ring: KeyRing) -> Iterator[Reading]:
    total = torch.stack(windows).sum(0)
    found: list[tuple[float, Geometry, MasterKey]] = []
    searched = 0
    for geometry, turns in hypotheses():
        spectrum = spectrum_of(total, geometry)
        for key in ring.keys:
            peaks = _turned_peaks(spectrum, key, turns)
            best = int(np.argmax(peaks))
            searched += len(turns)
            found.append((peaks[best], replace(geometry, turn=turns[best]), key))
    found.sort(key=lambda entry: -entry[0])
    for z, geometry, key in found[:_TRIED]:
        if z < _PROMISING:
            return
        reading = read_at(windows, key, _refined(total, key, geometry))
        yield replace(reading, searched=searched)
        if reading.ident is not None:
            return


def hypotheses() -> Iterator[tuple[Geometry, range]]:
    """Cut-outs and pictures in pictures (one scale), then stretched ones, then rotated ones."""
    everything, upright = range(8), range(0, 8, 4)
    for scale in np.exp(np.arange(math.log(0.4), math.log(2.4), 0.018)):
        yield Geometry(float(scale), float(scale)), everything
    for stretch in np.exp(np.arange(math.log(0.42), math.log(2.4), 0.018)):
        yield Geometry(float(stretch), 1.0), upright
        yield Geometry(1.0, float(stretch)), upright
    for angle in np.arange(-45, 45.1, 1.0):
        yield Geometry(angle=float(angle)), upright


def _refined(total: Tensor, key: MasterKey, start: Geometry) -> Geometry:
    """Climb in scale, aspect and rotation by ever smaller steps."""

    def height(geometry: Geometry) -> float:
        return peak(correlate(spectrum_of(total, geometry), _sync(key, 0)))[0]

    best = max((start, replace(start, angle=-start.angle)), key=height)
    top = height(best)
    for step in (0.006, 0.003, 0.0015):
        for _ in range(3):
            around = [
                replace(best, sx=best.sx * (1 + a), sy=best.sy * (1 + b), angle=best.angle + c)
                for a, b, c in (
                    (step, step, 0), (-step, -step, 0), (step, -step, 0), (-step, step, 0),
                    (0, 0, math.degrees(step)), (0, 0, -math.degrees(step)),
                )
            ]  # fmt: skip
            heights = [height(geometry) for geometry in around]
            if max(heights) <= top:
                break
            top, best = max(heights), around[int(np.argmax(heights))]
    return best


def spectrum_of(plane: Tensor, geometry: Geometry) -> Tensor:
    """The picture laid onto the torus under this geometry, its spectrum whitened and cut to the band."""
    turned = torch.rot90(plane.flip(1) if geometry.turn >= 4 else plane, -(geometry.turn % 4), (0, 1))
    height, width = turned.shape
    base = SIDE / min(height, width)
    mx, my = base * geometry.sx, base * geometry.sy
    angle = math.radians(geometry.angle)
    cos, sin = math.cos(angle), math.sin(angle)
    if max(mx, my) < 0.6:  # before shrinking: nothing finer than the torus can hold
        factor = math.floor(1 / max(mx, my) + 0.4)
        turned = F.avg_pool2d(turned[None, None], factor)[0, 0]
        height, width = turned.shape
        mx, my = mx * factor, my * factor
    wide = abs(width * cos) + abs(height * sin), abs(width * sin) + abs(height * cos)
    tiles = [max(1, math.ceil((extent * m - 4) / TORUS)) for extent, m in zip(wide, (mx, my), strict=True)]
    w, h = tiles[0] * TORUS, tiles[1] * TORUS
    # affine_grid maps output to input, both in units of half their size
    theta = torch.tensor(
        [[cos / mx * w / width, -sin / my * h / width, 0], [sin / mx * w / height, cos / my * h / height, 0]]
    )
    grid = F.affine_grid(theta[None], [1, 1, h, w], align_corners=False)
    laid = F.grid_sample(turned[None, None], grid, mode="bilinear", align_corners=False)[0, 0]
    folded = laid.reshape(tiles[1], TORUS, tiles[0], TORUS).sum((0, 2))
    spectrum = torch.fft.rfft2(folded)
    inside = _band()
    size = spectrum.abs()
    return torch.where(inside, spectrum / (size + 0.5 * (size * inside).sum() / inside.sum() + 1e-9), 0)


@lru_cache(maxsize=1)
def _band() -> Tensor:
    inside = np.zeros(TORUS * (TORUS // 2 + 1), bool)
    inside[band()] = True
    return torch.from_numpy(inside.reshape(TORUS, TORUS // 2 + 1))


@lru_cache(maxsize=160)
def _sync(key: MasterKey, number: int) -> Tensor:
    return torch.from_numpy(layer(key, number).sync)


@lru_cache(maxsize=16)
def _turned_sync(key: MasterKey) -> Tensor:
    """The still sync pattern as a mirrored or turned picture shows it, [8 r c], cut to the search plane."""
    plane = torch.fft.irfft2(_sync(key, 0), s=(TORUS, TORUS))
    turned = [torch.rot90(plane, k, (0, 1)) for k in range(4)]
    spectra: Tensor = torch.fft.rfft2(torch.stack(turned + [t.flip(1) for t in turned]))
    conjugate: Tensor = _small(spectra).conj().resolve_conj()
    return conjugate


def _small(spectra: Tensor) -> Tensor:
    half = _SEARCH // 2
    return torch.cat([spectra[..., :half, : half + 1], spectra[..., -half:, : half + 1]], -2)


def _turned_peaks(spectrum: Tensor, key: MasterKey, turns: range) -> list[float]:
    templates = _turned_sync(key)[turns.start : turns.stop : turns.step]
    planes = torch.fft.irfft2(_small(spectrum) * templates, s=(_SEARCH, _SEARCH))
    peaks: list[float] = (planes.amax((1, 2)) / planes.std((1, 2)).clamp(min=1e-12)).tolist()
    return peaks


def correlate(spectrum: Tensor, template: Tensor) -> Tensor:
    plane: Tensor = torch.fft.irfft2(spectrum * template.conj(), s=(TORUS, TORUS))
    return plane


def peak(plane: Tensor) -> tuple[float, tuple[float, float]]:
    """Its height in standard deviations, and its place (row, column) to a fraction of a pixel."""
    flat = int(plane.argmax())
    row, column = divmod(flat, TORUS)
    z = float((plane[row, column] - plane.mean()) / plane.std().clamp(min=1e-12))
    return z, (row + _vertex(plane[:, column], row), column + _vertex(plane[row], column))


def _vertex(line: Tensor, at: int) -> float:
    """Where the parabola through a peak and its neighbours is highest, -0.5..0.5."""
    before, top, after = (float(line[(at + d) % len(line)]) for d in (-1, 0, 1))
    bend = before - 2 * top + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend else 0.0


def _ramp(shift: tuple[float, float]) -> Any:
    """The phase that undoes a shift."""
    rows, columns = torch.fft.fftfreq(TORUS), torch.fft.rfftfreq(TORUS)
    angle = 2 * math.pi * (rows[:, None] * shift[0] + columns[None] * shift[1])
    return torch.polar(torch.ones_like(angle), angle)
