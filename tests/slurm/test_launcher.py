"""The Slurm launcher against a stand-in for Slurm's commands; test_cluster.py has the same and more on a real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from domaingap.errors import SettingError, UserError
from domaingap.study.launchers import Event
from domaingap.study.launchers import slurm as module
from domaingap.study.launchers.display import Display
from domaingap.study.launchers.slurm import SlurmLauncher
from domaingap.study.launchers.slurm_commands import in_one_line, minutes, outside_of_jobs
from domaingap.study.launchers.slurm_options import SlurmOptions, further_options
from tests.conftest import Answer
from tests.slurm.fakes import FakeOrder, launcher

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol", "sacct")


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the cluster."""
    programs, cluster = tmp_path / "bin", tmp_path / "cluster"
    programs.mkdir()
    cluster.mkdir()
    for name in COMMANDS:
        program = programs / name
        program.write_text(f"#!{sys.executable}\n" + Path(__file__).with_name("stub.py").read_text())
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("STUB_SLURM", str(cluster))
    monkeypatch.setattr(module, "POLL_S", 0.1)
    return cluster


def until(slurm: SlurmLauncher, ended: Callable[[list[Event]], bool], seconds: float = 30) -> list[Event]:
    """Events up to and with the last one that is waited for."""
    happened: list[Event] = []
    limit = time.monotonic() + seconds
    while not ended(happened):
        assert time.monotonic() < limit, happened
        happened += slurm.events(1)
    return happened


def ends(slurm: SlurmLauncher, keys: Sequence[str], seconds: float = 30) -> dict[str, Event]:
    """The last event of each order."""
    happened = until(slurm, lambda events: {*keys} <= {e.key for e in events if e.kind in ("done", "failed")}, seconds)
    return {event.key: event for event in happened if event.kind in ("done", "failed")}


def test_what_is_ready_is_one_array_whose_elements_tell_how_they_ended(stub: Path, tmp_path: Path) -> None:
    slurm = launcher(tmp_path / "runs", partition="short", array_parallelism=2)
    orders = [FakeOrder(kind, tmp_path / "runs", kind) for kind in ("ok", "fail", "break")]
    slurm.start(orders)
    ended = ends(slurm, ["ok", "fail", "break"])
    assert ended["ok"].kind == "done" and ended["ok"].outcome is not None
    assert (ended["fail"].message, ended["fail"].fault) == ("somebody took the picture away", "user")
    assert (ended["break"].message, ended["break"].fault) == ("ZeroDivisionError: a mistake of ours", "other")
    log = orders[2].log.read_text()
    assert "break is at work" in log and "in work\n" in log and "failed: ZeroDivisionError" in log
    script = (stub / "script-1").read_text()
    for line in ("--array=0-2%2", "--partition=short", "--time=10", "--cpus-per-task=1", "--requeue"):
        assert f"#SBATCH {line}\n" in script.replace("'", "")
    assert "export OMP_NUM_THREADS=1" in script and "--cpus-per-task=1" in script.partition("srun")[2]
    assert "wckey" not in script and not (stub / "script-2").exists()
    # Nothing is left behind but what the orders wrote.
    assert not list((tmp_path / "runs" / "slurm").iterdir())
    assert json.loads((tmp_path / "runs" / "slurm.json").read_text())["submissions"] == []
    slurm.stop()


def test_orders_without_training_share_an_element_and_arrays_are_as_long_as_may_be(stub: Path, tmp_path: Path) -> None:
    slurm = launcher(tmp_path)
    slurm.start(
        [FakeOrder(f"look-{i}", tmp_path, steps=0) for i in range(3)] + [FakeOrder(f"{i}", tmp_path) for i in range(3)]
    )
    ended = ends(slurm, [*"012", *(f"look-{i}" for i in range(3))])
    assert {event.kind for event in ended.values()} == {"done"}
    # MaxArraySize 4 is three elements and the number that starts at 1.
    assert "--array=0-2%3" in (stub / "script-1").read_text().replace("'", "")
    assert "--array" not in (stub / "script-2").read_text()
    slurm.stop()


def test_an_order_that_dies_is_failed_with_what_was_printed(stub: Path, tmp_path: Path) -> None:
    slurm = launcher(tmp_path)
    slurm.start([FakeOrder("die", tmp_path, "die"), FakeOrder("gone", tmp_path, seconds=60)])
    until(slurm, lambda events: (tmp_path / "gone.was-here").exists() or not time.sleep(0.1))
    subprocess.run(["scancel", "1_1"], check=True)
    ended = ends(slurm, ["die", "gone"])
    assert ended["die"].kind == ended["gone"].kind == "failed"
    assert ended["die"].message.startswith("Slurm job 1_0 on stub: COMPLETED without a result")
    assert ended["gone"].message.startswith("Slurm job 1_1 on stub: cancelled")
    assert "=== printed by the job around it" in (tmp_path / "logs" / "die.log").read_text()
    slurm.stop()


