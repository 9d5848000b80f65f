"""Pretraining of the text encoder: caption -> the slots of its scene, in both languages.

It gives the joint training an encoder that already tells a puppy from a kitten and knows that 小狗 is
a puppy too. No picture is needed: scenes are sampled and captioned on the fly. Text axes: b l d.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.errors import RequestError
from longtake.model import checkpoint as weights
from longtake.model.device import autocast
from longtake.model.presets import TextConfig
from longtake.model.text import TextEncoder, Tokenizer, train_tokenizer
from longtake.train.loop import Budget, Outcome, Progress, StepResult
from longtake.train.optim import Average, OptimConfig, muon_and_adamw
from longtake.train.run import Run, RunPlan
from longtake.train.vae import preset
from longtake.world.captions import caption
from longtake.world.sampler import PRESETS, Vocabulary, sample_scene
from longtake.world.scene import Scene

LANGUAGES = ("en", "zh")
COMPLETE = 0.5
"""Share of the captions that name every detail."""


@dataclass(frozen=True, kw_only=True)
class TextPlan(RunPlan):
    """One pretraining run; it makes `text.safetensors` (encoder and tokenizer)."""

    preset: str = "pocket"
    vocabulary: str = "pocket"
    batch: int = 128
    corpus: int = 20_000
    """Captions of each language that the tokenizer is learned from."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    check_minutes: float = 2.0


