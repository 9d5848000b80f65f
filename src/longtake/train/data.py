"""Rendered scenes on disk, and the batches drawn from them.

Two kinds of shard, one safetensors file each, whole or absent, so that an interrupted rendering goes on:
  groups  short pieces at output size, for the VAE:     frames uint8 [n 3 8 H W], boxes float32 [n 8 4]
  clips   whole clips as normalised latents, for the transformer:
          latents float16 [n z f h w], masks uint8 [n f h w],
          stills float16 [n 2 z h w] (first frame and a random one), still_masks uint8 [n 2 h w]
The scenes are JSON in the shard's header; captions are drawn from them at training time, new words each time.
Boxes are x0 y0 x1 y1 as fractions of the frame; masks say how much of a latent cell characters cover, 0..255.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from longtake.errors import RequestError
from longtake.model import checkpoint
from longtake.model.vae import VAE
from longtake.train.loop import Randomness, read_safetensors, write_safetensors
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, codes, sample_scene
from longtake.world.scene import Scene, Tracks
from longtake.world.stage import Stage

COLUMNS = ("latents", "masks", "stills", "still_masks")
PIECE = 8
"""Frames of one piece for VAE training: two consecutive groups of four."""
SPLITS = ("train", "held")
"""held: only scenes whose subject-place or subject-action pair no training scene has."""


@dataclass(frozen=True)
class RenderPlan:
    """What to render and where to put it. `size` is (width, height) of the output, in pixels."""

    out: Path
    size: tuple[int, int]
    count: int
    split: str = "train"
    vocabulary: str = "pocket"
    atlas: Path | None = None
    vae: Path | None = None
    """The frozen VAE that encodes clips."""
    seed: int = 0
    frames: int = 48
    shard: int = 64
    workers: int = 2
    """Processes of one thread each; 0 renders here (always so on a GPU)."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise RequestError(f"unknown split {self.split!r}; choose one of: {', '.join(SPLITS)}")
        if self.vocabulary not in PRESETS:
            raise RequestError(f"unknown vocabulary {self.vocabulary!r}; choose one of: {', '.join(PRESETS)}")
        if self.count < 1 or self.shard < 1 or self.frames < PIECE:
            raise RequestError(f"count and shard must be at least 1, and frames at least {PIECE}")

    def file(self, kind: str, index: int) -> Path:
        return self.out / f"{kind}-{self.size[0]}x{self.size[1]}-{self.split}-{index:05d}.safetensors"


def render_groups(plan: RenderPlan) -> list[Path]:
    """Render `count` pieces of PIECE consecutive frames, one to a random scene. Returns all shard files."""
    return _render(plan, "groups")


def render_clips(plan: RenderPlan) -> list[Path]:
    """Render `count` whole clips at encoder size and keep their latents. Returns all shard files."""
    if plan.vae is None:
        raise RequestError(
            "clips are stored as latents: name the trained VAE (vae=path of its .safetensors file)"
        )
    return _render(plan, "clips")


