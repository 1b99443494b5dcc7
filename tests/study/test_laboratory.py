"""The laboratory's checks on made-up figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domaingap.config import RealConfig, RunSettings, TargetConfig
from domaingap.errors import UserError
from domaingap.study.laboratory import (
    Condition,
    difference_check,
    gain_check,
    movement_check,
    network_checks,
    nme_table,
    over_seeds,
    plain_check,
    plain_condition,
    read_conditions,
    share_check,
    shares_closed,
)
from domaingap.study.record import RunRecord
from tests.study.records import STRATEGIES, adapter_record, run_record

T_3 = 4.302652729911275
"""0.975 quantile of Student's t with two degrees of freedom: three seeds."""


def test_a_difference_is_its_whole_interval() -> None:
    # Differences 0.0, 0.1, 0.2: mean 0.1, standard deviation 0.1, half the interval 4.303 * 0.1 / sqrt(3) = 0.248.
    pairs = {0: (5.0, 5.0), 1: (5.1, 5.0), 2: (5.2, 5.0)}
    check = difference_check("c", "mixing", pairs, "equals")
    assert check.measured == pytest.approx((0.1, 0.1 - T_3 * 0.1 / 3**0.5, 0.1 + T_3 * 0.1 / 3**0.5))
    # The mean lies within 0.3, the interval's end at 0.348 doesn't.
    assert (check.verdict, check.text, check.over) == ("MISSED", "+0.10 [-0.15, +0.35]", "3 seeds")
    assert check.by_seed == pytest.approx({0: 0.0, 1: 0.1, 2: 0.2})
    lower = {seed: (one - 0.1, other) for seed, (one, other) in pairs.items()}
    assert difference_check("c", "mixing", lower, "equals").verdict == "passed"  # 0 ± 0.248
    better = {seed: (one - 2, other) for seed, (one, other) in pairs.items()}
    assert difference_check("c", "fine_tuning", better, "equals").verdict == "MISSED"
    assert difference_check("c", "fine_tuning", better, "closes").verdict == "passed", "better than real_only closes it too"
    assert difference_check("c", "fine_tuning", pairs, "closes").verdict == "MISSED"


def test_nothing_is_judged_on_what_is_missing() -> None:
    single = difference_check("c", "mixing", {0: (5.1, 5.0)}, "equals")
    assert (single.verdict, single.text) == ("not measured", "+0.10") and "single seed" in single.note
    for check in (
        difference_check("c", "mixing", {}, "equals"),
        share_check("c", "mixing", {}, {0: 5.0}, True),
        movement_check("c", {}),
    ):
        assert (check.verdict, check.text) == ("not measured", "-") and "missing" in check.note
    assert over_seeds({}) is None


def test_share_of_the_gap() -> None:
    synthetic = {0: (9.0, 5.0), 1: (7.0, 5.0)}  # gaps of 4 and 2
    own = {0: 5.4, 1: 5.8}  # 3.6 of 4 and 1.2 of 2
    assert shares_closed(synthetic, own) == pytest.approx({0: 0.9, 1: 0.6})
    missed = share_check("c", "label_adaptation", synthetic, own, True)
    assert missed.verdict == "MISSED" and missed.measured is not None and missed.measured.mean == pytest.approx(0.75)
    # t(0.975, 1) = 12.706; standard deviation 0.3 / sqrt(2); over sqrt(2): 12.706 * 0.15 = 1.906
    assert missed.text == "75% [-116%, 266%]"
    assert share_check("c", "label_adaptation", synthetic, own, False).verdict == "reported"
    enough = share_check("c", "label_adaptation", synthetic, {0: 5.4, 1: 5.4}, True)  # 0.9 and 0.8
    assert enough.verdict == "passed" and enough.measured is not None and enough.measured.mean == pytest.approx(0.85)


def test_a_gap_that_is_none_cannot_be_closed() -> None:
    check = share_check("c", "label_adaptation", {0: (9.0, 5.0), 1: (5.0, 5.1)}, {0: 5.0, 1: 5.0}, True)
    assert check.verdict == "MISSED" and "no gap to close with seed 1" in check.note and check.by_seed == {0: 1.0}


def test_movement_of_true_labels() -> None:
    kept = movement_check("c", {0: 0.2, 1: 0.4})
    assert (kept.verdict, kept.note) == ("passed", "with 2 of 2")
    assert kept.measured is not None and kept.measured.mean == pytest.approx(0.3)
    missed = movement_check("c", {0: 0.2, 1: 0.6})
    assert (missed.verdict, missed.note) == ("MISSED", "with 1 of 2"), "each seed counts, not their mean"
    six = dict.fromkeys(range(6), 0.1)
    assert movement_check("c", {**six, 5: 3.9}).verdict == "passed", "five of six"
    assert movement_check("c", {**six, 4: 0.5, 5: 3.9}).verdict == "MISSED"


