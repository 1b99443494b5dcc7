"""What settings may be, declared beside their defaults and checked wherever a dataclass of them is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from domaingap.errors import SettingError, UserError
from domaingap.paths import expand

Kinds = tuple[Any, ...]
"""The types that a setting may have; a choice among words is a tuple of them."""


@dataclass(frozen=True)
class Limits:
    """A range of numbers; ``above`` and ``below`` are not in it."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Whether a number lies in the range."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"between {_shown(self.least)} and {_shown(self.most)}"
        low = f"above {_shown(self.above)}" if self.above is not None else f"at least {_shown(self.least)}"
        high = f" and below {_shown(self.below)}" if self.below is not None else ""
        return low + (f" and at most {_shown(self.most)}" if self.most is not None else high)


def _shown(value: float | None) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def limited(
    default: Any,
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    hint: str = "",
    **metadata: Any,
) -> Any:
    """A field of numbers within limits; ``hint`` follows the message about one that isn't."""
    return field(default=default, metadata={**metadata, "limits": Limits(least, most, above, below), "hint": hint})


def checked_text(default: Any, check: Callable[[str], str | None], **metadata: Any) -> Any:
    """A field of text; ``check`` says what is wrong with a value, None where nothing is."""
    return field(default=default, metadata={**metadata, "check": check})


@dataclass(frozen=True)
class Checked:
    """Base of dataclasses of settings: values are checked against types and limits, and paths are filled in.

    Attributes:
        section: where its settings stand among all, such as ``crop``.
    """

    section = ""

    def __post_init__(self) -> None:
        own: Any = type(self)
        kinds = kinds_of(own)
        for item in fields(self):
            key = f"{self.section}.{item.name}".lstrip(".")
            value = getattr(self, item.name)
            if Path in kinds[item.name] and isinstance(value, str | Path):
                try:
                    object.__setattr__(self, item.name, expand(value))
                except UserError as error:
                    raise SettingError(key, f"is {error}") from error
                continue
            if problem := _wrong(value, kinds[item.name], item.metadata.get("limits"), item.metadata.get("hint", "")):
                raise SettingError(key, problem)
            if (check := item.metadata.get("check")) is not None and value is not None and (problem := check(value)):
                raise SettingError(key, problem)


@cache
def kinds_of(settings: type) -> dict[str, Kinds]:
    """The types that each field may have."""

    def alternatives(hint: Any) -> Kinds:
        if get_origin(hint) is Literal:
            return (get_args(hint),)
        return tuple(kind for part in get_args(hint) for kind in alternatives(part)) or (hint,)

    return {name: alternatives(hint) for name, hint in get_type_hints(settings).items()}


def _wrong(value: Any, kinds: Kinds, limits: Limits | None, hint: str) -> str | None:
    """What is wrong with a value; None where nothing is."""
    words = [word for kind in kinds if isinstance(kind, tuple) for word in kind]
    if value in words if isinstance(value, str) else value is None and NoneType in kinds:
        return None
    number: Any = int if int in kinds else float if float in kinds else None
    if number is not None:
        # A bool is an int to Python, but nobody means one.
        right = isinstance(value, Integral if number is int else Real) and not isinstance(value, bool)
        finite = right and (isinstance(value, Integral) or math.isfinite(value))
        if finite and (limits is None or limits.hold(value)):
            return None
        what = "is" + (" a whole number" if number is int else " a number") + (f" or {', '.join(words)}" if words else "")
        shown = f"{value}".removesuffix(".0") if finite else value if value != "" else "empty"
        return f"is {shown}; it {'lies' if finite else what}" + (f" {limits}" if limits is not None else "") + hint
    if words:
        if bool in kinds and isinstance(value, bool):
            return None
        return f"is {value}; known: {', '.join([*(['true', 'false'] if bool in kinds else []), *words])}"
    plain = tuple(kind for kind in kinds if isinstance(kind, type))
    if plain and not isinstance(value, plain):
        named = {str: "text", bool: "true or false", Path: "a path", NoneType: "nothing"}
        return f"is {value}; it is {' or '.join(named.get(kind, kind.__name__) for kind in plain)}"
    return None
