"""Scenes that make sense, and a held-out split that leaks nothing."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.concepts import actions_of, belongs, concept, grammar, resting
from longtake.world.motion import TRAVELS
from longtake.world.sampler import (
    PRESETS,
    codes,
    fits,
    holds_out_action,
    holds_out_place,
    is_held_out,
    sample_scene,
    twin,
)
from longtake.world.scene import Actor, Scene


@pytest.mark.parametrize("preset", ["pocket", "probes", "full"])
def test_training_never_sees_what_is_held_out(preset: str) -> None:
    rng, vocabulary = random.Random(0), PRESETS[preset]
    assert not any(is_held_out(sample_scene(rng, vocabulary)) for _ in range(3000))
    assert all(is_held_out(sample_scene(rng, vocabulary, held_out=True)) for _ in range(500))


def test_the_pocket_split() -> None:
    """Five pairs of subject and place, three of subject and action; fixed, since weights depend on it."""
    pocket = PRESETS["pocket"]
    places = [(c, p) for c in pocket.subjects for p in pocket.places
              if belongs(concept(c), p) and holds_out_place(c, p)]  # fmt: skip
    assert places == [("1f408", "pine_forest"), ("1f6b6-200d-2640", "living_room"), ("1f427", "meadow"),
                      ("1f3c0", "neon_street"), ("1f36a", "meadow")]  # fmt: skip
    actions = [(c, a) for c in pocket.subjects for a in pocket.actions
               if a in actions_of(concept(c)) and holds_out_action(c, a)]  # fmt: skip
    assert actions == [("1f418", "run"), ("1f3c0", "spin"), ("1f36a", "float")]
    assert not any(holds_out_action(c, resting(concept(c)) or "walk") for c in pocket.subjects)


@pytest.mark.parametrize("preset", ["pocket", "probes", "full"])
def test_scenes_make_sense(preset: str) -> None:
    rng, vocabulary = random.Random(1), PRESETS[preset]
    for _ in range(2000):
        scene = sample_scene(rng, vocabulary)
        here, lead = grammar()["places"][scene.place], scene.actors[0]
        assert scene.weather in here["weather"] and scene.time in here["times"]
        assert all(belongs(concept(a.code), scene.place) for a in scene.actors)
        assert len({a.code for a in scene.actors}) == len(scene.actors)
        assert len(scene.actors) == 1 + bool(scene.relation or scene.interaction)
        if not scene.interaction:
            assert lead.action in actions_of(concept(lead.code)) and fits(
                concept(lead.code), lead.action, scene.place
            )
        if scene.camera == "follow":
            assert lead.action in TRAVELS and lead.direction in ("left", "right")
        if scene.shot == "close_up":
            assert scene.camera == "static" and lead.action not in TRAVELS


def test_pocket_shares() -> None:
    rng = random.Random(2)
    scenes = [sample_scene(rng, PRESETS["pocket"]) for _ in range(4000)]
    assert {s.actors[0].code for s in scenes} == set(PRESETS["pocket"].subjects)
    assert {s.actors[0].action for s in scenes} == set(PRESETS["pocket"].actions)
    assert {s.place for s in scenes} == set(PRESETS["pocket"].places)
    assert 0.08 < sum(len(s.actors) == 2 for s in scenes) / 4000 < 0.17
    assert 0.55 < sum(s.camera == "static" for s in scenes) / 4000 < 0.75


def test_sampling_is_cheap_and_repeatable() -> None:
    draw = lambda seed: [sample_scene(random.Random(seed), PRESETS["full"]) for _ in range(5)]  # noqa: E731
    assert draw(3) == draw(3) and draw(3) != draw(4)
    rng, begin = random.Random(0), time.process_time()
    for _ in range(1000):
        sample_scene(rng, PRESETS["pocket"])
    assert time.process_time() - begin < 1.0


def test_scene_graph_survives_json() -> None:
    scene = sample_scene(random.Random(9), PRESETS["full"])
    assert Scene.from_dict(scene.as_dict()) == scene
    with pytest.raises(TypeError):
        Scene.from_dict({"actors": [], "place": "moon", "nonsense": 1})
    assert Scene((Actor("26bd"),), "moon").as_dict()["actors"][0]["code"] == "26bd"


def test_codes_lists_subjects_and_props() -> None:
    needed = codes(PRESETS["pocket"])
    assert set(PRESETS["pocket"].subjects) <= set(needed) and {"1f332", "neon-0", "1f6cb"} <= set(needed)
    assert "splat" in codes(PRESETS["full"])


@pytest.mark.parametrize("preset", ["pocket", "probes", "full"])
def test_a_twin_differs_in_one_word_and_stays_on_its_side_of_the_split(preset: str) -> None:
    vocabulary, rng, flips = PRESETS[preset], random.Random(11), 0
    for number in range(300):
        held = bool(number % 2)
        scene = sample_scene(rng, vocabulary, held_out=held)
        other = twin(rng, scene, vocabulary)
        assert other.seed == scene.seed and is_held_out(other) == is_held_out(scene) == held
        told = [field for field in ("relation", "camera") if getattr(scene, field) != getattr(other, field)]
        lead, changed = scene.actors[0], other.actors[0]
        told += ["action"] if lead.action != changed.action else []
        told += ["direction"] if lead.action == changed.action and lead.direction != changed.direction else []
        assert len(told) == 1 and other.actors[1:] == scene.actors[1:]
        if told == ["action"] and changed.direction:
            assert changed.direction in grammar()["actions"][changed.action]["dirs"]
        flips += told[0] in ("relation", "direction")
    assert flips > 60


def test_twins_stand_on_the_same_stage() -> None:
    scene = Scene(actors=(Actor("1f415", action="walk", direction="left"),), place="meadow", seed=5)
    other = Scene(actors=(Actor("1f415", action="walk", direction="right"),), place="meadow", seed=5)
    atlas = Atlas.load(None)
    one, two = (choreograph(s, atlas, 1.5) for s in (scene, other))
    props = [row for row, actor in enumerate(one.actor) if actor < 0]
    assert props and all((one.layers[key][props] == two.layers[key][props]).all() for key in one.layers)
    assert all((one.camera[key] == two.camera[key]).all() for key in one.camera)
    lead = one.actor.index(0)
    ways = [np.ptp(t.layers["X"][lead]) * np.sign(np.diff(t.layers["X"][lead]).sum()) for t in (one, two)]
    assert ways[0] < 0 < ways[1] and ways[0] == pytest.approx(-ways[1], rel=1e-3)
