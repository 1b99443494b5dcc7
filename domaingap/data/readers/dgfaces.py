"""DGFaces: faces rendered by Datagen, with a JSON of 68 key points each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record
from domaingap.data.readers.listing import IMAGE, Listing, both, fold, subfolders, unpacked
from domaingap.data.readers.text import json_points, quoted, read_json
from domaingap.errors import DataError
from domaingap.sources import Licence, Source

CAMERA, POINTS = "camera", "key_points"
KEY_POINTS = "face_standard_key_points.json"
ACTOR = "actor_metadata.json"


class DGFacesReader(Reader):
    """Reads ``datapoint_NNNNN/camera/…``, in any case: the first visible-spectrum image and the standard key points.

    In these files **x is the row and y the column**. Version 2 keeps points under ``face.standard.01.pixel_2d``;
    version 1 as ``standard.keypoints_2d_coordinates``, a list of [row, column] by number [order of version 1
    after Datagen's public reader; no file of that version was at hand].
    """

    source = Source(
        name="dgfaces",
        title="DGFaces",
        role="synthetic",
        folder="dgfaces",
        parts={"all": None},
        train_parts=("all",),
        photograph="the renderings of one actor",
        # No licence came with the files at hand.
        licence=Licence("research only", True, verified=False),
        citation="Datagen, Facial landmark detection using synthetic data, 2022",
        homepage="Datagen's release of rendered faces",
        layout="datapoint_NNNNN/camera/",
    )
    files = re.compile(rf"visible_spectrum_01{IMAGE}|{re.escape(KEY_POINTS)}|{re.escape(ACTOR)}", re.IGNORECASE)
    depth = 3

    def places(self, part: str) -> list[Path]:
        return [unpacked(self.root, self.files, lambda name: _datapoint(name) is not None)]

    def find(self, part: str) -> list[Record]:
        records, numbers = [], dict[str, str]()
        root, skipped, problems = self.listing(part, self.part_folder(part)), self.skipped[part], self.problems[part]
        for name in root.folders:
            number = _datapoint(name)
            if number is None:
                skipped["other folder"] += 1
                continue
            if (other := numbers.setdefault(number, name)) != name:
                problems.append(both(root.folder, other, name, "have the same number"))
                continue
            try:
                files = self._files(part, root.folder / name)
                if (record := self._record(part, root.folder, name, files)) is not None:
                    records.append(record)
            except DataError as error:
                problems.append(error)
        return records

    def _record(self, part: str, root: Path, name: str, files: _Datapoint) -> Record | None:
        if not files.key_points:
            self.skipped[part]["datapoint without key points"] += 1
            return None
        if not files.images:
            self.skipped[part]["datapoint without image"] += 1
            return None
        for several in (files.images, files.key_points, files.actors):
            if len(several) > 1:
                one, other = (str(path.relative_to(root / name)) for path in several[:2])
                raise both(root / name, one, other, "are one file of a datapoint")
        identity = self._identity(part, files.actors[0]) if files.actors else name
        return Record(name, part, identity, str(files.images[0]), str(files.key_points[0]))

    def _files(self, part: str, folder: Path) -> _Datapoint:
        """The files of a datapoint, in whatever case."""
        images, key_points, actors = [], [], []
        top = self._listing_inside(part, folder)
        actors += [folder / name for name in top.files.values() if fold(name) == ACTOR]
        for camera in subfolders(folder, CAMERA):
            inside = self._listing_inside(part, camera)
            images += [camera / name for name in inside.files.values() if fold(name).startswith("visible_spectrum")]
            for points in subfolders(camera, POINTS):
                names = self._listing_inside(part, points).files.values()
                key_points += [points / name for name in names if fold(name) == KEY_POINTS]
        return _Datapoint(images, key_points, actors)

    def _listing_inside(self, part: str, folder: Path) -> Listing:
        # A datapoint has many files that nobody reads: only what lies there by mistake is counted.
        listing = Listing(folder, self.files, re.compile(".*", re.DOTALL))
        self.skipped[part].update(listing.skipped)
        self.problems[part].extend(listing.problems)
        return listing

    def _identity(self, part: str, path: Path) -> str:
        # The renderings of one actor share a face, as the faces of one photograph share a scene.
        try:
            return str(read_json(path)["identity_id"])
        except (DataError, KeyError, TypeError, IndexError):
            self.skipped[part]["actor_metadata.json without identity (taken as a person of its own)"] += 1
            return path.parent.name

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        rows_columns = _row_column_pairs(path, read_json(path))
        if len(rows_columns) != 68:
            raise DataError(path, f"{len(rows_columns)} key points, expected 68")
        return json_points(path, rows_columns)[:, ::-1]


class _Datapoint(NamedTuple):
    images: list[Path]
    key_points: list[Path]
    actors: list[Path]


def _datapoint(name: str) -> str | None:
    """The number of a datapoint's folder, without leading zeros; None where it is no such folder."""
    match = re.fullmatch(r"datapoint_0*(.+)", fold(name), re.DOTALL)
    return match[1] if match else None


def _row_column_pairs(path: Path, content: Any) -> list[Any]:
    """Key points by number as [row, column]; DataError where they are in neither version's form, or in both."""
    try:
        second = content["face"]["standard"] if "face" in content else None
        first = content.get("standard", content).get("keypoints_2d_coordinates")
        if first is not None and second is not None:
            raise DataError(
                path, "holds key points of version 2 (face.standard) and of version 1 (keypoints_2d_coordinates)"
            )
        if second is not None:
            pairs = [(int(key), (point["pixel_2d"]["x"], point["pixel_2d"]["y"])) for key, point in second.items()]
        else:
            pairs = [(int(key), point) for key, point in first.items()]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        known = "face.standard.NN.pixel_2d (version 2) nor standard.keypoints_2d_coordinates (version 1)"
        raise DataError(path, f"neither {known}: {type(error).__name__} {quoted(str(error))}") from error
    numbers = [number for number, _ in sorted(pairs, key=lambda pair: pair[0])]
    if len(numbers) == 68 and numbers not in (list(range(68)), list(range(1, 69))):
        raise DataError(path, "key points aren't numbered in a row from 0 or 1")
    return [point for _, point in sorted(pairs, key=lambda pair: pair[0])]
