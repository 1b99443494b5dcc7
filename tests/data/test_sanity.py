"""Annotations that can't be a face's: found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domaingap.data.sanity import annotation_fault
from tests.conftest import MEAN_FACE, make_face

SIZE = (96, 96)


def faces(n: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [make_face(rng)[1] for _ in range(n)]


def test_faces_are_faces() -> None:
    for points in faces():
        assert annotation_fault(points, SIZE) is None
        assert annotation_fault(points.round(), SIZE) is None, "whole pixels"
        assert annotation_fault(points * 40, (96 * 40, 96 * 40)) is None
        assert annotation_fault(points) is None


def test_closed_eyes_and_mouth_are_normal() -> None:
    # All pairs that coincide in 300-W, at once.
    for points in faces(5):
        for a, b in ((61, 67), (62, 66), (63, 65), (37, 41), (38, 40), (43, 47), (44, 46), (48, 60), (54, 64)):
            points[b] = points[a]
        assert annotation_fault(points, SIZE) is None


def test_a_small_face_in_whole_pixels_is_normal() -> None:
    # 14 pixels high: lids, lips and neighbours fall together, the corners don't.
    points = (MEAN_FACE * 0.22).round() + 20
    assert len(np.unique(points, axis=0)) < 66
    assert annotation_fault(points, SIZE) is None


def test_turned_faces_are_normal() -> None:
    # Half of what is usual; the least in FaceSynthetics is 0.13.
    for points in faces(5):
        middle = points.mean(axis=0)
        turned = (points - middle) * (0.08, 1) + middle
        share = np.linalg.norm(turned[36] - turned[45]) / np.sqrt(np.ptp(turned, axis=0).prod())
        assert share < 0.4
        assert annotation_fault(turned, SIZE) is None


@pytest.mark.parametrize("n", [1, 5, 17, 30])
def test_single_points_outside_stay(n: int) -> None:
    points = faces(1)[0]
    points[:n, 0] -= 60
    assert (points[:n, 0] < 0).sum() >= n * 0.5
    assert annotation_fault(points, SIZE) is None


def at(points: np.ndarray, indices: object, position: object) -> np.ndarray:
    points = points.copy()
    points[indices] = position
    return points


@pytest.mark.parametrize("one_based", [0.0, 1.0])
@pytest.mark.parametrize("value", [0.0, -1.0])
@pytest.mark.parametrize("indices", [slice(None), slice(0, 8), [3], [67]])
def test_placeholders(value: float, indices: object, one_based: float) -> None:
    points = at(faces(1)[0], indices, value - one_based)
    assert annotation_fault(points, SIZE) == "placeholder points (0 0 or -1 -1)"
    assert annotation_fault(points) == "placeholder points (0 0 or -1 -1)"


def test_coinciding_points() -> None:
    points = faces(1)[0]
    assert annotation_fault(at(points, slice(None), (30.0, 40.0)), SIZE) == "points coincide"
    assert annotation_fault(at(points, 36, points[45]), SIZE) == "outer eye corners coincide"
    assert annotation_fault(at(points, 36, points[45] + 1e-6), SIZE) == "outer eye corners coincide", "nearly is no length"
    both = at(points, slice(42, 48), points[36:42][[3, 2, 1, 0, 5, 4]])
    assert annotation_fault(at(both, 45, both[36] + (0, 3)), SIZE) == "eyes coincide"
    for pair in ((36, 39), (42, 45), (48, 54), (60, 64), (8, 30), (27, 30), (0, 16), (21, 22), (39, 42), (19, 37), (5, 9)):
        assert annotation_fault(at(points, pair[0], points[pair[1]]), SIZE) == "points coincide", pair
    assert annotation_fault(at(points, slice(60, 68), points[60]), SIZE) == "points coincide"
    assert annotation_fault(at(points, [17, 18, 19], (33.25, 44.5)), SIZE) == "points coincide"


def test_annotations_of_another_picture() -> None:
    points = faces(1)[0]
    outside = "annotation outside its picture"
    assert annotation_fault(points + (96, 0), SIZE) == outside
    assert annotation_fault(points - (0, 70), SIZE) == outside
    assert annotation_fault(points * 3, SIZE) == "annotation larger than its picture"
    assert annotation_fault(at(points, 3, (-5000.0, 40.0)), SIZE) == "annotation larger than its picture"
    assert annotation_fault(points * 3) is None, "nothing known of the picture"
    assert annotation_fault(points * 1e300, SIZE) == outside
    assert annotation_fault(at(points, 5, np.nan), SIZE) == "points that aren't finite"


def test_shapes_that_are_no_face() -> None:
    points = faces(1)[0]
    assert annotation_fault(points / 96, SIZE) == "face smaller than 4 pixels", "shares of the picture's size"
    assert annotation_fault(points * (1, 0) + (0, 40), SIZE) == "points on one line"
    assert annotation_fault(np.stack([np.arange(68.0) + 5, np.arange(68.0) + 9], axis=1), SIZE) == "points on one line"


def test_no_sample_has_a_fault(sample_data: Path) -> None:
    from domaingap.data.readers import open_reader, sources_in
    from domaingap.data.sample import picture_size

    for source in sources_in(sample_data):
        reader = open_reader(source.name, sample_data)
        for part in reader.parts():
            for record, points in zip(reader.records(part), reader.landmarks(part), strict=True):
                assert annotation_fault(points, picture_size(record.image_path)) is None, record.name
            assert not reader.problems[part] and not reader.skipped[part], part
