"""A camera, or a video in its place, while it is seen: read, looked at and shown frame by frame, never behind time.

A thread reads all the time and keeps the last frame; what comes while the networks are busy is dropped and counted. What
is recorded keeps the times at which frames were seen.

Two networks side by side share the decoded frame and the detector's answer to it: asked twice, it would say the same. Each
is followed by its own landmarks all the same, since where a network looks next is part of how good it is: in boxes made
from the other's landmarks a poor network would never lose a face.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.boxes import FaceDetector, box_from_landmarks, iou
from domaingap.errors import UserError
from domaingap.inference.outputs import Found, VideoFile, Writer, draw
from domaingap.inference.session import Plan, Session, counted, told
from domaingap.inference.sources import Frame, Video
from domaingap.inference.tracker import SAME_PLACE, Tracker
from domaingap.parallel import whole
from domaingap.progress import console

if TYPE_CHECKING:
    from domaingap.inference.predictor import Face, FacePredictor

SILENT_S = 10.0
"""Seconds without a picture after which a camera counts as gone."""
LATE_S = 1.0
"""Seconds behind its time from which a video isn't hurried on: the machine slept, or can't decode as fast as it plays."""
GAP_S = 30.0
"""Seconds between two frames of a video beyond which its times are taken to be wrong, and not waited for."""
RATE_S = 2.0
"""Seconds over which frames per second are counted."""
PAGE_SIDE = 960
"""Pixels of the longer side of a network's picture on a page; larger ones are reduced."""
JPEG_QUALITY = 80


class OncePerPicture:
    """A detector whose answer to the last picture is kept, for several who ask.

    Args:
        detector: that is asked.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._last: tuple[NDArray[np.uint8], NDArray[np.float64]] | None = None

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """As :meth:`FaceDetector.detect`."""
        if self._last is None or self._last[0] is not image:
            self._last = image, self._detector.detect(image)
        return self._last[1].copy()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)


def share_detector(predictors: Sequence[FacePredictor]) -> None:
    """Have predictors of the same settings ask one detector, once a picture."""
    shared = cast(FaceDetector, OncePerPicture(predictors[0].detector))
    for predictor in predictors:
        predictor.detector = shared


def warm_up(predictor: FacePredictor) -> None:
    """Have it answer once: the first answer takes many times as long as those that follow, and frames wouldn't wait."""
    blank = np.full((180, 240, 3), 127, dtype=np.uint8)
    predictor.find(blank)
    predictor.at(blank, np.array([[80.0, 40.0, 160.0, 140.0]]))


@dataclass(eq=False)
class Side:
    """A network that is shown.

    Attributes:
        name: of the network, for people.
        tracker: follows faces with it.
    """

    name: str
    tracker: Tracker


class LatestFrame(threading.Thread):
    """Reads a source all the time and keeps its last frame.

    Args:
        video: opened; it is closed by the thread that reads it.
        loop: a file begins again when it ends, and numbers and times go on.

    Attributes:
        ended: no more frames come.
        problem: why, where that isn't the end of a whole file.
    """

    def __init__(self, video: Video, loop: bool = False) -> None:
        super().__init__(name="reads frames", daemon=True)
        self._video, self._loop = video, loop
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._frame: Frame | None = None
        self.ended = False
        self.problem = ""

    def run(self) -> None:
        problem = ""
        try:
            for frame in self._frames():
                with self._changed:
                    self._frame = frame
                    self._changed.notify_all()
                if self._closing.is_set():
                    break
            problem = self._video.problem
        except UserError as error:  # a file that is gone when it should begin again
            problem = str(error).removeprefix(f"{self._video.name}: ")
        except Exception as error:
            problem = f"can't be read on ({type(error).__name__}: {error})"
        finally:
            self._video.close()
            with self._changed:
                self.ended, self.problem = True, problem
                self._changed.notify_all()

    def _frames(self) -> Iterator[Frame]:
        number, start = 0, 0.0
        began = time.monotonic()
        while True:
            frame = None
            with contextlib.closing(self._video.frames()) as frames:
                for read in frames:
                    frame = replace(read, number=number + read.number, time=start + read.time)
                    if self._video.camera is None:
                        now = time.monotonic()
                        early = began + frame.time - now
                        if not -LATE_S <= early <= GAP_S:
                            began = now - frame.time
                        elif early > 0 and self._closing.wait(early):
                            return
                    yield frame
            if not self._loop or self._video.problem or frame is None:
                return
            number, start = frame.number + 1, frame.time + 1 / self._video.fps
            self._video.open()

    def next(self, timeout: float) -> Frame | None:
        """The last frame that wasn't given yet; None where there is none within so many seconds, or no more at all."""
        with self._changed:
            if self._frame is None and not self.ended:
                self._changed.wait(timeout)
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        """Let go of the source. A camera that hangs is left to the system."""
        self._closing.set()
        if self.ident is None:
            self._video.close()
        else:
            self.join(2)


