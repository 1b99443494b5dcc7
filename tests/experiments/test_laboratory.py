"""``domaingap laboratory``: the checks on made-up figures worked out by hand, the study's file, and a small study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experiments.laboratory import (
    Check,
    Condition,
    Pairs,
    PairsRow,
    checks_section,
    difference_check,
    movement_check,
    network_checks,
    nme_section,
    over_seeds,
    pairs_of,
    removed,
    share_check,
    shares_closed,
)
from experiments.report import Finished
from experiments.sweep import planned_runs

from domaingap.config import TargetConfig
from domaingap.models.label_adapter import LabelAdapter
from tests.conftest import MEAN_FACE, Answer
from tests.experiments.test_cli import fails

Cli = Callable[..., Answer]
ROOT = Path(__file__).parents[2]

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
    kept = movement_check("c", {0: (0.2, None), 1: (0.4, None)})
    assert (kept.verdict, kept.note) == ("passed", "warned with 0 of 2")
    assert kept.measured is not None and kept.measured.mean == pytest.approx(0.3)
    assert movement_check("c", {0: (0.2, None), 1: (0.6, None)}).verdict == "MISSED", "each seed counts, not their mean"
    assert movement_check("c", {0: (0.2, None), 1: (0.6, "it moves them")}).verdict == "passed"


def run(recipe: str, seed: int, nme: float, steps: int = 8, **more: Any) -> Finished:
    content = {
        "recipe": recipe, "seed": seed, "steps_answering": steps, "metrics": {"test/generated/nme": nme}, "alpha": None,
        "selection": "real_val", "n_real_train": 9, "n_synthetic": 9, "data": {}, **more,
    }  # fmt: skip
    return Finished(Path(f"{recipe}-{seed}"), content)


def moves(distance: float, warning: str | None = None) -> dict[str, Any]:
    return {"movement_labels": {"all": distance}, "warning": warning}


def study(seed: int, off: float = 0.0) -> list[Finished]:
    """Runs of one seed: a gap of 4, of which label_adaptation closes 3.4; fine_tuning equals the longer real_only."""
    return [
        run("real_only", seed, 5.0),
        run("real_only", seed, 4.5, steps=10),
        run("synthetic_only", seed, 9.0),
        run("label_adaptation", seed, 5.6, adapter=moves(2.0, "not for labels")),
        run("data_adaptation", seed, 6.0, adapter=moves(0.1)),
        run("mixing", seed, 5.0, adapter=moves(0.1)),
        run("fine_tuning", seed, 4.5 + off, steps=10),
    ]


def verdicts(condition: Condition) -> dict[str, tuple[str, str]]:
    return {check.asked: (check.text, check.verdict) for check in network_checks(condition)}


def test_each_strategy_is_compared_with_real_only_of_as_many_steps() -> None:
    condition = Condition(TargetConfig(10, 10, 1, 0, 0, 0), [*study(0), *study(1)])
    assert condition.name == "all dials 0"
    assert condition.against_real("fine_tuning") == {0: (4.5, 4.5), 1: (4.5, 4.5)}
    assert condition.against_real("mixing") == {0: (5.0, 5.0), 1: (5.0, 5.0)}
    assert condition.of("real_only")[0].answering == 8
    found = verdicts(condition)
    assert len(found) == 5
    assert found["mixing minus real_only within ±0.3"] == ("+0.00 [+0.00, +0.00]", "passed")
    assert found["fine_tuning minus real_only within ±0.3"][1] == "passed"
    assert found["synthetic_only minus real_only within ±0.3"] == ("+4.00 [+4.00, +4.00]", "MISSED")


def test_label_gap_alone() -> None:
    found = verdicts(Condition(TargetConfig(10, 10, 1, 1, 0, 0), [*study(0), *study(1)]))
    assert found["the gap: synthetic_only minus real_only"] == ("+4.00 [+4.00, +4.00]", "reported")
    assert found["label_adaptation closes at least 80% of synthetic_only minus real_only"] == ("85% [85%, 85%]", "passed")


def test_appearance_gap_alone() -> None:
    condition = Condition(TargetConfig(10, 10, 1, 0, 1, 0), [*study(0), *study(1)])
    found = verdicts(condition)
    assert found["label_adaptation's gain over synthetic_only"] == ("+3.40 [+3.40, +3.40]", "reported")
    assert found["the adapter for labels moves true ones by less than 0.5, or warns"][1] == "passed"
    assert found["the adapter for predictions would move true labels by"] == ("+2.00 [+2.00, +2.00]", "reported")
    assert found["fine_tuning minus real_only below +0.3"] == ("+0.00 [+0.00, +0.00]", "passed")
    assert found["fine_tuning closes a share of synthetic_only minus real_only"] == ("100% [100%, 100%]", "reported")
    assert any("repair of the network's errors" in check.note for check in network_checks(condition))
    behind = Condition(condition.dials, [*study(0, 0.5), *study(1, 0.5)])
    found = verdicts(behind)
    assert found["fine_tuning minus real_only below +0.3"] == ("+0.50 [+0.50, +0.50]", "MISSED")
    # (9 - 5) of (9 - 4.5)
    assert found["fine_tuning closes a share of synthetic_only minus real_only"][0] == "89% [89%, 89%]"


def shifted(points: np.ndarray, which: slice, by: tuple[float, float]) -> np.ndarray:
    other = points.copy()
    other[:, which] += by
    return other


def test_what_an_adapter_removes() -> None:
    exact = np.stack([MEAN_FACE, MEAN_FACE + 10, MEAN_FACE * 2])
    eyes = np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45])
    jaw = slice(0, 17)
    given = shifted(exact, jaw, (0, 4))
    half = removed(given, [shifted(exact, jaw, (0, 1))], exact)
    assert half.distance == pytest.approx((0.75, 0.75, 0.75))
    assert half.squared == pytest.approx(1 - 1 / 16) and half.mean == pytest.approx(0.75)
    # The third face is twice as large, so the same pixels are half as much of it.
    jaw_before = 100 * 4 / eyes * (1 + 1 + 0.5) / 3
    assert half.nme["jaw"] == pytest.approx((jaw_before, jaw_before / 4))
    assert half.nme["eyes"] == (0, 0) and half.nme["all"][0] == pytest.approx(jaw_before * 17 / 68)
    # Two adapters: their mean, 4 to 1 and 4 to 3.
    assert removed(given, [shifted(exact, jaw, (0, 1)), shifted(exact, jaw, (0, 3))], exact).distance.mean == pytest.approx(
        0.5
    )
    assert removed(given, [shifted(exact, jaw, (0, 8))], exact).distance.mean == pytest.approx(-1), "made worse"
    # Left and right by turns: as large a distance for each face, but none on the mean.
    turns = np.stack([shifted(exact[:1], jaw, (0, 2))[0], shifted(exact[:1], jaw, (0, -2))[0]])
    noise = removed(shifted(exact[[0, 0]], jaw, (0, 4)), [turns], exact[[0, 0]])
    assert noise.distance.mean == pytest.approx(0.5) and noise.mean == pytest.approx(1)


def test_an_adapter_that_removes_too_little_is_a_miss() -> None:
    exact = np.stack([MEAN_FACE, MEAN_FACE + 10])
    given = shifted(exact, slice(0, 17), (0, 4))
    rows = [
        PairsRow("fitted on S labels", "shift", removed(given, [shifted(exact, slice(0, 17), (0, left))], exact), judged)
        for left, judged in ((0.5, True), (1.0, True), (1.0, False))
    ]
    checks = Pairs("label_gap 1", 100, 2, rows).checks()
    assert [check.verdict for check in checks] == ["passed", "MISSED", "reported"]
    assert checks[1].text == "75% [75%, 75%]" and checks[1].over == "2 faces" and "94% of its square" in checks[1].note
    section = checks_section([*checks, Check("c", "a", None, False, "", "not measured")], short=True)
    assert section.notes[0].startswith("1 passed, 1 MISSED, 1 not measured; a short study")
    assert section.rows[1][4] == "MISSED"


def test_table_of_strategies() -> None:
    zero, gap = (
        Condition(TargetConfig(10, 10, 1, 0, 0, 0), study(0)),
        Condition(TargetConfig(10, 10, 1, 1, 0, 0), study(0)[:1]),
    )
    section = nme_section([zero, gap])
    assert section.header == ["strategy", "steps", "all dials 0", "label_gap 1"]
    assert section.rows[-2:] == [["real_only", "8", "5.00", "5.00"], ["real_only", "10", "4.50", "-"]]


def test_the_study_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    runs = planned_runs(Path("configs/laboratory.yaml"), [])
    # Three, five and six strategies, with their companions: another selection rule, a longer real_only.
    assert len(runs) == 5 * (4 + 7 + 8) and {run.values["seed"] for run in runs} == {0, 1, 2, 3, 4}
    dials = {
        tuple(getattr(run.values["real"].generated, g) for g in ("label_gap", "appearance_gap", "population_gap"))
        for run in runs
    }
    assert dials == {(0, 0, 0), (1, 0, 0), (0, 1, 0)}
    for planned in runs:
        values = planned.values
        real = values["real"].generated.n_train - values["real"].n_val
        assert values["n_real"] is None if "n_real" in values else planned.recipe == "synthetic_only"
        if "synthetic" in values:
            synthetic, split = values["synthetic"].generated.n, values["synthetic"].val_split
            assert synthetic - round(split * synthetic) == real == 2700
    steps = {(run.recipe, run.values["fit"].steps) for run in runs}
    assert {n for recipe, n in steps if recipe != "real_only"} == {480}
    assert {n for recipe, n in steps if recipe == "real_only"} == {480, 480 + 240}


TINY = [
    "--synthetic.generated.n=24", "--synthetic.val_split=0.25", "--real.generated.n_train=24", "--real.n_val=6",
    "--real.generated.n_test=8", "--fit.steps=2", "--fit.val_every=1", "--fit.batch_size=4",
]  # fmt: skip


def test_check_only_and_pairs_without_a_network(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folders = [f"--runs_dir={tmp_path / 'runs'}", f"--prepared_dir={tmp_path / 'prepared'}"]
    fails(cli("laboratory", "--short", "--check-only", *TINY, *folders), "none of the study's runs", "without --check_only")
    plan = planned_runs(Path("configs/laboratory.yaml"), [*TINY, "--crop.size=32", "--adapter.kind=linear", *folders])
    dials = TargetConfig(24, 8, 1, 1.0, 0.0, 0.0)
    adapter = tmp_path / "mixing" / "checkpoints"
    adapter.mkdir(parents=True)
    LabelAdapter().double().save(adapter / "adapter_labels.ckpt")
    mixing = Finished(tmp_path / "mixing", run("mixing", 0, 5.0).content)
    pairs = pairs_of(Condition(dials, [mixing]), plan)
    assert (pairs.n_train, pairs.n_test) == (18, 8) and [row.judged for row in pairs.rows] == [True, False, False]
    free, _, identity = (row.removed for row in pairs.rows)
    assert free.distance.mean > 0 and identity.distance == (0, 0, 0)
    before = identity.nme
    assert before["jaw"][0] > 1 and before["eyes"][0] == pytest.approx(0), "people put jaw points elsewhere, and no eyes"


def test_wrong_files(cli: Cli, tmp_path: Path) -> None:
    fails(cli("laboratory", tmp_path / "none.yaml"), "none.yaml", "No such file")
    file = tmp_path / "real.yaml"
    file.write_text("method: grid\nparameters: {recipe: {value: real_only}}\n")
    fails(cli("laboratory", file), "real.yaml", "generated faces", "real.source")
    fails(cli("laboratory", file, "--shorter", "1"), "--shorter")


@pytest.mark.slow
def test_a_short_study(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "runs"
    options = ["--short", *TINY, f"--runs_dir={folder}", f"--prepared_dir={tmp_path / 'prepared'}"]
    answer = cli("laboratory", *options)
    assert answer.code == 0, answer.err
    assert "38 of 38 runs finished" in answer.err
    content = json.loads((folder / "laboratory.json").read_text())
    assert content["short"] and list(content["conditions"]) == ["label_gap 1", "appearance_gap 1", "all dials 0"]
    assert [len(condition["runs"]) for condition in content["conditions"].values()] == [6, 12, 14]
    # The gap, its share and three adapters; the gap, gain, two movements, fine_tuning twice; five strategies.
    found = [check["condition"] for check in content["checks"]]
    assert [found.count(name) for name in content["conditions"]] == [5, 6, 5]
    assert {check["verdict"] for check in content["checks"]} <= {"passed", "MISSED", "reported"}
    for check in content["checks"]:
        assert check["verdict"] in answer.out
        # After two steps there may be no gap, and then no share of one.
        assert check["measured"] is not None or "no gap to close" in check["note"]
    text = (folder / "laboratory.md").read_text()
    assert "**Checks**" in text and "| real_only | 4 |" in text and "Held-out pairs of labels, label_gap 1" in text
    again = cli("laboratory", "--check_only", *options)
    assert again.code == 0 and again.out == answer.out and "runs finished" not in again.err
