"""Wan's parts equal diffusers'; checkpoints of every layout load to the same networks; bad ones are named."""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import wan_checkpoints as tiny

from longtake.diffusion import solver
from longtake.errors import MissingExtraError, RequestError, WeightsError
from longtake.model import wan
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig
from longtake.model.wan_files import find
from longtake.model.wan_keys import dit_config, vae_config
from longtake.model.wan_vae import Memory, Up, WanVAE

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

CLOSE, HALF = 1e-4, 2e-2
"""Relative errors that float32 and bfloat16 may have."""


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours.float() - theirs.float()).abs().max() / theirs.float().abs().max()).item()


def strayed(ours: torch.Tensor, reference: torch.Tensor) -> float:
    """Root mean square of the error, relative to that of the reference."""
    error = (ours.float() - reference.float()).square().mean() / reference.float().square().mean()
    return error.sqrt().item()


def raw(latents: torch.Tensor, vae: WanVAE) -> torch.Tensor:
    """What diffusers decodes, for unit-scaled latents."""
    mean, std = (torch.tensor(v)[:, None, None, None] for v in (vae.config.mean, vae.config.std))
    return latents * std + mean


def scaled(latents: torch.Tensor, vae: WanVAE) -> torch.Tensor:
    """What diffusers encodes, unit-scaled."""
    mean, std = (torch.tensor(v)[:, None, None, None] for v in (vae.config.mean, vae.config.std))
    return (latents.float() - mean) / std


def our_vae(theirs: Any) -> WanVAE:
    shapes = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    ours = WanVAE(vae_config(shapes, theirs.config.latents_mean, theirs.config.latents_std)).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours.requires_grad_(False)


@pytest.mark.parametrize("variant", ["t2v", "ti2v"])
@torch.no_grad()
def test_autoencoder_equals_diffusers_whole_streamed_and_tiled(variant: str) -> None:
    theirs = tiny.vae(variant)
    ours = our_vae(theirs)
    pixels = torch.rand(1, 3, 9, 32, 64) * 2 - 1
    latents = scaled(theirs.encode(pixels).latent_dist.mode(), ours)
    assert apart(ours.encode(pixels), latents) < CLOSE
    first, memory = ours.encode_more(pixels[:, :, :5], None)
    rest, _ = ours.encode_more(pixels[:, :, 5:], memory)
    assert apart(torch.cat([first, rest], 2), latents) < CLOSE

    z = torch.randn(1, ours.config.z, 3, 16, 2)
    frames = theirs.decode(raw(z, ours)).sample
    whole = ours.decode(z)
    assert whole.shape == frames.shape and apart(whole.clamp(-1, 1), frames) < CLOSE
    ours.tile = 2
    assert apart(ours.decode(z), whole) < CLOSE


@pytest.mark.parametrize("variant", ["t2v", "ti2v"])
@torch.no_grad()
def test_autoencoder_in_bfloat16_is_near_float32_and_no_farther_than_diffusers(variant: str) -> None:
    """With 32 channels: rounding is amplified where a norm over channels has only a few."""
    torch.manual_seed(0)
    theirs = tiny.vae(variant, base=32)
    ours = our_vae(theirs)
    z, pixels = torch.randn(1, ours.config.z, 2, 4, 4), torch.rand(1, 3, 5, 32, 32) * 2 - 1
    latents, frames = ours.encode(pixels), theirs.decode(raw(z, ours)).sample
    ours.to(torch.bfloat16).lay_out()
    theirs.to(torch.bfloat16)
    half_pixels, half_raw = pixels.bfloat16(), raw(z, ours).bfloat16()
    decoded = strayed(ours.decode(z).clamp(-1, 1), frames)
    encoded = strayed(ours.encode(half_pixels.float()), latents)
    assert decoded < HALF and encoded < HALF
    assert decoded < strayed(theirs.decode(half_raw).sample, frames)
    assert encoded < strayed(scaled(theirs.encode(half_pixels).latent_dist.mode(), ours), latents)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@torch.no_grad()
def test_doubling_as_one_convolution_is_doubling(dtype: torch.dtype, error: float) -> None:
    up, x = Up(8, 6, temporal=False), torch.randn(2, 8, 3, 5, 4)
    frames = x.transpose(1, 2).flatten(0, 1)
    exact = up.double().resample(frames.double())
    made = up.to(dtype)(x.to(dtype), Memory())
    assert made.dtype == dtype and made.shape == (2, 6, 3, 10, 8)
    assert strayed(made.transpose(1, 2).flatten(0, 1), exact) < error


@pytest.mark.parametrize("variant", ["t2v", "i2v"])
@torch.no_grad()
def test_transformer_equals_diffusers(variant: str) -> None:
    theirs = tiny.transformer(variant)
    shapes = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    ours = DiT(dit_config(shapes, tiny.HEAD)).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x, text = torch.randn(1, ours.config.in_channels, 3, 4, 6), torch.randn(1, 512, tiny.TEXT)
    image = torch.randn(1, 5, tiny.CLIP) if variant == "i2v" else None
    expected = theirs(x, torch.tensor([500.0]), text, image, return_dict=False)[0]
    assert apart(ours(x, torch.full((1, 3), 500.0), text, image=image), expected) < CLOSE


