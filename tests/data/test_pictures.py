"""Picture files in every form that people have them: right values, or one line that names the file and the cause."""

from __future__ import annotations

import io
import os
import resource
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from domaingap.data.images import MAX_PIXELS, picture_size, read_picture, read_rgb
from domaingap.errors import DataError
from tests.conftest import unprivileged

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
GRAY = RGB[..., 0]
WIDE = (GRAY.astype(np.uint16) << 8) + RNG.integers(0, 256, GRAY.shape, dtype=np.uint16)
"""16 bit: the high byte is GRAY's."""


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, before: bytes = b"") -> bytes:
    """A PNG made by hand: what Pillow can't write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + before + body


def wide_rgb() -> bytes:
    high = RGB.astype(">u2") * 256 + 99
    return png((10, 12), 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in high))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".gif", ".jpg"])
def test_an_ordinary_picture(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    image = Image.fromarray(RGB).quantize(256) if suffix == ".gif" else Image.fromarray(RGB)
    path = saved(tmp_path / f"x{suffix}", image, **options)
    assert picture_size(path) == (10, 12)
    read = read_picture(path)
    assert read.pixels.shape == RGB.shape and read.pixels.dtype == np.uint8 and read.doubts == ()
    if suffix not in (".jpg", ".gif"):
        np.testing.assert_array_equal(read.pixels, RGB)


def test_a_picture_is_read_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(RGB).save(path, "png")
    np.testing.assert_array_equal(read_rgb(path), RGB)


def test_sixteen_bits_become_eight_by_the_types_range(tmp_path: Path) -> None:
    for name in ("x.png", "x.tif"):
        path = saved(tmp_path / name, Image.fromarray(WIDE))
        np.testing.assert_array_equal(read_rgb(path), as_rgb(GRAY))
    (tmp_path / "rgb.png").write_bytes(wide_rgb())
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgb.png"), RGB)
    dark = saved(tmp_path / "dark.png", Image.fromarray(WIDE >> 4))
    assert read_picture(dark).doubts == ("16-bit picture that uses less than a sixteenth of its range",)


def test_one_bit_palette_and_cmyk(tmp_path: Path) -> None:
    bits = GRAY > 128
    one = saved(tmp_path / "one.png", Image.fromarray(bits))
    np.testing.assert_array_equal(read_rgb(one), as_rgb(bits.astype(np.uint8) * 255))
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(read_rgb(saved(tmp_path / "p.png", palette)), np.asarray(palette.convert("RGB")))
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(read_rgb(saved(tmp_path / "c.jpg", flat)).astype(int) - (255, 0, 0)).max() < 8


def test_transparency_is_left_out_and_said(tmp_path: Path) -> None:
    alpha = np.full(GRAY.shape, 255, np.uint8)
    opaque = saved(tmp_path / "opaque.png", Image.fromarray(np.dstack([RGB, alpha])))
    assert read_picture(opaque).doubts == ()
    alpha[3, 3] = 40
    seen = read_picture(saved(tmp_path / "seen.png", Image.fromarray(np.dstack([RGB, alpha]))))
    np.testing.assert_array_equal(seen.pixels, RGB)
    assert seen.doubts == ("transparency ignored (colours are taken as stored)",)
    palette = Image.fromarray(RGB).quantize(16)
    assert (
        read_picture(saved(tmp_path / "p.png", palette, transparency=int(np.asarray(palette)[0, 0]))).doubts == seen.doubts
    )
    assert read_picture(saved(tmp_path / "la.png", Image.fromarray(np.dstack([GRAY, alpha])))).doubts == seen.doubts


def test_exif_orientation_is_ignored_and_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "x.png", Image.fromarray(RGB), exif=exif)
    read = read_picture(path)
    np.testing.assert_array_equal(read.pixels, RGB)
    assert read.doubts == ("EXIF orientation ignored (points are taken in stored pixels)",)
    broken = saved(tmp_path / "broken.jpg", Image.fromarray(RGB), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_picture(broken).doubts == (), "metadata that nothing depends on"


def animated(path: Path) -> Path:
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    return saved(path, frames[0], save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_several_pictures_in_a_file_are_refused(tmp_path: Path, suffix: str) -> None:
    path = animated(tmp_path / f"x{suffix}")
    with pytest.raises(DataError, match=r"holds 2 pictures \(frames or pages\); save the one"):
        read_rgb(path)


def test_previews_of_a_camera_are_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[Image.fromarray(RGB[:6, :5].copy())])
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert read_rgb(path).shape == RGB.shape


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (Image.fromarray(GRAY.astype(np.float32)), "32-bit float pixels"),
        (Image.fromarray(GRAY.astype(np.int32)), "32-bit integer pixels"),
        (Image.new("LAB", (10, 12)), "Lab pixels"),
    ],
)
def test_pixels_without_a_known_white_are_refused(tmp_path: Path, image: Image.Image, problem: str) -> None:
    with pytest.raises(DataError, match=f"x.tif: has {problem}; save it as 8-bit"):
        read_rgb(saved(tmp_path / "x.tif", image))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def crushed(path: Path) -> None:
    cgbi = struct.pack(">I", 4) + b"CgBI" + b"\x50\x00\x20\x06" + struct.pack(">I", zlib.crc32(b"CgBI\x50\x00\x20\x06"))
    path.write_bytes(png((10, 12), 8, 2, b"\0" * 31 * 12, before=cgbi))


def folder(path: Path) -> None:
    path.mkdir()


def nowhere(path: Path) -> None:
    path.symlink_to("/nowhere/at/all.jpg")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        os.chdir(path.parent)  # a socket's name is short
        end.bind(path.name)


def no_pixels(path: Path) -> None:
    path.write_bytes(png((0, 12), 8, 2, b""))


def postscript(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/tmp/ran) (w) file\n")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "no such file"),
        (empty, "is empty; copy or fetch"),
        (
            text(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
            "pointer of Git LFS, no picture; run git lfs pull",
        ),
        (text(b"<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
        (text(b"GARBAGE" * 100), "can't be decoded"),
        (postscript, "can't be decoded"),
        (crushed, r"Apple's own form of PNG \(CgBI\)"),
        (no_pixels, "can't be decoded|has 0 x 12 pixels"),
        (folder, "is a folder, where a file is expected; move it"),
        (nowhere, "is a link to nowhere .*/nowhere/at/all.jpg.; bring back"),
        (pipe, "neither a file nor a folder"),
        (bound_socket, "neither a file nor a folder"),
    ],
)
def test_what_is_no_picture_is_named(
    tmp_path: Path, make: Callable[[Path], None], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.jpg"
    make(path)
    for read in (read_rgb, picture_size):
        with pytest.raises(DataError, match=problem) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_a_picture_without_permission_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(RGB))
    path.chmod(0)
    with unprivileged(tmp_path), pytest.raises(DataError, match="you may not read it; allow it: chmod"):
        read_rgb(path)


def outcome(path: Path) -> str:
    """What is said of a picture; nothing else may be raised."""
    try:
        read_picture(path)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_every_cut_and_every_flipped_byte_is_named_or_read(tmp_path: Path, kind: str) -> None:
    whole = io.BytesIO()
    Image.fromarray(RGB).save(whole, kind)
    content = whole.getvalue()
    path = tmp_path / "x"
    for cut in range(0, len(content) - 1, max(1, len(content) // 40)):
        path.write_bytes(content[:cut])
        assert "\n" not in outcome(path)
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        assert "\n" not in outcome(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="x: can't be decoded"):
        read_rgb(path)


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 9_000), (MAX_PIXELS + 1, 1)])
def test_a_bomb_is_named_with_its_size_and_the_limit(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(size, 1, 0, b"\0" * 10_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_rgb, picture_size):
        with pytest.raises(
            DataError, match=f"x.png: has [0-9, x]+ pixels, more than the {MAX_PIXELS:,} that are read; make it"
        ):
            read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB: nothing was decoded"


def test_a_line_of_pixels_is_a_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.new("RGB", (1, 5000)))
    assert picture_size(path) == (1, 5000) and read_rgb(path).shape == (5000, 1, 3)


def test_odd_metadata_prints_nothing(tmp_path: Path) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[270] = "described"
    saved(tmp_path / "x.tif", Image.fromarray(RGB), tiffinfo=info)
    Image.fromarray(RGB).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x40\0")
    program = (
        "import sys, pathlib; from domaingap.data.images import read_rgb\nfor p in sys.argv[1:]: read_rgb(pathlib.Path(p))"
    )
    paths = [str(tmp_path / name) for name in ("x.tif", "x.jpg")]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
