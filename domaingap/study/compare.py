"""Records → groups → families → figures and comparisons, as numbers; nothing here is printed.

A *group* is runs that differ in their seed alone. A *family* is groups that may stand in one table: they differ in
strategy, budget, selection rule, number of steps and the settings of their own stages, and in nothing else. Comparisons
are made within a family, which is also what Holm's correction is over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np

from domaingap.errors import UserError
from domaingap.hashing import content_key, flat
from domaingap.statistics import (
    Interval,
    cluster_bootstrap,
    holm,
    paired_t_test,
    probability_of_improvement,
    sign_flip_test,
    superiority,
    t_interval,
)
from domaingap.study.by_face import ByFace
from domaingap.study.recipe import Recipe
from domaingap.study.record import RunRecord, by_seed, set_key, strategy

NOTHING = Interval(float("nan"), float("nan"), float("nan"))
"""The interval of no value at all."""


@dataclass(frozen=True)
class Strategies:
    """What comparisons ask of the recipes.

    Attributes:
        order: of tables.
        floor: synthetic data alone.
        ceiling: real data alone, which is every strategy's baseline at the same budget.
    """

    order: tuple[str, ...]
    floor: str
    ceiling: str

    @classmethod
    def of(cls, recipes: Mapping[str, Recipe]) -> Strategies:
        """What recipes say of themselves."""
        by_role = {recipe.role: name for name, recipe in recipes.items()}
        return cls(tuple(recipes), by_role["floor"], by_role["ceiling"])

    def is_floor(self, run: RunRecord) -> bool:
        """Whether a run is of synthetic data alone, their pictures as they are."""
        return run.recipe == self.floor and not run.appearance

    def rank(self, recipe: str) -> int:
        """A recipe's place in tables; unknown ones come last."""
        return self.order.index(recipe) if recipe in self.order else len(self.order)


Lengths = Literal["both", "shorter"]
"""Which baselines there were to choose from: of both lengths, or the shorter one alone."""


class Budget(NamedTuple):
    """Real images that anything was fitted on; at least so many where the run's start isn't known."""

    n: int
    unknown: bool

    def __str__(self) -> str:
        return f">= {self.n}" if self.unknown else str(self.n)

    @classmethod
    def of(cls, run: RunRecord) -> Budget:
        """A run's."""
        return cls(run.n_real_train, run.start is not None and not run.start.known)


@dataclass(frozen=True)
class Cell:
    """A group's figure.

    Attributes:
        by_seed: the values; of runs that have one.
        interval: mean with its 95% interval over ``over``; NaN where there is no value or no interval.
        over: ``seeds`` (Student's t) where there are several, else ``images`` (the run's own bootstrap).
        left_out: runs without a value.
    """

    by_seed: dict[int, float]
    interval: Interval
    over: str
    left_out: int


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seed alone, in the order of seeds.

    Attributes:
        runs: one for each seed.
        picked_from: the groups of several α that validation picked these runs from, where it did.
    """

    runs: tuple[RunRecord, ...]
    picked_from: tuple[Group, ...] = ()

    @property
    def first(self) -> RunRecord:
        """A run to ask what all share."""
        return self.runs[0]

    @property
    def budget(self) -> Budget:
        return Budget.of(self.first)

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines its figures but the seed."""
        given = self.first.spelled
        return {key: value for key, value in given.items() if key != "alpha"} if self.picked_from else given

    @property
    def label(self) -> str:
        """The strategy, with α where it has one."""
        if self.picked_from:
            return strategy(f"{self.first.recipe} α by val", None, self.first.appearance)
        return self.first.strategy

    @property
    def trained(self) -> int:
        """Optimiser steps of this run's own behind its answers."""
        return self.first.steps_answering - (self.first.start.steps if self.first.start is not None else 0)

    @property
    def longer(self) -> bool:
        """Whether its answering network has more steps than a network from scratch, as after fine-tuning."""
        return self.trained > self.first.scratch_steps

    def values(self, on: str, metric: str = "nme") -> dict[int, float]:
        """A metric on a set of faces by seed, of the runs that have one."""
        return {run.seed: value for run in self.runs if (value := run.value(on, metric)) is not None}

    def cell(self, on: str, metric: str = "nme") -> Cell:
        """A metric on a set of faces with its interval."""
        values = self.values(on, metric)
        left_out = len(self.runs) - len(values)
        if len(values) > 1:
            return Cell(values, t_interval(list(values.values())), "seeds", left_out)
        if not values:
            return Cell(values, NOTHING, "images", left_out)
        ((seed, value),) = values.items()
        own = by_seed(self.runs)[seed].intervals.get(f"{set_key(on)}/{metric}", NOTHING[1:])
        return Cell(values, Interval(value, *own), "images", left_out)


