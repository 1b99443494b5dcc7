"""``domaingap sweep`` in several processes: the same figures, whoever is killed; failures are listed and repeated."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domaingap.errors import StorageError, UserError
from domaingap.study import run
from tests.experiments.test_cli import fails
from tests.experiments.test_sweep import Cli, folders, grid, write

ROOT = Path(__file__).parents[2]


def results(folder: Path) -> dict[str, Any]:
    """What must not depend on who did what."""
    contents = [json.loads(path.read_text()) for path in folder.rglob("result.json")]
    return {content["name"]: (content["metrics"], content["intervals"], content["counts"]) for content in contents}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[int, Exception]:
    """Runs that fail, by their n_real."""
    faults: dict[int, Exception] = {}
    execute = run.execute

    def may_fail(recipe: Any, settings: Any, *more: Any) -> Any:
        if settings.n_real in faults:
            raise faults[settings.n_real]
        return execute(recipe, settings, *more)

    monkeypatch.setattr(run, "execute", may_fail)
    return faults


def test_failures_are_listed_and_repeated(cli: Cli, quick: list[str], tmp_path: Path, failing: dict[int, Exception]) -> None:
    failing |= {6: RuntimeError("lightning struck"), 7: UserError("somebody took the picture away")}
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[5, 6, 7]))
    answer = cli("sweep", file, *quick)
    assert answer.code == 1 and "1 of 3 runs finished, 1 of them now" in answer.err and "2 failed" in answer.err
    lines = [line for line in answer.err.splitlines() if line.startswith("  failed: ")]
    assert "real_only n_real 6 seed 0: RuntimeError: lightning struck; log: " in lines[0]
    assert "real_only n_real 7 seed 0: somebody took the picture away; log: " in lines[1]
    logs = [Path(line.partition("log: ")[2]) for line in lines]
    assert all(log.is_file() for log in logs)
    listed = json.loads((tmp_path / "runs" / "failed.json").read_text())
    assert [(entry["run"], entry["log"]) for entry in listed] == [
        (f"real_only n_real {n} seed 0", str(log)) for n, log in zip((6, 7), logs, strict=True)
    ]
    said = next(line for line in answer.err.splitlines() if line.startswith("just those that failed again: "))
    command = shlex.split(said.partition(": ")[2])
    assert command[:2] == ["domaingap", "sweep"] and "--failed" in command
    del failing[6]
    again = cli(*command[1:])
    assert again.code == 1 and "1 of 2 runs finished" in again.err
    failing.clear()
    again = cli(*command[1:])
    assert again.code == 0 and "1 of 1 runs finished" in again.err and len(folders(tmp_path)) == 3
    assert not (tmp_path / "runs" / "failed.json").exists()
    fails(cli(*command[1:]), "failed.json", "nothing failed the last time")


def test_on_failure_stop_begins_nothing_more(
    cli: Cli, quick: list[str], tmp_path: Path, failing: dict[int, Exception]
) -> None:
    failing[6] = RuntimeError("lightning struck")
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[5, 6, 7]))
    answer = cli("sweep", file, *quick, "--on-failure=stop")
    assert answer.code == 1 and "1 of 3 runs finished" in answer.err and "1 failed; 1 not begun" in answer.err
    assert len(folders(tmp_path)) == 1


def test_runs_of_a_network_that_failed_fail_with_it(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(self: Any, upto: int) -> None:
        raise UserError("training diverged at step 2")

    monkeypatch.setattr(run.Run, "prepare", diverges)
    file = write(tmp_path / "s.yaml", grid(recipe=["real_only", "synthetic_only", "fine_tuning"], n_real=5))
    answer = cli("sweep", file, *quick, "--exact")
    assert answer.code == 1 and "1 of 3 runs finished" in answer.err and "2 failed" in answer.err
    assert answer.err.count("seed 0 synthetic failed: training diverged at step 2; log: ") == 2


def test_a_full_disk_ends_the_sweep(cli: Cli, quick: list[str], tmp_path: Path, failing: dict[int, Exception]) -> None:
    failing[6] = StorageError("runs: no room")
    file = write(tmp_path / "s.yaml", grid(recipe="real_only", n_real=[5, 6, 7]))
    fails(cli("sweep", file, *quick), "runs: no room")
    assert len(folders(tmp_path)) == 1


def test_no_reuse_trains_everything_to_the_same_figures(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe=["label_adaptation", "mixing"], n_real=9))
    options = [*quick, "--adapter.kind=shift"]
    assert cli("sweep", file, *options).code == 0
    shared = results(tmp_path / "runs")
    assert cli("sweep", file, *options, f"--runs_dir={tmp_path / 'own'}", "--no-reuse").code == 0
    assert results(tmp_path / "own") == shared
    assert not (tmp_path / "own" / "stages").exists()
    assert len(list((tmp_path / "own").glob("*/stages/network-*"))) == 3
    contents = [json.loads(path.read_text()) for path in (tmp_path / "own").rglob("result.json")]
    assert not any(stage["reused"] for content in contents for stage in content["stages"])
    assert "3 networks to train: each run trains its own" in cli("sweep", file, *options, "--plan", "--no_reuse").err


def test_plan_measures_the_time(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe=["synthetic_only", "fine_tuning"], n_real=5))
    err = " ".join(cli("sweep", file, *quick, "--plan", "--exact").err.split())
    assert "2 networks to train, for 3 that the runs need: 1 are shared" in err
    assert "of training on this machine (5 steps, " in err
    assert not (tmp_path / "runs").exists()
    fails(cli("sweep", file, *quick, "--jobs=0"), "--jobs", "0")


# In processes.


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start a sweep in a process group of its own, with a thread a process."""
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: object) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
        command = [sys.executable, "-m", "experiments", "sweep", *map(str, arguments)]
        started.append(
            subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                             start_new_session=True)
        )  # fmt: skip
        return started[-1]

    yield call
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def children(pid: int) -> list[int]:
    """The processes that do orders: Python's own helpers have no children's module in their command."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [child for child in map(int, text.split()) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def group(pid: int) -> list[int]:
    """Live processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def until(happened: Any, seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_two_processes_whoever_is_killed(
    cli: Cli, start: Any, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "s.yaml", grid(recipe=["label_adaptation", "fine_tuning", "real_only"], n_real=9, seed=[0, 1]))
    options = ["--fit.steps=60", "--fit.val_every=4", "--finetune.steps=60", "--adapter.kind=linear"]
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert cli("sweep", file, *quick, *options, f"--runs_dir={tmp_path / 'alone'}").code == 0
    finally:
        torch.set_num_threads(threads)
    expected = results(tmp_path / "alone")
    assert len(expected) == 8, "with real_only at fine_tuning's number of steps"
    runs = tmp_path / "runs"

    # A process is killed: what it was at is begun once more, and goes on. Then the sweep itself: its processes end with it.
    sweep = start(file, *quick, *options, "--jobs=2")
    until(lambda: list(runs.glob("stages/*/.training-*/resume.ckpt")))
    os.kill(children(sweep.pid)[0], signal.SIGKILL)
    until(lambda: len(list(runs.glob("*/result.json"))) >= 1)
    os.kill(sweep.pid, signal.SIGKILL)
    _, err = sweep.communicate()
    assert "its process was killed (SIGKILL)" in err and "begun once more" in err and "Traceback" not in err
    until(lambda: not group(sweep.pid), 10)
    # Ctrl-C, which a terminal sends to all: 130, and nobody stays.
    sweep = start(file, *quick, *options, "--jobs=2")
    until(lambda: len(children(sweep.pid)) == 2)
    os.killpg(sweep.pid, signal.SIGINT)
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130 and "interrupted; give the same command again to go on" in err, err
    assert "Traceback" not in err
    until(lambda: not group(sweep.pid), 10)

    sweep = start(file, *quick, *options, "--jobs=2")
    out, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, err
    assert results(runs) == expected
    assert len(list(runs.glob("stages/network-*"))) == len(list((tmp_path / "alone").glob("stages/network-*")))
    assert "8 of 8 runs finished" in err and "strategy" in out
    assert len(list((runs / "logs").glob("*.log"))) >= 8
    assert "(best so far)" in next((runs / "logs").glob("real_only*seed-0*.log")).read_text()
