"""What every test starts from: the same seed, one thread, and a skip where the machine lacks the device."""

from __future__ import annotations

import os
import random
import shutil

import numpy as np
import pytest
import torch

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
