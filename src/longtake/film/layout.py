"""Where on the canvas everybody is filmed: a window and a caption for each, and room for the camera to turn.

A network as small as pocket's knows one character at a time: asked for two, it blends them; asked for three alike, it
makes one. So each gets a window of its own, in which it is alone (`diffusion.canvas`), and whoever passes behind
another walks through a picture of which that other holds the middle. Cameras it hardly knows either: a shot that turns
to one side is made wider, at rest, and `film.rig` moves over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from longtake.diffusion.canvas import Region, Window, fitted, over_canvas
from longtake.diffusion.sample import DenoiseAt
from longtake.world.captions import full_caption
from longtake.world.concepts import actions_of, concept
from longtake.world.motion import TRAVELS
from longtake.world.scene import Actor, Scene

MOST = 5
"""Characters that get a window of their own."""
MARGIN = 4
"""Columns that a camera which turns has beside its picture, both sides together."""
_APART = {2: 4, 3: 8, 4: 8, 5: 8}
"""Columns from the first to the last character's middle, of ten."""
_OF = 10
_FARTHER = {3: {"extreme_close_up": "medium", "close_up": "medium", "medium": "full"}}
_FARTHER[4] = _FARTHER[5] = {
    "extreme_close_up": "full",
    "close_up": "full",
    "medium": "full",
    "full": "wide",
}
"""The scale at which each of so many is asked for, where they would be too large to stand side by side."""

_SIDES = ("left", "right")
_GAITS = ("walk", "drive", "run", "hop", "roll", "fly", "slide", "swim", "float")
_AFTER_ANOTHER = ("chase", "follow")
_BODY = 1.3
"""Of ten columns, half of what stands before somebody who passes behind it."""


@dataclass(frozen=True)
class Part:
    """A caption for one window."""

    caption: str
    region: Region


@dataclass(frozen=True)
class Layout:
    """A shot's canvas, in latent columns."""

    width: int
    """Of a window."""
    picture: int
    """Of what is seen at a time."""
    shown: int
    """Of what is seen sooner or later: the picture and the margin of the camera."""
    columns: int
    """Of the canvas."""
    parts: tuple[Part, ...]

    @property
    def is_plain(self) -> bool:
        """One window, one caption."""
        return len(self.parts) == 1

    def denoiser(self, predict: Callable[[str], DenoiseAt]) -> DenoiseAt:
        """The denoiser of the canvas, given one for each caption."""
        if self.is_plain:
            return predict(self.parts[0].caption)
        made = {caption: predict(caption) for caption in dict.fromkeys(part.caption for part in self.parts)}
        windows = [Window(made[part.caption], part.region) for part in self.parts]
        return over_canvas(windows, self.width, self.columns)

    @property
    def margin(self) -> float:
        """What the camera has beside its picture, both sides together, in picture widths."""
        return self.shown / self.picture - 1

    def kept(self, latents: Tensor) -> Tensor:
        """Of a canvas, what is seen sooner or later."""
        return fitted(latents, self.shown)

    def at_rest(self, latents: Tensor) -> Tensor:
        """What a camera at rest sees, of a canvas or of what was kept."""
        return fitted(latents, self.picture)

    def marked(self, noise: Callable[[Tensor, list[int]], Tensor]) -> Callable[[Tensor, list[int]], Tensor]:
        """A change to the noise of the picture at rest, as one to that of the canvas."""
        first = (self.columns - self.picture) // 2
        middle = slice(first, first + self.picture)

        def change(canvas: Tensor, frames: list[int]) -> Tensor:
            canvas = canvas.clone()
            canvas[..., middle] = noise(canvas[..., middle], frames)
            return canvas

        return change


def plain(caption: str, width: int) -> Layout:
    """As the network knows it."""
    return Layout(width, width, width, width, (Part(caption, Region(0)),))


def lay_out(
    scene: Scene, caption: str, language: str, width: int, picture: int | None = None, margin: int = 0
) -> Layout:
    """The layout of a scene that `caption` tells whole, for a network whose pictures have `width` columns.

    `picture`: columns of what is seen at a time, as many if None; `margin`: columns of the camera's. Captions of
    single characters are those of the theatre, in `language` ("en" or "zh"), with the camera at rest.
    """
    picture = picture or width
    passes = scene.interaction == "pass_behind" and len(scene.actors) > 1
    row = [] if passes else in_a_row(scene)[:MOST]
    apart = round(_APART[len(row)] * picture / _OF) if len(row) > 1 else 0
    shown = picture + margin
    columns = max(width + apart, shown)
    columns += (columns - shown) % 2  # the middle of the one is that of the other
    first = (columns - width - apart) // 2
    if passes:
        parts = _passing(scene, language, width, first)
    elif len(row) > 1:
        scene = replace(scene, shot=_FARTHER.get(len(row), {}).get(scene.shot, scene.shot))
        step = apart / (len(row) - 1)
        parts = [
            Part(full_caption(_alone(scene, actor), language), Region(first + round(n * step)))
            for n, actor in enumerate(row)
        ]
    else:
        parts = [Part(caption, Region(first))]
    beyond = {
        left: parts[0 if left < first else -1].caption
        for left in (*range(0, first, width // 2), *range(columns - width, first + apart, -(width // 2)))
    }
    parts += [Part(said, Region(left, fills=True)) for left, said in beyond.items()]
    return Layout(width, picture, shown, columns, tuple(parts))


def _passing(scene: Scene, language: str, width: int, first: int) -> list[Part]:
    """One crosses the picture, the other stands in its middle and before the first."""
    mover, other = scene.actors[:2]
    way = mover.direction if mover.direction in _SIDES else _SIDES[scene.seed % 2]
    moving = full_caption(_alone(scene, _going(mover, way)), language)
    standing = full_caption(_alone(scene, replace(other, count=1)), language)
    return [Part(moving, Region(first)), Part(standing, Region(first, front=_BODY * width / _OF))]


def _going(actor: Actor, way: str) -> Actor:
    """The same, on its way to a side, as it can."""
    able = actions_of(concept(actor.code))
    action = actor.action if actor.action in TRAVELS else next((a for a in _GAITS if a in able), actor.action)
    return replace(actor, count=1, action=action, direction=way)


def in_a_row(scene: Scene) -> list[Actor]:
    """Everybody on stage, each by itself, from left to right."""
    row = [replace(actor, count=1) for actor in scene.actors for _ in range(actor.count)]
    lead = scene.actors[0]
    if scene.interaction in _AFTER_ANOTHER:
        row = [_going(actor, lead.direction if lead.direction in _SIDES else "right") for actor in row]
    goes_left = bool(scene.interaction) and lead.direction == "left"
    return row[::-1] if (scene.relation == "right_of") != goes_left else row


def _alone(scene: Scene, actor: Actor) -> Scene:
    return replace(scene, actors=(actor,), relation="", interaction="", camera="static")
