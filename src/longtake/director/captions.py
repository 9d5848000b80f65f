"""A shot -> the caption the model is given: self-contained, in the words and the order captions are trained with.

[shot scale]. [action with identity words] [place] [time]. [weather, or the light]. [camera]. [style]. Chinese in its
own order. What the action already says is not said twice, but for the time: a model that hears "at noon" once may miss
it, so the light says it again in the place of a clear sky. Characters go by their identity words, verbatim.
"""

from __future__ import annotations

import re

from longtake.director.mentions import Mention, mentions, pronouns
from longtake.director.places import place_of, time_of, weather_of
from longtake.director.vocabulary import hits
from longtake.storyboard import Character, Location, Shot, Storyboard
from longtake.world.concepts import concept, grammar

_SCALES = {"medium_wide": "full", "medium_close_up": "medium", "insert": "extreme_close_up"}
"""Scales the captions have no words for, and the nearest they have."""
_ANGLES = {"overhead": "high", "dutch": "eye_level"}
_MOVES = {
    "pedestal_up": "crane_up",
    "pedestal_down": "crane_down",
    "roll_left": "handheld",
    "roll_right": "handheld",
}
_PREPOSITION = re.compile(
    r"^(?:in|on|at|inside|through|along|across|by|under|near|over|down|deep|among|around|outside|beside|behind|aboard|within|between|out)\b",
    re.IGNORECASE,
)


def compile(board: Storyboard, shot: Shot) -> str:
    """The caption of one shot of `board`, in the board's language."""
    language = "zh" if board.language.startswith("zh") else "en"
    people = [board.character(cast.id) for cast in shot.characters]
    action = _introduced(shot.action, people, language).strip(" .。")
    place = board.location(shot.location) if shot.location else None
    where, when, air = _setting(action, place, language)
    scale = _first("shots", _SCALES.get(shot.scale, shot.scale), language)
    angle = (
        "" if shot.angle == "eye_level" else _first("angles", _ANGLES.get(shot.angle, shot.angle), language)
    )
    move = _MOVES.get(shot.camera.move, shot.camera.move)
    if shot.camera.support == "handheld" and move == "static":
        move = "handheld"
    camera = _first("camera", move, language).replace("{S_def}", _definite(people, language))
    look = ", ".join(p for p in (board.style.look, *board.style.palette) if p)
    said = f"{action} {where} {when}"
    weather = place.weather if place else ""
    fine = (not weather or weather_of(weather) == "clear") and weather_of(said) in ("", "clear")
    if fine and not _names_light(f"{said} {look}", language):
        air = _light(said, place, language) or air
    if language == "zh":
        return _chinese(scale, angle, action, where, when, [air, camera, look])
    return _english(scale, angle, action, where, when, [air, camera, look])


def _english(scale: str, angle: str, action: str, where: str, when: str, more: list[str]) -> str:
    if re.search(r"[.!?;]", action):  # the setting belongs to all of several sentences
        setting = " ".join(part for part in (where, when) if part)
        clause = f"{setting}, {action[0].lower()}{action[1:]}" if setting else action
    else:
        clause = " ".join(part for part in (action, where, when) if part)
    sentences = [scale + (f", {angle}" if angle else ""), clause, *more]
    return " ".join(
        f"{s[0].upper()}{s[1:]}{'' if s.endswith(('.', '!', '?')) else '.'}"
        for s in (x.strip() for x in sentences)
        if s
    )


def _chinese(scale: str, angle: str, action: str, where: str, when: str, more: list[str]) -> str:
    scene = "，".join(part for part in (when, where, action) if part)
    opening = f"{scale}，{angle}" if angle else scale
    sentences = [f"{opening}：{scene}", *more]
    return "".join(f"{s.strip().rstrip('。')}。" for s in sentences if s.strip())


