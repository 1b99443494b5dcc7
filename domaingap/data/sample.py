"""The one thing that every reader yields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.images import picture_size, read_rgb
from domaingap.sources import Source


@dataclass(frozen=True)
class Sample:
    """One annotated face.

    ``name`` is unique within ``source``; ``photograph`` is shared by the faces that were annotated in one
    picture (or rendered from one identity), which no split may separate. ``landmarks`` is [68, 2] in pixels
    of the image, x then y, counted from 0 with pixel centres at integers.
    """

    name: str
    source: Source
    part: str
    photograph: str
    image_path: Path
    landmarks: NDArray[np.float64]

    def read_image(self) -> NDArray[np.uint8]:
        """The picture as RGB [H, W, 3].

        EXIF orientation is ignored: the releases' landmarks are in stored pixels.

        Raises:
            DataError: it can't be decoded; see :func:`domaingap.data.images.read_rgb`.
        """
        return read_rgb(self.image_path)


__all__ = ["Sample", "picture_size", "read_rgb"]
