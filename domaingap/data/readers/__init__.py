"""One module a data set: its description as a Source, and what opens it. No splits, no augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from domaingap.data.readers.base import FaceSource, PartCount, Reader, Record
from domaingap.data.readers.listing import subfolders
from domaingap.errors import DataError, UserError
from domaingap.sources import Source, face_sources, names, source


def open_source(
    name: str, data_root: Path | str = "data", root: Path | str | None = None, generated: Any = None
) -> FaceSource:
    """The faces of a source.

    Args:
        name: the source's.
        data_root: folder that holds the data sets.
        root: its folder, below ``data_root`` or absolute; its usual one by default.
        generated: which faces to make, as the source's configuration or as plain values of it, where it makes them.
    """
    source(name)
    return face_sources()[name].open(data_root, root, generated)


def open_reader(name: str, data_root: Path | str, root: Path | str | None = None) -> Reader:
    """The files of a source; UserError where it makes its faces."""
    faces = open_source(name, data_root, root)
    if not isinstance(faces, Reader):
        raise UserError(f"{name} has no files to read; its faces are made")
    return faces


def sources_in(data_root: Path) -> list[Source]:
    """The sources whose usual folders are there; DataError where none is."""
    if not data_root.is_dir():
        raise DataError(data_root, "no such folder", advice="point --data_root at the folder that holds the data sets")
    files = {s.folder: s for s in map(source, names()) if s.folder is not None}
    present = [s for folder, s in files.items() if subfolders(data_root, folder)]
    if not present:
        folders = ", ".join(f"{folder}/" for folder in files)
        raise DataError(data_root, f"holds none of {folders}", advice="see README, section Data")
    return present


__all__ = ["FaceSource", "PartCount", "Reader", "Record", "open_reader", "open_source", "sources_in"]
