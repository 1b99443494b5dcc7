"""``domaingap report`` on made-up runs, against figures worked out apart from it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from domaingap.models.gap_and_error import GapAndError
from domaingap.study.record import read_record
from tests.conftest import MEAN_FACE, Answer
from tests.experiments.test_cli import fails
from tests.study.records import REGIONS, adapter_record, run_record, seeds, write, write_predictions

Cli = Callable[..., Answer]
FIGURES = {
    ("synthetic_only", 4): [9.0, 9.3, 8.9, 9.1],
    ("label_adaptation", 4): [7.0, 7.2, 7.1, 6.9],
    ("fine_tuning", 5): [6.0, 6.6, 6.1, 6.5],
    ("real_only", 4): [6.5, 6.4, 6.6, 6.3],
    ("real_only", 5): [6.2, 6.3, 6.3, 6.4],
}


def table(cli: Cli, folder: Path, style: str, *options: str) -> list[dict[str, str]]:
    answer = cli("report", folder, "--format", "csv", "--style", style, *options)
    assert answer.code == 0, answer.err
    return list(csv.DictReader(io.StringIO(answer.out)))


def adjusted(p_values: list[float]) -> list[float]:
    """Holm's correction, by its definition."""
    m = len(p_values)
    ranked = sorted(p_values)
    return [max(min(1.0, (m - j) * ranked[j]) for j in range(sorted(ranked).index(p) + 1)) for p in p_values]


def write_figures(target: Path, figures: dict[tuple[str, int], list[float]] = FIGURES, **more: str) -> None:
    """Runs with given NME on common per seed, for (recipe, answering steps)."""
    for (recipe, steps), values in figures.items():
        settings = {"fit.steps": steps if recipe == "real_only" else 4}
        write(target, seeds(recipe, values, answering=steps, settings=settings, **more))


def test_pairs_are_students_t_with_holms_correction(cli: Cli, tmp_path: Path) -> None:
    write_figures(tmp_path)
    rows = table(cli, tmp_path, "pairs")
    expected = {
        ("label_adaptation", "synthetic_only"): (("label_adaptation", 4), ("synthetic_only", 4)),
        ("label_adaptation", "real_only"): (("label_adaptation", 4), ("real_only", 4)),
        ("fine_tuning", "synthetic_only"): (("fine_tuning", 5), ("synthetic_only", 4)),
        # The better on validation of the two: that with fine_tuning's steps.
        ("fine_tuning", "real_only (5 steps)"): (("fine_tuning", 5), ("real_only", 5)),
        ("real_only", "synthetic_only"): (("real_only", 4), ("synthetic_only", 4)),
    }
    assert {(row["strategy"], row["against"]) for row in rows} == set(expected) and len(rows) == len(expected)
    p_values = []
    for row in rows:
        one, other = (np.array(FIGURES[key]) for key in expected[row["strategy"], row["against"]])
        test = stats.ttest_rel(one, other)
        low, high = test.confidence_interval()
        assert row["difference in NME"] == f"{(one - other).mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        raw = [float(row[f"difference in NME: {part}"]) for part in ("mean", "low", "high")]
        assert raw == pytest.approx([(one - other).mean(), low, high], rel=1e-12)
        assert row["p, t"] == (f"{test.pvalue:.4f}" if test.pvalue >= 1e-4 else "< 0.0001") and row["seeds"] == "4"
        assert float(row["p, t: value"]) == pytest.approx(test.pvalue, rel=1e-9)
        # Of four seeds: as they are and all flipped are 2 of 16.
        flips = [abs(np.mean((one - other) * signs)) for signs in itertools.product((1, -1), repeat=4)]
        p_flip = np.mean([mean >= abs((one - other).mean()) - 1e-12 for mean in flips])
        assert row["p, sign flip"] == f"{p_flip:.4f}" and p_flip >= 0.125
        wins = stats.mannwhitneyu(other, one).statistic / 16
        assert row["P(better) by run"] == f"{wins:.2f}" and row["P(better) by face"] == "-"
        p_values.append(float(test.pvalue))
    holm = adjusted(p_values)
    assert [float(row["p, Holm: value"]) for row in rows] == pytest.approx(holm, rel=1e-9)
    assert [row["p, Holm"] for row in rows] == [f"{p:.3f}" if p >= 0.001 else "< 0.001" for p in holm]
    assert "< 0.001" in {row["p, Holm"] for row in rows}, "none is printed as zero"
    verdicts = {(row["strategy"], row["against"]): row["verdict"] for row in rows}
    assert verdicts["label_adaptation", "synthetic_only"] == "better"
    assert verdicts["label_adaptation", "real_only"] == "worse"
    assert verdicts["fine_tuning", "real_only (5 steps)"] == "open"


