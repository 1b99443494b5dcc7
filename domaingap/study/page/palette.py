"""How strategies look: one colour, dash and marker each, on every plot of a page and in W&B.

Colours are Okabe and Ito's (2008), which people of every kind of colour vision tell apart; dashes and markers tell the same
in gray print.
"""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """A colour (``#RRGGBB``), a dash of plotly's lines and a symbol of its markers."""

    colour: str
    dash: str
    symbol: str


LOOKS: dict[str, Look] = {
    "real_only": Look("#000000", "solid", "circle"),
    "synthetic_only": Look("#D55E00", "dash", "square"),
    "label_adaptation": Look("#E69F00", "dot", "diamond"),
    "data_adaptation": Look("#CC79A7", "longdash", "triangle-down"),
    "mixing": Look("#0072B2", "dashdot", "triangle-up"),
    "fine_tuning": Look("#009E73", "longdashdot", "star"),
}
OTHER = Look("#56B4E9", "solid", "cross")
"""Of a recipe that isn't one of the six."""


def look(recipe: str) -> Look:
    """A recipe's look."""
    return LOOKS.get(recipe, OTHER)


def tint(colour: str, opacity: float) -> str:
    """A colour ``#RRGGBB`` as CSS with an opacity from 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
