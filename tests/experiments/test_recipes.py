"""The recipes through the command line, from files in the real formats to ``result.json``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from domaingap.metrics import score
from domaingap.study.recipe import Answer as Answered
from domaingap.study.recipe import Steps
from domaingap.study.recipe import recipe as enter
from experiments import recipes
from experiments.settings import FineTuned
from tests.conftest import Answer, write_300w, write_face_synthetics
from tests.experiments.test_cli import fails

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
            ["--n_real=9", "--adapter.kind=linear", "--adapter.labels=plain"],
            {"n_real_train": 9, "n_real_selection": 6, "n_synthetic": 22, "steps_answering": 4, "steps_total": 8},
        ),
        (
            "mixing",
            ["--n_real=9", "--selection=budget", "--alpha=0.3"],
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
    counted = result["counts"]["test/common"]  # type: ignore[index]
    for kept in ("fingerprint", "pictures"):
        assert re.fullmatch("[0-9a-f]{16}", counted.pop(kept))
    assert counted == {
        "images": 11, "photographs": 8, "fallback_boxes": 0, "partial": True,
        "parts": {"helen/testset": 7, "lfpw/testset": 4}, "published": 554, "boxes": "oracle (landmarks)",
    }  # fmt: skip
    assert f"{metrics['test/common/nme']:.2f}" in answer.out and "partial: 11 of 554" in answer.out
    assert str(folder) in answer.out


ADAPTER = ["--adapter.kind=shift"]


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
        # That for labels is another one than that for predictions.
        assert ("label adapter: fitted before on 9 real faces" in answer.err) == (recipe == "mixing")
    plain = cli("run", "data_adaptation", *options, "--adapter.labels=plain")
    assert "label adapter: fitted before on 9 real faces" in plain.err, "label_adaptation's, as earlier versions did it"
    # The limits of mixing are trainings that are in the store already.
    assert "mixed: trained before" in cli("run", "mixing", *options, "--alpha=1").err
    cli("run", "real_only", *quick, "--n_real=9")
    assert "mixed: trained before" in cli("run", "mixing", *options, "--alpha=0").err
    adapters = [path for path in (tmp_path / "runs" / "stages").iterdir() if (path / "labels.ckpt").is_file()]
    assert len(adapters) == 2
    assert "label adapter: fitted before" not in cli("run", "mixing", *options, "--n_real=8").err


def test_adapter_is_diagnosed_in_every_run_that_has_one(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    from domaingap.models.label_adapter import LabelAdapter

    for recipe, use in (("label_adaptation", "predictions"), ("data_adaptation", "labels"), ("mixing", "labels")):
        # So few faces can't tell how the gap depends on the face.
        kind = "linear" if use == "predictions" else "shift"
        answer = cli("run", recipe, *quick, *(["--adapter.kind=linear"] if use == "predictions" else []))
        record = result_of(tmp_path, recipe)["adapter"]
        assert isinstance(record, dict)
        assert (record["use"], record["kind"], record["chosen_on"]) == (use, kind, "validation")
        for name in ("movement_predictions", "movement_labels"):
            assert set(record[name]) == {"all", "jaw", "brows", "nose", "eyes", "mouth"}
            assert all(np.isfinite(value) for value in record[name].values())
        low, high = 0.95 * min(1, record["spread_aim"]), max(1, record["spread_aim"]) / 0.95
        kept = low <= record["spread_ratio"] <= high and record["shape_kept"] >= low
        assert (record["warning"] is None) == kept and (kept or use == "predictions")
        assert record["learned"] == ("plain" if use == "predictions" else "difference")
        for part in ("together", "error", "gap", "chance"):
            assert set(record["parts"][part]) == set(record["movement_labels"])
            assert all(np.isfinite(value) for value in record["parts"][part].values())
            assert f"{record['parts'][part]['all']:.2f}% (" in answer.out
        assert record["parts"]["n_synthetic"] == result_of(tmp_path, recipe)["n_synthetic_selection"]
        assert f"repair alone: NME {record['parts']['nme_before']:.2f} to {record['parts']['nme_after']:.2f}" in answer.out
        if use == "labels" and record["movement_labels"]["all"] >= 0.5:
            assert f"{record['parts']['gap']['all']:.1f}% is label gap" in record["movement_warning"]
        else:
            assert record["movement_warning"] is None
        assert f"label adapter for {use}: {kind}" in answer.out and "adapter.png" in answer.out
        assert ("warning: " in answer.out) == (not kept)
        folder = run_of(tmp_path, recipe)
        assert (folder / "adapter.png").stat().st_size > 5000
        assert LabelAdapter.load(folder / "checkpoints" / f"adapter_{use}.ckpt").kind == kind


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


def checkpoint_of(folder: Path) -> Path:
    return folder / "checkpoints" / "answering.ckpt"


def test_a_start_brings_what_it_has_seen(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    """Images, steps and licences of the checkpoint that the first stage starts from count; the second network is new."""
    assert cli("run", "real_only", *quick, "--n_real=9").code == 0
    start = checkpoint_of(run_of(tmp_path, "real_only"))
    options = [f"--model.init_from={start}", f"--runs_dir={tmp_path / 'more'}"]
    assert cli("run", "synthetic_only", *quick, *options, "--selection=source_val").code == 0
    (path,) = (tmp_path / "more").glob("synthetic_only-*/result.json")
    result = json.loads(path.read_text())
    first = result_of(tmp_path, "real_only")
    assert result["n_real_train"] == 9 and result["n_real_selection"] == 6, "the start's, though no real image was used here"
    assert (result["steps_answering"], result["steps_total"]) == (4 + 4, 4 + 4)
    assert result["start"] == {"checkpoint": str(start), "known": True, "n_real": 9, "steps": 4, "overlap": {}}
    assert len(result["licences"]) == 2 and set(first["licences"]) < set(result["licences"])  # type: ignore[arg-type]
    # The union: 9 of the start are among the 12 of this seed's order.
    assert cli("run", "data_adaptation", *quick, *options, "--n_real=12").code == 0
    (path,) = (tmp_path / "more").glob("data_adaptation-*/result.json")
    result = json.loads(path.read_text())
    assert result["n_real_train"] == 12
    assert result["steps_answering"] == 4, "the answering network is a new one"
    assert result["steps_total"] == 4 + 8
    fresh = [f"--runs_dir={tmp_path / 'fresh'}", "--n_real=12", "--adapter.kind=identity"]
    for more in ([], options[:1]):
        assert cli("run", "data_adaptation", *quick, *fresh, *more).code == 0
    weights = [
        torch.load(checkpoint_of(folder), weights_only=True)["state_dict"]
        for folder in (tmp_path / "fresh").glob("data_adaptation-*")
    ]
    # Without an adapter the labels are the same, and so is the second network, whatever the first started from.
    assert len(weights) == 2 and all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_an_unknown_start_is_said(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "real_only", *quick, "--n_real=9").code == 0
    content = torch.load(checkpoint_of(run_of(tmp_path, "real_only")), weights_only=True)
    del content["seen"]
    start = tmp_path / "found.ckpt"
    torch.save(content, start)
    answer = cli("run", "fine_tuning", *quick, "--n_real=5", f"--model.init_from={start}")
    assert answer.code == 0 and "unknown start" in answer.out
    result = result_of(tmp_path, "fine_tuning")
    assert result["start"]["known"] is False and result["n_real_train"] == 5  # type: ignore[index]
    assert any("unknown" in licence for licence in result["licences"])  # type: ignore[union-attr]
    assert ">= 5 + 6" in cli("report", tmp_path / "runs", "--style", "runs").out
    # Another content behind the same path is another run.
    content["state_dict"]["head.bias"] = content["state_dict"]["head.bias"] + 1e-3
    torch.save(content, start)
    again = cli("run", "fine_tuning", *quick, "--n_real=5", f"--model.init_from={start}")
    assert again.code == 0 and "finished before" not in again.err
    assert len(list((tmp_path / "runs").glob("fine_tuning-*"))) == 2


def test_a_start_that_saw_test_faces_is_called_out(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "real_only", *quick).code == 0
    start = checkpoint_of(run_of(tmp_path, "real_only"))
    # Under other parts some of its training faces validate.
    answer = cli("run", "real_only", *quick, "--real.n_val=8", f"--model.init_from={start}", f"--runs_dir={tmp_path / 'b'}")
    assert answer.code == 0 and "was trained on 2 faces of val" in answer.err
    (path,) = (tmp_path / "b").glob("real_only-*/result.json")
    assert json.loads(path.read_text())["start"]["overlap"] == {"val": 2}


def test_a_test_photograph_under_another_name_does_not_train(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    """Whatever its name, part and format: the pixels tell."""
    root = tmp_path / "data" / "300w"
    write_300w(root)
    tested = root / "helen" / "testset" / "300_1.jpg"
    with Image.open(tested) as image:
        image.convert("RGB").save(root / "lfpw" / "trainset" / "image_0999.png")
    shutil.copy(tested.with_suffix(".pts"), root / "lfpw" / "trainset" / "image_0999.pts")
    write_face_synthetics(tmp_path / "data" / "face_synthetics")
    options = [f"--data_root={tmp_path / 'data'}", f"--prepared_dir={tmp_path / 'p'}"]
    answer = cli("run", "real_only", *quick, *options)
    assert answer.code == 0, answer.err
    text = " ".join(answer.err.split())
    assert "lfpw/trainset/image_0999 (as helen/testset/300_1)" in text and "left out of training" in text
    result = result_of(tmp_path, "real_only")
    assert result["data"]["real"]["moved"] == {"lfpw/trainset/image_0999": "helen/testset/300_1"}  # type: ignore[index]
    assert result["n_real_train"] == 28, "as many as without it"
    split = json.loads((run_of(tmp_path, "real_only") / "split.json").read_text())["real"]
    assert "lfpw/trainset/image_0999" not in [*split["train"]["names"], *split["val"]["names"]]


def test_equal_training_photographs_stay_on_one_side(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    root = tmp_path / "data" / "300w"
    write_300w(root)
    for i in range(8):  # every LFPW face also lies in HELEN, under another name
        for suffix in (".png", ".pts"):
            source = root / "lfpw" / "trainset" / f"image_{i:04d}{suffix}"
            shutil.copy(source, root / "helen" / "trainset" / f"{900 + i}_1{suffix}")
    options = [f"--data_root={tmp_path / 'data'}", f"--prepared_dir={tmp_path / 'p'}"]
    assert cli("run", "real_only", *quick, *options).code == 0
    split = json.loads((run_of(tmp_path, "real_only") / "split.json").read_text())["real"]
    for i in range(8):
        pair = {f"lfpw/trainset/image_{i:04d}", f"helen/trainset/{900 + i}_1"}
        assert pair <= set(split["train"]["names"]) or pair <= set(split["val"]["names"]), pair


def test_tests_are_scored_when_they_are_asked_for(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "label_adaptation", *quick, *ADAPTER, "--score_test=false").code == 0
    folder = run_of(tmp_path, "label_adaptation")
    before = result_of(tmp_path, "label_adaptation")
    assert set(before["counts"]) == {"val", "source_val"}  # type: ignore[call-overload]
    answer = cli("run", "label_adaptation", *quick, *ADAPTER)
    assert answer.code == 0 and "scored now" in answer.err and "steps of" not in answer.err
    after = result_of(tmp_path, "label_adaptation")
    assert set(after["counts"]) - set(before["counts"]) == {"test/common", "test/challenging", "test/full"}  # type: ignore[call-overload]
    assert before["metrics"].items() <= after["metrics"].items() and after["key"] == before["key"]  # type: ignore[union-attr]
    whole = [*quick, *ADAPTER, f"--runs_dir={tmp_path / 'whole'}"]
    assert cli("run", "label_adaptation", *whole).code == 0
    (path,) = (tmp_path / "whole").glob("label_adaptation-*/result.json")
    assert json.loads(path.read_text())["metrics"] == after["metrics"], "later is as good as at once"
    with np.load(folder / "predictions.npz") as arrays, np.load(path.parent / "predictions.npz") as others:
        assert all(np.array_equal(arrays[key], others[key]) for key in others.files)


def test_a_damaged_run_is_finished_once_more(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "real_only", *quick).code == 0
    folder, before = run_of(tmp_path, "real_only"), result_of(tmp_path, "real_only")
    for name, damage in (("predictions.npz", b"x"), ("checkpoints/answering.ckpt", b"x"), ("result.json", b"{")):
        # Not in place: checkpoints are links to the store's.
        (folder / name).unlink()
        (folder / name).write_bytes(damage)
        answer = cli("run", "real_only", *quick)
        assert answer.code == 0 and "finished once more" in answer.err and "trained before" in answer.err, answer.err
        assert result_of(tmp_path, "real_only")["metrics"] == before["metrics"]


def test_gaussian_networks_say_how_sure_they_are(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    options = ["--model.loss=gaussian_nll", *ADAPTER]
    assert cli("run", "label_adaptation", *quick, *options).code == 0
    with np.load(run_of(tmp_path, "label_adaptation") / "predictions.npz") as arrays:
        sigma = arrays["common/sigma"]
    assert sigma.shape == (11, 68) and np.isfinite(sigma).all() and (sigma > 0).all()
    fails(cli("run", "real_only", *quick, "--model.loss=l3"), "model.loss", "l3", "gaussian_nll")


def test_a_recipe_is_one_function(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    """Entered into the table, it runs, is planned in sweeps, and stands in reports beside its baselines."""
    before = dict(recipes.RECIPES)
    try:

        @enter(recipes.RECIPES)
        def twice_tuned(run: Steps, s: FineTuned) -> Answered:
            """A network trained on synthetic faces, then twice on n real ones."""
            first = run.train("synthetic", run.synthetic, on=recipes.BOTH)
            second = run.train("real", run.real, fit=s.finetune.of(first.how), start=first)
            return Answered(run.train("again", run.real, fit=s.finetune.of(first.how), start=second))

        answer = cli("run", "twice_tuned", *quick, "--n_real=9", "--finetune.steps=3")
        assert answer.code == 0, answer.err
        result = result_of(tmp_path, "twice_tuned")
        assert (result["steps_answering"], result["n_real_train"]) == (4 + 3 + 3, 9)
        assert cli("run", "synthetic_only", *quick).code == 0
        table = cli("report", tmp_path / "runs", "--style", "pairs", "--format", "csv").out
        assert "twice_tuned,face_synthetics,synthetic_only,9" in table
        assert "then twice on n real ones" in cli("run", "--help").out
    finally:
        recipes.RECIPES.clear()
        recipes.RECIPES.update(before)


@pytest.mark.parametrize(
    ("name", "recipe", "counts"),
    [("PARTS_FORMAT", "label_adaptation", True), ("NETWORK_FORMAT", "label_adaptation", True),
     ("ADAPTER_FORMAT", "label_adaptation", True), ("DIFFERENCE_FORMAT", "label_adaptation", False),
     ("DIFFERENCE_FORMAT", "data_adaptation", True)],
)  # fmt: skip
def test_formats_are_part_of_a_runs_key(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, recipe: str, counts: bool
) -> None:
    """What an older version made isn't taken for what this one would make."""
    from domaingap.study import run as module

    options = [*quick, "--adapter.kind=shift", "--score_test=false"]
    assert cli("run", recipe, *options).code == 0
    monkeypatch.setattr(module, name, getattr(module, name) + 1)
    assert ("finished before" in cli("run", recipe, *options).err) == (not counts)
    assert len(list((tmp_path / "runs").glob(f"{recipe}-*"))) == 1 + counts
