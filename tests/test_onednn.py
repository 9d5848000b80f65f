"""Products by oneDNN equal PyTorch's, for every mask, dtype and layer; adapters and training see none of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from longtake.adapt import onednn
from longtake.adapt.onednn import attending, by_heads, use_products
from longtake.model.dit import FeedForward, attend


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


def masks(length: int, seen: int) -> dict[str, torch.Tensor | None]:
    return {
        "none": None,
        "boolean": torch.rand(length, seen) < 0.7,
        "scores": 2 * torch.randn(1, 1, 1, seen),
    }


@pytest.mark.parametrize("mask", ["none", "boolean", "scores"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_attention_by_heads_is_no_farther_from_exact_than_the_fused_one(
    dtype: torch.dtype, mask: str
) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, n, 3, 16).transpose(1, 2).to(dtype) for n in (300, 70, 70))
    looks = masks(300, 70)[mask]
    exact_mask = looks.double() if mask == "scores" and looks is not None else looks
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), exact_mask)
    fused = F.scaled_dot_product_attention(
        q, k, v, looks.to(dtype) if mask == "scores" and looks is not None else looks
    )
    made = by_heads(q, k, v, looks)
    assert made.shape == q.shape and made.dtype == dtype
    assert apart(made, exact) < max(1.2 * apart(fused, exact), 1e-6)


@torch.no_grad()
def test_rows_of_scores_fit_the_cache_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn(1, 2, 100, 8) for _ in range(3))
    whole = by_heads(q, k, v)
    monkeypatch.setattr(onednn, "SCORES", 100)
    torch.testing.assert_close(by_heads(q, k, v), whole, rtol=1e-5, atol=1e-6)


def test_attention_that_is_trained_is_the_models_own() -> None:
    calls = []

    def own(q: torch.Tensor, *rest: torch.Tensor | None) -> torch.Tensor:
        calls.append(q.shape)
        return attend(q, *rest)  # type: ignore[arg-type]

    q = torch.randn(1, 1, 4, 8, requires_grad=True)
    attending(own)(q, q, q, None).sum().backward()
    assert calls == [q.shape] and q.grad is not None
    with torch.no_grad():
        half = q.detach().to(torch.float16)  # a dtype that oneDNN may not have
        attending(own)(half, half, half, None)
    assert len(calls) == 2


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@torch.no_grad()
def test_a_layer_answers_the_same(dtype: torch.dtype, error: float, bias: bool) -> None:
    layer = nn.Linear(24, 10, bias=bias)
    x = torch.randn(2, 5, 3, 24).transpose(1, 2)  # not contiguous
    exact = layer.double()(x.double())
    layer.to(dtype)
    use_products(layer)
    made = layer(x.to(dtype))
    assert made.shape == exact.shape and made.dtype == dtype and apart(made, exact) < error
    layer.weight.data = torch.zeros_like(layer.weight)  # weights that are swapped, as offloaded ones are
    assert made.count_nonzero() and not (layer(x.to(dtype)) - (layer.bias if bias else 0)).count_nonzero()
    with pytest.raises(RuntimeError, match="dtype"):
        layer(x.to(torch.float32 if dtype == torch.bfloat16 else torch.bfloat16))


def test_autocast_and_training_reach_the_layer() -> None:
    layer, x = nn.Linear(24, 10), torch.randn(3, 24)
    use_products(layer)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    layer(x).sum().backward()
    assert layer.weight.grad is not None


@torch.no_grad()
def test_a_feed_forward_in_pieces_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = FeedForward(16, 64, 16), torch.randn(2, 3, 7, 16)
    whole, lengths = layer(x), []
    monkeypatch.setattr(onednn, "TOKENS", 10)
    use_products(layer)
    layer.net[2].register_forward_hook(lambda module, given, made: lengths.append(len(made)))
    made = layer(x)
    assert lengths == [10, 10, 10, 10, 2] and made.shape == x.shape
    torch.testing.assert_close(made, whole, rtol=1e-5, atol=1e-6)
