"""``python -m tests.inference.follow_clips RUN``: how well faces are followed, on the clips and on clips made from several.

For each clip: NME of the followed faces beside that of the same network in the boxes that MTCNN finds in every frame, on
the frames where both have the face; the longest stretch in which somebody who can be seen is lost; whether everybody keeps
one number; how often the detector was asked; frames per second without decoding. It ends with 1 where a demand isn't met.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.boxes import MIN_IOU, box_from_landmarks, iou
from domaingap.data.readers.ibug300vw import find_clips
from domaingap.inference.predictor import Face, FacePredictor
from domaingap.inference.sources import Video
from domaingap.inference.tracker import Tracker, TrackerConfig
from tests.inference.clips import FPS, Shown, nme

WORSE = 1.10
"""NME of followed faces over that in the detector's boxes, at most."""


def read_clips(data_root: Path, n: int | None = None) -> dict[str, list[Shown]]:
    """The first n frames of each clip below ``data_root/300vw``, by its name; its face is called as the clip."""
    clips = {}
    for clip in find_clips(data_root, "300vw").clips:
        truth, _ = clip.landmarks()
        video = Video(str(clip.video), path=clip.video).open()
        clips[clip.name] = [
            Shown(frame.pixels, {clip.name: truth[frame.number + 1]})
            for frame in video.frames()
            if frame.number + 1 in truth and (n is None or frame.number < n)
        ]
    return clips


