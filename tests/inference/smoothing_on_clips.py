"""``python -m tests.inference.smoothing_on_clips RUN``: what the One Euro filter takes off jitter, and how far it lags.

Both on a network's own answers, followed as in a video. Still faces: one picture of each clip again and again, with fresh
normal noise on every pixel. Moving ones: the clips, whose motion the annotation tells. It ends with 1 where a demand isn't
met: jitter on still faces at most half, a lag of at most one frame on moving ones.

The lag is that behind the annotation with the filter less that without. A network's own errors follow the head's pose, so
that its answers seem to be early or late without any filter, and even in the annotation's boxes: on these slow clips by up
to two frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domaingap.inference.predictor import Face, FacePredictor
from domaingap.inference.smoothing import OneEuro, SmoothingConfig
from domaingap.inference.tracker import Tracker
from domaingap.metrics import Jitter
from tests.inference.clips import FPS, Shown, nme
from tests.inference.follow_clips import read_clips

LESS, LATE = 0.5, 1.0
"""Jitter with the filter over that without, and its lag in frames, at most."""
NOISE = 3.0
"""Standard deviation of a sensor's noise, in levels of 255."""

Array = NDArray[np.float64]


class Measured(NamedTuple):
    """Figures of one sequence, without the filter and with it: jitter and NME in %, lag in frames."""

    jitter: tuple[float, float]
    lag: tuple[float, float]
    nme: tuple[float, float]


def still(frame: Shown, n: int, noise: float, seed: int = 0) -> list[Shown]:
    """A picture n times, each with noise of its own."""
    rng = np.random.default_rng(seed)
    noisy = (frame.pixels + rng.normal(0, noise, frame.pixels.shape) for _ in range(n))
    return [Shown(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), frame.truth) for pixels in noisy]


def answers(frames: Sequence[Shown], predictor: FacePredictor) -> list[Face | None]:
    """The followed face in each frame that is the annotated one, not filtered."""
    tracker, found = Tracker(predictor), []
    for i, frame in enumerate(frames):
        (truth,) = frame.truth.values()
        middle = truth.mean(axis=0)
        faces = tracker(frame.pixels, i / FPS)
        near = [face for face in faces if np.linalg.norm(face.landmarks.mean(axis=0) - middle) < face.size / 2]
        found.append(near[0] if near else None)
    return found


def filtered(faces: Sequence[Face | None], settings: SmoothingConfig) -> list[Array | None]:
    """The faces' landmarks through the filter, which begins anew behind a gap as the tracker's does."""
    points: list[Array | None] = []
    smooth = OneEuro(settings)
    for i, face in enumerate(faces):
        if face is None:
            smooth = OneEuro(settings)
        points.append(None if face is None else smooth(face.landmarks, face.size, i / FPS))
    return points


def lag(points: Array, truth: Array, most: float = 6.0) -> float:
    """By how many frames points [T, 68, 2] come after the true ones: the shift at which they fit best, but for a constant
    error of each coordinate; true points between frames by cubic interpolation."""
    from scipy.interpolate import CubicSpline

    t = np.arange(len(truth))
    inner = t[(t >= most) & (t <= len(truth) - 1 - most)]
    curve = CubicSpline(t, truth.reshape(len(truth), -1))
    own = points.reshape(len(points), -1)[inner]
    shifts = np.arange(-most, most + 0.001, 0.05)
    errors = []
    for shift in shifts:
        apart = own - curve(inner - shift)
        errors.append(float(np.square(apart - apart.mean(axis=0)).mean()))
    return float(shifts[int(np.argmin(errors))])


def measured(faces: Sequence[Face | None], frames: Sequence[Shown], settings: SmoothingConfig, moving: bool) -> Measured:
    """Figures of followed faces, without the filter and with it, on the frames that have them."""
    there = np.array([i for i, face in enumerate(faces) if face is not None])
    truth = np.stack([next(iter(frames[i].truth.values())) for i in there])
    raw = np.stack([face.landmarks for face in faces if face is not None])
    smooth = np.stack([points for points in filtered(faces, settings) if points is not None])
    whole = len(there) == len(frames)

    def both(of: Callable[[Array], float]) -> tuple[float, float]:
        return of(raw), of(smooth)

    return Measured(
        both(lambda points: float(np.nanmean(Jitter().per_frame(points, truth, there)))),
        both(lambda points: lag(points, truth) if moving and whole else np.nan),
        both(lambda points: float(np.mean([nme(a, b) for a, b in zip(points, truth, strict=True)]))),
    )


def measure(
    clips: dict[str, list[Shown]],
    predictor: FacePredictor,
    settings: SmoothingConfig,
    noise: float,
    say: Callable[[str], None] = print,
) -> bool:
    """Print figures of each clip; returns whether the demands are met."""
    say(
        f"still: one picture, fresh noise of {noise:g} levels in each frame; moving: the clip; without the filter -> with it"
    )
    say(
        f"{'clip':<6}{'still: jitter %':>22}{'less by':>9}{'moving: jitter':>22}{'shift, frames':>20}{'lag':>6}{'NME %':>18}"
    )
    less: list[float] = []
    late: list[float] = []
    for name, frames in clips.items():
        pictures = still(frames[len(frames) // 2], len(frames), noise)
        rest = measured(answers(pictures, predictor), pictures, settings, moving=False)
        motion = measured(answers(frames, predictor), frames, settings, moving=True)
        less.append(1 - rest.jitter[1] / rest.jitter[0])
        late.append(motion.lag[1] - motion.lag[0])
        say(
            f"{name:<6}{_pair(rest.jitter, 3):>22}{100 * less[-1]:8.0f}%{_pair(motion.jitter, 3):>22}"
            f"{_pair(motion.lag, 2):>20}{late[-1]:6.2f}{_pair(motion.nme, 2):>18}"
        )
    good = bool(min(less) >= 1 - LESS and max(late) <= LATE)
    say(
        f"jitter on still faces less by {100 * min(less):.0f} to {100 * max(less):.0f}%, lag {min(late):.2f} to "
        f"{max(late):.2f} frames: " + ("demands met" if good else "demands NOT met")
    )
    return good


def _pair(values: tuple[Any, Any], digits: int) -> str:
    return f"{values[0]:.{digits}f} -> {values[1]:.{digits}f}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder, a .ckpt or an .onnx")
    parser.add_argument("--data_root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--noise", type=float, default=NOISE)
    parser.add_argument("--min_cutoff", type=float, default=SmoothingConfig().min_cutoff)
    parser.add_argument("--beta", type=float, default=SmoothingConfig().beta)
    arguments = parser.parse_args()
    from domaingap.inference.model import load_model

    settings = SmoothingConfig(arguments.min_cutoff, arguments.beta)
    clips = read_clips(arguments.data_root)
    return 0 if measure(clips, FacePredictor(load_model(arguments.run)), settings, arguments.noise) else 1


if __name__ == "__main__":
    raise SystemExit(main())
