"""Progress on long work: a bar in a terminal, a line now and then elsewhere (logs, CI)."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from domaingap.errors import printable

T = TypeVar("T")


class PlainConsole(Console):
    """Prints text as it is: names of files may hold what looks like markup, or steers a terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        for text in objects:
            if isinstance(text, str):
                _write(text)
        super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **options)


console = PlainConsole(stderr=True)
"""Where progress and notices go; results go to standard output."""


_context = contextvars.ContextVar[str | None]("context", default=None)
_log = contextvars.ContextVar[Path | None]("log", default=None)
Listener = Callable[[str, float, float, float], None]
"""Told of progress: what is under way, how much of it is done, of how much; and the optimiser steps that are behind, of all
networks since it listens."""


def detail(message: str) -> None:
    """A notice on a single run; not shown where many follow each other, but in their logs, see :func:`terse`."""
    if _context.get() is None:
        console.print(message)
    else:
        _write(message)


def _write(message: str) -> None:
    """Add a line to the log, where there is one."""
    if (path := _log.get()) is not None:
        with contextlib.suppress(OSError):  # no room for a log is no reason not to go on
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{printable(message)}\n")


@contextlib.contextmanager
def terse(prefix: str, log: Path | None = None) -> Iterator[None]:
    """Leave details out and put a prefix before the bars: one of many runs. Notices and details go to a log."""
    tokens = _context.set(prefix), _log.set(log)
    _write(f"=== {time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()}")
    try:
        yield
    finally:
        _context.reset(tokens[0])
        _log.reset(tokens[1])


class _Ear:
    """A listener, and what it has heard of trainings, one after the other."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._before = self._now = 0.0
        self._training: Progress | None = None

    def hear(self, of: _Bar, task: Task) -> None:
        if of.training:
            if self._training is not of:
                self._training, self._before = of, self._before + self._now
            self._now = task.completed
        self._listener(task.description, task.completed, task.total or 0, self._before + self._now)


_listener = contextvars.ContextVar[_Ear | None]("listener", default=None)


@contextlib.contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Have a function told of all progress."""
    token = _listener.set(_Ear(listener))
    try:
        yield
    finally:
        _listener.reset(token)


def context() -> str:
    """What stands before a bar's description."""
    return _context.get() or ""


class _Bar(Progress):
    """A bar that also tells whoever listens, see :func:`heard`; ``training``: what it counts are optimiser steps."""

    training = False

    def update(self, task_id: TaskID, **fields: Any) -> None:
        super().update(task_id, **fields)
        if (listener := _listener.get()) is not None:
            listener.hear(self, self._tasks[task_id])


def bar(training: bool = False) -> Progress:
    """A progress bar with counts and the time left, of a training's steps or of anything else; draws only in a terminal and
    disappears at the end."""
    made = _Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    made.training = training
    return made


def track(items: Iterable[T], total: int | None, description: str, every_s: float = 30.0) -> Iterator[T]:
    """Yield the items, showing how many of ``total`` are done; None where that isn't known."""
    description = printable(description)
    last = time.monotonic()
    with bar() as progress:
        task = progress.add_task(description, total=total, note="")
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - last > every_s:
                last = time.monotonic()
                whole = f" of {total}" if total is not None else ""
                print(f"{description}: {done}{whole}", file=sys.stderr, flush=True)


def amount(n_bytes: float) -> str:
    """A number of bytes for people, in thousands: 34 MB."""
    units = iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while n_bytes >= 999.5 and unit != "TB":
        n_bytes, unit = n_bytes / 1000, next(units)
    return f"{n_bytes:.0f} {unit}" if n_bytes >= 10 or unit == "bytes" else f"{n_bytes:.1f} {unit}"


class Advance:
    """How far a transfer is, in bytes: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, description: str, total: int | None, start: int = 0, every_s: float = 30.0) -> None:
        self._description, self._total, self._every_s = printable(description), total, every_s
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(12),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(description, total=total, completed=start)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def to(self, done: int) -> None:
        """So many bytes are there now."""
        self._bar.update(self._task, completed=done)
        if not console.is_terminal and time.monotonic() - self._last > self._every_s:
            self._last = time.monotonic()
            whole = f" of {amount(self._total)}" if self._total else ""
            print(f"{self._description}: {amount(done)}{whole}", file=sys.stderr, flush=True)
