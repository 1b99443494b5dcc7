"""``domaingap run``: one recipe, and its figures."""

from __future__ import annotations

from collections.abc import Sequence

from domaingap.errors import SettingError, UserError
from domaingap.study.arguments import placed, placed_settings
from experiments.recipes import RECIPES


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one recipe and print its result."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}; known: {', '.join(RECIPES)}")
    settings, places = placed_settings(RECIPES[name], arguments)
    from domaingap.crew import among_machines

    def work() -> int:
        from domaingap.study.report_tables import run_table
        from domaingap.study.run import execute
        from domaingap.study.tables import print_tables

        print_tables([run_table(execute(RECIPES[name], settings).record)])
        return 0

    try:
        return among_machines([settings.fit], settings.runs_dir, work)
    except SettingError as error:
        raise placed(error, places) from error
