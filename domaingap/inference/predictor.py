"""From a picture to the landmarks of every face in it, in the picture's own pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from domaingap.config import CropConfig
from domaingap.data.boxes import MAX_SIDE, MIN_FACE, THRESHOLDS, FaceDetector, box_from_landmarks, iou, landmark_box
from domaingap.data.crops import apply_transform, crop_transform, cut_crop, invert_transform
from domaingap.data.doctor.shape_model import align, prior
from domaingap.limits import Checked, limited

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = NDArray[np.float64]

ODD_SHAPE = 0.35
"""Distance from the mean shape, both of unit size, at which a shape is as likely wrong as right. Faces in 300-W that look
straight ahead lie at about 0.1, profiles at 0.2 to 0.3."""
UNSURE = 0.10
"""Mean uncertainty, as a share of the face's size, at which the network is as likely wrong as right."""
REFINED = 0.5
"""Chance of a face, as the detector's last stage sees it, from which that stage's box is taken."""
FAR = 0.08
"""How far a box's centre moves there, in sides of the box, from which the stage is asked once more. Of a face at rest it
moves by up to 0.06, since the box that landmarks give isn't quite the one that the stage would; to ask again on that account
would move it on and on."""
SLIPPED = (0.1, 0.5)
"""Overlap of the box that was looked at with the box of the points found in it: nothing is left of the confidence at the
first, and nothing taken off it at the second."""


class Network(Protocol):
    """What is asked of a network: :class:`domaingap.inference.model.LandmarkModel`."""

    crop: CropConfig

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Points [B, 68, 2] in crop pixels of crops [B, S, S] or [B, S, S, 3], and their uncertainties [B, 68] in the same
        unit where the network was trained to tell them."""
        ...

    def adapt(self, points: NDArray[Any]) -> NDArray[Any]:
        """Points [B, 68, 2] in original pixels, moved by the run's label adapter where it has one."""
        ...


@dataclass(frozen=True)
class DetectorConfig(Checked):
    """How faces are looked for.

    Args:
        smallest_face: side of the smallest face in pixels of the picture.
        proposal, refinement, verdict: probabilities that a candidate needs after MTCNN's three stages.
        max_side: larger pictures are looked at reduced to this side, so that memory and time stay bounded.
        max_faces: of a picture, the largest ones.
    """

    smallest_face: int = limited(MIN_FACE, 12, 2000)
    proposal: float = limited(THRESHOLDS[0], above=0, below=1)
    refinement: float = limited(THRESHOLDS[1], above=0, below=1)
    verdict: float = limited(THRESHOLDS[2], above=0, below=1)
    max_side: int = limited(MAX_SIDE, 100, 8000)
    max_faces: int = limited(100, 1, 1000)

    def detector(self) -> FaceDetector:
        """The detector."""
        return FaceDetector(self.smallest_face, (self.proposal, self.refinement, self.verdict), self.max_side)


@dataclass(frozen=True, eq=False)
class Face:
    """A face that was found.

    Attributes:
        box: [4] x0, y0, x1, y1 of the face in pixels of the picture: the detector's, or of one that was followed in a video
            what the detector's last stage makes of where it was before.
        landmarks: [68, 2] in pixels of the picture, the centre of the first pixel at (0, 0).
        sigma: [68] standard deviation of each coordinate in pixels, where the network tells it.
        confidence: between 0 and 1; see :meth:`FacePredictor.at`.
        track: number of the person in a video, from 1; None in a picture.
        found: whether the box is the detector's (and not made from the landmarks of the frame before).
    """

    box: Array
    landmarks: Array
    sigma: Array | None
    confidence: float
    track: int | None = None
    found: bool = True

    @property
    def size(self) -> float:
        """Size in pixels: the root of the area of its landmarks' box."""
        x0, y0, x1, y1 = landmark_box(self.landmarks)
        return float(np.sqrt(max((x1 - x0) * (y1 - y0), 1e-6)))


