"""Results: predictions, metrics with intervals, and the files that other programs read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from domaingap.data.faces import FaceDataset
from domaingap.errors import UserError
from domaingap.metrics import REGIONS, THRESHOLDS, Normalizer, area_under_ced, failure_rate, normalized_mean_error
from domaingap.statistics import cluster_bootstrap

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
    """

    names: NDArray[np.str_]
    photographs: NDArray[np.str_]
    prediction: NDArray[np.float64]
    truth: NDArray[np.float64]
    box_sources: NDArray[np.str_]

    @classmethod
    def of(cls, dataset: FaceDataset, prediction: NDArray[np.float64]) -> Predictions:
        """Predictions [N, 68, 2] for a dataset's faces in their order."""
        faces, positions = dataset.faces, dataset.positions
        return cls(
            faces.names[positions],
            faces.photographs[positions],
            prediction,
            faces.landmarks[positions],
            faces.box_sources[positions],
        )

    def nme(self) -> NDArray[np.float64]:
        """NME of each face [N] in percent of the distance of the outer eye corners."""
        return self.per_face()["nme"]

    def per_face(self) -> dict[str, NDArray[np.float64]]:
        """What each metric averages, for each face [N], by the metric's name."""
        prediction, truth = torch.from_numpy(self.prediction), torch.from_numpy(self.truth)
        nme = normalized_mean_error(prediction, truth)
        values = {"nme": nme}
        values |= {f"nme_{region}": normalized_mean_error(prediction, truth, region=region) for region in REGIONS}
        normalizers: tuple[Normalizer, ...] = ("pupils", "box", "box_diagonal")
        values |= {f"nme_{n}": normalized_mean_error(prediction, truth, n) for n in normalizers}
        for t in THRESHOLDS:
            values[f"fr@{t:g}"] = torch.stack([failure_rate(x[None], t) for x in nme])
            values[f"auc@{t:g}"] = torch.stack([area_under_ced(x[None], t) for x in nme])
        return {name: value.numpy() for name, value in values.items()}

    def metrics(self) -> tuple[Metrics, Intervals]:
        """Every metric and its 95% interval over photographs, by name."""
        metrics, intervals = {}, {}
        for name, values in self.per_face().items():
            mean, low, high = cluster_bootstrap(values, self.photographs)
            metrics[name], intervals[name] = mean, (low, high)
        return metrics, intervals


def save_predictions(path: Path, sets: Mapping[str, Predictions]) -> None:
    """Write predictions of several sets, as ``<set>/names``, ``/photographs``, ``/prediction``, ``/truth``,
    ``/box_sources`` and ``/nme``: enough to recompute every metric without the network."""
    arrays: dict[str, Any] = {}
    for name, predictions in sets.items():
        arrays |= {f"{name}/{key}": value for key, value in vars(predictions).items()}
        arrays[f"{name}/nme"] = predictions.nme()
    temporary = path.with_name(f".{path.stem}.tmp.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(path)


def load_predictions(path: Path) -> dict[str, Predictions]:
    """The sets of a ``predictions.npz``; UserError where it can't be read."""
    try:
        with np.load(path) as arrays:
            sets = dict.fromkeys(key.split("/")[0] for key in arrays.files)
            fields = list(Predictions.__dataclass_fields__)
            return {name: Predictions(*(arrays[f"{name}/{field}"] for field in fields)) for name in sets}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: can't be read as predictions ({error})") from error


def read_results(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run below a folder that has a result, with its ``result.json``.

    Raises:
        UserError: the folder isn't there, or a result can't be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the --runs_dir of your runs")
    results = []
    for path in sorted(folder.rglob("result.json")):
        try:
            content = json.loads(path.read_text())
            content["recipe"], content["metrics"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a result of this suite ({error!r}); run again, or move it away") from error
        results.append((path.parent, content))
    return results


def finite(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return value if math.isfinite(value) else None
