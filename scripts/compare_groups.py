"""How many frames should one latent hold, and how many numbers? Trains small autoencoders side by side and says.

    longtake train data --kind groups --size 320x192 --out pieces    # what they learn from
    python scripts/compare_groups.py pieces OUT --minutes 6

Each gets the same pieces, crops, widths and minutes. Of two that hold as many numbers a second of film, the one with
fewer tokens costs a transformer less.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from longtake.model.presets import PRESETS
from longtake.train.loop import Budget
from longtake.train.vae import VaePlan, train_vae

CANDIDATES = ((2, 24), (2, 48), (4, 16), (4, 32), (4, 48))
"""(frames in a group, latent channels)"""
FPS = 12


def main(
    data: Annotated[Path, typer.Argument(help="Folder of rendered groups.")],
    out: Annotated[Path, typer.Argument(help="Folder for the runs and table.md.")],
    minutes: Annotated[float, typer.Option(help="Training time of each.")] = 6.0,
    size: Annotated[str, typer.Option(help="Size of the groups.")] = "320x192",
) -> None:
    width, height = map(int, size.split("x"))
    base = PRESETS["pocket"]
    cells = base.grid(width, height)
    lines = [
        "| frames a latent | channels | cells a second | numbers a second | PSNR, dB | on subjects, dB | pieces seen |",
        "|---|---|---|---|---|---|---|",
    ]
    for group, z in CANDIDATES:
        name = f"group{group}-z{z}"
        vae = replace(base.vae, group=group, z=z, mean=(), std=())
        PRESETS[name] = replace(base, vae=vae, dit=replace(base.dit, in_channels=z, out_channels=z))
        plan = VaePlan(
            data=data, out=out / name, preset=name, sizes=((width, height),), batch=8, crop=128, check_minutes=60,
            held=64,
        )  # fmt: skip
        outcome = train_vae(plan, Budget(minutes=minutes))
        tokens = cells[0] * cells[1] * FPS // group
        psnr, subject = outcome.values["psnr"], outcome.values["subject_psnr"]
        cost = f"{tokens:,} | {tokens * z:,}"
        lines.append(
            f"| {group} | {z} | {cost} | {psnr:.2f} | {subject:.2f} | {outcome.progress.samples:,} |"
        )
        (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    typer.echo((out / "table.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
