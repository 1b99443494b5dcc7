"""What all readers share: finding faces first (cheap), reading their annotation after (with errors named)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from domaingap.data.sample import Domain, Sample
from domaingap.errors import DataError, UserError

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG")


@dataclass(frozen=True)
class Record:
    """A face found on disk: its files and its photograph; the annotation isn't parsed yet."""

    name: str
    part: str
    photograph: str
    image_path: Path
    annotation_path: Path


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


class Reader(ABC):
    """Finds and reads the faces of one data set below ``root``.

    Subclasses name the data set: ``source`` (its name in configurations and results), ``folder`` (where it
    lies below the data root), ``domain``, and ``published`` (faces per part in the publication; None where
    the release comes in several sizes).
    """

    source: ClassVar[str]
    folder: ClassVar[str]
    domain: ClassVar[Domain]
    published: ClassVar[dict[str, int | None]]

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.skipped: dict[str, Counter[str]] = {}
        self._records: dict[str, list[Record]] = {}
        if not self.root.is_dir():
            raise DataError(
                self.root,
                "no such folder",
                advice=f"point --data_root at the folder that holds {self.folder}/ (README, section Data)",
            )

    @abstractmethod
    def find(self, part: str) -> list[Record]:
        """The faces of a part, unsorted; counts what it passes over in ``self.skipped[part]``."""

    @abstractmethod
    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        """The 68 points [68, 2] of an annotation file in pixels counted from 0; DataError with file and line otherwise."""

    @abstractmethod
    def part_folder(self, part: str) -> Path:
        """Where a part lies."""

    def parts(self) -> list[str]:
        """The parts that are present, in the order of ``published``."""
        return [part for part in self.published if self.part_folder(part).is_dir()]

    def records(self, part: str) -> list[Record]:
        """The faces of a part sorted by name.

        Raises:
            DataError: the part is absent or empty, or holds more faces than were published.
        """
        if part not in self._records:
            if part not in self.published:
                raise UserError(f"{self.source} has no part {part!r}; its parts: {', '.join(self.published)}")
            folder = self.part_folder(part)
            if not folder.is_dir():
                raise DataError(folder, "no such folder", advice=f"part {part} of {self.source} is expected there")
            self.skipped[part] = Counter()
            records = sorted(self.find(part), key=lambda record: record.name)
            if not records:
                raise DataError(folder, "no annotated face in this folder", advice="see README, section Data")
            published = self.published[part]
            if published is not None and len(records) > published:
                raise DataError(
                    folder,
                    f"{len(records)} annotated faces, but the release has {published}",
                    advice="take out what isn't part of it",
                )
            self._records[part] = records
        return self._records[part]

    def count(self, part: str) -> PartCount:
        """Counts of a part beside the published ones."""
        found = len(self.records(part))
        return PartCount(part, found, self.published[part], dict(self.skipped[part]))

    def read(self, record: Record) -> Sample:
        """The annotated face behind a record."""
        return Sample(
            name=record.name,
            source=self.source,
            part=record.part,
            domain=self.domain,
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
