"""What a page says first: the gap, what closes how much of it, and at what price in real images; with worked-out figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from domaingap.study.page.answer import Answer
from domaingap.study.page.study import Study
from domaingap.study.record import RunRecord
from tests.study.records import STRATEGIES, run_record, seeds
from tests.study.test_saved import real_only

SPREAD = (-0.1, 0.0, 0.1)


def said(records: Sequence[RunRecord], on: str = "common") -> Answer:
    (one,) = Study(Path("runs"), records, [], on, STRATEGIES).answers
    return one


def around(recipe: str, nme: float, spread: Sequence[float] = SPREAD, **more: object) -> list[RunRecord]:
    return seeds(recipe, [nme + d for d in spread], **more)  # type: ignore[arg-type]


def study(*, synthetic: float = 12.0, mixing: float = 6.0) -> list[RunRecord]:
    """Real data alone reaches 8, 6 and 5 with 10, 100 and 1000 images."""
    return [
        *real_only(), *around("synthetic_only", synthetic, n_real=None),
        *around("mixing", mixing, n_real=1000, alpha=0.5), *around("mixing", 6.0, n_real=10, alpha=0.5),
    ]  # fmt: skip


def test_the_gap_and_what_closes_it() -> None:
    found = said(study())
    assert found.floor is not None and found.ceiling is not None and found.gap is not None
    assert found.ceiling.budget.n == 1000 and found.gap.interval.mean == pytest.approx(7)
    (way,) = found.ways
    assert way.closed == pytest.approx(6 / 7) and way.name == "mixing α=0.5"
    gap, closed = found.sentences()
    assert gap.startswith(
        "Trained on synthetic faces alone a network errs by 12.00% on 11 faces of 300-W Common, trained on"
    )
    assert "trained on 1,000 real faces by 5.00%" in gap
    assert gap.endswith("a gap of 7.00 points [7.00, 7.00].")
    assert "gets to 6.00%, which closes 86% of the gap" in closed and "1.00 points worse than real faces alone" in closed
    assert [way.group.budget.n for way in found.few] == [10, 10]


def test_the_best_on_validation_is_named_and_not_the_best_on_the_test_set() -> None:
    lucky = [run_record("fine_tuning", s, {"common": 4.0 + s / 10, "val": 9.0}, n_real=1000) for s in range(3)]
    solid = [run_record("mixing", s, {"common": 4.5 + s / 10, "val": 5.0}, n_real=1000, alpha=0.5) for s in range(3)]
    found = said([*study()[:12], *lucky, *solid])
    assert [way.group.first.recipe for way in found.ways] == ["mixing", "fine_tuning"]
    assert "mixing α=0.5, the best on validation" in found.sentences()[1]


def test_a_network_that_was_trained_further_is_measured_by_real_data_that_was() -> None:
    longer = around("real_only", 4.0, n_real=1000, settings={"fit.steps": 5}, answering=5)
    tuned = around("fine_tuning", 4.5, (0.1, 0.0, -0.1), n_real=1000, answering=5)
    found = said([*real_only(), *around("synthetic_only", 12.0, n_real=None), *longer, *tuned])
    (way,) = found.ways
    assert way.closed == pytest.approx(7.5 / 8), "of 12 to 4, not of 12 to 5"
    assert found.sentences()[1].endswith("worse than real faces alone at 5 steps.")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (real_only(), "isn't known: no run of synthetic faces alone"),
        (around("synthetic_only", 12.0, n_real=None), "isn't known: no run of real faces alone"),
        (study(synthetic=4.0), "synthetic faces alone are the better ones here, by 1.00 points [1.00, 1.00]"),
        ([*real_only(), *around("synthetic_only", 5.05, (0.1, 0.0, -0.1), n_real=None)], "too small to be told from none"),
        (
            [*real_only(spread=(0.0,)), *(run_record("synthetic_only", s, 12.0, n_real=None) for s in (7, 8))],
            "share no seed",
        ),
    ],
)
def test_what_is_not_known_or_not_so_is_said(records: list[RunRecord], words: str) -> None:
    found = said(records)
    assert words in found.sentences()[0]
    assert all(way.closed is None or way.closed > 0 for way in found.ways)
    assert "of the gap" not in "".join(found.sentences()[1:])


@pytest.mark.parametrize(
    ("nme", "words"),
    [
        (6.0, "With 10 real faces mixing α=0.5 is as good as 100 real faces alone [100, 100]."),
        (4.0, "With 10 real faces mixing α=0.5 is better than real faces alone with 1,000, the most that were tried."),
        (9.0, "With 10 real faces mixing α=0.5 is no better than real faces alone with 10, the fewest that were tried."),
    ],
)
def test_the_price(nme: float, words: str) -> None:
    (price,) = said([*real_only(), *around("mixing", nme, n_real=10, alpha=0.5)]).price()
    assert price == words if nme != 6.0 else price.startswith("With 10 real faces mixing α=0.5 is as good as 100 real faces")


def test_cautions() -> None:
    few = " ".join(said(study()).cautions())
    assert "3 seeds" in few and "needs 6" in few and "a part of the published set" in few
    spread = (-0.3, -0.2, -0.1, 0.1, 0.2, 0.3)
    many = [*real_only(spread=spread), *around("synthetic_only", 12.0, spread, n_real=None)]
    assert "seeds" not in " ".join(said(many).cautions())
    assert "flatter" in " ".join(said(study(), on="val").cautions())


def test_the_ends_are_picked_by_one_rule() -> None:
    picked = [*real_only(), *around("synthetic_only", 12.0, n_real=None)]
    others = [
        *around("synthetic_only", 11.0, n_real=None, selection="source_val"),
        *real_only({10: 7.0}, selection="budget"),
    ]
    found = said([*picked, *others])
    assert found.floor is not None and found.floor.first.selection == "real_val"
    assert found.ceiling is not None and found.ceiling.first.selection == "real_val"
