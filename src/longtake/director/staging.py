"""A shot of a board -> a scene of the paper theatre, as near as the theatre's vocabulary comes.

Every character gets the drawing its identity words name, or the most alike there is; what had to be replaced is
said in notes. The same place keeps its props from shot to shot.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from longtake.director.mentions import Mention, mentions
from longtake.director.notes import note
from longtake.director.places import place_of, time_of, weather_of
from longtake.director.reading import Reading, read
from longtake.director.vocabulary import likeness
from longtake.storyboard import Cast, Character, Shot, Storyboard
from longtake.world.choreography import PROPS
from longtake.world.concepts import Concept, actions_of, concept, concepts, grammar, has_role, resting
from longtake.world.motion import TRAVELS
from longtake.world.sampler import can_play, fits
from longtake.world.scene import Actor, Scene

_SOMEBODY = {"female": "1f6b6-200d-2640", "male": "1f6b6-200d-2642", "": "1f6b6-200d-2640"}
_MOVES = {
    "pedestal_up": "crane_up",
    "pedestal_down": "crane_down",
    "roll_left": "static",
    "roll_right": "static",
}
_ANGLES = {"overhead": "high", "dutch": "eye_level"}
_SCALES = {"medium_wide": "full", "medium_close_up": "medium", "insert": "extreme_close_up"}
_GOING = (
    "walk",
    "run",
    "hop",
    "drive",
    "ride",
    "fly",
    "swim",
    "sail",
    "roll",
    "slide",
    "float",
    "crawl",
    "slither",
)
_AND = re.compile(r"\s*(?:,|，|、|and|with|和|与|跟|及)\s*", re.IGNORECASE)
_DEFAULT = "meadow"
_SLEEPER = "1f6cc"


@dataclass(frozen=True)
class Staging:
    """A scene, and what was put in place of words the theatre does not know."""

    scene: Scene
    notes: tuple[str, ...]


def stage(board: Storyboard, shot: Shot, frames: int, drawings: Sequence[str]) -> Staging:
    """The scene of a shot, `frames` long, with nothing but `drawings` (codes of the atlas)."""
    language = "zh" if board.language.startswith("zh") else "en"
    reading = read(shot.action, language)
    notes: list[str] = []
    place = _place(board, shot, reading, language, notes)
    time, weather = _air(board, shot, reading, place)
    cast = [(c, board.character(c.id)) for c in shot.characters] or _named(reading)
    things = [_drawing(character, language, drawings, notes) for _, character in cast]
    things = _in_bed(reading, things, drawings)
    actors, interaction, relation = _actors(reading, cast, things, place, weather)
    if not actors:
        actors = (_scenery(place, drawings),)
    camera = _MOVES.get(shot.camera.move, shot.camera.move)
    if camera == "static" and shot.camera.support == "handheld":
        camera = "handheld"
    if camera == "follow" and (interaction or actors[0].action not in TRAVELS):
        camera = "static"
    scene = Scene(
        actors=actors,
        place=place,
        time=time,
        weather=weather,
        shot=_SCALES.get(shot.scale, shot.scale),
        camera=camera,
        angle=_ANGLES.get(shot.angle, shot.angle),
        interaction=interaction,
        relation=relation,
        seed=shot.seed if shot.seed is not None else _seed(board, shot),
        fps=board.fps,
        frames=frames,
    )
    return Staging(scene, tuple(notes))


def asked(board: Storyboard, shot: Shot, drawings: Sequence[str]) -> Scene:
    """What a shot asks to see: its scene, but for the direction where its words leave that open."""
    scene = stage(board, shot, 24, drawings).scene
    way = read(shot.action, "zh" if board.language.startswith("zh") else "en").direction
    if way or any(cast.facing in ("left", "right") for cast in shot.characters):
        return scene
    return replace(scene, actors=tuple(replace(actor, direction="") for actor in scene.actors))


def drawings_of(board: Storyboard, drawings: Sequence[str]) -> tuple[str, ...]:
    """Codes that a board needs of an atlas: its characters, its places' props, and what breaks and sleeps."""
    used: list[str] = ["splat", "1f4a4"]
    for shot in board.shots:
        scene = stage(board, shot, 24, drawings).scene
        used += [actor.code for actor in scene.actors] + list(PROPS[scene.place])
    return tuple(code for code in dict.fromkeys(used) if code in drawings)


