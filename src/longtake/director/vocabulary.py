"""Words in, a caption the model has pictures for out; every replacement is named.

A model knows the words it was trained on. `understand` finds the things, places, times and kinds of weather a
prompt names, and where the model has no picture for one puts in the nearest it has, in the prompt's own language.
Nothing is replaced silently: the notes are shown to the user and written into the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from longtake.director.lexicon import TIMES, WEATHERS, pattern
from longtake.director.notes import listed, note
from longtake.errors import RequestError
from longtake.world.concepts import Concept, concept, concepts, grammar

_SLOTS = {"places": "places", "times": "times", "weathers": "weather"}
_PHRASES = {
    "places": ("noun", "loc"),
    "times": ("", "clear", "indoor"),
    "weathers": ("", "night", "tag", "clause"),
}
_NO_THING = {
    "en": re.compile(r"(?<!\ba )\bcamera\b"),
    "zh": re.compile(
        "镜头|画面|画质|画幅|画风|动画|绘画|机位|摄像机|摄影机|马路|马上|人行道|大家|家里|花园|火热|门口|云朵"
    ),
}
"""What speaks of the film or of the place, though part of it is the name of a thing: "a static camera"."""
_DRESSING = frozenset({"building", "furniture", "plant", "sky"})
"""Kinds of things that stand around. Unless a prompt is about one they are left as they are said, and so is what is
worn: an actor in their place would be one more."""
_BEGINNING = {"en": 20, "zh": 6}
"""Characters within which a prompt names what it is about."""
_LIVING = frozenset({"animal", "creature", "face", "person"})
_COUNTED = re.compile("[只条头匹个位名辆架座栋朵棵片根张幅本把块杯碗桶面卷颗枚艘盏束支的]$")
_NEAREST_TIME = {"dawn": "sunset", "morning": "noon"}
_NEAREST_WEATHER = {"fog": "clear", "wind": "clear"}
_FILLERS = frozenset(
    """
    a an the and or of in on at to from with by for into over under near through across along after before
    is are was be being been it its this that these those his her their my your our he she they we i you who
    which there then while as so very slowly quickly gently happily suddenly little big small large huge
    tiny beautiful cute young old new one two three four five up down out off away past behind front side
    left right toward towards around next some several many few video film clip shot scene picture image
    make create generate show shows please plays play playing walk walks walking run runs running jump jumps
    jumping stand stands standing sit sits sitting roll rolls rolling bounce bounces bouncing fall falls
    falling fly flies flying drive drives driving hop hops hopping float floats floating spin spins spinning
    rest rests resting lie lies lying go goes going come comes coming move moves moving still stop stops
    golden red blue green yellow white black brown orange pink grey gray purple day night camera close wide
    medium full view style realistic cinematic stylish
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Understanding:
    """What the model is told, and what had to be changed for it."""

    caption: str
    language: str
    substitutions: tuple[tuple[str, str], ...] = ()
    """What was said, and what was used instead."""
    unknown: tuple[str, ...] = ()
    """Words nobody here knows; they were left in the caption."""
    hint: str = ""
    """Said when the prompt names no thing the model could draw."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One line each, for the user."""
        lines = [
            note("substituted", self.language, said=said, used=used) for said, used in self.substitutions
        ]
        if self.unknown:
            lines.append(note("unknown", self.language, words=listed(list(self.unknown), self.language)))
        if self.hint:
            lines.append(self.hint)
        return tuple(lines)


def language_of(text: str) -> str:
    """zh when the text has Chinese characters, else en."""
    return "zh" if re.search(r"[\u4e00-\u9fff]", text) else "en"


def understand(prompt: str, vocabulary: Mapping[str, Sequence[str]], strict: bool = False) -> Understanding:
    """Fit a prompt to a model's vocabulary (keys subjects, places, times, weathers; empty: anything goes).

    Raises RequestError in strict mode when anything would be replaced; the message names the replacements.
    """
    language = language_of(prompt)
    if not vocabulary:
        return Understanding(prompt, language)
    found = hits(prompt, language)
    caption = prompt
    substitutions: list[tuple[str, str]] = []
    acted = any(slot == "subjects" and not _is_dressing(key) for _, _, slot, key in found)
    left: list[tuple[int, int]] = []
    for start, end, slot, key in sorted(found, reverse=True):
        used = _replacement(slot, key, vocabulary, language)
        if used is not None and slot == "subjects":
            if _is_dressing(key) and (acted or start > _BEGINNING[language]):
                left.append((start, end))
                continue
            if _known_doing(prompt[start:end], vocabulary, language):
                continue
        if used is not None:
            said = prompt[start:end]
            if slot == "subjects" and language == "en" and said.lower() in _plurals(concept(key)):
                used = _plurals(_named(used, vocabulary))[0]
            caption = _put(caption, start, end, used, language)
            substitutions.insert(0, (said, used))
    hint = ""
    if prompt and vocabulary.get("subjects") and not any(slot == "subjects" for _, _, slot, _ in found):
        names = listed(subject_names(vocabulary, language)[:8], language)
        hint = note("no_thing", language, names=names)
    unknown = [
        word for start, end in sorted(left) if (word := prompt[start:end]).lower() not in _grammar_words()
    ]
    unknown += _unknown(prompt, language, [(start, end) for start, end, _, _ in found])
    result = Understanding(caption, language, tuple(substitutions), tuple(unknown), hint)
    if strict and result.notes:
        raise RequestError("; ".join(result.notes))
    return result


