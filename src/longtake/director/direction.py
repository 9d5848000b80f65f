"""A prompt -> a Storyboard with its notes: an LLM or the rules, then lint, repair and honest words."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from longtake.director.lint import lint, repair
from longtake.director.llm import TIMEOUT, Endpoint, EndpointError, by_llm
from longtake.director.notes import note
from longtake.director.rules import by_rules
from longtake.director.setups import Vocabulary
from longtake.director.vocabulary import language_of, understand
from longtake.errors import RequestError
from longtake.fields import LONGEST_FILM, explain
from longtake.storyboard import SHORTEST_SHOT, Shot, Storyboard


@dataclass(frozen=True)
class Direction:
    """A board, and what the user should know of how it came about."""

    board: Storyboard
    notes: tuple[str, ...] = ()


def direct(
    prompt: str,
    *,
    seconds: float | None = None,
    size: str = "1280x720",
    fps: int = 24,
    seed: int = 0,
    one_take: bool = False,
    vocabulary: Vocabulary | None = None,
    director: str = "rules",
) -> Storyboard:
    """The storyboard of a prompt in English or Chinese; see `propose`."""
    return propose(
        prompt,
        seconds=seconds,
        size=size,
        fps=fps,
        seed=seed,
        one_take=one_take,
        vocabulary=vocabulary,
        director=director,
    ).board


def propose(
    prompt: str,
    *,
    seconds: float | None = None,
    size: str = "1280x720",
    fps: int = 24,
    seed: int = 0,
    one_take: bool = False,
    vocabulary: Vocabulary | None = None,
    director: str = "rules",
    strict: bool = False,
    timeout: float = TIMEOUT,
) -> Direction:
    """A board and its notes.

    `director` is "rules" or the address of an OpenAI-compatible endpoint; when that gives no valid board the rules
    do, and a note says why. `vocabulary` is a model's: set-ups keep to it, words it has no picture for are noted, or,
    with `strict`, an error. `seconds` None: as long as the script says, else five seconds a shot. Raises RequestError.
    """
    if seconds is not None and not SHORTEST_SHOT <= seconds <= LONGEST_FILM:
        raise RequestError(f"seconds must be {SHORTEST_SHOT:g} to {LONGEST_FILM:g}, not {seconds:g}; try 20")
    words = vocabulary or {}
    endpoint = None if director == "rules" else Endpoint.of(director, timeout)
    try:
        board, notes = by_rules(
            prompt, seconds=seconds, size=size, fps=fps, seed=seed, one_take=one_take, vocabulary=words
        )
    except ValidationError as error:  # a single shot's words grew longer than a text may be
        raise RequestError(f"a shot of this prompt: {explain(error, Shot)}; say it in fewer words") from None
    if endpoint is not None:
        try:
            board, notes = by_llm(
                prompt, endpoint, seconds=seconds or board.seconds, size=size, fps=fps, seed=seed, one_take=one_take, vocabulary=words
            )  # fmt: skip
        except EndpointError as error:
            notes = (*notes, note("rules_instead", language_of(prompt), error=error))
    wanted = seconds if seconds is not None else (board.seconds if endpoint is None else None)
    board, repaired = repair(board, wanted)
    left = tuple(str(f) for f in lint(board, wanted) if f.rule in ("speech", "length"))
    honest = understand(prompt, words, strict=strict).notes
    return Direction(board, tuple(dict.fromkeys((*notes, *repaired, *left, *honest))))
