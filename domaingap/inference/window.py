"""A window with what a camera sees, where OpenCV and the machine can show one."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from pathlib import Path

import cv2

from domaingap.inference.live import Shown
from domaingap.inference.session import counted

ENDING_KEYS = (ord("q"), ord("Q"), 27)
TITLE_S = 0.5
"""Seconds between changes of the title."""
LARGEST = (1600, 900)
"""Pixels of a window at most, when it opens."""


def no_window() -> str:
    """Why there can't be a window here; empty where there can."""
    gui = re.search(r"^\s*GUI:[ \t]*(\S*)", cv2.getBuildInformation(), re.MULTILINE)
    if gui is not None and gui[1].upper() == "NONE":
        return "this OpenCV shows none (opencv-python-headless)"
    if sys.platform in ("win32", "darwin") or _wayland() or _x11():
        return ""
    return "no display (neither DISPLAY nor WAYLAND_DISPLAY leads to one)"


# Asked beforehand, since GUI libraries end the process where they find no display.


def _wayland() -> bool:
    name = os.environ.get("WAYLAND_DISPLAY", "")
    return bool(name) and _answers(str(Path(os.environ.get("XDG_RUNTIME_DIR", "/")) / name))


def _x11() -> bool:
    match = re.fullmatch(r"(.*):(\d+)(\.\d+)?", os.environ.get("DISPLAY", ""))
    if match is None:
        return False
    host, number = match[1].removesuffix("/unix"), int(match[2])
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        return _answers(path) or _answers("\0" + path)
    with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), 6000 + number), timeout=2):
        return True
    return False


def _answers(path: str) -> bool:
    """Whether somebody listens at a Unix socket."""
    with contextlib.suppress(OSError, AttributeError, ValueError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(path)
        return True
    return False


class Window:
    """A window that ``q``, Esc or closing it ends; a :class:`domaingap.inference.live.View`.

    Args:
        title: of the window.
        size: of what it shows, width and height in pixels.

    Raises:
        cv2.error: OpenCV can't show one.
    """

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        self._title = title
        self._shown = False
        self._changed = 0.0
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        scale = min(1.0, LARGEST[0] / size[0], LARGEST[1] / size[1])
        cv2.resizeWindow(title, max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))

    def ready(self) -> bool:
        return True

    def stopped(self) -> bool:
        key = cv2.waitKey(1)
        if key != -1 and key & 0xFF in ENDING_KEYS:
            return True
        # Before its first picture a window counts as not visible, in some builds.
        return self._shown and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1

    def show(self, shown: Shown) -> None:
        cv2.imshow(self._title, cv2.cvtColor(shown.picture(), cv2.COLOR_RGB2BGR))
        self._shown = True
        now = time.monotonic()
        if now - self._changed > TITLE_S:
            self._changed = now
            cv2.setWindowTitle(self._title, _said(self._title, shown))

    def finish(self, note: str) -> None:
        with contextlib.suppress(cv2.error):  # closed by hand
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)


def _said(title: str, shown: Shown) -> str:
    figures = shown.figures
    parts = [title]
    if figures["fps"] is not None:
        parts.append(f"{figures['fps']:.1f} frames per second")
    parts.append(" and ".join(counted(len(people), "face") for people in figures["people"]))
    if figures["apart"] is not None:
        parts.append(f"networks {figures['apart']:.1f}% of the face apart")
    return " | ".join(parts)
