"""The scheduler, with a launcher that does nothing: what is begun when, and what comes of failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domaingap.errors import StorageError, UserError
from domaingap.study.launchers import Event
from domaingap.study.orders import Order, Outcome, orders_of
from domaingap.study.plan import Planned, alongside
from domaingap.study.workers import _Sweep
from experiments.recipes import RECIPES
from tests.study.records import run_record


class Pretending:
    """Ends what was begun first, one at a time."""

    def __init__(self, slots: int, **faults: str) -> None:
        self.slots, self.faults = slots, faults
        self.begun: list[list[str]] = []
        self.under_way: list[Order] = []
        self.stopped = False

    def start(self, orders: Sequence[Order]) -> None:
        self.begun.append([order.title for order in orders])
        self.under_way += orders
        assert len(self.under_way) <= self.slots

    def events(self, timeout: float) -> list[Event]:
        order = self.under_way.pop(0)
        if (fault := self.faults.get(order.recipe.name)) and order.upto is None:
            return [Event(order.key, "failed", message="why", fault=fault)]  # type: ignore[arg-type]
        outcome = Outcome(run_record(order.recipe.name) if order.upto is None else None, False, 1.0)
        return [Event(order.key, "progress", title="real", step=1, steps=2), Event(order.key, "done", outcome)]

    def stop(self) -> None:
        self.stopped = True


def planned(tmp_path: Path, *recipes: str, **changes: Any) -> list[Planned]:
    return [Planned(RECIPES[name], replace(RECIPES[name].settings(), runs_dir=tmp_path, **changes)) for name in recipes]


def worked(runs: list[Planned], launcher: Pretending, on_failure: Any = "continue") -> _Sweep:
    sweep = _Sweep(runs, launcher, on_failure, ())
    sweep.work(orders_of(runs, alongside(runs)))
    return sweep


def test_nobody_waits_for_what_another_one_makes(tmp_path: Path) -> None:
    launcher = Pretending(2)
    sweep = worked(planned(tmp_path, "synthetic_only", "fine_tuning", "real_only"), launcher)
    assert launcher.begun == [
        ["synthetic_only seed 0 synthetic", "real_only n_real all seed 0"],
        ["synthetic_only seed 0"],
        ["fine_tuning n_real all seed 0"],
    ]
    assert len(sweep.records) == 3 and not sweep.failures


def test_all_that_is_ready_is_begun_together(tmp_path: Path) -> None:
    """As a job array of a cluster."""
    launcher = Pretending(64)
    worked(planned(tmp_path, "synthetic_only", "data_adaptation", "mixing", "real_only"), launcher)
    assert [len(wave) for wave in launcher.begun] == [2, 2, 2], "the network and real_only; then what needs the network; ..."


def test_what_another_process_is_at_comes_last(tmp_path: Path) -> None:
    runs = planned(tmp_path, "synthetic_only", "real_only")
    launcher = Pretending(1)
    with orders_of(runs, alongside(runs))[0].marked():
        worked(runs, launcher)
    assert [title for wave in launcher.begun for title in wave] == ["real_only n_real all seed 0", "synthetic_only seed 0"]


def test_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = planned(tmp_path, "real_only", "synthetic_only", "fine_tuning", "mixing")
    sweep = worked(runs, Pretending(1, synthetic_only="other", mixing="user"))
    assert {failure.run.recipe.name for failure in sweep.failures.values()} == {"synthetic_only", "mixing"}
    assert len(sweep.end()) == 2 and (tmp_path / "failed.json").is_file()
    assert "2 of 4 runs finished" in capsys.readouterr().err
    sweep = worked(runs, Pretending(1, synthetic_only="other"), "stop")
    assert sweep.stopped and len(sweep.records) == 1
    with pytest.raises(StorageError, match="why"):
        worked(runs, Pretending(1, mixing="storage"))
    with pytest.raises(UserError, match="why"):
        worked(runs, Pretending(1, real_only="user"))
