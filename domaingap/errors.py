"""Errors that are the user's to mend: one line that names the thing and says what to do next."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of characters that steer a terminal, break a line or can't be shown."""
LONGEST = 1000
"""Characters of a message; a value that is in it may be of any length."""
JOINERS = "\u200c\u200d"
"""Of these the ones that belong to words of some languages."""


class UserError(Exception):
    """Bad input. The command line prints the message alone, without a traceback, and exits with 2.

    The message is one line that is safe to print, whatever names of files are in it.
    """

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} … {message[-LONGEST // 4 :]}"  # what was wrong and what to do
        super().__init__(printable(message))

    def __reduce__(self) -> tuple[Any, ...]:
        # From a worker process: subclasses take other arguments than their message.
        return UserError, (str(self),)


class DataError(UserError):
    """A data set file that can't be used, named with its line where there is one.

    Attributes:
        path, problem, line, advice: what the message is made of.
        more: how many others are like it.
    """

    def __init__(self, path: Path | str, problem: str, line: int | None = None, advice: str = "", more: int = 0) -> None:
        self.path, self.problem, self.line, self.advice, self.more = path, problem, line, advice, more
        where = f"{path}:{line}" if line is not None else f"{path}"
        text = f"{where}: {problem}" + (f"; {advice}" if advice else "") + (f" (and {more} more like it)" if more else "")
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem, self.line, self.advice, self.more)

    @classmethod
    def first_of(cls, errors: Sequence[DataError]) -> DataError:
        """The first of several, which says how many more there are."""
        first = errors[0]
        return cls(first.path, first.problem, first.line, first.advice, len(errors) - 1)


class SettingError(UserError):
    """A setting's value that can't be.

    Attributes:
        key: the setting, such as ``crop.size``.
        problem: what is wrong with it, and what it takes.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"--{key} {problem}")
        self.key, self.problem = key, problem


def printable(text: str, keep: str = "") -> str:
    """Text with characters that steer a terminal or can't be shown as escapes (``\\x1b``), but for those to ``keep``."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _unseen(c) else _escape(c) for c in text)


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in UNSEEN and character not in JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


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
