"""The gap taken apart, against differences written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from domaingap.models.gap_and_error import GapAndError
from domaingap.study.gap_parts import diagnosis, dials, gap_parts
from domaingap.study.gap_tables import gap_parts_tables
from domaingap.study.page.figures import PARTS, parts_figure
from domaingap.study.record import DomainDistance, RunRecord, read_record
from domaingap.study.tables import to_csv
from tests.conftest import MEAN_FACE, Answer
from tests.study.records import STRATEGIES, adapter_record, run_record, seeds, write, write_predictions

FLOOR, ADAPTED, REAL = (9.0, 9.6, 8.7), (6.8, 7.1, 6.9), (4.0, 4.4, 4.1)


def apart(kid: float, p: float = 0.001) -> DomainDistance:
    return DomainDistance(
        "net, 8 features", 8, 3, 6, kid, (kid - 0.1, kid + 0.1), (-0.05, 0.04), p, 0.2, (0.1, 0.3), (-0.01, 0.02), p
    )


def study(n: int | None = 9, floor: tuple[float, ...] = FLOOR) -> list[RunRecord]:
    synthetic = [replace(run, domain_distance=apart(0.3 + run.seed / 10)) for run in seeds("synthetic_only", floor)]
    return [*synthetic, *seeds("label_adaptation", ADAPTED, n_real=n), *seeds("real_only", REAL, n_real=n)]


def t_interval(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float]:
    d = np.array(a) - np.array(b)
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return (d.mean(), d.mean() - half, d.mean() + half)


def test_parts_are_paired_differences_that_add_up() -> None:
    (parts,) = gap_parts(study(), "common", STRATEGIES)
    assert (parts.n_real, parts.selection, parts.steps, parts.seeds, parts.over) == (9, "real_val", 4, (0, 1, 2), "seeds")
    assert tuple(parts.label) == pytest.approx(t_interval(FLOOR, ADAPTED))
    assert tuple(parts.visual) == pytest.approx(t_interval(ADAPTED, REAL))
    assert tuple(parts.gap) == pytest.approx(t_interval(FLOOR, REAL))
    assert tuple(parts.rest) == pytest.approx(t_interval(REAL, (0, 0, 0)))
    assert parts.label.mean + parts.visual.mean + parts.rest.mean == pytest.approx(parts.whole.mean)
    assert parts.diagnosis is not None and parts.diagnosis.kinds == {"linear": 3}
    assert parts.diagnosis.by_shift == pytest.approx(8.0 - 7.8)
    assert parts.distance is not None and parts.distance.kid.mean == pytest.approx(0.4)
    assert tuple(parts.distance.kid)[1:] == pytest.approx((0.2, 0.6)), "the widest"
    assert parts.distance.p == 0.001 and parts.distance.kid_null == (-0.05, 0.04) and parts.dials is None


def test_the_largest_number_of_images_at_which_all_are_there() -> None:
    more = [*study(), *seeds("label_adaptation", ADAPTED, n_real=5), *seeds("real_only", REAL, n_real=5)]
    # Real data alone at all 18 has no label_adaptation beside it, and that at 14 no real data.
    more += [*seeds("real_only", (3.0,) * 3, n_real=None), *seeds("label_adaptation", (5.0,) * 3, n_real=14)]
    (parts,) = gap_parts(more, "common", STRATEGIES)
    assert parts.n_real == 9
    # Another rule is another row; another number of steps has no baseline.
    more += [
        *seeds("label_adaptation", ADAPTED, n_real=5, selection="budget"),
        *seeds("real_only", REAL, n_real=5, selection="budget"),
    ]
    more += seeds("synthetic_only", FLOOR, selection="source_val")
    more += seeds("label_adaptation", (1.0,) * 3, n_real=9, settings={"fit.steps": 8})
    found = gap_parts(more, "common", STRATEGIES)
    assert [(of.n_real, of.selection, of.floor.first.selection) for of in found] == [
        (9, "real_val", "real_val"), (5, "budget", "source_val"),
    ]  # fmt: skip


def test_only_seeds_that_all_three_have() -> None:
    (parts,) = gap_parts(study(floor=(9.0, 9.6)), "common", STRATEGIES)
    assert parts.seeds == (0, 1) and parts.rest.mean == pytest.approx(4.2)
    assert parts.label.mean + parts.visual.mean + parts.rest.mean == pytest.approx(9.3)
    without = [run for run in study() if run.recipe != "label_adaptation"]
    none = gap_parts(without, "common", STRATEGIES)
    assert none == [] == gap_parts_tables(none, "common", STRATEGIES)


def test_each_part_is_drawn_in_its_colour_below_its_hatches() -> None:
    figure = parts_figure(gap_parts(study(floor=(9.0, 9.6)), "common", STRATEGIES))
    assert [(bar.name, bar.marker.color, bar.marker.pattern.bgcolor) for bar in figure.data] == [
        (name, colour, colour) for name, colour, _ in PARTS
    ]
    assert len({(bar.marker.color, bar.marker.pattern.shape) for bar in figure.data}) == 3


def test_a_single_seed_has_intervals_over_photographs(tmp_path: Path) -> None:
    records = [run_record("synthetic_only", 0, 9.0), run_record("label_adaptation", 0, 7.0), run_record("real_only", 0, 4.0)]
    eyes = np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45]) / 100
    folders = write(tmp_path, records)
    read = [read_record(folder / "result.json") for folder in folders]
    (parts,) = gap_parts(read, "common", STRATEGIES)
    assert parts.label.mean == pytest.approx(2.0) and np.isnan(parts.label.low) and parts.problems, "no predictions"
    off = {
        folder: np.array(nme) * eyes
        for folder, nme in zip(folders, ([8, 8, 10, 10], [6, 6, 8, 8], [4, 4, 4, 4]), strict=True)
    }
    for folder, errors in off.items():
        write_predictions(folder, "common", errors.tolist())
    (parts,) = gap_parts(read, "common", STRATEGIES)
    assert parts.over == "images" and not parts.problems
    # Both photographs differ by two in the label part, and by two and four in the visual one.
    assert tuple(parts.label) == pytest.approx((2, 2, 2)) and tuple(parts.visual) == pytest.approx((3, 2, 4))
    assert (parts.rest.low, parts.rest.high) == pytest.approx((3.9, 4.2)), "the run's own"


def test_diagnoses_are_means_over_runs() -> None:
    kinds = [
        adapter_record("predictions", nme=7.0, spread_ratio=None),
        adapter_record("predictions", kind="mlp", warning="w"),
    ]
    runs = [run_record("label_adaptation", seed, 5.0, adapter=of) for seed, of in enumerate(kinds)]
    found = diagnosis(runs)
    assert found is not None and found.kinds == {"linear": 1, "mlp": 1} and found.warnings == 1
    assert (found.nme, found.spread_ratio, found.moves_predictions["all"]) == (7.25, 0.97, 1.0)
    assert diagnosis([*runs, run_record("real_only")]) is None
    assert (found.label_gap, found.own_error, found.repair) == (None, None, None), "of an earlier version"
    means = dict.fromkeys(("all", "jaw"), 1.0)
    parts = [GapAndError(means, {"all": error}, {"all": 1.5}, means, 1.0, 300, 6.0, after)
             for error, after in ((2.0, 5.0), (3.0, 5.5))]  # fmt: skip
    told = diagnosis([replace(r, adapter=replace(of, parts=p)) for r, of, p in zip(runs, kinds, parts, strict=True)])
    assert told is not None and (told.label_gap, told.own_error, told.repair) == (1.5, 2.5, 0.75)


def test_dials_of_generated_faces() -> None:
    generated = {"label_gap": 1.0, "appearance_gap": 0.5, "population_gap": 0, "n_test": 3}
    assert dials({"source": "generated_target", "generated": generated}) == {
        "label_gap": 1.0, "appearance_gap": 0.5, "population_gap": 0.0,
    }  # fmt: skip
    assert dials({"source": "300w", "generated": generated}) is None
    assert dials({}) is dials({"source": "another"}) is dials({"source": "generated_target"}) is None


def test_tables_say_what_the_parts_are_and_what_stands_beside() -> None:
    config = {
        "real": {"source": "generated_target", "generated": {"label_gap": 1.0, "appearance_gap": 0.0, "population_gap": 0.0}}
    }
    records = [replace(run, config=config) for run in study()]
    parts, beside = gap_parts_tables(gap_parts(records, "common", STRATEGIES), "common", STRATEGIES)
    row = dict(zip(parts.header, parts.cells()[0], strict=True))
    assert row["label part"].startswith("+2.17 [") and row["rest"].startswith("4.17 [") and row["seeds"] == "3"
    assert any("upper bound" in note for note in parts.notes) and any("headline needs six" in note for note in parts.notes)
    row = dict(zip(beside.header, beside.cells()[0], strict=True))
    assert row["adapter"] == "linear" and row["gain"] == "0.50 (shift 0.20)" and row["p"] == "0.001"
    assert row["KID"].startswith("0.4 [") and row["KID"].endswith("chance to 0.04")
    assert row["dials label / appearance / population"] == "1 / 0 / 0"
    assert "label part: mean" in to_csv([parts, beside])
    # Of an earlier version nothing is known of distances.
    unknown = [replace(run, domain_distance=None) for run in study()]
    _, beside = gap_parts_tables(gap_parts(unknown, "common", STRATEGIES), "common", STRATEGIES)
    assert dict(zip(beside.header, beside.cells()[0], strict=True))["KID"] == "-"
    assert any("earlier version" in note for note in beside.notes)


def test_the_report_takes_the_gap_apart(cli: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path, study())
    answer = cli("report", tmp_path, "--style", "gap_parts", "--format", "markdown")
    assert answer.code == 0 and "The gap taken apart" in answer.out and "+2.17" in answer.out
    assert "The gap taken apart" in cli("report", tmp_path, "--format", "markdown").out, "among all tables"
    other = tmp_path / "other"
    write(other, seeds("real_only", REAL))
    answer = cli("report", other, "--style", "gap_parts")
    assert answer.code == 2 and "no synthetic_only, label_adaptation and real_only" in answer.err
