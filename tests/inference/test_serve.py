"""The live page: who gets it and who doesn't, and what it is in a browser."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from domaingap.inference.live import Shown
from domaingap.inference.serve import CONNECTIONS, FILES, About, PageView
from domaingap.inference.sources import Frame
from tests.browser import DESK, NARROWEST, PHONE, Opened
from tests.inference.clips import drawn, shot, swaying, write_clip
from tests.inference.live import ADDRESS, ask, lines_of, listening, picture, state, stop, until
from tests.inference.runs import two_finished

ROOT = Path(__file__).parents[2]


def frame(number: int, size: tuple[int, int] = (120, 90)) -> Shown:
    """A frame with nobody in it, of a shade of its own."""
    pixels = np.full((size[1], size[0], 3), number * 20 % 256, np.uint8)
    figures = {"frame": number, "fps": 10.0, "source_fps": 25.0, "dropped": 0, "people": [[]], "apart": None}
    return Shown(Frame(number, number / 25, pixels), ["a"], [[]], figures | {"apart_mean": None, "apart_frames": 0})


@pytest.fixture
def view() -> Iterator[PageView]:
    """A page that shows one frame."""
    page = PageView()
    page.start(About("<camera> & 0", ["a"], (120, 90)))
    page.show(frame(3))
    yield page
    page.close()


REFUSED: dict[str, tuple[str, str, dict[str, str]]] = {
    "no token": ("GET", "/", {}),
    "no token, a picture": ("GET", "/frame?after=-1", {}),
    "no token, stop": ("POST", "/stop", {}),
    "another token": ("GET", "/AAAAAAAAAAAAAAAAAAAAAA/frame?after=-1", {}),
    "part of the token": ("GET", "PART", {}),
    "a token of other letters": ("GET", "/%C3%BC/", {}),
    "another host": ("GET", "OWN", {"Host": "evil.example"}),
    "another host, a picture": ("GET", "OWNframe?after=-1", {"Host": "evil.example:80"}),
    "another host, stop": ("POST", "OWNstop", {"Host": "evil.example"}),
    "another address": ("GET", "OWN", {"Host": "192.0.2.7"}),
    "no host": ("GET", "OWN", {"Host": ""}),
    "a host that is none": ("GET", "OWN", {"Host": "[::1"}),
    "ours before another": ("GET", "OWN", {"Host": "localhost.evil.example"}),
    "another site's script": ("GET", "OWNframe?after=-1", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}),
    "another port's script": ("GET", "OWNstate", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}),
    "another site's picture": ("GET", "OWNframe", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    "another site's link to a picture": ("GET", "OWNframe", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
    "another site's form": ("POST", "OWNstop", {"Origin": "http://evil.example"}),
    "a file's form": ("POST", "OWNstop", {"Origin": "null"}),
    "another port's form": ("POST", "OWNstop", {"Origin": "http://127.0.0.1:1"}),
    "above it": ("GET", "/../../etc/passwd", {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused(view: PageView, name: str) -> None:
    method, path, headers = REFUSED[name]
    own = urlsplit(view.url).path
    path = path.replace("OWN", own).replace("PART", own[:-3] + "/")
    status, answered, content = ask(view.url, path, method, headers)
    assert status == 403 and answered["content-type"].startswith("text/plain") and len(content) < 200
    assert own.strip("/").encode() not in content, "the token stays secret"
    assert not view.stopped() and not view.ready()
    assert not any(header.startswith("access-control") for header in answered)


def test_who_is_let_in(view: PageView) -> None:
    port = urlsplit(view.url).port
    for host in (
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        f"LOCALHOST:{port}",
        "localhost:9000",
    ):  # a port that SSH forwards
        assert ask(view.url, headers={"Host": host})[0] == 200, host
    # A link on another page leads to ours, and to nothing else of it.
    assert ask(view.url, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    status, headers, content = ask(view.url, "frame?after=2", headers=own)
    assert status == 200 and picture(content).shape == (90, 120, 3) and headers["frame"] == "3"
    assert view.ready()


def test_what_is_sent(view: PageView) -> None:
    page = ask(view.url)[2].decode()
    assert "&lt;camera&gt; &amp; 0" in page and "<camera>" not in page and "style=" not in page and "<script>" not in page
    for name in FILES:
        status, headers, content = ask(view.url, name)
        assert status == 200 and headers["x-content-type-options"] == "nosniff" and len(content) > 200
        assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert b"http" not in content.replace(b"http://www.w3.org/2000/svg", b"")
    for path, method, status in (
        ("nothing", "GET", 404),
        ("live.css/../live.js", "GET", 404),
        ("frame", "POST", 404),
        ("", "PUT", 501),
        ("stop", "GET", 404),
        ("", "BREW<b>", 501),
    ):
        got, headers, content = ask(view.url, path, method)
        assert (got, headers["content-type"]) == (status, "text/plain; charset=utf-8") and b"<" not in content
    assert not view.stopped()


@pytest.mark.parametrize("after", ["", "x", "-5", "1" * 40, "٣", "3.5"])
def test_odd_questions_get_the_last_frame(view: PageView, after: str) -> None:
    assert ask(view.url, "frame?after=" + "".join(f"%{b:02X}" for b in after.encode()))[1]["frame"] == "3"


def test_no_new_frame_is_no_error(view: PageView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domaingap.inference.serve.WAIT_S", 0.1)
    status, _, content = ask(view.url, "frame?after=3")
    assert (status, content) == (204, b"")


def test_who_waits_is_told_of_the_end(view: PageView) -> None:
    answers: list[Any] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(ask(view.url, "frame?after=3"))),
        threading.Thread(target=lambda: answers.append(ask(view.url, "stop", "POST"))),
    ]
    for thread in waiting:
        thread.start()
    until(view.stopped)
    until(lambda: view._server.answering == 2)
    view.finish("It ended.")
    for thread in waiting:
        thread.join(10)
    assert [(status, b'"ended": "It ended."' in content) for status, _, content in answers] == [(200, True)] * 2
    with pytest.raises(OSError, match="refused"):
        ask(view.url)


def test_idle_and_broken_connections(view: PageView) -> None:
    parts = urlsplit(view.url)
    where = (parts.hostname, parts.port)
    broken = socket.create_connection(where)
    broken.sendall(b"\x16\x03\x01\x00garbage\r\n\r\n")
    assert b"400" in broken.recv(200)
    idle = [socket.create_connection(where) for _ in range(CONNECTIONS)]
    until(lambda: not _answers(view.url))
    for connection in (*idle, broken):
        connection.close()
    until(lambda: _answers(view.url))


def _answers(url: str) -> bool:
    try:
        return ask(url)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_by_the_sixth_protocol() -> None:
    try:
        page = PageView("::1")
    except Exception:
        pytest.skip("no IPv6 here")
    page.start(About("camera:0", ["a"], (120, 90)))
    assert page.url.startswith("http://[::1]:") and not page.exposure and ask(page.url)[0] == 200
    page.close()


def test_large_frames_are_reduced() -> None:
    assert picture(frame(1, (4000, 3000)).jpeg()).shape == (720, 960, 3)


# In a browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data_root: Path, prepared_dir: Path) -> tuple[Path, Path]:
    return two_finished(data_root, prepared_dir, tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    a, b = drawn(2)
    frames = shot(30, [(a, swaying(140, 180, 100)), (b, swaying(345, 180, 100))])
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.avi", frames)


class Process:
    """``domaingap predict`` in a process of its own."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        command = [sys.executable, "-m", "experiments", "predict", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment)
        self.said = ""
        assert self.process.stderr is not None
        while not (match := ADDRESS.search(self.said)):
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.url = match[1]

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, self.said + err


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def launch(*arguments: object) -> Process:
        started.append(Process(tmp_path, *arguments))
        return started[-1]

    yield launch
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()


