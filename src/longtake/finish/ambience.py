"""The sound of places and weather, computed: rain, wind, street, waves, birds, crickets. No recordings.

Each maker answers [n 2] at about -23 dBFS RMS, without beginning or end; the mix fades it in and out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from longtake.finish.synthesis import RATE, Signal, band, noise, pan, stereo, wander

Maker = Callable[[int, np.random.Generator], Signal]


def ambience(name: str, count: int, rng: np.random.Generator) -> Signal:
    """`count` samples of one of AMBIENCES, [n 2]."""
    made = AMBIENCES[name](count, rng)
    return (made * (0.07 / max(1e-9, float(np.sqrt(np.mean(made**2)))))).astype(np.float32)


def _rain(count: int, rng: np.random.Generator) -> Signal:
    """A wash of noise, and drops: short damped tones of many heights, some near, most far."""
    shower = 0.8 + 0.2 * wander(count, 4.0, rng)
    wash = [noise(count, lambda f: band(400, 9000, 1.0)(f) / np.sqrt(f), rng) * shower for _ in range(2)]
    drops = np.zeros((count, 2), np.float32)
    for _ in range(int(45 * count / RATE)):
        length = int(rng.integers(200, 900))
        at = int(rng.integers(0, max(1, count - length)))
        length = min(length, count - at)
        clock = np.arange(length) / RATE
        drop = np.sin(2 * np.pi * rng.uniform(900, 5200) * clock) * np.exp(-clock * rng.uniform(300, 900))
        drops[at : at + length] += pan((drop * rng.pareto(2.5) * 0.5).astype(np.float32), rng.uniform(-1, 1))
    return stereo(*wash) + np.clip(drops, -4, 4)


def _wind(count: int, rng: np.random.Generator) -> Signal:
    """Bands of noise that swell and die with the gusts; the high ones only in strong gusts."""
    gust = wander(count, 2.5, rng)
    total = np.zeros((count, 2), np.float32)
    for low, high, power, level in ((60, 220, 0.6, 1.0), (220, 500, 1.4, 0.8), (500, 1100, 2.6, 0.5)):
        drift = 0.7 + 0.3 * wander(count, 1.1, rng)
        pair = [noise(count, band(low, high, 2.0), rng) for _ in range(2)]
        total += stereo(*pair) * (level * (0.15 + gust) ** power * drift)[:, None]
    return total


def _street(count: int, rng: np.random.Generator) -> Signal:
    """The rumble of a town and cars that pass from one side to the other."""
    hum = [noise(count, lambda f: band(40, 900, 1.0)(f) / f, rng) for _ in range(2)]
    total = 0.7 * stereo(*hum)
    clock = np.arange(count) / RATE
    for _ in range(max(1, round(count / RATE / 4.5))):
        when, width = rng.uniform(0, count / RATE), rng.uniform(0.8, 1.8)
        near = 1 / (1 + ((clock - when) / width) ** 2) ** 1.5
        tyres = noise(count, lambda f: band(180, 2600, 1.0)(f) / np.sqrt(f), rng)
        side = np.clip((clock - when) / (2 * width), -1, 1) * rng.choice([-1, 1])
        total += pan(tyres * near.astype(np.float32), side.astype(np.float32)) * rng.uniform(0.5, 1.1)
    return total


def _waves(count: int, rng: np.random.Generator) -> Signal:
    """Swell after swell: each rises slowly, breaks bright, and runs out hissing."""
    clock = np.arange(count) / RATE
    deep = [noise(count, lambda f: band(40, 500, 1.0)(f) / np.sqrt(f), rng) for _ in range(2)]
    total = 0.35 * stereo(*deep)
    foam = [noise(count, band(500, 7000, 0.7), rng) for _ in range(2)]
    surf = [noise(count, band(120, 1500, 1.0), rng) for _ in range(2)]
    when = rng.uniform(-3, 1)
    while when < count / RATE:
        after = clock - when
        rise = np.where(after < 0, np.exp(after / 0.9), np.exp(-np.maximum(after, 0) / 1.5))
        hiss = np.where(
            after < 0, 0, (1 - np.exp(-np.maximum(after, 0) / 0.3)) * np.exp(-np.maximum(after, 0) / 2.2)
        )
        place, size = rng.uniform(-0.4, 0.4), rng.uniform(0.7, 1.2)
        sides = np.array([1 - place, 1 + place])
        total += (stereo(*surf) * rise[:, None] + 0.5 * stereo(*foam) * hiss[:, None]) * sides * size
        when += rng.uniform(4.0, 7.0)
    return total.astype(np.float32)


def _birds(count: int, rng: np.random.Generator) -> Signal:
    """A light breeze in leaves, and now and then a bird: a few quick gliding whistles."""
    air = [noise(count, lambda f: band(300, 4000, 1.0)(f) / f**0.7, rng) for _ in range(2)]
    total = 0.25 * stereo(*air)
    at = rng.uniform(0.2, 1.5)
    while at * RATE < count:
        height, place, level = rng.uniform(2400, 4800), rng.uniform(-0.9, 0.9), rng.uniform(0.5, 1.6)
        for _ in range(int(rng.integers(2, 6))):
            length = min(int(rng.uniform(0.05, 0.14) * RATE), count - int(at * RATE))
            if length > 10:
                share = np.arange(length) / length
                glide = height * (1 + rng.uniform(-0.2, 0.3) * share + 0.05 * np.sin(2 * np.pi * 3 * share))
                call = np.sin(2 * np.pi * np.cumsum(glide) / RATE) * np.sin(np.pi * share) ** 2
                start = int(at * RATE)
                total[start : start + length] += pan((call * level).astype(np.float32), place)
            at += rng.uniform(0.09, 0.2)
        at += rng.uniform(0.8, 3.5)
    return total


def _crickets(count: int, rng: np.random.Generator) -> Signal:
    """A still night: each cricket pulses in groups at its own height and pace."""
    air = [noise(count, lambda f: band(60, 800, 1.0)(f) / f, rng) for _ in range(2)]
    total = 0.3 * stereo(*air)
    clock = np.arange(count) / RATE
    for _ in range(5):
        pace, height = rng.uniform(0.55, 1.1), rng.uniform(3900, 5200)
        turn = (clock / pace + rng.random()) % 1
        pulse = np.clip(np.sin(2 * np.pi * rng.uniform(26, 34) * clock), 0, 1) ** 2 * (turn < 0.35)
        call = np.sin(2 * np.pi * height * clock) * pulse * (0.6 + 0.4 * wander(count, 6.0, rng))
        total += pan(call.astype(np.float32), rng.uniform(-0.9, 0.9)) * rng.uniform(0.3, 0.8)
    return total.astype(np.float32)


AMBIENCES: dict[str, Maker] = {
    "rain": _rain,
    "wind": _wind,
    "street": _street,
    "waves": _waves,
    "birds": _birds,
    "crickets": _crickets,
}
