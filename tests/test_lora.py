"""LoRA files of every spelling load to the same network as peft's, and leave it as it was."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from longtake.adapt.lora import Lora, LoraChoice, adapted, load_lora
from longtake.adapt.lora_file import ORIGINAL, Patch, module_names, read_lora, write_lora
from longtake.errors import RequestError, WeightsError
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig

CONFIG = DiTConfig(dim=32, layers=2, heads=2, ffn=48, in_channels=4, out_channels=4, text_dim=12)
TARGETS = ("attn1.to_q", "attn2.to_out.0", "ffn.net.0.proj", "ffn.net.2")
MODULES = [f"blocks.{i}.{t}" for i in range(CONFIG.layers) for t in TARGETS] + ["proj_out"]
RANK = 3


@pytest.fixture
def network() -> DiT:
    model = DiT(CONFIG).eval().requires_grad_(False)
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return model


def matrices(network: DiT, names: list[str] = MODULES) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    found = {}
    for name in names:
        out, inner = network.get_submodule(name).weight.shape
        found[name] = (torch.randn(RANK, inner) * 0.3, torch.randn(out, RANK) * 0.3)
    return found


def answer(network: torch.nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 3, 4, 6, generator=generator)
    text = torch.randn(1, 5, 12, generator=generator)
    with torch.no_grad():
        out: torch.Tensor = network(x, torch.full((1, 3), 400.0), text)
    return out


def original(name: str) -> str:
    for ours in sorted(ORIGINAL, key=len, reverse=True):
        name = (f".{name}.").replace(f".{ours}.", f".{ORIGINAL[ours]}.").strip(".")
    return name


def spelled(layers: dict[str, tuple[torch.Tensor, torch.Tensor]], kind: str) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, (down, up) in layers.items():
        if kind == "diffusers":
            key, a, b = f"transformer.{name}", "lora_A.weight", "lora_B.weight"
        elif kind == "peft":
            key, a, b = f"base_model.model.{name}", "lora_A.default.weight", "lora_B.default.weight"
        elif kind == "original":
            key, a, b = f"diffusion_model.{original(name)}", "lora_A.weight", "lora_B.weight"
        else:
            key, a, b = "lora_unet_" + original(name).replace(".", "_"), "lora_down.weight", "lora_up.weight"
            tensors[f"{key}.alpha"] = torch.tensor(6.0)
        tensors[f"{key}.{a}"], tensors[f"{key}.{b}"] = down, up
    return tensors


def by_peft(network: DiT, layers: dict[str, tuple[torch.Tensor, torch.Tensor]], alpha: float) -> torch.Tensor:
    import copy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft = pytest.importorskip("peft")
        config = peft.LoraConfig(r=RANK, lora_alpha=alpha, target_modules=list(layers))
        theirs = peft.inject_adapter_in_model(config, copy.deepcopy(network))
        state = {
            f"{n}.lora_{w}.weight": t for n, pair in layers.items() for w, t in zip("AB", pair, strict=True)
        }
        result = peft.set_peft_model_state_dict(theirs, state)
    assert not result.unexpected_keys
    return answer(theirs.eval())


@pytest.mark.parametrize("kind", ["diffusers", "peft", "original", "kohya"])
def test_equals_peft_in_every_spelling(network: DiT, tmp_path: Path, kind: str) -> None:
    layers = matrices(network)
    save_file(spelled(layers, kind), tmp_path / "a.safetensors")
    expected = by_peft(network, layers, alpha=6.0 if kind == "kohya" else RANK)
    plain = answer(network)
    lora = load_lora(tmp_path / "a.safetensors", network)
    assert (answer(network) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (plain - expected).abs().max() > 0.05 * expected.abs().max()
    lora.detach()
    assert torch.equal(answer(network), plain)


def test_stacks_scales_and_fuses(network: DiT, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file(spelled(matrices(network), "diffusers"), tmp_path / f"{name}.safetensors")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    choices = [LoraChoice.parse(f"{tmp_path}/a.safetensors:0.5"), LoraChoice(tmp_path / "b.safetensors", -1)]
    with adapted(network, choices) as loras:
        stacked = answer(network)
        loras[0].scale = loras[1].scale = 0.0
        plain = answer(network)
    assert torch.equal(plain, answer(network))
    assert network.state_dict().keys() == before.keys()
    for choice in choices:
        Lora(network, read_lora(choice.path, network), choice.scale).fuse()
    assert (answer(network) - stacked).abs().max() <= 1e-5 * stacked.abs().max()
    assert not torch.equal(network.blocks[0].attn1.to_q.weight, before["blocks.0.attn1.to_q.weight"])


def test_whole_differences_change_norms_biases_and_patches(network: DiT, tmp_path: Path) -> None:
    plain = answer(network)
    tensors = {
        "diffusion_model.blocks.0.norm3.diff": torch.randn(32),  # Wan's name of the affine norm
        "diffusion_model.blocks.0.self_attn.q.diff_b": torch.randn(32),
        "diffusion_model.blocks.1.self_attn.norm_k.diff": torch.randn(32),
        "diffusion_model.patch_embedding.lora_down.weight": torch.randn(2, 4, 1, 2, 2),
        "diffusion_model.patch_embedding.lora_up.weight": torch.randn(32, 2, 1, 1, 1),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    lora = load_lora(tmp_path / "a.safetensors", network)
    changed = answer(network)
    norm = network.blocks[0].norm2.weight
    assert torch.equal(norm, 1 + tensors["diffusion_model.blocks.0.norm3.diff"])
    assert (changed - plain).abs().max() > 0.01
    lora.detach()
    assert torch.equal(answer(network), plain)
    Lora(network, read_lora(tmp_path / "a.safetensors", network)).fuse()
    assert (answer(network) - changed).abs().max() < 1e-5


def test_alpha_travels_in_the_header_and_beside_the_file(network: DiT, tmp_path: Path) -> None:
    layers = matrices(network)
    write_lora(tmp_path / "a.safetensors", layers, alpha=12.0)
    expected = by_peft(network, layers, alpha=12.0)
    with adapted(network, [LoraChoice(tmp_path / "a.safetensors")]):
        assert (answer(network) - expected).abs().max() <= 1e-5 * expected.abs().max()
    folder = tmp_path / "peft"
    folder.mkdir()
    save_file(spelled(layers, "peft"), folder / "adapter_model.safetensors")
    config = {"r": RANK, "lora_alpha": 1, "alpha_pattern": {"proj_out": 2}, "use_rslora": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    patches = read_lora(folder, network)
    assert patches["proj_out"].alpha == pytest.approx(2 * RANK**0.5)
    assert patches["blocks.0.ffn.net.2"].alpha == pytest.approx(RANK**0.5)


def test_each_expert_takes_its_own_keys(network: DiT, tmp_path: Path) -> None:
    low, high = matrices(network, ["proj_out"]), matrices(network, ["proj_out"])
    tensors = spelled(low, "diffusers") | {
        key.replace("transformer.", "transformer_2."): value
        for key, value in spelled(high, "diffusers").items()
    }
    save_file(tensors, tmp_path / "a.safetensors")
    for part, layers in (("transformer", low), ("transformer_2", high)):
        patch = read_lora(tmp_path / "a.safetensors", network, part)["proj_out"]
        assert patch.down is not None and torch.equal(patch.down, layers["proj_out"][0])


def test_every_module_of_wan_has_one_original_name(network: DiT) -> None:
    names = module_names(network)
    assert names["blocks.1.self_attn.q"] == names["blocks_1_self_attn_q"] == "blocks.1.attn1.to_q"
    assert names["blocks.0.norm3"] == "blocks.0.norm2"
    assert names["head.head"] == "proj_out"
    assert names["time_projection.1"] == "condition_embedder.time_proj"


BROKEN = {
    "transformer.blocks.9.attn1.to_q": "blocks.9.attn1.to_q",
    "lora_te_text_model_layers_0": "text encoder",
}


@pytest.mark.parametrize("module", BROKEN)
def test_an_unmatched_key_is_an_error_that_names_it(network: DiT, tmp_path: Path, module: str) -> None:
    tensors = spelled(matrices(network), "diffusers")
    tensors |= {f"{module}.lora_A.weight": torch.ones(3, 32), f"{module}.lora_B.weight": torch.ones(32, 3)}
    save_file(tensors, tmp_path / "a.safetensors")
    plain = answer(network)
    with pytest.raises(WeightsError, match=BROKEN[module]):
        load_lora(tmp_path / "a.safetensors", network)
    assert torch.equal(answer(network), plain)


def test_what_does_not_fit_says_so(network: DiT, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    wide = {"proj_out": (torch.ones(3, 5120), torch.ones(16, 3))}
    save_file(spelled(wide, "diffusers"), path)
    with pytest.raises(WeightsError, match=r"another model: at proj_out it changes \[16, 5120\]"):
        load_lora(path, network)
    save_file({"transformer.proj_out.lora_A.weight": torch.ones(3, 32)}, path)
    with pytest.raises(WeightsError, match="only one of its two"):
        load_lora(path, network)
    save_file({"lora_unet_blocks_0_self_attn_q.hada_w1_a": torch.ones(3, 32)}, path)
    with pytest.raises(WeightsError, match="LoHa"):
        load_lora(path, network)
    path.write_bytes(b"PK\x03\x04 not safetensors")
    with pytest.raises(WeightsError, match="not a whole safetensors"):
        load_lora(path, network)
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(WeightsError, match="pickle"):
        load_lora(tmp_path / "a.pt", network)
    with pytest.raises(WeightsError, match="no LoRA at"):
        load_lora(tmp_path / "none.safetensors", network)


def test_files_and_scales_are_read_from_one_word() -> None:
    assert LoraChoice.parse("a.safetensors:0.5") == LoraChoice(Path("a.safetensors"), 0.5)
    assert LoraChoice.parse("a.safetensors") == LoraChoice(Path("a.safetensors"))
    assert LoraChoice.parse("C:/a.safetensors").path == Path("C:/a.safetensors")
    with pytest.raises(RequestError, match="FILE:SCALE"):
        LoraChoice.parse("a.safetensors:much")
    with pytest.raises(RequestError, match="-10 to 10"):
        LoraChoice.parse("a.safetensors:50")


def test_an_empty_patch_changes_nothing(network: DiT) -> None:
    plain = answer(network)
    lora = Lora(network, {"proj_out": Patch()})
    lora.attach()
    assert torch.equal(answer(network), plain)
