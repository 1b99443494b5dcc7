"""A small landmark localiser, fitted in seconds on the faces that are to be judged: where would the picture put the points?

Gradient orientations of a window around the face, ridge regression to the points, three times, each in the frame that the
last one found (as in supervised descent, Xiong and De la Torre, CVPR 2013). Faces are judged by one that hasn't seen their
photograph. That is too coarse for a landmark's place, and enough to tell whose face an annotation is.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor.shape_model import Array, align, prior
from domaingap.landmarks import IBUG68

WINDOW, VIEW, FACES_WIDE = 60, 76, 4.2
"""Side in pixels of what is looked at and of what is kept of a picture; the window's side in units of the face's size."""

UNIT = WINDOW / FACES_WIDE
"""Pixels of a view that are one unit of the face's size (root-mean-square distance of its points from their mean)."""

_BINS, _CELLS = 8, 10
_STAGES, _RIDGE, _TRIMMED = 3, 30.0, 2.0
_JITTERS, _MOVED, _SCALED, _NOISE = 6, 0.18, 0.15, 0.03


def size_of(points: Array) -> tuple[Array, Array]:
    """Centres [n, 2] and sizes [n] of points [n, 68, 2]."""
    centre = points.mean(axis=1)
    return centre, np.sqrt(((points - centre[:, None]) ** 2).sum(axis=-1).mean(axis=1))


