"""The recipes through the command line, from files in the real formats to ``result.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from domaingap.metrics import score
from tests.conftest import Answer

Cli = Callable[..., Answer]


def run_of(tmp_path: Path, recipe: str) -> Path:
    (folder,) = (tmp_path / "runs").glob(f"{recipe}-*")
    return folder


def result_of(tmp_path: Path, recipe: str) -> dict[str, object]:
    return dict(json.loads((run_of(tmp_path, recipe) / "result.json").read_text()))


@pytest.mark.parametrize(
    ("recipe", "options", "expected"),
    [
        (
            "real_only",
            [],
            {"n_real_train": 28, "n_real_selection": 6, "n_synthetic": 0, "steps_answering": 4, "steps_total": 4},
        ),
        (
            "real_only",
            ["--n_real=5", "--selection=budget"],
            {"n_real_train": 5, "n_real_selection": 0, "selection": "budget"},
        ),
        ("synthetic_only", [], {"n_real_train": 0, "n_real_selection": 6, "n_synthetic": 22, "n_synthetic_selection": 2}),
        (
            "synthetic_only",
            ["--selection=source_val", "--synthetic.source=dgfaces"],
            {"n_real_selection": 0, "n_synthetic": 4},
        ),
        ("fine_tuning", ["--n_real=5"], {"n_real_train": 5, "n_real_selection": 6, "steps_answering": 5, "steps_total": 5}),
        ("fine_tuning", ["--selection=budget", "--finetune.steps=3"], {"n_real_selection": 0, "steps_answering": 7}),
        (
            "label_adaptation",
            ["--n_real=5", "--adapter.epochs=20"],
            {"n_real_train": 5, "n_real_selection": 6, "n_synthetic": 22, "steps_answering": 4, "steps_total": 4},
        ),
        ("label_adaptation", ["--selection=budget", "--adapter.kind=linear"], {"n_real_train": 28, "n_real_selection": 0}),
        (
            "data_adaptation",
            ["--n_real=9", "--adapter.kind=linear"],
            {"n_real_train": 9, "n_real_selection": 6, "n_synthetic": 22, "steps_answering": 4, "steps_total": 8},
        ),
        (
            "mixing",
            ["--n_real=9", "--adapter.kind=linear", "--selection=budget", "--alpha=0.3"],
            {"n_real_train": 9, "n_real_selection": 0, "alpha": 0.3, "steps_answering": 4, "steps_total": 8},
        ),
    ],
)
def test_recipe(
    cli: Cli, quick: list[str], tmp_path: Path, recipe: str, options: list[str], expected: dict[str, object]
) -> None:
    answer = cli("run", recipe, *quick, *options)
    assert answer.code == 0, answer.err
    result = result_of(tmp_path, recipe)
    assert expected.items() <= result.items()
    folder = run_of(tmp_path, recipe)
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml",
        "predictions.npz",
        "result.json",
        "split.json",
        "checkpoints",
        "val_faces.png",
    }
    metrics = result["metrics"]
    assert isinstance(metrics, dict)
    for name in (
        "val/nme",
        "test/common/nme",
        "test/common/auc@8",
        "test/common/nme_jaw",
        "test/challenging/fr@10",
        "test/full/nme_pupils",
    ):
        assert np.isfinite(metrics[name]), name
    # Full = (11 Common + 3 Challenging) / 14, a check for free.
    full = (11 * metrics["test/common/nme"] + 3 * metrics["test/challenging/nme"]) / 14
    assert metrics["test/full/nme"] == pytest.approx(full)
    assert result["counts"]["test/common"] == {  # type: ignore[index]
        "images": 11, "photographs": 8, "fallback_boxes": 0, "partial": True,
        "parts": {"helen/testset": 7, "lfpw/testset": 4}, "published": 554, "boxes": "oracle (landmarks)",
    }  # fmt: skip
    assert f"{metrics['test/common/nme']:.2f}" in answer.out and "partial: 11 of 554" in answer.out
    assert str(folder) in answer.out


ADAPTER = ["--adapter.kind=linear"]


@pytest.mark.parametrize("selection", ["real_val", "budget"])
def test_mixing_at_its_limits_is_another_strategy_to_the_last_digit(
    cli: Cli, quick: list[str], tmp_path: Path, selection: str
) -> None:
    """Trained apart: the runs share no store."""
    options = [*quick, f"--selection={selection}", "--n_real=9", "--fit.steps=6"]
    values = {}
    for name, arguments in {
        "real": ["real_only", *options],
        "mix0": ["mixing", *options, "--alpha=0", *ADAPTER],
        "synthetic": ["data_adaptation", *options, *ADAPTER],
        "mix1": ["mixing", *options, "--alpha=1", *ADAPTER],
        "half": ["mixing", *options, "--alpha=0.5", *ADAPTER],
    }.items():
        answer = cli("run", *arguments, f"--runs_dir={tmp_path / name}")
        assert answer.code == 0, answer.err
        (path,) = (tmp_path / name).rglob("predictions.npz")
        with np.load(path) as arrays:
            values[name] = {key: arrays[key] for key in ("common/prediction", "val/prediction", "challenging/prediction")}
    for one, other in (("real", "mix0"), ("synthetic", "mix1")):
        assert all(np.array_equal(values[one][key], values[other][key]) for key in values[one]), (one, other)
    assert not np.array_equal(values["half"]["val/prediction"], values["mix0"]["val/prediction"])
    assert not np.array_equal(values["half"]["val/prediction"], values["mix1"]["val/prediction"])


def test_synthetic_network_and_adapter_are_made_once_for_all(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    options = [*quick, "--n_real=9", *ADAPTER]
    cli("run", "synthetic_only", *quick)
    for recipe in ("label_adaptation", "data_adaptation", "mixing"):
        answer = cli("run", recipe, *options)
        assert "synthetic: trained before" in answer.err
        assert ("label adapter: fitted before on 9 real faces" in answer.err) == (recipe != "label_adaptation")
    # The limits of mixing are trainings that are in the store already.
    assert "mixed: trained before" in cli("run", "mixing", *options, "--alpha=1").err
    cli("run", "real_only", *quick, "--n_real=9")
    assert "mixed: trained before" in cli("run", "mixing", *options, "--alpha=0").err
    adapters = [path for path in (tmp_path / "runs" / "stages").iterdir() if (path / "labels.ckpt").is_file()]
    assert len(adapters) == 1
    assert "label adapter: fitted before" not in cli("run", "mixing", *options, "--n_real=8").err


def test_adapter_is_diagnosed_in_every_run_that_has_one(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    from domaingap.models.label_adapter import LabelAdapter

    for recipe, use in (("label_adaptation", "predictions"), ("data_adaptation", "labels"), ("mixing", "labels")):
        answer = cli("run", recipe, *quick, *ADAPTER)
        record = result_of(tmp_path, recipe)["adapter"]
        assert isinstance(record, dict)
        assert (record["use"], record["kind"], record["chosen_on"]) == (use, "linear", "validation")
        for name in ("movement_predictions", "movement_labels"):
            assert set(record[name]) == {"all", "jaw", "brows", "nose", "eyes", "mouth"}
            assert all(np.isfinite(value) for value in record[name].values())
        kept = 0.95 <= record["spread_ratio"] <= 1 / 0.95 and record["shape_kept"] >= 0.95
        assert (record["warning"] is None) == kept and (kept or use == "predictions")
        assert f"label adapter for {use}: linear" in answer.out and "adapter.png" in answer.out
        assert ("warning: " in answer.out) == (not kept)
        folder = run_of(tmp_path, recipe)
        assert (folder / "adapter.png").stat().st_size > 5000
        assert LabelAdapter.load(folder / "checkpoints" / f"adapter_{use}.ckpt").kind == "linear"


def test_label_adaptation_answers_with_the_adapter(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    from domaingap.models.label_adapter import LabelAdapter

    cli("run", "synthetic_only", *quick)
    cli("run", "label_adaptation", *quick, *ADAPTER)
    folder = run_of(tmp_path, "label_adaptation")
    adapter = LabelAdapter.load(folder / "checkpoints" / "adapter_predictions.ckpt")
    raw, adapted = (np.load(run_of(tmp_path, r) / "predictions.npz") for r in ("synthetic_only", "label_adaptation"))
    assert adapted["common/prediction"] == pytest.approx(adapter.adapt(raw["common/prediction"]))
    assert not np.allclose(adapted["common/prediction"], raw["common/prediction"])
    answer = cli("evaluate", folder, "--on", "common")
    assert answer.code == 0, answer.err
    written = json.loads((folder / "evaluation" / "common.json").read_text())["common"]["metrics"]["nme"]
    metrics = result_of(tmp_path, "label_adaptation")["metrics"]
    assert written == pytest.approx(metrics["test/common/nme"], rel=1e-6)  # type: ignore[index]
    # What chose is what is reported: the validation faces' NME is the run's own.
    record = result_of(tmp_path, "label_adaptation")["adapter"]
    assert record["nme"] == pytest.approx(metrics["val/nme"])  # type: ignore[index]
    assert record["nme_before"] == pytest.approx(result_of(tmp_path, "synthetic_only")["metrics"]["val/nme"])  # type: ignore[index]


def test_metrics_can_be_recomputed_without_the_network(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    cli("run", "real_only", *quick)
    result, folder = result_of(tmp_path, "real_only"), run_of(tmp_path, "real_only")
    with np.load(folder / "predictions.npz") as arrays:
        for name in ("common", "challenging", "full"):
            values = score(arrays[f"{name}/prediction"], arrays[f"{name}/truth"])
            for metric, value in values.items():
                assert value == pytest.approx(result["metrics"][f"test/{name}/{metric}"], rel=1e-9)  # type: ignore[index]
            assert len(arrays[f"{name}/names"]) == len(arrays[f"{name}/nme"])
            assert arrays[f"{name}/nme"].mean() == pytest.approx(values["nme"])
    answer = cli("evaluate", folder, "--on", "common,val", "--from_predictions")
    assert answer.code == 0 and f"{result['metrics']['test/common/nme']:.3f}" in answer.out  # type: ignore[index]


def test_same_command_same_digits(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    metrics = []
    for name in ("a", "b"):
        assert cli("run", "fine_tuning", *quick, "--n_real=7", f"--runs_dir={tmp_path / name}").code == 0
        (path,) = (tmp_path / name).rglob("result.json")
        metrics.append(json.loads(path.read_text())["metrics"])
    assert metrics[0] == metrics[1]


def test_synthetic_network_is_trained_once(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    cli("run", "synthetic_only", *quick)
    answer = cli("run", "synthetic_only", *quick, "--selection=source_val")
    assert "trained before" in answer.err, "both selection rules come from one training"
    answer = cli("run", "fine_tuning", *quick, "--n_real=5")
    assert "synthetic: trained before" in answer.err
    stages = result_of(tmp_path, "fine_tuning")["stages"]
    assert [stage["reused"] for stage in stages] == [True, False]  # type: ignore[union-attr]
    assert len(list((tmp_path / "runs" / "stages").iterdir())) == 2


def test_a_finished_run_is_not_run_again(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    first = cli("run", "real_only", *quick)
    path = run_of(tmp_path, "real_only") / "result.json"
    before = path.stat().st_mtime_ns
    second = cli("run", "real_only", *quick)
    assert second.code == 0 and "finished before" in second.err and path.stat().st_mtime_ns == before
    assert second.out == first.out


def test_a_run_without_result_is_no_result(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    cli("run", "real_only", *quick)
    folder = run_of(tmp_path, "real_only")
    (folder / "result.json").unlink()
    assert "no finished run" in cli("report", tmp_path / "runs").err
    assert "isn't finished" in cli("evaluate", folder).err
    assert cli("run", "real_only", *quick).code == 0
    assert "trained before" in cli("run", "real_only", *quick, "--n_real=28").err


def test_fine_tuning_on_all_differs_from_its_start(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    cli("run", "synthetic_only", *quick)
    cli("run", "fine_tuning", *quick)
    a, b = (result_of(tmp_path, r)["metrics"] for r in ("synthetic_only", "fine_tuning"))
    assert a["val/nme"] != b["val/nme"]  # type: ignore[index]


def test_evaluate(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    cli("run", "synthetic_only", *quick)
    folder, result = run_of(tmp_path, "synthetic_only"), result_of(tmp_path, "synthetic_only")
    answer = cli("evaluate", folder, "--on", "common,source_val,val")
    assert answer.code == 0, answer.err
    written = json.loads((folder / "evaluation" / "common-source_val-val.json").read_text())
    for name, metric in (("common", "test/common/nme"), ("source_val", "source_val/nme"), ("val", "val/nme")):
        assert written[name]["metrics"]["nme"] == pytest.approx(result["metrics"][metric], rel=1e-6)  # type: ignore[index]
    assert "no set 'private'" in cli("evaluate", folder, "--on", "private").err


def test_checkpoint_of_another_shape(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    cli("run", "real_only", *quick)
    checkpoint = run_of(tmp_path, "real_only") / "checkpoints" / "answering.ckpt"
    assert "--on names no set" in cli("evaluate", run_of(tmp_path, "real_only"), "--on", " ").err
    answer = cli("run", "real_only", *quick, "--crop.channels=rgb", f"--model.init_from={checkpoint}")
    assert answer.code == 2 and "a checkpoint of another network" in answer.err
    assert cli("run", "real_only", *quick, "--fit.steps=2", f"--model.init_from={checkpoint}").code == 0
    assert cli("run", "real_only", *quick, "--crop.size=48").code == 0
    folders = [path.parent for path in (tmp_path / "runs").rglob("config.yaml") if "size: 48" in path.read_text()]
    answer = cli("evaluate", folders[0], "--checkpoint", checkpoint)
    assert answer.code == 2
    assert "32 px" in answer.err, "a network of another size would answer at another scale"
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(checkpoint.read_bytes()[:1000])
    answer = cli("run", "real_only", *quick, f"--model.init_from={broken}")
    assert answer.code == 2 and "can't be read as a checkpoint" in answer.err
    answer = cli("evaluate", run_of_first(tmp_path), "--checkpoint", broken)
    assert answer.code == 2 and str(broken) in answer.err


def run_of_first(tmp_path: Path) -> Path:
    return sorted(path.parent for path in (tmp_path / "runs").rglob("result.json"))[0]


def test_network_in_the_run_loads_with_lightning(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    from domaingap.models.regressor import LandmarkRegressor

    cli("run", "real_only", *quick)
    model = LandmarkRegressor.load_from_checkpoint(run_of(tmp_path, "real_only") / "checkpoints" / "answering.ckpt")
    assert model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 68, 2)


def test_report(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    for seed in (0, 1):
        cli("run", "real_only", *quick, f"--seed={seed}")
    cli("run", "synthetic_only", *quick)
    answer = cli("report", tmp_path / "runs", "--style", "runs")
    assert answer.code == 0
    row = next(line for line in answer.out.splitlines() if "real_only" in line)
    assert "28 + 6" in row and " 2 " in row, "two seeds in one row"
    assert "partial: 11 of 554" in answer.out and "Student's t" in answer.out
    markdown = cli("report", tmp_path / "runs", "--format", "markdown").out
    assert "\n| strategy |" in markdown and "| synthetic_only |" in markdown
    out = tmp_path / "table.csv"
    assert cli("report", tmp_path / "runs", "--format", "csv", "--out", out).code == 0
    assert len(out.read_text().splitlines()) == 3
    assert "cluster" not in answer.out


def test_original_study_table(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    small = [
        "--n_synthetic=10",
        "--fit.epochs=2",
        "--fit.val_every=1",
        "--model.pretrained=false",
        "--crop.size=32",
        "--crop.box=landmarks",
    ]
    paths = [
        option for option in quick if option.split("=")[0] in ("--data_root", "--prepared_dir", "--runs_dir", "--real.n_val")
    ]
    answer = cli(
        "run", "synthetic_only", "--config=configs/original_study/resnet18.yaml", *paths, *small, "--wandb.mode=off"
    )
    assert answer.code == 0, answer.err
    table = cli("report", tmp_path / "runs", "--style", "original_study").out
    assert "0.0205" in table and "2 epochs" in table and "from scratch" in table and "32 px" in table


def test_absent_parts_make_a_release_partial(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete parts of an incomplete release: 171 of HELEN's 330 are 171 of Common's 554, not of 330."""
    from domaingap.data.readers.ibug300w import Ibug300WReader

    parts = {**Ibug300WReader.source.parts, "afw": 12, "helen/trainset": 14, "helen/testset": 7}
    monkeypatch.setattr(Ibug300WReader, "source", replace(Ibug300WReader.source, parts=parts))
    options = [f"--prepared_dir={tmp_path / 'p'}", "--real.parts=afw,helen"]
    answer = cli("run", "real_only", *quick, *options)
    assert answer.code == 0, answer.err
    result = result_of(tmp_path, "real_only")
    counts = result["counts"]["test/common"]  # type: ignore[index]
    assert (counts["images"], counts["published"], counts["partial"]) == (7, 7 + 224, True)
    assert result["data"]["real"]["absent_parts"] == ["lfpw/trainset", "lfpw/testset", "ibug"]  # type: ignore[index]
    assert "partial: 7 of 231" in answer.out
    assert "absent: lfpw/trainset" in answer.err
