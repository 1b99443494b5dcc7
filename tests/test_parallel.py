"""Signals that wait for the end of what must not be broken off halfway."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from domaingap import parallel
from domaingap.parallel import later

USED = signal.SIGUSR1


class EndedError(BaseException):
    """What the signal raises."""


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    def end(*_: object) -> None:
        raise EndedError

    before = signal.signal(USED, end)
    yield
    assert signal.signal(USED, before) is end, "it is as it was"


def test_a_signal_waits_until_all_is_written() -> None:
    written = []
    with pytest.raises(EndedError), later(USED):  # noqa: PT012
        written.append("jsonl")
        signal.raise_signal(USED)
        written.append("csv")
    assert written == ["jsonl", "csv"]


def test_the_second_does_not_wait() -> None:
    written = []
    with pytest.raises(EndedError), later(USED):  # noqa: PT012
        signal.raise_signal(USED)
        signal.raise_signal(USED)
        written.append("csv")
    assert written == []


def test_what_hangs_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "LONGEST_S", 0.2)
    written = []
    with pytest.raises(EndedError), later(USED):  # noqa: PT012
        signal.raise_signal(USED)
        time.sleep(60)
        written.append("csv")
    assert written == []
