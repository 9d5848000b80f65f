"""How one thing moves: an analytic path for every action of grammar.json.

Each action is a function of a `Room` (how much space and time there is) that returns a `Pose` (arrays over
time, relative to the thing's home on the stage). Nothing here knows of cameras, places or captions. Lengths
are metres, times seconds, angles radians (counter-clockwise as seen by the camera).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from longtake.world.motion import Pose, Room, bounce, impact, smooth
from longtake.world.scene import Track


def travel(room: Room, share: float, pose: Pose) -> Pose:
    """Move `pose` evenly along the heading over `share` of the view, as far as the room allows."""
    part = room.part - 0.5
    if room.along:
        far, near = 0.75 * room.depth, 0.0
        start, end = (far, near) if room.along == "toward" else (near, far)
        pose.z = (start + (end - start) * (part + 0.5)).astype(np.float32)
        pose.x = pose.x + room.rng.uniform(-0.2, 0.2) * room.reach
        return pose
    span = min(share * room.pace * room.view, 2 * room.reach)
    slack = max(0.0, min(room.reach - span / 2, 0.3 * room.view))
    pose.x = (room.rng.uniform(-slack, slack) * 0.8 + room.heading * span * part).astype(np.float32)
    return pose


def _offset(room: Room, pose: Pose) -> Pose:
    pose.x = pose.x + np.float32(room.rng.uniform(-0.35, 0.35) * min(room.reach, 0.4 * room.view))
    return pose


def _tilted_foot(room: Room, rot: Track) -> Track:
    """How far the unturned foot must be raised so that the turned drawing touches the ground."""
    reach = (np.abs(np.cos(rot)) * room.height + np.abs(np.sin(rot)) * room.width) / 2
    return (reach - room.height / 2).astype(np.float32)


# ---- staying -----------------------------------------------------------------------------------


def rest(room: Room) -> Pose:
    pose = _offset(room, Pose.at_rest(room))
    if room.still:
        pose.clock = np.zeros_like(room.seconds)
    return pose


def stand(room: Room) -> Pose:
    pose = rest(room)
    breath = np.sin(room.seconds * 2.2 + room.rng.uniform(0, 6)) if room.animate else 0 * room.seconds
    pose.squash = (1 + 0.012 * breath).astype(np.float32)
    return pose


def lie(room: Room) -> Pose:
    pose = rest(room)
    side = room.heading * math.pi / 2
    pose.rot = np.full_like(room.seconds, side)
    pose.y = _tilted_foot(room, pose.rot)
    return pose


def sleep(room: Room) -> Pose:
    pose = rest(room)
    pose.squash = (1 + 0.03 * np.sin(room.seconds * 1.6)).astype(np.float32)
    pose.clock = room.seconds * 0.5
    return pose


def wake(room: Room) -> Pose:
    pose = sleep(room)
    when = 0.5 * room.duration
    t = room.seconds - when
    pose.y = np.where((t > 0) & (t < 0.4), 0.2 * room.height * 4 * (t / 0.4) * (1 - t / 0.4), 0).astype(
        np.float32
    )
    pose.squash = np.where(t < 0, pose.squash, impact(room.seconds, [when + 0.4], 0.12)).astype(np.float32)
    pose.clock = np.where(t < 0, room.seconds * 0.3, 0.3 * when + t).astype(np.float32)
    pose.events.append(("wake", when))
    return pose


def spin(room: Room) -> Pose:
    pose = rest(room)
    rate = room.heading * 2 * math.pi * 0.45 * room.pace
    pose.rot = (-rate * room.seconds).astype(np.float32)
    pose.y = _tilted_foot(room, pose.rot)
    return pose


def sway(room: Room) -> Pose:
    pose = rest(room)
    pose.rot = (0.12 * np.sin(room.seconds * 3.0 * room.pace + room.rng.uniform(0, 6))).astype(np.float32)
    return pose


def dance(room: Room) -> Pose:
    pose = rest(room)
    pose.clock = room.seconds * 1.2
    beat = room.seconds * 2 * math.pi * 1.1 * room.pace
    pose.x = pose.x + (0.10 * room.width * np.sin(beat / 2)).astype(np.float32)
    pose.y = (0.07 * room.height * np.abs(np.sin(beat))).astype(np.float32)
    pose.rot = (0.16 * np.sin(beat / 2)).astype(np.float32)
    return pose


def wave(room: Room) -> Pose:
    pose = rest(room)
    pose.clock = room.seconds
    pose.rot = (0.07 * np.sin(room.seconds * 7)).astype(np.float32)
    return pose


def turn(room: Room) -> Pose:
    """Ends facing the heading; a flat drawing turns by growing thin and wide again, see `heading`."""
    pose = rest(room)
    when = room.rng.uniform(0.35, 0.55) * room.duration
    pose.heading = np.where(room.seconds < when, -room.heading, room.heading).astype(np.float32)
    pose.y = (0.06 * room.height * np.exp(-(((room.seconds - when) / 0.15) ** 2))).astype(np.float32)
    pose.events.append(("turn", when))
    return pose


def grow(room: Room) -> Pose:
    pose = rest(room)
    pose.scale = (0.45 + 0.55 * smooth(room.part)).astype(np.float32)
    return pose


def shrink(room: Room) -> Pose:
    pose = rest(room)
    pose.scale = (1.0 - 0.6 * smooth(room.part)).astype(np.float32)
    return pose


def pop_out(room: Room) -> Pose:
    """Hidden below the ground, then out with a little overshoot."""
    pose = rest(room)
    when = room.rng.uniform(0.7, 1.3)
    t = room.seconds - when
    pose.y = np.where(
        t < 0,
        -1.1 * room.height + 0.12 * room.height * np.clip(t + 0.7, 0, 1),
        room.height * (-1.02 * np.exp(-6 * np.maximum(t, 0)) + 0.16 * np.exp(-3 * np.abs(t)) * np.sin(9 * t)),
    ).astype(np.float32)
    pose.y = np.where(np.abs(pose.y) < 0.004 * room.height, 0, pose.y).astype(np.float32)
    pose.events.append(("pop_out", when))
    return pose


# ---- going -------------------------------------------------------------------------------------


def _stride(room: Room, pose: Pose, rate: float, rise: float, rock: float) -> Pose:
    """Give a drawing that has no gait of its own the bob of a paper puppet on a stick."""
    if room.gait == "full":
        return pose
    step = room.seconds * 2 * math.pi * rate * room.pace + room.rng.uniform(0, 6)
    pose.y = pose.y + (rise * room.height * np.abs(np.sin(step / 2))).astype(np.float32)
    pose.rot = pose.rot + (rock * np.sin(step / 2)).astype(np.float32)
    return pose


def walk(room: Room) -> Pose:
    pose = travel(room, 0.52, Pose.at_rest(room))
    pose.clock = room.seconds * room.pace
    return _stride(room, pose, 1.6, 0.035, 0.035)


def run(room: Room) -> Pose:
    pose = travel(room, 0.74, Pose.at_rest(room))
    pose.clock = room.seconds * 1.8 * room.pace
    pose.rot = np.full_like(room.seconds, -0.06 * room.heading)
    return _stride(room, pose, 3.0, 0.11, 0.06)


def crawl(room: Room) -> Pose:
    pose = travel(room, 0.25, Pose.at_rest(room))
    pose.squash = (1 + 0.05 * np.sin(room.seconds * 5)).astype(np.float32)
    return pose


def slither(room: Room) -> Pose:
    pose = travel(room, 0.4, Pose.at_rest(room))
    pose.z = pose.z + (0.12 * room.width * np.sin(room.seconds * 4)).astype(np.float32)
    pose.rot = (0.05 * np.sin(room.seconds * 4 + 1)).astype(np.float32)
    return pose


def _leaps(room: Room, period: float, high: float, pause: float) -> tuple[Track, Track]:
    """Arcs of `high` metres with `pause` (share of the period) on the ground; height and squash."""
    phase = (room.seconds / period + room.rng.uniform(0, 1)) % 1
    air = np.clip((phase - pause) / (1 - pause), 0, 1)
    y = high * 4 * air * (1 - air)
    crouch = np.where(phase < pause, np.sin(math.pi * phase / pause), 0)
    stretch = np.where(phase < pause, 0, np.clip(1 - 4 * np.minimum(air, 1 - air), 0, 1))
    return y.astype(np.float32), (1 - 0.16 * crouch + 0.05 * stretch).astype(np.float32)


def hop(room: Room) -> Pose:
    pose = travel(room, 0.48, Pose.at_rest(room))
    pose.y, pose.squash = _leaps(room, 0.6 / room.pace, min(0.34 * room.height, room.lift), 0.25)
    return pose


def jump(room: Room) -> Pose:
    pose = travel(room, 0.4, Pose.at_rest(room)) if room.named else _offset(room, Pose.at_rest(room))
    pose.y, pose.squash = _leaps(room, 1.0, min(0.65 * room.height, room.lift), 0.35)
    pose.clock = np.zeros_like(room.seconds) if room.still else room.seconds
    return pose


def ride(room: Room) -> Pose:
    pose = travel(room, 0.6, Pose.at_rest(room))
    pose.clock = room.seconds * 1.4
    pose.y = (0.015 * room.height * np.abs(np.sin(room.seconds * 9))).astype(np.float32)
    return pose


def drive(room: Room) -> Pose:
    pose = travel(room, 0.74, Pose.at_rest(room))
    pose.y = (0.012 * room.height * np.abs(np.sin(room.seconds * 11))).astype(np.float32)
    return pose


def roll(room: Room) -> Pose:
    """Without slip: the angle turned is the way over the radius."""
    pose = travel(room, 0.62, Pose.at_rest(room))
    way = pose.x - pose.x[0] if not room.along else room.heading * (pose.z - pose.z[0])
    pose.rot = (-way / (room.height / 2) + room.rng.uniform(0, 6)).astype(np.float32)
    return pose


def slide(room: Room) -> Pose:
    pose = travel(room, 0.55, Pose.at_rest(room))
    eased = 1 - (1 - room.part) ** 1.7
    if not room.along:
        pose.x = (pose.x[0] + (pose.x[-1] - pose.x[0]) * eased).astype(np.float32)
    return pose


def tumble(room: Room) -> Pose:
    """End over end: each quarter turn carries it on by half its girth."""
    pose = travel(room, 0.55, Pose.at_rest(room))
    girth = room.width + room.height
    way = pose.x - pose.x[0] if not room.along else room.heading * (pose.z - pose.z[0])
    quarter = way / (girth / 2)
    eased = np.floor(quarter) + smooth(quarter - np.floor(quarter))
    pose.rot = (-eased * math.pi / 2).astype(np.float32)
    pose.y = _tilted_foot(room, pose.rot)
    return pose


def stop(room: Room) -> Pose:
    pose = travel(room, 0.55, Pose.at_rest(room))
    eased = np.minimum(room.part / 0.7, 1)
    eased = (1 - (1 - eased) ** 2).astype(np.float32)
    pose.x = (pose.x[0] + (pose.x[-1] - pose.x[0]) * eased).astype(np.float32)
    speed = np.gradient(eased, room.seconds)
    pose.clock = np.cumsum(
        speed / max(float(speed.max()), 1e-6) * (room.seconds[1] - room.seconds[0])
    ).astype(np.float32)
    pose.events.append(("stop", 0.7 * room.duration))
    return pose


def enter(room: Room) -> Pose:
    """From beyond the side the caption names (the heading points into the picture)."""
    pose = Pose.at_rest(room)
    outside = -room.heading * (room.view / 2 + 0.6 * room.width)
    goal = room.rng.uniform(-0.1, 0.1) * room.view
    part = np.clip(room.part / 0.75, 0, 1)
    pose.x = (outside + (goal - outside) * (1 - (1 - part) ** 1.5)).astype(np.float32)
    pose.events.append(("enter", 0.2 * room.duration))
    return _stride(room, pose, 1.6, 0.03, 0.03) if room.animate else pose


def leave(room: Room) -> Pose:
    pose = Pose.at_rest(room)
    start = room.rng.uniform(-0.1, 0.1) * room.view
    outside = room.heading * (room.view / 2 + 0.6 * room.width)
    part = np.clip((room.part - 0.15) / 0.85, 0, 1) ** 1.3
    pose.x = (start + (outside - start) * part).astype(np.float32)
    pose.events.append(("exit", 0.85 * room.duration))
    return _stride(room, pose, 1.6, 0.03, 0.03) if room.animate else pose


# ---- in the air and on the water ---------------------------------------------------------------


def bounce_along(room: Room) -> Pose:
    """Up and down with hardly any loss, moving on a little."""
    pose = travel(room, 0.45 if room.named else 0.25, Pose.at_rest(room))
    fall = 0.42 / math.sqrt(room.pace)
    early = room.rng.uniform(0, 2 * fall)
    pose.y, landings = bounce(room.seconds + early, min(1.0 * room.height, room.lift), fall, 0.95)
    pose.squash = impact(room.seconds, [t - early for t in landings], 0.2)
    pose.rot = (-(pose.x - pose.x[0]) / room.height * 1.2).astype(np.float32)
    pose.events = [("land", t - early) for t in landings if 0 <= t - early < room.duration]
    return pose


def fall(room: Room) -> Pose:
    pose = _offset(room, Pose.at_rest(room))
    wait = room.rng.uniform(0.0, 0.3)
    drop = room.lift
    after, landings = bounce(np.maximum(room.seconds - wait, 0), drop, 0.8, 0.42)
    pose.y = after
    pose.squash = impact(room.seconds, [t + wait for t in landings], 0.24)
    spin_ = room.rng.uniform(-0.5, 0.5)
    pose.rot = (spin_ * np.clip(1 - (room.seconds - wait) / 0.8, 0, 1)).astype(np.float32)
    pose.events = [("land", landings[0] + wait)]
    return pose


def float_(room: Room) -> Pose:
    share = 0.3 if room.named else 0.1
    pose = travel(room, share, Pose.at_rest(room))
    base, phase = room.rng.uniform(0.5, 0.7) * room.lift, room.rng.uniform(0, 6)
    pose.y = (base + 0.3 * room.lift * np.sin(room.seconds * 1.8 + phase)).astype(np.float32)
    pose.rot = (0.10 * np.sin(room.seconds * 1.3 + phase)).astype(np.float32)
    return pose


def fly(room: Room) -> Pose:
    pose = travel(room, 0.6, Pose.at_rest(room))
    base, phase = room.rng.uniform(0.5, 0.75) * room.lift, room.rng.uniform(0, 6)
    pose.y = (base + 0.2 * room.lift * np.sin(room.seconds * 2.2 + phase)).astype(np.float32)
    level = -room.nose + (0.12 if room.nose else 0.0)
    pose.rot = (room.heading * (level + 0.06 * np.cos(room.seconds * 2.2 + phase))).astype(np.float32)
    return pose


def rise(room: Room) -> Pose:
    pose = _offset(room, Pose.at_rest(room))
    part = np.clip((room.part - 0.1) / 0.9, 0, 1)
    pose.y = (room.lift * part**1.5).astype(np.float32)
    if room.nose:
        pose.rot = np.full_like(room.seconds, room.heading * (math.pi / 2 - room.nose))
        pose.x = pose.x + (0.01 * room.width * np.sin(room.seconds * 30)).astype(np.float32)
    else:
        pose.rot = (0.06 * np.sin(room.seconds * 2)).astype(np.float32)
    return pose


def swim(room: Room) -> Pose:
    pose = travel(room, 0.5, Pose.at_rest(room))
    base = 0.4 * room.lift
    pose.y = (base + 0.25 * room.lift * np.sin(room.seconds * 2 + room.rng.uniform(0, 6))).astype(np.float32)
    pose.rot = (0.06 * np.sin(room.seconds * 3)).astype(np.float32)
    return pose


def afloat(room: Room) -> Pose:
    """Bobbing on water, its lowest part under the surface."""
    pose = travel(room, 0.2, Pose.at_rest(room))
    pose.y = (-0.10 * room.height + 0.05 * room.height * np.sin(room.seconds * 2.4)).astype(np.float32)
    pose.rot = (0.05 * np.sin(room.seconds * 1.9 + 1)).astype(np.float32)
    return pose


def sail(room: Room) -> Pose:
    pose = travel(room, 0.5, Pose.at_rest(room))
    pose.y = (-0.06 * room.height + 0.03 * room.height * np.sin(room.seconds * 2.4)).astype(np.float32)
    pose.rot = (0.03 * np.sin(room.seconds * 1.9 + 1)).astype(np.float32)
    return pose


def blown_away(room: Room) -> Pose:
    """Drag towards the speed of the wind: slow at first, then out of the picture."""
    pose = Pose.at_rest(room)
    t = room.seconds
    start = -room.heading * 0.22 * room.view
    tau, wind = 2.4, 1.5 * room.view / room.duration
    way = np.where(t > 0.4, wind * ((t - 0.4) - tau * (1 - np.exp(-(t - 0.4) / tau))), 0) * 1.5
    pose.x = (start + room.heading * way).astype(np.float32)
    pose.rot = (-pose.heading * way / (0.6 * room.height)).astype(np.float32)
    hops = np.abs(np.sin(way * 2.2 / room.height)) * np.clip(way / room.height, 0, 1)
    lifted = 1.6 * room.height * np.clip(way / room.view, 0, 1) ** 2 if room.along != "low" else 0
    pose.y = (_tilted_foot(room, pose.rot) + 0.4 * room.height * hops + lifted).astype(np.float32)
    pose.events.append(("blown", 0.4))
    return pose


ACTIONS: dict[str, Callable[[Room], Pose]] = {
    "roll": roll, "bounce": bounce_along, "spin": spin, "slide": slide, "tumble": tumble, "float":
    float_, "float_water": afloat, "stand": stand, "rest": rest, "lie": lie, "fall": fall, "rise": rise,
    "walk": walk, "run": run, "hop": hop, "jump": jump, "ride": ride, "slither": slither, "fly": fly,
    "swim": swim, "crawl": crawl, "drive": drive, "sail": sail, "sleep": sleep, "wake": wake, "dance":
    dance, "sway": sway, "turn": turn, "wave": wave, "enter": enter, "exit": leave, "stop": stop,
    "grow": grow, "shrink": shrink, "blown_away": blown_away, "pop_out": pop_out, "pop_out_of_snow":
    pop_out,
}  # fmt: skip

LIFT: dict[str, float] = {
    "bounce": 0.9, "float": 0.5, "fall": 1.0, "rise": 1.0, "hop": 0.34, "jump": 0.65, "fly": 0.6, "swim": 0.4,
    "run": 0.1, "walk": 0.04, "dance": 0.08, "wake": 0.2, "tumble": 0.2, "spin": 0.2, "pop_out": 0.16,
    "pop_out_of_snow": 0.16, "blown_away": 0.5,
}  # fmt: skip
"""How far each action wants to rise, in heights of the drawing; the framing leaves room for it."""
