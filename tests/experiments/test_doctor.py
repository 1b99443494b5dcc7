"""``domaingap data doctor`` as people use it: on folders with one thing wrong each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from domaingap.config import CropConfig
from tests.conftest import Answer, make_face, write_300w, write_face_synthetics, write_pts


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small 300-W of its own."""
    write_300w(tmp_path / "data" / "300w")
    return tmp_path / "data"


@pytest.fixture
def doctor(cli: Callable[..., Answer], tmp_path: Path) -> Callable[..., tuple[Answer, dict[str, Any]]]:
    """The command without the detector, and its JSON."""

    def call(data: Path, *options: object) -> tuple[Answer, dict[str, Any]]:
        out = tmp_path / "doctor.json"
        out.unlink(missing_ok=True)
        answer = cli("data", "doctor", f"--data_root={data}", "--no_detector", f"--out={out}", "--workers=1", *options)
        return answer, json.loads(out.read_text(), parse_constant=pytest.fail) if out.exists() else {}

    return call


def of_kind(content: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [finding for finding in content["findings"] if finding["kind"] == kind]


def state(root: Path) -> list[tuple[str, int, int, bytes]]:
    found = [(path, path.stat()) for path in sorted(root.rglob("*"))]
    return [(str(p), s.st_mtime_ns, s.st_size, p.read_bytes() if p.is_file() else b"") for p, s in found]


def test_counts_licences_and_nothing_changed(
    doctor: Callable[..., tuple[Answer, dict[str, Any]]], data_root: Path, tmp_path: Path
) -> None:
    before = state(data_root)
    answer, content = doctor(data_root)
    assert state(data_root) == before
    assert answer.code == 0 and not any(f["severity"] == "fault" for f in content["findings"])
    assert set(content["sources"]) == {"300w", "face_synthetics", "dgfaces", "synthface"}
    about = content["sources"]["300w"]
    assert about["parts"]["afw"]["faces"] == 12 and about["parts"]["afw"]["published"] == 337
    assert about["parts"]["afw"]["passed_over"] == {"mirrored copy": 1}
    assert about["terms"][0]["non_commercial"] and "Sagonas" in about["terms"][0]["citation"]
    assert "a partial release: afw 12 of 337" in answer.out and "Sagonas" in answer.out
    assert "sound faces are needed to learn from" in answer.out and content["not_checked"]


def test_damaged_files_are_findings_and_stop_nothing(
    doctor: Callable[..., tuple[Answer, dict[str, Any]]], data: Path
) -> None:
    afw = data / "300w" / "afw"
    picture = (afw / "100_1.jpg").read_bytes()
    (afw / "100_1.jpg").write_bytes(picture[: len(picture) // 2])
    (afw / "101_1.jpg").write_bytes(b"")
    (afw / "102_1.pts").write_text((afw / "102_1.pts").read_text().replace("}", ""))
    write_pts(afw / "103_1.pts", np.full((68, 2), -1.0))
    (afw / "104_1.pts").unlink()
    (afw / "105_1.jpg").unlink()
    answer, content = doctor(data)
    assert answer.code == 1, answer.err
    assert {f["face"] for f in of_kind(content, "unreadable picture")} == {"afw/100_1", "afw/101_1"}
    (annotation,) = of_kind(content, "unreadable annotation")
    assert annotation["file"] == str(afw / "102_1.pts") and "line" in annotation["detail"]
    assert [f["face"] for f in of_kind(content, "impossible annotation")] == ["afw/103_1"]
    assert [f["detail"] for f in of_kind(content, "half of a face")] == ["1 × image without .pts"]
    assert [f["file"] for f in of_kind(content, "file problem")] == [str(afw / "105_1.pts")]
    # All of it in one go, each with what to do, faults before suspects.
    severities = [f["severity"] for f in content["findings"]]
    assert severities == sorted(severities, key=["fault", "suspect", "note"].index)
    assert all(f["todo"] for f in content["findings"] if f["kind"] != "file problem")
    assert "300-W: 5 faults, " in answer.out and "to look at, worst first" in answer.out


def test_pictures_twice(doctor: Callable[..., tuple[Answer, dict[str, Any]]], tmp_path: Path) -> None:
    """Across train and test it is a fault, within the faces of one photograph it is as it should be."""
    root, rng = tmp_path / "data" / "300w", np.random.default_rng(0)
    for part in ("afw", "helen/trainset", "helen/testset"):
        (root / part).mkdir(parents=True)
    image, points = make_face(rng)
    for name in ("afw/7_1", "afw/7_2"):  # two faces of one photograph
        image.save(root / f"{name}.jpg")
        write_pts(root / f"{name}.pts", points + (name[-1] == "2") * 3)
    other, points = make_face(rng)
    for name in ("helen/testset/8_1.png", "helen/trainset/9_1.png"):
        other.save(root / name)
        write_pts((root / name).with_suffix(".pts"), points)
    answer, content = doctor(root.parent)
    assert answer.code == 1
    (found,) = of_kind(content, "same picture in train and test")
    assert (found["face"], found["other"]) == ("helen/trainset/9_1", "300w helen/testset/8_1")
    assert not any(
        f["face"].startswith("afw/") or f["other"].endswith("7_1") for f in of_kind(content, "same picture twice")
    )


def test_sizes(doctor: Callable[..., tuple[Answer, dict[str, Any]]], tmp_path: Path) -> None:
    write_face_synthetics(tmp_path / "data" / "face_synthetics", n=12)
    place = tmp_path / "data" / "face_synthetics" / "000004.png"
    Image.open(place).resize((48, 48)).save(place)
    _, content = doctor(tmp_path / "data")
    (every,) = of_kind(content, "all pictures of another size")
    assert "96 x 96; the release has 512 x 512" in every["detail"]
    assert [(f["face"], f["detail"]) for f in of_kind(content, "wrong size")] == [("000004", "48 x 48, not 96 x 96")]


def test_known_boxes_are_used_again(
    cli: Callable[..., Answer], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prepared folder answers for every face, and isn't written to."""
    from domaingap.data import boxes
    from domaingap.data.prepare import prepare_part
    from domaingap.data.readers import open_reader

    reader = open_reader("300w", data)
    missed = [record.name for record in reader.records("ibug")][:1]

    class Detector:
        def face_box(self, image: Any, landmarks: Any) -> Any:
            first = np.array_equal(landmarks, reader.read_landmarks(reader.records("ibug")[0].annotation_path))
            return boxes.box_from_landmarks(landmarks), "fallback" if first else "mtcnn"

    monkeypatch.setattr("domaingap.data.prepare.FaceDetector", Detector)
    for part in reader.parts():
        prepare_part(reader, part, CropConfig(size=32), tmp_path / "prepared", workers=1)
    before = state(tmp_path / "prepared")

    def refuse(*_: object) -> None:
        raise AssertionError("every box is known")

    monkeypatch.setattr(boxes, "FaceDetector", refuse)
    out = tmp_path / "doctor.json"
    places = (f"--data_root={data}", f"--prepared_dir={tmp_path / 'prepared'}", f"--out={out}", "--workers=1")
    answer = cli("data", "doctor", *places)
    assert answer.code == 0, answer.err
    content = json.loads(out.read_text())
    assert [f["face"] for f in of_kind(content, "detector missed")] == missed
    assert content["sources"]["300w"]["parts"]["ibug"]["boxes"] == {"fallback": 1, "mtcnn": 2}
    assert state(tmp_path / "prepared") == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--source=nobody"], "--source 'nobody' is unknown"),
        (["--source=generated"], "no files"),
        (["--root=x"], "give --source with it"),
        (["--workers=0"], "--workers is 0"),
        (["--n=0", "--sheet=x.png"], "--n is 0"),
        (["--rows=0"], "--rows is 0"),
        (["--out=nowhere/doctor.json"], "there is no folder nowhere"),
        (["--out=."], "is a folder"),
        (["--data_root=nowhere"], "no such folder"),
    ],
)
def test_mistakes_in_the_command(cli: Callable[..., Answer], data: Path, options: list[str], says: str) -> None:
    answer = cli("data", "doctor", f"--data_root={data}", "--no_detector", *options)
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1, answer.err


def test_nothing_is_written_into_the_data(cli: Callable[..., Answer], data: Path) -> None:
    for option in ("out", "sheet"):
        answer = cli("data", "doctor", f"--data_root={data}", f"--{option}={data / 'x'}")
        assert answer.code == 2 and "lies in the data root" in answer.err


def test_a_data_set_without_parts_is_no_fine_one(doctor: Callable[..., tuple[Answer, dict[str, Any]]], data: Path) -> None:
    shutil.rmtree(data / "300w")
    (data / "300w" / "odd").mkdir(parents=True)
    (data / "300w" / "odd" / "[red]x.txt").write_text("")
    answer, content = doctor(data)
    assert answer.code == 1 and "holds none of afw" in of_kind(content, "file problem")[0]["detail"]


def test_the_table_and_the_file_dont_end_with_each_other(
    cli: Callable[..., Answer], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.commands import doctor

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    arguments = ("data", "doctor", f"--data_root={data}", "--no_detector", f"--out={tmp_path / 'd.json'}")
    with monkeypatch.context() as patched:
        patched.setattr(doctor, "write_json", full)
        answer = cli(*arguments)
    assert answer.code == 2 and "No space left on device" in answer.err and "helen/trainset" in answer.out
    with monkeypatch.context() as patched:
        patched.setattr(doctor, "_print", lambda *_: (_ for _ in ()).throw(BrokenPipeError))
        with pytest.raises(BrokenPipeError):
            doctor.doctor(data, None, None, tmp_path / "d.json", None, 1, 1, True, tmp_path, 1)
    assert json.loads((tmp_path / "d.json").read_text())["schema"] == 1
