"""Recipes' settings from the command line and from configuration files, with every mistake in one line."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from types import NoneType
from typing import Any, NoReturn

import yaml

from domaingap.config import RunSettings
from domaingap.errors import SettingError, UserError
from domaingap.hashing import plain
from domaingap.limits import Kinds, kinds_of
from domaingap.paths import expand
from domaingap.settings_files import Value, settings_in, text_file, word
from domaingap.study.recipe import Recipe

WHAT = "a file of settings, for example configs/300w.yaml"
YES, NO = ("true", "yes", "on"), ("false", "no", "off")


def parse_settings(recipe: Recipe, arguments: Sequence[str]) -> RunSettings:
    """A recipe's settings; see :func:`placed_settings`."""
    return placed_settings(recipe, arguments)[0]


def placed_settings(
    recipe: Recipe, arguments: Sequence[str], origins: Mapping[str, str] | None = None
) -> tuple[RunSettings, dict[str, str]]:
    """A recipe's settings, and file and line of those that have one.

    Args:
        recipe: the recipe.
        arguments: options as the command line has them.
        origins: file and line that options stand for, by key.

    Raises:
        UserError: an unknown key, a value that can't be, or an option that a later --config would undo in silence; with file
            and line where a file says so.
    """
    given = _Given(recipe, origins or {})
    given.read(arguments)
    if given.help:
        _print_help(recipe)
    try:
        settings: RunSettings = _made(recipe.settings(), given.values)
    except SettingError as error:
        raise placed(given.as_written(error), given.places) from error
    if origins is None and given.values.get("n_real") is not None and not settings.fits_real:
        unused = SettingError("n_real", f"is {given.texts['n_real']}, but {recipe.name} uses no real face; give it with a "
                              "--synthetic.appearance, or leave it out")  # fmt: skip
        raise placed(unused, given.places)
    if given.print:
        sys.stdout.write(yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True))
        sys.exit(0)
    return settings, given.places


def placed(error: SettingError, places: Mapping[str, str]) -> UserError:
    """A setting's error behind the file and line that set it, where one did."""
    return UserError(f"{places[error.key]}: {error.key} {error.problem}") if error.key in places else error


def _print_help(recipe: Recipe) -> NoReturn:
    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=f"domaingap run {recipe.name}",
        description=recipe.summary,
        epilog=f"example: domaingap run {recipe.name} --config configs/300w.yaml --data_root data",
    )
    parser.add_argument("--config", help="YAML file of settings; several layer, later ones win")
    parser.add_argument("--print_config", action="store_true", help="print the settings as they would be, and stop")
    parser.add_class_arguments(recipe.settings)
    parser.print_help()
    sys.exit(0)


