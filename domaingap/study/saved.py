"""Real images saved: at how many real images real data alone reaches what a strategy reaches with n of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domaingap.statistics import ClusterBootstrap, FallingCurve, Interval, SeedDraws, open_quantiles
from domaingap.study.by_face import ByFace
from domaingap.study.compare import NOTHING, Cell, Group, Strategies, ceilings
from domaingap.study.record import RunRecord, by_seed


@dataclass(frozen=True, eq=False)
class RealCurve:
    """Real data alone over numbers of real images.

    Attributes:
        by_n: the group at each n that has values, in order.
        values: NME by seed at each n.
    """

    by_n: dict[int, Group]
    values: dict[int, dict[int, float]]

    @property
    def smallest(self) -> int:
        return min(self.by_n)

    @property
    def largest(self) -> int:
        return max(self.by_n)

    @property
    def seeds(self) -> list[int]:
        """How many seeds each n has."""
        return [len(of) for of in self.values.values()]

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean over seeds at each n."""
        return np.array([np.mean(list(of.values())) for of in self.values.values()])

    @property
    def rise(self) -> tuple[float, int, int]:
        """The most that the mean rises from an n to a larger one, in points of NME, and these two; 0 of a falling curve."""
        ns = list(self.by_n)
        pairs = [(float(self.means[j] - self.means[i]), ns[i], ns[j]) for j in range(len(ns)) for i in range(j)]
        return max(pairs, default=(0.0, 0, 0))

    def falling(self, values: NDArray[np.float64]) -> FallingCurve:
        """The fit through values [..., K] at its n, weighted by seeds."""
        return FallingCurve(list(self.by_n), values, self.seeds)


@dataclass(frozen=True, eq=False)
class Saved:
    """What a strategy's group reaches, and where real data alone does.

    Attributes:
        group: of the strategy.
        cell: its NME.
        curve: real data alone over n, at each n the baseline that the group would have there.
        reached: the number of real images at which the curve is as good, with its 95% interval: inf above the curve's
            largest n, -inf below its smallest, NaN for the ends where there is no interval.
        over: what the interval is over; empty where there is none.
        longer: whether the group's network was trained further than one from scratch, so that the curve is at each n the
            better on validation of real data alone at both numbers of steps.
        shorter_at: the n at which there was the shorter alone, which favours the strategy.
    """

    group: Group
    cell: Cell
    curve: RealCurve
    reached: Interval
    over: str
    longer: bool
    shorter_at: tuple[int, ...]

    @property
    def n(self) -> int:
        """Real images that the strategy was fitted on."""
        return self.group.budget.n

    @property
    def seeds(self) -> list[int]:
        """Seeds behind each figure that it is made of."""
        return [len(self.cell.by_seed), *self.curve.seeds]


@dataclass(frozen=True)
class AllSaved:
    """The rows of a family, and how many groups have none: of unknown budgets, and without a curve beside them."""

    rows: list[Saved]
    unknown: int
    without_curve: int


class SavedImages:
    """Finds out what is saved, with intervals.

    Ends are quantiles of draws. In each draw the means over seeds are drawn from Student's t jointly (:class:`SeedDraws`:
    the same seeds for the strategy and the curve), the photographs are resampled, the same ones for all runs, where every
    run has predictions, and the curve is fitted again.

    Args:
        on: the set of faces.
        strategies: floor and ceiling.
        by_face: reads predictions.
        draws: how many.
    """

    def __init__(self, on: str, strategies: Strategies, by_face: ByFace, draws: int = 4000) -> None:
        self.on, self.strategies, self.by_face, self.draws = on, strategies, by_face, draws
        self._seeds = SeedDraws(draws)
        self._bootstraps: dict[bytes, ClusterBootstrap] = {}
        self._by_photograph: dict[str, NDArray[np.float64]] = {}
        self._fits: dict[tuple[object, ...], FallingCurve] = {}
        self._curves: dict[tuple[int, ...], RealCurve] = {}

    def family(self, groups: Sequence[Group]) -> AllSaved:
        """Every strategy of a family at every number of real images that it ran with."""
        rows = []
        unknown = without_curve = 0
        for group in groups:
            values = group.values(self.on)
            if group.first.recipe == self.strategies.ceiling or not values:
                continue
            if group.budget.unknown:
                unknown += 1
                continue
            found = ceilings(group, groups, self.strategies)
            curve = self._curve({n: other for n, (other, _) in found.items()})
            if curve is None:
                without_curve += 1
                continue
            reached, over = self._reached(group, values, curve)
            shorter = tuple(n for n, (_, lengths) in found.items() if n in curve.by_n and lengths == "shorter")
            rows.append(Saved(group, group.cell(self.on), curve, reached, over, group.longer, shorter))
        return AllSaved(rows, unknown, without_curve)

    def _curve(self, by_n: dict[int, Group]) -> RealCurve | None:
        """A curve with a value at two n or more; the same object for the same groups."""
        valued = {n: group for n, group in sorted(by_n.items()) if group.values(self.on)}
        if len(valued) < 2:
            return None
        new = RealCurve(valued, {n: group.values(self.on) for n, group in valued.items()})
        return self._curves.setdefault(tuple(map(id, valued.values())), new)

    def _reached(self, group: Group, values: dict[int, float], curve: RealCurve) -> tuple[Interval, str]:
        mean = float(np.mean(list(values.values())))
        estimate = float(curve.falling(curve.means).reached(mean))
        counts = {len(values), *curve.seeds}
        if 1 in counts and len(counts) > 1:
            return Interval(estimate, *NOTHING[1:]), ""  # some means have no known spread
        runs = [by_seed(of.runs)[seed] for of in (*curve.by_n.values(), group) for seed in of.values(self.on)]
        over = ["seeds"] if 1 not in counts else []
        photographs = self._photographs(runs)
        over += ["photographs"] if photographs else []
        if not over:
            return Interval(estimate, *NOTHING[1:]), ""
        fit = self._fit(curve, photographs)
        return Interval(estimate, *open_quantiles(fit.reached(self._drawn(group, photographs)))), " and ".join(over)

    def _photographs(self, runs: Iterable[RunRecord]) -> bool:
        """Whether all runs have predictions on the same faces; their means over resampled photographs are kept then."""
        runs = list(runs)
        found = self.by_face.together(runs)
        if found is None:
            return False
        key = "\n".join(found.photographs).encode()
        if key not in self._bootstraps:
            self._bootstraps[key] = ClusterBootstrap(found.photographs, resamples=self.draws)
        for run, nme in zip(runs, found.nme, strict=True):
            if run.key not in self._by_photograph:
                self._by_photograph[run.key] = self._bootstraps[key].means(nme)
        return True

    def _drawn(self, group: Group, photographs: bool) -> NDArray[np.float64]:
        """The group's mean in each draw [draws]."""
        runs = by_seed(group.runs)
        values = group.values(self.on)
        return self._seeds.means({s: self._by_photograph[runs[s].key] if photographs else values[s] for s in values})

    def _fit(self, curve: RealCurve, photographs: bool) -> FallingCurve:
        key = (id(curve), photographs)
        if key not in self._fits:
            drawn = [self._drawn(group, photographs) for group in curve.by_n.values()]
            self._fits[key] = curve.falling(np.stack(drawn, axis=1))
        return self._fits[key]
