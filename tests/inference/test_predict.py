"""``domaingap predict`` as people call it: a run that was trained a little, faces that MTCNN finds, files read back."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from domaingap.data.readers.text import parse_points, read_lines
from domaingap.inference.outputs import JsonLines
from tests.experiments.test_cli import fails
from tests.inference.clips import crossing, drawn, nme, photographs, shot, swaying, write_clip
from tests.inference.runs import finished

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data_root: Path, prepared_dir: Path) -> Path:
    """A finished run; it knows little more than the mean face."""
    return finished("real_only", data_root=data_root, prepared_dir=prepared_dir, folder=tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def adapted_run(tmp_path_factory: pytest.TempPathFactory, data_root: Path, prepared_dir: Path) -> Path:
    """One of label_adaptation."""
    return finished(
        "label_adaptation", data_root=data_root, prepared_dir=prepared_dir, folder=tmp_path_factory.mktemp("adapted")
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with one drawn face."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(shot(1, [(drawn(1)[0], swaying())])[0].pixels).save(path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn people, 30 frames."""
    a, b = drawn(2)
    frames = shot(30, [(a, swaying(140, 180, 100)), (b, swaying(345, 180, 100))])
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", frames)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_picture(cli: Callable[..., Any], run: Path, photo: Path, here: Path) -> None:
    answer = cli("predict", photo, "--run", run, "--write", "annotated,jsonl,csv,pts")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines() == [
        "1 picture: 1 face",
        "files: photo_points.png, photo_points.jsonl, photo_points.csv, .pts",
    ]
    assert files(here) == ["photo_points.csv", "photo_points.jsonl", "photo_points.png", "photo_points.pts"]
    (line,) = lines_of(here / "photo_points.jsonl")
    (face,) = line["faces"]
    assert (line["file"], line["width"], line["height"]) == (str(photo), 480, 360)
    truth = shot(1, [(drawn(1)[0], swaying())])[0].truth["drawn0"]
    points = np.array(face["landmarks"])
    # In the picture's own pixels: the mean face where the face is.
    assert (
        np.abs(points.mean(axis=0) - truth.mean(axis=0)).max() < 15
        and 0.6 < np.ptp(points[:, 0]) / np.ptp(truth[:, 0]) < 1.6
    )
    x0, y0, x1, y1 = face["box"]
    assert x0 < truth[27, 0] < x1 and y0 < truth[27, 1] < y1 and 0 <= face["confidence"] <= 1
    pts = read_lines(here / "photo_points.pts")
    np.testing.assert_allclose(parse_points(here / "photo_points.pts", pts[3:-1], 68) - 1, points, atol=2e-3)
    before, after = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (photo, here / "photo_points.png"))
    changed = np.argwhere(np.abs(after - before).max(axis=2) > 60)[:, ::-1]
    assert before.shape == after.shape and len(changed) > 100
    assert (changed.min(axis=0) >= np.array([x0, y0]) - 30).all() and (changed.max(axis=0) <= np.array([x1, y1]) + 60).all()


def test_the_answer_is_the_one_that_was_scored(cli: Callable[..., Any], run: Path, photo: Path, here: Path) -> None:
    """By another way: box, crop with its margin, network and back, step by step as in preparation and scoring."""
    import torch

    from domaingap.config import CropConfig
    from domaingap.data.boxes import FaceDetector
    from domaingap.data.crops import apply_transform, crop_transform, cut_crop, invert_transform
    from domaingap.models.regressor import load_network

    assert cli("predict", photo, "--run", run).code == 0
    (line,) = lines_of(here / "photo_points.jsonl")
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    crop = CropConfig(size=32)
    transform = crop_transform(FaceDetector().detect(pixels)[0], crop)
    stored = cut_crop(pixels, transform, crop)[crop.pad : -crop.pad, crop.pad : -crop.pad]
    with torch.no_grad():
        points = load_network(run / "checkpoints" / "answering.ckpt").eval()(torch.from_numpy(stored[None, None].copy()))
    expected = apply_transform(invert_transform(transform), points[0].double().numpy())
    np.testing.assert_allclose(line["faces"][0]["landmarks"], expected, atol=2e-3)


