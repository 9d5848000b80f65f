"""Loudness of programme as ITU-R BS.1770-5 measures it, in LUFS, and bringing sound to a target.

Sound is float32 [n channels] in -1..1, mono or stereo, both channels weighted 1. K-weighting is two biquad filters
whose coefficients for any sample rate come from the analogue prototype behind the standard's table for 48 kHz (as in
De Man, "Evaluation of implementations of the EBU R128 loudness measurement", 2018).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Sound = np.ndarray[Any, np.dtype[np.float32]]
Wave = np.ndarray[Any, np.dtype[np.float64]]

TARGET = -16.0
"""LUFS: what films on the web are played at."""
PEAK = 10 ** (-1.5 / 20)
"""No sample goes above -1.5 dBFS, which leaves room for what the encoder adds."""
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
BLOCK, OVERLAP = 0.4, 0.75


def loudness(sound: Sound, rate: int) -> float:
    """Gated loudness in LUFS; -inf for silence and for what is shorter than 0.4 s."""
    channels = np.asarray(sound, np.float64).reshape(len(sound), -1)
    block, hop = round(BLOCK * rate), round(BLOCK * (1 - OVERLAP) * rate)
    if len(channels) < block:
        return -math.inf
    weighted = _k_weighted(channels, rate)
    sums = np.concatenate([np.zeros((1, channels.shape[1])), np.cumsum(weighted**2, 0)])
    starts = np.arange(0, len(channels) - block + 1, hop)
    power = ((sums[starts + block] - sums[starts]) / block).sum(1)  # blocks
    power = power[_lufs(power) > ABSOLUTE_GATE]
    if not len(power):
        return -math.inf
    gated = power[_lufs(power) > float(_lufs(power.mean())) + RELATIVE_GATE]
    return float(_lufs(gated.mean()))


def normalise(sound: Sound, rate: int, target: float = TARGET) -> Sound:
    """The sound at `target` LUFS, peaks held below PEAK. Silence stays silence.

    The limiter takes a little loudness where it works, so gain and limiter are applied until they agree.
    """
    measured = loudness(sound, rate)
    if not math.isfinite(measured):
        return sound
    gain, limited = 10 ** ((target - measured) / 20), sound
    for _ in range(8):
        limited = limit(sound * np.float32(gain), rate)
        missing = target - loudness(limited, rate)
        if abs(missing) < 0.05:
            break
        gain *= 10 ** (missing / 20)
    return limited


def limit(sound: Sound, rate: int, ceiling: float = PEAK) -> Sound:
    """Turn loud moments down so that no sample passes `ceiling`: 5 ms ahead of a peak, back over 60 ms."""
    peaks = np.abs(sound).reshape(len(sound), -1).max(1)
    if peaks.max(initial=0.0) <= ceiling:
        return sound
    wanted = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    ahead = max(1, round(0.005 * rate))
    held = _minimum(wanted, 2 * ahead + 1)
    recovering = _recover(held, math.exp(-1 / (0.06 * rate)))
    smooth = np.convolve(
        np.pad(recovering, ahead, mode="edge"), np.ones(2 * ahead + 1) / (2 * ahead + 1), "valid"
    )
    gain = np.minimum(smooth, wanted)
    limited: Sound = (sound * gain.reshape(-1, *([1] * (sound.ndim - 1)))).astype(np.float32)
    return limited


def _minimum(values: Wave, width: int) -> Wave:
    """Smallest value in a centred window of odd `width` (van Herk's two passes)."""
    half = width // 2
    padded = np.pad(values, (half, half + (-(len(values) + 2 * half)) % width), constant_values=1.0)
    blocks = padded.reshape(-1, width)
    forward = np.minimum.accumulate(blocks, 1).ravel()
    backward = np.minimum.accumulate(blocks[:, ::-1], 1)[:, ::-1].ravel()
    found: Wave = np.minimum(backward[: len(values)], forward[width - 1 : width - 1 + len(values)])
    return found


def _recover(gain: Wave, keep: float) -> Wave:
    """Let the gain rise slowly after it fell: g[i] <= 1 - keep * (1 - g[i-1])."""
    reduction, level = 1 - gain, 0.0
    step = 32  # the fall of 32 samples at once is inaudible and 32 times faster
    coarse = np.pad(reduction, (0, -len(reduction) % step)).reshape(-1, step).max(1)
    fall = keep**step
    out = np.empty_like(coarse)
    for index, value in enumerate(coarse):
        level = max(float(value), level * fall)
        out[index] = level
    return np.asarray(1 - np.repeat(out, step)[: len(gain)])


def _lufs(power: Any) -> Any:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-12))


def _k_weighted(channels: Wave, rate: int) -> Wave:
    for b, a in (_shelf(rate), _high_pass(rate)):
        channels = biquad(channels, b, a)
    return channels


def _shelf(rate: int) -> tuple[Wave, Wave]:
    """Stage 1: the head's high shelf, +4 dB."""
    centre, gain, q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k = math.tan(math.pi * centre / rate)
    high = 10 ** (gain / 20)
    middle = high**0.4996667741545416
    b = [high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k]
    return _scaled(b, [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])


def _high_pass(rate: int) -> tuple[Wave, Wave]:
    """Stage 2: the RLB weighting, a high pass at 38 Hz."""
    centre, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * centre / rate)
    a = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    _, scaled = _scaled([1, -2, 1], a)
    return np.array([1.0, -2.0, 1.0]), scaled


def _scaled(b: list[float], a: list[float]) -> tuple[Wave, Wave]:
    return np.asarray(b, np.float64) / a[0], np.asarray(a, np.float64) / a[0]


def biquad(channels: Wave, b: Wave, a: Wave) -> Wave:
    """A second-order filter along the first axis, by its impulse response in blocks of 4096 samples.

    The poles of every filter used here lie well inside the circle: after the block what is left is carried on exactly
    by the two state variables, so nothing is cut off.
    """
    block = 4096
    response = _impulse(b, a, block)
    carry = _carry(a, block)
    spectrum = np.fft.rfft(response, 2 * block)[:, None]
    state = np.zeros((2, channels.shape[1]))
    out = np.empty_like(channels)
    for start in range(0, len(channels), block):
        piece = channels[start : start + block]
        filtered = np.fft.irfft(np.fft.rfft(piece, 2 * block, 0) * spectrum, 2 * block, 0)[: len(piece)]
        filtered = filtered + carry[: len(piece)] @ state
        out[start : start + block] = filtered
        if len(piece) == block:
            x, y = piece[-2:], filtered[-2:]
            state = np.stack(
                [b[1] * x[1] + b[2] * x[0] - a[1] * y[1] - a[2] * y[0], b[2] * x[1] - a[2] * y[1]]
            )
    return out


def _impulse(b: Wave, a: Wave, count: int) -> Wave:
    """The first `count` answers to a single 1."""
    s1 = s2 = 0.0
    out = np.empty(count)
    for index in range(count):
        x = 1.0 if index == 0 else 0.0
        y = b[0] * x + s1
        s1, s2 = b[1] * x - a[1] * y + s2, b[2] * x - a[2] * y
        out[index] = y
    return out


def _carry(a: Wave, count: int) -> Wave:
    """What each of the two state variables adds to the next `count` outputs, [count 2]."""
    out = np.empty((count, 2))
    for column in range(2):
        s1, s2 = (1.0, 0.0) if column == 0 else (0.0, 1.0)
        for index in range(count):
            y = s1
            s1, s2 = s2 - a[1] * y, -a[2] * y
            out[index, column] = y
    return out
