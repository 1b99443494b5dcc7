"""Error against conditions: NME by pose, occlusion and light, of faces whose labels know them.

A data set says what its labels know in one place, ``FaceSource.conditions``; a run keeps it beside its predictions. Pose is
known of every face that has landmarks: where labels don't have it, it is estimated from the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domaingap.errors import UserError
from domaingap.statistics import ClusterBootstrap, Interval
from domaingap.study.by_face import ByFace
from domaingap.study.compare import Group, Strategies, compared_groups, families, labels
from domaingap.study.record import RunRecord
from domaingap.study.tables import Column, Table, interval_column, metric, number_column

LEAST = 10
"""Faces that a bin needs; one with fewer is joined to its smaller neighbour."""


@dataclass(frozen=True)
class Condition:
    """Something that may differ from face to face.

    Attributes:
        label: for a reader.
        unit: behind its numbers.
        edges: between bins, in order; None for quarters of the faces.
        absolute: whether bins are of its size, whatever its sign.
    """

    label: str
    unit: str
    edges: tuple[float, ...] | None
    absolute: bool = False

    def bins(self, values: NDArray[np.float64]) -> tuple[float, ...]:
        """The edges between bins of values [N]."""
        if self.edges is not None:
            return self.edges
        quarters = np.quantile(values, [0.25, 0.5, 0.75]).round(2)
        return tuple(float(edge) for edge in np.unique(quarters))


CONDITIONS: dict[str, Condition] = {
    "yaw": Condition("head turned to a side", "°", (10, 20, 30), absolute=True),
    "pitch": Condition("head down (below 0) or up", "°", (-10, 0, 10)),
    "roll": Condition("head tilted", "°", (5, 10, 20), absolute=True),
    "occlusion": Condition("landmarks that are hidden", "%", (5, 10, 20)),
    "light_ratio": Condition("light on one side more than on the other", " stops", (0.5, 1, 2)),
    "brightness": Condition("brightness of the skin over middle grey", " stops", None),
}
"""By the name under which labels answer it. ``yaw``, ``pitch`` and ``roll`` are in degrees: to the image's right, up and
counter-clockwise. ``occlusion`` is the share of the 68 points in % that something hides, the head itself included (a turned
head hides half of its jaw), or that lie outside of the picture. Of light see
:func:`domaingap.data.generated.appearance.light_on_face`."""

POSE = ("yaw", "pitch", "roll")

# Pose from landmarks.

MEAN_HEAD: NDArray[np.float64] = np.array([
    [-73.3, -2, 3.9], [-72.5, -20, 5.1], [-70.3, -37, 7.4], [-65.9, -54, 12.8], [-58, -71, 23.2], [-50.1, -84.5, 36.3],
    [-40.5, -96.5, 51.8], [-25.7, -105, 71.1], [0, -109, 81.3], [25.7, -105, 71.1], [40.5, -96.5, 51.8],
    [50.1, -84.5, 36.3], [58, -71, 23.2], [65.9, -54, 12.8], [70.3, -37, 7.4], [72.5, -20, 5.1], [73.3, -2, 3.9],
    [-58.9, 13.5, 63.9], [-50.7, 21, 78.2], [-38, 24, 88.9], [-24.5, 22, 94.7], [-12, 18, 95.5], [12, 18, 95.5],
    [24.5, 22, 94.7], [38, 24, 88.9], [50.7, 21, 78.2], [58.9, 13.5, 63.9], [0, 3, 92.2], [0, -10, 98.2],
    [0, -21.5, 104.7], [0, -33, 113.2], [-15, -42, 98.5], [-8, -45, 93.6], [0, -46.5, 95.5], [8, -45, 93.6],
    [15, -42, 98.5], [-45, -0.5, 74.5], [-37.5, 4.6, 83], [-26.8, 4.9, 83.9], [-18.5, -1.7, 76.1], [-26.8, -4.1, 83.9],
    [-37.2, -4.4, 82.8], [18.5, -1.7, 76.1], [26.8, 4.9, 83.9], [37.5, 4.6, 83], [45, -0.5, 74.5], [37.2, -4.4, 82.8],
    [26.8, -4.1, 83.9], [-25.5, -66, 90.5], [-15, -61, 97.3], [-5.5, -58, 99.7], [0, -59.2, 99.5], [5.5, -58, 99.7],
    [15, -61, 97.3], [25.5, -66, 90.5], [16.5, -72, 95.5], [7.5, -74.6, 97.3], [0, -75.2, 97.7], [-7.5, -74.6, 97.3],
    [-16.5, -72, 95.5], [-22.5, -66, 92.5], [-9.2, -65.9, 97.1], [0, -65.9, 97.9], [9.2, -65.9, 97.1],
    [22.5, -66, 92.5], [9.2, -66.1, 97.2], [0, -66.1, 98], [-9.2, -66.1, 97.2],
])  # fmt: skip
"""Landmarks [68, 3] of the built-in head without identity and expression, in mm: x to the image's right, y up, z to the
camera. Written down, since a report makes no faces; a test holds it against the head."""

FITTED = [*range(27, 49), 54, 0, 16]
"""Points that pose is fitted to: nose, eyes, corners of the mouth and ends of the jaw. They hardly move with expression, the
ends lie far behind the nose, which is what tells a turn, and people set them where they are (the rest of the jaw follows the
visible outline)."""

ROUNDS = 30
"""After which nothing moves any more, on generated faces."""


def estimated_pose(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw, pitch and roll [N, 3] in degrees of faces with landmarks [N, 68, 2] in pixels of any picture.

    The turn, size and place under which :data:`MEAN_HEAD` is closest to the landmarks (least squares under scaled
    orthographic projection). Of 200 generated faces of the target population the mean absolute error was 1.5 (yaw), 1.3
    (pitch) and 0.5 degrees (roll) with rendered labels and 1.3, 2.1 and 0.7 with people's; a face's own shape and expression
    and the near camera make it. Those faces vary around this very head. On photographs it isn't known: heads differ more,
    and what counts as a pitch of zero is a convention. (Of 1,378 faces of 300-W pitch averages 0 with a standard deviation
    of 8, yaw has one of 13, and roll differs from that of the eye corners' line by 2.)
    """
    points = np.asarray(landmarks, dtype=np.float64)[:, FITTED] * np.array([1.0, -1.0])
    head = MEAN_HEAD[FITTED] - MEAN_HEAD[FITTED].mean(axis=0)
    seen = points - points.mean(axis=1, keepdims=True)
    # Where depth would be known this were Kabsch's problem; it is taken from the last turn, which lowers the residual each
    # time. The first turn is the one of a frontal face.
    depth = np.zeros((len(points), len(head)))
    turn = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    for _ in range(ROUNDS):
        full = np.concatenate([seen, depth[..., None]], axis=-1)
        u, values, vt = np.linalg.svd(np.swapaxes(full, 1, 2) @ head)
        sign = np.ones_like(values)
        sign[:, 2] = np.linalg.det(u @ vt)
        turn = (u * sign[:, None]) @ vt
        scale = (values * sign).sum(axis=1) / (head**2).sum()
        depth = scale[:, None] * (head @ turn[:, 2, :, None])[..., 0]
    yaw = np.arctan2(-turn[:, 2, 0], turn[:, 2, 2])
    pitch = -np.arcsin(np.clip(turn[:, 2, 1], -1, 1))
    roll = np.arctan2(-turn[:, 0, 1], turn[:, 1, 1])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)))


