"""DGFaces: faces rendered by Datagen, with a JSON of 68 key points each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record, check_finite, read_json
from domaingap.errors import DataError
from domaingap.sources import Licence, Source

IMAGE = Path("camera", "visible_spectrum_01.png")
KEY_POINTS = Path("camera", "key_points", "face_standard_key_points.json")
ACTOR = "actor_metadata.json"


class DGFacesReader(Reader):
    """Reads ``datapoint_NNNNN/camera/…``: the first visible-spectrum image and the standard key points.

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
    files = re.compile("|".join(re.escape(name) for name in (IMAGE.name, KEY_POINTS.name, ACTOR)))
    depth = 3

    def find(self, part: str) -> list[Record]:
        records = []
        for folder in self.root.glob("datapoint_*"):
            if not (folder / KEY_POINTS).is_file():
                self.skipped[part]["datapoint without key points"] += 1
            elif not (folder / IMAGE).is_file():
                self.skipped[part]["datapoint without image"] += 1
            else:
                identity = self._identity(folder)
                records.append(Record(folder.name, part, identity, str(folder / IMAGE), str(folder / KEY_POINTS)))
        return records

    def _identity(self, folder: Path) -> str:
        # The renderings of one actor share a face, as the faces of one photograph share a scene.
        try:
            metadata = json.loads((folder / ACTOR).read_text(encoding="utf-8"))
            return str(metadata["identity_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return folder.name

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        rows_columns = _row_column_pairs(path, read_json(path))
        if len(rows_columns) != 68:
            raise DataError(path, f"{len(rows_columns)} key points, expected 68")
        return check_finite(path, np.asarray(rows_columns, dtype=np.float64)[:, ::-1])


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
