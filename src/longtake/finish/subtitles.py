"""Subtitles: SubRip and WebVTT read and written, and captions burned into frames.

Reading forgives what files in the wild get wrong (encodings, line ends, missing numbers, dots for commas, overlaps)
and says what it cannot forgive with the line's number. Times are seconds.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from pathlib import Path

from longtake.errors import MediaError, OutputError

SUFFIXES = (".srt", ".vtt")
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_TIMING = re.compile(rf"^\s*({_CLOCK.pattern})\s*-+>\s*({_CLOCK.pattern})")
_ENCODINGS = ("utf-8-sig", "gb18030", "big5", "cp1252")
_LARGEST = 5_000_000
SHORTEST = 0.7
"""Seconds a caption stays at least where there is room."""


@dataclass(frozen=True)
class Caption:
    """A line of text and when it is shown or spoken."""

    start: float
    end: float
    text: str


def read_subtitles(path: Path) -> tuple[Caption, ...]:
    """The captions of an SRT or VTT file in order, overlaps cut. Raises MediaError that names file and line."""
    if not path.exists():
        raise MediaError(f"there is no file {path}; check the name")
    if path.is_dir() or path.stat().st_size > _LARGEST:
        raise MediaError(f"{path} is no subtitle file; give an .srt or .vtt of at most 5 MB")
    return parse(decode(path.read_bytes(), path.name), path.name)


def decode(data: bytes, name: str) -> str:
    """Text of unknown encoding: UTF-8, UTF-16 with a mark, GB18030, Big5, at last Windows-1252. MediaError if none."""
    if not data.strip():
        raise MediaError(f"{name} is empty; give a file with captions in it")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise MediaError(f"{name} begins like UTF-16 and is not; save it as UTF-8") from None
    if b"\x00" in data:
        raise MediaError(f"{name} is not a text file; save the subtitles as UTF-8 text")
    for encoding in _ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding in ("utf-8-sig", "cp1252") or _looks_chinese(text):
            return text
    raise MediaError(f"{name} is in an unknown encoding; save it as UTF-8")


def _looks_chinese(text: str) -> bool:
    """Western text read as GB18030 gives rare characters; Chinese text gives common ones."""
    wide = [c for c in text if ord(c) > 0x7F]
    usual = [
        c for c in wide if "\u4e00" <= c <= "\u9fff" or "\u3000" <= c <= "\u30ff" or "\uff00" <= c <= "\uffef"
    ]
    pairs = len(re.findall(r"[\u4e00-\u9fff，。！？、：]{2,}", text))
    return bool(wide) and len(usual) > 0.9 * len(wide) and pairs > 0


def parse(text: str, name: str = "the subtitles") -> tuple[Caption, ...]:
    """SRT or VTT text -> captions in order of time; a caption ends where the next begins. Raises MediaError."""
    captions: list[Caption] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        match = _TIMING.match(line)
        if match is None:
            if "-->" in line:
                raise MediaError(
                    f"{name}, line {number + 1}: cannot read the times {line.strip()[:60]!r}; "
                    "write 00:00:01,000 --> 00:00:03,500"
                )
            number += 1
            continue
        start, end = _seconds(match.group(1)), _seconds(match.group(6))
        if end <= start:
            raise MediaError(
                f"{name}, line {number + 1}: the caption ends before it begins; swap the two times"
            )
        number += 1
        words = []
        while number < len(lines) and lines[number].strip() and "-->" not in lines[number]:
            words.append(lines[number].strip())
            number += 1
        if number < len(lines) and "-->" in lines[number] and words and words[-1].isdigit():
            words.pop()  # the next caption's number, with no empty line before it
        said = _plain("\n".join(words))
        if said:
            captions.append(Caption(start, end, said))
    if not captions:
        raise MediaError(f"{name} holds no caption; an SRT line looks like 00:00:01,000 --> 00:00:03,500")
    return in_turn(captions)


def in_turn(captions: list[Caption]) -> tuple[Caption, ...]:
    """Sorted by start; of two that overlap the earlier ends where the later begins, equal starts are joined."""
    ordered = sorted(captions, key=lambda caption: (caption.start, caption.end))
    result: list[Caption] = []
    for caption in ordered:
        if result and caption.start - result[-1].start < 0.05:
            last = result.pop()
            caption = Caption(last.start, max(last.end, caption.end), f"{last.text}\n{caption.text}")
        elif result and result[-1].end > caption.start:
            result[-1] = replace(result[-1], end=caption.start)
        result.append(caption)
    return tuple(result)


def write_subtitles(path: Path, captions: tuple[Caption, ...]) -> None:
    """Write .srt or .vtt by the suffix, whole or not at all. Raises OutputError."""
    text = to_vtt(captions) if path.suffix.lower() == ".vtt" else to_srt(captions)
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another folder") from None


def to_srt(captions: tuple[Caption, ...]) -> str:
    return "\n".join(
        f"{number}\n{_clock(c.start, ',')} --> {_clock(c.end, ',')}\n{c.text}\n"
        for number, c in enumerate(captions, start=1)
    )


def to_vtt(captions: tuple[Caption, ...]) -> str:
    cues = (
        f"{_clock(c.start, '.')} --> {_clock(c.end, '.')}\n{html.escape(c.text, quote=False)}\n"
        for c in captions
    )
    return "WEBVTT\n\n" + "\n".join(cues)


def at(captions: tuple[Caption, ...], seconds: float) -> str:
    """What is shown at this time, or nothing."""
    return next((c.text for c in captions if c.start <= seconds < c.end), "")


def _seconds(clock: str) -> float:
    match = _CLOCK.match(clock)
    assert match is not None
    hours, minutes, seconds, fraction = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _clock(seconds: float, point: str) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3600000:02}:{whole // 60000 % 60:02}:{whole // 1000 % 60:02}{point}{whole % 1000:03}"


def _plain(text: str) -> str:
    """Without tags of either format: <i>, {\\an8}, <c.yellow>, <00:01.000>."""
    return html.unescape(re.sub(r"<[^<>\n]{0,80}>|\{\\[^{}\n]*\}", "", text)).strip()
