"""What one piece of a script says: who does what where, and how it is to be filmed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from longtake.director import lexicon
from longtake.director.mentions import Mention, mentions
from longtake.director.places import place_of, time_of, weather_of
from longtake.director.speech import speech
from longtake.director.verbs import ACTIONS, CHANGES, DETAILS, INTERACTIONS

_SEGMENTS = re.compile(r"([.,;:!?，。；：！？]+\s*|\s+[-–—]\s+)")
_DIRECTIONS = {
    "right": r"\bto the right\b|\brightwards?\b|\bfrom left to right\b|\btowards the right\b|向右|从左(?:向|往|到)右|往右|朝右",
    "left": r"\bto the left(?! of)\b|\bleftwards?\b|\bfrom right to left\b|\btowards the left\b|向左|从右(?:向|往|到)左|往左|朝左",
    "toward": r"\b(?:towards?|at|to) (?:the )?(?:camera|viewer|us)\b|朝着?(?:镜头|观众)|迎着镜头|向镜头走来",
    "away": r"\baway from (?:the )?camera\b|\binto the distance\b|背着镜头|往远处|走向远方",
}
_RELATIONS = {
    "left_of": r"\b(?:to the |on the )?left (?:side )?of\b|\bon the left\b|(?:在|位于).{1,8}(?:的)?左(?:边|侧)|左边(?:是|站|有)",
    "right_of": r"\b(?:to the |on the )?right (?:side )?of\b|\bon the right\b|(?:在|位于).{1,8}(?:的)?右(?:边|侧)|右边(?:是|站|有)",
    "in_front_of": r"\bin front of\b|在.{1,8}前面",
    "behind": r"\bbehind\b|在.{1,8}后面",
    "on_top_of": r"\bon top of\b|\b(?:sits?|sitting|stands?|rests?) on (?:a|an|the) (?:\w+ )?(?:box|table|chair|car|bus|book)\b|在.{1,6}(?:箱|桌|椅|车)子?上",
    "next_to": r"\b(?:next to|beside|side by side|together)\b|旁边|并排|一起|身旁",
}
_FILM_ONLY = re.compile(
    r"^\W*+(?:(?:a|an|the|in|on|of|from|with|and|is|it|this|shot|view|angle|angles|slow|slowly|smooth|smoothly|quick|quickly|gently|camera|cam"
    r"|style|film|video|scene|look|lens|move|moves|movement|light|lighting|composition|frame|by|as|over|up|to|towards?|very|fast|then|cinematic"
    r"|shallow|depth|field|focus|mm|\d\w*+|镜头|缓缓|慢慢|的|画面|摄像机|拍摄|里|中|机位|风格|整体|是|采用|快速|逐渐|并|地)\W*+)*$",
    re.IGNORECASE,
)
_CAMERA_LEAD = re.compile(
    r"^\s*(?:the |a )?(?:camera|shot|view|drone|镜头|摄像机|画面).{0,60}?\b(?:as|while|where|showing|revealing to show)\s+",
    re.IGNORECASE,
)
_FOLLOWED = re.compile(
    r"\b(?:(?:follow|track)(?:s|ing)?|across|over|past|around|round|on|to|towards?|from)"
    r" ((?:the|a|an) [\w' -]+?) (?:as|while|where)\s+$",
    re.IGNORECASE,
)
_CAMERA_SENTENCE = re.compile(
    r"^\s*(?:the |a )?(?:camera|lens|view)\b|^\s*(?:镜头|摄像机|机位)", re.IGNORECASE
)
_TARGET = re.compile(
    r"^\s*(?:the |a )?(?:(?:camera|lens|view) )?(?:\w+ly )?\0+ ?(?:\w+ly )?"
    r"(?:(?:across|over|past|along|around|round|from|to|onto|towards?|on|into|in on|out from|away from) (?=\S)"
    r"|(?=(?:an?|the|one|two|three|four|five|six|\d|his|her|their|our|my) ))",
    re.IGNORECASE,
)
"""A camera that moves "across a penguin on a beach" films the penguin; the move itself is blanked out."""


@dataclass(frozen=True)
class Reading:
    """Keys are those of the world's grammar and of the storyboard; "" where the text does not say."""

    text: str
    language: str
    action_text: str
    """What is left to be filmed when film words and speech are taken away."""
    mentions: tuple[Mention, ...]
    place: str
    place_words: str
    time: str
    weather: str
    action: str
    interaction: str
    relation: str
    direction: str
    scale: str
    angle: str
    move: str
    support: str
    fast: bool
    style: str
    lines: tuple[tuple[str, str], ...]
    narration: str
    sound: str
    change: bool
    """A state changes, or a face or a small thing matters: worth a closer look."""
    moves: tuple[str, ...] = ()
    """Every camera move the text names; a shot has one."""

    @property
    def acts(self) -> bool:
        return bool(self.action or self.interaction or self.lines)

    @property
    def films(self) -> bool:
        """Whether it says anything to be filmed at all."""
        return bool(self.mentions or self.acts or self.place_words or self.action_text)


