"""Which of several takes of a shot to keep: the one in which what was asked is best to be seen.

A search over the noise with a verifier (Ma et al. 2025, arXiv:2501.09732): the grader reads every take's pixels, and
its probabilities of what the shot asks for are multiplied. The first take that is surely right ends the search.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.footage import decode
from longtake.judge import camera
from longtake.judge.grader import SEEN, shipped
from longtake.judge.reading import Reading, read
from longtake.world.scene import Scene

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

E = TypeVar("E")
T = TypeVar("T")
TAKES, LONG, TAKES_OF_LONG = 3, 30.0, 2
"""Of a shot at most, where the judge knows what is drawn; of films above so many seconds fewer, or a minute would take
more than a minute."""
WORTH: Mapping[str, float] = {
    "subject": 2.0, "nobody else": 1.0, "place": 1.0, "time": 1.0, "weather": 1.0, "shot": 1.0, "action": 0.5,
    "direction": 1.0, "camera": 1.0, "count": 1.0, "order": 1.0,
}  # fmt: skip
"""Power of each probability: what a film is about counts most, and of actions the grader itself is not sure."""
LEAST = 0.02
"""A probability counts as this at least, so that no single doubt decides alone."""
GONE = 0.2
"""Frame widths that somebody goes who surely goes to one side."""
_HALF = 0.5


@dataclass(frozen=True)
class Verdict:
    """`score`: logarithm, at most 0, larger is better. `right`: everything but the action is more likely than not."""

    score: float
    right: bool


def usual_takes(seconds: float) -> int:
    """Of each shot of a film this long, when nobody says otherwise."""
    return TAKES if seconds <= LONG else TAKES_OF_LONG


def seed_of(seed: int, take: int) -> int:
    """The seed of each take of a shot; the first has the shot's own."""
    if not take:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} take {take}".encode()).digest()[:4], "big") >> 1


def choose(
    film: Callable[[int], Generator[E, None, T]], judge: Callable[[T], Verdict], takes: int
) -> Generator[E, None, T]:
    """The best of so many takes, film(0), film(1), ...; of one nothing is judged. Yields what they yield."""
    kept = yield from film(0)
    best = Verdict(-math.inf, True) if takes == 1 else judge(kept)
    for number in range(1, takes):
        if best.right:
            break
        shot = yield from film(number)
        found = judge(shot)
        if found.score > best.score:
            best, kept = found, shot
    return kept


class Judge:
    """Compares takes with what shots ask for."""

    def __init__(self, models: Models) -> None:
        self._models, self._grader = models, shipped()

    @staticmethod
    def knows(models: Models) -> bool:
        """Whether these models draw what the judge can name: the words of the paper theatre."""
        vocabulary: Mapping[str, Sequence[str]] = models.extra.get("vocabulary", {})
        return bool(vocabulary) and set(vocabulary["subjects"]) <= set(shipped().words.subject)

    def __call__(self, scene: Scene, latents: Tensor, lead: Tensor | None = None) -> Verdict:
        """Judge a take, 1 c f h w, after latents that are not shown (`lead`)."""
        return verdict(scene, read(self._grader, self._frames(latents, lead)))

    def _frames(self, latents: Tensor, lead: Tensor | None) -> Tensor:
        """The take at encoder size, uint8 t 3 h w."""
        memory, frames = None, []
        for latent in () if lead is None else lead.split(1, 2):
            _, memory = decode(latent, memory, self._models)
        for latent in latents.split(1, 2):
            decoded, memory = decode(latent, memory, self._models)
            small = F.avg_pool2d(decoded[0].transpose(0, 1), self._models.config.vae.upscale)  # t 3 h w
            frames.append(((small / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8))
        return torch.cat(frames)


def as_still(scene: Scene) -> Scene:
    """What a single picture can show of a scene."""
    actors = tuple(replace(actor, action="", direction="") for actor in scene.actors)
    return replace(scene, actors=actors, camera="")


def verdict(scene: Scene, reading: Reading) -> Verdict:
    """How sure the reading is of all that the scene asks for; what the judge has no word for does not count."""
    chances = _chances(scene, reading)
    score = sum(WORTH[name] * math.log(max(chance, LEAST)) for name, chance in chances.items())
    return Verdict(score, all(chance > _HALF for name, chance in chances.items() if name != "action"))


def _ordered(scene: Scene, reading: Reading) -> float | None:
    """Share of the frames that show both in which the first of two is on its side of the second; None: no side."""
    if scene.relation not in ("left_of", "right_of") or scene.actors[0].code == scene.actors[1].code:
        return None
    paths = [reading.tracks.get(actor.code) for actor in scene.actors[:2]]
    if paths[0] is None or paths[1] is None:
        return None
    both = (paths[0][:, 4] > SEEN) & (paths[1][:, 4] > SEEN)
    left = paths[0][both, 0] < paths[1][both, 0]
    return float((left == (scene.relation == "left_of")).mean()) if both.any() else 0.0


def _chances(scene: Scene, reading: Reading) -> dict[str, float]:
    lead, asked = scene.actors[0], {actor.code for actor in scene.actors}
    chances: dict[str, float] = {}
    if asked <= set(reading.certainty):
        chances["subject"] = min(1.0, *(reading.certainty[code] / SEEN * _HALF for code in asked))
        others = [chance for code, chance in reading.certainty.items() if code not in asked]
        chances["nobody else"] = max(0.0, 1 - max(others, default=0.0) / SEEN * _HALF)
    wanted = {"place": scene.place, "time": scene.time, "weather": scene.weather, "shot": scene.shot}
    if len(scene.actors) == 1:
        wanted["action"] = lead.action
    for slot, word in wanted.items():
        if word in reading.chances[slot]:
            chances[slot] = reading.chances[slot][word]
    if len(scene.actors) == 1 and lead.code in reading.counts:
        chances["count"] = float((np.round(reading.counts[lead.code]) == lead.count).mean())
    if (ordered := _ordered(scene, reading)) is not None:
        chances["order"] = ordered
    went = reading.drift(lead.code) if lead.code in reading.tracks else None
    if lead.direction in ("left", "right") and scene.camera == "static" and went is not None:
        way = went if lead.direction == "right" else -went
        chances["direction"] = min(max(_HALF + _HALF * way / GONE, 0.0), 1.0)
    if scene.camera in camera.NAMES:
        chances["camera"] = 0.8 if reading.words["camera"] == scene.camera else 0.2
    return chances
