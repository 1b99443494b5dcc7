"""Augmentation of training faces with albumentations; what a face looks like depends on its key alone."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.config import AugmentConfig, CropConfig
from domaingap.errors import UserError
from domaingap.landmarks import IBUG68

# albumentations asks the network for a newer release at import, unless told not to before.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


class Augmenter:
    """Stored crops → augmented network inputs with their landmarks.

    The look of a face is a function of (seed, key): neither global random state nor the number of loader
    processes changes it. Points that leave the picture are kept.

    Args:
        crop: how the crops were cut.
        augment: what to do, and how strongly.
        seed: the run's seed.
    """

    def __init__(self, crop: CropConfig, augment: AugmentConfig, seed: int) -> None:
        if not 0 <= augment.strength <= 2:
            raise UserError(f"--augment.strength is {augment.strength}; it lies between 0 and 2")
        self.crop, self.augment, self.seed = crop, augment, seed
        # Built where first used: in each loader process for itself. The transforms are called one by one, which takes
        # half the time of a Compose, as only the geometric one concerns the landmarks.
        self._geometric: Any = None
        self._photometric: list[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_geometric": None, "_photometric": None, "_random": None, "_generator": None}

    def __call__(
        self, stored: NDArray[np.uint8], points: NDArray[np.float32], key: tuple[int, ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Augment one face.

        Args:
            stored: stored crop [S, S] or [S, S, 3].
            points: landmarks [68, 2] in pixels of the network's input.
            key: what identifies this look: (step, face, repeat).

        Returns:
            The picture [size, size] or [size, size, 3] and its landmarks [68, 2].
        """
        if self._photometric is None:
            self._photometric = self._build()
        # One generator of each kind is shared by all transforms, and set anew for every face.
        self._generator.bit_generator.state = np.random.PCG64([self.seed, *key]).state
        self._random.seed(int(self._generator.integers(1 << 62)))
        moved = self._geometric(image=stored, keypoints=points + np.float32(self.crop.pad))
        image, points = moved["image"], moved["keypoints"]
        for transform in self._photometric:
            image = transform(image=image)["image"]
        return image, points

    def _build(self) -> list[Any]:
        """Make the geometric transform and return the photometric ones."""
        import albumentations as A
        import cv2

        from domaingap.data.similarity import SimilarityCrop

        # The loaders' processes share the cores with training; OpenCV's own threads would fight with both.
        cv2.setNumThreads(0)
        s, size, rgb = self.augment.strength, self.crop.size, self.crop.channels == "rgb"
        g = s if self.augment.geometric else 0.0
        mirror = 0.5 if self.augment.mirror and s > 0 else 0.0
        self._geometric = SimilarityCrop(size, IBUG68, degrees=25 * g, scale=0.15 * g, shift=0.06 * g, mirror=mirror)

        def often(p: float) -> float:
            return min(1.0, p * s)

        steps: list[Any] = []
        if self.augment.photometric and s > 0:
            steps.append(A.RandomBrightnessContrast(0.2 * s, 0.3 * s, p=0.7))
            steps.append(A.RandomGamma((int(100 - 30 * s), int(100 + 50 * s)), p=0.3))
            if rgb:
                steps.append(A.HueSaturationValue(int(12 * s), int(30 * s), 0, p=0.5))
                steps.append(A.ToGray(p=often(0.1)))
            # A twenty-fifth of the crop: about what a camera's blur leaves after reduction.
            limit = max(3, int(size * 0.04 * s) // 2 * 2 + 1)
            steps.append(A.GaussianBlur((0, limit), p=often(0.1)))
            steps.append(A.MotionBlur((3, limit), p=often(0.1)))
            steps.append(A.GaussNoise((0.01 * s, 0.05 * s), p=often(0.2)))
            steps.append(A.ImageCompression(quality_range=(max(5, int(80 - 50 * s)), 95), p=often(0.15)))
        if self.augment.occlusion and s > 0:
            side = (0.08, 0.08 + 0.2 * s)
            steps.append(A.CoarseDropout((1, 3), side, side, fill="random_uniform", p=often(0.3)))
        self._random = random.Random()
        self._generator = np.random.Generator(np.random.PCG64())
        for transform in (self._geometric, *steps):
            transform.set_random_state(self._generator, self._random)
        return steps
