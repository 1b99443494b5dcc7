"""What an element of a job array does on its node: an order, with its log, its progress, and an end to go on from."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

from domaingap import progress
from domaingap.config import Precision
from domaingap.errors import UserError
from domaingap.hashing import replace_atomically
from domaingap.parallel import available_cores
from domaingap.study.launchers import Event, failed
from domaingap.study.launchers.local import logged
from domaingap.study.orders import Order, Outcome, perform

TOLD_EVERY_S = 5.0
"""How often progress is written to the shared disk."""
EARLY_S = 75.0
"""Slurm may send the signal before its time limit up to a minute early."""
IN_VAIN = 3
"""How often an order may run into its time limit without having come any further."""


class Ordered(Protocol):
    """What an element needs to know of its order."""

    @property
    def key(self) -> str:
        """Its identity."""

    @property
    def title(self) -> str:
        """A few words on it."""

    @property
    def log(self) -> Path:
        """Where what it prints is kept."""

    @property
    def threads(self) -> int | None:
        """Of PyTorch; one a core where None."""

    @property
    def steps(self) -> int:
        """That it trains; none of an order that only looks at what is there, or scores it."""


Work = Callable[[Any], Any]
"""Does an order; by name, since the node imports it."""


class _InVain(BaseException):
    """A time limit that is too short. No Exception: what goes on after errors doesn't go on after this."""


@dataclass
class Element:
    """Orders as submitit calls them, and pickles them anew before they are put back into the queue.

    Attributes:
        orders: what is to be done: one, or several that are short.
        work: does one.
        heard: the file in which it tells how far it is.
        cores: it has.
        limit_s: seconds until it is warned of its time limit.
        events: of the orders that are done.
        began_at: what each attempt that ran into its limit began with; the same again and again is no progress.
    """

    orders: list[Ordered]
    work: Work
    heard: Path
    cores: int
    limit_s: float
    events: list[Event] = field(default_factory=list)
    began_at: list[tuple[str, float]] = field(default_factory=list)
    _first: tuple[str, float] = ("", 0.0)
    _since: float = 0.0
    _ending: bool = False

    def __call__(self) -> list[Event]:
        """Do the orders; whatever comes of each is an event."""
        self._since, self._first, self._ending = time.monotonic(), ("", 0.0), False
        with self._ended_by_slurm():
            for order in self.orders[len(self.events) :]:
                self.events.append(self._do(order))
        return self.events

    def _do(self, order: Ordered) -> Event:
        with logged(order.log):
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
            progress.console.print(f"=== {_where()}", markup=False)
            with self._telling():
                event = self._event(order)
            if event.kind == "failed":
                progress.console.print(f"failed: {event.message}", markup=False)
        return event

    def _event(self, order: Ordered) -> Event:
        if order.threads is not None and order.threads != self.cores:
            import torch

            torch.set_num_threads(order.threads)
        try:
            return Event(order.key, "done", self.work(order))
        except _InVain:
            message = f"ran into its time limit {IN_VAIN} times without coming further; give more --time_min"
            return Event(order.key, "failed", message=message)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            return failed(cast(Order, order), error)

    def checkpoint(self) -> Any:
        """Before it is put back into the queue: stages keep checkpoints by themselves, so that it only begins again."""
        from submitit.helpers import DelayedSubmission

        self._ending = True
        if time.monotonic() - self._since > self.limit_s - EARLY_S:
            self.began_at.append(self._first)
            if len(self.began_at) >= IN_VAIN and len(set(self.began_at[-IN_VAIN:])) == 1:
                raise _InVain
        return DelayedSubmission(self)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        last = 0.0

        def tell(title: str, step: float, steps: float, reached: float) -> None:
            nonlocal last
            if not self._first[0]:
                self._first = title, step
            if (now := time.monotonic()) - last > TOLD_EVERY_S:
                last = now
                with contextlib.suppress(OSError), replace_atomically(self.heard, sync=False) as temporary:
                    told = f"{step}\n{steps}\n{reached}\n{title}\n"
                    temporary.write_text(told, encoding="utf-8", errors="backslashreplace")

        with progress.heard(tell):
            yield

    @contextlib.contextmanager
    def _ended_by_slurm(self) -> Iterator[None]:
        """End on SIGTERM as on any other machine, with what is tracked closed. submitit would wait for SIGKILL."""

        def end(number: int, frame: FrameType | None) -> None:
            if self._ending:
                return
            self._ending = True
            if _state() == "RUNNING":
                # Neither cancelled nor put back yet: a preemption that leaves time to do so.
                progress.console.print("asked to make room; put back into the queue", markup=False)
                signal.raise_signal(signal.SIGUSR2)
            else:
                progress.console.print("ended by Slurm", markup=False)
                sys.exit(128 + number)

        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def _state() -> str:
    """This job's state as Slurm has it; empty where it doesn't say."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        job = os.environ.get("SLURM_JOB_ID", "")
        asked = ["squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    return ""


def _where() -> str:
    """The job, its node and what it has there."""
    say = os.environ.get
    array = f"{say('SLURM_ARRAY_JOB_ID')}_{say('SLURM_ARRAY_TASK_ID')}" if say("SLURM_ARRAY_JOB_ID") else say("SLURM_JOB_ID")
    gpu = f", GPU {say('CUDA_VISIBLE_DEVICES')}" if say("CUDA_VISIBLE_DEVICES") else ""
    again = f", begun again {say('SLURM_RESTART_COUNT')} times" if say("SLURM_RESTART_COUNT", "0") != "0" else ""
    return f"Slurm job {array} on {socket.gethostname()}: {available_cores()} cores{gpu}{again}"


def check_gpus(wanted: int) -> None:
    """Refuse to train on the processor where GPUs were asked for.

    Raises:
        UserError: PyTorch sees fewer.
    """
    if not wanted:
        return
    import torch

    if (found := torch.cuda.device_count()) < wanted:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise UserError(
            f"--gpus is {wanted}, and PyTorch sees {found} on {socket.gethostname()} (CUDA_VISIBLE_DEVICES is "
            f"{given if given is not None else 'not set'}); look at 'nvidia-smi' there, or leave --gpus out to train on "
            "processors"
        )


@dataclass(frozen=True)
class OnNode:
    """Does orders where GPUs may have been asked for."""

    gpus: int

    def __call__(self, order: Order) -> Outcome:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
        check_gpus(self.gpus)
        return perform(order)


@dataclass(frozen=True)
class NodeFacts:
    """What a node of the cluster is like.

    Attributes:
        node: its name.
        device: the GPU's name, or ``cpu``.
        cores: that a job has.
        precision: what ``fit.precision auto`` is there, by backbone.
        torch: its version.
    """

    node: str
    device: str
    cores: int
    precision: dict[str, Precision]
    torch: str


@dataclass(frozen=True)
class Probe:
    """An order that only looks around."""

    backbones: tuple[str, ...]
    log: Path
    gpus: int
    key: str = "probe"
    title: str = "a look at a node"
    threads: int | None = None
    steps: int = 1


def look_around(probe: Probe) -> NodeFacts:
    """What this node is like."""
    check_gpus(probe.gpus)
    import torch

    from domaingap.study.preflight import best_precision

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    found = {name: best_precision(name) for name in probe.backbones}
    return NodeFacts(socket.gethostname(), device, available_cores(), found, version("torch"))


def backbones(names: Collection[str]) -> tuple[str, ...]:
    """Each once, in one order."""
    return tuple(sorted(set(names)))
