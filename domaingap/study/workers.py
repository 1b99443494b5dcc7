"""Who does what when: orders as their turn comes, then the test sets of what validation picks."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from domaingap.config import Precision
from domaingap.errors import StorageError, UserError
from domaingap.hashing import write_json
from domaingap.progress import console
from domaingap.study.launchers import Event, Launcher
from domaingap.study.launchers.display import Display
from domaingap.study.orders import Order, orders_of
from domaingap.study.picking import pick, rivals, said
from domaingap.study.plan import Planned, alongside
from domaingap.study.record import RunRecord

ScoreTest = Literal["picked", "all", "none"]
"""Which runs' test sets are scored: where several α compete, those that validation picked; every run's; none."""
OnFailure = Literal["continue", "stop"]
SHOWN = ("common", "full", "generated")
"""Test sets of a run's line."""
FAILED = "failed.json"
"""What failed the last time, in the folder of the runs."""
PAUSE_S = 1.0


@dataclass(frozen=True)
class Failure:
    """A run without a result.

    Attributes:
        run: what was to be run.
        message: the last line of its error.
        log: where the rest is.
    """

    run: Planned
    message: str
    log: Path


def run_all(
    runs: Sequence[Planned],
    finished: Mapping[str, RunRecord],
    score_test: ScoreTest = "picked",
    launcher: Launcher | None = None,
    on_failure: OnFailure = "continue",
    precision: Callable[[str], Precision] | None = None,
    threads: int | None = None,
) -> list[Failure]:
    """Run them, a line each, with an estimate of the time left; returns those that failed, and leaves a list of them.

    Args:
        runs: what to run.
        finished: the runs that were finished before, by key; see :func:`domaingap.study.plan.finished_runs`.
        score_test: which test sets are scored.
        launcher: who does them; this process by default.
        on_failure: ``stop`` begins nothing more once one has failed.
        precision: see :func:`domaingap.study.orders.orders_of`.
        threads: likewise.

    Raises:
        UserError: a run's settings can't be, and so none is begun; or the first of the runs can't be done, and so none can;
            StorageError at any of them.
    """
    from domaingap.study.launchers.local import InProcess
    from domaingap.study.preflight import best_precision, check_run

    counts: dict[Any, int] = {}
    for run in runs:
        if run.key not in finished:
            try:
                check_run(run.settings, counts)
            except UserError as wrong:
                raise run.placed(wrong) from wrong
    real, groups = alongside(runs), rivals(runs)
    picking = score_test == "picked"
    unscored = [run.key for run in runs if score_test == "none" or (picking and run.choice in groups)]
    precision = precision or best_precision
    sweep = _Sweep(runs, launcher or InProcess(), on_failure, finished)
    try:
        sweep.work(orders_of(runs, real, unscored, finished, precision, threads))
        if picking and not sweep.stopped:
            picked = [pick(group, sweep.records) for group in groups.values()]
            best = [of.best for of in picked if of.best is not None]
            sweep.work(orders_of(best, real, (), {run.key: None for run in runs}, precision, threads), scoring=True)
            for group, of in zip(groups.values(), picked, strict=True):
                if of.best is None or of.best.key not in sweep.failures:
                    console.print(said(group, of), markup=False)
    finally:
        sweep.launcher.stop()
    return sweep.end()


