"""The vocabulary: named things that can stand on the stage, and the words for everything else.

Two data files ship with the package: `concepts.json` (one record a thing) and `grammar.json` (paraphrases in
English and Chinese, whose `about` block documents slots and markup). This module reads them and answers
questions of kind and place; it draws nothing and writes no sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
SOURCE_FPS = 24.0
"""Frame rate of the animated drawings as published."""
ANIMATE = frozenset({"person", "animal", "creature", "face"})


@dataclass(frozen=True)
class Concept:
    """One thing: how it is called, drawn, and what it can do. Field meanings follow concepts.json."""

    code: str
    kind: str
    en: tuple[str, ...]
    en_plural: str
    zh: tuple[str, ...]
    zh_measure: str
    facing: str
    """Which way the drawing looks: left, right or front."""
    height_m: float
    bbox: tuple[float, float, float, float]
    """Visible box as fractions of the tile, y down: x0 y0 x1 y1."""
    source: str = "still"
    frames: int = 1
    whole: bool = True
    extent: str = ""
    colours: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    habitat: tuple[str, ...] = ()
    loops: bool = True
    weight: str = "medium"
    article: str = ""
    round: bool = False
    edible: bool = False
    drinkable: bool = False
    gait: str = ""
    gender: str = ""
    anim: str = ""
    travel: str = ""
    """The way a pose moves as drawn where that is not the way it faces (a rower)."""
    tags: tuple[str, ...] = ()
    steady_frames: tuple[tuple[int, int], ...] = ()
    subject: Mapping[str, str] = field(default_factory=dict)
    """For pose drawings: the name without what the pose does."""
    action: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    priority: int = 2

    @property
    def animate(self) -> bool:
        return self.kind in ANIMATE

    @property
    def pose(self) -> bool:
        """Drawn doing something: it cannot do another thing."""
        return bool(self.action)

    @property
    def period(self) -> float:
        """Seconds of one round of the drawing's own animation; 0 for a still."""
        return self.frames / SOURCE_FPS if self.source == "anim" and self.frames > 1 else 0.0


_NAMES = frozenset(f.name for f in fields(Concept))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


@lru_cache(maxsize=1)
def concepts() -> dict[str, Concept]:
    """Every concept by its code, in file order."""
    records = json.loads((DATA / "concepts.json").read_text(encoding="utf-8"))
    return {r["code"]: Concept(**{k: _frozen(v) for k, v in r.items() if k in _NAMES}) for r in records}


@lru_cache(maxsize=1)
def _by_variant() -> dict[str, Concept]:
    found = dict(concepts())
    for concept in concepts().values():
        for code in concept.variants.values():
            found.setdefault(code, concept)
    return found


def concept(code: str) -> Concept:
    """The concept of a code or of one of its skin tone variants. Raises KeyError for an unknown code."""
    return _by_variant()[code]


@lru_cache(maxsize=1)
def grammar() -> dict[str, Any]:
    """The phrase tables of grammar.json."""
    loaded: dict[str, Any] = json.loads((DATA / "grammar.json").read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=2)
def _names(language: str) -> list[tuple[str, Concept]]:
    """Names and what they stand for, longest first. A bare "woman" is the one who walks, not the fencer."""
    ranked: list[tuple[int, str, Concept]] = []
    for thing in concepts().values():
        names = {*thing.en, thing.en_plural} if language == "en" else set(thing.zh)
        ranked += [(0, name.lower(), thing) for name in names]
        if thing.subject:
            rank = {"walking": 1, "standing": 2}.get(thing.action["en"], 3)
            own = (
                {thing.subject["en"], thing.subject["en_plural"]}
                if language == "en"
                else {thing.subject["zh"]}
            )
            ranked += [(rank, name.lower(), thing) for name in own]
    ranked.sort(key=lambda entry: (-len(entry[1]), entry[0], entry[2].priority))
    return [(name, thing) for _, name, thing in ranked]


def find(text: str, language: str) -> list[Concept]:
    """Concepts named in `text`, in order of appearance; the longest name at a place wins."""
    low = text.lower()
    taken = [False] * len(low)
    hits: list[tuple[int, Concept]] = []
    for name, thing in _names(language):
        start = low.find(name)
        while start >= 0:
            end = start + len(name)
            whole = language != "en" or not (
                (start and low[start - 1].isalnum()) or (end < len(low) and low[end].isalnum())
            )
            if whole and not any(taken[start:end]):
                taken[start:end] = [True] * (end - start)
                hits.append((start, thing))
            start = low.find(name, end)
    ordered = [thing for _, thing in sorted(hits, key=lambda hit: hit[0])]
    return list({thing.code: thing for thing in ordered}.values())


def has_role(thing: Concept, role: str) -> bool:
    """Whether `thing` can play a role of grammar.json, such as "animate", "round" or "container"."""
    rule = grammar()["roles"][role]
    if "kind" in rule:
        return thing.kind in rule["kind"]
    if "field" in rule:
        return bool(getattr(thing, rule["field"]) == rule.get("value", True))
    if "tag" in rule:
        return rule["tag"] in thing.tags
    if "moves_any_of" in rule:
        return bool(set(rule["moves_any_of"]) & set(thing.moves))
    return True


def resting(thing: Concept) -> str:
    """The action by which a thing stays where it is: stand, rest, float; "" if it cannot stay still."""
    if thing.pose:
        return "rest" if "none" in thing.moves else ""
    if thing.animate:
        return "stand"
    if set(thing.moves) <= {"fly", "float", "spin"} and thing.moves:
        return "float"
    return "rest"


def belongs(thing: Concept, place: str) -> bool:
    """Whether a thing may be met at a place."""
    return bool(set(thing.habitat) & set(grammar()["places"][place]["habitat"]))


def actions_of(thing: Concept) -> tuple[str, ...]:
    """Every action of grammar.json that a thing can truthfully do, in any place."""
    table = grammar()["moves_to_actions"]
    able = {a for move in thing.moves if move != "none" for a in table.get(move, ())}
    if thing.pose:
        return tuple(sorted(able - {"jump", "hop"} | ({"rest"} if resting(thing) else set())))
    actions = grammar()["actions"]
    able |= {a for a in ("enter", "exit", "stop") if set(actions[a]["for"]) & set(thing.moves)}
    if thing.animate:
        able |= {"stand"}
        if thing.facing != "front":
            able |= {"turn"}
    if thing.kind in ("object", "food", "ball", "furniture"):
        able |= {"rest"}
    if thing.kind in ("object", "food", "ball"):
        able |= {"fall", "pop_out", "grow", "shrink"}
        able |= {"float", "spin"} if thing.weight != "heavy" else set()
    if thing.kind in ("animal", "creature", "face"):
        able |= {"pop_out", "pop_out_of_snow", "grow", "shrink"}
    if {"float", "fly"} & able:
        able |= {"rise"}
    if {"swim", "sail"} & able:
        able |= {"float_water"}
    if thing.weight == "light" and thing.kind in ("object", "food", "ball", "plant"):
        able |= {"blown_away"}
    if resting(thing) == "float":
        able |= {"float"}
    return tuple(sorted(able))
