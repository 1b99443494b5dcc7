"""The gap taken apart: which part lies in the labels, which in the pictures, and what real data alone leaves.

At the largest number of real images at which all three exist::

    synthetic_only = (synthetic_only - label_adaptation) + (label_adaptation - real_only) + real_only
                      label part                            visual part                    rest

The label part is an upper bound: an adapter for predictions also repairs errors of the network, so that its diagnosis
belongs beside it, above all how much of its gain a mere shift has (systematic, as a convention of labels is).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domaingap.errors import UserError
from domaingap.hashing import content_key
from domaingap.sources import source
from domaingap.statistics import Interval
from domaingap.study.by_face import ByFace
from domaingap.study.compare import (
    NOTHING,
    Family,
    Group,
    Strategies,
    compared_groups,
    difference,
    families,
    floor_and_ceiling,
)
from domaingap.study.record import DomainDistance, RunRecord

DIALS = ("label_gap", "appearance_gap", "population_gap")
"""Of generated faces that stand in for photographs."""


@dataclass(frozen=True)
class Diagnosis:
    """What the label adapters for predictions did, as means over runs; movements in % of the outer eye corners' distance.

    Attributes:
        kinds: how many runs chose each.
        nme_before: NME in % of the bare predictions on the faces that chose the adapter.
        nme: after it.
        nme_by_kind: likewise of each kind that was tried in every run.
        moves_predictions: mean distance by region, ``all`` first.
        moves_labels: what it would do to exact synthetic labels.
        spread_ratio: shape spread of these labels after over before; None where it isn't known.
        warnings: how many runs were warned of.
        label_gap: how long the label gap is on the mean, as held-out synthetic faces tell it from the network's error; None
            where a run doesn't know, as of earlier versions.
        own_error: likewise the network's own error.
        repair: what an adapter takes away of the NME on held-out synthetic faces, where there is no label gap.
    """

    kinds: dict[str, int]
    nme_before: float
    nme: float
    nme_by_kind: dict[str, float]
    moves_predictions: dict[str, float]
    moves_labels: dict[str, float]
    spread_ratio: float | None
    warnings: int
    label_gap: float | None = None
    own_error: float | None = None
    repair: float | None = None

    @property
    def by_shift(self) -> float | None:
        """What a mere shift of each point takes away, in points of NME: a label gap is systematic, and repair mostly isn't.
        None where a shift wasn't tried."""
        return self.nme_before - self.nme_by_kind["shift"] if "shift" in self.nme_by_kind else None


@dataclass(frozen=True)
class Distance:
    """How far the domains lie apart in the features of synthetic networks of several seeds.

    Attributes:
        by_seed: each network's.
        kid: unbiased MMD² under the polynomial kernel: the networks' mean, with the widest of their 95% intervals. (All look
            at the same faces: how little networks differ doesn't say how sure the distance is.)
        kid_null: the middle 95% of what permutations give, likewise the widest.
        mmd: likewise under the Gaussian kernel.
        mmd_null: likewise.
    """

    by_seed: dict[int, DomainDistance]
    kid: Interval
    kid_null: tuple[float, float]
    mmd: Interval
    mmd_null: tuple[float, float]

    @property
    def p(self) -> float:
        """The largest p-value of all networks and both kernels, that the domains are one distribution."""
        return max(p for of in self.by_seed.values() for p in (of.kid_p, of.mmd_p))


@dataclass(frozen=True, eq=False)
class GapParts:
    """A gap in parts; all of them over the same seeds, so that they add up.

    Attributes:
        on: the set of faces.
        family: name of the groups' family.
        n_real: real images of label_adaptation and real_only.
        selection: the rule that picked label_adaptation's network and adapter.
        steps: optimiser steps of each network.
        seeds: that all three groups have a value of.
        over: what intervals are over: ``seeds`` (Student's t on paired differences), or of a single one ``images``
            (photographs resampled in pairs).
        floor: synthetic_only; its runs of these seeds.
        adapted: label_adaptation; likewise.
        ceiling: real_only; likewise.
        whole: NME of the floor.
        gap: floor minus ceiling.
        label: floor minus adapted: an upper bound of what labels make.
        visual: adapted minus ceiling.
        rest: NME of the ceiling.
        diagnosis: of the adapters; None of runs that recorded none.
        distance: of the domains in the floor's networks; None of runs of earlier versions.
        dials: of generated faces in place of photographs, by name; None of photographs.
        problems: why intervals are missing.
    """

    on: str
    family: str
    n_real: int
    selection: str
    steps: int
    seeds: tuple[int, ...]
    over: str
    floor: Group
    adapted: Group
    ceiling: Group
    whole: Interval
    gap: Interval
    label: Interval
    visual: Interval
    rest: Interval
    diagnosis: Diagnosis | None
    distance: Distance | None
    dials: dict[str, float] | None
    problems: tuple[str, ...] = ()


