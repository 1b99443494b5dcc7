"""Confidence and coordinates of single faces, with a network that answers what the test says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from domaingap.config import CropConfig
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.crops import apply_transform, crop_transform, cut_crop
from domaingap.data.doctor.shape_model import prior
from domaingap.errors import UserError
from domaingap.inference.predictor import DetectorConfig, FacePredictor

CROP = CropConfig(size=64)
UPRIGHT = prior()[0]
FACE = UPRIGHT * 40 + (150, 130)
IMAGE = np.random.default_rng(0).integers(0, 255, (260, 300, 3)).astype(np.uint8)


class Told:
    """Answers given landmarks, whatever it sees, and keeps what it saw."""

    def __init__(self, points: np.ndarray, sigma: float | None = None, channels: Any = "gray", shift: float = 0.0) -> None:
        self.crop = CropConfig(size=64, channels=channels)
        self.points, self.sigma, self.shift, self.seen = points, sigma, shift, np.zeros(0)

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self.seen = crops
        inside = np.stack([apply_transform(crop_transform(box_from_landmarks(FACE), self.crop), self.points)] * len(crops))
        return inside, None if self.sigma is None else np.full((len(crops), 68), self.sigma)

    def adapt(self, points: np.ndarray) -> np.ndarray:
        return points + self.shift


def predictor(model: Told, verdict: float = 1.0) -> FacePredictor:
    """Without MTCNN, which needs a second to load."""
    made = FacePredictor.__new__(FacePredictor)
    made.model, made.settings, made._mean = model, DetectorConfig(), UPRIGHT
    made.detector = SimpleNamespace(refine=lambda image, boxes: (np.full(len(boxes), verdict), boxes + 2))  # type: ignore[assignment]
    return made


def confidence(points: np.ndarray, sigma: float | None = None, verdict: float = 1.0) -> float:
    (face,) = predictor(Told(points, sigma), verdict).at(IMAGE, box_from_landmarks(FACE)[None])
    return face.confidence


def test_landmarks_are_in_the_pictures_pixels_and_adapted() -> None:
    boxes = np.stack([box_from_landmarks(FACE)] * 2)
    first, second = predictor(Told(FACE, shift=3.0)).at(IMAGE, boxes)
    np.testing.assert_allclose(first.landmarks, FACE + 3, atol=1e-9)
    np.testing.assert_allclose(second.landmarks, first.landmarks)
    np.testing.assert_array_equal(first.box, boxes[0])
    (followed,) = predictor(Told(FACE, shift=3.0)).at(IMAGE, boxes[:1], found=False)
    np.testing.assert_allclose(followed.box, boxes[0] + 2, err_msg="as the detector's last stage has it")
    assert predictor(Told(FACE)).at(IMAGE, np.empty((0, 4))) == []


@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_the_network_sees_what_it_was_trained_on(channels: Any) -> None:
    model = Told(FACE, channels=channels)
    predictor(model).at(IMAGE, box_from_landmarks(FACE)[None])
    transform = crop_transform(box_from_landmarks(FACE), model.crop)
    inner = slice(model.crop.pad, -model.crop.pad)
    np.testing.assert_array_equal(model.seen[0], cut_crop(IMAGE, transform, model.crop)[inner, inner])


def test_sigma_is_in_the_pictures_pixels() -> None:
    scale = crop_transform(box_from_landmarks(FACE), CROP)[0, 0]
    (face,) = predictor(Told(FACE, sigma=2.0)).at(IMAGE, box_from_landmarks(FACE)[None])
    np.testing.assert_allclose(face.sigma, 2.0 / scale)


def test_confidence_falls_with_each_doubt() -> None:
    assert confidence(FACE) > 0.99
    assert confidence(FACE, verdict=0.2) == pytest.approx(0.2)
    # A shape that no face has; one that is turned or larger has no other shape.
    shuffled = np.random.default_rng(0).permutation(FACE)
    assert confidence(shuffled) < 0.1
    rolled = (FACE - FACE.mean(axis=0)) @ np.array([[0.9, 0.4], [-0.4, 0.9]]) + FACE.mean(axis=0)
    assert confidence(rolled) > 0.8
    # Answers that lie outside of what was looked at.
    assert confidence(FACE + 45) < 0.5 and confidence((FACE - FACE.mean(axis=0)) * 0.3 + FACE.mean(axis=0)) < 0.5
    # The network's own word, where it gives one, in place of the shape.
    size = np.sqrt(np.prod(np.ptp(FACE, axis=0))) * crop_transform(box_from_landmarks(FACE), CROP)[0, 0]
    assert confidence(FACE, sigma=0.02 * size) > 0.99
    assert confidence(FACE, sigma=0.1 * size) == pytest.approx(0.5)
    assert confidence(FACE, sigma=0.3 * size) < 0.05
    assert confidence(np.full((68, 2), 130.0)) == 0.0


def test_a_face_that_moved_far_is_looked_at_twice_and_one_at_rest_once() -> None:
    """A detector that sees half of the way, and always puts a box a little further up: a second look at a face at rest would
    only move the box on."""
    asked: list[int] = []

    def refine(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(len(boxes))
        return np.full(len(boxes), 0.9), boxes + (truth - boxes) / 2 - [0, 3, 0, 3]

    truth = box_from_landmarks(FACE)
    side = (truth[2:] - truth[:2]).max()
    made = predictor(Told(FACE))
    made.detector = SimpleNamespace(refine=refine)  # type: ignore[assignment]
    away = truth + [0.3 * side, 0, 0.3 * side, 0]
    rest, moved = made.at(IMAGE, np.stack([truth, away]), found=False)
    assert asked == [2, 1]
    np.testing.assert_allclose(rest.box, truth - [0, 3, 0, 3])
    np.testing.assert_allclose(moved.box[[0, 2]], truth[[0, 2]] + 0.3 * side / 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"smallest_face": 11}, "between 12 and 2000"), ({"verdict": 1.0}, "below 1"), ({"max_side": 10}, "between 100")],
)
def test_settings_have_limits(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        DetectorConfig(**wrong)
