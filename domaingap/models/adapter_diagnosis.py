"""What a label adapter does: how far it moves landmarks, and what is left of the shapes that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domaingap.landmarks import IBUG68
from domaingap.metrics import normalizer_length
from domaingap.models.gap_and_error import GapAndError
from domaingap.models.label_adapter import LabelAdapter, Points, checked
from domaingap.shapes import frame_of, mean_shape_of


def spread_ratio(adapter: LabelAdapter, points: NDArray[Any]) -> float:
    """Shape spread after the adapter over that before it, of points [n, 68, 2].

    The spread is the root-mean-square deviation from the mean, each shape in its own frame. 1 keeps it; below, shapes are
    drawn towards their mean. NaN for fewer than two faces.
    """
    spreads = []
    for shapes in (checked(points, "points"), checked(adapter.adapt(points), "points")):
        inside = frame_of(shapes, adapter.reference).enter(shapes) if adapter.kind != "identity" else shapes
        spreads.append(float((inside - inside.mean(dim=0)).square().mean().sqrt()))
    return spreads[1] / spreads[0] if len(points) > 1 and spreads[0] > 0 else float("nan")


def shape_kept(adapter: LabelAdapter, points: NDArray[Any]) -> float:
    """Share of each face's own deviation from the mean that is left, of points [n, 68, 2]: the slope of the deviations
    after the adapter on those before. 1 keeps it; an adapter that exchanges a face's shape for another's can keep the
    spread, but not this. NaN for fewer than two faces."""
    inside, moved = _inside(adapter, points)
    before, change = inside - inside.mean(dim=0), moved - moved.mean(dim=0)
    return float(1 + (before * change).sum() / before.square().sum()) if len(points) > 1 else float("nan")


FEW = 20
"""Faces of which a spread is too little known to hold another to it."""


def spread_beside(labels: NDArray[Any], others: NDArray[Any]) -> float:
    """Shape spread of other labels [m, 68, 2], such as annotations, over that of labels [n, 68, 2], as far as it is known:
    two standard errors nearer to 1. Of fewer than :data:`FEW` faces 1, as their standard error isn't known either.

    It is of other people, too: where these differ more in shape or pose than the labels' people, so does it.
    """
    if min(len(labels), len(others)) < FEW:
        return 1.0
    reference = mean_shape_of(checked(labels, "labels"))
    logs, errors = [], []
    for points in (labels, others):
        shapes = checked(points, "labels")
        inside = frame_of(shapes, reference).enter(shapes)
        square = (inside - inside.mean(dim=0)).square().mean(dim=(1, 2)) * len(shapes) / (len(shapes) - 1)
        mean = float(square.mean())
        if mean <= 0:
            return 1.0
        logs.append(0.5 * np.log(mean))
        # Of the logarithm of a spread: half the relative standard error of the mean square.
        errors.append(0.5 * float(square.std()) / mean / np.sqrt(len(shapes)))
    log = logs[1] - logs[0]
    return float(np.exp(np.sign(log) * max(0.0, abs(log) - 2 * float(np.hypot(*errors)))))


def spread_bounds(floor: float, aim: float = 1.0) -> tuple[float, float]:
    """Between what an adapter's :func:`spread_ratio` of exact labels may lie: near 1, near its aim, or between the two.

    Args:
        floor: share that has to be kept.
        aim: spread of labels in the convention to reach, over that of the exact labels (:func:`spread_beside`). An adapter
            towards labels that vary less may draw its own together as far as these are, and no farther.
    """
    return floor * min(1.0, aim), max(1.0, aim) / floor


def keeps_spread(adapter: LabelAdapter, points: NDArray[Any], floor: float, aim: float = 1.0) -> bool:
    """Whether labels [n, 68, 2] keep their spread, and keep it as their own: not drawn together, not blown up, and not
    replaced by other variety, as by an adapter fitted on the predictions of a network that hardly tells faces apart."""
    low, high = spread_bounds(floor, aim)
    return shape_kept(adapter, points) >= low and low <= spread_ratio(adapter, points) <= high


def movement(adapter: LabelAdapter, points: NDArray[Any]) -> dict[str, float]:
    """How far the adapter moves points [n, 68, 2], per region: mean distance in % of the mean distance of the outer eye
    corners, each face in its own frame. (A mean of ratios would be ruled by faces in profile, whose eyes lie close.)"""
    inside, moved = _inside(adapter, points)
    distance, eyes = torch.linalg.vector_norm(moved, dim=-1), normalizer_length(inside).mean()
    return {
        region: float(100 * distance[:, list(IBUG68.region_indices(region))].mean() / eyes)
        for region in ("all", *IBUG68.regions)
    }


def _inside(adapter: LabelAdapter, points: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Points [n, 68, 2] and their displacements, both in the points' own frames."""
    before = checked(points, "points")
    frame = frame_of(before, adapter.reference if adapter.kind != "identity" else mean_shape_of(before))
    inside = frame.enter(before)
    return inside, frame.enter(torch.from_numpy(adapter.adapt(points))) - inside


