"""Crops prepared once on disk and memory-mapped after that; found again by content.

Layout below the prepared folder, for each part of a data set::

    <source>/<part>/boxes-<key>.jsonl     detected boxes by image content; shared by all crop sizes
    <source>/<part>/seen.jsonl            which state of the files (sizes, times) has which content, and what is passed over
    <source>/<part>/crops-<key>/crops.npy   [N, S, S] or [N, S, S, 3] uint8
                               /index.npz   names, photographs, pictures, landmarks, transforms, boxes
                               /manifest.json   written last, see domaingap.store

Generated faces lie there likewise, as crops-<key> alone, and with more labels in index.npz.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from domaingap.archives import read_arrays
from domaingap.arrays import Rows, empty_array
from domaingap.config import CropConfig
from domaingap.data.boxes import DETECTOR, BoxSource, FaceDetector, box_from_landmarks, face_key, picture_key
from domaingap.data.crops import crop_transform, cut_crop
from domaingap.data.files import PICTURE_BYTES, TEXT_BYTES, hash_file, read_bytes
from domaingap.data.generated.face import PHOTO_SIZE
from domaingap.data.images import picture_size, read_picture, turned_size
from domaingap.data.readers import FaceSource, Reader, Record
from domaingap.data.readers.generated import GeneratedReader
from domaingap.data.render import FACE, render_crops
from domaingap.data.sanity import annotation_fault
from domaingap.errors import DataError, UserError, printable
from domaingap.hashing import append_line, content_key, digest, read_lines, write_archive
from domaingap.landmarks import to_ibug68
from domaingap.parallel import available_cores, spread, worker_count
from domaingap.progress import console, track
from domaingap.provenance import Terms
from domaingap.store import MANIFEST, Store

FORMAT = 3
"""Raised when the same input would be prepared differently; part of every fingerprint."""

_BOXES = 2  # Raised when the detector would be asked differently: boxes outlive other changes, since they take hours.

MOST_PIXELS = 1e6
"""No side of a picture has as many, and no face lies as far outside."""


@dataclass(frozen=True)
class PreparedPart:
    """One part of a data set as crops on disk; arrays are loaded when asked for."""

    folder: Path
    meta: dict[str, Any]
    terms: frozenset[Terms] = frozenset()

    @property
    def name(self) -> str:
        return str(self.meta["part"])

    def crops(self) -> NDArray[np.uint8]:
        """The stored crops, memory-mapped; UserError where they can't be."""
        path, crop = self.folder / "crops.npy", CropConfig(**self.meta["crop"])
        crops = map_crops(path, crop)
        if crops is None:
            raise UserError(f"{path}: can't be mapped as {crop.size} px {crop.channels} crops; {ANEW}")
        return crops

    def index(self) -> dict[str, NDArray[Any]]:
        """The part's table: an array of N for each column; UserError where it is damaged."""
        path = self.folder / "index.npz"
        arrays = read_arrays(path, "a prepared part", ANEW)
        n = len(arrays["names"]) if "names" in arrays and arrays["names"].ndim else 0
        for name, (kinds, shape) in COLUMNS.items():
            column = arrays.get(name)
            right = column is not None and column.dtype.kind in kinds and column.shape == (n, *shape) and n > 0
            if not right or (kinds == "f" and not np.isfinite(arrays[name]).all()):
                raise UserError(f"{path}: can't be read as a prepared part ({name} is missing or damaged); {ANEW}")
        return arrays


ANEW = "delete its folder and give the command again to make it anew"
COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "names": ("U", ()), "photographs": ("U", ()), "pictures": ("U", ()), "box_sources": ("U", ()),
    "landmarks": ("f", (68, 2)), "image_to_crop": ("f", (2, 3)), "boxes": ("f", (4,)), "image_sizes": ("iu", (2,)),
}  # fmt: skip
"""Of each column of ``index.npz``: NumPy's kinds of its type, and its shape behind N."""


def map_crops(path: Path, crop: CropConfig, n: int | None = None) -> NDArray[np.uint8] | None:
    """The stored crops of ``n`` faces, or of any number, memory-mapped; None where the file isn't that."""
    try:
        crops: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except Exception:  # whatever NumPy makes of foreign bytes
        return None
    found = n if n is not None else len(crops) if crops.ndim else 0
    return crops if crops.dtype == np.uint8 and crops.shape == stored_shape(found, crop) else None


def stored_shape(n: int, crop: CropConfig) -> tuple[int, ...]:
    """Shape of the stored crops of ``n`` faces."""
    return (n, crop.stored_size, crop.stored_size, *((3,) if crop.channels == "rgb" else ()))


