"""How good is the pocket model? Held-out scenes, asked in words, answered in pixels, read by the grader.

The same questions are put to four sets that differ in nothing but their pixels: the stage's own renders (the
ceiling), what the autoencoder makes of them, what the model makes of the words, and the model's clips judged by
other scenes' words (chance). Held-out pairs of subject and place, or subject and action, are never trained on:
`sampler.is_held_out` decides for both sides.
Axes: frames uint8 t 3 h w at encoder size, latents b c f h w.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from longtake.diffusion import film
from longtake.diffusion.sample import predictor
from longtake.errors import RequestError
from longtake.evaluate import metrics
from longtake.judge.grader import Grader
from longtake.judge.reading import Reading, read
from longtake.model.checkpoint import Models
from longtake.model.device import autocast
from longtake.model.presets import Recipe
from longtake.train.data import shrink
from longtake.world.atlas import Atlas
from longtake.world.captions import full_caption
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, Vocabulary, codes, is_held_out, sample_scene
from longtake.world.scene import Scene
from longtake.world.stage import Stage

SETS = ("renders", "reconstructions", "generated", "shuffled")
FALLING = ("fall", "bounce", "jump", "hop")
DRIFT_SECONDS = (5, 15, 30, 60)


@dataclass(frozen=True)
class EvalPlan:
    """What is asked: `clips` held-out scenes, every second one in Chinese."""

    clips: int = 60
    seconds: float = 4.0
    size: tuple[int, int] = (320, 192)
    steps: int = Recipe.steps
    guidance: float = Recipe.guidance
    vocabulary: str = "pocket"
    shown: int = 12
    """Clips that the report shows."""
    drift: int = 3
    """Prompts that are rolled out to a minute; 0 leaves that out."""
    atlas: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Clip:
    """One scene with its words and its pixels in each set."""

    scene: Scene
    caption: str
    frames: dict[str, Tensor]
    readings: dict[str, Reading]
    film: Tensor
    """The generated clip at native size, uint8 t 3 H W; empty after the first `shown` ones."""


@dataclass
class Result:
    """What a report is made of."""

    table: dict[str, dict[str, tuple[float, int]]]
    """Question -> set -> (share, how many were asked)."""
    psnr: dict[str, float]
    """Of the reconstructions: whole frames, and inside subjects' boxes."""
    physics: dict[str, dict[str, float]]
    drift: dict[str, dict[int, float]]
    """Question -> seconds into a one-minute take -> share."""
    clips: list[Clip] = field(repr=False)
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; NaN becomes null."""
        table = {
            question: {name: {"share": None if math.isnan(v) else round(v, 4), "asked": n}
                       for name, (v, n) in row.items()}
            for question, row in self.table.items()
        }  # fmt: skip
        return {
            "about": self.about, "scores": table, "psnr": self.psnr, "physics": self.physics,
            "drift": {question: {str(k): v for k, v in row.items()} for question, row in self.drift.items()},
            "prompts": [clip.caption for clip in self.clips],
        }  # fmt: skip


def held_out_scenes(vocabulary: Vocabulary, count: int, frames: int, seed: int = 0) -> list[Scene]:
    """Scenes that training never sees, with full captions to ask for them; the same for the same seed."""
    rng = random.Random(f"evaluate {seed}")
    scenes = [replace(sample_scene(rng, vocabulary, held_out=True), frames=frames) for _ in range(count)]
    if not all(is_held_out(scene, vocabulary.held_out_every) for scene in scenes):
        raise AssertionError("a scene that training may see was drawn for evaluation")
    return scenes


def evaluate(models: Models, grader: Grader, plan: EvalPlan) -> Iterator[tuple[str, float] | Result]:
    """Run the whole evaluation; yields (what is being done, share done), at last the Result.

    Raises RequestError when the model does not make the size asked for.
    """
    if plan.size not in models.config.sizes:
        sizes = ", ".join(f"{w}x{h}" for w, h in models.config.sizes)
        raise RequestError(f"this model makes {sizes}, not {plan.size[0]}x{plan.size[1]}")
    vocabulary = PRESETS[plan.vocabulary]
    frames = round(plan.seconds * models.config.fps)
    scenes = held_out_scenes(vocabulary, plan.clips, frames, plan.seed)
    atlas = Atlas.load(plan.atlas, codes(vocabulary))
    stage = Stage(atlas, plan.size[1], plan.size[0])
    clips, squared = [], []
    for number, scene in enumerate(scenes):
        yield "clips", number / (len(scenes) + 10 * plan.drift)
        clip, errors = _clip(models, grader, stage, atlas, scene, plan, number)
        clips.append(clip)
        squared.append(errors)
    drift = {}
    if plan.drift:
        yield "one-minute takes", len(scenes) / (len(scenes) + 10 * plan.drift)
        drift = measure_drift(models, grader, scenes[: plan.drift], plan)
    yield Result(_table(clips), _psnr(squared), _physics(clips, grader, models.config.fps), drift, clips)


def _clip(
    models: Models, grader: Grader, stage: Stage, atlas: Atlas, scene: Scene, plan: EvalPlan, number: int
) -> tuple[Clip, np.ndarray]:
    tracks = choreograph(scene, atlas, plan.size[0] / plan.size[1])
    true = stage.render([tracks])  # 1 3 t H W
    upscale = models.config.vae.upscale
    small = shrink(true, upscale)
    with torch.no_grad(), autocast(models.vae.mean.device):
        again = models.vae.decode(models.vae.encode(small * 2 - 1)).float()
    caption = full_caption(scene, ("en", "zh")[number % 2])
    made = generate(models, caption, plan, seed=plan.seed + number)
    frames = {
        "renders": to_bytes(small),
        "reconstructions": to_bytes(shrink(again / 2 + 0.5, upscale)),
        "generated": to_bytes(shrink(made, upscale)),
    }
    readings = {name: read(grader, clip) for name, clip in frames.items()}
    boxes, _ = stage.boxes([tracks])
    error = (again.clamp(-1, 1) / 2 + 0.5 - true).square()
    film = to_bytes(made) if number < plan.shown else torch.zeros(0, dtype=torch.uint8)
    return Clip(scene, caption, frames, readings, film), _errors(error[0], boxes[0], tracks.actor)


def generate(models: Models, caption: str, plan: EvalPlan, seed: int, seconds: float = 0.0) -> Tensor:
    """The model's film of a caption at native size: 1 3 t H W in 0..1."""
    latents = make_latents(models, caption, plan, seed, seconds or plan.seconds)
    with torch.no_grad(), autocast(models.vae.mean.device):
        return models.vae.decode(latents).float().clamp(-1, 1) / 2 + 0.5


