"""A page as one HTML text that needs nothing else: style, scripts, plotly.js, figures and pictures are inside it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from numbers import Real
from typing import Any

import jinja2
import numpy as np
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup
from numpy.typing import NDArray

from domaingap.study.page.blocks import Block, Face, Gallery, Listing, Page, Plot, Words
from domaingap.study.tables import Column, Table, to_csv

NOTES_SHOWN = 2
"""Notes below a table that aren't folded away."""
LONG = 30
"""Rows from which on a table scrolls within itself."""
SHORT = 22
"""Characters up to which a cell's text isn't broken."""
SENTENCE = 40
"""Characters from which on it needs room."""
CROSS = 1.2
"""Half the side of a prediction's cross, for a picture of 128 pixels."""


def to_html(page: Page) -> str:
    """The page as HTML. It asks for nothing from anywhere: its content security policy forbids it.

    Raises:
        ValueError: two blocks or sections share an id.
    """
    drawn = _Drawn()
    sections = [
        {"id": drawn.own(section.id), "title": section.title, "blocks": [drawn.block(block) for block in section.blocks]}
        for section in page.sections
    ]
    scripts = [_file("page.js")]
    if drawn.plots:
        from plotly.offline import get_plotlyjs

        scripts.insert(0, get_plotlyjs())
    return _template().render(
        page=page,
        sections=sections,
        pictures=drawn.pictures.values(),
        truths=drawn.truths.values(),
        css=Markup(_file("page.css")),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
    )


def _policy(scripts: Sequence[str]) -> str:
    """A content security policy under which only these scripts run and nothing is fetched.

    plotly.js writes style elements and attributes, and draws its own pictures for downloads from blob: and data: URIs.
    """
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(f"'sha256-{one}'" for one in hashes),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{key} {value}" for key, value in allowed.items())


@cache
def _file(name: str) -> str:
    return resources.files("domaingap.study.page").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(_file("page.html.j2"))


