"""Faces of a video: followed from frame to frame by their landmarks, looked for again when lost and every so often.

In each frame a face is looked at where its landmarks were in the frame before. It is lost where its confidence is too low
(:meth:`FacePredictor.at`), where what is there looks unlike it, or where the shot changes; the detector is asked then, in
the same frame if the face was followed for a while. It is also asked every ``every`` frames, for people who enter, and more
often while somebody is lost or nobody is there. Who comes back is known by the place, shortly after, or by the looks: the
correlation of small pictures of faces, upright and of one size. That tells two people in one video apart, and is no
recognition of faces.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.boxes import box_from_landmarks, iou
from domaingap.data.doctor.shape_model import prior
from domaingap.inference.smoothing import OneEuro, SmoothingConfig
from domaingap.limits import Checked, limited

if TYPE_CHECKING:
    from domaingap.inference.predictor import Face, FacePredictor

Array = NDArray[np.float64]

SAME_PLACE = 0.3
"""Overlap (IoU) of two boxes from which they are one face's."""
UNLIKE, ALIKE = 0.4, 0.65
"""Correlation of looks below which a face is another one although it is in the same place, and from which it is the same
one wherever it is. Between them, place decides."""
CUT = 0.75
"""Correlation of two frames, 32 x 24 px each, below which the shot changed."""
GAP_S = 0.5
"""Seconds between two frames from which a change of what is seen isn't called a cut: of a camera that is shown live, frames
may have been dropped in between."""
CERTAIN = 0.9
"""Confidence from which a face is followed although the detector doesn't find it."""
LOOKS, LOOK_SIDE = 8, 32
"""Pictures kept of a person, and their side in pixels."""


