"""Training of the grader (judge/grader.py) on rendered films, with labels that the stage knows exactly.

Boxes are computed anew from each scene, so the shards need hold no labels. Frames are blurred and roughened at
random: what a decoder makes soft must still be read, or a grader would measure sharpness.
Axes: frames b t 3 h w in [0, 1], boxes b t s 4 as shares of the picture (x0 y0 x1 y1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from longtake.judge.grader import GLOBAL, MOTION, Grader, Seen, Words, save
from longtake.judge.reading import READ
from longtake.model.device import autocast
from longtake.model.presets import PRESETS as MODELS
from longtake.train.data import Order, character_boxes, shards
from longtake.train.loop import Budget, Outcome, Pace, Progress, StepResult
from longtake.train.optim import Average, OptimConfig, adamw
from longtake.train.run import Run, RunPlan
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, Vocabulary, codes
from longtake.world.scene import Scene
from longtake.world.stage import Stage

DIRECTIONS = ("left", "right", "toward", "away")


@dataclass(frozen=True, kw_only=True)
class GraderPlan(RunPlan):
    """One run on films shards in `data`; it makes `grader.safetensors`."""

    data: Path
    sizes: tuple[tuple[int, int], ...] | None = None
    """Output sizes of the films, (width, height); all native sizes of the pocket model by default."""
    vocabulary: str = "pocket"
    atlas: Path | None = None
    batch: int = 4
    rate: float = 2e-3
    held: int = 64
    """Held-out clips that measure accuracy."""
    check_minutes: float = 3.0


@dataclass(frozen=True)
class Labels:
    """What is true of a batch of clips; -1 where a word does not apply."""

    boxes: Tensor  # b t s 4, empty (x1 <= x0) where a subject is not in the picture
    words: Mapping[str, Tensor]  # slot -> b


def words_of(vocabulary: Vocabulary) -> Words:
    """What a grader for this vocabulary tells apart."""
    return Words(
        vocabulary.subjects, vocabulary.places, vocabulary.times, vocabulary.weathers, vocabulary.shots,
        vocabulary.actions, DIRECTIONS, vocabulary.cameras,
    )  # fmt: skip


def spoken(scene: Scene) -> dict[str, str]:
    """Slot -> word of a scene; the lead's action stands for the clip."""
    lead = scene.actors[0]
    return {
        "place": scene.place, "time": scene.time, "weather": scene.weather, "shot": scene.shot,
        "camera": scene.camera, "action": lead.action, "direction": lead.direction,
    }  # fmt: skip


class Films:
    """Labelled clips of films shards, read lazily; sizes take turns."""

    def __init__(self, plan: GraderPlan, words: Words, split: str) -> None:
        self.words = words
        self.atlas = Atlas.load(plan.atlas, codes(PRESETS[plan.vocabulary]))
        self._items: list[list[tuple[Any, int, Scene]]] = []
        for size in plan.sizes or MODELS["pocket"].sizes:
            items = []
            for path in shards(plan.data, "films", size, split):
                file = safe_open(path, "pt")
                scenes = json.loads(file.metadata()["scenes"])
                items += [(file, row, Scene.from_dict(values)) for row, values in enumerate(scenes)]
            self._items.append(items)
        self._orders = [Order(len(items), plan.seed) for items in self._items]
        self._stages: dict[tuple[int, int], Stage] = {}
        self._turn = 0

    def draw(self, count: int) -> tuple[Tensor, Labels]:
        """Frames float b t 3 h w in [0, 1], READ of each clip, and their labels."""
        pick = self._turn % len(self._items)
        self._turn += 1
        rows = [self._items[pick][i] for i in self._orders[pick].take(count)]
        clips = torch.stack([file.get_slice("frames")[row] for file, row, _ in rows])  # b 3 t h w uint8
        index = torch.linspace(0, clips.shape[2] - 1, READ).round().long()
        frames = rearrange(clips[:, :, index], "b c t h w -> b t c h w").float() / 255
        height, width = frames.shape[-2:]
        boxes = torch.stack([self._boxes(scene, height, width)[index] for _, _, scene in rows])
        words = {
            slot: torch.tensor([self.words.index(slot, spoken(scene)[slot]) for _, _, scene in rows])
            for slot in GLOBAL + MOTION
        }
        return frames, Labels(boxes, words)

    def _boxes(self, scene: Scene, height: int, width: int) -> Tensor:
        """The box of each subject word over all frames, t s 4."""
        if (height, width) not in self._stages:
            self._stages[height, width] = Stage(self.atlas, height, width)
        stage = self._stages[height, width]
        tracks = choreograph(scene, self.atlas, width / height)
        layers = character_boxes(stage, tracks)  # t l 4
        boxes = torch.zeros(len(layers), len(self.words.subject), 4)
        for layer, (name, actor) in enumerate(zip(tracks.names, tracks.actor, strict=True)):
            subject = self.words.index("subject", name)
            if actor >= 0 and subject >= 0:
                boxes[:, subject] = layers[:, layer]
        return boxes

    def state(self) -> dict[str, Any]:
        return {"turn": self._turn, "taken": [order.taken for order in self._orders]}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._turn = state["turn"]
        for order, taken in zip(self._orders, state["taken"], strict=True):
            order.taken = taken


