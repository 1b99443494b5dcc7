"""Generated faces in bulk: over processes, resumable, into prepared crops or into files in FaceSynthetics' layout."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from domaingap.arrays import Rows, empty_array
from domaingap.config import CropConfig
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.croissant import CROISSANT, croissant
from domaingap.data.crops import crop_transform, cut_crop
from domaingap.data.generated import FaceGenerator, GeneratedFace
from domaingap.data.readers.generated import MARKER, SPECIFICATION, GeneratedReader
from domaingap.errors import STORAGE, StorageError, UserError, trouble
from domaingap.hashing import naming, write_archive, write_json
from domaingap.landmarks import to_ibug68
from domaingap.parallel import spread, worker_count
from domaingap.progress import console, track
from domaingap.provenance import plain_terms
from domaingap.store import locked

FACE = np.dtype(
    [
        ("landmarks", "f8", (70, 2)),
        ("landmarks_s", "f8", (70, 2)),
        ("landmarks_r", "f8", (70, 2)),
        ("landmarks_r_exact", "f8", (70, 2)),
        ("visible", "?", (70,)),
        ("pose", "f8", (3,)),
        ("box", "f8", (4,)),
        ("done", "u4"),
    ]
)
"""What is kept of a face beside its picture; ``done`` is a checksum of both, 0 before it is made."""

_worker_state: dict[str, Any] = {}


def _start(*state: Any) -> None:
    _worker_state.clear()
    _worker_state["state"] = state


def _start_in_pool(*state: Any) -> None:
    cv2.setNumThreads(1)  # one process per core
    _start(*state)


def _workers(workers: int | None, jobs: int) -> int:
    return worker_count(workers, jobs, 100)


def _run(function: Any, jobs: Sequence[Any], workers: int | None, state: tuple[Any, ...]) -> Iterator[Any]:
    n_workers = _workers(workers, len(jobs))
    if n_workers == 1:
        _start(*state)
        yield from map(function, jobs)
        _worker_state.clear()
        return
    yield from spread(function, jobs, n_workers, _start_in_pool, state)


def face_for_crop(generator: FaceGenerator, index: int, crop: CropConfig) -> GeneratedFace:
    """A face whose picture is the stored crop, and whose box is the one that the crop's rule asks for."""
    if crop.box == "mtcnn":
        return generator.crop(index, crop)
    face = generator.photograph(index)
    box = box_from_landmarks(to_ibug68(face.landmarks))
    return replace(face, image=cut_crop(face.image, crop_transform(box, crop), crop), box=box)


def render_crops(
    reader: GeneratedReader, part: str, crop: CropConfig, folder: Path, workers: int | None
) -> NDArray[np.void]:
    """Make every crop of a part that isn't in ``folder/crops.npy`` yet; what else is known of its faces, [N] of FACE."""
    numbers = reader.numbers(part)
    crops_file, faces_file = folder / "crops.npy", folder / "faces.npy"
    if not (crops_file.is_file() and faces_file.is_file() and np.load(faces_file, mmap_mode="r").dtype == FACE):
        shape = (len(numbers), crop.stored_size, crop.stored_size, *((3,) if crop.channels == "rgb" else ()))
        empty_array(crops_file, shape, np.uint8)
        empty_array(faces_file, (len(numbers),), FACE)  # second: where it is there, the crops' file is whole
    faces, crops = np.load(faces_file, mmap_mode="r"), np.load(crops_file, mmap_mode="r")
    # After a power cut a face may be on the disk without its crop, or half of it.
    there = [done != 0 and done == _checksum(faces[row], crops[row]) for row, done in enumerate(faces["done"].tolist())]
    jobs = [(row, numbers[row]) for row, is_there in enumerate(there) if not is_there]
    if 0 < len(jobs) < len(numbers):
        console.print(f"{reader.source.name} {part}: {len(numbers) - len(jobs)} of {len(numbers)} faces are there, going on")
    if jobs and _workers(workers, len(jobs)) > 1:
        # Compiles the renderer, whose code the processes then find on the disk.
        face_for_crop(reader.generator, jobs[0][1], crop)
    for _ in track(
        _run(_render_one, jobs, workers, (reader.generator, crop, crops_file, faces_file)),
        len(jobs),
        f"generating {reader.source.name} {part}",
    ):
        pass
    return np.asarray(np.load(faces_file))


def _checksum(face: Any, crop: NDArray[np.uint8]) -> int:
    """A checksum of a row of FACE, whatever its ``done``, and its crop; never 0."""
    about = np.array(face, FACE)
    about["done"] = 0
    return zlib.crc32(np.ascontiguousarray(crop).tobytes(), zlib.crc32(about.tobytes())) or 1


def _render_one(job: tuple[int, int]) -> None:
    generator, crop, crops_file, faces_file = _worker_state["state"]
    if "files" not in _worker_state:
        _worker_state["files"] = (Rows(crops_file), Rows(faces_file))
    crops, faces = _worker_state["files"]
    row, number = job
    face = face_for_crop(generator, number, crop)
    about = np.zeros((), FACE)
    for name in (FACE.names or ())[:-1]:
        about[name] = getattr(face, name)
    about["done"] = _checksum(about, face.image)
    crops[row] = face.image
    faces[row] = about  # last: with it, the face is done


# Files in FaceSynthetics' layout.