def boxes_file(place: Path) -> Path:
    """Where the detected boxes of a part are kept, below its folder among the prepared ones."""
    return place / f"boxes-{content_key([_BOXES, DETECTOR])}.jsonl"


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
    store, place = Store(prepared_dir, "--prepared_dir"), f"{reader.source.name}/{part.replace('/', '-')}"
    skipped: dict[str, int] = {}
    identity: dict[str, Any] = {"format": FORMAT, "source": reader.source.name, "part": part, "crop": asdict(crop)}
    if isinstance(reader, GeneratedReader):
        numbers = reader.numbers(part)
        identity |= {"generator": reader.generator.key(), "first": numbers.start, "n": len(numbers)}
    else:
        assert isinstance(reader, Reader)
        contents, skipped = _contents(reader, part, store, place)
        identity |= {"contents": contents, "detector": DETECTOR if crop.box == "mtcnn" else None}

    def build(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
        if isinstance(reader, GeneratedReader):
            made = _generate(reader, part, crop, folder, identity, workers)
        else:
            made = _cut(reader, part, crop, folder, store.root / place, workers)
        n = made.pop("n_faces", None) or reader.count(part).found
        published = reader.source.published(part, n)
        return {
            "source": reader.source.name,
            "part": part,
            "n_faces": n,
            "n_published": published,
            "partial": published is not None and n < published,
            "skipped": {},
            "doubts": {},
            "left_out": {},
            "crop": asdict(crop),
            **made,
        }

    # One lock for all crops of a part: they share detected boxes.
    entry = store.get(f"{place}/crops", identity, build, f"{reader.source.name} {part}", lock=place)
    # What is passed over can change while the faces stay the same.
    left_out: dict[str, str] = entry.record["left_out"]
    _say(f"{reader.source.name} {part}", entry.folder, left_out)
    record = {**entry.record, "skipped": {**skipped, **Counter(left_out.values())}}
    return PreparedPart(entry.folder, record, reader.terms())


_said: set[Path] = set()


def _say(name: str, folder: Path, left_out: dict[str, str]) -> None:
    """Name the faces that are left out, once a process."""
    if left_out and folder not in _said:
        _said.add(folder)
        first = ", ".join(f"{face} ({why})" for face, why in list(left_out.items())[:3])
        more = f" and {len(left_out) - 3} more, named in {folder / MANIFEST}" if len(left_out) > 3 else ""
        console.print(f"warning: {name}: left out, since they can't be used: {printable(first)}{more}", markup=False)


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(number) is int for number in value.values())


def _contents(reader: Reader, part: str, store: Store, place: str) -> tuple[str, dict[str, int]]:
    """Identity of a part's files by content, and what was passed over beside them.

    Files are read where sizes or times are new, folders where a folder's time is; ``seen.jsonl`` keeps what is known.
    """
    seen, signatures = store.root / place / "seen.jsonl", reader.signatures(part)
    contents = None
    for line in read_lines(seen, {"state": str, "contents": str}):
        if line["state"] == signatures.files:
            contents = str(line["contents"])
            if line.get("folders") == signatures.folders and _are_counts(line.get("skipped")):
                return contents, line["skipped"]

    errors: list[DataError] = []

    def content(record: Record) -> bytes:
        try:
            picture = hash_file(record.image_path, PICTURE_BYTES)
            return (
                f"{record.name}\n{record.photograph}\n".encode() + picture + read_bytes(record.annotation_path, TEXT_BYTES)
            )
        except DataError as error:
            errors.append(error)
            return b""

    records = reader.records(part)
    if contents is None:
        with ThreadPoolExecutor(available_cores()) as pool:
            try:
                looked = track(pool.map(content, records), len(records), f"looking at {reader.source.name} {part}")
                contents = digest(looked)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # interrupted: the files that wait aren't read
                raise
        if errors:
            raise DataError.first_of(sorted(errors, key=str))
    skipped = reader.count(part).skipped
    store.make(seen.parent)
    line = {"state": signatures.files, "folders": signatures.folders, "contents": contents, "skipped": skipped}
    with store.named(seen.parent):
        append_line(seen, line)
    return contents, skipped


