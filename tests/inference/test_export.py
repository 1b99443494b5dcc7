"""Exported networks: the same answers as PyTorch's, from a file that says how to crop."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from domaingap.config import AdapterConfig, CropConfig, TargetConfig
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.crops import apply_transform, crop_record, crop_transform, cut_crop, invert_transform
from domaingap.data.generated import FaceGenerator
from domaingap.data.prepare import prepare_part
from domaingap.data.readers.generated import GeneratedTarget
from domaingap.errors import UserError
from domaingap.inference import export as module
from domaingap.inference.model import LandmarkModel, load_model, open_files
from domaingap.inference.torch_model import in_torch
from domaingap.models.label_adapter import LabelAdapter
from domaingap.models.regressor import LandmarkRegressor, save_network
from domaingap.provenance import OWN, Seen
from experiments.__main__ import main
from tests.conftest import MEAN_FACE, Answer
from tests.experiments.test_cli import fails

Cli = Callable[..., Answer]
SCRIPT = Path(__file__).with_name("onnx_landmarks.py")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """A hundred drawn faces as crops [100, 64, 64]."""
    source = GeneratedTarget.open(generated=TargetConfig(n_train=1, n_test=100))
    crop = CropConfig(64)
    stored = prepare_part(source, "test", crop, tmp_path_factory.mktemp("faces"), 1).crops()
    return np.array(stored[:, crop.pad : -crop.pad, crop.pad : -crop.pad])


def network(
    folder: Path, crop: CropConfig, kind: str | None = None, loss: str = "rmse", factor: float | None = None
) -> Path:
    """A checkpoint whose network answers each crop differently, with a label adapter where there is to be one."""
    torch.manual_seed(3)
    model = LandmarkRegressor("test_resnet", input_size=crop.size, in_channels=crop.n_channels, loss=loss)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # fresh ones hide what is behind them
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, std=0.1)
    torch.nn.init.normal_(model.head.weight, std=0.1)
    model.set_mean_shape(MEAN_FACE / 96 * crop.size)
    model.crop, model.sigma_factor = crop, factor
    folder.mkdir(parents=True)
    save_network(model, folder / "answering.ckpt", seen=Seen(steps=7, licences=frozenset({OWN})))
    if kind is not None:
        rng = np.random.default_rng(0)
        shapes = MEAN_FACE + rng.normal(0, 4, (60, 68, 2))
        bent = shapes + 0.02 * (shapes - 48) ** 2 / 48 + [2, -1]
        config = AdapterConfig(kind=kind, epochs=20, folds=2)  # type: ignore[arg-type]
        LabelAdapter.fit(shapes, bent, config=config).save(folder / "adapter_predictions.ckpt")
    return folder / "answering.ckpt"


def answer(model: LandmarkModel, crops: np.ndarray) -> np.ndarray:
    points, _ = model(crops)
    return model.adapt(points)


SLOW = pytest.mark.slow
"""Exporting takes seconds: of cases alike one is fast."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint that has everything, and its ONNX file."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = network(folder / "checkpoints", CropConfig(64, scale=1.5), "linear", "gaussian_nll", 1.25)
    with pytest.raises(SystemExit) as exit:
        main(["export", str(checkpoint), "--out", str(folder / "a.onnx")])
    assert not exit.value.code
    return checkpoint, folder / "a.onnx"


@pytest.mark.parametrize(
    "kind", [pytest.param(None, marks=SLOW), "linear", pytest.param("mlp", marks=SLOW), pytest.param("shift", marks=SLOW)]
)
def test_onnx_answers_as_pytorch_on_a_hundred_faces(
    cli: Cli, exported: tuple[Path, Path], kind: str | None, faces: np.ndarray, tmp_path: Path
) -> None:
    checkpoint, path = exported
    if kind != "linear":
        checkpoint, path = network(tmp_path / "checkpoints", CropConfig(64), kind), tmp_path / "a.onnx"
        done = cli("export", checkpoint, "--format", "onnx", "--out", path)
        assert done.code == 0, done.err
        assert "uint8 [batch x 64 x 64], gray" in done.out and "no non-commercial data behind it" in done.out
    assert sorted(path.name for path in path.parent.glob("*onnx*")) == ["a.onnx"], "one file, weights inside"
    ours, theirs = load_model(checkpoint), load_model(path)
    assert theirs.crop == ours.crop and theirs.has_sigma == ours.has_sigma == (kind == "linear")
    expected = answer(ours, faces)
    assert np.ptp(expected, axis=0).max() > 3, "answers differ between faces"
    for batch in (1, 7, 100):
        found = np.concatenate([answer(theirs, faces[i : i + batch]) for i in range(0, 100, batch)])
        assert np.linalg.norm(found - expected, axis=-1).max() < 0.01
    if kind is not None:
        own = ours(faces).points
        assert np.linalg.norm(own - expected, axis=-1).max() > 0.5, "the adapter is inside, not left out"
    if kind == "linear":
        np.testing.assert_allclose(theirs(faces).sigma, ours(faces).sigma, rtol=1e-4)
        raw = in_torch(open_files(network(tmp_path / "raw", CropConfig(64), kind, "gaussian_nll")))
        np.testing.assert_allclose(theirs(faces).sigma, 1.25 * raw(faces).sigma, rtol=1e-4)


