"""Clips with known landmarks: faces that are moved over a background, enter, leave, are covered, and shots that change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 480, 360, 25.0
Path_ = Callable[[int], tuple[float, float, float, float]]
"""From a frame's number to where a face is: centre x and y, size in pixels, roll in radians."""


@dataclass(frozen=True)
class Still:
    """A picture RGB [H, W, 3] of a person and the landmarks [68, 2] in it."""

    person: str
    pixels: NDArray[np.uint8]
    points: NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """A frame RGB, and the landmarks of those that can be seen in it, by person."""

    pixels: NDArray[np.uint8]
    truth: dict[str, NDArray[np.float64]]


def photographs(root: Path, n: int) -> list[Still]:
    """The first n photographs of HELEN's test set with one face well inside."""
    from domaingap.data.images import read_rgb
    from domaingap.data.readers.text import parse_points, read_lines

    stills = []
    for path in sorted((root / "300w" / "helen" / "testset").glob("*.pts")):
        lines = [line for line in read_lines(path) if line[1][0].isdigit() or line[1][0] == "-"]
        points = parse_points(path, lines, 68) - 1
        pixels = read_rgb(next(file for file in path.parent.glob(f"{path.stem}.*") if file.suffix != ".pts"))
        stills.append(Still(path.stem, pixels, points))
        if len(stills) == n:
            break
    return stills


@cache
def drawn(n: int) -> list[Still]:
    """The first n drawn faces of a seed."""
    from domaingap.data.generated import Dials, FaceGenerator

    generator = FaceGenerator("target", 5, Dials(1.0, 1.0, 1.0))
    faces = [generator.photograph(i, 256) for i in range(n)]
    return [Still(f"drawn{i}", face.image, face.landmarks_r[:68]) for i, face in enumerate(faces)]


def still_at(x: float = WIDTH / 2, y: float = HEIGHT / 2, size: float = 130.0) -> Path_:
    """A face that doesn't move."""
    return lambda i: (x, y, size, 0.0)


def swaying(
    x: float = WIDTH / 2, y: float = HEIGHT / 2, size: float = 130.0, reach: float = 30.0, period: int = 50
) -> Path_:
    """A face that moves to and fro, nods, turns and comes nearer."""

    def at(i: int) -> tuple[float, float, float, float]:
        t = 2 * np.pi * i / period
        return x + reach * np.sin(t), y + 0.4 * reach * np.sin(2 * t), size * (1 + 0.1 * np.sin(t / 2)), 0.15 * np.sin(t)

    return at


def crossing(speed: float, start: float, y: float = HEIGHT / 2, size: float = 130.0, turn: int | None = None) -> Path_:
    """A face that moves sideways, and from frame ``turn`` on back again."""
    return lambda i: (start + speed * (i if turn is None or i <= turn else 2 * turn - i), y, size, 0.0)


def shot(
    n: int,
    people: Sequence[tuple[Still, Path_]],
    seed: int = 0,
    covered: range = range(0),
    noise: float = 2.0,
    shade: int = 110,
) -> list[Shown]:
    """n frames with people in front of a background of one shot.

    Args:
        n: frames.
        people: and where they are.
        seed: of background and noise.
        covered: frames in which a board hides the first person's face.
        noise: standard deviation of the sensor's noise.
        shade: of the background.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.integers(shade - 50, shade + 50, (9, 12, 3)).astype(np.uint8)
    background = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    shots = []
    for i in range(n):
        frame = background.copy()
        truth = {}
        for k, (still, path) in enumerate(people):
            x, y, size, roll = path(i)
            low, high = still.points.min(axis=0), still.points.max(axis=0)
            own = float(np.sqrt(np.prod(high - low)))
            a = size / own * np.exp(1j * roll)
            cx, cy = (low + high) / 2
            b = complex(x, y) - a * complex(cx, cy)
            matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
            source = still.pixels
            if abs(a) < 0.7:  # warping doesn't smooth
                source = cv2.GaussianBlur(source, (0, 0), 0.4 / abs(a))
            warped = cv2.warpAffine(source, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
            # Only the head and what is around it, with a soft edge: two stills fit beside each other.
            mask = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
            centre, axes = (round(x), round(y - 0.15 * size)), (round(0.85 * size), round(1.05 * size))
            cv2.ellipse(mask, centre, axes, float(np.degrees(roll)), 0, 360, 1.0, -1)
            inside = cv2.warpAffine(np.ones(still.pixels.shape[:2], np.float32), matrix, (WIDTH, HEIGHT))
            mask = cv2.GaussianBlur(mask * inside, (0, 0), 5)[..., None]
            frame = (mask * warped + (1 - mask) * frame).astype(np.uint8)
            points = still.points @ matrix[:, :2].T + matrix[:, 2]
            middle = points.mean(axis=0)
            if k == 0 and i in covered:
                half = 0.8 * size
                cv2.rectangle(frame, (int(x - half), int(y - 1.2 * half)), (int(x + half), int(y + half)), (70, 90, 60), -1)
            elif 0 <= middle[0] < WIDTH and 0 <= middle[1] < HEIGHT:
                truth[still.person] = points
        noisy = frame + rng.normal(0, noise, frame.shape)
        shots.append(Shown(np.clip(noisy, 0, 255).astype(np.uint8), truth))
    return shots


def shifted(frames: Sequence[Shown], name: str) -> list[Shown]:
    """The same frames with people of other names: a test's trap for identities."""
    return [replace(frame, truth={name + person: points for person, points in frame.truth.items()}) for frame in frames]


def write_clip(path: Path, frames: Sequence[Shown]) -> Path:
    """A clip as Motion JPEG, as 300-VW's are."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def nme(points: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean distance in % of the distance between the outer corners of the eyes."""
    return float(100 * np.linalg.norm(points - truth, axis=1).mean() / np.linalg.norm(truth[36] - truth[45]))
