"""What has to be made for each shot of a board: how many latents, from which seed, and from which other shots.

Frames are counted at the film's rate. A shot's picture may begin before its cut and end after it (`lead_in`,
`lead_out`: what a dissolve or wipe shows of it there). A shot that carries another on lies on the same row of
latents, the take; where the seam falls inside a latent frame, both shots show their part of it.

Two versions of a shot: the *first*, from the seed of the board, and a *retake*, when the shot has a seed of its own.
Whatever depends on another shot depends on its first version, so a retake changes nothing but itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from longtake.film.transitions import MIXERS
from longtake.storyboard import Shot, Storyboard

MOST_REMEMBERED = 3


@dataclass(frozen=True)
class Rates:
    """fps of the film, and of the model with its frames in one latent."""

    film: int
    native: int
    group: int

    @property
    def per_latent(self) -> int:
        """Film frames in one latent."""
        return max(1, round(self.group * self.film / self.native))


@dataclass(frozen=True)
class ShotPlan:
    """One shot. Frames are the film's, latents the take's."""

    index: int
    shot: Shot
    seed: int
    """Of the first version."""
    lead_in: int
    lead_out: int
    frames: int
    """All that is shown of it, lead-in and lead-out included."""
    begin: int
    """Where on its take it begins, in frames."""
    held: int
    """Latents of the take that are there already when it begins."""
    latents: int
    """Latents to be made."""
    skip: int
    """Frames of its first latent that belong to the shot before."""
    past: int | None
    """Index of the shot it carries on."""
    future: int | None
    """Index of the first shot that carries it on."""
    echo: int | None
    """Index of the shot whose last picture a match cut repeats."""
    remembers: tuple[int, ...]
    """Indices of the shots whose characters and place it remembers."""

    @property
    def shared(self) -> bool:
        """It shows a part of the last latent that was there."""
        return self.skip > 0

    @property
    def is_retake(self) -> bool:
        return self.shot.seed is not None and self.shot.seed != self.seed


def plan(board: Storyboard, rates: Rates) -> tuple[ShotPlan, ...]:
    """The plan of every shot, in order."""
    planned: list[ShotPlan] = []
    for index in range(len(board.shots)):
        planned.append(_plan(board, rates, index, planned))
    return tuple(planned)


def overlap(board: Storyboard, index: int, fps: int) -> int:
    """Frames in which shot `index` and the one before it are both seen."""
    if not 0 < index < len(board.shots) or board.shots[index].transition.type not in MIXERS:
        return 0
    lengths = [end - first for first, end in board.spans(fps)[index - 1 : index + 1]]
    return min(round(board.shots[index].transition.duration * fps), *lengths)


def _plan(board: Storyboard, rates: Rates, index: int, earlier: list[ShotPlan]) -> ShotPlan:
    shot = board.shots[index]
    ids = [other.id for other in board.shots]
    first, end = board.spans(rates.film)[index]
    into = overlap(board, index, rates.film)
    out = overlap(board, index + 1, rates.film)
    lead_in, lead_out = into // 2, out - out // 2
    frames = lead_in + end - first + lead_out
    past = None if shot.continue_from is None else ids.index(shot.continue_from)
    begin = 0 if past is None else _end(earlier[past])
    held = ceil(begin / rates.per_latent)
    followers = [i for i, other in enumerate(board.shots) if other.continue_from == shot.id]
    return ShotPlan(
        index=index,
        shot=shot,
        seed=board.seed_of(shot),
        lead_in=lead_in,
        lead_out=lead_out,
        frames=frames,
        begin=begin,
        held=held,
        latents=max(1, ceil((begin + frames) / rates.per_latent) - held),
        skip=begin % rates.per_latent,
        past=past,
        future=followers[0] if followers else None,
        echo=index - 1 if shot.transition.type == "match_cut" else None,
        remembers=_remembered(board, index),
    )


def _end(plan: ShotPlan) -> int:
    """Where on its take a shot ends, its lead-out left aside."""
    return plan.begin + plan.frames - plan.lead_out


def _remembered(board: Storyboard, index: int) -> tuple[int, ...]:
    """The shots here in which each character, then the place, was first seen; a retake remembers its first version.

    A remembered picture brings its background along: a hero remembered from the snow takes the snow to the beach. What
    the take carries on anyhow is left out, and so are characters shown by reference pictures.
    """
    shot = board.shots[index]
    take = {index}
    while (carried := board.shots[min(take)].continue_from) is not None:
        take.add(next(i for i, other in enumerate(board.shots) if other.id == carried))
    here = shot.location or board.shots[min(take)].location
    if shot.seed is not None and shot.continue_from is None:
        take.remove(index)
        index += 1
    pictured = {("character", person.id) for person in board.characters if person.references}
    found: dict[int, None] = {}
    for noun in _nouns(shot):
        seen = [
            i
            for i, other in enumerate(board.shots[:index])
            if noun in _nouns(other) and other.location == here
        ]
        if noun not in pictured and seen and seen[0] not in take:
            found[seen[0]] = None
    return tuple(found)[:MOST_REMEMBERED]


def _nouns(shot: Shot) -> list[tuple[str, str]]:
    """Who and where."""
    where = [] if shot.location is None else [("location", shot.location)]
    return [("character", cast.id) for cast in shot.characters] + where
