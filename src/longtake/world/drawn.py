"""Drawings no package has: the raw egg that runs down, and neon signs. Each is a function of the tile size."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from PIL import Image, ImageDraw

NEON_SIGNS = 8
_NEON = ((255, 40, 140), (30, 230, 255), (255, 190, 30), (130, 80, 255), (60, 255, 130), (255, 60, 40))


def splat(size: int) -> Image.Image:
    """A broken egg: the white runs down in three tongues, the yolk sits on top."""
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for tongue in ((30, 60, 226, 130), (50, 90, 90, 200), (104, 90, 138, 236), (160, 90, 196, 176)):
        draw.ellipse(tongue, fill=(250, 250, 246, 255))
    draw.ellipse((92, 50, 164, 110), fill=(250, 176, 30, 255))
    draw.ellipse((106, 58, 126, 74), fill=(255, 226, 140, 255))
    return image.resize((size, size), Image.Resampling.LANCZOS)


def neon(size: int, number: int) -> Image.Image:
    """A hanging sign with invented glyph-like strokes: it says nothing in any script."""
    rng = random.Random(number)
    colour = _NEON[number % len(_NEON)]
    upright = number % 3 != 2
    width, height = (64, 220) if upright else (190, 84)
    left, top = (256 - width) // 2, 240 - height
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    dark = (*(c // 6 for c in colour), 255)
    draw.rounded_rectangle(
        (left, top, left + width, top + height), 10, fill=dark, outline=(*colour, 255), width=7
    )
    pale = (*((c + 2 * 255) // 3 for c in colour), 255)
    glyphs = 4 if upright else 3
    for k in range(glyphs):
        x = left + width // 2 if upright else left + 38 + k * 57
        y = top + 34 + k * 51 if upright else top + height // 2
        for _ in range(5):
            offset = rng.randrange(-16, 17)
            if rng.random() < 0.5:
                draw.line((x - 16, y + offset, x + 16, y + offset), fill=pale, width=6)
            else:
                draw.line((x + offset, y - 16, x + offset, y + 16), fill=pale, width=6)
    return image.resize((size, size), Image.Resampling.LANCZOS)


DRAWN: dict[str, Callable[[int], Image.Image]] = {
    "splat": splat,
    **{f"neon-{i}": partial(neon, number=i) for i in range(NEON_SIGNS)},
}
