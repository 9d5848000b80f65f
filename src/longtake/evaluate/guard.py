"""Does the guard refuse what was made here, and only that?

Own films, with every mark they get, are sent on as a messenger does: half the size, x264 at CRF 28, no metadata. Then
the decision of `longtake curate` is asked, which has the pixel mark and the label left to go by. Most of the films are
drawn scenes of the paper theatre, because the model takes longer than everything else together. Real clips, which
carry no mark, go through the same decision in pieces; and their frames, cut at random, are searched for the label.
Writes guard.json after every film, so that a run that was cut goes on.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from longtake.curate.guard import admit
from longtake.evaluate.attacks import FPS, Frames, encoded, scale
from longtake.evaluate.material import REAL, drawn_clip, grey, real_clip
from longtake.provenance import label
from longtake.provenance.evidence import WINDOW
from longtake.provenance.marking import Marks
from longtake.provenance.verify import verify
from longtake.request import Request
from longtake.video import Frame, read_frames

CRF, SMALLER = 28, 0.5
CONFIDENCE = 0.95


@dataclass(frozen=True)
class GuardPlan:
    """So many drawn films, and so many made by `model`, of this size and length; `looks` for the label; of each real
    clip at most `real` seconds, `short` pixels on the shorter side."""

    out: Path
    films: int = 1000
    made: int = 100
    size: str = "640x360"
    seconds: float = 2.0
    model: str = "pocket-fast"
    looks: int = 10_000
    real: float = 60.0
    short: int = 360


def evaluate(plan: GuardPlan) -> Iterator[tuple[str, float]]:
    """Run, yielding (what is done, share done). Raises MissingExtraError without the real clips."""
    plan.out.mkdir(parents=True, exist_ok=True)
    file = plan.out / "guard.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if "labels" not in kept:
        kept["labels"] = _labels(plan)
    with TemporaryDirectory() as folder:
        for done, (name, share) in enumerate(
            chain(_own(plan, kept, Path(folder)), _real(plan, kept, Path(folder)))
        ):
            if done % 10 == 0:
                _write(file, kept)
            yield name, share
    _write(file, kept)
    (plan.out / "guard.md").write_text(table(kept), encoding="utf-8")


def _write(file: Path, kept: dict[str, Any]) -> None:
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    beside.replace(file)


def _own(plan: GuardPlan, kept: dict[str, Any], folder: Path) -> Iterator[tuple[str, float]]:
    count = plan.made + plan.films
    for number in range(count):
        kind, seed = ("made", number) if number < plan.made else ("drawn", number - plan.made)
        rows = kept.setdefault(kind, {})
        if str(seed) not in rows:
            copy = folder / "copy.mp4"
            frames = _made(plan, seed, folder) if kind == "made" else _drawn(plan, seed)
            copy.write_bytes(encoded(scale(frames, SMALLER), "libx264", CRF, "mp4"))
            rows[str(seed)] = _asked(copy)
        yield f"{kind} film {seed}", (number + 1) / count


def _drawn(plan: GuardPlan, seed: int) -> Frames:
    """A scene of the theatre with the label and the pixel mark of a film of its own."""
    request = Request(prompt=f"theatre {seed}", size=plan.size, seed=seed, seconds=plan.seconds)
    marks = Marks(request, "paper theatre", request.prompt)
    frames = drawn_clip(seed, round(plan.seconds * FPS), request.height, request.width)
    return [marks.apply(frame, t / FPS) for t, frame in enumerate(frames)]


def _made(plan: GuardPlan, seed: int, folder: Path) -> Frames:
    """A film of the model, as it leaves this machine."""
    import longtake
    from longtake.world.captions import full_caption
    from longtake.world.sampler import PRESETS, sample_scene

    prompt = full_caption(sample_scene(random.Random(seed), PRESETS["pocket"]), ("en", "zh")[seed % 2])
    file = folder / "film.mp4"
    longtake.make(
        prompt, file, model=plan.model, size=plan.size, seconds=plan.seconds, seed=seed, sound=False
    )
    return list(read_frames(file))


def _real(plan: GuardPlan, kept: dict[str, Any], folder: Path) -> Iterator[tuple[str, float]]:
    """Pieces of half a second, first whole, then in quarters."""
    rows = kept.setdefault("real", {})
    clips = {name: real_clip(name, plan.real, plan.short) for name in REAL}
    for part in range(5):
        for name, frames in clips.items():
            for start in range(0, len(frames) - WINDOW + 1, WINDOW):
                said = f"{name} {start} {('whole', *'1234')[part]}"
                if said not in rows:
                    copy = folder / "piece.mp4"
                    piece = [_part(frame, part) for frame in frames[start : start + WINDOW]]
                    copy.write_bytes(encoded(piece, "libx264", 18, "mp4"))
                    rows[said] = _asked(copy)
                yield said, part / 5


def _part(frame: Frame, part: int) -> Frame:
    """All of it, or a quarter."""
    if not part:
        return frame
    height, width = (n // 2 for n in frame.shape[:2])
    y, x = divmod(part - 1, 2)
    return frame[y * height : (y + 1) * height, x * width : (x + 1) * width]


def _asked(file: Path) -> dict[str, Any]:
    """The guard's decision, and where the pixel mark decided, whether the label would have alone."""
    entry = admit(file)
    seen = entry.signal == "visible label"
    if entry.signal == "pixel mark":
        signals = verify(file, pixel=False).signals
        seen = next(signal.found for signal in signals if signal.name == "visible label")
    return {"refused": entry.decision == "rejected", "pixel": entry.signal == "pixel mark", "label": seen}


