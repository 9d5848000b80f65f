"""Paths, framing and physics against numbers worked out by hand, with a stand-in for the atlas."""

from __future__ import annotations

import random

import numpy as np
import pytest

from longtake.world.cameras import SHOTS
from longtake.world.choreography import PROPS, choreograph
from longtake.world.concepts import concept, concepts, grammar
from longtake.world.interactions import INTERACTIONS
from longtake.world.motion import TRAVELS, bounce
from longtake.world.sampler import PRESETS, sample_scene
from longtake.world.scene import LAYER_KEYS, Actor, Scene, Tracks
from longtake.world.scenes import SCENES

DOG, CAT, PENGUIN, WOMAN, CAR, BUS, BALL, COOKIE, BOX = (
    "1f415", "1f408", "1f427", "1f6b6-200d-2640", "1f697", "1f68c", "26bd", "1f36a", "1f4e6",
)  # fmt: skip


class PaperAtlas:
    """An atlas without pictures: boxes from concepts.json, frame index = time in 24ths of a second."""

    codes = (*concepts(), *(c for props in PROPS.values() for c in props), "splat", "26aa")

    def bbox(self, code: str) -> tuple[float, float, float, float]:
        return concepts()[code].bbox if code in concepts() else (0.2, 0.1, 0.8, 0.9)

    def aspect(self, code: str) -> float:
        x0, y0, x1, y1 = self.bbox(code)
        return (x1 - x0) / (y1 - y0)

    def frame_index(
        self, code: str, seconds: np.ndarray, speed: float | np.ndarray = 1.0, phase: float = 0.0
    ) -> np.ndarray:
        frames = concept(code).frames if code in concepts() else 1
        return np.floor(np.asarray(seconds) * 24 % frames).astype(np.float32)


ATLAS = PaperAtlas()


def boxes(tracks: Tracks, aspect: float) -> np.ndarray:
    """x0 y0 x1 y1 of every layer and frame, [L T 4], in frame heights."""
    k, c = tracks.layers, tracks.camera
    dx, dz = k["X"] - c["cx"], k["Z"] - c["cz"]
    across = dx * np.cos(c["yaw"]) - dz * np.sin(c["yaw"])
    scale = c["focal"] / (dx * np.sin(c["yaw"]) + dz * np.cos(c["yaw"]))
    foot = 0.5 + c["focal"] * np.tan(c["pitch"]) + scale * (c["cy"] - k["Y"])
    tall = scale * k["h"] * k["squash"]
    ratio = np.array([ATLAS.aspect(n.removeprefix("prop:")) for n in tracks.names])[:, None]
    turn, half = np.abs(np.sin(k["rot"])), ratio * scale * k["h"] / 2
    if any(n in (BALL, COOKIE) for n in tracks.names):
        turn = turn * 0  # a disc has the same box however it is turned
    wide, high = half * (1 - turn) + turn * np.maximum(half, tall / 2), tall / 2
    x, y = aspect / 2 + scale * across, foot - high
    return np.stack([x - wide, y - high, x + wide, y + high], -1)


def one(code: str, action: str, direction: str = "", **scene: object) -> Scene:
    return Scene(
        (Actor(code, action=action, direction=direction),), **({"place": "meadow", "seed": 3} | scene)
    )  # type: ignore[arg-type]


def two(interaction: str, a: str, b: str, direction: str = "right") -> Scene:
    cast = (Actor(a, action="stand", direction=direction), Actor(b, action="rest"))
    return Scene(cast, "meadow", shot="full", interaction=interaction, seed=5)


def test_same_seed_same_tracks() -> None:
    first, again = (choreograph(one(DOG, "walk"), ATLAS, 1.6) for _ in "ab")
    assert all(np.array_equal(first.layers[k], again.layers[k]) for k in LAYER_KEYS)
    other = choreograph(one(DOG, "walk", seed=4), ATLAS, 1.6)
    assert not np.array_equal(first.layers["X"][0], other.layers["X"][0])


@pytest.mark.parametrize("code", [DOG, CAR, PENGUIN])
@pytest.mark.parametrize(("direction", "sign"), [("left", -1), ("right", 1)])
def test_it_goes_and_looks_where_the_words_say(code: str, direction: str, sign: int) -> None:
    action = "drive" if code == CAR else "walk"
    tracks = choreograph(one(code, action, direction), ATLAS, 5 / 3)
    x = boxes(tracks, 5 / 3)[0, :, ::2].mean(-1)
    assert sign * (x[-1] - x[0]) / (5 / 3) > 0.35
    mirrored = {"left": sign > 0, "right": sign < 0, "front": False}[concept(code).facing]
    assert (tracks.layers["flip"][0] == mirrored).all()


