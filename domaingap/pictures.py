"""Sheets of faces with their landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GREEN, RED = (80, 220, 60), (240, 70, 50)
"""Colours (RGB) of true and of predicted landmarks."""


def draw_face(
    image: NDArray[np.uint8],
    points: Sequence[tuple[NDArray[Any], tuple[int, int, int]]],
    side: int = 256,
    caption: str = "",
) -> NDArray[np.uint8]:
    """A crop [S, S], [1, S, S], [S, S, 3] or [3, S, S] with sets of points [n, 2] in crop pixels, as RGB [side, side, 3]."""
    if image.ndim == 3 and image.shape[0] in (1, 3):
        image = image.transpose(1, 2, 0)
    if image.ndim == 2:
        image = image[..., None]
    scale = side / image.shape[0]
    canvas = cv2.resize(
        np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))), (side, side), interpolation=cv2.INTER_CUBIC
    )
    for landmarks, colour in points:
        for x, y in (landmarks + 0.5) * scale - 0.5:
            if np.isfinite([x, y]).all() and abs(x) < 1e5 and abs(y) < 1e5:
                cv2.circle(canvas, (round(x * 16), round(y * 16)), 26, colour, -1, cv2.LINE_AA, shift=4)
    if not caption:
        return np.asarray(canvas, dtype=np.uint8)
    labelled = Image.fromarray(canvas)
    place, font = (5, side - 20), ImageFont.load_default(size=13)
    ImageDraw.Draw(labelled).text(place, caption, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return np.asarray(labelled)


def sheet(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Equal tiles [H, W, 3] side by side and below each other; missing ones are black."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    page = np.zeros((rows * height, min(columns, len(tiles)) * width, 3), dtype=np.uint8)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        page[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return page
