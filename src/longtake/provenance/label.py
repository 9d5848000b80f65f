"""The visible label: "AI生成 / AI-GENERATED" burned into every frame, and found again by its template.

GB 45438-2025 asks for letters of at least 5 % of the shorter side for at least 2 s; these are 6.5 % for the whole
duration where the frame is wide enough for them. The label visits the four corners in turn, set in so far that a
crop that keeps 70 % of the picture keeps the whole label in some of its frames. The letters are a picture (see
scripts/make_label_glyphs.py): no font is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from longtake.video import Frame

GLYPHS = Path(__file__).parent / "label.png"
LETTER_SHARE = 0.065
"""Height of the letters over the shorter side of the frame."""
_LETTERS, _OUTLINE = 96, 8
"""Of the letters' height in the glyph picture, and their outline."""
WIDEST = 0.8
"""Of the frame's width: on a narrow frame the label is set in two lines."""
SECONDS_PER_CORNER = 1.0
INSET = 0.083
"""Distance from each edge over that side: (1 - sqrt(0.7)) / 2, what such a crop can cut at both ends, rounded up."""
MATCH = 0.60
"""Normalised correlation from which a corner counts as labelled."""
LEAST = 4.0
"""Letters of fewer pixels are a smudge that anything resembles: 6 in 10 unlabelled pictures of 20x12 matched."""

Plane = np.ndarray[Any, np.dtype[np.float32]]
Box = tuple[int, int, int, int]


@lru_cache(maxsize=16)
def glyphs(width: int, height: int) -> tuple[Plane, Plane]:
    """Brightness 0..255 and alpha 0..1 of the label for a frame of this size, both [h w]."""
    picture = Image.open(GLYPHS).convert("LA")
    scale = LETTER_SHARE * min(width, height) / _LETTERS
    if picture.width * scale > WIDEST * width:
        picture = _two_lines(picture)
    scale = min(scale, WIDEST * width / picture.width)
    size = max(8, round(picture.width * scale)), max(4, round(picture.height * scale))
    small = np.asarray(picture.resize(size, Image.Resampling.LANCZOS), np.float32)
    return small[..., 0].copy(), (small[..., 1] / 255).astype(np.float32)


def _two_lines(picture: Image.Image) -> Image.Image:
    """Break after the slash: the widest gap of the ink before the middle."""
    ink = np.asarray(picture)[..., 1].max(0) > 0
    columns = np.arange(picture.width)
    gaps = columns[~ink & (columns > 0.2 * picture.width) & (columns < 0.5 * picture.width)]
    cut = int(gaps[-1]) if len(gaps) else round(0.34 * picture.width)
    first, second = (
        picture.crop((0, 0, cut, picture.height)),
        picture.crop((cut, 0, picture.width, picture.height)),
    )
    page = Image.new("LA", (max(first.width, second.width), 2 * picture.height))
    page.paste(first, (0, 0))
    page.paste(second, (0, picture.height))
    return page


def corners(width: int, height: int) -> tuple[Box, ...]:
    """The places of the label in the order of their turns, x0 y0 x1 y1; the first is bottom right."""
    h, w = glyphs(width, height)[0].shape
    dx, dy = math.ceil(INSET * width), math.ceil(INSET * height)
    left, right, top, bottom = dx, width - dx - w, dy, height - dy - h
    places = ((right, bottom), (left, top), (right, top), (left, bottom))
    return tuple((x, y, x + w, y + h) for x, y in places)


def burn(frame: Frame, seconds: float) -> Frame:
    """A copy of the frame with the label where it belongs at this time."""
    height, width = frame.shape[:2]
    letters, alpha = glyphs(width, height)
    places = corners(width, height)
    x0, y0, x1, y1 = places[int(seconds / SECONDS_PER_CORNER) % len(places)]
    labelled = frame.copy()
    under = labelled[y0:y1, x0:x1].astype(np.float32)
    mixed = under + (letters[..., None] - under) * alpha[..., None]
    labelled[y0:y1, x0:x1] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return labelled


def match(frame: Frame) -> float:
    """How well the label is seen in the best corner of a picture [h w 3] or [h w], -1..1 (normalised correlation)."""
    return _find(frame)[0]


def lift(frame: Frame) -> Frame:
    """The frame as it may have been under a label, for a model that goes on from it: its film is labelled anew.

    Letters and outline are filled from what surrounds them; a frame without a label comes back as it is.
    """
    score, (x0, y0, x1, y1) = _find(frame)
    if score < MATCH:
        return frame
    height, width = frame.shape[:2]
    known = np.ones((height, width), bool)
    # two pixels more on every side: a codec smears the outline
    covered = np.pad(glyphs(width, height)[1] > 0.02, 2)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            shifted = np.roll(covered, (dy, dx), (0, 1))[2:-2, 2:-2]
            known[y0:y1, x0:x1] &= ~shifted[: y1 - y0, : x1 - x0]
    return _fill(frame, known)


def _find(frame: Frame) -> tuple[float, Box]:
    """The best correlation of the label with a corner of the frame, and where."""
    height, width = frame.shape[:2]
    if LETTER_SHARE * min(width, height) < LEAST:
        return -1.0, (0, 0, 0, 0)
    grey = frame.astype(np.float32)
    grey = grey.mean(2) if grey.ndim == 3 else grey
    letters, alpha = glyphs(width, height)
    inside = alpha > 0.5
    template = letters[inside] - letters[inside].mean()
    best, place = -1.0, (0, 0, 0, 0)
    for x0, y0, x1, y1 in corners(width, height):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                rows, columns = slice(max(0, y0 + dy), y1 + dy), slice(max(0, x0 + dx), x1 + dx)
                patch = grey[rows, columns]
                if patch.shape != inside.shape:
                    continue
                seen = patch[inside] - patch[inside].mean()
                scale = float(np.linalg.norm(seen) * np.linalg.norm(template))
                score = float(seen @ template) / scale if scale > 0 else -1.0
                if score > best:
                    best, place = score, (x0 + dx, y0 + dy, x1 + dx, y1 + dy)
    return best, place


def _fill(frame: Frame, known: np.ndarray[Any, np.dtype[np.bool_]]) -> Frame:
    """Unknown pixels from known ones around them: means at ever coarser scales, put back (push-pull).

    Gortler et al., The Lumigraph, 1996, section 3.4.
    """
    if known.all() or not known.any():
        return frame
    height, width = known.shape
    pad = ((0, height % 2), (0, width % 2))
    weight = np.pad(known.astype(np.float32), pad)[..., None]
    value = np.pad(frame.astype(np.float32), (*pad, (0, 0))) * weight
    total = weight.reshape(weight.shape[0] // 2, 2, -1, 2, 1).sum((1, 3))
    mean = value.reshape(*total.shape[:1], 2, total.shape[1], 2, 3).sum((1, 3)) / np.maximum(total, 1e-6)
    coarse = _fill(mean, total[..., 0] > 0) if max(height, width) > 2 else mean
    smooth = Image.fromarray(np.clip(coarse + 0.5, 0, 255).astype(np.uint8))
    finer = np.asarray(smooth.resize((weight.shape[1], weight.shape[0]), Image.Resampling.BILINEAR))
    filled = np.where(known[..., None], frame, finer[:height, :width])
    return filled.astype(frame.dtype)
