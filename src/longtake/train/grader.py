"""Training of the grader (judge/grader.py) on rendered films, with labels that the stage knows exactly.

Boxes and states are computed anew from each scene, so the shards need hold no labels. Frames are blurred and
roughened at random: what a decoder makes soft must still be read, or a grader would measure sharpness.
Axes: frames b t 3 h w in [0, 1], boxes b t k 4 of k things as shares of the picture (x0 y0 x1 y1).
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.judge.grader import GLOBAL, MOTION, Grader, Seen, Words, peaks, save, track
from longtake.judge.reading import READ
from longtake.model.device import autocast
from longtake.model.presets import PRESETS as MODELS
from longtake.train.data import Order, character_boxes, shards, thinned
from longtake.train.loop import Budget, Outcome, Pace, Progress, StepResult
from longtake.train.optim import Average, OptimConfig, adamw
from longtake.train.run import Run, RunPlan
from longtake.world.atlas import Atlas
from longtake.world.choreography import choreograph
from longtake.world.interactions import ZZZ
from longtake.world.sampler import PRESETS, Vocabulary, codes
from longtake.world.scene import Scene, Tracks
from longtake.world.stage import Stage

DIRECTIONS = ("left", "right", "toward", "away")
STATES = ("bitten", "asleep")
HIDDEN = 0.85
"""Share of a thing's box that something nearer covers, from which on it is not seen."""
_RARE = 8.0
"""Weight of a state that is true: few things are bitten."""


@dataclass(frozen=True, kw_only=True)
class GraderPlan(RunPlan):
    """One run on films shards in `data`; it makes `grader.safetensors`."""

    data: Path
    sizes: tuple[tuple[int, int], ...] | None = None
    """Output sizes of the films, (width, height); all native sizes of the pocket model by default."""
    vocabulary: str = "pocket"
    atlas: Path | None = None
    batch: int = 4
    stills: float = 0.5
    """First share of the budget, spent on single frames of many clips; what takes several frames is learned after."""
    word_clips: int = 3000
    """Clips at most that are looked at in the end for the words alone, see `teach_words`."""
    word_steps: int = 2000
    rate: float = 2e-3
    held: int = 64
    """Held-out clips that measure accuracy."""
    check_minutes: float = 3.0


@dataclass(frozen=True)
class Truth:
    """The things of one clip, in all its frames."""

    boxes: Tensor  # t k 4, empty (x1 <= x0) where a thing is not seen
    kinds: Tensor  # k: its subject word, -1 for none
    states: Tensor  # t k n in 0 and 1

    def at(self, frames: Tensor) -> Truth:
        return replace(self, boxes=self.boxes[frames], states=self.states[frames])


@dataclass(frozen=True)
class Labels:
    """What is true of a batch of clips; -1 where a word does not apply."""

    boxes: Tensor  # b t k 4
    kinds: Tensor  # b k
    states: Tensor  # b t k n
    words: Mapping[str, Tensor]  # slot -> b

    @classmethod
    def of(cls, clips: Sequence[Truth], words: Mapping[str, Tensor]) -> Labels:
        most = max(len(clip.kinds) for clip in clips)
        spare = [most - len(clip.kinds) for clip in clips]
        return cls(
            torch.stack([F.pad(c.boxes, (0, 0, 0, n)) for c, n in zip(clips, spare, strict=True)]),
            torch.stack([F.pad(c.kinds, (0, n), value=-1) for c, n in zip(clips, spare, strict=True)]),
            torch.stack([F.pad(c.states, (0, 0, 0, n)) for c, n in zip(clips, spare, strict=True)]),
            words,
        )


def words_of(vocabulary: Vocabulary) -> Words:
    """What a grader for this vocabulary tells apart."""
    return Words(
        vocabulary.subjects, vocabulary.places, vocabulary.times, vocabulary.weathers, vocabulary.shots,
        vocabulary.actions, DIRECTIONS, vocabulary.cameras, STATES if vocabulary.interactions else (),
    )  # fmt: skip


def spoken(scene: Scene) -> dict[str, str]:
    """Slot -> word of a scene; the lead's action stands for the clip. Interactions have a framing of their own."""
    lead = scene.actors[0]
    words = {"place": scene.place, "time": scene.time, "weather": scene.weather, "camera": scene.camera}
    if scene.interaction:
        return words | {"shot": "", "action": "", "direction": ""}
    return words | {"shot": scene.shot, "action": lead.action, "direction": lead.direction}


@dataclass(frozen=True)
class Film:
    """One clip of a shard, not yet read; one of `every` frames of its scene is there."""

    file: Any
    row: int
    scene: Scene
    every: int