class Shown:
    """A frame and what each network found in it; drawn and encoded when somebody asks first, then kept.

    Args:
        frame: the frame.
        names: of the networks.
        faces: that each found.
        figures: for people, as JSON has them; see :meth:`Live.figures`.
    """

    def __init__(self, frame: Frame, names: Sequence[str], faces: Sequence[Sequence[Face]], figures: dict[str, Any]) -> None:
        self.frame, self.names, self.faces, self.figures = frame, names, faces, figures
        self._lock = threading.RLock()
        self._sides: list[NDArray[np.uint8]] | None = None
        self._picture: NDArray[np.uint8] | None = None
        self._jpeg: bytes | None = None

    def picture(self) -> NDArray[np.uint8]:
        """RGB [H, W, 3], or of two networks [H + strip, 2 W, 3] with their names in the strip on top."""
        with self._lock:
            if self._picture is None:
                sides = self._drawn()
                if len(sides) > 1:
                    strip = picture_size(self.frame.pixels.shape[1::-1], len(sides))[1] - self.frame.pixels.shape[0]
                    sides = [
                        np.vstack([_label(name, side.shape[1], strip), side])
                        for name, side in zip(self.names, sides, strict=True)
                    ]
                self._picture = np.hstack(sides) if len(sides) > 1 else sides[0]
            return self._picture

    def jpeg(self) -> bytes:
        """All networks' pictures side by side, without names, as JPEG of at most :data:`PAGE_SIDE` each."""
        with self._lock:
            if self._jpeg is None:
                width, height = page_size(self.frame.pixels.shape[1::-1])
                sides = [
                    side
                    if side.shape[1::-1] == (width, height)
                    else cv2.resize(side, (width, height), interpolation=cv2.INTER_AREA)
                    for side in self._drawn()
                ]
                done, data = cv2.imencode(
                    ".jpg", cv2.cvtColor(np.hstack(sides), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
                )
                assert done
                self._jpeg = data.tobytes()
            return self._jpeg

    def _drawn(self) -> list[NDArray[np.uint8]]:
        if self._sides is None:
            self._sides = [draw(self.frame.pixels.copy(), faces) for faces in self.faces]
        return self._sides


def picture_size(size: tuple[int, ...], n: int) -> tuple[int, int]:
    """Width and height of :meth:`Shown.picture` for frames of a size and n networks."""
    width, height = size
    return (width, height) if n == 1 else (n * width, height + 2 * max(12, round(0.035 * height)))


def page_size(size: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of each network's picture on a page, for frames of a size."""
    scale = min(1.0, PAGE_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _label(name: str, width: int, height: int) -> NDArray[np.uint8]:
    """A name in a strip; OpenCV's letters are ASCII."""
    strip = np.full((height, width, 3), 255, dtype=np.uint8)
    text, font = name.encode("ascii", "replace").decode(), cv2.FONT_HERSHEY_SIMPLEX
    (wide, high), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = min(0.55 * height / high, (width - 12) / max(wide, 1))
    place = (6, round((height + scale * high) / 2))
    cv2.putText(strip, text, place, font, scale, (27, 31, 36), max(1, round(1.5 * scale)), cv2.LINE_AA)
    return strip


def distance(first: Sequence[Face], second: Sequence[Face]) -> float | None:
    """How far the landmarks of two networks lie apart: the mean distance in % of the face's size, over the faces that both
    found; None where there is no such face.

    The face's size is the root of the area of its landmarks' box, the mean of both networks'.
    """
    left, values = [face for face in second if np.isfinite(face.landmarks).all()], []
    for face in (face for face in first if np.isfinite(face.landmarks).all()):
        mine = box_from_landmarks(face.landmarks)
        overlaps = [iou(mine, box_from_landmarks(other.landmarks)) for other in left]
        if overlaps and max(overlaps) >= SAME_PLACE:
            other = left.pop(int(np.argmax(overlaps)))
            apart = np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean()
            values.append(float(100 * apart / ((face.size + other.size) / 2)))
    return float(np.mean(values)) if values else None


class View(Protocol):
    """Where it is shown: a window or a page."""

    def ready(self) -> bool:
        """Whether there is somebody to show it to; a video in a camera's place waits for that."""
        ...

    def stopped(self) -> bool:
        """Whether whoever watches has ended it; asked often."""
        ...

    def show(self, shown: Shown) -> None:
        """Show a frame."""
        ...

    def finish(self, note: str) -> None:
        """Nothing more comes; why, for people."""
        ...


@dataclass(eq=False)
class Live:
    """A source that is shown while it is read.

    Args:
        video: opened.
        sides: one network, or two.
        view: where it is shown.
        session: says what was done, and names and writes the files.
        plan: the files; None for none.
        loop: a file begins again when it ends.
    """

    video: Video
    sides: Sequence[Side]
    view: View
    session: Session
    plan: Plan | None = None
    loop: bool = False

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._stamps: deque[float] = deque()
        self._apart = 0.0
        self._n_apart = 0
        self._seen = 0
        self._last = -1

    def run(self) -> None:
        """Until whoever watches ends it, the source ends, or Ctrl-C.

        Raises:
            UserError: a camera that went away, or a damaged file; what there was until then is written.
            KeyboardInterrupt: a file wasn't seen to its end.
        """
        reader = LatestFrame(self.video, self.loop)
        note, problem, interrupted = "", "", False
        file: VideoFile | None = None
        with contextlib.ExitStack() as stack:
            # Before the reader, and so closed after it.
            stack.callback(lambda: self.view.finish(note))
            try:
                writers, file = self._recording(stack)
                stack.callback(reader.close)
                note, problem = self._watch(reader, writers, file)
            except KeyboardInterrupt:
                note = "Stopped with Ctrl-C."
                # Of a camera there is no other end.
                interrupted = self.video.camera is None and not self.loop
            except BaseException:
                note = "The command ended."
                raise
        self._tell(file)
        self.session.say()
        if problem:
            raise UserError(f"{self.video.name}: {problem}")
        if interrupted:
            raise KeyboardInterrupt

    def _watch(self, reader: LatestFrame, writers: Sequence[Sequence[Writer]], file: VideoFile | None) -> tuple[str, str]:
        """The loop; returns why it ended, for a page, and what was wrong."""
        for side in self.sides:
            warm_up(side.tracker.predictor)
        while self.video.camera is None and not self.view.ready():
            if self.view.stopped():
                return "Stopped.", ""
            time.sleep(0.02)
        reader.start()
        self._began = last = time.monotonic()
        most = self.session.most_frames
        while True:
            if self.view.stopped():
                return "Stopped.", ""
            frame = reader.next(0.05)
            if frame is not None:
                last = time.monotonic()
                if most is None or frame.number < most:  # frames before it may have been dropped
                    with whole():  # counted, and in every file
                        self._one(frame, writers, file)
                if most is None or frame.number + 1 < most:
                    continue
                return f"The first {counted(most, 'frame')} were asked for, and seen.", ""
            if reader.ended:
                if reader.problem:
                    return f"It ended: {reader.problem}.", reader.problem
                return "The video is at its end.", ""
            if self.video.camera is not None and time.monotonic() - last > SILENT_S:
                problem = f"gave no picture for {SILENT_S:.0f} seconds"
                return f"It ended: the camera {problem}.", problem

    def _one(self, frame: Frame, writers: Sequence[Sequence[Writer]], file: VideoFile | None) -> None:
        faces = [side.tracker(frame.pixels, frame.time) for side in self.sides]
        now = time.monotonic()
        self._stamps.append(now)
        while now - self._stamps[0] > RATE_S:
            self._stamps.popleft()
        self._seen, self._last = self._seen + 1, frame.number
        apart = distance(faces[0], faces[1]) if len(faces) > 1 else None
        if apart is not None:
            self._apart, self._n_apart = self._apart + apart, self._n_apart + 1
        shown = Shown(frame, [side.name for side in self.sides], faces, self.figures(frame, faces, apart))
        self.view.show(shown)
        for own, found in zip(writers, faces, strict=True):
            for writer in own:
                writer.write(Found(self.video.name, found, self.video.size, frame.number, frame.time))
        if file is not None:
            file.write(shown.picture(), frame.time)

    def figures(self, frame: Frame, faces: Sequence[Sequence[Face]], apart: float | None) -> dict[str, Any]:
        """What is said of a frame: its number and time, frames per second, frames dropped so far, of each network the
        people's numbers with confidences, and the distance between both, now and on average, in % of the face's size."""
        span = self._stamps[-1] - self._stamps[0]
        return {
            "frame": frame.number,
            "time": round(frame.time, 2),
            "fps": round((len(self._stamps) - 1) / span, 1) if span > 0 else None,
            "source_fps": round(self.video.fps, 1),
            "dropped": self.dropped,
            "people": [[[face.track, round(face.confidence, 2)] for face in found] for found in faces],
            "apart": None if apart is None else round(apart, 2),
            "apart_mean": round(self._apart / self._n_apart, 2) if self._n_apart else None,
            "apart_frames": self._n_apart,
        }

    @property
    def dropped(self) -> int:
        """Frames that came while the networks were busy."""
        return self._last + 1 - self._seen

    def _recording(self, stack: contextlib.ExitStack) -> tuple[list[list[Writer]], VideoFile | None]:
        """What writes the files of each network, and the video."""
        plan = self.plan
        if plan is None:
            return [[] for _ in self.sides], None
        writers = [self.session.writers(own, stack, own.lines.with_name(own.lines.stem + "_pts")) for own in self._plans()]
        file = None
        if plan.annotated:
            size = picture_size(self.video.size, len(self.sides))
            file = stack.enter_context(VideoFile(plan.folder / plan.names[0], size, self.video.fps))
        return writers, file

    def _plans(self) -> list[Plan]:
        """Of each network."""
        return [] if self.plan is None else [self.plan, *(self.plan.beside("_against") for _ in self.sides[1:])]

    def _tell(self, file: VideoFile | None) -> None:
        lines, seconds = self.session.lines, time.monotonic() - self._began
        if not self._seen:
            lines.append(f"{self.video.name}: no frame was seen")
        for side in self.sides if self._seen else ():
            lines += told(
                f"{self.video.name}{f' by {side.name}' if len(self.sides) > 1 else ''}", side.tracker.tally, seconds
            )
        if self._n_apart:
            lines.append(
                f"distance between both networks' landmarks: {self._apart / self._n_apart:.2f}% of the face's size on "
                f"average, over {counted(self._n_apart, 'frame')}"
            )
        if self.dropped:
            lines.append(f"{counted(self.dropped, 'frame')} dropped, which came while the networks were busy")
        if file is not None and file.notice:
            lines.append(file.notice)
        if self.plan is not None:
            note = f" ({file.codec})" if file is not None else ""
            self.session.say_files(self._plans(), note)


def show(
    session: Session,
    video: Video,
    predictors: Sequence[FacePredictor],
    names: Sequence[str],
    page: bool = False,
    host: str | None = None,
    port: int | None = None,
    loop: bool = False,
    record: bool = False,
) -> None:
    """Show a camera, or a video in its place, in a window or on a page.

    Args:
        session: says what was done, and how faces are followed and files written.
        video: not opened yet.
        predictors: of one network, or of two.
        names: of the networks.
        page: a page, also where there could be a window.
        host, port: of the page; this machine alone, and any port, where None.
        loop: a file begins again when it ends.
        record: files are written.

    Raises:
        UserError: the camera isn't there, or goes away; a damaged file; a host or port that can't be had.
        KeyboardInterrupt: a file wasn't seen to its end.
    """
    from domaingap.inference.serve import LOOPBACK, About, PageView
    from domaingap.inference.window import Window, no_window

    plan = session.plans([video])[0] if record else None
    if len(predictors) > 1:
        share_detector(predictors)
    sides = [
        Side(name, Tracker(predictor, session.tracker, session.smoothing))
        for name, predictor in zip(names, predictors, strict=True)
    ]
    title = f"{video.name}: {' | '.join(names)}"
    with contextlib.ExitStack() as stack:
        why = "" if page else no_window()
        view: View | None = None
        if not page and not why:
            video.open()
            stack.callback(video.close)
            try:
                view = Window(title, picture_size(video.size, len(sides)))
                console.print(f"{title}; q or Esc in the window ends it")
            except cv2.error as error:
                why = f"OpenCV shows none ({str(error.err).strip() or error.code})"
        if view is None:
            served = PageView(LOOPBACK if host is None else host, port or 0)
            stack.callback(served.close)
            if video.size == (0, 0):
                video.open()
                stack.callback(video.close)
            if not page:
                console.print(f"no window: {why}; a page instead")
            served.start(About(video.path.name if video.path is not None else video.name, names, page_size(video.size)))
            # The address ends its line, so that it can be clicked and copied, and isn't broken in two.
            console.print(f"open {served.url}", soft_wrap=True, markup=False)
            begins = "" if video.camera is not None else "the video begins when the page is open; "
            console.print(f"{begins}its button or Ctrl-C ends it")
            if served.exposure:
                console.print(served.exposure)
            view = served
        Live(video, sides, view, session, plan, loop).run()
