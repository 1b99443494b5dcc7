"""W&B's grammar: what its distributions draw, what is refused and where, and that W&B reads our files alike."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from domaingap.errors import UserError
from domaingap.study.distributions import DISTRIBUTIONS, choice_at, multiple, share, value_at
from domaingap.study.grammar import passed, read_sweeps
from domaingap.study.plan import planned_runs
from domaingap.study.trial import planned_trial
from experiments.recipes import RECIPES

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "configs" / "sweeps").rglob("*.yaml"))
FORMS = ("args", "args_no_hyphens", "args_no_equals", "args_json", "args_append_hydra", "args_override_hydra")
ALONE = [path for path in SWEEPS if len(list(yaml.safe_load_all(path.read_text()))) == 1]

# At u = 0.05, 0.37, 0.81: what W&B's own ``sweeps`` 0.3.0 (HyperParameter.ppf) answers.
QUANTILES: list[tuple[dict[str, Any], list[float]]] = [
    ({"distribution": "int_uniform", "min": 3, "max": 12}, [3, 6, 11]),
    ({"distribution": "uniform", "min": -1.0, "max": 3.0}, [-0.8, 0.48, 2.24]),
    ({"distribution": "log_uniform", "min": -9.0, "max": -2.0}, [0.000175126848, 0.001645024502, 0.035793105068]),
    ({"distribution": "log_uniform_values", "min": 0.0001, "max": 0.1}, [0.000141253754, 0.001288249552, 0.026915348039]),
    ({"distribution": "inv_log_uniform", "min": 2.0, "max": 9.0}, [0.000175126848, 0.001645024502, 0.035793105068]),
    (
        {"distribution": "inv_log_uniform_values", "min": 0.0001, "max": 0.1},
        [0.000141253754, 0.001288249552, 0.026915348039],
    ),
    ({"distribution": "normal", "mu": 1.0, "sigma": 2.0}, [-2.289707253903, 0.336293307126, 2.755792590102]),
    ({"distribution": "log_normal", "mu": 1.0, "sigma": 0.5}, [1.194315462502, 2.302679228128, 4.216258601715]),
    ({"distribution": "beta", "a": 2.0, "b": 5.0}, [0.062849891708, 0.210324632522, 0.42965732642]),
    ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, [0.0, 0.25, 0.75]),
    ({"distribution": "q_log_uniform", "min": 0.0, "max": 7.0, "q": 8}, [0, 16, 288]),
    ({"distribution": "q_log_uniform_values", "min": 1.0, "max": 1000.0, "q": 4}, [0, 12, 268]),
    ({"distribution": "q_normal", "mu": 10.0, "sigma": 4.0, "q": 2}, [4, 8, 14]),
    ({"distribution": "q_log_normal", "mu": 2.0, "sigma": 1.0, "q": 5}, [0, 5, 20]),
    ({"distribution": "q_beta", "a": 2.0, "b": 5.0, "q": 0.1}, [0.1, 0.2, 0.4]),
]


def written(folder: Path, content: Any) -> Path:
    path = folder / "s.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def drawn(count: int = 20, **specs: Any) -> dict[str, Any]:
    return {"method": "random", "run_cap": count, "parameters": {"recipe": {"value": "mixing"}, **specs}}


@pytest.mark.parametrize(("spec", "expected"), QUANTILES, ids=[spec["distribution"] for spec, _ in QUANTILES])
def test_quantiles_are_wandbs(spec: dict[str, Any], expected: list[float]) -> None:
    given = {key: value for key, value in spec.items() if key != "distribution"}
    values = [value_at(u, spec["distribution"], given) for u in (0.05, 0.37, 0.81)]
    assert values == pytest.approx(expected, rel=1e-8)
    assert all(isinstance(v, int) for v in values) == (
        spec["distribution"] == "int_uniform" or isinstance(spec.get("q"), int)
    )


def test_every_distribution_is_compared() -> None:
    assert {spec["distribution"] for spec, _ in QUANTILES} == set(DISTRIBUTIONS)


def test_draws_follow_the_distribution() -> None:
    """Kolmogorov and Smirnov's test of 2,000 draws; seeded, so it can't fail by chance tomorrow."""
    us = [share(0, "fit.lr", i) for i in range(2000)]
    assert stats.kstest(us, "uniform").pvalue > 0.05
    logs = [np.log(value_at(u, "log_uniform_values", {"min": 1e-4, "max": 1e-1})) for u in us]
    assert stats.kstest(logs, "uniform", (np.log(1e-4), np.log(1e3))).pvalue > 0.05
    both = np.corrcoef(us, [share(0, "fit.ema", i) for i in range(2000)])[0, 1]
    assert abs(both) < 0.05, "parameters are drawn independently of each other"
    counts = Counter(choice_at(u, "abc", (0.5, 0.0, 0.5)) for u in us)
    assert counts["b"] == 0 and abs(counts["a"] - 1000) < 100
    assert set(Counter(value_at(u, "int_uniform", {"min": 1, "max": 3}) for u in us)) == {1, 2, 3}
    assert min(us) > 0 and max(us) < 1


def test_multiples_are_as_written() -> None:
    assert multiple(0.29, 0.1) == 0.3 and 3 * 0.1 != 0.3
    assert multiple(7, 5) == 5 and isinstance(multiple(7.0, 5), int)


def test_random_runs_stay_what_they_are(tmp_path: Path) -> None:
    """The first runs of more are the runs of fewer, and another parameter changes nothing of the others."""
    alpha = {"distribution": "beta", "a": 2.0, "b": 2.0}
    lr = {"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1.0e-2}

    def runs(count: int | None, seed: int = 0, **more: Any) -> list[tuple[float, float]]:
        file = written(tmp_path, {"method": "random", "parameters": {"recipe": {"value": "mixing"}, "alpha": alpha, **more}})
        return [(r.settings.alpha, r.settings.fit.lr) for r in planned_runs(file, [], RECIPES, True, count, seed)]  # type: ignore[attr-defined]

    ten, twenty = runs(10, **{"fit.lr": lr}), runs(20, **{"fit.lr": lr})
    assert len(twenty) == 20 and twenty[:10] == ten and len(set(twenty)) == 20
    assert [alpha for alpha, _ in runs(10)] == [alpha for alpha, _ in ten]
    assert runs(10, seed=1) != runs(10)


def test_the_number_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {
        "method": "grid",
        "parameters": {"recipe": {"values": ["real_only", "mixing"]}, "alpha": {"values": [0.1, 0.2, 0.3]}},
    }
    file = written(tmp_path, grid)
    assert len(planned_runs(file, [], RECIPES, True)) == 4
    names = [(r.recipe.name, getattr(r.settings, "alpha", None)) for r in planned_runs(file, [], RECIPES, True, count=2)]
    assert names == [("real_only", None), ("mixing", 0.1)], "runs are counted, not combinations that are the same run"
    file = written(tmp_path, {**grid, "run_cap": 3, "early_terminate": {"type": "hyperband", "min_iter": 3}})
    assert len(planned_runs(file, [], RECIPES, True)) == 3 and len(planned_runs(file, [], RECIPES, True, count=2)) == 2
    assert "early_terminate is for W&B's own agents" in " ".join(capsys.readouterr().err.split())
    file = written(tmp_path, {**grid, "method": "random"})
    with pytest.raises(UserError, match=r"s.yaml:1: method: random has no end .* --count N.*run_cap"):
        planned_runs(file, [], RECIPES)
    few = planned_runs(file, [], RECIPES, True, count=40)
    assert len(few) == 4 and "40 draws are 4 different runs" in " ".join(capsys.readouterr().err.split())


def test_a_grid_of_steps_is_wandbs(tmp_path: Path) -> None:
    """As wandb/sweeps has it: both ends of int_uniform, and q_uniform without its max."""
    parameters = {
        "recipe": {"value": "mixing"},
        "seed": {"min": 3, "max": 5},
        "alpha": {"distribution": "q_uniform", "min": 0.1, "max": 0.9, "q": 0.2},
    }
    (sweep,) = read_sweeps(written(tmp_path, {"method": "grid", "parameters": parameters}))
    assert [p.values for p in sweep.parameters[1:]] == [(3, 4, 5), (0.1, 0.3, 0.5, 0.7)]


def test_project_and_entity_are_those_of_the_runs(tmp_path: Path) -> None:
    content = {"method": "grid", "project": "faces", "entity": "lab", "parameters": {"recipe": {"value": "real_only"}}}
    file = written(tmp_path, content)
    (run,) = planned_runs(file, [], RECIPES)
    assert (run.settings.wandb.project, run.settings.wandb.entity, run.settings.wandb.group) == ("faces", "lab", "s")
    (run,) = planned_runs(file, ["--wandb.project=mine"], RECIPES)
    assert run.settings.wandb.project == "mine"


WRONG = [
    ("alpha: {distribution: zipf}", ["alpha: distribution: zipf", "log_uniform_values"]),
    ("alpha: {min: 0}", ["alpha", "'min: ...' with 'max: ...'"]),
    ("alpha: {min: 0, max: 1.0}", ["alpha", "both as whole numbers, or both with a decimal point"]),
    ("alpha: {min: 1.0, max: 0.5}", ["alpha", "min is 1.0, max 0.5"]),
    ("fit.lr: {distribution: log_uniform_values, min: 1e-4, max: 0.1}", ["W&B reads 1e-4 as a word; write it as 0.0001"]),
    ("fit.lr: {distribution: log_uniform_values, min: 1e-7, max: 0.1}", ["write it as 1.0e-07"]),
    ("seed: {min: 010, max: 20}", ["W&B reads 010 as 8; write it as 10"]),
    ("fit.lr: {distribution: log_uniform_values, min: 0.0, max: 0.1}", ["min is 0.0", "above 0"]),
    ("fit.lr: {distribution: normal, mean: 0.1}", ["mean: normal takes mu, sigma"]),
    ("fit.lr: {distribution: normal, sigma: -1.0}", ["sigma is -1.0"]),
    ("fit.lr: {distribution: normal, mu: high}", ['mu is "high"']),
    ("fit.lr: {distribution: uniform, max: 1.0}", ["uniform needs min"]),
    ("fit.steps: {distribution: int_uniform, min: 1.5, max: 2.5}", ["whole numbers"]),
    ("alpha: {values: [0.1, 0.2], probabilities: [0.5]}", ["2 numbers, one for each value"]),
    ("alpha: {values: [0.1, 0.2], probabilities: [0.5, 0.4]}", ["their sum is 0.9"]),
    ("alpha: {values: [0.1], probabilities: [1.0], distribution: categorical}", ["alpha", "probabilities"]),
    ("alpha: {probabilities: [1.0]}", ["alpha", "probabilities"]),
    ("fit: {parameters: {}}", ["fit", "parameters"]),
    ("alpha: {value: 0.1, values: [0.1]}", ["alpha", "value"]),
    ("alpha: {value: 0.1, distribution: normal}", ["alpha"]),
    ("alpha: {distribution: normal, mu: 5.0}", ["alpha"]),
    ("fit.lr: {distribution: log_normal, sigma: 1000.0, mu: 2000.0}", ["too large to write"]),
]


@pytest.mark.parametrize(("line", "fragments"), WRONG, ids=[line for line, _ in WRONG])
def test_what_is_wrong_with_a_parameter(tmp_path: Path, line: str, fragments: list[str]) -> None:
    file = written(tmp_path, f"method: random\nrun_cap: 5\nparameters:\n  recipe: {{value: mixing}}\n  {line}\n")
    with pytest.raises(UserError) as caught:
        planned_runs(file, [], RECIPES)
    for fragment in ["s.yaml:5", *fragments]:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("metric: {name: val/mse}", ["val/mse: no metric of the runs", "val/nme"]),
        ("metric: {name: test/common/nme}", ["test sets pick nothing"]),
        ("metric: {name: val/nme, goal: maximize}", ["goal: minimize"]),
        ("metric: {name: val/auc@8}", ["goal: maximize"]),
        ("metric: val/nme", ["metric has a name and a goal"]),
        ("metric: {name: val/nme, direction: down}", ["unknown key 'direction'"]),
        ("run_cap: 0", ["run_cap is 0"]),
        ("run_cap: many", ['run_cap is "many"']),
        ("early_terminate: soon", ["early_terminate has a type"]),
        ("name: 7", ["name is 7; it is a text"]),
        ("command: domaingap trial", ["command is a list of words"]),
        ("command: [domaingap, trial, s.yaml]", ['no "${args}"']),
        ('command: [domaingap, trial, s.yaml, "${arg}"]', ["${arg}: W&B has"]),
        ("job: me/project/job:latest", ["unknown key 'job'"]),
    ],
)
def test_what_is_wrong_with_a_sweep(tmp_path: Path, line: str, fragments: list[str]) -> None:
    file = written(tmp_path, f"method: grid\n{line}\nparameters:\n  recipe: {{value: mixing}}\n")
    with pytest.raises(UserError) as caught:
        planned_runs(file, [], RECIPES)
    for fragment in ["s.yaml:2", *fragments]:
        assert fragment in str(caught.value)


def test_what_a_command_may_have(tmp_path: Path) -> None:
    command = ["${env}", "${interpreter}", "${program}", "${envvar:FLAGS}", "${args_no_hyphens}"]
    (sweep,) = read_sweeps(
        written(tmp_path, {**drawn(), "command": command, "metric": {"name": "val/auc@8", "goal": "maximize"}})
    )
    assert sweep.run_cap == 20
    content = drawn(**{"fit.augment": {"values": [True, False]}})
    with pytest.raises(UserError, match="args_no_boolean_flags.* leaves out that fit.augment is false"):
        read_sweeps(written(tmp_path, {**content, "command": ["x", "${args_no_boolean_flags}"]}))


def test_bayes_is_wandbs_own(tmp_path: Path) -> None:
    bayes = {
        "method": "bayes",
        "metric": {"name": "val/nme", "goal": "minimize"},
        "parameters": {"recipe": {"value": "mixing"}, "alpha": {"min": 0.0, "max": 1.0}},
    }
    file = written(tmp_path, bayes)
    with pytest.raises(UserError, match=r"s.yaml:1: method: bayes needs .* W&B's own agents do it"):
        planned_runs(file, [], RECIPES)
    trial = planned_trial(file, ["--alpha=0.123", "--recipe=mixing"], RECIPES)
    assert trial.run.settings.alpha == 0.123 and not trial.scored  # type: ignore[attr-defined]
    assert "other α are drawn" in trial.note
    del bayes["metric"]
    with pytest.raises(UserError, match="bayes needs a metric"):
        read_sweeps(written(tmp_path, bayes))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: str(path.relative_to(ROOT)))
def test_wandb_reads_our_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``wandb sweep`` itself looks at, and what its agent would start for a run: the one that the sweep has itself."""
    from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args, load_sweep_config

    monkeypatch.chdir(ROOT)
    file = path.relative_to(ROOT)
    runs = planned_runs(file, [], RECIPES, exact=True)
    if path not in ALONE:
        with pytest.raises(UserError, match="documents, and W&B's sweeps have one"):
            planned_trial(file, [], RECIPES)
        return
    config = load_sweep_config(str(file))
    assert config is not None
    config = _validate_config_and_fill_distribution(config)
    command = create_sweep_command(config["command"])
    assert command[:4] == ["${env}", "domaingap", "trial", str(file)] and "${args}" in command
    (sweep,) = read_sweeps(file)
    cells = list(sweep.cells(None, 0))
    chosen = random.Random(0).sample(cells, min(len(cells), 3))
    for number, form in enumerate(FORMS):
        cell = chosen[number % len(chosen)]
        # W&B's server orders parameters by name.
        given = {"args": {name: {"value": value} for name, value in sorted(cell.items())}}
        arguments = create_sweep_command_args(given)
        trial = planned_trial(file, arguments[form], RECIPES)
        assert trial.run.key in {run.key for run in runs}, (form, arguments[form])
        assert trial.run.settings in [run.settings for run in runs] and not trial.note
        several = {p.name: len(p.values) for p in sweep.parameters}.get("alpha", 1)
        assert len(trial.rivals) == (several if cell["recipe"] == "mixing" and several > 1 else 0)
        assert trial.scored == (not trial.rivals)


