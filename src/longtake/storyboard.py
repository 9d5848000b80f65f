"""The storyboard: the frozen nouns of a film of many shots, and the JSON file a person can edit.

A board is complete in itself: size, frame rate, seed, who and where, and every shot in order. It says what is
filmed and knows nothing of models. Times are in seconds; a transition leads *into* its shot, and its middle lies
on the cut, so the length of a film is the sum of its shots.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from longtake.errors import RequestError, nearest
from longtake.fields import LONGEST_FILM, Fps, Seed, Size, Text, explain

Scale = Literal[
    "extreme_wide", "wide", "full", "medium_wide", "medium", "medium_close_up", "close_up",
    "extreme_close_up", "insert",
]  # fmt: skip
Angle = Literal["eye_level", "low", "high", "overhead", "dutch"]
Move = Literal[
    "static", "pan_left", "pan_right", "tilt_up", "tilt_down", "roll_left", "roll_right", "dolly_in",
    "dolly_out", "truck_left", "truck_right", "pedestal_up", "pedestal_down", "crane_up", "crane_down",
    "orbit_left", "orbit_right", "follow", "zoom_in", "zoom_out",
]  # fmt: skip
SHORTEST_SHOT, LONGEST_TRANSITION = 0.25, 2.0
MOST_SHOTS = 120
_LARGEST_FILE = 2_000_000
Id = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]


class _Noun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Style(_Noun):
    """How the whole film looks."""

    look: Text = ""
    palette: tuple[Text, ...] = ()
    negative: Text = ""
    """What no shot should show."""


class Character(_Noun):
    """Somebody or something that stays the same from shot to shot."""

    id: Id
    name: Text = ""
    look: Text = ""
    """The identity words: they are copied verbatim into the caption of every shot."""
    wardrobe: Text = ""
    voice: Text = ""
    references: tuple[Path, ...] = ()
    """Pictures that show this character."""


class Location(_Noun):
    """A place, with its time of day and weather."""

    id: Id
    description: Text = ""
    time: Text = ""
    weather: Text = ""


class Cast(_Noun):
    """A character in a shot."""

    id: Id
    position: Literal["", "left", "centre", "right", "foreground", "background"] = ""
    facing: Literal["", "left", "right", "camera", "away"] = ""


class Camera(_Noun):
    """One move a shot. Pan, tilt and roll turn in place, zoom changes the focal length, the others travel."""

    move: Move = "static"
    speed: Literal["slow", "medium", "fast"] = "slow"
    support: Literal["tripod", "handheld", "gimbal", "drone"] = "tripod"


class Line(_Noun):
    """A line of dialogue."""

    character: Id
    text: Text


class Transition(_Noun):
    """How a shot is entered. Its middle lies on the cut; a match cut keeps the composition across it."""

    type: Literal["cut", "dissolve", "fade", "wipe", "match_cut"] = "cut"
    duration: float = 0.0
    """Seconds, 0 for a cut."""

    @model_validator(mode="after")
    def _lasts(self) -> Transition:
        if self.type in ("cut", "match_cut"):
            if self.duration != 0:
                raise ValueError(f"duration: a {self.type} takes no time, not {self.duration:g}; set 0")
        elif not 0 < self.duration <= LONGEST_TRANSITION:
            raise ValueError(
                f"duration: a {self.type} takes more than 0 and at most {LONGEST_TRANSITION:g} seconds, "
                f"not {self.duration:g}; try 0.5"
            )
        return self


class Shot(_Noun):
    """One run of the camera."""

    id: Id
    duration: float
    """Seconds."""
    location: Id | None = None
    characters: tuple[Cast, ...] = ()
    scale: Scale = "wide"
    angle: Angle = "eye_level"
    camera: Camera = Camera()
    action: Text = ""
    narration: Text = ""
    dialogue: tuple[Line, ...] = ()
    sound: Text = ""
    transition: Transition = Transition()
    """From the shot before into this one."""
    continue_from: Id | None = None
    """An earlier shot whose picture this one carries on without a seam."""
    seed: Seed | None = None
    """None derives one from the seed of the board and the id."""
    locked: bool = False
    """A locked shot is never made again while its finished latents are kept."""

    @field_validator("duration")
    @classmethod
    def _bounded(cls, duration: float) -> float:
        if not SHORTEST_SHOT <= duration <= LONGEST_FILM:
            raise ValueError(
                f"must be {SHORTEST_SHOT:g} to {LONGEST_FILM:g} seconds, not {duration:g}; try 4"
            )
        return duration


class Storyboard(_Noun):
    """A whole film on paper."""

    version: Literal[1] = 1
    title: Text = ""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    size: Size = "1280x720"
    fps: Fps = 24
    seed: Seed = Field(default_factory=lambda: random.SystemRandom().randrange(2**32))
    style: Style = Style()
    characters: tuple[Character, ...] = ()
    locations: tuple[Location, ...] = ()
    shots: tuple[Shot, ...]

    @model_validator(mode="after")
    def _hangs_together(self) -> Storyboard:
        if not 1 <= len(self.shots) <= MOST_SHOTS:
            raise ValueError(f"shots: a film has 1 to {MOST_SHOTS} shots, not {len(self.shots)}")
        if self.seconds > LONGEST_FILM + 1e-6:
            raise ValueError(
                f"shots: the durations add up to {self.seconds:g} seconds, {self.seconds - LONGEST_FILM:g} more "
                f"than the {LONGEST_FILM:g} a film may last; shorten or leave out shots"
            )
        for name in ("characters", "locations", "shots"):
            _unique(name, [noun.id for noun in getattr(self, name)])
        for index, shot in enumerate(self.shots):
            try:
                self._check(shot, self.shots[:index])
            except ValueError as error:
                raise ValueError(f"shots[{index}].{error}") from None
        return self

    def _check(self, shot: Shot, earlier: tuple[Shot, ...]) -> None:
        """A shot against the rest of the board. Raises ValueError that begins with the field."""
        people, places = [c.id for c in self.characters], [place.id for place in self.locations]
        if shot.location is not None:
            _exists("location", shot.location, places)
        for index, cast in enumerate(shot.characters):
            _exists(f"characters[{index}].id", cast.id, people)
        _unique("characters", [cast.id for cast in shot.characters])
        for index, line in enumerate(shot.dialogue):
            _exists(f"dialogue[{index}].character", line.character, people, "character")
        if shot.continue_from is not None:
            _exists("continue_from", shot.continue_from, [other.id for other in earlier], "earlier shot")
            if shot.transition.type != "cut":
                raise ValueError(
                    f"transition.type: a shot that continues {shot.continue_from} has no {shot.transition.type}; "
                    "set cut, or take continue_from out"
                )
        if not earlier:
            if shot.transition.type not in ("cut", "fade"):
                raise ValueError(
                    f"transition.type: a film cannot begin with a {shot.transition.type}; set cut or fade"
                )
        elif shot.transition.duration > (shortest := min(earlier[-1].duration, shot.duration)):
            raise ValueError(
                f"transition.duration: {shot.transition.duration:g} seconds are longer than a shot it joins, "
                f"which lasts {shortest:g}; shorten the transition"
            )

    @property
    def seconds(self) -> float:
        """Length of the film."""
        return math.fsum(shot.duration for shot in self.shots)

    @property
    def width(self) -> int:
        return int(self.size.split("x")[0])

    @property
    def height(self) -> int:
        return int(self.size.split("x")[1])

    def spans(self, fps: int | None = None) -> tuple[tuple[int, int], ...]:
        """The first frame of each shot and the first after it: no frame is lost or shown twice at a cut."""
        ends = [round(t * (fps or self.fps)) for t in accumulate(shot.duration for shot in self.shots)]
        return tuple(zip([0, *ends[:-1]], ends, strict=True))

    def shot(self, id: str) -> Shot:
        """The shot of this id. Raises RequestError that names the nearest."""
        found: Shot = _find("shot", id, self.shots)
        return found

    def character(self, id: str) -> Character:
        """The character of this id. Raises RequestError that names the nearest."""
        found: Character = _find("character", id, self.characters)
        return found

    def location(self, id: str) -> Location:
        """The location of this id. Raises RequestError that names the nearest."""
        found: Location = _find("location", id, self.locations)
        return found

    def revised(self, **changes: Any) -> Storyboard:
        """The board with other values in these fields. Raises RequestError."""
        return build_storyboard(self.model_dump() | changes)

    def retake(self, id: str, seed: int | None = None) -> Storyboard:
        """The same film with one shot made again, from `seed` or any. Raises RequestError when it is locked."""
        if self.shot(id).locked:
            raise RequestError(f"shot {id} is locked; set its 'locked' to false to make it again")
        seed = random.SystemRandom().randrange(2**32) if seed is None else seed
        return self.revised(
            shots=[shot.model_dump() | ({"seed": seed} if shot.id == id else {}) for shot in self.shots]
        )

    def reseeded(self, seed: int) -> Storyboard:
        """Every shot made again from a new seed of the board, but the locked ones."""
        shots = [
            shot.model_dump() | ({"seed": self.seed_of(shot)} if shot.locked and shot.seed is None else {})
            for shot in self.shots
        ]
        return self.revised(seed=seed, shots=shots)

    def seed_of(self, shot: Shot) -> int:
        """The seed that a shot has from the board, whether or not it has one of its own."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{shot.id}".encode()).digest()[:4])

    def record(self) -> dict[str, Any]:
        """The board as plain JSON without what is left at its default, and no private paths."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        for person in values.get("characters", ()):
            person["references"] = [Path(one).name for one in person.get("references", ())]
        return values | {"version": self.version, "seed": self.seed}

    def to_json(self) -> str:
        """Indented JSON, every field written out."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def build_storyboard(values: Any) -> Storyboard:
    """A Storyboard from plain JSON values. Raises RequestError with one line that names field and value."""
    if not isinstance(values, Mapping):
        raise RequestError(f"a storyboard is a JSON object with 'shots', not a {type(values).__name__}")
    try:
        return Storyboard.model_validate(dict(values))
    except ValidationError as error:
        raise RequestError(f"storyboard: {explain(error, Storyboard)}") from None


