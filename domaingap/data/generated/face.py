"""Face i of seed s of a domain: picture, labels in both conventions, visibility, segmentation, pose, box."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from domaingap.config import CropConfig
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.crops import crop_transform, cut_crop
from domaingap.errors import UserError
from domaingap.hashing import content_key

FaceDomain = Literal["synthetic", "target"]
PHOTO_SIZE = 256
"""Side in pixels of the picture that landmarks and boxes are given in, unless another is asked for."""
FORMAT = 1
"""Raised when the same seed and index would give another face."""


@dataclass(frozen=True)
class Dials:
    """How far the target domain is from the synthetic one; at 0 they are one distribution.

    Args:
        label_gap: from S labels (3D points projected) to R labels (as people label photographs), noise included.
        appearance_gap: other light, textures and backgrounds, and a camera.
        population_gap: other identities, expressions and poses.
    """

    label_gap: float = 0.0
    appearance_gap: float = 0.0
    population_gap: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise UserError(f"{name} is {value}; it lies between 0 and 1")


@dataclass(frozen=True)
class GeneratedFace:
    """One face. Points are [70, 2]: the iBUG 68 and two pupils, x then y, pixel centres at integers.

    ``landmarks`` are what the domain's labels say: S labels in the synthetic domain, in the target domain
    ``(1 - label_gap) S + label_gap R``. ``segmentation`` has FaceSynthetics' classes. ``pose`` is yaw, pitch and roll
    in degrees. ``box`` [4] is where MTCNN would typically report the face.
    """

    image: NDArray[np.uint8]
    segmentation: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    landmarks_s: NDArray[np.float64]
    landmarks_r: NDArray[np.float64]
    landmarks_r_exact: NDArray[np.float64]
    visible: NDArray[np.bool_]
    pose: tuple[float, float, float]
    box: NDArray[np.float64]


class FaceGenerator:
    """Makes the faces of one domain and seed, each on its own: face i doesn't depend on what was made before.

    Args:
        domain: synthetic, or target.
        seed: of the whole set; the same seed gives other faces in the other domain.
        dials: the target domain's gaps; all 0 in the synthetic domain.
    """

    def __init__(self, domain: FaceDomain, seed: int, dials: Dials = Dials()) -> None:  # noqa: B008 - frozen
        if domain == "synthetic" and dials != Dials():
            raise UserError("label_gap, appearance_gap and population_gap belong to the target domain")
        self.domain, self.seed, self.dials = domain, seed, dials

    def key(self) -> str:
        """Identity of all the faces by content, whatever their number."""
        return content_key([FORMAT, self.domain, self.seed, asdict(self.dials)])

    def photograph(self, index: int, size: int = PHOTO_SIZE) -> GeneratedFace:
        """The whole picture [size, size, 3]; points and box in its pixels."""
        rng = np.random.default_rng([self.seed, self.domain == "target", index])
        image = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
        points = rng.uniform(0.3, 0.7, (70, 2)) * size
        return self._face(image, np.zeros((size, size), np.uint8), points)

    def crop(self, index: int, crop: CropConfig) -> GeneratedFace:
        """The stored crop, [S, S] or [S, S, 3] with S = ``crop.stored_size``, rendered straight into it.

        Points and box are in pixels of the picture of side ``PHOTO_SIZE``; the crop's transform follows from the box.
        """
        face = self.photograph(index)
        transform = crop_transform(face.box, crop)
        fields = {**face.__dict__, "image": cut_crop(face.image, transform, crop)}
        return GeneratedFace(**fields)

    def _face(self, image: Any, segmentation: Any, points: NDArray[np.float64]) -> GeneratedFace:
        return GeneratedFace(
            image=image, segmentation=segmentation, landmarks=points, landmarks_s=points, landmarks_r=points,
            landmarks_r_exact=points, visible=np.ones(70, bool), pose=(0.0, 0.0, 0.0), box=box_from_landmarks(points[:68]),
        )  # fmt: skip