def run(recipe: str, seed: int, nme: float | None, steps: int = 8, **more: Any) -> RunRecord:
    return run_record(recipe, seed, {"generated": nme}, answering=steps, **more)


def study(seed: int, off: float = 0.0) -> list[RunRecord]:
    """Runs of one seed: a gap of 4, of which label_adaptation closes 3.4; fine_tuning equals the longer real_only."""
    return [
        run("real_only", seed, 5.0),
        run("real_only", seed, 4.5, steps=10),
        run("synthetic_only", seed, 9.0),
        run("label_adaptation", seed, 5.6, adapter=adapter_record("predictions", 2.0, warning="not for labels")),
        run("data_adaptation", seed, 6.0, adapter=adapter_record("labels", 0.1)),
        run("mixing", seed, 5.0, adapter=adapter_record("labels", 0.1)),
        run("fine_tuning", seed, 4.5 + off, steps=10),
    ]


def verdicts(condition: Condition) -> dict[str, tuple[str, str]]:
    return {check.asked: (check.text, check.verdict) for check in network_checks(condition, STRATEGIES)}


def test_each_strategy_is_compared_with_real_only_of_as_many_steps() -> None:
    condition = Condition(TargetConfig(10, 10, 1, 0, 0, 0), [*study(0), *study(1)])
    assert condition.name == "all dials 0"
    assert condition.against_real("fine_tuning") == {0: (4.5, 4.5), 1: (4.5, 4.5)}
    assert condition.against_real("mixing") == {0: (5.0, 5.0), 1: (5.0, 5.0)}
    assert condition.of("real_only")[0].steps_answering == 10
    found = verdicts(condition)
    assert len(found) == 6
    assert found["mixing minus real_only within ±0.3"] == ("+0.00 [+0.00, +0.00]", "passed")
    assert found["fine_tuning minus real_only within ±0.3"][1] == "passed"
    assert found["synthetic_only minus real_only within ±0.3"] == ("+4.00 [+4.00, +4.00]", "MISSED")


@pytest.mark.parametrize("dials", [(0, 0, 0), (0, 1, 0)])
def test_a_warning_is_no_excuse_for_moving_labels_that_are_right(dials: tuple[int, int, int]) -> None:
    """It was one: the check passed wherever it was missed."""
    asked = "the adapter for labels moves true ones by less than 0.5% of the eyes' distance"
    warned = adapter_record("labels", 3.9, movement_warning="it moves true synthetic labels by 3.9%", warning="w")
    moved = [replace(r, adapter=warned) if r.recipe == "data_adaptation" else r for r in (*study(0), *study(1))]
    assert verdicts(Condition(TargetConfig(10, 10, 1, *dials), [*study(0), *study(1)]))[asked][1] == "passed"
    assert verdicts(Condition(TargetConfig(10, 10, 1, *dials), moved))[asked] == ("+3.90 [+3.90, +3.90]", "MISSED")
    assert asked not in verdicts(Condition(TargetConfig(10, 10, 1, 1, 0, 0), moved)), "a label gap is there to be moved"


def test_label_gap_alone() -> None:
    found = verdicts(Condition(TargetConfig(10, 10, 1, 1, 0, 0), [*study(0), *study(1)]))
    assert found["the gap: synthetic_only minus real_only"] == ("+4.00 [+4.00, +4.00]", "reported")
    assert found["label_adaptation closes at least 80% of synthetic_only minus real_only"] == ("85% [85%, 85%]", "passed")
    assert found["data_adaptation closes at least 80% of synthetic_only minus real_only"] == ("75% [75%, 75%]", "MISSED")
    assert found["data_adaptation minus synthetic_only below 0"] == ("-3.00 [-3.00, -3.00]", "passed")
    assert found["mixing minus real_only below +0.3"] == ("+0.00 [+0.00, +0.00]", "passed")
    assert found["fine_tuning minus real_only below +0.3"] == ("+0.00 [+0.00, +0.00]", "passed")


def test_label_gap_among_others() -> None:
    """Shares are reported, as an adapter of labels can't close the other gaps; that it helps at all is judged."""
    found = verdicts(Condition(TargetConfig(10, 10, 1, 1, 1, 1), [*study(0), *study(1)]))
    assert found["data_adaptation closes a share of synthetic_only minus real_only"] == ("75% [75%, 75%]", "reported")
    assert found["data_adaptation minus synthetic_only below 0"][1] == "passed"
    assert found["mixing minus real_only below +0.3"][1] == "passed"
    # 9 to 9, and 9 to 8: better on the mean, but the interval of two seeds holds 0.
    pairs = {0: (9.0, 9.0), 1: (8.0, 9.0)}
    assert gain_check("c", "data_adaptation", pairs).verdict == "MISSED"
    assert gain_check("c", "data_adaptation", {0: (8.0, 9.0)}).verdict == "not measured"
    assert gain_check("c", "data_adaptation", {}).verdict == "not measured"


