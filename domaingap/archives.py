"""Zip archives (``.npz``, checkpoints) opened so that a damaged or hostile one costs a line, not the machine's memory.

What is looked at before anything is unpacked: how much an archive claims to hold beside how large it is, how its members
are packed, what each array's header claims beside its member's size, and how often a pickle refers to the same.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.errors import UserError

MOST_PACKED = 100
"""Times its own size that an archive may unpack to; ours reach 5, a bomb reaches 1,000."""
LITTLE = 64 << 20
"""Bytes that may be unpacked whatever the archive's size: names alone are packed well."""


def members(archive: zipfile.ZipFile, size: int, packed: bool = True) -> list[zipfile.ZipInfo]:
    """The members of an archive of ``size`` bytes.

    Args:
        archive: it.
        size: of its file.
        packed: whether members may be compressed.

    Raises:
        ValueError: it claims to hold more than a file of this size does, holds a name twice, or a member that is encrypted
            or packed in a way that isn't ours.
    """
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        raise ValueError("the same name stands twice in it")
    ways = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if packed else (zipfile.ZIP_STORED,)
    if any(info.compress_type not in ways or info.flag_bits & 1 for info in infos):
        raise ValueError("packed in a way that isn't ours")
    if sum(info.file_size for info in infos) > (max(MOST_PACKED * size, LITTLE) if packed else size):
        raise ValueError("it claims to hold far more than its size allows")
    return infos


def read_arrays(path: Path, what: str, advice: str) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` by name.

    Args:
        path: the file.
        what: what it is, for messages.
        advice: what to do where it can't be read.

    Raises:
        UserError: no such file, a damaged one, or one that claims more than it holds or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = members(archive, path.stat().st_size)
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in infos}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; {advice}") from error
    except Exception as error:  # whatever zipfile, zlib and NumPy make of foreign bytes
        raise UserError(f"{path}: can't be read as {what} ({said(error)}); {advice}") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(info) as file:
        shape, _, dtype = read[np.lib.format.read_magic(file)](file)
        # NumPy would first make room for all that is claimed.
        if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise ValueError(f"{info.filename}: {dtype} {shape} isn't what it holds")
    with archive.open(info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


MOST_LEAVES = 100_000
"""Of a tuple in a checkpoint, counted as often as it holds them; ours hold a few."""


def check_pickle(data: bytes) -> None:
    """ValueError where a pickle holds a tuple whose leaves, counted as often as it refers to them, are more than
    :data:`MOST_LEAVES`.

    PyTorch's ``weights_only`` takes such a tuple as a key, and its hash goes through all of them: forty lines keep it busy
    for hours. Nothing is unpickled here: what each operation takes and leaves is counted.
    """
    stack: list[int | None] = []  # leaves of each item; None is a mark
    memo: dict[Any, int | None] = {}
    for operation, argument, _ in pickletools.genops(data):
        name, before = operation.name, operation.stack_before
        if name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = stack[-1]
            continue
        if name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
            continue
        leaves = 0
        if pickletools.markobject in before:
            while (item := stack.pop()) is not None:
                leaves += item
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            leaves += stack.pop() or 0
        size = max(1, leaves) if name.startswith("TUPLE") else 1
        if size > MOST_LEAVES:
            raise ValueError("tuples within tuples without end")
        stack += [None if left is pickletools.markobject else size for left in operation.stack_after]
        if name == "MEMOIZE":
            memo[len(memo)] = stack[-1]


def said(error: Exception) -> str:
    """What a library said in a few words."""
    if isinstance(error, zipfile.BadZipFile | EOFError):
        return "cut off or damaged"
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else f"{text[:200]}…") or type(error).__name__
