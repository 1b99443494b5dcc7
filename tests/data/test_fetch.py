"""``domaingap data fetch`` against a server on loopback that does what servers do, and what they shouldn't."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from domaingap.data import downloads, transfer
from domaingap.data.downloads import Download
from domaingap.data.readers import open_reader
from domaingap.data.unpack import ArchiveError, unpack
from domaingap.errors import UserError
from tests.conftest import Answer, write_face_synthetics

N = 6
SAMPLE = downloads.downloads()["face_synthetics_100"]
Cli = Callable[..., Answer]
Act = Callable[["Handler"], None]


def zipped(files: dict[str, bytes], **attributes: int) -> bytes:
    """An archive with these files in this order; ``attributes`` are Unix modes by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x", (2021, 10, 1, 0, 0, 0))
            info.filename = info.orig_filename = name  # as it stands, also where zipfile would mend it
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = attributes.get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return out.getvalue()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a small FaceSynthetics."""
    root = tmp_path_factory.mktemp("release") / "faces"
    write_face_synthetics(root, N)
    return {path.name: path.read_bytes() for path in sorted(root.iterdir())}


class Handler(BaseHTTPRequestHandler):
    """Does the next thing on the server's list, and what a good server does when the list is at its end."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        try:
            (self.server.plan.pop(0) if self.server.plan else serve())(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag = body, '"one"'
        self.plan: list[Act] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_port}/release.zip"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        pass


def serve(
    cut: int | None = None,
    ranges: bool = True,
    announce: int | None = None,
    pause: float = 0,
    piece: int = 1 << 14,
    **headers: object,
) -> Act:
    """Send the file, or what is asked of it; cut off somewhere, with a wrong length, in pieces with pauses."""

    def act(handler: Handler) -> None:
        server, begin = handler.server, 0
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if asked and ranges and handler.headers.get("If-Range") == server.etag:
            begin = int(asked[1])
        rest = server.body[begin:]
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(server.body) - 1}/{len(server.body)}"
        length = announce if announce is not None else len(rest)
        handler.start(
            206 if begin else 200,
            **{"Content_Length": length, "ETag": server.etag, "Content_Type": "application/zip", **headers},
        )
        rest = rest[: length if cut is None else cut]
        for i in range(0, len(rest), piece):
            handler.wfile.write(rest[i : i + piece])
            server.sent["bytes"] += len(rest[i : i + piece])
            time.sleep(pause)
        if len(rest) < length:
            handler.close_connection = True

    return act


def answer(status: int, body: bytes = b"", **headers: object) -> Act:
    return lambda handler: (handler.start(status, Content_Length=len(body), **headers), handler.wfile.write(body), None)[2]


@pytest.fixture
def server(faces: dict[str, bytes]) -> Iterator[Server]:
    running = Server(zipped(faces))
    yield running
    running.shutdown()
    running.server_close()


def release(**changes: Any) -> Download:
    """FaceSynthetics of N images."""
    counted = {what: (pattern, N) for what, (pattern, _) in SAMPLE.counted.items()}
    return replace(SAMPLE, **{"counted": counted, "content": None, "size": 200_000, "unpacked": 200_000, **changes})


@pytest.fixture
def get(cli: Cli, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """The command, with a release of N images at the server's address and little patience."""
    patience = transfer.Patience(
        connect_s=2, silence_s=0.5, tries=3, pause_s=0, longest_pause_s=2, slow_s=0.3, slow_bytes=4000
    )
    monkeypatch.setattr(transfer, "PATIENCE", patience)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def call(url: str = server.url, **changes: Any) -> Answer:
        monkeypatch.setattr(downloads, "downloads", lambda: {"face_synthetics_6": release(**changes)})
        return cli("data", "fetch", "face_synthetics_6", f"--data_root={tmp_path}", f"--url={url}")

    return call


def whole(root: Path, faces: dict[str, bytes]) -> bool:
    """The data set lies where readers expect it, and nothing is left over."""
    folder = root / "face_synthetics"
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("SHA256SUMS", "fetched.json")}
    assert sorted(path.name for path in (root / ".fetch").iterdir() if path.suffix != ".lock") == ["checksums.json"]
    assert open_reader("face_synthetics", root).count("all").found == N
    return found == faces


def nothing(root: Path) -> bool:
    return not (root / "face_synthetics").exists() and not list(root.glob(".fetch/*.unpacking"))


