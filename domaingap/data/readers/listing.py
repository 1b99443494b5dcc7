"""What lies in a folder of a release, told apart once for all readers: nothing is passed over without being counted."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from domaingap.data.files import dangling, unreadable
from domaingap.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Of pictures that are looked for; in any case."""

IMAGE = "(?:" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")"
"""A pattern of them."""

NOWHERE = "link to nowhere"

# What systems, file managers and archives leave behind: ._NAME, .DS_Store, Thumbs.db, @eaDir of a NAS, …
_SYSTEM = re.compile(
    r"\..*|thumbs\.db|ehthumbs.*\.db|desktop\.ini|icon\r|__macosx|@eadir|#recycle|\$recycle\.bin|lost\+found"
    r"|system volume information",
    re.IGNORECASE | re.DOTALL,
)
_BACKUP = re.compile(
    r".*(?:~|\.(?:bak|backup|orig|old|tmp|temp|swp|part|partial|crdownload|download))|#.*#|~\$.*", re.I | re.S
)
_COPY = re.compile(r"(.+?)(?: ?\(\d+\)| - (?:copy|kopie|copie)(?: ?\(\d+\))?| (?:copy|kopie|copie)(?: \d+)?)", re.I | re.S)
_PADDING = re.compile(r"(?<![0-9])0+(?=[0-9]+$)")
_DEPTH = 4


def fold(name: str) -> str:
    """A name without what file systems and people change about it: case, and the Unicode form of accents."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).lower()


def copy_of(stem: str) -> str | None:
    """The name that a copy was made of (``x (1)``, ``x - Copy``); None where it isn't called like one."""
    match = _COPY.fullmatch(stem)
    return match[1] if match else None


def reason(name: str) -> str | None:
    """Why a name is no part of any release; None where it may be."""
    if _SYSTEM.fullmatch(name):
        return "system or hidden file"
    return "backup or partial copy" if _BACKUP.fullmatch(name) else None


class Listing:
    """A folder's content.

    Attributes:
        files: names of the regular files (or links to them) that matter, by folded name.
        folders: names of its folders.
        others: names of the files that a reader has no use for.
        odd: what other things are whose name matters, by folded name.
        skipped: what was passed over, by reason.
        problems: names that can't be told apart, and things that aren't what their name says.

    Args:
        folder: where to look.
        matters: names of pictures and annotations.
        aside: names of files that belong to the release and aren't read: these aren't counted.
    """

    def __init__(self, folder: Path, matters: re.Pattern[str], aside: re.Pattern[str] | None = None) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        self.folders: list[str] = []
        self.others: list[str] = []
        self.odd: dict[str, DataError] = {}
        self.skipped: Counter[str] = Counter()
        self.problems: list[DataError] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._add(entry, matters, aside)
        except OSError as error:
            raise unreadable(error.filename or folder, error) from error
        self.folders.sort()

    def _add(self, entry: os.DirEntry[str], matters: re.Pattern[str], aside: re.Pattern[str] | None) -> None:
        name = entry.name
        if matters.fullmatch(name):
            if _kind(entry) == "file":
                if not name.isascii() and not _is_text(name):
                    problem = DataError(entry.path, "the name isn't UTF-8", advice="rename it")
                    self.problems.append(problem)
                elif (other := self.files.setdefault(fold(name), name)) != name:
                    self.problems.append(both(self.folder, other, name, "differ in case or Unicode form alone"))
                return
            self._strange(entry)
        elif (why := reason(name)) is not None:
            self.skipped[why] += 1
        elif (kind := _kind(entry)) == "folder":
            self.folders.append(name)
        elif kind != "file":
            self.skipped[kind] += 1
        elif aside is None or not aside.fullmatch(name):
            self.others.append(name)
            self.skipped["other file"] += 1

    def _strange(self, entry: os.DirEntry[str]) -> None:
        kind = _kind(entry)
        if kind == NOWHERE:
            self.skipped[NOWHERE] += 1
            self.odd[fold(entry.name)] = dangling(entry.path)
            return
        problem = DataError(
            entry.path, f"is {'a ' * (kind == 'folder')}{kind}, where a file is expected", advice="move it away or rename it"
        )
        self.odd[fold(entry.name)] = problem
        self.problems.append(problem)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in name)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # a link that leads back to itself, for one
        return NOWHERE if entry.is_symlink() else "unreadable"
    return NOWHERE if entry.is_symlink() else "neither file nor folder"