def test_squeue_that_does_not_answer_loses_nothing(stub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slurm = launcher(tmp_path)
    (stub / "silent").write_text("Unable to contact slurm controller (connect failure)")
    slurm.start([FakeOrder("ok", tmp_path, seconds=2)])
    assert ends(slurm, ["ok"])["ok"].kind == "done"
    said = capsys.readouterr().err
    assert said.count("Unable to contact slurm controller") == 1 and "asked again until it answers" in said
    slurm.stop()


def test_a_job_that_never_starts_is_cancelled_and_failed(stub: Path, tmp_path: Path) -> None:
    (stub / "hold").write_text("Priority")
    slurm = launcher(tmp_path)
    slurm.start([FakeOrder("held", tmp_path)])
    assert slurm.events(1) == [] and slurm.waiting == "0 running, 1 waiting in Slurm's queue"
    (stub / "hold").write_text("PartitionTimeLimit")
    ended = ends(slurm, ["held"])
    assert ended["held"].message == "Slurm will never start job 1: PartitionTimeLimit"
    assert json.loads((stub / "1.json").read_text())["state"] == "CANCELLED"
    slurm.stop()


PARENT = """
import sys, time
from pathlib import Path
from tests.slurm.fakes import FakeOrder
from tests.slurm.fakes import launcher
folder = Path(sys.argv[1])
slurm = launcher(folder)
try:
    slurm.start([FakeOrder(key, folder, "stop when told", 60) for key in sys.argv[2:]])
    print("started", flush=True)
    time.sleep(60)
except BaseException:
    slurm.stop()
    raise
"""


def parent(folder: Path, *keys: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(folder), *keys], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    return process


def wait_for(*paths: Path, seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not all(path.exists() for path in paths):
        assert time.monotonic() < limit, paths
        time.sleep(0.1)


def test_jobs_of_a_killed_sweep_are_found_again(stub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = parent(tmp_path, "a", "b")
    wait_for(tmp_path / "a.was-here", tmp_path / "b.was-here")
    with pytest.raises(UserError, match="another sweep with --launcher slurm waits for its jobs there"):
        launcher(tmp_path)
    killed.kill()
    killed.wait()
    slurm = launcher(tmp_path)
    assert "2 jobs of an earlier call are still there, 2 running and 0 waiting" in capsys.readouterr().err
    # One that asks for nothing leaves them.
    slurm.stop()
    assert "2 jobs are left to go on" in capsys.readouterr().err
    slurm = launcher(tmp_path)
    slurm.start([FakeOrder(key, tmp_path) for key in "abc"])
    (tmp_path / "stop").touch()
    ended = ends(slurm, "abc")
    assert {event.kind for event in ended.values()} == {"done"}
    # The third was submitted, and the others not twice.
    assert [len((tmp_path / f"{key}.was-here").read_text().splitlines()) for key in "abc"] == [1, 1, 1]
    assert not (stub / "script-3").exists()
    slurm.stop()


def test_what_was_killed_while_it_submitted_is_cancelled(stub: Path, tmp_path: Path) -> None:
    killed = parent(tmp_path, "a")
    wait_for(tmp_path / "a.was-here")
    killed.kill()
    killed.wait()
    remembered = json.loads((tmp_path / "slurm.json").read_text())
    remembered["submissions"][0]["jobs"] = None
    (tmp_path / "slurm.json").write_text(json.dumps(remembered))
    slurm = launcher(tmp_path)
    assert json.loads((stub / "1.json").read_text())["state"] == "CANCELLED"
    slurm.start([FakeOrder("a", tmp_path)])
    assert ends(slurm, ["a"])["a"].kind == "done"
    slurm.stop()


def test_ctrl_c_cancels_the_jobs(stub: Path, tmp_path: Path) -> None:
    interrupted = parent(tmp_path, "a", "b")
    interrupted.send_signal(signal.SIGINT)
    interrupted.wait(timeout=30)
    assert {json.loads(path.read_text())["state"] for path in stub.glob("*.json")} == {"CANCELLED"}
    assert json.loads((tmp_path / "slurm.json").read_text())["submissions"] == []


def test_jobs_are_left_to_go_on_where_a_signal_ends_the_sweep(stub: Path, tmp_path: Path) -> None:
    class Terminated(BaseException):
        pass

    slurm = launcher(tmp_path)
    slurm.start([FakeOrder("a", tmp_path, "stop when told", 60)])
    try:
        raise Terminated
    except Terminated:
        slurm.stop()
    again = launcher(tmp_path)
    again.start([FakeOrder("a", tmp_path)])
    (tmp_path / "stop").touch()
    assert ends(again, ["a"])["a"].kind == "done"
    assert not (stub / "script-2").exists()
    again.stop()


@pytest.mark.parametrize(
    ("content", "what"), [("{", "damaged"), ('{"schema": 1, "submissions": [{"name": 3}], "nodes": {}}', "damaged")]
)
def test_a_damaged_memory_is_named(stub: Path, tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "slurm.json").write_text(content)
    with pytest.raises(UserError, match=f"slurm.json: {what}.*squeue --me.*delete the file"):
        launcher(tmp_path)


def test_what_sbatch_refuses_is_said_in_a_line(stub: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--partition is gpu; known: cpu, short$"):
        launcher(tmp_path, partition="gpu")
    with pytest.raises(UserError, match=r"--time_min is 11; partition short allows at most 10; give less"):
        launcher(tmp_path, partition="short", time_min=11)
    (stub / "refuse").write_text("Invalid account or account/partition combination specified")
    with pytest.raises(UserError, match=r"^sbatch refuses such jobs: Invalid account or account/partition combination spec"):
        launcher(tmp_path)
    (stub / "refuse").unlink()
    slurm = launcher(tmp_path)
    (stub / "refuse").write_text("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)")
    with pytest.raises(UserError, match=r"^sbatch refuses the jobs: Job violates .* limits\); --jobs N keeps fewer"):
        slurm.start([FakeOrder("a", tmp_path)])
    slurm.stop()


def test_a_controller_that_is_away_is_waited_for(
    stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = launcher(tmp_path)
    (stub / "refuse").write_text("Batch job submission failed: Unable to contact slurm controller (connect failure)")
    monkeypatch.setattr(module, "TRIES_S", (0.1, 0.1))
    queue = module.slurm.queue
    monkeypatch.setattr(module.slurm, "queue", lambda: (stub / "refuse").unlink(missing_ok=True) or queue())
    slurm.start([FakeOrder("a", tmp_path)])
    assert "Unable to contact slurm controller (connect failure); trying again in 0 s" in capsys.readouterr().err
    assert until(slurm, lambda events: any(event.kind == "done" for event in events))
    slurm.stop()


@pytest.mark.parametrize(
    ("pair", "what"),
    [
        ("acount=vision", r"sbatch has no option acount here; close: account"),
        ("time=5", r"time has an option here; give --time_min"),
        ("array=0-3", r"array is set for every job here"),
        ("A=vision", r"by its long name"),
        ("account=", r"--slurm account needs a value"),
        ("account=a\nb", r"--slurm account needs a value in one line"),
    ],
)
def test_options_of_sbatch(stub: Path, pair: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        further_options([pair])
    assert further_options(["account=vision", "exclusive", "--gres=gpu:a100:1"]) == {
        "account": "vision", "exclusive": True, "gres": "gpu:a100:1",
    }  # fmt: skip
    with pytest.raises(UserError, match="stands twice"):
        further_options(["account=a", "account=b"])


def test_on_the_command_line(cli: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("{method: grid, parameters: {recipe: {value: real_only}, seed: {values: [0, 1]}}}")
    answer = cli("sweep", file, "--gpus", "1")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "--gpus is for jobs on a cluster; add --launcher slurm" in answer.err
    answer = cli("sweep", file, "--launcher", "slurm", "--time_min", "1")
    assert answer.code == 2 and "--time_min is 1; it lies between 2 and 525600" in answer.err
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = cli("sweep", file, "--launcher", "slurm", f"--runs_dir={tmp_path / 'runs'}")
    assert answer.code == 2 and "no sbatch on this machine" in answer.err.splitlines()[-1]
    with pytest.raises(SettingError, match="--cpus is 0"):
        SlurmOptions(cpus=0)


def test_what_slurm_says_in_other_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"30:00": 30, "1:00:00": 60, "2-12:00:00": 3600, "infinite": None, "n/a": None}
    assert {text: minutes(text) for text in times} == times
    said = "sbatch: error: invalid partition specified: x\nallocation failure: Invalid partition name specified\n"
    assert in_one_line(said) == "invalid partition specified: x; Invalid partition name specified"
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    with outside_of_jobs():
        assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
        assert "SLURM_MEM_PER_CPU" not in os.environ and "SQUEUE_PARTITION" not in os.environ
    assert os.environ["SLURM_MEM_PER_CPU"] == "100"


def test_of_hundreds_under_way_eight_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders: Any = [FakeOrder(f"{i}", tmp_path, title=f"run {i}") for i in range(300)]
    with Display(orders, 300, 1000, every_s=0) as display:
        display.tell(Event("250", "progress", title="real", step=3, steps=9))
        display.show(orders, 0, 0)
    assert "300 under way (run 250: real 3/9; run 0; run 1; run 2; " in capsys.readouterr().err.replace("\n", " ")
