"""What is to be run: a sweep file in W&B's grammar → runs, the ones that the protocol adds, and the stages they share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from domaingap.config import RealConfig, RunSettings, determining
from domaingap.errors import SettingError, UserError
from domaingap.hashing import flat
from domaingap.progress import console
from domaingap.study.arguments import placed, placed_settings, takes
from domaingap.study.grammar import MOST_RUNS, Sweep, read_sweeps
from domaingap.study.outline import Outline
from domaingap.study.recipe import Recipe
from domaingap.study.record import RunRecord, appearance_of, read_records, request_key, strategy


@dataclass(frozen=True)
class Planned:
    """A run of the plan.

    Attributes:
        recipe: its recipe.
        settings: its settings.
        why: why the protocol adds it; empty for a run of the grid itself.
        places: file and line of settings that have one, by key.
    """

    recipe: Recipe
    settings: RunSettings
    why: str = ""
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def key(self) -> str:
        """Identity of what is asked for, wherever its files lie; :attr:`RunRecord.request` of its result."""
        return request_key(self.recipe.name, self.settings)

    @cached_property
    def outline(self) -> Outline:
        """The networks that it needs."""
        return Outline(self.recipe, self.settings)

    @cached_property
    def choice(self) -> str | None:
        """The same for runs among which validation picks: they differ in α alone; None where nothing is picked."""
        if not hasattr(self.settings, "alpha") or self.settings.selection != "real_val":
            return None
        return request_key(self.recipe.name, {k: v for k, v in determining(self.settings).items() if k != "alpha"})

    def placed(self, error: UserError) -> UserError:
        """What is wrong with the run, behind the file and line of the setting or else its title."""
        if isinstance(error, SettingError):
            return placed(error, self.places) if error.key in self.places else error
        return UserError(f"{self.title}: {error}")

    @property
    def title(self) -> str:
        """A few words on it."""
        own: Any = self.settings
        words = [strategy(self.recipe.name, None, appearance_of(own))]
        if own.fits_real:
            words.append(f"n_real {own.n_real if own.n_real is not None else 'all'}")
        if getattr(own, "n_synthetic", None) is not None:
            words.append(f"n_synthetic {own.n_synthetic}")
        if hasattr(own, "alpha"):
            words.append(f"α {own.alpha:g}")
        return " ".join([*words, f"seed {own.seed}"])


def planned_runs(
    file: Path,
    overrides: Sequence[str],
    recipes: Mapping[str, Recipe],
    exact: bool = False,
    count: int | None = None,
    sweep_seed: int = 0,
) -> list[Planned]:
    """All runs of a sweep file in order, each once; says which draws were the same.

    Args:
        file: YAML file of one or several documents in W&B's grammar with ``method: grid`` or ``random``; ``wandb sweep``
            reads files of one.
        overrides: options for all runs, which win over the file.
        recipes: by name.
        exact: leave out the runs that the protocol adds.
        count: of each document no more runs than that; of a random one as many draws.
        sweep_seed: of what random documents draw; the first n of a larger count are those of count n.

    Raises:
        UserError: no such file, not in W&B's grammar, a method that isn't done here, a random sweep without a number of
            runs, or a parameter that no recipe has.
    """
    wanted = _options(overrides)
    runs: dict[str, Planned] = {}
    for sweep in read_sweeps(file):
        here = recipes_of(sweep, recipes)
        most = min((n for n in (count, sweep.run_cap) if n is not None), default=MOST_RUNS)
        draws = 0
        mine: set[str] = set()
        for cell in sweep.cells(count, sweep_seed):
            if sweep.method == "grid" and len(mine) >= most:
                break
            run = resolve_run(here[cell.pop("recipe")], cell, sweep, wanted)
            draws += 1
            mine.add(run.key)
            runs.setdefault(run.key, run)
        if sweep.method == "random" and len(mine) < draws:
            console.print(f"{file}: {draws} draws are {len(mine)} different runs; each is done once", markup=False)
        if sweep.early_terminate:
            console.print(f"{file}: early_terminate is for W&B's own agents; here every run trains to its end", markup=False)
    for option, _ in wanted:
        if not any(takes(run.recipe, option) for run in runs.values()):
            raise UserError(f"--{option}: not a setting of any run in {file}; see 'domaingap run RECIPE --help'")
    return list(runs.values()) if exact else with_companions(list(runs.values()), recipes)


def recipes_of(sweep: Sweep, recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """The recipes of a sweep, by name.

    Raises:
        UserError: with file and line: an unknown one, or a parameter that none of them has.
    """
    places = sweep.places
    names = next(p.values for p in sweep.parameters if p.name == "recipe")
    for name in names or ["a number"]:
        if name not in recipes:
            raise UserError(f"{places['recipe']}: unknown recipe {name!r}; known: {', '.join(recipes)}")
    here = {name: recipes[name] for name in names}
    for key, place in places.items():
        if key != "recipe" and not any(takes(recipe, key) for recipe in here.values()):
            first = sorted(here)[0]
            raise UserError(
                f"{place}: {key}: not a setting of {', '.join(sorted(here))}; see 'domaingap run {first} --help'"
            )
    return here


def _options(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Options from the command line, ``--key value`` or ``--key=value``, as pairs."""
    pairs, rest = [], list(overrides)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--"):
            raise UserError(f"{name}: unexpected; options of the runs look like --n_real 200")
        if not equals:
            if not rest:
                raise UserError(f"{name} needs a value")
            value = rest.pop(0)
        pairs.append((name[2:], value))
    return pairs


