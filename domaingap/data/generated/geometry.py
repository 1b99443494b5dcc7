"""What the renderer needs of a face's geometry: a morphable mesh with landmark vertices. Other meshes plug in here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.mesh import ATLAS, Indices, Mesh, Vectors
from domaingap.data.generated.raster import combine, combine_packed
from domaingap.errors import UserError
from domaingap.hashing import digest
from domaingap.provenance import Terms

_NONE: Indices = np.empty(0, np.int32)
_TOLERANCE = 25  # mm by which eye corners may lie elsewhere than the built-in head's


@dataclass(frozen=True)
class FaceGeometry:
    """A linear morphable face: ``neutral + identity · bases + expression · bases``.

    Textures, hair and things worn are the same for all geometries, so that all share the built-in head's measures: mm,
    outer eye corners near (±45, 0, 75), and uv as :class:`~domaingap.data.generated.mesh.Mesh` says. Brows, lids and
    beards are painted where the built-in head has them: its ``mesh.uv[landmarks]`` says where.

    Args:
        name: for messages.
        mesh: the neutral face with its eyeballs.
        landmarks: [70] vertices of the iBUG 68 and, for the pupils, of both eyes' corneas.
        identity: [K, V, 3] displacements per unit of standard deviation.
        expression: displacements [V, 3] by name, at full strength. Faces are drawn with the built-in head's names; those
            that are missing here are left out, others stay at rest.
        eye_vertices: the eyeballs' vertices, of the eye with points 36-41 first; the cornea's middle is the first of each.
        eye_radius: of an eyeball in mm.
        lid_vertices: skin around each eye, kept outside of the eyeball whatever moves it.
        contours: per jaw point the vertices, from itself inwards, among which the visible outline is looked for;
            empty where a geometry has none (R labels then are S labels plus noise).
        people_landmarks: [68] vertices where people put the points on an unturned face, brows too; empty where nobody
            knows: then they are the landmarks, brows towards their edges.
        brow_edges: [10] vertices on the upper edge of the brows, beside points 17-26; empty where there are none.
        child: [K] what makes an identity a child's, added to it; empty where there is nothing to add.
        other_population: [K] what another population's mean identity adds (the population dial at 1); or empty.
        terms: under what terms the mesh may be used, where it is somebody else's; faces made with it carry them on.
        atlas: [V, 2] where vertices lie in the pictures that its skin is coloured with (materials.py), 0 to 1 from the upper
            left; empty where its skin is painted as the built-in head's.
        weld: [V] for vertices that an atlas' seams double, one that stands for all at the same place; or empty.
        attach: [V] how far a vertex turns with the head, 1, rather than with the body, 0; or empty, which is 1.
        people: of so many people, whom the materials have too, the last identities are the brows and then the hair.
        own: the first identities that are its own principal components; those between are the built-in head's.
        content: identity of the files that it was made of and of how, where it was made of files: arrays' last bits differ
            from machine to machine.
        has_body: its mesh goes on below the neck; others get shoulders and a collar.

    Raises:
        UserError: what is missing or doesn't fit.
    """

    name: str
    mesh: Mesh
    landmarks: Indices
    identity: Vectors
    expression: dict[str, Vectors]
    eye_vertices: tuple[Indices, Indices]
    eye_radius: float
    lid_vertices: tuple[Indices, Indices] = field(default_factory=lambda: (_NONE, _NONE))
    contours: tuple[Indices, ...] = ()
    brow_edges: Indices = field(default_factory=lambda: _NONE)
    people_landmarks: Indices = field(default_factory=lambda: _NONE)
    child: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    other_population: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    terms: tuple[Terms, ...] = ()
    atlas: Vectors = field(default_factory=lambda: np.empty((0, 2), np.float32))
    weld: Indices = field(default_factory=lambda: _NONE)
    attach: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    people: int = 0
    own: int = 0
    content: str = ""
    has_body: bool = False

    def __post_init__(self) -> None:
        mesh, n, n_identity = self.mesh, len(self.mesh.vertices), len(self.identity)
        shapes: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
            "mesh.vertices": (mesh.vertices, [(n, 3)]),
            "mesh.uv": (mesh.uv, [(n, 2)]),
            "mesh.attributes": (mesh.attributes, [(n, 2)]),
            "mesh.material": (mesh.material, [(len(mesh.triangles),)]),
            "mesh.segment": (mesh.segment, [(len(mesh.triangles),)]),
            "landmarks": (self.landmarks, [(70,)]),
            "identity": (self.identity, [(n_identity, n, 3)]),
            "brow_edges": (self.brow_edges, [(10,), (0,)]),
            "people_landmarks": (self.people_landmarks, [(68,), (0,)]),
            "atlas": (self.atlas, [(n, 2), (0, 2)]),
            "weld": (self.weld, [(n,), (0,)]),
            "attach": (self.attach, [(n,), (0,)]),
            "child": (self.child, [(n_identity,), (0,)]),
            "other_population": (self.other_population, [(n_identity,), (0,)]),
            **{f"expression {name}": (moved, [(n, 3)]) for name, moved in self.expression.items()},
        }
        for name, (array, allowed) in shapes.items():
            if np.shape(array) not in allowed:
                raise self._wrong(
                    f"{name} has shape {list(np.shape(array))}; give {' or '.join(str(list(s)) for s in allowed)}"
                )
        indices = {"mesh.triangles": mesh.triangles, "landmarks": self.landmarks, "brow_edges": self.brow_edges}
        indices["people_landmarks"] = self.people_landmarks
        for name in ("eye_vertices", "lid_vertices", "contours"):
            indices |= {f"{name}[{k}]": part for k, part in enumerate(getattr(self, name))}
        for name, part in indices.items():
            if np.size(part) and not 0 <= np.min(part) <= np.max(part) < n:
                raise self._wrong(f"{name} names vertices that aren't among the {n}")
        if len(self.contours) not in (0, 17):
            raise self._wrong(f"there are {len(self.contours)} contours; give one for each of the 17 jaw points, or none")
        if not all(len(eye) for eye in self.eye_vertices):
            raise self._wrong("eye_vertices is empty; give the mesh two eyeballs")
        for corner, sign in ((36, -1), (45, 1)):
            for name, array, expected in (("vertices", mesh.vertices, (sign * 45, 0, 75)), ("uv", mesh.uv, (sign * 40, 0))):
                there = array[self.landmarks[corner]].astype(float)
                if not (np.abs(there - expected) < _TOLERANCE).all():
                    raise self._wrong(
                        f"mesh.{name} of landmark {corner} (outer eye corner) is {there.round(2).tolist()}; give mm as on "
                        f"the built-in head, within {_TOLERANCE} of {list(expected)}"
                    )

    def _wrong(self, problem: str) -> UserError:
        return UserError(f"geometry {self.name}: {problem}")

    def key(self) -> str:
        """Identity by content: of all its arrays to the last bit, whatever its name and terms."""
        if self.content:
            return self.content
        return digest(_content({name: value for name, value in vars(self).items() if name not in ("name", "terms")}))

    def scalp(self) -> Indices:
        """Vertices that hair covers in any case, where skin is a picture."""
        skin = np.zeros(len(self.mesh.vertices), bool)
        skin[self.mesh.triangles[self.mesh.material == ATLAS]] = True
        return np.asarray(np.flatnonzero(skin & (self.mesh.attributes[:, 0] > 0.95)), np.int32)

    @cached_property
    def _packed(self) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Identities in 16 bits [K, 3 V] with their scales [K]: to a thousandth of a millimetre."""
        flat = self.identity.reshape(len(self.identity), -1)
        scales = np.maximum(np.abs(flat).max(1), 1e-9) / 32767
        return scales.astype(np.float32), np.round(flat / scales[:, None]).astype(np.int16)

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
        if self.content:
            scales, packed = self._packed
            vertices = combine_packed(self.mesh.vertices, identity.astype(np.float32) * scales, packed)
        else:
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


def _content(value: Any) -> Iterator[bytes]:
    """Arrays of nested mappings and tuples as bytes, whatever the mappings' order."""
    if isinstance(value, Mesh):
        value = vars(value)
    if isinstance(value, dict):
        for name in sorted(value):
            yield name.encode()
            yield from _content(value[name])
    elif isinstance(value, tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from _content(item)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    else:
        yield repr(value).encode()
