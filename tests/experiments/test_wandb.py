"""What Weights & Biases is sent, read back from its offline files by W&B's own reader."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from domaingap.config import WandbConfig
from domaingap.errors import UserError
from domaingap.predictions import load_predictions
from domaingap.study.showing import has_sheet
from domaingap.tracking import Tracker, effective_mode
from tests.conftest import Answer
from tests.experiments.test_cli import fails


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which nobody is logged in."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    # W&B keeps what it read of the environment for the life of the process.
    import wandb

    wandb.teardown()


def records(folder: Path) -> list[dict[str, Any]]:
    """The records of an offline run."""
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent)) or "wandb"
    done = subprocess.run([wandb, "leet", "inspect", "--json", str(folder)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(folder: Path) -> list[dict[str, Any]]:
    return [record["history"]["item"] for record in records(folder) if "history" in record]


def offline(runs: Path, recipe: str = "") -> Path:
    """The one offline run there is."""
    (folder,) = runs.glob(f"{recipe}*/wandb/offline-run-*")
    return folder


def result(runs: Path, recipe: str = "") -> dict[str, Any]:
    (path,) = runs.glob(f"{recipe}*/result.json")
    return dict(json.loads(path.read_text()))


def summary(folder: Path) -> dict[str, Any]:
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent)) or "wandb"
    command = [wandb, "leet", "inspect", "--summary", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_modes(no_login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert effective_mode("off") == "off"
    assert effective_mode("auto") == "offline", "not logged in"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert effective_mode("auto") == "off"
    monkeypatch.setenv("WANDB_MODE", "")
    assert effective_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(UserError, match="WANDB_MODE is 'ofline'"):
        effective_mode("offline")


def test_online_without_login_is_said(cli: Callable[..., Answer], quick: list[str], no_login: None) -> None:
    fails(cli("run", "real_only", *quick, "--wandb.mode=online"), "not logged in", "wandb login", "--wandb.mode offline")


def test_offline_run(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None) -> None:
    """How a run is called, sorted and compared by, and its figures."""
    options = ["--wandb.mode=auto", "--wandb.tags=tiny,test", "--seed=3"]
    answer = cli("run", "fine_tuning", *quick, "--n_real=6", *options)
    assert answer.code == 0, answer.err
    assert "wandb sync" in answer.err
    record, folder = result(tmp_path / "runs"), offline(tmp_path / "runs")
    assert record["wandb"] == "offline"
    kept = summary(folder)
    (run,) = [of["run"] for of in records(folder) if of["type"] == "run"]
    assert run["display_name"] == "fine_tuning n=6 s3" and run["job_type"] == "fine_tuning" and run["project"] == "domaingap"
    assert run["run_group"] == "runs", "the study is the folder of runs"
    assert run["run_id"].startswith(record["key"])
    assert sorted(kept["tags"]) == ["300w", "face_synthetics", "n_real=6", "real_val", "test", "tiny"]
    top = {"recipe": "fine_tuning", "strategy": "fine_tuning", "n_real": 6, "n_synthetic": None, "seed": 3}
    top |= {"selection": "real_val", "backbone": "test_resnet", "crop_size": 32, "synthetic_source": "face_synthetics"}
    top |= {"phases": {"1": "synthetic", "2": "real"}}
    assert {key: kept["config"][key] for key in top} == top
    assert kept["config"]["fit"]["batch_size"] == 4 and kept["config"]["finetune"] == {"steps": None, "lr": None}
    for name, value in record["metrics"].items():
        assert kept["summary"][name] == pytest.approx(value), "the contract's names, the result's figures"
    assert kept["summary"]["n_real_train"] == 6 and kept["summary"]["steps_answering"] == record["steps_answering"]


def test_a_service_that_is_no_more(tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a terminal below a notebook that has ended: the run starts W&B's process itself."""
    monkeypatch.setenv("WANDB_SERVICE", f"3-1-unix-{tmp_path}/socket")
    with Tracker(WandbConfig(mode="offline"), tmp_path, "name", "key", "real_only", "group", {}) as tracker:
        assert tracker.on
    assert summary(offline(tmp_path.parent, tmp_path.name))["run_id"].startswith("key")
    import wandb

    wandb.teardown()  # before monkeypatch takes the variable back


