"""The command line: thin. Every command builds a Request or calls one function; errors are one line and exit 2."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from longtake.errors import LongtakeError
from longtake.flags import takes
from longtake.options import (
    Clip,
    Fps,
    How,
    Output,
    Prompt,
    Seconds,
    Seed,
    Size,
    Takes,
    clip_options,
    model_options,
)
from longtake.server.commands import serve

if TYPE_CHECKING:
    from collections.abc import Generator

    from longtake.adapt.fit import Options
    from longtake.request import Event, Request


UsageError: Any = typer.BadParameter.__base__
"""Wrong words on the command line. Typer carries its own copy of click; this is how it is reached."""


GROUPS = {
    "bench": "longtake.evaluate.bench_commands",
    "curate": "longtake.curate.commands",
    "eval": "longtake.evaluate.commands",
    "keys": "longtake.server.keys_commands",
    "train": "longtake.train.commands",
    "world": "longtake.world.commands",
}
"""Groups of commands that are imported only when they are asked for."""


class Commands(TyperGroup):
    """The commands below, and GROUPS."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in GROUPS:
            command = typer.main.get_command(importlib.import_module(GROUPS[cmd_name]).app)
            command.name = cmd_name
            return command
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Words in, a film out, on your own machine. 一句话，一部短片。",
)
app.command()(serve)