@pytest.mark.parametrize("name", ["unipc", "flow"])
def test_solver_equals_diffusers(name: solver.Name) -> None:
    import diffusers

    if name == "unipc":
        theirs = diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        )
    else:
        theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(7)
    levels = solver.levels(name, 7, 3.0)
    assert torch.equal(levels, theirs.sigmas)
    x = expected = torch.randn(1, 4, 2, 3, 3)
    mixing = 0.3 * torch.randn(4, 4)
    ours = solver.solver(name, torch.Generator())
    for i, t in enumerate(theirs.timesteps):
        level = levels[i].item()
        velocity = [torch.einsum("cd,bdfhw->bcfhw", mixing, y).tanh() + level * y for y in (x, expected)]
        x = ours.step(x, x - level * velocity[0], level, levels[i + 1].item())
        expected = theirs.step(velocity[1], t, expected).prev_sample
        assert apart(x, expected) < CLOSE


def test_renoise_ends_at_the_estimate() -> None:
    ours = solver.solver("renoise", torch.Generator().manual_seed(0))
    x0 = torch.ones(1, 1, 1, 64, 64)
    assert ours.step(x0, x0, 0.5, 0.0) is x0
    noised = ours.step(x0, x0, 1.0, 0.25)
    assert abs(noised.mean().item() - 0.75) < 0.02 and abs(noised.std().item() - 0.25) < 0.02


FULL = {
    "1.3B": (DiTConfig(1536, 30, 12, 8960, 16, 16, 4096), 1_418_996_800),
    "5B": (DiTConfig(3072, 30, 24, 14336, 48, 48, 4096), 4_999_787_712),
    "14B": (DiTConfig(5120, 40, 40, 13824, 16, 16, 4096), 14_288_491_584),
}


@pytest.mark.parametrize("size", FULL)
def test_full_size_keys_and_shapes_are_diffusers(size: str) -> None:
    from diffusers import WanTransformer3DModel

    config, count = FULL[size]
    with torch.device("meta"):
        ours = DiT(config)
        theirs = WanTransformer3DModel(
            num_attention_heads=config.heads, in_channels=config.in_channels, out_channels=config.out_channels,
            ffn_dim=config.ffn, num_layers=config.layers,
        )  # fmt: skip
    shapes = {k: tuple(v.shape) for k, v in theirs.state_dict().items()}
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == shapes
    assert sum(p.numel() for p in ours.parameters()) == count
    assert dit_config(shapes) == config


