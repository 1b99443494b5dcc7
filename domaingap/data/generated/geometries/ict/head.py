"""ICT-FaceKit as one of our heads: mm, its identities, its movements under our names, the avatars' colours and hair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from domaingap.data.generated.geometries.builtin import parametric_head
from domaingap.data.generated.geometries.builtin.template import JAW, SIDE
from domaingap.data.generated.geometries.ict.correspondence import Transfer
from domaingap.data.generated.geometries.ict.landmarks import (
    BROWS,
    FACING,
    GUMS,
    LANDMARKS,
    MOUTH,
    PEOPLE,
    SCLERAS,
    SKIN,
    TEETH,
)
from domaingap.data.generated.geometries.ict.reader import FaceKit, facekit_content, facekit_files, read_facekit
from domaingap.data.generated.geometries.named import child_of, named_fields
from domaingap.data.generated.geometry import FaceGeometry, rotation
from domaingap.data.generated.materials import Materials
from domaingap.data.generated.mesh import ATLAS, SEG, Mesh
from domaingap.data.generated.mesh import MOUTH as MOUTH_MATERIAL
from domaingap.data.generated.mesh import SKIN as SKIN_MATERIAL
from domaingap.data.generated.mesh import TEETH as TEETH_MATERIAL
from domaingap.data.generated.surface import (
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
from domaingap.hashing import content_key
from domaingap.progress import console, track
from domaingap.store import Store

Array = NDArray[Any]

MM = 10.0  # a unit of the release
_BROW_EDGE = 4.5  # mm from a brow's middle to its upper edge, as on the avatars


def _pair(name: str, weight: float = 1.0) -> dict[str, float]:
    return {f"{name}_L": weight, f"{name}_R": weight}


# Our names of movements: the release's with weights. L is the person's left, at the image's right.
MOVEMENTS: dict[str, dict[str, float]] = {
    "smile": _pair("mouthSmile", 0.75) | _pair("cheekSquint", 0.3),
    "smile_right": {"mouthSmile_R": 0.7},
    "smile_left": {"mouthSmile_L": 0.7},
    "grin": _pair("mouthSmile", 0.65)
    | _pair("mouthUpperUp", 0.45)
    | _pair("mouthLowerDown", 0.35)
    | _pair("mouthStretch", 0.25),
    "jaw_open": {"jawOpen": 0.55},
    "shout": {"jawOpen": 0.95},
    "upper_lip_up": _pair("mouthUpperUp", 0.7),
    "lower_lip_down": _pair("mouthLowerDown", 0.7),
    "frown": _pair("mouthFrown", 0.7),
    "pucker": {"mouthPucker": 0.8},
    "lips_in": {"mouthRollLower": 0.6, "mouthRollUpper": 0.6},
    "mouth_side": {"mouthLeft": 0.4, "mouthRight": -0.4},
    "jaw_side": {"jawLeft": 0.5, "jawRight": -0.5},
    "jaw_forward": {"jawForward": 0.7},
    "chin_up": {"mouthShrugLower": 0.8},
    "cheek_puff": _pair("cheekPuff", 0.9),
    "nose_wrinkle": _pair("noseSneer", 0.9),
    "blink_right": {"eyeBlink_R": 1},
    "blink_left": {"eyeBlink_L": 1},
    "eyes_wide": _pair("eyeWide", 0.8),
    "squint": _pair("eyeSquint", 0.6) | _pair("cheekSquint", 0.4),
    "brows_up": _pair("browInnerUp", 0.8) | _pair("browOuterUp", 0.8),
    "brow_right_up": {"browInnerUp_R": 0.7, "browOuterUp_R": 0.9},
    "brow_left_up": {"browInnerUp_L": 0.7, "browOuterUp_L": 0.9},
    "inner_brows_up": _pair("browInnerUp", 0.9),
    "brows_down": _pair("browDown", 0.9),
    "sad_eyes": _pair("browInnerUp", 0.5) | _pair("eyeSquint", 0.3),
    "say_a": {"jawOpen": 0.45} | _pair("mouthUpperUp", 0.2) | _pair("mouthLowerDown", 0.2),
    "say_o": {"jawOpen": 0.4, "mouthFunnel": 0.6},
    "say_e": {"jawOpen": 0.12} | _pair("mouthStretch", 0.6) | _pair("mouthLowerDown", 0.4),
    "say_u": {"mouthPucker": 0.6, "mouthFunnel": 0.4},
    "say_f": {"mouthRollLower": 0.7} | _pair("mouthUpperUp", 0.35),
    "say_s": _pair("mouthStretch", 0.4) | _pair("mouthLowerDown", 0.3) | _pair("mouthUpperUp", 0.2),
    "say_sh": {"mouthFunnel": 0.8},
    "say_t": {"jawOpen": 0.2} | _pair("mouthUpperUp", 0.2),
}


def prepare_ict(store: Store, folder: Path, albedo: Path | None) -> tuple[FaceGeometry, Materials | None]:
    """The head, from the store where it was made before.

    Raises:
        UserError: the model or the avatars are missing, incomplete or damaged.
    """
    from domaingap.data.generated.heads import VERSION, avatars_head, load_geometry, save_geometry, terms_of

    content = facekit_content(folder)
    lent = avatars_head(store, albedo) if albedo is not None else None
    identity = {"version": VERSION, "content": content, "albedo": lent[0].content if lent is not None else None}

    def build(place: Path, _: Mapping[str, Any] | None) -> Mapping[str, Any]:
        files = facekit_files(folder)
        model = read_facekit(folder, iter(track(files, len(files), "reading ICT-FaceKit")))
        save_geometry(place / "geometry.npz", ict_head(model, lent[0] if lent is not None else None, content_key(identity)))
        return {"identities": len(model.identity), "movements": len(model.expression)}

    entry = store.get("heads/ict", identity, build, "ICT-FaceKit's head")
    if not entry.reused:
        said = f"{entry.record['identities']} identities, {entry.record['movements']} movements"
        console.print(f"{folder}: {said}, kept in {entry.folder}", markup=False)
    terms = (terms_of("ict_facekit"),)
    return load_geometry(entry.folder / "geometry.npz", terms), lent[1] if lent is not None else None


def ict_head(model: FaceKit, avatars: FaceGeometry | None, content: str) -> FaceGeometry:
    """The geometry; with the avatars' its skin is on their atlas, and its last identities are their brows and hair."""
    corners = model.neutral[LANDMARKS[[36, 45]]].mean(0)
    shift = np.array([0.0, 0.0, 75.0], np.float32)
    turn = rotation(0.0, np.radians(FACING), 0.0).astype(np.float32).T
    whole = (model.neutral - corners) @ turn * MM + shift
    faces = model.faces
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[faces[:, 2] != faces[:, 3]][:, [0, 2, 3]]])

    def within(part: tuple[int, int]) -> Array:
        return triangles[((triangles >= part[0]) & (triangles < part[1])).all(1)]

    lower = (model.expression["jawOpen"][:, 1] * MM < -8).astype(float)
    inside = np.concatenate([within(GUMS), within(TEETH)])
    parts = [within(SKIN), within(MOUTH), seen_teeth(whole, inside, lower)]
    kept, renumbered = np.unique(np.concatenate(parts), return_inverse=True)
    triangles = renumbered.reshape(-1, 3).astype(np.int32)
    part = np.repeat([0, 1, 2], [len(p) for p in parts])
    base = whole[kept]
    place = {int(v): i for i, v in enumerate(kept)}
    marks = np.array([place[int(v)] for v in LANDMARKS])
    shell = triangles[part == 0]
    skin = np.flatnonzero(outside(base, shell) & (kept < SKIN[1]))

    surface = shell[np.isin(shell, skin).all(1)]
    # The landmarks, of the brows where brows are drawn, and where people put them.
    drawn = np.stack([marks, marks, marks], -1), np.full((68, 3), 1 / 3)
    if avatars is not None:
        for whole_face, of_brows in zip(drawn, _on_surface(base[marks] + BROWS, base, surface), strict=True):
            whole_face[17:27] = of_brows[17:27]
    at_drawn = interpolated(base, *drawn)
    people_at = _on_surface(base[marks] + PEOPLE, base, surface)
    transfer = Transfer(base, shell, at_drawn, avatars) if avatars is not None else None
    doubled = transfer.doubled if transfer is not None else np.empty(0, np.int64)
    if transfer is not None:
        triangles = np.concatenate([transfer.triangles, triangles[part > 0]]).astype(np.int32)
    n_mesh = len(base) + len(doubled)
    where = np.concatenate([np.arange(len(base)), doubled])  # vertices that seams double

    balls, centres = [], []
    for sign, (start, end) in zip((-1, 1), SCLERAS, strict=True):
        centre, radius = _sphere(whole[start:end])
        centres.append(centre)
        balls.append(eyeball_at(sign, centre, radius))
    radius = float(np.mean([np.linalg.norm(ball.vertices[0] - c) for ball, c in zip(balls, centres, strict=True)]))
    n_ball = len(balls[0].vertices)
    n_all = n_mesh + 2 * n_ball + 146

    def field(moved: Array) -> Array:
        """The release's displacements [V, 3] as those of all our vertices, in mm."""
        moved = moved @ turn * MM
        eyes = [np.repeat(moved[start:end].mean(0)[None], n_ball, axis=0) for start, end in SCLERAS]
        points, set_by_people = interpolated(moved[kept], *drawn), interpolated(moved[kept], *people_at)
        return np.concatenate([moved[kept][where], *eyes, points, points[17:27], set_by_people]).astype(np.float32)

    upper = at_drawn[17:27] + [0.0, _BROW_EDGE, -0.8]
    if avatars is not None:
        upper = at_drawn[17:27] + avatars.mesh.vertices[avatars.brow_edges] - avatars.mesh.vertices[avatars.landmarks[17:27]]
    set_by_people = interpolated(base, *people_at)
    neutral = np.concatenate([base[where], *(ball.vertices for ball in balls), at_drawn, upper, set_by_people])
    neutral = neutral.astype(np.float32)
    start = n_mesh + 2 * n_ball
    landmarks = np.concatenate([start + np.arange(68), [n_mesh, n_mesh + n_ball]]).astype(np.int32)
    edges = np.arange(start + 68, start + 78, dtype=np.int32)
    people_marks = np.arange(start + 78, n_all, dtype=np.int32)
    uv = template(neutral) if avatars is not None else _painted(neutral, landmarks)
    identity = np.stack([field(shape) for shape in model.identity])
    up = np.flatnonzero((kept[where] >= GUMS[0]) & (lower[kept][where] == 0))
    down = np.flatnonzero((kept[where] >= GUMS[0]) & (lower[kept][where] > 0))
    eyeballs = [np.arange(n_mesh + k * n_ball, n_mesh + (k + 1) * n_ball) for k in (0, 1)]
    identity = np.concatenate([identity, named_fields(neutral, [(up, -60.0), (down, -78.0)], eyeballs)])
    people = 0
    if transfer is not None:
        assert avatars is not None
        people = avatars.people
        identity = np.concatenate([identity, transfer.people(where, n_ball)])
    eyes_still = np.zeros(n_all, bool)
    eyes_still[n_mesh:start] = True
    movements = {}
    for name, weights in MOVEMENTS.items():
        if all(target in model.expression for target in weights):
            moved = field(np.sum([weight * model.expression[target] for target, weight in weights.items()], axis=0))
            moved[eyes_still] = 0  # gaze turns the eyes
            movements[name] = moved
    hairy = transfer.hairy[where] if transfer is not None else np.zeros(n_mesh)
    single = renumbered.reshape(-1, 3).astype(np.int32)
    light = openness(base, single, smooth_normals(base, single, np.empty(0, np.int32)))[where]
    teeth = np.isin(where, np.unique(triangles[part == 2]))
    light = np.where(teeth, np.float32(0.6), light)
    attributes = np.ones((n_all, 2), np.float32)
    attributes[:n_mesh] = np.stack([hairy, light], -1)
    if avatars is None:
        attributes[:n_mesh, 0] = _lip(base, marks)[where]
    coordinates = uv.copy()
    for k, ball in enumerate(balls):
        coordinates[n_mesh + k * n_ball : n_mesh + (k + 1) * n_ball] = ball.uv
    with_balls = np.concatenate([triangles, *(ball.triangles + n_mesh + k * n_ball for k, ball in enumerate(balls))])
    material = np.where(part == 0, ATLAS if avatars is not None else SKIN_MATERIAL, MOUTH_MATERIAL)
    is_tooth = (part == 2) & (kept[renumbered.reshape(-1, 3)[:, 0]] >= TEETH[0])
    material[is_tooth] = TEETH_MATERIAL
    teeth_at = np.unique(triangles[is_tooth])
    coordinates[teeth_at] = np.stack([base[where][teeth_at, 0], np.where(lower[kept][where][teeth_at] > 0, -1, 1)], -1)
    mesh = Mesh(
        neutral, with_balls.astype(np.int32),
        np.concatenate([material, *(ball.material for ball in balls)]).astype(np.int32),
        np.concatenate([
            _segments(base[where], uv[:n_mesh], triangles, part, neutral[landmarks[:68]]), *(ball.segment for ball in balls)
        ]).astype(np.int32),
        coordinates.astype(np.float32), attributes,
    )  # fmt: skip
    around_eyes = np.concatenate([skin, landmarks[36:48], people_marks[36:48]])
    atlas = np.empty((0, 2), np.float32)
    if transfer is not None:
        atlas = np.zeros((n_all, 2), np.float32)
        atlas[:n_mesh] = transfer.atlas
    return FaceGeometry(
        name="ICT-FaceKit",
        mesh=mesh,
        landmarks=landmarks,
        identity=identity.astype(np.float32),
        expression=movements,
        eye_vertices=tuple(np.arange(n_mesh + k * n_ball, n_mesh + (k + 1) * n_ball, dtype=np.int32) for k in (0, 1)),  # type: ignore[arg-type]
        eye_radius=radius,
        lid_vertices=tuple(lids(neutral, around_eyes, centre, radius) for centre in centres),  # type: ignore[arg-type]
        contours=contours(uv, landmarks if avatars is None else people_marks, neutral, skin),
        brow_edges=edges,
        people_landmarks=people_marks if avatars is not None else np.empty(0, np.int32),
        atlas=atlas,
        weld=welded(neutral),
        attach=np.concatenate([
            np.where(kept[where] >= SKIN[1], 1, neck_weight(base[where][:, 1], uv[:n_mesh, 0])), np.ones(n_all - n_mesh)
        ]).astype(np.float32),
        child=child_of(len(model.identity), len(identity)),
        people=people,
        own=len(model.identity),
        content=content,
    )  # fmt: skip


