"""Does the suite measure what it should? Checks of runs on generated faces with one gap at a time, whose answers are known
beforehand; as numbers, and their tables. What adapters do to pairs of labels is in :mod:`.laboratory_pairs`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from domaingap.config import RunSettings, TargetConfig
from domaingap.errors import UserError
from domaingap.hashing import finite
from domaingap.statistics import Interval, t_interval
from domaingap.study.compare import Strategies
from domaingap.study.record import RunRecord
from domaingap.study.tables import Column, Table, interval_column, metric, number, number_column, percent, with_interval

CheckVerdict = Literal["passed", "MISSED", "reported", "not measured"]

MARGIN = 0.3
"""NME in % by which a strategy may differ from real_only and still equal it."""
SHARE = 0.8
"""Share of a gap that has to go."""
MOVEMENT = 0.5
"""How far, in % of the eyes' distance, an adapter may move true labels where these are right already."""
SEEDS = 5 / 6
"""Share of the seeds with which it has to hold."""
ON = "generated"
"""The target domain's test faces."""
GAPS = ("label_gap", "appearance_gap", "population_gap")


class PlannedRun(Protocol):
    """What is asked of a run of the plan: its settings, and the key of its finished run."""

    @property
    def settings(self) -> RunSettings: ...
    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class Check:
    """One thing that the laboratory should find.

    Attributes:
        condition: which gaps there are.
        asked: what should hold.
        measured: mean with its 95% interval, whose bounds are NaN for a single seed; None where runs are missing.
        share: it is a share, not NME in %.
        over: what the interval is over.
        verdict: ``reported`` where nothing in particular is expected.
        note: what else there is to know.
        by_seed: what the mean is of, where it is over seeds.
    """

    condition: str
    asked: str
    measured: Interval | None
    share: bool
    over: str
    verdict: CheckVerdict
    note: str = ""
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The measured value as tables show it."""
        return with_interval(percent if self.share else number(2, sign=True))(self.measured) if self.measured else "-"


@dataclass(frozen=True)
class Condition:
    """Target faces with the same gaps, and the finished runs on them; those under real_only's selection rule alone."""

    dials: TargetConfig
    runs: list[RunRecord]

    @property
    def gaps(self) -> dict[str, float]:
        """The gaps that are open."""
        return {name: getattr(self.dials, name) for name in GAPS if getattr(self.dials, name)}

    @property
    def name(self) -> str:
        """What tables call it."""
        return ", ".join(f"{name} {value:g}" for name, value in self.gaps.items()) or "all dials 0"

    def of(self, recipe: str) -> dict[int, RunRecord]:
        """A strategy's runs by seed, those of the longest training: a shorter one is what fine_tuning starts from."""
        runs = sorted((run for run in self.runs if run.recipe == recipe), key=lambda run: run.steps_answering)
        return {run.seed: run for run in sorted(runs, key=lambda run: run.seed)}

    def nme(self, recipe: str) -> dict[int, float]:
        """A strategy's NME in % by seed, of the runs that have one."""
        return {seed: nme for seed, run in self.of(recipe).items() if (nme := run.value(ON)) is not None}

    def against_real(self, recipe: str) -> dict[int, tuple[float, float]]:
        """NME in % of a strategy and of real_only by seed: the real_only of the same seed and of as many steps as stand
        behind the strategy's answers."""
        real = {(r.seed, r.steps_answering): r.value(ON) for r in self.runs if r.recipe == "real_only"}
        pairs = {seed: (run.value(ON), real.get((seed, run.steps_answering))) for seed, run in self.of(recipe).items()}
        return {seed: (own, base) for seed, (own, base) in pairs.items() if own is not None and base is not None}