def gap_parts(
    records: Sequence[RunRecord], on: str, strategies: Strategies, by_face: ByFace | None = None
) -> list[GapParts]:
    """The gap in parts: of each family, selection rule, number of steps and kind of adapter, at the largest number of real
    images at which all three strategies exist; the largest numbers first.

    Args:
        records: of all runs.
        on: the set of faces.
        strategies: floor and ceiling.
        by_face: reads predictions, which single seeds need.
    """
    by_face = by_face or ByFace(on)
    found: list[GapParts] = []
    for family in families(compared_groups(records, strategies)):
        largest: dict[str, GapParts] = {}
        for group in family.groups:
            if group.first.adapter is None or group.first.adapter.use != "predictions" or group.budget.unknown:
                continue
            if group.first.appearance:  # what it gains over synthetic_only is no label part
                continue
            parts = _parts(family, group, on, strategies, by_face)
            # A line of groups that differ in their number of real images alone.
            key = content_key({name: value for name, value in group.settings.items() if name != "n_real"})
            if parts is not None and (key not in largest or parts.n_real > largest[key].n_real):
                largest[key] = parts
        found += largest.values()
    return sorted(found, key=lambda parts: (-parts.n_real, parts.family, parts.selection != "real_val", parts.steps))


def _parts(family: Family, adapted: Group, on: str, strategies: Strategies, by_face: ByFace) -> GapParts | None:
    """The parts at one group's number of real images; None where a strategy or a shared seed is missing."""
    floor, ceiling = floor_and_ceiling(adapted, family.groups, strategies)
    if floor is None or ceiling is None:
        return None
    groups = (floor, adapted, ceiling)
    seeds = tuple(sorted(set.intersection(*(set(group.values(on)) for group in groups))))
    if not seeds:
        return None
    floor, adapted, ceiling = (Group(tuple(run for run in group.runs if run.seed in seeds)) for group in groups)
    problems = len(by_face.problems)
    gap, label, visual = (_minus(a, b, on, by_face) for a, b in ((floor, ceiling), (floor, adapted), (adapted, ceiling)))
    real = floor.first.config.get("real", {})
    return GapParts(
        on=on,
        family=family.name,
        n_real=adapted.budget.n,
        selection=adapted.first.selection,
        steps=adapted.trained,
        seeds=seeds,
        over="seeds" if len(seeds) > 1 else "images",
        floor=floor,
        adapted=adapted,
        ceiling=ceiling,
        whole=floor.cell(on).interval,
        gap=gap,
        label=label,
        visual=visual,
        rest=ceiling.cell(on).interval,
        diagnosis=diagnosis(adapted.runs),
        distance=distance(floor.runs),
        dials=dials(real),
        problems=tuple(by_face.said()) if len(by_face.problems) > problems else (),
    )


def _minus(a: Group, b: Group, on: str, by_face: ByFace) -> Interval:
    """NME of ``a`` minus that of ``b``; without an interval where a single seed's predictions can't be read."""
    found = difference(a, b, on, by_face)
    if found is not None:
        return found.interval
    (one, other) = (next(iter(group.values(on).values())) for group in (a, b))
    return Interval(one - other, *NOTHING[1:])


def diagnosis(runs: Sequence[RunRecord]) -> Diagnosis | None:
    """What the label adapters of runs did; None where a run has none."""
    own = [run.adapter for run in runs]
    adapters = [adapter for adapter in own if adapter is not None]
    if not adapters or len(adapters) < len(own):
        return None

    def mean(values: Sequence[float]) -> float:
        return math.fsum(values) / len(values)

    def by_name(given: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: mean([of[name] for of in given]) for name in given[0] if all(name in of for of in given)}

    parts = [adapter.parts for adapter in adapters if adapter.parts is not None]
    told = len(parts) == len(adapters)
    spread = [adapter.spread_ratio for adapter in adapters if adapter.spread_ratio is not None]
    return Diagnosis(
        kinds=dict(Counter(adapter.kind for adapter in adapters)),
        nme_before=mean([adapter.nme_before for adapter in adapters]),
        nme=mean([adapter.nme for adapter in adapters]),
        nme_by_kind=by_name([adapter.nme_by_kind for adapter in adapters]),
        moves_predictions=by_name([adapter.movement_predictions for adapter in adapters]),
        moves_labels=by_name([adapter.movement_labels for adapter in adapters]),
        spread_ratio=mean(spread) if spread else None,
        warnings=sum(adapter.warning is not None for adapter in adapters),
        label_gap=mean([of.gap["all"] for of in parts]) if told else None,
        own_error=mean([of.error["all"] for of in parts]) if told else None,
        repair=mean([of.nme_before - of.nme_after for of in parts]) if told else None,
    )


def distance(runs: Sequence[RunRecord]) -> Distance | None:
    """How far the domains lie apart in the features of runs' networks; None where no run knows."""
    known = {run.seed: run.domain_distance for run in runs if run.domain_distance is not None}
    if not known:
        return None

    def widest(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
        return min(low for low, _ in ends), max(high for _, high in ends)

    def mean(values: Sequence[float], ends: Sequence[tuple[float, float]]) -> Interval:
        return Interval(math.fsum(values) / len(values), *widest(ends))

    all_of = list(known.values())
    return Distance(
        known,
        mean([of.kid for of in all_of], [of.kid_interval for of in all_of]),
        widest([of.kid_null for of in all_of]),
        mean([of.mmd for of in all_of], [of.mmd_interval for of in all_of]),
        widest([of.mmd_null for of in all_of]),
    )


def dials(real: Mapping[str, object]) -> dict[str, float] | None:
    """The dials of generated faces that stand in for photographs, from a run's settings of real faces; None of photographs,
    and of settings that don't say."""
    name, generated = real.get("source"), real.get("generated")
    try:
        made = isinstance(name, str) and source(name).folder is None
    except UserError:  # of a version that has other data sets
        return None
    if not made or not isinstance(generated, Mapping):
        return None
    values = {key: generated.get(key) for key in DIALS}
    return {key: float(value) for key, value in values.items() if isinstance(value, (int, float))} or None
