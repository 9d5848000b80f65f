"""What music and ambience are made of: shaped noise, slow curves, echo. float32 at RATE, deterministic by generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RATE = 48000
"""Samples a second of everything made here."""

Signal = np.ndarray[Any, np.dtype[np.float32]]
"""Mono [n]."""
Curve = Callable[[Any], Any]
"""Frequency in Hz (an array) -> gain."""


def noise(count: int, gain: Curve, rng: np.random.Generator) -> Signal:
    """Gaussian noise whose spectrum follows `gain`, at an RMS of 1."""
    size = max(count, 256)
    spectrum = np.fft.rfft(rng.standard_normal(size).astype(np.float32))
    spectrum *= gain(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1.0))
    wave = np.fft.irfft(spectrum, size)[:count]
    return (wave / max(1e-9, float(np.sqrt(np.mean(wave**2))))).astype(np.float32)


def band(low: float, high: float, slope: float = 2.0) -> Curve:
    """Pass from `low` to `high` Hz with soft shoulders."""
    return lambda f: 1 / (1 + (low / f) ** (2 * slope)) / (1 + (f / high) ** (2 * slope))


def wander(count: int, seconds: float, rng: np.random.Generator) -> Signal:
    """A smooth random curve in 0..1 that turns about every `seconds`."""
    knots = max(4, int(count / RATE / seconds) + 4)
    values = rng.random(knots)
    at = np.linspace(0, knots - 3, count)
    index, share = at.astype(int), at % 1
    smooth = (1 - np.cos(np.pi * share)) / 2
    curve = values[index] * (1 - smooth) + values[index + 1] * smooth
    return np.asarray(curve, np.float32)


def fade(count: int, rise: float, fall: float) -> Signal:
    """0..1..0: raised cosines of `rise` and `fall` seconds at the ends."""
    clock = np.arange(count) / RATE
    up = np.clip(clock / max(rise, 1e-6), 0, 1)
    down = np.clip((count / RATE - clock) / max(fall, 1e-6), 0, 1)
    return np.asarray((1 - np.cos(np.pi * np.minimum(up, down))) / 2, np.float32)


def stereo(left: Signal, right: Signal) -> Signal:
    """[n] and [n] -> [n 2]."""
    return np.stack([left, right], 1)


def pan(mono: Signal, place: float | Signal) -> Signal:
    """[n] -> [n 2] at -1 (left) .. 1 (right), equal power."""
    angle = (np.asarray(place) + 1) * (np.pi / 4)
    return np.stack([mono * np.cos(angle), mono * np.sin(angle)], 1).astype(np.float32)


def echo(dry: Signal, seconds: float, share: float, rng: np.random.Generator) -> Signal:
    """A room around [n 2]: convolved with noise that decays by 60 dB in `seconds`."""
    count = round(seconds * RATE)
    decay = 10 ** (-3 * np.arange(count) / count)
    size = 1 << (len(dry) + count).bit_length()
    wet = np.empty_like(dry)
    for channel in range(2):
        room = noise(count, band(200, 5000, 1.0), rng) * decay
        room /= np.sqrt(np.sum(room**2))
        product = np.fft.rfft(dry[:, channel], size) * np.fft.rfft(room, size)
        wet[:, channel] = np.fft.irfft(product, size)[: len(dry)]
    return (dry * (1 - share) + wet * share).astype(np.float32)