class SlotHeads(nn.Module):
    """One linear classifier for each slot of a scene, on the mean of the encoder's tokens."""

    def __init__(self, dim: int, labels: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.index = {slot: {label: i for i, label in enumerate(names)} for slot, names in labels.items()}
        self.heads = nn.ModuleDict({slot: nn.Linear(dim, len(names)) for slot, names in labels.items()})

    def forward(self, text: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Text b l d and tokens b l (0 = padding) -> logits b n for each slot."""
        count = (tokens > 0).sum(1, keepdim=True).clamp(min=1)
        pooled = text.float().sum(1) / count
        return {slot: head(pooled) for slot, head in self.heads.items()}

    def targets(self, scenes: Sequence[Scene]) -> dict[str, Tensor]:
        """Label indices b for each slot; -100 (not scored) for a value the vocabulary does not list."""
        values = {slot: [slot_value(scene, slot) for scene in scenes] for slot in self.heads}
        return {
            slot: torch.tensor([self.index[slot].get(v, -100) for v in row]) for slot, row in values.items()
        }


def slot_labels(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """The slots that are learned, and their values; "" where a scene has none. Those of one value are left out.

    All that a caption can say has to be here: what no slot asks for, such as the direction, the encoder does
    not tell apart, and then no transformer can.
    """
    found = {
        "subject": vocabulary.subjects,
        "place": vocabulary.places,
        "time": vocabulary.times,
        "weather": vocabulary.weathers,
        "shot": vocabulary.shots,
        "camera": vocabulary.cameras,
        "angle": vocabulary.angles,
        "style": vocabulary.styles,
        "action": vocabulary.actions,
        "direction": ("", "left", "right", "toward", "away", "up", "down"),
        "manner": ("", *vocabulary.manners),
        "size": ("", *vocabulary.sizes),
        "count": tuple(str(count) for count in vocabulary.counts),
        "second": ("", *vocabulary.subjects),
        "relation": ("", *vocabulary.relations),
        "interaction": ("", *vocabulary.interactions),
    }
    return {slot: names for slot, names in found.items() if len(names) > 1}


def slot_value(scene: Scene, slot: str) -> str:
    if slot == "subject":
        return scene.actors[0].code
    if slot == "second":
        return scene.actors[1].code if len(scene.actors) > 1 else ""
    if slot in ("action", "direction", "manner", "size", "count"):
        return str(getattr(scene.actors[0], slot))
    return str(getattr(scene, slot))


def words_for(scene: Scene, language: str, rng: random.Random) -> str:
    """A caption to learn from: half of them leave nothing out.

    Of captions of all lengths only one in five names the time of day; a model trained on those alone never learns
    to tell day from night.
    """
    return complete(scene, language, rng) if rng.random() < COMPLETE else caption(scene, language, rng)


def complete(scene: Scene, language: str, rng: random.Random) -> str:
    """A caption that leaves nothing out."""
    return caption(scene, language, rng, "long", keep=1.0)


def sample_captions(vocabulary: Vocabulary, count: int, rng: random.Random) -> tuple[list[Scene], list[str]]:
    """Scenes and one caption each, the languages in turn."""
    scenes = [sample_scene(rng, vocabulary) for _ in range(count)]
    return scenes, [words_for(scene, LANGUAGES[i % 2], rng) for i, scene in enumerate(scenes)]


def train_text(plan: TextPlan, budget: Budget) -> Outcome:
    """Learn the tokenizer, then train the encoder, or go on training; write `<out>/text.safetensors`."""
    if plan.vocabulary not in PRESETS:
        raise RequestError(f"unknown vocabulary {plan.vocabulary!r}; choose one of: {', '.join(PRESETS)}")
    vocabulary, config, run = PRESETS[plan.vocabulary], preset(plan.preset), Run("text", plan)
    device = run.device
    tokenizer = _tokenizer(plan, vocabulary, config.text)
    config = replace(config, text=replace(config.text, vocab=tokenizer.size))
    encoder = TextEncoder(config.text).to(device)
    heads = SlotHeads(config.text.dim, slot_labels(vocabulary)).to(device)
    average = Average({"text": encoder, "heads": heads})
    optimizers = muon_and_adamw({"text": encoder, "heads": heads}, plan.optim)
    modules = {"text": encoder, "heads": heads}
    state = run.state(modules, optimizers, average, config={"text": asdict(config.text)})

    def forward(_share: float) -> StepResult:
        scenes, captions = sample_captions(vocabulary, plan.batch, run.randomness.python)
        tokens = tokenizer(captions).to(device)
        with autocast(device):
            logits = heads(encoder(tokens), tokens)
        losses = {
            slot: F.cross_entropy(logits[slot].float(), target.to(device))
            for slot, target in heads.targets(scenes).items()
        }
        return StepResult(
            torch.stack(list(losses.values())).mean(), len(scenes), {"subject": losses["subject"].detach()}
        )

    @torch.no_grad()
    def check(_progress: Progress) -> Mapping[str, float]:
        rng = random.Random("held captions")
        scenes = [sample_scene(rng, vocabulary) for _ in range(512)]
        captions = [complete(scene, LANGUAGES[i % 2], rng) for i, scene in enumerate(scenes)]
        tokens = tokenizer(captions).to(device)
        kept = average.modules["text"]
        logits = average.modules["heads"](kept(tokens), tokens)
        values = {
            f"{slot}_right": (logits[slot].cpu().argmax(1) == target).float().mean().item()
            for slot, target in heads.targets(scenes).items()
        }
        weights.save(
            plan.out / "text.safetensors", {"text": kept}, config, tokenizer.to_json(), extra=dict(values)
        )
        return values

    return run.train(forward, state, budget, check)


def _tokenizer(plan: TextPlan, vocabulary: Vocabulary, config: TextConfig) -> Tokenizer:
    """The run's tokenizer: kept beside the checkpoint, so that a resumed run reads the same pieces."""
    path = plan.out / "tokenizer.json"
    if path.exists():
        return Tokenizer(path.read_text(encoding="utf-8"))
    _, captions = sample_captions(vocabulary, 2 * plan.corpus, random.Random(f"{plan.seed} corpus"))
    tokenizer = train_tokenizer(captions, config.vocab, config.length)
    plan.out.mkdir(parents=True, exist_ok=True)
    path.write_text(tokenizer.to_json(), encoding="utf-8")
    return tokenizer
