"""People of a clip keep their numbers, with a network and a detector that know the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from domaingap.data.boxes import box_from_landmarks, iou
from domaingap.inference.predictor import Face
from domaingap.inference.smoothing import SmoothingConfig
from domaingap.inference.tracker import Tracker, TrackerConfig
from tests.inference.clips import FPS, Shown, Still, crossing, drawn, photographs, shot, still_at, swaying


class Knowing:
    """Finds who is there, a little off, and says so; elsewhere it answers a face, as networks do, and isn't sure."""

    def __init__(self, noise: float = 1.5) -> None:
        self.truth: dict[str, np.ndarray] = {}
        self.asked, self.looked_at, self.blind = 0, 0, False
        self._rng, self._noise = np.random.default_rng(3), noise

    def find(self, image: np.ndarray) -> np.ndarray:
        self.asked += 1
        boxes = [box_from_landmarks(points) + self._rng.normal(0, 2, 4) for points in self.truth.values()]
        return np.array([] if self.blind else boxes).reshape(-1, 4)

    def at(self, image: np.ndarray, boxes: np.ndarray, found: bool = True) -> list[Face]:
        self.looked_at += len(boxes)
        faces = []
        for box in boxes:
            near = [(iou(box, box_from_landmarks(points)), points) for points in self.truth.values()]
            overlap, points = max(near, key=lambda pair: pair[0], default=(0.0, np.zeros((68, 2))))
            if overlap < 0.3:
                x, y = (box[:2] + box[2:]) / 2
                faces.append(Face(box, drawn(1)[0].points * 0.5 + (x - 64, y - 64), None, 0.1, found=found))
                continue
            answer = points + self._rng.normal(0, self._noise, (68, 2))
            faces.append(Face(box_from_landmarks(answer), answer, None, 0.97, found=found))
        return faces


def followed(
    frames: Sequence[Shown], every: int = 25, knowing: Knowing | None = None, fps: float = FPS, **options: Any
) -> tuple[list[dict[str, int]], Tracker, Knowing]:
    """The number of each person in each frame, by where the faces are."""
    knowing = knowing or Knowing()
    tracker = Tracker(knowing, TrackerConfig(every=every), **options)  # type: ignore[arg-type]
    numbers = []
    for i, frame in enumerate(frames):
        knowing.truth = frame.truth
        faces = tracker(frame.pixels, i / fps)
        by_person: dict[str, int] = {}
        for face in faces:
            distances = {
                person: np.abs(face.landmarks - points).mean() / face.size for person, points in frame.truth.items()
            }
            person = min(distances, key=lambda name: distances[name], default="")
            assert person and distances[person] < 0.1, f"frame {i}: a face where nobody is"
            assert face.track is not None and person not in by_person, f"frame {i}: {person} twice"
            by_person[person] = face.track
        numbers.append(by_person)
    return numbers, tracker, knowing


def of(numbers: Sequence[dict[str, int]], person: str) -> list[int]:
    return [by_person[person] for by_person in numbers if person in by_person]


@pytest.fixture(params=["drawn", "photographs"])
def people(request: pytest.FixtureRequest) -> list[Still]:
    if request.param == "drawn":
        return drawn(4)
    return photographs(request.getfixturevalue("sample_data"), 4)


def test_two_people_keep_their_numbers_and_the_detector_rests(people: list[Still]) -> None:
    a, b = people[:2]
    frames = shot(76, [(a, swaying(140, 180, 100)), (b, swaying(340, 180, 100, period=34))])
    numbers, tracker, knowing = followed(frames)
    assert [len(by_person) for by_person in numbers] == [2] * 76
    assert len(set(of(numbers, a.person))) == len(set(of(numbers, b.person))) == 1
    assert {*of(numbers, a.person), *of(numbers, b.person)} == {1, 2}
    assert knowing.asked == 4, "in frames 0, 25, 50 and 75"
    assert (tracker.tally.people, tracker.tally.lost, tracker.tally.cuts) == (2, 0, 0)
    assert tracker.tally.faces == 152


def test_who_leaves_and_comes_back_has_the_same_number(people: list[Still]) -> None:
    a, b = people[:2]
    frames = shot(90, [(a, crossing(9, 240, turn=42, size=110)), (b, still_at(110, 180, 100))])
    assert any(a.person not in frame.truth for frame in frames)
    numbers, tracker, _ = followed(frames)
    assert set(of(numbers, a.person)) != set(of(numbers, b.person)) and tracker.tally.people == 2
    assert len(set(of(numbers, a.person))) == len(set(of(numbers, b.person))) == 1
    assert of(numbers, b.person) == of(numbers, b.person)[:1] * 90, "who stays is never lost"
    back = next(i for i in range(50, 90) if a.person in frames[i].truth)
    assert any(a.person in by_person for by_person in numbers[back : back + 6]), "found within a fifth of the interval"


def test_shots_cut_and_cut_back(people: list[Still]) -> None:
    a, b, c = people[:3]
    first = [(a, swaying(180)), (b, still_at(380, 180, 90))]
    frames = [*shot(30, first), *shot(20, [(c, swaying(200))], seed=1), *shot(30, first)]
    numbers, tracker, _ = followed(frames)
    assert tracker.tally.cuts == 2
    # Nobody waits for the next search, and whoever was seen before is known.
    assert [len(by_person) for by_person in numbers] == [2] * 30 + [1] * 20 + [2] * 30
    assert [len(set(of(numbers, still.person))) for still in (a, b, c)] == [1, 1, 1]
    assert tracker.tally.people == 3


