"""What is heard when: cues, and how a storyboard (or a sentence) becomes them.

The board's own words decide: narration and dialogue are spoken, the shot's `sound` field comes first for ambience
and music, then its place, weather, time and action. English and Chinese.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from longtake.finish.speech import language_of
from longtake.storyboard import Shot, Storyboard

Kind = Literal["speech", "ambience", "music"]
LEAD = 0.3
"""Seconds from the beginning of a shot to its first word."""
_AMBIENCE = (
    ("rain", r"\brain(s|y|ing|ed)?\b|\bstorm|\bdrizzl|雨"),
    ("waves", r"\b(waves?|sea|ocean|beach|coast|shore|surf)\b|海|浪|沙滩"),
    (
        "wind",
        r"\b(wind|windy|gust|breeze|blizzard|desert|mountains?|snow|snowy|snows|snowing)\b|风|雪|沙漠|山",
    ),
    ("street", r"\b(streets?|city|town|traffic|road|downtown|tokyo|market)\b|街|城|马路|市区|东京|市场"),
    ("crickets", r"\bcrickets?\b|蟋蟀|虫鸣"),
    (
        "birds",
        r"\b(birds?|birdsong|forest|woods|park|garden|meadow|field|jungle)\b|鸟|森林|树林|公园|花园|草地|田野",
    ),
)
_NIGHT = re.compile(r"\b(night|midnight|moonlight)\b|夜", re.IGNORECASE)
_INDOORS = re.compile(
    r"\b(indoors?|room|bedroom|kitchen|office|library|studio)\b|室内|房间|卧室|厨房", re.IGNORECASE
)
_MOODS = (
    ("tense", r"\b(tense|chase|danger|storm|suspense|escape|scary|dark music)\b|紧张|追|危险|逃|恐"),
    (
        "bright",
        r"\b(happy|bright|cheerful|play(s|ing)?|party|danc\w*|celebrat\w*|fun)\b|快乐|欢|玩|舞|庆|热闹",
    ),
    (
        "warm",
        r"\b(warm|love|tender|cosy|cozy|home|family|morning|sunset|dawn|dusk)\b|温暖|温馨|爱|家|早晨|日落|黄昏",
    ),
    ("night", r"\b(night|neon|moon|stars?|midnight|mysterious)\b|夜|霓虹|月|星"),
    ("calm", r"\b(calm|quiet|slow|peaceful|still|sleep\w*|snow\w*)\b|安静|平静|宁静|睡|雪"),
)
_SILENT = re.compile(r"\b(silence|silent|no (sound|music))\b|无声|寂静|静音|没有(声音|音乐)", re.IGNORECASE)


@dataclass(frozen=True)
class Cue:
    """Something to hear from `start` to `end`, in seconds."""

    kind: Kind
    start: float
    end: float
    what: str
    """The words of speech; the name of an ambience; the mood of music."""
    language: str = "en"
    voice: str = ""
    """Who speaks, in words; empty for the narrator."""


def cues_of_board(board: Storyboard) -> tuple[Cue, ...]:
    """Everything a storyboard lets be heard, in order of time; one music bed under the whole film."""
    cues: list[Cue] = []
    places = {place.id: place for place in board.locations}
    voices = {person.id: person.voice or f"{person.name} {person.look}" for person in board.characters}
    start, story = 0.0, []
    for shot in board.shots:
        end = start + shot.duration
        place = places.get(shot.location or "")
        setting = f"{place.description} {place.time} {place.weather}" if place else ""
        cues += _spoken(shot, start, end, board.language, voices)
        cues += _heard(f"{shot.sound}", f"{setting} {shot.action}", start, end)
        story.append(f"{shot.sound} {setting} {shot.action}")
        start = end
    return (*_merged(cues), *_bed(" ".join([board.style.look, *story]), start))


def cues_of_text(text: str, seconds: float) -> tuple[Cue, ...]:
    """What a plain prompt lets be heard: the sound of its place and weather, and a bed in its mood."""
    return (*_heard("", text, 0.0, seconds), *_bed(text, seconds))


def _spoken(shot: Shot, start: float, end: float, language: str, voices: dict[str, str]) -> list[Cue]:
    lines = [(shot.narration, "")] if shot.narration else []
    lines += [(line.text, voices.get(line.character, "")) for line in shot.dialogue]
    lines = [(text, voice) for text, voice in lines if text.strip()]
    whole, at, cues = sum(len(text) for text, _ in lines), start, []
    for text, voice in lines:  # each gets its share of the shot; the mix moves what runs over
        share = (end - start) * len(text) / whole
        cues.append(
            Cue("speech", at + min(LEAD, share / 4), at + share, text, language_of(text, language), voice)
        )
        at += share
    return cues


def _heard(sound: str, setting: str, start: float, end: float) -> list[Cue]:
    """Ambiences of one shot: those the sound field names, else up to two the setting suggests."""
    if _SILENT.search(sound):
        return []
    named = [name for name, words in _AMBIENCE if re.search(words, sound, re.IGNORECASE)]
    if not named and not _INDOORS.search(setting):
        named = [name for name, words in _AMBIENCE if re.search(words, setting, re.IGNORECASE)]
        if _NIGHT.search(setting):
            named = ["crickets" if name == "birds" else name for name in named]
        named = named[:2]
    elif not named and re.search(_AMBIENCE[0][1], setting, re.IGNORECASE):
        named = ["rain"]  # is heard inside as well
    return [Cue("ambience", start, end, name) for name in named]


def _bed(text: str, seconds: float) -> list[Cue]:
    if _SILENT.search(text):
        return []
    return [Cue("music", 0.0, seconds, mood_of(text))]


def mood_of(text: str) -> str:
    """The mood most of whose words are in the text; calm when there are none."""
    counts = {mood: len(re.findall(words, text, re.IGNORECASE)) for mood, words in _MOODS}
    best = max(counts, key=lambda mood: counts[mood])
    return best if counts[best] else "calm"


def _merged(cues: list[Cue]) -> list[Cue]:
    """Ambience that goes on over a cut is one cue."""
    result: list[Cue] = []
    for cue in sorted(cues, key=lambda cue: cue.start):
        same = [
            index
            for index, other in enumerate(result)
            if cue.kind == other.kind == "ambience"
            and cue.what == other.what
            and abs(other.end - cue.start) < 1e-6
        ]
        if same:
            result[same[0]] = replace(result[same[0]], end=cue.end)
        else:
            result.append(cue)
    return result
