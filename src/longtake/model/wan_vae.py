"""Wan's two autoencoders (2.1, and the residual one of 2.2) with diffusers' parameter names, streaming and exact.

Convolutions in time look only back, and each keeps the last two frames it saw. So a film may be encoded and decoded
in pieces of any length, and the pieces are those of the whole. The first latent holds one frame, each later one four.
Details: diffusers `autoencoder_kl_wan.py`; Wan2.2 `wan/modules/vae2_2.py`.

Axes: pixels b c t h w in [-1, 1], latents b z f h w with t = 1 + 4 (f - 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.model.presets import WanVAEConfig

REACH = 13
"""Latent cells beyond a tile that its pixels depend on, behind the middle of the decoder: the sum over the stages."""

PIECE = 2**18
"""Values that are normalised at once on a CPU, so that their float32 copies stay in the cache."""


class Memory(list[Tensor]):
    """What the layers keep from the pieces before, in the order in which they are passed; empty at the start.

    What was kept before is used up as it is read, so that old and new are not held both.
    """

    def __init__(self, kept: Memory | None = None) -> None:
        super().__init__()
        self.kept = kept or None
        self._room: Tensor | None = None

    def room(self, size: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor of this size (b c t h w, channels last) to be written, in the dtype and on the device of `like`.

        On a CPU without gradients it lies where the one before lay: a large piece of memory that is new each time is
        slow to come by, and leaves holes.
        """
        b, c, *places = size
        count = math.prod(size)
        if like.device.type != "cpu" or torch.is_grad_enabled():
            room = torch.empty(count, dtype=like.dtype, device=like.device)
        else:
            if self._room is None or len(self._room) < count:
                self._room = None
                self._room = torch.empty(count, dtype=like.dtype)
            room = self._room[:count]
        return rearrange(room.view(b, *places, c), "b t h w c -> b c t h w")

    def close(self) -> None:
        """Nothing more will be written."""
        self._room = None

    def last(self) -> Tensor | None:
        """What the layer kept that now runs, None in a first piece."""
        return None if self.kept is None else self.kept.pop(0)


