"""Storyboards as files: written from a prompt, read back, brought to another size."""

from __future__ import annotations

import random
from pathlib import Path

from longtake.director import propose
from longtake.director.setups import words
from longtake.errors import RequestError
from longtake.film.script import read_board
from longtake.storyboard import Storyboard, save_storyboard
from longtake.video import check_folder


def direct(
    prompt: str,
    *,
    seconds: float | None,
    size: str,
    fps: int,
    seed: int | None,
    one_take: bool,
    director: str,
    vocabulary: str,
    strict: bool,
    output: Path,
) -> tuple[Storyboard, tuple[str, ...]]:
    """Write the board of a prompt; returns it and the director's notes. Raises RequestError, OutputError."""
    check_folder(output, "board.json")
    if output.suffix.lower() != ".json":
        raise RequestError(f"a storyboard is written as .json; name it {output.stem or 'board'}.json")
    if strict and vocabulary == "any":
        raise RequestError("--strict needs a vocabulary to keep to; add --vocabulary pocket")
    made = propose(
        prompt,
        seconds=seconds,
        size=size,
        fps=fps,
        seed=random.SystemRandom().randrange(2**32) if seed is None else seed,
        one_take=one_take,
        vocabulary=words(vocabulary),
        director=director,
        strict=strict,
    )
    save_storyboard(made.board, output)
    return made.board, made.notes


def sized(path: Path, size: str | None, fps: int | None) -> Storyboard:
    """The board in a file, at another size or rate where one is asked for."""
    board = read_board(path)
    changes = {k: v for k, v in (("size", size), ("fps", fps)) if v is not None}
    return board.revised(**changes) if changes else board
