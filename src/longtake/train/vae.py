"""Training of the autoencoder on rendered pieces; then its latents' mean and std are frozen into its config.

The encoder sees the frames area-averaged to encoder size, the decoder answers at output size. Trained on
square crops, half of them around the main subject: the network is convolutional, and subjects stay sharp.
Axes: pixels b c t h w in [-1, 1], boxes b t 4 as fractions of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.errors import RequestError
from longtake.model import checkpoint as weights
from longtake.model.device import autocast
from longtake.model.presets import PRESETS, ModelConfig
from longtake.model.vae import VAE
from longtake.train.data import Pieces, shrink
from longtake.train.live import LivePieces, LivePlan
from longtake.train.loop import Budget, Outcome, Pace, Positioned, Progress, StepResult, can_compile
from longtake.train.optim import Average, OptimConfig, muon_for_convolutions
from longtake.train.run import Run, RunPlan

OPTIM = OptimConfig(muon_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.95))
"""At a Muon rate of 4e-3 the loss stayed where it was after a minute; at 2e-3 it falls."""


@dataclass(frozen=True, kw_only=True)
class PixelPlan(RunPlan):
    """What every run on the rendered groups in `data` is told: which pieces, and what an error of a pixel weighs."""

    data: Path
    sizes: tuple[tuple[int, int], ...] | None = None
    """Sizes to train on, (width, height); all of the model by default."""
    batch: int = 16
    crop: int = 160
    """Side of the training crops in output pixels; 0 trains on whole frames."""
    optim: OptimConfig = OPTIM
    gradient: float = 0.2
    temporal: float = 0.2
    """Weights of the two gradient terms; at 0.5 and 1.0 the output stayed grey."""
    subject: float = 3.0
    """Weight of a pixel inside the main subject's box; 1 outside."""
    compile: bool = True
    held: int = 24
    """Held-out pieces of each size that measure PSNR."""
    live: LivePlan | None = None
    """Render what is trained on meanwhile; `data` is then asked for held-out pieces alone."""


@dataclass(frozen=True, kw_only=True)
class VaePlan(PixelPlan):
    """One run of the whole autoencoder; it makes `vae.safetensors`."""

    preset: str = "pocket"
    divergence: float = 1e-5


class Source(Positioned, Protocol):
    """Where pieces come from: frames float [b 3 8 H W] in [-1, 1] and boxes [b 8 4]; sizes take turns."""

    def draw(self, count: int) -> tuple[Tensor, Tensor]: ...


