"""What may be asked on the command line, in one place: options as types, and sets of options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from longtake.flags import takes

if TYPE_CHECKING:
    from longtake.adapt.fit import Options

Prompt = Annotated[
    str, typer.Argument(help="What the film shows, in English or Chinese.", show_default=False)
]
Clip = Annotated[Path, typer.Argument(help="A video file.", show_default=False)]
Output = Annotated[Path, typer.Option("-o", "--output", help="File to write; .mp4 a film, .png a picture.")]
Seconds = Annotated[float, typer.Option(help="Length in seconds, 0.25 to 60.")]
Size = Annotated[str, typer.Option(help="Width x height in pixels, up to 1920.")]
Fps = Annotated[int, typer.Option(help="Frames a second: 12, 24 or 30.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same film; random by default.")]
Model = Annotated[
    str, typer.Option(help="pocket, pocket-fast, a Wan model by name, or a weights file or folder.")
]
Steps = Annotated[int | None, typer.Option(help="Sampling steps, 1 to 100; the model's own by default.")]
Takes = Annotated[
    int | None,
    typer.Option(
        help="How often each shot is made, at most, to keep the best take; 3 for pocket, 2 above 30 s."
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(help="How strictly the words are followed, 1 to 20; the model's own by default."),
]
Negative = Annotated[str | None, typer.Option(help="What the film should not show.")]
Lora = Annotated[
    list[str] | None, typer.Option(help="A LoRA of the transformer, FILE or FILE:SCALE; may be repeated.")
]
Cache = Annotated[
    float | None,
    typer.Option(help="Error at which a step may be guessed, such as 0.05; 0, the default: none is."),
]
Precision = Annotated[str, typer.Option(help="Weights in auto, fp32, bf16, fp8 or int8.")]
Attention = Annotated[str, typer.Option(help="auto, sdpa, cudnn, flex, flash or sage.")]
Compile = Annotated[bool, typer.Option("--compile", help="Slower to start, then faster.")]
MemoryLimit = Annotated[
    str | None, typer.Option(help="Of the device's memory use only so much, such as 12GB.")
]


class How(NamedTuple):
    """What the shared options of a command say: fields of the request, and how the model shall run."""

    request: dict[str, Any]
    options: Options


def model_options(
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    lora: Lora = None,
    cache: Cache = None,
    precision: Precision = "auto",
    attention: Attention = "auto",
    compile: Compile = False,
    memory_limit: MemoryLimit = None,
) -> How:
    """Of every command that makes something: how the model is asked, and how it shall run."""
    from longtake.adapt.fit import Options
    from longtake.adapt.plan import parse_memory

    asked = dict(steps=steps, guidance=guidance, negative=negative, lora=lora or None, cache=cache)
    memory = None if memory_limit is None else parse_memory(memory_limit)
    return How(asked, Options(precision, attention, compile, memory))


@takes(model_options)
def clip_options(
    how: How, size: Size = "1280x720", fps: Fps = 24, seed: Seed = None, model: Model = "pocket"
) -> How:
    """Of every task on clips."""
    return How(dict(size=size, fps=fps, seed=seed, model=model) | how.request, how.options)