def test_curves_stand_over_one_axis(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None) -> None:
    """Stages are phases that follow each other, found trained or not; the summary keeps the contract's figure beside the
    best one on the way."""
    options = [*quick, "--n_real=6", "--finetune.steps=6", "--fit.ema=0"]
    assert cli("run", "synthetic_only", *options[:-3], options[-1]).code == 0, "its network is found by the other"
    answer = cli("run", "fine_tuning", *options, "--wandb.mode=offline")
    assert answer.code == 0 and "trained before" in answer.err, answer.err
    runs = tmp_path / "runs"
    folder, record = offline(runs, "fine_tuning"), result(runs, "fine_tuning")
    rows = [row for row in history(folder) if "val/nme" in row]
    axis = [(row["progress/step"], row["phase"], row["_step"]) for row in rows]
    assert axis == [(step, 1 if step < 5 else 2, step) for step in (2, 4, *range(5, 11))]
    assert all({"val/loss", "train/loss"} <= row.keys() for row in rows)
    assert ["source_val/nme" in row for row in rows] == [True] * 2 + [False] * 6
    assert all(row["val/faces.width"] == 4 * 112 and row["val/faces.height"] == 2 * 112 for row in rows), "of 6 faces"
    answering = [row["val/nme"] for row in rows if row["phase"] == 2]
    kept = summary(folder)["summary"]
    assert [row.get("best/val/nme") for row in rows[2:]] == [min(answering[: i + 1]) for i in range(6)]
    assert kept["best/val/nme"]["min"] == min(answering) and kept["val/nme"] == record["metrics"]["val/nme"]
    assert not any("best/val/nme" in row for row in rows[:2]), "another stage's isn't what the run may answer"
    metrics = [of["metric"] for of in records(folder) if of["type"] == "metric"]
    assert {of.get("step_metric") for of in metrics} == {"progress/step"}


def test_what_an_adapter_does_is_in_the_result_and_not_in_the_curve(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None
) -> None:
    answer = cli("run", "label_adaptation", *quick, "--wandb.mode=offline", "--adapter.kind=linear")
    assert answer.code == 0, answer.err
    record, folder = result(tmp_path / "runs"), offline(tmp_path / "runs")
    kept, adapter = summary(folder)["summary"], record["adapter"]
    assert kept["adapter/kind"] == "linear" and kept["adapter/spread_ratio"] == pytest.approx(adapter["spread_ratio"])
    assert kept["adapter/movement_labels_jaw"] == pytest.approx(adapter["movement_labels"]["jaw"])
    assert len(list(folder.glob("files/media/images/adapter/mean_face*.jpg"))) == 1
    assert kept["val/nme"] == pytest.approx(record["metrics"]["val/nme"])
    assert min(row["val/nme"] for row in history(folder) if "val/nme" in row) == pytest.approx(kept["best/val/nme"]["min"])
    assert kept["best/val/nme"]["min"] != pytest.approx(kept["val/nme"], rel=1e-3), "the network's own, without the adapter"


