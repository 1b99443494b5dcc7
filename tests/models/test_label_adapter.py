"""The label adapter on faces whose label gap is known, because it was made here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from domaingap.config import AdapterConfig
from domaingap.errors import UserError
from domaingap.landmarks import IBUG68
from domaingap.metrics import normalized_mean_error
from domaingap.models.adapter_choice import AdapterFamily
from domaingap.models.adapter_diagnosis import (
    diagnose,
    mean_movement,
    movement,
    movement_warning,
    shape_kept,
    spread_ratio,
    spread_warning,
)
from domaingap.models.label_adapter import KINDS, LabelAdapter
from tests.conftest import MEAN_FACE

FAST = AdapterConfig(epochs=40, hidden=16)
BASIS = np.einsum(
    "ij,kjc->kic",
    np.exp(-(np.subtract.outer(np.arange(68), np.arange(68)) ** 2) / 50),
    np.random.default_rng(5).normal(0, 0.35, (8, 68, 2)),
)
"""Smooth ways in which the faces below differ."""

SHIFT = np.zeros((68, 2))
SHIFT[:17, 1], SHIFT[17:27, 1], SHIFT[48:60, 1] = 2.0, -1.5, 0.7
"""A label gap: the jaw lower, the brows higher, the outer mouth a little lower; the same left and right."""


def faces(n: int, seed: int) -> np.ndarray:
    """Faces [n, 68, 2], each with a shape, place, size and roll of its own."""
    rng = np.random.default_rng(seed)
    shapes = MEAN_FACE + np.einsum("nk,kic->nic", rng.normal(size=(n, 8)), BASIS)
    return shapes


def placed(points: np.ndarray, seed: int) -> np.ndarray:
    """The same faces somewhere else: each by a similarity of its own."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-0.6, 0.6, len(points)), rng.uniform(0.5, 3, len(points))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return (points - 48) @ turn * scale[:, None, None] + rng.uniform(-100, 500, (len(points), 1, 2))


def network(truth: np.ndarray, seed: int) -> np.ndarray:
    """A network's answers for faces: drawn to the mean, and with errors that look like faces, about 6 NME."""
    rng = np.random.default_rng(seed)
    wrong = np.einsum("nk,kic->nic", rng.normal(size=(len(truth), 8)), BASIS) * 0.7
    return MEAN_FACE + 0.8 * (truth - MEAN_FACE) + wrong + rng.normal(0, 1, truth.shape)


