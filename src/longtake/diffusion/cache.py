"""Step caching: a denoiser that answers some of the steps from the steps before, without the network.

Along the flow the velocity bends slowly. It is carried on in a straight line from the last two computed steps for as
long as the error expected of that stays below `tolerance`: half of the relative change a unit of noise level, seen
between those two, times the distance from the last one. So it needs no calibration and knows no model. The idea of
skipping by an estimated change is TeaCache's (Liu et al. 2024, arXiv:2411.19108), the forecast TaylorSeer's first order
(Liu et al. 2025, arXiv:2503.06923); here both work on the denoiser's answer.
Axes: latents b c f h w, noise levels b f.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longtake.diffusion import flow
from longtake.diffusion.sample import DenoiseAt

LONGEST = 4
"""As many steps in a row as are answered without the network."""


def cached(denoise: DenoiseAt, tolerance: float) -> DenoiseAt:
    """This denoiser with a step cache, or as it is when the tolerance is 0."""
    return StepCache(denoise, tolerance) if tolerance else denoise


class StepCache:
    """Wraps a denoiser; `computed` and `reused` count the steps. A new run is noticed by its rising noise level.

    `tolerance` is the relative error of the velocity that a reused step may have: 0 computes every step. Frames that
    are given (at a noise level of their own) take no part in the estimate.
    """

    def __init__(self, denoise: DenoiseAt, tolerance: float) -> None:
        if not 0 <= tolerance < 1:
            raise ValueError(f"the tolerance of the step cache must lie in [0, 1), not {tolerance}")
        self._denoise, self._tolerance = denoise, tolerance
        self._seen: list[tuple[float, Tensor]] = []  # the last two computed: (noise level, velocity)
        self._place: Tensor | None = None
        self._row = 0
        self._last = -1.0
        self.computed = self.reused = 0

    def __call__(self, x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        """(x_s b c f h w, sigma b f, positions f) -> x0."""
        level = sigma.max().item()
        if self._is_new(x, level, positions):
            self._seen, self._row, self._place = [], 0, positions
        self._last = level
        velocity = self._forecast(level)
        if velocity is not None:
            self._row, self.reused = self._row + 1, self.reused + 1
            return x - flow.over_latents(sigma) * velocity
        self._row, self.computed = 0, self.computed + 1
        x0 = self._denoise(x, sigma, positions)
        made = flow.over_latents((sigma == level).to(x.dtype))
        self._seen = [*self._seen[-1:], (level, made * flow.to_velocity(x0, x, sigma, "x0"))]
        return x0

    def _is_new(self, x: Tensor, level: float, positions: Tensor) -> bool:
        return (
            self._place is None
            or level >= self._last
            or not torch.equal(positions, self._place)
            or any(velocity.shape != x.shape for _, velocity in self._seen)
        )

    def _forecast(self, level: float) -> Tensor | None:
        """The velocity at this level, or None when it must be computed."""
        if len(self._seen) < 2 or self._row >= LONGEST:
            return None
        (before, older), (latest, newer) = self._seen
        slope = (newer - older) / (latest - before)
        expected = 0.5 * (slope.norm() * abs(level - latest) / newer.norm().clamp(min=1e-12)).item()
        return newer + (level - latest) * slope if expected < self._tolerance else None
