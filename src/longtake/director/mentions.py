"""Who and what a text names: noun phrases with their adjectives, in both languages.

A mention keeps the words as they were said, because they become the identity words that every caption repeats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from longtake.director.lexicon import pattern
from longtake.director.verbs import ACTIONS, INTERACTIONS
from longtake.director.vocabulary import hits
from longtake.world.concepts import Concept, concept

_DETERMINERS = r"a|an|the|one|two|three|four|five|six|some|several|another|this|that|his|her|its|their|my|our"
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "several": 5, "两": 2, "二": 2, "三": 3, "四": 4,
            "五": 5, "六": 6, "几": 4, "群": 5}  # fmt: skip
_MEASURES = "个只头位名条匹辆块颗艘架朵群对双枚棵座台把张件本片根支间栋团滴串盏顶幅"
_ZH_COUNTED = re.compile(rf"(?:另外?|这|那)?(?:[一两二三四五六几]|好几)[{_MEASURES}]|[另这那][{_MEASURES}]")
_ZH_ADJECTIVES = re.compile(
    r"(?:[金白黑红蓝绿黄灰棕橙粉紫银]色?的?|年轻的?|年老的?|小小?+的?|大大?+的?|老|可爱的?|时髦的?|美丽的?|英俊的?|胖|瘦|流浪的?|生)++$"
)
_WORN = re.compile(
    r"^,?\s*(?:(?:dressed )?in|wearing|with)\s+(?:(?:a|an|his|her|its|their)\s+)?(?:[\w'-]+\s+){0,3}?(?:dress|coat|jacket|hats?|suit"
    r"|shirt|scarf|boots|sunglasses|raincoat|cap|sweater|skirt|uniform|robe|cloak|hair|eyes|beard|glasses|umbrella|backpack|armou?r"
    r"|hoodie|kimono|apron|helmet|spacesuit|collar|bow|fur|tail|(?:red|black|white|blue)(?=\s*(?:[,.]|$|and\b)))\b"
    r"(?:\s+and\s+(?:(?:a|an)\s+)?(?:[\w'-]+\s+){0,2}?(?:hat|boots|scarf|sunglasses|gloves|skirt|jacket|umbrella|glasses|cap))?",
    re.IGNORECASE,
)
_LEADING = re.compile(
    rf"^\W*(?:then |suddenly |finally |next |meanwhile |and |at last )*,?\s*({_DETERMINERS})\s+((?:[\w'-]+\s+){{0,4}}?[\w'-]+)"
    r"(?=\s+(?:is|are|was|were|has|who|that|(?!(?:its|his|this|is|across|glass|dress|grass|class)\b)[a-z]{2,}(?:s|es|ing|ed))\b)",
    re.IGNORECASE,
)
_NAMED_EN = re.compile(r"\b([A-Z][a-z]+), ((?:a|an|the) [^,.;:]{3,60}),")
_NAMED_ZH = re.compile(
    r"(?:^|(?<=[。，；\s]))([\u4e00-\u9fff]{2,3})(?:(?:，|，?是)(一[个位名][^，。；：]{2,20})|是(一只[^，。；：]{2,20}))[，。]"
)
_PRONOUNS = re.compile(
    r"\b(she|her|hers|herself|he|him|his|himself|it(?!\s+(?:rains?|snows?|starts? (?:to )?(?:rain|snow)\w*|is (?:raining|snowing|night|morning|dark|cold|late|noon)\b))|its|itself|they|them|their|themselves)\b|(她们|他们|它们|她|他|它)",
    re.IGNORECASE,
)
_FACELESS = frozenset({"building", "sky", "plant"})
_FEMALE = re.compile(
    r"\b(?:woman|girl|lady|mother|grandmother|queen|princess|actress|waitress|she|witch|mermaid)\b|女|妈|奶奶|姑娘|姐|妹|公主|婆"
)
_MALE = re.compile(
    r"\b(?:man|boy|father|grandfather|king|prince|fisherman|he|wizard|guy)\b|男|爸|爷|叔|哥|弟|王子|老人|小伙|渔夫"
)


@dataclass(frozen=True)
class Mention:
    """A thing as a text names it, at [start, end)."""

    start: int
    end: int
    phrase: str
    """Identity words: "a golden puppy", "一只金毛小狗"."""
    noun: str
    code: str = ""
    """Of the theatre's drawing, "" for what it has no word for."""
    count: int = 1
    other: bool = False
    """Said to be another one."""
    definite: bool = False
    wardrobe: str = ""
    name: str = ""

    @property
    def thing(self) -> Concept | None:
        return concept(self.code) if self.code else None

    @property
    def animate(self) -> bool:
        """Whether it may act; what has no drawing is named like an actor or not at all."""
        thing = self.thing
        return thing is None or thing.animate

    @property
    def gender(self) -> str:
        """female, male, or "" where the words do not say."""
        if _FEMALE.search(f"{self.phrase} {self.name}"):
            return "female"
        return "male" if _MALE.search(f"{self.phrase} {self.name}") else ""


@dataclass(frozen=True)
class Pronoun:
    start: int
    end: int
    word: str

    @property
    def gender(self) -> str:
        low = self.word.lower()
        return (
            "female"
            if low.startswith(("she", "her")) or low[0] == "她"
            else "male"
            if low in ("he", "him", "his", "himself", "他")
            else ""
        )

    @property
    def plural(self) -> bool:
        return self.word.lower().startswith("the") or self.word.endswith("们")

    @property
    def possessive(self) -> bool:
        return self.word.lower() in ("his", "its", "their", "hers")


