"""What Slurm's own commands say. None of it needs its accounting database, which small clusters lack."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from domaingap.errors import UserError

ANSWER_S = 60.0
"""A command that hasn't answered by then is taken for one that can't."""
KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_CONF_SERVER")
"""Variables that say where Slurm is; the others that begin so belong to a job, or would change what squeue prints."""


class NoAnswer(Exception):
    """A command of Slurm failed; the message is what it said, in one line."""


class Seen(NamedTuple):
    """A job as squeue has it.

    Attributes:
        state: such as PENDING, in full and in capitals.
        reason: why it waits or has ended, ``None`` where there is nothing to say.
        name: the job's.
        node: where it runs.
    """

    state: str
    reason: str
    name: str
    node: str


class Partition(NamedTuple):
    """A partition's time limits in minutes; None where there is none."""

    default: int | None
    most: int | None


@contextlib.contextmanager
def outside_of_jobs() -> Iterator[None]:
    """The environment without what belongs to a job that this process may be part of: a job submitted from it would take
    over its memory, cores and place."""
    others = [
        name
        for name in os.environ
        if name.startswith(("SLURM_", "SRUN_", "SQUEUE_", "SINFO_", "SUBMITIT_")) and name not in KEPT
    ]
    kept = {name: os.environ.pop(name) for name in others}
    try:
        yield
    finally:
        os.environ.update(kept)


def ask(*command: str, given: str = "") -> str:
    """What a command of Slurm prints.

    Args:
        command: the command.
        given: its standard input.

    Raises:
        NoAnswer: it isn't there, failed, or takes too long.
    """
    try:
        with outside_of_jobs():
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False
            )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} doesn't answer within {ANSWER_S:.0f} seconds") from None
    except OSError as error:
        raise NoAnswer(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise NoAnswer(in_one_line(done.stderr or done.stdout) or f"{command[0]} ended with exit code {done.returncode}")
    return done.stdout


def in_one_line(text: str) -> str:
    """A command's complaint without its own name before each line."""
    lines = [re.sub(r"^(allocation failure|\w+): (error: |fatal: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line and not line.startswith('Try "')))


def queue() -> dict[str, Seen]:
    """This user's jobs by id (``12``, or ``12_3`` of an array), those that ended a while ago too.

    Raises:
        NoAnswer: it isn't known.
    """
    found = {}
    for line in ask("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%j|%N|%r").splitlines():
        job, state, name, node, reason = line.strip().split("|", 4)
        found[job] = Seen(state, reason, name, node)
    return found


def partitions() -> dict[str, Partition]:
    """The partitions with their time limits; the default one also as an empty name.

    Raises:
        NoAnswer: they aren't known.
    """
    found = {}
    for line in ask("sinfo", "--noheader", "--format=%P|%L|%l").splitlines():
        name, default, most = line.strip().split("|")
        found[name.rstrip("*")] = Partition(minutes(default), minutes(most))
        if name.endswith("*"):
            found[""] = found[name.rstrip("*")]
    return found


def minutes(text: str) -> int | None:
    """Slurm's ``days-hours:minutes:seconds`` in minutes; None of ``infinite`` and ``n/a``."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, mins, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + mins


def options_of_sbatch() -> frozenset[str]:
    """The long options that sbatch has here; none where it doesn't tell."""
    with contextlib.suppress(NoAnswer):
        return frozenset(re.findall(r"--([a-z][a-z-]+)", ask("sbatch", "--help")))
    return frozenset()


def longest_array() -> int:
    """How many elements an array may have here."""
    with contextlib.suppress(NoAnswer):
        if match := re.search(r"MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config")):
            return max(1, int(match[1]) - 1)
    return 1000


def refusal(parameters: Mapping[str, object]) -> str | None:
    """Why sbatch wouldn't take a job with these options; None where it would, if only later."""
    options = [f"--{name}" if value is True else f"--{name}={value}" for name, value in parameters.items()]
    try:
        ask("sbatch", "--test-only", *options, given="#!/bin/sh\ntrue\n")
    except NoAnswer as error:
        # Nodes that are busy come back. Those that are down do too, but what only they have is said not to exist.
        missing = "configuration is not available" in str(error) and _nodes_missing(parameters.get("partition"))
        return None if missing or re.search(r"not available \(|nodes are busy", str(error)) else str(error)
    return None


def _nodes_missing(partition: object) -> bool:
    """Whether nodes of a partition are down, drained or reserved."""
    of = [f"--partition={partition}"] if partition is not None else []
    with contextlib.suppress(NoAnswer):
        states = ask("sinfo", "--noheader", "--Node", *of, "--format=%T").split()
        return any(state.rstrip("*~#!%$@^-+") not in THERE for state in states)
    return False


THERE = ("idle", "mixed", "allocated", "completing", "planned")
"""States of nodes that can take jobs, sooner or later."""


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs by id.

    Raises:
        NoAnswer: it failed.
    """
    for first in range(0, len(jobs), 500):
        try:
            ask("scancel", *jobs[first : first + 500])
        except NoAnswer as error:
            if "Invalid job id" not in str(error):  # that one has ended by itself
                raise


def check_here(partition: str | None, time_min: int | None) -> Partition:
    """Whether Slurm is here with such a partition; its time limits.

    Raises:
        UserError: it isn't.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "--launcher slurm: no sbatch on this machine; start the sweep where jobs are submitted (a login node), or leave "
            "--launcher out"
        )
    try:
        known = partitions()
    except NoAnswer as error:
        raise UserError(
            f"--launcher slurm: Slurm doesn't answer ({error}); try 'sinfo', and again once it answers"
        ) from error
    name = partition or ""
    if name not in known:
        names = ", ".join(sorted(known.keys() - {""}))
        if not name:
            raise UserError(f"--launcher slurm: no partition is Slurm's default; give --partition, one of {names}")
        raise UserError(f"--partition is {name}; known: {names}")
    most = known[name].most
    if time_min is not None and most is not None and time_min > most:
        raise UserError(
            f"--time_min is {time_min}; partition {name or 'by default'} allows at most {most}; give less: a run that takes "
            "longer is put back into the queue at its limit, and goes on"
        )
    return known[name]
