"""The plots of a page, from numbers of :mod:`domaingap.study`; nothing here reads files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from domaingap.landmarks import IBUG68
from domaingap.metrics import ced_curve
from domaingap.statistics import Interval
from domaingap.study.by_face import LandmarkErrors
from domaingap.study.compare import Comparison, Verdict
from domaingap.study.curves import Curves
from domaingap.study.gap_parts import GapParts
from domaingap.study.page.answer import Answer
from domaingap.study.page.palette import look, tint
from domaingap.study.saved import Saved

NME = "NME, % of the outer eye corners' distance"
GRID = "#d9d9d9"
ALONE = "#767676"


@dataclass(frozen=True)
class Line:
    """A strategy on a plot: its name, the recipe that gives its look, and whether another line has that look already."""

    name: str
    recipe: str
    again: int = 0


def lines_of(names: Sequence[tuple[str, str]]) -> list[Line]:
    """Lines of (name, recipe), told apart where one recipe has several."""
    seen: dict[str, int] = {}
    made = []
    for name, recipe in names:
        made.append(Line(name, recipe, seen.get(recipe, 0)))
        seen[recipe] = seen.get(recipe, 0) + 1
    return made


AGAIN = ("", "-open", "-dot", "-open-dot")
"""Markers of further lines of one recipe."""
DASHES = ("solid", "dot", "dash", "longdash", "dashdot", "longdashdot")


def marker(line: Line, size: int = 9) -> dict[str, Any]:
    """A line's marker."""
    own = look(line.recipe)
    symbol = own.symbol + AGAIN[line.again % len(AGAIN)]
    return {"color": own.colour, "symbol": symbol, "size": size, "line": {"color": own.colour, "width": 1.5}}


def stroke(line: Line, width: float = 2) -> dict[str, Any]:
    """A line's stroke; further ones of one recipe have another dash."""
    own = look(line.recipe)
    dash = DASHES[(DASHES.index(own.dash) + line.again) % len(DASHES)]
    return {"color": own.colour, "dash": dash, "width": width}


def blank(x: str, y: str, legend: bool = True) -> go.Figure:
    """An empty plot in the page's style."""
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": "#404040", "ticks": "outside", "automargin": True}
    return go.Figure(
        layout={
            "template": "none", "paper_bgcolor": "white", "plot_bgcolor": "white", "showlegend": legend,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1a1a1a"},
            "margin": {"l": 60, "r": 16, "t": 12, "b": 48}, "hovermode": "closest",
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "xaxis": {**axis, "title": {"text": x}}, "yaxis": {**axis, "title": {"text": y}},
        }
    )  # fmt: skip


def _bars(intervals: Sequence[Interval]) -> dict[str, Any]:
    """Error bars; none where an interval has no ends."""
    above = [high - mean if math.isfinite(high) else 0 for mean, _, high in intervals]
    below = [mean - low if math.isfinite(low) else 0 for mean, low, _ in intervals]
    return {
        "type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5, "width": 4,
        "color": "#404040",
    }  # fmt: skip


def _hover(interval: Interval, digits: int = 2) -> str:
    mean, low, high = interval
    return f"{mean:.{digits}f}" + (f" [{low:.{digits}f}, {high:.{digits}f}]" if math.isfinite(low) else "")


# The answer.