def _setting(action: str, place: Location | None, language: str) -> tuple[str, str, str]:
    """Place, time and weather phrases that the action does not say itself."""
    if place is None:
        return "", "", ""
    said = not place.description or place_of(action, language)[0] or _says(action, place.description)
    where = "" if said or _names_ground(action, place.description, language) else place.description
    if where and language == "en" and not _PREPOSITION.match(where):
        key, _ = place_of(where, language)
        article = re.match(r"(?:a|an|the|his|her|their)\b", where, re.IGNORECASE)
        where = f"in {where[0].lower()}{where[1:]}" if article or not key else f"in the {where}"
    when = "" if not place.time or _tells_time(f"{action} {where}", place.time, language) else place.time
    key = weather_of(place.weather)
    told = not key or weather_of(f"{action} {where}") == key
    air = (
        ""
        if told and not (place.weather and not key)
        else place.weather
        if not key
        else _first("weather", key, language, "clause")
    )
    return where, when, air


def _light(said: str, place: Location | None, language: str) -> str:
    """The sentence on the light of the time that is said, "" for a time without words of its own."""
    time = time_of(said)
    if not time:
        return ""
    ground, _ = place_of(f"{said} {place.description if place else ''}", language)
    inside = bool(ground) and bool(grammar()["places"][ground].get("indoor"))
    table = grammar()["times"][time]
    lights = (inside and table.get(f"{language}_light_indoor")) or table.get(f"{language}_light")
    sentence: str = grammar()["light_clauses"][language][0]
    return sentence.replace("{light}", lights[0]) if lights else ""


def _names_light(text: str, language: str) -> bool:
    return bool(re.search(r"light\b|\blit\b|\bglow" if language == "en" else "光", text, re.IGNORECASE))


def _tells_time(text: str, time: str, language: str) -> bool:
    """Whether the text names another time, or this one in the words of the captions: "sunny" alone does not do."""
    said, own = time_of(text), time_of(time)
    if not said or said != own:
        return bool(said)
    table = grammar()["times"][own]
    return any(
        phrase in text for part in ("", "_clear", "_indoor") for phrase in table.get(f"{language}{part}", ())
    )


def _names_ground(action: str, description: str, language: str) -> bool:
    """ "across the snow" already says where, in a snowy field."""
    key, _ = place_of(description, language)
    return bool(key) and str(grammar()["places"][key][f"ground_{language}"]) in action


def _says(action: str, words: str) -> bool:
    return words.lower() in action.lower()


def _first(table: str, key: str, language: str, part: str = "") -> str:
    return str(grammar()[table][key][f"{language}_{part}" if part else language][0])


def _definite(people: list[Character], language: str) -> str:
    if not people:
        return "the scene" if language == "en" else "主体"
    noun = _noun(people[0], language)
    return f"the {noun}" if language == "en" else noun


def _noun(character: Character, language: str) -> str:
    named = mentions(character.look, language)
    return (
        named[0].noun
        if named
        else re.sub(r"^(?:a|an|the|one) ", "", character.look or character.name or character.id)
    )


def identity(character: Character, language: str) -> str:
    """The words a character goes by in every caption: look, then wardrobe."""
    look = character.look or character.name or character.id
    if not character.wardrobe or character.wardrobe in look:
        return look
    if language == "zh":
        return f"{look}（{character.wardrobe}）"
    worn = character.wardrobe
    return f"{look} {worn}" if re.match(r"(?:in|wearing|with|dressed)\b", worn) else f"{look} wearing {worn}"


def _owner(character: Character, language: str) -> str:
    look = character.look or character.name or character.id
    return f"{look}'s" if language == "en" else look


def _introduced(action: str, people: list[Character], language: str) -> str:
    """The action with each character's identity words at its first mention; whoever is not named is added."""
    missing: list[Character] = []
    taken: list[tuple[int, int]] = []
    changes: list[tuple[int, int, str]] = []
    named = mentions(action, language)
    for character in people:
        span = _where(action, character, named, taken, language)
        if span is None:
            missing.append(character)
            continue
        start, end, possessive = span
        worn = character.wardrobe
        if worn and action[end:].lstrip(" ,").lower().startswith(worn.lower()):
            end = action.lower().index(worn.lower(), end) + len(worn)
        taken.append((start, end))
        changes.append(
            (start, end, _owner(character, language) if possessive else identity(character, language))
        )
    for character in list(missing):
        pronoun = _pronoun(action, character, taken)
        if pronoun:
            missing.remove(character)
            taken.append(pronoun[:2])
            words = _owner(character, language) if pronoun[2] else identity(character, language)
            changes.append((pronoun[0], pronoun[1], words))
    for start, end, words in sorted(changes, reverse=True):
        gap = action[:start]
        if not gap.strip():
            words = words[0].upper() + words[1:]
        action = gap + words + action[end:]
    return _added(action, missing, language)


