"""From what the grader sees to numbers: one verdict a clip and question, means over clips.

Every question has the same form, `ask(scene, reading)`: is what the scene says to be seen in this clip? True,
False, or None where the scene does not ask it. The four sets that are compared (see pocket.py) differ in
nothing but their pixels. Positions are shares of the picture, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from longtake.judge import camera
from longtake.judge.reading import SEEN, Reading
from longtake.world.scene import Scene

GONE = 0.05
"""Frame widths that somebody goes who goes to one side."""

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
    if lead.code not in reading.tracks or lead.direction not in ("left", "right") or scene.camera != "static":
        return None
    went = reading.drift(lead.code)
    if went is None:
        return False
    return went < -GONE if lead.direction == "left" else went > GONE


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
