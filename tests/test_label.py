"""The visible label: large enough, everywhere, not to be cropped away, found again after compression."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from longtake.provenance.label import MATCH, burn, corners, glyphs, lift, match

SIZES = [(1280, 720), (720, 1280), (320, 192), (256, 256), (1920, 1080), (128, 128)]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_letters_are_large_enough(width: int, height: int) -> None:
    """GB 45438-2025: 5 % of the shorter side."""
    letters, _ = glyphs(width, height)
    rows = np.flatnonzero((letters > 128).any(1))
    lines = 2 if letters.shape[0] > 0.12 * min(width, height) else 1
    assert (rows[-1] - rows[0] + 1) / lines >= 0.05 * min(width, height)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_found_again_after_jpeg_and_not_where_it_is_not(width: int, height: int) -> None:
    frame = noise(width, height)
    buffer = io.BytesIO()
    Image.fromarray(burn(frame, 0.0)).save(buffer, "JPEG", quality=40)
    assert match(np.asarray(Image.open(buffer))) > MATCH
    assert match(frame) < MATCH


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_crop_that_keeps_70_percent_keeps_a_whole_label(width: int, height: int) -> None:
    side = np.sqrt(0.7)
    for left in np.linspace(0, 1 - side, 9) * width:
        for top in np.linspace(0, 1 - side, 9) * height:
            right, bottom = left + side * width, top + side * height
            assert any(
                x0 >= left and y0 >= top and x1 <= right and y1 <= bottom
                for x0, y0, x1, y1 in corners(width, height)
            )


def test_corners_take_turns_and_the_frame_is_untouched() -> None:
    frame = noise(320, 192)
    before = frame.copy()
    early, late = burn(frame, 0.0), burn(frame, 1.0)
    assert (frame == before).all()
    top = slice(0, 60)
    assert (early[top] == frame[top]).all() and not (late[top] == frame[top]).all()


def test_a_lifted_label_leaves_what_was_under_it() -> None:
    y, x = np.mgrid[:192, :320]
    plain = np.stack([x * 255 / 319, y * 255 / 191, 128 + 0 * x], -1).astype(np.uint8)
    for seconds in (0.0, 1.0, 2.0, 3.0):
        labelled = burn(plain, seconds)
        assert match(labelled) > 0.9
        lifted = lift(labelled)
        assert match(lifted) < MATCH
        before = np.abs(labelled.astype(int) - plain).max()
        assert np.abs(lifted.astype(int) - plain).max() < 0.15 * before
    assert lift(plain) is plain