def test_it_says_what_it_takes_and_puts_it_where_readers_look(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    first = get()
    assert first.code == 0, first.err
    lines = first.out.splitlines()
    assert lines[1].startswith("  licence: Research Use of Data Agreement v1.0, non-commercial (https://")
    assert "Wood et al." in lines[2] and "a download 200 kB" in lines[3] and f"{N} images" in lines[3]
    assert lines[-1].startswith("fetched: 18 files") and "checksum written down: the first download" in lines[-1]
    assert whole(tmp_path, faces)
    folder = tmp_path / "face_synthetics"
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode == 0
    record = json.loads((folder / "fetched.json").read_text())
    assert record["licence"]["non_commercial"] and record["url"] == server.url and record["files"] == 18
    again = get()
    assert again.code == 0 and "there already: 18 files" in again.out and len(server.asked) == 1
    (folder / "000001.png").write_bytes(b"other")
    changed = get()
    assert changed.code == 2 and "000001.png has changed since; move it away" in changed.err and len(server.asked) == 1


def test_it_goes_on_where_the_server_breaks_off(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    server.plan = [serve(cut=20_000), serve(cut=1), serve(cut=9_000), answer(503), serve(cut=30_000)]
    result = get()
    assert result.code == 0, result.err
    assert whole(tmp_path, faces) and server.sent["bytes"] == len(server.body), "no byte came twice"
    assert [headers.get("Range") for _, headers in server.asked] == [
        None, "bytes=20000-", "bytes=20001-", "bytes=29001-", "bytes=29001-", "bytes=59001-",
    ]  # fmt: skip
    assert {headers["Accept-Encoding"] for _, headers in server.asked} == {"identity"}
    assert "broke off" in result.err and "20 kB are kept" in result.err


def test_a_later_call_goes_on(get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path) -> None:
    server.plan = [serve(cut=20_000), *[answer(502)] * 3]
    result = get()
    assert result.code == 2 and nothing(tmp_path)
    assert (
        "the server is busy (502 Bad Gateway), 3 times in a row; 20 kB are kept; give the same command again" in result.err
    )
    assert get().code == 0 and server.sent["bytes"] == len(server.body) and whole(tmp_path, faces)


@pytest.mark.parametrize("why", ["no ranges", "another file", "another part", "no validator", "all is here"])
def test_a_part_is_never_joined_to_what_is_not_its_rest(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path, why: str
) -> None:
    def changed(handler: Handler) -> None:
        server.body, server.etag = zipped(dict(reversed(faces.items()))), '"two"'
        serve()(handler)

    wrong = answer(206, server.body[5:], Content_Range=f"bytes 5-{len(server.body) - 1}/{len(server.body)}", ETag='"one"')
    server.plan = {
        "no ranges": [serve(cut=20_000), serve(ranges=False, cut=10_000), serve(ranges=False)],
        "another file": [serve(cut=20_000), changed],
        "another part": [serve(cut=20_000), wrong],
        "no validator": [serve(cut=20_000, ETag='W/"weak"')],
        "all is here": [
            serve(announce=len(server.body) + 1),
            answer(416, Content_Range=f"bytes */{len(server.body)}"),
        ],
    }[why]
    result = get()
    assert result.code == 0, result.err
    assert whole(tmp_path, faces)
    if why == "no validator":
        assert server.asked[1][1].get("Range") is None


def test_lengths_that_lie(get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path) -> None:
    server.plan = [serve(announce=len(server.body) + 1000)] * 6
    result = get()
    assert result.code == 2 and "broke off" in result.err and nothing(tmp_path)
    server.plan = [serve(announce=30_000)] * 2
    for path in tmp_path.glob(".fetch/*.zip*"):
        path.unlink()
    result = get()
    assert result.code == 2 and "no whole zip archive" in result.err and nothing(tmp_path)
    server.plan = [serve(announce=10**12)]
    result = get()
    assert result.code == 2 and "announces 1.0 TB, more than" in result.err
    assert result.err.count("\n") == 1 and nothing(tmp_path)
    # Without a length: more and more comes.
    server.plan = [
        lambda handler: (handler.start(200, Connection="close"), *map(handler.wfile.write, [bytes(1 << 20)] * 9), None)[-1]
    ]
    result = get()
    assert result.code == 2 and "sends more than the" in result.err and not list(tmp_path.glob(".fetch/*.zip"))
    assert get().code == 0 and whole(tmp_path, faces)


ESCAPES: dict[str, tuple[Callable[[dict[str, bytes]], bytes], str]] = {
    "parent": (lambda f: zipped({**f, "../000099.png": b"x"}), "holds '../000099.png', which no data set's archive does"),
    "deeper parent": (lambda f: zipped({**f, "a/../../000099.png": b"x"}), "which no data set's archive does"),
    "absolute": (lambda f: zipped({**f, "/tmp/000099.png": b"x"}), "which no data set's archive does"),
    "backslashes": (lambda f: zipped({**f, "..\\..\\000099.png": b"x"}), "which no data set's archive does"),
    "drive": (lambda f: zipped({**f, "C:000099.png": b"x"}), "which no data set's archive does"),
    "zero byte": (lambda f: zipped({**f, "000099.png\0.txt": b"x"}), "which no data set's archive does"),
    "link": (
        lambda f: zipped({**f, "000005.png": b"/etc/passwd"}, **{"000005.png": stat.S_IFLNK | 0o777}),
        "000005.png is a link",
    ),
    "device": (lambda f: zipped({**f, "000005.png": b""}, **{"000005.png": stat.S_IFCHR | 0o666}), "is no plain file"),
    "twice": (lambda f: zipped(f) and _twice(f), "000005.png and 000005.png are one file"),
    "case": (
        lambda f: zipped({**f, "Aé/000005.PNG": b"1", "ae\u0301/000005.png": b"2", "aé/000005.png": b"3"}),
        "are one file",
    ),
    "file and folder": (lambda f: zipped({"d": b"", "d/000005.png": b""}), "is a file and a folder"),
    "bomb": (lambda f: zipped({**f, "000005.png": bytes(5 << 20)}), "a bomb?"),
    "many": (lambda f: zipped({**f, **{f"{i:06d}.png": b"" for i in range(100, 10_300)}}), "more than the 10072"),
    "page": (lambda f: b"<html><body>Log in first</body></html>", "no whole zip archive (File is not a zip file)"),
    "cut": (lambda f: zipped(f)[:-100], "no whole zip archive"),
    "flipped": (lambda f: _flipped(zipped(f)), "no whole zip archive (Bad CRC-32"),
    "others": (lambda f: zipped({"readme.txt": b"x"}), "holds nothing of what is expected in it"),
    "too few": (lambda f: zipped({k: v for k, v in f.items() if k != "000003.png"}), "holds 5 of 6 images"),
    "too many": (lambda f: zipped({**f, "000006.png": b"x"}), "holds 7 of 6 images"),
}


def _twice(files: dict[str, bytes]) -> bytes:
    # Same length, so that one name can take the other's place in the finished archive.
    return zipped({**files, "000009.png": b"x"}).replace(b"000009.png", b"000005.png")


def _flipped(archive: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        stored = opened.getinfo("000002_ldmks.txt")
    # The compressed content of an empty deflate block stays well-formed in its first byte: flip one in the middle.
    at = stored.header_offset + 30 + len(stored.filename) + stored.compress_size // 2
    return archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :]


@pytest.mark.parametrize("kind", ESCAPES)
def test_unsafe_and_damaged_archives_leave_nothing(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    make, message = ESCAPES[kind]
    server.body = make(faces)
    before = set(tmp_path.parent.rglob("*"))
    wanted = (
        re.compile(r"(?:\w+/)?\d{6}(?:\.png|\.PNG|_seg\.png|_ldmks\.txt)|d") if kind in ("case", "file and folder") else None
    )
    result = get(
        **({"wanted": wanted} if wanted else {}), size=10_000_000, unpacked=100_000 if kind == "bomb" else 10_000_000
    )
    assert result.code == 2 and result.err.count("\n") == 1, result.err
    assert message in result.err or (kind == "flipped" and "no whole zip archive" in result.err), result.err
    assert nothing(tmp_path) and not list(tmp_path.glob(".fetch/*.zip"))
    new = {str(path.relative_to(tmp_path.parent)) for path in set(tmp_path.parent.rglob("*")) - before}
    assert all(re.fullmatch(rf"{tmp_path.name}/\.fetch(/face_synthetics\.lock)?", path) for path in new), new
    server.body, server.etag = zipped(faces), '"good"'
    assert get().code == 0 and whole(tmp_path, faces)


def test_companions_and_folders_of_an_archive_are_left_out(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    top = {f"dataset_6/{name}": content for name, content in faces.items()}
    more = {"dataset_6/": b"", "__MACOSX/dataset_6/._000000.png": b"x", "dataset_6/.DS_Store": b"x", "LICENSE.txt": b"terms"}
    more |= {"dataset_6/samples/000000.png": b"another"}
    server.body = zipped({**more, **top})
    result = get()
    assert result.code == 0 and whole(tmp_path, faces), result.err
    assert (
        "2 companion files of an operating system left out" in result.out and "2 files that aren't needed here" in result.out
    )


def test_a_checksum_that_is_known_is_asked_for(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(faces.items()))
    right = hashlib.sha256(sums.encode()).hexdigest()
    wrong = get(content="0" * 64)
    assert wrong.code == 2 and f"isn't the release (content {right}, not {'0' * 64})" in wrong.err and nothing(tmp_path)
    wrong = get(checksums={"000001.png": "1" * 64})
    assert wrong.code == 2 and "000001.png isn't the release's" in wrong.err and nothing(tmp_path)
    assert "checksum verified" in get(content=right).out and whole(tmp_path, faces)


def test_what_comes_later_is_compared_with_the_first_download(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    assert get().code == 0
    (tmp_path / "face_synthetics").rename(tmp_path / "aside")
    server.body, server.etag = zipped({**faces, "000001_ldmks.txt": b"1 1\n"}), '"two"'
    other = get()
    assert other.code == 2 and "holds something else than on" in other.err and "checksums.json" in other.err
    assert nothing(tmp_path)
    # Packed in another way, it is the same data.
    server.body, server.etag = zipped({f"top/{k}": v for k, v in reversed(faces.items())}), '"three"'
    assert "as the first time" in get().out and whole(tmp_path, faces)


def test_a_git_archive_is_of_its_commit(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    out = io.BytesIO(zipped(faces))
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"a" * 40
    server.body = out.getvalue()
    wrong = get(commit="b" * 40)
    assert wrong.code == 2 and f"is of commit {'a' * 40}, not {'b' * 40}" in wrong.err and nothing(tmp_path)
    assert get(commit="a" * 40).code == 0


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (answer(200, b"<html>log in</html>", Content_Type="text/html"), "a web page came instead of the file"),
        (answer(404), "isn't there (404 Not Found); see the data set's page, and give a new address with --url"),
        (answer(403), "refused (403 Forbidden)"),
        (answer(407), "the proxy asks for a login"),
        (answer(418), "an answer that isn't understood (418"),
        (answer(429, Retry_After=3600), "is busy (429 Too Many Requests) and asks to come back in 3600 s"),
        (answer(429, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT"), "asks to come back in"),
        (answer(302, Location="file:///etc/passwd"), "sends on to file:///etc/passwd, which isn't safe"),
        (answer(302, Location="ftp://127.0.0.1/x.zip"), "which isn't safe"),
        (serve(Content_Encoding="gzip"), "comes in a changed form (gzip)"),
    ],
)  # fmt: skip
def test_answers_that_end_it_at_once(
    get: Callable[..., Answer], server: Server, tmp_path: Path, act: Act, message: str
) -> None:
    server.plan = [act]
    result = get()
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1, result.err
    assert len(server.asked) == 1 and nothing(tmp_path)


def test_it_waits_as_long_as_it_is_asked_to(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    server.plan = [answer(429, Retry_After=1)]
    began = time.monotonic()
    assert get().code == 0 and whole(tmp_path, faces)
    assert time.monotonic() - began > 1


def test_redirects(get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path) -> None:
    other = Server(zipped(faces))
    server.plan = [answer(302, Location=other.url), answer(301, Location=other.url)]
    other.plan = [serve(cut=10_000)]
    result = get()
    assert result.code == 0 and whole(tmp_path, faces) and other.sent["bytes"] == len(other.body), result.err
    (tmp_path / "face_synthetics").rename(tmp_path / "aside")
    server.plan = [answer(302, Location="/again")] * 20
    result = get()
    assert result.code == 2 and "sends on more than 5 times" in result.err
    other.shutdown()
    other.server_close()


def test_https_is_never_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    moved = requests.Response()
    moved.raw = io.BytesIO()
    moved.status_code, moved.headers["Location"] = 302, "http://127.0.0.1/release.zip"
    monkeypatch.setattr(requests.Session, "get", lambda *_, **__: moved)
    with pytest.raises(UserError, match=r"sends on to http://127\.0\.0\.1/release\.zip, which isn't safe"):
        transfer.download("https://data.example/release.zip", tmp_path / "x.zip", "it", 1000, 0)


def test_silence_and_a_trickle_end(get: Callable[..., Answer], server: Server, tmp_path: Path) -> None:
    server.plan = [lambda handler: (handler.start(200, Content_Length=100_000, ETag='"one"'), time.sleep(1.5), None)[2]] * 3
    began = time.monotonic()
    result = get()
    assert result.code == 2 and "broke off (" in result.err and "3 times in a row" in result.err
    server.plan = [serve(piece=1, pause=0.02)]
    result = get()
    assert result.code == 0 and "bytes a second come" in result.err, result.err
    assert time.monotonic() - began < 20


def test_addresses_that_lead_nowhere(get: Callable[..., Answer], tmp_path: Path) -> None:
    for url, message in (
        ("file:///etc/passwd", "not an address that begins with http:// or https://"),
        ("release.zip", "not an address"),
        ("http://", "not an address"),
        ("http://[::1/release.zip", "this address, or the proxy's in HTTPS_PROXY or HTTP_PROXY, can't be read"),
        ("http://a b/release.zip", "a b"),
        ("http://127.0.0.1:9/release.zip", "no connection to 127.0.0.1:9"),
        ("https://127.0.0.1:1/release.zip", "no connection to 127.0.0.1:1"),
    ):
        result = get(url)
        assert result.code == 2 and message in result.err and "mistake of ours" not in result.err, result.err
    assert nothing(tmp_path)


def test_a_full_disk(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
        result = get()
        assert (
            result.code == 2
            and "are needed and 1.0 kB are free; make room" in result.err
            and not list(tmp_path.glob(".fetch/*.zip"))
        )
    with monkeypatch.context() as patch:
        patch.setattr(transfer, "open", _full_after(20_000), raising=False)
        result = get()
        assert (
            result.code == 2 and "no room left; what came is kept; make room and give the same command again" in result.err
        )
    from domaingap.data import unpack

    with monkeypatch.context() as patch:
        patch.setattr(unpack, "open", _full_after(20_000), raising=False)
        result = get()
        assert (
            result.code == 2
            and "no room left; what came is kept" in result.err
            and not (tmp_path / "face_synthetics").exists()
        )
    assert get().code == 0 and whole(tmp_path, faces) and len(server.asked) == 3, "what came was gone on with"


def _full_after(most: int) -> Callable[..., Any]:
    written = 0

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            nonlocal written
            written += len(content)
            if written > most:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
            return super().write(content)

    return Full


def test_through_a_proxy(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server stands for the proxy: it is asked for whole addresses.
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/release.zip"))
    monkeypatch.setenv("NO_PROXY", "")
    server.plan = [serve(cut=20_000)]
    assert get("http://data.example/release.zip").code == 0 and whole(tmp_path, faces)
    assert [path for path, _ in server.asked] == ["http://data.example/release.zip"] * 2
    (tmp_path / "face_synthetics").rename(tmp_path / "aside")
    for proxy, message in (
        ("http://me:secret@127.0.0.1:9", "the proxy (HTTPS_PROXY, HTTP_PROXY) doesn't answer (Connection refused)"),
        ("http://me:secret@", "can't be read"),
        ("http://", "holds no address of a proxy"),
        ("http://me:secret@[::1", "can't be read"),
        ("socks5://me:secret@127.0.0.1:9", "names a SOCKS proxy, for which the package pysocks is needed"),
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        result = get("http://data.example/release.zip")
        assert result.code == 2 and message in result.err and "secret" not in result.err, (proxy, result.err)


SCRIPT = """
import sys
from pathlib import Path
from tests.data.test_fetch import release
from domaingap.data import downloads
known = {"face_synthetics_6": release()}
downloads.downloads = lambda: known
from experiments.__main__ import main
main(["data", "fetch", "face_synthetics_6", "--data_root", sys.argv[1], "--url", sys.argv[2]])
"""


def started(root: Path, url: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SCRIPT, str(root), url]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def test_killed_and_given_again(server: Server, faces: dict[str, bytes], tmp_path: Path) -> None:
    for _ in range(3):
        server.plan = [serve(piece=500, pause=0.02)]
        before, process = server.sent["bytes"], started(tmp_path, server.url)
        while server.sent["bytes"] < before + 8_000:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "face_synthetics").exists()
    server.plan = []
    out, err = started(tmp_path, server.url).communicate(timeout=60)
    assert "fetched: 18 files" in out, err
    assert whole(tmp_path, faces) and server.asked[-1][1]["Range"] != "bytes=0-"
    assert int(server.asked[-1][1]["Range"][6:-1]) > 16_000


def test_two_at_once_fetch_it_once(server: Server, faces: dict[str, bytes], tmp_path: Path) -> None:
    server.plan = [serve(piece=1000, pause=0.02)]
    both = [started(tmp_path, server.url) for _ in range(2)]
    outputs = [process.communicate(timeout=100) for process in both]
    assert sorted(out.splitlines()[-1].partition(":")[0] for out, _ in outputs) == ["fetched", "there already"], outputs
    assert server.sent["bytes"] == len(server.body) and whole(tmp_path, faces)
    assert any("waiting for another process" in err for _, err in outputs)


def test_half_of_an_unpacking_is_not_taken_for_the_whole(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from domaingap.data import unpack

    original, written = unpack._write, []

    def killed(*arguments: Any) -> Any:
        written.append(arguments)
        if len(written) == 7:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(unpack, "_write", killed)
        result = get()
        assert result.code == 130 and not (tmp_path / "face_synthetics").exists()
    assert get().code == 0 and whole(tmp_path, faces) and len(server.asked) == 1, "the archive was there already"


def test_what_is_there_is_never_touched(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "face_synthetics"
    folder.write_text("a file")
    assert get().code == 2 and folder.read_text() == "a file"
    folder.unlink()
    folder.symlink_to(tmp_path / "nowhere")
    result = get()
    assert result.code == 2 and "a link to nowhere" in result.err and folder.is_symlink()
    folder.unlink()
    write_face_synthetics(folder, N - 2)
    result = get()
    assert result.code == 2 and "holds 4 of 6 images, so it isn't FaceSynthetics, 100 images; move it away" in result.err, (
        result.err
    )
    assert len(list(folder.iterdir())) == 3 * (N - 2) and not server.asked
    for path in folder.iterdir():
        path.unlink()
    assert get().code == 0 and whole(tmp_path, faces), "an empty folder is no data set"
    for name in ("SHA256SUMS", "fetched.json"):
        (folder / name).unlink()
    result = get()
    assert result.code == 0 and "there already: 18 files" in result.out and "not checked" in result.out
    assert "holds as many files as" in get(content="0" * 64).err


def test_a_data_root_that_cannot_be_written(cli: Cli, tmp_path: Path, get: Callable[..., Answer]) -> None:
    (tmp_path / "file").write_text("")
    result = cli("data", "fetch", "face_synthetics_6", f"--data_root={tmp_path / 'file' / 'data'}")
    assert result.code == 2 and "mistake of ours" not in result.err
    get()
    result = cli("data", "fetch", "face_synthetics_6", f"--data_root={tmp_path / 'file'}")
    assert result.code == 2 and "can't be made" in result.err and result.err.count("\n") == 1


def test_the_sample_is_verified(cli: Cli, sample_data: Path, server: Server, tmp_path: Path) -> None:
    """The checksum in this program is that of the release's 100 images."""
    folder = sample_data / "face_synthetics"
    names = [name for name in sorted(os.listdir(folder)) if re.fullmatch(r"\d{6}(\.png|_seg\.png|_ldmks\.txt)", name)]
    server.body = zipped({name: (folder / name).read_bytes() for name in names})
    options = [f"--data_root={tmp_path}", f"--url={server.url}"]
    result = cli("data", "fetch", "face_synthetics_100", *options)
    assert result.code == 0 and "fetched: 300 files, 35 MB, checksum verified" in result.out, result.err
    assert open_reader("face_synthetics", tmp_path).count("all").partial is False
    other = cli("data", "fetch", "face_synthetics_1000", *options)
    assert other.code == 2 and "holds FaceSynthetics, 100 images, not FaceSynthetics, 1,000 images" in other.err
    place = tmp_path / "elsewhere" / "faces"
    moved = cli("data", "fetch", "face-synthetics-100", f"--to={place}", f"--url={server.url}")
    assert moved.code == 0 and f"{place}" in moved.out and (place / names[0]).is_file(), moved.err


def test_everything_is_listed_with_its_terms(cli: Cli) -> None:
    out = cli("data", "fetch").out
    for name in (
        "face_synthetics_100",
        "face_synthetics_1000",
        "ict_facekit",
        "valid_avatars",
        "300w",
        "dgfaces",
        "synthface",
    ):
        assert re.search(rf"│ {name} +│", out), name
    assert "research only, non-commercial [unverified]" in out and "34 MB" in out and "Wood et al." in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("300w", "300w isn't handed out openly; follow https://ibug.doc.ic.ac.uk/"),
        ("300w_private", "01_Indoor/, 02_Outdoor/"),
        ("dgfaces", "datapoint_NNNNN/camera/"),
        ("synthface", "https://github.com/microsoft/SynthMoCap"),
        ("face_synthetics", "comes in 3 sizes; give one: face_synthetics_100, face_synthetics_1000"),
        ("hdris", "hdris is a choice of single pictures, free for all; follow https://polyhaven.com/hdris"),
        ("nothing", "nothing called 'nothing' can be fetched; known: face_synthetics_100,"),
    ],
)
def test_what_cannot_be_fetched_says_where_to_ask(cli: Cli, tmp_path: Path, name: str, message: str) -> None:
    result = cli("data", "fetch", name, f"--data_root={tmp_path}")
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_every_download_is_pinned_and_names_its_terms() -> None:
    for one in downloads.downloads().values():
        assert one.url.startswith("https://") and one.licence.url.startswith("https://") and one.citation
        assert one.commit is None or f"/{one.commit}.zip" in one.url
        assert "github.com" not in one.url or one.commit, "branches move"


def test_a_whole_data_set_is_found_where_nothing_can_be_written(
    get: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get().code == 0
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("made a folder"))
    assert "there already: 18 files" in get().out


def test_damaged_archives_end_in_one_kind_of_error(faces: dict[str, bytes], tmp_path: Path) -> None:
    """300 archives with seeded damage: each is unpacked as it was, or refused."""
    rng, good, outcomes, messages = np.random.default_rng(0), zipped(faces), Counter[str](), list[str]()
    wanted = {name: hashlib.sha256(content).hexdigest() for name, content in faces.items()}
    for i in range(300):
        body = bytearray(good)
        for at in rng.integers(0, len(body), rng.integers(1, 4)) if i % 3 else len(body) - rng.integers(1, 1800, 3):
            body[at] = rng.integers(256)
        (tmp_path / "x.zip").write_bytes(body[: rng.integers(len(body))] if i % 7 == 0 else body)
        into = tmp_path / f"{i}"
        try:
            found = unpack(tmp_path / "x.zip", into, SAMPLE.wanted, 1000, 10_000_000)
        except ArchiveError as error:
            outcomes["refused"] += 1
            messages.append(str(error))
        else:
            outcomes["unpacked"] += 1
            assert found.files.items() <= wanted.items()
        assert {path.name for path in tmp_path.iterdir()} <= {"x.zip", *(f"{k}" for k in range(300))}
    assert outcomes["refused"] > 100 and outcomes["unpacked"] > 0 and not any("\n" in message for message in messages)


@pytest.mark.parametrize("damage", ["{", "[1]", '{"face_synthetics_6": 7}', '{"face_synthetics_6": {"x": 1}}', "\0"])
def test_damaged_records_are_named(get: Callable[..., Answer], faces: dict[str, bytes], tmp_path: Path, damage: str) -> None:
    file = tmp_path / ".fetch" / "checksums.json"
    file.parent.mkdir()
    name = release().name
    file.write_text(damage.replace("face_synthetics_6", name))
    result = get()
    assert result.code == 2 and f"{file}: damaged" in result.err and "delete it" in result.err, result.err
    file.unlink()
    assert get().code == 0 and whole(tmp_path, faces)
    record = tmp_path / "face_synthetics" / "fetched.json"
    record.write_text(damage)
    assert get().code == 2 and record.read_text() == damage


def test_what_a_kill_after_the_end_leaves_is_cleared(
    get: Callable[..., Answer], server: Server, faces: dict[str, bytes], tmp_path: Path
) -> None:
    assert get().code == 0
    (tmp_path / ".fetch" / f"{release().name}.zip").write_bytes(server.body)
    (tmp_path / ".fetch" / f"{release().name}.unpacking").mkdir()
    assert "there already" in get().out and whole(tmp_path, faces)
