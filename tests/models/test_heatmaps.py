"""Heads of heatmaps and mirrored answers: right by NumPy, kept in checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from domaingap.config import ModelConfig, determining
from domaingap.errors import SettingError
from domaingap.landmarks import IBUG68
from domaingap.models.heatmaps import covariance, maps_of, soft_argmax
from domaingap.models.regressor import LandmarkRegressor, load_network, save_network
from tests.conftest import MEAN_FACE


def test_means_and_covariances_by_numpy() -> None:
    rng = np.random.default_rng(0)
    grid, logits = rng.random((50, 2)), rng.normal(0, 2, (3, 4, 50))
    mean, heat = soft_argmax(torch.from_numpy(logits), torch.from_numpy(grid))
    found = covariance(heat, torch.from_numpy(grid), mean).numpy()
    for face in range(3):
        for point in range(4):
            weights = np.exp(logits[face, point])
            np.testing.assert_allclose(mean[face, point].numpy(), np.average(grid, axis=0, weights=weights))
            np.testing.assert_allclose(found[face, point], np.cov(grid.T, aweights=weights, ddof=0), atol=1e-12)


@pytest.mark.parametrize("loss", ["rmse", "gaussian_nll", "star"])
def test_every_weight_learns_and_is_kept(loss: str, tmp_path: Path) -> None:
    model = LandmarkRegressor("test_resnet", 64, loss=loss, head="soft_argmax", dropout=0.1, drop_path=0.1)
    model.set_mean_shape(MEAN_FACE * 64 / 96)
    image = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    model.batch_loss({"image": image, "landmarks": torch.rand(3, 68, 2) * 64}).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    model.eval().mirror_test = True
    save_network(model, tmp_path / "a.ckpt")
    loaded = load_network(tmp_path / "a.ckpt").eval()
    assert loaded.mirror_test and torch.equal(loaded(image), model(image))
    once = model(image).detach().numpy()
    np.testing.assert_allclose(IBUG68.flip(model(image.flip(-1)).detach().numpy(), 64), once, atol=1e-3)


def test_what_cannot_be() -> None:
    with pytest.raises(SettingError, match="needs the spread of heatmaps"):
        ModelConfig(loss="star", head="regression")
    with pytest.raises(SettingError, match="soft_argmax, which needs maps"):
        maps_of("test_vit", 3, 96)
    # What networks had before there were heatmaps changes no identity.
    before = determining(ModelConfig(head="regression"))
    assert before.keys() == {"backbone", "pretrained", "loss", "init_from"}
    assert determining(ModelConfig()) == {**before, "head": "soft_argmax"}
