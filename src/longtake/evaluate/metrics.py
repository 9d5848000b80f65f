"""From what the grader sees to numbers: one verdict a clip and question, means over clips.

Every question has the same form, `ask(scene, reading)`: is what the scene says to be seen in this clip? True,
False, or None where the scene does not ask it. The four sets that are compared (see pocket.py) differ in
nothing but their pixels. Positions are shares of the picture, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from longtake.evaluate import camera
from longtake.evaluate.grader import GLOBAL, MOTION, Grader, track
from longtake.model.device import autocast
from longtake.world.scene import Scene

READ = 16
"""Frames of a clip that the grader reads, evenly spaced; it was trained on as many."""
SEEN = 0.3
"""Certainty above which a subject counts as seen in a frame."""


@dataclass(frozen=True)
class Reading:
    """What the grader found in one clip."""

    words: Mapping[str, str]
    """Slot -> the likeliest word; the camera's move is measured, not read."""
    certainty: Mapping[str, float]
    """Subject -> highest certainty in a frame, mean over the frames."""
    tracks: Mapping[str, np.ndarray]
    """Subject -> x y w h certainty in each frame, [t 5]."""


@torch.no_grad()
def read(grader: Grader, frames: Tensor, count: int = READ) -> Reading:
    """Read a clip: frames uint8 t 3 h w at encoder size; `count` of them, evenly spaced."""
    index = torch.linspace(0, len(frames) - 1, count).round().long()
    with autocast(torch.device("cpu")):
        seen = grader(frames[None, index].float() / 255)
    maps, sizes = seen.maps.float(), seen.sizes.float()
    certain = maps.sigmoid().amax((3, 4)).mean(1)[0]  # s
    words = {}
    for slot in GLOBAL + MOTION:
        logits = seen.words[slot].float()
        names = getattr(grader.words, slot)
        words[slot] = names[int((logits.mean(1) if slot in GLOBAL else logits)[0].argmax())]
    subjects = grader.words.subject
    tracks = {
        name: track(rearrange(maps[:, :, i], "b t y x -> b t 1 y x"), sizes)[0].numpy()
        for i, name in enumerate(subjects)
    }
    path = _filled(tracks[subjects[int(certain.argmax())]], index.numpy(), len(frames))
    words["camera"] = camera.movement(frames, path).name(float(path[-1, 0] - path[0, 0]))
    return Reading(words, dict(zip(subjects, certain.tolist(), strict=True)), tracks)


