"""Dubbing: words spoken over a film that is there already, its marks kept.

The picture's packets are copied as they are, so the label and the mark in the pixels stay to the bit; only burned
subtitles, or a film that carried no marks (its new voice is synthetic, so the result is marked), are encoded again.
The sound that was there stays, and steps back under the words, unless it is to be replaced.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longtake.errors import OutputError, RequestError
from longtake.finish.burn import burn, font_for
from longtake.finish.cues import LEAD, Cue
from longtake.finish.sound import soundtrack
from longtake.finish.speech import language_of
from longtake.finish.subtitles import Caption, at, read_subtitles, write_subtitles
from longtake.finish.synthesis import RATE
from longtake.provenance import aigc, label
from longtake.provenance.marking import pixel_marker, sign_in_place
from longtake.provenance.verify import Report, verify
from longtake.request import Request
from longtake.video import (
    FILMS,
    Frame,
    Outline,
    Writer,
    add_sound,
    check_folder,
    outline,
    output_error,
    read_frames,
    read_metadata,
    read_sound,
    settle,
)

_SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…]*[\"'”’」』]?")


@dataclass(frozen=True)
class Dub:
    """What is to be said over which film. Either `text` or `captions` is given."""

    film: Path
    text: str = ""
    srt: Path | None = None
    language: str = ""
    """Empty: seen from the letters."""
    voice: str = ""
    music: str = "none"
    replace: bool = False
    """Drop the sound the film has."""
    subtitles: str = "none"
    """none, srt, vtt or burn."""


@dataclass(frozen=True)
class Dubbed:
    """The finished file."""

    path: Path
    seconds: float
    spoken: tuple[Caption, ...]
    notes: tuple[str, ...]


def dub(what: Dub, output: Path) -> Dubbed:
    """Speak over the film and write `output`, marked. Raises a LongtakeError; nothing is left behind then."""
    _check(what, output)
    report, shape = verify(what.film), outline(what.film)
    cues = _cues(what, shape.seconds)
    if what.subtitles == "burn":
        font_for("".join(cue.what for cue in cues))
    bed = None if what.replace else read_sound(what.film, RATE)
    track = soundtrack([*cues, *_bed(what, shape.seconds)], shape.seconds, strict=True, bed=bed)
    beside = output.with_name(f".{output.stem}.partial{output.suffix}")
    tags = _tags(what, report)
    try:
        if what.subtitles == "burn" or not report.marked:
            captions = track.spoken if what.subtitles == "burn" else ()
            _encode_again(what.film, beside, shape, captions, tags, report)
            add_sound(beside, track.samples, RATE)
        else:
            _copy(what.film, beside)
            add_sound(beside, track.samples, RATE, tags)
        marked = verify(beside, thorough=False)
        notes = {"dubbed": True, "visible_label": _has_label(marked), "pixel_mark": marked.mark or "none"}
        sign_in_place(beside, output.name, marked.mark, notes)
        _gate(report, beside)
        settle(beside, output)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    if what.subtitles in ("srt", "vtt"):
        write_subtitles(output.with_suffix(f".{what.subtitles}"), track.spoken)
    return Dubbed(output, shape.seconds, track.spoken, track.notes)


def _check(what: Dub, output: Path) -> None:
    check_folder(output)
    if bool(what.text.strip()) == (what.srt is not None):
        raise RequestError("give either the words with --text, or a subtitle file with --srt")
    if output.suffix.lower() not in FILMS:
        raise OutputError(f"a dubbed film is a video; name the output .mp4, not {output.name}")
    if what.subtitles not in ("none", "srt", "vtt", "burn"):
        raise RequestError(f"subtitles must be none, srt, vtt or burn, not {what.subtitles!r}")


def _cues(what: Dub, seconds: float) -> list[Cue]:
    """Speech cues: those of the subtitle file, or the sentences of the text, spread over the film."""
    if what.srt is not None:
        captions = [caption for caption in read_subtitles(what.srt) if caption.start < seconds]
        if not captions:
            raise RequestError(
                f"{what.srt.name} begins after the film's end ({seconds:.1f} s); shift its times"
            )
    else:
        captions = spread(what.text, seconds)
    whole = "".join(caption.text for caption in captions)
    language = what.language or language_of(whole)
    return [
        Cue(
            "speech",
            c.start,
            min(c.end, seconds),
            c.text,
            what.language or language_of(c.text, language),
            what.voice,
        )
        for c in captions
    ]


def spread(text: str, seconds: float) -> list[Caption]:
    """The sentences of a text, each with the share of the film its length asks for."""
    sentences = [found.strip() for found in _SENTENCE.findall(text) if re.search(r"\w", found)]
    if not sentences:
        raise RequestError("there is nothing to say in the text; write words")
    whole, captions = sum(map(len, sentences)), list[Caption]()
    start = min(LEAD, seconds / 10)
    room = 0.95 * (seconds - start)
    for sentence in sentences:
        end = start + room * len(sentence) / whole
        captions.append(Caption(start, end, sentence))
        start = end
    return captions


def _bed(what: Dub, seconds: float) -> list[Cue]:
    return [] if what.music == "none" else [Cue("music", 0.0, seconds, what.music)]


def _tags(what: Dub, report: Report) -> dict[str, str]:
    """The film's own marks with the dubbing noted beside; new ones for a film that had none."""
    words = what.text or (what.srt.name if what.srt else "")
    metadata = read_metadata(what.film)
    if aigc.parse(metadata.get(aigc.KEY)) is None:
        request = Request(task="edit", prompt=words[:2000], video=what.film, seed=0, sound=True)
        metadata = {**metadata, **aigc.tags(request, "speech", words[:2000])}
    record = {**(report.record or json.loads(metadata.get(aigc.RECORD, "{}")))}
    record["dub"] = {"software": aigc.software(), "words": words, "voice": what.voice, "music": what.music}
    return {**metadata, aigc.RECORD: json.dumps(record, ensure_ascii=False, separators=(",", ":"))}


