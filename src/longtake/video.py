"""Reading and writing media: streaming, in constant memory, and never a traceback for a broken file.

Frames cross this boundary as uint8 arrays [h w 3], RGB. The module knows containers and codecs, not models.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps, UnidentifiedImageError

from longtake.errors import MediaError, OutputError

Frame = np.ndarray[Any, np.dtype[np.uint8]]

MOST_PIXELS = 7680 * 4320
LONGEST_SECONDS = 600.0
_LONGEST_NAME = 240
"""Bytes; file systems take 255, and a file has a longer name while it is written."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FILMS = (".mp4", ".mov", ".m4v")
CRF = 18
SAMPLED_FRAMES = 288
"""Frames of up to 1080p a detector looks at; fewer of larger ones."""
SAMPLING_SECONDS = 20.0
PIECES, PIECE = 6, 2.0
SOUND_BITS = 192_000
"""Bits a second of the AAC track."""
_SOUND_FRAME = 1024
_CONTAINER_KEYS = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""Keys the muxer writes itself."""


class Writer:
    """An H.264 file that grows frame by frame: yuv420p, BT.709, index first, own metadata keys kept."""

    def __init__(self, path: Path, width: int, height: int, fps: int, metadata: Mapping[str, str]) -> None:
        with _writing(path):
            self._container = av.open(
                str(path), "w", format="mp4", options={"movflags": "+faststart+use_metadata_tags"}
            )
            self._container.metadata.update(metadata)
            stream = self._container.add_stream("libx264", rate=fps)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            # x264's macroblock tree gave other bytes from run to run (AVX-512, sizes such as 320x192)
            stream.options = {"crf": str(CRF), "preset": "veryfast", "x264-params": "mbtree=0"}
            context = stream.codec_context
            context.time_base = Fraction(1, fps)
            context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
            context.color_range = 1  # limited
        self._stream, self._path, self.frames = stream, path, 0

    def write(self, frame: Frame) -> None:
        """Append one frame. Raises OutputError when the disk is full."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        picture.pts = self.frames
        with _writing(self._path):
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        self.frames += 1

    def finish(self) -> None:
        with _writing(self._path):
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()

    def abandon(self) -> None:
        """Let go of the file without caring for its contents."""
        with contextlib.suppress(Exception):
            self._container.close()


def add_sound(
    path: Path,
    samples: np.ndarray[Any, np.dtype[np.float32]],
    rate: int,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Give a finished film its sound, float32 [n 2]: AAC, laid between the untouched packets of the picture.

    The container's own keys stay, with `metadata` over them. The file is replaced only when the new one is whole.
    Raises OutputError.
    """
    beside = path.with_name(f"{path.stem}.sound{path.suffix}")
    try:
        with _writing(path), av.open(str(path)) as source:
            options = {"movflags": "+faststart+use_metadata_tags"}
            with av.open(str(beside), "w", format="mp4", options=options) as target:
                kept = {k: v for k, v in source.metadata.items() if k not in _CONTAINER_KEYS}
                target.metadata.update({**kept, **(metadata or {})})
                _lay_sound(source, target, samples, rate)
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _lay_sound(source: Any, target: Any, samples: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> None:
    """Copy the picture's packets, and before each the sound up to its time."""
    seen = source.streams.video[0]
    picture = target.add_stream_from_template(seen)
    heard = target.add_stream("aac", rate=rate, layout="stereo")
    heard.bit_rate = SOUND_BITS
    done = 0
    for packet in source.demux(seen):
        if packet.dts is None:  # the end
            continue
        until = float(packet.dts * packet.time_base) + 0.5
        while done < min(len(samples), until * rate):
            done += _encode_sound(target, heard, samples, done, rate)
        packet.stream = picture
        target.mux(packet)
    while done < len(samples):
        done += _encode_sound(target, heard, samples, done, rate)
    target.mux(heard.encode())


def _encode_sound(
    target: Any, stream: Any, samples: np.ndarray[Any, np.dtype[np.float32]], start: int, rate: int
) -> int:
    """Encode and write one frame of sound from sample `start`; returns its length."""
    piece = np.ascontiguousarray(samples[start : start + _SOUND_FRAME].T)
    frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
    target.mux(stream.encode(frame))
    return int(piece.shape[1])


def read_sound(path: Path, rate: int) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """The sound of a video as float32 [n 2] at `rate`, None where it has none. Raises MediaError."""
    container = _open_video(path)
    try:
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler("fltp", "stereo", rate)
        parts = []
        for frame in container.decode(container.streams.audio[0]):
            parts += [made.to_ndarray() for made in resampler.resample(frame)]
        parts += [made.to_ndarray() for made in resampler.resample(None)]
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"the sound of {path.name} cannot be decoded ({_reason(error)})") from None
    finally:
        container.close()
    return np.ascontiguousarray(np.concatenate(parts, 1).T) if parts else None


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # PyAV's errors are OSErrors too
        raise output_error(path, error) from error


