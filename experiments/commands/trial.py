"""``domaingap trial``: one run of a sweep file, as W&B's agents start it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.recipes import RECIPES


def trial(file: Path, overrides: Sequence[str]) -> int:
    """Do one run and print its result; a run that was finished before is logged again to the agent's run.

    Args:
        file: the sweep's file.
        overrides: see :func:`domaingap.study.trial.planned_trial`.
    """
    from domaingap.study.report_tables import run_table
    from domaingap.study.tables import print_tables
    from domaingap.study.trial import planned_trial, run_trial

    print_tables([run_table(run_trial(planned_trial(file, overrides, RECIPES)))])
    return 0
