"""Faces in memory-mapped crops, and the torch dataset over some of them."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from domaingap.config import CropConfig
from domaingap.data.appearance import Appearance
from domaingap.data.crops import apply_transform, invert_transform
from domaingap.data.prepare import PreparedPart
from domaingap.data.sampler import DomainMixSampler, Draw, StepSampler
from domaingap.data.splits import Indices, merge_groups
from domaingap.data.transforms import Augmenter
from domaingap.hashing import digest
from domaingap.provenance import Seen, Terms
from domaingap.sources import source

Batch = dict[str, torch.Tensor]


class PreparedFaces:
    """Faces of one or several prepared parts, in one numbering.

    Attributes:
        names: [N] unique names.
        photographs: [N] names of the photographs (or identities); equal pictures are one photograph, whatever their names
            and parts.
        parts: [N] names of the parts.
        landmarks: [N, 68, 2] in pixels of the original image.
        image_to_crop: [N, 2, 3] from original pixels to the network's input.
        box_sources: [N] where each face box came from.
        label_key: identity of labels that are not the data set's own; None for its own.
        label_seen: what went into such labels.
    """

    def __init__(self, parts: Sequence[PreparedPart]) -> None:
        if not parts:
            raise ValueError("no prepared part given")
        indexes = [part.index() for part in parts]
        self.names = _concatenate(indexes, "names")
        self.photographs = merge_groups(
            _concatenate(indexes, "photographs").tolist(), _concatenate(indexes, "pictures").tolist()
        )
        self.landmarks = _concatenate(indexes, "landmarks")
        self.image_to_crop = _concatenate(indexes, "image_to_crop")
        self.box_sources = _concatenate(indexes, "box_sources")
        self.parts = np.concatenate([np.full(len(ix["names"]), part.name) for part, ix in zip(parts, indexes, strict=True)])
        self.prepared = list(parts)
        self.crop = CropConfig(**parts[0].meta["crop"])
        self.label_key: str | None = None
        self.label_seen = Seen()
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

    def relabelled(self, landmarks: NDArray[np.float64], key: str, seen: Seen) -> PreparedFaces:
        """The same faces with other landmarks [N, 68, 2] in original pixels, known by ``key``, into which went ``seen``."""
        if landmarks.shape != self.landmarks.shape:
            raise ValueError(f"expected landmarks {self.landmarks.shape}, got {landmarks.shape}")
        other = copy.copy(self)
        other.landmarks, other.label_key, other.label_seen = landmarks, key, seen
        return other

    def fingerprint(self, positions: Indices) -> str:
        """Identity of some of the faces by content: the parts they are from, their names, and labels not their own."""
        contents = sorted(part.meta["fingerprint"] for part in self.prepared if part.name in set(self.parts[positions]))
        labels = [self.label_key.encode()] if self.label_key is not None else []
        return digest([*(c.encode() for c in contents), *sorted(name.encode() for name in self.names[positions]), *labels])

    def seen(self, positions: Indices) -> Seen:
        """What a network that is fitted on some of the faces has seen."""
        licences = frozenset[Terms]().union(*(part.terms for part in self.prepared))
        names = frozenset(f"{self.prepared[0].meta['source']}/{name}" for name in self.names[positions].tolist())
        real = source(self.prepared[0].meta["source"]).role == "real"
        return self.label_seen | Seen(real=names if real else frozenset(), licences=licences)


def _concatenate(indexes: list[dict[str, NDArray[Any]]], key: str) -> NDArray[Any]:
    return np.concatenate([index[key] for index in indexes])


class FaceDataset(Dataset[Batch]):
    """Some of the prepared faces; with an augmenter for training, plain otherwise. Of training faces ``appearance`` changes
    the stored crops first.

    Items are drawn in whole batches. A batch holds ``image`` [B, C, S, S] uint8, ``landmarks`` [B, 68, 2] float32
    in crop pixels, ``position`` [B] in the table of faces, and, without augmentation, ``truth`` [B, 68, 2] float64
    in original pixels and ``crop_to_image`` [B, 2, 3] float64.
    """

    def __init__(
        self,
        faces: PreparedFaces,
        positions: Indices,
        augmenter: Augmenter | None = None,
        appearance: Appearance | None = None,
    ) -> None:
        if appearance is not None and augmenter is None:
            raise ValueError("only training pictures are changed")
        self.faces = faces
        self.appearance = appearance
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
                key = (step, int(self._ids[position]), repeat)
                stored = stored if self.appearance is None else self.appearance(stored, key)
                images[row], landmarks[row] = self.augmenter(stored, points, key)
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

    def sampler(self, batch_size: int, seed: int, steps_per_epoch: int | None) -> StepSampler:
        """What a training of these faces draws."""
        return StepSampler(len(self), batch_size, seed, steps_per_epoch)

    def fingerprint(self) -> str:
        """Identity of these faces, their labels and what becomes of their pictures by content."""
        own = self.faces.fingerprint(self.positions)
        return own if self.appearance is None else digest([own.encode(), self.appearance.fingerprint.encode()])

    def seen(self) -> Seen:
        """What a network that is fitted on these faces has seen."""
        own = self.faces.seen(self.positions)
        return own if self.appearance is None else own | self.appearance.seen


class MixedDataset(Dataset[Batch]):
    """Real and synthetic training faces in one numbering, real ones first; α is the share of synthetic in a batch.

    Batches are as those of :class:`FaceDataset`, with ``domain`` [B] beside: 0 real, 1 synthetic. Positions of synthetic
    faces count on behind the table of the real ones.
    """

    def __init__(self, real: FaceDataset, synthetic: FaceDataset, alpha: float) -> None:
        self.real, self.synthetic, self.alpha = real, synthetic, alpha

    def __len__(self) -> int:
        return len(self.real) + len(self.synthetic)

    def __getitem__(self, item: int | Draw) -> Batch:
        return {key: value[0] for key, value in self.__getitems__([item]).items()}

    def __getitems__(self, items: Sequence[int | Draw]) -> Batch:
        draws = [item if isinstance(item, tuple) else (0, item, 0) for item in items]
        n = len(self.real)
        real = [draw for draw in draws if draw[1] < n]
        synthetic = [(step, position - n, repeat) for step, position, repeat in draws if position >= n]
        batches = [dataset.__getitems__(d) for dataset, d in ((self.real, real), (self.synthetic, synthetic)) if d]
        if synthetic:
            batches[-1]["position"] = batches[-1]["position"] + len(self.real.faces)
        batch = {key: torch.cat([b[key] for b in batches]) for key in batches[0]}
        batch["domain"] = torch.tensor([0] * len(real) + [1] * len(synthetic))
        return batch

    def sampler(self, batch_size: int, seed: int, steps_per_epoch: int | None) -> DomainMixSampler:
        """What a training of these faces draws."""
        return DomainMixSampler(len(self.real), len(self.synthetic), self.alpha, batch_size, seed, steps_per_epoch)

    def fingerprint(self) -> str:
        """Identity by content. At α = 0 and 1 that of the one domain that is drawn from: it is the same training."""
        if self.alpha in (0, 1):
            return (self.synthetic if self.alpha else self.real).fingerprint()
        return digest(
            [repr(float(self.alpha)).encode(), self.real.fingerprint().encode(), self.synthetic.fingerprint().encode()]
        )

    def seen(self) -> Seen:
        """What a network that is fitted on these faces has seen."""
        if self.alpha in (0, 1):
            return (self.synthetic if self.alpha else self.real).seen()
        return self.real.seen() | self.synthetic.seen()
