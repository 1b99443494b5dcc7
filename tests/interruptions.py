"""A sweep that is interrupted, at seeded moments, at chosen calls and by a full disk, and must end as if it hadn't been.

``python -m tests.interruptions`` runs 25 kills at seeded random moments, 25 at calls drawn from all that the undisturbed
sweep makes (before, in the middle of and after a write, fsync, rename, lock, or hand-over between stages), and a disk that
is full at several files; a line each and a summary at the end. After half of the kills the disk loses what wasn't written
through to it, as after a power cut. The tests run a short form.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.process
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from domaingap.hashing import read_lines
from domaingap.store import file_digest
from tests import interruptions_watch
from tests.conftest import write_300w, write_face_synthetics
from tests.interruptions_watch import PAGE, VARIABLE, pages

# A server that has imported what takes seconds, and forks a process for each command.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["domaingap.study.run", "experiments.commands.report", "experiments.commands.sweep"])

GRIDS: dict[str, list[dict[str, Any]]] = {
    "whole": [
        {"recipe": ["label_adaptation", "mixing", "fine_tuning", "real_only"], "seed": [0, 1], "n_real": [5, 9]}
        | {"alpha": [0.25, 0.75], "fit.steps": [40], "finetune.steps": [15], "real.n_val": [6]},
        # Validates on other faces: shares the synthetic network all the same.
        {"recipe": ["label_adaptation"], "seed": [0], "n_real": [9], "real.n_val": [5], "fit.steps": [40]},
    ],
    "short": [
        {"recipe": ["mixing", "fine_tuning"], "seed": [0], "n_real": [9], "alpha": [0.25, 0.75], "fit.steps": [14]}
        | {"finetune.steps": [8], "real.n_val": [6]},
    ],
    "tiny": [{"recipe": ["label_adaptation"], "seed": [0], "n_real": [9], "fit.steps": [6], "real.n_val": [6]}],
}
"""Sweeps whose runs share stages, about 30 seconds on one core; and two for the tests."""
OPTIONS = [
    "--crop.size=32", "--crop.box=landmarks", "--model.backbone=test_resnet", "--fit.val_every=5", "--fit.batch_size=8",
    "--fit.precision=32", "--fit.schedule=one_cycle", "--fit.ema=0.9", "--adapter.epochs=40",
    "--wandb.mode=off",
]  # fmt: skip
PATIENCE_S = 300.0
"""For one command; and a tenth of it for processes whose parent was killed."""


def call(arguments: list[str], log: str, said: str, workers: str) -> None:
    """A command in a process group of its own, which writes to a file."""
    os.setsid()
    os.environ |= {"WANDB_MODE": "disabled", VARIABLE: said, "PYTHONPATH": workers}
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (os.dup(1), os.dup(2)))
    from experiments.__main__ import main

    if (watch := interruptions_watch.from_environment()) is not None:
        _watch_program(watch)
    main(arguments)


def _watch_program(watch: interruptions_watch.Watch) -> None:
    """Count what the program hands over from stage to stage as well."""
    from domaingap.data import prepare
    from domaingap.stages import StageStore
    from domaingap.store import Store
    from domaingap.study.run import Run
    from domaingap.training import _Keeper

    def wrap(kind: type, name: str, what: str) -> None:
        original = getattr(kind, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            return watch.around(what, name, lambda: original(*arguments, **options))

        setattr(kind, name, wrapped)

    for kind, name, what in (
        (Run, "train", "stage"), (Run, "fit_adapter", "stage"), (Run, "_finish", "answer"), (Run, "_write", "result"),
        (Run, "_score_tests", "tests"), (StageStore, "fit", "network"), (Store, "_finish", "entry"),
        (_Keeper, "on_train_epoch_end", "validation"), (_Keeper, "on_train_start", "training"),
    ):  # fmt: skip
        wrap(kind, name, what)
    wrap(prepare, "_prepare_rows", "rows")  # type: ignore[arg-type]


_starting = threading.Lock()


@dataclass
class Sweep:
    """One sweep in a folder of its own, and the commands that were given for it.

    Attributes:
        data: the tiny data sets.
        root: its folder.
        grid: one of GRIDS.
        jobs: processes.
        codes: exit codes so far.
    """

    data: Path
    root: Path
    grid: str = "whole"
    jobs: int = 1
    place: Path | None = None
    codes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events.mkdir(parents=True)
        (self.root / "workers").mkdir()
        (self.root / "workers" / "sitecustomize.py").write_text(
            f"import sys\nsys.path.insert(0, {str(Path(interruptions_watch.__file__).parent)!r})\n"
            "import interruptions_watch\ninterruptions_watch.from_environment()\nsys.path.pop(0)\n"
        )
        documents = [
            {"method": "grid", "parameters": {key: {"values": values} for key, values in document.items()}}
            for document in GRIDS[self.grid]
        ]
        self.file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        self.work.mkdir(exist_ok=True)

    @property
    def work(self) -> Path:
        """Where prepared parts and runs go: what is watched."""
        return self.place if self.place is not None else self.root / "work"

    @property
    def events(self) -> Path:
        """Logs of what each process did."""
        return self.root / "events"

    @property
    def file(self) -> Path:
        """The sweep's YAML file."""
        return self.root / "sweep.yaml"

    def log(self, number: int) -> str:
        """What a command said; its standard output and error."""
        path = self.root / f"log-{number}.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, **watch: Any) -> Any:
        """Give the command; see :func:`interruptions_watch.watch`."""
        arguments = ["sweep", str(self.file), f"--data_root={self.data}", f"--prepared_dir={self.work / 'prepared'}"]
        arguments += [f"--runs_dir={self.work / 'runs'}", *OPTIONS, f"--jobs={self.jobs}"]
        said = json.dumps({"root": str(self.work), "log": str(self.events), **watch})
        log = str(self.root / f"log-{len(self.codes)}.txt")
        process = CONTEXT.Process(target=call, args=(arguments, log, said, str(self.root / "workers")))
        with _starting:
            process.start()
            # Or a start in another thread would ask for its exit code, which is told once.
            vars(multiprocessing.process)["_children"].discard(process)
        return process

    def end(self, process: Any, codes: Sequence[int] = (0,)) -> int:
        """Wait for a command; it must end with one of the codes, and leave no process behind."""
        number = len(self.codes)
        process.join(PATIENCE_S)
        assert process.exitcode is not None, f"{self.root}: still running\n{self.log(number)}"
        deadline = time.monotonic() + PATIENCE_S / 10
        while left := _group(process.pid):
            assert time.monotonic() < deadline, f"{self.root}: {left} are still running\n{self.log(number)}"
            time.sleep(0.05)
        self.codes.append(process.exitcode)
        log = self.log(number)
        assert process.exitcode in codes, f"{self.root}: exit code {process.exitcode}\n{log}"
        assert "Traceback" not in log and "mistake of ours" not in log, f"{self.root}:\n{log}"
        return int(process.exitcode)

    def happened(self) -> list[list[Any]]:
        """What all processes logged, in order of time."""
        events = []
        for path in self.events.iterdir():
            for line in path.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError):  # cut off by the kill
                    events.append(json.loads(line))
        return sorted(events, key=lambda event: float(event[0]))

    def others(self, pid: int) -> bool:
        """Whether a process beside the command's own has done anything."""
        return any(path.stat().st_size for path in self.events.iterdir() if not path.name.startswith(f"{pid}-"))

    def made(self) -> Counter[str]:
        """How often files took their place, by path: validations are those of ``resume.ckpt``."""
        work = f"{self.work}{os.sep}"
        return Counter(event[3].removeprefix(work) for event in self.happened() if event[1] == "rename")


