"""Which sound a requested film gets, and its words in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from longtake.finish import cues
from longtake.finish.cues import Cue
from longtake.finish.subtitles import Caption, at
from longtake.request import Progress, Request
from longtake.video import Frame

if TYPE_CHECKING:
    from longtake.finish.sound import Soundtrack

NOBODY = (
    "nobody speaks in this film, so there are no subtitles; write narration or dialogue into a storyboard"
)


def score(request: Request) -> Soundtrack | None:
    """The soundtrack of a generated film, from its storyboard and its prompt; None when it is to have none.

    Raises MissingExtraError when subtitles are to be burned in and there is no font for them.
    """
    from longtake.finish.sound import soundtrack

    if request.task != "generate" or not (request.sound or request.subtitles != "none"):
        return None
    board = request.storyboard
    frames = board.spans()[-1][1] if board else max(1, round(request.seconds * request.fps))
    seconds = frames / request.fps
    found = cues.cues_of_board(board) if board else cues.cues_of_text(request.prompt, seconds)
    made = soundtrack(_with_music(found, request.music), seconds, request.seed)
    if request.subtitles != "none" and not made.spoken:
        made = replace(made, notes=(*made.notes, NOBODY))
    if request.subtitles == "burn" and made.spoken:
        from longtake.finish.burn import font_for

        font_for("".join(caption.text for caption in made.spoken))
    return made


def _with_music(found: tuple[Cue, ...], mood: str) -> tuple[Cue, ...]:
    if mood == "none":
        return tuple(cue for cue in found if cue.kind != "music")
    if mood == "auto":
        return found
    return tuple(replace(cue, what=mood) if cue.kind == "music" else cue for cue in found)


def subtitled(
    frames: Iterator[Progress | list[Frame]], captions: tuple[Caption, ...], fps: int
) -> Iterator[Progress | list[Frame]]:
    """The same events with the captions drawn into the frames."""
    from longtake.finish.burn import burn

    shown = 0
    for event in frames:
        if isinstance(event, list):
            event = [burn(frame, at(captions, (shown + i) / fps)) for i, frame in enumerate(event)]
            shown += len(event)
        yield event
