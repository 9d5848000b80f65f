"""Reading the latent mark: a film is encoded, walked back along the flow to the noise it was made from, and compared.

It needs the model that made the film, a few seconds for each shot, and the film from its beginning: a film cut or
slowed down no longer lies on the grid of latent frames. So it is asked for (`longtake verify --latent`), and it
corroborates.
Where the metadata are gone, the first shot is compared with every pattern of every key.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.diffusion import flow
from longtake.diffusion.sample import DenoiseAt, predictor
from longtake.footage import encode_frames
from longtake.provenance.keys import KeyRing, find_ring
from longtake.provenance.latent import PATTERNS, Evidence, LatentMark, Trace, every_pattern, lasts, needed
from longtake.provenance.verify import Report, Signal
from longtake.video import LONGEST_SECONDS, Frame, is_picture, read_frames

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

SHOTS = 3
"""So many shots are read at most."""
_NAME = "latent mark"
_STEPS = 16
_LOWEST = 0.02
"""Noise level at which the way back begins: below it the velocity is a difference of nearly equal numbers."""


def with_latent(report: Report, models: Models) -> Report:
    """The report with the latent mark in it, as far as `models`, which should be those that made the film, can read it.

    Raises MediaError when the file cannot be read.
    """
    signal = _signal(report, models)
    generated = signal.found and not report.marked
    return replace(
        report,
        signals=(*report.signals, signal),
        verdict="generated, altered" if generated else report.verdict,
        altered=(*report.altered, *(("only the latent mark is left",) if generated else ())),
    )


def _signal(report: Report, models: Models) -> Signal:
    ring, path = find_ring(), Path(report.path)
    if ring is None:
        return Signal(_NAME, False, "not looked for: there are no keys on this machine")
    if is_picture(path) or not lasts(models) or models.config.makes_first:
        return Signal(
            _NAME, False, f"not looked for: {models.name} leaves none that can be read in this file"
        )
    said = _traces(report.record)
    if isinstance(said, str):
        return Signal(_NAME, False, said)
    noises = [(trace, invert(models, shot)) for trace, shot in _shots(path, models, said or [Trace(0.0, 0)])]
    if not noises:
        return Signal(_NAME, False, "not looked for: the file is too short")
    if said:
        best, tries = _best(_known(ring, noises)), len(ring.keys)
        what = f"{len(noises)} of {len(said)} shots"
    else:
        (_, noise), tries = noises[0], PATTERNS * len(ring.keys)
        best = _best(mark.evidence(noise) for key in ring.keys for mark in every_pattern(key))
        what = f"the first shot, {tries} patterns tried"
    return Signal(_NAME, best.found(tries), f"{best.sigma:.1f} sigma in {what}; {needed(tries):.1f} needed")


def _best(evidence: Iterable[Evidence]) -> Evidence:
    return max(evidence, key=lambda each: each.sigma)


def _known(ring: KeyRing, noises: list[tuple[Trace, Tensor]]) -> Iterator[Evidence]:
    """For each key what all shots say together."""
    for key in ring.keys:
        yield sum(
            (LatentMark(key, trace.seed).evidence(noise) for trace, noise in noises), Evidence(0.0, 0.0)
        )


def _traces(record: dict[str, Any] | None) -> list[Trace] | str:
    """The shots a record names, none where there is no record; or why it says that there is no mark.

    A record is anybody's words: what cannot be a shot of a film that is read here is left out.
    """
    marks = (record or {}).get("marks")
    said = marks.get("latent_mark") if isinstance(marks, dict) else None
    if isinstance(said, str):
        return f"not looked for: the record says {said}"
    try:
        traces = [Trace(float(e["at"]), int(e["seed"])) for e in said or ()]
    except (TypeError, KeyError, ValueError, OverflowError):
        return []
    return sorted((t for t in traces if 0 <= t.at <= LONGEST_SECONDS), key=lambda trace: trace.at)


def _shots(path: Path, models: Models, traces: list[Trace]) -> Iterator[tuple[Trace, Tensor]]:
    """The first window of latents of each of the first shots, as far as the film goes."""
    fps, group = models.config.fps, models.config.vae.group
    with closing(read_frames(path, fps=fps)) as frames:
        seen = 0
        for index, trace in enumerate(traces[:SHOTS]):
            end = traces[index + 1].at if index + 1 < len(traces) else math.inf
            count = min(
                models.config.window * group, math.floor((end - trace.at) * fps) if end < math.inf else 10**6
            )
            start = max(seen, round(trace.at * fps))
            shot = list(islice(frames, start - seen, start - seen + count))
            seen = start + len(shot)
            if len(shot) >= group:
                yield trace, _encode(shot[: len(shot) // group * group], models)


def _encode(frames: list[Frame], models: Models) -> Tensor:
    height, width = frames[0].shape[:2]
    size = models.config.native(width, height)
    return encode_frames((uncropped(frame, size) for frame in frames), models, size)


def uncropped(frame: Frame, size: tuple[int, int]) -> Frame:
    """A finished frame as it lay in the native one of `size` (width, height), whose edges the finisher cut off."""
    height, width = frame.shape[:2]
    scale = max(width / size[0], height / size[1])
    inner = min(size[1], round(height / scale)), min(size[0], round(width / scale))
    pixels = rearrange(torch.from_numpy(frame.astype(np.float32)), "h w c -> 1 c h w")
    small = F.interpolate(pixels, inner, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[1] - inner[0]) // 2, (size[0] - inner[1]) // 2
    edges = (left, size[0] - inner[1] - left, top, size[1] - inner[0] - top)
    whole = F.pad(small, edges, mode="replicate").clamp(0, 255).round().to(torch.uint8)
    return np.ascontiguousarray(rearrange(whole, "1 c h w -> h w c").numpy())


def invert(models: Models, latents: Tensor) -> Tensor:
    """Estimate the noise that these latents (b c f h w, the first of a shot) were made from, caption unknown.

    Raises ValueError for more latents than one window holds.
    """
    if latents.shape[2] > models.config.window:
        raise ValueError(f"at most {models.config.window} latents are read at once; got {latents.shape[2]}")
    return walk_back(predictor(models, models.tokenizer([""]), guidance=1.0), latents)


def walk_back(denoise: DenoiseAt, latents: Tensor) -> Tensor:
    """Euler's steps along the flow from clean latents (b c f h w) to noise."""
    batch, frames = latents.shape[0], latents.shape[2]
    positions = torch.arange(frames) + 1
    x = latents.float().cpu()
    for now, following in pairwise(flow.schedule(_STEPS).flip(0).clamp(min=_LOWEST).tolist()):
        x0 = denoise(x, torch.full((batch, frames), now), positions)
        x = x + (following - now) * (x - x0) / now
    return x
