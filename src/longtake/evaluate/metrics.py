"""From what the grader sees to numbers: one verdict a clip and question, means over clips.

Every question has the same form, `ask(scene, reading)`: is what the scene says to be seen in this clip? True,
False, or None where the scene does not ask it. The four sets that are compared (see pocket.py) differ in
nothing but their pixels. Positions are shares of the picture, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from longtake.judge import camera
from longtake.judge.grader import SEEN
from longtake.judge.reading import Reading
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


def count(scene: Scene, reading: Reading) -> bool | None:
    """As many of the lead are seen as were asked for, in the frame in the middle of all counts."""
    lead = scene.actors[0]
    seen = reading.counts.get(lead.code)
    return None if seen is None else round(float(np.median(seen))) == lead.count


CHANGES = {"eat": ("bitten", True), "wake_up": ("asleep", False)}
"""Interaction -> the state that actors[1] changes, and what it is afterwards."""


def stays(scene: Scene, reading: Reading) -> bool | None:
    """What is done is done: bitten once, always bitten; awake once, always awake.

    Before and after are told by the clip's own extremes, as a thing at somebody's mouth looks a little bitten; there
    must be a change, and the state afterwards must be read as such.
    """
    if scene.interaction not in CHANGES:
        return None
    state, after = CHANGES[scene.interaction]
    code = scene.actors[1].code
    if state not in reading.states.get(code, {}):
        return None
    done = reading.states[code][state][reading.tracks[code][:, 4] > SEEN] * (1 if after else -1)
    if len(done) < 4:
        return False
    low, high = np.quantile(done, (0.1, 0.9))
    return bool(high > 0 and high - low > 1) and changes_once(done > (low + high) / 2)


def changes_once(true: np.ndarray) -> bool:
    """Whether a single change from false to true explains 85 % of the frames, and most of those on either side."""
    for at in range(2, len(true) - 1):
        before, after = (~true[:at]), true[at:]
        if before.sum() + after.sum() >= 0.85 * len(true) and min(before.mean(), after.mean()) > 0.6:
            return True
    return False


def comes_back(scene: Scene, reading: Reading) -> bool | None:
    """What passes behind something is seen before on its one side, and afterwards on the other."""
    if scene.interaction != "pass_behind":
        return None
    a, b = (reading.tracks.get(actor.code) for actor in scene.actors[:2])
    if a is None or b is None:
        return None
    both = (a[:, 4] > SEEN) & (b[:, 4] > SEEN)
    side = np.sign(a[:, 0] - b[:, 0])
    part = 2 * len(side) // 5
    before, after = side[:part][both[:part]], side[-part:][both[-part:]]
    return len(before) >= 2 and len(after) >= 2 and bool(np.median(before) * np.median(after) < 0)


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


def score(
    scenes: Sequence[Scene], readings: Sequence[Reading], questions: Mapping[str, Question] = QUESTIONS
) -> dict[str, tuple[float, int]]:
    """Question -> (share of clips that answer it rightly, how many were asked)."""
    table = {}
    for name, ask in questions.items():
        answers = [ask(scene, reading) for scene, reading in zip(scenes, readings, strict=True)]
        asked = [answer for answer in answers if answer is not None]
        table[name] = (sum(asked) / len(asked) if asked else math.nan, len(asked))
    return table
