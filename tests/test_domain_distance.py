"""Distances of domains: against sums written out, and where the answer is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from domaingap.config import CropConfig
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.domain_distance import MMD, domain_distance, features_of, gaussian_kernel, polynomial_kernel
from domaingap.models.regressor import LandmarkRegressor
from domaingap.study.record import read_record
from tests.conftest import Answer

Kernel = Callable[[np.ndarray, np.ndarray], float]


def written_out(x: np.ndarray, y: np.ndarray, kernel: Kernel, cx: list[int], cy: list[int]) -> float:
    """The U-statistic over pairs of different photographs, pair by pair."""

    def mean(a: np.ndarray, b: np.ndarray, apart: Callable[[int, int], bool]) -> float:
        return float(np.mean([kernel(a[i], b[j]) for i in range(len(a)) for j in range(len(b)) if apart(i, j)]))

    own = mean(x, x, lambda i, j: cx[i] != cx[j]) + mean(y, y, lambda i, j: cy[i] != cy[j])
    return own - 2 * mean(x, y, lambda i, j: True)


def polynomial(a: np.ndarray, b: np.ndarray) -> float:
    return float((sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3)


def gaussian(x: np.ndarray, y: np.ndarray) -> Kernel:
    pairs = itertools.combinations(np.concatenate([x, y]), 2)
    median = float(np.median([np.linalg.norm(a - b) for a, b in pairs]))
    return lambda a, b: float(np.exp(-(np.linalg.norm(a - b) ** 2) / (2 * median**2)))


@pytest.mark.parametrize("clustered", [False, True])
def test_estimates_are_the_sums_written_out(clustered: bool) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (7, 4)), rng.normal(0.5, 1.5, (9, 4))
    cx, cy = ([0, 0, 1, 2, 2, 2, 3], [5, 1, 1, 2, 3, 3, 4, 4, 0]) if clustered else (list(range(7)), list(range(9)))
    given = (np.array([f"a{c}" for c in cx]), np.array([f"a{c}" for c in cy])) if clustered else (None, None)
    found = MMD(x, y, polynomial_kernel, *given).found()
    assert found.estimate.mean == pytest.approx(written_out(x, y, polynomial, cx, cy), rel=1e-10)
    found = MMD(x, y, gaussian_kernel, *given).found()
    assert found.estimate.mean == pytest.approx(written_out(x, y, gaussian(x, y), cx, cy), rel=1e-9)


def test_permutations_are_tried_one_by_one() -> None:
    """Of 3 and 3 faces there are 20 ways to deal them; p is near the share of those that are as far."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 1, (3, 2)), rng.normal(1.5, 1, (3, 2))
    both, alone = np.concatenate([x, y]), [0, 1, 2]
    ways = [
        written_out(both[list(of)], both[[i for i in range(6) if i not in of]], polynomial, alone, alone)
        for of in itertools.combinations(range(6), 3)
    ]
    found = MMD(x, y, polynomial_kernel, draws=20000).found()
    share = np.mean(np.array(ways) >= found.estimate.mean - 1e-9)
    assert found.p == pytest.approx(share, abs=0.02)
    assert found.null == pytest.approx(np.quantile(ways, [0.025, 0.975]), abs=1e-6)


@pytest.mark.parametrize("kernel", [polynomial_kernel, gaussian_kernel])
def test_one_distribution_has_no_distance(kernel: Callable[[np.ndarray], np.ndarray]) -> None:
    """Without a distance p is uniform, and the estimate zero on average though each set is small."""
    rng = np.random.default_rng(0)
    found = [MMD(rng.normal(0, 1, (25, 6)), rng.normal(0, 1, (40, 6)), kernel, draws=199).found() for _ in range(150)]
    p = np.array([of.p for of in found])
    assert 0.4 < p.mean() < 0.6 and 0.01 <= (p <= 0.1).mean() <= 0.2
    estimates = np.array([of.estimate.mean for of in found])
    assert abs(estimates.mean()) < 3 * estimates.std() / np.sqrt(len(estimates)), "unbiased"
    inside = np.mean([of.null[0] <= of.estimate.mean <= of.null[1] for of in found])
    assert inside > 0.88


