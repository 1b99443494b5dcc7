"""Orders on this machine: in this process, or in several of its own."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from domaingap import progress
from domaingap.errors import traceback_wanted
from domaingap.parallel import available_cores, ending, environment, start_following, workers
from domaingap.streams import tolerant_streams
from domaingap.study.launchers import Event, failed
from domaingap.study.orders import Order, perform

PATIENCE_S = 6.0
"""For a process to end by itself when it is asked to: it closes what it tracks, and what it trains goes on later."""
TOLD_EVERY_S = 0.5
TRIES = 2
"""How often an order is begun whose process was killed: once more, as it goes on where it was."""


class InProcess:
    """Orders one after the other in this process, with its progress bars."""

    slots = 1

    def __init__(self) -> None:
        self._queue: list[Order] = []

    def start(self, orders: Sequence[Order]) -> None:
        """See :class:`domaingap.study.launchers.Launcher`."""
        self._queue.extend(orders)

    def events(self, timeout: float) -> list[Event]:
        """Do what was ordered, and tell of it."""
        happened = []
        while self._queue:
            order = self._queue.pop(0)
            with progress.terse(f"{order.title}: ", order.log):
                happened.append(_done(order))
        return happened

    def stop(self) -> None:
        """Nothing is under way between two calls."""
        self._queue.clear()


def _done(order: Order) -> Event:
    """Do an order, whatever comes of it."""
    try:
        return Event(order.key, "done", perform(order))
    except Exception as error:
        if traceback_wanted():
            progress.console.print_exception()
        return failed(order, error)


@dataclass(eq=False)
class _Hand:
    """A process that does orders one after the other.

    Attributes:
        number: which GPU it takes, where there are several.
        order: what it is at.
    """

    number: int
    process: Any
    connection: Any
    order: Order | None = None


class Processes:
    """Orders in several processes at once.

    Args:
        jobs: how many.
        threads: of each; a GPU each where there are several.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        self.slots, self.threads = jobs, threads
        self._hands: list[_Hand] = []
        self._tries: dict[str, int] = {}
        self._happened: deque[Event] = deque()

    def start(self, orders: Sequence[Order]) -> None:
        """See :class:`domaingap.study.launchers.Launcher`."""
        for order in orders:
            hand = next((hand for hand in self._hands if hand.order is None and hand.process.is_alive()), None)
            self._give(hand or self._hire(), order)

    def _give(self, hand: _Hand, order: Order) -> None:
        self._tries[order.key] = self._tries.get(order.key, 0) + 1
        hand.order = order
        with contextlib.suppress(OSError):  # it has died since; its end is an event
            hand.connection.send(order)

    def _hire(self) -> _Hand:
        taken = {hand.number for hand in self._hands}
        number = next(i for i in range(self.slots + 1) if i not in taken)
        ours, theirs = multiprocessing.connection.Pipe()
        with environment({**_gpu(number), "OMP_NUM_THREADS": str(self.threads)}):
            process: Any = workers().Process(target=_serve, args=(theirs, self.threads), daemon=False)
            process.start()
        theirs.close()
        self._hands.append(_Hand(number, process, ours))
        return self._hands[-1]

    def events(self, timeout: float) -> list[Event]:
        """See :class:`domaingap.study.launchers.Launcher`."""
        places = {hand.connection: hand for hand in self._hands} | {hand.process.sentinel: hand for hand in self._hands}
        if self._hands:
            ready = multiprocessing.connection.wait(list(places), timeout)
            for hand in dict.fromkeys(places[place] for place in ready):
                self._hear(hand)
        happened = list(self._happened)
        self._happened.clear()
        return happened

    def _hear(self, hand: _Hand) -> None:
        with contextlib.suppress(EOFError, OSError):
            while hand.connection.poll():
                event: Event = hand.connection.recv()
                if event.kind != "progress":
                    hand.order = None
                self._happened.append(event)
        if hand.process.is_alive():
            return
        self._hands.remove(hand)
        hand.process.join()
        hand.connection.close()
        if (order := hand.order) is None:
            return
        why = _end(hand.process.exitcode)
        if self._tries[order.key] < TRIES:
            self._happened.append(Event(order.key, "lost", message=f"{why}; begun once more, it goes on where it was"))
            self._give(self._hire(), order)
        else:
            self._happened.append(Event(order.key, "failed", message=f"{why}, {TRIES} times"))

    def stop(self) -> None:
        """See :class:`domaingap.study.launchers.Launcher`."""
        for hand in self._hands:
            if hand.order is not None:
                hand.process.terminate()
            else:
                with contextlib.suppress(OSError):
                    hand.connection.send(None)
        until = time.monotonic() + PATIENCE_S
        for hand in self._hands:
            hand.process.join(max(0.0, until - time.monotonic()))
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.connection.close()
        self._hands.clear()


def _end(code: int) -> str:
    return f"its process {ending(code)}" + ("; fewer --jobs need less" if code == -signal.SIGKILL else "")


def gpus() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


def default_jobs() -> int:
    """One process a GPU, or else one a core, which was measured to be faster than one with all cores (README, Sweeps)."""
    return gpus() or available_cores()


def launcher_for(jobs: int | None) -> InProcess | Processes:
    """What does orders on this machine in so many processes; by default :func:`default_jobs`."""
    jobs = jobs if jobs is not None else default_jobs()
    return InProcess() if jobs == 1 else Processes(jobs, max(1, available_cores() // jobs))


def _gpu(number: int) -> Mapping[str, str]:
    """The environment in which a process sees one GPU of several."""
    if (count := gpus()) < 2:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(count)]
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


class _Ended(BaseException):
    """SIGTERM. No Exception: what goes on after errors doesn't go on after this."""


def _serve(connection: Any, threads: int) -> None:
    """Do orders as they come, until there are no more."""
    start_following()

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Ended

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import torch  # takes seconds, in which SIGTERM simply ends the process

    torch.set_num_threads(threads)
    with contextlib.suppress(_Ended, EOFError, OSError):
        signal.signal(signal.SIGTERM, end)
        while (order := connection.recv()) is not None:
            with logged(order.log), _told(connection, order):
                event = _done(order)
                if event.kind == "failed":
                    progress.console.print(f"failed: {event.message}", markup=False)
            connection.send(event)


@contextlib.contextmanager
def _told(connection: Any, order: Order) -> Iterator[None]:
    """Tell the sweep now and then how far an order is."""
    last = 0.0

    def tell(title: str, step: float, steps: float, reached: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last > TOLD_EVERY_S:
            last = now
            with contextlib.suppress(OSError):
                connection.send(Event(order.key, "progress", title=title, step=step, steps=steps, reached=reached))

    with progress.heard(tell):
        yield


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Have everything that this process prints, its libraries' own lines too, go to a file's end."""
    kept = os.dup(1), os.dup(2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:  # no room for a log is no reason not to try; what must be written says so itself
        target = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        with tolerant_streams():  # the log's disk may be full
            progress.console.print(f"=== {time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()}", markup=False)
            yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        for number, before in enumerate(kept, start=1):
            os.dup2(before, number)
            os.close(before)
        os.close(target)
