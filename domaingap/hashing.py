"""Identity by content (canonical JSON and SHA-256), and files that are whole."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Settings as YAML and JSON have them: dataclasses as dictionaries, paths as text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    return str(value) if isinstance(value, Path) else value


def flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested plain settings as text by dotted key."""
    if not isinstance(settings, Mapping):
        return {prefix: str(settings)}
    pairs = (flat(item, f"{prefix}.{key}" if prefix else str(key)).items() for key, item in settings.items())
    return {key: value for items in pairs for key, value in items}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no canonical form for {type(value)}")


def as_json(value: Any) -> Any:
    """JSON-like content as it is read back from a file."""
    return json.loads(json.dumps(value, default=_plain))


def content_key(value: Any, length: int = 16) -> str:
    """A short hexadecimal key of JSON-like content (dataclasses and paths included), independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest(chunks: Iterable[bytes | memoryview], length: int = 16) -> str:
    """A short hexadecimal digest of the chunks; where one ends and the next begins counts."""
    total = hashlib.sha256()
    for chunk in chunks:
        total.update(len(chunk).to_bytes(8, "little"))
        total.update(chunk)
    return total.hexdigest()[:length]


@contextlib.contextmanager
def replace_atomically(path: Path, sync: bool = True) -> Iterator[Path]:
    """A name to write a whole file under, which then takes the place of ``path``: readers see all of it or nothing, also
    after a kill, beside another process that writes the same, and with ``sync`` after a power cut, which it outlives."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with naming(path, instead_of=temporary):
            yield temporary
            if sync:
                with open(temporary, "rb+") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk: a file's content outlives a power cut by ``fsync``, its name by this.
    Does nothing on systems that don't open folders, or file systems that have no such order."""
    with contextlib.suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def remove_temporary(folder: Path) -> None:
    """Remove what killed calls of :func:`replace_atomically` left in a folder; nobody else may be writing there."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Have errors of writing, which name no file, or the one that ``path`` stands in for, name ``path``."""
    try:
        yield
    except OSError as error:
        names = (error.filename, error.filename2)
        ours = names == (None, None) or (instead_of is not None and str(instead_of) in map(str, names))
        if ours and error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or none of it; see :func:`replace_atomically`."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content.encode(errors="surrogateescape") if isinstance(content, str) else content)


def write_archive(path: Path, save: Callable[[io.BytesIO], object], sync: bool = True) -> None:
    """Write what ``save`` writes to a file whole or not at all. It gets one in memory: the writers of archives and pictures
    hide an error of the disk behind one of their own."""
    buffer = io.BytesIO()
    save(buffer)
    with replace_atomically(path, sync) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def lowest_by_name(names: Sequence[str], count: int) -> list[int]:
    """Places of at most so many names, those with the lowest hashes, the lowest first: the same ones on every machine and in
    whatever order the names come."""
    hashes = [hashlib.sha256(str(name).encode()).digest() for name in names]
    return sorted(range(len(hashes)), key=lambda i: (hashes[i], i))[:count]


def is_number(value: Any) -> bool:
    """Whether something that was read is a finite number; whole ones of any length may stand in a file."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def finite(value: float | None) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if value is not None and math.isfinite(value) else None


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the given order."""
    write_atomically(path, json.dumps(value, indent=2, default=_plain) + "\n")


def append_line(path: Path, value: Any) -> None:
    """Add a line of JSON to a file in one piece, so that several processes can."""
    line = json.dumps(value, default=_plain) + "\n"
    with naming(path), open(path, "ab+") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            line = "\n" + line  # behind one that a kill cut off
        file.write(line.encode())


def read_lines(path: Path, form: Mapping[str, type] = {}) -> list[dict[str, Any]]:
    """The lines of JSON of a file, none where it isn't there: objects with the keys and types of ``form``. All others are
    left out: a kill cut them off, or the disk damaged them, and what they said is found out again."""
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and all(type(row.get(key)) is kind for key, kind in form.items()):
                rows.append(row)
    return rows


def link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, a copy elsewhere; takes the place of a file that is there."""
    with contextlib.suppress(OSError):
        if os.path.samefile(source, target):
            return  # renaming one name of a file to another does nothing, and leaves both
    with replace_atomically(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def private_folder(name: str) -> Path | None:
    """A folder for what may be lost, below the one for temporary files, that nobody else can write; None where there can't
    be one."""
    try:
        path = Path(tempfile.gettempdir()) / f"domaingap-{os.getuid()}-{name}"
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except (OSError, AttributeError):
        return None
    # Somebody else may have made it before, to have us run what they put there.
    safe = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if safe and os.access(path, os.W_OK | os.X_OK) else None
