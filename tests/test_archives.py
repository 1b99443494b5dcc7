"""Archives that claim more than they hold, or hold what isn't ours: a line, and no memory."""

from __future__ import annotations

import io
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from domaingap.archives import read_arrays
from domaingap.errors import UserError
from domaingap.paths import expand
from domaingap.predictions import save_predictions
from tests.conftest import Answer
from tests.fuzz.mutate import Payload
from tests.fuzz.seeds import BLOCK, add_bomb, deflated_zeros
from tests.study.records import run_record
from tests.test_predictions import predictions


def member(header: str, content: bytes = b"") -> bytes:
    """An array's file behind a header of our own."""
    text = (header + " " * (-(len(header) + 13) % 64) + "\n").encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + content


def archive(path: Path, members: list[tuple[str, bytes]], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Payload()], dtype=object), allow_pickle=True)
    return file.getvalue()


RIGHT = member("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", np.arange(2.0).tobytes())


def test_arrays_are_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", [("a.npy", RIGHT), ("b/c.npy", RIGHT)])
    arrays = read_arrays(path, "arrays", "make it anew")
    assert list(arrays) == ["a", "b/c"] and arrays["a"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.npy", member("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"))], "isn't what it holds"),
        (
            [("a.npy", member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2)}", b"x" * 16))],
            "isn't what it holds",
        ),
        ([("a.npy", member("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x" * 8))], "isn't what it holds"),
        ([("a.npy", objects())], "isn't what it holds"),
        ([("a.npy", member("(" * 300))], ""),
        ([("a.npy", b"not an array")], "magic string"),
        ([("a.npy", RIGHT), ("a.npy", RIGHT)], "the same name stands twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_no_array_of_ours_is(tmp_path: Path, members: list[tuple[str, bytes]], said: str) -> None:
    path = archive(tmp_path / "x.npz", members)
    with pytest.raises(UserError, match=rf"x\.npz: can't be read as arrays .*{said}.*make it anew"):
        read_arrays(path, "arrays", "make it anew")


def test_a_bomb_is_never_unpacked(tmp_path: Path) -> None:
    head = member(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({80 * BLOCK},)}}")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        add_bomb(file, "a.npy", deflated_zeros(head))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="claims to hold far more than its size allows"):
        read_arrays(tmp_path / "x.npz", "arrays", "make it anew")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"


def test_other_ways_of_packing_are_refused(tmp_path: Path) -> None:
    # A member says how much memory LZMA takes to unpack it.
    with pytest.raises(UserError, match="packed in a way that isn't ours"):
        read_arrays(archive(tmp_path / "x.npz", [("a.npy", RIGHT)], zipfile.ZIP_LZMA), "arrays", "make it anew")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


def _other_points(path: Path) -> None:
    with np.load(path) as arrays:
        np.savez_compressed(path, **{**arrays, "common/truth": arrays["common/truth"][:, :51]})


def _fewer_names(path: Path) -> None:
    with np.load(path) as arrays:
        np.savez_compressed(path, **{**arrays, "common/names": arrays["common/names"][:-1]})


def _without_truth(path: Path) -> None:
    with np.load(path) as arrays:
        np.savez_compressed(path, **{name: array for name, array in arrays.items() if name != "common/truth"})


def _in_one_place(path: Path) -> None:
    with np.load(path) as arrays:
        np.savez_compressed(path, **{**arrays, "common/truth": arrays["common/truth"] * 0})


def _not_finite(path: Path) -> None:
    with np.load(path) as arrays:
        np.savez_compressed(path, **{**arrays, "common/truth": arrays["common/truth"] * np.nan})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "cut off or damaged"),
        (_flip, ""),
        (_other_points, "common/truth is float64 (5, 51, 2)"),
        (_fewer_names, "common/photographs is <U5 (5,)"),
        (_without_truth, "no common/truth"),
        (_not_finite, "common/truth isn't finite"),
        (_in_one_place, "the outer_eye_corners length of a face is zero"),
    ],
)
def test_damaged_predictions_are_named_by_the_command(
    damage: Callable[[Path], None], said: str, tmp_path: Path, cli: Callable[..., Answer]
) -> None:
    run_record(folder=tmp_path).write()
    path = tmp_path / "predictions.npz"
    save_predictions(path, {"common": predictions(5)})
    assert "common, 5 images" in cli("evaluate", tmp_path, "--on", "common", "--from_predictions").out
    damage(path)
    answer = cli("evaluate", tmp_path, "--on", "common", "--from_predictions")
    assert answer.code == 2 and answer.err.count("\n") == 1 and said in answer.err
    assert f"{path}: can't be read as predictions (" in answer.err and "give the run's command again" in answer.err


def test_long_messages_keep_both_ends() -> None:
    assert str(UserError("short")) == "short"
    text = str(UserError("a.txt:3: expected a number, found " + "9" * 100_000 + "; fetch it again"))
    assert text.startswith("a.txt:3: ") and text.endswith("; fetch it again") and len(text) < 1_100


def test_half_a_character_is_no_path() -> None:
    with pytest.raises(UserError, match="no file system takes such a name"):
        expand("runs/\ud800")
