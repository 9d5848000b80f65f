"""Every architecture in numbers: frozen configs, the presets made of them, and what a preset would cost.

A config travels in the header of its weights (see checkpoint.py), so a file explains itself. Nothing here
imports torch before `dry_run` is called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from longtake.errors import RequestError, WeightsError

CONFIG_VERSION = 1


@dataclass(frozen=True)
class DiTConfig:
    """The diffusion transformer; with Wan's numbers it is Wan's text-to-video transformer."""

    dim: int
    layers: int
    heads: int
    ffn: int
    in_channels: int
    out_channels: int
    text_dim: int
    patch: tuple[int, int, int] = (1, 2, 2)
    """Latent cells of one token over (f, h, w); the first is always 1: a token belongs to one frame."""
    freq_dim: int = 256
    """Width of the sinusoidal embedding of the timestep."""
    eps: float = 1e-6
    prediction: Literal["v", "x0"] = "v"
    """What the network answers: the velocity (Wan) or the clean latents."""
    rope_theta: float = 10_000.0
    image_dim: int | None = None
    """Width of a picture's features, which cross-attention reads beside the text (Wan2.1 image to video)."""
    places_frames: bool = False
    """The modulation tells each frame its place in the window, which Wan's does not: rotary embeddings compare frames,
    and in pure noise, where it is decided which way somebody walks, the first frame is hardly told from the last."""
    places_cells: bool = False
    """Tokens carry where in the frame they are, which Wan's do not. The same reason: left is not told from right."""

    def __post_init__(self) -> None:
        if self.dim % self.heads or self.head_dim % 2:
            raise ValueError(f"dim {self.dim} must split into {self.heads} heads of even width")
        if self.patch[0] != 1:
            raise ValueError(f"the temporal patch must be 1, a token belongs to one frame; got {self.patch}")

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


@dataclass(frozen=True)
class VAEConfig:
    """The autoencoder: `group` frames at encoder size become one latent frame of 1/stride the side."""

    z: int
    """Latent channels."""
    encoder_widths: tuple[int, ...]
    """Channels at 1/2, 1/4, ... 1/stride of the encoder size: log2(stride) of them."""
    decoder_widths: tuple[int, ...]
    """Channels at 1/stride, 2/stride, 4/stride ... of the encoder size; PixelShuffle makes up the rest."""
    group: int = 4
    """Frames in one latent frame; no latent sees a frame outside its group."""
    stride: int = 16
    upscale: int = 2
    """The decoder answers at this multiple of the size that the encoder reads."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Statistics of the raw latents over training data, one a channel; empty means 0 and 1 (not measured)."""

    @property
    def first(self) -> int:
        """Frames in the first latent of a film."""
        return self.group

    def __post_init__(self) -> None:
        if self.stride != 2 ** len(self.encoder_widths):
            raise ValueError(
                f"stride {self.stride} needs log2(stride) encoder widths, got {self.encoder_widths}"
            )
        if not 1 <= len(self.decoder_widths) <= len(self.encoder_widths):
            raise ValueError(f"1 to {len(self.encoder_widths)} decoder widths, got {self.decoder_widths}")
        if len(self.mean) not in (0, self.z) or len(self.std) != len(self.mean):
            raise ValueError(f"mean and std must hold one value for each of {self.z} channels, or none")


@dataclass(frozen=True)
class WanVAEConfig(VAEConfig):
    """Wan's autoencoders; the first latent holds one frame, each later one four."""

    upscale: int = 1
    base: int = 96
    decoder_base: int = 96
    multiples: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    temporal: tuple[bool, ...] = (False, True, True)
    residual: bool = False
    """The 2.2 kind: stages with a shortcut without parameters."""
    patch: int = 1
    """Pixels along the side that are stacked as channels before the encoder."""

    @property
    def first(self) -> int:
        return 1

    def __post_init__(self) -> None:
        if self.stride != self.patch * 2 ** len(self.temporal) or len(self.multiples) != 1 + len(
            self.temporal
        ):
            raise ValueError(
                f"stride {self.stride} does not follow from {self.temporal} and patch {self.patch}"
            )
        if len(self.mean) != self.z or len(self.std) != self.z:
            raise ValueError(f"mean and std must hold one value for each of {self.z} channels")


@dataclass(frozen=True)
class TextConfig:
    """The text encoder and the length of its input."""

    vocab: int
    dim: int
    layers: int
    heads: int
    length: int = 64


