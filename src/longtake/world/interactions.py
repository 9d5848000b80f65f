"""What two things do to each other: analytic paths for every interaction of grammar.json.

A acts, B is acted on. Each function sets the poses of both players of a `Duo`, in metres from the middle of
the stage; `SPACES` says beforehand how much stage each needs, so that the camera can be placed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from longtake.world.duo import Duo, coast, go, line, still, wobble
from longtake.world.motion import Pose, bounce, impact, smooth
from longtake.world.scene import Track

MASS = {"light": 0.4, "medium": 1.0, "heavy": 3.0}
ZZZ, SPLAT = "1f4a4", "splat"
COMPANIONS = (ZZZ, SPLAT)
"""Drawings that interactions add by themselves."""


# ---- going together ----------------------------------------------------------------------------


def _train(duo: Duo, gap_start: float, gap_end: float, rate: float) -> None:
    s, a, b = duo.heading, duo.a, duo.b
    front = duo.edge(b)
    lead = line(duo.part, -duo.edge(a) + gap_start, front)
    gap = line(duo.part, gap_start, gap_end)
    go(duo, b, s * lead, rate=rate)
    go(duo, a, s * (lead - gap), rate=rate)


def chase(duo: Duo) -> None:
    _train(duo, duo.touch * 1.75, duo.touch * 1.3, 2.8)


def follow(duo: Duo) -> None:
    _train(duo, duo.touch * 1.45, duo.touch * 1.4, 1.6)


def meet(duo: Duo) -> None:
    s = duo.heading
    stop = duo.touch / 2 * 1.1
    go(duo, duo.a, -s * line(duo.part, duo.edge(duo.a), stop, 0, 0.6), np.full_like(duo.seconds, s))
    pose = go(duo, duo.b, s * line(duo.part, duo.edge(duo.b), stop, 0, 0.6), np.full_like(duo.seconds, -s))
    pose.rot = pose.rot + wobble(duo.seconds, 0.62 * duo.duration, 0.06)
    pose.events.append(("meet", 0.6 * duo.duration))


def swap(duo: Duo) -> None:
    s = duo.heading
    way = 2 * smooth((duo.part - 0.1) / 0.8) - 1
    half = min(duo.edge(duo.a), duo.edge(duo.b)) * 0.85
    for player, side, z in ((duo.a, s, -0.25), (duo.b, -s, 0.35)):
        pose = go(duo, player, side * half * way)
        pose.z = np.full_like(duo.seconds, z * max(duo.a.height, duo.b.height))
    assert duo.a.pose
    duo.a.pose.events.append(("swap", 0.5 * duo.duration))


def circle_around(duo: Duo) -> None:
    still(duo, duo.b, 0, -duo.heading)
    angle = duo.heading * 2 * math.pi * 1.25 * duo.part + duo.rng.uniform(0, 6)
    radius = min(duo.edge(duo.a), 1.25 * duo.touch)
    pose = go(duo, duo.a, radius * np.sin(angle))
    pose.z = (-0.6 * radius * np.cos(angle)).astype(np.float32)


def _pass(duo: Duo, depth: float) -> None:
    still(duo, duo.b, 0, -duo.heading)
    reach = duo.edge(duo.a) * (0.85 if depth < 0 else 1.0)  # nearer the camera less of the stage is seen
    pose = go(duo, duo.a, duo.heading * line(duo.part, -reach, reach))
    pose.z = np.full_like(duo.seconds, depth)


def pass_behind(duo: Duo) -> None:
    _pass(duo, 0.35 * duo.b.height)


def pass_in_front(duo: Duo) -> None:
    _pass(duo, -0.25 * duo.b.height)


def move_past(duo: Duo) -> None:
    _pass(duo, -0.40 * duo.b.height)


def jump_over(duo: Duo) -> None:
    still(duo, duo.b, 0, -duo.heading)
    reach = duo.edge(duo.a)
    x = line(duo.part, -reach, reach, 0.05, 0.95)
    pose = go(duo, duo.a, duo.heading * x, rate=2.4)
    leap = duo.touch * 1.35
    arc = np.clip(1 - (x / leap) ** 2, 0, 1)
    pose.y = np.where(arc > 0, 1.12 * duo.b.height * arc**0.8, pose.y).astype(np.float32)
    landing = float(duo.seconds[np.argmax(x > leap)]) if (x > leap).any() else duo.duration
    pose.squash = impact(duo.seconds, [landing], 0.18)
    pose.events = [("jump", float(duo.seconds[np.argmax(x > -leap)])), ("land", landing)]


# ---- touching ----------------------------------------------------------------------------------


def _approach(duo: Duo, contact: float, when: float, rate: float = 2.0) -> Pose:
    """A comes from the edge and reaches `contact` at `when` seconds."""
    share = when / duo.duration
    return go(duo, duo.a, duo.heading * line(duo.part, -duo.edge(duo.a), contact, 0, share), rate=rate)


def bump_into(duo: Duo) -> None:
    """One-dimensional collision that keeps momentum, restitution 0.4, then friction."""
    s, when = duo.heading, 0.42 * duo.duration
    home = 0.1 * duo.half
    pose = _approach(duo, home - duo.touch, when)
    m, n = MASS[duo.a.thing.weight], MASS[duo.b.thing.weight]
    speed = (home - duo.touch + duo.edge(duo.a)) / when
    after_b = m * speed * 1.4 / (m + n)
    after_a = speed * (m - 0.4 * n) / (m + n)
    pose.x = pose.x + s * coast(duo.seconds, when, after_a)
    other = still(duo, duo.b, s * home, -s)
    limit = max(duo.edge(duo.b) - home, 0.0)
    way = np.minimum(coast(duo.seconds, when, after_b), limit)
    other.x = other.x + s * way
    if duo.b.thing.round:
        other.rot = (-s * way / (duo.b.height / 2)).astype(np.float32)
    else:
        other.rot = wobble(duo.seconds, when, -0.14 * s)
    pose.rot = pose.rot + wobble(duo.seconds, when, 0.12 * s)
    pose.events.append(("collide", when))


def bounce_off(duo: Duo) -> None:
    s, when = duo.heading, 0.4 * duo.duration
    home = 0.25 * duo.half
    pose = _approach(duo, home - duo.touch, when)
    t = np.maximum(duo.seconds - when, 0)
    speed = (home - duo.touch + duo.edge(duo.a)) / when
    back = np.minimum(coast(duo.seconds, when, 0.8 * speed, 1.0), 2 * duo.edge(duo.a))
    pose.x = np.maximum(pose.x * s - back, -duo.edge(duo.a)) * s
    arc, _ = bounce(t + 0.35, 0.45 * duo.a.height, 0.7, 0.5)
    pose.y = np.where(
        duo.seconds > when, np.minimum(arc, 0.45 * duo.a.height) * np.clip(t / 0.1, 0, 1), 0
    ).astype(np.float32)
    pose.rot = (-(pose.x - pose.x[0]) / (duo.a.height / 2)).astype(np.float32)
    other = still(duo, duo.b, s * home, -s)
    other.rot = wobble(duo.seconds, when, -0.08 * s)
    pose.events.append(("collide", when))


def kick(duo: Duo) -> None:
    s, when = duo.heading, 0.4 * duo.duration
    home = -0.15 * duo.half
    pose = _approach(duo, home - duo.touch, when, 2.4)
    pose.rot = pose.rot - s * 0.22 * np.exp(-(((duo.seconds - when) / 0.12) ** 2)).astype(np.float32)
    other = still(duo, duo.b, s * home, -s)
    limit = duo.edge(duo.b) - home
    way = np.minimum(coast(duo.seconds, when, 1.7 * limit, 0.7), limit)
    other.x = other.x + s * way
    arc, _ = bounce(np.maximum(duo.seconds - when, 0) + 0.4, 0.9 * duo.b.height, 0.8, 0.5)
    rise = np.clip((duo.seconds - when) / 0.15, 0, 1)
    other.y = (np.minimum(arc, 0.9 * duo.b.height) * smooth(rise)).astype(np.float32)
    other.rot = (-s * way / (duo.b.height / 2)).astype(np.float32)
    pose.events.append(("kick", when))


def push(duo: Duo) -> None:
    s = duo.heading
    start, end = -duo.edge(duo.a), duo.edge(duo.b) - duo.touch
    lead = line(duo.part, start, 0.35 * start, 0, 0.25) + line(duo.part, 0, end - 0.35 * start, 0.25, 1)
    pose = go(duo, duo.a, s * lead, rate=1.4)
    pose.rot = pose.rot - s * 0.06
    way = np.maximum(lead, 0.35 * start) + duo.touch
    other = go(duo, duo.b, s * way, np.full_like(duo.seconds, s))
    if not duo.b.thing.round:
        other.rot = np.zeros_like(duo.seconds)
        other.y = np.zeros_like(duo.seconds)
    pose.events.append(("push", 0.25 * duo.duration))


def play_with(duo: Duo) -> None:
    """A hops around B; a ball bounces, a fellow hops in turn, a thing is nudged to and fro."""
    s, t = duo.heading, duo.seconds
    swing = np.sin(t * 1.7)
    b_x = s * (0.55 * duo.touch + 0.18 * duo.touch * np.sin(t * 1.7 - 0.8))
    pose = go(duo, duo.a, s * (-0.75 * duo.touch + 0.22 * duo.touch * swing), np.full_like(t, s))
    pose.y = (0.16 * duo.a.height * np.abs(np.sin(t * 4.2))).astype(np.float32)
    pose.rot = (-s * 0.08 * np.sin(t * 4.2)).astype(np.float32)
    other = go(duo, duo.b, b_x, np.full_like(t, -s))
    if duo.b.thing.animate:
        other.y = (0.16 * duo.b.height * np.abs(np.cos(t * 4.2))).astype(np.float32)
    elif duo.b.thing.round:
        other.y, hits = bounce(t, 0.7 * duo.b.height, 0.4, 0.95)
        other.squash = impact(t, hits, 0.15)
    else:
        other.rot = (0.10 * np.sin(t * 4.2)).astype(np.float32)


def blown_together(duo: Duo) -> None:
    s, when = duo.heading, 0.5 * duo.duration
    home = 0.25 * duo.half
    pose = go(
        duo,
        duo.a,
        s * line(smooth(duo.part / 0.5) * 0.5, -duo.edge(duo.a), home - duo.touch, 0, 0.5),
        np.full_like(duo.seconds, s),
    )
    way = s * pose.x - s * pose.x[0]
    pose.rot = (-s * way / (0.6 * duo.a.height) + wobble(duo.seconds, when, 0.1)).astype(np.float32)
    flutter = np.clip(1 - duo.seconds / when, 0, 1)
    pose.y = (
        0.25 * duo.a.height * np.abs(np.sin(way * 2 / duo.a.height)) * np.minimum(1, 3 * flutter)
    ).astype(np.float32)
    pose.x = pose.x + np.where(duo.seconds > when, 0.01 * duo.a.width * np.sin(duo.seconds * 25), 0).astype(
        np.float32
    )
    other = still(duo, duo.b, s * home, -s)
    other.rot = wobble(duo.seconds, when, -0.06 * s)
    pose.events += [("blown", 0.1), ("collide", when)]


# ---- seeing and fearing ------------------------------------------------------------------------


def look_at(duo: Duo) -> None:
    s, when = duo.heading, 0.25 * duo.duration
    pose = still(duo, duo.a, -s * 0.75 * duo.touch, s)
    pose.heading = np.where(duo.seconds < when, -s, s).astype(np.float32)
    pose.rot = (-s * 0.10 * smooth((duo.seconds - when) / 0.6)).astype(np.float32)
    pose.events.append(("look", when))
    still(duo, duo.b, s * 0.75 * duo.touch, -s)


def run_away_from(duo: Duo) -> None:
    s, when = duo.heading, 0.25
    home = -0.45 * duo.half
    still(duo, duo.b, s * max(home, -duo.edge(duo.b)), s)
    start = max(home, -duo.edge(duo.b)) + duo.touch
    looks = np.where(duo.part < when, -s, s).astype(np.float32)
    pose = go(duo, duo.a, s * line(duo.part, start, duo.edge(duo.a), when, 1), looks, 3.0)
    hop = duo.seconds - when * duo.duration + 0.3
    pose.y = pose.y + np.where(
        (hop > 0) & (hop < 0.3), 0.25 * duo.a.height * np.sin(math.pi * hop / 0.3), 0
    ).astype(np.float32)
    pose.events.append(("flee", when * duo.duration))


def hide_behind(duo: Duo) -> None:
    s = duo.heading
    still(duo, duo.b, s * 0.15 * duo.half, -s)
    goal = 0.15 * duo.half - 0.12 * duo.b.width
    pose = go(duo, duo.a, s * line(duo.part, -duo.edge(duo.a), goal, 0, 0.7), rate=2.2)
    pose.z = np.full_like(duo.seconds, 0.3 * duo.b.height)
    pose.events.append(("hide", 0.7 * duo.duration))


# ---- from above --------------------------------------------------------------------------------


def _drop(duo: Duo, restitution: float) -> tuple[Pose, Pose, float]:
    """A falls from the top of the frame onto B; poses and the time of the first touch."""
    still(duo, duo.b, 0, duo.heading)
    assert duo.b.pose
    wait, fall = 0.35, 0.75
    top = 0.93 * duo.b.height
    above, landings = bounce(np.maximum(duo.seconds - wait, 0), _fall_height(duo), fall, restitution)
    pose = still(duo, duo.a, 0, duo.heading)
    pose.y = (top + above).astype(np.float32)
    pose.z = np.full_like(duo.seconds, -0.03 * duo.b.height)
    when = wait + fall
    duo.b.pose.squash = impact(duo.seconds, [when], 0.14)
    pose.squash = impact(duo.seconds, [t + wait for t in landings], 0.2)
    pose.events = [("land", when)]
    return pose, duo.b.pose, when


def _fall_height(duo: Duo) -> float:
    return 0.6 * max(duo.a.height, 0.6 * duo.b.height)


def fall_on(duo: Duo) -> None:
    pose, other, when = _drop(duo, 0.35)
    pose.rot = (0.3 * np.clip(1 - duo.seconds / when, 0, 1)).astype(np.float32)
    other.rot = wobble(duo.seconds, when, 0.05)


def crack_on_head(duo: Duo) -> None:
    """The thing is whole until it touches; then an egg runs down, anything else falls off in two pieces."""
    pose, other, when = _drop(duo, 0.1)
    seconds, head = duo.seconds, duo.b.height
    broken = (seconds >= when).astype(np.float32)
    pose.y = np.where(broken > 0, 0.93 * head, pose.y).astype(np.float32)
    pose.extra["a"] = 1 - broken
    pose.rot = (seconds * 0.8).astype(np.float32)
    other.rot = wobble(seconds, when, 0.09)
    t = np.maximum(seconds - when, 0)
    if "egg" in duo.a.thing.tags:
        run = smooth(t / 1.4)
        size = max(1.5 * duo.a.height, 0.42 * duo.b.width)
        values: dict[str, float | Track] = {
            "X": 0.0,
            "Y": (0.98 * head - size * (0.62 + 0.18 * run)).astype(np.float32),
            "Z": -0.05 * head,
            "h": (size * (0.75 + 0.25 * run)).astype(np.float32),
            "a": broken,
        }
        pose.companions.append((SPLAT, values))
    else:
        for side in (-1, 1):
            values = {
                "X": (side * (0.12 * duo.a.width + 0.8 * duo.b.width * np.minimum(t, 1.0))).astype(
                    np.float32
                ),
                "Y": np.maximum(0.95 * head + 0.8 * t - 3.2 * t * t, 0).astype(np.float32),
                "Z": -0.1 * head,
                "h": 0.55 * duo.a.height,
                "rot": (-side * 4 * np.minimum(t, 1.0)).astype(np.float32),
                "a": broken,
            }
            pose.companions.append((duo.a.actor.code, values))
    pose.events = [("land", when), ("crack", when)]


def land_on(duo: Duo) -> None:
    still(duo, duo.b, 0, duo.heading)
    part = smooth(duo.part / 0.7)
    top = 0.93 * duo.b.height
    pose = still(duo, duo.a, 0, duo.heading)
    pose.x = (-duo.heading * duo.edge(duo.a) * 0.8 * (1 - part)).astype(np.float32)
    pose.y = (
        top
        + _fall_height(duo) * (1 - part) ** 1.5
        + 0.02 * duo.a.height * np.sin(duo.seconds * 5) * (1 - part)
    ).astype(np.float32)
    pose.z = np.full_like(duo.seconds, -0.03 * duo.b.height)
    pose.clock = duo.seconds
    pose.events.append(("land", 0.7 * duo.duration))


def pop_out_of(duo: Duo) -> None:
    """A hides behind the container's front, made small enough, then springs up and keeps looking out."""
    a, b = duo.a, duo.b
    shrink = min(1.0, 0.75 * b.width / a.width, 0.9 * b.height / a.height)
    a.height, a.width = a.height * shrink, a.width * shrink
    other = still(duo, b, 0, duo.heading)
    pose = still(duo, a, 0, duo.heading)
    when = duo.rng.uniform(0.25, 0.4) * duo.duration
    t = np.maximum(duo.seconds - when, 0)
    spring = 1 - np.exp(-7 * t) * np.cos(9 * t)
    pose.y = (0.04 * b.height + 0.68 * b.height * spring).astype(np.float32)
    pose.z = np.full_like(duo.seconds, 0.04 * b.height)
    pose.clock = duo.seconds
    rattle = np.where(
        duo.seconds < when, 0.03 * np.sin(duo.seconds * 22) * np.clip(duo.seconds / when, 0, 1), 0
    )
    other.rot = (rattle + wobble(duo.seconds, when, 0.06)).astype(np.float32)
    pose.events.append(("pop_out", when))


