"""The network: any timm backbone, landmarks relative to a mean shape, losses by hand."""

from __future__ import annotations

import math
import re
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from domaingap.errors import UserError
from domaingap.models.label_adapter import LabelAdapter
from domaingap.models.regressor import (
    LandmarkRegressor,
    copy_with,
    load_network,
    load_weights,
    read_checkpoint,
    save_network,
    to_image,
)
from domaingap.provenance import Seen
from domaingap.stages import checkpoint_seen
from tests.conftest import MEAN_FACE
from tests.fuzz.mutate import CANARY, Payload


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "legacy_xception", "mobilenetv3_small_100"])
@pytest.mark.parametrize("channels", [1, 3])
def test_backbones(backbone: str, channels: int) -> None:
    model = LandmarkRegressor(backbone, input_size=64, in_channels=channels)
    model.set_mean_shape(MEAN_FACE * 64 / 96)
    image = torch.randint(0, 256, (2, channels, 64, 64), dtype=torch.uint8)
    points = model.eval()(image)
    assert points.shape == (2, 68, 2)
    # Untrained, it answers the mean shape and little else.
    assert np.abs(points.detach().numpy() - MEAN_FACE * 64 / 96).max() < 1
    model.train().batch_loss({"image": image, "landmarks": torch.rand(2, 68, 2) * 64}).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_any_number_of_channels() -> None:
    model = LandmarkRegressor("test_resnet", input_size=32, in_channels=5)
    assert model.eval()(torch.zeros(1, 5, 32, 32, dtype=torch.uint8)).shape == (1, 68, 2)


def test_16_bit_backbones_answer_in_32_bits() -> None:
    model = LandmarkRegressor("test_resnet", input_size=32)
    with torch.autocast("cpu", torch.bfloat16):
        points = model.eval()(torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8))
    assert points.dtype == torch.float32
    assert not torch.equal(points, points.bfloat16().float())


def test_standard_deviations_are_bounded_and_in_the_pictures_pixels() -> None:
    model = LandmarkRegressor("test_resnet", input_size=32, loss="gaussian_nll").eval()
    image = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    # A turn by 30 degrees and a scale of 3: the first face's pixels are thrice as large in the picture.
    turn = torch.tensor([[math.cos(0.5236), -math.sin(0.5236), 9.0], [math.sin(0.5236), math.cos(0.5236), -4.0]])
    transform = torch.stack([turn * torch.tensor([3.0, 3.0, 1.0]), torch.eye(3)[:2]]).double()
    answer = model.predict_step({"image": image, "crop_to_image": transform}, 0)
    in_crop = model.relative(image).sigma
    assert answer.sigma is not None and in_crop is not None and answer.sigma.shape == (2, 68)
    torch.testing.assert_close(answer.sigma, in_crop.double() * 32 * torch.tensor([[3.0], [1.0]]))
    torch.testing.assert_close(answer.points, to_image(model(image), transform))
    torch.testing.assert_close(in_crop, torch.full((2, 68), 0.05), rtol=0.1, atol=0.0, msg="untrained, all the same")
    for bias, bound in ((1e4, 2.5), (-1e4, 0.001)):
        torch.nn.init.constant_(model.head.bias, bias)
        torch.testing.assert_close(model.relative(image).sigma, torch.full((2, 68), bound))


def test_a_network_learns_how_sure_it_can_be() -> None:
    """Jaw points are annotated four times as loosely as all others; the answer tells them apart."""
    torch.manual_seed(0)
    model = LandmarkRegressor("test_resnet", input_size=32, loss="gaussian_nll")
    model.set_mean_shape(MEAN_FACE / 3)
    features = torch.nn.functional.one_hot(torch.zeros(64, dtype=torch.int64), model.head.in_features).float()
    model.network = torch.nn.Identity()  # what the head learns is asked here
    model.network.forward = lambda image: features  # type: ignore[method-assign]
    spread = torch.full((68, 1), 0.5)
    spread[:17] = 2.0
    image, truth = torch.zeros(64, 1, 32, 32), torch.from_numpy(MEAN_FACE / 3).float()
    optimizer = torch.optim.Adam(model.head.parameters(), lr=2e-2)
    for _ in range(200):
        optimizer.zero_grad()
        landmarks = truth + torch.randn(64, 68, 2) * spread
        model.batch_loss({"image": image, "landmarks": landmarks}).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    sigma = model.relative(image).sigma
    assert sigma is not None
    # In units of the crop's side, of 32 pixels.
    assert sigma[:, :17].mean().item() * 32 == pytest.approx(2.0, rel=0.1)
    assert sigma[:, 17:].mean().item() * 32 == pytest.approx(0.5, rel=0.1)


