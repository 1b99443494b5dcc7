"""A page with every kind of block, and texts that would break out of HTML where they aren't escaped."""

from __future__ import annotations

import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.subplots import make_subplots

from domaingap.statistics import Interval
from domaingap.study.page.blocks import Block, Face, FaceRow, Gallery, Listing, Page, Plot, Section, Words
from domaingap.study.tables import Column, Table, interval_column, metric, number_column
from tests.conftest import MEAN_FACE

STRATEGIES = ("real_only", "synthetic_only", "label_adaptation", "data_adaptation", "mixing α=0.5", "fine_tuning")
AWKWARD = "</script><script>document.title = 'broken out'</script> <b>bold</b> & \"quoted\" 'single' <!-- α ≥ µ -->"
LONG = "mixing-generated_target-n" + "0123456789" * 9
PLOTS = 12


def jpeg(number: int, side: int = 128) -> bytes:
    """A small gray picture, another for each number."""
    rows, columns = np.mgrid[:side, :side]
    picture = 120 + 60 * np.sin(columns / (8 + number)) + 40 * np.cos(rows / 11)
    file = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


def face(number: int, off: float, seed: int = 0) -> Face:
    """A face whose prediction is off by so many pixels."""
    truth = MEAN_FACE * 1.2 + 6 + number
    rng = np.random.default_rng([number, seed])
    return Face(
        jpeg(number), 128, truth, truth + rng.normal(0, off, truth.shape), 2 * off, f"helen/testset/{300 + number}_1"
    )


def curves(number: int) -> go.Figure:
    """A line for each strategy, on a log axis, with bands."""
    counts = np.array([10, 25, 50, 100, 250, 500, 1000, 3148])
    figure = go.Figure()
    for k, strategy in enumerate(STRATEGIES):
        values = 8 - 0.4 * k - np.log10(counts) + 0.1 * number
        bars = {"type": "data", "array": np.full(len(counts), 0.2)}
        figure.add_scatter(x=counts, y=values, name=strategy, mode="lines+markers", error_y=bars)
    figure.update_layout(xaxis={"type": "log", "title": "real images"}, yaxis={"title": "NME, % of the eyes' distance"})
    return figure


def bars() -> go.Figure:
    """Bars whose names are awkward."""
    names = ["jaw", "brows", "nose", "eyes", "mouth", "</script>"]
    return go.Figure([go.Bar(x=names, y=[5.0, 4, 3, 2, 3.5, 1], name=AWKWARD)], {"yaxis": {"title": "NME %"}})


def forest() -> go.Figure:
    """Intervals beside long names, under a long title."""
    names = [f"{name}, {n} real, real_val against real_only" for n in (10, 50, 2000) for name in STRATEGIES]
    values = np.linspace(-5, 2, len(names))
    bars = {"type": "data", "array": np.full(len(names), 0.5)}
    figure = go.Figure(go.Scatter(x=values, y=names, mode="markers", error_x=bars, showlegend=False))
    title = "difference in NME, points of the outer eye corners' distance (left of 0: the strategy is better)"
    return figure.update_layout(xaxis={"title": title}, yaxis={"autorange": "reversed", "automargin": True})


