"""Meshes and textures of a glTF 2.0 binary with EXT_meshopt_compression, KHR_mesh_quantization and EXT_texture_webp.

What is read is what a head needs: positions, one set of texture coordinates, triangles, morph targets and base colours, in
the pose that the file's skeleton rests in. Normals, materials' other maps and animations are passed over.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from domaingap.errors import DataError, UserError

Array = NDArray[Any]

_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_LARGEST = 64 << 20  # bytes of a file; the release's are 2 MB


@dataclass(frozen=True)
class Part:
    """One mesh of a file.

    Args:
        vertices: [V, 3] in metres, y up, z towards the viewer, as the skeleton rests.
        uv: [V, 2] texture coordinates from the upper left, 0 to 1.
        triangles: [T, 3].
        targets: displacements [V, 3] in metres by name.
        image: number of its base colour among the file's images; None where it has none.
    """

    vertices: Array
    uv: Array
    triangles: Array
    targets: dict[str, Array] = field(default_factory=dict)
    image: int | None = None


class Glb:
    """One file, opened. ``parts`` are its meshes by name.

    Raises:
        UserError: not such a file, a damaged one, or meshoptimizer isn't installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if path.stat().st_size > _LARGEST:
                raise self._wrong(f"is larger than {_LARGEST >> 20} MB")
            content = path.read_bytes()
        except OSError as error:
            raise self._wrong(f"can't be read ({error.strerror})") from error
        try:
            self._json, self._binary = _chunks(content)
            self._views: dict[int, Array] = {}
            self.parts = {str(mesh["name"]): self._part(mesh, i) for i, mesh in enumerate(self._json["meshes"])}
        except (KeyError, IndexError, TypeError, ValueError, struct.error, RuntimeError, RecursionError) as error:
            raise self._wrong(f"isn't glTF 2.0 as VALID's avatars are ({error or type(error).__name__})") from error

    def _wrong(self, problem: str) -> UserError:
        return DataError(self.path, problem, advice="fetch it again, or give its folder's other files alone")

    def picture(self, number: int) -> Image.Image:
        """An image of the file, decoded.

        Raises:
            UserError: it can't be.
        """
        view = self._json["images"][number]["bufferView"]
        try:
            where = self._json["bufferViews"][view]
            start = where.get("byteOffset", 0)
            picture = Image.open(io.BytesIO(self._binary[start : start + where["byteLength"]]))
            picture.load()
        except (OSError, KeyError, ValueError, Image.DecompressionBombError) as error:
            raise self._wrong(f"image {number} can't be decoded ({error})") from error
        return picture

    def _view(self, number: int) -> Array:
        """A buffer view's bytes, decoded, [count, stride] where it has a stride, else [bytes]."""
        if number not in self._views:
            about = self._json["bufferViews"][number]
            packed = about.get("extensions", {}).get("EXT_meshopt_compression")
            if packed is None:
                start = about.get("byteOffset", 0)
                raw = np.frombuffer(self._binary[start : start + about["byteLength"]], np.uint8)
                stride = about.get("byteStride")
                self._views[number] = raw if stride is None else raw[: len(raw) // stride * stride].reshape(-1, stride)
            else:
                start = packed.get("byteOffset", 0)
                coded = self._binary[start : start + packed["byteLength"]]
                self._views[number] = _decoded(coded, packed["mode"], packed["count"], packed["byteStride"])
        return self._views[number]

    def _accessor(self, number: int) -> Array:
        """An accessor's numbers [count, width] as they are stored; normalized ones as floats."""
        about = self._json["accessors"][number]
        if "sparse" in about or "bufferView" not in about:
            raise ValueError("sparse accessors aren't read")
        kind, width, count = np.dtype(_TYPES[about["componentType"]]), _WIDTHS[about["type"]], int(about["count"])
        view, start, size = self._view(about["bufferView"]), int(about.get("byteOffset", 0)), kind.itemsize * width
        stride = view.shape[1] if view.ndim == 2 and view.shape[1] >= size else size
        flat = np.ascontiguousarray(view).reshape(-1)[start : start + (count - 1) * stride + size]
        rows = np.lib.stride_tricks.as_strided(flat, (count, size), (stride, 1)) if len(flat) >= size else None
        if rows is None or len(flat) < (count - 1) * stride + size:
            raise ValueError(f"accessor {number} runs past its buffer")
        numbers = np.ascontiguousarray(rows).view(kind).reshape(count, width)
        if not about.get("normalized"):
            return numbers
        largest = np.iinfo(_TYPES[about["componentType"]]).max  # type: ignore[type-var]
        return np.asarray(np.maximum(numbers.astype(np.float64) / largest, -1.0))

    def _part(self, mesh: dict[str, Any], number: int) -> Part:
        if len(mesh["primitives"]) != 1:
            raise ValueError(f"mesh {mesh['name']} has {len(mesh['primitives'])} primitives")
        primitive = mesh["primitives"][0]
        attributes = primitive["attributes"]
        node = next(node for node in self._json["nodes"] if node.get("mesh") == number)
        rest = self._rest(node)
        vertices = self._accessor(attributes["POSITION"]) @ rest[:3, :3].T + rest[:3, 3]
        triangles = self._accessor(primitive["indices"]).reshape(-1, 3).astype(np.int32)
        if triangles.max() >= len(vertices):
            raise ValueError(f"mesh {mesh['name']} has triangles of vertices that aren't there")
        names = mesh.get("extras", {}).get("targetNames", [])
        moved = [self._accessor(target["POSITION"]) @ rest[:3, :3].T for target in primitive.get("targets", [])]
        return Part(
            vertices.astype(np.float32),
            self._accessor(attributes["TEXCOORD_0"]).astype(np.float32),
            triangles,
            {str(name): np.asarray(move, np.float32) for name, move in zip(names, moved, strict=True)},
            self._image(primitive.get("material")),
        )

    def _image(self, material: int | None) -> int | None:
        if material is None:
            return None
        colour = self._json["materials"][material].get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if colour is None:
            return None
        texture = self._json["textures"][colour["index"]]
        source = texture.get("extensions", {}).get("EXT_texture_webp", texture).get("source")
        return None if source is None else int(source)

    def _rest(self, node: dict[str, Any]) -> Array:
        """From a mesh's stored positions to the scene, [4, 4]: quantization is undone there, by the skin or by the node."""
        if "skin" not in node:
            return self._global(self._json["nodes"].index(node))
        skin = self._json["skins"][node["skin"]]
        inverse = self._accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        # Skeletons rest as they were bound, so that every joint says the same; the head's says it for the head.
        names = [self._json["nodes"][joint].get("name") for joint in skin["joints"]]
        k = names.index("Head") if "Head" in names else 0
        return np.asarray(self._global(skin["joints"][k]) @ inverse[k])

    def _global(self, number: int) -> Array:
        matrix = _local(self._json["nodes"][number])
        parents = {child: i for i, node in enumerate(self._json["nodes"]) for child in node.get("children", [])}
        for _ in range(len(parents)):
            if number not in parents:
                break
            number = parents[number]
            matrix = _local(self._json["nodes"][number]) @ matrix
        return matrix


def _chunks(content: bytes) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk."""
    magic, version, _ = struct.unpack_from("<4sII", content)
    if magic != b"glTF" or version != 2:
        raise ValueError("no glTF 2.0 header")
    length, kind = struct.unpack_from("<I4s", content, 12)
    if kind != b"JSON":
        raise ValueError("its first chunk isn't JSON")
    about = json.loads(content[20 : 20 + length])
    start = 20 + length
    length, kind = struct.unpack_from("<I4s", content, start)
    if kind != b"BIN\0" or len(content) < start + 8 + length:
        raise ValueError("its binary chunk is cut short")
    return about, content[start + 8 : start + 8 + length]


def _decoded(raw: bytes, mode: str, count: int, stride: int) -> Array:
    """What EXT_meshopt_compression packed, as bytes [count, stride]. Filters (of normals) are left undone."""
    try:
        import meshoptimizer  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError(
            "avatars need meshoptimizer, which isn't installed; uv sync --extra faces, or pip install it"
        ) from error
    if mode == "ATTRIBUTES":
        found = meshoptimizer.decode_vertex_buffer(count, stride, raw, dtype=np.dtype((np.void, stride)))
        return np.frombuffer(found.tobytes(), np.uint8).reshape(count, stride)
    if mode == "TRIANGLES":
        numbers = meshoptimizer.decode_index_buffer(count, 4, raw)
    elif mode == "INDICES":
        numbers = meshoptimizer.decode_index_sequence(count, 4, raw)
    else:
        raise ValueError(f"mode {mode} of EXT_meshopt_compression isn't known")
    kind = np.uint16 if stride == 2 else np.uint32
    return np.frombuffer(np.asarray(numbers).astype(kind).tobytes(), np.uint8).reshape(count, stride)


def _local(node: dict[str, Any]) -> Array:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
