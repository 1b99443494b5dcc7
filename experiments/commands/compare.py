"""``domaingap compare``: any runs beside a chosen one, in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domaingap.errors import UserError
from domaingap.study.against import against, against_table
from domaingap.study.record import read_records
from domaingap.study.report_tables import scored_sets
from domaingap.study.tables import Format, print_tables, render
from experiments.commands.report import STRATEGIES
from experiments.recipes import RECIPES


def compare(folders: Sequence[Path], base: Sequence[str], on: str, format: Format) -> None:
    """Print every group of runs less the base, whatever they differ in.

    Args:
        folders: of runs.
        base: what picks it: a recipe, or one of its runs by name or folder, and ``key=value``.
        on: the faces.
        format: how to print it.
    """
    records = []
    for folder in dict.fromkeys(folders):
        found = read_records(folder)
        found.say()
        records += found.records
    if not records:
        raise UserError(f"{', '.join(map(str, folders))}: no finished run (no result.json) in it")
    records = list({record.folder.resolve(): record for record in records}.values())
    sets = ["val", *scored_sets(records)]
    if on not in sets:
        raise UserError(f"--on {on}: no run was scored on it; there are {', '.join(sets)}")
    words: dict[str, str] = {}
    for word in base:
        key, is_pair, value = word.partition("=")
        if not is_pair or Path(word).is_dir():
            key, value = "recipe" if word in RECIPES else "run", word
        if words.setdefault(key, value) != value:
            raise UserError(f"--base {' '.join(base)}: {key} is both {words[key]} and {value}; give one")
    table = against_table(*against(records, words, " ".join(base), on, STRATEGIES), on)
    if format == "table":
        print_tables([table])
    else:
        print(render([table], format), end="")