def test_only_a_loss_that_needs_them_changes_the_head(tmp_path: Path) -> None:
    plain = LandmarkRegressor("test_resnet", input_size=32, loss="l1")
    assert plain.head.out_features == 136
    assert plain.eval().relative(torch.zeros(1, 1, 32, 32, dtype=torch.uint8)).sigma is None
    unsure = LandmarkRegressor("test_resnet", input_size=32, loss="gaussian_nll")
    assert unsure.head.out_features == 204
    save_network(unsure, tmp_path / "a.ckpt")
    image = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(load_network(tmp_path / "a.ckpt").eval().relative(image).sigma, unsure.eval().relative(image).sigma)
    with pytest.raises(UserError, match=r"head\.weight is \(204.*--model\.loss"):
        load_weights(plain, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="no loss 'l3'; known: rmse, "):
        LandmarkRegressor("test_resnet", loss="l3")


def test_the_factor_of_standard_deviations_is_kept_and_scales_answers_alone(tmp_path: Path) -> None:
    model = LandmarkRegressor("test_resnet", input_size=32, loss="gaussian_nll").eval()
    save_network(model, tmp_path / "plain.ckpt")
    copy_with(tmp_path / "plain.ckpt", tmp_path / "a.ckpt", sigma_factor=2.5)
    scaled = load_network(tmp_path / "a.ckpt").eval()
    save_network(scaled, tmp_path / "b.ckpt")
    assert [load_network(tmp_path / f"{name}.ckpt").sigma_factor for name in ("plain", "a", "b")] == [None, 2.5, 2.5]
    batch = {
        "image": torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8),
        "landmarks": torch.rand(2, 68, 2) * 32,
        "crop_to_image": torch.tensor([[[2.0, 0, 1], [0, 2.0, 3]]], dtype=torch.float64).expand(2, 2, 3),
    }
    before, after = model.predict_step(batch, 0), scaled.predict_step(batch, 0)
    torch.testing.assert_close(after.sigma, 2.5 * before.sigma)
    assert torch.equal(after.points, before.points)
    assert torch.equal(scaled.batch_loss(batch), model.batch_loss(batch)), "what is trained doesn't see it"


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
    with pytest.raises(UserError, match="resnet19.*no such model.*resnet18"):
        LandmarkRegressor("resnet19")

    create = timm.create_model

    def no_network(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("pretrained"):
            raise OSError("no route to host")
        return create(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(UserError, match="pretrained weights of resnet18 can't be fetched.*--model.pretrained false"):
        LandmarkRegressor("resnet18", pretrained=True)


def _changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def _weights(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["state_dict"].update({key.replace("_", "."): value for key, value in changes.items()})


def _settings(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["hyper_parameters"].update(changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_weights(head_bias=torch.zeros(1).expand(136)), "head.bias claims to be larger than it is"),
        (_weights(head_bias=torch.zeros(1).expand(1 << 45)), "head.bias claims to be larger than it is"),
        (_weights(head_bias=torch.full((136,), float("nan"))), "head.bias isn't finite"),
        (_weights(head_bias=torch.zeros(136).to_sparse()), "head.bias isn't a plain tensor"),
        (_weights(head_bias=[1.0]), "head.bias isn't a tensor"),
        (_weights(head_bias=torch.zeros(136, dtype=torch.int64)), "head.bias holds torch.int64"),
        (_settings(in_channels=1000), "the network needs"),
        (_settings(loss="gaussian_nll"), "the network needs"),
        (_settings(in_channels=10**12), "in_channels is 1000000000000"),
        (_settings(input_size=10**6), "input_size is 1000000"),
        (_settings(input_size=True), "input_size is True"),
        (_settings(backbone="vit_giant_patch14_224", input_size=224), "they are too few"),
        (_settings(backbone="vit_giant_patch14_224", input_size=225), "they are too few"),
        (_settings(backbone=["resnet18"]), "backbone is"),
        (_settings(backbone="landmarks"), "can't be built here (backbone is landmarks, and timm has no such model"),
        (_settings(backbone="resnet18.nope"), "can't be built here (backbone is resnet18.nope, and resnet18 has no weights"),
        (_settings(loss=[]), "loss is"),
        (_settings(depth=3), "depth is 3"),
        (lambda content: content.update(sigma_factor=0.0), "its sigma_factor is 0.0"),
        (lambda content: content.update(sigma_factor=float("inf")), "its sigma_factor is inf"),
        (lambda content: content.update(sigma_factor="2"), "its sigma_factor is '2'"),
        (lambda content: content.update(hyper_parameters=3), "no hyper_parameters"),
        (lambda content: content.update(state_dict=torch.zeros(3)), "holds no network's weights"),
    ],
)
def test_odd_checkpoints_are_refused_before_anything_is_made(
    change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    save_network(LandmarkRegressor("test_resnet", input_size=32), tmp_path / "a.ckpt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=rf"a\.ckpt: .*{re.escape(said)}"):
        load_network(_changed(tmp_path / "a.ckpt", change))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kB"


def test_damage_that_pytorch_does_not_look_for(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    save_network(LandmarkRegressor("test_resnet", input_size=32), path)
    with zipfile.ZipFile(path) as archive:
        info = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(path.read_bytes())
    content[info.header_offset + info.file_size // 2] ^= 1
    path.write_bytes(bytes(content))
    torch.load(path, weights_only=True)  # takes it
    with pytest.raises(UserError, match="can't be read as a checkpoint"):
        load_network(path)


def test_a_key_that_takes_hours_to_hash(tmp_path: Path) -> None:
    save_network(LandmarkRegressor("test_resnet", input_size=32), tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for tuples in (10, 40):
        # A dictionary whose key is a pair of one pair, which is a pair of one pair, and so on.
        pairs = b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(tuples))
        odd = b"\x80\x02}X\x0a\x00\x00\x00state_dict})q\x00" + pairs + b"K\x01ss."
        with zipfile.ZipFile(tmp_path / f"{tuples}.ckpt", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, odd if name.endswith("data.pkl") else content)
    with pytest.raises(UserError, match="holds no network's weights"):
        read_checkpoint(tmp_path / "10.ckpt")
    with pytest.raises(UserError, match="can't be read as a checkpoint"):
        read_checkpoint(tmp_path / "40.ckpt")


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_checkpoints_is_not_run(legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CANARY, str(tmp_path / "canary"))
    torch.save({"state_dict": Payload()}, tmp_path / "a.ckpt", _use_new_zipfile_serialization=not legacy)
    for load in (read_checkpoint, load_network, checkpoint_seen, LabelAdapter.load):
        with pytest.raises(UserError, match="can't be read as a checkpoint"):
            load(tmp_path / "a.ckpt")
    # Lightning's own, which the README names for users' code: from 2.6.6 on.
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        LandmarkRegressor.load_from_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "seen",
    [
        3,
        [],
        {},
        {"real": "x"},
        {**Seen().plain(), "steps": -1},
        {**Seen().plain(), "real": [[]]},
        {**Seen().plain(), "x": 1},
    ],
)
def test_what_a_checkpoint_says_it_has_seen_is_looked_at(seen: Any, tmp_path: Path) -> None:
    save_network(LandmarkRegressor("test_resnet", input_size=32), tmp_path / "a.ckpt", seen=Seen(steps=3))
    assert checkpoint_seen(tmp_path / "a.ckpt").steps == 3
    with pytest.raises(UserError, match=r"a\.ckpt: what it says that it has seen can't be read"):
        checkpoint_seen(_changed(tmp_path / "a.ckpt", lambda content: content.update(seen=seen)))
