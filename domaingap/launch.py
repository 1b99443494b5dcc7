"""How Lightning finds its place among processes: alone, whatever cluster the shell seems to be part of, unless the settings
ask for several (:class:`Place`); and how a command finds its machine among several (:class:`Machine`)."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_utilities.core.rank_zero import rank_zero_only

from domaingap.config import FitConfig
from domaingap.errors import SettingError

RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE")
PATIENCE = datetime.timedelta(minutes=10)
"""How long a process waits for the others at a step: a loader may be slow, and a validation is one's that writes."""


@contextlib.contextmanager
def single_process() -> Iterator[list[Any]]:
    """The plugins of a Trainer that trains in this process alone.

    Left to itself Lightning takes SLURM's, torchrun's, LSF's, MPI's or Kubeflow's variables for an order to be one of
    many, and those that begin with PL_TRAINER_ for settings.
    """
    be_first()
    with _unseen_cluster():
        yield [LightningEnvironment()]


@contextlib.contextmanager
def _unseen_cluster() -> Iterator[None]:
    names = [name for name in os.environ if name in RANKS or name.startswith("PL_TRAINER_")]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)


def be_first() -> None:
    """Have Lightning take this process for the one that writes and logs; others do nothing of the kind."""
    vars(rank_zero_only).update(rank=0)


@dataclass(frozen=True)
class Place:
    """A process among those that train one network.

    Attributes:
        rank: its number among all; the first is the one that writes.
        local: its number on its machine, and that of its GPU there.
        node: the number of its machine.
        processes: how many there are.
        host, port, prefix: where they find each other: names in a store of PyTorch.
        loopback: all are on one machine.
    """

    rank: int
    local: int
    node: int
    processes: int
    host: str
    port: int
    prefix: str
    loopback: bool


class _Placed(ClusterEnvironment):
    """A place as Lightning asks for it. The processes are there, and have found each other."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self._place.host

    @property
    def main_port(self) -> int:
        return self._place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._place.processes

    def set_world_size(self, size: int) -> None:
        assert size == self._place.processes

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        assert rank == self._place.rank

    def local_rank(self) -> int:
        return self._place.local

    def node_rank(self) -> int:
        return self._place.node


@contextlib.contextmanager
def several_processes(place: Place, fit: FitConfig) -> Iterator[dict[str, Any]]:
    """What a Trainer is told that trains a share of a network's batches: Lightning's DDP.

    Gradients are averaged over processes, whose shares are equal, so a step is that of a single process with the whole
    batch. Batch norm is another matter, see :func:`domaingap.models.batch_norm.over_processes`.
    """
    from pytorch_lightning.strategies import DDPStrategy

    vars(rank_zero_only).update(rank=place.rank)
    on_gpu = torch.cuda.is_available()
    if place.loopback and "lo" in (name for _, name in socket.if_nameindex()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # no other address: the machine's name may lead nowhere
    if on_gpu:
        torch.cuda.set_device(place.local)
    backend = "nccl" if on_gpu else "gloo"
    with _unseen_cluster():
        store = shared_store(place.host, place.port, place.prefix)
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.processes, timeout=PATIENCE)
        # Parameters without a gradient: timm has networks with some. Buckets are then the same ones from the first step on,
        # so a run that goes on adds in the same order as an undisturbed one. Buffers aren't sent around: batch norm's are
        # equal anyway, and processes may have different numbers of validation batches.
        strategy = DDPStrategy(
            cluster_environment=_Placed(place),
            process_group_backend=backend,
            timeout=PATIENCE,
            find_unused_parameters=True,
            broadcast_buffers=False,
        )
        yield {
            "devices": fit.devices,
            "num_nodes": fit.nodes,
            "strategy": strategy,
            "plugins": [],
            "use_distributed_sampler": False,  # it would pad: train and validation loaders take their share themselves
        }
        dist.destroy_process_group()  # not after a failure: others may wait in it for ever


def shared_store(
    host: str,
    port: int,
    prefix: str,
    hosts: bool = False,
    timeout: datetime.timedelta = PATIENCE,
    listening: int | None = None,
) -> Any:
    """PyTorch's store of names and values, at a host and port.

    Args:
        host: where it is.
        port: likewise.
        prefix: what tells this user of it from others.
        hosts: open it, for as long as what is returned exists.
        timeout: for it to be there.
        listening: a descriptor of a socket that listens at the port.

    Raises:
        RuntimeError: it isn't there, or can't be opened.
    """
    known: Any = dist
    store = known.TCPStore(host, port, None, hosts, timeout=timeout, wait_for_workers=False, master_listen_fd=listening)
    return known.PrefixStore(prefix, store)


LOST = ("connection closed", "connection reset", "connection refused", "broken pipe", "gloo/transport", "nccl", "timed out")


def lost_connection(error: BaseException) -> bool:
    """Whether an error only says that another process isn't there any more; gloo and NCCL have no type for it."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and any(part in text for part in LOST))


