"""The One Euro filter: by hand, and what it does to jitter and to lag."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domaingap.errors import UserError
from domaingap.inference.smoothing import OneEuro, SmoothingConfig

FPS = 25


def smoothed(points: np.ndarray, size: float, settings: SmoothingConfig | None = None) -> np.ndarray:
    filter = OneEuro(settings or SmoothingConfig())
    return np.stack([filter(frame, size, i / FPS) for i, frame in enumerate(points)])


def test_three_steps_by_hand() -> None:
    def share(cutoff: float, step: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * cutoff) / step)

    # Algorithm 1 of the paper for one coordinate, written out anew.
    settings, size, values = SmoothingConfig(min_cutoff=1.5, beta=2.0, d_cutoff=0.8), 4.0, [10.0, 10.8, 11.1, 10.2]
    kept, speed, expected = values[0], 0.0, [values[0]]
    for value in values[1:]:
        derivative = (value - kept) / 0.04 / size
        speed = share(0.8, 0.04) * derivative + (1 - share(0.8, 0.04)) * speed
        a = share(1.5 + 2.0 * abs(speed), 0.04)
        kept = a * value + (1 - a) * kept
        expected.append(kept)
    points = np.array([[[value, 5.0]] for value in values])
    found = smoothed(points, size, settings)
    np.testing.assert_allclose(found[:, 0, 0], expected, atol=1e-12)
    np.testing.assert_allclose(found[:, 0, 1], 5.0)


def test_its_settings_fit_faces_of_any_size() -> None:
    points = np.random.default_rng(0).normal(0, 1, (20, 68, 2)).cumsum(axis=0)
    np.testing.assert_allclose(smoothed(7 * points, 7 * 3.0), 7 * smoothed(points, 3.0), rtol=1e-9)


def test_jitter_of_still_faces_halves_at_less_than_a_frame_of_lag(sample_data: Path) -> None:
    """On the clips, whose motion is known, with the noise that a sensor makes of landmarks: 0.5% and 1.2% of the face."""
    rng = np.random.default_rng(1)
    for clip in sorted((sample_data / "300vw").iterdir()):
        texts = [path.read_text() for path in sorted((clip / "annot").glob("*.pts"))]
        truth = np.array([text.split("{")[1].split("}")[0].split() for text in texts], dtype=float).reshape(
            len(texts), 68, 2
        )
        size = float(np.sqrt(np.prod(np.ptp(truth[0], axis=0))))
        for share in (0.005, 0.012):
            noise = rng.normal(0, share * size, truth.shape) + rng.normal(0, 0.5 * share * size, (len(truth), 1, 2))
            still = np.repeat(truth[:1], len(truth), axis=0)
            before, after = (_jitter(points - still) for points in (still + noise, smoothed(still + noise, size)))
            assert after < 0.5 * before
            assert _lag(smoothed(truth + noise, size), truth) < 1


def _jitter(error: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(error, 2, axis=0), axis=-1).mean())


def _lag(points: np.ndarray, truth: np.ndarray) -> float:
    """By how many frames the truth, delayed, is closest."""
    frames = np.arange(10, len(truth))

    def error(lag: float) -> float:
        low = np.floor(frames - lag).astype(int)
        part = (frames - lag - low)[:, None, None]
        delayed = (1 - part) * truth[low] + part * truth[np.minimum(low + 1, len(truth) - 1)]
        return float(((points[frames] - delayed) ** 2).mean())

    return min(np.arange(0, 5, 0.05).tolist(), key=error)


def test_times_that_stand_still_start_again() -> None:
    filter = OneEuro()
    filter(np.zeros((68, 2)), 10.0, 1.0)
    jumped = np.full((68, 2), 50.0)
    np.testing.assert_array_equal(filter(jumped, 10.0, 1.0), jumped)
    np.testing.assert_array_equal(filter(jumped, 10.0, 0.5), jumped)


@pytest.mark.parametrize("wrong", [{"min_cutoff": 0}, {"beta": -1}, {"d_cutoff": float("nan")}])
def test_settings_have_limits(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"smoothing.{next(iter(wrong))}"):
        SmoothingConfig(**wrong)
