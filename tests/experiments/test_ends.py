"""How commands end: by a signal, with streams that nobody reads, on a full disk, with a process killed under them."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiments.__main__ as program
from domaingap.arrays import Rows, empty_array
from domaingap.errors import StorageError
from domaingap.hashing import append_line, write_archive, write_atomically
from domaingap.store import Store
from experiments.process import Terminated
from tests.conftest import Answer
from tests.stress_stores import CONTEXT

ROOT = Path(__file__).parents[2]


def work(arguments: list[str], out: str, err: str, limit: int | None = None, ignored: tuple[int, ...] = ()) -> None:
    """A command in a process of its own; streams go to files by name, ``-`` closes one."""
    os.environ["WANDB_MODE"] = "disabled"
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    for number, name in ((1, out), (2, err)):
        if name == "-":
            os.close(number)
            setattr(sys, ("stdout", "stderr")[number - 1], None)
            continue
        opened = int(name) if name.isdigit() else os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        setattr(sys, ("stdout", "stderr")[number - 1], os.fdopen(number, "w", encoding="utf-8", closefd=False))
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    program.main(arguments)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a command; it ends with the test."""
    started = []

    def call(arguments: list[str], out: object = None, err: object = None, **options: Any) -> Any:
        streams = str(out or tmp_path / "out.txt"), str(err or tmp_path / "err.txt")
        process = CONTEXT.Process(target=work, args=(list(map(str, arguments)), *streams), kwargs=options)
        process.start()
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.join()


