"""Tiny models in the formats of VALID's avatars and of ICT-FaceKit, as files."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from domaingap.data.generated.geometries.ict.reader import IDENTITIES, NEUTRAL, REQUIRED


def write_obj(path: Path, vertices: np.ndarray, faces: list[str] | None = None) -> None:
    """As the release's: vertices, texture coordinates, faces that name both."""
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices]
    lines += [f"vt {k / 10:.3f} 0.5" for k in range(len(vertices))] + (faces or [])
    path.write_text("# made by hand\n" + "\n".join(lines) + "\n")


def write_facekit(folder: Path, n: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A release of n vertices below ``folder``; its neutral mesh [V, 3] and identities [100, V, 3] (displacements)."""
    inner = folder / "FaceXModel"
    inner.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    neutral = rng.normal(size=(n, 3)).round(4)
    identity = rng.normal(size=(IDENTITIES, n, 3)).round(4)
    write_obj(inner / f"{NEUTRAL}.obj", neutral, ["f 1/1 2/2 3/3 4/4", "f 4/4 5/5 6/6"])
    for k, moved in enumerate(identity):
        write_obj(inner / f"identity{k:03d}.obj", neutral + moved)
    for k, name in enumerate(REQUIRED):
        write_obj(inner / f"{name}.obj", neutral + 0.1 * (k + 1))
    return neutral, identity


class _Buffer:
    """Buffer views, packed by meshoptimizer where asked for."""

    def __init__(self, packed: bool) -> None:
        self.packed, self.binary, self.views, self.accessors = packed, b"", [], []

    def _add(self, raw: bytes) -> int:
        start = len(self.binary)
        self.binary += raw + b"\0" * (-len(raw) % 4)
        return start

    def view(self, rows: np.ndarray, mode: str) -> int:
        """A view of rows of bytes [N, stride]."""
        count, stride = rows.shape
        if self.packed:
            import meshoptimizer

            if mode == "TRIANGLES":
                numbers = rows.copy().view(np.uint16).ravel().astype(np.uint32)
                raw = bytes(meshoptimizer.encode_index_buffer(numbers, len(numbers), int(numbers.max()) + 1))
            else:
                raw = bytes(meshoptimizer.encode_vertex_buffer(np.ascontiguousarray(rows), count, stride))
            extension = {"buffer": 0, "byteOffset": self._add(raw), "byteLength": len(raw), "mode": mode, "count": count,
                         "byteStride": stride}  # fmt: skip
            view: dict[str, Any] = {"buffer": 1, "byteLength": rows.size, "byteStride": stride,
                                    "extensions": {"EXT_meshopt_compression": extension}}  # fmt: skip
        else:
            view = {"buffer": 0, "byteOffset": self._add(rows.tobytes()), "byteLength": rows.size}
            if mode != "TRIANGLES":
                view["byteStride"] = stride
        self.views.append(view)
        return len(self.views) - 1

    def accessor(self, view: int, kind: int, width: str, count: int, normalized: bool) -> int:
        self.accessors.append(
            {"bufferView": view, "componentType": kind, "type": width, "count": count, "normalized": normalized}
        )
        return len(self.accessors) - 1

    def picture(self, picture: np.ndarray) -> int:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "WEBP", lossless=True)
        raw = file.getvalue()
        self.views.append({"buffer": 0, "byteOffset": self._add(raw), "byteLength": len(raw)})
        return len(self.views) - 1


def write_glb(
    path: Path, meshes: dict[str, dict[str, Any]], picture: np.ndarray, packed: bool = True, turn: np.ndarray | None = None
) -> None:
    """A file as VALID's are: quantized positions that the skin's matrices undo, morph targets, a WebP colour map.

    Args:
        path: of the file.
        meshes: by name, of vertices [V, 3], uv [V, 2], triangles [T, 3] and targets by name [V, 3], in metres.
        picture: [S, S, 3].
        packed: by EXT_meshopt_compression.
        turn: [3, 3] of the joint above all meshes, which the bind matrices undo.
    """
    buffer = _Buffer(packed)
    nodes: list[dict[str, Any]] = [{"name": "Reference", "children": [1]}, {"name": "Head", "translation": [0.1, 1.5, 0.2]}]
    if turn is not None:
        nodes[0]["matrix"] = _column_major(_affine(turn, [0.0, 0.2, 0.0]))
    head = (np.eye(4) if turn is None else _affine(turn, [0, 0.2, 0])) @ _affine(np.eye(3), [0.1, 1.5, 0.2])
    plain: list[dict[str, Any]] = []
    skins = []
    for name, mesh in meshes.items():
        vertices, uv = np.asarray(mesh["vertices"], float), np.asarray(mesh["uv"], float)
        middle, scale = vertices.mean(0), np.abs(vertices - vertices.mean(0)).max() * 1.001
        attributes = {
            "POSITION": buffer.accessor(_shorts(buffer, (vertices - middle) / scale), 5122, "VEC3", len(vertices), True),
            "TEXCOORD_0": buffer.accessor(
                buffer.view(np.round(uv * 65535).astype("<u2").view(np.uint8).reshape(len(uv), 4), "ATTRIBUTES"),
                5123, "VEC2", len(uv), True,
            ),
        }  # fmt: skip
        triangles = np.asarray(mesh["triangles"]).astype("<u2").reshape(-1, 1).view(np.uint8)
        targets = [
            {"POSITION": buffer.accessor(_shorts(buffer, moved / scale), 5122, "VEC3", len(moved), True)}
            for moved in mesh.get("targets", {}).values()
        ]
        inverse = np.linalg.inv(head) @ _affine(scale * np.eye(3), middle)
        matrices = buffer._add(np.array(_column_major(inverse), "<f4").tobytes())
        buffer.views.append({"buffer": 0, "byteOffset": matrices, "byteLength": 64})
        skins.append({"joints": [1], "inverseBindMatrices": buffer.accessor(len(buffer.views) - 1, 5126, "MAT4", 1, False)})
        primitive = {"attributes": attributes, "material": 0, "indices": buffer.accessor(
            buffer.view(triangles, "TRIANGLES"), 5123, "SCALAR", len(triangles), False)}  # fmt: skip
        plain.append({"name": name, "primitives": [primitive | ({"targets": targets} if targets else {})],
                      "extras": {"targetNames": list(mesh.get("targets", {}))}})  # fmt: skip
        nodes.append({"name": name, "mesh": len(plain) - 1, "skin": len(skins) - 1, "scale": [0.01, 0.01, 0.01]})
    image = buffer.picture(picture)
    about = {
        "asset": {"version": "2.0"}, "nodes": nodes, "meshes": plain, "skins": skins, "accessors": buffer.accessors,
        "bufferViews": buffer.views, "buffers": [{"byteLength": len(buffer.binary)}, {"byteLength": 0}],
        "images": [{"mimeType": "image/webp", "bufferView": image}],
        "textures": [{"extensions": {"EXT_texture_webp": {"source": 0}}}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "extensionsRequired": ["EXT_meshopt_compression", "KHR_mesh_quantization", "EXT_texture_webp"],
    }  # fmt: skip
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(buffer.binary), b"BIN\0") + buffer.binary
    )
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def _shorts(buffer: _Buffer, values: np.ndarray) -> int:
    rows = np.zeros((len(values), 4), "<i2")
    rows[:, :3] = np.round(values * 32767)
    return buffer.view(rows.view(np.uint8).reshape(len(values), 8), "ATTRIBUTES")


def _affine(linear: np.ndarray, move: Any) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, move
    return matrix


def _column_major(matrix: np.ndarray) -> list[float]:
    return np.asarray(matrix).T.ravel().tolist()