def _generate(
    reader: GeneratedReader, part: str, crop: CropConfig, folder: Path, identity: dict[str, Any], workers: int | None
) -> dict[str, Any]:
    """The part's faces made straight into crops: their identity is what they are made from, as there are no files."""
    generator = reader.generator
    faces = render_crops(reader, part, crop, folder, workers)
    names = np.array(reader.names(part))
    box_source: BoxSource = "generated" if crop.box == "mtcnn" else "landmarks"
    landmarks = to_ibug68(faces["landmarks"])
    faults = [(name, why) for name, points in zip(names, landmarks, strict=True) if (why := annotation_fault(points))]
    if faults:  # of a geometry of the user's own: none of ours has any
        where, advice = f"{reader.where} {part}, face {faults[0][0]}", "look at the geometry's landmarks"
        raise DataError(where, faults[0][1], advice=advice, more=len(faults) - 1)
    more: dict[str, Any] = {name: faces[name] for name in FACE.names or () if name not in ("landmarks", "box", "done")}
    _save_index(
        folder,
        names=names,
        photographs=names,
        pictures=names,
        landmarks=landmarks,
        boxes=faces["box"],
        box_sources=np.full(len(faces), box_source),
        image_to_crop=np.stack([crop_transform(box, crop) for box in faces["box"]]),
        image_sizes=np.full((len(faces), 2), PHOTO_SIZE),
        **more,
    )
    (folder / "faces.npy").unlink(missing_ok=True)
    faces_identity = {key: value for key, value in identity.items() if key != "crop"}
    return {
        "fingerprint": content_key({**faces_identity, "boxes": box_source}),
        "box_sources": {box_source: len(faces)},
        "generator": {"domain": generator.domain, "seed": generator.seed, "dials": asdict(generator.dials)},
    }


def _cut(reader: Reader, part: str, crop: CropConfig, folder: Path, place: Path, workers: int | None) -> dict[str, Any]:
    """The part's faces found and cut out."""
    records = reader.records(part)
    # All annotations first: a malformed one is found in seconds, not after an hour of detection.
    landmarks = reader.landmarks(part)
    doubts = Counter(reader.doubts)
    left_out = _unusable(reader, part, records, landmarks)
    usable = [i for i, record in enumerate(records) if record.name not in left_out]
    if not usable:
        reasons = ", ".join(f"{n} {why}" for why, n in Counter(left_out.values()).items())
        raise DataError(reader.part_folder(part), f"none of its {len(records)} faces can be used ({reasons})")
    records, landmarks = [records[i] for i in usable], landmarks[usable]
    rows = _prepare_rows(reader, part, records, landmarks, crop, folder, boxes_file(place), workers)
    boxes = np.array([row["box"] for row in rows])
    _save_index(
        folder,
        names=np.array([record.name for record in records]),
        photographs=np.array([record.photograph for record in records]),
        pictures=np.array([row["picture"] for row in rows]),
        landmarks=landmarks,
        boxes=boxes,
        box_sources=np.array([row["source"] for row in rows]),
        image_to_crop=np.stack([crop_transform(box, crop) for box in boxes]),
        image_sizes=np.array([row["size"] for row in rows]),
    )
    (folder / "rows.jsonl").unlink(missing_ok=True)
    contents = (
        f"{row['name']} {row['picture']} ".encode() + points.tobytes() + np.asarray(row["box"]).tobytes()
        for row, points in zip(rows, landmarks, strict=True)
    )
    return {
        "fingerprint": digest([str(FORMAT).encode(), *contents]),
        "box_sources": dict(Counter(row["source"] for row in rows)),
        "doubts": dict(doubts + Counter(doubt for row in rows for doubt in row["doubts"])),
        "n_faces": len(records),
        "left_out": left_out,
    }


def _save_index(folder: Path, **arrays: Any) -> None:
    write_archive(folder / "index.npz", lambda file: np.savez(file, **arrays))


def _unusable(reader: Reader, part: str, records: list[Record], landmarks: NDArray[np.float64]) -> dict[str, str]:
    """The faces whose annotation can't be that of a face in their picture, by name, and why."""

    def fault(record: Record, points: NDArray[np.float64]) -> str | None:
        try:
            size = picture_size(record.image_path)
        except DataError:  # said where it is decoded, when all others are prepared
            return annotation_fault(points)
        why = annotation_fault(points, size)
        if why is not None and annotation_fault(points) is None:
            turned = turned_size(record.image_path)
            if turned is not None and annotation_fault(points, turned) is None:
                return "annotation fits its picture only as EXIF turns it"
        return why

    faults = list(track(map(fault, records, landmarks), len(records), f"checking {reader.source.name} {part}"))
    return {record.name: why for record, why in zip(records, faults, strict=True) if why is not None}


BOX: dict[str, type] = {"face": str, "box": list, "source": str}
ROW: dict[str, type] = {**BOX, "i": int, "crop": int, "name": str, "picture": str, "size": list, "doubts": list}
"""What a line says of a detected box, and of a face that was cut out."""


