"""Shards are whole and reproducible, boxes become masks, batches come in a saved order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.errors import RequestError
from longtake.model.tensorfile import read_safetensors
from longtake.train.data import (
    PIECE,
    ClipMix,
    Clips,
    Mixture,
    Order,
    Pieces,
    coverage,
    shards,
    shrink,
    subject_box,
    window,
)
from longtake.train.loop import Randomness
from longtake.train.render import RenderPlan, render_groups
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.scene import Actor, Scene


def test_coverage_measures_the_covered_share_of_each_cell() -> None:
    boxes = torch.tensor([[[0.25, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0]]])  # t l 4
    cells = coverage(boxes, 2, 2)
    assert torch.allclose(cells, torch.tensor([[[0.5, 1.0], [0.0, 0.0]]]))


def test_order_visits_each_item_once_a_round_and_resumes() -> None:
    order = Order(5, seed=3)
    walk = order.take(10)
    assert sorted(walk[:5]) == sorted(walk[5:]) == list(range(5))
    assert walk[:5] != walk[5:]
    later = Order(5, seed=3)
    later.taken = 4
    assert later.take(6) == walk[4:]


def test_shrink_averages_areas() -> None:
    frames = torch.arange(16.0).reshape(1, 1, 1, 4, 4)
    assert shrink(frames, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_window_and_subject_box_follow_the_frames() -> None:
    atlas = Atlas.load(None)
    code = "1f436" if "1f436" in atlas.codes else atlas.codes[0]
    tracks = choreograph(Scene(actors=(Actor(code),), place="meadow"), atlas, 1.0)
    part = window(tracks, 5, PIECE)
    assert all(value.shape[1] == PIECE for value in part.layers.values())
    assert (part.layers["X"] == tracks.layers["X"][:, 5 : 5 + PIECE]).all()
    boxes = torch.zeros(PIECE, len(part.names), 4)
    first = list(part.actor).index(0)
    boxes[:, first] = torch.tensor([0.1, 0.2, 0.5, 0.6])
    assert torch.allclose(subject_box(boxes, part), torch.tensor([0.1, 0.2, 0.5, 0.6]).expand(PIECE, 4))


def test_rendering_is_resumable_and_the_same_each_time(tmp_path: Path) -> None:
    plan = RenderPlan(tmp_path / "a", (64, 64), 3, shard=2, workers=0)
    files = render_groups(plan)
    assert [file.exists() for file in files] == [True, True]
    before = files[0].stat().st_mtime_ns
    kept = read_safetensors(files[1])[0]
    files[1].unlink()
    render_groups(plan)
    again = read_safetensors(files[1])[0]
    assert files[0].stat().st_mtime_ns == before
    assert all(torch.equal(kept[key], again[key]) for key in kept)
    frames, boxes = Pieces(tmp_path / "a", [(64, 64)]).draw(3)
    assert frames.shape == (3, 3, PIECE, 64, 64) and boxes.shape == (3, PIECE, 4)
    assert -1 <= frames.min() < frames.max() <= 1
    assert (boxes[..., 2] > boxes[..., 0]).any()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="64x64"):
        shards(tmp_path, "clips", (64, 64), "train")
    with pytest.raises(RequestError, match="train, held"):
        RenderPlan(tmp_path, (64, 64), 1, split="test")


def test_image_and_slot_batches(tmp_path: Path) -> None:
    scene = Scene(actors=(Actor("1f436"),), place="meadow")
    clips = Clips(
        latents=torch.zeros(2, 4, 12, 2, 2).half(),
        masks=torch.zeros(2, 12, 2, 2, dtype=torch.uint8),
        stills=torch.ones(2, 2, 4, 2, 2).half(),
        still_masks=torch.full((2, 2, 2, 2), 255, dtype=torch.uint8),
        scenes=[scene, scene],
    )
    slotted = clips.clips([1, 0], slot=True)
    assert slotted.latents.shape == (2, 4, 13, 2, 2) and slotted.masks.shape == (2, 13, 2, 2)
    assert (slotted.latents[:, :, 0] == 1).all() and (slotted.latents[:, :, 1:] == 0).all()
    image = clips.images([0], [1])
    assert image.latents.shape == (1, 4, 1, 2, 2) and (image.masks == 1).all()


def test_twins_come_in_pairs_and_the_walk_through_them_resumes() -> None:
    alone, lead = Scene(actors=(Actor("1f436"),), place="meadow", seed=1), Actor("1f436", direction="left")
    pair = [Scene(actors=(a,), place="meadow", seed=2) for a in (lead, replace(lead, direction="right"))]
    scenes = [alone, *pair, replace(alone, seed=3)]
    clips = Clips(
        latents=torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 4, 12, 2, 2).half(),
        masks=torch.zeros(4, 12, 2, 2, dtype=torch.uint8),
        stills=torch.ones(4, 2, 4, 2, 2).half(),
        still_masks=torch.zeros(4, 2, 2, 2, dtype=torch.uint8),
        scenes=scenes,
    )
    assert clips.twins() == [1]
    mixture = Mixture(clips=4, early_images=0, slots=0, twins=1)
    mix = ClipMix([clips], mixture, Randomness(0, torch.device("cpu")))
    batch = mix.draw(0.0)
    assert batch.twins and batch.latents[:, 0, 0, 0, 0].tolist() == [1, 2, 1, 2]
    assert [s.actors[0].direction for s in batch.scenes[:2]] == ["left", "right"]
    again = ClipMix([clips], mixture, Randomness(0, torch.device("cpu")))
    again.restore(mix.state())
    assert again.state() == mix.state() and mix.state()["twins"] == [2]
    assert not ClipMix([clips], replace(mixture, twins=0), Randomness(0, torch.device("cpu"))).draw(0.0).twins
