"""The seven scenes the first films ask for, each with its truth, its drawing list and its words.

1 a woman in a rainy neon street, then a close-up; 2 a puppy that pops out of the snow; 3 a cat wakes a woman;
4 a cookie whose bites stay; 5 a box in the wind, empty and heavy; 6 an egg on a dog's head; 7 left and right,
three together, one hidden behind another and back again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from longtake.world.choreography import Drawings, choreograph
from longtake.world.concepts import DATA
from longtake.world.scene import LAYER_KEYS, Actor, Scene, Track, Tracks

WOMAN, DOG, CAT, PENGUIN = "1f6b6-200d-2640", "1f415", "1f408", "1f427"
COOKIE, BOX, EGG, DOG_FACE = "1f36a", "1f4e6", "1f95a", "1f436"
SLEEPER, AWAKE, ZZZ = "1f6cc", "1f646-200d-2640", "1f4a4"
LEAVES = ("1f343", "1f342")
SNOW = "26aa"
"""A white disc: the snow on the puppy's nose, where the atlas has it."""


@dataclass(frozen=True)
class Story:
    """A scene, or several shots, with fixed words. `shots` is the truth, one scene to a shot."""

    name: str
    shots: tuple[Scene, ...]
    play: Callable[[tuple[Scene, ...], Drawings, float], Tracks]

    @property
    def captions(self) -> dict[str, list[str]]:
        """Paraphrases by language, "en" and "zh"."""
        return _words()[self.name]

    def tracks(self, atlas: Drawings, aspect: float, seed: int = 0) -> Tracks:
        """The drawing list for frames `aspect` times as wide as high."""
        return self.play(tuple(replace(shot, seed=shot.seed + seed) for shot in self.shots), atlas, aspect)


@lru_cache(maxsize=1)
def _words() -> dict[str, dict[str, list[str]]]:
    words: dict[str, dict[str, list[str]]] = json.loads((DATA / "stories.json").read_text(encoding="utf-8"))
    return words


def join(parts: Sequence[Tracks]) -> Tracks:
    """Shots one after another as one drawing list with hard cuts. Place, time and weather are the first's."""
    frames = [len(part.camera["cx"]) for part in parts]
    starts = np.cumsum([0, *frames])
    rows: dict[str, list[Track]] = {key: [] for key in LAYER_KEYS}
    names, actor = [], []
    for part, start in zip(parts, starts, strict=False):
        for i, name in enumerate(part.names):
            names.append(name)
            actor.append(part.actor[i])
            for key in LAYER_KEYS:
                row = np.full(starts[-1], part.layers[key][i, 0] if key != "a" else 0.0, np.float32)
                row[start : start + part.layers[key].shape[1]] = part.layers[key][i]
                rows[key].append(row)
    return replace(
        parts[0],
        layers={key: np.stack(value) for key, value in rows.items()},
        names=names,
        actor=actor,
        camera={key: np.concatenate([part.camera[key] for part in parts]) for key in parts[0].camera},
        events=[
            e | {"frame": e["frame"] + int(s)} for p, s in zip(parts, starts, strict=False) for e in p.events
        ],
        cuts=[int(s) for s in starts[1:-1]],
    )


def _with_rows(tracks: Tracks, rows: Sequence[tuple[str, int, dict[str, float | Track]]]) -> Tracks:
    """`tracks` with further layers; keys left out are 0 (a, squash and h: 1)."""
    shape = tracks.camera["cx"].shape
    full = {"a": 1.0, "squash": 1.0, "h": 1.0}
    more = {
        k: [np.broadcast_to(np.asarray(r.get(k, full.get(k, 0.0)), np.float32), shape) for _, _, r in rows]
        for k in LAYER_KEYS
    }
    return replace(
        tracks,
        layers={k: np.concatenate([v, np.stack(more[k])]) if rows else v for k, v in tracks.layers.items()},
        names=tracks.names + [name for name, _, _ in rows],
        actor=tracks.actor + [index for _, index, _ in rows],
    )


def _seconds(tracks: Tracks) -> Track:
    return (np.arange(len(tracks.camera["cx"])) / tracks.fps).astype(np.float32)


def _shots(shots: tuple[Scene, ...], atlas: Drawings, aspect: float) -> Tracks:
    parts = [choreograph(shot, atlas, aspect) for shot in shots]
    return parts[0] if len(parts) == 1 else join(parts)


