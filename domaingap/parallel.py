"""Work spread over processes, in order, and dropped at once when it is interrupted."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

J = TypeVar("J")
R = TypeVar("R")


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def worker_count(workers: int | None, n_jobs: int, worthwhile: int) -> int:
    """Processes for a number of jobs: as many as asked for; by default one per core, but none for fewer than ``worthwhile``
    jobs, since a process takes seconds to start."""
    return max(1, min(workers, n_jobs) if workers else min(available_cores(), n_jobs // worthwhile))


def spread(
    function: Callable[[J], R],
    jobs: Sequence[J],
    n_workers: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    chunk: int = 8,
) -> Iterator[R]:
    """What ``function`` gives for each job, in order, from ``n_workers`` processes that ``start(*arguments)`` sets up; each
    takes ``chunk`` jobs at a time."""
    # spawn: a forked child of a process that has used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, mp_context=context, initializer=_start, initargs=(start, arguments)) as pool:
        try:
            yield from pool.map(function, jobs, chunksize=chunk)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Set a process up, and let it end with the one that it works for, also where that one is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    start(*arguments)
