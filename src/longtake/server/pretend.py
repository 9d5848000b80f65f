"""A made-up model for load and chaos tests: it waits, reports progress and writes a tiny marked clip.

Reached only through the hidden option `longtake serve --pretend SECONDS`; every film says so in its metadata.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from longtake.provenance import aigc, label
from longtake.request import Event, Film, Progress, Request
from longtake.video import Writer, settle, thumbnail

WEIGHTS = "pretend (not a model)"
_STEPS = 20


class PretendMaker:
    """Takes `seconds` for every film. A prompt of "crash", "fail" or "break" does what it says."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, request: Request, output: Path, work: Path) -> Generator[Event, None, None]:
        match request.prompt:
            case "crash":
                import os
                import signal

                os.kill(os.getpid(), signal.SIGKILL)
            case "fail":
                from longtake.errors import MediaError

                raise MediaError(f"{work}/given.png cannot be read")
            case "break":
                raise RuntimeError("a bug")
        frame = np.full((144, 256, 3), request.seed % 200, np.uint8)
        small = thumbnail(frame)
        for step in range(_STEPS):
            time.sleep(self._seconds / _STEPS)
            yield Progress(stage="denoise", fraction=step / _STEPS, preview=small if step % 5 == 0 else None)
        beside = output.with_name(".partial.mp4")
        writer = Writer(beside, 256, 144, request.fps, aigc.tags(request, WEIGHTS, request.prompt))
        for number in range(6):
            writer.write(label.burn(frame, number / request.fps))
        writer.finish()
        settle(beside, output)
        yield Film(
            path=output, width=request.width, height=request.height, fps=request.fps, frames=6,
            seconds=request.seconds, seed=request.seed, caption=request.prompt, storyboard=request.storyboard,
        )  # fmt: skip