# Errors by condition.


@dataclass(frozen=True)
class Known:
    """A condition's value of each face [N], NaN where it isn't known; and whether it was estimated from the landmarks."""

    values: NDArray[np.float64]
    estimated: bool


def conditions_of(run: RunRecord, on: str) -> dict[str, Known]:
    """What is known of the faces that a run was scored on, in the order of its predictions, by name.

    Raises:
        UserError: its predictions can't be read, or have no such set.
    """
    from domaingap.predictions import load_predictions

    path = run.folder / "predictions.npz"
    predictions = load_predictions(path).get(on)
    if predictions is None:
        raise UserError(f"{path}: no predictions on {on}")
    known = {name: Known(values, False) for name, values in predictions.conditions.items() if name in CONDITIONS}
    if not known.keys() >= set(POSE):
        pose = estimated_pose(predictions.truth)
        known |= {name: Known(pose[:, i], True) for i, name in enumerate(POSE) if name not in known}
    return {name: known[name] for name in CONDITIONS if name in known}


@dataclass(frozen=True)
class Bin:
    """Faces between two values of a condition: ``low`` is among them, ``high`` isn't, and either may be infinite."""

    low: float
    high: float
    text: str
    faces: int


@dataclass(frozen=True, eq=False)
class ErrorsBy:
    """NME by a condition.

    Attributes:
        name: of the condition.
        on: the set of faces.
        estimated: whether the condition was estimated from the true landmarks rather than known.
        bins: in the order of their values; one alone where there are too few faces for more.
        joined: how many bins were joined to another since they had fewer than :data:`LEAST` faces.
        unknown: faces without a value, which are in no bin.
        cells: of each group NME in % by bin: mean over its seeds and the bin's faces, with a 95% interval over photographs
            (cluster bootstrap of the faces' means over seeds; how seeds scatter isn't in it).
        left_out: groups without predictions, or on other faces.
    """

    name: str
    on: str
    estimated: bool
    bins: tuple[Bin, ...]
    joined: int
    unknown: int
    cells: dict[Group, tuple[Interval, ...]]
    left_out: tuple[Group, ...]

    @property
    def condition(self) -> Condition:
        return CONDITIONS[self.name]


