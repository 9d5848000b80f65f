"""Fewer steps: an adapter with which a model makes in one step, without guidance, what took it two steps with it.

Progressive distillation (Salimans & Ho 2022, arXiv:2202.00512) of a guided sampler (Meng et al. 2023,
arXiv:2210.03142). Both networks begin at a clean clip noised: no film that a model made is ever seen. The teacher walks
down the schedule in small guided steps, and the student learns the estimate from which one long step leads to the same
latents. The result: the adapter, `<out>/lora.safetensors`, for as many steps as it was made for, at guidance 1; and
`<out>/model.safetensors`, the model with the adapter in its weights, which knows its steps itself.
Axes: latents b c f h w, noise levels b f, text b l d.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from longtake.adapt.compiled import compile_blocks
from longtake.adapt.lora import Lora, LowRank
from longtake.adapt.lora_file import Patch, write_lora
from longtake.diffusion import flow
from longtake.errors import RequestError
from longtake.model import checkpoint as weights
from longtake.model.device import autocast
from longtake.model.dit import DiT
from longtake.train.data import Batch, ClipMix, Clips, Mixture
from longtake.train.dit import DitPlan, Networks, captions_of, load_networks, mix_of, positions_of
from longtake.train.loop import Budget, Outcome, Progress, Randomness, StepResult, can_compile
from longtake.train.lora import LoraConfig, fresh_lora
from longtake.train.optim import Average, adamw
from longtake.train.run import Run

Estimate = Callable[[Tensor, Tensor], Tensor]
"""(x_s b c f h w, sigma b f) -> clean latents of the same shape."""


def mixture_of(clips: int) -> Mixture:
    """Batches of so many clips: few of stills from the first, and no twins, which are for learning new words."""
    return Mixture(clips=clips, images=4 * clips, early_images=0.15, slots=0.25, twins=0.0)


@dataclass(frozen=True, kw_only=True)
class DistillPlan(DitPlan):
    """One run on clips in `data` for the model `init`."""

    student_steps: int = 4
    within: int = 2
    """Steps of the teacher in one of the student."""
    guidance: float = 3.0
    """Of the teacher."""
    lora: LoraConfig = field(default_factory=lambda: LoraConfig(rank=64, alpha=64.0, rate=1e-3))
    decay: float = 0.99


def train_distill(plan: DistillPlan, budget: Budget) -> Outcome:
    """Train the adapter, or go on training, and write `<out>/lora.safetensors`.

    Raises RequestError for a plan without a model, WeightsError for data or weights that do not fit.
    """
    if plan.init is None:
        raise RequestError("fewer steps are learned from a model; give its file with --init")
    run = Run("distill", plan)
    device, randomness = run.device, run.randomness
    teacher = load_networks(plan, device)
    teacher.dit.requires_grad_(False)
    student = copy.deepcopy(teacher.dit)
    lora = fresh_lora(student, plan.lora, plan.seed)
    layers = nn.ModuleDict({name.replace(".", "/"): layer for name, layer in lora.layers.items()})
    average = Average({"lora": layers}, plan.decay)
    sizes = plan.sizes or teacher.config.sizes
    mix = mix_of(plan, teacher, sizes, randomness)
    held = [Clips.load(plan.data, s, "held") for s in sizes]
    state = run.state(
        {"lora": layers}, {"adamw": adamw(list(layers.parameters()), plan.lora.rate, plan.optim)}, average, mix,
        {"model": asdict(teacher.config), "lora": asdict(plan.lora)},
    )  # fmt: skip

    def check(progress: Progress) -> Mapping[str, float]:
        kept = {name.replace("/", "."): layer for name, layer in average.modules["lora"].named_children()}
        pairs = {name: (layer.down, layer.up) for name, layer in kept.items() if isinstance(layer, LowRank)}
        note = f"{plan.student_steps} steps without guidance"
        write_lora(plan.out / "lora.safetensors", pairs, plan.lora.alpha, note=note)
        _save_fused(plan, pairs)
        return forward.apart(held[0])

    forward = Forward(plan, teacher, student, mix, randomness)
    return run.train(forward, state, budget, check)


def _save_fused(plan: DistillPlan, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    assert plan.init is not None
    models = weights.load(plan.init)
    patches = {name: Patch(down, up, alpha=plan.lora.alpha) for name, (down, up) in pairs.items()}
    Lora(models.dit, patches).fuse()
    config = replace(
        models.config, sampling=replace(models.config.sampling, steps=plan.student_steps, guidance=1.0)
    )
    parts = {"dit": models.dit, "vae": models.vae, "text": models.text}
    words, path = models.tokenizer.to_json(), plan.out / "model.safetensors"
    weights.save(path, parts, config, words, extra=models.extra, dtype=torch.bfloat16)


class Forward:
    """One training step's loss."""

    def __init__(
        self, plan: DistillPlan, nets: Networks, student: DiT, mix: ClipMix, randomness: Randomness
    ) -> None:
        self.plan, self.nets, self.student, self.mix, self.randomness = plan, nets, student, mix, randomness
        self.device = next(student.parameters()).device
        if plan.compile and can_compile(self.device):
            compile_blocks(nets.dit.blocks)
            compile_blocks(student.blocks)

    def __call__(self, share: float) -> StepResult:
        plan, generator = self.plan, self.randomness.torch
        batch = self.mix.draw(share)
        x = batch.latents.to(self.device, non_blocking=True)
        guided, plain = self._estimates(batch, captions_of(batch.scenes, self.randomness.python, 0.0))
        begin, end = flow.draw_strides(
            len(x), x.shape[2], plan.student_steps, generator, plan.shift, batch.slot
        )
        sigma = flow.shifted(begin, plan.shift)
        x_s = flow.add_noise(x, torch.randn(x.shape, generator=generator, device=self.device), sigma)
        with torch.no_grad():
            reached = walk(guided, x_s, begin, end, plan.within, plan.shift)
        moved = begin > end
        length = torch.where(moved, sigma - flow.shifted(end, plan.shift), 1.0)
        wanted = flow.to_x0((x_s - reached) / flow.over_latents(length), x_s, sigma, "v")
        weight = 1 + plan.subject * batch.masks.to(self.device)
        return StepResult(flow.loss(plain(x_s, sigma), wanted, sigma, moved, weight / weight.mean()), len(x))

    def _estimates(self, batch: Batch, words: Sequence[str]) -> tuple[Estimate, Estimate]:
        """The teacher with guidance and the student without, told the same words."""
        positions, prediction = positions_of(batch, self.device), self.nets.config.dit.prediction
        with torch.no_grad(), autocast(self.device):
            text = self.nets.text(self.nets.tokenizer(words).to(self.device))
            nothing = self.nets.text(self.nets.tokenizer([""]).to(self.device)).expand_as(text)

        def estimate(network: DiT, x_s: Tensor, sigma: Tensor, read: Tensor) -> Tensor:
            with autocast(self.device):
                output = network(x_s, 1000 * sigma, read, positions)
            return flow.to_x0(output.float(), x_s, sigma, prediction)

        def guided(x_s: Tensor, sigma: Tensor) -> Tensor:
            told, untold = (estimate(self.nets.dit, x_s, sigma, read) for read in (text, nothing))
            return untold + self.plan.guidance * (told - untold)

        return guided, lambda x_s, sigma: estimate(self.student, x_s, sigma, text)

    @torch.no_grad()
    def apart(self, held: Clips) -> dict[str, float]:
        """Squared distance of whole samples from the teacher's, of the same noise and words, without and with its
        adapter: what the student cannot follow, beside what the teacher loses in as many steps."""
        plan = self.plan
        rows = list(range(min(plan.held, len(held.scenes))))
        batch = held.clips(rows, slot=False)
        guided, plain = self._estimates(batch, captions_of(batch.scenes, random.Random("validation"), 0.0))
        noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        one = torch.ones(noise.shape[0], noise.shape[2], device=self.device)
        few = plan.student_steps
        truth = walk(guided, noise, one, 0 * one, few * plan.within, plan.shift)
        hasty = walk(guided, noise, one, 0 * one, few, plan.shift)
        learned = walk(plain, noise, one, 0 * one, few, plan.shift)
        return {
            "apart_hasty": (hasty - truth).square().mean().item(),
            "apart": (learned - truth).square().mean().item(),
        }


def walk(estimate: Estimate, x_s: Tensor, begin: Tensor, end: Tensor, steps: int, shift: float) -> Tensor:
    """Latents at `begin` (b f, before the shift) led to `end` in even steps; frames where both are the same stay."""
    for now, following in pairwise(torch.lerp(begin, end, i / steps) for i in range(steps + 1)):
        sigma, after = flow.shifted(now, shift), flow.shifted(following, shift)
        x_s = flow.step(x_s, flow.to_velocity(estimate(x_s, sigma), x_s, sigma, "x0"), sigma, after)
    return x_s
