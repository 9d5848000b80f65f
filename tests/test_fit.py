"""Options reach the network and the film: limits, fewer bits, adapters, the step cache, errors in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from longtake.adapt.fit import Options, fit, memory_explained, workload_of
from longtake.adapt.lora_file import write_lora
from longtake.adapt.plan import activations, plan, this_machine
from longtake.adapt.quantise import QuantisedLinear
from longtake.errors import DeviceMemoryError, RequestError
from longtake.model import checkpoint
from longtake.model.device import autocast, autocast_dtype
from longtake.pipeline import generate
from longtake.provenance.verify import verify
from longtake.request import Film, build_request


def answer(models: checkpoint.Models) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, models.config.vae.z, 2, 6, 10, generator=generator)
    text = torch.randn(2, 4, models.config.text.dim, generator=generator)
    with torch.no_grad():
        out: torch.Tensor = models.dit(x, torch.full((2, 2), 500.0), text)
    return out


def test_a_limit_brings_offload_and_the_same_answer() -> None:
    whole = checkpoint.load()
    expected = answer(whole)
    work = workload_of(whole)
    machine = this_machine(tflops=1.0)
    roomy = plan(work, machine, "fp32")
    lean = fit(checkpoint.load(), Options(memory=0.9 * roomy.peak))
    hooked = [bool(block._forward_pre_hooks) for block in lean.dit.blocks]
    assert any(hooked)
    torch.testing.assert_close(answer(lean), expected, rtol=1e-5, atol=1e-5)
    assert activations(work, 1, "fp32") < activations(work, 2, "fp32")


def test_too_small_a_limit_says_what_is_needed() -> None:
    with pytest.raises(DeviceMemoryError, match=r"pocket needs at least 0\.\d+ GB"):
        fit(checkpoint.load(), Options(memory=1e6))


def test_casting_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtake.adapt.fit.quicken", lambda *_: None)  # which changes the rounding
    plain, ready = checkpoint.load(), fit(checkpoint.load(), Options())
    dtype = autocast_dtype(torch.device("cpu"))
    assert ready.dit.blocks[0].ffn.net[2].weight.dtype == dtype or dtype is None
    pixels = torch.rand(1, 3, 4, 96, 160) * 2 - 1
    assert torch.equal(
        ready.vae.encode(pixels), plain.vae.encode(pixels)
    )  # in full precision, as pictures are read
    with autocast(torch.device("cpu")), torch.no_grad():
        assert torch.equal(answer(ready), answer(plain))
        latents = plain.vae.encode(pixels)
        assert torch.equal(ready.vae.decode(latents), plain.vae.decode(latents))
        tokens = plain.tokenizer(["a cat in the snow"])
        assert torch.equal(ready.text(tokens), plain.text(tokens))


def test_fewer_bits_are_written_into_the_name() -> None:
    models = checkpoint.load()
    expected = answer(models)
    small = fit(models, Options(precision="int8"))
    assert small.name == "pocket int8"
    assert isinstance(small.dit.blocks[0].ffn.net[2], QuantisedLinear)
    error = (answer(small) - expected).norm() / expected.norm()
    assert 0 < error < 0.03


def test_wrong_options_name_the_valid_ones() -> None:
    with pytest.raises(RequestError, match=r"auto, fp32, bf16, fp8, int8; did you mean int8"):
        Options(precision="int4")
    with pytest.raises(RequestError, match=r"try 0\.05"):
        build_request(prompt="a dog", cache=1.5)


def test_out_of_memory_becomes_advice() -> None:
    with pytest.raises(DeviceMemoryError, match=r"--memory-limit"), memory_explained(checkpoint.load()):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_an_adapter_changes_the_picture_and_is_taken_off_again(tmp_path: Path) -> None:
    models = checkpoint.load()
    before = answer(models)
    dim = models.config.dit.dim
    layers = {
        f"blocks.{i}.attn1.to_v": (0.3 * torch.randn(2, dim), 0.3 * torch.randn(dim, 2)) for i in range(3)
    }
    write_lora(tmp_path / "style.safetensors", layers, alpha=2.0)

    def make(name: str, **values: object) -> bytes:
        request = build_request(prompt="a dog in the snow", seed=3, size="320x192", steps=4, **values)
        *_, film = generate(request, tmp_path / name, models)
        assert isinstance(film, Film)
        from PIL import Image

        return Image.open(tmp_path / name).tobytes()

    plain = make("plain.png")
    styled = make("styled.png", lora=(f"{tmp_path / 'style.safetensors'}:0.8",))
    assert styled != plain
    assert make("again.png") == plain
    assert torch.equal(answer(models), before)
    record = verify(tmp_path / "styled.png").record
    assert record is not None and record["request"]["lora"] == ["style.safetensors:0.8"]
