"""Intervals that cover as often as they say, and corrections against worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from domaingap.statistics import cluster_bootstrap, holm, paired_t_test, t_interval, wilson_interval


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


def test_t_interval_and_paired_test_against_scipy() -> None:
    a, b = [5.1, 4.9, 5.4, 5.0, 5.2], [5.3, 5.2, 5.5, 5.1, 5.6]
    mean, low, high = t_interval(a)
    expected = stats.t.interval(0.95, 4, np.mean(a), stats.sem(a))
    assert (mean, low, high) == pytest.approx((np.mean(a), *expected))
    interval, p = paired_t_test(a, b)
    assert p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert interval.mean == pytest.approx(-0.22)
    with pytest.raises(ValueError, match="two"):
        t_interval([1.0])


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
