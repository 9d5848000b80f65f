"""The one noise process: sampler and trainer both take it from here and nowhere else.

Rectified flow between data and unit Gaussian noise, with a noise level of its own for every latent frame
(diffusion forcing, Chen et al. 2024, arXiv:2407.01392):

    x_s = (1 - s) x + s eps          s = sigma: 0 is clean, 1 is pure noise
    v   = d x_s / d s = eps - x      so a step from s to s' is  x_s' = x_s + (s' - s) v

Knows nothing of networks, text or tasks.  Axes: latents `b c f h w`, noise levels `b f`.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange, reduce
from torch import Tensor

Prediction = Literal["v", "x0"]

KNOWN, INDEPENDENT, STAIRCASE = 1, 2, 3  # pattern 0: one level for all frames
PATTERN_SHARES = (0.60, 0.24, 0.08, 0.08)
"""Mostly what text to video meets. With 0.35 a step of 16 clips held two that were pure noise, one of 96 stills 34:
what things look like was learned, and what they do was not."""
KNOWN_SHARES = (0.45, 0.20, 0.20, 0.15)  # prefix, suffix, both ends, random frames
SLOT_KNOWN_SHARE = 0.75  # how often an image slot is given rather than made
HISTORY_SIGMA = 0.15  # half of the known frames are clean, the others noised up to this
STRIDE_KNOWN, STRIDE_BETWEEN = 0.4, 0.25  # of draw_strides: frames given; levels where an edit may begin
LOGIT_STD = 1.2
NOISE_SHARE = 0.4
"""How often one level for all frames is exactly 1, where a sampler begins. A hair below, the mean over a whole picture
still tells whether it is bright or dark, and a model that can see that never learns to be told: with levels drawn
from 0.98..1 instead, "at night" and "at noon" gave the same picture."""
TWIN_NOISE_SHARE = 0.8
"""The same for batches of twins, which are there for what is decided at pure noise."""


def shifted(u: Tensor, shift: float) -> Tensor:
    """Move noise levels in [0, 1] towards noise: k u / (1 + (k - 1) u) (Esser et al. 2024, eq. 23)."""
    return shift * u / (1 + (shift - 1) * u)


def unshifted(sigma: Tensor, shift: float) -> Tensor:
    """The inverse of `shifted`."""
    return sigma / (shift - (shift - 1) * sigma)


def schedule(steps: int, shift: float = 2.5, start: float = 1.0) -> Tensor:
    """The `steps + 1` falling noise levels of a run, from `start` (1 is pure noise) to exactly 0."""
    if steps < 1 or shift <= 0 or not 0 < start <= 1:
        raise ValueError(
            f"a schedule needs steps >= 1, shift > 0, 0 < start <= 1; got {steps}, {shift}, {start}"
        )
    levels = shifted(torch.linspace(1, 0, steps + 1) * unshifted(torch.tensor(start), shift), shift)
    levels[0] = start
    return levels


def over_latents(sigma: Tensor) -> Tensor:
    """Shape noise levels per frame so that they broadcast over latents."""
    return rearrange(sigma, "b f -> b 1 f 1 1")


def add_noise(x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Clean latents and unit noise (both b c f h w) at `sigma` (b f) -> x_s."""
    s = over_latents(sigma)
    return (1 - s) * x + s * noise


def target(x: Tensor, noise: Tensor, prediction: Prediction) -> Tensor:
    """What a network of this prediction type should answer."""
    return x if prediction == "x0" else noise - x


