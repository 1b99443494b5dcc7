"""Landmark schemes: which point is which, which regions they form, and what a mirror does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


class Contour(NamedTuple):
    """Landmarks that follow each other on a line; a closed one returns to its first."""

    indices: tuple[int, ...]
    closed: bool = False


@dataclass(frozen=True)
class LandmarkScheme:
    """An ordered set of facial landmarks.

    ``parts`` lists the contours of each region by its name, in the order of the points. ``mirror_pairs`` lists the
    index pairs that a left-right mirror exchanges; points in no pair lie on the midline. ``outer_corners`` holds the
    outer corner of each eye, in the order of the contours of ``eyes``.
    """

    name: str
    n_points: int
    parts: Mapping[str, tuple[Contour, ...]]
    mirror_pairs: tuple[tuple[int, int], ...]
    outer_corners: tuple[int, int]

    @cached_property
    def contours(self) -> tuple[Contour, ...]:
        """All contours."""
        return tuple(contour for part in self.parts.values() for contour in part)

    @cached_property
    def regions(self) -> dict[str, tuple[int, ...]]:
        """Indices of each region by its name."""
        return {name: tuple(i for contour in part for i in contour.indices) for name, part in self.parts.items()}

    @property
    def eyes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Contour points of the two eyes."""
        one, other = self.parts["eyes"]
        return one.indices, other.indices

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


def _contour(first: int, last: int, closed: bool = False) -> Contour:
    return Contour(tuple(range(first, last + 1)), closed)


_PARTS_68 = {
    "jaw": (_contour(0, 16),),
    "brows": (_contour(17, 21), _contour(22, 26)),
    "nose": (_contour(27, 30), _contour(31, 35)),
    "eyes": (_contour(36, 41, closed=True), _contour(42, 47, closed=True)),
    "mouth": (_contour(48, 59, closed=True), _contour(60, 67, closed=True)),
}

IBUG68 = LandmarkScheme("ibug68", 68, _PARTS_68, _MIRROR_68, (36, 45))
"""The 68 points of the iBUG annotation (Sagonas et al., 300 Faces in-the-Wild), counted from 0."""

FACE_SYNTHETICS70 = LandmarkScheme(
    "face_synthetics70",
    70,
    {**_PARTS_68, "pupils": (_contour(68, 68), _contour(69, 69))},
    (*_MIRROR_68, (68, 69)),
    (36, 45),
)
"""The 68 points and two pupils (68 belongs to eye 36-41, 69 to eye 42-47) of Microsoft FaceSynthetics."""


def to_ibug68(points: FloatArray) -> FloatArray:
    """The iBUG 68 of points [..., 68 or 70, 2]: the first 68, which both schemes share."""
    if points.shape[-2] not in (68, 70):
        raise ValueError(f"expected 68 or 70 landmarks, got {points.shape[-2]}")
    return points[..., :68, :]