PICTURES = "() => [...document.querySelectorAll('canvas')].map(canvas => canvas.toDataURL())"


def seen(window: Opened, condition: str) -> None:
    """Wait until a condition in JavaScript holds. Playwright's own way is to eval, which the page's policy forbids."""
    deadline = time.monotonic() + 20
    while not window.page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        window.page.wait_for_timeout(20)


NUMBERS = "() => [...document.querySelectorAll('canvas')].map(canvas => Number(canvas.dataset.frame ?? -1))"


def numbers(page: Any) -> list[int]:
    return list(page.evaluate(NUMBERS))


@pytest.mark.slow
def test_the_page_in_a_browser(
    browser: Any, launched: Callable[..., Process], runs: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    """Two networks, three windows: frames arrive and change, and the button ends the process."""
    options = ("--serve", "--loop", "--out", "both.mp4")
    command = launched(clip, "--run", runs[0], "--against", runs[1], *options)
    if Path("/proc/net/tcp").is_file():
        assert listening(command.process.pid) == {("0100007F", urlsplit(command.url).port)}
    windows = [Opened(browser, command.url, size) for size in (DESK, PHONE, NARROWEST)]
    try:
        for window in windows:
            seen(window, "document.querySelector('canvas').dataset.frame > 2")
            # At once: a frame may come between.
            before, shades = window.page.evaluate(f"() => [({NUMBERS})(), ({PICTURES})()]")
            assert len(before) == 2 and shades[0] != shades[1], "each network has a picture of its own"
            seen(window, f"document.querySelector('canvas').dataset.frame > {before[0]}")
            assert window.page.evaluate(PICTURES) != shades
            assert window.page.locator("h2").all_inner_texts() == [run.name for run in runs]
            seen(window, "document.getElementById('apart').textContent.endsWith('%')")
            assert 0.1 < float(window.page.inner_text("#apart")[:-1]) < 100
            assert float(window.page.inner_text("#fps")) > 0
            assert window.page.inner_text("#faces0") == window.page.inner_text("#faces1") == "2"
            assert window.page.inner_text("#people1").startswith("person 1: confidence ")
            assert window.page.inner_text("#state") == "Live."
            window.page.screenshot(path=tmp_path / f"live-{window.page.viewport_size['width']}.png", full_page=True)
            assert not window.problems(), window.problems()
        top = "all => all.map(section => section.getBoundingClientRect().y)"
        desk, phone = (window.page.locator("section").evaluate_all(top) for window in windows[:2])
        assert desk[0] == desk[1] and phone[0] < phone[1], "beside each other on a desk, below each other on a phone"
        # With the keyboard alone.
        windows[1].page.keyboard.press("Tab")
        assert windows[1].page.evaluate("document.activeElement.id") == "stop"
        windows[1].page.keyboard.press("Enter")
        for window in windows:
            window.page.wait_for_selector(".ended")
            assert window.page.inner_text("#state") == "Stopped. Nothing more comes; this page can be closed."
            assert window.page.locator("#stop").is_disabled()
        code, out, err = command.ended()
        assert code == 0 and "Traceback" not in err and "distance between both networks' landmarks" in out
        for window in windows:
            window.page.wait_for_timeout(1200)
            assert not window.problems(), window.problems()
    finally:
        for window in windows:
            window.close()
    n = len(lines_of(tmp_path / "both.jsonl"))
    assert n == len(lines_of(tmp_path / "both_against.jsonl")) > 3
    assert cv2.VideoCapture(str(tmp_path / "both.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == n


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"])
def test_signals_leave_whole_files(
    launched: Callable[..., Process], runs: tuple[Path, Path], clip: Path, tmp_path: Path, number: int, code: int
) -> None:
    command = launched(clip, "--run", runs[0], "--serve", "--loop", "--out", "a.mp4")
    last = -1
    while last < 0 or (tmp_path / "a.jsonl").read_bytes().count(b"\n") < 5:  # its last line may be half written
        last = int(ask(command.url, f"frame?after={last}")[1]["frame"])
    command.process.send_signal(number)
    got, out, err = command.ended()
    assert got == code and "Traceback" not in err
    n = len(lines_of(tmp_path / "a.jsonl"))
    assert abs(cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) - n) <= 1
    assert ("frames dropped" in out or f"{n} frames" in out) == (code == 0)
    with pytest.raises(OSError, match="refused"):
        ask(command.url)


@pytest.mark.slow
def test_the_command_is_gone(browser: Any, launched: Callable[..., Process], runs: tuple[Path, Path], clip: Path) -> None:
    command = launched(clip, "--run", runs[0], "--serve", "--loop")
    window = Opened(browser, command.url)
    seen(window, "document.querySelector('canvas').dataset.frame > 2")
    assert not window.problems()
    command.process.kill()
    command.process.wait()
    window.page.wait_for_selector(".ended")
    assert "The command that showed this has ended." in window.page.inner_text("#state")
    window.close()


def test_a_single_network_in_a_browser(browser: Any, view: PageView) -> None:
    """Without a network: figures of somebody and of nobody, and the end."""
    window = Opened(browser, view.url)
    seen(window, "document.querySelector('canvas').dataset.frame == 3")
    later = frame(4)
    later.figures["people"] = [[[i, 0.5] for i in range(1, 9)]]
    view.show(later)
    seen(window, "document.getElementById('faces0').textContent == '8'")
    assert window.page.inner_text("#people0").endswith("person 6: confidence 0.50; and 2 more")
    assert not window.problems(), window.problems()
    view.finish("It ended: gave no more pictures.")
    window.page.wait_for_selector(".ended")
    assert window.page.inner_text("#state").startswith("It ended: gave no more pictures. Nothing more comes")
    assert not window.problems(), window.problems()
    window.close()


def test_stop_and_state_by_hand(view: PageView) -> None:
    """For scripts: the same addresses that the page uses."""
    assert state(view.url)["frame"] == 3 and state(view.url)["ended"] is None
    threading.Timer(0.1, lambda: view.finish("Stopped.")).start()
    assert stop(view.url)["ended"] == "Stopped."
