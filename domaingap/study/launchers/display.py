"""What a person sees of many runs: bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Self

from rich.progress import TaskID

from domaingap.progress import bar, console
from domaingap.study.launchers import Event
from domaingap.study.orders import Order

NAMED = 8
"""Orders under way that are named; on a cluster there may be hundreds, most of them in its queue."""


class Display:
    """How far a sweep is.

    Args:
        orders: what is to be done.
        runs: of how many runs in all.
        slots: how much may be under way at once; a single thing shows its own bars.
        every_s: between two lines where there is no terminal.
    """

    def __init__(self, orders: Sequence[Order], runs: int, slots: int, every_s: float = 60.0) -> None:
        self._steps: dict[str, float] = {order.key: order.steps for order in orders}
        self._share: dict[str, float] = {}
        self._reached: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._at: dict[str, str] = {}
        self._runs, self._every_s = runs, every_s
        self._bars = bar() if slots > 1 else None
        self._tasks: dict[str, TaskID] = {}
        self._began = self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
            self._tasks[""] = self._bars.add_task("runs", total=self._runs, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def tell(self, event: Event) -> None:
        """Take an event in."""
        if event.kind == "progress":
            steps = self._steps[event.key]
            # Several networks of one order follow each other, and other work comes between; each one's bar starts anew.
            share = event.reached / steps if steps else event.step / event.steps if event.steps else 0.0
            self._share[event.key] = max(self._share.get(event.key, 0.0), min(share, 0.95))
            if event.reached:
                self._reached[event.key] = min(event.reached, steps)
                self._first.setdefault(event.key, self._reached[event.key])
            self._at[event.key] = f"{event.title} {event.step:.0f}/{event.steps:.0f}"
        elif event.kind == "done":
            self._share[event.key] = 1.0
            self._reached[event.key] = self._steps[event.key]
        elif event.kind == "failed":
            self._share[event.key] = 1.0
            self._steps[event.key] = self._reached.get(event.key, 0)  # no more are taken

    def left(self) -> str:
        """An estimate of the time left, by the optimiser steps that were taken and those that are left; what a training had
        behind it when it was first heard of, as one that goes on has, was not taken now."""
        reached = sum(self._reached.values())
        done, left = reached - sum(self._first.values()), sum(self._steps.values()) - reached
        if done <= 0 or left <= 0:
            return ""
        return f"; about {max(1, round(left / done * (time.monotonic() - self._began) / 60))} min left"

    def show(self, under_way: Iterable[Order], finished: int, failed: int) -> None:
        """Draw it, or print a line where it is time to."""
        counts = f"{finished} of {self._runs} runs done, " + (f"{failed} failed, " if failed else "")
        orders = sorted(under_way, key=lambda order: order.key not in self._at)
        now = {order.key: f"{order.title}{f': {at}' if (at := self._at.get(order.key)) else ''}" for order in orders[:NAMED]}
        if self._bars is None or not now:
            return
        if not console.is_terminal:
            if time.monotonic() - self._last > self._every_s:
                self._last = time.monotonic()
                more = f"; and {len(orders) - len(now)} more" if len(orders) > len(now) else ""
                named = "; ".join(now.values()) + more
                console.print(f"{counts}{len(orders)} under way ({named}){self.left()}", markup=False)
            return
        self._bars.update(self._tasks[""], completed=finished, note=self.left().removeprefix("; "))
        for key in [key for key in self._tasks if key and key not in now]:
            self._bars.remove_task(self._tasks.pop(key))
        for key, text in now.items():
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(text, total=100, note="")
            self._bars.update(self._tasks[key], description=f"  {text}", completed=100 * self._share.get(key, 0.0))
