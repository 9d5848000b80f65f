"""Finished latents become the film's frames, in order: decoded and finished as they are shown, joined at the cuts.

Every shot is decoded and finished for itself, so its frames do not depend on its neighbours; only a transition
shows two at once, and holds no more than one frame of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from longtake.film import transitions
from longtake.film.plan import ShotPlan, overlap
from longtake.film.shelf import Finished
from longtake.footage import decode
from longtake.storyboard import Storyboard
from longtake.video import Frame

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models


class Fetch(Protocol):
    """The finished shot of this index, or its first version."""

    def __call__(self, index: int, first: bool = False) -> Finished: ...


class Finisher(Protocol):
    """Native frames of one shot in, frames of the film out."""

    def push(self, decoded: Tensor) -> Sequence[Frame]:
        """The next native frames, 1 3 t h w in [-1, 1]."""
        ...

    def flush(self) -> Sequence[Frame]:
        """What is left after the last."""
        ...


def show(
    board: Storyboard,
    plans: Sequence[ShotPlan],
    finished: Fetch,
    finisher: Callable[[int], Finisher],
    models: Models,
) -> Iterator[tuple[int, Frame]]:
    """(shot, frame) of the whole film, exactly as many as the board's seconds hold."""
    spans = board.spans()

    def reel(index: int) -> Iterator[Frame]:
        return _reel(plans, index, finished, finisher(index), models)

    current, at = reel(0), 0
    for index, (_, end) in enumerate(spans):
        following = index + 1
        shared = overlap(board, following, board.fps)
        alone = end - shared // 2 - at
        for frame in islice(current, alone):
            yield index, _lit(board, spans, index, at, frame)
            at += 1
        if following == len(spans):
            return
        entering = reel(following)
        for step in range(shared):
            mix = transitions.MIXERS[board.shots[following].transition.type]
            frame = mix(next(current), next(entering), (step + 0.5) / shared)
            yield index, _lit(board, spans, index, at, frame)
            at += 1
        current = entering


def _reel(
    plans: Sequence[ShotPlan],
    index: int,
    finished: Fetch,
    finisher: Finisher,
    models: Models,
) -> Iterator[Frame]:
    """All frames of one shot, lead-in and lead-out included."""
    plan, shot = plans[index], finished(index)

    def finished_frames() -> Iterator[Frame]:
        memory = None
        for latent in () if shot.lead is None else shot.lead.split(1, 2):
            _, memory = decode(latent, memory, models)
        for latent in shot.latents.split(1, 2):
            decoded, memory = decode(latent, memory, models)
            yield from finisher.push(decoded)
        if index + 1 < len(plans) and plans[index + 1].past == index:
            # what the last frames move towards: the next shot's first version, so that its retakes change nothing here
            following = finished(index + 1, True).latents[:, :, int(plans[index + 1].shared) :]
            decoded, _ = decode(following[:, :, :1], memory, models)
            yield from finisher.push(decoded[:, :, :1])
        yield from finisher.flush()

    return islice(finished_frames(), plan.skip, plan.skip + plan.frames)


def _lit(board: Storyboard, spans: Sequence[tuple[int, int]], index: int, at: int, frame: Frame) -> Frame:
    """The frame, darkened where the film fades out of one shot or into the next."""
    light = 1.0
    first, end = spans[index]
    into = board.shots[index].transition
    if into.type == "fade":
        frames = round(into.duration * board.fps)
        opening = frames - frames // 2 if index else frames
        light = min(light, (at - first + 0.5) / opening)
    if index + 1 < len(spans) and board.shots[index + 1].transition.type == "fade":
        closing = round(board.shots[index + 1].transition.duration * board.fps) // 2
        if closing and at >= end - closing:
            light = min(light, (end - at - 0.5) / closing)
    return transitions.dim(frame, max(0.0, light))
