"""A few validation faces that every validation looks at: what a network answers on them as it learns.

They are the same ones for whoever validates on the same faces, chosen by a hash of their names. Their answers are kept
beside a network's history, so that also a run that found the network trained can show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domaingap.archives import read_arrays
from domaingap.data.faces import FaceDataset
from domaingap.hashing import lowest_by_name, write_archive
from domaingap.models.regressor import LandmarkRegressor

N_WATCHED = 8
"""Faces of a validation set: a sheet of two rows, and less than a thousandth of a usual training's time."""

Looks = dict[str, NDArray[np.float32]]
"""Answers on the watched faces of each validation set, [k, 68, 2] in pixels of the crop."""
Kept = dict[int, dict[str, Tensor]]
"""Likewise in 16 bits (a sixteenth of a pixel at 128), by step."""


def watched(dataset: FaceDataset) -> list[int]:
    """Which of a dataset's faces are watched: their places in it, at most :data:`N_WATCHED`."""
    names = dataset.faces.names[dataset.positions].tolist()
    return lowest_by_name(names, N_WATCHED)


class Watch:
    """The watched faces of validation sets, by the sets' names, in memory."""

    def __init__(self, sets: Mapping[str, FaceDataset]) -> None:
        self._images = {name: dataset.__getitems__(watched(dataset))["image"] for name, dataset in sets.items()}

    @torch.no_grad()
    def look(self, model: LandmarkRegressor) -> dict[str, Tensor]:
        """A network's answers as they are kept; it is in evaluation mode, and stays as it is."""
        return {name: model(images.to(model.device)).half().cpu() for name, images in self._images.items()}


def looks(kept: Mapping[str, Tensor]) -> Looks:
    """Answers as they are shown."""
    return {name: np.asarray(points.float().numpy()) for name, points in kept.items()}


def check_kept(content: Any) -> Kept:
    """What a checkpoint says that it has kept; ValueError where it is something else."""

    def whole(points: Any) -> bool:
        return isinstance(points, Tensor) and points.dtype == torch.half and points.shape[1:] == (68, 2)

    if not isinstance(content, dict) or not all(
        type(step) is int and isinstance(sets, dict) and all(map(whole, sets.values())) for step, sets in content.items()
    ):
        raise ValueError("watched")
    return dict(content)


def save_watched(path: Path, kept: Kept, name: str) -> None:
    """Write the answers on the watched faces of a validation set by name: ``steps`` [P], ``points`` [P, k, 68, 2]."""
    mine = {step: sets[name].numpy() for step, sets in sorted(kept.items()) if name in sets}
    steps, points = np.array(list(mine), dtype=np.int64), np.stack(list(mine.values())) if mine else np.zeros((0, 0, 68, 2))
    write_archive(path, lambda file: np.savez_compressed(file, steps=steps, points=points.astype(np.float16)))


def read_watched(path: Path) -> dict[int, NDArray[np.float32]]:
    """Answers [k, 68, 2] by step, as :func:`save_watched` wrote them; none where they aren't there.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return {}
    arrays = read_arrays(path, "answers on watched faces", "delete the folder and give the command again")
    return dict(zip(arrays["steps"].tolist(), arrays["points"].astype(np.float32), strict=True))
