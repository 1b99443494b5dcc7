"""An examination as JSON, and its worst faces as a picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor.examine import Examination
from domaingap.data.doctor.faces import Face
from domaingap.data.doctor.findings import SEVERITIES, Finding
from domaingap.data.doctor.shape_model import Array
from domaingap.data.sample import read_rgb
from domaingap.errors import DataError
from domaingap.hashing import finite

SCHEMA = 1
"""Of doctor.json; raised when a reader of it would have to change."""

_WIDE_KINDS = ("picture rescaled", "picture mirrored", "annotation beside its face", "impossible annotation")


def as_json(examination: Examination, data_root: Path) -> dict[str, Any]:
    """The whole of it as plain values: data sets with their parts and counts, and every finding, worst first."""
    return {
        "schema": SCHEMA,
        "data_root": str(data_root),
        "not_checked": examination.not_checked,
        "sources": {
            name: {
                "title": source.title,
                "terms": [asdict(terms) for terms in examination.terms[name]],
                "homepage": source.homepage,
                "absent": examination.absent[name],
                "findings": severities(examination, name),
                "parts": {
                    part: {
                        "faces": about.faces,
                        "published": about.published,
                        "partial": about.published is not None and about.faces < about.published,
                        "passed_over": about.skipped,
                        "boxes": about.boxes,
                        "findings": severities(examination, name, part),
                    }
                    for part, about in examination.parts[name].items()
                },
            }
            for name, source in examination.sources.items()
        },
        "findings": [
            {
                "severity": finding.severity,
                "kind": finding.kind,
                "source": finding.source,
                "part": finding.part,
                "face": finding.face,
                "file": finding.file,
                "detail": finding.detail,
                "other": finding.also,
                "point": finding.point,
                "weight": finite(round(float(finding.weight), 3)),
                "todo": finding.advice,
            }
            for finding in examination.findings
        ],
    }


def severities(examination: Examination, source: str, part: str | None = None) -> dict[str, int]:
    """How many findings of each severity a data set or a part of it has."""
    counts = Counter(f.severity for f in examination.findings if f.source == source and part in (None, f.part))
    return {severity: counts[severity] for severity in SEVERITIES}


def draw_suspects(examination: Examination, most: int, side: int = 320) -> list[NDArray[np.uint8]]:
    """Tiles [side, side, 3] of the worst faces with their landmarks, names and reasons; a pair's other face follows it."""
    tiles: list[NDArray[np.uint8]] = []
    for finding in examination.findings:
        face = examination.faces.get((finding.source, finding.face))
        if face is None or finding.severity == "note" or len(tiles) >= most:
            continue
        try:
            tiles.append(_tile(face, finding, f"{finding.kind}: {finding.detail}", side))
            if finding.also:
                source, _, name = finding.also.partition(" ")
                other = examination.faces[(source, name)]
                tiles.append(_tile(other, finding, f"... and {finding.face}", side))
        except DataError:
            continue  # a picture that can't be read is in the table
    return tiles


def _tile(face: Face, finding: Finding, reason: str, side: int) -> NDArray[np.uint8]:
    from domaingap.pictures import GREEN, RED, draw_face

    image = read_rgb(Path(face.record.image))
    points = face.points if face.points is not None else np.zeros((0, 2))
    matrix = _window(image, points, 1.7 if finding.kind not in _WIDE_KINDS else 3.0, side)
    reduced = cv2.INTER_AREA if matrix[0, 0] < 1 else cv2.INTER_CUBIC
    if matrix[0, 0] < 0.7:
        # warpAffine doesn't smooth what it reduces.
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / matrix[0, 0]), dtype=np.uint8)
    picture = cv2.warpAffine(image, matrix, (side, side), flags=reduced, borderMode=cv2.BORDER_CONSTANT)
    drawn = points @ matrix[:, :2].T + matrix[:, 2]
    blamed = drawn[finding.point : finding.point + 1] if finding.point is not None else drawn[:0]
    caption = f"{face.source.name} {face.record.name}"[-46:] + "\n" + (reason if len(reason) < 48 else reason[:45] + "...")
    return draw_face(np.asarray(picture, dtype=np.uint8), [(drawn, GREEN), (blamed, RED)], side, caption)


def _window(image: NDArray[np.uint8], points: Array, wide: float, side: int) -> Array:
    """What is shown of a picture, as a matrix [2, 3] into the tile: around the points, or all of it where that is less."""
    height, width = image.shape[:2]
    whole = float(max(width, height))
    centre, extent = np.array([(width - 1) / 2, (height - 1) / 2]), whole
    if len(points) and np.isfinite(points).all():
        low, high = points.min(axis=0), points.max(axis=0)
        around = wide * float((high - low).max())
        if 0 < around < whole:
            centre, extent = (low + high) / 2, around
        elif around < 4 * whole:
            # Points beyond the picture are shown as well.
            corners = np.stack([low, high, [0, 0], [width - 1, height - 1]])
            centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
            extent = 1.05 * float(np.ptp(corners, axis=0).max())
    scale = side / extent
    return np.array([[scale, 0, (side - 1) / 2 - scale * centre[0]], [0, scale, (side - 1) / 2 - scale * centre[1]]])
