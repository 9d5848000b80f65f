"""A music bed, composed and synthesised here: chords of soft pads, a plucked arpeggio, a room around them.

Nothing is sampled and nothing quoted: a mood is a scale degree plan, a tempo and a brightness; the generator draws
inversions, the arpeggio's pattern and small timing. Just intonation is left alone: equal temperament at A = 440 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longtake.finish.synthesis import RATE, Signal, echo, fade, pan


@dataclass(frozen=True)
class Mood:
    """How a bed is written. Chords are semitones above the key, one a bar of four beats."""

    key: int
    """MIDI note of the tonic."""
    chords: tuple[tuple[int, ...], ...]
    tempo: float
    """Beats a minute."""
    bright: float
    """0 dark .. 1 bright: how strong the overtones are."""
    pluck: float
    """Level of the arpeggio against the pad."""
    step: float = 0.5
    """Beats between the notes of the arpeggio."""


MOODS: dict[str, Mood] = {
    "calm": Mood(57, ((0, 7, 12, 16), (-4, 8, 12, 15), (5, 9, 12, 17), (-5, 7, 11, 14)), 66, 0.35, 0.35, 1.0),
    "warm": Mood(60, ((0, 7, 11, 16), (-3, 4, 9, 12), (-7, 5, 9, 16), (-5, 2, 7, 14)), 80, 0.5, 0.6),
    "bright": Mood(62, ((0, 7, 12, 16), (7, 11, 14, 19), (9, 12, 16, 21), (5, 9, 12, 17)), 104, 0.7, 0.9),
    "night": Mood(57, ((0, 7, 10, 15), (-4, 3, 8, 12), (3, 7, 10, 14), (-2, 5, 10, 14)), 72, 0.3, 0.5),
    "tense": Mood(
        52, ((0, 7, 12, 15), (1, 8, 13, 17), (0, 6, 12, 15), (-2, 5, 10, 13)), 92, 0.45, 0.55, 0.25
    ),
}


def music(mood: str, seconds: float, rng: np.random.Generator) -> Signal:
    """[n 2] of exactly `seconds`, faded at both ends, at an RMS of about -20 dBFS."""
    plan, count = MOODS[mood], round(seconds * RATE)
    bar = 240 / plan.tempo
    pad = np.zeros((count, 2), np.float32)
    plucks = np.zeros((count, 2), np.float32)
    pattern = rng.permutation(4)
    bars = int(seconds / bar) + 1
    heard = dict.fromkeys(note for chord in plan.chords[:bars] for note in chord)
    pads = {note: _pad(plan, note, 1.25 * bar, rng) for note in heard}
    mallets = {note: _pluck(plan, note + 12) for note in heard}
    for number in range(bars):
        chord = plan.chords[number % len(plan.chords)]
        for voice, note in enumerate(chord):
            place = (-0.5, 0.35, -0.2, 0.5)[voice]
            _add(pad, pan(pads[note], place), number * bar - 0.125 * bar)
        if number % 8 == 7:
            pattern = rng.permutation(4)
        for beat in np.arange(0, 4, plan.step):
            if rng.random() < 0.18:  # a rest now and then
                continue
            mallet = mallets[chord[pattern[round(beat / plan.step) % 4]]] * np.float32(rng.uniform(0.6, 1.0))
            at = number * bar + beat * bar / 4 + rng.normal(0, 0.006)
            _add(plucks, pan(mallet, rng.uniform(-0.6, 0.6)), at)
    mixed = echo(_level(pad) + plan.pluck * 0.8 * _level(plucks), 1.8, 0.35, rng)
    shaped = mixed * fade(count, min(1.5, seconds / 4), min(2.5, seconds / 3))[:, None]
    return (0.1 * _level(shaped)).astype(np.float32)


def _hertz(plan: Mood, note: int) -> float:
    return float(440.0 * 2 ** ((plan.key + note - 69) / 12))


def _pad(plan: Mood, note: int, seconds: float, rng: np.random.Generator) -> Signal:
    """Slow strings: a few overtones, each a little out of tune with itself."""
    clock = np.arange(round(seconds * RATE)) / RATE
    wave = np.zeros(len(clock))
    base = _hertz(plan, note)
    for overtone in range(1, 7):
        level = overtone ** (-2.6 + 1.4 * plan.bright)
        for detune in (-1, 1):
            pitch = base * overtone * 2 ** (detune * rng.uniform(2, 5) / 1200)
            wave += level * np.sin(2 * np.pi * (pitch * clock + rng.random()))
    breath = 1 + 0.08 * np.sin(2 * np.pi * (0.23 * clock + rng.random()))
    return np.asarray(wave * breath * fade(len(clock), 0.3 * seconds, 0.35 * seconds), np.float32)


def _pluck(plan: Mood, note: int) -> Signal:
    """A soft mallet: overtones that die the sooner the higher they are."""
    clock = np.arange(round(1.6 * RATE)) / RATE
    base, wave = _hertz(plan, note), np.zeros(round(1.6 * RATE))
    for overtone, level in ((1, 1.0), (2, 0.35), (3, 0.22), (4.02, 0.12)):
        wave += level * plan.bright ** (overtone / 4) * np.sin(2 * np.pi * base * overtone * clock) * np.exp(
            -clock * (2.6 + 1.6 * overtone)
        )  # fmt: skip
    attack = np.clip(clock / 0.004, 0, 1)
    return np.asarray(wave * attack * fade(len(clock), 0.0, 0.2), np.float32)


def _add(track: Signal, part: Signal, seconds: float) -> None:
    """Lay `part` over `track` from `seconds`, cut at both ends of the track."""
    at = round(seconds * RATE)
    first, last = max(0, -at), min(len(part), len(track) - at)
    if last > first:
        track[at + first : at + last] += part[first:last]


def _level(part: Signal) -> Signal:
    """The part at an RMS of 1; silence stays silence."""
    return part / np.float32(max(1e-6, float(np.sqrt(np.mean(part**2)))))
