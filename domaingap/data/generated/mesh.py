"""Triangles with a material each: what is drawn, of a head and of all around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Indices = NDArray[np.int32]

# Materials of triangles; what the shader does with a surface.
SKIN, EYE, MOUTH, TEETH, HAIR, CLOTH, GLASSES, LENS, HAT, OCCLUDER, ATLAS, WIG = range(12)
# ATLAS and WIG have their colours in pictures (materials.py); the built-in head has none of them.

# FaceSynthetics' segmentation classes (its README).
SEG = {
    "background": 0, "skin": 1, "nose": 2, "right_eye": 3, "left_eye": 4, "right_brow": 5, "left_brow": 6,
    "right_ear": 7, "left_ear": 8, "mouth_interior": 9, "top_lip": 10, "bottom_lip": 11, "neck": 12, "hair": 13,
    "beard": 14, "clothing": 15, "glasses": 16, "headwear": 17, "facewear": 18,
}  # fmt: skip


@dataclass(frozen=True)
class Mesh:
    """Triangles in space, in mm: x to the image's right, y up, z towards the camera of a face that looks into it.

    Args:
        vertices: [V, 3].
        triangles: [T, 3] vertex indices, either winding.
        material: [T] one of the materials of this module.
        segment: [T] FaceSynthetics' class.
        uv: [V, 2] where a vertex lies in its material's texture. Skin: the template's (side, height), azimuth · 75 mm to
            the image's right and mm above the eye line. Eyes: x and y of the direction from the ball's centre, in radii.
            Teeth: x in mm. Others: any mm.
        attributes: [V, 2] two numbers for the shader: for skin the share of lip and how open the surface is to light.
    """

    vertices: Vectors
    triangles: Indices
    material: Indices
    segment: Indices
    uv: Vectors
    attributes: Vectors

    def moved(self, vertices: NDArray[Any]) -> Mesh:
        """The same mesh with other vertices [V, 3]."""
        return Mesh(np.asarray(vertices, np.float32), self.triangles, self.material, self.segment, self.uv, self.attributes)


def concatenate(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one, in their order."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]).astype(np.int32),
        np.concatenate([mesh.material for mesh in meshes]),
        np.concatenate([mesh.segment for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.attributes for mesh in meshes]),
    )


def uniform(
    vertices: NDArray[Any], triangles: NDArray[Any], material: int, segment: int, uv: NDArray[Any],
    attributes: NDArray[Any] | None = None,
) -> Mesh:  # fmt: skip
    """A mesh of one material and class; attributes are 1 where none are given."""
    n = len(triangles)
    return Mesh(
        np.asarray(vertices, np.float32), np.asarray(triangles, np.int32), np.full(n, material, np.int32),
        np.full(n, segment, np.int32), np.asarray(uv, np.float32),
        np.ones((len(vertices), 2), np.float32) if attributes is None else np.asarray(attributes, np.float32),
    )  # fmt: skip


@cache
def grid(rows: int, columns: int, closed: bool = False) -> Indices:
    """Triangles of rows × columns vertices; closed: the last column is joined to the first."""
    a = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(a, -1, axis=1) if closed else a[:, 1:]
    left = a if closed else a[:, :-1]
    quads = np.stack([left[:-1], right[:-1], left[1:], right[1:]], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [1, 3, 2]]]).astype(np.int32)