def _labels(plan: GuardPlan) -> dict[str, float]:
    """How often a random cut of a real frame seems to carry the label."""
    rng = np.random.default_rng(0)
    frames = [grey(frame) for name in REAL for frame in real_clip(name, plan.real, plan.short)]
    scores = [label.match(_cut(frames[i], rng)) for i in rng.integers(len(frames), size=plan.looks)]
    return {
        "looks": len(scores),
        "seen": sum(score >= label.MATCH for score in scores),
        "highest": max(scores),
    }


def _cut(frame: Frame, rng: np.random.Generator) -> Frame:
    """From a part of 40 % up to all of it."""
    height, width = frame.shape
    h, w = round(height * rng.uniform(0.4, 1)), round(width * rng.uniform(0.4, 1))
    y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
    return frame[y : y + h, x : x + w]


def table(kept: dict[str, Any]) -> str:
    """What was counted, with the bounds of Clopper & Pearson (1934)."""
    lines = [
        "| what | files | refused | by the pixel mark | label seen | refused at least |",
        "|---|---|---|---|---|---|",
    ]
    for kind, what in (("made", "films by the model"), ("drawn", "films drawn on the theatre")):
        rows = list(kept.get(kind, {}).values())
        if rows:
            refused, pixel, seen = (sum(r[k] for r in rows) for k in ("refused", "pixel", "label"))
            bound = 1 - at_most(len(rows) - refused, len(rows))
            lines.append(f"| {what} | {len(rows)} | {refused} | {pixel} | {seen} | {bound:.2%} |")
    rows = list(kept.get("real", {}).values())
    if rows:
        refused, pixel, seen = (sum(r[k] for r in rows) for k in ("refused", "pixel", "label"))
        bound = at_most(refused, len(rows))
        lines += [
            "",
            f"Pieces of real clips: {len(rows)}, refused {refused} (at most {bound:.2%} of such pieces).",
        ]
    looks, seen, highest = (kept["labels"][k] for k in ("looks", "seen", "highest"))
    lines.append(
        f"Cuts of real frames searched for the label: {looks}, seen in {seen} (at most {at_most(seen, looks):.3%}), "
        f"highest correlation {highest:.2f} ({label.MATCH:g} counts)."
    )
    return "\n".join(lines) + "\n"


def at_most(events: int, trials: int) -> float:
    """The largest chance with which so few events are not yet unlikely (Clopper & Pearson 1934, one-sided)."""
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(events, trials, middle) > 1 - CONFIDENCE else (low, middle)
    return high


def _chance(events: int, trials: int, p: float) -> float:
    """Of `events` or fewer."""
    if not 0 < p < 1:
        return float(p <= 0 or events >= trials)
    ways = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(p) + (trials - k) * math.log1p(-p)
        for k in range(events + 1)
    )  # fmt: skip
    return sum(map(math.exp, ways))
