"""Light from everywhere: environments as spherical harmonics and one key light, from HDRIs or drawn.

Directions are the camera's: x to the picture's right, y up, z towards the camera. Irradiance by second-order spherical
harmonics as Ramamoorthi and Hanrahan, An efficient representation for irradiance environment maps, SIGGRAPH 2001.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.errors import DataError, UserError

Array = NDArray[Any]

LUMA = np.array([0.3, 0.6, 0.1])
_COSINE = np.array([np.pi, *[2 * np.pi / 3] * 3, *[np.pi / 4] * 5])  # the clamped cosine's, by band
_KEY_SHARE = 0.012  # of the sphere that may be the key light: a window or the sun
_ROWS = 64  # of the map that light is integrated on


@dataclass(frozen=True)
class Environment:
    """A place's light.

    Args:
        name: of its file.
        picture: [H, W, 3] linear RGB, equirectangular, up is the first row; mean irradiance of a sphere is 1.
        soft: [9, 3] spherical harmonics of radiance without the key light, at rest (rotation 0).
        key_direction: [3] where the key light comes from, at rest.
        key: [3] its irradiance on a surface that faces it.
    """

    name: str
    picture: Array
    soft: Array
    key_direction: Array
    key: Array


def harmonics(directions: Array) -> Array:
    """The nine real spherical harmonics up to the second order [..., 9] of unit directions [..., 3]."""
    x, y, z = np.moveaxis(np.asarray(directions, float), -1, 0)
    return np.stack([
        0.282095 + 0 * x, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z,
        0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
    ], -1)  # fmt: skip


def irradiance(soft: Array, normals: Array) -> Array:
    """Irradiance [..., 3] over π of surfaces with unit normals [..., 3] under radiance ``soft`` [9, 3]."""
    return np.asarray(np.maximum(harmonics(normals) * _COSINE @ soft / np.pi, 0))


def for_shader(soft: Array) -> Array:
    """``soft`` [9, 3] times the cosine's coefficients over π, with the harmonics' constants left to the shader."""
    return np.ascontiguousarray(soft * (_COSINE / np.pi)[:, None], np.float32)


def turned(soft: Array, azimuth: float, mirrored: bool) -> Array:
    """``soft`` [9, 3] of the same place turned about the vertical axis by ``azimuth`` radians to the picture's right."""
    # Nine values at nine directions determine the nine coefficients.
    directions = _SAMPLES
    back = directions @ about_vertical(azimuth, mirrored)
    return np.asarray(np.linalg.lstsq(harmonics(directions), harmonics(back) @ soft, rcond=None)[0])


def about_vertical(azimuth: float, mirrored: bool) -> Array:
    """[3, 3] that takes a direction at rest to one after the turn (mirrored first)."""
    c, s = np.cos(azimuth), np.sin(azimuth)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.diag([-1.0 if mirrored else 1.0, 1, 1])


def _directions(rows: int, columns: int) -> Array:
    """Directions [H, W, 3] of an equirectangular picture's pixels."""
    up = np.pi * (0.5 - (np.arange(rows) + 0.5) / rows)[:, None]
    around = (2 * np.pi * (np.arange(columns) + 0.5) / columns)[None]
    flat = np.cos(up)
    return np.stack([flat * np.sin(around), np.sin(up) + 0 * around, flat * np.cos(around)], -1)


_K = np.arange(40) + 0.5
_SAMPLES = np.stack([
    np.sqrt(1 - (1 - _K / 20) ** 2) * np.cos(_K * np.pi * (1 + 5**0.5)), 1 - _K / 20,
    np.sqrt(1 - (1 - _K / 20) ** 2) * np.sin(_K * np.pi * (1 + 5**0.5)),
], -1)  # fmt: skip