def _has_label(report: Report) -> bool:
    return any(signal.name == "visible label" and signal.found for signal in report.signals)


def _copy(film: Path, target: Path) -> None:
    try:
        shutil.copyfile(film, target)
    except OSError as error:
        raise output_error(target, error) from error


def _encode_again(
    film: Path,
    target: Path,
    shape: Outline,
    captions: tuple[Caption, ...],
    tags: dict[str, str],
    report: Report,
) -> None:
    """Write the frames anew, with captions, and with the label and the pixel mark where there were none."""
    rate = max(1, min(60, math.ceil(shape.rate - 0.01)))
    writer: Writer | None = None
    labelled, marked = _has_label(report), bool(report.mark)
    found = aigc.parse(tags[aigc.KEY]) or {}
    marker = None
    try:
        for frame in _even(read_frames(film, fps=rate)):
            writer = writer or Writer(target, frame.shape[1], frame.shape[0], rate, tags)
            seconds = writer.frames / rate
            shown = burn(frame, at(captions, seconds))
            if not labelled:
                shown = label.burn(shown, seconds)
            if not marked:
                marker = marker or pixel_marker(str(found["ProduceID"]), shown.shape[1], shown.shape[0])
                shown = marker.apply(shown, seconds) if marker else shown
            writer.write(shown)
        assert writer is not None
        writer.finish()
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise


def _even(frames: Iterator[Frame]) -> Iterator[Frame]:
    """H.264 wants even sides: an odd last row or column goes."""
    with closing(frames) as source:  # type: ignore[type-var]
        for frame in source:
            yield np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])


def _gate(before: Report, path: Path) -> None:
    """The result carries every mark its film carried, and the metadata in any case."""
    after = verify(path)
    wanted = {signal.name for signal in before.signals if signal.found} | {"AIGC metadata"}
    missing = sorted(wanted - {signal.name for signal in after.signals if signal.found})
    if missing:
        raise OutputError(
            f"the {' and the '.join(missing)} cannot be read back from the dubbed file, so it was not kept; "
            "try without burned subtitles"
        )
