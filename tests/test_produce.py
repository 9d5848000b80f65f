"""Storyboards filmed with a small untrained model: exact cuts, retakes that change nothing else, and resumption."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import longtake
from longtake import pipeline
from longtake.errors import MediaError, RequestError
from longtake.film.produce import Production
from longtake.film.script import made_with, read_board, write
from longtake.film.shelf import Shelf
from longtake.model.checkpoint import Models
from longtake.request import Film, Progress, build_request
from longtake.storyboard import Storyboard, build_storyboard
from longtake.video import Frame, read_frames


def board(*shots: dict[str, Any], **values: Any) -> Storyboard:
    listed = [
        {"id": f"s{i}", "duration": 1, "action": f"a dog {i}"} | shot for i, shot in enumerate(shots, start=1)
    ]
    return build_storyboard({"seed": 1, "size": "320x192", "fps": 12, "shots": listed} | values)


def frames(made: Storyboard, models: Models, shelf: Shelf | None = None, **values: Any) -> list[Frame]:
    """The film before it is labelled and encoded."""
    request = build_request(**({"storyboard": made, "steps": 1, "guidance": 1} | values))
    production = Production(request, write(request, {}), models, shelf)
    for _ in production.make():
        pass
    return [f for each in production.frames() if isinstance(each, list) for f in each]


def spans_that_differ(made: Storyboard, a: list[Frame], b: list[Frame]) -> list[str]:
    """Ids of the shots whose frames are not all equal."""
    assert len(a) == len(b) == made.spans()[-1][1]
    differ = [not np.array_equal(x, y) for x, y in zip(a, b, strict=True)]
    return [s.id for s, (first, end) in zip(made.shots, made.spans(), strict=True) if any(differ[first:end])]


MIXED = board(
    {"duration": 1.3, "transition": {"type": "fade", "duration": 0.5}},
    {"transition": {"type": "dissolve", "duration": 0.6}},
    {"duration": 2.0, "continue_from": "s2"},
    {"duration": 0.9, "continue_from": "s3"},
    {"transition": {"type": "match_cut", "duration": 0}},
    {"transition": {"type": "wipe", "duration": 0.5}},
)


def test_cuts_lie_where_the_board_says(models: Models) -> None:
    """Another second shot changes the frames of its span, every one and no other."""
    cuts = board({"duration": 1.3}, {"duration": 0.77}, {"duration": 1.1})
    a, b = frames(cuts, models), frames(cuts.retake("s2", seed=99), models)
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not np.array_equal(x, y)]
    assert len(a) == round(3.17 * 12) and differ == list(range(*cuts.spans()[1]))


def test_retakes_leave_every_other_frame_as_it_is(models: Models, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    original = frames(MIXED, models, shelf)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for id, also in (("s3", []), ("s2", ["s1"]), ("s5", ["s6"]), ("s4", [])):
        again = frames(MIXED.retake(id, seed=99), models, shelf)
        # the frames of a dissolve or wipe belong to both shots
        assert set(spans_that_differ(MIXED, original, again)) - set(also) == {id}
    assert all((tmp_path / name).read_bytes() == content for name, content in files.items())
    assert len(list(tmp_path.iterdir())) == len(files) + 4
    both = MIXED.retake("s3", seed=99).retake("s4", seed=5)
    assert spans_that_differ(MIXED, original, frames(both, models, shelf)) == ["s3", "s4"]


def test_frames_between_two_shots_of_a_take_do_not_depend_on_a_retake(models: Models, tmp_path: Path) -> None:
    """At 24 frames a second the last frame of a shot lies between its own last picture and the next shot's first."""
    take = board({"duration": 0.5}, {"duration": 0.5, "continue_from": "s1"}, fps=24)
    original = frames(take, models, Shelf(tmp_path))
    assert spans_that_differ(take, original, frames(take.retake("s2", 9), models, Shelf(tmp_path))) == ["s2"]
    assert not np.array_equal(original[11], original[10])


def test_a_retake_is_the_same_film_from_an_empty_shelf(models: Models, tmp_path: Path) -> None:
    made = MIXED.retake("s3", seed=99)
    frames(MIXED, models, Shelf(tmp_path / "a"))
    continued = frames(made, models, Shelf(tmp_path / "a"))
    assert not spans_that_differ(made, continued, frames(made, models))


def test_a_retake_in_a_take_leads_into_the_next_shot(models: Models, tmp_path: Path) -> None:
    """Its last latents are made with the next shot's first ones known; without that they would differ."""
    chain = board({}, {"continue_from": "s1"})
    loose = board({})
    shelf = Shelf(tmp_path)
    led = frames(chain.retake("s1", seed=7), models, shelf)[:12]
    free = frames(loose.retake("s1", seed=7), models, shelf)
    assert not all(np.array_equal(a, b) for a, b in zip(led, free, strict=True))


def test_frame_rate_does_not_move_cuts(models: Models) -> None:
    made = board({"duration": 1.3}, {"duration": 0.7}, fps=24)
    shown = frames(made, models)
    assert len(shown) == 48
    assert [int(np.array_equal(a, b)) for a, b in pairwise(shown)][30] == 0  # 1.3 s is frame 31


def test_memory_reaches_the_shots_that_remember(models: Models) -> None:
    people = [{"id": "a", "look": "a dog"}]
    cast = {"characters": [{"id": "a"}]}
    together = board(cast, cast, characters=people)
    alone = board({"characters": []}, cast, characters=people)
    assert spans_that_differ(together, frames(together, models), frames(alone, models)) == ["s2"]


