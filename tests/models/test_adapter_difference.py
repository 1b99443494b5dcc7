"""The label gap without the network's own error, on faces and networks whose gaps and errors were made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from domaingap.config import AdapterConfig
from domaingap.models.adapter_choice import AdapterFamily, Scatter, beyond_chance
from domaingap.models.adapter_diagnosis import (
    diagnose,
    keeps_spread,
    movement,
    movement_warning,
    spread_beside,
    spread_bounds,
    spread_warning,
)
from domaingap.models.adapter_difference import Repair, gap_and_error
from domaingap.models.gap_and_error import APART
from domaingap.models.label_adapter import Kind, LabelAdapter
from domaingap.shapes import frame_of, mirror
from tests.conftest import MEAN_FACE
from tests.models.test_label_adapter import BASIS, SHIFT, faces, nme

EYES = float(np.linalg.norm(MEAN_FACE[45] - MEAN_FACE[36]))
BIAS = mirror(torch.from_numpy(np.random.default_rng(11).normal(0, 1, (68, 2)))).numpy()
BIAS = 1.4 * (BIAS + mirror(torch.from_numpy(BIAS)).numpy()) / 2
"""A network's mean error, the same left and right."""



def network(truth: np.ndarray, seed: int, bias: np.ndarray = BIAS, left: float = 0.8, noise: float = 1.0) -> np.ndarray:
    """Answers for faces: ``left`` of each one's own shape, a mean error, and errors that look like faces."""
    rng = np.random.default_rng(seed)
    wrong = np.einsum("nk,kic->nic", rng.normal(size=(len(truth), 8)), BASIS) * 0.4 * noise
    return MEAN_FACE + bias + left * (truth - MEAN_FACE) + wrong + rng.normal(0, noise, truth.shape)


def annotated(exact: np.ndarray, seed: int) -> np.ndarray:
    """Labels as annotators set them."""
    return exact + np.random.default_rng(seed).normal(0, 0.4, exact.shape)


def same(truth: np.ndarray) -> np.ndarray:
    """No other convention."""
    return truth


def shifted(truth: np.ndarray) -> np.ndarray:
    """Another convention: jaw, brows and mouth elsewhere."""
    return truth + SHIFT


def bent(truth: np.ndarray) -> np.ndarray:
    """Another convention that depends on the face: every face 12% nearer to the mean, and the jaw lower."""
    return truth + SHIFT - 0.12 * (truth - MEAN_FACE)


def people(n: int, seed: int) -> np.ndarray:
    """Faces that also differ point by point."""
    return faces(n, seed) + np.random.default_rng(100 + seed).normal(0, 0.8, (n, 68, 2))


class Toy:
    """Synthetic faces held out and to train on, real faces to fit and to choose on, and answers of a network."""

    def __init__(self, to_real: Callable[[np.ndarray], np.ndarray], n_real: int = 300, **unlike: float | np.ndarray) -> None:
        self.held_out, self.labels = people(300, 0), people(400, 1)
        self.known = network(self.held_out, 2)
        real, val = people(n_real, 3), people(200, 4)
        self.answers = network(real, 5, **unlike)  # type: ignore[arg-type]
        self.annotations = annotated(to_real(real), 6)
        self.val = (network(val, 7, **unlike), annotated(to_real(val), 8))  # type: ignore[arg-type]
        self.right = to_real(self.labels)

    def adapter(self, kind: Kind | str = "auto", difference: bool = True, on_val: bool = True) -> LabelAdapter:
        config = AdapterConfig(kind=kind, epochs=60, hidden=16)  # type: ignore[arg-type]
        repair = Repair.fit(self.known, self.held_out, config) if difference else None
        return LabelAdapter.fit(
            self.answers, self.annotations, validation=self.val if on_val else None, labels=self.labels, config=config,
            repair=repair,
        )  # fmt: skip

    def away(self, adapter: LabelAdapter | None) -> float:
        """Mean distance of adapted labels from the right ones, in % of the eyes' distance."""
        points = adapter.adapt(self.labels) if adapter is not None else self.labels
        return float(100 * np.linalg.norm(points - self.right, axis=-1).mean() / EYES)


@pytest.mark.parametrize("on_val", [True, False], ids=["validation", "cross-validation"])
@pytest.mark.parametrize("kind", ["shift", "linear", "mlp", "auto"])
@pytest.mark.parametrize("gap", [same, shifted], ids=["no gap", "gap"])
def test_the_networks_error_stays_out_of_the_labels(gap: Callable[[np.ndarray], np.ndarray], kind: str, on_val: bool) -> None:
    toy = Toy(gap)
    plain, corrected = toy.away(toy.adapter(kind, difference=False)), toy.away(toy.adapter(kind, on_val=on_val))
    print(kind, on_val, toy.away(None), plain, corrected)
    assert plain > 2, "the trap"
    assert corrected < 0.2 * plain
    if gap is same:
        assert movement(toy.adapter(kind, on_val=on_val), toy.labels)["all"] < 0.5, "labels that are right stay"
    else:
        assert corrected < 0.25 * toy.away(None), "the gap goes"


def test_t() -> None:
    for gap in (same, shifted):
        for n in (10, 30, 100, 300):
            toy = Toy(gap, n)
            print(
                n,
                toy.away(None),
                toy.away(toy.adapter("auto", False)),
                toy.away(toy.adapter("auto")),
                toy.away(toy.adapter("auto", on_val=False)),
            )
        for unlike in ({"noise": 1.7}, {"bias": 0.5 * BIAS}, {"left": 0.6}):
            toy = Toy(gap, **unlike)
            rep = Repair.fit(toy.known, toy.held_out)
            print(
                list(unlike),
                toy.away(None),
                toy.away(toy.adapter("auto", False)),
                toy.away(toy.adapter("auto")),
                gap_and_error(rep, toy.answers, toy.annotations),
            )
