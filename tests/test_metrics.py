"""The questions are answered from readings alone, and held-out means held out."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from longtake.evaluate import metrics
from longtake.evaluate.pocket import held_out_scenes
from longtake.judge import camera
from longtake.judge.grader import Grader, Words, load, peaks, save, track
from longtake.judge.reading import Reading, read
from longtake.world.captions import full_caption
from longtake.world.concepts import grammar
from longtake.world.sampler import PRESETS, is_held_out, sample_scene
from longtake.world.scene import Actor, Scene

DOG, CAT = "1f415", "1f408"
WORDS = Words(
    (DOG, CAT), ("beach", "meadow"), ("noon", "night"), ("clear",), ("full",), ("walk",), ("left", "right"),
    ("static",), ("bitten",),
)  # fmt: skip


def reading(certainty: dict[str, float], x: dict[str, float] | None = None, **words: str) -> Reading:
    said = {"place": "beach", "time": "noon", "weather": "clear", "shot": "full", "camera": "static"}
    said |= {"action": "walk", "direction": "left"} | words
    tracks = {
        code: np.tile(np.array([(x or {}).get(code, 0.5), 0.5, 0.2, 0.3, sure]), (8, 1))
        for code, sure in certainty.items()
    }
    return Reading(said, certainty, tracks)


def test_a_subject_counts_only_when_it_is_the_likeliest_and_seen() -> None:
    scene = Scene((Actor(DOG),), "beach")
    assert metrics.subject(scene, reading({DOG: 0.8, CAT: 0.1})) is True
    assert metrics.subject(scene, reading({DOG: 0.4, CAT: 0.6})) is False
    assert metrics.subject(scene, reading({DOG: 0.2, CAT: 0.1})) is False
    assert metrics.subject(Scene((Actor("1f680"),), "beach"), reading({DOG: 0.8, CAT: 0.1})) is None
    assert metrics.alone(scene, reading({DOG: 0.8, CAT: 0.6})) is False


def test_words_are_compared_and_unasked_ones_left_out() -> None:
    scene = Scene((Actor(DOG, action="walk"),), "meadow", time="noon")
    table = metrics.score([scene], [reading({DOG: 0.9, CAT: 0.0})])
    assert table["place"] == (0.0, 1) and table["time"] == (1.0, 1) and table["action"] == (1.0, 1)
    assert table["left/right"][1] == 0 and math.isnan(table["left/right"][0])


@pytest.mark.parametrize(
    ("move", "right", "zoom", "subject"),
    [
        ("static", 0.0, 0.0, 0.3),
        ("pan_left", 0.2, 0.0, 0.2),
        ("pan_right", -0.2, 0.0, -0.2),
        ("dolly_in", 0.01, 0.12, 0.0),
        ("dolly_out", 0.0, -0.12, 0.0),
        ("follow", -0.3, 0.0, 0.02),
    ],
)
def test_camera_moves_are_measured(move: str, right: float, zoom: float, subject: float) -> None:
    """A picture that moves behind a square that moves by itself."""
    rough = torch.randn(1, 1, 12, 20, generator=torch.Generator().manual_seed(2))
    scenery = torch.nn.functional.interpolate(rough, (96, 160), mode="bicubic")
    frames, boxes = [], []
    for share in np.linspace(0, 1, 48):
        view = torch.tensor([[[1.0, 0, -2 * right * float(share)], [0, 1, 0]]]) * float(np.exp(-zoom * share))
        grid = torch.nn.functional.affine_grid(view, [1, 1, 96, 160], align_corners=False)
        frame = torch.nn.functional.grid_sample(scenery, grid, padding_mode="reflection", align_corners=False)
        x = 0.4 + subject * share
        frame[..., 40:60, round(160 * x) - 8 : round(160 * x) + 8] = 3.0
        frames.append(((frame[0].expand(3, -1, -1) + 3) * 40).clamp(0, 255).byte())
        boxes.append((x, 50 / 96, 0.1, 20 / 96))
    found = camera.movement(torch.stack(frames), np.array(boxes))
    assert found.right == pytest.approx(right, abs=0.02) and found.zoom == pytest.approx(zoom, abs=0.02)
    assert found.name(subject) == move


def test_camera_moves_that_cannot_be_told_are_not_asked() -> None:
    seen = reading({DOG: 0.9}, camera="pan_left")
    assert metrics.camera_move(Scene((Actor(DOG),), "beach", camera="pan_left"), seen) is True
    assert metrics.camera_move(Scene((Actor(DOG),), "beach"), seen) is False
    assert metrics.camera_move(Scene((Actor(DOG),), "beach", camera="orbit"), seen) is None


def test_left_and_right_are_read_from_where_things_are() -> None:
    both = {DOG: 0.9, CAT: 0.9}
    scene = Scene((Actor(DOG), Actor(CAT)), "beach", relation="left_of")
    assert metrics.left_right(scene, reading(both, {DOG: 0.2, CAT: 0.8})) is True
    assert metrics.left_right(scene, reading(both, {DOG: 0.8, CAT: 0.2})) is False
    assert metrics.left_right(scene, reading({DOG: 0.9, CAT: 0.1})) is False


def test_direction_is_the_way_a_subject_goes_under_a_still_camera() -> None:
    scene = Scene((Actor(DOG, direction="right"),), "beach")
    found = reading({DOG: 0.9})
    found.tracks[DOG][:, 0] = np.linspace(0.2, 0.7, 8)
    assert metrics.moves_as_asked(scene, found) is True
    found.tracks[DOG][:, 0] = np.linspace(0.7, 0.2, 8)
    assert metrics.moves_as_asked(scene, found) is False
    assert (
        metrics.moves_as_asked(Scene((Actor(DOG, direction="right"),), "beach", camera="follow"), found)
        is None
    )


def test_things_are_counted_in_the_middle_of_all_frames() -> None:
    scene = Scene((Actor(DOG, count=2),), "beach")
    found = reading({DOG: 0.9})
    seen = Reading(found.words, found.certainty, found.tracks, {DOG: np.array([2, 2, 1, 2, 3, 2, 2, 1])})
    assert metrics.count(scene, seen) is True
    assert metrics.count(Scene((Actor(DOG),), "beach"), seen) is False
    assert metrics.count(scene, found) is None


def test_two_that_stand_apart_are_two_peaks_and_one_that_is_wide_is_one() -> None:
    maps = torch.full((1, 1, 2, 6, 12), -6.0)
    maps[0, 0, 0, 3, 2], maps[0, 0, 0, 3, 8] = 3.0, 1.0
    maps[0, 0, 1, 3, 4:7] = torch.tensor([1.0, 2.0, 1.0])
    assert peaks(maps).sum((3, 4)).tolist() == [[[2, 1]]]


@pytest.mark.parametrize(
    ("bitten", "kept"),
    [
        ("0000111111111111", True),
        ("0000111101111111", True),  # one misreading
        ("0000111100000000", False),  # it is whole again
        ("0000000000000000", False),  # nobody bites
        ("1111111111111111", False),  # it was never whole
        ("0101010101010101", False),
    ],
)
def test_what_is_bitten_stays_bitten(bitten: str, kept: bool) -> None:
    cookie, frames = "1f36a", np.array([3.0 if c == "1" else -3.0 for c in bitten])
    path = np.tile(np.array([0.5, 0.5, 0.1, 0.1, 0.9]), (len(frames), 1))
    seen = Reading({}, {}, {cookie: path}, {}, {cookie: {"bitten": frames}})
    scene = Scene((Actor(DOG, action="stand"), Actor(cookie)), "beach", interaction="eat")
    assert metrics.stays(scene, seen) is kept
    assert metrics.stays(Scene((Actor(DOG),), "beach"), seen) is None
    doubtful = Reading({}, {}, {cookie: path}, {}, {cookie: {"bitten": 4 + frames / 3}})
    assert metrics.stays(scene, doubtful) is kept  # a little bitten from the first, more afterwards
    never = Reading({}, {}, {cookie: path}, {}, {cookie: {"bitten": frames - 6}})
    assert metrics.stays(scene, never) is False
    path[:, 4] = 0.1  # a cookie that is not there does not stay bitten
    assert metrics.stays(scene, seen) is False


def test_who_passes_behind_comes_out_on_the_other_side() -> None:
    scene = Scene((Actor(DOG), Actor(CAT)), "beach", interaction="pass_behind")
    found = reading({DOG: 0.9, CAT: 0.9})
    found.tracks[DOG][:, 0] = np.linspace(0.1, 0.9, 8)
    found.tracks[DOG][3:5, 4] = 0.0  # hidden meanwhile
    assert metrics.comes_back(scene, found) is True
    found.tracks[DOG][4:, 4] = 0.0  # gone for good
    assert metrics.comes_back(scene, found) is False
    found.tracks[DOG][:, 4], found.tracks[DOG][:, 0] = 0.9, 0.2  # stands there
    assert metrics.comes_back(scene, found) is False


def test_the_grader_reads_any_clip_and_survives_its_file(tmp_path) -> None:
    torch.manual_seed(0)
    grader = Grader(WORDS, (16, 16, 16), 16).eval()
    clip = torch.randint(0, 256, (20, 3, 48, 80), dtype=torch.uint8)
    found = read(grader, clip)
    assert set(found.certainty) == {DOG, CAT} and found.tracks[DOG].shape == (16, 5)
    assert found.words["place"] in WORDS.place
    assert found.counts[DOG].shape == found.states[CAT]["bitten"].shape == (16,)
    save(grader, tmp_path / "g.safetensors", {"subject": 0.5})
    again = read(load(tmp_path / "g.safetensors"), clip)
    assert again.certainty[DOG] == pytest.approx(found.certainty[DOG], abs=0.02)


def test_the_track_follows_the_most_certain_subject() -> None:
    maps = torch.full((1, 3, 2, 4, 6), -6.0)
    for t in range(3):
        maps[0, t, 1, 2, t + 1] = 4.0
    sizes = torch.zeros(1, 3, 4, 4, 6)
    sizes[:, :, 2:] = math.log(0.25)
    path = track(maps, sizes)[0]
    assert path[:, 0].tolist() == pytest.approx([1.5 / 6, 2.5 / 6, 3.5 / 6])
    assert path[:, 1].tolist() == pytest.approx([2.5 / 4] * 3) and path[0, 2].item() == pytest.approx(0.25)


def test_evaluation_asks_only_for_what_training_never_sees() -> None:
    vocabulary = PRESETS["pocket"]
    asked = held_out_scenes(vocabulary, 40, 48)
    assert all(is_held_out(scene, vocabulary.held_out_every) for scene in asked)
    rng = random.Random(0)
    trained = [sample_scene(rng, vocabulary) for _ in range(400)]
    assert not any(is_held_out(scene, vocabulary.held_out_every) for scene in trained)
    assert held_out_scenes(vocabulary, 3, 48) == asked[:3]


def test_full_captions_name_the_time_and_the_place() -> None:
    for scene in held_out_scenes(PRESETS["pocket"], 20, 48):
        text = full_caption(scene, "en").lower()
        entry = grammar()["times"][scene.time]
        times = [phrase for key, phrases in entry.items() if key.startswith("en") for phrase in phrases]
        here = grammar()["places"][scene.place]
        assert here["indoor"] or any(phrase.lower() in text for phrase in times), (text, times)
        assert full_caption(scene, "en") == full_caption(scene, "en")
