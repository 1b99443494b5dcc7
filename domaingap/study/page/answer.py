"""What a study says, in words: how large the gap is, what closes how much of it, and at what price in real images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from domaingap.study.by_face import ByFace
from domaingap.study.compare import (
    Budget,
    Cell,
    Comparison,
    Difference,
    Family,
    Group,
    Strategies,
    Verdict,
    ceilings,
    difference,
    labels,
)
from domaingap.study.record import set_key
from domaingap.study.report_tables import HEADLINE, plural
from domaingap.study.saved import AllSaved, Saved
from domaingap.study.tables import Column, Table, format_metric, interval_column, metric, number, number_column

FACES = {
    "common": "300-W Common", "challenging": "300-W Challenging", "full": "300-W Full", "val": "the validation set",
    "generated": "the generated target domain",
}  # fmt: skip
"""Test sets by the names that people know."""


@dataclass(frozen=True, eq=False)
class Way:
    """A strategy at a number of real images, beside synthetic data alone and real data alone.

    Attributes:
        group: its runs.
        name: as tables have it.
        cell: its NME.
        closed: share of the gap between floor and ceiling that it closes; more than 1 where it does better than the ceiling,
            None without a gap. The ceiling is the one with its number of steps, where that is better on validation.
        floor: beside synthetic data alone.
        ceiling: beside real data alone at the same number of real images.
    """

    group: Group
    name: str
    cell: Cell
    closed: float | None
    floor: Comparison | None
    ceiling: Comparison | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What the runs of a family say.

    Attributes:
        family: which runs.
        on: the faces.
        images: how many these are.
        floor: synthetic data alone; None without such runs.
        ceiling: real data alone with the most real images; None without such runs.
        gap: floor minus ceiling.
        ways: the strategies at the ceiling's number of real images, the best on validation first.
        few: the strategies, and real data alone, at the smallest number of real images.
        saved: by number of real images: the strategy that is the best there on validation, and what it saves.
        fewest_seeds: behind any of the figures.
    """

    family: Family
    on: str
    images: int
    floor: Group | None
    ceiling: Group | None
    gap: Difference | None
    ways: Sequence[Way]
    few: Sequence[Way]
    saved: Sequence[tuple[str, Saved]]
    fewest_seeds: int

    def sentences(self) -> list[str]:
        """The answer in words: how large the gap is, and what closes how much of it."""
        return [sentence for sentence in (self._gap(), self._closed()) if sentence]

    def cautions(self) -> list[str]:
        """What to keep in mind."""
        said = []
        if 0 < self.fewest_seeds < HEADLINE:
            said.append(
                f"{self.fewest_seeds} seed{plural(self.fewest_seeds)} behind some of these figures: a headline needs "
                f"{HEADLINE}."
            )
        if self.on == "val":
            said.append("These are validation faces, which picked checkpoints: figures on them flatter.")
        counts = [group.first.counts.get(set_key(self.on)) for group in (self.floor, self.ceiling) if group is not None]
        if any(count is not None and count.partial for count in counts):
            said.append("The test faces are a part of the published set: figures can't be put beside those of papers.")
        return said

    def _gap(self) -> str:
        faces = f"{self.images:,} faces of {FACES.get(self.on, self.on)}"
        low = None if self.floor is None else f"{_nme(self.floor.cell(self.on))}%"
        high = None if self.ceiling is None else f"{_nme(self.ceiling.cell(self.on))}%"
        real = "" if self.ceiling is None else f"{self.ceiling.budget.n:,} real faces"
        if low is None and high is None:
            return ""
        if low is None or high is None:
            own, lacking = (f"{real} a network", "synthetic") if low is None else ("synthetic faces alone a network", "real")
            return (
                f"Trained on {own} errs by {high or low} on {faces}. How large the gap is isn't known: no run of {lacking} "
                "faces alone is among these."
            )
        lead = f"Trained on synthetic faces alone a network errs by {low} on {faces}, trained on {real} by {high}"
        if self.gap is None:
            return f"{lead}; the two share no seed to tell the gap in pairs."
        mean, least, most = self.gap.interval
        within = "" if math.isnan(least) else f" [{least:.2f}, {most:.2f}]"
        if self.gap.verdict is Verdict.WORSE:
            return f"{lead}: a gap of {mean:.2f} points{within}."
        if self.gap.verdict is Verdict.BETTER:
            return (
                f"{lead}: synthetic faces alone are the better ones here, by {-mean:.2f} points [{-most:.2f}, {-least:.2f}]."
            )
        return f"{lead}: a difference of {mean:.2f} points{within}, too small to be told from none."

    def _closed(self) -> str:
        if not self.ways or self.ceiling is None:
            return ""
        best = self.ways[0]
        share = (
            f", which closes {_share(best.closed)} of the gap"
            if best.closed is not None and self.gap is not None and self.gap.verdict is Verdict.WORSE
            else ""
        )
        text = f"With the same real faces {best.name}, the best on validation, gets to {_nme(best.cell)}%{share}"
        if best.ceiling is not None:
            steps = f" at {best.ceiling.baseline.first.steps_answering:,} steps" if best.ceiling.lengths else ""
            text += f": {_beside(best.ceiling)} real faces alone{steps}"
        return text + "."

    @property
    def unit(self) -> str:
        """What an error is."""
        return "Error (NME): mean distance of the 68 points from their true places, in % of the outer eye corners' distance."

    def price(self) -> list[str]:
        """At what price in real images, a sentence for each number of them."""
        said = []
        for name, row in self.saved:
            reached, low, high = row.reached
            largest = row.curve.largest
            if reached == math.inf:
                as_good = f"better than real faces alone with {largest:,}, the most that were tried"
            elif reached == -math.inf:
                as_good = f"no better than real faces alone with {row.curve.smallest:,}, the fewest that were tried"
            else:
                as_good = f"as good as {reached:,.0f} real faces alone"
            open_ = math.isnan(low) or low == high  # both ends lie beyond what was tried
            ends = "" if open_ else f" [{_end(low, row)}, {_end(high, row)}]"
            said.append(f"With {row.n:,} real faces {name} is {as_good}{ends}.")
        return said

    def table(self) -> Table | None:
        """What closes how much of the gap, at the most and at the fewest real images."""
        if not self.ways and not self.few:
            return None
        rows = [
            [way.group.budget, way.name, way.cell.interval, way.closed, _interval(way.floor), _interval(way.ceiling),
             len(way.cell.by_seed)]
            for way in (*self.ways, *self.few)
        ]  # fmt: skip
        columns = [
            number_column("real images"), Column("strategy"), interval_column("NME %", metric("nme")),
            number_column("gap closed", _share), interval_column("against synthetic alone", number(2, sign=True)),
            interval_column("against real alone", number(2, sign=True)), number_column("seeds"),
        ]  # fmt: skip
        notes = [
            "gap closed: (synthetic alone - strategy) / (synthetic alone - real alone with the most real images); above "
            "100% where it beats that. For a network that was trained further it is real alone at as many steps, where that "
            "is better on validation.",
            "against: difference in NME on the same faces and seeds with its 95% interval; below zero the strategy is the "
            "better one. Real alone has as many real images.",
        ]
        return Table("What closes how much of the gap", columns, rows, notes)


