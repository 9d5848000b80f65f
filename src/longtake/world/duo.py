"""Two players on one stage, and the simple paths that their encounters are made of.

Metres from the middle of the stage, seconds, radians.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from longtake.world.motion import Player, Pose, Room
from longtake.world.scene import Track

FRICTION = 0.45
"""Seconds in which a pushed thing loses most of its speed."""


@dataclass
class Duo:
    """Two players, their time and their stage."""

    a: Player
    b: Player
    seconds: Track
    rng: random.Random
    half: float = 0.0
    """Half the visible width of the stage, metres; known once the camera is placed."""

    @property
    def part(self) -> Track:
        return np.asarray(self.seconds / (self.seconds[-1] + 1e-6), np.float32)

    @property
    def heading(self) -> int:
        """The way A goes."""
        return self.a.heading

    @property
    def duration(self) -> float:
        return float(self.seconds[-1])

    @property
    def touch(self) -> float:
        """Distance of the centres when the two meet."""
        return 0.44 * (self.a.width + self.b.width)

    def edge(self, player: Player) -> float:
        """How far from the middle a player's centre may be."""
        return max(self.half - player.width / 2, 0.1 * self.half)


def _room(player: Player, seconds: Track, rng: random.Random) -> Room:
    return Room(
        seconds=seconds, width=player.width, height=player.height, view=1.0, reach=1.0, lift=1.0, depth=1.0,
        heading=player.heading, rng=rng, animate=player.thing.animate, gait=player.thing.gait,
    )  # fmt: skip


def still(duo: Duo, player: Player, x: float, looks: int) -> Pose:
    """A player that stays, looking left (-1) or right (1)."""
    pose = Pose.at_rest(_room(player, duo.seconds, duo.rng))
    pose.x = np.full_like(duo.seconds, x)
    pose.heading = np.full_like(duo.seconds, looks)
    if player.thing.animate:
        pose.squash = (1 + 0.012 * np.sin(duo.seconds * 2.2 + x)).astype(np.float32)
        pose.clock = np.zeros_like(duo.seconds) if player.thing.gait == "full" else duo.seconds
    player.pose = pose
    return pose


def go(duo: Duo, player: Player, x: Track, looks: Track | None = None, rate: float = 1.8) -> Pose:
    """A player that moves along `x` in the manner of its kind: stepping, hopping, rolling or driving."""
    pose = Pose.at_rest(_room(player, duo.seconds, duo.rng))
    pose.x = x.astype(np.float32)
    speed = np.gradient(pose.x, duo.seconds)
    moving = np.clip(np.abs(speed) / (0.12 * player.width + 1e-6), 0, 1)
    if looks is None:
        turned = np.where(np.abs(speed) > 0.02 * player.width, np.sign(speed), 0)
        looks = np.full_like(x, player.heading)
        for t in range(len(turned)):  # keep the last way it went while it stands
            looks[t] = turned[t] or (
                looks[t - 1] if t else turned[np.flatnonzero(turned)[0]] if turned.any() else looks[t]
            )
    pose.heading = np.asarray(looks, np.float32)
    step = duo.seconds * 2 * math.pi * rate + duo.rng.uniform(0, 6)
    thing = player.thing
    if thing.round or thing.kind == "ball":
        pose.rot = (-(pose.x - pose.x[0]) / (player.height / 2)).astype(np.float32)
    elif thing.animate and "hop" in thing.moves and "walk" not in thing.moves:
        pose.y = (moving * 0.25 * player.height * np.abs(np.sin(step / 2))).astype(np.float32)
    elif thing.animate:
        full = thing.gait == "full"
        rise = 0.01 if full else 0.05
        pose.y = (moving * rise * player.height * np.abs(np.sin(step / 2))).astype(np.float32)
        pose.rot = (moving * (0.0 if full else 0.04) * np.sin(step / 2)).astype(np.float32)
        dt = np.diff(duo.seconds, prepend=duo.seconds[0])
        pose.clock = np.cumsum(dt * (moving * rate / 1.4 + (1 - moving) * (0.0 if full else 0.7))).astype(
            np.float32
        )
    elif thing.kind == "vehicle":
        pose.y = (0.012 * player.height * np.abs(np.sin(duo.seconds * 11))).astype(np.float32)
    player.pose = pose
    return pose


def line(part: Track, start: float, end: float, begin: float = 0.0, finish: float = 1.0) -> Track:
    """From `start` to `end` between two shares of the clip, standing before and after."""
    p = np.clip((part - begin) / (finish - begin), 0, 1)
    return np.asarray(start + (end - start) * p, np.float32)


def coast(seconds: Track, when: float, speed: float, friction: float = FRICTION) -> Track:
    """Way of a thing pushed to `speed` at `when` and slowed by friction."""
    t = np.maximum(seconds - when, 0)
    return np.asarray(speed * friction * (1 - np.exp(-t / friction)), np.float32)


def wobble(seconds: Track, when: float, size: float) -> Track:
    t = seconds - when
    return np.where(t > 0, size * np.sin(18 * t) * np.exp(-np.maximum(t, 0) * 4), 0).astype(np.float32)