def _made(settings: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """Settings with values by dotted key in place of their own."""
    changes: dict[str, Any] = {}
    for item in fields(settings):
        key, own = prefix + item.name, getattr(settings, item.name)
        if key in values:
            changes[item.name] = values[key]
        elif any(name.startswith(f"{key}.") for name in values):
            changes[item.name] = _made(own, values, f"{key}.")
    return replace(settings, **changes)


def takes(recipe: Recipe, option: str) -> bool:
    """Whether a recipe has a setting of this name; one that it lacks (alpha, say) is no concern of its runs."""
    return option == "config" or option.partition(".")[0] in recipe.settings.__dataclass_fields__


def word_for(recipe: Recipe, option: str, value: Any) -> Any:
    """A value as the recipe's setting has it, where YAML 1.1, which W&B reads, took a word for a truth value: off, false."""
    settings: Any = recipe.settings
    kinds = _schema(settings)[0].get(option, ())
    if not isinstance(value, bool) or bool in kinds:
        return value
    words = [word for kind in kinds if isinstance(kind, tuple) for word in kind]
    return next((word for word in words if word in (YES if value else NO)), value)


class _Given:
    """What options and the files that they name set.

    Attributes:
        values: by dotted key.
        places: file and line, where one set it.
        help: --help is among them.
        print: --print_config is.
    """

    def __init__(self, recipe: Recipe, origins: Mapping[str, str]) -> None:
        self.recipe, self.origins = recipe, origins
        self.places: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        settings: Any = recipe.settings
        self.leaves, self.sections = _schema(settings)
        self.see = f"; see 'domaingap run {recipe.name} --help'"
        self.values: dict[str, Any] = {}
        self.help = self.print = False

    def read(self, arguments: Sequence[str]) -> None:
        """Take options in their order."""
        rest, before = list(arguments), ""
        while rest:
            option, equals, value = rest.pop(0).partition("=")
            if option in ("-h", "--help", "--print_config"):
                self.help |= option != "--print_config"
                self.print |= option == "--print_config"
                continue
            if not option.startswith("--"):
                raise UserError(f"{option}{equals}{value}: unexpected; settings look like --n_real 200{self.see}")
            if option == "--config" and before:
                raise UserError(f"{before} stands before --config, which would override it; put every --config first")
            if not equals and rest and not rest[0].startswith("--"):
                equals, value = "=", rest.pop(0)
            if option == "--config":
                if not value:
                    raise UserError("--config needs a file, for example --config configs/300w.yaml")
                self._file(*self._opened(value))
                continue
            before = option
            key = option[2:]
            if key in self.sections and equals:
                # The section as text, or a file of it.
                if value.lstrip().startswith("{"):
                    self._file(value, option, f"{key}.")
                else:
                    self._file(text_file(expand(value), f"{WHAT}, or {option}.NAME for one setting"), value, f"{key}.")
                continue
            if key not in self.leaves:
                if key in self.origins:  # in a sweep's file
                    raise UserError(f"{self.origins[key]}: {key}: {self._unknown(key)}{self.see}")
                raise UserError(f"{option}: {self._unknown(key, '--')}{self.see}")
            if not equals:
                raise UserError(f"{option} needs a value{self.see}")
            self._add(key, value, self.origins.get(key))

    def _opened(self, value: str) -> tuple[str, str]:
        """A configuration's text and name."""
        try:
            path = expand(value)
            return text_file(path, WHAT), str(path)
        except UserError as error:
            if "config" in self.origins:
                raise UserError(f"{self.origins['config']}: config: {error}") from error
            raise

    def _file(self, text: str, where: str, prefix: str = "") -> None:
        document = settings_in(text, where, WHAT)
        if {"method", "parameters"} <= document.content.keys():
            raise UserError(f"{where}: a sweep's file; give it to 'domaingap sweep'")
        for name, value in document.values.items():
            key, place = prefix + name, f"{where}:{value.line}"
            if key.partition(".")[0] == "synthetic" and not takes(self.recipe, "synthetic") and key != "synthetic":
                # A file that describes both domains also serves a recipe that has real faces alone.
                continue
            if key in self.sections and value.value in (None, {}):
                continue
            if key not in self.leaves:
                raise UserError(f"{place}: {key}: {self._unknown(key)}{self.see}")
            self._add(key, self._text(key, value, place), place)

    def _text(self, key: str, value: Value, place: str) -> str:
        if isinstance(value.value, list | dict):
            several = "; several are comma-separated, in quotes" if str in self.leaves[key] else ""
            raise UserError(f"{place}: {key} is a list or mapping; one value is expected{several}")
        if value.value is None and NoneType not in self.leaves[key]:
            raise UserError(f"{place}: {key} has no value; give one, or leave the key out for its default")
        return "null" if value.value is None else value.text

    def _unknown(self, key: str, dashes: str = "") -> str:
        if key in self.sections:
            inside = [leaf for leaf in self.leaves if leaf.startswith(key + ".")]
            return f"a section; set {', '.join(dashes + leaf for leaf in inside[:3])}, … in it"
        close = difflib.get_close_matches(key, self.leaves, n=3, cutoff=0.7)
        close += [leaf for leaf in self.leaves if leaf.rpartition(".")[2] == key.rpartition(".")[2] and leaf not in close]
        return f"not a setting of {self.recipe.name}" + (f"; close: {dashes}{f', {dashes}'.join(close)}" if close else "")

    def as_written(self, error: SettingError) -> SettingError:
        """The error with the value as the user wrote it, where it was read as a number."""
        text, value = self.texts.get(error.key, ""), self.values.get(error.key)
        if isinstance(value, int | float):
            return SettingError(error.key, re.sub(r"^is [^ ;]+;", lambda _: f"is {text};", error.problem))
        return error

    def _add(self, key: str, text: str, place: str | None) -> None:
        self.values[key], self.texts[key] = typed(text, self.leaves[key]), text.strip()
        self.places.pop(key, None)
        if place is not None:
            self.places[key] = place


@cache
def _schema(settings: Any) -> tuple[dict[str, Kinds], frozenset[str]]:
    """The settings by dotted key, with the types that each may have; and the sections."""
    leaves: dict[str, Kinds] = {}
    sections: set[str] = set()

    def walk(part: Any, prefix: str) -> None:
        for name in part.__dataclass_fields__:
            kinds = kinds_of(part)[name]
            if is_dataclass(kinds[0]):
                sections.add(prefix + name)
                walk(kinds[0], f"{prefix}{name}.")
            else:
                leaves[prefix + name] = kinds

    walk(settings, "")
    return leaves, frozenset(sections)


def typed(text: str, kinds: Kinds) -> Any:
    """What a setting's text means, given the types that it may have; the text itself where it is none of them."""
    bare = text.strip()
    words = {word.lower(): word for kind in kinds if isinstance(kind, tuple) for word in kind}
    if NoneType in kinds and bare and word(bare) is None:
        return None
    if bare.lower() in words:
        return words[bare.lower()]
    if bool in kinds and bare.lower() in YES + NO:
        return bare.lower() in YES
    if int in kinds and re.fullmatch(r"[-+]?[0-9][0-9_]{,99}", bare):
        return int(bare.replace("_", ""))
    if float in kinds:
        with contextlib.suppress(ValueError):
            return float(bare.replace(".inf", "inf").replace(".nan", "nan"))
    return text
