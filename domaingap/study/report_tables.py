"""The tables of ``domaingap report``, from groups, families and comparisons of :mod:`domaingap.study.compare`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_type_hints

from domaingap.config import AdapterConfig
from domaingap.models.gap_and_error import APART
from domaingap.provenance import licence_line
from domaingap.statistics import least_sign_flip_p
from domaingap.study.by_face import ByFace
from domaingap.study.compare import (
    Budget,
    Cell,
    Comparison,
    Family,
    Group,
    Strategies,
    Verdict,
    compared_groups,
    comparisons,
    families,
    figures,
    grouped,
    labels,
    picked_alphas,
)
from domaingap.study.curves import lines
from domaingap.study.record import AdapterRecord, RunRecord, SetRecord, set_key
from domaingap.study.tables import Column, Table, format_metric, interval_column, metric, number, number_column

RULES = (
    "columns: real images that anything was fitted on; (+ 300): further ones that picked checkpoint, adapter, labels.",
    "steps: optimiser steps behind the answering network / of all stages of the run.",
)

HEADLINE = 6
"""Seeds that a headline needs: the fewest whose exact sign-flip p can go below 0.05."""

Columns = tuple[tuple[str, str], ...]
"""Headers of columns, and the metrics below them."""

TAILS: Columns = (("P90 %", "nme_p90"), ("P95 %", "nme_p95"), ("P99 %", "nme_p99"))
"""How bad the worst faces are: the NME that so many percent of the faces don't exceed."""
MORE: Columns = (*TAILS, ("FR@8 %", "fr@8"), ("AUC@8", "auc@8"), ("NME without jaw", "nme_no_jaw"))
"""Metrics beside NME in a run's own table."""
SIGMA: Columns = (
    ("RMS error/σ", "sigma_rms_z"),
    ("within σ %", "sigma_within_1"),
    ("within 2σ %", "sigma_within_2"),
    ("calibration error %", "sigma_calibration_error"),
)
"""How well the standard deviations that a network tells fit its errors."""
SIGMA_RULE = (
    "σ: each landmark's standard deviation as the network tells it; of calibrated ones RMS error/σ is 1, 68.3% of the "
    "coordinates lie within σ and 95.4% within 2σ; calibration error: mean over the quantiles 5% to 95%, 0 at best."
)


def plural(count: int) -> str:
    """The s of so many."""
    return "s" if count != 1 else ""


def scored_sets(records: Sequence[RunRecord]) -> list[str]:
    """Test sets that any run has an NME on, in the order of the results."""
    names = dict.fromkeys(name for record in records for name in record.counts if name.startswith("test/"))
    return [name.removeprefix("test/") for name in names if any(r.metrics.get(f"{name}/nme") is not None for r in records)]


# One run.