def test_what_agents_pass(tmp_path: Path) -> None:
    assert passed(["--n_real=None", "--score-test=False", "--fit.lr=1e-05", "--config=['a.yaml', 'b.yaml']"]) == {
        "n_real": None,
        "score_test": False,
        "fit.lr": "1e-05",
        "config": ["a.yaml", "b.yaml"],
    }
    assert passed(["--fit={'steps': 3, 'val_every': None}"]) == {"fit.steps": 3, "fit.val_every": None}
    assert passed(["--alpha", "0.5", "--reuse"]) == {"alpha": "0.5", "reuse": True}
    file = tmp_path / "config.json"
    file.write_text('{"alpha": 0.5, "n_real": null}')
    assert passed([str(file)]) == {"alpha": 0.5, "n_real": None}
    for arguments, fragment in ((["0.5"], "unexpected"), (["--a=1", "--a=2"], "twice"), (["{"], "not JSON")):
        with pytest.raises(UserError, match=fragment):
            passed(arguments)


def test_words_that_wandb_takes_for_truth_values(tmp_path: Path) -> None:
    """YAML 1.1's off is false; W&B then passes False."""
    parameters = "  recipe: {value: real_only}\n  wandb.mode: {value: off}\n  fit.augment: {value: 1}\n"
    file = written(tmp_path, "method: grid\nparameters:\n" + parameters.replace("  fit.augment: {value: 1}\n", ""))
    assert yaml.safe_load(file.read_text())["parameters"]["wandb.mode"]["value"] is False
    trial = planned_trial(file, ["--wandb.mode=False"], RECIPES)
    assert trial.run.settings.wandb.mode == "off" and trial.run.key == planned_runs(file, [], RECIPES)[0].key
