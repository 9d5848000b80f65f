"""How one shot becomes the next, frame by frame on finished pictures; nothing is held but the two frames at hand.

Frames are uint8 [h w 3]; `share` runs from 0 (only the shot before) to 1 (only the shot after).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from longtake.video import Frame

_EDGE = 0.08
"""Width of a wipe's soft edge, as a share of the picture."""


def dissolve(before: Frame, after: Frame, share: float) -> Frame:
    """The one shines through the other."""
    return _mix(before, after, np.array(round(256 * share), np.uint16))


def wipe(before: Frame, after: Frame, share: float) -> Frame:
    """The shot after moves in from the left behind a soft edge."""
    columns = (np.arange(before.shape[1]) + 0.5) / before.shape[1]
    edge = share * (1 + _EDGE)  # where the shot before is still whole
    weight = np.round(256 * np.clip((edge - columns) / _EDGE, 0, 1)).astype(np.uint16)
    return _mix(before, after, weight[:, None])


def dim(frame: Frame, light: float) -> Frame:
    """Nearer to black: 1 leaves the frame, 0 is black."""
    if light >= 1:
        return frame
    return _mix(np.zeros_like(frame), frame, np.array(round(256 * light), np.uint16))


def _mix(before: Frame, after: Frame, weight: np.ndarray[Any, np.dtype[np.uint16]]) -> Frame:
    """`weight` of 256 parts of the frame after, rounded, in integers: the same on every machine."""
    mixed: Frame = ((before * (256 - weight) + after * weight + 128) >> 8).astype(np.uint8)
    return mixed


MIXERS = {"dissolve": dissolve, "wipe": wipe}
"""The transitions that show two shots at once."""
