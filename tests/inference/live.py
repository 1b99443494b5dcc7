"""``domaingap predict`` while it shows something: in a thread of the tests' process, or in a process of its own."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

ADDRESS = re.compile(r"open (http://\S+/)")


class Command(threading.Thread):
    """The command in a thread.

    Args:
        capsys: where its output is read.
        arguments: the command line.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
        super().__init__(daemon=True)
        self._capsys, self._arguments = capsys, arguments
        self.code: int | None = None
        self.out = self.err = ""
        self.start()

    def run(self) -> None:
        from experiments.__main__ import main

        try:
            main(self._arguments)
        except SystemExit as exit:
            self.code = int(exit.code or 0)

    def read(self) -> None:
        captured = self._capsys.readouterr()
        self.out, self.err = self.out + captured.out, self.err + captured.err

    @property
    def url(self) -> str:
        """Of the page, once it is there."""
        until(lambda: (self.read() or ADDRESS.search(self.err)) or not self.is_alive(), 60)
        match = ADDRESS.search(self.err)
        assert match, self.err
        return match[1]

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        self.join(60)
        assert not self.is_alive()
        self.read()
        assert self.code is not None
        return self.code


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def ask(
    url: str, path: str = "", method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (small letters) and content; ``path`` below the page's address, or from / on."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=20)
    try:
        connection.request(method, path if path.startswith("/") else parts.path + path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def picture(content: bytes) -> np.ndarray:
    """A JPEG as BGR."""
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def state(url: str) -> dict[str, Any]:
    return dict(json.loads(ask(url, "state")[2]))


def stop(url: str) -> dict[str, Any]:
    return dict(json.loads(ask(url, "stop", "POST")[2]))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def listening(pid: int | None = None) -> set[tuple[str, int]]:
    """Addresses (as the system writes them: hexadecimal) and ports at which a process, or anybody, listens by TCP."""
    inodes = None
    if pid is not None:
        links = []
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                links.append(str(link.readlink()))
            except OSError:
                continue
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.is_file() else []:
            columns = line.split()
            if columns[3] == "0A" and (inodes is None or columns[9] in inodes):
                address, _, port = columns[1].partition(":")
                found.add((address, int(port, 16)))
    return found


class Camera:
    """What OpenCV gives of a camera: frames, and then no more."""

    def __init__(self, frames: Iterator[np.ndarray | None], fps: float = 30.0) -> None:
        self._frames, self._fps = frames, fps
        self.released = False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        frame = next(self._frames, None)
        return frame is not None, frame

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: self._fps, cv2.CAP_PROP_FRAME_COUNT: -1.0}.get(what, 0.0)

    def release(self) -> None:
        self.released = True