def _group(leader: int) -> list[int]:
    """The processes of a group that haven't ended."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, group = (path / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == leader and state != "Z":
                    found.append(int(path.name))
    return found


# What is left


def results(work: Path) -> dict[str, Any]:
    """Everything that must not depend on what happened, by path below the folder; and nothing else may lie there."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        name = str(path.relative_to(work))
        if ".locks" in path.parts or name.startswith("runs/logs/"):
            continue
        if any(part[0] == "." and (path.parents[i] / "manifest.json").exists() for i, part in enumerate(path.parts[:0:-1])):
            continue  # killed between an entry's manifest and its clearing up; hidden names are no part of it
        if path.suffix == ".json":
            content = json.loads(path.read_text().replace(str(work), "WORK"))
            found[name] = _lasting(content) if path.name in ("result.json", "manifest.json") else content
        elif path.name == "seen.jsonl":
            found[name] = {json.dumps(line) for line in read_lines(path)}
        elif path.suffix == ".yaml":
            found[name] = path.read_text().replace(str(work), "WORK")
        else:
            found[name] = file_digest(path)
    return found


PASSING = {"seconds", "wall_time_s", "reused", "mtime_ns", "git_commit"}
"""What a record says of how long something took, when, who made it, and with what: a checkout may change meanwhile."""


