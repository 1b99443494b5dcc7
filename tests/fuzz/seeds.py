"""Small valid files of every kind, made once: what the damage is done to."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import write_300w, write_dgfaces, write_face_synthetics, write_pts, write_synthface

RUN_OPTIONS = (
    "--real.n_val=6", "--crop.size=32", "--crop.box=landmarks", "--model.backbone=test_resnet", "--fit.steps=4",
    "--fit.val_every=2", "--fit.batch_size=4", "--fit.precision=32", "--wandb.mode=off",
)  # fmt: skip
CUT = ("--box", "landmarks", "--size", "32", "--workers", "1")
"""Of ``data prepare``: no detector, small crops, one process."""
BLOCK = 1 << 24


def make_seeds(work: Path) -> Path:
    """The folder of seeds below ``work``, made where it isn't there."""
    seeds = work / "seeds"
    _import()
    if (seeds / "done").is_file():
        return seeds
    # In a child: whoever has trained can't fork any more, as torch's threads don't follow.
    child = os.fork()
    if child == 0:
        try:
            _make(seeds)
            (seeds / "done").touch()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if not (seeds / "done").is_file():
        raise RuntimeError("the seeds can't be made")
    return seeds


def _import() -> None:
    """What commands import, once: the children that are forked find it there."""
    for name in ("data", "evaluate", "generate", "report", "run", "sweep"):
        importlib.import_module(f"experiments.commands.{name}")
    importlib.import_module("domaingap.data.render")
    importlib.import_module("domaingap.study.run")


def call(*arguments: object) -> int:
    """A command, quietly; its exit code."""
    from experiments.__main__ import main

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            main([str(argument) for argument in arguments])
    except SystemExit as exit:
        code = int(exit.code or 0)
    if code:
        print(said.getvalue())
    return code


def _make(seeds: Path) -> None:
    os.environ["WANDB_MODE"] = "disabled"
    data = seeds / "data"
    data.mkdir(parents=True, exist_ok=True)
    truth = write_300w(data / "300w")
    write_face_synthetics(data / "face_synthetics")
    write_dgfaces(data / "dgfaces", n=2)
    write_synthface(data / "synth_face", identities=2, frames=1)
    # Two faces of each format: one stays whole.
    few = seeds / "few" / "300w" / "afw"
    few.mkdir(parents=True)
    for name, source in (("a", "afw/101_1"), ("b", "afw/102_1")):
        Image.open(data / "300w" / f"{source}.jpg").save(few / f"{name}.png")
        write_pts(few / f"{name}.pts", truth[source])
    synthetic = seeds / "few" / "face_synthetics"
    write_face_synthetics(synthetic, n=2)
    _version_1(data / "dgfaces" / "datapoint_00001" / "camera" / "key_points" / "face_standard_key_points.json", seeds)
    _pictures(seeds / "pictures", few / "b.png")
    _prepared(seeds, data)
    runs = (f"--data_root={data}", f"--prepared_dir={seeds / 'prepared'}", f"--runs_dir={seeds / 'runs'}", *RUN_OPTIONS)
    assert call("run", "label_adaptation", *runs, "--adapter.kind=linear") == 0
    assert call("run", "real_only", *runs) == 0
    for name in ("label_adaptation", "real_only"):
        found = next(p.parent for p in (seeds / "runs").glob(f"{name}-*/result.json"))
        (seeds / name).symlink_to(found)
    _resume(seeds, data)
    assert call("data", "generate", "--n", 1, "--size", 32, "--out", seeds / "generated", "--workers", 1) == 0
    head = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (80 * BLOCK,)}
    np.lib.format.write_array_header_2_0(head, about)
    (seeds / "bomb.npy.z").write_bytes(deflated_zeros(head.getvalue()))
    (seeds / "bomb.raw.z").write_bytes(deflated_zeros())


def _version_1(path: Path, seeds: Path) -> None:
    standard = json.loads(path.read_text())["face"]["standard"]
    points = {str(int(key)): [at["pixel_2d"]["x"], at["pixel_2d"]["y"]] for key, at in standard.items()}
    (seeds / "dgfaces_v1.json").write_text(json.dumps({"standard": {"keypoints_2d_coordinates": points}}))