def _seed(board: Storyboard, shot: Shot) -> int:
    key = f"{board.seed} {shot.location or ''}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") >> 1


# ---- where ----------------------------------------------------------------------------------------


def _place(board: Storyboard, shot: Shot, reading: Reading, language: str, notes: list[str]) -> str:
    words = board.location(shot.location).description if shot.location else ""
    key = place_of(words, language)[0] or reading.place
    if not key:
        if words or reading.place_words:
            used = grammar()["places"][_DEFAULT][f"{language}_noun"][0]
            notes.append(note("no_stage", language, said=words or reading.place_words, used=used))
        return _DEFAULT
    return key


def _air(board: Storyboard, shot: Shot, reading: Reading, place: str) -> tuple[str, str]:
    where = board.location(shot.location) if shot.location else None
    here = grammar()["places"][place]
    time = time_of(where.time if where else "") or reading.time or "noon"
    if time not in here["times"]:
        time = "night" if "night" in here["times"] else (here["times"] or ["noon"])[0]
    weather = (
        weather_of(where.weather if where else "")
        or reading.weather
        or str(here.get("default_weather", "clear"))
    )
    return time, weather if weather in here["weather"] else "clear"


# ---- who ------------------------------------------------------------------------------------------


def _named(reading: Reading) -> list[tuple[Cast, Character]]:
    """Whom the action of a shot without a cast names, as a cast."""
    named = [mention for mention in reading.mentions if mention.code]
    way = {"toward": "camera"}.get(reading.direction, reading.direction)
    return [
        (
            Cast.model_validate({"id": f"m{n}", "facing": "" if n else way}),
            Character(id=f"m{n}", look=mention.phrase),
        )
        for n, mention in enumerate(named)
    ]


def _drawing(
    character: Character, language: str, drawings: Sequence[str], notes: list[str]
) -> tuple[Concept, int]:
    """The drawing of a character and how many of it there are."""
    named = mentions(character.look or character.name, language)
    known = next((m for m in named if m.code), None)
    if known is None:
        gender = Mention(0, 0, f"{character.look} {character.name}", "").gender
        code = (
            _SOMEBODY[gender]
            if _SOMEBODY[gender] in drawings
            else next(c for c in drawings if concepts().get(c))
        )
        used = concept(code)
    else:
        used = concept(known.code)
        if known.code in drawings:
            return used, min(known.count, 6)
        same = [c for c in drawings if c in concepts()]
        used = max((concept(c) for c in same), key=lambda other: likeness(concept(known.code), other))
    name = used.subject[language] if used.subject else (used.en if language == "en" else used.zh)[0]
    replaced = note("no_drawing", language, said=character.look or character.name, used=name)
    if replaced not in notes:
        notes.append(replaced)
    return used, min(known.count if known else 1, 6)


def _in_bed(
    reading: Reading, things: list[tuple[Concept, int]], drawings: Sequence[str]
) -> list[tuple[Concept, int]]:
    """People who sleep lie in a bed of their own."""
    sleeps = (
        reading.action == "sleep"
        or reading.interaction == "wake_up"
        or bool(re.search(r"\bin bed\b|床上", reading.text))
    )
    if not sleeps or _SLEEPER not in drawings:
        return things
    whom = len(things) - 1 if reading.interaction else 0
    return [
        (concept(_SLEEPER), 1) if i == whom and thing.kind == "person" else (thing, count)
        for i, (thing, count) in enumerate(things)
    ]


