"""Any groups of runs beside one of them, in pairs: whatever they differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from domaingap.errors import UserError
from domaingap.hashing import flat
from domaingap.statistics import holm
from domaingap.study.by_face import ByFace
from domaingap.study.compare import Difference, Group, Strategies, Verdict, difference, grouped
from domaingap.study.record import RunRecord, set_key
from domaingap.study.report_tables import p_column, plural
from domaingap.study.tables import Column, Table, interval_column, metric, number_column
from domaingap.study.tables import number as shown

OWN = ("recipe", "n_real", "alpha", "steps", "selection", "source")
"""What a group is known by beside its settings; ``steps`` are those behind its answers."""


@dataclass(frozen=True)
class Against:
    """A group beside the base; ``p_holm`` is Student's p, corrected for all rows."""

    group: Group
    difference: Difference
    p_holm: float | None = None


def known_by(group: Group) -> dict[str, str]:
    """What picks a group, as text: :data:`OWN` and its settings by their keys."""
    run = group.first
    alpha = "" if run.alpha is None else f"{run.alpha:g}"
    own = (run.recipe, str(group.budget), alpha, str(run.steps_answering), run.selection, run.source)
    return {**flat(group.settings), **dict(zip(OWN, own, strict=True))}


def pick(groups: Sequence[Group], words: Mapping[str, str], said: str) -> Group:
    """The one group that all words hold of.

    Args:
        groups: of a study.
        words: values by keys of :func:`known_by`; ``-`` where a group has no such setting, and ``all`` for the real
            images of a run that was given no number, as plans call them; ``run`` is the name or the folder of one of the
            group's runs.
        said: the words as they were given, for messages.

    Raises:
        UserError: a key that no group has, or not one group.
    """
    of = {group: known_by(group) for group in groups}

    def holds(group: Group, key: str, value: str) -> bool:
        if key == "run":
            return Path(value).name in {run.folder.name for run in group.runs}
        if key == "n_real" and value == "all":
            return group.settings.get("n_real", 0) is None and group.budget.n > 0
        return of[group].get(key, "-") == value

    for key in words:
        if key == "run" and not any(holds(group, key, words[key]) for group in groups):
            recipes = ", ".join(sorted({group.first.recipe for group in groups}))
            raise UserError(f"--base {said}: {words[key]} is neither a recipe nor a run here; recipes here: {recipes}")
        if key != "run" and not any(key in known for known in of.values()):
            raise UserError(f"--base {said}: no run here has {key}; known: {', '.join(OWN)}, and settings such as fit.lr")
    found = [group for group in groups if all(holds(group, key, value) for key, value in words.items())]
    if len(found) == 1:
        return found[0]
    if not found:
        absent = (key for key, value in words.items() if not any(holds(group, key, value) for group in groups))
        key = next(absent, next(key for key in words if key != "run"))
        there = sorted({known.get(key, "-") for known in of.values()})
        raise UserError(f"--base {said}: no runs are so; of {key} there is {', '.join(there)}, not all with the rest")
    keys = {key for group in found for key in of[group]}
    telling = sorted(key for key in keys if len({of[group].get(key) for group in found}) > 1 and not key.startswith("faces"))
    values = "; ".join(f"{key}={' or '.join(sorted({of[group].get(key, '-') for group in found}))}" for key in telling[:4])
    raise UserError(
        f"--base {said}: {len(found)} groups of runs are so; add what tells them apart, or a run's folder: {values}"
    )


