"""Recipes' settings from the command line and from configuration files, with every mistake in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from domaingap.config import RunSettings
from domaingap.errors import UserError
from domaingap.study.recipe import Recipe


def parse_settings(recipe: Recipe, arguments: Sequence[str]) -> RunSettings:
    """A recipe's settings.

    Raises:
        UserError: an unknown key, a value of a wrong type, or an option that a later --config would undo in silence.
    """
    import jsonargparse

    seen = ""
    for argument in arguments:
        option = argument.partition("=")[0]
        if option == "--config" and seen:
            raise UserError(f"{seen} stands before --config, which would override it; put every --config first")
        if option.startswith("--") and option not in ("--config", "--help", "--print_config"):
            seen = option
    files = _config_files(arguments)
    parser = jsonargparse.ArgumentParser(
        prog=f"domaingap run {recipe.name}",
        exit_on_error=False,
        description=recipe.summary,
        epilog=f"example: domaingap run {recipe.name} --config configs/300w.yaml --data_root data",
    )
    parser.add_argument("--config", action="config", help="YAML file of settings; several layer, later ones win")
    parser.add_class_arguments(recipe.settings)
    if not takes(recipe, "synthetic"):
        arguments = _without_synthetic(arguments)
    try:
        values: dict[str, Any] = parser.instantiate(parser.parse_args(list(arguments))).as_dict()
        values.pop("config", None)
        return recipe.settings(**values)
    except jsonargparse.ArgumentError as error:
        raise UserError(_one_line(str(error), files) + f"; see 'domaingap run {recipe.name} --help'") from error


def takes(recipe: Recipe, option: str) -> bool:
    """Whether a recipe has a setting of this name; one that it lacks (alpha, say) is no concern of its runs."""
    return option == "config" or option.partition(".")[0] in recipe.settings.__dataclass_fields__


def text_file(path: Path, what: str) -> str:
    """A file's text; UserError says ``what`` was expected where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}; give {what}") from error


def not_yaml(path: Path, error: yaml.YAMLError) -> UserError:
    """What to raise for a file that is no YAML: with the line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "can't be parsed"
    return UserError(f"{path}:{mark.line + 1 if mark else 1}: not YAML ({problem})")


def _config_files(arguments: Sequence[str]) -> list[Path]:
    """The files named by --config; UserError with file and line where one is missing or no YAML."""
    files = []
    for number, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option != "--config":
            continue
        if not equals:
            value = "".join(arguments[number + 1 : number + 2])
        if not value or value.startswith("--"):
            raise UserError("--config needs a file, for example --config configs/300w.yaml")
        path = Path(value)
        try:
            yaml.safe_load(text_file(path, "a file of settings"))
        except yaml.YAMLError as error:
            raise not_yaml(path, error) from error
        files.append(path)
    return files


def _without_synthetic(arguments: Sequence[str]) -> list[str]:
    """The arguments with the section ``synthetic`` taken out of configuration files: a file that describes both domains
    also serves a recipe that has real faces alone."""
    result: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if result and result[-1] == "--config":
            result.pop()
            option, equals, value = "--config", "=", argument
        if option == "--config" and equals:
            content = yaml.safe_load(Path(value).read_text(encoding="utf-8"))
            if isinstance(content, dict) and isinstance(content.get("synthetic"), dict):
                kept = {key: section for key, section in content.items() if key != "synthetic"}
                result.append("--config=" + yaml.safe_dump(kept, sort_keys=False))  # jsonargparse also takes the text
                continue
            result.append(f"--config={value}")
            continue
        result.append(argument)
    return result


def _one_line(message: str, files: Sequence[Path]) -> str:
    """jsonargparse's message in one line, behind the file and line that set the key it names, where one did."""
    text = " ".join(dict.fromkeys(line.strip() for line in message.splitlines() if line.strip()))
    for key in re.findall(r"""['"]([\w.]+)['"]""", text)[::-1]:
        for path in reversed(files):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if re.match(rf"\s*{re.escape(key.rpartition('.')[2])}\s*:", line):
                    return f"{path}:{number}: {text}"
    return text
