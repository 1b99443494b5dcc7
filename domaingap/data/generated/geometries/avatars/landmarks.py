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

PEOPLE = np.array([
    (0.1529, 0.2607), (0.1602, 0.2972), (0.1704, 0.3250), (0.1811, 0.3511), (0.1923, 0.3803), (0.2084, 0.4118),
    (0.2359, 0.4322), (0.2732, 0.4421), (0.3256, 0.4530), (0.3778, 0.4410), (0.4155, 0.4319), (0.4429, 0.4119),
    (0.4588, 0.3805), (0.4700, 0.3511), (0.4808, 0.3248), (0.4910, 0.2968), (0.4981, 0.2604), (0.2151, 0.1935),
    (0.2353, 0.1787), (0.2591, 0.1700), (0.2788, 0.1744), (0.2985, 0.1800), (0.3527, 0.1801), (0.3722, 0.1744),
    (0.3921, 0.1701), (0.4159, 0.1789), (0.4363, 0.1937), (0.3255, 0.2102), (0.3256, 0.2346), (0.3255, 0.2562),
    (0.3256, 0.2847), (0.2940, 0.2972), (0.3044, 0.3043), (0.3255, 0.3047), (0.3469, 0.3039), (0.3569, 0.2965),
    (0.2426, 0.2162), (0.2549, 0.2109), (0.2705, 0.2101), (0.2845, 0.2141), (0.2691, 0.2171), (0.2539, 0.2172),
    (0.3667, 0.2142), (0.3807, 0.2104), (0.3963, 0.2111), (0.4087, 0.2163), (0.3973, 0.2174), (0.3822, 0.2176),
    (0.2679, 0.3570), (0.2845, 0.3417), (0.3062, 0.3356), (0.3262, 0.3369), (0.3459, 0.3352), (0.3672, 0.3412),
    (0.3838, 0.3571), (0.3642, 0.3767), (0.3446, 0.3836), (0.3262, 0.3854), (0.3074, 0.3836), (0.2879, 0.3769),
    (0.2761, 0.3557), (0.3075, 0.3541), (0.3261, 0.3546), (0.3445, 0.3539), (0.3756, 0.3559), (0.3429, 0.3707),
    (0.3260, 0.3710), (0.3091, 0.3708),
])  # fmt: skip
"""[68, 2]: where people put the points, brows on the mean. The table above corrected, point by point, by six tenths of the
median error (of the jaw's: three quarters) that a network trained on 4,000 avatars with the points above makes on the 300
validation photographs (300-W's, never its test images): jaw points sit higher on the jaw, brows reach further out and down,
the nose's tip is higher, mouths are narrower. Not all of the error: some of it is the network's own."""
BROW_SHIFT = PEOPLE[17:27] - (LANDMARKS[17:27] + 0.6 * (BROW_EDGES - LANDMARKS[17:27]))
"""[10, 2]: from six tenths of the way between a brow's middle and its upper edge to where people put the point."""
JAW_BACK = np.array([16.0, 18, 22, 20, 13, 10, 3, 0, 0, 0, 3, 10, 13, 20, 22, 18, 16])
"""[17]: by how many mm people's jaw points lie further back than PEOPLE. In frontal photographs that can't be seen. Where
faces are turned by 15 to 45 degrees, points of the nearer side lay 5 to 14% of the eyes' distance further out, towards the
ear, than a network trained on points at PEOPLE set them on the validation photographs."""
