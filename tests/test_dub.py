"""Sound laid into films, and dubbing: lengths exact, picture untouched, marks kept."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from longtake import dub as dubbing
from longtake.dub import Dub, dub, spread
from longtake.errors import LongtakeError, MediaError, OutputError, RequestError
from longtake.finish import sound
from longtake.finish.loudness import loudness
from longtake.finish.synthesis import RATE
from longtake.provenance import aigc, label
from longtake.provenance.verify import verify
from longtake.request import Request
from longtake.video import Writer, add_sound, outline, read_frames, read_metadata, read_sound

SIZE, FPS = (320, 192), 12


def make_film(path: Path, frames: int = 30, marked: bool = True) -> Path:
    """A film of moving bars, with label and metadata or without."""
    tags = aigc.tags(Request(prompt="bars", seed=1), "test 1", "bars") if marked else {}
    writer = Writer(path, *SIZE, FPS, tags)
    for number in range(frames):
        frame = np.full((SIZE[1], SIZE[0], 3), 110, np.uint8)
        frame[:, 8 * number % SIZE[0] : 8 * number % SIZE[0] + 24] = (200, 120, 40)
        writer.write(label.burn(frame, number / FPS) if marked else frame)
    writer.finish()
    return path


@pytest.fixture(autouse=True)
def voice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice that is always there and quick: a tone as long as the words."""

    def say(text: str, language: str, voice: str = "", hurry: float = 1.0) -> np.ndarray:
        count = round(0.05 * len(text) / hurry * RATE)
        return (0.3 * np.sin(np.arange(count) * 2 * np.pi * 700 / RATE)).astype(np.float32)

    monkeypatch.setattr(sound, "speak", say)
    monkeypatch.setattr(sound, "missing_voice", lambda _language: None)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.dts is not None]


