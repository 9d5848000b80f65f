"""Data without end: scenes are rendered while a run trains, on its own device, and the oldest make room for new ones.

A GPU needs more scenes than a disk should hold. So a ring of them stays in its memory; every sample drawn from it
counts, and after `reuse` samples a scene a block of new ones is rendered over the oldest. A scene is told in other
words and noised with other noise each time. Scenes depend on the seed and their number alone: a run that goes on
renders again what its ring held, and draws what it would have drawn.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longtake.errors import RequestError
from longtake.model.presets import ModelConfig
from longtake.model.vae import VAE
from longtake.train.data import PIECE, Clips, Order, boxes_of, coverage, subject_box, window
from longtake.train.render import atlas_of, encode_clips, to_bytes
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, sample_scene, twin
from longtake.world.scene import Scene, Tracks
from longtake.world.stage import Stage

Played = list[tuple[Scene, Tracks]]
Columns = dict[str, Tensor]


@dataclass(frozen=True)
class LivePlan:
    """What is rendered, and how much of it is held."""

    vocabulary: str = "pocket"
    atlas: Path | None = None
    frames: int = 48
    seed: int = 0
    workers: int = 2
    """Processes that choreograph ahead; 0: none, it is done when it is needed."""
    keep: int = 4096
    """Scenes of each size that are held at once."""
    reuse: float = 5.0
    """How often a scene is drawn before it makes room, on average."""
    block: int = 32
    """Scenes rendered together."""

    def __post_init__(self) -> None:
        if self.block < 2 or self.block % 2 or self.keep % self.block or self.keep < self.block:
            raise RequestError(
                f"blocks must be even and fit into what is kept; not {self.block} into {self.keep}"
            )
        if self.reuse < 1 or self.frames < PIECE:
            raise RequestError(f"a scene is used once at least and has {PIECE} frames at least")


def play(plan: LivePlan, aspect: float, twins: bool, number: int) -> Played:
    """Block `number` of the endless row of scenes, choreographed. With `twins` the second of two differs from the first
    in one word and in no chance."""
    rng = random.Random(f"{plan.seed} live {aspect:.4f} {twins} {number}")
    words, atlas = PRESETS[plan.vocabulary], atlas_of(plan.atlas, plan.vocabulary)
    played: Played = []
    for place in range(plan.block):
        if twins and place % 2:
            scene = twin(rng, played[-1][0], words)
        else:
            scene = replace(sample_scene(rng, words), frames=plan.frames)
        played.append((scene, choreograph(scene, atlas, aspect)))
    return played


class Rehearsal:
    """Blocks of played scenes in order, a few made ahead by worker processes."""

    def __init__(self, plan: LivePlan, aspect: float, twins: bool) -> None:
        self._what = plan, aspect, twins
        self._pool: ProcessPoolExecutor | None = None
        self._ahead: deque[tuple[int, Future[Played]]] = deque()
        if plan.workers:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                plan.workers, context, initializer=torch.set_num_threads, initargs=(1,)
            )

    def block(self, number: int) -> Played:
        """The scenes of this block; the ones after it are begun."""
        if self._pool is None:
            return play(*self._what, number)
        while self._ahead and self._ahead[0][0] != number:  # the run went on from elsewhere
            self._ahead.popleft()[1].cancel()
        following = self._ahead[-1][0] + 1 if self._ahead else number
        for other in range(following, number + 2 * self._what[0].workers + 1):
            self._ahead.append((other, self._pool.submit(play, *self._what, other)))
        return self._ahead.popleft()[1].result()


class Ring:
    """The newest scenes of one size as columns of tensors; `make` turns played scenes into a block's rows."""

    def __init__(
        self, plan: LivePlan, aspect: float, make: Callable[[Played, int], Columns], twins: bool = False
    ) -> None:
        self.plan, self._make = plan, make
        self._rehearsal = Rehearsal(plan, aspect, twins)
        self.columns: Columns = {}
        self.scenes: list[Scene] = []
        self._next, self._owed = 0, 0.0
        self._fill(0)

    def used(self, samples: int) -> None:
        """So many samples were drawn; renew what has been drawn often enough."""
        self._owed += samples / self.plan.reuse
        while self._owed >= self.plan.block:
            self._owed -= self.plan.block
            self._renew()

    def state(self) -> dict[str, Any]:
        return {"next": self._next, "owed": self._owed}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._owed = state["owed"]
        if state["next"] != self._next:
            self._fill(state["next"] - self.plan.keep // self.plan.block)

    def _fill(self, first: int) -> None:
        self._next, begin = first, time.monotonic()
        for _ in range(self.plan.keep // self.plan.block):
            self._renew()
        rate = self.plan.keep / (time.monotonic() - begin)
        print(f"{self.plan.keep} scenes ready, {rate:.1f}/s", file=sys.stderr, flush=True)

    def _renew(self) -> None:
        """Render the next block over the oldest one."""
        played = self._rehearsal.block(self._next)
        rows = self._make(played, self._next)
        if not self.columns:
            self.columns = {k: v.new_empty(self.plan.keep, *v.shape[1:]) for k, v in rows.items()}
            self.scenes += [scene for scene, _ in played] * (self.plan.keep // self.plan.block)
        begin = self._next * self.plan.block % self.plan.keep
        for name, values in rows.items():
            self.columns[name][begin : begin + self.plan.block] = values
        self.scenes[begin : begin + self.plan.block] = [scene for scene, _ in played]
        self._next += 1


class LiveClips:
    """Whole clips as latents of a frozen autoencoder; the twins are in it."""

    def __init__(self, plan: LivePlan, config: ModelConfig, vae: VAE, size: tuple[int, int]) -> None:
        device = vae.mean.device
        width, height = (edge // vae.config.upscale for edge in size)
        rows, cells = config.grid(*size)
        stage = _stage(plan, height, width, device, plan.frames)

        def make(played: Played, number: int) -> Columns:
            tracks = [track for _, track in played]
            cover = torch.stack([coverage(boxes, rows, cells) for boxes in boxes_of(stage, tracks)])
            frames = to_bytes(stage.render(tracks))
            return encode_clips(frames, to_bytes(cover).to(device), vae, random.Random(number))

        self.ring = Ring(plan, size[0] / size[1], make, twins=True)
        self.clips = Clips(**self.ring.columns, scenes=self.ring.scenes)


class LivePieces:
    """Short pieces at output size, as `data.Pieces` draws them from disk."""

    def __init__(
        self, plan: LivePlan, sizes: Sequence[tuple[int, int]], device: torch.device, seed: int = 0
    ) -> None:
        self._rings = [Ring(plan, size[0] / size[1], self._maker(plan, size, device)) for size in sizes]
        self._orders = [Order(plan.keep, seed) for _ in sizes]
        self._turn = 0

    @staticmethod
    def _maker(
        plan: LivePlan, size: tuple[int, int], device: torch.device
    ) -> Callable[[Played, int], Columns]:
        stage = _stage(plan, size[1], size[0], device, PIECE)

        def make(played: Played, number: int) -> Columns:
            rng = random.Random(number)
            parts = [window(tracks, rng.randrange(plan.frames - PIECE + 1), PIECE) for _, tracks in played]
            boxes = [subject_box(b, part) for b, part in zip(boxes_of(stage, parts), parts, strict=True)]
            return {"frames": to_bytes(stage.render(parts)), "boxes": torch.stack(boxes)}

        return make

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Frames float [b 3 8 H W] in [-1, 1] on the device and subject boxes [b 8 4]; sizes take turns."""
        pick = self._turn % len(self._rings)
        self._turn += 1
        ring, index = self._rings[pick], torch.tensor(self._orders[pick].take(count))
        frames, boxes = (ring.columns[name][index] for name in ("frames", "boxes"))
        ring.used(count)
        return frames.float() / 127.5 - 1, boxes

    def state(self) -> dict[str, Any]:
        return {
            "turn": self._turn,
            "taken": [order.taken for order in self._orders],
            "rings": [ring.state() for ring in self._rings],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._turn = state["turn"]
        for order, ring, taken, at in zip(
            self._orders, self._rings, state["taken"], state["rings"], strict=True
        ):
            order.taken = taken
            ring.restore(at)


def _stage(plan: LivePlan, height: int, width: int, device: torch.device, frames: int) -> Stage:
    """On a GPU whole blocks are painted at once; on a CPU a few frames at a time stay in its cache."""
    chunk = 8 if device.type == "cpu" else frames
    return Stage(atlas_of(plan.atlas, plan.vocabulary), height, width, device, chunk)
