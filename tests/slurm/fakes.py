"""Orders that take no training, and what does them on a node; imported there by name."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from domaingap import progress
from domaingap.errors import StorageError, UserError
from domaingap.study.launchers.slurm import SlurmLauncher
from domaingap.study.launchers.slurm_options import SlurmOptions
from domaingap.study.orders import Outcome


@dataclass(frozen=True)
class FakeOrder:
    """An order that does what it says in ``does``, in its folder."""

    key: str
    folder: Path
    does: str = ""
    seconds: float = 0.0
    threads: int | None = None
    steps: int = 1
    title: str = "a fake order"
    more: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.key}.log"


def work(order: FakeOrder) -> Outcome:
    """Write down that it was here; then whatever it is told."""
    with open(order.folder / f"{order.key}.was-here", "a") as file:
        names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_GPUS_ON_NODE", "SLURM_JOB_ID", "SLURM_RESTART_COUNT")
        values = [f"{name}={os.environ.get(name, '')}" for name in names]
        file.write(" ".join([*values, f"cwd={os.getcwd()}", f"cores={len(os.sched_getaffinity(0))}"]) + "\n")
    print(f"{order.key} is at work", flush=True)
    until = time.monotonic() + order.seconds
    with progress.bar() as bar:
        task = bar.add_task("breathing", total=10, note="")
        bar.update(task, completed=4)
        while time.monotonic() < until:
            if order.does == "stop when told" and (order.folder / "stop").exists():
                break
            time.sleep(0.1)
    if order.does == "fail":
        raise UserError("somebody took the picture away")
    if order.does == "full":
        raise StorageError("no room is left")
    if order.does == "break":
        raise ZeroDivisionError("a mistake of ours")
    if order.does == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(None, False, order.seconds)


def launcher(folder: Path, **options: object) -> SlurmLauncher:
    """A launcher of fake orders that asks often."""
    settings = SlurmOptions(**{"cpus": 1, **options})  # type: ignore[arg-type]
    return SlurmLauncher(folder, settings, work=work, asked_every_s=0.2, grace_s=0.5)