@pytest.mark.parametrize("aspect", [5 / 3, 1.0, 0.6])
def test_pocket_subjects_stay_in_the_picture(aspect: float) -> None:
    rng = random.Random(1)
    for _ in range(150):
        scene = sample_scene(rng, PRESETS["pocket"])
        x0, y0, x1, y1 = np.moveaxis(boxes(choreograph(scene, ATLAS, aspect), aspect)[0], -1, 0)
        seen = (
            (x1.clip(0, aspect) - x0.clip(0, aspect))
            * (y1.clip(0, 1) - y0.clip(0, 1))
            / ((x1 - x0) * (y1 - y0))
        )
        assert seen.min() > (0.75 if scene.shot == "close_up" else 0.8), scene


@pytest.mark.parametrize("shot", list(SHOTS))
def test_shots_set_the_size(shot: str) -> None:
    tall = boxes(choreograph(one(DOG, "stand", shot=shot), ATLAS, 5 / 3), 5 / 3)[0]
    assert (tall[:, 3] - tall[:, 1]).mean() == pytest.approx(SHOTS[shot], rel=0.06)


def test_rolling_does_not_slip() -> None:
    tracks = choreograph(one(BALL, "roll", "right"), ATLAS, 5 / 3)
    way, turned = np.ptp(tracks.layers["X"][0]), tracks.layers["rot"][0]
    assert turned[0] - turned[-1] == pytest.approx(way / (tracks.layers["h"][0, 0] / 2), rel=1e-3)


def test_bounce_is_ballistic() -> None:
    seconds = np.arange(0, 4, 0.001, dtype=np.float32)
    y, landings = bounce(seconds, 1.0, 0.5, 0.6)
    assert landings[:2] == pytest.approx([0.5, 0.5 + 2 * 0.5 * 0.6])
    assert y[(seconds > 0.5) & (seconds < 1.1)].max() == pytest.approx(0.36, abs=1e-3), (
        "height goes with e squared"
    )


def test_collision_keeps_momentum() -> None:
    """A heavy car pushes a box on and goes on; a box rebounds from a heavy car."""
    for a, b, goes_on in ((CAR, BOX, True), (BOX, CAR, False)):
        tracks = choreograph(two("bump_into", a, b), ATLAS, 5 / 3)
        hit = next(e["frame"] for e in tracks.events if e["name"] == "collide")
        x = tracks.layers["X"]
        before = (x[0, hit - 1] - x[0, hit - 4]) / 3
        assert before > 0 and (x[0, hit + 3] - x[0, hit] > 0) == goes_on
        assert x[1, -1] > x[1, 0], "what is hit moves on"
        assert x[1, 0] == x[1, hit - 1], "and not before"


def test_bites_stay() -> None:
    tracks = choreograph(two("eat", DOG, COOKIE), ATLAS, 5 / 3)
    radius = tracks.layers["br"][1]
    assert radius[0] == 0 and radius[-1] > 0.2 and (np.diff(radius) >= 0).all()
    assert [e["name"] for e in tracks.events] == ["bite"] * 3


def test_waking_ends_the_sleep() -> None:
    tracks = choreograph(two("wake_up", CAT, DOG), ATLAS, 5 / 3)
    wake = next(e["frame"] for e in tracks.events if e["name"] == "wake")
    letters = tracks.layers["a"][tracks.names.index("1f4a4")]
    assert letters[: wake - 1].all() and not letters[wake + 1 :].any()
    assert tracks.layers["squash"][1, 0] < 0.8 < 0.95 < tracks.layers["squash"][1, -1]


def test_an_egg_is_whole_until_it_cracks() -> None:
    tracks = choreograph(two("crack_on_head", "1f95a", DOG), ATLAS, 5 / 3)
    crack = next(e["frame"] for e in tracks.events if e["name"] == "crack")
    egg, broken = tracks.layers["a"][0], tracks.layers["a"][tracks.names.index("splat")]
    assert egg[: crack - 1].all() and not egg[crack + 1 :].any()
    assert np.array_equal(egg + broken, np.ones_like(egg))


