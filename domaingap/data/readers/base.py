"""What opens a data set: faces by part, read from files or made. Files are found first (cheap), and read after (with errors
named)."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from domaingap.data.files import unreadable
from domaingap.data.readers.listing import Listing, distinct, subfolders, unpacked
from domaingap.data.sample import Sample
from domaingap.errors import DataError, UserError
from domaingap.hashing import digest
from domaingap.provenance import Terms
from domaingap.sources import Source


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
        knows: what :meth:`conditions` answers, by name.
    """

    source: ClassVar[Source]
    more: ClassVar[str]
    where: str
    knows: ClassVar[tuple[str, ...]] = ()

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

    def conditions(self, names: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """What the labels know of some faces beside their landmarks, for figures by pose, light and occlusion.

        The one place where a data set says so: it lists the names in ``knows`` and answers them here. What each means, and
        in what unit, stands in :data:`domaingap.study.conditions.CONDITIONS`; a name of its own needs an entry there.

        Args:
            names: of N faces of one part.
            columns: their rows [N, ...] of each column of the prepared part.

        Returns:
            A number for each face [N] by name; NaN where it isn't known.
        """
        return {}

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


class Signatures(NamedTuple):
    """What tells changes of a part: of the files that matter, and of these and what lies beside them."""

    files: str
    folders: str


class Reader(FaceSource):
    """Finds and reads the faces of a data set below ``root``.

    Attributes:
        files: the names of the files whose content counts: pictures and annotations, in any case.
        aside: the names of files that belong to the release and aren't read.
        depth: folder levels below a part's that hold such files.
        skipped: of each part that was looked at, how many files were passed over, and why.
        problems: of each part that was looked at, what keeps it from being used.
        doubts: how many annotations read so far look wrong, and in what.
    """

    more = "add data"
    files: ClassVar[re.Pattern[str]]
    aside: ClassVar[re.Pattern[str] | None] = None
    depth: ClassVar[int] = 0

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.where = str(self.root)
        self.skipped: dict[str, Counter[str]] = {}
        self.problems: dict[str, list[DataError]] = {}
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
        if root is not None:
            return cls(Path(data_root) / root)
        found = distinct(subfolders(Path(data_root), cls.source.folder))
        if len(found) > 1:
            raise _ambiguous(Path(data_root), found, cls.source.title)
        return cls(found[0] if found else Path(data_root) / cls.source.folder)

    @abstractmethod
    def find(self, part: str) -> list[Record]:
        """The faces of a part, unsorted; counts what it passes over in ``self.skipped[part]``, and adds to
        ``self.problems[part]`` what makes the part unusable rather than raising it."""

    @abstractmethod
    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        """The 68 points [68, 2] of an annotation file in pixels counted from 0; DataError with file and line otherwise."""

    def places(self, part: str) -> list[Path]:
        """The folders that a part could be, in whatever case and nested as archives unpack; several are ambiguous."""
        return [unpacked(self.root, self.files)]

    def part_folder(self, part: str) -> Path:
        """Where a part lies, or would."""
        return next(iter(self.places(part)), self.root / part)

    def parts(self) -> list[str]:
        return [part for part in self.source.parts if self.places(part)]

    def strangers(self) -> list[str]:
        """Folders and files of the release's folder that belong to no part of it, for a look by the user."""
        return []

    def listing(self, part: str, folder: Path) -> Listing:
        """What lies in a folder of a part; its counts and problems are the part's from then on."""
        listing = Listing(folder, self.files, self.aside)
        self.skipped[part].update(listing.skipped)
        self.problems[part].extend(listing.problems)
        listing.skipped, listing.problems = self.skipped[part], self.problems[part]
        return listing

    def names(self, part: str) -> list[str]:
        return [record.name for record in self.records(part)]

    def stat_signature(self, part: str) -> str:
        """A digest of what the file system says of a part's files: names, sizes and times of those that matter.

        While it stays the same, so does what is read; copied files have another. Nothing is opened, and no record is made.
        """
        return self.signatures(part).files

    def signatures(self, part: str) -> Signatures:
        """What tells changes of a part: of its files, and of what lies beside them."""
        found: list[str] = []
        figures, folders = array("q"), array("q")
        match, stat, add = self.files.fullmatch, os.stat, figures.append

        def visit(path: str, prefix: str, depth: int) -> None:
            # Names relative to an open folder are looked up faster than whole paths.
            folder = os.open(path, os.O_RDONLY)
            try:
                # A folder's time changes with every name in it.
                folders.append(os.fstat(folder).st_mtime_ns)
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
            raise unreadable(error.filename or folder, error) from error
        files = digest([os.fsencode("\0".join(found)), figures.tobytes()])
        return Signatures(files, digest([files.encode(), folders.tobytes()]))

    def records(self, part: str) -> list[Record]:
        """The faces of a part sorted by name.

        Raises:
            DataError: the part is absent or empty, holds more faces than were published, or has problems: the first of
                them, after all were found.
        """
        if part not in self._records:
            self._check_part(part)
            self.skipped[part], self.problems[part] = Counter(), []
            problems, records = self.problems[part], []
            try:
                folder = self._folder(part)
                records = sorted(self.find(part))
            except DataError as error:
                problems.append(error)
            else:
                if not records and not problems:
                    problems.append(self._empty(part, folder))
                published = self.source.parts[part]
                if published is not None and len(records) > published:
                    text = f"{len(records)} annotated faces, but the release has {published}"
                    problems.append(DataError(folder, text, advice="take out what isn't part of it"))
            if problems:
                raise DataError.first_of(problems)
            self._records[part] = records
        return self._records[part]

    def _empty(self, part: str, folder: Path) -> DataError:
        there = ", ".join(f"{n} {why}" for why, n in self.skipped[part].items())
        text = "no annotated face in this folder" + (f" (passed over: {there})" if there else "")
        return DataError(folder, text, advice="see README, section Data")

    def _folder(self, part: str) -> Path:
        self._check_part(part)
        places = self.places(part)
        if not places:
            advice = f"part {part} of {self.source.name} is expected there"
            raise DataError(self.part_folder(part), "no such folder", advice=advice)
        if len(places) > 1:
            raise _ambiguous(self.root, places, f"part {part}")
        return places[0]

    def count(self, part: str) -> PartCount:
        found = len(self.records(part))
        return PartCount(part, found, self.source.published(part, found), dict(self.skipped[part]))

    def landmarks(self, part: str) -> NDArray[np.float64]:
        """All points of a part [N, 68, 2] in the order of its records; says how many annotations look wrong.

        Raises:
            DataError: the first annotation that can't be read, after all were looked at.
        """
        from domaingap.progress import console

        self.doubts.clear()
        points, errors = [], []
        for record in self.records(part):
            try:
                points.append(self.read_landmarks(record.annotation_path))
            except DataError as error:
                errors.append(error)
        if errors:
            raise DataError.first_of(errors)
        for doubt, n in self.doubts.items():
            console.print(f"warning: {self.source.name} {part}: {doubt} in {n} of {len(points)} faces", markup=False)
        return np.stack(points)

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


def _ambiguous(parent: Path, folders: Sequence[Path], what: str) -> DataError:
    names = " and ".join(sorted(str(folder.relative_to(parent)) for folder in folders))
    return DataError(parent, f"{names} could each be {what}", advice="keep the one that is meant")
