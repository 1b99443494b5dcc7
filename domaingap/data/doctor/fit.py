"""How well annotations lie on the faces of their pictures, as a localiser sees it that hasn't seen those photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor.localiser import UNIT, Localiser
from domaingap.data.doctor.shape_model import FOLDS, Array, folds
from domaingap.parallel import spread, worker_count

LEAST_FACES = 150
"""Fewer teach a localiser too little."""

MOST_FACES = 1500
"""More are looked at, but not learned from."""

_LEEWAY = 0.1
"""Standard deviation, in units of the face's size, that every coordinate may be off without saying anything."""


@dataclass(frozen=True)
class Fit:
    """A localiser for each fold, and the precision [136, 136] of what they miss annotations by."""

    localisers: tuple[Localiser, ...]
    precision: Array

    def misfit(self, views: NDArray[np.uint8], points: Array, fold: int = 0) -> Array:
        """How far points [n, 68, 2] lie from where their views [n, 76, 76] say: squared Mahalanobis distances [n]."""
        return _distance(self.localisers[fold](views) - points, self.precision)


def _distance(missed: Array, precision: Array) -> Array:
    away = missed.reshape(len(missed), -1) / UNIT
    return np.asarray(((away @ precision) * away).sum(axis=1))


_state: dict[str, Any] = {}


def _start_fitting(views: NDArray[np.uint8], points: Array, fold: NDArray[np.int64], learn: NDArray[np.bool_]) -> None:
    cv2.setNumThreads(1)
    _state.update(views=views, points=points, fold=fold, learn=learn)


def _fit_fold(number: int) -> tuple[Localiser, Array]:
    """The localiser that hasn't seen a fold, and what it finds there [n, 2, 68, 2]."""
    views, points, fold = _state["views"], _state["points"], _state["fold"]
    others = np.flatnonzero((fold != number) & _state["learn"])
    others = np.sort(np.random.default_rng(number).permutation(others)[:MOST_FACES])
    localiser = Localiser(views[others, 0], points[others, 0], seed=number)
    own = views[fold == number]
    found = localiser(own.reshape(-1, *own.shape[2:])).reshape(len(own), 2, 68, 2)
    return localiser, found


def fit_faces(
    views: NDArray[np.uint8], points: Array, groups: Sequence[str], learn: NDArray[np.bool_], workers: int | None
) -> tuple[Fit, Array, NDArray[np.int64]]:
    """Localisers for these faces, and what they say of them.

    Args:
        views: of each face [n, 2, 76, 76], as annotated and as if its picture were mirrored.
        points: in both views [n, 2, 68, 2].
        groups: whose photograph each face is in; no localiser judges a photograph that it was fitted on.
        learn: which faces may be learned from [n].
        workers: processes.

    Returns:
        the localisers, the misfits [n, 2] of both views, and the fold [n] of each face.
    """
    fold = folds(groups)
    numbers = range(FOLDS)
    arguments = (views, points, fold, learn)
    n_workers = worker_count(workers, FOLDS, 1)
    if n_workers == 1:
        _start_fitting(*arguments)
        fitted = [_fit_fold(number) for number in numbers]
        _state.clear()
    else:
        fitted = list(spread(_fit_fold, numbers, n_workers, _start_fitting, arguments, chunk=1))
    found = np.empty_like(points)
    for number, (_, there) in enumerate(fitted):
        found[fold == number] = there
    missed = found - points
    usual = missed[learn, 0].reshape(int(learn.sum()), -1) / UNIT
    # What annotations beside their faces are missed by must not widen what counts as usual.
    far = np.linalg.norm(usual, axis=1)
    usual = usual[far <= np.quantile(far, 0.97)]
    covariance = usual.T @ usual / len(usual) + _LEEWAY**2 * np.eye(usual.shape[1])
    fit = Fit(tuple(localiser for localiser, _ in fitted), np.linalg.inv(covariance))
    misfits = np.stack([_distance(missed[:, v], fit.precision) for v in range(2)], axis=1)
    return fit, misfits, fold
