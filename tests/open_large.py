"""How long a prepared part of 100,000 faces takes to open: ``python -m tests.open_large``, in about three minutes.

Tiny pictures in FaceSynthetics' layout, with the masks that aren't read: what is measured is looking at 300,000 files and
finding the crops, not the pictures.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np

from domaingap.config import CropConfig
from domaingap.data.prepare import prepare_part
from domaingap.data.readers import open_reader
from tests.conftest import make_face


def main() -> None:
    """Write the files, prepare them once, then open them a few times and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100_000, help="faces (100000)")
    n = parser.parse_args().n
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder = root / "face_synthetics"
        folder.mkdir()
        image, points = make_face(np.random.default_rng(0), side=32)
        picture = io.BytesIO()
        image.save(picture, "png")
        text = "".join(f"{x:.3f} {y:.3f}\n" for x, y in [*points, *points[36:38]])
        for i in range(n):
            (folder / f"{i:06d}.png").write_bytes(picture.getvalue())
            (folder / f"{i:06d}_seg.png").write_bytes(b"")
            (folder / f"{i:06d}_ldmks.txt").write_text(text)
        crop = CropConfig(size=16, box="landmarks")
        for what in ("prepared", *["opened"] * 5):
            began = time.monotonic()
            prepare_part(open_reader("face_synthetics", root), "all", crop, root / "p", workers=1)
            print(f"{n:,} faces {what} in {time.monotonic() - began:.2f} s", flush=True)


if __name__ == "__main__":
    main()