class Films:
    """Labelled clips of films shards, read lazily; sizes take turns."""

    def __init__(self, plan: GraderPlan, words: Words, split: str) -> None:
        self.words = words
        self.atlas = Atlas.load(plan.atlas, codes(PRESETS[plan.vocabulary]))
        self._items: list[list[Film]] = []
        for size in plan.sizes or MODELS["pocket"].sizes:
            items = []
            for path in shards(plan.data, "films", size, split):
                file = safe_open(path, "pt")
                header = file.metadata()
                every = int(header.get("every", 1))
                scenes = [Scene.from_dict(values) for values in json.loads(header["scenes"])]
                items += [Film(file, row, scene, every) for row, scene in enumerate(scenes)]
            self._items.append(items)
        self._orders = [Order(len(items), plan.seed) for items in self._items]
        self._chance = random.Random(f"stills {plan.seed}")
        self._stages: dict[tuple[int, int], Stage] = {}
        self._truths: dict[tuple[int, int], Truth] = {}
        self._turn = 0

    def draw(self, count: int) -> tuple[Tensor, Labels]:
        """Frames float b t 3 h w in [0, 1], READ of each clip, and their labels."""
        pick, rows = self._take(count)
        frames, truths = [], []
        for row in rows:
            film = self._items[pick][row]
            clip = film.file.get_slice("frames")[film.row]  # 3 t h w uint8
            index = torch.linspace(0, clip.shape[1] - 1, READ).round().long()
            frames.append(clip[:, index])
            truths.append(self._truth(pick, row, *clip.shape[2:]).at(index))
        return _shares(frames), Labels.of(truths, self._words(pick, rows, GLOBAL + MOTION))

    def stills(self, count: int) -> tuple[Tensor, Labels]:
        """One frame of each of `count` clips, b 1 3 h w, and what can be seen in it."""
        pick, rows = self._take(count)
        frames, truths = [], []
        for row in rows:
            film = self._items[pick][row]
            source = film.file.get_slice("frames")
            at = self._chance.randrange(source.get_shape()[2])
            still = source[film.row, :, at : at + 1]
            frames.append(still)
            truths.append(self._truth(pick, row, *still.shape[2:]).at(torch.tensor([at])))
        words = self._words(pick, rows, GLOBAL) | {slot: torch.full((count,), -1) for slot in MOTION}
        return _shares(frames), Labels.of(truths, words)

    @property
    def clips(self) -> int:
        return sum(len(items) for items in self._items)

    def _take(self, count: int) -> tuple[int, list[int]]:
        """The size whose turn it is, and the next clips of it."""
        pick = self._turn % len(self._items)
        self._turn += 1
        return pick, self._orders[pick].take(count)

    def _truth(self, pick: int, row: int, height: int, width: int) -> Truth:
        if (pick, row) not in self._truths:
            film = self._items[pick][row]
            if (height, width) not in self._stages:
                self._stages[height, width] = Stage(self.atlas, height, width)
            tracks = thinned(choreograph(film.scene, self.atlas, width / height), film.every)
            self._truths[pick, row] = truth_of(self._stages[height, width], tracks, self.words)
        return self._truths[pick, row]

    def _words(self, pick: int, rows: Sequence[int], slots: Sequence[str]) -> dict[str, Tensor]:
        said = [spoken(self._items[pick][row].scene) for row in rows]
        return {slot: torch.tensor([self.words.index(slot, words[slot]) for words in said]) for slot in slots}

    def state(self) -> dict[str, Any]:
        taken = [order.taken for order in self._orders]
        return {"turn": self._turn, "taken": taken, "chance": self._chance.getstate()}

    def restore(self, state: Mapping[str, Any]) -> None:
        version, words, gauss = state["chance"]
        self._chance.setstate((version, tuple(words), gauss))
        self._turn = state["turn"]
        for order, taken in zip(self._orders, state["taken"], strict=True):
            order.taken = taken


def _shares(frames: Sequence[Tensor]) -> Tensor:
    """uint8 3 t h w each -> b t 3 h w in [0, 1]."""
    return rearrange(torch.stack(list(frames)), "b c t h w -> b t c h w").float() / 255


def truth_of(stage: Stage, tracks: Tracks, words: Words) -> Truth:
    """Boxes and states of all things that have a word."""
    things = [i for i, name in enumerate(tracks.names)
              if tracks.actor[i] >= 0 and words.index("subject", name) >= 0]  # fmt: skip
    boxes = character_boxes(stage, tracks)[:, things]  # t k 4
    away = torch.from_numpy(tracks.layers["Z"][things]).T  # t k
    boxes = boxes * ~hidden(boxes, away)[..., None]
    dreams = {
        tracks.actor[i]: tracks.layers["a"][i] > 0 for i, name in enumerate(tracks.names) if name == ZZZ
    }
    states = torch.zeros(*boxes.shape[:2], len(words.state))
    for k, layer in enumerate(things):
        true = {"bitten": tracks.layers["br"][layer] > 0, "asleep": dreams.get(tracks.actor[layer])}
        for n, state in enumerate(words.state):
            if true[state] is not None:
                states[:, k, n] = torch.from_numpy(true[state]).float()
    kinds = torch.tensor([words.index("subject", tracks.names[i]) for i in things])
    return Truth(boxes, kinds, states)


