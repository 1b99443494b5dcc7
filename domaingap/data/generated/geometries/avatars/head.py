"""The avatars' heads as one morphable face: people's shapes mixed and extrapolated, their movements under our names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometries.avatars.brows import brow_points
from domaingap.data.generated.geometries.avatars.landmarks import (
    BROW_EDGES,
    BROW_SHIFT,
    JAW_BACK,
    LANDMARKS,
    PEOPLE,
)
from domaingap.data.generated.geometries.avatars.reader import Avatars
from domaingap.data.generated.geometries.builtin.template import JAW, SIDE
from domaingap.data.generated.geometries.named import child_of, named_fields
from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.materials import Materials, WigMesh, halved
from domaingap.data.generated.mesh import ATLAS, SEG, Mesh
from domaingap.data.generated.surface import (
    Places,
    closest,
    contours,
    eyeball_at,
    in_polygon,
    interpolated,
    lids,
    neck_weight,
    openness,
    outside,
    seen_teeth,
    smooth_normals,
    template,
    welded,
)

Array = NDArray[Any]

_CORNER_Z = 73.2  # mm that put the outer eye corners at 75, as on the built-in head
_HAIR_AT = np.array([0, 38, 68, 86, 98, 110, 124, 140, 240], float)
_HAIR_LINE = np.array([56, 56, 45, 28, 10, -4, -22, -50, -66], float)  # height over side of a low hairline, mm
_BALD = 3.0  # mm of hair on the scalp, on average, under which a person counts as bald
_OPENED = 0.5  # share of the release's movement that opens eyes wide, for its neutral heads

# Our names of movements: the release's targets with weights. R is the person's right, at the image's left.
MOVEMENTS: dict[str, dict[str, float]] = {
    "smile": {"RsmileClose": 1, "LsmileClose": 1},
    "smile_right": {"RsmileClose": 1},
    "smile_left": {"LsmileClose": 1},
    "grin": {"RsmileOpen": 1, "LsmileOpen": 1},
    "jaw_open": {"MouthOpen": 1},
    "shout": {"Shout": 1},
    "upper_lip_up": {"RlipUp": 0.8, "LlipUp": 0.8},
    "lower_lip_down": {"RlipDown": 0.8, "LlipDown": 0.8},
    "frown": {"RmouthSad": 1, "LmouthSad": 1},
    "pucker": {"Kiss": 1},
    "lips_in": {"MPB_Up": 0.7, "MPB_Down": 0.7},
    "jaw_side": {"Ljaw": 0.5, "Rjaw": -0.5},
    "jaw_forward": {"JawFront": 1},
    "chin_up": {"Chin": 1},
    "cheek_puff": {"Rblow": 1, "Lblow": 1},
    "nose_wrinkle": {"Rdisgust": 1, "Ldisgust": 1},
    "nostrils": {"Rnostril": 1, "Lnostril": 1},
    "blink_right": {"ReyeClose": 1},
    "blink_left": {"LeyeClose": 1},
    "eyes_wide": {"ReyeOpen": 1, "LeyeOpen": 1},
    "squint": {"Rsquint": 0.3, "Lsquint": 0.3, "RlowLid": 0.3, "LlowLid": 0.3},
    "brows_up": {"RRbrowUp": 1, "RbrowUp": 1, "LbrowUp": 1, "LLbrowUp": 1},
    "brow_right_up": {"RRbrowUp": 1, "RbrowUp": 1},
    "brow_left_up": {"LbrowUp": 1, "LLbrowUp": 1},
    "inner_brows_up": {"Rpityful": 1, "Lpityful": 1},
    "brows_down": {"RRbrowDown": 0.6, "RbrowDown": 1, "LbrowDown": 1, "LLbrowDown": 0.6},
    "sad_eyes": {"Rsad": 1, "Lsad": 1},
    "say_a": {"AE_AA": 1},
    "say_o": {"AO_a": 1},
    "say_e": {"H_EST": 1},
    "say_u": {"UW_U": 1},
    "say_f": {"FV": 1},
    "say_s": {"S": 1},
    "say_sh": {"SH_CH": 1},
    "say_t": {"TD_I": 1},
}


def avatar_head(avatars: Avatars, content: str) -> FaceGeometry:
    """The geometry; its last identities are the people's, in the avatars' order: their brows, then their hair."""
    shift = np.array([0.0, 0.0, _CORNER_Z], np.float32)
    # The neutral heads' eyes are less open than people's in photographs.
    opened = sum((avatars.targets[name] for name in ("ReyeOpen", "LeyeOpen") if name in avatars.targets), np.float32(0))
    people = avatars.people + shift + np.float32(_OPENED) * opened
    places = Places(avatars.uv[avatars.part == 0], _of_part(avatars, 0))
    triangles = np.concatenate(
        [_of_part(avatars, 0), seen_teeth(avatars.people.mean(0), _teeth(avatars), avatars.part == 2)]
    )
    mean = people.mean(0)
    uv = template(mean)
    hairy = _hair_share(avatars, uv)
    bald = _bald(avatars, people, hairy)
    base = mean + hairy[:, None] * (people[bald].mean(0) - mean)
    n_mesh = len(base)

    # After the mesh: two eyeballs, then a vertex for each landmark and brow edge, which no triangle has.
    balls = [eyeball_at(sign, avatars.eyes.mean(0)[k] + shift, avatars.eye_radius) for k, sign in enumerate((-1, 1))]
    n_ball = len(balls[0].vertices)
    corners, weights = places.at(np.concatenate([LANDMARKS, BROW_EDGES, PEOPLE]))
    _set_jaw_back(corners, weights, base, _of_part(avatars, 0))
    points = interpolated(avatars.uv, corners, weights)

    def whole(field: Array, eyes: Array) -> Array:
        """Of the mesh's displacements [V, 3] and the eyes' [2, 3]: those of all vertices."""
        return np.concatenate(
            [field, np.repeat(eyes, n_ball, axis=0).astype(np.float32), interpolated(field, corners, weights)]
        )

    neutral = np.concatenate([base, *(ball.vertices for ball in balls), interpolated(base, corners, weights)])
    start = n_mesh + 2 * n_ball
    landmarks = np.concatenate([start + np.arange(68), [n_mesh, n_mesh + n_ball]]).astype(np.int32)
    edges = (start + 68 + np.arange(10)).astype(np.int32)
    people_marks = (start + 78 + np.arange(68)).astype(np.int32)

    # Principal components of faces; hair is left to the people's own fields.
    mean_eyes = avatars.eyes.mean(0)
    faces = np.stack([
        whole((1 - hairy[:, None]) * (person - base), eyes - mean_eyes)
        for person, eyes in zip(people, avatars.eyes, strict=True)
    ])  # fmt: skip
    facial = (avatars.part == 0) & (base[:, 1] > -125) & (hairy < 0.5)
    components = _principal(faces, np.flatnonzero(facial))
    full_uv = template(neutral)
    rows = [(np.flatnonzero(avatars.part == number), height) for number, height in ((1, -60.0), (2, -78.0))]
    eyeballs = [np.arange(n_mesh + k * n_ball, n_mesh + (k + 1) * n_ball) for k in (0, 1)]
    named = named_fields(neutral, rows, eyeballs)
    hair = np.zeros((len(people), len(neutral), 3), np.float32)
    brows = np.zeros_like(hair)
    for k, (person, texture) in enumerate(zip(people, avatars.textures, strict=True)):
        if not bald[k]:
            hair[k, :n_mesh] = hairy[:, None] * (person - base)
        middles, uppers = brow_points(texture)
        browed = middles + 0.6 * (uppers - middles) + BROW_SHIFT
        there = interpolated(base, *places.at(np.concatenate([middles, uppers, browed])))
        brows[k, landmarks[17:27]] = there[:10] - neutral[landmarks[17:27]]
        brows[k, edges] = there[10:20] - neutral[edges]
        brows[k, people_marks[17:27]] = there[20:] - neutral[people_marks[17:27]]

    movements = {
        name: whole(np.sum([weight * avatars.targets[target] for target, weight in parts.items()], axis=0), np.zeros((2, 3)))
        for name, parts in MOVEMENTS.items()
        if all(target in avatars.targets for target in parts)
    }
    skin = np.flatnonzero(outside(base[avatars.part == 0], _of_part(avatars, 0)))
    around_eyes = np.concatenate([skin, landmarks[36:48], people_marks[36:48]])
    mesh = _mesh(avatars, base, triangles, balls, neutral, full_uv, hairy)
    return FaceGeometry(
        name="VALID avatars",
        mesh=mesh,
        landmarks=landmarks,
        identity=np.concatenate([components, named, brows, hair]).astype(np.float32),
        expression=movements,
        eye_vertices=tuple(np.arange(n_mesh + k * n_ball, n_mesh + (k + 1) * n_ball, dtype=np.int32) for k in (0, 1)),  # type: ignore[arg-type]
        eye_radius=avatars.eye_radius,
        lid_vertices=tuple(  # type: ignore[arg-type]
            lids(neutral, around_eyes, avatars.eyes.mean(0)[k] + shift, avatars.eye_radius)
            for k in (0, 1)
        ),
        contours=contours(full_uv, people_marks, neutral, skin),
        brow_edges=edges,
        people_landmarks=people_marks,
        atlas=np.concatenate([avatars.uv, *(ball.uv for ball in balls), points]).astype(np.float32),
        weld=welded(neutral),
        attach=np.concatenate([
            np.where(avatars.part > 0, 1, neck_weight(base[:, 1], uv[:, 0])), np.ones(2 * n_ball + len(points))
        ]).astype(np.float32),
        child=child_of(len(components), len(components) + len(named) + 2 * len(people)),
        people=len(people),
        own=len(components),
        content=content,
        has_body=True,
    )  # fmt: skip


def _set_jaw_back(corners: Array, weights: Array, vertices: Array, triangles: Array) -> None:
    """Moves people's jaw points, the first of the last 68, back along the head's sides, in place."""
    shell = triangles[outside(vertices, triangles)[triangles].all(1)]
    jaw = slice(len(corners) - 68, len(corners) - 68 + 17)
    moved = interpolated(vertices, corners[jaw], weights[jaw]) - np.array([0.0, 0.0, 1.0]) * JAW_BACK[:, None]
    corners[jaw], weights[jaw] = closest(moved, vertices, shell)


def _teeth(avatars: Avatars) -> Array:
    return np.asarray(avatars.triangles[avatars.part[avatars.triangles[:, 0]] > 0])


def _of_part(avatars: Avatars, part: int) -> Array:
    return np.asarray(avatars.triangles[avatars.part[avatars.triangles[:, 0]] == part])


def _hair_share(avatars: Avatars, uv: Array) -> Array:
    """How far a vertex [V] is under hair, 0 to 1, with a soft border; ears, teeth and body are not."""
    side, height = uv.T
    line = np.interp(np.abs(side), _HAIR_AT, _HAIR_LINE)
    t = np.clip((height - line + 4) / 12, 0, 1)
    ear = (avatars.uv[:, 0] < 0.1) & (avatars.uv[:, 1] > 0.36) & (avatars.uv[:, 1] < 0.64)
    return np.asarray(np.where((avatars.part == 0) & ~ear & (height > -80), t * t * (3 - 2 * t), 0), np.float32)


def _bald(avatars: Avatars, people: Array, hairy: Array) -> Array:
    """Whose scalp is bare [N]: those who wear a wig, and those whose scalp lies as theirs."""
    wearers = np.zeros(len(people), bool)
    wearers[[wig.wearer for wig in avatars.wigs]] = True
    scalp = hairy > 0.95
    size = np.linalg.norm(people[:, scalp] - [0, 20, 0], axis=2).mean(1)
    reference = size[wearers].mean() if wearers.any() else size.min()
    return np.asarray(wearers | (size < reference + _BALD))


def _principal(faces: Array, facial: Array) -> Array:
    """Principal components [K, V, 3] of displacements, one standard deviation each, as they move some vertices."""
    centred = faces - faces.mean(0)
    flat = centred.reshape(len(faces), -1).astype(np.float64)
    some = centred[:, facial].reshape(len(faces), -1).astype(np.float64)
    values, vectors = np.linalg.eigh(some @ some.T / max(1, len(faces) - 1))
    keep = values > 1e-3 * values.max()
    # Unit vectors in the people's space → displacements of one standard deviation; signs by a fixed rule.
    mixed = vectors[:, keep] * np.sign(vectors[:, keep].sum(0) + 1e-9)
    return np.asarray((mixed.T @ flat / np.sqrt(max(1, len(faces) - 1))).reshape(-1, *faces.shape[1:])[::-1], np.float32)


def _mesh(
    avatars: Avatars, base: Array, triangles: Array, balls: list[Mesh], neutral: Array, uv: Array, hairy: Array
) -> Mesh:
    n = len(base)
    with_balls = np.concatenate([triangles, *(ball.triangles + n + k * len(ball.vertices) for k, ball in enumerate(balls))])
    normals = smooth_normals(base, triangles, welded(base))
    light = openness(base, triangles, normals)
    # Teeth are looked at when the mouth is open.
    light = np.where(avatars.part > 0, np.float32(0.62), light)
    attributes = np.ones((len(neutral), 2), np.float32)
    attributes[:n] = np.stack([hairy, light], -1)
    coordinates = uv.copy()
    for k, ball in enumerate(balls):
        coordinates[n + k * len(ball.vertices) : n + (k + 1) * len(ball.vertices)] = ball.uv
    return Mesh(
        neutral.astype(np.float32), with_balls.astype(np.int32),
        np.concatenate([np.full(len(triangles), ATLAS), *(ball.material for ball in balls)]).astype(np.int32),
        np.concatenate(
            [segments(avatars.uv, avatars.part, uv[:n], triangles), *(ball.segment for ball in balls)]
        ).astype(np.int32),
        coordinates.astype(np.float32), attributes,
    )  # fmt: skip


def segments(atlas: Array, part: Array, uv: Array, triangles: Array) -> Array:
    """FaceSynthetics' classes [T] by where a triangle's middle lies in the atlas."""
    middle, place = atlas[triangles].mean(1), uv[triangles].mean(1)
    found = np.full(len(triangles), SEG["skin"])

    polygon = LANDMARKS
    nose = in_polygon(middle, polygon[[27, 31, 32, 33, 34, 35]])
    top = in_polygon(middle, polygon[[48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60]])
    bottom = in_polygon(middle, polygon[[48, 60, 67, 66, 65, 64, 54, 55, 56, 57, 58, 59]])
    ear = (middle[:, 0] < 0.1) & (middle[:, 1] > 0.36) & (middle[:, 1] < 0.64)
    neck = place[:, 1] < JAW(np.clip(np.degrees(np.abs(place[:, 0]) / SIDE), 0, 180)) - 6
    body = (place[:, 1] < -120) & ((middle[:, 1] > 0.53) | (middle[:, 0] > 0.655))
    found[nose] = SEG["nose"]
    found[top], found[bottom] = SEG["top_lip"], SEG["bottom_lip"]
    found[neck] = SEG["neck"]
    found[ear & (place[:, 0] < 0)] = SEG["right_ear"]
    found[ear & (place[:, 0] >= 0)] = SEG["left_ear"]
    found[body] = SEG["clothing"]
    found[part[triangles[:, 0]] > 0] = SEG["mouth_interior"]
    return found


def avatar_materials(avatars: Avatars, geometry: FaceGeometry) -> Materials:
    """The avatars' colour maps, and their wigs on the head that they were made for, in this geometry's frame."""
    shift = np.array([0.0, 0.0, _CORNER_Z], np.float32)
    n = len(avatars.uv)
    scalp = geometry.scalp()
    wigs = []
    for wig in avatars.wigs:
        head = np.concatenate([avatars.people[wig.wearer] + shift, geometry.mesh.vertices[n:]])
        vertices = (wig.vertices + shift).astype(np.float32)
        both = np.concatenate([head, vertices])
        triangles = np.concatenate([geometry.mesh.triangles, wig.triangles + len(head)]).astype(np.int32)
        normals = smooth_normals(both, triangles, np.empty(0, np.int32))
        # Wigs are strips that are seen from both sides: what they see of the sky is what their outer side sees.
        out = vertices - head[scalp].mean(0)
        normals[len(head) :] = out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-6)
        light = openness(both, triangles, normals)[len(head) :]
        box = np.stack([head[scalp].min(0), head[scalp].max(0)])
        wigs.append(WigMesh(vertices, wig.uv.astype(np.float32), wig.triangles.astype(np.int32), wig.colours, box, light))
    hair = geometry.identity[len(geometry.identity) - geometry.people :]
    bald = ~np.array([bool(np.abs(field).max() > 0) for field in hair])
    return Materials(tuple(avatars.names), avatars.textures, halved(avatars.textures), bald, tuple(wigs))
