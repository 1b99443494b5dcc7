"""Mistakes in the order of 68 points, each as what undoes it, and which of them makes a face of points that are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor.shape_model import Array, ShapeModel, align
from domaingap.landmarks import IBUG68

SWAPPED, SHIFTED, OTHER_ORDER = "left and right exchanged", "points shifted by one", "points in another order"
TRANSPOSED, FROM_BELOW = "rows and columns exchanged", "rows counted from below"

ORDERS = (SWAPPED, SHIFTED, OTHER_ORDER, TRANSPOSED, FROM_BELOW)


@dataclass(frozen=True)
class Mistake:
    """A mistake by its kind, in words, and what undoes it: an order of the points, and a sign or exchange of x and y."""

    kind: str
    detail: str
    order: NDArray[np.int64]
    turned: str = ""

    def undo(self, points: Array) -> Array:
        """The points [n, 68, 2] without it."""
        points = points[:, self.order]
        if self.turned == "transposed":
            return points[..., ::-1]
        return points * np.array([1.0, -1.0]) if self.turned == "below" else points


@cache
def mistakes() -> tuple[Mistake, ...]:
    """All that are tried."""
    return tuple(_mistakes())


def _mistakes() -> Iterator[Mistake]:
    same, flip = np.arange(68), IBUG68.flip_permutation
    seen = {same.tobytes()}

    def new(kind: str, detail: str, *changes: tuple[tuple[int, ...], NDArray[np.int64]]) -> Iterator[Mistake]:
        order = same.copy()
        for indices, others in changes:
            order[list(indices)] = others
        if order.tobytes() not in seen:
            seen.add(order.tobytes())
            yield Mistake(kind, detail, order)

    everything = tuple(range(68))
    yield from new(SWAPPED, "of all points (or x is counted from the right)", (everything, flip))
    yield Mistake(TRANSPOSED, "of all points", same, "transposed")
    yield Mistake(FROM_BELOW, "of all points", same, "below")
    yield from new(OTHER_ORDER, "the list is backwards", (everything, same[::-1]))
    for region, indices in IBUG68.regions.items():
        if region == "jaw":
            yield from new(OTHER_ORDER, "jaw backwards", (indices, flip[list(indices)]))
        else:
            yield from new(SWAPPED, region, (indices, flip[list(indices)]))
    for one, other in (IBUG68.eyes, tuple(contour.indices for contour in IBUG68.parts["brows"])):
        yield from new(SWAPPED, f"{_name(one)} and {_name(other)} whole", (one, np.array(other)), (other, np.array(one)))
    inner = tuple(i for i in everything if i not in IBUG68.regions["jaw"])
    yield from new(SWAPPED, "all but the jaw", (inner, flip[list(inner)]))
    for step in (1, -1, 2, -2):
        yield from new(SHIFTED if abs(step) == 1 else OTHER_ORDER, "through the list", (everything, np.roll(same, step)))
    contours = [contour.indices for contour in IBUG68.contours]
    groups: list[tuple[str, tuple[tuple[int, ...], ...]]] = [(_name(c), (c,)) for c in contours]
    groups += [(region, tuple(c.indices for c in parts)) for region, parts in IBUG68.parts.items() if len(parts) > 1]
    groups.append(("every contour", tuple(contours)))
    for name, group in groups:
        for step in (1, -1):
            yield from new(SHIFTED, f"along {name}", *((c, np.roll(c, step)) for c in group))
    for name, group in groups:
        yield from new(OTHER_ORDER, f"{name} backwards", *((c, np.array(c)[::-1]) for c in group))


def _name(contour: tuple[int, ...]) -> str:
    return f"points {contour[0]}-{contour[-1]}"


_UPRIGHT = np.radians(30.0)


def best_mistake(model: ShapeModel, points: Array) -> tuple[NDArray[np.int64], Array]:
    """Of points [n, 68, 2] the mistake [n] that explains them best, and the distance [n] that is left when it is undone.

    Some mistakes differ only by how the face stands once they are undone, so that standing upright counts.
    """
    left = np.full(len(points), np.inf)
    rank = left.copy()
    found = np.zeros(len(points), dtype=np.int64)
    for number, mistake in enumerate(mistakes()):
        d2, roll = model.distance(mistake.undo(points))
        stands = d2 * (1 + (roll / _UPRIGHT) ** 2)
        better = stands < rank
        rank[better], left[better], found[better] = stands[better], d2[better], number
    return found, left


def sorted_into_order(points: Array, model: ShapeModel) -> Array:
    """Points [68, 2] in whatever order of an upright face, each given to the place of the mean shape that it suits."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    shape = points - points.mean(axis=0)
    shape = shape / np.sqrt((shape**2).sum(axis=-1).mean())
    order = linear_sum_assignment(cdist(model.mean, shape, "sqeuclidean"))[1]
    for _ in range(3):
        # Turned and scaled to the mean by the order so far, all points with it.
        turned, _ = align(shape[order][None], model.mean)
        order = order[linear_sum_assignment(cdist(model.mean, turned[0], "sqeuclidean"))[1]]
    return np.asarray(points[order])
