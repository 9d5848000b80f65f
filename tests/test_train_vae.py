"""The VAE loop learns, resumes bit-exactly, and freezes statistics that make latents unit-scaled."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from longtake.model import checkpoint as weights
from longtake.model.presets import PRESETS
from longtake.model.tensorfile import read_safetensors, write_safetensors
from longtake.model.vae import VAE
from longtake.train.data import PIECE, Pieces
from longtake.train.loop import Budget
from longtake.train.optim import KernelMuon, OptimConfig, muon_for_convolutions
from longtake.train.vae import (
    VaePlan,
    crop,
    gradient_error,
    latent_statistics,
    psnr,
    subject_weight,
    train_vae,
)

SIZE = (64, 64)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pieces of a bright square that slides over a shaded ground, with its box."""
    folder = tmp_path / "data"
    for split in ("train", "held"):
        generator = torch.Generator().manual_seed(0)
        frames = torch.rand(8, 3, 1, 1, 1, generator=generator).mul(160).expand(8, 3, PIECE, 64, 64).clone()
        boxes = torch.zeros(8, PIECE, 4)
        for i in range(8):
            for t in range(PIECE):
                x, y = 4 * i + 2 * t, 20
                frames[i, :, t, y : y + 16, x : x + 16] = 250
                boxes[i, t] = torch.tensor([x, y, x + 16, y + 16]) / 64
        tensors = {"frames": frames.to(torch.uint8), "boxes": boxes}
        write_safetensors(folder / f"groups-64x64-{split}-00000.safetensors", tensors, {"scenes": "[]"})
    return folder


def plan(data: Path, out: Path) -> VaePlan:
    return VaePlan(data=data, out=out, preset="xs", sizes=(SIZE,), batch=4, compile=False, held=8, quiet=True)


def test_learns_reports_and_freezes(data: Path, tmp_path: Path) -> None:
    outcome = train_vae(plan(data, tmp_path / "run"), Budget(steps=120))
    assert outcome.values["psnr"] > 13.5 and outcome.values["subject_psnr"] > 7.2  # untrained: 11.0 and 6.4
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 120 and {"psnr", "subject_psnr"} <= rows[-1].keys()

    vae = weights.load(
        tmp_path / "run" / "vae.safetensors", device=torch.device("cpu"), dtype=torch.float32
    ).vae
    frozen = vae.config
    assert (
        len(frozen.mean) == len(frozen.std) == frozen.z and min(frozen.std) > 0 and set(frozen.std) != {1.0}
    )
    frames, _ = Pieces(data, [SIZE]).draw(8)
    small = torch.nn.functional.avg_pool3d(frames, (1, frozen.upscale, frozen.upscale))
    latents = vae.encode(small)
    assert abs(latents.mean()) < 0.3 and 0.6 < latents.std() < 1.4


def test_ctrl_c_saves_and_resume_is_bit_exact(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_vae(plan(data, tmp_path / "whole"), Budget(steps=6))
    draw, calls = Pieces.draw, []

    def interrupted(self: Pieces, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(count)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return draw(self, count)

    monkeypatch.setattr(Pieces, "draw", interrupted)
    first = train_vae(plan(data, tmp_path / "parts"), Budget(steps=6))
    assert first.interrupted and first.progress.step == 3
    outcome = train_vae(plan(data, tmp_path / "parts"), Budget(steps=6))
    assert outcome.progress.step == 6
    whole, _ = read_safetensors(tmp_path / "whole" / "state.safetensors")
    parts, _ = read_safetensors(tmp_path / "parts" / "state.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_crop_keeps_boxes_on_the_subject() -> None:
    frames = torch.zeros(4, 1, PIECE, 64, 96)
    frames[..., 20:36, 40:56] = 1
    boxes = torch.tensor([40 / 96, 20 / 64, 56 / 96, 36 / 64]).expand(4, PIECE, 4)
    cut, moved = crop(frames, boxes, 48, torch.Generator().manual_seed(0))
    assert cut.shape == (4, 1, PIECE, 48, 48)
    inside = subject_weight(moved, 48, 48, 2.0) - 1
    assert torch.equal(inside, cut)


def test_gradient_error_sees_edges_only() -> None:
    weight = torch.ones(1, 1, 2, 16, 16)
    assert gradient_error(torch.full((1, 3, 2, 16, 16), 0.5), weight) == 0
    edge = torch.zeros(1, 3, 2, 16, 16)
    edge[..., 8:] = 1
    assert gradient_error(edge, weight) > 0.05


def test_statistics_match_the_latents(data: Path) -> None:
    from longtake.model.presets import PRESETS
    from longtake.model.vae import VAE

    vae = VAE(PRESETS["xs"].vae).eval()
    mean, std = latent_statistics(vae, Pieces(data, [SIZE]), 1, 8, torch.device("cpu"))
    assert len(mean) == len(std) == vae.config.z and min(std) > 0
    values = psnr(vae, Pieces(data, [SIZE]), 1, 8, torch.device("cpu"))
    assert 0 < values["psnr"] < 60


def test_muon_and_adamw_together_move_every_parameter_of_the_autoencoder() -> None:
    vae = VAE(PRESETS["xs"].vae)
    optimizers = muon_for_convolutions(vae, OptimConfig(weight_decay=0.0))
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    frames = torch.rand(1, 3, 4, 32, 32) * 2 - 1
    for _ in range(2):  # the second convolution of a residual block starts at zero and hides what precedes it
        vae.decode(vae.encode(frames)).square().mean().backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
    assert all(p.grad is None for p in vae.parameters())
    still = [n for n, p in vae.named_parameters() if torch.equal(p, before[n]) and "scale" not in n]
    assert still == []


def test_muon_refuses_a_kernel_in_another_layout() -> None:
    with pytest.raises(ValueError, match="channels-last"):
        KernelMuon([torch.nn.Parameter(torch.randn(4, 8, 3, 3))], OptimConfig())