def test_what_changed_while_frames_were_dropped_is_no_cut(people: list[Still]) -> None:
    """A frame a second of somebody who is shown live in front of what moves: the detector is asked, no cut is counted."""
    a, b = people[:2]
    frames = [frame for k in range(4) for frame in shot(1, [((a, b)[k % 2], still_at(220, 180))], seed=k)]
    for fps, cuts in ((1, 0), (25, 3)):
        numbers, tracker, _ = followed(frames, fps=fps)
        assert tracker.tally.cuts == cuts and tracker.tally.detections == 4
        assert [len(by_person) for by_person in numbers] == [1] * 4 and tracker.tally.people == 2


def test_another_person_in_the_same_place_has_another_number(people: list[Still]) -> None:
    # The background stays, so that this is no cut of the shot.
    a, b = people[2:4]
    numbers, tracker, _ = followed([*shot(30, [(a, still_at(size=90))]), *shot(30, [(b, still_at(size=90))])])
    assert tracker.tally.people == 2
    assert of(numbers, a.person) == [1] * 30 and of(numbers, b.person) == [2] * 30


def test_a_covered_face_is_lost_and_found_again(people: list[Still]) -> None:
    frames = shot(60, [(people[0], swaying())], covered=range(20, 32))
    numbers, tracker, knowing = followed(frames)
    shown = [i for i, by_person in enumerate(numbers) if by_person]
    assert shown[:20] == list(range(20)) and not set(shown) & set(range(20, 32))
    assert shown[20] <= 32 + TrackerConfig().hurry and len(shown) == 20 + 60 - shown[20]
    assert set(of(numbers, people[0].person)) == {1} and tracker.tally.lost == 1
    assert knowing.asked <= 6, "not in every frame without a face"


def test_who_enters_is_found_within_the_interval(people: list[Still]) -> None:
    a, b = people[:2]
    frames = [
        *shot(10, [(a, still_at(130, 180, 100))]),
        *shot(40, [(a, still_at(130, 180, 100)), (b, still_at(350, 180, 90))]),
    ]
    for every in (25, 7, 1):
        numbers, _, _ = followed(frames, every)
        entered = next(i for i, by_person in enumerate(numbers) if b.person in by_person)
        assert 10 <= entered <= -(-10 // every) * every
        assert set(of(numbers, a.person)) == {1}


def test_a_sure_face_outlasts_a_detector_that_misses_it() -> None:
    frames = shot(60, [(drawn(1)[0], swaying())])
    knowing = Knowing()
    _, tracker, _ = followed(frames[:10], knowing=knowing)
    knowing.blind = True
    for i, frame in enumerate(frames[10:], start=10):
        knowing.truth = frame.truth
        assert [face.track for face in tracker(frame.pixels, i / FPS)] == [1]
    assert knowing.asked == 3


def test_smoothing_changes_the_answer_and_not_what_is_followed() -> None:
    frames = shot(40, [(drawn(1)[0], still_at())])
    jitters = []
    for smoothing in (None, SmoothingConfig()):
        knowing = Knowing()
        tracker = Tracker(knowing, TrackerConfig(), smoothing)  # type: ignore[arg-type]
        answers = []
        for i, frame in enumerate(frames):
            knowing.truth = frame.truth
            answers.append(tracker(frame.pixels, i / FPS)[0].landmarks)
        jitters.append(np.abs(np.diff(np.stack(answers), 2, axis=0)).mean())
    assert jitters[1] < 0.5 * jitters[0]


@pytest.mark.parametrize("shade", [0, 255])
def test_frames_of_one_colour_hold_nobody_and_are_no_cuts(shade: int) -> None:
    plain = np.full((360, 480, 3), shade, np.uint8)
    knowing = Knowing()
    tracker = Tracker(knowing)  # type: ignore[arg-type]
    assert [tracker(plain, i / FPS) for i in range(30)] == [[]] * 30
    assert tracker.tally.cuts == 0 and knowing.asked == 6 and knowing.looked_at == 0


class Flickering(Knowing):
    """The detector takes something for a face in every other search, and the network isn't sure of it."""

    flicker = np.array([400.0, 20.0, 460.0, 90.0])

    def find(self, image: np.ndarray) -> np.ndarray:
        boxes = super().find(image)
        return np.vstack([boxes, self.flicker]) if self.asked % 2 else boxes

    def at(self, image: np.ndarray, boxes: np.ndarray, found: bool = True) -> list[Face]:
        known = super().at(image, boxes, found)
        if found or self._rng.random() > 0.5:
            return known
        return [replace(face, confidence=0.3) if iou(face.box, self.flicker) > 0.3 else face for face in known]


def test_what_flickers_does_not_cost_a_search_a_frame() -> None:
    still = drawn(2)[0]
    frames = shot(120, [(still, swaying(180))])
    knowing = Flickering()
    tracker = Tracker(knowing)  # type: ignore[arg-type]
    for i, frame in enumerate(frames):
        knowing.truth = frame.truth | {"no face": still.points * 0.25 + [400.0, 20.0]}
        faces = tracker(frame.pixels, i / FPS)
        assert 1 in {face.track for face in faces}, "who is there isn't lost for it"
    assert tracker.tally.detections <= 120 / (2 * TrackerConfig().hurry) + 2


def test_a_face_that_only_the_whole_detector_is_sure_of_is_kept() -> None:
    """Its last stage alone is unsure in every frame: the detector is asked now and then, and the face is in all."""
    frames = shot(80, [(drawn(1)[0], swaying(reach=10))])

    class Unsure(Knowing):
        def at(self, image: np.ndarray, boxes: np.ndarray, found: bool = True) -> list[Face]:
            return [replace(face, confidence=0.2) for face in super().at(image, boxes, found)]

    knowing = Unsure()
    numbers, _, _ = followed(frames, knowing=knowing)
    assert of(numbers, "drawn0") == [1] * 80
    assert knowing.asked <= 80 / TrackerConfig().hurry + 1