def test_the_shorter_real_only_is_the_baseline_where_it_is_better(cli: Cli, tmp_path: Path) -> None:
    write_figures(tmp_path, {**FIGURES, ("real_only", 4): [6.0, 6.0, 6.1, 6.2]})
    assert ("fine_tuning", "real_only (4 steps)") in {(r["strategy"], r["against"]) for r in table(cli, tmp_path, "pairs")}
    missing = "real_only at fine_tuning's number of steps isn't among these runs"
    assert missing not in cli("report", tmp_path, "--style", "pairs").out
    for path in tmp_path.glob("real_only-*/result.json"):
        if json.loads(path.read_text())["steps_answering"] == 5:
            path.unlink()
    assert missing in cli("report", tmp_path, "--style", "pairs").out


def test_strategies_by_budgets(cli: Cli, tmp_path: Path) -> None:
    write_figures(tmp_path)
    rows = table(cli, tmp_path, "strategies")
    assert [row["strategy"] for row in rows] == [recipe for recipe, _ in FIGURES]
    assert [row["steps"] for row in rows] == ["4 / 4", "4 / 4", "5 / 5", "4 / 4", "5 / 5"]
    assert {row["picked by"] for row in rows} == {"real_val (+ 6)"} and {row["seeds"] for row in rows} == {"4"}
    for row, key in zip(rows, FIGURES, strict=True):
        values = np.array(FIGURES[key])
        low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
        column = "0 real" if key[0] == "synthetic_only" else "9 real"
        assert row[column] == f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"
        assert float(row[f"{column}: low"]) == pytest.approx(low, rel=1e-12)
    assert rows[0]["9 real"] == "" and rows[1]["0 real"] == rows[1]["0 real: mean"] == ""
    text = cli("report", tmp_path).out
    assert "4 seeds in some rows: a headline needs six" in text and "can't go below 0.0625" in text
    assert "corrected for the 5 comparisons" in text and "never below 2/2^n, 0.125 of 4." in text
    assert "5 rows without P(better) by face: no predictions." in text
    assert "common (partial: 11 of 554): 11 images" in text and "steps: optimiser steps" in text


def test_a_single_seed_is_compared_over_photographs(cli: Cli, tmp_path: Path) -> None:
    folders = write(tmp_path, [run_record("label_adaptation", nme=4.0), run_record("synthetic_only", nme=5.0)])
    off = [[1.0, 2.0, 1.0, 3.0], [2.0, 2.0, 3.0, 1.0]]
    for folder, moved in zip(folders, off, strict=True):
        write_predictions(folder, "common", moved)
    (row,) = table(cli, tmp_path, "pairs")
    assert (row["strategy"], row["against"]) == ("label_adaptation", "synthetic_only")
    assert (row["seeds"], row["p, t"], row["p, sign flip"], row["p, Holm"]) == ("1", "-", "-", "-")
    # Of four faces two are better, one is alike and counts half.
    assert row["P(better) by face"].startswith("0.62 [") and row["P(better) by run"] == "1.00"
    eyes = float(np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45]))
    # Photographs: faces 0 and 1 differ by -1 and 0, 2 and 3 by -2 and 2; drawn in pairs the mean lies between -0.5 and 0.
    raw = [float(row[f"difference in NME: {part}"]) for part in ("mean", "low", "high")]
    assert raw == pytest.approx([-25 / eyes, -50 / eyes, 0], abs=1e-9) and row["verdict"] == "open"
    (folders[1] / "predictions.npz").write_bytes(b"damaged")
    answer = cli("report", tmp_path)
    assert answer.code == 0 and "NME % on common" in answer.out, "the other tables are printed all the same"
    assert f"{folders[1] / 'predictions.npz'}: can't be read" in answer.out