def run_table(record: RunRecord) -> Table:
    """A run's figures on every set of faces, with what it was trained on below them."""
    bounds = number_column("95% interval", lambda ends: " to ".join(format_metric("nme", end) for end in ends))
    tells = any(record.metrics.get(f"{name}/{SIGMA[0][1]}") is not None for name in record.counts)
    shown = (*MORE, *(SIGMA if tells else ()))
    more = [number_column(header, metric(name)) for header, name in shown]
    columns = [Column("faces"), number_column("images"), number_column("NME %", metric("nme")), bounds, *more]
    rows = []
    for name, count in record.counts.items():
        nme, *others = (record.metrics.get(f"{name}/{key}") for key in ("nme", *(key for _, key in shown)))
        interval = record.intervals.get(f"{name}/nme") if nme is not None else None
        rows.append([name.removeprefix("test/") + _partial(count), count.images, nme, interval, *others])
    adapter = record.adapter
    notes = [SIGMA_RULE] if tells else []
    if record.appearance:
        how = record.config["synthetic"]
        beta = f", beta {how['appearance_beta']:g}" if record.appearance == "fourier" else ""
        notes.append(
            f"{record.appearance}{beta}: {how['appearance_share']:.0%} of the synthetic training pictures have the look of "
            f"{record.data['real'].n_train} real training images, whose labels were not read for it"
        )
    if record.sigma_factor is not None:
        on = "val" if record.selection == "real_val" else "source_val"
        notes.append(f"σ is the network's own times {record.sigma_factor:.3g}, which makes RMS error/σ 1 on {on}")
    notes.append(
        f"trained on {record.n_real} real and {record.n_synthetic} synthetic images; checkpoint"
        f"{' and adapter' if adapter else ''} by {record.selection}; {record.steps_answering} steps; "
        f"boxes: {record.box_rule}; {record.wall_time_s / 60:.1f} min"
    )
    if record.start is not None and not record.start.known:
        notes.append(f"unknown start: what {record.start.checkpoint} was trained on isn't recorded, and not counted here")
    if adapter is not None:
        notes.append(f"label adapter for {adapter.use}: {_adapter_line(adapter)}")
        notes += [f"warning: {adapter.warning}"] if adapter.warning else []
        notes += [f"caution: {adapter.movement_warning}"] if adapter.movement_warning else []
        notes += _parts_lines(adapter)
    notes.append(licence_line(record.licences, record.non_commercial))
    pictures = ["val_faces.png"] * bool(record.config.get("pictures", True)) + ["adapter.png"] * bool(adapter)
    files = ", ".join(["result.json", "predictions.npz", *pictures, "checkpoints/"])
    notes.append(f"files: {record.folder} ({files})")
    return Table(record.name, columns, rows, notes)


def _adapter_line(adapter: AdapterRecord) -> str:
    """What was chosen, and how far it moves predictions and exact labels."""
    setting = {"linear": "ridge penalty", "mlp": "epochs"}.get(adapter.kind)
    details = [f"{setting} {adapter.setting:g}"] if setting and adapter.setting else []
    details += [f"strength {adapter.strength:g}"] if setting and adapter.strength != 1 else []
    spread = f"{adapter.spread_ratio:.2f}" if adapter.spread_ratio is not None else "nothing known"
    return (
        f"{adapter.kind}"
        + (f" ({', '.join(details)})" if details else "")
        + (" of the difference between both domains' errors" if adapter.learned == "difference" else "")
        + f" by {adapter.chosen_on}, NME {adapter.nme_before:.2f} to {adapter.nme:.2f}; "
        + f"moves predictions {adapter.movement_predictions['all']:.2f}%, "
        + f"true synthetic labels {adapter.movement_labels['all']:.2f}%, of whose spread {spread} is left"
    )


def _parts_lines(adapter: AdapterRecord) -> list[str]:
    """The gap and the network's own error, over all and by region; and what repair alone gains."""
    parts = adapter.parts
    if parts is None:
        return []
    regions = list(parts.gap)[1:]

    def by_region(values: Mapping[str, float]) -> str:
        return f"{values['all']:.2f}% ({' '.join(f'{values[region]:.2f}' for region in regions)})"

    apart = f"; scatter {parts.scatter_ratio:.2f} times that on synthetic faces" if parts.scatter_ratio is not None else ""
    return [
        f"answers to annotations on the mean {by_region(parts.together)}: label gap {by_region(parts.gap)}, by chance alone "
        f"{by_region(parts.chance)}; the network's own error {by_region(parts.error)}{apart} ({', '.join(regions)})",
        f"repair alone: NME {parts.nme_before:.2f} to {parts.nme_after:.2f} on {parts.n_synthetic} held-out synthetic "
        "faces, where there is no label gap",
    ]


def _partial(count: SetRecord) -> str:
    if not count.partial:
        return ""
    if count.images != sum(count.parts.values()):
        return " (of a partial release)"  # drawn from the parts, not all of them
    return f" (partial: {count.images} of {count.published})" if count.published else " (partial)"


# Many runs.


def strategies_tables(records: Sequence[RunRecord], on: str, strategies: Strategies) -> list[Table]:
    """Strategies by budgets of real images: NME on one set of faces, a table for each family."""
    groups = grouped(records, strategies)
    picked = picked_alphas(groups)
    cells = figures([*groups, *picked], picked, on)
    return [_strategies_table(family, cells, on, strategies) for family in families([*groups, *picked])]


