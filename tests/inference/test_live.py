"""What is shown live, in a window or on a page: frames, figures, files, and every way it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from domaingap.errors import StorageError
from domaingap.inference import live
from domaingap.inference.outputs import JsonLines
from domaingap.inference.tracker import Tracker
from tests.inference.clips import drawn, shot, swaying, write_clip
from tests.inference.live import Camera, Command, ask, lines_of, listening, picture, state, stop, until
from tests.inference.runs import two_finished

Start = Callable[..., Command]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data_root: Path, prepared_dir: Path) -> tuple[Path, Path]:
    """Two finished runs, of two strategies."""
    return two_finished(data_root, prepared_dir, tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Thirty frames BGR with two people."""
    a, b = drawn(2)
    frames = shot(30, [(a, swaying(140, 180, 100)), (b, swaying(345, 180, 100))])
    return [cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR) for frame in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file of 1.2 s."""
    a, b = drawn(2)
    frames = shot(30, [(a, swaying(140, 180, 100)), (b, swaying(345, 180, 100))])
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", frames)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, and no display."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def start(capsys: pytest.CaptureFixture[str], here: Path) -> Iterator[Start]:
    """``domaingap predict`` with arguments, in a thread; stopped at the end."""
    started: list[Command] = []

    def begin(*arguments: object) -> Command:
        capsys.readouterr()
        started.append(Command(capsys, ["predict", *map(str, arguments)]))
        return started[-1]

    yield begin
    for command in started:
        if command.is_alive():
            with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):
                stop(command.url)
            command.join(20)
        assert not command.is_alive()


def camera(monkeypatch: pytest.MonkeyPatch, frames: Iterator[np.ndarray | None], fps: float = 30.0) -> Camera:
    """Stands in for camera:0."""
    given, other = Camera(frames, fps), cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: given if source == 0 else other(source))
    return given


def at_pace(frames: list[np.ndarray], fps: float = 60.0) -> Iterator[np.ndarray]:
    """Frames again and again."""
    while True:
        for frame in frames:
            time.sleep(1 / fps)
            yield frame


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# On a page


def test_frames_arrive_and_change_until_the_button(start: Start, runs: tuple[Path, Path], clip: Path, here: Path) -> None:
    command = start(clip, "--run", runs[0], "--serve", "--loop")
    url = command.url
    status, headers, page = ask(url)
    assert status == 200 and runs[0].name in page.decode() and clip.name in page.decode()
    assert "default-src 'none'" in headers["content-security-policy"] and not any(
        "access-control" in name for name in headers
    )
    # The page has to be open for the video to begin.
    assert state(url) == {"ended": None}
    shown, last = [], -1
    for _ in range(4):
        status, headers, content = ask(url, f"frame?after={last}")
        assert status == 200 and headers["content-type"] == "image/jpeg" and int(headers["frame"]) > last
        last = int(headers["frame"])
        shown.append(picture(content).astype(int))
    assert all(one.shape == (360, 480, 3) for one in shown)
    assert all((np.abs(a - b).max(axis=2) > 40).sum() > 50 for a, b in pairwise(shown)), "they move"
    # The first person's colour, in which nothing of the clip is.
    green = (shown[0][..., 1] > 170) & (shown[0][..., 0] < 120) & (shown[0][..., 2] < 140)
    assert green.sum() > 100, "they are annotated"
    told = state(url)
    assert [number for number, _ in told["people"][0]] == [1, 2] and told["source_fps"] == 25 and told["apart"] is None
    # It goes on after the last of its 30 frames.
    until(lambda: state(url)["frame"] > 32)
    final = stop(url)
    assert final["ended"] == "Stopped." and final["fps"] > 0
    assert command.ended() == 0
    assert "a face lost" in command.out and "frames per second" in command.out
    assert files(here) == [], "what is shown isn't kept unless that is asked for"
    with pytest.raises(OSError, match="refused"):
        ask(url)


def test_two_networks_side_by_side(start: Start, runs: tuple[Path, Path], clip: Path, here: Path) -> None:
    options = ("--serve", "--out", "both.mp4", "--write", "annotated,jsonl,csv")
    command = start(clip, "--run", runs[0], "--against", runs[1], *options)
    url = command.url
    page = ask(url)[2].decode()
    assert page.index(runs[0].name) < page.index(runs[1].name)
    seen = picture(ask(url, "frame?after=-1")[2])
    assert seen.shape == (360, 960, 3)
    assert (np.abs(seen[:, :480].astype(int) - seen[:, 480:]).max(axis=2) > 60).sum() > 50, "each has its own landmarks"
    ended: dict[str, Any] = {}
    with contextlib.suppress(OSError, http.client.HTTPException):
        until(lambda: ended.update(state(url)) or ended["ended"] is not None)
    assert command.ended() == 0 and ended["apart"] > 0.3
    first, second = lines_of(here / "both.jsonl"), lines_of(here / "both_against.jsonl")
    assert files(here) == ["both.csv", "both.jsonl", "both.mp4", "both_against.csv", "both_against.jsonl"]
    assert [line["frame"] for line in first] == [line["frame"] for line in second]
    apart = []
    for one, other in zip(first, second, strict=True):
        values = []
        for face in one["faces"]:
            mine = np.array(face["landmarks"])
            # Whoever is nearest is the same one: they stand 200 pixels apart.
            near = min((np.array(face["landmarks"]) for face in other["faces"]), key=lambda p: np.abs(p - mine).mean())
            sizes = [np.sqrt(np.prod(np.ptp(points, axis=0))) for points in (mine, near)]
            values.append(100 * np.hypot(*(mine - near).T).mean() / np.mean(sizes))
        apart.append(np.mean(values))
    assert np.mean(apart) > 0.3
    assert f"landmarks: {np.mean(apart):.2f}% of the face's size on average, over {len(apart)} frames" in command.out
    assert command.out.count("30 frames" if len(first) == 30 else f"{len(first)} frames") >= 2
    capture = cv2.VideoCapture(str(here / "both.mp4"))
    n, width, height = (
        capture.get(what) for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    assert (n, width) == (len(first), 960) and height > 360, "with a strip for the names"
    frame = capture.read()[1]
    strip = frame[: int(height) - 360]
    assert all((strip[:, side] < 120).any() and np.median(strip[:, side]) > 240 for side in (slice(480), slice(480, 960)))


def test_slow_networks_drop_frames_and_files_keep_times(
    start: Start, runs: tuple[Path, Path], clip: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Tracker.__call__

    def slowly(self: Tracker, image: Any, time_: float) -> Any:
        time.sleep(0.15)
        return look(self, image, time_)

    monkeypatch.setattr(Tracker, "__call__", slowly)
    command = start(clip, "--run", runs[0], "--serve", "--out", "slow.mp4")
    ask(command.url, "frame?after=-1")
    assert command.ended() == 0
    # 30 frames at 0.15 s and more would take 4.5 s; the clip is 1.2 s long.
    lines = lines_of(here / "slow.jsonl")
    numbers = [line["frame"] for line in lines]
    assert 3 <= len(numbers) < 15 and numbers == sorted(set(numbers))
    np.testing.assert_allclose([line["time"] for line in lines], np.array(numbers) / 25, atol=2e-3)
    assert f"{numbers[-1] + 1 - len(numbers)} frames dropped" in command.out
    capture, times = cv2.VideoCapture(str(here / "slow.mp4")), []
    while capture.read()[0]:
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    np.testing.assert_allclose(times, np.array(numbers) / 25, atol=0.02)


def test_without_pyav_frames_stay_until_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from domaingap.inference.outputs import VideoFile

    monkeypatch.setitem(sys.modules, "av", None)
    with VideoFile(tmp_path / "a.mp4", (64, 48), 10.0) as file:
        for stamp, shade in ((0.0, 40), (0.1, 90), (0.5, 140), (0.52, 190), (0.6, 240)):
            file.write(np.full((48, 64, 3), shade, np.uint8), stamp)
    capture, shades = cv2.VideoCapture(str(tmp_path / "a.mp4")), []
    while (read := capture.read())[0]:
        shades.append(round(float(read[1].mean()), -1))
    assert shades == [40, 90, 90, 90, 90, 140, 190, 240]


def test_nobody_watching_costs_no_pictures(
    start: Start, runs: tuple[Path, Path], pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = camera(monkeypatch, at_pace(pictures))
    monkeypatch.setattr(cv2, "imencode", lambda *_: pytest.fail("encoded"))
    monkeypatch.setattr(live, "draw", lambda *_: pytest.fail("drawn"))
    command = start("camera:0", "--run", runs[0], "--frames", 12)
    assert command.ended() == 0, command.err
    assert "camera:0: " in command.out and given.released
    assert "no window: this OpenCV shows none" in command.err or "no window: no display" in command.err


def test_two_browsers_see_one_picture_and_a_slow_one_holds_up_nobody(
    start: Start, runs: tuple[Path, Path], pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera(monkeypatch, at_pace(pictures, 20))
    encoded = []
    encode = cv2.imencode

    def counting(*arguments: Any) -> Any:
        encoded.append(1)
        return encode(*arguments)

    monkeypatch.setattr(cv2, "imencode", counting)
    command = start("camera:0", "--run", runs[0])
    url = command.url
    parts = urlsplit(url)
    slow = []
    for _ in range(5):  # ask for pictures, and read none
        connection = socket.create_connection((parts.hostname, parts.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.sendall(f"GET {parts.path}frame?after=-1 HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode() * 20)
        slow.append(connection)
    numbers: list[list[int]] = [[], []]
    while len(numbers[0]) < 8:
        for own in numbers:
            own.append(int(ask(url, f"frame?after={own[-1] if own else -1}")[1]["frame"]))
    until(lambda: state(url)["frame"] >= numbers[1][-1])
    final = stop(url)
    assert all(own == sorted(set(own)) for own in numbers)
    assert len(encoded) <= final["frame"] + 1, "once a frame, whoever asks"
    assert command.ended() == 0
    for connection in slow:
        connection.close()


def test_only_this_machine_unless_asked(
    start: Start, runs: tuple[Path, Path], pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/net/tcp").is_file():
        pytest.skip("no /proc/net/tcp")
    camera(monkeypatch, at_pace(pictures))
    command = start("camera:0", "--run", runs[0], "--port", "0")
    port = urlsplit(command.url).port
    assert {address for address, at in listening() if at == port} == {"0100007F"}
    assert "sees the camera" not in command.err
    stop(command.url)
    assert command.ended() == 0
    camera(monkeypatch, at_pace(pictures))
    command = start("camera:0", "--run", runs[0], "--host", "0.0.0.0")
    port = urlsplit(command.url).port
    assert {address for address, at in listening() if at == port} == {"00000000"}
    url = f"http://127.0.0.1:{port}{urlsplit(command.url).path}"
    assert command.err.count("sees the camera") == 1 and f"reaches port {port} of this machine" in command.err
    # By addresses, and by this machine's own name.
    for host, status in ((f"127.0.0.1:{port}", 200), ("192.0.2.7", 200), (socket.gethostname(), 200), ("evil.example", 403)):
        assert ask(url, headers={"Host": host})[0] == status, host
    stop(url)
    assert command.ended() == 0


def test_each_network_answers_as_alone_and_the_detector_is_asked_once(
    runs: tuple[Path, Path], pictures: list[np.ndarray]
) -> None:
    from domaingap.inference.model import load_model
    from domaingap.inference.predictor import DetectorConfig, FacePredictor
    from domaingap.inference.tracker import TrackerConfig

    settings = DetectorConfig(smallest_face=40)
    frames = [cv2.cvtColor(one, cv2.COLOR_BGR2RGB) for one in pictures[:8]]
    models = [load_model(run) for run in runs]
    alone = []
    for model in models:
        tracker = Tracker(FacePredictor(model, settings), TrackerConfig(every=3))
        alone.append([tracker(frame, i / 25) for i, frame in enumerate(frames)])
    predictors = [FacePredictor(model, settings) for model in models]
    asked = []
    detect = predictors[0].detector.detect
    predictors[0].detector.detect = lambda image: asked.append(1) or detect(image)  # type: ignore[method-assign,func-returns-value]
    live.share_detector(predictors)
    trackers = [Tracker(predictor, TrackerConfig(every=3)) for predictor in predictors]
    for i, frame in enumerate(frames):
        for k, tracker in enumerate(trackers):
            for face, own in zip(tracker(frame, i / 25), alone[k][i], strict=True):
                np.testing.assert_array_equal(face.landmarks, own.landmarks)
                assert (face.track, face.confidence) == (own.track, own.confidence)
    counts = [tracker.tally.detections for tracker in trackers]
    assert max(counts) <= len(asked) < sum(counts)


# How it ends


def test_a_camera_that_goes_away(
    start: Start, runs: tuple[Path, Path], pictures: list[np.ndarray], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nine() -> Iterator[np.ndarray]:
        for frame in pictures[:9]:
            time.sleep(0.15)
            yield frame

    given = camera(monkeypatch, nine())
    command = start("camera:0", "--run", runs[0], "--write", "annotated,jsonl")
    url = command.url
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        while told.get("ended") is None:
            told = state(url)
            ask(url, f"frame?after={told.get('frame', -1)}")
    assert told["ended"] == "It ended: gave no more pictures."
    assert command.ended() == 2
    assert "domaingap: camera:0: gave no more pictures\n" in command.err and "Traceback" not in command.err
    n = len(lines_of(here / "camera-0_points.jsonl"))
    assert 2 < n <= 9 and given.released
    assert cv2.VideoCapture(str(here / "camera-0_points.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == n
    assert "files: camera-0_points.mp4 (H.264), camera-0_points.jsonl" in command.out


@pytest.mark.parametrize("options", [("--out", "-"), ("--no_view", "--write", "jsonl")], ids=["-", "no view"])
def test_a_camera_that_nobody_is_shown(
    cli: Callable[..., Any],
    runs: tuple[Path, Path],
    pictures: list[np.ndarray],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    camera(monkeypatch, iter(pictures[:5]))
    answer = cli("predict", "camera:0", "--run", runs[0], *options)
    assert answer.code == 2 and answer.err.endswith("domaingap: camera:0: gave no more pictures\n")
    written = answer.out if "-" in options else (here / "camera-0_points.jsonl").read_text()
    assert [json.loads(line)["frame"] for line in written.splitlines()] == [0, 1, 2, 3, 4]
    assert "http" not in answer.err


def test_nobody_came(start: Start, runs: tuple[Path, Path], clip: Path) -> None:
    command = start(clip, "--run", runs[0], "--serve")
    assert stop(command.url) == {"ended": "Stopped."}
    assert command.ended() == 0 and command.out.startswith(f"{clip}: no frame was seen\n")


def test_times_that_lead_nowhere_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from domaingap.inference.sources import Frame, Video

    pixels = np.zeros((8, 8, 3), np.uint8)
    times = [0.0, 0.04, 90_000.0, 90_000.04, 5.0]
    monkeypatch.setattr(Video, "frames", lambda self: (Frame(i, time, pixels) for i, time in enumerate(times)))
    reader = live.LatestFrame(Video("odd.avi", path=Path("odd.avi")))
    reader.start()
    reader.join(5)
    assert reader.ended and not reader.problem and not reader.is_alive()


def test_a_camera_that_hangs(
    start: Start, runs: tuple[Path, Path], pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SILENT_S", 0.5)

    def hanging() -> Iterator[np.ndarray]:
        yield from pictures[:3]
        time.sleep(4)
        yield pictures[3]

    camera(monkeypatch, hanging())
    command = start("camera:0", "--run", runs[0])
    assert command.ended() == 2
    assert "domaingap: camera:0: gave no picture for 0 seconds" in command.err


def test_a_full_disk(
    start: Start, runs: tuple[Path, Path], pictures: list[np.ndarray], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = camera(monkeypatch, at_pace(pictures))
    write, n = JsonLines.write, []

    def full(self: JsonLines, found: Any) -> None:
        n.append(1)
        if len(n) > 3:
            raise StorageError(f"{self._path}: can't be written (no space left on device)")
        write(self, found)

    monkeypatch.setattr(JsonLines, "write", full)
    command = start("camera:0", "--run", runs[0], "--out", "a.mp4")
    url = command.url
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError, http.client.HTTPException):
        while told.get("ended") is None:
            told = state(url)
            ask(url, f"frame?after={told.get('frame', -1)}")
    assert command.ended() == 2 and "domaingap: a.jsonl: can't be written" in command.err
    assert told["ended"] == "The command ended." and given.released
    # What there was until then is whole.
    assert len(lines_of(here / "a.jsonl")) == cv2.VideoCapture("a.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_a_video_that_is_cut_off(start: Start, runs: tuple[Path, Path], clip: Path, here: Path) -> None:
    content = clip.read_bytes()
    (here / "cut.avi").write_bytes(content[: len(content) // 2])
    command = start("cut.avi", "--run", runs[0], "--serve", "--write", "jsonl", "--loop")
    ask(command.url, "frame?after=-1")
    assert command.ended() == 2
    assert "domaingap: cut.avi: " in command.err and "of its 30 frames can be read; it is damaged, or cut off" in command.err
    assert len(lines_of(here / "cut_points.jsonl")) > 1


def test_the_first_frames_of_a_video(start: Start, runs: tuple[Path, Path], clip: Path, here: Path) -> None:
    command = start(clip, "--run", runs[0], "--serve", "--frames", 5, "--write", "jsonl")
    url, last, ended = command.url, -1, {}
    while not ended:
        _, headers, content = ask(url, f"frame?after={last}")
        if headers.get("content-type") == "application/json":
            import json

            ended = json.loads(content)
        else:
            last = int(headers["frame"])
    assert ended["ended"] == "The first 5 frames were asked for, and seen." and ended["frame"] <= 4
    assert command.ended() == 0
    assert max(line["frame"] for line in lines_of(here / "clip_points.jsonl")) <= 4


BAD = [
    (["photo.png", "--serve"], "--serve: shows one camera or one video live; give camera:0 or a video alone"),
    (["clip.avi", "clip.avi", "--serve"], "--serve: shows one camera or one video live"),
    (["photo.png", "--against", "RUN"], "--against: shows one camera or one video live"),
    (["camera:0", "--loop"], "--loop: a camera has no end to begin again at"),
    (["camera:0", "--no_view", "--serve"], "--no_view shows nothing, and --serve is for what is shown"),
    (["camera:0", "--against", "nowhere"], "nowhere: no such run"),
    (["clip.avi", "--serve", "--against", "RUN", "--out", "-"], "--out -: JSON lines of two networks"),
    (["clip.avi", "--serve", "--out", "clip.png"], "--out clip.png: a video is written as .mp4"),
    (["clip.avi", "--serve", "--out", "clip.avi"], "clip.avi: would be written over"),
    (["camera:9"], "camera:9: not there, or in use"),
    (["random.avi", "--serve"], "random.avi: can't be opened as a video"),
    (["clip.avi", "--port", "70000"], "--port is 70000; it lies between 0 and 65535"),
    (["clip.avi", "--port", "BUSY"], "in use by another program; give another one, or 0 for any that is free"),
    (["clip.avi", "--host", "192.0.2.1"], "--host 192.0.2.1: no address of this machine"),
    (["clip.avi", "--host", "no-such-host.invalid"], "--host no-such-host.invalid: no address is known by this name"),
    (["clip.avi", "--host", ""], "--host '': no address is known by this name"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[said[:40] for _, said in BAD])
def test_bad_input_is_one_line(
    cli: Callable[..., Any],
    runs: tuple[Path, Path],
    clip: Path,
    pictures: list[np.ndarray],
    here: Path,
    arguments: list[str],
    said: str,
) -> None:
    cv2.imwrite("photo.png", pictures[0])
    Path("clip.avi").write_bytes(clip.read_bytes())
    Path("random.avi").write_bytes(np.random.default_rng(0).bytes(4000))
    before = files(here)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        given = {"RUN": str(runs[1]), "BUSY": str(busy.getsockname()[1])}
        answer = cli("predict", *[given.get(argument, argument) for argument in arguments], "--run", runs[0])
    assert answer.code == 2
    assert said in answer.err and answer.err.count("\n") == 1 and not answer.out and files(here) == before


# In a window


class Windows:
    """What OpenCV's windows are asked for.

    Args:
        keys: that ``waitKey`` answers once each so many pictures were shown.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: dict[int, int], closed_after: int | None = None) -> None:
        self.shown: list[np.ndarray] = []
        self.titles: list[str] = []
        self.open: list[str] = []
        self._keys, self._closed_after = keys, closed_after
        monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           GTK3\n")
        monkeypatch.setattr(cv2, "namedWindow", lambda name, flags=0: self.open.append(name))
        monkeypatch.setattr(cv2, "resizeWindow", lambda name, width, height: None)
        monkeypatch.setattr(cv2, "imshow", lambda name, image: self.shown.append(image.copy()))
        monkeypatch.setattr(cv2, "waitKey", lambda delay=0: self._keys.get(len(self.shown), -1))
        monkeypatch.setattr(cv2, "getWindowProperty", lambda name, what: self._visible())
        monkeypatch.setattr(cv2, "setWindowTitle", lambda name, title: self.titles.append(title))
        monkeypatch.setattr(cv2, "destroyWindow", self.open.remove)

    def _visible(self) -> float:
        return 0.0 if self._closed_after is not None and len(self.shown) >= self._closed_after else 1.0


