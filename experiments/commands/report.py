"""``domaingap report``: tables of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domaingap.errors import UserError, trouble
from domaingap.hashing import write_atomically
from domaingap.paths import check_file
from domaingap.progress import console
from domaingap.study.by_face import ByFace
from domaingap.study.compare import Strategies
from domaingap.study.conditions import conditions_tables
from domaingap.study.curve_tables import curves_tables, saved_families, saved_tables, wide_curves_tables
from domaingap.study.gap_parts import gap_parts
from domaingap.study.gap_tables import gap_parts_tables
from domaingap.study.original_study import original_study_table
from domaingap.study.record import Found, RunRecord, read_records
from domaingap.study.report_tables import (
    adapters_tables,
    calibration_tables,
    compared_families,
    pairs_tables,
    plural,
    runs_table,
    scored_sets,
    strategies_tables,
    tails_tables,
)
from domaingap.study.tables import Format, Table, print_tables, render
from experiments.commands.styles import STYLES, Style
from experiments.recipes import RECIPES

STRATEGIES = Strategies.of(RECIPES)
GAP: tuple[Style, ...] = tuple(style for style in STYLES if style not in ("gap", "conditions", "original_study"))
NOTHING = {
    "curves": "no runs here differ in n_real, alpha or n_synthetic alone",
    "saved": "no strategy here beside a real_only with two numbers of real images (configs/sweeps/n_real.yaml has them)",
    "pairs": "no two runs here can be compared (a strategy, and real_only or synthetic_only with the same seeds)",
    "gap_parts": "no synthetic_only, label_adaptation and real_only here of the same rule, steps and seeds",
    "conditions": "no predictions here of faces enough for two bins",
    "tails": "no run here has P90, P95 and P99 of NME; an earlier version made them",
    "calibration": "no network here tells standard deviations (--model.loss gaussian_nll makes such)",
    "adapters": "no run here has a label adapter",
}


def report(
    runs_dir: Path, format: Format, style: Style, out: Path | None, on: str = "common", html: Path | None = None
) -> None:
    """Print the tables of all finished runs below a folder, or write them, or a page, to a file.

    Args:
        runs_dir: folder of runs.
        format: how; csv holds a single table, for ``gap`` that of all runs.
        style: which tables; ``gap`` is all but the original study's, with the curves over real images as the table of
            strategies and the other curves a line each, where ``curves`` has every curve in long form.
        out: the file to write instead.
        on: the faces whose NME the tables are about, but for those of adapters and of all runs.
        html: the file of a page with words, plots, tables and faces, to write instead.
    """
    if html is not None:
        if (format, style, out) != ("table", "gap", None):
            raise UserError("--html has every table; leave out --format, --style and --out, or --html")
        check_file(html, "--html")
    if out is not None:
        check_file(out, "--out")
    found = read_records(runs_dir)
    found.say()
    if not found.records:
        raise UserError(f"{runs_dir}: no finished run (no result.json) in it; start with 'domaingap run real_only'")
    if html is not None:
        write_page(runs_dir, found, html, on)
        return
    wanted = ("runs",) if style == "gap" and format == "csv" else GAP if style == "gap" else (style,)
    if style not in ("runs", "original_study"):
        on = _scored(found.records, on)
    by_face = ByFace(on)
    tables = [table for name in wanted for table in _tables(found.records, name, on, by_face, wide=style == "gap")]
    if not tables:
        raise UserError(f"{runs_dir}: nothing to print for --style {style}: {NOTHING[style]}")
    if format == "table" and out is None:
        print_tables(tables)
        return
    text = render(tables, format)
    if out is None:
        print(text, end="")
        return
    try:
        write_atomically(out, text)
    except OSError as error:
        raise UserError(trouble(error, "can't be written", "--out", out)) from error
    console.print(f"{sum(len(table.rows) for table in tables)} rows written to {out}", markup=False)


def write_page(runs_dir: Path, found: Found, html: Path, on: str = "common") -> None:
    """Write the page of the runs below a folder, and say so.

    Args:
        runs_dir: the folder.
        found: its runs.
        html: the file.
        on: the faces that the page is about.
    """
    from domaingap.study.page.html import to_html
    from domaingap.study.page.study import Study

    study = Study(runs_dir, found.records, found.passed_over, _scored(found.records, on), STRATEGIES)
    text = to_html(study.page())
    try:
        write_atomically(html, text)
    except OSError as error:
        raise UserError(trouble(error, "can't be written", "--html", html)) from error
    size = len(text.encode()) / 1e6
    console.print(
        f"{html}: the page of {len(found.records)} run{plural(len(found.records))} ({size:.1f} MB, needs no network); "
        "open it in a browser",
        markup=False,
    )


def _tables(records: Sequence[RunRecord], style: Style, on: str, by_face: ByFace, wide: bool) -> list[Table]:
    if style == "strategies":
        return strategies_tables(records, on, STRATEGIES)
    if style == "curves":
        return (wide_curves_tables if wide else curves_tables)(records, on, STRATEGIES)
    if style == "saved":
        return saved_tables(saved_families(records, on, STRATEGIES, by_face), on, STRATEGIES, by_face)
    if style == "pairs":
        return pairs_tables(compared_families(records, on, STRATEGIES, by_face), on, STRATEGIES)
    if style == "gap_parts":
        return gap_parts_tables(gap_parts(records, on, STRATEGIES, by_face), on, STRATEGIES)
    if style == "conditions":
        return conditions_tables(records, on, STRATEGIES, by_face)
    if style == "tails":
        return tails_tables(records, on, STRATEGIES)
    if style == "calibration":
        return calibration_tables(records, on, STRATEGIES)
    if style == "adapters":
        return adapters_tables(records, STRATEGIES)
    return [runs_table(records, STRATEGIES) if style == "runs" else original_study_table(records, STRATEGIES)]


def _scored(records: Sequence[RunRecord], on: str) -> str:
    """The set of faces to report on: the wanted one, or the first there is where the default isn't."""
    sets = ["val", *scored_sets(records)]
    if on in sets:
        return on
    if on != "common":
        raise UserError(f"--on {on}: no run was scored on it; there are {', '.join(sets)}")
    return sets[1] if len(sets) > 1 else "val"