def by_condition(groups: Sequence[Group], on: str, name: str, by_face: ByFace | None = None) -> ErrorsBy | None:
    """NME of groups by one condition; None where nothing is known of it. See :func:`by_conditions`."""
    return next(iter(by_conditions(groups, on, by_face, (name,))), None)


def by_conditions(
    groups: Sequence[Group], on: str, by_face: ByFace | None = None, names: Sequence[str] = tuple(CONDITIONS)
) -> list[ErrorsBy]:
    """NME of groups by each condition that is known of the faces.

    Args:
        groups: on the same faces, as those of a family are; those on others than the first readable one are left out.
        on: the set of faces.
        by_face: reads predictions, and keeps why some can't be read.
        names: of the conditions.
    """
    by_face = by_face or ByFace(on)
    found = {group: by_face.together(group.runs) for group in groups}
    first = next((group for group, same in found.items() if same is not None), None)
    if first is None:
        return []
    faces = by_face.of(first.first)
    assert faces is not None

    def here(group: Group) -> bool:
        own = by_face.of(group.first) if found[group] is not None else None
        return own is not None and np.array_equal(own.names, faces.names)

    errors = {group: same.nme.mean(axis=0) for group, same in found.items() if same is not None and here(group)}
    # Runs of an earlier version don't say what labels know; the newest of these is the likeliest to.
    newest = max((run for group in errors for run in group.runs), key=_written)
    try:
        known = conditions_of(newest, on)
    except UserError as error:
        by_face.problems[newest.folder / "predictions.npz"] = str(error)
        return []
    left_out = tuple(group for group in groups if group not in errors)
    nme = np.stack(list(errors.values()))
    results = []
    for name in names:
        if name not in known:
            continue
        values = np.abs(known[name].values) if CONDITIONS[name].absolute else known[name].values
        there = np.isfinite(values)
        if not there.any():
            continue
        bins, place, joined = _binned(CONDITIONS[name], values[there])
        by_bin = [_means(nme[:, there][:, place == i], faces.photographs[there][place == i]) for i in range(len(bins))]
        cells = {group: tuple(means[row] for means in by_bin) for row, group in enumerate(errors)}
        unknown = int((~there).sum())
        results.append(ErrorsBy(name, on, known[name].estimated, bins, joined, unknown, cells, left_out))
    return results


def _written(run: RunRecord) -> float:
    """When a run's predictions were written, in seconds; they are there, since they have been read."""
    try:
        return (run.folder / "predictions.npz").stat().st_mtime
    except OSError:
        return 0.0