def test_reference_pictures_reach_their_character(models: Models, tmp_path: Path) -> None:
    def filmed(colour: tuple[int, int, int]) -> list[Frame]:
        Image.new("RGB", (64, 64), colour).save(tmp_path / "a.png")
        people = [{"id": "a", "references": [str(tmp_path / "a.png")]}]
        return frames(board({}, {"characters": [{"id": "a"}]}, characters=people), models)

    red, blue = filmed((255, 0, 0)), filmed((0, 0, 255))
    assert all(np.array_equal(a, b) for a, b in zip(red[:12], blue[:12], strict=True))
    assert not np.array_equal(red[12], blue[12])
    (tmp_path / "a.png").write_text("no picture")
    made = board(
        {"characters": [{"id": "a"}]}, characters=[{"id": "a", "references": [str(tmp_path / "a.png")]}]
    )
    with pytest.raises(MediaError, match=r"a\.png"):
        frames(made, models)
    (tmp_path / "a.png").unlink()
    with pytest.raises(MediaError, match=r"a\.png"):
        frames(made, models)


def test_film_carries_its_board(models: Models, tmp_path: Path) -> None:
    request = build_request(storyboard=board({}, {"duration": 0.5, "seed": 3}, seed=5), steps=1)
    *progress, film = pipeline.generate(request, tmp_path / "a.mp4", models)
    assert isinstance(film, Film) and film.frames == 18 and film.seed == 5
    fractions = [event.fraction for event in progress if isinstance(event, Progress)]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    carried, options = read_board(film.path), made_with(film.path)
    assert carried == film.storyboard == request.storyboard
    assert options == {"model": "pocket", "steps": 1, "guidance": 3.0, "takes": 1}
    assert longtake.verify(film.path).verdict == "generated"
    again = build_request(storyboard=carried, **options)
    *_, copy = pipeline.generate(again, tmp_path / "b.mp4", models)
    first, second = (np.stack(list(read_frames(made.path))) for made in (film, copy))
    assert (
        first == second
    ).all() and copy.produce_id == film.produce_id  # the signatures have times and salts


def test_closing_keeps_finished_shots_and_no_film(models: Models, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    out.mkdir()
    request = build_request(storyboard=board({}, {}, {}), steps=2)
    events = pipeline.generate(request, out / "a.mp4", models, work)
    for event in events:
        if isinstance(event, Progress) and event.shot == 2 and event.stage == "denoise":
            break
    events.close()
    assert not list(out.iterdir()) and len(list(work.iterdir())) == 2
    said = [
        e.message for e in pipeline.generate(request, out / "a.mp4", models, work) if isinstance(e, Progress)
    ]
    assert "2 of 3 shots are finished already" in said


def test_a_killed_film_goes_on_where_it_stopped(weights: Path, models: Models, tmp_path: Path) -> None:
    made = board(*({"duration": 0.5} for _ in range(5)))
    (tmp_path / "board.json").write_text(made.to_json())
    command = [sys.executable, "-m", "longtake", "generate", "--storyboard", "board.json", "-o", "film.mp4"]
    command += ["--work", "work", "--model", str(weights), "--steps", "8", "--guidance", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    done = tmp_path / "work"
    deadline = time.monotonic() + 120
    while (
        len(list(done.glob("*.safetensors"))) < 1 and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.read_bytes() for path in done.glob("*.safetensors")}
    assert 1 <= len(kept) < 5, process.stderr and process.stderr.read()
    assert not (tmp_path / "film.mp4").exists()
    resumed = frames(made, models, Shelf(done), steps=8)
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert not spans_that_differ(made, resumed, frames(made, models, steps=8))


def test_conflicts_between_board_and_request() -> None:
    made = board({}, {})
    for values in ({"size": "640x384"}, {"fps": 24}, {"seconds": 60}, {"seed": 2}):
        with pytest.raises(RequestError, match=f"{next(iter(values))}: the storyboard says .* leave one out"):
            build_request(storyboard=made, **values)
    with pytest.raises(RequestError, match=r"shots\[0\].duration"):
        build_request(storyboard={"shots": [{"id": "a", "duration": 0}]})
    with pytest.raises(RequestError, match="not for extend"):
        build_request(storyboard=made, task="extend", prompt="a", video="a.mp4")
    request = build_request(storyboard=made)
    assert (request.seconds, request.size, request.fps, request.seed) == (2.0, "320x192", 12, 1)
    with pytest.raises(RequestError, match="locked"):
        board({"locked": True}).retake("s1")


def test_films_without_a_board_say_so(tmp_path: Path, models: Models) -> None:
    from longtake.video import Writer

    writer = Writer(tmp_path / "plain.mp4", 320, 192, 12, {})
    writer.write(np.zeros((192, 320, 3), np.uint8))
    writer.finish()
    with pytest.raises(RequestError, match="does not say which storyboard"):
        read_board(tmp_path / "plain.mp4")
    assert len(list(read_frames(tmp_path / "plain.mp4"))) == 1


def test_a_guided_shot_begins_from_the_acted_out_board(models: Models, tmp_path: Path) -> None:
    scene = board({"action": "a penguin walks", "duration": 1.0})
    shelf = Shelf(tmp_path / "shelf")

    def latents(**how: Any) -> np.ndarray:
        return np.stack(frames(scene, models, shelf, steps=4, guidance=3, **how)).astype(int)

    alone, near, far = (
        latents(),
        latents(guide="animatic", strength=0.05),
        latents(guide="animatic", strength=1.0),
    )
    again = latents(guide="animatic", strength=0.05)
    assert (again == near).all()
    assert len(near) == len(alone) == len(far)
    assert np.abs(near - alone).mean() > 5 and np.abs(near - far).mean() > 5
