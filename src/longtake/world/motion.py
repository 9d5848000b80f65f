"""The parts that paths are made of: the room a thing has, the pose it takes, bounces and landings.

Lengths are metres, times seconds, angles radians (counter-clockwise as seen by the camera).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from longtake.world.concepts import Concept
from longtake.world.scene import Actor, Track

TRAVELS = frozenset(
    [
        *(
            "roll",
            "slide",
            "tumble",
            "walk",
            "run",
            "hop",
            "ride",
            "slither",
            "fly",
            "swim",
            "crawl",
            "drive",
        ),
        *("sail", "stop", "enter", "exit", "blown_away"),
    ]
)
"""Actions that always change place."""

TURNS = frozenset(["roll", "tumble", "spin", "lie", "bounce", "fall", "fly", "blown_away", "rise"])
"""Actions in which the drawing turns about its centre."""


@dataclass(frozen=True)
class Room:
    """The space one thing may use."""

    seconds: Track
    width: float
    """Of the drawing."""
    height: float
    view: float
    """Visible width of the stage at the thing's depth."""
    reach: float
    """How far its centre may go to either side of home."""
    lift: float
    """How far its foot may rise."""
    depth: float
    """Distance from the camera."""
    heading: int
    """+1 to the right, -1 to the left."""
    rng: random.Random
    along: str = ""
    """"toward" or "away" for paths along the line of sight."""
    named: bool = False
    """The direction was asked for."""
    pace: float = 1.0
    animate: bool = False
    gait: str = ""
    nose: float = 0.0
    """Angle of a flying drawing's nose above level."""
    still: bool = False
    """The drawing walks by itself and must freeze to stand."""

    @property
    def duration(self) -> float:
        return float(self.seconds[-1]) + 1e-6

    @property
    def part(self) -> Track:
        """0 at the first frame, 1 at the last."""
        return (self.seconds / self.duration).astype(np.float32)


@dataclass
class Pose:
    """Where the thing is and how it looks, [T] each."""

    x: Track
    y: Track
    z: Track
    rot: Track
    squash: Track
    scale: Track
    heading: Track
    """Which way it looks: +1 right, -1 left."""
    clock: Track
    """Seconds of the drawing's own animation."""
    events: list[tuple[str, float]] = field(default_factory=list)
    """What happens and after how many seconds."""
    extra: dict[str, Track] = field(default_factory=dict)
    """Further layer tracks: a, glow, bx, by, br."""
    companions: list[tuple[str, dict[str, float | Track]]] = field(default_factory=list)
    """Further layers that belong to the actor, such as a broken egg."""

    @classmethod
    def at_rest(cls, room: Room) -> Pose:
        zero, one = np.zeros_like(room.seconds), np.ones_like(room.seconds)
        return cls(
            zero, zero.copy(), zero.copy(), zero.copy(), one, one.copy(), one * room.heading, room.seconds
        )


@dataclass
class Player:
    """One actor while its scene is being worked out."""

    actor: Actor
    thing: Concept
    height: float
    width: float
    heading: int
    home: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where its path is laid: X, Y, Z."""
    pose: Pose | None = None

    @property
    def travels(self) -> bool:
        return self.actor.action in TRAVELS or (
            self.actor.action in ("jump", "bounce", "float") and bool(self.actor.direction)
        )

    @property
    def spread(self) -> float:
        """The width it takes while it turns about itself."""
        if self.actor.action not in TURNS:
            return self.width
        return max(self.width, self.height) * (1.0 if self.thing.round else 1.2)


def smooth(part: Track) -> Track:
    """Ease in and out, 0..1."""
    p = np.clip(part, 0, 1)
    return p * p * (3 - 2 * p)


def bounce(seconds: Track, drop: float, fall: float, restitution: float) -> tuple[Track, list[float]]:
    """Height of a ball let go at `drop`, first landing after `fall` seconds, and its landing times.

    Ballistic arcs; each takes off with `restitution` times the speed of the landing before.
    """
    gravity = 2 * drop / fall**2
    y = np.where(seconds < fall, drop - 0.5 * gravity * seconds**2, 0.0)
    landings, start, speed = [fall], fall, gravity * fall * restitution
    while start < seconds[-1] and speed > 0.05 * gravity * fall:
        t = seconds - start
        y = np.where((t >= 0) & (t < 2 * speed / gravity), speed * t - 0.5 * gravity * t**2, y)
        start += 2 * speed / gravity
        landings.append(start)
        speed *= restitution
    return np.maximum(y, 0).astype(np.float32), landings


def impact(seconds: Track, times: list[float], depth: float = 0.22) -> Track:
    """Vertical squash factor that dips at each landing and springs back within a quarter of a second."""
    dip = np.zeros_like(seconds)
    for i, time in enumerate(times):
        t = seconds - time
        dip = np.maximum(dip, np.where(t >= 0, depth * 0.75**i * np.exp(-((t / 0.09) ** 2)), 0))
    return (1 - dip).astype(np.float32)
