"""How long a plan says that training takes: measured in bounded time, on whole batches where they fit into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domaingap.config import CropConfig, FitConfig, ModelConfig
from domaingap.models.regressor import LandmarkRegressor
from domaingap.study import estimate
from domaingap.study.orders import Order, orders_of
from domaingap.study.plan import Planned, alongside
from experiments.recipes import RECIPES

WHOLE = 20
PARTS = [estimate.PART, estimate.PART]


class Machine:
    """Takes a second for each image, as a clock of its own says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.batches = 0.0, []  # type: float, list[int]
        plain = LandmarkRegressor.batch_loss

        def batch_loss(network: LandmarkRegressor, batch: dict[str, Any]) -> Any:
            self.batches.append(len(batch["image"]))
            self.now += len(batch["image"])
            return plain(network, batch)

        monkeypatch.setattr(LandmarkRegressor, "batch_loss", batch_loss)
        monkeypatch.setattr(estimate.time, "perf_counter", lambda: self.now)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def orders(**changes: list[Any]) -> list[Order]:
    """Of runs of 10 steps on whole batches of 20 that differ in their networks."""
    runs = [
        Planned(RECIPES["real_only"], replace(
            RECIPES["real_only"].settings(), crop=CropConfig(size=size),
            fit=FitConfig(steps=10, batch_size=WHOLE, precision="32"),
            model=ModelConfig(backbone="test_resnet", loss=loss),
        ))
        for size in changes.get("size", [32]) for loss in changes.get("loss", ["rmse"])
    ]  # fmt: skip
    return orders_of(runs, alongside(runs))


def test_whole_batches_where_they_fit(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 1000.0)
    assert estimate.seconds_of(orders()) == 10 * WHOLE
    assert machine.batches == [*PARTS, *[WHOLE] * estimate.STEPS]


def test_as_many_as_fit_into_the_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", sum(PARTS) + 2.5 * WHOLE)
    assert estimate.seconds_of(orders()) == 10 * WHOLE
    assert machine.batches == [*PARTS, WHOLE, WHOLE]


def test_in_proportion_where_none_fits(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 1.0)
    assert estimate.seconds_of(orders()) == pytest.approx(10 * WHOLE)
    assert machine.batches == PARTS, "a slow machine's plan would take minutes"


def test_the_kinds_of_networks_share_the_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 2 * (sum(PARTS) + 1.5 * WHOLE))
    assert estimate.seconds_of(orders(size=[32, 64])) == 2 * 10 * WHOLE
    assert machine.batches == 2 * [*PARTS, WHOLE]


def test_losses_are_measured_as_one_kind(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 1.0)
    assert estimate.seconds_of(orders(loss=["rmse", "wing", "l1"])) == pytest.approx(3 * 10 * WHOLE)
    assert machine.batches == PARTS


def test_what_needs_no_training_takes_no_time(machine: Machine) -> None:
    assert estimate.seconds_of([]) == 0 and machine.batches == []
