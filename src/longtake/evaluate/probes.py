"""Special questions, each asked of scenes chosen for it: sixty random scenes hold too few falls to measure gravity.

A probe says which held-out scenes it wants and what is asked of them. Some ask yes or no; physics asks for a number,
which is held against the same number on the stage's exact paths. Captions never name the outcome. Counts and
encounters are beyond what the pocket model was trained on: no training clip shows two alike, or a collision.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from longtake.errors import RequestError
from longtake.evaluate import metrics, physics
from longtake.evaluate.clips import SETS, Clip, Setting, Table
from longtake.evaluate.metrics import Question
from longtake.judge import camera
from longtake.judge.reading import READ
from longtake.world.concepts import concept
from longtake.world.interactions import MASS
from longtake.world.sampler import Vocabulary, is_held_out, sample_scene
from longtake.world.scene import Scene

Paths = Mapping[str, np.ndarray]
Measure = Callable[[Scene, Paths, int], "float | None"]
"""(scene, path of each subject, frames a second) -> a number, None where there is nothing to measure."""
NEAR = 0.5
"""A number is right when it is within this share of the stage's own: what the grader reads of true renders scatters."""
_TRIES = 20_000


@dataclass(frozen=True)
class Probe:
    """One family of scenes."""

    words: Mapping[str, Any]
    """What differs from the model's vocabulary."""
    wants: Callable[[Scene, int], bool]
    """Whether a scene will do as number n of the family."""
    questions: Mapping[str, Question] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)

    def scenes(self, vocabulary: Vocabulary, count: int, frames: int, seed: int) -> list[Scene]:
        """`count` scenes that training never sees; the same for the same seed. Raises RequestError for none."""
        words = replace(vocabulary, **self.words)
        rng = random.Random(f"probe {[*self.questions, *self.measures]} {seed}")
        found: list[Scene] = []
        for _ in range(_TRIES):
            if len(found) == count:
                return found
            scene = sample_scene(rng, words, held_out=True)
            if is_held_out(scene, words.held_out_every) and self.wants(scene, len(found)):
                found.append(replace(scene, frames=frames))
        raise RequestError(
            f"no held-out scenes of this vocabulary ask for {', '.join([*self.questions, *self.measures])}"
        )


# ---- what is measured ----


def _of_lead(rule: Callable[[np.ndarray, int], float | None]) -> Measure:
    def measure(scene: Scene, paths: Paths, fps: int) -> float | None:
        path = paths.get(scene.actors[0].code)
        return None if path is None else rule(path, fps)

    return measure


def _momentum(scene: Scene, paths: Paths, fps: int) -> float | None:
    codes = [actor.code for actor in scene.actors[:2]]
    if not all(code in paths for code in codes):
        return None
    a, b = (MASS[concept(code).weight] for code in codes)
    return physics.momentum(paths[codes[0]], paths[codes[1]], (a, b), fps)


# ---- the families ----


def _plays(*names: str) -> Callable[[Scene, int], bool]:
    """An interaction, one after the other, near enough to be read."""
    return lambda scene, number: scene.interaction == names[number % len(names)] and scene.shot != "wide"


def _encounter(*names: str) -> dict[str, Any]:
    return _STILL | {"interactions": names, "interacting": 1.0, "pairs": 0.0}


def _is_no_lighter(scene: Scene) -> bool:
    """Whether A moves B by more than a reading scatters."""
    a, b = (MASS[concept(actor.code).weight] for actor in scene.actors)
    return a >= b


_STILL: dict[str, Any] = {"still_camera": 1.0, "weathers": ("clear",)}
_ALONE: dict[str, Any] = _STILL | {"pairs": 0.0}

