"""Pictures of a film: a contact sheet with a frame of each shot, a poster, or a moving WebP. The film's marks stay."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from longtake.errors import OutputError
from longtake.provenance import aigc
from longtake.provenance.verify import verify
from longtake.provenance.xmp import to_xmp
from longtake.storyboard import build_storyboard
from longtake.video import PICTURES, Frame, check_folder, output_error, read_frames, read_metadata

_GAP = 6
_BACK = (18, 18, 22)
WEBP_WIDTH, WEBP_FPS = 480, 12


def sheet(film: Path, output: Path, columns: int = 4, width: int = 320) -> int:
    """A contact sheet: the middle frame of each shot, or twelve of a film that names none. Returns how many."""
    _check(output, (".png", ".jpg", ".jpeg", ".webp"))
    frames = list(_picked(film, _middles(film)))
    cells = [
        Image.fromarray(f).resize((width, round(width * f.shape[0] / f.shape[1])), Image.Resampling.LANCZOS)
        for f in frames
    ]
    columns = max(1, min(columns, len(cells)))
    rows, high = math.ceil(len(cells) / columns), cells[0].height
    page = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (high + _GAP) + _GAP), _BACK)
    for i, cell in enumerate(cells):
        page.paste(cell, (_GAP + (i % columns) * (width + _GAP), _GAP + (i // columns) * (high + _GAP)))
    _save(page, output, film)
    return len(cells)


def poster(film: Path, output: Path) -> float:
    """The sharpest, most colourful of a few frames, whole. Returns its second."""
    _check(output, (".png", ".jpg", ".jpeg", ".webp"))
    numbers = _evenly(film, 12)
    frames = list(_picked(film, numbers))
    best = max(range(len(frames)), key=lambda i: _interest(frames[i]))
    _save(Image.fromarray(frames[best]), output, film)
    return numbers[best] / _rate(film)


def moving(film: Path, output: Path, width: int = WEBP_WIDTH, fps: int = WEBP_FPS) -> int:
    """An animated WebP of the whole film, small enough for a page. Returns how many frames it has."""
    _check(output, (".webp",))
    with closing(read_frames(film, fps=fps)) as read:
        pictures = [_small(frame, width) for frame in read]
    beside = output.with_name(f".{output.stem}.partial.webp")
    try:
        pictures[0].save(
            beside,
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / fps),
            loop=0,
            quality=60,
            method=3,
            xmp=to_xmp(_marks(film)),
        )
        os.replace(beside, output)
    except OSError as error:
        raise output_error(output, error) from error
    finally:
        beside.unlink(missing_ok=True)
    return len(pictures)


def _small(frame: Frame, width: int) -> Image.Image:
    width = min(width, frame.shape[1])
    return Image.fromarray(frame).resize(
        (width, round(width * frame.shape[0] / frame.shape[1])), Image.Resampling.LANCZOS
    )


def _check(output: Path, suffixes: tuple[str, ...]) -> None:
    check_folder(output, f"sheet{suffixes[0]}")
    if output.suffix.lower() not in suffixes or output.suffix.lower() not in PICTURES:
        raise OutputError(
            f"cannot write {output.suffix or 'a file without suffix'}; name it {' or '.join(suffixes)}"
        )


def _marks(film: Path) -> dict[str, str]:
    """The metadata marks of the film, to be carried on."""
    return {key: value for key, value in read_metadata(film).items() if key in (aigc.KEY, aigc.RECORD)}


def _board(film: Path) -> Mapping[str, Any] | None:
    found = ((verify(film).record or {}).get("request") or {}).get("storyboard")
    return found if isinstance(found, dict) else None


def _middles(film: Path) -> list[int]:
    values = _board(film)
    if values is None:
        return _evenly(film, 12)
    board = build_storyboard(values)
    return [(start + end) // 2 for start, end in board.spans()]


def _count(film: Path) -> int:
    with closing(read_frames(film)) as frames:
        return sum(1 for _ in frames)


def _rate(film: Path) -> float:
    import av

    with av.open(str(film)) as container:
        return float(container.streams.video[0].average_rate or 24)


def _evenly(film: Path, many: int) -> list[int]:
    count = _count(film)
    return sorted({int((i + 0.5) * count / many) for i in range(many)})


def _picked(film: Path, numbers: list[int]) -> Iterator[Frame]:
    wanted = set(numbers)
    with closing(read_frames(film)) as frames:
        for number, frame in enumerate(frames):
            if number in wanted:
                yield frame


def _interest(frame: Frame) -> float:
    """Fine detail times colour."""
    small = np.asarray(Image.fromarray(frame).resize((160, 90)), np.float32)
    detail = float(np.abs(np.diff(small, axis=0)).mean() + np.abs(np.diff(small, axis=1)).mean())
    return detail * (1.0 + float((small.max(2) - small.min(2)).mean()) / 64)


def _save(image: Image.Image, output: Path, film: Path) -> None:
    """Write a picture with the film's marks, whole or not at all."""
    tags = _marks(film)
    beside = output.with_name(f".{output.stem}.partial{output.suffix}")
    try:
        if output.suffix.lower() == ".png":
            info = PngInfo()
            for key, value in tags.items():
                info.add_itxt(key, value)
            image.save(beside, pnginfo=info)
        else:
            image.save(beside, quality=90, xmp=to_xmp(tags))
        os.replace(beside, output)
    except OSError as error:
        raise output_error(output, error) from error
    finally:
        beside.unlink(missing_ok=True)
