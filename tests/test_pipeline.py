"""The main path with a small untrained model: every task makes a marked file, and failure leaves nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import longtake
from longtake import pipeline
from longtake.errors import LongtakeError, MediaError, OutputError, RequestError
from longtake.model.checkpoint import Models
from longtake.request import Film, Progress, build_request
from longtake.video import Writer, read_frames


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "given.mp4"
    writer = Writer(path, 320, 192, 12, {})
    for i in range(12):
        writer.write(np.full((192, 320, 3), 40 + 10 * i, np.uint8))
    writer.finish()
    return path


def make(models: Models, output: Path, **values: object) -> Film:
    request = build_request(**({"prompt": "a dog", "steps": 2, "seed": 1, "size": "448x256"} | values))
    *progress, film = pipeline.generate(request, output, models)
    assert all(isinstance(event, Progress) for event in progress) and isinstance(film, Film)
    assert os.listdir(output.parent) and not list(output.parent.glob(".*partial*"))
    report = longtake.verify(output)
    assert report.verdict == "generated" and all(signal.found for signal in report.signals)
    assert report.mark and report.produce_id == film.produce_id
    assert report.record is not None and report.record["request"]["seed"] == 1
    return film


def test_film_has_its_length_and_repeats_bit_for_bit(models: Models, tmp_path: Path) -> None:
    film = make(models, tmp_path / "a.mp4", seconds=1.25)
    assert (film.frames, film.seconds) == (30, 1.25)
    assert len(list(read_frames(film.path))) == 30
    make(models, tmp_path / "b.mp4", seconds=1.25)
    make(models, tmp_path / "c.mp4", seconds=1.25, prompt="a cat")
    a, b, c = (np.stack(list(read_frames(tmp_path / f"{name}.mp4"))) for name in "abc")
    assert (a == b).all() and (a != c).any()  # the signatures differ: each has its own time and salt


def test_longer_than_a_window(models: Models, tmp_path: Path) -> None:
    assert make(models, tmp_path / "a.mp4", seconds=7, fps=12, steps=1).frames == 84


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.webp"])
def test_picture(tmp_path: Path, name: str) -> None:
    """With the shipped weights: the noise of untrained ones drowns the mark of a single frame."""
    film = make(pipeline.load_models("pocket"), tmp_path / name, size="640x640")
    with Image.open(film.path) as image:
        assert image.size == (640, 640) and film.frames == 1


def test_every_task(models: Models, tmp_path: Path, clip: Path) -> None:
    still = tmp_path / "first.png"
    Image.new("RGB", (400, 300), (90, 160, 220)).save(still)
    assert make(models, tmp_path / "i.mp4", image=still, seconds=1).frames == 24
    longer = make(models, tmp_path / "x.mp4", task="extend", video=clip, seconds=1, fps=12)
    assert longer.frames == 12 + 12
    earlier = make(models, tmp_path / "y.mp4", task="extend", video=clip, seconds=1, fps=12, backward=True)
    assert earlier.frames == 24
    assert make(models, tmp_path / "l.mp4", task="loop", video=clip, fps=12).frames == 12 + 16
    assert make(models, tmp_path / "e.mp4", task="edit", video=clip, fps=12).frames == 12
    joined = make(models, tmp_path / "b.mp4", task="blend", video=clip, video_b=clip, fps=12)
    assert joined.frames == 12 + 16 + 12


def test_extension_begins_with_the_given_clip(models: Models, tmp_path: Path, clip: Path) -> None:
    """What is known comes out as the autoencoder gives it back, whatever is made after it."""
    given = {"task": "extend", "video": clip, "seconds": 1, "fps": 12, "steps": 2, "size": "448x256"}
    for name, prompt in (("a", "a dog"), ("b", "a cat")):
        request = build_request(prompt=prompt, watermark=False, **given)  # each film's mark is its own
        *_, film = pipeline.generate(request, tmp_path / f"{name}.mp4", models)
        assert isinstance(film, Film)
    a, b = (list(read_frames(tmp_path / f"{name}.mp4")) for name in "ab")
    assert all(np.abs(x.astype(int) - y).mean() < 2 for x, y in zip(a[:12], b[:12], strict=True))
    assert np.abs(a[-1].astype(int) - b[-1]).mean() > 2


def test_closing_stops_and_leaves_nothing(models: Models, tmp_path: Path) -> None:
    events = pipeline.generate(build_request(prompt="a dog", size="320x192"), tmp_path / "a.mp4", models)
    for event in events:
        if isinstance(event, Progress) and event.stage == "denoise":
            break
    events.close()
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Writer, frame: object) -> None:
        raise OutputError("the disk is full at /x; free some space or write elsewhere") from OSError(
            errno.ENOSPC
        )

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(OutputError, match="disk is full"):
        make(models, tmp_path / "a.mp4", seconds=1)
    assert os.listdir(tmp_path) == []


def test_unmarked_output_is_an_error_not_a_file(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longtake.provenance.label.burn", lambda frame, seconds: frame)
    with pytest.raises(OutputError, match="visible label"):
        make(models, tmp_path / "a.mp4", seconds=1)
    assert os.listdir(tmp_path) == []


def test_label_can_be_left_out_and_that_is_recorded(models: Models, tmp_path: Path) -> None:
    request = build_request(prompt="a dog", steps=1, seconds=0.5, size="320x192", label=False, seed=3)
    *_, film = pipeline.generate(request, tmp_path / "a.mp4", models)
    assert isinstance(film, Film)
    report = longtake.verify(film.path)
    assert report.verdict == "generated" and not report.signals[0].found
    assert report.record is not None and report.record["request"]["label"] is False


def test_pixel_mark_can_be_left_out_and_that_is_recorded(models: Models, tmp_path: Path) -> None:
    request = build_request(prompt="a dog", steps=1, seconds=0.5, size="448x256", watermark=False, seed=3)
    *_, film = pipeline.generate(request, tmp_path / "a.mp4", models)
    assert isinstance(film, Film)
    report = longtake.verify(film.path)
    assert report.verdict == "generated" and not report.mark and report.record is not None
    assert "left out on request" in report.record["marks"]["pixel_mark"]


def test_a_small_film_says_that_it_has_no_pixel_mark(models: Models, tmp_path: Path) -> None:
    request = build_request(prompt="a dog", steps=1, seconds=0.5, size="320x192", seed=3)
    *_, film = pipeline.generate(request, tmp_path / "a.mp4", models)
    assert isinstance(film, Film)
    report = longtake.verify(film.path)
    assert [s.found for s in report.signals] == [True, False, True, True]
    assert report.record is not None and "fewer than 256" in report.record["marks"]["pixel_mark"]


def test_wrong_outputs(models: Models, tmp_path: Path, clip: Path) -> None:
    for name, message in (("a.avi", "name it .mp4"), ("none/a.mp4", "mkdir -p")):
        with pytest.raises(OutputError, match=message):
            make(models, tmp_path / name)
    with pytest.raises(OutputError, match="is a folder"):
        (tmp_path / "folder.mp4").mkdir()
        make(models, tmp_path / "folder.mp4")
    with pytest.raises(OutputError, match="makes a film"):
        make(models, tmp_path / "a.png", task="loop", video=clip)


def test_wrong_inputs(models: Models, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for values in ({"task": "edit", "video": empty}, {"image": tmp_path / "none.png"}):
        with pytest.raises(MediaError):
            make(models, tmp_path / "out.mp4", **values)
    assert not (tmp_path / "out.mp4").exists()


def test_the_fast_model_takes_four_steps_without_guidance(tmp_path: Path) -> None:
    whole, fast = pipeline.load_models("pocket"), pipeline.load_models("pocket-fast")
    assert fast.name == "pocket-fast" and fast.parts == whole.parts
    assert (fast.config.sampling.steps, fast.config.sampling.guidance) == (4, 1.0)
    assert fast.config.dit == whole.config.dit, "what decides how it is sampled is not in the weights"
    changed = {
        name.rsplit(".", 1)[0]
        for name, value in fast.dit.state_dict().items()
        if not value.equal(whole.dit.state_dict()[name])
    }
    assert changed and all(name.startswith("blocks.") for name in changed)
    seen: list[int] = []
    fast.dit.register_forward_hook(lambda *_: seen.append(1))
    events = list(
        pipeline.generate(
            build_request(prompt="a dog in the snow", seconds=1, fps=12, negative="rain", takes=1),
            tmp_path / "a.mp4",
            fast,
        )
    )
    assert isinstance(events[-1], Film) and len(seen) == 4, "one pass a step"
    assert any("guidance" in event.message for event in events if isinstance(event, Progress))


def test_models_by_name_and_path(weights: Path, tmp_path: Path) -> None:
    assert pipeline.load_models(str(weights)).name == "tiny"
    with pytest.raises(RequestError, match="did you mean pocket"):
        pipeline.load_models("poket")
    with pytest.raises(LongtakeError):
        pipeline.load_models(str(tmp_path / "none.safetensors"))


def test_public_names() -> None:
    assert longtake.__all__ == sorted(longtake.__all__)
    assert all(hasattr(longtake, name) for name in longtake.__all__)
