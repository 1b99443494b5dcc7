"""How likely 68 points are as a face: probabilistic PCA of aligned shapes, fitted on the data and anchored by a prior.

The prior is mean and covariance of faces that this program makes (``python -m domaingap.data.doctor.prior``): it holds no
one's data. It counts as ``ANCHOR`` faces, so that a few faces are judged by it and many by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domaingap.landmarks import IBUG68

Array = NDArray[np.float64]

PRIOR = Path(__file__).with_name("prior.npz")
ANCHOR = 100
COMPONENTS = 30
FOLDS = 3
_N = 68
_RIGID = 4  # directions that the alignment takes out: place, size and roll


def align(points: Array, mean: Array) -> tuple[Array, Array]:
    """Points [n, 68, 2] as shapes of unit size, turned to the mean shape [68, 2] without reflection, and their roll [n] in
    radians. Points that all lie in one place come out as not a number."""
    z = points[..., 0] + 1j * points[..., 1]
    z = z - z.mean(axis=-1, keepdims=True)
    m = mean[:, 0] + 1j * mean[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        turn = (np.conj(z) * m).sum(axis=-1, keepdims=True)
        turn = turn / np.abs(turn)
        shape = z * turn / np.sqrt((np.abs(z) ** 2).mean(axis=-1, keepdims=True))
    return np.stack([shape.real, shape.imag], axis=-1), -np.angle(turn)[..., 0]


@cache
def prior() -> tuple[Array, Array]:
    """Mean shape [68, 2] and second moments [136, 136] around it of the faces that this program makes."""
    with np.load(PRIOR) as arrays:
        mean = arrays["mean"].astype(np.float64)
        axes, variances, rest = (arrays[name].astype(np.float64) for name in ("axes", "variances", "rest"))
    return mean, (axes * (variances - rest)) @ axes.T + float(rest) * np.eye(2 * _N)


def moments(points: Array, mean: Array) -> Array:
    """Second moments [136, 136] around the mean shape of points [n, 68, 2] and of their mirror images."""
    mirrored = points[:, IBUG68.flip_permutation] * np.array([-1.0, 1.0])
    shapes, _ = align(np.concatenate([points, mirrored]), mean)
    away = (shapes - mean).reshape(-1, 2 * _N)
    return np.asarray(away.T @ away / max(1, len(away)))


class ShapeModel:
    """A Gaussian of shapes around the prior's mean, with ``COMPONENTS`` directions of their own variance.

    Args:
        points: [n, 68, 2] of faces to learn from; the prior alone where n is 0.
    """

    def __init__(self, points: Array) -> None:
        self.mean, anchor = prior()
        n = len(points)
        covariance = (n * moments(points, self.mean) + ANCHOR * anchor) / (n + ANCHOR) if n else anchor
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1].copy(), vectors[:, ::-1]
        values[COMPONENTS:] = values[COMPONENTS : 2 * _N - _RIGID].mean()
        self.precision = (vectors / values) @ vectors.T
        blocks = [slice(2 * i, 2 * i + 2) for i in range(_N)]
        self._given_rest = np.stack([np.linalg.inv(self.precision[block, block]) for block in blocks])

    def distance(self, points: Array) -> tuple[Array, Array]:
        """Squared Mahalanobis distances [n] of points [n, 68, 2] from the mean shape, and rolls [n]."""
        shapes, roll = align(points, self.mean)
        away = (shapes - self.mean).reshape(-1, 2 * _N)
        return ((away @ self.precision) * away).sum(axis=1), roll

    def points_given_rest(self, points: Array) -> Array:
        """By how much each distance would be smaller without one point [n, 68]: how unexpected that is given the others."""
        shapes, _ = align(points, self.mean)
        pull = ((shapes - self.mean).reshape(-1, 2 * _N) @ self.precision).reshape(-1, _N, 2)
        return np.asarray(np.einsum("npi,pij,npj->np", pull, self._given_rest, pull))


def folds(groups: Sequence[str], n: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each face, the same for those of one group (photograph)."""
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    drawn = np.random.default_rng(seed).permutation(len(number)) % n
    return np.array([drawn[number[group]] for group in groups], dtype=np.int64)
