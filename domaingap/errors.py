"""Errors that are the user's to mend: one line that names the thing and says what to do next."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class UserError(Exception):
    """Bad input. The command line prints the message alone, without a traceback, and exits with 2."""


class DataError(UserError):
    """A data set file that can't be used, named with its line where there is one."""

    def __init__(self, path: Path | str, problem: str, line: int | None = None, advice: str = "") -> None:
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {problem}" + (f"; {advice}" if advice else ""))


class StorageError(UserError):
    """Nothing more can be written: what follows would fail as well."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
BROKEN = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO)
STORAGE = (*FULL, *REFUSED, *BROKEN)
"""What disks say, and their guards."""


def trouble(error: OSError, what: str = "", option: str | None = None, place: Path | str | None = None) -> str:
    """What is wrong with a file or folder, in one line, and what to do.

    Args:
        error: what the system said.
        what: can't be done with it.
        option: the option that names the folder.
        place: the file or folder, where the error names none.
    """
    name = error.filename if error.filename is not None else place
    where = f"{os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else name}: " if name is not None else ""
    why = error.strerror or str(error) or type(error).__name__
    other = f" or choose another {option}" if option else ""
    if error.errno in FULL:
        advice = f"make room there{other}, then give the same command again to go on"
    elif error.errno in REFUSED:
        advice = f"change its permissions{other}"
    elif error.errno in BROKEN:
        advice = f"look after the disk or network drive{other}, then give the same command again to go on"
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        advice = "raise the limit on open files (ulimit -n 1024), or use fewer processes"
    elif error.errno in (errno.ENOMEM, errno.EAGAIN):
        advice = "close other programs, or use fewer processes"
    else:
        advice = other.removeprefix(" or ")
    return where + (f"{what} ({why})" if what else why) + (f"; {advice}" if advice else "")


def traceback_wanted() -> bool:
    """Whether the user asked to see where a mistake of ours happened."""
    return bool(os.environ.get("DOMAINGAP_TRACEBACK"))
