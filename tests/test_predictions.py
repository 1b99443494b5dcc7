"""The file of predictions: whole or not there, with or without standard deviations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domaingap.errors import UserError
from domaingap.models.regressor import load_network
from domaingap.predictions import Predictions, load_predictions, save_predictions
from domaingap.study.record import read_record
from tests.conftest import MEAN_FACE, Answer
from tests.experiments.test_cli import fails


def predictions(n: int, sigma: bool = False) -> Predictions:
    rng = np.random.default_rng(n)
    truth = MEAN_FACE + rng.normal(0, 1, (n, 68, 2))
    names = np.array([f"face{i}" for i in range(n)])
    boxes = np.full(n, "mtcnn")
    spread = rng.uniform(1, 3, (n, 68)) if sigma else None
    return Predictions(names, names, truth + rng.normal(0, 2, truth.shape), truth, boxes, spread)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    sets = {"common": predictions(5), "val": predictions(7, sigma=True)}
    save_predictions(tmp_path / "predictions.npz", sets)
    loaded = load_predictions(tmp_path / "predictions.npz")
    assert list(loaded) == ["common", "val"] and loaded["common"].sigma is None
    for name, kept in sets.items():
        for field, value in vars(kept).items():
            np.testing.assert_array_equal(getattr(loaded[name], field), value, err_msg=field)
    with np.load(tmp_path / "predictions.npz") as arrays:
        assert "val/sigma" in arrays and "common/sigma" not in arrays
        np.testing.assert_array_equal(arrays["val/nme"], sets["val"].nme())
    assert os.listdir(tmp_path) == ["predictions.npz"], "nothing temporary is left"


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "predictions.npz"
    save_predictions(path, {"val": predictions(5)})
    before, seen = path.read_bytes(), []

    def full(file: int) -> None:
        seen.extend(os.listdir(tmp_path))
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_predictions(path, {"val": predictions(6)})
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    assert any(str(os.getpid()) in name for name in seen), "two processes write under names of their own"


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "predictions.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"predictions\.npz: can't be read as predictions"):
        load_predictions(tmp_path / "predictions.npz")


def test_a_set_without_its_truth_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "predictions.npz", **{"val/names": np.array(["a"])})
    with pytest.raises(UserError, match=r"val/photographs"):
        load_predictions(tmp_path / "predictions.npz")


def test_conditions_are_kept_by_name_with_what_is_not_known(tmp_path: Path) -> None:
    path, plain = tmp_path / "predictions.npz", predictions(5)
    conditions = {"yaw": np.array([1.0, -2.0, np.nan, 0.0, 30.0]), "occlusion": np.arange(5.0)}
    save_predictions(path, {"val": replace(plain, conditions=conditions), "common": plain})
    loaded = load_predictions(path)
    assert loaded["common"].conditions == {} and list(loaded["val"].conditions) == ["yaw", "occlusion"]
    for name, values in conditions.items():
        np.testing.assert_array_equal(loaded["val"].conditions[name], values)
    with np.load(path) as arrays:
        assert set(arrays) >= {"val/condition_yaw", "val/nme"} and "common/condition_yaw" not in arrays
        damaged = {key: arrays[key] for key in arrays} | {"val/condition_yaw": np.arange(4.0)}
    np.savez(path, **damaged)
    with pytest.raises(UserError, match=r"val/condition_yaw is float64 \(4,\)"):
        load_predictions(path)


def test_standard_deviations_of_a_run_are_kept(cli: Callable[..., Answer], quick: list[str], tmp_path: Path) -> None:
    answer = cli("run", "real_only", *quick, "--model.loss=gaussian_nll")
    assert answer.code == 0, answer.err
    (folder,) = (tmp_path / "runs").glob("real_only-*")
    sets = load_predictions(folder / "predictions.npz")
    record = read_record(folder / "result.json")
    factor = record.sigma_factor
    assert factor is not None
    for name, kept in sets.items():
        assert kept.sigma is not None and kept.sigma.shape == (len(kept.names), 68), name
        # Hardly trained: a twentieth of the crop's side, which is 1.3 times that of the landmarks' box, in the picture, and
        # scaled to the errors on the validation faces.
        sides = np.sqrt(np.ptp(kept.truth, axis=1).prod(axis=-1))
        assert kept.sigma.mean(axis=1) == pytest.approx(factor * 0.05 * 1.3 * sides, rel=0.5)
    assert cli("evaluate", folder, "--on=common").code == 0
    again = load_predictions(folder / "evaluation" / "common.npz")["common"]
    np.testing.assert_allclose(again.sigma, sets["common"].sigma)
    # What the factor is: the root of the mean squared error over the network's own standard deviation, on val alone.
    own = load_network(folder / "checkpoints" / "answering.ckpt")
    assert own.sigma_factor == factor
    val = sets["val"]
    assert val.sigma is not None
    assert np.sqrt(np.mean(((val.truth - val.prediction) / (val.sigma / factor)[..., None]) ** 2)) == pytest.approx(factor)
    assert record.metrics["val/sigma_rms_z"] == pytest.approx(1)
    for name in ("common", "challenging"):
        kept = sets[name]
        z = (kept.truth - kept.prediction) / kept.sigma[..., None]
        assert record.metrics[f"test/{name}/sigma_rms_z"] == pytest.approx(np.sqrt(np.mean(z**2)))
        assert record.metrics[f"test/{name}/sigma_within_1"] == pytest.approx(100 * np.mean(np.abs(z) <= 1))
    assert record.metrics["test/common/sigma_rms_z"] != pytest.approx(1, abs=1e-6)
    assert "RMS error/σ" in answer.out and f"times {factor:.3g}" in answer.out
    said = cli("report", tmp_path / "runs", "--style", "calibration", "--format", "csv")
    assert said.code == 0 and f"{record.metrics['test/common/sigma_rms_z']:.2f}" in said.out, said.err
    assert "sigma_calibration_error" in cli("evaluate", folder, "--on=common").out
    # A result of an earlier version: the figures are missing, and nothing else.
    content = json.loads((folder / "result.json").read_text())
    del content["sigma_factor"]
    content["metrics"] = {name: value for name, value in content["metrics"].items() if "sigma" not in name}
    (folder / "result.json").write_text(json.dumps(content))
    assert read_record(folder / "result.json").sigma_factor is None
    answer = cli("run", "real_only", *quick, "--model.loss=gaussian_nll")
    assert answer.code == 0 and "σ" not in answer.out, answer.err
    fails(cli("report", tmp_path / "runs", "--style", "calibration"), "no network here tells standard deviations")


def test_no_standard_deviation_no_figures(cli: Callable[..., Answer], quick: list[str], tmp_path: Path) -> None:
    answer = cli("run", "real_only", *quick)
    (folder,) = (tmp_path / "runs").glob("real_only-*")
    record = read_record(folder / "result.json")
    assert record.sigma_factor is None and not any("sigma" in name for name in record.metrics) and "σ" not in answer.out