def to_x0(output: Tensor, x_s: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
    """Network output -> estimate of the clean latents."""
    return output if prediction == "x0" else x_s - over_latents(sigma) * output


def to_velocity(output: Tensor, x_s: Tensor, sigma: Tensor, prediction: Prediction) -> Tensor:
    """Network output -> velocity.  From x0 it is (x_s - x0) / s, and 0 on clean frames, which stay."""
    if prediction == "v":
        return output
    s = over_latents(sigma)
    return torch.where(s > 0, (x_s - output) / s.clamp(min=1e-6), 0.0)


def step(x_s: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One Euler step from noise levels `sigma` to `sigma_next` (both b f)."""
    return x_s + over_latents(sigma_next - sigma) * velocity


def loss_weight(sigma: Tensor) -> Tensor:
    """Weight of the squared error of x0: a ramp that favours clean frames (Dreamer 4, Hafner et al. 2025).

    It ends at 0.5, not near 0: what is decided at pure noise (who, where, which way) is decided by the words.
    """
    return 0.5 * (1 - sigma) + 0.5


def loss(x0: Tensor, x: Tensor, sigma: Tensor, carries_loss: Tensor, weight: Tensor | None = None) -> Tensor:
    """Ramp-weighted squared error of the estimate `x0` against `x`, averaged over frames that carry loss.

    `sigma` and the boolean `carries_loss` are b f; `weight` (b f h w, mean about 1) may favour subjects.
    Returns a scalar in float32; 0 where no frame carries loss.
    """
    error = reduce((x0.float() - x.float()).square(), "b c f h w -> b f h w", "mean")
    if weight is not None:
        error = error * weight
    per_frame = reduce(error, "b f h w -> b f", "mean") * loss_weight(sigma)
    return (per_frame * carries_loss).sum() / carries_loss.sum().clamp(min=1)


def twin_loss(x0: Tensor, x: Tensor, sigma: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of what twins differ in, over pairs that are nothing but noise; rows 2i and 2i + 1 are twins.

    Of two films that one word sets apart and no chance does, half the sum of the squared errors is that of their
    mean plus that of half their difference. At pure noise the answer is a mean over films, so the second part may
    weigh more without moving the minimum: it holds all that the word does, and nothing of who stands where. In the
    loss of single clips it drowns: which way somebody walks explains under 1 % of what is to be explained there.
    Axes as in `loss`. Returns a scalar; 0 where no pair is pure noise.
    """
    first, second = rearrange(x0.float() - x.float(), "(b two) c f h w -> two b c f h w", two=2).unbind()
    error = reduce((first - second).square() / 2, "b c f h w -> b f h w", "mean")
    if weight is not None:
        error = error * reduce(weight, "(b two) f h w -> b f h w", "max", two=2)
    noise = reduce(sigma.eq(1).float(), "(b two) f -> b", "min", two=2)
    return (reduce(error, "b f h w -> b", "mean") * noise).sum() / noise.sum().clamp(min=1)


def draw_sigmas(
    batch: int,
    frames: int,
    generator: torch.Generator,
    shift: float = 2.5,
    slot: bool = False,
    noise_share: float = NOISE_SHARE,
) -> tuple[Tensor, Tensor]:
    """Noise levels for a training batch -> (sigma, carries_loss), both b f, on the generator's device.

    One sequence in each pattern of `PATTERN_SHARES`: one level for all frames; a known set at (nearly) no
    noise; independent levels; a staircase rising in time.  Clean frames carry no loss.  With `slot`, frame 0
    is an image slot: usually known, otherwise made together with the clip, which takes its pattern alone.
    `noise_share` of those with one level are pure noise.
    """
    device = generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    logits = LOGIT_STD * torch.randn(batch, 1, generator=generator, device=device)
    level = torch.where(uniform(batch, 1) < noise_share, 1.0, shifted(logits.sigmoid(), shift))
    sigma = level.expand(batch, frames)
    if frames == 1:
        return sigma.clone(), torch.ones_like(sigma, dtype=torch.bool)

    first, clip = (1, frames - 1) if slot else (0, frames)
    pattern = _choose(PATTERN_SHARES, batch, generator)
    middle, rise = 1.6 * uniform(batch, 1) - 0.3, 1 + 2 * uniform(batch, 1)
    staircase = (middle + rise * (torch.linspace(0, 1, clip, device=device) - 0.5)).clamp(0, 1)
    of_clip = torch.where(pattern == INDEPENDENT, uniform(batch, clip), sigma[:, first:])
    of_clip = torch.where((pattern == STAIRCASE) & (clip > 1), staircase, of_clip)
    sigma = torch.cat([sigma[:, :first], of_clip], 1)

    known = _known_sets(batch, clip, generator) & (pattern == KNOWN)
    if slot:
        known = torch.cat([uniform(batch, 1) < SLOT_KNOWN_SHARE, known], 1)
    sigma = torch.where(known, _history(batch, generator), sigma)
    return sigma, ~known & (sigma > 0)


def draw_strides(
    batch: int, frames: int, steps: int, generator: torch.Generator, shift: float = 2.5, slot: bool = False
) -> tuple[Tensor, Tensor]:
    """Where one step of a sampler of `steps` steps begins and ends -> levels before the shift, both b f.

    All frames that are made begin at one level, mostly one of the schedule; those that are given stay where they are,
    at (nearly) no noise: a known set in a share of `STRIDE_KNOWN`, and the image slot in front with `slot`.
    """
    device = generator.device

    def uniform() -> Tensor:
        return torch.rand(batch, 1, generator=generator, device=device)

    whole = torch.randint(1, steps + 1, (batch, 1), generator=generator, device=device) / steps
    between = 1 - (1 - 1 / steps) * uniform()
    begin = torch.where(uniform() < STRIDE_BETWEEN, between, whole).expand(batch, frames)
    end = (begin - 1 / steps).clamp(min=0)
    if frames == 1:
        return begin.clone(), end.clone()
    known = _known_sets(batch, frames - int(slot), generator) & (uniform() < STRIDE_KNOWN)
    if slot:
        known = torch.cat([torch.ones(batch, 1, dtype=torch.bool, device=device), known], 1)
    given = unshifted(_history(batch, generator), shift)
    return torch.where(known, given, begin), torch.where(known, given, end)


def _history(batch: int, generator: torch.Generator) -> Tensor:
    """Noise level of given frames: half of the time clean.  -> b 1"""
    draws = torch.rand(2, batch, 1, generator=generator, device=generator.device)
    return torch.where(draws[1] < 0.5, HISTORY_SIGMA * draws[0], 0.0)


def _choose(shares: tuple[float, ...], batch: int, generator: torch.Generator) -> Tensor:
    """An index for every sample, drawn with these probabilities.  -> b 1"""
    draw = torch.rand(batch, 1, generator=generator, device=generator.device)
    edges = torch.tensor(shares, device=generator.device).cumsum(0)[:-1]
    return torch.bucketize(draw, edges, right=True)


def _known_sets(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """Which frames are given: at least one is left to make; none in a clip of one frame.  -> b f bool"""
    device = generator.device
    index = torch.arange(frames, device=device)
    count = torch.randint(1, max(frames, 2), (batch, 1), generator=generator, device=device)
    count = count.clamp(max=frames - 1)
    order = torch.rand(batch, frames, generator=generator, device=device).argsort(1)
    head = (count + 1) // 2
    sets = torch.stack(
        [
            index < count,
            index >= frames - count,
            (index < head) | (index >= frames - (count - head)),
            order < count,
        ]
    )  # kind b f
    kind = _choose(KNOWN_SHARES, batch, generator)
    return sets.gather(0, kind.expand(batch, frames)[None])[0]
