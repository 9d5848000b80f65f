"""Block-causal models: kept keys and values give what recomputation gives, and each block is computed once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from longtake.diffusion import film, flow
from longtake.diffusion.film import Take
from longtake.errors import RequestError
from longtake.model.causal import Causal
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig

BLOCK = 3


def network() -> DiT:
    torch.manual_seed(0)
    dit = DiT(DiTConfig(24, 2, 2, 40, 4, 4, 8)).eval().requires_grad_(False)
    for parameter in dit.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return dit


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def test_kept_keys_and_values_equal_recomputation() -> None:
    dit, text = network(), torch.randn(1, 5, 8)
    x, timestep = torch.randn(1, 4, 9, 4, 4), torch.zeros(1, 9)
    timestep[:, 6:] = 700.0
    positions = torch.arange(9)
    causal = Causal(dit, BLOCK)
    for known in (0, 3, 6):  # as a film grows, block by block
        level = timestep[:, : known + BLOCK].clone()
        level[:, known:] = 700.0
        whole = dit(x[:, :, : known + BLOCK], level, text, positions[: known + BLOCK], BLOCK)
        made = causal(x[:, :, : known + BLOCK], level, text, positions[: known + BLOCK])
        assert apart(made[:, :, known:], whole[:, :, known:]) < 1e-4
        assert (made[:, :, :known] == 0).all()
    assert causal.computed == 6
    again = causal(x, timestep, text, positions)
    assert apart(again, made) < 1e-6 and causal.computed == 6, "nothing is computed again"


def test_frames_that_leave_the_window_are_forgotten_and_positions_begin_anew() -> None:
    dit, text = network(), torch.randn(1, 5, 8)
    x = torch.randn(1, 4, 9, 4, 4)
    causal = Causal(dit, BLOCK)
    level = torch.tensor([[0.0] * 6 + [500.0] * 3])
    causal(x, level, text, torch.arange(9))
    first_gone = torch.cat([x[:, :, 3:], torch.randn(1, 4, 3, 4, 4)], 2)
    made = causal(first_gone, level, text, torch.arange(9))
    assert causal.computed == 9, "the block that stayed is not computed again"
    same = causal(first_gone, level, text, torch.arange(9) + 5)
    assert apart(same, made) < 1e-4, "only distances in time count"


def test_only_the_past_may_be_known() -> None:
    causal, text = Causal(network(), BLOCK), torch.randn(1, 5, 8)
    x = torch.randn(1, 4, 4, 4, 4)
    with pytest.raises(RequestError, match="only what came before"):
        causal(x, torch.tensor([[9.0, 9.0, 9.0, 0.0]]), text, torch.arange(4))
    with pytest.raises(RequestError, match="only what came before"):
        causal(x, torch.full((1, 4), 9.0), text, torch.arange(4))


def test_a_film_is_made_block_by_block_as_by_recomputation() -> None:
    dit, text = network(), torch.randn(1, 5, 8)
    causal = Causal(dit, BLOCK)

    def denoised(x: torch.Tensor, sigma: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        return flow.to_x0(velocity, x, sigma, "v")

    def kept(x: torch.Tensor, sigma: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return denoised(x, sigma, causal(x, 1000 * sigma, text, positions))

    def recomputed(x: torch.Tensor, sigma: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return denoised(x, sigma, dit(x, 1000 * sigma, text, positions, BLOCK))

    take = Take(
        kept, torch.Generator().manual_seed(1), steps=3, shift=5.0, solver="renoise", window=20, keep=6, sink=2,
        history_sigma=0.0, tolerance=None, block=BLOCK, whole=False, makes_first=True,
    )  # fmt: skip
    made = film.collect(film.text_to_video(take, (1, 4, 4, 4), 7))
    other = replace(take, denoise=recomputed, generator=torch.Generator().manual_seed(1))
    expected = film.collect(film.text_to_video(other, (1, 4, 4, 4), 7))
    assert made.shape == (1, 4, 7, 4, 4) and apart(made, expected) < 1e-4
    assert causal.computed == 6, "three blocks of three, of which the last is never looked back at"
