"""W&B's grammar of sweep files, as ``wandb sweep`` reads it: what stands in a file, and the values of its parameters.

W&B reads one document of a file; here several may follow each other, each a sweep of its own.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from domaingap.errors import UserError
from domaingap.settings_files import Document, documents
from domaingap.study.distributions import DISTRIBUTIONS, choice_at, share, value_at

TEXTS = ("name", "description", "project", "entity", "program")
TOP_LEVEL = {*TEXTS, "method", "metric", "parameters", "command", "run_cap", "early_terminate"}
"""Keys of W&B's sweep files; ``name``, ``description``, ``program`` and ``command`` are for W&B and its agents alone."""
METHODS = ("grid", "random")
MOST_RUNS = 100_000
"""Of a sweep: more than anybody trains, and less than what the memory holds."""
MACROS = {
    "env", "program", "interpreter", "args", "args_no_hyphens", "args_no_equals", "args_no_boolean_flags", "args_json",
    "args_json_file", "args_append_hydra", "args_override_hydra",
}  # fmt: skip
"""What W&B's agent puts in place of ``${...}`` in a command; others it leaves out without a word."""
METRIC_KEYS = {"name", "goal", "target", "impute", "impute_while_running"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep.

    Attributes:
        name: a recipe's setting, by dotted key.
        line: of the file.
        values: what it may be; empty where it is drawn from a distribution of numbers.
        probabilities: of the values; None where all are as likely.
        distribution: see :data:`domaingap.study.distributions.DISTRIBUTIONS`; empty where it has values.
        given: the distribution's own parameters.
    """

    name: str
    line: int
    values: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] | None = None
    distribution: str = ""
    given: tuple[tuple[str, Any], ...] = ()

    @property
    def varies(self) -> bool:
        """Whether it may be more than one thing."""
        return len(self.values) != 1

    def drawn(self, seed: int, index: int) -> Any:
        """Its value in the index-th run of a random sweep."""
        u = share(seed, self.name, index)
        if self.values:
            return choice_at(u, self.values, self.probabilities)
        return value_at(u, self.distribution, dict(self.given))


@dataclass(frozen=True)
class Sweep:
    """A sweep: one document of a file.

    Attributes:
        file: the file.
        method: grid, random, or bayes, which W&B's agents alone can do.
        line: where the method stands.
        parameters: in the file's order.
        run_cap: no more runs than that; None where it has no cap.
        project: W&B project of its runs; None where it names none.
        entity: likewise.
        early_terminate: whether W&B is to end runs early.
    """

    file: Path
    method: str
    line: int
    parameters: tuple[Parameter, ...]
    run_cap: int | None
    project: str | None
    entity: str | None
    early_terminate: bool

    @property
    def places(self) -> dict[str, str]:
        """File and line of each parameter, by its name."""
        return {p.name: f"{self.file}:{p.line}: parameters" for p in self.parameters}

    def cells(self, count: int | None, seed: int) -> Iterator[dict[str, Any]]:
        """The values of every run by parameter: of a grid all combinations, of which the first parameter changes slowest;
        of a random sweep as many as asked for, the first of which are those of a smaller number.

        Args:
            count: how many of a random sweep; a ``run_cap`` that is lower wins.
            seed: of a random sweep.

        Raises:
            UserError: a method that can't be done here, a random sweep of which nobody said how many, or a draw that is no
                number.
        """
        if self.method not in METHODS:
            raise UserError(
                f"{self.file}:{self.line}: method: {self.method} needs what W&B knows of the runs before: 'wandb sweep "
                f"{self.file}' and W&B's own agents do it; here grid and random run"
            )
        if self.method == "grid":
            n = math.prod(len(p.values) for p in self.parameters)
            if n > MOST_RUNS and count is None and self.run_cap is None:
                raise UserError(f"{self.file}: a grid of {n} runs; make it smaller, or give --count or run_cap")
            for values in itertools.product(*(p.values for p in self.parameters)):
                yield dict(zip((p.name for p in self.parameters), values, strict=True))
            return
        caps = [n for n in (count, self.run_cap) if n is not None]
        if not caps:
            raise UserError(
                f"{self.file}:{self.line}: method: random has no end of its own; say how many runs with --count N, or in "
                "the file with 'run_cap: N'"
            )
        for index in range(min(caps)):
            cell = {}
            for p in self.parameters:
                try:
                    cell[p.name] = p.drawn(seed, index)
                except OverflowError as error:
                    place = f"{self.file}:{p.line}: parameters: {p.name}"
                    raise UserError(f"{place}: draws numbers too large to write; make its distribution narrower") from error
            yield cell


def read_sweeps(file: Path) -> list[Sweep]:
    """The sweeps of a file, one a document, checked as far as that can be without recipes.

    Raises:
        UserError: with file and line: no such file, or nothing that W&B's grammar has.
    """
    found = documents(file, "a sweep's YAML file")
    if not found:
        raise UserError(f"{file}: empty; give method: grid and parameters")
    return [_Reader(file, document).sweep() for document in found]


class _Reader:
    """Makes a sweep of a document."""

    def __init__(self, file: Path, document: Document) -> None:
        self.file, self.document = file, document
        self.content, self.lines = document.content, document.lines

    def error(self, key: str, problem: str) -> UserError:
        """What is wrong with a key, behind file and line."""
        return UserError(f"{self.file}:{self.lines[key]}: {problem}" if key in self.lines else f"{self.file}: {problem}")

    def sweep(self) -> Sweep:
        content = self.content
        if not isinstance(content.get("parameters"), dict):
            raise UserError(f"{self.file}: a sweep has 'method: grid' and 'parameters:' with a recipe; see configs/sweeps")
        if unknown := [key for key in content if key not in TOP_LEVEL]:
            raise self.error(unknown[0], f"unknown key {unknown[0]!r}; a sweep has {', '.join(sorted(TOP_LEVEL))}")
        method = content.get("method")
        if method not in (*METHODS, "bayes"):
            said = f"method is {method!r}" if "method" in content else "no method"
            raise self.error("method", f"{said}; give method: grid or random (and W&B's own agents do bayes)")
        for key in TEXTS:
            if key in content and not (isinstance(content[key], str) and content[key].strip()):
                raise self.error(key, f"{key} is {json.dumps(content[key])}; it is a text, or leave it out")
        cap = content.get("run_cap")
        if "run_cap" in content and not (type(cap) is int and 1 <= cap <= MOST_RUNS):
            raise self.error("run_cap", f"run_cap is {json.dumps(cap)}; it is a whole number from 1 to {MOST_RUNS}")
        if "early_terminate" in content and not isinstance(content["early_terminate"], dict):
            raise self.error("early_terminate", "early_terminate has a type, such as {type: hyperband, min_iter: 3}")
        self._check_metric(method)
        if "recipe" not in content["parameters"]:
            raise self.error("parameters", "parameters: no recipe; add for example 'recipe: {value: real_only}'")
        parameters = self._parameters(method)
        self._check_command(parameters)
        return Sweep(
            self.file, method, self.lines["method"], tuple(parameters), cap,
            content.get("project"), content.get("entity"), "early_terminate" in content,
        )  # fmt: skip

    def _check_metric(self, method: str) -> None:
        """What W&B's agents optimise, and its charts show: a metric that runs have, and which way is better."""
        if "metric" not in self.content:
            if method == "bayes":
                raise self.error("method", "bayes needs a metric; add 'metric: {name: val/nme, goal: minimize}'")
            return
        metric = self.content["metric"]
        if not isinstance(metric, dict) or not isinstance(metric.get("name"), str):
            raise self.error("metric", "metric has a name and a goal: {name: val/nme, goal: minimize}")
        if unknown := [key for key in metric if key not in METRIC_KEYS]:
            raise self.error(f"metric.{unknown[0]}", f"metric: unknown key {unknown[0]!r}; it has name and goal")
        name, goal = metric["name"], metric.get("goal", "minimize")
        place = "metric.name"
        if name.startswith("test/"):
            raise self.error(place, f"metric: {name}: test sets pick nothing; give a metric on validation faces, val/nme")
        better = _better(name)
        if better is None:
            known = "val/nme, val/auc@8, source_val/nme"
            raise self.error(place, f"metric: {name}: no metric of the runs; they have {known} and others")
        if goal != better:
            at = "metric.goal" if "goal" in metric else place
            raise self.error(at, f"metric: goal of {name} is {goal}; it is better {_way(better)}: goal: {better}")

    def _check_command(self, parameters: Sequence[Parameter]) -> None:
        """What W&B's agents start; a mistake in it would show only there."""
        command = self.content.get("command")
        if command is None:
            return
        if not isinstance(command, list) or not command or not all(isinstance(word, str | int | float) for word in command):
            raise self.error("command", 'command is a list of words, such as ["${env}", domaingap, trial, FILE, "${args}"]')
        macros = [word[2:-1] for word in map(str, command) if word.startswith("${") and word.endswith("}")]
        for macro in macros:
            if macro not in MACROS and not re.fullmatch(r"envvar:[A-Z0-9_]+", macro):
                raise self.error("command", f"command: ${{{macro}}}: W&B has {', '.join(sorted(MACROS))} and envvar:NAME")
        if not any(macro.startswith("args") for macro in macros):
            raise self.error("command", 'command: no "${args}"; the runs would all be the same')
        if "args_no_boolean_flags" in macros and (no := [p.name for p in parameters if False in p.values]):
            raise self.error(
                "command", f"command: ${{args_no_boolean_flags}} leaves out that {no[0]} is false; take ${{args}}"
            )

    def _parameters(self, method: str) -> list[Parameter]:
        found: dict[str, Parameter] = {}

        def visit(parameters: Mapping[str, Any], prefix: str, path: str) -> None:
            for name, spec in parameters.items():
                key, inner = prefix + name, f"{path}.{name}"
                line = self.lines[inner]
                where = f"{self.file}:{line}: parameters: {key}"
                if not isinstance(spec, dict):
                    raise UserError(f"{where}: write 'value: {spec}', or 'values: [...]' for several")
                if set(spec) == {"parameters"} and isinstance(spec["parameters"], dict) and spec["parameters"]:
                    visit(spec["parameters"], f"{key}.", f"{inner}.parameters")
                    continue
                if key in found:
                    raise UserError(f"{where} stands twice, first in line {found[key].line}; take one out")
                found[key] = self._parameter(key, line, spec, inner, method)

        visit(self.content["parameters"], "", "parameters")
        return list(found.values())

    def _parameter(self, key: str, line: int, spec: Mapping[str, Any], path: str, method: str) -> Parameter:
        where = f"{self.file}:{line}: parameters: {key}"
        name = spec.get("distribution")
        kinds = {
            "constant": {"value"},
            "categorical": {"values"},
            "categorical_w_probabilities": {"values", "probabilities"},
        }
        if name is not None and name not in (*kinds, *DISTRIBUTIONS):
            raise UserError(f"{where}: distribution: {name}: W&B has {', '.join([*kinds][:2] + [*DISTRIBUTIONS])}")
        own = set(spec) - {"distribution"}
        if not own & {"value", "values"}:
            return self._of_numbers(key, line, spec, path, method)
        fitting = [kind for kind, keys in kinds.items() if own <= keys]
        if not fitting or (name is not None and name not in fitting) or own == {"probabilities"}:
            raise UserError(
                f"{where}: takes 'value: ...', 'values: [...]' or a distribution, not {', '.join(map(str, spec))}"
            )
        values = spec["values"] if "values" in spec else [spec["value"]]
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}: values is {json.dumps(values)}; give a list of some: 'values: [...]'")
        for value in values:
            if isinstance(value, dict) or (isinstance(value, list) and key != "config"):
                raise UserError(f"{where}: each value is a word or a number, not {json.dumps(value)}")
        return Parameter(key, line, tuple(values), self._probabilities(where, spec, values, method))

    @staticmethod
    def _probabilities(where: str, spec: Mapping[str, Any], values: Sequence[Any], method: str) -> tuple[float, ...] | None:
        if "probabilities" not in spec:
            return None
        given = spec["probabilities"]
        if method == "grid":
            raise UserError(f"{where}: probabilities: a grid has every value once; leave them out, or give method: random")
        if not isinstance(given, list) or len(given) != len(values) or not all(_is_number(p) and p >= 0 for p in given):
            raise UserError(f"{where}: probabilities: {len(values)} numbers, one for each value")
        if not math.isclose(math.fsum(given), 1, rel_tol=1e-5, abs_tol=1e-8):
            raise UserError(f"{where}: probabilities: their sum is {math.fsum(given):g}; it is 1")
        return tuple(given)

    def _of_numbers(self, key: str, line: int, spec: Mapping[str, Any], path: str, method: str) -> Parameter:
        """A parameter drawn from a distribution of numbers."""
        where = f"{self.file}:{line}: parameters: {key}"
        given = {part: value for part, value in spec.items() if part != "distribution"}
        for part, value in given.items():
            if not _is_number(value):
                raise UserError(f"{where}: {part} is {json.dumps(value)}; it is a number")
            # wandb sweep reads YAML 1.1, where 1e-4 is a word and 010 is 8.
            text = self.document.values[f"{path}.{part}"].text
            if (read := yaml.safe_load(text)) != value:
                as_what = f"as {read}" if _is_number(read) else "as a word"
                plain = value if isinstance(value, int) else _with_point(value)
                raise UserError(f"{where}: {part}: W&B reads {text} {as_what}; write it as {plain}")
        name: str = spec.get("distribution", "")
        if not name:
            if set(given) != {"min", "max"}:
                raise UserError(
                    f"{where}: takes 'value: ...', 'values: [...]', 'min: ...' with 'max: ...', or a distribution, not "
                    f"{', '.join(map(str, spec)) or 'nothing'}"
                )
            kinds = {type(value) for value in given.values()}
            if len(kinds) > 1:
                raise UserError(f"{where}: min and max: write both as whole numbers, or both with a decimal point")
            name = "int_uniform" if kinds == {int} else "uniform"
        distribution = DISTRIBUTIONS[name]
        if unknown := [k for k in given if k not in (*distribution.needs, *distribution.defaults)]:
            takes = ", ".join([*distribution.needs, *distribution.defaults])
            raise UserError(f"{where}: {unknown[0]}: {name} takes {takes}")
        if lacking := [k for k in distribution.needs if k not in given]:
            raise UserError(f"{where}: {name} needs {' and '.join(lacking)}")
        given = {**distribution.defaults, **given}
        self._check_numbers(where, name, given)
        if method != "grid":
            return Parameter(key, line, distribution=name, given=tuple(given.items()))
        if name not in ("int_uniform", "q_uniform"):
            raise UserError(f"{where}: a grid takes 'value: ...' or 'values: [...]', not {name}; or give method: random")
        return Parameter(key, line, self._steps(where, name, given))

    @staticmethod
    def _check_numbers(where: str, name: str, given: Mapping[str, Any]) -> None:
        if "min" in given:
            low, high = given["min"], given["max"]
            if low >= high:
                raise UserError(f"{where}: min is {low}, max {high}; min lies below max, and for one value there is 'value'")
            if name.endswith("_values") and low <= 0:
                raise UserError(f"{where}: min is {low}; {name} takes numbers above 0")
            if name == "int_uniform" and not (type(low) is int and type(high) is int):
                raise UserError(f"{where}: int_uniform takes whole numbers, not {low} and {high}")
        for key, least in (("q", 0), ("sigma", 0), ("a", 0), ("b", 0)):
            if key in given and not given[key] > least:
                raise UserError(f"{where}: {key} is {given[key]}; it lies above 0")

    @staticmethod
    def _steps(where: str, name: str, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """A grid's values of a discrete distribution: W&B's, which leaves q_uniform's max out."""
        low, high, q = given["min"], given["max"], given.get("q", 1)
        n = high - low + 1 if name == "int_uniform" else math.ceil((high - low) / q)
        if n > MOST_RUNS:
            raise UserError(f"{where}: {n} values; a grid is smaller, or give method: random")
        if name == "int_uniform":
            return tuple(range(low, high + 1))
        return tuple(_sum(low, i, q) for i in range(n))


def _sum(low: float, i: int, q: float) -> float:
    """low + i q without the binary fractions of a float."""
    from decimal import Decimal

    value = Decimal(repr(low)) + i * Decimal(repr(q))
    return int(value) if isinstance(low, int) and isinstance(q, int) else float(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _with_point(value: float) -> str:
    """A number as YAML 1.1 has it: with a point, and a sign in the exponent."""
    mantissa, e, exponent = repr(float(value)).partition("e")
    return mantissa + ("" if "." in mantissa else ".0") + e + exponent


def _better(name: str) -> str | None:
    """Which goal a metric has; None where no run has it."""
    on, _, metric = name.rpartition("/")
    if on not in ("val", "source_val", "train"):
        return None
    if metric == "loss" or (metric == "nme" and on != "train"):
        return "minimize"
    if on == "train":
        return None
    from domaingap.metrics import METRICS  # takes seconds, for the rare ones

    return None if metric not in METRICS else "maximize" if METRICS[metric].higher_is_better else "minimize"


def _way(goal: str) -> str:
    return "low" if goal == "minimize" else "high"


# What W&B's agents pass


def passed(arguments: Sequence[str]) -> dict[str, Any]:
    """Options as W&B's agents write them, in any of the ways that a command's ``${args...}`` has: values by key.

    ``--key=value``, ``--key value``, ``key=value``, ``+key=value``, ``++key=value``, ``--key`` alone for true, JSON, or the
    name of a JSON file. Values are Python's (``None``, ``False``, ``['a.yaml', 'b.yaml']``, ``{'steps': 3}``); those of a
    mapping get dotted keys.

    Raises:
        UserError: something else stands among them, or a key twice.
    """
    found: dict[str, Any] = {}

    def add(key: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                add(f"{key}.{name}" if key else str(name), inner)
            return
        if key in found:
            raise UserError(f"--{key} stands twice; give it once")
        found[key] = value

    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.lstrip().startswith("{"):
            add("", _json(word, "the options"))
        elif word.endswith(".json") and "=" not in word and not word.startswith("-"):
            add("", _json(_text(Path(word)), word))
        elif match := re.fullmatch(r"(?:--|\+\+|\+)?([A-Za-z_][\w.-]*)=(.*)", word, re.DOTALL):
            add(match[1].replace("-", "_"), python_value(match[2]))
        elif match := re.fullmatch(r"--([A-Za-z_][\w.-]*)", word):
            alone = not rest or rest[0].startswith("--")
            add(match[1].replace("-", "_"), True if alone else python_value(rest.pop(0)))
        else:
            raise UserError(f"{word}: unexpected; the options of a trial look like --n_real=200")
    return found


def python_value(text: str) -> Any:
    """What W&B's agent meant with a text: it writes values as Python does. Words and numbers stay text."""
    bare = text.strip()
    if bare in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[bare]
    if bare[:1] in ("[", "{"):
        try:
            return ast.literal_eval(bare)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            try:
                return json.loads(bare)
            except (ValueError, RecursionError):
                return text
    return text


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what}: not JSON ({error}); give --key=value, or an object in JSON") from error
    if not isinstance(content, dict):
        raise UserError(f"{what}: no object in JSON; give --key=value")
    return content


def _text(path: Path) -> str:
    from domaingap.settings_files import text_file

    return text_file(path, "the JSON file of W&B's agent")
