"""Small clips in 300-VW's layout."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np

from tests.conftest import make_face, write_pts


def write_clip(
    folder: Path, frames: int = 12, annotated: Collection[int] | None = None, seed: int = 0
) -> dict[int, np.ndarray]:
    """A face that moves steadily to the right; returns the true points by frame, from 1.

    Args:
        folder: the clip's, such as ``300vw/223``.
        frames: how many.
        annotated: numbers of those that get a ``.pts``; all by default.
        seed: of the face.
    """
    image, points = make_face(np.random.default_rng(seed))
    still = np.asarray(image)[..., ::-1]
    (folder / "annot").mkdir(parents=True)
    writer = cv2.VideoWriter(str(folder / "vid.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 96))
    truth = {}
    for number in range(1, frames + 1):
        frame = np.full((96, 128, 3), 90, dtype=np.uint8)
        frame[:, number : number + 96] = still
        writer.write(frame)
        truth[number] = points + [number, 0]
    writer.release()
    for number in annotated if annotated is not None else truth:
        write_pts(folder / "annot" / f"{number:06d}.pts", truth.get(number, points))
    return truth
