"""``domaingap data fetch``: bring a data set that may be fetched openly, or say where to ask for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from domaingap.errors import UserError
from domaingap.progress import amount


def fetch(name: str | None, data_root: Path, url: str | None, to: Path | None = None) -> int:
    """Fetch a data set; without a name, list them all.

    Args:
        name: a download's, or that of a data set that its owners hand out themselves.
        data_root: folder that holds the data sets.
        url: another address of the same archive.
        to: the data set's own folder; the usual one below the data root by default.
    """
    from domaingap.data import downloads as known
    from domaingap.study.tables import terminal

    out = terminal()
    if name is None:
        if to is not None:
            raise UserError("--to says where one data set goes; give its name before it")
        _list(data_root)
        return 0
    name = name.replace("-", "_")
    if (asked := known.by_hand().get(name)) is not None:
        for line in (asked.title, f"  licence: {asked.licence}", f"  citation: {asked.citation}"):
            out.print(line, markup=False)
        where = f"into {data_root / asked.folder}: {asked.layout}"
        raise UserError(f"{name} {asked.why}; follow {asked.page}, and put it {where}")
    if (what := known.downloads().get(name)) is None:
        if sizes := [other for other in known.downloads() if other.startswith(f"{name}_")]:
            raise UserError(f"{name} comes in {len(sizes)} sizes; give one: {', '.join(sizes)}")
        raise UserError(
            f"nothing called {name!r} can be fetched; known: {', '.join([*known.downloads(), *known.by_hand()])}"
        )
    if to is not None:
        data_root, what = to.absolute().parent, replace(what, folder=to.name)
    size = amount(what.size) if what.size is not None else "of a size that isn't published"
    for line in (
        what.title,
        f"  licence: {what.licence} ({what.licence.url})",
        f"  citation: {what.citation}",
        *([f"  caution: {what.caution}"] if what.caution else []),
        f"  size: a download {size}, about {amount(what.unpacked)} unpacked: {what.holds}",
        f"  checksum: {'known' if what.content else 'none is published; that of the first download is written down'}",
        f"  from: {url or what.url}",
        f"  to: {data_root / what.folder}",
    ):
        out.print(line, markup=False)
    found = known.fetch(what, data_root, url)
    how = "there already" if found.there_before else "fetched"
    passed = "".join(f"; {n:,} {why} left out" for why, n in found.passed_over.items())
    out.print(f"{how}: {found.files:,} files, {amount(found.size)}, {found.check}{passed}: {found.folder}", markup=False)
    return 0


def _list(data_root: Path) -> None:
    from domaingap.data.downloads import by_hand, downloads
    from domaingap.study.tables import Column, Table, print_tables

    rows: list[list[str | None]] = []
    notes: dict[str, str] = {}
    for one in downloads().values():
        size = amount(one.size) if one.size is not None else f"{amount(one.unpacked)} unpacked"
        rows.append([one.name, one.title, size, str(one.licence), "domaingap data fetch", f"{data_root / one.folder}"])
        notes[one.citation] = f"{one.title.partition(',')[0]}: {one.citation}."
    for asked in by_hand().values():
        where = f"{data_root / asked.folder}: {asked.layout}"
        rows.append([asked.name, asked.title, None, str(asked.licence), asked.page, where])
        notes.setdefault(asked.citation, f"{asked.title}: {asked.citation}.")
    columns = [Column(name) for name in ("name", "data set", "size", "licence", "how", "into")]
    print_tables(
        [Table("What there is to fetch, and what its owners hand out themselves", columns, rows, list(notes.values()))]
    )
