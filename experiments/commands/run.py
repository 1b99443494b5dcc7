"""``domaingap run``: one recipe, and its figures."""

from __future__ import annotations

from collections.abc import Sequence

from domaingap.errors import UserError
from domaingap.study.arguments import parse_settings
from experiments.recipes import RECIPES


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one recipe and print its result."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    settings = parse_settings(RECIPES[name], arguments)
    from domaingap.study.report_tables import run_table
    from domaingap.study.run import execute
    from domaingap.study.tables import print_tables

    print_tables([run_table(execute(RECIPES[name], settings).record)])
    return 0
