"""``domaingap sweep``: a grid of runs from a YAML file in W&B's grammar, continued when given again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domaingap.progress import console
from domaingap.study.workers import ScoreTest
from experiments.recipes import RECIPES


def sweep(
    file: Path, overrides: Sequence[str], plan: bool, exact: bool, score_test: ScoreTest, count: int | None, sweep_seed: int
) -> int:
    """Run every combination of a sweep file; print the plan, a line per run, and the table at the end.

    Args:
        file: see :func:`domaingap.study.plan.planned_runs`.
        overrides: recipe options for all runs, which win over the file.
        plan: only print the plan.
        exact: leave out the runs that the protocol adds.
        score_test: which runs' test sets are scored.
        count: see :func:`domaingap.study.plan.planned_runs`.
        sweep_seed: likewise.

    Returns:
        0, or 1 where some runs failed.
    """
    from domaingap.study.plan import finished_runs, planned_runs, print_plan
    from domaingap.study.workers import run_all
    from experiments.commands.report import report

    runs = planned_runs(file, overrides, RECIPES, exact, count, sweep_seed)
    folder = runs[0].settings.runs_dir
    finished = finished_runs(folder)
    print_plan(file, runs, finished)
    if plan:
        return 0
    failed = run_all(runs, finished, score_test)
    if len(failed) < len(runs):
        report(folder, "table", "strategies", None)
        console.print(f"all tables: domaingap report {folder}", markup=False)
    return 1 if failed else 0