def output_error(path: Path, error: OSError) -> OutputError:
    """The user's words for a failed write."""
    folder = path.parent
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return OutputError(f"the disk is full at {folder}; free some space or write elsewhere")
        case errno.ENOENT if not folder.exists():
            return OutputError(f"the folder {folder} does not exist; create it first: mkdir -p {folder}")
        case errno.ENOENT | errno.EACCES | errno.EROFS | errno.EPERM:
            return OutputError(f"cannot write into {folder}: it is read-only for you; choose another folder")
    return OutputError(f"cannot write {path.name}: {error.strerror or error}")


def check_folder(path: Path, example: str = "film.mp4") -> None:
    """Raise OutputError unless a file can be made at `path`, before any work is done; `example` is a name for one."""
    folder = path.parent
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise OutputError(
            f"the name {path.name[:20]}... is too long; at most {_LONGEST_NAME} bytes can be used"
        )
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder; choose another place for {path.name}")
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist; create it first: mkdir -p {folder}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file, for example {path / example}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"cannot write into {folder}: it is read-only for you; choose another folder")


def settle(beside: Path, path: Path) -> None:
    """Make `beside` durable and give it its final name."""
    with _writing(path):
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)


def thumbnail(frame: Frame, side: int = 320) -> bytes:
    """A small JPEG of a frame."""
    picture = Image.fromarray(frame)
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=75)
    return out.getvalue()


def read_frames(path: Path, fps: float | None = None) -> Generator[Frame, None, None]:
    """Frames of a video in order, turned upright; at `fps` by time stamp when given.

    Raises MediaError for what is no video, is damaged, or is larger than this program will read.
    """
    container = _open_video(path)
    produced = 0
    try:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        origin: float | None = None
        for number, frame in enumerate(container.decode(stream)):
            time = float(frame.time) if frame.time is not None else number / 24
            origin = time if origin is None else origin
            if time - origin > LONGEST_SECONDS:
                raise MediaError(f"{path.name} is longer than {LONGEST_SECONDS / 60:g} minutes; cut it first")
            picture = None
            while fps is None or produced <= (time - origin) * fps + 1e-3:
                picture = _upright(frame) if picture is None else picture
                yield picture
                produced += 1
                if fps is None:
                    break
    except (av.FFmpegError, ValueError) as error:
        if not produced:
            raise MediaError(f"{path.name} cannot be decoded ({_reason(error)}); save it again") from None
        raise MediaError(f"{path.name} is damaged after frame {produced}; save it again or cut it") from None
    finally:
        container.close()
    if not produced:
        raise MediaError(f"{path.name} has no readable frame; it may be cut off: save it again")


