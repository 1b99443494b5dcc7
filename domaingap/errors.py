"""Errors that are the user's to mend: one line that names the thing and says what to do next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class UserError(Exception):
    """Bad input. The command line prints the message alone, without a traceback, and exits with 2."""


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
        super().__init__(printable(text))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problem, self.line, self.advice, self.more)

    @classmethod
    def first_of(cls, errors: Sequence[DataError]) -> DataError:
        """The first of several, which says how many more there are."""
        first = errors[0]
        return cls(first.path, first.problem, first.line, first.advice, len(errors) - 1)


def printable(text: str) -> str:
    """Text as one line: line ends, control characters and bytes of names that are no UTF-8 are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def traceback_wanted() -> bool:
    """Whether the user asked to see where a mistake of ours happened."""
    return bool(os.environ.get("DOMAINGAP_TRACEBACK"))