def _lasting(content: Any) -> Any:
    if isinstance(content, dict):
        # A manifest's checksum of itself covers its times, too.
        own = {"sha256"} if "record" in content else set()
        return {key: _lasting(value) for key, value in content.items() if key not in PASSING | own}
    return [_lasting(value) for value in content] if isinstance(content, list) else content


def says_running(work: Path) -> list[str]:
    """Files that say that something is running."""
    texts = (path for path in work.rglob("*") if path.is_file() and path.suffix in (".json", ".jsonl", ".yaml", ".txt"))
    return [str(path) for path in texts if b'running"' in path.read_bytes() or b"status" in path.read_bytes()]


# A power cut


def power_cut(work: Path, events: list[list[Any]], draw: random.Random) -> str:
    """Have the disk lose some of what wasn't written through to it: contents, and new names. Says how much."""
    synced: dict[tuple[int, int], tuple[int, list[int]]] = {}
    moved: dict[str, tuple[str, str]] = {}
    for event in events:
        if event[1] == "sync":
            synced[event[2], event[3]] = (event[4], event[5])
        elif event[1] == "rename" and event[4]:
            moved[event[3]] = (event[2], os.path.dirname(event[3]))
        elif event[1] == "folder":
            moved = {target: (source, folder) for target, (source, folder) in moved.items() if folder != event[2]}
    lost: Counter[str] = Counter()
    for target, (source, _) in moved.items():
        if os.path.exists(target) and draw.random() < 0.5:
            os.rename(target, source)
            lost["names"] += 1
    seen: set[tuple[int, int]] = set()
    for path in sorted(path for path in work.rglob("*") if path.is_file() and ".locks" not in path.parts):
        stat = path.stat()
        key = (stat.st_dev, stat.st_ino)
        if key in seen:
            continue
        seen.add(key)
        size, known = synced.get(key, (0, []))
        data = bytearray(path.read_bytes())
        for i, checksum in enumerate(pages(bytes(data))):
            # A page that was written since may be as it was before: nothing.
            if (i >= len(known) or known[i] != checksum) and draw.random() < 0.5:
                data[i * PAGE : (i + 1) * PAGE] = bytes(len(data[i * PAGE : (i + 1) * PAGE]))
        if len(data) > size and draw.random() < 0.5:
            del data[draw.randint(size, len(data)) :]
        if data != path.read_bytes():
            with open(path, "rb+") as file:
                file.write(data)
                file.truncate()
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            lost["files"] += 1
    return ", ".join(f"{count} {what}" for what, count in lost.items()) or "nothing"


# Interruptions


@dataclass(frozen=True)
class Undisturbed:
    """What the sweep leaves behind alone, how long it took, which calls it made by kind, and how often files were made."""

    found: dict[str, Any]
    table: str
    seconds: float
    calls: Counter[str]
    made: Counter[str]


def table(log: str) -> str:
    """The tables at the end of a sweep, without where its files lie."""
    return "\n".join(line for line in log.splitlines() if "│" in line or "┃" in line or "|" in line)


def undisturbed(data: Path, root: Path, grid: str = "whole") -> Undisturbed:
    """Run the sweep alone."""
    sweep = Sweep(data, root, grid)
    CONTEXT.Process(target=int).start()  # the server's imports don't count
    began = time.monotonic()
    sweep.end(sweep.start())
    seconds = time.monotonic() - began
    events, made = sweep.happened(), sweep.made()
    nothing_more(sweep)
    calls = Counter(event[2] for event in events if event[1] == "call")
    return Undisturbed(results(sweep.work), table(sweep.log(1)), seconds, calls, made)


