"""What opens a data set: faces by part, read from files or made. Files are found first (cheap), and read after (with errors
named)."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from domaingap.data.sample import Sample
from domaingap.errors import DataError, UserError
from domaingap.hashing import digest
from domaingap.provenance import Terms
from domaingap.sources import Source

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG")


class Record(NamedTuple):
    """A face found on disk: its files and its photograph; the annotation isn't parsed yet."""

    name: str
    part: str
    photograph: str
    image: str
    annotation: str

    @property
    def image_path(self) -> Path:
        return Path(self.image)

    @property
    def annotation_path(self) -> Path:
        return Path(self.annotation)


@dataclass(frozen=True)
class PartCount:
    """How many faces of a part lie here, how many its publication counts (None: no fixed size), and what was passed over."""

    part: str
    found: int
    published: int | None
    skipped: dict[str, int]

    @property
    def partial(self) -> bool:
        return self.published is not None and self.found < self.published


class FaceSource(ABC):
    """The annotated faces of one data set, part by part.

    Attributes:
        source: the data set; a class with one of its own is found by :mod:`domaingap.sources`.
        more: what a user does to have more faces.
        where: where the faces are, for messages.
    """

    source: ClassVar[Source]
    more: ClassVar[str]
    where: str

    @classmethod
    @abstractmethod
    def open(cls, data_root: Path | str, root: Path | str | None, generated: Any) -> Self:
        """Takes what it needs of these; see :func:`domaingap.data.readers.open_source`."""

    @abstractmethod
    def parts(self) -> list[str]:
        """The parts that are present, in the source's order."""

    @abstractmethod
    def names(self, part: str) -> list[str]:
        """The names of a part's faces, sorted."""

    @abstractmethod
    def count(self, part: str) -> PartCount:
        """Counts of a part beside the published ones."""

    def terms(self) -> frozenset[Terms]:
        """Under what terms the faces here may be used: the data set's, unless others lie in its layout."""
        return frozenset({Terms.of(self.source)})

    def chosen(self, choices: Sequence[str] = ()) -> list[str]:
        """The parts to work with: those present, or those of them that names in ``--real.parts`` stand for.

        Raises:
            UserError: nothing is there, or nothing of a choice.
        """
        present = self.parts()
        if not present:
            raise DataError(self.where, f"holds none of {', '.join(self.source.parts)}", advice="see README, section Data")
        wanted: set[str] = set()
        for choice in choices:
            parts = set(self.source.choice(choice))
            if parts.isdisjoint(present):
                raise UserError(f"--real.parts: {choice} isn't in {self.where}; present: {', '.join(present)}")
            wanted |= parts
        return [part for part in present if part in wanted or not choices]

    def _check_part(self, part: str) -> None:
        if part not in self.source.parts:
            raise UserError(f"{self.source.name} has no part {part!r}; its parts: {', '.join(self.source.parts)}")


