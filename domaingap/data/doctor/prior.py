"""Makes ``prior.npz``: mean and covariance of the shapes of generated faces, in both label conventions.

``python -m domaingap.data.doctor.prior`` writes it again; needed where the generator draws other faces (its VERSION).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from domaingap.data.doctor.shape_model import PRIOR, moments
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.generated.face import VERSION
from domaingap.hashing import replace_atomically
from domaingap.progress import track
from domaingap.shapes import mean_shape_of

_KEPT = 40


def write_prior(path: Path, n: int, seed: int = 0) -> None:
    """Draw n faces at every gap and write their statistics."""
    generator = FaceGenerator("target", seed, Dials(1.0, 1.0, 1.0))
    faces = [generator.photograph(i, 64) for i in track(range(n), n, "drawing faces")]
    points = np.stack([labels[:68] for face in faces for labels in (face.landmarks_s, face.landmarks_r)])
    mean = mean_shape_of(torch.from_numpy(points)).numpy()
    values, vectors = np.linalg.eigh(moments(points, mean))
    rest = values[4:-_KEPT].mean()  # four directions are the alignment's
    with replace_atomically(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            mean=mean.astype(np.float32),
            axes=vectors[:, -_KEPT:].astype(np.float32),
            variances=values[-_KEPT:].astype(np.float32),
            rest=np.float32(rest),
            version=VERSION,
        )


def main() -> None:
    """Write the file that is shipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1500, help="faces (1500)")
    parser.add_argument("--out", type=Path, default=PRIOR)
    options = parser.parse_args()
    write_prior(options.out, options.n)
    print(f"{options.out}: shapes of {options.n} generated faces, twice labelled")


if __name__ == "__main__":
    main()
