"""A study as a page: from the records of its runs to sections of words, plots, tables and faces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from domaingap.errors import UserError
from domaingap.landmarks import IBUG68
from domaingap.study.by_face import ByFace, LandmarkErrors
from domaingap.study.compare import Family, Group, Strategies
from domaingap.study.conditions import LEAST, ErrorsBy, by_conditions
from domaingap.study.curve_tables import SavedFamily, saved_families, saved_tables, wide_curves_tables
from domaingap.study.curves import Curves, all_curves
from domaingap.study.gap_parts import gap_parts
from domaingap.study.gap_tables import gap_parts_tables
from domaingap.study.page.answer import Answer, answer, short_labels
from domaingap.study.page.blocks import Block, Gallery, Page, Plot, Section, Words
from domaingap.study.page.figures import (
    Line,
    bins_figure,
    ced_figure,
    curves_figure,
    forest_figure,
    gap_figure,
    landmarks_figure,
    lines_of,
    parts_figure,
    regions_figure,
    saved_figure,
)
from domaingap.study.page.gallery import Answers, side_by_side, typical_and_worst
from domaingap.study.page.provenance import provenance_section
from domaingap.study.record import RunRecord, by_seed
from domaingap.study.report_tables import (
    MORE,
    Compared,
    adapters_tables,
    compared_families,
    pairs_tables,
    plural,
    runs_table,
    strategies_tables,
)
from domaingap.study.saved import Saved
from domaingap.study.tables import Column, Table, interval_column, metric, number_column
from domaingap.study.thumbnails import thumbnails

if TYPE_CHECKING:
    from domaingap.predictions import Predictions


MOST_PARTS = 8
"""Gaps that are drawn in parts."""
MOST_GALLERIES = 2
"""Families that faces are shown of."""


@dataclass(frozen=True)
class Study:
    """The runs of a page, with what is computed of them once.

    Attributes:
        folder: where they lie.
        records: of the runs.
        passed_over: results that couldn't be read, and why.
        on: the faces that the page is about.
        strategies: floor and ceiling.
    """

    folder: Path
    records: Sequence[RunRecord]
    passed_over: Sequence[str]
    on: str
    strategies: Strategies

    @cached_property
    def by_face(self) -> ByFace:
        """Errors by face and landmark."""
        return ByFace(self.on)

    @cached_property
    def families(self) -> list[tuple[Compared, SavedFamily]]:
        """Families with their comparisons and with what they save, that of the most runs first."""
        compared = compared_families(self.records, self.on, self.strategies, self.by_face)
        saved = saved_families(self.records, self.on, self.strategies, self.by_face)
        both = list(zip(compared, saved, strict=True))
        return sorted(both, key=lambda pair: -sum(len(group.runs) for group in pair[0].family.groups))

    @property
    def compared(self) -> list[Compared]:
        """Families with their comparisons."""
        return [compared for compared, _ in self.families]

    @property
    def saved(self) -> list[SavedFamily]:
        """Families with what they save."""
        return [saved for _, saved in self.families]

    @cached_property
    def answers(self) -> list[Answer]:
        """What each family says."""
        made = []
        for (family, compared, _), (_, saved) in self.families:
            made.append(answer(family, compared, saved, self.on, self.strategies, self.by_face))
        return made

    @cached_property
    def curves(self) -> list[Curves]:
        """Over real images, over α, over synthetic images."""
        return all_curves(self.records, self.on, self.strategies)

    def _titled(self, title: str, family: Family) -> str:
        """A title that names the family where there are several."""
        return title if len(self.families) == 1 else f"{title}, {family.name}"

    # Sections

    def page(self) -> Page:
        """The whole page."""
        faces = self.faces_section()
        shown = faces is not None and any(isinstance(block, Gallery) for block in faces.blocks)
        sections = [
            self.first_screen(), self.strategies_section(), self.curves_section(), self.gap_section(), self.errors_section(),
            faces, self.adapters_section(), self.runs_section(),
            provenance_section(self.records, self.passed_over, made_now(), faces_shown=shown),
        ]  # fmt: skip
        n, seeds = len(self.records), len({record.seed for record in self.records})
        facts = f"{n} run{plural(n)}, {seeds} seed{plural(seeds)}"
        if self.passed_over:
            facts += f", {len(self.passed_over)} result{plural(len(self.passed_over))} passed over"
        name = self.folder.resolve().name
        return Page(f"How far synthetic faces get: {name}", facts, [s for s in sections if s is not None and s.blocks])

    def first_screen(self) -> Section:
        """The question, answered in words and one picture."""
        blocks: list[Block] = []
        several = len(self.answers) > 1
        for number_, found in enumerate(self.answers):
            if several:
                blocks.append(Words(f"{found.family.name}:"))
            blocks += [Words(sentence, emphasis=not number_) for sentence in found.sentences()]
            blocks += [Words(sentence) for sentence in found.price()]
            if found.floor is not None or found.ways:
                blocks.append(self._gap_plot(found, number_))
            blocks += [Words(" ".join([found.unit, *found.cautions()]))]
            table = found.table()
            blocks += [table] if table is not None else []
        return Section("answer", "The answer", blocks)

    def _gap_plot(self, found: Answer, number_: int) -> Plot:
        rows = len({way.name for way in (*found.ways, *found.few)}) + 2
        return Plot(
            f"gap-{number_}", f"NME on {found.on}: from synthetic faces alone to real faces alone", gap_figure(found),
            "Each mark is a strategy's error with its 95% interval; lower is better."
            + (" The shaded band is the gap between synthetic faces alone and real faces alone." if found.gap else "")
            + (" Hollow marks: with few real images." if found.few else ""),
            height=120 + 46 * rows,
        )  # fmt: skip

    def strategies_section(self) -> Section:
        """Strategies by budget, and their differences in pairs."""
        blocks: list[Block] = [*strategies_tables(self.records, self.on, self.strategies)]
        for number_, (family, compared, _) in enumerate(self.compared):
            if not compared:
                continue
            against_real = [c for c in compared if c.baseline.first.recipe == self.strategies.ceiling] or compared
            names = short_labels(list(dict.fromkeys(c.group for c in against_real)), lambda g: g.budget)
            shown = [(f"{names[c.group]}, {c.group.budget} real", c) for c in against_real[:40]]
            left = f" The first 40 of {len(against_real)}." if len(against_real) > 40 else ""
            blocks.append(
                Plot(
                    f"pairs-{number_}", self._titled("Against real faces alone", family), forest_figure(shown),
                    "Differences in NME on the same faces and seeds, with 95% intervals. Left of zero the strategy is "
                    f"better; a filled mark holds after Holm's correction, a hollow one doesn't.{left}",
                    height=90 + 30 * len(shown),
                )
            )  # fmt: skip
        blocks += pairs_tables(self.compared, self.on, self.strategies)
        return Section("strategies", "Strategies compared", blocks)

    def curves_section(self) -> Section | None:
        """Curves, and real images saved."""
        blocks: list[Block] = []
        for number_, curves in enumerate(self.curves):
            drawn = _curve_names(curves)
            lines = lines_of([(name, c.first.first.recipe) for name, c in zip(drawn, curves.curves, strict=True)])
            title = self._titled(f"NME by {curves.axis.name} on {curves.on}", curves.family)
            blocks.append(
                Plot(
                    f"curve-{number_}", title, curves_figure(curves, lines),
                    _curve_words(curves, drawn), height=460, data=_curve_table(curves, drawn),
                )
            )  # fmt: skip
        blocks += wide_curves_tables(self.records, self.on, self.strategies)
        for number_, (family, images) in enumerate(self.saved):
            rows = [row for row in images.rows if row.n]
            if rows:
                names = short_labels([row.group for row in rows], lambda g: g.budget)
                by_name = {line.name: line for line in lines_of(_distinct(rows, names))}
                blocks.append(
                    Plot(
                        f"saved-{number_}", self._titled("Real images saved", family),
                        saved_figure([(by_name[names[row.group]], row) for row in rows]),
                        "How many real images real data alone needs to be as good as a strategy with fewer. Above the "
                        "dotted line images are saved, below it real data alone is better. Points on the upper edge are "
                        "open: real data alone wasn't as good with the most images that it was tried with.",
                        height=460,
                    )
                )  # fmt: skip
        blocks += saved_tables(self.saved, self.on, self.strategies, self.by_face)
        return Section("curves", "With how many images, at which α", blocks)

    def gap_section(self) -> Section | None:
        """The gap in parts."""
        parts = gap_parts(self.records, self.on, self.strategies, self.by_face)
        if not parts:
            return None
        shown = parts[:MOST_PARTS]
        left = f" The first {len(shown)} of {len(parts)} rows of the table." if len(shown) < len(parts) else ""
        plot = Plot(
            "parts", "From synthetic faces alone to nothing", parts_figure(shown),
            "What the error of synthetic faces alone is made of. Label part: what a label adapter takes away, at most, as "
            "it also repairs errors of the network. Visual part: what real pictures take away beyond it. Rest: the error of "
            f"real faces alone.{left}",
            height=130 + 60 * len(shown),
        )  # fmt: skip
        return Section("gap", "The gap taken apart", [plot, *gap_parts_tables(parts, self.on, self.strategies)])

    def errors_section(self) -> Section | None:
        """Where errors are: faces, regions, landmarks."""
        blocks: list[Block] = []
        for number_, found in enumerate(self.answers):
            groups = self.shown(found)
            if not groups:
                continue
            names = dict(zip(groups, lines_of([(name, group.first.recipe) for group, name in groups.items()]), strict=True))
            where = self._titled(f"{found.on}", found.family)
            most = f"{found.ceiling.budget.n:,}" if found.ceiling is not None else "all"
            nme = {g: [e.nme for run in g.runs if (e := self.by_face.of(run)) is not None] for g in groups}
            if drawn := [(names[g], values) for g, values in nme.items() if values]:
                blocks.append(
                    Plot(
                        f"ced-{number_}", f"Cumulative errors on {where}", ced_figure(drawn),
                        "The share of faces whose error is at most so large; a curve further left and up is better. Means "
                        f"over seeds, with {most} real images.",
                    )
                )  # fmt: skip
            tails = figures_table(list(groups.items()), found.on)
            blocks.append(tails)
            regions = {
                g: {region: g.cell(found.on, f"nme_{region}").interval for region in IBUG68.regions} for g in groups
            }  # fmt: skip
            blocks.append(
                Plot(
                    f"regions-{number_}", f"Errors by region on {where}",
                    regions_figure([(names[g], by_region) for g, by_region in regions.items()]),
                    "NME of each part of the face, with 95% intervals.",
                )
            )  # fmt: skip
            errors = {g: of for g in groups if (of := self._landmarks(g)) is not None}
            if errors:
                rows = -(-len(errors) // 3)
                blocks.append(
                    Plot(
                        f"landmarks-{number_}", f"Errors by landmark on {where}",
                        landmarks_figure([(names[g], e) for g, e in errors.items()]),
                        "The mean true face. Larger and darker circles: larger mean error of that point. Lines: where the "
                        "predictions lie on average, drawn three times as long; what all faces err alike in is what another "
                        "label convention looks like.",
                        height=60 + 300 * rows,
                    )
                )  # fmt: skip
            blocks += self._condition_plots(found, names, number_)
        return Section("errors", "Where the errors are", blocks) if blocks else None

    def _condition_plots(self, found: Answer, names: Mapping[Group, Line], number_: int) -> list[Block]:
        """Errors against what is known of each face."""
        plots: list[Block] = []
        for errors in by_conditions(list(names), found.on, self.by_face):
            if len(errors.bins) < 2 or not errors.cells:
                continue
            condition = errors.condition
            known = "estimated from true landmarks" if errors.estimated else "as labels say"
            joined = f" {errors.joined} bins joined to others, with fewer than {LEAST} faces." if errors.joined else ""
            unknown = f" {errors.unknown} faces without it left out." if errors.unknown else ""
            values = [(names[group], cells) for group, cells in errors.cells.items()]
            plots.append(
                Plot(
                    f"{errors.name.replace('_', '-')}-{number_}", f"Errors against {errors.name.replace('_', ' ')}",
                    bins_figure(condition.label, [b.text for b in errors.bins], [b.faces for b in errors.bins], values),
                    f"NME on {found.on} by {condition.label}, {known}; 95% intervals over photographs.{joined}{unknown}",
                    data=_bins_table(errors, names),
                )
            )  # fmt: skip
        return plots

    def faces_section(self) -> Section | None:
        """Faces with their points: the same under each strategy, and each strategy's typical and worst."""
        blocks: list[Block] = []
        for number_, found in enumerate(self.answers[:MOST_GALLERIES]):
            groups = self.shown(found)
            if not groups:
                continue
            seed = min(set.intersection(*({run.seed for run in group.runs} for group in groups)), default=None)
            if seed is None:
                continue
            runs = {name: by_seed(group.runs)[seed] for group, name in groups.items()}
            why: list[str] = []
            kept = (thumbnails(run, found.on, why.append) for run in runs.values())
            pictures = next((own for own in kept if own is not None), None)
            answers = None
            if pictures is not None:
                predictions = {name: p for name, run in runs.items() if (p := self._predictions(run)) is not None}
                answers = Answers.of(predictions, pictures)
            if answers is None:
                # Where the runs lie is nobody else's concern.
                reason = why[0].replace(f"{self.folder}/", "") if why else "no predictions on them"
                blocks.append(Words(f"No faces of {found.on} to show: {reason}."))
                continue
            of = f"{found.on}, seed {seed}" + (f", {found.family.name}" if len(self.answers) > 1 else "")
            blocks += [
                side_by_side(f"faces-{number_}", answers, of),
                typical_and_worst(f"own-faces-{number_}", answers, of),
            ]
        return Section("faces", "Faces", blocks) if blocks else None

    def _predictions(self, run: RunRecord) -> Predictions | None:
        from domaingap.predictions import load_predictions

        try:
            return load_predictions(run.folder / "predictions.npz").get(self.on)
        except UserError:  # told by what reads errors by face
            return None

    def _landmarks(self, group: Group) -> LandmarkErrors | None:
        own = [e.landmarks for run in group.runs if (e := self.by_face.of(run)) is not None]
        if not own:
            return None
        return LandmarkErrors(*(np.mean([found[i] for found in own], axis=0) for i in range(3)))

    def shown(self, found: Answer) -> dict[Group, str]:
        """The groups that pictures of errors show, with their names: both ends of the gap, and the strategies between."""
        named: dict[Group, str] = {}
        if found.floor is not None:
            named[found.floor] = "synthetic alone"
        named |= {way.group: way.name for way in found.ways}
        if found.ceiling is not None:
            named[found.ceiling] = "real alone"
        return named

    def adapters_section(self) -> Section | None:
        """What the label adapters do."""
        tables = adapters_tables(self.records, self.strategies)
        return Section("adapters", "Label adapters", tables) if tables else None

    def runs_section(self) -> Section:
        """Every group's figures."""
        return Section("runs", "All runs", [runs_table(self.records, self.strategies)])


