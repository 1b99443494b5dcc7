"""α is the share of synthetic samples in a batch: exactly, evenly, reproducibly, and with the right limits."""

from __future__ import annotations

from collections import Counter

import pytest

from domaingap.data.sampler import DomainMixSampler, StepSampler


def synthetic_in(sampler: DomainMixSampler, step: int) -> int:
    return sum(position >= sampler.n_real for _, position, _ in sampler.step(step))


@pytest.mark.parametrize(("alpha", "batch"), [(0.5, 8), (0.25, 32), (0.3, 10), (0.7, 10), (0.1, 10)])
def test_share_is_exact_in_every_batch_where_it_is_whole(alpha: float, batch: int) -> None:
    sampler = DomainMixSampler(50, 20, alpha, batch, seed=3)
    for step in [*range(40), 10_000_019]:
        assert len(sampler.step(step)) == batch
        assert synthetic_in(sampler, step) == round(alpha * batch), step


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.01, 0.99, 1 / 3])
def test_share_is_right_on_average_where_it_is_not_whole(alpha: float) -> None:
    batch, steps = 5, 300
    sampler = DomainMixSampler(50, 20, alpha, batch, seed=1)
    counts = [synthetic_in(sampler, step) for step in range(steps)]
    assert set(counts) <= {int(alpha * batch), int(alpha * batch) + 1}
    for step in range(1, steps + 1):
        assert abs(sum(counts[:step]) - alpha * batch * step) < 1, "never more than one draw off"
    # The expectation holds at each single step, too: over seeds.
    first = [synthetic_in(DomainMixSampler(50, 20, alpha, batch, seed), 0) for seed in range(400)]
    assert abs(sum(first) / len(first) - alpha * batch) < 0.1


def test_limits_are_the_domains_alone() -> None:
    for step in range(25):
        assert DomainMixSampler(7, 5, 0.0, 4, seed=9).step(step) == StepSampler(7, 4, seed=9).step(step)
        shifted = [(s, position + 7, repeat) for s, position, repeat in StepSampler(5, 4, seed=9).step(step)]
        assert DomainMixSampler(7, 5, 1.0, 4, seed=9).step(step) == shifted


def test_each_domain_goes_through_all_its_faces_and_starts_again_on_its_own() -> None:
    sampler = DomainMixSampler(30, 4, 0.5, 8, seed=0, steps_per_epoch=30)
    real, synthetic = [], []
    for step, position, _ in sampler:
        assert step < 30
        (synthetic if position >= 30 else real).append(position)
    assert len(real) == len(synthetic) == 120
    for drawn, n in ((real, 30), (synthetic, 4)):
        passes = [drawn[i : i + n] for i in range(0, 120, n)]
        assert all(len(set(p)) == n for p in passes), "each pass holds every face once"
        assert len({tuple(p) for p in passes}) > 1, "passes are shuffled anew"


def test_draws_of_a_step_depend_on_seed_and_step_alone() -> None:
    whole = list(DomainMixSampler(30, 11, 0.4, 7, seed=2, steps_per_epoch=24))
    parts = DomainMixSampler(30, 11, 0.4, 7, seed=2, steps_per_epoch=6)
    continued = []
    for epoch in range(4):
        parts.set_epoch(epoch)
        continued += list(parts)
    assert continued == whole and len(parts) == 42
    assert list(DomainMixSampler(30, 11, 0.4, 7, seed=3, steps_per_epoch=24)) != whole


def test_repeats_within_a_step_are_numbered() -> None:
    draws = DomainMixSampler(2, 1, 0.5, 8, seed=0).step(0)
    counted = Counter(position for _, position, _ in draws)
    assert counted[2] == 4 and [repeat for _, position, repeat in draws if position == 2] == [0, 1, 2, 3]


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        DomainMixSampler(5, 5, 1.5, 4, seed=0)
    with pytest.raises(ValueError, match="nothing to sample"):
        DomainMixSampler(5, 0, 0.5, 4, seed=0)
    with pytest.raises(ValueError, match="nothing to sample"):
        StepSampler(0, 4, seed=0)
