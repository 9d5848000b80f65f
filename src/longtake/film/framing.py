"""How every shot of a film is framed: its layout on the canvas, the camera that moves over it, and what is judged.

A model that speaks the theatre's words is asked for each character apart and at rest; the camera moves afterwards. Any
other is asked for the whole shot, camera and all, and so is one that follows an animatic, which shows both already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from longtake.film.layout import MARGIN, Layout, lay_out, plain
from longtake.film.plan import ShotPlan
from longtake.film.rig import Rig, rigs, turns_aside
from longtake.film.script import Script
from longtake.request import Request
from longtake.world.motion import TRAVELS
from longtake.world.scene import Scene

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

WIDE = 1.2
"""A film so much wider in shape than the widest native size is made on a wider canvas; any other is cut to shape."""


@dataclass(frozen=True)
class Framing:
    """One entry a shot."""

    layouts: Sequence[Layout]
    cameras: Sequence[Rig | None]
    """None: whatever moves, moves in the model's own picture."""
    scenes: Sequence[Scene]
    """What takes are compared with; none where the model does not speak the theatre's words."""

    def is_as_made(self, index: int) -> bool:
        """Whether a shot shows the model's own picture, whole and at rest."""
        camera, layout = self.cameras[index], self.layouts[index]
        return (camera is None or camera.is_at_rest) and layout.picture == layout.width


def framed(script: Script, plans: Sequence[ShotPlan], request: Request, models: Models) -> Framing:
    """The framing of a film."""
    config, board = models.config, script.board
    rows, columns = config.grid(*config.native(request.width, request.height))
    vocabulary = models.extra.get("vocabulary", {})
    scenes = script.scenes(vocabulary)
    if not scenes or request.guide:
        captions = script.captions
        return Framing([plain(caption, columns) for caption in captions], [None] * len(captions), scenes)
    # the words of a shot are those of its first version: a retake has another seed, and changes nothing else
    scenes = [
        replace(scene, camera="static", seed=plan.seed) for scene, plan in zip(scenes, plans, strict=True)
    ]
    language = "zh" if board.language.startswith("zh") else "en"
    takes = [_first_of_take(plans, index) for index in range(len(plans))]
    pictured = {0} if request.image else set()
    aside = {take for take, shot in zip(takes, board.shots, strict=True) if turns_aside(shot.camera)}
    picture = columns
    if request.width * rows > WIDE * columns * request.height and not request.image:
        picture = 2 * math.ceil(rows * request.width / request.height / 2)
    layouts = [
        plain(caption, columns)
        if take in pictured
        else lay_out(scene, caption, language, columns, picture, MARGIN if take in aside else 0)
        for take, caption, scene in zip(takes, script.at_rest(vocabulary), scenes, strict=True)
    ]
    cameras = rigs(
        board.shots,
        [plan.past for plan in plans],
        [plan.latents * config.vae.group for plan in plans],
        [layout.margin for layout in layouts],
        [way_of(scene) for scene in scenes],
        config.fps,
    )
    return Framing(layouts, cameras, scenes)


def _first_of_take(plans: Sequence[ShotPlan], index: int) -> int:
    while (past := plans[index].past) is not None:
        index = past
    return index


def way_of(scene: Scene) -> str:
    """The side to which the lead goes, if to one."""
    lead = scene.actors[0]
    return lead.direction if lead.action in TRAVELS and lead.direction in ("left", "right") else ""
