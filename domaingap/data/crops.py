"""From a picture and a face box to a crop: one similarity transform, reduced with anti-aliasing.

A transform is [2, 3] and maps image pixels to crop pixels (both with pixel centres at integers):
``crop = M[:, :2] @ image + M[:, 2]``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from domaingap.config import CropConfig
from domaingap.errors import UserError

# MTCNN's box reaches above the brows and barely to the chin: the landmarks' middle lies 0.13 of the box's height
# below the box's. A little less than that leaves the forehead some room.
_DOWN = 0.08

REDUCTION = "pillow bicubic a=-0.5, anti-aliased, x then y, each rounded to 8 bits; gray before it: ITU-R 601-2 luma"
"""How a crop's pixels are made of a picture's."""


def crop_transform(box: NDArray[Any], crop: CropConfig) -> NDArray[np.float64]:
    """The similarity [2, 3] that maps the square around a face box [4] to the network's input."""
    width, height = box[2] - box[0], box[3] - box[1]
    side = crop.scale * float(np.sqrt(max(width * height, 1.0)))
    cx = (box[0] + box[2]) / 2
    cy = (box[1] + box[3]) / 2 + _DOWN * height
    s = crop.size / side
    centre = (crop.size - 1) / 2
    return np.array([[s, 0.0, centre - s * cx], [0.0, s, centre - s * cy]])


def apply_transform(transform: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    """Points [..., n, 2] through transforms [..., 2, 3]."""
    linear, offset = transform[..., :, :2], transform[..., :, 2]
    return np.asarray(points @ np.swapaxes(linear, -1, -2) + offset[..., None, :], dtype=np.float64)


def invert_transform(transform: NDArray[Any]) -> NDArray[np.float64]:
    """The inverse [..., 2, 3] of transforms [..., 2, 3]."""
    inverse = np.linalg.inv(transform[..., :, :2])
    return np.concatenate([inverse, -inverse @ transform[..., :, 2:]], axis=-1)


def cut_crop(
    image: NDArray[np.uint8], transform: NDArray[Any], crop: CropConfig, pad: int | None = None
) -> NDArray[np.uint8]:
    """The stored crop, [S, S] for gray or [S, S, 3], S = ``crop.stored_size``, of an RGB image [H, W, 3].

    The transform's crop pixel (0, 0) lies at stored pixel (pad, pad). Outside the picture its edge is repeated. With a
    ``pad`` of 0 it is what the network sees, but for single pixels that are rounded the other way.
    """
    pad = crop.pad if pad is None else pad
    s = transform[0, 0]
    size = crop.size + 2 * pad
    # In corner coordinates, where pixel i covers [i, i + 1].
    left = (-pad - 0.5 - transform[0, 2]) / s + 0.5
    top = (-pad - 0.5 - transform[1, 2]) / s + 0.5
    side = size / s
    height, width = image.shape[:2]
    # Pillow's filter looks this far beyond the box.
    reach = int(np.ceil(2 * max(1.0, 1 / s))) + 1
    x0, y0 = int(np.floor(left)) - reach, int(np.floor(top)) - reach
    x1, y1 = int(np.ceil(left + side)) + reach, int(np.ceil(top + side)) + reach
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        window = Image.fromarray(image[y0:y1, x0:x1])
    else:
        # Clipped indices repeat the picture's edge, also for a box that lies outside it altogether.
        rows, columns = np.clip(np.arange(y0, y1), 0, height - 1), np.clip(np.arange(x0, x1), 0, width - 1)
        window = Image.fromarray(image.take(rows, axis=0).take(columns, axis=1))
    if crop.channels == "gray":
        window = window.convert("L")  # before resizing: a third of the work
    box = (left - x0, top - y0, left - x0 + side, top - y0 + side)
    return np.asarray(window.resize((size, size), Image.Resampling.BICUBIC, box=box))


def crop_record(crop: CropConfig) -> dict[str, Any]:
    """How crops are cut, as plain values for files: the settings, and the rule that this version has beside them.

    ``side = scale * sqrt(width * height)`` of the box, in whose middle, ``down * height`` lower, lies the crop's middle;
    pixel centres lie at integers. ``stored`` and ``pad`` are of crops that are kept for training.
    """
    rule = {"down": _DOWN, "pad": crop.pad, "stored": crop.stored_size, "reduction": REDUCTION}
    return {**asdict(crop), **rule}


def read_crop(record: Any) -> CropConfig:
    """The settings in what :func:`crop_record` gave.

    Raises:
        ValueError: something else, or a rule that isn't this version's.
    """
    names = CropConfig.__dataclass_fields__
    if not isinstance(record, dict) or not names.keys() <= record.keys():
        raise ValueError("crop says not how to crop")
    try:
        crop = CropConfig(**{name: record[name] for name in names})
    except UserError as error:
        raise ValueError(f"crop: {error}") from error
    own = crop_record(crop)
    if other := [key for key in own.keys() | record.keys() if own.get(key) != record.get(key)]:
        raise ValueError(f"crop: another rule than this version's ({', '.join(sorted(map(str, other)))})")
    return crop
