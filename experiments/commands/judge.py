"""``domaingap data judge``: an independent face detector's opinion of generated faces, beside that of photographs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from domaingap.config import Geometry
from domaingap.data.boxes import DETECTOR, FaceDetector, landmark_box
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.generated.sets import generator_of
from domaingap.data.readers import open_reader
from domaingap.data.sample import read_rgb
from domaingap.errors import DataError, UserError, trouble
from domaingap.hashing import write_json
from domaingap.landmarks import to_ibug68
from domaingap.parallel import spread, worker_count
from domaingap.paths import check_file
from domaingap.progress import track
from domaingap.statistics import wilson_interval
from domaingap.study.tables import terminal
from experiments.commands.generate import check_heads

PHOTOGRAPHS = ("300w", "helen")
"""The source, and what ``--real.parts`` calls the part of it, whose photographs generated faces are compared with."""
HELEN = PHOTOGRAPHS[1].upper()
OFFSETS = ("width", "height", "x", "y")


@dataclass(frozen=True)
class _Photograph:
    path: Path
    landmarks: NDArray[np.float64]


@dataclass(frozen=True)
class _Generated:
    generator: FaceGenerator
    index: int
    size: int


@dataclass(frozen=True)
class _Judged:
    """What the detector says of a face: whether it was found, and its box and the generator's beside the landmarks'."""

    found: bool
    detected: NDArray[np.float64]
    simulated: NDArray[np.float64] | None


def box_offsets(box: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    """A box [4] in units of the landmarks' tight box: ratios of width and height, and how far its centre lies right of
    and below the other's (in its widths and heights)."""
    tight = landmark_box(points)
    size, own = tight[2:] - tight[:2], box[2:] - box[:2]
    centre = ((box[:2] + box[2:]) - (tight[:2] + tight[2:])) / 2
    return np.concatenate([own / size, centre / size])


def judge(
    data_root: Path,
    n: int,
    size: int,
    seed: int,
    out: Path | None,
    workers: int | None,
    geometry: Geometry = "built-in",
    model: Path | None = None,
    albedo: Path | None = None,
    light: Path | None = None,
    population: Path | None = None,
    prepared_dir: Path = Path("prepared"),
    backgrounds: Path | None = None,
) -> int:
    """Run MTCNN on HELEN's photographs and on generated ones; print how many faces it finds, and where it puts boxes.

    Args:
        data_root: folder that holds the photographs' source.
        n: generated faces of each domain; in the target domain all gaps are 1.
        size: side of the generated pictures in pixels.
        seed: of the generated faces.
        out: JSON file for the figures.
        workers: processes; all cores by default.
        geometry: whose heads; with others than the built-in one it is the synthetic domain alone.
        model: folder of the avatars or of ICT-FaceKit.
        albedo: folder of the avatars whose colour maps ICT-FaceKit's heads get.
        light: folder of HDRIs.
        population: YAML file of who is drawn.
        prepared_dir: where compact copies of models are kept.
        backgrounds: folder of pictures that stand behind half of the faces.
    """
    if out is not None:
        check_file(out, "--out")
    people = check_heads(geometry, model, albedo, light, population, backgrounds)
    source, choice = PHOTOGRAPHS
    reader = open_reader(source, data_root)
    parts = [part for part in reader.source.choice(choice) if part in reader.parts()]
    if not parts:
        raise DataError(reader.root / choice, "no such folder", advice=f"the faces are compared with {HELEN}'s photographs")
    photographs = [reader.read(record) for part in parts for record in reader.records(part)]
    if geometry == "built-in":
        generators = {
            "synthetic": FaceGenerator("synthetic", seed),
            "target": FaceGenerator("target", seed, Dials(1.0, 1.0, 1.0)),
        }
    else:
        made = generator_of("synthetic", seed, geometry, model, albedo, light, prepared_dir, backgrounds, population=people)
        generators = {made.heads(): made}
    jobs: dict[str, Sequence[_Photograph | _Generated]] = {
        HELEN: [_Photograph(sample.image_path, sample.landmarks) for sample in photographs]
    }
    jobs |= {name: [_Generated(g, i, size) for i in range(n)] for name, g in generators.items()}
    for generator in generators.values():
        generator.photograph(0, size)  # compiles the renderer, whose code the processes then find on the disk
    every = [job for group in jobs.values() for job in group]
    answers = track(_judge_all(every, workers), len(every), "detecting faces")
    judged = {name: [next(answers) for _ in group] for name, group in jobs.items()}
    next(answers, None)  # ends the bar
    sets = {name: _summary(faces) for name, faces in judged.items()}
    for figures in sets.values():
        figures["points_from_helen"] = 100 * (figures["rate"] - sets[HELEN]["rate"])
    terminal().print(_table(sets))
    terminal().print(
        f"found: a detected box overlaps the one expected from the landmarks by {DETECTOR['min_iou']} at least "
        "(intersection over union). [ ]: 95% interval (Wilson). Boxes, over found faces: mean and standard deviation in "
        "units of the landmarks' tight box; x and y: how far its centre lies right of and below that box's."
    )
    if out is not None:
        try:
            write_json(out, {"n": n, "size": size, "seed": seed, "detector": DETECTOR, "sets": sets})
        except OSError as error:
            raise UserError(trouble(error, "can't be written", "--out", out)) from error
        terminal().print(f"figures: {out}")
    return 0


