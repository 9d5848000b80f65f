"""The sampler against Gaussians, whose best denoiser and whose trajectories are known in closed form."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from longtake.diffusion.sample import (
    Denoise,
    Known,
    Limits,
    Start,
    predictor,
    sample,
)
from longtake.model.device import autocast_dtype
from longtake.model.presets import Recipe

MEAN, STD = 0.7, 0.4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(x_s: Tensor, sigma: Tensor) -> Tensor:
    """E[x | x_s] for data ~ N(MEAN, STD^2), every value independent."""
    s = sigma[:, None, :, None, None]
    gain = STD**2 * (1 - s) / ((1 - s) ** 2 * STD**2 + s**2)
    return MEAN + gain * (x_s - (1 - s) * MEAN)


def correlated(covariance: Tensor, mean: float) -> Denoise:
    """E[x | x_s] for data whose frames are jointly Gaussian, at any noise level per frame."""

    def denoise(x_s: Tensor, sigma: Tensor) -> Tensor:
        keep, noise = torch.diag(1 - sigma[0]), torch.diag(sigma[0].square())
        gain = covariance @ keep @ torch.linalg.inv(keep @ covariance @ keep + noise)
        centred = x_s - (1 - sigma[0])[:, None, None] * mean
        return mean + torch.einsum("fg,bcghw->bcfhw", gain, centred)

    return denoise


def run(denoise: Denoise, shape: tuple[int, ...], seed: int = 0, **options: object) -> Tensor:
    *_, last = sample(denoise, shape, seeded(seed), **options)  # type: ignore[arg-type]
    return last.latents


def test_many_steps_reproduce_the_distribution() -> None:
    result = run(gaussian, (2, 4, 3, 32, 32), steps=300)
    assert result.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert result.std().item() == pytest.approx(STD, abs=0.01)


def test_euler_converges_to_the_exact_trajectory_in_first_order() -> None:
    shape = (1, 2, 2, 8, 8)
    # The flow carries the quantiles of the noise to those of the data: x(0) = MEAN + STD x(1).
    exact = MEAN + STD * torch.randn(shape, generator=seeded(5))
    errors = [(run(gaussian, shape, seed=5, steps=n) - exact).square().mean().sqrt() for n in (32, 64, 128)]
    assert errors[2] < 0.01
    for coarse, fine in pairwise(errors):
        assert 1.8 < coarse / fine < 2.2


@pytest.mark.parametrize("sigma", [0.0, 0.1])
@pytest.mark.parametrize(
    "mask",
    [
        [True, True, False, False, False],
        [False, False, False, True, True],
        [True, False, False, False, True],
        [True, False, False, False, False],
    ],
)
def test_known_frames_come_out_unchanged(mask: list[bool], sigma: float) -> None:
    given = torch.randn(2, 3, 5, 4, 4, generator=seeded(9))
    known = Known(given, torch.tensor(mask), sigma)
    levels = []

    def denoise(x: Tensor, level: Tensor) -> Tensor:
        levels.append(level)
        return gaussian(x, level)

    result = run(denoise, tuple(given.shape), known=known, limits=Limits.of(given))
    assert torch.equal(result[:, :, known.mask], given[:, :, known.mask])
    assert not torch.equal(result[:, :, ~known.mask], given[:, :, ~known.mask])
    assert all(torch.equal(level[:, known.mask], torch.full((2, sum(mask)), sigma)) for level in levels)
    assert levels[0][:, ~known.mask].min() == 1


def test_unknown_frames_follow_the_conditional_distribution() -> None:
    frames = 4
    index = torch.arange(frames)
    covariance = 0.8 ** (index[:, None] - index).abs().float() + 0.01 * torch.eye(frames)
    given = torch.zeros(1, 1, frames, 64, 64)
    given[:, :, 0], given[:, :, 3] = 1.5, -0.5
    mask = torch.tensor([True, False, False, True])
    result = run(
        correlated(covariance, 0.2), tuple(given.shape), known=Known(given, mask), steps=100, shift=1.0
    )
    across, among = covariance[~mask][:, mask], covariance[mask][:, mask]
    regression = across @ torch.linalg.inv(among)
    expected = 0.2 + regression @ (torch.tensor([1.5, -0.5]) - 0.2)
    spread = (covariance[~mask][:, ~mask] - regression @ across.T).diag().sqrt()
    made = result[0, 0, ~mask].flatten(1)
    torch.testing.assert_close(made.mean(1), expected, atol=0.03, rtol=0)
    torch.testing.assert_close(made.std(1), spread, atol=0.03, rtol=0)


def test_steps_are_counted_and_closing_stops_the_work() -> None:
    calls = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(sigma[0, 0].item())
        return gaussian(x, sigma)

    steps = sample(denoise, (1, 2, 3, 4, 4), seeded(), steps=8)
    assert [(s.index, s.total) for s in (next(steps), next(steps))] == [(1, 8), (2, 8)]
    steps.close()  # type: ignore[attr-defined]
    assert len(calls) == 2 and list(steps) == []


def test_seeds_repeat_bit_for_bit_and_differ() -> None:
    shape = (1, 2, 3, 4, 4)
    assert torch.equal(run(gaussian, shape, seed=3), run(gaussian, shape, seed=3))
    assert not torch.equal(run(gaussian, shape, seed=3), run(gaussian, shape, seed=4))


def test_strength_decides_how_much_of_the_original_stays() -> None:
    original = MEAN + STD * torch.randn(1, 2, 3, 16, 16, generator=seeded(1))
    far = [
        (run(gaussian, tuple(original.shape), start=Start(original, s), steps=32) - original).abs().mean()
        for s in (0.02, 0.3, 0.9)
    ]
    assert far[0] < 0.02 and far[0] < far[1] < far[2]


def test_limits_correct_drift_and_leave_the_rest_alone() -> None:
    first = torch.randn(1, 2, 3, 16, 16, generator=seeded(1))
    limits = Limits.of(first)
    torch.testing.assert_close(limits.clamp(first), first)
    corrected = Limits.of(limits.clamp(3 * first + 2))
    torch.testing.assert_close(corrected.std, 1.15 * limits.std)
    torch.testing.assert_close(corrected.mean, limits.mean + 0.15 * limits.std, atol=1e-5, rtol=0)


def test_wrong_shapes_are_named() -> None:
    latents = torch.zeros(1, 2, 3, 4, 4)
    with pytest.raises(ValueError, match="one value a latent frame"):
        Known(latents, torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="nothing is left to make"):
        Known(latents, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected"):
        run(gaussian, (1, 2, 4, 4, 4), start=Start(latents, 0.5))


class _Answer(torch.nn.Module):
    """A stand-in network: x0 is the caption's first number everywhere; remembers what it was asked."""

    def __init__(self, prediction: str) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.prediction = prediction
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, timestep: Tensor, text: Tensor, positions: Tensor) -> Tensor:
        self.asked.append((x, timestep, positions))
        x0 = text[:, 0, 0].reshape(-1, 1, 1, 1, 1).expand_as(x) + self.anchor
        return x0 if self.prediction == "x0" else (x - x0) / (timestep / 1000)[:, None, :, None, None]


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_predictor_guides_in_one_forward_and_encodes_text_once(prediction: str) -> None:
    dit, encoded = _Answer(prediction), []

    def text(tokens: Tensor) -> Tensor:
        encoded.append(tokens)
        return tokens[:, :, None].float()

    config = SimpleNamespace(dit=SimpleNamespace(prediction=prediction), sampling=Recipe())
    models = SimpleNamespace(dit=dit, text=text, config=config)
    x, sigma = torch.randn(1, 2, 3, 4, 4, generator=seeded()), torch.full((1, 3), 0.5)
    denoise = predictor(models, torch.tensor([[4, 0]]), torch.tensor([[1, 0]]), guidance=3.0)  # type: ignore[arg-type]
    for _ in range(2):
        x0 = denoise(x, sigma, torch.arange(1, 4))
    torch.testing.assert_close(x0, torch.full_like(x, 1 + 3 * (4 - 1)), atol=1e-4, rtol=0)
    assert len(encoded) == 1 and len(dit.asked) == 2 and not x0.requires_grad
    asked_x, timestep, positions = dit.asked[0]
    assert asked_x.shape[0] == 2 and (timestep == 500).all() and positions.tolist() == [1, 2, 3]

    plain = predictor(models, torch.tensor([[4, 0]]), guidance=1)  # type: ignore[arg-type]
    torch.testing.assert_close(plain(x, sigma, torch.arange(1, 4)), torch.full_like(x, 4), atol=1e-4, rtol=0)
    assert dit.asked[-1][0].shape[0] == 1
    with pytest.raises(ValueError, match="negative_tokens"):
        predictor(models, torch.tensor([[4, 0]]), guidance=3.0)  # type: ignore[arg-type]


def test_autocast_only_where_hardware_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for features, expected in (
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx2": True}, None),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        assert autocast_dtype(torch.device("cpu")) is expected
