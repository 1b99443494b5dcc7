"""Small pictures of the faces that a run was scored on, kept beside it so that a report needs no data.

An entry of the store, ``RUNS_DIR/pictures-<key>/``, holds those of one set of faces, cut by one rule. Its key is of their
content, so that all runs of a folder share it. In ``faces.npz``: ``names`` [N], the pictures as JPEG files one behind the
other (``jpeg``, bytes) with where each begins and the last ends (``offsets`` [N + 1]), ``image_to_picture`` [N, 2, 3],
``side`` in pixels, and ``total``, how many faces the set has.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from domaingap.archives import read_arrays
from domaingap.errors import UserError
from domaingap.hashing import lowest_by_name, write_archive
from domaingap.progress import detail
from domaingap.store import Store
from domaingap.study.record import RunRecord, set_key

if TYPE_CHECKING:
    # Reports read pictures without the data's libraries.
    from domaingap.data.faces import FaceDataset

FORMAT = 1
"""Raised when the same faces would be drawn or kept differently."""
KIND, FILE = "pictures", "faces.npz"
MOST_FACES = 3000
"""Of one set. About 10 MB; every test set in use is smaller."""
LARGEST_SIDE = 128
"""In pixels: as large as the network sees a face by default. Smaller crops stay as they are."""
QUALITY = 85
"""Of JPEG, from 1 to 95: at it a gray face of 128 px takes 3 to 4 KB and shows no blocks."""

ARRAYS: dict[str, tuple[str, int]] = {
    "names": ("U", 1), "jpeg": ("u", 1), "offsets": ("i", 1), "image_to_picture": ("f", 3), "side": ("i", 0),
    "total": ("i", 0),
}  # fmt: skip
"""Of each array: NumPy's kind of its type, and its number of dimensions."""


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures of a set of faces.

    Attributes:
        names: [N] of the faces in their data set.
        to_picture: [N, 2, 3] from pixels of the original image to those of the picture (centres at integers): points x, y
            become ``to_picture[:, :2] @ (x, y) + to_picture[:, 2]``.
        side: of every picture, in pixels.
        total: faces that the set has; N or more.
    """

    names: NDArray[np.str_]
    to_picture: NDArray[np.float64]
    side: int
    total: int
    _jpeg: bytes
    _offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def jpeg(self, i: int) -> bytes:
        """Picture i as a JPEG file."""
        return self._jpeg[self._offsets[i] : self._offsets[i + 1]]

    def places(self) -> dict[str, int]:
        """The number of each face's picture, by the face's name."""
        return {name: i for i, name in enumerate(self.names.tolist())}


def chosen(names: NDArray[np.str_], most: int) -> NDArray[np.int64]:
    """Which of the faces named [N] have pictures: all, or ``most`` of them in their order, the same ones every time and on
    every machine (those whose names have the lowest hashes)."""
    return np.array(sorted(lowest_by_name(names.tolist(), most)), dtype=np.int64)


def keep_pictures(runs_dir: Path, name: str, dataset: FaceDataset) -> str:
    """Have the small pictures of a set of faces in the folder of runs, made now where they aren't there; returns their key.

    Args:
        runs_dir: the folder.
        name: of the set, for messages.
        dataset: the faces, without augmentation.

    Raises:
        StorageError: they can't be written.
    """
    identity = {
        "format": FORMAT,
        "faces": dataset.fingerprint(),
        "crop": asdict(dataset.faces.crop),
        "most": MOST_FACES,
        "side": LARGEST_SIDE,
        "quality": QUALITY,
    }

    def build(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
        arrays: dict[str, Any] = _pictures(dataset)
        write_archive(folder / FILE, lambda file: np.savez(file, **arrays))
        n, total = len(arrays["names"]), len(dataset)
        detail(f"  {name}: small pictures of {n}{f' of {total}' if n < total else ''} faces kept for reports in {folder}")
        return {"n": n, "total": total, "side": int(arrays["side"])}

    return Store(runs_dir).get(KIND, identity, build, f"pictures of {name}").key


def _pictures(dataset: FaceDataset) -> dict[str, NDArray[Any]]:
    """The arrays of ``faces.npz``; see the module."""
    from PIL import Image

    faces, crop = dataset.faces, dataset.faces.crop
    positions = dataset.positions[chosen(faces.names[dataset.positions], MOST_FACES)]
    side, inner = min(crop.size, LARGEST_SIDE), slice(crop.pad, crop.pad + crop.size)
    files = []
    for position in positions.tolist():
        picture = Image.fromarray(np.ascontiguousarray(faces.stored_crop(position)[inner, inner]))
        if side < crop.size:
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)  # which reduces with anti-aliasing
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=QUALITY)
        files.append(file.getvalue())
    # Pixel centres lie at integers, so that a picture's edges lie at -0.5 and side - 0.5.
    scale = side / crop.size
    to_picture = scale * faces.image_to_crop[positions]
    to_picture[:, :, 2] += (scale - 1) / 2
    return {
        "names": faces.names[positions],
        "jpeg": np.frombuffer(b"".join(files), dtype=np.uint8),
        "offsets": np.cumsum([0, *map(len, files)], dtype=np.int64),
        "image_to_picture": to_picture,
        "side": np.array(side, dtype=np.int64),
        "total": np.array(len(dataset), dtype=np.int64),
    }


def thumbnails(record: RunRecord, on: str, say: Callable[[str], object] = lambda why: None) -> Thumbnails | None:
    """The small pictures of the faces that a run was scored on.

    Args:
        record: the run, as it was read from its folder; the pictures lie beside that.
        on: the set of faces.
        say: is told in a line why there are none.

    Returns:
        The pictures; None where the run kept none, or they are absent or damaged.
    """
    counted = record.counts.get(set_key(on))
    if counted is None:
        say(f"{record.folder}: not scored on {on}, so there are no pictures of it")
        return None
    if not counted.pictures:
        say(f"{record.folder}: no pictures of {on} (an earlier version made the run, or --pictures false)")
        return None
    return read_pictures(record.folder.parent, counted.pictures, say)


def read_pictures(runs_dir: Path, key: str, say: Callable[[str], object] = lambda why: None) -> Thumbnails | None:
    """The small pictures of a key of :func:`keep_pictures`; None where there are none, and ``say`` is told why."""
    if not re.fullmatch("[0-9a-f]{1,64}", key):
        say(f"{runs_dir}: no pictures have the key {key!r}")
        return None
    path = runs_dir / f"{KIND}-{key}" / FILE
    if not path.is_file():
        say(f"{path}: no such file; copy it along with the runs, or {ANEW}")
        return None
    if Store(runs_dir).entry(KIND, key) is None:
        say(f"{path}: damaged, or not finished; {ANEW}")
        return None
    try:
        return _read(path)
    except UserError as error:
        say(str(error))
        return None


ANEW = "give the run's command again to make it anew"


def _read(path: Path) -> Thumbnails:
    arrays = read_arrays(path, "pictures", ANEW)
    if (problem := _wrong(arrays)) is not None:
        raise UserError(f"{path}: can't be read as pictures ({problem}); {ANEW}")
    return Thumbnails(
        arrays["names"],
        arrays["image_to_picture"].astype(np.float64),
        int(arrays["side"]),
        int(arrays["total"]),
        arrays["jpeg"].tobytes(),
        arrays["offsets"].astype(np.int64),
    )


def _wrong(arrays: dict[str, NDArray[Any]]) -> str | None:
    """What keeps arrays from being pictures; None where nothing does."""
    for name, (kind, ndim) in ARRAYS.items():
        if name not in arrays:
            return f"no {name}"
        if arrays[name].dtype.kind != kind or arrays[name].ndim != ndim:
            return f"{name} is {arrays[name].dtype} {arrays[name].shape}"
    n, jpeg, offsets, matrices = len(arrays["names"]), arrays["jpeg"], arrays["offsets"], arrays["image_to_picture"]
    if not n or offsets.shape != (n + 1,) or matrices.shape != (n, 2, 3) or jpeg.dtype != np.uint8:
        return f"{n} names, offsets {offsets.shape}, image_to_picture {matrices.shape}, jpeg {jpeg.dtype}"
    if offsets[0] != 0 or offsets[-1] != len(jpeg) or (np.diff(offsets) <= 0).any():
        return "offsets don't divide jpeg"
    if not np.isfinite(matrices).all() or not 1 <= arrays["side"] <= LARGEST_SIDE or arrays["total"] < n:
        return f"side {arrays['side']}, total {arrays['total']}, or image_to_picture isn't finite"
    return None
