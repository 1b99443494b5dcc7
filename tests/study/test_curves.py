"""Curves over real images, α and synthetic images: which runs are one, and on which faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from domaingap.study.curve_tables import curves_tables, wide_curves_tables
from domaingap.study.curves import Curves, all_curves
from domaingap.study.record import RunRecord, StartRecord
from tests.study.records import STRATEGIES, run_record, seeds


def curves(records: Sequence[RunRecord], on: str = "common") -> list[Curves]:
    return all_curves(records, on, STRATEGIES)


def points(of: Curves) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(value, mean NME) by a curve's name and selection rule."""
    found = {}
    for curve in of.curves:
        key = (curve.name, curve.first.first.selection)
        assert key not in found
        found[key] = [(at, round(of.cells[group].interval.mean, 6)) for at, group in curve.points]
    return found


def test_a_curve_over_real_images_begins_without_any() -> None:
    records = [run for n, nme in ((10, 8.0), (50, 7.0)) for run in seeds("real_only", [nme, nme + 0.2], n_real=n)]
    records += [run for n in (10, 50) for run in seeds("label_adaptation", [6.0, 6.2], n_real=n, selection="budget")]
    records += seeds("real_only", [5.0, 5.2], n_real=None, n_real_train=200)
    records += seeds("synthetic_only", [9.0, 9.2], selection="source_val") + seeds("fine_tuning", [4.0, 4.1], n_real=10)
    (found,) = curves(records)
    assert points(found) == {
        ("synthetic_only", "source_val"): [(0, 9.1)],
        ("label_adaptation", "budget"): [(10, 6.1), (50, 6.1)],
        ("real_only", "real_val"): [(10, 8.1), (50, 7.1), (200, 5.1)],
    }, "fine_tuning at a single number of images is no curve"
    assert found.axis.name == "real images" and not found.fallback and found.unscored == 0
    assert curves(seeds("real_only", [6.0, 6.1])) == []


def test_runs_of_other_settings_are_other_curves() -> None:
    records = []
    for kind, nme in (("auto", 6.0), ("shift", 7.0)):
        for n in (10, 50):
            records += seeds("label_adaptation", [nme, nme + 0.2], n_real=n, settings={"adapter.kind": kind})
    (found,) = curves(records)
    assert points(found) == {
        ("label_adaptation adapter.kind=auto", "real_val"): [(10, 6.1), (50, 6.1)],
        ("label_adaptation adapter.kind=shift", "real_val"): [(10, 7.1), (50, 7.1)],
    }
    # Another network is another picture.
    records += [run for n in (10, 50) for run in seeds("real_only", [5.0], n_real=n, settings={"fit.lr": 0.1})]
    assert [len(found.curves) for found in curves(records)] == [2, 1]


def alphas(scored: bool) -> list[RunRecord]:
    """Two seeds at three α; validation picks 0.25 and 0.75. Test figures of all, or of what validation picked."""
    values = {(0.25, 0): 7.0, (0.5, 0): 8.0, (0.75, 0): 7.5, (0.25, 1): 7.9, (0.5, 1): 8.1, (0.75, 1): 7.1}
    return [
        run_record("mixing", seed, {"val": nme} | ({"common": nme - 1} if scored or nme in (7.0, 7.1) else {}), alpha=alpha)
        for (alpha, seed), nme in values.items()
    ]


def test_alpha_is_drawn_on_validation_where_the_test_saw_only_what_was_picked() -> None:
    (found,) = curves(alphas(scored=False))
    assert (found.axis.name, found.on, found.fallback) == ("α", "val", True)
    assert points(found) == {("mixing", "real_val"): [(0.25, 7.45), (0.5, 8.05), (0.75, 7.3)]}
    (table,) = wide_curves_tables(alphas(scored=False), "common", STRATEGIES)
    assert table.title.startswith("NME % on val by α") and "not every α was scored on a test set" in " ".join(table.notes)
    assert table.header[-3:] == ["α=0.25", "α=0.5", "α=0.75"] and table.cells()[0][-2].startswith("8.05 [")
    (found,) = curves(alphas(scored=True))
    assert (found.on, found.fallback) == ("common", False)
    assert points(found)["mixing", "real_val"] == [(0.25, 6.45), (0.5, 7.05), (0.75, 6.3)]


def test_numbers_of_synthetic_images_are_one_picture() -> None:
    records = []
    for n, nme in ((24, 7.0), (12, 8.0)):
        for recipe in ("synthetic_only", "fine_tuning"):
            runs = seeds(recipe, [nme, nme + 0.2], n_synthetic=n)
            # Of what was asked for 3 are held out.
            records += [replace(run, n_synthetic=n - 3, n_synthetic_selection=3) for run in runs]
    records += seeds("real_only", [6.0, 6.2]) + seeds("real_only", [5.0, 5.2], n_real=5)
    found = {of.axis.name: of for of in curves(records)}
    assert points(found["synthetic images"]) == {
        ("synthetic_only", "real_val"): [(12, 8.1), (24, 7.1)],
        ("fine_tuning", "real_val"): [(12, 8.1), (24, 7.1)],
        ("real_only", "real_val"): [(0, 6.1)],
    }, "real data alone at the curves' number of real images"
    (table,) = [t for t in wide_curves_tables(records, "common", STRATEGIES) if "by synthetic" in t.title]
    assert table.header[-3:] == ["0 synthetic", "12 synthetic", "24 synthetic"]
    assert "n_synthetic" not in table.title


def test_missing_figures_and_unknown_budgets_make_no_points() -> None:
    records = [run for n in (10, 50) for run in seeds("real_only", [8.0, 8.2, None], n_real=n)]
    records += seeds("real_only", [None, None], n_real=100)
    (found,) = curves(records)
    assert points(found) == {("real_only", "real_val"): [(10, 8.1), (50, 8.1)]} and found.unscored == 4
    (table,) = curves_tables(records, "common", STRATEGIES)
    assert "4 runs without common NME left out." in table.notes and [row[12] for row in table.cells()] == ["2", "2"]
    unknown = StartRecord("found.ckpt", False, 0, 0)
    assert curves([run for n in (10, 50) for run in seeds("real_only", [8.0, 8.2], n_real=n, start=unknown)]) == []


@pytest.mark.parametrize("on", ["common", "val"])
def test_the_long_form_has_a_row_for_each_point(on: str) -> None:
    records = [run for n in (10, 50) for run in seeds("real_only", [8.0, 8.2], n_real=n)]
    (table,) = curves_tables(records, on, STRATEGIES)
    more = 0.5 if on == "val" else 0.0
    assert [row[:5] + row[6:8] + row[12:] for row in table.cells()] == [
        ["real_only", "real images", str(n), str(n), "0", "4", "real_val", "2", on] for n in (10, 50)
    ]
    assert table.header[9:12] == ["P90 %", "P95 %", "P99 %"]
    name = "val/nme_p95" if on == "val" else "test/common/nme_p95"
    known = [replace(run, metrics={**run.metrics, name: 12.0 + run.seed}) for run in records]
    (table,) = curves_tables(known, on, STRATEGIES)
    assert [row[9:12] for row in table.cells()] == [["-", "12.50", "-"]] * 2, (
        "figures of the faces' tail, where there are any"
    )
    assert all(row[8].mean == pytest.approx(8.1 + more) for row in table.rows)
