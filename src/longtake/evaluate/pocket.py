"""How good is the pocket model? Held-out scenes, asked in words, answered in pixels, read by the grader.

The same questions are put to four sets that differ in nothing but their pixels: the stage's own renders (the
ceiling), what the autoencoder makes of them, what the model makes of the words, and the model's clips judged by
other scenes' words (chance). Held-out pairs of subject and place, or subject and action, are never trained on:
`sampler.is_held_out` decides for both sides. Special questions have scenes of their own (probes.py, identity.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from longtake.evaluate import identity, metrics, probes
from longtake.evaluate.clips import Clip, EvalPlan, Setting, Table
from longtake.evaluate.probes import PROBES, Probed, Ratio
from longtake.judge.reading import Reader
from longtake.model.checkpoint import Models
from longtake.world.sampler import PRESETS, Vocabulary, is_held_out, sample_scene
from longtake.world.scene import Scene

DRIFT_SECONDS = (5, 15, 30, 60)
_APART = 1000
"""Seeds from one family of probes to the next."""


@dataclass
class Result:
    """What a report is made of."""

    table: Table
    psnr: dict[str, float]
    """Of the reconstructions: whole frames, and inside subjects' boxes."""
    probes: Table
    """Special questions."""
    physics: dict[str, dict[str, Ratio]]
    """Measure -> set -> how it compares with the stage's own."""
    drift: dict[str, dict[int, float]]
    """Question -> seconds into a one-minute take -> share."""
    clips: list[Clip] = field(repr=False)
    """Those of the table, then those of the probes."""
    about: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; NaN becomes null."""
        return {
            "about": self.about, "scores": _rounded(self.table), "psnr": self.psnr, "probes": _rounded(self.probes),
            "physics": {
                measure: {name: {k: _number(v) for k, v in asdict(ratio).items()} for name, ratio in row.items()}
                for measure, row in self.physics.items()
            },
            "drift": {question: {str(k): v for k, v in row.items()} for question, row in self.drift.items()},
            "prompts": [clip.caption for clip in self.clips],
        }  # fmt: skip


def _rounded(table: Table) -> dict[str, Any]:
    return {
        question: {name: {"share": _number(share), "asked": asked} for name, (share, asked) in row.items()}
        for question, row in table.items()
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def held_out_scenes(vocabulary: Vocabulary, count: int, frames: int, seed: int = 0) -> list[Scene]:
    """Scenes that training never sees, with full captions to ask for them; the same for the same seed."""
    rng = random.Random(f"evaluate {seed}")
    scenes = [replace(sample_scene(rng, vocabulary, held_out=True), frames=frames) for _ in range(count)]
    if not all(is_held_out(scene, vocabulary.held_out_every) for scene in scenes):
        raise AssertionError("a scene that training may see was drawn for evaluation")
    return scenes


def evaluate(models: Models, reader: Reader, plan: EvalPlan) -> Iterator[tuple[str, float] | Result]:
    """Run the whole evaluation; yields (what is being done, share done), at last the Result.

    Raises RequestError when the model does not make the size asked for.
    """
    setting = Setting(models, reader, plan)
    vocabulary = PRESETS[plan.vocabulary]
    scenes = held_out_scenes(vocabulary, plan.clips, setting.frames, plan.seed)
    families = len(PROBES) + 3 if plan.probes else 0  # who stays the same costs as much as three
    total, done = len(scenes) + families * plan.probes + 10 * plan.drift, 0.0
    clips = []
    for number, scene in enumerate(scenes):
        yield "clips", done / total
        clips.append(setting.clip(scene, number, plan.seed + number, shown=number < plan.shown))
        done += 1
    table = probes.compare(clips, metrics.QUESTIONS)
    psnr = _psnr([clip.errors for clip in clips])
    special: Table = {}
    physics: dict[str, dict[str, Ratio]] = {}
    if plan.probes:
        for number, (name, probe) in enumerate(PROBES.items(), start=1):
            for event in probes.run(setting, probe, vocabulary, plan.seed + _APART * number):
                if isinstance(event, Probed):
                    special, physics = special | event.table, physics | event.ratios
                    clips += [clip for clip in event.clips if len(clip.film)]
                else:
                    done += 1
                    yield name, done / total
        for found in identity.run(setting, vocabulary, plan.seed):
            if found is not None:
                special |= found
            else:
                done += 3
                yield "identity", done / total
    drift = {}
    if plan.drift:
        yield "one-minute takes", done / total
        drift = measure_drift(setting, scenes[: plan.drift])
    yield Result(table, psnr, special, physics, drift, clips)


def _psnr(parts: Sequence[np.ndarray]) -> dict[str, float]:
    whole, pixels, subject, covered = np.sum(parts, axis=0)
    return {
        "whole": round(-10 * math.log10(whole / pixels), 2),
        "subject": round(-10 * math.log10(subject / max(covered, 1)), 2),
    }


def measure_drift(setting: Setting, scenes: Sequence[Scene]) -> dict[str, dict[int, float]]:
    """Whether subject and place are still there late in a one-minute take, read in windows of `seconds`."""
    plan, config = setting.plan, setting.models.config
    right: dict[str, dict[int, list[float]]] = {
        question: {second: [] for second in DRIFT_SECONDS} for question in ("subject", "place", "time")
    }
    window, group = setting.frames, config.vae.group
    for number, scene in enumerate(scenes):
        caption = setting.caption(scene, number)
        latents = setting.latents(caption, plan.seed + number, max(DRIFT_SECONDS))
        for second in DRIFT_SECONDS:
            end = second * config.fps // group
            made = setting.decoded(latents[:, :, max(0, end - window // group) : end])
            reading = setting.reader.read(setting.small(made))
            for question, row in right.items():
                answer = metrics.QUESTIONS[question](scene, reading)
                if answer is not None:
                    row[second].append(float(answer))
    return {
        question: {second: round(float(np.mean(v)), 3) for second, v in row.items() if v}
        for question, row in right.items()
    }
