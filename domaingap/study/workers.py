"""Who does what when: runs one after the other, test sets scored with what validation picked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from domaingap import progress
from domaingap.errors import StorageError, UserError, traceback_wanted, trouble
from domaingap.progress import console
from domaingap.study.picking import pick, rivals, said
from domaingap.study.plan import Planned, alongside
from domaingap.study.record import RunRecord

ScoreTest = Literal["picked", "all", "none"]
"""Which runs' test sets are scored: where several α compete, those that validation picked; every run's; none."""
SHOWN = ("common", "full", "generated")
"""Test sets of a run's line."""


def run_all(
    runs: Sequence[Planned], finished: Mapping[str, RunRecord], score_test: ScoreTest = "picked"
) -> list[tuple[Planned, str]]:
    """Run them one after the other, a line each, with an estimate of the time left; those that failed, and why.

    Args:
        runs: what to run.
        finished: the runs that were finished before, by key; see :func:`domaingap.study.plan.finished_runs`.
        score_test: which test sets are scored.

    Raises:
        UserError: a run's settings can't be, and so none is begun; or the first of the runs can't be done, and so none can;
            StorageError at any of them.
    """
    from domaingap.study.preflight import check_run

    counts: dict[Any, int] = {}
    for run in runs:
        if run.key not in finished:
            try:
                check_run(run.settings, counts)
            except UserError as wrong:
                raise run.placed(wrong) from wrong
    failed: list[tuple[Planned, str]] = []
    seconds: list[float] = []
    cost, trained, real = _costs(runs), 0, alongside(runs)
    groups = rivals(runs)
    records: dict[str, RunRecord] = {}
    for number, run in enumerate(runs, start=1):
        began = time.monotonic()
        head = f"[{number}/{len(runs)}]"
        waits = score_test == "picked" and run.choice in groups
        with progress.terse(f"{head} {run.recipe.name} "):
            result, error = _attempt(run, real[run.key], score_test != "none" and not waits)
        if error is not None:
            failed.append((run, str(error)))
            console.print(f"{head} {run.recipe.name} failed: {error}", markup=False)
            # A mistake in what all runs share, where nothing was computed yet; or the next ones couldn't be written, either.
            if (isinstance(error, UserError) and number == 1) or isinstance(error, StorageError):
                raise error
            continue
        records[run.key] = result.record
        if not result.reused:
            seconds.append(time.monotonic() - began)
            trained += cost[run.key]
        left = sum(cost[r.key] for r in runs[number:] if r.key not in finished)
        estimate = f"; about {left * sum(seconds) / trained / 60:.0f} min left" if trained and left else ""
        console.print(f"{head} {_result_line(result, time.monotonic() - began)}{estimate}", markup=False)
    if score_test == "picked":
        failed += _score_picked(list(groups.values()), records)
    done = len(runs) - len({run.key for run, _ in failed})
    console.print(
        f"{done} of {len(runs)} runs finished, {len(seconds)} of them now, in {sum(seconds) / 60:.1f} min"
        + (f"; {len(failed)} failed" if failed else "")
    )
    for run, message in failed:
        console.print(f"  failed: {run.title}: {message}", markup=False)
    return failed


def _score_picked(groups: Sequence[Sequence[Planned]], records: Mapping[str, RunRecord]) -> list[tuple[Planned, str]]:
    """Score the test sets of what validation picks in each group of rivals; the ones that failed, and why."""
    failed = []
    for group in groups:
        picked = pick(group, records)
        error = None
        if picked.best is not None:
            with progress.terse("scoring "):
                _, error = _attempt(picked.best, [], True)
            if error is not None:
                failed.append((picked.best, str(error)))
        if error is None:
            console.print(said(group, picked), markup=False)
    return failed


def _costs(runs: Sequence[Planned]) -> dict[str, int]:
    """Optimiser steps that each run adds, by key: a network is trained by the first that needs it."""
    costs: dict[str, int] = {}
    trained: set[str] = set()
    for run in runs:
        new = {stage.key: stage.steps for stage in run.outline.stages if stage.key not in trained}
        costs[run.key] = sum(new.values())
        trained |= set(new)
    return costs


def _attempt(run: Planned, real: Sequence[Any], score_test: bool) -> tuple[Any, Exception | None]:
    """A run's result, or why it has none."""
    from domaingap.study.run import execute

    try:
        return execute(run.recipe, replace(run.settings, score_test=score_test), real), None
    except UserError as error:
        return None, error
    except Exception as error:
        if traceback_wanted():
            console.print_exception()
        return None, RuntimeError(trouble(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}")


def _result_line(result: Any, seconds: float) -> str:
    record: RunRecord = result.record
    figures = [f"{on} {value:.2f}" for on in ("val", *SHOWN) if (value := record.value(on)) is not None]
    adapter = record.adapter
    note = f"; adapter {adapter.kind}, spread {adapter.spread_ratio or float('nan'):.2f}" if adapter else ""
    if adapter and adapter.warning and adapter.use == "labels":
        note += " (warning: not kept)"
    how = "finished before" if result.reused else f"{seconds / 60:.1f} min"
    return f"{record.name}: NME {', '.join(figures)}{note} ({how})"