def made_now() -> str:
    """When, in words."""
    return f"on {datetime.now().astimezone():%Y-%m-%d at %H:%M %Z}"


def _bins_table(errors: ErrorsBy, names: Mapping[Group, Line]) -> Table:
    """The numbers of a plot of errors by a condition."""
    columns = [
        Column("strategy"),
        *(interval_column(f"{b.text} ({b.faces} faces)", metric("nme")) for b in errors.bins),
    ]
    return Table("", columns, [[names[group].name, *cells] for group, cells in errors.cells.items()])


def _curve_names(curves: Curves) -> list[str]:
    """Names of curves, those that look alike told apart by what stands beside them in tables."""
    names = [curve.name for curve in curves.curves]
    for added in (
        lambda g: f"{g.budget} real" if curves.axis.setting != "n_real" else "",
        lambda g: f"{g.first.steps_answering:,} steps",
        lambda g: g.first.selection,
        lambda g: g.first.source,
    ):
        more = [added(curve.first) for curve in curves.curves]
        counts = Counter(names)
        beside = [{m for name, m in zip(names, more, strict=True) if name == own} for own in names]
        names = [
            f"{name}, {m}" if counts[name] > 1 and m and len(others) > 1 else name
            for name, m, others in zip(names, more, beside, strict=True)
        ]
    return names


