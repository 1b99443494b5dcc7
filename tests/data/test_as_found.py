"""Data sets as people have them on their disks, through the command line: found, or named with what to do; never fewer
faces without a word."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Answer, unprivileged, write_300w, write_dgfaces, write_face_synthetics, write_pts, write_synthface

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sets, copied before each is spoiled: 12 faces in afw, 24, 6 and 10 in the synthetic ones."""
    root = tmp_path_factory.mktemp("pristine")
    write_300w(root / "300w")
    for part in ("lfpw", "ibug", "helen/trainset"):
        shutil.rmtree(root / "300w" / part)
    for mirrored in (root / "300w" / "afw").glob("*_mirror*"):
        mirrored.unlink()
    write_face_synthetics(root / "face_synthetics", n=5)
    write_dgfaces(root / "dgfaces")
    write_synthface(root / "synth_face", identities=2)
    return root


@pytest.fixture
def prepare(cli: Callable[..., Answer], tmp_path: Path, pristine: Path) -> Callable[..., Answer]:
    """``data prepare`` of one set after a change of its folder."""

    def call(change: Change, source: str = "300w") -> Answer:
        folder = {"synthface": "synth_face"}.get(source, source)
        if not (tmp_path / "data").exists():
            shutil.copytree(pristine / folder, tmp_path / "data" / folder)
        change(tmp_path / "data" / folder)
        options = ("--size", 32, "--box", "landmarks", "--source", source, "--prepared_dir", tmp_path / "prepared")
        answer = cli("data", "prepare", "--data_root", tmp_path / "data", *options)
        assert "Traceback" not in answer.err and "mistake of ours" not in answer.err
        return answer

    return call


def row(answer: Answer, part: str) -> tuple[int, str]:
    """Faces and what was passed over, of a part in the table."""
    line = next(line for line in answer.out.splitlines() if re.search(rf"│ {re.escape(part)} +│", line))
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    return int(cells[2]), cells[6]


def beside(*names: str, content: bytes = b"\0\5\7") -> Change:
    return lambda root: [(root / "afw" / name).write_bytes(content) for name in names]


def renamed(pattern: str, new: Callable[[str], str]) -> Change:
    return lambda root: [path.rename(path.with_name(new(path.name))) for path in sorted((root / "afw").glob(pattern))]


def moved(*pairs: tuple[str, str]) -> Change:
    def change(root: Path) -> None:
        for old, new in pairs:
            (root / "moving").mkdir()
            (root / old).rename(root / "moving" / "it")
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            (root / "moving" / "it").rename(root / new)
            (root / "moving").rmdir()

    return change


def copied(old: str, new: str) -> Change:
    def change(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (root / old).is_dir() else shutil.copy)(root / old, root / new)

    return change


def converted(suffix: str) -> Change:
    def change(root: Path) -> None:
        for path in (root / "afw").glob("*.jpg"):
            Image.open(path).save(path.with_suffix(suffix), lossless=True) if suffix == ".webp" else Image.open(path).save(
                path.with_suffix(suffix)
            )
            path.unlink()

    return change


def linked(root: Path) -> None:
    """Pictures elsewhere, and a part elsewhere, as links."""
    (root.parent / "elsewhere").mkdir()
    for path in sorted((root / "afw").glob("*.jpg")):
        path.rename(root.parent / "elsewhere" / path.name)
        path.symlink_to(root.parent / "elsewhere" / path.name)
    (root / "helen").rename(root.parent / "elsewhere" / "helen")
    (root / "helen").symlink_to(root.parent / "elsewhere" / "helen")


def unusual_names(form: str) -> Change:
    def change(root: Path) -> None:
        for suffix in (".jpg", ".pts"):
            name = unicodedata.normalize(form if suffix == ".jpg" else "NFC", f"Zoë  (am Meer) [1]{suffix}")
            (root / "afw" / f"100_1{suffix}").rename(root / "afw" / name)

    return change


def special(root: Path) -> None:
    os.mkfifo(root / "afw" / "queue")
    with socket.socket(socket.AF_UNIX) as end:
        before = Path.cwd()
        os.chdir(root / "afw")
        end.bind("plug")
        os.chdir(before)
    (root / "afw" / "gone.jpg").symlink_to(root / "nothing.jpg")
    (root / "afw" / "round").symlink_to("round")


