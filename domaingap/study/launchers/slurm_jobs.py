"""Jobs in Slurm's queue, and what they leave behind: results, progress, and their last words."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from domaingap.errors import printable
from domaingap.hashing import content_key
from domaingap.study.launchers import Event
from domaingap.study.launchers import slurm_commands as slurm
from domaingap.study.launchers.slurm_commands import NoAnswer, Seen
from domaingap.study.launchers.slurm_element import Ordered

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
ALIVE = (*WAITING, "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING", "PREEMPTED")
NEVER = (
    "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS", "PartitionNodeLimit", "PartitionTimeLimit",
    "QOSMaxWallDurationPerJobLimit", "AssocMaxWallDurationPerJobLimit", "launch failed requeued held",
    "launch_failed_requeued_held", "JobHoldMaxRequeue",
)  # fmt: skip
"""Reasons for which a job waits for ever."""
ADVICE = {
    "OUT_OF_MEMORY": "out of memory; give more --mem_gb",
    "TIMEOUT": "ran into its time limit; give more --time_min",
    "NODE_FAIL": "its node failed",
    "CANCELLED": "cancelled",
    "DEADLINE": "its deadline passed",
    "BOOT_FAIL": "its node didn't start",
}


@dataclass
class Job:
    """An element in the queue, running, or just ended.

    Attributes:
        orders: that it does, by key.
        id: Slurm's.
        name: its array's.
        state: as squeue last had it.
        node: where it ran last.
        ended: when it was first seen to have ended, or to be unknown to Slurm.
        heard: when it last said how far it is.
    """

    orders: dict[str, Ordered]
    id: str
    name: str
    place: Path
    state: str = ""
    node: str = ""
    ended: float | None = None
    heard: int = 0

    @property
    def result(self) -> Path:
        return self.place / f"{self.id}_0_result.pkl"

    @property
    def printed(self) -> Path:
        """What was printed before and after the order's own log: the environment's errors, and Slurm's."""
        return self.place / f"{self.id}_0_log.out"

    @property
    def progress(self) -> Path:
        return heard_file(self.place, next(iter(self.orders)))

    def failed(self, message: str) -> list[Event]:
        """It has ended without a result, and all of its orders with it."""
        return [Event(key, "failed", message=message) for key in self.orders]


def heard_file(place: Path, key: str) -> Path:
    """Where an element tells how far it is, by the key of its first order."""
    return place / f"{content_key(key)}.progress"


@dataclass(frozen=True)
class Unknown:
    """Stands for an order until the sweep asks for it again."""

    key: str
    folder: Path
    title: str = ""
    threads: int | None = None
    steps: int = 1

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "slurm.log"


def names_in(folder: Path) -> Collection[str]:
    """The files of a folder; asking for the list has a network drive look again."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return ()


def results_of(job: Job) -> list[Event]:
    """What a job's result says. It is a pickle, and only read from jobs that Slurm says are this user's own."""
    from submitit.core.utils import pickle_load

    try:
        outcome, value = pickle_load(job.result)
    except Exception as error:
        return job.failed(f"{job.result}: can't be read ({type(error).__name__}: {error})")
    if outcome == "success" and [event.key for event in value] == list(job.orders):
        return list(value)
    lines = [line.strip() for line in str(value).splitlines() if line.strip()]
    return job.failed(printable(lines[-1] if lines else "an error without words")[:500])


def progress_of(job: Job) -> Event | None:
    """How far a job is, where it has said so since."""
    try:
        if (when := job.progress.stat().st_mtime_ns) == job.heard:
            return None
        job.heard = when
        *numbers, title = job.progress.read_text(encoding="utf-8", errors="replace").split("\n")[:4]
        step, steps, reached = map(float, numbers)
        return Event(next(iter(job.orders)), "progress", title=title, step=step, steps=steps, reached=reached)
    except (OSError, ValueError):
        return None


def lost_words(job: Job, seen: Seen | None) -> str:
    """What Slurm says of a job that has ended without a result."""
    state = seen.state if seen is not None else _from_accounts(job.id)
    parts = [f"Slurm job {job.id}" + (f" on {job.node}" if job.node else "")]
    if state in ADVICE:
        parts.append(ADVICE[state])
    elif not state:
        parts.append("gone from the queue without a result")
    else:
        reason = f" ({seen.reason})" if seen is not None and seen.reason not in ("None", "") else ""
        parts.append(f"{state}{reason} without a result")
    if said := _last_words(job.printed):
        parts.append(said)
    elif not job.printed.exists() and state not in ("CANCELLED", ""):
        parts.append(f"it has left no file; is {job.place} on a disk that the nodes share?")
    return ": ".join((parts[0], "; ".join(parts[1:])))


def _from_accounts(job: str) -> str:
    """A job's state from Slurm's accounting, where there is one."""
    with contextlib.suppress(NoAnswer):
        for line in slurm.ask(
            "sacct", f"--jobs={job}", "--noheader", "--parsable2", "--allocations", "--format=State"
        ).splitlines():
            return line.partition(" ")[0].strip("+")
    return ""


def _last_words(path: Path) -> str:
    """The line that tells most in what was printed around an order: Slurm's own, or else the last."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 20000))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    told = [line for line in lines if re.match(r"slurmstepd\S*: error: ", line)]
    if not told:
        program = [line for line in lines if not line.startswith(("srun:", "submitit "))]
        task = [line for line in lines if re.match(r"srun: error: .*task", line)]
        told = [" ".join([*program[-1:], *(f"({line})" for line in task[-1:])])]
    return printable(told[-1])[:300]


def add_to_log(printed: Path, log: Path) -> None:
    """Add what was printed around an order to its log."""
    with contextlib.suppress(OSError):
        text = printed.read_text(encoding="utf-8", errors="replace")
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"=== printed by the job around it\n{text}")
