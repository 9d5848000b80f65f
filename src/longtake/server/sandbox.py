"""Untrusted media, opened in a process of its own with little memory, time and rights, and made harmless.

`python -m longtake.server.sandbox picture|video|character IN OUT LIMITS` decodes all of IN and writes it again as a
file of ours: PNG for a picture, H.264 for a video, PNG of the middle frame for a character. So no later step decodes
bytes a stranger chose. It answers with one line of JSON on standard output: the size and length, or an error.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MEMORY = 4 * 2**30
_OUTPUT = 2**30


@dataclass(frozen=True)
class Media:
    """What an upload turned out to be."""

    kind: str
    width: int
    height: int
    seconds: float = 0.0


def sniff(head: bytes) -> str | None:
    """picture, video or None for the first bytes of a file: the sender's name and type are not believed."""
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    ):
        return "picture"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") or head.startswith(b"\x1aE\xdf\xa3"):
        return "video"
    return None


def limit(seconds: int) -> None:
    """Give up rights this process does not need."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT, _OUTPUT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def convert(kind: str, source: Path, target: Path, pixels: int, longest: float) -> Media:
    """Raises MediaError."""
    if kind == "picture":
        return _picture(source, target, pixels)
    if kind == "video":
        return _video(source, target, pixels, longest)
    return _middle(source, target, pixels, longest)


def _picture(source: Path, target: Path, pixels: int) -> Media:
    from PIL import Image

    from longtake.errors import MediaError
    from longtake.video import read_picture

    Image.MAX_IMAGE_PIXELS = pixels
    Image.init()
    with _readable(source), Image.open(source, formats=("JPEG", "PNG", "WEBP")) as image:
        if image.width * image.height > pixels:
            raise MediaError(
                f"the picture has {image.width}x{image.height} pixels; at most {pixels} are read"
            )
    frame = read_picture(source)
    Image.fromarray(frame).save(target, "PNG", compress_level=1)
    return Media("picture", frame.shape[1], frame.shape[0])


class _readable:
    """Turns what Pillow raises for a file it cannot read into the one error users see."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from longtake.errors import LongtakeError, MediaError

        if isinstance(error, Exception) and not isinstance(error, LongtakeError):
            raise MediaError("the picture cannot be read; send PNG, JPEG or WebP") from None


def _frames(source: Path, pixels: int, longest: float) -> Any:
    """Frames at 24 a second, at most `longest` seconds of them, no picture of more than `pixels`."""
    from longtake.errors import MediaError
    from longtake.video import read_frames

    for count, frame in enumerate(read_frames(source, 24)):
        if frame.shape[0] * frame.shape[1] > pixels:
            raise MediaError(
                f"the video has {frame.shape[1]}x{frame.shape[0]} pixels; at most {pixels} are read"
            )
        if count > longest * 24 + 12:
            raise MediaError(f"the video is longer than {longest:g} seconds; cut it first")
        yield frame


def _video(source: Path, target: Path, pixels: int, longest: float) -> Media:
    import numpy as np
    from PIL import Image

    from longtake.errors import MediaError
    from longtake.video import Writer

    writer: Writer | None = None
    size = (0, 0)
    for frame in _frames(source, pixels, longest):
        if writer is None:
            size = _fit(frame.shape[1], frame.shape[0])
            writer = Writer(target, *size, 24, {})
        picture = Image.fromarray(frame)  # a stream may change its size: all get that of the first frame
        writer.write(np.asarray(picture if picture.size == size else picture.resize(size)))
    if writer is None:
        raise MediaError("the video has no readable frame")
    writer.finish()
    return Media("video", *size, writer.frames / 24)


def _fit(width: int, height: int) -> tuple[int, int]:
    """At most 1920 on a side, both sides even."""
    share = min(1.0, 1920 / max(width, height))
    return max(2, round(width * share / 2) * 2), max(2, round(height * share / 2) * 2)


def _middle(source: Path, target: Path, pixels: int, longest: float) -> Media:
    from PIL import Image

    from longtake.errors import MediaError

    kept: list[Image.Image] = []
    for number, frame in enumerate(_frames(source, pixels, longest)):
        if number % 24 == 0:
            second = Image.fromarray(frame)
            second.thumbnail((960, 960))
            kept.append(second)
    if not kept:
        raise MediaError("the video has no readable frame")
    picture = kept[len(kept) // 2]
    picture.save(target, "PNG")
    return Media("character", picture.width, picture.height, float(len(kept)))


def main() -> None:
    kind, source, target, bounds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    limit(int(bounds["decode_seconds"]))
    from longtake.errors import LongtakeError

    try:
        if kind == "verify":
            from longtake.provenance.verify import verify

            print(json.dumps(json.loads(verify(source, language=bounds["language"]).to_json())))
        else:
            print(json.dumps(vars(convert(kind, source, target, bounds["pixels"], bounds["media_seconds"]))))
    except LongtakeError as error:
        print(json.dumps({"error": str(error).replace(source.name, "the file")}))
    except MemoryError:
        print(json.dumps({"error": "the file takes too much memory to read; send a smaller one"}))


if __name__ == "__main__":
    main()