def answer(
    family: Family, compared: Sequence[Comparison], saved: AllSaved, on: str, strategies: Strategies, by_face: ByFace
) -> Answer:
    """What the runs of a family say.

    Args:
        family: its groups, each α by itself only where validation picked none.
        compared: its comparisons.
        saved: its real images saved.
        on: the set of faces.
        strategies: floor and ceiling.
        by_face: reads predictions, which a gap of a single seed needs.
    """
    floor, ceiling = ends(family, on, strategies)
    gap = None if floor is None or ceiling is None else difference(floor, ceiling, on, by_face)
    valued = [group for group in family.groups if group.values(on)]
    names = short_labels(valued, lambda g: (g.budget, g.first.selection))
    most = ceiling.budget if ceiling is not None else max((g.budget for g in valued), default=Budget(0, False))
    rule = _rule(family, strategies)
    alike = [group for group in valued if group.first.selection == rule and not strategies.is_floor(group.first)]
    fewest = min((group.budget for group in alike if group.budget.n), default=most)

    def way(group: Group) -> Way:
        own = [c for c in compared if c.group is group]
        low = next((c for c in own if strategies.is_floor(c.baseline.first)), None)
        high = next((c for c in own if c.baseline.first.recipe == strategies.ceiling), None)
        cell = group.cell(on)
        # A network that was trained further is measured by real data alone that was, where that is the better one.
        own_ceiling, _ = ceilings(group, family.groups, strategies).get(most.n, (ceiling, None))
        return Way(group, names[group], cell, _closes(cell, floor, own_ceiling, on), low, high)

    def at(budget: Budget, real: bool) -> list[Way]:
        here = [group for group in alike if group.budget == budget and (real or group.first.recipe != strategies.ceiling)]
        return [way(group) for group in sorted(here, key=_on_validation)]

    ways = at(most, real=False)
    few = at(fewest, real=True) if fewest != most else []
    count = next((c for g in valued if (c := g.first.counts.get(set_key(on))) is not None), None)
    named = [(names.get(row.group, row.group.label), row) for row in _best_saved(saved, rule)]
    shown = [floor, ceiling, *(w.group for w in (*ways, *few))]
    seeds = min((len(group.values(on)) for group in shown if group is not None), default=0)
    return Answer(family, on, count.images if count else 0, floor, ceiling, gap, ways, few, named, seeds)


