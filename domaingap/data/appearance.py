"""The look of real pictures on synthetic ones: low frequencies' amplitudes, or histograms, of unlabelled real faces.

Plain baselines for the visual gap. They change the pictures alone, so what a network gains by them is no matter of labels:

fourier    Yang & Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020: within a square of the
           lowest frequencies a picture gets the amplitudes of a real one and keeps its own phases.
histogram  histogram matching (Gonzalez & Woods, Digital Image Processing, chapter 3): each grey level is moved to the one
           of the same rank in a real picture.

Both channel by channel. Not by albumentations: in 2.0.8 the square of its ``FDA`` isn't centred on frequency zero, so that a
small one leaves a picture as it is; both ``FDA`` and ``HistogramMatching`` cut off fractions of grey levels, which darkens
pictures by half a level.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.config import APPEARANCES
from domaingap.data.splits import Indices
from domaingap.hashing import digest
from domaingap.provenance import Seen

FORMAT = 1
"""Raised when the same settings would change pictures differently."""

STREAM = 0x100C
"""Behind a look's key: what is drawn here must not move what augmentation draws."""

Picture = NDArray[np.uint8]


def fourier(picture: Picture, like: Picture, beta: float) -> Picture:
    """A picture with another one's amplitudes at low frequencies (equation 3 of Yang & Soatto, 2020).

    Args:
        picture: [H, W] or [H, W, C].
        like: the other one, of the same shape.
        beta: half the square's side over the picture's: frequencies up to floor(beta · min(H, W)) periods a picture, in
            either direction, are changed. Below one period, the mean brightness alone.
    """
    height, width = picture.shape[:2]
    most = int(np.floor(beta * min(height, width)))
    own, other = (np.fft.rfft2(one.astype(np.float64), axes=(0, 1)) for one in (picture, like))
    # A real picture's spectrum is symmetric: its right half says all. An even side has its highest frequency once.
    rows = np.flatnonzero(np.abs(np.fft.fftfreq(height, 1 / height)) <= most)
    square = np.ix_(rows, np.arange(min(most, width // 2) + 1))
    own[square] = np.abs(other[square]) * np.exp(1j * np.angle(own[square]))
    return _whole(np.fft.irfft2(own, s=(height, width), axes=(0, 1)))


def histogram(picture: Picture, like: Picture) -> Picture:
    """A picture with another one's histogram, as far as its levels can be moved apart.

    Args:
        picture: [H, W] or [H, W, C].
        like: the other one, of as many channels and any size.
    """
    if picture.ndim == 2:
        return _levels(picture, like)[picture]
    return np.stack([_levels(picture[..., c], like[..., c])[picture[..., c]] for c in range(picture.shape[2])], axis=2)


def _levels(plane: Picture, like: Picture) -> Picture:
    """For each of 256 levels of a plane [H, W], the level of the same rank in another one."""
    own, other = (np.cumsum(np.bincount(one.ravel(), minlength=256)) / one.size for one in (plane, like))
    there = np.flatnonzero(np.diff(other, prepend=0))
    return _whole(np.interp(own, other[there], there))


def _whole(values: NDArray[np.float64]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class Appearance:
    """Stored crops → the same with the look of real ones, of which neither labels nor anything else is read.

    What becomes of a face is a function of (seed, key), as its augmentation is; the real face is drawn anew for every key.

    Args:
        kind: ``fourier`` or ``histogram``.
        beta: see :func:`fourier`.
        share: of the pictures that are changed; those of a smaller one are among those of a larger one.
        faces: the table of real faces (:class:`domaingap.data.faces.PreparedFaces`), cut out as the synthetic ones are.
        positions: [n] of the unlabelled real faces in it.
        seed: the run's seed.
    """

    def __init__(self, kind: str, beta: float, share: float, faces: Any, positions: Indices, seed: int) -> None:
        if kind not in APPEARANCES[1:] or not len(positions):
            raise ValueError(f"{kind} of {len(positions)} real faces")
        self.kind, self.beta, self.share, self.seed = kind, beta, share, seed
        self.faces, self.positions = faces, positions

    def __call__(self, stored: Picture, key: tuple[int, ...]) -> Picture:
        """A synthetic face's stored crop [S, S] or [S, S, 3], changed or as it is.

        Args:
            stored: the crop.
            key: what identifies this look: (step, face, repeat).
        """
        draws = np.random.Generator(np.random.PCG64([self.seed, *key, STREAM]))
        changed, number = draws.random() < self.share, int(draws.integers(len(self.positions)))
        if not changed:
            return stored
        like = self.faces.stored_crop(int(self.positions[number]))
        return fourier(stored, like, self.beta) if self.kind == "fourier" else histogram(stored, like)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Identity by content: what is done, and the real pictures, in their order, without their labels."""
        beta = float(self.beta) if self.kind == "fourier" else None
        how = repr((FORMAT, self.kind, beta, float(self.share))).encode()
        pictures = (self.faces.stored_crop(int(i)).tobytes() for i in self.positions)
        return digest(itertools.chain([how], pictures))

    @property
    def seen(self) -> Seen:
        """What goes into a network that is trained with it."""
        seen: Seen = self.faces.seen(self.positions)
        return seen
