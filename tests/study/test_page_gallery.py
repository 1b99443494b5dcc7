"""Which faces a page shows, and where points lie on their pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from domaingap.predictions import Predictions
from domaingap.study.page.gallery import (
    Answers,
    around_the_median,
    from_easy_to_hard,
    highest,
    side_by_side,
    through,
    typical_and_worst,
)
from tests.conftest import MEAN_FACE


@dataclass(frozen=True)
class Some:
    """Pictures that say which face they are of, at half the size."""

    names: NDArray[np.str_]
    side: int = 48

    @property
    def to_picture(self) -> NDArray[np.float64]:
        return np.repeat([[[0.5, 0.0, 3.0], [0.0, 0.5, -2.0]]], len(self.names), axis=0)

    def jpeg(self, i: int) -> bytes:
        return str(self.names[i]).encode()


def predictions(names: str, off: list[float]) -> Predictions:
    """Of faces of one letter each: the mean face, off to the right by so many pixels."""
    truth = np.repeat(MEAN_FACE[None], len(off), axis=0)
    moved = truth + np.array(off)[:, None, None] * np.array([1.0, 0.0])
    own = np.array(list(names))
    return Predictions(own, own, moved, truth, np.array(["x"] * len(off)))


NME = 100 / (74 - 22)
"""Of a pixel: the outer eye corners of the mean face lie at x = 22 and 74, both at y = 32."""


def shown(rows: object) -> list[tuple[str, str]]:
    """What stands in a gallery: row and pictures."""
    return [(row.label, b"".join(face.jpeg for _, face in row.faces).decode()) for row in rows]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [3]), (2, [3, 0]), (3, [3, 4, 0]), (5, [3, 1, 4, 2, 0]), (9, [3, 1, 4, 2, 0])]
)
def test_faces_from_easy_to_hard(count: int, expected: list[int]) -> None:
    assert from_easy_to_hard(np.array([9.0, 2, 5, 1, 4]), count) == expected


def test_faces_around_the_median_and_the_highest() -> None:
    errors = np.array([9.0, 2, 5, 1, 4, np.nan, 3])
    assert around_the_median(errors, 1) == [4]
    assert around_the_median(errors, 3) == [6, 4, 2]
    assert around_the_median(errors, 99) == [3, 1, 6, 4, 2, 0, 5]
    assert highest(errors, 3) == [5, 0, 2]
    assert around_the_median(errors[:0], 3) == highest(errors[:0], 3) == from_easy_to_hard(errors[:0], 3) == []


def test_points_go_to_the_picture() -> None:
    turned = np.array([[[0.0, -2.0, 1.0], [2.0, 0.0, 5.0]]])
    assert through(turned, np.array([[[3.0, 4.0]]])).tolist() == [[[-7.0, 11.0]]]


def test_the_same_faces_stand_side_by_side() -> None:
    # Other orders and other faces: what is shared are b, c, d and e; the mean errors are 2, 3, 1 and 8.
    by_strategy = {"one": predictions("abcde", [50, 1, 2, 1, 6]), "other": predictions("edcbz", [10, 1, 4, 3, 70])}
    answers = Answers.of(by_strategy, Some(np.array(list("xedcb"))))
    assert answers is not None and list(answers.names) == list("edcb")
    assert answers.nme.mean(axis=0) == pytest.approx(np.array([8, 1, 3, 2]) * NME)
    gallery = side_by_side("same", answers, "val, seed 0", count=3)
    assert shown(gallery.rows) == [
        ("The easiest of 4: d, NME 1.9% on average", "dd"),
        ("Number 3 of 4: c, NME 5.8% on average", "cc"),
        ("The hardest of 4: e, NME 15.4% on average", "ee"),
    ]
    assert [[caption for caption, _ in row.faces] for row in gallery.rows] == [["one", "other"]] * 3
    (_, one), (_, other) = gallery.rows[-1].faces
    assert one.nme == pytest.approx(6 * NME) and other.nme == pytest.approx(10 * NME)
    assert one.truth == pytest.approx(MEAN_FACE / 2 + [3, -2])
    assert other.prediction - other.truth == pytest.approx(np.repeat([[5.0, 0.0]], 68, axis=0))
    assert "3 of 4 faces (val, seed 0)" in gallery.words


def test_each_strategy_has_typical_and_worst_faces() -> None:
    by_strategy = {"one": predictions("abcde", [5, 4, 3, 2, 1]), "other": predictions("abcde", [1, 2, 30, 4, 5])}
    answers = Answers.of(by_strategy, Some(np.array(list("abcde"))))
    assert answers is not None
    gallery = typical_and_worst("own", answers, "val, seed 0", typical=1, worst=2)
    assert shown(gallery.rows) == [("one", "cab"), ("other", "dce")]
    assert [caption for caption, _ in gallery.rows[0].faces] == ["typical: c", "worst: a", "worst: b"]


def test_few_faces_stand_once_in_each_strategy() -> None:
    answers = Answers.of({"one": predictions("ab", [5, 4])}, Some(np.array(list("ab"))))
    assert answers is not None
    assert shown(typical_and_worst("own", answers, "val").rows) == [("one", "ab")]
    assert [faces for _, faces in shown(side_by_side("same", answers, "val").rows)] == ["b", "a"]


def test_nothing_shared_gives_no_answers() -> None:
    one = predictions("ab", [5, 4])
    assert Answers.of({"one": one, "other": replace(one, names=np.array(["c", "d"]))}, Some(np.array(["a"]))) is None
    assert Answers.of({}, Some(np.array(["a"]))) is None