def grouped(records: Sequence[RunRecord], strategies: Strategies) -> list[Group]:
    """The records by everything but their seed, in the order of tables.

    Raises:
        UserError: two different runs of one seed, as after a change of the splits.
    """
    groups: dict[str, dict[int, RunRecord]] = {}
    for record in sorted(records, key=lambda record: _order(record, strategies)):
        runs = groups.setdefault(record.group_key, {})
        if (other := runs.setdefault(record.seed, record)) is not record:
            raise UserError(
                f"{other.folder} and {record.folder} have the same settings and seed {record.seed}, but are different runs; "
                "move one of them away"
            )
    return [Group(tuple(by_seed(list(runs.values())).values())) for runs in groups.values()]


def _order(record: RunRecord, strategies: Strategies) -> tuple[Any, ...]:
    budget = Budget.of(record) if not strategies.is_floor(record) else Budget(-1, False)
    rank = (strategies.rank(record.recipe), record.appearance)
    return (budget, *rank, record.source, record.selection, record.steps_answering, record.name)


def picked_alphas(groups: Sequence[Group]) -> list[Group]:
    """Where a strategy ran at several α: for each seed the run with the lowest NME on validation.

    A test set must not pick α; under the rule ``budget`` nothing may. Runs without a validation NME aren't picked.
    """
    alike: dict[str, list[Group]] = {}
    for group in groups:
        if group.first.alpha is not None and group.first.selection == "real_val":
            rest = {key: value for key, value in group.settings.items() if key != "alpha"}
            alike.setdefault(content_key([group.first.recipe, rest]), []).append(group)
    result = []
    for members in alike.values():
        runs = [{run.seed: run for run in group.runs} for group in members]
        best = []
        for seed in sorted(set.intersection(*(set(of) for of in runs))):
            valued = [(value, run) for of in runs if (value := (run := of[seed]).value("val")) is not None]
            best += [min(valued, key=lambda pair: pair[0])[1]] if valued else []
        if best and len(members) > 1:
            result.append(Group(tuple(best), tuple(members)))
    return result


def compared_groups(records: Sequence[RunRecord], strategies: Strategies) -> list[Group]:
    """The groups that are compared with others: of several α the runs that validation picked, and not each α. The best of
    several on a test set isn't a result."""
    groups = grouped(records, strategies)
    for best in picked_alphas(groups):
        groups = [*(group for group in groups if group not in best.picked_from), best]
    return groups


def figures(groups: Sequence[Group], picked: Sequence[Group], on: str, metric: str = "nme") -> dict[Group, Cell]:
    """A cell for each group.

    Where validation picks α, the test set is scored for what it picked: the mean of an α over those seeds would be one over
    the seeds at which it does best. So an α that wasn't scored for all of its seeds has no value.
    """
    candidates = {member for group in picked for member in group.picked_from}
    cells = {group: group.cell(on, metric) for group in groups}
    for group in candidates & cells.keys():
        if any(f"{set_key(on)}/{metric}" not in run.metrics for run in group.runs):
            cells[group] = Cell({}, NOTHING, "images", cells[group].left_out)
    return cells


@dataclass(frozen=True, eq=False)
class Family:
    """Groups that may be put beside each other.

    Attributes:
        groups: in the order of tables.
        source: the synthetic data set; empty where no group has any.
        name: network, crops and synthetic data, and what else tells it from other families.
    """

    groups: list[Group]
    source: str
    name: str


