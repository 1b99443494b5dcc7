"""One network in several processes and on several machines, from the command line: how commands end, and go on."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer
from tests.experiments.test_cli import fails
from tests.experiments.test_ends import alive, children, ended, figures, start, until, work
from tests.stress_stores import CONTEXT

__all__ = ["start"]  # a fixture


@pytest.fixture
def longer(quick: list[str]) -> list[str]:
    return ["run", "real_only", *quick, "--fit.steps=12", "--fit.val_every=3"]


def shows(tmp_path: Path, text: str, name: str = "err.txt") -> Callable[[], bool]:
    return lambda: (tmp_path / name).exists() and text in (tmp_path / name).read_text()


def test_settings_that_cannot_be(cli: Callable[..., Answer], quick: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for options, line in (
        (["--fit.devices=3"], "--fit.batch_size is 4, which 3 processes (--fit.devices 3, --fit.nodes 1) can't share"),
        (["--fit.devices=0"], "--fit.devices is 0; it lies between 1 and 64"),
        (
            ["--fit.nodes=2"],
            "--fit.nodes is 2, but neither srun nor torchrun has started this command; start it once on each",
        ),
        (["--fit.devices=4"], "--fit.batch_size is 1, but test_resnet at 32 px normalises over the batch"),
    ):
        fails(cli("run", "real_only", *quick, *options), line)


def test_a_sweep_over_machines_has_one_job(cli: Callable[..., Answer], quick: list[str], tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("method: grid\nparameters:\n  recipe: {value: real_only}\n  seed: {values: [0, 1]}\n")
    fails(cli("sweep", file, *quick, "--fit.nodes=2", "--jobs=2"), "--jobs is 2; where networks have several machines each")
    fails(cli("sweep", file, *quick, "--fit.nodes=2", "--launcher=slurm"), "--launcher slurm", "--fit.nodes 1")
    assert cli("sweep", file, *quick, "--fit.nodes=2", "--plan").code == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for children in /proc")
def test_all_processes_end_with_the_command(start: Callable[..., Any], longer: list[str], tmp_path: Path) -> None:
    process = start([*longer, "--fit.devices=2"])
    until(shows(tmp_path, "step 6/12"), process, 200)
    ranks = children(process.pid)
    assert len(ranks) == 2
    process.kill()
    until(lambda: not any(alive(pid) for pid in ranks), seconds=20)
    again = start([*longer, "--fit.devices=2"], err=tmp_path / "again.txt")
    until(shows(tmp_path, "step 9/12", "again.txt"), again, 200)
    ranks, began = children(again.pid), time.monotonic()
    os.kill(again.pid, signal.SIGTERM)
    assert ended(again) == 143 and time.monotonic() - began < 10
    until(lambda: not any(alive(pid) for pid in ranks), seconds=10)
    text = (tmp_path / "again.txt").read_text()
    assert "going on from its last checkpoint" in text and "Traceback" not in text
    assert text.splitlines()[-1] == "domaingap: terminated (SIGTERM); give the same command again to go on"
    assert text.count("domaingap:") == 1


def machine(number: int, port: int, arguments: list[str], err: str) -> None:
    """The command as torchrun starts it on one of two machines."""
    os.environ.update(RANK=str(number), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    work(arguments, err + ".out", err)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.slow
def test_two_machines(cli: Callable[..., Answer], longer: list[str], tmp_path: Path) -> None:
    """One is lost in the middle, and the other one says so; given again on both, they end with the figures of one."""
    started: list[Any] = []

    def begin(name: str) -> list[Any]:
        port, names = free_port(), [str(tmp_path / f"{name}{number}.txt") for number in range(2)]
        both = [
            CONTEXT.Process(target=machine, args=(number, port, [*longer, "--fit.nodes=2"], names[number]))
            for number in range(2)
        ]
        for process in both:
            process.start()
        started.extend(both)
        return both

    try:
        first, second = begin("a")
        until(shows(tmp_path, "step 3/12", "a0.txt"), first, 200)
        second.kill()
        assert ended(first, 30) == 2
        line = (tmp_path / "a0.txt").read_text().splitlines()[-1]
        assert line.startswith("domaingap: ") and line.endswith("; give the same command again to go on"), line
        assert "lost the others" in line
        first, second = begin("b")
        assert (ended(first, 200), ended(second, 30)) == (0, 0)
    finally:
        for process in started:
            process.kill()
            process.join()
    assert "going on from its last checkpoint" in (tmp_path / "b0.txt").read_text()
    assert (tmp_path / "b1.txt").read_text() == "machine 2 of 2: trains what the first one says\n"
    assert not (tmp_path / "b1.txt.out").read_text(), "the table is printed once"
    found = figures(tmp_path / "runs")
    assert cli(*longer, f"--runs_dir={tmp_path / 'alone'}").code == 0
    alone = figures(tmp_path / "alone")
    assert {k: v for k, v in found.items() if "/nme" in k} == pytest.approx(
        {k: v for k, v in alone.items() if "/nme" in k}, rel=1e-3
    )
