"""What a recipe is: a function that names its stages from top to bottom, and what the protocol says of its runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, get_type_hints

from domaingap.config import FitConfig, RunSettings


class Answer(NamedTuple):
    """What answers: a network, and the label adapter that moves its answers or moved the labels it was trained on."""

    network: Any
    adapter: Any = None
    use: str = ""


class Steps(Protocol):
    """What a recipe can do. A run does it; an outline only writes down what would be done."""

    real: Any
    synthetic: Any

    def train(
        self, title: str, faces: Any, on: tuple[str, ...] = ("val",), fit: FitConfig | None = None, start: Any = None
    ) -> Any:
        """A network trained on the training faces of a module, with its checkpoint for each validation set in ``on``.

        The first of a recipe starts from ``model.init_from``, where there is one; ``start`` is a network to start from.
        """

    def fit_adapter(self, network: Any) -> Any:
        """Label adapters fitted on a synthetic network's predictions of the real training faces: one for predictions, or,
        where the settings' adapter learns the difference of both domains' errors, one for labels."""

    def adapted(self, adapter: Any) -> Any:
        """The synthetic faces with labels moved by an adapter."""

    def mixed(self, synthetic: Any, alpha: float) -> Any:
        """Synthetic and real faces in every batch."""


@dataclass(frozen=True)
class Companion:
    """A run that the protocol asks for beside another one, and why."""

    recipe: str
    settings: RunSettings
    why: str


@dataclass(frozen=True)
class Recipe:
    """A strategy.

    Attributes:
        body: its stages; takes :class:`Steps` and its settings.
        settings: the dataclass of what it can be told.
        companions: what the protocol asks for beside a run of it, from its settings and those of all planned runs by
            recipe.
        role: ``floor`` and ``ceiling`` name what others are compared with.
    """

    body: Callable[[Any, Any], Answer]
    settings: type[RunSettings]
    companions: Callable[[Any, Mapping[str, list[Any]]], Iterable[Companion]] | None = None
    role: str = ""

    @property
    def name(self) -> str:
        """Its name in commands and results."""
        return self.body.__name__

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (inspect.getdoc(self.body) or "").partition("\n")[0]


def recipe(
    table: dict[str, Recipe],
    companions: Callable[[Any, Mapping[str, list[Any]]], Iterable[Companion]] | None = None,
    role: str = "",
) -> Callable[[Callable[[Any, Any], Answer]], Callable[[Any, Any], Answer]]:
    """Enter the decorated function into a table of recipes; its second parameter's type is its schema."""

    def enter(body: Callable[[Any, Any], Answer]) -> Callable[[Any, Any], Answer]:
        made = Recipe(body, get_type_hints(body)["s"], companions, role)
        table[made.name] = made
        return body

    return enter