@app.command()
@takes(model_options)
def generate(
    how: How,
    prompt: Prompt = "",
    output: Output = Path("film.mp4"),
    seconds: Annotated[
        float | None, typer.Option(help="Length in seconds, 0.25 to 60; 4 by default.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Width x height in pixels; 1280x720 by default.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second: 12, 24 or 30; 24 by default.")] = None,
    seed: Seed = None,
    model: Annotated[
        str | None, typer.Option(help="A model, or the path of a weights file; pocket by default.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="A picture the film begins with.")] = None,
    one_take: Annotated[bool, typer.Option("--one-take", help="One unbroken take, no cuts.")] = False,
    takes: Takes = None,
    director: Annotated[
        str, typer.Option(help="rules, or the address of an OpenAI-compatible endpoint.")
    ] = "rules",
    storyboard: Annotated[
        Path | None, typer.Option(help="A storyboard (.json), or a film made from one (.mp4).")
    ] = None,
    remake: Annotated[
        str | None, typer.Option(help="Make this shot of the storyboard again, from --seed or a new one.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder that keeps finished shots; the user's cache by default.")
    ] = None,
    guide: Annotated[
        str,
        typer.Option(help="animatic: make each shot from the storyboard acted out, not from noise alone."),
    ] = "",
    strength: Annotated[float, typer.Option(help="How far to leave the guide, up to 1.")] = 0.6,
    sound: Annotated[bool, typer.Option(help="Speech, ambience and music.")] = True,
    music: Annotated[str, typer.Option(help="auto, none, calm, warm, bright, night or tense.")] = "auto",
    subtitles: Annotated[str, typer.Option(help="none, srt or vtt beside the film, or burn.")] = "none",
) -> None:
    """Make a film, or a picture, from words or a storyboard."""
    from longtake.request import build_request

    given = dict(
        prompt=prompt or None, seconds=seconds, size=size, fps=fps, seed=seed, model=model, image=image, takes=takes,
        **how.request,
    )  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    if storyboard or remake:
        options = _board(storyboard, remake, options)
    request = build_request(
        one_take=one_take, director=director, sound=sound, music=music, subtitles=subtitles, guide=guide,
        strength=strength, **options,
    )  # fmt: skip
    _make(request, output, how.options, work)


def _board(path: Path | None, remake: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options together with a storyboard's, which is changed as they say; changes are named on standard error."""
    from longtake.errors import RequestError
    from longtake.film.script import made_with, read_board

    if path is None:
        raise RequestError("--remake needs --storyboard: the board, or the film, whose shot is made again")
    board = read_board(path)
    seed = options.pop("seed", None)
    if remake is not None:
        board = board.retake(remake, seed)
        print(f"shot {remake} again, from seed {board.shot(remake).seed}", file=sys.stderr)
    elif seed is not None:
        board = board.reseeded(seed)
    for name in ("size", "fps"):
        said = options.pop(name, None)
        if said is not None and said != getattr(board, name):
            print(f"{name} {said} instead of the storyboard's {getattr(board, name)}", file=sys.stderr)
            board = board.revised(**{name: said})
    return made_with(path) | options | {"storyboard": board}


@app.command()
@takes(clip_options)
def extend(
    clip: Clip,
    prompt: Prompt,
    how: How,
    output: Output = Path("extended.mp4"),
    seconds: Seconds = 4.0,
    backward: Annotated[bool, typer.Option("--backward", help="Make what came before instead.")] = False,
) -> None:
    """Make a clip go on, or begin earlier."""
    _run(output, how, task="extend", video=clip, prompt=prompt, seconds=seconds, backward=backward)


@app.command()
@takes(clip_options)
def blend(
    first: Clip,
    second: Clip,
    how: How,
    output: Output = Path("blended.mp4"),
    prompt: Annotated[str, typer.Option(help="What happens in between.")] = "",
) -> None:
    """Connect two clips with a made transition."""
    _run(output, how, task="blend", video=first, video_b=second, prompt=prompt)


@app.command()
@takes(clip_options)
def edit(
    clip: Clip,
    prompt: Prompt,
    how: How,
    output: Output = Path("edited.mp4"),
    strength: Annotated[float, typer.Option(help="How far to leave the original, up to 1.")] = 0.6,
) -> None:
    """Make a clip again, as the prompt says."""
    _run(output, how, task="edit", video=clip, prompt=prompt, strength=strength)


@app.command()
@takes(clip_options)
def loop(
    clip: Clip,
    how: How,
    output: Output = Path("loop.mp4"),
    prompt: Annotated[str, typer.Option(help="What happens on the way back.")] = "",
) -> None:
    """Lead the end of a clip back to its beginning."""
    _run(output, how, task="loop", video=clip, prompt=prompt)


Board = Annotated[Path, typer.Argument(help="A storyboard, or a film made from one.", show_default=False)]


@app.command()
def storyboard(
    prompt: Prompt,
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file to write.")] = Path("board.json"),
    seconds: Annotated[
        float | None, typer.Option(help="Length; as the script says, or 5 a shot, by default.")
    ] = None,
    size: Size = "1280x720",
    fps: Fps = 24,
    seed: Seed = None,
    one_take: Annotated[bool, typer.Option("--one-take", help="One unbroken take, no cuts.")] = False,
    director: Annotated[
        str, typer.Option(help="rules, or the address of an OpenAI-compatible endpoint.")
    ] = "rules",
    vocabulary: Annotated[str, typer.Option(help="Keep to the words of: any, pocket or full.")] = "any",
    strict: Annotated[
        bool, typer.Option("--strict", help="A word outside the vocabulary is an error.")
    ] = False,
) -> None:
    """Write the storyboard of a prompt, to be read and changed before it is filmed."""
    from longtake.boards import direct

    board, notes = direct(
        prompt, seconds=seconds, size=size, fps=fps, seed=seed, one_take=one_take, director=director,
        vocabulary=vocabulary, strict=strict, output=output,
    )  # fmt: skip
    for note in notes:
        print(note, file=sys.stderr)
    print(f"{output}  {len(board.shots)} shots, {board.seconds:g} s, seed {board.seed}")


@app.command()
def animatic(
    board: Board,
    output: Output = Path("preview.mp4"),
    size: Annotated[str | None, typer.Option(help="Width x height; the board's by default.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second; the board's by default.")] = None,
    atlas: Annotated[Path | None, typer.Option(help="Atlas of drawings; the shipped one by default.")] = None,
) -> None:
    """Act a storyboard out on the paper theatre: every shot, cut and move in time, without a model."""
    from longtake.boards import sized
    from longtake.pipeline import animatic as act

    _show(act(sized(board, size, fps), output, atlas))


@app.command()
def export(
    board: Board,
    output: Annotated[Path, typer.Option("-o", "--output", help="OpenTimelineIO file to write.")] = Path(
        "film.otio"
    ),
    film: Annotated[Path | None, typer.Option(help="The finished film that the clips point into.")] = None,
) -> None:
    """Write a storyboard as a timeline for an editing program (OpenTimelineIO)."""
    from longtake.film.script import read_board
    from longtake.timeline import export as write
    from longtake.video import FILMS

    found = read_board(board)
    write(found, output, film or (board if board.suffix.lower() in FILMS else None))
    print(f"{output}  {len(found.shots)} clips, {found.seconds:g} s")


@app.command()
def sheet(
    film: Clip,
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write.")] = Path("sheet.png"),
    poster: Annotated[bool, typer.Option("--poster", help="One whole frame instead.")] = False,
    moving: Annotated[bool, typer.Option("--moving", help="The whole film as an animated .webp.")] = False,
    columns: Annotated[int, typer.Option(help="Frames in a row of the sheet.")] = 4,
    width: Annotated[int, typer.Option(help="Width of one frame in pixels.")] = 320,
) -> None:
    """Picture a film: a frame of each shot, a poster, or a moving picture for a page."""
    from longtake import sheet as pictures
    from longtake.errors import RequestError

    if poster and moving:
        raise RequestError("a picture is a --poster or --moving, not both; leave one out")
    if not (1 <= columns <= 20 and 32 <= width <= 1920):
        raise RequestError("columns must be 1 to 20 and width 32 to 1920")
    if poster:
        print(f"{output}  the frame at {pictures.poster(film, output):.1f} s")
    elif moving:
        print(f"{output}  {pictures.moving(film, output, width)} frames")
    else:
        print(f"{output}  {pictures.sheet(film, output, columns, width)} frames")


@app.command()
def dub(
    clip: Clip,
    output: Output = Path("dubbed.mp4"),
    text: Annotated[str, typer.Option(help="What is said, spread over the film.")] = "",
    srt: Annotated[Path | None, typer.Option(help="SRT or VTT file: what is said when.")] = None,
    language: Annotated[str, typer.Option(help="en, zh, de, ...; seen from the letters by default.")] = "",
    voice: Annotated[str, typer.Option(help="Who speaks, such as 'a woman'.")] = "",
    music: Annotated[str, typer.Option(help="none, calm, warm, bright, night or tense.")] = "none",
    replace: Annotated[bool, typer.Option("--replace", help="Drop the sound the film has.")] = False,
    subtitles: Annotated[str, typer.Option(help="none, srt or vtt beside the film, or burn.")] = "none",
) -> None:
    """Speak over a film; its marks stay."""
    from longtake.dub import Dub
    from longtake.dub import dub as speak

    made = speak(Dub(clip, text, srt, language, voice, music, replace, subtitles), output)
    for note in made.notes:
        print(note, file=sys.stderr)
    print(f"{made.path}  {made.seconds:g} s, {len(made.spoken)} lines spoken")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A video or picture.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    latent: Annotated[
        bool,
        typer.Option("--latent", help="Look for the mark in the noise too; takes the model and some time."),
    ] = False,
    model: Annotated[str, typer.Option(help="The model that --latent walks the film back with.")] = "pocket",
) -> None:
    """Who made this? Exit 0 marked as generated, 1 no marks, 2 unreadable."""
    from longtake import verify as read_marks

    report = read_marks(file, latent=latent, model=model)
    if json:
        print(report.to_json())
    else:
        for signal in report.signals:
            print(f"{'yes' if signal.found else 'no ':3}  {signal.name}: {signal.detail}")
        for reason in report.altered:
            print(f"     {reason}")
        print(report.verdict)
    raise typer.Exit(0 if report.marked else 1)


@app.command()
def models(
    plan: Annotated[
        str | None, typer.Option(help="A model: say what would be where, the peak of memory and the time.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Plan for this much, such as 12GB; this machine's.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Plan for this width x height; the model's own.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Plan for a clip this long; the model's own.")] = None,
    steps: Annotated[int | None, typer.Option(help="Plan for so many steps; the model's own.")] = None,
    precision: Annotated[str, typer.Option(help="Plan for weights in bf16, fp8, int8 or fp32.")] = "bf16",
    tflops: Annotated[float | None, typer.Option(help="Speed of the device; measured here.")] = None,
) -> None:
    """What is available, and what it has pictures for; or, with --plan, what a model would cost."""
    if plan is not None:
        from longtake.adapt.plan import describe

        for line in describe(plan, memory, size, seconds, steps, precision, tflops):
            print(line)
        return
    from longtake.director import subject_names
    from longtake.model import checkpoint
    from longtake.pipeline import BF16_MISSING, _slower

    loaded = checkpoint.load()
    config, vocabulary = loaded.config, loaded.extra.get("vocabulary", {})
    sizes = ", ".join(f"{w}x{h}" for w, h in config.sizes)
    print(f"pocket   {checkpoint.PACKAGED}")
    print(
        f"  {loaded.size_bytes / 1e6:.0f} MB in memory; native {sizes} at {config.fps} fps; up to 60 s, 1920x1080"
    )
    print(f"  speed here: {BF16_MISSING if _slower(loaded) else 'bfloat16 in hardware'}")
    print("  generate, picture, --image, extend, blend, edit, loop")
    few = f"{checkpoint.FEW} steps without guidance, a quarter of the work"
    print(f"  pocket-fast: the same with {checkpoint.FEW_STEPS.name}, {few}")
    for language, word in (("en", "pictures of"), ("zh", "画得出")):
        print(f"  {word}: {', '.join(subject_names(vocabulary, language))}")
    for slot in ("places", "times", "weathers", "shots", "cameras", "actions"):
        print(f"  {slot}: {', '.join(key.replace('_', ' ') for key in vocabulary.get(slot, ()))}")


def _run(output: Path, how: How, **values: Any) -> None:
    from longtake.request import build_request

    _make(build_request(**values, **how.request), output, how.options)


def _make(request: Request, output: Path, options: Options, work: Path | None = None) -> None:
    from longtake.pipeline import generate as run

    _show(run(request, output, work=work, options=options))


def _show(made: Generator[Event, None, None]) -> None:
    """Show the events of the pipeline as a bar."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from longtake.request import Film

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
    )
    with (
        Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
        closing(made) as events,
    ):
        task = bar.add_task("load", total=1.0)
        for event in events:
            if isinstance(event, Film):
                film = event
            elif event.message:
                console.print(event.message, style="yellow", highlight=False, markup=False)
            else:
                bar.update(task, description=event.stage, completed=event.fraction)
    what = "picture" if film.frames == 1 else f"{film.seconds:g} s at {film.fps} fps"
    print(f"{film.path}  {film.width}x{film.height}, {what}, seed {film.seed}")


def main() -> None:
    """Run, and turn what a user can mend into one line and exit 2; Ctrl-C is 130."""
    try:
        result = app(standalone_mode=False)
    except LongtakeError as error:
        _fail(str(error))
    except UsageError as error:
        _fail(error.format_message())
    except OSError as error:  # a file where a folder should be, a full disk: wherever it is met
        if error.filename is None:
            raise
        _fail(f"cannot use {error.filename}: {error.strerror}; give another path")
    except (typer.Abort, KeyboardInterrupt):
        print("stopped; nothing was left half written", file=sys.stderr)
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


def _fail(message: str) -> NoReturn:
    print(f"longtake: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