def nme(a: np.ndarray, b: np.ndarray) -> float:
    return float(normalized_mean_error(torch.from_numpy(a), torch.from_numpy(b)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_a_similarity_of_the_input_is_the_same_similarity_of_the_output(kind: str) -> None:
    truth = faces(60, 0)
    adapter = LabelAdapter.fit(network(truth, 1), truth + SHIFT, config=AdapterConfig(kind=kind, epochs=40))
    points = network(faces(9, 2), 3)
    turn = np.array([[np.cos(2.5), np.sin(2.5)], [-np.sin(2.5), np.cos(2.5)]])
    assert adapter.adapt(points @ turn * 3.7 + [900, -50]) == pytest.approx(adapter.adapt(points) @ turn * 3.7 + [900, -50])
    if kind != "identity":
        assert np.abs(adapter.adapt(points) - points).max() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirrored_face_is_adapted_to_the_mirror_image(kind: str) -> None:
    truth = faces(60, 0)
    lopsided = truth + SHIFT + np.where(np.arange(68) == 36, 2.0, 0.0)[:, None]
    adapter = LabelAdapter.fit(truth, lopsided, config=AdapterConfig(kind=kind, epochs=40))
    points = faces(5, 2)
    assert adapter.adapt(IBUG68.flip(points, 97)) == pytest.approx(IBUG68.flip(adapter.adapt(points), 97), abs=1e-9)


@pytest.mark.parametrize("kind", ["shift", "linear", "mlp", "auto"])
def test_a_known_label_shift_is_recovered(kind: str) -> None:
    truth = faces(200, 0)
    inputs, targets = placed(truth, 7), placed(truth + SHIFT, 7)
    adapter = LabelAdapter.fit(inputs, targets, config=AdapterConfig(kind=kind, epochs=40))  # type: ignore[arg-type]
    others = faces(100, 1)
    gap = nme(placed(others, 8), placed(others + SHIFT, 8))
    left = nme(adapter.adapt(placed(others, 8)), placed(others + SHIFT, 8))
    # The shift is constant in the faces' pixels; in frames of their own size it varies with the face a little.
    assert gap > 1.5 and left < 0.1 * gap
    mean, moved = mean_movement(adapter, others)
    unit = np.linalg.norm(MEAN_FACE[45] - MEAN_FACE[36]) / 100
    assert moved * unit == pytest.approx(SHIFT, abs=0.25) and mean.shape == (68, 2)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_gap_that_depends_on_the_face_is_recovered_and_a_shift_cannot(kind: str) -> None:
    rng = np.random.default_rng(3)
    truth, others = faces(400, 0), faces(100, 1)
    bend = rng.normal(0, 0.02, (136, 136))

    def bent(points: np.ndarray) -> np.ndarray:
        return points + SHIFT + ((points - MEAN_FACE).reshape(-1, 136) @ bend).reshape(-1, 68, 2)

    # No mirror images here: the gap isn't symmetric, so what is left is what the symmetric half can't explain.
    fitted = LabelAdapter.fit(truth, bent(truth), config=AdapterConfig(kind=kind, epochs=200))  # type: ignore[arg-type]
    shift = LabelAdapter.fit(truth, bent(truth), kind="shift")
    assert nme(fitted.adapt(others), bent(others)) < 0.8 * nme(shift.adapt(others), bent(others))


def test_without_a_label_gap_labels_stay_where_they_are() -> None:
    """The trap: fitted on predictions, an adapter that helps them draws exact labels to the mean."""
    truth, val, labels = faces(300, 0), faces(200, 1), faces(150, 2)
    family = AdapterFamily(network(truth, 3), truth, FAST, (network(val, 4), val))
    for_predictions, for_labels = family.choose(), family.choose(labels)
    others = faces(200, 5)
    helped = nme(for_predictions.adapter.adapt(network(others, 6)), others)
    assert helped < 0.93 * nme(network(others, 6), others), "it helps predictions"
    assert movement(for_labels.adapter, labels)["all"] < 0.5 * movement(for_predictions.adapter, labels)["all"]
    assert nme(for_labels.adapter.adapt(labels), labels) < 1.0, "exact labels hardly move"
    assert spread_ratio(for_labels.adapter, labels) >= 0.95 and shape_kept(for_labels.adapter, labels) >= 0.95
    assert spread_ratio(for_predictions.adapter, labels) < 0.9
    warning = spread_warning(diagnose(for_predictions.adapter, val, labels), "predictions")
    assert warning is not None and "don't use it on labels" in warning
    assert spread_warning(diagnose(for_labels.adapter, val, labels), "labels") is None
    for distance, use, told in ((0.49, "labels", False), (0.5, "labels", True), (3.0, "predictions", False)):
        assert (movement_warning({"movement_labels": {"all": distance}}, use) is not None) == told


def test_both_uses_find_the_gap() -> None:
    truth, val, labels = faces(300, 0), faces(200, 1), faces(150, 2)
    family = AdapterFamily(network(truth, 3), truth + SHIFT, FAST, (network(val, 4), val + SHIFT))
    adapter = family.choose(labels).adapter
    assert nme(adapter.adapt(labels), labels + SHIFT) < 0.35 * nme(labels, labels + SHIFT)


def test_variety_that_is_not_their_own_is_not_kept() -> None:
    """Shapes exchanged between faces have the same spread; it isn't theirs any more."""
    labels = faces(100, 0)
    adapter = LabelAdapter.fit(labels, labels[::-1].copy(), kind="identity")
    assert spread_ratio(adapter, labels) == 1 and shape_kept(adapter, labels) == 1
    scrambled = LabelAdapter("linear").double()
    scrambled.reference.copy_(LabelAdapter.fit(labels, labels, kind="shift").reference)
    scrambled.mean.copy_(LabelAdapter.fit(labels, labels, kind="shift").mean)
    orthogonal, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(136, 136)))
    scrambled.weight.copy_(torch.from_numpy(orthogonal - np.eye(136)))
    assert spread_ratio(scrambled, labels) == pytest.approx(1, abs=0.05)
    assert shape_kept(scrambled, labels) < 0.4


def test_spread_ratio_is_that_of_the_coordinates() -> None:
    """Against the definition, for an adapter that halves deviations from the mean."""
    labels = faces(400, 0)
    half = LabelAdapter("linear").double()
    base = LabelAdapter.fit(labels, labels, kind="shift")
    half.reference.copy_(base.reference)
    half.mean.copy_(base.mean)
    half.weight.copy_(-0.5 * torch.eye(136, dtype=torch.float64))
    assert spread_ratio(half, labels) == pytest.approx(0.5, abs=0.02)
    assert shape_kept(half, labels) == pytest.approx(0.5, abs=1e-9)


def test_movement_per_region() -> None:
    labels = faces(50, 0)
    adapter = LabelAdapter.fit(labels, labels + SHIFT, kind="shift")
    moved = movement(adapter, labels)
    distance = np.linalg.norm(adapter.adapt(labels) - labels, axis=-1)
    eyes = np.linalg.norm(labels[:, 36] - labels[:, 45], axis=-1)
    # In frames of unit size; these faces are of about the same size.
    assert moved["jaw"] == pytest.approx(100 * distance[:, :17].mean() / eyes.mean(), rel=0.02)
    assert moved["all"] == pytest.approx(np.average([moved[r] for r in IBUG68.regions], weights=[17, 10, 9, 12, 20]))
    assert moved["jaw"] > moved["brows"] > moved["eyes"]