def against(
    records: Sequence[RunRecord], words: Mapping[str, str], said: str, on: str, strategies: Strategies
) -> tuple[Group, list[Against], list[str]]:
    """Every other group of runs beside the picked one: that, the others, and what was left out.

    Raises:
        UserError: see :func:`pick`; nothing can be compared.
    """
    groups = grouped(records, strategies)
    base = pick([group for group in groups if group.values(on)], words, said)
    faces = base.first.counts[set_key(on)].fingerprint
    by_face, rows = ByFace(on), []
    left_out = {"without a figure on these faces": 0, "on other faces": 0, "without a shared seed": 0}
    for group in groups:
        if group is base:
            continue
        counts = group.first.counts.get(set_key(on))
        if counts is None or not group.values(on):
            left_out["without a figure on these faces"] += 1
        elif counts.fingerprint != faces:
            left_out["on other faces"] += 1
        elif (found := difference(group, base, on, by_face)) is not None:
            rows.append(Against(group, found))
        else:
            left_out["without a shared seed"] += 1
    if not rows:
        raise UserError(f"nothing to compare: no other runs on the same faces ({on}) with a seed of the base")
    corrected = iter(holm([row.difference.p for row in rows if row.difference.p is not None]))
    rows = [replace(row, p_holm=next(corrected)) if row.difference.p is not None else row for row in rows]
    notes = [f"{n} group{plural(n)} of runs left out: {why}." for why, n in left_out.items() if n]
    return base, rows, [*notes, *by_face.said()] if by_face.problems else notes


SHOWN = ("n_real", "alpha", "fit.steps", "fit.val_every", "n_synthetic")
"""Settings that stand in columns or in the strategy's name, follow from such, or come back as numbers of faces."""


def names_beside(base: Group, others: Sequence[Group]) -> dict[Group, str]:
    """A name for each group: the strategy, and the settings in which it differs from the base, by the ends of their keys."""
    of = {group: flat(group.settings) for group in (base, *others)}
    alike: dict[tuple[str, str, int], list[Group]] = {}
    for group in others:
        alike.setdefault((group.label, str(group.budget), group.first.steps_answering), []).append(group)
    told: dict[Group, list[str]] = {}
    for members in alike.values():
        for group in members:
            # A setting that one of the two strategies lacks tells only those apart that have it.
            both = {key for key in of[group].keys() & of[base].keys() if of[group][key] != of[base][key]}
            more = {key for other in members for key in of[other] if of[other][key] != of[group].get(key)}
            keys = both | {key for key in more if of[group].get(key) != of[base].get(key)}
            told[group] = sorted(k for k in keys if k not in SHOWN and not k.startswith(("faces", "counts")))
    every = {key for keys in told.values() for key in keys}
    ends = [key.rpartition(".")[2] for key in every]
    short = {key: end if ends.count(end) == 1 else key for key, end in zip(every, ends, strict=True)}
    names = {
        group: group.label + "".join(f" {short[key]}={of[group].get(key, '-')}" for key in keys)
        for group, keys in told.items()
    }
    return {base: base.label, **names}


def against_table(base: Group, rows: Sequence[Against], left_out: Sequence[str], on: str) -> Table:
    """A row a group, in the order of tables, the base first."""
    names = names_beside(base, [row.group for row in rows])

    def verdict(row: Against) -> str:
        found, p = row.difference.verdict, row.p_holm
        return found + (", uncorrected" if found is not Verdict.OPEN and p is not None and p >= 0.05 else "")

    cells = [
        [names[base], base.budget, base.first.steps_answering, base.cell(on).interval, None, len(base.runs), None, "base"]
    ]
    for row in rows:
        cells.append(
            [names[row.group], row.group.budget, row.group.first.steps_answering, row.group.cell(on).interval,
             row.difference.interval, len(row.difference.seeds), row.p_holm, verdict(row)]
        )  # fmt: skip
    columns = [
        Column("runs"),
        number_column("real images"),
        number_column("steps"),
        interval_column("NME %", metric("nme")),
        interval_column("minus base", shown(2, sign=True)),
        number_column("seeds"),
        p_column("p, Holm", 3),
        Column("verdict"),
    ]
    tested = any(row.p_holm is not None for row in rows)
    unequal = {row.group.first.steps_answering for row in rows} != {base.first.steps_answering}
    notes = [
        "minus base: on the same faces and seeds; below zero it is better. Named are settings in which runs differ from it.",
        "[ ]: 95% interval over seeds (Student's t, of differences in pairs); of a single seed over photographs, resampled "
        "in pairs: another seed may differ by more.",
        *([f"p, Holm: Student's, corrected for the rows of this table ({len(rows)})."] if tested else []),
        *(["networks have unequal numbers of steps (steps): a difference may be theirs."] if unequal else []),
        *left_out,
    ]
    return Table(f"In pairs, NME % on {on}", columns, cells, notes)
