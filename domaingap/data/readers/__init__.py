"""Readers: the releases' own files → Samples; or faces that are made. No splits, no augmentation."""

from __future__ import annotations

from pathlib import Path

from domaingap.data.readers.base import PartCount, Reader, Record
from domaingap.data.readers.dgfaces import DGFacesReader
from domaingap.data.readers.face_synthetics import FaceSyntheticsReader
from domaingap.data.readers.generated import GeneratedReader
from domaingap.data.readers.ibug300w import Ibug300WReader
from domaingap.errors import UserError

READERS: dict[str, type[Reader]] = {
    reader.source: reader for reader in (Ibug300WReader, FaceSyntheticsReader, DGFacesReader)
}
"""Every reader of files by the name that configurations use."""
GENERATED = ("generated", "generated_target")
"""Sources without files; see :class:`GeneratedReader`."""


def open_reader(source: str, data_root: Path | str, root: Path | str | None = None) -> Reader:
    """The reader of ``source`` on ``data_root/<its own folder>``, or on ``root`` where that is given."""
    if source in GENERATED:
        raise UserError(f"{source} has no files to read; its faces come from a GeneratedReader")
    if source not in READERS:
        raise UserError(f"unknown data source {source!r}; known: {', '.join(READERS)}")
    cls = READERS[source]
    return cls(Path(data_root) / (root if root is not None else cls.folder))


__all__ = ["GENERATED", "READERS", "GeneratedReader", "PartCount", "Reader", "Record", "open_reader"]
