"""Landmark metrics: pure functions on arrays of points, and torchmetrics classes on them.

Points are in **original-image pixels**, so that neither a crop's scale nor its aspect leaks in. NME, failure rate
and thresholds are in percent; AUC is a share between 0 and 1.
"""

from __future__ import annotations

import abc
import math
import statistics
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities.data import dim_zero_cat

from domaingap.landmarks import IBUG68, LandmarkScheme
from domaingap.statistics import ClusterBootstrap, Interval

Normalizer = Literal["outer_eye_corners", "pupils", "box", "box_diagonal"]


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


def ced_curve(nme: NDArray[Any], thresholds: NDArray[Any]) -> NDArray[np.float64]:
    """Cumulative error distribution: share [M] of the faces [N] with an NME of at most each threshold [M]."""
    return np.searchsorted(np.sort(nme), thresholds, side="right") / len(nme)


class _OverFaces(Metric):  # type: ignore[misc] # torchmetrics takes minutes of type checking; it is skipped
    """A statistic over faces of some function of each one's NME.

    Attributes:
        unit: ``%``, or nothing for a share between 0 and 1.
        digits: decimals in print.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    unit = "%"
    digits = 2

    def __init__(self, normalizer: Normalizer = "outer_eye_corners", region: str = "all", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalizer: Normalizer = normalizer
        self.region = region

    def of_face(self, nme: Tensor) -> Tensor:
        """What the statistic is of, from the faces' NME [N]."""
        return nme

    def per_face(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """What the statistic is of [N], from predicted and true points [N, 68, 2] in original-image pixels."""
        return self.of_face(normalized_mean_error(prediction, truth, self.normalizer, self.region)).double()

    def text(self, value: float) -> str:
        """A value in print, without its unit."""
        return f"{value:.{self.digits}f}"


class _MeanOverFaces(_OverFaces):
    """A mean; the state is a sum and a count, so odd batches can't shift it."""

    total: Tensor
    count: Tensor

    def __init__(self, normalizer: Normalizer = "outer_eye_corners", region: str = "all", **kwargs: Any) -> None:
        super().__init__(normalizer, region, **kwargs)
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add faces: predicted and true points [N, 68, 2] in original-image pixels."""
        values = self.per_face(prediction, truth)
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        return self.total / self.count

    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        """The metric and its interval, from :meth:`per_face` values [N] of the bootstrap's faces."""
        return bootstrap.mean(values)


class NormalizedMeanError(_MeanOverFaces):
    """NME in percent, averaged over faces; see :func:`normalized_mean_error`."""


class FailureRate(_MeanOverFaces):
    """Share in percent of faces with an NME above ``threshold`` percent."""

    digits = 1

    def __init__(self, threshold: float, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any) -> None:
        super().__init__(normalizer, **kwargs)
        self.threshold = threshold

    def of_face(self, nme: Tensor) -> Tensor:
        return 100 * (nme > self.threshold).double()


class AreaUnderCED(_MeanOverFaces):
    """AUC@t: area under the cumulative error distribution up to ``threshold`` percent over the threshold, in [0, 1].

    The distribution is a step function, so the area is exact: 1 - mean(min(NME, t)) / t.
    """

    higher_is_better = True
    unit = ""
    digits = 3

    def __init__(self, threshold: float, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any) -> None:
        super().__init__(normalizer, **kwargs)
        self.threshold = threshold

    def of_face(self, nme: Tensor) -> Tensor:
        return 1 - nme.double().clamp(max=self.threshold) / self.threshold


class _ValuesOverFaces(_OverFaces):
    """What no sum tells; the state is every face's value."""

    values: list[Tensor]

    def __init__(self, normalizer: Normalizer = "outer_eye_corners", region: str = "all", **kwargs: Any) -> None:
        super().__init__(normalizer, region, **kwargs)
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add faces: predicted and true points [N, 68, 2] in original-image pixels."""
        self.values.append(self.per_face(prediction, truth))

    def _all(self) -> NDArray[np.float64]:
        return np.asarray(dim_zero_cat(self.values).cpu().numpy())


class NMEPercentile(_ValuesOverFaces):
    """The NME in percent that ``percent`` of the faces don't exceed.

    Between two faces it is interpolated linearly: of N sorted values x_0 … x_(N-1) the one at (N - 1) percent / 100
    (numpy's default; Hyndman and Fan, 1996, type 7). With a hundred faces, P99 lies between the two worst.
    """

    def __init__(self, percent: float, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any) -> None:
        super().__init__(normalizer, **kwargs)
        self.quantile = percent / 100

    def compute(self) -> Tensor:
        return torch.tensor(np.quantile(self._all(), self.quantile))

    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        """The metric and its interval, from :meth:`per_face` values [N] of the bootstrap's faces."""
        return bootstrap.quantile(values, self.quantile)


class CumulativeErrorDistribution(_ValuesOverFaces):
    """The CED curve: shares [M] of faces at ``n_points`` thresholds [M] between 0 and ``threshold`` percent."""

    def __init__(
        self, threshold: float = 10.0, n_points: int = 201, normalizer: Normalizer = "outer_eye_corners", **kwargs: Any
    ) -> None:
        super().__init__(normalizer, **kwargs)
        self.thresholds = np.linspace(0, threshold, n_points)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Thresholds [M] in percent and shares [M]."""
        return torch.from_numpy(self.thresholds), torch.from_numpy(ced_curve(self._all(), self.thresholds))


METRICS: dict[str, _MeanOverFaces | NMEPercentile] = {
    "nme": NormalizedMeanError(),
    **{f"nme_{region}": NormalizedMeanError(region=region) for region in (*IBUG68.regions, "no_jaw")},
    "nme_pupils": NormalizedMeanError("pupils"),
    "nme_box": NormalizedMeanError("box"),
    "nme_box_diagonal": NormalizedMeanError("box_diagonal"),
    "nme_p90": NMEPercentile(90),
    "nme_p95": NMEPercentile(95),
    "nme_p99": NMEPercentile(99),
    # Both thresholds are in use.
    "fr@8": FailureRate(8.0),
    "fr@10": FailureRate(10.0),
    "auc@8": AreaUnderCED(8.0),
    "auc@10": AreaUnderCED(10.0),
}
"""Every scalar metric under the name that results, W&B and reports share. An entry is all that a metric needs: scores,
intervals and print follow from it. The entries hold no faces; :func:`landmark_metrics` makes metrics that do."""


class Jitter:
    """How much answers tremble in a video: the mean second difference of the error, in percent of the normaliser.

    With d the prediction minus the truth, in original-image pixels, of three frames in a row it is
    ``|d_(t-1) - 2 d_t + d_(t+1)|``, averaged over landmarks, over the truth's normaliser at t; so neither the head's motion
    nor a constant error counts. It is of one sequence, and of frames that follow each other there: across a gap there is
    none.

    Args:
        normalizer: see :func:`normalizer_length`.
    """

    unit, digits, higher_is_better = "%", 3, False

    def __init__(self, normalizer: Normalizer = "outer_eye_corners") -> None:
        self.normalizer: Normalizer = normalizer

    def per_frame(self, prediction: NDArray[Any], truth: NDArray[Any], frames: NDArray[Any]) -> NDArray[np.float64]:
        """The second difference at each frame [N], NaN where a neighbour is missing.

        Args:
            prediction: points [N, 68, 2] of one sequence in original-image pixels.
            truth: likewise.
            frames: [N] numbers of the frames, rising.
        """
        values = np.full(len(frames), np.nan)
        if len(frames) >= 3:
            error = np.asarray(prediction, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
            second = np.linalg.norm(error[:-2] - 2 * error[1:-1] + error[2:], axis=-1).mean(axis=-1)
            length = normalizer_length(torch.from_numpy(np.array(truth[1:-1], dtype=np.float64)), self.normalizer).numpy()
            in_a_row = (np.diff(frames)[:-1] == 1) & (np.diff(frames)[1:] == 1)
            values[1:-1][in_a_row] = 100 * (second / length)[in_a_row]
        return values

    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        """The mean and its interval, from :meth:`per_frame` values of the bootstrap's frames, none of them NaN."""
        return bootstrap.mean(values)

    def text(self, value: float) -> str:
        """A value in print, without its unit."""
        return f"{value:.{self.digits}f}"


SEQUENCE_METRICS: dict[str, Jitter] = {"jitter": Jitter()}
"""Every scalar metric that is of a sequence rather than of a face, likewise. The other metrics of a video are those of its
frames as faces, with intervals over clips."""


class _OfSigma(abc.ABC):
    """How well a network's standard deviations fit its errors, over coordinates.

    A landmark's x and y are taken to be normal about the prediction with the standard deviation σ that the network tells
    (:func:`domaingap.losses.gaussian_nll`), so that z = (truth - prediction) / σ is standard normal where σ is calibrated.

    Attributes:
        unit: ``%``, or nothing.
        digits: decimals in print.
        ideal: the value of calibrated standard deviations.
    """

    unit, digits, ideal = "", 2, 0.0

    @abc.abstractmethod
    def per_face(self, prediction: NDArray[Any], truth: NDArray[Any], sigma: NDArray[Any]) -> NDArray[np.float64]:
        """What the metric is made of [N] or [N, M].

        Args:
            prediction: points [N, 68, 2] in original-image pixels.
            truth: likewise.
            sigma: standard deviation of each landmark's x and y [N, 68] in the same.
        """

    @abc.abstractmethod
    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        """The metric and its interval, from :meth:`per_face` values of the bootstrap's faces."""

    def text(self, value: float) -> str:
        """A value in print, without its unit."""
        return f"{value:.{self.digits}f}"


def _z(prediction: NDArray[Any], truth: NDArray[Any], sigma: NDArray[Any]) -> NDArray[np.float64]:
    """Standardised errors [N, 136]."""
    errors = np.asarray(truth, dtype=np.float64) - np.asarray(prediction, dtype=np.float64)
    return (errors / np.asarray(sigma, dtype=np.float64)[..., None]).reshape(len(errors), -1)


class RootMeanSquareZ(_OfSigma):
    """Root of the mean of z² (its square is the reduced χ²): 1 of calibrated standard deviations, above 1 where they are too
    small. It is also the factor that makes them most likely: the likelihood of errors under s σ is largest at s² = mean z²
    (σ scaling; Laves et al., MIDL 2020, eq. 9)."""

    ideal = 1.0

    def per_face(self, prediction: NDArray[Any], truth: NDArray[Any], sigma: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.square(_z(prediction, truth, sigma)).mean(axis=1))

    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        return Interval(*(math.sqrt(value) for value in bootstrap.mean(values)))


class Coverage(_OfSigma):
    """Share in percent of coordinates whose error is at most ``times`` σ: 68.3 and 95.4 of a normal variable for one and
    two."""

    unit, digits = "%", 1

    def __init__(self, times: float) -> None:
        self.times = times
        self.ideal = 100 * math.erf(times / math.sqrt(2))

    def per_face(self, prediction: NDArray[Any], truth: NDArray[Any], sigma: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(100 * (np.abs(_z(prediction, truth, sigma)) <= self.times).mean(axis=1))

    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        return bootstrap.mean(values)


class CalibrationError(_OfSigma):
    """Mean distance, in points of percent, of the share of coordinates below each quantile that the network tells from the
    share that ought to lie there: 0 of calibrated ones.

    The calibration curve of Kuleshov, Fenner and Ermon (Accurate Uncertainties for Deep Learning Using Calibrated
    Regression, ICML 2018, eq. 7) at the quantiles 5%, 10%, … 95%, here with absolute in place of squared distances, so that
    it has a unit. Chance alone keeps it above 0, and its interval's ends lie rather high for the same reason.
    """

    unit, digits = "%", 1
    levels = np.arange(0.05, 0.96, 0.05)

    def per_face(self, prediction: NDArray[Any], truth: NDArray[Any], sigma: NDArray[Any]) -> NDArray[np.float64]:
        bounds = [statistics.NormalDist().inv_cdf(level) for level in self.levels]
        z = _z(prediction, truth, sigma)
        return np.stack([(z <= bound).mean(axis=1) for bound in bounds], axis=1)

    def interval(self, values: NDArray[np.float64], bootstrap: ClusterBootstrap) -> Interval:
        drawn = 100 * np.abs(bootstrap.means(values.T) - self.levels[:, None]).mean(axis=0)
        low, high = bootstrap.ends(drawn)
        return Interval(float(100 * np.abs(values.mean(axis=0) - self.levels).mean()), low, high)


SIGMA_METRICS: dict[str, RootMeanSquareZ | Coverage | CalibrationError] = {
    "sigma_rms_z": RootMeanSquareZ(),
    "sigma_within_1": Coverage(1),
    "sigma_within_2": Coverage(2),
    "sigma_calibration_error": CalibrationError(),
}
"""Every scalar metric of standard deviations, likewise; results have them where the network tells standard deviations."""


def landmark_metrics(prefix: str = "") -> MetricCollection:
    """All of :data:`METRICS` to be updated together, each name behind ``prefix``."""
    metrics: dict[str, Metric] = {name: metric.clone() for name, metric in METRICS.items()}
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)


def score(prediction: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Every scalar metric of predicted and true points [N, 68, 2] in original-image pixels, by name."""
    collection = landmark_metrics()
    collection.update(torch.from_numpy(np.asarray(prediction)), torch.from_numpy(np.asarray(truth)))
    return {name: float(value) for name, value in collection.compute().items()}