def until(happened: Callable[[], object], process: Any = None, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end and (process is None or process.exitcode is None), "it never came so far"
        time.sleep(0.02)


def ended(process: Any, seconds: float = 60) -> int:
    process.join(seconds)
    assert process.exitcode is not None, "still running"
    return int(process.exitcode)


def said(tmp_path: Path) -> str:
    text = (tmp_path / "err.txt").read_text()
    assert "Traceback" not in text and "mistake of ours" not in text, text
    return text


def figures(runs: Path) -> dict[str, Any]:
    (path,) = runs.glob("*/result.json")
    return dict(json.loads(path.read_text())["metrics"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_training(
    start: Callable[..., Any], quick: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    """One line, 128 + signal, and the same figures when given again."""
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored, as nohup has it, and so by commands that tests start")
    options = ["run", "real_only", *quick, "--fit.steps=60", "--fit.val_every=4"]
    process = start(options)
    until(lambda: (tmp_path / "err.txt").exists() and "step 12/" in (tmp_path / "err.txt").read_text(), process)
    began = time.monotonic()
    os.kill(process.pid, number)
    assert ended(process) == 128 + number and time.monotonic() - began < 10
    line = f"domaingap: terminated ({number.name}); give the same command again to go on"
    assert said(tmp_path).splitlines()[-1] == line and said(tmp_path).count("domaingap:") == 1
    assert not list((tmp_path / "runs").glob("*/result.json"))
    if number == signal.SIGHUP:
        return  # ends in the same way
    assert ended(start(options)) == 0 and "going on from its last checkpoint" in said(tmp_path)
    assert ended(start([*options, f"--runs_dir={tmp_path / 'undisturbed'}"])) == 0
    assert figures(tmp_path / "runs") == figures(tmp_path / "undisturbed")


def test_a_hangup_that_the_parent_ignores_is_ignored(start: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    process = start(["run", "real_only", *quick, "--fit.steps=40", "--fit.val_every=4"], ignored=(signal.SIGHUP,))
    until(lambda: (tmp_path / "err.txt").exists() and "step 8/" in (tmp_path / "err.txt").read_text(), process)
    os.kill(process.pid, signal.SIGHUP)
    assert ended(process) == 0 and figures(tmp_path / "runs")


def test_a_signal_that_a_library_swallows_ends_the_process_all_the_same() -> None:
    code = """
import os, signal, time
import experiments.process as process
process.PATIENCE_S = 0.5
with process.ends_on_signals():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    except BaseException:
        pass
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, timeout=30)
    assert done.returncode == 143, done
    assert done.stderr == "domaingap: terminated (SIGTERM); give the same command again to go on\n"


def children(pid: int) -> list[int]:
    """The processes of its pool."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in found if "spawn_main" in Path(f"/proc/{p}/cmdline").read_text()]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for children in /proc")
@pytest.mark.parametrize("what", ["SIGTERM", "SIGKILL of a child"])
def test_a_pool_ends_with_its_command_and_says_why(start: Callable[..., Any], tmp_path: Path, what: str) -> None:
    out = tmp_path / "faces"
    process = start(["data", "generate", "--n", "3000", "--size", "64", "--workers", "2", "--out", out])
    until(lambda: len(list(out.glob("*_face.npz"))) > 4, process, 120)
    pool = children(process.pid)
    assert len(pool) == 2
    began = time.monotonic()
    os.kill(process.pid if what == "SIGTERM" else pool[0], signal.SIGTERM if what == "SIGTERM" else signal.SIGKILL)
    assert ended(process) == (143 if what == "SIGTERM" else 2) and time.monotonic() - began < 10
    until(lambda: not any(alive(pid) for pid in pool), seconds=10)
    (line,) = said(tmp_path).splitlines()
    assert line.startswith("domaingap: ") and "give the same command again to go on" in line
    assert ("terminated (SIGTERM)" if what == "SIGTERM" else "killed (SIGKILL), probably for lack of memory") in line
    there = len(list(out.glob("*_face.npz")))
    assert ended(start(["data", "generate", "--n", there, "--size", "64", "--workers", "1", "--out", out])) == 2
    assert "holds 3000 such faces" in said(tmp_path), "the folder still says what it is to become"


@pytest.mark.parametrize("streams", ["closed", "full", "no reader"])
def test_streams_that_nobody_reads_do_not_end_a_training(
    start: Callable[..., Any], quick: list[str], tmp_path: Path, streams: str
) -> None:
    name = {"closed": "-", "full": "/dev/full"}.get(streams)
    if name is None:
        name = str(tmp_path / "pipe")
        os.mkfifo(name)
        reader = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        process = start(["run", "real_only", *quick], name, name)
        until(lambda: _read(reader), process)
        os.close(reader)
    else:
        process = start(["run", "real_only", *quick], name, name)
    assert ended(process) == 0 and figures(tmp_path / "runs")


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize(
    "broken", ["2>&-", ">&- 2>&- <&-", "2>&1 | head -1; exit ${PIPESTATUS[0]}", "2>/dev/full >/dev/full"]
)
@pytest.mark.slow
def test_streams_as_a_shell_sets_them(quick: list[str], tmp_path: Path, broken: str) -> None:
    command = " ".join([sys.executable, "-m", "experiments", "run", "real_only", *quick, broken])
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0 and figures(tmp_path / "runs")


@pytest.mark.parametrize("width", [0, 1])
@pytest.mark.slow
def test_a_terminal_without_width_and_one_that_vanishes(quick: list[str], tmp_path: Path, width: int) -> None:
    import fcntl
    import pty
    import struct
    import termios

    terminal, inner = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    # A hangup is ignored, as nohup does it.
    command = ["bash", "-c", " ".join(["trap '' HUP; exec", sys.executable, "-m experiments run real_only", *quick])]
    process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, cwd=ROOT, start_new_session=True)
    os.close(inner)
    os.read(terminal, 1)
    os.close(terminal)  # from now on all that is written fails with EIO
    assert process.wait(120) == 0 and figures(tmp_path / "runs")


def test_what_was_to_be_printed_is_not_taken_for_done(tmp_path: Path) -> None:
    """A report into a file on a full disk; but a reader that has seen enough is no failure."""
    code = """
import sys
import experiments.__main__ as program
program.dispatch = lambda arguments: print("a table") or 0
program.main(None)
"""
    for command, stream, expected in (("report", "/dev/full", 2), ("run", "/dev/full", 0), ("report", "/dev/null", 0)):
        with open(stream, "w") as out:
            done = subprocess.run(
                [sys.executable, "-c", code, command], stdout=out, stderr=-1, text=True, check=False, cwd=ROOT
            )
        assert done.returncode == expected
        assert done.stderr == (
            "domaingap: standard output isn't whole (No space left on device); make room there, and give the command again\n"
            if stream == "/dev/full"
            else ""
        )


def test_a_log_on_a_full_disk_does_not_end_what_writes_it() -> None:
    code = """
from pathlib import Path
from domaingap.progress import console
from domaingap.study.launchers.local import logged
with logged(Path("/dev/full")):
    console.print("lost")
    print("lost", flush=True)
print("goes on")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict"])
def test_characters_that_a_stream_lacks_are_escaped(encoding: str) -> None:
    code = """
from domaingap.streams import tolerant_streams
import sys
with tolerant_streams():
    print("α 0.5 █ \\udcff")
    print("α", file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\u03b1 0.5 \\u2588 \\udcff\n", b"\\u03b1\n")


# Disks. A limit on the size of files stands in for a full one where nothing can be mounted: writes fail likewise.


def test_a_full_disk_at_preparation(start: Callable[..., Any], data_root: Path, tmp_path: Path) -> None:
    options = ["data", "prepare", f"--data_root={data_root}", "--source=face_synthetics", "--box=landmarks", "--size=32"]
    options += [f"--prepared_dir={tmp_path / 'prepared'}"]
    assert ended(start(options, limit=20_000)) == 2
    line = said(tmp_path).splitlines()[-1]
    assert "crops.npy: can't be written (File too large); make room there or choose another --prepared_dir" in line
    assert str(tmp_path / "prepared") in line and line.endswith("then give the same command again to go on")
    assert not list(tmp_path.rglob("*.tmp")), "what takes room goes away again"
    assert ended(start(options)) == 0 and "24" in (tmp_path / "out.txt").read_text()


def test_a_full_disk_at_a_checkpoint(start: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    options = ["run", "real_only", *quick, "--fit.steps=20", "--fit.val_every=10"]
    # One network has room, a checkpoint with its optimiser hasn't.
    assert ended(start(options, limit=2_000_000)) == 2
    line = said(tmp_path).splitlines()[-1]
    assert ".ckpt: can't be written (File too large); make room there or choose another --runs_dir" in line
    assert line.startswith("domaingap: ") and said(tmp_path).count("domaingap:") == 1
    assert ended(start(options)) == 0 and figures(tmp_path / "runs")


def test_a_full_disk_when_faces_are_written(start: Callable[..., Any], tmp_path: Path) -> None:
    options = ["data", "generate", "--n", "3", "--size", "96", "--workers", "1", "--out", tmp_path / "faces"]
    assert ended(start(options, limit=8_000)) == 2
    (line,) = said(tmp_path).splitlines()
    assert "can't be written (File too large); make room there or choose another --out" in line and "faces/0000" in line
    assert ended(start(options)) == 0 and len(list((tmp_path / "faces").glob("*_face.npz"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("size", ["100k", "600k", "2m", "7m", "9m"])
def test_a_disk_that_is_really_full(start: Callable[..., Any], quick: list[str], tmp_path: Path, size: str) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    options = ["run", "real_only", *quick, f"--prepared_dir={place / 'prepared'}", f"--runs_dir={place / 'runs'}"]
    try:
        assert ended(start(options)) == 2
        line = said(tmp_path).splitlines()[-1]
        assert line.startswith(f"domaingap: {place}/") and "(No space left on device); make room there or choose" in line
        subprocess.run(["mount", "-o", "remount,size=100m", str(place)], check=True)
        assert ended(start(options)) == 0 and figures(place / "runs")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_room_is_taken_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path) -> None:
        empty_array(path, (50, 100, 100), np.uint8)
        assert path.stat().st_blocks * 512 >= 500_000, "no hole in the file"
        rows = Rows(path)
        rows[49] = np.full((100, 100), 7)
        with pytest.raises(ValueError, match="row 50"):
            rows[50] = np.zeros((100, 100))
        array = np.load(path)
        assert array.shape == (50, 100, 100) and array[49].min() == 7 and array[:49].max() == 0

    fill(tmp_path / "a.npy")

    def lacks(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", lacks)
    fill(tmp_path / "b.npy")
    monkeypatch.delattr(os, "posix_fallocate")
    fill(tmp_path / "c.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes() == (tmp_path / "c.npy").read_bytes()


def test_writing_names_the_file_that_was_meant(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        for write in (
            lambda path: write_atomically(path, "x" * 1000),
            lambda path: write_archive(path, lambda file: np.savez(file, a=np.zeros(1000))),
            lambda path: append_line(path, "x" * 1000),
            lambda path: empty_array(path, (1000,), np.uint8),
        ):
            with pytest.raises(OSError, match="too large") as raised:
                write(tmp_path / "file")
            assert raised.value.filename == str(tmp_path / "file")
            (tmp_path / "file").unlink(missing_ok=True)
            assert not list(tmp_path.iterdir())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_only_the_stores_own_files_are_its_trouble(tmp_path: Path) -> None:
    store = Store(tmp_path, "--prepared_dir")
    with (
        pytest.raises(StorageError, match="no/room: can't be written .* --prepared_dir"),
        store.named(tmp_path / "no" / "room"),
    ):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    with pytest.raises(FileNotFoundError), store.named(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/elsewhere/picture.jpg")
    with pytest.raises(OSError, match="Too many"), store.named(tmp_path):
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), 2, "/a/b: Read-only file system; change its permissions"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a/b"), 2, "/a/b: Disk quota exceeded; make room there"),
        (OSError(errno.EIO, "Input/output error", "/a/b"), 2, "/a/b: Input/output error; look after the disk"),
        (PermissionError(errno.EACCES, "Permission denied", b"/a/b"), 2, "/a/b: Permission denied; change"),
        (OSError(errno.EMFILE, "Too many open files"), 2, "Too many open files; raise the limit"),
        (MemoryError("Unable to allocate 9 GiB"), 2, "out of memory (Unable to allocate 9 GiB); close other programs"),
        (KeyboardInterrupt(), 130, "interrupted; give the same command again to go on"),
        (Terminated(signal.SIGTERM), 143, "terminated (SIGTERM); give the same command again to go on"),
        (KeyError("x"), 1, "KeyError: 'x' - a mistake of ours"),
    ],
)
def test_what_reaches_main_is_a_line(
    cli: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(program, "dispatch", fail)
    answer = cli("run")
    assert answer.code == code and answer.err.startswith(f"domaingap: {line}") and answer.err.count("\n") == 1


def test_a_sweep_stops_at_a_full_disk(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    """The other runs couldn't be written, either: they aren't trained for nothing."""
    from domaingap.study import run

    real, calls = run.execute, []

    def execute(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise StorageError("/a/b: can't be written (No space left on device)")
        return real(*arguments)

    monkeypatch.setattr(run, "execute", execute)
    file = tmp_path / "sweep.yaml"
    file.write_text("method: grid\nparameters:\n  recipe: {value: real_only}\n  seed: {values: [0, 1, 2]}\n")
    answer = cli("sweep", file, *quick)
    assert answer.code == 2 and answer.err.splitlines()[-1] == "domaingap: /a/b: can't be written (No space left on device)"
    assert len(calls) == 2 and figures(tmp_path / "runs")
