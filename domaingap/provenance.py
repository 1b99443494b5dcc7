"""What a network has seen: the real images behind it, its steps, the licences of its data; kept in its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Seen:
    """What stands behind a network or a label adapter.

    Attributes:
        real: names of the real images that anything was fitted on, with their source.
        selected_on: names of the real images that picked a checkpoint or an adapter.
        steps: optimiser steps behind the weights.
        licences: of all data.
        complete: nothing else is behind it; False where it started from a checkpoint that doesn't say what it had seen.
    """

    real: frozenset[str] = frozenset()
    selected_on: frozenset[str] = frozenset()
    steps: int = 0
    licences: frozenset[str] = frozenset()
    complete: bool = True

    def __or__(self, other: Seen) -> Seen:
        """Both together; steps are those of the left one, as weights have one history."""
        return Seen(
            self.real | other.real,
            self.selected_on | other.selected_on,
            self.steps,
            self.licences | other.licences,
            self.complete and other.complete,
        )

    def trained(self, steps: int) -> Seen:
        """After so many further steps."""
        return replace(self, steps=self.steps + steps)

    def plain(self) -> dict[str, Any]:
        """For JSON and checkpoints."""
        return {key: sorted(v) if isinstance(v, frozenset) else v for key, v in vars(self).items()}

    @classmethod
    def of(cls, value: Mapping[str, Any] | None) -> Seen:
        """From its plain form; of None, that nothing is known.

        Raises:
            ValueError: not a plain form.
        """
        if value is None:
            return cls(complete=False)
        if not isinstance(value, Mapping) or value.keys() != cls.__dataclass_fields__.keys():
            raise ValueError(f"seen isn't {', '.join(cls.__dataclass_fields__)}")
        for key in ("real", "selected_on", "licences"):
            if not isinstance(value[key], list | tuple) or not all(isinstance(name, str) for name in value[key]):
                raise ValueError(f"seen.{key} isn't a list of names")
        if type(value["steps"]) is not int or value["steps"] < 0 or type(value["complete"]) is not bool:
            raise ValueError("seen.steps isn't a number of steps, or seen.complete not true or false")
        sets = {key: frozenset(value[key]) for key in ("real", "selected_on", "licences")}
        return cls(**sets, steps=value["steps"], complete=value["complete"])
