"""What is filmed, and what the model is told: the board of a request, a caption for each shot, and the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.director import Direction, compile, propose, understand
from longtake.director.staging import asked
from longtake.errors import RequestError
from longtake.provenance.verify import verify as read_marks
from longtake.request import Request
from longtake.storyboard import Camera, Shot, Storyboard, beside, build_storyboard, load_storyboard
from longtake.video import FILMS
from longtake.world.scene import Scene

_OF_A_FILM = ("prompt", "model", "image", "steps", "guidance", "takes", "negative", "lora", "cache")
"""Options of a request that a storyboard leaves open."""


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

    def scenes(self, vocabulary: Mapping[str, Sequence[str]]) -> list[Scene]:
        """What each shot asks for, in the theatre's words; none where the model does not speak them."""
        drawings = vocabulary.get("subjects", ())
        return [asked(self.board, shot, drawings) for shot in self.board.shots] if drawings else []

    def at_rest(self, vocabulary: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """The captions of the same shots from a camera that does not move."""
        still = [shot.model_copy(update={"camera": Camera()}) for shot in self.board.shots]
        return tuple(understand(compile(self.board, shot), vocabulary).caption for shot in still)


def read_board(path: Path) -> Storyboard:
    """The storyboard in a JSON file, or the one that a film was made from. Raises RequestError, MediaError."""
    if path.suffix.lower() not in FILMS:
        return load_storyboard(path)
    board = _request_of(path).get("storyboard")
    if not board:
        raise RequestError(f"{path} does not say which storyboard it was made from; give the board's .json")
    return beside(build_storyboard(board), path)


def made_with(path: Path) -> dict[str, Any]:
    """The options that a film was made with, its storyboard left aside; none for a board's JSON file."""
    if path.suffix.lower() not in FILMS:
        return {}
    request = _request_of(path)
    options = {name: request[name] for name in _OF_A_FILM if request.get(name)}
    if "image" in options:
        options["image"] = path.parent / options["image"]
    return options


def _request_of(film: Path) -> dict[str, Any]:
    found: dict[str, Any] = (read_marks(film).record or {}).get("request", {})
    return found


def write(request: Request, vocabulary: Mapping[str, Sequence[str]]) -> Script:
    """The storyboard of a request, or one made from its prompt, in words the model knows. Raises RequestError."""
    direction = Direction(request.storyboard) if request.storyboard else _direct(request, vocabulary)
    board = direction.board
    understood = [understand(compile(board, shot), vocabulary) for shot in board.shots]
    notes = [*direction.notes, *(note for each in understood for note in each.notes)]
    return Script(board, tuple(each.caption for each in understood), tuple(dict.fromkeys(notes)))


def describe(request: Request, vocabulary: Mapping[str, Sequence[str]]) -> Script:
    """A picture, or a clip made from the user's own: the prompt as one shot, in the model's words.

    A picture is completed like a film. Of a clip nothing is settled that the prompt leaves open: it shows it itself.
    """
    prompt, settled = request.prompt, vocabulary if request.task == "generate" else {}
    board = Storyboard(shots=(Shot(id="s1", duration=1.0, action=prompt),))
    if prompt:
        proposed = propose(prompt, one_take=True, vocabulary=settled, director=request.director).board
        if len(proposed.shots) == 1:
            board, prompt = proposed, compile(proposed, proposed.shots[0])
    understood = understand(prompt, vocabulary)
    return Script(board, (understood.caption,), understood.notes)


def _direct(request: Request, vocabulary: Mapping[str, Sequence[str]]) -> Direction:
    """A prompt as a board, as long as asked for, or else as long as a script in several shots says."""
    if not request.prompt:  # only a picture to begin with
        shot = Shot(id="s1", duration=request.seconds)
        return Direction(Storyboard(size=request.size, fps=request.fps, seed=request.seed, shots=(shot,)))

    def propose_for(seconds: float | None) -> Direction:
        return propose(
            request.prompt,
            seconds=seconds,
            size=request.size,
            fps=request.fps,
            seed=request.seed,
            one_take=request.one_take,
            vocabulary=vocabulary,
            director=request.director,
        )

    if "seconds" not in request.model_fields_set:
        direction = propose_for(None)
        if len(direction.board.shots) > 1:
            return direction
    return propose_for(request.seconds)