def mean_movement(adapter: LabelAdapter, points: NDArray[Any]) -> tuple[Points, Points]:
    """Mean shape [68, 2] of points [n, 68, 2] and its mean displacement [68, 2], both upright and in % of the outer eye
    corners' distance of the mean shape."""
    inside, moved = _inside(adapter, points)
    mean = inside.mean(dim=0)
    unit = 100 / float(normalizer_length(mean))
    return mean.numpy() * unit, moved.mean(dim=0).numpy() * unit


def diagnose(
    adapter: LabelAdapter,
    predictions: NDArray[Any],
    labels: NDArray[Any],
    like: NDArray[Any] | None = None,
) -> dict[str, Any]:
    """What an adapter does to a network's predictions and to exact synthetic labels (protocol, section 3).

    Args:
        adapter: the adapter.
        predictions: [n, 68, 2] the network's answers on real faces that the adapter wasn't fitted on.
        labels: [m, 68, 2] exact labels of the synthetic training faces.
        like: [k, 68, 2] annotations whose spread the adapted labels may take.

    Returns:
        ``movement_predictions`` and ``movement_labels`` per region in %, ``spread_ratio`` and ``shape_kept`` of the labels;
        ``spread_aim``, what the spread ratio may be beside 1.
    """
    return {
        "movement_predictions": movement(adapter, predictions),
        "movement_labels": movement(adapter, labels),
        "spread_ratio": spread_ratio(adapter, labels),
        "shape_kept": shape_kept(adapter, labels),
        "spread_aim": spread_beside(labels, like) if like is not None else 1.0,
    }


MOVES = 0.5
"""How far, in % of the outer eye corners' distance, an adapter may move exact labels before that is worth a word."""


def movement_warning(
    diagnosis: Mapping[str, Any], use: str, difference: bool = False, parts: GapAndError | None = None
) -> str | None:
    """One sentence where an adapter for labels moves exact ones noticeably; else None.

    Real images alone can't tell another convention from the network's own mean error: on generated faces without any
    label gap an adapter fitted on predictions moves labels as well (``domaingap laboratory``). Held-out synthetic faces can,
    as far as the network errs alike in both domains.

    Args:
        diagnosis: of :func:`diagnose`.
        use: what the adapter is applied to.
        difference: it has learned the difference of both domains' errors.
        parts: how far answers and annotations lie apart, and why.
    """
    distance = diagnosis["movement_labels"]["all"]
    if use != "labels" or not distance >= MOVES:
        return None
    moves = f"it moves true synthetic labels by {distance:.1f}% of the eyes' distance"
    why = f"; {parts}" if parts is not None else ""
    if not difference:
        return (
            f"{moves}: right as far as the annotators follow another convention, wrong as far as it is the network's own "
            f"mean error, which real images alone can't tell apart{why}; --adapter.labels difference leaves the error out"
        )
    trust = "right as far as the network errs on real faces as on synthetic ones"
    if parts is not None and parts.errs_otherwise:
        trust += f", but its answers scatter {parts.scatter_ratio:.1f} times as far there"
    return f"{moves}: {trust}{why}"


def spread_warning(diagnosis: Mapping[str, Any], use: str, floor: float = 0.95) -> str | None:
    """One sentence where an adapter draws exact labels together, blows them up, or exchanges their shapes; else None."""
    ratio, kept = diagnosis["spread_ratio"], diagnosis["shape_kept"]
    low, high = spread_bounds(floor, diagnosis.get("spread_aim", 1.0))
    if (low <= ratio <= high and kept >= low) or not np.isfinite(ratio):
        return None
    effect = (
        "the labels it makes don't vary as faces do"
        if use == "labels"
        else "right for predictions, but don't use it on labels"
    )
    return (
        f"true synthetic labels have {ratio:.2f} of their shape spread after this adapter, and each keeps {kept:.2f} of its "
        f"own deviation from the mean (bound {low:.2f}): it also undoes the network's own errors; {effect}"
    )
