"""Picture files as RGB of 8 bit: what a picture holds is never changed in silence, and nothing is decoded unbounded.

What is done is what Pillow, OpenCV and torchvision do where they agree, and what they don't agree on is refused or said:

========================  ====================================================================================
gray, palette, 1 bit      as RGB
16 bit a channel          the high byte: the type's full range becomes 0 to 255
CMYK, YCCK                Pillow's plain formula
transparency              left out: the colours are taken as stored; said where a pixel isn't opaque
EXIF orientation          ignored: the releases' landmarks are in stored pixels; said where it isn't 1
ICC profile               ignored: numbers as stored; said where it isn't sRGB or gray
several frames or pages   refused; but a camera's previews in a JPEG (MPO) are none
32 bit, float, Lab        refused: which value is white isn't known
========================  ====================================================================================
"""

from __future__ import annotations

import logging
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from domaingap.data.files import PICTURE_BYTES, opened
from domaingap.errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""Read by their content, whatever the file's name says. Others Pillow would try, too; one of them runs a program (EPS)."""

MAX_PIXELS = 89_478_485
"""Of the largest picture that is decoded: where Pillow begins to warn."""

# What it logs of a damaged file is said by the error.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_AGAIN = "copy or fetch this file again"
_ORIENTATION = 0x0112
_TO_RGB = {"1", "L", "P", "RGB", "RGBA", "RGBX", "LA", "PA", "CMYK", "YCbCr"}
_WITH_ALPHA = {"RGBA", "LA", "PA"}
# What libraries raise on damaged files. A SystemError is a decoder that went wrong without saying how.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, struct.error),
    *(EOFError, RuntimeError, AssertionError, MemoryError, SystemError),
)


@dataclass(frozen=True)
class Picture:
    """A decoded picture: RGB [H, W, 3] and what of the file was left out of account, as reasons to count."""

    pixels: NDArray[np.uint8]
    doubts: tuple[str, ...] = ()


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture file as RGB [H, W, 3], 8 bit.

    Raises:
        DataError: it is missing, no picture, damaged or cut off, larger than :data:`MAX_PIXELS`, or holds what this module
            refuses.
    """
    return read_picture(path).pixels


def read_upright(path: Path) -> Picture:
    """A picture file as people see it: turned as its EXIF orientation says. For pictures without landmarks, whose faces
    would lie on their side; DataError as of :func:`read_rgb`."""
    picture = read_picture(path)
    with _opened(path) as image:
        turn = _TURNS.get(_orientation(image))
    if turn is None:
        return picture
    turned = turn(picture.pixels)
    doubts = (_TURNED, *(doubt for doubt in picture.doubts if not doubt.startswith("EXIF orientation")))
    return Picture(np.ascontiguousarray(turned), doubts)


_TURNED = "turned as its EXIF orientation says (coordinates are of the turned picture)"
_TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of a picture file, as its header says; DataError as of :func:`read_rgb`, where the header
    shows it."""
    with _opened(path) as image:
        return image.size


def read_picture(path: Path) -> Picture:
    """A picture file with what was left out of account; DataError as of :func:`read_rgb`."""
    doubts = []
    with _opened(path) as image:
        n_frames = getattr(image, "n_frames", 1)
        if n_frames > 1 and image.format != "MPO":
            raise DataError(path, f"holds {n_frames} pictures (frames or pages)", advice="save the one that is meant alone")
        image.load()
        if _orientation(image) != 1:
            doubts.append("EXIF orientation ignored (points are taken in stored pixels)")
        if _other_colours(image.info.get("icc_profile")):
            doubts.append("ICC profile other than sRGB ignored (colours are taken as stored)")
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
            gray = np.asarray(image).astype(np.uint16)
            if gray.max() < 4096:
                doubts.append("16-bit picture that uses less than a sixteenth of its range")
            return Picture(np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, axis=2), tuple(doubts))
        if image.mode not in _TO_RGB:
            kind = {"F": "32-bit float", "I": "32-bit integer", "LAB": "Lab"}.get(image.mode, image.mode)
            raise DataError(path, f"has {kind} pixels", advice="save it as 8-bit RGB or gray")
        seen_through = image.mode in _WITH_ALPHA or "transparency" in image.info
        if seen_through and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
            doubts.append("transparency ignored (colours are taken as stored)")
        return Picture(np.asarray(image.convert("RGB")), tuple(doubts))


def turned_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as its EXIF orientation turns it; None where that doesn't exchange them."""
    with _opened(path) as image:
        return image.size[::-1] if _orientation(image) in (5, 6, 7, 8) else None


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGED:  # metadata that nothing depends on
        return 1
    return value if value in range(1, 9) else 1


def _other_colours(profile: object) -> bool:
    """Whether an ICC profile describes RGB other than sRGB, by the name that it gives itself."""
    if not isinstance(profile, bytes) or profile[16:20] != b"RGB ":
        return False
    return not any(name in profile for name in (b"sRGB", "sRGB".encode("utf-16-be"), b"srgb"))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture of bounded size, not yet decoded; whatever goes wrong inside becomes a DataError."""
    with opened(path, PICTURE_BYTES) as file, _explained(path, file), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, and of sizes that are checked here
        if file.read(16)[12:] == b"CgBI":
            raise DataError(path, "is Apple's own form of PNG (CgBI)", advice="save it as a usual PNG, as pngcrush does")
        file.seek(0)
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(path, f"{width:,} x {height:,}")
            if width < 1 or height < 1:
                raise DataError(path, f"has {width} x {height} pixels", advice=_AGAIN)
            yield image


@contextmanager
def _explained(path: Path, file: BufferedReader) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except UnidentifiedImageError as error:
        file.seek(0)
        raise _no_picture(path, file.read(512)) from error
    except Image.DecompressionBombError as error:
        number = re.search(r"\d+", str(error))
        raise _too_large(path, f"{int(number[0]):,}" if number else "too many") from error
    except _DAMAGED as error:
        text = str(error) or type(error).__name__
        raise DataError(path, f"can't be decoded ({text[:100]})", advice=_AGAIN) from error


def _too_large(path: Path, pixels: str) -> DataError:
    advice = "make it smaller with its points, or fetch it again if it isn't that large"
    return DataError(path, f"has {pixels} pixels, more than the {MAX_PIXELS:,} that are read", advice=advice)


def _no_picture(path: Path, beginning: bytes) -> DataError:
    start = beginning.lstrip().lower()
    if not beginning:
        return DataError(path, "is empty", advice=_AGAIN)
    if start.startswith(b"version https://git-lfs"):
        return DataError(path, "is a pointer of Git LFS, no picture", advice="run git lfs pull where it is from")
    if start.startswith((b"<!doctype", b"<html")):
        return DataError(path, "is a web page, no picture", advice="fetch it again, and look at what the page says")
    return DataError(path, f"can't be decoded (none of {', '.join(FORMATS)}, or damaged at its beginning)", advice=_AGAIN)