def both(folder: Path, one: str, other: str, why: str) -> DataError:
    """Two names that can't be told apart."""
    one, other = sorted((one, other))
    return DataError(folder, f"{one} and {other} {why}", advice="keep the one that is meant")


def pairs(
    listing: Listing, split: Callable[[str], tuple[str, bool]], without: str, prefix: str, suffix: str
) -> list[tuple[str, str, str]]:
    """The faces of a listing: key, image and annotation of each.

    Args:
        listing: gets its counts and problems.
        split: the key of a name, which image and annotation share, and whether it is the annotation.
        without: what an image without annotation is counted as.
        prefix: what stands before the key in an image's name.
        suffix: what stands behind it, in words.
    """
    images: dict[str, list[str]] = {}
    annotations: dict[str, str] = {}
    for name in listing.files.values():
        key, annotates = split(name)
        if not annotates:
            images.setdefault(key, []).append(name)
        elif (other := annotations.setdefault(key, name)) != name:
            listing.problems.append(both(listing.folder, other, name, "have the same numbers"))
    found, unpadded = [], dict[str, str]()
    for key, annotation in sorted(annotations.items()):
        beside = sorted(images.pop(key, ()))
        if not beside:
            listing.problems += _missing(listing, annotation, prefix + key, suffix)
            continue
        if len(beside) > 1:
            listing.problems.append(both(listing.folder, beside[0], beside[1], f"are both pictures of {annotation}"))
            continue
        number = _PADDING.sub("", key)
        if (other := unpadded.setdefault(number, annotation)) != annotation:
            listing.problems.append(both(listing.folder, other, annotation, "have the same number"))
        found.append((key, beside[0], annotation))
    if left := sum(map(len, images.values())):
        listing.skipped[without] += left
    return found


def _missing(listing: Listing, annotation: str, stem: str, suffix: str) -> list[DataError]:
    if odd := next((what for name, what in listing.odd.items() if os.path.splitext(name)[0] == stem), None):
        return [odd] if odd not in listing.problems else []
    path = listing.folder / annotation
    other = next((name for name in listing.others if fold(os.path.splitext(name)[0]) == stem), None)
    if other is not None:
        known = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        return [DataError(path, f"no image of this name beside it that is read ({other} is none of {known})")]
    return [DataError(path, f"no image {stem}{suffix} beside it", advice="put it there, or take this file away")]


def subfolders(folder: Path, name: str) -> list[Path]:
    """The folders in ``folder`` of that name, in whatever case and Unicode form."""
    wanted = fold(name)
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if fold(e.name) == wanted and _kind(e) == "folder")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(error.filename or folder, error) from error


def distinct(folders: Iterable[Path]) -> list[Path]:
    """The folders without those that are links to another of them."""
    return list({os.path.realpath(folder): folder for folder in reversed(list(folders))}.values())[::-1]


def unpacked(folder: Path, matters: re.Pattern[str], wanted: Callable[[str], bool] = lambda name: False) -> Path:
    """The folder itself, or the one inside it that alone holds everything, as archives unpack (``afw/afw/``).

    Args:
        folder: where to begin.
        matters: names of files that are looked for.
        wanted: whether a folder of this name is looked for.
    """
    for _ in range(_DEPTH):
        inner = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if reason(entry.name) is not None:
                        continue
                    if matters.fullmatch(entry.name) or wanted(entry.name):
                        return folder
                    if _kind(entry) == "folder":
                        inner.append(entry.path)
        except OSError:
            return folder  # whoever lists it says why
        if len(inner) != 1:
            return folder
        folder = Path(inner[0])
    return folder
