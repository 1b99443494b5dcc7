"""DGFaces: faces rendered by Datagen, with a JSON of 68 key points each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record, read_text
from domaingap.errors import DataError

IMAGE = Path("camera", "visible_spectrum_01.png")
KEY_POINTS = Path("camera", "key_points", "face_standard_key_points.json")


class DGFacesReader(Reader):
    """Reads ``datapoint_NNNNN/camera/…``: the first visible-spectrum image and the standard key points.

    In these files **x is the row and y the column**. Version 2 keeps points under ``face.standard.01.pixel_2d``;
    version 1 as ``standard.keypoints_2d_coordinates``, a list of [row, column] by number [order of version 1
    after Datagen's public reader; no file of that version was at hand].
    """

    source = "dgfaces"
    folder = "dgfaces"
    domain = "synthetic"
    published = {"all": None}

    def part_folder(self, part: str) -> Path:
        return self.root

    def find(self, part: str) -> list[Record]:
        records = []
        for folder in self.root.glob("datapoint_*"):
            if not (folder / KEY_POINTS).is_file():
                self.skipped[part]["datapoint without key points"] += 1
            elif not (folder / IMAGE).is_file():
                self.skipped[part]["datapoint without image"] += 1
            else:
                identity = self._identity(folder)
                records.append(Record(folder.name, part, identity, folder / IMAGE, folder / KEY_POINTS))
        return records

    def _identity(self, folder: Path) -> str:
        # The renderings of one actor share a face, as the faces of one photograph share a scene.
        try:
            metadata = json.loads((folder / "actor_metadata.json").read_text(encoding="utf-8"))
            return str(metadata["identity_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return folder.name

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        try:
            content = json.loads(read_text(path))
        except json.JSONDecodeError as error:
            raise DataError(path, f"not JSON ({error.msg})", line=error.lineno) from error
        rows_columns = _row_column_pairs(path, content)
        if len(rows_columns) != 68:
            raise DataError(path, f"{len(rows_columns)} key points, expected 68")
        points = np.asarray(rows_columns, dtype=np.float64)[:, ::-1]
        if not np.isfinite(points).all():
            number = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0]) + 1
            raise DataError(path, f"key point {number} is not finite")
        return points


def _row_column_pairs(path: Path, content: Any) -> list[tuple[float, float]]:
    try:
        if "face" in content:
            points = content["face"]["standard"]
            return [
                (float(points[key]["pixel_2d"]["x"]), float(points[key]["pixel_2d"]["y"])) for key in sorted(points, key=int)
            ]
        points = content.get("standard", content)["keypoints_2d_coordinates"]
        return [(float(points[key][0]), float(points[key][1])) for key in sorted(points, key=int)]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(
            path,
            f"neither face.standard.NN.pixel_2d (version 2) nor standard.keypoints_2d_coordinates (version 1): {error!r}",
        ) from error
