"""Intervals that cover as often as they say, and corrections against worked examples."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from scipy import stats

from domaingap.statistics import (
    ClusterBootstrap,
    FallingCurve,
    SeedDraws,
    cluster_bootstrap,
    holm,
    least_sign_flip_p,
    open_quantiles,
    paired_t_test,
    probability_of_improvement,
    sign_flip_test,
    superiority,
    t_interval,
    wilson_interval,
)


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


def by_enumeration(differences: list[float]) -> float:
    """The sign-flip p by its definition."""
    found = abs(sum(differences))
    flipped = [
        abs(sum(d * s for d, s in zip(differences, signs, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(value >= found - 1e-9 for value in flipped) / len(flipped)


@pytest.mark.parametrize(
    "differences",
    [
        [0.3, -0.2],
        [0.1, 0.1, 0.1],
        [0.5, 0.4, -0.1, 0.2, 0.3],
        [0.0, 0.2, 0.1, -0.3],
        [1e-9, -2e-9, 3e-9, 1e-9, 5e-9, 2e-9],
        [0.4, -0.9, 0.2, 0.1, 0.3, -0.2, 0.8, 0.5],
    ],
)
def test_sign_flips_are_all_tried(differences: list[float]) -> None:
    scaled = [d / max(map(abs, differences)) for d in differences]
    assert sign_flip_test(differences, [0.0] * len(differences)) == pytest.approx(by_enumeration(scaled), rel=1e-12)
    shifted = [d + 7.0 for d in scaled], [7.0] * len(scaled)
    assert sign_flip_test(*shifted) == pytest.approx(by_enumeration(scaled), rel=1e-12), "rounding makes no ties"


def test_what_sign_flips_can_say_of_few_seeds() -> None:
    rng = np.random.default_rng(4)
    for seeds, least in ((2, 0.5), (5, 0.0625), (6, 0.03125), (13, 2**-12)):
        a = rng.uniform(1, 2, seeds)
        assert sign_flip_test(list(a), [0.0] * seeds) == least_sign_flip_p(seeds) == least
    assert sign_flip_test([2.0, 3.0], [2.0, 3.0]) == 1.0
    # Of 20 seeds some flips are drawn; normal differences have about Student's p.
    a = rng.normal(0.3, 1, 20)
    p = sign_flip_test(list(a), [0.0] * 20)
    assert p == sign_flip_test(list(a), [0.0] * 20) and p == pytest.approx(paired_t_test(list(a), [0.0] * 20)[1], abs=0.02)
    with pytest.raises(ValueError, match="two of them"):
        sign_flip_test([1.0], [0.0])


def test_superiority_is_mann_and_whitneys_u_over_the_pairs() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 6, (5, 40)).astype(float), rng.integers(1, 7, (4, 40)).astype(float)  # many ties
    expected = stats.mannwhitneyu(b, a, axis=0).statistic / 20
    assert superiority(a, b) == pytest.approx(expected, rel=1e-12)
    assert superiority(a, b) + superiority(b, a) == pytest.approx(np.ones(40))
    assert float(superiority(np.array([1.0]), np.array([1.0]))) == 0.5


def test_probability_of_improvement_as_a_loop_does_it() -> None:
    rng = np.random.default_rng(6)
    clusters = rng.integers(0, 12, 30)
    a, b = rng.gamma(2, 1, (3, 30)).round(1), (rng.gamma(2, 1, (3, 30)) + 0.4).round(1)
    interval = probability_of_improvement(a, b, clusters, resamples=150, seed=3)
    pairs = [(s, t) for s in range(3) for t in range(3)]

    def mean(seeds: list[int], faces: list[int]) -> float:
        won = [(a[s, i] < b[t, i]) + 0.5 * (a[s, i] == b[t, i]) for s in seeds for t in seeds for i in faces]
        return float(np.mean(won))

    assert interval.mean == pytest.approx(np.mean([(a[s] < b[t]) + 0.5 * (a[s] == b[t]) for s, t in pairs]))
    names = np.unique(clusters)
    photographs = np.random.default_rng(3).integers(len(names), size=(150, len(names)))
    times = np.random.default_rng([3, 1]).multinomial(3, np.full(3, 1 / 3), size=150)
    drawn = [
        mean(list(np.repeat(range(3), count)), [i for k in row for i in np.flatnonzero(clusters == names[k])])
        for row, count in zip(photographs, times, strict=True)
    ]
    assert interval[1:] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=1e-9)
    # A single seed's is over photographs alone: the mean of who wins each face.
    alone = probability_of_improvement(a[:1], b[:1], clusters)
    assert alone == pytest.approx(cluster_bootstrap((a[0] < b[0]) + 0.5 * (a[0] == b[0]), clusters))
    with pytest.raises(ValueError, match="same seeds"):
        probability_of_improvement(a[:2], b, clusters)


def test_probability_of_improvement_covers() -> None:
    rng = np.random.default_rng(7)
    true = stats.norm.cdf(0.1 / (2 * (0.05**2 + 0.3**2)) ** 0.5)
    hits = 0
    for _ in range(120):
        face, a, b = rng.normal(0, 0.4, 100), rng.normal(-0.1, 0.05, (6, 1)), rng.normal(0, 0.05, (6, 1))
        noise = rng.normal(0, 0.3, (2, 6, 100))
        interval = probability_of_improvement(face + a + noise[0], face + b + noise[1], np.arange(100), resamples=200)
        hits += interval.low <= true <= interval.high
    assert 0.86 <= hits / 120 <= 0.99


def test_draws_of_means_have_students_intervals() -> None:
    draws = SeedDraws(40000)
    rng = np.random.default_rng(8)
    for n in (2, 5, 12):
        a, b = dict(enumerate(rng.normal(5, 1, n))), dict(enumerate(rng.normal(4, 1, n)))
        values = np.array(list(a.values()))
        for drawn, interval in (
            (draws.means(a), t_interval(values)),
            (draws.means(a) - draws.means(b), t_interval(values - np.array(list(b.values())))),
        ):
            width = interval.high - interval.low
            assert np.quantile(drawn, [0.025, 0.975]) == pytest.approx(interval[1:], abs=0.03 * width)
    # What all runs of a seed share cancels.
    moved = {seed: value + 1 for seed, value in a.items()}
    assert draws.means(moved) - draws.means(a) == pytest.approx(np.ones(40000))
    assert draws.means({3: 2.0}) == pytest.approx(np.full(40000, 2.0)), "of a single seed no spread is known"
    assert draws.means(a) == pytest.approx(SeedDraws(40000).means(dict(reversed(a.items()))), rel=1e-9), (
        "seeds have draws of their own"
    )


def test_a_falling_curve_by_hand() -> None:
    # 5 and 5.6 break the order: with weights 1 and 2 they are level at 5.4.
    curve = FallingCurve([10, 20, 40, 80], np.array([7.0, 5.0, 5.6, 4.0]), [1, 1, 2, 1])
    assert curve.fitted == pytest.approx([7.0, 5.4, 5.4, 4.0])
    assert float(curve.reached(5.4)) == pytest.approx(20), "the first n of a level piece"
    assert float(curve.reached(7.0)) == 10 and float(curve.reached(4.0)) == pytest.approx(80)
    assert float(curve.reached(7.01)) == -np.inf and float(curve.reached(3.99)) == np.inf
    assert 40 < float(curve.reached(5.39)) < float(curve.reached(4.5)) < 80
    # Two points: straight in log n.
    two = FallingCurve([10, 1000], np.array([6.0, 4.0]), [5, 5])
    assert two.reached(5.0) == pytest.approx(100) and two.reached(5.5) == pytest.approx(10**1.5)
    level = FallingCurve([10, 1000], np.array([4.0, 6.0]), [1, 3])
    assert level.fitted == pytest.approx([5.5, 5.5]) and level.reached(5.5) == 10 and level.reached(5.4) == np.inf
    for wrong in ([10], [10, 10], [0, 10]):
        with pytest.raises(ValueError, match="increasing n above 0"):
            FallingCurve(wrong, np.ones(len(wrong)), np.ones(len(wrong)).tolist())


def test_several_falling_curves_are_each_their_own() -> None:
    rng = np.random.default_rng(9)
    n, values = [10, 30, 100, 700], rng.normal([7, 6, 5, 4.5], 0.8, (50, 4))
    targets = rng.normal(5.5, 1, 50)
    together = FallingCurve(n, values, [3, 3, 2, 3]).reached(targets)
    alone = [float(FallingCurve(n, row, [3, 3, 2, 3]).reached(target)) for row, target in zip(values, targets, strict=True)]
    assert together == pytest.approx(alone) and np.isinf(together).any() and np.isfinite(together).sum() > 20


def test_a_power_law_is_read_between_its_points() -> None:
    n = [10, 25, 50, 100, 250, 500, 2848]
    curve = FallingCurve(n, 3.5 + 12 * np.array(n) ** -0.45, [1] * 7)
    for m in (15, 70, 170, 350, 1000):
        assert float(curve.reached(3.5 + 12 * m**-0.45)) == pytest.approx(m, rel=0.06)


def test_quantiles_of_draws_that_are_open() -> None:
    assert open_quantiles(np.array([-np.inf] * 5 + [1.0] * 90 + [np.inf] * 5)) == (-np.inf, np.inf)
    assert open_quantiles(np.arange(1000.0), level=0.5) == (249.0, 749.0)
    assert open_quantiles(np.full(100, np.inf)) == (np.inf, np.inf)