def test_adapters_table(cli: Cli, tmp_path: Path) -> None:
    spread = [0.9, 1.0]
    for seed, ratio in enumerate(spread):
        adapter = adapter_record("labels", 2.0 + seed, spread_ratio=ratio, warning="w" if seed else None)
        write(tmp_path, [run_record("data_adaptation", seed, adapter=adapter)])
    write(tmp_path, [run_record("real_only")])
    (row,) = table(cli, tmp_path, "adapters")
    assert (row["strategy"], row["for"], row["kind"], row["real images"]) == ("data_adaptation", "labels", "linear", "9")
    assert row["NME % by kind"] == "8.00 / 7.80 / - / 7.50 / -"
    assert row["labels move %"] == "2.5 (2.5 2.5 2.5 2.5 2.5)" and row["predictions move %"].startswith("1.0 (")
    assert (row["spread"], row["own shape"], row["warned"]) == ("0.95", "0.98", "1 of 2")


def test_table_of_gap_and_error(cli: Cli, tmp_path: Path) -> None:
    """A second table, of the runs that know; the run's own lines say it, too."""
    own = dict(zip(REGIONS, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), strict=True))
    for seed in range(2):
        error = {region: value + seed for region, value in own.items()}
        parts = GapAndError(own, error, own, dict.fromkeys(REGIONS, 0.25), 1.5 if seed else None, 300, 6.0, 5.0 + seed / 2)
        adapter = adapter_record("labels", learned="difference", parts=parts, spread_aim=0.9)
        write(tmp_path, [run_record("data_adaptation", seed, adapter=adapter)])
    write(tmp_path, [run_record("label_adaptation")])
    answer = cli("report", tmp_path, "--style", "adapters", "--format", "csv")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    # A header and two rows of the adapters, then those of what lies between answers and annotations.
    assert [line.endswith(("Label adapters", "table")) for line in lines] == [True, True, True, True, False]
    (row,) = csv.DictReader(io.StringIO("\n".join(lines[3:])))
    assert row["table"] == "Label gap and network's error"
    assert (row["strategy"], row["learned"], row["scatter"]) == ("data_adaptation", "difference", "1.50")
    assert row["label gap %"] == "1.0 (2.0 3.0 4.0 5.0 6.0)" and row["network's error %"] == "1.5 (2.5 3.5 4.5 5.5 6.5)"
    assert (row["NME % on synthetic"], row["after repair alone"]) == ("6.00", "5.25")
    assert "the network errs otherwise on real faces" in cli("report", tmp_path, "--style", "adapters").out
    # Results of earlier versions have none of it.
    (old,) = tmp_path.glob("label_adaptation*/result.json")
    content = json.loads(old.read_text())
    for name in ("learned", "parts", "spread_aim"):
        del content["adapter"][name]
    old.write_text(json.dumps(content))
    found = read_record(old).adapter
    assert found is not None and (found.learned, found.parts, found.spread_aim) == ("plain", None, 1.0)


def test_other_faces_and_nothing_to_say(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, seeds("real_only", [6.0, 6.1]))
    assert "on val" in cli("report", tmp_path, "--on", "val").out
    fails(cli("report", tmp_path, "--on", "private"), "private", "val, common")
    fails(cli("report", tmp_path, "--style", "adapters"), "no run here has a label adapter")
    fails(cli("report", tmp_path, "--style", "pairs"), "no two runs here can be compared")
    fails(cli("report", tmp_path, "--style", "saved"), "no strategy here beside a real_only with two numbers of real images")
    fails(cli("report", tmp_path, "--style", "curves"), "differ in n_real, alpha or n_synthetic alone")
    fails(cli("report", tmp_path, "--style", "original_study"), "configs/original_study")
    answer = cli("report", tmp_path)
    assert answer.code == 0 and "Differences in pairs" not in answer.out and "NME % on common" in answer.out


