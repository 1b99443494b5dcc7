"""The store: made once, whole or not at all, by one process or by several, some of which are killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domaingap import store as module
from domaingap.arrays import empty_array
from domaingap.errors import UserError
from domaingap.hashing import append_line, link, read_lines, remove_temporary, replace_atomically, write_atomically
from domaingap.store import Store

CONTEXT = multiprocessing.get_context("fork")


def slowly(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
    """Counts its calls beside the entry, and takes long enough for others to come."""
    append_line(folder.parent / "calls.jsonl", {"pid": os.getpid()})
    (folder / "part").write_text("half of it")
    time.sleep(0.3)
    (folder / "part").write_text("all of it")
    return {"made by": os.getpid()}


def ask(root: Path) -> None:
    entry = Store(root).get("things/slow", {"a": 1}, slowly, "a slow thing")
    assert (entry.folder / "part").read_text() == "all of it"


def test_several_processes_make_it_once(tmp_path: Path) -> None:
    processes = [CONTEXT.Process(target=ask, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(read_lines(tmp_path / "things" / "calls.jsonl")) == 1
    assert Store(tmp_path).get("things/slow", {"a": 1}, slowly).reused


def test_a_process_that_dies_holding_the_lock_blocks_nobody(tmp_path: Path) -> None:
    def die(root: Path) -> None:
        with Store(root).lock("things-x"):
            (root / "held").touch()
            time.sleep(60)

    process = CONTEXT.Process(target=die, args=(tmp_path,))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    began = time.monotonic()
    with Store(tmp_path).lock("things-x"):
        pass
    assert time.monotonic() - began < 5


def test_who_waits_is_told_for_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = CONTEXT.Process(target=ask, args=(tmp_path,))
    first.start()
    while not (tmp_path / "things" / "calls.jsonl").exists():
        time.sleep(0.01)
    ask(tmp_path)
    first.join()
    assert "waiting for another process that makes a slow thing" in capsys.readouterr().err


def make(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
    (folder / "data").write_bytes(b"0123456789")
    (folder / ".scratch").mkdir(exist_ok=True)
    (folder / ".scratch" / "more").write_bytes(b"x")
    return {"n": 10, "pair": (1, 2)}


def test_manifest_is_last_and_names_every_file(tmp_path: Path) -> None:
    entry = Store(tmp_path).get("things/x", {"b": 2, "a": 1}, make)
    assert {path.name for path in entry.folder.iterdir()} == {"data", "manifest.json"}, "hidden names are gone at the end"
    manifest = json.loads((entry.folder / "manifest.json").read_text())
    assert list(manifest["files"]) == ["data"] and manifest["files"]["data"]["size"] == 10
    assert manifest["identity"] == {"a": 1, "b": 2} and entry.record == {"n": 10, "pair": [1, 2]}
    assert Store(tmp_path).get("things/x", {"a": 1, "b": 2}, make).folder == entry.folder, "the order of keys is nothing"
    assert Store(tmp_path).get("things/x", {"a": 1, "b": 3}, make).folder != entry.folder


def test_what_a_kill_left_is_gone_on_with(tmp_path: Path) -> None:
    def killed(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
        (folder / "first").write_text("done")
        raise KeyboardInterrupt

    def rest(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
        assert (folder / "first").read_text() == "done"
        return {}

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.get("things/x", {}, killed)
    assert store.find("things/x", {}) is None
    assert not store.get("things/x", {}, rest).reused


@pytest.mark.parametrize("damage", [b"012345678", b"0123456780", None, b"01234567890"])
def test_damage_is_found_and_made_good(tmp_path: Path, damage: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    entry = store.get("things/x", {}, make)
    data = entry.folder / "data"
    when = data.stat()
    data.unlink() if damage is None else data.write_bytes(damage)
    if damage is not None:
        os.utime(data, ns=(when.st_atime_ns, when.st_mtime_ns))  # a checksum is of the content
    assert store.find("things/x", {}) is None
    again = store.get("things/x", {}, make, "the thing")
    assert not again.reused and data.read_bytes() == b"0123456789"
    text = capsys.readouterr().err
    assert "damaged, made again: the thing" in text and str(data) in text and f"damaged-{entry.folder.name}.1" in text
    assert (entry.folder.with_name(f"damaged-{entry.folder.name}.1") / "manifest.json").is_file(), "nothing is deleted"


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.get("things/x", {}, make).folder
    for text in ("{", "[]", "{}", '{"files": {"data": {}}, "record": {}}'):
        (folder / "manifest.json").write_text(text)
        assert not store.get("things/x", {}, make).reused, text


def test_large_files_are_read_again_where_their_time_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    folder = store.get("things/x", {}, make).folder
    monkeypatch.setattr(module, "HASHED_AT_ONCE", 5)
    monkeypatch.setattr(module, "file_digest", lambda path, sync=False: pytest.fail("read whole"))
    assert store.find("things/x", {}) is not None
    monkeypatch.undo()
    monkeypatch.setattr(module, "HASHED_AT_ONCE", 5)
    os.utime(folder / "data", (1, 1))
    assert store.find("things/x", {}) is not None, "copied elsewhere, it is the same"
    (folder / "data").write_bytes(b"0123456780")
    assert store.find("things/x", {}) is None


def test_an_entry_grows_without_a_change_of_what_was_there(tmp_path: Path) -> None:
    def build(name: str) -> Any:
        def inner(folder: Path, known: dict[str, Any] | None) -> dict[str, Any]:
            (folder / name).write_text(name)
            return {"names": [*(known or {"names": []})["names"], name]}

        return inner

    store = Store(tmp_path)
    for name in ("a", "b", "a"):
        entry = store.get("things/x", {}, build(name), enough=lambda record, name=name: name in record["names"])  # type: ignore[misc]
    assert entry.reused and entry.record["names"] == ["a", "b"]
    assert {path.name for path in entry.folder.iterdir()} == {"a", "b", "manifest.json"}


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't be written .* choose another --prepared_dir"):
        Store(tmp_path / "file", "--prepared_dir").get("things/x", {}, make)


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomically(path, "old")

    def fail_halfway() -> None:
        with replace_atomically(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replace_atomically(path) as one, replace_atomically(path) as other:
        assert one != other, "two that write the same file don't share a temporary one"
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    empty_array(tmp_path / "a.npy", (2, 3), np.uint8)
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 0, 0], [0, 0, 0]]


def test_lines_behind_one_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"i": 1})
    with open(path, "a") as file:
        file.write('{"i": 2, "na')
    append_line(path, {"i": 3})
    assert read_lines(path) == [{"i": 1}, {"i": 3}] and read_lines(tmp_path / "none") == []


@pytest.mark.parametrize("key", ["record", "identity", "files"])
def test_a_manifest_that_was_changed_is_made_again(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    entry = store.get("things/x", {"a": 1}, make)
    assert store.get("things/x", {"a": 1}, make).reused
    path = entry.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: {}}))
    again = store.get("things/x", {"a": 1}, make)
    assert not again.reused and again.record == entry.record
    assert "changed since it was written" in capsys.readouterr().err


def test_lines_that_are_not_what_they_should_be_are_left_out(tmp_path: Path) -> None:
    good = {"i": 1, "name": "é"}
    odd = [
        b"3",
        b"[]",
        b"{}",
        b'{"i": true, "name": "x"}',
        b'{"i": "1", "name": "x"}',
        b"\xff\xfe",
        b"[" * 5000,
        b"9" * 5000,
        b'{"i": 1',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*odd, json.dumps(good).encode(), *odd]))
    assert read_lines(tmp_path / "a.jsonl", {"i": int, "name": str}) == [good]


def test_a_link_takes_the_place_of_any_file_and_leaves_no_other(tmp_path: Path) -> None:
    """Renaming one name of a file to another does nothing, and would leave both."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    for _ in range(2):
        link(source, target)
        assert target.read_text() == "new" and sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_what_a_kill_leaves_of_a_write_is_removed(tmp_path: Path) -> None:
    def killed() -> None:
        with replace_atomically(tmp_path / "file") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    process = CONTEXT.Process(target=killed)
    process.start()
    process.join()
    (tmp_path / ".kept").touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_temporary(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".kept"]
