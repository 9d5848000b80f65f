"""A storyboard as an OpenTimelineIO timeline, so that an editor can go on: one clip a shot, transitions, markers.

Needs the `edit` extra. `film` is the finished file the clips point into; without it they point nowhere yet.
Format: https://opentimelineio.readthedocs.io
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from longtake.director import compile
from longtake.errors import MissingExtraError, OutputError
from longtake.storyboard import Shot, Storyboard
from longtake.video import check_folder, output_error

SUFFIXES = (".otio", ".otioz")


def export(board: Storyboard, path: Path, film: Path | None = None) -> None:
    """Write the timeline of a board, whole or not at all. Raises OutputError, MissingExtraError."""
    check_folder(path, "film.otio")
    if path.suffix.lower() != ".otio":
        raise OutputError(
            f"a timeline is written as .otio, not {path.suffix or 'without suffix'}; name it {path.stem}.otio"
        )
    otio = _library()
    timeline = _timeline(otio, board, film)
    beside = path.with_name(f".{path.stem}.partial.otio")
    try:
        otio.adapters.write_to_file(timeline, str(beside))
        os.replace(beside, path)
    except OSError as error:
        raise output_error(path, error) from None
    finally:
        beside.unlink(missing_ok=True)


def _library() -> Any:
    try:
        return importlib.import_module("opentimelineio")
    except ImportError:
        raise MissingExtraError(
            'timelines need OpenTimelineIO; install it: pip install "longtake[edit]"'
        ) from None


def _timeline(otio: Any, board: Storyboard, film: Path | None) -> Any:
    rate = float(board.fps)
    timeline = otio.schema.Timeline(name=board.title or board.shots[0].action or board.shots[0].id)
    timeline.metadata["longtake"] = {"seed": board.seed, "size": board.size, "language": board.language}
    track = otio.schema.Track(name="picture", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    whole = board.spans()[-1][1]
    for shot, (start, end) in zip(board.shots, board.spans(), strict=True):
        if shot.transition.duration and start:
            half = otio.opentime.RationalTime(shot.transition.duration * rate / 2, rate)
            kind = (
                otio.schema.TransitionTypes.SMPTE_Dissolve
                if shot.transition.type == "dissolve"
                else otio.schema.TransitionTypes.Custom
            )
            track.append(
                otio.schema.Transition(
                    name=shot.transition.type, transition_type=kind, in_offset=half, out_offset=half
                )
            )
        track.append(_clip(otio, board, shot, start, end, whole, film))
    return timeline


def _clip(
    otio: Any, board: Storyboard, shot: Shot, start: int, end: int, whole: int, film: Path | None
) -> Any:
    rate = float(board.fps)

    def span(first: int, last: int) -> Any:
        return otio.opentime.TimeRange(
            otio.opentime.RationalTime(first, rate), otio.opentime.RationalTime(last - first, rate)
        )

    if film is None:
        media, source = otio.schema.MissingReference(), span(0, end - start)
    else:
        media, source = (
            otio.schema.ExternalReference(target_url=film.name, available_range=span(0, whole)),
            span(start, end),
        )
    clip = otio.schema.Clip(name=shot.id, media_reference=media, source_range=source)
    clip.metadata["longtake"] = {"caption": compile(board, shot), **shot.model_dump(mode="json")}
    for text in (shot.narration, *(line.text for line in shot.dialogue)):
        if text:
            clip.markers.append(
                otio.schema.Marker(
                    name=text, marked_range=span(source.start_time.value, source.start_time.value)
                )
            )
    return clip
