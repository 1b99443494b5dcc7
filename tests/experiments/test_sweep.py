"""``domaingap sweep``: plans, runs, goes on, and says what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from domaingap.errors import UserError
from domaingap.study.plan import planned_runs
from experiments.recipes import RECIPES
from tests.conftest import Answer
from tests.experiments.test_cli import fails

Cli = Callable[..., Answer]


def write(path: Path, *documents: dict[str, object]) -> Path:
    path.write_text("---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents))
    return path


def grid(**parameters: object) -> dict[str, Any]:
    return {
        "method": "grid",
        "parameters": {
            name.replace("__", "."): {"values": value} if isinstance(value, list) else {"value": value}
            for name, value in parameters.items()
        },
    }


def folders(tmp_path: Path) -> list[str]:
    return sorted(path.parent.name for path in (tmp_path / "runs").rglob("result.json"))


def test_plan(cli: Cli, tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.yaml",
        grid(
            recipe=["synthetic_only", "real_only", "mixing", "fine_tuning"], seed=[0, 1], n_real=[5, None], alpha=[0.25, 0.5]
        ),
    )
    answer = cli("sweep", file, "--plan")
    assert answer.code == 0, answer.err
    text = " ".join(answer.err.split())
    # n_real and alpha are no concern of synthetic_only, nor alpha of real_only: these run once, not once per value.
    assert "18 runs" not in text and "2 synthetic_only seed 0, 1" in text
    assert "4 real_only" in text and "8 mixing" in text and "n_real 5, all; alpha 0.25, 0.5" in text
    assert "2 more by the protocol: synthetic_only under both selection rules" in text
    assert "4 more by the protocol: real_only also at fine_tuning's number of steps" in text
    assert "24 runs, 0 of them finished" in text
    assert "18 runs" in " ".join(cli("sweep", file, "--plan", "--exact").err.split())
    assert not (tmp_path / "runs").exists()


def test_the_first_parameter_changes_slowest_and_nesting_is_dots(tmp_path: Path) -> None:
    steps = {"fit": {"parameters": {"steps": {"values": [3, 4]}}}}
    document = grid(recipe="real_only", seed=[1, 2])
    document["parameters"] |= steps
    runs = planned_runs(write(tmp_path / "s.yaml", document), [], RECIPES)
    assert [(run.settings.seed, run.settings.fit.steps) for run in runs] == [(a, b) for a in (1, 2) for b in (3, 4)]


def test_a_sweep_runs_goes_on_and_ends_in_a_table(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        tmp_path / "s.yaml",
        grid(recipe=["synthetic_only", "label_adaptation", "fine_tuning", "real_only"], seed=[0, 1], n_real=9),
        grid(recipe="mixing", alpha=0.5, n_real=9, seed=[0, 1]),
    )
    options = [*quick, "--adapter.kind=shift"]
    from domaingap.training import fit_stage

    stages: list[str] = []

    def counted(title: str, *arguments: object, **more: object) -> object:
        if len(stages) == 4:
            raise KeyboardInterrupt
        stages.append(title)
        return fit_stage(title, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("domaingap.stages.fit_stage", counted)
    stopped = cli("sweep", file, *options)
    assert stopped.code == 130 and "give the same command again" in stopped.err
    before = folders(tmp_path)
    assert 0 < len(before) < 14
    monkeypatch.setattr("domaingap.stages.fit_stage", fit_stage)
    answer = cli("sweep", file, *options)
    assert answer.code == 0, answer.err
    assert f"14 runs, {len(before)} of them finished before" in answer.err
    assert answer.err.count("(finished before)") == len(before)
    assert f"14 of 14 runs finished, {14 - len(before)} of them now" in answer.err
    assert "[14/14]" in answer.err and "min left" in answer.err
    assert "step 2/4" not in answer.err, "one line per run, not per validation"
    assert len(folders(tmp_path)) == 14
    row = next(line for line in answer.out.splitlines() if "mixing α=0.5" in line)
    assert "real_val (+ 6)" in row and "9 real" in answer.out
    # fine_tuning had 4 + 1 steps; so has a real_only.
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")]
    assert sorted(r["steps_answering"] for r in results if r["recipe"] == "real_only") == [4, 4, 5, 5]
    assert (
        sorted(r["selection"] for r in results if r["recipe"] == "synthetic_only") == ["real_val"] * 2 + ["source_val"] * 2
    )
    again = cli("sweep", file, *options)
    assert again.code == 0 and "14 of 14 runs finished, 0 of them now" in again.err and again.out == answer.out


def test_a_failed_run_does_not_stop_the_others(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from domaingap.study import run

    execute = run.execute

    def fails_once(recipe: Any, settings: Any, *more: Any) -> Any:
        if settings.n_real == 8:
            raise UserError("somebody took the picture away")
        return execute(recipe, settings, *more)

    monkeypatch.setattr(run, "execute", fails_once)
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[5, 8, 6]))
    answer = cli("sweep", file, *quick)
    assert answer.code == 1
    assert "failed: real_only n_real 8 seed 0: somebody took the picture away; log: " in answer.err
    assert "2 of 3 runs finished" in answer.err and "1 failed" in answer.err
    assert "failed: real_only n_real 8 seed 0" in answer.err
    assert len(folders(tmp_path)) == 2
    # What can be known beforehand is: nothing is begun.
    file = write(tmp_path / "u.yaml", grid(recipe="real_only", n_real=[9, 5000]))
    fails(cli("sweep", file, *quick), "u.yaml:", "n_real is 5000, but there are 28 training faces")
    assert len(folders(tmp_path)) == 2
    monkeypatch.setattr(run, "execute", execute)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("domaingap.stages.fit_stage", broken)
    answer = cli("sweep", write(tmp_path / "t.yaml", grid(recipe="real_only", n_real=[7, 8])), *quick)
    assert answer.code == 1 and "ZeroDivisionError: oops" in answer.err and "Traceback" not in answer.err


def test_a_mistake_in_all_runs_is_said_once(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", seed=[0, 1, 2]))
    answer = cli("sweep", file, *quick, f"--data_root={tmp_path / 'nowhere'}")
    assert answer.code == 2 and answer.err.count("nowhere") <= 2 and "[2/3]" not in answer.err


def test_runs_go_below_the_files_name_by_default(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", grid(recipe="real_only", seed=[0, 1]))
    runs = planned_runs(file, ["--data-root".replace("-r", "_r"), "elsewhere"], RECIPES)
    assert {str(run.settings.runs_dir) for run in runs} == {"runs/mine"}
    assert {run.settings.wandb.group for run in runs} == {"mine"}
    assert {str(run.settings.data_root) for run in runs} == {"elsewhere"}


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("method: grid\nparameters: {recipe: {value: real_only}, seeed: {value: 1}}", ["seeed", "not a setting of"]),
        ("method: bayes\nparameters: {recipe: {value: real_only}}", ["bayes needs a metric", "val/nme"]),
        ("method: grid\nparameters: {recipe: {value: distillation}}", ["distillation", "known: synthetic_only"]),
        ("method: grid\nparameters: {seed: {values: [0]}}", ["no recipe"]),
        ("method: grid\nparameters: {recipe: real_only}", ["value: real_only"]),
        ("method: grid\nparameters: {recipe: {value: real_only}, fit.lr: {min: 0.0, max: 1.0}}", ["fit.lr", "values"]),
        ("method: grid\nparameters: {recipe: {value: real_only}, fit.lr: {values: []}}", ["fit.lr", "values"]),
        ("method: grid\nparameters: {recipe: {value: real_only}, fit.steps: {value: many}}", ["fit.steps"]),
        ("method: grid\ngrid: 1\nparameters: {recipe: {value: real_only}}", ["unknown key 'grid'"]),
        ("method: [grid", ["not YAML"]),
        ("", ["empty"]),
        ("- 1", ["s.yaml:1", "key: value", "a sweep's YAML file"]),
    ],
)
def test_malformed_files(cli: Cli, tmp_path: Path, text: str, fragments: list[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    fails(cli("sweep", file), str(file), *fragments)


def test_wrong_options(cli: Cli, tmp_path: Path) -> None:
    fails(cli("sweep"), "FILE")
    fails(cli("sweep", tmp_path / "none.yaml"), "none.yaml", "no such file")
    file = write(tmp_path / "s.yaml", grid(recipe="real_only"))
    fails(cli("sweep", file, "--alpha", "0.5"), "--alpha", "not a setting of any run")
    fails(cli("sweep", file, "--n_real"), "--n_real needs a value")
    fails(cli("sweep", file, "more"), "more")
    fails(cli("sweep", file, "--fit.steps", "x"), "fit.steps")
    fails(cli("report", "--unknown"), "--unknown")


def test_only_the_alpha_that_validation_picks_is_scored_on_test(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.yaml",
        grid(recipe="mixing", alpha=[0, 0.5, 1], n_real=9, seed=[0, 1]),
        grid(recipe="real_only", n_real=9, seed=[0, 1]),
    )
    options = [*quick, "--adapter.kind=shift"]

    def results() -> dict[tuple[str, int, float | None], dict[str, Any]]:
        contents = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")]
        return {(c["recipe"], c["seed"], c["alpha"]): c for c in contents}

    answer = cli("sweep", file, *options)
    assert answer.code == 0, answer.err
    found = results()
    assert len(found) == 8
    for seed in (0, 1):
        mixed = {alpha: content for (recipe, s, alpha), content in found.items() if recipe == "mixing" and s == seed}
        scored = [alpha for alpha, content in mixed.items() if "test/common" in content["counts"]]
        best = min(mixed, key=lambda alpha: mixed[alpha]["metrics"]["val/nme"])
        assert scored == [best], "the best on validation, and no other"
        assert f"α {best:g} picked on validation from 3" in answer.err
        assert "test/common" in found["real_only", seed, None]["counts"], "competes with none"
    rows = [line for line in answer.out.splitlines() if "mixing" in line]
    assert sum("α by val" in row for row in rows) == 1 and len(rows) <= 2, "an α has a row where both seeds picked it"
    before = {key: content["metrics"] for key, content in found.items()}
    again = cli("sweep", file, *options)
    assert again.code == 0 and {key: content["metrics"] for key, content in results().items()} == before
    everything = cli("sweep", file, *options, "--score-test=all")
    assert everything.code == 0 and all("test/common" in content["counts"] for content in results().values())
    nothing = [option for option in options if not option.startswith("--runs_dir")]
    answer = cli("sweep", file, *nothing, f"--runs_dir={tmp_path / 'none'}", "--score_test=none")
    assert answer.code == 0 and "common" not in answer.out
    contents = [json.loads(path.read_text()) for path in (tmp_path / "none").rglob("result.json")]
    assert len(contents) == 8 and not any("test/common" in content["counts"] for content in contents)
    fails(cli("sweep", file, "--score_test=some"), "some")


def test_networks_are_shared_by_runs_that_validate_on_other_faces(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    """As in the laboratory: one synthetic network for several sets of real faces."""
    file = write(tmp_path / "s.yaml", grid(recipe="synthetic_only", real__n_val=[5, 6, 7]))
    plain = [option for option in quick if not option.startswith("--real.n_val")]
    assert "1 networks to train, for 6" in cli("sweep", file, *plain, "--plan").err
    answer = cli("sweep", file, *plain)
    assert answer.code == 0 and "6 of 6 runs finished" in answer.err
    assert len(list((tmp_path / "runs" / "stages").iterdir())) == 1
    (manifest,) = (tmp_path / "runs" / "stages").glob("*/manifest.json")
    files = json.loads(manifest.read_text())["files"]
    of_each = [name.rpartition(".")[2] for name in files]
    assert of_each.count("ckpt") == 1 + 3 + 1, "the last weights, the best on each of three sets and on the hold-out"
    assert of_each.count("npz") == 3 + 1, "answers on the watched faces of each"
    stages = [json.loads(path.read_text())["stages"] for path in (tmp_path / "runs").rglob("result.json")]
    assert all(s[0]["reused"] for s in stages), "made once, before the runs that share it"


def test_a_damaged_result_is_passed_over(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[5, 6]))
    assert cli("sweep", file, *quick).code == 0
    (path,) = (tmp_path / "runs").glob("real_only-n5-*/result.json")
    path.write_text("{")
    answer = cli("sweep", file, *quick)
    assert answer.code == 0 and "1 result passed over" in answer.err and f"{path}: damaged" in answer.err
    assert "2 runs, 1 of them finished before" in answer.err and "2 of 2 runs finished, 1 of them now" in answer.err


def test_no_alpha_is_scored_before_all_are_there(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from domaingap.study import run

    execute = run.execute

    def fails_once(recipe: Any, settings: Any, *more: Any) -> Any:
        if settings.alpha == 0.5:
            raise RuntimeError("the machine was struck by lightning")
        return execute(recipe, settings, *more)

    monkeypatch.setattr(run, "execute", fails_once)
    file = write(tmp_path / "s.yaml", grid(recipe="mixing", alpha=[0, 1, 0.5], n_real=9))
    answer = cli("sweep", file, *quick, "--adapter.kind=shift")
    assert answer.code == 1 and "1 of 3 α have no validation NME" in answer.err
    contents = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("result.json")]
    assert len(contents) == 2 and not any("test/common" in content["counts"] for content in contents)
