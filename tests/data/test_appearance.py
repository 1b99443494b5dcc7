"""The look of real pictures on synthetic ones: right values, nothing else changed, no label read."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from domaingap.config import CropConfig
from domaingap.data.appearance import Appearance, fourier, histogram
from domaingap.data.datamodules import MixedDataModule, RealDataModule, SyntheticDataModule
from domaingap.data.faces import FaceDataset
from domaingap.errors import UserError
from domaingap.provenance import Seen
from domaingap.training import train_loader

CROP = CropConfig(size=32, box="landmarks")
RNG = np.random.default_rng(0)
N = 3
DRAWS = [(step, position, 0) for step in range(2) for position in range(8)]


def picture(*shape: int) -> np.ndarray:
    """Seeded noise, darker at the left."""
    noise = RNG.integers(0, 200, shape)
    return (noise * np.linspace(0.3, 1, shape[1])[:, None].reshape(1, -1, *[1] * (len(shape) - 2))).astype(np.uint8)


def of_paper(image: np.ndarray, like: np.ndarray, beta: float) -> np.ndarray:
    """FDA by the whole spectrum, shifted, with its mask spelt out: frequency zero lies at half the side."""
    result = np.empty(image.shape)
    for c in range(image.shape[2]):
        own, other = (np.fft.fftshift(np.fft.fft2(one[..., c].astype(float))) for one in (image, like))
        h, w = own.shape
        b = int(np.floor(min(h, w) * beta))
        amplitude = np.abs(own)
        rows, columns = slice(max(0, h // 2 - b), h // 2 + b + 1), slice(max(0, w // 2 - b), w // 2 + b + 1)
        amplitude[rows, columns] = np.abs(other)[rows, columns]
        back = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(own))))
        assert np.abs(back.imag).max() < 1e-9
        result[..., c] = back.real
    return result.round().clip(0, 255)


@pytest.mark.parametrize("shape", [(40, 40), (41, 41), (36, 50)])
@pytest.mark.parametrize("beta", [0.0, 0.05, 0.09, 0.5])
def test_fourier_is_that_of_the_paper(shape: tuple[int, int], beta: float) -> None:
    image, like = picture(*shape, 3), picture(*shape, 3)
    found = fourier(image, like, beta)
    assert found.dtype == np.uint8 and found.shape == image.shape
    np.testing.assert_allclose(found, of_paper(image, like, beta), atol=1)  # a half may be rounded either way
    np.testing.assert_array_equal(fourier(image[..., 1], like[..., 1], beta), found[..., 1])
    np.testing.assert_array_equal(fourier(image, image, beta), image)


def test_fourier_at_zero_takes_the_mean_brightness() -> None:
    dark, light = np.full((20, 20), 60, np.uint8), np.full((20, 20), 90, np.uint8)
    dark[5, 5], light[:, 3] = 80, 110
    np.testing.assert_array_equal(fourier(dark, light, 0.04), dark + 31)  # 91 less 60.05


def test_histogram_has_the_others_levels_in_the_same_order() -> None:
    image, like = picture(40, 40, 3), picture(30, 50, 3)
    found = histogram(image, like)
    for c in range(3):
        np.testing.assert_array_equal(histogram(image[..., c], like[..., c]), found[..., c])
        own, now, theirs = (one[..., c].ravel().astype(int) for one in (image, found, like))
        assert (np.diff(now[np.argsort(own, kind="stable")]) >= 0).all()
        # The share of pixels up to a level: as theirs, but for a level's own pixels.
        most = np.bincount(own).max() / own.size
        for level in range(0, 200, 10):
            assert abs((now <= level).mean() - (theirs <= level).mean()) <= most + np.bincount(theirs).max() / theirs.size
    np.testing.assert_array_equal(histogram(image, image), image)
    # By hand: a quarter dark, three quarters light, onto halves of 10 and 20.
    two = np.array([[5, 9, 9, 9]], np.uint8)
    np.testing.assert_array_equal(histogram(two, np.array([[10, 20]], np.uint8)), [[10, 20, 20, 20]])


def test_histogram_beside_albumentations() -> None:
    """Theirs cuts fractions off."""
    from albumentations.augmentations.mixing.domain_adaptation_functional import match_histograms

    image, like = picture(40, 40, 3), picture(40, 40, 3)
    difference = histogram(image, like).astype(int) - match_histograms(image, like)
    assert set(np.unique(difference)) == {0, 1}


def modules(
    data_root: Path, prepared_dir: Path, crop: CropConfig = CROP, n_real: int = N, **options: object
) -> tuple[SyntheticDataModule, RealDataModule]:
    shared = {"data_root": data_root, "prepared_dir": prepared_dir, "crop": crop, "seed": 4}
    real = RealDataModule(n_real, n_val=6, **shared)  # type: ignore[arg-type]
    synthetic = SyntheticDataModule(like=real, **shared, **options)  # type: ignore[arg-type]
    real.setup()
    synthetic.setup()
    return synthetic, real


@pytest.mark.parametrize("kind", ["fourier", "histogram"])
@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_training_pictures_have_the_look_of_the_first_real_faces(
    data_root: Path, prepared_dir: Path, kind: str, channels: str
) -> None:
    crop = CropConfig(size=32, box="landmarks", channels=channels)  # type: ignore[arg-type]
    synthetic, real = modules(data_root, prepared_dir, crop, appearance=kind, appearance_beta=0.1)
    assert len(real.train_positions) == N
    dataset = synthetic.train_set()
    likes = [real.faces.stored_crop(int(i)) for i in real.train_positions]
    used = set()
    for _, position, _ in DRAWS[:8]:
        stored = synthetic.faces.stored_crop(int(dataset.positions[position]))
        for step in range(3):
            assert dataset.appearance is not None
            found = dataset.appearance(stored, (step, position, 0))
            change = {"fourier": lambda like, of: fourier(of, like, 0.1), "histogram": lambda like, of: histogram(of, like)}
            (number,) = [i for i, like in enumerate(likes) if np.array_equal(change[kind](like, stored), found)]
            used.add(number)
    assert used == {0, 1, 2}
    images = dataset.__getitems__(DRAWS)["image"]
    assert images.shape == (16, 3 if channels == "rgb" else 1, 32, 32) and images.dtype == torch.uint8
    plain = FaceDataset(dataset.faces, dataset.positions, dataset.augmenter).__getitems__(DRAWS)
    assert not torch.equal(images, plain["image"])
    # Augmentation moves the faces as it does without.
    assert torch.equal(dataset.__getitems__(DRAWS)["landmarks"], plain["landmarks"])


def test_none_changes_nothing(data_root: Path, prepared_dir: Path) -> None:
    synthetic, _ = modules(data_root, prepared_dir)
    alone = SyntheticDataModule(data_root=data_root, prepared_dir=prepared_dir, crop=CROP, seed=4)
    one, other = synthetic.train_set(), alone.train_set()
    assert one.appearance is None and one.fingerprint() == other.fingerprint() == alone.faces.fingerprint(other.positions)
    assert one.seen() == other.seen() and not one.seen().real
    for key, value in one.__getitems__(DRAWS).items():
        assert torch.equal(value, other.__getitems__(DRAWS)[key])


def test_the_share_that_is_changed(data_root: Path, prepared_dir: Path) -> None:
    synthetic, real = modules(data_root, prepared_dir)
    stored = synthetic.faces.stored_crop(0)
    keys = [(step, 7, 0) for step in range(200)]

    def changed(share: float) -> set[tuple[int, ...]]:
        look = Appearance("histogram", 0.05, share, real.faces, real.train_positions, seed=4)
        return {key for key in keys if look(stored, key) is not stored}

    some, more = changed(0.3), changed(0.6)
    assert some < more < changed(1.0) == set(keys)
    assert 40 <= len(some) <= 80 and 95 <= len(more) <= 145  # three standard deviations


def test_no_label_of_theirs_is_read(data_root: Path, prepared_dir: Path) -> None:
    synthetic, real = modules(data_root, prepared_dir, appearance="fourier")
    blind = copy.copy(synthetic)
    blind.like = copy.copy(real)
    blind.like._faces = real.faces.relabelled(np.full_like(real.faces.landmarks, np.nan), "blind", Seen())
    one, other = synthetic.train_set(), blind.train_set()
    assert other.appearance is not None and np.isnan(other.appearance.faces.landmarks).all()
    assert one.fingerprint() == other.fingerprint()
    for key, value in one.__getitems__(DRAWS).items():
        assert torch.equal(value, other.__getitems__(DRAWS)[key])


def test_what_is_known_of_them(data_root: Path, prepared_dir: Path) -> None:
    synthetic, real = modules(data_root, prepared_dir, appearance="fourier")
    names = {f"300w/{name}" for name in real.faces.names[real.train_positions]}
    seen = synthetic.train_set().seen()
    assert seen.real == names and len(names) == N
    assert any("300-W" in term.data for term in seen.licences)
    for untouched in (synthetic.val_set(), synthetic.plain_train_set()):
        assert untouched.appearance is None and not untouched.seen().real
    known = {synthetic.train_set().fingerprint()}
    for options in (
        {"appearance": "none"}, {"appearance": "histogram"}, {"appearance": "fourier", "appearance_beta": 0.1},
        {"appearance": "fourier", "appearance_share": 0.5}, {"appearance": "fourier", "n_real": N + 1},
    ):  # fmt: skip
        known.add(modules(data_root, prepared_dir, **options)[0].train_set().fingerprint())  # type: ignore[arg-type]
    assert len(known) == 6
    # Of histograms beta says nothing.
    given = [modules(data_root, prepared_dir, appearance="histogram", appearance_beta=b)[0].train_set() for b in (0.05, 0.2)]
    assert given[0].fingerprint() == given[1].fingerprint()


def test_mixed_with_real_faces_only_synthetic_ones_change(data_root: Path, prepared_dir: Path) -> None:
    looks = {kind: modules(data_root, prepared_dir, n_real=8, appearance=kind) for kind in ("none", "fourier")}
    mixed = {kind: MixedDataModule(*of, alpha=0.5).train_set() for kind, of in looks.items()}
    batches = {kind: next(iter(train_loader(of, 12, 4, 3, 0))) for kind, of in mixed.items()}
    plain, changed = batches["none"], batches["fourier"]
    domain = plain["domain"].bool()
    assert 0 < int(domain.sum()) < 12 and torch.equal(domain, changed["domain"].bool())
    assert torch.equal(plain["landmarks"], changed["landmarks"])
    assert torch.equal(plain["image"][~domain], changed["image"][~domain])
    different = (plain["image"] != changed["image"]).flatten(1).any(dim=1)
    assert different[domain].all()
    ends = {alpha: MixedDataModule(*looks["fourier"], alpha=alpha).train_set() for alpha in (0.0, 1.0)}
    assert ends[0.0].fingerprint() == looks["none"][1].train_set().fingerprint()
    assert ends[1.0].fingerprint() == looks["fourier"][0].train_set().fingerprint()


def test_processes_of_loaders_make_the_same(data_root: Path, prepared_dir: Path) -> None:
    dataset = modules(data_root, prepared_dir, appearance="fourier")[0].train_set()
    for here, there in zip(*(train_loader(dataset, 4, 4, 3, n) for n in (0, 1)), strict=True):
        assert torch.equal(here["image"], there["image"])


def test_it_needs_faces_that_are_cut_out_alike(data_root: Path, prepared_dir: Path) -> None:
    for like in (None, RealDataModule(crop=CropConfig(size=64))):
        with pytest.raises(UserError, match=r"--synthetic.appearance is fourier, which needs real faces"):
            SyntheticDataModule(crop=CROP, appearance="fourier", like=like)
    with pytest.raises(UserError, match=r"--synthetic.appearance is fda; known: none, fourier, histogram"):
        SyntheticDataModule(crop=CROP, appearance="fda")
