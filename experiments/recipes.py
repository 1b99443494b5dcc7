"""The six strategies, every stage from top to bottom. Nothing heavy is imported: help reads their settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from domaingap.config import determining
from domaingap.study.recipe import Answer, Companion, Recipe, Steps, recipe
from experiments.settings import FineTuned, Mixed, OnReal, OnSynthetic, WithAdapter, WithLabelsAdapter

RECIPES: dict[str, Recipe] = {}
"""By name, in the order of tables."""
BOTH = ("source_val", "val")
"""The synthetic network is picked on either, depending on the selection rule."""


def under_both_rules(s: OnSynthetic, planned: Mapping[str, list[Any]]) -> Iterator[Companion]:
    """synthetic_only is reported with and without real validation images; both come from one training."""
    other: Literal["real_val", "source_val"] = "source_val" if s.selection == "real_val" else "real_val"
    yield Companion("synthetic_only", replace(s, selection=other), "synthetic_only under both selection rules")


def at_equal_steps(s: FineTuned, planned: Mapping[str, list[Any]]) -> Iterator[Companion]:
    """Each real_only that it is compared with, at as many steps as both stages have."""
    own = determining(s)
    for base in planned.get("real_only", []):
        if s.fit.epochs is None and all(own.get(key) == value for key, value in determining(base).items()):
            steps = s.fit.steps + s.finetune.of(s.fit).steps
            longer = replace(base, fit=replace(s.fit, steps=steps))
            yield Companion("real_only", longer, "real_only also at fine_tuning's number of steps")


@recipe(RECIPES, under_both_rules, role="floor")
def synthetic_only(run: Steps, s: OnSynthetic) -> Answer:
    """A network trained on synthetic faces with their own labels, scored on real ones as it is (the raw gap)."""
    return Answer(run.train("synthetic", run.synthetic, on=BOTH))


@recipe(RECIPES)
def label_adaptation(run: Steps, s: WithAdapter) -> Answer:
    """A synthetic network's answers, moved into the annotators' style by a label adapter fitted on n real faces."""
    network = run.train("synthetic", run.synthetic, on=BOTH)
    h = run.fit_adapter(network)
    return Answer(network, h, "predictions")


@recipe(RECIPES)
def data_adaptation(run: Steps, s: WithLabelsAdapter) -> Answer:
    """A network trained on synthetic faces whose labels an adapter, fitted on n real faces, moved into their style."""
    teacher = run.train("synthetic", run.synthetic, on=BOTH)
    h = run.fit_adapter(teacher)
    network = run.train("adapted", run.adapted(h))
    return Answer(network, h, "labels")


@recipe(RECIPES)
def mixing(run: Steps, s: Mixed) -> Answer:
    """A network trained on n real faces and on synthetic ones with adapted labels, α of each batch synthetic."""
    teacher = run.train("synthetic", run.synthetic, on=BOTH)
    h = run.fit_adapter(teacher)
    network = run.train("mixed", run.mixed(run.adapted(h), s.alpha))
    return Answer(network, h, "labels")


@recipe(RECIPES, at_equal_steps)
def fine_tuning(run: Steps, s: FineTuned) -> Answer:
    """A network trained on synthetic faces, then on n real ones with a fresh optimiser."""
    pretrained = run.train("synthetic", run.synthetic, on=BOTH)
    tuned = run.train("real", run.real, fit=s.finetune.of(pretrained.how), start=pretrained)
    return Answer(tuned)


@recipe(RECIPES, role="ceiling")
def real_only(run: Steps, s: OnReal) -> Answer:
    """A network trained on n real faces."""
    return Answer(run.train("real", run.real))