def _strategies_table(family: Family, cells: Mapping[Group, Cell], on: str, strategies: Strategies) -> Table:
    # A line holds groups that differ in their budget alone; two at one budget are two lines, whatever they are called.
    valued = [group for group in family.groups if cells[group].by_seed]
    found: list[dict[Budget, Group]] = lines(valued, "n_real", lambda group: group.budget)
    firsts = [next(iter(line.values())) for line in found]
    names = labels(firsts, lambda g: (g.first.source, g.first.steps_answering, g.first.steps_total, g.first.selection))

    def order(line: dict[Budget, Group]) -> tuple[Any, ...]:
        group = next(iter(line.values()))
        run, alpha = group.first, (group.first.appearance, bool(group.picked_from), group.first.alpha or 0)
        return (strategies.rank(run.recipe), run.source, *alpha, run.steps_answering, run.steps_total, run.selection)

    budgets = sorted({budget for line in found for budget in line})
    rows = []
    for line in sorted(found, key=order):
        group = next(iter(line.values()))
        run = group.first
        seeds = sorted({len(cells[g].by_seed) for g in line.values()})
        rule = run.selection + (f" (+ {run.n_real_selection})" if run.n_real_selection else "")
        steps = (run.steps_answering, run.steps_total)
        values = [cells[line[budget]].interval if budget in line else None for budget in budgets]
        rows.append([names[group], run.source or None, steps, rule, (seeds[0], seeds[-1])[: len(seeds)], *values])
    columns = [
        Column("strategy"), Column("synthetic"), number_column("steps", lambda pair: f"{pair[0]} / {pair[1]}"),
        Column("picked by"), number_column("seeds", lambda ends: " to ".join(map(str, ends))),
        *(interval_column(f"{budget} real", metric("nme"), none="") for budget in budgets),
    ]  # fmt: skip
    notes = [
        *score_notes([run for g in family.groups if not g.picked_from for run in g.runs], [] if on == "val" else [on], RULES)
    ]
    notes += left_out_notes(family.groups, on, cells)
    for group in family.groups:
        if group.picked_from:
            counts = Counter(f"{run.alpha:g}" for run in group.runs)
            chosen = ", ".join(f"{alpha} for {count}" for alpha, count in sorted(counts.items()))
            notes.append(f"α by val, {group.budget} real: for each seed the α with the lowest validation NME ({chosen}).")
            notes += left_out_notes(group.picked_from, "val") if on != "val" else []
    return Table(f"NME % on {on}, {family.name}", columns, rows, notes)


def left_out_notes(groups: Sequence[Group], on: str, cells: Mapping[Group, Cell] | None = None) -> list[str]:
    """What figures are without, where runs have no value."""
    count = sum(len(group.runs) - len(group.values(on)) for group in groups if not group.picked_from)
    notes = [f"{count} run{plural(count)} without {on} NME left out."] if count else []
    if any(group.values(on) and not cell.by_seed for group, cell in (cells or {}).items() if group in groups):
        notes.append(
            f"an α that was scored on {on} for some seeds only, as validation picked it there, has no figure of its own."
        )
    return notes


def tails_tables(records: Sequence[RunRecord], on: str, strategies: Strategies) -> list[Table]:
    """The worst faces of each group: P90, P95 and P99 of NME beside its mean, a row for each; a table for each family."""
    rule = "P90, P95, P99: the NME that 90, 95 and 99% of the faces don't exceed."
    missing = "of an earlier version without these figures left out."
    return _further_tables(records, on, strategies, TAILS, "The worst faces, NME %", rule, missing)


def calibration_tables(records: Sequence[RunRecord], on: str, strategies: Strategies) -> list[Table]:
    """How well the standard deviations of each group's networks fit their errors; likewise."""
    return _further_tables(records, on, strategies, SIGMA, "Calibration of σ", SIGMA_RULE)


