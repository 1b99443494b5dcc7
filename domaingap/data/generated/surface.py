"""What is worked out once of a head's surface: seams, openness to light, places by texture coordinates, the template."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domaingap.data.generated.geometries.builtin.parts import eyeball
from domaingap.data.generated.geometries.builtin.template import EYE_R, EYE_X, EYE_Y, EYE_Z, JAW, JAW_GOALS, SIDE
from domaingap.data.generated.mesh import SEG, Indices, Mesh
from domaingap.data.generated.raster import rasterise, vertex_normals

Array = NDArray[Any]


def welded(vertices: Array, tolerance: float = 0.02) -> Array:
    """[V] the first vertex at the same place (mm), which is a vertex itself where no other is."""
    _, first, inverse = np.unique(np.round(vertices / tolerance), axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], np.int32)


def smooth_normals(vertices: Array, triangles: Array, weld: Array) -> Array:
    """Unit normals [V, 3] that don't break at seams."""
    if not len(weld):
        return np.asarray(vertex_normals(vertices, triangles))
    return np.asarray(vertex_normals(vertices, weld[triangles])[weld])


def openness(vertices: Array, triangles: Array, normals: Array, directions: int = 96) -> Array:
    """Share of the sky over each vertex [V] that it sees, weighted by the cosine: ambient occlusion, from depth maps."""
    size, scale = 256, 256 / 560.0
    k = np.arange(directions) + 0.5
    polar, turn = np.arccos(1 - 2 * k / directions), np.pi * (1 + 5**0.5) * k  # a Fibonacci sphere
    light = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    centre = np.array([0.0, -40.0, 0.0])
    seen, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    material = np.zeros(len(triangles), np.int32)
    for direction in light:
        facing = np.clip(normals @ direction, 0, None)
        side = np.cross([0.31, 0.9, 0.3], direction)
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(direction, side), direction])
        points = ((vertices - centre) @ frame.T).astype(np.float32)
        points[:, :2] = points[:, :2] * scale + size / 2
        points[:, 2] += 1000
        _, near = rasterise(points, triangles, material, size, size, False)
        x, y = np.clip(np.round(points[:, :2]).astype(int), 0, size - 1).T
        seen += facing * (near[y, x] <= points[:, 2] + 4.0)
        total += facing
    return np.asarray(np.clip(seen / total, 0.03, 1), np.float32)


class Places:
    """Points of a surface by their texture coordinates: weights over its vertices."""

    def __init__(self, uv: Array, triangles: Array) -> None:
        self.uv, self.triangles = uv.astype(float), triangles
        self._tree = cKDTree(self.uv[triangles].mean(1))

    def at(self, wanted: Array, tried: int = 24) -> tuple[Array, Array]:
        """Triangles' corners [N, 3] and weights [N, 3] at texture coordinates [N, 2], the nearest where none holds one."""
        wanted = np.asarray(wanted, float)
        tried = min(tried, len(self.triangles))
        candidates = self._tree.query(wanted, k=tried)[1].reshape(len(wanted), tried)
        corners = self.uv[self.triangles[candidates]]
        a, b, c = corners[..., 0, :], corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
        off = wanted[:, None] - a
        area = b[..., 0] * c[..., 1] - b[..., 1] * c[..., 0]
        area = np.where(np.abs(area) < 1e-14, 1e-14, area)
        second = (off[..., 0] * c[..., 1] - off[..., 1] * c[..., 0]) / area
        third = (b[..., 0] * off[..., 1] - b[..., 1] * off[..., 0]) / area
        weights = np.stack([1 - second - third, second, third], -1)
        best = np.argmin(np.abs(weights).sum(-1), axis=1)
        rows = np.arange(len(wanted))
        found = np.clip(weights[rows, best], 0, 1)
        return self.triangles[candidates[rows, best]], found / found.sum(1, keepdims=True)


def closest(points: Array, vertices: Array, triangles: Array, candidates: int = 64) -> tuple[Array, Array]:
    """Triangles' corners [N, 3] and weights [N, 3] of the places of a surface closest to points [N, 3]."""
    vertices = vertices.astype(float)
    tree = cKDTree(vertices[triangles].mean(1))
    found = triangles[tree.query(points, k=min(candidates, len(triangles)))[1]]
    a = vertices[found[..., 0]]
    ab, ac, ap = vertices[found[..., 1]] - a, vertices[found[..., 2]] - a, points[:, None] - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    det = np.maximum(d00 * d11 - d01 * d01, 1e-12)
    v, w = (d11 * d20 - d01 * d21) / det, (d00 * d21 - d01 * d20) / det
    weights = np.clip(np.stack([1 - v - w, v, w], -1), 0, 1)
    weights /= weights.sum(-1, keepdims=True)
    there = (vertices[found] * weights[..., None]).sum(-2)
    best = np.argmin(((there - points[:, None]) ** 2).sum(-1), axis=1)
    rows = np.arange(len(points))
    return found[rows, best], weights[rows, best]


def interpolated(field: Array, corners: Array, weights: Array) -> Array:
    """A field [..., V, D] at places of the surface, [..., N, D]."""
    return np.asarray((field[..., corners, :] * weights[..., None]).sum(-2), np.float32)


