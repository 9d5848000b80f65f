"""Longtake: words in, a film out, on your own machine.

    for event in longtake.generate("a golden puppy plays in the snow", "puppy.mp4", seconds=4, seed=7): ...
    film = longtake.make("一只金毛小狗在雪地里玩耍", "puppy.mp4")
    report = longtake.verify("puppy.mp4")

Importing this loads neither torch nor any weights.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.errors import LongtakeError

if TYPE_CHECKING:
    from longtake.provenance.verify import Report
    from longtake.request import Event, Film, Request

__all__ = ["LongtakeError", "generate", "make", "verify"]


def generate(
    prompt: str | Request, output: str | Path = "film.mp4", **options: Any
) -> Generator[Event, None, None]:
    """Make a film, yielding progress; the last event is the Film. Options are the fields of Request.

    Closing the iterator stops the work and leaves no file. Raises a LongtakeError that names the fix; an option
    no Request has is one.
    """
    from longtake import pipeline
    from longtake.request import Request, build_request

    request = prompt if isinstance(prompt, Request) else build_request(prompt=prompt, **options)
    return pipeline.generate(request, Path(output))


def make(prompt: str | Request, output: str | Path = "film.mp4", **options: Any) -> Film:
    """`generate` run to its end."""
    from longtake.request import Film

    *_, film = generate(prompt, output, **options)
    assert isinstance(film, Film)
    return film


def verify(path: str | Path, latent: bool = False, model: str = "pocket") -> Report:
    """Which marks of an AI-made film or picture a file carries. Raises MediaError when it cannot be read.

    With `latent` also the mark in the noise, which takes the `model` that made it, and some seconds.
    """
    from longtake.provenance.verify import verify as read_marks

    report = read_marks(path)
    if not latent:
        return report
    from longtake.inversion import with_latent
    from longtake.pipeline import load_models

    return with_latent(report, load_models(model))