def read_conditions(plan: Sequence[PlannedRun], finished: Mapping[str, RunRecord], folder: Path) -> list[Condition]:
    """The planned runs that are finished, by the gaps of their target faces, in the plan's order.

    Args:
        plan: the study's runs.
        finished: their records by the plan's key.
        folder: where they were looked for.

    Raises:
        UserError: none is finished, they are on different versions of the faces, or a strategy was run twice with a seed.
    """
    if not finished:
        raise UserError(f"{folder}: none of the study's runs is finished; give the command without --check_only")
    conditions: dict[tuple[float, ...], Condition] = {}
    for run in plan:
        dials = run.settings.real.generated
        condition = conditions.setdefault(tuple(getattr(dials, name) for name in GAPS), Condition(dials, []))
        if run.key in finished:
            condition.runs.append(finished[run.key])
    for condition in conditions.values():
        for domain in ("real", "synthetic"):
            if len({run.data[domain].fingerprint for run in condition.runs if domain in run.data}) > 1:
                raise UserError(f"{folder}: runs on different versions of the faces; give the command without --check_only")
        rules = {run.selection for run in condition.runs if run.recipe == "real_only"}
        if not rules and len({run.selection for run in condition.runs}) > 1:
            rules = {"real_val"}  # real_only isn't finished here
        condition.runs[:] = [run for run in condition.runs if run.selection in rules or not rules]
        cells = [(run.recipe, run.seed, run.steps_answering) for run in condition.runs]
        if twice := [cell[0] for cell in cells if cells.count(cell) > 1]:
            raise UserError(f"{folder}: several runs of {twice[0]} with one seed; a laboratory has one of each strategy")
    return list(conditions.values())


# What the networks should show.


def over_seeds(values: Mapping[int, float]) -> Interval | None:
    """Mean and Student's t interval of a value by seed; bounds of NaN for a single seed, None without any."""
    given = list(values.values())
    if len(given) < 2:
        return Interval(given[0], float("nan"), float("nan")) if given else None
    return t_interval(given)


def differences(pairs: Mapping[int, tuple[float, float]]) -> dict[int, float]:
    """The first of each pair minus the second, by seed."""
    return {seed: one - other for seed, (one, other) in pairs.items()}


def shares_closed(synthetic: Mapping[int, tuple[float, float]], own: Mapping[int, float]) -> dict[int, float]:
    """Share of the gap that a strategy closes, by seed.

    Args:
        synthetic: NME of synthetic_only and of real_only by seed: the gap.
        own: the strategy's NME by seed.

    Returns:
        (synthetic_only - strategy) / (synthetic_only - real_only), where that gap is above zero.
    """
    return {
        seed: (worse - own[seed]) / (worse - better)
        for seed, (worse, better) in synthetic.items()
        if seed in own and worse > better
    }


def _seeds(values: Mapping[int, float]) -> str:
    return f"{len(values)} seed{'s' if len(values) != 1 else ''}"


def difference_check(condition: str, strategy: str, pairs: Mapping[int, tuple[float, float]], what: str) -> Check:
    """Whether a strategy equals real_only: the whole interval of the paired difference within the margin.

    Args:
        condition: which gaps there are.
        strategy: its name.
        pairs: NME in % of the strategy and of its real_only by seed.
        what: ``equals`` for within ±margin; ``closes`` where being better is as good.
    """
    values = differences(pairs)
    measured = over_seeds(values)
    bound = f"within ±{MARGIN}" if what == "equals" else f"below +{MARGIN}"
    asked = f"{strategy} minus real_only {bound}"
    if measured is None or not math.isfinite(measured.low):
        note = "no interval from a single seed" if measured else "runs are missing"
        return Check(condition, asked, measured, False, _seeds(values), "not measured", note, values)
    kept = measured.high <= MARGIN and (what == "closes" or measured.low >= -MARGIN)
    return Check(condition, asked, measured, False, _seeds(values), "passed" if kept else "MISSED", "", values)


def share_check(
    condition: str, strategy: str, synthetic: Mapping[int, tuple[float, float]], own: Mapping[int, float], judged: bool
) -> Check:
    """Whether a strategy closes enough of the gap, on the mean over seeds; see :func:`shares_closed`."""
    shares = shares_closed(synthetic, own)
    asked = f"{strategy} closes {f'at least {SHARE:.0%}' if judged else 'a share'} of synthetic_only minus real_only"
    both = [seed for seed in synthetic if seed in own]
    if not both:
        return Check(condition, asked, None, True, "0 seeds", "not measured", "runs are missing")
    measured = over_seeds(shares)
    without = [str(seed) for seed in both if seed not in shares]
    note = f"no gap to close with seed {', '.join(without)}" if without else ""
    # Where there is no gap, it can't be told that it was closed.
    passed = measured is not None and not without and measured.mean >= SHARE
    verdict: CheckVerdict = "reported" if not judged else "passed" if passed else "MISSED"
    return Check(condition, asked, measured, True, _seeds(shares), verdict, note, shares)


