"""Rendering of random scenes into shards, and the encoding of whole clips with the frozen VAE.

A shard is whole or absent, and its scenes depend only on the plan and the shard's number, so an interrupted
rendering goes on where it was, with any number of workers. What the shards hold: data.py.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from einops import reduce
from torch import Tensor
from torch.nn import functional as F

from longtake.errors import RequestError, nearest
from longtake.model import checkpoint
from longtake.model.device import autocast
from longtake.model.presets import PRESETS as MODELS
from longtake.model.tensorfile import read_safetensors, write_safetensors
from longtake.model.vae import VAE
from longtake.train.data import (
    COLUMNS,
    PIECE,
    SPLITS,
    character_boxes,
    coverage,
    subject_box,
    window,
)
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, codes, sample_scene, twin
from longtake.world.scene import Scene, Tracks
from longtake.world.stage import Stage

AT_ONCE = 4
"""Clips encoded in one batch."""


@dataclass(frozen=True)
class RenderPlan:
    """What to render and where to put it. `size` is (width, height) of the output, in pixels."""

    out: Path
    size: tuple[int, int]
    count: int
    split: str = "train"
    vocabulary: str = "pocket"
    model: str = "pocket"
    """Preset whose VAE will read the films: it decides encoder size and latent grid."""
    atlas: Path | None = None
    seed: int = 0
    frames: int = 48
    shard: int = 64
    workers: int = 2
    """Processes of one thread each; 0 renders here (always so on a GPU)."""
    device: str = "cpu"
    twins: bool = False
    """Every second scene is the twin of the one before it: one word differs, all chances are the same."""

    def __post_init__(self) -> None:
        for value, valid in ((self.split, SPLITS), (self.vocabulary, PRESETS), (self.model, MODELS)):
            if value not in valid:
                raise RequestError(
                    f"unknown {value!r}; choose one of: {', '.join(valid)}{nearest(value, valid)}"
                )
        if self.count < 1 or self.shard < 1 or self.frames < PIECE:
            raise RequestError(f"count and shard must be at least 1, and frames at least {PIECE}")
        cell = MODELS[self.model].vae.stride * MODELS[self.model].vae.upscale
        if self.size[0] % cell or self.size[1] % cell:
            raise RequestError(f"{self.size[0]}x{self.size[1]} does not fit; use multiples of {cell} pixels")

    def file(self, kind: str, index: int) -> Path:
        return self.out / f"{kind}-{self.size[0]}x{self.size[1]}-{self.split}-{index:05d}.safetensors"


def render_groups(plan: RenderPlan) -> list[Path]:
    """Render `count` pieces of PIECE frames at output size, each from a new scene. Returns the files."""
    return _render(plan, "groups", _group_shard)


def render_films(plan: RenderPlan) -> list[Path]:
    """Render `count` whole clips at encoder size; needs no trained VAE yet. Returns all shard files."""
    return _render(plan, "films", _film_shard)


@torch.no_grad()
def encode_films(source: Path, out: Path, vae_file: Path, device: str = "cpu") -> list[Path]:
    """Encode every films shard in `source` with the frozen VAE into a clips shard in `out`; skip those there.

    Raises RequestError when there are no films, WeightsError for a file without a VAE.
    """
    films = sorted(source.glob("films-*.safetensors"))
    if not films:
        raise RequestError(f"no films in {source}; render them first: longtake train data --kind films")
    vae = checkpoint.load(vae_file, device).vae
    clips = [out / film.name.replace("films-", "clips-", 1) for film in films]
    for number, (film, path) in enumerate(zip(films, clips, strict=True), start=1):
        if not path.exists():
            tensors, header = read_safetensors(film)
            columns = encode_clips(tensors["frames"], tensors["cover"], vae, random.Random(film.name))
            kept = {name: values.cpu() for name, values in columns.items()}
            write_safetensors(path, kept, {"scenes": header["scenes"]})
            print(f"encoded {number} of {len(films)} shards", file=sys.stderr, flush=True)
    return clips


@torch.no_grad()
def encode_clips(frames: Tensor, cover: Tensor, vae: VAE, rng: random.Random) -> dict[str, Tensor]:
    """Frames uint8 n 3 t h w and cover uint8 n t rows columns -> the columns of a clips shard, on the VAE's device."""
    device, group = vae.mean.device, vae.config.group
    columns: dict[str, list[Tensor]] = {name: [] for name in COLUMNS}
    for start in range(0, len(frames), AT_ONCE):
        x = frames[start : start + AT_ONCE].to(device).float() / 127.5 - 1
        with autocast(device):
            latents = vae.encode(x)
            picks = [(0, rng.randrange(x.shape[2])) for _ in x]
            stills = [torch.cat([vae.encode_still(clip[None, :, t])[:, :, 0] for t in ts]) for clip, ts in
                      zip(x, picks, strict=True)]  # fmt: skip
        rows, cells = latents.shape[-2:]
        masks = cover[start : start + AT_ONCE].to(device).float()
        masks = F.interpolate(masks, (rows, cells), mode="area")  # b t h w
        columns["latents"].append(latents.half())
        columns["stills"].append(torch.stack(stills).half())
        columns["masks"].append(
            reduce(masks, "b (f g) h w -> b f h w", "mean", g=group).round().to(torch.uint8)
        )
        still_masks = torch.stack([mask[list(ts)] for mask, ts in zip(masks, picks, strict=True)])
        columns["still_masks"].append(still_masks.round().to(torch.uint8))
    return {name: torch.cat(parts) for name, parts in columns.items()}


