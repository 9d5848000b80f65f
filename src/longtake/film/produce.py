"""From a script to frames: every shot is made or found, then the film is shown from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from longtake.film.framing import framed
from longtake.film.guide import Guide
from longtake.film.make import Settings, Studio
from longtake.film.plan import Rates, plan
from longtake.film.script import Script
from longtake.film.shelf import Shelf
from longtake.film.show import show
from longtake.finish.finisher import Finisher
from longtake.finish.size import enlarger
from longtake.footage import native_size
from longtake.provenance.latent import Trace, marking_key
from longtake.request import Progress, Request
from longtake.video import Frame

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

MAKING = 0.6
"""Share of the work that is sampling; the rest is decoding, finishing and writing."""


_BATCH = 4
"""Finished frames that are handed on at once."""


class Production:
    """One film: `make` its shots, then ask for its `frames`. Shots that are done stay on the shelf."""

    def __init__(self, request: Request, script: Script, models: Models, shelf: Shelf | None) -> None:
        board = script.board
        rates = Rates(board.fps, models.config.fps, models.config.vae.group)
        self._request, self._board, self._models = request, board, models
        self._plans = plan(board, rates)
        references = [
            [path for cast in shot.characters for path in board.character(cast.id).references]
            for shot in board.shots
        ]
        settings = Settings(
            size=native_size(request.width, request.height, models),
            steps=request.steps,
            guidance=request.guidance,
            negative=", ".join(filter(None, (request.negative, board.style.negative))),
            image=request.image,
            lora=request.lora,
            cache=request.cache,
            guide=request.strength if request.guide else 0.0,
            mark=marking_key(request, models),
            takes=request.takes,
        )
        guides = [Guide(board, shot) for shot in board.shots]
        framing = framed(script, self._plans, request, models)
        self._framing = framing
        self._studio = Studio(
            models, self._plans, framing.layouts, references, guides, framing.scenes, settings, shelf
        )

    def make(self) -> Iterator[Progress]:
        """Make what is not finished yet."""
        there = sum(self._studio.is_finished(shot.index) for shot in self._plans)
        if there and len(self._plans) > 1:
            message = f"{there} of {len(self._plans)} shots are finished already"
            yield Progress(stage="denoise", message=message)
        share = [0.0] * len(self._plans)
        total = sum(shot.latents for shot in self._plans)
        for shot in self._plans:
            for made in self._studio.finished(shot.index):
                share[made.index] = max(share[made.index], made.share)
                done = sum(of * each.latents for of, each in zip(share, self._plans, strict=True))
                yield Progress(stage="denoise", fraction=MAKING * done / total, shot=made.index)
            share[shot.index] = 1.0

    def traces(self) -> list[Trace]:
        """The shots whose noise can be read from the film: those that begin with a cut and carry no other on, of the
        model's own size, from a camera at rest."""
        spans = self._board.spans()
        return [
            Trace(spans[shot.index][0] / self._board.fps, self._studio.fetch(shot.index).seed)
            for shot in self._plans
            if shot.past is None and not shot.lead_in and self._framing.is_as_made(shot.index)
        ]

    def frames(self) -> Iterator[Progress | list[Frame]]:
        """The film's frames in order, a few at a time, each batch behind its progress."""
        request, board = self._request, self._board
        size, native = (request.width, request.height), self._models.config.fps
        wanted = board.spans()[-1][1]

        enlarge = enlarger(self._models.config.vae.upscale)

        def finisher(index: int) -> Finisher:
            return Finisher(size, board.fps, native, self._framing.cameras[index], enlarge)

        frames = show(board, self._plans, self._studio.fetch, finisher, self._models)
        shown = 0
        while batch := list(islice(frames, _BATCH)):
            shown += len(batch)
            share_shown = (0.97 - MAKING) * shown / wanted
            yield Progress(stage="finish", fraction=MAKING + share_shown, shot=batch[-1][0])
            yield [frame for _, frame in batch]