def roughen(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Make each clip softer, noisier and of another tint, as a generated one may be; a third stay as they are."""
    height, width = frames.shape[-2:]

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    out = []
    for clip in frames:
        keep, blur, grain = torch.rand(3, generator=generator).tolist()
        if keep > 0.33:
            small = [max(4, round(edge / (1 + 4 * blur))) for edge in (height, width)]
            clip = F.interpolate(F.interpolate(clip, small, mode="area"), (height, width), mode="bilinear")
            clip = clip * (1 + 0.1 * noise(3, 1, 1)) + 0.03 * noise(3, 1, 1)
            coarse = 0.08 * grain * noise(len(clip), 3, height // 4, width // 4)
            clip = clip + F.interpolate(coarse, (height, width), mode="bilinear")
        out.append(clip)
    return torch.stack(out).clamp(0, 1)


def objective(seen: Seen, labels: Labels) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch. Centres by the focal loss of CornerNet and CenterNet (arXiv:1904.07850, equation 1)."""
    target, cells, wanted = centres(labels.boxes, seen.maps.shape[-2], seen.maps.shape[-1])
    certain = seen.maps.float().sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = target == 1
    found = ((1 - certain).square() * certain.log() * hit).sum()
    missed = ((1 - target) ** 4 * certain.square() * (1 - certain).log() * ~hit).sum()
    count = hit.sum().clamp(min=1)
    parts = {"centres": -(found + missed) / count}
    at = rearrange(seen.sizes.float(), "b t k y x -> b t (y x) k")
    clip, frame, subject = (cells >= 0).nonzero(as_tuple=True)
    picked = at[clip, frame, cells[clip, frame, subject]]
    parts["sizes"] = F.l1_loss(picked, wanted[clip, frame, subject]) if len(clip) else at.sum() * 0
    for slot in GLOBAL + MOTION:
        logits, truth = seen.words[slot].float(), labels.words[slot]
        if slot in GLOBAL:
            truth = truth[:, None].expand(logits.shape[:2])
        known = truth >= 0
        parts[slot] = F.cross_entropy(logits[known], truth[known]) if bool(known.any()) else logits.sum() * 0
    loss = parts["centres"] + parts["sizes"] + 0.5 * torch.stack([parts[k] for k in GLOBAL + MOTION]).sum()
    return loss, parts


def centres(boxes: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes b t s 4 -> target maps b t s y x (1 at a centre's cell, a bell around it), the centres' flat cells
    b t s (-1 where there is none) and the sizes wanted there, b t s 4."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 * torch.tensor([columns, rows])
    extent = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    shown = (extent > 0.02).all(-1)
    cell = centre.long().minimum(torch.tensor([columns - 1, rows - 1])).clamp(min=0)
    x, y = torch.arange(columns), torch.arange(rows)[:, None]
    spread = (extent * torch.tensor([columns, rows])).amin(-1).clamp(min=1) / 6
    distance = (x - cell[..., 0, None, None]) ** 2 + (y - cell[..., 1, None, None]) ** 2
    maps = (-distance / (2 * spread[..., None, None] ** 2)).exp() * shown[..., None, None]
    flat = torch.where(shown, cell[..., 1] * columns + cell[..., 0], -1)
    return maps, flat, torch.cat([centre - cell - 0.5, extent.clamp(min=1e-3).log()], -1)


@torch.no_grad()
def accuracy(grader: Grader, films: Films, clips: int, batch: int, device: torch.device) -> dict[str, float]:
    """Share of held-out clips for which each word, and the lead subject, is right."""
    right: dict[str, list[float]] = {slot: [] for slot in ("subject", *GLOBAL, *MOTION)}
    for _ in range(max(1, clips // batch)):
        frames, labels = films.draw(batch)
        with autocast(device):
            seen = grader(frames.to(device))
        best = seen.maps.float().sigmoid().amax((3, 4)).mean(1).argmax(1).cpu()  # b
        present = (labels.boxes[..., 2] > labels.boxes[..., 0]).any(1)  # b s
        right["subject"] += present[torch.arange(len(best)), best].float().tolist()
        for slot in GLOBAL + MOTION:
            logits = seen.words[slot].float().cpu()
            said = (logits.mean(1) if slot in GLOBAL else logits).argmax(-1)
            truth = labels.words[slot]
            right[slot] += (said == truth)[truth >= 0].float().tolist()
    return {slot: sum(values) / max(1, len(values)) for slot, values in right.items()}


def train_grader(plan: GraderPlan, budget: Budget) -> Outcome:
    """Train, or go on training, and write `<out>/grader.safetensors`. Raises RequestError for missing data."""
    run = Run("grader", plan, data_on_host=True)
    device = run.device
    words = words_of(PRESETS[plan.vocabulary])
    grader = Grader(words).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = Average({"grader": grader}, 0.998)
    films = Films(plan, words, "train")
    optimizers = {"adamw": adamw(list(grader.parameters()), plan.rate, OptimConfig())}
    state = run.state({"grader": grader}, optimizers, average, films)

    def forward(_share: float) -> StepResult:
        frames, labels = films.draw(plan.batch)
        with autocast(device):
            seen = grader(roughen(frames, run.randomness.torch).to(device))
        loss, parts = objective(seen, labels)
        return StepResult(loss, plan.batch, {k: parts[k].detach() for k in ("centres", "place", "action")})

    def check(_progress: Progress) -> Mapping[str, float]:
        kept = average.modules["grader"]
        assert isinstance(kept, Grader)
        values = accuracy(kept, Films(plan, words, "held"), plan.held, plan.batch, device)
        save(kept, plan.out / "grader.safetensors", values)
        return values

    return run.train(forward, state, budget, check, Pace(shape="cosine"))
