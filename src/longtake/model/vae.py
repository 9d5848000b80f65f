"""The autoencoder: groups of frames to latents and back, streaming without a seam.

Encoder: the frames of one group stacked as channels, 2D convolutions; nothing outside the group is seen, so
every aligned piece of a film has the same latents wherever it stands. Decoder: 2D, fed with a latent frame
and the one before it (zeros before the first), which is all its memory; it answers at `upscale` times the
encoder's size. Residual blocks without normalisation, so a crop and a whole frame are treated alike.

Axes: pixels b c t h w in [-1, 1], latents b z f h w with t = group * f.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.model.presets import VAEConfig

_FIRST_LOGVAR = -6.0
"""Log-variance of a fresh encoder: at 0 sampling noise drowns the signal and nothing is learned for long."""


class Residual(nn.Module):
    """x + conv(silu(conv(silu(scale * x)))), the second convolution zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, width, 1, 1))
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(F.silu(self.conv1(F.silu(self.scale * x))))
        return x + out


class Encoder(nn.Sequential):
    """(b f) (g 3) h w -> (b f) 2z h/stride w/stride; most parameters where there are few pixels."""

    def __init__(self, config: VAEConfig) -> None:
        widths = config.encoder_widths
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * 3 * config.group, widths[0], 3, padding=1),
            Residual(widths[0]),
        ]
        for width, following in pairwise(widths):
            layers += [nn.Conv2d(width, following, 2, stride=2), Residual(following)]
        layers += [nn.SiLU(), nn.Conv2d(widths[-1], 2 * config.z, 3, padding=1)]
        super().__init__(*layers)


class Decoder(nn.Sequential):
    """b 2z h w -> b (g 3) H W, H = h * stride * upscale."""

    def __init__(self, config: VAEConfig) -> None:
        widths = config.decoder_widths
        shuffle = config.stride * config.upscale // 2 ** (len(widths) - 1)
        layers: list[nn.Module] = [
            nn.Conv2d(2 * config.z, widths[0], 3, padding=1),
            Residual(widths[0]),
            Residual(widths[0]),
        ]
        for width, following in pairwise(widths):
            layers += [nn.Conv2d(width, 4 * following, 1), nn.PixelShuffle(2)]
            layers += [Residual(following), Residual(following)]
        layers += [nn.SiLU(), nn.Conv2d(widths[-1], 3 * config.group * shuffle**2, 3, padding=1)]
        layers += [nn.PixelShuffle(shuffle)]
        super().__init__(*layers)


class VAE(nn.Module):
    """Encoder, decoder and the frozen statistics that make latents unit-scaled."""

    mean: Tensor  # z 1 1 1
    std: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self._initialise()
        mean, std = config.mean or (0.0,) * config.z, config.std or (1.0,) * config.z
        # not in the state dict: they are part of the config
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _initialise(self) -> None:
        """Keep variance through the convolutions (residual branches begin at zero) and answer near zero."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
                if not name.endswith("conv2"):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        moments, pixels = self.encoder[-1], self.decoder[-2]
        assert isinstance(moments, nn.Conv2d) and moments.bias is not None and isinstance(pixels, nn.Conv2d)
        with torch.no_grad():
            moments.bias[self.config.z :] = _FIRST_LOGVAR
            pixels.weight *= 0.1

    def encode_raw(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames b 3 t h w at encoder size -> mean and log-variance, b z f h/stride w/stride, not normalised.

        Raises ValueError unless t is a multiple of `group` and h and w are multiples of `stride`.
        """
        group, stride = self.config.group, self.config.stride
        _, c, t, h, w = frames.shape
        if c != 3 or t % group or h % stride or w % stride:
            raise ValueError(
                f"cannot encode {t} frames of {w}x{h} with {c} channels; give 3 channels, a multiple of "
                f"{group} frames and sides that are multiples of {stride}"
            )
        stacked = rearrange(frames, "b c (f g) h w -> (b f) (g c) h w", g=group)
        moments = self.encoder(stacked.contiguous(memory_format=torch.channels_last))
        mean, logvar = rearrange(moments, "(b f) z h w -> b z f h w", b=len(frames)).chunk(2, dim=1)
        return mean, logvar

    def encode(self, frames: Tensor) -> Tensor:
        """Frames b 3 t h w at encoder size (output size / upscale) -> unit-scaled latents b z f h w."""
        mean, _ = self.encode_raw(frames)
        return (mean - self.mean) / self.std

    def encode_more(self, frames: Tensor, memory: None) -> tuple[Tensor, None]:
        """The same for the next groups of a film; no group sees another, so there is nothing to remember."""
        return self.encode(frames), memory

    def encode_still(self, frame: Tensor) -> Tensor:
        """One picture b 3 h w at encoder size -> b z 1 h w: a still is a group of equal frames."""
        return self.encode(repeat(frame, "b c h w -> b c t h w", t=self.config.group))

    def decode(self, latents: Tensor) -> Tensor:
        """Unit-scaled latents b z f h w -> frames b 3 t H W, about [-1, 1] but not clamped."""
        frames, memory = [], None
        for latent in latents.split(1, dim=2):  # one at a time: bit for bit what `stream` makes
            made, memory = self.stream(latent, memory)
            frames.append(made)
        return torch.cat(frames, dim=2)

    def stream(self, latent: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next latent frame b z 1 h w -> (its frames b 3 group H W, memory for the next call).

        No memory starts a film or a shot.
        """
        raw = rearrange(latent * self.std + self.mean, "b z 1 h w -> b z h w")
        pair = torch.cat([raw, torch.zeros_like(raw) if memory is None else memory], dim=1)
        stacked = self.decoder(pair.contiguous(memory_format=torch.channels_last))
        return rearrange(stacked, "b (g c) h w -> b c g h w", g=self.config.group), raw
