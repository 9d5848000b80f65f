"""The animatic as a guide: what a shot shows when the paper theatre acts it out, for the model to start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from longtake import animatic
from longtake.storyboard import Shot, Storyboard
from longtake.video import Frame


@dataclass(frozen=True)
class Guide:
    """One shot of a board, to be acted out alone."""

    board: Storyboard
    shot: Shot

    def frames(self, count: int, fps: int, size: tuple[int, int]) -> Iterator[Frame]:
        """`count` frames at `fps`, of `size` (width, height), without the slate of an animatic."""
        alone = self.shot.model_copy(
            update={"duration": count / fps, "continue_from": None, "transition": _CUT.transition}
        )
        board = self.board.model_copy(update={"shots": (alone,), "fps": fps})
        yield from islice(animatic.frames(board, size, slate=False), count)

    def describe(self) -> str:
        """All that decides the pictures, for a shot's key."""
        about = self.board.model_dump_json(include={"characters", "locations", "style"})
        return about + self.shot.model_dump_json(exclude={"seed", "locked"})


_CUT = Shot(id="cut", duration=1.0)
