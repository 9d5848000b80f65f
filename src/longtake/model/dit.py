"""The diffusion transformer: Wan's layout (Wan Team 2025, arXiv:2503.20314) with diffusers' parameter names.

A state dict of diffusers' `WanTransformer3DModel` (text to video) loads strictly; the source of every detail
is its `transformer_wan.py`. One difference in the interface: the timestep is a value for each latent FRAME,
kept as b f 6 d and broadcast over that frame's tokens. Equal values give Wan 2.1, a zero on known frames is
Wan2.2-TI2V's per-token timestep.

Norms and modulation are computed in float32, products in the dtype of the weights or of autocast; the stream
between blocks has the dtype of the patch embedding's output.
Axes: latents b c f h w, tokens b f n d (n of a frame), heads b k l d, text b l d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.model.presets import DiTConfig


class Rotation(NamedTuple):
    """Rotary embedding of l tokens: `x cos + (x turn) sin`; `turn` turns each pair of channels by 90 degrees.

    That is a product with a matrix of 0 and +-1: exact, and where complex numbers will not do twice as fast on CPU
    as taking every second channel.
    """

    cos: Tensor  # l 1 d
    sin: Tensor
    turn: Tensor  # d d

    def last(self, tokens: int) -> Rotation:
        """That of the last tokens alone."""
        return Rotation(self.cos[-tokens:], self.sin[-tokens:], self.turn)


EXPLICIT_SCORES = 2**24
"""Training on a CPU, score matrices up to this size are written out: 1.8 times as fast as fused attention."""


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square norm over the last axis, in float32."""
    if torch.is_grad_enabled():
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight.float()
    norm = torch.linalg.vector_norm(
        x, dim=-1, keepdim=True, dtype=torch.float32
    )  # squares are not written out
    return (x.float() * torch.rsqrt(norm.square() / x.shape[-1] + eps)).mul_(weight.float())


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm in float32, whatever the dtype of input and weights."""
    weight = None if norm.weight is None else norm.weight.float()
    bias = None if norm.bias is None else norm.bias.float()
    return F.layer_norm(x.float(), norm.normalized_shape, weight, bias, norm.eps)


def rotary_embedding(positions: Tensor, height: int, width: int, head_dim: int, theta: float) -> Rotation:
    """Rotary embedding over (t, h, w); rows and columns get 2 (d // 6) of the d channels each, time the rest.

    Pairs are interleaved. Angles in float64, since positions in time have no bound, tables in float32.
    """
    side = 2 * (head_dim // 6)
    device = positions.device
    exact = torch.float32 if device.type == "mps" else torch.float64

    def axis(place: Tensor, dim: int) -> Tensor:
        rates = theta ** -(torch.arange(0, dim, 2, device=device, dtype=exact) / dim)
        return place.to(exact)[:, None] * rates

    t = axis(positions, head_dim - 2 * side)
    y = axis(torch.arange(height, device=device), side)
    x = axis(torch.arange(width, device=device), side)
    f = len(positions)
    angles = torch.cat(
        [
            repeat(t, "f d -> (f h w) d", h=height, w=width),
            repeat(y, "h d -> (f h w) d", f=f, w=width),
            repeat(x, "w d -> (f h w) d", f=f, h=height),
        ],
        dim=-1,
    )
    angles = repeat(angles, "l d -> l 1 (d two)", two=2)
    first = torch.arange(0, head_dim, 2, device=device)
    turn = torch.zeros(head_dim, head_dim, device=device)
    turn[first, first + 1], turn[first + 1, first] = 1, -1  # (a, b) -> (-b, a)
    return Rotation(angles.cos().float(), angles.sin().float(), turn)


def rotate(x: Tensor, rotation: Rotation, dtype: torch.dtype) -> Tensor:
    """Turn the pairs of channels of x (b l k d, float32) by the angles of each token, answer in `dtype`."""
    if x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        angles = torch.complex(rotation.cos[..., ::2], rotation.sin[..., ::2])
        pairs = torch.view_as_complex(rearrange(x, "... (d two) -> ... d two", two=2))
        return rearrange(torch.view_as_real(pairs * angles), "... d two -> ... (d two)").to(dtype)
    turned = torch.matmul(x.to(dtype), rotation.turn.to(dtype))
    return (x * rotation.cos + turned * rotation.sin).to(dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of q (b k l d) over k and v; `mask` is boolean, l by l, true where a query may look."""
    trains = q.device.type == "cpu" and torch.is_grad_enabled()
    if not trains or q.shape[-2] * k.shape[-2] > EXPLICIT_SCORES:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)).float()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.matmul(torch.softmax(scores, dim=-1).to(v.dtype), v)


Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""What computes attention, as `attend` does; another one may be given to a layer from outside."""


class Past:
    """Keys and values of the tokens before, of one layer's self-attention: new queries see them beside their own.

    Keys are kept unrotated, so that positions may begin anew when the oldest frames are left behind.
    """

    k: Tensor  # b l k d, normalised
    v: Tensor  # b k l d

    def __init__(self) -> None:
        self.length, self.grows = 0, False
        """Tokens kept; whether those that come now are kept too."""

    def joined(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what came before and of the tokens that come now."""
        k = k.to(v.dtype)
        if self.length:
            k, v = torch.cat([self.k, k], 1), torch.cat([self.v, v], 2)
        if self.grows:
            self.k, self.v, self.length = k, v, k.shape[1]
        return k, v

    def keep(self, frames: Tensor, tokens: int) -> None:
        """Leave all behind but these frames (int, f) of so many tokens each."""
        at = (frames[:, None] * tokens + torch.arange(tokens)).flatten().to(self.k.device)
        self.k, self.v, self.length = self.k[:, at], self.v[:, :, at], len(at)


