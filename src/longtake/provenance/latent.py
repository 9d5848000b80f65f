"""A mark in the noise a film is made from: the signs of the noise are drawn from the key, its sizes stay random.

Gaussian Shading (Yang et al. 2024, arXiv:2404.04956): a sign that nobody without the key can tell from a coin leaves
the noise exactly N(0, 1), so the mark costs no quality. Reading it means walking the film back to its noise, which
needs the model: inversion.py. `renoise` replaces the noise at every step and keeps nothing of the first, so films of
distilled models carry no such mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from longtake.provenance.keys import MasterKey, load_ring, stream
from longtake.request import Request

if TYPE_CHECKING:
    from longtake.model.checkpoint import Models

PATTERNS = 4096
"""Patterns of one key. A shot's is its seed modulo this: a film of unknown seed is read by trying them all."""
_PURPOSE = "latent mark"


@dataclass(frozen=True)
class Trace:
    """A shot whose noise carries the mark: where in the film it begins, in seconds, and its seed."""

    at: float
    seed: int


def marking_key(request: Request, models: Models) -> MasterKey | None:
    """The key whose signs this request's films carry; None where they are left out or would not last."""
    return load_ring().current if request.watermark and lasts(models) else None


def said(request: Request, models: Models, traces: Iterable[Trace]) -> str | list[dict[str, Any]]:
    """What the record says of this mark: the shots that can be read, or why there is none."""
    if not request.watermark:
        return "none: left out on request, for training footage"
    if not lasts(models):
        return "none: the solver keeps nothing of the first noise"
    listed = [vars(trace) for trace in traces]
    return listed or (
        "only where it cannot be read" if request.task == "generate" else "in the made part only"
    )


def lasts(models: Models) -> bool:
    """Whether the solver of these models leaves a trace of the first noise."""
    return models.config.sampling.solver != "renoise"


@dataclass(frozen=True)
class Evidence:
    """Sum of an estimate of the noise times the signs of a key, and the sum of the estimate's squares."""

    agreement: float
    energy: float

    @property
    def sigma(self) -> float:
        """Of a wrong key the mean is 0 and the deviation 1, whatever the estimate: its signs are coins.

        Hoeffding's inequality bounds how often a wrong key exceeds z by exp(-z^2 / 2).
        """
        return self.agreement / math.sqrt(self.energy) if self.energy else 0.0

    def found(self, tries: int) -> bool:
        """Above what the best of `tries` wrong patterns reaches once in a million readings."""
        return self.sigma > needed(tries)

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.agreement + other.agreement, self.energy + other.energy)


def needed(tries: int) -> float:
    """Sigma that the best of `tries` wrong patterns reaches at most once in a million readings."""
    return math.sqrt(2 * math.log(1e6 * max(1, tries)))


@dataclass(frozen=True)
class LatentMark:
    """The pattern of one shot: a sign for each value of each latent frame."""

    key: MasterKey
    seed: int

    def signs(self, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        """+1 and -1 (float32, c n h w) for the latent frames with these indices in the shot, each of `shape` c h w."""
        bits = -(-math.prod(shape) // 8)
        label = f"{self.seed % PATTERNS} {'x'.join(map(str, shape))}"
        drawn = stream(self.key.derive(_PURPOSE), label, bits * (1 + max(indices)))
        rows = [np.frombuffer(drawn, np.uint8, bits, index * bits) for index in indices]
        values = np.unpackbits(np.stack(rows), axis=1)[:, : math.prod(shape)].astype(np.float32)
        return (torch.from_numpy(values) * 2 - 1).reshape(-1, *shape).transpose(0, 1)

    def __call__(self, noise: Tensor, indices: list[int]) -> Tensor:
        """The noise (b c n h w) of the frames with these `indices` in the shot, with the signs of the key."""
        return noise.abs() * self.signs(indices, (noise.shape[1], *noise.shape[3:]))

    def evidence(self, noise: Tensor, first: int = 0) -> Evidence:
        """What an estimate of the noise (1 c n h w) of the frames from index `first` on says of this key and seed."""
        indices = range(first, first + noise.shape[2])
        signs = self.signs(indices, (noise.shape[1], *noise.shape[3:]))
        return Evidence(float((noise[0] * signs).sum()), float(noise.square().sum()))


def every_pattern(key: MasterKey) -> Iterator[LatentMark]:
    """All patterns of a key."""
    return (LatentMark(key, seed) for seed in range(PATTERNS))
