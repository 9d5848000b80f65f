"""Further training of a decoder: encoder and model stay, going on is bit-exact, gradients add up."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from longtake.errors import WeightsError
from longtake.model import checkpoint as weights
from longtake.model.dit import DiT
from longtake.model.presets import PRESETS
from longtake.model.tensorfile import read_safetensors, write_safetensors
from longtake.model.vae import VAE
from longtake.train.data import PIECE, Pieces
from longtake.train.decoder import Adversary, DecoderPlan, _pulled, train_decoder
from longtake.train.loop import Budget
from longtake.train.vae import psnr

SIZE = (64, 64)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A transformer and an autoencoder that know nothing yet."""
    torch.manual_seed(0)
    config = PRESETS["xs"]
    path = tmp_path / "old.safetensors"
    weights.save(path, {"dit": DiT(config.dit), "vae": VAE(config.vae)}, config, extra={"version": "old"})
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pieces of a bright bar that moves over a shaded ground."""
    frames = torch.linspace(30, 120, 64).expand(8, 3, PIECE, 64, 64).clone()
    for i in range(8):
        for t in range(PIECE):
            frames[i, :, t, :, 4 * i + 2 * t : 4 * i + 2 * t + 8] = 250
    tensors = {"frames": frames.to(torch.uint8), "boxes": torch.zeros(8, PIECE, 4)}
    for split in ("train", "held"):
        write_safetensors(tmp_path / f"groups-64x64-{split}-00000.safetensors", tensors, {"scenes": "[]"})
    return tmp_path


def plan(data: Path, model: Path, out: str) -> DecoderPlan:
    return DecoderPlan(
        data=data, model=model, out=data / out, sizes=(SIZE,), batch=4, crop=0, quiet_share=0.5, compile=False, held=8,
        quiet=True,
    )  # fmt: skip


def test_only_the_decoder_learns(data: Path, model: Path) -> None:
    untrained = psnr(weights.load(model).vae, Pieces(data, [SIZE], "held"), 1, 8, torch.device("cpu"))
    outcome = train_decoder(plan(data, model, "run"), Budget(steps=60))
    assert outcome.values["psnr"] > untrained["psnr"] + 0.2
    assert outcome.values["judge"] > 0  # the adversary took part
    before, after = weights.load(model), weights.load(data / "run" / "model.safetensors")
    assert after.parts == before.parts and after.extra == before.extra
    for name, kept in before.dit.state_dict().items():
        assert torch.equal(kept, after.dit.state_dict()[name])
    for name, old in before.vae.state_dict().items():
        same = torch.equal(old, after.vae.state_dict()[name])
        assert same == name.startswith("encoder."), name


def test_going_on_is_bit_exact(data: Path, model: Path) -> None:
    train_decoder(plan(data, model, "whole"), Budget(steps=8))
    half = plan(data, model, "parts")
    _stop_after(half, 5)
    train_decoder(half, Budget(steps=8))
    whole, _ = read_safetensors(data / "whole" / "state.safetensors")
    parts, _ = read_safetensors(data / "parts" / "state.safetensors")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def _stop_after(half: DecoderPlan, steps: int) -> None:
    """The run, cut short by Ctrl-C in this step."""
    draw, calls = Pieces.draw, []

    def interrupted(self: Pieces, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(count)
        if len(calls) == steps:
            signal.raise_signal(signal.SIGINT)
        return draw(self, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pieces, "draw", interrupted)
        outcome = train_decoder(half, Budget(steps=8))
    assert outcome.interrupted and outcome.progress.step == steps


def test_the_adversary_pulls_by_its_share() -> None:
    made = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss, fooled = made.square().sum(), 100 * (made * torch.tensor([1.0, -2.0, 0.5])).sum()
    pulled = _pulled(made, loss, fooled, 0.5)
    assert pulled.item() == pytest.approx(loss.item())
    (own,) = torch.autograd.grad(loss, made, retain_graph=True)
    (gradient,) = torch.autograd.grad(pulled, made)
    assert (gradient - own).norm().item() == pytest.approx(0.5 * own.norm().item(), rel=1e-5)


def test_the_adversary_judges_patches() -> None:
    verdict, features = Adversary(8)(torch.zeros(2, 3, PIECE, 64, 96))
    assert verdict.shape == (2, 1, 8, 12) and len(features) == 3


def test_a_model_without_autoencoder_is_refused(data: Path) -> None:
    config = PRESETS["xs"]
    path = data / "dit.safetensors"
    weights.save(path, {"dit": DiT(config.dit)}, config)
    with pytest.raises(WeightsError, match="vae"):
        train_decoder(plan(data, path, "none"), Budget(steps=1))
