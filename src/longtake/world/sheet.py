"""Contact sheets: a row of frames under its caption, many to a picture."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from longtake.errors import OutputError, RequestError, nearest
from longtake.world.atlas import Atlas
from longtake.world.captions import caption
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, sample_scene

COLUMNS = 2
SHOWN = (0.08, 0.36, 0.64, 0.92)
"""Where in the clip the frames of a row are taken."""
_TEXT = 16
_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
)


@lru_cache(maxsize=1)
def _font() -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
    """A font, and whether it has Chinese letters."""
    for file in _FONTS:
        if Path(file).exists():
            return ImageFont.truetype(file, 12), True
    return ImageFont.load_default(12), False


def contact_sheet(rows: Sequence[tuple[str, np.ndarray]], columns: int = COLUMNS) -> Image.Image:
    """Rows of (caption, frames uint8 [t h w 3]) as one picture, four frames of each clip."""
    _, height, width, _ = rows[0][1].shape
    cell = width * len(SHOWN) + 8, height + _TEXT + 6
    lines = -(-len(rows) // columns)
    page = Image.new("RGB", (cell[0] * columns, cell[1] * lines), (18, 18, 22))
    draw = ImageDraw.Draw(page)
    font, _ = _font()
    for i, (words, frames) in enumerate(rows):
        x, y = (i % columns) * cell[0], (i // columns) * cell[1]
        while words and draw.textlength(words, font) > cell[0] - 8:
            words = words[:-2]
        draw.text((x + 2, y + 1), words, fill=(235, 235, 235), font=font)
        for k, share in enumerate(SHOWN):
            page.paste(Image.fromarray(frames[int(share * len(frames))]), (x + k * width, y + _TEXT + 2))
    return page


def sample_sheet(
    out: Path, count: int, vocabulary: str, language: str, size: str, seed: int, atlas_file: Path | None
) -> None:
    """Draw `count` random scenes with their captions. Raises RequestError and OutputError."""
    import torch

    from longtake.world.stage import Stage

    if vocabulary not in PRESETS:
        raise RequestError(
            f"unknown vocabulary {vocabulary!r}; choose pocket or full{nearest(vocabulary, PRESETS)}"
        )
    if language not in ("en", "zh", "both"):
        raise RequestError(f"unknown language {language!r}; choose en, zh or both")
    try:
        width, height = (int(v) for v in size.lower().split("x"))
    except ValueError:
        raise RequestError(f"size must be WIDTHxHEIGHT in pixels, such as 160x96, not {size!r}") from None
    if not (32 <= width <= 1920 and 32 <= height <= 1920 and 1 <= count <= 400):
        raise RequestError("a sheet holds 1 to 400 clips of 32 to 1920 pixels a side")
    rng = random.Random(seed)
    atlas = Atlas.load(atlas_file)
    stage = Stage(atlas, height, width)
    rows = []
    for i in range(count):
        scene = sample_scene(rng, PRESETS[vocabulary])
        chinese = _font()[1] and (language == "zh" or (language == "both" and i % 2 == 1))
        frames = stage.render([choreograph(scene, atlas, width / height)])[0]
        pixels = (frames * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
        rows.append((caption(scene, "zh" if chinese else "en", rng), pixels))
    try:
        contact_sheet(rows).save(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from None
    except ValueError:
        raise OutputError(f"cannot write {out}; name it .png or .jpg") from None
