"""``domaingap sweep``: a grid of runs from a YAML file in W&B's grammar, one after the other, continued when given again."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from domaingap import progress
from domaingap.config import read_settings
from domaingap.errors import UserError, traceback_wanted
from domaingap.hashing import content_key, flat, plain
from domaingap.progress import console

TOP_LEVEL = {"name", "description", "method", "metric", "parameters", "project", "entity", "program", "command"}
"""Keys of W&B's sweep files; ``program`` and ``command`` are for W&B's own agents and not used here."""
PATHS = ("data_root", "prepared_dir", "runs_dir", "wandb")


@dataclass(frozen=True)
class Planned:
    """A run of the plan.

    Attributes:
        recipe: its name.
        values: the recipe's arguments, resolved.
        why: why the protocol adds it; empty for a run of the grid itself.
    """

    recipe: str
    values: dict[str, Any]
    why: str = ""

    @property
    def key(self) -> str:
        """Identity of what is run, wherever its files lie."""
        return content_key([self.recipe, {k: v for k, v in read_settings(self.values).items() if k not in PATHS}])


def sweep(file: Path, overrides: Sequence[str], plan: bool, exact: bool) -> int:
    """Run every combination of a sweep file; print the plan, a line per run, and the table at the end.

    Args:
        file: YAML file of one or several documents in W&B's grammar with ``method: grid``.
        overrides: recipe options for all runs, which win over the file.
        plan: only print the plan.
        exact: leave out the runs that the protocol adds.

    Returns:
        0, or 1 where some runs failed.
    """
    runs = planned_runs(file, overrides, exact)
    folder = Path(runs[0].values["runs_dir"])
    finished = finished_runs(folder)
    _print_plan(file, runs, sum(run.key in finished for run in runs))
    if plan:
        return 0
    failed = run_all(runs, finished)
    if len(failed) < len(runs):
        from experiments.commands.report import report

        report(folder, "table", "strategies", None)
        console.print(f"all tables: domaingap report {folder}")
    return 1 if failed else 0


def run_all(runs: Sequence[Planned], finished: set[str]) -> list[tuple[Planned, str]]:
    """Run them one after the other, a line each, with an estimate of the time left; those that failed, and why.

    Args:
        runs: what to run.
        finished: keys of runs that were finished before, see :func:`finished_runs`.

    Raises:
        UserError: the first of the runs can't be done, and so none can.
    """
    failed: list[tuple[Planned, str]] = []
    seconds: list[float] = []
    cost, trained = _costs(runs), 0
    for number, run in enumerate(runs, start=1):
        began = time.monotonic()
        head = f"[{number}/{len(runs)}]"
        with progress.terse(f"{head} {run.recipe} "):
            result, error = _attempt(run)
        if error is not None:
            failed.append((run, str(error)))
            console.print(f"{head} {run.recipe} failed: {error}")
            if isinstance(error, UserError) and number == 1:
                # A mistake in what all runs share; nothing was computed yet.
                raise error
            continue
        assert result is not None
        if not result.reused:
            seconds.append(time.monotonic() - began)
            trained += cost[run.key]
        left = sum(cost[r.key] for r in runs[number:] if r.key not in finished)
        estimate = f"; about {left * sum(seconds) / trained / 60:.0f} min left" if trained and left else ""
        console.print(f"{head} {_result_line(result, time.monotonic() - began)}{estimate}")
    done = len(runs) - len(failed)
    console.print(
        f"{done} of {len(runs)} runs finished, {len(seconds)} of them now, in {sum(seconds) / 60:.1f} min"
        + (f"; {len(failed)} failed" if failed else "")
    )
    for run, message in failed:
        console.print(f"  failed: {_title(run)}: {message}")
    return failed


def _costs(runs: Sequence[Planned]) -> dict[str, int]:
    """Optimiser steps that each run adds, by key: a synthetic network is trained by the first that needs it."""
    costs: dict[str, int] = {}
    trained: set[str] = set()
    for run in runs:
        fit = run.values["fit"]
        own = fit.steps if fit.epochs is None else 100 * fit.epochs
        tuned = run.values["finetune"].steps or own // 4 if run.recipe == "fine_tuning" else 0
        steps = {"synthetic_only": 0, "label_adaptation": 0, "fine_tuning": tuned}.get(run.recipe, own)
        if "synthetic" in run.values:
            # The real ones too: they pick its checkpoint.
            names = ("synthetic", "real", "n_synthetic", "seed", "crop", "augment", "model", "fit")
            network = content_key([run.values[name] for name in names])
            steps += own if network not in trained else 0
            trained.add(network)
        costs[run.key] = steps
    return costs


def _attempt(run: Planned) -> tuple[Any, Exception | None]:
    """A run's result, or why it has none."""
    try:
        return recipe_function(run.recipe)(**run.values), None
    except UserError as error:
        return None, error
    except Exception as error:
        if traceback_wanted():
            console.print_exception()
        return None, RuntimeError(f"{type(error).__name__}: {error}")


