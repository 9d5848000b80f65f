"""Two processes over gloo answer as one does: Ulysses with and without padding and masks, FSDP2, a split batch."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig

pytestmark = pytest.mark.slow  # two fresh processes load PyTorch

CONFIG = DiTConfig(dim=64, layers=3, heads=4, ffn=96, in_channels=4, out_channels=4, text_dim=12)
CASES = (((3, 4, 6), None), ((3, 6, 10), None), ((4, 6, 10), 2))
"""Latents (f h w) and causal block: 6 tokens a frame divide by two, 15 do not."""


def network() -> DiT:
    torch.manual_seed(0)
    model = DiT(CONFIG)
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return model


def answer(model: torch.nn.Module, shape: tuple[int, int, int], causal: int | None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x, text = torch.randn(2, 4, *shape, generator=generator), torch.randn(2, 5, 12, generator=generator)
    level = 1000 * torch.rand(2, shape[0], generator=generator)
    out: torch.Tensor = model(x, level, text, causal_block=causal)
    return out


def worker(rank: int, port: int, folder: str) -> None:
    from longtake.adapt.parallel import ContextParallel, shard_weights, split_batch

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = network().eval()
    parallel = ContextParallel(model)
    with torch.no_grad():
        split = [answer(model, *case) for case in CASES]
        parallel.close()
        alone = answer(model, *CASES[0])
        batch = network().eval()
        split_batch(batch)
        rows = answer(batch, *CASES[0])
    model.train()
    shard_weights(model)
    out = answer(model, *CASES[0])
    out.square().mean().backward()
    weight = model.blocks[1].ffn.net[2].weight
    result = {"split": split, "alone": alone, "rows": rows, "sharded": out.detach()}
    result["gradient"] = weight.grad.full_tensor()
    result["local"] = torch.tensor(weight.to_local().shape[0])
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_ulysses_equals_one_process(results: list[dict[str, torch.Tensor]]) -> None:
    model = network().eval()
    with torch.no_grad():
        expected = [answer(model, *case) for case in CASES]
    for result in results:
        for ours, theirs in zip(result["split"], expected, strict=True):
            assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
        assert torch.equal(result["alone"], expected[0])
        torch.testing.assert_close(result["rows"], expected[0], rtol=1e-5, atol=1e-6)
    for one, other in zip(results[0]["split"], results[1]["split"], strict=True):
        assert torch.equal(one, other)


def test_sharded_weights_give_the_same_answer_and_gradient(results: list[dict[str, torch.Tensor]]) -> None:
    model = network()
    out = answer(model, *CASES[0])
    out.square().mean().backward()
    for result in results:
        assert (result["sharded"] - out).abs().max() <= 1e-5 * out.abs().max()
        gradient = model.blocks[1].ffn.net[2].weight.grad
        assert (result["gradient"] - gradient).abs().max() <= 1e-5 * gradient.abs().max()
        assert result["local"] == CONFIG.dim // 2


def test_one_by_one_equals_the_batch() -> None:
    from longtake.adapt.parallel import one_by_one

    model = network().eval()
    with torch.no_grad():
        expected = answer(model, *CASES[0])
        one_by_one(model)
        torch.testing.assert_close(answer(model, *CASES[0]), expected, rtol=1e-5, atol=1e-6)


def test_heads_must_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    from longtake.adapt.parallel import ContextParallel

    monkeypatch.setattr(dist, "get_world_size", lambda group=None: 3)
    monkeypatch.setattr(dist, "get_rank", lambda group=None: 0)
    with pytest.raises(ValueError, match="4 heads do not divide between 3"):
        ContextParallel(network())