def _puppy(shots: tuple[Scene, ...], atlas: Drawings, aspect: float) -> Tracks:
    """Pops out, then hops for joy; snow stays on its nose for a while."""
    tracks = choreograph(shots[0], atlas, aspect)
    t = _seconds(tracks)
    out = next(e["frame"] for e in tracks.events if e["name"] == "pop_out") / tracks.fps
    after = np.clip(t - out - 0.6, 0, None)
    height = tracks.layers["h"][0]
    jump = 0.22 * height * np.abs(np.sin(after * 5.2)) * (after > 0)
    tracks.layers["Y"][0] += jump.astype(np.float32)
    tracks.layers["rot"][0] += (0.05 * np.sin(after * 5.2) * (after > 0)).astype(np.float32)
    if SNOW not in atlas.codes:
        return tracks
    looks = np.where(tracks.layers["flip"][0] > 0.5, 1.0, -1.0)
    row = {
        "X": tracks.layers["X"][0] + looks * 0.44 * height,
        "Y": tracks.layers["Y"][0] + 0.66 * height,
        "Z": tracks.layers["Z"][0] - 0.03,
        "h": 0.13 * height,
        "squash": np.float32(0.6) + 0 * height,
        "a": np.clip((3.4 - t) / 0.4, 0, 1) * (tracks.layers["Y"][0] > -0.6 * height),
        "tex": atlas.frame_index(SNOW, t),
    }
    return _with_rows(tracks, [(SNOW, 0, {k: np.asarray(v, np.float32) for k, v in row.items()})])


def _wakes(shots: tuple[Scene, ...], atlas: Drawings, aspect: float) -> Tracks:
    """The cat comes, the sleeper turns over, then sits up awake: another drawing takes her place."""
    tracks = choreograph(shots[0], atlas, aspect)
    t = _seconds(tracks)
    bed = tracks.names.index(SLEEPER)
    wake = next(e["frame"] for e in tracks.events if e["name"] == "wake")
    turn = max(wake - round(0.6 * tracks.fps), 1)
    layers = tracks.layers
    layers["squash"][bed] = 1 + 0.02 * np.sin(t * 2.4)
    layers["Y"][bed] = 0
    layers["flip"][bed, turn:] = 1 - layers["flip"][bed, turn:]
    rolled = np.exp(-(((t - turn / tracks.fps) / 0.15) ** 2))
    layers["squash"][bed] -= (0.15 * rolled).astype(np.float32)
    up = np.arange(len(t)) >= wake
    since = np.clip(t - wake / tracks.fps, 0, None)
    layers["a"][bed] = ~up
    hop = 0.18 * np.sin(np.pi * np.clip(since / 0.35, 0, 1))
    row: dict[str, float | Track] = {
        "X": layers["X"][bed],
        "Y": (hop * layers["h"][bed]).astype(np.float32),
        "Z": layers["Z"][bed],
        "h": 1.05 * layers["h"][bed],
        "a": up.astype(np.float32),
        "tex": atlas.frame_index(AWAKE, since).astype(np.float32),
    }
    events = [*tracks.events, {"name": "turn_over", "frame": turn, "actor": 1}]
    return _with_rows(replace(tracks, events=sorted(events, key=lambda e: e["frame"])), [(AWAKE, 1, row)])


def _bites(shots: tuple[Scene, ...], atlas: Drawings, aspect: float) -> Tracks:
    """Four bites at the right edge; what is gone stays gone."""
    tracks = choreograph(shots[0], atlas, aspect)
    frames = len(tracks.camera["cx"])
    bites = [round(share * frames) for share in (0.18, 0.40, 0.62, 0.82)]
    radius = np.zeros(frames, np.float32)
    t = _seconds(tracks)
    for frame, size in zip(bites, (0.16, 0.24, 0.32, 0.40), strict=True):
        radius[frame:] = size
        shake = np.exp(-np.clip(t - frame / tracks.fps, 0, None) * 9) * (t >= frame / tracks.fps)
        tracks.layers["rot"][0] += (0.10 * shake * np.sin(t * 30)).astype(np.float32)
    tracks.layers["bx"][0], tracks.layers["by"][0], tracks.layers["br"][0] = 0.92, 0.36, radius
    return replace(tracks, events=[{"name": "bite", "frame": frame, "actor": 0} for frame in bites])


