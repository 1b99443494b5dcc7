"""Annotations as text: ``.pts``, landmark lines and JSON, read within bounds, with file and line of what is off."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.files import TEXT_BYTES, read_bytes
from domaingap.errors import DataError

Lines = list[tuple[int, str]]
"""Lines that hold something, with their numbers."""

_MARKS = (  # of UTF-32 before UTF-16, whose mark it begins with
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
# What float() takes beyond it (1_0, nan, digits of other scripts) is no coordinate.
_NUMBERS = re.compile(r"[-+.0-9eE \t]+")
_COMMENT = ("#", "//")
_AGAIN = "copy or fetch this file again"


def read_text(path: Path) -> str:
    """A text file's content: UTF-8, or what its byte order mark says, or else Latin-1; DataError where it is no text."""
    content = read_bytes(path, TEXT_BYTES)
    if not content.strip():
        raise DataError(path, "is empty", line=1, advice=_AGAIN)
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        if mark:
            raise DataError(path, f"not a text file ({encoding.upper()}: {error.reason})", advice=_AGAIN) from error
        text = content.decode("latin-1")  # an accent in a comment; numbers have none
    if "\0" in text:
        # As a file looks after a power cut, or UTF-16 that lost its mark.
        raise DataError(path, "not a text file (it holds zero bytes)", advice=_AGAIN)
    if _CONTROL.search(text) or sum(map(str.isascii, text[:1000])) < len(text[:1000]) / 2:
        raise DataError(path, "not a text file", advice=_AGAIN)
    if text.lstrip().startswith("version https://git-lfs"):
        raise DataError(path, "is a pointer of Git LFS", advice="run git lfs pull where it is from")
    return text


def read_lines(path: Path) -> Lines:
    """The lines of a text file that hold something and are no comment (``#`` or ``//``), numbered from 1."""
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    numbered = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in numbered if line and not line.startswith(_COMMENT)]


def quoted(text: str) -> str:
    """A piece of a file for a message, cut where it is long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def shown(value: Any) -> str:
    """A value of JSON for a message, cut where it is long."""
    try:
        text = json.dumps(value)
    except RecursionError:
        text = "nested lists"
    return text if len(text) <= 60 else text[:57] + "..."


def parse_points(path: Path, lines: Sequence[tuple[int, str]], expected: int) -> NDArray[np.float64]:
    """Points [expected, 2] from numbered lines ``x y``; DataError names the first line that is off."""
    points = np.empty((expected, 2))
    for i, (number, line) in enumerate(lines):
        if i == expected:
            raise DataError(path, f"more than {expected} points", line=number)
        fields = line.split()
        try:
            if len(fields) != 2 or not _NUMBERS.fullmatch(line):
                raise ValueError
            x, y = float(fields[0]), float(fields[1])
        except ValueError as error:
            raise _no_point(path, line, number) from error
        if not (np.isfinite(x) and np.isfinite(y)):
            raise DataError(path, f"a coordinate is not finite: {quoted(line)}", line=number)
        points[i] = x, y
    if len(lines) < expected:
        raise DataError(path, f"{len(lines)} points, expected {expected}", line=lines[-1][0] if lines else 1)
    return points


def _no_point(path: Path, line: str, number: int) -> DataError:
    if re.search(r"\b(nan|inf|infinity)\b", line, re.IGNORECASE):
        return DataError(path, f"a coordinate is not finite: {quoted(line)}", line=number)
    advice = "write the decimal sign as a point" if re.search(r"[0-9],[0-9]", line) else ""
    return DataError(path, f"expected two numbers, found {quoted(line)}", line=number, advice=advice)


def read_json(path: Path) -> Any:
    """A JSON file's content; DataError where it is none, is nested without end, or says a thing twice."""
    text = read_text(path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
            raise DataError(path, f"the key {quoted(twice)} stands twice in one object")
        return content

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise DataError(path, f"not JSON ({error.msg})", line=error.lineno) from error
    except RecursionError as error:
        raise DataError(path, "not JSON of a face (it is nested too deep)", advice=_AGAIN) from error
    except ValueError as error:
        raise DataError(path, f"not JSON of a face ({quoted(str(error))})") from error


def json_points(path: Path, rows: Sequence[Any]) -> NDArray[np.float64]:
    """Points [N, 2] of pairs of numbers in JSON; DataError names the first, counted from 1, that is none or isn't finite."""
    points = np.empty((len(rows), 2))
    for i, row in enumerate(rows):
        if not isinstance(row, list | tuple) or len(row) != 2:
            raise DataError(path, f"key point {i + 1} is {shown(row)}, expected two numbers")
        for axis, value in enumerate(row):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(path, f"key point {i + 1}: {shown(value)} is no number")
            try:
                points[i, axis] = value
            except OverflowError:
                points[i, axis] = np.inf
        if not np.isfinite(points[i]).all():
            raise DataError(path, f"key point {i + 1} is not finite")
    return points