def faces_side_by_side() -> go.Figure:
    """A small plot for each strategy, three to a row, with one scale of colours."""
    figure = make_subplots(2, 3, subplot_titles=STRATEGIES, horizontal_spacing=0.02, vertical_spacing=0.08)
    for k in range(len(STRATEGIES)):
        marker = {"size": np.linspace(3, 20, 68), "color": np.arange(68), "showscale": not k, "colorbar": {"title": "%"}}
        points = go.Scatter(x=MEAN_FACE[:, 0], y=-MEAN_FACE[:, 1], mode="markers", marker=marker, showlegend=False)
        figure.add_trace(points, row=k // 3 + 1, col=k % 3 + 1)
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def strategies_table() -> Table:
    """Strategies by budgets, with intervals, a gap, and notes."""
    counts = [10, 25, 50, 100, 250, 1000, 3148]
    columns = [
        Column("strategy"), Column("synthetic"), number_column("steps", lambda pair: f"{pair[0]} / {pair[1]}"),
        *(interval_column(f"{n} real", metric("nme"), none="") for n in counts),
    ]  # fmt: skip
    rows = [
        [name, "generated" if k else None, (2000, 2500 - 100 * k),
         *(None if k == 1 and i else Interval(9 - k - 0.3 * i, 8.5 - k - 0.3 * i, 9.5 - k - 0.3 * i)
           for i in range(len(counts)))]
        for k, name in enumerate(STRATEGIES)
    ]  # fmt: skip
    notes = [f"[ ]: note {i} says what the figures of this table are of, and over what." for i in range(7)]
    return Table(f"NME % on common, {AWKWARD}", columns, rows, notes)


def runs_table(rows: int = 200) -> Table:
    """Many rows; names that can't be broken; numbers that text would sort wrongly."""
    rng = np.random.default_rng(0)
    columns = [Column("name"), number_column("NME %", metric("nme")), number_column("steps"), Column("folder")]
    values = [
        [LONG if i == 3 else f"run {i}", None if i % 7 == 6 else float(rng.uniform(3, 12)), 100 * i, f"=runs/{AWKWARD}/{i}"]
        for i in range(rows)
    ]
    return Table("All runs", columns, values)


def awkward_page() -> Page:
    """Everything at once."""
    table = strategies_table()
    same = [
        FaceRow(f"Face {i}: {AWKWARD}", [(name, face(i, 0.5 + 0.3 * i + 0.1 * k, k)) for k, name in enumerate(STRATEGIES)])
        for i in range(3)
    ]
    own = [FaceRow(name, [(LONG, face(i, 1 + i, k)) for i in range(3)]) for k, name in enumerate(STRATEGIES[:2])]
    words = "Each line falls with more real images."
    plots: list[Block] = [Plot(f"plot-{i}", f"NME against real images, {i}", curves(i), words) for i in range(PLOTS - 4)]
    plots += [
        Plot("forest", "Against real faces alone", forest(), words, height=90 + 30 * 18),
        Plot("landmarks", "Errors by landmark", faces_side_by_side(), words, height=660),
    ]
    return Page(
        f"A study of faces {AWKWARD}",
        "200 runs of 6 strategies, resnet18 at 128 px, 28 November 2026",
        [
            Section("answer", "The answer", [
                Words("On 554 faces a network trained on synthetic faces alone is off by 5.9%, one trained on 3,148 real "
                      "faces by 3.5%: a gap of 2.4 points.", emphasis=True),
                Words("With 50 real faces fine_tuning is as good as 420 real faces alone.", emphasis=True),
                Plot("gap", "What closes how much of the gap", curves(0), AWKWARD, data=table),
                Words(f"What to keep in mind: {AWKWARD} {LONG}"),
            ]),
            Section("strategies", f"Strategies {AWKWARD}", [
                table, Table("Nothing here", [Column("strategy"), number_column("NME %")], [], ["Not a row."]),
                Plot("regions", "Errors by region", bars(), "The jaw is the hardest.", height=360),
            ]),
            Section("curves", "Curves", plots),
            Section("faces", "Faces", [
                Gallery("same", "The same faces side by side", same, f"From easy to hard. {AWKWARD}"),
                Gallery("own", "Typical and worst", own, "Of each strategy."),
            ]),
            Section("runs", "All runs", [runs_table()]),
            Section("provenance", "Where this comes from", [
                Listing("Commands", f"uv run domaingap run mixing --config a.yaml # {AWKWARD} {LONG}\n", folded=False),
                Listing("mixing.yaml", f"seed: 0\nname: {AWKWARD}\n" + "key: value\n" * 50),
            ]),
        ],
    )  # fmt: skip