def _windy(shots: tuple[Scene, ...], atlas: Drawings, aspect: float) -> Tracks:
    """Leaves fly past, so that the wind is seen whether the box moves or not."""
    scene = shots[0]
    tracks = choreograph(scene, atlas, aspect)
    t = _seconds(tracks)
    rng = np.random.default_rng(scene.seed)
    way = -1.0 if scene.actors[0].direction == "left" else 1.0
    view = float(-tracks.camera["cz"][0] / tracks.camera["focal"][0])
    rows: list[tuple[str, int, dict[str, float | Track]]] = []
    for i in range(6):
        speed, start, high = rng.uniform(0.7, 1.1), rng.uniform(-1.6, 0.4), rng.uniform(0.1, 0.6)
        leaf = LEAVES[i % 2]
        row: dict[str, float | Track] = {
            "X": (way * view * aspect * (start + speed * t / 1.6)).astype(np.float32),
            "Y": (view * (high + 0.08 * np.sin(t * 5 + i))).astype(np.float32),
            "Z": float(rng.uniform(0.2, 1.0)),
            "h": 0.09 * view,
            "rot": (-way * 5 * t + i).astype(np.float32),
            "tex": atlas.frame_index(leaf, 0 * t).astype(np.float32),
        }
        rows.append((f"prop:{leaf}", -1, row))
    return _with_rows(tracks, rows)


SCENES: dict[str, Story] = {
    "neon_walk": Story(
        "neon_walk",
        (
            Scene(
                (Actor(WOMAN, action="walk", direction="right"),),
                "neon_street",
                "night",
                "rain",
                "full",
                "follow",
                seed=3,
            ),
            Scene(
                (Actor(WOMAN, action="walk", direction="right"),),
                "neon_street",
                "night",
                "rain",
                "close_up",
                "follow",
                seed=3,
            ),
        ),
        _shots,
    ),
    "puppy_in_snow": Story(
        "puppy_in_snow",
        (
            Scene(
                (Actor(DOG, action="pop_out_of_snow", direction="right"),),
                "snowy_field",
                "noon",
                "snow",
                "medium",
                seed=5,
            ),
        ),
        _puppy,
    ),
    "cat_wakes_woman": Story(
        "cat_wakes_woman",
        (
            Scene(
                (Actor(CAT, action="walk", direction="right"), Actor(SLEEPER, action="rest")),
                "bedroom",
                "morning",
                shot="full",
                interaction="wake_up",
                seed=2,
            ),
        ),
        _wakes,
    ),
    "cookie_bites": Story(
        "cookie_bites",
        (Scene((Actor(COOKIE, action="rest"),), "living_room", "noon", shot="close_up", seed=1),),
        _bites,
    ),
    "box_empty": Story(
        "box_empty",
        (
            Scene(
                (Actor(BOX, action="blown_away", direction="right"),),
                "meadow",
                "noon",
                "wind",
                "full",
                seed=4,
            ),
        ),
        _windy,
    ),
    "box_heavy": Story(
        "box_heavy",
        (Scene((Actor(BOX, action="rest", direction="right"),), "meadow", "noon", "wind", "full", seed=4),),
        _windy,
    ),
    "egg_on_head": Story(
        "egg_on_head",
        (
            Scene(
                (Actor(EGG, action="fall"), Actor(DOG_FACE, action="rest")),
                "living_room",
                "noon",
                shot="full",
                interaction="crack_on_head",
                seed=6,
            ),
        ),
        _shots,
    ),
    "left_and_right": Story(
        "left_and_right",
        (
            Scene(
                (Actor(CAT, action="stand"), Actor(DOG, action="stand"), Actor(PENGUIN, action="stand")),
                "meadow",
                "noon",
                shot="full",
                relation="left_of",
                seed=8,
            ),
        ),
        _shots,
    ),
    "behind_and_back": Story(
        "behind_and_back",
        (
            Scene(
                (Actor(CAT, action="walk", direction="right"), Actor("1f68c", action="rest")),
                "meadow",
                "noon",
                shot="full",
                interaction="pass_behind",
                seed=9,
            ),
        ),
        _shots,
    ),
}

CODES = tuple(
    dict.fromkeys(
        [a.code for story in SCENES.values() for s in story.shots for a in s.actors]
        + [AWAKE, ZZZ, SNOW, "splat", *LEAVES]
    )
)
"""Drawings these scenes need, besides the props of their places."""