# ---- waking, eating, drinking ------------------------------------------------------------------


def wake_up(duo: Duo) -> None:
    """B sleeps, breathing slowly under a row of Z, until A touches it."""
    s, when = duo.heading, 0.55 * duo.duration
    home = 0.15 * duo.half
    other = still(duo, duo.b, s * home, -s)
    asleep = duo.seconds < when
    other.squash = np.where(
        asleep, 0.72 + 0.04 * np.sin(duo.seconds * 2.4), 0.72 + 0.28 * smooth((duo.seconds - when) / 0.25)
    )
    other.squash = other.squash.astype(np.float32)
    t = duo.seconds - when - 0.15
    other.y = np.where((t > 0) & (t < 0.4), 0.25 * duo.b.height * 4 * (t / 0.4) * (1 - t / 0.4), 0).astype(
        np.float32
    )
    other.clock = np.where(asleep, 0, duo.seconds - when).astype(np.float32)
    zzz: dict[str, float | Track] = {
        "X": (s * home - s * 0.12 * duo.b.width + 0.06 * duo.b.width * np.sin(duo.seconds * 2)).astype(
            np.float32
        ),
        "Y": (0.78 * duo.b.height + 0.12 * duo.b.height * (duo.seconds % 1.6)).astype(np.float32),
        "Z": -0.02,
        "h": 0.34 * duo.b.height,
        "a": asleep.astype(np.float32),
    }
    other.companions.append((ZZZ, zzz))
    pose = _approach(duo, home - 1.02 * duo.touch, 0.42 * duo.duration)
    nudge = (duo.seconds > 0.42 * duo.duration) & (duo.seconds < when)
    pose.x = pose.x + (nudge * s * 0.08 * duo.a.width * np.abs(np.sin(duo.seconds * 12))).astype(np.float32)
    pose.rot = pose.rot - (nudge * s * 0.10 * np.abs(np.sin(duo.seconds * 12))).astype(np.float32)
    other.events.append(("wake", when))