@pytest.fixture(scope="module", params=["t2v", "ti2v", "t2v-a14b"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A variant in diffusers' layout and in the original one, and its networks."""
    torch.manual_seed(1)
    tiny.PLAIN[0] = request.param != "ti2v"
    root = tmp_path_factory.mktemp(request.param)
    made = tiny.write_diffusers(root / "diffusers", request.param)
    tiny.write_original(root / "original", made)
    return request.param, root / "diffusers", root / "original", made


def test_layouts_load_to_the_same_networks(folders: tuple[Any, ...]) -> None:
    variant, diffusers, original, made = folders
    one, other = wan.load(diffusers), wan.load(original)
    for part in ("dit", "vae", "text"):
        state, same = getattr(one, part).state_dict(), getattr(other, part).state_dict()
        assert state.keys() == same.keys() and all(torch.equal(state[k], same[k]) for k in state)
    assert (one.config.boundary == 0.875) == ("a14b" in variant)  # type: ignore[attr-defined]
    tokens = one.tokenizer(["a dog  in the snow", ""])
    assert tokens.shape == (2, 512) and tokens[1].sum() == 1
    mask = (tokens > 0).long()
    with torch.no_grad():
        text = made["text_encoder"](tokens, mask).last_hidden_state * mask[..., None]
        assert apart(one.text(tokens), text) < CLOSE


# ---- bad input ----


def test_bad_checkpoints_are_named(tmp_path: Path) -> None:
    torch.manual_seed(1)
    tiny.PLAIN[0] = True
    made = tiny.write_diffusers(tmp_path / "whole", "t2v")
    weights = Path("transformer") / "diffusion_pytorch_model.safetensors"

    def broken(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "whole", tmp_path / name))

    cut = broken("cut")
    (cut / weights).write_bytes((cut / weights).read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        wan.load(cut)

    state = made["transformer"].state_dict()
    for change, message in (
        (
            {"blocks.0.attn1.to_q.weight": torch.zeros(3, 3)},
            r"of another shape: blocks\.0\.attn1\.to_q\.weight",
        ),
        ({"blocks.0.extra": torch.zeros(1)}, r"unexpected: blocks\.0\.extra"),
        ({"blocks.0.self_attn.q.weight": state["blocks.0.attn1.to_q.weight"].clone()}, "mixes two layouts"),
    ):
        folder = broken(message[:5])
        safetensors.torch.save_file(state | change, folder / weights)
        with pytest.raises(WeightsError, match=message):
            wan.load(folder)
        shutil.rmtree(folder)

    lacking = broken("lacking")
    shutil.rmtree(lacking / "vae")
    with pytest.raises(WeightsError, match=r"lacks the autoencoder \(VAE\)"):
        wan.load(lacking)
    (tmp_path / "model.pth").write_bytes(struct.pack("<Q", 2))
    with pytest.raises(WeightsError, match="never loaded"):
        wan.load(tmp_path / "model.pth")
    foreign = tmp_path / "adapter.safetensors"
    safetensors.torch.save_file({"lora_A.weight": torch.zeros(1)}, foreign)
    with pytest.raises(WeightsError, match=r"no part of a Wan model .*lora_A"):
        wan.load(foreign)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("transformer", "blocks.", r"no whole transformer .* lacks 'blocks\.0\.ffn\.net\.0\.proj\.weight'"),
        ("transformer", "patch_embedding.weight", "no transformer of the Wan family: its shapes"),
        ("vae", "post_quant_conv.", r"no whole autoencoder .* lacks 'post_quant_conv\.weight'"),
        ("vae", "encoder.conv_in.weight", "no autoencoder of the Wan family: its shapes"),
        ("text_encoder", "shared.", r"no whole text encoder .* lacks 'shared\.weight'"),
    ],
)
def test_parts_that_no_architecture_follows_from_are_named(
    tmp_path: Path, part: str, change: str, message: str
) -> None:
    """Tensors whose name begins so are gone, or of another rank where the name is whole."""
    tiny.PLAIN[0] = True
    tiny.write_diffusers(tmp_path, "t2v")
    (path,) = (tmp_path / part).glob("*.safetensors")
    state = safetensors.torch.load_file(path)
    left = {key: value for key, value in state.items() if not key.startswith(change)}
    if not change.endswith("."):
        left[change] = torch.zeros(3)
    safetensors.torch.save_file(left, path)
    with pytest.raises(WeightsError, match=message):
        wan.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "transformer/config.json",
            '{"attention_head_dim": "x"}',
            "'attention_head_dim' must be a positive whole",
        ),
        ("transformer/config.json", '{"eps": [1]}', "'eps' must be a positive number"),
        ("transformer/x.safetensors.index.json", '{"weight_map": [1]}', "names no files"),
        ("transformer/x.safetensors.index.json", '{"weight_map": {"a": 3}}', "names no files"),
        ("text_encoder/config.json", '{"relative_attention_max_distance": "q"}', "must be a positive whole"),
        (
            "scheduler/scheduler_config.json",
            '{"flow_shift": -1}',
            "'flow_shift' must be a positive number, not -1",
        ),
        ("vae/config.json", '{"latents_mean": "a", "latents_std": [1]}', "no autoencoder of the Wan family"),
    ],
)
def test_json_files_that_say_nonsense_are_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    tiny.PLAIN[0] = True
    tiny.write_diffusers(tmp_path, "t2v")
    (tmp_path / file).write_text(text)
    with pytest.raises(WeightsError, match=message):
        wan.load(tmp_path)


def test_without_the_extra_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.PLAIN[0] = True
    tiny.write_diffusers(tmp_path, "t2v")
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r'pip install "longtake\[wan\]"'):
        wan.load(tmp_path)
    with pytest.raises(MissingExtraError, match=r'pip install "longtake\[wan\]"'):
        wan.load_published("wan2.1-t2v-1.3b")


def test_a_download_that_breaks_off_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def broken(*_: object, **__: object) -> str:
        raise ConnectionError("peer closed connection\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    with pytest.raises(
        WeightsError, match=r"cannot download Wan-AI/\S+: peer closed connection; .*--model FOLDER"
    ):
        wan.load_published("wan2.1-t2v-1.3b")


def test_a_file_that_changes_while_it_is_loaded_is_named(tmp_path: Path) -> None:
    tiny.PLAIN[0] = True
    tiny.write_diffusers(tmp_path, "t2v")
    (found,) = (each for each in find(tmp_path) if each.part == "dit")
    (path,) = (tmp_path / "transformer").glob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        wan.transformer(found)
    path.write_bytes(whole + b"more")
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        wan.transformer(found)
    safetensors.torch.save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="changed while it was being loaded"):
        wan.transformer(found)


def test_a_model_that_animates_asks_for_a_picture(tmp_path: Path) -> None:
    from longtake.footage import animated

    torch.manual_seed(1)
    tiny.write_diffusers(tmp_path, "i2v")
    with pytest.raises(RequestError, match="--image"):
        animated(wan.load(tmp_path), None, (64, 64), 2)
