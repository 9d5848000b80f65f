"""Does quality scale with compute? Several sizes of transformer on the same clips, for the same time each.

Held-out loss (squared error of x0, fixed noise) is read at several moments of each run, against the operations
spent: 6 x parameters x tokens. The best loss at each cost is fitted by L = L_inf + a C^-b (Hoffmann et al. 2022,
arXiv:2203.15556, in the form for one variable), and every size draws the same prompts from the same noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longtake.errors import OutputError, RequestError
from longtake.evaluate.report import pyplot
from longtake.model.presets import ModelConfig, parameters
from longtake.train.data import Mixture
from longtake.train.dit import CHECK_SIGMAS, DitPlan, train_dit
from longtake.train.loop import LOG_FILE, Budget

CLIPS = Mixture(early_images=0.0, late_images=0.0, slots=0.0)
"""Whole clips only: every sample costs the same."""


@dataclass(frozen=True)
class ScalingPlan:
    """`presets` trained for `minutes` each on the clips in `data`; everything is written into `out`."""

    data: Path
    vae: Path
    text: Path
    out: Path
    presets: tuple[str, ...] = ("xs", "s", "pocket")
    size: tuple[int, int] = (320, 192)
    minutes: float = 10.0
    batch: int = 16
    points: int = 8
    """Moments at which the held-out loss is read."""
    device: str = "cpu"
    compile: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.presets) < 2:
            raise RequestError("scaling needs at least two presets, for example --presets xs,pocket")


@dataclass(frozen=True)
class Point:
    """One reading of one run."""

    preset: str
    flops: float
    loss: float


@dataclass(frozen=True)
class Fit:
    """L = floor + scale * C^-exponent, C in operations."""

    floor: float
    scale: float
    exponent: float

    def __call__(self, flops: np.ndarray) -> np.ndarray:
        return np.asarray(self.floor + self.scale * flops**-self.exponent)


def run_scaling(plan: ScalingPlan) -> dict[str, Any]:
    """Train every preset (each resumes by itself), then write scaling.json and scaling.svg; returns the JSON."""
    points: list[Point] = []
    for preset in plan.presets:
        out = plan.out / preset
        train_dit(
            DitPlan(
                data=plan.data, out=out, vae=plan.vae, text=plan.text, preset=preset, sizes=(plan.size,),
                mixture=_mixture(plan), device=plan.device, compile=plan.compile, seed=plan.seed,
                check_minutes=plan.minutes / plan.points, decay=0.99,
            ),
            Budget(minutes=plan.minutes),
        )  # fmt: skip
        points += read_points(
            preset, out / LOG_FILE, operations_per_sample(out / "model.safetensors", plan.size) * plan.batch
        )
    best = frontier(points)
    fitted = fit(best)
    result = {
        "points": [vars(point) for point in points],
        "frontier": [vars(point) for point in best],
        "fit": vars(fitted),
        "minutes": plan.minutes,
    }
    try:
        (plan.out / "scaling.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        _plot(points, fitted, plan.out / "scaling.svg")
    except OSError as error:
        raise OutputError(f"cannot write to {plan.out}: {error}; choose another --out") from error
    return result


def _mixture(plan: ScalingPlan) -> Mixture:
    return Mixture(plan.batch, plan.batch, CLIPS.early_images, CLIPS.late_images, slots=CLIPS.slots)


def operations_per_sample(model: Path, size: tuple[int, int]) -> float:
    """Operations to train on one clip: 6 N a token."""
    from longtake.model.checkpoint import load

    config: ModelConfig = load(model).config
    rows, columns = config.grid(*size)
    tokens = config.window * (rows // config.dit.patch[1]) * (columns // config.dit.patch[2])
    return 6.0 * parameters(config)["dit"] * tokens


def read_points(preset: str, log: Path, operations_per_step: float) -> Iterator[Point]:
    """The readings in a run's log: rows whose held-out loss differs from the row before."""
    names = [f"held_clip_{sigma}" for sigma in CHECK_SIGMAS]
    before = None
    for line in log.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if names[0] in row and round(row[names[0]], 5) != before:  # repeated readings are rounded
            before = round(row[names[0]], 5)
            loss = sum(row[name] for name in names) / len(names)
            yield Point(preset, operations_per_step * row["step"], loss)


def frontier(points: Sequence[Point]) -> list[Point]:
    """Points that no cheaper point beats, in order of cost."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.flops, p.loss)):
        if not best or point.loss < best[-1].loss:
            best.append(point)
    return best


def fit(points: Sequence[Point]) -> Fit:
    """Least squares in the logarithm over a grid of floors. Raises RequestError for fewer than three points."""
    if len(points) < 3:
        raise RequestError("a fit needs at least three readings on the frontier; train longer (--minutes)")
    cost = np.log([point.flops for point in points])
    loss = np.array([point.loss for point in points])
    best: tuple[float, Fit] | None = None
    for floor in np.linspace(0, loss.min() * 0.98, 50):
        slope, offset = np.polyfit(cost, np.log(loss - floor), 1)
        error = float(np.square(np.log(loss) - np.log(floor + np.exp(offset + slope * cost))).sum())
        if best is None or error < best[0]:
            best = error, Fit(float(floor), float(np.exp(offset)), float(-slope))
    assert best is not None
    return best[1]


def _plot(points: Sequence[Point], fitted: Fit, path: Path) -> None:
    plots = pyplot()
    figure, axes = plots.subplots(figsize=(7, 4))
    for preset in dict.fromkeys(point.preset for point in points):
        own = [point for point in points if point.preset == preset]
        axes.plot([p.flops for p in own], [p.loss for p in own], marker="o", label=preset)
    cost = np.geomspace(min(p.flops for p in points), max(p.flops for p in points), 50)
    label = f"{fitted.floor:.3f} + {fitted.scale:.3g} C^-{fitted.exponent:.3f}"
    axes.plot(cost, fitted(cost), "k--", linewidth=1, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("operations")
    axes.set_ylabel("held-out loss")
    axes.legend(frameon=False)
    figure.savefig(path, bbox_inches="tight")
    plots.close(figure)
