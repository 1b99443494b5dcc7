"""Microsoft SynthFace: rendered faces with 70 points, five pictures a person (Hewitt et al., SIGGRAPH Asia 2024)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record
from domaingap.data.readers.listing import IMAGE, pairs
from domaingap.data.readers.text import json_points, read_json, shown
from domaingap.errors import DataError
from domaingap.landmarks import FACE_SYNTHETICS70, to_ibug68
from domaingap.sources import Licence, Source

SIDE = 512
"""Of every picture, in pixels."""


class SynthFaceReader(Reader):
    """Reads ``img_XXXXXXX_YYY.jpg`` (identity, frame) with ``landmarks.2D`` of the JSON that has its numbers.

    No file was at hand. The release's ``visualize_data.py`` opens ``metadata_XXXXXXX_YYY.json`` [copies of its repository];
    any JSON with the numbers is taken, and two of them refused. ``DATASETS.md`` gives ``landmarks.2D`` as 70 x 2 in image
    space; the script joins 0 to 67 as iBUG's are joined, and calls 68 the left and 69 the right eye, without saying whose
    left. So pupils that don't lie in their eyes as FaceSynthetics' do are counted and warned of. That the first pixel's
    centre is 0 is taken from FaceSynthetics [unverified]. ``DATASETS.md`` calls ``head_pose`` "3x3 rotation matrix of the
    head" without saying from which axes to which, and there is no word of light or of hidden points: so these labels answer
    no conditions, and reports estimate pose from the landmarks.
    """

    source = Source(
        name="synthface",
        title="SynthFace (SynthMoCap)",
        role="synthetic",
        folder="synth_face",
        parts={"all": None},  # "approximately 20,000 identities with 5 frames each" is no number to count against
        train_parts=("all",),
        photograph="the five frames of an identity",
        licence=Licence(
            "Research Use of Data Agreement v1.0", True, "https://github.com/microsoft/SynthMoCap/blob/main/LICENSE"
        ),
        citation="Hewitt et al., Look Ma, no markers: holistic performance capture without the hassle, TOG 2024",
        homepage="https://github.com/microsoft/SynthMoCap",
        layout="img_*.jpg and metadata_*.json, as the repository's download_data.py makes it",
    )
    # Nine segm_ files a picture: they are told apart at the first character.
    files = re.compile(
        rf"(?!segm_|\.)(?:img_([0-9]{{7}}_[0-9]{{3}}){IMAGE}|.*?(?<![0-9])([0-9]{{7}}_[0-9]{{3}})(?![0-9]).*\.json)", re.I
    )
    aside = re.compile(r"segm_.*\.png", re.IGNORECASE)

    def find(self, part: str) -> list[Record]:
        folder = self.part_folder(part)
        listing = self.listing(part, folder)
        if listing.folders:
            self.skipped[part]["subfolder"] += len(listing.folders)
        prefix = f"{folder}{os.sep}"
        found = pairs(listing, self._split, "image without JSON", "img_", ".jpg")
        return [Record(key, part, key[:7], prefix + image, prefix + annotation) for key, image, annotation in found]

    def _split(self, name: str) -> tuple[str, bool]:
        match = self.files.fullmatch(name)
        assert match
        return match[1] or match[2], match[2] is not None

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        try:
            rows = read_json(path)["landmarks"]["2D"]
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(path, f"no landmarks.2D ({error!r})") from error
        if not isinstance(rows, list):
            raise DataError(path, f"landmarks.2D is {shown(rows)}, expected 70 x 2 numbers")
        if len(rows) != 70:
            raise DataError(path, f"landmarks.2D is {len(rows)} x 2, expected 70 x 2")
        points = json_points(path, rows)
        centre = points.mean(axis=0)
        if not ((centre >= 0) & (centre < SIDE)).all():
            # So it was with headsets until November 2024 (microsoft/SynthMoCap, issue 12).
            raise DataError(
                path, "the face lies outside its picture", advice="early downloads have such files; fetch it again"
            )
        if not pupils_in_eyes(points):
            self.doubts["a pupil (point 68, 69) doesn't lie in its eye (36-41, 42-47)"] += 1
        return to_ibug68(points).astype(np.float64)


def pupils_in_eyes(points: NDArray[np.float64]) -> bool:
    """Whether each pupil of points [70, 2] is nearer to the centre of its eye than the eye is wide.

    On 100 FaceSynthetics faces it is 0.73 times the width away at most, and from the other eye 1.4 times at least.
    """
    for pupil, contour in zip(FACE_SYNTHETICS70.regions["pupils"], FACE_SYNTHETICS70.eyes, strict=True):
        eye = points[list(contour)]
        if np.linalg.norm(points[pupil] - eye.mean(axis=0)) > np.linalg.norm(eye[0] - eye[3]):
            return False
    return True