def _at_mouth(duo: Duo) -> tuple[Pose, Pose]:
    """B before A's face. A front-facing A has it before its middle, lower down."""
    s = duo.heading
    front = duo.a.thing.facing == "front"
    pose = still(duo, duo.a, -s * (0.1 if front else 0.42) * duo.touch, s)
    other = still(duo, duo.b, s * (0.5 if front else 0.48) * duo.touch, -s)
    level = 0.40 if front else 0.48
    other.y = np.full_like(duo.seconds, max(0.0, level * duo.a.height - 0.5 * duo.b.height))
    other.z = np.full_like(duo.seconds, -0.08 * duo.a.height)
    pose.clock = duo.seconds
    return pose, other


def eat(duo: Duo) -> None:
    """Three bites from A's side; what is bitten off stays off."""
    s = duo.heading
    pose, other = _at_mouth(duo)
    x0, y0, x1, y1 = duo.b.thing.bbox
    times = [share * duo.duration for share in (0.22, 0.48, 0.74)]
    radius = np.zeros_like(duo.seconds)
    for when, size in zip(times, (0.18, 0.27, 0.36), strict=True):
        radius = np.where(duo.seconds >= when, size * (x1 - x0), radius)
        lunge = np.exp(-(((duo.seconds - when) / 0.13) ** 2))
        pose.rot = (pose.rot - s * 0.14 * lunge).astype(np.float32)
        pose.x = (pose.x + s * 0.05 * duo.a.width * lunge).astype(np.float32)
        other.x = (other.x - s * 0.06 * duo.a.width * lunge).astype(np.float32)
        other.events.append(("bite", when))
    side = x0 if s > 0 else x1
    other.extra = {
        "bx": np.full_like(duo.seconds, side),
        "by": np.full_like(duo.seconds, 0.55 * y0 + 0.45 * y1),
        "br": radius.astype(np.float32),
    }
    pose.squash = (1 + 0.03 * np.sin(duo.seconds * 14)).astype(np.float32)


