"""The head put together: skin, parts, and the fields that move them."""

from __future__ import annotations

from functools import cache

import numpy as np

from domaingap.data.generated.geometries.builtin.fields import Fields
from domaingap.data.generated.geometries.builtin.parts import ear, eyeball, mouth
from domaingap.data.generated.geometries.builtin.skin import Layout, skin
from domaingap.data.generated.geometries.builtin.template import EYE_R, EYE_X, EYE_Y, EYE_Z, SIDE, Array
from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.mesh import SEG, Indices, concatenate

# Identity fields by number, see Fields.identity. A child: high forehead, short chin and nose, round cheeks, large eyes.
CHILD = {
    1: -0.9, 3: -0.4, 4: -1.0, 7: 0.8, 11: 1.3, 12: 0.3, 13: -1.0, 15: -0.9, 16: -1.1, 19: -0.7, 27: -1.0, 29: 1.2, 31: -1.5,
}  # fmt: skip
# Another population: longer, narrower faces, larger noses and lower brows, on average.
_OTHER_POPULATION = {0: -0.7, 1: 0.6, 3: -0.6, 4: 0.6, 13: 0.8, 14: 0.6, 24: -0.6, 29: 0.7}


@cache
def parametric_head() -> FaceGeometry:
    """The head; made once per process in about a second."""
    rng = np.random.default_rng(68)
    layout = Layout()
    parts = [
        skin(layout, rng), eyeball(-1, SEG["right_eye"]), eyeball(1, SEG["left_eye"]), mouth(),
        ear(-1, SEG["right_ear"]), ear(1, SEG["left_ear"]),
    ]  # fmt: skip
    mesh = concatenate(parts)
    starts = np.cumsum([len(part.vertices) for part in parts])
    right_eye, left_eye, inside = (np.arange(starts[i], starts[i + 1], dtype=np.int32) for i in range(3))
    layout.landmarks[68], layout.landmarks[69] = right_eye[0], left_eye[0]

    # Rigid parts move with one point: eyeballs with their centre, teeth with the jaw they sit in.
    vertices = mesh.vertices.astype(float)
    anchors = vertices.copy()
    for sign, eye in ((-1, right_eye), (1, left_eye)):
        anchors[eye] = (sign * EYE_X, EYE_Y, EYE_Z + EYE_R)
    below = mesh.uv[inside, 1] < 0
    anchors[inside] = np.stack(
        [0.5 * mesh.vertices[inside, 0], np.where(below, -78.0, -60.0), np.full(len(inside), 80.0)], -1
    )
    side = np.concatenate([*layout.side, np.arctan2(anchors[starts[0] :, 0], anchors[starts[0] :, 2]) * SIDE])
    fields = Fields(side, anchors, vertices)
    identity = np.stack(fields.identity(rng)).astype(np.float32)
    expression = fields.expression(layout, inside, inside[below])
    return FaceGeometry(
        name="parametric-head-1",
        mesh=mesh,
        landmarks=layout.landmarks,
        identity=identity,
        expression={name: np.asarray(value, np.float32) for name, value in expression.items()},
        eye_vertices=(right_eye, left_eye),
        eye_radius=EYE_R,
        lid_vertices=(_around_eye(-1, vertices[: starts[0]]), _around_eye(1, vertices[: starts[0]])),
        contours=tuple(layout.contours),
        brow_edges=layout.brow_edges,
        child=_coefficients(CHILD, len(identity)),
        other_population=_coefficients(_OTHER_POPULATION, len(identity)),
    )


def _coefficients(amounts: dict[int, float], n: int) -> Array:
    coefficients = np.zeros(n)
    coefficients[list(amounts)] = list(amounts.values())
    return coefficients


def _around_eye(sign: int, vertices: Array) -> Indices:
    near = np.hypot(vertices[:, 0] - sign * EYE_X, vertices[:, 1] - EYE_Y) < 2.0 * EYE_R
    return np.flatnonzero(near & (vertices[:, 2] > EYE_Z - 6)).astype(np.int32)
