"""The Slurm launcher on a real slurmctld and slurmd of this machine: ``pytest -m slurm``; see setup.sh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from domaingap.errors import UserError
from domaingap.study.launchers.slurm import SlurmLauncher
from domaingap.study.launchers.slurm_commands import NoAnswer, ask, queue
from domaingap.study.launchers.slurm_options import SlurmOptions
from domaingap.study.record import read_records
from tests.slurm.fakes import FakeOrder, launcher
from tests.slurm.test_launcher import ends, parent, until, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster"), pytest.mark.timeout(600)]


def lines(path: Path) -> list[dict[str, str]]:
    """What an order wrote down each time that it was at work."""
    return [dict(word.split("=", 1) for word in line.split()) for line in path.read_text().splitlines()]


def alive() -> list[str]:
    """Jobs that are in the queue or running."""
    return [job for job, seen in queue().items() if seen.state in ("PENDING", "RUNNING", "COMPLETING")]


def at_once(job: str) -> None:
    """Have a job that was put back into the queue begin now: Slurm lets two minutes pass."""
    limit = time.monotonic() + 30
    while queue()[job].state != "PENDING":
        assert time.monotonic() < limit, queue()
        time.sleep(0.5)
    ask("scontrol", "update", f"JobId={job}", "StartTime=now")


@pytest.fixture(autouse=True)
def _empty(cluster: Path) -> None:
    """Nothing of the test before is left."""
    if left := alive():
        ask("scancel", *left)
    limit = time.monotonic() + 60
    while alive():
        assert time.monotonic() < limit, alive()
        time.sleep(0.5)


def test_orders_are_elements_of_one_array(tmp_path: Path) -> None:
    slurm = launcher(tmp_path, partition="cpu")
    slurm.start([FakeOrder(kind, tmp_path, kind) for kind in ("ok", "fail", "full", "break", "die")])
    ended = ends(slurm, ["ok", "fail", "full", "break", "die"], 120)
    assert {key: event.kind for key, event in ended.items()} == dict.fromkeys(ended, "failed") | {"ok": "done"}
    assert [ended[key].fault for key in ("fail", "full", "break", "die")] == ["user", "storage", "other", "other"]
    assert "FAILED (NonZeroExitCode) without a result" in ended["die"].message and "Killed" in ended["die"].message
    assert "task 0: Killed" in (tmp_path / "logs" / "die.log").read_text()
    (was,) = lines(tmp_path / "ok.was-here")
    assert (was["cores"], was["OMP_NUM_THREADS"], was["cwd"]) == ("1", "1", os.getcwd())
    arrays = {
        job.partition("_")[0] for job, seen in queue().items() if seen.name.startswith(f"domaingap-{tmp_path.name[:20]}")
    }
    assert len(arrays) == 1
    slurm.stop()


def test_gpus_arrive_and_are_missed_where_pytorch_sees_none(tmp_path: Path) -> None:
    slurm = launcher(tmp_path, partition="gpu", gpus=1)
    assert slurm.time_min == 30  # the partition's default
    slurm.start([FakeOrder("a", tmp_path)])
    assert ends(slurm, ["a"], 60)["a"].kind == "done"
    (was,) = lines(tmp_path / "a.was-here")
    assert (was["CUDA_VISIBLE_DEVICES"], was["SLURM_GPUS_ON_NODE"]) == ("0", "1")
    slurm.stop()
    # The GPU is a pretended one.
    on_node = SlurmLauncher(tmp_path, SlurmOptions(partition="gpu", gpus=1, cpus=1))
    with pytest.raises(UserError, match=r"--gpus is 1, and PyTorch sees 0 on .* \(CUDA_VISIBLE_DEVICES is 0\)"):
        on_node.resolve_on_node(["resnet10t"])
    on_node.stop()


def test_a_node_is_asked_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slurm = SlurmLauncher(tmp_path, SlurmOptions(cpus=2))
    facts = slurm.resolve_on_node(["resnet10t", "test_resnet"])
    assert (facts.device, facts.cores, set(facts.precision)) == ("cpu", 2, {"resnet10t", "test_resnet"})
    assert "precision auto there: resnet10t" in capsys.readouterr().err
    slurm.stop()
    again = SlurmLauncher(tmp_path, SlurmOptions(cpus=2))
    assert again.resolve_on_node(["test_resnet", "resnet10t"]) == facts
    assert "slurm: job" not in capsys.readouterr().err
    again.stop()


def test_a_cancelled_element_is_failed_and_another_call_finishes_it(tmp_path: Path) -> None:
    slurm = launcher(tmp_path)
    slurm.start([FakeOrder("a", tmp_path, "stop when told", 120), FakeOrder("b", tmp_path)])
    wait_for(tmp_path / "a.was-here", seconds=60)
    (job,) = [job for job, seen in queue().items() if seen.state == "RUNNING" and job.endswith("_0")]
    ask("scancel", job)
    ended = ends(slurm, ["a", "b"], 120)
    assert ended["b"].kind == "done"
    assert f"Slurm job {job} on" in ended["a"].message and "cancelled" in ended["a"].message
    assert "ended by Slurm" in (tmp_path / "logs" / "a.log").read_text()
    slurm.start([FakeOrder("a", tmp_path)])
    assert ends(slurm, ["a"], 120)["a"].kind == "done"
    slurm.stop()


def test_jobs_of_a_killed_sweep_are_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = parent(tmp_path, "a", "b", "c")
    wait_for(tmp_path / "a.was-here", seconds=60)
    killed.kill()
    killed.wait()
    jobs = set(alive())
    assert len(jobs) == 3
    slurm = launcher(tmp_path)
    assert "3 jobs of an earlier call are still there" in capsys.readouterr().err
    slurm.start([FakeOrder(key, tmp_path) for key in "abc"])
    assert set(alive()) == jobs
    (tmp_path / "stop").touch()
    assert {event.kind for event in ends(slurm, "abc", 120).values()} == {"done"}
    assert [len(lines(tmp_path / f"{key}.was-here")) for key in "abc"] == [1, 1, 1]
    slurm.stop()


def test_ctrl_c_cancels_the_jobs(tmp_path: Path) -> None:
    interrupted = parent(tmp_path, "a", "b", "c")
    wait_for(tmp_path / "a.was-here", seconds=60)
    interrupted.send_signal(signal.SIGINT)
    interrupted.wait(timeout=60)
    assert alive() == []


def test_at_its_time_limit_a_job_goes_back_into_the_queue(tmp_path: Path) -> None:
    slurm = launcher(tmp_path, partition="short")
    assert slurm.time_min == 2
    slurm.start([FakeOrder("a", tmp_path, "stop when told", 300)])
    happened = until(slurm, lambda events: any(event.kind == "lost" for event in events), 150)
    assert "is back in Slurm's queue" in happened[-1].message
    (job,) = alive()
    (tmp_path / "stop").touch()
    at_once(job)
    assert ends(slurm, ["a"], 120)["a"].kind == "done"
    assert [was["SLURM_RESTART_COUNT"] for was in lines(tmp_path / "a.was-here")] == ["", "1"]
    log = (tmp_path / "logs" / "a.log").read_text()
    assert "Caught signal SIGUSR2" in log and "this job is timed-out" in log and "begun again 1 times" in log
    slurm.stop()


def test_who_never_comes_further_within_its_time_limit_is_failed(tmp_path: Path) -> None:
    slurm = launcher(tmp_path, time_min=2)
    slurm.start([FakeOrder("a", tmp_path, "stop when told", 300)])
    for attempt in range(1, 4):
        until(slurm, lambda events: len(lines(tmp_path / "a.was-here")) == attempt if wrote(tmp_path) else False, 60)  # noqa: B023
        (job,) = alive()
        time.sleep(1.5)  # for its first step
        ask("scancel", "--signal=USR2", job)
        if attempt < 3:
            at_once(job)
    message = ends(slurm, ["a"], 60)["a"].message
    assert message == "ran into its time limit 3 times without coming further; give more --time_min"
    slurm.stop()


def wrote(folder: Path) -> bool:
    """Whether the order has begun."""
    return (folder / "a.was-here").exists()


def test_who_makes_room_for_others_goes_on_afterwards(tmp_path: Path) -> None:
    slurm = launcher(tmp_path, partition="low", cpus=os.cpu_count())
    slurm.start([FakeOrder("a", tmp_path, "stop when told", 300)])
    wait_for(tmp_path / "a.was-here", seconds=60)
    until(slurm, lambda events: slurm.waiting.startswith("1 running"), 30)
    (job,) = alive()
    ask("sbatch", "--partition=cpu", f"--cpus-per-task={os.cpu_count()}", "--output=/dev/null", "--wrap=sleep 1")
    until(slurm, lambda events: any(event.kind == "lost" for event in events), 60)
    (tmp_path / "stop").touch()
    at_once(job)
    assert ends(slurm, ["a"], 120)["a"].kind == "done"
    assert len(lines(tmp_path / "a.was-here")) == 2
    slurm.stop()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"partition": "nowhere"}, r"--partition is nowhere; known: cpu, gpu, low, short"),
        ({"partition": "gpu", "gpus": 2}, r"sbatch refuses such jobs: Requested node configuration is not available"),
        ({"cpus": 1000}, r"sbatch refuses such jobs"),
        ({"partition": "gpu", "time_min": 61}, r"--time_min is 61; partition gpu allows at most 60"),
    ],
)
def test_what_the_cluster_does_not_have(tmp_path: Path, options: dict[str, object], what: str) -> None:
    with pytest.raises(UserError, match=what):
        launcher(tmp_path, **options)


def test_nodes_that_are_down_are_waited_for(tmp_path: Path) -> None:
    node = os.uname().nodename.partition(".")[0]
    ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        slurm = launcher(tmp_path)
        slurm.start([FakeOrder("a", tmp_path)])
        assert slurm.events(3) == [] and slurm.waiting.startswith("0 running, 1 waiting")
    finally:
        ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert ends(slurm, ["a"], 60)["a"].kind == "done"
    slurm.stop()


def test_a_controller_that_is_away_for_a_while(tmp_path: Path, cluster: Path) -> None:
    slurm = launcher(tmp_path)
    slurm.start([FakeOrder("a", tmp_path, seconds=8)])
    wait_for(tmp_path / "a.was-here", seconds=60)
    pid = cluster.parent / "slurmctld.pid"
    os.kill(int(pid.read_text()), signal.SIGTERM)
    limit = time.monotonic() + 30
    while pid.exists():
        assert time.monotonic() < limit
        time.sleep(0.2)
    with pytest.raises(NoAnswer):
        queue()
    assert ends(slurm, ["a"], 60)["a"].kind == "done"
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    subprocess.run(["slurmctld"], env=environment, check=True)
    slurm.start([FakeOrder("b", tmp_path)])
    assert ends(slurm, ["b"], 60)["b"].kind == "done"
    slurm.stop()


# The command line.


def sweep(folder: Path, quick: list[str], *options: str, **parameters: object) -> list[str]:
    """The command of a tiny sweep."""
    folder.mkdir(exist_ok=True)
    grid = {name.replace("__", "."): {"values": value} for name, value in parameters.items()}
    (folder / "s.yaml").write_text(json.dumps({"method": "grid", "parameters": grid}))
    instead = ("--runs_dir=", *(f"--{name}=" for name in grid))
    runs = [option for option in quick if not option.startswith(instead)]
    where = [f"--runs_dir={folder / 'runs'}", "--exact"]
    return [sys.executable, "-m", "experiments", "sweep", str(folder / "s.yaml"), *runs, *where, *options]


def done(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=one_thread())


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


ON_SLURM = ("--launcher=slurm", "--cpus=1", "--time_min=30")


def figures(folder: Path) -> dict[str, object]:
    """What the runs of a sweep found, by what was asked for."""
    return {record.request: (record.metrics, record.config["fit"]) for record in read_records(folder / "runs").records}


def test_a_sweep_finds_the_same_as_on_this_machine_to_the_last_digit(tmp_path: Path, quick: list[str]) -> None:
    asked = {"recipe": ["label_adaptation", "fine_tuning", "real_only"], "n_real": [9], "fit__precision": ["auto"]}
    here, there = tmp_path / "here", tmp_path / "there"
    local = done(sweep(here, quick, "--adapter.kind=shift", "--jobs=1", **asked))
    assert local.returncode == 0, local.stderr
    ended = done(sweep(there, quick, "--adapter.kind=shift", *ON_SLURM, **asked))
    assert ended.returncode == 0, ended.stderr
    assert figures(there) == figures(here) and len(figures(there)) == 3
    # The shared network and the run that shares nothing are one array; what needed that network is another.
    arrays = [line for line in ended.stderr.splitlines() if line.startswith("slurm: job array")]
    assert [line.rpartition(" ")[2] for line in arrays] == ["2", "2"], ended.stderr
    assert "precision auto there: test_resnet" in ended.stderr
    # Given again it looks at all three in one job.
    again = done(sweep(there, quick, "--adapter.kind=shift", *ON_SLURM, **asked))
    assert again.returncode == 0 and again.stderr.count("slurm: job") == 1 and again.stderr.count("finished before)") == 3
    assert alive() == []


def test_a_failed_run_is_reported_with_its_log(tmp_path: Path, quick: list[str]) -> None:
    ended = done(sweep(tmp_path, quick, *ON_SLURM, "--array_parallelism=1", recipe=["real_only"], fit__lr=[1e-3, 1e30]))
    assert ended.returncode == 1, ended.stderr
    assert "training diverged" in ended.stderr and "--launcher=slurm" in ended.stderr.splitlines()[-1]
    (log,) = {word for line in ended.stderr.splitlines() for word in line.split() if word.endswith(".log")}
    assert "=== Slurm job" in Path(log).read_text() and "training diverged" in Path(log).read_text()


def test_a_killed_sweep_goes_on_with_its_jobs(tmp_path: Path, quick: list[str]) -> None:
    command = sweep(
        tmp_path, quick, *ON_SLURM, "--fit.steps=600", "--fit.val_every=50", recipe=["real_only"], seed=[0, 1, 2]
    )
    killed = subprocess.Popen(command, env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while sum(seen.state == "RUNNING" for seen in queue().values()) < 2:
        assert time.monotonic() < limit and killed.poll() is None
        time.sleep(0.5)
    killed.kill()
    killed.wait()
    jobs = set(alive())
    ended = done(command)
    assert ended.returncode == 0, ended.stderr
    assert "jobs of an earlier call are still there" in ended.stderr
    mine = {job for job, seen in queue().items() if job not in jobs and seen.name.startswith("domaingap-runs")}
    assert len(figures(tmp_path)) == 3 and len(mine - jobs) <= 1, (mine, jobs)
    starts = [path.read_text().count("=== Slurm job") for path in (tmp_path / "runs" / "logs").glob("real*.log")]
    assert starts == [1, 1, 1]


def test_a_training_that_is_put_back_into_the_queue_goes_on_from_its_checkpoint(tmp_path: Path, quick: list[str]) -> None:
    asked = {"recipe": ["real_only"], "fit__steps": [1200], "fit__val_every": [50]}
    command = sweep(tmp_path / "there", quick, *ON_SLURM, **asked)
    process = subprocess.Popen(command, env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    logs, limit = tmp_path / "there" / "runs" / "logs", time.monotonic() + 200
    while not any("step 100/1200" in path.read_text() for path in logs.glob("*.log")):
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.2)
    (job,) = alive()
    ask("scancel", "--signal=TERM", job)  # as a preemption that leaves time
    at_once(job)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    (log,) = logs.glob("*.log")
    text = log.read_text()
    assert "asked to make room; put back into the queue" in text and "going on from its last checkpoint" in text
    assert text.count("step 50/1200") == 1 and "begun again 1 times" in text
    assert done(sweep(tmp_path / "here", quick, "--jobs=1", **asked)).returncode == 0
    assert figures(tmp_path / "there") == figures(tmp_path / "here")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_what_ends_a_sweep_and_what_leaves_its_jobs(tmp_path: Path, quick: list[str], number: int, code: int) -> None:
    command = sweep(tmp_path, quick, *ON_SLURM, "--fit.steps=2000", recipe=["real_only"], seed=[0, 1])
    process = subprocess.Popen(command, env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 120
    while not any(seen.state == "RUNNING" for seen in queue().values()):
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code and "give the same command again to go on" in said.splitlines()[-1]
    assert bool(alive()) == (number == signal.SIGHUP), said
    assert ("2 jobs are left to go on; the same command finds them" in said) == (number == signal.SIGHUP)


def test_a_gpu_that_pytorch_does_not_see_is_a_line(tmp_path: Path, quick: list[str]) -> None:
    ended = done(
        sweep(tmp_path, quick, *ON_SLURM, "--partition=gpu", "--gpus=1", recipe=["real_only"], fit__precision=["auto"])
    )
    assert ended.returncode == 2 and "--gpus is 1, and PyTorch sees 0" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr and alive() == []
