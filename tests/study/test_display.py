"""How far a sweep says it is, and how long it says that it takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from domaingap import progress
from domaingap.study.launchers import Event, display
from domaingap.study.launchers.display import Display


class FakeOrder(NamedTuple):
    key: str
    steps: int
    title: str = "a run"


class Clock:
    """Tells the minutes that it is set to."""

    minutes = 0.0

    def monotonic(self) -> float:
        return 60 * self.minutes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(display, "time", made)
    return made


def at(key: str, reached: float, title: str = "real", step: float = 0, steps: float = 0) -> Event:
    return Event(key, "progress", title=title, step=step, steps=steps, reached=reached)


def of(*steps: int) -> Display:
    orders: Any = [FakeOrder(f"{i}", n) for i, n in enumerate(steps)]
    return Display(orders, len(orders), slots=2)


def test_only_optimiser_steps_tell_the_time_left(clock: Clock) -> None:
    """Cutting the faces is over before the training has begun, which would be half of all."""
    shown = of(1800, 1800, 1800, 1800)
    shown.tell(at("0", 0, "crops", 900, 907))
    shown.tell(at("1", 0, "crops", 907, 907))
    clock.minutes = 1
    assert shown.left() == ""
    for key in "01":
        shown.tell(at(key, 1))
    clock.minutes = 10
    for key in "01":
        shown.tell(at(key, 181))
        shown.tell(at(key, 181, "faces looked at", 300, 300))
    # 360 steps in 10 minutes; 7,200 less 362 are left.
    assert shown.left() == f"; about {round((7200 - 362) / 36)} min left"
    shown.tell(Event("0", "done"))
    shown.tell(Event("1", "done"))
    clock.minutes = 100
    assert shown.left() == "; about 100 min left"


def test_what_a_training_goes_on_from_was_not_taken_now(clock: Clock) -> None:
    shown = of(1000)
    shown.tell(at("0", 800))
    clock.minutes = 5
    assert shown.left() == ""
    shown.tell(at("0", 900))
    assert shown.left() == "; about 5 min left"


def test_what_failed_takes_no_more_time(clock: Clock) -> None:
    shown = of(100, 100)
    shown.tell(at("0", 1))
    shown.tell(at("0", 51))
    shown.tell(Event("1", "failed"))
    clock.minutes = 50
    assert shown.left() == "; about 49 min left"


def test_steps_of_an_order_without_any_do_not_count(clock: Clock) -> None:
    shown = of(0, 100)
    shown.tell(at("0", 0, "adapter", 5, 10))
    shown.tell(at("0", 300))
    clock.minutes = 1
    assert shown.left() == ""


def test_networks_that_follow_each_other_add_up() -> None:
    heard: list[tuple[str, float, float]] = []
    with progress.heard(lambda title, step, steps, reached: heard.append((title, step, reached))):
        list(progress.track(range(2), 2, "crops"))
        for title, steps in (("synthetic", (40, 80)), ("real", (20,))):
            made = progress.bar(training=True)
            task = made.add_task(title, total=100, note="")
            for step in steps:
                made.update(task, completed=step)
            list(progress.track(range(1), 1, "scores"))
    assert heard == [
        ("crops", 1, 0), ("crops", 2, 0), ("synthetic", 40, 40), ("synthetic", 80, 80), ("scores", 1, 80),
        ("real", 20, 100), ("scores", 1, 100),
    ]  # fmt: skip
