"""Curves: NME over the number of real images, over α, and over the number of synthetic images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from domaingap.study.compare import Cell, Family, Group, Strategies, families, figures, grouped, picked_alphas, told_apart
from domaingap.study.record import RunRecord, strategy


@dataclass(frozen=True)
class Axis:
    """What a curve goes over.

    Attributes:
        name: as tables have it.
        setting: the one that differs along it.
        value: of a group; None where the group has none, or none that is known.
    """

    name: str
    setting: str
    value: Callable[[Group], float | None]


def synthetic_images(group: Group) -> int:
    """Synthetic images that a group's runs used, hold-out included."""
    return group.first.n_synthetic + group.first.n_synthetic_selection


AXES = (
    Axis("real images", "n_real", lambda group: None if group.budget.unknown else group.budget.n),
    Axis("α", "alpha", lambda group: None if group.picked_from else group.first.alpha),
    Axis("synthetic images", "n_synthetic", synthetic_images),
)


@dataclass(frozen=True, eq=False)
class Curve:
    """Groups that differ in one setting alone.

    Attributes:
        name: the strategy, and what tells it from other curves of the table.
        points: (value, group), in order.
    """

    name: str
    points: list[tuple[float, Group]]

    @property
    def first(self) -> Group:
        """A group to ask what all share."""
        return self.points[0][1]


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves that may stand in one picture.

    Attributes:
        axis: what they go over.
        family: of all their groups.
        on: the set of faces that ``cells`` are about.
        curves: in the order of tables.
        cells: the figure of each group.
        unscored: runs of theirs without a figure.
        fallback: whether ``on`` is validation because an α was scored on the wanted set for some of its seeds only.
    """

    axis: Axis
    family: Family
    on: str
    curves: list[Curve]
    cells: dict[Group, Cell]
    unscored: int
    fallback: bool


def lines(groups: Sequence[Group], setting: str, value: Callable[[Group], Any]) -> list[dict[Any, Group]]:
    """Groups that differ in a setting alone, by their value of it; two of one value are two lines, whatever their names."""
    found: list[dict[Any, Group]] = []
    keys: list[tuple[Any, ...]] = []
    for group in groups:
        key = (group.first.recipe, bool(group.picked_from), {k: v for k, v in group.settings.items() if k != setting})
        at = value(group)
        free = next((line for line, own in zip(found, keys, strict=True) if own == key and at not in line), None)
        if free is None:
            found.append(free := {})
            keys.append(key)
        free[at] = group
    return found


def all_curves(records: Sequence[RunRecord], on: str, strategies: Strategies) -> list[Curves]:
    """The curves over each axis, of each family that has any.

    A curve has two values or more. Beside them stands where they begin: synthetic data alone at no real images, real data
    alone at no synthetic ones. Along the number of synthetic images runs are one family whatever their number of them.
    Where an α has no figure on a test set, as validation picked another for some seeds, α's curves are on validation.
    """
    groups = grouped(records, strategies)
    picked = picked_alphas(groups)
    everything = [*groups, *picked]
    cells_on = {name: figures(everything, picked, name) for name in dict.fromkeys((on, "val"))}
    found = []
    for axis in AXES:
        for family in families(everything, free=axis.setting):
            made = _curves(axis, family, strategies)
            if not made:
                continue
            members = [group for curve in made for _, group in curve.points]
            candidates = (
                [g for g in members if g.first.alpha is not None and not g.picked_from] if axis.setting == "alpha" else []
            )
            fallback = on != "val" and any(not cells_on[on][g].by_seed and g.values("val") for g in candidates)
            chosen = "val" if fallback else on
            cells = {group: cells_on[chosen][group] for group in members}
            drawn = [
                Curve(curve.name, points)
                for curve in made
                if (points := [(at, group) for at, group in curve.points if cells[group].by_seed])
            ]
            unscored = sum(cells[group].left_out for group in members)
            if any(len(curve.points) > 1 for curve in drawn):
                found.append(Curves(axis, family, chosen, drawn, cells, unscored, fallback))
    return found


def _curves(axis: Axis, family: Family, strategies: Strategies) -> list[Curve]:
    """The curves of a family over an axis, with where they begin; nothing without a curve."""
    start = {"n_real": strategies.floor, "n_synthetic": strategies.ceiling}.get(axis.setting)
    valued = [group for group in family.groups if axis.value(group) is not None]
    made = [
        line
        for line in lines(valued, axis.setting, axis.value)
        if len(line) > 1 or (_recipe(line) == start and not _first(line).first.appearance)
    ]
    if not any(len(line) > 1 for line in made):
        return []
    if axis.setting == "n_synthetic":
        # Real data alone at the numbers of real images that the curves have.
        budgets = {_first(line).budget for line in made if len(line) > 1}
        made = [line for line in made if len(line) > 1 or _first(line).budget in budgets]
    made.sort(key=lambda line: _order(_first(line), strategies))
    # What differs along the axis tells no curves apart.
    settings = [{key: value for key, value in _first(line).settings.items() if key != axis.setting} for line in made]
    looks = [_first(line).first.appearance for line in made]
    plain = [strategy(_recipe(line), None, look) if axis.setting == "alpha" else _first(line).label
             for line, look in zip(made, looks, strict=True)]  # fmt: skip
    shown = [(name, _first(line).first.source, _first(line).first.selection, _beside(axis, _first(line)))
             for name, line in zip(plain, made, strict=True)]  # fmt: skip
    more = told_apart(settings, shown)
    return [
        Curve(name + own, sorted(line.items(), key=lambda pair: float(pair[0])))
        for name, own, line in zip(plain, more, made, strict=True)
    ]


def _first(line: dict[Any, Group]) -> Group:
    return next(iter(line.values()))


def _recipe(line: dict[Any, Group]) -> str:
    return _first(line).first.recipe


def _beside(axis: Axis, group: Group) -> tuple[Any, ...]:
    """What a table shows beside a curve's name and doesn't differ along it."""
    run = group.first
    shown = {"n_real": group.budget, "n_synthetic": synthetic_images(group)}
    return (*(value for key, value in shown.items() if key != axis.setting), run.steps_answering, run.steps_total)


def _order(group: Group, strategies: Strategies) -> tuple[Any, ...]:
    run = group.first
    alpha = (bool(group.picked_from), run.alpha or 0)
    return (strategies.rank(run.recipe), run.source, *alpha, group.budget, run.selection, run.steps_answering)