class CausalConv(nn.Conv3d):
    """A convolution over (t, h, w) that sees the two frames before the piece: zeros before the first."""

    def __init__(self, width: int, out: int, kernel: tuple[int, int, int], stride: int = 1) -> None:
        super().__init__(width, out, kernel, (stride, 1, 1), (0, kernel[1] // 2, kernel[2] // 2))

    def after(self, x: Tensor, memory: Memory, norm: ChannelNorm | None = None) -> Tensor:
        """b c t h w -> b c t h w; with `norm`, of what is normalised and activated."""
        back, last = self.kernel_size[0] - 1, memory.last()
        start = 0 if last is None and x.shape[2] == 1 else back
        whole = memory.room((*x.shape[:2], start + x.shape[2], *x.shape[3:]), x)
        before, here = whole.split([start, x.shape[2]], 2)
        if last is None:
            before.zero_()
            last = torch.zeros_like(whole[:, :, :1].expand(-1, -1, back, -1, -1))
        else:
            before.copy_(last)
        if norm is None:
            here.copy_(x)
        else:
            norm.write(x, here, silu=True)
        seen = min(back, whole.shape[2])
        last[:, :, back - seen :] = whole[
            :, :, whole.shape[2] - seen :
        ]  # in its place: memory is not torn to holes
        memory.append(last)
        del x  # where nobody else holds it, its memory goes to the result
        if start:
            return self(whole)  # type: ignore[no-any-return]
        # the first frame: all but the last of the kernel's frames would meet zeros
        first = F.conv2d(whole[:, :, 0], self.weight[:, :, -1], self.bias, padding=self.padding[1:])
        return first[:, :, None]

    def forward(self, x: Tensor) -> Tensor:
        """b c t h w -> b c t' h w, without what came before.

        In float32 a CPU has no fast convolution over three axes: a sum over the kernel's frames of convolutions over
        two is four to nine times as fast for 8 and 16 channels, and 4 to 14 % faster for 96 to 384.
        """
        steps, stride = self.kernel_size[0], self.stride[0]
        slow = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not slow or steps == 1 or stride != 1:
            return super().forward(x)
        made: list[Tensor] = []
        for begin in range(x.shape[2] - steps + 1):
            frame = F.conv2d(x[:, :, begin], self.weight[:, :, 0], self.bias, padding=self.padding[1:])
            for step in range(1, steps):
                frame += F.conv2d(x[:, :, begin + step], self.weight[:, :, step], padding=self.padding[1:])
            made.append(frame)
        return rearrange(made, "t b c h w -> b c t h w")


class ChannelNorm(nn.Module):
    """Channels of each place scaled to unit root mean square, in float32 and rounded once, after the activation."""

    def __init__(self, width: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, *(1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        """b c ... -> b c ..."""
        out = torch.empty_like(x)
        self.write(x, out)
        return out

    def write(self, x: Tensor, out: Tensor, silu: bool = False) -> None:
        """Into `out`; with `silu` followed by SiLU."""
        rows, gamma = x.shape[-2], self.gamma.float()
        if x.device.type == "cpu":
            rows = max(1, PIECE * rows // x.numel())
        for piece, of in zip(x.split(rows, -2), out.split(rows, -2), strict=True):
            exact = piece.float()
            norm = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
            scaled = (exact * (x.shape[1] ** 0.5 / norm.clamp(min=1e-12))).mul_(gamma)
            of.copy_(F.silu(scaled, inplace=True) if silu else scaled)


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ChannelNorm(width, 3), CausalConv(width, out, (3, 3, 3))
        self.norm2, self.conv2 = ChannelNorm(out, 3), CausalConv(out, out, (3, 3, 3))
        self.conv_shortcut = CausalConv(width, out, (1, 1, 1)) if width != out else nn.Identity()

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        y = self.conv2.after(self.conv1.after(x, memory, self.norm1), memory, self.norm2)
        out: Tensor = y.add_(self.conv_shortcut(x)) if not y.requires_grad else y + self.conv_shortcut(x)
        return out


class SpatialAttention(nn.Module):
    """Single-head attention within each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width, 2)
        self.to_qkv, self.proj = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = x.shape[2:]
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        q, k, v = rearrange(self.to_qkv(self.norm(frames)), "n (qkv c) h w -> qkv n (h w) c", qkv=3).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        y = self.proj(rearrange(y, "n (h w) c -> n c h w", h=h, w=w))
        attended: Tensor = x + rearrange(y, "(b t) c h w -> b c t h w", t=t)
        return attended


class Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(width, width), Residual(width, width)])
        self.attentions = nn.ModuleList([SpatialAttention(width)])

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = self.attentions[0](self.resnets[0](x, memory))
        out: Tensor = self.resnets[1](x, memory)
        return out


class Down(nn.Module):
    """Half the side, and with `temporal` half the frames."""

    def __init__(self, width: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(width, width, 3, stride=2))
        self.time_conv = CausalConv(width, width, (3, 1, 1), stride=2) if temporal else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = _framewise(self.resample, x)
        if self.time_conv is None:
            return x
        last = memory.last()
        memory.append(x[:, :, -1:].clone())
        out: Tensor = x if last is None else self.time_conv(torch.cat([last, x], 2))
        return out


class Up(nn.Module):
    """Twice the side, and with `temporal` twice the frames, but for the first of a film."""

    def __init__(self, width: int, out: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="nearest-exact"), nn.Conv2d(width, out, 3, padding=1)
        )
        self.time_conv = CausalConv(width, 2 * width, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        if self.time_conv is not None:
            if memory.kept is None:  # the first frame stays one, and the next ones see nothing of it
                memory.last()
                memory.append(x.new_zeros(*x.shape[:2], 2, *x.shape[3:]))
            else:
                x = rearrange(self.time_conv.after(x, memory), "b (two c) t h w -> b c (t two) h w", two=2)
        return _framewise(self._twice, x)

    def _twice(self, x: Tensor) -> Tensor:
        """b c h w -> b o 2h 2w: as `resample`, in four ninths of its products and without the picture between.

        Of three rows of the doubled picture two are equal, and their weights add up: for an even row the last two, for
        an odd one the first two. So each of the four places in a cell sees two by two cells.
        """
        conv = self.resample[1]
        assert isinstance(conv, nn.Conv2d)
        if x.device.type != "cpu":
            return self.resample(x)  # type: ignore[no-any-return]
        h, w = x.shape[2:]
        pairs = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # place, tap, row
        kernels = torch.einsum("o i y x, p a y, q b x -> p q o i a b", conv.weight.float(), pairs, pairs)
        kernels = rearrange(kernels, "p q o i a b -> (p q o) i a b").to(conv.weight.dtype)
        bias = None if conv.bias is None else repeat(conv.bias, "o -> (places o)", places=4)
        kernels = kernels.contiguous(memory_format=torch.channels_last)
        cells = F.conv2d(x, kernels, bias, padding=1)  # one row and column more than x
        cells = rearrange(cells, "b (p q o) h w -> p q b o h w", p=2, q=2)
        size = (*cells.shape[2:4], 2 * h, 2 * w)
        out = torch.empty(size, dtype=cells.dtype, memory_format=torch.channels_last)
        for p in range(2):
            for q in range(2):
                out[..., p::2, q::2] = cells[p, q, ..., p : p + h, q : q + w]
        return out


class ResidualDown(nn.Module):
    """A stage of the 2.2 encoder: residual blocks, halved, beside a mean over what is halved."""

    def __init__(self, width: int, out: int, blocks: int, temporal: bool, last: bool) -> None:
        super().__init__()
        self.out, self.frames, self.side = out, 2 if temporal else 1, 1 if last else 2
        self.resnets = nn.ModuleList([Residual(width if i == 0 else out, out) for i in range(blocks)])
        self.downsampler = None if last else Down(out, temporal)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        short = F.pad(x, (0, 0, 0, 0, -x.shape[2] % self.frames, 0))
        short = rearrange(
            short, "b c (t f) (h p) (w q) -> b (c f p q) t h w", f=self.frames, p=self.side, q=self.side
        )
        short = reduce(short, "b (o g) t h w -> b o t h w", "mean", o=self.out)
        for resnet in self.resnets:
            x = resnet(x, memory)
        return (x if self.downsampler is None else self.downsampler(x, memory)) + short


class UpStage(nn.Module):
    """A stage of a decoder; the 2.2 kind adds its input, repeated to the new size."""

    def __init__(self, width: int, out: int, blocks: int, temporal: bool, last: bool, residual: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(width if i == 0 else out, out) for i in range(blocks + 1)])
        up = None if last else Up(out, out if residual else out // 2, temporal)
        if residual:
            self.upsampler = up
        elif up is not None:
            self.upsamplers = nn.ModuleList([up])
        self.short = (out, 2 if temporal else 1) if residual and not last else None

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        given = x
        for resnet in self.resnets:
            x = resnet(x, memory)
        up = self.upsamplers[0] if hasattr(self, "upsamplers") else getattr(self, "upsampler", None)
        if up is not None:
            x = up(x, memory)
        if self.short is None:
            return x
        out, frames = self.short
        copies = 4 * frames * out // given.shape[1]
        given = repeat(given, "b c t h w -> b (c r) t h w", r=copies)
        given = rearrange(given, "b (o f p q) t h w -> b o (t f) (h p) (w q)", f=frames, p=2, q=2)
        return x + given[:, :, -x.shape[2] :]


class Encoder(nn.Module):
    """Pixels, patched -> moments b 2z f h w, a piece at a time."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = (config.base, *(config.base * m for m in config.multiples))
        self.conv_in = CausalConv(3 * config.patch**2, widths[0], (3, 3, 3))
        layers: list[nn.Module] = []
        for i, (width, out) in enumerate(pairwise(widths)):
            last = i == len(config.multiples) - 1
            temporal = not last and config.temporal[i]
            if config.residual:
                layers.append(ResidualDown(width, out, config.blocks, temporal, last))
                continue
            layers += [Residual(width if j == 0 else out, out) for j in range(config.blocks)]
            layers += [] if last else [Down(out, temporal)]
        self.down_blocks = nn.ModuleList(layers)
        self.mid_block = Middle(widths[-1])
        self.norm_out = ChannelNorm(widths[-1], 3)
        self.conv_out = CausalConv(widths[-1], 2 * config.z, (3, 3, 3))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        x = self.conv_in.after(x, memory)
        for layer in self.down_blocks:
            x = layer(x, memory)
        x = self.mid_block(x, memory)
        return self.conv_out.after(x, memory, self.norm_out)


class Decoder(nn.Module):
    """One latent frame -> its pixels, patched. `middle` sees the whole picture, `outer` only as far as REACH."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        multiples = (config.multiples[-1], *reversed(config.multiples))
        widths = [config.decoder_base * m for m in multiples]
        temporal = (*reversed(config.temporal), False)
        self.conv_in = CausalConv(config.z, widths[0], (3, 3, 3))
        self.mid_block = Middle(widths[0])
        self.up_blocks = nn.ModuleList()
        for i, (width, out) in enumerate(pairwise(widths)):
            last = i == len(config.multiples) - 1
            entering = width if config.residual or i == 0 else width // 2
            self.up_blocks.append(UpStage(entering, out, config.blocks, temporal[i], last, config.residual))
        self.norm_out = ChannelNorm(widths[-1], 3)
        self.conv_out = CausalConv(widths[-1], 3 * config.patch**2, (3, 3, 3))

    def middle(self, x: Tensor, memory: Memory) -> Tensor:
        out: Tensor = self.mid_block(self.conv_in.after(x, memory), memory)
        return out

    def outer(self, x: Tensor, memory: Memory) -> Tensor:
        for block in self.up_blocks:
            x = block(x, memory)
        return self.conv_out.after(x, memory, self.norm_out)


class WanVAE(nn.Module):
    """Encoder, decoder and the published statistics that make latents unit-scaled.

    `tile`: latent rows decoded at once, 0 for all. The result is the same; less memory, more time.
    """

    def __init__(self, config: WanVAEConfig, tile: int = 0) -> None:
        super().__init__()
        self.config, self.tile = config, tile
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = CausalConv(2 * config.z, 2 * config.z, (1, 1, 1))
        self.post_quant_conv = CausalConv(config.z, config.z, (1, 1, 1))

    def encode(self, frames: Tensor) -> Tensor:
        """Frames b 3 t h w -> unit-scaled latents b z f h w; the last four frames are filled with their last.

        Raises ValueError for sides that are no multiples of the stride.
        """
        return torch.cat([latent for latent, _ in self._encoded(frames, None)], 2)

    def encode_more(self, frames: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        """The next frames of a film -> (their latents, memory for the next call). No memory starts a film.

        The memory that is given is used up.
        """
        pieces = list(self._encoded(frames, memory))
        return torch.cat([latent for latent, _ in pieces], 2), pieces[-1][1]

    def _encoded(self, frames: Tensor, memory: Memory | None) -> Iterator[tuple[Tensor, Memory]]:
        stride, group = self.config.stride, self.config.group
        if frames.shape[3] % stride or frames.shape[4] % stride:
            height, width = frames.shape[3:]
            raise ValueError(f"cannot encode frames of {width}x{height}; sides must be multiples of {stride}")
        first = 0 if memory is not None else 1
        if missing := (first - frames.shape[2]) % group:
            frames = torch.cat([frames, frames[:, :, -1:].expand(-1, -1, missing, -1, -1)], 2)
        sizes = [1] * first + [group] * ((frames.shape[2] - first) // group)
        patch = self.config.patch
        for piece in frames.split(sizes, 2):
            memory = Memory(memory)
            x = rearrange(piece, "b c t (h r) (w q) -> b (c q r) t h w", r=patch, q=patch)
            moments = self.quant_conv(self.encoder(x.to(self._dtype), memory))
            memory.close()
            mean, std = self._statistics(piece.device)
            yield ((moments[:, : self.config.z].float() - mean) / std).to(piece.dtype), memory

    def encode_still(self, frame: Tensor) -> Tensor:
        """One picture b 3 h w -> b z 1 h w."""
        return self.encode(frame[:, :, None])

    def decode(self, latents: Tensor) -> Tensor:
        """Unit-scaled latents b z f h w -> frames b 3 t h w, t = 1 + 4 (f - 1), about [-1, 1] but not clamped."""
        frames, memory = [], None
        for latent in latents.split(1, 2):
            made, memory = self.stream(latent, memory)
            frames.append(made)
        return torch.cat(frames, 2)

    def stream(self, latent: Tensor, memory: list[Memory] | None = None) -> tuple[Tensor, list[Memory]]:
        """The next latent frame b z 1 h w -> (its frames b 3 t h w: one for the first, then four; memory).

        The memory that is given is used up.
        """
        mean, std = self._statistics(latent.device)
        raw = (latent.float() * std + mean).to(self._dtype)
        spans = list(_tiles(raw.shape[3], self.tile))
        before: Sequence[Memory | None] = memory or [None] * (1 + len(spans))
        kept = [Memory(of) for of in before]
        x = self.decoder.middle(self.post_quant_conv(raw), kept[0])
        kept[0].close()
        rows: list[Tensor] = []
        for (top, begin, end, bottom), own in zip(spans, kept[1:], strict=True):
            y = self.decoder.outer(x[:, :, :, top:bottom], own)
            own.close()
            cell = y.shape[3] // (bottom - top)
            rows.append(y[:, :, :, (begin - top) * cell : (end - top) * cell])
        patch = self.config.patch
        pixels = rearrange(torch.cat(rows, 3), "b (c q r) t h w -> b c t (h r) (w q)", r=patch, q=patch)
        return pixels.to(latent.dtype), kept

    def lay_out(self) -> None:
        """Lay weights out with channels last, which convolutions on CPU and GPU are fastest with."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
            elif isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and std of the raw latents, z 1 1 1; in float32 whatever the weights are in."""
        config = self.config
        values = torch.tensor([config.mean, config.std], dtype=torch.float32, device=device)
        mean, std = values[..., None, None, None]
        return mean, std

    @property
    def _dtype(self) -> torch.dtype:
        return self.post_quant_conv.weight.dtype


def _tiles(rows: int, tile: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, begin, end, bottom): rows begin..end are shown of those computed from top to bottom."""
    for begin in range(0, rows, tile or rows):
        end = min(rows, begin + (tile or rows))
        yield max(0, begin - REACH), begin, end, min(rows, end + REACH)


def _framewise(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer for pictures, over every frame of b c t h w."""
    t = x.shape[2]
    y: Tensor = layer(rearrange(x, "b c t h w -> (b t) c h w"))
    return rearrange(y, "(b t) c h w -> b c t h w", t=t)
