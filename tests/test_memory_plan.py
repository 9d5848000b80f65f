"""The planner: exact weights, activations held against what PyTorch allocates, the fastest that fits, clear advice."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longtake.adapt.plan import FAMILY, GB, Machine, _settings, activations, parse_memory, plan, workload
from longtake.errors import DeviceMemoryError, RequestError
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig
from longtake.model.wan import PUBLISHED

CARD = Machine(24 * GB, 150e12)


class Live(TorchDispatchMode):
    """Counts the bytes of storages that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.seen:
                    self.seen.add(key)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._freed, key, storage.nbytes())
        return out

    def _freed(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


@pytest.mark.parametrize(("name", "published"), [
    ("wan2.1-t2v-1.3b", 1_418_996_800), ("wan2.2-ti2v-5b", 4_999_787_712), ("wan2.1-t2v-14b", 14_288_491_584),
])  # fmt: skip
def test_counts_the_published_weights(name: str, published: int) -> None:
    work = FAMILY[name]
    whole = next(p for p in _settings(work, CARD, "bf16") if p.resident == work.dit.layers)
    assert whole.weights - work.vae_bytes == 2 * published
    assert whole.waiting == 0


def test_plans_for_every_model_that_goes_by_a_name() -> None:
    assert set(FAMILY) == set(PUBLISHED)
    animating, fast = FAMILY["wan2.1-i2v-14b-720p"], workload("fastwan2.1-t2v-1.3b")
    assert animating.dit.in_channels == 36 and animating.tokens == 75_600
    assert not fast.guided and fast.steps == 3
    assert workload("wan2.2-ti2v-5b").guided


def test_counts_the_published_tokens() -> None:
    assert FAMILY["wan2.1-t2v-1.3b"].tokens == 32_760
    assert FAMILY["wan2.2-ti2v-5b"].tokens == 27_280
    assert workload("wan2.1-t2v-14b", size="1280x720", seconds=5).tokens == 75_600
    for wrong in ({"seconds": -1.0}, {"seconds": 61.0}, {"steps": 0}):
        with pytest.raises(RequestError, match=f"{next(iter(wrong))} must be"):
            workload("pocket", **wrong)


@pytest.mark.parametrize("ffn", [256, 1024])
def test_activations_are_what_pytorch_allocates(ffn: int) -> None:
    config = DiTConfig(dim=192, layers=2, heads=3, ffn=ffn, in_channels=4, out_channels=4, text_dim=16)
    work = replace(workload("pocket"), dit=config, width=40 * 32, height=40 * 32, frames=12, text_length=4)
    network = DiT(config).eval().requires_grad_(False)
    x, text = torch.randn(2, 4, 3, 40, 40), torch.randn(2, 4, 16)
    level = torch.full((2, 3), 500.0)
    from longtake.adapt.attention import use_attention

    use_attention(network, "sdpa")  # as on a GPU: scores are not written out
    with torch.no_grad(), Live() as live:
        network(x, level, text)
    assert work.tokens == 1200
    assert 0.8 < activations(work, 2, "fp32") / live.peak < 1.5


def test_picks_the_fastest_that_fits_and_says_where_everything_is() -> None:
    small = FAMILY["wan2.1-t2v-1.3b"]
    roomy = plan(small, CARD)
    assert roomy.resident == 30 and roomy.batched and roomy.peak < 24 * GB
    big = FAMILY["wan2.1-t2v-14b"]
    tight = plan(big, CARD)
    assert 0 < tight.resident < 40 and tight.peak <= 24 * GB and tight.waiting > 0
    words = "\n".join(tight.lines())
    assert f"{tight.resident} of 40 blocks" in words and "visit block by block" in words and "peak" in words
    lean = plan(big, Machine(12 * GB, 150e12))
    assert lean.resident < tight.resident and lean.peak <= 12 * GB
    assert not plan(small, Machine(9 * GB, 80e12)).text_on_device


def test_more_memory_is_never_slower() -> None:
    work = FAMILY["wan2.1-t2v-14b"]
    times = [plan(work, Machine(gb * GB, 1e15, transfer=0.5 * GB)).seconds for gb in (12, 16, 24, 48)]
    assert times == sorted(times, reverse=True) and times[0] > times[-1]


def test_too_little_memory_names_what_fits() -> None:
    work = FAMILY["wan2.1-t2v-14b"]
    with pytest.raises(DeviceMemoryError, match=r"needs at least .* GB .* what fits: .*frames at once"):
        plan(work, Machine(5 * GB, 80e12))
    with pytest.raises(DeviceMemoryError, match="choose a smaller model"):
        plan(work, Machine(0.2 * GB, 80e12))


def test_reads_memory_and_refuses_what_it_cannot() -> None:
    assert parse_memory("12GB") == 12e9
    assert parse_memory("12") == 12e9
    assert parse_memory("1.5 GiB") == 1.5 * 2**30
    assert parse_memory("800mb") == 8e8
    for text in ("lots", "0GB", "-3GB"):
        with pytest.raises(RequestError, match="12GB"):
            parse_memory(text)


def test_names_and_sizes_are_checked() -> None:
    with pytest.raises(RequestError, match=r"did you mean wan2\.1-t2v-14b"):
        workload("wan2.1-t2v-14")
    with pytest.raises(RequestError, match="multiples of 16"):
        workload("wan2.1-t2v-14b", size="831x480")
    assert workload("pocket").tokens == 12 * 15
