"""Prepared crops: made once, resumable, found again by content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from domaingap.config import CropConfig
from domaingap.data import prepare as module
from domaingap.data.prepare import prepare_part
from domaingap.data.readers import open_reader
from domaingap.errors import UserError
from tests.conftest import write_300w

CROP = CropConfig(size=32, box="landmarks")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_300w(tmp_path / "data" / "300w")
    return tmp_path / "data"


def test_prepared_once_and_mapped(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_reader("300w", root)
    part = prepare_part(reader, "afw", CROP, tmp_path / "prepared", workers=1)
    crops, index = part.crops(), part.index()
    assert isinstance(crops, np.memmap) and crops.shape == (12, 40, 40)
    assert all(crop.std() > 1 for crop in crops), "no crop was left empty"
    assert index["image_to_crop"].shape == (12, 2, 3) and index["landmarks"].shape == (12, 68, 2)
    assert part.meta["partial"] and part.meta["n_published"] == 337
    monkeypatch.setattr(module, "_prepare_rows", lambda *a: pytest.fail("prepared twice"))
    again = prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "prepared")
    assert again.folder == part.folder


def test_two_processes_make_the_same_crops(root: Path, tmp_path: Path) -> None:
    reader = open_reader("300w", root)
    one = prepare_part(reader, "helen/trainset", CROP, tmp_path / "one", workers=1)
    two = prepare_part(reader, "helen/trainset", CROP, tmp_path / "two", workers=2)
    np.testing.assert_array_equal(one.crops(), two.crops())
    assert one.meta["fingerprint"] == two.meta["fingerprint"]


def test_goes_on_after_a_kill(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "whole", workers=1)
    original, calls = module._prepare_one, []

    def killed(job: module._Job) -> dict[str, object]:
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(job.index)
        return original(job)

    monkeypatch.setattr(module, "_prepare_one", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "prepared", workers=1)
    (rows,) = (tmp_path / "prepared").rglob("rows.jsonl")
    with open(rows, "a") as file:
        file.write('{"i": 11, "na')  # a line that the kill cut off
    later: list[int] = []
    monkeypatch.setattr(module, "_prepare_one", lambda job: later.append(job.index) or original(job))
    part = prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "prepared", workers=1)
    assert later == [5, 6, 7, 8, 9, 10, 11], "what was done isn't done again"
    np.testing.assert_array_equal(part.crops(), expected.crops())
    assert part.meta["fingerprint"] == expected.meta["fingerprint"]


def test_found_by_content(root: Path, tmp_path: Path) -> None:
    first = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert prepare_part(open_reader("300w", moved), "ibug", CROP, tmp_path / "prepared").folder == first.folder
    pts = next((moved / "300w" / "ibug").glob("*.pts"))
    pts.write_text(pts.read_text().replace("5", "4", 1))
    assert prepare_part(open_reader("300w", moved), "ibug", CROP, tmp_path / "prepared", workers=1).folder != first.folder


def test_one_truncated_image_loses_no_other(root: Path, tmp_path: Path) -> None:
    for name in ("100_1", "102_1"):
        path = root / "300w" / "afw" / f"{name}.jpg"
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"100_1.jpg: can't be decoded.*and 1 more files like it.*the other 10 faces"):
        prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "prepared", workers=1)
    (rows,) = (tmp_path / "prepared").rglob("rows.jsonl")
    assert len(rows.read_text().splitlines()) == 10


def test_boxes_are_shared_by_sizes_and_misses_counted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Detector:
        def face_box(self, image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, str]:
            calls.append(1)
            source = "fallback" if len(calls) == 2 else "mtcnn"
            return module.box_from_landmarks(landmarks), source

    monkeypatch.setattr(module, "FaceDetector", Detector)
    for size in (32, 48):
        part = prepare_part(open_reader("300w", root), "ibug", CropConfig(size=size), tmp_path / "prepared", workers=1)
        assert part.meta["box_sources"] == {"mtcnn": 2, "fallback": 1}
    assert len(calls) == 3, "three faces are looked for once, not once a size"


def test_damaged_store_is_named(root: Path, tmp_path: Path) -> None:
    part = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    (part.folder / "meta.json").write_text("{")
    with pytest.raises(UserError, match="delete this folder"):
        prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared")


def test_meta_is_written_last(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.np, "savez", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert not list((tmp_path / "prepared").rglob("meta.json"))
    monkeypatch.undo()
    part = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert json.loads((part.folder / "meta.json").read_text())["n_faces"] == 3
