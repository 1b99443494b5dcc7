"""Augmentation: landmarks follow the picture, and the look is a function of (seed, step, sample)."""

from __future__ import annotations

import random

import numpy as np
import pytest

from domaingap.config import AugmentConfig, CropConfig
from domaingap.data.transforms import Augmenter
from domaingap.errors import UserError
from domaingap.landmarks import IBUG68
from tests.conftest import MEAN_FACE

CROP = CropConfig(size=96)
POINTS = MEAN_FACE.astype(np.float32)


def stored(channels: int = 1) -> np.ndarray:
    """A smooth stored crop, 120 px."""
    yy, xx = np.mgrid[:120, :120]
    plane = 128 + 60 * np.sin(xx / 9) + 50 * np.cos(yy / 7)
    return np.repeat(plane[..., None], 3, axis=2).astype(np.uint8) if channels == 3 else plane.astype(np.uint8)


@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_landmarks_follow_the_picture(channels: str) -> None:
    """A blob drawn at one landmark lies at that landmark after rotation, scale, shift and mirror."""
    crop = CropConfig(size=96, channels=channels)  # type: ignore[arg-type]
    augment = Augmenter(crop, AugmentConfig(photometric=False, occlusion=False), seed=4)
    mirrored, moved = 0, []
    for step in range(60):
        landmark = 36 if step % 2 else 8
        yy, xx = np.mgrid[:120, :120]
        x, y = POINTS[landmark] + crop.pad
        image = (255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 18)).astype(np.uint8)
        image = np.repeat(image[..., None], 3, axis=2) if channels == "rgb" else image
        picture, points = augment(image, POINTS, (step, 5, 0))
        assert picture.shape == (96, 96, *((3,) if channels == "rgb" else ())) and picture.dtype == np.uint8
        # After a mirror the anatomically opposite landmark has the blob.
        assert points[0, 0] < points[16, 0], "the jaw runs from left to right, mirrored or not"
        plane = picture.astype(float) if channels == "gray" else picture[..., 0].astype(float)
        yy, xx = np.mgrid[:96, :96]
        found = np.array([(xx * plane).sum(), (yy * plane).sum()]) / plane.sum()
        candidates = points[[landmark, int(IBUG68.flip_permutation[landmark])]]
        distance = np.abs(candidates - found).max(axis=1)
        assert distance.min() < 0.3
        mirrored += int(landmark == 36 and distance[1] < 0.3)
        moved.append(np.abs(points - POINTS).max())
    assert 5 < mirrored < 25, "about half of 30 are mirrored"
    assert max(moved) > 10


def test_points_that_leave_the_picture_are_kept() -> None:
    augment = Augmenter(CROP, AugmentConfig(strength=2.0), seed=1)
    outside = 0
    for step in range(50):
        _, points = augment(stored(), POINTS, (step, 0, 0))
        assert points.shape == (68, 2) and np.isfinite(points).all()
        outside += int(((points < 0) | (points > 95)).any())
    assert outside > 0


@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_look_depends_on_seed_step_and_sample_alone(channels: str) -> None:
    crop = CropConfig(size=96, channels=channels)  # type: ignore[arg-type]
    image = stored(3 if channels == "rgb" else 1)
    keys = [(step, sample, 0) for step in range(6) for sample in range(3)]
    first = Augmenter(crop, AugmentConfig(), seed=1)
    looks = {key: first(image, POINTS, key) for key in keys}
    again = Augmenter(crop, AugmentConfig(), seed=1)
    np.random.seed(99)
    random.seed(99)
    for key in reversed(keys):
        picture, points = again(image, POINTS, key)
        np.testing.assert_array_equal(picture, looks[key][0])
        np.testing.assert_array_equal(points, looks[key][1])
    other = Augmenter(crop, AugmentConfig(), seed=2)
    assert any(not np.array_equal(other(image, POINTS, key)[0], looks[key][0]) for key in keys)
    flat = [look[0].tobytes() for look in looks.values()]
    assert len(set(flat)) == len(flat), "no two looks are the same"


def test_strength_zero_is_the_plain_crop() -> None:
    picture, points = Augmenter(CROP, AugmentConfig(strength=0.0), seed=0)(stored(), POINTS, (1, 2, 0))
    np.testing.assert_array_equal(picture, stored()[12:-12, 12:-12])
    np.testing.assert_allclose(points, POINTS, atol=1e-4)


def test_strength_dials_the_change() -> None:
    def change(strength: float) -> float:
        augment = Augmenter(CROP, AugmentConfig(strength=strength, mirror=False), seed=0)
        return float(np.mean([np.abs(augment(stored(), POINTS, (step, 0, 0))[1] - POINTS).mean() for step in range(60)]))

    assert 0 < change(0.3) < change(1.0) < change(2.0)
    with pytest.raises(UserError, match="strength"):
        Augmenter(CROP, AugmentConfig(strength=3.0), seed=0)


def test_each_group_does_what_it_says() -> None:
    off = {"photometric": False, "geometric": False, "mirror": False, "occlusion": False}
    plain = stored()[12:-12, 12:-12]
    for group in off:
        augment = Augmenter(CROP, AugmentConfig(**{**off, group: True}), seed=0)
        looks = [augment(stored(), POINTS, (step, 0, 0)) for step in range(40)]
        assert any(not np.array_equal(picture, plain) for picture, _ in looks), group
        assert any(not np.allclose(points, POINTS, atol=1e-4) for _, points in looks) == (group in ("geometric", "mirror"))
