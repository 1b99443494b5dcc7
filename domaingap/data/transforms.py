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
        self._pipeline: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pipeline": None, "_random": None, "_generator": None}

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
        if self._pipeline is None:
            self._build()
        # One generator of each kind is shared by all transforms, and set anew for every face.
        self._generator.bit_generator.state = np.random.PCG64([self.seed, *key]).state
        self._random.seed(int(self._generator.integers(1 << 62)))
        mirrored = self.augment.mirror and self.augment.strength > 0 and self._random.random() < 0.5
        result = self._pipeline(image=stored, keypoints=points + np.float32(self.crop.pad))
        image, points = result["image"], result["keypoints"].astype(np.float32, copy=False)
        if mirrored:
            image = image[:, ::-1]
            points = IBUG68.flip(points, self.crop.size)
        return image, points

    def _build(self) -> None:
        import albumentations as A
        import cv2

        # The loaders' processes share the cores with training; OpenCV's own threads would fight with both.
        cv2.setNumThreads(0)
        s, size, rgb = self.augment.strength, self.crop.size, self.crop.channels == "rgb"
        steps: list[Any] = []
        if self.augment.geometric and s > 0:
            steps.append(
                A.Affine(
                    rotate=(-25 * s, 25 * s),
                    scale=(1 - 0.15 * s, 1 + 0.15 * s),
                    translate_percent=(-0.06 * s, 0.06 * s),
                    border_mode=cv2.BORDER_REPLICATE,
                    p=0.9,
                )
            )
        steps.append(A.CenterCrop(size, size))
        if self.augment.photometric and s > 0:
            steps.append(A.RandomBrightnessContrast(0.2 * s, 0.3 * s, p=0.7))
            steps.append(A.RandomGamma((int(100 - 30 * s), int(100 + 50 * s)), p=0.3))
            if rgb:
                steps.append(A.HueSaturationValue(int(12 * s), int(30 * s), 0, p=0.5))
                steps.append(A.ToGray(p=min(1.0, 0.1 * s)))
            # Blur and blocks are as large as they would be in the picture before reduction to the crop.
            limit = max(3, int(size * 0.04 * s) // 2 * 2 + 1)
            steps.append(A.OneOf([A.GaussianBlur((0, limit), p=1), A.MotionBlur((3, max(3, limit)), p=1)], p=min(1.0, 0.2 * s)))
            steps.append(A.GaussNoise((0.01 * s, 0.05 * s), p=min(1.0, 0.2 * s)))
            steps.append(A.ImageCompression(quality_range=(max(5, int(80 - 50 * s)), 95), p=min(1.0, 0.15 * s)))
        if self.augment.occlusion and s > 0:
            steps.append(
                A.CoarseDropout((1, 3), (0.08, 0.08 + 0.2 * s), (0.08, 0.08 + 0.2 * s), fill="random_uniform", p=min(1.0, 0.3 * s))
            )
        self._random = random.Random()
        self._generator = np.random.Generator(np.random.PCG64())
        keypoints = A.KeypointParams(format="xy", remove_invisible=False)
        self._pipeline = A.Compose(steps, keypoint_params=keypoints)
        self._pipeline.set_random_state(self._generator, self._random)