def test_faces_and_plots(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None) -> None:
    """The same faces at every validation and at the end; of each scored set its worst faces, CED and regions."""
    options = [option for option in quick if "n_val" not in option]
    answer = cli("run", "real_only", *options, "--real.n_val=12", "--n_real=9", "--wandb.mode=offline")
    assert answer.code == 0, answer.err
    run = offline(tmp_path / "runs").parents[1]
    folder, record, sets = offline(tmp_path / "runs"), result(tmp_path / "runs"), load_predictions(run / "predictions.npz")
    *_, last = rows = history(folder)
    artifacts = [of["artifact"] for of in records(folder) if of["type"] == "artifact"]
    assert [row["progress/step"] for row in rows] == [2, 4, 4]
    titles = [row["val/faces.caption"].partition(":")[0] for row in rows]
    assert titles == ["real, step 2", "real, step 4", "the run's answer"]
    sheets = [Image.open(folder / "files" / row["val/faces.path"]) for row in rows]
    assert {sheet.size for sheet in sheets} == {(448, 224)} and sheets[0].format == "JPEG"
    assert {name.removeprefix("worst_faces/").partition(".")[0] for name in last if name.startswith("worst_faces")} == {
        "val", "common", "challenging", "full",
    }  # fmt: skip
    for name in ("val", "common"):
        nme, title = sets[name].nme(), name if name == "val" else f"test/{name}"
        table = json.loads((folder / "files" / last[f"worst_faces/{name}.path"]).read_text())
        assert table["columns"] == ["face", "name", "nme", "box_source"]
        order = np.argsort(-nme, kind="stable")[:16]
        assert [row[1] for row in table["data"]] == sets[name].names[order].tolist()
        assert [row[2] for row in table["data"]] == pytest.approx(nme[order], abs=1e-3)
        assert {row[3] for row in table["data"]} == {"landmarks"}
        (pictures,) = [of for of in artifacts if f"worst_faces{name}-" in of["name"]]
        content = {path.rpartition(".")[2]: data for path, data in _contents(pictures).items()}
        assert content.keys() == {"jpg", "json"} and Image.open(io.BytesIO(content["jpg"])).size == (144, 144)
        assert len(pictures["manifest"]["contents"]) == 1 + len(order)
        ced = json.loads((folder / "files" / last[f"ced/{name}_table.path"]).read_text())
        line = {row[0]: row[2] for row in ced["data"]}
        assert line[8.0] == pytest.approx(100 - record["metrics"][f"{title}/fr@8"], abs=0.01)
        bars = json.loads((folder / "files" / last[f"regions/{name}_table.path"]).read_text())["data"]
        assert [bar[0] for bar in bars] == ["jaw", "brows", "nose", "eyes", "mouth"]
        assert bars[0][1] == pytest.approx(record["metrics"][f"{title}/nme_jaw"])


def test_no_faces_where_a_licence_wants_none(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None
) -> None:
    answer = cli("run", "real_only", *quick, "--n_real=5", "--wandb.mode=offline", "--pictures=false")
    assert answer.code == 0, answer.err
    folder = offline(tmp_path / "runs")
    *_, last = rows = history(folder)
    assert not list(folder.rglob("*.jpg")) and not any("val/faces.path" in row for row in rows)
    table = json.loads((folder / "files" / last["worst_faces/common.path"]).read_text())
    assert table["columns"] == ["name", "nme", "box_source"] and len(table["data"]) == 11
    assert "ced/common_table.path" in last


@pytest.mark.slow
def test_a_run_stays_small(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None) -> None:
    """Sixty steps of two stages with a sheet of faces at each of 30 validations: what is synced is below a megabyte."""
    steps = ["--fit.steps=60", "--fit.val_every=4", "--adapter.kind=shift"]
    answer = cli("run", "data_adaptation", *quick, *steps, "--wandb.mode=offline")
    assert answer.code == 0, answer.err
    folder = offline(tmp_path / "runs")
    assert sum("val/faces.path" in row for row in history(folder)) == 31
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000


