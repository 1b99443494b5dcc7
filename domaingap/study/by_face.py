"""Errors by face of many runs, from their predictions, each file read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domaingap.errors import UserError
from domaingap.landmarks import IBUG68
from domaingap.study.record import RunRecord


class LandmarkErrors(NamedTuple):
    """Errors by landmark, means over faces, each face turned and scaled so that its true outer eye corners are level and 100
    apart: errors are in % of their distance.

    Attributes:
        shape: [68, 2] the mean true face, its eyes' middle at the origin, y down.
        distance: [68] mean distance of predicted and true point.
        bias: [68, 2] mean of predicted minus true point: what all faces err alike in, as under another label convention.
    """

    shape: NDArray[np.float64]
    distance: NDArray[np.float64]
    bias: NDArray[np.float64]


class FaceErrors(NamedTuple):
    """NME of each face [N] in % of the outer eye corners' distance, with the faces' names and photographs, and errors by
    landmark."""

    names: NDArray[np.str_]
    photographs: NDArray[np.str_]
    nme: NDArray[np.float64]
    landmarks: LandmarkErrors


class SameFaces(NamedTuple):
    """NME [R, N] of R runs on the same N faces, with these faces' photographs."""

    nme: NDArray[np.float64]
    photographs: NDArray[np.str_]


def landmark_errors(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> LandmarkErrors:
    """Errors by landmark of predicted and true points [N, 68, 2] in any pixels."""
    # As complex numbers: a similarity is a product and a sum.
    true, predicted = (points[..., 0] + 1j * points[..., 1] for points in (truth, prediction))
    left, right = (true[:, corner, None] for corner in IBUG68.outer_corners)
    level = 100 / (right - left)
    shape, error = (true - (left + right) / 2) * level, (predicted - true) * level

    def plane(points: NDArray[np.complex128]) -> NDArray[np.float64]:
        return np.stack([points.real, points.imag], axis=-1)

    return LandmarkErrors(plane(shape.mean(axis=0)), np.abs(error).mean(axis=0), plane(error.mean(axis=0)))


@dataclass
class ByFace:
    """Reads the predictions of runs on one set of faces.

    Attributes:
        on: the set.
        problems: why a file couldn't be read, by file.
    """

    on: str
    problems: dict[Path, str] = field(default_factory=dict)
    _read: dict[Path, FaceErrors | None] = field(default_factory=dict)

    def of(self, run: RunRecord) -> FaceErrors | None:
        """A run's errors; None where its file can't be read, or is without this set."""
        path = run.folder / "predictions.npz"
        if path not in self._read:
            self._read[path] = self._errors(path)
        return self._read[path]

    def _errors(self, path: Path) -> FaceErrors | None:
        from domaingap.predictions import load_predictions

        try:
            found = load_predictions(path).get(self.on)
        except UserError as error:
            self.problems[path] = str(error)
            return None
        if found is None:
            self.problems[path] = f"{path}: no predictions on {self.on}"
            return None
        landmarks = landmark_errors(found.prediction, found.truth)
        return FaceErrors(found.names, found.photographs, found.nme(), landmarks)

    def together(self, runs: Sequence[RunRecord]) -> SameFaces | None:
        """The errors of several runs; None where one has none, or they aren't on the same faces."""
        read = [self.of(run) for run in runs]
        found = [errors for errors in read if errors is not None]
        if not found or len(found) < len(read):
            return None
        first = found[0]
        for run, errors in zip(runs, found, strict=True):
            if not np.array_equal(errors.names, first.names):
                path = run.folder / "predictions.npz"
                self.problems[path] = f"{path}: on other {self.on} faces than {runs[0].folder / 'predictions.npz'}"
                return None
        return SameFaces(np.stack([errors.nme for errors in found]), first.photographs)

    def said(self) -> list[str]:
        """The problems, a line for each kind with its first file."""
        kinds: dict[Any, list[str]] = {}
        for path, problem in self.problems.items():
            kinds.setdefault(problem.removeprefix(str(path)), []).append(problem)
        return [of[0] + (f" (and {len(of) - 1} more files likewise)" if len(of) > 1 else "") for of in kinds.values()]
