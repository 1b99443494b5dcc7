"""Intervals: over images by resampling photographs, over seeds by Student's t; pairs with Holm's correction."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """An estimate (most often a mean) with its confidence interval."""

    mean: float
    low: float
    high: float


class ClusterBootstrap:
    """Percentile intervals from resampling whole clusters (photographs, clips); every statistic sees the same resamples.

    Faces of one photograph share light, camera and annotator; resampling them one by one would make the interval too
    narrow (Field and Welsh, 2007: the cluster bootstrap).

    Args:
        clusters: [N] what each value belongs to.
        level: of the intervals.
        resamples: how many.
        seed: of their draw.
    """

    def __init__(
        self, clusters: Sequence[Any] | NDArray[Any], level: float = 0.95, resamples: int = 2000, seed: int = 0
    ) -> None:
        _, self._cluster_of = np.unique(np.asarray(clusters), return_inverse=True)
        self._sizes = np.bincount(self._cluster_of)
        n = len(self._sizes)
        self._drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
        self._ends = [(1 - level) / 2, (1 + level) / 2]

    def mean(self, values: NDArray[Any]) -> Interval:
        """The mean of ``values`` [N]."""
        sums = np.bincount(self._cluster_of, weights=values)
        means = sums[self._drawn].sum(axis=1) / self._sizes[self._drawn].sum(axis=1)
        return self._interval(np.mean(values), means)

    def quantile(self, values: NDArray[Any], q: float) -> Interval:
        """The ``q`` quantile of ``values`` [N], as :func:`numpy.quantile` interpolates it (linearly, Hyndman and Fan's
        type 7)."""
        order = np.argsort(values)
        ordered = np.asarray(values)[order]
        # How many of a resample's values come no later than each one in the order [resamples, N]: its k-th smallest,
        # counted from 0, is the first with more than k.
        counted = self._times[:, self._cluster_of[order]].cumsum(axis=1, dtype=np.int32)
        last = counted[:, -1] - 1
        at = q * last
        below = np.floor(at).astype(np.int32)
        low, high = (ordered[(counted > k[:, None]).argmax(axis=1)] for k in (below, np.minimum(below + 1, last)))
        return self._interval(np.quantile(values, q), low + (at - below) * (high - low))

    @cached_property
    def _times(self) -> NDArray[np.int32]:
        """How often each cluster is in each resample [resamples, clusters]."""
        resamples, n = self._drawn.shape
        places = self._drawn + n * np.arange(resamples)[:, None]
        return np.bincount(places.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.int32)

    def _interval(self, estimate: Any, resampled: NDArray[Any]) -> Interval:
        low, high = np.quantile(resampled, self._ends)
        return Interval(float(estimate), float(low), float(high))


def cluster_bootstrap(
    values: NDArray[Any], clusters: Sequence[Any] | NDArray[Any], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of ``values`` [N] with its interval over clusters; see :class:`ClusterBootstrap`."""
    return ClusterBootstrap(clusters, level, resamples, seed).mean(values)


def t_interval(values: Sequence[float] | NDArray[Any], level: float = 0.95) -> Interval:
    """Student's t interval of the mean of ``values``, one per seed (or one difference per seed).

    Raises:
        ValueError: fewer than two values.
    """
    from scipy import stats

    data = np.asarray(values, dtype=float)
    if len(data) < 2:
        raise ValueError("an interval over seeds needs two of them at least")
    mean, error = data.mean(), stats.sem(data)
    low, high = stats.t.interval(level, len(data) - 1, mean, error) if error > 0 else (mean, mean)
    return Interval(float(mean), float(low), float(high))


def paired_t_test(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> tuple[Interval, float]:
    """Interval of the mean of ``a - b`` over seeds, and the two-sided p-value of no difference."""
    from scipy import stats

    interval = t_interval(np.asarray(a, dtype=float) - np.asarray(b, dtype=float), level)
    if interval.low == interval.high:  # no spread: SciPy has no p-value of it
        return interval, 1.0 if interval.mean == 0 else 0.0
    with warnings.catch_warnings():
        # Seeds that differ by nearly the same amount: the p-value is next to zero, however precise.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        return interval, float(stats.ttest_rel(a, b).pvalue)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's (1927) score interval of a proportion; sound also where it is near 0 or 1.

    Raises:
        ValueError: no trials.
    """
    from scipy import stats

    if n < 1:
        raise ValueError("a proportion needs one trial at least")
    low, high = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(float(successes / n), float(low), float(high))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: adjusted p-values in the given order. (SciPy has no correction of this kind.)"""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * np.asarray(p_values, dtype=float)[order]))
    return [float(p) for p in adjusted]
