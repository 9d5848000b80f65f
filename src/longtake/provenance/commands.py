"""`longtake keys ...`: the keys of the pixel mark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The keys that marks are made with: show, rotate, export.")


@app.command("show")
def show() -> None:
    """Where the keys are, and their fingerprints; makes the first one if there is none. Never the keys themselves."""
    from longtake.provenance.keys import data_dir, load_ring

    ring = load_ring()
    print(data_dir() / "keys.json")
    for key in ring.keys:
        use = "marks and reads" if key is ring.current else "reads"
        print(f"key {key.version}  {key.fingerprint}  of {key.created}  {use}")


@app.command("rotate")
def rotate() -> None:
    """Mark with a new key from now on; the old ones go on reading what they marked."""
    from longtake.provenance.keys import rotate as add

    key = add().current
    print(f"key {key.version}  {key.fingerprint}  marks from now on")


@app.command("export")
def export(
    file: Annotated[
        Path, typer.Argument(help="File to write; it will hold the secret keys.", show_default=False)
    ],
) -> None:
    """Copy all keys into a file only you can read, as a backup or for another machine's data folder."""
    from longtake.provenance.keys import export as copy

    copy(file)
    print(f"{file}  keep it as secret as a password")
