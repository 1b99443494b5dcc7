"""Landmark schemes: which point is which, which regions they form, and what a mirror does to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class LandmarkScheme:
    """An ordered set of facial landmarks.

    ``mirror_pairs`` lists the index pairs that a left-right mirror exchanges; points in no pair lie on
    the midline. ``eyes`` holds the contour points of the two eyes and ``outer_corners`` the outer corner
    of each, in the same order.
    """

    name: str
    n_points: int
    regions: dict[str, tuple[int, ...]]
    mirror_pairs: tuple[tuple[int, int], ...]
    eyes: tuple[tuple[int, ...], tuple[int, ...]]
    outer_corners: tuple[int, int]

    @cached_property
    def flip_permutation(self) -> NDArray[np.int64]:
        """Index array [n_points]: point i of a mirrored face is point ``flip_permutation[i]`` of the original."""
        order = np.arange(self.n_points)
        for a, b in self.mirror_pairs:
            order[a], order[b] = b, a
        return order

    def flip(self, points: FloatArray, width: int) -> FloatArray:
        """Mirror points [..., n_points, 2] left to right in an image ``width`` pixels wide (pixel centres at integers)."""
        flipped = points[..., self.flip_permutation, :].copy()
        flipped[..., 0] = width - 1 - flipped[..., 0]
        return flipped

    def region_indices(self, region: str) -> tuple[int, ...]:
        """Indices of a region, of ``all`` points, or of ``no_jaw`` (for iBUG the 51 inner points)."""
        if region == "all":
            return tuple(range(self.n_points))
        if region == "no_jaw":
            return tuple(i for i in range(self.n_points) if i not in self.regions["jaw"])
        return self.regions[region]


_MIRROR_68 = (
    *((i, 16 - i) for i in range(8)),
    *((17 + i, 26 - i) for i in range(5)),
    *((31 + i, 35 - i) for i in range(2)),
    *zip((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46), strict=True),
    *((48 + i, 54 - i) for i in range(3)),
    *((55 + i, 59 - i) for i in range(2)),
    *((60 + i, 64 - i) for i in range(2)),
    (65, 67),
)
_REGIONS_68 = {
    "jaw": tuple(range(0, 17)),
    "brows": tuple(range(17, 27)),
    "nose": tuple(range(27, 36)),
    "eyes": tuple(range(36, 48)),
    "mouth": tuple(range(48, 68)),
}
_EYES_68 = (tuple(range(36, 42)), tuple(range(42, 48)))

IBUG68 = LandmarkScheme("ibug68", 68, _REGIONS_68, _MIRROR_68, _EYES_68, (36, 45))
"""The 68 points of the iBUG annotation (Sagonas et al., 300 Faces in-the-Wild), counted from 0."""

FACE_SYNTHETICS70 = LandmarkScheme(
    "face_synthetics70", 70, {**_REGIONS_68, "pupils": (68, 69)}, (*_MIRROR_68, (68, 69)), _EYES_68, (36, 45)
)
"""The 68 points and two pupils (68 belongs to eye 36-41, 69 to eye 42-47) of Microsoft FaceSynthetics."""


def to_ibug68(points: FloatArray) -> FloatArray:
    """The iBUG 68 of points [..., 68 or 70, 2]: the first 68, which both schemes share."""
    if points.shape[-2] not in (68, 70):
        raise ValueError(f"expected 68 or 70 landmarks, got {points.shape[-2]}")
    return points[..., :68, :]