def _on_surface(points: Array, vertices: Array, triangles: Array) -> tuple[Array, Array]:
    """Triangles' corners and weights [68, 3] of the places closest to points [68, 3]: jaw points in space, others as seen
    from in front, where they are read off."""
    flat = np.array([1.0, 1.0, 0.3])
    in_space, in_front = closest(points, vertices, triangles), closest(points * flat, vertices * flat, triangles)
    jaw = (np.arange(68) < 17)[:, None]
    return np.where(jaw, in_space[0], in_front[0]), np.where(jaw, in_space[1], in_front[1])


def _sphere(points: Array) -> tuple[Array, float]:
    points = points.astype(float)
    solved = np.linalg.lstsq(np.hstack([2 * points, np.ones((len(points), 1))]), (points**2).sum(1), rcond=None)[0]
    return solved[:3], float(np.sqrt(solved[3] + solved[:3] @ solved[:3]))


def _painted(vertices: Array, landmarks: Array) -> Array:
    """Template coordinates [V, 2] warped so that what the built-in head has painted on comes to these landmarks."""
    ours = parametric_head()
    uv = template(vertices)
    border = np.array([[s, h] for s in (-230, -120, 120, 230) for h in (-200, -60, 30, 100)] + [[0, 100], [0, -190]], float)
    source = np.concatenate([uv[landmarks[:68]], border])
    target = np.concatenate([ours.mesh.uv[ours.landmarks[:68]], border])
    return np.asarray(RBFInterpolator(source, target, smoothing=0.5)(uv), np.float32)


