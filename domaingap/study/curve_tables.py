"""The tables of curves, and of the real images that a strategy saves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from domaingap.study.by_face import ByFace
from domaingap.study.compare import Family, Strategies, compared_groups, families, labels
from domaingap.study.curves import Curves, all_curves, synthetic_images
from domaingap.study.record import RunRecord
from domaingap.study.report_tables import TAILS, headline_note, left_out_notes, plural, score_notes
from domaingap.study.saved import AllSaved, RealCurve, Saved, SavedImages
from domaingap.study.tables import Column, Table, interval_column, metric, number_column

# Real images saved.


class SavedFamily(NamedTuple):
    """A family with the real images that its strategies save."""

    family: Family
    images: AllSaved


def saved_families(
    records: Sequence[RunRecord], on: str, strategies: Strategies, by_face: ByFace | None = None
) -> list[SavedFamily]:
    """Every family with the real images that its strategies save, where it has any rows of these or not."""
    finder = SavedImages(on, strategies, by_face or ByFace(on))
    return [SavedFamily(of, finder.family(of.groups)) for of in families(compared_groups(records, strategies))]


def saved_tables(
    found: Sequence[SavedFamily], on: str, strategies: Strategies, by_face: ByFace | None = None
) -> list[Table]:
    """At how many real images real data alone reaches what each strategy reaches with n; a table for each family.

    Args:
        found: the families.
        on: the set of faces.
        strategies: floor and ceiling.
        by_face: what has read the predictions, and says which it couldn't.
    """
    tables = []
    for family, images in found:
        if images.rows:
            title = f"Real images saved, NME % on {on}" + (f", {family.name}" if len(found) > 1 else "")
            notes = left_out_notes(family.groups, on)
            tables.append(_saved_table(title, images, on, strategies, [*notes, *(by_face.said() if by_face else [])]))
    return tables


def _saved_table(title: str, images: AllSaved, on: str, strategies: Strategies, left_out: Sequence[str]) -> Table:
    names = labels([row.group for row in images.rows], lambda g: (g.first.source, g.budget, g.first.selection))
    ordered = sorted(
        images.rows,
        key=lambda row: (strategies.rank(row.group.first.recipe), row.group.first.selection, row.group.label, row.n),
    )
    rows = [
        [names[row.group], row.group.first.source, row.group.first.selection, row.n, row.cell.interval, row, row,
         len(row.cell.by_seed), row.curve, row.over or None]
        for row in ordered
    ]  # fmt: skip
    real = strategies.ceiling
    columns = [
        Column("strategy"), Column("synthetic"), Column("picked by"), number_column("real images"),
        interval_column("NME %", metric("nme")), _images_column(f"{real} reaches it at", lambda row: 0),
        _images_column("saved", lambda row: row.n, sign=True), number_column("seeds"),
        Column(f"{real} ran at", lambda curve: f"{curve.smallest} to {curve.largest}", right=True,
               raw={"smallest": lambda curve: curve.smallest, "largest": lambda curve: curve.largest}),
        Column("[ ] over"),
    ]  # fmt: skip
    notes = [
        f"reaches it at: the number of real images at which {real}, picked in the same way, has as low an NME on {on}: from "
        "a fit that doesn't rise (isotonic regression of its means, weights: seeds; monotone cubic in log n between them). "
        "> N: not with the N that it had at most; < N: already with the N that it had at least. saved: that number minus "
        "the strategy's own. Images that only picked checkpoint and adapter aren't counted on either side.",
        "[ ]: 95% interval; over seeds Student's t, the same seeds for both, over photographs resampled for both alike, and "
        "the fit made anew each time. An end with > or < is open.",
    ]
    notes += [note for curve in dict.fromkeys(row.curve for row in ordered) for note in _curve_notes(curve, real)]
    for recipe in dict.fromkeys(row.group.first.recipe for row in ordered if row.longer):
        own = [row for row in ordered if row.group.first.recipe == recipe and row.longer]
        alone = sorted({n for row in own for n in row.shorter_at})
        favours = f"; at {', '.join(map(str, alone))} there is the shorter alone, which favours {recipe}" if alone else ""
        notes.append(
            f"{recipe} is read against the better on validation of {real} at its own and at the shorter number of steps, at "
            f"each number of real images{favours}."
        )
    if on == "val":
        notes.append("on val: these faces picked checkpoints, and figures on them flatter; a test set is what counts.")
    without = [row for row in ordered if not row.over]
    mixed = sum(len(set(row.seeds)) > 1 for row in without)
    single = len(without) - mixed
    notes += _counted(mixed, "row", "without an interval: of some numbers of images there is a single seed")
    notes += _counted(single, "row", "without an interval: a single seed, and no predictions to resample photographs of")
    notes += _counted(images.without_curve, "group", f"left out: {real} hasn't run with two numbers of real images alike")
    notes += _counted(images.unknown, "group", "left out: how many real images the start has seen isn't known")
    notes += headline_note(min(seeds for row in ordered for seeds in row.seeds))
    return Table(title, columns, rows, [*notes, *left_out])


def _counted(count: int, what: str, said: str) -> list[str]:
    return [f"{count} {what}{plural(count)} {said}."] if count else []


def _curve_notes(curve: RealCurve, real: str) -> list[str]:
    """What a curve of real data alone is made of, and how far from monotone it is."""
    run = curve.by_n[curve.smallest].first
    steps = sorted({group.first.steps_answering for group in curve.by_n.values()})
    name = f"{real} by {run.selection}, {' or '.join(map(str, steps))} steps"
    seeds = sorted({*curve.seeds})
    counted = f"{seeds[0]}" + (f" to {seeds[-1]}" if len(seeds) > 1 else "")
    notes = [f"{name}: at {', '.join(map(str, curve.by_n))} real images, {counted} seed{plural(seeds[-1])} each."]
    rise, low, high = curve.rise
    if rise > 0:
        notes.append(
            f"{name}: not monotone; NME rises by up to {rise:.2f} points, from {low} to {high} ; the fit is level there."
        )
    return notes


def _images_column(header: str, less: Callable[[Saved], int], sign: bool = False) -> Column:
    """A column of numbers of real images with their intervals, as :attr:`Saved.reached` has them, minus ``less``; open ends
    have no raw number."""

    def end(row: Saved, value: float) -> str:
        bound = {math.inf: "> ", -math.inf: "< "}.get(value, "")
        n = {math.inf: row.curve.largest, -math.inf: row.curve.smallest}.get(value, value)
        return f"{bound}{round(n - less(row)):{'+' if sign else ''}d}"

    def text(row: Saved) -> str:
        mean, low, high = row.reached
        return end(row, mean) + ("" if math.isnan(low) else f" [{end(row, low)}, {end(row, high)}]")

    raw = {
        name: lambda row, i=i: row.reached[i] - less(row) for i, name in enumerate(("estimate", "low", "high"))
    }  # fmt: skip
    return Column(header, text, right=True, raw=raw)


# Curves.


def curves_tables(records: Sequence[RunRecord], on: str, strategies: Strategies) -> list[Table]:
    """Every curve in long form, a row for each of its points; a table for each axis and family."""
    tables = []
    for curves in all_curves(records, on, strategies):
        rows = []
        for curve in curves.curves:
            for at, group in curve.points:
                run, cell = group.first, curves.cells[group]
                rows.append(
                    [curve.name, curves.axis.name, at, group.budget, synthetic_images(group), run.source or None,
                     run.steps_answering, run.selection, cell.interval,
                     *(group.cell(curves.on, name).interval.mean for _, name in TAILS), len(cell.by_seed), curves.on]
                )  # fmt: skip
        columns = [
            Column("strategy"), Column("axis"), number_column("value", lambda value: f"{value:g}"),
            number_column("real images"), number_column("synthetic images"), Column("synthetic"), number_column("steps"),
            Column("picked by"), interval_column("NME %", metric("nme")),
            *(number_column(header, metric(name)) for header, name in TAILS), number_column("seeds"), Column("faces"),
        ]  # fmt: skip
        tables.append(Table(_title(curves), columns, rows, _notes(curves)))
    return tables


def wide_curves_tables(records: Sequence[RunRecord], on: str, strategies: Strategies) -> list[Table]:
    """The curves over α and over synthetic images, a row for each; those over real images are the strategies' tables."""
    tables = []
    for curves in all_curves(records, on, strategies):
        if curves.axis.setting == "n_real":
            continue
        values = sorted({at for curve in curves.curves for at, _ in curve.points})
        rows = []
        for curve in curves.curves:
            run, points = curve.first.first, dict(curve.points)
            seeds = sorted({len(curves.cells[group].by_seed) for group in points.values()})
            synthetic = synthetic_images(curve.first) if curves.axis.setting != "n_synthetic" else None
            rows.append(
                [curve.name, run.source or None, *([synthetic] if synthetic is not None else []), curve.first.budget,
                 run.steps_answering, run.selection, (seeds[0], seeds[-1])[: len(seeds)],
                 *(curves.cells[points[at]].interval if at in points else None for at in values)]
            )  # fmt: skip
        fixed = [number_column("synthetic images")] if curves.axis.setting != "n_synthetic" else []
        unit = "α=" if curves.axis.setting == "alpha" else ""
        columns = [
            Column("strategy"), Column("synthetic"), *fixed, number_column("real images"), number_column("steps"),
            Column("picked by"), number_column("seeds", lambda ends: " to ".join(map(str, ends))),
            *(interval_column(f"{unit}{at:g}" if unit else f"{at:g} synthetic", metric("nme"), none="") for at in values),
        ]  # fmt: skip
        tables.append(Table(_title(curves), columns, rows, _notes(curves)))
    return tables


def _title(curves: Curves) -> str:
    return f"NME % on {curves.on} by {curves.axis.name}, {curves.family.name}"


def _notes(curves: Curves) -> list[str]:
    runs = [run for curve in curves.curves for _, group in curve.points for run in group.runs]
    notes = score_notes(runs, [] if curves.on == "val" else [curves.on], ["synthetic images: used, hold-out included."])
    if curves.fallback:
        notes.append(
            "on validation, since not every α was scored on a test set: a sweep scores what validation picked. Validation "
            "picked α and checkpoints, so these figures show the curve's shape and flatter its lowest point."
        )
    notes += _counted(curves.unscored, "run", f"without {curves.on} NME left out")
    return notes