PROBES: dict[str, Probe] = {
    "count": Probe(
        _ALONE | {"counts": (1, 2, 3), "shots": ("full", "medium")},
        lambda scene, number: scene.actors[0].count == 1 + number % 3,
        {"count": metrics.count},
    ),
    "sides": Probe(
        _STILL | {"pairs": 1.0},
        lambda scene, _: bool(scene.relation) and scene.actors[0].code != scene.actors[1].code,
        {"left/right": metrics.left_right},
    ),
    "ways": Probe(
        _ALONE,
        lambda scene, _: scene.actors[0].direction in ("left", "right"),
        {"direction": metrics.moves_as_asked},
    ),
    "cameras": Probe(
        {"still_camera": 0.0, "pairs": 0.0, "weathers": ("clear",)},
        lambda scene, _: scene.camera in camera.NAMES[1:],
        {"camera that moves": metrics.camera_move},
    ),
    "states": Probe(
        _encounter("eat", "wake_up"),
        _plays("eat", "wake_up"),
        {"state stays": metrics.stays},
    ),
    "hiding": Probe(_encounter("pass_behind"), _plays("pass_behind"), {"comes back": metrics.comes_back}),
    "falling": Probe(
        _ALONE | {"shots": ("full", "wide")},
        lambda scene, number: scene.actors[0].action == ("fall", "bounce")[number % 2],
        measures={
            "gravity": _of_lead(physics.fall_rate),
            "rebound": _of_lead(lambda path, _: physics.rebound(path)),
        },
    ),
    "collisions": Probe(
        _encounter("bump_into"),
        lambda scene, number: _plays("bump_into")(scene, number) and _is_no_lighter(scene),
        measures={"momentum": _momentum},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Ratio:
    """A measured number over the stage's own, over many clips."""

    near: float
    """Share of clips for which it is within NEAR of 1."""
    median: float
    measurable: float
    """Share of clips in which there is something to measure."""
    asked: int


@dataclass(frozen=True)
class Probed:
    """What came of one family: question -> set -> (share, how many were asked), measure -> set -> Ratio."""

    table: Table
    ratios: dict[str, dict[str, Ratio]]
    clips: list[Clip]


def run(setting: Setting, probe: Probe, vocabulary: Vocabulary, seed: int) -> Iterator[Probed | None]:
    """Yields None after each clip, at last what came of it."""
    plan = setting.plan
    count = setting.frames if probe.measures else READ  # speeds want every frame
    clips = []
    for number, scene in enumerate(probe.scenes(vocabulary, plan.probes, setting.frames, plan.seed)):
        clips.append(setting.clip(scene, number, seed + number, count, shown=number < 2))
        yield None
    table = compare(clips, probe.questions)
    fps = setting.models.config.fps
    yield Probed(table, {name: ratios(clips, rule, fps) for name, rule in probe.measures.items()}, clips)


def compare(clips: Sequence[Clip], questions: Mapping[str, Question]) -> Table:
    """Question -> set -> (share of clips that answer it rightly, how many were asked)."""
    scenes = [clip.scene for clip in clips]
    table: Table = {name: {} for name in questions}
    for name in SETS:
        asked, source = scenes, name
        if name == "shuffled":  # every clip is asked for by every other scene's words
            source = "generated"
            turns = [scenes[k:] + scenes[:k] for k in range(1, min(len(scenes), 8))]
            asked = [scene for turn in turns for scene in turn]
        readings = [clip.readings[source] for clip in clips] * (len(asked) // len(clips))
        for question, value in metrics.score(asked, readings, questions).items():
            table[question][name] = value
    return table


def ratios(clips: Sequence[Clip], measure: Measure, fps: int) -> dict[str, Ratio]:
    """Set -> the measure over that of the exact paths, where those have one. Shuffled: in the next scene's clip."""
    true = [measure(clip.scene, clip.paths, fps) for clip in clips]
    table = {}
    for name in SETS:
        source, turn = ("generated", 1) if name == "shuffled" else (name, 0)
        found = []
        for number, own in enumerate(true):
            if own:
                reading = clips[(number + turn) % len(clips)].readings[source]
                value = measure(clips[number].scene, reading.tracks, fps)
                found.append(math.nan if value is None else value / own)
        table[name] = _ratio(np.array(found))
    return table


def _ratio(values: np.ndarray) -> Ratio:
    known = values[~np.isnan(values)]
    if not len(values):
        return Ratio(math.nan, math.nan, math.nan, 0)
    return Ratio(
        float((np.abs(known - 1) <= NEAR).sum() / len(values)),
        float(np.median(known)) if len(known) else math.nan,
        len(known) / len(values),
        len(values),
    )