class Attention(nn.Module):
    """Self- or cross-attention; queries and keys are normalised over the full width, before heads split."""

    attend: Attend

    def __init__(self, dim: int, heads: int, eps: float, image: bool = False) -> None:
        """With `image`, keys and values of a picture's tokens are projected and attended to apart from the text."""
        super().__init__()
        self.heads, self.eps, self.attend = heads, eps, attend
        self.to_q, self.to_k, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.norm_q, self.norm_k = nn.RMSNorm(dim, eps=eps), nn.RMSNorm(dim, eps=eps)
        if image:
            self.add_k_proj, self.add_v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
            self.norm_added_k = nn.RMSNorm(dim, eps=eps)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        image: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """Tokens x, context and image (all b l d) -> b l d. `rotation` has the tokens of `past` first."""
        q = rearrange(
            rms_norm(self.to_q(x), self.norm_q.weight, self.eps), "b l (k d) -> b l k d", k=self.heads
        )
        k = rearrange(
            rms_norm(self.to_k(context), self.norm_k.weight, self.eps), "b l (k d) -> b l k d", k=self.heads
        )
        v = rearrange(self.to_v(context), "b l (k d) -> b k l d", k=self.heads)
        if past is not None:
            k, v = past.joined(k, v)
        if rotation is not None:
            own = rotation if past is None else rotation.last(q.shape[1])
            q, k = rotate(q, own, v.dtype), rotate(k, rotation, v.dtype)
        q, k = (rearrange(y.to(v.dtype), "b l k d -> b k l d") for y in (q, k))
        seen = self.attend(q, k, v, mask)
        if image is not None:
            k, v = (
                rms_norm(self.add_k_proj(image), self.norm_added_k.weight, self.eps),
                self.add_v_proj(image),
            )
            k, v = (rearrange(y.to(q.dtype), "b l (k d) -> b k l d", k=self.heads) for y in (k, v))
            seen = seen + self.attend(q, k, v, None)
        out: Tensor = self.to_out[0](rearrange(seen, "b k l d -> b l (k d)"))
        return out


class Gelu(nn.Module):
    """Linear, then GELU, in its tanh form or exact; named as diffusers names it."""

    def __init__(self, dim: int, inner: int, approximate: str) -> None:
        super().__init__()
        self.proj, self.approximate = nn.Linear(dim, inner), approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate=self.approximate)