@pytest.mark.parametrize("frames", [12, 30, 37])
def test_sound_is_as_long_as_the_picture(tmp_path: Path, frames: int) -> None:
    film = make_film(tmp_path / "a.mp4", frames)
    before, keys = packets(film), read_metadata(film)
    tone = 0.2 * np.sin(np.arange(frames * RATE // FPS) * 2 * np.pi * 440 / RATE)
    add_sound(film, np.stack([tone, tone], 1).astype(np.float32), RATE)
    assert packets(film) == before
    assert read_metadata(film)[aigc.KEY] == keys[aigc.KEY]
    with av.open(str(film)) as container:
        lengths = [float(stream.duration * stream.time_base) for stream in container.streams]
        order = [p.stream.type for p in container.demux() if p.dts is not None]
    assert lengths == pytest.approx([frames / FPS] * 2, abs=0.001)  # mp4 writes ms
    longest = max(len(list(run)) for kind, run in itertools.groupby(order) if kind == "video")
    assert longest <= 2 * FPS  # interleaved: a player need not seek
    heard = read_sound(film, RATE)
    assert heard is not None
    middle = heard[RATE // 4 : len(tone) - RATE // 4]
    assert np.abs(middle).max() == pytest.approx(0.2, abs=0.03)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_dub_keeps_picture_and_marks(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4")
    made = dub(Dub(film, text="Once upon a time. There were bars.", subtitles="srt"), tmp_path / "b.mp4")
    assert packets(made.path) == packets(film)
    before, after = verify(film), verify(made.path)
    assert after.verdict == "generated" and after.produce_id == before.produce_id
    assert after.record is not None and after.record["dub"]["words"].startswith("Once")
    assert after.record["request"] == before.record["request"]  # type: ignore[index]
    assert [caption.text for caption in made.spoken] == ["Once upon a time.", "There were bars."]
    assert "There were bars." in (tmp_path / "b.srt").read_text(encoding="utf-8")
    heard = read_sound(made.path, RATE)
    assert heard is not None and loudness(heard, RATE) == pytest.approx(-16, abs=0.5)
    assert not list(tmp_path.glob(".*"))


def test_dub_by_srt_speaks_at_its_times_over_the_old_sound(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", 48)
    hiss = np.random.default_rng(0).normal(0, 0.05, (4 * RATE, 2)).astype(np.float32)
    add_sound(film, hiss, RATE)
    (tmp_path / "a.srt").write_text("1\n00:00:02,000 --> 00:00:03,000\nabcdefghij\n", encoding="utf-8")

    def tone_share(path: Path, start: float) -> float:
        heard = read_sound(path, RATE)
        assert heard is not None
        power = np.abs(np.fft.rfft(heard[round(start * RATE) : round((start + 0.4) * RATE), 0])) ** 2
        near = np.abs(np.fft.rfftfreq(round(0.4 * RATE), 1 / RATE)[: len(power)] - 700) < 20
        return float(power[near].sum() / power.sum())

    kept = dub(Dub(film, srt=tmp_path / "a.srt"), tmp_path / "b.mp4").path
    assert tone_share(kept, 2.05) > 0.8 and tone_share(kept, 0.5) < 0.1
    bare = dub(Dub(film, srt=tmp_path / "a.srt", replace=True), tmp_path / "c.mp4").path
    silent = read_sound(bare, RATE)
    assert silent is not None and np.abs(silent[: 3 * RATE // 2]).max() < 0.01


def test_a_film_without_marks_gets_them(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", 48, marked=False)
    assert not verify(film).marked
    made = dub(Dub(film, text="This voice is synthetic."), tmp_path / "b.mp4")
    report = verify(made.path)
    missing = [signal.name for signal in report.signals if not signal.found]
    assert report.verdict == "generated" and missing == ["pixel mark"]  # below 256 pixels there is none
    assert outline(made.path).seconds == pytest.approx(4.0)


def test_burned_subtitles_leave_the_label(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4")
    made = dub(Dub(film, text="Hello there.", subtitles="burn"), tmp_path / "b.mp4")
    assert verify(made.path).verdict == "generated"
    shown, plain = ([*read_frames(path)][6] for path in (made.path, film))
    changed = np.abs(shown.astype(int) - plain).max((1, 2)) > 60
    assert changed.any() and np.flatnonzero(changed).min() > 0.5 * SIZE[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "either the words"),
        ({"text": "a", "srt": Path("b.srt")}, "either the words"),
        ({"text": "a", "subtitles": "yes"}, "subtitles must be"),
        ({"text": "..."}, "nothing to say"),
        ({"text": "a", "music": "clam"}, "did you mean calm"),
        ({"srt": Path("none.srt")}, "there is no file"),
    ],
)
def test_wrong_wishes(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    film = make_film(tmp_path / "a.mp4", 6)
    with pytest.raises(LongtakeError, match=said):
        dub(Dub(film, **changes), tmp_path / "b.mp4")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_wrong_files(tmp_path: Path) -> None:
    film = make_film(tmp_path / "a.mp4", 6)
    with pytest.raises(OutputError, match=r"\.mp4"):
        dub(Dub(film, text="a"), tmp_path / "b.wav")
    with pytest.raises(OutputError, match="does not exist"):
        dub(Dub(film, text="a"), tmp_path / "none" / "b.mp4")
    with pytest.raises(MediaError, match="there is no file"):
        dub(Dub(tmp_path / "none.mp4", text="a"), tmp_path / "b.mp4")
    only_sound = tmp_path / "sound.mp4"
    with av.open(str(only_sound), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(MediaError, match="no picture track"):
        dub(Dub(only_sound, text="a"), tmp_path / "b.mp4")
    (tmp_path / "late.srt").write_text("1\n00:10:00,000 --> 00:10:01,000\nlate\n", encoding="utf-8")
    with pytest.raises(RequestError, match="begins after the film's end"):
        dub(Dub(film, srt=tmp_path / "late.srt"), tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists() and not list(tmp_path.glob(".*"))


def test_lost_marks_keep_the_file_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = make_film(tmp_path / "a.mp4", 6)
    monkeypatch.setattr(dubbing, "_tags", lambda *_: {aigc.KEY: "gone"})
    with pytest.raises(OutputError, match="AIGC metadata"):
        dub(Dub(film, text="a"), tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_sentences_share_the_film() -> None:
    captions = spread("One two three. 你好世界！ Then the end", 10.0)
    assert [caption.text for caption in captions] == ["One two three.", "你好世界！", "Then the end"]
    assert captions[0].start > 0 and captions[-1].end <= 10
    assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(captions))
