"""Tables: typed values with formats, printed to a terminal or written as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

import rich.table
from rich.console import Console

from domaingap.errors import printable
from domaingap.progress import PlainConsole
from domaingap.statistics import Interval

Format = Literal["table", "markdown", "csv", "latex"]
Show = Callable[[Any], str]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        header: what stands above it.
        show: a value as text.
        right: aligned right, as numbers are.
        raw: numbers that CSV gives in columns of their own behind it, by the end of their header.
        none: what stands for None.
    """

    header: str
    show: Show = str
    right: bool = False
    raw: Mapping[str, Callable[[Any], float | None]] = field(default_factory=dict)
    none: str = "-"

    def text(self, value: Any) -> str:
        """A value as all renderings show it."""
        return self.none if value is None else self.show(value)


@dataclass(frozen=True)
class Table:
    """Rows of typed values, a value for each column, with what stands above and below them."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()

    @property
    def header(self) -> list[str]:
        return [column.header for column in self.columns]

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[column.text(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]


# Formats of values.


def format_metric(name: str, value: float) -> str:
    """A metric's value with the digits that it is printed with."""
    from domaingap.metrics import METRICS, SEQUENCE_METRICS, SIGMA_METRICS

    return {**METRICS, **SEQUENCE_METRICS, **SIGMA_METRICS}[name].text(value)


def metric(name: str) -> Show:
    """Format of a metric's values."""
    return lambda value: format_metric(name, value) if math.isfinite(value) else "-"


def number(digits: int, sign: bool = False) -> Show:
    """Format of numbers."""
    return lambda value: f"{value:{'+' if sign else ''}.{digits}f}"


def percent(value: float) -> str:
    """A share as whole percent."""
    return f"{100 * value:.0f}%"


def with_interval(show: Show) -> Show:
    """Format of :class:`Interval`: the mean, and its bounds where there are any; a dash without a mean."""

    def text(value: Interval) -> str:
        mean, low, high = value
        bounds = f" [{show(low)}, {show(high)}]" if math.isfinite(low) else ""
        return f"{show(mean)}{bounds}" if math.isfinite(mean) else "-"

    return text


BOUNDS: Mapping[str, Callable[[Any], float | None]] = {name: attrgetter(name) for name in Interval._fields}
"""Raw numbers of a column of :class:`Interval`."""


def interval_column(header: str, show: Show, none: str = "-") -> Column:
    """A column of :class:`Interval`."""
    return Column(header, with_interval(show), right=True, raw=BOUNDS, none=none)


def number_column(header: str, show: Show = str) -> Column:
    """A column of single numbers."""
    return Column(header, show, right=True)


# Renderings.


def terminal() -> Console:
    """Where tables are printed: standard output, not cut at 80 characters where that is a pipe."""
    out = PlainConsole()
    return out if out.is_terminal else PlainConsole(width=300)


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables to standard output."""
    out = terminal()
    for number, table in enumerate(tables):
        if number:
            out.print()
        drawn = rich.table.Table(title=table.title or None, title_justify="left", title_style="bold")
        for column in table.columns:
            # In a narrow terminal cells break rather than being cut off; a file has room.
            justify: Literal["left", "right"] = "right" if column.right else "left"
            drawn.add_column(column.header, justify=justify, no_wrap=not out.is_terminal)
        for row in table.cells():
            drawn.add_row(*row)
        out.print(drawn)
        for note in _unsaid(table, tables[:number]):
            out.print(note)


def render(tables: Sequence[Table], format: Format) -> str:
    """Tables as text: CSV, LaTeX (booktabs), else Markdown."""
    return to_csv(tables) if format == "csv" else latex(tables) if format == "latex" else markdown(tables)


def _unsaid(table: Table, before: Sequence[Table]) -> list[str]:
    """Notes that don't stand under an earlier table already."""
    said = {note for other in before for note in other.notes}
    return [note for note in table.notes if note not in said]


MARKDOWN = re.compile(
    r"[\\`*|~]|<(?=[A-Za-z/!?])"  # escapes, code, emphasis, a cell's end, strikes, HTML
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore at a word's edge; one inside a word is text
    r"|(?<=\])[(\[]|(?<=\S\]):"  # what makes a link of brackets before it
    r"|^\s*[#>+-](?=\s)"  # a heading, a quotation, a list
)


def to_markdown(text: str) -> str:
    """Text in one line with Markdown's characters escaped where they would mean something."""
    return MARKDOWN.sub(lambda match: match[0][:-1] + "\\" + match[0][-1], printable(text))


def markdown(tables: Sequence[Table]) -> str:
    """Tables as Markdown."""
    parts = []
    for number, table in enumerate(tables):
        lines = [f"**{to_markdown(table.title)}**", ""] if table.title else []
        rows = [table.header, *table.cells()]
        text = ["| " + " | ".join(map(to_markdown, row)) + " |" for row in rows]
        rule = "|" + "".join("---:|" if column.right else "---|" for column in table.columns)
        notes = [f"{to_markdown(note)}  " for note in _unsaid(table, tables[:number])]
        parts.append("\n".join([*lines, text[0], rule, *text[1:], "", *notes]).rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def to_csv(tables: Sequence[Table]) -> str:
    """Tables as CSV: text as in the other renderings, raw numbers in columns behind it; where there are several tables
    each row ends with its table's title."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    last: list[str] = []
    for table in tables:
        header: list[str] = []
        for column in table.columns:
            header += [column.header, *(f"{column.header}: {name}" for name in column.raw)]
        header += ["table"] if len(tables) > 1 else []
        if header != last:  # one header where tables share it
            last = header
            writer.writerow(map(_as_text, header))
        for row, texts in zip(table.rows, table.cells(), strict=True):
            cells: list[Any] = []
            for column, value, text in zip(table.columns, row, texts, strict=True):
                cells += [_as_text(text), *(_raw(None if value is None else of(value)) for of in column.raw.values())]
            writer.writerow([*cells, *([_as_text(table.title)] if len(tables) > 1 else [])])
    return out.getvalue()


def _as_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula; a number with a sign is none."""
    text = printable(text)
    return f"'{text}" if re.match(r"[=@]|[+-](?!\d|$)", text) else text


def _raw(value: float | None) -> float | str:
    return value if value is not None and math.isfinite(value) else ""


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "α": r"$\alpha$", "±": r"$\pm$", "`": r"\textasciigrave{}",
}  # fmt: skip


def to_latex(text: str) -> str:
    """Text with LaTeX's characters escaped; a minus before a number is one."""
    escaped = "".join(LATEX.get(character, character) for character in printable(text))
    # A bracket at a row's beginning would be an option of the line break before it.
    escaped = "{}" + escaped if escaped.startswith("[") else escaped
    return re.sub(r"(?<![\w\]])-(?=\d)", "$-$", escaped)


def latex(tables: Sequence[Table]) -> str:
    """Tables as LaTeX floats, for ``\\usepackage{booktabs}``."""
    parts = []
    for number, table in enumerate(tables):
        rows = [" & ".join(map(to_latex, row)) + r" \\" for row in (table.header, *table.cells())]
        lines = [r"\begin{table}", r"\centering"]
        lines += [rf"\caption{{{to_latex(table.title)}}}"] if table.title else []
        lines += [rf"\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in table.columns)}}}"]
        lines += [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}"]
        notes = [rf"\par {to_latex(note)}" for note in _unsaid(table, tables[:number])]
        lines += [r"\par\footnotesize", *notes] if notes else []
        parts.append("\n".join([*lines, r"\end{table}"]))
    return "\n\n".join(parts) + "\n"
