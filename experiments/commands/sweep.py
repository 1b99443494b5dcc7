"""``domaingap sweep``: runs from a YAML file in W&B's grammar, in several processes or on a cluster; continued when given
again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from domaingap.errors import UserError
from domaingap.progress import console
from experiments.recipes import RECIPES

if TYPE_CHECKING:
    from domaingap.study.plan import Planned
    from domaingap.study.record import RunRecord
    from domaingap.study.workers import Failure, OnFailure, ScoreTest

CLUSTER = ("partition", "gpus", "cpus", "mem_gb", "time_min", "array_parallelism", "slurm")
"""Options of jobs on a cluster: fields of :class:`domaingap.study.launchers.slurm_options.SlurmOptions`, and ``slurm``."""


@dataclass(frozen=True)
class Call:
    """What the command line says.

    Attributes:
        file: see :func:`domaingap.study.plan.planned_runs`; likewise ``count`` and ``sweep_seed``.
        overrides: recipe options for all runs, which win over the file.
        plan: only print the plan.
        exact: leave out the runs that the protocol adds.
        score_test: which runs' test sets are scored.
        jobs: processes on this machine, or jobs on a cluster.
        on_failure: whether others are begun after one has failed.
        failed: only those that failed the last time.
        launcher: who does them.
    """

    file: Path
    overrides: Sequence[str] = ()
    plan: bool = False
    exact: bool = False
    score_test: ScoreTest = "picked"
    jobs: int | None = None
    on_failure: OnFailure = "continue"
    failed: bool = False
    count: int | None = None
    sweep_seed: int = 0
    launcher: Literal["local", "slurm"] = "local"
    partition: str | None = None
    gpus: int | None = None
    cpus: int | None = None
    mem_gb: float | None = None
    time_min: int | None = None
    array_parallelism: int | None = None
    slurm: Sequence[str] | None = None

    @property
    def cluster(self) -> dict[str, Any]:
        """What is asked of jobs on a cluster."""
        return {name: value for name in CLUSTER if (value := getattr(self, name)) is not None}

    @property
    def again(self) -> str:
        """The command that begins just those again that have failed."""
        options = []
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name in ("file", "overrides", "plan", "failed") or value == option.default:
                continue
            given = value if option.name == "slurm" else [value]
            options += [f"--{option.name}" + ("" if item is True else f"={item}") for item in given]
        return f"domaingap sweep {shlex.join([str(self.file), '--failed', *options, *self.overrides])}"


def sweep(**options: Any) -> int:
    """Run every combination of a sweep file; print the plan, a line per run, and the table at the end.

    Args:
        options: see :class:`Call`.

    Returns:
        0, or 1 where some runs failed.
    """
    from domaingap.study.plan import planned_runs

    call = Call(**options)
    if call.cluster and call.launcher == "local":
        raise UserError(f"--{next(iter(call.cluster))} is for jobs on a cluster; add --launcher slurm, or leave it out")
    runs = planned_runs(call.file, call.overrides, RECIPES, call.exact, call.count, call.sweep_seed)
    fits = [run.settings.fit for run in runs]
    jobs = call.jobs
    if call.launcher == "local" and jobs is None and any(fit.processes > 1 for fit in fits):
        jobs = 1  # each network has several processes
    if call.plan or all(fit.nodes == 1 for fit in fits):
        return _swept(call, runs, jobs)
    if call.launcher != "local":
        raise UserError("--launcher slurm: its jobs are of one machine; give networks --fit.nodes 1")
    if jobs != 1:
        raise UserError(f"--jobs is {jobs}; where networks have several machines each (--fit.nodes), it is 1")
    from domaingap.crew import among_machines

    return among_machines(fits, runs[0].settings.runs_dir, lambda: _swept(call, runs, jobs))


def _swept(call: Call, runs: list[Planned], jobs: int | None) -> int:
    """The runs, where this is the machine that leads."""
    from domaingap.study.plan import finished_runs, print_plan
    from domaingap.tracking_places import close_all_lost
    from experiments.commands.estimate import say_estimate
    from experiments.commands.report import report

    folder = runs[0].settings.runs_dir
    finished = finished_runs(folder)
    print_plan(call.file, runs, finished)
    if call.failed:
        runs = _failed_before(runs, folder)
    if call.plan:
        if call.launcher == "local":
            say_estimate(runs, finished, jobs)
        return 0
    work = _on_slurm if call.launcher == "slurm" else _here
    try:
        failures = work(call, runs, finished, jobs)
    finally:
        # Those of processes that were killed, of this call or of one before, and that nobody goes on with.
        if closed := close_all_lost(folder):
            console.print(f"{closed} runs that a kill had left running in Weights & Biases are ended there")
    if len(failures) < len(runs):
        report(folder, "table", "strategies", None)
        console.print(f"all tables: domaingap report {folder}", markup=False)
    if failures:
        console.print(f"just those that failed again: {call.again}", markup=False)
    return 1 if failures else 0


def _here(call: Call, runs: Sequence[Planned], finished: Mapping[str, RunRecord], jobs: int | None) -> list[Failure]:
    """The runs in processes on this machine."""
    from domaingap.study.launchers.local import launcher_for
    from domaingap.study.workers import run_all

    return run_all(runs, finished, call.score_test, launcher_for(jobs), call.on_failure)


def _on_slurm(call: Call, runs: Sequence[Planned], finished: Mapping[str, RunRecord], jobs: int | None) -> list[Failure]:
    """The runs as jobs on a cluster."""
    from domaingap.study.launchers.slurm import SlurmLauncher
    from domaingap.study.launchers.slurm_options import SlurmOptions, further_options
    from domaingap.study.workers import run_all

    asked = call.cluster | ({"jobs": jobs} if jobs is not None else {})
    further = further_options(asked.pop("slurm", ()))
    launcher = SlurmLauncher(runs[0].settings.runs_dir, SlurmOptions(**asked), further)
    auto = {run.settings.model.backbone for run in runs if run.settings.fit.precision == "auto"}
    precision: Callable[[str], Any] = launcher.precision_for(auto)
    return run_all(runs, finished, call.score_test, launcher, call.on_failure, precision, launcher.threads)


def _failed_before(runs: Sequence[Planned], folder: Path) -> list[Planned]:
    """Those of the runs that failed the last time."""
    from domaingap.study.workers import FAILED

    path = folder / FAILED
    if not path.is_file():
        raise UserError(f"{path}: no such file: nothing failed the last time; leave --failed out")
    try:
        keys = {entry["key"] for entry in json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged ({error}); leave --failed out") from error
    chosen = [run for run in runs if run.key in keys]
    if not chosen:
        raise UserError(f"{path}: none of its runs is in this sweep; give the options of that time, or leave --failed out")
    console.print(f"  {len(chosen)} of them failed the last time and are begun again")
    return chosen
