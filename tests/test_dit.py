"""The transformer equals diffusers' Wan to float precision, and is what the presets say it is."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import pytest
import torch
from einops import repeat

from longtake.errors import RequestError, WeightsError
from longtake.model.dit import (
    CELL_OCTAVES,
    DiT,
    attend,
    block_causal,
    cell_waves,
    rotary_embedding,
    rotate,
)
from longtake.model.presets import PRESETS, DiTConfig, ModelConfig, VAEConfig, dry_run, parameters

WAN = DiTConfig(dim=128, layers=2, heads=4, ffn=192, in_channels=6, out_channels=6, text_dim=40)


def wan_in_diffusers(config: DiTConfig) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers = pytest.importorskip("diffusers")
    model: torch.nn.Module = diffusers.WanTransformer3DModel(
        patch_size=config.patch,
        num_attention_heads=config.heads,
        attention_head_dim=config.head_dim,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn,
        num_layers=config.layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=config.eps,
        added_kv_proj_dim=None,
    )
    return model.eval()


def filled(config: DiTConfig) -> DiT:
    """A fresh transformer whose output layer is not zero."""
    model = DiT(config).eval()
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return model


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("shape", [(3, 6, 10), (5, 2, 14), (1, 4, 4)])
@pytest.mark.parametrize("head_dim", [32, 128])
@torch.no_grad()
def test_equals_wan_in_diffusers(shape: tuple[int, int, int], head_dim: int) -> None:
    config = replace(WAN, dim=head_dim * WAN.heads)
    theirs = wan_in_diffusers(config)
    for name, parameter in theirs.named_parameters():
        parameter.copy_(parameter + 0.05 * torch.randn_like(parameter))  # norms and biases too
        assert parameter.ndim < 6, name
    ours = DiT(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, text = torch.randn(2, 6, *shape), torch.randn(2, 7, config.text_dim)

    one = torch.tensor([999.0, 321.5])
    expected = theirs(x, one, text, return_dict=False)[0]
    assert apart(ours(x, repeat(one, "b -> b f", f=shape[0]), text), expected) <= 1e-5

    of_frame = 1000 * torch.rand(2, shape[0])
    of_frame[:, 0] = 0
    of_token = repeat(of_frame, "b f -> b (f n)", n=shape[1] * shape[2] // 4)
    expected = theirs(x, of_token, text, return_dict=False)[0]
    assert apart(ours(x, of_frame, text), expected) <= 1e-5


def test_a_fresh_model_answers_zero_and_learns_through_it() -> None:
    model = DiT(PRESETS["xs"].dit)
    x, text = torch.randn(2, 16, 3, 4, 6), torch.randn(2, 5, 128)
    out = model(x, torch.full((2, 3), 500.0), text)
    assert out.shape == x.shape and not out.any()
    (out - x).square().mean().backward()
    assert model.proj_out.weight.grad is not None and model.proj_out.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_only_distances_in_time_matter() -> None:
    model = filled(replace(PRESETS["xs"].dit, places_frames=False))
    x, t, text = torch.randn(1, 16, 4, 4, 4), torch.full((1, 4), 300.0), torch.randn(1, 5, 128)
    plain = model(x, t, text)
    assert apart(model(x, t, text, torch.arange(4) + 700), plain) < 1e-4
    assert apart(model(x, t, text, torch.tensor([0, 1, 2, 11])), plain) > 1e-3


@torch.no_grad()
def test_placed_frames_start_as_wans_and_then_tell_the_first_from_the_last() -> None:
    plain = filled(WAN)
    placed = DiT(replace(WAN, places_frames=True)).eval()
    placed.load_state_dict(plain.state_dict(), strict=False)
    x, text = torch.randn(1, 6, 1, 4, 4).expand(-1, -1, 5, -1, -1), torch.randn(1, 3, 40)
    full = torch.full((1, 5), 1000.0)
    assert torch.equal(placed(x, full, text), plain(x, full, text))
    torch.nn.init.normal_(placed.condition_embedder.frame_embedder.weight, std=0.5)
    apart_in_time = [
        (y[:, :, 0] - y[:, :, -1]).abs().max() for y in (plain(x, full, text), placed(x, full, text))
    ]
    assert apart_in_time[1] > 3 * apart_in_time[0]
    one = x[:, :, :1]  # alone, before the film or in its image slot: placed alike
    assert apart(placed(one, full[:, :1], text, torch.tensor([-8])), placed(one, full[:, :1], text)) < 1e-4


@torch.no_grad()
def test_block_causal_frames_do_not_see_later_blocks() -> None:
    model = filled(PRESETS["xs"].dit)
    x, t, text = torch.randn(1, 16, 6, 4, 4), torch.full((1, 6), 300.0), torch.randn(1, 5, 128)
    changed = x.clone()
    changed[:, :, 4:] += 1
    first, second = (model(v, t, text, causal_block=2) for v in (x, changed))
    assert torch.allclose(first[:, :, :4], second[:, :, :4], atol=1e-6)
    assert apart(model(x, t, text)[:, :, :4], model(changed, t, text)[:, :, :4]) > 1e-4
    assert block_causal(3, 1, 2, torch.device("cpu")).tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]


def test_explicit_attention_is_attention() -> None:
    q, k, v = torch.randn(3, 2, 3, 8, 16).unbind(0)
    mask = torch.ones(8, 8, dtype=torch.bool).tril()
    for allowed in (None, mask):
        fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        assert torch.allclose(attend(q, k, v, allowed), fused, atol=1e-6)


def test_rotation_keeps_lengths_and_starts_at_nothing() -> None:
    rotation = rotary_embedding(torch.arange(3), 2, 2, 26, 10_000.0)  # 26: t 10, h and w 8
    x = torch.randn(1, 12, 1, 26)
    turned = rotate(x, rotation, torch.float32)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert torch.equal(turned[:, 0], x[:, 0]) and not torch.allclose(turned[:, 1:], x[:, 1:])


@torch.no_grad()
def test_half_precision_stays_close() -> None:
    model = filled(PRESETS["xs"].dit)
    x, t, text = torch.randn(1, 16, 3, 4, 4), torch.rand(1, 3) * 1000, torch.randn(1, 5, 128)
    exact = model(x, t, text)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert apart(model(x, t, text).float(), exact) < 0.05
    assert apart(model.to(torch.bfloat16)(x, t, text).float(), exact) < 0.05


def test_sizes_that_do_not_divide_are_named() -> None:
    with pytest.raises(ValueError, match="5x4 cells"):
        DiT(PRESETS["xs"].dit)(torch.randn(1, 16, 1, 5, 4), torch.ones(1, 1), torch.randn(1, 2, 128))


# ---- presets ----


def test_parameter_counts_are_those_of_the_recipe() -> None:
    counts = {name: parameters(config) for name, config in PRESETS.items()}
    assert {n: round(c["dit"] / 1e6, 1) for n, c in counts.items()} == {
        "xs": 1.6, "pocket": 10.0, "s": 8.1, "m": 25.2,
    }  # fmt: skip
    assert all(2 * sum(c.values()) <= 62e6 for c in counts.values())
    assert 2e6 <= counts["pocket"]["text"] <= 3e6


def test_wan_sizes_by_the_same_class() -> None:
    wan = DiTConfig(1536, 30, 12, 8960, 16, 16, text_dim=4096)
    with torch.device("meta"):
        assert sum(p.numel() for p in DiT(wan).parameters()) == 1_418_996_800


def test_configs_survive_json_and_refuse_what_they_do_not_know() -> None:
    for config in PRESETS.values():
        assert ModelConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    values = PRESETS["xs"].as_dict()
    with pytest.raises(WeightsError, match="version 9"):
        ModelConfig.from_dict(values | {"version": 9})
    with pytest.raises(WeightsError, match=r"dit\.depth"):
        ModelConfig.from_dict(values | {"dit": values["dit"] | {"depth": 3}})
    with pytest.raises(ValueError, match="log2"):
        VAEConfig(z=4, encoder_widths=(8, 8), decoder_widths=(8,))


def test_dry_run_counts_without_allocating() -> None:
    cost = dry_run("pocket", batch=2)
    assert cost["tokens"] == 180 and cost["dit_parameters"] == parameters(PRESETS["pocket"])["dit"]
    assert cost["training_step_flops"] == 3 * cost["forward_flops"] > 6 * 2 * 180 * cost["dit_parameters"]
    assert dry_run("m")["tokens"] == 720
    assert dry_run(PRESETS["pocket"], frames=4, height=256, width=256)["tokens"] == 16
    with pytest.raises(RequestError, match="multiple of 4 frames"):
        dry_run("pocket", frames=5)
    with pytest.raises(RequestError, match="xs, pocket"):
        dry_run("huge")


@torch.no_grad()
def test_placed_cells_start_as_wans_and_then_tell_left_from_right() -> None:
    plain = filled(WAN)
    placed = DiT(replace(WAN, places_cells=True)).eval()
    placed.load_state_dict(plain.state_dict(), strict=False)
    x, text = torch.randn(1, 6, 1, 1, 1).expand(-1, -1, 2, 4, 8), torch.randn(1, 3, 40)
    full = torch.full((1, 2), 1000.0)
    assert torch.equal(placed(x, full, text), plain(x, full, text))
    torch.nn.init.normal_(placed.cell_embedder.weight, std=0.5)
    apart_in_space = [
        (y[..., :2] - y[..., -2:]).abs().max() for y in (plain(x, full, text), placed(x, full, text))
    ]
    assert apart_in_space[1] > 3 * apart_in_space[0]


def test_cells_are_placed_by_their_share_of_the_frame() -> None:
    waves = cell_waves(3, 5, torch.device("cpu"))
    assert waves.shape == (15, 4 * CELL_OCTAVES) and len(waves.unique(dim=0)) == 15
    wide, narrow = (cell_waves(1, count, torch.device("cpu")) for count in (9, 3))
    assert torch.allclose(wide[[1, 4, 7]], narrow, atol=1e-6)