def subject_names(vocabulary: Mapping[str, Sequence[str]], language: str) -> list[str]:
    """What the model has pictures for, by name."""
    return [_name(concept(code), language) for code in vocabulary.get("subjects", ())]


def _name(thing: Concept, language: str) -> str:
    """The name training captions use: a pose sprite goes by its subject ("woman"), not its pose."""
    if thing.subject:
        return str(thing.subject[language])
    return thing.en[0] if language == "en" else thing.zh[0]


@lru_cache(maxsize=2)
def _phrases(language: str) -> tuple[tuple[str, str, str], ...]:
    """(phrase, slot, key) of everything that can be named, longest first."""
    found: list[tuple[str, str, str]] = []
    for slot, table in _SLOTS.items():
        for key, entry in grammar()[table].items():
            for part in _PHRASES[slot]:
                name = f"{language}_{part}" if part else language
                found += [(phrase.lower(), slot, key) for phrase in entry.get(name, ())]
            if slot == "places":
                found += [(_bare(p), slot, key) for p in entry[f"{language}_noun"]]
    for thing in sorted(concepts().values(), key=_poses_last):
        names = [*thing.en, *_plurals(thing)] if language == "en" else list(thing.zh)
        if thing.subject:
            names.append(thing.subject[language])
        found += [(name.lower(), "subjects", thing.code) for name in names if name]
    unique = {(p, s): k for p, s, k in reversed(found) if len(p) > 1 or language == "zh"}
    ranked = [(p, s, k) for (p, s), k in unique.items()]
    return tuple(sorted(ranked, key=lambda entry: -len(entry[0])))


def _plurals(thing: Concept) -> list[str]:
    """Of its names in English; the one that training captions use comes first."""
    own = [thing.subject["en_plural"]] if thing.subject else []
    regular = [
        re.sub(r"(?<=[^aeiou])y$", "ie", name) + ("es" if re.search(r"(?:s|x|ch|sh)$", name) else "s")
        for name in thing.en[1:]
        if not re.search(r" of |s$|ing$| walking| with | in ", name)
    ]
    nouns = [name for name in regular if name not in _grammar_words()]  # not "a boy flies"
    return [*own, thing.en_plural, *nouns]


def _is_dressing(code: str) -> bool:
    thing = concept(code)
    return thing.kind in _DRESSING or "clothing" in thing.tags


def _poses_last(thing: Concept) -> int:
    """A bare "woman" is the one who walks, not the fencer."""
    return {"": 0, "walking": 1, "standing": 2}.get(thing.action.get("en", ""), 3)


def _bare(phrase: str) -> str:
    return re.sub(r"^(a|an|the) ", "", phrase.lower())


def hits(prompt: str, language: str) -> list[tuple[int, int, str, str]]:
    """(start, end, slot, key) of what the prompt names; the longest phrase at a place wins."""
    return list(_hits(prompt, language))


@lru_cache(maxsize=4096)
def _hits(prompt: str, language: str) -> tuple[tuple[int, int, str, str], ...]:
    low = prompt.lower()
    taken = [False] * len(low)
    for words in _NO_THING[language].finditer(low):
        taken[words.start() : words.end()] = [True] * (words.end() - words.start())
    found: list[tuple[int, int, str, str]] = []
    letters = set(low)
    for phrase, slot, key in _phrases(language):
        start = low.find(phrase) if letters.issuperset(phrase) else -1
        while start >= 0:
            end = start + len(phrase)
            whole = language == "zh" or not (
                (start and low[start - 1].isalnum()) or (end < len(low) and low[end].isalnum())
            )
            meant = slot != "subjects" or _means_thing(low, start, end, key, language)
            if whole and meant and not any(taken[start:end]):
                taken[start:end] = [True] * (end - start)
                found.append((start, end, slot, key))
            start = low.find(phrase, end)
    things = {end for _, end, slot, _ in found if slot == "subjects"}
    return tuple(  # "a snowman waves": what follows a thing at once and is not alive is what it does
        hit for hit in found if not (hit[2] == "subjects" and _is_dressing(hit[3]) and hit[0] - 1 in things)
    )


