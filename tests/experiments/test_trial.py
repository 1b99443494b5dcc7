"""``domaingap trial``: the run that W&B's agents ask for is the sweep's own, under the sweep's rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.recipes import RECIPES
from tests.conftest import Answer
from tests.experiments.test_cli import fails
from tests.experiments.test_sweep import grid, write

Cli = Callable[..., Answer]


def results(folder: Path) -> dict[tuple[str, float | None], dict[str, Any]]:
    contents = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    return {(content["recipe"], content["alpha"]): content for content in contents}


def test_trials_are_the_sweeps_runs(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    """In any order of options; the last one finished scores the test sets of what validation picks."""
    file = write(tmp_path / "s.yaml", grid(recipe=["real_only", "mixing"], alpha=[0.25, 0.75], n_real=[9, None], seed=0))
    fixed = [*quick, "--adapter.kind=shift"]
    first = cli("trial", file, "--alpha=0.75", *fixed, "--n_real=9", "--recipe=mixing", "--seed=0")
    assert first.code == 0 and "1 of 2 α have no validation NME" in " ".join(first.err.split()), first.err
    assert "mixing" in first.out and "val" in first.out and "common" not in first.out
    second = cli("trial", file, "alpha=0.25", "recipe=mixing", "n_real=9", *fixed)
    assert second.code == 0 and "picked on validation from 2" in " ".join(second.err.split()), second.err
    found = results(tmp_path / "runs")
    scored = [alpha for (_, alpha), content in found.items() if "test/common" in content["counts"]]
    assert scored == [min(found, key=lambda key: found[key]["metrics"]["val/nme"])[1]]
    third = cli("trial", file, *fixed, '{"recipe": "real_only", "alpha": 0.25, "n_real": 9}')
    assert third.code == 0 and "test/common" in results(tmp_path / "runs")["real_only", None]["counts"], "it has no rival"
    again = cli("trial", file, *fixed, "--recipe=real_only", "--alpha=0.75", "--n_real=9")
    assert again.code == 0 and "finished before" in again.err and again.out == third.out
    plan = cli("sweep", file, *fixed, "--plan")
    assert plan.code == 0 and "6 runs, 3 of them finished before" in plan.err
    other = cli("trial", file, *fixed, "--fit.lr=0.001", "--recipe=real_only", "--alpha=0.75", "--n_real=8")
    assert other.code == 0 and "no run of" in other.err and "done all the same" in " ".join(other.err.split())


def test_score_test_false_scores_none(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[8, 9]))
    answer = cli("trial", file, *quick, "--n_real=9", "--score_test=False")
    assert answer.code == 0 and not any(
        key.startswith("test/") for key in results(tmp_path / "runs")["real_only", None]["counts"]
    )


def test_wrong_trials(cli: Cli, tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe=["real_only", "mixing"], alpha=[0.25, 0.75], seed=[0, 1]))
    fails(cli("trial"), "FILE")
    fails(cli("trial", tmp_path / "none.yaml"), "none.yaml", "no such file")
    fails(cli("trial", file, "--alpha=0.25", "--seed=0"), "--recipe is missing")
    fails(cli("trial", file, "--recipe=real_only", "--alpha=0.25", "--seed=x"), "seed", "x")
    fails(cli("trial", file, "--recipe=distillation", "--alpha=0.25", "--seed=0"), "distillation", "known: synthetic_only")
    fails(
        cli("trial", file, "--recipe=mixing", "--alpha=0.25", "--seed=0", "--beta=1"),
        "--beta",
        "not a setting of any recipe",
    )
    fails(cli("trial", file, "--recipe=mixing", "--alpha=2", "--seed=0"), "alpha", "is 2")
    fails(cli("trial", file, "--recipe=mixing", "--alpha=0.25", "--seed=0", "loose"), "loose: unexpected")
    fails(cli("trial", file, "--recipe=mixing", "--alpha=0.25", "--seed=0", "--seed=1"), "--seed stands twice")
    two = write(tmp_path / "t.yaml", grid(recipe="real_only"), grid(recipe="mixing"))
    fails(cli("trial", two), "t.yaml", "2 documents")
    broken = tmp_path / "b.yaml"
    broken.write_text("method: grid\nparameters: {recipe: {value: real_only}, seeed: {value: 1}}")
    fails(cli("trial", broken), "b.yaml:2", "seeed", "not a setting of")


def test_help(cli: Cli) -> None:
    answer = cli("trial", "--help")
    assert answer.code == 0 and "wandb agent --forward-signals" in answer.out and "--n_real=None" in answer.out


def test_random_sweeps(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    document = {
        "method": "random",
        "parameters": {
            "recipe": {"value": "real_only"},
            "n_real": {"min": 5, "max": 7},
            "fit.lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.01},
        },
    }
    file = write(tmp_path / "s.yaml", document)
    fails(cli("sweep", file, *quick), "s.yaml:1", "--count N", "run_cap")
    fails(cli("sweep", file, "--count=0"), "--count", "is 0")
    two = cli("sweep", file, *quick, "--count=2")
    assert two.code == 0 and "2 of 2 runs finished, 2 of them now" in two.err, two.err
    three = cli("sweep", file, *quick, "--count=3")
    assert three.code == 0 and "3 runs, 2 of them finished before" in three.err
    assert "3 runs, 0 of them" in cli("sweep", file, *quick, "--count=3", "--sweep-seed=1", "--plan").err
    rates = [json.loads(p.read_text())["config"]["fit"]["lr"] for p in (tmp_path / "runs").glob("*/result.json")]
    assert len(set(rates)) == 3 and all(0.001 < rate < 0.01 for rate in rates)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_lacks_is_left_out(tmp_path: Path, recipe: str) -> None:
    from domaingap.study.plan import planned_runs
    from domaingap.study.trial import planned_trial

    file = write(
        tmp_path / "s.yaml", grid(recipe=list(RECIPES), alpha=[0.25, 0.75], n_real=[10, None], adapter__kind="shift")
    )
    trial = planned_trial(file, ["--adapter.kind=shift", "--alpha=0.25", "--n_real=None", f"--recipe={recipe}"], RECIPES)
    assert trial.run.key in {run.key for run in planned_runs(file, [], RECIPES, True)} and not trial.note
