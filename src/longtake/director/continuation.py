"""How a moment goes on: further actions of the same subject, said in the captions' own words.

A minute out of one sentence needs more to film than the sentence says. What the subject can truthfully do at the
place is taken from the world's tables, in an order that tells: look about, go on, play, rest.
"""

from __future__ import annotations

import re

from longtake.director.mentions import Mention
from longtake.director.reading import Reading
from longtake.director.setups import Vocabulary
from longtake.world.concepts import Concept, actions_of, grammar
from longtake.world.sampler import fits

_ORDER = (
    "turn", "walk", "hop", "run", "stand", "jump", "dance", "spin", "swim", "fly", "float", "drive", "stop", "roll", "bounce",
    "wave", "slide", "rise", "rest", "sleep", "sway",
)  # fmt: skip
_WAYS = ("right", "right", "")
"""Directions by turns: the axis is kept, so nobody turns back without a reason."""


def continuations(reading: Reading, count: int, vocabulary: Vocabulary) -> list[str]:
    """`count` clauses in the reading's language; the beat's own words where nothing is known of the subject."""
    lead = next((m for m in reading.mentions if m.thing is not None and m.thing.kind != "furniture"), None)
    known = _possible(lead.thing, reading, vocabulary) if lead and lead.thing else []
    if not lead or not known:
        return [reading.action_text] * count
    return [_clause(known[i % len(known)], lead, reading, i) for i in range(count)]


def _possible(thing: Concept, reading: Reading, vocabulary: Vocabulary) -> list[str]:
    allowed = tuple(vocabulary.get("actions", ())) or tuple(grammar()["actions"])
    able = [a for a in _ORDER if a in actions_of(thing) and a in allowed and a != reading.action]
    return [a for a in able if not reading.place or fits(thing, a, reading.place, reading.weather)]


def _clause(action: str, lead: Mention, reading: Reading, index: int) -> str:
    language = reading.language
    words = grammar()
    entry = words["actions"][action]
    here = words["places"].get(reading.place)
    patterns = [
        p
        for p in entry[language]
        if "{hide}" not in p and "{side}" not in p and ("{ground}" not in p or here)
    ]
    pattern = patterns[index % len(patterns)] if patterns else f"{{S}} {action}s"
    way = _WAYS[index % len(_WAYS)] if "right" in entry["dirs"] else ""
    slots = {
        "S": f"the {lead.noun}" if language == "en" else lead.noun,
        "dir": str(words["directions"][way][language][1 if language == "en" else 2]) if way else "",
        "adv": "",
        "ground": str(here[f"ground_{language}"]) if here else "",
    }
    text = re.sub(r"\[([^|\]]*)\|([^\]]*)\]", lambda m: m[2 if lead.count > 1 else 1], pattern)
    text = re.sub(r"\{(\w+)\??\}", lambda m: slots.get(m[1], ""), text)
    text = re.sub(r"\s+", " ", text).strip()
    if language == "en":
        return text[0].upper() + text[1:] + "."
    return text.replace(" ", "") + "。"
