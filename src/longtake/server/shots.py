"""Finished shots of finished films, kept for a while: a film made again in part takes the others from here.

Each film has its folder. A shot is known by the digest of all that decides it (see `film.shelf`), so one that changed
is simply not found. The films not asked for longest go first.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

LARGEST = 1 << 30
"""Bytes after which the oldest are dropped."""


def keep(work: Path, film: Path) -> None:
    """Move the shots that lie in a work folder to the film's own. What cannot be kept will be made again."""
    with suppress(OSError):
        shots = list(work.glob("*.safetensors"))
        if shots:
            film.mkdir(parents=True, exist_ok=True)
        for shot in shots:
            os.replace(shot, film / shot.name)
        tidy(film.parent, LARGEST)


def lend(film: Path, work: Path) -> None:
    """Let a work folder have the shots of an earlier film."""
    with suppress(OSError):  # dropped meanwhile, or on another machine
        os.utime(film)
        for shot in film.glob("*.safetensors"):
            with suppress(FileExistsError):
                os.link(shot, work / shot.name)


def tidy(shelf: Path, most: int) -> None:
    """Drop the films not asked for longest, beyond `most` bytes."""
    with suppress(FileNotFoundError):  # another worker tidies too
        films = sorted(shelf.iterdir(), key=lambda film: film.stat().st_mtime, reverse=True)
        for film in films:
            most -= sum(shot.stat().st_size for shot in film.iterdir())
            if most < 0:
                shutil.rmtree(film, ignore_errors=True)
