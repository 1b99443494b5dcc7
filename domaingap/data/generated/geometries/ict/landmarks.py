"""Vertices of ICT-FaceKit's light model: the iBUG 68, and what its parts are."""

from __future__ import annotations

import numpy as np

LANDMARKS = np.array([
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509,
    978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360,
    1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732,
    5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841,
    5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
])  # fmt: skip
"""[68] vertices."""
SKIN, MOUTH, GUMS, TEETH = (0, 11248), (11248, 13294), (14062, 17039), (17039, 21451)
"""Ranges of vertices: face, head and neck; the mouth's socket; gums and tongue; teeth. What follows are the eyes' parts, for
which the built-in head's eyeballs stand, and lashes."""
SCLERAS = ((23021, 23791), (21451, 22221))
"""Of the eye at the image's left (x < 0), and at its right."""
