"""Readers on tiny files in the real formats: every trap of the releases, and every malformed file named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from domaingap.data.readers import open_reader
from domaingap.data.readers.dgfaces import DGFacesReader
from domaingap.data.readers.face_synthetics import FaceSyntheticsReader
from domaingap.data.readers.ibug300w import Ibug300WReader, photograph_of, read_pts
from domaingap.data.readers.synthface import SynthFaceReader
from domaingap.errors import DataError, UserError
from tests.conftest import write_300w, write_dgfaces, write_face_synthetics, write_synthface


def test_300w_is_read_one_based(tmp_path: Path) -> None:
    truth = write_300w(tmp_path / "300w")
    reader = open_reader("300w", tmp_path)
    seen = {}
    for part in reader.parts():
        for record in reader.records(part):
            sample = reader.read(record)
            image = sample.read_image()
            assert image.shape == (96, 96, 3) and image.dtype == np.uint8, "grayscale files too"
            seen[sample.name] = sample.landmarks
    assert seen.keys() == truth.keys()
    assert "ibug/image_092 _01" in seen
    for name, points in truth.items():
        np.testing.assert_allclose(seen[name], points, atol=1e-6)


def test_300w_counts_and_skips(data_root: Path) -> None:
    reader = open_reader("300w", data_root)
    afw = reader.count("afw")
    assert (afw.found, afw.published, afw.partial) == (12, 337, True)
    assert afw.skipped == {"mirrored copy": 1}


def test_300w_image_without_points_is_counted(tmp_path: Path) -> None:
    write_300w(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "ibug" / "image_999_1.jpg")
    assert Ibug300WReader(tmp_path).count("ibug").skipped == {"image without .pts": 1}


def test_a_complete_part_is_complete_and_a_fuller_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_300w(tmp_path)
    ibug, of = Ibug300WReader.source, "source"
    monkeypatch.setattr(Ibug300WReader, of, replace(ibug, parts={**ibug.parts, "ibug": 3}))
    assert Ibug300WReader(tmp_path).count("ibug").partial is False
    monkeypatch.setattr(Ibug300WReader, of, replace(ibug, parts={**ibug.parts, "ibug": 2}))
    with pytest.raises(DataError, match="3 annotated faces, but the release has 2"):
        Ibug300WReader(tmp_path).records("ibug")


def test_private_set_inside_its_archives_folder(tmp_path: Path) -> None:
    write_300w(tmp_path)
    (tmp_path / "300W").mkdir()
    shutil.copytree(tmp_path / "lfpw" / "testset", tmp_path / "300W" / "01_Indoor")
    assert Ibug300WReader(tmp_path).count("01_Indoor").found == 4


@pytest.mark.parametrize(
    ("part", "stem", "photograph"),
    [
        ("afw", "1051618982_1", "flickr/1051618982"),
        ("helen/trainset", "2070105355_3", "flickr/2070105355"),
        ("lfpw/trainset", "image_0001", "lfpw/trainset/image_0001"),
        ("ibug", "image_003_1", "ibug/image_003"),
        ("ibug", "image_092 _01", "ibug/image_092"),
        ("01_Indoor", "indoor_001", "01_Indoor/indoor_001"),
    ],
)
def test_photographs(part: str, stem: str, photograph: str) -> None:
    assert photograph_of(part, stem) == photograph


def pts(
    *,
    version: str = "version: 1",
    n: str = "n_points:  68",
    open: str = "{",
    points: list[str] | None = None,
    close: str = "}",
) -> str:
    body = points if points is not None else [f"{i}.5 {i + 1}.25" for i in range(68)]
    return "\n".join([version, n, open, *body, close, ""])


BAD_PTS = [
    (pts(points=[f"{i} {i}" for i in range(67)]), 70, "67 points, expected 68"),
    (pts(points=[f"{i} {i}" for i in range(69)]), 72, "more than 68"),
    (pts(points=["1 2"] * 10 + ["nan 3"] + ["1 2"] * 57), 14, "not finite"),
    (pts(points=["1 2"] * 10 + ["inf 3"] + ["1 2"] * 57), 14, "not finite"),
    (pts(points=["1 2"] * 3 + ["1 2 3"] + ["1 2"] * 64), 7, "two numbers"),
    (pts(points=["1 2"] * 3 + ["one two"] + ["1 2"] * 64), 7, "two numbers"),
    (pts(n="n_points: 51"), 2, "n_points is '51'"),
    (pts(version="JPEG"), 1, "expected 'version: 1'"),
    (pts(close=""), 71, "no closing"),
    ("version: 1\nn_points: 68\n", 1, "no '{'"),
    ("", 1, "is empty"),
]


@pytest.mark.parametrize(("text", "line", "problem"), BAD_PTS)
def test_malformed_pts_is_named_with_its_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = tmp_path / "face.pts"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_pts(path)
    assert str(error.value).startswith(f"{path}:{line}: "), error.value
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_odd_but_valid_pts(tmp_path: Path) -> None:
    path = tmp_path / "face.pts"
    path.write_bytes(pts(points=[f"  {i}.5\t{i + 1}  " for i in range(68)]).replace("\n", "\r\n\r\n").encode("utf-8-sig"))
    points = read_pts(path)
    np.testing.assert_allclose(points[3], (2.5, 3.0))
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="not a text file"):
        read_pts(path)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: ("# von J\u00fcrgen\n// " + text[:0] + "\n" + text).encode("latin-1"),
        lambda text: text.replace("n_points:  68", " n_points :  68  ").encode(),
        lambda text: text.replace(".25", ".25 # nose")[:0].encode() + text.replace(".25", ".25e0").encode(),
    ],
)
def test_text_as_editors_save_it(tmp_path: Path, encode: Callable[[str], bytes]) -> None:
    path = tmp_path / "face.pts"
    path.write_bytes(encode(pts()))
    np.testing.assert_allclose(read_pts(path)[:2], [(-0.5, 0.25), (0.5, 1.25)])


def line_4(line: str) -> bytes:
    return pts(points=[line, *["1 2"] * 67]).encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (line_4("1,5 2,5"), r":4: expected two numbers, found '1,5 2,5'; write the decimal sign as a point"),
        (line_4("1e999 2"), ":4: a coordinate is not finite"),
        (line_4("0x10 2"), ":4: expected two numbers, found '0x10 2'"),
        (line_4("1_0 2"), ":4: expected two numbers, found '1_0 2'"),
        (line_4("\u0661 2"), ":4: expected two numbers"),
        (line_4("Infinity 2"), ":4: a coordinate is not finite"),
        (line_4("1" * 100_000), r":4: expected two numbers, found '1{57}\.\.\.'"),
        (line_4("1 " * 50_000), r":4: expected two numbers, found"),
        (pts(n="n_points: 68\nn_points: 68").encode(), ":3: n_points stands twice"),
        (pts().encode()[:300] + b"\0" * 400, "not a text file .it holds zero bytes"),
        (pts().encode("utf-16-le"), "not a text file .it holds zero bytes"),
        (pts().encode("utf-16")[:-1], "not a text file .UTF-16-LE"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not a text file"),
        (bytes(range(128, 256)) * 4, "not a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS; run git lfs pull"),
        (b" " * 5_000_000, "has 5,000,000 bytes, more than the 4,194,304 that are read"),
        (b"\n \n", ":1: is empty"),
    ],
)
def test_text_that_is_no_annotation_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "face.pts"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as error:
        read_pts(path)
    message = str(error.value)
    assert message.startswith(f"{path}:") and message.isprintable() and len(message) < len(str(path)) + 200


def test_a_message_is_one_line_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\udce9.pts"
    path.write_text("x")
    with pytest.raises(DataError, match=r"a\\nb\\udce9.pts:1: expected 'version: 1'"):
        read_pts(path)


def nested(depth: int) -> str:
    return '{"face": ' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (nested(100_000), "nested too deep|neither face.standard"),
        ('{"face": ' + "7" * 5000 + "}", "not JSON of a face"),
        ('{"face": 1, "face": 2}', "the key 'face' stands twice in one object"),
        ("[]", "neither face.standard"),
        ("null", "neither face.standard"),
        ('"face"', "neither face.standard"),
        ("", ":1: is empty"),
        ('{"face": {"standard": {"a": {}}}}', "neither face.standard"),
    ],
)
def test_json_that_is_no_annotation_is_named(tmp_path: Path, text: str, problem: str) -> None:
    write_dgfaces(tmp_path, n=1)
    write_synthface(tmp_path / "s", identities=1, frames=1)
    for reader in (DGFacesReader(tmp_path), SynthFaceReader(tmp_path / "s")):
        path = reader.records("all")[0].annotation_path
        path.write_text(text)
        with pytest.raises(
            DataError, match=problem.replace("neither face.standard", "neither face.standard|no landmarks.2D")
        ):
            reader.read_landmarks(path)


@pytest.mark.parametrize(
    ("x", "problem"),
    [
        (True, "key point 3: true is no number"),
        ("12.5", 'key point 3: "12.5" is no number'),
        (None, "key point 3: null is no number"),
        ([1], "is no number"),
        (10**400, "key point 3 is not finite"),
        (float("nan"), "key point 3 is not finite"),
        (float("-inf"), "key point 3 is not finite"),
    ],
)
def test_json_coordinates_are_numbers(tmp_path: Path, x: object, problem: str) -> None:
    write_dgfaces(tmp_path, n=1)
    path = DGFacesReader(tmp_path).records("all")[0].annotation_path
    content = json.loads(path.read_text())
    content["face"]["standard"]["03"]["pixel_2d"]["x"] = x
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=problem):
        DGFacesReader(tmp_path).read_landmarks(path)


def test_dgfaces_points_are_numbered_without_gaps(tmp_path: Path) -> None:
    write_dgfaces(tmp_path, n=1)
    path = DGFacesReader(tmp_path).records("all")[0].annotation_path
    content = json.loads(path.read_text())
    content["face"]["standard"]["70"] = content["face"]["standard"].pop("05")
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="key points aren't numbered in a row"):
        DGFacesReader(tmp_path).read_landmarks(path)


def test_all_problems_of_a_part_are_found(tmp_path: Path) -> None:
    write_300w(tmp_path)
    for name in ("100_1.jpg", "101_1.jpg"):
        (tmp_path / "afw" / name).unlink()
    shutil.copy(tmp_path / "afw" / "102_1.jpg", tmp_path / "afw" / "102_1.png")
    reader = Ibug300WReader(tmp_path)
    with pytest.raises(DataError, match=r"\(and 2 more like it\)$"):
        reader.records("afw")
    assert [error.more for error in reader.problems["afw"]] == [0, 0, 0]
    assert reader.skipped["afw"] == {"mirrored copy": 1}
    for name in ("image_003_1.pts", "image_003_2.pts"):
        (tmp_path / "ibug" / name).write_text("version: 1")
    with pytest.raises(DataError, match=r"image_003_1.pts.*\(and 1 more like it\)$"):
        reader.landmarks("ibug")


def test_numbers_are_told_apart_whatever_their_zeros(tmp_path: Path) -> None:
    write_face_synthetics(tmp_path / "faces", n=3)
    for old, new in (("000000", "000010"), ("000001", "000100"), ("000002", "001000")):
        for suffix in (".png", "_ldmks.txt"):
            (tmp_path / "faces" / (old + suffix)).rename(tmp_path / "faces" / (new + suffix))
    assert FaceSyntheticsReader(tmp_path / "faces").names("all") == ["000010", "000100", "001000"]


def test_points_outside_the_picture_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "face.pts"
    path.write_text(pts(points=["-20.5 3"] + ["1 2"] * 67))
    assert read_pts(path)[0, 0] == pytest.approx(-21.5)


def test_face_synthetics_is_taken_as_it_is(tmp_path: Path) -> None:
    truth = write_face_synthetics(tmp_path / "face_synthetics", n=3)
    reader = open_reader("face_synthetics", tmp_path)
    for record in reader.records("all"):
        sample = reader.read(record)
        np.testing.assert_allclose(sample.landmarks, truth[sample.name][:68], atol=1e-3)
        assert sample.source.role == "synthetic"
    assert reader.count("all").partial and reader.count("all").published == 100
    (tmp_path / "face_synthetics" / "000001_ldmks.txt").write_text("1 2\n" * 68)
    with pytest.raises(DataError, match=r"000001_ldmks.txt:68: 68 points, expected 70"):
        reader.read(reader.records("all")[1])


def test_face_synthetics_release_sizes_are_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_face_synthetics(tmp_path / "faces", n=3)
    reader = FaceSyntheticsReader(tmp_path / "faces")
    assert reader.count("all").partial
    monkeypatch.setattr(FaceSyntheticsReader, "source", replace(reader.source, release_sizes=(3, 100)))
    assert not reader.count("all").partial


def test_dgfaces_swaps_rows_and_columns(tmp_path: Path) -> None:
    truth = write_dgfaces(tmp_path / "dgfaces")
    reader = open_reader("dgfaces", tmp_path)
    records = reader.records("all")
    for record in records:
        np.testing.assert_allclose(reader.read(record).landmarks, truth[record.name])
    assert len({record.photograph for record in records}) == 3, "two renderings of each actor"
    assert reader.read(records[0]).read_image().shape == (96, 96, 3)


def test_dgfaces_version_1_and_malformed(tmp_path: Path) -> None:
    truth = write_dgfaces(tmp_path, n=1)["datapoint_00000"]
    reader = DGFacesReader(tmp_path)
    path = reader.records("all")[0].annotation_path
    coordinates = {str(i): [y, x] for i, (x, y) in enumerate(truth)}
    path.write_text(json.dumps({"standard": {"keypoints_2d_coordinates": coordinates}}))
    np.testing.assert_allclose(reader.read_landmarks(path), truth)
    path.write_text(json.dumps({"face": {"standard": {"01": {}}}}))
    with pytest.raises(DataError, match="neither"):
        reader.read_landmarks(path)
    path.write_text("{\n\n'no'")
    with pytest.raises(DataError, match=r"key_points.json:3: not JSON"):
        reader.read_landmarks(path)
    del coordinates["5"]
    path.write_text(json.dumps({"keypoints_2d_coordinates": coordinates}))
    with pytest.raises(DataError, match="67 key points"):
        reader.read_landmarks(path)


def test_synthface_is_grouped_by_identity(tmp_path: Path) -> None:
    truth = write_synthface(tmp_path / "synth_face")
    reader = open_reader("synthface", tmp_path)
    records = reader.records("all")
    assert [record.name for record in records] == sorted(truth)
    assert [record.photograph for record in records] == [name[:7] for name in sorted(truth)]
    np.testing.assert_allclose(reader.landmarks("all"), [truth[name][:68] for name in sorted(truth)])
    assert reader.read(records[3]).read_image().shape == (96, 96, 3)
    count = reader.count("all")
    assert (count.found, count.published, count.partial, count.skipped) == (10, None, False, {})


def test_synthface_finds_its_json_by_the_numbers(tmp_path: Path) -> None:
    write_synthface(tmp_path, identities=1)
    (tmp_path / "metadata_0000000_001.json").rename(tmp_path / "0000000_001.meta.json")
    assert len(SynthFaceReader(tmp_path).records("all")) == 2
    shutil.copy(tmp_path / "0000000_001.meta.json", tmp_path / "metadata_0000000_001.json")
    with pytest.raises(DataError, match=r"0000000_001.meta.json and metadata_0000000_001.json have the same numbers"):
        SynthFaceReader(tmp_path).records("all")
    (tmp_path / "0000000_001.meta.json").unlink()
    (tmp_path / "metadata_0000000_000.json").unlink()
    assert SynthFaceReader(tmp_path).count("all").skipped == {"image without JSON": 1}
    (tmp_path / "img_0000000_001.jpg").unlink()
    with pytest.raises(DataError, match=r"metadata_0000000_001.json: no image img_0000000_001.jpg"):
        SynthFaceReader(tmp_path).records("all")


def test_synthface_warns_of_another_order_of_the_eyes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write_synthface(tmp_path, identities=3, frames=1)
    reader = SynthFaceReader(tmp_path)
    reader.landmarks("all")
    assert "warning" not in capsys.readouterr().err
    for name in ("0000000_000", "0000002_000"):
        path = tmp_path / f"metadata_{name}.json"
        content = json.loads(path.read_text())
        content["landmarks"]["2D"] = truth[name][[*range(68), 69, 68]].tolist()
        path.write_text(json.dumps(content))
    reader.landmarks("all")
    assert "synthface all: a pupil (point 68, 69) doesn't lie in its eye (36-41, 42-47) in 2 of 3 faces" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("landmarks", "problem"),
    [
        ({"3D": []}, "no landmarks.2D"),
        ({"2D": [[1, 2]] * 69}, "69 x 2, expected 70 x 2"),
        ({"2D": [[1, 2]] * 69 + [[float("nan"), 2]]}, "key point 70 is not finite"),
        ({"2D": [[256, 700]] * 70}, "outside its picture"),
    ],
)
def test_synthface_malformed(tmp_path: Path, landmarks: dict[str, object], problem: str) -> None:
    write_synthface(tmp_path, identities=1, frames=1)
    reader = SynthFaceReader(tmp_path)
    path = reader.records("all")[0].annotation_path
    path.write_text(json.dumps({"landmarks": landmarks}))
    with pytest.raises(DataError, match=problem) as error:
        reader.read_landmarks(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("source", "part", "matter", "ignored"),
    [
        ("300w", "lfpw/trainset", ["image_0001.png", "image_0001.pts"], ["._image_0001.png", "notes.txt"]),
        ("face_synthetics", "all", ["000003.png", "000003_ldmks.txt"], ["000003_seg.png", "README.md"]),
        ("synthface", "all", ["img_0000001_000.jpg", "metadata_0000001_000.json"], ["segm_hair_0000001_000.png", ".x.json"]),
        (
            "dgfaces",
            "all",
            [
                "datapoint_00002/camera/visible_spectrum_01.png",
                "datapoint_00002/camera/key_points/face_standard_key_points.json",
                "datapoint_00002/actor_metadata.json",
            ],
            ["datapoint_00002/camera/environment.json", "datapoint_00002/camera/key_points/a/b/actor_metadata.json"],
        ),
    ],
)
def test_signature_tells_every_change_that_matters(
    data_root: Path, tmp_path: Path, source: str, part: str, matter: list[str], ignored: list[str]
) -> None:
    folder = open_reader(source, data_root).root
    shutil.copytree(folder, tmp_path / folder.name)
    reader = open_reader(source, tmp_path)
    base, seen = reader.part_folder(part), {reader.stat_signature(part)}
    for name in ignored:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("new")
        assert not reader.files.fullmatch(Path(name).name) or name.count("/") > reader.depth
        assert {reader.stat_signature(part)} == seen, name
    for name in matter:
        assert reader.files.fullmatch(Path(name).name)
        path = base / name
        # In place, of the same size, and with its old time: the time of the inode still tells.
        before, content = path.stat(), path.read_bytes()
        path.write_bytes(content[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        for change in ("changed", "gone", "back"):
            if change == "gone":
                path.unlink()
            elif change == "back":
                path.write_bytes(content)
            signature = reader.stat_signature(part)
            assert signature == reader.stat_signature(part) and signature not in seen, (name, change)
            seen.add(signature)


def test_absent_and_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; point --data_root"):
        open_reader("300w", tmp_path)
    (tmp_path / "300w" / "afw").mkdir(parents=True)
    with pytest.raises(DataError, match="afw: no annotated face"):
        open_reader("300w", tmp_path).records("afw")
    with pytest.raises(
        UserError, match="data source 'wflw' is unknown; known: 300w, generated_target, dgfaces, .*generated$"
    ):
        open_reader("wflw", tmp_path)
    with pytest.raises(UserError, match="generated has no files"):
        open_reader("generated", tmp_path)


def test_pts_without_image_is_named(tmp_path: Path) -> None:
    write_300w(tmp_path)
    (tmp_path / "lfpw" / "trainset" / "image_0003.png").unlink()
    with pytest.raises(DataError, match=r"image_0003.pts: no image image_0003.jpg or .png beside it"):
        Ibug300WReader(tmp_path).records("lfpw/trainset")


def test_truncated_image_is_named(tmp_path: Path) -> None:
    write_300w(tmp_path)
    path = tmp_path / "afw" / "100_1.jpg"
    path.write_bytes(path.read_bytes()[:600])
    reader = Ibug300WReader(tmp_path)
    with pytest.raises(DataError, match=r"100_1.jpg: can't be decoded"):
        reader.read(reader.records("afw")[0]).read_image()