def test_what_goes_in_and_what_comes_out(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None
) -> None:
    """Artifacts: data and split without pictures or names, the same wherever they are the same; the result, and networks
    where they are asked for."""
    found = {}
    for n, more in ((5, ["--wandb.checkpoints=true"]), (6, [])):
        assert cli("run", "label_adaptation", *quick, f"--n_real={n}", "--wandb.mode=offline", *more).code == 0
        (run,) = (tmp_path / "runs").glob(f"label_adaptation-*-n{n}-*")
        (folder,) = run.glob("wandb/offline-run-*")
        artifacts = [of["artifact"] for of in records(folder) if of["type"] == "artifact"]
        found[n] = {of["name"]: of for of in artifacts if of["type"] != "run_table"}
        used = {name for name, of in found[n].items() if of.get("use_after_commit")}
        assert used == {"data-300w", "data-face_synthetics", "data-split"}
        record = json.loads((run / "result.json").read_text())
        contents = {name: _contents(of) for name, of in found[n].items()}
        data = json.loads(contents["data-300w"]["dataset.json"])
        assert data["fingerprint"] == record["data"]["real"]["fingerprint"] and data["parts"]["afw"]["n_faces"] == 12
        split = json.loads(contents["data-split"]["split.json"])
        assert split["real"]["train"]["n"] == n and split == {
            domain: {side: {"fingerprint": of["fingerprint"], "n": of["n"]} for side, of in sides.items()}
            for domain, sides in json.loads((run / "split.json").read_text()).items()
        }
        (given,) = [of for name, of in contents.items() if name.startswith("result-")]
        assert {name: given[name] for name in given} == {
            name: (run / name).read_bytes() for name in ("result.json", "predictions.npz")
        }
        networks = [of for name, of in contents.items() if name.startswith("model-")]
        assert [sorted(of) for of in networks] == [
            ["checkpoints/adapter_predictions.ckpt", "checkpoints/answering.ckpt"]
        ] * (n == 5)
    assert all(found[5][name]["digest"] == found[6][name]["digest"] for name in ("data-300w", "data-face_synthetics"))
    assert found[5]["data-split"]["digest"] != found[6]["data-split"]["digest"]


def _contents(artifact: dict[str, Any]) -> dict[str, bytes]:
    return {of["path"]: Path(of["local_path"]).read_bytes() for of in artifact["manifest"]["contents"]}


