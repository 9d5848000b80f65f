"""Training of the diffusion transformer on stored latents of the frozen VAE, with the frozen text encoder.

The noise process, the noise patterns and the loss are flow.py's. A batch is whole clips, clips after an image
slot, or single images; which, depends on the spent share of the budget (see data.Mixture).
Axes: latents b c f h w, noise levels b f, text b l d. Position 0 is the image slot, a clip starts at 1.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from longtake.adapt.compiled import compile_blocks
from longtake.diffusion import flow
from longtake.errors import RequestError
from longtake.model import checkpoint as weights
from longtake.model.device import autocast
from longtake.model.dit import DiT
from longtake.model.presets import ModelConfig
from longtake.model.text import TextEncoder, Tokenizer
from longtake.model.vae import VAE
from longtake.train import sheet
from longtake.train.data import Batch, ClipMix, Clips, Mixture
from longtake.train.live import LiveClips, LivePlan
from longtake.train.loop import Budget, Outcome, Progress, Randomness, StepResult, can_compile
from longtake.train.optim import Average, OptimConfig, muon_and_adamw
from longtake.train.run import Run, RunPlan
from longtake.train.text import LANGUAGES, complete, words_for
from longtake.train.vae import preset
from longtake.world.scene import Scene

CHECK_SIGMAS = (0.3, 0.6, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True)
class DitPlan(RunPlan):
    """One run on clips in `data`; it makes sheets and `model.safetensors`."""

    data: Path
    vae: Path
    """The VAE that encoded the clips."""
    text: Path
    """Pretrained encoder with its tokenizer, or an earlier model."""
    init: Path | None = None
    """A model whose transformer this run starts from."""
    preset: str = "pocket"
    sizes: tuple[tuple[int, int], ...] | None = None
    """Sizes to train on; each shape compiles its own graphs, so fewer start sooner."""
    mixture: Mixture = field(default_factory=Mixture)
    optim: OptimConfig = field(default_factory=OptimConfig)
    caption_dropout: float = 0.1
    resampled: float = 0.2
    """Last share of the run in which half of the clips see what they go on from as the model itself would
    make it, not as it was: a long film goes on from such frames."""
    subject: float = 2.0
    """Extra weight of a latent cell that characters cover fully."""
    contrast: float = 4.0
    """Extra weight of what twins differ in at pure noise (flow.twin_loss)."""
    shift: float = 2.5
    decay: float = 0.999
    compile: bool = True
    live: LivePlan | None = None
    """Render what is trained on meanwhile; `data` is then asked for held-out clips alone."""
    held: int = 16
    """Held-out clips of each size for the validation loss."""
    check_minutes: float = 10.0
    prompts: tuple[str, ...] = sheet.PROMPTS


@dataclass(frozen=True)
class Networks:
    """The transformer, and the frozen networks it stands on.

    The text encoder is frozen because training it along made it forget: the transformer asks for motion last, and
    by then the encoder no longer told a pan to the left from one to the right.
    """

    config: ModelConfig
    dit: DiT
    text: TextEncoder
    tokenizer: Tokenizer
    vae: VAE


def captions_of(scenes: Sequence[Scene], rng: random.Random, dropout: float) -> list[str]:
    """Fresh words for each scene, in either language; an empty caption for a share of `dropout`."""
    return [
        "" if rng.random() < dropout else words_for(scene, rng.choice(LANGUAGES), rng) for scene in scenes
    ]


def positions_of(batch: Batch, device: torch.device) -> Tensor:
    """Temporal positions f: images and slots at 0, clips from 1."""
    frames = batch.latents.shape[2]
    return torch.arange(frames, device=device) + int(frames > 1 and not batch.slot)


def train_dit(plan: DitPlan, budget: Budget) -> Outcome:
    """Train, or go on training, and write the averaged networks and the VAE to `<out>/model.safetensors`.

    Raises RequestError for an unknown preset or missing data, WeightsError for weights that do not fit.
    """
    run = Run("dit", plan)
    device, randomness = run.device, run.randomness
    nets = load_networks(plan, device)
    sizes = plan.sizes or nets.config.sizes
    mix = mix_of(plan, nets, sizes, randomness)
    trained: dict[str, nn.Module] = {"dit": nets.dit}
    average = Average(trained, plan.decay)
    state = run.state(
        trained, muon_and_adamw(trained, plan.optim), average, mix, {"model": asdict(nets.config)}
    )
    forward = Forward(plan, nets, mix, randomness, device)
    held = [Clips.load(plan.data, s, "held") for s in sizes]

    def check(progress: Progress) -> Mapping[str, float]:
        kept = replace(nets, dit=_averaged(average))
        values = validate(kept, held, plan, device)
        artist = sheet.Artist(kept.dit, kept.text, kept.tokenizer, kept.vae)
        frames = held[0].latents.shape[2]
        sheet.write_sheet(
            plan.out / "sheets" / f"{progress.step:07d}.png", artist, sizes[0], frames, plan.prompts
        )
        modules = {"dit": kept.dit, "vae": kept.vae, "text": kept.text}
        extra = {"steps": progress.step, "samples": progress.samples} | values
        weights.save(
            plan.out / "model.safetensors", modules, nets.config, nets.tokenizer.to_json(), extra=extra
        )
        return values

    return run.train(forward, state, budget, check)


def mix_of(
    plan: DitPlan, nets: Networks, sizes: Sequence[tuple[int, int]], randomness: Randomness
) -> ClipMix:
    """What a run trains on: clips that were rendered and encoded, or that are now."""
    if plan.live is None:
        stored = [Clips.load(plan.data, size, "train") for size in sizes]
        return ClipMix(stored, plan.mixture, randomness, plan.seed)
    live = [LiveClips(plan.live, nets.config, nets.vae, size) for size in sizes]
    return ClipMix(
        [each.clips for each in live], plan.mixture, randomness, plan.seed, [each.ring for each in live]
    )


class Forward:
    """One training step's loss."""

    def __init__(
        self, plan: DitPlan, nets: Networks, mix: ClipMix, randomness: Randomness, device: torch.device
    ) -> None:
        self.plan, self.nets, self.mix, self.randomness, self.device = plan, nets, mix, randomness, device
        if plan.compile and can_compile(device):
            compile_blocks(nets.dit.blocks)
            compile_blocks(nets.text.blocks)

    def __call__(self, share: float) -> StepResult:
        batch = self.mix.draw(share)
        words = self._captions(batch)
        tokens = self.nets.tokenizer(words).to(self.device, non_blocking=True)
        x = batch.latents.to(self.device, non_blocking=True)
        masks = batch.masks.to(self.device, non_blocking=True)
        b, _, f = x.shape[:3]
        share_noise = flow.TWIN_NOISE_SHARE if batch.twins else flow.NOISE_SHARE
        sigma, carries = flow.draw_sigmas(
            b, f, self.randomness.torch, self.plan.shift, slot=batch.slot, noise_share=share_noise
        )
        noise = torch.randn(x.shape, generator=self.randomness.torch, device=self.device)
        if batch.twins:  # nothing but the word differs
            sigma, carries, noise = (y[::2].repeat_interleave(2, 0) for y in (sigma, carries, noise))
        positions = positions_of(batch, self.device)
        with torch.no_grad(), autocast(self.device):
            text = self.nets.text(tokens)
        past = x
        if f > 1 and share > 1 - self.plan.resampled and self.randomness.python.random() < 0.5:
            past = torch.where(carries[:, None, :, None, None], x, self._resample(x, text, positions))
        x_s = flow.add_noise(past, noise, sigma)
        x0 = self._estimate(x_s, sigma, text, positions)
        weight = 1 + self.plan.subject * masks
        weight = weight / weight.mean()
        loss = flow.loss(x0, x, sigma, carries, weight)
        values = {"image_loss" if f == 1 else "clip_loss": loss.detach()}
        if batch.twins:
            apart = flow.twin_loss(x0, x, sigma, weight)
            loss, values["twin_loss"] = loss + self.plan.contrast * apart, apart.detach()
        return StepResult(loss, b, values)

    def _captions(self, batch: Batch) -> list[str]:
        """Fresh words for each scene; twins are told in the same way, and what sets them apart is said."""
        rng, dropout = self.randomness.python, self.plan.caption_dropout
        if not batch.twins:
            return captions_of(batch.scenes, rng, dropout)
        words = []
        for pair in zip(batch.scenes[::2], batch.scenes[1::2], strict=True):
            language, seed = rng.choice(LANGUAGES), rng.random()
            told = [words_for(scene, language, random.Random(seed)) for scene in pair]
            if told[0] == told[1]:
                told = [complete(scene, language, random.Random(seed)) for scene in pair]
            words += told
        return words

    def _estimate(self, x_s: Tensor, sigma: Tensor, text: Tensor, positions: Tensor) -> Tensor:
        with autocast(self.device):
            output = self.nets.dit(x_s, 1000 * sigma, text, positions)
        return flow.to_x0(output.float(), x_s, sigma, self.nets.config.dit.prediction)

    @torch.no_grad()
    def _resample(self, x: Tensor, text: Tensor, positions: Tensor) -> Tensor:
        """Clean latents as the model sees them through noise of one level a clip, 0.2 to 0.8."""
        generator = self.randomness.torch
        level = 0.2 + 0.6 * torch.rand(len(x), 1, generator=generator, device=self.device)
        noise = torch.randn(x.shape, generator=generator, device=self.device)
        sigma = level.expand(-1, x.shape[2])
        return self._estimate(flow.add_noise(x, noise, sigma), sigma, text, positions)


