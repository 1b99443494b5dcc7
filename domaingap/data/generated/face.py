"""Face i of seed s of a domain: picture, labels in both conventions, visibility, segmentation, pose, box."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.config import POPULATION, CropConfig, PopulationConfig
from domaingap.data.boxes import landmark_box
from domaingap.data.crops import crop_transform
from domaingap.data.generated import accessories, raster
from domaingap.data.generated.appearance import background, develop, meter, noise_bank, photograph, skin_atlas
from domaingap.data.generated.geometries.builtin import parametric_head
from domaingap.data.generated.geometry import FaceGeometry, rotation
from domaingap.data.generated.heads import Head
from domaingap.data.generated.labels import annotator_noise, people_labels
from domaingap.data.generated.light import for_shader
from domaingap.data.generated.materials import LINEAR, Materials
from domaingap.data.generated.mesh import ATLAS, EYE, LENS, SEG, SKIN, Mesh, concatenate
from domaingap.data.generated.photo import (
    develop_photo,
    draw_photo,
    hairline,
    iris_scale,
    scenery,
    skin_numbers,
    textures_for,
    wig,
)
from domaingap.data.generated.photo_shader import shade_photo
from domaingap.data.generated.population import FaceParameters, draw_face
from domaingap.data.generated.shader import P_IRIS_R, P_PUPIL_R, shade, shader_parameters
from domaingap.data.generated.surface import outside, smooth_normals, spread_points
from domaingap.errors import UserError
from domaingap.hashing import content_key
from domaingap.provenance import OWN, Terms

FaceDomain = Literal["synthetic", "target"]
PHOTO_SIZE = 256
"""Side in pixels of the picture that landmarks and boxes are given in, unless another is asked for."""
_LUMA = np.array([0.299, 0.587, 0.114])  # as Pillow turns RGB to gray (ITU-R 601)
_NOT_FACE = [SEG[name] for name in ("neck", "right_ear", "left_ear", "mouth_interior", "clothing")]
_SCENERY = 192  # side in pixels of the picture of what lies behind the head
_DEPTH_TOLERANCE = 7.0  # mm by which a surface must lie before a point to hide it
# MTCNN's box over the landmarks' box, mean and standard deviation: width and height as ratios, offset of the centre
# in units of the landmarks' box.
_BOX_WIDTH, _BOX_HEIGHT, _BOX_X, _BOX_Y = (0.957, 0.058), (1.258, 0.10), (0.0, 0.047), (-0.13, 0.043)


VERSION = 1
"""Of what is drawn: raised when the same settings draw other faces, or the same faces with other labels or boxes. The test
that holds it against a probe of drawn faces (tests/data/generated/probe.py) fails where one changes without the other."""
PHOTO_VERSION = 4
"""Likewise, of what heads with pictures have beside it."""
CAMERA = 0.5
"""Strength of the camera (appearance.photograph) that takes heads with pictures in the synthetic domain."""
VERSION_DATE = "2026-11-25"
"""When it was raised last."""


@dataclass(frozen=True)
class Dials:
    """How far the target domain is from the synthetic one; at 0 they are one distribution.

    Args:
        label_gap: from S labels (3D points projected) to R labels (as people label photographs), noise included.
        appearance_gap: other light, textures and backgrounds, and a camera.
        population_gap: other identities, expressions and poses.
    """

    label_gap: float = 0.0
    appearance_gap: float = 0.0
    population_gap: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise UserError(f"{name} is {value}; it lies between 0 and 1")


@dataclass(frozen=True)
class GeneratedFace:
    """One face. Points are [70, 2]: the iBUG 68 and two pupils, x then y, pixel centres at integers.

    ``landmarks`` are what the domain's labels say: S labels in the synthetic domain, in the target domain
    ``(1 - label_gap) S + label_gap R``. ``segmentation`` has FaceSynthetics' classes. ``pose`` is yaw, pitch and roll
    in degrees. ``box`` [4] is where MTCNN would typically report the face.
    """

    image: NDArray[np.uint8]
    segmentation: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    landmarks_s: NDArray[np.float64]
    landmarks_r: NDArray[np.float64]
    landmarks_r_exact: NDArray[np.float64]
    visible: NDArray[np.bool_]
    pose: tuple[float, float, float]
    box: NDArray[np.float64]
    dense: Dense | None = None


@dataclass(frozen=True)
class Dense:
    """Many points of one face: in the picture [N, 2] in pixels, in space [N, 3] in mm (x to the picture's right, y up, z
    towards the camera), which of them are seen [N], and the camera [4]: focal length in pixels, the principal point's x and
    y, and where the camera stands on z. A point lies at ``(x + focal · X / (stand - Z), y - focal · Y / (stand - Z))``.
    """

    points: NDArray[np.float64]
    space: NDArray[np.float64]
    visible: NDArray[np.bool_]
    camera: NDArray[np.float64]


@dataclass(frozen=True)
class _Scene:
    """A face and all around it, in the camera's frame (mm), with what projects it into the photograph (side 1)."""

    parameters: FaceParameters
    mesh: Mesh
    n_head: int
    focal: float
    centre: tuple[float, float]

    def project(self, vertices: NDArray[Any]) -> NDArray[np.float64]:
        """[V, 3] → x, y as shares of the photograph's side (not of pixels), and nearness in 1/mm."""
        near = 1 / np.maximum(self.parameters.distance - vertices[:, 2].astype(np.float64), 1.0)
        x = self.centre[0] + self.focal * vertices[:, 0] * near
        y = self.centre[1] - self.focal * vertices[:, 1] * near
        return np.stack([x, y, near], -1)


