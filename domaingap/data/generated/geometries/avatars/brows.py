"""Where each person's brows lie: found in the texture, since they are painted there and differ between people."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometries.avatars.landmarks import BROW_EDGES, LANDMARKS

Array = NDArray[Any]

_TOP, _BOTTOM = 0.152, 0.206  # of the stripe of the atlas that holds everybody's brows
_REACH = 0.014  # how far beyond the mean's ends brows are looked for
_STEPS = 5
_MIDDLE = 0.3256  # of the face, in the atlas


def brow_points(texture: Array) -> tuple[Array, Array]:
    """Middles and upper edges [10, 2] of both brows, in the atlas, in the order of points 17 to 26.

    The middle of a brow is followed as the centre of what is darker than the skin above it; where that is too faint to be
    followed, the mean's points are given.

    Args:
        texture: a person's colour map [S, S, 3], sRGB.
    """
    middles, edges = LANDMARKS[17:27].copy(), BROW_EDGES.copy()
    size = len(texture)
    top, bottom = int(_TOP * size), int(_BOTTOM * size)
    gray = cv2.cvtColor(np.ascontiguousarray(texture[top:bottom]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = cv2.GaussianBlur(gray, (0, 0), size / 600)
    for side in (slice(0, 5), slice(5, 10)):
        ends = sorted(LANDMARKS[17:27][side, 0][[0, -1]])
        columns = np.arange(int((ends[0] - _REACH) * size), int((ends[1] + _REACH) * size))
        mean_row = np.interp(columns / size, *LANDMARKS[17:27][side][np.argsort(LANDMARKS[17:27][side, 0])].T) * size - top
        rows = np.arange(bottom - top)[:, None]
        window = np.exp(-(((rows - mean_row) / (0.0085 * size)) ** 2))
        here = gray[:, columns]
        skin = np.percentile(here, 80, axis=0)
        dark = np.clip((skin - here) / skin - 0.08, 0, None) * window
        weight = dark.sum(0)
        if weight.max() < 0.4:
            continue
        inside = np.flatnonzero(weight > 0.22 * weight.max())
        left, right = columns[inside[0]], columns[inside[-1]]
        centre = (dark * rows).sum(0) / np.maximum(weight, 1e-6)
        spread = np.sqrt((dark * (rows - centre) ** 2).sum(0) / np.maximum(weight, 1e-6))
        # A parabola is what a brow's middle can be told from its hairs by.
        shape = np.polyfit(columns[inside], centre[inside], 3, w=np.sqrt(weight[inside]))
        at = np.linspace(left + 0.03 * (right - left), right - 0.03 * (right - left), _STEPS)
        y = np.polyval(shape, at)
        half = np.interp(at, columns[inside], spread[inside])
        middles[side] = np.stack([(at + 0.5) / size, (y + top + 0.5) / size], -1)
        edges[side] = middles[side] - np.stack([0 * half, 1.3 * half / size], -1)
    # Faces are painted much alike on both sides; what one side's light hides the other side tells.
    mirror = np.array([_MIDDLE, 0.0]), np.array([-1.0, 1.0])
    return tuple((p + (mirror[0] + (p[::-1] - mirror[0]) * mirror[1])) / 2 for p in (middles, edges))  # type: ignore[return-value]
