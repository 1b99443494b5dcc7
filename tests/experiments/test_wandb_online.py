"""What W&B is sent while a run trains and by ``wandb sync``, at a stand-in for its server (``tests/wandb_server.py``).

Never run against the service.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from domaingap.config import WandbConfig
from domaingap.tracking import Tracker
from tests.conftest import Answer
from tests.experiments.test_wandb import history, offline, summary
from tests.experiments.test_wandb_agent import done, environment, logged_in, server, wandb
from tests.wandb_server import Server

__all__ = ["environment", "logged_in", "server"]  # fixtures


def tracker(folder: Path) -> Tracker:
    made = Tracker(WandbConfig(mode="online"), folder, "real_only s0", "key", "real_only", "runs", {"alpha": 0.5})
    made.least("best/val/nme")
    return made


def tell(folder: Path, steps: dict[int, float]) -> None:
    with tracker(folder) as run:
        least = float("inf")
        for step, nme in steps.items():
            least = min(least, nme)
            run.point(step, {"val/nme": nme, "best/val/nme": least})


def test_a_point_whose_row_was_lost_is_told_again(tmp_path: Path, server: Server, logged_in: dict[str, str]) -> None:
    """W&B sends its summary ahead of its history: a kill between the two leaves a point in the one alone."""
    tell(tmp_path, {10: 5.0, 20: 3.0, 30: 4.0})
    (run,) = server.runs.values()
    del run.history[max(run.history)]
    assert run.summary["progress/step"] == 30
    tell(tmp_path, {10: 5.0, 20: 3.0, 30: 4.0, 40: 6.0})
    assert list(server.runs) == [run.id] and run.state == "finished"
    assert [(row["progress/step"], row["val/nme"]) for row in run.rows] == [(10, 5.0), (20, 3.0), (30, 4.0), (40, 6.0)]
    assert run.summary["best/val/nme"]["min"] == 3.0, "also of what was told before"


def test_online_and_offline_say_the_same(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, server: Server, logged_in: dict[str, str]
) -> None:
    """An offline run is synced without loss, and what is asked for online under another group is a run of its own."""
    options = ["run", "label_adaptation", *quick, "--n_real=5", "--wandb.checkpoints=true"]
    assert cli(*options, "--wandb.mode=offline").code == 0
    runs = tmp_path / "runs"
    folder = offline(runs)
    assert not server.runs
    done(wandb("sync", str(folder), environment=logged_in))
    (synced,) = server.runs.values()
    assert synced.state == "finished" and synced.fields["groupName"] == "runs"
    assert (
        len(synced.rows) == len(history(folder))
        and _flat(synced.summary).items()
        >= {
            key: value
            for key, value in summary(folder)["summary"].items()
            if isinstance(value, int | float) and key[0] != "_"
        }.items()
    )
    media = {str(path.relative_to(folder / "files")) for path in folder.rglob("media/**/*") if path.is_file()}
    assert media <= synced.files
    _whole(server, synced.id, runs)
    answer = cli(*options, "--wandb.mode=online", "--wandb.group=other")
    assert answer.code == 0 and "group other" in answer.err, answer.err
    assert len(server.runs) == 2
    (other,) = [run for run in server.runs.values() if run.id != synced.id]
    assert other.state == "finished" and other.fields["groupName"] == "other" and other.config.keys() == synced.config.keys()
    assert [sorted(row) for row in other.rows] == [sorted(row) for row in synced.rows]
    figures = json.loads(next(runs.glob("*/result.json")).read_text())["metrics"]
    assert all(run.summary[name] == pytest.approx(value) for run in (synced, other) for name, value in figures.items())
    _whole(server, other.id, runs)
    assert {of.name for of in server.artifacts.values() if set(of.used_by) == {synced.id, other.id}} == {
        "data-300w", "data-face_synthetics", "data-split",
    }, "one version of both"  # fmt: skip
    again = cli(*options, "--wandb.mode=online", "--wandb.group=other")
    assert again.code == 0 and "logged" not in again.err and other.starts == 1
    assert not server.unknown, server.unknown


def _whole(server: Server, run: str, runs: Path) -> None:
    """All artifacts of a run have come, with their files."""
    made = {
        of.name if of.name.startswith("data-") else of.name.partition("-")[0]: of
        for of in server.artifacts.values()
        if run in (*of.made_by, *of.used_by)
    }
    assert {"data-300w", "data-face_synthetics", "data-split", "result", "model"} <= made.keys()
    assert {of.state for of in made.values()} == {"COMMITTED"}
    assert {name for name, of in made.items() if run in of.used_by} == {"data-300w", "data-face_synthetics", "data-split"}
    (folder,) = [path.parent for path in runs.glob("*/result.json")]
    for name in ("result.json", "predictions.npz"):
        assert made["result"].files[name] == (folder / name).read_bytes()
    assert made["model"].files["checkpoints/answering.ckpt"] == (folder / "checkpoints/answering.ckpt").read_bytes()


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
