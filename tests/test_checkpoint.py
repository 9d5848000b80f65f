"""One file of weights: what was saved comes back exactly, and whatever is wrong with a file is named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

from longtake.errors import OutputError, WeightsError
from longtake.model import checkpoint
from longtake.model.dit import DiT
from longtake.model.presets import PRESETS, ModelConfig
from longtake.model.text import TextEncoder, Tokenizer, train_tokenizer
from longtake.model.vae import VAE


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a puppy in the snow", "一只小狗"] * 10, 300)


@pytest.fixture(scope="module")
def config(tokenizer: Tokenizer) -> ModelConfig:
    xs = PRESETS["xs"]
    vae = replace(xs.vae, mean=(0.5,) * xs.vae.z, std=(2.0,) * xs.vae.z)
    return replace(xs, text=replace(xs.text, vocab=tokenizer.size), vae=vae)


@pytest.fixture(scope="module")
def modules(config: ModelConfig) -> dict[str, nn.Module]:
    return {"dit": DiT(config.dit), "vae": VAE(config.vae), "text": TextEncoder(config.text)}


@pytest.fixture
def whole(tmp_path: Path, modules: dict[str, nn.Module], config: ModelConfig, tokenizer: Tokenizer) -> Path:
    path = tmp_path / "new" / "tiny.safetensors"
    checkpoint.save(path, modules, config, tokenizer.to_json(), extra={"steps": 7})
    return path


def test_what_was_saved_comes_back(
    whole: Path, modules: dict[str, nn.Module], config: ModelConfig, tokenizer: Tokenizer
) -> None:
    models = checkpoint.load(whole)
    assert models.config == config and models.extra == {"steps": 7} and models.name == "tiny"
    assert models.parts == ("dit", "vae", "text", "tokenizer")
    for part, module in modules.items():
        loaded = getattr(models, part)
        assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
        for key, value in module.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key
    assert (models.vae.mean == 0.5).all() and (models.vae.std == 2).all()
    assert torch.equal(models.tokenizer(["a puppy"]), tokenizer(["a puppy"]))
    assert models.size_bytes == 4 * sum(p.numel() for m in modules.values() for p in m.parameters())
    assert [p.name for p in whole.parent.iterdir()] == ["tiny.safetensors"]  # nothing left beside it


def test_saved_in_half_the_size(
    tmp_path: Path, whole: Path, modules: dict[str, nn.Module], config: ModelConfig
) -> None:
    path = tmp_path / "half.safetensors"
    checkpoint.save(path, modules, config, dtype=torch.bfloat16)
    assert 0.45 < path.stat().st_size / whole.stat().st_size < 0.55
    assert next(checkpoint.load(path).dit.parameters()).dtype == torch.float32
    models = checkpoint.load(path, dtype=torch.bfloat16)
    assert {p.dtype for p in models.dit.parameters()} == {models.vae.mean.dtype} == {torch.bfloat16}
    assert torch.equal(models.dit.proj_out.bias, modules["dit"].proj_out.bias.bfloat16())  # type: ignore[union-attr]


def test_a_file_of_one_part(tmp_path: Path, modules: dict[str, nn.Module], config: ModelConfig) -> None:
    path = tmp_path / "vae.safetensors"
    checkpoint.save(path, {"vae": modules["vae"]}, config)
    models = checkpoint.load(path)
    assert models.parts == ("vae",) and models.vae.config == config.vae
    for part in ("dit", "text", "tokenizer"):
        with pytest.raises(WeightsError, match=f"vae holds no {part}"):
            getattr(models, part)
    with pytest.raises(AttributeError):
        _ = models.nothing  # type: ignore[attr-defined]


def test_only_what_belongs_together_is_saved(
    tmp_path: Path, modules: dict[str, nn.Module], config: ModelConfig
) -> None:
    for wrong in ({"decoder": modules["vae"]}, {"dit": modules["vae"]}):
        with pytest.raises(ValueError, match="not a part"):
            checkpoint.save(tmp_path / "x.safetensors", wrong, config)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        checkpoint.save(tmp_path / "file" / "x.safetensors", {"vae": modules["vae"]}, config)


def test_damaged_files_are_named(tmp_path: Path, whole: Path) -> None:
    data, path = whole.read_bytes(), tmp_path / "bad.safetensors"
    damaged = {
        "is empty": b"",
        "is cut short": data[: len(data) // 2],
        "cut short": data[:100],
        "not a safetensors file": b"PK\x03\x04 something else entirely",
        "not a safetensors": data[:4],
    }
    for message, content in damaged.items():
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message) as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(WeightsError, match="no weights at"):
            checkpoint.load(missing)


def test_foreign_headers_are_named(tmp_path: Path, whole: Path) -> None:
    with safe_open(whole, "pt") as file:
        header = file.metadata()
    tensors = safetensors.torch.load_file(whole)
    older = json.dumps(json.loads(header["config"]) | {"version": 0})
    headers = {
        "no longtake model": {},
        "version 0": header | {"config": older},
        "header": header | {"config": "{"},
        "dit": header | {"config": '{"version": 1}'},
        "tokenizer": header | {"tokenizer": "{}"},
    }
    path = tmp_path / "foreign.safetensors"
    for message, changed in headers.items():
        safetensors.torch.save_file(tensors, path, changed)
        with pytest.raises(WeightsError, match=message) as caught:
            checkpoint.load(path)
        assert "\n" not in str(caught.value)


def test_tensors_that_do_not_match_are_named(tmp_path: Path, whole: Path) -> None:
    with safe_open(whole, "pt") as file:
        header = file.metadata()
    tensors = safetensors.torch.load_file(whole)
    path, key = tmp_path / "odd.safetensors", "dit.proj_out.bias"
    cases = {
        rf"1 tensors are missing: {key};": {k: v for k, v in tensors.items() if k != key},
        r"1 tensors are unexpected: dit\.lora;": tensors | {"dit.lora": torch.zeros(1)},
        rf"of another shape: {key} \[1\] instead of \[64\]": tensors | {key: torch.zeros(1)},
        r"\d+ tensors are missing: .*, .*, .* \.\.\.": {
            k: v for k, v in tensors.items() if not k.startswith("dit.blocks.1")
        },
        "unknown parts: clip": tensors | {"clip.x": torch.zeros(1)},
    }
    for message, changed in cases.items():
        safetensors.torch.save_file(changed, path, header)
        with pytest.raises(WeightsError, match=message):
            checkpoint.load(path)


def test_loading_does_not_import_the_compiler() -> None:
    code = (
        "import sys; from longtake.model import checkpoint; checkpoint.load(); "
        "print([m for m in ('torch._dynamo', 'torch._inductor', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
