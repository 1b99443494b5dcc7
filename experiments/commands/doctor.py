"""``domaingap data doctor``: what is wrong with the data sets, where, and what to do."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from domaingap import sources
from domaingap.errors import DataError, UserError, printable
from domaingap.hashing import write_json

if TYPE_CHECKING:
    from domaingap.data.doctor.examine import Examination
    from domaingap.data.readers import Reader


def doctor(
    data_root: Path,
    source: str | None,
    root: Path | None,
    out: Path,
    sheet: Path | None,
    n: int,
    rows: int,
    no_detector: bool,
    prepared_dir: Path,
    workers: int | None,
) -> int:
    """Examine the data sets below a folder; 1 where something is a fault.

    Args:
        data_root: folder that holds the data sets.
        source: one of them; all that are present by default.
        root: its folder, where it isn't the usual one.
        out: the JSON file.
        sheet: a PNG of the worst faces.
        n: faces on it at most.
        rows: findings to print of each data set at most.
        no_detector: leave the face detector out.
        prepared_dir: where known boxes are.
        workers: processes; all cores by default.
    """
    for option, path in (("out", out), ("sheet", sheet)):
        if path is not None:
            _check_place(option, path, data_root)
    readers, unopened = _open(data_root, source, root)
    from domaingap.data.doctor.examine import examine
    from domaingap.data.doctor.report import as_json

    began = time.monotonic()
    examination = examine(readers, workers, not no_detector, prepared_dir, unopened)
    # Written before anything is printed, and printed where it can't be written: neither ends with the other.
    failed: OSError | None = None
    try:
        write_json(out, as_json(examination, data_root))
    except OSError as error:
        failed = error
    _print(examination, rows, data_root)
    if failed is not None:
        raise UserError(f"{out}: can't be written ({failed.strerror}); give --out another place") from failed
    if sheet is not None:
        _write_sheet(examination, sheet, n)
    print(f"{len(examination.faces)} faces in {time.monotonic() - began:.0f} s; every finding with its file: {out}")
    return int(any(finding.severity == "fault" for finding in examination.findings))


def _check_place(option: str, path: Path, data_root: Path) -> None:
    """Before anything is read: what is written later has a place, which isn't in the data."""
    if path.is_dir():
        raise UserError(f"--{option} is {path}, which is a folder; give a file")
    if not path.parent.is_dir():
        raise UserError(f"--{option} is {path}, but there is no folder {path.parent}; make it, or give another place")
    if path.resolve().is_relative_to(data_root.resolve()) and data_root.resolve() != Path.cwd():
        raise UserError(f"--{option} is {path}, which lies in the data root; nothing is written there, give another place")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(
            f"--{option} is {path}, where nothing can be written ({error.strerror}); give another place"
        ) from error


def _open(data_root: Path, source: str | None, root: Path | None) -> tuple[list[Reader], dict[str, DataError]]:
    """Readers of the data sets; and of those that can't be opened, why, unless it is the only one."""
    from domaingap.data.readers import open_reader, sources_in

    if root is not None and source is None:
        raise UserError("--root is the folder of one data set; give --source with it")
    if source is not None:
        return [open_reader(sources.source(source, setting="--source").name, data_root, root)], {}
    readers, unopened = [], {}
    for about in sources_in(data_root):
        try:
            readers.append(open_reader(about.name, data_root))
        except DataError as error:
            unopened[about.name] = error
    if not readers:
        raise next(iter(unopened.values()))
    return readers, unopened


def _shown(path: str, data_root: Path) -> str:
    """A file as people call it: from the data root on."""
    return os.path.relpath(path, data_root) if Path(path).is_relative_to(data_root) else path


def _print(examination: Examination, rows: int, data_root: Path) -> None:
    """A table of the parts, then of each data set what to do, worst first."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from domaingap.data.doctor.report import severities
    from domaingap.study.tables import terminal

    out = terminal()
    table = Table(title="data sets", title_justify="left")
    for column in ("data set", "part", "faces", "published", "passed over", "detector missed", "faults", "suspects"):
        right = column in ("faces", "published", "detector missed", "faults", "suspects")
        table.add_column(column, justify="right" if right else "left")
    for name, parts in examination.parts.items():
        for part, about in parts.items():
            counts = severities(examination, name, part)
            skipped = ", ".join(f"{n} {why}" for why, n in about.skipped.items())
            missed = str(about.boxes.get("fallback", 0)) if about.boxes else "-"
            cells = (name, part, str(about.faces), str(about.published or "-"), skipped, missed)
            table.add_row(*(Text(printable(cell)) for cell in (*cells, str(counts["fault"]), str(counts["suspect"]))))
    out.print(table)
    for text in examination.not_checked:
        out.print(Text(f"not checked: {text}"))
    for name, source in examination.sources.items():
        own = [f for f in examination.findings if f.source == name]
        todo = [f for f in own if f.severity != "note"]
        notes = [f for f in own if f.severity == "note"]
        faults = sum(f.severity == "fault" for f in todo)
        suspects = len(todo) - faults
        what = f"{faults} {'fault' if faults == 1 else 'faults'}, {suspects} {'suspect' if suspects == 1 else 'suspects'}"
        verdict = f"{what} to look at, worst first" if todo else "fine"
        out.print(Text(f"\n{source.title}: {verdict}", style="bold"))
        for terms in examination.terms[name]:
            out.print(Text(printable(f"licence: {terms}; cite: {terms.citation}; {source.homepage}")))
        summary = [f"{f.part} {f.detail}" for f in notes if f.kind == "fewer than published"]
        if examination.absent[name]:
            summary.append(f"absent: {', '.join(examination.absent[name])}")
        if summary:
            out.print(Text(f"a partial release: {'; '.join(summary)}"))
        if not todo:
            continue
        listing = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("", "what", "file", "detail", "what to do"):
            listing.add_column(column, overflow="fold")
        for finding in todo[:rows]:
            where = _shown(finding.file, data_root) if finding.file else finding.part
            detail = finding.detail + (f"; the other: {finding.also}" if finding.also else "")
            texts = (finding.severity, finding.kind, where, detail, finding.advice)
            listing.add_row(*(Text(printable(text)) for text in texts))
        out.print(listing)
        if len(todo) > rows:
            kinds: dict[str, int] = {}
            for finding in todo[rows:]:
                kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
            out.print(Text(f"and {len(todo) - rows} more: " + ", ".join(f"{k} × {kind}" for kind, k in kinds.items())))
    out.print()


def _write_sheet(examination: Examination, path: Path, n: int) -> None:
    from domaingap.data.doctor.report import draw_suspects
    from domaingap.pictures import save_picture, sheet

    tiles = draw_suspects(examination, n)
    if not tiles:
        print("no suspect to draw; no sheet is written")
        return
    save_picture(path, sheet(tiles, min(5, len(tiles))))
    print(f"the {len(tiles)} worst faces with their landmarks: {path}")
