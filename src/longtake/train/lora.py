"""Fine-tuning by adapter: a low-rank LoRA on the frozen transformer of a model, from encoded clips.

Data, noise, captions and loss are those of the transformer's own training. The result, `<out>/lora.safetensors`, is
in diffusers' peft layout; `longtake generate --lora` and other programs read it. Hu et al. 2021 (arXiv:2106.09685):
down begins at random, up at zero, so that training starts from the model as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from longtake.adapt.lora import Lora
from longtake.adapt.lora_file import Patch, write_lora
from longtake.errors import RequestError
from longtake.model.dit import DiT
from longtake.train.data import Clips
from longtake.train.dit import DitPlan, Forward, load_networks, mix_of, validate
from longtake.train.loop import Budget, Outcome, Progress
from longtake.train.optim import adamw
from longtake.train.run import Run

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
"""Ends of the names of the layers that get an adapter: all linear layers of a block."""


@dataclass(frozen=True)
class LoraConfig:
    """Size and rate of an adapter. Its strength is alpha / rank."""

    rank: int = 8
    alpha: float = 8.0
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0 or not self.rate > 0:
            raise RequestError(
                f"rank, alpha and rate must be positive, not {self.rank}, {self.alpha:g}, {self.rate:g}; try 8, 8, 1e-3"
            )


def fresh_lora(network: DiT, config: LoraConfig, seed: int = 0) -> Lora:
    """An attached adapter on every target layer, its matrices ready to be trained; it changes nothing yet."""
    generator = torch.Generator().manual_seed(seed)
    patches: dict[str, Patch] = {}
    for name, module in network.blocks.named_modules(prefix="blocks"):
        if isinstance(module, nn.Linear) and name.endswith(TARGETS):
            bound = 1 / math.sqrt(module.in_features)
            down = bound * (2 * torch.rand(config.rank, module.in_features, generator=generator) - 1)
            patches[name] = Patch(down, torch.zeros(module.out_features, config.rank), alpha=config.alpha)
    lora = Lora(network, patches)
    for layer in lora.layers.values():
        layer.requires_grad_(True)
    lora.attach()
    return lora


def train_lora(plan: DitPlan, config: LoraConfig, budget: Budget) -> Outcome:
    """Train an adapter for the model `plan.init`, or go on training, and write `<out>/lora.safetensors`.

    Raises RequestError for a plan without a model, WeightsError for data or weights that do not fit.
    """
    if plan.init is None:
        raise RequestError("an adapter needs the model it is for; give its file with --init")
    plan = replace(plan, compile=False)  # hooks on every layer would compile each block anew
    run = Run("lora", plan)
    device, randomness = run.device, run.randomness
    nets = load_networks(plan, device)
    nets.dit.requires_grad_(False)
    lora = fresh_lora(nets.dit, config, plan.seed)
    layers = nn.ModuleDict({name.replace(".", "/"): layer for name, layer in lora.layers.items()})
    sizes = plan.sizes or nets.config.sizes
    mix = mix_of(plan, nets, sizes, randomness)
    state = run.state(
        {"lora": layers}, {"adamw": adamw(list(layers.parameters()), config.rate, plan.optim)}, None, mix,
        {"model": asdict(nets.config), "lora": asdict(config)},
    )  # fmt: skip
    held = [Clips.load(plan.data, s, "held") for s in sizes]

    def check(progress: Progress) -> Mapping[str, float]:
        values = validate(nets, held, plan, device)
        pairs = {name: (layer.down, layer.up) for name, layer in lora.layers.items()}
        write_lora(plan.out / "lora.safetensors", pairs, config.alpha, note=f"{progress.step} steps")
        return values

    return run.train(Forward(plan, nets, mix, randomness, device), state, budget, check)
