"""What is written: each file read back by other means."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from domaingap.data.readers.text import parse_points, read_lines
from domaingap.errors import UserError
from domaingap.inference.outputs import Csv, Found, JsonLines, Pts, VideoFile, draw, pts_text, save_annotated
from domaingap.inference.predictor import Face
from tests.conftest import MEAN_FACE


def face(track: int | None = None, shift: float = 0.0, sigma: bool = False) -> Face:
    points = MEAN_FACE + shift
    box = np.array([10.0, 5.0, 80.5, 90.0]) + shift
    return Face(box, points, np.full(68, 0.75) if sigma else None, 0.93, track)


def test_json_lines_hold_everything(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl"
    writer = JsonLines(path)
    writer.write(Found("a b.jpg", [face(sigma=True), face(shift=3)], (640, 480)))
    writer.write(Found("clip.avi", [face(track=7)], (640, 480), 12, 0.48))
    writer.write(Found("clip.avi", [], (640, 480), 13, 0.52))
    writer.skipped("c.jpg", "is empty")
    # Before it is closed: what an interruption leaves is whole lines.
    picture, frame, empty, skipped = map(json.loads, path.read_text().splitlines())
    writer.close()
    assert (picture["file"], picture["width"], picture["height"]) == ("a b.jpg", 640, 480)
    assert "frame" not in picture and "track" not in picture["faces"][0]
    np.testing.assert_allclose(picture["faces"][1]["landmarks"], MEAN_FACE + 3, atol=5e-4)
    assert picture["faces"][0]["sigma"] == [0.75] * 68 and "sigma" not in picture["faces"][1]
    assert picture["faces"][0]["box"] == [10, 5, 80.5, 90] and picture["faces"][0]["confidence"] == 0.93
    assert (frame["frame"], frame["time"], frame["faces"][0]["track"]) == (12, 0.48, 7)
    assert empty["faces"] == [] and skipped == {"file": "c.jpg", "error": "is empty"}


def test_csv_has_a_row_a_face(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    writer = Csv(path)
    writer.write(Found('odd, "name".jpg', [face(), face(shift=2)], (640, 480)))
    writer.write(Found("clip.avi", [face(track=3)], (640, 480), 4, 0.16))
    writer.close()
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["file"] for row in rows] == ['odd, "name".jpg'] * 2 + ["clip.avi"]
    assert [(row["frame"], row["time"], row["track"]) for row in rows] == [("", "", "")] * 2 + [("4", "0.1600", "3")]
    points = np.array([[float(rows[1][f"{axis}{i}"]) for axis in "xy"] for i in range(68)])
    np.testing.assert_allclose(points, MEAN_FACE + 2, atol=5e-4)
    assert float(rows[0]["box_x1"]) == 80.5


def test_pts_count_from_one_as_the_reader_has_them(tmp_path: Path) -> None:
    writer = Pts(tmp_path)
    writer.write(Found("sub/one.jpg", [face()], (640, 480)))
    writer.write(Found("two.jpg", [face(), face(shift=5)], (640, 480)))
    writer.write(Found("clip.avi", [face(track=2)], (640, 480), 0, 0.0))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pts")) == [
        "002/000001.pts",
        "sub/one.pts",
        "two_1.pts",
        "two_2.pts",
    ]
    lines = read_lines(tmp_path / "two_2.pts")
    assert [line for _, line in lines[:3]] == ["version: 1", "n_points: 68", "{"] and lines[-1][1] == "}"
    np.testing.assert_allclose(parse_points(tmp_path / "two_2.pts", lines[3:-1], 68) - 1, MEAN_FACE + 5, atol=1e-6)
    assert "\n1.000000 1.500000\n" in pts_text(np.array([[0.0, 0.5]]))


def test_drawn_where_the_face_is() -> None:
    plain = np.zeros((120, 120, 3), np.uint8)
    seen = draw(plain.copy(), [face()])
    for x, y in MEAN_FACE:
        assert seen[round(y), round(x)].max() > 150
    assert seen[115, 115].max() == 0
    # Whatever a network answers, drawing goes on.
    odd = Face(np.array([-1e9, 0, 1e9, 1e300]), MEAN_FACE * 1e12, None, 0.0)
    draw(plain.copy(), [odd, Face(np.zeros(4), np.full((68, 2), np.nan), None, 0.0)])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_annotated_pictures_by_their_names(tmp_path: Path, suffix: str) -> None:
    picture = np.full((40, 50, 3), 200, np.uint8)
    save_annotated(tmp_path / "new" / f"a{suffix}", picture)
    with Image.open(tmp_path / "new" / f"a{suffix}") as image:
        assert image.size == (50, 40) and np.abs(np.asarray(image.convert("RGB")).astype(int) - 200).max() < 4


@pytest.mark.parametrize("size", [(64, 48), (65, 47)], ids=["even", "odd"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_video_in_h264_at_its_own_times(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    av = pytest.importorskip("av", reason="PyAV isn't installed (extra: video)")
    path = tmp_path / f"a{suffix}"
    with VideoFile(path, size, 25.0) as video:
        for i in range(30):
            video.write(np.full((size[1], size[0], 3), (8 * i, 100, 255 - 8 * i), np.uint8), i / 25)
    assert video.codec == "H.264" and not video.notice
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and (stream.width, stream.height) == (
            size[0] + size[0] % 2,
            size[1] + size[1] % 2,
        )
        frames = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
    assert len(frames) == 30
    start = frames[0][0]
    np.testing.assert_allclose([time - start for time, _ in frames], np.arange(30) / 25, atol=2e-3)
    assert abs(int(frames[29][1][10, 10, 0]) - 232) < 12 and abs(int(frames[29][1][10, 10, 2]) - 23) < 12


def test_video_without_pyav_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.mp4"
    with VideoFile(path, (65, 47), 25.0) as video:
        for i in range(10):
            video.write(np.full((47, 65, 3), (20 * i, 100, 30), np.uint8), i / 25)
    assert "uv sync --extra video" in video.notice
    capture = cv2.VideoCapture(str(path))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FRAME_WIDTH)) == (10, 66)
    assert int(capture.get(cv2.CAP_PROP_FOURCC)) in (cv2.VideoWriter.fourcc(*"mp4v"), cv2.VideoWriter.fourcc(*"FMP4"))


def test_an_interrupted_video_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"

    def interrupted() -> None:
        with VideoFile(path, (64, 48), 25.0) as video:
            for i in range(12):
                video.write(np.zeros((48, 64, 3), np.uint8), i / 25)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    capture = cv2.VideoCapture(str(path))
    assert sum(capture.read()[0] for _ in range(12)) == 12


def test_what_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "a"
    for write in (
        lambda: JsonLines(below.with_suffix(".jsonl")),
        lambda: Csv(below.with_suffix(".csv")),
        lambda: save_annotated(below.with_suffix(".png"), np.zeros((8, 8, 3), np.uint8)),
        lambda: VideoFile(below.with_suffix(".mp4"), (64, 48), 25.0),
    ):
        with pytest.raises(UserError, match=r"can't be written \(.*--out"):
            write()
