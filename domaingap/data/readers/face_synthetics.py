"""Microsoft FaceSynthetics: rendered faces with 70 points (Wood et al., ICCV 2021)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record
from domaingap.data.readers.generated import written_terms
from domaingap.data.readers.listing import IMAGE, fold, pairs
from domaingap.data.readers.text import parse_points, read_lines
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
    files = re.compile(rf"[0-9]+(?:_ldmks\.txt|{IMAGE})", re.IGNORECASE)
    # Masks; and what `data generate` writes beside the release's files.
    aside = re.compile(r"[0-9]+_(?:seg\.png|face\.npz)|generated\.json|croissant\.json", re.IGNORECASE)

    def find(self, part: str) -> list[Record]:
        folder = self.part_folder(part)
        listing = self.listing(part, folder)
        if listing.folders:
            self.skipped[part]["subfolder"] += len(listing.folders)
        prefix = f"{folder}{os.sep}"
        found = pairs(listing, _split, "image without _ldmks.txt", "", ".png")
        return [Record(key, part, key, prefix + image, prefix + annotation) for key, image, annotation in found]

    def terms(self) -> frozenset[Terms]:
        """Generated faces in this layout bring their own; where others lie among them, both hold."""
        folder = self.part_folder("all")
        written = written_terms(folder)
        if written is None:
            return super().terms()
        names = {fold(name) for name in os.listdir(folder)}
        labels = (name.removesuffix("_ldmks.txt") for name in names if name.endswith("_ldmks.txt"))
        ours = all(f"{number}_face.npz" in names for number in labels)
        return written if ours else written | super().terms()

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        return to_ibug68(parse_points(path, read_lines(path), 70)).astype(np.float64)


def _split(name: str) -> tuple[str, bool]:
    number, separator, _ = name.partition("_")
    return (number, True) if separator else (name.partition(".")[0], False)
