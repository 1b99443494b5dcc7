"""The measurements on clips themselves, on a few frames: each says what it says of a network that knows the truth, and of
one that doesn't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domaingap.data.boxes import box_from_landmarks
from domaingap.inference.predictor import Face
from domaingap.inference.smoothing import SmoothingConfig
from domaingap.inference.tracker import TrackerConfig
from tests.inference import smoothing_on_clips
from tests.inference.clips import FPS, Shown, drawn, shot, still_at, swaying
from tests.inference.follow_clips import Followed, follow, made_of, measure, read_clips


class Oracle:
    """Finds whom a clip shows; followed faces are off by a share of their size, and lost in some frames."""

    def __init__(self, frames: list[Shown], off: float = 0.0, blind: range = range(0)) -> None:
        self._truth = {id(frame.pixels): frame.truth for frame in frames}
        self._frames, self._off, self._blind = [id(frame.pixels) for frame in frames], off, blind
        self._rng = np.random.default_rng(0)

    def _faces(self, image: np.ndarray) -> list[np.ndarray]:
        hidden = self._frames.index(id(image)) in self._blind
        return [] if hidden else list(self._truth[id(image)].values())

    def find(self, image: np.ndarray) -> np.ndarray:
        return np.array([box_from_landmarks(points) for points in self._faces(image)]).reshape(-1, 4)

    def predict(self, image: np.ndarray) -> list[Face]:
        return [self._face(points, 1.0) for points in self._truth[id(image)].values()]

    def at(self, image: np.ndarray, boxes: np.ndarray, found: bool = True) -> list[Face]:
        faces = []
        for box in boxes:
            middle = (box[:2] + box[2:]) / 2
            near = min(self._faces(image), key=lambda p: float(np.linalg.norm(p.mean(axis=0) - middle)), default=None)
            faces.append(Face(box, drawn(1)[0].points, None, 0.0) if near is None else self._face(near, 1 + self._off))
        return faces

    def all(self) -> list[Face]:
        return [self._face(points, 1.0) for truth in self._truth.values() for points in truth.values()]

    def _face(self, points: np.ndarray, times: float) -> Face:
        noise = times * self._rng.normal(0, 1, points.shape)
        return Face(box_from_landmarks(points), points + noise, None, 0.99)


@pytest.fixture(scope="module")
def clips() -> dict[str, list[Shown]]:
    return {still.person: shot(45, [(still, swaying(period=40))], seed=i) for i, still in enumerate(drawn(3))}


def test_clips_made_from_several(clips: dict[str, list[Shown]]) -> None:
    cuts, two, away, covered = made_of(clips).values()
    assert [next(iter(cuts[i].truth)) for i in range(0, 90, 15)] == [
        "drawn0",
        "drawn1",
        "drawn2",
        "drawn0",
        "drawn1",
        "drawn0",
    ]
    assert two[0].pixels.shape == (360, 960, 3) and {*two[0].truth} == {"drawn0", "drawn1"}
    np.testing.assert_array_equal(two[3].pixels[:, 480:], clips["drawn1"][3].pixels)
    np.testing.assert_allclose(two[3].truth["drawn1"] - [480, 0], clips["drawn1"][3].truth["drawn1"])
    there = [bool(frame.truth) for frame in away]
    assert there[0] and there[-1] and not any(there[15:30])
    for frame in away:
        assert all(points.max() < 480 for points in frame.truth.values())
    assert [bool(frame.truth) for frame in covered] == [not 15 <= i < 22 for i in range(45)]


@pytest.mark.parametrize(("off", "met"), [(0.0, True), (0.3, False)])
def test_following_is_measured(clips: dict[str, list[Shown]], off: float, met: bool) -> None:
    said: list[str] = []
    frames = clips["drawn0"]
    oracle: Any = Oracle(frames, off)
    assert measure({"a": frames}, oracle, TrackerConfig(), said.append) == met
    assert ("NOT MET: NME" in said[-1]) != met
    found = follow(frames, oracle, TrackerConfig())
    assert found.nme[0] / found.nme[1] == pytest.approx(1 + off, rel=0.05)
    assert (found.both, found.lost, found.missed, found.numbers) == (45, 0, 0, {"drawn0": {1}})


def test_a_lost_face_and_another_number_are_seen(clips: dict[str, list[Shown]]) -> None:
    frames = clips["drawn0"]
    lost = follow(frames, Oracle(frames, blind=range(12, 20)), TrackerConfig(every=6))  # type: ignore[arg-type]
    assert 8 <= lost.lost < 8 + 2 and lost.missed == 0 and lost.problems(6) == ["lost"] and lost.problems(9) == []
    fine = Followed((1.0, 1.0), 10, 0, 0, {"a": {1}, "b": {2}}, 1, 10, 50.0)
    assert fine.problems(5) == []
    for numbers in ({"a": {1, 3}, "b": {2}}, {"a": {1}, "b": {1}}, {"a": {1}, "b": set()}):
        other = Followed((1.0, 1.0), 10, 0, 0, numbers, 1, 10, 50.0)  # type: ignore[arg-type]
        assert other.problems(5) == ["numbers"]


def test_lag_and_jitter_are_measured() -> None:
    """Points that come so many frames late are found to; and filtered noise on a face at rest is less."""
    t = np.arange(60)
    way = np.stack([30 * np.sin(t / 9), 20 * np.cos(t / 7)], axis=1)
    truth = drawn(1)[0].points + way[:, None]
    late = drawn(1)[0].points + np.stack([30 * np.sin((t - 1.3) / 9), 20 * np.cos((t - 1.3) / 7)], axis=1)[:, None]
    rng = np.random.default_rng(0)
    assert smoothing_on_clips.lag(truth + [4, -2], truth) == pytest.approx(0, abs=0.03)
    assert smoothing_on_clips.lag(late + rng.normal(0, 0.5, late.shape), truth) == pytest.approx(1.3, abs=0.06)


@pytest.mark.parametrize(("settings", "met"), [(SmoothingConfig(), True), (SmoothingConfig(0.05, 0), False)])
def test_smoothing_is_measured(settings: SmoothingConfig, met: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = shot(45, [(drawn(1)[0], swaying(period=40))])
    said: list[str] = []

    def still(frame: Shown, n: int, noise: float) -> list[Shown]:
        return [Shown(frame.pixels.copy(), frame.truth) for _ in range(n)]

    monkeypatch.setattr(smoothing_on_clips, "still", still)
    monkeypatch.setattr(smoothing_on_clips, "answers", lambda some, predictor: Oracle(list(some)).all())
    assert smoothing_on_clips.measure({"a": frames}, None, settings, 3.0, said.append) == met  # type: ignore[arg-type]
    assert ("demands met" in said[-1]) == met


def test_noise_is_fresh_in_each_frame() -> None:
    frame = shot(1, [(drawn(1)[0], still_at())], noise=0)[0]
    noisy = smoothing_on_clips.still(frame, 4, 3.0)
    apart = noisy[0].pixels.astype(float) - noisy[1].pixels
    assert apart.std() == pytest.approx(3 * 2**0.5, rel=0.05) and all(f.truth is frame.truth for f in noisy)


def test_the_sample_clips_are_read(sample_data: Path) -> None:
    clips = read_clips(sample_data, 5)
    assert [*clips] == ["223", "224", "405", "406"] and all(len(frames) == 5 for frames in clips.values())
    assert clips["223"][0].truth["223"].shape == (68, 2) and FPS == 25