def _pictures(folder: Path, source: Path) -> None:
    """A picture in every format that Pillow writes, and in the modes that matter."""
    folder.mkdir()
    rgb = Image.open(source).convert("RGB").resize((64, 64))
    alpha = rgb.copy()
    alpha.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = rgb.quantize(16)
    frames = [palette.rotate(90), palette.rotate(180)]
    gray16 = Image.fromarray((np.asarray(rgb.convert("L"), dtype=np.uint16) * 257).copy())
    icc = b"\x00" * 36 + b"acsp" + b"\x00" * 200
    made: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "rgb.png": (rgb, "PNG", {}), "gray.png": (rgb.convert("L"), "PNG", {}), "rgba.png": (alpha, "PNG", {}),
        "la.png": (alpha.convert("LA"), "PNG", {}), "one.png": (rgb.convert("1"), "PNG", {}),
        "palette.png": (palette, "PNG", {"transparency": b"\x00\x80\xff"}), "i16.png": (gray16, "PNG", {}),
        "icc.png": (rgb, "PNG", {"icc_profile": icc}), "exif.png": (rgb, "PNG", {"exif": exif}),
        "animated.png": (rgb, "PNG", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "rgb.jpg": (rgb, "JPEG", {}), "gray.jpg": (rgb.convert("L"), "JPEG", {}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),        "progressive.jpg": (rgb, "JPEG", {"progressive": True}),
        "exif.jpg": (rgb, "JPEG", {"exif": exif, "icc_profile": icc}),
        "one.gif": (palette, "GIF", {}), "animated.gif": (palette, "GIF", {"save_all": True, "append_images": frames}),
        "rgb.tif": (rgb, "TIFF", {}), "lzw.tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tif": (rgb, "TIFF", {"compression": "tiff_deflate"}), "i16.tif": (gray16, "TIFF", {}),
        "jpeg.tif": (rgb, "TIFF", {"compression": "jpeg"}), "f.tif": (rgb.convert("F"), "TIFF", {}),
        "many.tif": (rgb, "TIFF", {"save_all": True, "append_images": [rgb, rgb]}),
        "rgb.bmp": (rgb, "BMP", {}), "rgb.webp": (rgb, "WEBP", {}), "rgb.eps": (rgb, "EPS", {}), "rgb.ico": (rgb, "ICO", {}),
        "rgb.icns": (rgb.resize((16, 16)), "ICNS", {}), "rgb.ppm": (rgb, "PPM", {}), "rgb.tga": (rgb, "TGA", {}),
        "rgb.pcx": (rgb, "PCX", {}), "rgb.sgi": (rgb, "SGI", {}), "rgb.dds": (rgb, "DDS", {}),
        "rgb.jp2": (rgb, "JPEG2000", {}),
        "rgb.avif": (rgb, "AVIF", {}), "rgb.im": (rgb, "IM", {}), "rgb.qoi": (rgb, "QOI", {}), "rgb.mpo": (rgb, "MPO", {}),
        "rgb.pdf": (rgb, "PDF", {}), "one.xbm": (rgb.convert("1"), "XBM", {}), "one.msp": (rgb.convert("1"), "MSP", {}),
        "rgb.spider": (rgb.convert("F"), "SPIDER", {}), "rgb.blp": (palette, "BLP", {}),
    }  # fmt: skip
    for name, (image, format, options) in made.items():
        try:
            image.save(folder / name, format, **options)
        except (OSError, KeyError, ValueError) as error:
            (folder / name).unlink(missing_ok=True)
            print(f"no seed {name}: {error}")
    # An EPS that says what Ghostscript would do, and formats that Pillow reads but doesn't write.
    (folder / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n")
    psd = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 16, 16, 8, 3) + struct.pack(">III", 0, 0, 0) + struct.pack(">H", 0)
    (folder / "rgb.psd").write_bytes(psd + b"\x80" * (16 * 16 * 3))
    (folder / "rgb.xpm").write_text(
        '/* XPM */\nstatic char *x[] = {\n"2 2 2 1",\n"a c #ff0000",\n"b c #00ff00",\n"ab",\n"ba"\n};\n'
    )
    (folder / "text.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    _bombs(folder)


def png(width: int, height: int, data: bytes, depth: int = 8, color: int = 0, more: bytes = b"") -> bytes:
    """A PNG of what ``data`` inflates to."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _bombs(folder: Path) -> None:
    """Small files that claim, or are, large pictures."""
    rows = zlib.compressobj(1)
    large = b"".join(rows.compress(b"\x00" * 12_001) for _ in range(12_000)) + rows.flush()
    (folder / "bomb_144m.png").write_bytes(png(12_000, 12_000, large))
    (folder / "bomb_claims.png").write_bytes(png(60_000, 60_000, zlib.compress(b"\x00" * 1000)))
    (folder / "bomb_below.png").write_bytes(png(13_000, 13_000, zlib.compress(b"\x00" * 1000), 16, 6))
    (folder / "bomb_huge.png").write_bytes(png(2**31 - 1, 2**31 - 1, b""))
    text = zlib.compress(b"x" * (80 << 20), 9)
    body = b"key\x00\x00" + text
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    (folder / "bomb_text.png").write_bytes(png(16, 16, zlib.compress(b"\x00" * 17 * 16), more=chunk))
    bmp = bytearray((folder / "rgb.bmp").read_bytes())
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    (folder / "bomb.bmp").write_bytes(bytes(bmp))
    gif = bytearray((folder / "one.gif").read_bytes())
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    (folder / "bomb.gif").write_bytes(bytes(gif))
    (folder / "bomb.ppm").write_bytes(b"P6 50000 50000 255\n" + b"\x00" * 100)


def _prepared(seeds: Path, data: Path) -> None:
    """A prepared part, one that isn't finished, and one whose boxes a detector found."""
    few = seeds / "few"
    assert call("data", "prepare", "--data_root", few, "--source", "300w", "--prepared_dir", seeds / "part", *CUT) == 0
    files = seeds / "part" / "300w" / "afw"
    made = next(files.glob("crops-*"))
    index = np.load(made / "index.npz")
    rows = [
        {"i": i, "name": str(index["names"][i]), "picture": str(index["pictures"][i]), "face": f"{i}", "source": "landmarks",
         "box": index["boxes"][i].tolist(), "size": index["image_sizes"][i].tolist(), "doubts": []}
        for i in range(len(index["names"]))
    ]  # fmt: skip
    (seeds / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = ("--source", "300w", "--prepared_dir", seeds / "detected", "--size", "32", "--workers", "1")
    assert call("data", "prepare", "--data_root", few, *whole) == 0


def _resume(seeds: Path, data: Path) -> None:
    """What a killed training leaves."""
    from tests.fuzz.kinds import start_training

    folder = seeds / "training"

    def stop(point: dict[str, float]) -> None:
        if point["step"] >= 4:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        start_training(seeds, folder, stop)
    assert (folder / "resume.ckpt").is_file()


def deflated_zeros(head: bytes = b"", blocks: int = 80) -> bytes:
    """80 blocks of 16 MiB of zeros (more than is allowed) as a zip member holds them, with no checksum that fits."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # Behind a full flush nothing refers to what was before: the block can be repeated as it is.
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return struct.pack("<II", 0, len(head) + blocks * BLOCK) + first + block * blocks + packer.flush()


def add_bomb(file: zipfile.ZipFile, name: str, packed: bytes) -> None:
    """Put what :func:`deflated_zeros` made into an archive, without packing it again."""
    crc, size = struct.unpack("<II", packed[:8])
    info = zipfile.ZipInfo(name)
    info.compress_type, info.CRC, info.file_size, info.compress_size = zipfile.ZIP_DEFLATED, crc, size, len(packed) - 8
    assert file.fp is not None
    info.header_offset = file.start_dir
    file.fp.seek(file.start_dir)
    file.fp.write(info.FileHeader(False))
    file.fp.write(packed[8:])
    file.start_dir = file.fp.tell()
    file._didModify = True  # type: ignore[attr-defined]
    file.filelist.append(info)
    file.NameToInfo[name] = info
