"""Microsoft FaceSynthetics: rendered faces with 70 points (Wood et al., ICCV 2021)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import PartCount, Reader, Record, parse_points, read_text
from domaingap.errors import DataError
from domaingap.landmarks import to_ibug68


class FaceSyntheticsReader(Reader):
    """Reads ``{id:06d}.png`` with ``{id:06d}_ldmks.txt``; the two pupils (68, 69) are dropped.

    Coordinates are taken as they are (0-based). The release comes as zips of 100, 1,000 and 100,000 images,
    so it has no single published count; any other number of images is named partial.
    """

    source = "face_synthetics"
    folder = "face_synthetics"
    domain = "synthetic"
    published = {"all": None}
    release_sizes = (100, 1_000, 100_000)

    def part_folder(self, part: str) -> Path:
        return self.root

    def find(self, part: str) -> list[Record]:
        names = {path.name for path in self.root.iterdir()}
        records = []
        for name in names:
            if match := re.fullmatch(r"(\d+)_ldmks\.txt", name):
                image = f"{match[1]}.png"
                if image not in names:
                    raise DataError(self.root / name, f"no {image} beside it", advice="unpack the archive again")
                records.append(Record(match[1], part, match[1], self.root / image, self.root / name))
            elif (match := re.fullmatch(r"(\d+)\.png", name)) and f"{match[1]}_ldmks.txt" not in names:
                self.skipped[part]["image without _ldmks.txt"] += 1
        return records

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
        return to_ibug68(parse_points(path, lines, 70)).astype(np.float64)

    def count(self, part: str) -> PartCount:
        found = len(self.records(part))
        published = next((size for size in self.release_sizes if size >= found), None)
        return PartCount(part, found, published, dict(self.skipped[part]))
