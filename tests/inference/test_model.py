"""A run's network wherever its folder lies, what a checkpoint says of crops, and what isn't a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from domaingap.config import CropConfig
from domaingap.data.crops import apply_transform, crop_record, crop_transform, cut_crop, invert_transform, read_crop
from domaingap.data.readers import open_reader
from domaingap.errors import UserError
from domaingap.inference.model import LandmarkModel, load_model
from domaingap.models.regressor import LandmarkRegressor, load_network, read_checkpoint, save_network
from domaingap.predictions import load_predictions
from tests.inference.runs import finished


@pytest.fixture(scope="module")
def adapted(data_root: Path, prepared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of label_adaptation, in colours and with uncertainties."""
    options = ("--n_real=8", "--adapter.kind=linear", "--crop.channels=rgb", "--model.loss=gaussian_nll")
    folder = tmp_path_factory.mktemp("adapted")
    return finished("label_adaptation", *options, data_root=data_root, prepared_dir=prepared_dir, folder=folder)


@pytest.fixture(scope="module")
def plain(data_root: Path, prepared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of real_only."""
    return finished("real_only", data_root=data_root, prepared_dir=prepared_dir, folder=tmp_path_factory.mktemp("plain"))


def answers(model: LandmarkModel, root: Path) -> dict[str, Any]:
    """A model's answers, and their deviations in pixels of the crop, on a part's pictures, in oracle boxes."""
    from domaingap.data.boxes import box_from_landmarks

    reader = open_reader("300w", root)
    found = {}
    for record in reader.records("helen/testset"):
        sample = reader.read(record)
        transform = crop_transform(box_from_landmarks(sample.landmarks), model.crop)
        points, sigma = model(cut_crop(sample.read_image(), transform, model.crop, pad=0)[None])
        back = apply_transform(invert_transform(transform), points[0])
        found[record.name] = (model.adapt(back), sigma)
    return found


def test_a_run_answers_as_its_predictions_say(adapted: Path, data_root: Path) -> None:
    """From pictures, by way of the checkpoint alone: crop, network and label adapter."""
    model = load_model(adapted)
    assert model.crop == CropConfig(32, "rgb", "landmarks") and model.has_sigma and model.adapter is not None
    assert "non-commercial" in model.notice
    kept = load_predictions(adapted / "predictions.npz")["common"]
    found = answers(model, data_root)
    rows = {name: i for i, name in enumerate(kept.names.tolist())}
    assert len(found) == 7 and found.keys() <= rows.keys()
    for name, (points, sigma) in found.items():
        # One by one and by sixty-fours are computed in another order.
        np.testing.assert_allclose(points, kept.prediction[rows[name]], atol=1e-4)
        assert sigma.shape == (1, 68)
    # The answer is the adapted one: without the adapter it is another.
    model.adapter = None
    assert max(np.abs(answers(model, data_root)[name][0] - points).max() for name, (points, _) in found.items()) > 0.1


@pytest.mark.parametrize("run", ["plain", "adapted"])
def test_a_folder_elsewhere_answers_the_same_to_the_last_digit(
    run: str, request: pytest.FixtureRequest, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request.getfixturevalue(run)
    before = answers(load_model(folder), data_root)
    moved = tmp_path / "another machine" / "renamed"
    shutil.copytree(folder, moved)
    monkeypatch.chdir(tmp_path)
    (moved / "predictions.npz").unlink()  # which nobody needs for this
    after = answers(load_model(moved), data_root)
    for name, (points, sigma) in before.items():
        np.testing.assert_array_equal(points, after[name][0])
        assert (sigma is None) == (after[name][1] is None)
        if sigma is not None:
            np.testing.assert_array_equal(sigma, after[name][1])


def test_a_checkpoint_alone_says_how_to_crop(plain: Path, adapted: Path, tmp_path: Path) -> None:
    shutil.copy(plain / "checkpoints" / "answering.ckpt", tmp_path / "mine.ckpt")
    content = read_checkpoint(tmp_path / "mine.ckpt")
    assert content["crop"] == crop_record(CropConfig(32, box="landmarks"))
    rule = {"size": 32, "channels": "gray", "box": "landmarks", "scale": 1.3, "down": 0.08, "pad": 4, "stored": 40}
    assert {key: value for key, value in content["crop"].items() if key != "reduction"} == rule
    assert load_model(tmp_path / "mine.ckpt").crop == CropConfig(32, box="landmarks")
    # In a run's folder the adapter is part of the answer, by whatever name the run is given.
    assert load_model(adapted / "checkpoints" / "answering.ckpt").adapter is not None


def test_every_checkpoint_of_a_stage_says_it(plain: Path) -> None:
    files = sorted(path for path in plain.parent.glob("stages/**/*.ckpt") if "training" not in str(path))
    assert len(files) == 2  # the last and the best
    for path in files:
        assert read_crop(read_checkpoint(path)["crop"]) == CropConfig(32, box="landmarks")
        assert load_network(path).crop == CropConfig(32, box="landmarks")


def _edit(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)


def test_of_an_earlier_version_the_run_says_it(plain: Path, tmp_path: Path) -> None:
    """A checkpoint that says nothing of crops still loads; the configuration beside it is asked, and named where absent."""
    folder = tmp_path / "run"
    checkpoint = folder / "checkpoints" / "answering.ckpt"
    checkpoint.parent.mkdir(parents=True)
    shutil.copy(plain / "checkpoints" / "answering.ckpt", checkpoint)
    shutil.copy(plain / "config.yaml", folder)
    _edit(checkpoint, lambda content: content.pop("crop"))
    assert load_network(checkpoint).crop is None
    assert load_model(checkpoint).crop == CropConfig(32, box="landmarks")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["crop"]["size"] = 64
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match="a network for 32 px crops of 1 channels; its run's config.yaml has 64 px gray"):
        load_model(checkpoint)
    settings["crop"]["size"] = "large"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match=r"config\.yaml: crop: "):
        load_model(checkpoint)
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match="doesn't say how to crop .* give the run's whole folder"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda crop: crop.update(size=64, pad=8, stored=80), "is for 32 px crops of 1 channels, and it says 64 px gray"),
        (lambda crop: crop.update(size="32"), "crop: --crop.size is"),
        (lambda crop: crop.update(down=0.1), r"crop: another rule than this version's \(down\)"),
        (lambda crop: crop.update(more=1), r"another rule than this version's \(more\)"),
        (lambda crop: crop.pop("scale"), "says not how to crop"),
    ],
)
def test_a_damaged_crop_is_refused(edit: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    network = LandmarkRegressor("test_resnet", input_size=32)
    network.crop = CropConfig(32)
    save_network(network, tmp_path / "a.ckpt")
    assert load_network(tmp_path / "a.ckpt").crop == CropConfig(32)
    _edit(tmp_path / "a.ckpt", lambda content: edit(content["crop"]))
    with pytest.raises(UserError, match=message):
        load_network(tmp_path / "a.ckpt")


def test_the_same_settings_write_the_same_bytes(tmp_path: Path) -> None:
    """Interrupted and uninterrupted trainings leave equal files."""
    network = LandmarkRegressor("test_resnet", input_size=32)
    for name, crop in (("a", CropConfig(32)), ("b", CropConfig(size=32, scale=1.3))):
        network.crop = crop
        save_network(network, tmp_path / "x.ckpt")
        (tmp_path / "x.ckpt").rename(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_no_network(plain: Path, adapted: Path, tmp_path: Path) -> None:
    def refused(source: Path, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            load_model(source)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "nothing", "no such run or file; give a run's folder")
    refused(plain.parent, "a folder of runs; give one of them")
    refused(tmp_path, "no finished run")
    (tmp_path / "x.txt").write_text("x")
    refused(tmp_path / "x.txt", "not a network; give")
    for run, name, message in (
        (plain, "answering.ckpt", "a run without a checkpoint"),
        (adapted, "adapter_predictions.ckpt", "adapter_predictions.ckpt: No such file.*copy the run's folder again"),
    ):
        shutil.copytree(run, tmp_path / name)
        (tmp_path / name / "checkpoints" / name).unlink()
        refused(tmp_path / name, message)
    model = load_model(plain)
    with pytest.raises(ValueError, match=r"expected crops uint8 \[B, 32, 32\], got uint8 \(1, 32, 32, 3\)"):
        model(np.zeros((1, 32, 32, 3), dtype=np.uint8))
    points, sigma = model(np.zeros((0, 32, 32), dtype=np.uint8))
    assert points.shape == (0, 68, 2) and sigma is None and model.adapt(points).shape == (0, 68, 2)
