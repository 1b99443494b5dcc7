"""What networks answer on sets of faces: their score with intervals, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from domaingap.archives import read_arrays
from domaingap.errors import UserError
from domaingap.hashing import write_archive
from domaingap.metrics import METRICS, SIGMA_METRICS, Normalizer, normalized_mean_error, normalizer_length
from domaingap.statistics import ClusterBootstrap

if TYPE_CHECKING:
    # Reports read predictions without the data's libraries.
    from domaingap.data.faces import FaceDataset

KINDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "names": ("U", ()), "photographs": ("U", ()), "prediction": ("f", (68, 2)), "truth": ("f", (68, 2)),
    "box_sources": ("U", ()), "sigma": ("f", (68,)),
}  # fmt: skip
"""Of each array of a set of N faces: NumPy's kind of its type, and its shape behind N."""

CONDITION = "condition_"
"""What the names of arrays of :attr:`Predictions.conditions` begin with."""

Metrics = dict[str, float]
Intervals = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Predictions:
    """Predicted and true landmarks of a set of faces.

    Attributes:
        names: [N].
        photographs: [N] the photograph of each face; intervals resample these.
        prediction: [N, 68, 2] in original-image pixels.
        truth: likewise.
        box_sources: [N] where each face box came from.
        sigma: [N, 68] standard deviation of each predicted landmark's x and y, in original-image pixels, scaled as the
            checkpoint says (:attr:`domaingap.models.regressor.LandmarkRegressor.sigma_factor`; a label adapter moves points
            and leaves it); None of a network that gives none.
        conditions: what the labels know of the faces beside landmarks, such as pose and light: [N] by name, NaN where it
            isn't known; see :data:`domaingap.study.conditions.CONDITIONS`. Empty where they know nothing.
    """

    names: NDArray[np.str_]
    photographs: NDArray[np.str_]
    prediction: NDArray[np.float64]
    truth: NDArray[np.float64]
    box_sources: NDArray[np.str_]
    sigma: NDArray[np.float64] | None = None
    conditions: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, dataset: FaceDataset, prediction: NDArray[np.float64], sigma: NDArray[np.float64] | None = None
    ) -> Predictions:
        """Predictions [N, 68, 2], and their standard deviations [N, 68], for a dataset's faces in their order."""
        faces, positions = dataset.faces, dataset.positions
        return cls(
            faces.names[positions],
            faces.photographs[positions],
            prediction,
            faces.landmarks[positions],
            faces.box_sources[positions],
            sigma,
        )

    def nme(self) -> NDArray[np.float64]:
        """NME of each face [N] in percent of the distance of the outer eye corners."""
        return np.asarray(normalized_mean_error(torch.from_numpy(self.prediction), torch.from_numpy(self.truth)).numpy())

    def metrics(self) -> tuple[Metrics, Intervals]:
        """Every metric and its 95% interval over photographs, by name; those of standard deviations where there are some."""
        prediction, truth = torch.from_numpy(self.prediction), torch.from_numpy(self.truth)
        bootstrap = ClusterBootstrap(self.photographs)
        intervals = {
            name: metric.interval(metric.per_face(prediction, truth).numpy(), bootstrap) for name, metric in METRICS.items()
        }
        if self.sigma is not None:
            for name, of_sigma in SIGMA_METRICS.items():
                values = of_sigma.per_face(self.prediction, self.truth, self.sigma)
                intervals[name] = of_sigma.interval(values, bootstrap)
        return {name: i.mean for name, i in intervals.items()}, {name: (i.low, i.high) for name, i in intervals.items()}


def save_predictions(path: Path, sets: Mapping[str, Predictions]) -> None:
    """Write predictions of several sets, as ``<set>/names``, ``/photographs``, ``/prediction``, ``/truth``,
    ``/box_sources``, ``/nme`` and, where the network gives it, ``/sigma``: enough to recompute every metric without the
    network; and ``/condition_<name>`` for each thing that the labels know beside landmarks. Readers never see half of it."""
    arrays: dict[str, Any] = {}
    for name, predictions in sets.items():
        own = {key: getattr(predictions, key) for key in KINDS}
        arrays |= {f"{name}/{key}": value for key, value in own.items() if value is not None}
        arrays[f"{name}/nme"] = predictions.nme()
        arrays |= {f"{name}/{CONDITION}{key}": value for key, value in predictions.conditions.items()}
    write_archive(path, lambda file: np.savez_compressed(file, **arrays))


def load_predictions(path: Path) -> dict[str, Predictions]:
    """The sets of a ``predictions.npz``; UserError where it is damaged or holds something else."""
    advice = "give the run's command again to make it anew"
    arrays = read_arrays(path, "predictions", advice)
    try:
        return {name: _set(arrays, name) for name in dict.fromkeys(key.split("/")[0] for key in arrays)}
    except ValueError as error:
        raise UserError(f"{path}: can't be read as predictions ({error}); {advice}") from error


def _set(arrays: Mapping[str, NDArray[Any]], name: str) -> Predictions:
    """A set of faces by name; ValueError where arrays are missing or aren't what :class:`Predictions` says."""
    lacking = [key for key in KINDS if f"{name}/{key}" not in arrays and key != "sigma"]
    if lacking:
        raise ValueError(f"no {name}/{lacking[0]}")
    own = {key: arrays[f"{name}/{key}"] for key in KINDS if f"{name}/{key}" in arrays}
    n = len(own["names"]) if own["names"].ndim else 0
    for key, array in own.items():
        kind, shape = KINDS[key]
        if array.dtype.kind != kind or array.shape != (n, *shape) or not n:
            raise ValueError(f"{name}/{key} is {array.dtype} {array.shape}")
        # In the machine's own byte order, as torch wants it.
        own[key] = array.astype(np.float64) if kind == "f" else array
    conditions = {}
    for key, array in arrays.items():
        if key.startswith(f"{name}/{CONDITION}"):
            if array.dtype.kind != "f" or array.shape != (n,):
                raise ValueError(f"{key} is {array.dtype} {array.shape}")
            conditions[key.removeprefix(f"{name}/{CONDITION}")] = array.astype(np.float64)
    if not np.isfinite(own["truth"]).all():
        raise ValueError(f"{name}/truth isn't finite")
    for normalizer in get_args(Normalizer):
        normalizer_length(torch.from_numpy(own["truth"]), normalizer)  # ValueError where a face has none
    return Predictions(**own, conditions=conditions)
