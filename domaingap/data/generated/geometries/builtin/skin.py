"""The head's skin: vertices on the template, triangulated and rolled up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from domaingap.data.generated.geometries.builtin.template import (
    BROWS,
    EYE_R,
    EYE_RINGS,
    EYE_X,
    EYE_Y,
    EYE_Z,
    JAW,
    JAW_GOALS,
    JAW_POINTS,
    LIP_OUTSIDE,
    LIP_RINGS,
    NOSE,
    PER_EYE,
    PER_LIP,
    SIDE,
    Array,
    azimuth_of,
    eye_curve,
    features,
    lip_curves,
    openness,
    skull,
)  # fmt: skip
from domaingap.data.generated.mesh import SEG, SKIN, Indices, Mesh


def inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """Which of points [n, 2] lie inside a polygon [m, 2]."""
    x, y = points[:, None, 0], points[:, None, 1]
    x0, y0 = polygon[:, 0], polygon[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crosses = (y0 > y) != (y1 > y)
    where = (x1 - x0) * (y - y0) / np.where(y1 == y0, 1e-9, y1 - y0) + x0
    return np.asarray((crosses & (x < where)).sum(1) % 2 == 1)


def _grid(p0: float, p1: float, h0: float, h1: float, step_p: float, step_h: float) -> Array:
    p, h = np.meshgrid(np.arange(p0, p1 + 1e-6, step_p), np.arange(h0, h1 + 1e-6, step_h))
    p = p + np.where(np.arange(len(h))[:, None] % 2, step_p / 2, 0)
    return np.stack([np.clip(p, p0, p1).ravel(), h.ravel()], -1)


class Layout:
    """The skin's vertices on the template by what they are, before triangulation.

    ``upper`` and ``fullness`` [n] say of a lip ring's vertices whether they are of the upper lip, and how far from the
    corners (0) they are.
    """

    def __init__(self) -> None:
        self.side: list[Array] = []
        self.height: list[Array] = []
        self.extra: list[Array] = []  # lip share, displacement of lips (z)
        self.count = 0
        self.landmarks = np.zeros(70, np.int32)
        self.contours: list[Indices] = []
        self.eye_rings: list[list[Indices]] = [[], []]
        self.lip_rings: list[Indices] = []
        self._jaw()
        self._brows_and_nose()
        self._eyes()
        self._lips()
        self._between()

    def flat(self) -> Array:
        """All vertices (side, height), [V, 2]."""
        return np.stack([np.concatenate(self.side), np.concatenate(self.height)], -1)

    def add(self, side: Array, height: Array, lip: Array | float = 0.0, out: Array | float = 0.0) -> Indices:
        n = len(side)
        self.side.append(np.asarray(side, float))
        self.height.append(np.asarray(height, float))
        self.extra.append(np.stack([np.broadcast_to(lip, n), np.broadcast_to(out, n)], -1).astype(float))
        self.count += n
        return np.arange(self.count - n, self.count, dtype=np.int32)

    def add_plane(self, points: Array, lip: Array | float = 0.0, out: Array | float = 0.0) -> Indices:
        return self.add(azimuth_of(points[:, 0], points[:, 1]) * SIDE, points[:, 1], lip, out)

    def _jaw(self) -> None:
        # Jaw and its contour paths: from each jaw point inwards along the surface.
        jaw = np.array(JAW_POINTS + [(-a, h) for a, h in JAW_POINTS[-2::-1]])
        for k, (azimuth, height) in enumerate(jaw):
            start = np.array([np.radians(azimuth) * SIDE, height])
            goal = np.array(JAW_GOALS[min(k, 16 - k)]) * [np.sign(azimuth), 1]
            share = np.linspace(0, 1, 18)[:, None] ** 1.2
            path = start + (goal - start) * share
            vertices = self.add(path[:, 0], path[:, 1])
            self.landmarks[k] = vertices[0]
            self.contours.append(vertices)

    def _brows_and_nose(self) -> None:
        brows = np.array(BROWS + [(-x, y) for x, y in BROWS[::-1]])
        self.landmarks[17:27] = self.add_plane(brows)
        self.brow_edges = self.add_plane(brows + np.array([0.0, 4.0]))
        nose = np.array(NOSE + [(8, -45), (15, -42)])
        self.landmarks[27:36] = self.add_plane(nose)

    def _eyes(self) -> None:
        eye = eye_curve()
        for which, curve in enumerate((eye, eye * np.array([-1.0, 1.0]))):
            middle = curve.mean(0)
            for scale in EYE_RINGS:
                stretch = np.array([1 + (scale - 1) * 0.8, 1 + (scale - 1) * 1.5])
                self.eye_rings[which].append(self.add_plane(middle + (curve - middle) * stretch))
        corner = PER_EYE * np.arange(6)
        self.landmarks[36:42] = self.eye_rings[0][0][corner]
        self.landmarks[42:48] = self.eye_rings[1][0][corner[[3, 2, 1, 0, 5, 4]]]

    def _lips(self) -> None:
        outer, inner = lip_curves()
        self.upper = np.arange(len(outer)) < len(outer) // 2
        x_share = np.clip(np.abs(outer[:, 0]) / 25.5, 0, 1)
        self.fullness = np.sqrt(np.clip(1 - x_share**2, 0, 1))
        for w in LIP_RINGS:
            out = self.fullness * np.where(self.upper, 3.2, 3.8) * np.sin(np.pi * (0.15 + 0.75 * w))
            out -= 2.0 * w**3 * self.fullness
            self.lip_rings.append(self.add_plane(outer + (inner - outer) * w, 1.0, out))
        mouth_centre = np.array([0.0, -66.0])
        for scale in LIP_OUTSIDE:
            self.add_plane(mouth_centre + (outer - mouth_centre) * scale)
        self.landmarks[48:60] = self.lip_rings[0][PER_LIP * np.arange(12)]
        n = len(inner) // 2
        quarter = [0, round(n / 4), round(n / 2), round(3 * n / 4)]
        self.landmarks[60:68] = self.lip_rings[-1][np.array(quarter + [n + q for q in quarter])]

    def _between(self) -> None:
        """Regular points: fine on the face, coarse behind and on the neck, kept off the rings and the landmarks."""
        half_turn = np.pi * SIDE
        candidates = [
            _grid(-26, 26, -52, 10, 2.6, 2.6),
            _grid(-118, 118, -126, 62, 5.2, 5.0),
            _grid(-half_turn, half_turn, -215, -128, 14, 9),
            _grid(-half_turn, -120, -122, 62, 11, 9), _grid(120, half_turn, -122, 62, 11, 9),
            _grid(-half_turn, half_turn, 66, 104, 9, 6), _grid(-half_turn, half_turn, 107, 111.5, 18, 2.2),
        ]  # fmt: skip
        for column in (-half_turn, half_turn):
            heights = np.arange(-215, 112, 8.0)
            candidates.append(np.stack([np.full(len(heights), column), heights], -1))
        kept = self.flat()
        holes = [kept[ring] for ring in (self.eye_rings[0][0], self.eye_rings[1][0], self.lip_rings[0])]
        for k, points in enumerate(candidates):
            near = 1.5 if k == 0 else 2.6
            far = cKDTree(kept).query(points)[0] > near
            for hole in holes:
                far &= ~inside(points, hole)
            self.add(points[far, 0], points[far, 1])
            kept = np.concatenate([kept, points[far]])


def _triangulated(layout: Layout, flat: Array, rng: np.random.Generator) -> Indices:
    # Delaunay on slightly moved points: exact grids have ties, which other machines could break otherwise.
    triangles = Delaunay(flat + rng.uniform(-0.05, 0.05, flat.shape)).simplices.astype(np.int32)
    middle_points = flat[triangles].mean(1)
    ring_polygons = [flat[layout.eye_rings[0][0]], flat[layout.eye_rings[1][0]], flat[layout.lip_rings[-1]]]
    open_ = np.zeros(len(triangles), bool)
    for polygon in ring_polygons:
        open_ |= inside(middle_points, polygon)
    triangles = triangles[~open_]
    # One winding for all, so that vertex normals point outwards.
    a, b, c = (flat[triangles[:, i]] for i in range(3))
    clockwise = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles[clockwise] = triangles[clockwise][:, ::-1]
    return np.asarray(triangles)


def _rolled_up(layout: Layout, azimuth: Array, height: Array, out: Array) -> tuple[Array, Array, Array]:
    """Where the vertices lie in space: x, y and z in mm."""
    radius = skull(azimuth, height)
    x, y, z = radius * np.sin(azimuth), height.copy(), radius * np.cos(azimuth)
    dx, dz = features(x, y, z)
    x, z = x + dx, z + dz + out
    # The lids lie on the eyeball; rings around them blend into the face.
    for s, sign in enumerate((-1, 1)):
        for ring, weight in zip(layout.eye_rings[s], (1.0, 0.92, 0.7, 0.4, 0.12), strict=True):
            offset = np.hypot(x[ring] - sign * EYE_X, y[ring] - EYE_Y)
            ball = EYE_Z + np.sqrt(np.clip((EYE_R + 0.9) ** 2 - offset**2, 6.0, None)) + 0.6
            target = np.where(ball > z[ring] - 14, ball, z[ring])
            z[ring] = z[ring] + weight * (target - z[ring])
    # Closed lips: the inner contours meet.
    for w, ring in zip(LIP_RINGS, layout.lip_rings, strict=True):
        y[ring] += w**3 * (-66.0 + 0.9 * np.where(layout.upper, 0.06, -0.06) - y[ring]) * layout.fullness**0.3
    return x, y, z


def _segments(flat: Array, lip: Array, triangles: Indices) -> Indices:
    segment = np.full(len(triangles), SEG["skin"], np.int32)
    p, h = flat[triangles].mean(1).T
    is_lip = lip[triangles].sum(1) == 3
    segment[(np.abs(p) < 14 + 0.1 * np.abs(h)) & (h > -48) & (h < 4) & (np.abs(p) < 0.42 * (4 - h) + 5)] = SEG["nose"]
    segment[is_lip & (h > -66)] = SEG["top_lip"]
    segment[is_lip & (h <= -66)] = SEG["bottom_lip"]
    segment[h < JAW(np.abs(p) / SIDE * 180 / np.pi) - 2] = SEG["neck"]
    return segment


def skin(layout: Layout, rng: np.random.Generator) -> Mesh:
    """The neutral skin; ``rng`` breaks ties of the triangulation."""
    flat = layout.flat()
    lip, out = np.concatenate(layout.extra).T
    triangles = _triangulated(layout, flat, rng)
    azimuth = np.concatenate(layout.side) / SIDE
    x, y, z = _rolled_up(layout, azimuth, np.concatenate(layout.height), out)
    open_to_light = openness(x, y, z, azimuth)
    for w, ring in zip(LIP_RINGS, layout.lip_rings, strict=True):
        open_to_light[ring] = 1 - 0.75 * w**3
    for s in range(2):
        open_to_light[layout.eye_rings[s][0]] *= 0.6
        open_to_light[layout.eye_rings[s][1]] *= 0.8
    attributes = np.stack([lip, open_to_light], -1).astype(np.float32)
    return Mesh(
        np.stack([x, y, z], -1).astype(np.float32), triangles, np.full(len(triangles), SKIN, np.int32),
        _segments(flat, lip, triangles), flat.astype(np.float32), attributes,
    )  # fmt: skip
