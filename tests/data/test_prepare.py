"""Prepared crops: made once, resumable, found again by content."""

from __future__ import annotations

import multiprocessing
import os
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
    (rows,), (crops,) = (tmp_path / "prepared").rglob("rows.jsonl"), (tmp_path / "prepared").rglob("crops.npy")
    with open(rows, "a") as file:
        file.write('{"i": 11, "na')  # a line that the kill cut off
    np.load(crops, mmap_mode="r+")[2] = 0  # of this one a power cut left the line and not the crop
    later: list[int] = []
    monkeypatch.setattr(module, "_prepare_one", lambda job: later.append(job.index) or original(job))
    part = prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "prepared", workers=1)
    assert later == [2, 5, 6, 7, 8, 9, 10, 11], "what was done isn't done again"
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


def test_damage_is_made_good(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    expected = np.array(part.crops())
    crops = np.load(part.folder / "crops.npy", mmap_mode="r+")
    crops[1] = 0  # black
    crops.flush()
    again = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert again.folder == part.folder
    np.testing.assert_array_equal(again.crops(), expected)
    assert "damaged, made again: 300w ibug" in capsys.readouterr().err


def test_the_manifest_is_written_last(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.np, "savez", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert not list((tmp_path / "prepared").rglob("manifest.json"))
    monkeypatch.undo()
    part = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert part.meta["n_faces"] == 3 and {p.name for p in part.folder.iterdir()} == {
        "crops.npy",
        "index.npz",
        "manifest.json",
    }


def test_a_replaced_picture_of_the_same_size_is_a_new_one(root: Path, tmp_path: Path) -> None:
    picture = root / "300w" / "ibug" / "image_003_1.jpg"
    before, when = picture.read_bytes(), picture.stat()
    one = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    # In the middle of the compressed data: another picture of as many bytes, and with its old time.
    changed = bytearray(before)
    middle = len(changed) * 2 // 3
    changed[middle] ^= 0x20
    picture.write_bytes(bytes(changed))
    os.utime(picture, ns=(when.st_atime_ns, when.st_mtime_ns))
    other = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert other.folder != one.folder and other.meta["fingerprint"] != one.meta["fingerprint"]
    assert not np.array_equal(other.crops(), one.crops())
    picture.write_bytes(before)
    assert prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared").folder == one.folder


def test_the_format_of_crops_is_part_of_every_key(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    other = prepare_part(open_reader("300w", root), "ibug", CROP, tmp_path / "prepared", workers=1)
    assert other.folder != one.folder and other.meta["fingerprint"] != one.meta["fingerprint"]


def test_a_part_that_is_prepared_is_opened_without_reading_its_files(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_part(open_reader("300w", root), "afw", CROP, tmp_path / "prepared", workers=1)
    reader = open_reader("300w", root)
    for name in ("records", "find", "read"):
        monkeypatch.setattr(type(reader), name, lambda *a: pytest.fail("read again"))
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail(f"{self} read again"))
    assert prepare_part(reader, "afw", CROP, tmp_path / "prepared").meta["n_faces"] == 12


def prepare_in_process(root: Path, prepared: Path, size: int) -> None:
    prepare_part(open_reader("300w", root), "helen/trainset", CropConfig(size=size, box="landmarks"), prepared, workers=1)


def test_two_processes_that_prepare_one_part(root: Path, tmp_path: Path) -> None:
    """One makes the crops, the other waits for them; a third that wants another size doesn't disturb them."""
    context = multiprocessing.get_context("fork")
    sizes = (32, 32, 48)
    processes = [context.Process(target=prepare_in_process, args=(root, tmp_path / "p", size)) for size in sizes]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    folders = list((tmp_path / "p").glob("300w/*/crops-*"))
    assert len(folders) == 2
    alone = prepare_part(open_reader("300w", root), "helen/trainset", CROP, tmp_path / "alone", workers=1)
    together = prepare_part(open_reader("300w", root), "helen/trainset", CROP, tmp_path / "p")
    np.testing.assert_array_equal(together.crops(), alone.crops())
    assert together.meta == alone.meta
