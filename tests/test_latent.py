"""The mark in the noise: it leaves the noise normal, depends on key, seed and index, and reads back."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from longtake.diffusion import film
from longtake.inversion import walk_back
from longtake.provenance.keys import MasterKey
from longtake.provenance.latent import Evidence, LatentMark

KEY = MasterKey(0, bytes(range(32)), "2026-01-01")
OTHER = MasterKey(0, bytes(range(1, 33)), "2026-01-01")
FRAME = (1, 16, 6, 10)


def noise(frames: int = 12) -> Tensor:
    return torch.randn(1, 16, frames, 6, 10, generator=torch.Generator().manual_seed(1))


def linear(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
    """The exact denoiser of data N(0, 1/4): E[x0 | x] for x = (1 - s) x0 + s e."""
    s = sigma[:, None, :, None, None]
    return x * (1 - s) / 4 / ((1 - s) ** 2 / 4 + s**2)


def take(mark: LatentMark | None, **changes: object) -> film.Take:
    plain = film.Take(linear, torch.Generator().manual_seed(7), steps=16, noise=mark)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_marked_noise_is_standard_normal() -> None:
    values = LatentMark(KEY, 7)(noise(), list(range(12))).flatten().sort().values
    exact = 0.5 * (1 + torch.erf(values / math.sqrt(2)))
    rank = torch.arange(1, len(values) + 1) / len(values)
    assert (exact - rank).abs().max() < 1.63 / math.sqrt(len(values))  # Kolmogorov-Smirnov at 1 %


@pytest.mark.parametrize("other", [(OTHER, 7, 3), (KEY, 8, 3), (KEY, 7, 4)])
def test_signs_differ_between_keys_seeds_and_frames(other: tuple[MasterKey, int, int]) -> None:
    ours = LatentMark(KEY, 7).signs([3], (16, 6, 10))
    key, seed, index = other
    share = (ours == LatentMark(key, seed).signs([index], (16, 6, 10))).float().mean().item()
    assert abs(share - 0.5) < 5 * 0.5 / math.sqrt(ours.numel())


def test_a_film_of_several_windows_is_the_same_twice_and_reads_back() -> None:
    mark = LatentMark(KEY, 7)
    first, second = (film.collect(film.text_to_video(take(mark), FRAME, 20)) for _ in range(2))
    assert torch.equal(first, second)
    back = walk_back(linear, first[:, :, :12])
    assert mark.evidence(back).sigma > 0.9 * math.sqrt(back.numel() * 2 / math.pi)  # E|x| of N(0, 1)
    for wrong in (LatentMark(OTHER, 7), LatentMark(KEY, 8)):
        assert not wrong.evidence(back).found(1)
    assert mark.evidence(back[:, :, 4:], first=4).found(1) and not mark.evidence(back[:, :, 4:]).found(1)


def test_the_indices_go_on_from_window_to_window_and_spare_the_image_slot() -> None:
    seen: list[int] = []

    def record(x: Tensor, indices: list[int]) -> Tensor:
        assert x.shape[2] == len(indices)
        seen.extend(indices)
        return x

    film.collect(film.text_to_video(take(None, noise=record), FRAME, 20))
    assert seen == list(range(20))
    seen.clear()
    film.collect(film.text_to_video(take(None, noise=record, makes_first=True), FRAME, 12))
    assert seen == list(range(12))


def test_renoising_keeps_nothing() -> None:
    mark = LatentMark(KEY, 7)
    latents = film.collect(film.text_to_video(take(mark, solver="renoise"), FRAME, 12))
    assert not mark.evidence(walk_back(linear, latents)).found(1)


def test_evidence_adds_up_and_a_wrong_key_is_a_coin() -> None:
    back = noise()
    parts = Evidence(3.0, 9.0) + Evidence(1.0, 7.0)
    assert (parts.sigma, Evidence(0.0, 0.0).sigma) == (1.0, 0.0)
    sigmas = torch.tensor([LatentMark(OTHER, seed).evidence(back).sigma for seed in range(400)])
    assert abs(sigmas.mean()) < 0.25 and 0.85 < sigmas.std() < 1.15
    assert not any(Evidence(float(z), 1.0).found(400) for z in sigmas)