def _where(
    action: str, character: Character, named: list[Mention], taken: list[tuple[int, int]], language: str
) -> tuple[int, int, bool] | None:
    """Where the action names a character: by name, by its identity words, or by the same thing."""
    if character.look and (at := action.lower().find(character.look.lower())) >= 0:
        return at, at + len(character.look), False
    own = {key for _, _, slot, key in hits(character.look, language) if slot == "subjects"}
    name = (
        character.name
        if character.name and character.name.lower() != _noun(character, language).lower()
        else ""
    )
    if name:
        bound = rf"\b{re.escape(name)}\b" if language == "en" else re.escape(name)
        match = re.search(rf"{bound}('s)?", action)
        if match:
            return match.start(), match.end(), match[0].endswith("'s")
    for mention in named:
        if any(s < mention.end and mention.start < e for s, e in taken):
            continue
        same = mention.code in own or any(_shared(mention.code, code, language) for code in own)
        if same or (mention.noun and mention.noun.lower() == _noun(character, language).lower()):
            tail = action[mention.end : mention.end + 2] == "'s"
            return mention.start, mention.end + 2 * tail, tail
    noun = _noun(character, language)
    bound = rf"\b(?:the |a |an )?{re.escape(noun)}\b" if language == "en" else re.escape(noun)
    match = re.search(bound, action, re.IGNORECASE)
    return (match.start(), match.end(), False) if match else None


def _shared(a: str, b: str, language: str) -> bool:
    if not a or not b:
        return False
    x, y = concept(a), concept(b)
    return bool(x.subject and y.subject and x.subject[language] == y.subject[language])


def _pronoun(action: str, character: Character, taken: list[tuple[int, int]]) -> tuple[int, int, bool] | None:
    gender = Mention(0, 0, f"{character.look} {character.name}", "").gender
    for pronoun in pronouns(action):
        if pronoun.plural or any(s <= pronoun.start < e for s, e in taken):
            continue
        if not (pronoun.gender and gender and pronoun.gender != gender):
            rest = action[pronoun.end :]
            owns = pronoun.possessive or (
                pronoun.word.lower() == "her"
                and bool(re.match(r"\s+[a-z]+", rest))
                and not re.match(r"\s+(?:to|and|in|on|as|with|up|at|from)\b", rest)
            )
            return pronoun.start, pronoun.end, owns
    return None


def _added(action: str, missing: list[Character], language: str) -> str:
    """Characters the action does not name: its subject when it begins with the verb or has none, else beside."""
    if not missing:
        return action
    words = [identity(character, language) for character in missing]
    if language == "zh":
        everybody = "和".join(words)
        plural = next((p for p in pronouns(action) if p.plural), None)
        if plural:
            return action[: plural.start] + everybody + action[plural.end :]
        return (
            f"{everybody}{action}"
            if not mentions(action, language) or _verb_first(action, language)
            else f"{action.rstrip('。')}，旁边是{everybody}"
        )
    everybody = " and ".join(words)
    plural = next((p for p in pronouns(action) if p.plural and not p.possessive), None)
    if plural:
        text = action[: plural.start] + everybody + action[plural.end :]
        return text[0].upper() + text[1:]
    if _verb_first(action, language):
        return f"{everybody[0].upper()}{everybody[1:]} {action[0].lower()}{action[1:]}"
    return f"{action.rstrip('.')}, with {everybody}" if action else everybody


def _verb_first(action: str, language: str) -> bool:
    from longtake.director.casting import _VERB_FIRST_EN, _VERB_FIRST_ZH

    return bool((_VERB_FIRST_EN if language == "en" else _VERB_FIRST_ZH).match(action))
