"""Crops: one similarity, exact both ways, anti-aliased."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from domaingap.config import CropConfig
from domaingap.data.boxes import FaceDetector, box_from_landmarks, iou
from domaingap.data.crops import apply_transform, crop_transform, cut_crop, invert_transform
from tests.conftest import MEAN_FACE


def test_points_go_there_and_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        x0, y0 = rng.uniform(-200, 3000, 2)
        box = np.array([x0, y0, x0 + rng.uniform(20, 2000), y0 + rng.uniform(20, 2000)])
        points = rng.uniform(-500, 4000, (68, 2))
        transform = crop_transform(box, CropConfig(size=int(rng.integers(32, 257))))
        back = apply_transform(invert_transform(transform), apply_transform(transform, points).astype(np.float32))
        assert np.abs(back - points).max() < 1e-3
        assert transform[0, 0] == transform[1, 1] and transform[0, 1] == transform[1, 0] == 0, "a similarity"


@pytest.mark.parametrize("channels", ["gray", "rgb"])
@pytest.mark.parametrize("side", [60, 400, 1500])
def test_landmarks_stay_on_their_pixels(channels: str, side: int) -> None:
    """A blob in the picture lies where its landmark lies in the crop, enlarged or reduced."""
    crop = CropConfig(size=128, channels=channels)  # type: ignore[arg-type]
    height, width = 2000, 1700
    centre = np.array([812.0, 1043.0])
    image = np.zeros((height, width, 3), np.uint8)
    yy, xx = np.mgrid[:height, :width]
    sigma = side / 20
    image[:] = (255 * np.exp(-((xx - centre[0]) ** 2 + (yy - centre[1]) ** 2) / (2 * sigma**2)))[..., None].astype(np.uint8)
    box = np.array([centre[0] - side * 0.4, centre[1] - side * 0.6, centre[0] + side * 0.6, centre[1] + side * 0.4])
    transform = crop_transform(box, crop)
    stored = cut_crop(image, transform, crop).astype(float)
    assert stored.shape == (160, 160, *((3,) if channels == "rgb" else ()))
    plane = stored if channels == "gray" else stored[..., 1]
    yy, xx = np.mgrid[:160, :160]
    found = np.array([(xx * plane).sum(), (yy * plane).sum()]) / plane.sum() - crop.pad
    np.testing.assert_allclose(found, apply_transform(transform, centre[None])[0], atol=0.05)


def test_reduction_is_antialiased() -> None:
    """Stripes finer than the crop's pixels become gray; taking every n-th pixel would leave false stripes."""
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[:, ::2] = 255
    crop = CropConfig(size=128)
    transform = crop_transform(np.array([100.0, 100.0, 900.0, 900.0]), crop)
    stored = cut_crop(image, transform, crop)[30:130, 30:130]
    assert abs(stored.mean() - 127.5) < 2 and stored.std() < 4
    naive = cv2.warpAffine(image, transform, (128, 128), flags=cv2.INTER_NEAREST)
    assert naive.std() > 50, "the check can fail"


@pytest.mark.parametrize("box", [(-80, -90, 40, 60), (80, 70, 220, 260), (-500, -500, -300, -300), (90, 90, 92, 92)])
def test_boxes_beyond_the_picture(box: tuple[int, int, int, int]) -> None:
    image = np.full((120, 100, 3), 77, np.uint8)
    crop = CropConfig(size=64)
    stored = cut_crop(image, crop_transform(np.array(box, dtype=float), crop), crop)
    assert stored.shape == (80, 80) and (stored == 77).all(), "the edge is repeated"


def test_landmark_box_follows_the_detectors_convention() -> None:
    x0, y0, x1, _ = box_from_landmarks(MEAN_FACE)
    assert y0 < MEAN_FACE[:, 1].min() - 5, "it reaches above the brows"
    assert (x1 - x0) / np.ptp(MEAN_FACE[:, 0]) == pytest.approx(0.95)
    assert iou(np.array([0, 0, 2, 2]), np.array([1, 1, 3, 3])) == pytest.approx(1 / 7)
    assert iou(np.array([0, 0, 1, 1]), np.array([2, 2, 3, 3])) == 0


def test_detector_takes_the_face_that_overlaps_and_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = FaceDetector.__new__(FaceDetector)
    landmarks = MEAN_FACE + 200
    right = box_from_landmarks(landmarks) + 3
    other = right - 150
    image = np.zeros((400, 400, 3), np.uint8)
    monkeypatch.setattr(detector, "detect", lambda image: np.stack([other, right]))
    box, source = detector.face_box(image, landmarks)
    assert source == "mtcnn" and np.array_equal(box, right)
    for boxes in (np.empty((0, 4)), other[None]):
        monkeypatch.setattr(detector, "detect", lambda image, boxes=boxes: boxes)
        box, source = detector.face_box(image, landmarks)
        assert source == "fallback"
        np.testing.assert_allclose(box, box_from_landmarks(landmarks))


def test_detector_leaves_the_threads_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        FaceDetector().detect(np.full((64, 64, 3), 128, np.uint8))
        assert torch.get_num_threads() == before + 1, "training follows in this process"
    finally:
        torch.set_num_threads(before)


def test_detector_survives_pictures_without_a_face() -> None:
    detector = FaceDetector()
    for shape in [(8, 8, 3), (64, 64, 3), (30, 500, 3)]:
        assert detector.detect(np.full(shape, 128, np.uint8)).shape == (0, 4)