def upper(name: str) -> str:
    return name.upper()


SYSTEM = ("._100_1.jpg", "._100_1.pts", ".DS_Store", "Thumbs.db", "desktop.ini", ".100_2.pts.swp")
TAKEN: list[tuple[str, Change, str]] = [
    ("nothing odd", lambda root: None, ""),
    ("what systems leave", beside(*SYSTEM), "6 system or hidden file"),
    (
        "folders of systems",
        lambda root: [(root / "afw" / n).mkdir() for n in ("@eaDir", "__MACOSX")],
        "2 system or hidden file",
    ),
    (
        "backups of editors",
        beside("100_1.pts~", "100_1.pts.bak", "101_1.jpg.part", "#100_1.pts#"),
        "4 backup or partial copy",
    ),
    (
        "a copy of a pair",
        lambda r: [copied(f"afw/100_1{s}", f"afw/100_1 (1){s}")(r) for s in (".jpg", ".pts")],
        "2 copy of a file",
    ),
    ("a copy of a picture", copied("afw/100_1.jpg", "afw/100_1 - Copy.jpg"), "1 copy of a file"),
    ("an edited copy of points", beside("100_1 (2).pts", content=b"version"), "1 copy of a file"),
    ("other files", beside("readme.txt", "index.html", "x.mat"), "3 other file"),
    ("pictures alone", copied("afw/100_1.jpg", "afw/900_1.jpg"), "1 image without .pts"),
    ("suffixes in capitals", renamed("*", lambda name: name.replace("jpg", "JPG").replace("pts", "PTS")), ""),
    ("mixed case", renamed("*2.*", lambda name: name.replace("jpg", "Jpg").replace("pts", "Pts")), ""),
    ("jpeg", renamed("*.jpg", lambda name: name.replace("jpg", "JPEG")), ""),
    *((f"{suffix} pictures", converted(suffix), "") for suffix in (".bmp", ".tif", ".TIFF", ".webp", ".png")),
    ("another case of the name", lambda r: [unusual_names("NFC")(r), renamed("Zo*.pts", str.upper)(r)], ""),
    ("accents, composed", unusual_names("NFC"), ""),
    ("accents, decomposed", unusual_names("NFD"), ""),
    ("folders in capitals", moved(("afw", "AFW"), ("helen", "Helen"), ("Helen/testset", "Helen/TestSet")), ""),
    ("nested once more", moved(("afw", "afw/afw"), ("helen", "helen/helen")), ""),
    ("nested with leftovers", lambda r: [moved(("afw", "afw/AFW"))(r), (r / "afw" / ".DS_Store").touch()], ""),
    ("the whole nested", moved(("afw", "300w/300W/afw"), ("helen", "300w/300W/helen")), ""),
    ("an archive's folder around", moved(("afw", "release/afw"), ("helen", "release/helen")), ""),
    ("links", linked, ""),
    ("a part by two ways", lambda root: (root / "AFW").symlink_to("afw"), ""),
    ("what isn't a file", special, "2 neither file nor folder, 2 link to nowhere"),
    ("a subfolder", copied("helen/testset", "afw/more"), "1 subfolder"),
    (
        "a name that is no text",
        lambda r: Path(os.fsdecode(os.fsencode(r / "afw") + b"/caf\xe9.txt")).touch(),
        "1 other file",
    ),
]


@pytest.mark.parametrize(("change", "passed_over"), [pytest.param(c, p, id=name) for name, c, p in TAKEN])
def test_found_as_people_have_it(prepare: Callable[..., Answer], change: Change, passed_over: str) -> None:
    answer = prepare(change)
    assert answer.code == 0, answer.err
    faces, said = row(answer, "afw")
    assert faces == 12 and row(answer, "helen/testset")[0] == 7
    assert sorted(said.split(", ")) == sorted(passed_over.split(", "))


def test_folders_that_are_no_part_are_named(prepare: Callable[..., Answer]) -> None:
    def change(root: Path) -> None:
        (root / "helen" / "testset").rename(root / "testset")  # as helen.zip unpacks
        (root / "helen" / "train").mkdir()
        shutil.copytree(root / "testset", root / "helen" / "trainset")
        shutil.copy(root / "afw" / "100_1.jpg", root / "loose.jpg")
        (root / "__MACOSX").mkdir()

    answer = prepare(change)
    assert answer.code == 0, answer.err
    assert "300w: passed over, since no part is called so: testset/, 1 pictures and annotations in /" in answer.out
    assert "helen/train/" in answer.out and "__MACOSX" not in answer.out
    assert "absent: lfpw/trainset, helen/testset, lfpw/testset, ibug" in " ".join(answer.out.split())


