"""300-W: photographs with 68 points in ``.pts`` files (Sagonas et al., 2013 and 2016)."""

from __future__ import annotations

import filecmp
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record
from domaingap.data.readers.listing import IMAGE, Listing, copy_of, distinct, fold, pairs, subfolders, unpacked
from domaingap.data.readers.text import parse_points, quoted, read_lines
from domaingap.errors import DataError
from domaingap.sources import Licence, Source


class Ibug300WReader(Reader):
    """Reads 300-W's own folders: ``afw``, ``helen/{trainset,testset}``, ``lfpw/{trainset,testset}``, ``ibug``,
    and the private set's ``01_Indoor`` and ``02_Outdoor`` (also inside ``300W/``, as its archive unpacks), all in any case.

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
    files = re.compile(rf"[^.].*(?:\.pts|{IMAGE})", re.IGNORECASE | re.DOTALL)

    def _bases(self) -> list[Path]:
        known = {"300w", *(name.split("/")[0].lower() for name in self.source.parts)}
        bases = [unpacked(self.root, self.files, lambda name: fold(name) in known)]
        for base in bases:  # which grows
            bases += subfolders(base, "300w") if len(bases) < 4 else []
        return distinct(bases)

    def strangers(self) -> list[str]:
        # As helen.zip unpacks beside the other folders: trainset/ and testset/.
        parts = [place for part in self.source.parts for place in self.places(part)]
        known = {os.path.realpath(path) for place in (*parts, *self._bases()) for path in (place, *place.parents)}
        found = []
        for folder in distinct((*self._bases(), *(place.parent for place in parts))):
            listing = Listing(folder, self.files)
            inner = [name for name in listing.folders if os.path.realpath(folder / name) not in known]
            found += [f"{(folder / name).relative_to(self.root)}/" for name in inner]
            if listing.files:
                found.append(f"{len(listing.files)} pictures and annotations in {folder} itself")
        return found

    def places(self, part: str) -> list[Path]:
        folders = self._bases()
        for name in part.split("/"):
            folders = distinct(inner for folder in folders for inner in self._inside(folder, name))
        return distinct(unpacked(folder, self.files) for folder in folders)

    def _inside(self, folder: Path, name: str) -> list[Path]:
        around = [folder, *subfolders(folder, folder.name), unpacked(folder, self.files, lambda inner: fold(inner) == name)]
        return [inner for one in distinct(around) for inner in subfolders(one, name.lower())]

    def find(self, part: str) -> list[Record]:
        folder = self.part_folder(part)
        listing, skipped = self.listing(part, folder), self.skipped[part]
        if listing.folders:
            skipped["subfolder"] += len(listing.folders)
        self._leave_out_copies(listing)
        records = []
        for _, image, annotation in pairs(listing, _split, "image without .pts", "", ".jpg or .png"):
            stem = unicodedata.normalize("NFC", os.path.splitext(annotation)[0])
            paths = os.path.join(folder, image), os.path.join(folder, annotation)
            records.append(Record(f"{part}/{stem}", part, photograph_of(part, stem), *paths))
        return records

    def _leave_out_copies(self, listing: Listing) -> None:
        """Count mirrored copies and copies that a browser or file manager made, and take them out of a listing."""
        stems: dict[str, list[str]] = {}
        for folded in listing.files:
            stems.setdefault(os.path.splitext(folded)[0], []).append(folded)
        for stem, files in stems.items():
            original = copy_of(stem)
            if "_mirror" in stem:
                why, n = "mirrored copy", 1
            elif original in stems and not _differs(listing, files, stem, original):
                why, n = "copy of a file", len(files)
            else:
                continue
            listing.skipped[why] += n
            for name in files:
                del listing.files[name]

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        return read_pts(path)


def _split(name: str) -> tuple[str, bool]:
    stem, suffix = os.path.splitext(fold(name))
    return stem, suffix == ".pts"


def _differs(listing: Listing, files: list[str], stem: str, original: str) -> bool:
    """Whether files called like a copy are a face of their own: annotated, and with other content."""
    if len(files) < 2:
        return False
    there = [(listing.files[name], listing.files.get(original + name[len(stem) :])) for name in files]
    return not all(of and filecmp.cmp(listing.folder / copy, listing.folder / of, shallow=False) for copy, of in there)


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

    Tolerates blank lines, comments, odd spacing and any line ends; DataError with file and line for anything else.
    """
    lines = read_lines(path)
    header: dict[str, tuple[int, str]] = {}
    while lines and lines[0][1] != "{":
        number, line = lines.pop(0)
        key, colon, value = line.partition(":")
        if not colon or key.strip() not in ("version", "n_points"):
            expected = f"expected 'version: 1', 'n_points: {n_points}' and '{{'"
            raise DataError(path, f"{expected}, found {quoted(line)}", line=number)
        if key.strip() in header:
            raise DataError(path, f"{key.strip()} stands twice", line=number)
        header[key.strip()] = (number, value.strip())
    if not lines:
        raise DataError(path, "no '{' before the points", line=1)
    if "n_points" not in header:
        raise DataError(path, "the header has no n_points", line=1)
    number, value = header["n_points"]
    if value != str(n_points):
        raise DataError(path, f"n_points is {quoted(value)}, expected {n_points}", line=number)
    body = lines[1:]
    if not body or body[-1][1] != "}":
        raise DataError(path, "no closing '}'", line=lines[-1][0], advice="the file seems cut off; fetch it again")
    return parse_points(path, body[:-1], n_points) - 1.0
