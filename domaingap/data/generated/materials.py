"""What heads with pictures for skin are coloured with: people's colour maps, wigs, and the light of real places."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.light import Environment
from domaingap.provenance import Terms

Array = NDArray[Any]

LINEAR = np.where(
    np.arange(256) / 255 <= 0.04045, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)
"""Linear light of 8-bit sRGB (IEC 61966-2-1)."""
_CHEEKS = (slice(0.262, 0.32), slice(0.20, 0.24)), (slice(0.262, 0.32), slice(0.41, 0.45))  # rows, columns of the atlas


@dataclass(frozen=True)
class WigMesh:
    """A wig on the head that it was made for: vertices [V, 3] in mm, uv [V, 2], triangles, colours [S, S, 3] sRGB, and the
    scalp [2, 3] that it sits on (lower and upper corner of the scalp's box)."""

    vertices: Array
    uv: Array
    triangles: Array
    colours: Array
    scalp: Array
    open_to_light: Array


@dataclass(frozen=True)
class Materials:
    """Pictures and light.

    Args:
        names: of the people.
        textures: [N, S, S, 3] sRGB, on one atlas.
        small: the same at half the side.
        bald: [N] whose scalp is bare.
        wigs: to wear.
        environments: light; none: light is drawn, and backgrounds too.
        backgrounds: pictures' files that stand behind half of the faces.
        content: identity of the files that it was made of.
        terms: of those files.
    """

    names: tuple[str, ...]
    textures: Array
    small: Array
    bald: Array
    wigs: tuple[WigMesh, ...] = ()
    environments: tuple[Environment, ...] = ()
    content: str = ""
    terms: tuple[Terms, ...] = ()
    skin: Array = field(default_factory=lambda: np.empty((0, 3)))
    backgrounds: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.skin):
            object.__setattr__(self, "skin", np.stack([skin_of(texture) for texture in self.small]))

    def of_sex(self, male: bool) -> list[int]:
        """Numbers of the people of one sex, or of all where names don't say."""
        letter = "_M_" if male else "_F_"
        return [k for k, name in enumerate(self.names) if letter in name] or list(range(len(self.names)))


def skin_of(texture: Array) -> Array:
    """Mean linear colour [3] of the cheeks of a colour map."""
    size = len(texture)
    patches = [
        LINEAR[texture[int(r.start * size) : int(r.stop * size), int(c.start * size) : int(c.stop * size)]].reshape(-1, 3)
        for r, c in _CHEEKS
    ]
    return np.asarray(np.concatenate(patches).mean(0), np.float64)


def halved(textures: Array) -> Array:
    """Pictures [N, S, S, 3] at half the side, averaged in linear light."""
    size = textures.shape[1] // 2
    found = []
    for picture in textures:
        linear = cv2.resize(LINEAR[picture], (size, size), interpolation=cv2.INTER_AREA)
        display = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
        found.append((display * 255 + 0.5).astype(np.uint8))
    return np.array(found)
