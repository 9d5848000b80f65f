"""Subtitles in, out, and in the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.errors import MediaError, MissingExtraError
from longtake.finish import burn as burning
from longtake.finish.burn import BOTTOM, burn, font_for, wrap
from longtake.finish.subtitles import Caption, at, parse, read_subtitles, to_srt, to_vtt, write_subtitles

SRT = "1\n00:00:01,000 --> 00:00:02,500\n<i>Hello</i> there\n\n2\n00:00:03,000 --> 00:00:04,000\n你好，世界\n"


def test_reads_what_it_writes(tmp_path: Path) -> None:
    captions = (Caption(0.5, 2.0, "A & B < C"), Caption(3661.25, 3662.0, "第二行\nsecond"))
    for name in ("a.srt", "a.vtt"):
        write_subtitles(tmp_path / name, captions)
        assert read_subtitles(tmp_path / name) == captions
    assert to_vtt(captions).startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nA &amp; B")
    assert "01:01:01,250 --> 01:01:02,000" in to_srt(captions)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings_in_the_wild(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(SRT.replace("\n", "\r\n").encode(encoding))
    first, second = read_subtitles(path)
    assert first == Caption(1.0, 2.5, "Hello there")
    assert second.text == "你好，世界"


def test_western_and_traditional_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(b"00:01 --> 00:02\n" + b"x")
    western = "1\n00:00:01,000 --> 00:00:02,500\nDéjà vu, señor – naïve\n"
    path.write_bytes(western.encode("cp1252"))
    assert read_subtitles(path)[0].text == "Déjà vu, señor – naïve"


def test_overlaps_order_and_missing_numbers_are_mended() -> None:
    captions = parse(
        "00:00:05.000 --> 00:00:08.000\nlate\n\n00:01.0 --> 00:06.0\nearly\n2\n00:00:08,000 --> 00:00:09,000\nlast"
    )
    assert captions == (Caption(1, 5, "early"), Caption(5, 8, "late"), Caption(8, 9, "last"))
    joined = parse("00:00:01,000 --> 00:00:02,000\na\n\n00:00:01,000 --> 00:00:03,000\nb")
    assert joined == (Caption(1, 3, "a\nb"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("just words", "holds no caption"),
        ("1\nsoon --> later\nx", "line 2: cannot read the times"),
        ("1\n00:00:03,000 --> 00:00:01,000\nx", "line 2: the caption ends before it begins"),
        ("\x00\x01\x02", "not a text file"),
    ],
)
def test_what_cannot_be_mended_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.srt"
    path.write_text(text)
    with pytest.raises(MediaError, match=said) as caught:
        read_subtitles(path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="there is no file"):
        read_subtitles(tmp_path / "none.srt")
    with pytest.raises(MediaError, match="no subtitle file"):
        read_subtitles(tmp_path)


def test_what_is_shown_when() -> None:
    captions = (Caption(1, 2, "a"), Caption(2, 3, "b"))
    assert [at(captions, t) for t in (0.5, 1.0, 1.99, 2.0, 3.0)] == ["", "a", "a", "b", ""]


def test_lines_break_between_words_and_between_characters() -> None:
    measure = len
    assert wrap("one two three four", 10, measure) == ["one two", "three four"]
    lines = wrap("今天下着大雨，我们回家吧。", 7, measure)
    assert len(lines) == 2 and not any(line[0] in "，。" for line in lines)
    assert "".join(lines) == "今天下着大雨，我们回家吧。"


@pytest.mark.parametrize("text", ["Where are we going tonight?", "今天晚上我们去哪里？"])
def test_burned_words_stand_above_the_label(text: str) -> None:
    try:
        font_for(text)
    except MissingExtraError:
        pytest.skip("no font for this text here")
    frame = np.full((360, 640, 3), 90, np.uint8)
    shown = burn(frame, text)
    rows = np.flatnonzero((shown != frame).any((1, 2)))
    assert len(rows) and rows.max() <= BOTTOM * 360 and rows.min() > 0.6 * 360
    assert shown.max() > 240 and shown.min() < 20
    assert burn(frame, "") is frame


def test_a_missing_font_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burning, "CJK_FONTS", ())
    monkeypatch.setattr(burning, "LATIN_FONTS", ())
    monkeypatch.setattr(burning, "_fontconfig", lambda _language: None)
    with pytest.raises(MissingExtraError, match="fonts-noto-cjk"):
        font_for("你好")
