"""``domaingap bench`` on videos: what is measured, on which core, and what can't be measured."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from domaingap.inference.model import load_model
from domaingap.inference.predictor import DetectorConfig, FacePredictor
from domaingap.inference.sources import Video
from experiments.commands import bench_video
from experiments.commands.bench_video import one_core, untrained, write_moving_face
from tests.conftest import Answer
from tests.experiments.test_cli import fails

Cli = Callable[..., Answer]


def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the packages of the extra aren't installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name.startswith("onnx") else find(name, *more)
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("networks") / "tiny", "test_resnet", 64)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_moving_face(tmp_path_factory.mktemp("clips") / "face.avi", 6)


def test_without_onnxruntime(
    cli: Cli, checkpoint: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_onnx(monkeypatch)
    out = tmp_path / "bench.json"
    arguments = ("--cases=video", "--seconds=0.01", "--run", checkpoint, "--video", clip, "--out", out)
    answer = cli("bench", *arguments)
    assert answer.code == 0 and "in PyTorch alone" in answer.err and "uv sync --extra export" in answer.err
    (case,) = json.loads(out.read_text())["cases"]
    assert case["case"].endswith("in PyTorch") and case["frames"] == case["with_face"] == 6 and case["detections"] == 1
    assert case["against"] == "detector in every frame: 6 frames, 6 with a face, detector asked 6 times"
    assert case["ratio"] > 1, "following a face is faster than looking for it"


@pytest.mark.slow
def test_an_own_network_on_an_own_clip(cli: Cli, checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "bench.json"
    threads = torch.get_num_threads()
    arguments = ("--cases=video", "--seconds=0.01", "--threads", threads, "--run", checkpoint, "--video", clip, "--out", out)
    answer = cli("bench", *arguments)
    assert answer.code == 0, answer.err
    assert "followed" in answer.out
    followed, runtimes = json.loads(out.read_text())["cases"]
    for case in (followed, runtimes):
        assert "test_resnet, 64 px" in case["case"] and case["clip"] == "face.avi"
        assert case["frames"] == case["with_face"] == 6 and case["detections"] == 1
        assert case["ratio"] == pytest.approx(case["images_per_s"] / case["images_per_s_against"])
        # Were it several threads on several cores, it would be more than a second's work a second.
        assert max(case["core_seconds_per_s"], case["core_seconds_per_s_against"]) < 1.1
    assert followed["case"].endswith("in onnxruntime")
    assert (runtimes["pipeline"][:11], runtimes["against"][:7]) == ("onnxruntime", "PyTorch")


@pytest.mark.slow
def test_networks_without_training_are_followed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench_video.NETWORKS[0] == ("resnet18", 128), "what is recommended is what is measured"
    monkeypatch.setattr(bench_video, "NETWORKS", [("test_resnet", 64)])
    out = tmp_path / "bench.json"
    answer = cli("bench", "--cases=video", "--seconds=0.01", "--out", out)
    assert answer.code == 0, answer.err
    cases = json.loads(out.read_text())["cases"]
    assert cases and all("test_resnet, 64 px" in case["case"] for case in cases)
    # In the first frame, and after 25 and 50 more.
    assert all((case["frames"], case["with_face"], case["detections"]) == (75, 75, 3) for case in cases)


def test_one_core() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    with one_core():
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
        assert not cores or len(os.sched_getaffinity(0)) == 1
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert not cores or os.sched_getaffinity(0) == cores


def test_the_clip_that_is_made_and_a_network_without_training(checkpoint: Path, clip: Path) -> None:
    """The detector finds its one face, and the network's answer lies in the box."""
    video = Video("clip", path=clip).open()
    assert video.size == (480, 360) and video.fps == 25
    frames = list(video.frames())
    assert len(frames) == 6
    (face,) = FacePredictor(load_model(checkpoint), DetectorConfig(smallest_face=40)).predict(frames[-1].pixels)
    x0, y0, x1, y1 = face.box
    centre = face.landmarks.mean(axis=0)
    assert x0 < centre[0] < x1 and y0 < centre[1] < y1 and face.confidence > 0.5
    assert 100 < face.size < 170, "about 130 px"
    assert np.abs(frames[0].pixels.astype(int) - frames[-1].pixels).mean() > 3, "it moves"


def test_what_cannot_be_measured(cli: Cli, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.avi"
    writer = cv2.VideoWriter(str(empty), cv2.VideoWriter.fourcc(*"MJPG"), 25, (96, 64))
    for _ in range(3):
        writer.write(np.full((64, 96, 3), 90, np.uint8))
    writer.release()
    fails(cli("bench", "--cases=training", "--run", checkpoint), "--run", "--cases training")
    fails(cli("bench", "--cases=video", "--video", tmp_path / "no.avi"), "no.avi")
    fails(cli("bench", "--cases=video", "--run", tmp_path / "no"), "no such run")
    without_onnx(monkeypatch)
    arguments = ("--cases=video", "--seconds=0.01", "--run", checkpoint, "--video", empty)
    fails(cli("bench", *arguments), "empty.avi", "no face", "--video")