def _means(values: NDArray[np.float64], photographs: NDArray[np.str_]) -> list[Interval]:
    """The mean of each row of values [G, N] with its interval; all see the same resamples of the photographs [N]."""
    drawn = ClusterBootstrap(photographs).means(values)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=-1)
    return [Interval(*map(float, of)) for of in zip(values.mean(axis=1), low, high, strict=True)]


def _binned(condition: Condition, values: NDArray[np.float64]) -> tuple[tuple[Bin, ...], NDArray[np.int64], int]:
    """The bins of values [N], the bin of each value [N], and how many bins were joined to others."""
    edges = list(condition.bins(values))
    asked = len(edges)
    while True:
        place = np.digitize(values, edges)
        counts = np.bincount(place, minlength=len(edges) + 1)
        smallest = int(counts.argmin())
        if counts[smallest] >= LEAST or not edges:
            break
        beside = [i for i in (smallest - 1, smallest + 1) if 0 <= i < len(counts)]
        other = min(beside, key=lambda i: int(counts[i]))
        del edges[min(smallest, other)]
    ends = [-math.inf, *edges, math.inf]
    bins = tuple(
        Bin(low, high, _text(low, high, condition), int(count))
        for low, high, count in zip(ends, ends[1:], counts.tolist(), strict=False)
    )
    return bins, place, asked - len(edges)


def _text(low: float, high: float, condition: Condition) -> str:
    if math.isinf(low) and math.isinf(high):
        return "all"
    if math.isinf(low):
        return f"under {high:g}{condition.unit}"
    return f"{low:g}{condition.unit} and more" if math.isinf(high) else f"{low:g} to {high:g}{condition.unit}"


def conditions_tables(
    records: Sequence[RunRecord], on: str, strategies: Strategies, by_face: ByFace | None = None
) -> list[Table]:
    """NME by each condition of which there are two bins or more, a row for each group; a table for each family."""
    by_face = by_face or ByFace(on)
    found = families(compared_groups(records, strategies))
    tables = []
    for family in found:
        groups = [group for group in family.groups if group.values(on)]
        name = f", {family.name}" if len(found) > 1 else ""
        tables += [condition_table(errors, name) for errors in by_conditions(groups, on, by_face) if len(errors.bins) > 1]
    return tables


def condition_table(errors: ErrorsBy, family: str = "") -> Table:
    """NME by one condition, a row for each group and a column for each bin; ``family`` ends the title."""
    groups = list(errors.cells)
    names = labels(groups, lambda g: (g.first.source, g.budget, g.first.selection, g.first.steps_answering))
    rows = [
        [
            names[group],
            group.first.source or None,
            group.budget,
            group.first.selection,
            len(group.runs),
            *errors.cells[group],
        ]
        for group in groups
    ]
    columns = [
        Column("strategy"), Column("synthetic"), number_column("real images"), Column("picked by"), number_column("seeds"),
        *(interval_column(f"{of.text} ({of.faces} faces)", metric("nme")) for of in errors.bins),
    ]  # fmt: skip
    condition = errors.condition
    how = "estimated from the true landmarks" if errors.estimated else "as the labels know it"
    notes = [
        f"{errors.name}: {condition.label}, {how}" + (", whatever its sign" if condition.absolute else "") + ".",
        "[ ]: 95% interval over images (photographs resampled, of the faces' means over seeds).",
    ]
    if errors.joined:
        notes.append(
            f"{errors.joined} bin{'s' if errors.joined > 1 else ''} with fewer than {LEAST} faces joined to others."
        )
    if errors.unknown:
        notes.append(f"{errors.unknown} face{'s' if errors.unknown > 1 else ''} without it left out.")
    if errors.left_out:
        s = "s" if len(errors.left_out) > 1 else ""
        notes.append(f"{len(errors.left_out)} group{s} without predictions on these faces left out.")
    return Table(f"NME % on {errors.on} by {errors.name}{family}", columns, rows, notes)
