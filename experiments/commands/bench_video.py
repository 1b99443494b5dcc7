"""The part of ``domaingap bench`` that measures videos: frames a second from file to points, on one core."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from domaingap.config import CropConfig
from domaingap.data.boxes import MIN_FACE, box_from_landmarks
from domaingap.data.crops import apply_transform, crop_transform
from domaingap.data.doctor.shape_model import prior
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.errors import UserError
from domaingap.inference.model import LandmarkModel, open_files
from domaingap.inference.predictor import DetectorConfig, FacePredictor
from domaingap.inference.sources import Video
from domaingap.inference.tracker import Tally, Tracker
from domaingap.models.regressor import LandmarkRegressor, save_network
from domaingap.progress import console
from domaingap.provenance import Seen

WIDTH, HEIGHT, FPS = 480, 360, 25.0
NETWORKS = (("resnet18", 128), ("resnet10t", 128))
"""What is measured where no run is named: the recommended network and a smaller one."""

BUSY = 0.95
"""Share of the core that a measurement needs to count."""

Alternate = Callable[[Callable[[], None], Callable[[], None], float], tuple[float, float]]


@dataclass
class _Side:
    """One way through a clip.

    Attributes:
        clip: its file.
        through: frames of the clip → what happened.
        tally: of the last time.
        cores: processor seconds a second, of each time.
    """

    clip: Path
    through: Callable[[Video], Tally]
    tally: Tally = field(default_factory=Tally)
    cores: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        """Once through the clip, from opening its file."""
        began, worked = time.perf_counter(), time.process_time()
        with contextlib.closing(Video(self.clip.name, path=self.clip).open()) as video:
            self.tally = self.through(video)
        self.cores.append((time.process_time() - worked) / (time.perf_counter() - began))


def video_cases(
    clip: Path | None, runs: Sequence[Path], seconds: float, temporary: Path, alternate: Alternate, n_frames: int = 75
) -> list[dict[str, Any]]:
    """Frames a second of each network that follows faces, against asking the detector in every frame, and of onnxruntime
    against PyTorch. Everything on one core, in one thread.

    Args:
        clip: a video; by default one of a drawn face that moves, 480 x 360 px.
        runs: folders, checkpoints or exported files; by default untrained networks. They answer a mean face, wherever the
            detector's last stage puts the box, so that a face is followed as by a network that is sure of it.
        seconds: measuring time of a case.
        temporary: folder for files.
        alternate: measures the median seconds of a call of each of two.
        n_frames: of the clip that is made.

    Raises:
        UserError: no face in the clip, or a network or clip that can't be used.
    """
    with one_core():
        if clip is None:
            clip = write_moving_face(temporary / "moving_face.avi", n_frames)
        sources = list(runs) or [untrained(temporary / backbone, backbone, size) for backbone, size in NETWORKS]
        cases = []
        for source in sources:
            models = _in_both(source, temporary)
            name = models[0].name
            console.print(f"video, {name} …")
            best = models[0]
            cases.append(
                _case(
                    f"video, {name}, in {best.runtime}",
                    _following(clip, best),
                    _detecting(clip, best),
                    ("followed", "detector in every frame"),
                    alternate,
                    seconds,
                )
            )
            if len(models) > 1:
                runtimes = (models[0].runtime, models[1].runtime)
                sides = (_following(clip, models[0]), _following(clip, models[1]))
                cases.append(_case(f"video, {name}, followed", *sides, runtimes, alternate, seconds))
        return cases


def _in_both(source: Path, temporary: Path) -> list[LandmarkModel]:
    """A network in onnxruntime, where that can be, and in PyTorch."""
    from domaingap.inference.onnx_model import load_onnx

    if source.suffix.lower() == ".onnx":
        return [load_onnx(source, n_threads=1)]
    from domaingap.inference.export import export_network
    from domaingap.inference.torch_model import in_torch

    files = open_files(source)
    files = files._replace(name=f"{files.name} ({files.network.hparams.get('backbone', 'resnet18')}, {files.crop.size} px)")
    models = []
    try:
        export_network(files, "onnx", temporary / "network.onnx")
        models.append(load_onnx(temporary / "network.onnx", n_threads=1))
    except UserError as error:
        console.print(f"in PyTorch alone: {error}")
    return [*models, in_torch(files, gpu=False)]


def _predictor(model: LandmarkModel) -> FacePredictor:
    # The smallest face that 'domaingap predict' looks for in videos.
    return FacePredictor(model, DetectorConfig(smallest_face=2 * MIN_FACE))


def _following(clip: Path, model: LandmarkModel) -> _Side:
    predictor = _predictor(model)

    def through(video: Video) -> Tally:
        tracker = Tracker(predictor)
        for frame in video.frames():
            tracker(frame.pixels, frame.time)
        return tracker.tally

    return _Side(clip, through)


def _detecting(clip: Path, model: LandmarkModel) -> _Side:
    predictor = _predictor(model)

    def through(video: Video) -> Tally:
        tally = Tally()
        for frame in video.frames():
            faces = predictor.predict(frame.pixels)
            tally.frames, tally.detections = tally.frames + 1, tally.detections + 1
            tally.faces, tally.with_face = tally.faces + len(faces), tally.with_face + bool(faces)
        return tally

    return _Side(clip, through)


def _case(
    case: str, ours: _Side, theirs: _Side, what: tuple[str, str], alternate: Alternate, seconds: float
) -> dict[str, Any]:
    time_ours, time_theirs = alternate(ours, theirs, seconds)
    n = ours.tally.frames
    if not ours.tally.with_face:
        raise UserError(
            f"{ours.clip}: no face found in {n} frames, so following one can't be measured; give another --video"
        )
    cores = float(np.median(ours.cores)), float(np.median(theirs.cores))
    if min(cores) < BUSY:
        console.print(f"{case}: other work took {100 * (1 - min(cores)):.0f}% of the core; measure again without it")
    return {
        "case": case,
        "pipeline": f"{what[0]}: {_told(ours.tally)}",
        "against": f"{what[1]}: {_told(theirs.tally)}",
        "images_per_s": n / time_ours,
        "images_per_s_against": n / time_theirs,
        "ratio": time_theirs / time_ours,
        "core_seconds_per_s": cores[0],
        "core_seconds_per_s_against": cores[1],
        "clip": ours.clip.name,
        "frames": n,
        "detections": ours.tally.detections,
        "with_face": ours.tally.with_face,
    }


def _told(tally: Tally) -> str:
    return f"{tally.frames} frames, {tally.with_face} with a face, detector asked {tally.detections} times"


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """What is called in it, threads that it starts among it, computes on one core, where the system can say so, and
    PyTorch and OpenCV in one thread."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if cores is not None:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if cores is not None:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


