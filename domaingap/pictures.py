"""Sheets of faces with their landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from domaingap.data.crops import apply_transform
from domaingap.errors import StorageError, trouble
from domaingap.hashing import write_archive
from domaingap.landmarks import IBUG68

if TYPE_CHECKING:
    from domaingap.data.faces import FaceDataset
    from domaingap.predictions import Predictions

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
    dot = round(26 * min(1, side / 180))  # a sixteenth of a pixel each; in a small picture they would hide the face
    for landmarks, colour in points:
        for x, y in (landmarks + 0.5) * scale - 0.5:
            if np.isfinite([x, y]).all() and abs(x) < 1e5 and abs(y) < 1e5:
                cv2.circle(canvas, (round(x * 16), round(y * 16)), dot, colour, -1, cv2.LINE_AA, shift=4)
    if not caption:
        return np.asarray(canvas, dtype=np.uint8)
    labelled = Image.fromarray(canvas)
    place, font = (5, side - 4 - 16 * (1 + caption.count("\n"))), ImageFont.load_default(size=13)
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


GREY = (150, 150, 150)


def draw_movement(mean: NDArray[Any], moved: NDArray[Any], caption: str, side: int = 640) -> NDArray[np.uint8]:
    """A mean face [68, 2] as grey lines, the same face after its mean displacement [68, 2] in red, arrows between them.

    Args:
        mean: points in % of the outer eye corners' distance.
        moved: displacements in the same unit; small ones are drawn longer, and the picture says how much.
        caption: printed below.
        side: side of the picture [side, side, 3] in pixels.
    """
    fine = 2  # drawn at twice the size and reduced: OpenCV's own smoothing of thin arrows is coarse
    longest = float(np.linalg.norm(moved, axis=-1).max())
    exaggerate = next((factor for factor in (5, 3, 2) if factor * longest < 25), 1)
    both = np.concatenate([mean, mean + exaggerate * moved])
    low, high = both.min(axis=0), both.max(axis=0)
    scale = fine * 0.84 * side / float((high - low).max())
    centre = (low + high) / 2

    def place(points: NDArray[Any]) -> NDArray[np.int32]:
        placed = (points - centre) * scale + fine * np.array([side / 2, side * 0.47])
        return np.asarray(placed.round(), dtype=np.int32)

    canvas = np.full((fine * side, fine * side, 3), 255, dtype=np.uint8)
    before, after = place(mean), place(mean + exaggerate * moved)
    for points, colour in ((before, GREY), (after, RED)):
        for contour, closed in IBUG68.contours:
            cv2.polylines(canvas, [points[list(contour)]], closed, colour, 2 * fine, cv2.LINE_AA)
    for (x0, y0), (x1, y1) in zip(before.tolist(), after.tolist(), strict=True):
        length = max(1.0, float(np.hypot(x1 - x0, y1 - y0)))
        cv2.circle(canvas, (x0, y0), 3 * fine, (90, 90, 90), -1, cv2.LINE_AA)
        if length > 4 * fine:
            tip = min(0.5, 7 * fine / length)
            cv2.arrowedLine(canvas, (x0, y0), (x1, y1), (30, 60, 200), 2 * fine, cv2.LINE_AA, tipLength=tip)
    canvas = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    canvas[:, -1] = GREY
    labelled = Image.fromarray(canvas)
    draw, font = ImageDraw.Draw(labelled), ImageFont.load_default(size=15)
    draw.text((10, side - 46), caption, fill="black", font=font)
    drawn = f"mean displacements drawn {exaggerate} times as long" if exaggerate > 1 else "true to scale"
    legend = f"mean shape before (grey) and after (red); {drawn}"
    draw.text((10, side - 24), legend, fill=(90, 90, 90), font=ImageFont.load_default(size=13))
    return np.asarray(labelled)


def prediction_sheet(dataset: FaceDataset, predictions: Predictions, n: int = 12) -> NDArray[np.uint8]:
    """A sheet of faces with truth (green) and prediction (red), from the best to the worst NME."""
    nme = predictions.nme()
    order = np.argsort(nme)
    chosen = order[np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)]
    return sheet([draw_prediction(dataset, predictions, int(i), f"NME {nme[i]:.1f}") for i in chosen], 4)


def draw_prediction(
    dataset: FaceDataset, predictions: Predictions, i: int, caption: str, side: int = 256
) -> NDArray[np.uint8]:
    """Face i of a dataset with truth (green) and prediction (red), as RGB [side, side, 3]."""
    to_crop = dataset.faces.image_to_crop[dataset.positions[i]]
    points = [
        (apply_transform(to_crop, predictions.truth[i]), GREEN),
        (apply_transform(to_crop, predictions.prediction[i]), RED),
    ]
    return draw_face(dataset[i]["image"].numpy(), points, side, caption)


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """An RGB picture [H, W, 3] that :func:`save_picture` wrote; None where it isn't there or is damaged."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None


def save_picture(path: Path, picture: NDArray[np.uint8], option: str | None = None) -> None:
    """Write an RGB picture [H, W, 3] as PNG to a path that came from an ``option``; StorageError where it can't be
    written."""
    try:
        write_archive(path, lambda file: Image.fromarray(picture).save(file, "PNG"))
    except OSError as error:
        raise StorageError(trouble(error, "can't be written", option, path)) from error