def gap_figure(answer: Answer) -> go.Figure:
    """The two ends of the gap, and each strategy between them, with the most and with the fewest real images."""
    on = answer.on
    rows: list[tuple[str, str, Interval]] = []
    most = f"all {answer.ceiling.budget.n:,}" if answer.ceiling is not None else "all"
    if answer.floor is not None:
        rows.append(("synthetic alone", "synthetic_only", answer.floor.cell(on).interval))
    rows += [(way.name, way.group.first.recipe, way.cell.interval) for way in reversed(answer.ways)]
    if answer.ceiling is not None:
        rows.append(("real alone", answer.ceiling.first.recipe, answer.ceiling.cell(on).interval))
    figure = blank(NME, "", legend=bool(answer.few))
    floor, ceiling = (None if g is None else g.cell(on).interval.mean for g in (answer.floor, answer.ceiling))
    if floor is not None and ceiling is not None:
        figure.add_vrect(x0=min(floor, ceiling), x1=max(floor, ceiling), fillcolor="#f0f0f0", line_width=0, layer="below")
    for value in (floor, ceiling):
        if value is not None:
            figure.add_vline(x=value, line={"color": ALONE, "dash": "dot", "width": 1}, layer="below")
    figure.add_trace(
        go.Scatter(
            x=[interval.mean for *_, interval in rows], y=[name for name, *_ in rows], mode="markers",
            name=f"with {most} real faces" if answer.few else "", error_x=_bars([interval for *_, interval in rows]),
            marker={"color": [look(recipe).colour for _, recipe, _ in rows], "size": 12,
                    "symbol": [look(recipe).symbol for _, recipe, _ in rows]},
            text=[_hover(interval) for *_, interval in rows], hovertemplate="%{y}: %{text} %<extra></extra>",
        )
    )  # fmt: skip
    if answer.few:
        fewest = answer.few[0].group.budget.n
        own = [("real alone" if way.group.first.recipe == "real_only" else _same_row(way.name, answer), way)
               for way in answer.few]  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[way.cell.interval.mean for _, way in own], y=[name for name, _ in own], mode="markers",
                name=f"with {fewest:,}", error_x=_bars([way.cell.interval for _, way in own]) | {"thickness": 1},
                marker={"color": [look(way.group.first.recipe).colour for _, way in own], "size": 11,
                        "symbol": [look(way.group.first.recipe).symbol + "-open" for _, way in own],
                        "line": {"width": 2}},
                text=[_hover(way.cell.interval) for _, way in own], hovertemplate="%{y}: %{text} %<extra></extra>",
            )
        )  # fmt: skip
    order = list(dict.fromkeys(name for trace in figure.data for name in trace.y))
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], showgrid=False)
    figure.update_xaxes(rangemode="tozero")
    return figure


def _same_row(name: str, answer: Answer) -> str:
    """The row of the same strategy with all real images, whose name may say more where several look alike."""
    recipe = name.partition(" ")[0]
    alike = [way.name for way in answer.ways if way.name.partition(" ")[0] == recipe]
    return name if name in alike or not alike else alike[0]


