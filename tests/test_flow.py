"""The noise process: conversions invert, the schedule ends where it must, patterns have their shares."""

from __future__ import annotations

import pytest
import torch

from longtake.diffusion import flow

SEEDED = 20260


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(SEEDED))


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_conversions_invert(prediction: flow.Prediction) -> None:
    x, noise = rand(2, 3, 4, 5, 6), rand(2, 3, 4, 6, 5).transpose(3, 4)
    sigma = torch.linspace(0.1, 1, 8).reshape(2, 4)
    x_s = flow.add_noise(x, noise, sigma)
    answer = flow.target(x, noise, prediction)
    torch.testing.assert_close(flow.to_x0(answer, x_s, sigma, prediction), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(flow.to_velocity(answer, x_s, sigma, prediction), noise - x, atol=1e-4, rtol=0)


def test_clean_frames_have_no_velocity_from_x0() -> None:
    x = rand(1, 2, 3, 4, 4)
    sigma = torch.tensor([[0.0, 0.5, 1.0]])
    velocity = flow.to_velocity(torch.zeros_like(x), x, sigma, "x0")
    assert velocity[:, :, 0].abs().max() == 0
    assert torch.equal(velocity[:, :, 1], x[:, :, 1] / 0.5)


def test_step_with_the_true_velocity_lands_on_the_next_level() -> None:
    x, noise = rand(1, 2, 3, 4, 4), rand(1, 2, 3, 4, 4).flip(-1)
    now, following = torch.tensor([[1.0, 0.7, 0.2]]), torch.tensor([[0.4, 0.7, 0.0]])
    moved = flow.step(flow.add_noise(x, noise, now), noise - x, now, following)
    torch.testing.assert_close(moved, flow.add_noise(x, noise, following), atol=1e-6, rtol=0)


@pytest.mark.parametrize("start", [1.0, 0.6])
@pytest.mark.parametrize("shift", [1.0, 2.5, 5.0])
def test_schedule_falls_from_start_to_zero(shift: float, start: float) -> None:
    levels = flow.schedule(8, shift, start)
    assert levels.shape == (9,)
    assert levels[0] == torch.tensor(start) and levels[-1] == 0
    assert (levels.diff() < 0).all()


def test_schedule_values_and_errors() -> None:
    torch.testing.assert_close(flow.schedule(2, 2.5), torch.tensor([1, 2.5 * 0.5 / 1.75, 0]))
    for steps, shift, start in ((0, 2.5, 1.0), (8, 0.0, 1.0), (8, 2.5, 0.0), (8, 2.5, 1.1)):
        with pytest.raises(ValueError, match="schedule needs"):
            flow.schedule(steps, shift, start)


def test_loss_averages_weighted_error_over_carrying_frames() -> None:
    x = torch.zeros(1, 2, 3, 4, 4)
    x0 = torch.ones_like(x) * torch.tensor([1.0, 2.0, 10.0])[:, None, None]
    sigma = torch.tensor([[0.0, 1.0, 0.5]])
    carries = torch.tensor([[True, True, False]])
    assert flow.loss(x0, x, sigma, carries).item() == pytest.approx((1 * 1.0 + 4 * 0.5) / 2)
    weight = torch.full((1, 3, 4, 4), 3.0)
    assert flow.loss(x0, x, sigma, carries, weight).item() == pytest.approx(3 * (1 + 2.0) / 2)
    assert flow.loss(x0, x, sigma, torch.zeros_like(carries)).item() == 0


def test_pattern_shares() -> None:
    n, frames = 20_000, 12
    sigma, carries = flow.draw_sigmas(n, frames, torch.Generator().manual_seed(0))
    assert sigma.shape == carries.shape == (n, frames) and carries.dtype == torch.bool
    assert sigma.min() >= 0 and sigma.max() <= 1 and carries.any(1).all()
    made = torch.where(carries, sigma, torch.nan)
    one_level = made.nan_to_num(nan=-1).amax(1) == made.nan_to_num(nan=2).amin(1)
    rising = (sigma.diff(dim=1) >= 0).all(1) & ~one_level
    shares = [
        (one_level & carries.all(1)).float().mean().item(),
        (one_level & ~carries.all(1)).float().mean().item(),
        (~one_level & ~rising).float().mean().item(),
        rising.float().mean().item(),
    ]
    assert shares == pytest.approx(flow.PATTERN_SHARES, abs=0.012)


def test_known_sets_have_their_kinds_and_their_noise() -> None:
    sigma, carries = flow.draw_sigmas(40_000, 12, torch.Generator().manual_seed(1))
    known = ~carries & ~(sigma.diff(dim=1) >= 0).all(1, keepdim=True)  # leaves staircases and prefixes out
    some = known.any(1)
    assert sigma[known].max() <= flow.HISTORY_SIGMA
    assert (sigma[some & known[:, 0]][:, 0] == 0).float().mean() == pytest.approx(0.5, abs=0.03)
    suffix_only = some & ~known[:, 0] & (known.int().diff(dim=1) >= 0).all(1)
    share = suffix_only.float().mean().item() / flow.PATTERN_SHARES[flow.KNOWN]
    assert 0.19 < share < 0.24  # 20 % suffixes and the few random sets that happen to be one


@pytest.mark.parametrize("frames", [2, 3, 13])
def test_slot_is_mostly_known_and_something_is_left_to_make(frames: int) -> None:
    sigma, carries = flow.draw_sigmas(8_000, frames, torch.Generator().manual_seed(2), slot=True)
    assert (~carries[:, 0]).float().mean() == pytest.approx(flow.SLOT_KNOWN_SHARE, abs=0.02)
    assert carries[:, 1:].any(1).all()
    assert sigma[:, 0][~carries[:, 0]].max() <= flow.HISTORY_SIGMA


def test_single_pictures_have_one_level_that_carries_loss() -> None:
    for slot in (False, True):
        sigma, carries = flow.draw_sigmas(64, 1, torch.Generator().manual_seed(3), slot=slot)
        assert sigma.shape == (64, 1) and carries.all() and sigma.std() > 0.1


def test_draws_repeat_with_the_seed() -> None:
    first, second = (flow.draw_sigmas(32, 12, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_twins_are_asked_only_for_their_difference_and_only_at_pure_noise() -> None:
    x = torch.randn(4, 3, 2, 4, 4)
    common = torch.randn(2, 3, 2, 4, 4).repeat_interleave(2, 0)
    sigma = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.5], [1.0, 0.5]])
    assert flow.twin_loss(x + common, x, sigma) < 1e-10
    for row, expected in (
        (0, 1 / 4),
        (2, 0.0),
    ):  # half of the difference, in one of two frames; not pure noise
        wrong = x + common
        wrong[row, :, 1] += 1
        assert flow.twin_loss(wrong, x, sigma).item() == pytest.approx(expected, abs=1e-6)
    assert flow.twin_loss(x + 1, x, torch.zeros(4, 2)) == 0


