"""Further training of a finished model's decoder, while its encoder and its latents stay what they are.

The transformer was trained on those latents, so it stays valid, and the decoder may learn for as long as there is
time. It learns three things that the first training of the autoencoder (vae.py) leaves out: to decode latents that
are a little off, as sampled ones are; to be as sharp as the pictures are and not only right on average, from an
adversary that sees eight frames at once, so that flicker is found out as well; and what that adversary looks at.

The adversary is PatchGAN's (Isola et al. 2017, arXiv:1611.07004) with the hinge loss, spectral norms (Miyato et al.
2018, arXiv:1802.05957) and feature matching (Wang et al. 2018, arXiv:1711.11585). Its gradient at the pixels is
scaled to a fixed share of that of the other terms, as Esser et al. (2021, arXiv:2012.09841) do at the last layer.
Axes: pixels b c t h w in [-1, 1], latents b z f h w.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from longtake.model import checkpoint as weights
from longtake.model.checkpoint import Models
from longtake.model.device import autocast
from longtake.model.vae import VAE
from longtake.train.data import PIECE, Pieces, shrink
from longtake.train.loop import Budget, Outcome, Pace, Progress, StepResult, can_compile
from longtake.train.optim import Average, OptimConfig, adamw, muon_for_convolutions
from longtake.train.run import Run
from longtake.train.vae import PixelPlan, crop, pieces_of, pixel_loss, psnr

OPTIM = OptimConfig(muon_rate=1.5e-3, adam_rate=5e-4, weight_decay=0.0, betas=(0.9, 0.95))
ADVERSARY_OPTIM = OptimConfig(adam_rate=2e-4, weight_decay=0.0, betas=(0.5, 0.9))


@dataclass(frozen=True, kw_only=True)
class DecoderPlan(PixelPlan):
    """One run of a decoder alone; it makes `model.safetensors`, which is `model` with another decoder."""

    model: Path
    """A finished model, or an autoencoder alone."""
    crop: int = 128
    optim: OptimConfig = OPTIM
    noise: float = 0.3
    """Every second sample's latents are off by noise of up to this standard deviation."""
    matching: float = 2.0
    """Weight of the adversary's features."""
    adversary: float = 0.5
    """Norm of the adversary's gradient at the pixels, over that of all other terms."""
    quiet_share: float = 0.25
    """Share of the run before there is an adversary."""


class Adversary(nn.Module):
    """Says of each patch of a piece whether it is real: b 3 PIECE h w -> (b 1 h/8 w/8, features of each layer)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        shapes = ((12 * PIECE, width, 3, 1), (width, 2 * width, 4, 2), (2 * width, 3 * width, 4, 2))
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, kernel, stride, padding=1))
            for before, after, kernel, stride in shapes
        )
        self.last = spectral_norm(nn.Conv2d(3 * width, 1, 3, padding=1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = F.pixel_unshuffle(rearrange(frames, "b c t h w -> b (t c) h w"), 2)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.last(x), features


class Reconstruction(nn.Module):
    """Latents and the frames they stand for -> the decoded frames."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, frames: Tensor, noise: Tensor, strength: Tensor) -> Tensor:
        """Noise b z f h w is added to the unit-scaled latents, `strength` (b) of it."""
        with torch.no_grad():
            latents = self.vae.encode(shrink(frames, self.vae.config.upscale)).float()
        return self.vae.decode(latents + strength[:, None, None, None, None] * noise)


