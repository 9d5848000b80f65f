"""The soundtrack: cues -> one stereo mix of exactly the film's length at -16 LUFS.

Speech is laid first, since nothing may be said at once or after the end; music and ambience go under it and step
back while somebody speaks. The same cues and seed give the same samples.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longtake.errors import MissingExtraError, RequestError, nearest
from longtake.finish.ambience import AMBIENCES, ambience
from longtake.finish.cues import Cue
from longtake.finish.loudness import Sound, loudness, normalise
from longtake.finish.music import MOODS, music
from longtake.finish.speech import FASTEST, missing_voice, speak
from longtake.finish.subtitles import Caption
from longtake.finish.synthesis import RATE, Signal, fade

SPEECH, BED, MUSIC, AMBIENCE = -16.0, -22.0, -25.0, -30.0
"""LUFS of each part in the mix, before the whole is brought to its target."""
DUCK = {"music": -9.0, "ambience": -6.0}
"""dB by which a part steps back under speech."""
PAUSE = 0.15
"""Seconds between two speakers."""
_CROSS = 0.5
"""Seconds an ambience takes to come and go."""
_GLIDE = 0.35
"""Seconds over which a part steps back."""


@dataclass(frozen=True)
class Soundtrack:
    """`samples` float32 [n 2] at RATE; who really spoke when; what the user should know."""

    samples: Sound
    spoken: tuple[Caption, ...]
    notes: tuple[str, ...] = ()


def soundtrack(
    cues: Sequence[Cue], seconds: float, seed: int = 0, strict: bool = False, bed: Signal | None = None
) -> Soundtrack:
    """Mix `cues` into round(seconds * RATE) samples.

    `bed` is sound that is there already, [n 2] at RATE; it steps back under speech and is otherwise kept.
    Where a voice is not installed the words are left out and a note says what to install; `strict` raises
    MissingExtraError instead. Raises RequestError for an unknown ambience or mood.
    """
    count = round(seconds * RATE)
    voice, spoken, notes = _speech([cue for cue in cues if cue.kind == "speech"], seconds, strict)
    talking = _talking(spoken, count)
    mixed = np.repeat(_at_level(voice[:, None], SPEECH), 2, 1)
    if bed is not None:
        under = _at_level(bed[:count], SPEECH if not spoken else BED)
        mixed[: len(under)] += under * (1 - (1 - 10 ** (DUCK["music"] / 20)) * talking[: len(under), None])
    for cue in cues:
        if cue.kind == "speech":
            continue
        names = MOODS if cue.kind == "music" else AMBIENCES
        if cue.what not in names:
            raise RequestError(
                f"unknown {cue.kind} {cue.what!r}; valid: {', '.join(names)}{nearest(cue.what, names)}"
            )
        first, last = (min(count, max(0, round(at * RATE))) for at in (cue.start, cue.end))
        if last <= first:
            continue
        rng = np.random.default_rng([seed, zlib.crc32(f"{cue.kind} {cue.what}".encode()), first])
        part = _made(cue, last - first, rng)
        duck = 10 ** (DUCK[cue.kind] / 20)
        mixed[first:last] += part * (1 - (1 - duck) * talking[first:last, None])
    return Soundtrack(normalise(mixed.astype(np.float32), RATE), spoken, notes)


def _made(cue: Cue, count: int, rng: np.random.Generator) -> Signal:
    """Music or ambience of one cue at its level, [n 2]."""
    if cue.kind == "music":
        return _at_level(music(cue.what, count / RATE, rng), MUSIC)
    edges = min(_CROSS, count / RATE / 4)
    return _at_level(ambience(cue.what, count, rng), AMBIENCE) * fade(count, edges, edges)[:, None]


def _speech(
    cues: Sequence[Cue], seconds: float, strict: bool
) -> tuple[Signal, tuple[Caption, ...], tuple[str, ...]]:
    """All speech on one mono track; a line waits for the one before, and hurries when the film would end first."""
    track = np.zeros(round(seconds * RATE), np.float32)
    spoken: list[Caption] = []
    notes: list[str] = []
    ordered = sorted((cue for cue in cues if cue.start < seconds), key=lambda cue: cue.start)
    free = 0.0
    for number, cue in enumerate(ordered):
        missing = missing_voice(cue.language)
        if missing is not None:
            if strict:
                raise MissingExtraError(missing)
            notes.append(f"{missing}; the words were left out")
            spoken.append(Caption(cue.start, min(cue.end, seconds), cue.what))
            continue
        start = max(cue.start, free)
        following = ordered[number + 1].start if number + 1 < len(ordered) else seconds
        room = max(min(following - PAUSE, seconds) - start, 0.3)
        said = _fitted(cue, room)
        first = round(start * RATE)
        heard = said[: max(0, len(track) - first)]
        if len(heard) < len(said):
            notes.append(f"{_short(cue.what)!r} is cut off by the end of the film; shorten it")
            heard = heard * fade(len(heard), 0.0, 0.1)
        track[first : first + len(heard)] += _at_level(heard[:, None], SPEECH)[:, 0]
        free = start + len(heard) / RATE + PAUSE
        if len(heard):
            spoken.append(Caption(start, start + len(heard) / RATE, cue.what))
    return track, tuple(spoken), tuple(dict.fromkeys(notes))


def _fitted(cue: Cue, room: float) -> Signal:
    """The line, spoken faster (up to FASTEST) when it would not end within `room` seconds."""
    said = speak(cue.what, cue.language, cue.voice)
    over = len(said) / RATE / room
    return speak(cue.what, cue.language, cue.voice, min(FASTEST, 1.03 * over)) if over > 1 else said


def _talking(spoken: Sequence[Caption], count: int) -> Signal:
    """1 while somebody speaks, 0 while nobody does, gliding between the two ahead of the words."""
    gate = np.zeros(count, np.float64)
    for line in spoken:
        gate[max(0, round((line.start - _GLIDE / 2) * RATE)) : round((line.end + _GLIDE) * RATE)] = 1
    width = round(_GLIDE * RATE)
    for _ in range(2):  # two running means make a smooth ramp
        sums = np.cumsum(np.pad(gate, (width // 2 + 1, width - width // 2 - 1), mode="edge"))
        gate = (sums[width:] - sums[:-width])[:count] / width if count > 1 else gate
        gate = np.pad(gate, (0, count - len(gate)), mode="edge")
    return gate.astype(np.float32)


def _at_level(part: Signal, target: float) -> Signal:
    """[n c] brought to `target` LUFS; what is too short to measure by its RMS."""
    if not len(part) or not np.any(part):
        return part
    measured = loudness(part, RATE)
    if not math.isfinite(measured):
        measured = 20 * math.log10(max(1e-6, float(np.sqrt(np.mean(part**2)))))
    return (part * 10 ** ((target - measured) / 20)).astype(np.float32)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
