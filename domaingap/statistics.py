"""Intervals: over images by resampling photographs, over seeds by Student's t; pairs with Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def cluster_bootstrap(
    values: NDArray[Any], clusters: Sequence[Any] | NDArray[Any], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile interval of the mean of ``values`` [N], resampling whole clusters (photographs, clips).

    Faces of one photograph share light, camera and annotator; resampling them one by one would make the interval too
    narrow (Field and Welsh, 2007: the cluster bootstrap).
    """
    _, cluster_of = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(cluster_of, weights=values)
    counts = np.bincount(cluster_of)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean(values)), float(low), float(high))


def t_interval(values: Sequence[float] | NDArray[Any], level: float = 0.95) -> Interval:
    """Student's t interval of the mean of ``values``, one per seed (or one difference per seed).

    Raises:
        ValueError: fewer than two values.
    """
    from scipy import stats

    data = np.asarray(values, dtype=float)
    if len(data) < 2:
        raise ValueError("an interval over seeds needs two of them at least")
    half = stats.t.ppf((1 + level) / 2, len(data) - 1) * data.std(ddof=1) / np.sqrt(len(data))
    return Interval(float(data.mean()), float(data.mean() - half), float(data.mean() + half))


def paired_t_test(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> tuple[Interval, float]:
    """Interval of the mean of ``a - b`` over seeds, and the two-sided p-value of no difference."""
    from scipy import stats

    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    interval = t_interval(difference, level)
    spread = difference.std(ddof=1)
    if spread == 0:
        return interval, 1.0 if interval.mean == 0 else 0.0
    t = interval.mean / (spread / np.sqrt(len(difference)))
    return interval, float(2 * stats.t.sf(abs(t), len(difference) - 1))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's (1927) score interval of a proportion; sound also where it is near 0 or 1.

    Raises:
        ValueError: no trials.
    """
    from scipy import stats

    if n < 1:
        raise ValueError("a proportion needs one trial at least")
    z = float(stats.norm.ppf((1 + level) / 2))
    p = successes / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: adjusted p-values in the given order."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return [float(p) for p in adjusted]
