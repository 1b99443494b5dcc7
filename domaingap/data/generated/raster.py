"""Depth-buffered rasteriser, compiled by numba: triangles → the nearest one's id and nearness at every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from domaingap.data.generated.compiled import compiled
from domaingap.data.generated.mesh import LENS


@compiled(fastmath=True)
def vertex_normals(vertices: Any, triangles: Any) -> Any:
    """Unit normals [V, 3], weighted by area."""
    normals = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v, 0] /= length
        normals[v, 1] /= length
        normals[v, 2] /= length
    return normals


@compiled()
def combine(start: Any, weights: Any, fields: Any) -> Any:
    """``start + weights · fields`` for [V, 3], [K] and [K, V, 3], in one thread and one order: BLAS would use all cores
    in every one of several processes."""
    out = start.copy()
    for k in range(weights.shape[0]):
        w = weights[k]
        if w != 0:
            for v in range(out.shape[0]):
                out[v, 0] += w * fields[k, v, 0]
                out[v, 1] += w * fields[k, v, 1]
                out[v, 2] += w * fields[k, v, 2]
    return out


@compiled(fastmath=True)
def combine_packed(start: Any, weights: Any, fields: Any) -> Any:
    """As :func:`combine`, of fields in 16 bits [K, 3 V] whose scales are in the weights: reading them is what takes time."""
    out = start.copy()
    flat = out.reshape(-1)
    for k in range(weights.shape[0]):
        w = weights[k]
        if w != 0:
            for i in range(flat.shape[0]):
                flat[i] += w * fields[k, i]
    return out


@compiled()
def halve(image: Any) -> Any:
    """Means of 2 × 2 pixels of [2 S, 2 S, 3] as [S, S, 3]."""
    size = image.shape[0] // 2
    out = np.empty((size, size, 3), dtype=np.float32)
    for y in range(size):
        for x in range(size):
            for i in range(3):
                out[y, x, i] = 0.25 * (
                    image[2 * y, 2 * x, i] + image[2 * y, 2 * x + 1, i]
                    + image[2 * y + 1, 2 * x, i] + image[2 * y + 1, 2 * x + 1, i]
                )  # fmt: skip
    return out


@compiled(fastmath=True)
def rasterise(points: Any, triangles: Any, material: Any, width: int, height: int, lenses: bool) -> Any:
    """Nearest triangle of every pixel.

    Args:
        points: [V, 3] x, y in pixels (centres at integers) and nearness (1 / distance, or any that grows towards the eye).
        triangles: [T, 3].
        material: [T]; lenses are drawn only where ``lenses`` says so, and then nothing else.

    Returns:
        (ids [H, W] or -1, nearness [H, W]).
    """
    ids = np.full((height, width), -1, dtype=np.int32)
    near = np.zeros((height, width), dtype=np.float32)
    for t in range(triangles.shape[0]):
        if (material[t] == LENS) != lenses:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        az, bz, cz = points[a, 2], points[b, 2], points[c, 2]
        if az <= 0 or bz <= 0 or cz <= 0:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        x0 = max(0, int(np.ceil(min(ax, bx, cx))))
        x1 = min(width - 1, int(np.floor(max(ax, bx, cx))))
        y0 = max(0, int(np.ceil(min(ay, by, cy))))
        y1 = min(height - 1, int(np.floor(max(ay, by, cy))))
        if x0 > x1 or y0 > y1:
            continue
        inverse = 1.0 / area
        wb_dx, wc_dx = (cy - ay) * inverse, -(by - ay) * inverse
        wb_dy, wc_dy = -(cx - ax) * inverse, (bx - ax) * inverse
        for y in range(y0, y1 + 1):
            wb = (x0 - ax) * wb_dx + (y - ay) * wb_dy
            wc = (x0 - ax) * wc_dx + (y - ay) * wc_dy
            for x in range(x0, x1 + 1):
                wa = 1.0 - wb - wc
                if wa >= -1e-5 and wb >= -1e-5 and wc >= -1e-5:
                    z = wa * az + wb * bz + wc * cz
                    if z > near[y, x]:
                        near[y, x] = z
                        ids[y, x] = t
                wb += wb_dx
                wc += wc_dx
    return ids, near