def test_a_finished_run_appears_where_it_is_asked_for_once(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None
) -> None:
    """Under another group or project it is a W&B run of its own with all that it has; under a known one nothing is told."""
    runs = tmp_path / "runs"

    def ask(*options: str) -> list[Path]:
        before = set(runs.glob("*/wandb/offline-run-*"))
        answer = cli("run", "label_adaptation", *quick, "--n_real=5", *options)
        assert answer.code == 0, answer.err
        now = set(runs.glob("*/wandb/offline-run-*")) - before
        assert not before or ("logged to Weights & Biases" in answer.err) == bool(now)
        return sorted(now)

    offline = "--wandb.mode=offline"
    (first,) = ask(offline)
    again = {("--wandb.group=other",): 1, ("--wandb.project=elsewhere",): 1, ("--wandb.group=runs",): 0, (): 0}
    shown = [first]
    for options, n in again.items():
        new = ask(offline, *options)
        assert len(new) == n
        shown += new
        assert ask(offline, *options) == [], "once"
    ids = [next(of["run"]["run_id"] for of in records(folder) if of["type"] == "run") for folder in shown]
    assert len(set(ids)) == 3 and len({of[:16] for of in ids}) == 1
    told = [
        [{key: value for key, value in row.items() if key not in ("_runtime", "_timestamp")} for row in history(folder)]
        for folder in shown
    ]
    assert [[row.keys() for row in rows] for rows in told] == [[row.keys() for row in told[0]]] * 3
    assert [row["val/faces.path"] for row in told[1]] == [row["val/faces.path"] for row in told[0]]
    (ledger,) = runs.glob("*/wandb.json")
    assert [(of["project"], of["group"], of["state"]) for of in json.loads(ledger.read_text())] == [
        ("domaingap", "runs", "finished"), ("domaingap", "other", "finished"), ("elsewhere", "runs", "finished"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_finished_sweep_appears_under_another_group(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None
) -> None:
    """The group of a sweep is its name; runs that were not tracked appear as well."""
    file = tmp_path / "alpha.yaml"
    file.write_text("method: grid\nparameters: {recipe: {value: real_only}, n_real: {values: [5, 6]}}\n")
    assert cli("sweep", file, *quick).code == 0
    for options, groups in (
        ([], ["alpha"]), (["--wandb.group=other"], ["alpha", "other"]), ([], ["alpha", "other"]),
    ):  # fmt: skip
        answer = cli("sweep", file, *quick, "--wandb.mode=offline", *options)
        assert answer.code == 0 and "2 of them finished before" in answer.err, answer.err
        told = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/wandb.json")]
        assert [[of["group"] for of in ledger] for ledger in told] == [groups, groups]
        assert len(list((tmp_path / "runs").glob("*/wandb/offline-run-*"))) == 2 * len(groups)


def test_a_run_that_was_not_tracked_and_one_whose_tests_come_later(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None
) -> None:
    options = [*quick, "--n_real=5", "--score_test=false"]
    assert cli("run", "real_only", *options).code == 0
    assert cli("run", "real_only", *options, "--wandb.mode=offline").code == 0
    first = offline(tmp_path / "runs")
    before, rows = summary(first)["summary"], history(first)
    assert "val/nme" in before and "test/common/nme" not in before
    assert cli("run", "real_only", *options[:-1], "--wandb.mode=offline").code == 0
    second = offline(tmp_path / "runs")
    assert first.with_name(f"superseded-{first.name}").is_dir(), "or both would be synced to one W&B run"
    after = summary(second)["summary"]
    assert after["test/common/nme"] and after["val/nme"] == before["val/nme"]
    assert [row["progress/step"] for row in history(second)] == [row["progress/step"] for row in rows]


def test_a_picture_that_fails_ends_the_tracking_alone(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no pixels")

    monkeypatch.setattr("domaingap.study.showing.sheet", fail)
    answer = cli("run", "real_only", *quick, "--n_real=5", "--wandb.mode=offline")
    assert answer.code == 0 and answer.err.count("no pixels; going on without it") == 1, answer.err
    assert result(tmp_path / "runs")["metrics"]["val/nme"]
    (ledger,) = (tmp_path / "runs").glob("*/wandb.json")
    assert [of["state"] for of in json.loads(ledger.read_text())] == ["failed"]
    assert next(r for r in records(offline(tmp_path / "runs")) if "exit" in r)["exit"]["exit_code"] == 1


def test_of_many_validations_fewer_and_fewer_have_a_sheet() -> None:
    assert [n for n in range(40) if has_sheet(n)] == [*range(32), 32, 34, 36, 38]
    assert sum(has_sheet(n) for n in range(1000)) < 120


def test_an_interrupted_run_is_no_running_one(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B has its end, as killed; what it wrote is put aside when the run goes on, which writes all of it again."""
    from domaingap.training import fit_stage

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    options = [*quick, "--wandb.mode=offline", "--n_real=5"]
    monkeypatch.setattr("domaingap.stages.fit_stage", interrupted)
    assert cli("run", "real_only", *options).code == 130
    (ledger,) = (tmp_path / "runs").glob("*/wandb.json")
    (folder,) = (tmp_path / "runs").glob("*/wandb/offline-run-*")
    assert [of["state"] for of in json.loads(ledger.read_text())] == ["killed"]
    assert next(r for r in records(folder) if "exit" in r)["exit"]["exit_code"] == 255
    monkeypatch.setattr("domaingap.stages.fit_stage", fit_stage)
    answer = cli("run", "real_only", *options)
    assert answer.code == 0, answer.err
    (after,) = (tmp_path / "runs").glob("*/wandb/offline-run-*")
    assert folder.with_name(f"interrupted-{folder.name}").is_dir()
    assert [of["state"] for of in json.loads(ledger.read_text())] == ["finished"]
    assert next(r for r in records(after) if "exit" in r)["exit"]["exit_code"] == 0