def families(groups: Sequence[Group], free: str = "") -> list[Family]:
    """The groups by what comparable runs share; every group is in one family at least.

    Groups without synthetic data belong to every family of their setting that has a strategy at their budget, or to all
    of them where none has.

    Args:
        groups: in the order of tables.
        free: a setting of the synthetic faces that may differ within a family, as along a curve over it.
    """

    def faces_of(run: RunRecord) -> dict[str, Any]:
        return {key: value for key, value in (run.synthetic_setting or {}).items() if key != free}

    by_setting: dict[str, list[Group]] = {}
    for group in groups:
        by_setting.setdefault(content_key(group.first.setting), []).append(group)
    found: list[list[Group]] = []
    for here in by_setting.values():
        by_faces: dict[str, list[Group]] = {}
        for group in here:
            if group.first.synthetic_setting is not None:
                by_faces.setdefault(content_key(faces_of(group.first)), []).append(group)
        kinds = sorted(by_faces.values(), key=lambda of: (-len(of), of[0].first.source))
        covered = {group.budget for of in kinds for group in of}
        for of in kinds:
            own = {group.budget for group in of}
            beside = [g for g in here if g.first.synthetic_setting is None and (g.budget in own or g.budget not in covered)]
            found.append([group for group in here if group in of or group in beside])
        found += [] if kinds else [here]
    owners = [next((group.first for group in of if group.first.source), of[0].first) for of in found]
    networks = [_network(run) for run in owners]
    settings = told_apart([run.setting for run in owners], networks)
    faces = told_apart([faces_of(run) for run in owners], [(content_key(r.setting), r.source) for r in owners])
    parts = zip(found, owners, networks, settings, faces, strict=True)
    return [
        Family(of, run.source, f"{net}{own}" + (f", {run.source}{more}" if run.source else ""))
        for of, run, net, own, more in parts
    ]


def _network(run: RunRecord) -> str:
    crop = run.identity["crop"]
    return f"{run.identity['model']['backbone']} {crop['size']} px {crop['channels']}"


def told_apart(settings: Sequence[Mapping[str, Any]], shown: Sequence[Hashable]) -> list[str]:
    """What to add to names: where things would be ``shown`` alike, the settings in which they differ.

    Fingerprints of faces (``faces``) are named, by their first digits, only where no other setting tells.
    """
    added = [""] * len(shown)
    alike: dict[Hashable, list[int]] = {}
    for i, value in enumerate(shown):
        alike.setdefault(value, []).append(i)
    for members in alike.values():
        given = [flat(settings[i]) for i in members]
        keys = [key for key in sorted({key for of in given for key in of}) if len({of.get(key) for of in given}) > 1]
        named = [key for key in keys if key.partition(".")[0] != "faces"]
        all_told, told = (len({tuple(of.get(key) for key in some) for of in given}) for some in (keys, named))
        keys = named if told == all_told else keys
        for i, of in zip(members, given, strict=True):
            added[i] = "".join(f" {key}={_short(key, of.get(key, '-'))}" for key in keys)
    return added


def _short(key: str, value: str) -> str:
    return value[:8] if key.partition(".")[0] in ("faces", "init_from") else value


def labels(groups: Sequence[Group], shown: Callable[[Group], Hashable]) -> dict[Group, str]:
    """A name for each group: strategy and α, and the settings that tell apart groups which would look the same.

    Args:
        groups: of one table.
        shown: what its row shows beside the name.
    """
    added = told_apart([group.settings for group in groups], [(group.label, shown(group)) for group in groups])
    return {group: group.label + more for group, more in zip(groups, added, strict=True)}


# Comparisons.


class Verdict(StrEnum):
    """What an interval of a difference in NME says of the strategy."""

    BETTER = "better"
    WORSE = "worse"
    OPEN = "open"


