"""300-W: photographs with 68 points in ``.pts`` files (Sagonas et al., 2013 and 2016)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import IMAGE_SUFFIXES, Reader, Record, parse_points, read_text
from domaingap.errors import DataError

TRAIN_PARTS = ("afw", "helen/trainset", "lfpw/trainset")
TEST_SETS: dict[str, tuple[str, ...]] = {
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
    "private": ("01_Indoor", "02_Outdoor"),
}
"""Test sets and the parts that form them: Full = Common + Challenging; the private set is another one."""


PUBLIC_PARTS = (*TRAIN_PARTS, *TEST_SETS["full"])
"""The parts of the public release; the private set is a release of its own."""


class Ibug300WReader(Reader):
    """Reads 300-W's own folders: ``afw``, ``helen/{trainset,testset}``, ``lfpw/{trainset,testset}``, ``ibug``,
    and the private set's ``01_Indoor`` and ``02_Outdoor`` (also inside ``300W/``, as its archive unpacks).

    ``.pts`` coordinates are 1-based; one is subtracted here and nowhere else. Mirrored copies
    (``_mirror`` in the name) are not part of the release: they are passed over and counted.
    """

    source = "300w"
    folder = "300w"
    domain = "real"
    published = {
        "afw": 337,
        "helen/trainset": 2000,
        "lfpw/trainset": 811,
        "helen/testset": 330,
        "lfpw/testset": 224,
        "ibug": 135,
        "01_Indoor": 300,
        "02_Outdoor": 300,
    }

    def part_folder(self, part: str) -> Path:
        nested = self.root / "300W" / part
        return nested if nested.is_dir() else self.root / part

    def find(self, part: str) -> list[Record]:
        folder = self.part_folder(part)
        files = {path.name: path for path in folder.iterdir() if path.is_file()}
        records = []
        for path in files.values():
            if path.suffix in IMAGE_SUFFIXES and path.stem + ".pts" not in files and "_mirror" not in path.stem:
                self.skipped[part]["image without .pts"] += 1
            if path.suffix != ".pts":
                continue
            if "_mirror" in path.stem:
                self.skipped[part]["mirrored copy"] += 1
                continue
            images = [files[path.stem + s] for s in IMAGE_SUFFIXES if path.stem + s in files]
            if not images:
                raise DataError(path, "no image of this name beside it", advice="fetch the .jpg or .png again")
            records.append(Record(f"{part}/{path.stem}", part, photograph_of(part, path.stem), images[0], path))
        return records

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        return read_pts(path)


def photograph_of(part: str, stem: str) -> str:
    """The photograph that a face was annotated in.

    AFW and HELEN number the faces of a photograph (``NAME_1``, ``NAME_2``, both by Flickr's number, hence one
    name space), iBUG likewise (``image_092 _01``); in LFPW and the private set the number is the photograph's.
    """
    if part == "afw" or part.startswith("helen/"):
        return "flickr/" + re.sub(r"\s*_\d+$", "", stem)
    if part == "ibug":
        return "ibug/" + re.sub(r"^(image_\d+)\s*_\d+$", r"\1", stem)
    return f"{part}/{stem}"


def read_pts(path: Path, n_points: int = 68) -> NDArray[np.float64]:
    """The points [n_points, 2] of a ``.pts`` file, turned from 1-based to 0-based pixels.

    Tolerates blank lines, odd spacing and Windows line ends; DataError with file and line for anything else.
    """
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
    header: dict[str, tuple[int, str]] = {}
    while lines and lines[0][1].strip() != "{":
        number, line = lines.pop(0)
        key, colon, value = line.partition(":")
        if not colon or key.strip() not in ("version", "n_points"):
            raise DataError(
                path, f"expected 'version: 1', 'n_points: {n_points}' and '{{', found {line.strip()!r}", line=number
            )
        header[key.strip()] = (number, value.strip())
    if not lines:
        raise DataError(path, "no '{' before the points", line=1)
    if "n_points" not in header:
        raise DataError(path, "the header has no n_points", line=1)
    number, value = header["n_points"]
    if value != str(n_points):
        raise DataError(path, f"n_points is {value!r}, expected {n_points}", line=number)
    body = lines[1:]
    if not body or body[-1][1].strip() != "}":
        raise DataError(path, "no closing '}'", line=lines[-1][0], advice="the file seems cut off; fetch it again")
    return parse_points(path, body[:-1], n_points) - 1.0
