"""Small pictures of scored faces: shared by runs, made anew, and read without the data."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from domaingap.config import CropConfig
from domaingap.data.crops import apply_transform
from domaingap.data.datamodules import RealDataModule
from domaingap.predictions import load_predictions
from domaingap.study import thumbnails as module
from domaingap.study.record import RunRecord, read_record
from domaingap.study.thumbnails import Thumbnails, chosen, keep_pictures, read_pictures, thumbnails
from tests.conftest import Answer

Cli = Callable[..., Answer]


def records(runs: Path) -> list[RunRecord]:
    return [read_record(path) for path in sorted(runs.glob("*/result.json"))]


def decoded(kept: Thumbnails, i: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(kept.jpeg(i))))


def test_runs_of_a_folder_share_their_faces_pictures(
    cli: Cli, quick: list[str], tmp_path: Path, data_root: Path, prepared_dir: Path
) -> None:
    for seed in (0, 1):
        assert cli("run", "real_only", *quick, f"--seed={seed}").code == 0
    runs = tmp_path / "runs"
    first, second = records(runs)
    assert len(list(runs.glob("pictures-*"))) == 4, "val, common, challenging, full"
    for on in ("val", "common", "full"):
        kept = thumbnails(first, on, pytest.fail)
        predictions = load_predictions(first.folder / "predictions.npz")[on]
        assert kept is not None and kept.side == 32 and kept.total == len(kept) == len(predictions.names)
        assert kept.names.tolist() == predictions.names.tolist() == list(kept.places())
        other = thumbnails(second, on)
        assert other is not None and other.jpeg(0) == kept.jpeg(0)
        assert first.counts[on if on == "val" else f"test/{on}"].fingerprint
        # They are what the network saw, and a point lies in them where it lay in the crop.
        faces = RealDataModule(
            data_root=data_root, prepared_dir=prepared_dir, n_val=6, crop=CropConfig(size=32, box="landmarks")
        )
        dataset = faces.val_set() if on == "val" else faces.test_set(on)
        for i in range(len(kept)):
            crop = dataset[i]["image"][0].numpy().astype(float)
            assert decoded(kept, i).shape == (32, 32) and np.abs(decoded(kept, i) - crop).mean() < 6
            expected = dataset[i]["landmarks"].numpy()
            np.testing.assert_allclose(apply_transform(kept.to_picture[i], predictions.truth[i]), expected, atol=1e-3)


def test_large_crops_are_reduced_and_points_with_them(tmp_path: Path, data_root: Path, prepared_dir: Path) -> None:
    crop = CropConfig(size=192, channels="rgb", box="landmarks")
    data = RealDataModule(data_root=data_root, prepared_dir=prepared_dir, n_val=6, crop=crop)
    kept = read_pictures(tmp_path, keep_pictures(tmp_path, "common", data.test_set("common")), pytest.fail)
    assert kept is not None and kept.side == 128 and decoded(kept, 0).shape == (128, 128, 3)
    dataset = data.test_set("common")
    for i in range(len(kept)):
        at = apply_transform(kept.to_picture[i], data.faces.landmarks[dataset.positions[i]])
        # In corner coordinates, where pixel i covers [i, i + 1], a picture of two thirds the size is just that.
        np.testing.assert_allclose(at + 0.5, (dataset[i]["landmarks"].numpy() + 0.5) * 128 / 192, atol=1e-3)
    # The blobs of the tiny faces are bright where the points are.
    gray = decoded(kept, 0).mean(axis=2)
    x, y = apply_transform(kept.to_picture[0], data.faces.landmarks[dataset.positions[0]]).round().astype(int).T
    inside = (x >= 0) & (x < 128) & (y >= 0) & (y < 128)
    assert gray[y[inside], x[inside]].mean() > gray.mean() + 40


def test_of_many_faces_a_fixed_choice_has_pictures(
    tmp_path: Path, data_root: Path, prepared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = np.array([f"face{i}" for i in range(50)])
    some = chosen(names, 20)
    lowest = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:20]
    assert names[some].tolist() == [name for name in names if name in lowest], "in their order"
    assert set(names[::-1][chosen(names[::-1], 20)]) == set(lowest), "whatever the order"
    assert chosen(names, 50).tolist() == list(range(50))
    monkeypatch.setattr(module, "MOST_FACES", 3)
    data = RealDataModule(data_root=data_root, prepared_dir=prepared_dir, n_val=6, crop=CropConfig(size=32, box="landmarks"))
    kept = read_pictures(tmp_path, keep_pictures(tmp_path, "val", data.val_set()))
    assert kept is not None and (len(kept), kept.total) == (3, 6)


def test_without_pictures_and_of_earlier_runs(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "synthetic_only", *quick, "--pictures=false").code == 0
    (record,) = records(tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("pictures-*")) and not list(record.folder.glob("*.png"))
    why: list[str] = []
    assert thumbnails(record, "common", why.append) is None and "--pictures" in why[0]
    assert thumbnails(record, "private", why.append) is None and "not scored on private" in why[1]
    # No part of what the run is: asked for with pictures it is found finished.
    answer = cli("run", "synthetic_only", *quick)
    assert answer.code == 0 and "finished before" in answer.err
    # A record of an earlier version has neither key nor fingerprint.
    path = record.folder / "result.json"
    content = json.loads(path.read_text())
    for counted in content["counts"].values():
        del counted["pictures"], counted["fingerprint"]
    path.write_text(json.dumps(content))
    assert {counted.pictures for counted in read_record(path).counts.values()} == {""}


def test_pictures_that_are_gone_or_damaged_are_said_and_made_anew(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert cli("run", "real_only", *quick).code == 0
    (record,) = records(runs)
    folder = runs / f"pictures-{record.counts['val'].pictures}"
    before = (folder / "faces.npz").read_bytes()
    for damage in ("gone", "changed", "unfinished"):
        if damage == "gone":
            shutil.rmtree(folder)
        elif damage == "changed":
            (folder / "faces.npz").write_bytes(before[:-100] + bytes(100))
        else:
            (folder / "manifest.json").unlink()
        why: list[str] = []
        assert thumbnails(record, "val", why.append) is None
        assert len(why) == 1 and "faces.npz" in why[0] and "command again" in why[0]
        answer = cli("run", "real_only", *quick)
        assert answer.code == 0 and "finished before" in answer.err
        assert thumbnails(record, "val", pytest.fail) is not None and (folder / "faces.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jpeg", None), ("side", np.array(4000)), ("offsets", np.array([0, 5, 3, 9])), ("names", np.array(["a", "b"])),
        ("image_to_picture", np.full((3, 2, 3), np.nan)), ("total", np.array(1)),
    ],
)  # fmt: skip
def test_archives_that_are_no_pictures_are_refused(tmp_path: Path, name: str, value: np.ndarray | None) -> None:
    arrays = {
        "names": np.array(["a", "b", "c"]), "jpeg": np.zeros(9, np.uint8), "offsets": np.array([0, 3, 6, 9]),
        "image_to_picture": np.zeros((3, 2, 3)), "side": np.array(32), "total": np.array(3),
    }  # fmt: skip
    path = tmp_path / "faces.npz"
    np.savez(path, **arrays)
    assert len(module._read(path)) == 3
    np.savez(path, **({key: of for key, of in arrays.items() if key != name} | ({} if value is None else {name: value})))
    with pytest.raises(module.UserError, match=r"faces\.npz: can't be read as pictures"):
        module._read(path)


def test_a_key_that_is_a_path_leads_nowhere(tmp_path: Path) -> None:
    why: list[str] = []
    assert read_pictures(tmp_path, "../../etc", why.append) is None and "key" in why[0]


def test_a_copied_run_without_its_pictures_says_so(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "real_only", *quick).code == 0
    (record,) = records(tmp_path / "runs")
    why: list[str] = []
    assert thumbnails(replace(record, folder=tmp_path / "copy" / record.name), "val", why.append) is None
    assert "copy it along" in why[0]
