"""The invisible mark: a keyed pattern added to the brightness of every frame, stronger where the picture hides it.

Streaming, one frame at a time. The strength follows from what structural similarity forgives: with local variance v,
SSIM falls by about d^2 / (2 v + c2) for an added d^2 (Wang et al. 2004, contrast-structure term); of waves longer than
its window it sees little. Each frame is given as much as costs it COST and does not show where the picture is even,
and never less than 42 dB unless it is noise itself.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from longtake.provenance import payload
from longtake.provenance.keys import MasterKey
from longtake.provenance.pattern import MOVING, SIDE, TORUS, band, layer
from longtake.video import Frame

SMALLEST = 256
"""Pixels of the shorter side below which the mark would not hold, so none is made."""
COST = 0.0078
"""Of structural similarity, on average over a frame."""
SSIM_WINDOW = 1.5
"""Standard deviation of its Gaussian window, in pixels."""
LEANING = 0.35
"""0.5 spends the cost evenly. Less leans on calm places, where less of the picture's own drowns the mark: busy ones are
then marked less than they are forgiven."""
PSNR = 42.1
"""dB that a mark costs at most."""
EVEN = 1.1
"""Standard deviation of the mark where a picture of 360 lines is even: more would be seen as mottling in a clear sky.
Larger pictures have more room, and get a weaker mark of the same certainty."""
BUSY = 1000.0
"""Local variance, on average over a frame, from which a picture is noise rather than a picture (real clips have 40 to
670, noise 2,000 to 5,000): what is there drowns a mark of 42 dB, and hides a louder one."""
_C2 = (0.03 * 255) ** 2
_STRONGEST = 6.0
TURN = 1.0
"""Seconds a moving layer is shown."""
FADE = 0.25
"""Of a turn, in which it gives way to the next one, so that nothing jumps."""

Plane = np.ndarray[Any, np.dtype[np.float32]]


def markable(width: int, height: int) -> bool:
    return min(width, height) >= SMALLEST


class Marker:
    """Marks the frames of one film, in order. `ident` is the 40-bit id of the payload."""

    def __init__(self, width: int, height: int, ident: int, key: MasterKey, cost: float = COST) -> None:
        if not markable(width, height):
            raise ValueError(
                f"{width}x{height} is too small to mark: the shorter side needs {SMALLEST} pixels"
            )
        short = min(width, height)
        self._size = height, width
        self._cost, self._even = cost / _seen(short), EVEN * math.sqrt(360 / short)
        self._bits, self._key = payload.encode(ident, key), key
        self._layer = lru_cache(maxsize=3)(self._make_layer)
        self._mixed: tuple[tuple[int, int, float], Tensor] | None = None

    def apply(self, frame: Frame, seconds: float) -> Frame:
        """A marked copy of the frame [h w 3] that is shown at this time."""
        delta = self._pattern(seconds) * _amplitude(frame, self._cost, self._even, self._size)
        return _add(frame, delta.round_().to(torch.int8).numpy())

    def _pattern(self, seconds: float) -> Tensor:
        """Half of the energy stands still, half takes turns; standard deviation 1 throughout."""
        turn, part = divmod(seconds / TURN, 1)
        late = max(0.0, (part - (1 - FADE)) / FADE)
        mix = int(turn) % MOVING, (int(turn) + 1) % MOVING, round(late, 3)
        if self._mixed is None or self._mixed[0] != mix:
            angle = mix[2] * math.pi / 2
            plane = self._layer(0) + math.cos(angle) * self._layer(1 + mix[0])
            if late:
                plane = plane + math.sin(angle) * self._layer(1 + mix[1])
            self._mixed = mix, plane * math.sqrt(0.5)
        return self._mixed[1]

    def _make_layer(self, number: int) -> Tensor:
        return _draw(layer(self._key, number).pattern(self._bits), self._size)


def _seen(short: int) -> float:
    """The share of the mark's energy that varies inside SSIM's window, in a picture of this shorter side."""
    rows, columns = np.divmod(band(), TORUS // 2 + 1)
    cycles = np.hypot(np.fft.fftfreq(TORUS)[rows], np.fft.rfftfreq(TORUS)[columns]) * SIDE / short
    return float(1 - np.exp(-((2 * math.pi * SSIM_WINDOW * cycles) ** 2)).mean())


def _draw(pattern: Plane, size: tuple[int, int]) -> Tensor:
    """The part of the torus that a picture of this size covers, at its resolution."""
    scale = SIDE / min(size)
    grid = [(torch.arange(n) + 0.5) * scale - 0.5 for n in size]
    # One torus in [-1, 1] with a margin of wrapped pixels, so that the interpolation never meets an edge.
    tiles = [math.ceil(n * scale / TORUS) for n in size]
    margin = 4
    wide = torch.from_numpy(np.pad(np.tile(pattern, tiles), margin, mode="wrap"))
    axes = [(2 * (g + margin) + 1) / n - 1 for g, n in zip(grid, wide.shape, strict=True)]
    where = torch.stack(torch.meshgrid(axes[1], axes[0], indexing="xy"), -1)
    drawn = F.grid_sample(wide[None, None], where[None], mode="bicubic", align_corners=False)[0, 0]
    return drawn / drawn.std()


def _amplitude(frame: Frame, cost: float, even: float, size: tuple[int, int]) -> Tensor:
    """Standard deviation of the mark at each pixel, smooth, [h w]; `even` where the picture is. Green on a sparse grid
    stands for brightness."""
    step = max(1, min(size) // 192)
    sparse = frame[step // 2 :: step, step // 2 :: step, 1].astype(np.float32)
    y = torch.from_numpy(sparse)[None, None]
    mean = F.avg_pool2d(y, 6, 3, 3, count_include_pad=False)
    variance = (F.avg_pool2d(y * y, 6, 3, 3, count_include_pad=False) - mean * mean).clamp_(min=0)
    calm = -F.max_pool2d(-variance, 3, 1, 1)  # the calmest neighbour has a say: no halo around edges
    hidden = variance + calm + _C2
    amplitude = hidden**LEANING
    amplitude *= (cost / (amplitude.square() / hidden).mean()).sqrt()
    torch.minimum(amplitude, (even * (hidden / _C2).sqrt_()).clamp_(max=_STRONGEST), out=amplitude)
    loudest = 255 / 10 ** (PSNR / 20) * max(1.0, float(variance.mean()) / BUSY)
    amplitude *= min(1.0, loudest / float(amplitude.square().mean().sqrt()))
    return F.interpolate(amplitude, size=size, mode="bilinear", align_corners=False)[0, 0]


def _add(frame: Frame, delta: np.ndarray[Any, np.dtype[np.int8]]) -> Frame:
    """Add to all three colours, which adds to brightness alone; held within 0..255 without leaving bytes."""
    up, down = np.maximum(delta, 0).view(np.uint8), np.maximum(-delta, 0).view(np.uint8)
    most = 255 - up
    marked = np.empty_like(frame)
    for channel in range(3):
        plane = np.minimum(frame[..., channel], most)
        plane += up
        np.maximum(plane, down, out=plane)
        plane -= down
        marked[..., channel] = plane
    return marked
