"""verify: one honest verdict for our files, changed ones, others' and hostile ones; never a traceback, never "real"."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import longtake
from longtake.errors import MediaError
from longtake.provenance import signature
from longtake.provenance.marking import Marks
from longtake.provenance.verify import verify
from longtake.request import Request
from longtake.video import Writer, read_frames


def scene(t: int, width: int = 448, height: int = 256) -> np.ndarray:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(30, 220, (16, 28, 3), dtype=np.uint8))
    return np.roll(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)), 2 * t, 1)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    marks = Marks(Request(prompt="a dog", size="448x256", seed=1), "test 0", "a dog")
    writer = Writer(path, 448, 256, 24, marks.tags)
    for t in range(24):
        writer.write(marks.apply(scene(t), t / 24))
    writer.finish()
    marks.seal(path, "film")
    return path


def copy_packets(source: Path, target: Path) -> None:
    """What a remux does: packets kept, metadata and manifest gone."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                write.mux(packet)


def test_an_untouched_film_has_every_mark(film: Path) -> None:
    report = longtake.verify(film)
    assert report.verdict == "generated" and all(s.found for s in report.signals) and not report.altered
    assert json.loads(report.to_json())["mark"] == report.mark != ""
    assert signature.read(film).state == "trusted" and signature.read(film).mark == report.mark


def test_a_report_in_chinese(film: Path, tmp_path: Path) -> None:
    def chinese(text: str) -> bool:
        return any("\u4e00" <= c <= "\u9fff" for c in text)

    bare = tmp_path / "bare.mkv"
    copy_packets(film, bare)
    for path in (film, bare):
        english, report = verify(path), verify(path, language="zh")
        assert all(chinese(signal.detail) for signal in report.signals), report.signals
        assert all(chinese(line) for line in report.altered)
        assert (report.verdict, report.mark) == (english.verdict, english.mark)
        assert [(s.name, s.found) for s in report.signals] == [(s.name, s.found) for s in english.signals]
        assert len(report.altered) == len(english.altered)


def test_after_a_remux_the_pixels_still_say_it(film: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.mkv"
    copy_packets(film, bare)
    report = longtake.verify(bare)
    assert report.mark == longtake.verify(film).mark
    assert report.verdict == "generated, altered" and "the metadata was removed" in report.altered


def test_a_changed_byte_breaks_the_signature_alone(film: Path, tmp_path: Path) -> None:
    data = bytearray(film.read_bytes())
    data[data.rindex(b"mdat") + 3000] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)
    report = longtake.verify(changed)
    assert report.verdict == "generated, altered" and report.altered[0].startswith("the file was changed")


def test_one_frame_as_a_picture(film: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    Image.fromarray(next(iter(read_frames(film)))).save(still)
    assert longtake.verify(still).mark == longtake.verify(film).mark


def test_without_the_key_the_other_marks_speak(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "nobody"))
    report = longtake.verify(film)
    assert report.verdict == "generated" and not report.mark
    assert "no keys" in report.signals[1].detail and "vouches" in report.signals[3].detail
    assert not (tmp_path / "nobody").exists()


def test_a_plain_video_has_no_marks_and_is_not_called_real(tmp_path: Path) -> None:
    plain = tmp_path / "plain.mp4"
    writer = Writer(plain, 320, 192, 12, {})
    for t in range(6):
        writer.write(scene(t, 320, 192))
    writer.finish()
    report = longtake.verify(plain)
    assert report.verdict == "no marks found" and "real" not in report.to_json().lower()


@pytest.mark.parametrize("form", ["ten bit", "alpha", "grey", "odd", "tiny", "thin", "one frame", "turned"])
def test_unusual_pictures_get_an_answer(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("x.mkv" if form == "ten bit" else "x.png")
    if form == "ten bit":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx265", rate=24)
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p10le"
            stream.options = {"x265-params": "log-level=none"}
            for t in range(3):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene(t, 128, 96)), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    else:
        images = {
            "alpha": Image.new("RGBA", (90, 70), (9, 9, 9, 20)),
            "grey": Image.new("L", (90, 70), 7),
            "odd": Image.new("RGB", (91, 77)),
            "tiny": Image.new("RGB", (1, 1)),
            "thin": Image.new("RGB", (4000, 2)),
            "one frame": Image.new("RGB", (96, 64), (200, 0, 0)),
            "turned": Image.new("RGB", (64, 96)),
        }
        exif = Image.Exif()
        exif[0x0112] = 6
        images[form].save(path, exif=exif if form == "turned" else None)
    assert verify(path, thorough=False).verdict == "no marks found"


def hostile(name: str, film: Path) -> bytes:
    data = film.read_bytes()
    match name:
        case "empty":
            return b""
        case "noise":
            return np.random.default_rng(0).bytes(5000)
        case "half":
            return data[: len(data) // 2]
        case "head only":
            return data[:40]
        case "endless box":
            return struct.pack(">I4sQ", 1, b"ftyp", 2**63) + b"isom" * 10
        case "huge dimensions":
            png = b"\x89PNG\r\n\x1a\n" + struct.pack(
                ">I4sIIBBBBB", 13, b"IHDR", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0
            )
            return png + bytes(40)
        case "false length":
            at = data.index(b"mvhd") + 20
            return data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
        case "broken manifest":
            at = data.index(b"jumb")
            return data[:at] + bytes(200) + data[at + 200 :]
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "noise",
        "half",
        "head only",
        "endless box",
        "huge dimensions",
        "false length",
        "broken manifest",
    ],
)
def test_hostile_files_get_a_line_or_a_verdict(film: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.mp4"
    path.write_bytes(hostile(name, film))
    try:
        report = verify(path, thorough=False)
    except MediaError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert report.verdict != "generated" or name == "false length"


def test_an_expired_certificate_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, film: Path) -> None:
    import datetime

    from longtake.errors import KeyFileError

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(2099, 1, 1, tzinfo=tz)

    folder = Path(os.environ["LONGTAKE_DATA"])
    monkeypatch.setattr(signature.datetime, "datetime", Later)
    with pytest.raises(KeyFileError, match="expired on"):
        signature.sign(film, tmp_path / "x.mp4", "x", "", {}, folder)
    assert not (tmp_path / "x.mp4").exists()
