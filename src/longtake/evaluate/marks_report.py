"""What the suite of marks.py measured, as a table and as curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from longtake.evaluate.adaptive import ADAPTIVE, STRENGTHS
from longtake.evaluate.attacks import ATTACKS, Attack
from longtake.evaluate.material import REAL


def table(results: dict[str, Any]) -> str:
    """The report as Markdown."""
    begun = {name: r for name, r in results.items() if "psnr" in r}
    real = [r for name, r in begun.items() if name in REAL]
    drawn = [r for name, r in begun.items() if name not in REAL]
    everything = real + drawn
    quality = []
    for what, digits in (("PSNR", 2), ("SSIM", 4)):
        values = [r[what.lower()] for r in everything]
        quality.append(f"{what} {np.mean(values):.{digits}f} (lowest {min(values):.{digits}f})")
    highest = max(r["sync_of_unmarked"] for r in everything)
    sync = f"; highest sync of an unmarked clip {highest:.1f} sigma" if highest else ""
    lines = [
        f"{len(everything)} clips ({len(real)} real, {len(drawn)} drawn); {', '.join(quality)}{sync}.",
        "",
        "| attack | bar | bits, real | read, real | bits, drawn | read, drawn | met |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [line for attack in ATTACKS if (line := _line(attack, real, drawn))]
    if not any(r.get("adaptive") for r in everything):
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "| attack that knows the scheme | bits | read | PSNR against what it changed, dB |",
        "|---|---|---|---|",
    ]
    for known in ADAPTIVE:
        rows = [r["adaptive"][known.name] for r in everything if known.name in r.get("adaptive", {})]
        if rows:
            bits, hits, cost = (np.mean([r[k] for r in rows]) for k in ("bits", "hit", "psnr"))
            lines.append(f"| {known.name} | {bits:.3f} | {hits:.3f} | {cost:.1f} |")
    return "\n".join(lines) + "\n"


def _line(attack: Attack, *groups: list[dict[str, Any]]) -> str:
    """Of the real and of the drawn clips bits and read, and which hold the bars by themselves; empty if unmeasured."""
    cells, held, measured = [], [], []
    for kind, group in zip(("real", "drawn"), groups, strict=True):
        rows = [r["rows"][attack.name] for r in group if attack.name in r["rows"]]
        if not rows:
            cells += ["", ""]
            continue
        bits, hits = (float(np.mean([row[k] for row in rows])) for k in ("bits", "hit"))
        cells += [f"{bits:.3f}", f"{hits:.3f}"]
        measured.append(kind)
        if bits >= (attack.bar or 0) and hits >= (attack.hits or 0):
            held.append(kind)
    if not measured:
        return ""
    bar = "report" if attack.bar is None else f"{attack.bar:g}"
    met = "yes" if held == measured else ", ".join(held) or "no"
    return f"| {attack.name} | {bar} | {' | '.join(cells)} | {met} |"


def plot(results: dict[str, Any], file: Path) -> None:
    """Bit accuracy over codec quality, and over the cost of subtracting the film's mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    levels = (23, 28, 34, 40, 50)
    for name, result in results.items():
        colour = "tab:blue" if name in REAL else "tab:orange"
        rows = result["rows"]
        if all(f"x264 CRF {level}" in rows for level in levels):
            left.plot(
                levels, [rows[f"x264 CRF {level}"]["bits"] for level in levels], color=colour, alpha=0.6
            )
        for what, style in (("mean of the film", "o-"), ("mean of ten films", "s--")):
            known = result.get("adaptive", {})
            curve = [known[row] for s in STRENGTHS if (row := f"{what} subtracted {s:g} times") in known]
            right.plot([c["psnr"] for c in curve], [c["bits"] for c in curve], style, color=colour, alpha=0.6)
    left.set(
        xlabel="x264 CRF",
        ylabel="raw bit accuracy",
        title="compression (blue real, orange drawn)",
        ylim=(0.4, 1.02),
    )
    right.set(
        xlabel="PSNR against the marked film, dB",
        title="mean of a film (solid) or of ten (dashed) subtracted",
        ylim=(0.4, 1.02),
    )
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