def made_of(clips: dict[str, list[Shown]]) -> dict[str, list[Shown]]:
    """Clips made from several: shots that change and change back, two people, a face that leaves the picture and comes back,
    one that a board covers."""
    (a, first), (b, second), (c, third), *_ = clips.items()
    n = len(first) // 3
    cuts = [*first[:n], *second[:n], *third[:n], *first[n : 2 * n], *second[n : 2 * n], *first[2 * n :]]
    two = [
        Shown(
            np.hstack([left.pixels, right.pixels]),
            {**left.truth, b: right.truth[b] + [left.pixels.shape[1], 0]},
        )
        for left, right in zip(first, second, strict=False)
    ]
    width = first[0].pixels.shape[1]
    way = [width * 1.1 * np.sin(np.pi * i / (len(third) - 1)) ** 2 for i in range(len(third))]
    covered = range(n, n + max(1, n // 2))
    return {
        f"cuts: {a}, {b}, {c}, {a}, {b}, {a}": cuts,
        f"two people: {a}, {b}": two,
        f"away and back: {c}": [_moved(frame, round(x)) for frame, x in zip(third, way, strict=True)],
        f"covered for {len(covered)} frames: {a}": [_covered(f, a) if i in covered else f for i, f in enumerate(first)],
    }


def _moved(frame: Shown, by: int) -> Shown:
    """A frame moved to the right; who isn't wholly in the picture any more isn't looked for."""
    pixels = np.full_like(frame.pixels, 110)
    width = pixels.shape[1]
    if by < width:
        pixels[:, by:] = frame.pixels[:, : width - by]
    moved = {name: points + [by, 0] for name, points in frame.truth.items()}
    return Shown(pixels, {name: points for name, points in moved.items() if points[:, 0].max() < width})


def _covered(frame: Shown, name: str) -> Shown:
    pixels, points = frame.pixels.copy(), frame.truth[name]
    (x0, y0), (x1, y1) = points.min(axis=0).astype(int).tolist(), points.max(axis=0).astype(int).tolist()
    high = (y1 - y0) // 2
    cv2.rectangle(pixels, (x0 - 10, y0 - high), (x1 + 10, y1 + 10), (70, 90, 60), -1)
    return Shown(pixels, {})


@dataclass(frozen=True)
class Followed:
    """What following a clip gave.

    Attributes:
        nme: of followed faces, and of those in the detector's boxes, both in % of the distance of the outer eye corners.
        both: faces that have both.
        lost: the longest stretch of frames in which somebody who can be seen had no face.
        missed: likewise of the detector in every frame, which nobody can do better than by following.
        numbers: of each person.
        asked: how often the detector was asked.
        frames: in all.
        fps: frames per second.
    """

    nme: tuple[float, float]
    both: int
    lost: int
    missed: int
    numbers: dict[str, set[int]]
    asked: int
    frames: int
    fps: float

    def problems(self, every: int) -> list[str]:
        """Which demands aren't met."""
        own = [number for numbers in self.numbers.values() for number in numbers]
        return [
            *(["NME"] if not self.nme[0] <= WORSE * self.nme[1] else []),
            *(["lost"] if self.lost > every else []),
            *(["numbers"] if len(own) != len(set(own)) or any(len(of) != 1 for of in self.numbers.values()) else []),
        ]


def follow(frames: Sequence[Shown], predictor: FacePredictor, settings: TrackerConfig) -> Followed:
    """Follow the faces of a clip, and look for them in every frame."""
    tracker = Tracker(predictor, settings)
    began = time.perf_counter()
    tracked = [tracker(frame.pixels, i / FPS) for i, frame in enumerate(frames)]
    fps = len(frames) / (time.perf_counter() - began)
    detected = [predictor.predict(frame.pixels) for frame in frames]
    numbers: dict[str, set[int]] = {}
    errors: list[tuple[float, float]] = []
    gaps: dict[tuple[str, int], int] = defaultdict(int)
    longest = [0, 0]
    for frame, *faces in zip(frames, tracked, detected, strict=True):
        for name, points in frame.truth.items():
            found = [_of(some, points) for some in faces]
            for k, face in enumerate(found):
                gaps[name, k] = 0 if face is not None else gaps[name, k] + 1
                longest[k] = max(longest[k], gaps[name, k])
            numbers.setdefault(name, set()).update({found[0].track or 0} if found[0] is not None else set())
            if found[0] is not None and found[1] is not None:
                errors.append((nme(found[0].landmarks, points), nme(found[1].landmarks, points)))
        for name, k in list(gaps):
            if name not in frame.truth:
                gaps[name, k] = 0
    followed, in_boxes = np.mean(errors, axis=0).tolist() if errors else (np.nan, np.nan)
    asked = tracker.tally.detections
    return Followed((followed, in_boxes), len(errors), longest[0], longest[1], numbers, asked, len(frames), fps)


def _of(faces: Sequence[Face], truth: NDArray[Any]) -> Face | None:
    """The face whose landmarks' box overlaps that of the true ones most, as clips are scored."""
    expected = box_from_landmarks(truth)
    overlaps = [iou(face.box, expected) for face in faces]
    return faces[int(np.argmax(overlaps))] if overlaps and max(overlaps) >= MIN_IOU else None


def measure(
    clips: dict[str, list[Shown]], predictor: FacePredictor, settings: TrackerConfig, say: Callable[[str], None] = print
) -> bool:
    """Print a line a clip; returns whether all demands are met."""
    say(f"{'clip':<40} NME followed / MTCNN  ratio  faces  lost (MTCNN)  numbers  asked / frames  fps")
    good = True
    for name, frames in clips.items():
        found = follow(frames, predictor, settings)
        numbers = " ".join(",".join(map(str, sorted(of))) or "-" for of in found.numbers.values())
        a, b = found.nme
        problems = found.problems(settings.every)
        good &= not problems
        lost = f"{found.lost:4} ({found.missed:5})"
        say(
            f"{name:<40} {a:12.2f} / {b:5.2f}  {a / b:5.2f}  {found.both:5}  {lost}  {numbers:>7} "
            f" {found.asked:5} / {found.frames:6}  {found.fps:3.0f}"
            + (f"  NOT MET: {', '.join(problems)}" if problems else "")
        )
    return good


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder, a .ckpt or an .onnx")
    parser.add_argument("--data_root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--every", type=int, default=TrackerConfig().every)
    parser.add_argument("--frames", type=int, help="of each clip (all)")
    arguments = parser.parse_args()
    from domaingap.inference.model import load_model

    predictor = FacePredictor(load_model(arguments.run))
    clips = read_clips(arguments.data_root, arguments.frames)
    good = measure({**clips, **made_of(clips)}, predictor, TrackerConfig(every=arguments.every))
    print("all demands met" if good else "demands not met")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