def test_alpha_is_picked_on_validation_never_on_the_test(cli: Cli, tmp_path: Path) -> None:
    write_figures(tmp_path)
    # Seed 0 does best on validation at 0.25 and on the test at 0.75; seed 1 the other way round.
    figures = {(0.25, 0): (7.0, 6.9), (0.75, 0): (7.5, 6.0), (0.25, 1): (7.9, 6.1), (0.75, 1): (7.1, 6.8)}
    for (alpha, seed), (val, test) in figures.items():
        write(tmp_path, [run_record("mixing", seed, {"val": val, "common": test}, alpha=alpha)])
    rows = {row["strategy"]: row for row in table(cli, tmp_path, "strategies")}
    assert {"mixing α=0.25", "mixing α=0.75", "mixing α by val"} < set(rows)
    assert rows["mixing α by val"]["9 real"].startswith("6.85 ["), "the mean of 6.9 and 6.8"
    compared = {row["strategy"] for row in table(cli, tmp_path, "pairs")}
    assert "mixing α by val" in compared and not {"mixing α=0.25", "mixing α=0.75"} & compared
    assert "0.25 for 1, 0.75 for 1" in cli("report", tmp_path, "--style", "strategies").out


def test_alphas_that_only_validation_has_seen(cli: Cli, tmp_path: Path) -> None:
    """A sweep scores on test what validation picked; an α scored for the seeds that picked it has no mean of its own."""
    figures = {(0.25, 0): 7.0, (0.5, 0): 8.0, (0.75, 0): 7.5, (0.25, 1): 7.9, (0.5, 1): 8.1, (0.75, 1): 7.1}
    for (alpha, seed), val in figures.items():
        scored = {"common": val - 0.4} if val in (7.0, 7.1) else {}
        write(tmp_path, [run_record("mixing", seed, {"val": val, **scored}, alpha=alpha)])
    rows = {row["strategy"]: row for row in table(cli, tmp_path, "strategies")}
    assert set(rows) == {"mixing α by val"} and rows["mixing α by val"]["9 real"].startswith("6.65 [")
    answer = cli("report", tmp_path, "--style", "strategies")
    assert answer.out.count("4 runs without common NME left out.") == 1
    assert "for some seeds only" in answer.out
    on_val = {row["strategy"]: row["9 real"] for row in table(cli, tmp_path, "strategies", "--on", "val")}
    assert on_val["mixing α=0.5"].startswith("8.05 [") and set(on_val) == {
        "mixing α=0.25", "mixing α=0.5", "mixing α=0.75", "mixing α by val"
    }  # fmt: skip
    runs = {row["strategy"]: row["Common NME %"] for row in table(cli, tmp_path, "runs")}
    assert set(runs.values()) == {"-"}, "nor in the table of all runs"


def test_each_synthetic_source_has_tables_and_a_family_of_its_own(cli: Cli, tmp_path: Path) -> None:
    write_figures(tmp_path)
    worse = {key: [nme + 1 for nme in values] for key, values in FIGURES.items() if key[0] != "real_only"}
    write_figures(tmp_path, worse, source="dgfaces")
    rows = table(cli, tmp_path, "pairs")
    assert [row["synthetic"] for row in rows] == ["dgfaces"] * 5 + ["face_synthetics"] * 5
    by_source = [
        {(r["strategy"], r["against"]): r for r in rows if r["synthetic"] == s} for s in ("dgfaces", "face_synthetics")
    ]
    pair = ("label_adaptation", "synthetic_only")
    assert by_source[0][pair]["difference in NME"] == by_source[1][pair]["difference in NME"], "each against its own source"
    pair = ("real_only", "synthetic_only")
    assert by_source[0][pair]["difference in NME"] != by_source[1][pair]["difference in NME"]
    for rows_of in by_source:
        p_values = [float(row["p, t: value"]) for row in rows_of.values()]
        for row, p in zip(rows_of.values(), adjusted(p_values), strict=True):
            assert float(row["p, Holm: value"]) == pytest.approx(p, rel=1e-9), "corrected among its own five"
    text = cli("report", tmp_path).out
    assert "test_resnet 32 px gray, dgfaces" in text and "test_resnet 32 px gray, face_synthetics" in text
    assert text.count("steps: optimiser steps behind") == 1, "a note is said once"


