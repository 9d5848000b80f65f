"""Find the pixel mark without the original: where the pattern lies in the picture, then what it says.

The sync pattern of a key is looked for by correlation with the whitened spectrum, all shifts at once, under a range
of scales, aspects, rotations, flips and points of view (geometry.hypotheses); the best places are refined, and there
the payload is read from the still and the moving layers together (turns.soft_bits).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from longtake.provenance import payload
from longtake.provenance.abreast import abreast, cores, undivided
from longtake.provenance.geometry import (
    SEARCH,
    Geometry,
    Pictures,
    as_made,
    correlate,
    hypotheses,
    laid,
    ramp,
    whitened,
)
from longtake.provenance.keys import KeyRing, MasterKey
from longtake.provenance.pattern import MOVING, TORUS, band, layer
from longtake.provenance.turns import Aligned, aligned, moving_height, soft_bits

SYNC_HIT = 8.9
"""Standard deviations from which the sync pattern counts as found without a readable payload: by a fit of extreme
values to 40,000 readings of real footage with wrong keys, 8.86 come up once in a million searches (docs/marks.md)."""
_PLAIN_TO_SEE, _PROMISING, _POSSIBLE = 12.0, 5.0, 4.4
"""Peaks of a search that are refined and read at once; at its end; and where the moving layers are asked first."""
_TRIED, _ASKED = 6, 60
"""Of the best places of a search, refined and read, and of the next best, asked; of those again so many are read."""
_LISTENED = 4
"""Windows in which the moving layers are asked."""
_SMALLEST = 48


AS_MADE = Geometry()


@dataclass(frozen=True)
class Reading:
    """What was found: the height of the sync peak in standard deviations, the id where it can be read."""

    z: float
    geometry: Geometry = AS_MADE
    ident: int | None = None
    version: int = 0
    soft: payload.Soft | None = None
    searched: int = 1
    """Places at which the pattern might have been found."""

    @property
    def found(self) -> bool:
        return self.ident is not None or self.z >= SYNC_HIT


class Place(NamedTuple):
    """Where a search saw the still layer's sync pattern, and how high."""

    z: float
    geometry: Geometry
    key: MasterKey


def detect(windows: Iterable[Tensor], ring: KeyRing, thorough: bool = True, hurried: bool = True) -> Reading:
    """Read the mark from summed fine structure (evidence.windows).

    `thorough` also looks for scaled, stretched and turned pictures when nothing lies as it was made; `hurried`
    stops at the first windows that suffice.
    """
    workers = cores()
    with undivided():
        return _detect(windows, ring, thorough, hurried, workers)


def _detect(windows: Iterable[Tensor], ring: KeyRing, thorough: bool, hurried: bool, workers: int) -> Reading:
    film = _Film()
    for window in windows:
        film.add(window)
        if hurried and len(film.windows) in (1, 4, 16):
            best = _best(_plain(film, ring))
            if best.ident is not None:
                return best
    if not film.windows or not ring.keys or min(film.windows[0].shape) < _SMALLEST:
        return Reading(0.0)
    best = _best(_plain(film, ring))
    if best.ident is None and thorough:
        best = _best([best, *_search(film, ring, workers)])
    return best


def _best(readings: Iterable[Reading]) -> Reading:
    return max(readings, key=_rank, default=Reading(0.0))


def _rank(reading: Reading) -> tuple[bool, float]:
    """One that says something before others; of the others the least likely to be an accident."""
    return reading.ident is not None, reading.z * abs(reading.z) - 2 * math.log(reading.searched)


