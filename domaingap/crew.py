"""The processes that train one network: started, heard and ended, on this machine and on others.

All are processes of their own, also the one that writes checkpoints. The command's process has no part in the training: it
waits for what they say and for their ends, holds the store's locks and tells W&B. So whatever happens to one of them, it
neither hangs with the others nor ends with them. They find each other in a store of PyTorch (TCP) that it hosts; on one
machine no other one reaches it.

On several machines the first one's process leads. Those of the others train what it says: a job is a file below the folder
of runs, which all machines share, as they do the prepared faces.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import multiprocessing.connection
import os
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from domaingap.config import FitConfig
from domaingap.errors import SettingError, UserError, traceback_wanted
from domaingap.hashing import digest, write_archive
from domaingap.launch import Machine, Place, lost_connection, shared_store, this_machine
from domaingap.parallel import ending, environment, start_following, workers
from domaingap.progress import console

Tell = Callable[..., None]
"""Says something, with plain values, to the process that has started this one."""
JOB = "job.pickle"
LINGER_S = 3.0
"""From the first failure on, for the others to say what is wrong: it may be with one of them."""
GOODBYE_S = 10.0
"""For a process that has done its share to end by itself."""
SILENCE_S = 60.0
"""After which a machine that says nothing is taken for lost."""
BEAT_S = 1.0
GREETING = timedelta(minutes=5)
"""For the machines to meet."""
GO_ON = "give the same command again to go on"


class _LostError(UserError):
    """All that is known is that some other process has gone."""


def train_together(job: bytes, fit: FitConfig, folder: Path, hear: Callable[..., None]) -> None:
    """Have :func:`domaingap.training.take_part` do a job in as many processes as the settings ask for.

    Args:
        job: what each of them gets.
        fit: the settings.
        folder: where the job is kept meanwhile, and where the first process writes.
        hear: called with what the first process says.

    Raises:
        UserError: one of them has died; of several errors the one that says most.
    """
    path = folder / JOB
    write_archive(path, lambda file: file.write(job), sync=False)
    try:
        if fit.nodes == 1:
            with _hosted() as port:
                places = _places(fit, Machine(0, 1, "127.0.0.1", port, "", True), "network")
                with _started(path, digest([job], 64), places) as processes:
                    processes.attend(hear)
        elif (meeting := _leading.get()) is None:
            raise SettingError(
                "fit.nodes", f"is {fit.nodes}; 'domaingap run' and 'domaingap sweep --jobs 1' take several machines"
            )
        else:
            meeting.lead(path, digest([job], 64), fit, hear)
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _hosted() -> Iterator[int]:
    """A store that processes on this machine reach at a port of the loopback address."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    store = shared_store("127.0.0.1", port, "", True, listening=listening.detach())
    try:
        yield port
    finally:
        del store


def _places(fit: FitConfig, machine: Machine, name: str) -> list[Place]:
    """Of this machine's processes."""
    first = machine.number * fit.devices
    return [
        Place(first + i, i, machine.number, fit.processes, machine.host, machine.port, f"{machine.name}/{name}",
              machine.count == 1)
        for i in range(fit.devices)
    ]  # fmt: skip


@dataclass(eq=False)
class _Member:
    """A process on this machine."""

    process: Any
    pipe: Any
    done: bool = False
    error: BaseException | None = None

    @property
    def ended(self) -> bool:
        return self.pipe.closed and not self.process.is_alive()

    def hear(self, hear: Callable[..., None]) -> None:
        """Take in what it has said, up to its end."""
        while self.pipe.poll():
            try:
                what, *told = self.pipe.recv()
            except (EOFError, OSError):
                self.pipe.close()
                return
            if what == "done":
                self.done = True
            elif what == "failed":
                self.error = told[0]
            else:
                hear(what, *told)


