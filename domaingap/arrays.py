"""Arrays in ``.npy`` files that are made whole and then filled row by row, also by several processes.

Rows are written, not stored into a memory map: where a disk is full a write says so, and a map ends the process.
"""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from domaingap.hashing import naming, replace_atomically

CHUNK = 1 << 20


def empty_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Make a ``.npy`` file of zeros whose room on the disk is taken, whole or not at all.

    Raises:
        OSError: among others, there isn't the room.
    """
    with replace_atomically(path) as temporary, open(temporary, "wb") as file:
        about = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        file.flush()
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        _take_room(file.fileno(), file.tell(), size)


def _take_room(file: int, start: int, size: int) -> None:
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, start, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTSUP):
                raise
    # Elsewhere by writing it all.
    for first in range(0, size, CHUNK):
        _write(file, bytes(min(CHUNK, size - first)), start + first)


class Rows:
    """The rows of an array in a ``.npy`` file, to be written: ``rows[i] = row``.

    Args:
        path: the file; see :func:`empty_array`.
    """

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r")
        self.path, self.shape, self.dtype, self._start = path, mapped.shape[1:], mapped.dtype, mapped.offset
        self._n = len(mapped)
        self._file = os.open(path, os.O_RDWR)
        weakref.finalize(self, os.close, self._file)

    def __setitem__(self, i: int, row: NDArray[Any]) -> None:
        row = np.asarray(row, dtype=self.dtype)
        if not 0 <= i < self._n or row.shape != self.shape:
            raise ValueError(f"row {i} {row.shape} of {self.path}, which has {self._n} of {self.shape}")
        with naming(self.path):
            _write(self._file, row.tobytes(), self._start + i * row.nbytes)


def _write(file: int, data: bytes, at: int) -> None:
    while data:
        n = os.pwrite(file, data, at)
        data, at = data[n:], at + n