def make_latents(models: Models, caption: str, plan: EvalPlan, seed: int, seconds: float) -> Tensor:
    tokens, negative = models.tokenizer([caption]), models.tokenizer([""])
    take = film.Take(
        predictor(models, tokens, negative, plan.guidance),
        torch.Generator().manual_seed(seed),
        steps=plan.steps,
        shift=models.config.sampling.shift,
        solver=models.config.sampling.solver,
        window=models.config.window,
    )
    shape = (1, models.config.vae.z, *models.config.grid(*plan.size))
    count = math.ceil(seconds * models.config.fps / models.config.vae.group)
    return film.collect(film.text_to_video(take, shape, count))


def to_bytes(frames: Tensor) -> Tensor:
    """1 3 t h w in 0..1 -> uint8 t 3 h w."""
    return rearrange((frames.clamp(0, 1) * 255).round().to(torch.uint8), "1 c t h w -> t c h w")


def _errors(squared: Tensor, boxes: Tensor, actors: Sequence[int]) -> np.ndarray:
    """Sum and count of squared errors over whole frames and inside the actors' boxes; squared 3 t H W."""
    height, width = squared.shape[-2:]
    y, x = torch.arange(height)[:, None], torch.arange(width)
    inside = torch.zeros(squared.shape[1:], dtype=torch.bool)
    for layer, actor in enumerate(actors):
        if actor >= 0:
            x0, y0, x1, y1 = (edge[:, None, None] for edge in boxes[:, layer].unbind(-1))
            inside |= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return np.array([
        squared.sum(), squared.numel(), (squared * inside).sum(), 3 * inside.sum(),
    ], dtype=float)  # fmt: skip