LAYOUT = 1
"""Raised when the same faces would be written differently."""
_OURS = re.compile(r"\d{6,}(\.png|_seg\.png|_ldmks\.txt|_face\.npz)")


@dataclass(frozen=True)
class Written:
    """How many faces a folder holds now, and how many of them were made by this call."""

    total: int
    made: int


def write_faces(generator: FaceGenerator, n: int, size: int, out: Path, workers: int | None = None) -> Written:
    """Write the first n faces in FaceSynthetics' layout; goes on where a killed call stopped, and adds to fewer faces.

    For each face ``{id:06d}.png``, ``_seg.png``, ``_ldmks.txt`` (70 points of the domain's labels) and ``_face.npz`` (all
    labels, visibility, pose, box); ``croissant.json`` describes them for other programs, and ``generated.json``, written
    last, says what the faces are.

    Raises:
        UserError: the folder can't be written, or holds anything but faces of this very kind.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{out}: can't be written ({error.strerror}); choose another --out") from error
    specification = {
        "format": LAYOUT,
        "domain": generator.domain,
        "seed": generator.seed,
        "dials": asdict(generator.dials),
        "size": size,
        "faces": generator.key(),
        **generator.options(),
        "n": n,
    }
    with locked(out / ".lock", f"{out}", "--out", kept=False):
        before = _check_folder(out, specification)
        there = {int(path.name.partition("_")[0]) for path in out.glob("*_face.npz")}
        jobs = [i for i in range(n) if i not in there]
        if not jobs and before is not None:
            if not (out / CROISSANT).is_file():  # faces of an earlier version
                with _keeping(out):
                    _describe(out, generator, specification, out / SPECIFICATION)
            return Written(n, 0)
        if len(jobs) < n:
            console.print(f"{out}: {n - len(jobs)} of {n} faces are there, going on")
        if jobs and _workers(workers, len(jobs)) > 1:
            generator.photograph(jobs[0], size)  # compiles the renderer, see above
        with _keeping(out):
            write_json(out / MARKER, specification | {"terms": plain_terms(generator.terms())})
            (out / SPECIFICATION).unlink(missing_ok=True)
            for _ in track(_run(_write_one, jobs, workers, (generator, size, out)), len(jobs), f"writing {out.name}"):
                pass
            for path in out.glob(".*.tmp"):
                path.unlink()
            _describe(out, generator, specification, out / MARKER)
            os.replace(out / MARKER, out / SPECIFICATION)
        return Written(n, len(jobs))


@contextlib.contextmanager
def _keeping(out: Path) -> Iterator[None]:
    """Have what can't be written end in a line that says so."""
    try:
        yield
    except OSError as error:
        if error.errno not in STORAGE and error.filename is None:
            raise
        raise StorageError(trouble(error, "can't be written", "--out", out) + "; the faces there are kept") from error


def _describe(out: Path, generator: FaceGenerator, specification: dict[str, Any], written: Path) -> None:
    write_json(out / CROISSANT, croissant(generator, specification, written.read_bytes()))


def _check_folder(out: Path, specification: dict[str, Any]) -> dict[str, Any] | None:
    """What ``out`` says that it holds in whole; None where it is empty or unfinished."""
    for path in sorted(out.iterdir()):
        if not path.name.startswith(".") and path.name not in (SPECIFICATION, CROISSANT) and not _OURS.fullmatch(path.name):
            raise UserError(f"{out}: holds {path.name}, which isn't a generated face; choose an empty folder for --out")
    file = next((out / name for name in (MARKER, SPECIFICATION) if (out / name).is_file()), None)
    if file is None:
        if any(not path.name.startswith(".") for path in out.iterdir()):
            raise UserError(f"{out}: holds faces without a {SPECIFICATION}; choose an empty folder for --out")
        return None
    try:
        found = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: damaged ({error}); delete the folder, or choose another for --out") from error
    differing = [key for key in specification if key != "n" and found.get(key) != specification[key]]
    if differing:
        key = differing[0]
        what = "faces of another version" if key in ("faces", "format") else f"faces of {key} {_said(found.get(key))}"
        raise UserError(f"{out}: holds {what}; choose another --out")
    if not isinstance(found.get("n"), int) or found["n"] > specification["n"]:
        raise UserError(f"{out}: holds {found.get('n')} such faces, more than {specification['n']}; choose another --out")
    return found if file.name == SPECIFICATION and found["n"] == specification["n"] else None


def _said(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _write_one(number: int) -> None:
    generator, size, out = _worker_state["state"]
    face = generator.photograph(number, size)
    name = f"{number:06d}"
    for picture, end in ((face.image, ".png"), (face.segmentation, "_seg.png")):
        with naming(out / f"{name}{end}"):
            # The PNGs compress little further at a higher level, and take longer than the face.
            Image.fromarray(picture).save(out / f"{name}{end}", compress_level=3)
    with naming(out / f"{name}_ldmks.txt"):
        # The shortest text that reads back as the same number.
        text = "".join(f"{x!r} {y!r}\n" for x, y in face.landmarks.tolist())
        (out / f"{name}_ldmks.txt").write_text(text, encoding="utf-8")
    arrays = {key: getattr(face, key) for key in (*(FACE.names or ())[1:-1],)}
    if face.dense is not None:
        arrays |= {f"dense_{key}": value for key, value in vars(face.dense).items()}
    # Last: with it, the face is whole.
    write_archive(out / f"{name}_face.npz", lambda file: np.savez(file, **arrays), sync=False)
