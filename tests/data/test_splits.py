"""Splits: seeded, nested, photographs never on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from domaingap.data.splits import draw_groups, merge_groups, seeded_order


def names_and_groups(n: int = 400) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    groups = [f"photo{g:03d}" for g in np.repeat(np.arange(n), rng.integers(1, 5, n))][:n]
    return [f"{group}_{i}" for i, group in enumerate(groups)], groups


def test_order_is_a_grouped_permutation() -> None:
    names, groups = names_and_groups()
    order = seeded_order(names, groups, 3)
    assert sorted(order) == list(range(400))
    runs = [group for i, group in enumerate(groups[j] for j in order) if i == 0 or group != groups[order[i - 1]]]
    assert len(runs) == len(set(runs)), "a photograph's faces stand together"
    assert not np.array_equal(order, seeded_order(names, groups, 4))


def test_order_ignores_the_order_of_files_and_absent_ones() -> None:
    names, groups = names_and_groups()
    whole = [names[i] for i in seeded_order(names, groups, 5)]
    keep = np.random.default_rng(1).permutation(400)[:250]
    part_names, part_groups = [names[i] for i in keep], [groups[i] for i in keep]
    part = [part_names[i] for i in seeded_order(part_names, part_groups, 5)]
    assert part == [name for name in whole if name in set(part_names)]


@pytest.mark.parametrize("n", [1, 60, 300])
def test_drawn_groups_are_whole_and_of_the_size(n: int) -> None:
    names, groups = names_and_groups()
    mask = draw_groups(names, groups, n, 300)
    assert mask.sum() == n
    inside, outside = (
        {g for g, m in zip(groups, mask, strict=True) if m},
        {g for g, m in zip(groups, mask, strict=True) if not m},
    )
    assert not inside & outside


def test_a_draw_that_no_group_completes_stays_smaller() -> None:
    assert draw_groups(["a1", "a2", "b1", "b2"], ["a", "a", "b", "b"], 3, 0).sum() == 2


def test_a_photograph_is_one_whatever_its_files_are_called() -> None:
    names = ["b", "c", "a", "d", "c", "e"]
    contents = ["1", "2", "2", "3", "4", "4"]
    # c and a share picture 2, c and e picture 4: all three are one.
    assert merge_groups(names, contents).tolist() == ["b", "a", "a", "d", "a", "a"]
    assert merge_groups(["x", "y"], ["1", "2"]).tolist() == ["x", "y"]
