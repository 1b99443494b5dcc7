"""Two conventions of labels on the same face.

S, as synthetic data sets label: the 3D points projected wherever they are, hidden or not.
R, as people label photographs: jaw points spread along the visible outline, brows on their upper edge, brows and nose
line only where they can be seen; plus an annotator's noise, longer along a contour than across it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometry import FaceGeometry
from domaingap.landmarks import IBUG68

Points = NDArray[np.float64]

_BROW_EDGE = 0.6
"""Share of the way from the brow's middle to its upper edge at which annotators put brow points."""

# Standard deviations along and across the contour in % of the outer eye corners' distance. The order of size is that
# of human disagreement on 300-W: jaw and brows loosest, eyes tightest (Sagonas et al., IVC 2016, fig. 5, read off).
_NOISE = {"jaw": (2.6, 1.1), "brows": (1.7, 1.1), "nose": (1.1, 0.8), "eyes": (0.8, 0.6), "mouth": (1.1, 0.8)}
_REGION = [region for region, points in IBUG68.regions.items() for _ in points]


def _neighbours(step: int) -> NDArray[np.int64]:
    """For every point the one before (-1) or after (1) it on its contour, which give the contour's direction."""
    return np.concatenate([
        np.take(contour.indices, np.arange(len(contour.indices)) + step, mode="wrap" if contour.closed else "clip")
        for contour in IBUG68.contours
    ])  # fmt: skip


def noise_covariance(points: Points) -> Points:
    """Covariances [68, 2, 2] in squared pixels of an annotator's noise on a face with these landmarks [68 or 70, 2]."""
    points = points[:68]
    unit = np.linalg.norm(points[36] - points[45]) / 100
    tangent = points[_neighbours(1)] - points[_neighbours(-1)]
    tangent = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    normal = tangent[:, ::-1] * np.array([1, -1])
    along, across = np.array([_NOISE[region] for region in _REGION]).T * unit
    return np.asarray(
        along[:, None, None] ** 2 * tangent[:, :, None] * tangent[:, None, :]
        + across[:, None, None] ** 2 * normal[:, :, None] * normal[:, None, :]
    )


def annotator_noise(points: Points, rng: np.random.Generator) -> Points:
    """One annotator's errors [68, 2] in pixels, drawn with :func:`noise_covariance`."""
    factor = np.linalg.cholesky(noise_covariance(points) + 1e-12 * np.eye(2))
    return np.asarray((factor @ rng.standard_normal((68, 2, 1)))[..., 0])


def people_labels(
    geometry: FaceGeometry,
    points: Points,
    projected: NDArray[Any],
    roll: float,
    hidden: Callable[[NDArray[Any]], NDArray[np.bool_]],
) -> Points:
    """R labels [70, 2] without noise.

    Args:
        geometry: of the face.
        points: its S labels [70, 2] in pixels.
        projected: [V, 2] pixels of all its vertices.
        roll: of the head in radians, counter-clockwise in the picture.
        hidden: tells of vertices, by index, which ones the face itself hides.
    """
    labels = points.copy()
    if len(geometry.people_landmarks):
        labels[:68] = projected[geometry.people_landmarks]
    if geometry.contours:
        labels[:17] = _outline(geometry, projected, roll)
    if len(geometry.brow_edges) and not len(geometry.people_landmarks):
        labels[17:27] += _BROW_EDGE * (projected[geometry.brow_edges] - labels[17:27])
    # Brows run to their inner end, the nose line to its tip: a hidden point goes to the next that is seen.
    lines = (range(17, 22), range(26, 21, -1), range(27, 31))
    unseen = hidden(geometry.people_landmarks if len(geometry.people_landmarks) else geometry.landmarks[:68])
    for line in lines:
        indices = list(line)
        for place, i in enumerate(indices):
            if unseen[i]:
                labels[i] = _first_seen(geometry, labels, indices[place:], unseen)
        if len(geometry.people_landmarks):
            _spread(labels, indices, unseen)
    return labels


def _spread(labels: Points, line: list[int], unseen: NDArray[np.bool_]) -> None:
    """Hidden points of a line that came to one place, from there towards the next one that is seen, half of the way."""
    place = 0
    while place < len(line):
        end = place
        while end < len(line) and unseen[line[end]]:
            end += 1
        if end < len(line):
            start = labels[line[place]].copy()
            for k in range(1, end - place):
                labels[line[place + k]] = start + 0.5 * k / (end - place) * (labels[line[end]] - start)
        place = end + 1


def _first_seen(geometry: FaceGeometry, labels: Points, chain: list[int], unseen: NDArray[np.bool_]) -> Points:
    """Where a chain of points comes into view: half-way between the last hidden and the first seen one."""
    for before, after in pairwise(chain):
        if not unseen[after]:
            return np.asarray((labels[before] + labels[after]) / 2)
    return np.asarray(labels[chain[0]])


def _outline(geometry: FaceGeometry, projected: NDArray[Any], roll: float) -> Points:
    """Jaw points [17, 2] on the outline: on each path the furthest point out, then spread as on the neutral face."""
    jaw = (geometry.people_landmarks if len(geometry.people_landmarks) else geometry.landmarks)[:17]
    neutral = geometry.mesh.vertices[jaw, :2].astype(np.float64)
    nose = geometry.mesh.vertices[geometry.landmarks[33], :2]
    out = neutral - nose
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    cos, sin = np.cos(roll), np.sin(roll)
    # Up is negative in pixels.
    directions = np.stack([cos * out[:, 0] - sin * out[:, 1], -(sin * out[:, 0] + cos * out[:, 1])], -1)
    corner = np.empty((17, 2))
    fine = np.linspace(0, 1, 4, endpoint=False)
    for k, path in enumerate(geometry.contours):
        nodes = projected[path]
        dense = np.concatenate(
            [(nodes[:-1, None] + np.diff(nodes, axis=0)[:, None] * fine[:, None]).reshape(-1, 2), nodes[-1:]]
        )
        corner[k] = dense[np.argmax(dense @ directions[k])]
    result = np.empty((17, 2))
    for half in (slice(0, 9), slice(8, 17)):
        rest = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(neutral[half], axis=0), axis=1))])
        run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corner[half], axis=0), axis=1))])
        at = rest / rest[-1] * run[-1]
        result[half] = np.stack([np.interp(at, run, corner[half][:, i]) for i in range(2)], -1)
    return result