def _is_boxed(row: dict[str, Any]) -> bool:
    """Whether a line has a box, and a size where it has one at all."""
    numbers = [*row["box"], *row.get("size", ())]
    return (
        len(row["box"]) == 4
        and len(row.get("size", (0, 0))) == 2
        and all(type(number) in (int, float) and abs(number) < MOST_PIXELS for number in numbers)
        and row["source"] in get_args(BoxSource)
        and all(isinstance(doubt, str) for doubt in row.get("doubts", ()))
    )


def _checksum(crop: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(crop).tobytes())


@dataclass(frozen=True)
class _Job:
    index: int
    record: Record
    landmarks: NDArray[np.float64]


_worker_state: dict[str, Any] = {}


def _start_worker(crops_file: Path, crop: CropConfig, boxes: dict[str, Any]) -> None:
    _worker_state.update(crops=Rows(crops_file), crop=crop, boxes=boxes, detector=None)


def _start_pool_worker(crops_file: Path, crop: CropConfig, boxes: dict[str, Any]) -> None:
    if crop.box == "mtcnn":
        import torch

        torch.set_num_threads(1)  # one process per core; never in the caller's process, which trains afterwards
    _start_worker(crops_file, crop, boxes)


def _box(image: NDArray[np.uint8], face: str, job: _Job, crop: CropConfig) -> tuple[NDArray[np.float64], BoxSource]:
    if crop.box == "landmarks":
        return box_from_landmarks(job.landmarks), "landmarks"
    known = _worker_state["boxes"].get(face)
    if known is not None:
        return np.array(known["box"]), known["source"]
    if _worker_state["detector"] is None:
        _worker_state["detector"] = FaceDetector()
    box, source = _worker_state["detector"].face_box(image, job.landmarks)
    return box, source


def _prepare_one(job: _Job) -> dict[str, Any]:
    crop: CropConfig = _worker_state["crop"]
    try:
        read = read_picture(job.record.image_path)
    except DataError as error:
        return {"i": job.index, "error": str(error)}
    image = read.pixels
    picture = picture_key(image)
    face = face_key(picture, job.landmarks)
    box, source = _box(image, face, job, crop)
    transform = crop_transform(box, crop)
    cut = cut_crop(image, transform, crop)
    _worker_state["crops"][job.index] = cut
    return {
        "i": job.index,
        "crop": _checksum(cut),
        "name": job.record.name,
        "picture": picture,
        "face": face,
        "box": box.tolist(),
        "source": source,
        "size": [image.shape[1], image.shape[0]],
        "doubts": read.doubts,
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
) -> list[dict[str, Any]]:
    """Cut every crop that isn't cut yet; returns the description of each, in order."""
    rows_file, crops_file = folder / "rows.jsonl", folder / "crops.npy"
    if not crops_file.is_file() or map_crops(crops_file, crop, len(records)) is None:
        rows_file.unlink(missing_ok=True)
        empty_array(crops_file, stored_shape(len(records), crop), np.uint8)
    # Another time a picture that couldn't be looked at may have been left out.
    names = dict(enumerate(record.name for record in records))
    rows = {row["i"]: row for row in read_lines(rows_file, ROW) if row["name"] == names.get(row["i"]) and _is_boxed(row)}
    if rows:
        # After a power cut a line may be on the disk without its crop.
        crops = np.load(crops_file, mmap_mode="r")
        rows = {i: row for i, row in rows.items() if _checksum(crops[i]) == row["crop"]}
    boxes = {row["face"]: row for row in read_lines(boxes_file, BOX) if _is_boxed(row)} if crop.box == "mtcnn" else {}
    jobs = [_Job(i, record, landmarks[i]) for i, record in enumerate(records) if i not in rows]
    name = f"{reader.source.name} {part}"
    if rows and jobs:
        console.print(f"{name}: {len(rows)} of {len(records)} crops are there already, going on")
    errors = []
    results = _run(jobs, worker_count(workers, len(jobs), 16), (crops_file, crop, boxes))
    for row in track(results, len(jobs), f"preparing {name}"):
        if "error" in row:
            errors.append(row["error"])
            continue
        rows[row["i"]] = row
        append_line(rows_file, row)
        if crop.box == "mtcnn" and row["face"] not in boxes:
            append_line(boxes_file, {key: row[key] for key in ("face", "box", "source")})
    if errors:
        more = f" (and {len(errors) - 1} more files like it)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0]}{more}; the other {len(rows)} faces of {part} are prepared")
    return [rows[i] for i in range(len(records))]


def _run(jobs: list[_Job], n_workers: int, state: tuple[Path, CropConfig, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if n_workers == 1:
        _start_worker(*state)
        yield from map(_prepare_one, jobs)
        _worker_state.clear()
        return
    yield from spread(_prepare_one, jobs, n_workers, _start_pool_worker, state)
