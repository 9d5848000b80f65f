"""The whole training of a pocket model in one run, within one budget of wall-clock time.

render pieces -> train the autoencoder -> freeze it -> render films -> encode them -> train the text encoder ->
train the transformer (images first, then clips, at last on history it made itself) -> train the decoder on ->
distil to few steps -> train the grader -> two files, the model and the one that takes few steps.
Every part resumes by itself, and `progress.json` remembers what each has spent, so the same call goes on where it
stopped. The same plan runs on two CPU cores for hours and on one GPU for minutes: only preset, device and
minutes differ.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from longtake.errors import RequestError
from longtake.model import checkpoint as weights
from longtake.train.data import Mixture
from longtake.train.decoder import DecoderPlan, train_decoder
from longtake.train.distill import DistillPlan, mixture_of, train_distill
from longtake.train.dit import DitPlan, train_dit
from longtake.train.grader import GraderPlan, train_grader
from longtake.train.live import LivePlan
from longtake.train.loop import Budget, Outcome
from longtake.train.render import RenderPlan, encode_films, render_films, render_groups
from longtake.train.text import TextPlan, train_text
from longtake.train.vae import VaePlan, preset, train_vae
from longtake.world.sampler import PRESETS

SHARES: Mapping[str, float] = {
    "pieces": 0.04, "vae": 0.20, "films": 0.12, "text": 0.02, "dit": 0.40, "decoder": 0.09, "distill": 0.05,
    "grader": 0.04,
}  # fmt: skip
"""Of the budget. What is left over (0.04) is for encoding, which takes as long as it takes."""
LIVE_SHARES: Mapping[str, float] = {**SHARES, "pieces": 0.02, "films": 0.04, "dit": 0.50}
"""Where scenes are rendered as they are needed: what goes to disk measures, and teaches the grader."""
MODEL, FAST = "pocket.safetensors", "pocket-fast.safetensors"


@dataclass(frozen=True)
class PocketPlan:
    """One whole run in the folder `out`, within `minutes` of wall-clock time over all sittings."""

    out: Path
    minutes: float
    preset: str = "pocket"
    vocabulary: str = "pocket"
    sizes: tuple[tuple[int, int], ...] | None = None
    """Native sizes to train and to ship, (width, height); all of the preset by default."""
    device: str = "cpu"
    workers: int = 2
    """Processes that render, of one thread each."""
    atlas: Path | None = None
    shard: int = 64
    batch: int = 16
    """Clips of a transformer batch; the other batches follow from it."""
    compile: bool = True
    seed: int = 0
    live: bool | None = None
    """Render while training, instead of before; by default on a GPU."""
    version: str = ""
    """What the file calls itself; the preset and the minutes by default."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the budget; those above by default."""

    def __post_init__(self) -> None:
        if self.live is None:
            object.__setattr__(self, "live", self.device != "cpu")
        if not self.shares:
            object.__setattr__(self, "shares", dict(LIVE_SHARES if self.live else SHARES))
        if self.minutes <= 0:
            raise RequestError("the budget must be positive, for example --minutes 120")
        if set(self.shares) != set(SHARES) or sum(self.shares.values()) > 1:
            raise RequestError(f"shares must name {', '.join(SHARES)} and add up to at most 1")


class Interrupted(Exception):
    """Ctrl-C came in one of the parts; what it had is saved."""