@pytest.mark.parametrize("kernel", [polynomial_kernel, gaussian_kernel])
def test_shifted_gaussians_lie_apart_and_the_interval_covers_by_how_much(
    kernel: Callable[[np.ndarray], np.ndarray],
) -> None:
    rng = np.random.default_rng(1)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(0, 1, (n, 5)), rng.normal(0.8, 1, (n, 5))

    # The Gaussian kernel's width depends on the sample; hold it at that of a large one.
    large = np.concatenate(drawn(1500))
    width = np.median(np.linalg.norm(large[:1500] - large[1500:], axis=1)) ** 2

    def fixed(faces: np.ndarray) -> np.ndarray:
        lengths = (faces**2).sum(axis=1)
        return np.asarray(np.exp(-(lengths[:, None] + lengths[None] - 2 * faces @ faces.T) / (2 * width)))

    used = polynomial_kernel if kernel is polynomial_kernel else fixed
    truth = MMD(*drawn(1500), used, draws=1).found().estimate.mean
    found = [MMD(*drawn(50), used, draws=300).found() for _ in range(60)]
    assert all(of.p < 0.05 and of.estimate.mean > of.null[1] for of in found)
    covered = np.mean([of.estimate.low <= truth <= of.estimate.high for of in found])
    assert covered >= 0.85


def test_photographs_of_several_faces_are_dealt_whole() -> None:
    """Faces of one photograph that are nearly alike are no more evidence than one of them."""
    rng = np.random.default_rng(2)
    p, naive = [], []
    for _ in range(60):
        x, y = (np.repeat(rng.normal(0, 1, (12, 3)), 4, axis=0) + rng.normal(0, 0.01, (48, 3)) for _ in range(2))
        photographs = np.repeat(np.arange(12), 4)
        p.append(MMD(x, y, gaussian_kernel, photographs, photographs, draws=99).found().p)
        naive.append(MMD(x, y, gaussian_kernel, draws=99).found().p)
    assert np.mean(np.array(p) <= 0.05) <= 0.15 < np.mean(np.array(naive) <= 0.05)


def test_faces_that_are_all_alike_and_features_without_bounds() -> None:
    same = np.ones((5, 3))
    assert MMD(same, same, gaussian_kernel).found().estimate.mean == pytest.approx(0)
    assert MMD(same, same, gaussian_kernel).found().p == 1
    for x in (np.full((5, 3), np.nan), np.full((5, 3), 1e200)):
        with pytest.raises(ValueError, match="finite"):
            MMD(x, same, polynomial_kernel)
    with pytest.raises(ValueError, match="two photographs"):
        MMD(same[:1], same, polynomial_kernel)


def test_features_are_what_the_head_sees(data_root: Path, prepared_dir: Path) -> None:
    crop = CropConfig(size=32, box="landmarks")
    real = RealDataModule(data_root=data_root, prepared_dir=prepared_dir, n_val=6, crop=crop)
    synthetic = SyntheticDataModule(data_root=data_root, prepared_dir=prepared_dir, crop=crop, val_split=0.25)
    model = LandmarkRegressor("test_resnet", 32)
    faces = real.val_set()
    features = features_of(model, faces, np.arange(6), batch_size=4)
    assert features.shape == (6, model.head.in_features)
    answer = model(faces.__getitems__(range(6))["image"]).detach().numpy()
    numbers = features @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
    own = (model.mean_shape.numpy() + 0.25 * numbers.reshape(6, 68, 2)) * 32
    np.testing.assert_allclose(answer, own, atol=1e-3)
    found = domain_distance(model, synthetic.val_set(), faces)
    assert found is not None and (found.n_synthetic, found.n_real, found.width) == (6, 6, model.head.in_features)


def test_a_run_keeps_how_far_its_domains_lie_apart(cli: Callable[..., Answer], quick: list[str], tmp_path: Path) -> None:
    for recipe in ("synthetic_only", "real_only"):
        assert cli("run", recipe, *quick).code == 0
    records = {record.recipe: record for record in map(read_record, (tmp_path / "runs").glob("*/result.json"))}
    assert records["real_only"].domain_distance is None
    kept = records["synthetic_only"].domain_distance
    assert kept is not None and kept.features.startswith("test_resnet, ") and 0 < kept.kid_p <= 1
    assert kept.kid_interval[0] <= kept.kid <= kept.kid_interval[1] and kept.mmd_null[0] <= kept.mmd_null[1]