def forest_figure(compared: Sequence[tuple[str, Comparison]]) -> go.Figure:
    """Differences in pairs with their intervals, a row each; filled where the verdict holds after the correction."""
    figure = blank("difference in NME, points (left of 0: the strategy is better)", "", legend=False)
    figure.add_vline(x=0, line={"color": "#404040", "width": 1})
    for name, c in compared:
        own = marker(Line(name, c.group.first.recipe))
        certain = c.corrected and c.difference.verdict is not Verdict.OPEN
        figure.add_trace(
            go.Scatter(
                x=[c.difference.interval.mean], y=[name], error_x=_bars([c.difference.interval]) | {"color": own["color"]},
                mode="markers", marker=own | ({} if certain else {"symbol": own["symbol"] + "-open"}),
                text=[_hover(c.difference.interval)], hovertemplate="%{y}: %{text}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


PARTS = (("label part", "#E69F00", "/"), ("visual part", "#0072B2", "\\"), ("rest", "#7f7f7f", ""))
"""Colours, and hatches that tell them in gray."""


def parts_figure(found: Sequence[GapParts]) -> go.Figure:
    """The error of synthetic data alone as a bar in parts; a negative part is drawn to the left."""
    figure = blank(NME, "")
    names = [f"{parts.n_real:,} real, {parts.selection}, {parts.steps:,} steps" for parts in found]
    if len(set(names)) < len(names) or len({parts.family for parts in found}) > 1:
        names = [f"{name}<br>{parts.family}" for name, parts in zip(names, found, strict=True)]
    for (title, colour, hatch), values in zip(
        PARTS, ([p.label for p in found], [p.visual for p in found], [p.rest for p in found]), strict=True
    ):
        figure.add_trace(
            go.Bar(
                y=names, x=[value.mean for value in values], orientation="h", name=title,
                # Beside a colour of the hatch Plotly's default background is transparent.
                marker={"color": colour,
                        "pattern": {"shape": hatch, "bgcolor": colour, "fgcolor": "white", "solidity": 0.25},
                        "line": {"color": "white", "width": 1}},
                text=[_hover(value) for value in values], textposition="inside", insidetextanchor="middle",
                textfont={"color": "white" if title != "label part" else "black"},
                hovertemplate=f"{title}: %{{text}}<extra></extra>",
            )
        )  # fmt: skip
    # A part too narrow for its figure is without: hovering tells it, and the table below.
    figure.update_layout(barmode="relative", legend_traceorder="normal", uniformtext={"minsize": 10, "mode": "hide"})
    figure.update_traces(textangle=0)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


# Curves.

AXIS_TITLES = {
    "n_real": "real images (log scale)", "alpha": "α, share of synthetic samples in a batch",
    "n_synthetic": "synthetic images (log scale)",
}  # fmt: skip


def curves_figure(curves: Curves, names: Sequence[Line]) -> go.Figure:
    """NME over an axis with bands; a curve's own start at no images is a level line."""
    setting = curves.axis.setting
    logarithmic = setting != "alpha"
    figure = blank(AXIS_TITLES[setting], NME)
    for curve, line in zip(curves.curves, names, strict=True):
        points = [(at, curves.cells[group].interval) for at, group in curve.points if not (logarithmic and at == 0)]
        start = [curves.cells[group].interval for at, group in curve.points if logarithmic and at == 0]
        for interval in start:
            figure.add_hline(
                y=interval.mean, line=stroke(line, 1.5), annotation_text=f"{line.name} {_hover(interval)}",
                annotation_position="top right", annotation_font_size=11,
            )  # fmt: skip
        if not points:
            continue
        x = [at for at, _ in points]
        banded = [(at, i) for at, i in points if math.isfinite(i.low)]
        if len(banded) > 1:
            figure.add_trace(
                go.Scatter(
                    x=[at for at, _ in banded] + [at for at, _ in banded[::-1]],
                    y=[i.high for _, i in banded] + [i.low for _, i in banded[::-1]],
                    fill="toself", fillcolor=tint(look(line.recipe).colour, 0.13), line={"width": 0}, mode="lines",
                    hoverinfo="skip", showlegend=False, legendgroup=line.name,
                )
            )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=x, y=[i.mean for _, i in points], mode="lines+markers", name=line.name, legendgroup=line.name,
                line=stroke(line), marker=marker(line), text=[_hover(i) for _, i in points],
                error_y=_bars([i for _, i in points]) | {"thickness": 1, "width": 3, "color": look(line.recipe).colour},
                hovertemplate=f"{line.name}, %{{x}}: %{{text}} %<extra></extra>",
            )
        )  # fmt: skip
    if logarithmic:
        at = sorted({at for curve in curves.curves for at, _ in curve.points if at})
        figure.update_xaxes(type="log", tickvals=at, ticktext=[f"{value:g}" for value in at])
    return figure