def test_the_same_faces_are_the_same_whatever_they_are_called_in(prepare: Callable[..., Answer], tmp_path: Path) -> None:
    prepare(lambda root: None)
    before = {path.name for path in (tmp_path / "prepared").rglob("crops-*")}
    prepare(moved(("afw", "AFW/afw"), ("helen", "Helen")))
    assert {path.name for path in (tmp_path / "prepared").rglob("crops-*")} == before


def test_what_is_passed_over_is_counted_each_time(prepare: Callable[..., Answer]) -> None:
    assert row(prepare(lambda root: None), "afw")[1] == ""
    assert row(prepare(beside("._x.jpg", "notes.txt")), "afw")[1] in (
        "1 system or hidden file, 1 other file",
        "1 other file, 1 system or hidden file",
    )
    assert row(prepare(lambda root: (root / "afw" / "notes.txt").unlink()), "afw")[1] == "1 system or hidden file"


def without(name: str, *more: Change) -> Change:
    return lambda root: [(root / name).unlink(), *(change(root) for change in more)]


def in_its_place(name: str, make: Callable[[Path], object]) -> Change:
    def change(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        make(root / name)

    return change


def two_cases(root: Path) -> None:
    shutil.copytree(root / "afw", root / "AFW")


REFUSED: list[tuple[str, Change, str]] = [
    (
        "points without picture",
        without("afw/100_1.jpg"),
        r"afw/100_1.pts: no image 100_1.jpg or .png beside it; put it there",
    ),
    (
        "several",
        lambda r: [without(f"afw/10{i}_1.jpg")(r) for i in range(3)],
        r"100_1.pts: no image .* \(and 2 more like it\)",
    ),
    (
        "a format that isn't read",
        renamed("100_1.jpg", lambda name: "100_1.heic"),
        "100_1.pts: no image .*100_1.heic is none of",
    ),
    (
        "jpg beside png",
        copied("afw/100_1.jpg", "afw/100_1.png"),
        "afw: 100_1.jpg and 100_1.png are both pictures of 100_1.pts",
    ),
    ("jpg beside jpeg", copied("afw/100_1.jpg", "afw/100_1.jpeg"), "100_1.jpeg and 100_1.jpg are both pictures"),
    ("jpg beside JPG", copied("afw/100_1.jpg", "afw/100_1.JPG"), "100_1.JPG and 100_1.jpg differ in case"),
    ("pts beside PTS", copied("afw/100_1.pts", "afw/100_1.PTS"), "100_1.PTS and 100_1.pts differ in case"),
    ("afw beside AFW", two_cases, "300w: AFW and afw could each be part afw; keep the one"),
    ("nested beside flat", copied("afw", "300W/afw"), "300W/afw and afw could each be part afw; keep the one"),
    (
        "two paddings",
        lambda r: [copied(f"afw/100_1{s}", f"afw/100_01{s}")(r) for s in (".jpg", ".pts")],
        "100_01.pts and 100_1.pts have",
    ),
    (
        "a link to nowhere",
        in_its_place("afw/100_1.jpg", lambda p: p.symlink_to("/gone")),
        r"100_1.jpg: is a link to nowhere \(/gone\)",
    ),
    (
        "a folder for a file",
        in_its_place("afw/100_1.pts", Path.mkdir),
        "100_1.pts: is a folder, where a file is expected; move it",
    ),
    (
        "a pipe for a picture",
        in_its_place("afw/100_1.jpg", os.mkfifo),
        "100_1.jpg: is neither file nor folder, where a file is",
    ),
    (
        "a name that is no text",
        lambda r: Path(os.fsdecode(os.fsencode(r / "afw") + b"/\xe9.pts")).touch(),
        r"\\udce9.pts: the name isn't",
    ),
    (
        "an empty picture",
        in_its_place("afw/100_1.jpg", Path.touch),
        "100_1.jpg: is empty; copy or fetch .*; the other 11 faces",
    ),
    ("an empty annotation", in_its_place("afw/100_1.pts", Path.touch), "100_1.pts:1: is empty"),
    (
        "no faces",
        lambda r: [path.unlink() for path in (r / "afw").glob("*.pts")],
        r"no annotated face .*12 image without .pts",
    ),
]


@pytest.mark.parametrize(("change", "problem"), [pytest.param(c, p, id=name) for name, c, p in REFUSED])
def test_refused_with_the_names(prepare: Callable[..., Answer], change: Change, problem: str) -> None:
    answer = prepare(change)
    assert answer.code == 2
    last = answer.err.strip().splitlines()[-1]
    assert last.startswith("domaingap: /") and re.search(problem, last), answer.err
    assert row(answer, "helen/testset")[0] == 7, "one part keeps no other from being prepared"


@pytest.mark.parametrize("what", ["afw/100_1.jpg", "afw/100_1.pts", "afw"])
def test_without_permission(prepare: Callable[..., Answer], tmp_path: Path, what: str) -> None:
    prepare(lambda root: None)
    with unprivileged(tmp_path):
        answer = prepare(lambda root: (root / what).chmod(0))
    (tmp_path / "data" / "300w" / what).chmod(0o755)
    assert answer.code == 2 and re.search(f"{what}: you may not read it; allow it: chmod", answer.err), answer.err
    assert row(answer, "helen/testset")[0] == 7


def one(pattern: str, new: Callable[[str], str]) -> Change:
    def change(root: Path) -> None:
        path = sorted(root.rglob(pattern))[0]
        path.rename(path.with_name(new(path.name)))

    return change


def duplicate(pattern: str, new: Callable[[str], str]) -> Change:
    def change(root: Path) -> None:
        path = sorted(root.rglob(pattern))[0]
        (shutil.copytree if path.is_dir() else shutil.copy)(path, path.with_name(new(path.name)))

    return change


def nested(root: Path) -> None:
    inner = root.with_name("inner")
    root.rename(inner)
    root.mkdir()
    (root / "__MACOSX").mkdir()
    inner.rename(root / "dataset_100")


def both_paddings(root: Path) -> None:
    duplicate("000001.png", lambda name: "1.png")(root)
    duplicate("000001_ldmks.txt", lambda name: "1_ldmks.txt")(root)


def other_version(root: Path) -> None:
    path = sorted(root.rglob("face_standard_key_points.json"))[0]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "standard": {"keypoints_2d_coordinates": {}}}))


