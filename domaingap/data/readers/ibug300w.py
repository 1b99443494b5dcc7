"""300-W: photographs with 68 points in ``.pts`` files (Sagonas et al., 2013 and 2016)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import IMAGE_SUFFIXES, Reader, Record, parse_points, read_text
from domaingap.errors import DataError
from domaingap.sources import Licence, Source


class Ibug300WReader(Reader):
    """Reads 300-W's own folders: ``afw``, ``helen/{trainset,testset}``, ``lfpw/{trainset,testset}``, ``ibug``,
    and the private set's ``01_Indoor`` and ``02_Outdoor`` (also inside ``300W/``, as its archive unpacks).

    ``.pts`` coordinates are 1-based; one is subtracted here and nowhere else. Mirrored copies
    (``_mirror`` in the name) are not part of the release: they are passed over and counted.
    """

    source = Source(
        name="300w",
        title="300-W",
        role="real",
        folder="300w",
        parts={
            "afw": 337,
            "helen/trainset": 2000,
            "lfpw/trainset": 811,
            "helen/testset": 330,
            "lfpw/testset": 224,
            "ibug": 135,
            "01_Indoor": 300,
            "02_Outdoor": 300,
        },
        train_parts=("afw", "helen/trainset", "lfpw/trainset"),
        test_sets={
            "common": ("helen/testset", "lfpw/testset"),
            "challenging": ("ibug",),
            "full": ("helen/testset", "lfpw/testset", "ibug"),
            "private": ("01_Indoor", "02_Outdoor"),
        },
        choices={
            "afw": ("afw",),
            "helen": ("helen/trainset", "helen/testset"),
            "lfpw": ("lfpw/trainset", "lfpw/testset"),
            "ibug": ("ibug",),
            "private": ("01_Indoor", "02_Outdoor"),
        },
        apart=("01_Indoor", "02_Outdoor"),
        photograph="the faces that were annotated in one picture (81 of AFW's 185 have several)",
        # As on the annotations' page: "for research purposes ONLY (NO commercial products)".
        licence=Licence("research only", True, "https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/"),
        citation="Sagonas et al., 300 faces in-the-wild challenge, ICCV workshops 2013, and IMAVIS 2016",
        homepage="https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/",
        layout="afw/, helen/trainset/, helen/testset/, lfpw/trainset/, lfpw/testset/, ibug/",
    )
    files = re.compile(rf"[^.].*(?:{'|'.join(map(re.escape, ('.pts', *IMAGE_SUFFIXES)))})")

    def part_folder(self, part: str) -> Path:
        nested = self.root / "300W" / part
        return nested if nested.is_dir() else self.root / part

    def find(self, part: str) -> list[Record]:
        with os.scandir(self.part_folder(part)) as entries:
            files = {entry.name: entry.path for entry in entries if entry.is_file()}
        records = []
        for name, path in files.items():
            stem, suffix = os.path.splitext(name)
            if suffix in IMAGE_SUFFIXES and stem + ".pts" not in files and "_mirror" not in stem:
                self.skipped[part]["image without .pts"] += 1
            if suffix != ".pts":
                continue
            if "_mirror" in stem:
                self.skipped[part]["mirrored copy"] += 1
                continue
            images = [files[stem + s] for s in IMAGE_SUFFIXES if stem + s in files]
            if not images:
                raise DataError(path, "no image of this name beside it", advice="fetch the .jpg or .png again")
            records.append(Record(f"{part}/{stem}", part, photograph_of(part, stem), images[0], path))
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
