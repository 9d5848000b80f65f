"""The storyboard acted out on the paper theatre: frames of a preview that shows every cut, move and dissolve in time.

No model is asked. The frames are drawn, labelled with a slate (what it is, the shot, its scale and move), and go
through the same marking and writing as every film.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from longtake.ahead import ahead
from longtake.director.staging import drawings_of, quiet, stage
from longtake.storyboard import Shot, Storyboard
from longtake.video import Frame
from longtake.world.atlas import PREVIEW, Atlas, names
from longtake.world.choreography import choreograph
from longtake.world.concepts import concepts
from longtake.world.painter import Painter
from longtake.world.scene import Track, Tracks

WEIGHTS = "animatic"
"""What the metadata names in the place of a model's weights."""
SOFT_JOIN = 0.4
"""Seconds over which pieces of one take melt into each other."""
_SLATE = 0.028
"""Height of the slate's letters over the frame's height."""
_NEAR = {"medium_close_up": 1.45, "close_up": 1.8, "extreme_close_up": 2.4, "insert": 2.4}
"""How much nearer than the theatre's scales: those keep whole figures in the frame."""
_AHEAD = 24
"""Frames painted while those before them are encoded."""


def notes(board: Storyboard, atlas: Path | None = None) -> tuple[str, ...]:
    """What the theatre has no drawing or stage for, and what it shows instead."""
    codes = names(atlas or PREVIEW)
    found = [note for shot in board.shots for note in stage(board, shot, 24, codes).notes]
    return tuple(dict.fromkeys(found))


def frames(
    board: Storyboard, size: tuple[int, int] | None = None, atlas: Path | None = None, slate: bool = True
) -> Iterator[Frame]:
    """Every frame of the animatic, exactly as many as the board's seconds and rate say; size is (width, height)."""
    width, height = size or (board.width, board.height)
    file = atlas or PREVIEW
    codes = names(file)
    painter = Painter(Atlas.load(file, drawings_of(board, codes)), width, height)
    tail: list[Frame] = []
    for index in range(len(board.shots)):
        run = _Run(board, index, painter, codes)
        with closing(ahead(run.frames, _AHEAD)) as made:
            for number, frame in enumerate(made):
                if number < len(tail):
                    frame = _mix(run.kind, tail[number], frame, (number + 0.5) / len(tail))
                yield _slated(frame, run.words) if slate else frame
        tail = run.tail


class _Run:
    """The frames of one shot, with what transitions need before and behind it.

    The middle of a transition lies on the cut, so it takes half of its frames from each side: a shot begins
    early, where the one before leaves off, and its last frames are kept for the mix with the next.
    """

    def __init__(self, board: Storyboard, index: int, painter: Painter, codes: tuple[str, ...]):
        self.shot: Shot = board.shots[index]
        start, end = board.spans()[index]
        self.kind, whole = _transition(board, index)
        _, behind = _transition(board, index + 1) if index + 1 < len(board.shots) else ("cut", 0)
        self.fade_in = 0 if index else whole
        self.shown = end - start - behind // 2 + (whole // 2 if index else 0)
        self.count = self.shown + behind
        self.tail: list[Frame] = []
        staged = stage(board, self.shot, max(self.count, 2), codes)
        aspect = painter.width / painter.height
        self.tracks = _filmed(choreograph(staged.scene, painter.atlas, aspect), self.shot)
        self.painter = painter
        place = f"{self.shot.id}/{len(board.shots)}"
        self.words = quiet(
            f"ANIMATIC  {place}  {self.shot.scale}  {self.shot.angle}  {self.shot.camera.move}  {self.shot.duration:g}s"
        )

    def frames(self) -> Iterator[Frame]:
        """`shown` frames to be shown; what is behind them goes into `tail`."""
        for number, frame in enumerate(self.painter.frames(self.tracks)):
            if number < self.shown:
                if number < self.fade_in:
                    frame = _mix("fade", np.zeros_like(frame), frame, 0.5 + (number + 0.5) / self.fade_in / 2)
                yield frame
            elif number < self.count:
                self.tail.append(frame)


