"""The frozen nouns of the theatre: who is on stage (Scene) and the drawing list that comes of it (Tracks)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

LAYER_KEYS = ("X", "Y", "Z", "h", "rot", "flip", "tex", "a", "glow", "bx", "by", "br", "squash")
CAMERA_KEYS = ("cx", "cy", "cz", "yaw", "pitch", "roll", "focal")

Track = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Actor:
    """One kind of thing on the stage; every word is a key of concepts.json or grammar.json."""

    code: str
    count: int = 1
    size: str = ""
    colour: str = ""
    action: str = "rest"
    direction: str = ""
    """left right toward away up down, or "" where the caption does not say (the stage then chooses)."""
    manner: str = ""


@dataclass(frozen=True)
class Scene:
    """The scene graph: all that a caption may say, and all that the choreography needs."""

    actors: tuple[Actor, ...]
    place: str
    time: str = "noon"
    weather: str = "clear"
    shot: str = "medium"
    camera: str = "static"
    angle: str = "eye_level"
    style: str = "render_3d"
    interaction: str = ""
    """actors[0] acts, actors[1] is acted on."""
    relation: str = ""
    """Where actors[0] is, seen from actors[1]."""
    seed: int = 0
    fps: int = 12
    frames: int = 48

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form; `from_dict` reads it back."""
        return asdict(self) | {"actors": [asdict(actor) for actor in self.actors]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scene:
        """The scene of `as_dict`. Raises TypeError for a field no scene has."""
        return cls(**{**data, "actors": tuple(Actor(**actor) for actor in data["actors"])})


@dataclass(frozen=True)
class Tracks:
    """What the stage draws: L layers over T frames, all float32 [L T], and the camera, float32 [T].

    X Y Z   stage metres: right, up (foot of the visible drawing), away from the viewer
    h       height of the visible drawing, metres;      squash  its vertical factor, volume kept
    rot     radians about the drawing's centre, counter-clockwise as seen
    flip    1 mirrored;  tex  atlas frame index;  a  opacity 0..1;  glow  0..1 lit by itself
    bx by br  the bite disc: centre as fractions of the tile (y down) and radius
    camera  cx cy cz metres, yaw pitch roll radians, focal in frame heights
    """

    layers: dict[str, Track]
    names: list[str]
    """Code of each layer; props as "prop:<code>"."""
    actor: list[int]
    """Index in Scene.actors of each layer, -1 for props."""
    camera: dict[str, Track]
    weather: dict[str, float]
    """rain snow fog wind wet, 0..1 each."""
    place: str
    time: str
    style: str = "render_3d"
    fps: int = 12
    events: list[dict[str, Any]] = field(default_factory=list)
    """What happens when: {"name", "frame", "actor"}."""
    cuts: list[int] = field(default_factory=list)
    """Frames at which a new shot begins."""
