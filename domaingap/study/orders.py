"""Runs → orders: what is made in one go by one process, and what has to be there before it."""

from __future__ import annotations

import contextlib
import gc
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from domaingap.config import Precision, RealConfig, RunSettings
from domaingap.study.plan import Planned
from domaingap.study.recipe import Recipe
from domaingap.study.record import RunRecord


@dataclass(frozen=True)
class Order:
    """A run, or the networks and adapters at its beginning that other runs share; can be sent to another process.

    Attributes:
        key: its identity.
        title: a few words on it.
        recipe: the run's recipe.
        settings: the run's settings.
        alongside: see :class:`domaingap.study.run.Run`.
        upto: how many of the run's networks and adapters are made; None is all of it, with its result.
        needs: keys of orders that come first, so that nobody waits for what another one makes.
        steps: optimiser steps that it takes beyond those of ``needs``.
        precision: what ``fit.precision auto`` is, the same in all processes that share something.
        threads: of PyTorch; its own default where None.
    """

    key: str
    title: str
    recipe: Recipe
    settings: RunSettings
    alongside: tuple[RealConfig, ...]
    upto: int | None
    needs: frozenset[str]
    steps: int
    precision: Precision | None = None
    threads: int | None = None

    @property
    def log(self) -> Path:
        """Where what it prints is kept."""
        name = re.sub(r"[^\w.=-]+", "-", self.title)
        digits = self.key.rpartition("-")[2][:8]
        return self.settings.runs_dir / "logs" / f"{name}-{digits}.log"

    @property
    def _lock(self) -> Path:
        return self.settings.runs_dir / ".locks" / f"order-{self.key}.lock"

    def busy(self) -> bool:
        """Whether another process is at it: one of another sweep in this folder, or of a cluster."""
        if not self._lock.is_file():
            return False
        with contextlib.suppress(OSError), _held(self._lock) as free:
            return not free
        return False

    @contextlib.contextmanager
    def marked(self) -> Iterator[None]:
        """Show other processes that this one is at it. Nobody waits for that: what must not be made twice has locks of its
        own."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # a full disk is named by what has something to write
                self._lock.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_held(self._lock))
            yield


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@dataclass(frozen=True)
class Outcome:
    """What became of an order.

    Attributes:
        record: the run's; None of an order that is no whole run.
        reused: the run was finished before.
        seconds: how long it took.
    """

    record: RunRecord | None
    reused: bool
    seconds: float


def perform(order: Order) -> Outcome:
    """Do what is ordered, in this process.

    Raises:
        UserError: it can't be done as it is; StorageError where its files can't be written.
    """
    from domaingap.study import run

    began = time.monotonic()
    try:
        with order.marked():
            if order.upto is not None:
                run.Run(order.recipe, order.settings, order.alongside, order.precision).prepare(order.upto)
                return Outcome(None, False, time.monotonic() - began)
            finished = run.execute(order.recipe, order.settings, order.alongside, order.precision)
        return Outcome(finished.record, finished.reused, time.monotonic() - began)
    finally:
        # Networks and trainers refer to each other. Python, which sees small objects only, would keep 100 MB an order.
        gc.collect()


def orders_of(
    runs: Sequence[Planned],
    alongside: Mapping[str, Sequence[RealConfig]],
    unscored: Iterable[str] = (),
    finished: Container[str] = (),
    precision: Callable[[str], Precision] | None = None,
    threads: int | None = None,
) -> list[Order]:
    """The orders that runs come to, each after those that it needs.

    A network or adapter that several runs need is ordered on its own, before the first of them; of those that the same runs
    need one after the other, the last one's order makes them all.

    Args:
        runs: what is to be run.
        alongside: the real faces that networks are validated on beside a run's own, by run.
        unscored: keys of runs whose test sets aren't scored.
        finished: keys of runs that were finished before; they are only looked at, or scored.
        precision: what ``fit.precision auto`` is for a backbone; each process decides by itself where None.
        threads: see :class:`Order`.
    """
    unscored = set(unscored)
    needed: dict[str, list[str]] = {}
    for run in runs:
        if run.settings.reuse and run.key not in finished:
            for part in run.outline.parts:
                needed.setdefault(part.key, []).append(run.key)
    shared = {key: set(of) for key, of in needed.items() if len(set(of)) > 1}
    made: dict[str, Order] = {}
    trained: set[str] = set()
    found: list[Order] = []
    for run in runs:
        beside = tuple(alongside[run.key]) if run.settings.reuse else ()
        meant = precision(run.settings.model.backbone) if precision is not None else None
        parts = run.outline.parts
        needs: list[str] = []
        for place, part in enumerate(parts, start=1):
            if run.key in finished or not run.settings.reuse or part.key not in shared:
                continue
            after = parts[place].key if place < len(parts) else None
            if after in shared and shared[after] == shared[part.key]:
                continue
            if part.key not in made:
                new = {p.key: p.steps for p in parts[:place] if p.key not in trained}
                trained |= new.keys()
                order = Order(
                    f"part-{part.key}", f"{run.title} {part.title}", run.recipe, replace(run.settings, score_test=False),
                    beside, place, frozenset(needs), sum(new.values()), meant, threads,
                )  # fmt: skip
                made[part.key] = order
                found.append(order)
            needs.append(made[part.key].key)
        new = {p.key: p.steps for p in parts if p.key not in trained} if run.key not in finished else {}
        trained |= new.keys() if run.settings.reuse else set()
        settings = replace(run.settings, score_test=run.settings.score_test and run.key not in unscored)
        found.append(
            Order(run.key, run.title, run.recipe, settings, beside, None, frozenset(needs),
                  sum(new.values()), meant, threads)
        )  # fmt: skip
    return found