def _further_tables(
    records: Sequence[RunRecord], on: str, strategies: Strategies, shown: Columns, title: str, rule: str, missing: str = ""
) -> list[Table]:
    """Some metrics of each group that has any of them, beside its NME, a row for each; a table for each family. ``missing``
    is said of groups without, where all should have them."""
    groups = grouped(records, strategies)
    picked = picked_alphas(groups)
    everything = [*groups, *picked]
    names = ("nme", *(name for _, name in shown))
    cells = {name: figures(everything, picked, on, name) for name in names}
    tables = []
    for family in families(everything):
        own = [group for group in family.groups if any(cells[name][group].by_seed for _, name in shown)]
        if not own:
            continue
        own.sort(key=lambda g: (strategies.rank(g.first.recipe), g.budget, bool(g.picked_from), g.first.alpha or 0))
        titles = labels(own, lambda g: (g.first.source, g.budget, g.first.steps_answering, g.first.selection))
        rows = [
            [titles[group], group.first.source or None, group.budget, group.first.steps_answering, group.first.selection,
             len(cells["nme"][group].by_seed), *(cells[name][group].interval for name in names)]
            for group in own
        ]  # fmt: skip
        columns = [
            Column("strategy"), Column("synthetic"), number_column("real images"), number_column("steps"),
            Column("picked by"), number_column("seeds"), interval_column("NME %", metric("nme")),
            *(interval_column(header, metric(name)) for header, name in shown),
        ]  # fmt: skip
        runs = [run for group in family.groups if not group.picked_from for run in group.runs]
        notes = [*score_notes(runs, [] if on == "val" else [on], [rule]), *left_out_notes(family.groups, on, cells["nme"])]
        without = sum(bool(cells["nme"][group].by_seed) for group in family.groups if group not in own)
        notes += [f"{without} group{plural(without)} {missing}"] if without and missing else []
        tables.append(Table(f"{title} on {on}, {family.name}", columns, rows, notes))
    return tables


class Compared(NamedTuple):
    """A family with its comparisons, and what couldn't be compared."""

    family: Family
    comparisons: list[Comparison]
    problems: list[str]


def compared_families(
    records: Sequence[RunRecord], on: str, strategies: Strategies, by_face: ByFace | None = None
) -> list[Compared]:
    """Every family with its comparisons; of several α the runs that validation picked, and not each α."""
    found = families(compared_groups(records, strategies))
    return [Compared(family, *comparisons(family.groups, on, strategies, by_face)) for family in found]


def pairs_tables(found: Sequence[Compared], on: str, strategies: Strategies) -> list[Table]:
    """Differences in pairs: every strategy against synthetic data alone, and against real data alone at the same budget;
    a table, and a family of comparisons for Holm's correction, for each family."""
    tables = []
    for family, compared, problems in found:
        title = f"Differences in pairs, NME % on {on}" + (f", {family.name}" if len(found) > 1 else "")
        notes = [*left_out_notes(family.groups, on), *problems]
        if compared or problems:
            tables.append(_pairs_table(title, compared, notes, strategies))
    return tables


