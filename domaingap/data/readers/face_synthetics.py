"""Microsoft FaceSynthetics: rendered faces with 70 points (Wood et al., ICCV 2021)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record, parse_points, read_text
from domaingap.data.readers.generated import written_terms
from domaingap.errors import DataError
from domaingap.landmarks import to_ibug68
from domaingap.provenance import Terms
from domaingap.sources import Licence, Source


class FaceSyntheticsReader(Reader):
    """Reads ``{id:06d}.png`` with ``{id:06d}_ldmks.txt``; the two pupils (68, 69) are dropped.

    Coordinates are taken as they are (0-based). The release comes as zips of 100, 1,000 and 100,000 images,
    so it has no single published count; any other number of images is named partial.
    """

    source = Source(
        name="face_synthetics",
        title="FaceSynthetics",
        role="synthetic",
        folder="face_synthetics",
        parts={"all": None},
        train_parts=("all",),
        release_sizes=(100, 1_000, 100_000),
        photograph="every image is of a person of its own",
        licence=Licence(
            "Research Use of Data Agreement v1.0", True, "https://github.com/microsoft/FaceSynthetics/blob/main/LICENSE.txt"
        ),
        citation="Wood et al., Fake it till you make it: face analysis in the wild using synthetic data alone, ICCV 2021",
        homepage="https://github.com/microsoft/FaceSynthetics",
        layout="NNNNNN.png, NNNNNN_seg.png and NNNNNN_ldmks.txt",
    )
    files = re.compile(r"(\d+)(?:\.png|_ldmks\.txt)")

    def find(self, part: str) -> list[Record]:
        names = set(os.listdir(self.root))
        root, records = f"{self.root}{os.sep}", []
        for name in names:
            if not (match := self.files.fullmatch(name)):
                continue
            number = match[1]
            image, annotation = f"{number}.png", f"{number}_ldmks.txt"
            if name == annotation:
                if image not in names:
                    raise DataError(self.root / name, f"no {image} beside it", advice="unpack the archive again")
                records.append(Record(number, part, number, root + image, root + annotation))
            elif annotation not in names:
                self.skipped[part]["image without _ldmks.txt"] += 1
        return records

    def terms(self) -> frozenset[Terms]:
        """Generated faces in this layout bring their own; where others lie among them, both hold."""
        written = written_terms(self.root)
        if written is None:
            return super().terms()
        names = set(os.listdir(self.root))
        labels = (name.removesuffix("_ldmks.txt") for name in names if name.endswith("_ldmks.txt"))
        ours = all(f"{number}_face.npz" in names for number in labels)
        return written if ours else written | super().terms()

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
        return to_ibug68(parse_points(path, lines, 70)).astype(np.float64)
