"""Progress on long work: a bar in a terminal, a line now and then elsewhere (logs, CI)."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from domaingap.errors import printable

T = TypeVar("T")


class PlainConsole(Console):
    """Prints text as it is: names of files may hold what looks like markup, or steers a terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, keep="\n"), **options)


console = PlainConsole(stderr=True)
"""Where progress and notices go; results go to standard output."""


_context = contextvars.ContextVar[str | None]("context", default=None)


def detail(message: str) -> None:
    """A notice on a single run; not shown where many follow each other, see :func:`terse`."""
    if _context.get() is None:
        console.print(message)


@contextlib.contextmanager
def terse(prefix: str) -> Iterator[None]:
    """Leave details out and put a prefix before the bars: one of many runs."""
    token = _context.set(prefix)
    try:
        yield
    finally:
        _context.reset(token)


def context() -> str:
    """What stands before a bar's description."""
    return _context.get() or ""


def bar() -> Progress:
    """A progress bar with counts and the time left; draws only in a terminal and disappears at the end."""
    return Progress(
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


def track(items: Iterable[T], total: int, description: str, every_s: float = 30.0) -> Iterator[T]:
    """Yield the items, showing how many of ``total`` are done."""
    description = printable(description)
    last = time.monotonic()
    with bar() as progress:
        task = progress.add_task(description, total=total, note="")
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - last > every_s:
                last = time.monotonic()
                print(f"{description}: {done} of {total}", file=sys.stderr, flush=True)
