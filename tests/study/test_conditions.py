"""Error against conditions: what labels know, pose from landmarks, and bins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domaingap.config import TargetConfig
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.generated.appearance import light_on_face
from domaingap.data.generated.geometries.builtin import parametric_head
from domaingap.data.generated.geometry import rotation
from domaingap.data.readers.generated import GeneratedTarget
from domaingap.metrics import METRICS
from domaingap.predictions import Predictions, load_predictions, save_predictions
from domaingap.statistics import cluster_bootstrap
from domaingap.study.compare import grouped
from domaingap.study.conditions import (
    CONDITIONS,
    LEAST,
    MEAN_HEAD,
    by_condition,
    by_conditions,
    conditions_tables,
    estimated_pose,
)
from tests.conftest import MEAN_FACE, Answer
from tests.study.records import STRATEGIES, run_record, write

Cli = Callable[..., Answer]
TINY = [
    "--real.source=generated_target", "--real.generated.n_train=40", "--real.generated.n_test=30",
    "--synthetic.source=generated", "--synthetic.generated.n=40",
]  # fmt: skip


def test_the_mean_head_is_the_built_in_one() -> None:
    head = parametric_head()
    np.testing.assert_allclose(MEAN_HEAD, head.mesh.vertices[head.landmarks[:68]], atol=0.06)


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, 0, 0), (0, -15, 0), (0, 0, 20), (-40, 10, -12), (60, -8, 5)])
def test_a_turned_head_without_expression_is_found_exactly(angles: tuple[float, float, float]) -> None:
    yaw, pitch, roll = np.radians(angles)
    seen = MEAN_HEAD @ rotation(yaw, -pitch, roll).T
    pixels = 1.7 * seen[:, :2] * np.array([1, -1]) + np.array([80, 120])
    np.testing.assert_allclose(estimated_pose(pixels[None])[0], angles, atol=0.05)
    # Where the same face is mirrored, so are its turn and its tilt.
    from domaingap.landmarks import IBUG68

    mirrored = pixels[IBUG68.flip_permutation] * np.array([-1, 1])
    np.testing.assert_allclose(estimated_pose(mirrored[None])[0], np.array(angles) * [-1, 1, -1], atol=1.0)


@pytest.mark.slow
def test_pose_of_generated_faces_is_found_as_well_as_the_docstring_says() -> None:
    generator = FaceGenerator("target", 3, Dials(1, 0, 1))
    faces = [generator.photograph(i) for i in range(150)]
    truth = np.array([face.pose for face in faces])
    found = estimated_pose(np.stack([face.landmarks[:68] for face in faces]))
    error = np.abs(found - truth).mean(axis=0)
    assert (error < [4, 5, 3]).all(), error
    assert np.corrcoef(found[:, 0], truth[:, 0])[0, 1] > 0.95


def test_generated_faces_know_pose_occlusion_and_light() -> None:
    reader = GeneratedTarget.of(TargetConfig(n_train=6, n_test=1))
    faces = [reader.generator.photograph(i) for i in range(3)]
    columns = {"pose": np.array([face.pose for face in faces]), "visible": np.stack([face.visible for face in faces])}
    known = reader.conditions(reader.names("train")[:3], columns)
    assert tuple(known) == reader.knows == tuple(CONDITIONS)
    for i, face in enumerate(faces):
        assert [known[name][i] for name in ("yaw", "pitch", "roll")] == list(face.pose)
        assert known["occlusion"][i] == pytest.approx(100 * (~face.visible[:68]).sum() / 68)


def test_light_is_as_it_is_rendered() -> None:
    """The brighter side is the one that the light comes from, by as much as the pixels of the cheeks say, about."""
    generator = FaceGenerator("synthetic", 5)
    ratios, seen, bright, level = [], [], [], []
    for i in range(40):
        face = generator.parameters(i)
        if face.look["glasses"] or face.look["occluder"] >= 0 or face.look["beard_full"] or face.look["hat"] >= 0:
            continue
        made = generator.photograph(i, 128)
        points, linear = made.landmarks, (made.image.mean(axis=2) / 255) ** 2.2
        cheeks = []
        for eye, jaw in (((36, 39), 2), ((42, 45), 14)):
            x, y = (0.75 * points[list(eye)].mean(axis=0) + 0.25 * points[jaw] + np.array([0, 6])).round().astype(int)
            cheeks.append(linear[y - 2 : y + 3, x - 2 : x + 3].mean() + 1e-3)
        one_sided, brightness = light_on_face(face)
        ratios.append(one_sided)
        seen.append(abs(np.log2(cheeks[0] / cheeks[1])))
        bright.append(brightness)
        level.append(np.log2(sum(cheeks)))
    assert len(ratios) > 12 and min(ratios) >= 0
    assert np.corrcoef(ratios, seen)[0, 1] > 0.5 and np.corrcoef(bright, level)[0, 1] > 0.5


@pytest.mark.slow
def test_runs_on_generated_faces_keep_conditions(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "synthetic_only", *quick, *TINY).code == 0
    (folder,) = (tmp_path / "runs").glob("synthetic_only-*")
    kept = load_predictions(folder / "predictions.npz")
    generator = GeneratedTarget.of(TargetConfig(n_train=40, n_test=30)).generator
    for on in ("val", "generated", "source_val"):
        assert tuple(kept[on].conditions) == tuple(CONDITIONS), on
    for name, yaw in zip(kept["generated"].names, kept["generated"].conditions["yaw"], strict=True):
        assert yaw == pytest.approx(generator.parameters(int(name)).pose[0])
    answer = cli("report", tmp_path / "runs", "--style", "conditions", "--format", "csv")
    assert answer.code == 0 and "by yaw" in answer.out and "light" in answer.out, answer.err


# Bins


def written(
    root: Path, off: Sequence[Sequence[float]], yaw: Sequence[float] | None, names: str = "f", recipe: str = "real_only"
) -> list:
    """Runs of a group, one for each list of faces' errors in pixels, with each face's yaw; two faces to a photograph."""
    records = [run_record(recipe, seed, 5.0) for seed in range(len(off))]
    for folder, errors in zip(write(root, records), off, strict=True):
        n = len(errors)
        truth = np.repeat(MEAN_FACE[None], n, axis=0)
        moved = truth + np.array(errors)[:, None, None] * np.array([1.0, 0.0])
        conditions = {"yaw": np.array(yaw, dtype=float)} if yaw is not None else {}
        photographs, faces = np.array([f"p{i // 2}" for i in range(n)]), np.array([f"{names}{i}" for i in range(n)])
        kept = Predictions(faces, photographs, moved, truth, np.full(n, "x"), None, conditions)
        save_predictions(folder / "predictions.npz", {"common": kept})
    return [replace(record, folder=root / record.name) for record in records]


def test_bins_hold_the_means_over_seeds_with_intervals_over_photographs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    yaw = np.concatenate([rng.uniform(-9, 9, 20), rng.uniform(11, 19, 14), -rng.uniform(21, 29, 12), [45.0] * 3, [np.nan]])
    off = rng.uniform(1, 5, (3, len(yaw)))
    records = written(tmp_path, off.tolist(), yaw.tolist())
    groups = grouped(records, STRATEGIES)
    found = by_condition(groups, "common", "yaw")
    assert found is not None and not found.estimated and found.unknown == 1
    # Three faces beyond 30 degrees are too few.
    assert [(of.text, of.faces) for of in found.bins] == [("under 10°", 20), ("10 to 20°", 14), ("20° and more", 15)]
    assert found.joined == 1
    eyes = np.linalg.norm(MEAN_FACE[36] - MEAN_FACE[45])
    nme = 100 * off.mean(axis=0) / eyes
    photographs = np.array([f"p{i // 2}" for i in range(len(yaw))])
    for of, cell in zip(found.bins, found.cells[groups[0]], strict=True):
        here = (np.abs(yaw) >= max(of.low, 0)) & (np.abs(yaw) < of.high)
        expected = cluster_bootstrap(nme[here], photographs[here])
        assert cell == pytest.approx(expected, rel=1e-9)
    (table,) = (t for t in conditions_tables(records, "common", STRATEGIES) if "by yaw" in t.title)
    assert any("1 bin with fewer than 10" in note for note in table.notes)
    assert any("1 face without it" in note for note in table.notes)


def test_what_labels_do_not_know_is_estimated_or_absent(tmp_path: Path) -> None:
    records = written(tmp_path, [np.linspace(1, 2, 30).tolist()], None)
    found = by_conditions(grouped(records, STRATEGIES), "common")
    assert [of.name for of in found] == ["yaw", "pitch", "roll"] and all(of.estimated for of in found)
    assert by_condition(grouped(records, STRATEGIES), "common", "occlusion") is None
    # All are the same face: there is nothing to tell apart.
    assert [len(of.bins) for of in found] == [1, 1, 1]
    assert conditions_tables(records, "common", STRATEGIES) == []


def test_runs_of_an_earlier_version_take_conditions_from_later_ones(tmp_path: Path) -> None:
    yaw = [0.0] * LEAST + [15.0] * LEAST
    old = written(tmp_path / "a", [[1.0] * 20], None, recipe="real_only")
    new = written(tmp_path / "b", [[2.0] * 20], yaw, recipe="synthetic_only")
    os.utime(old[0].folder / "predictions.npz", (1, 1))
    found = by_condition(grouped([*old, *new], STRATEGIES), "common", "yaw")
    assert found is not None and not found.estimated and len(found.cells) == 2 and len(found.bins) == 2


def test_groups_on_other_faces_and_without_predictions_are_left_out(tmp_path: Path) -> None:
    yaw = [0.0] * LEAST + [15.0] * LEAST
    first = written(tmp_path / "a", [[1.0] * 20], yaw)
    other = written(tmp_path / "b", [[1.0] * 20], yaw, names="g", recipe="synthetic_only")
    gone = [run_record("mixing", 0, 5.0, alpha=0.5, folder=tmp_path / "c")]
    groups = grouped([*first, *other, *gone], STRATEGIES)
    found = by_condition(groups, "common", "yaw")
    assert found is not None and len(found.cells) == 1 and len(found.left_out) == 2
    assert found.cells[next(iter(found.cells))][0].mean > 0


def test_quarters_where_no_edges_are_natural() -> None:
    values = np.arange(100.0)
    edges = CONDITIONS["brightness"].bins(values)
    assert edges == (24.75, 49.5, 74.25)
    assert CONDITIONS["brightness"].bins(np.zeros(50)) == (0.0,)
    assert "nme" in METRICS