# What isn't compared, and what counts once.


@pytest.mark.parametrize(
    ("setting", "value"),
    [("fit.batch_size", 8), ("fit.lr", 0.5), ("fit.ema", 0.0), ("fit.precision", "bf16"), ("n_synthetic", 12)],
)
def test_other_training_is_not_compared(cli: Cli, tmp_path: Path, setting: str, value: object) -> None:
    mine, other = ("synthetic_only", "label_adaptation") if setting == "n_synthetic" else ("real_only", "label_adaptation")
    write(tmp_path, seeds(mine, [6.0, 6.1]))
    write(tmp_path, seeds(other, [5.0, 5.2], settings={setting: value}))
    fails(cli("report", tmp_path, "--style", "pairs"), "no two runs here can be compared")
    titles = [line for line in cli("report", tmp_path, "--style", "strategies").out.splitlines() if line.startswith("NME %")]
    assert len(titles) == 2 and any(f"{setting}={value}" in title for title in titles)


@pytest.mark.parametrize(
    ("recipe", "setting", "value"),
    [("real_only", "fit.lr", 0.5), ("label_adaptation", "adapter.kind", "shift"), ("fine_tuning", "finetune.lr", 0.1),
     ("synthetic_only", "n_synthetic", 12), ("real_only", "n_real", None)],
)  # fmt: skip
def test_settings_that_tell_runs_apart_are_named(cli: Cli, tmp_path: Path, recipe: str, setting: str, value: object) -> None:
    more = {"n_real_train": 9} if setting == "n_real" else {}
    write(tmp_path, seeds(recipe, [6.0, 6.1], **more))
    write(tmp_path, seeds(recipe, [8.0, 8.1], settings={setting: value}, **more))
    rows = table(cli, tmp_path, "runs")
    assert [row["seeds"] for row in rows] == ["2", "2"] and any(f"{setting}={value}" in row["strategy"] for row in rows)
    rows = table(cli, tmp_path, "strategies")
    column = "0 real" if recipe == "synthetic_only" else "9 real"
    # With CSV's rows of several tables there is a header for each, where their columns differ.
    assert sorted(row[column].partition(" ")[0] for row in rows) == ["6.05", "8.05"]


def test_other_synthetic_faces_keep_a_row_and_a_name_of_their_own(cli: Cli, tmp_path: Path) -> None:
    for faces, nme in (("1111aaaa1111aaaa", 7.0), ("2222bbbb2222bbbb", 9.0)):
        write(tmp_path, seeds("label_adaptation", [nme, nme + 0.1], faces={"synthetic": faces}))
        write(tmp_path, seeds("synthetic_only", [nme + 2, nme + 2.2], faces={"synthetic": faces}))
    rows = table(cli, tmp_path, "strategies")
    means = {(row["table"].partition("faces=")[2], row["strategy"]): row["9 real"] or row["0 real"] for row in rows}
    assert {key: text[:4] for key, text in means.items()} == {
        ("1111aaaa", "synthetic_only"): "9.10", ("1111aaaa", "label_adaptation"): "7.05",
        ("2222bbbb", "synthetic_only"): "11.1", ("2222bbbb", "label_adaptation"): "9.05",
    }  # fmt: skip
    names = [row["strategy"] for row in table(cli, tmp_path, "runs")]
    assert "label_adaptation faces.synthetic=1111aaaa" in names and len(set(names)) == 4
    assert [row["difference in NME"].partition(" ")[0] for row in table(cli, tmp_path, "pairs")] == ["-2.05", "-2.05"]


def test_one_run_in_two_folders_is_one(cli: Cli, tmp_path: Path) -> None:
    runs = seeds("real_only", [6.0, 6.3, 6.6])
    write(tmp_path / "strategies", runs)
    once = table(cli, tmp_path, "runs")
    write(tmp_path, runs[:1])
    answer = cli("report", tmp_path, "--style", "runs", "--format", "csv")
    assert "1 result found more than once, counted once" in answer.err
    write(tmp_path / "again", runs)
    answer = cli("report", tmp_path, "--style", "runs", "--format", "csv")
    assert list(csv.DictReader(io.StringIO(answer.out))) == once, "three seeds present twice are three seeds"
    assert once[0]["seeds"] == "3" and "4 results found more than once" in answer.err