class _Film:
    """The windows of a film, and their spectra where nothing was moved, which are asked for again and again."""

    def __init__(self) -> None:
        self.windows: list[Tensor] = []
        self.whole = Pictures(torch.zeros(0))
        """Their sum."""
        self._total = torch.zeros(0)
        self._spectra: list[Tensor] = []

    def add(self, window: Tensor) -> None:
        self.windows.append(window)
        self._total = self._total + window if len(self.windows) > 1 else window
        self.whole = Pictures(self._total)

    def spectra(self, geometry: Geometry, most: int | None = None) -> Tensor:
        """Of each window, at `most` so many, laid out like this, [n f]."""
        if geometry != AS_MADE:
            return laid(torch.stack(self.windows[:most]), geometry)
        self._spectra += [laid(window, geometry) for window in self.windows[len(self._spectra) :]]
        return torch.stack(self._spectra[:most])

    def aligned(self, geometry: Geometry, shift: tuple[float, float], most: int | None = None) -> Aligned:
        """The windows, at `most` so many, with the pattern in this place."""
        return aligned((self.spectra(geometry, most) * ramp(shift)).numpy())

    def read(self, key: MasterKey, geometry: Geometry, z: float, shift: tuple[float, float]) -> Reading:
        """All layers, with the pattern in this place."""
        soft = soft_bits(self.aligned(geometry, shift), key)
        return Reading(z, geometry, payload.decode(soft, key), key.version, soft)

    def still_peak(self, key: MasterKey, geometry: Geometry) -> tuple[float, tuple[float, float]]:
        return peak(correlate(whitened(self.whole.laid(geometry)), _sync(key, 0)))

    def read_at(self, key: MasterKey, geometry: Geometry) -> Reading:
        """In the place of the still layer's peak."""
        return replace(self.read(key, geometry, *self.still_peak(key, geometry)), searched=TORUS**2)


def _plain(film: _Film, ring: KeyRing) -> Iterator[Reading]:
    """As it was made, then mirrored and in quarter turns, then by the moving layers alone."""
    if min(film.windows[0].shape) < _SMALLEST:
        return
    found = whitened(film.spectra(AS_MADE).sum(0))
    place = as_made(film.windows[0].shape[0], film.windows[0].shape[1])
    for key in reversed(ring.keys):
        plane = correlate(found, _sync(key, 0))
        z = float(plane[round(place[0]) % TORUS, round(place[1]) % TORUS])
        reading = film.read(key, AS_MADE, z, place)
        if reading.ident is None:  # otherwise nothing moved, and sync was not needed: that reads deepest
            turn = int(np.argmax(_turned_peaks(found, key, range(8))))
            reading = film.read_at(key, Geometry(turn=turn))
        if reading.ident is None:
            moving = _read_moving(film, key)  # whose peak is one of sums of maxima: only its words count
            reading = reading if moving.ident is None else moving
        yield reading
        if reading.ident is not None:
            return


def _read_moving(film: _Film, key: MasterKey) -> Reading:
    """Sync by the moving layers, for a film whose still layer was averaged out of it."""
    templates = torch.stack([_sync(key, k) for k in range(1, MOVING + 1)])
    total = torch.zeros(TORUS, TORUS)
    for spectrum in film.spectra(AS_MADE):
        total += correlate(whitened(spectrum), templates).amax(0)
    return film.read(key, AS_MADE, *peak(total))


def _search(film: _Film, ring: KeyRing, workers: int) -> Iterator[Reading]:
    """Everywhere, then the best places once more; what is plain to see ends it."""

    def look(case: tuple[Geometry, range]) -> list[Place]:
        geometry, turns = case
        spectrum = whitened(film.whole.laid(geometry))
        places = []
        for key in ring.keys:
            peaks = _turned_peaks(spectrum, key, turns)
            best = int(np.argmax(peaks))
            places.append(Place(peaks[best], replace(geometry, turn=turns[best]), key))
        return places

    def read(place: Place) -> Reading:
        return film.read_at(place.key, _refined(film, place.key, place.geometry))

    found: list[Place] = []
    searched = 0
    cases = list(hypotheses())
    for (_, turns), places in zip(cases, abreast(look, cases, workers), strict=True):
        searched += len(ring.keys) * len(turns) * TORUS**2
        found += places
        for place in places:
            if place.z >= _PLAIN_TO_SEE and (reading := read(place)).ident is not None:
                yield replace(reading, searched=searched)
                return
    found.sort(key=lambda place: -place.z)
    places = _apart(found, _TRIED + _ASKED)
    good = [place for place in places[:_TRIED] if place.z >= _PROMISING]
    likely = chain(good, _doubtful(film, places[len(good) :], workers))
    for reading in abreast(read, likely, workers):
        yield replace(reading, searched=searched)
        if reading.ident is not None:
            return


def _apart(found: list[Place], most: int) -> list[Place]:
    """The first possible places, none beside another: a climb from there would pass here."""
    kept: list[Place] = []
    for place in found:
        if place.z < _POSSIBLE or len(kept) == most:
            break
        if not any(other.key is place.key and _near(other.geometry, place.geometry) for other in kept):
            kept.append(place)
    return kept


