"""300-VW: video clips with 68 points for each frame (Shen et al., 2015). Its frames are scored, none trains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.ibug300w import read_pts
from domaingap.data.readers.listing import Listing, distinct, subfolders, unpacked
from domaingap.data.sanity import annotation_fault
from domaingap.errors import DataError, UserError

NAME = "300vw"
FOLDERS = (NAME, "300VW_Dataset_2015_12_14")
"""The release's folder as the project calls it, and as its archive unpacks."""

_TRAIN = (
    "001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 039 041 043 044 "
    "046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225"
)
_CATEGORY1 = (
    "114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525 537 538 540 541 546 "
    "547 548"
)
_CATEGORY2 = "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553"
_CATEGORY3 = "410 411 516 517 526 528 529 530 531 533 557 558 559 562"

CATEGORIES: dict[str, tuple[str, ...]] = {
    "category1": tuple(_CATEGORY1.split()),
    "category2": tuple(_CATEGORY2.split()),
    "category3": tuple(_CATEGORY3.split()),
    "train": tuple(_TRAIN.split()),
}
"""The release's clips: three categories that test (well-lit; unconstrained light; arbitrary conditions), and the rest."""
OTHER = "other"
"""The category of clips that aren't in the release."""

SETS: dict[str, tuple[str, ...] | None] = {
    NAME: None,
    f"{NAME}_test": CATEGORIES["category1"] + CATEGORIES["category2"] + CATEGORIES["category3"],
    **{f"{NAME}_{name}": clips for name, clips in CATEGORIES.items()},
    f"{NAME}_original_study": ("223", "224", "405", "406"),
}
"""Named sets of clips; None is all that are there. The original study looked at four, one of them a training clip."""

_VIDEO = re.compile(r"vid\.(?:avi|mp4|mov|mkv)", re.IGNORECASE)
_POINTS = re.compile(r"(\d{1,9})\.pts", re.IGNORECASE)
_CLIP = re.compile(r"\d{1,4}")


@dataclass(frozen=True)
class Clip:
    """A video with its annotation.

    Attributes:
        name: three digits, as the release has it.
        category: a key of :data:`CATEGORIES`, or :data:`OTHER`.
        video: the file.
        annotations: the ``.pts`` of each annotated frame by its number, from 1, in order.
        passed_over: what else lies among the annotations, counted by reason.
    """

    name: str
    category: str
    video: Path
    annotations: dict[int, Path]
    passed_over: Counter[str]

    def landmarks(self) -> tuple[dict[int, NDArray[np.float64]], Counter[str]]:
        """The points [68, 2] of each annotated frame in pixels counted from 0; and, counted by reason, the frames whose
        annotation can't be that of a face, which are left out.

        Raises:
            DataError: the first annotation that can't be read, after all were looked at.
        """
        points: dict[int, NDArray[np.float64]] = {}
        left_out: Counter[str] = Counter()
        errors: list[DataError] = []
        for number, path in self.annotations.items():
            try:
                read = read_pts(path)
            except DataError as error:
                errors.append(error)
                continue
            if (fault := annotation_fault(read)) is not None:
                left_out[fault] += 1
            else:
                points[number] = read
        if errors:
            raise DataError.first_of(errors)
        return points, left_out


@dataclass(frozen=True)
class Clips:
    """The clips of a set that are here.

    Attributes:
        root: the release's folder.
        clips: sorted by name.
        left_out: why each of the others that are here can't be used.
    """

    root: Path
    clips: list[Clip]
    left_out: list[DataError]


