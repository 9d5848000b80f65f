"""Media in and out: what is written can be read, and broken files are one clear line."""

from __future__ import annotations

import errno
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from longtake import video
from longtake.errors import MediaError, OutputError
from longtake.video import Writer, read_frames, read_metadata, read_picture


def write(path: Path, frames: int = 24, fps: int = 24, size: tuple[int, int] = (64, 48)) -> Path:
    """Grey frames that grow brighter by 8 levels each."""
    writer = Writer(path, *size, fps, {"AIGC": "x", "longtake": "y"})
    for i in range(frames):
        writer.write(np.full((size[1], size[0], 3), 20 + 8 * i, np.uint8))
    writer.finish()
    return path


def test_round_trip(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    frames = list(read_frames(path))
    assert len(frames) == 24 and frames[0].shape == (48, 64, 3)
    assert [int(f.mean()) for f in frames] == pytest.approx([20 + 8 * i for i in range(24)], abs=2)
    assert read_metadata(path)["AIGC"] == "x"


def test_format(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert container.streams.video[0].average_rate == 24
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat"), "the index comes first"


def test_the_same_frames_are_the_same_bytes(tmp_path: Path) -> None:
    """Moving blocks: on processors with AVX-512 four runs in five differed while x264 used its macroblock tree."""
    blocks = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    picture = np.kron(blocks, np.ones((16, 16, 1), np.uint8))
    written = set()
    for _ in range(4):
        writer = Writer(tmp_path / "a.mp4", 320, 192, 12, {})
        for i in range(36):
            writer.write(np.roll(picture, 3 * i, 1))
        writer.finish()
        written.add((tmp_path / "a.mp4").read_bytes())
    assert len(written) == 1


def test_rate_is_taken_by_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4")
    half = [int(f.mean()) for f in read_frames(path, fps=12)]
    assert half == pytest.approx([20 + 16 * i for i in range(12)], abs=10) and len(half) == 12


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 50])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError) as raised:
        list(read_frames(path))
    assert "\n" not in str(raised.value) and "a.mp4" in str(raised.value)


def test_truncated_missing_and_folder(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    for path in (cut, tmp_path / "none.mp4", tmp_path):
        with pytest.raises(MediaError):
            list(read_frames(path))


def test_too_large_and_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4")
    monkeypatch.setattr(video, "LONGEST_SECONDS", 0.5)
    with pytest.raises(MediaError, match="longer than"):
        list(read_frames(path))
    monkeypatch.setattr(video, "MOST_PIXELS", 1000)
    with pytest.raises(MediaError, match="at most 8K"):
        list(read_frames(path))


def test_pictures(tmp_path: Path) -> None:
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (8, 6), (255, 0, 0, 0)).save(clear)
    assert (read_picture(clear) == 255).all(), "transparent is white"
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(turned, exif=exif)
    assert read_picture(turned).shape == (8, 6, 3)
    for content in (b"", b"no picture", clear.read_bytes()[:40]):
        broken = tmp_path / "broken.png"
        broken.write_bytes(content)
        with pytest.raises(MediaError):
            read_picture(broken)


def test_full_disk_is_said(tmp_path: Path) -> None:
    error = video.output_error(tmp_path / "a.mp4", OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(error, OutputError) and "disk is full" in str(error)
