"""The built-in head's identities that have names, on other heads: few people, or scans of adults, span too little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometries.builtin.fields import Fields
from domaingap.data.generated.geometries.builtin.head import CHILD
from domaingap.data.generated.geometries.builtin.template import SIDE

Array = NDArray[Any]

NAMED = 38
"""How many of the built-in head's identities have names: jaws, chins, noses, eyes, brows and cheeks as people differ."""


def named_fields(vertices: Array, teeth: Sequence[tuple[Array, float]], eyeballs: Sequence[Array]) -> Array:
    """Displacements [NAMED, V, 3] in mm of one standard deviation each.

    Args:
        vertices: [V, 3] of a head in the frame that all share.
        teeth: vertices of the upper and of the lower teeth, which move as one point of the lips at a height does.
        eyeballs: vertices of each, which move with their middle.
    """
    anchors = vertices.astype(float).copy()
    for rows, height in teeth:
        anchors[rows] = np.stack([0.5 * vertices[rows, 0], np.full(len(rows), height), np.full(len(rows), 80.0)], -1)
    for rows in eyeballs:
        anchors[rows] = vertices[rows].mean(0) * [1, 1, 0] + [0, 0, 84.0]
    side = np.arctan2(anchors[:, 0], anchors[:, 2]) * SIDE
    fields = Fields(side, anchors, vertices.astype(float)).identity(np.random.default_rng(68))[:NAMED]
    return np.asarray(np.stack(fields), np.float32)


def child_of(start: int, n: int) -> Array:
    """What makes a child [n] where the named fields begin at ``start``."""
    child = np.zeros(n)
    for k, amount in CHILD.items():
        child[start + k] = amount
    return child