def movement_check(condition: str, moved: Mapping[int, float]) -> Check:
    """Whether the adapter for labels leaves labels alone that are right already, with five of six seeds. A warning where it
    doesn't is no excuse: the labels are wrong then.

    Args:
        condition: which gaps there are; none of labels.
        moved: by seed how far it moves true labels, in % of the eyes' distance.
    """
    asked = f"the adapter for labels moves true ones by less than {MOVEMENT}% of the eyes' distance"
    if not moved:
        return Check(condition, asked, None, False, "0 seeds", "not measured", "runs are missing")
    kept = sum(distance < MOVEMENT for distance in moved.values())
    verdict: CheckVerdict = "passed" if kept >= SEEDS * len(moved) else "MISSED"
    note = f"with {kept} of {len(moved)}"
    return Check(condition, asked, over_seeds(moved), False, _seeds(moved), verdict, note, moved)


def gain_check(condition: str, strategy: str, pairs: Mapping[int, tuple[float, float]]) -> Check:
    """Whether a strategy is better than synthetic_only: the whole interval of the paired difference below zero.

    Args:
        condition: which gaps there are.
        strategy: its name.
        pairs: NME in % of the strategy and of synthetic_only by seed.
    """
    values = differences(pairs)
    measured = over_seeds(values)
    asked = f"{strategy} minus synthetic_only below 0"
    if measured is None or not math.isfinite(measured.low):
        note = "no interval from a single seed" if measured else "runs are missing"
        return Check(condition, asked, measured, False, _seeds(values), "not measured", note, values)
    return Check(condition, asked, measured, False, _seeds(values), "passed" if measured.high < 0 else "MISSED", "", values)


def network_checks(condition: Condition, strategies: Strategies) -> list[Check]:
    """What the runs of a condition should show."""
    name, gaps = condition.name, set(condition.gaps)
    synthetic = condition.against_real("synthetic_only")
    if not gaps:
        others = [recipe for recipe in strategies.order if recipe != strategies.ceiling]
        equal = [difference_check(name, recipe, condition.against_real(recipe), "equals") for recipe in others]
        return [*equal, movement_check(name, _movements_for_labels(condition))]
    checks = [_reported(name, "the gap: synthetic_only minus real_only", differences(synthetic))]
    adapted = condition.nme("label_adaptation")
    if "label_gap" in gaps:
        # Closing nearly all of the gap is asked of adapters where it is of labels alone.
        alone, corrected = gaps == {"label_gap"}, condition.nme("data_adaptation")
        checks.append(share_check(name, "label_adaptation", synthetic, adapted, alone))
        checks.append(share_check(name, "data_adaptation", synthetic, corrected, alone))
        both = {seed: (corrected[seed], worse) for seed, (worse, _) in synthetic.items() if seed in corrected}
        checks.append(gain_check(name, "data_adaptation", both))
        checks += [difference_check(name, of, condition.against_real(of), "closes") for of in ("mixing", "fine_tuning")]
    elif gaps == {"population_gap"}:
        checks.append(movement_check(name, _movements_for_labels(condition)))
    elif gaps == {"appearance_gap"}:
        gain = {seed: worse - adapted[seed] for seed, (worse, _) in synthetic.items() if seed in adapted}
        repair = "repair of the network's errors: the labels are the same"
        checks.append(_reported(name, "label_adaptation's gain over synthetic_only", gain, repair))
        checks.append(movement_check(name, _movements_for_labels(condition)))
        other = _movements(condition, "label_adaptation")
        checks.append(_reported(name, "the adapter for predictions would move true labels by", other))
        tuned = condition.against_real("fine_tuning")
        checks.append(difference_check(name, "fine_tuning", tuned, "closes"))
        # The gap to the same real_only that it is compared with.
        synthetic_at = {seed: (synthetic[seed][0], real) for seed, (_, real) in tuned.items() if seed in synthetic}
        own = {seed: value for seed, (value, _) in tuned.items()}
        checks.append(share_check(name, "fine_tuning", synthetic_at, own, False))
    return checks


