"""What is looked at: pictures by name, folder, pattern or from standard input; a video; a camera."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.files import unreadable
from domaingap.data.images import read_upright
from domaingap.errors import DataError, UserError
from domaingap.paths import expand

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpe", ".jfif", ".ppm", ".pgm")
VIDEOS = (
    *(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp"),
    *(".ogv", ".vob", ".mjpeg", ".mjpg", ".mxf"),
)
CAMERA = re.compile(r"camera(?::(.*))?")
STDIN = "-"
LARGEST_FRAME = 64_000_000
"""Pixels of the largest frame of a video; a frame of 8K has 33 million."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video or camera: number from 0, time in seconds, RGB [H, W, 3]."""

    number: int
    time: float
    pixels: NDArray[np.uint8]


@dataclass
class Pictures:
    """Pictures one after another.

    Attributes:
        paths: their files.
        folder: that they were given by, where they were; their names are taken relative to it.
        many: whether they were given by something that may stand for several, though it stands for one.
    """

    paths: Sequence[Path]
    folder: Path | None = None
    many: bool = False

    def name(self, path: Path) -> Path:
        """A picture's name in what is written."""
        if self.folder is not None and path.is_relative_to(self.folder):
            return path.relative_to(self.folder)
        return Path(path.name)


@dataclass
class Video:
    """A video file, or a camera.

    Attributes:
        name: for messages.
        camera: number of the camera; None of a file.
        path: of the file.
        many: as of :class:`Pictures`.
        fps: frames per second, as the file or the camera says, or 25 where it doesn't.
        total: frames, as the file says; None where it doesn't, and of a camera.
        size: width and height in pixels.
        problem: what is wrong with it, known after its frames were read.
    """

    name: str
    camera: int | None = None
    path: Path | None = None
    many: bool = False
    fps: float = 25.0
    total: int | None = None
    size: tuple[int, int] = (0, 0)
    problem: str = ""
    _capture: Any = field(default=None, repr=False)
    _first: Any = field(default=None, repr=False)

    def open(self) -> Video:
        """Open it and read the first frame.

        Raises:
            UserError: it can't be opened, or holds no frame.
        """
        import cv2

        _quiet()
        if self.path is not None:
            try:
                with open(self.path, "rb") as file:
                    begins = file.read(1)
            except OSError as error:
                raise unreadable(self.path, error) from error
            if not begins:
                raise DataError(self.path, "is empty", advice="copy or fetch this file again")
        with _silenced():
            capture = cv2.VideoCapture(os.path.abspath(self.path) if self.path is not None else self.camera)  # type: ignore[arg-type]
            opened = capture.isOpened()
            read, frame = capture.read() if opened else (False, None)
        if not read or frame is None:
            capture.release()
            if self.camera is not None:
                what = "gives no picture" if opened else "not there, or in use, or you may not open it"
                raise UserError(f"{self.name}: {what}; {_cameras()}")
            what = "no frame can be decoded" if opened else "can't be opened as a video"
            raise DataError(self.path or self.name, f"{what} (no video, or damaged)", advice="copy or fetch this file again")
        height, width = frame.shape[:2]
        if width * height > LARGEST_FRAME:
            raise DataError(
                self.name, f"has frames of {width:,} x {height:,} px, more than the {LARGEST_FRAME:,} pixels read"
            )
        fps, total = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.fps = fps if 0.1 <= fps <= 1000 else 25.0
        self.total = int(total) if self.camera is None and 0 < total < 1e9 else None
        self.size, self._capture, self._first = (width, height), capture, frame
        return self

    def frames(self) -> Generator[Frame, None, None]:
        """Its frames from the first; afterwards ``problem`` says where some are missing."""
        import cv2

        began, number, last = time.monotonic(), 0, -1.0
        try:
            while True:
                if self._first is not None:
                    frame, self._first, stamp = self._first, None, 0.0
                else:
                    read, frame = self._capture.read()
                    if not read or frame is None:
                        self.problem = "gave no more pictures" if self.camera is not None else ""
                        break
                    stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if frame.shape[1::-1] != self.size:
                    self.problem = f"frame {number + 1} has another size, {frame.shape[1]} x {frame.shape[0]} px"
                    break
                if self.camera is not None:
                    stamp = time.monotonic() - began
                elif not last < stamp < 1e7:  # files without usable times
                    stamp = number / self.fps if number == 0 or last < number / self.fps else last + 1 / self.fps
                last = stamp
                yield Frame(number, stamp, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]
                number += 1
            # Containers count frames that codecs hold back; a few less is no damage.
            if not self.problem and self.total is not None and number < 0.98 * self.total - 2:
                self.problem = f"{number} of its {self.total} frames can be read; it is damaged, or cut off"
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file or the camera."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def sources(inputs: Sequence[str], stdin: IO[str] | None = None) -> list[Pictures | Video]:
    """What the given names stand for.

    Args:
        inputs: files, folders, patterns (``*``, ``?``, ``[]``, ``**``), ``camera:N``, and ``-`` for standard input with a
            path a line.
        stdin: standard input.

    Raises:
        UserError: nothing by that name, or none that is a picture or a video.
    """
    found: list[Pictures | Video] = []
    loose: list[Path] = []
    many = False
    for text in inputs:
        if text == STDIN:
            names = [line.rstrip("\r\n") for line in (stdin or sys.stdin)]
            names = [name for name in names if name.strip()]
            if not names:
                raise UserError(
                    "-: standard input named no file; give a path a line, such as from 'find faces -name \"*.jpg\"'"
                )
            files = [expand(name) for name in names]
            loose += [path for path in files if not is_video(path)]
            found += [Video(str(path), path=path, many=True) for path in files if is_video(path)]
            many = True
        elif (match := CAMERA.fullmatch(text)) and not os.path.lexists(text):
            number = match[1] or "0"
            if not re.fullmatch("[0-9]{1,3}", number):
                raise UserError(f"{text}: which camera? give its number: camera:0")
            found.append(Video(text, camera=int(number)))
        else:
            path = expand(text)
            if path.is_dir():
                found += _folder(path)
            elif not os.path.lexists(path) and glob.has_magic(text):
                matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if not os.path.isdir(name))
                if not matches:
                    raise UserError(f"{text}: nothing matches; give a picture, a video, a folder, camera:0, or - for paths")
                loose += [path for path in matches if not is_video(path)]
                found += [Video(str(path), path=path, many=True) for path in matches if is_video(path)]
                many = True
            elif not os.path.lexists(path):
                raise UserError(f"{path}: no such file; give a picture, a video, a folder, camera:0, or - for paths")
            elif is_video(path):
                found.append(Video(str(path), path=path))
            else:
                loose.append(path)
    if loose:
        found.insert(0, Pictures(loose, many=many))
    return found


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its name."""
    return path.suffix.lower() in VIDEOS


def _folder(path: Path) -> list[Pictures | Video]:
    try:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICTURES + VIDEOS and file.is_file())
    except OSError as error:
        raise unreadable(path, error) from error
    pictures = [file for file in files if not is_video(file)]
    found: list[Pictures | Video] = [Pictures(pictures, path, many=True)] if pictures else []
    found += [Video(str(file), path=file, many=True) for file in files if is_video(file)]
    if not found:
        raise UserError(
            f"{path}: no picture and no video in this folder (known by {', '.join(PICTURES[:4])}, {VIDEOS[0]}, ...)"
        )
    return found


def read_picture(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A picture file as RGB [H, W, 3], upright, and what was left out of account, as reasons to count; DataError where it
    can't be read."""
    picture = read_upright(path)
    return picture.pixels, picture.doubts


def _cameras() -> str:
    """Which cameras there are, where the system shows it."""
    there = sorted(
        int(match[1]) for path in Path("/dev").glob("video*") if (match := re.fullmatch(r"video(\d+)", path.name))
    )
    if there:
        return f"this machine has {', '.join(f'camera:{number}' for number in there)}"
    return "this machine shows no camera (no /dev/video*)" if sys.platform.startswith("linux") else "look for its number"


def _quiet() -> None:
    """Keep OpenCV and FFmpeg from writing what the errors say."""
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with contextlib.suppress(AttributeError):
        cv2.setLogLevel(0)  # type: ignore[attr-defined]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Standard error of libraries, which write past Python, led nowhere."""
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        sys.stderr.flush()
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
