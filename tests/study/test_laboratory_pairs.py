"""What adapters do to pairs of labels, on points worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from domaingap.study.laboratory import Check, checks_table
from domaingap.study.laboratory_pairs import Pairs, PairsRow, removed
from tests.conftest import MEAN_FACE


def shifted(points: np.ndarray, which: slice, by: tuple[float, float]) -> np.ndarray:
    other = points.copy()
    other[:, which] += by
    return other


def test_what_an_adapter_removes() -> None:
    exact = np.stack([MEAN_FACE, MEAN_FACE + 10, MEAN_FACE * 2])
    eyes = np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45])
    jaw = slice(0, 17)
    given = shifted(exact, jaw, (0, 4))
    half = removed(given, [shifted(exact, jaw, (0, 1))], exact)
    assert half.distance == pytest.approx((0.75, 0.75, 0.75))
    assert half.squared == pytest.approx(1 - 1 / 16) and half.mean == pytest.approx(0.75)
    assert half.means == [half.mean] and half.points == (0, 17), "17 points are 4 px away, and a quarter of it is left"
    # The third face is twice as large, so the same pixels are half as much of it.
    jaw_before = 100 * 4 / eyes * (1 + 1 + 0.5) / 3
    assert half.nme["jaw"] == pytest.approx((jaw_before, jaw_before / 4))
    assert half.nme["eyes"] == (0, 0) and half.nme["all"][0] == pytest.approx(jaw_before * 17 / 68)
    # Two adapters: their mean, 4 to 1 and 4 to 3.
    assert removed(given, [shifted(exact, jaw, (0, 1)), shifted(exact, jaw, (0, 3))], exact).distance.mean == pytest.approx(
        0.5
    )
    assert removed(given, [shifted(exact, jaw, (0, 8))], exact).distance.mean == pytest.approx(-1), "made worse"
    # Left and right by turns: as large a distance for each face, but none on the mean.
    turns = np.stack([shifted(exact[:1], jaw, (0, 2))[0], shifted(exact[:1], jaw, (0, -2))[0]])
    noise = removed(shifted(exact[[0, 0]], jaw, (0, 4)), [turns], exact[[0, 0]])
    assert noise.distance.mean == pytest.approx(0.5) and noise.mean == pytest.approx(1)


def test_an_adapter_that_removes_too_little_is_a_miss() -> None:
    exact = np.stack([MEAN_FACE, MEAN_FACE + 10])
    given = shifted(exact, slice(0, 17), (0, 4))
    rows = [
        PairsRow("fitted on S labels", "shift", removed(given, [shifted(exact, slice(0, 17), (0, left))], exact), judged)
        for left, judged in ((0.5, True), (1.0, True), (1.0, False))
    ]
    checks = Pairs("label_gap 1", 100, 2, rows).checks()
    assert [check.verdict for check in checks] == ["passed", "MISSED", "reported"]
    assert checks[1].text == "75% [75%, 75%]" and checks[1].over == "2 faces" and "94% of its square" in checks[1].note
    # Of a network's adapter the mean displacement is judged, over seeds.
    moved = [shifted(exact, slice(0, 17), (0, left)) for left in (0.5, 1.0)]
    both = removed(given, moved, exact)
    assert both.means == pytest.approx([0.875, 0.75]) and both.points == (17, 17)
    (check,) = Pairs("label_gap 1", 100, 2, [PairsRow("fitted on predictions", "modes", both, True, (3, 5))]).checks()
    assert check.verdict == "passed" and check.by_seed == pytest.approx({3: 0.875, 5: 0.75}) and check.over == "2 seeds"
    assert "so at 17 of 17 far points" in check.note
    worse = removed(given, moved[1:], exact)
    (check,) = Pairs("label_gap 1", 100, 2, [PairsRow("fitted on predictions", "modes", worse, True, (5,))]).checks()
    assert check.verdict == "MISSED"
    table = checks_table([*checks, Check("c", "a", None, False, "", "not measured")], short=True)
    assert table.notes[0].startswith("1 passed, 1 MISSED, 1 not measured; a short study")
    assert table.cells()[1][4] == "MISSED"