@dataclass(frozen=True)
class Recipe:
    """How a model is sampled unless a request says otherwise."""

    steps: int = 8
    guidance: float = 3.0
    shift: float = 2.5
    solver: Literal["euler", "flow", "unipc", "renoise"] = "euler"
    late_guidance: float = 1.0
    """Guidance of the expert for low noise, as a multiple of the other's."""
    levels: tuple[float, ...] = ()
    """The falling noise levels that a model was distilled to; another number of steps spreads evenly."""


@dataclass(frozen=True)
class ModelConfig:
    """Three networks that fit together, and the films they were made for."""

    dit: DiTConfig
    vae: VAEConfig
    text: TextConfig
    fps: int = 12
    sizes: tuple[tuple[int, int], ...] = ((320, 192), (256, 256), (192, 320))
    """Native sizes of the output, (width, height) in pixels."""
    window: int = 12
    """Latent frames that are made at once."""
    sampling: Recipe = Recipe()
    whole_windows: ClassVar[bool] = True
    """It knows windows of one length only."""
    makes_first: ClassVar[bool] = False
    """The first latent of a film is the image slot, and is made with the film."""
    remembers: ClassVar[bool] = True
    """It was trained with pictures of who and where beside the clip."""
    lead: ClassVar[int] = 1
    """Latents after which the decoder has forgotten where it began."""

    def __post_init__(self) -> None:
        if not self.dit.in_channels == self.dit.out_channels == self.vae.z:
            raise ValueError(
                f"the transformer works on {self.dit.in_channels} channels, the VAE has {self.vae.z}"
            )
        if self.dit.text_dim != self.text.dim:
            raise ValueError(
                f"the transformer reads text of width {self.dit.text_dim}, the encoder writes {self.text.dim}"
            )

    @property
    def block(self) -> int | None:
        """Latent frames that are made together by a model that sees only the past; None: it sees all of a window."""
        return None

    def native(self, width: int, height: int) -> tuple[int, int]:
        """The size at which a film of this size is made: of the native ones, that of the nearest shape."""
        wanted = math.log(width / height)
        return min(self.sizes, key=lambda size: abs(math.log(size[0] / size[1]) - wanted))

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """Latent rows and columns of a picture of this size in pixels."""
        cell = self.vae.stride * self.vae.upscale
        return height // cell, width // cell

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the version of the layout."""
        return {"version": CONFIG_VERSION} | asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `as_dict`, also after JSON. Raises WeightsError naming what is off first."""
        version = values.get("version")
        if version != CONFIG_VERSION:
            raise WeightsError(
                f"the weights' config has version {version}, this program reads version {CONFIG_VERSION}; "
                f"install the release of longtake that wrote them"
            )
        own = {key: value for key, value in values.items() if key != "version"}
        parts = {"dit": DiTConfig, "vae": VAEConfig, "text": TextConfig, "sampling": Recipe}
        own.setdefault("sampling", {})  # files from before it was there
        try:
            built = {key: _build(part, own.pop(key), key) for key, part in parts.items()}
            config: ModelConfig = _build(cls, own | built, "model")
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"cannot read the weights' config: {error}; the file is not intact") from error
        return config


