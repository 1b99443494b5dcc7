"""Real images saved: which runs make the curve of real data alone, where it reaches a strategy's figure, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domaingap.study.by_face import ByFace
from domaingap.study.compare import Group, compared_groups, families
from domaingap.study.curve_tables import saved_families, saved_tables
from domaingap.study.record import RunRecord, StartRecord
from domaingap.study.saved import AllSaved, Saved, SavedImages
from domaingap.study.tables import Table
from tests.study.records import STRATEGIES, run_record, seeds, write, write_predictions

REAL = {10: 8.0, 100: 6.0, 1000: 5.0}
"""What real data alone reaches with n real images."""


def real_only(figures: dict[int, float] = REAL, spread: Sequence[float] = (-0.1, 0.0, 0.1), **more: Any) -> list[RunRecord]:
    """Runs of real data alone: a mean at each n, and how far each seed lies from it."""
    return [run for n, nme in figures.items() for run in seeds("real_only", [nme + d for d in spread], n_real=n, **more)]


def found(records: Sequence[RunRecord], on: str = "common") -> AllSaved:
    (family,) = families(compared_groups(records, STRATEGIES))
    return SavedImages(on, STRATEGIES, ByFace(on)).family(family.groups)


def saved(records: Sequence[RunRecord]) -> dict[tuple[str, str, int], Saved]:
    rows = found(records).rows
    by = {(row.group.first.recipe, row.group.first.selection, row.n): row for row in rows}
    assert len(by) == len(rows)
    return by


def table(records: Sequence[RunRecord]) -> Table:
    by_face = ByFace("common")
    (one,) = saved_tables(saved_families(records, "common", STRATEGIES, by_face), "common", STRATEGIES, by_face)
    return one


def test_real_data_alone_reaches_it_at_a_number_of_images() -> None:
    records = [*real_only(), *seeds("label_adaptation", [5.9, 6.0, 6.1], n_real=10)]
    row = saved(records)["label_adaptation", "real_val", 10]
    assert row.reached.mean == pytest.approx(100) and row.over == "seeds" and row.seeds == [3, 3, 3, 3]
    # The same seeds: where all move alike so does the figure, and nothing is left of the spread.
    assert row.reached[1:] == pytest.approx((100, 100), rel=1e-6)
    others = [*real_only(), *seeds("label_adaptation", [6.1, 6.0, 5.9], n_real=10)]
    low, high = saved(others)["label_adaptation", "real_val", 10].reached[1:]
    assert 10 < low < 95 and 105 < high < 1000
    cells = dict(zip(table(others).header, table(others).cells()[0], strict=True))
    assert cells["real_only reaches it at"] == f"100 [{low:.0f}, {high:.0f}]"
    assert cells["saved"] == f"+90 [+{low - 10:.0f}, +{high - 10:.0f}]" and cells["real_only ran at"] == "10 to 1000"


def test_more_and_fewer_than_was_tried() -> None:
    records = [*real_only(), *seeds("label_adaptation", [4.0, 4.1, 3.9], n_real=100)]
    records += [*seeds("data_adaptation", [9.0, 9.1, 9.2], n_real=100), *seeds("synthetic_only", [12.0, 12.1, 12.2])]
    rows = {row[0]: row for row in table(records).cells()}
    assert rows["label_adaptation"][5:7] == ["> 1000 [> 1000, > 1000]", "> +900 [> +900, > +900]"]
    assert rows["data_adaptation"][5:7] == ["< 10 [< 10, < 10]", "< -90 [< -90, < -90]"]
    assert rows["synthetic_only"][3] == "0" and rows["synthetic_only"][6].startswith("< +10 [")
    (column,) = [column for column in table(records).columns if column.header == "saved"]
    assert all(not np.isfinite(raw(row[6])) for row in table(records).rows for raw in column.raw.values()), (
        "no made-up number"
    )


def test_an_interval_may_be_open_at_one_end() -> None:
    records = [*real_only(), *seeds("label_adaptation", [5.2, 5.1, 5.0], n_real=10)]
    row = saved(records)["label_adaptation", "real_val", 10]
    assert np.isfinite(row.reached[:2]).all() and row.reached.high == np.inf
    assert ", > 1000]" in table(records).cells()[0][5] and "An end with > or < is open" in " ".join(table(records).notes)


def test_each_rule_and_number_of_steps_has_its_own_curve() -> None:
    records = real_only() + real_only({10: 9.0, 100: 7.0, 1000: 6.0}, selection="budget")
    records += [
        run
        for rule in ("real_val", "budget")
        for run in seeds("label_adaptation", [6.0, 6.1, 5.9], n_real=10, selection=rule)
    ]
    # With more steps real_only is better with many images and worse with few: the better on validation at each number.
    records += real_only({10: 8.4, 100: 6.3, 1000: 4.0}, settings={"fit.steps": 5})
    records += seeds("fine_tuning", [6.0, 6.0, 6.0], n_real=10, answering=5) + seeds(
        "fine_tuning", [4.0, 4.0, 4.0], n_real=100, answering=5
    )
    # Nothing of another learning rate, however good.
    records += real_only({10: 1.0, 100: 1.0}, settings={"fit.lr": 0.5})
    own = [run for run in records if run.identity["fit"]["lr"] != 0.5]
    rows = saved(own)
    assert rows["label_adaptation", "real_val", 10].reached.mean == pytest.approx(100)
    assert rows["label_adaptation", "budget", 10].reached.mean == pytest.approx(1000)
    tuned = rows["fine_tuning", "real_val", 10]
    assert [group.first.scratch_steps for group in tuned.curve.by_n.values()] == [4, 4, 5]
    assert tuned.reached.mean == pytest.approx(100) and tuned.longer and tuned.shorter_at == ()
    assert rows["fine_tuning", "real_val", 100].reached.mean == pytest.approx(1000)
    with_other = [row for family in families(compared_groups(records, STRATEGIES))
                  for row in SavedImages("common", STRATEGIES, ByFace("common")).family(family.groups).rows]  # fmt: skip
    assert sorted(row.reached.mean for row in with_other) == sorted(row.reached.mean for row in rows.values())
    less = [run for run in own if not (run.recipe == "real_only" and run.scratch_steps == 5 and run.n_real_train == 100)]
    assert saved(less)["fine_tuning", "real_val", 10].shorter_at == (100,)
    assert "at 100 there is the shorter alone, which favours fine_tuning" in " ".join(table(less).notes)


def test_synthetic_data_alone_stands_beside_the_rule_that_uses_no_further_images() -> None:
    records = real_only() + real_only({10: 9.0, 100: 7.0}, selection="budget")
    records += [*seeds("synthetic_only", [7.0, 7.1, 6.9]), *seeds("synthetic_only", [7.0, 7.1, 6.9], selection="source_val")]
    rows = saved(records)
    assert rows["synthetic_only", "source_val", 0].reached.mean == pytest.approx(100)
    assert 10 < rows["synthetic_only", "real_val", 0].reached.mean < 100


def test_alpha_is_the_one_that_validation_picked() -> None:
    records = real_only()
    for alpha, val, test in ((0.25, 7.0, 6.0), (0.75, 8.0, 4.0)):
        records += [run_record("mixing", seed, {"val": val, "common": test}, n_real=10, alpha=alpha) for seed in range(3)]
    assert [row[0] for row in table(records).cells()] == ["mixing α by val"]
    assert saved(records)["mixing", "real_val", 10].reached.mean == pytest.approx(100)


def test_all_images_are_the_number_that_was_used() -> None:
    records = real_only({10: 8.0, 100: 6.0}) + seeds("real_only", [5.0, 5.1, 4.9], n_real=None, n_real_train=500)
    records += seeds("label_adaptation", [5.0, 5.0, 5.0], n_real=None, n_real_train=500)
    row = saved(records)["label_adaptation", "real_val", 500]
    assert row.reached.mean == pytest.approx(500) and row.curve.largest == 500


def test_a_curve_that_rises_is_said_and_fitted() -> None:
    records = [*real_only({10: 8.0, 25: 6.0, 50: 6.4, 100: 5.0}), *seeds("label_adaptation", [6.2, 6.2, 6.2], n_real=10)]
    row = saved(records)["label_adaptation", "real_val", 10]
    assert row.reached.mean == pytest.approx(25), "25 and 50 are level at 6.2"
    assert row.curve.rise == (pytest.approx(0.4), 25, 50)
    assert "rises by up to 0.40 points, from 25 to 50" in " ".join(table(records).notes)
    assert "not monotone" not in " ".join(table([*real_only(), *seeds("label_adaptation", [6.2] * 3, n_real=10)]).notes)


def test_few_seeds_are_said() -> None:
    single = [*real_only(spread=(0.0,)), *seeds("label_adaptation", [6.0], n_real=10)]
    (row,) = found(single).rows
    assert row.reached.mean == pytest.approx(100) and np.isnan(row.reached.low) and row.over == ""
    notes = " ".join(table(single).notes)
    assert "1 row without an interval: a single seed, and no predictions" in notes and "no such file" in notes
    assert "1 seed in some rows: a headline needs six" in notes and table(single).cells()[0][5] == "100"
    mixed = [*real_only(), *seeds("label_adaptation", [6.0], n_real=10)]
    assert "of some numbers of images there is a single seed" in " ".join(table(mixed).notes)
    six = [*real_only(spread=(0.1, 0.2, 0.3, -0.1, -0.2, -0.3)), *seeds("label_adaptation", [6.0] * 6, n_real=10)]
    assert "headline" not in " ".join(table(six).notes)


def test_missing_figures_and_unknown_budgets_are_counted() -> None:
    records = [*real_only({10: 8.0, 100: 6.0}), *seeds("real_only", [None, 5.0, 5.2], n_real=1000)]
    records += seeds("label_adaptation", [6.0, None, 6.2], n_real=10)
    (row,) = found(records).rows
    assert row.seeds == [2, 3, 3, 2] and row.over == "seeds"
    assert "2 runs without common NME left out." in table(records).notes
    # A curve at a single number of images is none.
    lonely = [*real_only({10: 8.0}), *seeds("label_adaptation", [6.0, 6.1], n_real=10)]
    assert found(lonely).rows == [] and found(lonely).without_curve == 1
    assert saved_tables(saved_families(lonely, "common", STRATEGIES), "common", STRATEGIES) == []
    unknown = StartRecord("found.ckpt", False, 0, 0)
    started = [*real_only(start=unknown), *seeds("label_adaptation", [6.0, 6.1], n_real=10, start=unknown)]
    assert found(started).rows == [] and found(started).unknown == 1


def test_photographs_are_resampled_where_there_are_predictions(tmp_path: Path) -> None:
    records = [*real_only(spread=(0.0,)), *seeds("label_adaptation", [6.0], n_real=10)]
    rng = np.random.default_rng(0)
    folders = write(tmp_path, records)
    records = [replace(run, folder=folder) for run, folder in zip(records, folders, strict=True)]
    off = rng.gamma(4, 0.25, 40)
    for run, folder in zip(records, folders, strict=True):
        own = run.value("common")
        assert own is not None
        write_predictions(folder, "common", list(own * (off if run.recipe == "real_only" else rng.gamma(4, 0.25, 40))))
    by_face = ByFace("common")
    records = [replace(run, metrics={**run.metrics, "test/common/nme": float(errors.nme.mean())})
               for run in records if (errors := by_face.of(run)) is not None]  # fmt: skip
    (row,) = found(records).rows
    assert row.over == "photographs" and row.reached.low < row.reached.mean < row.reached.high
    # The same faces for both: where the strategy errs as real data alone with 100 images does, it is 100 in any resample.
    write_predictions(records[-1].folder, "common", list(6.0 * off))
    same = next(run for run in records if run.n_real_train == 100).metrics
    (row,) = found([*records[:-1], replace(records[-1], metrics=same)]).rows
    assert row.reached == pytest.approx((100, 100, 100))
    # Without one of the files there is no interval.
    (records[0].folder / "predictions.npz").unlink()
    assert found(records).rows[0].over == ""


def law(n: float) -> float:
    return 3.5 + 12 * n**-0.45


@pytest.mark.slow
@pytest.mark.parametrize(("n_seeds", "noise", "gain", "n"), [(3, 0.05, 0.8, 50), (5, 0.05, 0.8, 50), (6, 0.02, 0.9, 250)])
def test_intervals_cover_a_power_law(n_seeds: int, noise: float, gain: float, n: int) -> None:
    """Seeds scatter about a known curve, half of it shared between the strategy and real data alone."""
    ns = [10, 25, 50, 100, 250, 500, 2848]
    rng = np.random.default_rng(1)
    runs = {m: seeds("real_only", [1.0] * n_seeds, n_real=m) for m in ns}
    own = seeds("label_adaptation", [1.0] * n_seeds, n_real=n)
    truth = ((gain * law(n) - 3.5) / 12) ** (-1 / 0.45)

    def group(of: list[RunRecord], values: Any) -> Group:
        return Group(tuple(replace(run, metrics={"test/common/nme": float(v)}) for run, v in zip(of, values, strict=True)))

    hits, repeats = 0, 150
    for _ in range(repeats):
        means = np.array([law(m) for m in ns])
        shared, alone = rng.normal(0, 0.7 * noise, (2, n_seeds, len(ns))) * means
        real = means + shared + alone
        tuned = gain * law(n) + shared[:, ns.index(n)] + rng.normal(0, 0.7 * noise * law(n), n_seeds)
        groups = [group(runs[m], real[:, i]) for i, m in enumerate(ns)] + [group(own, tuned)]
        (row,) = SavedImages("common", STRATEGIES, ByFace("common"), draws=1000).family(groups).rows
        hits += row.reached.low <= truth <= row.reached.high
    assert 0.90 <= hits / repeats <= 0.995
