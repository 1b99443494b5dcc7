"""Landmark metrics: pure functions on arrays of points, and torchmetrics classes on them.

Points are in **original-image pixels**, so that neither a crop's scale nor its aspect leaks in. NME, failure rate
and thresholds are in percent; AUC is a share between 0 and 1.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities.data import dim_zero_cat

from domaingap.landmarks import IBUG68, LandmarkScheme

Normalizer = Literal["outer_eye_corners", "pupils", "box", "box_diagonal"]
REGIONS = (*IBUG68.regions, "no_jaw")
THRESHOLDS = (8.0, 10.0)
"""Thresholds in percent of the normaliser at which failure rate and AUC are reported; both are in use."""


def normalizer_length(
    truth: Tensor, normalizer: Normalizer = "outer_eye_corners", scheme: LandmarkScheme = IBUG68
) -> Tensor:
    """The length [...] that errors are divided by, from true points [..., n, 2].

    ``outer_eye_corners``: distance of the outer eye corners (300-W, Sagonas et al. 2013). ``pupils``: distance of the
    means of the six points of each eye. ``box``: root of width times height of the points' box. ``box_diagonal``: its
    diagonal.

    Raises:
        ValueError: unknown normaliser, or a length of zero (all points in one place).
    """
    if normalizer == "outer_eye_corners":
        a, b = scheme.outer_corners
        length: Tensor = torch.linalg.vector_norm(truth[..., a, :] - truth[..., b, :], dim=-1)
    elif normalizer == "pupils":
        left, right = (truth[..., list(eye), :].mean(dim=-2) for eye in scheme.eyes)
        length = torch.linalg.vector_norm(left - right, dim=-1)
    elif normalizer in ("box", "box_diagonal"):
        sides = truth.amax(dim=-2) - truth.amin(dim=-2)
        length = sides.prod(dim=-1).sqrt() if normalizer == "box" else torch.linalg.vector_norm(sides, dim=-1)
    else:
        raise ValueError(f"unknown normalizer {normalizer!r}; known: {', '.join(get_args(Normalizer))}")
    if bool((length <= 0).any()):
        raise ValueError(f"the {normalizer} length of a face is zero: its error can't be normalised")
    return length


def normalized_mean_error(
    prediction: Tensor,
    truth: Tensor,
    normalizer: Normalizer = "outer_eye_corners",
    region: str = "all",
    scheme: LandmarkScheme = IBUG68,
) -> Tensor:
    """NME in percent of each face [...]: mean distance of predicted and true points over the truth's normaliser.

    Args:
        prediction: points [..., n, 2] in original-image pixels.
        truth: likewise.
        normalizer: see :func:`normalizer_length`; always taken from all points of the truth.
        region: a region of the scheme, ``all``, or ``no_jaw``.
        scheme: what the points are.

    Raises:
        ValueError: shapes that differ or don't fit the scheme.
    """
    if prediction.shape != truth.shape or truth.shape[-2:] != (scheme.n_points, 2):
        raise ValueError(
            f"expected two arrays [..., {scheme.n_points}, 2], got {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    prediction, truth = prediction.double(), truth.double()
    points = list(scheme.region_indices(region))
    distance = torch.linalg.vector_norm(prediction[..., points, :] - truth[..., points, :], dim=-1)
    nme: Tensor = 100 * distance.mean(dim=-1) / normalizer_length(truth, normalizer, scheme)
    return nme


def failure_rate(nme: Tensor, threshold: float) -> Tensor:
    """Share in percent of the faces [N] whose NME (percent) lies above the threshold (percent)."""
    return 100 * (nme > threshold).double().mean()


def area_under_ced(nme: Tensor, threshold: float) -> Tensor:
    """AUC@t, the area under the cumulative error distribution up to the threshold over the threshold, in [0, 1].

    The distribution is a step function, so the area is exact: 1 - mean(min(NME, t)) / t.
    """
    return 1 - nme.double().clamp(max=threshold).mean() / threshold


def ced_curve(nme: NDArray[Any], thresholds: NDArray[Any]) -> NDArray[np.float64]:
    """Cumulative error distribution: share [M] of the faces [N] with an NME of at most each threshold [M]."""
    return np.searchsorted(np.sort(nme), thresholds, side="right") / len(nme)


class _MeanOverFaces(Metric):  # type: ignore[misc] # torchmetrics takes minutes of type checking; it is skipped
    """Mean over faces of some function of each; the state is a sum and a count, so odd batches can't shift it."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, normalizer: Normalizer = "outer_eye_corners", region: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalizer: Normalizer = normalizer
        self.region = region
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def of_face(self, nme: Tensor) -> Tensor:
        """What is averaged, from the faces' NME [N]."""
        return nme

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add faces: predicted and true points [N, 68, 2] in original-image pixels."""
        values = self.of_face(normalized_mean_error(prediction, truth, self.normalizer, self.region))
        self.total += values.double().sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        return self.total / self.count


class NormalizedMeanError(_MeanOverFaces):
    """NME in percent, averaged over faces; see :func:`normalized_mean_error`."""


class FailureRate(_MeanOverFaces):
    """Share in percent of faces with an NME above ``threshold`` percent."""

    def __init__(self, threshold: float, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any) -> None:
        super().__init__(normalizer, **kwargs)
        self.threshold = threshold

    def of_face(self, nme: Tensor) -> Tensor:
        return 100 * (nme > self.threshold).double()


class AreaUnderCED(_MeanOverFaces):
    """AUC of the cumulative error distribution up to ``threshold`` percent, in [0, 1]; see :func:`area_under_ced`."""

    higher_is_better = True

    def __init__(self, threshold: float, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any) -> None:
        super().__init__(normalizer, **kwargs)
        self.threshold = threshold

    def of_face(self, nme: Tensor) -> Tensor:
        return 1 - nme.double().clamp(max=self.threshold) / self.threshold


class CumulativeErrorDistribution(Metric):  # type: ignore[misc]
    """The CED curve: shares [M] of faces at ``n_points`` thresholds [M] between 0 and ``threshold`` percent."""

    is_differentiable = False
    full_state_update = False
    nme: list[Tensor]

    def __init__(
        self, threshold: float = 10.0, n_points: int = 201, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.normalizer: Normalizer = normalizer
        self.thresholds = np.linspace(0, threshold, n_points)
        self.add_state("nme", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add faces: predicted and true points [N, 68, 2] in original-image pixels."""
        self.nme.append(normalized_mean_error(prediction, truth, self.normalizer))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Thresholds [M] in percent and shares [M]."""
        shares = ced_curve(dim_zero_cat(self.nme).cpu().numpy(), self.thresholds)
        return torch.from_numpy(self.thresholds), torch.from_numpy(shares)


def landmark_metrics(prefix: str = "") -> MetricCollection:
    """All scalar metrics under the names that results, W&B and reports share: ``nme``, ``nme_jaw``, ``nme_pupils``,
    ``fr@8``, ``auc@8`` and so on, each behind ``prefix``."""
    metrics: dict[str, Metric] = {"nme": NormalizedMeanError()}
    metrics |= {f"nme_{region}": NormalizedMeanError(region=region) for region in REGIONS}
    normalizers: tuple[Normalizer, ...] = ("pupils", "box", "box_diagonal")
    metrics |= {f"nme_{normalizer}": NormalizedMeanError(normalizer) for normalizer in normalizers}
    metrics |= {f"fr@{threshold:g}": FailureRate(threshold) for threshold in THRESHOLDS}
    metrics |= {f"auc@{threshold:g}": AreaUnderCED(threshold) for threshold in THRESHOLDS}
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)


def score(prediction: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Every scalar metric of predicted and true points [N, 68, 2] in original-image pixels, by name."""
    collection = landmark_metrics()
    collection.update(torch.from_numpy(np.asarray(prediction)), torch.from_numpy(np.asarray(truth)))
    return {name: float(value) for name, value in collection.compute().items()}
