"""Orders on a Slurm cluster: those that are ready together become one job array, through submitit.

What is under way is remembered in ``slurm.json`` in the folder of runs, so that a sweep that is given again finds its jobs
in the queue instead of submitting them twice. What Slurm says of them comes from squeue and from the files that jobs leave.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import domaingap
from domaingap.config import Precision
from domaingap.errors import StorageError, UserError, trouble
from domaingap.hashing import content_key, write_json
from domaingap.progress import console
from domaingap.study.launchers import Event
from domaingap.study.launchers import slurm_commands as slurm
from domaingap.study.launchers.slurm_commands import NoAnswer, Seen
from domaingap.study.launchers.slurm_element import (
    Element,
    NodeFacts,
    OnNode,
    Ordered,
    Probe,
    Work,
    backbones,
    look_around,
)
from domaingap.study.launchers.slurm_jobs import (
    ALIVE,
    NEVER,
    WAITING,
    Job,
    Unknown,
    add_to_log,
    heard_file,
    lost_words,
    names_in,
    progress_of,
    results_of,
)
from domaingap.study.launchers.slurm_options import SlurmOptions

REMEMBERED = "slurm.json"
FILES = "slurm"
"""Below the folder of runs: what submitit leaves there while jobs are under way, a folder an array."""
POLL_S = 1.0
"""Between two looks for results on the shared disk."""
ASKED_EVERY_S = 10.0
"""Between two calls of squeue; administrators ask for no more."""
GRACE_S = 20.0
"""For a result to appear on a shared disk once Slurm says that its job has ended."""
WITHOUT_LIMIT_MIN = 24 * 60
"""Time limit in a partition that has neither a default nor a maximum below."""
WARNED_S = 90
"""Before its time limit a job is told, so that it is put back into the queue."""
TOLD_EVERY_S = 120.0
"""Between two lines on how many jobs run and how many wait, where that has changed."""
PATIENCE_S = 40.0
"""For cancelled jobs to end: Slurm gives them 30 seconds by default."""
SHORT_ONES = 25
"""Orders without training that one element does: an order of a run that is finished only looks at it."""
TRIES_S = (2.0, 5.0, 15.0, 30.0, 60.0)
"""Waits between attempts to submit while Slurm's controller doesn't answer."""


def _shared_out(orders: Sequence[Ordered]) -> list[list[Ordered]]:
    """What each element does: an order, or several of those that train nothing."""
    short = [order for order in orders if not order.steps]
    return [
        *([order] for order in orders if order.steps),
        *(short[first : first + SHORT_ONES] for first in range(0, len(short), SHORT_ONES)),
    ]


class SlurmLauncher:
    """Takes orders to a cluster.

    Args:
        folder: of runs, on a disk that the nodes share.
        options: what each job asks for.
        more: further options of sbatch, see :func:`further_options`.
        work: does an order on its node.
        asked_every_s: seconds between two calls of squeue.
        grace_s: seconds that a result may take to appear.

    Raises:
        UserError: there is no Slurm here, or it doesn't take such jobs; or another sweep of this folder waits for its jobs.
    """

    def __init__(
        self,
        folder: Path,
        options: SlurmOptions,
        more: Mapping[str, str | bool] = {},
        work: Work | None = None,
        asked_every_s: float = ASKED_EVERY_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self.folder, self.options, self.more = folder.absolute(), options, dict(more)
        self.slots, self.threads = options.jobs, options.cpus
        self._work: Work = work if work is not None else OnNode(options.gpus)
        self._asked_every_s, self._grace_s = asked_every_s, grace_s
        try:
            importlib.metadata.version("submitit")
        except importlib.metadata.PackageNotFoundError:
            raise UserError("--launcher slurm needs submitit; install it, for example with 'uv sync'") from None
        partition = slurm.check_here(options.partition, options.time_min)
        limit = partition.default or (min(partition.most, WITHOUT_LIMIT_MIN) if partition.most else WITHOUT_LIMIT_MIN)
        self.time_min = options.time_min if options.time_min is not None else limit
        if (problem := slurm.refusal(self._flags())) is not None:
            raise UserError(f"sbatch refuses such jobs: {problem}; change --partition, --gpus, --cpus, --mem_gb or --slurm")
        self._longest = slurm.longest_array()
        self._live: dict[str, Job] = {}
        self._asked = 0.0
        self._told, self._said = time.monotonic(), ""
        self._silent = False
        self._lock = self._alone()
        self._remembered = self._read()
        self._found = self._still_there()

    # What Launcher has

    def start(self, orders: Sequence[Ordered]) -> None:
        """See :class:`domaingap.study.launchers.Launcher`; orders whose jobs an earlier call has left in the queue are not
        submitted again."""
        fresh: list[Ordered] = []
        for order in orders:
            if (found := self._found.pop(order.key, None)) is not None:
                found.orders = {order.key: order}
                self._live[found.id] = found
            else:
                fresh.append(order)
        elements = _shared_out(fresh)
        for first in range(0, len(elements), self._longest):
            self._submit(elements[first : first + self._longest], self._work)

    def events(self, timeout: float) -> list[Event]:
        """See :class:`domaingap.study.launchers.Launcher`."""
        until = time.monotonic() + timeout
        while True:
            happened = self._results()
            if self._live and time.monotonic() - self._asked >= self._asked_every_s:
                happened += self._states()
            if happened or not self._live or (left := until - time.monotonic()) <= 0:
                return happened
            time.sleep(min(POLL_S, left))

    def stop(self) -> None:
        """See :class:`domaingap.study.launchers.Launcher`. Cancels the jobs, and what they have trained is kept; but where
        this process is told to end by another signal than Ctrl-C's, as by a lost connection, they are left to go on. So are
        jobs of an earlier call that this one didn't ask for, unless by Ctrl-C."""
        ending = sys.exc_info()[1]
        jobs, left = [*self._live.values()], [*self._found.values()]
        if isinstance(ending, KeyboardInterrupt):
            jobs, left = jobs + left, []
        elif ending is not None and not isinstance(ending, Exception):
            jobs, left = [], jobs + left
        if left:
            console.print(f"slurm: {len(left)} jobs are left to go on; the same command finds them", markup=False)
        if jobs:
            console.print(f"slurm: cancelling {len(jobs)} jobs", markup=False)
            self._cancel([job.id for job in jobs])
        self._live, self._found = {}, {}
        if self._lock.is_locked:
            self._forget({job.name for job in left})
            self._lock.release()

    @property
    def waiting(self) -> str:
        """How many jobs run and how many wait, in words."""
        running = sum(job.state not in ("", *WAITING) for job in self._live.values())
        return f"{running} running, {len(self._live) - running} waiting in Slurm's queue"

    # Finding out about nodes

    def precision_for(self, names: Collection[str]) -> Callable[[str], Precision]:
        """What ``fit.precision auto`` is for a backbone; a node is asked once it is needed, for all of ``names``."""

        def precision(backbone: str) -> Precision:
            return self.resolve_on_node(names).precision[backbone] if backbone in names else "32"

        return precision

    def resolve_on_node(self, names: Collection[str]) -> NodeFacts:
        """What ``fit.precision auto`` is where the jobs will run, and what is there: asked with a job, and remembered.

        Args:
            names: backbones.

        Raises:
            UserError: no job runs there, PyTorch sees fewer GPUs than asked for, or another version of it is there.
        """
        probe = Probe(backbones(names), self.folder / "logs" / "slurm-node.log", self.options.gpus)
        here = importlib.metadata.version("torch")
        asked = content_key([self._flags(), probe.backbones, here, domaingap.__version__, sys.executable])
        if isinstance(known := self._remembered["nodes"].get(asked), dict):
            with contextlib.suppress(TypeError):
                return NodeFacts(**known)
        self._submit([[probe]], look_around)
        last = ""
        while True:
            ended = [event for event in self.events(5.0) if event.key == probe.key and event.kind in ("done", "failed")]
            if ended:
                break
            states = [job.state for job in self._live.values()]
            if states and states[0] in WAITING and states[0] != last:
                last = states[0]
                console.print("slurm: waiting for a node, to look at what it has", markup=False)
        facts: Any = ended[0].outcome
        if not isinstance(facts, NodeFacts):
            raise UserError(f"a look at a node of the cluster failed: {ended[0].message}; see {probe.log}")
        if facts.torch != here:
            raise UserError(
                f"PyTorch is {facts.torch} on {facts.node} and {here} here; start the sweep from an environment that all "
                "nodes share"
            )
        self._remembered["nodes"] = {asked: asdict(facts)}
        self._write()
        console.print(
            f"slurm: {facts.node} has {facts.device}, {facts.cores} cores a job; precision auto there: "
            + ", ".join(f"{name} {precision}" for name, precision in facts.precision.items()),
            markup=False,
        )
        return facts

    # Submitting

    def _flags(self) -> dict[str, Any]:
        """What a job asks for, as options of sbatch."""
        o = self.options
        asked = {
            "partition": o.partition, "time": self.time_min, "cpus-per-task": o.cpus, "nodes": 1,
            "gpus-per-node": o.gpus or None, "mem": None if o.mem_gb is None else f"{round(o.mem_gb * 1024)}M",
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value is not None} | self.more

    def _parameters(self, name: str) -> dict[str, Any]:
        """The same as submitit takes it."""
        flags = self._flags()
        own = {
            key.replace("-", "_"): flags.pop(key) for key in ("partition", "time", "cpus-per-task", "nodes") if key in flags
        }
        lines = [f"export {of}={self.options.cpus}" for of in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")]
        if (root := _not_installed()) is not None:
            lines.append(f'export PYTHONPATH={_quoted(root)}"${{PYTHONPATH:+:$PYTHONPATH}}"')
        return {
            **own,
            "job_name": name,
            "array_parallelism": self.options.array_parallelism,
            "signal_delay_s": self._warned_s,
            "setup": lines,
            "stderr_to_stdout": True,
            # srun doesn't take the number over from sbatch since Slurm 22.05, and would pin all threads to one core.
            "srun_args": [f"--cpus-per-task={self.options.cpus}"],
            "wckey": None,  # submitit's own isn't known to clusters that check them
            "additional_parameters": {**flags, "requeue": True},
        }

    @property
    def _warned_s(self) -> int:
        return min(WARNED_S, self.time_min * 60 // 2)

    def _submit(self, shares: Sequence[Sequence[Ordered]], work: Work) -> None:
        """Put elements into the queue as one array, written down before and after: a kill between the two leaves a name to
        look for."""
        import submitit

        token = secrets.token_hex(4)
        name = f"domaingap-{re.sub(r'[^A-Za-z0-9_.-]+', '-', self.folder.name)[:32]}-{token}"
        place = self.folder / FILES / token
        entry: dict[str, Any] = {"name": name, "folder": token, "jobs": None}
        entry["keys"] = [[order.key for order in share] for share in shares]
        self._remembered["submissions"].append(entry)
        try:
            place.mkdir(parents=True, exist_ok=True)
            self._write()
            limit_s = float(self.time_min * 60 - self._warned_s)
            elements = [Element([*of], work, heard_file(place, of[0].key), self.options.cpus, limit_s) for of in shares]
            executor = submitit.SlurmExecutor(place, max_num_timeout=1_000_000)  # elements give up by themselves
            executor.update_parameters(**self._parameters(name))
            jobs = self._patiently(name, lambda: executor.submit_array(elements))
            entry["jobs"] = [job.job_id for job in jobs]
            self._write()
        except OSError as error:
            raise StorageError(trouble(error, "can't be written", "--runs_dir", place)) from error
        for share, job in zip(shares, entry["jobs"], strict=True):
            self._live[job] = Job({order.key: order for order in share}, job, name, place)
        self._asked = time.monotonic() - self._asked_every_s + min(2.0, self._asked_every_s)
        where = f" on partition {self.options.partition}" if self.options.partition else ""
        first = str(entry["jobs"][0]).partition("_")[0]
        what = f"job {first}" if len(shares) == 1 else f"job array {first} of {len(shares)}"
        console.print(f"slurm: {what}{where}", markup=False)

    def _patiently(self, name: str, submit: Any) -> Any:
        """Submit, again where Slurm's controller doesn't answer for the moment."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        for wait in (*TRIES_S, None):
            try:
                # submitit prints what sbatch says.
                with slurm.outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()):
                    return submit()
            except (FailedJobError, FailedSubmissionError) as error:
                said = slurm.in_one_line(str(error)) or "for no reason that it gives"
                if wait is None or not re.search(r"[Uu]nable to contact|[Tt]imed out|temporarily", said):
                    fewer = "; --jobs N keeps fewer in the queue" if re.search(r"[Ll]imit", said) else ""
                    raise UserError(f"sbatch refuses the jobs: {said}{fewer}") from error
                console.print(f"slurm: {said}; trying again in {wait:.0f} s", markup=False)
                time.sleep(wait)
                self._cancel_by_name([name])  # it may have been heard all the same
        raise AssertionError

    # Hearing

    def _results(self) -> list[Event]:
        """What has ended, or has told how far it is, by its files."""
        happened = []
        present = {place: names_in(place) for place in {job.place for job in self._live.values()}}
        for job in list(self._live.values()):
            if job.result.name in present[job.place]:
                happened += self._end(job, results_of(job))
            elif job.progress.name in present[job.place] and (event := progress_of(job)) is not None:
                happened.append(event)
        return happened

    def _states(self) -> list[Event]:
        """What has ended without a result, or will never begin, as Slurm has it."""
        self._asked = time.monotonic()
        try:
            seen = slurm.queue()
        except NoAnswer as error:
            if not self._silent:
                console.print(f"slurm: {error}; asked again until it answers", markup=False)
            self._silent = True
            return []
        self._silent = False
        happened = []
        for job in list(self._live.values()):
            events = self._judge(job, seen.get(job.id))
            happened += self._end(job, events) if events and events[0].kind == "failed" else events
        if self._live and self._asked - self._told > TOLD_EVERY_S and self.waiting != self._said:
            self._told, self._said = self._asked, self.waiting
            console.print(f"slurm: {self.waiting}", markup=False)
        return happened

    def _judge(self, job: Job, seen: Seen | None) -> list[Event]:
        """What a job's state comes to."""
        if seen is not None and seen.name != job.name:
            seen = None  # numbers begin again where a cluster was set up anew
        job.node = (seen.node if seen is not None else "") or job.node
        if seen is not None and seen.state in ALIVE:
            before, job.state, job.ended = job.state, seen.state, None
            if seen.state in WAITING and any(seen.reason.startswith(reason) for reason in NEVER):
                with contextlib.suppress(NoAnswer):
                    slurm.cancel([job.id])
                return job.failed(f"Slurm will never start job {job.id}: {seen.reason}")
            if seen.state in WAITING and before not in ("", *WAITING):
                message = f"job {job.id} is back in Slurm's queue; it goes on where it was"
                return [Event(key, "lost", message=message) for key in job.orders]
            return []
        now = time.monotonic()
        job.state = seen.state if seen is not None else job.state
        if job.ended is None:
            job.ended = now
        if now - job.ended < self._grace_s or job.result.exists():
            return []
        return job.failed(lost_words(job, seen))

    def _end(self, job: Job, events: list[Event]) -> list[Event]:
        """Forget a job that has ended with these."""
        del self._live[job.id]
        for event in events:
            if event.kind == "failed":
                add_to_log(job.printed, job.orders[event.key].log)
        if not any(other.place == job.place for other in (*self._live.values(), *self._found.values())):
            submissions = self._remembered["submissions"]
            self._remembered["submissions"] = [s for s in submissions if s["name"] != job.name]
            self._write()
            shutil.rmtree(job.place, ignore_errors=True)
        return events

    # Remembering

    def _alone(self) -> FileLock:
        """The lock that says that this process waits for the folder's jobs."""
        path = self.folder / ".locks" / "slurm.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False)
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.folder}: another sweep with --launcher slurm waits for its jobs there; let it, or end it first"
            ) from None
        except OSError as error:
            raise StorageError(trouble(error, "can't be locked", "--runs_dir", path)) from error
        return lock

    def _read(self) -> dict[str, Any]:
        path = self.folder / REMEMBERED
        if not path.is_file():
            return {"schema": 1, "submissions": [], "nodes": {}}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            for entry in content["submissions"]:
                jobs, keys = entry["jobs"], entry["keys"]
                texts = [entry["name"], entry["folder"], *(key for share in keys for key in share), *(jobs or [])]
                if not all(isinstance(text, str) for text in texts) or not re.fullmatch(r"[0-9a-f]{8}", entry["folder"]):
                    raise ValueError("submissions")
                if jobs is not None and len(jobs) != len(keys):
                    raise ValueError("jobs")
            if content["schema"] != 1 or not isinstance(content["nodes"], dict):
                raise ValueError("schema")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path}: damaged ({error}); look with 'squeue --me' whether jobs of this sweep are left, cancel them, and "
                "delete the file"
            ) from error
        return dict(content)

    def _write(self) -> None:
        try:
            write_json(self.folder / REMEMBERED, self._remembered)
        except OSError as error:
            raise StorageError(trouble(error, "can't be written", "--runs_dir")) from error

    def _forget(self, but: Collection[str]) -> None:
        """Nothing is under way any more but some arrays, by name."""
        before = self._remembered["submissions"]
        self._remembered["submissions"] = [entry for entry in before if entry["name"] in but]
        for entry in before:
            if entry["name"] not in but:
                shutil.rmtree(self.folder / FILES / entry["folder"], ignore_errors=True)
        if before:
            with contextlib.suppress(StorageError):
                self._write()
        with contextlib.suppress(OSError):
            (self.folder / FILES).rmdir()

    def _still_there(self) -> dict[str, Job]:
        """The jobs that an earlier call has left in Slurm's queue, by key; what has ended since is forgotten, and found by
        its results in the folder of runs."""
        if not self._remembered["submissions"]:
            return {}
        try:
            seen = slurm.queue()
        except NoAnswer as error:
            raise UserError(
                f"--launcher slurm: {error}, and jobs of an earlier call may be in its queue; try again later"
            ) from error
        found: dict[str, Job] = {}
        kept, short = [], []
        for entry in self._remembered["submissions"]:
            if entry["jobs"] is None:
                # Killed while it submitted: whether its files are whole isn't known.
                self._cancel_by_name([entry["name"]])
            place = self.folder / FILES / entry["folder"]
            before = len(found)
            for keys, job in zip(entry["keys"], entry["jobs"] or [], strict=False):
                there = seen.get(job)
                if there is None or there.name != entry["name"] or there.state not in ALIVE:
                    continue
                if len(keys) > 1 or keys[0] == "probe" or keys[0] in found:
                    short.append(job)  # it is asked for anew
                elif there.state != "COMPLETING":  # that one has ended, or is being cancelled
                    orders: dict[str, Ordered] = {keys[0]: Unknown(keys[0], self.folder)}
                    found[keys[0]] = Job(orders, job, entry["name"], place, there.state, there.node)
            if len(found) > before:
                kept.append(entry)
            else:
                shutil.rmtree(place, ignore_errors=True)
        self._cancel(short)
        self._remembered["submissions"] = kept
        self._write()
        if found:
            running = sum(job.state not in WAITING for job in found.values())
            console.print(
                f"slurm: {len(found)} jobs of an earlier call are still there, {running} running and {len(found) - running} "
                "waiting; they go on and aren't submitted again",
                markup=False,
            )
        return found

    def _cancel_by_name(self, names: Collection[str]) -> None:
        with contextlib.suppress(NoAnswer):
            self._cancel([job for job, seen in slurm.queue().items() if seen.name in names and seen.state in ALIVE])

    def _cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs and wait until they have ended."""
        if not jobs:
            return
        try:
            slurm.cancel(jobs)
            until = time.monotonic() + PATIENCE_S
            while time.monotonic() < until:
                seen = slurm.queue()
                if not any(job in seen and seen[job].state in ALIVE for job in jobs):
                    return
                time.sleep(1.0)
        except NoAnswer as error:
            arrays = " ".join(dict.fromkeys(job.partition("_")[0] for job in jobs))
            console.print(f"slurm: {error}; cancel the jobs yourself: scancel {arrays}", markup=False)


def _not_installed() -> str | None:
    """Where this code is, unless that is where Python looks anyway."""
    root = Path(domaingap.__file__).resolve().parents[1]
    return None if root.is_relative_to(Path(sys.prefix).resolve()) else str(root)


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
