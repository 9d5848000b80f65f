"""The frozen nouns everything speaks: what is asked for, what happens on the way, and the film that comes of it."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from longtake.errors import RequestError, nearest
from longtake.fields import LONGEST_FILM, Fps, Seed, Size, Text, explain
from longtake.storyboard import Storyboard

Task = Literal["generate", "extend", "blend", "edit", "loop"]
_NEEDS_VIDEO = ("extend", "blend", "edit", "loop")


class Request(BaseModel):
    """All that decides a film. Nothing is rounded silently: a value that cannot be had is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    prompt: Text = ""
    task: Task = "generate"
    seconds: float = 4.0
    """Length of what is made; for extend of what is added."""
    size: Size = "1280x720"
    """Width x height in pixels, both even."""
    fps: Fps = 24
    seed: Seed = Field(default_factory=lambda: random.SystemRandom().randrange(2**32))
    model: str = "pocket"
    """A model's name, or the path of a weights file."""
    steps: int = 8
    guidance: float = 3.0
    negative: Text = ""
    lora: tuple[str, ...] = ()
    """Adapters on the transformer, stacked: FILE or FILE:SCALE."""
    takes: int = 1
    """How often a shot or picture is made, at most; the take that shows best what was asked is kept."""
    cache: float = 0.0
    """Relative error at which a step may be answered from the steps before; 0 computes every step."""
    storyboard: Storyboard | None = None
    """The film shot by shot; it decides seconds, size, fps and seed. None: one is made from the prompt."""
    one_take: bool = False
    """Make the prompt into one unbroken take."""
    director: str = "rules"
    """Who makes the storyboard: rules, or the address of an OpenAI-compatible endpoint."""
    image: Path | None = None
    """The picture a film begins with."""
    video: Path | None = None
    video_b: Path | None = None
    """The second film of a blend."""
    backward: bool = False
    strength: float = 0.6
    """How far an edit may leave the original, or a film its guide, above 0 up to 1."""
    guide: Literal["", "animatic"] = ""
    """What shots are made from beside words: nothing, or the storyboard acted out on the paper theatre."""
    sound: bool = True
    """Give a generated film its sound: speech, ambience, music."""
    music: Literal["auto", "none", "calm", "warm", "bright", "night", "tense"] = "auto"
    """The mood of the music; auto takes it from the words."""
    subtitles: Literal["none", "srt", "vtt", "burn"] = "none"
    """What is spoken, in a file beside the film or in the picture."""
    label: bool = True
    """The visible label. Off only for training footage; recorded in the metadata and signed."""
    watermark: bool = True
    """The pixel mark. Off only for training footage; recorded in the metadata and signed."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_board_says(cls, values: Any) -> Any:
        """Take what a storyboard decides from it; raise ValueError where the request says something else."""
        board = values.get("storyboard") if isinstance(values, dict) else None
        if board is None:
            return values
        board = Storyboard.model_validate(board)
        for name in ("seconds", "size", "fps", "seed"):
            said = values.get(name)
            if said is not None and said != getattr(board, name):
                raise ValueError(
                    f"{name}: the storyboard says {getattr(board, name)} and the request {said}; leave one out"
                )
        decided = {name: getattr(board, name) for name in ("seconds", "size", "fps", "seed")}
        return values | decided | {"storyboard": board}

    @field_validator("seconds")
    @classmethod
    def _bounded_seconds(cls, seconds: float) -> float:
        if not math.isfinite(seconds) or not 0.25 <= seconds <= LONGEST_FILM:
            raise ValueError(f"seconds must be 0.25 to {LONGEST_FILM:g}, not {seconds:g}; try 4")
        return seconds

    @field_validator("steps")
    @classmethod
    def _valid_steps(cls, steps: int) -> int:
        if not 1 <= steps <= 100:
            raise ValueError(f"steps must be 1 to 100, not {steps}; try 8")
        return steps

    @field_validator("takes")
    @classmethod
    def _valid_takes(cls, takes: int) -> int:
        if not 1 <= takes <= 16:
            raise ValueError(f"takes must be 1 to 16, not {takes}; try 4")
        return takes

    @field_validator("guidance")
    @classmethod
    def _valid_guidance(cls, guidance: float) -> float:
        if not math.isfinite(guidance) or not 1 <= guidance <= 20:
            raise ValueError(f"guidance must be 1 to 20, not {guidance:g}; try 3")
        return guidance

    @field_validator("cache")
    @classmethod
    def _valid_cache(cls, cache: float) -> float:
        if not math.isfinite(cache) or not 0 <= cache < 1:
            raise ValueError(f"cache must be at least 0 and below 1, not {cache:g}; try 0.05")
        return cache

    @field_validator("strength")
    @classmethod
    def _valid_strength(cls, strength: float) -> float:
        if not math.isfinite(strength) or not 0 < strength <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, not {strength:g}; try 0.6")
        return strength

    @model_validator(mode="after")
    def _complete(self) -> Request:
        given = self.prompt or self.image or self.storyboard
        if self.task in ("generate", "edit", "extend") and not given:
            raise ValueError("the prompt is empty; say what the film shows, for example 'a dog in the snow'")
        if self.task != "generate" and self.storyboard is not None:
            raise ValueError(f"a storyboard is for generate, not for {self.task}; leave it out")
        if self.task in _NEEDS_VIDEO and self.video is None:
            raise ValueError(f"{self.task} needs a video; give the path of one")
        if self.task == "blend" and self.video_b is None:
            raise ValueError("blend needs two videos; give the path of the second too")
        return self

    @property
    def width(self) -> int:
        return int(self.size.split("x")[0])

    @property
    def height(self) -> int:
        return int(self.size.split("x")[1])

    def record(self) -> dict[str, Any]:
        """What goes into the file's metadata: everything that decides the film, no private paths."""
        values = self.model_dump(mode="json", exclude={"storyboard", "director"})
        values["storyboard"] = self.storyboard and self.storyboard.record()
        for key in ("image", "video", "video_b"):
            values[key] = Path(values[key]).name if values[key] else None
        values["lora"] = [Path(lora).name for lora in self.lora]
        return values


def build_request(**values: Any) -> Request:
    """A Request from loose values. Raises RequestError with one line that names the fix."""
    try:
        return Request(**{key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            raise RequestError(f"unknown option {field!r}{nearest(field, Request.model_fields)}") from None
        if len(first["loc"]) > 1:
            raise RequestError(explain(error, Request)) from None
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(message if first["type"] == "value_error" else f"{field}: {message}") from None


class Progress(BaseModel):
    """How far a film is."""

    model_config = ConfigDict(frozen=True)

    stage: Literal["understand", "load", "read", "denoise", "finish", "verify"]
    fraction: float = 0.0
    """Share of the whole film that is done, 0..1."""
    message: str = ""
    """One line for the user: a word without a picture, a slower machine."""
    shot: int = 0
    preview: bytes | None = None
    """A small JPEG of the newest finished frame."""


class Film(BaseModel):
    """A finished file."""

    model_config = ConfigDict(frozen=True)

    path: Path
    width: int
    height: int
    fps: int
    frames: int
    """1 for a picture."""
    seconds: float
    seed: int
    caption: str
    """What the model was told, after words without a picture were replaced; ' | ' between shots."""
    storyboard: Storyboard | None = None
    """The board the film was made from; None for a picture, and for what was made from a video."""
    notes: tuple[str, ...] = ()
    produce_id: str = ""


Event = Progress | Film
