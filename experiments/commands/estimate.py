"""A line on how long runs would train on this machine, as measured now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domaingap.progress import console
from domaingap.study.plan import Planned
from domaingap.study.record import RunRecord


def say_estimate(runs: Sequence[Planned], finished: Mapping[str, RunRecord], jobs: int | None) -> None:
    """Print how long the runs that aren't finished would train on this machine."""
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
