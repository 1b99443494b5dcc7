"""How Lightning finds its place among processes: in one process, whatever cluster the shell seems to be part of.

All that would change for training in several processes stands here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_utilities.core.rank_zero import rank_zero_only

RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE")


@contextlib.contextmanager
def single_process() -> Iterator[list[Any]]:
    """The plugins of a Trainer that trains in this process alone.

    Left to itself Lightning takes SLURM's, torchrun's, LSF's, MPI's or Kubeflow's variables for an order to be one of
    many, and those that begin with PL_TRAINER_ for settings.
    """
    be_first()
    names = [name for name in os.environ if name in RANKS or name.startswith("PL_TRAINER_")]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield [LightningEnvironment()]
    finally:
        os.environ.update(kept)


def be_first() -> None:
    """Have Lightning take this process for the one that writes and logs; others do nothing of the kind."""
    vars(rank_zero_only).update(rank=0)