def nothing_more(sweep: Sweep) -> None:
    """Given once more, the command changes nothing, and says that all is there."""
    before = {path: path.stat().st_mtime_ns for path in sweep.work.rglob("*") if ".locks" not in path.parts}
    count = sum(sweep.made().values())
    sweep.jobs = 1
    sweep.end(sweep.start())
    after = {path: path.stat().st_mtime_ns for path in sweep.work.rglob("*") if ".locks" not in path.parts}
    differing = sorted(str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    differing = [name for name in differing if "/logs" not in name]
    assert not differing and sum(sweep.made().values()) == count, f"{sweep.root}: changed again: {differing}"
    assert " 0 of them now" in sweep.log(len(sweep.codes) - 1), sweep.log(len(sweep.codes) - 1)


def goes_on(sweep: Sweep, alone: Undisturbed, cut: bool = False, times: int = 1) -> str:
    """Give the command again after an interruption, and compare everything with the undisturbed sweep.

    Args:
        sweep: the sweep.
        alone: what it must end with.
        cut: whether a rename that was just made may have been lost as well.
        times: how often it was interrupted.
    """
    assert not (said := says_running(sweep.work)), f"{sweep.root}: {said}"
    sweep.end(sweep.start())
    nothing_more(sweep)
    seen = table(sweep.log(len(sweep.codes) - 1))
    assert seen == alone.table, f"{sweep.root}: another table:\n{seen}\n{alone.table}"
    found = results(sweep.work)
    more, less = sorted(found.keys() - alone.found.keys()), sorted(alone.found.keys() - found.keys())
    assert not more and not less, f"{sweep.root}: {more} too many, {less} missing"
    differing = [name for name in found if found[name] != alone.found[name]]
    assert not differing, f"{sweep.root}: {differing} differ"
    made = sweep.made()
    extra = {name: made[name] - alone.made[name] for name in made.keys() | alone.made.keys()}
    for end, most in (("resume.ckpt", cut * times), ("manifest.json", cut * times), ("result.json", 2 * times)):
        # A run whose test sets are scored when its α is picked writes its result twice, and may be at that once more.
        more_than = {name: n for name, n in extra.items() if name.endswith(end) and n > most}
        assert not more_than, f"{sweep.root}: made again: {more_than}"
    validations = sum(event[1:3] == ["call", "validation"] for event in sweep.happened())
    again = max(0, validations - alone.calls["validation"])
    assert again <= (1 + cut) * times, f"{sweep.root}: {again} validations again"
    logs = "".join(sweep.log(number) for number in range(len(sweep.codes)))
    damaged = logs.count("damaged")
    assert cut or not damaged, f"{sweep.root}: {logs}"
    return f"{again} validation{'s' * (again != 1)} again" + (f", {damaged} damaged and made again" if damaged else "")


def at_a_moment(seed: str, sweep: Sweep, alone: Undisturbed, victim: str = "all", cut: bool = False, times: int = 1) -> str:
    """A kill of all processes, of the first alone, or of one of its workers, at a seeded moment, and another one when it
    goes on; says what happened."""
    draw, what = random.Random(seed), []
    for _ in range(times):
        process = sweep.start()
        moment = draw.uniform(0.01, 0.97) * alone.seconds / times
        if sweep.jobs > 1:
            while process.exitcode is None and not sweep.others(process.pid):  # they import for seconds
                time.sleep(0.05)
        process.join(moment)
        late = process.exitcode is not None
        if not late:
            with contextlib.suppress(ProcessLookupError):
                if victim == "all":
                    os.killpg(process.pid, signal.SIGKILL)
                elif victim == "parent":
                    os.kill(process.pid, signal.SIGKILL)
                else:
                    workers = [pid for pid in _group(process.pid) if pid != process.pid and _is_worker(pid)]
                    os.kill(draw.choice(workers) if workers else process.pid, signal.SIGKILL)
        sweep.end(process, (0, 1, -9) if victim == "worker" else (0, -9) if late else (-9,))
        what.append(f"{victim} killed after {moment:.1f} s" + (" (it was done)" if late else ""))
        if cut:
            what[-1] += f", power cut lost {power_cut(sweep.work, sweep.happened(), draw)}"
    return f"{', then '.join(what)}; {goes_on(sweep, alone, cut, times)}"


def _is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def at_a_point(seed: str, sweep: Sweep, alone: Undisturbed, number: int, cut: bool = False) -> str:
    """A kill before, in the middle of or after a call; kinds take turns by ``number``. Says what happened."""
    draw = random.Random(seed)
    kinds = sorted(alone.calls if sweep.jobs == 1 else alone.calls.keys() & SYSTEM)
    kind = kinds[number % len(kinds)]
    when = ["before", "after", *(["half"] if kind in ("write", "pwrite") else [])]
    # Of several processes it is the first that makes as many calls.
    at = {"kind": kind, "count": draw.randint(1, -(-alone.calls[kind] // (2 * sweep.jobs - 1))), "when": draw.choice(when)}
    code = sweep.end(sweep.start(at=at), (-9,) if sweep.jobs == 1 else (-9, 0))
    events = sweep.happened()
    name = next((event[2] for event in events if event[1] == "end"), "")
    lost = power_cut(sweep.work, events, draw) if cut else ""
    what = f"killed {at['when'].replace('half', 'amid')} {kind} {at['count']} of {alone.calls[kind]} ({name})"
    if code == 0:
        what += " (it was done)"
    return f"{what}{f', power cut lost {lost}' if cut else ''}; {goes_on(sweep, alone, cut)}"


SYSTEM = {"allocate", "fsync", "link", "lock", "open", "pwrite", "remove", "rename", "unlock", "write"}
"""Kinds of calls that are counted in processes of any start."""


# Full disks


class NoDisk(Exception):
    """Nothing can be mounted here."""


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of its own; NoDisk where nothing can be mounted."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        raise NoDisk("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def full_at(name: str, count: int, data: Path, root: Path, alone: Undisturbed, grid: str = "whole", jobs: int = 1) -> str:
    """A disk that has no room when a file is written for the ``count``-th time; room is made, and the sweep goes on."""
    with small_disk(root / "disk", "60m"):
        sweep = Sweep(data, root, grid, jobs, root / "disk" / "work")
        sweep.end(sweep.start(full={"name": name, "count": count, "ballast": str(root / "disk" / "ballast")}), (0, 2))
        where = [event[2] for event in sweep.happened() if event[1] == "full"]
        assert where, f"{name} was not written {count} times"
        said = _full_line(sweep) if sweep.codes[0] else "ended all the same"
        (root / "disk" / "ballast").unlink()
        return f"disk full at {where[0]}: {said}; {goes_on(sweep, alone)}"


def full_disk(size: int, data: Path, root: Path, alone: Undisturbed, grid: str = "whole") -> str:
    """A disk of so many kB; then a larger one."""
    with small_disk(root / "disk", f"{size}k"):
        sweep = Sweep(data, root, grid, 1, root / "disk" / "work")
        sweep.end(sweep.start(), (2,))
        said = _full_line(sweep)
        subprocess.run(["mount", "-o", "remount,size=100m", str(root / "disk")], check=True)
        return f"disk of {size} kB: {said}; {goes_on(sweep, alone)}"


def _full_line(sweep: Sweep) -> str:
    """What the sweep said at its end: one line that names a file, what to do, and nothing else."""
    lines = sweep.log(0).splitlines()
    ours = [line for line in lines if line.startswith("domaingap: ")]
    assert len(ours) == 1 and lines[-1] == ours[0] and "No space left on device" in ours[0], sweep.log(0)
    assert "make room there" in ours[0] or "choose another" in ours[0], sweep.log(0)
    left = [str(path) for path in sweep.work.rglob("*.tmp")]
    assert not left, f"{sweep.root}: takes room on the full disk: {left}"
    return ours[0].removeprefix(f"domaingap: {sweep.work}/").partition(";")[0]


FILES = {
    "crops.npy": 2, "rows.jsonl": 40, "index.npz": 2, "seen.jsonl": 2, ".resume.ckpt": 9, ".best-": 4, ".last.ckpt": 3,
    ".manifest.json": 6, ".labels.ckpt": 1, ".predictions.npz": 3, ".result.json": 5, ".config.yaml": 2,
    ".val_faces.png": 1, ".done.json": 4, ".watched-": 3,
}  # fmt: skip
"""Files at whose writing the disk is full, and the how many-th one it is."""


def main() -> None:
    """Interrupt, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="at seeded moments")
    parser.add_argument("--points", type=int, default=25, help="at calls")
    parser.add_argument("--disks", type=int, default=len(FILES) + 3, help="full disks")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="seed of the first")
    parser.add_argument("--jobs2", type=int, default=4, help="every so many-th sweep has two worker processes; 0 is none")
    parser.add_argument("--grid", choices=list(GRIDS), default="whole")
    parser.add_argument("--at_once", type=int, default=2, help="sweeps at once, one thread each")
    parser.add_argument("--keep", type=Path, help="a folder in which what differs is kept")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    began, seeds = time.monotonic(), range(options.first, options.first + max(options.kills, options.points))
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interruptions-")))
        data = root / "data"
        write_300w(data / "300w")
        write_face_synthetics(data / "face_synthetics")
        alone = undisturbed(data, root / "alone", options.grid)
        calls = ", ".join(f"{kind} {n}" for kind, n in sorted(alone.calls.items()))
        print(f"undisturbed: {alone.seconds:.0f} s, {len(alone.found)} files; calls: {calls}", flush=True)
        short = (
            undisturbed(data, root / "short", "short") if options.disks else alone
        )  # a disk is full as soon in a small one
        tasks: list[tuple[str, str, Any]] = []
        for i, seed in enumerate(seeds):
            jobs = 2 if options.jobs2 and i % options.jobs2 == options.jobs2 - 1 else 1
            if i < options.kills:
                victim = ("worker", "all", "parent")[i // options.jobs2 % 3] if jobs > 1 else "all"
                tasks.append(("kills", f"kill {seed}", (at_a_moment, jobs, victim, i % 2 == 1, 1 + (i % 6 == 5))))
            if i < options.points:
                tasks.append(("points", f"point {seed}", (at_a_point, jobs, seed, i % 2 == 0)))
        for i, (name, count) in enumerate(list(FILES.items())[: options.disks]):
            jobs = 2 if options.jobs2 and i % options.jobs2 == options.jobs2 - 1 else 1
            # Of several processes each counts for itself.
            tasks.append(("disks", f"full at {name}", (full_at, jobs, name, -(-count // (2 * jobs - 1)))))
        for part in (0.1, 0.4, 0.8)[: max(0, options.disks - len(FILES))]:
            tasks.append(("disks", f"full at {part:.0%}", (full_disk, 1, part)))
        size = sum(path.stat().st_blocks // 2 for path in (root / "short" / "work").rglob("*") if path.stat().st_nlink == 1)

        def do(task: tuple[str, str, Any]) -> tuple[str, bool | None]:
            kind, title, (function, *about) = task
            place, start = root / title.replace(" ", "-"), time.monotonic()
            try:
                jobs, *rest = about
                if function is full_disk:
                    line = full_disk(int(size * rest[0]), data, place, short, "short")
                elif function is full_at:
                    line = full_at(*rest, data, place, short, "short", jobs)
                else:
                    line = function(title, Sweep(data, place, options.grid, jobs), alone, *rest)
                line = f"{jobs} jobs, {line}" if jobs > 1 else line
                print(f"{title}: {line}; identical ({time.monotonic() - start:.0f} s)", flush=True)
            except NoDisk as error:
                print(f"{title}: skipped: {error}", flush=True)
                return kind, None
            except Exception as error:
                print(f"{title}: NOT IDENTICAL: {type(error).__name__}: {str(error)[:4000]}", flush=True)
                if options.keep is not None and place.exists():
                    shutil.copytree(place, options.keep / place.name, dirs_exist_ok=True, symlinks=True)
                return kind, False
            finally:
                shutil.rmtree(place, ignore_errors=True)
            return kind, True

        with ThreadPoolExecutor(options.at_once) as pool:
            done = list(pool.map(do, tasks))
        for kind in ("kills", "points", "disks"):
            here = [right for of, right in done if of == kind and right is not None]
            skipped = sum(of == kind and right is None for of, right in done)
            print(f"{kind}: {sum(here)} of {len(here)} identical to the undisturbed sweep; {skipped} skipped")
        print(f"{(time.monotonic() - began) / 60:.1f} min")
    sys.exit(1 if any(right is False for _, right in done) else 0)


if __name__ == "__main__":
    main()
