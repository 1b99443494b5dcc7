"""The template: the head unrolled, ``side`` = azimuth · 75 mm and ``height`` in mm above the eye line; where landmarks lie
on it, and the surface that it is rolled up to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

Array = NDArray[Any]
SIDE = 75.0
"""Radius that turns azimuth into the template's mm."""
EYE_X, EYE_Y, EYE_Z, EYE_R = 31.0, 0.5, 71.5, 12.4


def _profile(points: list[tuple[float, float]]) -> PchipInterpolator:
    x, y = np.array(sorted(points)).T
    return PchipInterpolator(x, y)


# Midline of the face without nose and lips, half the breadth, and the back of the head, over height.
_FRONT = _profile(
    [(-215, 56), (-170, 56), (-140, 80), (-116, 88), (-108, 91), (-100, 93), (-90, 90), (-80, 92), (-65, 94), (-50, 93),
     (-40, 91), (-20, 89), (0, 89), (10, 92), (22, 96), (35, 96), (50, 94), (70, 85), (85, 71), (96, 54), (104, 35),
     (110, 8), (112, 1)]
)  # fmt: skip
_HALF = _profile(
    [(-215, 50), (-170, 50), (-120, 44), (-110, 45), (-100, 48), (-85, 54), (-70, 60.5), (-55, 66), (-40, 70), (-15, 73),
     (0, 74), (20, 75.5), (40, 76.5), (55, 75.5), (70, 70.5), (85, 60), (96, 46), (104, 30), (110, 8), (112, 1)]
)  # fmt: skip
_BACK = _profile(
    [(-215, 60), (-120, 58), (-90, 62), (-60, 72), (-30, 86), (0, 95), (20, 97), (45, 95), (70, 83), (85, 69), (96, 52),
     (104, 34), (110, 8), (112, 1)]
)  # fmt: skip
# Where the face ends and the neck begins, over azimuth in degrees.
JAW = _profile([(0, -110), (20, -106.5), (40, -97.5), (55, -86.5), (68, -74), (80, -66), (95, -64), (130, -75), (180, -80)])
_NOSE_HEIGHT = _profile(
    [(-200, 0), (-52, 0), (-47, 1.5), (-43, 8), (-39, 19), (-35, 23.5), (-31, 22), (-22, 16), (-12, 10.5), (0, 4.5), (9, 1),
     (14, 0), (120, 0)]
)  # fmt: skip
_NOSE_WIDTH = _profile([(-200, 11), (-45, 11), (-36, 9.5), (-25, 8), (-10, 7.5), (5, 9), (12, 11), (120, 11)])

# Landmarks on the template's face plane (x, height) or (azimuth, height), the right half of the face (image left).
JAW_POINTS = [(-87, -2), (-86, -20), (-84, -37), (-79, -54), (-68, -71), (-54, -84.5), (-38, -96.5), (-20, -105), (0, -109)]
# Where the paths end on which the outline is looked for (side, height): on the cheek, below the mouth, under the lip.
JAW_GOALS = [(40, -8), (36, -14), (32, -24), (30, -36), (32, -47), (6, -86), (4, -91), (3, -97), (0, -96)]
BROWS = [(-60, 13.5), (-51, 21), (-38, 24), (-24.5, 22), (-12, 18)]
NOSE = [(0, 3), (0, -10), (0, -21.5), (0, -33), (-15, -42), (-8, -45), (0, -46.5)]
_EYE_KEYS = [(-45.0, -0.5), (-37.5, 4.6), (-26.8, 4.9), (-18.5, -1.7), (-26.8, -4.1), (-37.2, -4.4)]
_OUTER_LIP = [(-25.5, -66), (-15, -61), (-5.5, -58), (0, -59.2), (5.5, -58), (15, -61), (25.5, -66), (16.5, -72),
              (7.5, -74.6), (0, -75.2), (-7.5, -74.6), (-16.5, -72)]  # fmt: skip
_INNER_LIP = [(-22.5, -66), (-8, -65.0), (0, -65.3), (8, -65.0), (22.5, -66), (8, -66.6), (0, -66.8), (-8, -66.6)]


def skull(azimuth: Any, height: Any) -> Array:
    """Radius of the smooth head and neck (no features) in a direction (radians) at a height."""
    sin, cos = np.abs(np.sin(azimuth)), np.cos(azimuth)
    front, half, back = _FRONT(height), _HALF(height), _BACK(height)
    ahead = cos > 0
    power = np.where(ahead, 2.0 + 0.35 * np.clip(cos * 3, 0, 1), 2.0)
    depth = np.where(ahead, front, back)
    face = ((sin / half) ** power + (np.abs(cos) / depth) ** power) ** (-1 / power)
    neck_depth = np.where(ahead, 46 + 0.10 * np.clip(-height - 130, 0, 90), 62)
    neck = ((sin / 54) ** 2 + (np.abs(cos) / neck_depth) ** 2) ** -0.5
    t = np.clip((height - (JAW(np.degrees(np.abs(azimuth))) - 9)) / 15, 0, 1)
    blend = t * t * (3 - 2 * t)
    return np.asarray(np.where(height > -130, neck + (face - neck) * blend, neck))


def azimuth_of(x: Array, height: Array) -> Array:
    """Azimuth of the point of the face's front with this x at this height."""
    lo, hi = np.zeros_like(x), np.full_like(x, np.pi / 2)
    for _ in range(40):
        mid = (lo + hi) / 2
        too_far = skull(mid, height) * np.sin(mid) > np.abs(x)
        lo, hi = np.where(too_far, lo, mid), np.where(too_far, mid, hi)
    return np.asarray(np.sign(x) * lo)


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """A Gaussian bump of height 1 around a point."""
    return np.asarray(np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2))