def planned_runs(file: Path, overrides: Sequence[str], exact: bool = False) -> list[Planned]:
    """All runs of a sweep file in order, each once.

    Raises:
        UserError: no such file, not a grid in W&B's grammar, or a parameter that no recipe has.
    """
    from experiments.__main__ import RECIPES

    shared, wanted = ["--wandb.group=" + file.stem, f"--runs_dir={Path('runs') / file.stem}"], _options(overrides)
    runs: dict[str, Planned] = {}
    for document in _documents(file):
        used: set[str] = set()
        recipes_here: set[str] = set()
        for cell in _grid(file, document):
            recipe = str(cell.pop("recipe"))
            if recipe not in RECIPES:
                raise UserError(f"{file}: parameters: recipe: unknown recipe {recipe!r}; known: {', '.join(RECIPES)}")
            recipes_here.add(recipe)
            run = _resolve(file, recipe, cell, shared, wanted)
            used |= {name for name in cell if takes(recipe, name)}
            unused = set(cell) - used
            runs.setdefault(run.key, run)
        if unused := {name for name in unused if not any(takes(recipe, name) for recipe in recipes_here)}:
            raise UserError(
                f"{file}: parameters: {sorted(unused)[0]}: not a setting of {', '.join(sorted(recipes_here))}; "
                f"see 'domaingap run {sorted(recipes_here)[0]} --help'"
            )
    for option, _ in wanted:
        if not any(takes(run.recipe, option) for run in runs.values()):
            raise UserError(f"--{option}: not a setting of any run in {file}; see 'domaingap run RECIPE --help'")
    return list(runs.values()) if exact else _with_companions(list(runs.values()))


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


def _documents(file: Path) -> list[Mapping[str, Any]]:
    try:
        documents = [d for d in yaml.safe_load_all(file.read_text(encoding="utf-8")) if d is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file}: {getattr(error, 'strerror', None) or 'not a text file'}; give a sweep's YAML file"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{file}:{mark.line + 1 if mark else 1}: not YAML ({getattr(error, 'problem', error)})") from error
    if not documents:
        raise UserError(f"{file}: empty; give method: grid and parameters")
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("parameters"), dict):
            raise UserError(f"{file}: a sweep has 'method: grid' and 'parameters:' with a recipe; see configs/sweeps")
        if unknown := sorted(set(document) - TOP_LEVEL):
            raise UserError(f"{file}: unknown key {unknown[0]!r}; a sweep has {', '.join(sorted(TOP_LEVEL))}")
        if document.get("method") != "grid":
            raise UserError(f"{file}: method is {document.get('method')!r}; only grid runs here")
        if "recipe" not in document["parameters"]:
            raise UserError(f"{file}: parameters: no recipe; add for example 'recipe: {{value: real_only}}'")
    return documents


def _grid(file: Path, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of a document's parameters; the first parameter changes slowest."""

    def leaves(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[Any]]]:
        for name, spec in parameters.items():
            where = f"{file}: parameters: {prefix}{name}"
            if not isinstance(spec, dict):
                raise UserError(f"{where}: write 'value: {spec}', or 'values: [...]' for several")
            if set(spec) == {"parameters"} and isinstance(spec["parameters"], dict):
                yield from leaves(spec["parameters"], f"{prefix}{name}.")
            elif set(spec) == {"value"}:
                yield prefix + name, [spec["value"]]
            elif set(spec) == {"values"} and isinstance(spec["values"], list) and spec["values"]:
                yield prefix + name, spec["values"]
            else:
                raise UserError(f"{where}: a grid takes 'value: ...' or 'values: [...]', not {', '.join(map(str, spec))}")

    axes = list(leaves(document["parameters"], ""))
    for values in itertools.product(*(values for _, values in axes)):
        yield dict(zip((name for name, _ in axes), values, strict=True))


