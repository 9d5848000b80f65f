"""The payload's bits from a film whose pattern is in place: which frames say how much, and which moving layer is shown.

Of every window of time there is one spectrum. What the picture itself adds to them is alike from window to window where
little moves; their covariance says how much, and the best linear estimate (Aitken 1935) subtracts what it can. A codec
leaves more of the mark in some windows than in others; the sync bins, whose content is known, say how much. Axes:
windows n, frequencies f (those of the band), groups of frequencies q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from longtake.provenance import payload
from longtake.provenance.evidence import WINDOW
from longtake.provenance.keys import MasterKey
from longtake.provenance.pattern import MOVING, TORUS, Layer, band, layer

FRAMES_A_TURN = (12, 15, 16, 24, 25, 30, 48, 60)
"""Frames for which a moving layer may be shown: usual rates, half and double speed. Tried forwards and backwards."""
AS_MADE = 24
SEGMENT = 4
"""Windows through which the turns are followed: of a long film, pieces of so many are looked at (video.sample_grey)."""
_EXPECTED = 1.5
"""Standard deviations in favour of the turns that go on as they began, or as a film is made."""
_GROUPS = 3
_LOADING = 0.1
_TRUST = 0.5
"""In what the sync bins say about each window; the rest says that all are alike."""

Real = np.ndarray[Any, np.dtype[np.float64]]
Spectra = np.ndarray[Any, np.dtype[np.complex64]]
Path = tuple[int, ...]


@dataclass(frozen=True)
class Aligned:
    """Levelled spectra of all windows, what the picture says in them, and its inverse."""

    spectra: Spectra  # n f
    covariance: Real  # q n n
    precision: Real  # q n n


def aligned(spectra: Spectra) -> Aligned:
    """From the spectra [n f] of the windows in the band, with the pattern in place."""
    size = np.sqrt(np.square(np.abs(spectra)).mean(0))
    level = (spectra * (1 / (size + 0.5 * size.mean() + 1e-6))).astype(np.complex64)
    covariances, inverses = [], []
    for group in range(_GROUPS):
        inside = np.ascontiguousarray(level[:, _groups() == group])
        part = torch.from_numpy(inside.view(np.float32))  # n, real and imaginary
        covariance = (part @ part.T).double().numpy() / part.shape[1]
        loading = _LOADING * np.trace(covariance) / len(covariance) + 1e-12
        covariance += loading * np.eye(len(covariance))
        covariances.append(covariance)
        inverses.append(np.linalg.inv(covariance))
    return Aligned(level, np.stack(covariances), np.stack(inverses))


def soft_bits(film: Aligned, key: MasterKey) -> payload.Soft:
    """The soft values of the 127 bits, from the still layer and from each moving one where it is shown."""
    count = len(film.spectra)
    soft = _read(film, layer(key, 0), np.ones(count, bool))
    shown = np.array(_turns(film, key)[0])
    for number in sorted(set(shown.tolist())):
        soft = soft + _read(film, layer(key, number), shown == number)
    return soft


def moving_height(film: Aligned, key: MasterKey) -> float:
    """Standard deviations by which the moving layers show, in the best order in which they may follow each other."""
    return _turns(film, key)[1]


def _read(film: Aligned, pattern: Layer, where: np.ndarray[Any, np.dtype[np.bool_]]) -> payload.Soft:
    """What this layer says, as loud in each window as its sync bins are."""
    sums, sizes = _sync(film, pattern)
    loud = np.where(where, np.maximum(sums.sum(0) / sizes.sum(), 0) + 1e-3, 0)
    loud = _TRUST * loud + (1 - _TRUST) * where * (loud.sum() / where.sum())
    weights = film.precision @ loud  # q n
    return pattern.read((weights[_groups()].T * film.spectra).sum(0))


def _sync(film: Aligned, pattern: Layer) -> tuple[Real, Real]:
    """The agreement with the sync bins [q n], and how many there are [q]."""
    own = np.flatnonzero(pattern.owner < 0)
    agreement = (film.spectra[:, own] * pattern.phase[own].conj()).real
    groups = _groups()[own]
    sums = [np.bincount(groups, weights=row, minlength=_GROUPS) for row in agreement]
    return np.stack(sums, 1), np.bincount(groups, minlength=_GROUPS).astype(np.float64)


def _turns(film: Aligned, key: MasterKey) -> tuple[list[int], float]:
    """The moving layer of each window, and how clearly they show in all."""
    count = len(film.spectra)
    synced = [_sync(film, layer(key, 1 + k)) for k in range(MOVING)]
    sums, sizes = np.stack([s for s, _ in synced]), np.stack([s for _, s in synced])  # k q n, k q
    shown: list[int] = []
    clear: list[float] = []
    for start in range(0, count, SEGMENT):
        length = min(SEGMENT, count - start)
        heights = {
            (a, b): _heights(film, sums, sizes, range(start + a, start + b))
            for a in range(length)
            for b in range(a + 1, length + 1)
        }
        expected = _path(AS_MADE, start * WINDOW, length)
        followed = max(
            _paths(length), key=lambda path: _score(path, heights) + _EXPECTED * (path == expected)
        )
        shown += followed
        clear.append(_score(followed, heights))
    return shown, sum(clear) / math.sqrt(len(clear))


def _heights(film: Aligned, sums: Real, sizes: Real, span: range) -> Real:
    """Standard deviations by which each moving layer shows in this span of windows, [k]."""
    there = np.zeros(len(film.spectra))
    there[span.start : span.stop] = 1
    weights = film.precision @ there  # q n
    noise = np.einsum("qn,qnm,qm->q", weights, film.covariance, weights)
    return np.asarray(np.einsum("qn,kqn->k", weights, sums) / np.sqrt(sizes @ noise))


def _score(path: Path, heights: dict[tuple[int, int], Real]) -> float:
    """Of a path of layers through a segment: its spans' heights added up, in standard deviations of the sum."""
    ends = [i for i in range(1, len(path)) if path[i] != path[i - 1]] + [len(path)]
    spans = list(zip([0, *ends], ends, strict=False))
    return sum(float(heights[a, b][path[a] - 1]) for a, b in spans) / math.sqrt(len(spans))


@lru_cache(maxsize=SEGMENT)
def _paths(length: int) -> tuple[Path, ...]:
    """All ways in which layers may follow each other through so many windows."""
    found = set[Path]()
    for frames in FRAMES_A_TURN:
        for start in range(0, MOVING * frames, max(1, frames // 4)):
            path = _path(frames, start, length)
            found |= {path, path[::-1]}
    return tuple(sorted(found))


def _path(frames: int, start: int, length: int) -> Path:
    return tuple(1 + (start + i * WINDOW + WINDOW // 2) // frames % MOVING for i in range(length))


@lru_cache(maxsize=1)
def _groups() -> np.ndarray[Any, np.dtype[np.int64]]:
    """To which group each frequency of the band belongs, lowest first, [f]."""
    rows, columns = np.divmod(band(), TORUS // 2 + 1)
    radius = np.hypot(np.fft.fftfreq(TORUS)[rows], np.fft.rfftfreq(TORUS)[columns])
    edges = np.quantile(radius, np.linspace(0, 1, _GROUPS + 1)[1:-1])
    return np.asarray(np.searchsorted(edges, radius, side="right"))
