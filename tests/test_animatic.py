"""Animatics: exact length, cuts in their place, transitions, marks; timelines and pictures of films."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake import animatic, pipeline, sheet, timeline
from longtake.director import direct
from longtake.director.setups import words
from longtake.director.staging import asked, stage
from longtake.errors import OutputError
from longtake.provenance.verify import verify
from longtake.request import Film
from longtake.storyboard import Storyboard, build_storyboard
from longtake.video import read_frames
from longtake.world.atlas import PREVIEW, Atlas, names
from longtake.world.choreography import choreograph
from longtake.world.painter import Painter
from longtake.world.scene import Actor, Scene
from longtake.world.stage import Stage

SIZE = (256, 144)


def board_of(*shots: dict[str, Any], **values: Any) -> Storyboard:
    shared = {
        "seed": 3,
        "size": "256x144",
        "fps": 12,
        "characters": [{"id": "c1", "look": "a dog"}, {"id": "c2", "look": "a zorblax"}],
        "locations": [
            {"id": "l1", "description": "in a snowy field"},
            {"id": "l2", "description": "in the desert", "time": "at night"},
        ],
    }
    filled = [{"id": f"s{i}", "duration": 1.0, "location": "l1", "characters": [{"id": "c1"}], "action": "A dog stands."} | shot
              for i, shot in enumerate(shots, 1)]  # fmt: skip
    return build_storyboard(shared | values | {"shots": filled})


def light(frames: list[np.ndarray]) -> list[float]:
    return [float(frame.mean()) for frame in frames]


def test_length_and_cuts_are_exact() -> None:
    board = board_of({"duration": 1.25}, {"location": "l2", "duration": 0.75})
    found = light(list(animatic.frames(board, slate=False)))
    assert len(found) == 24
    steps = np.abs(np.diff(found))
    assert int(steps.argmax()) == 14 and steps[14] > 10 * np.delete(steps, 14).max()


@pytest.mark.parametrize("kind", ["dissolve", "fade", "wipe"])
def test_the_middle_of_a_transition_lies_on_the_cut(kind: str) -> None:
    board = board_of({}, {"location": "l2", "transition": {"type": kind, "duration": 0.5}})
    found = light(list(animatic.frames(board, slate=False)))
    assert len(found) == 24
    before, after = found[0], found[-1]
    assert abs(found[8] - before) < 5 and abs(found[15] - after) < 5
    middle = (found[11] + found[12]) / 2
    if kind == "fade":
        assert middle < 0.4 * min(before, after)
    else:
        assert abs(middle - (before + after) / 2) < 0.2 * abs(before - after)


def test_a_take_in_pieces_has_no_cut() -> None:
    board = direct("a dog walks in a snowy field", seconds=9, size="256x144", fps=12, one_take=True)
    found = np.abs(np.diff(light(list(animatic.frames(board, slate=False)))))
    assert len(found) == 107 and found.max() < 12


def test_same_board_same_frames() -> None:
    board = board_of({"camera": {"move": "dolly_in"}})
    first, second = (np.stack(list(animatic.frames(board))) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize(
    "scale",
    [
        "extreme_wide",
        "wide",
        "full",
        "medium_wide",
        "medium",
        "medium_close_up",
        "close_up",
        "extreme_close_up",
        "insert",
    ],
)
@pytest.mark.parametrize("angle", ["eye_level", "overhead", "dutch"])
def test_every_scale_and_angle(scale: str, angle: str) -> None:
    board = board_of({"scale": scale, "angle": angle, "duration": 0.5})
    assert len(list(animatic.frames(board, (128, 128)))) == 6


@pytest.mark.parametrize(
    "move",
    [
        "pan_left",
        "tilt_up",
        "roll_right",
        "dolly_out",
        "truck_left",
        "pedestal_up",
        "crane_down",
        "orbit_right",
        "follow",
        "zoom_in",
    ],
)
def test_every_move_moves(move: str) -> None:
    board = board_of(
        {"camera": {"move": move}, "action": "A dog walks."}, characters=[{"id": "c1", "look": "a dog"}]
    )
    frames = list(animatic.frames(board, SIZE, slate=False))
    changed = np.abs(frames[0][:40].astype(int) - frames[-1][:40]).mean()  # the sky: only the camera moves it
    assert changed > 0.5


def test_what_has_no_drawing_is_named() -> None:
    board = board_of(
        {"characters": [{"id": "c2"}], "action": "A zorblax waits in a submarine.", "location": None}
    )
    assert any("zorblax" in note for note in animatic.notes(board))


@pytest.mark.parametrize(
    ("action", "cast", "interaction"),
    [("A dog chases a cat.", "dc", "chase"), ("A dog eats a cookie.", "dk", "eat"), ("A cat wakes up a woman.", "cw", "wake_up"),
     ("An egg falls on the head of a dog and cracks.", "ed", "crack_on_head")],
)  # fmt: skip
def test_interactions_are_acted(action: str, cast: str, interaction: str) -> None:
    looks = {"d": "a dog", "c": "a cat", "k": "a cookie", "w": "a woman", "e": "an egg"}
    board = board_of(
        {"action": action, "characters": [{"id": k} for k in cast]},
        characters=[{"id": k, "look": v} for k, v in looks.items()],
    )
    assert stage(board, board.shots[0], 12, names(PREVIEW)).scene.interaction == interaction


@pytest.mark.parametrize("place", ["meadow", "neon_street", "snowy_field", "bedroom"])
def test_the_painter_paints_what_the_stage_paints(place: str) -> None:
    atlas = Atlas.load(PREVIEW, ["1f415", "1f332", "1f333", "1f3e2", "1fab4", "1fa91", "neon-1"])
    time = "night" if place == "neon_street" else "noon"
    scene = Scene((Actor("1f415", action="walk", direction="right"),), place, time, fps=12, frames=6)
    tracks = choreograph(scene, atlas, 16 / 9)
    exact = (
        (Stage(atlas, 144, 256).render([tracks])[0] * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    )
    quick = np.stack(list(Painter(atlas, 256, 144).frames(tracks)))
    error = np.abs(exact.astype(int) - quick).mean()
    assert error < 16, error
    small = [frames[:, ::8, ::8].astype(float).ravel() for frames in (exact, quick)]
    assert np.corrcoef(*small)[0, 1] > 0.84


def test_a_bite_stays() -> None:
    board = board_of({"action": "A dog eats a cookie.", "characters": [{"id": "c1"}, {"id": "k"}], "duration": 2.0},
                     characters=[{"id": "c1", "look": "a dog"}, {"id": "k", "look": "a cookie"}])  # fmt: skip
    frames = list(animatic.frames(board, SIZE, slate=False))
    brown = [
        int(((f[..., 0] > 120) & (f[..., 0] < 235) & (f[..., 2] < 110)).sum())
        for f in (frames[1], frames[-1])
    ]
    assert brown[1] < brown[0]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("animatic") / "preview.mp4"
    board = direct(
        "A dog walks in a snowy field. Then it sleeps in the desert at night.",
        seconds=4,
        size="256x144",
        fps=12,
    )
    *_, made = pipeline.animatic(board, path)
    assert isinstance(made, Film) and made.frames == 48
    return path


def test_an_animatic_is_marked(film: Path) -> None:
    report = verify(film)
    assert report.verdict == "generated"
    assert (report.record or {})["weights"] == "animatic"
    assert (report.record or {})["request"]["storyboard"]["shots"]
    assert sum(1 for _ in read_frames(film)) == 48


def test_an_animatic_is_a_film(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        list(pipeline.animatic(board_of({}), tmp_path / "still.png"))
    assert not list(tmp_path.iterdir())


def test_pictures_of_a_film(film: Path, tmp_path: Path) -> None:
    assert sheet.sheet(film, tmp_path / "sheet.png") == 2
    sheet.poster(film, tmp_path / "poster.jpg")
    assert sheet.moving(film, tmp_path / "moving.webp", fps=6) == 24
    for name in ("sheet.png", "poster.jpg"):
        assert verify(tmp_path / name).marked
    with pytest.raises(OutputError, match="webp"):
        sheet.moving(film, tmp_path / "moving.gif")


def test_a_timeline_for_editors(film: Path, tmp_path: Path) -> None:
    otio = pytest.importorskip("opentimelineio")
    board = board_of(
        {},
        {"location": "l2", "transition": {"type": "dissolve", "duration": 0.5}, "narration": "Night falls."},
    )
    timeline.export(board, tmp_path / "film.otio", film)
    read = otio.adapters.read_from_file(str(tmp_path / "film.otio"))
    clips = list(read.find_clips())
    assert [c.name for c in clips] == ["s1", "s2"]
    assert read.duration().to_seconds() == board.seconds
    assert [c.source_range.start_time.value for c in clips] == [0, 12]
    assert clips[1].markers[0].name == "Night falls." and clips[0].media_reference.target_url == film.name
    assert sum(isinstance(item, otio.schema.Transition) for item in read.tracks[0]) == 1
    assert json.loads((tmp_path / "film.otio").read_text())["OTIO_SCHEMA"].startswith("Timeline")
    with pytest.raises(OutputError, match="otio"):
        timeline.export(board, tmp_path / "film.xml")


def test_words_of_a_vocabulary() -> None:
    assert words("any") == {} and "1f415" in words("pocket")["subjects"]


def test_a_board_without_a_cast_shows_whom_its_action_names() -> None:
    board = build_storyboard({"shots": [{"id": "s1", "duration": 2, "action": "a penguin and a dog stand"}]})
    actors = asked(board, board.shots[0], ("1f427", "1f415", "1f333")).actors
    assert [actor.code for actor in actors] == ["1f427", "1f415"]
