"""From a scene to the stage's drawing list: who stands where, how all move, and where the camera is.

`choreograph` composes four parts that do not know of each other: the actors' paths (actions.py,
interactions.py), the framing (cameras.py), the props of the place, and the drawings' own clocks. Everything
random comes of the scene's seed. Metres and seconds throughout; X right, Y up, Z away from the viewer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from longtake.world import cameras
from longtake.world.actions import ACTIONS, LIFT
from longtake.world.concepts import Concept, concept, grammar
from longtake.world.duo import Duo
from longtake.world.interactions import INTERACTIONS, SPACES
from longtake.world.motion import TURNS, Player, Pose, Room
from longtake.world.scene import LAYER_KEYS, Actor, Scene, Track, Tracks


class Drawings(Protocol):
    """What the choreography asks of an atlas."""

    @property
    def codes(self) -> tuple[str, ...]: ...

    def frame_index(
        self, code: str, seconds: np.ndarray, speed: float | np.ndarray = 1.0, phase: float = 0.0
    ) -> np.ndarray: ...

    def aspect(self, code: str) -> float: ...


PROPS: dict[str, tuple[str, ...]] = {
    "snowy_field": ("1f332",),
    "pine_forest": ("1f332",),
    "meadow": ("1f333",),
    "beach": ("1f334",),
    "desert": ("1f335",),
    "neon_street": ("1f3e2", "1f3e8", "1f3ea", *(f"neon-{i}" for i in range(8))),
    "village_street": ("1f3e1", "1f3e0", "1f333"),
    "park": ("1f333",),
    "bedroom": ("1fab4", "1fa91"),
    "living_room": ("1f6cb", "1fab4"),
    "kitchen": ("1fab4", "1fa91"),
    "classroom": ("1fa91", "1fab4"),
    "stage": ("1f3ee",),
    "warehouse": ("1f6e2",),
    "castle_courtyard": ("1f3f0", "1f333"),
    "mountain": ("1f332",),
    "lake_shore": ("1f332", "1f333"),
    "undersea": ("1fab8",),
    "moon": ("1faa8",),
    "outer_space": (),
    "farm": ("1f333", "1f33e"),
    "market": ("1f3ea", "1f3ee"),
    "rooftop": ("1f3e2",),
    "garden": ("1f333", "1f33b", "1f337"),
    "football_pitch": ("1f945",),
}
"""What stands behind the actors at each place."""

SIGNS = tuple(code for code in PROPS["neon_street"] if code.startswith("neon-"))
NOSES: dict[str, float] = {"1f680": 0.87, "2708": 0.79}
"""Drawings whose nose points this far above level, radians."""
PACES: dict[str, float] = {"slow": 0.65, "gentle": 0.75, "fast": 1.35, "sudden": 1.25, "happy": 1.1, "": 1.0}
_FREEZE = ("walk", "step", "trot", "hop", "crouch", "stomping", "waddle", "swim")


def stage_height(thing: Concept) -> float:
    """Height on the stage: true heights drawn together, so that a cookie is still seen beside an elephant."""
    return float(1.15 * thing.height_m**0.6)


def choreograph(scene: Scene, atlas: Drawings, aspect: float) -> Tracks:
    """The drawing list of `scene` for frames `aspect` times as wide as high; KeyError for unknown words."""
    rng = random.Random(f"stage {scene.seed}")
    seconds = (np.arange(scene.frames) / scene.fps).astype(np.float32)
    players = [_player(actor, atlas, rng) for actor in scene.actors]
    if scene.interaction:
        duo = Duo(players[0], players[1], seconds, rng)
        space = SPACES[scene.interaction](duo)
        view = _interaction_lens(scene, players, space, aspect)
        duo.half = view.view * aspect / cameras.closest(scene.camera) * 0.48
        INTERACTIONS[scene.interaction](duo)
    else:
        view = _arrange(scene, players, seconds, aspect, rng)
    events = [(name, when, i) for i, p in enumerate(players) if p.pose for name, when in p.pose.events]
    main = players[0]
    assert main.pose is not None
    path = (_eased(main.pose.x + main.home[0]), _eased(main.pose.z + main.home[2]))
    camera = cameras.film(view, scene.camera, seconds, aspect, path, rng)
    rows = [row for index, player in enumerate(players) for row in _rows(player, index, atlas, seconds, rng)]
    rows += _props(scene, view, aspect, atlas, seconds, camera)
    return Tracks(
        layers={
            k: np.stack([np.broadcast_to(r[2][k], seconds.shape) for r in rows]).astype(np.float32)
            for k in LAYER_KEYS
        },
        names=[name for name, _, _ in rows],
        actor=[index for _, index, _ in rows],
        camera=camera,
        weather=_air(scene, rng),
        place=scene.place,
        time=scene.time,
        style=scene.style,
        fps=scene.fps,
        events=[
            {"name": name, "frame": min(max(round(when * scene.fps), 0), scene.frames - 1), "actor": index}
            for name, when, index in sorted(events, key=lambda e: e[1])
        ],
    )


def _player(actor: Actor, atlas: Drawings, rng: random.Random) -> Player:
    thing = concept(actor.code)
    scale = grammar()["sizes"][actor.size]["scale"] if actor.size else 1.0
    height = stage_height(thing) * scale
    heading = {"left": -1, "right": 1}.get(actor.direction, rng.choice((-1, 1)))
    if actor.action == "enter":
        heading = -heading
    return Player(actor, thing, height, height * atlas.aspect(actor.code), heading)


# ---- framing and places on the stage -----------------------------------------------------------


def _share(shot: str, aspect: float, ratio: float, room: float, lift: float) -> float:
    """Height of the subject in frame heights, less where its width (`ratio` heights) or its leaps need space.

    All shots up to medium shrink by one factor, so that their order stays true in narrow frames.
    """
    share = cameras.SHOTS[shot]
    if share > 0.8:
        return share * min(1.0, 0.98 * aspect / (share * ratio)) if share < 1 else share
    share *= min(1.0, room * aspect / (cameras.SHOTS["medium"] * ratio))
    return max(min(share, 0.94 / (1 + 0.6 * lift)), 0.75 * share)


def _arrange(
    scene: Scene, players: list[Player], seconds: Track, aspect: float, rng: random.Random
) -> cameras.Lens:
    """Give every player its home and its path; returns the camera that shows them."""
    main = players[0]
    if len(players) > 1:
        width = _pair_homes(scene.relation or "next_to", players, rng)
    else:
        row = min(main.actor.count, 4)
        width = main.width * (1 + 1.08 * (row - 1))
    tallest = max(players, key=lambda p: p.home[1] + p.height)
    height = tallest.home[1] + tallest.height
    if main.actor.action in TURNS:
        width += main.spread - main.width
    lift = max(LIFT.get(p.actor.action, 0.0) * p.height for p in players)
    follow = scene.camera == "follow"
    room = 0.6 if main.travels and not follow and len(players) == 1 else 0.86
    share = _share(scene.shot, aspect, width / height, room, lift / height)
    closest = cameras.closest(scene.camera)
    free = (0.93 / (share * closest) - 1) * height - (main.spread - main.width) / 2
    lift = max(min(lift, free), 0.12 * height if share > 0.6 else 0.0)
    view = cameras.lens(height, share, lift, scene.angle)
    across = view.view * aspect / closest
    for player in players:
        half = across * (0.485 - cameras.shift(scene.camera)) - abs(player.home[0]) - player.spread / 2
        half -= (width - main.spread) / 2 if len(players) == 1 else 0.0
        if len(players) > 2:
            half = 0.0
        elif len(players) > 1 and scene.relation not in ("in_front_of", "behind", "on_top_of"):
            half = min(half, abs(player.home[0]) - player.spread / 2)
        reach = 2.0 * across if follow and player is main else max(half, 0.02 * across)
        player.pose = _perform(player, seconds, across, reach, lift, view.distance, rng)
    return view


def _pair_homes(relation: str, players: list[Player], rng: random.Random) -> float:
    """Homes of the players so that the relation holds; returns the width they take. More than two stand
    in a row, the first leftmost (left_of) or rightmost (right_of)."""
    if len(players) > 2:
        gap = 0.25 * max(p.height for p in players)
        total = sum(p.width for p in players) + gap * (len(players) - 1)
        x = -total / 2
        for player in players if relation != "right_of" else players[::-1]:
            player.home = (x + player.width / 2, 0.0, rng.uniform(-0.1, 0.1))
            x += player.width + gap
        return total
    a, b = players
    gap = rng.uniform(0.18, 0.35) * max(a.height, b.height)
    if relation in ("left_of", "right_of", "next_to"):
        side = {"left_of": -1, "right_of": 1}.get(relation, rng.choice((-1, 1)))
        spread = (a.width + b.width) / 2 + gap
        centre = (a.width - b.width) / 4 * -side
        a.home = (centre + side * spread / 2, 0.0, rng.uniform(-0.1, 0.1))
        b.home = (centre - side * spread / 2, 0.0, rng.uniform(-0.1, 0.1))
        return spread + (a.width + b.width) / 2 + 0.3 * gap
    if relation == "on_top_of":
        a.home = (0.0, 0.93 * b.height, -0.02)
        return max(a.width, b.width)
    side = rng.choice((-1, 1))
    overlap = 0.35 * (a.width + b.width)
    near, far = (a, b) if relation == "in_front_of" else (b, a)
    near.home = (side * overlap / 2, 0.0, -0.25 * far.height)
    far.home = (-side * overlap / 2, 0.0, 0.35 * near.height + 0.25 * far.height)
    return overlap + (a.width + b.width) / 2


def _perform(
    player: Player, seconds: Track, across: float, reach: float, lift: float, depth: float, rng: random.Random
) -> Pose:
    actor, thing = player.actor, player.thing
    room = Room(
        seconds=seconds,
        width=player.width,
        height=player.height,
        view=across,
        reach=reach,
        lift=max(min(lift, LIFT.get(actor.action, 0.0) * player.height), 0.05 * player.height),
        depth=depth,
        heading=player.heading,
        rng=rng,
        along=actor.direction if actor.direction in ("toward", "away") else "",
        named=bool(actor.direction),
        pace=PACES[actor.manner],
        animate=thing.animate,
        gait=thing.gait,
        nose=NOSES.get(thing.code, 0.0),
        still=thing.animate and (thing.anim.startswith(_FREEZE) or thing.gait == "full"),
    )
    return ACTIONS[actor.action](room)


def _interaction_lens(
    scene: Scene, players: list[Player], space: tuple[float, float], aspect: float
) -> cameras.Lens:
    """A camera that shows both players; `space` is the width and the height of stage they need, metres."""
    height = max(p.height for p in players)
    width, top = space
    share = min(cameras.SHOTS[scene.shot], 0.94 * aspect * height / width, 0.94 * height / top)
    return cameras.lens(height, share / cameras.closest(scene.camera), top - height, scene.angle)


def _eased(path: Track) -> Track:
    """A path without its small shakes, for the camera to follow."""
    kernel = np.hanning(11) / np.hanning(11).sum()
    return np.convolve(np.pad(path, 5, mode="edge"), kernel, mode="valid").astype(np.float32)


# ---- rows of the drawing list ------------------------------------------------------------------

Row = tuple[str, int, dict[str, Track]]


def _row(name: str, index: int, seconds: Track, tex: np.ndarray, values: Mapping[str, float | Track]) -> Row:
    filled: dict[str, float | Track] = {"a": 1.0, "squash": 1.0, "h": 1.0, **values}
    tracks = {k: np.asarray(filled.get(k, 0.0), np.float32) for k in LAYER_KEYS}
    return (
        name,
        index,
        {k: np.broadcast_to(v, seconds.shape) for k, v in tracks.items()}
        | {"tex": np.broadcast_to(np.asarray(tex, np.float32), seconds.shape)},
    )


def mirrored(thing: Concept, heading: Track) -> Track:
    """1 where a drawing must be mirrored to look (or, for some, to move) along `heading`."""
    drawn = {"left": -1, "right": 1}.get(thing.travel or thing.facing, 0)
    return ((heading * drawn) < 0).astype(np.float32)


def drawing_clock(thing: Concept, seconds: Track, phase: float) -> Track:
    """Seconds to show of a drawing; one that loops over some frames only, or not at all, goes to and fro."""
    period = thing.period
    if period <= 0 or (thing.loops and not thing.steady_frames):
        return (seconds + phase * max(period, 1.0)).astype(np.float32)
    first, last = 0.0, thing.frames - 1.0
    if thing.steady_frames:
        spans = sorted(thing.steady_frames)
        first, last = spans[-1][0], spans[-1][1]
        if len(spans) > 1 and last == thing.frames - 1:
            last = thing.frames + spans[0][1]  # the two pieces meet at the loop's seam
    count = last - first
    if count <= 0:
        return np.full_like(seconds, first / thing.frames * period)
    at = (seconds * thing.frames / period + 2 * phase * count) % (2 * count)
    frame = first + np.minimum(at, 2 * count - at)
    return np.asarray((frame + 0.5) / thing.frames * period, np.float32)


def _rows(player: Player, index: int, atlas: Drawings, seconds: Track, rng: random.Random) -> list[Row]:
    """One row for each of the actor's count, side by side and a little apart in time and depth."""
    pose, thing = player.pose, player.thing
    assert pose is not None
    rows = []
    count = player.actor.count
    columns = min(count, 4)
    for i in range(count):
        line, column = divmod(i, columns)
        x = player.home[0] + (column - (columns - 1) / 2 + 0.5 * (line % 2)) * player.width * 1.08
        z = (
            player.home[2]
            + line * 0.5 * player.height
            + (rng.uniform(-0.15, 0.15) * player.height if count > 1 else 0)
        )
        clock = drawing_clock(thing, pose.clock, rng.random())
        later = 0.0 if i == 0 else rng.uniform(0, 0.3)
        y = np.interp(seconds - later, seconds, pose.y).astype(np.float32) if later else pose.y
        values: dict[str, float | Track] = {
            "X": x + pose.x,
            "Y": player.home[1] + y,
            "Z": z + pose.z,
            "h": player.height * pose.scale,
            "rot": pose.rot,
            "flip": mirrored(thing, pose.heading),
            "squash": pose.squash,
            **pose.extra,
        }
        rows.append(
            _row(player.actor.code, index, seconds, atlas.frame_index(player.actor.code, clock), values)
        )
    for name, more in pose.companions:
        rows.append(_row(name, index, seconds, atlas.frame_index(name, seconds), more))
    return rows


