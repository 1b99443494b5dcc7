"""Faces as shapes: the frame (centre, scale, roll) of landmarks, their mirror image and their mean shape."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from domaingap.landmarks import IBUG68

_FLIP = torch.from_numpy(IBUG68.flip_permutation)


class Frame(NamedTuple):
    """Centre [..., 1, 2] and a rotation with scale [..., 2, 2]: ``(points - centre) @ turn`` lies in the frame."""

    centre: Tensor
    turn: Tensor

    def enter(self, points: Tensor) -> Tensor:
        inside: Tensor = (points - self.centre) @ self.turn
        return inside

    def leave(self, points: Tensor) -> Tensor:
        outside: Tensor = points @ torch.linalg.inv(self.turn) + self.centre
        return outside


def frame_of(points: Tensor, reference: Tensor) -> Frame:
    """The frame of points [..., 68, 2]: their mean, their root-mean-square distance from it as the unit of length, and
    the roll that brings them closest to a reference shape [68, 2] (least squares; Kendall's shape space in two dimensions).

    Raises:
        ValueError: points that all lie in one place.
    """
    centre = points.mean(dim=-2, keepdim=True)
    centred = points - centre
    scale = centred.square().sum(dim=-1).mean(dim=-1).sqrt()
    if bool((scale <= 0).any()) or not bool(torch.isfinite(scale).all()):
        raise ValueError("landmarks that all lie in one place, or aren't numbers, have no frame")
    # The angle of sum(conj(z) m) for points z and reference m as complex numbers.
    dot = (centred * reference).sum(dim=(-1, -2))
    cross = (centred[..., 0] * reference[..., 1] - centred[..., 1] * reference[..., 0]).sum(dim=-1)
    angle = torch.atan2(cross, dot)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    return Frame(centre, torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2))


def mirror(points: Tensor) -> Tensor:
    """Points [..., 68, 2] in a frame, mirrored left to right."""
    flipped: Tensor = points[..., _FLIP, :] * torch.tensor([-1.0, 1.0], dtype=points.dtype)
    return flipped


def with_mirror(points: Tensor) -> Tensor:
    """Points [n, 68, 2] in a frame, and behind them their mirror images: [2n, 68, 2]."""
    return torch.cat([points, mirror(points)])


def mean_shape_of(points: Tensor) -> Tensor:
    """Mean shape [68, 2] of points [n, 68, 2] and their mirror images: centred, of unit size, upright (generalised
    Procrustes analysis with unit-size shapes)."""
    eyes = [points[:, list(eye)].mean(dim=1) for eye in IBUG68.eyes]
    level = eyes[1] - eyes[0]
    angle = -torch.atan2(level[:, 1], level[:, 0])
    turn = torch.stack(
        [torch.stack([angle.cos(), angle.sin()], dim=-1), torch.stack([-angle.sin(), angle.cos()], dim=-1)], dim=-2
    )
    shapes = (points - points.mean(dim=1, keepdim=True)) @ turn
    shapes = shapes / shapes.square().sum(dim=-1).mean(dim=-1).sqrt()[:, None, None]
    for _ in range(5):
        mean = shapes.mean(dim=0)
        mean = (mean + mirror(mean)) / 2
        mean = mean / mean.square().sum(dim=-1).mean().sqrt()
        shapes = frame_of(shapes, mean).enter(shapes)
    return mean
