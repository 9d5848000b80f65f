"""Names and shapes of Wan checkpoints: which part a set of tensors is, and what the part is called in diffusers' terms.

A part is known by its keys alone. Original names: Wan2.2 `wan/modules/{model,vae2_1,vae2_2,t5}.py`; single files of
other programs put a prefix before them. The architecture follows from shapes, but for the head size of attention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from longtake.model.presets import DiTConfig, WanVAEConfig

Part = Literal["dit", "vae", "text", "image"]
Shape = Sequence[int]

_SIGNS: tuple[tuple[Part, str], ...] = (
    ("dit", "condition_embedder.time_proj.weight"),
    ("dit", "time_projection.1.weight"),
    ("vae", "decoder.conv_in.weight"),
    ("vae", "decoder.conv1.weight"),
    ("text", "encoder.block.0.layer.0.SelfAttention.q.weight"),
    ("text", "blocks.0.attn.q.weight"),
    ("image", "encoder.layers.0.self_attn.q_proj.weight"),
)

_DIT = (
    (r"^blocks\.(\d+)\.norm2\.", r"blocks.\1.normX."),
    (r"^blocks\.(\d+)\.norm3\.", r"blocks.\1.norm2."),
    (r"\.normX\.", ".norm3."),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.(q|k|v)\.(weight|bias)$", r".to_\1.\2"),
    (r"\.o\.(weight|bias)$", r".to_out.0.\1"),
    (r"\.(k|v)_img\.(weight|bias)$", r".add_\1_proj.\2"),
    (r"\.norm_k_img\.", ".norm_added_k."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
    (r"^head\.head\.", "proj_out."),
    (r"^head\.modulation$", "scale_shift_table"),
    (r"\.modulation$", ".scale_shift_table"),
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"^img_emb\.proj\.0\.", "condition_embedder.image_embedder.norm1."),
    (r"^img_emb\.proj\.1\.", "condition_embedder.image_embedder.ff.net.0.proj."),
    (r"^img_emb\.proj\.3\.", "condition_embedder.image_embedder.ff.net.2."),
    (r"^img_emb\.proj\.4\.", "condition_embedder.image_embedder.norm2."),
)
_VAE = (
    (r"\.residual\.0\.", ".norm1."),
    (r"\.residual\.2\.", ".conv1_."),
    (r"\.residual\.3\.", ".norm2."),
    (r"\.residual\.6\.", ".conv2_."),
    (r"\.shortcut\.", ".conv_shortcut."),
    (r"\.middle\.0\.", ".mid_block.resnets.0."),
    (r"\.middle\.1\.", ".mid_block.attentions.0."),
    (r"\.middle\.2\.", ".mid_block.resnets.1."),
    (r"\.head\.0\.", ".norm_out."),
    (r"\.head\.2\.", ".conv_out."),
    (r"^(en|de)coder\.conv1\.", r"\1coder.conv_in."),
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"^encoder\.downsamples\.(\d+)\.downsamples\.\d+\.(resample|time_conv)\.",
     r"encoder.down_blocks.\1.downsampler.\2."),
    (r"^encoder\.downsamples\.(\d+)\.downsamples\.", r"encoder.down_blocks.\1.resnets."),
    (r"^encoder\.downsamples\.", "encoder.down_blocks."),
    (r"^decoder\.upsamples\.(\d+)\.upsamples\.\d+\.(resample|time_conv)\.", r"decoder.up_blocks.\1.upsampler.\2."),
    (r"^decoder\.upsamples\.(\d+)\.upsamples\.", r"decoder.up_blocks.\1.resnets."),
    (r"conv(\d)_\.", r"conv\1."),
)  # fmt: skip
_TEXT = (
    (r"^token_embedding\.", "shared."),
    (r"^norm\.", "encoder.final_layer_norm."),
    (r"^blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"^blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.block.\1.layer.0.SelfAttention."),
    (r"^blocks\.(\d+)\.pos_embedding\.embedding\.", r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias."),
    (r"^blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"^blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"^blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)  # fmt: skip
_RULES = {"dit": _DIT, "vae": _VAE, "text": _TEXT, "image": ()}
_STATISTICS: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    16: (
        (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
         0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
        (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
         3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
    ),
    48: (
        (-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
         0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
         -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
         -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
        (0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
         0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
         0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
         0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
    ),
}  # fmt: skip
"""Mean and std of the latents of the two autoencoders (Wan2.2 `wan/modules/vae2_1.py`, `vae2_2.py`)."""


def parts(keys: Sequence[str]) -> dict[Part, str]:
    """Which parts these tensors hold, each with the prefix of its keys; empty when none is recognised."""
    found: dict[Part, str] = {}
    for part, sign in _SIGNS:
        for key in keys:
            if key == sign or key.endswith("." + sign):
                found.setdefault(part, key[: -len(sign)])
    return found


def layouts(part: Part, keys: Sequence[str]) -> set[str]:
    """Of a transformer, the layouts whose names its blocks have; of other parts, whose names never meet, none."""
    signs = {"original": ".self_attn.q.", "diffusers": ".attn1.to_q."} if part == "dit" else {}
    return {layout for layout, sign in signs.items() if any(sign in key for key in keys)}


def to_diffusers(part: Part, key: str) -> str:
    """An original name in diffusers' (for text and image: transformers') terms; one of theirs stays as it is."""
    for pattern, replacement in _RULES[part]:
        key = re.sub(pattern, replacement, key)
    if part == "vae" and (found := re.match(r"decoder\.upsamples\.(\d+)\.(.*)", key)):
        stage, place = divmod(int(found[1]), 4)  # three residual blocks, then the enlarging one
        key = (
            f"decoder.up_blocks.{stage}."
            + ("upsamplers.0." if place == 3 else f"resnets.{place}.")
            + found[2]
        )
    return key


def dit_config(shapes: Mapping[str, Shape], head_dim: int = 128, eps: float = 1e-6) -> DiTConfig:
    """The transformer of these shapes. Raises KeyError for a tensor it cannot do without."""
    dim, channels, *patch = shapes["patch_embedding.weight"]
    layers = max((1 + int(k.split(".")[1]) for k in shapes if k.startswith("blocks.")), default=0)
    cells = patch[0] * patch[1] * patch[2]
    image = shapes.get("condition_embedder.image_embedder.norm1.weight")
    return DiTConfig(
        dim=dim,
        layers=layers,
        heads=max(1, dim // head_dim),
        ffn=shapes["blocks.0.ffn.net.0.proj.weight"][0],
        in_channels=channels,
        out_channels=shapes["proj_out.weight"][0] // cells,
        text_dim=shapes["condition_embedder.text_embedder.linear_1.weight"][1],
        patch=(patch[0], patch[1], patch[2]),
        freq_dim=shapes["condition_embedder.time_embedder.linear_1.weight"][1],
        eps=eps,
        image_dim=None if image is None else image[0],
    )


def vae_config(
    shapes: Mapping[str, Shape], mean: Sequence[float] = (), std: Sequence[float] = ()
) -> WanVAEConfig:
    """The autoencoder of these shapes. Raises KeyError for a tensor, or for statistics, it cannot do without."""
    z = shapes["post_quant_conv.weight"][0]
    base, channels = shapes["encoder.conv_in.weight"][:2]
    decoder_base = shapes["decoder.conv_out.weight"][1]
    residual = "encoder.down_blocks.0.resnets.0.conv1.weight" in shapes
    widths, temporal, blocks = _stages(shapes, residual)
    patch = round((channels / 3) ** 0.5)
    if not mean or not std:
        mean, std = _STATISTICS[z]
    return WanVAEConfig(
        z=z,
        encoder_widths=tuple(widths),
        decoder_widths=tuple(decoder_base * w // base for w in reversed(widths)),
        stride=patch * 2 ** len(temporal),
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        base=base,
        decoder_base=decoder_base,
        multiples=tuple(w // base for w in widths),
        blocks=blocks,
        temporal=tuple(temporal),
        residual=residual,
        patch=patch,
    )


def _stages(shapes: Mapping[str, Shape], residual: bool) -> tuple[list[int], list[bool], int]:
    """Widths of the encoder's stages, whether each halves time as it goes on, and residual blocks in a stage."""
    widths: list[int] = []
    temporal: list[bool] = []
    blocks, width, count = 0, 0, 0
    block = "encoder.down_blocks.{}."
    i = 0
    while any(k.startswith(block.format(i)) for k in shapes):
        name = block.format(i)
        if residual:
            widths.append(shapes[name + "resnets.0.conv1.weight"][0])
            blocks = sum(k.startswith(name) and k.endswith("conv1.weight") for k in shapes)
            if name + "downsampler.resample.1.weight" in shapes:
                temporal.append(name + "downsampler.time_conv.weight" in shapes)
        elif name + "conv1.weight" in shapes:
            width, count = shapes[name + "conv1.weight"][0], count + 1
        else:
            widths.append(width)
            temporal.append(name + "time_conv.weight" in shapes)
            blocks, count = count, 0
        i += 1
    if not residual:
        widths.append(width)
    return widths, temporal, blocks
