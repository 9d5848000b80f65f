"""False alarms: real footage, which carries no mark, read with thousands of keys that marked nothing.

For every key the highest sync peak in every clip, as it lies; and in one clip, each in turn, also the payload. A Gumbel
distribution fitted to the peaks says how high a peak has to be to be met once in a million readings, all the places
and turns counted in which a reading looks (Gumbel 1958; moments).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from longtake.evaluate.material import REAL, grey, real_clip
from longtake.provenance import bch, payload
from longtake.provenance.detect import SYNC_HIT
from longtake.provenance.evidence import windows
from longtake.provenance.geometry import Geometry, correlate, hypotheses, laid, whitened
from longtake.provenance.keys import MasterKey
from longtake.provenance.pattern import layer
from longtake.provenance.turns import aligned, soft_bits

RATE = 1e-6
_EULER = 0.5772156649


@dataclass(frozen=True)
class FalseAlarms:
    """What wrong keys found in clips without a mark."""

    readings: int
    """Keys times clips."""
    frames: int
    """Frames of all clips."""
    highest: float
    """The highest sync peak, in standard deviations."""
    hits: int
    """Peaks that would have counted as a mark."""
    payloads: int
    """Ids that came out, of as many tries as there were keys."""
    believed: int
    """Of those tries, the ones in which the bits agreed with some word as well as payload.AGREEMENT asks for; one in
    2^24 of them would carry the HMAC of its id."""
    level: float
    """Peak that the fit expects once in 1 / RATE whole searches."""

    def __str__(self) -> str:
        return (
            f"{self.readings} readings of {self.frames} frames with wrong keys: highest sync peak {self.highest:.2f} "
            f"sigma ({SYNC_HIT:g} counts as found: {self.hits}), {self.payloads} ids, {self.believed} times words that "
            f"could be one of {self.readings // len(REAL)}; "
            f"by the fit {self.level:.2f} sigma come up once in {1 / RATE:,.0f} searches"
        )


def wrong_keys(count: int, seconds: float, short: int) -> Iterator[float | FalseAlarms]:
    """Read the real clips with `count` keys; yields the share done, at last the result. Raises MissingExtraError."""
    places, films, frames = [], [], 0
    for name in REAL:
        clip = real_clip(name, seconds, short)
        frames += len(clip)
        spectra = laid(torch.stack(list(windows(map(grey, clip)))), Geometry())
        places.append(whitened(spectra.sum(0)))
        films.append(aligned(spectra.numpy()))
    peaks: list[float] = []
    payloads = believed = 0
    for number in range(count):
        key = MasterKey(number % 16, hashlib.sha256(f"wrong key {number}".encode()).digest(), "")
        sync = torch.from_numpy(layer(key, 0).sync)
        peaks += correlate(torch.stack(places), sync).amax((1, 2)).tolist()
        soft = soft_bits(films[number % len(films)], key)
        payloads += payload.decode(soft, key) is not None
        believed += bch.decode(soft)[1] >= payload.AGREEMENT
        if number % 20 == 0:
            yield number / count
    hits = sum(value >= SYNC_HIT for value in peaks)
    yield FalseAlarms(len(peaks), frames, max(peaks), hits, payloads, believed, level(peaks))


def level(peaks: Sequence[float]) -> float:
    """The height that the largest peak of a whole search exceeds with probability RATE."""
    places = sum(len(turns) for _, turns in hypotheses())
    scale = float(np.std(peaks)) * math.sqrt(6) / math.pi
    middle = float(np.mean(peaks)) - _EULER * scale
    return middle - scale * math.log(-math.log1p(-RATE / places))
