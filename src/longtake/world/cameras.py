"""Where the camera stands and how it moves.

A `Lens` is the resting camera: far enough that the subject has the height its shot asks for. `film` turns
it into the seven camera tracks. Rows are fractions of the frame height, 0 at the top; the stage is a view
camera, so that row = 0.5 + focal * tan(pitch) is the horizon.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from longtake.world.scene import Track

FOCAL = 1.4
"""Frame heights: about 39 degrees from top to bottom."""
SHOTS: dict[str, float] = {
    "extreme_wide": 0.12,
    "wide": 0.22,
    "full": 0.5,
    "medium": 0.62,
    "close_up": 0.85,
    "extreme_close_up": 1.2,
}
"""Visible height of the main subject in frame heights."""
HORIZONS: dict[str, float] = {"low": 0.64, "eye_level": 0.43, "high": 0.20}
_STEP = 1.13
"""Dolly and zoom begin and end this factor off the resting size: together about 25 %."""
_SHIFT = 0.085
"""How far pans and trucks carry the subject to each side, in frame widths."""


@dataclass(frozen=True)
class Lens:
    """The resting camera before a subject at X = Z = 0."""

    distance: float
    foot: float
    """Row of the subject's foot."""
    horizon: float
    """Row of the horizon."""

    @property
    def view(self) -> float:
        """Height of the stage that the frame shows at the subject, metres."""
        return self.distance / FOCAL

    @property
    def height(self) -> float:
        """Of the camera above the ground, metres."""
        return (self.foot - self.horizon) * self.view


def lens(height: float, share: float, lift: float, angle: str) -> Lens:
    """A camera that shows `height` metres as `share` of the frame height, with `lift` metres above."""
    view = height / share
    foot = 0.5 + (share + lift / view) / 2 + 0.01
    if share < 0.8:
        foot = min(max(foot, 0.68), 0.97)
    return Lens(view * FOCAL, foot, min(HORIZONS[angle], foot - 0.10))


def closest(move: str) -> float:
    """How much larger than at rest a move shows the subject at most."""
    return _STEP if move.startswith(("dolly", "zoom")) else 1.0


def shift(move: str) -> float:
    """How far a move carries the subject sideways at most, in frame widths."""
    return _SHIFT if move.startswith(("pan", "truck")) else (0.02 if move == "handheld" else 0.0)


def film(
    lens: Lens, move: str, seconds: Track, aspect: float, path: tuple[Track, Track], rng: random.Random
) -> dict[str, Track]:
    """The camera tracks of `move`. `path` is the subject's X and Z, used by follow shots."""
    part = (seconds / (seconds[-1] + 1e-6)).astype(np.float32)
    swing = 2 * part - 1  # -1 to 1
    one = np.ones_like(part)
    cx, cz, yaw = 0 * one, -lens.distance * one, 0 * one
    height, focal, horizon = lens.height * one, FOCAL * one, lens.horizon * one
    side = -1.0 if move.endswith("left") else 1.0
    sign = -1.0 if move.endswith(("out", "down")) else 1.0
    if move.startswith("pan"):
        yaw = side * swing * math.atan(_SHIFT * aspect / FOCAL)
    elif move.startswith("truck"):
        cx = side * swing * _SHIFT * aspect * lens.view
    elif move.startswith("tilt"):
        horizon = horizon + sign * swing * 0.07
    elif move.startswith("dolly"):
        cz = -lens.distance * _STEP ** (-sign * swing)
        horizon = lens.foot - height * FOCAL / -cz if lens.foot < 0.9 else horizon
    elif move.startswith("zoom"):
        focal = FOCAL * _STEP ** (sign * swing)
    elif move.startswith("crane"):
        height = height * (1.25 + 0.65 * sign * swing)
        horizon = lens.foot - height * FOCAL / lens.distance
    elif move.startswith("orbit"):
        angle = side * swing * math.radians(14)
        cx, cz, yaw = lens.distance * np.sin(angle), -lens.distance * np.cos(angle), -angle
    elif move == "handheld":
        phase = [rng.uniform(0, 6) for _ in range(4)]
        yaw = 0.008 * np.sin(seconds * 3.1 + phase[0]) + 0.004 * np.sin(seconds * 7.3 + phase[1])
        horizon = (
            horizon + 0.010 * np.sin(seconds * 2.7 + phase[2]) + 0.005 * np.sin(seconds * 6.1 + phase[3])
        )
    elif move == "follow":
        cx, cz = path[0] * 1.0, path[1] - lens.distance
    pitch = np.arctan((horizon - 0.5) / focal)
    tracks = {"cx": cx, "cy": height, "cz": cz, "yaw": yaw, "pitch": pitch, "roll": 0 * one, "focal": focal}
    return {key: np.asarray(value, np.float32) for key, value in tracks.items()}