@torch.no_grad()
def validate(nets: Networks, held: Sequence[Clips], plan: DitPlan, device: torch.device) -> dict[str, float]:
    """Squared error of x0 on held-out clips and stills: fixed noise levels, fixed noise, fixed captions."""
    values: dict[str, float] = {}
    for sigma_value in CHECK_SIGMAS:
        for kind in ("clip", "image"):
            errors = []
            for clips in held:
                rows = list(range(min(plan.held, len(clips.scenes))))
                batch = (
                    clips.clips(rows, slot=False) if kind == "clip" else clips.images(rows, [0] * len(rows))
                )
                words = captions_of(batch.scenes, random.Random("validation"), 0.0)
                x = batch.latents.to(device)
                noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(device)
                sigma = torch.full((len(x), x.shape[2]), sigma_value, device=device)
                x_s = flow.add_noise(x, noise, sigma)
                with autocast(device):
                    text = nets.text(nets.tokenizer(words).to(device))
                    output = nets.dit(x_s, 1000 * sigma, text, positions_of(batch, device))
                x0 = flow.to_x0(output.float(), x_s, sigma, nets.config.dit.prediction)
                errors.append((x0 - x).square().mean())
            values[f"held_{kind}_{sigma_value}"] = torch.stack(errors).mean().item()
    return values


def _averaged(average: Average) -> DiT:
    dit = average.modules["dit"]
    assert isinstance(dit, DiT)
    return dit


def load_networks(plan: DitPlan, device: torch.device) -> Networks:
    """The transformer of the preset on top of the given VAE and text encoder, warm-started if asked."""
    vae = weights.load(plan.vae, device)
    language = weights.load(plan.text, device)
    wanted, z = preset(plan.preset), vae.config.vae.z
    # any size of transformer on any autoencoder's latents
    config = replace(
        wanted,
        dit=replace(wanted.dit, in_channels=z, out_channels=z, text_dim=language.config.text.dim),
        vae=vae.config.vae,
        text=language.config.text,
    )
    if plan.init is None:
        dit = DiT(config.dit).to(device)
    else:
        start = weights.load(plan.init, device)
        if start.config.dit != config.dit:
            raise RequestError(
                f"{plan.init} holds a transformer of another preset than {plan.preset!r}; name its own"
            )
        dit = start.dit
    return Networks(
        config,
        dit.train().requires_grad_(True),
        language.text,
        language.tokenizer,
        vae.vae,
    )
