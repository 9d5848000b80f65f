"""Captions drawn into frames: white with a dark edge, at the bottom, above where the visible label stands."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from longtake.errors import MissingExtraError
from longtake.video import Frame

CJK_FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/STHeiti Medium.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
LATIN_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/System/Library/Fonts/Helvetica.ttc",
    "C:/Windows/Fonts/arial.ttf",
)
INSTALL_FONT = "sudo apt install fonts-noto-cjk (Debian, Ubuntu), brew install font-noto-sans-cjk (macOS)"
SIZE = 0.052
"""Height of the letters over the shorter side."""
WIDEST = 0.86
"""Of the frame's width."""
BOTTOM = 0.81
"""Where the last line ends, over the height: the visible label stands below."""
_WIDE = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_NO_START = "，。！？、：；）》」』”’,.!?:;)]}%"
"""Characters that do not begin a line."""


def font_for(text: str) -> Path:
    """A font on this machine that has the letters. Raises MissingExtraError naming what to install."""
    wide = bool(_WIDE.search(text))
    for candidate in (*CJK_FONTS, *(() if wide else LATIN_FONTS)):
        if Path(candidate).exists():
            return Path(candidate)
    found = _fontconfig("zh" if wide else "en")
    if found is None:
        raise MissingExtraError(f"there is no font for the subtitles: {INSTALL_FONT}")
    return found


@lru_cache(maxsize=2)
def _fontconfig(language: str) -> Path | None:
    """What fontconfig has for a language; None where there is none."""
    if not shutil.which("fc-list"):
        return None
    listed = subprocess.run(
        ["fc-list", f":lang={language}", "file"], capture_output=True, text=True, check=False
    )
    files = sorted(line.split(":")[0].strip() for line in listed.stdout.splitlines() if line.strip())
    return Path(files[0]) if files else None


def burn(frame: Frame, text: str) -> Frame:
    """A copy of the frame [h w 3] with the text; without text the frame itself."""
    if not text:
        return frame
    height, width = frame.shape[:2]
    letters, alpha = _plate(text, width, height)
    shown = frame.copy()
    top = max(0, round(BOTTOM * height) - len(alpha))
    under = shown[top : top + len(alpha)].astype(np.float32)
    mixed = under + (letters[: len(under), :, None] - under) * alpha[: len(under), :, None]
    shown[top : top + len(alpha)] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return shown


@lru_cache(maxsize=4)
def _plate(text: str, width: int, height: int) -> tuple[Any, Any]:
    """Brightness 0..255 and alpha 0..1 of the caption, [rows width]."""
    size = max(12, round(SIZE * min(width, height)))
    font = _open_font(font_for(text), size)
    lines = wrap(text, WIDEST * width, font.getlength)
    leading, edge = round(1.3 * size), max(1, round(size / 12))
    box = (width, leading * len(lines) + 2 * edge)
    alpha, grey = Image.new("L", box), Image.new("L", box)
    for number, line in enumerate(lines):
        at = ((width - font.getlength(line)) / 2, edge + number * leading)
        ImageDraw.Draw(alpha).text(at, line, fill=255, font=font, stroke_width=edge)
        ImageDraw.Draw(grey).text(at, line, fill=255, font=font)
    return np.asarray(grey, np.float32), np.asarray(alpha, np.float32) / 255


def _open_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    simplified = 2 if "CJK" in path.name else 0  # the face of the collection
    return ImageFont.truetype(str(path), size, index=simplified if path.suffix == ".ttc" else 0)


def wrap(text: str, widest: float, measure: Any) -> list[str]:
    """Lines no wider than `widest`: Latin breaks between words, Chinese between characters; lengths evened out."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        pieces = _pieces(paragraph)
        count = max(1, -(-round(measure(paragraph)) // max(1, round(widest))))
        aim = widest if count == 1 else min(widest, 1.15 * measure(paragraph) / count)
        line = ""
        for piece in pieces:
            if line and measure((line + piece).rstrip()) > aim and piece.strip()[:1] not in _NO_START:
                lines.append(line.strip())
                line = piece.lstrip()
            else:
                line += piece
        if line.strip():
            lines.append(line.strip())
    return lines


def _pieces(text: str) -> list[str]:
    """Words with the space after them, wide characters alone."""
    return re.findall(rf"{_WIDE.pattern}|[^\s\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]+\s*|\s+", text)
