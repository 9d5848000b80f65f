"""How near a picture is to its truth: PSNR, SSIM and a measure made to agree with what people see.

Axes: pictures n 3 h w in [-1, 1]; every function answers n numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.299, 0.587, 0.114)


def squared_error(made: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error where the whole range counts as 1."""
    return ((made - truth) / 2).square().mean((1, 2, 3))


def psnr(error: Tensor) -> Tensor:
    """dB of a mean squared error whose full range is 1."""
    return -10 * torch.log10(error.clamp(min=1e-10))


def grey(pictures: Tensor) -> Tensor:
    """Brightness in 0..255, n 1 h w."""
    weights = pictures.new_tensor(_LUMA).view(1, 3, 1, 1)
    return ((pictures + 1) * 127.5 * weights).sum(1, keepdim=True)


def ssim(made: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity, 1 is equal (Wang et al. 2004), on brightness under a Gaussian of 1.5 pixels."""
    x, y = grey(made), grey(truth)
    offsets = torch.arange(-5, 6, device=x.device, dtype=x.dtype)
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    line = line / line.sum()

    def blur(plane: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(plane, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    cov = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (
        (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    )
    return index.mean((1, 2, 3))


def gmsd(made: Tensor, truth: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation, 0 is equal (Xue et al. 2014, arXiv:1308.3052, constants there)."""
    kernel = made.new_tensor([[1, 0, -1]] * 3).view(1, 1, 3, 3) / 3
    both = torch.cat([kernel, kernel.transpose(2, 3)])

    def edges(pictures: Tensor) -> Tensor:
        small = F.avg_pool2d(grey(pictures), 2)
        return F.conv2d(small, both).square().sum(1).sqrt()

    a, b = edges(made), edges(truth)
    similarity = (2 * a * b + 170.0) / (a**2 + b**2 + 170.0)
    return similarity.flatten(1).std(1, correction=0)
