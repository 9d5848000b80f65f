"""How near a film is to another: PSNR and SSIM."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from longtake.evaluate.attacks import Frames


def psnr(a: Frames, b: Frames) -> float:
    error = np.mean([np.square(x.astype(np.float32) - y).mean() for x, y in zip(a, b, strict=True)])
    return float(10 * np.log10(255**2 / max(float(error), 1e-9)))


def ssim(a: Frames, b: Frames) -> float:
    """Of brightness, Gaussian window of 11 pixels (Wang et al. 2004)."""
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    kernel = (line / line.sum())[:, None] * (line / line.sum())
    weights = torch.tensor([0.2126, 0.7152, 0.0722])

    def blur(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x[:, None], kernel[None, None])[:, 0]

    values = []
    for one, two in zip(a, b, strict=True):
        x, y = (torch.from_numpy(np.ascontiguousarray(f)).float().matmul(weights)[None] for f in (one, two))
        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2)))
    return float(torch.stack([v.mean() for v in values]).mean())