def saved_figure(rows: Sequence[tuple[Line, Saved]]) -> go.Figure:
    """At how many real images real data alone is as good as a strategy with fewer: above the diagonal images are saved."""
    figure = blank("real images of the strategy", "real images that real data alone needs")
    smallest = min(min(row.n, row.curve.smallest) for _, row in rows)
    largest = max(max(row.n, row.curve.largest) for _, row in rows)
    diagonal = [max(smallest, 1), largest]
    figure.add_trace(
        go.Scatter(x=diagonal, y=diagonal, mode="lines", name="nothing saved", hoverinfo="skip",
                   line={"color": ALONE, "dash": "dot", "width": 1})
    )  # fmt: skip
    by_line: dict[Line, list[Saved]] = {}
    for line, row in rows:
        by_line.setdefault(line, []).append(row)
    spread = np.linspace(-0.035, 0.035, len(by_line)) if len(by_line) > 1 else np.zeros(1)
    for (line, of), shift in zip(by_line.items(), spread, strict=True):
        own = sorted((row for row in of if row.n), key=lambda row: row.n)
        values = [[_within(end, row) for end in row.reached] for row in own]
        figure.add_trace(
            go.Scatter(
                # Side by side rather than over each other.
                x=[row.n * (largest / diagonal[0]) ** shift for row in own], y=[v[0] for v in values], mode="lines+markers",
                name=line.name, line=stroke(line, 1), marker=marker(line),
                error_y=_bars([Interval(*v) for v in values]) | {"color": look(line.recipe).colour},
                text=[_reached(row) for row in own], customdata=[row.n for row in own],
                hovertemplate=f"{line.name} with %{{customdata}}: %{{text}}<extra></extra>",
            )
        )  # fmt: skip
    at = sorted({row.n for _, row in rows if row.n} | set(rows[0][1].curve.by_n))
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(type="log", tickvals=at, ticktext=[f"{value:g}" for value in at])
    return figure


def _within(value: float, row: Saved) -> float:
    return {math.inf: float(row.curve.largest), -math.inf: float(row.curve.smallest)}.get(value, value)


def _reached(row: Saved) -> str:
    def end(value: float) -> str:
        bound = {math.inf: "> ", -math.inf: "< "}.get(value, "")
        return f"{bound}{_within(value, row):.0f}"

    mean, low, high = row.reached
    return end(mean) + ("" if math.isnan(low) else f" [{end(low)}, {end(high)}]")


# Errors taken apart.


def ced_figure(errors: Sequence[tuple[Line, Sequence[NDArray[np.float64]]]], most: float = 10.0) -> go.Figure:
    """Cumulative error distributions: share of faces (mean over seeds) with at most an NME."""
    figure = blank(NME, "share of faces")
    shares: list[NDArray[np.float64]] = []
    largest = max(float(np.quantile(np.concatenate(list(nme)), 0.98)) for _, nme in errors)
    thresholds = np.linspace(0, max(most, math.ceil(largest)), 151)
    for line, by_seed in errors:
        share = np.mean([ced_curve(nme, thresholds) for nme in by_seed], axis=0)
        shares.append(share)
        figure.add_trace(
            go.Scatter(
                x=thresholds.round(3), y=share.round(4), mode="lines", name=line.name, line=stroke(line),
                hovertemplate=f"{line.name}: %{{y:.0%}} of faces within %{{x:.1f}} %<extra></extra>",
            )
        )  # fmt: skip
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    return figure


