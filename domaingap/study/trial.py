"""One run of a sweep as W&B's agents start it, under the rules of the whole sweep."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from domaingap.config import RealConfig
from domaingap.errors import UserError
from domaingap.progress import console
from domaingap.study.arguments import takes, word_for
from domaingap.study.grammar import Sweep, passed, read_sweeps
from domaingap.study.picking import pick, rivals, said
from domaingap.study.plan import Planned, alongside, finished_runs, option_text, planned_runs, recipes_of, resolve_run
from domaingap.study.recipe import Recipe
from domaingap.study.record import RunRecord
from domaingap.tracking_places import apart_from_agent


@dataclass(frozen=True)
class Trial:
    """A run that W&B's agent asks for.

    Attributes:
        run: the run.
        alongside: see :class:`domaingap.study.run.Run`.
        rivals: the file's runs among which validation picks an α, the run among them; empty where it has none.
        scored: its test sets are scored whatever others find.
        note: what the user should know of it; empty where there is nothing.
    """

    run: Planned
    alongside: Sequence[RealConfig]
    rivals: Sequence[Planned]
    scored: bool
    note: str = ""


def planned_trial(file: Path, arguments: Sequence[str], recipes: Mapping[str, Recipe]) -> Trial:
    """The run that W&B's agent asks for: the same one as the sweep's own, whatever the order of the options.

    Args:
        file: the sweep's file, of one document; its method may be bayes as well.
        arguments: see :func:`domaingap.study.grammar.passed`. Parameters of the file that have one value need not be among
            them. Options that are no parameter of the file hold for all its runs, as in ``domaingap sweep``.
        recipes: by name.

    Raises:
        UserError: the file has no sweep of W&B's grammar, or several; a parameter isn't given, no recipe has an option, or a
            value can't be.
    """
    sweeps = read_sweeps(file)
    if len(sweeps) > 1:
        raise UserError(f"{file}: {len(sweeps)} documents, and W&B's sweeps have one; put each into a file of its own")
    (sweep,) = sweeps
    here = recipes_of(sweep, recipes)
    given = passed(arguments)
    for name in given:
        if name != "recipe" and not any(takes(recipe, name) for recipe in recipes.values()):
            raise UserError(f"--{name}: not a setting of any recipe; see 'domaingap run RECIPE --help'")
    cell = {p.name: p.values[0] for p in sweep.parameters if not p.varies}
    cell |= {p.name: given[p.name] for p in sweep.parameters if p.name in given}
    if missing := [p.name for p in sweep.parameters if p.name not in cell]:
        raise UserError(f"--{missing[0]} is missing; W&B's agent gives a value to each of {', '.join(missing)}")
    chosen = cell.pop("recipe")
    if chosen not in recipes:
        raise UserError(f"--recipe is {option_text(chosen)}; known: {', '.join(recipes)}")
    recipe = recipes[str(chosen)]
    cell = {key: word_for(recipe, key, value) for key, value in cell.items()}
    names = {p.name for p in sweep.parameters}
    wanted = [
        (k, option_text(word_for(recipe, k, v))) for k, value in given.items() if k not in names for v in _each(k, value)
    ]
    run = resolve_run(recipe, cell, sweep, wanted, placed=False)
    if sweep.method == "grid":
        # Those that no recipe of the file has are left out, as those that this one lacks.
        shared = [f"--{k}={v}" for k, v in wanted if any(takes(r, k) for r in here.values())]
        return _in_grid(run, planned_runs(file, shared, recipes), file)
    return Trial(run, [run.settings.real], [], *_alone(run, sweep))


def _each(key: str, value: object) -> list[object]:
    return value if key == "config" and isinstance(value, list) else [value]


def _in_grid(run: Planned, plan: list[Planned], file: Path) -> Trial:
    note = ""
    if run.key not in {planned.key for planned in plan}:
        plan = [*plan, run]
        note = f"{run.title}: no run of {file} as it is now (another version of it, or other options); done all the same"
    group = rivals(plan).get(run.choice or "", [])
    return Trial(run, alongside(plan)[run.key], group, run.settings.score_test and not group, note)


def _alone(run: Planned, sweep: Sweep) -> tuple[bool, str]:
    """Whether a drawn run's test sets are scored, and what to say: nobody knows which α are still to come."""
    if run.choice is None or not any(p.name == "alpha" and p.varies for p in sweep.parameters):
        return run.settings.score_test, ""
    return (
        False,
        f"{run.title}: not scored on test, since other α are drawn; give the best one's 'domaingap run' command at the end",
    )


def run_trial(trial: Trial) -> RunRecord:
    """Do it; where it is the last of its rivals to be finished, score the test sets of what validation picks.

    Raises:
        UserError: it can't be done as it is; StorageError where its files can't be written.
    """
    from domaingap.study.run import execute

    run = trial.run
    if trial.note:
        console.print(trial.note, markup=False)
    record = execute(run.recipe, replace(run.settings, score_test=trial.scored), trial.alongside).record
    if not trial.rivals or not run.settings.score_test:
        return record
    picked = pick(trial.rivals, finished_runs(run.settings.runs_dir))
    if picked.best is not None:
        own = picked.best.key == run.key
        with contextlib.nullcontext() if own else apart_from_agent():
            best = execute(picked.best.recipe, replace(picked.best.settings, score_test=True)).record
        record = best if own else record
    console.print(said(trial.rivals, picked), markup=False)
    return record
