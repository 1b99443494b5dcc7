"""Faces in memory-mapped crops, and the torch dataset over some of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from domaingap.config import CropConfig
from domaingap.data.crops import apply_transform, invert_transform
from domaingap.data.prepare import PreparedPart
from domaingap.data.splits import Indices
from domaingap.data.transforms import Augmenter
from domaingap.hashing import digest

Batch = dict[str, torch.Tensor]
Draw = tuple[int, int, int]
"""A face drawn for training: (step, position of the face, how often it was drawn before in this step)."""


class PreparedFaces:
    """Faces of one or several prepared parts, in one numbering.

    Attributes:
        names: [N] unique names.
        photographs: [N] names of the photographs (or identities).
        parts: [N] names of the parts.
        landmarks: [N, 68, 2] in pixels of the original image.
        image_to_crop: [N, 2, 3] from original pixels to the network's input.
        box_sources: [N] where each face box came from.
    """

    def __init__(self, parts: Sequence[PreparedPart]) -> None:
        if not parts:
            raise ValueError("no prepared part given")
        indexes = [part.index() for part in parts]
        self.names = _concatenate(indexes, "names")
        self.photographs = _concatenate(indexes, "photographs")
        self.landmarks = _concatenate(indexes, "landmarks")
        self.image_to_crop = _concatenate(indexes, "image_to_crop")
        self.box_sources = _concatenate(indexes, "box_sources")
        self.parts = np.concatenate([np.full(len(ix["names"]), part.name) for part, ix in zip(parts, indexes, strict=True)])
        self.prepared = list(parts)
        self.crop = CropConfig(**parts[0].meta["crop"])
        self._starts = np.cumsum([0] + [len(ix["names"]) for ix in indexes])
        self._crops: list[NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map would be a copy of all crops: each process maps the file itself.
        return {**self.__dict__, "_crops": None}

    def stored_crop(self, i: int) -> NDArray[np.uint8]:
        """The stored crop of face i, [S, S] or [S, S, 3], S = ``crop.stored_size``."""
        if self._crops is None:
            self._crops = [part.crops() for part in self.prepared]
        part = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self._crops[part][i - self._starts[part]]  # type: ignore[no-any-return]

    def crop_landmarks(self) -> NDArray[np.float64]:
        """Landmarks [N, 68, 2] in pixels of the network's input."""
        return apply_transform(self.image_to_crop, self.landmarks)

    def fingerprint(self, positions: Indices) -> str:
        """Identity of some of the faces by content: the parts they are from and their names."""
        contents = sorted(part.meta["fingerprint"] for part in self.prepared if part.name in set(self.parts[positions]))
        return digest([*(c.encode() for c in contents), *sorted(name.encode() for name in self.names[positions])])


def _concatenate(indexes: list[dict[str, NDArray[Any]]], key: str) -> NDArray[Any]:
    return np.concatenate([index[key] for index in indexes])


class FaceDataset(Dataset[Batch]):
    """Some of the prepared faces; with an augmenter for training, plain otherwise.

    Items are drawn in whole batches. A batch holds ``image`` [B, C, S, S] uint8, ``landmarks`` [B, 68, 2] float32
    in crop pixels, ``position`` [B] in the table of faces, and, without augmentation, ``truth`` [B, 68, 2] float64
    in original pixels and ``crop_to_image`` [B, 2, 3] float64.
    """

    def __init__(self, faces: PreparedFaces, positions: Indices, augmenter: Augmenter | None = None) -> None:
        self.faces = faces
        self.positions = np.asarray(positions, dtype=np.int64)
        self.augmenter = augmenter
        self._landmarks = faces.crop_landmarks().astype(np.float32)
        # A name, unlike a position, stays the same whatever other faces are loaded.
        self._ids = np.array([zlib.crc32(str(name).encode()) for name in faces.names], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int | Draw) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([item]).items()}

    def __getitems__(self, items: Sequence[int | Draw]) -> Batch:
        draws = [item if isinstance(item, tuple) else (0, item, 0) for item in items]
        positions = self.positions[[draw[1] for draw in draws]]
        crop = self.faces.crop
        size = (crop.size, crop.size) if crop.channels == "gray" else (crop.size, crop.size, 3)
        images = np.empty((len(draws), *size), dtype=np.uint8)
        landmarks = np.empty((len(draws), *self._landmarks.shape[1:]), dtype=np.float32)
        for row, ((step, _, repeat), position) in enumerate(zip(draws, positions, strict=True)):
            stored = self.faces.stored_crop(int(position))
            points = self._landmarks[position]
            if self.augmenter is None:
                images[row] = stored[crop.pad : -crop.pad, crop.pad : -crop.pad]
                landmarks[row] = points
            else:
                images[row], landmarks[row] = self.augmenter(stored, points, (step, int(self._ids[position]), repeat))
        channels_first = images[:, None] if crop.channels == "gray" else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        batch = {
            "image": torch.from_numpy(channels_first),
            "landmarks": torch.from_numpy(landmarks),
            "position": torch.from_numpy(positions),
        }
        if self.augmenter is None:
            batch["truth"] = torch.from_numpy(self.faces.landmarks[positions])
            batch["crop_to_image"] = torch.from_numpy(invert_transform(self.faces.image_to_crop[positions]))
        return batch


class StepSampler(Sampler[Draw]):
    """Draws for training by step: pass after pass over n faces, each pass in a seeded order of its own.

    What is drawn at a step depends on (seed, step) alone, so a run that goes on from step k draws what it would
    have drawn. One Lightning epoch is ``steps_per_epoch`` steps; the loader must use ``batch_size`` of this sampler.

    Args:
        n: number of faces; a domain smaller than a batch starts again within it.
        batch_size: draws per step.
        seed: seed of the orders.
        steps_per_epoch: steps per iteration over the sampler; one pass (rounded up) by default.
    """

    def __init__(self, n: int, batch_size: int, seed: int, steps_per_epoch: int | None = None) -> None:
        if n < 1:
            raise ValueError("nothing to sample from")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.steps_per_epoch = steps_per_epoch or -(-n // batch_size)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps_per_epoch * self.batch_size

    def step(self, step: int) -> list[Draw]:
        """The draws of one step."""
        return list(self._draws(step, step + 1))

    def __iter__(self) -> Iterator[Draw]:
        first = self.epoch * self.steps_per_epoch
        return self._draws(first, first + self.steps_per_epoch)

    def _draws(self, first: int, last: int) -> Iterator[Draw]:
        order, order_of = np.empty(0, dtype=np.int64), -1
        for step in range(first, last):
            seen: dict[int, int] = {}
            for drawn in range(step * self.batch_size, (step + 1) * self.batch_size):
                number, place = divmod(drawn, self.n)
                if number != order_of:
                    order, order_of = np.random.default_rng([self.seed, number]).permutation(self.n), number
                position = int(order[place])
                repeat = seen.get(position, 0)
                seen[position] = repeat + 1
                yield step, position, repeat
