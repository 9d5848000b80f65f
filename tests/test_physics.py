"""Physics is recovered from paths: by numbers that are put in, and on the stage's own scenes."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.evaluate import physics

FPS = 12


def path(x: np.ndarray, y: np.ndarray, width: float = 0.2, height: float = 0.2) -> np.ndarray:
    one = np.ones(len(x))
    return np.stack([x, y, width * one, height * one, one], -1)


def thrown(acceleration: float, noise: float = 0.0) -> np.ndarray:
    """A thing of height 0.2 that falls from the top and then lies still; y grows downwards."""
    t = np.arange(24) / FPS
    y = np.minimum(0.1 + 0.5 * acceleration * 0.2 * t**2, 0.8)
    return path(np.full(24, 0.5), y + noise * np.random.default_rng(0).normal(size=24))


@pytest.mark.parametrize("acceleration", [3.0, 6.0, 12.0])
def test_a_fall_gives_its_acceleration_in_heights_a_second_squared(acceleration: float) -> None:
    assert physics.fall_rate(thrown(acceleration), FPS) == pytest.approx(acceleration, rel=0.15)
    assert physics.fall_rate(thrown(acceleration, 0.004), FPS) == pytest.approx(acceleration, rel=0.3)


def test_what_does_not_fall_has_no_acceleration() -> None:
    assert physics.fall_rate(thrown(0.0), FPS) is None
    assert (
        physics.fall_rate(thrown(6.0)[::-1], FPS) is None or physics.fall_rate(thrown(6.0)[::-1], FPS) != 6.0
    )
    unseen = thrown(6.0)
    unseen[:, 4] = 0.0
    assert physics.fall_rate(unseen, FPS) is None


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_rebound_is_the_share_of_the_height_that_comes_back(share: float) -> None:
    def leap(high: float, frames: int) -> np.ndarray:
        t = np.linspace(-1, 1, frames)
        return 0.8 - high * (1 - t**2)

    y = np.concatenate([leap(0.5, 17)[8:], leap(0.5 * share, 9)[1:], np.full(8, 0.8)])
    found = physics.rebound(path(0 * y + 0.5, y))
    assert found == pytest.approx(share, abs=0.06)
    assert physics.rebound(path(0 * y + 0.5, 0 * y + 0.8)) is None
    assert (
        physics.rebound(path(0 * y[8:] + 0.5, y[8:])) is None
    )  # it lies there at first: nothing was dropped


def collision(
    kept: float, masses: tuple[float, float], speed: float = 0.2, heavy: float = 0.6
) -> list[np.ndarray]:
    """A runs into B after 1.5 s; of its momentum `kept` is left, the share `heavy` of that with B."""
    t = np.arange(48) / FPS - 1.5
    slide = physics.FRICTION * (1 - np.exp(-np.maximum(t, 0) / physics.FRICTION))
    after_a = kept * (1 - heavy) * speed
    after_b = kept * heavy * speed * masses[0] / masses[1]
    a = 0.4 + speed * np.minimum(t, 0) + after_a * slide
    return [path(a, 0 * t + 0.7, 0.15), path(0.56 + after_b * slide, 0 * t + 0.7, 0.15)]


@pytest.mark.parametrize("masses", [(1.0, 1.0), (1.0, 3.0), (3.0, 1.0)])
@pytest.mark.parametrize("kept", [1.0, 0.5, 2.0])
def test_momentum_after_over_before(kept: float, masses: tuple[float, float]) -> None:
    assert physics.momentum(*collision(kept, masses), masses, FPS) == pytest.approx(kept, abs=0.02)
    mirrored = collision(kept, masses)
    for one in mirrored:
        one[:, 0] = 1 - one[:, 0]
    assert physics.momentum(*mirrored, masses, FPS) == pytest.approx(kept, abs=0.02)


def test_without_a_collision_there_is_no_momentum_to_keep() -> None:
    a, b = collision(1.0, (1.0, 1.0))
    still = path(0 * a[:, 0] + 0.3, a[:, 1])
    assert physics.momentum(still, b, (1.0, 1.0), FPS) is None  # nobody comes
    far = b.copy()
    far[:, 0] += 0.3
    far[:, 2] = 0.05
    assert physics.momentum(a, far, (1.0, 1.0), FPS) is None  # they never meet
    unseen = b.copy()
    unseen[:, 4] = 0.0
    assert physics.momentum(a, unseen, (1.0, 1.0), FPS) is None
