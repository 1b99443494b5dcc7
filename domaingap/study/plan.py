"""What is to be run: a sweep file in W&B's grammar → runs, the ones that the protocol adds, and the stages they share."""

from __future__ import annotations

import itertools
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
from domaingap.study.grammar import axes_of, sweep_documents
from domaingap.study.outline import Outline
from domaingap.study.recipe import Recipe
from domaingap.study.record import RunRecord, read_records, request_key


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
        words = [self.recipe.name]
        if hasattr(own, "n_real"):
            words.append(f"n_real {own.n_real if own.n_real is not None else 'all'}")
        if getattr(own, "n_synthetic", None) is not None:
            words.append(f"n_synthetic {own.n_synthetic}")
        if hasattr(own, "alpha"):
            words.append(f"α {own.alpha:g}")
        return " ".join([*words, f"seed {own.seed}"])


def planned_runs(file: Path, overrides: Sequence[str], recipes: Mapping[str, Recipe], exact: bool = False) -> list[Planned]:
    """All runs of a sweep file in order, each once.

    Args:
        file: YAML file of one or several documents in W&B's grammar with ``method: grid``.
        overrides: options for all runs, which win over the file.
        recipes: by name.
        exact: leave out the runs that the protocol adds.

    Raises:
        UserError: no such file, not a grid in W&B's grammar, or a parameter that no recipe has.
    """
    # W&B takes no longer names of groups; nobody chose this one.
    shared, wanted = [f"--wandb.group={file.stem[:128]}", f"--runs_dir={Path('runs') / file.stem}"], _options(overrides)
    runs: dict[str, Planned] = {}
    for document in sweep_documents(file):
        here: dict[str, Recipe] = {}
        axes = axes_of(file, document)
        places = {axis.name: f"{file}:{axis.line}: parameters" for axis in axes}
        for values in itertools.product(*(axis.values for axis in axes)):
            cell = dict(zip(places, values, strict=True))
            name = str(cell.pop("recipe"))
            if name not in recipes:
                raise UserError(f"{places['recipe']}: unknown recipe {name!r}; known: {', '.join(recipes)}")
            recipe = here.setdefault(name, recipes[name])
            run = _resolve(recipe, cell, places, shared, wanted)
            runs.setdefault(run.key, run)
        for name, place in places.items():
            if name != "recipe" and not any(takes(recipe, name) for recipe in here.values()):
                names = ", ".join(sorted(here))
                raise UserError(f"{place}: {name}: not a setting of {names}; see 'domaingap run {sorted(here)[0]} --help'")
    for option, _ in wanted:
        if not any(takes(run.recipe, option) for run in runs.values()):
            raise UserError(f"--{option}: not a setting of any run in {file}; see 'domaingap run RECIPE --help'")
    return list(runs.values()) if exact else with_companions(list(runs.values()), recipes)


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


def _resolve(
    recipe: Recipe,
    cell: Mapping[str, Any],
    places: Mapping[str, str],
    shared: Sequence[str],
    wanted: Sequence[tuple[str, str]],
) -> Planned:
    files = [str(value) for value in _listed(cell.get("config"))] + [value for key, value in wanted if key == "config"]
    own = [f"--{k}={_text(v)}" for k, v in cell.items() if k != "config" and takes(recipe, k)]
    asked = [f"--{k}={v}" for k, v in wanted if k != "config" and takes(recipe, k)]
    origins = {key: place for key, place in places.items() if key not in dict(wanted)}
    arguments = [*(f"--config={file}" for file in files), *shared, *own, *asked]
    settings, found = placed_settings(recipe, arguments, origins)
    return Planned(recipe, settings, places=found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []


def _text(value: Any) -> str:
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
        mine = [flat(determining(run.settings)) for run in grid if run.recipe.name == recipe]
        axes = []
        for name in dict.fromkeys(key for values in mine for key in values):
            values = list(dict.fromkeys(v.get(name) for v in mine))
            if len(values) > 1 or name in ("n_real", "alpha"):
                axes.append(f"{name} {', '.join('all' if name == 'n_real' and v == 'None' else str(v) for v in values)}")
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