def load_storyboard(path: str | Path) -> Storyboard:
    """Read a board from its file; reference pictures are looked for beside it. Raises RequestError."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise RequestError(f"{path} is too large for a storyboard ({_LARGEST_FILE // 10**6} MB at most)")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8 text; save the storyboard as UTF-8") from None
    except OSError as error:
        raise RequestError(f"cannot read the storyboard {path}: {error.strerror}") from None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(f"{path} is not valid JSON{where}") from None
    try:
        board = build_storyboard(values)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    return beside(board, path)


def beside(board: Storyboard, path: Path) -> Storyboard:
    """The board with its reference pictures looked for in the folder of the file it was read from."""
    people = [
        person.model_copy(update={"references": tuple(path.parent / one for one in person.references)})
        for person in board.characters
    ]
    return board.model_copy(update={"characters": tuple(people)})


def save_storyboard(board: Storyboard, path: str | Path) -> None:
    """Write a board, whole or not at all. Raises RequestError when the file cannot be written."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_text(board.to_json(), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RequestError(f"cannot write the storyboard {path}: {error.strerror}") from None


def _unique(field: str, ids: Sequence[str]) -> None:
    twice = [id for id, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"{field}: the id {twice[0]!r} stands there twice; ids must differ")


def _exists(field: str, id: str, valid: Sequence[str], kind: str = "") -> None:
    if id not in valid:
        kind = kind or field.split("[")[0].rstrip("s")
        there = f"valid: {', '.join(valid)}" if valid else "there is none"
        raise ValueError(f"{field}: no {kind} {id!r}; {there}{nearest(id, valid)}")


def _find(kind: str, id: str, nouns: Sequence[Any]) -> Any:
    for noun in nouns:
        if noun.id == id:
            return noun
    ids = [noun.id for noun in nouns]
    raise RequestError(
        f"the storyboard has no {kind} {id!r}; valid: {', '.join(ids) or 'none'}{nearest(id, ids)}"
    )