def _actors(
    reading: Reading,
    cast: list[tuple[Cast, Character]],
    things: list[tuple[Concept, int]],
    place: str,
    weather: str,
) -> tuple[tuple[Actor, ...], str, str]:
    """Actors, interaction, relation; an interaction is played only by those who can."""
    if not cast:
        return (), "", ""
    ways = [
        {"left": "left", "right": "right", "camera": "toward", "away": "away"}.get(c.facing, "")
        for c, _ in cast
    ]
    if len(cast) >= 2 and reading.interaction:
        a, b = things[0][0], things[1][0]
        roles = grammar()["interactions"][reading.interaction]["requires"]
        asleep = b.code == _SLEEPER and reading.interaction == "wake_up"
        plays = asleep or all(any(has_role(x, r) for r in roles[k]) for x, k in ((a, "A"), (b, "B")))
        if plays and a.code != b.code and (asleep or can_play(reading.interaction, a, b)):
            side = ways[0] if ways[0] in ("left", "right") else "right"
            return (
                (Actor(a.code, action="stand", direction=side), Actor(b.code, action="rest")),
                reading.interaction,
                "",
            )
    if len(cast) == 1:
        thing, count = things[0]
        action = _action(reading, thing, place, weather)
        way = ways[0] or reading.direction or "right"
        if action == "enter":  # it comes from the side it does not look to
            way = {"right": "left", "left": "right"}.get(way, "left")
        if action not in TRAVELS and way in ("toward", "away"):
            way = ""
        return (
            (
                Actor(
                    thing.code,
                    count,
                    action=action,
                    direction=way if way in ("left", "right", "toward", "away") else "",
                ),
            ),
            "",
            "",
        )
    order = {"left": 0, "": 1, "centre": 1, "foreground": 1, "background": 1, "right": 2}
    row = sorted(range(len(cast)), key=lambda i: order[cast[i][0].position])[:3]
    together = _act_together(reading)
    actors = []
    for i in row:
        thing, count = things[i]
        acts = i == 0 or together
        action = _action(reading, thing, place, weather) if acts else resting(thing) or "rest"
        way = ways[row[0]] if together and action in TRAVELS else ways[i]
        still = (len(row) > 2 and action in TRAVELS) or action in (
            "enter",
            "exit",
            "blown_away",
            "stop",
            "pop_out",
        )
        actors.append(
            Actor(
                thing.code,
                count,
                action=(resting(thing) or "rest") if still else action,
                direction=way if way in ("left", "right") else "",
            )
        )
    return tuple(actors), "", "left_of"


def _act_together(reading: Reading) -> bool:
    """Whether the first ones that are named do the same: "a cat and a dog run"."""
    if len(reading.mentions) < 2:
        return False
    first, second = reading.mentions[:2]
    return bool(_AND.fullmatch(reading.action_text[first.end : second.start]))


def _action(reading: Reading, thing: Concept, place: str, weather: str) -> str:
    """What was asked for, else the nearest thing this drawing can do here, else staying still."""
    able = [a for a in actions_of(thing) if fits(thing, a, place, "")]
    wanted = reading.action
    if wanted == "pop_out" and place == "snowy_field" and "pop_out_of_snow" in able:
        return "pop_out_of_snow"
    if wanted in able:
        return wanted
    if wanted in _GOING:
        return next((a for a in _GOING if a in able), resting(thing) or able[0])
    lively = {"dance": ("spin", "hop", "sway"), "jump": ("hop", "bounce"), "lie": ("sleep", "rest"), "sleep": ("rest",),
              "rise": ("float", "fly"), "wave": ("turn",)}.get(wanted, ())  # fmt: skip
    return next((a for a in (*lively, resting(thing), *able) if a in able), "rest")


def _scenery(place: str, drawings: Sequence[str]) -> Actor:
    """A place nobody is in is shown by one of its own things."""
    own = [c for c in PROPS[place] if c in drawings and c in concepts()]
    code = own[0] if own else next(c for c in ("1f333", *drawings) if c in drawings and c in concepts())
    return Actor(code, action="rest")


def quiet(text: str) -> str:
    """Text for a slate: one line, ASCII."""
    return re.sub(r"[^\x20-\x7e]+", "?", " ".join(text.split()))