def _transition(board: Storyboard, index: int) -> tuple[str, int]:
    """Kind and frames of the way into a shot; the pieces of a long take melt."""
    shot = board.shots[index]
    if shot.continue_from and index and shot.continue_from == board.shots[index - 1].id:
        least = min(shot.duration, board.shots[index - 1].duration)
        return "dissolve", 2 * (round(min(SOFT_JOIN, least / 2) * board.fps) // 2)
    return shot.transition.type, 2 * (round(shot.transition.duration * board.fps) // 2)


def _mix(kind: str, before: Frame, frame: Frame, share: float) -> Frame:
    """The picture `share` of the way through a transition."""
    if kind == "wipe":
        edge = round(share * frame.shape[1])
        return np.concatenate([frame[:, :edge], before[:, edge:]], 1)
    if kind == "fade":  # out to black, then in
        picture, light = (before, 1 - 2 * share) if share < 0.5 else (frame, 2 * share - 1)
        return (picture * np.float32(light)).astype(np.uint8)
    part = round(256 * share)
    return ((before.astype(np.uint16) * (256 - part) + frame.astype(np.uint16) * part) >> 8).astype(np.uint8)


def _filmed(tracks: Tracks, shot: Shot) -> Tracks:
    """What the theatre's camera does not do by itself: a dutch angle, a roll."""
    count = len(tracks.camera["roll"])
    roll = np.full(count, 0.12 if shot.angle == "dutch" else 0.0, np.float32)
    camera = tracks.camera | _closer(tracks, shot)
    if shot.camera.move.startswith("roll"):
        side = -1 if shot.camera.move.endswith("left") else 1
        roll = roll + side * np.linspace(-0.12, 0.12, count, dtype=np.float32)
    return replace(tracks, camera=camera | {"roll": roll})


def _closer(tracks: Tracks, shot: Shot) -> dict[str, Track]:
    """Near shots of one figure go nearer than the theatre's own, to the head; the lens narrows and keeps it in view."""
    near = _NEAR.get(shot.scale)
    if near is None or len({a for a in tracks.actor if a >= 0}) != 1:
        return {}
    code = tracks.names[tracks.actor.index(0)]
    tall = code in concepts() and concepts()[code].whole and concepts()[code].animate
    zoom = near if tall else 1 + (near - 1) / 2
    layer = {k: v[tracks.actor.index(0)] for k, v in tracks.layers.items()}
    c = tracks.camera
    depth = np.maximum(layer["Z"] - c["cz"], 0.5)
    horizon = 0.5 + c["focal"] * np.tan(c["pitch"])
    head = horizon + c["focal"] * (c["cy"] - layer["Y"].mean() - (0.8 if tall else 0.5) * layer["h"]) / depth
    focal = c["focal"] * zoom
    pitch = np.arctan((0.45 + zoom * (horizon - head) - 0.5) / focal)
    return {
        "focal": focal.astype(np.float32),
        "pitch": pitch.astype(np.float32),
        "cx": layer["X"].astype(np.float32),
    }


@lru_cache(maxsize=4)
def _letters(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _strip(words: str, height: int, width: int) -> Frame:
    """The slate as a picture, letters on black."""
    size = max(8, round(_SLATE * height))
    box = _letters(size).getbbox(words)
    image = Image.new("RGB", (min(round(box[2]) + size, width), round(size * 1.6)))
    ImageDraw.Draw(image).text(
        (size // 2, round(0.15 * size)), words, fill=(230, 230, 230), font=_letters(size)
    )
    return np.asarray(image)


def _slated(frame: Frame, words: str) -> Frame:
    """The slate at the bottom, below where the label and subtitles stand."""
    height, width = frame.shape[:2]
    strip = _strip(words, height, width)
    y, x = height - strip.shape[0] - round(0.01 * height), (width - strip.shape[1]) // 2
    under = frame[y : y + strip.shape[0], x : x + strip.shape[1]]
    marked = frame.copy()
    marked[y : y + strip.shape[0], x : x + strip.shape[1]] = np.maximum(under // 3, strip)
    return marked