@pytest.mark.slow
def test_torch_export_answers_as_pytorch(cli: Cli, faces: np.ndarray, tmp_path: Path) -> None:
    checkpoint = network(tmp_path / "checkpoints", CropConfig(64), "mlp", "gaussian_nll")
    done = cli("export", checkpoint, "--format=torch")
    assert done.code == 0, done.err
    extra = {"domaingap.json": ""}
    program = torch.export.load(checkpoint.with_suffix(".pt2"), extra_files=extra).module()
    said = json.loads(extra["domaingap.json"])
    assert said["crop"] == crop_record(CropConfig(64)) and said["adapter"]["kind"] == "mlp" and said["sigma"]
    ours = load_model(checkpoint)
    for n in (1, 5, 100):
        points, sigma = program(torch.from_numpy(faces[:n]))
        assert np.linalg.norm(points.numpy() - answer(ours, faces[:n]), axis=-1).max() < 0.01
        assert sigma.shape == (n, 68)


@pytest.mark.parametrize("channels", ["gray", pytest.param("rgb", marks=SLOW)])
def test_twenty_lines_reproduce_our_output(channels: Any, cli: Cli, exported: tuple[Path, Path], tmp_path: Path) -> None:
    """The README's lines, with onnxruntime, OpenCV and NumPy alone: box in, landmarks in the picture out."""
    pytest.importorskip("onnxruntime")
    checkpoint, path = exported
    if channels == "rgb":
        checkpoint, path = network(tmp_path / "checkpoints", CropConfig(64, channels), "linear"), tmp_path / "a.onnx"
        assert cli("export", checkpoint, "--out", path).code == 0
    model = load_model(checkpoint)
    crop = model.crop
    generator = FaceGenerator("target", 4)
    worst = 0.0
    for i, size in enumerate((96, 400)):  # enlarged, and reduced a lot
        face = generator.photograph(i, size)
        Image.fromarray(face.image).save(tmp_path / "photo.png")
        box = box_from_landmarks(face.landmarks_r[:68]) + [0.3, -size * 0.1, size * 0.2, 0.2]  # beyond the picture, too
        transform = crop_transform(box, crop)
        points = model(cut_crop(face.image, transform, crop, pad=0)[None]).points[0]
        expected = model.adapt(apply_transform(invert_transform(transform), points))
        script = [sys.executable, SCRIPT, path, tmp_path / "photo.png", *map(str, box)]
        done = subprocess.run(script, capture_output=True, text=True, check=True)
        found = np.array(json.loads(done.stdout))
        worst = max(worst, float(np.linalg.norm(found - expected, axis=-1).max()) * transform[0, 0])
    # A level of gray here and there, which the libraries round differently.
    assert worst < 0.05


def test_the_readme_shows_these_lines() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "InferenceSession" in block]
    if not blocks:
        pytest.skip("the README has no such lines yet")
    assert [block.strip() for block in blocks] == [SCRIPT.read_text(encoding="utf-8").strip()]
    lines = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith("import")]) <= 20


def test_metadata_says_all(exported: tuple[Path, Path]) -> None:
    onnx = pytest.importorskip("onnx")
    crop = CropConfig(64, scale=1.5)
    model = onnx.load(exported[1])
    said = json.loads({prop.key: prop.value for prop in model.metadata_props}["domaingap"])
    assert said["crop"] == crop_record(crop)
    np.testing.assert_allclose(said["mean_shape"], MEAN_FACE * 2 / 3, atol=1e-4)
    assert said["normalisation"] == {"subtract": 127.5, "divide": 64.0, "inside": True}
    assert said["sigma"] and said["sigma_factor"] == 1.25
    assert said["adapter"]["kind"] == "linear" and said["adapter"]["inside"] and said["format"] == 1
    assert said["data"]["steps"] == 7 and "no non-commercial data" in said["data"]["notice"]
    (given,) = model.graph.input
    shape = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert (given.name, shape[1:]) == ("crops", [64, 64]) and isinstance(shape[0], str)


