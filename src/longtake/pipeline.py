"""The main path: a request goes in, events come out, the last one is the film.

understand the words -> load the model -> make latents -> decode, finish and mark frame by frame -> write with
metadata -> sign -> read the marks back -> give the file its name. Closing the generator, or any error, leaves
nothing behind.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.director import understand
from longtake.errors import OutputError, RequestError, nearest
from longtake.provenance import aigc
from longtake.provenance.marking import Marks
from longtake.provenance.verify import to_xmp
from longtake.request import Event, Film, Progress, Request
from longtake.video import FILMS, PICTURES, Frame, Writer, check_folder, output_error, settle

if TYPE_CHECKING:
    from torch import Tensor

    from longtake.diffusion.film import Event as LatentEvent
    from longtake.diffusion.film import Take
    from longtake.model.checkpoint import Models

BF16_MISSING = "this processor has no bfloat16 arithmetic: running in float32, several times slower"


def generate(request: Request, output: Path, models: Models | None = None) -> Generator[Event, None, None]:
    """Make the film or picture of `request` at `output` (its suffix decides which).

    Yields Progress, at last the Film. Raises a LongtakeError; nothing is left behind then, nor on close().
    """
    _check_output(request, output)
    if models is None:
        yield Progress(stage="load")
        models = load_models(request.model)
    understanding = understand(request.prompt, models.extra.get("vocabulary", {}))
    for note in (*understanding.notes, *_slower(models)):
        yield Progress(stage="understand", message=note)
    beside = output.with_name(f".{output.stem}.partial{output.suffix}")
    marks = Marks(request, weights_id(models), understanding.caption)
    try:
        frames = _frames(request, models, understanding.caption, is_picture=_is_picture(output))
        written = yield from (_write_picture if _is_picture(output) else _write_film)(
            request, beside, frames, marks
        )
        yield Progress(stage="verify", fraction=1.0)
        marks.seal(beside, output.name)
        settle(beside, output)
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
        caption=understanding.caption,
        notes=understanding.notes,
        produce_id=aigc.produce_id(request, weights_id(models)),
    )


def load_models(name: str) -> Models:
    """The model of this name or path. Raises RequestError or WeightsError."""
    from longtake.model import checkpoint

    if name == "pocket":
        return checkpoint.load()
    path = Path(name)
    if path.suffix == ".safetensors" or path.exists():
        return checkpoint.load(path)
    raise RequestError(
        f"unknown model {name!r}; valid: pocket, or the path of a weights file{nearest(name, ['pocket'])}"
    )


def weights_id(models: Models) -> str:
    return f"{models.name} {models.extra.get('version', '')}".strip()


def latent_frames(request: Request, models: Models) -> int:
    """Latent frames that hold the asked seconds; the last group may be cut."""
    group, fps = models.config.vae.group, models.config.fps
    return max(1, math.ceil(round(request.seconds * fps, 6) / group))


def native_size(request: Request, models: Models) -> tuple[int, int]:
    """The model's own (width, height) whose shape is nearest to the asked one."""
    wanted = math.log(request.width / request.height)
    return min(models.config.sizes, key=lambda size: abs(math.log(size[0] / size[1]) - wanted))


def _check_output(request: Request, output: Path) -> None:
    suffix = output.suffix.lower()
    if suffix not in FILMS + PICTURES:
        raise OutputError(
            f"cannot write {suffix or 'a file without suffix'}; name it .mp4 for a film or .png for a picture"
            f"{nearest(suffix, FILMS + PICTURES)}"
        )
    if _is_picture(output) and request.task != "generate":
        raise OutputError(f"{request.task} makes a film; name the output .mp4")
    check_folder(output)


def _is_picture(output: Path) -> bool:
    return output.suffix.lower() in PICTURES


def _slower(models: Models) -> tuple[str, ...]:
    from longtake.model.device import autocast_dtype

    device = next(models.dit.parameters()).device
    return () if autocast_dtype(device) is not None else (BF16_MISSING,)


def _frames(
    request: Request, models: Models, caption: str, is_picture: bool
) -> Iterator[Progress | list[Frame]]:
    """Progress of the sampler, and finished frames as soon as their latents are final."""
    from longtake.diffusion import film
    from longtake.finish import finish

    plan = _plan(request, models, caption, is_picture)
    wanted = 1 if is_picture else _frame_count(request, models)
    repeats = 1 if is_picture else request.fps // models.config.fps
    memory, made = None, 0
    for event in plan:
        if isinstance(event, film.Progress):
            yield Progress(stage="denoise", fraction=0.9 * event.fraction)
            continue
        for index in range(event.latents.shape[2]):
            decoded, memory = _decode(models, event.latents[:, :, index : index + 1], memory)
            frames = finish(decoded, request.width, request.height, repeats)
            frames = frames[: wanted - made if request.task == "generate" else None]
            made += len(frames)
            yield frames


def _frame_count(request: Request, models: Models) -> int:
    return max(1, round(request.seconds * request.fps))


def _decode(models: Models, latent: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
    import torch

    from longtake.model.device import autocast

    device = next(models.vae.parameters()).device
    with torch.no_grad(), autocast(device):
        decoded, memory = models.vae.stream(latent.to(device), memory)
    return decoded.float().cpu(), memory


def _plan(request: Request, models: Models, caption: str, is_picture: bool) -> Iterator[LatentEvent]:
    """The latents of the whole film, given ones included, in the order in which they are shown."""
    from longtake.diffusion import film
    from longtake.footage import encode_picture, encode_video

    take = _take(request, models, caption)
    size = native_size(request, models)
    rows, columns = models.config.grid(*size)
    frame = (1, models.config.vae.z, rows, columns)
    count = latent_frames(request, models)
    if request.task == "generate":
        if is_picture:
            yield from film.text_to_picture(take, frame)
        elif request.image is not None:
            yield from film.image_to_video(take, encode_picture(request.image, models, size), count)
        else:
            yield from film.text_to_video(take, frame, count)
        return
    assert request.video is not None
    clip = encode_video(request.video, models, size)
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


def _take(request: Request, models: Models, caption: str) -> Take:
    import torch

    from longtake.diffusion.film import Take
    from longtake.diffusion.sample import predictor

    tokens, negative = models.tokenizer([caption]), models.tokenizer([request.negative])
    generator = torch.Generator().manual_seed(request.seed)
    return Take(
        predictor(models, tokens, negative, request.guidance),
        generator,
        steps=request.steps,
        window=models.config.window,
    )


def _write_film(
    request: Request, path: Path, frames: Iterator[Progress | list[Frame]], marks: Marks
) -> Generator[Progress, None, int]:
    writer: Writer | None = None
    try:
        for event in frames:
            if isinstance(event, Progress):
                yield event
                continue
            writer = writer or Writer(path, request.width, request.height, request.fps, marks.tags)
            for frame in event:
                writer.write(marks.apply(frame, writer.frames / request.fps))
        assert writer is not None
        yield Progress(stage="finish", fraction=0.97)
        writer.finish()
        return writer.frames
    except BaseException:
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
