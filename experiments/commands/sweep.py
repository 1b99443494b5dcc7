"""``domaingap sweep``: runs from a YAML file in W&B's grammar, in several processes or on a cluster; continued when given
again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domaingap.errors import UserError
from domaingap.progress import console
from experiments.recipes import RECIPES

if TYPE_CHECKING:
    from domaingap.study.plan import Planned
    from domaingap.study.record import RunRecord
    from domaingap.study.workers import OnFailure, ScoreTest


def sweep(
    file: Path,
    overrides: Sequence[str],
    plan: bool,
    exact: bool,
    score_test: ScoreTest,
    jobs: int | None,
    on_failure: OnFailure,
    failed: bool,
) -> int:
    """Run every combination of a sweep file; print the plan, a line per run, and the table at the end.

    Args:
        file: see :func:`domaingap.study.plan.planned_runs`.
        overrides: recipe options for all runs, which win over the file.
        plan: only print the plan.
        exact: leave out the runs that the protocol adds.
        score_test: which runs' test sets are scored.
        jobs: processes on this machine.
        on_failure: whether others are begun after one has failed.
        failed: only those that failed the last time.

    Returns:
        0, or 1 where some runs failed.
    """
    from domaingap.study.plan import finished_runs, planned_runs, print_plan
    from domaingap.study.workers import run_all
    from experiments.commands.report import report

    runs = planned_runs(file, overrides, RECIPES, exact)
    folder = runs[0].settings.runs_dir
    finished = finished_runs(folder)
    print_plan(file, runs, finished)
    if failed:
        runs = _failed_before(runs, folder)
    if plan:
        _estimate(runs, finished, jobs)
        return 0
    from domaingap.study.launchers.local import launcher_for

    failures = run_all(runs, finished, score_test, launcher_for(jobs), on_failure)
    if len(failures) < len(runs):
        report(folder, "table", "strategies", None)
        console.print(f"all tables: domaingap report {folder}", markup=False)
    if failures:
        options = {
            "--exact": exact,
            f"--score_test={score_test}": score_test != "picked",
            f"--jobs={jobs}": jobs is not None,
        }
        given = [str(file), "--failed", *(option for option, so in options.items() if so), *overrides]
        console.print(f"just those that failed again: domaingap sweep {shlex.join(given)}", markup=False)
    return 1 if failures else 0


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


def _estimate(runs: Sequence[Planned], finished: Mapping[str, RunRecord], jobs: int | None) -> None:
    """How long the runs that aren't finished would train on this machine."""
    from domaingap.study.estimate import seconds_of
    from domaingap.study.launchers.local import launcher_for
    from domaingap.study.orders import orders_of
    from domaingap.study.plan import alongside
    from domaingap.study.preflight import best_precision

    launcher: Any = launcher_for(jobs)
    threads = getattr(launcher, "threads", None)
    orders = orders_of(runs, alongside(runs), (), finished, best_precision, threads)
    if not (steps := sum(order.steps for order in orders)):
        return
    seconds = seconds_of(orders, threads) / launcher.slots
    long = f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{max(seconds / 60, 0.1):.1f} min"
    at_once = f", {launcher.slots} at a time" if launcher.slots > 1 else ""
    console.print(
        f"  about {long} of training on this machine{at_once} ({steps} steps, {launcher.slots * seconds / steps:.3f} s each "
        "as measured now); data, validation, scores and adapters come on top"
    )
