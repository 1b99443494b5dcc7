"""Losses between predicted and true landmarks: one value per face, so that a batch's loss is their plain mean.

Points are in units of the crop's side (0 to 1), which makes a loss independent of the crop's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def rmse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Root of the mean squared coordinate error of each face [B], from points [B, n, 2]."""
    # The root's slope is infinite at zero; the constant is a millionth of a pixel.
    return ((prediction - truth).square().mean(dim=(-1, -2)) + 1e-16).sqrt()


def l1(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute coordinate error of each face [B], from points [B, n, 2]."""
    return (prediction - truth).abs().mean(dim=(-1, -2))


def smooth_l1(prediction: Tensor, truth: Tensor, beta: float = 0.01) -> Tensor:
    """Quadratic below ``beta`` (1% of the crop's side) and linear above (Girshick, 2015), per face [B]."""
    return torch.nn.functional.smooth_l1_loss(prediction, truth, reduction="none", beta=beta).mean(dim=(-1, -2))


def wing(prediction: Tensor, truth: Tensor, width: float = 10 / 256, curvature: float = 2 / 256) -> Tensor:
    """Wing loss (Feng et al., CVPR 2018), per face [B]; its w = 10 and epsilon = 2 were set in pixels of a 256 px crop."""
    error = (prediction - truth).abs()
    offset = width - width * math.log1p(width / curvature)
    return torch.where(error < width, width * torch.log1p(error / curvature), error - offset).mean(dim=(-1, -2))


LOSSES: dict[str, Loss] = {"rmse": rmse, "l1": l1, "smooth_l1": smooth_l1, "wing": wing}
