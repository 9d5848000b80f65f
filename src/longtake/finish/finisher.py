"""The finisher: native frames in, finished frames out as soon as they are known; it holds one native frame.

The film's clock is exact: finished frame k shows the moment k / rate. Moments between two native frames are made by
the interpolator, except across a cut, where the earlier picture stays: cuts are told by the caller, and in footage
of others they are seen. Interpolation comes before enlarging, where it costs least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from longtake.finish.interpolate import between
from longtake.finish.size import Enlarge, enlarge, to_bytes
from longtake.video import Frame

Camera = Callable[[Tensor, float], Tensor]
CUT = 0.35
"""Mean difference (of 2) between two frames in squares of an eighth of the picture from which they are two shots."""


class Finisher:
    """Brings a film of `native` frames a second to `size` (width, height) and `rate` frames a second.

    n native frames become ceil(n * rate / native) finished ones, whatever the pieces in which they come.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: int,
        native: int,
        camera: Camera | None = None,
        enlarge: Enlarge = enlarge,
    ) -> None:
        """`camera`: what is seen of a native frame [3 h W] at a moment, in native frames: [3 h w]; None: all of it."""
        self._size, self._step, self._camera = size, Fraction(native, rate), camera
        self._enlarge = enlarge
        self._held: Tensor | None = None
        self._seen = 0  # native frames so far; the held one is number _seen - 1
        self._shown = 0  # finished frames so far

    def push(self, decoded: Tensor, new_shot: bool = False) -> list[Frame]:
        """Decoded frames [1 3 t h w] in [-1, 1] -> finished frames uint8 [height width 3], as far as they are known.

        `new_shot`: the first of these begins a shot.
        """
        finished: list[Frame] = []
        for index, frame in enumerate(rearrange(decoded.float().clamp(-1, 1), "1 c t h w -> t c h w")):
            finished += self._advance(frame, cut=new_shot and index == 0)
            self._held, self._seen = frame, self._seen + 1
        return finished

    def flush(self) -> list[Frame]:
        """What the last native frame still owes: it stays to the end of its time."""
        return list(self._advance(None, cut=True))

    def _advance(self, following: Tensor | None, cut: bool) -> Iterator[Frame]:
        """The finished frames from the held frame up to the following one."""
        if self._held is None:
            return
        shares = []
        while (moment := self._shown * self._step) < self._seen:
            shares.append(float(moment - (self._seen - 1)))
            self._shown += 1
        still = following is None or cut or is_cut(self._held, following)
        kept: Frame | None = None
        for share in shares:
            if still and self._camera is None and kept is not None:
                yield kept
                continue
            native = self._held
            if not still and share:
                assert following is not None
                native = _between(self._held, following, share)
            if self._camera is not None:
                native = self._camera(native, self._seen - 1 + share)
            kept = to_bytes(self._enlarge(native[None], *self._size))[0]
            yield kept


def is_cut(first: Tensor, second: Tensor) -> bool:
    """Whether two frames [3 h w] in [-1, 1] are of different shots, by their colours in an 8 x 8 grid."""
    coarse = F.adaptive_avg_pool2d(torch.stack([first, second]), 8)
    return float((coarse[0] - coarse[1]).abs().mean()) > CUT


def _between(first: Tensor, second: Tensor, share: float) -> Tensor:
    return between(first, second, torch.tensor([share]))[0]
