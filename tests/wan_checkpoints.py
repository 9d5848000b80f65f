"""Small random checkpoints of every Wan variant in the published layouts, written by the reference implementation."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, processors

VARIANTS = ("t2v", "i2v", "ti2v", "t2v-a14b", "i2v-a14b")
HEAD, HEADS, TEXT, CLIP = 12, 2, 32, 24


def tokenizer() -> tokenizers.Tokenizer:
    """Words to numbers, with umT5's padding 0 and end 1."""
    words = [
        "<pad>",
        "</s>",
        "<unk>",
        *["a", "the", "dog", "cat", "snow", "runs", "in", "red", "ball", ",", "."],
    ]
    made = tokenizers.Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def transformer(variant: str, layers: int = 2) -> Any:
    from diffusers import WanTransformer3DModel

    z = 48 if variant == "ti2v" else 16
    image = variant == "i2v"
    channels = 2 * z + 4 if "i2v" in variant and z == 16 else z
    return _noisy(
        WanTransformer3DModel(
            num_attention_heads=HEADS, attention_head_dim=HEAD, in_channels=channels,
            out_channels=z, text_dim=TEXT, ffn_dim=40, num_layers=layers, image_dim=CLIP if image else None,
            added_kv_proj_dim=HEAD * HEADS if image else None,
        )
    )  # fmt: skip


def vae(variant: str, base: int = 4) -> Any:
    from diffusers import AutoencoderKLWan

    if variant == "ti2v":
        return _noisy(
            AutoencoderKLWan(
                base_dim=base, decoder_base_dim=2 * base, z_dim=48, is_residual=True, in_channels=12, out_channels=12,
                patch_size=2, scale_factor_spatial=16, latents_mean=[0.1] * 48, latents_std=[1.5] * 48,
            )
        )  # fmt: skip
    return _noisy(AutoencoderKLWan(base_dim=base, z_dim=16))


def text_encoder() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=32, d_model=TEXT, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0
    )
    return _noisy(UMT5EncoderModel(config))


def image_encoder() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=CLIP, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=28,
        patch_size=14, projection_dim=CLIP,
    )  # fmt: skip
    return _noisy(CLIPVisionModel(config))


def parts(variant: str, base: int = 4) -> dict[str, Any]:
    """The networks of a variant under the names of their folders."""
    warnings.simplefilter("ignore")
    made = {"transformer": transformer(variant), "vae": vae(variant, base), "text_encoder": text_encoder()}
    if "a14b" in variant:
        made["transformer_2"] = transformer(variant)
    if variant == "i2v":
        made["image_encoder"] = image_encoder()
    return made


def write_diffusers(folder: Path, variant: str, made: dict[str, Any] | None = None) -> dict[str, Any]:
    """A folder as diffusers publishes it. Returns the networks."""
    made = made or parts(variant)
    for name, module in made.items():
        module.save_pretrained(folder / name)
    index = {"_class_name": "WanPipeline", "expand_timesteps": variant == "ti2v"}
    if "a14b" in variant:
        index["boundary_ratio"] = 0.875
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "scheduler").mkdir(exist_ok=True)
    scheduler = {"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "tokenizer").mkdir(exist_ok=True)
    tokenizer().save(str(folder / "tokenizer" / "tokenizer.json"))
    return made


def write_original(folder: Path, made: dict[str, Any]) -> None:
    """The same networks with the original names, in safetensors."""
    config = json.dumps({"dim": HEAD * HEADS, "num_heads": HEADS})
    for name, module in made.items():
        kind = {"transformer_2": "transformer"}.get(name, name)
        place = folder / {"transformer": "high_noise_model", "transformer_2": "low_noise_model"}.get(
            name, name
        )
        place.mkdir(parents=True, exist_ok=True)
        state = {original(kind, k): v.clone() for k, v in module.state_dict().items()}
        if kind == "text_encoder":
            state = {k: v for k, v in state.items() if k != "encoder.embed_tokens.weight"}
        safetensors.torch.save_file(state, place / "weights.safetensors")
        extra = module.config.to_json_string() if name == "image_encoder" else config
        if kind in ("transformer", "image_encoder"):
            (place / "config.json").write_text(extra)
    (folder / "google" / "umt5-xxl").mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "google" / "umt5-xxl" / "tokenizer.json"))


