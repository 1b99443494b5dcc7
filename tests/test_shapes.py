"""Frames and mean shapes against similarities and mirrors that were made here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domaingap.landmarks import IBUG68
from domaingap.shapes import frame_of, mean_shape_of, mirror
from tests.conftest import MEAN_FACE


def similar(points: torch.Tensor, angle: float, scale: float, shift: tuple[float, float]) -> torch.Tensor:
    """Points turned clockwise in the picture, scaled and shifted."""
    turn = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return points @ turn * scale + torch.tensor(shift, dtype=torch.float64)


def test_a_frame_takes_away_a_similarity_and_gives_it_back() -> None:
    face = torch.from_numpy(MEAN_FACE + np.random.default_rng(0).normal(0, 1, (68, 2)))
    reference = mean_shape_of(face[None])
    inside = frame_of(face, reference).enter(face)
    assert inside.mean(dim=0).abs().max() < 1e-12 and inside.square().sum(dim=-1).mean().item() == pytest.approx(1)
    for angle, scale, shift in ((0.5, 3.0, (100.0, -20.0)), (-2.8, 0.2, (0.0, 0.0))):
        moved = similar(face, angle, scale, shift)
        frame = frame_of(moved, reference)
        torch.testing.assert_close(frame.enter(moved), inside)
        torch.testing.assert_close(frame.leave(inside), moved)
    with pytest.raises(ValueError, match="no frame"):
        frame_of(torch.ones(68, 2), reference)


def test_the_mean_shape_of_one_face_in_many_places_is_that_face() -> None:
    face = torch.from_numpy(MEAN_FACE)
    symmetric = (face + torch.from_numpy(IBUG68.flip(MEAN_FACE, 97))) / 2
    placed = torch.stack(
        [similar(symmetric, a, s, (x, -x)) for a, s, x in ((0.0, 1.0, 0.0), (0.6, 2.5, 300.0), (-1.1, 0.4, 50.0))]
    )
    mean = mean_shape_of(placed)
    centred = symmetric - symmetric.mean(dim=0)
    torch.testing.assert_close(mean, centred / centred.square().sum(dim=-1).mean().sqrt())
    torch.testing.assert_close(mirror(mean), mean)
    assert (mean[45, 0] - mean[36, 0]).item() > 0.5, "upright: the picture's right eye is on the right"