Job = Callable[[RenderPlan, int], int]
"""Renders and writes one shard of a plan, returns its number of scenes. Top-level functions: they travel."""


def _render(plan: RenderPlan, kind: str, job: Job) -> list[Path]:
    files = [plan.file(kind, index) for index in range(-(-plan.count // plan.shard))]
    todo = [index for index, file in enumerate(files) if not file.exists()]
    begin, done = time.monotonic(), 0
    for count in _work(plan, job, todo):
        done += count
        rate = done / (time.monotonic() - begin)
        left = (sum(_shard_size(plan, i) for i in todo) - done) / rate / 60
        what = f"{kind} {plan.size[0]}x{plan.size[1]} {plan.split}"
        print(f"{what}: {done} rendered, {rate:.2f}/s, {left:.1f} min left", file=sys.stderr, flush=True)
    return files


def _work(plan: RenderPlan, job: Job, todo: Sequence[int]) -> Iterator[int]:
    """Render the shards `todo` here or in worker processes; yields the scene count of each as it is done."""
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
def atlas_of(path: Path | None, vocabulary: str) -> Atlas:
    """Only the drawings that the vocabulary needs: each takes a few megabytes in every worker."""
    return Atlas.load(path, codes(PRESETS[vocabulary]))


@lru_cache(maxsize=1)
def _stage(path: Path | None, vocabulary: str, width: int, height: int, device: str) -> Stage:
    return Stage(atlas_of(path, vocabulary), height, width, device)


def _scenes(plan: RenderPlan, kind: str, index: int) -> Iterator[tuple[Scene, Tracks, random.Random]]:
    """The scenes of one shard: the same for the same plan, whoever renders it and whenever."""
    width, height = plan.size
    rng = random.Random(f"{plan.seed} {kind} {plan.split} {width}x{height} {index}")
    words, scene = PRESETS[plan.vocabulary], None
    for number in range(_shard_size(plan, index)):
        if scene is not None and plan.twins and number % 2:
            scene = twin(rng, scene, words)
        else:
            scene = replace(sample_scene(rng, words, held_out=plan.split == "held"), frames=plan.frames)
        yield scene, choreograph(scene, atlas_of(plan.atlas, plan.vocabulary), width / height), rng


def _group_shard(plan: RenderPlan, index: int) -> int:
    width, height = plan.size
    stage = _stage(plan.atlas, plan.vocabulary, width, height, plan.device)
    frames, boxes, scenes = [], [], []
    for scene, tracks, rng in _scenes(plan, "groups", index):
        part = window(tracks, rng.randrange(plan.frames - PIECE + 1), PIECE)
        frames.append(to_bytes(stage.render([part])[0]).cpu())
        boxes.append(subject_box(character_boxes(stage, part), part))
        scenes.append(scene.as_dict())
    tensors = {"frames": torch.stack(frames), "boxes": torch.stack(boxes)}
    write_safetensors(plan.file("groups", index), tensors, {"scenes": json.dumps(scenes)})
    return len(scenes)


def _film_shard(plan: RenderPlan, index: int) -> int:
    model = MODELS[plan.model]
    width, height = (edge // model.vae.upscale for edge in plan.size)
    stage = _stage(plan.atlas, plan.vocabulary, width, height, plan.device)
    rows, cells = model.grid(*plan.size)
    frames, cover, scenes = [], [], []
    for scene, tracks, _ in _scenes(plan, "films", index):
        frames.append(to_bytes(stage.render([tracks])[0]).cpu())
        cover.append(to_bytes(coverage(character_boxes(stage, tracks), rows, cells)))
        scenes.append(scene.as_dict())
    tensors = {"frames": torch.stack(frames), "cover": torch.stack(cover)}
    write_safetensors(plan.file("films", index), tensors, {"scenes": json.dumps(scenes)})
    return len(scenes)


def to_bytes(share: Tensor) -> Tensor:
    """0..1 -> uint8 0..255."""
    return (share * 255).round().to(torch.uint8)
