"""Film grammar: which scale, angle and camera move a shot gets.

Establish wide, go closer on the action, show a change of state in detail; never two equal set-ups across a cut; a
move only where it says something, and never the same one twice running. What the writer named is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from longtake.director.reading import Reading
from longtake.errors import RequestError, nearest
from longtake.storyboard import Angle, Camera, Move, Scale
from longtake.world.motion import TRAVELS

LADDER: tuple[Scale, ...] = (
    "extreme_wide", "wide", "full", "medium_wide", "medium", "medium_close_up", "close_up", "extreme_close_up", "insert",
)  # fmt: skip
"""From far to near."""
ROLE = Literal["establish", "action", "closer", "detail", "reaction", "end"]
Vocabulary = Mapping[str, Sequence[str]]
VOCABULARIES = ("any", "pocket", "full")
_GROUND_TRAVELS = TRAVELS | {"rise"}
_TAKE_MOVES: tuple[Move, ...] = ("follow", "dolly_in", "orbit_right", "truck_right", "crane_up", "dolly_out")


def words(vocabulary: str) -> Vocabulary:
    """The words of a vocabulary by slot; none for "any". Raises RequestError."""
    from longtake.world.sampler import PRESETS

    if vocabulary not in VOCABULARIES:
        valid = ", ".join(VOCABULARIES)
        raise RequestError(
            f"unknown vocabulary {vocabulary!r}; choose {valid}{nearest(vocabulary, VOCABULARIES)}"
        )
    if vocabulary == "any":
        return {}
    known = PRESETS[vocabulary]
    slots = ("subjects", "places", "times", "weathers", "shots", "cameras", "angles", "actions")
    return {slot: getattr(known, slot) for slot in slots}


@dataclass(frozen=True)
class Setup:
    scale: Scale
    angle: Angle
    camera: Camera


def plan(n: int, reading: Reading, first: bool, last: bool) -> list[ROLE]:
    """What the `n` shots of one beat are for. `first`: it opens the film or a new place; `last`: it ends the film."""
    if n == 1:
        if first and not (reading.change or reading.interaction or reading.lines):
            return ["establish"]
        return ["detail" if reading.change else "action"]
    roles: list[ROLE] = ["establish" if first else "action"]
    cycle: tuple[ROLE, ...] = (
        ("action", "closer", "reaction", "detail") if first else ("closer", "reaction", "action", "detail")
    )
    roles += [cycle[i % 4] for i in range(n - 1)]
    if last and n >= 4:
        roles[-1] = "end"
    return roles


def choose(
    reading: Reading, role: ROLE, before: Setup | None, vocabulary: Vocabulary, index: int, count: int
) -> Setup:
    """The set-up of shot `index` of `count`."""
    scale = known_scale(_scale(reading, role, count), vocabulary, bool(reading.scale))
    angle: Angle = _valid_angle(reading.angle) or (
        "low" if role == "reaction" and index % 2 and not reading.scale else "eye_level"
    )
    if angle not in _angles(vocabulary) and not reading.angle:
        angle = "eye_level"
    if before and (scale, angle) == (before.scale, before.angle):
        scale, angle = _apart(scale, angle, reading, vocabulary)
    return Setup(scale, angle, _camera(reading, role, before, vocabulary, index, count))


def take_setup(reading: Reading, piece: int, before: Setup | None, vocabulary: Vocabulary) -> Setup:
    """A piece of one long take: the scale may not jump, the camera keeps moving."""
    scale = known_scale(_scale(reading, "action", 1), vocabulary, bool(reading.scale))
    if before and not reading.scale:
        steps = LADDER.index(scale) - LADDER.index(before.scale)
        near = LADDER[LADDER.index(before.scale) + max(-2, min(2, steps))]
        scale = known_scale(near, vocabulary, False)
    move: Move = _valid_move(reading.move) or _allowed(_TAKE_MOVES[piece % len(_TAKE_MOVES)], vocabulary)
    angle = _valid_angle(reading.angle) or (before.angle if before else "eye_level")
    return Setup(scale, angle, Camera(move=move, speed="slow", support=_support(reading, "gimbal")))


def known_scale(scale: Scale, vocabulary: Vocabulary, named: bool) -> Scale:
    """The nearest scale the model has; what the writer named is left to the honest words of `understand`."""
    known = [s for s in LADDER if s in tuple(vocabulary.get("shots", ()))]
    if named or not known:
        return scale
    return min(known, key=lambda s: abs(LADDER.index(s) - LADDER.index(scale)))


def _scale(reading: Reading, role: ROLE, count: int) -> Scale:
    if reading.scale:
        return next(s for s in LADDER if s == reading.scale)
    travels = reading.action in _GROUND_TRAVELS and not reading.interaction
    match role:
        case "establish" if count == 1:
            return "full" if travels else "medium" if reading.mentions or reading.acts else "wide"
        case "establish":
            return "wide" if reading.mentions or reading.acts else "extreme_wide"
        case "detail":
            return "medium_close_up" if travels and not reading.change else "close_up"
        case "closer":
            return "medium_close_up" if reading.lines else "medium" if travels else "close_up"
        case "reaction":
            return "full" if travels else "medium_wide"
        case "end":
            return "wide"
    if reading.lines:
        return "medium_close_up"
    return "full" if travels else "medium"


def _apart(scale: Scale, angle: Angle, reading: Reading, vocabulary: Vocabulary) -> tuple[Scale, Angle]:
    """Another set-up for a cut: a step closer or wider, or another angle where the scale was asked for."""
    if reading.scale:
        other: Angle = "low" if angle == "eye_level" else "eye_level"
        return scale, other
    at = LADDER.index(scale)
    for step in (2, -2, 1, -1, 3, -3):
        if 0 <= at + step <= LADDER.index("close_up"):
            found = known_scale(LADDER[at + step], vocabulary, False)
            if found != scale:
                return found, angle
    return scale, "low" if angle == "eye_level" else "eye_level"


def _camera(
    reading: Reading, role: ROLE, before: Setup | None, vocabulary: Vocabulary, index: int, count: int
) -> Camera:
    support = _support(reading, "tripod")
    named = _valid_move(reading.move)
    if named:
        return Camera(move=named, speed="fast" if reading.fast else "slow", support=support)
    travels = reading.action in _GROUND_TRAVELS and not reading.interaction
    wish: Move = "static"
    if count > 1:
        if role == "establish":
            wish = "dolly_in" if index == 0 else "pan_right"
        elif role in ("action", "reaction") and travels and reading.direction in ("", "left", "right"):
            wish = "follow"
        elif role == "end":
            wish = "dolly_out"
        elif role == "closer":
            wish = "dolly_in"
    move = _allowed(wish, vocabulary)
    if before and move == before.camera.move:
        move = "static"
    return Camera(move=move, support=support)


def _allowed(move: Move, vocabulary: Vocabulary) -> Move:
    known = tuple(vocabulary.get("cameras", ()))
    return move if not known or move in known else "static"


def _angles(vocabulary: Vocabulary) -> tuple[str, ...]:
    if not vocabulary:
        return get_args(Angle)
    return tuple(vocabulary.get("angles", ("eye_level",)))


def _valid_move(move: str) -> Move | None:
    return next((m for m in get_args(Move) if m == move), None)


def _valid_angle(angle: str) -> Angle | None:
    return next((a for a in get_args(Angle) if a == angle), None)


def _support(
    reading: Reading, otherwise: Literal["tripod", "gimbal"]
) -> Literal["tripod", "handheld", "gimbal", "drone"]:
    for support in ("handheld", "gimbal", "drone", "tripod"):
        if support == reading.support:
            return support
    return otherwise
