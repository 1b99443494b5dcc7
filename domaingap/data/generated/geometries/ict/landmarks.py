"""Vertices of ICT-FaceKit's light model: the iBUG 68, and what its parts are; and where people put the points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domaingap.landmarks import IBUG68

LANDMARKS = np.array([
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509,
    978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841,
    5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
])  # fmt: skip
"""[68] vertices."""
FACING = 5.0
"""Degrees by which the release's neutral head looks up: in photographs of people who face the camera noses and mouths lie
as much lower against the eyes as if it were turned down by this."""

_LEFT = {
    0: (-1.8, -7.4, -15.5), 1: (-1.1, -4.9, -17.5), 2: (-1.3, -3.8, -22.0), 3: (-1.3, -2.8, -20.0),
    4: (-3.8, 1.1, -18.0), 5: (-6.8, 4.5, -16.0), 6: (-4.1, 0.3, -8.0), 7: (-2.4, -2.8, -1.9), 8: (0.0, -1.5, 0.8),
    17: (-2.0, -4.9, 0.0), 18: (-2.2, -3.4, 0.0), 19: (-0.3, -2.2, 0.0), 20: (-1.1, -3.4, 0.0), 21: (-0.7, -4.0, 0.0),
    27: (0.0, 0.8, 0.0), 28: (0.0, 0.6, 0.0), 29: (0.0, 0.2, 0.0), 30: (0.0, -0.6, 0.0),
    31: (-0.8, 2.2, 0.0), 32: (-0.5, 0.8, 0.0), 33: (0.0, 1.0, 0.0),
    36: (-0.7, 1.0, 0.0), 37: (1.4, 1.2, 0.0), 38: (0.2, 1.2, 0.0), 39: (-0.5, 0.8, 0.0), 40: (-1.0, 1.0, 0.0),
    41: (1.0, 1.0, 0.0), 48: (0.6, 0.4, 0.0), 49: (1.7, -1.0, 0.0), 50: (1.2, -0.8, 0.0), 51: (0.0, -1.6, 0.0),
    57: (0.0, 0.2, 0.0), 58: (3.0, 0.2, 0.0), 59: (1.2, 0.4, 0.0), 60: (1.2, 0.0, 0.0), 61: (4.0, 0.4, 0.0),
    62: (0.0, 0.4, 0.0), 66: (0.0, 0.3, 0.0), 67: (4.0, 0.0, 0.0),
}  # fmt: skip
_BROWS_LEFT = {
    17: (2.5, -1.9, 0.0), 18: (1.6, -4.3, 0.0), 19: (1.3, -5.5, 0.0), 20: (-1.0, -6.7, 0.0), 21: (-1.9, -7.1, 0.0),
}  # fmt: skip


def _both_sides(left: dict[int, tuple[float, float, float]]) -> NDArray[np.float64]:
    """Displacements [68, 3] in mm of a symmetric head by those of the points at the image's left and in the middle."""
    found = np.zeros((68, 3))
    for point, moved in left.items():
        found[point] = moved
    right = found[IBUG68.flip_permutation] * [-1, 1, 1]
    return np.where(found != 0, found, right)


PEOPLE = _both_sides(_LEFT)
"""[68, 3]: from a landmark to where people put the point, in mm on the neutral head. Made from the median errors, by point,
that networks trained on generated faces make on the 300 validation photographs (300-W's, never its test images): see
``experiments/MEASURED.md``."""
BROWS = _both_sides(_BROWS_LEFT)
"""[68, 3]: from a brow's landmark to where brows are drawn. The release's vertices lie 25 mm above the eyes; people's brows,
and those of the avatars' colour maps, are 16 to 21 mm above them."""
SKIN, MOUTH, GUMS, TEETH = (0, 11248), (11248, 13294), (14062, 17039), (17039, 21451)
"""Ranges of vertices: face, head and neck; the mouth's socket; gums and tongue; teeth. What follows are the eyes' parts, for
which the built-in head's eyeballs stand, and lashes."""
SCLERAS = ((23021, 23791), (21451, 22221))
"""Of the eye at the image's left (x < 0), and at its right."""
