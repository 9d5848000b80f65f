"""An evaluation as files: report.json, and an HTML page with tables, plots and clips that play.

Plots are SVG inside the page, clips are marked mp4 files beside it; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import html
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from einops import rearrange

from longtake.errors import LongtakeError, OutputError
from longtake.provenance.marking import Marks
from longtake.request import build_request
from longtake.video import Writer

if TYPE_CHECKING:
    from longtake.evaluate.clips import Clip, Table
    from longtake.evaluate.pocket import Result

SETS = ("renders", "reconstructions", "generated", "shuffled")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c22; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; } video { width: 100%; border-radius: 6px; } figcaption { font-size: .85rem; }
"""


def write_report(result: Result, folder: Path) -> Path:
    """Write report.json, index.html and the clips into `folder`; returns the page. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(
            json.dumps(result.as_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        shown = [
            (f"clip-{number:02d}.mp4", clip) for number, clip in enumerate(result.clips) if len(clip.film)
        ]
        for number, (name, clip) in enumerate(shown):
            write_clip(clip, folder / name, number, str(result.about.get("weights", "")))
        page = folder / "index.html"
        page.write_text(_page(result, shown), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report to {folder}: {error}; choose another --out") from error
    return page


def write_clip(clip: Clip, path: Path, seed: int, weights: str) -> None:
    """A generated clip as an mp4 with all marks of a film."""
    frames = rearrange(clip.film, "t c h w -> t h w c").numpy()
    height, width = frames.shape[1:3]
    request = build_request(prompt=clip.caption, size=f"{width}x{height}", fps=12, seed=seed)
    marks = Marks(request, weights, clip.caption)
    writer = Writer(path, width, height, 12, marks.tags)
    try:
        for frame in frames:
            writer.write(marks.apply(frame, writer.frames / 12))
        writer.finish()
        marks.seal(path, path.name)
    except BaseException:
        writer.abandon()
        raise


def _page(result: Result, shown: list[tuple[str, Clip]]) -> str:
    about = "".join(f"<li>{html.escape(str(k))}: {html.escape(str(v))}</li>" for k, v in result.about.items())
    psnr = "".join(f"<li>{html.escape(k)}: {v} dB</li>" for k, v in result.psnr.items())
    films = "".join(
        f'<figure><video src="{name}" controls loop muted preload="metadata"></video>'
        f"<figcaption>{html.escape(clip.caption)}</figcaption></figure>"
        for name, clip in shown
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Longtake: evaluation of the pocket model</title>
<style>{_STYLE}</style>
<h1>Evaluation of the pocket model</h1>
<ul>{about}</ul>
<h2>Questions</h2>
<p>Share of held-out scenes for which what the words ask is seen in the pixels. Renders are the ceiling, shuffled
captions are chance.</p>
{_table(result.table)}
{_bars(result.table)}
<h2>Autoencoder</h2><ul>{psnr}</ul>
<h2>Special questions</h2>
<p>Each asked of scenes chosen for it. For the colour of the memory, shuffled is how often another colour is found; for
the own film, a second shot that remembers nothing.</p>
{_special(result)}
<h2>One-minute takes</h2>{_drift(result)}
<h2>Clips</h2><div class="clips">{films}</div>
</html>
"""


def _special(result: Result) -> str:
    if not result.probes:
        return "<p>Not asked.</p>"
    head = ("measured over the stage's own", *SETS, "asked")
    rows = []
    for measure, row in result.physics.items():
        cells = [
            f"{_share(ratio.near)} near, median {_plain(ratio.median)}, {_share(ratio.measurable)} measurable"
            for ratio in (row[name] for name in SETS)
        ]
        rows.append(
            "<tr>" + "".join(f"<td>{c}</td>" for c in (measure, *cells, row["renders"].asked)) + "</tr>"
        )
    near: Table = {
        measure: {name: (ratio.near, ratio.asked) for name, ratio in row.items()}
        for measure, row in result.physics.items()
    }
    return (
        f"{_table(result.probes)}<table><tr>{_heads(head)}</tr>{''.join(rows)}</table>"
        "<p>Near: within half of the stage's own value.</p>" + _bars(result.probes | near)
    )


def _table(table: Table) -> str:
    head = ("question", *SETS, "asked", "of ceiling")
    rows = "".join(_row(question, sets) for question, sets in table.items())
    return f"<table><tr>{_heads(head)}</tr>{rows}</table>"


def _heads(names: Sequence[str]) -> str:
    return "".join(f"<th>{name}</th>" for name in names)


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _row(question: str, sets: dict[str, tuple[float, int]]) -> str:
    values = [sets[name][0] if name in sets else math.nan for name in SETS]
    ceiling = values[0]
    relative = values[2] / ceiling if ceiling and not math.isnan(ceiling) else math.nan
    cells = [question, *map(_share, values), str(sets["generated"][1]), _share(relative)]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _bars(table: Table) -> str:
    """Grouped bars of all questions, as SVG."""
    figure, axes = pyplot().subplots(figsize=(10, 3.4))
    for offset, name in enumerate(SETS):
        shares = [row.get(name, (math.nan, 0))[0] for row in table.values()]
        heights = [0.0 if math.isnan(share) else 100 * share for share in shares]
        axes.bar([i + 0.2 * (offset - 1.5) for i in range(len(table))], heights, 0.2, label=name)
    axes.set_xticks(range(len(table)), list(table), rotation=20, ha="right")
    axes.set_ylabel("% of clips")
    axes.legend(ncols=4, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.16), frameon=False)
    return _svg(figure)


def _drift(result: Result) -> str:
    if not result.drift:
        return "<p>Not measured.</p>"
    figure, axes = pyplot().subplots(figsize=(6, 3))
    for question, row in result.drift.items():
        axes.plot(list(row), [100 * v for v in row.values()], marker="o", label=question)
    axes.set_xlabel("seconds into the take")
    axes.set_ylabel("% of takes")
    axes.set_ylim(-5, 105)
    axes.legend(fontsize="small", frameon=False)
    return _svg(figure)


def pyplot() -> Any:
    """matplotlib's pyplot, writing SVG. Raises LongtakeError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise LongtakeError('plots need matplotlib: pip install "longtake[eval]"') from error
    matplotlib.use("svg")
    from matplotlib import pyplot as plots

    return plots


def _svg(figure: Any) -> str:
    target = io.StringIO()
    figure.savefig(target, format="svg", bbox_inches="tight")
    pyplot().close(figure)
    return target.getvalue().partition("<svg")[1] + target.getvalue().partition("<svg")[2]