def short_labels(groups: Sequence[Group], shown: Callable[[Group], Hashable]) -> dict[Group, str]:
    """A name for each group, as :func:`domaingap.study.compare.labels` has it, but that groups which differ in their steps
    are told apart by these alone, where that is enough.

    Args:
        groups: of one plot or table.
        shown: what stands beside the name.
    """
    plain = Counter((group.label, shown(group)) for group in groups)
    stepped = {
        group: f"{group.label} ({group.first.steps_answering:,} steps)"
        for group in groups
        if plain[group.label, shown(group)] > 1
    }
    enough = len({(name, shown(group)) for group, name in stepped.items()}) == len(stepped)
    return {group: stepped.get(group, group.label) for group in groups} if enough else labels(groups, shown)


def ends(family: Family, on: str, strategies: Strategies) -> tuple[Group | None, Group | None]:
    """The two ends of the gap: synthetic data alone, and real data alone with the most real images, picked by one rule.

    Of several that would do, those with the fewest steps: as many as the strategies' networks from scratch had.
    """
    rule = _rule(family, strategies)
    valued = [group for group in family.groups if group.values(on)]
    floor_rule = "source_val" if rule == "budget" else rule
    floors = [g for g in valued if strategies.is_floor(g.first) and g.first.selection == floor_rule]
    ceilings = [
        g for g in valued if g.first.recipe == strategies.ceiling and g.first.selection == rule and not g.budget.unknown
    ]
    floor = min(floors, key=lambda g: g.first.scratch_steps, default=None)
    ceiling = min(ceilings, key=lambda g: (-g.budget.n, g.first.scratch_steps), default=None)
    return floor, ceiling


def _rule(family: Family, strategies: Strategies) -> str:
    """The selection rule that most of the strategies' groups have."""
    ways = [group.first.selection for group in family.groups if not strategies.is_floor(group.first)]
    ways = ways or [group.first.selection for group in family.groups]
    return Counter(ways).most_common(1)[0][0]


def _closes(cell: Cell, floor: Group | None, ceiling: Group | None, on: str) -> float | None:
    if floor is None or ceiling is None:
        return None
    low, high = floor.cell(on).interval.mean, ceiling.cell(on).interval.mean
    return (low - cell.interval.mean) / (low - high) if low > high else None


def _best_saved(saved: AllSaved, rule: str) -> list[Saved]:
    """At each number of real images but the most, the strategy that is the best on validation."""
    by_n: dict[int, list[Saved]] = {}
    for row in saved.rows:
        if row.n and row.group.first.selection == rule and row.n < row.curve.largest:
            by_n.setdefault(row.n, []).append(row)
    return [min(rows, key=lambda row: _on_validation(row.group)) for _, rows in sorted(by_n.items())][:3]


def _on_validation(group: Group) -> float:
    values = list(group.values("val").values())
    return float(np.mean(values)) if values else math.inf


def _nme(cell: Cell) -> str:
    return format_metric("nme", cell.interval.mean)


def _share(value: float | None) -> str:
    return "none" if value is not None and round(100 * value) == 0 else "-" if value is None else f"{100 * value:.0f}%"


def _interval(comparison: Comparison | None) -> object:
    return None if comparison is None else comparison.difference.interval


def _beside(comparison: Comparison) -> str:
    """How a strategy does beside a baseline."""
    mean, low, high = comparison.difference.interval
    verdict = comparison.difference.verdict
    within = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    if verdict is Verdict.OPEN:
        return f"a difference of {mean:+.2f} points{within}, too small to be told from"
    return f"{abs(mean):.2f} points {'better' if verdict is Verdict.BETTER else 'worse'} than"


def _end(value: float, row: Saved) -> str:
    bound = {math.inf: f"> {row.curve.largest:,}", -math.inf: f"< {row.curve.smallest:,}"}.get(value)
    return bound or f"{value:,.0f}"