class FaceGenerator:
    """Makes the faces of one domain and seed, each on its own: face i doesn't depend on what was made before.

    Args:
        domain: synthetic, or target.
        seed: of the whole set; the same seed gives other faces in the other domain.
        dials: the target domain's gaps; all 0 in the synthetic domain.
        geometry: a morphable face with landmark vertices; our own by default.
        head: a geometry with pictures for skin, in its place.
        dense: how many points of the whole face come with each, evenly spread over its skin; none by default.
        without: what a head with colour maps is to lack (config.FACE_PARTS).
        population: who is drawn, of a head with colour maps.
        labels: of the synthetic domain: as renderings have them, or where people set them, without their noise.
    """

    def __init__(
        self,
        domain: FaceDomain,
        seed: int,
        dials: Dials = Dials(),
        geometry: FaceGeometry | None = None,
        head: Head | None = None,
        labels: Literal["rendered", "people"] = "rendered",
        without: tuple[str, ...] = (),
        dense: int = 0,
        population: PopulationConfig = POPULATION,
    ) -> None:
        if domain == "synthetic" and dials != Dials():
            raise UserError("label_gap, appearance_gap and population_gap belong to the target domain")
        self.domain, self.seed, self.dials = domain, seed, dials
        coloured = head is not None and head.materials is not None
        if without and not coloured:
            raise UserError(f"without {', '.join(without)}: only heads with colour maps can be made without parts")
        if population != POPULATION and not coloured:
            raise UserError("a population is of heads with colour maps; --geometry ict needs --albedo for them")
        self.head, self.labels, self.without, self.dense = head, labels, without, dense
        self.population = population
        self.geometry = head.geometry if head is not None else geometry if geometry is not None else parametric_head()

    @property
    def materials(self) -> Materials | None:
        """The pictures that the skin is coloured with; None where it is painted."""
        return self.head.materials if self.head is not None else None

    def __getstate__(self) -> dict[str, Any]:
        # To another process: a head loads itself there.
        return {**vars(self), "geometry": None} if self.head is not None else vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.head is not None:
            self.geometry = self.head.geometry

    def key(self) -> str:
        """Identity of all the faces, whatever their number."""
        # The built-in head is drawn by code as all else is, so that VERSION stands for it: the last bits of its arrays,
        # which differ from machine to machine, make no other faces.
        if self.head is not None:
            geometry = self.head.key() + f" photo {PHOTO_VERSION}"
        else:
            geometry = "built-in" if self.geometry is parametric_head() else self.geometry.key()
        what = [VERSION, geometry, self.domain, self.seed, asdict(self.dials)]
        what += [self.labels] if self.labels != "rendered" else []
        what += [asdict(self.population)] if self.population != POPULATION else []
        return content_key([*what, *self.without])

    def options(self) -> dict[str, Any]:
        """How its faces differ from those of the built-in head with rendered labels, in the command line's words."""
        found: dict[str, Any] = {"geometry": self.head.made_of[0]} if self.head is not None else {}
        found |= {"labels": self.labels} if self.labels != "rendered" else {}
        found |= {"landmarks": "dense", "points": str(self.dense)} if self.dense else {}
        found |= {"population": asdict(self.population)} if self.population != POPULATION else {}
        return found | ({"without": ",".join(self.without)} if self.without else {})

    def heads(self) -> str:
        """Whose heads, in words."""
        return self.geometry.name

    def terms(self) -> frozenset[Terms]:
        """Under what terms the faces may be used: none but this program's, or those of the mesh that they are made with."""
        if self.head is not None:
            return self.head.terms()
        if self.geometry is parametric_head():
            return frozenset({OWN})
        return frozenset(self.geometry.terms or {Terms(f"faces made with {self.geometry.name}", "not known", None, False)})

    def photograph(self, index: int, size: int = PHOTO_SIZE) -> GeneratedFace:
        """The whole picture [size, size, 3]; points and box in its pixels."""
        return self._render(index, size, None)

    def crop(self, index: int, crop: CropConfig) -> GeneratedFace:
        """The stored crop, [S, S] or [S, S, 3] with S = ``crop.stored_size``, rendered straight into it.

        Points and box are in pixels of the picture of side ``PHOTO_SIZE``; the crop's transform follows from the box.
        """
        return self._render(index, PHOTO_SIZE, crop)

    def parameters(self, index: int) -> FaceParameters:
        """Who is on picture ``index``."""
        if index < 0:
            raise UserError(f"face {index}: indices count from 0")
        rng = np.random.default_rng([self.seed, self.domain == "target", index])
        face = draw_face(rng, self.geometry, self.dials.appearance_gap, self.dials.population_gap)
        if self.materials is not None:
            own = np.random.default_rng([self.seed, self.domain == "target", index, 15])
            draw_photo(face, own, self.geometry, self.materials, self.without, self.population)
        return face

    def _scene(self, face: FaceParameters) -> _Scene:
        geometry, bank = self.geometry, noise_bank()
        vertices = geometry.shape(face.identity, face.expression, face.gaze)
        normals = smooth_normals(vertices, geometry.mesh.triangles, geometry.weld)
        worn = accessories.worn(geometry, vertices, normals, face, bank)
        if self.materials is not None and face.look["wig"] >= 0:
            worn.insert(0, wig(vertices, self._scalp, self.materials.wigs[face.look["wig"]]))
        body = accessories.body(face)
        yaw, pitch, roll = np.radians(face.pose)
        turn = rotation(yaw, -pitch, roll)
        turned = concatenate([geometry.mesh.moved(vertices), *worn])
        upright = turned.vertices
        turned = turned.moved(upright @ turn.T.astype(np.float32))
        body_turn = rotation(0.35 * yaw + np.radians(face.look["body_turn"]), 0.0, 0.3 * roll).astype(np.float32)
        # The body hangs from the neck, wherever the head's turn has put that.
        neck = np.array([0.0, -130.0, -8.0])
        if len(geometry.attach):
            n, share = len(vertices), geometry.attach[:, None]
            with_body = (upright[:n] - neck) @ body_turn.T + turn @ neck
            turned.vertices[:n] = share * turned.vertices[:n] + (1 - share) * with_body
        body = body.moved((body.vertices - neck) @ body_turn.T + turn @ neck)
        things = accessories.occluder(geometry, turned.vertices, face)
        mesh = concatenate([turned, *([] if geometry.has_body else [body]), *things])
        eyes = mesh.vertices[geometry.landmarks[[36, 39, 42, 45]]].mean(0)
        # The face's size is set frontally, so that a turned face shrinks as it does in photographs.
        focal = face.face_share * (face.distance - 75.0) / 90.0
        near = 1 / (face.distance - float(eyes[2]))
        centre = (face.centre[0] - focal * float(eyes[0]) * near, face.centre[1] + focal * float(eyes[1]) * near)
        return _Scene(face, mesh, len(vertices), focal, centre)

    def _render(self, index: int, size: int, crop: CropConfig | None) -> GeneratedFace:
        face = self.parameters(index)
        scene = self._scene(face)
        mesh = scene.mesh
        projected = scene.project(mesh.vertices)
        pixels = projected[:, :2] * size - 0.5
        points = pixels[self.geometry.landmarks]
        box = self._box(points[:68], face)
        if crop is None:
            view, view_size = np.array([[1.0, 0, 0], [0, 1.0, 0]]), size
        else:
            view, view_size = crop_transform(box, crop), crop.stored_size
            view[:, 2] += crop.pad
        fine = 2 * view_size  # two samples a side per pixel
        on_view = np.empty((len(pixels), 3), np.float32)
        on_view[:, :2] = 2 * (pixels @ view[:, :2].T + view[:, 2]) + 0.5
        on_view[:, 2] = projected[:, 2]
        ids, near = raster.rasterise(on_view, mesh.triangles, mesh.material, fine, fine, False)
        image, segmentation = self._shade(scene, on_view, ids, near, view, view_size, size)
        visible, hidden = self._visibility(scene, on_view, ids, near)
        exact = people_labels(self.geometry, points, pixels[: scene.n_head], float(np.radians(face.pose[2])), hidden)
        noise_rng = np.random.default_rng([self.seed, self.domain == "target", index, 68])
        people = exact.copy()
        people[:68] += annotator_noise(exact, noise_rng)
        gap = self.dials.label_gap
        eye_distance = float(np.linalg.norm(points[36] - points[45]) * view[0, 0])
        camera = self.dials.appearance_gap
        if self.materials is not None:
            camera = 0.0 if "camera" in self.without else CAMERA + (1 - CAMERA) * camera
        picture = photograph(image, face.look["camera_seed"], camera, max(eye_distance, 4.0))
        if crop is not None and self.materials is not None and "camera" not in self.without:
            picture = _at_the_border(picture, points @ view[:, :2].T + view[:, 2], face.look["camera_seed"])
        if crop is not None and crop.channels == "gray":
            picture = (picture @ _LUMA + 0.5).astype(np.uint8)
        return GeneratedFace(
            image=picture,
            segmentation=segmentation,
            landmarks=exact if self.labels == "people" else (1 - gap) * points + gap * people,
            landmarks_s=points,
            landmarks_r=people,
            landmarks_r_exact=exact,
            visible=visible,
            pose=face.pose,
            box=box,
            dense=self._dense(scene, on_view, near, pixels, size) if self.dense else None,
        )

    def _shade(
        self, scene: _Scene, on_view: Any, ids: Any, near: Any, view: NDArray[np.float64], view_size: int, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Display values [S, S, 3], 0 to 1, and classes [S, S]."""
        mesh, face = scene.mesh, scene.parameters
        look = face.look
        weld = self.geometry.weld
        if len(weld):
            weld = np.concatenate([weld, np.arange(len(weld), len(mesh.vertices), dtype=np.int32)])
        normals = smooth_normals(mesh.vertices, mesh.triangles, weld)
        if np.any(mesh.material == LENS) and look["lens_alpha"] + look["sunglasses"] > 0.01:
            _, lens_near = raster.rasterise(on_view, mesh.triangles, mesh.material, len(ids), len(ids), True)
        else:
            lens_near = np.zeros_like(near)
        shadow, to_shadow = _shadow_map(mesh, look["light_dir"])
        # The background lies in the photograph, whatever part of it is looked at.
        behind = background(look["background_seed"], look["background"], look["background_tone"], 128, look["appearance"])
        to_view = np.hstack([view[:, :2] * size / 128, (view[:, 2] + view[:, :2] @ np.full(2, size / 256 - 0.5))[:, None]])
        behind = cv2.warpAffine(
            behind, to_view, (view_size, view_size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        segments = np.zeros(ids.shape, np.uint8)
        if self.materials is not None:
            return self._shade_photo(
                scene, on_view, ids, near, lens_near, normals, shadow, to_shadow, behind, view, segments
            )
        colours = shade(
            ids, on_view, mesh.vertices, normals, mesh.triangles, mesh.material, mesh.segment, mesh.uv, mesh.attributes,
            shader_parameters(look), skin_atlas(), noise_bank(), shadow, to_shadow, face.distance, behind,
            lens_near, near, segments,
        )  # fmt: skip
        return develop(raster.halve(colours), meter(look) + look["exposure"]), segments[::2, ::2].copy()

    def _shade_photo(
        self, scene: _Scene, on_view: Any, ids: Any, near: Any, lens_near: Any, normals: Any, shadow: Any, to_shadow: Any,
        behind: Any, view: NDArray[np.float64], segments: NDArray[np.uint8],
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:  # fmt: skip
        """As :meth:`_shade`, of a head with pictures."""
        assert self.materials is not None
        mesh, face, materials = scene.mesh, scene.parameters, self.materials
        look, size = face.look, len(ids) // 2
        there = scenery(look, materials, scene.focal, _SCENERY)
        if there is not None:
            scale = PHOTO_SIZE / _SCENERY
            shift = view[:, 2] + view[:, :2] @ np.full(2, scale / 2 - 0.5)
            to_view = np.hstack([view[:, :2] * scale, shift[:, None]])
            behind = cv2.warpAffine(
                there.astype(np.float32), to_view, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
        corners = on_view[self.geometry.landmarks[[36, 45]], :2]
        eye_distance = float(np.linalg.norm(corners[0] - corners[1]))
        first, second, wig_colours = textures_for(look, materials, eye_distance)
        atlas = np.concatenate([self.geometry.atlas, mesh.uv[len(self.geometry.atlas) :]])
        numbers = shader_parameters(look)
        numbers[[P_IRIS_R, P_PUPIL_R]] *= iris_scale(self.geometry)
        colours = shade_photo(
            ids, on_view, mesh.vertices, normals, mesh.triangles, mesh.material, mesh.segment, mesh.uv, atlas,
            mesh.attributes, numbers, skin_numbers(look, materials), for_shader(look["soft"]), first, second, wig_colours,
            hairline(look), LINEAR,
            noise_bank(), skin_atlas(), shadow, to_shadow, face.distance, behind, lens_near, near, segments,
        )  # fmt: skip
        picture = develop_photo(raster.halve(colours), look["meter"] + look["exposure"], look["film"])
        if "camera" not in self.without:
            # Every lens and sensor blurs a little: in units of the face, which is half as large in the picture.
            picture = cv2.GaussianBlur(picture, (0, 0), max(0.1, look["lens_blur"] * eye_distance / 2))
        return picture, segments[::2, ::2].copy()

    def _dense(self, scene: _Scene, on_view: Any, near: Any, pixels: NDArray[np.float64], size: int) -> Dense:
        rows = self.dense_vertices
        camera = [scene.focal * size, scene.centre[0] * size - 0.5, scene.centre[1] * size - 0.5, scene.parameters.distance]
        inside, covered = _behind(on_view, near, rows)
        space = scene.mesh.vertices[rows].astype(np.float64)
        return Dense(pixels[rows], space, inside & ~covered, np.array(camera))

    @cached_property
    def dense_vertices(self) -> Any:
        """The geometry's vertices [dense] that the dense points are: the same ones on every face."""
        mesh = self.geometry.mesh
        skin = np.flatnonzero(np.isin(mesh.material, (SKIN, ATLAS)) & ~np.isin(mesh.segment, _NOT_FACE))
        found = outside(mesh.vertices, mesh.triangles)
        of_skin = np.zeros(len(mesh.vertices), bool)
        of_skin[mesh.triangles[skin]] = True
        hair = mesh.attributes[:, 0] > 0.5 if len(self.geometry.atlas) else np.zeros(len(mesh.vertices), bool)
        face = found & of_skin & ~hair & (np.abs(mesh.uv[:, 0]) < 115) & (mesh.uv[:, 1] > -125) & (mesh.uv[:, 1] < 62)
        try:
            return spread_points(mesh.vertices, np.flatnonzero(face), self.dense)
        except ValueError as error:
            raise UserError(f"--points {self.dense}: {self.geometry.name}'s face has {int(face.sum())} vertices") from error

    @cached_property
    def _scalp(self) -> Any:
        return self.geometry.scalp()

    def _visibility(self, scene: _Scene, on_view: Any, ids: Any, near: Any) -> tuple[NDArray[np.bool_], Any]:
        """Which landmarks are seen, and a test of which of the head's vertices the face itself hides."""
        size = len(ids)
        inside, covered = _behind(on_view, near, self.geometry.landmarks)

        def hidden(vertices: NDArray[Any]) -> NDArray[np.bool_]:
            within, over = _behind(on_view, near, vertices)
            x, y = np.clip(np.round(on_view[vertices, :2]).astype(int), 1, size - 2).T
            own = np.isin(scene.mesh.material[np.maximum(ids[y, x], 0)], (SKIN, EYE, ATLAS)) & (ids[y, x] >= 0)
            return np.asarray(within & over & own)

        return inside & ~covered, hidden

    def _box(self, points: NDArray[np.float64], face: FaceParameters) -> NDArray[np.float64]:
        """Where MTCNN would report this face: medians and spread of its own boxes on generated faces (data judge)."""
        rng = np.random.default_rng([face.look["camera_seed"], 5])
        x0, y0, x1, y1 = landmark_box(points)
        width, height = x1 - x0, y1 - y0
        dw, dh, dx, dy = np.clip(rng.standard_normal(4), -2, 2)
        width, height, cx, cy = (
            width * (_BOX_WIDTH[0] + _BOX_WIDTH[1] * dw), height * (_BOX_HEIGHT[0] + _BOX_HEIGHT[1] * dh),
            (x0 + x1) / 2 + width * (_BOX_X[0] + _BOX_X[1] * dx), (y0 + y1) / 2 + height * (_BOX_Y[0] + _BOX_Y[1] * dy),
        )  # fmt: skip
        return np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])


