"""Fewer bits stay close, offloaded blocks answer the same to the bit, every attention backend agrees."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from longtake.adapt.attention import available, backend, use_attention
from longtake.adapt.compiled import compile_blocks
from longtake.adapt.lora import Lora
from longtake.adapt.lora_file import Patch
from longtake.adapt.offload import Offload, visiting
from longtake.adapt.quantise import QuantisedLinear, quantise, weight_bytes
from longtake.errors import MissingExtraError, RequestError, WeightsError
from longtake.model.dit import DiT, attend, block_causal
from longtake.model.presets import DiTConfig

CONFIG = DiTConfig(dim=64, layers=5, heads=2, ffn=128, in_channels=4, out_channels=4, text_dim=12)
CPU = torch.device("cpu")


@pytest.fixture
def network() -> DiT:
    model = DiT(CONFIG).eval().requires_grad_(False)
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return model


def answer(network: torch.nn.Module, causal: int | None = None, device: torch.device = CPU) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 3, 4, 6, generator=generator).to(device)
    text = torch.randn(1, 5, 12, generator=generator).to(device)
    with torch.no_grad():
        out: torch.Tensor = network(x, torch.full((1, 3), 400.0, device=device), text, causal_block=causal)
    return out.float().cpu()


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize(("precision", "error", "share"), [("int8", 0.01, 0.3), ("fp8", 0.04, 0.3)])
def test_fewer_bits_stay_close(network: DiT, precision: str, error: float, share: float) -> None:
    full, whole = answer(network), weight_bytes(network.blocks)
    quantise(network.blocks, precision)
    assert 0 < apart(answer(network), full) < error
    assert weight_bytes(network.blocks) < share * whole
    assert isinstance(network.blocks[0].ffn.net[0].proj, QuantisedLinear)
    assert isinstance(network.proj_out, torch.nn.Linear)
    with pytest.raises(ValueError, match="quantised already"):
        quantise(network.blocks, "int8")


def test_int8_rounds_each_weight_by_at_most_half_a_step(network: DiT) -> None:
    linear = network.blocks[0].attn1.to_q
    small = QuantisedLinear(linear, "int8")
    error = (small.weight.float() * small.scale[:, None] - linear.weight).abs()
    assert (error <= 0.5001 * small.scale[:, None]).all()
    assert small.weight.abs().amax(1).eq(127).all()


def test_a_quantised_layer_follows_autocast_and_takes_a_lora(network: DiT) -> None:
    quantise(network.blocks, "int8")
    x = torch.randn(2, 64)
    layer = network.blocks[0].attn1.to_q
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    plain = layer(x)
    down, up = torch.randn(2, 64), torch.randn(64, 2)
    lora = Lora(network, {"blocks.0.attn1.to_q": Patch(down, up)}, 0.5)
    lora.attach()
    torch.testing.assert_close(layer(x), plain + 0.5 * x @ down.T @ up.T)
    with pytest.raises(WeightsError, match="quantised"):
        lora.fuse()


def test_an_unknown_precision_names_the_valid_ones(network: DiT) -> None:
    with pytest.raises(RequestError, match="fp32, bf16, fp8, int8"):
        quantise(network.blocks, "int4")


@pytest.mark.parametrize("resident", [0, 2, 4, 5])
def test_offloaded_blocks_answer_the_same(network: DiT, resident: int) -> None:
    expected = answer(network)
    homes = [p.data_ptr() for p in network.parameters()]
    offload = Offload(network.blocks, CPU, resident)
    for _ in range(3):
        assert torch.equal(answer(network), expected)
    block = weight_bytes(network.blocks[0])
    assert offload.slot_bytes == min(2, 5 - resident) * block
    offload.close()
    assert offload.slot_bytes == 0
    assert [p.data_ptr() for p in network.parameters()] == homes
    assert torch.equal(answer(network), expected)


def test_offload_survives_an_interrupted_pass_and_any_order(network: DiT) -> None:
    expected = answer(network)
    offload = Offload(network.blocks, CPU)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    handle = network.blocks[2].attn1.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        answer(network)
    handle.remove()
    assert torch.equal(answer(network), expected)
    network.blocks = torch.nn.ModuleList(reversed(network.blocks))
    backwards = answer(network)
    offload.close()
    assert torch.equal(answer(network), backwards)


def test_offload_streams_from_a_mapped_file(network: DiT, tmp_path: Path) -> None:
    quantise(network.blocks, "fp8")
    expected = answer(network)
    save_file(network.blocks.state_dict(), tmp_path / "blocks.safetensors")
    mapped = load_file(tmp_path / "blocks.safetensors")
    network.blocks.load_state_dict(mapped, assign=True)
    offload = Offload(network.blocks, CPU)
    assert torch.equal(answer(network), expected)
    offload.close()


def test_offload_refuses_blocks_that_differ(network: DiT) -> None:
    network.blocks[3].ffn.net[2] = torch.nn.Linear(128, 64, bias=False)
    with pytest.raises(ValueError, match="alike"):
        Offload(network.blocks, CPU)
    with pytest.raises(ValueError, match="0 to 5"):
        Offload(network.blocks, CPU, resident=6)


def test_a_visit_ends_even_after_an_error(network: DiT) -> None:
    with pytest.raises(RuntimeError, match="inside"), visiting(network.proj_out, CPU):
        raise RuntimeError("inside")
    assert network.proj_out.weight.device == CPU


@pytest.mark.parametrize("causal", [None, 1])
@pytest.mark.parametrize("choice", [c for c in available() if c in ("sdpa", "flex")])
def test_backends_agree(network: DiT, choice: str, causal: int | None) -> None:
    expected = answer(network, causal)
    use_attention(network, choice)
    assert network.blocks[0].attn1.attend is not attend
    assert apart(answer(network, causal), expected) < 1e-5
    use_attention(network, "auto")
    assert network.blocks[0].attn1.attend is attend


def test_what_is_not_there_says_so(network: DiT) -> None:
    with pytest.raises(RequestError, match="did you mean flash"):
        use_attention(network, "flahs")
    missing = {"flash", "sage"} - set(available())
    for choice in missing:
        with pytest.raises(MissingExtraError, match="needs the package"):
            backend(choice)


def test_a_mask_hides_the_future_from_every_backend() -> None:
    q, k, v = torch.randn(3, 1, 2, 6, 8).unbind(0)
    mask = block_causal(3, 2, 1, CPU)
    changed = v.clone()
    changed[..., 4:, :] = 9.0
    for choice in ("sdpa", "flex"):
        attention = backend(choice)
        assert torch.equal(attention(q, k, v, mask)[..., :4, :], attention(q, k, changed, mask)[..., :4, :])


@pytest.mark.slow
def test_compiled_blocks_share_one_graph_a_shape(network: DiT) -> None:
    from torch._dynamo.testing import CompileCounter

    expected = answer(network)
    counter = CompileCounter()
    original = torch.compile
    torch._dynamo.reset()
    try:
        torch.compile = lambda f, dynamic=None: original(f, dynamic=dynamic, backend=counter)
        compile_blocks(network.blocks, dynamic=False)
    finally:
        torch.compile = original
    torch.testing.assert_close(answer(network), expected)
    answer(network)
    assert counter.frame_count == 1
    patches = {f"blocks.{i}.attn1.to_q": Patch(torch.randn(2, 64), torch.randn(64, 2)) for i in range(2)}
    lora = Lora(network, patches, 0.5)
    lora.attach()  # seen by what is compiled already
    with_adapter = answer(network)
    assert apart(with_adapter, expected) > 1e-3
    lora.detach()
    torch.testing.assert_close(answer(network), expected)
    Lora(network, patches, 0.5).fuse()
    torch.testing.assert_close(answer(network), with_adapter, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_offload_on_a_gpu_equals_the_whole_network_there(network: DiT) -> None:
    device = torch.device("cuda")
    expected = answer(copy.deepcopy(network).to(device), device=device)
    for name, child in network.named_children():
        if name != "blocks":
            child.to(device)
    network.scale_shift_table.data = network.scale_shift_table.data.to(device)
    offload = Offload(network.blocks, device, resident=1)
    for _ in range(3):
        assert torch.equal(answer(network, device=device), expected)
    offload.close()
    assert network.blocks[4].ffn.net[2].weight.device == CPU
