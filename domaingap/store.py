"""One store for what takes long to make: prepared parts, networks, adapters; made once, also by many processes at once.

Look → lock → look again → build in place, resumable → manifest last. An entry's folder is named by a hash of all that
determines its content. ``manifest.json`` lists its files with their checksums; a folder without it isn't finished.
Locks are the operating system's (``filelock``): a process that dies holding one frees it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from domaingap.errors import STORAGE, StorageError, trouble
from domaingap.hashing import as_json, content_key, plain, sync_folder, write_json
from domaingap.progress import console

MANIFEST = "manifest.json"
HASHED_AT_ONCE = 64 << 20
"""Files up to this many bytes are read whole whenever their entry is opened; larger ones where size or time changed."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A finished entry.

    Attributes:
        key: its identity by content.
        folder: where its files lie.
        record: what its maker wrote down of it.
        reused: found rather than made now.
    """

    key: str
    folder: Path
    record: dict[str, Any]
    reused: bool


class Store:
    """Entries below ``root``.

    Args:
        root: the folder; made where it isn't there.
        option: the option that names it, for messages.
    """

    def __init__(self, root: Path | str, option: str = "--runs_dir") -> None:
        self.root, self.option = Path(root), option

    def folder(self, kind: str, identity: Record) -> Path:
        """Where the entry of this identity lies, or would lie."""
        return self.root / f"{kind}-{content_key(identity)}"

    def get(
        self,
        kind: str,
        identity: Record,
        build: Callable[[Path, dict[str, Any] | None], Record],
        title: str = "",
        lock: str | None = None,
        enough: Callable[[dict[str, Any]], bool] = lambda record: True,
    ) -> Entry:
        """The entry of this identity, made where it isn't there yet.

        Args:
            kind: first part of its place below the root, such as ``stages/network``.
            identity: all that determines its content, JSON-like.
            build: makes its files in the folder that it is given and returns the record. It goes on with what a killed
                call left there; what it puts below hidden names is gone once the entry is finished. Where a finished entry
                is not ``enough`` it gets that one's record, and adds to it without changing a file of it.
            title: what messages call it.
            lock: a lock that it shares with other entries; one of its own by default.
            enough: whether a finished entry's record holds all that is wanted.
        """
        folder = self.folder(kind, identity)
        if (entry := self._open(folder, title)) is not None and enough(entry.record):
            return entry
        with self.lock(lock or str(folder.relative_to(self.root)), title):
            entry = self._open(folder, title, aside=True)
            if entry is not None and enough(entry.record):
                return entry
            with self.named(folder):
                self.make(folder)
                record = dict(build(folder, entry.record if entry is not None else None))
                self._finish(folder, identity, record)
        return Entry(folder.name.rpartition("-")[2], folder, _read(folder)["record"], reused=False)

    def find(self, kind: str, identity: Record) -> Entry | None:
        """The finished entry of this identity; None where there is none."""
        return self._open(self.folder(kind, identity), "")

    def entry(self, kind: str, key: str) -> Entry | None:
        """The finished entry of this key; None where there is none."""
        return self._open(self.root / f"{kind}-{key}", "")

    @contextlib.contextmanager
    def lock(self, name: str, title: str = "") -> Iterator[None]:
        """Hold a lock by name; says so where another process holds it."""
        path = self.root / ".locks" / f"{name.replace(os.sep, '-')}.lock"
        self.make(path.parent)
        with locked(path, title or name, self.option):
            yield

    def make(self, folder: Path) -> None:
        """Make a folder; StorageError where it can't be."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: can't be written ({error.strerror}); choose another {self.option}") from error

    @contextlib.contextmanager
    def named(self, folder: Path) -> Iterator[None]:
        """Have what can't be written in a folder end in a StorageError that names the file and the option.

        Errors of files elsewhere, such as those that are read, stay what they are.
        """
        try:
            yield
        except OSError as error:
            ours = error.errno in STORAGE if error.filename is None else _is_below(error.filename, self.root)
            if not ours:
                raise
            raise StorageError(trouble(error, "can't be written", self.option, folder)) from error

    def _open(self, folder: Path, title: str, aside: bool = False) -> Entry | None:
        """A finished and undamaged entry. ``aside`` moves a damaged one out of the way, which needs the lock."""
        if not (folder / MANIFEST).is_file():
            return None
        try:
            content = _read(folder)
            problem = next((p for name, said in content["files"].items() if (p := _differs(folder / name, said))), None)
        except (OSError, ValueError, RecursionError) as error:
            problem = f"{folder / MANIFEST}: {error or type(error).__name__}"
        if problem is None:
            return Entry(folder.name.rpartition("-")[2], folder, content["record"], reused=True)
        if aside:
            number = next(i for i in range(1, 1000) if not folder.with_name(f"damaged-{folder.name}.{i}").exists())
            kept = folder.with_name(f"damaged-{folder.name}.{number}")
            folder.rename(kept)
            console.print(f"damaged, made again: {title} ({problem}); the old folder is now {kept}", markup=False)
        return None

    def _finish(self, folder: Path, identity: Record, record: Record) -> None:
        paths = [path for path in sorted(folder.iterdir()) if path.name != MANIFEST]
        files = {path.name: {**_stat(path), "sha256": file_digest(path, sync=True)} for path in paths if path.name[0] != "."}
        sync_folder(folder)  # before the name that says that the others are there
        content = as_json({"files": files, "identity": plain(identity), "record": plain(record)})
        write_json(folder / MANIFEST, {**content, "sha256": _own_digest(content)})
        for path in paths:
            if path.name[0] == ".":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def locked(path: Path, title: str, option: str, kept: bool = True) -> Iterator[None]:
    """Hold the lock of a file; says that it waits for what is called ``title`` where another process holds it.

    The file stays, unless it is not to be ``kept``: filelock doesn't take an unlinked file for the lock.
    """
    held = FileLock(path, thread_local=False)
    try:
        try:
            held.acquire(timeout=0)
        except Timeout:
            console.print(f"waiting for another process that makes {title}", markup=False)
            held.acquire(poll_interval=0.1)
    except OSError as error:
        raise StorageError(f"{path}: can't be locked ({error.strerror}); choose another {option}") from error
    try:
        yield
    finally:
        if not kept:
            path.unlink(missing_ok=True)
        held.release()


def _is_below(name: Any, folder: Path) -> bool:
    return isinstance(name, str | bytes) and Path(os.fsdecode(name)).is_relative_to(folder)


def _read(folder: Path) -> dict[str, Any]:
    """A manifest; ValueError where it isn't what :meth:`Store._finish` wrote, to the letter."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.pop("sha256", None) != _own_digest(content):
        raise ValueError("changed since it was written, or by another version")
    return content


def _own_digest(content: Mapping[str, Any]) -> str:
    """What a manifest says of itself: nothing else would notice that its record has changed."""
    return content_key(content, 64)


def _stat(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _differs(path: Path, said: Mapping[str, Any]) -> str | None:
    """What is wrong with a file; None where it is what the manifest says."""
    try:
        now = _stat(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if now["size"] != said["size"]:
        return f"{path}: {now['size']} bytes instead of {said['size']}"
    if now["size"] > HASHED_AT_ONCE and now["mtime_ns"] == said["mtime_ns"]:
        return None
    return None if file_digest(path) == said["sha256"] else f"{path}: its checksum differs"


def file_digest(path: Path, sync: bool = False) -> str:
    """SHA-256 of a file's content in hexadecimal; ``sync`` also has it written to the disk."""
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
