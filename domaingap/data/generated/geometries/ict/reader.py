"""ICT-FaceKit's release, a folder of OBJ files, as arrays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.files import read_bytes
from domaingap.errors import DataError, UserError

Array = NDArray[Any]

NEUTRAL = "generic_neutral_mesh"
IDENTITIES = 100
_IDENTITY = re.compile(r"identity\d{3}")
_LARGEST = 64 << 20  # bytes of a file; the release's are 2.6 MB


@dataclass(frozen=True)
class FaceKit:
    """The model in its own units: cm, y up, z towards the viewer.

    Args:
        neutral: [V, 3].
        faces: [F, 4] vertices; a triangle has its last one twice.
        identity: [K, V, 3] displacements, unit variance.
        expression: displacements [V, 3] by the release's names, at full strength.
    """

    neutral: Array
    faces: Array
    identity: Array
    expression: dict[str, Array]


def facekit_files(folder: Path) -> list[Path]:
    """The release's meshes, the neutral one first; ``folder`` is the release or its FaceXModel.

    Raises:
        UserError: some are missing.
    """
    inner = folder / "FaceXModel" if (folder / "FaceXModel").is_dir() else folder
    advice = "give --model the folder of ICT-FaceKit, or fetch it: data fetch ict_facekit"
    if not inner.is_dir():
        raise UserError(f"{folder}: no such folder; {advice}")
    found = {path.stem: path for path in sorted(inner.glob("*.obj")) if path.is_file()}
    if NEUTRAL not in found:
        raise UserError(f"{inner}: holds no {NEUTRAL}.obj, so it isn't ICT-FaceKit; {advice}")
    missing = [f"identity{k:03d}.obj" for k in range(IDENTITIES) if f"identity{k:03d}" not in found]
    missing += [f"{name}.obj" for name in REQUIRED if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"{inner}: incomplete: {missing[0]}{more} of ICT-FaceKit missing; fetch it again: data fetch ict_facekit"
        )
    return [found.pop(NEUTRAL), *found.values()]


def facekit_content(folder: Path) -> str:
    """Identity of a release by its files' content."""
    digest = hashlib.sha256()
    for path in facekit_files(folder):
        digest.update(path.name.encode() + hashlib.sha256(read_bytes(path, _LARGEST)).digest())
    return digest.hexdigest()


def read_facekit(folder: Path, files: Iterator[Path] | None = None) -> FaceKit:
    """The whole model; ``files`` are :func:`facekit_files`, and may show progress.

    Raises:
        UserError: a file is missing or damaged, or has another number of vertices than the neutral mesh.
    """
    neutral, faces = None, None
    identity: list[Array] = []
    expression: dict[str, Array] = {}
    for path in files or iter(facekit_files(folder)):
        content = read_bytes(path, _LARGEST)
        vertices = _vertices(path, content)
        if neutral is None:
            neutral, faces = vertices, _faces(path, content, len(vertices))
            continue
        if len(vertices) != len(neutral):
            raise DataError(path, f"has {len(vertices)} vertices, the neutral mesh {len(neutral)}", advice="fetch it again")
        if _IDENTITY.fullmatch(path.stem):
            identity.append(vertices - neutral)
        else:
            expression[path.stem] = (vertices - neutral).astype(np.float32)
    assert neutral is not None and faces is not None
    return FaceKit(neutral, faces, np.array(identity, np.float32), expression)


def _vertices(path: Path, content: bytes) -> Array:
    """[V, 3]; lines that aren't vertices are passed over."""
    lines = re.findall(rb"^v[ \t]+(.*)$", content, re.MULTILINE)
    try:
        return np.array(b" ".join(lines).split(), np.float64).reshape(len(lines), -1)[:, :3].astype(np.float32)
    except ValueError as error:
        for number, line in enumerate(content.splitlines(), 1):
            if line.startswith((b"v ", b"v\t")) and not _is_vertex(line):
                raise DataError(path, "isn't three numbers after v", number, advice="fetch it again") from error
        raise DataError(path, "its vertices aren't three numbers each", advice="fetch it again") from error


def _is_vertex(line: bytes) -> bool:
    try:
        return len([float(part) for part in line.split()[1:]]) == 3
    except ValueError:
        return False


def _faces(path: Path, content: bytes, n: int) -> Array:
    """[F, 4] from lines ``f 1/1 2/2 3/3 4/4``, of which only the vertices count."""
    found = []
    for line in re.findall(rb"^f[ \t]+(.*)$", content, re.MULTILINE):
        corners = [part.partition(b"/")[0] for part in line.split()]
        try:
            indices = [int(corner) - 1 for corner in corners]
        except ValueError as error:
            raise DataError(path, f"has a face {line[:40]!r} that isn't of numbers", advice="fetch it again") from error
        if len(indices) not in (3, 4) or not all(0 <= i < n for i in indices):
            raise DataError(path, f"has a face {line[:40]!r} of vertices that aren't there", advice="fetch it again")
        found.append(indices if len(indices) == 4 else [*indices, indices[-1]])
    if not found:
        raise DataError(path, "has no faces", advice="fetch it again")
    return np.array(found, np.int32)


REQUIRED = (
    "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R",
    "cheekPuff_L", "cheekPuff_R", "cheekSquint_L", "cheekSquint_R", "eyeBlink_L", "eyeBlink_R", "eyeSquint_L",
    "eyeSquint_R", "eyeWide_L", "eyeWide_R", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthFrown_L",
    "mouthFrown_R", "mouthFunnel", "mouthLeft", "mouthLowerDown_L", "mouthLowerDown_R", "mouthPress_L",
    "mouthPress_R", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
    "mouthShrugUpper", "mouthSmile_L", "mouthSmile_R", "mouthStretch_L", "mouthStretch_R", "mouthUpperUp_L",
    "mouthUpperUp_R", "noseSneer_L", "noseSneer_R",
)  # fmt: skip
"""Movements that faces are made of; the release has fifteen more."""