@dataclass(frozen=True)
class Difference:
    """NME of one group minus that of another, on the same images and seeds.

    Attributes:
        seeds: that both have.
        interval: mean with its 95% interval: over seeds, or of a single seed over photographs in pairs.
        p: two-sided p-value of no difference by Student's t; None of a single seed.
        p_flip: by the exact sign-flip test.
    """

    seeds: tuple[int, ...]
    interval: Interval
    p: float | None
    p_flip: float | None = None

    @property
    def verdict(self) -> Verdict:
        return Verdict.BETTER if self.interval.high < 0 else Verdict.WORSE if self.interval.low > 0 else Verdict.OPEN


@dataclass(frozen=True)
class Comparison:
    """A strategy beside its baseline.

    Attributes:
        group: the strategy.
        baseline: what it is compared with.
        difference: the strategy minus the baseline.
        lengths: of a strategy that trains further: what its baseline was chosen from.
        p_holm: Student's p, corrected for all comparisons of the family.
        better_run: probability that a run of the strategy has the lower NME, over all pairs of a run of each with the
            seeds that both have.
        better_face: probability that it has the lower NME on a face, over the same pairs and all faces, with its interval
            over seeds and photographs; None without predictions.
    """

    group: Group
    baseline: Group
    difference: Difference
    lengths: Lengths | None
    p_holm: float | None = None
    better_run: float = float("nan")
    better_face: Interval | None = None

    @property
    def corrected(self) -> bool:
        """Whether the verdict holds after the correction."""
        return self.p_holm is not None and self.p_holm < 0.05


def difference(a: Group, b: Group, on: str, by_face: ByFace | None = None) -> Difference | None:
    """NME of ``a`` minus that of ``b`` on a set of faces; None without a shared seed that both have a value of.

    Args:
        a: the one.
        b: the other.
        on: the set of faces.
        by_face: reads the predictions of a single shared seed; it keeps their problems, and the answer is None.

    Raises:
        UserError: without ``by_face``: predictions that can't be read, or are of other faces.
    """
    left, right = a.values(on), b.values(on)
    seeds = tuple(sorted(left.keys() & right.keys()))
    if not seeds:
        return None
    if len(seeds) > 1:
        pairs = [left[seed] for seed in seeds], [right[seed] for seed in seeds]
        return Difference(seeds, *paired_t_test(*pairs), sign_flip_test(*pairs))
    reader = by_face or ByFace(on)
    found = reader.together([by_seed(group.runs)[seeds[0]] for group in (a, b)])
    if found is None:
        if by_face is None:
            raise UserError(reader.said()[0])
        return None
    return Difference(seeds, cluster_bootstrap(found.nme[0] - found.nme[1], found.photographs), None)


def _better(a: Group, b: Group, seeds: Sequence[int], on: str, by_face: ByFace) -> tuple[float, Interval | None]:
    """See :attr:`Comparison.better_run` and :attr:`Comparison.better_face`."""
    runs = [by_seed(group.runs)[seed] for group in (a, b) for seed in seeds]
    values = np.array([group.values(on)[seed] for group in (a, b) for seed in seeds])
    n = len(seeds)
    of_runs = float(superiority(values[:n], values[n:]))
    found = by_face.together(runs)
    if found is None:
        return of_runs, None
    return of_runs, probability_of_improvement(found.nme[:n], found.nme[n:], found.photographs)


def comparisons(
    groups: Sequence[Group], on: str, strategies: Strategies, by_face: ByFace | None = None
) -> tuple[list[Comparison], list[str]]:
    """Every strategy of a family beside the floor, and beside the ceiling at its budget; and what couldn't be compared.

    Args:
        groups: of a family.
        on: the set of faces.
        strategies: floor and ceiling.
        by_face: reads predictions; one for several calls reads each file once.
    """
    by_face = by_face or ByFace(on)
    found: list[Comparison] = []
    unread = 0
    for group in groups:
        for baseline, lengths in _baselines(group, groups, strategies):
            compared = difference(group, baseline, on, by_face)
            if compared is not None:
                better = _better(group, baseline, compared.seeds, on, by_face)
                found.append(Comparison(group, baseline, compared, lengths, None, *better))
            else:
                unread += bool(group.values(on).keys() & baseline.values(on).keys())
    corrected = iter(holm([c.difference.p for c in found if c.difference.p is not None]))
    found = [replace(c, p_holm=next(corrected)) if c.difference.p is not None else c for c in found]
    without = sum(c.better_face is None for c in found)
    problems = (
        [f"{unread} comparison{'s' if unread > 1 else ''} of a single seed left out: no predictions."] if unread else []
    )
    problems += [f"{without} row{'s' if without > 1 else ''} without P(better) by face: no predictions."] if without else []
    return found, [*problems, *by_face.said()] if problems else []


