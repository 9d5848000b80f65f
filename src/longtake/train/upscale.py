"""Training of the upscaler on pairs of small and large renders of the paper theatre.

Half of the small pictures are averages of the large ones, half are what the pocket decoder makes of them; some are
blurred and given noise besides, so that the network does not depend on one decoder. The error is L1 of the pixels
and of their gradients, for both factors at once. Axes: n 3 h w in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.finish.upscale import Upscaler
from longtake.model.device import autocast
from longtake.model.tensorfile import write_safetensors
from longtake.train import finishing, quality
from longtake.train.loop import Budget, Outcome, Pace, Progress, StepResult
from longtake.train.optim import Average, OptimConfig, adamw
from longtake.train.run import Run, RunPlan

FILE = "upscale.safetensors"


@dataclass(frozen=True, kw_only=True)
class UpscalePlan(RunPlan):
    """One run; it renders its pictures into `out` too, and makes `upscale.safetensors`."""

    atlas: Path | None = None
    """Drawings to render with; the larger its tiles, the more there is to learn."""
    scenes: int = 150
    held: int = 16
    batch: int = 12
    rate: float = 2e-3
    gradient: float = 0.5
    """Weight of the gradients' error."""


def train_upscale(plan: UpscalePlan, budget: Budget) -> Outcome:
    """Train, or go on training, and write `<out>/upscale.safetensors`. Raises OutputError, WeightsError."""
    run = Run("upscale", plan, data_on_host=True)
    device, generator = run.device, run.randomness.torch
    network = Upscaler().to(device)
    average = Average({"network": network})
    pairs = finishing.enlarging(finishing.Material(plan.scenes, "train", plan.atlas, plan.seed), plan.out)
    held = finishing.enlarging(finishing.Material(plan.held, "held", plan.atlas, plan.seed), plan.out)
    optimizers = {"adamw": adamw(list(network.parameters()), plan.rate, OptimConfig(weight_decay=0.0))}
    state = run.state({"network": network}, optimizers, average)

    def forward(_share: float) -> StepResult:
        low, target = (part.to(device) for part in draw(pairs, plan.batch, generator))
        with autocast(device):
            features = network.features(low)
            made = {factor: network.head(features, low, factor) for factor in (2, 4)}
        plain = (made[4] - target).abs().mean()
        loss = error(made[4], target, plan.gradient) + error(made[2], F.avg_pool2d(target, 2), plan.gradient)
        return StepResult(loss, len(low), {"l1": plain.detach()})

    def check(_progress: Progress) -> Mapping[str, float]:
        kept = average.modules["network"]
        assert isinstance(kept, Upscaler)
        half = {key: value.half() for key, value in kept.state_dict().items()}
        write_safetensors(plan.out / FILE, half, {})
        return measure(kept, held)

    return run.train(forward, state, budget, check, Pace(warmup=50, shape="cosine"))


def draw(pairs: Mapping[str, Tensor], batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of small pictures [n 3 h w] and their large truths [n 3 4h 4w]."""
    picks = torch.randint(len(pairs["target"]), (batch,), generator=generator)
    kinds = torch.randint(2, (batch,), generator=generator)
    low, target = finishing.floats(pairs["low"][picks, kinds]), finishing.floats(pairs["target"][picks])
    if torch.rand((), generator=generator) < 0.25:
        low = finishing.softened(low, generator)
    if torch.rand((), generator=generator) < 0.25:
        strength = 0.03 * torch.rand((), generator=generator)
        low = low + strength * torch.randn(low.shape, generator=generator)
    low, target = finishing.flipped((low, target), generator)
    return low, target


def error(made: Tensor, truth: Tensor, gradient: float) -> Tensor:
    """L1 of the pixels, and of the differences between neighbours."""
    wrong = made - truth
    edges = wrong.diff(dim=2).abs().mean() + wrong.diff(dim=3).abs().mean()
    return wrong.abs().mean() + gradient * edges


@torch.no_grad()
def measure(network: Upscaler, held: Mapping[str, Tensor]) -> dict[str, float]:
    """PSNR (dB), SSIM and GMSD of the network and of bicubic enlargement on held-out frames at four times."""
    values: dict[str, list[Tensor]] = {}
    for target, lows in zip(held["target"], held["low"], strict=True):
        truth = finishing.floats(target)[None]
        for kind, low in zip(("sharp", "decoded"), finishing.floats(lows), strict=True):
            small = low[None]
            with autocast(small.device):
                made = network(small, finishing.FACTOR)
            plain = F.interpolate(small, scale_factor=4, mode="bicubic", align_corners=False)
            for name, picture in (("network", made), ("bicubic", plain)):
                seen = picture.clamp(-1, 1)
                for what, number in (
                    ("mse", quality.squared_error(seen, truth)),
                    ("ssim", quality.ssim(seen, truth)),
                    ("gmsd", quality.gmsd(seen, truth)),
                ):
                    values.setdefault(f"{kind}_{name}_{what}", []).append(number)
    means = {key: torch.cat(numbers).mean() for key, numbers in values.items()}
    return {
        key.replace("mse", "psnr"): float(quality.psnr(value) if key.endswith("mse") else value)
        for key, value in means.items()
    }