def _lip(base: Array, marks: Array) -> Array:
    """Share of lip [V] by the lips' outlines seen from in front."""
    points = base[marks]
    lip = in_polygon(base[:, :2], points[48:60, :2]) & (base[:, 2] > points[48:60, 2].min() - 6)
    return np.asarray(lip, np.float32)


def _segments(base: Array, uv: Array, triangles: Array, part: Array, points: Array) -> Array:
    middle, place = base[triangles].mean(1), uv[triangles].mean(1)
    front = middle[:, 2] > points[[48, 54], 2].min() - 8
    found = np.full(len(triangles), SEG["skin"])
    nose = in_polygon(middle[:, :2], points[[27, 31, 32, 33, 34, 35], :2]) & front
    top = in_polygon(middle[:, :2], points[[48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60], :2]) & front
    bottom = in_polygon(middle[:, :2], points[[48, 60, 67, 66, 65, 64, 54, 55, 56, 57, 58, 59], :2]) & front
    found[nose], found[top], found[bottom] = SEG["nose"], SEG["top_lip"], SEG["bottom_lip"]
    found[place[:, 1] < JAW(np.clip(np.degrees(np.abs(place[:, 0]) / SIDE), 0, 180)) - 6] = SEG["neck"]
    ear = (np.abs(middle[:, 0]) > 76) & (middle[:, 1] > -50) & (middle[:, 1] < 30) & (middle[:, 2] < 10)
    found[ear & (middle[:, 0] < 0)], found[ear & (middle[:, 0] > 0)] = SEG["right_ear"], SEG["left_ear"]
    found[part > 0] = SEG["mouth_interior"]
    return found