def resolve_run(
    recipe: Recipe, cell: Mapping[str, Any], sweep: Sweep, wanted: Sequence[tuple[str, str]], placed: bool = True
) -> Planned:
    """The run of a recipe with a sweep's values.

    Args:
        recipe: the recipe; what it lacks is left out.
        cell: values by parameter, without the recipe.
        sweep: the sweep that they are of.
        wanted: options that win over them, as pairs.
        placed: the values are those of the file, which mistakes are then placed in.

    Raises:
        UserError: a value that can't be.
    """
    # W&B takes no longer names of groups; nobody chose this one.
    names = {"wandb.group": sweep.file.stem[:128], "wandb.project": sweep.project, "wandb.entity": sweep.entity}
    shared = [*(f"--{k}={v}" for k, v in names.items() if v is not None), f"--runs_dir={Path('runs') / sweep.file.stem}"]
    files = [str(value) for value in _listed(cell.get("config"))] + [value for key, value in wanted if key == "config"]
    own = [f"--{k}={option_text(v)}" for k, v in cell.items() if k != "config" and takes(recipe, k)]
    asked = [f"--{k}={v}" for k, v in wanted if k != "config" and takes(recipe, k)]
    origins = {key: place for key, place in sweep.places.items() if placed and key not in dict(wanted)}
    arguments = [*(f"--config={file}" for file in files), *shared, *own, *asked]
    settings, found = placed_settings(recipe, arguments, origins)
    return Planned(recipe, settings, places=found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []


def option_text(value: Any) -> str:
    """A value as an option has it."""
    return value if isinstance(value, str) else json.dumps(value)


def with_companions(runs: Sequence[Planned], recipes: Mapping[str, Recipe]) -> list[Planned]:
    """The runs and those that the protocol asks for beside them, as their recipes say."""
    known = {run.key: run for run in runs}
    by_recipe: dict[str, list[RunSettings]] = {}
    for run in runs:
        by_recipe.setdefault(run.recipe.name, []).append(run.settings)
    ordered: list[Planned] = []
    for run in runs:
        ordered.append(run)
        for extra in run.recipe.companions(run.settings, by_recipe) if run.recipe.companions is not None else ():
            planned = Planned(recipes[extra.recipe], extra.settings, extra.why)
            if known.setdefault(planned.key, planned) is planned:
                ordered.append(planned)
    return ordered


def alongside(runs: Sequence[Planned]) -> dict[str, list[RealConfig]]:
    """For each run by its key: the real faces of all runs that share a network with it, so that it is trained once."""
    real: dict[str, list[RealConfig]] = {}
    for run in runs:
        for stage in run.outline.stages:
            here = real.setdefault(stage.key, [])
            if run.settings.real not in here:
                here.append(run.settings.real)
    shared = {run.key: [config for stage in run.outline.stages for config in real[stage.key]] for run in runs}
    return {key: list(dict.fromkeys(configs)) for key, configs in shared.items()}


def finished_runs(folder: Path) -> dict[str, RunRecord]:
    """The finished runs below a folder by what was asked for; what can't be read is named, counted and passed over."""
    if not folder.is_dir():
        return {}
    found = read_records(folder)
    found.say()
    # The newest last: where data or code have changed, results of before may lie beside today's.
    records = sorted(found.records, key=lambda record: (record.folder / "result.json").stat().st_mtime)
    return {record.request: record for record in records}


def print_plan(file: Path, runs: Sequence[Planned], finished: Mapping[str, RunRecord]) -> None:
    """What would be run, how many networks that takes, and what the protocol adds."""
    done = sum(run.key in finished for run in runs)
    console.print(f"{file}: {len(runs)} runs, {done} of them finished before")
    grid = [run for run in runs if not run.why]
    for recipe, count in Counter(run.recipe.name for run in grid).items():
        mine = [flat(determining(run.settings, spelled_out=True)) for run in grid if run.recipe.name == recipe]
        axes = []
        for name in dict.fromkeys(key for values in mine for key in values):
            # Of the runs that have it: what belongs to one source of faces alone doesn't vary.
            values = list(dict.fromkeys(v[name] for v in mine if name in v))
            if len(values) > 1 or name in ("n_real", "alpha"):
                axes.append(f"{name} {', '.join('all' if name == 'n_real' and v == 'None' else v for v in values)}")
        console.print(f"  {count:3} {recipe:17} {'; '.join(axes)}")
    for why, count in Counter(run.why for run in runs if run.why).items():
        console.print(f"  {count:3} more by the protocol: {why} (--exact leaves them out)")
    stages = [stage for run in runs for stage in run.outline.stages]
    if not all(run.settings.reuse for run in runs):
        console.print(f"  {len(stages)} networks to train: each run trains its own (--no_reuse)")
        return
    distinct = len({stage.key for stage in stages})
    console.print(
        f"  {distinct} networks to train, for {len(stages)} that the runs need"
        + (f": {len(stages) - distinct} are shared" if distinct < len(stages) else "")
    )
