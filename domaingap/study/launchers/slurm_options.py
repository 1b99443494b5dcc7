"""What jobs on a cluster ask for, checked before there is one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from domaingap.errors import UserError
from domaingap.limits import Checked, limited
from domaingap.study.launchers import slurm_commands as slurm

OWN = {
    "partition": "--partition", "gpus-per-node": "--gpus", "gpus": "--gpus", "cpus-per-task": "--cpus", "mem": "--mem_gb",
    "time": "--time_min",
}  # fmt: skip
"""Options of sbatch that have one here."""
TAKEN = (
    "array", "output", "error", "input", "job-name", "signal", "open-mode", "wrap", "chdir", "nodes", "ntasks",
    "ntasks-per-node", "requeue", "no-requeue", "parsable", "test-only", "wait", "help", "usage", "version",
    "hold", "dependency",
)  # fmt: skip
"""Those that are set for every job, or would break what is done with it."""


@dataclass(frozen=True)
class SlurmOptions(Checked):
    """What a job asks for, and how many there are.

    Attributes:
        partition: the cluster's default one where None.
        gpus: of each job; 0 trains on processors.
        cpus: cores of each job, and PyTorch's threads.
        mem_gb: memory of each job in GB; the cluster's default where None.
        time_min: time limit of each job in minutes; the partition's default where None. A job that reaches it goes back into
            the queue and then on from its last checkpoint.
        array_parallelism: elements of an array that run at once.
        jobs: orders in the queue or running at once.
    """

    partition: str | None = None
    gpus: int = limited(0, 0, 64)
    cpus: int = limited(4, 1, 1024)
    mem_gb: float | None = limited(None, above=0, most=65536)
    time_min: int | None = limited(None, 2, 525600)
    array_parallelism: int = limited(64, 1, 10000)
    jobs: int = limited(1000, 1, 100000)


def further_options(pairs: Sequence[str]) -> dict[str, str | bool]:
    """sbatch's own options from ``key=value``, or ``key`` alone for one without a value.

    Raises:
        UserError: it isn't one of sbatch's here, has an option of its own here, or is set for every job.
    """
    found: dict[str, str | bool] = {}
    known = slurm.options_of_sbatch() if pairs else frozenset()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().lstrip("-").replace("_", "-")
        if not re.fullmatch(r"[a-z][a-z-]+", name):
            raise UserError(
                f"--slurm {pair}: write an option of sbatch by its long name, for example --slurm account=vision"
            )
        if name in OWN:
            raise UserError(f"--slurm {pair}: {name} has an option here; give {OWN[name]}")
        if name in TAKEN:
            raise UserError(f"--slurm {pair}: {name} is set for every job here; leave it out")
        if known and name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            raise UserError(
                f"--slurm {pair}: sbatch has no option {name} here" + (f"; close: {', '.join(close)}" if close else "")
                + "; see 'sbatch --help'"
            )  # fmt: skip
        if name in found:
            raise UserError(f"--slurm {pair}: {name} stands twice; take one out")
        if not value.isprintable() or (equals and not value):
            raise UserError(f"--slurm {name} needs a value in one line, or none and no =")
        found[name] = value if equals else True
    return found