def find_clips(data_root: Path, name: str = NAME) -> Clips:
    """The clips of a named set below the data root; nothing is read of them yet.

    Args:
        data_root: the folder that holds ``300vw/`` (or the release's own ``300VW_Dataset_2015_12_14/``), or that folder.
        name: of :data:`SETS`.

    Raises:
        UserError: no such set, folder, or clip.
    """
    if name not in SETS:
        raise UserError(f"--on is {name}, and there is no such set of clips; known: {', '.join(SETS)}")
    root, wanted = _root(data_root), SETS[name]
    folders = sorted((path for path in root.iterdir() if _CLIP.fullmatch(path.name) and path.is_dir()), key=_number)
    if not folders:
        raise DataError(root, "holds no clip (such as 223/vid.avi and 223/annot/)", advice="see README, section Data")
    clips: list[Clip] = []
    left_out: list[DataError] = []
    for folder in folders:
        clip_name = f"{_number(folder):03d}"
        if wanted is not None and clip_name not in wanted:
            continue
        try:
            clips.append(_clip(folder, clip_name))
        except DataError as error:
            left_out.append(error)
    if not clips:
        if left_out:
            raise DataError.first_of(left_out)
        raise UserError(f"--on is {name}, and none of its {len(wanted or ())} clips is in {root}")
    return Clips(root, clips, left_out)


def holds_clips(folder: Path) -> bool:
    """Whether a folder is one of clips: ``NNN/annot/`` lies in it."""
    return folder.is_dir() and any(_CLIP.fullmatch(path.name) and (path / "annot").is_dir() for path in folder.iterdir())


def category_of(name: str) -> str:
    """The category of a clip."""
    return next((category for category, clips in CATEGORIES.items() if name in clips), OTHER)


def present(categories: Sequence[str]) -> dict[str, str]:
    """Of how many clips of each category the categories [N] are, of how many in the release, in words."""
    counts = Counter(categories)
    known = {name: f"{counts[name]} of {len(of)}" for name, of in CATEGORIES.items() if counts[name]}
    return known | ({OTHER: f"{counts[OTHER]} that aren't in the release"} if counts[OTHER] else {})


def _number(folder: Path) -> int:
    return int(folder.name)


def _root(data_root: Path) -> Path:
    if not data_root.is_dir():
        raise DataError(data_root, "no such folder", advice="point --data_root at the folder that holds 300vw/")
    found = distinct(inner for name in FOLDERS for inner in subfolders(data_root, name))
    if len(found) > 1:
        names = " and ".join(folder.name for folder in found)
        raise DataError(data_root, f"{names} could each be 300-VW", advice="keep the one that is meant")
    if not found and not holds_clips(data_root):
        raise DataError(
            data_root, f"holds no {NAME}/", advice="point --data_root at the folder that holds it (README, Data)"
        )
    return unpacked(found[0] if found else data_root, _VIDEO, lambda name: _CLIP.fullmatch(name) is not None)


def _clip(folder: Path, name: str) -> Clip:
    videos = Listing(folder, _VIDEO).files
    if len(videos) != 1:
        text = f"{' and '.join(sorted(videos.values()))} could each be its video" if videos else "no vid.avi in this clip"
        raise DataError(folder, text, advice="keep the one that is meant" if videos else "fetch this clip again")
    places = subfolders(folder, "annot")
    if not places:
        raise DataError(folder, "no annot/ in this clip", advice="fetch this clip again")
    listing = Listing(places[0], _POINTS)
    if listing.problems:
        raise DataError.first_of(listing.problems)
    annotations: dict[int, Path] = {}
    for file in listing.files.values():
        match = _POINTS.fullmatch(file)
        assert match is not None
        if (other := annotations.setdefault(int(match[1]), places[0] / file)).name != file:
            raise DataError(places[0], f"{other.name} and {file} are of one frame", advice="keep the one that is meant")
    if not annotations:
        raise DataError(places[0], "no annotation (000001.pts, ...)", advice="fetch this clip again")
    passed_over = listing.skipped + Counter({"subfolder": len(listing.folders)} if listing.folders else {})
    return Clip(
        name, category_of(name), folder / next(iter(videos.values())), dict(sorted(annotations.items())), passed_over
    )
