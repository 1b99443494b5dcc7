"""What a head wears: hair, beards of some depth, glasses, hats, a body, and objects in front; built on any head mesh
whose skin carries template coordinates (side, height) in mm."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.mesh import ATLAS, CLOTH, GLASSES, HAIR, HAT, LENS, OCCLUDER, SEG, SKIN, Mesh, grid, uniform
from domaingap.data.generated.population import FaceParameters

Array = NDArray[Any]

# Styles of hair.
BALD, SHORT, MEDIUM, CURLY, LONG = range(5)
BEANIE, CAP, BRIM, SCARF = range(4)


_SOFT = 9.0  # mm above the hairline where hair that is geometry begins, on skin that is a picture
_LINE_AT = np.array([0, 38, 68, 86, 98, 110, 124, 140, 240], float)


def _hairline(side: Array, front: float, recession: float, temple: float) -> Array:
    """Height of the hairline over the template's side: forehead, temples, around the ears, nape."""
    heights = np.array(
        [front, front - 1 + recession * 0.7, front - 16 + 0.4 * recession, temple + 18, temple, -6, -26, -58, -78]
    )
    return np.asarray(np.interp(np.abs(side), _LINE_AT, heights))


def _shell(
    geometry: FaceGeometry, vertices: Array, normals: Array, above: Array, thickness: Array, material: int, segment: int
) -> Mesh | None:
    """The skin above a line, moved outwards by a thickness [V]; ``above`` [V] is the height over the line."""
    mesh = geometry.mesh
    inside = (
        (above[mesh.triangles] > -7).all(1)
        & np.isin(mesh.material, (SKIN, ATLAS))
        & (mesh.segment != 7)
        & (mesh.segment != 8)
    )
    triangles = mesh.triangles[inside]
    if not len(triangles):
        return None
    used = np.zeros(len(mesh.vertices), bool)
    used[triangles.ravel()] = True
    used_index = np.flatnonzero(used)
    renumber = np.zeros(len(mesh.vertices), np.int32)
    renumber[used_index] = np.arange(len(used_index))
    moved = vertices[used_index] + normals[used_index] * thickness[used_index, None]
    depth = np.clip(above[used_index] / 12, 0, 1)
    return uniform(
        moved, renumber[triangles], material, segment, mesh.uv[used_index], np.stack([depth, 0.6 + 0.4 * depth], -1)
    )


def _half_breadth(vertices: Array) -> float:
    """Of the head with its ears, in mm; shoulders don't count."""
    return float(np.abs(vertices[vertices[:, 1] > -60, 0]).max())


def hair_line(side: Array, look: dict[str, Any]) -> Array:
    """Height of a face's hairline over the template's side, in mm, for the styles that have one."""
    style = look["style"]
    front, recession = look["hairline"], look["recession"]
    temple = {SHORT: 8.0, MEDIUM: -4.0, CURLY: 2.0, LONG: -12.0}[style]
    if look["fringe"] and style in (MEDIUM, LONG, CURLY):
        front, recession = front - 26, -4.0
    return np.asarray(_hairline(side, front, recession, temple) + look["sweep"] * 5.0 * np.tanh(side / 30))


def hair(geometry: FaceGeometry, vertices: Array, normals: Array, face: FaceParameters, bank: Array) -> list[Mesh]:
    """Hair of the face's style: a shell over the scalp, and a curtain where it is long."""
    look = face.look
    style = look["style"]
    if style == BALD or look["hat"] == SCARF:
        return []
    side, height = geometry.mesh.uv.T
    line = hair_line(side, look)
    uneven = bank[(np.abs(height * 2).astype(int)) & 511, (side * 2 + look["noise"][0]).astype(int) & 511, 0]
    line = line + 3.0 * uneven
    above = height - line
    if len(geometry.atlas):
        above = above - _SOFT  # the hairline itself is drawn on the skin, which has finer places than vertices
    volume = look["hair_volume"]
    base = {SHORT: 3 + 6 * volume, MEDIUM: 8 + 12 * volume, CURLY: 20 + 26 * volume, LONG: 7 + 10 * volume}[style]
    top = {SHORT: 1.0 + 1.4 * volume, MEDIUM: 1.3 + 0.8 * volume, CURLY: 1.15, LONG: 1.25}[style]
    rise = np.sqrt(np.clip((above + 4) / (26 if style == CURLY else 16), 0, 1))
    crown = 1 + (top - 1) * np.clip((height - 30) / 60, 0, 1)
    parted = 1 - 0.35 * np.exp(-(((side - 18 * look["parting"]) / 6) ** 2)) * (style in (MEDIUM, LONG))
    rough = 1 + (look["hair_noise"] + (0.25 if style == CURLY else 0)) * uneven
    if look["hat"] >= 0:
        base, crown = min(base, 7.0), np.minimum(crown, 1.0)
    thickness = base * rise * crown * parted * rough - 1.0 * (above < -2)
    meshes = [_shell(geometry, vertices, normals, above, thickness, HAIR, SEG["hair"])]
    if style == LONG:
        meshes.append(
            _curtain(vertices, face, base, HAIR, SEG["hair"], look["hair_front"], 50.0, -40 - 190 * look["length"], bank)
        )
    elif style == MEDIUM and look["length"] > 0.6:
        meshes.append(_curtain(vertices, face, base * 0.8, HAIR, SEG["hair"], 100.0, 30.0, -70.0, bank))
    return [mesh for mesh in meshes if mesh is not None]


