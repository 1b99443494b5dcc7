"""The network: any timm backbone, landmarks relative to a mean shape, losses by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from domaingap.errors import UserError
from domaingap.losses import LOSSES, l1, rmse, smooth_l1, wing
from domaingap.models.regressor import LandmarkRegressor, load_weights, save_network, to_image
from domaingap.stages import load_network
from tests.conftest import MEAN_FACE


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "legacy_xception", "mobilenetv3_small_100"])
@pytest.mark.parametrize("channels", [1, 3])
def test_backbones(backbone: str, channels: int) -> None:
    model = LandmarkRegressor(backbone, input_size=64, in_channels=channels)
    model.set_mean_shape(MEAN_FACE * 64 / 96)
    image = torch.randint(0, 256, (2, channels, 64, 64), dtype=torch.uint8)
    points = model.eval()(image)
    assert points.shape == (2, 68, 2)
    # Untrained, it answers the mean shape and little else.
    assert np.abs(points.detach().numpy() - MEAN_FACE * 64 / 96).max() < 16
    model.train().batch_loss({"image": image, "landmarks": torch.rand(2, 68, 2) * 64}).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_any_number_of_channels() -> None:
    model = LandmarkRegressor("test_resnet", input_size=32, in_channels=5)
    assert model.eval()(torch.zeros(1, 5, 32, 32, dtype=torch.uint8)).shape == (1, 68, 2)


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
def test_losses_are_means_over_the_batch_and_smooth_at_zero(name: str) -> None:
    torch.manual_seed(0)
    prediction, truth = torch.rand(6, 68, 2, requires_grad=True), torch.rand(6, 68, 2)
    values = LOSSES[name](prediction, truth)
    assert values.shape == (6,)
    halves = [LOSSES[name](prediction[i : i + 3], truth[i : i + 3]).mean() for i in (0, 3)]
    assert values.mean().item() == pytest.approx(sum(half.item() for half in halves) / 2)
    exact = truth.clone().requires_grad_()
    LOSSES[name](exact, truth).mean().backward()
    assert exact.grad is not None and torch.isfinite(exact.grad).all()


def test_16_bit_backbones_answer_in_32_bits() -> None:
    model = LandmarkRegressor("test_resnet", input_size=32)
    with torch.autocast("cpu", torch.bfloat16):
        points = model.eval()(torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8))
    assert points.dtype == torch.float32
    assert not torch.equal(points, points.bfloat16().float())


def test_points_map_to_the_picture() -> None:
    transform = torch.tensor([[[2.0, 0.0, 10.0], [0.0, 2.0, -5.0]]], dtype=torch.float64)
    assert to_image(torch.tensor([[[1.0, 3.0]]]), transform).tolist() == [[[12.0, 1.0]]]


def test_saved_networks_load_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LandmarkRegressor("test_resnet", input_size=32, pretrained=False)
    model.hparams["pretrained"] = True  # as if its weights had come from the hub
    save_network(model, tmp_path / "a.ckpt")
    image = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    for loaded in (load_network(tmp_path / "a.ckpt"), LandmarkRegressor.load_from_checkpoint(tmp_path / "a.ckpt")):
        assert torch.equal(loaded.eval()(image), model.eval()(image))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_network(LandmarkRegressor("test_resnet", input_size=32), tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt: a checkpoint of another network \(network\..*the network needs"):
        load_weights(LandmarkRegressor("test_resnet", input_size=32, in_channels=3), tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="can't be read as a checkpoint"):
        load_network(tmp_path / "b.ckpt")
    torch.save({"weights": 1}, tmp_path / "c.ckpt")
    with pytest.raises(UserError, match="no network's weights"):
        load_network(tmp_path / "c.ckpt")
    with pytest.raises(UserError, match="no such checkpoint"):
        load_network(tmp_path / "d.ckpt")


def test_unknown_backbone_and_unreachable_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no model 'resnet19'"):
        LandmarkRegressor("resnet19")

    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("domaingap.models.regressor.timm.create_model", no_network)
    with pytest.raises(UserError, match="pretrained weights of resnet18 can't be fetched.*--model.pretrained false"):
        LandmarkRegressor("resnet18", pretrained=True)