def test_the_best_answer_to_pure_noise_is_the_same_with_twins() -> None:
    films = torch.randn(64, 1, 1, 2, 2)  # 32 pairs; at pure noise a network answers one film to each word
    sigma, carries = torch.ones(64, 1), torch.ones(64, 1, dtype=torch.bool)
    answer = torch.zeros(2, 1, 1, 2, 2, requires_grad=True)
    x0 = answer.repeat(32, 1, 1, 1, 1)
    (flow.loss(x0, films, sigma, carries) + 4 * flow.twin_loss(x0, films, sigma)).backward()
    means = torch.stack([films[::2].mean(0), films[1::2].mean(0)])
    here = means.clone().requires_grad_(True)
    x0 = here.repeat(32, 1, 1, 1, 1)
    (flow.loss(x0, films, sigma, carries) + 4 * flow.twin_loss(x0, films, sigma)).backward()
    assert answer.grad is not None and here.grad is not None
    assert here.grad.abs().max() < 1e-6 < answer.grad.abs().max()


def test_strides_lie_on_the_schedule_and_leave_what_is_given() -> None:
    steps, shift = 4, 2.5
    begin, end = flow.draw_strides(20_000, 12, steps, torch.Generator().manual_seed(5), shift, slot=True)
    made = begin > end
    assert not made[:, 0].any() and made[:, 1:].any(1).all()
    assert flow.shifted(begin[~made], shift).max() <= flow.HISTORY_SIGMA + 1e-6
    first = torch.where(made, begin, 0).amax(1)
    assert (torch.where(made, begin, first[:, None]) == first[:, None]).all(), (
        "one level for all that is made"
    )
    assert torch.allclose((begin - end)[made], torch.tensor(1 / steps), atol=1e-6)
    whole = torch.isclose(first * steps, (first * steps).round())
    assert whole.float().mean() == pytest.approx(1 - flow.STRIDE_BETWEEN, abs=0.02)
    assert (~made[:, 1:].all(1)).float().mean() == pytest.approx(flow.STRIDE_KNOWN, abs=0.02)
    levels = flow.shifted(torch.unique(first[whole].mul(steps).round() / steps), shift)
    assert torch.allclose(levels.flip(0), flow.schedule(steps, shift)[:-1])


def test_unshifted_is_the_inverse_of_shifted() -> None:
    u = torch.linspace(0, 1, 11)
    assert torch.allclose(flow.unshifted(flow.shifted(u, 3.0), 3.0), u, atol=1e-6)