def _filled(path: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """x y w h in each of `count` frames, from those with these indices in which something is seen; [t 4]."""
    seen = path[:, 4] > SEEN
    if not seen.any():
        return np.zeros((count, 4))
    return np.stack([np.interp(np.arange(count), index[seen], path[seen, i]) for i in range(4)], 1)


Question = Callable[[Scene, Reading], "bool | None"]


def subject(scene: Scene, reading: Reading) -> bool | None:
    """The asked subjects are the likeliest ones, and each is seen."""
    asked = {actor.code for actor in scene.actors}
    if not asked <= set(reading.certainty):
        return None
    ranked = sorted(reading.certainty, key=lambda code: -reading.certainty[code])
    return asked == set(ranked[: len(asked)]) and all(reading.certainty[code] > SEEN for code in asked)


def word(slot: str) -> Question:
    """The clip's likeliest word of this slot is the scene's."""

    def ask(scene: Scene, reading: Reading) -> bool | None:
        wanted = {"action": scene.actors[0].action, "direction": scene.actors[0].direction}
        said = wanted[slot] if slot in wanted else getattr(scene, slot)
        return reading.words[slot] == said if said else None

    return ask


def left_right(scene: Scene, reading: Reading) -> bool | None:
    """Of two actors the one that is asked to be on the left is on the left, in most frames that show both."""
    if scene.relation not in ("left_of", "right_of") or len(scene.actors) < 2:
        return None
    a, b = (reading.tracks.get(actor.code) for actor in scene.actors[:2])
    if a is None or b is None or scene.actors[0].code == scene.actors[1].code:
        return None
    both = (a[:, 4] > SEEN) & (b[:, 4] > SEEN)
    if not both.any():
        return False
    right = (a[both, 0] < b[both, 0]) == (scene.relation == "left_of")
    return bool(right.mean() > 0.5)


def camera_move(scene: Scene, reading: Reading) -> bool | None:
    """The camera moved as asked, of the moves that can be told apart."""
    return reading.words["camera"] == scene.camera if scene.camera in camera.NAMES else None


def alone(scene: Scene, reading: Reading) -> bool | None:
    """Nothing is seen that was not asked for."""
    asked = {actor.code for actor in scene.actors}
    others = [value for code, value in reading.certainty.items() if code not in asked]
    return max(others, default=0.0) < SEEN


def moves_as_asked(scene: Scene, reading: Reading) -> bool | None:
    """Under a still camera the subject goes to the asked side by at least a twentieth of the picture."""
    lead = scene.actors[0]
    path = reading.tracks.get(lead.code)
    if path is None or lead.direction not in ("left", "right") or scene.camera != "static":
        return None
    seen = path[:, 4] > SEEN
    if seen.sum() < 4:
        return False
    x, when = path[seen, 0], np.arange(len(path))[seen]
    slope = np.polyfit(when, x, 1)[0] * (len(path) - 1)
    return bool(slope < -0.05 if lead.direction == "left" else slope > 0.05)


QUESTIONS: dict[str, Question] = {
    "subject": subject,
    "nothing else": alone,
    "place": word("place"),
    "time": word("time"),
    "weather": word("weather"),
    "shot scale": word("shot"),
    "camera": camera_move,
    "action": word("action"),
    "direction": moves_as_asked,
    "left/right": left_right,
}


def score(scenes: Sequence[Scene], readings: Sequence[Reading]) -> dict[str, tuple[float, int]]:
    """Question -> (share of clips that answer it rightly, how many were asked)."""
    table = {}
    for name, ask in QUESTIONS.items():
        answers = [ask(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
        asked = [answer for answer in answers if answer is not None]
        table[name] = (sum(asked) / len(asked) if asked else math.nan, len(asked))
    return table


# ---- physics: the same measurement on the stage's own clip and on the generated one ----


def fall_rate(path: np.ndarray, fps: float) -> float | None:
    """Acceleration downwards while in the air, in the subject's own heights a second squared.

    The longest stretch of at least 5 frames that a parabola explains to 2 % of its travel is taken.
    path: x y w h certainty in every frame, [t 5]. None where nothing falls.
    """
    foot, height = path[:, 1] + path[:, 3] / 2, float(np.median(path[:, 3]))
    best: tuple[int, float] | None = None
    for length in range(len(path), 4, -1):
        for start in range(len(path) - length + 1):
            part = slice(start, start + length)
            if (path[part, 4] < SEEN).any():
                continue
            t = np.arange(length) / fps
            curve = np.polyfit(t, foot[part], 2)
            travel = np.ptp(foot[part])
            rest = foot[part] - np.polyval(curve, t)
            if curve[0] > 0 and travel > 0.5 * height and np.sqrt((rest**2).mean()) < 0.02 * travel + 0.004:
                best = best or (length, 2 * float(curve[0]) / max(height, 1e-3))
        if best:
            return best[1]
    return None


def rebound(path: np.ndarray) -> float | None:
    """Height of the second rise over that of the first drop, of something that bounces; None if it does not."""
    if (path[:, 4] < SEEN).mean() > 0.3:
        return None
    foot = path[:, 1] + path[:, 3] / 2
    ground = foot.max()
    low = [i for i in range(1, len(foot) - 1) if foot[i] >= foot[i - 1] and foot[i] > foot[i + 1]]
    if len(low) < 2 or ground - foot.min() < 0.05:
        return None
    first, second = ground - foot[: low[0] + 1].min(), ground - foot[low[0] : low[1] + 1].min()
    return float(second / first) if first > 0.03 else None