def data_block(value: str) -> Markup:
    """JSON text for a ``<script type="application/json">``: nothing in it ends that element or begins a comment."""
    return Markup(value.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@dataclass
class _Drawn:
    """What the page holds so far.

    Attributes:
        plots: number of plots.
        pictures: of faces, by content.
        truths: the points of faces, by content.
        ids: those given away.
    """

    plots: int = 0
    pictures: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    truths: dict[bytes, dict[str, str]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def own(self, id: str) -> str:
        """An id, as nobody else's."""
        if id in self.ids:
            raise ValueError(f"two parts of the page have the id {id!r}")
        self.ids.add(id)
        return id

    def block(self, block: Block) -> dict[str, Any]:
        """What the template needs of a block."""
        match block:
            case Words():
                return {"kind": "words", "words": block}
            case Table():
                return {"kind": "table", "table": self.table(block)}
            case Plot():
                self.plots += 1
                data = self.table(block.data, titled=False) if block.data is not None else None
                return {
                    "kind": "plot", "plot": block, "id": self.own(block.id), "figure": data_block(_figure(block.figure)),
                    "data": data,
                }  # fmt: skip
            case Gallery():
                rows = [
                    {"label": row.label, "faces": [self.face(caption, face) for caption, face in row.faces]}
                    for row in block.rows
                ]
                return {"kind": "gallery", "gallery": block, "id": self.own(block.id), "rows": rows}
            case Listing():
                return {"kind": "listing", "listing": block, "id": self.own(f"listing-{next(self._numbers)}")}

    def table(self, table: Table, titled: bool = True) -> dict[str, Any]:
        """A table's texts, and the rank of each cell by which its column is sorted."""
        ranks = [_ranks(column, values) for column, values in zip(table.columns, _columns(table), strict=True)]
        rows = [
            [
                {"text": parts[0], "bounds": parts[1], "rank": ranks[j][i], "class": _class(table.columns[j], parts[0])}
                for j, parts in enumerate(map(_cut, self._texts(table, i)))
            ]
            for i in range(len(table.rows))
        ]
        return {
            "id": self.own(f"table-{next(self._numbers)}"), "title": table.title, "titled": titled and bool(table.title),
            "columns": table.columns, "rows": rows, "long": len(rows) > LONG,
            "shown": table.notes[: NOTES_SHOWN if len(table.notes) > NOTES_SHOWN + 1 else None],
            "folded": table.notes[NOTES_SHOWN:] if len(table.notes) > NOTES_SHOWN + 1 else [],
            "csv": data_block(json.dumps(to_csv([table]), ensure_ascii=False)) if rows else None,
        }  # fmt: skip

    @staticmethod
    def _texts(table: Table, row: int) -> list[str]:
        return [column.text(value) for column, value in zip(table.columns, table.rows[row], strict=True)]

    def face(self, caption: str, face: Face) -> dict[str, Any]:
        """A face: its picture and its truth once on the page, its prediction here."""
        uri = "data:image/jpeg;base64," + base64.b64encode(face.jpeg).decode()
        picture = self.pictures.setdefault(face.jpeg, {"id": f"face-{len(self.pictures)}", "side": face.side, "uri": uri})
        truth = self.truths.setdefault(face.truth.tobytes(), {"id": f"truth-{len(self.truths)}", "path": dots(face.truth)})
        nme = f"{face.nme:.1f}%" if math.isfinite(face.nme) else "-"
        return {
            "caption": caption, "nme": nme, "name": face.name, "picture": picture, "truth": truth,
            "id": f"prediction-{next(self._numbers)}",
            "prediction": crosses(face.prediction, CROSS * face.side / 128), "errors": whiskers(face.truth, face.prediction),
        }  # fmt: skip


def _figure(figure: go.Figure) -> str:
    """A figure as JSON. Where it has plotly's default template, the page's own look stands in for it (``page.js``)."""
    content = json.loads(figure.to_json())
    default = plotly.io.templates[plotly.io.templates.default] if plotly.io.templates.default else None
    if figure.layout.template == default:
        content["layout"].pop("template", None)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


# Tables.


def _columns(table: Table) -> list[list[Any]]:
    return [[row[j] for row in table.rows] for j in range(len(table.columns))]


def _class(column: Column, text: str) -> str:
    return "n" if column.right else "s" if len(text) <= SHORT else "l" if len(text) >= SENTENCE else ""


def _cut(text: str) -> tuple[str, str]:
    """An interval's mean, and its bounds, which are printed smaller; of other text nothing is cut off."""
    mean, space, bounds = text.partition(" [")
    return (mean, f"[{bounds}") if space and bounds.endswith("]") else (text, "")


def _ranks(column: Column, values: Sequence[Any]) -> list[int | None]:
    """Where each value stands in its column's order, equal values alike; None of those without a value."""
    keys = [None if value is None else _key(column, value) for value in values]
    order = {key: place for place, key in enumerate(sorted({key for key in keys if key is not None}))}
    return [None if key is None else order[key] for key in keys]


def _key(column: Column, value: Any) -> tuple[Any, ...] | None:
    """What a column is sorted by: numbers and tuples of numbers by value, the mean of an interval, else the text, whose
    numbers count as such; None where there is no number."""
    if column.raw and not isinstance(value, tuple):
        value = next(iter(column.raw.values()))(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or value is None:
        return None if value is None else (0, (float(value),), "")
    if isinstance(value, Real):
        return (0, (float(value),), "") if math.isfinite(value) else None
    if isinstance(value, tuple) and value and all(isinstance(v, Real) for v in value):
        first = float(value[0])
        return (0, tuple(float(v) if math.isfinite(v) else 0.0 for v in value), "") if math.isfinite(first) else None
    text = column.show(value)
    return (1, tuple(_natural(text)), text)


def _natural(text: str) -> Iterator[tuple[int, float, str]]:
    """Text cut into words and numbers, so that 10 comes behind 9."""
    for number, part in itertools.groupby(text, str.isdecimal):
        run = "".join(part)
        yield (0, float(run), "") if number else (1, 0.0, run.casefold())


# Points, as SVG paths with a decimal.


def _fixed(value: float) -> str:
    """A coordinate without needless characters; one that isn't finite, or far outside, is drawn nowhere near."""
    return f"{min(max(value, -9999.0), 9999.0):.1f}".removesuffix(".0") if math.isfinite(value) else "-9999"


def dots(points: NDArray[np.float64]) -> str:
    """Points [N, 2] as lines without length, which round ends make dots."""
    return "".join(f"M{_fixed(x)} {_fixed(y)}h0" for x, y in points)


def crosses(points: NDArray[np.float64], half: float) -> str:
    """Points [N, 2] as diagonal crosses."""
    side = _fixed(2 * half)
    return "".join(f"M{_fixed(x - half)} {_fixed(y - half)}l{side} {side}m0-{side}l-{side} {side}" for x, y in points)


def whiskers(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> str:
    """Lines from the truth [N, 2] to the prediction."""
    return "".join(
        f"M{_fixed(a)} {_fixed(b)}L{_fixed(x)} {_fixed(y)}" for (a, b), (x, y) in zip(truth, prediction, strict=True)
    )