def _psnr(parts: Sequence[np.ndarray]) -> dict[str, float]:
    whole, pixels, subject, covered = np.sum(parts, axis=0)
    return {
        "whole": round(-10 * math.log10(whole / pixels), 2),
        "subject": round(-10 * math.log10(subject / max(covered, 1)), 2),
    }


def _table(clips: Sequence[Clip]) -> dict[str, dict[str, tuple[float, int]]]:
    scenes = [clip.scene for clip in clips]
    table: dict[str, dict[str, tuple[float, int]]] = {name: {} for name in metrics.QUESTIONS}
    for name in SETS:
        asked, source = scenes, name
        if name == "shuffled":  # every clip is asked for by every other scene's words
            source = "generated"
            turns = [scenes[k:] + scenes[:k] for k in range(1, min(len(scenes), 8))]
            asked = [scene for turn in turns for scene in turn]
        readings = [clip.readings[source] for clip in clips] * (len(asked) // len(clips))
        for question, value in metrics.score(asked, readings).items():
            table[question][name] = value
    return table


def _physics(clips: Sequence[Clip], grader: Grader, fps: int) -> dict[str, dict[str, float]]:
    """Median ratio of each set's fall and rebound to the stage's own, over scenes where something falls."""

    def path(clip: Clip, name: str) -> np.ndarray:
        frames = clip.frames[name]
        return read(grader, frames, len(frames)).tracks[clip.scene.actors[0].code]

    values: dict[str, dict[str, list[float]]] = {"gravity": {}, "rebound": {}}
    falling = [c for c in clips if c.scene.actors[0].action in FALLING and c.scene.camera == "static"]
    for clip in falling:
        paths = {name: path(clip, name) for name in SETS[:3]}
        for what in values:
            found = {
                name: metrics.fall_rate(track, fps) if what == "gravity" else metrics.rebound(track)
                for name, track in paths.items()
            }
            true = found.pop("renders")
            if true:
                for name, value in found.items():
                    values[what].setdefault(name, []).append(math.nan if value is None else value / true)
    out: dict[str, dict[str, float]] = {}
    for what, sets in values.items():
        for name, ratios in sets.items():
            known = [r for r in ratios if not math.isnan(r)]
            row = out.setdefault(what, {})
            row[f"{name}: median ratio"] = round(float(np.median(known)), 3) if known else math.nan
            row[f"{name}: measurable"] = round(len(known) / len(ratios), 3)
            row[f"{name}: asked"] = len(ratios)
    return out


def measure_drift(
    models: Models, grader: Grader, scenes: Sequence[Scene], plan: EvalPlan
) -> dict[str, dict[int, float]]:
    """Whether subject and place are still there late in a one-minute take, read in windows of `seconds`."""
    right: dict[str, dict[int, list[float]]] = {
        question: {second: [] for second in DRIFT_SECONDS} for question in ("subject", "place", "time")
    }
    window = round(plan.seconds * models.config.fps)
    for number, scene in enumerate(scenes):
        caption = full_caption(scene, ("en", "zh")[number % 2])
        latents = make_latents(models, caption, plan, plan.seed + number, max(DRIFT_SECONDS))
        group = models.config.vae.group
        for second in DRIFT_SECONDS:
            end = second * models.config.fps // group
            with torch.no_grad(), autocast(models.vae.mean.device):
                made = models.vae.decode(latents[:, :, max(0, end - window // group) : end]).float()
            reading = read(grader, to_bytes(shrink(made / 2 + 0.5, models.config.vae.upscale)))
            for question, row in right.items():
                answer = metrics.QUESTIONS[question](scene, reading)
                if answer is not None:
                    row[second].append(float(answer))
    return {
        question: {second: round(float(np.mean(v)), 3) for second, v in row.items() if v}
        for question, row in right.items()
    }