class FeedForward(nn.Module):
    def __init__(self, dim: int, inner: int, out: int, approximate: str = "tanh") -> None:
        super().__init__()
        self.net = nn.Sequential(Gelu(dim, inner, approximate), nn.Identity(), nn.Linear(inner, out))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Block(nn.Module):
    """Self-attention and feed-forward, both modulated by the timestep; between them attention to the text."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.attn1 = Attention(dim, config.heads, eps)
        self.attn2 = Attention(dim, config.heads, eps, image=config.image_dim is not None)
        self.norm2 = nn.LayerNorm(dim, eps)  # before attn2
        self.ffn = FeedForward(dim, config.ffn, dim)
        self.norm3 = nn.LayerNorm(dim, eps, elementwise_affine=False)  # before ffn
        self.scale_shift_table = nn.Parameter(torch.empty(1, 6, dim).normal_(std=dim**-0.5))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        text: Tensor,
        rotation: Rotation,
        mask: Tensor | None,
        image: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """Tokens b f n d, time b f 6 d (float32), text and image b l d -> b f n d."""
        f, dtype = x.shape[1], x.dtype
        modulation = (time + self.scale_shift_table.float())[..., None, :]  # b f 6 1 d
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.unbind(2)

        y = torch.addcmul(shift, layer_norm(x, self.norm1), 1 + scale).to(dtype)
        y = rearrange(y, "b f n d -> b (f n) d")
        y = rearrange(self.attn1(y, y, rotation, mask, past=past), "b (f n) d -> b f n d", f=f)
        x = torch.addcmul(x.float(), y.float(), gate).to(dtype)

        y = rearrange(layer_norm(x, self.norm2).to(dtype), "b f n d -> b (f n) d")
        x = x + rearrange(self.attn2(y, text, image=image), "b (f n) d -> b f n d", f=f).to(dtype)

        y = torch.addcmul(ffn_shift, layer_norm(x, self.norm3), 1 + ffn_scale).to(dtype)
        return torch.addcmul(x.float(), self.ffn(y).float(), ffn_gate).to(dtype)


class TwoLinears(nn.Module):
    """linear_1, an activation, linear_2: diffusers' names for the embedders of time and text."""

    def __init__(self, width: int, dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1, self.activation, self.linear_2 = nn.Linear(width, dim), activation, nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(self.activation(self.linear_1(x)))
        return out


class ImageEmbedder(nn.Module):
    """Features of a picture, brought to the width of the model."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(dim)
        self.ff = FeedForward(width, width, dim, approximate="none")

    def forward(self, x: Tensor) -> Tensor:
        dtype = self.norm1.weight.dtype
        return layer_norm(self.ff(layer_norm(x, self.norm1).to(dtype)), self.norm2).to(dtype)


class ConditionEmbedder(nn.Module):
    """Timesteps and text, brought to the width of the model."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.freq_dim = config.freq_dim
        self.time_embedder = TwoLinears(config.freq_dim, config.dim, nn.SiLU())
        self.time_proj = nn.Linear(config.dim, 6 * config.dim)
        self.text_embedder = TwoLinears(config.text_dim, config.dim, nn.GELU(approximate="tanh"))
        if config.image_dim is not None:
            self.image_embedder = ImageEmbedder(config.image_dim, config.dim)
        self.frame_embedder = nn.Linear(config.freq_dim, config.dim) if config.places_frames else None

    def forward(self, timestep: Tensor, text: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Timestep b f in 0..1000, text b l d, positions f -> (time b f d, modulation b f 6 d, text b l d).

        What comes before a film, at negative positions, is placed with the image slot at 0.
        """
        with torch.autocast(timestep.device.type, enabled=False):  # few values, on which everything hangs
            waves = sinusoid(timestep, self.freq_dim).to(self.time_proj.weight.dtype)
            time = self.time_embedder(waves)
            if self.frame_embedder is not None:
                places = sinusoid(positions.clamp(min=0), self.freq_dim).to(waves.dtype)
                time = time + self.frame_embedder(places)
            modulation = rearrange(self.time_proj(F.silu(time)), "b f (six d) -> b f six d", six=6)
        return time.float(), modulation.float(), self.text_embedder(text)


def sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """Timesteps (any shape) -> cos and sin at dim/2 rates from 1 down to nearly 1e-4, in a last axis."""
    rates = torch.exp(
        -math.log(10_000.0) * torch.arange(dim // 2, device=timestep.device, dtype=torch.float32) / (dim // 2)
    )
    angles = timestep.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


CELL_OCTAVES = 4


def cell_waves(height: int, width: int, device: torch.device) -> Tensor:
    """Where each of height x width tokens is in the frame: sines and cosines of its place, n by 4 CELL_OCTAVES.

    From edge to edge the slowest covers half a turn, whatever the size: left is left in every format.
    """
    quarter = math.pi / 2 * 2 ** torch.arange(CELL_OCTAVES, device=device, dtype=torch.float32)

    def waves(count: int) -> Tensor:
        place = (torch.arange(count, device=device) + 0.5) * 2 / count - 1
        angles = place[:, None] * quarter
        return torch.cat([angles.sin(), angles.cos()], -1)

    y, x = repeat(waves(height), "h d -> (h w) d", w=width), repeat(waves(width), "w d -> (h w) d", h=height)
    return torch.cat([y, x], -1)


class DiT(nn.Module):
    """Noisy latents, noise levels and a text -> what `config.prediction` says, for all frames at once."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv3d(config.in_channels, config.dim, config.patch, config.patch)
        self.condition_embedder = ConditionEmbedder(config)
        self.cell_embedder = nn.Linear(4 * CELL_OCTAVES, config.dim) if config.places_cells else None
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.layers)])
        self.norm_out = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.proj_out = nn.Linear(config.dim, config.out_channels * math.prod(config.patch))
        self.scale_shift_table = nn.Parameter(torch.empty(1, 2, config.dim).normal_(std=config.dim**-0.5))
        self._initialise()

    def _initialise(self) -> None:
        """As Wan does (`wan/modules/model.py`): Xavier, small embedders, and an output of zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        for embedder in (self.condition_embedder.time_embedder, self.condition_embedder.text_embedder):
            nn.init.normal_(embedder.linear_1.weight, std=0.02)
            nn.init.normal_(embedder.linear_2.weight, std=0.02)
        nn.init.zeros_(self.proj_out.weight)
        if self.condition_embedder.frame_embedder is not None:
            nn.init.zeros_(self.condition_embedder.frame_embedder.weight)
        if self.cell_embedder is not None:
            nn.init.zeros_(self.cell_embedder.weight)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        text: Tensor,
        positions: Tensor | None = None,
        causal_block: int | None = None,
        image: Tensor | None = None,
        past: Sequence[Past] | None = None,
    ) -> Tensor:
        """Latents b c f h w, timestep b f in 0..1000 (1000 sigma), text b l d (zeros past its end).

        `positions` (int, f) places the frames in time, 0, 1, 2 ... by default. With `causal_block`, a frame
        attends only to its own and earlier blocks of that many frames. `image` (b l d) is what a picture's
        features are, for a config with `image_dim`. `past` (one a layer) holds frames before these, whose positions
        then come first. Returns b c f h w.
        Raises ValueError when height or width is not a multiple of the patch.
        """
        frames, rows, columns = x.shape[2:]
        _, p, q = self.config.patch
        if rows % p or columns % q:
            raise ValueError(f"latents of {rows}x{columns} cells do not divide into patches of {p}x{q}")
        h, w = rows // p, columns // q
        if positions is None:
            positions = torch.arange(frames, device=x.device)
        rotation = rotary_embedding(positions, h, w, self.config.head_dim, self.config.rope_theta)
        mask = None if causal_block is None else block_causal(frames, h * w, causal_block, x.device)

        patches = rearrange(x, "b c f (h p) (w q) -> b f (h w) (c p q)", p=p, q=q)
        weight = self.patch_embedding.weight.flatten(1)  # the convolution is a product over patches
        tokens = F.linear(patches.to(weight.dtype), weight, self.patch_embedding.bias)
        if self.cell_embedder is not None:
            tokens = tokens + self.cell_embedder(cell_waves(h, w, x.device).to(weight.dtype)).to(tokens.dtype)
        time, modulation, words = self.condition_embedder(
            timestep, text.to(weight.dtype), positions[-frames:]
        )
        seen = None if image is None else self.condition_embedder.image_embedder(image.to(weight.dtype))
        layers: Sequence[Past | None] = past or [None] * len(self.blocks)
        for block, before in zip(self.blocks, layers, strict=True):
            tokens = block(tokens, modulation, words, rotation, mask, seen, before)

        shift, scale = (time[:, :, None] + self.scale_shift_table.float())[..., None, :].unbind(2)  # b f 1 d
        tokens = (layer_norm(tokens, self.norm_out) * (1 + scale) + shift).to(tokens.dtype)
        out: Tensor = self.proj_out(tokens)
        return rearrange(out, "b f (h w) (p q c) -> b c f (h p) (w q)", h=h, w=w, p=p, q=q)


def block_causal(frames: int, tokens: int, block: int, device: torch.device) -> Tensor:
    """Boolean l by l, true where the key's block of frames is not later than the query's."""
    of_token = repeat(torch.arange(frames, device=device) // block, "f -> (f n)", n=tokens)
    return of_token[:, None] >= of_token[None, :]