def _reported(condition: str, asked: str, values: Mapping[int, float], note: str = "") -> Check:
    measured = over_seeds(values)
    verdict: CheckVerdict = "reported" if measured else "not measured"
    return Check(
        condition, asked, measured, False, _seeds(values), verdict, note if measured else "runs are missing", values
    )


def _movements(condition: Condition, recipe: str) -> dict[int, float]:
    runs = condition.of(recipe).items()
    return {seed: run.adapter.movement_labels["all"] for seed, run in runs if run.adapter is not None}


def _movements_for_labels(condition: Condition) -> dict[int, float]:
    return _movements(condition, "data_adaptation") or _movements(condition, "mixing")


# Tables and the record.


def checks_table(checks: Sequence[Check], short: bool) -> Table:
    """All checks, misses included."""
    rows = [[check.condition, check.asked, check, check.over, check.verdict, check.note] for check in checks]
    counts = [f"{sum(check.verdict == verdict for check in checks)} {verdict}" for verdict in ("passed", "MISSED")]
    unmeasured = sum(check.verdict == "not measured" for check in checks)
    notes = [
        ", ".join([*counts, *([f"{unmeasured} not measured"] if unmeasured else [])])
        + ("; a short study: its networks' figures mean nothing." if short else "."),
        "NME and differences in % of the outer eye corners' distance, on the target domain's test faces.",
        "every strategy is compared with the real_only of the same seed and of as many steps as stand behind its answers; "
        "of fine_tuning both stages count.",
        "[ ]: 95% interval, Student's t on paired differences over seeds; of pairs of labels over faces (bootstrap).",
        f"far points: those whose labels lie {MOVEMENT}% of the eyes' distance or more apart on the mean.",
    ]
    measured = number_column("measured", lambda check: check.text)
    return Table(
        "Checks",
        [Column("condition"), Column("asked"), measured, Column("over"), Column("verdict"), Column("note")],
        rows,
        notes,
    )


def nme_table(conditions: Sequence[Condition], strategies: Strategies) -> Table:
    """NME of every strategy under every condition."""
    lines: dict[tuple[str, int], dict[str, dict[int, float]]] = {}
    for condition in conditions:
        for run in condition.runs:
            line = lines.setdefault((run.recipe, run.steps_answering), {})
            if (nme := run.value(ON)) is not None:
                line.setdefault(condition.name, {})[run.seed] = nme
    rows = [
        [recipe, steps, *(over_seeds(lines[recipe, steps].get(condition.name, {})) for condition in conditions)]
        for recipe, steps in sorted(lines, key=lambda line: (strategies.rank(line[0]), line[1]))
    ]
    columns = [Column("strategy"), number_column("steps"), *(interval_column(c.name, metric("nme")) for c in conditions)]
    runs = [run for condition in conditions for run in condition.runs]
    budgets = sorted({(run.n_real_train, run.n_synthetic) for run in runs if run.n_real_train and run.source})
    notes = [f"trained on {n} real and {m} synthetic faces." for n, m in budgets]
    without = sum(run.value(ON) is None for run in runs)
    notes += [f"{without} run{'s' if without > 1 else ''} without {ON} NME left out."] if without else []
    return Table("NME % on the target's test faces", columns, rows, notes)


def plain_interval(interval: Interval | None) -> dict[str, float | None] | None:
    """An interval for JSON."""
    return {key: finite(value) for key, value in interval._asdict().items()} if interval is not None else None


def plain_check(check: Check) -> dict[str, Any]:
    """A check for ``laboratory.json``."""
    return {
        "condition": check.condition,
        "asked": check.asked,
        "verdict": check.verdict,
        "unit": "share" if check.share else "% of the outer eye corners' distance",
        "measured": plain_interval(check.measured),
        "over": check.over,
        "by_seed": {str(seed): finite(value) for seed, value in check.by_seed.items()},
        "note": check.note,
    }


def plain_condition(condition: Condition) -> dict[str, Any]:
    """A condition and its runs for ``laboratory.json``."""
    return {
        "dials": {name: getattr(condition.dials, name) for name in GAPS},
        "runs": [
            {
                "recipe": run.recipe,
                "seed": run.seed,
                "steps": run.steps_answering,
                "nme": run.value(ON),
                "name": run.folder.name,
            }
            for run in condition.runs
        ],
    }