def hidden(boxes: Tensor, away: Tensor) -> Tensor:
    """Which of the boxes t k 4, this far away (t k), lie behind a single nearer one; bool t k."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)  # t k k
    own = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    nearer = away[:, None, :] < away[:, :, None]
    return ((shared > HIDDEN * own[..., None]) & nearer & (own[..., None] > 0)).any(-1)


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
    target, cells, wanted = centres(labels, *seen.maps.shape[2:])
    certain = seen.maps.float().sigmoid().clamp(1e-4, 1 - 1e-4)
    hit = target == 1
    found = ((1 - certain).square() * certain.log() * hit).sum()
    missed = ((1 - target) ** 4 * certain.square() * (1 - certain).log() * ~hit).sum()
    count = hit.sum().clamp(min=1)
    parts = {"centres": -(found + missed) / count}
    clip, frame, thing = (cells >= 0).nonzero(as_tuple=True)
    at = cells[clip, frame, thing]
    sizes, states = (rearrange(x.float(), "b t k y x -> b t (y x) k") for x in (seen.sizes, seen.states))
    parts["sizes"] = (
        F.l1_loss(sizes[clip, frame, at], wanted[clip, frame, thing]) if len(clip) else 0 * sizes.sum()
    )
    parts["states"] = 0 * states.sum()
    if len(clip) and states.shape[-1]:
        true = labels.states[clip, frame, thing].to(states)
        parts["states"] = F.binary_cross_entropy_with_logits(
            states[clip, frame, at], true, pos_weight=states.new_tensor(_RARE)
        )
    words = word_losses(seen.words, labels.words)
    said = 0.5 * torch.stack(list(words.values())).sum()
    return parts["centres"] + parts["sizes"] + parts["states"] + said, parts | words


def word_losses(words: Mapping[str, Tensor], truths: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cross entropy of each slot over the clips in which its word applies."""
    losses = {}
    for slot in GLOBAL + MOTION:
        logits, truth = words[slot].float(), truths[slot]
        if slot in GLOBAL:
            truth = truth[:, None].expand(logits.shape[:2])
        known = truth >= 0
        losses[slot] = F.cross_entropy(logits[known], truth[known]) if bool(known.any()) else logits.sum() * 0
    return losses


