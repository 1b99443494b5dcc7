"""Our own head: a parametric surface with eyes, mouth, ears and neck, and the fields that move it.

Proportions in mm are rounded adult means of facial anthropometry (Farkas, Anthropometry of the Head and Face, 1994):
outer eye corners 90, inner 32, head breadth 152, face breadth 136, eye line to chin 112, mouth width 50, nose width 34.
The template is the head unrolled: ``side`` = azimuth · 75 mm, ``height`` in mm above the eye line.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.spatial import Delaunay, cKDTree

from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.mesh import EYE, MOUTH, SEG, SKIN, TEETH, Indices, Mesh, concatenate

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
_JAW = _profile([(0, -110), (20, -106.5), (40, -97.5), (55, -86.5), (68, -74), (80, -66), (95, -64), (130, -75), (180, -80)])
_NOSE_HEIGHT = _profile(
    [(-200, 0), (-52, 0), (-47, 1.5), (-43, 8), (-39, 19), (-35, 23.5), (-31, 22), (-22, 16), (-12, 10.5), (0, 4.5), (9, 1),
     (14, 0), (120, 0)]
)  # fmt: skip
_NOSE_WIDTH = _profile([(-200, 11), (-45, 11), (-36, 9.5), (-25, 8), (-10, 7.5), (5, 9), (12, 11), (120, 11)])

# Landmarks on the template's face plane (x, height) or (azimuth, height), the right half of the face (image left).
_JAW_POINTS = [(-87, -2), (-86, -20), (-84, -37), (-79, -54), (-68, -71), (-54, -84.5), (-38, -96.5), (-20, -105), (0, -109)]
# Where the paths end on which the outline is looked for (side, height): on the cheek, below the mouth, under the lip.
_JAW_GOALS = [(40, -8), (36, -14), (32, -24), (30, -36), (32, -47), (6, -86), (4, -91), (3, -97), (0, -96)]
_BROWS = [(-60, 13.5), (-51, 21), (-38, 24), (-24.5, 22), (-12, 18)]
_NOSE = [(0, 3), (0, -10), (0, -21.5), (0, -33), (-15, -42), (-8, -45), (0, -46.5)]
_EYE_KEYS = [(-45.0, -0.5), (-37.5, 4.6), (-26.8, 4.9), (-18.5, -1.7), (-26.8, -4.1), (-37.2, -4.4)]
_OUTER_LIP = [(-25.5, -66), (-15, -61), (-5.5, -58), (0, -59.2), (5.5, -58), (15, -61), (25.5, -66), (16.5, -72),
              (7.5, -74.6), (0, -75.2), (-7.5, -74.6), (-16.5, -72)]  # fmt: skip
_INNER_LIP = [(-22.5, -66), (-8, -65.0), (0, -65.3), (8, -65.0), (22.5, -66), (8, -66.6), (0, -66.8), (-8, -66.6)]


def _skull(azimuth: Any, height: Any) -> Array:
    """Radius of the smooth head and neck (no features) in a direction (radians) at a height."""
    sin, cos = np.abs(np.sin(azimuth)), np.cos(azimuth)
    front, half, back = _FRONT(height), _HALF(height), _BACK(height)
    ahead = cos > 0
    power = np.where(ahead, 2.0 + 0.35 * np.clip(cos * 3, 0, 1), 2.0)
    depth = np.where(ahead, front, back)
    face = ((sin / half) ** power + (np.abs(cos) / depth) ** power) ** (-1 / power)
    neck_depth = np.where(ahead, 46 + 0.10 * np.clip(-height - 130, 0, 90), 62)
    neck = ((sin / 54) ** 2 + (np.abs(cos) / neck_depth) ** 2) ** -0.5
    t = np.clip((height - (_JAW(np.degrees(np.abs(azimuth))) - 9)) / 15, 0, 1)
    blend = t * t * (3 - 2 * t)
    return np.asarray(np.where(height > -130, neck + (face - neck) * blend, neck))


def _azimuth_of(x: Array, height: Array) -> Array:
    """Azimuth of the point of the face's front with this x at this height."""
    lo, hi = np.zeros_like(x), np.full_like(x, np.pi / 2)
    for _ in range(40):
        mid = (lo + hi) / 2
        too_far = _skull(mid, height) * np.sin(mid) > np.abs(x)
        lo, hi = np.where(too_far, lo, mid), np.where(too_far, mid, hi)
    return np.asarray(np.sign(x) * lo)


def _bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    return np.asarray(np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2))


