"""Intervals that cover as often as they say, and corrections against worked examples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from domaingap.statistics import ClusterBootstrap, cluster_bootstrap, holm, paired_t_test, t_interval, wilson_interval


def test_bootstrap_resamples_photographs() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 10)
    values = rng.normal(5, 1, 40).repeat(10)  # faces of a photograph are copies
    interval = cluster_bootstrap(values, clusters)
    alone = cluster_bootstrap(values, np.arange(400))
    assert interval.mean == pytest.approx(values.mean())
    # 40 independent values, not 400: the interval is the root of ten wider.
    assert (interval.high - interval.low) / (alone.high - alone.low) == pytest.approx(10**0.5, rel=0.15)
    assert cluster_bootstrap(values, clusters) == interval, "the same seed gives the same interval"


def test_bootstrap_covers() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        values = rng.gamma(2.0, 2.0, 80)
        _, low, high = cluster_bootstrap(values, np.arange(80), resamples=400)
        hits += low <= 4.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_quantiles_are_resampled_as_a_loop_does_it() -> None:
    rng = np.random.default_rng(2)
    values, clusters = rng.gamma(2.0, 2.0, 90).round(1), rng.integers(0, 40, 90)  # rounded: some are equal
    names = np.unique(clusters)
    drawn = np.random.default_rng(5).integers(len(names), size=(300, len(names)))
    samples = [np.concatenate([values[clusters == names[k]] for k in row]) for row in drawn]
    bootstrap = ClusterBootstrap(clusters, level=0.9, resamples=300, seed=5)
    for q in (0.0, 0.31, 0.9, 0.99, 1.0):
        expected = (np.quantile(values, q), *np.quantile([np.quantile(sample, q) for sample in samples], [0.05, 0.95]))
        assert bootstrap.quantile(values, q) == pytest.approx(expected, rel=1e-12), q
    means = np.quantile([sample.mean() for sample in samples], [0.05, 0.95])
    assert bootstrap.mean(values) == pytest.approx((values.mean(), *means), rel=1e-12)


def test_quantile_intervals_cover() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        _, low, high = ClusterBootstrap(np.arange(150), resamples=400).quantile(rng.exponential(1.0, 150), 0.9)
        hits += low <= np.log(10) <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_t_interval_and_paired_test_by_hand() -> None:
    a, b = [5.1, 4.9, 5.4, 5.0, 5.2], [5.3, 5.2, 5.5, 5.1, 5.6]
    # The table's t for 4 degrees of freedom is 2.776445; the squares of a sum up to 0.148, those of a - b to 0.068.
    half = 2.776445 * (0.148 / 4 / 5) ** 0.5
    assert t_interval(a) == pytest.approx((5.12, 5.12 - half, 5.12 + half), rel=1e-6)
    half = 2.776445 * (0.068 / 4 / 5) ** 0.5
    interval, p = paired_t_test(a, b)
    assert interval == pytest.approx((-0.22, -0.22 - half, -0.22 + half), rel=1e-6)
    # With 4 degrees of freedom the distribution has a closed form.
    t = 0.22 / (0.068 / 4 / 5) ** 0.5
    assert p == pytest.approx(1 - 0.75 * t / (1 + t**2 / 4) ** 0.5 * (1 - t**2 / (12 + 3 * t**2)))
    with pytest.raises(ValueError, match="two"):
        t_interval([1.0])


def test_no_spread_at_all() -> None:
    """Seeds that agree to the last digit: an interval of no width, and certainty."""
    assert t_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)
    assert paired_t_test([3.0, 4.0], [2.0, 3.0]) == ((1.0, 1.0, 1.0), 0.0)
    assert paired_t_test([3.0, 4.0], [3.0, 4.0]) == ((0.0, 0.0, 0.0), 1.0)
    with warnings.catch_warnings(action="error"):
        interval, p = paired_t_test([3.1, 4.2, 5.3], [0.1, 1.2, 2.3])
    assert interval.mean == pytest.approx(3.0) and p < 1e-12


def test_holm_by_hand() -> None:
    # 3 x 0.01; 2 x 0.02 = 0.04; 1 x 0.03 would be below its forerunner and takes its value.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_wilson_against_published_values() -> None:
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for successes, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson_interval(successes, n)
        assert interval == pytest.approx((successes / n, low, high), abs=5e-5)
    with pytest.raises(ValueError, match="one trial"):
        wilson_interval(0, 0)
