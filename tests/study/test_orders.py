"""Runs → orders: what is shared comes first, once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

from domaingap.config import LabelsAdapterConfig
from domaingap.study.orders import Order, orders_of
from domaingap.study.plan import Planned, alongside
from experiments.recipes import RECIPES


def run(recipe: str, **changes: Any) -> Planned:
    return Planned(RECIPES[recipe], replace(RECIPES[recipe].settings(), **changes))


def ordered(*runs: Planned, **options: Any) -> list[Order]:
    return orders_of(runs, alongside(runs), **options)


def test_a_run_alone_is_one_order() -> None:
    (order,) = ordered(run("mixing"))
    assert order.upto is None and not order.needs and order.steps == 2 * 3200


def test_what_two_runs_share_is_made_before_both() -> None:
    runs = run("synthetic_only"), run("fine_tuning", n_real=50), run("real_only", n_real=50)
    shared, *rest = ordered(*runs)
    assert shared.upto == 1 and shared.steps == 3200 and not shared.settings.score_test
    assert [order.key for order in rest] == [run.key for run in runs]
    assert [order.needs for order in rest] == [{shared.key}, {shared.key}, frozenset()]
    assert [order.steps for order in rest] == [0, 800, 3200]


def test_a_network_and_an_adapter_of_the_same_runs_are_one_order() -> None:
    shared, *rest = ordered(run("mixing", alpha=0.25), run("mixing", alpha=0.5))
    assert shared.upto == 2 and shared.steps == 3200
    assert {order.needs for order in rest} == {frozenset({shared.key})}


def test_an_adapter_of_some_runs_comes_after_the_network_of_all() -> None:
    """That for predictions is another one than that for labels, unless these are adapted as predictions are."""
    plain = LabelsAdapterConfig(labels="plain")
    runs = run("synthetic_only"), run("label_adaptation"), run("mixing"), run("data_adaptation")
    network, *orders = ordered(*runs)
    assert network.upto == 1 and [order.upto for order in orders] == [None, None, 2, None, None]
    bare, alone, adapter, *rest = orders
    assert [bare.key, alone.key] == [r.key for r in runs[:2]] and alone.needs == adapter.needs == {network.key}
    assert all(order.needs == {network.key, adapter.key} for order in rest)
    of_labels = (run(recipe, adapter=plain) for recipe in ("mixing", "data_adaptation"))
    runs = run("synthetic_only"), run("label_adaptation"), *of_labels
    network, bare, adapter, *rest = ordered(*runs)
    assert (network.upto, adapter.upto) == (1, 2) and adapter.needs == {network.key} and bare.key == runs[0].key
    assert len(rest) == 3 and all(order.needs == {network.key, adapter.key} for order in rest)


def test_mixing_at_0_shares_its_network_with_real_only() -> None:
    orders = ordered(run("mixing", alpha=0.0), run("real_only"))
    assert [order.upto for order in orders] == [3, None, None] and [order.steps for order in orders] == [6400, 0, 0]


def test_no_reuse_shares_nothing() -> None:
    runs = [run("mixing", alpha=alpha, reuse=False) for alpha in (0.25, 0.5)]
    assert [(order.upto, order.steps) for order in ordered(*runs)] == [(None, 6400), (None, 6400)]


def test_finished_runs_need_nothing() -> None:
    runs = run("synthetic_only"), run("fine_tuning")
    first, second = ordered(*runs, finished={runs[0].key})
    assert (first.steps, second.steps) == (0, 4000) and not first.needs and not second.needs


def test_orders_go_to_other_processes(tmp_path: Path) -> None:
    (order,) = ordered(run("mixing", runs_dir=tmp_path), precision=lambda backbone: "bf16", threads=3)
    again = pickle.loads(pickle.dumps(order))
    assert again == order and again.precision == "bf16" and again.threads == 3
    assert not order.busy()
    with order.marked():
        assert again.busy(), "also for a lock of this process"
    assert not again.busy()
    assert order.log.parent == tmp_path / "logs" and order.key[:8] in order.log.name