@dataclass
class _Sweep:
    """What has become of a sweep so far.

    Attributes:
        runs: all of it.
        launcher: who does them.
        on_failure: see :func:`run_all`.
        before: the runs that were finished before.
        records: of runs that are finished, by key.
        failures: of runs that failed, by key.
        fresh: how many were finished now.
    """

    runs: Sequence[Planned]
    launcher: Launcher
    on_failure: OnFailure
    before: Container[str]
    records: dict[str, RunRecord] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    fresh: int = 0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._by_key = {run.key: run for run in self.runs}

    @property
    def stopped(self) -> bool:
        """Whether nothing more is begun."""
        return self.on_failure == "stop" and bool(self.failures)

    def work(self, orders: Sequence[Order], scoring: bool = False) -> None:
        """Have orders done, each after those that it needs."""
        waiting, under_way, done = {order.key: order for order in orders}, dict[str, Order](), set[str]()
        display = Display(orders, len(self.runs), self.launcher.slots)
        with display:
            while under_way or (waiting and not self.stopped):
                if not self.stopped and (begun := self._ready(waiting, done, self.launcher.slots - len(under_way))):
                    for order in begun:
                        under_way[order.key] = waiting.pop(order.key)
                    self.launcher.start(begun)
                for event in self.launcher.events(PAUSE_S):
                    order = under_way[event.key]
                    display.tell(event)
                    if event.kind == "lost":
                        console.print(f"{order.title}: {event.message}", markup=False)
                    if event.kind == "failed":
                        del under_way[event.key]
                        self._failed(order, event, waiting, first=not done and order is orders[0])
                    if event.kind == "done":
                        del under_way[event.key]
                        done.add(event.key)
                        self._done(order, event, scoring, display.left())
                display.show(under_way.values(), len(self.records), len(self.failures))

    def _ready(self, waiting: Mapping[str, Order], done: set[str], free: int) -> list[Order]:
        """What to begin now: in order; what another process is at comes last."""
        chosen: list[Order] = []
        ready = [order for order in waiting.values() if order.needs <= done] if free > 0 else []
        for order in ready:
            if len(chosen) == free:
                break
            if not order.busy():
                chosen.append(order)
        return chosen or ready[:free]

    def _done(self, order: Order, event: Event, scoring: bool, left: str) -> None:
        outcome = event.outcome
        assert outcome is not None
        record = outcome.record
        if record is None:
            console.print(f"  ready for the runs that share it: {order.title} ({_minutes(outcome.seconds)})", markup=False)
            return
        self.records[order.key] = record
        if scoring:
            return
        self.fresh += not outcome.reused
        how = "finished before" if outcome.reused else _minutes(outcome.seconds)
        console.print(f"[{len(self.records)}/{len(self.runs)}] {_result_line(record)} ({how}){left}", markup=False)

    def _failed(self, order: Order, event: Event, waiting: dict[str, Order], first: bool) -> None:
        if event.fault == "storage":
            raise StorageError(event.message)
        if event.fault == "user" and first:
            # A mistake in what all runs share, where nothing was computed yet.
            raise UserError(event.message)
        lost = [order]
        for other in list(waiting.values()):
            if other.needs & {of.key for of in lost}:
                lost.append(waiting.pop(other.key))
        for of in lost:
            message = event.message if of is order else f"{order.title} failed: {event.message}"
            if of.key in self._by_key:
                self.failures[of.key] = Failure(self._by_key[of.key], message, order.log)
        console.print(f"failed: {order.title}: {event.message}; log: {order.log}", markup=False)

    def end(self) -> list[Failure]:
        """Say how it went; leave the list of failures."""
        done = sum(run.key in self.records and run.key not in self.failures for run in self.runs)
        left = len(self.runs) - done - len(self.failures)
        console.print(
            f"{done} of {len(self.runs)} runs finished, {self.fresh} of them now, "
            f"in {_minutes(time.monotonic() - self._began)}"
            + (f"; {len(self.failures)} failed" if self.failures else "")
            + (f"; {left} not begun" if left else "")
        )
        for failure in self.failures.values():
            console.print(f"  failed: {failure.run.title}: {failure.message}; log: {failure.log}", markup=False)
        path = self.runs[0].settings.runs_dir / FAILED
        if self.failures:
            write_json(path, [_plain(failure) for failure in self.failures.values()])
        else:
            path.unlink(missing_ok=True)
        return list(self.failures.values())


def _plain(failure: Failure) -> dict[str, str]:
    return {"key": failure.run.key, "run": failure.run.title, "error": failure.message, "log": str(failure.log)}


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _result_line(record: RunRecord) -> str:
    figures = [f"{on} {value:.2f}" for on in ("val", *SHOWN) if (value := record.value(on)) is not None]
    adapter = record.adapter
    note = f"; adapter {adapter.kind}, spread {adapter.spread_ratio or float('nan'):.2f}" if adapter else ""
    if adapter and adapter.warning and adapter.use == "labels":
        note += " (warning: not kept)"
    return f"{record.name}: NME {', '.join(figures)}{note}"
