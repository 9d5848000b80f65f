"""One shot of a film: where it starts from, and what it must lead into.

A shot is opened by words alone, by a picture, by an echo of the shot before (a match cut), or it carries an earlier
shot on. Where another shot carries this one on, its first latents may be given: the shot then ends by leading
into them, so that a shot in the middle of a long take can be made again while its neighbours stay as they are.
Axes: latents `b c f h w`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from longtake.diffusion import film
from longtake.diffusion.canvas import fitted
from longtake.diffusion.film import Chunk, Event, Progress, Take
from longtake.diffusion.sample import Start

BRIDGE = 4
"""Latent frames that lead over into given ones."""
ECHO = 0.9
"""How far a match cut may leave the composition it repeats (noise level of the start)."""


@dataclass(frozen=True)
class Surroundings:
    """What a shot is made between.

    past: latents of the take so far, which this shot carries on.
    future: first latents of the shot that carries this one on, when they are already made.
    still: the latent of a picture the shot begins with (b c 1 h w).
    echo: a latent whose composition the first window repeats (b c 1 h w).
    guide: latents of a preview that the shot is made from, as many as the shot has, left as far as `strength` says.
    """

    past: Tensor | None = None
    future: Tensor | None = None
    still: Tensor | None = None
    echo: Tensor | None = None
    guide: Tensor | None = None
    strength: float = 0.6

    def fitted(self, columns: int) -> Surroundings:
        """The same on a canvas of so many latent columns."""

        def fit(latents: Tensor | None) -> Tensor | None:
            return None if latents is None else fitted(latents, columns)

        return Surroundings(
            fit(self.past), fit(self.future), fit(self.still), fit(self.echo), fit(self.guide), self.strength
        )


def make(take: Take, frame: tuple[int, int, int, int], frames: int, around: Surroundings) -> Iterator[Event]:
    """`frames` latent frames of shape `frame` (b, c, h, w). Yields Progress, and Chunks that hold them in order."""
    if around.future is None:
        yield from _open(take, frame, frames, around)
        return
    bridge = min(BRIDGE, frames)
    before = torch.zeros(*frame[:2], 0, *frame[2:]) if around.past is None else around.past
    if frames > bridge:
        for event in _open(take, frame, frames - bridge, around):
            if isinstance(event, Progress):
                yield replace(event, wanted=frames)
            else:
                before = torch.cat([before, event.latents], 2)
                yield event
    lead_over = (
        film.connect(take, before, around.future, bridge)
        if before.shape[2]
        else film.extend(take, around.future, bridge, backward=True)
    )
    for event in lead_over:
        yield replace(event, made=frames - bridge, wanted=frames) if isinstance(event, Progress) else event


def _open(take: Take, frame: tuple[int, int, int, int], frames: int, around: Surroundings) -> Iterator[Event]:
    """The shot from its beginning, with no end in sight."""
    if around.past is not None:
        return film.extend(take, around.past, frames)
    if around.guide is not None:
        return film.edit(take, around.guide[:, :, :frames], around.strength)
    if around.still is not None:
        return film.image_to_video(take, around.still, frames)
    if around.echo is not None:
        echo = around.echo.expand(-1, -1, take.window, -1, -1)
        return film.text_to_video(take, frame, frames, Start(echo, ECHO))
    return film.text_to_video(take, frame, frames)


def collect(events: Iterator[Event]) -> Tensor:
    """All latents of a shot."""
    return torch.cat([event.latents for event in events if isinstance(event, Chunk)], 2)