def _pairs_table(title: str, compared: Sequence[Comparison], left_out: Sequence[str], strategies: Strategies) -> Table:
    groups = list(dict.fromkeys(group for c in compared for group in (c.group, c.baseline)))
    names = labels(groups, lambda g: (g.first.source, g.budget, g.first.selection, g.first.steps_answering))

    def against(c: Comparison) -> str:
        return names[c.baseline] + (f" ({c.baseline.first.steps_answering} steps)" if c.lengths else "")

    def verdict(c: Comparison) -> str:
        return c.difference.verdict + ("" if c.corrected or c.difference.verdict is Verdict.OPEN else ", uncorrected")

    rows = [
        [names[c.group], c.group.first.source or c.baseline.first.source, against(c), c.group.budget,
         c.group.first.selection, len(c.difference.seeds), c.difference.interval, c.difference.p, c.difference.p_flip,
         c.p_holm, verdict(c), c.better_run, c.better_face]
        for c in compared
    ]  # fmt: skip
    columns = [
        Column("strategy"), Column("synthetic"), Column("against"), number_column("real images"), Column("picked by"),
        number_column("seeds"), interval_column("difference in NME", number(2, sign=True)), p_column("p, t", 4),
        p_column("p, sign flip", 4), p_column("p, Holm", 3), Column("verdict"), number_column("P(better) by run", number(2)),
        interval_column("P(better) by face", number(2)),
    ]  # fmt: skip
    tested = [len(c.difference.seeds) for c in compared if c.difference.p is not None]
    compared_with = f"{len(tested)} comparison{plural(len(tested))}"
    least = "".join(f", {least_sign_flip_p(n):.4g} of {n}" for n in sorted(set(tested)))
    notes = [
        "difference: strategy minus what it is compared with, on the same images and seeds; below zero it is better.",
        "[ ]: 95% interval over seeds (Student's t on paired differences); of a single seed over images (photographs "
        "resampled in pairs), without a p-value.",
        f"p, t: Student's, on the same differences. p, Holm: it, corrected for the {compared_with} of this table. "
        "verdict: better or worse where the corrected p lies below 0.05; uncorrected where only the interval excludes zero; "
        "open otherwise.",
        f"p, sign flip: exact, over all flips of the differences' signs; of n seeds never below 2/2^n{least}.",
        "P(better): probability that the strategy has the lower NME, ties by half (Agarwal et al., 2021); by run, over all "
        "pairs of a run of each; by face, over these pairs and all faces, with a 95% bootstrap over seeds and photographs, "
        "which is too narrow with few seeds.",
    ]
    longer = {c.group.first.recipe: c.lengths for c in sorted(compared, key=lambda c: c.lengths == "shorter") if c.lengths}
    for recipe, lengths in longer.items():
        notes.append(
            f"{recipe} is compared with the better on validation of {strategies.ceiling} at its own and at the shorter "
            "number of steps."
        )
        if lengths == "shorter":
            notes.append(
                f"{strategies.ceiling} at {recipe}'s number of steps isn't among these runs: its rows favour {recipe}."
            )
    notes += headline_note(min((len(c.difference.seeds) for c in compared), default=HEADLINE))
    return Table(title, columns, rows, [*notes, *left_out])


def p_column(header: str, digits: int) -> Column:
    """A column of p-values, none of which is printed as zero; CSV has all their digits beside."""
    least = 10.0**-digits

    def text(p: float) -> str:
        return f"< {least:.{digits}f}" if p < least else f"{p:.{digits}f}"

    return Column(header, text, right=True, raw={"value": lambda p: p})


def headline_note(fewest: int) -> list[str]:
    """That a headline needs more seeds, where some rows have fewer."""
    if fewest >= HEADLINE:
        return []
    return [
        f"{fewest} seed{plural(fewest)} in some rows: a headline needs six, since the exact sign-flip p of five can't "
        f"go below {least_sign_flip_p(HEADLINE - 1):.4f}."
    ]


