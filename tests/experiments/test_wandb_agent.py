"""W&B's own commands, ``wandb sweep`` and ``wandb agent``, against a stand-in for its server (``tests/wandb_server.py``).

Never run against the service: these show what is sent, and that the agent's processes begin, end and go on as they should.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from tests.conftest import Answer
from tests.wandb_server import KEY, Run, Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
WANDB = "import sys, wandb.wandb_agent as a; a.Agent.POLL_INTERVAL = 0.3; from wandb.cli.cli import cli; cli(sys.argv[1:])"
"""W&B's command, whose agent looks for news more often than every five seconds."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def environment(server: Server, tmp_path: Path) -> dict[str, str]:
    """Somebody who is logged in, at the stand-in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    home = {"HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path), "WANDB_DIR": str(tmp_path)}
    return {**kept, **home, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "OMP_NUM_THREADS": "1"}


def sweep_file(folder: Path, quick: list[str], **parameters: Any) -> Path:
    """A sweep of tiny runs in W&B's grammar, whose command starts this checkout."""
    shared = {key: value for key, _, value in (option[2:].partition("=") for option in quick)} | {"wandb.mode": "auto"}
    content = {
        "project": "tiny",
        "method": "grid",
        "metric": {"name": "val/nme", "goal": "minimize"},
        "command": ["${env}", sys.executable, "-m", "experiments", "trial", str(folder / "s.yaml"), "${args}"],
        "parameters": {name: {"value": yaml.safe_load(str(value))} for name, value in shared.items()}
        | {
            name.replace("__", "."): {"values" if isinstance(value, list) else "value": value}
            for name, value in parameters.items()
        },
    }
    (folder / "s.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "s.yaml"


def wandb(*arguments: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WANDB, *arguments]
    return subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def done(process: subprocess.Popen[str], seconds: float = 500) -> str:
    """What a process said until its end; it is ended where it takes too long, with those that it started."""
    try:
        return process.communicate(timeout=seconds)[0]
    finally:
        if process.poll() is None:
            for group in [*children(process.pid), process.pid]:  # W&B's agent gives each trial a group of its own
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
            process.wait()


def until(what: Callable[[], Any], seconds: float = 300) -> Any:
    """What is asked for, once it is there."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def results(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(runs.glob("*/result.json"))]


def curve(run: Run) -> list[tuple[int, float]]:
    return [(row["progress/step"], row["val/nme"]) for row in run.rows if "val/nme" in row]


def test_agents_do_the_sweep(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, server: Server, environment: dict[str, str]
) -> None:
    """Each trial logs, one whose run was finished before as well; the sweep finds all of them finished."""
    file = sweep_file(tmp_path, quick, recipe="mixing", alpha=[0.75, 0.25], n_real=9, adapter__kind="shift")
    before = cli("trial", file, "--alpha=0.75", "--wandb.mode=off")
    assert before.code == 0 and "1 of 2 α have no validation NME" in " ".join(before.err.split()), before.err
    said = done(wandb("sweep", str(file), environment=environment))
    assert "wandb agent us/tiny/sweep0" in said and "Malformed" not in said
    said = done(wandb("agent", "us/tiny/sweep0", environment=environment))
    assert "logged to the run of W&B's agent" in said, said
    trials = {run.given["alpha"]: run for run in server.runs.values()}
    assert trials.keys() == {0.25, 0.75} and {run.state for run in trials.values()} == {"finished"}, said
    found = {result["alpha"]: result for result in results(tmp_path / "runs")}
    for alpha, run in trials.items():
        assert run.fields["sweep"] == "sweep0" and run.fields["project"] == "tiny"
        assert run.fields["groupName"] == "s" and run.fields["jobType"] == "mixing"
        assert run.config["alpha"] == alpha and run.config["fit"]["batch_size"] == 4
        for name, value in found[alpha]["metrics"].items():
            assert run.summary[name] == pytest.approx(value)
        assert run.summary["adapter/kind"] == "shift"
        assert [step for step, _ in curve(run)] == [2, 4, 6, 8] and {row.get("phase") for row in run.rows} == {1, 2, None}
        for picture in ("val/faces", "val/best_to_worst", "adapter/mean_face"):
            assert any(name.startswith(f"media/images/{picture}") for name in run.files)
    best = min(found, key=lambda alpha: found[alpha]["metrics"]["val/nme"])
    assert best == 0.75, "or the last trial would score itself, and not another one's run"
    assert ["test/common/nme" in trials[alpha].summary for alpha in (0.75, 0.25)] == [True, False]
    answer = cli("sweep", file, "--wandb.mode=off")
    assert answer.code == 0 and "2 of them finished before" in answer.err, answer.err


def state(ledger: Path) -> str:
    (entry,) = json.loads(ledger.read_text())
    return str(entry["state"])


def checkpoint(runs: Path) -> float | None:
    """When the checkpoint of a stage that is under way was written; None where there is none."""
    for path in runs.glob("stages/*/.training-*/resume.ckpt"):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime
    return None


LONGER = ["--fit.steps=160", "--fit.val_every=10", "--fit.ema=0"]
POINTS = list(range(10, 161, 10))


def test_a_killed_trial_goes_on_under_its_id_and_a_signal_ends_it(
    quick: list[str], tmp_path: Path, server: Server, environment: dict[str, str]
) -> None:
    runs = tmp_path / "runs"
    file = sweep_file(tmp_path, [*quick, *LONGER], recipe="real_only", seed=[0], wandb__preemptible=True)
    done(wandb("sweep", str(file), environment=environment))
    agent = wandb("agent", "--forward-signals", "us/tiny/sweep0", environment=environment)
    try:
        until(lambda: checkpoint(runs))
        (run,) = server.runs.values()
        (ledger,) = runs.glob("*/wandb.json")
        assert state(ledger) == "running"
        (trial,) = [pid for pid in children(agent.pid) if b"trial" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        server.again.append(run.id)
        os.kill(trial, signal.SIGKILL)
        before = checkpoint(runs)
        until(lambda: run.starts == 2 and checkpoint(runs) != before)
        os.kill(agent.pid, signal.SIGTERM)
        said = done(agent)
    finally:
        done(agent)
    assert run.state == "killed" and run.preempting, said
    assert "terminated (SIGTERM)" in said and "going on from its last checkpoint" in said and "Traceback" not in said
    assert state(ledger) == "killed"
    server.again.append(run.id)
    said = done(wandb("agent", "us/tiny/sweep0", environment=environment))
    assert list(server.runs) == [run.id] and run.starts == 3 and run.state == "finished", said
    assert state(ledger) == "finished"
    (result,) = results(runs)
    assert run.summary["val/nme"] == pytest.approx(result["metrics"]["val/nme"])
    assert [step for step, _ in curve(run)] == POINTS, "each point once"


@pytest.fixture
def logged_in(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Likewise in this process."""
    import wandb

    wandb.teardown()  # before its environment is kept: what it started isn't there any more when that comes back
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("WANDB"):
            monkeypatch.setenv(name, value)
    yield environment
    wandb.teardown()


def killed(command: list[str], environment: dict[str, str], begun: Callable[[], Any]) -> None:
    """Start a run and kill it without warning once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments", *command], env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        until(begun)
    finally:
        process.kill()
        process.wait()


def test_a_lost_run_is_ended(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, server: Server, logged_in: dict[str, str]
) -> None:
    """Online: what a kill has left running is ended by whoever sees it, and the same command goes on with the same run."""
    from domaingap.tracking_places import close_all_lost

    options = [*quick, "--wandb.mode=online", *LONGER]
    killed(["run", "real_only", *options], logged_in, lambda: checkpoint(tmp_path / "runs"))
    (run,) = server.runs.values()
    (ledger,) = (tmp_path / "runs").glob("*/wandb.json")
    time.sleep(3)
    assert run.state == "running", "W&B is told nothing of a kill"
    with FileLock(tmp_path / "runs" / ".locks" / f"run-{ledger.parent.name}.lock"):
        assert close_all_lost(tmp_path / "runs") == 0, "somebody is at it"
    assert close_all_lost(tmp_path / "runs") == 1 and run.state == "killed"
    assert state(ledger) == "killed" and close_all_lost(tmp_path / "runs") == 0
    answer = cli("run", "real_only", *options)
    assert answer.code == 0 and "going on from its last checkpoint" in answer.err, answer.err
    assert list(server.runs) == [run.id] and run.state == "finished"
    assert [step for step, _ in curve(run)] == POINTS


def test_a_lost_run_that_was_offline(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, server: Server, logged_in: dict[str, str]
) -> None:
    """``wandb sync`` calls it failed; once it has gone on, what there is to sync is one whole run."""
    options = [*quick, "--wandb.mode=offline", *LONGER]
    runs = tmp_path / "runs"
    killed(["run", "real_only", *options], logged_in, lambda: checkpoint(runs))
    (before,) = runs.glob("*/wandb/offline-run-*")
    done(wandb("sync", str(before), environment=logged_in))
    # Nothing is there to sync where W&B was killed before it had written anything.
    assert all(run.state == "failed" for run in server.runs.values())
    answer = cli("run", "real_only", *options)
    assert answer.code == 0, answer.err
    (after,) = runs.glob("*/wandb/offline-run-*")
    assert before.with_name(f"interrupted-{before.name}").is_dir() and shlex.quote(str(after)) in answer.err
    server.runs.clear()
    done(wandb("sync", str(after), environment=logged_in))
    (run,) = server.runs.values()
    assert run.id == json.loads((after.parents[1] / "wandb.json").read_text())[-1]["id"] and run.state == "finished"
    assert [step for step, _ in curve(run)] == POINTS