def train_decoder(plan: DecoderPlan, budget: Budget) -> Outcome:
    """Train, or go on training, the decoder of `plan.model` and write `<out>/model.safetensors`.

    Raises WeightsError for a file without an autoencoder, RequestError for missing data, OutputError when `out`
    cannot be written.
    """
    run = Run("decoder", plan)
    device, randomness = run.device, run.randomness
    models = weights.load(plan.model, device, dtype=torch.float32)
    vae = models.vae.train().requires_grad_(False)
    vae.decoder.requires_grad_(True)
    judge = Adversary().to(device)
    average = Average({"vae": vae}, 0.998)
    sizes = plan.sizes or models.config.sizes
    pieces = pieces_of(plan, sizes, device)
    optimizers = muon_for_convolutions(vae, plan.optim)
    optimizers["adversary"] = adamw(list(judge.parameters()), ADVERSARY_OPTIM.adam_rate, ADVERSARY_OPTIM)
    state = run.state({"vae": vae, "adversary": judge}, optimizers, average, pieces)
    rebuild = Reconstruction(vae)
    compiled = torch.compile(rebuild, dynamic=False) if plan.compile and can_compile(device) else rebuild

    def forward(share: float) -> StepResult:
        frames, boxes = crop(*pieces.draw(plan.batch), plan.crop, randomness.torch)
        frames = frames.to(device, non_blocking=True)
        b, _, t, height, width = frames.shape
        config = vae.config
        cell = config.stride * config.upscale
        grid = (b, config.z, t // config.group, height // cell, width // cell)
        noise = torch.randn(grid, generator=randomness.torch, device=device)
        draw = torch.rand(2, b, generator=randomness.torch, device=device)
        strength = plan.noise * draw[0] * (draw[1] < 0.5)
        with autocast(device):
            made = compiled(frames, noise, strength).float()
        own, plain = pixel_loss(made, frames, boxes.to(device), plan)
        values = {"l1": plain.detach()}
        if share < plan.quiet_share:
            return StepResult(own, b, values)
        fooled, matched, judged = _adversary_terms(made, frames, judge)
        ramp = min(1.0, (share - plan.quiet_share) / 0.1)
        loss = _pulled(made, own + plan.matching * matched, fooled, plan.adversary * ramp)
        return StepResult(loss + judged, b, values | {"matching": matched.detach(), "judge": judged.detach()})

    def check(_progress: Progress) -> Mapping[str, float]:
        kept = average.modules["vae"]
        assert isinstance(kept, VAE)
        held = Pieces(plan.data, sizes, "held", 0)
        batch = min(8, plan.held)
        values = psnr(kept, held, len(sizes) * max(1, plan.held // batch), batch, device)
        export(kept, models, plan.out / "model.safetensors")
        return values

    return run.train(forward, state, budget, check, Pace(warmup=30, shape="cosine", clip=10.0))


def _adversary_terms(made: Tensor, frames: Tensor, judge: Adversary) -> tuple[Tensor, Tensor, Tensor]:
    """-> (what the decoder loses by being found out, distance of features, the adversary's own loss).

    The first two move the decoder alone, the third the adversary alone, so that one backward pass serves both.
    """
    with autocast(made.device):
        verdict, features = judge(torch.cat([frames, made.detach()]))
        true, false = verdict.float().chunk(2)
        frozen = {name: value.detach() for name, value in judge.named_parameters()}
        buffers = dict(judge.named_buffers())
        judge.eval()  # no power iteration twice a step
        opinion, seen = functional_call(judge, frozen | buffers, (made,))
        judge.train()
    judged = F.relu(1 - true).mean() + F.relu(1 + false).mean()
    matched = torch.stack([
        F.l1_loss(of_made.float(), of_all[: len(frames)].detach().float())
        for of_made, of_all in zip(seen, features, strict=True)
    ]).mean()  # fmt: skip
    return -opinion.float().mean(), matched, judged


def _pulled(made: Tensor, loss: Tensor, fooled: Tensor, share: float) -> Tensor:
    """`loss`, whose gradient at `made` has that of `fooled` added, scaled to `share` of its own norm.

    Both gradients end at the pixels, so the adversary is walked back through once for each and not once more.
    """
    (own,) = torch.autograd.grad(loss, made, retain_graph=True)
    (pull,) = torch.autograd.grad(fooled, made)
    gradient = own + pull * (share * own.norm() / pull.norm().clamp(min=1e-12))
    carried: Tensor = (made * gradient).sum()
    return loss.detach() + (carried - carried.detach())


def export(vae: VAE, models: Models, path: Path) -> None:
    """Write the model with this autoencoder; what else is in it stays as it was."""
    parts: dict[str, nn.Module] = {
        part: getattr(models, part) for part in ("dit", "text") if part in models.parts
    }
    tokenizer = models.tokenizer.to_json() if "tokenizer" in models.parts else None
    weights.save(path, parts | {"vae": vae}, models.config, tokenizer, extra=models.extra)
