"""Plots say what tables say: their numbers, names, looks, and open ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from domaingap.study.by_face import ByFace, landmark_errors
from domaingap.study.page.blocks import Page, Plot
from domaingap.study.page.figures import Line, landmarks_figure, lines_of, marker, stroke
from domaingap.study.page.palette import LOOKS
from domaingap.study.page.study import Study
from domaingap.study.record import RunRecord, read_records
from tests.conftest import MEAN_FACE
from tests.study.records import STRATEGIES, run_record, seeds, write, write_predictions
from tests.study.test_answer import around, study
from tests.study.test_saved import real_only


def page(records: Sequence[RunRecord]) -> Page:
    return Study(Path("runs/one"), records, [], "common", STRATEGIES).page()


def plots(records: Sequence[RunRecord]) -> dict[str, Plot]:
    return {block.id: block for section in page(records).sections for block in section.blocks if isinstance(block, Plot)}


def trace(figure: go.Figure, name: str) -> go.Scatter:
    (one,) = (t for t in figure.data if t.name == name)
    return one


def test_the_first_picture_is_the_gap() -> None:
    figure = plots(study())["gap-0"].figure
    most = trace(figure, "with all 1,000 real faces")
    assert dict(zip(most.y, most.x, strict=True)) == pytest.approx(
        {"synthetic alone": 12.0, "mixing α=0.5": 6.0, "real alone": 5.0}
    )
    few = trace(figure, "with 10")
    assert dict(zip(few.y, few.x, strict=True)) == pytest.approx({"mixing α=0.5": 6.0, "real alone": 8.0})
    (band,) = (shape for shape in figure.layout.shapes if shape.type == "rect")
    assert (band.x0, band.x1) == pytest.approx((5.0, 12.0))
    # Each interval's ends, as the table has them: Student's t of three values 0.1 apart.
    assert most.error_x.array[-1] == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-5)


def test_curves_have_their_points_bands_and_where_they_begin() -> None:
    plot = plots(study())["curve-0"]
    real = trace(plot.figure, "real_only")
    assert list(real.x) == [10, 100, 1000] and list(real.y) == pytest.approx([8.0, 6.0, 5.0])
    assert plot.figure.layout.xaxis.type == "log" and list(plot.figure.layout.xaxis.ticktext) == ["10", "100", "1000"]
    # Synthetic faces alone have no place on a log axis: a level line, with its figure in words.
    (level,) = (shape for shape in plot.figure.layout.shapes if shape.type == "line")
    assert level.y0 == level.y1 == pytest.approx(12.0)
    assert plot.figure.layout.annotations[0].text.startswith("synthetic_only 12.00 [")
    assert "The lowest is 5.00%: real_only at 1000" in plot.words
    assert plot.data is not None and ["real_only", "100", "6.00", "5.75", "6.25", "3"] in plot.data.cells()


def test_alpha_has_a_linear_axis() -> None:
    records = [run for a in (0.0, 0.5, 1.0) for run in around("mixing", 6 + a, n_real=10, alpha=a)]
    figure = plots([*real_only(), *records])["curve-1"].figure
    assert figure.layout.xaxis.type is None
    assert list(trace(figure, "mixing").x) == [0.0, 0.5, 1.0]


def test_open_ends_of_saved_images_are_drawn_at_the_edge_and_said() -> None:
    better = [*real_only(), *around("mixing", 4.0, n_real=10, alpha=0.5), *around("mixing", 6.0, n_real=100, alpha=0.5)]
    own = trace(plots(better)["saved-0"].figure, "mixing α=0.5")
    assert list(own.y) == pytest.approx([1000, 100]) and own.text[0].startswith("> 1000") and own.customdata[0] == 10


def test_differences_are_filled_where_they_hold_after_the_correction() -> None:
    clear = [*real_only({10: 8.0, 100: 6.0}), *seeds("mixing", [5.0, 5.1, 5.2], n_real=10, alpha=0.5)]
    figure = plots([*clear, *seeds("fine_tuning", [8.0, 6.0, 9.5], n_real=10)])["pairs-0"].figure
    by_name = {t.y[0]: t for t in figure.data}
    assert by_name["mixing α=0.5, 10 real"].marker.symbol == "triangle-up"
    assert by_name["fine_tuning, 10 real"].marker.symbol == "star-open"
    assert by_name["mixing α=0.5, 10 real"].x[0] == pytest.approx(-2.9)


def test_errors_by_landmark() -> None:
    truth = np.stack([MEAN_FACE, 2 * MEAN_FACE + 7])
    eyes = np.linalg.norm(MEAN_FACE[45] - MEAN_FACE[36])
    moved = truth.copy()
    moved[0, 30] += [eyes / 10, 0]  # a tenth of the eyes' distance to the right, of one face in two
    moved[:, 8] += np.array([[0, 1], [0, 2]]) * eyes / 20  # and of both a twentieth down
    found = landmark_errors(moved, truth)
    assert found.distance[30] == pytest.approx(5) and found.bias[30] == pytest.approx([5, 0], abs=1e-9)
    assert found.distance[8] == pytest.approx(5) and found.bias[8] == pytest.approx([0, 5], abs=1e-9)
    assert found.shape[45] - found.shape[36] == pytest.approx([100, 0], abs=1e-9)
    rest = np.delete(found.distance, [8, 30])
    assert rest == pytest.approx(np.zeros(66), abs=1e-9)
    # Turned by a quarter: in the face's own frame nothing changes.
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    again = landmark_errors(moved @ turn, truth @ turn)
    assert again.bias == pytest.approx(found.bias, abs=1e-9) and again.shape == pytest.approx(found.shape, abs=1e-9)
    figure = landmarks_figure([(Line("one", "mixing"), found)])
    assert "30: 5.0 %, of it in one direction 5.0" in figure.data[2].text


def test_every_strategy_looks_different_in_colour_and_in_gray() -> None:
    assert len({look.colour for look in LOOKS.values()}) == len({look.symbol for look in LOOKS.values()}) == len(LOOKS)
    twice = lines_of([("a", "mixing"), ("b", "mixing"), ("c", "real_only")])
    assert marker(twice[0])["symbol"] != marker(twice[1])["symbol"] and stroke(twice[0])["dash"] != stroke(twice[1])["dash"]


def test_a_page_has_errors_from_predictions_where_there_are_any(tmp_path: Path) -> None:
    records = [*study()[-6:], run_record("real_only", 0, 5.0, n_real=1000)]
    assert not any(name.startswith("ced") for name in plots(records))
    for folder in write(tmp_path, records):
        write_predictions(folder, "common", [1.0, 2.0, 3.0, 4.0])
    found = plots(read_records(tmp_path).records)
    curve = trace(found["ced-0"].figure, "real alone")
    per_face = ByFace("common").of(read_records(tmp_path).records[0])
    assert per_face is not None
    share = dict(zip(curve.x, curve.y, strict=True))
    assert share[0] == 0 and curve.y[-1] == 1
    at = max(x for x in share if x < np.sort(per_face.nme)[1])
    assert share[at] == 0.25
    assert {"ced-0", "regions-0", "landmarks-0"} <= found.keys()


def test_a_page_of_next_to_nothing() -> None:
    (section, *_) = page([run_record("real_only", 0, 6.0)]).sections
    assert section.id == "answer"