@dataclass(frozen=True)
class TrackerConfig(Checked):
    """How faces are followed.

    Args:
        every: frames after which the detector is asked at the latest; 1 asks it in every frame.
        lost_below: confidence below which a face is lost.
        memory: people who left that are kept in mind, the last ones.
    """

    every: int = limited(25, 1, 100_000)
    lost_below: float = limited(0.5, 0, 1)
    memory: int = limited(50, 0, 10_000)

    @property
    def hurry(self) -> int:
        """Frames until the detector is asked again while somebody is lost, or nobody there."""
        return max(1, self.every // 5)


@dataclass(eq=False)
class _Person:
    """Somebody with a number.

    Attributes:
        number: from 1.
        face: as last seen, not smoothed.
        frame: when that was.
        looks: pictures [LOOK_SIDE²], centred and of unit length; the last is of the frame before.
        filter: of the landmarks.
        since: frame from which they have been there.
        granted: frame up to which they are followed however low the confidence is, as long as they look as before.
    """

    number: int
    face: Face
    frame: int
    looks: deque[Array]
    filter: OneEuro | None
    since: int
    granted: int = 0

    def box(self) -> Array:
        """Where to look in the next frame."""
        return box_from_landmarks(self.face.landmarks)


@dataclass
class Tally:
    """What happened: frames, frames with a face, faces in all, how often the detector was asked, how often somebody
    wasn't there any more, shots that changed, people."""

    frames: int = 0
    with_face: int = 0
    faces: int = 0
    detections: int = 0
    lost: int = 0
    cuts: int = 0
    people: int = 0


@dataclass(eq=False)
class Tracker:
    """Follows the faces of one video.

    Args:
        predictor: finds faces and their landmarks.
        settings: see :class:`TrackerConfig`.
        smoothing: filters the landmarks that are answered; the ones that are followed stay as they are.
    """

    predictor: FacePredictor
    settings: TrackerConfig = TrackerConfig()
    smoothing: SmoothingConfig | None = None
    tally: Tally = field(default_factory=Tally)
    _here: list[_Person] = field(default_factory=list)
    _gone: list[_Person] = field(default_factory=list)
    _asked: int | None = None
    _before: Array | None = None
    _time: float = 0.0

    def __call__(self, image: NDArray[np.uint8], time: float) -> list[Face]:
        """The faces in the next frame, an RGB picture [H, W, 3] at a time in seconds, with their numbers."""
        frame, settings = self.tally.frames, self.settings
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        cut = self._changed(gray)
        before = {person.number for person in self._here}
        lost = self._follow(image, gray, frame, cut)
        since = frame - self._asked if self._asked is not None else settings.every
        if lost or cut or since >= self._patience(frame):
            self._look_around(image, gray, frame, cut)
        answers = [self._answer(person, time) for person in self._here]
        tally = self.tally
        tally.frames, tally.with_face, tally.faces = frame + 1, tally.with_face + bool(answers), tally.faces + len(answers)
        tally.cuts += cut and time - self._time < GAP_S
        self._time = time
        tally.lost += len(before - {person.number for person in self._here})
        return sorted(answers, key=lambda face: face.track or 0)

    def _patience(self, frame: int) -> int:
        """Frames from one asking of the detector to the next."""
        settings = self.settings
        lately = [person for person in self._gone if frame - person.frame <= 2 * settings.every]
        if not self._here or any(self._steady(person) for person in lately):
            return settings.hurry
        return min(2 * settings.hurry, settings.every) if lately else settings.every

    def _steady(self, person: _Person) -> bool:
        """Whether somebody was followed for a whole interval. What the detector takes for a face in one frame and not in the
        next, such as a blurred one or a pattern, isn't: to ask at once whenever it is lost would cost a search a frame."""
        return person.frame - person.since >= self.settings.every

    def _answer(self, person: _Person, time: float) -> Face:
        points = person.face.landmarks
        if person.filter is not None:
            points = person.filter(points, person.face.size, time)
        return replace(person.face, landmarks=points, track=person.number)

    def _changed(self, gray: NDArray[Any]) -> bool:
        """Whether the shot changed before this frame."""
        # Reduced by two steps: INTER_AREA over all of a large frame would take longer than everything else.
        step = max(1, min(gray.shape) // 200)
        now = _unit(cv2.resize(gray[::step, ::step], (32, 24), interpolation=cv2.INTER_AREA))
        before, self._before = self._before, now
        # A frame of one colour has no looks; two of them in a row are no cut.
        return before is not None and bool(before.any() or now.any()) and float(before @ now) < CUT

    def _follow(self, image: NDArray[np.uint8], gray: NDArray[Any], frame: int, cut: bool) -> bool:
        """Look at everybody where they were; returns whether somebody steady isn't there any more."""
        before = self._here
        if not before:
            return False
        faces = self.predictor.at(image, np.stack([person.box() for person in before]), found=False)
        self._here = []
        for person, face in zip(before, faces, strict=True):
            look = _look(gray, face.landmarks)
            least = ALIKE if cut else UNLIKE
            alike = float(person.looks[-1] @ look)
            # What the detector has just found isn't given up because its last stage alone is less sure of it.
            granted = frame < person.granted and not cut and alike >= ALIKE
            there = granted or (face.confidence >= self.settings.lost_below and alike >= least)
            # Whose landmarks slid onto somebody else's face is lost; who came first stays.
            taken = any(iou(face.box, other.face.box) > 0.5 for other in self._here)
            if there and not taken:
                self._seen(person, face, look, frame)
                self._here.append(person)
            else:
                self._leave(person)
        return any(self._steady(person) for person in before if person not in self._here)

    def _seen(self, person: _Person, face: Face, look: Array, frame: int) -> None:
        if frame % self.settings.every:  # one of each stretch is kept, and the last one
            person.looks.pop()
        person.looks.append(look)
        person.face, person.frame = face, frame

    def _leave(self, person: _Person) -> None:
        self._gone.append(person)
        del self._gone[: max(0, len(self._gone) - self.settings.memory)]

    def _look_around(self, image: NDArray[np.uint8], gray: NDArray[Any], frame: int, cut: bool) -> None:
        """Ask the detector: new people get numbers, known ones are found again."""
        boxes = list(self.predictor.find(image))
        self._asked = frame
        self.tally.detections += 1
        for person in sorted(self._here, key=lambda person: person.number):
            overlaps = [iou(box, person.box()) for box in boxes]
            if overlaps and max(overlaps) >= SAME_PLACE:
                boxes.pop(int(np.argmax(overlaps)))
                person.granted = frame + self.settings.hurry
            elif person.face.confidence < CERTAIN:
                self._here.remove(person)
                self._leave(person)
        faces = self.predictor.at(image, np.stack(boxes)) if boxes else []
        for face in faces:
            mine = box_from_landmarks(face.landmarks)
            if any(iou(mine, box_from_landmarks(other.face.landmarks)) > 0.5 for other in self._here):
                continue
            look = _look(gray, face.landmarks)
            known = self._known(face, look, frame, cut)
            if known is None:
                self.tally.people += 1
                person = _Person(self.tally.people, face, frame, deque([look, look], LOOKS), self._filter(), frame)
            else:
                person = known
                if frame - person.frame > 1:
                    person.since = frame
                    # Where they come back has nothing to do with where they were.
                    person.filter = self._filter()
            person.granted = frame + self.settings.hurry
            self._seen(person, face, look, frame)
            self._here.append(person)

    def _filter(self) -> OneEuro | None:
        return OneEuro(self.smoothing) if self.smoothing is not None else None

    def _known(self, face: Face, look: Array, frame: int, cut: bool) -> _Person | None:
        """Who of those that left this is, if anybody; taken from them."""
        scores = []
        for person in self._gone:
            alike = float(max(look @ other for other in person.looks))
            near = (
                not cut and frame - person.frame <= 2 * self.settings.every and iou(person.face.box, face.box) >= SAME_PLACE
            )
            scores.append(alike if alike >= (UNLIKE if near else ALIKE) else -1.0)
        if not scores or max(scores) < 0:
            return None
        return self._gone.pop(int(np.argmax(scores)))


def _look(gray: NDArray[Any], landmarks: Array) -> Array:
    """What a face looks like [LOOK_SIDE²], upright, of one size and light; centred and of unit length."""
    mean, _ = prior()
    # The least-squares similarity from the landmarks to a mean face that fills the small picture.
    target = mean * (0.36 * LOOK_SIDE / np.abs(mean).max()) * 1.2 + (LOOK_SIDE - 1) / 2
    z, t = landmarks[:, 0] + 1j * landmarks[:, 1], target[:, 0] + 1j * target[:, 1]
    centred = z - z.mean()
    power = float((np.abs(centred) ** 2).sum())
    if not np.isfinite(power) or power <= 1e-6:
        return np.zeros(LOOK_SIDE**2)
    a = (np.conj(centred) * (t - t.mean())).sum() / power
    b = t.mean() - a * z.mean()
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    # Reduced beforehand, since warping doesn't smooth.
    side = max(1, int(1 / max(abs(a), 1e-6) / 2))
    if side > 1:
        x0, y0 = np.maximum(landmarks.min(axis=0) - 40 * side, 0).astype(int).tolist()
        x1, y1 = (landmarks.max(axis=0) + 40 * side).astype(int).tolist()
        window = gray[y0 : max(y1, y0), x0 : max(x1, x0)]
        if min(window.shape) < side:
            return np.zeros(LOOK_SIDE**2)
        gray = cv2.resize(window, None, fx=1 / side, fy=1 / side, interpolation=cv2.INTER_AREA)
        matrix[:, 2] += matrix[:, :2] @ np.array([x0 + (side - 1) / 2, y0 + (side - 1) / 2])
        matrix[:, :2] *= side
    small = cv2.warpAffine(gray, matrix, (LOOK_SIDE, LOOK_SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    smooth = small.astype(np.float32)
    # Without the slow changes of light across the face, which all faces under one lamp share.
    return _unit(cv2.GaussianBlur(smooth, (0, 0), 1.0) - cv2.GaussianBlur(smooth, (0, 0), 6.0))


def _unit(picture: NDArray[Any]) -> Array:
    flat = picture.astype(np.float64).ravel()
    flat = flat - flat.mean()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 1e-9 else np.zeros_like(flat)
