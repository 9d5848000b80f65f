"""The step cache spares evaluations at a small error, less than plain sampling with as few, and none across runs."""

from __future__ import annotations

import pytest
import torch

from longtake.diffusion.cache import LONGEST, StepCache
from longtake.diffusion.sample import Known, sample

SHAPE = (1, 3, 4, 2, 2)
POSITIONS = torch.arange(4)


def gaussian(x: torch.Tensor, sigma: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Exact denoiser of data ~ N(2, 0.5^2): x0 = mean + k (x - (1-s) mean), k = (1-s) var / ((1-s)^2 var + s^2)."""
    s, mean, variance = sigma[:, None, :, None, None], 2.0, 0.25
    gain = (1 - s) * variance / ((1 - s) ** 2 * variance + s**2)
    return mean + gain * (x - (1 - s) * mean)


def run(denoise: object, steps: int, known: Known | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    for step in sample(lambda x, s: denoise(x, s, POSITIONS), SHAPE, generator, steps=steps, known=known):
        last = step
    return last.latents


def test_spares_evaluations_and_beats_plain_sampling_with_as_few() -> None:
    full = run(gaussian, 50)
    cache = StepCache(gaussian, 0.05)
    error = (run(cache, 50) - full).norm()
    assert cache.computed + cache.reused == 50
    assert cache.computed <= 30
    assert error < 0.02 * full.norm()
    assert error < 0.5 * (run(gaussian, cache.computed) - full).norm()


def test_the_knob_trades_evaluations_for_error() -> None:
    full = run(gaussian, 50)
    counts, errors = [], []
    for tolerance in (0.0, 0.02, 0.1, 0.5):
        cache = StepCache(gaussian, tolerance)
        errors.append((run(cache, 50) - full).norm().item())
        counts.append(cache.computed)
    assert counts == sorted(counts, reverse=True) and counts[0] == 50
    assert errors[0] == 0
    assert errors[1] < errors[3]
    assert counts[-1] >= 50 // (LONGEST + 1)


def test_nothing_is_carried_into_the_next_run() -> None:
    cache = StepCache(gaussian, 0.1)
    first = run(cache, 20)
    assert torch.equal(run(cache, 20), first)


def test_given_frames_come_out_as_given() -> None:
    given = torch.full(SHAPE, 3.0)
    mask = torch.tensor([True, True, False, False])
    cache = StepCache(gaussian, 0.1)
    latents = run(cache, 30, Known(given, mask, sigma=0.1))
    assert cache.reused > 5
    assert torch.equal(latents[:, :, :2], given[:, :, :2])
    assert (latents[:, :, 2:] - run(gaussian, 30)[:, :, 2:]).abs().max() < 0.5


def test_a_tolerance_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        StepCache(gaussian, 1.0)
