"""What the grader finds in one clip: who is where, and the words it would describe the clip with.

Positions are shares of the picture, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from longtake.judge import camera
from longtake.judge.grader import GLOBAL, MOTION, SEEN, Grader, Seen, peaks, track
from longtake.model.device import autocast

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
    chances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Slot -> word -> its probability."""

    def drift(self, subject: str) -> float | None:
        """How far a subject goes to the right, in frame widths; None where it is hardly seen."""
        path = self.tracks[subject]
        seen = path[:, 4] > SEEN
        if seen.sum() < 4:
            return None
        slope = np.polyfit(np.arange(len(path))[seen], path[seen, 0], 1)[0]
        return float(slope * (len(path) - 1))


@torch.no_grad()
def read(grader: Grader, frames: Tensor, count: int = READ) -> Reading:
    """Read a clip: frames uint8 t 3 h w at encoder size; `count` of them, evenly spaced."""
    index = torch.linspace(0, len(frames) - 1, count).round().long()
    with autocast(torch.device("cpu")):
        seen = grader(frames[None, index].float() / 255)
    maps, sizes = seen.maps.float(), seen.sizes.float()
    certain = maps.sigmoid().amax((3, 4)).mean(1)[0]  # s
    chances = {}
    for slot in GLOBAL + MOTION:
        logits = seen.words[slot].float()
        likely = (logits.mean(1) if slot in GLOBAL else logits)[0].softmax(0)
        chances[slot] = dict(zip(getattr(grader.words, slot), likely.tolist(), strict=True))
    words = {slot: max(likely, key=likely.__getitem__) for slot, likely in chances.items()}
    subjects = grader.words.subject
    tracks = {
        name: track(rearrange(maps[:, :, i], "b t y x -> b t 1 y x"), sizes)[0].numpy()
        for i, name in enumerate(subjects)
    }
    path = _filled(tracks[subjects[int(certain.argmax())]], index.numpy(), len(frames))
    words["camera"] = camera.movement(frames, path).name(float(path[-1, 0] - path[0, 0]))
    counted = peaks(maps).sum((3, 4))[0].numpy()  # t s
    counts = {name: counted[:, i] for i, name in enumerate(subjects)}
    certainty = dict(zip(subjects, certain.tolist(), strict=True))
    return Reading(words, certainty, tracks, counts, _states(grader, seen), chances)


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
