"""The mechanics every training run shares: budget, rates, checkpoints, resume, progress, a clean stop.

What is learned (data, loss, validation) comes from outside; this file knows no model. A checkpoint is ONE
safetensors file: tensors as tensors, everything else as JSON in its header, written beside and renamed.
Counters and generators are part of it, so a run by steps resumes bit-exactly on the same device.
"""

from __future__ import annotations

import importlib.util
import json
import math
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from longtake.errors import RequestError, WeightsError
from longtake.model.tensorfile import load_strictly, read_safetensors, write_safetensors
from longtake.train.optim import Average

STATE_FILE = "state.safetensors"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class Budget:
    """How long to train: wall-clock `minutes` (of all sittings together) or `steps`; exactly one of them."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise RequestError("give either minutes or steps as the training budget, not both and not none")
        if not (self.minutes or self.steps or 0) > 0:
            raise RequestError("the training budget must be positive, for example minutes=30 or steps=1000")

    def share(self, progress: Progress) -> float:
        """Spent share of the budget; 1 or more means finished."""
        if self.steps is not None:
            return progress.step / self.steps
        assert self.minutes is not None
        return progress.seconds / (60 * self.minutes)


@dataclass(frozen=True)
class Pace:
    """Shape of the learning rate over the run, and how often the loop saves and reports."""

    warmup: int = 100
    ramp: float = 0.2  # last share of the budget, over which the rate falls
    shape: str = "linear"  # "linear": constant, then linear to ~0; "cosine": one cosine over the whole budget
    clip: float = 1.0
    save_seconds: float = 120.0
    report_seconds: float = 10.0

    def factor(self, step: int, share: float) -> float:
        """Multiplier of the peak rate for step number `step` (from 0) at `share` of the budget."""
        start = min(1.0, (step + 1) / max(1, self.warmup))
        if self.shape == "cosine":
            return start * max(0.01, 0.5 + 0.5 * math.cos(math.pi * min(1.0, share)))
        return start * min(1.0, max(0.01, (1 - share) / self.ramp))


@dataclass
class Progress:
    """Counters of a run over all its sittings."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0


class Randomness:
    """Every generator a run may draw from, so that nothing random is left out of its checkpoint."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.torch = torch.Generator(device).manual_seed(seed)
        self.numpy = np.random.default_rng(seed)
        self.python = random.Random(seed)

    def state(self) -> dict[str, Any]:
        return {"numpy": self.numpy.bit_generator.state, "python": self.python.getstate()}

    def restore(self, state: Mapping[str, Any], generator: Tensor) -> None:
        version, words, gauss = state["python"]
        self.python.setstate((version, tuple(words), gauss))
        self.numpy.bit_generator.state = state["numpy"]
        self.torch.set_state(generator)


class Positioned(Protocol):
    """A data source that knows how far it has been read."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


@dataclass
class Checkpoint:
    """Everything a run needs to go on: weights, average, optimisers, generators, data position, counters."""

    path: Path
    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    randomness: Randomness
    average: Average | None = None
    data: Positioned | None = None
    progress: Progress = field(default_factory=Progress)
    config: dict[str, Any] = field(default_factory=dict)  # how the run was set up: kept, for the reader

    def save(self) -> None:
        """Write the file atomically. Raises OutputError when the folder cannot take it."""
        tensors: dict[str, Tensor] = {"rng.torch": self.randomness.torch.get_state()}
        for name, module in self.modules.items():
            tensors |= {f"weights.{name}.{key}": value for key, value in module.state_dict().items()}
        if self.average is not None:
            for name, module in self.average.modules.items():
                tensors |= {f"average.{name}.{key}": value for key, value in module.state_dict().items()}
        optimizers: dict[str, Any] = {}
        for name, optimizer in self.optimizers.items():
            found, optimizers[name] = _split_state(optimizer.state_dict(), f"optimizer.{name}.")
            tensors |= found
        rest = {
            "progress": vars(self.progress),
            "random": self.randomness.state(),
            "optimizers": optimizers,
            "data": self.data.state() if self.data else {},
            "config": self.config,
        }
        write_safetensors(self.path, tensors, {"state": json.dumps(rest)})

    def load(self) -> bool:
        """Go on from the file if there is one, and say whether there was. WeightsError names a mismatch."""
        if not self.path.exists():
            return False
        tensors, header = read_safetensors(self.path)
        rest = json.loads(header["state"])
        for name, module in self.modules.items():
            load_strictly(module, _under(tensors, f"weights.{name}."), self.path)
        if self.average is not None:
            for name, module in self.average.modules.items():
                load_strictly(module, _under(tensors, f"average.{name}."), self.path)
        for name, optimizer in self.optimizers.items():
            state = _join_state(rest["optimizers"][name], _under(tensors, f"optimizer.{name}."))
            try:
                optimizer.load_state_dict(state)
            except ValueError as error:
                raise WeightsError(
                    f"{self.path}: optimiser {name} does not fit this model: {error}"
                ) from error
            _lay_out_as_parameters(optimizer)
        self.randomness.restore(rest["random"], tensors["rng.torch"])
        if self.data is not None:
            self.data.restore(rest["data"])
        for key, value in rest["progress"].items():
            setattr(self.progress, key, value)
        return True


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _split_state(state: Mapping[str, Any], prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state_dict as (tensors by flat name, the rest as JSON values)."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def _join_state(rest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["numbers"].items()}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": rest["groups"]}


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the memory layout of their parameters: fused optimisers walk both in storage order."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


