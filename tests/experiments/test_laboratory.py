"""``domaingap laboratory``: the study's file, and a small study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domaingap.config import TargetConfig
from domaingap.models.label_adapter import LabelAdapter
from domaingap.study.laboratory import Condition
from domaingap.study.laboratory_pairs import pairs_of, pairs_settings
from domaingap.study.plan import alongside, planned_runs
from domaingap.study.run import open_real, open_synthetic
from experiments.recipes import RECIPES
from tests.conftest import Answer
from tests.experiments.test_cli import fails
from tests.study.records import run_record

Cli = Callable[..., Answer]
ROOT = Path(__file__).parents[2]


def test_the_study_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    runs = planned_runs(Path("configs/laboratory.yaml"), [], RECIPES)
    # Five strategies four times, four twice, with synthetic_only under another selection rule; and fine_tuning five times.
    assert len(runs) == 6 * (4 * 6 + 2 * 5 + 5) and {run.settings.seed for run in runs} == set(range(6))

    def dials_of(run: Any) -> tuple[float, ...]:
        of = run.settings.real.generated
        return (of.label_gap, of.appearance_gap, of.population_gap)

    dials = {dials_of(run) for run in runs}
    assert dials == {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)}
    asked = {dial: {run.recipe.name for run in runs if dials_of(run) == dial} for dial in dials}
    assert all(asked[dial] == set(RECIPES) for dial in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1))), "all six strategies"
    for planned in runs:
        settings: Any = planned.settings
        real = settings.real.generated.n_train - settings.real.n_val
        assert settings.n_real is None if hasattr(settings, "n_real") else planned.recipe.name == "synthetic_only"
        if hasattr(settings, "synthetic"):
            synthetic, split = settings.synthetic.generated.n, settings.synthetic.val_split
            assert synthetic - round(split * synthetic) == real == 2700
    steps = {(run.recipe.name, run.settings.fit.steps) for run in runs}
    assert {n for recipe, n in steps if recipe != "fine_tuning"} == {360}
    tuned: list[Any] = [run.settings for run in runs if run.recipe.name == "fine_tuning"]
    assert {settings.fit.steps + settings.finetune.steps for settings in tuned} == {360}
    # One synthetic network a seed for all conditions, validated on the faces of each, and a shorter one to tune.
    firsts = {run.outline.stages[0].key for run in runs if run.outline.stages[0].title == "synthetic"}
    assert len(firsts) == 2 * 6
    assert {
        len(configs)
        for run, configs in zip(runs, map(alongside(runs).get, [r.key for r in runs]), strict=True)
        if run.outline.stages[0].title == "synthetic" and configs
    } == {5, 6}


TINY = [
    "--synthetic.generated.n=24", "--synthetic.val_split=0.25", "--real.generated.n_train=24", "--real.n_val=6",
    "--real.generated.n_test=8", "--fit.steps=2", "--fit.val_every=1", "--fit.batch_size=4",
]  # fmt: skip


def test_check_only_and_pairs_without_a_network(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folders = [f"--runs_dir={tmp_path / 'runs'}", f"--prepared_dir={tmp_path / 'prepared'}"]
    fails(cli("laboratory", "--short", "--check-only", *TINY, *folders), "none of the study's runs", "without --check_only")
    plan = planned_runs(Path("configs/laboratory.yaml"), [*TINY, "--crop.size=32", *folders], RECIPES)
    dials = TargetConfig(24, 8, 1, 1.0, 0.0, 0.0)
    adapter = tmp_path / "mixing" / "checkpoints"
    adapter.mkdir(parents=True)
    LabelAdapter().double().save(adapter / "adapter_labels.ckpt")
    condition = Condition(dials, [run_record("mixing", folder=tmp_path / "mixing")])
    settings = pairs_settings(condition, plan)
    assert settings.adapter.kind == "auto"
    pairs = pairs_of(condition, settings, open_real(settings), open_synthetic(settings))
    assert (pairs.n_train, pairs.n_test) == (18, 8) and [row.judged for row in pairs.rows] == [True, False, True]
    free, _, identity = (row.removed for row in pairs.rows)
    assert free.distance.mean > 0 and identity.distance == (0, 0, 0)
    before = identity.nme
    assert before["jaw"][0] > 1 and before["eyes"][0] == pytest.approx(0), "people put jaw points elsewhere, and no eyes"


def test_wrong_files(cli: Cli, tmp_path: Path) -> None:
    fails(cli("laboratory", tmp_path / "none.yaml"), "none.yaml", "no such file")
    file = tmp_path / "real.yaml"
    file.write_text("method: grid\nparameters: {recipe: {value: real_only}}\n")
    fails(cli("laboratory", file), "real.yaml", "generated faces", "real.source")
    fails(cli("laboratory", file, "--shorter", "1"), "--shorter")


@pytest.mark.slow
def test_a_short_study(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "runs"
    options = ["--short", "--jobs=1", *TINY, f"--runs_dir={folder}", f"--prepared_dir={tmp_path / 'prepared'}"]
    answer = cli("laboratory", *options)
    assert answer.code == 0, answer.err
    assert "88 of 88 runs finished" in answer.err
    content = json.loads((folder / "laboratory.json").read_text())
    assert content["short"] and set(content["conditions"]) == {
        "label_gap 1", "label_gap 1, appearance_gap 1", "label_gap 1, appearance_gap 1, population_gap 1", "all dials 0",
        "appearance_gap 1", "population_gap 1",
    }  # fmt: skip
    runs = {name: len(condition["runs"]) for name, condition in content["conditions"].items()}
    # --short gives fine_tuning's first stage no less than others: real_only of as many steps joins it.
    assert set(runs.values()) == {14, 12, 8} and runs["population_gap 1"] == 8 and runs["appearance_gap 1"] == 12
    found = [check["condition"] for check in content["checks"]]
    # Of labels: the gap, two shares, a gain, mixing, fine_tuning, two adapters; of labels alone two of S labels, too.
    assert {name: found.count(name) for name in content["conditions"]} == {
        "label_gap 1": 10, "label_gap 1, appearance_gap 1": 8, "label_gap 1, appearance_gap 1, population_gap 1": 8,
        "all dials 0": 6, "appearance_gap 1": 6, "population_gap 1": 2,
    }  # fmt: skip
    assert {check["verdict"] for check in content["checks"]} <= {"passed", "MISSED", "reported"}
    for check in content["checks"]:
        assert check["verdict"] in answer.out
        # After two steps there may be no gap, and then no share of one.
        assert check["measured"] is not None or "no gap to close" in check["note"]
    text = (folder / "laboratory.md").read_text()
    assert "**Checks**" in text and "| real_only | 2 |" in text and "Held-out pairs of labels, label_gap 1" in text
    again = cli("laboratory", "--check_only", *options)
    assert again.code == 0 and again.out == answer.out and "runs finished" not in again.err
