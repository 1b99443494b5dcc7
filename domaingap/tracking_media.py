"""What W&B can show beside numbers, as plain descriptions, and how W&B's own objects are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """An RGB picture [H, W, 3]; kept as JPEG."""

    image: NDArray[np.uint8]
    caption: str = ""


@dataclass(frozen=True)
class Listing:
    """A table; cells are text, numbers or pictures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Lines:
    """Lines over one axis: ``y`` by name, each as long as ``x``."""

    title: str
    x_title: str
    x: Sequence[float]
    y: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Bars:
    """Bars by name."""

    title: str
    label: str
    value: str
    heights: Mapping[str, float]


def for_wandb(value: Any) -> Any:
    """A description as W&B's object; anything else as it is."""
    import wandb

    match value:
        case Picture(image, caption):
            return wandb.Image(image, caption=caption or None, file_type="jpg")
        case Listing(columns, rows):
            return wandb.Table(columns=list(columns), data=[[for_wandb(cell) for cell in row] for row in rows])
        case Lines(title, x_title, x, y):
            return wandb.plot.line_series(list(x), [list(line) for line in y.values()], list(y), title, x_title)
        case Bars(title, label, name, heights):
            table = wandb.Table(columns=[label, name], data=[list(bar) for bar in heights.items()])
            return wandb.plot.bar(table, label, name, title)
    return value
