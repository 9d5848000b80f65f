"""Training of the frame interpolator on the paper theatre, which can be asked for any moment.

Two frames of a 12 fps film and one of the moments between them that 24 and 30 frames a second need; crops, mirrored
and played backwards half of the time. Axes: n 3 h w in [-1, 1], moments 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from longtake.finish.interpolate import Interpolator
from longtake.model.device import autocast
from longtake.model.tensorfile import write_safetensors
from longtake.train import finishing, quality
from longtake.train.loop import (
    STATE_FILE,
    Budget,
    Checkpoint,
    Log,
    Outcome,
    Pace,
    Periodic,
    Progress,
    Randomness,
    StepResult,
    train,
)
from longtake.train.optim import Average, OptimConfig, adamw

FILE = "interpolate.safetensors"


@dataclass(frozen=True)
class InterpolatePlan:
    """One run; `out` takes the rendered moments, checkpoint, log and `interpolate.safetensors`."""

    out: Path
    atlas: Path | None = None
    scenes: int = 300
    held: int = 32
    batch: int = 4
    crop: int = 128
    """Side of the training crops in pixels, a multiple of 8."""
    rate: float = 1.5e-3
    device: str = "cpu"
    seed: int = 0
    check_minutes: float = 5.0
    quiet: bool = False


def train_interpolate(plan: InterpolatePlan, budget: Budget) -> Outcome:
    """Train, or go on training, and write `<out>/interpolate.safetensors`. Raises OutputError, WeightsError."""
    device = torch.device(plan.device)
    torch.manual_seed(plan.seed)
    network = Interpolator().to(device)
    average = Average({"network": network})
    randomness = Randomness(plan.seed, torch.device("cpu"))
    material = finishing.Material(plan.scenes, "train", plan.atlas, plan.seed)
    clips = finishing.interpolating(material, plan.out)["frames"]
    held = finishing.interpolating(finishing.Material(plan.held, "held", plan.atlas, plan.seed), plan.out)
    weights = motion(clips)
    optimizers = {"adamw": adamw(list(network.parameters()), plan.rate, OptimConfig(weight_decay=1e-4))}
    state = Checkpoint(plan.out / STATE_FILE, {"network": network}, optimizers, randomness, average)

    def forward(_share: float) -> StepResult:
        parts = draw(clips, weights, plan.batch, plan.crop, randomness.torch)
        first, second, truth, time = (part.to(device) for part in parts)
        with autocast(device):
            made = network(first, second, time)
        wrong = made - truth
        loss = torch.sqrt(wrong.square() + 1e-6).mean()
        edges = wrong.diff(dim=2).abs().mean() + wrong.diff(dim=3).abs().mean()
        return StepResult(loss + 0.3 * edges, len(first), {"mse": (wrong / 2).square().mean().detach()})

    def check(_progress: Progress) -> Mapping[str, float]:
        kept = average.modules["network"]
        assert isinstance(kept, Interpolator)
        half = {key: value.half() for key, value in kept.state_dict().items()}
        write_safetensors(plan.out / FILE, half, {})
        return measure(kept, held["frames"])

    pace = Pace(warmup=100, shape="cosine")
    log = Log(plan.out, "interpolate", plan.quiet)
    return train(forward, state, budget, pace, log, [Periodic(60 * plan.check_minutes, check)])


def motion(clips: Tensor) -> Tensor:
    """How often to draw each clip [n]: the more blending the outer frames is wrong, the more often."""
    wrong = []
    for clip in clips:
        values = finishing.floats(clip[[0, 3, 6]])
        wrong.append(((values[0] + values[2]) / 2 - values[1]).abs().mean())
    return torch.stack(wrong).sqrt() + 0.01


def draw(
    clips: Tensor, weights: Tensor, batch: int, side: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch: first frames, second frames, truths [n 3 side side] and their moments [n]."""
    picks = torch.multinomial(weights, batch, replacement=True, generator=generator)
    h, w = clips.shape[-2:]
    cuts, times = [], []
    for pick in picks.tolist():
        moment = int(torch.randint(1, len(finishing.MOMENTS) - 1, (), generator=generator))
        y = int(torch.randint(h - side + 1, (), generator=generator))
        x = int(torch.randint(w - side + 1, (), generator=generator))
        order = [0, len(finishing.MOMENTS) - 1, moment]
        time = finishing.MOMENTS[moment] / finishing.MOMENTS[-1]
        if torch.rand((), generator=generator) < 0.5:
            order, time = [order[1], order[0], moment], 1 - time
        cut = finishing.floats(clips[pick, order, :, y : y + side, x : x + side])
        if torch.rand((), generator=generator) < 0.25:
            cut = finishing.softened(cut, generator)
        (cut,) = finishing.flipped((cut,), generator)
        cuts.append(cut)
        times.append(time)
    both = torch.stack(cuts)  # n 3 3 side side
    return both[:, 0], both[:, 1], both[:, 2], torch.tensor(times)


@torch.no_grad()
def measure(network: Interpolator, held: Tensor) -> dict[str, float]:
    """PSNR in dB of the network, of blending and of repeating, half-way between held-out frames (12 -> 24 fps).

    `psnr` pools the error over all clips; `moving` over the half in which most moves.
    """
    errors: dict[str, list[Tensor]] = {"network": [], "blend": [], "repeat": []}
    for clip in held:
        first, truth, last = finishing.floats(clip[[0, 3, 6]])[:, None]
        with autocast(first.device):
            made = network(first, last, torch.tensor([0.5]))
        for name, picture in (("network", made), ("blend", (first + last) / 2), ("repeat", first)):
            errors[name].append(quality.squared_error(picture.clamp(-1, 1), truth))
    pooled = {name: torch.cat(values) for name, values in errors.items()}
    moving = pooled["blend"] >= pooled["blend"].median()
    return {f"{name}_psnr": float(quality.psnr(values.mean())) for name, values in pooled.items()} | {
        f"{name}_moving": float(quality.psnr(values[moving].mean())) for name, values in pooled.items()
    }