def mentions(text: str, language: str) -> list[Mention]:
    """Things named in `text`, in order. Places, buildings, plants and skies are not among them."""
    found = _named(text, language)
    places = [(s, e) for s, e, slot, _ in hits(text, language) if slot != "subjects"]
    for start, end, slot, code in sorted(hits(text, language)):
        if slot != "subjects" or concept(code).kind in _FACELESS:
            continue
        if any(s <= start and end <= e for s, e in places):
            continue
        if any(m.start <= start < m.end + len(m.wardrobe) + 1 for m in found):  # part of somebody's clothes
            continue
        if language == "en" and _is_verb(text, start, end):
            continue
        found.append((_english if language == "en" else _chinese)(text, start, end, code))
    if language == "en":
        leading = _LEADING.match(text)
        if leading and not any(m.start < leading.end(2) and leading.start(1) < m.end for m in found):
            noun = leading[2].split()[-1]
            if not _not_somebody(leading[2]):
                found.append(
                    Mention(leading.start(1), leading.end(2), text[leading.start(1) : leading.end(2)], noun,
                            definite=leading[1].lower() in ("the", "his", "her", "its", "their"))
                )  # fmt: skip
    return sorted(found, key=lambda m: m.start)


def pronouns(text: str) -> list[Pronoun]:
    return [Pronoun(m.start(), m.end(), m[0]) for m in _PRONOUNS.finditer(text)]


def _named(text: str, language: str) -> list[Mention]:
    found = []
    for match in (_NAMED_EN if language == "en" else _NAMED_ZH).finditer(text):
        described = next(g for g in match.groups()[1:] if g)
        subjects = [(s, e, key) for s, e, slot, key in hits(described, language) if slot == "subjects"]
        if not subjects or hits(match[1], language):
            continue
        start, end, code = subjects[0]
        noun = described[start:end]
        worn = re.search(r"\s(?:in|wearing|with)\s.*$", described) if language == "en" else None
        phrase = described[: worn.start()] if worn else described
        found.append(
            Mention(
                match.start(),
                match.end() - 1,
                phrase,
                noun,
                code,
                wardrobe=worn[0].strip() if worn else "",
                name=match[1],
            )
        )
    return found


@lru_cache(maxsize=1)
def _verbs() -> re.Pattern[str]:
    return pattern("|".join([*ACTIONS.values(), *INTERACTIONS.values()]))


def _is_verb(text: str, start: int, end: int) -> bool:
    """Whether "fly", "saw" or "watch" is said as a verb: no determiner stands before it."""
    match = _verbs().fullmatch(text, start, end)
    return bool(match) and not re.search(
        rf"\b(?:{_DETERMINERS})\s+(?:[\w'-]+\s+){{0,2}}$", text[:start], re.IGNORECASE
    )


def _not_somebody(words: str) -> bool:
    return bool(
        re.search(
            r"\b(?:camera|shot|scene|view|film|video|screen|close-?up|light|sky|sun|moon|rain|snow|wind|weather|music|sound|night|day"
            r"|morning|evening|style|image|frame|story|angle|fog|mist|lights|waves|clouds?|title|words?)\b",
            words,
            re.IGNORECASE,
        )
    )


def _english(text: str, start: int, end: int, code: str) -> Mention:
    before = re.search(
        rf"\b({_DETERMINERS})\s+(?:other\s+)?((?:(?!(?:of|in|on|at|with|and|to|from|by|is|are|a|an|the|that|as|his|her|its)\b)[\w'-]+\s+){{0,4}})$",
        text[:start],
        re.IGNORECASE,
    )
    determiner = before[1].lower() if before else ""
    left = before.start() if before else start
    if (
        not before
        and (bare := re.match(r"^\W*((?:[\w'-]+\s+){1,2})$", text[:start]))
        and not _verbs().search(bare[1])
    ):
        left = start - len(bare[1])
    worn = _WORN.match(text[end:])
    owned = determiner in ("his", "her", "its", "their", "my", "our")
    return Mention(
        left,
        end,
        text[left:end],
        text[start:end],
        code,
        count=_NUMBERS.get(determiner, 1),
        other=determiner == "another"
        or bool(re.search(r"\b(?:other|second|third)\b", text[left:start], re.IGNORECASE)),
        definite=determiner in ("the", "this", "that") or owned,
        wardrobe=worn[0].strip(" ,") if worn else "",
    )


def _chinese(text: str, start: int, end: int, code: str) -> Mention:
    counted = [m for m in _ZH_COUNTED.finditer(text, 0, start) if start - m.end() <= 14]
    between = text[counted[-1].end() : start] if counted else ""
    if (
        counted
        and not re.search(r"[，。；：、！？\s]|[在到着了从把被向]|走|跑|站|坐|追|看", between.split("的")[-1])
        and "，" not in between
    ):
        phrase, left = text[counted[-1].start() : end], counted[-1].start()
        number = re.search(r"[两二三四五六几群]", text[left : left + 3])
        return Mention(left, end, phrase, text[start:end], code, count=_NUMBERS[number[0]] if number else 1,
                       other=phrase.startswith("另"), definite=phrase[0] in "这那")  # fmt: skip
    adjectives = _ZH_ADJECTIVES.search(text[:start])
    left = adjectives.start() if adjectives else start
    return Mention(left, end, text[left:end], text[start:end], code, definite=not adjectives)