def _means_thing(text: str, start: int, end: int, key: str, language: str) -> bool:
    """Whether the name of a thing means it: "an orange sky" has no orange in it, and 光线 no thread."""
    if language == "zh":
        return (
            end - start > 1
            or concept(key).kind in _LIVING
            or bool(_COUNTED.search(text, max(0, start - 2), start))
        )
    following = re.match(r"[ -]([a-z]+)", text[end:])
    word = following[1] if following else ""
    if word.startswith("colo") or not word:
        return not word
    deed = word in _FILLERS or (word.endswith("ing") and word not in ("morning", "evening"))
    return deed or text[start:end] not in grammar()["colours"]


def _known_doing(said: str, vocabulary: Mapping[str, Sequence[str]], language: str) -> bool:
    """ "A horse racing" is a horse that races, for a model that knows horses and no jockeys."""
    name, _, deed = said.lower().rpartition(" ")
    return deed.endswith("ing") and name in subject_names(vocabulary, language)


def _replacement(slot: str, key: str, vocabulary: Mapping[str, Sequence[str]], language: str) -> str | None:
    """The nearest phrase the model knows, or None when it knows this one."""
    known = tuple(vocabulary.get(slot, ()))
    if not known or key in known:
        return None
    if slot == "subjects":
        return _same_name(key, known, language)
    entry = grammar()[_SLOTS[slot]]
    near = {"times": _NEAREST_TIME, "weathers": _NEAREST_WEATHER}.get(slot, {}).get(key)
    if near not in known:
        near = (
            max(known, key=lambda k: _likeness_of_places(entry[key], entry[k]))
            if slot == "places"
            else known[0]
        )
    part = "loc" if slot == "places" else ""
    phrase: str = entry[near][f"{language}_{part}" if part else language][0]
    return phrase


def _named(name: str, vocabulary: Mapping[str, Sequence[str]]) -> Concept:
    """The thing of the vocabulary that goes by this English name."""
    return next(thing for thing in map(concept, vocabulary["subjects"]) if _name(thing, "en") == name)


def _same_name(key: str, known: Sequence[str], language: str) -> str | None:
    thing = concept(key)
    names = {_name(concept(code), language): code for code in known}
    if _name(thing, language) in names:  # another pose of somebody who is known
        return None
    best = max((concept(code) for code in known), key=lambda other: likeness(thing, other))
    return _name(best, language)


def likeness(a: Concept, b: Concept) -> float:
    """How well b stands in for a: its kind first, then what it does, its place, colours and size."""

    def shared(x: Sequence[str], y: Sequence[str]) -> float:
        return len(set(x) & set(y)) / max(1, len(set(x) | set(y)))

    size = min(a.height_m, b.height_m) / max(a.height_m, b.height_m)
    return (
        3.0 * (a.kind == b.kind)
        + 1.0 * (a.animate == b.animate)
        + 1.5 * shared(a.tags, b.tags)
        + shared(a.moves, b.moves)
        + 0.5 * shared(a.habitat, b.habitat)
        + 0.7 * shared(a.colours, b.colours)
        + size
    )


def _likeness_of_places(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    same = len(set(a["habitat"]) & set(b["habitat"])) + len(set(a["weather"]) & set(b["weather"]))
    return 5.0 * float(a["indoor"] == b["indoor"]) + same


def _put(text: str, start: int, end: int, used: str, language: str) -> str:
    """Replace, and let an English article before it agree."""
    before = text[:start]
    if language == "en" and re.search(r"\b(a|an)\s+$", before, re.IGNORECASE):
        article = "an" if used[0] in "aeiou" else "a"
        before = re.sub(r"\b(a|an)(\s+)$", rf"{article}\2", before, flags=re.IGNORECASE)
    return before + used + text[end:]


def _unknown(prompt: str, language: str, spans: list[tuple[int, int]]) -> list[str]:
    """English words that no table holds. Chinese is not split into words here, so nothing is claimed."""
    if language == "zh":
        return []
    words = re.finditer(r"[A-Za-z][A-Za-z'-]+", prompt)
    spans = spans + [
        m.span() for said in (*TIMES.values(), *WEATHERS.values()) for m in pattern(said).finditer(prompt)
    ]
    loose = [w[0].lower() for w in words if not any(s < w.end() and w.start() < e for s, e in spans)]
    return [w for w in dict.fromkeys(loose) if w not in _FILLERS and w not in _grammar_words()]


@lru_cache(maxsize=1)
def _grammar_words() -> frozenset[str]:
    """Every English word of the phrase tables."""

    def words(value: Any) -> set[str]:
        if isinstance(value, str):
            return set(re.findall(r"[a-z][a-z'-]+", value.lower()))
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return set().union(*map(words, parts))

    tables = {key: value for key, value in grammar().items() if key != "about"}
    return frozenset(words(tables))
