"""What can truthfully be said of a scene, in English or Chinese.

The phrases, their slots and their agreement markup are grammar.json's; this module picks a template, fills
the slots it can, drops half of those that may be dropped, and mends articles, spaces and punctuation. It
never names a thing that is not on the stage, and skips paraphrases that would be false here (`_holds`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longtake.world.concepts import Concept, concept, grammar
from longtake.world.motion import TRAVELS
from longtake.world.scene import Actor, Scene

LANGUAGES = ("en", "zh")
LENGTHS = ("terse", "short", "medium", "long", "requests")
_LENGTH_WEIGHTS = (24, 33, 30, 8, 5)
_KEEP = 0.5
"""Chance that a slot which may be dropped stays."""
_NUMBERS = {"en": ("one", "two", "three", "four", "five", "six"), "zh": ("一", "两", "三", "四", "五", "六")}
_SLOT = re.compile(r"\{(\w+)(\?)?\}")
_AGREE = re.compile(r"\[(B:)?([^|\]]*)\|([^\]]*)\]")
_BREAKS = re.compile(r"([.,:;，。：；]\s*)")


@dataclass(frozen=True)
class _Name:
    """How one actor is called throughout one caption."""

    first: str
    definite: str
    noun: str
    plural: bool
    on: str
    """Chinese only: on one's body, or on a thing."""


def caption(
    scene: Scene, language: str, rng: random.Random, length: str | None = None, keep: float = _KEEP
) -> str:
    """One caption of `scene` in "en" or "zh"; `length` one of LENGTHS, else drawn at random.

    `keep` is the chance that a detail which may be left out stays. Raises KeyError for an unknown language or
    length.
    """
    length = length or rng.choices(LENGTHS, _LENGTH_WEIGHTS)[0]
    writer = _Writer(scene, language, rng, keep=keep)
    patterns = list(grammar()["templates"][length][language])
    rng.shuffle(patterns)
    for pattern in patterns:
        text = writer.fill(pattern)
        if text:
            return _finish(text, language, length, rng)
    return _finish(
        writer.fill({"en": "{clause}.", "zh": "{clause}。"}[language]) or "", language, "short", rng
    )


def script(scenes: Sequence[Scene], language: str, rng: random.Random) -> str:
    """A film of several shots: "Shot 1: ... Shot 2: ..."; things already seen take the definite form."""
    table = grammar()["templates"]["multi_shot"][language]
    numerals = grammar()["templates"]["multi_shot"]["numerals"][language]
    joiner = rng.choice(table["joiner"])
    heading = rng.choice([h for h in table["heading"] if "{" not in h])
    lines, seen = [heading] if heading else [], set[str]()
    for i, scene in enumerate(scenes):
        patterns = list(table["first_line" if i == 0 else "line"])
        rng.shuffle(patterns)
        writer = _Writer(scene, language, rng, seen)
        for pattern in patterns:
            numbered = pattern.replace("{i}", numerals[i]).replace("{i_zh}", numerals[i])
            text = writer.fill(numbered)
            if text:
                text = text if text.endswith((".", "。")) else text + {"en": ".", "zh": "。"}[language]
                lines.append(_finish(text, language, "short", rng))
                break
        seen |= {actor.code for actor in scene.actors}
    return str(joiner.join(lines))


def full_caption(scene: Scene, language: str) -> str:
    """The caption that leaves nothing out: the same for the same scene. For questions whose answer is checked."""
    rng = random.Random(f"full caption {scene.seed}")
    pattern = grammar()["templates"]["long"][language][0]
    text = _Writer(scene, language, rng, keep=1.0).fill(pattern)
    return _finish(text, language, "long", rng) if text else caption(scene, language, rng, "long")


