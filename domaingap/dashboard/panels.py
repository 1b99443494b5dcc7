"""The parts of a dashboard: each answers a question with W&B panels. The names of keys are those that runs log.

Colours, and what is averaged, come from the run set: it is grouped by ``strategy`` and by every setting that tells runs of
one strategy apart, so that a mean is one over seeds. Whiskers and bands go from the smallest to the largest seed: intervals
and tests in pairs are in the report's tables, W&B's panels can't compute them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr

from domaingap.dashboard.about import About
from domaingap.hashing import content_key
from domaingap.landmarks import IBUG68
from domaingap.study.record import set_key

STEP = "progress/step"
"""The one axis over all stages of a run."""
HALF, WHOLE = 12, 24
"""Widths in the columns of a report's grid."""


@dataclass(frozen=True)
class Part:
    """A section of the workspace, and of the report.

    Attributes:
        title: its heading.
        words: what one sees in it, and how it is read.
        panels: of W&B.
        belongs: the section of the study's page that has the same in words and tables; empty where none has.
    """

    title: str
    words: str
    panels: list[Any]
    belongs: str = ""


def parts(about: About) -> list[Part]:
    """All of a study, in order."""
    on, nme = about.on, _figure(about.on)
    made = [_strategies(about)]
    if "alpha" in about.axes:
        words = (
            "A mark a run, or a group of seeds; the line follows their mean. α is the share of synthetic images in a "
            "batch. Validation picks α, the test set only shows it. α = 0 is real_only and α = 1 data_adaptation, which "
            "aren't drawn."
        )
        panels = [
            _scatter(f"NME % on {name} against α", wr.Config("alpha"), _figure(name))
            for name in (on, *(["val"] if on != "val" else []))
        ]
        made.append(Part("NME against α", words, panels, "curves"))
    images = []
    if "n_real" in about.axes:
        real = wr.SummaryMetric("n_real_train")
        images.append(_scatter(f"NME % on {on} against real images", real, nme, log_x=True))
    if "n_synthetic" in about.axes:
        images.append(_scatter(f"NME % on {on} against synthetic images", wr.Config("n_synthetic"), nme, log_x=True))
    if images:
        words = (
            "A mark a run, or a group of seeds; the line follows their mean. The axes of images are logarithmic: runs "
            "without such images have no place on them."
        )
        made.append(Part("NME against n", words, images, "curves"))
    made += [
        Part(
            "CED",
            "Cumulative errors: the share of faces whose NME is at most so large. Further left and up is better.",
            [_ced(name) for name in about.sets],
            "errors",
        ),
        Part("Regions and tails", _REGIONS, [*_regions(about), *_tails(about)], "errors"),
        Part("Pictures", _PICTURES, _pictures(), "faces"),
        Part("Worst faces", "The faces with the largest error of each run.", [_worst(name) for name in about.sets], "faces"),
        Part("Learning curves", _CURVES, _curves(about)),
    ]
    if about.adapters:
        made.append(_adapters(about))
    made.append(Part("Cost", _COST, _cost(about), "provenance"))
    for part in made:
        _settle(part)
    return made


_REGIONS = (
    "NME of each part of the face, and the tail of the errors: of P95, 95% of the faces have no larger NME. The jaw is the "
    "part that annotators agree on least."
)
_PICTURES = (
    "The same validation faces at every logged step and at the end, truth and prediction: a row a run, a column a step."
)
_CURVES = (
    "Over the optimiser steps of all stages of a run, one behind the other; phase is the number of the stage. Validation is "
    "what picks the checkpoint."
)
_COST = (
    "What a strategy takes: seconds of the whole run, optimiser steps, and real images, beside the error that it gets to."
)


def _figure(name: str, metric: str = "nme") -> str:
    return f"{set_key(name)}/{metric}"


def _strategies(about: About) -> Part:
    on = about.on
    bars = [
        _bars(about, f"NME % on {name}, mean over seeds", [_figure(name)])
        for name in about.sets
    ]  # fmt: skip
    more = [
        _bars(about, f"Failure rate at 8% NME on {on}", [_figure(on, "fr@8")]),
        _bars(about, f"Area under the CED up to 8% on {on}", [_figure(on, "auc@8")]),
    ]
    beside = [_scatter(f"NME %: {on} beside validation", wr.SummaryMetric("val/nme"), _figure(on), line=False)]
    words = (
        "Bars are means over seeds, whiskers go from the smallest to the largest. Lower NME is better. The list of runs at "
        "the left is grouped by strategy"
        + "".join(f", {key}" for key in about.splits)
        + ". Intervals and tests in pairs: 'domaingap report'."
    )
    return Part("Strategies compared", words, [*bars, *more, *(beside if on != "val" else [])], "strategies")