def _props(
    scene: Scene,
    view: cameras.Lens,
    aspect: float,
    atlas: Drawings,
    seconds: Track,
    camera: Mapping[str, Track],
) -> list[Row]:
    """Two to five things behind the actors and to the sides, never the same thing as an actor."""
    rng = random.Random(f"props {scene.seed}")
    cast = {actor.code for actor in scene.actors}
    here = set(atlas.codes)  # props are decoration: a small atlas shows fewer
    codes = [code for code in PROPS[scene.place] if code not in cast and code in here]
    if not codes:
        return []
    count = rng.randint(2, 4) + (scene.place in ("pine_forest", "neon_street"))
    drift = float(np.ptp(camera["cx"])) if scene.camera == "follow" else 0.0
    middle = float(np.mean(camera["cx"]))
    signs = [c for c in codes if c in SIGNS]
    buildings = [c for c in codes if c not in SIGNS] or signs
    rows = []
    for i in range(count):
        code = rng.choice(signs if signs and i % 2 else buildings)
        sign = code in SIGNS
        high = rng.uniform(0.9, 1.3) if sign else stage_height(concept(code)) * rng.uniform(0.8, 1.15)
        behind = max(rng.uniform(2, 6), cameras.FOCAL * high / 0.55 - view.distance)
        depth = view.distance + behind
        side = 1 if i % 2 else -1
        place = side * (0.38 + 0.62 * (i // 2 + rng.random()) / ((count + 1) // 2))
        x = middle + place * (depth * aspect / cameras.FOCAL / 2 + drift / 2)
        breeze = 0.05 if scene.weather == "wind" else 0.0
        values: dict[str, float | Track] = {
            "X": x,
            "Y": rng.uniform(0.3, 1.0) if sign or code == "1f3ee" else 0.0,
            "Z": behind,
            "h": high,
            "rot": (breeze * np.sin(seconds * 4 + i)).astype(np.float32) if concept_sways(code) else 0.0,
            "glow": 1.0 if sign else (0.10 if scene.place == "neon_street" else 0.0),
        }
        rows.append(_row(f"prop:{code}", -1, seconds, atlas.frame_index(code, 0 * seconds), values))
    return rows


def concept_sways(code: str) -> bool:
    """Whether wind moves a prop."""
    return code not in SIGNS and concept(code).kind == "plant"


def _air(scene: Scene, rng: random.Random) -> dict[str, float]:
    """Amounts of weather; falling weather indoors or under water is the stage's to leave out."""
    amount = rng.uniform(0.75, 0.95)
    air = {kind: amount if scene.weather == kind else 0.0 for kind in ("rain", "snow", "fog", "wind")}
    return air | {"wet": 0.55 if scene.weather == "rain" else 0.0}


def without_props(tracks: Tracks) -> Tracks:
    """The same scene on an empty stage."""
    keep = [i for i, actor in enumerate(tracks.actor) if actor >= 0]
    return replace(
        tracks,
        layers={key: value[keep] for key, value in tracks.layers.items()},
        names=[tracks.names[i] for i in keep],
        actor=[tracks.actor[i] for i in keep],
    )
