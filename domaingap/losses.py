"""Losses between predicted and true landmarks: one value per face, so that a batch's loss is their plain mean.

Points are in units of the crop's side (0 to 1), which makes a loss independent of the crop's size. An entry of
:data:`LOSSES` is all that a loss needs: settings, ``--help`` and the network's head follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the settings read the names of the losses, and importing torch takes a second
    from torch import Tensor


def rmse(prediction: Tensor, truth: Tensor) -> Tensor:
    """Root of the mean squared coordinate error of each face [B], from points [B, n, 2]."""
    # The root's slope is infinite at zero; the constant is a millionth of a pixel.
    return ((prediction - truth).square().mean(dim=(-1, -2)) + 1e-16).sqrt()


def l1(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute coordinate error of each face [B], from points [B, n, 2]."""
    return (prediction - truth).abs().mean(dim=(-1, -2))


def smooth_l1(prediction: Tensor, truth: Tensor, beta: float = 0.01) -> Tensor:
    """Quadratic below ``beta`` (1% of the crop's side) and linear above (Girshick, 2015), per face [B]."""
    from torch.nn.functional import smooth_l1_loss

    return smooth_l1_loss(prediction, truth, reduction="none", beta=beta).mean(dim=(-1, -2))


def wing(prediction: Tensor, truth: Tensor, width: float = 10 / 256, curvature: float = 2 / 256) -> Tensor:
    """Wing loss (Feng et al., CVPR 2018), per face [B]; its w = 10 and epsilon = 2 were set in pixels of a 256 px crop."""
    error = (prediction - truth).abs()
    offset = width - width * math.log1p(width / curvature)
    return (width * (error / curvature).log1p()).where(error < width, error - offset).mean(dim=(-1, -2))


def gaussian_nll(prediction: Tensor, truth: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian negative log-likelihood of each face [B], from points [B, n, 2] and a standard deviation of each [B, n].

    A point's x and y are independent normal variables of one standard deviation: minus the logarithm of their density
    ``exp(-|p - t|² / (2 σ²)) / (2 π σ²)`` is ``log σ² + |p - t|² / (2 σ²)`` and a constant, log 2π, which is left out.
    Summed over the landmarks (Wood et al., 3D Face Reconstruction with Dense Landmarks, ECCV 2022, eq. 1).
    """
    squared = (prediction - truth).square().sum(dim=-1)
    return (2 * sigma.log() + squared / (2 * sigma.square())).sum(dim=-1)


def star(prediction: Tensor, truth: Tensor, covariance: Tensor, scale: float = 0.01, floor: float = 1e-5) -> Tensor:
    """STAR loss (Zhou et al., CVPR 2023) of each face [B], from points [B, n, 2] and heatmaps' covariances [B, n, 2, 2].

    A point's error is split along the two principal directions of its heatmap, and each part's smooth L1 distance divided by
    the root of that direction's variance λ: an error along a contour, where people don't agree either, weighs less. The sum
    λ₁ + λ₂ is added, or heatmaps would grow without end. As published, in units of half the crop's side, with smooth L1
    quadratic below ``scale`` and ``floor`` added to variances.

    Their heatmaps have a loss of their own, and several stages; here it is the whole loss of one. Directions are taken as
    given: their slopes are infinite for a round heatmap. Those of variances are exact all the same.
    """
    import torch
    from torch.nn.functional import smooth_l1_loss

    error, spread = 2 * (prediction - truth), 4 * covariance
    a, b, c = (value.detach() for value in (spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]))
    angle = torch.atan2(2 * b, a - c) / 2  # of the direction of the larger variance
    along = torch.stack([angle.cos(), angle.sin()], dim=-1)
    directions = torch.stack([along, torch.stack([-along[..., 1], along[..., 0]], dim=-1)], dim=-2)
    variances = (directions @ spread @ directions.mT).diagonal(dim1=-2, dim2=-1).clamp_min(0)
    parts = (directions @ error.unsqueeze(-1)).squeeze(-1)
    distances = smooth_l1_loss(parts, torch.zeros_like(parts), reduction="none", beta=scale)
    return (distances / (variances + floor).sqrt() + variances).sum(dim=-1).mean(dim=-1)


@dataclass(frozen=True)
class Loss:
    """A loss as training needs it.

    Attributes:
        per_face: from points [B, n, 2], the truth's, and, where ``needs_sigma``, standard deviations [B, n], or, where
            ``needs_covariance``, heatmaps' covariances [B, n, 2, 2], to [B].
        needs_sigma: whether the network has to answer a standard deviation per landmark.
        needs_covariance: whether it has to answer by heatmaps.
    """

    per_face: Callable[..., Tensor]
    needs_sigma: bool = False
    needs_covariance: bool = False

    def __call__(
        self, prediction: Tensor, truth: Tensor, sigma: Tensor | None = None, covariance: Tensor | None = None
    ) -> Tensor:
        """The loss of each face [B]."""
        if self.needs_covariance:
            return self.per_face(prediction, truth, covariance)
        return self.per_face(prediction, truth, sigma) if self.needs_sigma else self.per_face(prediction, truth)


LOSSES: dict[str, Loss] = {
    "rmse": Loss(rmse),
    "l1": Loss(l1),
    "smooth_l1": Loss(smooth_l1),
    "wing": Loss(wing),
    "gaussian_nll": Loss(gaussian_nll, needs_sigma=True),
    "star": Loss(star, needs_covariance=True),
}

HEADS = ("regression", "soft_argmax")
"""How a network comes from features to points."""


def loss_problem(loss: str, head: str) -> str | None:
    """What is wrong with a loss for a head; None where nothing is."""
    if LOSSES[loss].needs_covariance and head != "soft_argmax":
        return f"is {loss}, which needs the spread of heatmaps; give --model.head soft_argmax with it"
    return None