def sample_grey(path: Path, size: Callable[[int, int], tuple[int, int]]) -> Generator[Frame, None, None]:
    """Brightness [h w] of the frames a detector looks at: all of a short video, pieces of two seconds of a long one.

    `size` says at which (width, height) to look at a picture of some size. Time and memory are bounded whatever the
    container claims; what is damaged at its end is read up to there. Raises MediaError when no frame can be read.
    """
    container = _open_video(path)
    produced, last, started = 0, -math.inf, time.monotonic()
    try:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        pixels = max(1, stream.codec_context.width * stream.codec_context.height)
        most = int(min(SAMPLED_FRAMES, max(24, SAMPLED_FRAMES * 1920 * 1080 // pixels)))
        starts = _pieces(stream)
        shrink = VideoReformatter()  # one for all frames: each one's own would lay its filter out anew
        for start in starts:
            if start:
                container.seek(int(start / stream.time_base), stream=stream)
            taken = 0
            for number, frame in enumerate(container.decode(stream)):
                if time.monotonic() - started > SAMPLING_SECONDS or number > most:
                    break
                shown = float(frame.time) if frame.time is not None else last + 1
                if shown <= last:
                    continue  # a seek that landed in what was seen
                last = shown
                width, height = size(frame.width, frame.height)
                small = shrink.reformat(frame, width, height, "gray", interpolation="AREA")
                grey = small.to_ndarray()
                yield np.ascontiguousarray(np.rot90(grey, round(frame.rotation / 90) % 4))
                taken, produced = taken + 1, produced + 1
                if taken >= most // len(starts):
                    break
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        if not produced:
            raise MediaError(f"{path.name} cannot be decoded ({_reason(error)}); save it again") from None
    finally:
        container.close()
    if not produced:
        raise MediaError(f"{path.name} has no readable frame; it may be cut off: save it again")


def _pieces(stream: Any) -> list[float]:
    """Where to begin reading, in seconds."""
    length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if not PIECE * PIECES < length < 1e6:
        return [0.0]
    return [i * (length - PIECE) / (PIECES - 1) for i in range(PIECES)]


def is_picture(path: Path) -> bool:
    """By its first bytes; by its name when it cannot be opened."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return path.suffix.lower() in PICTURES
    return (
        head[:8] == b"\x89PNG\r\n\x1a\n"
        or head[:3] == b"\xff\xd8\xff"
        or (head[:4], head[8:]) == (b"RIFF", b"WEBP")
    )


@dataclass(frozen=True)
class Outline:
    """What a video is before a frame of it is read."""

    width: int
    height: int
    rate: float
    """Frames a second."""
    seconds: float
    """Length of the picture."""
    has_sound: bool


def outline(path: Path) -> Outline:
    """Size, rate and length of a video. Raises MediaError for what is no video, or is too long."""
    container = _open_video(path)
    try:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 24)
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / av.time_base
        else:  # a stream without a header that says it: count
            seconds = sum(packet.pts is not None for packet in container.demux(stream)) / rate
        if seconds > LONGEST_SECONDS:
            raise MediaError(f"{path.name} is longer than {LONGEST_SECONDS / 60:g} minutes; cut it first")
        if seconds <= 0:
            raise MediaError(f"{path.name} has no readable frame; it may be cut off: save it again")
        size = stream.codec_context
        return Outline(size.width, size.height, rate, seconds, bool(container.streams.audio))
    finally:
        container.close()


def read_metadata(path: Path) -> dict[str, str]:
    """The container's own keys. Raises MediaError for what is no video."""
    container = _open_video(path)
    try:
        return dict(container.metadata)
    finally:
        container.close()


def _open_video(path: Path) -> Any:
    check_file(path)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path.name} is not a readable video ({_reason(error)}); try mp4 or mov") from None
    if not container.streams.video:
        container.close()
        raise MediaError(f"{path.name} has no picture track; give a file with video in it")
    context = container.streams.video[0].codec_context
    if context.width * context.height > MOST_PIXELS:
        container.close()
        raise MediaError(f"{path.name} has {context.width}x{context.height} pixels; at most 8K is read")
    return container


def _upright(frame: Any) -> Frame:
    picture: Frame = frame.to_ndarray(format="rgb24")
    turns = round(-frame.rotation / 90) % 4 if getattr(frame, "rotation", 0) else 0
    return np.ascontiguousarray(np.rot90(picture, -turns)) if turns else picture


def read_picture(path: Path) -> Frame:
    """A picture, turned upright, transparent parts on white. Raises MediaError when it cannot be read."""
    check_file(path)
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise MediaError(f"{path.name} has {image.width}x{image.height} pixels; at most 8K is read")
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else _reason(error)
        raise MediaError(f"{path.name} cannot be read as a picture ({reason}); try png or jpg") from None
    white = Image.new("RGBA", upright.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"))


def check_file(path: Path) -> None:
    """Raise MediaError unless there is a file with something in it at `path`."""
    if not path.exists():
        raise MediaError(f"there is no file {path}; check the name")
    if path.is_dir():
        raise MediaError(f"{path} is a folder; give a file in it")
    if not path.is_file():  # a device or a pipe may have no end
        raise MediaError(f"{path} is not a regular file; save it as one first")
    if path.stat().st_size == 0:
        raise MediaError(f"{path.name} is empty (0 bytes); copy or download it again")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:80]