def template(vertices: Array) -> Array:
    """The built-in head's template coordinates (side, height) [V, 2] of a head in its frame."""
    return np.stack([np.arctan2(vertices[:, 0], vertices[:, 2]) * SIDE, vertices[:, 1]], -1).astype(np.float32)


def contours(uv: Array, landmarks: Array, vertices: Array, skin: Array, steps: int = 20) -> tuple[Array, ...]:
    """Paths of vertices from each jaw point inwards along which the visible outline is looked for, as on the built-in head.

    Args:
        uv: [V, 2] template coordinates.
        landmarks: [70] vertices.
        vertices: [V, 3].
        skin: vertices to choose from: the face's outside.
    """
    # The front only, so that a path doesn't jump to the mouth's inside or behind the ear.
    tree = cKDTree(uv[skin])
    paths = []
    for point in range(17):
        k = point if point < 9 else 16 - point
        sign = -1 if point < 9 else 1
        start = uv[landmarks[point]].astype(float)
        goal = np.array([sign * abs(JAW_GOALS[k][0]), JAW_GOALS[k][1]], float)
        near = skin[tree.query(np.linspace(start, goal, steps)[1:])[1]]
        path = [int(landmarks[point]), *dict.fromkeys(int(v) for v in near if v != landmarks[point])]
        paths.append(np.array(path, np.int32))
    return tuple(paths)


def neck_weight(height: Array, side: Array, low: float = -165.0, high: float = -112.0) -> Array:
    """How far vertices turn with the head [V]: 1 above the jaw's lower edge, 0 at the neck's foot."""
    jaw = np.minimum(JAW(np.clip(np.degrees(np.abs(side) / SIDE), 0, 180)) - 4, high)
    t = np.clip((height - low) / (jaw - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def eyeball_at(sign: int, centre: Array, radius: float) -> Mesh:
    """The built-in head's eyeball at another place, in another size; ``sign`` is -1 for the one at the image's left."""
    ball = eyeball(sign, SEG["right_eye"] if sign < 0 else SEG["left_eye"])
    return ball.moved((ball.vertices - [sign * EYE_X, EYE_Y, EYE_Z]) * (radius / EYE_R) + centre)


def seen(vertices: Array, triangles: Array, views: list[tuple[float, float]], scale: float, size: int) -> Array:
    """Which triangles [T] any of the views shows: yaws and pitches in degrees, ``scale`` pixels a mm, around the origin."""
    found = np.zeros(len(triangles), bool)
    material = np.zeros(len(triangles), np.int32)
    for yaw, pitch in views:
        a, b = np.radians([yaw, pitch])
        about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        points = (vertices @ (about_x @ about_y).T).astype(np.float32)
        points[:, :2] = points[:, :2] * scale + size / 2
        points[:, 2] += 1000
        ids, _ = rasterise(points, triangles, material, size, size, False)
        found[np.unique(ids[ids >= 0])] = True
    return found


def seen_teeth(vertices: Array, triangles: Array, lower: Array) -> Array:
    """Those of the teeth's triangles that can be seen from in front, with the mouth closed or open; ``lower`` [V] opens."""
    views = [(yaw, pitch) for yaw in (-45.0, -20.0, 0.0, 20.0, 45.0) for pitch in (-20.0, 10.0)]
    middle = vertices[np.unique(triangles)].mean(0)
    found = np.zeros(len(triangles), bool)
    for drop in (0.0, -25.0):
        moved = vertices - middle + np.array([0.0, drop, 0.0]) * lower[:, None]
        found |= seen(moved, triangles, views, 3.5, 512)
    return np.asarray(triangles[found])


def outside(vertices: Array, triangles: Array) -> Array:
    """Vertices [V] of the face's outside: seen from in front or from the sides."""
    found = np.zeros(len(vertices), bool)
    shown = seen(vertices, triangles, [(-70, 0), (-35, 0), (0, 0), (35, 0), (70, 0)], 3.0, 900)
    found[triangles[shown].ravel()] = True
    return np.asarray(found & (vertices[:, 1] > -150))


def lids(vertices: Array, skin: Array, centre: Array, radius: float) -> Indices:
    """Which of the ``skin`` vertices lie around an eye, to be kept off its ball."""
    off = vertices[skin] - centre
    near = (np.hypot(off[:, 0], off[:, 1]) < 1.6 * radius) & (off[:, 2] > 0) & (np.linalg.norm(off, axis=1) > 0.9 * radius)
    return np.asarray(np.unique(skin[near]), np.int32)


def spread_points(vertices: Array, candidates: Array, count: int) -> Array:
    """``count`` of the candidate vertices, spread evenly: each the furthest from those before it, from the foremost on.

    Raises:
        ValueError: there are fewer candidates.
    """
    if count > len(candidates):
        raise ValueError(f"{count} points of {len(candidates)} vertices")
    points = vertices[candidates].astype(np.float64)
    chosen = [int(np.argmax(points[:, 2]))]
    distance = ((points - points[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
    return np.asarray(candidates[chosen], np.int32)


def in_polygon(points: Array, polygon: Array) -> Array:
    """Which points [N, 2] lie inside a polygon [M, 2]: crossings of a ray."""
    x, y = points.T
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
