"""Clips scored: which frames, which face, which figures, what is kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domaingap.config import CropConfig
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.readers.ibug300vw import find_clips
from domaingap.inference import video_scores as module
from domaingap.inference.predictor import Face
from domaingap.inference.video_scores import ClipScore, How, figures, groups, score_clip
from domaingap.metrics import SEQUENCE_METRICS, Jitter
from domaingap.predictions import Predictions
from domaingap.statistics import ClusterBootstrap
from tests.conftest import MEAN_FACE, Answer
from tests.experiments.test_cli import fails
from tests.inference.clips_300vw import write_clip
from tests.inference.runs import finished

Cli = Callable[..., Answer]


class Lookup:
    """In place of network and detector: what is asked for in a box is the true shape, a little off."""

    def __init__(self, off: float = 0.0) -> None:
        self.off, self.asked = off, 0

    def at(self, image: np.ndarray, boxes: np.ndarray, found: bool = True) -> list[Face]:
        self.asked += len(boxes)
        faces = []
        for box in boxes:
            own = box_from_landmarks(MEAN_FACE)
            scale = (box[2:] - box[:2]) / (own[2:] - own[:2])
            faces.append(Face(box, (MEAN_FACE - own[:2]) * scale + box[:2] + self.off, None, 1.0, found=found))
        return faces


# Jitter


def test_jitter_is_the_second_difference_of_the_error() -> None:
    """By hand: one point of 68 trembles by 1 px up and down; eyes are 52 px apart."""
    n = 9
    truth = MEAN_FACE + np.arange(n)[:, None, None] ** 2 * [3.0, 1.0]  # motion, however fast, doesn't count
    tremble = np.zeros((n, 68, 2))
    tremble[:, 5, 1] = (-1.0) ** np.arange(n)
    constant = np.full((68, 2), 4.0)
    steady = np.arange(n)[:, None, None] * np.array([0.5, 0.0])  # an error that grows evenly doesn't count either
    values = Jitter().per_frame(truth + tremble + constant + steady, truth, np.arange(1, n + 1))
    assert np.isnan(values[[0, -1]]).all()
    np.testing.assert_allclose(values[1:-1], 100 * 4.0 / 68 / 52, rtol=1e-9)


def test_jitter_does_not_reach_across_a_gap() -> None:
    truth = np.repeat(MEAN_FACE[None], 7, axis=0)
    prediction = truth + np.random.default_rng(0).normal(0, 1, truth.shape)
    values = Jitter().per_frame(prediction, truth, np.array([1, 2, 3, 7, 8, 9, 11]))
    assert np.isfinite(values).tolist() == [False, True, False, False, True, False, False]
    assert np.isnan(Jitter().per_frame(prediction[:2], truth[:2], np.array([1, 2]))).all()
    assert list(SEQUENCE_METRICS) == ["jitter"] and SEQUENCE_METRICS["jitter"].text(0.12345) == "0.123"


def test_quantiles_of_many_frames_are_computed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, clips = rng.normal(size=300), rng.integers(7, size=300)
    whole = ClusterBootstrap(clips, resamples=200).quantile(values, 0.9)
    monkeypatch.setattr("domaingap.statistics.MOST_COUNTED", 1000)
    assert ClusterBootstrap(clips, resamples=200).quantile(values, 0.9) == whole


# Clips


def test_frames_without_annotation_are_counted_and_a_lost_face_counts(tmp_path: Path) -> None:
    truth = write_clip(tmp_path / "300vw" / "224", 10, annotated=(1, 2, 3, 5, 6, 7, 8, 14))
    (clip,) = find_clips(tmp_path).clips
    predictor: Any = Lookup()
    seen: list[float] = []

    def follow(_: Any) -> Callable[[np.ndarray, float], list[Face]]:
        def faces(image: np.ndarray, time: float) -> list[Face]:
            seen.append(time)
            number = len(seen)
            far = Face(np.array([0.0, 0, 9, 9]), MEAN_FACE * 0.1, None, 1.0)
            here = Face(box_from_landmarks(truth[number]), truth[number] + 1.0, None, 1.0, found=number == 1)
            return [far] if number in (5, 6) else [far, here]

        return faces

    score = score_clip(clip, predictor, follow)
    assert len(seen) == 10 and seen[:3] == pytest.approx([0, 0.04, 0.08])  # a tracker sees every frame
    assert score.predictions.names.tolist() == [f"224/{n:06d}" for n in (1, 2, 3, 5, 6, 7, 8)]
    assert score.counts == {"frames": 10, "frames without annotation": 3, "annotations without a frame": 1}
    assert (
        score.predictions.box_sources.tolist() == ["mtcnn", "tracked", "tracked", "fallback", "fallback"] + ["tracked"] * 2
    )
    assert score.lost.tolist() == [False, False, False, True, True, False, False] and predictor.asked == 2
    np.testing.assert_allclose(score.predictions.prediction[0], truth[1] + 1, atol=1e-9)
    np.testing.assert_allclose(score.predictions.truth, [truth[n] for n in (1, 2, 3, 5, 6, 7, 8)], atol=1e-5)
    assert figures("x", [score]).metrics["lost"].mean == pytest.approx(200 / 7)


def made(name: str, category: str, n: int, seed: int) -> ClipScore:
    rng = np.random.default_rng(seed)
    truth = np.repeat(MEAN_FACE[None], n, axis=0)
    names = np.array([f"{name}/{i:06d}" for i in range(1, n + 1)])
    prediction = truth + rng.normal(0, 1 + seed, truth.shape)
    sources = np.where(np.arange(n) < seed, "fallback", "tracked")
    return ClipScore(name, category, Predictions(names, np.array([name] * n), prediction, truth, sources), 25.0, {})


def test_figures_are_over_frames_and_intervals_over_clips() -> None:
    scores = [made("224", "category2", 30, 0), made("405", "category2", 10, 2), made("223", "train", 20, 1)]
    together = {group.title: group for group in groups(scores)}
    assert list(together) == ["category2", "train", "all"], "test is category 2 here, and said once"
    both = together["category2"]
    nme = np.concatenate([score.predictions.nme() for score in scores[:2]])
    assert (both.clips, both.frames) == (2, 40) and both.metrics["nme"].mean == pytest.approx(nme.mean())
    # Two clips are resampled into one of them twice, or both: the ends are the clips' own means.
    ends = sorted(score.predictions.nme().mean() for score in scores[:2])
    assert [both.metrics["nme"].low, both.metrics["nme"].high] == pytest.approx(ends)
    assert both.metrics["lost"].mean == pytest.approx(5.0)
    steps = np.concatenate([score.per_frame("jitter")[1:-1] for score in scores])
    assert together["all"].metrics["jitter"].mean == pytest.approx(steps.mean())
    assert np.isnan(together["train"].metrics["nme"].low), "one clip has no interval"
    assert together["train"].plain()["intervals"] == {}


# The command


@pytest.fixture(scope="module")
def run(data_root: Path, prepared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with oracle boxes, which needs no detector."""
    return finished("real_only", data_root=data_root, prepared_dir=prepared_dir, folder=tmp_path_factory.mktemp("runs"))


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_evaluate_on_clips(cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "300vw"
    write_clip(root / "223", 12, seed=1)
    write_clip(root / "224", 8, annotated=range(1, 7), seed=2)
    write_clip(root / "405", 8, seed=3)
    (root / "405" / "vid.avi").write_bytes(b"nothing")
    done = cli("evaluate", run, "--on", "300vw", "--data_root", tmp_path)
    assert done.code == 0, done.err
    assert "left out: " in done.err and "405/vid.avi" in done.err
    assert "2 frames without annotation" in done.out and "oracle boxes" in done.out
    assert "category2: 1 of 19, train: 1 of 50; 1 left out" in done.out and "300-W (research only" in done.out
    stem = run / "evaluation" / "300vw"
    said = json.loads(stem.with_suffix(".json").read_text())
    assert list(said["groups"]) == ["category2", "train", "all"] and said["groups"]["all"]["frames"] == 18
    assert said["clips"]["224"]["counts"] == {"frames": 8, "frames without annotation": 2} and len(said["left_out"]) == 1
    assert said["groups"]["all"]["intervals"]["jitter"][0] <= said["groups"]["all"]["metrics"]["jitter"]
    table = rows(stem.with_suffix(".csv"))
    assert len(table) == 18 and {row["box"] for row in table} == {"landmarks"} and {row["lost"] for row in table} == {"0"}
    for clip in ("223", "224"):
        own = [row for row in table if row["clip"] == clip]
        assert [row["jitter"] == "" for row in own] == [True] + [False] * (len(own) - 2) + [True]
        for name in ("nme", "jitter"):
            mean = np.mean([float(row[name]) for row in own if row[name]])
            assert mean == pytest.approx(said["clips"][clip]["metrics"][name], abs=1e-4)
    assert [row["time_s"] for row in table[:3]] == ["0.000", "0.040", "0.080"]

    # Given again nothing is computed; another annotation is.
    asked: list[str] = []

    def counted(clip: Any, *args: Any) -> ClipScore:
        asked.append(clip.name)
        return score_clip(clip, *args)

    monkeypatch.setattr(module, "score_clip", counted)
    again = cli("evaluate", run, "--on", "300vw", "--data_root", tmp_path)
    assert again.code == 0 and again.out == done.out and asked == ["405"]
    (root / "224" / "annot" / "000006.pts").unlink()
    assert cli("evaluate", run, "--on", "300vw_category2", "--data_root", tmp_path).code == 0
    assert asked == ["405", "224", "405"]
    kept = next((run / "evaluation" / "clips").glob("223-*.npz"))
    kept.write_bytes(kept.read_bytes()[:100])
    assert cli("evaluate", run, "--on", "300vw_train", "--data_root", tmp_path).code == 0
    assert asked[3:] == ["223"]
    # A folder of clips is known by its layout.
    assert cli("evaluate", run, "--on", root).code == 0 and asked[4:] == ["405"]


def test_faces_from_the_detector_or_followed(cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn blobs are no face to the detector: every frame is lost, and none left out."""
    write_clip(tmp_path / "300vw" / "406", 5)
    for options, name in (
        (["--faces_from=detector"], "300vw-detector"),
        (["--faces_from=tracker"], "300vw-tracker"),
        (["--faces_from=tracker", "--smooth"], "300vw-tracker-smooth"),
    ):
        done = cli("evaluate", run, "--on=300vw", "--data_root", tmp_path, *options)
        assert done.code == 0, done.err
        assert [row["lost"] for row in rows(run / "evaluation" / f"{name}.csv")] == ["1"] * 5
    assert "smoothed" in done.out


def test_mistakes(cli: Cli, run: Path, tmp_path: Path) -> None:
    def refused(*arguments: Any, says: Sequence[str]) -> None:
        fails(cli("evaluate", run, *arguments), *says)

    refused("--on=300vw", "--data_root", tmp_path, says=["holds no 300vw/"])
    refused("--on=300vw_best", "--data_root", tmp_path, says=["300vw_best", "known: 300vw, 300vw_test"])
    write_clip(tmp_path / "300vw" / "406", 4, annotated=(9,))
    at = ("--data_root", tmp_path)
    refused("--on=300vw", *at, says=["no frame of it has a usable annotation"])
    refused("--on=300vw,common", *at, says=["clips (300vw) and faces (common)"])
    refused("--on=300vw", "--from_predictions", *at, says=["--from_predictions"])
    refused("--on=common", "--smooth", says=["--smooth are of clips"])
    refused("--on=300vw", "--smooth", *at, says=["--faces_from tracker"])
    refused("--on=300vw", "--faces_from=sonar", *at, says=["sonar"])
    (tmp_path / "300vw" / "406" / "vid.avi").write_bytes(b"")
    refused("--on=300vw", *at, says=["vid.avi", "empty"])


@pytest.mark.slow
def test_faces_of_the_samples_are_followed(sample_data: Path, tmp_path: Path) -> None:
    """A network that is not asked anything: whether the detector and the matching find the annotated faces."""
    from domaingap.inference.model import CropAnswer, LandmarkModel
    from domaingap.inference.predictor import FacePredictor

    crop = CropConfig(64)
    # The mean face of the crop, wherever it is.
    points = (MEAN_FACE - 48) * 0.6 + 32
    model = LandmarkModel("mean", crop, lambda crops: CropAnswer(np.repeat(points[None], len(crops), 0), None))
    clip = find_clips(sample_data).clips[0]
    score = score_clip(clip, FacePredictor(model), How("detector").follow())
    assert len(score.frames) == 75 and score.lost.mean() < 0.1 and score.counts == {"frames": 75}