@lru_cache(maxsize=1024)
def read(text: str, language: str) -> Reading:
    """Read one piece of a script."""
    said = speech(text, language)
    rest = said.rest
    moves = _moves(rest)
    filmed = action_text(rest, language)
    place, words = place_of(filmed, language)
    if not words:
        place, words = place_of(rest, language)
    people = tuple(mentions(filmed, language))
    if not place and any(m.phrase.lower() in words.lower() for m in people):
        words = ""
    doing, acting = lexicon.spans(INTERACTIONS, filmed), lexicon.spans(ACTIONS, filmed)
    return Reading(
        text=text.strip(),
        language=language,
        action_text=filmed,
        mentions=people,
        place=place,
        place_words=words,
        time=time_of(rest),
        weather=weather_of(rest),
        action=acting[0][2] if acting else "",
        interaction=doing[0][2] if doing else "",
        relation=lexicon.first(_RELATIONS, filmed) if len(people) > 1 else "",
        direction=lexicon.first(_DIRECTIONS, filmed),
        scale=lexicon.first(lexicon.SCALES, rest),
        angle=lexicon.first(lexicon.ANGLES, rest),
        move=moves[0] if moves else "",
        support=lexicon.first(lexicon.SUPPORTS, rest),
        fast=_is_fast(rest),
        style=", ".join(dict.fromkeys(m[0] for m in lexicon.pattern(lexicon.STYLES).finditer(rest))),
        lines=said.lines,
        narration=said.narration,
        sound=said.sound,
        change=bool(lexicon.pattern(CHANGES).search(filmed) or lexicon.pattern(DETAILS).search(filmed)),
        moves=tuple(moves),
    )


def _moves(text: str) -> list[str]:
    """Camera moves in the order in which they are said."""
    return list(dict.fromkeys(key for _, _, key in lexicon.spans(lexicon.MOVES, text)))


def _is_fast(text: str) -> bool:
    """Whether a segment that moves the camera says so."""
    fast = lexicon.pattern(lexicon.FAST)
    return any(fast.search(part) and lexicon.first(lexicon.MOVES, part) for part in _SEGMENTS.split(text))


def action_text(text: str, language: str) -> str:
    """`text` without scale, angle, camera and style words, or segments that say nothing else."""
    parts = _SEGMENTS.split(text)
    kept = ""
    for i in range(0, len(parts), 2):
        stop = parts[i + 1] if i + 1 < len(parts) else ""
        part = _without_film_words(parts[i], language)
        if not part.strip(" \n\t"):
            if (
                kept
                and stop.strip()[:1] in (".", "。", "!", "！", "?", "？", ";", "；")
                and not kept.rstrip().endswith((".", "。", "!", "?"))
            ):
                kept = kept.rstrip(" ,，:：;；") + stop
            continue
        kept += part + stop
    kept = re.sub(r"\s+", " ", kept).strip(" ,，;；:：-–—\n")
    if language == "en" and kept[:1].islower() and text[:1].isupper():
        kept = kept[0].upper() + kept[1:]
    return kept


@lru_cache(maxsize=1024)
def _without_film_words(part: str, language: str) -> str:
    lead = _CAMERA_LEAD.match(part)
    if lead and lexicon.first(lexicon.MOVES, lead[0]):
        followed = _FOLLOWED.search(lead[0])
        part = part[lead.end() :]
        if followed:
            part = re.sub(r"^(?:it|he|she|they)\b", lambda _: followed[1], part)
    elif language == "en" and (filmed := _filmed(part)):
        return filmed
    elif _CAMERA_SENTENCE.match(part) and (lexicon.first(lexicon.MOVES, part) or language == "zh"):
        return ""
    found = [
        *lexicon.spans(lexicon.SCALES, part),
        *lexicon.spans(lexicon.ANGLES, part),
        *lexicon.spans(lexicon.MOVES, part),
        *lexicon.spans(lexicon.SUPPORTS, part),
        *[(m.start(), m.end(), "style") for m in lexicon.pattern(lexicon.STYLES).finditer(part)],
    ]
    if not found:
        return part
    blank = part
    for start, end, _ in found:
        blank = blank[:start] + "\0" * (end - start) + blank[end:]
    if _FILM_ONLY.match(blank.replace("\0", "")):
        return ""
    return _unframe(blank, language)


def _filmed(part: str) -> str:
    """Whom a camera's sentence moves to, past or around, with what they do; "" where it names nobody."""
    blank = part
    for start, end, _ in lexicon.spans(lexicon.MOVES, part):
        blank = blank[:start] + "\0" * (end - start) + blank[end:]
    target = _TARGET.match(blank)
    if target is None:
        return ""
    rest = part[target.end() :]
    return rest if any(mention.code for mention in mentions(rest, "en")) else ""


def _unframe(blank: str, language: str) -> str:
    """Take the blanked words out, with the frame around them: "a \0 of", "in a \0", "\0里"."""
    if language == "zh":
        return re.sub(
            r"(?:切到|用|以)?(?:一个)?的?\0+(?:画面|镜头)?(?:里|中|拍摄|视角|角度)?[：:]?", "", blank
        )
    blank = re.sub(
        r"(?:\b(?:in|with|from|using|as)\s+)?(?:\b(?:a|an|the|another)\s+)?(?:(?:slow|smooth|cinematic|sweeping|quick|tight|gentle)\s+)*\0+"
        r"(?:\s+(?:shot|view|angle|camera|style|lens))?(?:\s+(?:of|on|showing|shows|reveals?|to|from behind|where))?",
        " ",
        blank,
        flags=re.IGNORECASE,
    )
    blank = re.sub(r"\s*\0+\s*", " ", blank)
    return re.sub(r"^\s*(?:and|of|on|with|in)\s+", "", blank, flags=re.IGNORECASE)