@dataclass(frozen=True)
class WanConfig(ModelConfig):
    """A model of the Wan family."""

    sampling: Recipe = Recipe(50, 5.0, 5.0, "unipc")
    area: int = 832 * 480
    """Pixels of the largest picture it was trained on."""
    boundary: float | None = None
    """Noise level from which on down the second of two experts works."""
    causal_block: int | None = None
    """Latent frames that are made together; each such block sees only those before it."""
    whole_windows: ClassVar[bool] = False
    makes_first: ClassVar[bool] = True
    remembers: ClassVar[bool] = False
    lead: ClassVar[int] = 8

    def __post_init__(self) -> None:
        if self.dit.text_dim != self.text.dim:
            raise ValueError(
                f"the transformer reads text of {self.dit.text_dim}, the encoder writes {self.text.dim}"
            )
        if self.dit.out_channels != self.vae.z or self.dit.in_channels not in (
            self.vae.z,
            2 * self.vae.z + 4,
        ):
            raise ValueError(
                f"the transformer makes {self.dit.out_channels} channels, the VAE has {self.vae.z}"
            )

    @property
    def animates(self) -> bool:
        """It is given a picture as further channels, and cannot do without."""
        return self.dit.in_channels != self.vae.z

    @property
    def block(self) -> int | None:
        return self.causal_block

    def native(self, width: int, height: int) -> tuple[int, int]:
        """The asked size, made smaller if need be, in whole tokens."""
        cell = self.vae.stride * self.dit.patch[1]
        scale = min(1.0, math.sqrt(self.area / (width * height)))
        return max(cell, int(width * scale) // cell * cell), max(cell, int(height * scale) // cell * cell)


def _build(kind: type, values: Mapping[str, Any], name: str) -> Any:
    """A config of this kind from JSON values; every field must be known (lists become tuples)."""
    known = {f.name for f in fields(kind)}
    if foreign := sorted(set(values) - known):
        raise ValueError(f"unknown field {name}.{foreign[0]}")
    return kind(**{key: _tuples(value) for key, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


_SMALL_VAE = VAEConfig(z=48, encoder_widths=(64, 128, 192, 256), decoder_widths=(320, 256, 192, 64))
_FINE_VAE = VAEConfig(z=16, encoder_widths=(48, 96, 160), decoder_widths=(192, 128, 64), stride=8)
_TINY_VAE = VAEConfig(z=16, encoder_widths=(16, 24, 32, 48), decoder_widths=(64, 48, 32, 16))


def _preset(vae: VAEConfig, text: TextConfig, dim: int, layers: int, heads: int, ffn: int) -> ModelConfig:
    dit = DiTConfig(
        dim,
        layers,
        heads,
        ffn,
        vae.z,
        vae.z,
        text.dim,
        prediction="x0",
        places_frames=True,
        places_cells=True,
    )
    return ModelConfig(dit, vae, text)


PRESETS: dict[str, ModelConfig] = {
    # for tests and sweeps
    "xs": _preset(_TINY_VAE, TextConfig(4096, 128, 2, 2), dim=128, layers=6, heads=2, ffn=384),
    # what ships: 15 or 16 tokens a latent frame, trained on CPU cores
    "pocket": _preset(
        _SMALL_VAE, TextConfig(4096, 192, 4, 4, length=48), dim=256, layers=10, heads=4, ffn=768
    ),
    # 60 or 64 tokens a latent frame, for a GPU
    "s": _preset(_FINE_VAE, TextConfig(4096, 192, 4, 4), dim=256, layers=8, heads=4, ffn=768),
    "m": _preset(_FINE_VAE, TextConfig(4096, 192, 4, 4), dim=384, layers=12, heads=6, ffn=1024),
}


def dry_run(
    config: ModelConfig | str,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    batch: int = 1,
) -> dict[str, float]:
    """What a model costs, without allocating it: one window at the first native size unless told otherwise.

    `frames`, `height` and `width` are of the film in pixels. Operations count a multiply and an add as two:
    2 N a token forward and 6 N trained, plus attention; memory is in bytes and that of activations is an
    estimate for bf16 without recomputation. Raises RequestError for an unknown preset or a size off the grid.
    """
    if isinstance(config, str):
        if config not in PRESETS:
            raise RequestError(f"unknown preset {config!r}; choose one of: {', '.join(PRESETS)}")
        config = PRESETS[config]
    width, height = width or config.sizes[0][0], height or config.sizes[0][1]
    frames = frames or config.window * config.vae.group
    cell = config.vae.stride * config.vae.upscale
    steps = (config.vae.group, cell * config.dit.patch[1], cell * config.dit.patch[2])
    if frames % steps[0] or height % steps[1] or width % steps[2]:
        raise RequestError(
            f"{frames} frames of {width}x{height} do not fit this model; use a multiple of {steps[0]} frames "
            f"and of {steps[2]}x{steps[1]} pixels"
        )
    counts = parameters(config)
    tokens = frames // steps[0] * (height // steps[1]) * (width // steps[2])
    dit = config.dit
    attention = 4 * dit.layers * tokens * (tokens + config.text.length) * dit.dim  # q k' and p v
    forward = batch * (2 * counts["dit"] * tokens + attention)
    total = sum(counts.values())
    kept = 2 * (14 * dit.dim + 2 * dit.ffn) + 2 * 2 * dit.heads * (
        tokens + config.text.length
    )  # a token, layer
    return {
        "dit_parameters": counts["dit"],
        "vae_parameters": counts["vae"],
        "text_parameters": counts["text"],
        "tokens": tokens,
        "forward_flops": forward,
        "training_step_flops": 3 * forward,
        "file_bytes_bf16": 2 * total,
        "training_weights_bytes": 4 * total,
        "optimizer_bytes": 4 * 4 * (counts["dit"] + counts["text"]),  # gradient, two moments, average
        "activation_bytes": batch * tokens * dit.layers * kept,
    }


def parameters(config: ModelConfig) -> dict[str, int]:
    """Parameters of "dit", "vae" and "text", counted without making any."""
    from longtake.model.dit import DiT
    from longtake.model.tensorfile import unfilled
    from longtake.model.text import TextEncoder
    from longtake.model.vae import VAE

    with unfilled():
        modules = {"dit": DiT(config.dit), "vae": VAE(config.vae), "text": TextEncoder(config.text)}
    return {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
