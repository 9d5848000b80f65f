"""The atlas: every drawing of the theatre as a strip of small frames.

An atlas is one zip file: `index.json` and, for each code, `<code>.webp`, a horizontal strip of square tiles with
straight alpha. `build` makes it from the unpacked npm packages of the Fluent emoji (see NOTICE); a small one
ships with the package for tests, samples and a first look. This module knows pictures and their clocks; it knows
nothing of stages, scenes or captions.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from longtake.errors import MediaError
from longtake.world.drawn import DRAWN

SOURCE_FPS = 24.0
"""Frame rate of the animated source files."""

SHIPPED = Path(__file__).parent / "data" / "atlas.zip"
"""The tiny atlas inside the package."""

PREVIEW = Path(__file__).parent / "data" / "preview.zip"
"""Fewer frames of more drawings, twice as large: for previews at film sizes."""

_VERSION = 1
_OPAQUE = 26
"""Alpha (of 255) from which a pixel counts as drawn when the visible box is measured."""


@dataclass(frozen=True)
class Strip:
    """Where one drawing lies in the atlas tensor and how it moves."""

    first: int
    frames: int
    period: float
    """Seconds for one round of the animation; 0 for a still."""
    bbox: tuple[float, float, float, float]
    """Visible box over all frames, fractions of the tile, y down: x0 y0 x1 y1."""


class Atlas:
    """Frames of many drawings, premultiplied RGBA, `tiles` uint8 [n h w 4], tile size equal for all."""

    def __init__(self, tiles: np.ndarray, strips: dict[str, Strip]):
        self.tiles = tiles
        self.strips = strips

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(self.strips)

    @property
    def size(self) -> int:
        """Side of a tile in pixels."""
        return int(self.tiles.shape[1])

    def bbox(self, code: str) -> tuple[float, float, float, float]:
        return self._strip(code).bbox

    def aspect(self, code: str) -> float:
        """Width over height of the visible drawing."""
        x0, y0, x1, y1 = self.bbox(code)
        return (x1 - x0) / (y1 - y0)

    def frame_index(
        self, code: str, seconds: np.ndarray, speed: float | np.ndarray = 1.0, phase: float = 0.0
    ) -> np.ndarray:
        """Tile index for each time; `phase` in rounds. A still has one tile, whatever the time."""
        strip = self._strip(code)
        if strip.frames == 1:
            return np.full(np.shape(seconds), strip.first, np.float32)
        turn = np.asarray(seconds) * speed / strip.period + phase
        frame = np.minimum((turn % 1.0) * strip.frames, strip.frames - 1)
        return (np.floor(frame) + strip.first).astype(np.float32)

    def _strip(self, code: str) -> Strip:
        try:
            return self.strips[code]
        except KeyError:
            raise MediaError(
                f"the atlas has no picture {code!r}; build a fuller one with `longtake world atlas`"
            ) from None

    @classmethod
    def load(cls, path: Path | str | None = None, codes: Iterable[str] | None = None) -> Atlas:
        """Read `path`, else the atlas in the user's cache, else the shipped one.

        Raises MediaError when the file is missing or is not an atlas.
        """
        file = Path(path) if path else next(f for f in (cache_path(), SHIPPED) if f.exists() or f == SHIPPED)
        try:
            with zipfile.ZipFile(file) as pack:
                index = json.loads(pack.read("index.json"))
                wanted = (
                    list(index["strips"]) if codes is None else [c for c in codes if c in index["strips"]]
                )
                return cls._unpack(pack, index, wanted)
        except FileNotFoundError:
            raise MediaError(f"no atlas at {file}; build one with `longtake world atlas`") from None
        except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
            raise MediaError(
                f"{file} is not an atlas ({error}); build it again with `longtake world atlas`"
            ) from None

    @classmethod
    def _unpack(cls, pack: zipfile.ZipFile, index: dict[str, Any], codes: list[str]) -> Atlas:
        size = index["size"]
        tiles: list[np.ndarray] = []
        strips: dict[str, Strip] = {}
        for code in codes:
            entry = index["strips"][code]
            image = Image.open(io.BytesIO(pack.read(f"{code}.webp"))).convert("RGBA")
            strip = np.asarray(image, np.uint16).reshape(size, entry["frames"], size, 4).swapaxes(0, 1)
            strip = np.concatenate([(strip[..., :3] * strip[..., 3:] + 127) // 255, strip[..., 3:]], -1)
            strips[code] = Strip(sum(map(len, tiles)), entry["frames"], entry["period"], tuple(entry["bbox"]))
            tiles.append(strip.astype(np.uint8))
        return cls(np.concatenate(tiles), strips)


def names(path: Path) -> tuple[str, ...]:
    """Codes of the drawings in an atlas file, without reading them. Raises MediaError."""
    try:
        with zipfile.ZipFile(path) as pack:
            return tuple(json.loads(pack.read("index.json"))["strips"])
    except FileNotFoundError:
        raise MediaError(f"no atlas at {path}; build one with `longtake world atlas`") from None
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise MediaError(f"{path} is not an atlas ({error}); build it with `longtake world atlas`") from None


def cache_path() -> Path:
    """Where `longtake world atlas` keeps the full atlas."""
    root = os.environ.get("LONGTAKE_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "longtake" / "atlas.zip"


def build(
    codes: Iterable[str], packages: Path, out: Path, size: int = 96, stride: int = 4, quality: int = 80
) -> int:
    """Write an atlas of `codes` from unpacked npm packages below `packages`; returns how many drawings it holds.

    `stride` keeps every n-th source frame: 4 gives 6 drawings a second, two frames each at 12 fps.
    Codes that no package has are drawn by `drawn.py` or raise MediaError.
    """
    sources = _sources(packages)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".part")
    strips: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as pack:
        for code in dict.fromkeys(codes):
            if code in DRAWN:
                frames, period = [DRAWN[code](size)], 0.0
            elif code in sources:
                frames, period = _frames(sources[code], size, stride)
            else:
                raise MediaError(f"no package below {packages} has a picture of {code!r}")
            strips[code] = {"frames": len(frames), "period": period, "bbox": _visible_box(frames)}
            sheet = Image.new("RGBA", (size * len(frames), size))
            for i, frame in enumerate(frames):
                sheet.paste(frame, (i * size, 0))
            buffer = io.BytesIO()
            sheet.save(buffer, "WEBP", quality=quality, method=6, alpha_quality=90)
            pack.writestr(f"{code}.webp", buffer.getvalue())
        pack.writestr("index.json", json.dumps({"version": _VERSION, "size": size, "strips": strips}))
    os.replace(beside, out)
    return len(strips)


def _sources(packages: Path) -> dict[str, Path]:
    """code -> file; animated files win over stills. Codes are written without variation selectors."""
    found: dict[str, Path] = {}
    for pattern in ("*3d*/package/assets/*.webp", "*anim*/package/assets/*.webp"):
        for file in sorted(packages.glob(pattern)):
            found[file.stem.replace("-fe0f", "")] = file
            found[file.stem] = file
    if not found:
        raise MediaError(
            f"no emoji packages below {packages}; unpack them there: "
            "npm pack @lobehub/fluent-emoji-3d @lobehub/fluent-emoji-anim-1 (to -4), then untar each in its own folder"
        )
    return found


def _frames(file: Path, size: int, stride: int) -> tuple[list[Image.Image], float]:
    image = Image.open(file)
    count = getattr(image, "n_frames", 1)
    frames = []
    for i in range(0, count, stride):
        image.seek(i)
        frames.append(image.convert("RGBA").resize((size, size), Image.Resampling.LANCZOS))
    return frames, count / SOURCE_FPS if count > 1 else 0.0


def _visible_box(frames: list[Image.Image]) -> list[float]:
    alpha = np.max([np.asarray(f)[..., 3] for f in frames], 0) > _OPAQUE
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    side = alpha.shape[0]
    return [round(float(v) / side, 4) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
