"""What the shards of rendered scenes hold, and the batches drawn from them.

Three kinds of shard, one safetensors file each (render.py writes them):
  groups  short pieces at output size, for the VAE:  frames uint8 [n 3 8 H W], boxes float32 [n 8 4]
  films   whole clips at encoder size, not yet encoded:
          frames uint8 [n 3 t h w], cover uint8 [n t rows columns]
  clips   whole clips as normalised latents, for the transformer:
          latents float16 [n z f h w], masks uint8 [n f h w],
          stills float16 [n 2 z h w] (first frame and a random one), still_masks uint8 [n 2 h w]
The scenes are JSON in the shard's header; captions are drawn from them in training, new words each time.
Boxes are x0 y0 x1 y1 as fractions of the frame; cover and masks say how much of a latent cell characters
cover, 0..255.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from longtake.errors import RequestError
from longtake.model.tensorfile import read_safetensors
from longtake.train.loop import Positioned, Randomness
from longtake.world.scene import Scene, Tracks
from longtake.world.stage import Stage

COLUMNS = ("latents", "masks", "stills", "still_masks")
PIECE = 8
"""Frames of one piece for VAE training: two consecutive groups of four."""
SPLITS = ("train", "held")
"""held: only scenes whose subject-place or subject-action pair no training scene has."""


def window(tracks: Tracks, start: int, count: int) -> Tracks:
    """`count` frames of `tracks` from `start`; events are shifted, those outside dropped."""
    part = slice(start, start + count)
    return replace(
        tracks,
        layers={key: value[:, part] for key, value in tracks.layers.items()},
        camera={key: value[part] for key, value in tracks.camera.items()},
        events=[e | {"frame": e["frame"] - start} for e in tracks.events if 0 <= e["frame"] - start < count],
        cuts=[cut - start for cut in tracks.cuts if 0 < cut - start < count],
    )


def shrink(frames: Tensor, factor: int) -> Tensor:
    """Area-average [b c t H W] by a whole factor: output size to encoder size."""
    small = F.avg_pool2d(rearrange(frames, "b c t h w -> (b t) c h w"), factor)
    return rearrange(small, "(b t) c h w -> b c t h w", b=len(frames))


def boxes_of(stage: Stage, scenes: Sequence[Tracks]) -> list[Tensor]:
    """Boxes [t l 4] of each scene's layers that belong to actors, on the CPU, as fractions of the frame; empty where
    not shown."""
    edges, opacity = (values.cpu() for values in stage.boxes(scenes))
    boxes = (edges / torch.tensor([stage.width, stage.height] * 2)).clamp(0, 1)
    found = []
    for own, alpha, tracks in zip(boxes, opacity, scenes, strict=True):
        actors = torch.tensor([actor >= 0 for actor in tracks.actor])
        count = len(actors)  # layers beyond it pad the batch
        found.append(own[:, :count] * ((alpha[:, :count] > 0.05) & actors)[..., None])
    return found


def character_boxes(stage: Stage, tracks: Tracks) -> Tensor:
    """The same of one scene."""
    return boxes_of(stage, [tracks])[0]


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
    """Clean latents to train on. `slot`: the first latent frame is a still of the clip's first frame.
    `twins`: rows 2i and 2i + 1 differ in one word and in no chance."""

    latents: Tensor  # b z f h w, float32
    masks: Tensor  # b f h w in 0..1: where characters are
    scenes: list[Scene]
    slot: bool
    twins: bool = False


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
        columns = {name: torch.cat([tensors[name] for tensors, _ in parts]) for name in COLUMNS}
        scenes = [Scene.from_dict(row) for _, header in parts for row in json.loads(header["scenes"])]
        return cls(**columns, scenes=scenes)

    def twins(self) -> list[int]:
        """The first rows of pairs of twins: their stage is random in the same way (see world.sampler.twin)."""
        pairs = zip(self.scenes, self.scenes[1:], strict=False)
        return [row for row, (one, other) in enumerate(pairs) if one.seed == other.seed]

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

    Shares are of batches. An image costs a quarter of a clip, not a twelfth: each has a caption to read.
    """

    clips: int = 32
    images: int = 128
    early_images: float = 0.75
    late_images: float = 0.15
    switch: float = 0.4
    slots: float = 0.5
    """Share of the clip batches that carry the image slot."""
    twins: float = 0.5
    """Share of the clip batches made of twins, where the data has any."""


class Renewed(Positioned, Protocol):
    """What puts new scenes in the place of those drawn often enough (live.Ring)."""

    def used(self, samples: int) -> None: ...


class ClipMix:
    """Transformer batches of one shape each, drawn from all sizes."""

    def __init__(
        self,
        sources: Sequence[Clips],
        mixture: Mixture,
        randomness: Randomness,
        seed: int = 0,
        rings: Sequence[Renewed] = (),
    ) -> None:
        """`rings`: what renews the sources as they are used, one each; none where they stay as they are."""
        self.sources, self.mixture, self._rng, self._rings = list(sources), mixture, randomness.numpy, rings
        self._weights = np.array([len(s.scenes) for s in sources], float) / sum(
            len(s.scenes) for s in sources
        )
        self._clips = [Order(len(s.scenes), seed) for s in sources]
        self._images = [Order(len(s.scenes), seed + 1) for s in sources]
        self._pairs = [s.twins() for s in sources]
        self._twins = [Order(len(pairs), seed + 2) for pairs in self._pairs]

    def draw(self, share: float) -> Batch:
        """One batch for this share of the budget."""
        pick = int(self._rng.choice(len(self.sources), p=self._weights))
        batch = self._draw(pick, share)
        if self._rings:
            self._rings[pick].used(len(batch.scenes))
        return batch

    def _draw(self, pick: int, share: float) -> Batch:
        mixture = self.mixture
        images = mixture.early_images if share < mixture.switch else mixture.late_images
        if self._rng.random() < images:
            rows = self._images[pick].take(mixture.images)
            return self.sources[pick].images(rows, self._rng.integers(0, 2, len(rows)).tolist())
        pairs = self._pairs[pick]
        if not pairs or mixture.clips < 2 or self._rng.random() >= mixture.twins:
            slot = bool(self._rng.random() < mixture.slots)
            return self.sources[pick].clips(self._clips[pick].take(mixture.clips), slot)
        first = [pairs[i] for i in self._twins[pick].take(mixture.clips // 2)]
        rows = [row for one in first for row in (one, one + 1)]
        return replace(self.sources[pick].clips(rows, slot=False), twins=True)

    def _orders(self) -> dict[str, list[Order]]:
        return {"clips": self._clips, "images": self._images, "twins": self._twins}

    def state(self) -> dict[str, Any]:
        taken = {name: [order.taken for order in orders] for name, orders in self._orders().items()}
        return taken | {"rings": [ring.state() for ring in self._rings]}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, orders in self._orders().items():
            for order, count in zip(orders, state[name], strict=True):
                order.taken = count
        for ring, at in zip(self._rings, state.get("rings", []), strict=True):
            ring.restore(at)
