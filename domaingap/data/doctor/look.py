"""One look at a face's files: the picture is decoded once, and all that is asked of it is taken then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.boxes import BoxSource, face_key, picture_key
from domaingap.data.doctor.duplicates import perceptual_hash
from domaingap.data.doctor.localiser import cut_view
from domaingap.data.doctor.shape_model import Array
from domaingap.data.images import read_picture
from domaingap.errors import DataError
from domaingap.landmarks import IBUG68

if TYPE_CHECKING:
    from domaingap.data.boxes import FaceDetector
    from domaingap.data.doctor.fit import Fit


@dataclass(frozen=True)
class Job:
    """A picture to look at, and its points [68, 2] where they can be read."""

    image: str
    points: Array | None


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        error: why the picture can't be decoded; nothing else is known then.
        size: width and height in pixels.
        picture: a digest of the decoded picture.
        hashes: perceptual hashes [2, 143] of the picture and of the face in it.
        views: the face as annotated, and as it would be annotated if the picture were mirrored [2, 76, 76].
        view_points: the points in both views [2, 68, 2].
        misfits: what a fitted localiser says of both views [2]; the views aren't kept then.
        box: where the face box came from, if a detector was asked.
        doubts: what of the file was left out of account.
    """

    error: DataError | None = None
    size: tuple[int, int] = (0, 0)
    picture: str = ""
    hashes: NDArray[np.float16] | None = None
    views: NDArray[np.uint8] | None = None
    view_points: Array | None = None
    misfits: Array | None = None
    box: BoxSource | None = None
    doubts: tuple[str, ...] = ()


def start_looking(detect: bool, boxes: dict[str, str], fit: Fit | None) -> None:
    """Set a process up.

    Args:
        detect: ask the face detector.
        boxes: where boxes came from that are known already, by face.
        fit: a fitted localiser, if there is one.
    """
    if detect:
        import torch

        torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _state.update(detect=detect, boxes=boxes, fit=fit, detector=None)


_state: dict[str, Any] = {}


def look(job: Job) -> Look:
    """Look at a picture; never raises for what is in the file."""
    try:
        read = read_picture(Path(job.image))
    except DataError as error:
        return Look(error=error)
    image, doubts = read.pixels, read.doubts
    size = (image.shape[1], image.shape[0])
    picture = picture_key(image)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    whole = perceptual_hash(np.asarray(gray, dtype=np.uint8))
    if job.points is None:
        return Look(size=size, picture=picture, hashes=np.stack([whole, np.zeros_like(whole)]), doubts=doubts)
    views, points = views_of(
        np.asarray(gray, dtype=np.uint8), [job.points, np.asarray(IBUG68.flip(job.points, size[0]), np.float64)]
    )
    hashes = np.stack([whole, perceptual_hash(views[0])])
    box = _box_source(image, picture, job.points) if _state["detect"] else None
    fit: Fit | None = _state["fit"]
    if fit is not None:
        return Look(None, size, picture, hashes, misfits=fit.misfit(views, points), box=box, doubts=doubts)
    return Look(None, size, picture, hashes, views, points, box=box, doubts=doubts)


def views_of(gray: NDArray[np.uint8], annotations: list[Array]) -> tuple[NDArray[np.uint8], Array]:
    """Views [n, 76, 76] of a gray picture around each annotation [68, 2], and its points in them [n, 68, 2]."""
    cut = [cut_view(gray, points) for points in annotations]
    return np.stack([view for view, _ in cut]), np.stack([points for _, points in cut])


def _box_source(image: NDArray[np.uint8], picture: str, points: Array) -> BoxSource:
    known: BoxSource | None = _state["boxes"].get(face_key(picture, points))
    if known is not None:
        return known
    if _state["detector"] is None:
        from domaingap.data.boxes import FaceDetector

        _state["detector"] = FaceDetector()
    detector: FaceDetector = _state["detector"]
    return detector.face_box(image, points)[1]