def test_label_adaptation_answers_with_adapted_points(
    cli: Callable[..., Any], adapted_run: Path, photo: Path, here: Path, tmp_path: Path
) -> None:
    from domaingap.models.label_adapter import LabelAdapter

    bare = tmp_path / "bare" / "network.ckpt"
    bare.parent.mkdir()
    shutil.copyfile(adapted_run / "checkpoints" / "answering.ckpt", bare)
    shutil.copyfile(adapted_run / "config.yaml", tmp_path / "config.yaml")
    answers = []
    for name, source in (("bare", bare), ("run", adapted_run)):
        assert cli("predict", photo, "--run", source, "--out", f"{name}.png").code == 0
        answers.append(np.array(lines_of(here / f"{name}.jsonl")[0]["faces"][0]["landmarks"]))
    adapter = LabelAdapter.load(adapted_run / "checkpoints" / "adapter_predictions.ckpt")
    np.testing.assert_allclose(answers[1], adapter.adapt(answers[0]), atol=0.02)
    assert adapter.kind == "identity" or np.abs(answers[1] - answers[0]).max() > 0.01


def test_a_network_that_tells_its_uncertainty(
    cli: Callable[..., Any], data_root: Path, prepared_dir: Path, photo: Path, clip: Path, here: Path, tmp_path: Path
) -> None:
    from domaingap.models.regressor import copy_with, load_network

    loss, where = "--model.loss=gaussian_nll", {"data_root": data_root, "prepared_dir": prepared_dir}
    run = finished("real_only", loss, folder=tmp_path / "runs", **where)
    assert cli("predict", photo, "--run", run).code == 0
    (face,) = lines_of(here / "photo_points.jsonl")[0]["faces"]
    sigma, size = np.array(face["sigma"]), np.sqrt(np.prod(np.ptp(np.array(face["landmarks"]), axis=0)))
    assert sigma.shape == (68,) and (sigma > 0).all()
    assert face["confidence"] <= 1 / (1 + (sigma.mean() / size / 0.1) ** 4) + 1e-3
    # The factor that was measured on the validation faces is in them, and in the confidence.
    checkpoint = run / "checkpoints" / "answering.ckpt"
    factor = load_network(checkpoint).sigma_factor
    assert factor is not None and factor != 1
    copy_with(checkpoint, tmp_path / "twice.ckpt", sigma_factor=2 * factor)
    assert cli("predict", photo, "--run", tmp_path / "twice.ckpt", "--out", "twice.png").code == 0
    (twice,) = lines_of(here / "twice.jsonl")[0]["faces"]
    np.testing.assert_allclose(twice["sigma"], 2 * sigma, atol=0.01)
    assert twice["landmarks"] == face["landmarks"] and twice["confidence"] < face["confidence"]
    assert cli("predict", clip, "--run", run, "--write", "jsonl").code == 0
    assert len(lines_of(here / "clip_points.jsonl")) == 30


