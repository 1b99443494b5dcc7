"""The One Euro filter for landmarks (Casiez, Roussel and Vogel, CHI 2012): still ones calm, moving ones without lag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.limits import Checked, limited


@dataclass(frozen=True)
class SmoothingConfig(Checked):
    """A low-pass filter whose cutoff rises with speed.

    Args:
        min_cutoff: cutoff in Hz of a point at rest; lower is calmer.
        beta: how much the cutoff rises, in Hz for each face size that a point moves in a second; higher lags less.
        d_cutoff: cutoff in Hz of the speed.
    """

    section = "smoothing"

    min_cutoff: float = limited(1.0, above=0, most=1000)
    beta: float = limited(10.0, 0, 1000)
    d_cutoff: float = limited(1.0, above=0, most=1000)


class OneEuro:
    """The filter of one face. Speeds count in face sizes, so that its settings fit small and large faces alike."""

    def __init__(self, settings: SmoothingConfig = SmoothingConfig()) -> None:
        self.settings = settings
        self._time: float | None = None
        self._points: NDArray[np.float64] = np.zeros((0, 2))
        self._speed: NDArray[np.float64] = np.zeros((0, 2))

    def __call__(self, points: NDArray[Any], size: float, time: float) -> NDArray[np.float64]:
        """Smoothed points [n, 2] of points at a time in seconds; ``size`` of the face in their unit.

        The first points, and such as don't come later than those before, are returned as they are.
        """
        given = np.asarray(points, dtype=np.float64)
        step = time - self._time if self._time is not None else 0.0
        self._time = time
        if step <= 0:
            self._points, self._speed = given.copy(), np.zeros_like(given)
            return given
        # As in the authors' reference code, the speed is that of the given points against the smoothed ones before.
        speed = (given - self._points) / (step * size)
        self._speed += _share(self.settings.d_cutoff, step) * (speed - self._speed)
        cutoff = self.settings.min_cutoff + self.settings.beta * np.linalg.norm(self._speed, axis=-1, keepdims=True)
        self._points = self._points + _share(cutoff, step) * (given - self._points)
        return self._points.copy()


def _share(cutoff: Any, step: float) -> Any:
    """The new value's share in an exponential mean with a cutoff in Hz over a step in seconds."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