def drink(duo: Duo) -> None:
    s = duo.heading
    pose, other = _at_mouth(duo)
    tilt = np.clip(np.sin(duo.seconds * 2 * math.pi / (duo.duration / 2) - 1.2), 0, 1)
    other.rot = (s * 0.55 * tilt).astype(np.float32)
    other.x = (other.x - s * 0.08 * duo.a.width * tilt).astype(np.float32)
    pose.rot = (s * 0.06 * tilt).astype(np.float32)
    other.events += [("sip", 0.25 * duo.duration), ("sip", 0.75 * duo.duration)]


# ---- the table ---------------------------------------------------------------------------------

INTERACTIONS: dict[str, Callable[[Duo], None]] = {
    "chase": chase, "follow": follow, "meet": meet, "jump_over": jump_over, "bump_into": bump_into,
    "wake_up": wake_up, "eat": eat, "drink": drink, "fall_on": fall_on, "crack_on_head": crack_on_head,
    "land_on": land_on, "pass_behind": pass_behind, "pass_in_front": pass_in_front, "look_at": look_at,
    "run_away_from": run_away_from, "hide_behind": hide_behind, "circle_around": circle_around, "kick": kick,
    "push": push, "play_with": play_with, "bounce_off": bounce_off, "move_past": move_past,
    "pop_out_of": pop_out_of, "blown_together": blown_together, "swap": swap,
}  # fmt: skip


