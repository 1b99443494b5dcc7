"""What a process does to its disk, written down as it does it, and ended at a chosen point; for :mod:`tests.interruptions`.

Only the standard library is used: it is also put into processes that are started afresh, through ``sitecustomize``.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import json
import os
import pathlib
import shutil
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "DOMAINGAP_TEST_WATCH"
"""Environment variable with what a process is to do, as JSON: :func:`watch`'s arguments."""
PAGE = 4096


def below(path: object, root: str) -> str | None:
    """A path relative to the watched folder; None of others."""
    try:
        text = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
    except TypeError:
        return None
    return text[len(root) + 1 :] if text.startswith(root + os.sep) else None


def pages(data: bytes) -> list[int]:
    """A checksum for each page of a file's content."""
    return [zlib.crc32(data[i : i + PAGE]) for i in range(0, len(data), PAGE)]


class Watch:
    """Counts calls by kind in this process, logs them, and ends the whole process group at one of them."""

    def __init__(self, root: str, log: str, at: dict[str, Any] | None, full: dict[str, Any] | None) -> None:
        self.root, self.at, self.full = root, at, full
        self.counts: Counter[str] = Counter()
        self.log = os.open(os.path.join(log, f"{os.getpid()}-{time.monotonic_ns()}.jsonl"), os.O_WRONLY | os.O_CREAT, 0o600)
        self.write = os.write

    def tell(self, *what: object) -> None:
        """A line in the log: the time, and what happened."""
        self.write(self.log, (json.dumps([time.monotonic(), *what]) + "\n").encode())

    def die(self, name: str) -> None:
        """End this process and all that were started with it, as a power cut would."""
        self.tell("end", name)
        os.killpg(0, signal.SIGKILL)
        time.sleep(60)

    def around(self, kind: str, name: str | None, call: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """Do what a program asked for; count it, where it is about a watched file, and end here where that is wanted."""
        if name is None:
            return call()
        self.counts[kind] += 1
        self.tell("call", kind, name)
        here = self.at is not None and self.at["kind"] == kind and self.at["count"] == self.counts[kind]
        when = self.at["when"] if self.at is not None and here else ""
        if when == "half" and half is not None:
            half()
        if when in ("before", "half"):
            self.die(name)
        done = call()
        if when == "after":
            self.die(name)
        return done

    def fill(self, name: str | None) -> None:
        """Fill the disk where a file of the chosen name is about to be written the ``count``-th time, and from then on."""
        if self.full is None or name is None:
            return
        if self.full["name"] in os.path.basename(name):
            self.counts["full"] += 1
            if self.counts["full"] == self.full["count"]:
                self.tell("full", name)
        if self.counts["full"] < self.full["count"]:
            return
        with self.open(self.full["ballast"], "ab", buffering=0) as file:
            size = 1 << 20
            while size >= 1:
                try:
                    file.write(bytes(size))
                except OSError:
                    size //= 2

    open: Any = staticmethod(builtins.open)


def watch(root: str, log: str, at: dict[str, Any] | None = None, full: dict[str, Any] | None = None) -> Watch:
    """Patch what writes files and takes locks, in this process.

    Args:
        root: the folder that is watched.
        log: the folder for a log of each process.
        at: ``kind`` and ``count`` of the call at which to end, and ``when``: ``before``, ``after`` or, of a write, ``half``.
        full: ``name`` and ``count`` of the file before whose writing the disk is filled, by a file ``ballast``.
    """
    w = Watch(root, log, at, full)
    fsync, flock, pwrite, fallocate = os.fsync, fcntl.flock, os.pwrite, os.posix_fallocate
    original_open, write_bytes = io.open, pathlib.Path.write_bytes

    def name_of(file: Any) -> str | None:
        number = file if isinstance(file, int) else file.fileno()
        try:
            return below(os.readlink(f"/proc/self/fd/{number}"), root)
        except OSError:
            return None

    def sync(file: Any) -> None:
        fsync(file)
        number = file if isinstance(file, int) else file.fileno()
        path, stat = f"/proc/self/fd/{number}", os.fstat(number)
        if os.path.isdir(path):
            w.tell("folder", os.readlink(path))
            return
        with original_open(path, "rb") as again:
            w.tell("sync", stat.st_dev, stat.st_ino, stat.st_size, pages(again.read()))

    def watched_fsync(file: Any) -> None:
        w.around("fsync", name_of(file), lambda: sync(file))

    def watched_flock(file: Any, operation: int) -> None:
        w.around("unlock" if operation == fcntl.LOCK_UN else "lock", name_of(file), lambda: flock(file, operation))

    def moving(kind: str, original: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **options: Any) -> None:
            new = not os.path.lexists(target)

            def call() -> None:
                original(source, target, **options)
                w.tell(kind, os.path.abspath(os.fsdecode(source)), os.path.abspath(os.fsdecode(target)), new)

            w.around(kind, below(target, root), call)

        return move

    def removing(original: Callable[..., None]) -> Callable[..., None]:
        def remove(path: Any, *, dir_fd: int | None = None) -> None:
            inside = f"{os.readlink(f'/proc/self/fd/{dir_fd}')}/{os.fsdecode(path)}" if dir_fd is not None else path
            w.around("remove", below(inside, root), lambda: original(path, dir_fd=dir_fd))

        return remove

    def watched_open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wxa+"):
            return original_open(file, mode, *arguments, **options)
        name = below(file, root)
        w.fill(name)
        return w.around("open", name, lambda: original_open(file, mode, *arguments, **options))

    def watched_pwrite(file: int, data: bytes, at: int) -> int:
        written: int = w.around(
            "pwrite", name_of(file), lambda: pwrite(file, data, at), lambda: pwrite(file, data[: len(data) // 2], at)
        )
        return written

    def watched_fallocate(file: int, start: int, size: int) -> None:
        w.around("allocate", name_of(file), lambda: fallocate(file, start, size))

    def watched_write(self: Path, data: Any) -> int:
        view = memoryview(data)
        half = lambda: write_bytes(self, view[: len(view) // 2])  # noqa: E731
        written: int = w.around("write", below(self, root), lambda: write_bytes(self, view), half)
        return written

    os.fsync, fcntl.flock, os.pwrite, os.posix_fallocate = watched_fsync, watched_flock, watched_pwrite, watched_fallocate
    os.replace, os.rename, os.link = moving("rename", os.replace), moving("rename", os.rename), moving("link", os.link)
    os.unlink, os.rmdir = removing(os.unlink), removing(os.rmdir)
    os.remove = os.unlink
    builtins.open = io.open = watched_open  # type: ignore[assignment]
    pathlib.Path.write_bytes = watched_write  # type: ignore[method-assign]
    # shutil looks once, at its import, whether these take a folder's descriptor.
    shutil.rmtree.avoids_symlink_attacks = False
    vars(shutil)["_use_fd_functions"] = False
    return w


def from_environment() -> Watch | None:
    """Watch this process where its environment says so."""
    said = os.environ.get(VARIABLE)
    return watch(**json.loads(said)) if said else None
