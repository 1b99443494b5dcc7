"""What Weights & Biases is sent, read back from its offline files by W&B's own reader."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domaingap.errors import UserError
from domaingap.tracking import effective_mode
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
    options = ["--wandb.mode=auto", "--wandb.group=first-try", "--wandb.tags=tiny,test"]
    answer = cli("run", "fine_tuning", *quick, "--n_real=6", *options)
    assert answer.code == 0, answer.err
    assert "wandb sync" in answer.err
    (run,) = (tmp_path / "runs").glob("fine_tuning-*")
    result = json.loads((run / "result.json").read_text())
    assert result["wandb"] == "offline"
    (folder,) = run.glob("wandb/offline-run-*")
    kept = summary(folder)
    assert kept["config"]["fit"]["batch_size"] == 4
    assert kept["config"]["n_real"] == 6
    assert sorted(kept["tags"]) == ["test", "tiny"]
    for name, value in result["metrics"].items():
        assert kept["summary"][name] == pytest.approx(value), "the contract's names, the result's figures"
    text = json.dumps(records(folder))
    assert '"first-try"' in text
    assert '"fine_tuning"' in text, "the job type is the recipe"
    for curve in ("synthetic/train/loss", "synthetic/val/nme", "train/loss", "val/nme"):
        assert curve in text, curve
    pictures = list(folder.glob("files/media/images/val/faces*.png"))
    assert len(pictures) == 1
    assert pictures[0].stat().st_size > 10_000


def test_adapter_is_tracked(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, no_login: None) -> None:
    answer = cli("run", "label_adaptation", *quick, "--wandb.mode=offline", "--adapter.kind=linear")
    assert answer.code == 0, answer.err
    (run,) = (tmp_path / "runs").glob("label_adaptation-*")
    (folder,) = run.glob("wandb/offline-run-*")
    record, kept = json.loads((run / "result.json").read_text())["adapter"], summary(folder)["summary"]
    assert kept["adapter/kind"] == "linear" and kept["adapter/spread_ratio"] == pytest.approx(record["spread_ratio"])
    assert kept["adapter/movement_labels_jaw"] == pytest.approx(record["movement_labels"]["jaw"])
    assert len(list(folder.glob("files/media/images/adapter/mean_face*.png"))) == 1


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
    assert json.loads(ledger.read_text())["state"] == "killed"
    assert next(r for r in records(folder) if "exit" in r)["exit"]["exit_code"] == 255
    monkeypatch.setattr("domaingap.stages.fit_stage", fit_stage)
    answer = cli("run", "real_only", *options)
    assert answer.code == 0, answer.err
    (after,) = (tmp_path / "runs").glob("*/wandb/offline-run-*")
    assert folder.with_name(f"interrupted-{folder.name}").is_dir() and json.loads(ledger.read_text())["state"] == "finished"
    assert next(r for r in records(after) if "exit" in r)["exit"]["exit_code"] == 0