def ceilings(group: Group, groups: Sequence[Group], strategies: Strategies) -> dict[int, tuple[Group, Lengths | None]]:
    """Real data alone at every known budget, each the baseline that a strategy's group would have there; where several runs
    of other settings would do, those with the most seeds."""
    others = [other for other in groups if group.first.comparable_with(other.first)]
    budgets = {other.budget for other in others if other.first.recipe == strategies.ceiling and not other.budget.unknown}
    found: dict[int, tuple[Group, Lengths | None]] = {}
    for budget in sorted(budgets):
        at_budget = list(_at_budget(group, budget, others, strategies))
        if at_budget:
            found[budget.n] = max(at_budget, key=lambda pair: len(pair[0].runs))
    return found


def _baselines(group: Group, groups: Sequence[Group], strategies: Strategies) -> Iterator[tuple[Group, Lengths | None]]:
    """What a strategy is compared with, see :attr:`Comparison.lengths`."""
    run = group.first
    others = [other for other in groups if run.comparable_with(other.first)]
    # A budget of n real images and nothing else has none to pick the synthetic network with.
    rule = "source_val" if run.selection == "budget" else run.selection
    if strategies.is_floor(run):
        return
    for other in others:
        base = other.first
        if strategies.is_floor(base) and (base.selection, base.scratch_steps) == (rule, run.scratch_steps):
            yield other, None
    if run.recipe == strategies.ceiling:
        return
    yield from _at_budget(group, group.budget, others, strategies)


def floor_and_ceiling(group: Group, groups: Sequence[Group], strategies: Strategies) -> tuple[Group | None, Group | None]:
    """Synthetic data alone, and real data alone at a strategy's budget, as comparisons choose them: of the same rule, and of
    as many steps; None where there is none."""
    found = [baseline for baseline, _ in _baselines(group, groups, strategies)]
    by_recipe = {
        recipe: [other for other in found if other.first.recipe == recipe]
        for recipe in (strategies.floor, strategies.ceiling)
    }
    # Of several, as with real data on other settings of its own, the one with the most seeds.
    floor, ceiling = (max(of, key=lambda other: len(other.runs), default=None) for of in by_recipe.values())
    return floor, ceiling


def _at_budget(
    group: Group, budget: Budget, others: Sequence[Group], strategies: Strategies
) -> Iterator[tuple[Group, Lengths | None]]:
    """The ceiling at a budget as a strategy's baseline, among groups that are comparable with it."""
    run = group.first
    # Without real images the synthetic network is picked on synthetic ones, and real data alone on none beyond its own.
    rule = "budget" if run.selection == "source_val" else run.selection
    own = (strategies.ceiling, budget, rule)
    at_budget = [other for other in others if (other.first.recipe, other.budget, other.first.selection) == own]
    shorter = [other for other in at_budget if other.first.scratch_steps == run.scratch_steps]
    if not group.longer:
        yield from ((other, None) for other in shorter)
        return
    # Its answering network was trained further: the better on validation of the ceiling at both lengths.
    equal = [other for other in at_budget if other.first.scratch_steps == group.trained]
    valued = [(float(np.mean(list(values.values()))), other) for other in shorter + equal if (values := other.values("val"))]
    if valued:
        best = min(valued, key=lambda pair: pair[0])[1]
        yield best, "both" if any(other in equal for _, other in valued) else "shorter"
