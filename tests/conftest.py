"""What every test starts from: the same seed, one thread, and a skip where the machine lacks the device."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from longtake.model import checkpoint
from longtake.model.checkpoint import Models
from longtake.model.dit import DiT
from longtake.model.presets import PRESETS
from longtake.model.text import TextEncoder, train_tokenizer
from longtake.model.vae import VAE

torch.set_num_threads(
    1
)  # small tensors: a second thread costs more than it brings, and numbers stay the same


@pytest.fixture(autouse=True, scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keys and certificates of the tests' own; a user's are never touched."""
    os.environ["LONGTAKE_DATA"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def seed() -> None:
    """Each test is the same whether it runs alone or among others."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a device or a program that is not here."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if item.get_closest_marker("browser") and not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is read from or left in the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LONGTAKE_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the smallest architecture, untrained, but with nothing left at zero: every input shows."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a dog in the snow", "一只狗在雪地里"], 300)
    config = PRESETS["xs"]
    config = replace(config, text=replace(config.text, vocab=tokenizer.size))
    modules = {"dit": DiT(config.dit), "vae": VAE(config.vae), "text": TextEncoder(config.text)}
    for module in modules.values():
        for parameter in module.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    torch.nn.init.normal_(modules["vae"].decoder[-2].weight, std=0.3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    checkpoint.save(path, modules, config, tokenizer.to_json())
    return path


@pytest.fixture(scope="session")
def models(weights: Path) -> Models:
    return checkpoint.load(weights)
