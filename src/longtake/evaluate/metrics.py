"""From what the grader sees to numbers: one verdict a clip and question, means over clips.

Every question has the same form, `ask(scene, reading)`: is what the scene says to be seen in this clip? True,
False, or None where the scene does not ask it. The four sets that are compared (see pocket.py) differ in
nothing but their pixels. Positions are shares of the picture, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from longtake.evaluate import camera
from longtake.evaluate.grader import GLOBAL, MOTION, SEEN, Grader, Seen, peaks, track
from longtake.model.device import autocast
from longtake.world.scene import Scene

READ = 16
"""Frames of a clip that the grader reads, evenly spaced; it was trained on as many."""


@dataclass(frozen=True)
class Reading:
    """What the grader found in one clip."""

    words: Mapping[str, str]
    """Slot -> the likeliest word; the camera's move is measured, not read."""
    certainty: Mapping[str, float]
    """Subject -> highest certainty in a frame, mean over the frames."""
    tracks: Mapping[str, np.ndarray]
    """Subject -> x y w h certainty in each frame, [t 5]."""
    counts: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Subject -> how many are seen in each frame, [t]."""
    states: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """Subject -> state -> how surely it is in it in each frame, as a logit, [t]; empty for a grader without states."""


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
    counted = peaks(maps).sum((3, 4))[0].numpy()  # t s
    counts = {name: counted[:, i] for i, name in enumerate(subjects)}
    return Reading(
        words, dict(zip(subjects, certain.tolist(), strict=True)), tracks, counts, _states(grader, seen)
    )


@dataclass(frozen=True)
class Reader:
    """Who reads clips: a grader, and others for the words that it has not learned well enough."""

    grader: Grader
    others: Mapping[str, Grader] = field(default_factory=dict)
    """Slot of MOTION -> who reads it."""

    @torch.no_grad()
    def read(self, frames: Tensor, count: int = READ) -> Reading:
        """As `read`; the others read READ frames always, as they were trained to."""
        reading = read(self.grader, frames, count)
        words = dict(reading.words)
        index = torch.linspace(0, len(frames) - 1, READ).round().long()
        for slot, grader in self.others.items():
            with autocast(torch.device("cpu")):
                said = grader(frames[None, index].float() / 255).words[slot]
            words[slot] = getattr(grader.words, slot)[int(said[0].argmax())]
        return replace(reading, words=words)


def _states(grader: Grader, seen: Seen) -> dict[str, dict[str, np.ndarray]]:
    """Subject -> state -> logits [t], each read where the subject is most certain in the frame."""
    cells = seen.maps[0].float().flatten(2).argmax(2)  # t s
    found = rearrange(seen.states[0].float(), "t n y x -> t n (y x)")
    frames = torch.arange(len(cells))
    return {
        name: {state: found[frames, n, cells[:, i]].numpy() for n, state in enumerate(grader.words.state)}
        for i, name in enumerate(grader.words.subject)
    }


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
