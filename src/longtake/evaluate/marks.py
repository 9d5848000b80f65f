"""How well the pixel mark holds: real and drawn clips, every attack of attacks.py, and those of adaptive.py.

Writes marks.json after every attack, so that a run that was cut goes on where it was, and marks.md with the table after
every clip; at the end, where matplotlib is installed, marks.png with the curves. Bit accuracy is of the 127 raw bits
before any is mended; a film counts as recognised when its exact 64 bits come out (docs/marks.md says how seldom that
happens by chance).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from longtake.errors import RequestError
from longtake.evaluate import rivagan
from longtake.evaluate.adaptive import ADAPTIVE, IDENT, KEY, marked
from longtake.evaluate.attacks import ATTACKS, Frames
from longtake.evaluate.fidelity import psnr, ssim
from longtake.evaluate.marks_report import plot, table
from longtake.evaluate.material import clip, clip_name, grey
from longtake.provenance import payload
from longtake.provenance.detect import Reading, detect
from longtake.provenance.evidence import windows
from longtake.provenance.keys import KeyRing

CUNNING = 12
"""Clips on which the attacks of adaptive.py run, which take as long as all others."""


@dataclass(frozen=True)
class Plan:
    """`clips` in all, the real ones first; `seconds` long, `short` pixels on the shorter side at least."""

    out: Path
    clips: int = 50
    seconds: float = 2.0
    short: int = 360
    only: tuple[str, ...] = ()
    """Rows of attacks.py to run; all, and on the first CUNNING clips those of adaptive.py, when empty."""
    mark: Literal["longtake", "rivagan"] = "longtake"
    """Whose mark is attacked; the report has its name."""

    @property
    def name(self) -> str:
        return "marks" if self.mark == "longtake" else self.mark


def evaluate(plan: Plan) -> Iterator[tuple[str, float]]:
    """Run the suite, yielding (what is done, share done). Raises RequestError for a row that is not there."""
    unknown = set(plan.only) - {attack.name for attack in ATTACKS}
    if unknown:
        names = ", ".join(attack.name for attack in ATTACKS)
        raise RequestError(f"no attack {', '.join(map(repr, sorted(unknown)))}; there are: {names}")
    plan.out.mkdir(parents=True, exist_ok=True)
    file = plan.out / f"{plan.name}.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for number in range(plan.clips):
        name = clip_name(number)
        kept = results.setdefault(name, {"rows": {}})
        for what in _measure(number, kept, plan):
            _write(file, json.dumps(results, indent=1))
            yield f"{name}: {what}", (number + len(kept["rows"]) / (len(ATTACKS) + 1)) / plan.clips
        _write(file, json.dumps(results, indent=1))
        _write(plan.out / f"{plan.name}.md", table(results))
    if find_spec("matplotlib"):
        plot(results, plan.out / f"{plan.name}.png")


def _write(file: Path, text: str) -> None:
    beside = file.with_suffix(".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


class Scheme(NamedTuple):
    """A mark: how it gets into the frames of a film, and what is read of it: `bits` and `hit`, perhaps `z`."""

    mark: Callable[[Frames], Frames]
    read: Callable[[Frames], dict[str, float]]


def _measure(number: int, kept: dict[str, Any], plan: Plan) -> Iterator[str]:
    """Fill in what is missing of one clip, row by row; yields before the first and after each what comes next."""
    wanted = [a for a in ATTACKS if (not plan.only or a.name in plan.only) and a.name not in kept["rows"]]
    known = kept.setdefault("adaptive", {})
    cunning = [way for way in ADAPTIVE if way.name not in known]
    if plan.mark != "longtake" or plan.only or number >= CUNNING:
        cunning = []
    if not wanted and not cunning:
        return
    yield "marking"
    scheme = SCHEMES[plan.mark]
    frames = clip(number, plan.seconds, plan.short)
    start = time.process_time()
    film = scheme.mark(frames)
    embed = (time.process_time() - start) / len(frames)
    height, width = frames[0].shape[:2]
    kept |= {
        "size": f"{width}x{height}", "frames": len(frames), "psnr": psnr(frames, film),
        "ssim": ssim(frames[::8], film[::8]), "embed_s": embed,
        "sync_of_unmarked": scheme.read(frames).get("z", 0.0),
    }  # fmt: skip
    for attack in wanted:
        yield attack.name
        start = time.process_time()
        kept["rows"][attack.name] = scheme.read(attack.run(film)) | {"seconds": time.process_time() - start}
    for way in cunning:
        yield way.name
        changed, against = way.run(film)
        known[way.name] = scheme.read(changed) | {"psnr": psnr(against, changed)}


def read(frames: Frames, ring: KeyRing | None = None) -> Reading:
    """The mark of all frames, without stopping early."""
    return detect(windows(map(grey, frames)), ring or KeyRing((KEY,)), hurried=False)


def _row(reading: Reading) -> dict[str, float]:
    wanted = payload.encode(IDENT, KEY) > 0
    bits = reading.soft if reading.soft is not None else np.zeros(payload.BITS)
    return {
        "bits": float(((bits > 0) == wanted).mean()),
        "hit": float(reading.ident == IDENT),
        "z": round(reading.z, 2),
    }


SCHEMES = {
    "longtake": Scheme(marked, lambda frames: _row(read(frames))),
    "rivagan": Scheme(rivagan.mark, rivagan.read),
}
