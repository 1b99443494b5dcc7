"""Errors that are the user's to mend: one line that names the thing and says what to do next."""

from __future__ import annotations

import os
from pathlib import Path


class UserError(Exception):
    """Bad input. The command line prints the message alone, without a traceback, and exits with 2."""


class DataError(UserError):
    """A data set file that can't be used, named with its line where there is one."""

    def __init__(self, path: Path | str, problem: str, line: int | None = None, advice: str = "") -> None:
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: {problem}" + (f"; {advice}" if advice else ""))


def traceback_wanted() -> bool:
    """Whether the user asked to see where a mistake of ours happened."""
    return bool(os.environ.get("DOMAINGAP_TRACEBACK"))
