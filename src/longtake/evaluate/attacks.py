"""What is done to a film before its mark is read: what platforms and people do, by the name of a row of the report.

An attack takes the frames (uint8 [h w 3], 24 a second) and gives back others, of any number and size.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image, ImageFilter

from longtake.video import Frame

Frames = list[Frame]
FPS = 24
BILINEAR, BOX = Image.Resampling.BILINEAR, Image.Resampling.BOX


@dataclass(frozen=True)
class Attack:
    """A row of the table. `bar` is the bit accuracy asked for, `hits` the share of films to be recognised."""

    name: str
    bar: float | None
    run: Callable[[Frames], Frames]
    hits: float | None = None


def codec(frames: Frames, name: str, crf: int) -> Frames:
    """Through a video codec and back. Sizes are cut to even numbers."""
    with av.open(io.BytesIO(encoded(frames, name, crf)), "r") as file:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in file.decode(video=0)]


def encoded(frames: Frames, name: str, crf: int, form: str = "matroska") -> bytes:
    """A file of the frames, without metadata. Sizes are cut to even numbers."""
    height, width = (n // 2 * 2 for n in frames[0].shape[:2])
    memory = io.BytesIO()
    with av.open(memory, "w", format=form) as container:
        stream: Any = container.add_stream(name, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        stream.options = {"crf": str(crf)} | _CODECS.get(name, {"preset": "fast"})
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            picture.pts = i
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return memory.getvalue()


_CODECS = {
    "libx265": {"preset": "fast", "x265-params": "log-level=none:pools=1"},
    "libvpx-vp9": {"b": "0", "deadline": "realtime", "cpu-used": "6"},
    "libsvtav1": {"preset": "10", "svtav1-params": "lp=1"},
}


def resize(frames: Frames, width: int, height: int) -> Frames:
    return [np.asarray(Image.fromarray(f).resize((max(2, width), max(2, height)), BILINEAR)) for f in frames]


def scale(frames: Frames, factor: float) -> Frames:
    height, width = frames[0].shape[:2]
    return resize(frames, round(width * factor), round(height * factor))


def crop(frames: Frames, part: float) -> Frames:
    """Keep this part of both sides, off the centre."""
    height, width = frames[0].shape[:2]
    h, w = round(height * part), round(width * part)
    top, left = (height - h) // 3, (width - w) // 2
    return [f[top : top + h, left : left + w] for f in frames]


def rotate(frames: Frames, degrees: float) -> Frames:
    return [np.asarray(Image.fromarray(f).rotate(degrees, BILINEAR)) for f in frames]


def perspective(frames: Frames, amount: float) -> Frames:
    """The upper corners drawn inwards by this share of the width."""
    height, width = frames[0].shape[:2]
    shift = amount * width
    here = [(0, 0), (width, 0), (width, height), (0, height)]
    there = [(shift, 0), (width - shift, 0), (width, height), (0, height)]
    rows = []
    for (x, y), (u, v) in zip(there, here, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    solved = np.linalg.solve(np.array(rows, float), np.array(here, float).ravel()).tolist()
    kind = Image.Transform.PERSPECTIVE
    return [np.asarray(Image.fromarray(f).transform((width, height), kind, solved, BILINEAR)) for f in frames]


def letterbox(frames: Frames) -> Frames:
    height, width = frames[0].shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    margins = (top, side - height - top), (left, side - width - left), (0, 0)
    return [np.pad(f, margins) for f in frames]


def pixels(frames: Frames, change: Callable[[np.ndarray[Any, Any]], Any]) -> Frames:
    return [np.clip(np.rint(change(f.astype(np.float32))), 0, 255).astype(np.uint8) for f in frames]


def noise(frames: Frames, sigma: float) -> Frames:
    rng = np.random.default_rng(5)
    return pixels(frames, lambda f: f + rng.standard_normal(f.shape, np.float32) * sigma)


def filtered(frames: Frames, kind: Any) -> Frames:
    return [np.asarray(Image.fromarray(f).filter(kind)) for f in frames]


def jpeg(frames: Frames, quality: int) -> Frames:
    packed = []
    for frame in frames:
        memory = io.BytesIO()
        Image.fromarray(frame).save(memory, "JPEG", quality=quality)
        packed.append(np.asarray(Image.open(memory)))
    return packed


def hue(frames: Frames, turn: float) -> Frames:
    turned = []
    for frame in frames:
        colours = np.array(Image.fromarray(frame).convert("HSV"))
        colours[..., 0] += np.uint8(round(turn * 255))
        turned.append(np.asarray(Image.fromarray(colours, "HSV").convert("RGB")))
    return turned


def averaged(frames: Frames, width: int = 3) -> Frames:
    """A moving mean over frames."""
    stack = np.stack(frames).astype(np.float32)
    return [
        np.rint(stack[max(0, t - width // 2) : t + width // 2 + 1].mean(0)).astype(np.uint8)
        for t in range(len(frames))
    ]


def interpolated(frames: Frames) -> Frames:
    """Every second frame replaced by the mean of its neighbours."""
    return [
        ((frames[t - 1].astype(np.uint16) + frames[t + 1]) // 2).astype(np.uint8)
        if t % 2 and t + 1 < len(frames)
        else frames[t]
        for t in range(len(frames))
    ]


def swapped(frames: Frames) -> Frames:
    return [frames[min(t ^ 1, len(frames) - 1)] for t in range(len(frames))]


def dropped(frames: Frames, share: float) -> Frames:
    keep = np.random.default_rng(6).random(len(frames)) >= share
    keep[0] = True
    return [f for f, kept in zip(frames, keep, strict=True) if kept]


def other_rate(frames: Frames) -> Frames:
    """24 -> 12 -> 30 frames a second by repeating the nearest."""
    half = frames[::2]
    return [half[min(len(half) - 1, round(t * 12 / 30))] for t in range(len(frames) * 30 // 24)]


def strange(frames: Frames) -> Frames:
    """Unmarked frames of the same size: soft spots that wander."""
    height, width = frames[0].shape[:2]
    rng = np.random.default_rng(7)
    field = Image.fromarray(rng.integers(0, 256, (9, 40, 3), dtype=np.uint8))
    wide = np.asarray(field.resize((width + 4 * len(frames), height), Image.Resampling.BICUBIC))
    return [wide[:, 4 * t : 4 * t + width] for t in range(len(frames))]


def overlaid(frames: Frames, share: float) -> Frames:
    """Strange pictures shine through."""
    mixed = zip(frames, strange(frames), strict=True)
    return [np.rint(a * (1 - share) + b.astype(np.float32) * share).astype(np.uint8) for a, b in mixed]


def inset(frames: Frames, part: float = 0.5) -> Frames:
    """The film small in the corner of another one."""
    out = []
    for small, around in zip(scale(frames, part), strange(frames), strict=True):
        page, (h, w) = around.copy(), small.shape[:2]
        page[8 : 8 + h, 8 : 8 + w] = small
        out.append(page)
    return out


def captioned(frames: Frames) -> Frames:
    """A black bar with white blocks over the lowest sixth."""
    out = []
    for frame in frames:
        page, (height, width) = frame.copy(), frame.shape[:2]
        page[height * 5 // 6 :] = 0
        page[height * 53 // 60 : height * 57 // 60, width // 8 : width * 7 // 8 : 6] = 255
        out.append(page)
    return out


def heavy(frames: Frames, crf: int) -> Frames:
    return codec(pixels(crop(frames, 0.71), lambda f: f * 0.5), "libx264", crf)


ATTACKS = (
    Attack("none", 0.999, lambda f: f, 1.0),
    Attack("x264 CRF 23", 0.999, lambda f: codec(f, "libx264", 23), 1.0),
    Attack("x264 CRF 28", 0.99, lambda f: codec(f, "libx264", 28), 1.0),
    Attack("x264 CRF 34", 0.97, lambda f: codec(f, "libx264", 34), 0.98),
    Attack("x264 CRF 40", 0.93, lambda f: codec(f, "libx264", 40), 0.9),
    Attack("x264 CRF 50", None, lambda f: codec(f, "libx264", 50)),
    Attack("x265 CRF 28", 0.99, lambda f: codec(f, "libx265", 28)),
    Attack("x265 CRF 36", 0.95, lambda f: codec(f, "libx265", 36)),
    Attack("VP9 CRF 40", 0.95, lambda f: codec(f, "libvpx-vp9", 40)),
    Attack("AV1 CRF 40", 0.99, lambda f: codec(f, "libsvtav1", 40)),
    Attack("CRF 28 twice", 0.98, lambda f: codec(codec(f, "libx264", 28), "libx264", 28)),
    Attack("resize .5", 0.99, lambda f: scale(f, 0.5)),
    Attack(
        "resize .32 and back, CRF 23",
        0.97,
        lambda f: codec(resize(scale(f, 0.32), f[0].shape[1], f[0].shape[0]), "libx264", 23),
    ),
    Attack("crop .71", 0.99, lambda f: crop(f, 0.71)),
    Attack("crop .55", 0.98, lambda f: crop(f, 0.55)),
    Attack("crop .45", 0.95, lambda f: crop(f, 0.45)),
    Attack("rotate 5", 0.99, lambda f: rotate(f, 5)),
    Attack("rotate 10", 0.99, lambda f: rotate(f, 10)),
    Attack("rotate 30", 0.95, lambda f: rotate(f, 30)),
    Attack("rotate 90", 0.99, lambda f: [np.rot90(x) for x in f]),
    Attack("rotate 180", 0.99, lambda f: [x[::-1, ::-1] for x in f]),
    Attack("rotate 270", 0.99, lambda f: [np.rot90(x, 3) for x in f]),
    Attack("flip left-right", 0.99, lambda f: [x[:, ::-1] for x in f]),
    Attack("flip up-down", 0.99, lambda f: [x[::-1] for x in f]),
    Attack("aspect to 1:1", 0.97, lambda f: resize(f, f[0].shape[0], f[0].shape[0])),
    Attack("aspect to 4:3", 0.97, lambda f: resize(f, f[0].shape[0] * 4 // 3, f[0].shape[0])),
    Attack("letterbox", 0.97, letterbox),
    Attack("perspective .1", 0.95, lambda f: perspective(f, 0.1)),
    Attack("brightness .5", 0.99, lambda f: pixels(f, lambda x: x * 0.5)),
    Attack("brightness 2", 0.99, lambda f: pixels(f, lambda x: x * 2)),
    Attack("contrast .5", 0.99, lambda f: pixels(f, lambda x: (x - 128) * 0.5 + 128)),
    Attack("contrast 2", 0.99, lambda f: pixels(f, lambda x: (x - 128) * 2 + 128)),
    Attack("gamma 1.6", 0.99, lambda f: pixels(f, lambda x: 255 * (x / 255) ** 1.6)),
    Attack("greyscale", 0.99, lambda f: pixels(f, lambda x: np.repeat(x.mean(2, keepdims=True), 3, 2))),
    Attack("hue .25", 0.99, lambda f: hue(f, 0.25)),
    Attack("noise 5", 0.99, lambda f: noise(f, 5)),
    Attack("noise 10", 0.99, lambda f: noise(f, 10)),
    Attack("noise 25", 0.95, lambda f: noise(f, 25)),
    Attack("blur 9", 0.98, lambda f: filtered(f, ImageFilter.GaussianBlur(1.7))),
    Attack("blur 17", 0.98, lambda f: filtered(f, ImageFilter.GaussianBlur(2.9))),
    Attack("median 5", 0.98, lambda f: filtered(f, ImageFilter.MedianFilter(5))),
    Attack("JPEG 40", 0.98, lambda f: jpeg(f, 40)),
    Attack("24 to 12 to 30 a second", 0.99, other_rate),
    Attack("drop 20 %", 0.99, lambda f: dropped(f, 0.2)),
    Attack("drop 50 %", 0.99, lambda f: dropped(f, 0.5)),
    Attack("twice as fast", 0.99, lambda f: f[::2]),
    Attack("half as fast", 0.99, lambda f: [x for x in f for _ in range(2)]),
    Attack("one second", 0.98, lambda f: f[5 : 5 + FPS]),
    Attack("one frame", 0.98, lambda f: f[7:8]),
    Attack("reversed", 0.98, lambda f: f[::-1]),
    Attack("behind another film", 0.98, lambda f: strange(f) + f),
    Attack("mean of 3 frames", 0.97, averaged),
    Attack("frames swapped", 0.97, swapped),
    Attack("frames interpolated", 0.97, interpolated),
    Attack("overlay 30 %", 0.97, lambda f: overlaid(f, 0.3)),
    Attack("picture in picture", 0.97, inset),
    Attack("caption bar", 0.97, captioned),
    Attack("CRF 30, crop .71, brightness .5", 0.97, lambda f: heavy(f, 30)),
    Attack("CRF 40, crop .71, brightness .5", 0.9, lambda f: heavy(f, 40)),
)
