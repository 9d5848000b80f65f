"""Pictures, and films made from the user's own clips: one run of latents, given ones included, as finished frames."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from longtake.diffusion import film
from longtake.diffusion.cache import cached
from longtake.diffusion.film import Event as LatentEvent
from longtake.diffusion.film import Take
from longtake.diffusion.sample import DenoiseAt, predictor
from longtake.film.layout import Layout, lay_out, plain
from longtake.film.script import Script
from longtake.film.takes import Judge, Verdict, as_still, choose, seed_of
from longtake.finish.finisher import Finisher
from longtake.finish.size import enlarger
from longtake.footage import animated, decode, encode_video, native_size
from longtake.provenance.latent import LatentMark, marking_key
from longtake.request import Progress, Request
from longtake.video import Frame

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models


def produce(
    request: Request, script: Script, models: Models, is_picture: bool
) -> Iterator[Progress | list[Frame]]:
    """Progress of the sampler, and finished frames as soon as their latents are final."""
    native = models.config.fps
    finisher = Finisher(
        (request.width, request.height),
        native if is_picture else request.fps,
        native,
        enlarge=enlarger(models.config.vae.upscale),
    )
    memory = None
    events = _picture(request, script, models) if is_picture else _clip(request, script.caption, models)
    for event in events:
        if isinstance(event, film.Progress):
            yield Progress(stage="denoise", fraction=0.9 * event.fraction)
            continue
        for latent in event.latents.split(1, 2):
            decoded, memory = decode(latent, memory, models)
            yield finisher.push(decoded)
    yield finisher.flush()


def _picture(request: Request, script: Script, models: Models) -> Iterator[LatentEvent]:
    """The one latent of a picture, the best of its takes."""
    rows, columns = models.config.grid(*native_size(request.width, request.height, models))
    judge = Judge(models) if request.takes > 1 else None
    scenes = script.scenes(models.extra.get("vocabulary", {}))
    language = "zh" if script.board.language.startswith("zh") else "en"
    layout = (
        lay_out(scenes[0], script.caption, language, columns) if scenes else plain(script.caption, columns)
    )

    def shoot(number: int) -> Generator[LatentEvent, None, Tensor]:
        take = _take(request, layout, models, seed_of(request.seed, number))
        for event in film.text_to_picture(take, (1, models.config.vae.z, rows, layout.columns)):
            if isinstance(event, film.Chunk):
                return layout.kept(event.latents)
            yield replace(event, made=number, wanted=request.takes)
        raise AssertionError("a picture was not made")

    def verdict(latents: Tensor) -> Verdict:
        assert judge is not None
        return judge(as_still(scenes[0]), latents)

    yield film.Chunk((yield from choose(shoot, verdict, request.takes)))


def _clip(request: Request, caption: str, models: Models) -> Iterator[LatentEvent]:
    """All latents in the order in which they are shown."""
    size = native_size(request.width, request.height, models)
    take = _take(request, plain(caption, models.config.grid(*size)[1]), models, request.seed)
    assert request.video is not None
    clip = encode_video(request.video, models, size)
    count = max(1, math.ceil(round(request.seconds * models.config.fps, 6) / models.config.vae.group))
    match request.task:
        case "extend" if request.backward:
            yield from film.extend(take, clip, count, backward=True)
            yield film.Chunk(clip)
        case "extend":
            yield film.Chunk(clip)
            yield from film.extend(take, clip, count)
        case "edit":
            yield from film.edit(take, clip, request.strength)
        case "loop":
            yield film.Chunk(clip)
            yield from film.loop(take, clip)
        case "blend":
            assert request.video_b is not None
            other = encode_video(request.video_b, models, size)
            yield film.Chunk(clip)
            yield from film.connect(take, clip, other)
            yield film.Chunk(other)


def _take(request: Request, layout: Layout, models: Models, seed: int) -> Take:
    size = native_size(request.width, request.height, models)
    models = animated(models, request.image, size, models.config.window)
    negative = models.tokenizer([request.negative])

    def predict(caption: str) -> DenoiseAt:
        return predictor(models, models.tokenizer([caption]), negative, request.guidance)

    denoise = cached(layout.denoiser(predict), request.cache)
    take = Take.of(models.config, denoise, torch.Generator().manual_seed(seed), request.steps)
    key = marking_key(request, models)
    return take if key is None else replace(take, noise=layout.marked(LatentMark(key, seed)))
