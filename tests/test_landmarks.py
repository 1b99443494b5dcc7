"""The scheme: a flip is a permutation of indices, not only of x."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from domaingap.landmarks import FACE_SYNTHETICS70, IBUG68, to_ibug68
from tests.conftest import MEAN_FACE


@pytest.mark.parametrize("scheme", [IBUG68, FACE_SYNTHETICS70])
def test_flipping_twice_is_nothing(scheme: object) -> None:
    points = np.random.default_rng(0).uniform(0, 99, (5, scheme.n_points, 2))  # type: ignore[attr-defined]
    flipped = scheme.flip(points, 100)  # type: ignore[attr-defined]
    assert not np.allclose(flipped, points)
    np.testing.assert_allclose(scheme.flip(flipped, 100), points)  # type: ignore[attr-defined]


def test_a_flipped_face_is_a_face() -> None:
    # A symmetric face on its mirror axis stays where it is, point by point: wrong indices would move points far.
    axis = (96 - 1) / 2
    face = MEAN_FACE + (axis - 48, 0)
    assert np.abs(IBUG68.flip(face, 96) - face).max() < 3
    assert np.abs(face[:, 0] - (95 - face[:, 0])).max() > 60, "mirroring x alone moves points far, so the check can fail"


def test_known_pairs() -> None:
    order = FACE_SYNTHETICS70.flip_permutation
    for a, b in [
        (0, 16),
        (8, 8),
        (17, 26),
        (27, 27),
        (31, 35),
        (36, 45),
        (39, 42),
        (41, 46),
        (48, 54),
        (57, 57),
        (60, 64),
        (61, 63),
        (65, 67),
        (66, 66),
        (68, 69),
    ]:
        assert order[a] == b and order[b] == a


def test_regions_partition_the_68() -> None:
    parts = [i for region in ("jaw", "brows", "nose", "eyes", "mouth") for i in IBUG68.regions[region]]
    assert parts == list(range(68))
    assert IBUG68.region_indices("no_jaw") == tuple(range(17, 68))
    assert len(IBUG68.region_indices("no_jaw")) == 51


def test_contours_cover_every_point_once_and_a_mirror_keeps_neighbours() -> None:
    """Protocol, section 1. On a mirrored face neighbours are still neighbours: a wrong range or closure breaks one."""
    assert [i for contour in IBUG68.contours for i in contour.indices] == list(range(68))
    lines = [(contour.indices[0], contour.indices[-1], contour.closed) for contour in IBUG68.contours]
    assert lines[:5] == [(0, 16, False), (17, 21, False), (22, 26, False), (27, 30, False), (31, 35, False)]
    assert lines[5:] == [(36, 41, True), (42, 47, True), (48, 59, True), (60, 67, True)]
    neighbours = {
        frozenset(pair) for indices, closed in IBUG68.contours for pair in pairwise(indices + indices[: int(closed)])
    }
    assert neighbours == {frozenset(IBUG68.flip_permutation[i] for i in pair) for pair in neighbours}
    assert FACE_SYNTHETICS70.regions["pupils"] == (68, 69) and FACE_SYNTHETICS70.eyes[1] == tuple(range(42, 48))


def test_seventy_to_sixty_eight() -> None:
    points = np.random.default_rng(0).uniform(size=(3, 70, 2))
    np.testing.assert_array_equal(to_ibug68(points), points[:, :68])
    with pytest.raises(ValueError, match="67"):
        to_ibug68(points[:, :67])
