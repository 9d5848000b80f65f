"""How noise levels fall and how a step is made from the estimate of the clean latents: one solver for a whole window.

| solver | levels | step |
|---|---|---|
| euler | from 1 to 0, evenly before the shift | along the straight line to the estimate |
| flow | those of diffusers' `FlowMatchEulerDiscreteScheduler` | the same |
| unipc | those of diffusers' `UniPCMultistepScheduler` (flow sigmas) | second order, each step corrected by the next |
| renoise | evenly, or as distilled to | the estimate, noised anew: for models distilled to few steps (DMD) |

Frames that are given take part and are put back by the sampler. Latents b c f h w; levels are numbers in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from longtake.diffusion import flow

Name = Literal["euler", "flow", "unipc", "renoise"]
_LAST = 1 / 1000  # of 1000 training steps, the last one
_NEARLY_ONE = 1 - 1e-6  # the logarithm of the signal's share must be finite


class Solver(Protocol):
    """Made for one window; may remember earlier steps."""

    def step(self, x: Tensor, x0: Tensor, now: float, following: float) -> Tensor:
        """Latents at `now` and their clean estimate -> latents at `following`."""
        ...


def levels(
    name: Name, steps: int, shift: float, start: float = 1.0, distilled: Sequence[float] = ()
) -> Tensor:
    """The `steps + 1` falling noise levels of this solver, from `start` to exactly 0.

    `distilled`: those that the model was distilled to, taken where they are as many and nothing is begun midway.
    """
    if len(distilled) == steps and start == 1:
        return torch.tensor([*distilled, 0.0])
    if name in ("euler", "renoise"):
        return flow.schedule(steps, shift, start)
    if name == "flow":
        last = flow.shifted(torch.tensor(_LAST, dtype=torch.float64), shift).item()
        even = torch.linspace(1, last, steps, dtype=torch.float64)
    else:
        even = torch.linspace(1, _LAST, steps + 1, dtype=torch.float64)[:-1]
    first = start / (shift - (shift - 1) * start)
    falling = flow.shifted(even * first, shift)
    if name == "unipc":
        falling[0] = min(_NEARLY_ONE, falling[0].item())
    return torch.cat([falling, torch.zeros(1, dtype=torch.float64)]).float()


def solver(name: Name, generator: torch.Generator) -> Solver:
    """A fresh solver. `generator` is a CPU generator, used by `renoise` alone."""
    if name not in get_args(Name):
        raise ValueError(f"unknown solver {name!r}; choose one of {', '.join(get_args(Name))}")
    if name == "unipc":
        return UniPC()
    return Renoise(generator) if name == "renoise" else Euler()


class Euler:
    def step(self, x: Tensor, x0: Tensor, now: float, following: float) -> Tensor:
        """x + (s' - s) (x - x0) / s."""
        return x + (following - now) * (x - x0) / now


class Renoise:
    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def step(self, x: Tensor, x0: Tensor, now: float, following: float) -> Tensor:
        """(1 - s') x0 + s' noise."""
        if following == 0:
            return x0
        return (1 - following) * x0 + following * torch.randn(x.shape, generator=self._generator)


class UniPC:
    """UniPC-2 with B(h) = e^h - 1 in data prediction (Zhao et al. 2023, arXiv:2302.04867, algorithms 1 and 2).

    With lambda = log((1 - s) / s) and h its growth over a step; the last step is of first order.
    """

    def __init__(self) -> None:
        self._estimates: list[Tensor] = []
        self._levels: list[float] = []
        self._before: Tensor | None = None  # x at the step before, corrected
        self._order = 0

    def step(self, x: Tensor, x0: Tensor, now: float, following: float) -> Tensor:
        if self._before is not None:
            x = self._corrected(x0, now)
        self._estimates, self._levels = [*self._estimates[-1:], x0], [*self._levels[-1:], now]
        self._order = 1 if following == 0 else min(2, len(self._estimates))
        self._before = x
        h, linear = self._line(x, now, following)
        if self._order == 1:
            return linear
        slope = self._slope(self._estimates[0], self._estimates[1], self._levels, h)
        return linear - (1 - following) * math.expm1(-h) * 0.5 * slope

    def _line(self, x: Tensor, now: float, following: float) -> tuple[float, Tensor]:
        """The first-order step, and h."""
        h = _log_ratio(following) - _log_ratio(now)
        return h, following / now * x - (1 - following) * math.expm1(-h) * self._estimates[-1]

    @staticmethod
    def _slope(older: Tensor, newer: Tensor, at: list[float], h: float) -> Tensor:
        """Difference of two estimates, a step of h long."""
        return (older - newer) * (h / (_log_ratio(at[0]) - _log_ratio(at[1])))

    def _corrected(self, x0: Tensor, now: float) -> Tensor:
        """The step that led here, made again with what is known here."""
        assert self._before is not None
        h, linear = self._line(self._before, self._levels[-1], now)
        grown = math.expm1(-h)
        difference = x0 - self._estimates[-1]
        if self._order == 1:
            return linear - (1 - now) * grown * 0.5 * difference
        ratio = (_log_ratio(self._levels[0]) - _log_ratio(self._levels[1])) / h
        phi = grown / -h - 1
        b1 = phi / grown
        b2 = 2 * (phi / -h - 0.5) / grown
        of_past = (b2 - b1) / (ratio - 1)  # of rho1 + rho2 = b1, rho1 ratio + rho2 = b2
        slope = self._slope(self._estimates[0], self._estimates[1], self._levels, h)
        return linear - (1 - now) * grown * (of_past * slope + (b1 - of_past) * difference)


def _log_ratio(level: float) -> float:
    """lambda: log of signal over noise."""
    return math.inf if level == 0 else math.log1p(-level) - math.log(level)
