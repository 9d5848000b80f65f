"""The grader's labels are what the stage shows, and it learns from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from longtake.errors import RequestError
from longtake.judge.grader import GLOBAL, MOTION, Grader, Seen, load
from longtake.model.checkpoint import PACKAGED
from longtake.model.tensorfile import read_safetensors
from longtake.train.data import thinned
from longtake.train.grader import (
    STATES,
    Films,
    GraderPlan,
    Labels,
    Truth,
    centres,
    hidden,
    objective,
    roughen,
    train_grader,
    truth_of,
    words_of,
)
from longtake.train.loop import Budget
from longtake.train.render import RenderPlan, encode_films, render_films
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, codes
from longtake.world.scene import Actor, Scene
from longtake.world.stage import Stage

SIZE = (64, 64)
DOG, CAT, COOKIE = "1f415", "1f408", "1f36a"
WORDS = words_of(PRESETS["probes"])


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage(Atlas.load(None, codes(PRESETS["probes"])), 96, 160)


def truth(stage: Stage, scene: Scene, every: int = 1) -> Truth:
    return truth_of(stage, thinned(choreograph(scene, stage._atlas, 160 / 96), every), WORDS)


def test_three_dogs_are_three_things(stage: Stage) -> None:
    found = truth(stage, Scene((Actor(DOG, count=3, action="stand"),), "beach", seed=1))
    assert found.kinds.tolist() == [WORDS.index("subject", DOG)] * 3
    assert found.boxes.shape == (48, 3, 4) and not found.states.any()
    middles = (found.boxes[0, :, 0] + found.boxes[0, :, 2]) / 2
    assert middles.diff().abs().min() > 0.05


def test_states_follow_what_happens(stage: Stage) -> None:
    eats = truth(
        stage, Scene((Actor(DOG, action="stand"), Actor(COOKIE)), "beach", interaction="eat", seed=1)
    )
    bitten = eats.states[:, 1, STATES.index("bitten")]
    assert bitten[0] == 0 and bitten[-1] == 1 and bitten.diff().abs().sum() == 1
    wakes = truth(
        stage, Scene((Actor(DOG, action="stand"), Actor(CAT)), "beach", interaction="wake_up", seed=1)
    )
    asleep = wakes.states[:, 1, STATES.index("asleep")]
    assert asleep[0] == 1 and asleep[-1] == 0 and asleep.diff().abs().sum() == 1
    assert not eats.states[:, 0].any() and not wakes.states[:, 0].any()
    assert not wakes.states[..., STATES.index("bitten")].any()


def test_of_two_boxes_the_farther_one_is_hidden_when_it_is_covered() -> None:
    boxes = torch.tensor(
        [[[0.2, 0.2, 0.8, 0.8], [0.3, 0.3, 0.5, 0.5], [0.7, 0.7, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0]]]
    )
    away = torch.tensor([[0.0, 1.0, 1.0, 1.0]])
    assert hidden(boxes, away).tolist() == [[False, True, False, False]]
    assert not hidden(boxes, -away).any()


def test_who_passes_behind_a_bus_is_not_labelled_meanwhile(stage: Stage) -> None:
    scene = Scene(
        (Actor(CAT, direction="right"), Actor("1f68c")), "meadow", interaction="pass_behind", shot="full"
    )
    shown = truth(stage, scene).boxes[:, 0, 2] > 0
    assert not shown.all() and shown[:8].any() and shown[-8:].any()


def test_thinned_films_hold_every_third_frame_and_no_model_learns_from_them(tmp_path: Path) -> None:
    plan = RenderPlan(tmp_path, SIZE, 1, workers=0, every=3, vocabulary="probes")
    tensors, header = read_safetensors(render_films(plan)[0])
    whole, _ = read_safetensors(
        render_films(RenderPlan(tmp_path / "whole", SIZE, 1, workers=0, vocabulary="probes"))[0]
    )
    assert header["every"] == "3" and tensors["frames"].shape[2] == 16 and whole["frames"].shape[2] == 48
    with pytest.raises(RequestError, match="lacks frames"):
        encode_films(tmp_path, tmp_path / "clips", PACKAGED)
    scene = Scene.from_dict(json.loads(header["scenes"])[0])
    if scene.weather == "clear":
        assert (tensors["frames"].float() - whole["frames"][:, :, ::3].float()).abs().mean() < 1


def labels(boxes: torch.Tensor, kinds: torch.Tensor) -> Labels:
    words = {slot: torch.full((len(kinds),), -1) for slot in GLOBAL + MOTION}
    return Labels(boxes, kinds, torch.zeros(*boxes.shape[:3], len(STATES)), words)


def test_every_thing_is_a_bell_of_its_subject() -> None:
    boxes = torch.tensor([[[[0.0, 0.0, 0.25, 0.5], [0.5, 0.0, 0.75, 0.5], [0.5, 0.5, 1.0, 1.0]]]])
    maps, cells, sizes = centres(labels(boxes, torch.tensor([[1, 1, -1]])), 2, 4, 8)
    assert (maps[0, 0, 1] == 1).nonzero().tolist() == [[1, 1], [1, 5]] and not maps[0, 0, 0].any()
    assert cells[0, 0].tolist() == [9, 13, -1]
    assert sizes[0, 0, 0, 2:].exp().tolist() == pytest.approx([0.25, 0.5])


def test_the_loss_falls_when_the_right_cell_and_state_are_said() -> None:
    boxes = torch.tensor([[[[0.25, 0.25, 0.5, 0.75]]]])
    truths = labels(boxes, torch.tensor([[0]]))
    truths.states[..., 0] = 1
    maps, states, sizes = (
        torch.full((1, 1, 2, 4, 8), -6.0),
        torch.zeros(1, 1, 2, 4, 8),
        torch.zeros(1, 1, 4, 4, 8),
    )
    words = {slot: torch.zeros(1, *((1,) if slot in GLOBAL else ()), 3) for slot in GLOBAL + MOTION}
    before, _ = objective(Seen(maps, sizes, words, states), truths)
    maps[0, 0, 0, 2, 3], states[0, 0, 0, 2, 3] = 6.0, 6.0
    after, parts = objective(Seen(maps, sizes, words, states), truths)
    assert after < before - 3 and parts["states"] < 0.4
    states[0, 0, 0, 2, 3] = -6.0
    assert objective(Seen(maps, sizes, words, states), truths)[1]["states"] > 6


def test_a_third_of_the_clips_stays_as_it_is() -> None:
    frames = torch.rand(60, 1, 3, 16, 16)
    same = [
        torch.equal(a, b)
        for a, b in zip(roughen(frames, torch.Generator().manual_seed(0)), frames, strict=True)
    ]
    assert 0.15 < sum(same) / len(same) < 0.5


def test_training_goes_through_its_three_stages_and_writes_a_grader(tmp_path: Path) -> None:
    for split in ("train", "held"):
        render_films(RenderPlan(tmp_path, SIZE, 4, split=split, workers=0, every=3, vocabulary="probes"))
    plan = GraderPlan(
        data=tmp_path, out=tmp_path / "run", sizes=(SIZE,), vocabulary="probes", batch=2, held=2, word_steps=3,
        quiet=True,
    )  # fmt: skip
    films = Films(plan, WORDS, "train")
    still, at_once = films.stills(3), films.draw(2)
    assert still[0].shape == (3, 1, 3, 32, 32) and at_once[0].shape == (2, 16, 3, 32, 32)
    assert (still[1].words["action"] == -1).all() and (still[1].words["place"] >= 0).all()
    again = Films(plan, WORDS, "train")
    again.restore(json.loads(json.dumps(films.state())))
    assert torch.equal(again.stills(2)[0], films.stills(2)[0])
    outcome = train_grader(plan, Budget(steps=2))
    assert {"subject", "count", "place", "action"} <= set(outcome.values)
    grader = load(tmp_path / "run" / "grader.safetensors")
    assert grader.words.state == STATES and isinstance(grader, Grader)