def untrained(folder: Path, backbone: str, size: int) -> Path:
    """The checkpoint of a network without training, which answers a mean face in the place that faces have in crops."""
    torch.manual_seed(0)
    crop = CropConfig(size)
    network = LandmarkRegressor(backbone, input_size=size)
    shape, _ = prior()
    # Where a crop shows a face: the box of a face leads to the crop, and so to the points in it.
    network.set_mean_shape(apply_transform(crop_transform(box_from_landmarks(shape), crop), shape))
    network.crop = crop
    folder.mkdir(parents=True)
    path = folder / "untrained.ckpt"
    save_network(network, path, seen=Seen())
    return path


def write_moving_face(path: Path, n: int) -> Path:
    """A clip of n frames, 480 x 360 px: a drawn face, about 130 px wide, that sways, turns and comes nearer, with a
    sensor's noise; Motion JPEG."""
    face = FaceGenerator("target", 5, Dials(1.0, 1.0, 1.0)).photograph(1, 512)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise UserError("OpenCV can't write a Motion JPEG clip here; give one with --video")
    rng = np.random.default_rng(0)
    low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
    centre = complex(*(low + high) / 2)
    side = float(np.sqrt(np.prod(high - low)))
    # Reduced to about its last size beforehand: warping doesn't smooth.
    picture: NDArray[Any] = cv2.GaussianBlur(cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR), (0, 0), 0.4 * side / 130)
    for i in range(n):
        t = 2 * np.pi * i / 50
        a = 130 * (1 + 0.1 * np.sin(t / 2)) / side * np.exp(0.15j * np.sin(t))
        b = complex(WIDTH / 2 + 30 * np.sin(t), HEIGHT / 2 + 12 * np.sin(2 * t)) - a * centre
        matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
        frame = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        writer.write(np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8))
    writer.release()
    return path