def test_cross_validation_holds_groups_together_and_chooses_without_other_faces() -> None:
    truth = faces(40, 0)
    inputs = network(truth, 1)
    # Each face twice, as two annotations of one photograph: held out one at a time, the other would give it away.
    doubled = AdapterFamily(np.repeat(inputs, 2, 0), np.repeat(truth, 2, 0), FAST, groups=np.repeat(np.arange(40), 2))
    apart = AdapterFamily(np.repeat(inputs, 2, 0), np.repeat(truth, 2, 0), FAST)
    assert doubled.choose().chosen_on == "cross-validation"
    assert doubled.choose().nme > apart.choose().nme, "leaking faces look better than they are"
    assert AdapterFamily(inputs[:1], truth[:1], FAST).choose().adapter.kind == "shift"


def test_files(tmp_path: Path) -> None:
    truth = faces(60, 0)
    for kind in KINDS:
        adapter = LabelAdapter.fit(network(truth, 1), truth, config=AdapterConfig(kind=kind, epochs=40, hidden=8))
        adapter.save(tmp_path / "adapter.ckpt")
        loaded = LabelAdapter.load(tmp_path / "adapter.ckpt")
        assert np.array_equal(loaded.adapt(truth), adapter.adapt(truth)) and loaded.key() == adapter.key()
        assert loaded.adapt(truth[0]).shape == (68, 2) and loaded.adapt(truth[:0]).shape == (0, 68, 2)
    (tmp_path / "broken.ckpt").write_bytes(b"no")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for name, message in (("broken", "can't be read"), ("none", "no such"), ("other", "holds no label adapter")):
        with pytest.raises(UserError, match=message):
            LabelAdapter.load(tmp_path / f"{name}.ckpt")


def test_same_pairs_same_adapter() -> None:
    truth = faces(60, 0)
    one, two = (LabelAdapter.fit(network(truth, 1), truth, config=AdapterConfig("mlp", epochs=40), seed=3) for _ in range(2))
    assert one.key() == two.key()
    assert LabelAdapter.fit(network(truth, 1), truth, config=AdapterConfig("mlp", epochs=40), seed=4).key() != one.key()


def test_bad_input_is_named() -> None:
    truth = faces(10, 0)
    broken = truth.copy()
    broken[4, 3, 0] = np.nan
    for arguments, message in (
        ((truth, truth[:9]), "10 inputs, but 9 targets"),
        ((truth[:, :66], truth[:, :66]), "give at least one face"),
        ((broken, truth), "inputs of face 4"),
        ((truth[:0], truth[:0]), "give at least one face"),
    ):
        with pytest.raises(UserError, match=message):
            LabelAdapter.fit(*arguments)
    with pytest.raises(UserError, match="adapter.kind is cubic; known: auto"):
        LabelAdapter.fit(truth, truth, kind="cubic")
    with pytest.raises(UserError, match="3 groups for 10 pairs"):
        LabelAdapter.fit(truth, truth, groups=[1, 2, 3])
    adapter = LabelAdapter.fit(truth, truth, kind="shift")
    with pytest.raises(ValueError, match="expected landmarks"):
        adapter.adapt(truth[:, :60])
    with pytest.raises(ValueError, match="no frame"):
        adapter.adapt(np.zeros((1, 68, 2)))


@pytest.mark.slow
def test_example_of_the_readme(tmp_path: Path) -> None:
    """The README's example for people who only want the adapter, run as it stands there."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "LabelAdapter" in block)
    assert len(code.splitlines()) <= 20
    truth = faces(80, 0)
    np.save(tmp_path / "predicted.npy", placed(truth, 1))
    np.save(tmp_path / "annotated.npy", placed(truth + SHIFT, 1))
    np.save(tmp_path / "synthetic_answers.npy", placed(network(truth, 2), 3))
    np.save(tmp_path / "synthetic_labels.npy", placed(truth, 3))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapter.ckpt").is_file()
    before, after = map(float, re.findall(r"([\d.]+)%", done.stdout)[:2])
    assert before > 1.5 and after < 0.5, done.stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "cubic"}, {"kind": ["mlp"]}, {"hidden": 10**12}, {"hidden": 1 << 19}, {"hidden": 0},
        {"strength": float("nan")},        {"strength": None}, {"strength": 10**400}, {"setting": "x"}, {"depth": 1},
    ],
)  # fmt: skip
def test_odd_files_are_refused_before_anything_is_made(settings: dict[str, Any], tmp_path: Path) -> None:
    LabelAdapter("mlp", hidden=4).save(tmp_path / "a.ckpt")
    assert LabelAdapter.load(tmp_path / "a.ckpt").hidden == 4
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    torch.save({**content, "hyper_parameters": {**content["hyper_parameters"], **settings}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt: .*give a file that LabelAdapter\.save wrote"):
        LabelAdapter.load(tmp_path / "a.ckpt")