class Reader(FaceSource):
    """Finds and reads the faces of a data set below ``root``.

    Attributes:
        files: the names of the files whose content counts: pictures and annotations.
        depth: folder levels below a part's that hold such files.
        skipped: of each part that was looked at, how many files were passed over, and why.
        doubts: how many annotations read so far look wrong, and in what.
    """

    more = "add data"
    files: ClassVar[re.Pattern[str]]
    depth: ClassVar[int] = 0

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.where = str(self.root)
        self.skipped: dict[str, Counter[str]] = {}
        self.doubts: Counter[str] = Counter()
        self._records: dict[str, list[Record]] = {}
        if not self.root.is_dir():
            raise DataError(
                self.root,
                "no such folder",
                advice=f"point --data_root at the folder that holds {self.source.folder}/ (README, section Data)",
            )

    @classmethod
    def open(cls, data_root: Path | str, root: Path | str | None = None, generated: Any = None) -> Self:
        assert cls.source.folder is not None
        return cls(Path(data_root) / (root if root is not None else cls.source.folder))

    @abstractmethod
    def find(self, part: str) -> list[Record]:
        """The faces of a part, unsorted; counts what it passes over in ``self.skipped[part]``."""

    @abstractmethod
    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        """The 68 points [68, 2] of an annotation file in pixels counted from 0; DataError with file and line otherwise."""

    def part_folder(self, part: str) -> Path:
        """Where a part lies."""
        return self.root

    def parts(self) -> list[str]:
        return [part for part in self.source.parts if self.part_folder(part).is_dir()]

    def names(self, part: str) -> list[str]:
        return [record.name for record in self.records(part)]

    def stat_signature(self, part: str) -> str:
        """A digest of what the file system says of a part's files: names, sizes and times of those that matter.

        While it stays the same, so does what is read; copied files have another. Nothing is opened, and no record is made.
        """
        found: list[str] = []
        figures = array("q")
        match, stat, add = self.files.fullmatch, os.stat, figures.append

        def visit(path: str, prefix: str, depth: int) -> None:
            # Names relative to an open folder are looked up faster than whole paths.
            folder = os.open(path, os.O_RDONLY)
            try:
                for name in sorted(name for name in os.listdir(folder) if match(name)):
                    found.append(prefix + name)
                    try:
                        known = stat(name, dir_fd=folder)
                    except OSError:  # taken away just now, or a link to nothing
                        continue
                    # Every change of a file sets its ctime, which nobody can set back.
                    add(known.st_ctime_ns)
                    add(known.st_size)
            finally:
                os.close(folder)
            if depth:
                with os.scandir(path) as entries:
                    for name in sorted(entry.name for entry in entries if entry.is_dir()):
                        visit(f"{path}/{name}", f"{prefix}{name}/", depth - 1)

        folder = self._folder(part)
        try:
            visit(str(folder), "", self.depth)
        except OSError as error:
            raise DataError(error.filename or folder, f"can't be read ({error.strerror})") from error
        return digest([os.fsencode("\0".join(found)), figures.tobytes()])

    def records(self, part: str) -> list[Record]:
        """The faces of a part sorted by name.

        Raises:
            DataError: the part is absent or empty, or holds more faces than were published.
        """
        if part not in self._records:
            folder = self._folder(part)
            self.skipped[part] = Counter()
            records = sorted(self.find(part))
            if not records:
                raise DataError(folder, "no annotated face in this folder", advice="see README, section Data")
            published = self.source.parts[part]
            if published is not None and len(records) > published:
                raise DataError(
                    folder,
                    f"{len(records)} annotated faces, but the release has {published}",
                    advice="take out what isn't part of it",
                )
            self._records[part] = records
        return self._records[part]

    def _folder(self, part: str) -> Path:
        self._check_part(part)
        folder = self.part_folder(part)
        if not folder.is_dir():
            raise DataError(folder, "no such folder", advice=f"part {part} of {self.source.name} is expected there")
        return folder

    def count(self, part: str) -> PartCount:
        found = len(self.records(part))
        return PartCount(part, found, self.source.published(part, found), dict(self.skipped[part]))

    def landmarks(self, part: str) -> NDArray[np.float64]:
        """All points of a part [N, 68, 2] in the order of its records; says how many annotations look wrong."""
        from domaingap.progress import console

        self.doubts.clear()
        points = np.stack([self.read_landmarks(record.annotation_path) for record in self.records(part)])
        for doubt, n in self.doubts.items():
            console.print(f"warning: {self.source.name} {part}: {doubt} in {n} of {len(points)} faces")
        return points

    def read(self, record: Record) -> Sample:
        """The annotated face behind a record."""
        return Sample(
            name=record.name,
            source=self.source,
            part=record.part,
            photograph=record.photograph,
            image_path=record.image_path,
            landmarks=self.read_landmarks(record.annotation_path),
        )


def read_text(path: Path) -> str:
    """A text file's content; DataError where it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(path, "no such annotation file") from error
    except UnicodeDecodeError as error:
        raise DataError(path, "not a text file", advice="fetch this file again") from error


def read_json(path: Path) -> Any:
    """A JSON file's content; DataError where it is missing or none."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(path, f"not JSON ({error.msg})", line=error.lineno) from error


def check_finite(path: Path, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points [N, 2] of a file; DataError names the first, counted from 1, that isn't finite."""
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise DataError(path, f"key point {int(np.flatnonzero(~finite)[0]) + 1} is not finite")
    return points


def parse_points(path: Path, lines: Sequence[tuple[int, str]], expected: int) -> NDArray[np.float64]:
    """Points [expected, 2] from numbered lines ``x y``; DataError names the first line that is off."""
    points = np.empty((expected, 2))
    for i, (number, line) in enumerate(lines):
        if i == expected:
            raise DataError(path, f"more than {expected} points", line=number)
        fields = line.split()
        try:
            x, y = (float(field) for field in fields)
        except ValueError as error:
            raise DataError(path, f"expected two numbers, found {line.strip()!r}", line=number) from error
        if not (np.isfinite(x) and np.isfinite(y)):
            raise DataError(path, f"a coordinate is not finite: {line.strip()!r}", line=number)
        points[i] = x, y
    if len(lines) < expected:
        raise DataError(path, f"{len(lines)} points, expected {expected}", line=lines[-1][0] if lines else 1)
    return points