@pytest.fixture
def display(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A socket where a display would answer."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "wayland-7"))
        server.listen()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
        yield


@pytest.mark.parametrize("way", ["q", "escape", "closed"])
def test_a_window(
    cli: Callable[..., Any],
    runs: tuple[Path, Path],
    pictures: list[np.ndarray],
    display: None,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    given = camera(monkeypatch, at_pace(pictures))
    keys = {"q": {6: ord("q")}, "escape": {6: 27}, "closed": {}}[way]
    windows = Windows(monkeypatch, keys, 6 if way == "closed" else None)
    answer = cli("predict", "camera:0", "--run", runs[0], "--against", runs[1])
    assert answer.code == 0, answer.err
    assert len(windows.shown) == 6 and not windows.open and given.released
    height, width = windows.shown[0].shape[:2]
    assert width == 960 and height > 360 and (windows.shown[0] != windows.shown[-1]).any()
    assert f"camera:0: {runs[0].name} | {runs[1].name}" in answer.err and "q or Esc in the window ends it" in answer.err
    assert any("2 faces and 2 faces" in title and "% of the face apart" in title for title in windows.titles)
    assert files(here) == [] and "6 frames" in answer.out


def test_a_window_where_there_can_be_none_is_a_page(
    start: Start, runs: tuple[Path, Path], clip: Path, display: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Windows(monkeypatch, {})

    def refuse(*_: Any) -> None:
        raise cv2.error("no backend")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    command = start(clip, "--run", runs[0], "--against", runs[1])
    url = command.url
    assert "no window: OpenCV shows none" in command.err and "a page instead" in command.err
    stop(url)
    assert command.ended() == 0


@pytest.mark.parametrize(
    ("display", "wayland"), [(":987", None), ("nowhere.invalid:0", None), ("odd", "none"), (None, None)]
)
def test_a_display_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, display: str | None, wayland: str | None, here: Path
) -> None:
    from domaingap.inference.window import no_window

    Windows(monkeypatch, {})
    monkeypatch.setattr(sys, "platform", "linux")
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    if wayland is not None:
        monkeypatch.setenv("WAYLAND_DISPLAY", wayland)
    assert no_window() == "no display (neither DISPLAY nor WAYLAND_DISPLAY leads to one)"