@pytest.mark.parametrize(("relation", "sign"), [("left_of", -1), ("right_of", 1)])
def test_sides_hold_in_every_frame(relation: str, sign: int) -> None:
    cast = (Actor(CAT, action="walk", direction="left"), Actor(PENGUIN, action="stand"))
    for seed in range(10):
        x = choreograph(Scene(cast, "meadow", relation=relation, seed=seed), ATLAS, 5 / 3).layers["X"]
        assert (sign * (x[0] - x[1]) > 0).all()


def test_front_and_behind() -> None:
    for relation, nearer in (("in_front_of", True), ("behind", False)):
        cast = (Actor(CAT, action="stand"), Actor(BUS, action="rest"))
        z = choreograph(Scene(cast, "meadow", relation=relation), ATLAS, 1.0).layers["Z"]
        assert ((z[0] < z[1]) == nearer).all()


def test_passing_behind_is_hidden_and_seen_again() -> None:
    tracks = choreograph(two("pass_behind", CAT, BUS), ATLAS, 5 / 3)
    b = boxes(tracks, 5 / 3)
    overlap = (np.minimum(b[0, :, 2], b[1, :, 2]) - np.maximum(b[0, :, 0], b[1, :, 0])) / (
        b[0, :, 2] - b[0, :, 0]
    )
    assert overlap[0] < 0.5 and overlap[-1] < 0.5 and overlap.max() > 0.95
    assert (tracks.layers["Z"][0] > tracks.layers["Z"][1]).all()


def test_follow_keeps_the_subject_still_in_the_frame() -> None:
    tracks = choreograph(one(CAR, "drive", "right", camera="follow"), ATLAS, 5 / 3)
    x = boxes(tracks, 5 / 3)[0, :, ::2].mean(-1)
    assert np.ptp(x) < 0.25 and np.ptp(tracks.camera["cx"]) > 1.0


@pytest.mark.parametrize(
    ("camera", "key", "sign"),
    [("pan_right", "yaw", 1), ("pan_left", "yaw", -1), ("tilt_up", "pitch", 1), ("dolly_in", "cz", 1),
     ("dolly_out", "cz", -1), ("truck_left", "cx", -1), ("crane_up", "cy", 1), ("zoom_in", "focal", 1),
     ("orbit_left", "cx", -1)],
)  # fmt: skip
def test_camera_moves(camera: str, key: str, sign: int) -> None:
    track = choreograph(one(DOG, "stand", camera=camera), ATLAS, 5 / 3).camera[key]
    assert sign * (track[-1] - track[0]) > 0.02 and (sign * np.diff(track) >= -1e-6).all()
    assert np.ptp(choreograph(one(DOG, "stand"), ATLAS, 5 / 3).camera[key]) == 0


def test_every_action_and_interaction_plays() -> None:
    for action in grammar()["actions"]:
        tracks = choreograph(one(BOX, action, "right"), ATLAS, 1.0)
        assert all(
            np.isfinite(v).all() and v.shape == (len(tracks.names), 48) for v in tracks.layers.values()
        ), action
        moved = np.ptp(tracks.layers["X"][0])
        assert moved > 0.1 or action not in TRAVELS, action
    assert set(INTERACTIONS) == set(grammar()["interactions"])
    for name in INTERACTIONS:
        tracks = choreograph(two(name, DOG, BOX), ATLAS, 1.0)
        assert all(np.isfinite(v).all() for v in tracks.layers.values()), name


def test_turtle_never_hides_while_it_walks() -> None:
    tex = choreograph(one("1f422", "walk", "left"), ATLAS, 1.6).layers["tex"][0]
    assert not ((tex > 26) & (tex < 65)).any() and len(set(tex)) > 5


def test_props_stand_behind_and_are_no_actors() -> None:
    for place in PROPS:
        tracks = choreograph(one("1f333", "sway", place=place), ATLAS, 5 / 3)
        props = [i for i, actor in enumerate(tracks.actor) if actor < 0]
        assert len(props) <= 5 and "prop:1f333" not in tracks.names
        assert all(tracks.layers["Z"][i].min() > 1.5 for i in props)


@pytest.mark.parametrize("name", list(SCENES))
def test_stories_play(name: str) -> None:
    story = SCENES[name]
    tracks = story.tracks(ATLAS, 5 / 3)
    frames = sum(shot.frames for shot in story.shots)
    assert all(
        np.isfinite(v).all() and v.shape == (len(tracks.names), frames) for v in tracks.layers.values()
    )
    assert len(tracks.cuts) == len(story.shots) - 1
    assert all(len(story.captions[language]) >= 2 for language in ("en", "zh"))