def recipe_function(name: str) -> Callable[..., Any]:
    """The function of a recipe."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"experiments.{name}"), name)
    return function


def takes(recipe: str, option: str) -> bool:
    """Whether a recipe has a setting of this name; one that it lacks (alpha, say) is no concern of its runs."""
    return option == "config" or option.partition(".")[0] in inspect.signature(recipe_function(recipe)).parameters


def _resolve(
    file: Path, recipe: str, cell: Mapping[str, Any], shared: Sequence[str], wanted: Sequence[tuple[str, str]]
) -> Planned:
    from experiments.__main__ import parse_recipe

    configs = [f"--config={value}" for value in _listed(cell.get("config"))]
    configs += [f"--config={value}" for option, value in wanted if option == "config"]
    own = [f"--{k}={_text(v)}" for k, v in cell.items() if k != "config" and takes(recipe, k)]
    asked = [f"--{k}={v}" for k, v in wanted if k != "config" and takes(recipe, k)]
    try:
        return Planned(recipe, parse_recipe(recipe, recipe_function(recipe), [*configs, *shared, *own, *asked]))
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _with_companions(runs: Sequence[Planned]) -> list[Planned]:
    """The runs and those that the protocol asks for beside them: real_only at fine_tuning's number of steps, and the
    other selection rule of synthetic_only (which comes from the same training)."""
    result = {run.key: run for run in runs}
    ordered: list[Planned] = []
    for run in runs:
        ordered.append(run)
        extra: list[Planned] = []
        if run.recipe == "synthetic_only":
            other = "source_val" if run.values["selection"] == "real_val" else "real_val"
            extra = [Planned(run.recipe, {**run.values, "selection": other}, "synthetic_only under both selection rules")]
        elif run.recipe == "fine_tuning" and run.values["fit"].epochs is None:
            fit = run.values["fit"]
            for base in runs:
                if base.recipe == "real_only" and all(
                    plain(value) == plain(run.values[key]) for key, value in base.values.items() if key not in PATHS
                ):
                    steps = fit.steps + run.values["finetune"].of(fit).steps
                    longer = {**base.values, "fit": replace(fit, steps=steps)}
                    extra.append(Planned("real_only", longer, "real_only also at fine_tuning's number of steps"))
        for planned in extra:
            if planned.key not in result:
                result[planned.key] = planned
                ordered.append(planned)
    return ordered


def finished_runs(folder: Path) -> set[str]:
    """Keys of the runs in a folder that have a result."""
    from domaingap.results import read_results

    if not folder.is_dir():
        return set()
    return {key_of(content) for _, content in read_results(folder)}


def key_of(content: Mapping[str, Any]) -> str:
    """The key of the :class:`Planned` run that a result is of."""
    return content_key([content["recipe"], {k: v for k, v in content["config"].items() if k not in PATHS}])


def _print_plan(file: Path, runs: Sequence[Planned], finished: int) -> None:
    grid = [run for run in runs if not run.why]
    console.print(f"{file}: {len(runs)} runs, {finished} of them finished before")
    for recipe, count in Counter(run.recipe for run in grid).items():
        mine = [flat(read_settings(run.values)) for run in grid if run.recipe == recipe]
        axes = []
        for name in dict.fromkeys(key for values in mine for key in values if key.partition(".")[0] not in PATHS):
            values = list(dict.fromkeys(v.get(name) for v in mine))
            if len(values) > 1 or name in ("n_real", "alpha"):
                axes.append(f"{name} {', '.join('all' if name == 'n_real' and v == 'None' else str(v) for v in values)}")
        console.print(f"  {count:3} {recipe:17} {'; '.join(axes)}")
    for why, count in Counter(run.why for run in runs if run.why).items():
        console.print(f"  {count:3} more by the protocol: {why} (--exact leaves them out)")


def _title(run: Planned) -> str:
    n = run.values.get("n_real", "")
    return f"{run.recipe} n_real {n if n is not None else 'all'} seed {run.values['seed']}"


def _result_line(result: Any, seconds: float) -> str:
    metrics = result.content["metrics"]
    figures = [f"val {metrics['val/nme']:.2f}"]
    figures += [
        f"{name} {metrics[f'test/{name}/nme']:.2f}"
        for name in ("common", "full", "generated")
        if f"test/{name}/nme" in metrics
    ]
    adapter = result.content.get("adapter")
    note = f"; adapter {adapter['kind']}, spread {adapter['spread_ratio']:.2f}" if adapter else ""
    if adapter and adapter["warning"] and adapter["use"] == "labels":
        note += " (warning: not kept)"
    how = "finished before" if result.reused else f"{seconds / 60:.1f} min"
    return f"{result.content['name']}: NME {', '.join(figures)}{note} ({how})"