_DIT = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
    ("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
    ("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
    ("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
    ("attn1.", "self_attn."), ("attn2.", "cross_attn."), (".to_out.0.", ".o."), (".to_q.", ".q."), (".to_k.", ".k."),
    (".to_v.", ".v."), ("norm_added_k", "norm_k_img"), ("add_k_proj", "k_img"), ("add_v_proj", "v_img"),
    ("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2"), (".norm2.", ".normA."), (".norm3.", ".norm2."),
    (".normA.", ".norm3."), ("proj_out", "head.head"),
)  # fmt: skip
_TEXT = (
    ("shared.", "token_embedding."), ("encoder.final_layer_norm", "norm"), ("encoder.block.", "blocks."),
    ("layer.0.layer_norm", "norm1"), ("layer.1.layer_norm", "norm2"),
    ("layer.0.SelfAttention.relative_attention_bias", "pos_embedding.embedding"), ("layer.0.SelfAttention", "attn"),
    ("layer.1.DenseReluDense.wi_0", "ffn.gate.0"), ("layer.1.DenseReluDense.wi_1", "ffn.fc1"),
    ("layer.1.DenseReluDense.wo", "ffn.fc2"),
)  # fmt: skip


def original(kind: str, key: str) -> str:
    """The original name of a tensor."""
    if kind == "transformer":
        if key == "scale_shift_table":
            return "head.modulation"
        key = key.replace("scale_shift_table", "modulation")
        for ours, theirs in _DIT:
            key = key.replace(ours, theirs)
        return key
    if kind == "text_encoder":
        for ours, theirs in _TEXT:
            key = key.replace(ours, theirs)
        return key
    return _original_vae(key) if kind == "vae" else key


def _original_vae(key: str) -> str:
    if key.startswith(("quant_conv", "post_quant_conv")):
        return key.replace("post_quant_conv", "conv2").replace("quant_conv", "conv1")
    side, rest = key.split(".", 1)
    within = r"(norm1|conv1|norm2|conv2|conv_shortcut)"
    names = {
        "norm1": "residual.0",
        "conv1": "residual.2",
        "norm2": "residual.3",
        "conv2": "residual.6",
        "conv_shortcut": "shortcut",
    }
    rest = re.sub(within, lambda m: names[m[1]], rest)
    for ours, theirs in (
        ("conv_in", "conv1"), ("norm_out", "head.0"), ("conv_out", "head.2"), ("mid_block.resnets.0", "middle.0"),
        ("mid_block.attentions.0", "middle.1"), ("mid_block.resnets.1", "middle.2"),
    ):  # fmt: skip
        rest = rest.replace(ours, theirs)
    if match := re.match(r"down_blocks\.(\d+)\.(resnets\.(\d+)|downsampler)\.(.*)", rest):
        rest = f"downsamples.{match[1]}.downsamples.{match[3] or 2}.{match[4]}"
    elif match := re.match(r"up_blocks\.(\d+)\.(resnets\.(\d+)|upsampler)\.(.*)", rest):
        rest = f"upsamples.{match[1]}.upsamples.{match[3] or 3}.{match[4]}"
        if "upsampler" not in key and _plain(key):
            rest = f"upsamples.{4 * int(match[1]) + int(match[3])}.{match[4]}"
    elif match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.*)", rest):
        rest = f"upsamples.{4 * int(match[1]) + 3}.{match[2]}"
    return f"{side}." + rest.replace("down_blocks.", "downsamples.")


PLAIN = [True]
"""Whether the autoencoder is the 2.1 kind: its keys alone do not say so for a decoder's residual blocks."""


def _plain(key: str) -> bool:
    return PLAIN[0]


def _noisy(module: torch.nn.Module) -> torch.nn.Module:
    """No parameter at zero or one: every input shows."""
    for parameter in module.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return module.eval()
