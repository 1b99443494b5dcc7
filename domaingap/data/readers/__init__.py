"""Readers: the releases' own files → Samples. No splits, no augmentation."""

from __future__ import annotations

from pathlib import Path

from domaingap.data.readers.base import PartCount, Reader, Record
from domaingap.data.readers.dgfaces import DGFacesReader
from domaingap.data.readers.face_synthetics import FaceSyntheticsReader
from domaingap.data.readers.ibug300w import Ibug300WReader
from domaingap.errors import UserError

READERS: dict[str, type[Reader]] = {
    reader.source: reader for reader in (Ibug300WReader, FaceSyntheticsReader, DGFacesReader)
}
"""Every reader by the name that configurations use."""


def open_reader(source: str, data_root: Path | str, root: Path | str | None = None) -> Reader:
    """The reader of ``source`` on ``data_root/<its own folder>``, or on ``root`` where that is given."""
    if source not in READERS:
        raise UserError(f"unknown data source {source!r}; known: {', '.join(READERS)}")
    cls = READERS[source]
    return cls(Path(data_root) / (root if root is not None else cls.folder))


__all__ = ["READERS", "PartCount", "Reader", "Record", "open_reader"]