@dataclass(frozen=True)
class Machine:
    """This machine among those that train one network.

    Attributes:
        number: its own; the first, 0, leads.
        count: how many there are.
        host, port: where they meet.
        name: what tells this meeting from others at the same place.
        hosts: whether this process opens the meeting place.
    """

    number: int
    count: int
    host: str
    port: int
    name: str
    hosts: bool


def check_processes(fit: FitConfig) -> None:
    """SettingError where this machine can't have so many processes of one network, or isn't one of so many machines."""
    gpus = torch.cuda.device_count()
    if 0 < gpus < fit.devices:
        there = f"{gpus} GPU{'s' if gpus > 1 else ''}"
        raise SettingError("fit.devices", f"is {fit.devices}, but there {'are' if gpus > 1 else 'is'} {there} here")
    if fit.nodes > 1:
        this_machine(fit.nodes)


BY_SRUN = "srun --nodes {0} --ntasks-per-node 1 domaingap run …"


def this_machine(nodes: int) -> Machine:
    """Which of so many machines this is, by what torchrun or srun has told this process.

    Raises:
        SettingError: neither has started it, or one has started another number of processes than one on each machine.
    """
    by_srun = BY_SRUN.format(nodes)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ and "MASTER_ADDR" in os.environ:
        starter, number, count = "torchrun", _number("RANK"), _number("WORLD_SIZE")
        host, port = os.environ["MASTER_ADDR"], _number("MASTER_PORT")
        # torchrun tries again after a failure, at the same place.
        name = "-".join(os.environ.get(f"TORCHELASTIC_{part}", "0") for part in ("RUN_ID", "RESTART_COUNT"))
        hosts = number == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    elif "SLURM_PROCID" in os.environ and "SLURM_STEP_ID" in os.environ:  # without a step it is a job's script
        starter, number, count = "srun", _number("SLURM_PROCID"), _number("SLURM_NTASKS")
        first = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        job, step = _number("SLURM_JOB_ID"), _number("SLURM_STEP_ID")
        host = os.environ.get("MASTER_ADDR", first)
        # As any process of the step can work it out; steps of several jobs may share a machine.
        port = _number("MASTER_PORT") if "MASTER_PORT" in os.environ else 15000 + (job * 31 + step) % 15000
        name, hosts = f"{job}-{step}", number == 0
    else:
        raise SettingError(
            "fit.nodes",
            f"is {nodes}, but neither srun nor torchrun has started this command; start it once on each machine: {by_srun}",
        )
    if count != nodes:
        problem = f"is {nodes}, but {starter} has started {count} processes of this command; start one on each machine"
        raise SettingError("fit.nodes", f"{problem}: {by_srun}")
    if not 0 <= number < count:
        raise SettingError("fit.nodes", f"is {nodes}, but {starter} calls this process number {number} of {count}")
    return Machine(number, count, host, port, name, hosts)


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    if not text.isascii() or not text.isdigit():
        raise SettingError(
            "fit.nodes", f"needs {variable} in the environment as a whole number; it is {text or 'not there'}"
        )
    return int(text)
