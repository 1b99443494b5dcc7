"""Work spread over processes, in order, and dropped at once when it is interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any, TypeVar

from domaingap.errors import UserError

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


class _Worker(SpawnProcess):
    """A process that runs none of its caller's script, and leaves Ctrl-C and a closed terminal to its caller."""

    started: weakref.WeakSet[_Worker] = weakref.WeakSet()

    def start(self) -> None:
        _Worker.started.add(self)
        super().start()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _main_hidden(), _deaf(), later(signal.SIGTERM):
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    Process = _Worker


def workers() -> SpawnContext:
    """How processes are started. Not forked: a child of a process that has used torch's threads can hang. Without the
    caller's main module, which the standard way runs once more in each: a script without a main guard would start itself
    again."""
    with _deaf():  # also multiprocessing's own helper, which is started once
        return _Context()


_launching = threading.Lock()


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """Have multiprocessing see a main module that came from nowhere, as that of an interactive session does."""
    main = sys.modules["__main__"]
    with _launching:
        kept: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
        main.__spec__ = None
        vars(main).pop("__file__", None)
        try:
            yield
        finally:
            vars(main).update(kept)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Block the signals that a terminal sends to all its processes; a process that is started now has them blocked, too."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    deaf = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    try:
        resource_tracker.ensure_running()  # multiprocessing's own helper, whose start unblocks them
        signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


LONGEST_S = 3.0
"""That a signal waits: those who send one may kill after ten seconds, and an end takes some of them."""


@contextlib.contextmanager
def later(*numbers: int) -> Iterator[None]:
    """Let signals wait for the end of what must not be broken off halfway: the start of a process, the writing of an answer
    to several files. The second of a kind goes through, and the first after LONGEST_S, so that what hangs can be ended. Not
    blocked: a process that is started would have them blocked for its whole life."""
    callers: dict[int, Any] = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not callers:
        yield
        return
    waiting: dict[int, FrameType | None] = {}
    timers: list[threading.Timer] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if number in waiting:
            del waiting[number]
            callers[number](number, frame)
        else:
            waiting[number] = frame
            timers.append(threading.Timer(LONGEST_S, os.kill, (os.getpid(), number)))
            timers[-1].daemon = True
            timers[-1].start()

    for number in callers:
        signal.signal(number, wait)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in callers.items():
            signal.signal(number, handler)
        for number, frame in waiting.items():
            callers[number](number, frame)


def whole() -> contextlib.AbstractContextManager[None]:
    """Let all that ends a command from outside wait, Ctrl-C too: see :func:`later`."""
    return later(
        *(number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None)
    )


def spread(
    function: Callable[[J], R],
    jobs: Sequence[J],
    n_workers: int,
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    chunk: int = 8,
) -> Iterator[R]:
    """What ``function`` gives for each job, in order, from ``n_workers`` processes that ``start(*arguments)`` sets up; each
    takes ``chunk`` jobs at a time.

    Raises:
        UserError: one of them was killed.
    """
    others = set(_Worker.started)
    with ProcessPoolExecutor(n_workers, mp_context=workers(), initializer=_start, initargs=(start, arguments)) as pool:
        try:
            chunks = [pool.submit(_do, function, jobs[i : i + chunk]) for i in range(0, len(jobs), chunk)]
            for done in chunks:
                yield from done.result()
        except BaseException as error:
            mine = [process for process in _Worker.started if process not in others and process.pid is not None]
            codes = [process.exitcode for process in mine]
            # Nobody waits for what they are at: it is made again by the next call.
            for process in mine:
                process.kill()
            if isinstance(error, BrokenProcessPool):
                raise UserError(_what_happened(codes)) from error
            raise


def _what_happened(codes: Sequence[int | None]) -> str:
    """Why a pool broke, from the exit codes of its processes; those that it ended itself then have SIGTERM's."""
    ended = [code for code in codes if code]
    code = next((code for code in ended if code != -signal.SIGTERM), ended[0] if ended else 0)
    again = "what is done is kept, give the same command again to go on"
    if code == -signal.SIGKILL:
        advice = (
            "; close other programs or use fewer processes (--workers 1, before a run: domaingap data prepare --workers 1)"
        )
    else:
        advice = "" if code < 0 else "; try --workers 1"
    return f"a process of several {ending(code)}{advice}; {again}"


def ending(code: int) -> str:
    """How a process ended, from its exit code, which is negative for a signal."""
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), probably for lack of memory"
    return f"was ended by {_signal_name(-code)}" if code < 0 else f"ended (exit code {code})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _do(function: Callable[[J], R], jobs: Sequence[J]) -> list[R]:
    """Some jobs, in a process that may not have been set up: what went wrong then is said here."""
    if _failure:
        raise _failure[0]
    return [function(job) for job in jobs]


_failure: list[Exception] = []


@contextlib.contextmanager
def environment(more: Mapping[str, str]) -> Iterator[None]:
    """Variables of processes that are started now: libraries read them when they are loaded."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start_following() -> None:
    """Let this process end with the one that it works for, also where that one is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _start(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Set a process up."""
    start_following()
    try:
        start(*arguments)
    except Exception as error:
        _failure.append(error)
