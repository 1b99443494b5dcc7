"""Faces beside a run's own: any data set in a layout that is known, by name or by folder, to score a network on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from domaingap.config import CropConfig
from domaingap.data.faces import FaceDataset, PreparedFaces
from domaingap.data.prepare import prepare_part
from domaingap.data.readers import Reader, open_reader
from domaingap.errors import DataError
from domaingap.sources import face_sources, source


class OtherFaces(NamedTuple):
    """Sets of faces.

    Attributes:
        sets: by name: ``300w-common``, ``dgfaces``. Of a data set with test sets those that are there, of others all faces.
        where: the folder that they are from.
    """

    sets: dict[str, FaceDataset]
    where: Path


def layouts() -> list[str]:
    """The data sets whose layout is known: those that are read from files."""
    return [name for name, kind in face_sources().items() if issubclass(kind, Reader)]


def open_other_faces(given: str, folder: Path | None, data_root: Path, prepared_dir: Path, crop: CropConfig) -> OtherFaces:
    """The faces of a data set.

    Args:
        given: its name, looked for in its usual folder below ``data_root``; or what the folder was called by, for messages.
        folder: its folder, whose layout tells which data set it is; None where ``given`` is a name.
        data_root: folder that holds the data sets.
        prepared_dir: where prepared crops are kept.
        crop: how faces are cut out.

    Raises:
        UserError: nothing there, of no known layout or of several, or files that can't be read.
    """
    reader = open_reader(given, data_root) if folder is None else read_folder(folder)
    faces = PreparedFaces([prepare_part(reader, part, crop, prepared_dir) for part in reader.chosen()])
    name, about = reader.source.name, reader.source
    sets = {
        f"{name}-{test}": FaceDataset(faces, np.flatnonzero(np.isin(faces.parts, about.test_sets[test])))
        for test in about.test_sets_in(set(faces.parts.tolist()))
    }
    return OtherFaces(sets or {name: FaceDataset(faces, np.arange(len(faces)))}, reader.root)


def read_folder(folder: Path) -> Reader:
    """What reads a folder, by its layout.

    Raises:
        UserError: no such folder, no known layout, or more than one.
    """
    if not folder.is_dir():
        raise DataError(folder, "not a folder" if folder.exists() else "no such folder", advice="give a folder of faces")
    found: list[Reader] = []
    problems: list[DataError] = []
    for name in layouts():
        kind = face_sources()[name]
        assert issubclass(kind, Reader)
        reader = kind(folder)
        try:
            if any(reader.records(part) for part in reader.parts()):
                found.append(reader)
        except DataError as error:
            problems.append(error)
    if not found:
        # Of a layout that was nearly right the fault is said; all others only say that there is nothing of theirs.
        faults = [error for error in problems if "no annotated face" not in error.problem]
        if len(faults) == 1:
            raise faults[0]
        expected = "; ".join(f"{source(name).title}: {source(name).layout}" for name in layouts() if source(name).layout)
        raise DataError(folder, "no layout of a known data set", advice=f"expected {expected}")
    if len(found) > 1:
        names = " and ".join(reader.source.name for reader in found)
        raise DataError(folder, f"could be {names}", advice="give a folder that holds one of them")
    return found[0]
