"""An albumentations transform: rotation, scale, shift, crop and mirror of a face in one warp."""

from __future__ import annotations

import math
from typing import Any

import albumentations as A
import cv2
import numpy as np
from albumentations.core.type_definitions import Targets
from numpy.typing import NDArray

from domaingap.landmarks import LandmarkScheme


class SimilarityCrop(A.DualTransform):  # type: ignore[misc] # albumentations is untyped
    """A random similarity of the picture, cropped to its middle; one interpolation for all of it.

    albumentations' Affine followed by a crop computes pixels that are cut off again, and its mirror doesn't exchange
    the indices of landmarks; this takes a quarter of the time of both.

    Args:
        size: side of the answer in pixels; the picture must be a larger square.
        scheme: which landmarks a mirror exchanges.
        degrees: rotation is drawn from ±degrees.
        scale: scale is drawn from 1 ± scale.
        shift: shift is drawn from ±shift times ``size``, in x and in y.
        mirror: probability of a mirror.
    """

    _targets = (Targets.IMAGE, Targets.KEYPOINTS)

    def __init__(
        self,
        size: int,
        scheme: LandmarkScheme,
        degrees: float = 0.0,
        scale: float = 0.0,
        shift: float = 0.0,
        mirror: float = 0.0,
    ) -> None:
        super().__init__(p=1.0)
        self.size, self.scheme = size, scheme
        self.degrees, self.scale, self.shift, self.mirror = degrees, scale, shift, mirror

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a similarity: a matrix [2, 3] from the picture's pixels to the answer's."""
        draw = self.py_random
        angle = math.radians(draw.uniform(-self.degrees, self.degrees))
        scale = 1 + draw.uniform(-self.scale, self.scale)
        dx, dy = (draw.uniform(-self.shift, self.shift) * self.size for _ in range(2))
        mirrored = draw.random() < self.mirror
        a, b = scale * math.cos(angle), scale * math.sin(angle)
        inner, outer = (params["shape"][0] - 1) / 2, (self.size - 1) / 2
        matrix = np.array(
            [[a, -b, outer + dx - a * inner + b * inner], [b, a, outer + dy - b * inner - a * inner]], dtype=np.float64
        )
        if mirrored:
            matrix[0] = -matrix[0]
            matrix[0, 2] += self.size - 1
        return {"matrix": matrix, "mirrored": mirrored}

    def apply(self, img: NDArray[np.uint8], matrix: NDArray[np.float64], **params: Any) -> NDArray[np.uint8]:
        """The picture [S, S] or [S, S, 3] through the matrix."""
        warped = cv2.warpAffine(img, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, dtype=np.uint8)

    def apply_to_keypoints(
        self, keypoints: NDArray[np.float32], matrix: NDArray[np.float64], mirrored: bool, **params: Any
    ) -> NDArray[np.float32]:
        """Keypoints [n, 2 or more], x and y first, through the matrix; a mirror exchanges left and right landmarks."""
        moved = keypoints.copy()
        moved[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return moved[self.scheme.flip_permutation] if mirrored else moved