def _level(extra: float) -> Callable[[Duo], tuple[float, float]]:
    """Both side by side with `extra` times their mean width to move in."""

    def space(duo: Duo) -> tuple[float, float]:
        both = duo.a.width + duo.b.width
        return both * (1.05 + extra), 1.1 * max(duo.a.height, duo.b.height)

    return space


def _stacked(duo: Duo) -> tuple[float, float]:
    return 1.2 * max(duo.a.width, duo.b.width), duo.b.height + duo.a.height + _fall_height(duo)


def _beside_stack(duo: Duo) -> tuple[float, float]:
    return _level(0.6)(duo)[0], _stacked(duo)[1]


def _over(duo: Duo) -> tuple[float, float]:
    return _level(0.9)(duo)[0], 1.15 * duo.b.height + duo.a.height


def _out_of(duo: Duo) -> tuple[float, float]:
    return 1.3 * duo.b.width, 1.85 * duo.b.height


SPACES: dict[str, Callable[[Duo], tuple[float, float]]] = {
    **{name: _level(0.7) for name in INTERACTIONS},
    **{name: _level(0.15) for name in ("look_at", "eat", "drink", "play_with")},
    **{name: _level(0.4) for name in ("follow", "wake_up", "hide_behind", "pass_behind", "pass_in_front")},
    "fall_on": _stacked,
    "crack_on_head": _stacked,
    "land_on": _beside_stack,
    "jump_over": _over,
    "pop_out_of": _out_of,
}
"""Width and height of stage each interaction needs, metres."""
