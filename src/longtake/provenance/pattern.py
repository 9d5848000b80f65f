"""The keyed pattern behind the pixel mark, as a spectrum on a torus that covers a whole picture.

The picture's shorter side is SIDE canonical pixels, the torus TORUS square, so inside one picture the pattern does
not repeat and nothing can be learned by folding it onto itself. Every frequency in the band belongs either to the
sync pattern, which finds the picture's place and size, or to one of the payload's bits; which, and in which phase,
the key says. All parts are orthogonal on the torus.

Layer 0 stands still for the whole film, layers 1.. take turns, a second each: what is learned by averaging a film
holds only for half of the energy. Axes: planes [row column]; spectra are those of `numpy.fft.rfft2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from longtake.provenance import payload
from longtake.provenance.keys import MasterKey, stream

SIDE = 160
TORUS = 320
BAND = (0.075, 0.2375)
"""Cycles a canonical pixel, 12 to 38 waves over the shorter side. Codecs drop what is above: at 360 pixels, x264 at
CRF 34 leaves 0.4 to 0.8 of what has 14 to 20 waves and 0.05 to 0.3 of what has 44 to 53. What is below has to be told
from the picture's own shapes, and would be seen as mottling."""
SYNC_SHARES = (0.34, 0.15)
"""Of the still layer, by which the picture's place is found, and of those that take turns, of which it is only asked
which one is there: what can be read in a known place is then also found in an unknown one."""
MOVING = 8
"""Layers that take turns."""

Plane = np.ndarray[Any, np.dtype[np.float32]]
Spectrum = np.ndarray[Any, np.dtype[np.complex64]]


@dataclass(frozen=True)
class Layer:
    """One layer of one key. `bins` index the flattened half spectrum; `owner` is a bit, or -1 for sync."""

    bins: np.ndarray[Any, np.dtype[np.int64]]
    owner: np.ndarray[Any, np.dtype[np.int64]]
    phase: Spectrum  # unit modulus, one a bin

    @property
    def sync(self) -> Spectrum:
        """The sync pattern, one value a bin: unit modulus in its own."""
        return np.where(self.owner < 0, self.phase, 0).astype(np.complex64)

    def pattern(self, bits: np.ndarray[Any, np.dtype[np.int8]]) -> Plane:
        """The picture to add for these bits (-1, +1): [TORUS TORUS], mean 0, standard deviation 1."""
        sign = np.append(bits, 1)[self.owner]  # -1 takes the appended one: sync
        plane = self.plane(self.phase * sign)
        return np.asarray(plane / plane.std(), np.float32)

    def plane(self, values: Spectrum) -> Any:
        """The picture [TORUS TORUS] with these values in the band."""
        spectrum = np.zeros(TORUS * (TORUS // 2 + 1), np.complex64)
        spectrum[self.bins] = values
        return np.fft.irfft2(spectrum.reshape(TORUS, -1), s=(TORUS, TORUS))

    def read(self, values: Spectrum) -> payload.Soft:
        """Soft values of the bits from the band of an aligned spectrum, one value a bin."""
        agreement = (values * self.phase.conj()).real
        return np.bincount(self.owner + 1, weights=agreement, minlength=payload.BITS + 1)[1:].astype(
            np.float32
        )


@lru_cache(maxsize=1)
def band() -> np.ndarray[Any, np.dtype[np.int64]]:
    """The bins in the band; the two columns that mirror themselves are left out."""
    radius = np.hypot(np.fft.fftfreq(TORUS)[:, None], np.fft.rfftfreq(TORUS)[None])
    inside = (radius >= BAND[0]) & (radius <= BAND[1])
    inside[:, [0, -1]] = False
    return np.flatnonzero(inside)


@lru_cache(maxsize=160)
def layer(key: MasterKey, number: int) -> Layer:
    """Layer `number` of this key."""
    bins = band()
    count = len(bins)
    secret = key.derive("pixel mark")
    order = np.frombuffer(stream(secret, f"order {number}", 8 * count), "<u8")
    angles = np.frombuffer(stream(secret, f"phase {number}", 4 * count), "<u4") / 2**32
    shares = np.argsort(order, kind="stable") / count
    sync = SYNC_SHARES[min(number, 1)]
    owner = np.floor((shares - sync) / (1 - sync) * payload.BITS).astype(np.int64)
    phase = np.exp(2j * np.pi * angles).astype(np.complex64)
    return Layer(bins, np.maximum(owner, -1), phase)
