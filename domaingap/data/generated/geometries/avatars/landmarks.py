"""Where the iBUG 68 lie on VALID's avatars: in the atlas that all of them share.

How they were picked, in November 2026: the mean of 28 people with the mean of their textures was drawn without
perspective, 10 to 16 pixels a mm, under a grid of 5 mm. Eyes, nose, mouth and brows were read off the frontal view (the
right half and the middle line; the left half is its mirror image) and put onto the surface that is seen there. Jaw
points lie where rays from the head's axis, 75 mm behind the outer eye corners, meet the surface from outside, at the
azimuths and heights that ICT-FaceKit's jaw vertices have. They were then looked at on the mean and on three people,
frontal and at 40 degrees to both sides, with the mouth open (upper inner points stay on the upper lip) and with closed
eyes.

Brows are in the textures, a little elsewhere on each person: these are the mean's, see brows.py.
"""

from __future__ import annotations

import numpy as np

LANDMARKS = np.array([
    (0.1523, 0.2566), (0.1591, 0.2960), (0.1704, 0.3250), (0.1822, 0.3535), (0.1984, 0.3887), (0.2183, 0.4227),
    (0.2439, 0.4347), (0.2789, 0.4440), (0.3256, 0.4546), (0.3719, 0.4430), (0.4076, 0.4341), (0.4330, 0.4225),
    (0.4529, 0.3890), (0.4690, 0.3536), (0.4808, 0.3248), (0.4921, 0.2956), (0.4988, 0.2562), (0.2277, 0.1864),
    (0.2450, 0.1780), (0.2628, 0.1760), (0.2784, 0.1805), (0.2953, 0.1859), (0.3560, 0.1860), (0.3727, 0.1805),
    (0.3884, 0.1761), (0.4062, 0.1782), (0.4236, 0.1866), (0.3255, 0.2128), (0.3256, 0.2372), (0.3257, 0.2601),
    (0.3256, 0.2900), (0.2920, 0.2995), (0.3047, 0.3052), (0.3255, 0.3063), (0.3466, 0.3048), (0.3590, 0.2989),
    (0.2410, 0.2163), (0.2547, 0.2122), (0.2708, 0.2113), (0.2855, 0.2150), (0.2689, 0.2187), (0.2540, 0.2181),
    (0.3659, 0.2153), (0.3805, 0.2116), (0.3965, 0.2124), (0.4102, 0.2164), (0.3972, 0.2183), (0.3824, 0.2188),
    (0.2669, 0.3598), (0.2840, 0.3424), (0.3058, 0.3364), (0.3262, 0.3372), (0.3464, 0.3359), (0.3678, 0.3419),
    (0.3848, 0.3596), (0.3665, 0.3778), (0.3463, 0.3852), (0.3261, 0.3871), (0.3056, 0.3852), (0.2855, 0.3779),
    (0.2747, 0.3572), (0.3054, 0.3540), (0.3261, 0.3548), (0.3466, 0.3538), (0.3768, 0.3575), (0.3458, 0.3707),
    (0.3260, 0.3711), (0.3062, 0.3708),
]).reshape(68, 2)  # fmt: skip
"""Texture coordinates [68, 2] from the atlas' upper left, 0 to 1."""

BROW_EDGES = np.array([
    (0.2282, 0.1832), (0.2430, 0.1744), (0.2623, 0.1704), (0.2789, 0.1748), (0.2972, 0.1796), (0.3540, 0.1797),
    (0.3721, 0.1748), (0.3888, 0.1705), (0.4081, 0.1746), (0.4230, 0.1834),
])  # fmt: skip
"""Upper edges of the brows [10, 2], beside points 17 to 26."""