def _bars(about: About, title: str, metrics: list[str]) -> Any:
    # Without a key of its own a panel has the groups of the run set, which are finer where runs of a strategy differ.
    return wr.BarPlot(
        title=title,
        metrics=list(metrics),
        orientation="h",
        groupby=None if about.splits else wr.Config("strategy"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_bars_to_show=100,
        max_runs_to_show=1000,
        font_size="auto",
    )


def _scatter(title: str, x: Any, y: str, log_x: bool | None = None, line: bool = True) -> Any:
    mean = True if line else None
    return wr.ScatterPlot(title=title, x=x, y=wr.SummaryMetric(y), log_x=log_x, running_ymean=mean, font_size="auto")


def _ced(name: str) -> Any:
    """The table behind the line plot that runs log as ``ced/<set>``: W&B draws those of all shown runs into one chart. Its
    columns, and the chart's name, are those of ``wandb.plot.line_series``."""
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"ced/{name}_table"}},
        chart_name="wandb/lineseries/v0",
        chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
        chart_strings={"title": f"Cumulative errors on {name}", "xname": "NME %"},
    )


def _regions(about: About) -> list[Any]:
    return [
        _bars(about, f"NME % by region on {name}", [_figure(name, f"nme_{region}") for region in IBUG68.regions])
        for name in about.sets
    ]


def _tails(about: About) -> list[Any]:
    tails = [_figure(about.on, f"nme_{share}") for share in ("p90", "p95", "p99")]
    return [_bars(about, f"P90, P95 and P99 of the NME % on {about.on}", tails)]


def _pictures() -> list[Any]:
    return [
        wr.MediaBrowser(
            title="Validation faces", media_keys=["val/faces"], mode="grid", grid_x_axis="step", grid_y_axis="run",
            num_columns=4,
        )
    ]  # fmt: skip


def _worst(name: str) -> Any:
    return wr.WeavePanelSummaryTable(table_name=f"worst_faces/{name}")


def _curves(about: About) -> list[Any]:
    keys = {
        "val/nme": "NME % on validation",
        "val/loss": "Loss on validation",
        "train/loss": "Loss in training",
        "source_val/nme": "NME % on held-out synthetic faces",
        "phase": "Phase",
    }
    return [
        wr.LinePlot(
            title=title, x=STEP, y=[key], title_x="optimiser steps of all stages", groupby_aggfunc="mean",
            groupby_rangefunc="minmax", max_runs_to_show=100, smoothing_type="none",
        )
        for key, title in keys.items()
    ]  # fmt: skip


def _adapters(about: About) -> Part:
    words = (
        "How far label adapters move exact synthetic labels, in % of the outer eye corners' distance, and which share of "
        "these labels' spread is left: below 0.95 an adapter has learned to undo the network's errors. How much of the "
        "distance between answers and annotations is label gap, and how much the network's own error."
    )
    panels = [
        _bars(about, "Spread that is left of exact labels", ["adapter/spread_ratio"]),
        _bars(about, "Movement of exact labels, %", [f"adapter/movement_labels_{r}" for r in ("all", *IBUG68.regions)]),
        _bars(about, "Label gap and the network's own error, %", ["adapter/gap_all", "adapter/error_all"]),
        wr.MediaBrowser(title="What the adapter does to the mean face", media_keys=["adapter/mean_face"], num_columns=4),
    ]
    return Part("Label adapters", words, panels, "adapters")


def _cost(about: About) -> list[Any]:
    nme = _figure(about.on)
    return [
        _bars(about, "Wall time of a run, s", ["wall_time_s"]),
        _bars(about, "Optimiser steps of all stages", ["steps_total"]),
        _bars(about, "Optimiser steps behind the answers", ["steps_answering"]),
        _scatter(f"NME % on {about.on} against wall time, s", wr.SummaryMetric("wall_time_s"), nme, line=False),
        _scatter(f"NME % on {about.on} against steps", wr.SummaryMetric("steps_total"), nme, line=False),
    ]


def _settle(part: Part) -> None:
    """Give panels places in a grid, two a row and the wide ones alone, and ids that stay the same from call to call, so that
    a link to a panel still leads there."""
    column = row = 0
    for number, panel in enumerate(part.panels):
        wide = isinstance(panel, wr.MediaBrowser | wr.WeavePanelSummaryTable)
        width, height = (WHOLE, 14) if wide else (HALF, 8)
        if column + width > WHOLE:
            column, row = 0, row + 8
        panel.layout = wr.Layout(x=column, y=row, w=width, h=height)
        column += width
        if column >= WHOLE:
            column, row = 0, row + height
        panel._id = content_key([part.title, number], 12)
