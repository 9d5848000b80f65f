"""The main path: a request goes in, events come out, the last one is the film.

load the model -> words to a storyboard and captions -> latents, shot by shot -> decode, finish and mark frame by
frame -> write with metadata -> sign -> read the marks back -> give the file its name. Closing the generator, or any
error, leaves nothing behind but finished shots.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.ahead import ahead
from longtake.director import compile
from longtake.errors import OutputError, RequestError, nearest
from longtake.film.script import Script, describe, write
from longtake.finish.score import score, subtitled
from longtake.finish.subtitles import write_subtitles
from longtake.finish.synthesis import RATE
from longtake.provenance import aigc, latent
from longtake.provenance.marking import Marks
from longtake.provenance.xmp import to_xmp
from longtake.request import Event, Film, Progress, Request, build_request
from longtake.storyboard import Storyboard
from longtake.video import (
    FILMS,
    PICTURES,
    Frame,
    Writer,
    add_sound,
    check_file,
    check_folder,
    output_error,
    settle,
    thumbnail,
)

if TYPE_CHECKING:
    from longtake.adapt.fit import Options
    from longtake.model.checkpoint import Models

_AHEAD = 4
"""Batches of frames that are decoded and finished while those before them are marked and encoded."""
BF16_MISSING = "this processor has no bfloat16 arithmetic: running in float32, several times slower"


def generate(
    request: Request,
    output: Path,
    models: Models | None = None,
    work: Path | None = None,
    options: Options | None = None,
) -> Generator[Event, None, None]:
    """Make the film or picture of `request` at `output` (its suffix decides which).

    Yields Progress, at last the Film. Raises a LongtakeError; nothing is left behind then, nor on close(), but
    the finished shots in the folder `work` (None: the user's cache), from which the same film goes on.
    `options` say how a model that is loaded here shall run.
    """
    _check_output(request, output)
    for given in (request.video, request.video_b, request.image):
        if given is not None:
            check_file(given)
    from longtake import clips  # torch is loaded from here on
    from longtake.adapt.fit import memory_explained
    from longtake.adapt.lora import adapted
    from longtake.film.produce import Production
    from longtake.film.shelf import open_shelf

    if models is None:
        yield Progress(stage="load")
        models = ready(request.model, options)
    request = settled(request, models)
    vocabulary = models.extra.get("vocabulary", {})
    is_film = request.task == "generate" and not _is_picture(output)
    script = write(request, vocabulary) if is_film else describe(request, vocabulary)
    shelf, warnings = open_shelf(work) if is_film else (None, ())
    if is_film:
        request = request.model_copy(update={"storyboard": script.board, "seconds": script.board.seconds})
    for note in (*script.notes, *warnings, *_unheard(request), *_slower(models)):
        yield Progress(stage="understand", message=note)
    with adapted(models.dit, request.lora), memory_explained(models):
        if is_film:
            production = Production(request, script, models, shelf)
            yield from production.make()
            frames, traces = production.frames(), production.traces()
        else:
            frames, traces = clips.produce(request, script, models, _is_picture(output)), []
        marked = latent.said(request, models, traces)
        yield from _publish(request, output, frames, weights_id(models), script, marked)


def animatic(board: Storyboard, output: Path, atlas: Path | None = None) -> Generator[Event, None, None]:
    """Act a storyboard out on the paper theatre: no model, but sound, marks and checks as for every film."""
    from longtake import animatic as preview

    request = build_request(storyboard=board, model=preview.WEIGHTS)
    _check_output(request, output)
    script = Script(board, tuple(compile(board, shot) for shot in board.shots), preview.notes(board, atlas))
    for note in script.notes:
        yield Progress(stage="understand", message=note)
    yield from _publish(request, output, _drawn(board, atlas), preview.WEIGHTS, script)


def _drawn(board: Storyboard, atlas: Path | None) -> Iterator[Progress | list[Frame]]:
    from longtake import animatic as preview

    total = max(1, round(board.seconds * board.fps))
    for number, frame in enumerate(preview.frames(board, atlas=atlas)):
        if number % board.fps == 0:
            yield Progress(stage="finish", fraction=0.95 * number / total)
        yield [frame]


def _publish(
    request: Request,
    output: Path,
    frames: Iterator[Progress | list[Frame]],
    weights: str,
    script: Script,
    latent_mark: str | list[dict[str, Any]] = "none",
) -> Generator[Event, None, None]:
    """Write frames as a marked file with its sound, check it, and give it its name."""
    beside = output.with_name(f".{output.stem}.partial{output.suffix}")
    marks = Marks(request, weights, script.caption, latent=latent_mark)
    sound = None if _is_picture(output) else score(request)
    for note in sound.notes if sound else ():
        yield Progress(stage="understand", message=note)
    if sound and request.subtitles == "burn":
        frames = subtitled(frames, sound.spoken, request.fps)
    try:
        written = yield from (_write_picture if _is_picture(output) else _write_film)(
            request, beside, frames, marks
        )
        if sound and request.sound:
            add_sound(beside, sound.samples, RATE)
        yield Progress(stage="verify", fraction=1.0)
        marks.seal(beside, output.name)
        settle(beside, output)
        if sound and sound.spoken and request.subtitles in ("srt", "vtt"):
            write_subtitles(output.with_suffix(f".{request.subtitles}"), sound.spoken)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    yield Film(
        path=output,
        width=request.width,
        height=request.height,
        fps=request.fps,
        frames=written,
        seconds=written / request.fps,
        seed=request.seed,
        caption=script.caption,
        notes=script.notes,
        storyboard=request.storyboard,
        produce_id=aigc.produce_id(request, weights),
    )


def load_models(name: str) -> Models:
    """The model of this name or path. Raises RequestError or WeightsError."""
    from longtake.model import checkpoint

    if name == "pocket":
        return checkpoint.load()
    if name == "pocket-fast":
        return _fast(checkpoint.load())
    from longtake.model import wan

    if name in wan.PUBLISHED:
        return wan.load_published(name)
    path = Path(name)
    if wan.is_wan(path):
        return wan.load(path)
    if path.suffix == ".safetensors" or path.exists():
        return checkpoint.load(path)
    names = model_names()
    raise RequestError(
        f"unknown model {name!r}; valid: {', '.join(names)}, or the path of a weights file or folder"
        f"{nearest(name, names)}"
    )


def model_names() -> tuple[str, ...]:
    """Models that go by a name; any other goes by its path."""
    from longtake.model import wan

    return ("pocket", "pocket-fast", *wan.PUBLISHED)


def _fast(models: Models) -> Models:
    """The packaged model with the adapter in its weights that makes its films in few steps."""
    from longtake.adapt.lora import load_lora
    from longtake.model import checkpoint

    load_lora(checkpoint.FEW_STEPS, models.dit).fuse()
    sampling = replace(models.config.sampling, steps=checkpoint.FEW, guidance=1.0)
    return models.but(config=replace(models.config, sampling=sampling), name="pocket-fast")


def ready(name: str, options: Options | None = None) -> Models:
    """The model of this name or path, fitted to this machine as `options` say; see `adapt.fit.fit` for its errors."""
    from longtake.adapt.fit import Options as Defaults
    from longtake.adapt.fit import fit

    return fit(load_models(name), options or Defaults())


def settled(request: Request, models: Models) -> Request:
    """The request with the model's own steps, guidance and takes where it says nothing of them.

    Raises RequestError for takes that nobody can compare.
    """
    from longtake.film.takes import Judge, usual_takes

    recipe, judged = models.config.sampling, request.task == "generate" and Judge.knows(models)
    if request.takes > 1 and not judged:
        raise RequestError(
            "takes are compared for films and pictures by pocket, whose words the judge knows; use --takes 1"
        )
    own = {
        "steps": recipe.steps,
        "guidance": recipe.guidance,
        "takes": usual_takes(request.seconds) if judged else 1,
    }
    return request.model_copy(update={k: v for k, v in own.items() if k not in request.model_fields_set})


def weights_id(models: Models) -> str:
    return f"{models.name} {models.extra.get('version', '')}".strip()


def _check_output(request: Request, output: Path) -> None:
    check_folder(output)
    suffix = output.suffix.lower()
    if suffix not in FILMS + PICTURES:
        raise OutputError(
            f"cannot write {suffix or 'a file without suffix'}; name it .mp4 for a film or .png for a picture"
            f"{nearest(suffix, FILMS + PICTURES)}"
        )
    if _is_picture(output) and (request.task != "generate" or request.storyboard):
        what = request.task if request.task != "generate" else "a storyboard"
        raise OutputError(f"{what} makes a film; name the output .mp4")


def _is_picture(output: Path) -> bool:
    return output.suffix.lower() in PICTURES


def _slower(models: Models) -> tuple[str, ...]:
    from longtake.model.device import autocast_dtype

    device = next(models.dit.parameters()).device
    return () if autocast_dtype(device) is not None else (BF16_MISSING,)


def _unheard(request: Request) -> tuple[str, ...]:
    board = request.storyboard
    avoided = request.negative or (board.style.negative if board else "")
    heard = not avoided or request.guidance != 1
    return () if heard else ("at guidance 1 the model is not told what to avoid; give --guidance 3",)


def _write_film(
    request: Request, path: Path, frames: Iterator[Progress | list[Frame]], marks: Marks
) -> Generator[Progress, None, int]:
    writer: Writer | None = None
    progress = Progress(stage="denoise")
    made = ahead(lambda: frames, _AHEAD)
    try:
        for event in made:
            if isinstance(event, Progress):
                yield (progress := event)
                continue
            writer = writer or Writer(path, request.width, request.height, request.fps, marks.tags)
            for frame in event:
                shown = marks.apply(frame, writer.frames / request.fps)
                writer.write(shown)
            if event:
                yield progress.model_copy(update={"message": "", "preview": thumbnail(shown)})
        assert writer is not None
        yield Progress(stage="finish", fraction=0.97)
        writer.finish()
        return writer.frames
    except BaseException:
        made.close()
        if writer is not None:
            writer.abandon()
        raise


def _write_picture(
    request: Request, path: Path, frames: Iterator[Progress | list[Frame]], marks: Marks
) -> Generator[Progress, None, int]:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    for event in frames:
        if isinstance(event, Progress):
            yield event
            continue
        image = Image.fromarray(marks.apply(event[0], 0.0))
        text = PngInfo()
        for key, value in marks.tags.items():
            text.add_itxt(key, value)
        try:
            if path.suffix.lower() == ".png":
                image.save(path, pnginfo=text)
            else:
                image.save(path, quality=92, xmp=to_xmp(marks.tags))
        except OSError as error:
            raise output_error(path, error) from error
        break
    return 1
