"""``domaingap bench``: how well data keeps up with training, and how fast videos are, as ratios measured side by side."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import cv2
import numpy as np
import torch
from rich.table import Table

from domaingap.config import AugmentConfig, CropConfig, FitConfig
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.crops import crop_transform, cut_crop
from domaingap.data.faces import FaceDataset, PreparedFaces
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.prepare import prepare_part
from domaingap.data.readers import open_reader
from domaingap.data.sample import read_rgb
from domaingap.data.transforms import Augmenter
from domaingap.errors import UserError, trouble
from domaingap.hashing import write_json
from domaingap.inference.model import load_model
from domaingap.inference.sources import Video
from domaingap.paths import check_file
from domaingap.progress import console
from domaingap.training import resolve, train_loader
from experiments.commands.bench_memory import BATCH, memory_case, step_of

DOMAINS: tuple[Literal["synthetic", "target"], ...] = ("synthetic", "target")
TRAINING_CASES = (("resnet18", 128), ("mobilenetv3_small_100", 64))


def bench(
    data_root: Path | None,
    seconds: float,
    threads: int,
    out: Path | None,
    cases: str,
    run: Sequence[Path],
    video: Path | None,
    heads: Path | None,
) -> int:
    """Measure, print, and write the ratios."""
    if cases == "video" and heads is not None:
        raise UserError("--heads is of the cases of training; leave --cases video out")
    if cases == "training" and (run or video):
        raise UserError(f"{'--run' if run else '--video'} is of the cases of videos; leave --cases training out")
    if out is not None:
        check_file(out, "--out")
    if data_root is not None:
        open_reader("face_synthetics", data_root).records("all")
    for source in run:
        load_model(source)
    if video is not None:
        Video(video.name, path=video).open().close()
    torch.set_num_threads(threads)
    from domaingap.study.environment import hardware, versions
    from domaingap.study.tables import terminal

    title = f"{threads} threads (videos: one, on one core), {seconds:g} s per case, both sides alternating"
    table = Table(title=title, title_justify="left")
    for column in ("case", "with the pipeline", "against", "images/s", "images/s against", "ratio"):
        table.add_column(column, justify="right" if "images" in column or column == "ratio" else "left")
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        if cases != "video":
            measured += _data_cases(data_root, heads, Path(temporary), seconds)
        if cases != "training":
            from experiments.commands.bench_video import video_cases

            measured += video_cases(video, run, seconds, Path(temporary), partial(_alternate, block=1, first=1))
    for case in measured:
        table.add_row(
            case["case"],
            case["pipeline"],
            case["against"],
            f"{case['images_per_s']:.0f}",
            f"{case['images_per_s_against']:.0f}",
            f"{case['ratio']:.3f}",
        )
    terminal().print(table)
    if out is not None:
        pictures = "face_synthetics" if data_root is not None else "generated"
        try:
            write_json(
                out,
                {
                    "cases": measured,
                    "pictures": pictures,
                    "threads": threads,
                    "hardware": hardware(),
                    "versions": versions(),
                },
            )
        except OSError as error:
            raise UserError(trouble(error, "can't be written", "--out", out)) from error
        console.print(f"written to {out}")
    return 0


def _data_cases(data_root: Path | None, heads: Path | None, temporary: Path, seconds: float) -> list[dict[str, Any]]:
    photo_like = _photo_like(heads, temporary) if heads is not None else {}
    root = data_root if data_root is not None else write_pictures(temporary / "data")
    cases = []
    for backbone, size in TRAINING_CASES:
        console.print(f"training {backbone} at {size} px …")
        cases.append(_training_case(root, temporary, backbone, size, seconds))
    for backbone, size in TRAINING_CASES:
        console.print(f"training {backbone} at {size} px in huge pages of memory …")
        cases.append(memory_case(backbone, size, partial(_alternate, seconds=seconds)))
    console.print("pipeline against decoding …")
    cases.append(_decoding_case(root, temporary, seconds))
    for domain in DOMAINS:
        console.print(f"generating faces of the {domain} domain …")
        generator = FaceGenerator(domain, 0, Dials(1, 1, 1) if domain == "target" else Dials())
        cases.append(_generating_case(root, domain, generator, seconds))
    for name, head in photo_like.items():
        console.print(f"generating photo-like faces, {name} …")
        cases.append(_generating_case(root, name, head, seconds))
    return cases


def _photo_like(heads: Path, temporary: Path) -> dict[str, FaceGenerator]:
    """Generators of photo-like faces by name, from a folder that holds all three parts; UserError where one is missing."""
    from domaingap.data.generated.sets import generator_of

    model, albedo, light = (heads / name for name in ("ict_facekit", "valid_avatars", "hdris"))
    console.print("reading the models of photo-like faces …")
    return {
        "ict": generator_of("synthetic", 0, "ict", model, albedo, light, temporary),
        "avatars": generator_of("synthetic", 0, "avatars", albedo, None, light, temporary),
    }


def _training_case(root: Path, temporary: Path, backbone: str, size: int, seconds: float) -> dict[str, Any]:
    """The training step fed by the loader, against the same step fed one constant batch."""
    crop = CropConfig(size=size, box="landmarks")
    faces = _prepare(root, temporary, crop)
    dataset = FaceDataset(faces, np.arange(len(faces)), Augmenter(crop, AugmentConfig(), seed=0))
    fit = resolve(FitConfig(), len(dataset), backbone)
    assert fit.num_workers != "auto"
    step = step_of(backbone, size, fit.precision == "bf16")
    loader = iter(train_loader(dataset, BATCH, 0, 1_000_000, fit.num_workers))
    constant = next(loader)
    ours, theirs = _alternate(lambda: step(next(loader)), lambda: step(constant), seconds)
    return {
        "case": f"training {backbone}, {size} px, {fit.precision}",
        "pipeline": f"augmented crops, {fit.num_workers} loader processes",
        "against": "one constant batch",
        "images_per_s": BATCH / ours,
        "images_per_s_against": BATCH / theirs,
        "ratio": theirs / ours,
    }


def _decoding_case(root: Path, temporary: Path, seconds: float) -> dict[str, Any]:
    """Batches from prepared crops, against decoding and cropping the pictures for every batch; both augmented."""
    crop = CropConfig(box="landmarks")
    faces = _prepare(root, temporary, crop)
    dataset = FaceDataset(faces, np.arange(len(faces)), Augmenter(crop, AugmentConfig(), seed=0))
    reader = open_reader("face_synthetics", root)
    records = reader.records("all")
    samples = [reader.read(record) for record in records]
    landmarks = faces.crop_landmarks().astype(np.float32)
    augmenter = Augmenter(crop, AugmentConfig(), seed=0)

    def draws() -> Iterator[list[tuple[int, int, int]]]:
        step = 0
        while True:
            yield [(step, (step * BATCH + i) % len(faces), 0) for i in range(BATCH)]
            step += 1

    ours_draws, their_draws = draws(), draws()

    def prepared() -> None:
        dataset.__getitems__(next(ours_draws))

    def decoding() -> None:
        for step, i, repeat in next(their_draws):
            transform = crop_transform(box_from_landmarks(samples[i].landmarks), crop)
            augmenter(cut_crop(read_rgb(samples[i].image_path), transform, crop), landmarks[i], (step, i, repeat))

    ours, theirs = _alternate(prepared, decoding, seconds, block=2)
    width, height = read_rgb(samples[0].image_path).shape[1::-1]
    return {
        "case": f"pipeline alone, {crop.size} px",
        "pipeline": "prepared crops, augmented",
        "against": f"decoding {width} x {height} PNGs and cropping, augmented",
        "images_per_s": BATCH / ours,
        "images_per_s_against": BATCH / theirs,
        "ratio": theirs / ours,
    }


def _generating_case(root: Path, name: str, generator: FaceGenerator, seconds: float) -> dict[str, Any]:
    """Making faces in one process and thread, against decoding and cropping pictures of a rendered data set."""
    crop = CropConfig(box="landmarks", channels="rgb")
    reader = open_reader("face_synthetics", root)
    samples = [reader.read(record) for record in reader.records("all")]
    transforms = [crop_transform(box_from_landmarks(sample.landmarks), crop) for sample in samples]
    made, decoded = itertools.count(), itertools.count()

    def generate() -> None:
        generator.photograph(next(made), crop.size)

    def decode() -> None:
        i = next(decoded) % len(samples)
        cut_crop(read_rgb(samples[i].image_path), transforms[i], crop)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    ours, theirs = _alternate(generate, decode, seconds)
    cv2.setNumThreads(threads)
    width, height = read_rgb(samples[0].image_path).shape[1::-1]
    return {
        "case": f"generated faces, {name}, {crop.size} px",
        "pipeline": "faces made in one process, one thread",
        "against": f"decoding {width} x {height} PNGs and cropping",
        "images_per_s": 1 / ours,
        "images_per_s_against": 1 / theirs,
        "ratio": theirs / ours,
    }


def _alternate(
    ours: Callable[[], None], theirs: Callable[[], None], seconds: float, block: int = 10, first: int = 3
) -> tuple[float, float]:
    """Median seconds of a call of each, measured in alternating blocks so that a busy machine hits both alike.

    A block's mean is one measurement: a loader that fetches ahead can't hide work behind the other side for long. There are
    three blocks of each at least; those that begin when the time is up have a single call. The ``first`` calls of each
    aren't counted.
    """
    for call in (ours, theirs):
        for _ in range(first):
            call()
    times: dict[bool, list[float]] = {True: [], False: []}
    end = time.perf_counter() + seconds
    ahead = True
    while time.perf_counter() < end or len(times[False]) < 3:
        for which in (ahead, not ahead):
            call = ours if which else theirs
            begun = time.perf_counter()
            calls = block if begun < end else 1
            for _ in range(calls):
                call()
            times[which].append((time.perf_counter() - begun) / calls)
        ahead = not ahead
    return median(times[True]), median(times[False])


def _prepare(root: Path, temporary: Path, crop: CropConfig) -> PreparedFaces:
    reader = open_reader("face_synthetics", root)
    return PreparedFaces([prepare_part(reader, "all", crop, temporary / "prepared")])


def write_pictures(root: Path, n: int = 64, side: int = 512) -> Path:
    """Pictures of the size and about the entropy of renderings, with landmarks, in FaceSynthetics' layout."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = root / "face_synthetics"
    folder.mkdir(parents=True)
    angle = np.linspace(0, 2 * np.pi, 70, endpoint=False)
    for i in range(n):
        coarse = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
        noisy = (smooth + rng.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:06d}.png")
        centre, radius = rng.uniform(230, 280, 2), rng.uniform(80, 120)
        points = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        (folder / f"{i:06d}_ldmks.txt").write_text("\n".join(f"{x:.3f} {y:.3f}" for x, y in points))
    return root