def _pair(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    return _bump(np.abs(x), y, cx, cy, sx, sy)


def _features(x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Displacements (x, z) that turn the smooth head into a face; on the front only."""
    ahead = np.clip(z / 30, 0, 1)
    nose = _NOSE_HEIGHT(np.clip(y, -199, 119)) * np.exp(-((np.abs(x) / _NOSE_WIDTH(np.clip(y, -199, 119))) ** 2.4))
    wings = 9.5 * _pair(x, y, 12.5, -39.5, 5.5, 6)
    nostrils = -5.0 * _pair(x, y, 6.5, -44.5, 4, 2.2)
    sockets = -7.0 * _pair(x, y, 30, 1.0, 18, 13) - 3.5 * _pair(x, y, 16, 4, 8, 9)
    ridge = 2.2 * _pair(x, y, 30, 21, 24, 9) + 1.0 * _bump(x, y, 0, 22, 14, 8)
    cheeks = 3.0 * _pair(x, y, 42, -24, 18, 15) - 1.5 * _pair(x, y, 44, -58, 14, 18)
    muzzle = 5.0 * _bump(x, y, 0, -64, 27, 17)
    philtrum = -1.2 * _bump(x, y, 0, -53, 3, 6) + 0.8 * _pair(x, y, 4.5, -54, 2.5, 6)
    chin = 4.0 * _bump(x, y, 0, -102, 17, 9) - 3.0 * _bump(x, y, 0, -86, 20, 6)
    folds = -1.3 * np.exp(-(((np.abs(x) - (19 + 0.45 * np.clip(-40 - y, 0, 30))) / 3.5) ** 2)) * np.clip((-y - 34) / 6, 0, 1)
    folds = folds * np.clip((y + 76) / 8, 0, 1)
    dz = ahead * (nose + wings + nostrils + sockets + ridge + cheeks + muzzle + philtrum + chin + folds)
    temples = -2.5 * _pair(x, y, 74, 18, 16, 16)
    return np.sign(x) * temples, dz


def _closed(keys: list[tuple[float, float]], per_segment: int) -> Array:
    """A closed smooth curve [n · per_segment, 2] through keys (Catmull-Rom, centripetal enough at this scale)."""
    points = np.array(keys)
    t = np.linspace(0, 1, per_segment, endpoint=False)[:, None]
    before, after, later = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    pieces = []
    for p0, p1, p2, p3 in zip(before, points, after, later, strict=True):
        pieces.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    return np.concatenate(pieces)


def _corner_curve(keys: list[tuple[float, float]], corners: tuple[int, int], per_segment: int) -> Array:
    """As :func:`_closed` with sharp corners at two keys: each half is a smooth open curve."""
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


_PER_EYE, _PER_LIP = 5, 3
_EYE_RINGS = (1.0, 1.10, 1.24, 1.45, 1.75)
_LIP_RINGS = (0.0, 0.3, 0.65, 1.0)
_LIP_OUTSIDE = (1.10, 1.25)


def _eye_curve() -> Array:
    return _corner_curve(_EYE_KEYS, (0, 3), _PER_EYE)


def _lip_curves() -> tuple[Array, Array]:
    """Outer and inner lip contours with as many points, matched; the template's mouth is slightly open."""
    outer = _corner_curve(_OUTER_LIP, (0, 6), _PER_LIP)
    n = len(outer) // 2
    inner_keys = np.array(_INNER_LIP)
    upper = _smooth(np.arange(5), inner_keys[:5, 0], np.linspace(0, 4, n, endpoint=False))
    upper_y = _smooth(np.arange(5), inner_keys[:5, 1], np.linspace(0, 4, n, endpoint=False))
    lower_keys = np.concatenate([inner_keys[4:], inner_keys[:1]])
    lower = _smooth(np.arange(5), lower_keys[:, 0], np.linspace(0, 4, n, endpoint=False))
    lower_y = _smooth(np.arange(5), lower_keys[:, 1], np.linspace(0, 4, n, endpoint=False))
    return outer, np.concatenate([np.stack([upper, upper_y], -1), np.stack([lower, lower_y], -1)])


def _inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """Which of points [n, 2] lie inside a polygon [m, 2]."""
    x, y = points[:, None, 0], points[:, None, 1]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crosses = (y0 > y) != (y1 > y)
    where = (x1 - x0) * (y - y0) / np.where(y1 == y0, 1e-9, y1 - y0) + x0
    return np.asarray((crosses & (x < where)).sum(1) % 2 == 1)


class _Template:
    """The skin's vertices by what they are, before triangulation."""

    def __init__(self) -> None:
        self.side: list[Array] = []
        self.height: list[Array] = []
        self.extra: list[Array] = []  # lip share, displacement of lips (z), kind
        self.count = 0

    def add(self, side: Array, height: Array, lip: Array | float = 0.0, out: Array | float = 0.0) -> Indices:
        n = len(side)
        self.side.append(np.asarray(side, float))
        self.height.append(np.asarray(height, float))
        self.extra.append(np.stack([np.broadcast_to(lip, n), np.broadcast_to(out, n)], -1).astype(float))
        self.count += n
        return np.arange(self.count - n, self.count, dtype=np.int32)

    def add_plane(self, points: Array, lip: Array | float = 0.0, out: Array | float = 0.0) -> Indices:
        return self.add(_azimuth_of(points[:, 0], points[:, 1]) * SIDE, points[:, 1], lip, out)


def _mirrored(points: Array) -> Array:
    return np.asarray(points * np.array([-1.0, 1.0]))


@cache
def parametric_head() -> FaceGeometry:
    """The head; made once per process in about a second."""
    rng = np.random.default_rng(68)
    template = _Template()
    eye, (outer, inner) = _eye_curve(), _lip_curves()
    landmarks = np.zeros(70, np.int32)

    # Jaw and its contour paths: from each jaw point inwards along the surface.
    jaw = np.array(_JAW_POINTS + [(-a, h) for a, h in _JAW_POINTS[-2::-1]])
    contours = []
    for k, (azimuth, height) in enumerate(jaw):
        start = np.array([np.radians(azimuth) * SIDE, height])
        goal = np.array(_JAW_GOALS[min(k, 16 - k)]) * [np.sign(azimuth), 1]
        share = np.linspace(0, 1, 18)[:, None] ** 1.2
        path = start + (goal - start) * share
        vertices = template.add(path[:, 0], path[:, 1])
        landmarks[k] = vertices[0]
        contours.append(vertices)
    brows = np.array(_BROWS + [(-x, y) for x, y in _BROWS[::-1]])
    landmarks[17:27] = template.add_plane(brows)
    brow_edges = template.add_plane(brows + np.array([0.0, 4.0]))
    nose = np.array(_NOSE + [(8, -45), (15, -42)])
    landmarks[27:36] = template.add_plane(nose[[0, 1, 2, 3, 4, 5, 6, 7, 8]])
    eye_rings: list[list[Indices]] = [[], []]
    for which, curve in enumerate((eye, _mirrored(eye))):
        middle = curve.mean(0)
        for scale in _EYE_RINGS:
            stretch = np.array([1 + (scale - 1) * 0.8, 1 + (scale - 1) * 1.5])
            eye_rings[which].append(template.add_plane(middle + (curve - middle) * stretch))
    corner = _PER_EYE * np.arange(6)
    landmarks[36:42] = eye_rings[0][0][corner]
    landmarks[42:48] = eye_rings[1][0][corner[[3, 2, 1, 0, 5, 4]]]
    lip_rings = []
    upper = np.arange(len(outer)) < len(outer) // 2
    x_share = np.clip(np.abs(outer[:, 0]) / 25.5, 0, 1)
    fullness = np.sqrt(np.clip(1 - x_share**2, 0, 1))
    for w in _LIP_RINGS:
        out = fullness * np.where(upper, 3.2, 3.8) * np.sin(np.pi * (0.15 + 0.75 * w)) - 2.0 * w**3 * fullness
        lip_rings.append(template.add_plane(outer + (inner - outer) * w, 1.0, out))
    mouth_centre = np.array([0.0, -66.0])
    for scale in _LIP_OUTSIDE:
        template.add_plane(mouth_centre + (outer - mouth_centre) * scale)
    landmarks[48:60] = lip_rings[0][_PER_LIP * np.arange(12)]
    n = len(inner) // 2
    quarter = [0, round(n / 4), round(n / 2), round(3 * n / 4)]
    landmarks[60:68] = lip_rings[-1][np.array(quarter + [n + q for q in quarter])]

    # Regular points: fine on the face, coarse behind and on the neck, kept off the rings and the landmarks.
    def grid(p0: float, p1: float, h0: float, h1: float, step_p: float, step_h: float) -> Array:
        p, h = np.meshgrid(np.arange(p0, p1 + 1e-6, step_p), np.arange(h0, h1 + 1e-6, step_h))
        p = p + np.where(np.arange(len(h))[:, None] % 2, step_p / 2, 0)
        return np.stack([np.clip(p, p0, p1).ravel(), h.ravel()], -1)

    half_turn = np.pi * SIDE
    candidates = [
        grid(-26, 26, -52, 10, 2.6, 2.6),
        grid(-118, 118, -126, 62, 5.2, 5.0),
        grid(-half_turn, half_turn, -215, -128, 14, 9),
        grid(-half_turn, -120, -122, 62, 11, 9), grid(120, half_turn, -122, 62, 11, 9),
        grid(-half_turn, half_turn, 66, 104, 9, 6), grid(-half_turn, half_turn, 107, 111.5, 18, 2.2),
    ]  # fmt: skip
    for column in (-half_turn, half_turn):
        heights = np.arange(-215, 112, 8.0)
        candidates.append(np.stack([np.full(len(heights), column), heights], -1))
    kept = np.stack([np.concatenate(template.side), np.concatenate(template.height)], -1)
    holes = [np.stack([np.concatenate(template.side)[r], np.concatenate(template.height)[r]], -1)
             for r in (eye_rings[0][0], eye_rings[1][0], lip_rings[0])]  # fmt: skip
    for k, points in enumerate(candidates):
        near = 1.5 if k == 0 else 2.6
        far = cKDTree(kept).query(points)[0] > near
        for hole in holes:
            far &= ~_inside(points, hole)
        template.add(points[far, 0], points[far, 1])
        kept = np.concatenate([kept, points[far]])

    side, height = np.concatenate(template.side), np.concatenate(template.height)
    lip, out = np.concatenate(template.extra).T
    flat = np.stack([side, height], -1)
    # Delaunay on slightly moved points: exact grids have ties, which other machines could break otherwise.
    triangles = Delaunay(flat + rng.uniform(-0.05, 0.05, flat.shape)).simplices.astype(np.int32)
    middle_points = flat[triangles].mean(1)
    ring_polygons = [flat[eye_rings[0][0]], flat[eye_rings[1][0]], flat[lip_rings[-1]]]
    open_ = np.zeros(len(triangles), bool)
    for polygon in ring_polygons:
        open_ |= _inside(middle_points, polygon)
    triangles = triangles[~open_]
    # One winding for all, so that vertex normals point outwards.
    a, b, c = (flat[triangles[:, i]] for i in range(3))
    clockwise = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles[clockwise] = triangles[clockwise][:, ::-1]
    middle_points = flat[triangles].mean(1)

    azimuth = side / SIDE
    radius = _skull(azimuth, height)
    x, y, z = radius * np.sin(azimuth), height.copy(), radius * np.cos(azimuth)
    dx, dz = _features(x, y, z)
    x, z = x + dx, z + dz + out
    # The lids lie on the eyeball; rings around them blend into the face.
    for s, sign in enumerate((-1, 1)):
        for ring, weight in zip(eye_rings[s], (1.0, 0.92, 0.7, 0.4, 0.12), strict=True):
            offset = np.hypot(x[ring] - sign * EYE_X, y[ring] - EYE_Y)
            ball = EYE_Z + np.sqrt(np.clip((EYE_R + 0.9) ** 2 - offset**2, 6.0, None)) + 0.6
            target = np.where(ball > z[ring] - 14, ball, z[ring])
            z[ring] = z[ring] + weight * (target - z[ring])
    # Closed lips: the inner contours meet.
    for w, ring in zip(_LIP_RINGS, lip_rings, strict=True):
        y[ring] += w**3 * (-66.0 + 0.9 * np.where(upper, 0.06, -0.06) - y[ring]) * fullness**0.3
    vertices = np.stack([x, y, z], -1)

    segment = np.full(len(triangles), SEG["skin"], np.int32)
    p, h = middle_points.T
    lip_count = lip[triangles].sum(1)
    is_lip = lip_count == 3
    segment[(np.abs(p) < 14 + 0.1 * np.abs(h)) & (h > -48) & (h < 4) & (np.abs(p) < 0.42 * (4 - h) + 5)] = SEG["nose"]
    segment[is_lip & (h > -66)] = SEG["top_lip"]
    segment[is_lip & (h <= -66)] = SEG["bottom_lip"]
    segment[h < _JAW(np.abs(p) / SIDE * 180 / np.pi) - 2] = SEG["neck"]
    open_to_light = _openness(x, y, z, azimuth)
    for w, ring in zip(_LIP_RINGS, lip_rings, strict=True):
        open_to_light[ring] = 1 - 0.75 * w**3
    for s in range(2):
        open_to_light[eye_rings[s][0]] *= 0.6
        open_to_light[eye_rings[s][1]] *= 0.8
    skin = Mesh(
        vertices.astype(np.float32), triangles, np.full(len(triangles), SKIN, np.int32), segment,
        flat.astype(np.float32), np.stack([lip, open_to_light], -1).astype(np.float32),
    )  # fmt: skip

    eyes = [_eyeball(-1, SEG["right_eye"]), _eyeball(1, SEG["left_eye"])]
    mouth = _mouth()
    ears = [_ear(-1, SEG["right_ear"]), _ear(1, SEG["left_ear"])]
    mesh = concatenate([skin, *eyes, mouth, *ears])
    starts = np.cumsum([len(m.vertices) for m in (skin, *eyes, mouth, *ears)])
    eye_vertices = tuple(np.arange(starts[i], starts[i + 1], dtype=np.int32) for i in (0, 1))
    landmarks[68], landmarks[69] = eye_vertices[0][0], eye_vertices[1][0]

    # Rigid parts move with one point: eyeballs with their centre, teeth with the jaw they sit in.
    anchors = mesh.vertices.astype(float).copy()
    for i, sign in enumerate((-1, 1)):
        anchors[eye_vertices[i]] = (sign * EYE_X, EYE_Y, EYE_Z + EYE_R)
    inside = np.arange(starts[2], starts[3])
    anchors[inside] = (0.0, 0.0, 80.0)
    anchors[inside, 1] = np.where(mesh.uv[inside, 1] > 0, -60.0, -78.0)
    anchors[inside, 0] = mesh.vertices[inside, 0] * 0.5
    fields = _Fields(
        np.concatenate([side, np.arctan2(anchors[len(side):, 0], anchors[len(side):, 2]) * SIDE]),
        anchors, mesh.vertices.astype(float),
    )  # fmt: skip
    lids = _Lids(eye_rings, lip_rings, upper, fullness, starts, mesh)
    lid_vertices = []
    for sign in (-1, 1):
        near_eye = np.hypot(vertices[:, 0] - sign * EYE_X, vertices[:, 1] - EYE_Y) < 2.0 * EYE_R
        lid_vertices.append(np.flatnonzero(near_eye & (vertices[:, 2] > EYE_Z - 6)).astype(np.int32))
    return FaceGeometry(
        name="parametric-head-1",
        mesh=mesh,
        landmarks=landmarks,
        identity=np.stack(fields.identity(rng)).astype(np.float32),
        expression={name: np.asarray(value, np.float32) for name, value in fields.expression(lids).items()},
        eye_vertices=(eye_vertices[0], eye_vertices[1]),
        eye_radius=EYE_R,
        lid_vertices=(lid_vertices[0], lid_vertices[1]),
        contours=tuple(contours),
        brow_edges=brow_edges,
    )


def _openness(x: Array, y: Array, z: Array, azimuth: Any) -> Array:
    """How much of the sky a point of the skin sees, 0 to 1: darker in the sockets, under nose, lip and chin."""
    dark = (
        0.30 * _pair(x, y, 19, 3, 7, 7) + 0.18 * _pair(x, y, 30, 8, 16, 5) + 0.45 * _bump(x, y, 0, -47, 10, 3.5)
        + 0.85 * _pair(x, y, 6.3, -45.0, 3.4, 1.9) + 0.22 * _bump(x, y, 0, -81, 15, 4) + 0.25 * _pair(x, y, 17, -41, 3.5, 6)
        + 0.35 * _pair(x, y, 26, -66, 4, 3.5)
    )  # fmt: skip
    under = np.clip((_JAW(np.degrees(np.abs(azimuth))) - 3 - y) / 14, 0, 1) * np.clip((y + 200) / 60, 0.3, 1)
    return np.asarray(np.clip(1 - np.where(z > 0, dark, 0) - 0.5 * under, 0.05, 1))


def _eyeball(sign: int, segment: int) -> Mesh:
    """The front of an eyeball; vertex 0 is the middle of the cornea. uv is the direction seen from its centre, in units
    of the radius."""
    rings, around = 11, 22
    points: list[tuple[float, float, float]] = [(0.0, 0.0, 1.0)]
    for i in range(1, rings + 1):
        polar = np.radians(100) * i / rings
        for j in range(around):
            turn = 2 * np.pi * j / around
            points.append((np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)))
    triangles = [(0, 1 + j, 1 + (j + 1) % around) for j in range(around)]
    for i in range(rings - 1):
        for j in range(around):
            a, b = 1 + i * around + j, 1 + i * around + (j + 1) % around
            triangles += [(a, a + around, b), (b, a + around, b + around)]
    unit = np.array(points)
    vertices = unit * EYE_R + np.array([sign * EYE_X, EYE_Y, EYE_Z])
    n = len(triangles)
    # uv holds x and y of the direction, which is unique on the front half; the rest is behind the lids.
    return Mesh(
        vertices.astype(np.float32), np.array(triangles, np.int32), np.full(n, EYE, np.int32),
        np.full(n, segment, np.int32), unit[:, :2].astype(np.float32),
        np.tile(np.array([sign, 1.0], np.float32), (len(unit), 1)),
    )  # fmt: skip


def _grid_triangles(rows: int, columns: int, start: int = 0) -> NDArray[np.int32]:
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel() + start
    return np.concatenate(
        [np.stack([a, a + 1, a + columns], -1), np.stack([a + 1, a + columns + 1, a + columns], -1)]
    ).astype(np.int32)


def _mouth() -> Mesh:
    """What is seen through the lips: a dark cavity and two rows of teeth; uv[1] > 0 belongs to the upper jaw."""
    columns = np.linspace(-1, 1, 15)
    parts = []
    for upper in (True, False):
        rows = np.linspace(0, 1, 4)
        c, r = np.meshgrid(columns, rows)
        x = 23.0 * c
        y = -65.5 + 5.5 - 9.0 * r if upper else -67.5 - 5.0 + 8.0 * r
        z = (88.0 if upper else 86.0) - 13.0 * c**2
        vertices = np.stack([x, y, z], -1).reshape(-1, 3)
        triangles = _grid_triangles(4, 15)
        uv = np.stack([x.ravel(), np.where(upper, 1.0, -1.0) * (0.2 + r.ravel())], -1)
        parts.append(Mesh(
            vertices.astype(np.float32), triangles, np.full(len(triangles), TEETH, np.int32),
            np.full(len(triangles), SEG["mouth_interior"], np.int32), uv.astype(np.float32),
            np.ones((len(uv), 2), np.float32),
        ))  # fmt: skip
    c, r = np.meshgrid(columns, np.linspace(-1, 1, 7))
    vertices = np.stack([29.0 * c, -67.0 - 16.0 * r, 80.0 - 16.0 * c**2 - 22.0 * (1 - r**2)], -1).reshape(-1, 3)
    triangles = _grid_triangles(7, 15)
    uv = np.stack([c.ravel(), np.where(r.ravel() < 0, 1.0, -1.0)], -1)
    parts.append(Mesh(
        vertices.astype(np.float32), triangles, np.full(len(triangles), MOUTH, np.int32),
        np.full(len(triangles), SEG["mouth_interior"], np.int32), uv.astype(np.float32), np.ones((len(uv), 2), np.float32),
    ))  # fmt: skip
    return concatenate(parts)


def _ear(sign: int, segment: int) -> Mesh:
    """An ear: a shallow shell that stands off the head, with a raised rim."""
    rings, around = 6, 18
    vertices, shade = [], []
    for i in range(rings + 1):
        r = i / rings
        for j in range(around):
            turn = 2 * np.pi * j / around
            up, back = np.sin(turn), np.cos(turn)
            width = 17.0 - 4.0 * np.clip(-up, 0, 1)
            z = -11.0 - width * r * back * (1.0 if back > 0 else 0.75)
            y = -14.0 + 32.0 * r * up
            off = (
                5.0
                + 9.0 * np.clip(0.4 + 0.6 * r * back, 0, 1)
                + 4.0 * np.exp(-(((r - 0.85) / 0.16) ** 2))
                - 4.5 * (1 - r) ** 2
            )
            off = off * (0.15 if (r > 0.6 and back < -0.55) else 1.0)
            vertices.append((sign * (66.5 + off), y, z))
            shade.append(0.55 + 0.45 * r)
    triangles = []
    for i in range(rings):
        for j in range(around):
            a, b = i * around + j, i * around + (j + 1) % around
            triangles += [(a, a + around, b), (b, a + around, b + around)]
    points = np.array(vertices)
    uv = np.stack([sign * (100 + points[:, 2]), points[:, 1]], -1)
    n = len(triangles)
    return Mesh(
        points.astype(np.float32), np.array(triangles, np.int32), np.full(n, SKIN, np.int32),
        np.full(n, segment, np.int32), uv.astype(np.float32),
        np.stack([np.zeros(len(points)), np.array(shade)], -1).astype(np.float32),
    )  # fmt: skip


class _Lids:
    """Indices that expressions of lids and lips need."""

    def __init__(
        self, eye_rings: list[list[Indices]], lip_rings: list[Indices], upper: NDArray[np.bool_], fullness: Array,
        starts: NDArray[Any], mesh: Mesh,
    ) -> None:  # fmt: skip
        self.eye_rings, self.lip_rings, self.upper, self.fullness = eye_rings, lip_rings, upper, fullness
        self.mouth = np.arange(starts[2], starts[3])
        self.lower_teeth = self.mouth[mesh.uv[self.mouth, 1] < 0]


class _Fields:
    """Displacement fields over the mesh. ``anchors`` [V, 3] is where a field is looked up, ``vertices`` what it moves."""

    def __init__(self, side: Array, anchors: Array, vertices: Array) -> None:
        self.side, self.anchors, self.vertices = side, anchors, vertices
        self.x, self.y, self.z = anchors.T

    def _vector(self, dx: Any = 0.0, dy: Any = 0.0, dz: Any = 0.0) -> Array:
        shape = self.x.shape
        return np.stack([np.broadcast_to(d, shape) for d in (dx, dy, dz)], -1).astype(float)

    def identity(self, rng: np.random.Generator) -> list[Array]:
        """Fields of one standard deviation each. Means of published spreads: a few mm on distances of this size."""
        x, y, z, s = self.x, self.y, self.z, np.sign(self.x)
        ahead = np.clip(z / 40, 0, 1)
        low = np.clip(-(y + 30) / 60, 0, 1.4)
        head = np.clip((y + 150) / 40, 0, 1)

        def pair(*where: float) -> Array:
            return np.asarray(_pair(x, y, *where) * ahead)

        def mid(*where: float) -> Array:
            return np.asarray(_bump(x, y, *where) * ahead)

        eye = pair(30, 1, 22, 15)
        fields = [
            self._vector(dx=0.045 * x * head),  # breadth
            self._vector(dy=0.042 * y * head),  # length
            self._vector(dz=0.04 * z * head),  # depth
            self._vector(dx=4.2 * s * low * np.clip(np.abs(x) / 45, 0, 1)),  # jaw breadth
            self._vector(dy=-4.2 * low**2 * head),  # chin length
            self._vector(dz=4.0 * mid(0, -104, 28, 22)),  # chin protrusion
            self._vector(dx=3.0 * s * mid(0, -104, 34, 18) * np.clip(np.abs(x) / 14, 0, 1)),  # square chin
            self._vector(dy=5.0 * np.clip((y - 30) / 60, 0, 1)),  # forehead
            self._vector(dx=2.0 * s * (eye + 0.4 * pair(36, 21, 26, 8))),  # eyes apart
            self._vector(dy=2.2 * eye),  # eyes higher
            self._vector(dx=0.8 * s * (np.abs(x) - 31) / 14 * pair(31, 1, 16, 9)),  # long eyes
            self._vector(dy=0.55 * np.sign(y - 0.5) * pair(31, 1, 15, 8) * np.clip(np.abs(y - 0.5) / 4, 0, 1)),  # open eyes
            self._vector(dy=1.0 * (np.abs(x) - 31) / 14 * pair(31, 1, 20, 10)),  # slant
            self._vector(dy=-2.6 * mid(0, -40, 18, 14)),  # nose length
            self._vector(dx=2.1 * s * mid(0, -40, 20, 10) * np.clip(np.abs(x) / 10, 0, 1)),  # nose breadth
            self._vector(dz=3.0 * mid(0, -33, 11, 12)),  # nose tip out
            self._vector(dz=2.4 * mid(0, -8, 9, 16)),  # bridge
            self._vector(dx=1.5 * s * mid(0, -10, 14, 14) * np.clip(np.abs(x) / 6, 0, 1)),  # bridge breadth
            self._vector(dy=2.5 * mid(0, -36, 9, 8)),  # tip up
            self._vector(dx=3.0 * s * mid(0, -66, 30, 14) * np.clip(np.abs(x) / 22, 0, 1)),  # mouth breadth
            self._vector(dy=2.2 * mid(0, -67, 36, 17)),  # mouth higher
            self._vector(dz=2.4 * mid(0, -67, 26, 16)),  # mouth out
            self._vector(dy=1.6 * mid(0, -59, 22, 4.0) - 0.5 * mid(0, -66, 20, 2), dz=0.8 * mid(0, -60, 16, 4)),  # upper lip
            self._vector(
                dy=-1.9 * mid(0, -76, 20, 5.0) + 0.3 * mid(0, -66, 20, 2), dz=0.9 * mid(0, -73, 16, 5)
            ),  # lower lip
            self._vector(dy=2.6 * pair(36, 21, 28, 10)),  # brows higher
            self._vector(dy=2.0 * (np.abs(x) - 36) / 20 * pair(36, 20, 28, 10)),  # brows' slope
            self._vector(dy=1.4 * pair(40, 23, 10, 8) - 0.7 * pair(18, 19, 8, 8)),  # arched brows
            self._vector(dz=2.5 * pair(32, 20, 24, 8)),  # brow ridge
            self._vector(dx=2.5 * s * pair(58, -18, 22, 18), dz=1.5 * pair(46, -20, 18, 14)),  # cheekbones
            self._vector(dx=4.0 * s * pair(52, -58, 24, 26), dz=2.0 * pair(40, -55, 20, 22)),  # full cheeks
            self._vector(dy=-4.0 * _pair(x, y, 58, -62, 22, 22) * np.clip(z / 20 + 0.5, 0, 1)),  # jaw angle lower
            self._vector(dx=3.0 * s * np.clip(-(y + 112) / 20, 0, 1)),  # neck
            self._vector(dx=1.3 * mid(0, -38, 16, 18)),  # nose to one side
            self._vector(dx=1.5 * mid(0, -68, 28, 16)),  # mouth to one side
            self._vector(dx=1.8 * mid(0, -106, 40, 24)),  # chin to one side
            self._vector(dy=0.5 * s * eye),  # one eye higher
            self._vector(dy=1.0 * s * pair(36, 21, 26, 9)),  # one brow higher
            self._vector(dx=3.5 * s * np.exp(-(((np.abs(self.side) - 112) / 14) ** 2)) * (z < 5)),  # ears off
        ]
        # What no name was given to: smooth fields, most of them the same on both sides.
        for k in range(24):
            frequency = rng.uniform(0.012, 0.05)
            angle, phases = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi, 3)
            across = np.abs(x) if k < 18 else x
            wave = (across * np.cos(angle) + y * np.sin(angle)) * frequency * 2 * np.pi / 1.6
            amplitude = 0.30 * (0.03 / frequency) ** 0.6
            fields.append(
                self._vector(
                    dx=amplitude * np.sin(wave + phases[0]) * (s * np.clip(np.abs(x) / 12, 0, 1) if k < 18 else 1),
                    dy=amplitude * np.sin(wave + phases[1]),
                    dz=amplitude * np.sin(wave + phases[2]),
                )
                * (head * (1 - 0.6 * eye))[:, None]
            )
        return fields

    def expression(self, lids: _Lids) -> dict[str, Array]:
        """Fields at full strength."""
        x, y, z, s = self.x, self.y, self.z, np.sign(self.x)
        ahead = np.clip(z / 40, 0, 1)
        fields: dict[str, Array] = {}

        def pair(*where: float) -> Array:
            return np.asarray(_pair(x, y, *where) * ahead)

        def mid(*where: float) -> Array:
            return np.asarray(_bump(x, y, *where) * ahead)

        # The jaw turns about an axis between the ears; linear in the angle, with the full angle's sine and cosine.
        below = np.clip(-(y + 66.0) / 9.0, 0, 1)
        below = below * below * (3 - 2 * below)
        sides = np.clip((z - 5) / 45, 0, 1)
        under_jaw = np.clip((y - (_JAW(np.clip(np.degrees(np.abs(self.side) / SIDE), 0, 180)) - 26)) / 18, 0, 1)
        weight = below * sides * under_jaw
        for w, ring in zip(_LIP_RINGS, lids.lip_rings, strict=True):
            weight[ring] = np.where(lids.upper, 0.0, 1.0) * (0.10 + 0.90 * lids.fullness) * (1.0 if w else 0.97)
            # Corners give a little.
            weight[ring] += np.where(lids.fullness < 0.3, 0.22, 0.0)
        weight[lids.mouth] = 0.0
        weight[lids.lower_teeth] = 1.0
        angle = np.radians(15)
        vy, vz = self.vertices[:, 1] + 18.0, self.vertices[:, 2]
        turned_y = vy * np.cos(angle) - vz * np.sin(angle)
        turned_z = vy * np.sin(angle) + vz * np.cos(angle)
        fields["jaw_open"] = self._vector(dy=weight * (turned_y - vy), dz=weight * (turned_z - vz))
        fields["jaw_open"][:, 0] -= 0.06 * self.x * mid(0, -67, 34, 20)
        corner = pair(25, -66, 13, 13)
        cheek = pair(40, -32, 18, 16)
        # Skin is drawn along as far as the ears.
        edge = _pair(x, y, 68, -25, 18, 32)
        fields["smile"] = self._vector(
            dx=s * (7.5 * corner + 1.5 * cheek + 0.7 * edge),
            dy=6.0 * corner + 3.0 * cheek + edge + 0.8 * pair(33, -6, 14, 4) + mid(0, -73, 14, 7),
            dz=-5.0 * corner + 2.0 * cheek - 1.5 * mid(0, -67, 16, 10),
        )
        for name, sign in (("smile_right", -1), ("smile_left", 1)):
            fields[name] = fields["smile"] * np.clip(0.5 + sign * x / 24, 0, 1)[:, None]
        fields["frown"] = self._vector(dy=-5.0 * corner - 1.0 * pair(20, -80, 12, 8), dx=s * 1.5 * corner)
        fields["pucker"] = self._vector(dx=-s * 9.0 * corner - 0.25 * x * mid(0, -66, 22, 12), dz=6.0 * mid(0, -67, 17, 12))
        fields["upper_lip_up"] = self._vector(dy=5.0 * mid(0, -60, 17, 6.0) + 1.5 * pair(14, -44, 8, 7))
        fields["lower_lip_down"] = self._vector(dy=-5.0 * mid(0, -73, 16, 6.0))
        for name, sign in (("upper_lip_up", 1), ("lower_lip_down", -1)):
            for ring in lids.lip_rings:
                on = lids.upper if sign > 0 else ~lids.upper
                fields[name][ring] = np.where(
                    on[:, None], np.array([0.0, sign * 5.0, 0.5]) * lids.fullness[:, None] ** 1.5, 0.0
                )
            fields[name][lids.mouth] = 0.0
        fields["lips_in"] = self._vector(
            dy=-1.8 * mid(0, -60, 20, 4) + 2.2 * mid(0, -74, 20, 5), dz=-2.5 * mid(0, -66, 20, 8)
        )
        fields["mouth_side"] = self._vector(dx=6.0 * mid(0, -68, 28, 16))
        fields["jaw_side"] = self._vector(dx=6.0 * weight + 3.0 * mid(0, -100, 40, 24) * (1 - weight))
        inner, outer = pair(20, 20, 12, 12), pair(45, 20, 16, 12)
        fields["brows_up"] = self._vector(dy=7.0 * pair(34, 23, 30, 13) + 1.2 * pair(31, 8, 16, 4))
        for name, sign in (("brow_right_up", -1), ("brow_left_up", 1)):
            fields[name] = fields["brows_up"] * np.clip(0.5 + sign * x / 16, 0, 1)[:, None]
        fields["inner_brows_up"] = self._vector(dy=5.5 * inner - outer)
        fields["brows_down"] = self._vector(
            dy=-4.5 * pair(26, 20, 22, 11) - 1.0 * pair(30, 7, 14, 4), dx=-s * 2.8 * inner, dz=inner
        )
        fields["brows_down"][:, 1] -= 1.2 * mid(0, 0, 10, 14)
        fields["nose_wrinkle"] = self._vector(dy=2.5 * mid(0, -40, 18, 10) + 1.5 * mid(0, -60, 20, 6))
        fields["cheek_puff"] = self._vector(dx=s * 6.0 * pair(44, -62, 18, 16), dz=5.0 * pair(34, -62, 18, 16))
        for i, name in enumerate(("blink_right", "blink_left")):
            field = self._vector()
            for ring, share in zip(lids.eye_rings[i], (1.0, 0.93, 0.72, 0.4, 0.12), strict=True):
                n = len(ring) // 2
                # The upper lid comes down to just above the lower one; shape() keeps both outside the ball.
                px = self.vertices[ring, 0]
                margin = lids.eye_rings[i][0]
                lx, ly = self.vertices[margin, 0], self.vertices[margin, 1]
                top = np.interp(px[:n], lx[:n][np.argsort(lx[:n])], ly[:n][np.argsort(lx[:n])])
                bottom = np.interp(px[:n], lx[n:][np.argsort(lx[n:])], ly[n:][np.argsort(lx[n:])])
                drop = (bottom + 0.9 - top) * share
                field[ring[:n], 1] = drop
                field[ring[:n], 2] = 0.10 * np.abs(drop) * share + 0.9 * share
                field[ring[n:], 1] = 0.5 * share
            fields[name] = field
        fields["squint"] = self._vector(dy=1.6 * pair(31, -6, 16, 5) - 1.0 * pair(31, 7, 16, 4))
        return fields