def _render(plan: RenderPlan, kind: str) -> list[Path]:
    files = [plan.file(kind, index) for index in range(-(-plan.count // plan.shard))]
    todo = [index for index, file in enumerate(files) if not file.exists()]
    begin, done = time.monotonic(), 0
    for count in _work(plan, kind, todo):
        done += count
        rate = done / (time.monotonic() - begin)
        left = (sum(_shard_size(plan, i) for i in todo) - done) / rate / 60
        what = f"{kind} {plan.size[0]}x{plan.size[1]} {plan.split}"
        print(f"{what}: {done} rendered, {rate:.2f}/s, {left:.1f} min left", file=sys.stderr, flush=True)
    return files


def _work(plan: RenderPlan, kind: str, todo: Sequence[int]) -> Iterator[int]:
    """Render the shards `todo` here or in worker processes; yields the scene count of each as it is done."""
    job = _group_shard if kind == "groups" else _clip_shard
    if plan.workers == 0 or plan.device != "cpu" or len(todo) < 2:
        for index in todo:
            yield job(plan, index)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(job, plan, index) for index in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _shard_size(plan: RenderPlan, index: int) -> int:
    return min(plan.shard, plan.count - index * plan.shard)


@lru_cache(maxsize=1)
def _atlas(path: Path | None, vocabulary: str) -> Atlas:
    """Only the drawings that the vocabulary needs: each takes a few megabytes in every worker."""
    return Atlas.load(path, codes(PRESETS[vocabulary]))


@lru_cache(maxsize=1)
def _stage(path: Path | None, vocabulary: str, width: int, height: int, device: str) -> Stage:
    return Stage(_atlas(path, vocabulary), height, width, device)


@lru_cache(maxsize=1)
def _frozen_vae(path: Path, device: str) -> VAE:
    return checkpoint.load(path, device).vae


def _scenes(plan: RenderPlan, kind: str, index: int) -> Iterator[tuple[Scene, Tracks, random.Random]]:
    """The scenes of one shard: the same for the same plan, whoever renders it and whenever."""
    width, height = plan.size
    rng = random.Random(f"{plan.seed} {kind} {plan.split} {width}x{height} {index}")
    for _ in range(_shard_size(plan, index)):
        scene = sample_scene(rng, PRESETS[plan.vocabulary], held_out=plan.split == "held")
        scene = replace(scene, frames=plan.frames)
        yield scene, choreograph(scene, _atlas(plan.atlas, plan.vocabulary), width / height), rng


def _group_shard(plan: RenderPlan, index: int) -> int:
    width, height = plan.size
    stage = _stage(plan.atlas, plan.vocabulary, width, height, plan.device)
    frames, boxes, scenes = [], [], []
    for scene, tracks, rng in _scenes(plan, "groups", index):
        part = window(tracks, rng.randrange(plan.frames - PIECE + 1), PIECE)
        frames.append((stage.render([part])[0] * 255).round().to(torch.uint8).cpu())
        boxes.append(subject_box(character_boxes(stage, part), part))
        scenes.append(scene.as_dict())
    tensors = {"frames": torch.stack(frames), "boxes": torch.stack(boxes)}
    write_safetensors(plan.file("groups", index), tensors, {"scenes": json.dumps(scenes)})
    return len(scenes)


@torch.no_grad()
def _clip_shard(plan: RenderPlan, index: int) -> int:
    assert plan.vae is not None
    vae = _frozen_vae(plan.vae, plan.device)
    width, height = plan.size
    stage = _stage(plan.atlas, plan.vocabulary, width, height, plan.device)
    columns: dict[str, list[Tensor]] = {name: [] for name in COLUMNS}
    scenes = []
    for scene, tracks, rng in _scenes(plan, "clips", index):
        frames = shrink(stage.render([tracks]) * 2 - 1, vae.config.upscale)  # 1 c t h w
        latents = vae.encode(frames)  # 1 z f h w
        rows, cells = latents.shape[-2:]
        picks = [0, rng.randrange(plan.frames)]
        stills = torch.cat([vae.encode_still(frames[:, :, t]) for t in picks]).reshape(2, -1, rows, cells)
        cover = coverage(character_boxes(stage, tracks), rows, cells)  # t h w
        columns["latents"].append(latents[0].half().cpu())
        columns["stills"].append(stills.half().cpu())
        columns["masks"].append(_bytes(reduce(cover, "(f g) h w -> f h w", "mean", g=vae.config.group)))
        columns["still_masks"].append(_bytes(cover[picks]))
        scenes.append(scene.as_dict())
    tensors = {name: torch.stack(rows) for name, rows in columns.items()}
    write_safetensors(plan.file("clips", index), tensors, {"scenes": json.dumps(scenes)})
    return len(scenes)


def _bytes(share: Tensor) -> Tensor:
    return (share * 255).round().to(torch.uint8)


def window(tracks: Tracks, start: int, count: int) -> Tracks:
    """`count` frames of `tracks` from `start`; events are shifted, those outside dropped."""
    part = slice(start, start + count)
    return replace(
        tracks,
        layers={key: value[:, part] for key, value in tracks.layers.items()},
        camera={key: value[part] for key, value in tracks.camera.items()},
        events=[
            e | {"frame": e["frame"] - start} for e in tracks.events if start <= e["frame"] < start + count
        ],
    )


def shrink(frames: Tensor, factor: int) -> Tensor:
    """Area-average [b c t H W] by a whole factor: output size to encoder size."""
    small = F.avg_pool2d(rearrange(frames, "b c t h w -> (b t) c h w"), factor)
    return rearrange(small, "(b t) c h w -> b c t h w", b=len(frames))


def character_boxes(stage: Stage, tracks: Tracks) -> Tensor:
    """Boxes [t l 4] of the layers that belong to actors, as fractions of the frame, empty where not shown."""
    state = stage._project(stage._collate([tracks]))
    edges = torch.stack([state["left"], state["top"], state["right"], state["bottom"]], -1)[0].cpu()  # t l 4
    boxes = (edges / torch.tensor([stage.width, stage.height] * 2)).clamp(0, 1)
    actors = torch.tensor([actor >= 0 for actor in tracks.actor])
    shown = (state["a"][0].cpu() > 0.05) & actors
    return boxes * shown[..., None]


def subject_box(boxes: Tensor, tracks: Tracks) -> Tensor:
    """The box [t 4] around all layers of the first actor; all zero where it is out of the picture."""
    first = boxes[:, torch.tensor([actor == 0 for actor in tracks.actor])]  # t l 4
    shown = (first[..., 2] > first[..., 0]) & (first[..., 3] > first[..., 1])
    low = torch.where(shown[..., None], first[..., :2], 1.0).amin(1)
    high = torch.where(shown[..., None], first[..., 2:], 0.0).amax(1)
    return torch.where(shown.any(1)[:, None], torch.cat([low, high], -1), torch.zeros(len(boxes), 4))


def coverage(boxes: Tensor, rows: int, cells: int) -> Tensor:
    """How much of each cell of a rows x cells grid some box [t l 4] covers, [t rows cells] in 0..1."""
    y, x = torch.arange(rows) / rows, torch.arange(cells) / cells
    x0, y0, x1, y1 = (edge[..., None] for edge in boxes.unbind(-1))  # t l 1
    wide = (torch.minimum(x1, x + 1 / cells) - torch.maximum(x0, x)).clamp(min=0) * cells  # t l w
    tall = (torch.minimum(y1, y + 1 / rows) - torch.maximum(y0, y)).clamp(min=0) * rows  # t l h
    return (tall[..., :, None] * wide[..., None, :]).amax(1)


# ---- reading ----


def shards(folder: Path, kind: str, size: tuple[int, int], split: str) -> list[Path]:
    """Finished shards, in order. Raises RequestError when there are none."""
    files = sorted(folder.glob(f"{kind}-{size[0]}x{size[1]}-{split}-*.safetensors"))
    if not files:
        raise RequestError(
            f"no {split} {kind} of size {size[0]}x{size[1]} in {folder}; render them: longtake train data"
        )
    return files


class Order:
    """An endless shuffled walk through `length` items, each once a round; its place can be saved."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.taken = length, seed, 0
        self._round, self._order = -1, np.zeros(0, np.int64)

    def take(self, count: int) -> list[int]:
        picked = []
        for position in range(self.taken, self.taken + count):
            turn, place = divmod(position, self.length)
            if turn != self._round:
                self._round, self._order = (
                    turn,
                    np.random.default_rng((self.seed, turn)).permutation(self.length),
                )
            picked.append(int(self._order[place]))
        self.taken += count
        return picked


class Pieces:
    """VAE batches: pieces of one size at a time, read lazily from the shards' memory maps."""

    def __init__(
        self, folder: Path, sizes: Sequence[tuple[int, int]], split: str = "train", seed: int = 0
    ) -> None:
        self._files: dict[tuple[int, int], list[tuple[Any, int]]] = {}
        self._orders: dict[tuple[int, int], Order] = {}
        for size in sizes:
            items = []
            for path in shards(folder, "groups", size, split):
                file = safe_open(path, "pt")
                items += [(file, row) for row in range(file.get_slice("boxes").get_shape()[0])]
            self._files[size], self._orders[size] = items, Order(len(items), seed)
        self._turn = 0

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Frames float [b 3 8 H W] in [-1, 1] and subject boxes [b 8 4]; sizes take turns."""
        size = list(self._files)[self._turn % len(self._files)]
        self._turn += 1
        rows = [self._files[size][i] for i in self._orders[size].take(count)]
        frames = torch.cat([file.get_slice("frames")[row : row + 1] for file, row in rows])
        boxes = torch.cat([file.get_slice("boxes")[row : row + 1] for file, row in rows])
        return frames.float() / 127.5 - 1, boxes

    def state(self) -> dict[str, Any]:
        return {"turn": self._turn, "taken": [order.taken for order in self._orders.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._turn = state["turn"]
        for order, taken in zip(self._orders.values(), state["taken"], strict=True):
            order.taken = taken


@dataclass(frozen=True)
class Batch:
    """Clean latents to train on. `slot`: the first latent frame is a still of the clip's first frame."""

    latents: Tensor  # b z f h w, float32
    masks: Tensor  # b f h w in 0..1: where characters are
    scenes: list[Scene]
    slot: bool


@dataclass(frozen=True)
class Clips:
    """All clips of one size and split, in memory."""

    latents: Tensor  # n z f h w, float16
    masks: Tensor  # n f h w, uint8
    stills: Tensor  # n 2 z h w, float16
    still_masks: Tensor  # n 2 h w, uint8
    scenes: list[Scene] = field(repr=False)

    @classmethod
    def load(cls, folder: Path, size: tuple[int, int], split: str) -> Clips:
        parts = [read_safetensors(path) for path in shards(folder, "clips", size, split)]
        columns = [
            torch.cat([p[0][name] for p in parts]) for name in ("latents", "masks", "stills", "still_masks")
        ]
        return cls(*columns, [Scene.from_dict(row) for p in parts for row in json.loads(p[1]["scenes"])])

    def clips(self, rows: Sequence[int], slot: bool) -> Batch:
        """Whole clips, with the still of their first frame before them when `slot`."""
        index = torch.as_tensor(rows)
        latents, masks = self.latents[index].float(), self.masks[index].float() / 255
        if slot:
            latents = torch.cat([self.stills[index, 0].float()[:, :, None], latents], 2)
            masks = torch.cat([self.still_masks[index, :1].float() / 255, masks], 1)
        return Batch(latents, masks, [self.scenes[i] for i in rows], slot)

    def images(self, rows: Sequence[int], which: Sequence[int]) -> Batch:
        """Single stills as clips of one latent frame."""
        index, choice = torch.as_tensor(rows), torch.as_tensor(which)
        latents = self.stills[index, choice].float()[:, :, None]
        masks = self.still_masks[index, choice].float()[:, None] / 255
        return Batch(latents, masks, [self.scenes[i] for i in rows], slot=False)


@dataclass(frozen=True)
class Mixture:
    """What a batch is, by share of the budget: mostly images first (appearance), then mostly clips (motion).

    Shares are of batches; an image batch holds as many latent frames as a clip batch, so also of compute.
    """

    clips: int = 32
    images: int = 384
    early_images: float = 0.75
    late_images: float = 0.15
    switch: float = 0.4
    slots: float = 0.5
    """Share of the clip batches that carry the image slot."""


class ClipMix:
    """Transformer batches of one shape each, drawn from all sizes."""

    def __init__(
        self, sources: Sequence[Clips], mixture: Mixture, randomness: Randomness, seed: int = 0
    ) -> None:
        self.sources, self.mixture, self._rng = list(sources), mixture, randomness.numpy
        self._weights = np.array([len(s.scenes) for s in sources], float) / sum(
            len(s.scenes) for s in sources
        )
        self._clips = [Order(len(s.scenes), seed) for s in sources]
        self._images = [Order(len(s.scenes), seed + 1) for s in sources]

    def draw(self, share: float) -> Batch:
        """One batch for this share of the budget."""
        mixture = self.mixture
        pick = int(self._rng.choice(len(self.sources), p=self._weights))
        images = mixture.early_images if share < mixture.switch else mixture.late_images
        if self._rng.random() < images:
            rows = self._images[pick].take(mixture.images)
            return self.sources[pick].images(rows, self._rng.integers(0, 2, len(rows)).tolist())
        rows = self._clips[pick].take(mixture.clips)
        return self.sources[pick].clips(rows, slot=bool(self._rng.random() < mixture.slots))

    def state(self) -> dict[str, Any]:
        return {"clips": [o.taken for o in self._clips], "images": [o.taken for o in self._images]}

    def restore(self, state: Mapping[str, Any]) -> None:
        for orders, taken in ((self._clips, state["clips"]), (self._images, state["images"])):
            for order, count in zip(orders, taken, strict=True):
                order.taken = count
