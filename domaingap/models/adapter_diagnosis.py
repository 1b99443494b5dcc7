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


def diagnose(adapter: LabelAdapter, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, Any]:
    """What an adapter does to a network's predictions and to exact synthetic labels (protocol, section 3).

    Args:
        adapter: the adapter.
        predictions: [n, 68, 2] the network's answers on real faces that the adapter wasn't fitted on.
        labels: [m, 68, 2] exact labels of the synthetic training faces.

    Returns:
        ``movement_predictions`` and ``movement_labels`` per region in %, ``spread_ratio`` and ``shape_kept`` of the labels.
    """
    return {
        "movement_predictions": movement(adapter, predictions),
        "movement_labels": movement(adapter, labels),
        "spread_ratio": spread_ratio(adapter, labels),
        "shape_kept": shape_kept(adapter, labels),
    }


MOVES = 0.5
"""How far, in % of the outer eye corners' distance, an adapter may move exact labels before that is worth a word."""


def movement_warning(diagnosis: Mapping[str, Any], use: str) -> str | None:
    """One sentence where an adapter for labels moves exact ones noticeably; else None.

    Real images alone can't tell another convention from the network's own mean error: on generated faces without any
    label gap an adapter fitted on predictions moves labels as well (``domaingap laboratory``).
    """
    distance = diagnosis["movement_labels"]["all"]
    if use != "labels" or not distance >= MOVES:
        return None
    return (
        f"it moves true synthetic labels by {distance:.1f}% of the eyes' distance: right as far as the annotators follow "
        "another convention, wrong as far as it is the network's own mean error, which real images alone can't tell apart"
    )


def spread_warning(diagnosis: Mapping[str, Any], use: str, floor: float = 0.95) -> str | None:
    """One sentence where an adapter draws exact labels together, blows them up, or exchanges their shapes; else None."""
    ratio, kept = diagnosis["spread_ratio"], diagnosis["shape_kept"]
    if (floor <= ratio <= 1 / floor and kept >= floor) or not np.isfinite(ratio):
        return None
    effect = (
        "the labels it makes don't vary as faces do"
        if use == "labels"
        else "right for predictions, but don't use it on labels"
    )
    return (
        f"true synthetic labels have {ratio:.2f} of their shape spread after this adapter, and each keeps {kept:.2f} of its "
        f"own deviation from the mean (bound {floor}): it also undoes the network's own errors; {effect}"
    )
