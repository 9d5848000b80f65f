"""The latent mark, read from files: with the record and without, by the right key only, honest where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_verify import copy_packets

import longtake
from longtake.inversion import uncropped, with_latent
from longtake.model import checkpoint
from longtake.model.checkpoint import Models
from longtake.provenance.keys import rotate
from longtake.provenance.verify import Report, Signal, verify


@pytest.fixture(scope="module")
def pocket() -> Models:
    return checkpoint.load()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latent") / "film.mp4"
    longtake.make(
        "a penguin stands in a snowy field at night",
        path,
        seconds=4,
        size="448x256",
        fps=12,
        seed=5,
        sound=False,
    )
    return path


def latent(report: Report) -> Signal:
    return next(signal for signal in report.signals if signal.name == "latent mark")


def test_a_film_is_read_by_its_record_and_blind(film: Path, tmp_path: Path) -> None:
    report = longtake.verify(film, latent=True)
    assert len(report.signals) == 5 and all(signal.found for signal in report.signals)
    assert report.verdict == "generated" and "1 of 1 shots" in latent(report).detail
    bare = tmp_path / "bare.mp4"
    copy_packets(film, bare)
    report = longtake.verify(bare, latent=True)
    assert latent(report).found and "4096 patterns" in latent(report).detail
    assert report.verdict == "generated, altered"


def test_another_key_reads_nothing(
    film: Path, pocket: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = verify(film)
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path))
    assert "no keys" in latent(with_latent(report, pocket)).detail
    rotate()
    assert not latent(with_latent(report, pocket)).found


def test_a_rotated_ring_still_reads(film: Path, pocket: Models) -> None:
    rotate()
    assert latent(with_latent(verify(film), pocket)).found


def test_the_mark_can_be_left_out_and_the_record_says_so(pocket: Models, tmp_path: Path) -> None:
    path = tmp_path / "plain.mp4"
    longtake.make("a dog", path, seconds=1, size="320x192", fps=12, seed=5, sound=False, watermark=False)
    signal = latent(with_latent(verify(path), pocket))
    assert not signal.found and "left out on request" in signal.detail


def test_what_cannot_be_read_is_said(film: Path, pocket: Models, tmp_path: Path) -> None:
    picture = tmp_path / "still.png"
    longtake.make("a dog", picture, size="320x192", seed=5)
    assert "not looked for" in latent(with_latent(verify(picture), pocket)).detail
    longtake.make(
        "it walks on", tmp_path / "on.mp4", task="extend", video=film, seconds=1, size="320x192", fps=12
    )
    assert "made part only" in latent(with_latent(verify(tmp_path / "on.mp4"), pocket)).detail


@pytest.mark.parametrize("other", [{"prompt": "a dog, the camera pans left"}, {"size": "640x288"}])
def test_a_moving_camera_and_a_wide_film_are_said_to_hold_none(
    pocket: Models, tmp_path: Path, other: dict[str, str]
) -> None:
    path = tmp_path / "moved.mp4"
    options = {"prompt": "a dog", "size": "448x256"} | other
    longtake.make(options.pop("prompt"), path, seconds=1, fps=12, seed=5, sound=False, takes=1, **options)
    assert "cannot be read" in latent(with_latent(verify(path), pocket)).detail


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e300, -1.0, "soon", None])
def test_a_record_that_lies_is_no_traceback(film: Path, pocket: Models, at: object) -> None:
    """The shot it names is left out, and the film read as one without a record."""
    report = verify(film)
    assert report.record is not None
    said = {**report.record["marks"], "latent_mark": [{"at": at, "seed": 1}]}
    lying = replace(report, record={**report.record, "marks": said})
    signal = latent(with_latent(lying, pocket))
    assert signal.found and "patterns tried" in signal.detail


@pytest.mark.parametrize("size", [(1280, 720), (360, 640), (512, 512), (320, 192)])
def test_a_cropped_frame_lies_where_it_was(size: tuple[int, int]) -> None:
    """A disc in the middle of the native frame is in the middle again, as large as it was."""
    scale = max(size[0] / 320, size[1] / 192)
    y, x = np.mgrid[: size[1], : size[0]]
    disc = (x + 0.5 - size[0] / 2) ** 2 + (y + 0.5 - size[1] / 2) ** 2 < (40 * scale) ** 2
    frame = np.repeat(disc[..., None] * np.uint8(255), 3, 2)
    native = uncropped(frame, (320, 192))[..., 0] > 127
    assert native.shape == (192, 320)
    rows, columns = np.nonzero(native)
    assert abs(rows.mean() - 95.5) < 0.7 and abs(columns.mean() - 159.5) < 0.7
    assert abs(native.sum() / (np.pi * 40**2) - 1) < 0.05