class _Writer:
    """Fills templates for one scene with one choice of names; `keep`: chance that a droppable slot stays."""

    def __init__(
        self,
        scene: Scene,
        language: str,
        rng: random.Random,
        seen: set[str] | None = None,
        keep: float = _KEEP,
    ):
        self.scene, self.language, self.rng, self.keep = scene, language, rng, keep
        self.words: dict[str, Any] = grammar()
        self.here: dict[str, Any] = self.words["places"][scene.place]
        self.wet = scene.weather == "rain"
        self.things = [concept(actor.code) for actor in scene.actors]
        self.names = [
            self._name(actor, thing, actor.code in (seen or ()))
            for actor, thing in zip(scene.actors, self.things, strict=True)
        ]

    # ---- names ----------------------------------------------------------------------------------

    def _name(self, actor: Actor, thing: Concept, seen: bool) -> _Name:
        rng, many = self.rng, actor.count > 1
        noun = self._noun(actor, thing)
        if self.language == "zh":
            definite = noun if not many else f"这些{noun}"
            first = self._phrase_zh(actor, thing, noun)
            on = "身上" if thing.animate else "上"
            return _Name(definite if seen else first, definite, noun, many, on)
        size = rng.choice(self.words["sizes"][actor.size]["en"]) if actor.size else ""
        colour = self._colour(actor, noun)
        plural = (
            thing.subject["en_plural"] if thing.subject and noun == thing.subject["en"] else thing.en_plural
        )
        if many:
            number = _NUMBERS["en"][actor.count - 1] if actor.count <= 6 else "many"
            if actor.count > 4 and rng.random() < 0.3:
                number = "several"
            first, definite = f"{number} {size} {colour} {plural}", f"the {plural}"
        else:
            first, definite = f"{{art}} {size} {colour} {noun}", f"the {noun}"
        return _Name(definite if seen else first, definite, noun, many, "")

    def _noun(self, actor: Actor, thing: Concept) -> str:
        """Canonical more often than a synonym; pose drawings drop what the action already says."""
        lang = self.language
        if thing.subject and self._says_pose(actor, thing):
            return thing.subject[lang]
        names = thing.en if lang == "en" else thing.zh
        if actor.count > 1 and lang == "en":
            return names[0]
        moving = re.compile(r"\b\w+ing\b" if lang == "en" else "奔|飞|跑")
        others = [n for n in names[1:] if not moving.search(n)]
        if actor.size:
            others = [
                n for n in others if not n.startswith(("小", "大")) and "little" not in n and "baby" not in n
            ]
        if lang == "zh" and actor.size and names[0].startswith(("小", "大")) and others:
            return self.rng.choice(others)
        return names[0] if not others or self.rng.random() < 0.6 else self.rng.choice(others)

    def _says_pose(self, actor: Actor, thing: Concept) -> bool:
        """Whether the action of the scene is what the pose shows, so that the name need not say it."""
        if self.scene.interaction:
            return "walk" in thing.action["en"]
        verb = self.words["actions"][actor.action].get("en_attr", "")
        return bool(verb) and thing.action["en"].split()[0] == verb

    def _colour(self, actor: Actor, noun: str) -> str:
        if not actor.colour or actor.colour in noun:
            return ""
        return str(self.rng.choice(self.words["colours"][actor.colour]["en"]))

    def _phrase_zh(self, actor: Actor, thing: Concept, noun: str) -> str:
        measure = thing.zh_measure
        size = self.rng.choice(self.words["sizes"][actor.size]["zh"]) if actor.size else ""
        colour = ""
        if actor.colour:
            entry = self.words["colours"][actor.colour]
            colour = self.rng.choice(entry["zh_plain" if size else "zh"])
            colour = "" if entry.get("zh_bare", ["-"])[0] in noun else colour
        if actor.count > 6:
            return f"许多{size}{colour}{noun}"
        number = _NUMBERS["zh"][actor.count - 1]
        if actor.count > 4 and self.rng.random() < 0.3:
            number = "好几"
        return f"{number}{measure}{size}{colour}{noun}"

    # ---- templates ------------------------------------------------------------------------------

    def fill(self, pattern: str) -> str | None:
        """The template with its slots filled, or None where it cannot be said of this scene."""
        scene, pair = self.scene, len(self.scene.actors) > 1
        if re.search(r"\{(clause[23]|then)\}", pattern):
            return None
        if pair and re.search(r"\{(N|attr)\}", pattern):
            return None
        if "{attr}" in pattern and f"{self.language}_attr" not in self._action():
            return None
        apart = bool(scene.relation) and "{relation}" in pattern
        clause_slots = {s for s in ("clause", "clause_ing", "shot_clause") if f"{{{s}}}" in pattern}
        used_ground = False
        values: dict[str, str] = {}
        if clause_slots:
            only = "{place}" in pattern
            clause, used_ground = self._clause("clause_ing" in clause_slots, only, apart)
            for slot in ("clause", "clause_ing"):
                values[slot] = clause
            if "shot_clause" in clause_slots:
                values["shot_clause"] = self._shot_clause(
                    apart, only, starts=pattern.startswith("{shot_clause}")
                )
        values["relation"] = self._relation() if apart else ""
        parts = _BREAKS.split(pattern)
        return "".join(self._segment(part, values, used_ground) for part in parts)

    def _segment(self, part: str, values: dict[str, str], used_ground: bool) -> str:
        """Fill one stretch between punctuation marks; slots among fixed words are never dropped alone."""
        droppable = {s.strip("{}") for s in self.words["templates"]["drop"]["slots"]}
        fixed = bool(re.search(r"[A-Za-z\u4e00-\u9fff]", _SLOT.sub("", part)))
        slots = [m.group(1) for m in _SLOT.finditer(part)]
        filled: dict[str, str] = {}
        for slot in slots:
            if slot in values:
                filled[slot] = values[slot]
            elif slot == "art":
                filled[slot] = "{art}"
            else:
                text = self._slot(slot, used_ground)
                if slot in droppable and not fixed and self.rng.random() > self.keep:
                    text = ""
                if fixed and not text and (slot != "place" or part.startswith("在")):
                    return ""
                filled[slot] = text
        if "light_clause" in slots and self.rng.random() > self.keep:
            filled["light_clause"] = ""
        return _SLOT.sub(lambda m: filled[m.group(1)], part)

    def _slot(self, slot: str, used_ground: bool) -> str:
        scene, words, lang = self.scene, self.words, self.language
        pick = self.rng.choice
        outdoor = not self.here["indoor"]
        if slot == "N":
            many = self.names[0].plural and self.language == "en"
            return self.names[0].definite.removeprefix("the ") if many else self.names[0].noun
        if slot == "attr":
            return str(self._action()[f"{lang}_attr"])
        if slot == "place":
            return self._place(used_ground)
        if slot == "place_noun":
            return str(pick(self._place_list("noun")))
        if slot == "time":
            return self._time()
        if slot in ("weather", "weather_clause", "weather_tag"):
            if not outdoor or not self.here.get("en_weather_ok", True):
                return ""
            entry = words["weather"][scene.weather]
            if scene.weather == "clear" and (scene.place == "neon_street" or self.rng.random() > self.keep):
                return ""
            if slot == "weather":
                night = scene.time == "night" and f"{lang}_night" in entry
                options = entry[f"{lang}_night" if night else lang]
                return str(pick(options))
            options = entry[f"{lang}_{slot.removeprefix('weather_')}"]
            return str(
                pick([o for o in options if "not a cloud" not in o and "万里无云" not in o])
            )  # the sky has some
        if slot == "light_clause":
            return self._light()
        if slot == "shot":
            return str(pick(words["shots"][scene.shot][lang]))
        if slot == "camera":
            return self._camera()
        if slot in ("cam", "cam_noun"):
            entry = words["camera"][scene.camera]
            return str(pick(entry[f"{lang}_tag" if slot == "cam" or lang == "zh" else "en_noun"]))
        if slot in ("style", "style_noun", "style_suffix", "style_sentence"):
            key = {"style": "tag"}.get(slot, slot.removeprefix("style_"))
            return str(pick(words["styles"][scene.style][f"{lang}_{key}"]))
        raise KeyError(f"no rule for the slot {{{slot}}}")

    # ---- slots ----------------------------------------------------------------------------------

    def _place_list(self, kind: str) -> list[str]:
        rain = f"{self.language}_{kind}_rain"
        return list(
            self.here[rain] if self.wet and rain in self.here else self.here[f"{self.language}_{kind}"]
        )

    def _ground(self) -> str:
        key = f"ground_{self.language}"
        return str(self.here[f"{key}_rain"] if self.wet and f"{key}_rain" in self.here else self.here[key])

    def _place(self, used_ground: bool) -> str:
        """A place phrase that does not name the ground a second time."""
        options = self._place_list("loc")
        if used_ground:
            options = [o for o in options if not self._repeats(o)]
        return self.rng.choice(options) if options else ""

    def _repeats(self, phrase: str) -> bool:
        ground = self._ground()
        if self.language == "en":
            words = set(re.findall(r"[a-z]+", phrase))
            return bool(words & (set(ground.split()) - {"the", "a", "flat", "sandy"}))
        return any(ground[i : i + 2] in phrase for i in range(len(ground) - 1))

    def _time(self) -> str:
        if self.here.get("mention_time") is False:
            return ""
        entry, lang = self.words["times"][self.scene.time], self.language
        if self.here["indoor"]:
            return str(self.rng.choice(entry[f"{lang}_indoor"]))
        bright = entry.get(f"{lang}_clear", []) if self.scene.weather in ("clear", "wind") else []
        if self.scene.place == "neon_street":
            bright = []
        return str(self.rng.choice(entry[lang] + bright))

    def _light(self) -> str:
        scene, lang = self.scene, self.language
        if self.here.get("mention_time") is False or scene.place == "neon_street":
            return ""
        if not self.here["indoor"] and scene.weather not in ("clear", "wind"):
            return ""
        indoor = "_light_indoor" if self.here["indoor"] else "_light"
        light = self.rng.choice(self.words["times"][scene.time][f"{lang}{indoor}"])
        return str(self.rng.choice(self.words["light_clauses"][lang])).replace("{light}", light)

    def _camera(self) -> str:
        options = [
            o
            for o in self.words["camera"][self.scene.camera][self.language]
            if not (self.here["indoor"] and ("sky" in o or "天" in o))
        ]
        return str(self.rng.choice(options)).replace("{S_def}", self.names[0].definite)

    def _shot_clause(self, apart: bool, only: bool, starts: bool) -> str:
        entry = self.words["shots"][self.scene.shot]
        if self.language == "zh":
            pattern = self.rng.choice(entry["zh_in"] + (entry["zh_colon"] if starts else []))
        else:
            pattern = self.rng.choice(entry["en_of"] + entry["en_in"])
        participle = "{clause_ing}" in pattern
        clause, _ = self._clause(participle, only, apart, grounded=False)
        return str(pattern.replace("{clause_ing}", clause).replace("{clause}", clause))

    def _action(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.words["actions"][self.scene.actors[0].action]
        return entry

    def _clause(
        self, participle: bool, with_place: bool, apart: bool, grounded: bool = True
    ) -> tuple[str, bool]:
        """What happens, and whether it names the ground; a pair's relation too unless it is told `apart`."""
        scene = self.scene
        if scene.interaction:
            options = self._interaction(participle)
        elif scene.relation and not apart and (self.rng.random() < 0.6 or not self._patterns(participle)):
            return self._relation(first=True, participle=participle), False
        else:
            options = self._patterns(participle)
        ground_clash = with_place and all(self._repeats(o) for o in self._place_list("loc"))
        no_ground = [o for o in options if "{ground}" not in o]
        if (ground_clash or not grounded) and no_ground:
            options = no_ground
        way = [o for o in options if "{dir" in o or "{side}" in o] if scene.actors[0].direction else []
        if way and self.keep >= 1:
            options = way
        pattern = self.rng.choices(options, [3 if o in way else 1 for o in options])[0]
        text = self._say(pattern)
        if scene.relation and not apart:
            text += self._aside()
        return text, "{ground}" in pattern

    def _patterns(self, participle: bool) -> list[str]:
        entry = self._action()
        key = "en_ing" if participle and self.language == "en" else self.language
        return [p for p in entry[key] if self._holds(p)]

    def _interaction(self, participle: bool) -> list[str]:
        entry = self.words["interactions"][self.scene.interaction]
        if self.language == "zh":
            animate = self.things[1].animate and "zh_with_animate" in entry
            return [p for p in entry["zh_with_animate" if animate else "zh"] if self._holds(p)]
        return [p for p in entry["en_ing" if participle else "en"] if self._holds(p)]

    def _relation(self, first: bool = False, participle: bool = False) -> str:
        entry = self.words["relations"][self.scene.relation]
        key = f"{self.language}_np" if participle and self.language == "en" else self.language
        options = [p for p in entry[key] if self._holds(p)]
        return self._say(self.rng.choice(options), definite_a=not first)

    def _aside(self) -> str:
        """The relation as an afterthought to the action clause."""
        b = self.names[1]
        where = {
            "en": {"left_of": "to the left of", "right_of": "to the right of", "in_front_of": "in front of",
                   "behind": "behind", "next_to": "next to", "on_top_of": "on top of"},
            "zh": {"left_of": "左边", "right_of": "右边", "in_front_of": "前面", "behind": "后面",
                   "next_to": "旁边", "on_top_of": "上面"},
        }[self.language][self.scene.relation]  # fmt: skip
        return f", {where} {b.first}" if self.language == "en" else f"，就在{b.first}的{where}"

    def _say(self, pattern: str, definite_a: bool = False) -> str:
        """A clause pattern with names, direction, manner and agreement."""
        scene, rng = self.scene, self.rng
        actor = scene.actors[0]
        a, b = self.names[0], self.names[-1]
        lead = a.definite if definite_a else a.first
        slots = {
            "S": lead, "A": lead, "B": b.first, "S_def": a.definite, "A_def": a.definite, "B_def": b.definite,
            "B_on": b.on, "ground": self._ground(), "hide": self.here.get(f"hide_{self.language}", ""),
            "dir": self._direction(actor) if self.keep >= 1 or rng.random() < 0.85 else "",
            "adv": self._manner(actor), "side": self._side(actor),
        }  # fmt: skip
        text = _AGREE.sub(lambda m: m.group(3 if (b if m.group(1) else a).plural else 2), pattern)
        return _SLOT.sub(lambda m: slots[m.group(1)], text)

    def _direction(self, actor: Actor) -> str:
        if not actor.direction or actor.action in ("enter", "exit", "turn"):
            return ""
        options = self.words["directions"][actor.direction][self.language]
        return str(self.rng.choice(options))

    def _manner(self, actor: Actor) -> str:
        if not actor.manner or (self.keep < 1 and self.rng.random() < 0.25):
            return ""
        return str(self.rng.choice(self.words["speeds"][actor.manner][self.language]))

    def _side(self, actor: Actor) -> str:
        table = self._action().get("slots", {}).get("{side}", {}) if not self.scene.interaction else {}
        return str(table[actor.direction][self.language]) if actor.direction in table else ""

    # ---- truth ----------------------------------------------------------------------------------

    def _holds(self, pattern: str) -> bool:
        """Whether a paraphrase is true of this scene."""
        scene, actor, thing = self.scene, self.scene.actors[0], self.things[0]
        outdoor = not self.here["indoor"]

        def has(*words: str) -> bool:
            return any(word in pattern for word in words)

        if not outdoor and has("the sky", "天空", "天上", "上天", "从天"):
            return False
        if has("breeze", "微风") and (scene.weather != "wind" or not outdoor):
            return False
        if "{side}" in pattern and actor.direction not in ("left", "right"):
            return False
        if "{hide}" in pattern and "hide_en" not in self.here:
            return False
        if has("huge size", "tiny size"):
            return False
        if actor.action == "rest" and thing.animate and has("放在", "摆在", "sit"):
            return False
        if has("gobbl", "吃掉"):
            return False  # something is always left
        if has("peek", "探") and not thing.animate:
            return False
        if actor.manner in ("slow", "gentle") and has("dash", "rac", "speed", "飞奔", "疾驰", "撒腿", "哧溜"):
            return False
        if actor.manner in ("fast", "sudden") and has("stroll", "wander", "漫步", "散步", "慢慢", "gently"):
            return False
        if has("拍着翅膀") and (thing.kind != "animal" or "fly" not in thing.moves):
            return False
        if has("high above", "soar") and thing.kind == "face":
            return False
        if actor.action == "drive" and has("[stops|stop]", "停在"):
            return False
        if actor.action == "jump" and not actor.direction and has("{dir?} across", "跳来跳去"):
            return False
        if has("twirl", "跳舞", "over and over") and actor.action == "spin":
            return False
        if scene.relation:
            if has("[stands|stand]") and actor.action != "stand":
                return actor.action == "stand" and scene.interaction == ""
            if has("[sits|sit]", "sitting", "[rests|rest]") and scene.relation == "on_top_of":
                return actor.action in ("rest", "stand")
            if has("放着", "放在", "搁在") and thing.animate:
                return False
            if has("{A} and {B} side by side", "并排") and actor.action in TRAVELS:
                return False
        return True


# ---- mending -----------------------------------------------------------------------------------


def _article(match: re.Match[str]) -> str:
    word = match.group(1).lower()
    rules = grammar()["articles"]
    an = word[0] in "aeiou" and not word.startswith(tuple(rules["a_exceptions"]))
    return f"{'an' if an or word.startswith(tuple(rules['an_exceptions'])) else 'a'} {match.group(1)}"


def _finish(text: str, language: str, length: str, rng: random.Random) -> str:
    """Articles, spaces, punctuation left over by empty slots, capitals."""
    if language == "zh":
        text = re.sub(r"\s+", "", text)
        text = re.sub(r"^[，。：；]+", "", text)
        text = re.sub(r"[，：；]*。+", "。", text)
        text = re.sub(r"([，：；])[，：；]+", r"\1", text)
        text = re.sub(r"。[，：；。]+", "。", text)
        return text.strip("，：；") if not text.endswith("。") else text
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\{art\} ([\w-]+)", _article, text)
    text = re.sub(r"\s+([.,:;])", r"\1", text)
    text = re.sub(r"^[\s.,:;]+", "", text)
    text = re.sub(r"([,:;])(\s*[,:;])+", r"\1", text)
    text = re.sub(r"([.,:;])(\s*[,:;])+", r"\1", text)
    text = re.sub(r"[,:;]?\s*\.(\s*[.,:;])*", ".", text)
    text = text.strip(" ,:;")
    if length == "terse" and rng.random() < 0.5:
        return text
    return re.sub(
        r"(^|[.:] )([a-z])",
        lambda m: m.group(1) + (m.group(2).upper() if m.group(1) != ": " or "Shot" in text else m.group(2)),
        text,
    )
