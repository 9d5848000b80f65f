"""The camera that moves over a shot: pans, tilts, pushes in and shakes, as a path of views of the canvas.

Turning a camera a little shifts and scales the picture, and that needs no network: the shot is made at rest, wider
where the camera turns to a side (`film.layout`), and every finished frame is a view of it, cut out between pixels. A
camera that travels does the same here, since nothing tells what is near and what is far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.storyboard import Camera, Shot

PACE = {"slow": 0.2, "medium": 0.3, "fast": 0.6}
"""Share of its reach that a camera covers in a second; a shot that lasts long enough sees all of it."""
CLOSER = 1.4
"""How much larger a push-in or zoom makes things at the end of its reach."""
CLOSEST = 2.0
"""A take of many shots gets no closer than this, or nothing but pixels would be left."""
SLACK = 1.25
"""How much larger a picture is shown that a camera moves in without a margin."""
TURN = math.radians(4)
_SIDEWAYS = ("pan", "truck", "orbit")
_UP_AND_DOWN = ("tilt", "pedestal", "crane")


@dataclass(frozen=True)
class View:
    """What of a canvas is seen. `x`, `y`: of its middle from the canvas's, in picture widths to the right and heights
    down; `zoom`: how much larger; `roll`: radians."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0

    def within(self, margin: float) -> View:
        """The nearest view that leaves the canvas nowhere; the margin is that of both sides, in picture widths."""
        spare = (1 - 1 / self.zoom) / 2
        across = margin / 2 + spare
        return replace(self, x=min(max(self.x, -across), across), y=min(max(self.y, -spare), spare))


def turns_aside(camera: Camera) -> bool:
    """Whether a move is one that wants a margin."""
    return camera.move.startswith((*_SIDEWAYS, "follow"))


@dataclass(frozen=True)
class Rig:
    """One shot's camera: from one view to another within so many native frames, steady or by hand."""

    begin: View
    end: View
    frames: int
    margin: float = 0.0
    handheld: bool = False
    fps: int = 12

    @property
    def is_at_rest(self) -> bool:
        """It shows the middle of the canvas as it is."""
        return self.begin == self.end == View() and not self.handheld

    def at(self, moment: float) -> View:
        """The view at a moment, in native frames from the shot's beginning."""
        share = min(max(moment / max(1, self.frames - 1), 0.0), 1.0)
        eased = (share + share * share * (3 - 2 * share)) / 2
        a, b = self.begin, self.end
        view = View(
            a.x + eased * (b.x - a.x),
            a.y + eased * (b.y - a.y),
            a.zoom * (b.zoom / a.zoom) ** eased,
            a.roll + eased * (b.roll - a.roll),
        )
        if self.handheld:
            view = _shaken(view, moment / self.fps)
        return view.within(self.margin)

    def __call__(self, frame: Tensor, moment: float) -> Tensor:
        """The picture [3 h w] that is seen of a canvas [3 h W] at a moment."""
        width = round(frame.shape[-1] / (1 + self.margin))
        return look(frame, self.at(moment), width)


def rigs(shots: Sequence[Shot], pasts: Sequence[int | None], frames: Sequence[int], margins: Sequence[float],
         ways: Sequence[str], fps: int) -> list[Rig]:  # fmt: skip
    """The camera of every shot. A shot that carries another on (`pasts`: its index) begins where that one's ended.

    `frames`: native ones; `margins`: in picture widths, both sides together; `ways`: where its lead goes, "left",
    "right" or nowhere.
    """
    made: list[Rig] = []
    for shot, past, count, margin, way in zip(shots, pasts, frames, margins, ways, strict=True):
        before = None if past is None else made[past].end
        begin, end = _path(shot.camera, count / fps, margin, way, before)
        shaky = shot.camera.support == "handheld"
        made.append(Rig(begin.within(margin), end.within(margin), count, margin, shaky, fps))
    return made


def look(frame: Tensor, view: View, width: int) -> Tensor:
    """A view of a canvas [3 h W] as a picture [3 h w] of this width, by bicubic interpolation."""
    height, columns = frame.shape[-2:]
    if view == View() and (columns - width) % 2 == 0:
        left = (columns - width) // 2
        return frame[..., left : left + width]
    x = torch.arange(width) - (width - 1) / 2
    y = (torch.arange(height) - (height - 1) / 2)[:, None]
    cos, sin = math.cos(view.roll) / view.zoom, math.sin(view.roll) / view.zoom
    across = cos * x - sin * y + view.x * width
    down = sin * x + cos * y + view.y * height
    grid = torch.stack([2 * across / columns, 2 * down / height], -1)
    seen = F.grid_sample(frame[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False)
    return seen[0].clamp(frame.min(), frame.max())


def _path(camera: Camera, seconds: float, margin: float, way: str, before: View | None) -> tuple[View, View]:
    """Where a camera begins and ends. One that begins a take crosses the middle; one that carries on, goes on."""
    reach = min(1.0, PACE[camera.speed] * seconds)
    move: str = camera.move
    if move == "follow":
        move = f"pan_{way}" if way else "static"
    if move.startswith(("dolly", "zoom")):
        growth = CLOSER**reach
        if before is None:
            near = View(zoom=growth)
            return (View(), near) if move.endswith("in") else (near, View())
        zoom = before.zoom * growth if move.endswith("in") else before.zoom / growth
        return before, replace(before, zoom=min(max(zoom, 1.0), CLOSEST))
    if move.startswith(_SIDEWAYS):
        zoom = 1.0 if margin else SLACK
        far = reach * (margin / 2 + (1 - 1 / zoom) / 2) * (-1 if move.endswith("left") else 1)
        if before is None:
            return View(x=-far, zoom=zoom), View(x=far, zoom=zoom)
        return before, replace(before, x=before.x + 2 * far, zoom=max(before.zoom, zoom))
    if move.startswith(_UP_AND_DOWN):
        far = reach * (1 - 1 / SLACK) / 2 * (-1 if move.endswith("up") else 1)
        if before is None:
            return View(y=-far, zoom=SLACK), View(y=far, zoom=SLACK)
        return before, replace(before, y=before.y + 2 * far, zoom=max(before.zoom, SLACK))
    if move.startswith("roll"):
        turn = reach * TURN * (-1 if move.endswith("left") else 1)
        if before is None:
            return View(roll=-turn, zoom=SLACK), View(roll=turn, zoom=SLACK)
        return before, replace(before, roll=before.roll + 2 * turn, zoom=max(before.zoom, SLACK))
    start = before or View()
    return start, start


def _shaken(view: View, seconds: float) -> View:
    """A hand's unrest: slow sway and a little tremble, never the same in x and y."""
    x = 0.010 * math.sin(2.1 * seconds + 0.3) + 0.004 * math.sin(7.3 * seconds + 1.0)
    y = 0.010 * math.sin(2.7 * seconds + 1.7) + 0.004 * math.sin(6.1 * seconds + 4.0)
    roll = 0.006 * math.sin(1.3 * seconds + 2.0)
    return View(view.x + x, view.y + y, max(view.zoom, 1.06), view.roll + roll)
