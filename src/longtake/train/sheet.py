"""A sample sheet: fixed prompts drawn by the weights as they are, one row each, to watch while training.

Its own short Euler loop on flow.py, so that training does not depend on the sampler.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from longtake.diffusion import flow
from longtake.model.device import autocast
from longtake.model.dit import DiT
from longtake.model.text import TextEncoder, Tokenizer
from longtake.model.vae import VAE

PROMPTS = (
    "a golden puppy plays in the snow",
    "a cat runs across a meadow at sunset",
    "一只小狗在海滩上奔跑",
    "a red car drives along a city street at night in the rain",
    "an elephant walks in the desert, close-up",
    "一只企鹅在雪地里跳跃",
)


@dataclass(frozen=True)
class Artist:
    """The networks that draw, all in eval mode on one device."""

    dit: DiT
    text: TextEncoder
    tokenizer: Tokenizer
    vae: VAE


@torch.no_grad()
def draw(
    artist: Artist, prompts: tuple[str, ...], frames: int, size: tuple[int, int], steps: int = 8
) -> Tensor:
    """Latents b z f h w from noise of seed 0 for `size` (width, height); one frame is a still."""
    config = artist.vae.config
    device = next(artist.dit.parameters()).device
    cell = config.stride * config.upscale
    shape = (len(prompts), config.z, frames, size[1] // cell, size[0] // cell)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    positions = torch.arange(frames, device=device) + (frames > 1)
    with autocast(device):
        text = artist.text(artist.tokenizer([*prompts, *[""] * len(prompts)]).to(device))
    levels = flow.schedule(steps).to(device)
    for now, following in pairwise(levels):
        sigma = now.expand(len(prompts), frames)
        with autocast(device):
            output = artist.dit(torch.cat([x, x]), 1000 * torch.cat([sigma, sigma]), text, positions)
        prediction = artist.dit.config.prediction
        x0 = flow.to_x0(output.float(), torch.cat([x, x]), torch.cat([sigma, sigma]), prediction)
        given, without = x0.chunk(2)
        x0 = without + 3.0 * (given - without)
        x = flow.step(x, flow.to_velocity(x0, x, sigma, "x0"), sigma, following.expand_as(sigma))
    return x


@torch.no_grad()
def write_sheet(
    path: Path, artist: Artist, size: tuple[int, int], frames: int, prompts: tuple[str, ...] = PROMPTS
) -> None:
    """Each row: a still, then four moments of a clip of `frames` latent frames. Prompts: a .txt beside it."""
    device = next(artist.vae.parameters()).device
    rows = []
    for count in (1, frames):
        latents = draw(artist, prompts, count, size)
        with autocast(device):
            films = torch.cat([artist.vae.decode(latent[None]).float().cpu() for latent in latents])
        moments = [0] if count == 1 else [round(k * (films.shape[2] - 1) / 3) for k in range(4)]
        rows.append(films[:, :, moments])
    pixels = rearrange(torch.cat(rows, 2).clamp(-1, 1), "b c t h w -> (b h) (t w) c")
    image = Image.fromarray(((pixels + 1) * 127.5).round().to(torch.uint8).numpy())
    pen = ImageDraw.Draw(image)
    for row, prompt in enumerate(prompts):
        words = f"{row + 1} {prompt if prompt.isascii() else ''}"  # the built-in font has no Chinese
        pen.text((4, row * size[1] + 2), words, fill="white", stroke_width=1, stroke_fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    path.with_suffix(".txt").write_text(
        "\n".join(f"{i + 1} {p}" for i, p in enumerate(prompts)), encoding="utf-8"
    )
