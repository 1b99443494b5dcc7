"""Crops prepared once on disk and memory-mapped after that; found again by content.

Layout below the prepared folder, one pair per part of a data set::

    <source>/<part>/boxes-<key>.jsonl     detected boxes by image content; shared by all crop sizes
    <source>/<part>/crops-<key>/crops.npy   [N, S, S] or [N, S, S, 3] uint8
                               /index.npz   names, photographs, landmarks, transforms, boxes
                               /meta.json   written last: no meta.json, not finished

Generated faces lie there likewise, without boxes-<key>.jsonl, and with more labels in index.npz.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.config import CropConfig
from domaingap.data.boxes import DETECTOR, BoxSource, FaceDetector, box_from_landmarks
from domaingap.data.crops import crop_transform, cut_crop
from domaingap.data.generated.face import PHOTO_SIZE
from domaingap.data.readers import FaceSource, Reader, Record
from domaingap.data.readers.generated import GeneratedReader
from domaingap.data.render import FACE, render_crops
from domaingap.data.sample import read_rgb
from domaingap.errors import DataError, UserError
from domaingap.hashing import content_key, digest, write_json
from domaingap.landmarks import to_ibug68
from domaingap.parallel import spread, worker_count
from domaingap.progress import console, track

FORMAT = 1
"""Raised when the same input would be prepared differently."""


@dataclass(frozen=True)
class PreparedPart:
    """One part of a data set as crops on disk; arrays are loaded when asked for."""

    folder: Path
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.meta["part"])

    def crops(self) -> NDArray[np.uint8]:
        """The stored crops, memory-mapped."""
        return np.load(self.folder / "crops.npy", mmap_mode="r")  # type: ignore[no-any-return]

    def index(self) -> dict[str, NDArray[Any]]:
        with np.load(self.folder / "index.npz") as arrays:
            return dict(arrays)


def prepare_part(
    reader: FaceSource,
    part: str,
    crop: CropConfig,
    prepared_dir: Path | str,
    workers: int | None = None,
) -> PreparedPart:
    """The part's crops, made now where they aren't there yet; goes on where a killed call stopped.

    Args:
        reader: the data set.
        part: one of its parts.
        crop: how faces are cut out.
        prepared_dir: where prepared parts are kept.
        workers: processes; all cores by default.

    Raises:
        DataError: files that can't be read. All others are prepared first, so that a second call only needs those.
    """
    if isinstance(reader, GeneratedReader):
        return _prepare_generated(reader, part, crop, Path(prepared_dir), workers)
    assert isinstance(reader, Reader)
    records = reader.records(part)
    base = Path(prepared_dir) / reader.source.name / part.replace("/", "-")
    files = _files_key(records)
    key = content_key([FORMAT, reader.source.name, part, files, asdict(crop), DETECTOR if crop.box == "mtcnn" else None])
    folder = base / f"crops-{key}"
    if (folder / "meta.json").is_file():
        return open_part(folder)
    _make_folder(folder)
    boxes_file = base / f"boxes-{content_key([FORMAT, DETECTOR])}.jsonl"
    # All annotations first: a malformed one is found in seconds, not after an hour of detection.
    landmarks = reader.landmarks(part)
    rows = _prepare_rows(reader, part, records, landmarks, crop, folder, boxes_file, workers)
    return _finish(reader, part, records, landmarks, rows, crop, folder)


def _prepare_generated(
    reader: GeneratedReader, part: str, crop: CropConfig, prepared_dir: Path, workers: int | None
) -> PreparedPart:
    """The part's faces made straight into crops: their identity is what they are made from, as there are no files."""
    numbers, generator = reader.numbers(part), reader.generator
    identity = [FORMAT, reader.source.name, part, generator.key(), numbers.start, len(numbers)]
    folder = prepared_dir / reader.source.name / part / f"crops-{content_key([*identity, asdict(crop)])}"
    if (folder / "meta.json").is_file():
        return open_part(folder)
    _make_folder(folder)
    faces = render_crops(reader, part, crop, folder, workers)
    names = np.array(reader.names(part))
    box_source: BoxSource = "generated" if crop.box == "mtcnn" else "landmarks"
    more: dict[str, Any] = {name: faces[name] for name in FACE.names or () if name not in ("landmarks", "box", "done")}
    np.savez(
        folder / "index.npz",
        names=names,
        photographs=names,
        landmarks=to_ibug68(faces["landmarks"]),
        boxes=faces["box"],
        box_sources=np.full(len(faces), box_source),
        image_to_crop=np.stack([crop_transform(box, crop) for box in faces["box"]]),
        image_sizes=np.full((len(faces), 2), PHOTO_SIZE),
        **more,
    )
    write_json(
        folder / "meta.json",
        {
            **_describe(reader, part, crop),
            "fingerprint": content_key([*identity, box_source]),
            "box_sources": {box_source: len(faces)},
            "generator": {"domain": generator.domain, "seed": generator.seed, "dials": asdict(generator.dials)},
        },
    )
    (folder / "faces.npy").unlink(missing_ok=True)
    return open_part(folder)


