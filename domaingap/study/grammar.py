"""W&B's grammar of sweep files, as ``wandb sweep`` reads it: what stands in a file, and the values of its parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from domaingap.errors import UserError
from domaingap.settings_files import Document, documents

TOP_LEVEL = {"name", "description", "method", "metric", "parameters", "project", "entity", "program", "command"}
"""Keys of W&B's sweep files; ``program`` and ``command`` are for W&B's own agents and not used here."""


def sweep_documents(file: Path) -> list[Document]:
    """The documents of a sweep file, each a sweep of its own."""
    found = documents(file, "a sweep's YAML file")
    if not found:
        raise UserError(f"{file}: empty; give method: grid and parameters")
    for document in found:
        content, lines = document.content, document.lines
        if not isinstance(content.get("parameters"), dict):
            raise UserError(f"{file}: a sweep has 'method: grid' and 'parameters:' with a recipe; see configs/sweeps")
        if unknown := [key for key in content if key not in TOP_LEVEL]:
            line = lines[unknown[0]]
            raise UserError(f"{file}:{line}: unknown key {unknown[0]!r}; a sweep has {', '.join(sorted(TOP_LEVEL))}")
        if content.get("method") != "grid":
            where = f"{file}:{lines['method']}" if "method" in lines else f"{file}"
            raise UserError(f"{where}: method is {content.get('method')!r}; only grid runs here")
        if "recipe" not in content["parameters"]:
            line = lines["parameters"]
            raise UserError(f"{file}:{line}: parameters: no recipe; add for example 'recipe: {{value: real_only}}'")
    return found


class Axis(NamedTuple):
    """A parameter of a grid with its values, and where it stands."""

    name: str
    values: list[Any]
    line: int


def axes_of(file: Path, document: Document) -> list[Axis]:
    """A document's parameters; of their combinations the first changes slowest."""
    axes: dict[str, Axis] = {}

    def visit(parameters: Mapping[str, Any], prefix: str, path: str) -> None:
        for name, spec in parameters.items():
            key, inner = prefix + name, f"{path}.{name}"
            line = document.lines[inner]
            where = f"{file}:{line}: parameters: {key}"
            if not isinstance(spec, dict):
                raise UserError(f"{where}: write 'value: {spec}', or 'values: [...]' for several")
            if set(spec) == {"parameters"} and isinstance(spec["parameters"], dict):
                visit(spec["parameters"], f"{key}.", f"{inner}.parameters")
                continue
            if set(spec) == {"value"}:
                values = [spec["value"]]
            elif set(spec) == {"values"} and isinstance(spec["values"], list) and spec["values"]:
                values = spec["values"]
            else:
                raise UserError(f"{where}: a grid takes 'value: ...' or 'values: [...]', not {', '.join(map(str, spec))}")
            if key in axes:
                raise UserError(f"{where} stands twice, first in line {axes[key].line}; take one out")
            for value in values:
                if isinstance(value, dict) or (isinstance(value, list) and key != "config"):
                    raise UserError(f"{where}: each value is a word or a number, not {json.dumps(value)}")
            axes[key] = Axis(key, values, line)

    visit(document.content["parameters"], "", "parameters")
    return list(axes.values())
