"""Which annotations can't be those of a face in their picture: they neither train nor test.

What is normal was measured on 1,578 faces of 300-W, FaceSynthetics and DGFaces: points that share a position are those of
lids and lips that close (a third of 300-W), two by two; the outer eye corners are 0.13 of the face's size apart at least,
on turned renderings; no box of landmarks is larger than its picture. Single points outside the picture are part of the
releases and stay.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.images import MAX_PIXELS
from domaingap.landmarks import IBUG68

SMALLEST = 4.0
"""Width and height in pixels of the smallest landmark box that is a face; smaller ones are often in parts of the picture."""

NO_LENGTH = 0.01
"""A length that errors are measured by counts as none below this share of the face's size."""

LARGEST = 2.0
"""A landmark box that is more times as wide or as high as its picture is another picture's."""

_PLACEHOLDERS = {0, -1 - 1j, -2 - 2j}
"""What 0 0 and -1 -1 in a file become, whether it counts from 0 or, as ``.pts`` does, from 1; as x + iy."""

_REGION = {i: name for name, indices in IBUG68.regions.items() for i in indices}
_CONTOUR = {i: c for c, contour in enumerate(IBUG68.contours) for i in contour.indices}
_MOUTH_CORNERS = ({48, 60}, {54, 64})


def annotation_fault(points: NDArray[Any], size: tuple[int, int] | None = None) -> str | None:
    """Why a face can't be used; None where it can.

    Args:
        points: [68, 2] in pixels of the picture, counted from 0.
        size: width and height of the picture in pixels; without it only the points themselves are looked at.

    Returns:
        A reason, the same text for all faces that have it.
    """
    if not np.isfinite(points).all():
        return "points that aren't finite"
    if np.abs(points).max() > MAX_PIXELS:
        return "annotation outside its picture"
    low, sides = points.min(axis=0), np.ptp(points, axis=0)
    # The many in one place first: they say most about what happened.
    # As complex numbers they are sorted ten times faster than as rows.
    positions, group, counts = np.unique(points[:, 0] + 1j * points[:, 1], return_inverse=True, return_counts=True)
    if not _PLACEHOLDERS.isdisjoint(positions.tolist()):
        return "placeholder points (0 0 or -1 -1)"
    if len(positions) == 1:
        return "points coincide"
    if sides.max() < SMALLEST:
        return f"face smaller than {SMALLEST:g} pixels"
    least, most = np.linalg.eigvalsh(np.cov(points.T))
    if least < NO_LENGTH**2 * most:
        return "points on one line"
    length = NO_LENGTH * float(np.sqrt(sides.prod()))
    one, other = IBUG68.outer_corners
    if np.linalg.norm(points[one] - points[other]) <= length:
        return "outer eye corners coincide"
    centres = [points[list(eye)].mean(axis=0) for eye in IBUG68.eyes]
    if np.linalg.norm(centres[0] - centres[1]) <= length:
        return "eyes coincide"
    for number in np.flatnonzero(counts > 1):
        if not all(_may_coincide(i, j) for i, j in combinations(np.flatnonzero(group == number).tolist(), 2)):
            return "points coincide"
    if size is not None:
        if (sides > LARGEST * np.array(size)).any():
            return "annotation larger than its picture"
        outside = (points < -0.5) | (points >= np.array(size) - 0.5)
        if outside.any(axis=1).mean() > 0.5 or (low >= size).any():
            return "annotation outside its picture"
    return None


def _may_coincide(i: int, j: int) -> bool:
    """Whether two points can be in one place: of one eye, of the lips, or neighbours on a line; but no corners."""
    if _REGION[i] != _REGION[j]:
        return False
    if _REGION[i] == "mouth":
        return not any(i in one and j in other for one, other in (_MOUTH_CORNERS, _MOUTH_CORNERS[::-1]))
    if _CONTOUR[i] != _CONTOUR[j]:
        return False
    if _REGION[i] == "eyes":
        return abs(i - j) != 3 or i % 6 != 0  # a lid may meet any point of its eye, the two corners may not meet
    return abs(i - j) == 1