def _describe(reader: FaceSource, part: str, crop: CropConfig) -> dict[str, Any]:
    """What every part's meta.json says, whether its faces were read or made."""
    count = reader.count(part)
    return {
        "format": FORMAT,
        "source": reader.source.name,
        "part": part,
        "domain": reader.source.role,
        "n_faces": count.found,
        "n_published": count.published,
        "partial": count.partial,
        "skipped": count.skipped,
        "crop": asdict(crop),
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be written ({error.strerror}); choose another --prepared_dir") from error


def open_part(folder: Path) -> PreparedPart:
    """A finished part, or UserError where its files are damaged."""
    try:
        return PreparedPart(folder, json.loads((folder / "meta.json").read_text()))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: prepared crops are damaged ({error}); delete this folder and prepare again") from error


def _files_key(records: list[Record]) -> str:
    """What the files are, without decoding a picture: names, image sizes in bytes, annotations' content."""

    def chunks() -> Iterator[bytes]:
        for record in records:
            try:
                size = record.image_path.stat().st_size
                annotation = record.annotation_path.read_bytes()
            except OSError as error:
                raise DataError(error.filename, f"can't be read ({error.strerror})") from error
            yield f"{record.name}\n{record.photograph}\n{size}\n".encode() + annotation

    return digest(chunks())


@dataclass(frozen=True)
class _Job:
    index: int
    record: Record
    landmarks: NDArray[np.float64]


_worker_state: dict[str, Any] = {}


def _start_worker(crops_file: Path, crop: CropConfig, boxes: dict[str, Any]) -> None:
    _worker_state.update(crops=np.load(crops_file, mmap_mode="r+"), crop=crop, boxes=boxes, detector=None)


def _start_pool_worker(crops_file: Path, crop: CropConfig, boxes: dict[str, Any]) -> None:
    if crop.box == "mtcnn":
        import torch

        torch.set_num_threads(1)  # one process per core; never in the caller's process, which trains afterwards
    _start_worker(crops_file, crop, boxes)


def _box(image: NDArray[np.uint8], sha: str, job: _Job, crop: CropConfig) -> tuple[NDArray[np.float64], BoxSource]:
    if crop.box == "landmarks":
        return box_from_landmarks(job.landmarks), "landmarks"
    known = _worker_state["boxes"].get(f"{job.record.name} {sha}")
    if known is not None:
        return np.array(known["box"]), known["source"]
    if _worker_state["detector"] is None:
        _worker_state["detector"] = FaceDetector()
    box, source = _worker_state["detector"].face_box(image, job.landmarks)
    return box, source


def _prepare_one(job: _Job) -> dict[str, Any]:
    crop: CropConfig = _worker_state["crop"]
    try:
        image = read_rgb(job.record.image_path)
    except DataError as error:
        return {"i": job.index, "error": str(error)}
    sha = hashlib.sha256(job.record.image_path.read_bytes()).hexdigest()[:16]
    box, source = _box(image, sha, job, crop)
    transform = crop_transform(box, crop)
    _worker_state["crops"][job.index] = cut_crop(image, transform, crop)
    return {
        "i": job.index,
        "name": job.record.name,
        "sha": sha,
        "box": box.tolist(),
        "source": source,
        "size": [image.shape[1], image.shape[0]],
    }


def _prepare_rows(
    reader: Reader,
    part: str,
    records: list[Record],
    landmarks: NDArray[np.float64],
    crop: CropConfig,
    folder: Path,
    boxes_file: Path,
    workers: int | None,
) -> dict[int, dict[str, Any]]:
    """Cut every crop that isn't cut yet; returns the description of each by its index."""
    rows_file, crops_file = folder / "rows.jsonl", folder / "crops.npy"
    if not crops_file.is_file():
        rows_file.unlink(missing_ok=True)
        shape = (len(records), crop.stored_size, crop.stored_size, *((3,) if crop.channels == "rgb" else ()))
        temporary = folder / ".crops.tmp.npy"
        np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape).flush()
        os.replace(temporary, crops_file)
    rows = {row["i"]: row for row in _read_lines(rows_file)}
    boxes = {f"{row['name']} {row['sha']}": row for row in _read_lines(boxes_file)} if crop.box == "mtcnn" else {}
    jobs = [_Job(i, record, landmarks[i]) for i, record in enumerate(records) if i not in rows]
    if rows and jobs:
        console.print(f"{reader.source.name} {part}: {len(rows)} of {len(records)} crops are there already, going on")
    n_workers = worker_count(workers, len(jobs), 16)
    errors = []
    with open(rows_file, "a", encoding="utf-8") as rows_out, open(boxes_file, "a", encoding="utf-8") as boxes_out:
        results = _run(jobs, n_workers, (crops_file, crop, boxes))
        for row in track(results, len(jobs), f"preparing {reader.source.name} {part}"):
            if "error" in row:
                errors.append(row["error"])
                continue
            rows[row["i"]] = row
            rows_out.write(json.dumps(row) + "\n")
            rows_out.flush()
            if crop.box == "mtcnn" and f"{row['name']} {row['sha']}" not in boxes:
                boxes_out.write(json.dumps({key: row[key] for key in ("name", "sha", "box", "source")}) + "\n")
                boxes_out.flush()
    if errors:
        more = f" (and {len(errors) - 1} more files like it)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}; the other {len(rows)} faces of {part} are prepared")
    return rows


