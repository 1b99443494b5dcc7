"""What lies on a disk, read within bounds: whatever keeps a file from being read is named by its cause."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path

from domaingap.errors import DataError

TEXT_BYTES = 4 << 20
"""Of the largest text file that is read; an annotation has a few thousand."""

PICTURE_BYTES = 512 << 20
"""Of the largest picture file that is read."""


@contextmanager
def opened(path: Path | str, limit: int) -> Iterator[BufferedReader]:
    """A regular file open for reading; DataError where it is none, may not be read, or holds more than ``limit`` bytes."""
    with ExitStack() as stack:
        try:
            known = os.stat(path)
            # Opening a pipe that nobody writes to would wait for ever.
            if stat.S_ISDIR(known.st_mode):
                raise DataError(path, "is a folder, where a file is expected", advice="move it away or rename it")
            if not stat.S_ISREG(known.st_mode):
                raise DataError(path, "is neither a file nor a folder", advice="move it away")
            if known.st_size > limit:
                raise DataError(path, f"has {known.st_size:,} bytes, more than the {limit:,} that are read")
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise unreadable(path, error) from error
        yield file


def read_bytes(path: Path | str, limit: int) -> bytes:
    """A regular file's content; DataError as of :func:`opened`."""
    with opened(path, limit) as file:
        try:
            return file.read(limit)
        except OSError as error:
            raise unreadable(path, error) from error


def hash_file(path: Path | str, limit: int) -> bytes:
    """SHA-256 of a regular file's content; DataError as of :func:`opened`."""
    with opened(path, limit) as file:
        try:
            return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise unreadable(path, error) from error


def unreadable(path: Path | str, error: OSError) -> DataError:
    """What to say of a file or folder that the system doesn't let us read."""
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return dangling(path)
        return DataError(path, "no such file")
    if isinstance(error, PermissionError):
        return DataError(path, "you may not read it", advice=f"allow it: chmod u+rX {os.fspath(path)!r}")
    return DataError(path, f"can't be read ({error.strerror or error})", advice="see to the disk or network that it lies on")


def dangling(path: Path | str) -> DataError:
    """What to say of a link to nowhere."""
    try:
        target = f" ({os.readlink(path)})"
    except OSError:
        target = ""
    return DataError(path, f"is a link to nowhere{target}", advice="bring back what it points to, or take the link away")