def adapters_tables(records: Sequence[RunRecord], strategies: Strategies) -> list[Table]:
    """What label adapters do: how far they move predictions and exact labels, and whether these keep their spread."""
    groups = [group for group in grouped(records, strategies) if group.first.adapter is not None]
    if not groups:
        return []
    names = labels(groups, lambda g: (g.first.source, g.budget))
    kinds: list[str] = [kind for kind in get_args(get_type_hints(AdapterConfig)["kind"]) if kind != "auto"]
    rows: list[list[Any]] = []
    for group in groups:
        own = [run.adapter for run in group.runs if run.adapter is not None]
        scores = [{**adapter.nme_by_kind, "identity": adapter.nme_before} for adapter in own]
        rows.append(
            [names[group], group.first.source, group.budget, own[0].use, Counter(adapter.kind for adapter in own),
             _mean([adapter.strength for adapter in own]),
             [_mean([score[kind] for score in scores if kind in score]) for kind in kinds],
             _region_means([adapter.movement_predictions for adapter in own]),
             _region_means([adapter.movement_labels for adapter in own]), _mean([adapter.spread_ratio for adapter in own]),
             _mean([adapter.shape_kept for adapter in own]), (sum(a.warning is not None for a in own), len(own))]
        )  # fmt: skip

    def counted(counts: Counter[str]) -> str:
        return ", ".join(f"{kind} {count}" if len(counts) > 1 else kind for kind, count in counts.items())

    columns = [
        Column("strategy"), Column("synthetic"), number_column("real images"), Column("for"), Column("kind", counted),
        number_column("strength", number(2)),
        number_column("NME % by kind", lambda v: " / ".join("-" if nme is None else format_metric("nme", nme) for nme in v)),
        number_column("predictions move %", _movements), number_column("labels move %", _movements),
        number_column("spread", number(2)), number_column("own shape", number(2)),
        number_column("warned", lambda pair: f"{pair[0]} of {pair[1]}"),
    ]  # fmt: skip
    regions = list(rows[0][8])[1:]
    notes = [
        "means over seeds. NME % by kind: the synthetic network's answers on the faces that chose, with no adapter / the "
        "best shift / modes / linear / mlp that the use allows. What the shift takes away is systematic, as a label gap is; "
        "what linear and mlp take away beyond it depends on the face, and is the network's own error as well.",
        f"move: mean distance in % of the mean distance of the outer eye corners, of all points ({', '.join(regions)}); "
        "predictions on the validation faces, true labels of the synthetic training faces.",
        "spread: shape spread of these labels after over before, warned of outside 0.95 to 1.05; own shape: share of each "
        "label's own deviation from the mean that is left, warned of below 0.95. An adapter for predictions may undo the "
        "network's errors; one for labels is chosen so that both are kept, or brought to the annotations' own.",
        "NME % by kind of an adapter that learned the difference of both domains' errors is of answers freed from the "
        "network's own error.",
    ]
    tables = [Table("Label adapters", columns, rows, notes)]
    if split := [group for group in groups if any(run.adapter and run.adapter.parts for run in group.runs)]:
        tables.append(_parts_table(split, names))
    return tables


def _parts_table(groups: Sequence[Group], names: Mapping[Group, str]) -> Table:
    """What lies between a network's answers and the annotations, of groups with adapters whose parts are known."""
    rows: list[list[Any]] = []
    for group in groups:
        own = [run.adapter for run in group.runs if run.adapter is not None]
        parts = [adapter.parts for adapter in own if adapter.parts is not None]
        rows.append(
            [names[group], group.first.source, group.budget, own[0].use, own[0].learned,
             *(_region_means([getattr(of, name) for of in parts]) for name in ("together", "gap", "chance", "error")),
             _mean([of.scatter_ratio for of in parts]), _mean([of.nme_before for of in parts]),
             _mean([of.nme_after for of in parts])]
        )  # fmt: skip
    regions = list(rows[0][5])[1:]
    columns = [
        Column("strategy"), Column("synthetic"), number_column("real images"), Column("for"), Column("learned"),
        number_column("answers to annotations %", _movements), number_column("label gap %", _movements),
        number_column("gap by chance %", _movements), number_column("network's error %", _movements),
        number_column("scatter", number(2)), number_column("NME % on synthetic", metric("nme")),
        number_column("after repair alone", metric("nme")),
    ]  # fmt: skip
    notes = [
        "means over seeds; lengths in % of the outer eye corners' distance, of each point's mean displacement on the real "
        f"training faces, of all points ({', '.join(regions)}). label gap and network's error are the two parts of answers "
        "to annotations, as held-out synthetic faces tell them apart, where there is no label gap; as lengths they need not "
        "add up. gap by chance: how long the gap would be if there were none.",
        "learned: plain is all of answers to annotations, difference is the label gap alone. So of what an adapter for "
        "predictions gains, the network's error is repair, which other data in the network's own convention would give as "
        "well: after repair alone is the NME that such an adapter leaves on held-out synthetic faces.",
        f"scatter: how far answers scatter about annotations over how far about exact synthetic labels, after both parts; "
        f"above {APART} the network errs otherwise on real faces, and the parts aren't to be trusted.",
    ]
    return Table("Label gap and network's error", columns, rows, notes)


