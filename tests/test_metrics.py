"""Metrics against errors worked out by hand and an independent NumPy reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import chi2, norm

from domaingap.metrics import (
    METRICS,
    SIGMA_METRICS,
    AreaUnderCED,
    CumulativeErrorDistribution,
    FailureRate,
    NMEPercentile,
    NormalizedMeanError,
    RootMeanSquareZ,
    ced_curve,
    landmark_metrics,
    normalized_mean_error,
    normalizer_length,
    score,
)
from domaingap.predictions import Predictions


@pytest.fixture
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true points of 11 faces with errors of very different sizes."""
    rng = np.random.default_rng(7)
    truth = rng.uniform(0, 400, (11, 68, 2))
    return truth + rng.normal(0, 1, (11, 68, 2)) * rng.uniform(0.5, 40, (11, 1, 1)), truth


def faces_with(nme: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true points of faces with these NME: all points off alike, the outer eye corners 100 px apart."""
    truth = np.zeros((len(nme), 68, 2))
    truth[:, 45, 0], truth[:, 0, 1] = 100.0, 60.0
    truth[:, 42:48, 0] = 100.0
    return torch.from_numpy(truth + np.stack([np.zeros(len(nme)), nme], axis=-1)[:, None]), torch.from_numpy(truth)


def reference_nme(prediction: np.ndarray, truth: np.ndarray, normalizer: str, indices: range) -> np.ndarray:
    """NME in percent, written with loops and nothing of ours."""
    result = []
    for p, t in zip(prediction, truth, strict=True):
        if normalizer == "outer_eye_corners":
            length = np.hypot(*(t[36] - t[45]))
        elif normalizer == "pupils":
            length = np.hypot(*(sum(t[i] for i in range(36, 42)) / 6 - sum(t[i] for i in range(42, 48)) / 6))
        else:
            w, h = max(t[:, 0]) - min(t[:, 0]), max(t[:, 1]) - min(t[:, 1])
            length = (w * h) ** 0.5 if normalizer == "box" else (w * w + h * h) ** 0.5
        result.append(100 * sum(np.hypot(*(p[i] - t[i])) for i in indices) / len(indices) / length)
    return np.array(result)


def test_a_shift_of_three_and_four_pixels_by_hand() -> None:
    truth = np.zeros((1, 68, 2))
    truth[0, 36], truth[0, 45] = (0, 0), (50, 0)
    truth[0, 37:42] = (0, 0)
    truth[0, 0] = (0, 20)
    prediction = truth.copy()
    prediction[0, :17] += (3, 4)  # 5 px on the 17 jaw points
    t = torch.from_numpy
    assert normalized_mean_error(t(prediction), t(truth))[0].item() == pytest.approx(100 * 5 * 17 / 68 / 50)
    assert normalized_mean_error(t(prediction), t(truth), region="jaw")[0].item() == pytest.approx(10.0)
    assert normalized_mean_error(t(prediction), t(truth), region="no_jaw")[0].item() == 0.0
    assert normalizer_length(t(truth), "box")[0].item() == pytest.approx(1000**0.5)
    assert normalizer_length(t(truth), "box_diagonal")[0].item() == pytest.approx(2900**0.5)
    # One of the six points of eye 42-47 is at 50: the means of the eyes lie 50/6 apart.
    assert normalizer_length(t(truth), "pupils")[0].item() == pytest.approx(50 / 6)


@pytest.mark.parametrize("normalizer", ["outer_eye_corners", "pupils", "box", "box_diagonal"])
def test_nme_equals_the_reference(faces: tuple[np.ndarray, np.ndarray], normalizer: str) -> None:
    prediction, truth = faces
    ours = normalized_mean_error(torch.from_numpy(prediction), torch.from_numpy(truth), normalizer)  # type: ignore[arg-type]
    np.testing.assert_allclose(ours.numpy(), reference_nme(prediction, truth, normalizer, range(68)), rtol=1e-12)


def test_regions_weigh_up_to_the_whole(faces: tuple[np.ndarray, np.ndarray]) -> None:
    values = score(*faces)
    sizes = {"jaw": 17, "brows": 10, "nose": 9, "eyes": 12, "mouth": 20}
    assert sum(values[f"nme_{r}"] * n for r, n in sizes.items()) / 68 == pytest.approx(values["nme"])
    assert sum(values[f"nme_{r}"] * n for r, n in sizes.items() if r != "jaw") / 51 == pytest.approx(values["nme_no_jaw"])
    assert values["nme_mouth"] == pytest.approx(reference_nme(*faces, "outer_eye_corners", range(48, 68)).mean())


@pytest.mark.parametrize("sizes", [[11], [4, 4, 3], [10, 1], [1] * 11])
def test_odd_last_batches_change_nothing(faces: tuple[np.ndarray, np.ndarray], sizes: list[int]) -> None:
    prediction, truth = (torch.from_numpy(array) for array in faces)
    collection, curve, start = landmark_metrics("test/"), CumulativeErrorDistribution(60.0), 0
    for size in sizes:
        collection.update(prediction[start : start + size], truth[start : start + size])
        curve.update(prediction[start : start + size], truth[start : start + size])
        start += size
    nme = reference_nme(*faces, "outer_eye_corners", range(68))
    values = {name: float(value) for name, value in collection.compute().items()}
    assert values["test/nme"] == pytest.approx(nme.mean(), rel=1e-12)
    assert values["test/fr@8"] == pytest.approx(100 * np.mean(nme > 8))
    assert values["test/auc@10"] == pytest.approx(1 - np.mean(np.minimum(nme, 10)) / 10)
    assert 0 < values["test/fr@8"] < 100, "a face on either side of the threshold, or the test says nothing"
    thresholds, shares = curve.compute()
    np.testing.assert_allclose(shares, [np.mean(nme <= t) for t in thresholds.numpy()])


def test_auc_is_the_area_under_the_curve() -> None:
    nme = np.array([1.0, 2.5, 4.0, 9.0, 30.0])
    for threshold in (8.0, 10.0):
        fine = np.linspace(0, threshold, 400_001)
        area = np.trapezoid(ced_curve(nme, fine), fine) / threshold
        prediction, truth = faces_with(nme)
        metric = AreaUnderCED(threshold)
        metric.update(prediction, truth)
        assert metric.compute().item() == pytest.approx(area, abs=1e-5)


def test_a_face_at_the_threshold_has_not_failed() -> None:
    metric = FailureRate(8.0)
    metric.update(*faces_with(np.array([1.0, 2.5, 7.999, 8.0, 30.0])))
    assert metric.compute().item() == pytest.approx(20.0)


def test_percentiles_by_hand_and_against_numpy(faces: tuple[np.ndarray, np.ndarray]) -> None:
    """Of the NME 1, 2, …, 11 the one at (11 - 1) 0.9 = 9, counted from 0, is 10; P95 lies half-way to 11."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, 12.0))
    by_hand = score(*(points.numpy() for points in faces_with(values)))
    assert [by_hand[f"nme_p{p}"] for p in (90, 95, 99)] == pytest.approx([10.0, 10.5, 10.9])
    nme = reference_nme(*faces, "outer_eye_corners", range(68))
    for percent, value in ((90, score(*faces)["nme_p90"]), (95, score(*faces)["nme_p95"]), (99, score(*faces)["nme_p99"])):
        assert value == pytest.approx(np.percentile(nme, percent), rel=1e-12)
    batched = NMEPercentile(40, "box")
    for part in (slice(0, 4), slice(4, 11)):
        batched.update(*(torch.from_numpy(array[part]) for array in faces))
    assert batched.compute().item() == pytest.approx(np.percentile(reference_nme(*faces, "box", range(68)), 40), rel=1e-12)


def test_an_entry_is_all_that_a_metric_needs(faces: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "nme_p25", NMEPercentile(25, "pupils"))
    expected = np.percentile(reference_nme(*faces, "pupils", range(68)), 25)
    photographs = np.array([f"photo{i // 2}" for i in range(11)])
    metrics, intervals = Predictions(photographs, photographs, *faces, photographs).metrics()
    assert score(*faces)["nme_p25"] == pytest.approx(expected) and metrics["nme_p25"] == pytest.approx(expected)
    assert intervals["nme_p25"][0] < expected < intervals["nme_p25"][1]
    assert METRICS["nme_p25"].text(expected) == f"{expected:.2f}"
    assert [(METRICS[name].unit, METRICS[name].text(0.12345)) for name in ("nme", "fr@8", "auc@8")] == [
        ("%", "0.12"),
        ("%", "0.1"),
        ("", "0.123"),
    ]


def test_a_crops_scale_and_aspect_leak_in_nowhere(faces: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = faces
    for scale in (0.25, 7.0):
        assert score(prediction * scale, truth * scale)["nme"] == pytest.approx(score(prediction, truth)["nme"])


def test_class_names_and_per_face_values_agree(faces: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = faces
    names = np.array([f"f{i}" for i in range(11)])
    predictions = Predictions(names, names, prediction, truth, np.full(11, "mtcnn"))
    by_class = score(prediction, truth)
    by_face, intervals = predictions.metrics()
    assert by_class.keys() == by_face.keys() == intervals.keys()
    for name, value in by_class.items():
        assert by_face[name] == pytest.approx(value, rel=1e-12), name
        assert intervals[name][0] <= value <= intervals[name][1], name
    nme = reference_nme(prediction, truth, "outer_eye_corners", range(68))
    drawn = nme[np.random.default_rng(1).integers(11, size=(20_000, 11))]
    assert intervals["nme"] == pytest.approx(np.quantile(drawn.mean(axis=1), [0.025, 0.975]), rel=0.05)
    assert intervals["nme_p90"] == pytest.approx(np.quantile(np.percentile(drawn, 90, axis=1), [0.025, 0.975]), rel=0.05)


def test_full_is_common_and_challenging_weighed(faces: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = faces
    full = score(prediction, truth)["nme"]
    parts = [score(prediction[:8], truth[:8])["nme"], score(prediction[8:], truth[8:])["nme"]]
    assert full == pytest.approx((8 * parts[0] + 3 * parts[1]) / 11)


def test_wrong_shapes_and_flat_faces_are_refused() -> None:
    points = torch.rand(2, 68, 2)
    with pytest.raises(ValueError, match="68, 2"):
        normalized_mean_error(points[:, :67], points[:, :67])
    with pytest.raises(ValueError, match="length of a face is zero"):
        normalized_mean_error(points, torch.zeros(2, 68, 2))
    with pytest.raises(ValueError, match="unknown normalizer"):
        normalizer_length(points, "inches")  # type: ignore[arg-type]


def test_classes_reset() -> None:
    metric, points = NormalizedMeanError(), torch.rand(3, 68, 2) * 100
    metric.update(points + 5, points)
    metric.reset()
    metric.update(points, points)
    assert metric.compute() == 0
    tail = NMEPercentile(90)
    tail.update(points + 5, points)
    tail.reset()
    tail.update(points, points)
    assert tail.compute() == 0


def gaussians(times: float, n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted and true points, and standard deviations of very different sizes; the errors are ``times`` as large."""
    rng = np.random.default_rng(seed)
    truth, sigma = rng.uniform(0, 400, (n, 68, 2)), rng.uniform(0.3, 20, (n, 68))
    return truth + times * sigma[..., None] * rng.normal(size=truth.shape), truth, sigma


def of_sigma(prediction: np.ndarray, truth: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """The metrics of standard deviations, as scipy has them: through the probability integral transform."""
    z = np.array([(t - p) / s for p, t, s in zip(prediction, truth, sigma[..., None], strict=True)]).ravel()
    below = norm.cdf(z)
    central = 2 * np.abs(below - 0.5)
    levels = [i / 20 for i in range(1, 20)]
    return {
        "sigma_rms_z": float(np.sqrt(chi2.mean(1) * np.mean(z**2))),
        "sigma_within_1": float(100 * np.mean(central <= norm.cdf(1) - norm.cdf(-1))),
        "sigma_within_2": float(100 * np.mean(central <= norm.cdf(2) - norm.cdf(-2))),
        "sigma_calibration_error": float(100 * np.mean([abs(np.mean(below <= level) - level) for level in levels])),
    }


def named(prediction: np.ndarray, truth: np.ndarray, sigma: np.ndarray | None) -> Predictions:
    names = np.array([f"f{i}" for i in range(len(truth))])
    return Predictions(names, names, prediction, truth, np.full(len(truth), "mtcnn"), sigma)


@pytest.mark.parametrize("times", [0.6, 1.0, 1.7])
def test_standard_deviations_of_known_errors(times: float) -> None:
    prediction, truth, sigma = gaussians(times)
    found, intervals = named(prediction, truth, sigma).metrics()
    expected = of_sigma(prediction, truth, sigma)
    assert {name: found[name] for name in SIGMA_METRICS} == pytest.approx(expected, rel=1e-9)
    # What follows from the factor alone: a coordinate lies below a quantile q with the chance of q / factor.
    assert found["sigma_rms_z"] == pytest.approx(times, rel=0.01)
    assert found["sigma_within_1"] == pytest.approx(100 * (2 * norm.cdf(1 / times) - 1), abs=0.5)
    assert found["sigma_within_2"] == pytest.approx(100 * (2 * norm.cdf(2 / times) - 1), abs=0.5)
    quantiles = norm.ppf(np.arange(1, 20) / 20)
    error = 100 * np.abs(norm.cdf(quantiles / times) - norm.cdf(quantiles)).mean()
    assert found["sigma_calibration_error"] == pytest.approx(error, abs=0.3)
    for name in ("sigma_rms_z", "sigma_within_1", "sigma_within_2"):
        low, high = intervals[name]
        assert low < found[name] < high and high - low < 0.02 * found[name], name
    if times == 1:
        assert all(found[name] == pytest.approx(metric.ideal, abs=0.5) for name, metric in SIGMA_METRICS.items())
    # The factor that is measured is the one that makes them fit.
    factor = RootMeanSquareZ().per_face(prediction, truth, sigma).mean() ** 0.5
    scaled, _ = named(prediction, truth, factor * sigma).metrics()
    assert scaled["sigma_rms_z"] == pytest.approx(1) and scaled["sigma_within_1"] == pytest.approx(68.27, abs=0.5)
    assert scaled["sigma_calibration_error"] < 0.3


def test_the_factor_is_the_most_likely_one() -> None:
    """σ scaling by scipy's likelihood, on errors with heavier tails than a normal variable has."""
    prediction, truth, sigma = gaussians(1.0, 50)
    truth = prediction + 1.3 * sigma[..., None] * np.random.default_rng(3).standard_t(4, truth.shape)
    z = (truth - prediction) / sigma[..., None]
    best = minimize_scalar(lambda s: -norm.logpdf(z, scale=s).sum(), bounds=(0.1, 10), method="bounded").x
    assert named(prediction, truth, sigma).metrics()[0]["sigma_rms_z"] == pytest.approx(best, rel=1e-4)


def test_calibration_intervals_resample_photographs() -> None:
    prediction, truth, sigma = gaussians(1.3, 40)
    photographs = np.array([f"p{i // 2}" for i in range(40)])
    own = Predictions(photographs, photographs, prediction, truth, photographs, sigma)
    _, intervals = own.metrics()
    rng = np.random.default_rng(1)
    drawn = [of_sigma(prediction[k], truth[k], sigma[k]) for k in (_pairs(rng) for _ in range(1500))]
    for name in SIGMA_METRICS:
        expected = np.quantile([values[name] for values in drawn], [0.025, 0.975])
        assert intervals[name] == pytest.approx(expected, abs=0.15 * (expected[1] - expected[0])), name


def _pairs(rng: np.random.Generator) -> np.ndarray:
    """Faces of 20 of 20 photographs of two faces."""
    first = 2 * rng.integers(20, size=20)
    return np.concatenate([first, first + 1])


def test_who_tells_no_standard_deviation_has_no_figures_of_it(faces: tuple[np.ndarray, np.ndarray]) -> None:
    values, intervals = named(*faces, None).metrics()
    assert not any(name.startswith("sigma") for name in (*values, *intervals))
    assert [SIGMA_METRICS[name].text(68.2689) for name in ("sigma_rms_z", "sigma_within_1")] == ["68.27", "68.3"]