def _doubtful(film: _Film, places: list[Place], workers: int) -> Iterator[Place]:
    """Where the still layer stands no higher than accidents do: the likeliest places by the moving layers."""

    def height(place: Place) -> float:
        z, shift = film.still_peak(place.key, place.geometry)
        moving = moving_height(film.aligned(place.geometry, shift, _LISTENED), place.key)
        return z**2 + max(0.0, moving) ** 2

    heights = list(abreast(height, places, workers))
    yield from (places[i] for i in np.argsort(heights)[::-1][:_TRIED])


def _near(a: Geometry, b: Geometry) -> bool:
    stretched = max(abs(math.log(a.sx / b.sx)), abs(math.log(a.sy / b.sy)))
    leaning = max(abs(a.px - b.px), abs(a.py - b.py))
    return a.turn == b.turn and stretched < 0.03 and abs(a.angle - b.angle) < 1.5 and leaning < 0.04


def _refined(film: _Film, key: MasterKey, start: Geometry) -> Geometry:
    """Climb in scale, aspect, rotation and, where it is one, the point of view by ever smaller steps."""

    def height(geometry: Geometry) -> float:
        return float(correlate(whitened(film.whole.laid(geometry)), _sync(key, 0)).amax())

    best = max((start, replace(start, angle=-start.angle)), key=height)
    top = height(best)
    seen_from_aside = bool(start.px or start.py)
    for step in (0.012, 0.006, 0.003, 0.0015)[not seen_from_aside :]:
        came = -1
        for _ in range(3):
            around = [
                replace(best, sx=best.sx * (1 + a), sy=best.sy * (1 + b), angle=best.angle + c)
                for a, b, c in (
                    (step, step, 0), (-step, -step, 0), (step, -step, 0), (-step, step, 0),
                    (0, 0, math.degrees(step)), (0, 0, -math.degrees(step)),
                )
            ]  # fmt: skip
            if seen_from_aside:
                around += [replace(best, px=best.px + d) for d in (step, -step)]
                around += [replace(best, py=best.py + d) for d in (step, -step)]
            # opposites are neighbours in the list, and the way back leads down
            heights = [height(place) if i ^ 1 != came else -math.inf for i, place in enumerate(around)]
            if max(heights) <= top:
                break
            came = int(np.argmax(heights))
            top, best = heights[came], around[came]
    return best


@lru_cache(maxsize=160)
def _sync(key: MasterKey, number: int) -> Tensor:
    return torch.from_numpy(layer(key, number).sync)


@lru_cache(maxsize=16)
def _turned_sync(key: MasterKey) -> Tensor:
    """The still sync pattern as a mirrored or turned picture shows it, [8 f]."""
    plane = torch.from_numpy(layer(key, 0).plane(layer(key, 0).sync))
    turned = [torch.rot90(plane, k, (0, 1)) for k in range(4)]
    spectra: Tensor = torch.fft.rfft2(torch.stack(turned + [t.flip(1) for t in turned]))
    return spectra.flatten(1)[:, band()].to(torch.complex64)


def _turned_peaks(spectrum: Tensor, key: MasterKey, turns: range) -> list[float]:
    """The highest correlation with each turned sync pattern, in standard deviations, on a coarse plane."""
    turned = _turned_sync(key)[turns.start : turns.stop : turns.step]
    peaks: list[float] = correlate(spectrum, turned, SEARCH).amax((1, 2)).tolist()
    return peaks


def peak(plane: Tensor) -> tuple[float, tuple[float, float]]:
    """The height of a correlation's highest point, and its place (row, column) to a fraction of a pixel."""
    flat = int(plane.argmax())
    row, column = divmod(flat, TORUS)
    return float(plane[row, column]), (
        row + _vertex(plane[:, column], row),
        column + _vertex(plane[row], column),
    )


def _vertex(line: Tensor, at: int) -> float:
    """Where the parabola through a peak and its neighbours is highest, -0.5..0.5."""
    before, top, after = (float(line[(at + d) % len(line)]) for d in (-1, 0, 1))
    bend = before - 2 * top + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend else 0.0