def environment(name: str, picture: Array) -> Environment:
    """An environment of an equirectangular picture [H, W, 3] of linear light."""
    picture = np.maximum(np.asarray(picture, np.float32), 0)
    small = cv2.resize(picture, (2 * _ROWS, _ROWS), interpolation=cv2.INTER_AREA).astype(np.float64)
    directions = _directions(_ROWS, 2 * _ROWS)
    solid = np.cos(np.pi * (0.5 - (np.arange(_ROWS) + 0.5) / _ROWS))[:, None] * np.ones(2 * _ROWS)
    solid *= 4 * np.pi / solid.sum()
    mean = float((small @ LUMA * solid).sum() / (4 * np.pi))
    small, picture = small / max(mean, 1e-9), picture / max(mean, 1e-9)
    bright = small @ LUMA
    order = np.argsort(-bright.ravel())
    share = np.cumsum(solid.ravel()[order]) / (4 * np.pi)
    limit = float(bright.ravel()[order[min(int(np.searchsorted(share, _KEY_SHARE)), len(order) - 1)]])
    # What is brighter than the limit is the key light; the rest of those pixels stays with the soft light.
    excess = small * np.clip(1 - limit / np.maximum(bright, 1e-9), 0, 1)[..., None]
    weight = excess @ LUMA * solid
    # Around the brightest spot alone: lamps elsewhere stay with the soft light.
    middle = directions.reshape(-1, 3)[np.argmax(cv2.GaussianBlur(weight, (0, 0), 2))]
    near = (directions @ middle > 0.85)[..., None]
    excess = excess * near
    key = (excess * solid[..., None]).sum((0, 1))
    direction = (directions * (weight * near[..., 0])[..., None]).sum((0, 1)) + 1e-9 * middle
    soft = np.einsum("hwk,hwc,hw->kc", harmonics(directions), small - excess, solid)
    return Environment(name, picture, soft, direction / np.linalg.norm(direction), key / np.pi)


def read_environments(folder: Path) -> list[Environment]:
    """All HDRIs (.hdr) in a folder.

    Raises:
        UserError: there are none, or one can't be read.
    """
    files = environment_files(folder)
    found = []
    for path in files:
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3 or picture.dtype != np.float32 or not np.isfinite(picture).all():
            raise DataError(path, "isn't a Radiance picture of light", advice="fetch it again, or take it out of the folder")
        if picture.shape[1] > 1024:
            picture = cv2.resize(picture, (1024, 512), interpolation=cv2.INTER_AREA)
        found.append(environment(path.stem, picture[..., 2::-1]))
    return found


def environment_files(folder: Path) -> list[Path]:
    """The HDRIs of a folder, by name; UserError where there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give --light a folder of .hdr pictures")
    files = sorted(path for path in folder.glob("*.hdr") if path.is_file())
    if not files:
        raise UserError(f"{folder}: holds no .hdr pictures; give --light a folder of them (polyhaven.com has many, CC0)")
    return files


def environments_content(folder: Path) -> str:
    """Identity of a folder's HDRIs by their content."""
    whole = hashlib.sha256()
    for path in environment_files(folder):
        try:
            whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise DataError(path, f"can't be read ({error.strerror})") from error
    return whole.hexdigest()


def drawn_environment(look: dict[str, Any]) -> tuple[Array, Array, Array]:
    """Soft light [9, 3], key direction and key [3] of the light that the built-in head is drawn in (population.py)."""
    directions = _SAMPLES
    up = (0.5 + 0.5 * directions[:, 1])[:, None]
    radiance = look["ground"] + (look["sky"] - look["ground"]) * up
    fill = np.clip(directions @ look["fill_dir"] / np.linalg.norm(look["fill_dir"]), 0, 1)[:, None] ** 2
    soft = np.linalg.lstsq(harmonics(directions), radiance + 1.5 * fill * look["fill"], rcond=None)[0]
    direction = look["light_dir"] / np.linalg.norm(look["light_dir"])
    return soft, direction, np.asarray(look["light"], float)


def seen_background(picture: Array, azimuth: float, mirrored: bool, focal: float, pitch: float, size: int) -> Array:
    """What a camera sees of an environment [size, size, 3]: it looks along -z, ``focal`` in picture sides."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
    rays = np.stack([x, -y, np.full_like(x, -focal)], -1)
    c, s = np.cos(pitch), np.sin(pitch)
    rays = rays @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T @ about_vertical(azimuth, mirrored)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rows, columns = picture.shape[:2]
    around = np.arctan2(rays[..., 0], rays[..., 2]) / (2 * np.pi) % 1
    up = 0.5 - np.arcsin(np.clip(rays[..., 1], -1, 1)) / np.pi
    return np.asarray(
        cv2.remap(
            np.ascontiguousarray(picture, np.float32), (around * columns - 0.5).astype(np.float32),
            (up * rows - 0.5).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
        )
    )  # fmt: skip
