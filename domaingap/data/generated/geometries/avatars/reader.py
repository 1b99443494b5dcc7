"""VALID's avatars, a folder of GLB files, as arrays on one topology: people's shapes, movements, textures, wigs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domaingap.data.generated.geometries.avatars.glb import Glb, Part
from domaingap.errors import DataError, UserError

Array = NDArray[Any]

TEXTURE = 1024
"""Side in pixels at which colour maps are kept: 1.9 a mm on the face; the release's are 2048."""
WIG_TEXTURE = 256
_NAME = re.compile(r"(?P<person>.+_[FM]_\d+)_(?P<outfit>[A-Za-z]+)\.glb")
_HEAD, _UPPER, _LOWER = "H_DDS_HighRes", "h_TeethUp", "h_TeethDown"
_EYES = ("h_R_eye", "h_L_eye")
_BELOW, _ASIDE = -300.0, 250.0  # mm from the eyes down and aside to where bodies are cut off


@dataclass(frozen=True)
class Wig:
    """Hair that is a mesh of its own, in mm as its wearer's head is, with its colours [S, S, 3]."""

    wearer: int
    vertices: Array
    uv: Array
    triangles: Array
    colours: Array


@dataclass(frozen=True)
class Avatars:
    """People of one topology. mm, the middle between a person's eyes at the origin, y up, z towards the viewer.

    Args:
        names: of the people.
        uv: [V, 2] in the atlas.
        triangles: [T, 3] of head, neck, shoulders and teeth.
        part: [V] 0 for the head's mesh, 1 for the upper, 2 for the lower teeth.
        people: [N, V, 3].
        targets: mean displacements [V, 3] by the release's names.
        eyes: [N, 2, 3] centres of the eyeballs, the one at the image's left first.
        eye_radius: of the eyeballs, mean.
        textures: [N, S, S, 3] sRGB.
        wigs: of those who have one.
    """

    names: list[str]
    uv: Array
    triangles: Array
    part: Array
    people: Array
    targets: dict[str, Array]
    eyes: Array
    eye_radius: float
    textures: Array
    wigs: list[Wig]


def avatar_files(folder: Path) -> list[Path]:
    """One file of each person, the first by its outfit's name.

    Raises:
        UserError: there are fewer than two people.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give --model the folder of the avatars (data fetch valid_avatars)")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.glb")):
        name = _NAME.fullmatch(path.name)
        if name is not None and path.is_file():
            found.setdefault(name["person"], path)
    if len(found) < 2:
        raise UserError(
            f"{folder}: holds {len(found)} avatars (GROUP_SEX_NUMBER_OUTFIT.glb, one a person); two or more are needed: "
            "data fetch valid_avatars"
        )
    return list(found.values())


def avatars_content(folder: Path) -> str:
    """Identity of the people in a folder by their files' content."""
    digest = hashlib.sha256()
    for path in avatar_files(folder):
        try:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise DataError(path, f"can't be read ({error.strerror})") from error
    return digest.hexdigest()


