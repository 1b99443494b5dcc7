"""Losses by hand and against torch's densities; their table is what settings know of them."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from domaingap.config import ModelConfig
from domaingap.errors import UserError
from domaingap.losses import LOSSES, gaussian_nll, l1, rmse, smooth_l1, wing
from domaingap.study.arguments import parse_settings
from experiments.recipes import RECIPES


def test_losses_by_hand() -> None:
    truth = torch.zeros(2, 1, 2)
    prediction = torch.tensor([[[0.3, 0.4]], [[0.0, 0.001]]])
    assert rmse(prediction, truth).tolist() == pytest.approx([(0.25 / 2) ** 0.5, 0.001 / 2**0.5], rel=1e-5)
    assert l1(prediction, truth).tolist() == pytest.approx([0.35, 0.0005])
    # Above beta: |x| - beta / 2; below: x² / (2 beta).
    assert smooth_l1(prediction, truth).tolist() == pytest.approx([0.345, 0.001**2 / 0.02 / 2])
    w, e = 10 / 256, 2 / 256
    c = w - w * np.log(1 + w / e)
    assert wing(prediction, truth).tolist() == pytest.approx([0.35 - c, w * np.log(1 + 0.001 / e) / 2], rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_of_each_face_alone_and_smooth_at_zero(name: str) -> None:
    torch.manual_seed(0)
    prediction, truth = torch.rand(6, 68, 2), torch.rand(6, 68, 2)
    sigma = torch.rand(6, 68) + 0.01
    root = torch.rand(6, 68, 2, 2)
    spread = root @ root.mT
    values = LOSSES[name](prediction, truth, sigma, spread)
    alone = [LOSSES[name](prediction[i : i + 1], truth[i : i + 1], sigma[i : i + 1], spread[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(values, torch.cat(alone))
    exact = truth.clone().requires_grad_()
    LOSSES[name](exact, truth, sigma, spread).mean().backward()
    assert exact.grad is not None and torch.isfinite(exact.grad).all()
    assert (values > LOSSES[name](truth, truth, sigma, spread)).all(), "the truth itself does best"


def test_gaussian_nll_by_hand() -> None:
    """Two points of one face, 0.3 and 0.4 off with sigma 0.5, and exact with sigma 0.1."""
    truth = torch.zeros(1, 2, 2)
    prediction, sigma = torch.tensor([[[0.3, 0.4], [0.0, 0.0]]]), torch.tensor([[0.5, 0.1]])
    expected = math.log(0.25) + 0.25 / (2 * 0.25) + math.log(0.01)
    assert gaussian_nll(prediction, truth, sigma).tolist() == pytest.approx([expected])


def test_gaussian_nll_is_minus_the_logarithm_of_the_density() -> None:
    torch.manual_seed(1)
    prediction, truth, sigma = (
        torch.rand(4, 68, 2).double(),
        torch.rand(4, 68, 2).double(),
        torch.rand(4, 68).double() + 0.01,
    )
    density = torch.distributions.MultivariateNormal(prediction, sigma.square()[..., None, None] * torch.eye(2).double())
    expected = -density.log_prob(truth).sum(dim=-1) - 68 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian_nll(prediction, truth, sigma), expected)


def test_gaussian_nll_is_least_at_the_errors_own_spread() -> None:
    """Of all sigmas the root of half the mean squared distance does best: that of x and of y."""
    errors = torch.from_numpy(np.random.default_rng(0).normal(0, 0.03, (500, 68, 2)))
    own = errors.square().sum(dim=-1).mean().div(2).sqrt()
    assert own.item() == pytest.approx(0.03, rel=0.01)
    values = [
        gaussian_nll(errors, torch.zeros_like(errors), torch.full((500, 68), factor * own.item()).double()).mean().item()
        for factor in (0.98, 1.0, 1.02)
    ]
    assert values[1] < min(values[0], values[2])


def test_settings_take_every_loss_and_no_other() -> None:
    for name in LOSSES:
        head = "soft_argmax" if LOSSES[name].needs_covariance else "regression"
        given = parse_settings(RECIPES["real_only"], [f"--model.loss={name}", f"--model.head={head}"])
        assert given.model == ModelConfig(loss=name, head=head)
    with pytest.raises(UserError, match=r"--model\.loss is cross_entropy; known: " + ", ".join(LOSSES)) as error:
        parse_settings(RECIPES["real_only"], ["--model.loss=cross_entropy"])
    assert "\n" not in str(error.value)


def test_names_of_losses_cost_no_import_of_torch() -> None:
    code = "import sys, domaingap.config; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_star_by_numpys_eigenvectors() -> None:
    rng = np.random.default_rng(0)
    prediction, truth = rng.normal(0, 0.02, (2, 3, 68, 2))
    root = rng.normal(0, 0.1, (3, 68, 2, 2))
    spread = root @ root.swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(4 * spread)
    parts = np.abs(np.einsum("bnji,bnj->bni", vectors, 2 * (prediction - truth)))
    distance = np.where(parts < 0.01, parts**2 / 0.02, parts - 0.005)
    expected = (distance / np.sqrt(values + 1e-5) + values).sum(-1).mean(-1)
    found = LOSSES["star"](*(torch.from_numpy(x) for x in (prediction, truth)), None, torch.from_numpy(spread))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
