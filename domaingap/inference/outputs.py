"""What is written of the faces that were found: annotated pictures and videos, JSON lines, CSV, ``.pts``."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from domaingap.errors import StorageError, UserError, trouble
from domaingap.hashing import naming, write_archive
from domaingap.landmarks import IBUG68

if TYPE_CHECKING:
    from domaingap.inference.predictor import Face

COLOURS = ((80, 220, 60), (255, 170, 40), (70, 170, 255), (240, 90, 200), (250, 230, 60), (60, 230, 220), (240, 70, 50))
"""RGB of the people of a video, one after another."""
PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}
VIDEO_FORMATS = (".mp4", ".mkv", ".mov", ".avi")
WITHOUT_PYAV = "without PyAV a video is MPEG-4 (mp4v), which browsers don't show; uv sync --extra video gives H.264"


@dataclass(frozen=True, eq=False)
class Found:
    """The faces of a picture, or of a frame of a video.

    Attributes:
        file: its name, as it is written.
        faces: in it.
        size: its width and height in pixels.
        frame: its number from 0; None of a picture.
        time: of the frame in seconds from the first.
    """

    file: str
    faces: Sequence[Face]
    size: tuple[int, int]
    frame: int | None = None
    time: float | None = None


class Writer(Protocol):
    """Something that is written picture by picture, or frame by frame."""

    def write(self, found: Found) -> None:
        """Add what was found."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class JsonLines:
    """A line of JSON for each picture or frame, also for one without a face.

    ``{"file", "frame", "time", "width", "height", "faces": [{"track", "confidence", "box", "landmarks", "sigma"}]}``: boxes
    [x0, y0, x1, y1] and landmarks [68, 2] in pixels, the centre of the first pixel at (0, 0); ``frame``, ``time`` and
    ``track`` in videos alone, ``sigma`` [68] where the network tells it.
    """

    def __init__(self, path: Path | None, stream: IO[str] | None = None) -> None:
        self._file, self._owned = (_create(path), True) if path is not None else (stream, False)
        self._path = path or Path("-")

    def write(self, found: Found) -> None:
        """Add a line."""
        line: dict[str, Any] = {"file": found.file}
        if found.frame is not None:
            line |= {"frame": found.frame, "time": round(found.time or 0, 4)}
        line |= {"width": found.size[0], "height": found.size[1], "faces": [_face(face) for face in found.faces]}
        self._line(line)

    def skipped(self, file: str, why: str) -> None:
        """Add a line on a picture that couldn't be read."""
        self._line({"file": file, "error": why})

    def _line(self, content: dict[str, Any]) -> None:
        assert self._file is not None
        with _writing(self._path):
            # Whole lines, at once: what an interruption leaves can be read.
            self._file.write(json.dumps(content) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._owned and self._file is not None:
            with _writing(self._path):
                self._file.close()


def _face(face: Face) -> dict[str, Any]:
    content: dict[str, Any] = {} if face.track is None else {"track": face.track}
    content |= {"confidence": round(face.confidence, 4), "box": face.box.round(3).tolist()}
    content["landmarks"] = face.landmarks.round(3).tolist()
    if face.sigma is not None:
        content["sigma"] = face.sigma.round(3).tolist()
    return content


class Csv:
    """A row for each face: file, frame, time, track, confidence, box, x0, y0, ... x67, y67; as in :class:`JsonLines`."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, _create(path)
        points = [f"{axis}{i}" for i in range(IBUG68.n_points) for axis in "xy"]
        head = ["file", "frame", "time", "track", "confidence", "box_x0", "box_y0", "box_x1", "box_y1", *points]
        self._rows([head])

    def write(self, found: Found) -> None:
        """Add rows."""
        frame = "" if found.frame is None else found.frame
        time = "" if found.time is None else f"{found.time:.4f}"
        self._rows(
            [
                [found.file, frame, time, "" if face.track is None else face.track, f"{face.confidence:.4f}"]
                + [f"{value:.3f}" for value in (*face.box, *face.landmarks.ravel())]
                for face in found.faces
            ]
        )

    def _rows(self, rows: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with _writing(self._path):
            self._file.write(text.getvalue())
            self._file.flush()

    def close(self) -> None:
        with _writing(self._path):
            self._file.close()


class Pts:
    """``.pts`` files as 300-W has them, 1-based. Of a picture ``NAME.pts``, or ``NAME_1.pts``, ``NAME_2.pts``, ... of
    several faces; of a video ``000001.pts``, ... as in 300-VW, in a folder a person.

    Args:
        place: where: of pictures the folder that their names are relative to, of a video the folder to make.
    """

    def __init__(self, place: Path) -> None:
        self._place = place

    def write(self, found: Found) -> None:
        """Write the faces' files."""
        for i, face in enumerate(found.faces, start=1):
            if found.frame is not None:
                path = self._place / f"{face.track:03d}" / f"{found.frame + 1:06d}.pts"
            else:
                name = Path(found.file)
                path = self._place / name.with_name(name.stem + (f"_{i}" if len(found.faces) > 1 else "") + ".pts")
            with _writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(pts_text(face.landmarks))

    def close(self) -> None:
        """Nothing to do."""


def pts_text(landmarks: NDArray[Any]) -> str:
    """The content of a ``.pts`` file of landmarks [n, 2], which counts pixels from 1."""
    rows = "".join(f"{x + 1:.6f} {y + 1:.6f}\n" for x, y in np.asarray(landmarks, dtype=np.float64).tolist())
    return f"version: 1\nn_points: {len(landmarks)}\n{{\n{rows}}}\n"


def draw(image: NDArray[np.uint8], faces: Sequence[Face]) -> NDArray[np.uint8]:
    """Draw faces into an RGB picture [H, W, 3], which is changed where it can be written to: a box, landmarks, the person's
    number and the confidence."""
    image = np.require(image, requirements=["C", "W"])
    for i, face in enumerate(faces):
        colour = COLOURS[((face.track or 1 + i) - 1) % len(COLOURS)]
        if not (np.isfinite(face.box).all() and np.isfinite(face.landmarks).all()):
            continue
        size = min(face.size, max(image.shape))
        line = max(1, round(size / 150))
        x0, y0, x1, y1 = np.clip(face.box.round(), -20_000, 20_000).astype(int).tolist()
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, line, cv2.LINE_AA)
        dot = max(20, round(size / 90 * 16))  # in sixteenths of a pixel
        for x, y in np.clip(face.landmarks, -20_000, 20_000) * 16:
            cv2.circle(image, (round(x), round(y)), dot, colour, -1, cv2.LINE_AA, shift=4)
        text = f"{face.confidence:.2f}" if face.track is None else f"{face.track}  {face.confidence:.2f}"
        scale, font = min(max(0.4, size / 300), 4.0), cv2.FONT_HERSHEY_SIMPLEX
        (width, height), below = cv2.getTextSize(text, font, scale, line)
        y = max(y0 - line - below, height + line)
        cv2.rectangle(image, (x0 - line // 2, y - height - line), (x0 + width + line, y + below), colour, -1)
        cv2.putText(image, text, (x0, y), font, scale, (0, 0, 0), line, cv2.LINE_AA)
    return image


def save_annotated(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB picture [H, W, 3] in the format that the file's name says; StorageError where it can't be."""
    kind = PICTURE_FORMATS[path.suffix.lower()]
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 92} if kind in ("JPEG", "WEBP") else {}
        write_archive(path, lambda file: Image.fromarray(image).save(file, kind, **options), sync=False)


class VideoFile:
    """A video that is written frame by frame: H.264 through PyAV where it is installed, else MPEG-4 through OpenCV. What was
    written before an error or an interruption can be played.

    Args:
        path: ending in one of :data:`VIDEO_FORMATS`.
        size: width and height of its frames in pixels; odd ones get a row or column more, since the codecs want even ones.
        fps: frames per second.

    Attributes:
        codec: for people.
        notice: what the user should know about it; empty where nothing.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.path, self.size, self.fps = path, size, fps
        self.notice = ""
        self._container: Any = None
        self._stream: Any = None
        self._opencv: cv2.VideoWriter | None = None
        self._last = -1
        self._before: Any = None
        even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb"):  # libraries don't say why they can't
                pass
        try:
            import av
        except ImportError:
            self.codec, self.notice = "MPEG-4", WITHOUT_PYAV
            self._opencv = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, even)
            if not self._opencv.isOpened():
                raise UserError(f"{path}: OpenCV can't write such a video here; choose --out FILE.mp4") from None
            return
        self.codec = "H.264"
        container: Any = av.open(f"file:{path}", "w")  # a colon in the name is no protocol
        rate, avi = Fraction(fps).limit_denominator(1001), path.suffix.lower() == ".avi"
        options = {"crf": "20", "preset": "veryfast"} | ({"bf": "0"} if avi else {})
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = even
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        # Frames keep their own times, which in a phone's video aren't evenly spaced. AVI knows neither times, nor frames
        # that are stored in another order.
        self._tick = 1 / rate if avi else Fraction(1, 90_000)
        stream.codec_context.time_base = self._tick
        self._container, self._stream = container, stream

    def write(self, image: NDArray[np.uint8], time: float) -> None:
        """Add an RGB frame [H, W, 3] at a time in seconds."""
        width, height = self.size
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._opencv is not None:
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            # It knows no times: what stood before stays until this frame's.
            for _ in range(self._last + 1, round(time * self.fps)):
                self._opencv.write(self._before if self._before is not None else bgr)
                self._last += 1
            self._opencv.write(bgr)
            self._last, self._before = self._last + 1, bgr
            return
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._last = frame.pts = max(self._last + 1, round(time / self._tick))
        frame.time_base = self._tick
        with _writing(self.path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is left."""
        if self._opencv is not None:
            self._opencv.release()
            self._opencv = None
        if self._container is not None:
            container, self._container = self._container, None
            with _writing(self.path):
                try:
                    if self._last >= 0:
                        container.mux(self._stream.encode(None))
                finally:
                    container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _create(path: Path) -> IO[str]:
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "w", encoding="utf-8", newline="", errors="surrogateescape")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors of the system become one line that names the file."""
    try:
        with naming(path):
            yield
    except OSError as error:
        raise StorageError(trouble(error, "can't be written", "--out", path)) from error
