"""What sits in the skin's openings and beside it: eyeballs, the mouth's inside, ears."""

from __future__ import annotations

import numpy as np

from domaingap.data.generated.geometries.builtin.template import EYE_R, EYE_X, EYE_Y, EYE_Z
from domaingap.data.generated.mesh import EYE, MOUTH, SEG, SKIN, TEETH, Mesh, concatenate, grid, uniform


def eyeball(sign: int, segment: int) -> Mesh:
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
    # uv holds x and y of the direction, which is unique on the front half; the rest is behind the lids.
    return uniform(vertices, np.array(triangles), EYE, segment, unit[:, :2], np.tile([sign, 1.0], (len(unit), 1)))


def mouth() -> Mesh:
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
        uv = np.stack([x.ravel(), np.where(upper, 1.0, -1.0) * (0.2 + r.ravel())], -1)
        parts.append(uniform(vertices, grid(4, 15), TEETH, SEG["mouth_interior"], uv))
    c, r = np.meshgrid(columns, np.linspace(-1, 1, 7))
    vertices = np.stack([29.0 * c, -67.0 - 16.0 * r, 80.0 - 16.0 * c**2 - 22.0 * (1 - r**2)], -1).reshape(-1, 3)
    uv = np.stack([c.ravel(), np.where(r.ravel() < 0, 1.0, -1.0)], -1)
    parts.append(uniform(vertices, grid(7, 15), MOUTH, SEG["mouth_interior"], uv))
    return concatenate(parts)


def ear(sign: int, segment: int) -> Mesh:
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
    return uniform(points, np.array(triangles), SKIN, segment, uv, np.stack([np.zeros(len(points)), np.array(shade)], -1))