OTHERS: list[tuple[str, str, Change, int, str]] = [
    ("face_synthetics", "capitals", one("000001_ldmks.txt", upper), 5, ""),
    ("face_synthetics", "jpeg", one("000001.png", lambda name: "000001.JPEG"), 5, ""),
    ("face_synthetics", "nested", nested, 5, ""),
    ("face_synthetics", "companions", lambda root: (root / "._000001.png").touch(), 5, "1 system or hidden file"),
    ("face_synthetics", "copies", duplicate("000001.png", lambda name: "000001 (1).png"), 5, "1 other file"),
    (
        "face_synthetics",
        "jpg beside png",
        duplicate("000001.png", lambda n: "000001.jpg"),
        0,
        "000001.jpg and 000001.png are both",
    ),
    ("face_synthetics", "paddings", both_paddings, 0, "000001_ldmks.txt and 1_ldmks.txt have the same number"),
    (
        "face_synthetics",
        "no picture",
        lambda r: (r / "000001.png").unlink(),
        0,
        "000001_ldmks.txt: no image 000001.png beside",
    ),
    ("synthface", "capitals", one("img_0000001_000.jpg", upper), 4, ""),
    ("synthface", "nested", nested, 4, ""),
    ("synthface", "companions", lambda root: (root / "._metadata_0000001_000.json").touch(), 4, "1 system or hidden file"),
    (
        "synthface",
        "two JSON",
        duplicate("metadata_0000001_000.json", lambda n: "x_0000001_000.json"),
        0,
        "have the same number",
    ),
    ("dgfaces", "capitals", one("visible_spectrum_01.png", upper), 6, ""),
    ("dgfaces", "a folder in capitals", one("camera", upper), 6, ""),
    ("dgfaces", "nested", nested, 6, ""),
    (
        "dgfaces",
        "companions",
        lambda r: (r / "datapoint_00001" / "camera" / "._visible_spectrum_01.png").touch(),
        6,
        "1 system or hidden file",
    ),
    ("dgfaces", "two versions", other_version, 0, "key_points.json: holds key points of version 2 .* and of version 1"),
    (
        "dgfaces",
        "two pictures",
        duplicate("visible_spectrum_01.png", lambda n: n.replace("png", "jpg")),
        0,
        "visible_spectrum_01.jpg and",
    ),
    (
        "dgfaces",
        "paddings",
        duplicate("datapoint_00001", lambda name: "datapoint_1"),
        0,
        "datapoint_00001 and datapoint_1 have the",
    ),
    (
        "dgfaces",
        "no actor",
        lambda r: (r / "datapoint_00001" / "actor_metadata.json").write_text("{"),
        6,
        "1 actor_metadata.json without",
    ),
]