def _movements(means: Mapping[str, float]) -> str:
    whole, *regions = (f"{value:.1f}" for value in means.values())
    return f"{whole} ({' '.join(regions)})"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _region_means(movements: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {region: sum(of[region] for of in movements) / len(movements) for region in movements[0]}


def runs_table(records: Sequence[RunRecord], strategies: Strategies) -> Table:
    """A row for each group: NME on validation and every test set, with intervals."""
    groups = grouped(records, strategies)
    picked = picked_alphas(groups)
    sets = scored_sets(records)
    more = (*(name for _, name in TAILS), "fr@8", "auc@8") if sets else ()
    values = [figures(groups, picked, on) for on in ["val", *sets]]
    others = [figures(groups, picked, sets[0], name) for name in more]

    def shown(group: Group) -> tuple[Any, ...]:
        run, config = group.first, group.first.identity
        network = f"{config['model']['backbone']} {config['crop']['size']} {config['crop']['channels']}"
        synthetic = f"{run.n_synthetic} {run.source}" if run.source else "0"
        return (network, run.n_real, synthetic, run.steps_answering, run.selection)

    names = labels(groups, shown)
    rows = [
        [names[group], *shown(group), len(group.runs), *(of[group].interval for of in values),
         *(of[group].interval.mean for of in others)]
        for group in groups
    ]  # fmt: skip
    columns = [
        Column("strategy"), Column("network"), number_column("real images"), number_column("synthetic"),
        number_column("steps"), Column("picked by"), number_column("seeds"),
        *(interval_column(f"{on.capitalize() if on != 'val' else on} NME %", metric("nme")) for on in ["val", *sets]),
    ]  # fmt: skip
    if sets:
        of_it: Columns = (*TAILS, ("FR@8 %", "fr@8"), ("AUC@8", "auc@8"))
        first, *others_of_it = of_it
        columns += [number_column(f"{sets[0].capitalize()} {first[0]}", metric(first[1]))]
        columns += [number_column(header, metric(name)) for header, name in others_of_it]
    rule = "real images: trained on + used to pick a checkpoint or an adapter."
    notes = [
        *score_notes(records, sets, [rule]),
        _licences_note(records),
        *(note for on, of in zip(["val", *sets], values, strict=True) for note in left_out_notes(groups, on, of)),
    ]
    return Table("All runs", columns, rows, notes)


def _licences_note(records: Sequence[RunRecord]) -> str:
    """What the runs' networks may be used for."""
    uses = Counter(record.non_commercial for record in records)
    named = sorted({name for record in records for name in record.licences})
    if len(uses) == 1:
        return f"{licence_line(named, next(iter(uses)))}."
    said = {False: "no non-commercial data behind", True: "non-commercial data behind", None: "use not known of"}
    counts = ", ".join(f"{said[use]} {uses[use]} of {len(records)} runs" for use in said if uses[use])
    return f"licences of all data seen: {', '.join(named)}; {counts} (licences in each result.json)."


def score_notes(records: Sequence[RunRecord], sets: Sequence[str], rules: Sequence[str]) -> list[str]:
    """What figures are of: ``rules``, the unit, the intervals, and the faces of each set."""
    notes = [
        *rules,
        "NME in % of the outer eye corners' distance, in image pixels.",
        "[ ]: 95% interval, over seeds (Student's t) where there are several, else over images (bootstrap of photographs).",
    ]
    for on in ["val", *sets]:
        counts = [record.counts[set_key(on)] for record in records if set_key(on) in record.counts]
        seen = Counter((of.images, of.fallback_boxes, _partial(of), of.boxes) for of in counts)
        for (images, fallbacks, partial, boxes), runs in seen.items():
            where = f" in {runs} of {len(records)} runs" if len(seen) > 1 else ""
            notes.append(
                f"{on}{partial}: {images} images, boxes {boxes}, {fallbacks} of them fell back to the landmarks' box{where}."
            )
    return notes