def cut_view(gray: NDArray[np.uint8], points: Array) -> tuple[NDArray[np.uint8], Array]:
    """The view [76, 76] around points [68, 2] of a gray picture, and the points in its pixels.

    Outside the picture its edge is repeated.
    """
    (centre,), (size,) = size_of(points[None])
    scale = UNIT / max(size, 1e-6)
    picture, shift, by = gray, np.zeros(2), np.ones(2)
    if scale < 0.7:
        # Reduced with anti-aliasing first, the part that is looked at alone.
        reach = 1.1 * VIEW / scale / 2
        low = np.clip(np.floor(centre - reach).astype(int), 0, np.array(gray.shape[::-1]) - 1)
        high = np.clip(np.ceil(centre + reach).astype(int), low + 1, gray.shape[::-1])
        part = gray[low[1] : high[1], low[0] : high[0]]
        sides = np.maximum(1, np.round((high - low) * scale).astype(int))
        picture = np.asarray(cv2.resize(part, (int(sides[0]), int(sides[1])), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        by, shift = sides / (high - low), low
    place = (centre - shift + 0.5) * by - 0.5
    matrix = np.diag(scale / by)
    matrix = np.column_stack([matrix, (VIEW - 1) / 2 - matrix @ place])
    view = cv2.warpAffine(picture, matrix, (VIEW, VIEW), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(view, dtype=np.uint8), (points - centre) * scale + (VIEW - 1) / 2


@cache
def _cell_of() -> NDArray[np.int64]:
    cell = np.arange(WINDOW) * _CELLS // WINDOW
    return np.asarray((cell[:, None] * _CELLS + cell).ravel() * _BINS)


@cache
def _mirrored_features() -> NDArray[np.int64]:
    """Which features [800] a mirrored window has in the places of its own: nothing needs to be computed again."""
    places = np.arange(_CELLS * _CELLS * _BINS).reshape(_CELLS, _CELLS, _BINS)
    bins = (_BINS // 2 - np.arange(_BINS)) % _BINS
    return np.asarray(places[:, ::-1][:, :, bins].ravel())


def _features(window: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of gradient orientations [800] of a window [60, 60]: by cell and bin, over the contrast around."""
    smooth = cv2.GaussianBlur(window.astype(np.float32), (0, 0), 0.8)
    strength, angle = cv2.cartToPolar(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    contrast = np.sqrt(np.maximum(cv2.blur(strength * strength, (25, 25)), 0)) + 4.0
    weight = (np.asarray(strength) / contrast).ravel()
    place = np.asarray(angle).ravel() * np.float32(_BINS / (2 * np.pi))
    lower = np.floor(place)
    share, lower = place - lower, lower.astype(np.int64)
    n, cell = _CELLS * _CELLS * _BINS, _cell_of()
    histogram = np.bincount(cell + lower % _BINS, weight * (1 - share), n)
    histogram += np.bincount(cell + (lower + 1) % _BINS, weight * share, n)
    return np.sqrt(histogram / 40).astype(np.float32)


def _turns(size: Array, roll: Array) -> Array:
    """Matrices [n, 2, 2] from window units to view pixels."""
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2) * (size * UNIT)[:, None, None]


class Localiser:
    """Fitted on views [n, 76, 76] and their points [n, 68, 2] in view pixels, and on their mirror images."""

    def __init__(self, views: NDArray[np.uint8], points: Array, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        which = np.repeat(np.arange(len(views)), _JITTERS)
        centre, size = (values[which] for values in size_of(points))
        size = size / UNIT
        moved = np.arange(len(which)) % _JITTERS > 0
        centre = centre + moved[:, None] * rng.normal(0, _MOVED, centre.shape) * UNIT * size[:, None]
        size, roll = size * np.exp(moved * rng.normal(0, _SCALED, len(which))), np.zeros(len(which))
        self.stages: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]] = []
        for stage in range(_STAGES):
            seen = self._look(views, which, centre, size, roll)
            wanted = (points[which] - centre[:, None]) @ np.swapaxes(np.linalg.inv(_turns(size, roll)), 1, 2)
            both = np.concatenate([seen, seen[:, _mirrored_features()]])
            wanted = np.concatenate([wanted, wanted[:, IBUG68.flip_permutation] * np.array([-1.0, 1.0])])
            wanted = wanted.reshape(len(both), -1).astype(np.float32)
            means = both.mean(axis=0), wanted.mean(axis=0)
            both -= means[0]
            gram = both.T @ both + _RIDGE * np.eye(both.shape[1], dtype=np.float32)
            weights = np.linalg.solve(gram, both.T @ (wanted - means[1]))
            self.stages.append((means[0], weights, means[1]))
            if stage == 0:
                # Faces that the rest doesn't explain are no example: what is wrong must not be learned.
                off = np.abs(both @ weights + means[1] - wanted).mean(axis=1).reshape(2, -1, _JITTERS).mean(axis=(0, 2))
                kept = np.repeat(off < _TRIMMED * np.median(off), _JITTERS)
                which, centre, size, roll, both = which[kept], centre[kept], size[kept], roll[kept], both[: len(kept)][kept]
            if stage < _STAGES - 1:
                # Faces that it was fitted on are found too well; a little noise makes up for that.
                found = (both[: len(which)] @ weights + means[1]).reshape(-1, 68, 2)
                centre, size, roll = self._advance(found, centre, size, roll)
                noise = rng.normal(0, _NOISE, (4, len(which)))
                centre = centre + noise[:2].T * UNIT * size[:, None]
                size, roll = size * np.exp(noise[2]), roll + noise[3]

    def __call__(self, views: NDArray[np.uint8]) -> Array:
        """Points [n, 68, 2] in pixels of the views [n, 76, 76]."""
        n = len(views)
        which, centre = np.arange(n), np.full((n, 2), (VIEW - 1) / 2)
        size, roll, found = np.ones(n), np.zeros(n), np.empty((n, 68, 2))
        for stage, (mean, weights, offset) in enumerate(self.stages):
            found = ((self._look(views, which, centre, size, roll) - mean) @ weights + offset).reshape(-1, 68, 2)
            if stage < _STAGES - 1:
                centre, size, roll = self._advance(found, centre, size, roll)
        return centre[:, None] + found @ np.swapaxes(_turns(size, roll), 1, 2)

    @staticmethod
    def _look(
        views: NDArray[np.uint8], which: NDArray[np.int64], centre: Array, size: Array, roll: Array
    ) -> NDArray[np.float32]:
        seen = np.empty((len(which), _CELLS * _CELLS * _BINS), np.float32)
        into = np.linalg.inv(_turns(size, roll)) * UNIT
        offsets = (WINDOW - 1) / 2 - np.einsum("nij,nj->ni", into, centre)
        for row, i in enumerate(which):
            matrix = np.column_stack([into[row], offsets[row]])
            window = cv2.warpAffine(
                np.ascontiguousarray(views[i]), matrix, (WINDOW, WINDOW), flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            seen[row] = _features(np.asarray(window, dtype=np.uint8))
        return seen

    @staticmethod
    def _advance(found: Array, centre: Array, size: Array, roll: Array) -> tuple[Array, Array, Array]:
        """The frame of points [n, 68, 2] that were found in window units of another frame."""
        turned = align(found, prior()[0])[1]
        middle, larger = size_of(found)
        moved = np.einsum("nij,nj->ni", _turns(size, roll), middle)
        return centre + moved, size * np.clip(larger, 0.6, 1.6), roll + turned
