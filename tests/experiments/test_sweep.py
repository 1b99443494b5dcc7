"""``domaingap sweep``: plans, runs, goes on, and says what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from domaingap.study.plan import planned_runs
from experiments.recipes import RECIPES
from tests.conftest import Answer
from tests.experiments.test_cli import fails

Cli = Callable[..., Answer]


def write(path: Path, *documents: dict[str, object]) -> Path:
    path.write_text("---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents))
    return path


def grid(**parameters: object) -> dict[str, object]:
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


def test_the_first_parameter_changes_slowest_and_nesting_is_dots() -> None:
    from domaingap.study.plan import _grid

    document = {"parameters": {"a": {"values": [1, 2]}, "fit": {"parameters": {"steps": {"values": [3, 4]}}}}}
    cells = [tuple(cell.items()) for cell in _grid(Path("f"), document)]
    assert cells == [(("a", a), ("fit.steps", b)) for a in (1, 2) for b in (3, 4)]


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
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[5, 5000, 6]))
    answer = cli("sweep", file, *quick)
    assert answer.code == 1
    assert "[2/3] real_only failed: --n_real is 5000" in answer.err
    assert "2 of 3 runs finished" in answer.err and "1 failed" in answer.err
    assert "failed: real_only n_real 5000 seed 0" in answer.err
    assert len(folders(tmp_path)) == 2

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
        ("method: bayes\nparameters: {recipe: {value: real_only}}", ["bayes", "only grid"]),
        ("method: grid\nparameters: {recipe: {value: distillation}}", ["distillation", "known: synthetic_only"]),
        ("method: grid\nparameters: {seed: {values: [0]}}", ["no recipe"]),
        ("method: grid\nparameters: {recipe: real_only}", ["value: real_only"]),
        ("method: grid\nparameters: {recipe: {value: real_only}, fit.lr: {min: 0, max: 1}}", ["fit.lr", "values"]),
        ("method: grid\nparameters: {recipe: {value: real_only}, fit.lr: {values: []}}", ["fit.lr", "values"]),
        ("method: grid\nparameters: {recipe: {value: real_only}, fit.steps: {value: many}}", ["fit.steps"]),
        ("method: grid\ngrid: 1\nparameters: {recipe: {value: real_only}}", ["unknown key 'grid'"]),
        ("method: [grid", ["not YAML"]),
        ("", ["empty"]),
        ("- 1", ["method: grid"]),
    ],
)
def test_malformed_files(cli: Cli, tmp_path: Path, text: str, fragments: list[str]) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(text)
    fails(cli("sweep", file), str(file), *fragments)


def test_wrong_options(cli: Cli, tmp_path: Path) -> None:
    fails(cli("sweep"), "FILE")
    fails(cli("sweep", tmp_path / "none.yaml"), "none.yaml", "No such file")
    file = write(tmp_path / "s.yaml", grid(recipe="real_only"))
    fails(cli("sweep", file, "--alpha", "0.5"), "--alpha", "not a setting of any run")
    fails(cli("sweep", file, "--n_real"), "--n_real needs a value")
    fails(cli("sweep", file, "more"), "more")
    fails(cli("sweep", file, "--fit.steps", "x"), "fit.steps")
    fails(cli("report", "--unknown"), "--unknown")