def bumps(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """The same on both sides of the face."""
    return bump(np.abs(x), y, cx, cy, sx, sy)


def features(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Displacements (x, z) that turn the smooth head into a face; on the front only."""
    ahead = np.clip(z / 30, 0, 1)
    nose = _NOSE_HEIGHT(np.clip(y, -199, 119)) * np.exp(-((np.abs(x) / _NOSE_WIDTH(np.clip(y, -199, 119))) ** 2.4))
    wings = 9.5 * bumps(x, y, 12.5, -39.5, 5.5, 6)
    nostrils = -5.0 * bumps(x, y, 6.5, -44.5, 4, 2.2)
    sockets = -7.0 * bumps(x, y, 30, 1.0, 18, 13) - 3.5 * bumps(x, y, 16, 4, 8, 9)
    ridge = 2.2 * bumps(x, y, 30, 21, 24, 9) + 1.0 * bump(x, y, 0, 22, 14, 8)
    cheeks = 3.0 * bumps(x, y, 42, -24, 18, 15) - 1.5 * bumps(x, y, 44, -58, 14, 18)
    muzzle = 5.0 * bump(x, y, 0, -64, 27, 17)
    philtrum = -1.2 * bump(x, y, 0, -53, 3, 6) + 0.8 * bumps(x, y, 4.5, -54, 2.5, 6)
    chin = 4.0 * bump(x, y, 0, -102, 17, 9) - 3.0 * bump(x, y, 0, -86, 20, 6)
    folds = -1.3 * np.exp(-(((np.abs(x) - (19 + 0.45 * np.clip(-40 - y, 0, 30))) / 3.5) ** 2)) * np.clip((-y - 34) / 6, 0, 1)
    folds = folds * np.clip((y + 76) / 8, 0, 1)
    dz = ahead * (nose + wings + nostrils + sockets + ridge + cheeks + muzzle + philtrum + chin + folds)
    temples = -2.5 * bumps(x, y, 74, 18, 16, 16)
    return np.sign(x) * temples, dz


def openness(x: Array, y: Array, z: Array, azimuth: Any) -> Array:
    """How much of the sky a point of the skin sees, 0 to 1: darker in the sockets, under nose, lip and chin."""
    dark = (
        0.30 * bumps(x, y, 19, 3, 7, 7) + 0.18 * bumps(x, y, 30, 8, 16, 5) + 0.45 * bump(x, y, 0, -47, 10, 3.5)
        + 0.85 * bumps(x, y, 6.3, -45.0, 3.4, 1.9) + 0.22 * bump(x, y, 0, -81, 15, 4) + 0.25 * bumps(x, y, 17, -41, 3.5, 6)
        + 0.35 * bumps(x, y, 26, -66, 4, 3.5)
    )  # fmt: skip
    under = np.clip((JAW(np.degrees(np.abs(azimuth))) - 3 - y) / 14, 0, 1) * np.clip((y + 200) / 60, 0.3, 1)
    return np.asarray(np.clip(1 - np.where(z > 0, dark, 0) - 0.5 * under, 0.05, 1))


def _corner_curve(keys: list[tuple[float, float]], corners: tuple[int, int], per_segment: int) -> Array:
    """A closed curve [n · per_segment, 2] through keys with sharp corners at two of them: each half is smooth."""
    points = np.array(keys)
    a, b = corners
    halves = [points[a : b + 1], np.concatenate([points[b:], points[: a + 1]])]
    pieces = []
    for half in halves:
        t = np.arange(len(half))
        fine = np.linspace(0, len(half) - 1, (len(half) - 1) * per_segment, endpoint=False)
        pieces.append(np.stack([PchipInterpolator(t, half[:, 0])(fine), _smooth(t, half[:, 1], fine)], -1))
    return np.concatenate(pieces)


def _smooth(t: Array, y: Array, fine: Array) -> Array:
    return np.asarray(CubicSpline(t, y)(fine))


PER_EYE, PER_LIP = 5, 3
EYE_RINGS = (1.0, 1.10, 1.24, 1.45, 1.75)
LIP_RINGS = (0.0, 0.3, 0.65, 1.0)
LIP_OUTSIDE = (1.10, 1.25)


def eye_curve() -> Array:
    """Margin of the right eye's lids (x, height), from the outer corner over the upper lid."""
    return _corner_curve(_EYE_KEYS, (0, 3), PER_EYE)


def lip_curves() -> tuple[Array, Array]:
    """Outer and inner lip contours with as many points, matched; the template's mouth is slightly open."""
    outer = _corner_curve(_OUTER_LIP, (0, 6), PER_LIP)
    n = len(outer) // 2
    inner_keys = np.array(_INNER_LIP)
    upper = _smooth(np.arange(5), inner_keys[:5, 0], np.linspace(0, 4, n, endpoint=False))
    upper_y = _smooth(np.arange(5), inner_keys[:5, 1], np.linspace(0, 4, n, endpoint=False))
    lower_keys = np.concatenate([inner_keys[4:], inner_keys[:1]])
    lower = _smooth(np.arange(5), lower_keys[:, 0], np.linspace(0, 4, n, endpoint=False))
    lower_y = _smooth(np.arange(5), lower_keys[:, 1], np.linspace(0, 4, n, endpoint=False))
    return outer, np.concatenate([np.stack([upper, upper_y], -1), np.stack([lower, lower_y], -1)])