def _curve_words(curves: Curves, names: Sequence[str]) -> str:
    """What a plot of curves shows."""
    value, name, at = min(
        (curves.cells[group].interval.mean, name, at)
        for curve, name in zip(curves.curves, names, strict=True)
        for at, group in curve.points
    )
    text = f"NME on {curves.on} by {curves.axis.name}, with 95% intervals. The lowest is {value:.2f}%: {name} at {at:g}."
    started = curves.axis.setting != "alpha" and any(not at for curve in curves.curves for at, _ in curve.points)
    return text + (" Level lines are without any such images." if started else "")


def _curve_table(curves: Curves, names: Sequence[str]) -> Table | None:
    """The numbers of a plot of curves over real images, which have no table of their own beside it."""
    if curves.axis.setting != "n_real":
        return None
    rows = [
        [name, at, *curves.cells[group].interval, len(curves.cells[group].by_seed)]
        for curve, name in zip(curves.curves, names, strict=True)
        for at, group in curve.points
    ]
    value = metric("nme")
    columns = [
        Column("strategy"), number_column("real images", lambda at: f"{at:g}"), number_column("NME %", value),
        number_column("low", value), number_column("high", value), number_column("seeds"),
    ]  # fmt: skip
    return Table("", columns, rows)


def _distinct(rows: Sequence[Saved], names: Mapping[Group, str]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((names[row.group], row.group.first.recipe) for row in rows))


def figures_table(groups: Sequence[tuple[Group, str]], on: str) -> Table:
    """Mean and tail of the errors of named groups."""
    shown = [("NME %", "nme"), *(pair for pair in MORE if pair[1] != "nme_no_jaw")]
    rows = [[name, *(group.cell(on, key).interval.mean for _, key in shown)] for group, name in groups]
    columns = [Column("strategy"), *(number_column(header, metric(key)) for header, key in shown)]
    notes = ["P90, P95, P99: the NME that so many percent of the faces don't exceed. Means over seeds."]
    return Table(f"Mean and tail of the errors on {on}", columns, rows, notes)
