"""How the camera moved, measured: the shift and zoom that carry one frame of a clip over into a later one.

A network that reads camera moves from pictures did no better than always answering "at rest"; registration names 65
of 75 rendered moves. Each pair of frames is registered by Gauss-Newton steps on brightness, coarse to fine (Lucas and
Kanade 1981), with weights that fall where pictures do not fit (Cauchy), since what moves by itself is not the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SPACING = 4
"""Frames from one registered frame to the next."""
STILL = 0.03
"""Shift in frame widths, and zoom, over a clip below which the camera is at rest."""
KEPT = 0.4
"""Share of the background's shift within which a subject that is followed keeps its place."""
NAMES = ("static", "dolly_in", "dolly_out", "pan_left", "pan_right", "tilt_up", "tilt_down", "follow")
"""The moves that can be told apart."""
_TOLERANCE = 0.03
_SCALES, _STEPS = 3, 4


@dataclass(frozen=True)
class Movement:
    """What the picture did over a clip: `right` in frame widths, `down` in heights, `zoom` as a logarithm."""

    right: float
    down: float
    zoom: float

    def name(self, subject: float) -> str:
        """The move, given how far the subject went to the right in the picture, in frame widths."""
        if max(abs(self.right), abs(self.down), abs(self.zoom)) < STILL:
            return "static"
        if abs(self.zoom) > STILL and abs(self.zoom) > abs(self.right):
            return (
                "dolly_in" if self.zoom > 0 else "dolly_out"
            )  # towards who stands there: the horizon may rise
        if abs(self.down) > abs(self.right):
            return "tilt_up" if self.down > 0 else "tilt_down"
        if abs(subject) < KEPT * abs(self.right):
            return "follow"
        return "pan_left" if self.right > 0 else "pan_right"


def movement(frames: Tensor, subject: np.ndarray) -> Movement:
    """Of a clip, frames uint8 t 3 h w. `subject`: x y w h of what to leave out, shares of the picture, [t 4]."""
    grey = frames[::SPACING].float().mean(1) / 255
    height, width = grey.shape[-2:]
    free = [1 - _inside(box, height, width) for box in subject[::SPACING]]
    pairs = [
        register(grey[i], grey[i + 1], torch.minimum(free[i], free[i + 1])) for i in range(len(grey) - 1)
    ]
    total = torch.stack(pairs).sum(0).tolist() if pairs else [0.0, 0.0, 0.0]
    return Movement(total[0] / width, total[1] / height, total[2])


def _inside(box: np.ndarray, height: int, width: int) -> Tensor:
    """1 in the box x y w h and a little around it, h w."""
    x, y, w, h = box
    across = (torch.arange(width) + 0.5) / width - x
    along = (torch.arange(height) + 0.5) / height - y
    inside: Tensor = (along.abs() < 0.6 * h)[:, None] & (across.abs() < 0.6 * w)
    return inside.float()


def register(first: Tensor, second: Tensor, free: Tensor) -> Tensor:
    """Shift right and down in pixels, and zoom, after which the frame `first` (h w, 0..1) lies on `second`.

    `free` (h w) is 1 where the pictures count.
    """
    height, width = first.shape
    x = (torch.arange(width) - (width - 1) / 2).expand(height, width)
    y = (torch.arange(height) - (height - 1) / 2)[:, None].expand(height, width)
    found = torch.zeros(3)
    for scale in range(_SCALES):
        a, b = (_blurred(frame, 2 * (_SCALES - 1 - scale)) for frame in (first, second))
        for _ in range(_STEPS):
            at_x, at_y = x * (1 + found[2]) + found[0], y * (1 + found[2]) + found[1]
            grid = torch.stack([2 * at_x / width, 2 * at_y / height], -1)
            moved = F.grid_sample(b[None, None], grid[None], align_corners=False, padding_mode="border")[0, 0]
            right, down = _slopes((a + moved) / 2)
            apart = moved - a
            weight = free * (grid.abs() < 1).all(-1) / (1 + (apart / _TOLERANCE).square())
            jacobian = torch.stack([right, down, right * x + down * y], -1).reshape(-1, 3)
            weighed = jacobian * weight.reshape(-1, 1)
            normal = weighed.T @ jacobian + torch.diag(torch.tensor([1e-4, 1e-4, 1e-1]))
            found = found - torch.linalg.solve(normal, weighed.T @ apart.reshape(-1))
    return found


def _blurred(frame: Tensor, times: int) -> Tensor:
    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel, out = (line[:, None] * line)[None, None], frame[None, None]
    for _ in range(times):
        out = F.conv2d(F.pad(out, (2, 2, 2, 2), mode="replicate"), kernel)
    return out[0, 0]


def _slopes(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Change of brightness per pixel to the right and down."""
    padded = F.pad(frame[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
