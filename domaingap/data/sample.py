"""The one thing that every reader yields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from domaingap.errors import DataError
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
            DataError: the file is missing, truncated or no image.
        """
        return read_rgb(self.image_path)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image file as RGB [H, W, 3], 8 bit; raises DataError where it can't be decoded to its end."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise DataError(path, "no such image") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(path, f"can't be decoded ({error})", advice="fetch this file again") from error


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file, from its header alone; DataError as of :func:`read_rgb`."""
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError as error:
        raise DataError(path, "no such image") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(path, f"can't be decoded ({error})", advice="fetch this file again") from error