def test_copies_that_contradict_each_other_are_named(cli: Cli, tmp_path: Path) -> None:
    one = write(tmp_path / "a", [run_record(nme=6.0)])[0]
    other = write(tmp_path / "b", [run_record(nme=6.1)])[0]
    fails(cli("report", tmp_path), str(one), str(other), "/nme is 6.")


def test_two_runs_of_one_seed_are_named(cli: Cli, tmp_path: Path) -> None:
    """Same settings and seed, another key: on other splits, say."""
    one = write(tmp_path / "a", [run_record(nme=6.0)])[0]
    other = write(tmp_path / "b", [run_record(nme=6.0, key="another")])[0]
    fails(cli("report", tmp_path), str(one), str(other), "seed 0")


def test_a_run_without_a_value_is_left_out_and_counted(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, seeds("real_only", [6.0, 6.4, None]))
    write(tmp_path, seeds("label_adaptation", [7.0, 7.2, 7.4]))
    write(tmp_path, seeds("mixing", [8.0, 8.0], alpha=0.25))
    write(tmp_path, [run_record("mixing", 2, {"val": 8.5, "common": None}, alpha=0.25)])
    write(tmp_path, seeds("mixing", [9.0, 9.0, None], alpha=0.75))
    rows = {row["strategy"]: row for row in table(cli, tmp_path, "strategies")}
    low, high = stats.t.interval(0.95, 1, 6.2, stats.sem([6.0, 6.4]))
    assert rows["real_only"]["9 real"] == f"6.20 [{low:.2f}, {high:.2f}]" and rows["real_only"]["seeds"] == "2"
    assert rows["mixing α by val"]["9 real"] == "8.00 [8.00, 8.00]", "no value isn't the best"
    (pair,) = [row for row in table(cli, tmp_path, "pairs") if row["strategy"] == "label_adaptation"]
    assert pair["seeds"] == "2" and pair["difference in NME"].startswith("+0.90 [")
    text = cli("report", tmp_path, "--style", "strategies").out
    assert "3 runs without common NME left out." in text and "1 run without val NME left out." in text
    runs = cli("report", tmp_path, "--style", "runs").out
    assert "2 runs without val NME left out." in runs


def test_a_damaged_and_an_old_result_are_passed_over(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path, seeds("real_only", [6.0, 6.3]))
    once = table(cli, tmp_path, "runs")
    damaged, old, other = tmp_path / "damaged", tmp_path / "old", tmp_path / "other"
    for folder, text in (
        (damaged, '{"recipe": '),
        (old, '{"recipe": "real_only", "metrics": {}}'),
        (other, '{"accuracy": 1}'),
    ):
        folder.mkdir()
        (folder / "result.json").write_text(text)
    answer = cli("report", tmp_path, "--style", "runs", "--format", "csv")
    assert answer.code == 0 and list(csv.DictReader(io.StringIO(answer.out))) == once
    lines = answer.err.splitlines()
    assert "3 results passed over:" in lines
    for folder, reason in ((damaged, "damaged"), (old, "schema 0"), (other, "not a result of this suite")):
        assert [line for line in lines if str(folder) in line and reason in line], folder
    for folder in tmp_path.glob("real_only*"):
        shutil.rmtree(folder)
    answer = cli("report", tmp_path)
    fails(answer, "no finished run")
    assert "3 results passed over:" in answer.err
    fails(cli("report", tmp_path / "nowhere"), "no such folder")