class Objective(nn.Module):
    """Frames in, loss out, in one graph: shrink, encode, sample, decode, compare."""

    def __init__(self, vae: VAE, plan: VaePlan) -> None:
        super().__init__()
        self.vae, self.plan = vae, plan

    def forward(self, frames: Tensor, boxes: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> (loss, plain L1, divergence); noise is b z f h w, in the shape of the latents."""
        mean, logvar = self.vae.encode_raw(shrink(frames, self.vae.config.upscale))
        mean, logvar = mean.float(), logvar.float().clamp(-12, 6)
        made = self.vae.decode(mean + (0.5 * logvar).exp() * noise).float()
        loss, plain = pixel_loss(made, frames, boxes, self.plan)
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return loss + self.plan.divergence * divergence, plain, divergence


def pixel_loss(made: Tensor, frames: Tensor, boxes: Tensor, plan: PixelPlan) -> tuple[Tensor, Tensor]:
    """L1 of the pixels, of their gradients and of what changes in time, subjects weighing more -> (loss, plain L1)."""
    weight = subject_weight(boxes, frames.shape[-2], frames.shape[-1], plan.subject)  # b 1 t h w
    error = made - frames
    loss = weighted_mean(error.abs(), weight)
    loss = loss + plan.gradient * gradient_error(error, weight)
    loss = loss + plan.temporal * weighted_mean(error.diff(dim=2).abs(), weight[:, :, 1:])
    return loss, error.abs().mean()


def weighted_mean(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of `error` (b c ...) under `weight` (b 1 ...)."""
    return (error * weight).mean() / weight.mean()


def gradient_error(error: Tensor, weight: Tensor, scales: int = 3) -> Tensor:
    """L1 of the spatial gradients of the error, mean over scales 1, 1/2, 1/4: edges count, flat areas not."""
    error, weight = (rearrange(v, "b c t h w -> (b t) c h w") for v in (error, weight))
    total = error.new_zeros(())
    for scale in range(scales):
        if scale:
            error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
        total = total + weighted_mean(error.diff(dim=2).abs(), weight[:, :, 1:])
        total = total + weighted_mean(error.diff(dim=3).abs(), weight[..., 1:])
    return total / scales


def subject_weight(boxes: Tensor, height: int, width: int, inside: float) -> Tensor:
    """`inside` within each frame's box, 1 elsewhere, b 1 t h w."""
    y = (torch.arange(height, device=boxes.device) + 0.5) / height
    x = (torch.arange(width, device=boxes.device) + 0.5) / width
    x0, y0, x1, y1 = (edge[..., None] for edge in boxes.unbind(-1))  # b t 1
    rows, columns = (y >= y0) & (y <= y1), (x >= x0) & (x <= x1)
    return 1 + (inside - 1) * (rows[..., :, None] & columns[..., None, :]).float()[:, None]


def crop(frames: Tensor, boxes: Tensor, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cut a square of `side` pixels out of each piece, every second time about its subject; boxes follow."""
    b, _, _, height, width = frames.shape
    if not side or side >= max(height, width):
        return frames, boxes
    size = torch.tensor([min(side, width), min(side, height)])  # x y
    room = torch.tensor([width, height]) - size
    draw = torch.rand(b, 3, generator=generator, device=generator.device).cpu()
    first = boxes[:, 0]
    centre = (first[:, :2] + first[:, 2:]) / 2 * torch.tensor([width, height])
    about = (centre + (draw[:, :2] - 0.5) * size / 2 - size / 2).clamp(min=0).minimum(room)
    follow = (draw[:, 2:] < 0.5) & (first[:, 2:3] > first[:, :1])
    corner = torch.where(follow, about, draw[:, :2] * room).long()  # b 2
    cut = [
        f[..., y : y + size[1], x : x + size[0]] for f, (x, y) in zip(frames, corner.tolist(), strict=True)
    ]
    scale, shift = torch.tensor([width, height]) / size, corner / size
    moved = boxes * scale.repeat(2) - shift.repeat(1, 2)[:, None]
    return torch.stack(cut), moved.clamp(0, 1)


@torch.no_grad()
def psnr(vae: VAE, pieces: Source, batches: int, batch: int, device: torch.device) -> dict[str, float]:
    """PSNR in dB over whole frames and inside the subjects' boxes, pooled over the pieces."""
    errors = torch.zeros(4, dtype=torch.float64)  # whole sum, whole count, subject sum, subject count
    for _ in range(batches):
        frames, boxes = pieces.draw(batch)
        with autocast(device):
            mean, _ = vae.encode_raw(shrink(frames.to(device), vae.config.upscale))
            made = vae.decode((mean.float() - vae.mean) / vae.std)
        frames = frames.cpu()
        error = ((made.float().cpu().clamp(-1, 1) - frames) / 2).square()
        inside = subject_weight(boxes, frames.shape[-2], frames.shape[-1], 2.0) - 1
        errors += torch.stack(
            [error.sum(), torch.tensor(error.numel()), (error * inside).sum(), inside.sum() * 3]
        ).double()
    whole, subject = errors[0] / errors[1], errors[2] / errors[3].clamp(min=1)
    return {
        "psnr": -10 * torch.log10(whole.clamp(min=1e-10)).item(),
        "subject_psnr": -10 * torch.log10(subject.clamp(min=1e-10)).item(),
    }


@torch.no_grad()
def latent_statistics(
    vae: VAE, pieces: Source, batches: int, batch: int, device: torch.device
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of each raw latent channel over data: what the config freezes."""
    parts = []
    for _ in range(batches):
        frames, _ = pieces.draw(batch)
        with autocast(device):
            mean, _ = vae.encode_raw(shrink(frames.to(device), vae.config.upscale))
        parts.append(rearrange(mean.float().cpu(), "b z f h w -> z (b f h w)"))
    values = torch.cat(parts, 1)
    std = values.std(1).clamp(min=1e-3)
    return tuple(reduce(values, "z n -> z", "mean").tolist()), tuple(std.tolist())


def train_vae(plan: VaePlan, budget: Budget) -> Outcome:
    """Train, or go on training, and write `<out>/vae.safetensors` with frozen statistics.

    Raises RequestError for an unknown preset or missing data, OutputError when `out` cannot be written.
    """
    config = preset(plan.preset)
    run = Run("vae", plan)
    device, randomness = run.device, run.randomness
    vae = VAE(config.vae).to(device)
    average = Average({"vae": vae})
    sizes = plan.sizes or config.sizes
    pieces = pieces_of(plan, sizes, device)
    optimizers = muon_for_convolutions(vae, plan.optim)
    state = run.state({"vae": vae}, optimizers, average, pieces, {"vae": asdict(config.vae)})
    objective = Objective(vae, plan)
    compiled = torch.compile(objective, dynamic=False) if plan.compile and can_compile(device) else objective

    def forward(_share: float) -> StepResult:
        frames, boxes = crop(*pieces.draw(plan.batch), plan.crop, randomness.torch)
        grid = [edge // (config.vae.stride * config.vae.upscale) for edge in frames.shape[-2:]]
        shape = (len(frames), config.vae.z, frames.shape[2] // config.vae.group, *grid)
        noise = torch.randn(shape, generator=randomness.torch, device=device)
        with autocast(device):
            loss, plain, divergence = compiled(
                frames.to(device, non_blocking=True), boxes.to(device, non_blocking=True), noise
            )
        return StepResult(loss, len(frames), {"l1": plain.detach(), "divergence": divergence.detach()})

    def check(_progress: Progress) -> Mapping[str, float]:
        kept = average.modules["vae"]
        assert isinstance(kept, VAE)
        held = Pieces(plan.data, sizes, "held", 0)
        batch = min(8, plan.held)
        values = psnr(kept, held, len(sizes) * max(1, plan.held // batch), batch, device)
        export(kept, config, plan, pieces, device, values)
        return values

    return run.train(forward, state, budget, check, Pace(warmup=30, shape="cosine"))


def pieces_of(plan: PixelPlan, sizes: Sequence[tuple[int, int]], device: torch.device) -> Source:
    """What a run trains on: pieces that were rendered, or that are rendered now."""
    if plan.live is None:
        return Pieces(plan.data, sizes, "train", plan.seed)
    return LivePieces(plan.live, sizes, device, plan.seed)


def export(
    vae: VAE,
    config: ModelConfig,
    plan: VaePlan,
    trained_on: Source,
    device: torch.device,
    extra: Mapping[str, float],
) -> None:
    """Write the averaged weights with their latent statistics: a finished, loadable VAE."""
    sizes = plan.sizes or config.sizes
    pieces = Pieces(plan.data, sizes, "train", 1) if plan.live is None else trained_on
    mean, std = latent_statistics(vae, pieces, 8 * len(sizes), 8, device)
    frozen = replace(config.vae, mean=mean, std=std)
    finished = VAE(frozen)
    finished.load_state_dict({k: v.cpu() for k, v in vae.state_dict().items() if k in finished.state_dict()})
    weights.save(
        plan.out / "vae.safetensors", {"vae": finished}, replace(config, vae=frozen), extra=dict(extra)
    )


def preset(name: str) -> ModelConfig:
    """The preset of this name; RequestError lists the valid ones."""
    if name not in PRESETS:
        raise RequestError(f"unknown preset {name!r}; choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]
