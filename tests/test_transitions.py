"""Transitions on single frames: their ends are exact, and nothing lies outside the two pictures."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.film.transitions import MIXERS, dim, dissolve, wipe

BLACK = np.zeros((2, 100, 3), np.uint8)
WHITE = np.full((2, 100, 3), 255, np.uint8)


@pytest.mark.parametrize("mix", MIXERS.values(), ids=MIXERS)
def test_ends_are_the_shots_themselves(mix: object) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 60, 3), dtype=np.uint8)
    assert np.array_equal(mix(noise, noise[::-1], 0.0), noise)  # type: ignore[operator]
    assert np.array_equal(mix(noise, noise[::-1], 1.0), noise[::-1])  # type: ignore[operator]
    for share in np.linspace(0, 1, 9):
        assert np.array_equal(mix(noise, noise, share), noise)  # type: ignore[operator]


def test_a_dissolve_is_even_and_a_wipe_has_an_edge() -> None:
    assert np.unique(dissolve(BLACK, WHITE, 0.5)).tolist() == [128]
    row = wipe(BLACK, WHITE, 0.5)[0, :, 0].astype(int)
    assert row[:40].min() == 255 and row[60:].max() == 0 and (np.diff(row) <= 0).all()


def test_dimming() -> None:
    assert dim(WHITE, 0.0).max() == 0 and np.unique(dim(WHITE, 0.5)).tolist() == [128]
    assert dim(WHITE, 1.0) is WHITE
