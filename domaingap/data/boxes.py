"""Face boxes: MTCNN's, or the annotation's (oracle), in one convention, so that one crop rule serves both.

A box is ``(x0, y0, x1, y1)`` in pixels of the image. The convention is MTCNN's, because a detector is
what a network has at test time; a landmark box is brought to it by :func:`box_from_landmarks`.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.hashing import digest

BoxRule = Literal["mtcnn", "landmarks"]
BoxSource = Literal["mtcnn", "fallback", "landmarks", "generated"]
"""Where a box came from: the detector, the landmarks because the detector missed, the landmarks by choice (oracle), or
the generator of the face, which says where the detector would typically report it."""

MAX_SIDE, MIN_FACE, MIN_IOU = 1024, 20, 0.3
THRESHOLDS = (0.6, 0.7, 0.7)
"""MTCNN's own, of its three stages."""
DETECTOR = {"name": "facenet-pytorch MTCNN", "max_side": MAX_SIDE, "min_face": MIN_FACE, "min_iou": MIN_IOU}
"""What determines a detected box; part of the key under which boxes are kept."""

# Medians of MTCNN's box over the landmark box: width 0.95-0.98, height 1.27-1.31, centre 0.17 of its height up on
# 1,378 faces of AFW and HELEN; 0.99, 1.35 and 0.15 on 100 FaceSynthetics renderings.
_WIDTH, _HEIGHT, _UP = 0.95, 1.30, 0.15


def landmark_box(points: NDArray[Any]) -> NDArray[np.float64]:
    """The tight box [4] around points [n, 2]."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float64)


def box_from_landmarks(points: NDArray[Any]) -> NDArray[np.float64]:
    """The box [4] that MTCNN would typically report for a face with these landmarks [68, 2]."""
    x0, y0, x1, y1 = landmark_box(points)
    width, height = x1 - x0, y1 - y0
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2 - _UP * height
    return np.array([cx - _WIDTH * width / 2, cy - _HEIGHT * height / 2, cx + _WIDTH * width / 2, cy + _HEIGHT * height / 2])


def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Intersection over union of two boxes."""
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    return float(overlap / union) if union > 0 else 0.0


def picture_key(image: NDArray[np.uint8]) -> str:
    """A digest of a decoded picture [H, W, 3]: the same one saved in another way is the same one."""
    return digest([str(image.shape).encode(), image.data.cast("B")])


def face_key(picture: str, landmarks: NDArray[np.float64]) -> str:
    """A digest of a picture, by its own, and of the landmarks [68, 2] in it: what a box belongs to."""
    return digest([picture.encode(), landmarks.tobytes()])


class FaceDetector:
    """MTCNN (facenet-pytorch; its weights come with the package).

    Args:
        smallest: face to look for, in pixels of the picture; in a picture that is reduced at least 20 of the reduced one's.
        thresholds: probabilities that a candidate needs after each of the three stages.
        max_side: a picture with a longer side is looked at reduced to it.
    """

    smallest, max_side = MIN_FACE, MAX_SIDE

    def __init__(
        self, smallest: int = MIN_FACE, thresholds: tuple[float, float, float] = THRESHOLDS, max_side: int = MAX_SIDE
    ) -> None:
        from facenet_pytorch import MTCNN

        self.smallest, self.max_side = smallest, max_side
        self._mtcnn = MTCNN(keep_all=True, device="cpu", min_face_size=smallest, thresholds=list(thresholds))

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """All face boxes [n, 4] in an RGB image [H, W, 3], the largest first; n may be 0."""
        scale = min(1.0, self.max_side / max(image.shape[:2]))
        if min(image.shape[:2]) * scale < 1:
            return np.empty((0, 4))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        self._mtcnn.min_face_size = max(min(self.smallest, MIN_FACE), round(self.smallest * scale))
        try:
            boxes, _ = self._mtcnn.detect(image)
        except (RuntimeError, ValueError):
            # facenet-pytorch fails on pictures in which its first stage proposes nothing, or that are only a few
            # pixels large; both mean "no face".
            boxes = None
        if boxes is None:
            return np.empty((0, 4))
        return np.asarray(np.asarray(boxes, dtype=np.float64).reshape(-1, 4) / scale)

    def refine(self, image: NDArray[np.uint8], boxes: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the last stage alone says of boxes [n, 4]: probabilities [n] that each holds a face, and the boxes [n, 4]
        that it would report. It looks at 48 x 48 px a box, which takes far less time than a search.
        """
        import torch

        height, width = image.shape[:2]
        known, cuts, squares = [], [], []
        for i, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, dtype=np.float64).tolist()):
            half = max(x1 - x0, y1 - y0) / 2  # MTCNN squares a box and cuts off what lies outside the picture
            cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
            if not np.isfinite([half, cx, cy]).all():
                continue
            left, right = (int(np.clip(round(cx + side), 0, width)) for side in (-half, half))
            top, bottom = (int(np.clip(round(cy + side), 0, height)) for side in (-half, half))
            if right - left < 2 or bottom - top < 2:
                continue
            known.append(i)
            squares.append((cx - half, cy - half, 2 * half))
            cuts.append(cv2.resize(image[top:bottom, left:right], (48, 48), interpolation=cv2.INTER_AREA))
        found, refined = np.zeros(len(boxes)), np.array(boxes, dtype=np.float64)
        if cuts:
            batch = (torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).float() - 127.5) * 0.0078125
            with torch.no_grad():
                moves, _, chances = self._mtcnn.onet(batch)
            found[known] = chances[:, 1].double().numpy()
            # Its answer is by how many sides of the square each edge moves.
            left, top, side = np.array(squares).T
            edges = np.stack([left, top, left + side, top + side], axis=1)
            refined[known] = edges + moves.double().numpy() * side[:, None]
        return found, refined

    def face_box(self, image: NDArray[np.uint8], landmarks: NDArray[Any]) -> tuple[NDArray[np.float64], BoxSource]:
        """The detected box that overlaps the annotation [68, 2] best, or the stated fallback where none does enough."""
        expected = box_from_landmarks(landmarks)
        boxes = self.detect(image)
        overlaps = [iou(box, expected) for box in boxes]
        if overlaps and max(overlaps) >= MIN_IOU:
            return boxes[int(np.argmax(overlaps))], "mtcnn"
        return expected, "fallback"
