"""Scenes rendered while a run trains: the same for the same seed, renewed as they are used, resumed where they were."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longtake.errors import RequestError
from longtake.model.checkpoint import Models
from longtake.train.data import PIECE, ClipMix, Mixture, character_boxes, coverage
from longtake.train.live import LiveClips, LivePieces, LivePlan, Rehearsal, play
from longtake.train.loop import Randomness
from longtake.train.pocket import LIVE_SHARES, PocketPlan, train_pocket
from longtake.train.render import atlas_of, encode_clips, to_bytes
from longtake.world.sampler import PRESETS, is_held_out
from longtake.world.stage import Stage

CPU = torch.device("cpu")
SIZE = (128, 64)
PLAN = LivePlan(frames=8, workers=0, keep=4, block=2, reuse=2.0)


def test_blocks_are_the_same_whoever_plays_them_and_hold_no_scene_that_is_held_out() -> None:
    ahead = Rehearsal(replace(PLAN, workers=1), 2.0, twins=True)
    for number in (0, 1, 5, 2):  # 5 and 2: a run that went on from elsewhere
        assert [s for s, _ in ahead.block(number)] == [s for s, _ in play(PLAN, 2.0, True, number)]
    scenes = [scene for number in range(40) for scene, _ in play(PLAN, 2.0, False, number)]
    assert not any(is_held_out(scene, PRESETS["pocket"].held_out_every) for scene in scenes)
    assert len({scene.seed for scene in scenes}) == len(scenes)
    one, other = (scene for scene, _ in play(PLAN, 2.0, True, 3))
    assert one != other and one.seed == other.seed, "twins"


def test_clips_are_what_rendering_each_alone_and_encoding_it_would_give(models: Models) -> None:
    live = LiveClips(PLAN, models.config, models.vae, SIZE)
    assert live.clips.latents.shape == (4, 16, 2, *models.config.grid(*SIZE)) and len(live.clips.scenes) == 4
    assert live.clips.twins() == [0, 2]
    scene, tracks = play(PLAN, 2.0, True, 1)[0]
    stage = Stage(
        atlas_of(None, "pocket"), SIZE[1] // models.config.vae.upscale, SIZE[0] // models.config.vae.upscale
    )
    frames = to_bytes(stage.render([tracks]))
    cover = to_bytes(coverage(character_boxes(stage, tracks), *models.config.grid(*SIZE)))
    alone = encode_clips(frames, cover[None], models.vae, random.Random(0))
    assert live.clips.scenes[2] == scene
    assert (alone["latents"][0].float() - live.clips.latents[2].float()).abs().max() < 0.02
    assert torch.equal(alone["masks"][0], live.clips.masks[2])


def test_scenes_make_room_once_they_were_drawn_often_enough_and_a_run_goes_on_where_it_was(
    models: Models,
) -> None:
    def mix() -> tuple[ClipMix, LiveClips]:
        live = LiveClips(PLAN, models.config, models.vae, SIZE)
        mixture = Mixture(clips=2, images=2, early_images=0.0, late_images=0.0, twins=0.5, slots=0.0)
        return ClipMix([live.clips], mixture, Randomness(0, CPU), rings=[live.ring]), live

    whole, live = mix()
    before = live.clips.latents.clone()
    batches = [whole.draw(0.0) for _ in range(2)]  # 4 samples of 2 uses each: one block of two
    assert not torch.equal(live.clips.latents[:2], before[:2]) and torch.equal(
        live.clips.latents[2:], before[2:]
    )
    state = json.loads(json.dumps(whole.state()))
    rng = whole._rng.bit_generator.state
    batches += [whole.draw(0.0) for _ in range(5)]
    assert all(batch.latents.isfinite().all() for batch in batches)

    later, _ = mix()
    later.restore(state)
    later._rng.bit_generator.state = rng
    for batch in batches[2:]:
        again = later.draw(0.0)
        assert torch.equal(again.latents, batch.latents) and again.scenes == batch.scenes


def test_pieces_come_as_they_do_from_disk() -> None:
    pieces = LivePieces(replace(PLAN, frames=24), [(64, 64), SIZE], CPU)
    frames, boxes = pieces.draw(3)
    assert frames.shape == (3, 3, PIECE, 64, 64) and boxes.shape == (3, PIECE, 4)
    assert -1 <= frames.min() < frames.max() <= 1
    state = json.loads(json.dumps(pieces.state()))
    wide = [pieces.draw(3)[0] for _ in range(3)]
    assert wide[0].shape[-2:] == (64, 128), "sizes take turns"
    again = LivePieces(replace(PLAN, frames=24), [(64, 64), SIZE], CPU)
    again.restore(state)
    assert all(torch.equal(again.draw(3)[0], frames) for frames in wide)


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"block": 3}, {"keep": 5}, {"reuse": 0.5}, {"frames": 4}):
        with pytest.raises(RequestError):
            replace(PLAN, **wrong)


@pytest.mark.slow
def test_the_whole_plan_with_scenes_rendered_meanwhile(tmp_path: Path) -> None:
    plan = PocketPlan(
        tmp_path / "run", minutes=0.5, preset="xs", sizes=((128, 128),), workers=0, shard=4, batch=2, compile=False,
        live=True,
    )  # fmt: skip
    assert dict(plan.shares) == dict(LIVE_SHARES)
    assert train_pocket(plan).exists()
