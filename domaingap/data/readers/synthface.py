"""Microsoft SynthFace: rendered faces with 70 points, five pictures a person (Hewitt et al., SIGGRAPH Asia 2024)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.data.readers.base import Reader, Record, check_finite, read_json
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
    centre is 0 is taken from FaceSynthetics [unverified].
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
    files = re.compile(r"(?!segm_|\.)(?:img_(\d{7}_\d{3})\.jpg|.*?(?<!\d)(\d{7}_\d{3})(?!\d).*\.json)")

    def find(self, part: str) -> list[Record]:
        images, annotations = [], dict[str, str]()
        for name in os.listdir(self.root):
            if not (match := self.files.fullmatch(name)):
                continue
            if match[1]:
                images.append(match[1])
            elif (other := annotations.setdefault(match[2], name)) != name:
                both = " and ".join(sorted((other, name)))
                raise DataError(self.root, f"{both} have the same numbers", advice="take out what isn't part of the release")
        root, records = f"{self.root}{os.sep}", []
        for key in images:
            if annotation := annotations.pop(key, None):
                records.append(Record(key, part, key[:7], f"{root}img_{key}.jpg", root + annotation))
            else:
                self.skipped[part]["image without JSON"] += 1
        for key, annotation in annotations.items():
            raise DataError(self.root / annotation, f"no img_{key}.jpg beside it", advice="unpack the archive again")
        return records

    def read_landmarks(self, path: Path) -> NDArray[np.float64]:
        content = read_json(path)
        try:
            points = np.asarray(content["landmarks"]["2D"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(path, f"no landmarks.2D ({error!r})") from error
        if points.shape != (70, 2):
            raise DataError(path, f"landmarks.2D is {' x '.join(map(str, points.shape))}, expected 70 x 2")
        centre = check_finite(path, points).mean(axis=0)
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
