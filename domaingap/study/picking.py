"""What validation picks among runs that differ in α alone: only its test sets are scored, once all of them are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from domaingap.study.plan import Planned
from domaingap.study.record import RunRecord


class Pick(NamedTuple):
    """What validation says of rivals.

    Attributes:
        best: the run with the lowest NME on the validation faces; None while a rival has none.
        missing: rivals without a validation NME: not run yet, failed, or not finite.
        of: how many rivals there are.
    """

    best: Planned | None
    missing: int
    of: int


def rivals(runs: Iterable[Planned]) -> dict[str, list[Planned]]:
    """The groups of runs among which validation picks, by :attr:`Planned.choice`; a run alone has no rival."""
    groups: dict[str, list[Planned]] = {}
    for run in runs:
        if run.choice is not None:
            groups.setdefault(run.choice, []).append(run)
    return {choice: group for choice, group in groups.items() if len(group) > 1}


def pick(group: Sequence[Planned], records: Mapping[str, RunRecord]) -> Pick:
    """What validation picks of rivals.

    Picked before all are there, another might be picked later, and the test sets of two would have been scored.

    Args:
        group: the rivals; of equal ones the first is picked.
        records: finished runs by :attr:`Planned.key`.
    """
    found = {run.key: value for run in group if run.key in records and (value := records[run.key].value("val")) is not None}
    if len(found) < len(group):
        return Pick(None, len(group) - len(found), len(group))
    return Pick(min(group, key=lambda run: found[run.key]), 0, len(group))


def said(group: Sequence[Planned], picked: Pick) -> str:
    """A line on it: what was picked and scored, or why nothing was."""
    if picked.best is None:
        missing = f"{picked.missing} of {picked.of} α have no validation NME"
        return f"{group[0].title}: {missing}; none is scored on test before all have"
    alpha = getattr(picked.best.settings, "alpha", float("nan"))
    return f"α {alpha:g} picked on validation from {picked.of}, its test sets scored: {picked.best.title}"
