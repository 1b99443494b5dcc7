"""Pictures that are there twice, exactly or nearly, also mirrored.

The perceptual hash is pHash's (the lowest frequencies of a cosine transform of the picture at 32 x 32), but kept as numbers
instead of signs: correlations tell pictures of one kind, such as portraits before gray, further apart than bits do, and are
found by plain matrix products. So ``ImageHash`` (which pulls PyWavelets) would give less for one more dependency. A mirror
image has the same hash but for the signs of the odd columns, so that nothing is hashed twice.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE, _KEPT = 32, 12
HASH = _KEPT * _KEPT - 1
NEAR = 0.90
"""Correlation of hashes from which pictures are nearly the same. Portraits of different photographs reach 0.8."""

_CHUNK, _ANCHOR = 512, 50
_FREQUENCY = np.hypot(*np.mgrid[:_KEPT, :_KEPT]).astype(np.float32)
_MIRROR = np.where(np.arange(_KEPT * _KEPT) % _KEPT % 2 == 1, -1.0, 1.0)[1:].astype(np.float32)


def perceptual_hash(gray: NDArray[np.uint8]) -> NDArray[np.float16]:
    """The hash [143] of a gray picture [H, W], of unit length; zeros where the picture is of one tone."""
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Natural pictures lose amplitude with frequency; weighted by it, each has its say.
    waves = (np.asarray(cv2.dct(small))[:_KEPT, :_KEPT] * _FREQUENCY).ravel()[1:]
    length = float(np.linalg.norm(waves))
    return np.asarray(waves / length if length > 1.0 else np.zeros_like(waves), dtype=np.float16)


def near_pairs(hashes: NDArray[np.float16], mirrored: bool, least: float = NEAR) -> Iterator[tuple[int, int, float]]:
    """Pairs i < j of hashes [n, 143] with a correlation of at least ``least``, and that; each against all in blocks.

    Args:
        hashes: of pictures.
        mirrored: of one picture and the other's mirror image.
        least: the correlation.
    """
    every = hashes.astype(np.float32)
    known = every.any(axis=1, keepdims=True)
    # What all pictures of a set have in common, such as that there is a face, says nothing of two of them. It has the weight
    # of some pictures without anything in common, so that a few alike don't lose what they share.
    common = every.sum(axis=0) / (len(every) + _ANCHOR)
    every = known * (every - (common + common * _MIRROR) / 2)
    every /= np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 0.05)
    others = every * _MIRROR if mirrored else every
    for start in range(0, len(every), _CHUNK):
        # Only what comes after: a mirror's mirror is the picture itself.
        near = every[start : start + _CHUNK] @ others[start:].T
        for row, column in zip(*np.nonzero(near >= least), strict=True):
            if column > row:
                yield start + int(row), start + int(column), float(near[row, column])
