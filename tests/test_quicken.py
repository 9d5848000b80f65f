"""What is put around a transformer on a CPU: the text kept between steps, padding left out, activations fused."""

from __future__ import annotations

import pytest
import torch

from longtake.adapt.fit import quicken
from longtake.adapt.lora import Lora
from longtake.adapt.lora_file import Patch
from longtake.adapt.offload import Offload
from longtake.adapt.onednn import use_products
from longtake.adapt.parallel import one_by_one
from longtake.adapt.quantise import quantise
from longtake.adapt.text import Kept, keep_text
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig

CONFIG = DiTConfig(dim=64, layers=3, heads=2, ffn=128, in_channels=4, out_channels=4, text_dim=12)


@pytest.fixture
def network() -> DiT:
    torch.manual_seed(0)
    model = DiT(CONFIG).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


def texts(*words: int, length: int = 16) -> torch.Tensor:
    """Texts of so many words, zeros after them."""
    text = torch.zeros(len(words), length, CONFIG.text_dim)
    for row, count in zip(text, words, strict=True):
        row[:count] = torch.randn(count, CONFIG.text_dim)
    return text


@torch.no_grad()
def answer(network: torch.nn.Module, text: torch.Tensor, level: float = 400.0) -> torch.Tensor:
    x = torch.randn(1, 4, 3, 4, 6, generator=torch.Generator().manual_seed(3)).expand(
        len(text), -1, -1, -1, -1
    )
    out: torch.Tensor = network(x, torch.full((len(text), 3), level), text)
    return out


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def asked(network: DiT) -> list[int]:
    """How often the layers that read the text were computed."""
    layers = [layer for block in network.blocks for layer in (block.attn2.to_k, block.attn2.to_v)]
    return [layer.forward.computed for layer in layers]


@pytest.mark.parametrize("words", [(5,), (7, 2), (0, 16), (15,), (0,)])
def test_the_answer_stays_and_the_text_is_computed_once(network: DiT, words: tuple[int, ...]) -> None:
    text = texts(*words)
    expected = [answer(network, text, level) for level in (900.0, 500.0, 100.0)]
    quicken(network)
    for level, before in zip((900.0, 500.0, 100.0), expected, strict=True):
        assert apart(answer(network, text, level), before) < 1e-5
    assert asked(network) == [1] * 6


def test_padding_is_left_out_and_counted(network: DiT) -> None:
    text, seen = texts(3, 5), []
    keep_text(network)
    handle = network.blocks[0].attn2.to_k.register_forward_hook(lambda m, i, o: seen.append(o.shape[1]))
    answer(network, text)
    assert seen == [6], "five words of the longer text, and one token for all padding"
    answer(network, texts(3, 16))
    assert seen == [6, 16]
    handle.remove()


def test_another_text_or_other_weights_are_noticed(network: DiT) -> None:
    text, other = texts(5), texts(5)
    expected, expected_other = answer(network, text), answer(network, other)
    quicken(network)
    assert apart(answer(network, text), expected) < 1e-5
    assert apart(answer(network, other), expected_other) < 1e-5
    text[0, 2] += 1  # in place: the same tensor, another text
    assert apart(answer(network, text), expected) > 1e-3
    text[0, 2] -= 1
    network.blocks[1].attn2.to_v.weight.mul_(1.5)
    assert apart(answer(network, text), expected) > 1e-3


@pytest.mark.parametrize("layer", ["blocks.0.attn2.to_k", "condition_embedder.text_embedder.linear_1"])
def test_adapters_act_at_once_at_any_strength(network: DiT, layer: str) -> None:
    module, text = network.get_submodule(layer), texts(4)
    patch = {layer: Patch(torch.randn(2, module.in_features), torch.randn(module.out_features, 2))}
    lora = Lora(network, patch)
    expected = {0.0: answer(network, text)}
    lora.attach()
    for lora.scale in (1.0, 0.3):
        expected[lora.scale] = answer(network, text)
    lora.detach()
    quicken(network)
    answer(network, text)
    lora.attach()
    for lora.scale in (1.0, 0.3):
        assert apart(answer(network, text), expected[lora.scale]) < 1e-5
    lora.detach()
    assert apart(answer(network, text), expected[0.0]) < 1e-5


def test_it_works_under_offload_one_by_one_and_fewer_bits(network: DiT) -> None:
    text = texts(5, 2)
    quantise(network.blocks, "int8")
    expected = answer(network, text)
    quicken(network)
    one_by_one(network)
    offload = Offload(network.blocks, torch.device("cpu"), 1)
    for _ in range(3):
        assert apart(answer(network, text), expected) < 1e-5
    offload.close()
    assert asked(network) == [2] * 6, "once for each branch"


def test_training_sees_none_of_it(network: DiT) -> None:
    text = texts(5)
    quicken(network)
    answer(network, text)
    network.requires_grad_(True)
    out = network(torch.randn(1, 4, 3, 4, 6), torch.full((1, 3), 400.0), text)
    out.square().mean().backward()
    for name in (
        "blocks.0.attn2.to_k",
        "blocks.2.ffn.net.0.proj",
        "condition_embedder.text_embedder.linear_2",
    ):
        assert network.get_submodule(name).weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 5e-3)])
@torch.no_grad()
def test_a_fused_activation_is_the_activation(dtype: torch.dtype, error: float) -> None:
    layer = DiT(CONFIG).blocks[0].ffn.net[0].to(dtype)
    x = 3 * torch.randn(2, 3, 5, CONFIG.dim).to(dtype)
    exact = torch.nn.functional.gelu(
        torch.nn.functional.linear(x.double(), layer.proj.weight.double(), layer.proj.bias.double()),
        approximate="tanh",
    )
    apart_before = apart(layer(x).double(), exact)
    use_products(layer)
    assert layer(x).shape == exact.shape and layer(x).dtype == dtype
    assert apart(layer(x).double(), exact) < min(error, 1.01 * apart_before + 1e-7)


def test_kept_counts_and_forgets_the_oldest() -> None:
    kept = Kept(torch.nn.Linear(2, 2))
    one, two, three = torch.randn(3, 1, 2).unbind(0)
    with torch.no_grad():
        for text, computed in ((one, 1), (two, 2), (one, 2), (three, 3), (three.clone(), 3), (one, 4)):
            kept(text)
            assert kept.computed == computed
