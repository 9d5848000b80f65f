"""The shipped atlas, and errors that name the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longtake.errors import MediaError
from longtake.world.atlas import Atlas, build
from longtake.world.sampler import PRESETS


def test_shipped_atlas_has_the_pocket_vocabulary() -> None:
    atlas = Atlas.load()
    assert set(PRESETS["pocket"].subjects) <= set(atlas.codes)
    assert atlas.tiles.shape[1:] == (atlas.size, atlas.size, 4)
    assert (atlas.tiles[..., :3] <= atlas.tiles[..., 3:].astype(int) + 1).all(), "colours are premultiplied"


def test_a_dog_moves_and_a_ball_does_not() -> None:
    atlas = Atlas.load(codes=["1f415", "26bd"])
    seconds = np.arange(0, 4, 1 / 12)
    assert len(set(atlas.frame_index("1f415", seconds))) > 8
    assert len(set(atlas.frame_index("26bd", seconds))) == 1
    period = atlas.strips["1f415"].period
    assert np.array_equal(atlas.frame_index("1f415", seconds), atlas.frame_index("1f415", seconds + period))


def test_unknown_code_names_the_fix() -> None:
    with pytest.raises(MediaError, match="longtake world atlas"):
        Atlas.load().bbox("no-such-code")


def test_broken_files(tmp_path: Path) -> None:
    broken = tmp_path / "atlas.zip"
    broken.write_bytes(b"PK not a zip")
    with pytest.raises(MediaError, match="not an atlas"):
        Atlas.load(broken)
    with pytest.raises(MediaError, match="no atlas at"):
        Atlas.load(tmp_path / "none.zip")
    with pytest.raises(MediaError, match="npm pack"):
        build(["26bd"], tmp_path, tmp_path / "out.zip")


def test_drawn_codes_build_without_packages(tmp_path: Path) -> None:
    (tmp_path / "x-3d" / "package" / "assets").mkdir(parents=True)
    (tmp_path / "x-3d" / "package" / "assets" / "26bd.webp").write_bytes(b"")
    assert build(["splat", "neon-0"], tmp_path, tmp_path / "out.zip", size=32) == 2
    assert Atlas.load(tmp_path / "out.zip").codes == ("splat", "neon-0")
