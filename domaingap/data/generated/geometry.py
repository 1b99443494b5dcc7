"""What the renderer needs of a face's geometry: a morphable mesh with landmark vertices. Other meshes plug in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.mesh import Indices, Mesh, Vectors
from domaingap.data.generated.raster import combine


@dataclass(frozen=True)
class FaceGeometry:
    """A linear morphable face: ``neutral + identity · bases + expression · bases``.

    Args:
        name: of the geometry, with a version; part of the identity of generated faces.
        mesh: the neutral face.
        landmarks: [70] vertices of the iBUG 68 and, for the pupils, of both eyes' corneas.
        identity: [K, V, 3] displacements per unit of standard deviation.
        expression: displacements [V, 3] by name, at full strength.
        eye_vertices: the eyeballs' vertices, of the eye with points 36-41 first; the cornea's middle is the first of each.
        eye_radius: of an eyeball in mm.
        lid_vertices: skin around each eye, kept outside of the eyeball whatever moves it.
        contours: per jaw point the vertices, from itself inwards, among which the visible outline is looked for;
            empty where a geometry has none (R labels then are S labels plus noise).
        brow_edges: [10] vertices on the upper edge of the brows, beside points 17-26; empty where there are none.
    """

    name: str
    mesh: Mesh
    landmarks: Indices
    identity: Vectors
    expression: dict[str, Vectors]
    eye_vertices: tuple[Indices, Indices]
    eye_radius: float
    lid_vertices: tuple[Indices, Indices] = field(default_factory=lambda: (np.empty(0, np.int32), np.empty(0, np.int32)))
    contours: tuple[Indices, ...] = ()
    brow_edges: Indices = field(default_factory=lambda: np.empty(0, np.int32))

    def shape(self, identity: NDArray[Any], expression: dict[str, float], gaze: tuple[float, float] = (0.0, 0.0)) -> Vectors:
        """Vertices [V, 3] of one face.

        Args:
            identity: [K] coefficients.
            expression: strengths by name; others are 0.
            gaze: where both eyes look, in radians to the image's right and up.
        """
        unknown = [name for name in expression if name not in self.expression and expression[name]]
        if unknown:
            raise ValueError(f"{self.name} has no expression {', '.join(unknown)}")
        vertices = combine(self.mesh.vertices, identity.astype(np.float32), self.identity)
        for name, strength in expression.items():
            if strength:
                vertices += np.float32(strength) * self.expression[name]
        turn = rotation(gaze[0], -gaze[1], 0.0).astype(np.float32)
        for indices, lids in zip(self.eye_vertices, self.lid_vertices, strict=True):
            centre = vertices[indices[0]] - np.array([0, 0, self.eye_radius], np.float32)
            off = vertices[lids] - centre
            distance = np.linalg.norm(off, axis=1, keepdims=True)
            # Thicker towards the margin, where lashes and lid meet the ball.
            outside = np.maximum(distance, self.eye_radius + 0.8)
            vertices[lids] = centre + off * (outside / distance)
            vertices[indices] = (vertices[indices] - centre) @ turn.T + centre
        return np.asarray(vertices)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation [3, 3] by angles in radians: yaw turns the face to the image's right, pitch up is negative, roll is
    counter-clockwise in the picture."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)
