"""``domaingap compare``: any runs beside a chosen group, in pairs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.conftest import MEAN_FACE, Answer
from tests.experiments.test_cli import fails
from tests.study.records import run_record, seeds, write, write_predictions

Cli = Callable[..., Answer]


def rows_of(answer: Answer) -> dict[str, dict[str, str]]:
    assert answer.code == 0, answer.err
    lines = [line for line in answer.out.splitlines() if line and not line.startswith("#")]
    return {f"{row['runs']} n={row['real images']}": row for row in csv.DictReader(io.StringIO("\n".join(lines)))}


def test_settings_that_no_report_pairs(cli: Cli, tmp_path: Path) -> None:
    """From scratch and from ImageNet, other learning rates, numbers and strategies: Student's t, Holm over all rows."""
    base = [6.0, 6.2, 6.1]
    given = {
        "real_only pretrained=True n=9": ([5.0, 5.3, 5.0], {"settings": {"model.pretrained": True}}),
        "real_only lr=0.01 n=9": ([6.1, 6.0, 6.3], {"settings": {"fit.lr": 0.01}}),
        "real_only n=5": ([7.0, 7.5, 7.1], {"n_real": 5}),
        "fine_tuning size=64 n=9": ([5.5, 5.6, 5.8], {"settings": {"crop.size": 64}, "answering": 6}),
    }
    write(tmp_path / "a", seeds("real_only", base))
    for i, (name, (values, more)) in enumerate(given.items()):
        write(tmp_path / f"b{i}", seeds(name.split()[0], values, **more))  # type: ignore[arg-type]
    words = ["--base", "real_only", "n_real=9", "model.pretrained=False", "fit.lr=0.002"]
    rows = rows_of(cli("compare", tmp_path, "--format", "csv", *words))
    assert set(rows) == {"real_only n=9", *given} and rows["real_only n=9"]["verdict"] == "base"
    found = {name: stats.ttest_rel(values, base) for name, (values, _) in given.items()}
    order = sorted(found, key=lambda name: found[name].pvalue)
    holm, most = {}, 0.0
    for i, name in enumerate(order):
        most = max(most, (len(order) - i) * found[name].pvalue)
        holm[name] = min(1.0, most)
    for name, (values, _) in given.items():
        low, high = found[name].confidence_interval()
        mean = float(np.mean(values) - np.mean(base))
        assert rows[name]["minus base"] == f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        assert float(rows[name]["p, Holm"]) == pytest.approx(holm[name], abs=6e-4), name
        better = "better" if high < 0 else "worse" if low > 0 else "open"
        sure = better == "open" or holm[name] < 0.05
        assert rows[name]["verdict"] == better + ("" if sure else ", uncorrected")
    said = cli("compare", tmp_path, *words).out
    assert "corrected for the rows of this table (4)" in said and "unequal numbers of steps" in said


def test_a_single_seed_is_resampled_by_photographs(cli: Cli, tmp_path: Path) -> None:
    records = [run_record("real_only", nme=2.0), run_record("mixing", nme=1.0, alpha=0.5)]
    one, other = write(tmp_path, records)
    write_predictions(one, "common", [4.0, 4.0, 2.0, 2.0])
    write_predictions(other, "common", [2.0, 2.0, 1.0, 1.0])
    rows = rows_of(cli("compare", tmp_path, "--format", "csv", "--base", "mixing"))
    row = rows["real_only n=9"]
    unit = 100 / np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45])
    # Two photographs, whose faces are 2 and 1 px worse.
    assert row["minus base"] == f"{1.5 * unit:+.2f} [{1 * unit:+.2f}, {2 * unit:+.2f}]"
    assert row["seeds"] == "1" and row["verdict"] == "worse" and row["p, Holm"] == "-"
    assert "over photographs" in cli("compare", tmp_path, "--base", "mixing").out


def test_what_can_not_be_compared_is_counted(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, seeds("real_only", [6.0, 6.1]))
    write(tmp_path, seeds("synthetic_only", [8.0, 8.1]))
    unscored = run_record("label_adaptation", nme={"val": 5.0})
    elsewhere = run_record("mixing", alpha=0.5)
    counts = {name: replace(of, fingerprint="other") for name, of in elsewhere.counts.items()}
    write(tmp_path, [unscored, replace(elsewhere, counts=counts), run_record("fine_tuning", seed=7)])
    answer = cli("compare", tmp_path, "--base", "real_only")
    for why in ("without a figure on these faces", "on other faces", "without a shared seed"):
        assert f"1 group of runs left out: {why}" in answer.out
    (only,) = (
        name for name in rows_of(cli("compare", tmp_path, "--format", "csv", "--base", "real_only")) if "synth" in name
    )
    assert only.startswith("synthetic_only")


def test_all_real_images_are_named_as_plans_name_them(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "a", seeds("real_only", [7.0, 7.1], n_real=5) + seeds("mixing", [8.0, 8.2], n_real=5, alpha=0.5))
    fails(cli("compare", tmp_path / "a", "--base", "n_real=all"), "no runs are so", "of n_real there is 5")
    write(tmp_path / "b", seeds("real_only", [6.0, 6.2], n_real=None))
    words = ["compare", tmp_path, "--format", "csv", "--base", "real_only"]
    rows = rows_of(cli(*words, "n_real=all"))
    assert {name for name, row in rows.items() if row["verdict"] == "base"} == {"real_only n=18"}
    assert rows == rows_of(cli(*words, "n_real=18")) != rows_of(cli(*words, "n_real=5"))


def test_the_folder_or_name_of_a_run_picks_its_group(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "lr=2", seeds("real_only", [6.0, 6.2]) + seeds("mixing", [5.0, 5.1], alpha=0.5))
    few = write(tmp_path / "lr=2", seeds("real_only", [7.0, 7.1], n_real=5))
    words = ["compare", tmp_path / "lr=2", "--format", "csv", "--base"]
    expected = rows_of(cli(*words, "real_only", "n_real=5"))
    assert expected["real_only n=5"]["verdict"] == "base"
    for word in (*few, few[0].name, f"{few[1]}/"):
        assert rows_of(cli(*words, word)) == expected
    fails(cli(*words, few[0], "n_real=9"), "no runs are so", "of n_real there is 5, 9")
    fails(cli(*words, tmp_path / "real_onyl"), "real_onyl is neither a recipe nor a run here", "mixing, real_only")


def test_mistakes(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "a", seeds("real_only", [6.0]) + seeds("real_only", [7.0], n_real=5))
    fails(cli("compare", tmp_path / "a", "--base", "real_only"), "2 groups", "n_real=5 or 9")
    fails(cli("compare", tmp_path / "a", "--base", "real_only", "n_real=7"), "no runs are so", "5, 9")
    fails(cli("compare", tmp_path / "a", "--base", "colour=red"), "no run here has colour", "n_real")
    fails(cli("compare", tmp_path / "a", "--base", "real_only", "mixing"), "recipe is both real_only and mixing")
    fails(cli("compare", tmp_path / "none", "--base", "real_only"), "no such folder")
    fails(cli("compare", tmp_path / "a", "--base", "real_only", "--on", "moon"), "--on moon", "val, common")
    fails(cli("compare", tmp_path / "a"), "--base")
    write(tmp_path / "b", [run_record()])
    fails(cli("compare", tmp_path / "b", "--base", "real_only"), "nothing to compare")
    (tmp_path / "c").mkdir()
    fails(cli("compare", tmp_path / "c", "--base", "real_only"), "no finished run")
