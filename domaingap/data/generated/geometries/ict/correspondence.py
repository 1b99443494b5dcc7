"""The avatars' colours and hair on another head: aligned on the landmarks, then the closest points of both surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.mesh import ATLAS, SEG
from domaingap.data.generated.surface import closest, interpolated, outside

Array = NDArray[Any]

_STRETCH = 0.05  # of the atlas: triangles that reach further lie across a seam


class Transfer:
    """What a head takes over from the avatars'.

    Args:
        vertices: [V, 3] of the head, in the frame that all heads share.
        triangles: [T, 3] of its skin.
        marks: [68, 3] places of the landmarks, of the brows where brows are to be drawn.
        avatars: their head.

    Attributes:
        triangles: [T, 3] with vertices doubled where a triangle lies across a seam of the atlas.
        doubled: [D] which vertices the added ones double.
        atlas: [V + D, 2] places in the atlas.
        hairy: [V] how far vertices are under hair.
    """

    def __init__(self, vertices: Array, triangles: Array, marks: Array, avatars: FaceGeometry) -> None:
        self._avatars, self._marks, self._n = avatars, marks, len(vertices)
        mesh = avatars.mesh
        theirs = mesh.triangles[(mesh.material == ATLAS) & ~np.isin(mesh.segment, (SEG["mouth_interior"], SEG["clothing"]))]
        # Not what lies inside of mouth and sockets, where closest points would be found as well.
        open_ = outside(mesh.vertices, theirs) | (mesh.vertices[:, 2] < 20) | (mesh.vertices[:, 1] > 40)
        self._theirs = theirs[open_[theirs].all(1)]
        warped = self._aligned(vertices)
        self._corners, self._weights = self._closest(warped)
        self.hairy = interpolated(mesh.attributes[:, :1], self._corners, self._weights)[:, 0]
        atlas = interpolated(avatars.atlas, self._corners, self._weights)
        # A triangle across a seam gets vertices of its own, placed by the plane of the avatars' triangle at its middle.
        spread = (atlas[triangles].max(1) - atlas[triangles].min(1)).max(1)
        across = np.flatnonzero(spread > _STRETCH)
        self.triangles = triangles.copy()
        if len(across):
            middle, _ = self._closest(warped[triangles[across]].mean(1))
            plane = mesh.vertices[middle]  # [N, 3 corners, 3]
            first, second = plane[:, 1] - plane[:, 0], plane[:, 2] - plane[:, 0]
            system = np.stack([first, second], -1)
            off = warped[triangles[across]] - plane[:, None, 0]
            share = np.einsum("nij,nkj->nki", np.linalg.pinv(system), off)
            uv = avatars.atlas[middle]
            own = (
                uv[:, None, 0]
                + share[..., :1] * (uv[:, None, 1] - uv[:, None, 0])
                + share[..., 1:] * (uv[:, None, 2] - uv[:, None, 0])
            )
            self.triangles[across] = len(vertices) + np.arange(3 * len(across)).reshape(-1, 3)
            self.doubled = triangles[across].ravel()
            self.atlas = np.concatenate([atlas, np.clip(own, 0, 1).reshape(-1, 2)]).astype(np.float32)
        else:
            self.doubled, self.atlas = np.empty(0, np.int64), atlas

    def _aligned(self, vertices: Array) -> Array:
        """Vertices moved so that their landmarks lie on the avatars', and skull and neck where theirs are."""
        mesh = self._avatars.mesh
        source = [self._marks]
        target = [mesh.vertices[self._avatars.landmarks[:68]]]
        for towards in ((0, 1, 0), (0, 0.5, -1), (0, 0, -1), (1, 0.6, -0.3), (-1, 0.6, -0.3), (0, 0.8, 0.5)):
            way = np.array(towards) / np.linalg.norm(towards)
            source.append(_furthest(vertices[vertices[:, 1] > -60], way))
            target.append(
                _furthest(mesh.vertices[np.unique(self._theirs)][mesh.vertices[np.unique(self._theirs)][:, 1] > -60], way)
            )
        return np.asarray(
            RBFInterpolator(np.concatenate(source), np.concatenate(target), kernel="linear", smoothing=0.1)(vertices)
        )

    def _closest(self, points: Array) -> tuple[Array, Array]:
        """Triangles' corners [N, 3] of the avatars and weights [N, 3] of the places closest to points [N, 3]."""
        return closest(points, self._avatars.mesh.vertices, self._theirs)

    def people(self, where: Array, n_ball: int) -> Array:
        """The avatars' brows and hair [2 N, V', 3]: of vertices, doubled ones too, two eyeballs, landmarks, brow edges.

        Args:
            where: [V + D] which vertex each is.
            n_ball: vertices of an eyeball.
        """
        avatars = self._avatars
        tail = avatars.identity[len(avatars.identity) - 2 * avatars.people :]
        count = len(where) + 2 * n_ball + 146
        found = np.zeros((2 * avatars.people, count, 3), np.float32)
        hair = tail[avatars.people :]
        found[avatars.people :, : len(where)] = interpolated(hair, self._corners, self._weights)[:, where]
        start = len(where) + 2 * n_ball
        found[: avatars.people, start + 17 : start + 27] = tail[: avatars.people, avatars.landmarks[17:27]]
        found[: avatars.people, start + 68 : start + 78] = tail[: avatars.people, avatars.brow_edges]
        found[: avatars.people, start + 95 : start + 105] = tail[: avatars.people, avatars.people_landmarks[17:27]]
        return found


def _furthest(points: Array, way: Array) -> Array:
    """The mean of the outermost points in a direction [1, 3]: of which skulls have none that is marked."""
    along = points @ way
    return np.asarray(points[along > along.max() - 4].mean(0)[None])