def test_a_folder_with_what_folders_have(
    cli: Callable[..., Any], run: Path, photo: Path, here: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    shutil.copyfile(photo, folder / "a.png")
    shutil.copyfile(photo, folder / "sub" / "a.png")
    Image.open(photo).convert("RGB").save(folder / "a.jpg")
    Image.new("RGB", (200, 150), (90, 120, 90)).save(folder / "nobody.bmp")
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:2000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    answer = cli("predict", folder, "--run", run, "--write", "annotated,jsonl,pts")
    assert answer.code == 0, answer.err
    assert files(here) == [
        *("album_points/a.jpg", "album_points/a.pts", "album_points/a_2.png", "album_points/a_2.pts"),
        *("album_points/landmarks.jsonl", "album_points/nobody.png", "album_points/sub/a.png", "album_points/sub/a.pts"),
    ]
    lines = {
        Path(line["file"]).relative_to(folder).as_posix(): line for line in lines_of(here / "album_points/landmarks.jsonl")
    }
    assert [name for name, line in lines.items() if "error" in line] == ["cut.jpg", "empty.png"]
    assert lines["a.png"]["faces"] == lines["sub/a.png"]["faces"] and len(lines["a.png"]["faces"]) == 1
    assert "4 pictures: 3 faces in 3 of them" in answer.out
    shutil.rmtree(here / "album_points")
    # A folder of one picture is a folder.
    assert cli("predict", folder / "sub", "--run", run).code == 0
    assert files(here) == ["sub_points/a.png", "sub_points/landmarks.jsonl"]
    assert f"no face found in 1 picture, the first of them {folder / 'nobody.bmp'}" in answer.out
    assert "2 pictures left out (said above)" in answer.out
    assert answer.err.count("left out: ") == 2 and f"{folder / 'empty.png'}: is empty" in answer.err


def test_patterns_and_standard_input(
    cli: Callable[..., Any], run: Path, photo: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b [1].png", "c.png"):
        shutil.copyfile(photo, here / name)
    assert cli("predict", "*.png", "--run", run, "--out", "all", "--write", "jsonl").code == 0
    assert [line["file"] for line in lines_of(here / "all" / "landmarks.jsonl")] == ["b [1].png", "c.png"]
    # A name that is there is no pattern.
    assert cli("predict", "b [1].png", "--run", run, "--out", "one.png", "--write", "jsonl").code == 0
    assert [line["file"] for line in lines_of(here / "one.jsonl")] == ["b [1].png"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"c.png\n\n{photo}\n"))
    answer = cli("predict", "-", "--run", run, "--out", "-")
    assert [json.loads(line)["file"] for line in answer.out.splitlines()] == ["c.png", str(photo)]
    assert "2 pictures: 2 faces" in answer.err
    assert files(here) == ["all/landmarks.jsonl", "b [1].png", "c.png", "one.jsonl"]


def test_several_faces_and_the_smallest(cli: Callable[..., Any], run: Path, here: Path) -> None:
    a, b = drawn(2)
    people = [(a, lambda i: (150.0, 180.0, 150.0, 0.0)), (b, lambda i: (370.0, 180.0, 45.0, 0.0))]
    frame = shot(1, people)[0]
    Image.fromarray(frame.pixels).save("two.png")
    for options, expected in (((), 2), (("--smallest_face", 100), 1), (("--max_faces", 1), 1)):
        assert cli("predict", "two.png", "--run", run, "--write", "jsonl,pts", *options).code == 0
        faces = lines_of(here / "two_points.jsonl")[0]["faces"]
        assert len(faces) == expected
        # The largest first.
        assert np.abs(np.mean(faces[0]["landmarks"], axis=0) - frame.truth["drawn0"].mean(axis=0)).max() < 25
    assert {"two_points_1.pts", "two_points_2.pts"} <= set(files(here))


def test_a_turned_picture_is_looked_at_upright(cli: Callable[..., Any], run: Path, photo: Path, here: Path) -> None:
    upright = Image.open(photo).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # as a phone held upright stores it
    upright.transpose(Image.Transpose.ROTATE_90).save("phone.png", exif=exif)
    answer = cli("predict", "phone.png", photo, "--run", run, "--out", "out")
    first, second = lines_of(here / "out" / "landmarks.jsonl")
    assert (first["width"], first["height"]) == (480, 360) and first["faces"] == second["faces"]
    assert "turned as its EXIF orientation says (coordinates are of the turned picture): 1 picture" in answer.out


def test_a_video(cli: Callable[..., Any], run: Path, clip: Path, here: Path) -> None:
    answer = cli("predict", clip, "--run", run, "--out", "new/points.mp4", "--write", "annotated,jsonl,csv,pts")
    assert answer.code == 0, answer.err
    assert f"{clip}: 30 frames, 30 with a face, 2 people; a face lost 0 times, detector asked 2 times;" in answer.out
    assert "frames per second" in answer.out
    lines = lines_of(here / "new" / "points.jsonl")
    assert [line["frame"] for line in lines] == list(range(30))
    np.testing.assert_allclose([line["time"] for line in lines], np.arange(30) / 25, atol=1e-3)
    assert all([face["track"] for face in line["faces"]] == [1, 2] for line in lines)
    sides = {face["track"]: np.mean(face["landmarks"], axis=0)[0] < 240 for face in lines[0]["faces"]}
    assert all(
        (np.mean(face["landmarks"], axis=0)[0] < 240) == sides[face["track"]] for line in lines for face in line["faces"]
    )
    capture = cv2.VideoCapture(str(here / "new" / "points.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (30, 25)
    seen = capture.read()[1].astype(int)
    assert (np.abs(seen - cv2.VideoCapture(str(clip)).read()[1]).max(axis=2) > 80).sum() > 200, "it is annotated"
    assert len(list((here / "new" / "points_pts").rglob("*.pts"))) == 60
    assert (here / "new" / "points_pts" / "001" / "000030.pts").is_file()


def test_smoothing_calms_and_is_off_by_default(cli: Callable[..., Any], run: Path, clip: Path, here: Path) -> None:
    jitters = []
    for options in ((), ("--smooth",), ("--smooth", "--min_cutoff", 0.2, "--beta", 0)):
        assert cli("predict", clip, "--run", run, "--write", "jsonl", *options).code == 0
        points = np.array([line["faces"][0]["landmarks"] for line in lines_of(here / "clip_points.jsonl")])
        jitters.append(np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean())
    assert jitters[0] > jitters[1] > jitters[2]


def test_part_of_a_video(cli: Callable[..., Any], run: Path, clip: Path, here: Path) -> None:
    assert "7 frames" in cli("predict", clip, "--run", run, "--frames", 7).out
    assert len(lines_of(here / "clip_points.jsonl")) == 7


def test_videos_and_pictures_together(cli: Callable[..., Any], run: Path, clip: Path, photo: Path, here: Path) -> None:
    (here / "broken.mp4").write_bytes(os.urandom(5000))
    shutil.copyfile(clip, here / "clip.avi")
    answer = cli("predict", clip, "clip.avi", "broken.mp4", photo, "--run", run, "--out", "out", "--frames", 3)
    assert answer.code == 0, answer.err
    assert "left out: broken.mp4: can't be opened as a video" in answer.err
    assert files(here / "out") == [
        *("clip.jsonl", "clip.mp4", "clip_2.jsonl", "clip_2.mp4", "landmarks.jsonl", "photo.png"),
    ]


def test_a_cut_off_video_keeps_its_part(cli: Callable[..., Any], run: Path, clip: Path, here: Path) -> None:
    content = clip.read_bytes()
    (here / "cut.avi").write_bytes(content[: len(content) // 2])
    answer = cli("predict", "cut.avi", "--run", run)
    assert answer.code == 0, answer.err
    n = len(lines_of(here / "cut_points.jsonl"))
    assert 5 < n < 25
    assert f"cut.avi: {n} of its 30 frames can be read; it is damaged, or cut off" in answer.out


def test_a_video_with_no_face(cli: Callable[..., Any], run: Path, here: Path) -> None:
    write_clip(here / "empty.avi", shot(12, []))
    answer = cli("predict", "empty.avi", "--run", run)
    assert answer.code == 0 and "empty.avi: no face found in 12 frames" in answer.out and "--smallest_face" in answer.out
    assert [line["faces"] for line in lines_of(here / "empty_points.jsonl")] == [[]] * 12


@pytest.mark.slow
def test_a_large_picture_in_bounded_memory(cli: Callable[..., Any], run: Path, here: Path) -> None:
    """8000 x 6000 px are 144 MB; a detector that looked at all of them would need many times that."""
    frame = shot(1, [(drawn(1)[0], swaying(size=170))])[0]
    large = cv2.resize(frame.pixels, (8000, 6000), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(large).save("large.jpg", quality=90)
    Image.fromarray(cv2.resize(large, (1024, 768), interpolation=cv2.INTER_AREA)).save("reduced.png")
    del large
    script = (
        "import resource, sys\nfrom experiments.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n"
        "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"
    )
    command = [sys.executable, "-c", script, "predict", "large.jpg", "--run", str(run)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0 and "1 picture: 1 face" in done.stdout, done.stderr
    assert int(done.stdout.split("peak")[1]) < 2200
    points = np.array(lines_of(here / "large_points.jsonl")[0]["faces"][0]["landmarks"])
    # What a network that is hardly trained answers says little of where the face is. But it answers the same for the same
    # face in the picture reduced as the detector reduces it, within 0.5% of the face's size, but for JPEG and interpolation.
    assert cli("predict", "reduced.png", "--run", run, "--write", "jsonl").code == 0
    reduced = np.array(lines_of(here / "reduced_points.jsonl")[0]["faces"][0]["landmarks"])
    expected = (reduced + 0.5) * 8000 / 1024 - 0.5
    assert np.abs(points - expected).max() < 0.005 * 170 * 8000 / 480


@pytest.mark.parametrize("kind", ["clip", "folder"])
def test_what_is_counted_is_in_every_file_where_it_is_ended(
    cli: Callable[..., Any], run: Path, clip: Path, photo: Path, here: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Ctrl-C between the counting of the fourth frame and its lines, which is where the first files had lacked it."""
    write, numbers = JsonLines.write, iter(range(100))

    def ended(self: JsonLines, found: Any) -> None:
        if next(numbers) == 3:
            signal.raise_signal(signal.SIGINT)
        write(self, found)

    monkeypatch.setattr(JsonLines, "write", ended)
    if kind == "folder":
        for i in range(8):
            shutil.copy(photo, here / f"{i}.png")
    source = clip if kind == "clip" else here
    answer = cli("predict", source, "--run", run, "--out", here / "out", "--write", "jsonl,csv")
    assert answer.code == 130, answer.err
    (lines,), (table,) = (here / "out").rglob("*.jsonl"), (here / "out").rglob("*.csv")
    assert len(lines_of(lines)) == 4
    rows = pd.read_csv(table)
    assert rows["frame" if kind == "clip" else "file"].nunique() == 4
    assert kind == "folder" or ": 4 frames, 4 with a face" in answer.out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_done_is_kept_where_it_is_ended(run: Path, here: Path, number: signal.Signals, code: int) -> None:
    a = drawn(1)[0]
    write_clip(here / "long.avi", shot(25, [(a, swaying())]) * 80)
    command = [
        sys.executable,
        "-m",
        "experiments",
        "predict",
        str(here / "long.avi"),
        "--run",
        str(run),
        "--out",
        str(here / "o.mp4"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    lines = here / "o.jsonl"
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (lines.is_file() and lines.read_text().count("\n") > 20):
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert lines.read_text().endswith("\n")
    n = len(lines_of(lines))
    assert 20 < n < 2000 and f"{n} frames" in out and "Traceback" not in err
    assert abs(_frames_in(here / "o.mp4") - n) <= 1


def _frames_in(path: Path) -> int:
    """Frames that can be decoded."""
    capture, n = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        n += 1
    return n


def test_a_full_disk_keeps_what_was_written(cli: Callable[..., Any], run: Path, clip: Path, here: Path) -> None:
    """Files can't grow beyond a limit: to a program the same as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Of two faces a frame, 3 kB a line: the lines are what doesn't fit; then the video alone.
    for options, said in (([], "clip_points.jsonl"), (["--write", "annotated"], "clip_points.mp4")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
        try:
            answer = cli("predict", clip, "--run", run, *options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        fails(answer, said, "File too large", "make room there")
    kept = (here / "clip_points.jsonl").read_text().splitlines()
    assert 5 < len(kept) < 30 and all(json.loads(line)["faces"] for line in kept[:-1])


def test_a_folder_that_cannot_be_written(
    cli: Callable[..., Any], run: Path, photo: Path, clip: Path, tmp_path: Path
) -> None:
    from tests.conftest import unprivileged

    kept = tmp_path / "kept"
    shutil.copytree(run, kept / "run")
    shutil.copy(photo, kept / "photo.png")
    shutil.copy(clip, kept / "clip.avi")
    (kept / "out").mkdir()
    # Whoever has few rights may not read root's own Python: what the command imports is there before.
    for source in ("photo.png", "clip.avi"):
        assert cli("predict", kept / source, "--run", kept / "run", "--out", tmp_path / "before").code == 0
    with unprivileged(kept):
        (kept / "out").chmod(0o555)
        for source in ("photo.png", "clip.avi"):
            for place in ("out", "out/new"):
                answer = cli("predict", kept / source, "--run", kept / "run", "--out", kept / place)
                assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
                assert str(kept / "out") in answer.err and "Permission denied" in answer.err
        (kept / "out").chmod(0o755)
    assert not list((kept / "out").iterdir())


class _Camera:
    """What OpenCV gives of a camera: frames without an end, no number of frames."""

    def __init__(self, frames: Iterator[np.ndarray]) -> None:
        self._frames = frames

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        return True, next(self._frames)

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FRAME_COUNT: -1.0}.get(what, 0.0)

    def release(self) -> None:
        pass


def test_a_camera_until_ctrl_c(cli: Callable[..., Any], run: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR) for frame in shot(9, [(drawn(1)[0], swaying())])]

    def frames() -> Iterator[np.ndarray]:
        yield from pictures
        raise KeyboardInterrupt

    monkeypatch.setattr(cv2, "VideoCapture", lambda source: _Camera(frames()) if source == 2 else pytest.fail(f"{source}"))
    answer = cli("predict", "camera:2", "--run", run, "--no_view")
    assert answer.code == 0, answer.err
    assert "camera:2: 9 frames, 9 with a face, 1 person" in answer.out
    times = [line["time"] for line in lines_of(here / "camera-2_points.jsonl")]
    assert len(times) == 9 and times == sorted(times)


BAD = [
    (["photo.png"], "--run names no run, and the suite ships no trained network: 'domaingap demo' trains six"),
    (["photo.png", "--run", "nowhere"], "nowhere: no such run"),
    (["photo.png", "--run", "unfinished"], "unfinished: no result.json"),
    (["photo.png", "--run", "bare"], "bare: a run without a checkpoint"),
    (["nothing.jpg", "--run", "RUN"], "nothing.jpg: no such file"),
    (["*.gif", "--run", "RUN"], "*.gif: nothing matches"),
    (["none", "--run", "RUN"], "none: no picture and no video in this folder"),
    (["text.txt", "--run", "RUN"], "text.txt: can't be decoded"),
    (["text.mp4", "--run", "RUN"], "text.mp4: can't be opened as a video"),
    (["header.avi", "--run", "RUN"], "header.avi: can't be opened as a video"),
    (["header.mp4", "--run", "RUN"], "header.mp4: can't be opened as a video"),
    (["empty.mp4", "--run", "RUN"], "empty.mp4: is empty"),
    (["random.avi", "--run", "RUN"], "random.avi: can't be opened as a video"),
    (["camera:9", "--run", "RUN"], "camera:9: not there"),
    (["camera:front", "--run", "RUN"], "camera:front: which camera? give its number"),
    (["photo.png", "--run", "RUN", "--out", "points.mp4"], "--out points.mp4: a picture is written as .png"),
    (["photo.png", "--run", "RUN", "--out", "photo.png"], "photo.png: would be written over"),
    (["random.avi", "--run", "RUN", "--out", "points.png"], "--out points.png: a video is written as .mp4"),
    (["photo.png", "photo.png", "--run", "RUN", "--out", "a.png"], "--out a.png: a file, for several pictures or videos"),
    (["photo.png", "--run", "RUN", "--write", "svg"], "--write is svg; known: annotated, jsonl, csv, pts"),
    (["photo.png", "--run", "RUN", "--write", ","], "--write names nothing"),
    (["photo.png", "--run", "RUN", "--out", "text.txt/x/a.png"], "can't be written"),
    (["photo.png", "--run", "RUN", "--smallest_face", "3"], "--smallest_face is 3; it lies between 12 and 2000"),
    (["photo.png", "--run", "RUN", "--thresholds", "0.6", "0.7", "1"], "--thresholds is 1; it lies above 0 and below 1"),
    (["photo.png", "--run", "RUN", "--every", "0"], "--every is 0"),
    (["photo.png", "--run", "RUN", "--beta", "nan"], "--beta is nan"),
    (["$NO_SUCH_PLACE/a.png", "--run", "RUN"], "NO_SUCH_PLACE is not set"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_bad_input_is_one_line(
    cli: Callable[..., Any],
    run: Path,
    photo: Path,
    clip: Path,
    here: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_SUCH_PLACE", raising=False)
    shutil.copyfile(photo, "photo.png")
    for folder in ("none", "unfinished"):
        Path(folder).mkdir()
    shutil.copytree(run, "bare", ignore=shutil.ignore_patterns("*.ckpt"))
    for name in ("text.txt", "text.mp4"):
        Path(name).write_text("words " * 100)
    Path("header.avi").write_bytes(clip.read_bytes()[:3000])
    Path("header.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41\0\0\0\x08free")
    Path("empty.mp4").write_bytes(b"")
    Path("random.avi").write_bytes(os.urandom(4000))
    answer = cli("predict", *[str(run) if argument == "RUN" else argument for argument in arguments])
    assert answer.code == 2
    assert said in answer.err and answer.err.count("\n") == 1 and not answer.out


def test_photographs_of_people(cli: Callable[..., Any], run: Path, sample_data: Path, here: Path) -> None:
    stills = photographs(sample_data, 6)
    folder = sample_data / "300w" / "helen" / "testset"
    paths = [next(path for path in folder.glob(f"{still.person}.*") if path.suffix != ".pts") for still in stills]
    assert cli("predict", *paths, "--run", run, "--out", "out", "--write", "jsonl").code == 0
    for still, line in zip(stills, lines_of(here / "out" / "landmarks.jsonl"), strict=True):
        # The mean face in the right place is within a third of the distance of the eyes.
        assert min(nme(np.array(face["landmarks"]), still.points) for face in line["faces"]) < 33


def test_a_face_that_leaves_and_comes_back(cli: Callable[..., Any], run: Path, sample_data: Path, here: Path) -> None:
    still = photographs(sample_data, 1)[0]
    frames = shot(70, [(still, crossing(11, 240, turn=32, size=110))])
    write_clip(here / "leaves.avi", frames)
    assert cli("predict", "leaves.avi", "--run", run, "--write", "jsonl").code == 0
    lines = lines_of(here / "leaves_points.jsonl")
    there = [bool(line["faces"]) for line in lines]
    assert all(there[:12]) and all(there[-8:]) and not any(there[28:36])
    # Coming back it is found cut off by the edge, and the network knows little but the mean face: the same person still.
    assert {face["track"] for line in lines for face in line["faces"]} == {1}
