"""Standard streams that never end the work."""

from __future__ import annotations

import contextlib
import io
import select
import sys
from collections.abc import Iterator
from typing import Any


class _Stream(io.FileIO):
    """A standard stream that nobody may read any more: what can't be written is dropped, and the first reason kept."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        total = len(left)
        while left and self.lost is None:
            try:
                n = super().write(left)
            except OSError as error:
                self.lost = error
                break
            if n is None:  # a terminal that another program has left in its non-blocking mode
                select.select([], [self], [], 1.0)
            else:
                left = left[n:]
        return total


def _tolerant(stream: Any, number: int) -> Any:
    """The stream over a :class:`_Stream`; characters that it can't show are written as their escapes."""
    try:
        # Unbuffered ones have no raw one below.
        if stream is None or stream.fileno() != number or isinstance(getattr(stream.buffer, "raw", None), _Stream):
            return stream
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return stream
    raw = _Stream(number, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
        write_through=number == 2,
    )


@contextlib.contextmanager
def tolerant_streams() -> Iterator[None]:
    """Standard output and error that never end the work: closed, gone, full, or unable to show a character."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _tolerant(sys.stdout, 1), _tolerant(sys.stderr, 2)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        sys.stdout, sys.stderr = before