def train_pocket(plan: PocketPlan) -> Path:
    """Run, or go on with, the whole plan. Returns the finished model's file, which `--model` reads.

    Raises RequestError for a plan that cannot be run, Interrupted after Ctrl-C.
    """
    run = _Run(plan)
    config = preset(plan.preset)
    sizes = plan.sizes or config.sizes
    common: dict[str, Any] = {"device": plan.device, "seed": plan.seed}
    learner = common | {"live": _live(plan), "compile": plan.compile}

    run.render("pieces", render_groups, sizes)
    vae_plan = VaePlan(
        data=plan.out / "pieces", out=plan.out / "vae", preset=plan.preset, sizes=sizes,
        batch=max(2, plan.batch // 2), crop=min(128, min(map(min, sizes))), **learner,
    )  # fmt: skip
    run.learn("vae", lambda budget: train_vae(vae_plan, budget))
    vae = plan.out / "vae" / "vae.safetensors"
    run.render("films", render_films, sizes)
    run.timed("encode", lambda: encode_films(plan.out / "films", plan.out / "clips", vae, plan.device))
    text_plan = TextPlan(out=plan.out / "text", preset=plan.preset, vocabulary=plan.vocabulary, **common)
    run.learn("text", lambda budget: train_text(text_plan, budget))
    dit_plan = DitPlan(
        data=plan.out / "clips", out=plan.out / "dit", vae=vae, text=plan.out / "text" / "text.safetensors",
        preset=plan.preset, sizes=sizes, mixture=Mixture(clips=plan.batch, images=8 * plan.batch),
        **learner,
    )  # fmt: skip
    run.learn("dit", lambda budget: train_dit(dit_plan, budget))
    decoder_plan = DecoderPlan(
        data=plan.out / "pieces", out=plan.out / "decoder", model=plan.out / "dit" / "model.safetensors", sizes=sizes,
        batch=vae_plan.batch, crop=vae_plan.crop, **learner,
    )  # fmt: skip
    run.learn("decoder", lambda budget: train_decoder(decoder_plan, budget))
    whole = plan.out / "decoder" / "model.safetensors"
    distill_plan = DistillPlan(
        data=plan.out / "clips", out=plan.out / "distill", vae=whole, text=whole, init=whole, preset=plan.preset,
        sizes=sizes, mixture=mixture_of(plan.batch), **learner,
    )  # fmt: skip
    run.learn("distill", lambda budget: train_distill(distill_plan, budget))
    grader_plan = GraderPlan(
        data=plan.out / "films", out=plan.out / "grader", sizes=sizes, vocabulary=plan.vocabulary, atlas=plan.atlas,
        batch=max(2, plan.batch // 4), **common,
    )  # fmt: skip
    run.learn("grader", lambda budget: train_grader(grader_plan, budget))
    return _finish(plan, sizes)


def _live(plan: PocketPlan) -> LivePlan | None:
    """A GPU holds thousands of scenes; what tries the plan on a CPU holds a shard of them."""
    if not plan.live:
        return None
    keep, block = (plan.shard, 2) if plan.device == "cpu" else (8192, 32)
    return LivePlan(
        vocabulary=plan.vocabulary,
        atlas=plan.atlas,
        seed=plan.seed,
        workers=plan.workers,
        keep=keep,
        block=block,
    )


def _finish(plan: PocketPlan, sizes: tuple[tuple[int, int], ...]) -> Path:
    """The averaged networks in bf16, with the vocabulary that the director reads."""
    words = PRESETS[plan.vocabulary]
    slots = ("subjects", "places", "times", "weathers", "shots", "cameras", "actions")
    extra = {
        "vocabulary": {slot: list(getattr(words, slot)) for slot in slots},
        "version": plan.version or f"{plan.preset} {plan.minutes:g} min",
    }
    for name, part in ((MODEL, "decoder"), (FAST, "distill")):
        model = weights.load(plan.out / part / "model.safetensors")
        modules = {"dit": model.dit, "vae": model.vae, "text": model.text}
        config, tokens = replace(model.config, sizes=sizes), model.tokenizer.to_json()
        weights.save(plan.out / name, modules, config, tokens, extra=extra, dtype=torch.bfloat16)
    return plan.out / MODEL


class _Run:
    """Hands out the budget, part by part, and remembers what was spent."""

    def __init__(self, plan: PocketPlan) -> None:
        self.plan, self._file = plan, plan.out / "progress.json"
        self.spent: dict[str, float] = {}
        if self._file.exists():
            self.spent = json.loads(self._file.read_text(encoding="utf-8"))

    def learn(self, part: str, job: Callable[[Budget], Outcome]) -> None:
        """A training part; its own checkpoint counts its time over all sittings."""
        self._say(part)
        outcome = job(Budget(minutes=self.plan.minutes * self.plan.shares[part]))
        self._remember(part, outcome.progress.seconds)
        if outcome.interrupted:
            raise Interrupted(part)

    def render(self, part: str, job: Callable[[RenderPlan], Any], sizes: tuple[tuple[int, int], ...]) -> None:
        """Render shard after shard of every size until the part's time is spent; the held-out ones first."""
        plan, budget = self.plan, 60 * self.plan.minutes * self.plan.shares[part]
        step = plan.shard * max(1, plan.workers)

        def scenes(size: tuple[int, int], split: str, count: int) -> None:
            job(RenderPlan(
                plan.out / part, size, count, split=split, vocabulary=plan.vocabulary, model=plan.preset,
                atlas=plan.atlas, seed=plan.seed, shard=plan.shard, workers=plan.workers, device=plan.device,
                twins=part == "films" and split == "train",
            ))  # fmt: skip

        self._say(part)
        rounds = 0
        while rounds == 0 or self.spent.get(part, 0.0) < budget:
            begin = time.monotonic()
            for size in sizes:
                if rounds == 0:
                    scenes(size, "held", plan.shard)
                scenes(size, "train", step * (rounds + 1))  # what is there already is kept
            rounds += 1
            self._remember(part, self.spent.get(part, 0.0) + time.monotonic() - begin)

    def timed(self, part: str, job: Callable[[], Any]) -> None:
        self._say(part)
        begin = time.monotonic()
        job()
        self._remember(part, self.spent.get(part, 0.0) + time.monotonic() - begin)

    def _say(self, part: str) -> None:
        share = self.plan.shares.get(part)
        budget = f"{self.plan.minutes * share:.1f} min" if share else "as long as it takes"
        print(
            f"[{part}] {budget}, {self.spent.get(part, 0.0) / 60:.1f} min spent", file=sys.stderr, flush=True
        )

    def _remember(self, part: str, seconds: float) -> None:
        self.spent[part] = seconds
        beside = self._file.with_suffix(".partial")
        beside.write_text(json.dumps(self.spent, indent=1) + "\n", encoding="utf-8")
        beside.replace(self._file)