def regions_figure(cells: Sequence[tuple[Line, Mapping[str, Interval]]]) -> go.Figure:
    """NME of each region, a mark for each strategy."""
    figure = blank("", NME)
    regions = list(cells[0][1])
    for i, (line, by_region) in enumerate(cells):
        figure.add_trace(
            go.Scatter(
                x=[k + (i - (len(cells) - 1) / 2) * 0.11 for k in range(len(regions))],
                y=[by_region[region].mean for region in regions], mode="markers", name=line.name, marker=marker(line, 10),
                error_y=_bars([by_region[region] for region in regions]) | {"color": look(line.recipe).colour},
                text=[_hover(by_region[region]) for region in regions], customdata=regions,
                hovertemplate=f"{line.name}, %{{customdata}}: %{{text}} %<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(tickvals=list(range(len(regions))), ticktext=regions, showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return figure


LONGER = 3
"""How much longer than they are mean errors are drawn on the mean face."""


def landmarks_figure(errors: Sequence[tuple[Line, LandmarkErrors]], columns: int = 3) -> go.Figure:
    """Errors on the mean face: a circle as large as the mean distance of each point, a line along the mean error."""
    columns = min(columns, len(errors))
    rows = -(-len(errors) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=[line.name for line, _ in errors], horizontal_spacing=0.02, vertical_spacing=0.08
    )
    shared = blank("", "", legend=False).layout
    figure.update_layout(
        template="none", font=shared.font, margin={"l": 4, "r": 4, "t": 28, "b": 4}, showlegend=False, hovermode="closest",
        paper_bgcolor="white", plot_bgcolor="white",
    )  # fmt: skip
    most = max(float(found.distance.max()) for _, found in errors)
    for number, (line, found) in enumerate(errors):
        row, column = divmod(number, columns)
        place = {"row": row + 1, "col": column + 1}
        x: list[float | None] = []
        y: list[float | None] = []
        for contour, closed in IBUG68.contours:
            points = found.shape[[*contour, *(contour[:1] if closed else ())]]
            x, y = [*x, *points[:, 0].round(2), None], [*y, *points[:, 1].round(2), None]
        figure.add_trace(
            go.Scatter(x=x, y=y, mode="lines", line={"color": "#bdbdbd", "width": 1}, hoverinfo="skip"), **place
        )
        moved = found.shape + LONGER * found.bias
        ends = np.stack([found.shape, moved, np.full_like(moved, np.nan)], axis=1).reshape(-1, 2).round(2)
        figure.add_trace(
            go.Scatter(x=_gaps(ends[:, 0]), y=_gaps(ends[:, 1]), mode="lines", line={"color": "#202020", "width": 1.5},
                       hoverinfo="skip"),
            **place,
        )  # fmt: skip
        size = np.hypot(*found.bias.T)
        figure.add_trace(
            go.Scatter(
                x=found.shape[:, 0].round(2), y=found.shape[:, 1].round(2), mode="markers",
                marker={"size": (3 + 17 * found.distance / most).round(1), "color": found.distance.round(2), "cmin": 0,
                        "cmax": round(most, 2), "colorscale": "Cividis_r", "line": {"color": "#303030", "width": 0.5},
                        "opacity": 0.85, "showscale": number == len(errors) - 1,
                        "colorbar": {"title": {"text": "%"}, "thickness": 10, "len": 0.8}},
                text=[f"{i}: {distance:.1f} %, of it in one direction {own:.1f}"
                      for i, (distance, own) in enumerate(zip(found.distance, size, strict=True))],
                hovertemplate=f"{line.name}, point %{{text}}<extra></extra>",
            ),
            **place,
        )  # fmt: skip
    for axis in figure.select_yaxes():
        axis.update(autorange="reversed", visible=False, scaleanchor=axis.anchor, scaleratio=1)
    figure.update_xaxes(visible=False)
    return figure


def _gaps(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]


def bins_figure(
    title: str, names: Sequence[str], counts: Sequence[int], values: Sequence[tuple[Line, Sequence[Interval]]]
) -> go.Figure:
    """NME in bins of a condition, a line for each strategy, with how many faces each bin holds."""
    figure = blank(title, NME)
    for line, own in values:
        figure.add_trace(
            go.Scatter(
                x=list(range(len(names))), y=[i.mean for i in own], mode="lines+markers", name=line.name, line=stroke(line),
                marker=marker(line), text=[_hover(i) for i in own],
                error_y=_bars(own) | {"thickness": 1, "width": 3, "color": look(line.recipe).colour},
                hovertemplate=f"{line.name}: %{{text}} %<extra></extra>",
            )
        )  # fmt: skip
    ticks = [f"{name}<br>{count} faces" for name, count in zip(names, counts, strict=True)]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=ticks, showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return figure
