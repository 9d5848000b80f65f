"""What every training run is told, and how one is set up around the loop: device, randomness, checkpoint, log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from longtake.train.loop import (
    STATE_FILE,
    Budget,
    Checkpoint,
    Log,
    Outcome,
    Pace,
    Periodic,
    Positioned,
    Progress,
    Randomness,
    StepResult,
    train,
)
from longtake.train.optim import Average

Check = Callable[[Progress], Mapping[str, float]]
"""Measures what a run has learned and writes its weights; see loop.Periodic."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What every run is told; the plans of the stages add what they learn from, and how."""

    out: Path
    """Takes the checkpoint, the log and what is made; a run that finds its checkpoint there goes on."""
    device: str = "cpu"
    seed: int = 0
    check_minutes: float = 5.0
    save_seconds: float = 120.0
    quiet: bool = False


class Run:
    """One sitting of one run. Made first: it seeds the weights that are drawn after it.

    `data_on_host`: batches are drawn and changed on the CPU, so the generator is there too.
    """

    def __init__(self, name: str, plan: RunPlan, data_on_host: bool = False) -> None:
        torch.manual_seed(plan.seed)
        self.name, self.plan, self.device = name, plan, torch.device(plan.device)
        self.randomness = Randomness(plan.seed, torch.device("cpu") if data_on_host else self.device)

    def state(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        average: Average | None = None,
        data: Positioned | None = None,
        config: dict[str, Any] | None = None,
    ) -> Checkpoint:
        """All that a later sitting needs, in the run's folder."""
        path = self.plan.out / STATE_FILE
        return Checkpoint(path, modules, optimizers, self.randomness, average, data, config=config or {})

    def train(
        self,
        forward: Callable[[float], StepResult],
        state: Checkpoint,
        budget: Budget,
        check: Check,
        pace: Pace | None = None,
    ) -> Outcome:
        """Run to the end of the budget; `check` every so often and at the end. See loop.train."""
        pace = replace(pace or Pace(), save_seconds=self.plan.save_seconds)
        log = Log(self.plan.out, self.name, self.plan.quiet)
        return train(forward, state, budget, pace, log, [Periodic(60 * self.plan.check_minutes, check)])
