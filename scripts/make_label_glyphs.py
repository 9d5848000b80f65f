"""Render the visible label once, so that the package needs no font at run time.

    python scripts/make_label_glyphs.py [FONT]

Writes src/longtake/provenance/label.png: grey letters with alpha, 96 px from the top of the tallest letter to the
bottom of the lowest, outline included around them. The shipped picture was made with Noto Sans CJK SC Bold
(SIL Open Font License 1.1, package fonts-noto-cjk); pictures of letters are no font software under that licence.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TEXT = "AI生成 / AI-GENERATED"
HEIGHT = 96
"""Pixels from the top to the bottom of the letters, outline not counted."""
OUTLINE = 8
FONT = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc")
SIMPLIFIED = 2
"""Index of the SC face in the collection."""
TARGET = Path(__file__).parent.parent / "src" / "longtake" / "provenance" / "label.png"


def render(font_file: Path) -> Image.Image:
    """White letters, black outline, transparent around; the letters alone are HEIGHT pixels tall."""
    size = HEIGHT
    for _ in range(8):  # the ink of a font is not as tall as its nominal size
        font = ImageFont.truetype(str(font_file), size, index=SIMPLIFIED if font_file.suffix == ".ttc" else 0)
        _, top, _, bottom = font.getbbox(TEXT)
        if round(bottom - top) == HEIGHT:
            break
        size = round(size * HEIGHT / (bottom - top))
    left, top, right, bottom = font.getbbox(TEXT, stroke_width=OUTLINE)
    box = (round(right - left), round(bottom - top))
    origin = (-left, -top)
    alpha, grey = Image.new("L", box), Image.new("L", box)
    ImageDraw.Draw(alpha).text(origin, TEXT, fill=255, font=font, stroke_width=OUTLINE)
    ImageDraw.Draw(grey).text(origin, TEXT, fill=255, font=font)
    return Image.merge("LA", (grey, alpha))


if __name__ == "__main__":
    render(Path(sys.argv[1]) if len(sys.argv) > 1 else FONT).save(TARGET, optimize=True)
