"""From a script to frames: every shot is made or found, then the film is shown from its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from longtake.film.guide import Guide
from longtake.film.make import Settings, Studio
from longtake.film.plan import Rates, ShotPlan, plan
from longtake.film.script import Script
from longtake.film.shelf import Shelf
from longtake.film.show import show
from longtake.finish.finisher import Finisher
from longtake.footage import native_size
from longtake.provenance.latent import Trace, marking_key
from longtake.request import Progress, Request
from longtake.video import Frame

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

MAKING = 0.6
"""Share of the work that is sampling; the rest is decoding, finishing and writing."""


_BATCH = 8
"""Finished frames that are handed on at once."""


def produce(
    request: Request, script: Script, models: Models, shelf: Shelf | None
) -> Iterator[Progress | list[Frame]]:
    """Progress, and the film's frames in order, a few at a time. Shots that are done stay on the shelf."""
    board, plans = script.board, _plans(script, models)
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
    )
    guides = [Guide(board, shot) for shot in board.shots]
    studio = Studio(models, plans, script.captions, references, guides, settings, shelf)
    there = sum(studio.is_finished(shot.index) for shot in plans)
    if there and len(plans) > 1:
        yield Progress(stage="denoise", message=f"{there} of {len(plans)} shots are finished already")

    share = [0.0] * len(plans)
    total = sum(shot.latents for shot in plans)
    for shot in plans:
        for made in studio.finished(shot.index):
            share[made.index] = max(share[made.index], made.share)
            done = sum(of * each.latents for of, each in zip(share, plans, strict=True))
            yield Progress(stage="denoise", fraction=MAKING * done / total, shot=made.index)
        share[shot.index] = 1.0

    wanted = board.spans()[-1][1]
    size, native = (request.width, request.height), models.config.fps
    frames = show(board, plans, studio.fetch, lambda: Finisher(size, board.fps, native), models)
    shown = 0
    while batch := list(islice(frames, _BATCH)):
        yield [frame for _, frame in batch]
        shown += len(batch)
        share_shown = (0.97 - MAKING) * shown / wanted
        yield Progress(stage="finish", fraction=MAKING + share_shown, shot=batch[-1][0])


def traces(script: Script, models: Models) -> list[Trace]:
    """The shots whose noise can be read from the film: those that begin with a cut and carry no other on."""
    spans = script.board.spans()
    return [
        Trace(
            spans[shot.index][0] / script.board.fps, shot.seed if shot.shot.seed is None else shot.shot.seed
        )
        for shot in _plans(script, models)
        if shot.past is None and not shot.lead_in
    ]


def _plans(script: Script, models: Models) -> tuple[ShotPlan, ...]:
    rates = Rates(script.board.fps, models.config.fps, models.config.vae.group)
    return plan(script.board, rates)
