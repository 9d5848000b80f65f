"""Loudness against the reference tones of ITU-R BS.2217 and EBU Tech 3341."""

from __future__ import annotations

import math

import numpy as np
import pytest

from longtake.finish.loudness import PEAK, biquad, limit, loudness, normalise

RATE = 48000


def tone(decibels: float, seconds: float, hertz: float = 997.0, rate: int = RATE) -> np.ndarray:
    clock = np.arange(round(seconds * rate)) / rate
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * clock)).astype(np.float32)


def stereo(*parts: np.ndarray) -> np.ndarray:
    mono = np.concatenate(parts)
    return np.stack([mono, mono], 1)


def test_a_full_scale_tone_in_one_channel_is_minus_3_01() -> None:
    """BS.1770: 0 dBFS, 997 Hz, one front channel reads -3.01 LKFS."""
    assert loudness(tone(0, 20), RATE) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_stereo_tones_read_their_level(level: float, rate: int) -> None:
    """EBU Tech 3341, cases 1 and 2."""
    assert loudness(stereo(tone(level, 20, 1000.0, rate)), rate) == pytest.approx(level, abs=0.1)


def test_the_relative_gate_drops_quiet_parts() -> None:
    """EBU Tech 3341, cases 3, 4 and 5."""
    case3 = stereo(tone(-36, 10, 1000), tone(-23, 60, 1000), tone(-36, 10, 1000))
    case4 = stereo(
        tone(-72, 10, 1000),
        tone(-36, 10, 1000),
        tone(-23, 60, 1000),
        tone(-36, 10, 1000),
        tone(-72, 10, 1000),
    )
    case5 = stereo(tone(-26, 20, 1000), tone(-20, 20.1, 1000), tone(-26, 20, 1000))
    for case in (case3, case4, case5):
        assert loudness(case, RATE) == pytest.approx(-23.0, abs=0.1)


def test_silence_and_short_sounds_have_no_loudness() -> None:
    assert loudness(np.zeros((RATE, 2), np.float32), RATE) == -math.inf
    assert loudness(tone(-6, 0.3), RATE) == -math.inf
    silence = np.zeros((RATE, 2), np.float32)
    assert np.array_equal(normalise(silence, RATE), silence)


def test_normalising_hits_the_target_and_holds_the_peaks() -> None:
    rng = np.random.default_rng(0)
    bursts = rng.normal(0, 0.02, (8 * RATE, 2)).astype(np.float32)
    bursts[RATE :: RATE // 2] = 0.9
    made = normalise(bursts, RATE, -16.0)
    assert loudness(made, RATE) == pytest.approx(-16.0, abs=0.15)
    assert np.abs(made).max() <= PEAK + 1e-6


def test_the_limiter_leaves_quiet_sound_alone_and_has_no_clicks() -> None:
    quiet = stereo(tone(-12, 1))
    assert limit(quiet, RATE) is quiet
    loud = stereo(tone(-12, 1), tone(6, 1), tone(-12, 1))
    limited = limit(loud, RATE)
    assert np.abs(limited).max() <= PEAK + 1e-6
    gain = limited[np.abs(loud[:, 0]) > 0.1, 0] / loud[np.abs(loud[:, 0]) > 0.1, 0]
    assert np.abs(np.diff(gain)).max() < 0.05


def test_the_block_filter_equals_the_recursion() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9000, 1))
    b, a = np.array([1.0, -2.0, 1.0]), np.array([1.0, -1.99, 0.9901])
    y = np.zeros(len(x))
    for n in range(len(x)):
        y[n] = sum(b[k] * x[n - k, 0] for k in range(3) if n >= k) - sum(
            a[k] * y[n - k] for k in (1, 2) if n >= k
        )
    assert np.allclose(biquad(x, b, a)[:, 0], y, atol=1e-8)
