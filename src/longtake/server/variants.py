"""The thumbnail and the sprite sheet of a film, with the film's own metadata marks."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image

from longtake.provenance import aigc
from longtake.provenance.xmp import to_xmp
from longtake.video import read_frames, read_metadata

VARIANTS = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}
_THUMBNAIL, _TILE, _TILES = 512, 256, 16


def make_variants(film: Path, folder: Path) -> dict[str, Path]:
    """Write both beside the film: a frame from the middle of the first second, and up to 16 frames in rows of 4."""
    metadata = read_metadata(film)
    tags = to_xmp({key: metadata[key] for key in (aigc.KEY, aigc.RECORD) if key in metadata})
    kept: list[Image.Image] = []
    every = 1
    first: Image.Image | None = None
    for number, frame in enumerate(read_frames(film)):
        if number in (0, 12):
            first = Image.fromarray(frame)
        if number % every == 0:
            tile = Image.fromarray(frame)
            tile.thumbnail((_TILE, _TILE))
            kept.append(tile)
        if len(kept) > 2 * _TILES:  # the length is not known beforehand: keep every second one and go on
            kept, every = kept[::2], 2 * every
    assert first is not None
    first.thumbnail((_THUMBNAIL, _THUMBNAIL))
    thumbnail, sheet = folder / "thumbnail.webp", folder / "spritesheet.jpg"
    first.save(thumbnail, "WEBP", quality=85, xmp=tags)
    chosen = (
        [kept[round(i * (len(kept) - 1) / (_TILES - 1))] for i in range(_TILES)]
        if len(kept) > _TILES
        else kept
    )
    _sheet(chosen).save(sheet, "JPEG", quality=85, xmp=tags)
    return {"thumbnail": thumbnail, "spritesheet": sheet}


def _sheet(tiles: list[Image.Image]) -> Image.Image:
    columns = min(4, len(tiles))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (columns * width, math.ceil(len(tiles) / columns) * height))
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % columns * width, place // columns * height))
    return sheet
