"""Models of the Wan family from a folder or file in diffusers' or the original layout, or by name from the hub.

`load` finds the parts (wan_files), names and sizes them by their keys and shapes (wan_keys), and maps the tensors
from the disk, so that nothing is held twice. What shapes cannot say comes from the JSON files of a diffusers folder
where there are any, and else from what the models of that shape were published with.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.errors import MissingExtraError, WeightsError
from longtake.model.checkpoint import Models
from longtake.model.dit import DiT
from longtake.model.presets import DiTConfig, Recipe, TextConfig, WanConfig, WanVAEConfig
from longtake.model.tensorfile import unfilled
from longtake.model.wan_files import PICKLED, Found, find, is_wan, read_json, refuse_pickle, stated
from longtake.model.wan_keys import dit_config, vae_config
from longtake.model.wan_vae import WanVAE

__all__ = ["PUBLISHED", "bind_picture", "is_wan", "load", "load_published"]

PUBLISHED = {
    "wan2.1-t2v-1.3b": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "wan2.1-t2v-14b": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    "wan2.1-i2v-14b-480p": "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
    "wan2.1-i2v-14b-720p": "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
    "wan2.2-ti2v-5b": "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    "wan2.2-t2v-a14b": "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    "wan2.2-i2v-a14b": "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
    "fastwan2.1-t2v-1.3b": "FastVideo/FastWan2.1-T2V-1.3B-Diffusers",
    "fastwan2.2-ti2v-5b": "FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers",
}
"""Names, and the repositories they stand for."""

TEXT_LENGTH = 512
DISTILLED = Recipe(3, 1.0, 8.0, "renoise", levels=(1.0, 0.757, 0.522))
"""FastWan's (FastVideo `configs/pipelines/wan.py`: steps 1000, 757, 522 of the shifted schedule)."""
STREAMED = Recipe(4, 1.0, 5.0, "renoise")
"""Self-Forcing's: steps 1000, 750, 500, 250, shifted."""
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class WanTokenizer:
    """Text to token numbers, padded with 0 to one length."""

    def __init__(self, pieces: tokenizers.Tokenizer, length: int = TEXT_LENGTH) -> None:
        self._pieces, self.length, self.size = pieces, length, pieces.get_vocab_size()
        pieces.enable_truncation(length)
        pieces.enable_padding(pad_id=0, pad_token=pieces.id_to_token(0) or "<pad>", length=length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Texts -> int64 b `length`, cut where too long."""
        cleaned = [" ".join(html.unescape(html.unescape(text)).split()) for text in texts]
        return torch.tensor([e.ids for e in self._pieces.encode_batch(cleaned)], dtype=torch.int64)


class WanText(nn.Module):
    """umT5's encoder; answers are zero past the end of a text, as Wan was trained."""

    def __init__(self, encoder: Any, length: int) -> None:
        super().__init__()
        self.encoder = encoder
        made = encoder.config
        self.config = TextConfig(made.vocab_size, made.d_model, made.num_layers, made.num_heads, length)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens b l, 0 = padding -> b l d."""
        words = tokens > 0
        out: Tensor = self.encoder(tokens, words.long()).last_hidden_state
        return out * words[..., None]


class ImageEncoder(nn.Module):
    """CLIP's picture tower up to its last layer but one, which Wan2.1's image-to-video models read."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels b 3 h w in [-1, 1] -> b l d."""
        side = self.encoder.config.image_size
        scale = side / min(pixels.shape[-2:])
        size = [max(side, round(n * scale)) for n in pixels.shape[-2:]]
        eight_bits = (
            (127.5 * (pixels.cpu() + 1)).round().clamp(0, 255).to(torch.uint8)
        )  # as CLIP's pictures are
        x = F.interpolate(eight_bits, size=size, mode="bicubic", antialias=True).to(pixels) / 255
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        mean, std = (x.new_tensor(v)[:, None, None] for v in (_CLIP_MEAN, _CLIP_STD))
        x = (x[..., top : top + side, left : left + side] - mean) / std
        states = self.encoder(x.to(self.encoder.dtype), output_hidden_states=True).hidden_states
        out: Tensor = states[-2]
        return out


class Experts(nn.Module):
    """Two transformers that share the work: one for high noise, one from `boundary` on down (Wan2.2 A14B)."""

    def __init__(self, high: DiT, low: DiT, boundary: float) -> None:
        super().__init__()
        self.high, self.low, self.boundary, self.config = high, low, boundary, high.config

    @property
    def blocks(self) -> nn.ModuleList:
        """Those of both."""
        return nn.ModuleList([*self.high.blocks, *self.low.blocks])

    def forward(self, x: Tensor, timestep: Tensor, *arguments: Any, **named: Any) -> Tensor:
        expert = self.high if timestep.max() >= 1000 * self.boundary else self.low
        out: Tensor = expert(x, timestep, *arguments, **named)
        return out


class Animating(nn.Module):
    """A transformer bound to a picture: `condition` (1 c f h w) goes in as further channels, `features` as tokens.

    Its frames share one noise level. In later windows what is known takes the picture's place.
    """

    def __init__(self, dit: nn.Module, condition: Tensor, features: Tensor | None) -> None:
        super().__init__()
        self.dit, self.condition, self.features = dit, condition, features

    def forward(self, x: Tensor, timestep: Tensor, text: Tensor, positions: Tensor) -> Tensor:
        f, level = x.shape[2], timestep.amax(1, keepdim=True)
        rest = self.condition[:, :, -1:].expand(-1, -1, max(0, f - self.condition.shape[2]), -1, -1)
        condition = torch.cat([self.condition[:, :, :f], rest], 2)
        if positions[0] != 0:
            known = (timestep[:1] < level[:1])[:, None, :, None, None].to(x.dtype)
            masks = known.expand(-1, 4, -1, *x.shape[3:])
            later = condition[:, 4:, -1:].expand(-1, -1, f, -1, -1)
            condition = torch.cat([masks, torch.where(known > 0, x[:1], later)], 1)
        condition = condition.expand(len(x), -1, -1, -1, -1).to(x.dtype)
        image = None if self.features is None else self.features.expand(len(x), -1, -1)
        out: Tensor = self.dit(
            torch.cat([x, condition], 1), level.expand(-1, f), text, positions, image=image
        )
        return out


def bind_picture(models: Models, pixels: Tensor, latents: int) -> Models:
    """The models bound to a picture (1 3 h w in [-1, 1]) for windows of so many latents, the image slot among them."""
    config = models.config
    with torch.no_grad():
        blank = pixels.new_zeros(1, 3, config.vae.group * (latents - 1), *pixels.shape[2:])
        encoded = models.vae.encode(torch.cat([pixels[:, :, None], blank], 2))
        mask = torch.zeros_like(encoded[:, :4])
        mask[:, :, 0] = 1
        features = models.__dict__["image"](pixels) if "image" in models.__dict__ else None
    bound = Models.__new__(Models)
    bound.__dict__.update(models.__dict__)
    bound.__dict__["dit"] = Animating(models.dit, torch.cat([mask, encoded], 1), features)
    return bound


def load(path: Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Models:
    """A model from a folder or file. Modules come frozen, in eval mode, in the dtype of the file unless told.

    Raises WeightsError, in one line with the fix, for what is missing, damaged, unknown or pickled;
    MissingExtraError without transformers.
    """
    if path.suffix.lower() in PICKLED:
        refuse_pickle(path)
    if not path.exists():
        raise WeightsError(f"there is no model at {path}; check the path")
    found = find(path)
    dits = _experts([each for each in found if each.part == "dit"], path)
    folder = path if path.is_dir() else path.parent
    index = read_json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    transformers = [transformer(each, dtype) for each in dits]
    vae_found, text_found = _only("vae", found, path), _only("text", found, path)
    vae = autoencoder(vae_found, dtype)
    text = _text(text_found, dtype)
    config = _config(transformers, vae.config, text.config, index, folder, dits[0])
    dit: nn.Module = transformers[0]
    if len(transformers) == 2:
        dit = Experts(transformers[0], transformers[1], config.boundary or 0.875)
    parts: dict[str, Any] = {"dit": dit, "vae": vae, "text": text}
    if transformers[0].config.image_dim is not None:
        parts["image"] = _image(_only("image", found, path), dtype)
    for module in parts.values():
        module.to(device).eval().requires_grad_(False)
    models = Models.__new__(Models)
    models.__dict__.update(
        parts | {"tokenizer": WanTokenizer(_pieces(folder)), "config": config, "extra": {}, "name": path.stem}
    )
    return models


def load_published(name: str) -> Models:
    """A published model by its name, downloaded once into the hub's cache, where each file's checksum is verified.

    Raises WeightsError when it cannot be downloaded, MissingExtraError without the extra.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError('this needs the hub: pip install "longtake[wan]"') from error
    try:
        folder = snapshot_download(PUBLISHED[name], allow_patterns=["*.json", "*.safetensors", "*.model"])
    except Exception as error:  # the hub raises its own, requests' and the system's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"cannot download {PUBLISHED[name]}: {reason}; check the network and try again, whole files are kept, "
            f"or give the folder of a copy: --model FOLDER"
        ) from error
    loaded = load(Path(folder))
    loaded.__dict__["name"] = name
    if name.startswith("fastwan"):
        loaded.__dict__["config"] = replace(loaded.config, sampling=DISTILLED)
    return loaded


def _experts(found: list[Found], path: Path) -> list[Found]:
    """One transformer, or that for high noise and that for low, told apart by their folders or names."""
    if not found:
        raise WeightsError(f"{path} holds no transformer of the Wan family; give the folder that does")
    if len(found) > 2:
        raise WeightsError(f"{path} holds {len(found)} transformers; give a folder with one model")
    if len(found) == 2:
        names = [str(each.place).lower() for each in found]
        low = ["low" in n[len(str(path)) :] or "transformer_2" in n for n in names]
        if low[0] == low[1]:
            raise WeightsError(
                f"{path} holds two transformers and their names do not say which is for low noise; "
                f"put 'low_noise' and 'high_noise' into them"
            )
        found = [found[low.index(False)], found[low.index(True)]]
    return found


def _only(part: str, found: list[Found], path: Path) -> Found:
    """The part of this kind. Raises WeightsError when there are none or several."""
    of_kind = [each for each in found if each.part == part]
    if len(of_kind) == 1:
        return of_kind[0]
    what = {"vae": "autoencoder (VAE)", "text": "text encoder (umT5)", "image": "picture encoder (CLIP)"}[
        part
    ]
    if of_kind:
        raise WeightsError(f"{path} holds {len(of_kind)} parts that are a {what}; leave one")
    raise WeightsError(f"{path} lacks the {what}; put its .safetensors beside the transformer")


@contextmanager
def _whole(found: Found, what: str) -> Iterator[None]:
    """Errors over tensors that an architecture cannot be read from, as WeightsError."""
    fix = "get the checkpoint again, or give one of the Wan family"
    try:
        yield
    except KeyError as error:
        raise WeightsError(
            f"{found.place} is no whole {what} of the Wan family: it lacks {error}; {fix}"
        ) from error
    except (ValueError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{found.place} is no {what} of the Wan family: its shapes are not those of one ({error}); {fix}"
        ) from error


def transformer(found: Found, dtype: torch.dtype | None = None) -> DiT:
    """The transformer whose tensors were found. Raises WeightsError."""
    dim = found.shapes.get("patch_embedding.weight", (0,))[0]
    heads = found.stated("num_heads", 0)
    head_dim = found.stated("attention_head_dim", dim // heads if heads else 128)
    with _whole(found, "transformer"):
        config = dit_config(found.shapes, head_dim, found.stated("eps", 1e-6))
    with unfilled():
        dit = DiT(config)
    found.fill(dit, dtype)
    return dit


def autoencoder(found: Found, dtype: torch.dtype | None = None) -> WanVAE:
    """The autoencoder whose tensors were found. Raises WeightsError."""
    said = found.config
    with _whole(found, "autoencoder"):
        config = vae_config(found.shapes, said.get("latents_mean") or (), said.get("latents_std") or ())
    with unfilled():
        vae = WanVAE(config)
    found.fill(vae, dtype)
    vae.lay_out()
    return vae


def _text(found: Found, dtype: torch.dtype | None) -> WanText:
    try:
        from transformers import UMT5Config, UMT5EncoderModel
    except ImportError as error:
        raise MissingExtraError('the text encoder needs transformers: pip install "longtake[wan]"') from error
    shapes = found.shapes
    q, bias = (
        "encoder.block.0.layer.0.SelfAttention.q.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    )
    with _whole(found, "text encoder"):
        if "shared.weight" not in shapes and "encoder.embed_tokens.weight" in shapes:
            found.tensors["shared.weight"] = found.tensors["encoder.embed_tokens.weight"]
        found.tensors.setdefault("encoder.embed_tokens.weight", found.tensors["shared.weight"])
        heads = found.shapes[bias][1]
        config = UMT5Config(
            vocab_size=found.shapes["shared.weight"][0],
            d_model=found.shapes["shared.weight"][1],
            d_kv=found.shapes[q][0] // heads,
            d_ff=found.shapes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
            num_layers=1 + max(int(k.split(".")[2]) for k in shapes if k.startswith("encoder.block.")),
            num_heads=heads,
            relative_attention_num_buckets=found.shapes[bias][0],
            relative_attention_max_distance=found.stated("relative_attention_max_distance", 128),
            dropout_rate=0.0,
        )
    with unfilled():
        encoder = UMT5EncoderModel(config)
    found.fill(encoder, dtype)
    encoder.encoder.embed_tokens.weight = encoder.shared.weight
    return WanText(encoder, TEXT_LENGTH)


def _image(found: Found, dtype: torch.dtype | None) -> ImageEncoder:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    values = {k: v for k, v in found.config.items() if k not in ("architectures", "dtype", "torch_dtype")}
    try:
        encoder = CLIPVisionModel(CLIPVisionConfig(**values))  # its position numbers are no parameters
    except Exception as error:  # the library raises its own, Python's and PyTorch's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise WeightsError(
            f"{found.config_path} describes no picture encoder ({reason}); copy or download it again"
        ) from error
    prefix = "vision_model." if any(k.startswith("vision_model.") for k in encoder.state_dict()) else ""
    found.tensors = {prefix + k: v for k, v in found.tensors.items() if not k.endswith("position_ids")}
    found.fill(encoder, dtype)
    return ImageEncoder(encoder)


def _pieces(folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer.json of the folder, wherever it lies in it."""
    for path in sorted(
        {*folder.glob("tokenizer.json"), *folder.glob("*/tokenizer.json"), *folder.glob("*/*/tokenizer.json")}
    ):
        try:
            return tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise WeightsError(f"cannot read {path} ({error}); copy or download it again") from error
    raise WeightsError(f"{folder} lacks tokenizer.json (of google/umt5-xxl); put it beside the text encoder")


def _config(
    transformers: Sequence[DiT], vae: WanVAEConfig, text: TextConfig, index: dict[str, Any], folder: Path,
    found: Found,
) -> WanConfig:  # fmt: skip
    """What is known of the model: shapes, then JSON files, then what models of that shape were published with."""
    dit = transformers[0].config
    known = _known(dit, vae, experts=len(transformers))
    recipe = known.recipe
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if scheduler.is_file():
        values = read_json(scheduler)
        flow = values.get("_class_name") == "FlowMatchEulerDiscreteScheduler"
        shift = stated(values, "shift" if flow else "flow_shift", recipe.shift, scheduler)
        recipe = replace(recipe, solver="flow" if flow else "unipc", shift=shift)
    if "DMD" in str(index.get("_class_name", "")):
        recipe = DISTILLED
    causal = any("Causal" in str(of.get("_class_name", "")) for of in (index, found.config))
    if causal:
        recipe = STREAMED
    area = known.area
    boundary = None
    if len(transformers) == 2:
        boundary = stated(index, "boundary_ratio", known.boundary or 0.875, folder / "model_index.json")
    try:
        return WanConfig(
            dit, vae, text, fps=known.fps, sizes=((832, 480), (480, 832)), window=known.window, sampling=recipe,
            area=area, boundary=boundary,
            causal_block=found.stated("num_frames_per_block", 3) if causal else None,
        )  # fmt: skip
    except ValueError as error:
        raise WeightsError(f"{folder}: the parts are of different models: {error}") from error


@dataclass(frozen=True)
class _Known:
    """What models were published with (Wan2.2 `wan/configs`)."""

    recipe: Recipe
    area: int = 832 * 480
    fps: int = 16
    window: int = 20
    boundary: float | None = None


def _known(dit: DiTConfig, vae: WanVAEConfig, experts: int) -> _Known:
    if vae.z == 48:
        return _Known(Recipe(50, 5.0, 5.0, "unipc"), 1280 * 704, 24, 30)
    animates = dit.in_channels != vae.z
    if experts == 2 and animates:
        return _Known(Recipe(40, 3.5, 5.0, "unipc"), 1280 * 720, boundary=0.9)
    if experts == 2:
        return _Known(Recipe(40, 4.0, 12.0, "unipc", 0.75), 1280 * 720, boundary=0.875)
    large = dit.dim >= 5120
    return _Known(Recipe(50, 5.0, 5.0 if large else 3.0, "unipc"), (1280 * 720) if large else (832 * 480))