def _curtain(
    vertices: Array, face: FaceParameters, volume: float, material: int, segment: int, front: float, top: float,
    bottom: float, bank: Array,
) -> Mesh:  # fmt: skip
    """Cloth or hair that hangs around the head, open in front by ``front`` degrees of azimuth on both sides."""
    look = face.look
    columns, rows = 40, 16
    turn = np.radians(np.concatenate([np.linspace(front, 180, columns // 2), np.linspace(-180, -front, columns // 2)]))
    down = np.linspace(0, 1, rows)[:, None]
    y = top + (bottom - top) * down + 0 * turn
    half = _half_breadth(vertices) * 0.88
    back = float(-vertices[:, 2].min())
    flare = 1 + 0.10 * np.sin(down * 2.4 + look["sweep"]) + 0.06 * down
    wave = 1 + 0.03 * bank[(np.arange(rows) * 23 + int(look["noise"][0])) & 511][:, (np.arange(columns) * 31) & 511, 0]
    width = (half + 1.5 + 0.6 * volume) * flare * wave
    depth = np.where(np.cos(turn) > 0, 86.0, (back + volume) * 0.97) * flare * wave
    # Front strands lie on the cheeks, not before the face.
    x, z = width * np.sin(turn), depth * np.cos(turn) - 6 - 8 * down
    uv = np.stack([turn * 75 + 0 * y, y], -1).reshape(-1, 2)
    attributes = np.stack([1 + 0 * y, np.clip(1.05 - 0.45 * down, 0, 1) + 0 * y], -1).reshape(-1, 2)
    return uniform(np.stack([x, y, z], -1).reshape(-1, 3), grid(rows, columns), material, segment, uv, attributes)


def glasses(geometry: FaceGeometry, vertices: Array, face: FaceParameters) -> list[Mesh]:
    """Two rims with lenses, a bridge and temples."""
    look = face.look
    if not (look["glasses"] or look["sunglasses"]):
        return []
    corners = vertices[geometry.landmarks[[36, 45]]]
    ears = vertices[geometry.landmarks[[0, 16]]]
    nose = vertices[geometry.landmarks[27]]
    half_width, half_height = look["rim_half"]
    half_height = float(np.clip(half_height, 12, 27))
    middle_y = float(corners[:, 1].mean()) - look["glasses_down"]
    plane = max(float(nose[2]) - 2.0, float(vertices[geometry.landmarks[68], 2]) + 9.0)
    turn = np.linspace(0, 2 * np.pi, 26, endpoint=False)
    power = 2 / look["rim_power"]
    outline = np.stack(
        [np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power, np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power], -1
    )
    meshes = []
    spacing = float(np.abs(vertices[geometry.landmarks[[68, 69]], 0]).mean()) + 2.0

    def curve(x: Any) -> Any:
        return plane - 0.0038 * np.asarray(x) ** 2

    for sign in (-1, 1):
        centre = np.array([sign * spacing, middle_y])
        inner = centre + outline * np.array([half_width, half_height])
        outer = centre + outline * np.array([half_width + look["rim"], half_height + look["rim"]])
        layers = [(inner, 0.0), (outer, 0.0), (outer, -3.0), (inner, -3.0), (inner, 0.0)]
        ring = np.stack([np.concatenate([p, (curve(p[:, 0]) + dz)[:, None]], -1) for p, dz in layers])
        meshes.append(uniform(ring.reshape(-1, 3), grid(5, 26, True), GLASSES, SEG["glasses"], ring.reshape(-1, 3)[:, :2]))
        lens = np.concatenate([np.concatenate([inner, (curve(inner[:, 0]) - 1.5)[:, None]], -1),
                               [[*centre, float(curve(centre[0])) - 1.0]]])  # fmt: skip
        fan = np.stack([np.arange(26), (np.arange(26) + 1) % 26, np.full(26, 26)], -1)
        meshes.append(uniform(lens, fan, LENS, SEG["glasses"], lens[:, :2]))
        hinge = np.array([sign * (spacing + half_width + look["rim"]), middle_y + half_height * 0.45])
        start = np.array([*hinge, float(curve(hinge[0]))])
        ear = ears[0 if sign < 0 else 1]
        end = np.array([sign * (abs(float(ear[0])) + 4.0), float(ear[1]) + 4.0, float(ear[2]) - 6.0])
        meshes.append(_bar(start, end, 1.0 + look["rim"] * 0.8, GLASSES, SEG["glasses"]))
    left, right = (
        np.array([sign * (spacing - half_width), middle_y + half_height * 0.3, float(curve(8.0))]) for sign in (-1, 1)
    )
    meshes.append(_bar(left, right, 0.8 + look["rim"] * 0.7, GLASSES, SEG["glasses"]))
    return meshes


def _bar(start: Array, end: Array, half: float, material: int, segment: int) -> Mesh:
    """A four-sided bar between two points."""
    along = end - start
    side = np.cross(along, [0.0, 1.0, 0.3])
    side = side / (np.linalg.norm(side) + 1e-9)
    up = np.cross(side, along)
    up = up / (np.linalg.norm(up) + 1e-9)
    corners = [half * (a * side + b * up) for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    points = np.array([[start + c for c in corners], [end + c for c in corners]])
    return uniform(points.reshape(-1, 3), grid(2, 4, True), material, segment, points.reshape(-1, 3)[:, :2])


def hat(geometry: FaceGeometry, vertices: Array, normals: Array, face: FaceParameters, bank: Array) -> list[Mesh]:
    """A beanie, a cap, a hat with a brim, or a scarf around head and neck."""
    look = face.look
    kind = look["hat"]
    if kind < 0:
        return []
    side, height = geometry.mesh.uv.T
    line = look["hat_line"] - 0.0006 * side**2 + look["hat_tilt"] * side
    if kind == SCARF:
        line = np.interp(np.abs(side), [0, 60, 85, 95, 240], [look["hat_line"] + 16, 34, -10, -200, -200])
    above = height - line
    rise = np.clip((above + 6) / 8, 0, 1)
    thick = {BEANIE: 10.0, CAP: 9.0, BRIM: 10.0, SCARF: 8.0}[kind]
    tall = {BEANIE: 1.0, CAP: 1.1, BRIM: 1.8, SCARF: 0.8}[kind]
    thickness = thick * rise * (1 + (tall - 0.5) * np.clip((height - 60) / 40, 0, 1))
    shell = _shell(geometry, vertices, normals, above, thickness, HAT, SEG["headwear"])
    meshes = [] if shell is None else [shell]
    if kind == SCARF:
        meshes.append(_curtain(vertices, face, 10.0, HAT, SEG["headwear"], 62.0, 40.0, -200.0, bank))
    if kind in (CAP, BRIM):
        around = 50 if kind == CAP else 180
        columns = 25
        turn = np.radians(np.linspace(-around, around, columns))
        half = _half_breadth(vertices) * 0.9
        ahead, behind = 100.0, 104.0
        out = np.linspace(0, 1, 4)[:, None]
        reach = look["brim"] * out * (np.cos(turn * 90 / around) ** 0.5 if kind == CAP else 0.8 + 0 * turn)
        x = (half + 4 + reach * (0.25 if kind == CAP else 1)) * np.sin(turn)
        z = (np.where(np.cos(turn) > 0, ahead, behind) + 4 + reach) * np.cos(turn)
        y = look["hat_line"] + 6 - reach * (0.28 if kind == CAP else 0.12) + look["hat_tilt"] * x
        points = np.stack([x, y + 0 * x, z], -1).reshape(-1, 3)
        meshes.append(uniform(points, grid(4, columns), HAT, SEG["headwear"], points[:, [0, 2]]))
    return meshes


def body(face: FaceParameters) -> Mesh:
    """Shoulders and a collar, in the head's frame before the head turns."""
    look = face.look
    columns = 28
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    rows = [(0, 66, 70), (4, 72, 74), (-18, 80, 78), (-38, 128, 80), (-58, 180, 92), (-90, 205, 104), (-170, 215, 112),
            (-330, 215, 118)]  # fmt: skip
    y = np.array([look["collar"] + dy for dy, _, _ in rows])[:, None] + 0 * turn
    half = np.array([w * (look["shoulders"] if w > 100 else 1) for _, w, _ in rows])[:, None]
    depth = np.array([z for _, _, z in rows])[:, None]
    x, z = half * np.sin(turn), depth * np.cos(turn) - 12
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    uv = np.stack([np.broadcast_to(turn * 100, x.shape), y], -1).reshape(-1, 2)
    return uniform(points, grid(len(rows), columns, True), CLOTH, SEG["clothing"], uv)


@cache
def _unit_sphere() -> tuple[Array, Array]:
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 14, endpoint=False), indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1).reshape(-1, 3)
    return points, grid(9, 14, True)


def _ellipsoid(centre: Array, radii: Array, turn: Array, material: int, segment: int) -> Mesh:
    points, triangles = _unit_sphere()
    placed = (points * radii) @ turn.T + centre
    return uniform(placed, triangles, material, segment, points[:, :2] * 40)


def occluder(geometry: FaceGeometry, vertices: Array, face: FaceParameters) -> list[Mesh]:
    """A hand, a microphone, a cup or a telephone before some part of the lower face, in the camera's frame."""
    look = face.look
    kind = look["occluder"]
    if kind < 0:
        return []
    u, v = look["occluder_at"]
    chin = vertices[geometry.landmarks[8]]
    mouth = vertices[geometry.landmarks[66]]
    at = np.array(
        [mouth[0] * 0.5 + chin[0] * 0.5 + 34 * u, (mouth[1] + chin[1]) / 2 - 22 + 18 * v, max(mouth[2], chin[2]) + 26]
    )
    size, angle = look["occluder_size"], look["occluder_turn"]
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    parts = []
    if kind == 0:  # a hand: palm and four fingers
        lean = 0.35 * np.sin(angle)
        turn = np.array([[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1.0]])
        parts.append(
            _ellipsoid(at + turn @ np.array([0, -52, 0]) * size, np.array([38, 42, 14]) * size, turn, OCCLUDER, SEG["skin"])
        )
        for k, (x, length) in enumerate(((-27, 30), (-9, 36), (9, 34), (26, 27))):
            offset = np.array([x, -8 + length * 0.5, 2.0 * (k % 2)])
            parts.append(
                _ellipsoid(at + turn @ offset * size, np.array([8.5, length, 9]) * size, turn, OCCLUDER, SEG["skin"])
            )
    elif kind == 1:  # a microphone
        parts.append(_ellipsoid(at, np.array([22, 25, 22]) * size, turn, OCCLUDER, 0))
        parts.append(_bar(at, at + np.array([30 * u, -150, 30]), 11 * size, OCCLUDER, 0))
    elif kind == 2:  # a cup
        columns = 18
        ring = np.linspace(0, 2 * np.pi, columns, endpoint=False)
        heights = np.array([0, -45, -90.0])[:, None] * size
        radius = np.array([38, 34, 28])[:, None] * size
        points = np.stack([radius * np.sin(ring), heights + 0 * ring, radius * np.cos(ring)], -1).reshape(-1, 3) + at
        parts.append(uniform(points, grid(3, columns, True), OCCLUDER, 0, points[:, :2]))
    else:  # a telephone, or any flat thing
        corners = np.array([[-38, 70, 0], [38, 70, 0], [-38, -70, 0], [38, -70, 0]]) * size
        placed = corners @ turn.T + at + np.array([30 * u, -20, 0])
        parts.append(uniform(placed, np.array([[0, 1, 2], [1, 3, 2]]), OCCLUDER, 0, corners[:, :2]))
    return parts


def worn(geometry: FaceGeometry, vertices: Array, normals: Array, face: FaceParameters, bank: Array) -> list[Mesh]:
    """What turns with the head."""
    return [
        *hair(geometry, vertices, normals, face, bank),
        *hat(geometry, vertices, normals, face, bank),
        *glasses(geometry, vertices, face),
    ]