def test_population_gap_alone() -> None:
    found = verdicts(Condition(TargetConfig(10, 10, 1, 0, 0, 1), [*study(0), *study(1)]))
    assert found["the adapter for labels moves true ones by less than 0.5% of the eyes' distance"][1] == "passed"
    assert len(found) == 2


def test_appearance_gap_alone() -> None:
    condition = Condition(TargetConfig(10, 10, 1, 0, 1, 0), [*study(0), *study(1)])
    found = verdicts(condition)
    assert found["label_adaptation's gain over synthetic_only"] == ("+3.40 [+3.40, +3.40]", "reported")
    assert found["the adapter for labels moves true ones by less than 0.5% of the eyes' distance"][1] == "passed"
    assert found["the adapter for predictions would move true labels by"] == ("+2.00 [+2.00, +2.00]", "reported")
    assert found["fine_tuning minus real_only below +0.3"] == ("+0.00 [+0.00, +0.00]", "passed")
    assert found["fine_tuning closes a share of synthetic_only minus real_only"] == ("100% [100%, 100%]", "reported")
    assert any("repair of the network's errors" in check.note for check in network_checks(condition, STRATEGIES))
    behind = Condition(condition.dials, [*study(0, 0.5), *study(1, 0.5)])
    found = verdicts(behind)
    assert found["fine_tuning minus real_only below +0.3"] == ("+0.50 [+0.50, +0.50]", "MISSED")
    # (9 - 5) of (9 - 4.5)
    assert found["fine_tuning closes a share of synthetic_only minus real_only"][0] == "89% [89%, 89%]"


def test_table_of_strategies() -> None:
    zero, gap = (
        Condition(TargetConfig(10, 10, 1, 0, 0, 0), study(0)),
        Condition(TargetConfig(10, 10, 1, 1, 0, 0), study(0)[:1]),
    )
    table = nme_table([zero, gap], STRATEGIES)
    assert table.header == ["strategy", "steps", "all dials 0", "label_gap 1"]
    assert table.cells()[-2:] == [["real_only", "8", "5.00", "5.00"], ["real_only", "10", "4.50", "-"]]


def test_a_run_without_a_value_is_left_out() -> None:
    """It was NaN in every figure; a missing one is no figure."""
    runs = [*study(0), *study(1), run("real_only", 2, 5.0), run("synthetic_only", 2, None)]
    condition = Condition(TargetConfig(10, 10, 1, 1, 0, 0), runs)
    gap = network_checks(condition, STRATEGIES)[0]
    assert (gap.text, gap.over) == ("+4.00 [+4.00, +4.00]", "2 seeds")
    table = nme_table([condition], STRATEGIES)
    assert (
        table.cells()[0] == ["synthetic_only", "8", "9.00 [9.00, 9.00]"] and "1 run without generated NME" in table.notes[-1]
    )
    assert plain_condition(condition)["runs"][-1]["nme"] is None
    assert plain_check(difference_check("c", "mixing", {0: (5.1, 5.0)}, "equals"))["measured"] == pytest.approx(
        {"mean": 0.1, "low": None, "high": None}
    )


class Planned:
    """A run of a plan on faces with one gap."""

    def __init__(self, key: str, label_gap: float) -> None:
        self.key = key
        real = RealConfig(source="generated_target", generated=TargetConfig(10, 10, 1, label_gap, 0, 0))
        self.settings = RunSettings(real=real)


def test_conditions_are_read_by_the_faces_gaps() -> None:
    plan = [Planned("a", 1), Planned("b", 1), Planned("c", 0), Planned("d", 1)]
    finished = {"a": run("real_only", 0, 5.0), "b": run("synthetic_only", 0, 9.0), "c": run("real_only", 0, 4.0)}
    gap, zero = read_conditions(plan, finished, Path("f"))
    assert (gap.name, zero.name) == ("label_gap 1", "all dials 0")
    assert [len(gap.runs), len(zero.runs)] == [2, 1]
    other_rule = run("synthetic_only", 0, 8.0, selection="source_val")
    assert read_conditions(plan, {**finished, "d": other_rule}, Path("f"))[0].runs == gap.runs, "real_only's rule alone"
    unfinished = {"b": finished["b"], "d": other_rule}
    assert read_conditions(plan, unfinished, Path("f"))[0].runs == [finished["b"]], "real_only is still to come"
    with pytest.raises(UserError, match="none of the study's runs"):
        read_conditions(plan, {}, Path("f"))
    with pytest.raises(UserError, match="several runs of synthetic_only"):
        read_conditions(plan, {**finished, "d": run("synthetic_only", 0, 8.0)}, Path("f"))
    with pytest.raises(UserError, match="different versions of the faces"):
        read_conditions(plan, {**finished, "d": run("synthetic_only", 1, 8.0, faces={"synthetic": "new"})}, Path("f"))
