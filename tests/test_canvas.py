"""A canvas of several windows: who has a say where, and that one window changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from longtake.diffusion.canvas import Region, Window, fitted, over_canvas, shares

POSITIONS = torch.arange(3)


def says(value: float) -> object:
    def denoise(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        assert x.shape[-1] == 10 and x.is_contiguous()
        return torch.full_like(x, value)

    return denoise


def test_one_window_over_the_whole_canvas_is_the_denoiser_itself() -> None:
    x = torch.randn(1, 2, 3, 6, 10)
    made = over_canvas([Window(lambda x, sigma, positions: 2 * x, Region(0))], 10, 10)(
        x, torch.ones(1, 3), POSITIONS
    )
    assert torch.equal(made, 2 * x)


def test_a_column_belongs_to_the_window_whose_middle_is_nearest() -> None:
    windows = [Window(says(-1.0), Region(0)), Window(says(1.0), Region(4))]  # type: ignore[arg-type]
    row = over_canvas(windows, 10, 14)(torch.randn(1, 2, 3, 6, 14), torch.ones(1, 3), POSITIONS)[0, 0, 0, 0]
    assert row[:4].tolist() == [-1.0] * 4 and row[10:].tolist() == [1.0] * 4
    assert torch.allclose(row, -row.flip(0), atol=1e-6), "both have as much to say"
    assert row[5] < -0.9 and row[8] > 0.9 and (row.diff() >= 0).all()


def test_what_fills_the_canvas_stays_out_of_the_middle() -> None:
    weight = shares([Region(2), Region(0, fills=True), Region(4, fills=True)], 10, 14)
    assert torch.allclose(weight.sum(0), torch.ones(14))
    assert weight[0, 4:10].tolist() == [1.0] * 6
    assert weight[1, :2].tolist() == [1.0] * 2 and weight[2, 12:].tolist() == [1.0] * 2


def test_what_stands_in_front_holds_the_middle_and_nothing_else() -> None:
    weight = shares([Region(0), Region(0, front=1.5)], 10, 10)
    assert torch.allclose(weight.sum(0), torch.ones(10))
    assert (weight[1, 4:6] > 0.95).all() and (weight[1, :3] < 0.02).all() and (weight[1, 7:] < 0.02).all()


@pytest.mark.parametrize("lefts", [[0], [0, 5], [3, 6]])
def test_a_gap_is_an_error(lefts: list[int]) -> None:
    with pytest.raises(ValueError, match="gap in 16 columns"):
        shares([Region(left) for left in lefts], 10, 16)


def test_latents_are_fitted_around_their_middle() -> None:
    x = torch.arange(10.0).expand(1, 2, 3, 6, 10)
    wide = fitted(x, 14)
    assert wide[0, 0, 0, 0].tolist() == [0, 0, *range(10), 9, 9]
    assert torch.equal(fitted(wide, 10), x) and torch.equal(fitted(x, 10), x)


def test_the_background_is_asked_every_second_step_once_it_is_settled_and_anew_in_another_run() -> None:
    asked: list[float] = []

    def ground(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        asked.append(round(sigma.max().item(), 2))
        return torch.full_like(x, sigma.max().item())

    windows = [Window(says(0.0), Region(0)), Window(ground, Region(4, fills=True))]  # type: ignore[arg-type]
    canvas = over_canvas(windows, 10, 14)
    for level in (1.0, 0.95, 0.8, 0.6, 0.4, 0.2, 0.1, 1.0):
        made = canvas(torch.zeros(1, 2, 3, 6, 14), torch.full((1, 3), level), POSITIONS)
        assert made[..., -1].unique().tolist() == pytest.approx([asked[-1]], abs=1e-2)
    assert asked == [1.0, 0.95, 0.8, 0.4, 0.1, 1.0]