@pytest.mark.parametrize(
    ("source", "change", "n", "said"), [pytest.param(s, c, n, w, id=f"{s}: {name}") for s, name, c, n, w in OTHERS]
)
def test_other_sets_likewise(prepare: Callable[..., Answer], source: str, change: Change, n: int, said: str) -> None:
    answer = prepare(change, source)
    if n:
        assert answer.code == 0, answer.err
        assert row(answer, "all")[0] == n and row(answer, "all")[1].startswith(said) and (said or not row(answer, "all")[1])
    else:
        assert answer.code == 2 and re.search(said, answer.err.strip().splitlines()[-1]), answer.err


def test_a_source_in_another_case(cli: Callable[..., Answer], pristine: Path, tmp_path: Path) -> None:
    shutil.copytree(pristine / "300w", tmp_path / "data" / "300W")
    arguments = ("data", "prepare", "--data_root", tmp_path / "data", "--size", 32, "--box", "landmarks", "--prepared_dir")
    answer = cli(*arguments, tmp_path / "p")
    assert answer.code == 0 and row(answer, "afw")[0] == 12
    shutil.copytree(pristine / "300w", tmp_path / "data" / "300w")
    answer = cli(*arguments, tmp_path / "p")
    assert answer.code == 2 and "300W and 300w could each be 300-W" in answer.err


SPOILED: list[tuple[str, Callable[[np.ndarray], object], str]] = [
    ("zeros", lambda p: p.__setitem__(slice(None), -1.0), "placeholder points (0 0 or -1 -1)"),
    ("a point at -1 -1", lambda p: p.__setitem__(5, -2.0), "placeholder points (0 0 or -1 -1)"),
    ("one place", lambda p: p.__setitem__(slice(None), (33.0, 44.0)), "points coincide"),
    ("eye corners", lambda p: p.__setitem__(36, p[45]), "outer eye corners coincide"),
    ("another picture", lambda p: p.__iadd__(90), "annotation outside its picture"),
    ("a larger picture", lambda p: p.__imul__(5), "annotation larger than its picture"),
    ("shares of the size", lambda p: p.__itruediv__(96), "face smaller than 4 pixels"),
]


@pytest.mark.parametrize(("spoil", "why"), [pytest.param(s, why, id=name) for name, s, why in SPOILED])
def test_faces_that_are_none_are_left_out_by_name(
    prepare: Callable[..., Answer], tmp_path: Path, spoil: Callable[[np.ndarray], object], why: str
) -> None:
    from domaingap.data.readers.ibug300w import read_pts

    def change(root: Path) -> None:
        for name in ("301_1", "303_1"):
            points = read_pts(root / "helen" / "testset" / f"{name}.pts")
            spoil(points)
            write_pts(root / "helen" / "testset" / f"{name}.pts", points)

    answer = prepare(change)
    assert answer.code == 0, answer.err
    assert row(answer, "helen/testset") == (5, f"2 {why}") and row(answer, "afw") == (12, "")
    assert f"300w helen/testset: left out helen/testset/301_1: {why}" in answer.out
    again = prepare(lambda root: None)
    assert again.out == answer.out, "said each time"
    (manifest,) = (tmp_path / "prepared" / "300w" / "helen-testset").rglob("manifest.json")
    found = json.loads(manifest.read_text())
    named = found.get("left_out") or found["record"]["left_out"]
    assert named == dict.fromkeys(("helen/testset/301_1", "helen/testset/303_1"), why)