def read_avatars(folder: Path, files: Iterator[Path] | None = None) -> Avatars:
    """Everybody in a folder, on the first one's topology; ``files`` are the same files, and may show progress.

    Raises:
        UserError: a file is damaged, or has another atlas than the first.
    """
    common: _Common | None = None
    names, people, eyes, radii, textures, wigs = [], [], [], [], [], []
    targets: dict[str, Array] = {}
    n = 0
    for path in files or iter(avatar_files(folder)):
        glb = Glb(path)
        missing = [name for name in (_HEAD, _UPPER, _LOWER, *_EYES) if name not in glb.parts]
        if missing or glb.parts[_HEAD].image is None:
            raise DataError(path, f"has no {missing[0] if missing else 'colour map'}, so it isn't a VALID avatar")
        balls = [_sphere(glb.parts[name].vertices) for name in _EYES]
        middle = (balls[0][0] + balls[1][0]) / 2
        if common is None:
            common = _Common(glb, middle)
        vertices, moved = common.of(glb)
        names.append(_NAME.fullmatch(path.name)["person"] if _NAME.fullmatch(path.name) else path.stem)  # type: ignore[index]
        people.append((vertices - middle) * 1000)
        eyes.append([(ball[0] - middle) * 1000 for ball in balls])
        radii.append(np.mean([ball[1] for ball in balls]) * 1000)
        for name, move in moved.items():
            targets[name] = targets.get(name, 0) + move * 1000
        textures.append(_pixels(glb, glb.parts[_HEAD].image, TEXTURE))
        wig = glb.parts.get("h_wig")
        if wig is not None and wig.image is not None:
            wigs.append(Wig(n, (wig.vertices - middle) * 1000, wig.uv, wig.triangles, _pixels(glb, wig.image, WIG_TEXTURE)))
        n += 1
    assert common is not None
    return Avatars(
        names, common.uv, common.triangles, common.part, np.array(people, np.float32),
        {name: np.asarray(total / n, np.float32) for name, total in targets.items()},
        np.array(eyes), float(np.mean(radii)), np.array(textures), wigs,
    )  # fmt: skip


def _pixels(glb: Glb, image: int | None, side: int) -> Array:
    from PIL import Image

    assert image is not None
    return np.asarray(glb.picture(image).convert("RGB").resize((side, side), Image.Resampling.BOX))


def _sphere(points: Array) -> tuple[Array, float]:
    """Least-squares sphere: centre [3] and radius."""
    points = points.astype(float)
    system = np.hstack([2 * points, np.ones((len(points), 1))])
    solved = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0]
    return solved[:3], float(np.sqrt(solved[3] + solved[:3] @ solved[:3]))


class _Common:
    """The topology that people share: the vertices are the atlas' places, each of them once."""

    def __init__(self, first: Glb, middle: Array) -> None:
        uv, triangles, part, self._places = [], [], [], {}
        start = 0
        for number, name in enumerate((_HEAD, _UPPER, _LOWER)):
            mesh = first.parts[name]
            unique, index, inverse = np.unique(np.round(mesh.uv * 65535), axis=0, return_index=True, return_inverse=True)
            faces = inverse.reshape(-1)[mesh.triangles]
            where = (mesh.vertices[index] - middle)[faces] * 1000
            near = (where[..., 1].mean(1) > _BELOW) & (np.abs(where[..., 0]).mean(1) < _ASIDE)
            whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
            used, renumbered = np.unique(faces[near & whole], return_inverse=True)
            self._places[name] = unique[used] / 65535
            uv.append(self._places[name])
            triangles.append(renumbered.reshape(-1, 3) + start)
            part.append(np.full(len(used), number))
            start += len(used)
        self.uv = np.concatenate(uv).astype(np.float32)
        self.triangles = np.concatenate(triangles).astype(np.int32)
        self.part = np.concatenate(part).astype(np.int32)

    def of(self, glb: Glb) -> tuple[Array, dict[str, Array]]:
        """A person's vertices [V, 3] and displacements by name, in metres."""
        vertices: list[Array] = []
        moved: dict[str, Array] = {}
        sizes = [len(places) for places in self._places.values()]
        for number, (name, places) in enumerate(self._places.items()):
            mesh: Part = glb.parts[name]
            distance, index = cKDTree(mesh.uv).query(places)
            if distance.max() > 1e-4:
                raise DataError(glb.path, f"its {name} has another atlas than the others'", advice="give its kind alone")
            vertices.append(mesh.vertices[index])
            start = sum(sizes[:number])
            for target, move in mesh.targets.items():
                # The lower teeth's targets are named after the face's: h_teeth.t_MouthOpen_h, h_expressions.MouthOpen_h.
                short = target.rpartition(".")[2].removesuffix("_h")
                short = short.removeprefix("t_") if name == _LOWER else short
                field = moved.setdefault(short, np.zeros((sum(sizes), 3)))
                field[start : start + sizes[number]] += move[index]
        return np.concatenate(vertices), moved