def test_formats_and_files(cli: Cli, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_figures(runs)
    latex = cli("report", runs, "--style", "pairs", "--format", "latex").out
    assert r"\toprule" in latex and r"synthetic\_only" in latex and "$-$2.0" in latex
    out = tmp_path / "t.md"
    answer = cli("report", runs, "--style", "strategies", "--out", out)
    assert answer.out == "" and f"5 rows written to {out}" in answer.err
    assert out.read_text() == cli("report", runs, "--style", "strategies", "--format", "markdown").out
    assert "| synthetic_only | face_synthetics | 4 / 4 |" in out.read_text()
    fails(cli("report", runs, "--out", tmp_path / "none" / "t.md"), "can't be written")


def test_the_original_studys_row_stands_beside_a_run(cli: Cli, tmp_path: Path) -> None:
    run = run_record("synthetic_only", settings={"model.backbone": "resnet18"})
    best = {"source_val": {"source_val/loss": 0.0321, "step": 3}}
    write(tmp_path, [replace(run, stages=[replace(run.stages[0], best=best, seconds=90, n_train=8)])])
    published, here = table(cli, tmp_path, "original_study")
    assert (published["minutes"], published["training loss"], published["best epoch"]) == ("173", "0.0205", "83")
    # 4 steps of 4 images are two passes over 8.
    assert (here["images"], here["minutes"], here["best validation loss"]) == ("24", "1.5", "0.0321")
    assert here["best epoch"] == "1.5" and here["settings"] == "2 epochs, lr 0.002, 32 px, from scratch"


def test_real_images_saved_and_the_curves_behind_them(cli: Cli, tmp_path: Path) -> None:
    figures = {10: 8.0, 100: 6.0, 1000: 5.0}
    for rule, more in (("real_val", 0.0), ("budget", 1.0)):
        for n, nme in figures.items():
            write(tmp_path, seeds("real_only", [nme + more + d for d in (0, 0.1, 0.2)], n_real=n, selection=rule))
        write(tmp_path, seeds("label_adaptation", [6.0, 6.1, 6.2], n_real=10, selection=rule))
        write(tmp_path, seeds("label_adaptation", [4.0, 4.1, 4.2], n_real=100, selection=rule))
    rows = {(row["picked by"], row["real images"]): row for row in table(cli, tmp_path, "saved")}
    mine = rows["real_val", "10"]
    assert (mine["strategy"], mine["NME %"].partition(" ")[0], mine["[ ] over"]) == ("label_adaptation", "6.10", "seeds")
    assert (mine["real_only reaches it at"], mine["saved"]) == ("100 [100, 100]", "+90 [+90, +90]")
    assert float(mine["real_only reaches it at: estimate"]) == pytest.approx(100)
    assert float(mine["saved: low"]) == pytest.approx(90) and mine["real_only ran at: largest"] == "1000"
    assert rows["budget", "10"]["saved"] == "+990 [+990, +990]"
    for rule in ("real_val", "budget"):
        assert rows[rule, "100"]["saved"] == "> +900 [> +900, > +900]" and rows[rule, "100"]["saved: estimate"] == ""
    points = table(cli, tmp_path, "curves")
    assert len(points) == 10 and {row["axis"] for row in points} == {"real images"}
    means = {(row["strategy"], row["picked by"], row["value"]): float(row["NME %: mean"]) for row in points}
    assert means["real_only", "budget", "1000"] == pytest.approx(6.1)
    assert means["label_adaptation", "real_val", "10"] == pytest.approx(6.1)
    text = cli("report", tmp_path).out
    assert "Real images saved, NME % on common" in text and "by real images" not in text, "that is the table of strategies"
    for format in ("markdown", "latex"):
        assert "Real images saved" in cli("report", tmp_path, "--style", "saved", "--format", format).out
    assert "their figures" not in text and "flatter" in cli("report", tmp_path, "--style", "saved", "--on", "val").out


def test_faces_on_which_a_strategy_is_better(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    off = {recipe: rng.uniform(1, 3, (3, 6)) + more for recipe, more in (("label_adaptation", 0.0), ("synthetic_only", 0.5))}
    for recipe, moved in off.items():
        for folder, faces in zip(write(tmp_path, seeds(recipe, [6.0, 6.1, 6.2])), moved, strict=True):
            write_predictions(folder, "common", list(faces))
    (row,) = table(cli, tmp_path, "pairs")
    mine, other = off["label_adaptation"], off["synthetic_only"]
    won = stats.mannwhitneyu(other, mine, axis=0).statistic / 9
    assert float(row["P(better) by face: mean"]) == pytest.approx(won.mean(), rel=1e-9)
    low, high = (float(row[f"P(better) by face: {end}"]) for end in ("low", "high"))
    assert 0 < low < won.mean() < high <= 1 and row["P(better) by run"] == "0.50"
    path = next(tmp_path.glob("synthetic_only-s1*")) / "predictions.npz"
    write_predictions(path.parent, "common", [1.0] * 5)
    answer = cli("report", tmp_path, "--style", "pairs")
    assert (
        answer.code == 0
        and "1 row without P(better) by face" in answer.out
        and f"{path}: on other common faces" in answer.out
    )
    write_predictions(path.parent, "private", [1.0] * 6)
    assert f"{path}: no predictions on common" in cli("report", tmp_path, "--style", "pairs").out


def test_a_page_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    runs, page = tmp_path / "runs", tmp_path / "page.html"
    write_figures(runs)
    answer = cli("report", runs, "--html", page)
    assert answer.code == 0 and answer.out == "" and f"{page}: the page of 20 runs" in answer.err
    text = page.read_text()
    # The mean of the synthetic runs and of the shorter of the two lengths of real data alone, and their difference.
    said = re.search(r"errs by ([\d.]+)% on .* on 9 real faces by ([\d.]+)%: a gap of ([\d.]+) points", text)
    assert said is not None and [float(n) for n in said.groups()] == pytest.approx([9.075, 6.45, 2.625], abs=0.006)
    for style in ("strategies", "pairs", "runs"):
        for title in {row.get("table", "") for row in table(cli, runs, style)}:
            assert title in text
    (runs / "broken").mkdir()
    (runs / "broken" / "result.json").write_text("{")
    again = cli("report", runs, "--html", page)
    assert again.code == 0 and "1 result passed over" in again.err and "1 result passed over" in page.read_text()


@pytest.mark.parametrize("more", [["--style", "runs"], ["--format", "csv"], ["--out", "x.md"]])
def test_a_page_has_every_table(cli: Cli, tmp_path: Path, more: list[str]) -> None:
    write_figures(tmp_path / "runs")
    fails(cli("report", tmp_path / "runs", "--html", tmp_path / "page.html", *more), "--html has every table")
    assert not (tmp_path / "page.html").exists()


def test_where_a_page_can_not_be_written(cli: Cli, tmp_path: Path) -> None:
    write_figures(tmp_path / "runs")
    fails(cli("report", tmp_path / "runs", "--html", tmp_path / "none" / "page.html"), "--html")
    fails(cli("report", tmp_path / "runs", "--html", tmp_path), "is a folder")


def test_the_worst_faces_of_each_group(cli: Cli, tmp_path: Path) -> None:
    tails = {"nme_p90": 9.0, "nme_p95": 11.0, "nme_p99": 20.0}
    for recipe, nme in (("synthetic_only", 8.0), ("real_only", 5.0)):
        runs = seeds(recipe, [nme, nme + 0.2])
        more = [{f"test/common/{name}": of + run.seed for name, of in tails.items()} for run in runs]
        write(tmp_path, [replace(run, metrics=run.metrics | own) for run, own in zip(runs, more, strict=True)])
    write(tmp_path, seeds("label_adaptation", [6.0, 6.1]))  # of a version without these figures
    rows = table(cli, tmp_path, "tails")
    assert [row["strategy"] for row in rows] == ["synthetic_only", "real_only"]
    low, high = stats.t.interval(0.95, 1, 11.5, stats.sem([11.0, 12.0]))
    assert rows[1]["P95 %"] == f"11.50 [{low:.2f}, {high:.2f}]" and float(rows[0]["P99 %: mean"]) == 20.5
    text = cli("report", tmp_path).out
    assert "The worst faces, NME % on common" in text and "1 group of an earlier version without these figures" in text
    runs = {row["strategy"]: row for row in table(cli, tmp_path, "runs")}
    assert [runs["real_only"][name] for name in ("Common P90 %", "P95 %", "P99 %")] == ["9.50", "11.50", "20.50"]
    assert runs["label_adaptation"]["P95 %"] == "-"
    other = tmp_path / "other"
    write(other, seeds("real_only", [5.0]))
    fails(cli("report", other, "--style", "tails"), "no run here has P90, P95 and P99")
    fails(cli("report", other, "--style", "conditions"), "no predictions here")