class Log:
    """One JSON object a line in log.jsonl, and one readable line on the terminal."""

    def __init__(self, folder: Path, name: str, quiet: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_FILE
        self.name = name
        self.quiet = quiet

    def write(self, values: Mapping[str, Any]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def report(self, progress: Progress, share: float, rate: float, values: Mapping[str, float]) -> None:
        """`rate` is samples per second since the last report."""
        left = progress.seconds * (1 - share) / share if share > 0 else math.nan
        row = {"step": progress.step, "seconds": round(progress.seconds, 1), "share": round(share, 4)}
        self.write(row | {"samples_per_second": round(rate, 2)} | {k: round(v, 6) for k, v in values.items()})
        if not self.quiet:
            numbers = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
            clock = f"{left / 60:.1f} min left" if math.isfinite(left) else ""
            line = f"{self.name} step {progress.step}  {numbers}  {rate:.1f}/s  {share:.1%}  {clock}"
            print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class StepResult:
    """What a forward pass gives the loop: the loss to minimise, samples seen, more numbers to average."""

    loss: Tensor
    samples: int
    values: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Periodic:
    """Something done every `seconds` of training and once at the end (validation, a sample sheet).

    It must not draw from the run's generators. Returned numbers go into the log.
    """

    seconds: float
    action: Callable[[Progress], Mapping[str, float]]


@dataclass(frozen=True)
class Outcome:
    """How a sitting ended."""

    progress: Progress
    interrupted: bool
    values: Mapping[str, float]


def train(
    forward: Callable[[float], StepResult],
    checkpoint: Checkpoint,
    budget: Budget,
    pace: Pace,
    log: Log,
    periodics: Sequence[Periodic] = (),
) -> Outcome:
    """Run to the end of the budget, or until Ctrl-C, from wherever the checkpoint stands.

    `forward(share)` computes one step's loss at that share of the budget. Ctrl-C finishes the step and saves.
    """
    progress, optimizers = checkpoint.progress, list(checkpoint.optimizers.values())
    parameters = [p for m in checkpoint.modules.values() for p in m.parameters() if p.requires_grad]
    peaks = [[group.setdefault("peak", group["lr"]) for group in o.param_groups] for o in optimizers]
    resumed = checkpoint.load()
    if resumed and not log.quiet:
        print(f"{log.name}: going on from step {progress.step}", file=sys.stderr)
    begin = time.monotonic() - progress.seconds
    meter = _Meter(progress)
    saved = progress.seconds
    due = [progress.seconds + p.seconds for p in periodics]
    values: dict[str, float] = {}
    with _stop_flag() as stop:
        while (share := budget.share(progress)) < 1 and not stop.is_set():
            factor = pace.factor(progress.step, share)
            for optimizer, rates in zip(optimizers, peaks, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                optimizer.zero_grad(set_to_none=True)
            result = forward(share)
            result.loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, pace.clip)
            for optimizer in optimizers:
                optimizer.step()
            progress.step += 1
            progress.samples += result.samples
            if checkpoint.average is not None:
                checkpoint.average.update(progress.step)
            meter.add({"loss": result.loss.detach(), "norm": norm.detach(), **result.values})
            progress.seconds = time.monotonic() - begin
            share = budget.share(progress)
            if progress.seconds - meter.seconds >= pace.report_seconds or share >= 1:
                values |= meter.close(progress)
                log.report(progress, min(1.0, share), meter.rate, values)
                if not math.isfinite(values["loss"]):
                    raise WeightsError(
                        f"training diverged at step {progress.step} (loss {values['loss']}); lower the rates"
                    )
            for index, periodic in enumerate(periodics):
                if progress.seconds >= due[index] and share < 1:
                    values |= _act(periodic, progress, log)
                    due[index] = progress.seconds + periodic.seconds
            if progress.seconds - saved >= pace.save_seconds:
                checkpoint.save()
                saved = progress.seconds
            progress.seconds = time.monotonic() - begin
        checkpoint.save()
        interrupted = budget.share(progress) < 1
        if not interrupted:
            for periodic in periodics:
                values |= _act(periodic, progress, log)
    return Outcome(progress, interrupted, values)


def _act(periodic: Periodic, progress: Progress, log: Log) -> dict[str, float]:
    values = dict(periodic.action(progress))
    if values:
        log.write({"step": progress.step, "seconds": round(progress.seconds, 1)} | values)
        if not log.quiet:
            numbers = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
            print(f"{log.name} step {progress.step}  {numbers}", file=sys.stderr, flush=True)
    return values


class _Meter:
    """Averages between reports; tensors are read only when it closes, so the device is not held up."""

    def __init__(self, progress: Progress) -> None:
        self.seconds, self.samples, self.rate = progress.seconds, progress.samples, 0.0
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        for key, value in values.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value.clone()
            self.counts[key] = self.counts.get(key, 0) + 1

    def close(self, progress: Progress) -> dict[str, float]:
        values = {key: float(total) / self.counts[key] for key, total in self.sums.items()}
        self.rate = (progress.samples - self.samples) / max(1e-9, progress.seconds - self.seconds)
        self.seconds, self.samples = progress.seconds, progress.samples
        self.sums.clear()
        self.counts.clear()
        return values


@contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def note(_number: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def can_compile(device: torch.device) -> bool:
    """torch.compile needs a C++ compiler on a CPU, Triton on a GPU; without one training runs eagerly."""
    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return importlib.util.find_spec("triton") is not None