@pytest.mark.slow
def test_a_run_in_onnxruntime_is_exported_once(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: np.ndarray
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("domaingap.inference.onnx_model.private_folder", lambda name: tmp_path)
    checkpoint = network(tmp_path / "checkpoints", CropConfig(64))
    first = answer(load_model(checkpoint, "onnx"), faces)
    (made,) = tmp_path.glob("*.onnx")
    before = made.stat().st_mtime_ns
    np.testing.assert_array_equal(answer(load_model(checkpoint, "onnx"), faces), first)
    assert made.stat().st_mtime_ns == before
    made.write_bytes(b"cut off")
    np.testing.assert_array_equal(answer(load_model(checkpoint, "onnx"), faces), first)
    with pytest.raises(UserError, match="runs in onnxruntime alone"):
        load_model(made, "torch")


def test_what_cannot_be_exported_or_read(
    cli: Cli, exported: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(cli("export"), "RUN")
    fails(cli("export", tmp_path / "nothing"), "no such run or file")
    fails(cli("export", tmp_path), "no finished run")
    fails(cli("export", tmp_path, "--format=coreml"), "--format", "coreml")
    checkpoint = network(tmp_path / "checkpoints", CropConfig(32))
    fails(cli("export", checkpoint, "--format=torch", "--out", tmp_path), "a folder; give a file's name")
    with monkeypatch.context() as patch:
        patch.setattr(module.importlib.util, "find_spec", lambda name: None)
        fails(cli("export", checkpoint), "ONNX needs onnx, onnxscript, onnxruntime", "uv sync --extra export")
    with monkeypatch.context() as patch:
        # What answers otherwise isn't left to be used unawares.
        patch.setattr(module, "_answer", lambda *args: np.zeros((len(args[-1]), 68, 2)))
        fails(cli("export", checkpoint, "--format=torch"), "px from PyTorch", "removed")
        assert not checkpoint.with_suffix(".pt2").exists()
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.onnx").write_bytes(b"x" * 100)
    for name, message in (("x.onnx", "can't be read as ONNX"), ("y.onnx", "no such file")):
        with pytest.raises(UserError, match=message):
            load_model(tmp_path / name)
    onnx = pytest.importorskip("onnx")
    shutil.copy(exported[1], tmp_path / "a.onnx")
    for value, message in ((None, "an ONNX file of others"), ("{", "damaged"), ('{"format": 9}', "another version")):
        model = onnx.load(tmp_path / "a.onnx")
        del model.metadata_props[:]
        if value is not None:
            onnx.helper.set_model_props(model, {"domaingap": value})
        onnx.save(model, tmp_path / "b.onnx")
        with pytest.raises(UserError, match=message):
            load_model(tmp_path / "b.onnx")
    shutil.copy(tmp_path / "a.onnx", tmp_path / "c.onnx")
    fails(cli("export", tmp_path / "c.onnx"), "exported already")


@pytest.mark.slow
def test_videos_take_onnxruntime_where_they_can(
    faces: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where a checkpoint's exported form is kept
    checkpoint = network(tmp_path / "checkpoints", CropConfig(64), "linear")
    assert load_model(checkpoint).runtime == load_model(checkpoint, "torch", many_frames=True).runtime == "PyTorch"
    fast = load_model(checkpoint, many_frames=True)
    assert fast.runtime == "onnxruntime"
    np.testing.assert_allclose(answer(fast, faces), answer(load_model(checkpoint), faces), atol=0.01)
    # It is made once: another call doesn't need what makes it.
    monkeypatch.setattr(module, "export_network", None)
    assert load_model(checkpoint, many_frames=True).runtime == "onnxruntime"
    # A GPU is faster than either; without the packages it is PyTorch, and a line says so.
    monkeypatch.setattr("domaingap.inference.torch_model.on_gpu", lambda: True)
    monkeypatch.setattr("domaingap.inference.torch_model.in_torch", lambda files: files.name)
    assert load_model(checkpoint, many_frames=True) == "answering"
    monkeypatch.setattr("domaingap.inference.torch_model.on_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    capsys.readouterr()
    assert load_model(checkpoint, many_frames=True) == "answering"
    assert "in PyTorch" in (said := capsys.readouterr().err) and "uv sync --extra export" in said