class FacePredictor:
    """A network and a detector.

    Args:
        model: the network.
        detector: how faces are looked for.
    """

    def __init__(self, model: Network, detector: DetectorConfig = DetectorConfig()) -> None:
        self.model, self.settings = model, detector
        self.detector = detector.detector()
        self._mean, _ = prior()

    def predict(self, image: NDArray[np.uint8]) -> list[Face]:
        """Every face in an RGB picture [H, W, 3], the largest first."""
        return self.at(image, self.find(image))

    def find(self, image: NDArray[np.uint8]) -> Array:
        """Boxes [n, 4] of the faces in an RGB picture [H, W, 3], the largest first."""
        return self.detector.detect(image)[: self.settings.max_faces]

    def at(self, image: NDArray[np.uint8], boxes: NDArray[Any], found: bool = True) -> list[Face]:
        """The faces in boxes [n, 4] of an RGB picture [H, W, 3].

        A face's confidence is the least of three: the detector's last stage, asked of the box of the answered landmarks
        (or of the given box, where that isn't the detector's); how far the box of the landmarks overlaps the one looked at;
        and the network's own uncertainty relative to the face's size, or where it tells none, how far the shape is from a
        mean face.

        Args:
            image: the picture.
            boxes: of the faces.
            found: whether the boxes are the detector's.
        """
        if not len(boxes):
            return []
        chances: NDArray[Any] | None = None
        if not found:
            # Cut out as the detector would have it: a network's errors would add up from frame to frame.
            chances, boxes = self._refined(image, boxes)
        crop = self.model.crop
        transforms = np.stack([crop_transform(box, crop) for box in boxes])
        # With the margin that is kept in training: without it, one pixel in a thousand is rounded the other way.
        inner = slice(crop.pad, crop.pad + crop.size)
        crops = np.stack([cut_crop(image, transform, crop)[inner, inner] for transform in transforms])
        points, sigma = self.model(crops)
        back = invert_transform(transforms)
        answers = np.asarray(self.model.adapt(apply_transform(back, np.asarray(points, dtype=np.float64))), dtype=np.float64)
        spreads = None if sigma is None else np.asarray(sigma, dtype=np.float64) * back[:, 0, 0][:, None]
        own = [box_from_landmarks(answer) for answer in answers]
        if chances is None:
            chances, _ = self.detector.refine(image, np.stack(own))
        sure = np.minimum(chances, self._plausible(boxes, own, answers, spreads))
        return [
            Face(
                np.asarray(boxes[i], dtype=np.float64),
                answers[i],
                None if spreads is None else spreads[i],
                float(sure[i]),
                found=found,
            )
            for i in range(len(boxes))
        ]

    def _refined(self, image: NDArray[np.uint8], boxes: NDArray[Any]) -> tuple[Array, Array]:
        """What the detector's last stage says of boxes [n, 4]: chances [n] and, where they are good, its own boxes."""
        chances, refined = self.detector.refine(image, boxes)
        sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1e-6)
        moved = np.abs((refined - boxes).reshape(-1, 2, 2).mean(axis=1)).max(axis=1) / sides
        boxes = np.where(chances[:, None] >= REFINED, refined, boxes)
        again = np.flatnonzero((chances >= REFINED) & (moved > FAR))
        if len(again):
            # Of a face that moves fast the first look sees a part: what it says of the rest is a guess.
            second, better = self.detector.refine(image, boxes[again])
            boxes[again] = np.where(second[:, None] >= REFINED, better, boxes[again])
            chances[again] = second
        return chances, boxes

    def _plausible(self, boxes: NDArray[Any], own: Sequence[Array], answers: Array, sigma: Array | None) -> Array:
        """Confidences [n] between 0 and 1 by geometry, and by the network's uncertainty where there is one."""
        low, high = SLIPPED
        overlap = np.array([iou(box, other) for box, other in zip(boxes, own, strict=True)])
        fits = np.clip((overlap - low) / (high - low), 0, 1)
        if sigma is not None:
            sizes = np.array([np.sqrt(max(np.prod(np.ptp(answer, axis=0)), 1e-6)) for answer in answers])
            unlikely = sigma.mean(axis=1) / sizes / UNSURE
        else:
            shapes, _ = align(answers, self._mean)
            unlikely = np.sqrt(((shapes - self._mean) ** 2).sum(axis=-1).mean(axis=-1)) / ODD_SHAPE
        return np.asarray(np.nan_to_num(np.minimum(fits, 1 / (1 + unlikely**4))), dtype=np.float64)