_detector: list[FaceDetector] = []


def _start_worker() -> None:
    import torch

    torch.set_num_threads(1)  # one process per core


def _judge_all(jobs: Sequence[_Photograph | _Generated], workers: int | None) -> Iterator[_Judged]:
    n_workers = worker_count(workers, len(jobs), 16)
    if n_workers == 1:
        yield from map(_judge_one, jobs)
    else:
        yield from spread(_judge_one, jobs, n_workers, _start_worker, ())


def _judge_one(face: _Photograph | _Generated) -> _Judged:
    simulated: NDArray[np.float64] | None = None
    if isinstance(face, _Photograph):
        image, points = read_rgb(face.path), face.landmarks
    else:
        made = face.generator.photograph(face.index, face.size)
        # Where the detector puts a box depends on the head, not on how people would label it.
        image, points = made.image, np.asarray(to_ibug68(made.landmarks_s), dtype=np.float64)
        simulated = box_offsets(made.box, points)
    if not _detector:
        _detector.append(FaceDetector())
    box, source = _detector[0].face_box(image, points)
    return _Judged(source == "mtcnn", box_offsets(box, points), simulated)


def _summary(faces: Sequence[_Judged]) -> dict[str, Any]:
    found = [face for face in faces if face.found]
    rate, low, high = wilson_interval(len(found), len(faces))
    figures: dict[str, Any] = {"faces": len(faces), "found": len(found), "rate": rate, "interval": (low, high)}
    figures["detected"] = _offsets([face.detected for face in found])
    if any(face.simulated is not None for face in faces):
        figures["simulated"] = _offsets([face.simulated for face in found if face.simulated is not None])
    return figures


def _offsets(values: Sequence[NDArray[np.float64]]) -> dict[str, dict[str, float]] | None:
    """Mean and standard deviation by name; None where there is no box."""
    if not values:
        return None
    means, deviations = np.mean(values, axis=0), np.std(values, axis=0)
    return {name: {"mean": float(means[i]), "sd": float(deviations[i])} for i, name in enumerate(OFFSETS)}


def _table(sets: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="MTCNN on photographs and on generated faces", title_justify="left")
    for column in ("faces", "n", "found %", "from HELEN", "boxes", *OFFSETS):
        table.add_column(column, justify="left" if column in ("faces", "boxes") else "right")
    for name, figures in sets.items():
        low, high = figures["interval"]
        start = [
            name,
            str(figures["faces"]),
            f"{100 * figures['rate']:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
            f"{figures['points_from_helen']:+.1f} points" if name != HELEN else "",
        ]
        for kind in ("detected", "simulated"):
            if kind in figures:
                offsets = figures[kind]
                signs = {"x": "+", "y": "+"}
                cells = [
                    f"{offsets[o]['mean']:{signs.get(o, '')}.3f} ± {offsets[o]['sd']:.3f}" if offsets else "-"
                    for o in OFFSETS
                ]
                table.add_row(*start, kind, *cells)
                start = [""] * len(start)
    return table
