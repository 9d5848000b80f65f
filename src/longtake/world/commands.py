"""`longtake world`: look at the paper theatre, and build its drawings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The paper theatre the pocket model learns from."
)


@app.command()
def sample(
    sheet: Annotated[Path, typer.Option(help="Picture to write.")] = Path("world.png"),
    n: Annotated[int, typer.Option("--n", help="Clips to draw.")] = 24,
    vocabulary: Annotated[str, typer.Option(help="pocket or full (full needs `world atlas`).")] = "pocket",
    language: Annotated[str, typer.Option(help="en, zh or both.")] = "both",
    size: Annotated[str, typer.Option(help="Width x height of a frame.")] = "160x96",
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    atlas: Annotated[Path | None, typer.Option(help="Atlas file.")] = None,
) -> None:
    """Draw random captioned clips of the paper theatre on one sheet."""
    from longtake.world.sheet import sample_sheet

    sample_sheet(sheet, n, vocabulary, language, size, seed, atlas)
    print(f"{n} clips on {sheet}")


@app.command()
def atlas(
    packages: Annotated[Path, typer.Argument(help="Folder of the unpacked npm packages (see NOTICE).")],
    out: Annotated[Path | None, typer.Option(help="Atlas to write; the user's cache by default.")] = None,
    size: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 96,
    vocabulary: Annotated[str, typer.Option(help="pocket or full.")] = "full",
) -> None:
    """Build the atlas of drawings from the emoji packages."""
    from longtake.errors import RequestError, nearest
    from longtake.world.atlas import build, cache_path
    from longtake.world.sampler import PRESETS, codes
    from longtake.world.scenes import CODES

    if vocabulary not in PRESETS:
        raise RequestError(
            f"unknown vocabulary {vocabulary!r}; choose pocket or full{nearest(vocabulary, PRESETS)}"
        )
    target = out or cache_path()
    count = build([*codes(PRESETS[vocabulary]), *CODES], packages, target, size)
    print(f"{count} drawings in {target}")