def test_pictures_that_are_doubted_are_counted(prepare: Callable[..., Answer]) -> None:
    def change(root: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # shown turned by a quarter
        path = root / "helen" / "testset" / "301_1.jpg"
        Image.open(path).save(path, exif=exif)
        see_through = Image.new("RGBA", (96, 96), (255, 0, 0, 9))
        see_through.save(root / "afw" / "100_1.png")
        (root / "afw" / "100_1.jpg").unlink()

    answer = prepare(change)
    assert answer.code == 0, answer.err
    assert "300w helen/testset: 1 doubtful: EXIF orientation ignored (points are taken in stored pixels)" in answer.out
    assert "300w afw: 1 doubtful: transparency ignored (colours are taken as stored)" in answer.out


def test_points_that_fit_the_turned_picture_alone_are_left_out(prepare: Callable[..., Answer]) -> None:
    from domaingap.data.readers.ibug300w import read_pts

    def change(root: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        path = root / "helen" / "testset" / "301_1.jpg"
        # Stored 300 wide and 96 high; people annotated what a viewer shows, 96 wide and 300 high, in its lower half.
        Image.new("RGB", (300, 96)).save(path, exif=exif)
        write_pts(path.with_suffix(".pts"), read_pts(path.with_suffix(".pts")) + (0, 150))

    answer = prepare(change)
    assert answer.code == 0, answer.err
    assert "left out helen/testset/301_1: annotation fits its picture only as EXIF turns it" in answer.out


def test_a_part_of_which_nothing_is_left(prepare: Callable[..., Answer]) -> None:
    def change(root: Path) -> None:
        for path in (root / "afw").glob("*.pts"):
            write_pts(path, np.full((68, 2), -1.0))

    answer = prepare(change)
    assert answer.code == 2
    assert "afw: none of its 12 faces can be used (12 placeholder points (0 0 or -1 -1))" in answer.err
    assert row(answer, "helen/testset")[0] == 7


def test_a_run_after_faces_were_left_out_has_a_result(
    cli: Callable[..., Answer], tmp_path: Path, data_root: Path, quick: list[str]
) -> None:
    """What ended runs after all their training: eye corners that coincide in a test face."""
    from domaingap.data.readers.ibug300w import read_pts

    shutil.copytree(data_root / "300w", tmp_path / "data" / "300w")
    for name, points in (("helen/testset/300_1", (36, 45)), ("afw/100_1", (0, 0))):
        path = tmp_path / "data" / "300w" / f"{name}.pts"
        face = read_pts(path)
        face[points[0]] = face[points[1]] if points[1] else -1.0
        write_pts(path, face)
    shutil.copy(tmp_path / "data/300w/helen/testset/301_1.jpg", tmp_path / "data/300w/helen/trainset/999_1.jpg")
    shutil.copy(tmp_path / "data/300w/helen/testset/301_1.pts", tmp_path / "data/300w/helen/trainset/999_1.pts")
    answer = cli("run", "real_only", *quick, f"--data_root={tmp_path / 'data'}", f"--prepared_dir={tmp_path / 'p'}")
    assert answer.code == 0, answer.err
    said = " ".join(answer.err.split())
    assert "afw 11 of 337 (" in said and "1 left out: placeholder points (0 0 or -1 -1)" in said
    assert "helen/testset 6 of 330 (1 left out: outer eye corners coincide)" in said
    assert "300w helen/testset: left out, since they can't be used: helen/testset/300_1 (outer eye corners coincide)" in said
    (path,) = (tmp_path / "runs").rglob("result.json")
    result = json.loads(path.read_text())
    parts = result["data"]["real"]["parts"]
    assert parts["helen/testset"]["left_out"] == {"helen/testset/300_1": "outer eye corners coincide"}
    assert parts["helen/testset"]["skipped"] == {"outer eye corners coincide": 1}
    assert parts["helen/testset"]["n_faces"] == 6 and parts["helen/testset"]["partial"]
    counts = result["counts"]["test/common"]
    assert counts["images"] == 10 and counts["partial"] and counts["published"] == 554
    assert result["data"]["real"]["moved"] == {"helen/trainset/999_1": "helen/testset/301_1"}
    assert "helen/trainset/999_1 (as helen/testset/301_1)" in said
