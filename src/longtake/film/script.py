"""What is filmed, and what the model is told: the board of a request, a caption for each shot, and the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from longtake.director import language_of, understand
from longtake.errors import RequestError
from longtake.provenance.verify import verify
from longtake.request import Request
from longtake.storyboard import Shot, Storyboard, beside, build_storyboard, load_storyboard
from longtake.video import FILMS


@dataclass(frozen=True)
class Script:
    """A film ready to be made."""

    board: Storyboard
    captions: tuple[str, ...]
    """What the model is told, one a shot."""
    notes: tuple[str, ...]
    """One line each, for the user."""

    @property
    def caption(self) -> str:
        """All captions in one line."""
        return " | ".join(dict.fromkeys(self.captions))


def read_board(path: Path) -> Storyboard:
    """The storyboard in a JSON file, or the one that a film was made from. Raises RequestError, MediaError."""
    if path.suffix.lower() not in FILMS:
        return load_storyboard(path)
    record = verify(path).record or {}
    board = record.get("request", {}).get("storyboard")
    if board is None:
        raise RequestError(f"{path} does not say which storyboard it was made from; give the board's .json")
    return beside(build_storyboard(board), path)


def write(request: Request, vocabulary: Mapping[str, Sequence[str]]) -> Script:
    """The storyboard of a request, or one made from its prompt, in words the model knows."""
    board = request.storyboard or _direct(request)
    understood = [understand(_compile(board, shot), vocabulary) for shot in board.shots]
    notes = dict.fromkeys(note for each in understood for note in each.notes)
    return Script(board, tuple(each.caption for each in understood), tuple(notes))


def _direct(request: Request) -> Storyboard:
    """The whole prompt in one shot."""
    shot = Shot(id="s1", duration=request.seconds, action=request.prompt)
    return Storyboard(
        language=language_of(request.prompt),
        size=request.size,
        fps=request.fps,
        seed=request.seed,
        shots=(shot,),
    )


def _compile(board: Storyboard, shot: Shot) -> str:
    """What is seen in a shot, with the identity words of everybody in it."""
    people = [board.character(cast.id) for cast in shot.characters]
    place = board.location(shot.location) if shot.location else None
    parts = [*(person.look for person in people), shot.action]
    parts += [place.description, place.time, place.weather] if place else []
    return ", ".join(part for part in [*parts, board.style.look] if part)