def centres(labels: Labels, subjects: int, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Target maps b t s y x (1 at a centre's cell, a bell around it), the flat cell of each thing's centre b t k (-1
    where it is not seen) and the sizes wanted there, b t k 4."""
    boxes = labels.boxes
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2 * torch.tensor([columns, rows])
    extent = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    shown = (extent > 0.02).all(-1) & (labels.kinds >= 0)[:, None]
    cell = centre.long().minimum(torch.tensor([columns - 1, rows - 1])).clamp(min=0)
    x, y = torch.arange(columns), torch.arange(rows)[:, None]
    spread = (extent * torch.tensor([columns, rows])).amin(-1).clamp(min=1) / 6
    distance = (x - cell[..., 0, None, None]) ** 2 + (y - cell[..., 1, None, None]) ** 2
    bells = (-distance / (2 * spread[..., None, None] ** 2)).exp() * shown[..., None, None]  # b t k y x
    maps = torch.zeros(*boxes.shape[:2], subjects, rows, columns)
    for clip, thing in (labels.kinds >= 0).nonzero().tolist():
        own = maps[clip, :, labels.kinds[clip, thing]]
        torch.maximum(own, bells[clip, :, thing], out=own)
    flat = torch.where(shown, cell[..., 1] * columns + cell[..., 0], -1)
    return maps, flat, torch.cat([centre - cell - 0.5, extent.clamp(min=1e-3).log()], -1)


@torch.no_grad()
def accuracy(grader: Grader, films: Films, clips: int, batch: int, device: torch.device) -> dict[str, float]:
    """Share of held-out clips for which each word, and the lead subject, is right; of frames for counts; and of the
    things that are in a state, or not, in equal parts, for states."""
    right: dict[str, list[float]] = {slot: [] for slot in ("subject", "count", *GLOBAL, *MOTION)}
    states: dict[str, list[float]] = {f"{s}, {so}": [] for s in grader.words.state for so in ("so", "not so")}
    for _ in range(max(1, clips // batch)):
        frames, labels = films.draw(batch)
        with autocast(device):
            seen = grader(frames.to(device))
        maps = seen.maps.float().cpu()
        best = maps.sigmoid().amax((3, 4)).mean(1).argmax(1)  # b
        _, cells, _ = centres(labels, *maps.shape[2:])
        shown = cells >= 0  # b t k
        present = [labels.kinds[i][shown[i].any(0)].tolist() for i in range(batch)]
        right["subject"] += [float(int(lead) in there) for lead, there in zip(best, present, strict=True)]
        counted = peaks(maps).sum((3, 4))  # b t s
        for i in range(batch):
            lead = labels.kinds[i, 0]
            there = (shown[i] & (labels.kinds[i] == lead)).sum(1)  # t
            right["count"] += (counted[i, :, lead] == there)[there > 0].float().tolist()
        for slot in GLOBAL + MOTION:
            logits = seen.words[slot].float().cpu()
            said = (logits.mean(1) if slot in GLOBAL else logits).argmax(-1)
            truth = labels.words[slot]
            right[slot] += (said == truth)[truth >= 0].float().tolist()
        clip, frame, thing = shown.nonzero(as_tuple=True)
        at = rearrange(seen.states.float().cpu(), "b t n y x -> b t (y x) n")[
            clip, frame, cells[clip, frame, thing]
        ]
        for n, state in enumerate(grader.words.state):
            true = labels.states[clip, frame, thing, n] > 0
            states[f"{state}, so"] += (at[true, n] > 0).float().tolist()
            states[f"{state}, not so"] += (at[~true, n] <= 0).float().tolist()
    return {slot: sum(values) / len(values) for slot, values in (right | states).items() if values}


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

    def forward(share: float) -> StepResult:
        still = share < plan.stills
        frames, labels = films.stills(plan.batch * READ // 3) if still else films.draw(plan.batch)
        with autocast(device):
            seen = grader(roughen(frames, run.randomness.torch).to(device))
        loss, parts = objective(seen, labels)
        return StepResult(loss, len(frames), {k: parts[k].detach() for k in ("centres", "place", "action")})

    def check(_progress: Progress) -> Mapping[str, float]:
        kept = average.modules["grader"]
        assert isinstance(kept, Grader)
        values = accuracy(kept, Films(plan, words, "held"), plan.held, plan.batch, device)
        save(kept, plan.out / "grader.safetensors", values)
        return values

    outcome = run.train(forward, state, budget, check, Pace(shape="cosine"))
    if outcome.interrupted:
        return outcome
    kept = average.modules["grader"]
    assert isinstance(kept, Grader)
    teach_words(kept, films, plan, device)
    values = check(outcome.progress)
    print(
        f"after the words: {json.dumps({k: round(v, 3) for k, v in values.items()})}",
        file=sys.stderr,
        flush=True,
    )
    return replace(outcome, values=values)


def teach_words(grader: Grader, films: Films, plan: GraderPlan, device: torch.device) -> None:
    """Go on with the words alone, from what the finished rest sees in each clip, looked at once.

    What takes several frames is a small net's work, and a step of it costs a thousandth of one through all frames.
    """
    chance = torch.Generator().manual_seed(plan.seed)
    glimpses, paths, truths = [], [], []
    for _ in range(-(-min(films.clips, plan.word_clips) // plan.batch)):
        frames, labels = films.draw(plan.batch)
        with torch.no_grad(), autocast(device):
            maps, sizes, _, glimpse = grader.look(roughen(frames, chance).to(device))
        glimpses.append(glimpse.float())
        paths.append(track(maps.float(), sizes.float()))
        truths.append(labels.words)
    seen, path = torch.cat(glimpses), torch.cat(paths)
    told = {slot: torch.cat([words[slot] for words in truths]).to(device) for slot in truths[0]}
    learners = nn.ModuleList([grader.pooled, grader.heads, grader.over_time, grader.motion_heads])
    learners.requires_grad_(True)  # an average is not learned otherwise
    optimizer = adamw(list(learners.parameters()), plan.rate, OptimConfig())
    average = Average({"words": learners}, 0.99)
    spread = 0.1 * seen.std((0, 1))
    for step in range(plan.word_steps):
        optimizer.param_groups[0]["lr"] = plan.rate * Pace(shape="cosine").factor(
            step, step / plan.word_steps
        )
        rows = torch.randint(len(seen), (64,), generator=chance)
        noisy = seen[rows] + spread * torch.randn(seen[rows].shape, generator=chance).to(device)
        losses = word_losses(
            grader.tell(noisy, path[rows]), {slot: truth[rows] for slot, truth in told.items()}
        )
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(step + 1)
    learners.load_state_dict(average.modules["words"].state_dict())
