"""`longtake curate`: look through footage before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def curate(
    folder: Annotated[
        Path, typer.Argument(help="Folder of videos and pictures, or one file.", show_default=False)
    ],
    ledger: Annotated[Path, typer.Option(help="Ledger to write.")] = Path("ledger.jsonl"),
    own: Annotated[Path | None, typer.Option(help="Folder of films made here, known by their bytes.")] = None,
) -> None:
    """Decide which footage may be trained on, and write a signed ledger. Made films are refused."""
    from collections import Counter

    from longtake.curate.guard import Admission, admit, digest, files
    from longtake.curate.ledger import write_ledger
    from longtake.errors import RequestError

    if not folder.exists():
        raise RequestError(f"there is no {folder}; give a folder of videos or pictures")
    made = frozenset(digest(path) for path in files(own)) if own else frozenset()
    entries: list[Admission] = []
    for path in files(folder):
        entries.append(admit(path, made))
        if entries[-1].decision != "admitted":
            print(f"{entries[-1].decision}  {path}  {entries[-1].signal}: {entries[-1].detail}")
    if not entries:
        raise RequestError(f"there are no videos or pictures in {folder}")
    write_ledger(ledger, entries)
    counts = Counter(entry.decision for entry in entries)
    print(f"{ledger}  " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