def _run(jobs: list[_Job], n_workers: int, state: tuple[Path, CropConfig, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if n_workers == 1:
        _start_worker(*state)
        yield from map(_prepare_one, jobs)
        _worker_state.clear()
        return
    yield from spread(_prepare_one, jobs, n_workers, _start_pool_worker, state)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; the last may be cut off by a kill and is then left out, and overwritten."""
    if not path.is_file():
        return []
    rows, whole = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
            whole.append(line)
        except ValueError:
            break
    path.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    return rows


def _finish(
    reader: Reader,
    part: str,
    records: list[Record],
    landmarks: NDArray[np.float64],
    rows: dict[int, dict[str, Any]],
    crop: CropConfig,
    folder: Path,
) -> PreparedPart:
    ordered = [rows[i] for i in range(len(records))]
    boxes = np.array([row["box"] for row in ordered])
    # Equal files are one photograph, whatever their names (the private set has 600 faces in 399 pictures).
    photograph_of: dict[str, str] = {}
    for record, row in zip(records, ordered, strict=True):
        photograph_of.setdefault(row["sha"], record.photograph)
    np.savez(
        folder / "index.npz",
        names=np.array([record.name for record in records]),
        photographs=np.array([photograph_of[row["sha"]] for row in ordered]),
        landmarks=landmarks,
        boxes=boxes,
        box_sources=np.array([row["source"] for row in ordered]),
        image_to_crop=np.stack([crop_transform(box, crop) for box in boxes]),
        image_sizes=np.array([row["size"] for row in ordered]),
    )
    write_json(
        folder / "meta.json",
        {
            **_describe(reader, part, crop),
            "fingerprint": digest(
                f"{row['name']} {row['sha']} ".encode() + points.tobytes() + np.asarray(row["box"]).tobytes()
                for row, points in zip(ordered, landmarks, strict=True)
            ),
            "box_sources": dict(Counter(row["source"] for row in ordered)),
        },
    )
    (folder / "rows.jsonl").unlink(missing_ok=True)
    return open_part(folder)