@dataclass
class _Processes:
    """Those on this machine."""

    members: list[_Member] = field(default_factory=list)

    def attend(self, hear: Callable[..., None], listen: Callable[[], bool] = lambda: True) -> None:
        """Listen to them until all have done their share; ``listen`` is called now and then, and ends it where it is False.

        Raises:
            UserError: one of them has died, or failed, which may be any other error.
        """
        since = None
        while not all(member.done for member in self.members):
            there: list[Any] = [m.pipe for m in self.members if not m.pipe.closed]
            there += [m.process.sentinel for m in self.members if m.process.is_alive()]
            multiprocessing.connection.wait(there, 0.2)
            for member in self.members:
                if not member.pipe.closed:
                    member.hear(hear)
            if not listen():
                return
            if any(member.error is not None or (member.ended and not member.done) for member in self.members):
                since = since if since is not None else time.monotonic()
                if all(member.ended for member in self.members) or time.monotonic() - since > LINGER_S:
                    raise self._why()

    def _why(self) -> BaseException:
        """The error that says most."""
        errors = [member.error for member in self.members if member.error is not None]
        said = [error for error in errors if not lost_connection(error) and not isinstance(error, ConnectionError)]
        ends = [m.process.exitcode for m in self.members if m.ended and not m.done and m.error is None]
        if said and (isinstance(said[0], UserError | OSError | MemoryError) or not ends):
            return said[0]
        if ends:
            return UserError(_end(next((code for code in ends if code < 0), ends[0])))
        return _LostError(f"a process of several that train one network has lost the others ({_line(errors[0])}); {GO_ON}")

    def end(self) -> None:
        """Wait for those that have done their share, and end the others: what they are at is done again."""
        until = time.monotonic() + GOODBYE_S
        for member in self.members:
            if member.done:
                member.process.join(max(0.0, until - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
        for member in self.members:
            member.process.join()
            member.pipe.close()


def _end(code: int) -> str:
    advice = "; close other programs or use fewer processes" if code == -signal.SIGKILL else ""
    # Of one that has taken a signal as an order to end.
    why = ending(128 - code if code > 128 else code)
    return f"a process of several that train one network {why}{advice}; {GO_ON}"


@contextlib.contextmanager
def _started(path: Path, content: str, places: Sequence[Place]) -> Iterator[_Processes]:
    """This machine's processes; ended in any case."""
    processes = _Processes()
    threads = max(1, torch.get_num_threads() // len(places))
    # The latter, or each process gives advice on settings that are chosen here.
    level = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
    variables = {"OMP_NUM_THREADS": str(threads), "TORCH_CPP_LOG_LEVEL": level}
    try:
        for place in places:
            ours, theirs = multiprocessing.connection.Pipe(duplex=False)
            process: Any = workers().Process(target=_take_part, args=(path, content, place, threads, theirs), daemon=False)
            with environment(variables):
                process.start()
            theirs.close()
            processes.members.append(_Member(process, ours))
        yield processes
    finally:
        processes.end()


def _take_part(path: Path, content: str, place: Place, threads: int, pipe: Any) -> None:
    """What such a process does."""
    start_following()
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(threads)
    from domaingap.training import take_part

    try:
        job = path.read_bytes()
        if digest([job], 64) != content:
            raise UserError(f"{path}: isn't what the first machine has written; all must share this folder")
        take_part(job, path.parent, place, lambda *told: pipe.send(told))
        pipe.send(("done",))
        return
    except Exception as error:
        if traceback_wanted():
            traceback.print_exc()
        with contextlib.suppress(OSError):
            pipe.send(("failed", _sendable(error)))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(1)  # a process group whose members are gone may never let go


def _sendable(error: Exception) -> Exception:
    """An error as another process can have it: no library's own kind, which may need arguments that it doesn't keep."""
    if isinstance(error, UserError | OSError | MemoryError):
        return error
    return RuntimeError(str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}")


# Several machines


def among_machines(fits: Sequence[FitConfig], runs_dir: Path, work: Callable[[], int]) -> int:
    """Do a command's work where it is the first machine's, or is the only one; on another, train what the first one says.

    Args:
        fits: the settings of all that is to be trained.
        runs_dir: the folder of runs, which the machines share.
        work: what the command does; its exit code.

    Returns:
        The exit code, on every machine that of the first.

    Raises:
        UserError: the machines can't meet, or one was lost.
    """
    nodes = sorted({fit.nodes for fit in fits})
    if nodes[-1] == 1:
        return work()
    if len(nodes) > 1:
        raise SettingError("fit.nodes", f"is {nodes[0]} here and {nodes[1]} there; one command has one number of machines")
    machine = this_machine(nodes[0])
    meeting = _Meeting(machine, runs_dir)
    return meeting.first(work) if machine.number == 0 else meeting.other()


_leading: contextvars.ContextVar[_Meeting | None] = contextvars.ContextVar("leading", default=None)


class _Meeting:
    """This machine's place among others, as long as a command runs."""

    def __init__(self, machine: Machine, runs_dir: Path) -> None:
        self.machine, self.runs_dir = machine, runs_dir.resolve()
        self._jobs = 0
        self._next = 0.0
        self._beats: dict[int, tuple[bytes, float]] = {}
        self._store = self._joined(machine.hosts)
        self._over = threading.Event()
        threading.Thread(target=self._beat, args=(self._joined(False),), daemon=True).start()

    def _joined(self, hosts: bool) -> Any:
        machine = self.machine
        try:
            return shared_store(machine.host, machine.port, f"domaingap/{machine.name}", hosts, GREETING)
        except (RuntimeError, ValueError) as error:
            where = f"{machine.host}:{machine.port}"
            if hosts:
                raise UserError(
                    f"{where}: the machines can't meet there ({_line(error)}); give another MASTER_PORT"
                ) from error
            raise UserError(f"{where}: the first machine isn't there ({_line(error)}); look at its output") from error

    def _beat(self, store: Any) -> None:
        """Show the others that this process is there."""
        count = 0
        with contextlib.suppress(RuntimeError):
            while not self._over.wait(BEAT_S):
                count += 1
                store.set(f"beat/{self.machine.number}", str(count))

    def _silent(self, number: int) -> bool:
        """Whether nothing was heard of a machine for long."""
        key = f"beat/{number}"
        beat = self._store.get(key) if self._store.check([key]) else b""
        if number not in self._beats or self._beats[number][0] != beat:
            self._beats[number] = (beat, time.monotonic())
        patience = SILENCE_S if beat else GREETING.total_seconds()
        return time.monotonic() - self._beats[number][1] > patience

    def _called(self, number: int) -> str:
        return f"machine {number + 1} of {self.machine.count}"

    def _places(self, fit: FitConfig) -> list[Place]:
        return _places(fit, self.machine, f"network-{self._jobs}")

    # On the first

    def first(self, work: Callable[[], int]) -> int:
        """Do a command's work, in which networks are trained on all machines; then send the others home."""
        token, end = _leading.set(self), "failed"
        try:
            end = str(code := work())
            return code
        finally:
            _leading.reset(token)
            with contextlib.suppress(RuntimeError):
                self._store.set("end", end)
                until = time.monotonic() + 3
                while self._store.add("gone", 0) < self.machine.count - 1 and time.monotonic() < until:
                    time.sleep(0.05)
            self._over.set()

    def lead(self, path: Path, content: str, fit: FitConfig, hear: Callable[..., None]) -> None:
        """Train a network on all machines."""
        if not path.resolve().is_relative_to(self.runs_dir):
            raise UserError(f"{path}: not below {self.runs_dir}, which the machines share")
        where = str(path.resolve().relative_to(self.runs_dir))
        said = {"path": where, "content": content, "devices": fit.devices, "batch_size": fit.batch_size}
        self._jobs += 1
        self._store.set(f"job/{self._jobs}", json.dumps(said))
        try:
            with _started(path, content, self._places(fit)) as processes:
                try:
                    processes.attend(hear, self._listen)
                except _LostError:
                    self._listen_for(LINGER_S)
                    raise
                while self._store.add(f"done/{self._jobs}", 0) < self.machine.count - 1:
                    self._listen()
                    time.sleep(0.05)
        finally:
            with contextlib.suppress(RuntimeError):
                self._store.set(f"over/{self._jobs}", "")

    def _listen_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._next = 0.0
            self._listen()
            time.sleep(0.1)

    def _listen(self) -> bool:
        """UserError where something is wrong on another machine."""
        if time.monotonic() < self._next:
            return True
        self._next = time.monotonic() + 0.5
        for number in range(1, self.machine.count):
            key = f"failed/{self._jobs}/{number}"
            if self._store.check([key]):
                raise UserError(f"{self._called(number)}: {self._store.get(key).decode()}")
            if self._silent(number):
                raise UserError(f"{self._called(number)} was lost: nothing is heard of it; {GO_ON}")
        return True

    # On another

    def other(self) -> int:
        """Train what the first machine says, until it says that there is no more."""
        console.print(f"{self._called(self.machine.number)}: trains what the first one says", markup=False)
        lost = f"the first machine was lost; {GO_ON}"
        try:
            while True:
                following = f"job/{self._jobs + 1}"
                if self._store.check([following]):
                    self._jobs += 1
                    self._follow(json.loads(self._store.get(following)))
                elif self._store.check(["end"]):
                    end = self._store.get("end").decode()
                    self._store.add("gone", 1)
                    if not end.isdigit():
                        raise UserError("the command has failed on the first machine; its output there says why")
                    return int(end)
                elif self._silent(0):
                    raise UserError(lost)
                else:
                    time.sleep(0.1)
        except RuntimeError as error:  # of the store
            raise UserError(lost) from error
        finally:
            self._over.set()

    def _follow(self, said: dict[str, Any]) -> None:
        """Do this machine's part of a job; what goes wrong is told, and the next one may go well."""
        failed = f"failed/{self._jobs}/{self.machine.number}"
        path = (self.runs_dir / said["path"]).resolve()
        fit = FitConfig(devices=said["devices"], nodes=self.machine.count, batch_size=said["batch_size"])
        until = time.monotonic() + 30
        while not path.is_file() and time.monotonic() < until:
            time.sleep(0.1)  # a network drive shows new files late
        try:
            if not path.is_relative_to(self.runs_dir):
                raise UserError(f"{path}: not below {self.runs_dir}")
            if not path.is_file():
                raise UserError(f"{path}: isn't here; the machines must share --runs_dir")
            with _started(path, said["content"], self._places(fit)) as processes:
                processes.attend(lambda *_: None, self._needed)
            self._store.add(f"done/{self._jobs}", 1)
        except BaseException as error:
            with contextlib.suppress(RuntimeError):
                if not isinstance(error, Exception):
                    self._store.set(failed, f"was ended ({type(error).__name__}); {GO_ON}")
                elif not isinstance(error, _LostError):
                    self._store.set(failed, _line(error))
            if not isinstance(error, Exception) or self._silent(0):
                raise

    def _needed(self) -> bool:
        """Whether the first machine is still at this job."""
        if time.monotonic() < self._next:
            return True
        self._next = time.monotonic() + 0.5
        if self._silent(0):
            raise UserError(f"the first machine was lost; {GO_ON}")
        return not self._store.check([f"over/{self._jobs}"])


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
