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
    # Three, five and six strategies, with their companions: another selection rule, a longer real_only.
    assert len(runs) == 5 * (4 + 7 + 8) and {run.settings.seed for run in runs} == {0, 1, 2, 3, 4}
    dials = {
        tuple(getattr(run.settings.real.generated, g) for g in ("label_gap", "appearance_gap", "population_gap"))
        for run in runs
    }
    assert dials == {(0, 0, 0), (1, 0, 0), (0, 1, 0)}
    for planned in runs:
        settings: Any = planned.settings
        real = settings.real.generated.n_train - settings.real.n_val
        assert settings.n_real is None if hasattr(settings, "n_real") else planned.recipe.name == "synthetic_only"
        if hasattr(settings, "synthetic"):
            synthetic, split = settings.synthetic.generated.n, settings.synthetic.val_split
            assert synthetic - round(split * synthetic) == real == 2700
    steps = {(run.recipe.name, run.settings.fit.steps) for run in runs}
    assert {n for recipe, n in steps if recipe != "real_only"} == {480}
    assert {n for recipe, n in steps if recipe == "real_only"} == {480, 480 + 240}
    # One synthetic network a seed for all three conditions, validated on the faces of each.
    firsts = {run.outline.stages[0].key for run in runs if run.outline.stages[0].title == "synthetic"}
    assert len(firsts) == 5
    assert {
        len(configs)
        for run, configs in zip(runs, map(alongside(runs).get, [r.key for r in runs]), strict=True)
        if run.outline.stages[0].title == "synthetic" and configs
    } == {3}


TINY = [
    "--synthetic.generated.n=24", "--synthetic.val_split=0.25", "--real.generated.n_train=24", "--real.n_val=6",
    "--real.generated.n_test=8", "--fit.steps=2", "--fit.val_every=1", "--fit.batch_size=4",
]  # fmt: skip


def test_check_only_and_pairs_without_a_network(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folders = [f"--runs_dir={tmp_path / 'runs'}", f"--prepared_dir={tmp_path / 'prepared'}"]
    fails(cli("laboratory", "--short", "--check-only", *TINY, *folders), "none of the study's runs", "without --check_only")
    plan = planned_runs(
        Path("configs/laboratory.yaml"), [*TINY, "--crop.size=32", "--adapter.kind=linear", *folders], RECIPES
    )
    dials = TargetConfig(24, 8, 1, 1.0, 0.0, 0.0)
    adapter = tmp_path / "mixing" / "checkpoints"
    adapter.mkdir(parents=True)
    LabelAdapter().double().save(adapter / "adapter_labels.ckpt")
    condition = Condition(dials, [run_record("mixing", folder=tmp_path / "mixing")])
    settings = pairs_settings(condition, plan)
    assert settings.adapter.kind == "linear"
    pairs = pairs_of(condition, settings, open_real(settings), open_synthetic(settings))
    assert (pairs.n_train, pairs.n_test) == (18, 8) and [row.judged for row in pairs.rows] == [True, False, False]
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
    options = ["--short", *TINY, f"--runs_dir={folder}", f"--prepared_dir={tmp_path / 'prepared'}"]
    answer = cli("laboratory", *options)
    assert answer.code == 0, answer.err
    assert "38 of 38 runs finished" in answer.err
    content = json.loads((folder / "laboratory.json").read_text())
    assert content["short"] and list(content["conditions"]) == ["label_gap 1", "appearance_gap 1", "all dials 0"]
    assert [len(condition["runs"]) for condition in content["conditions"].values()] == [6, 12, 14]
    # The gap, its share and three adapters; the gap, gain, two movements, fine_tuning twice; five strategies, a movement.
    found = [check["condition"] for check in content["checks"]]
    assert [found.count(name) for name in content["conditions"]] == [5, 6, 6]
    assert {check["verdict"] for check in content["checks"]} <= {"passed", "MISSED", "reported"}
    for check in content["checks"]:
        assert check["verdict"] in answer.out
        # After two steps there may be no gap, and then no share of one.
        assert check["measured"] is not None or "no gap to close" in check["note"]
    text = (folder / "laboratory.md").read_text()
    assert "**Checks**" in text and "| real_only | 4 |" in text and "Held-out pairs of labels, label_gap 1" in text
    again = cli("laboratory", "--check_only", *options)
    assert again.code == 0 and again.out == answer.out and "runs finished" not in again.err
