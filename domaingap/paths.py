"""Paths as people write them, in options, configuration files and code: ``~/data``, ``$HOME/data``, ``${DATA}``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from domaingap.errors import UserError

VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")
LONGEST_NAME = 255
"""Bytes of a file's name on common file systems."""


def expand(path: Path | str) -> Path:
    """A path with the home folder and variables of the environment filled in; what exists as it is written stays so.

    Raises:
        UserError: an unknown variable or user, an empty path, or one that no file system takes.
    """
    text = os.fspath(path)
    if not text:
        raise UserError("an empty path; give a file or folder, '.' for the working directory")
    if "\0" in text:
        raise UserError(f"{text}: a path has no NUL")
    filled = text if os.path.lexists(text) else os.path.expanduser(_with_variables(text))
    if text.startswith("~") and filled.startswith("~") and not os.path.lexists(text):
        raise UserError(f"{text}: no user {text[1:].partition('/')[0]!r} here; write ./{text} for a name with a ~")
    for name in filled.split(os.sep):
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise UserError(f"{name[:40]}…: a name of {len(os.fsencode(name))} bytes; a file system takes {LONGEST_NAME}")
    return Path(filled)


def _with_variables(text: str) -> str:
    """The path with variables filled in, but for names that are there as they are written."""
    done = ""
    for name in text.split(os.sep):
        written = "$" not in name or os.path.lexists(done + name)
        done += (name if written else VARIABLE.sub(lambda match: _variable(text, match[1].strip("{}")), name)) + os.sep
    return done.removesuffix(os.sep)


def _variable(text: str, name: str) -> str:
    value = os.environ.get(name)
    if not value:
        state = "not set" if value is None else "empty"
        raise UserError(f"{text}: the environment's variable {name} is {state}; set it, or write the path out")
    return value


def check_folder(path: Path, option: str) -> None:
    """UserError where a folder isn't there and can't be made, or can't be written to. Makes nothing.

    Args:
        path: the folder.
        option: the option that names it, for messages.
    """
    place = path
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        kind = "a link to nothing" if place.is_symlink() and not place.exists() else "not a folder"
        raise UserError(f"{place}: {kind}; choose another {option}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{place}: can't be written (no rights to it); choose another {option}")


def check_file(path: Path, option: str, make: bool = False) -> None:
    """UserError where a file can't be written. Makes nothing.

    Args:
        path: the file.
        option: the option that names it, for messages.
        make: its folder is made where it isn't there.
    """
    if path.is_dir():
        raise UserError(f"{path}: can't be written (it is a folder); give {option} a file's name, such as {path / 'out'}")
    if not make and not path.parent.is_dir():
        raise UserError(f"{path}: can't be written (there is no folder {path.parent}); make it, or choose another {option}")
    check_folder(path.parent, option)
