"""What `evaluate.collapse` found, as JSON, a figure and a sheet of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from longtake.errors import OutputError
from longtake.evaluate.collapse import (
    HEIGHT,
    MIXES,
    WIDTH,
    CollapsePlan,
    Pictures,
    Row,
    kept_pictures,
    real_pictures,
)
from longtake.evaluate.report import pyplot

MEASURES = {
    "frechet": "Fréchet distance (lower is better)",
    "diversity": "diversity, real = 1",
    "recall": "recall",
}
_COLOURS = {"clean": "C0", "half": "C2", "most": "C1", "replace": "C3"}
_ACROSS, _DOWN, _ZOOM, _GAP, _LEFT, _TOP = 4, 3, 3, 8, 96, 18
_SHOWN = (("clean", False), ("replace", False), ("most", False), ("most", True), ("replace", True))


def write_collapse(plan: CollapsePlan, rows: Sequence[Row]) -> dict[str, Any]:
    """Write collapse.json, collapse.svg and sheet.png into the plan's folder; returns the JSON. Raises OutputError."""
    result = {"settings": plan.settings(), "mean": means(rows), "rows": [asdict(row) for row in rows]}
    try:
        (plan.out / "collapse.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        sheet(plan).save(plan.out / "sheet.png")
        _plot(rows, plan.out / "collapse.svg")
    except OSError as error:
        raise OutputError(f"cannot write to {plan.out}: {error}; choose another --out") from error
    return result


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds of every measure, for each mix, guard and generation."""
    table = []
    for mix, guard, generation in dict.fromkeys((r.mix, r.guard, r.generation) for r in rows):
        own = [r for r in rows if (r.mix, r.guard, r.generation) == (mix, guard, generation)]
        line: dict[str, Any] = {"mix": mix, "guard": guard, "generation": generation, "seeds": len(own)}
        for name in (*MEASURES, "precision", "trained_on", "real", "refused"):
            values = [float(getattr(row, name)) for row in own]
            line[name] = [round(float(np.mean(values)), 4), round(float(np.std(values)), 4)]
        table.append(line)
    return table


def table(rows: Sequence[Row]) -> str:
    """First and last generation as Markdown, means over the seeds."""
    last = max(row.generation for row in rows)
    lines = [
        "| mix | guard | generation | trained on | of them real | Fréchet | diversity | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in means(rows):
        if line["generation"] not in (1, last) or (line["generation"] == 1 and line != means(rows)[0]):
            continue
        chain = (
            ("all", "either") if line["generation"] == 1 else (line["mix"], "on" if line["guard"] else "off")
        )
        counts = [f"{line[name][0]:.0f}" for name in ("trained_on", "real")]
        values = [f"{line[name][0]:.3f}" for name in MEASURES]
        if line["seeds"] > 1:
            values = [f"{mean} ± {line[name][1]:.3f}" for mean, name in zip(values, MEASURES, strict=True)]
        lines.append("| " + " | ".join([*chain, str(line["generation"]), *counts, *values]) + " |")
    return "\n".join(lines)


def sheet(plan: CollapsePlan) -> Image.Image:
    """Pictures of the first seed: a row of real ones, then one a chain, generations as columns."""
    held = real_pictures(plan, 0)[1]
    each = _ACROSS * _DOWN
    rows = [("real", [held[i * each : (i + 1) * each] for i in range(plan.generations)])]
    for mix, guard in _SHOWN:
        keys = [(0, mix, guard, n) for n in range(1, plan.generations + 1)]
        rows.append(
            (f"{mix}{' guarded' if guard else ''}", [kept_pictures(plan, key)[:each] for key in keys])
        )
    width, height = _ACROSS * WIDTH * _ZOOM + _GAP, _DOWN * HEIGHT * _ZOOM + _GAP
    page = Image.new("RGB", (_LEFT + plan.generations * width, _TOP + len(rows) * height), (18, 18, 22))
    pen = ImageDraw.Draw(page)
    for column in range(plan.generations):
        pen.text((_LEFT + column * width, 3), f"generation {column + 1}", fill=(235, 235, 235))
    for i, (name, blocks) in enumerate(rows):
        pen.text((4, _TOP + i * height + 2), name, fill=(235, 235, 235))
        for column, block in enumerate(blocks):
            page.paste(_mosaic(block), (_LEFT + column * width, _TOP + i * height))
    return page


def _mosaic(pictures: Pictures) -> Image.Image:
    page = Image.new("RGB", (_ACROSS * WIDTH, _DOWN * HEIGHT))
    for i, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (i % _ACROSS * WIDTH, i // _ACROSS * HEIGHT))
    return page.resize((page.width * _ZOOM, page.height * _ZOOM), Image.Resampling.NEAREST)


def _plot(rows: Sequence[Row], path: Path) -> None:
    plots = pyplot()
    with plots.rc_context({"svg.fonttype": "none"}):  # text stays text: a quarter of the size
        figure, panels = plots.subplots(1, len(MEASURES), figsize=(12, 3.6))
        lines = means(rows)
        for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
            for mix in MIXES:
                for guard in (False, True):
                    own = [line for line in lines if line["mix"] == mix and line["guard"] == guard]
                    x = [line["generation"] for line in own]
                    y, spread = (np.array([line[measure][i] for line in own]) for i in (0, 1))
                    style, name = ("--", "guard on") if guard else ("-", "guard off")
                    axes.plot(x, y, style, color=_COLOURS[mix], marker=".", label=f"{mix}, {name}")
                    axes.fill_between(x, y - spread, y + spread, color=_COLOURS[mix], alpha=0.12, linewidth=0)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("generation")
            axes.set_xticks(sorted({line["generation"] for line in lines}))
        panels[0].set_yscale("log")
        panels[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plots.close(figure)
