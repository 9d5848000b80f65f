"""Draw the curves of a training run from its logs: python scripts/training_curves.py OUT.svg DIT_LOG [VAE_LOG]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

MEASURED = ("psnr", "subject_psnr", "held_clip_0.3", "held_clip_0.6", "held_clip_0.9", "held_clip_1.0")


def rows(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def curve(log: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """(minutes, value); what is measured now and then is repeated in between and drawn where it changes."""
    minutes, values = [], []
    for row in log:
        if name in row and (name not in MEASURED or not values or row[name] != values[-1]):
            minutes.append(row["seconds"] / 60)
            values.append(row[name])
    return minutes, values


def main(out: Path, dit: Path, vae: Path | None = None) -> None:
    plans = [
        (dit, ("image_loss", "clip_loss", "twin_loss"), "transformer: training loss"),
        (dit, MEASURED[2:], "transformer: held-out error of x0 by noise level"),
    ]
    if vae is not None:
        plans.insert(0, (vae, ("psnr", "subject_psnr"), "autoencoder: PSNR on held-out pieces, dB"))
    figure, panels = pyplot.subplots(1, len(plans), figsize=(4.4 * len(plans), 3.4))
    for panel, (file, names, title) in zip(panels, plans, strict=True):
        log = rows(file)
        for name in names:
            minutes, values = curve(log, name)
            panel.plot(minutes, values, marker="o" if name in MEASURED else None, markersize=3, label=name)
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("minutes on one core")
        panel.legend(frameon=False, fontsize=8)
        if file == dit:
            panel.set_yscale("log")
    figure.savefig(out, bbox_inches="tight")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