def _behind(on_view: Any, near: Any, vertices: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of vertices, whether they lie in the picture, and whether something stands before them."""
    size = len(near)
    x, y = np.round(on_view[vertices, :2]).astype(int).T
    inside = (x >= 1) & (y >= 1) & (x < size - 1) & (y < size - 1)
    cx, cy = np.clip(x, 1, size - 2), np.clip(y, 1, size - 2)
    # The furthest of the nine pixels around: a point on an outline is seen.
    around = np.stack([near[cy + dy, cx + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    nearest = np.maximum(around.min(0), 1e-6)
    return inside, 1 / on_view[vertices, 2] - 1 / nearest > _DEPTH_TOLERANCE


def _at_the_border(picture: NDArray[np.uint8], points: NDArray[np.float64], seed: int) -> NDArray[np.uint8]:
    """A crop [S, S, 3] that reaches over its photograph's border, as a third of crops of photographs do.

    Beyond the border there is what cut_crop puts there: the border's pixels repeated. Landmarks [70, 2] stay inside.
    """
    rng = np.random.default_rng([seed, 9])
    size = len(picture)
    low, high = np.clip(points.min(0), 1, size - 2), np.clip(points.max(0), 1, size - 2)
    at_side, share = rng.random(4) < 0.1, rng.random(4)
    picture = picture.copy()
    for side, first, last in ((0, low[0], high[0]), (1, low[1], high[1])):
        turned = picture.swapaxes(0, 1) if side == 0 else picture
        if at_side[2 * side]:
            border = int(share[2 * side] * first)
            turned[:border] = turned[border]
        if at_side[2 * side + 1]:
            border = size - 1 - int(share[2 * side + 1] * (size - 1 - last))
            turned[border:] = turned[border]
    return picture


def _shadow_map(mesh: Mesh, direction: NDArray[np.float64], size: int = 144) -> tuple[Any, NDArray[np.float32]]:
    """Depth of the nearest surface to a distant light, and the map [3, 4] from mm to its pixels and depth."""
    direction = direction / np.linalg.norm(direction)
    side = np.cross([0.0, 1.0, 0.0], direction)
    side /= np.linalg.norm(side) + 1e-9
    frame = np.stack([side, np.cross(direction, side), direction]).astype(np.float32)
    scale = size / 330.0
    to_shadow = np.zeros((3, 4), np.float32)
    to_shadow[0, :3], to_shadow[1, :3], to_shadow[2, :3] = frame[0] * scale, frame[1] * scale, frame[2]
    to_shadow[:2, 3] = size / 2
    to_shadow[2, 3] = 1000.0  # positive wherever a head can be
    points = mesh.vertices @ to_shadow[:, :3].T + to_shadow[:, 3]
    _, near = raster.rasterise(points, mesh.triangles, mesh.material, size, size, False)
    return near, to_shadow
