"""The label gap without the network's own error, on faces and networks whose gaps and errors were made here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from domaingap.config import AdapterConfig, LabelsAdapterConfig
from domaingap.errors import UserError
from domaingap.models.adapter_choice import Scatter, beyond_chance
from domaingap.models.adapter_diagnosis import (
    diagnose,
    keeps_spread,
    movement,
    movement_warning,
    spread_beside,
    spread_bounds,
    spread_ratio,
    spread_warning,
)
from domaingap.models.adapter_difference import Repair, agreement, choose_difference, gap_and_error, halved
from domaingap.models.gap_and_error import GapAndError
from domaingap.models.label_adapter import LabelAdapter
from domaingap.shapes import frame_of, mirror
from tests.conftest import MEAN_FACE
from tests.models.test_label_adapter import BASIS, SHIFT, faces, nme

EYES = float(np.linalg.norm(MEAN_FACE[45] - MEAN_FACE[36]))
_BIAS = torch.from_numpy(np.random.default_rng(11).normal(0, 0.7, (68, 2)))
BIAS = (_BIAS + mirror(_BIAS)).numpy()
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


_TURN = torch.from_numpy(BASIS[0])
TURN = 1.5 * (_TURN - mirror(_TURN)).numpy()
"""How these faces differ most: to one side or the other, as by turning."""
JAW_ASIDE = np.zeros((68, 2))
JAW_ASIDE[:17, 0] = 2.5 * np.sign(TURN[:17, 0].sum() - 17 * TURN[:, 0].mean())


def turned(truth: np.ndarray, far: float = 1.0) -> np.ndarray:
    """Another convention that depends on the face: the jaw goes aside with a head that turns."""
    score = ((truth - MEAN_FACE) * TURN).sum(axis=(1, 2)) / np.square(TURN).sum()
    return truth + SHIFT + far * score[:, None, None] * JAW_ASIDE


def people(n: int, seed: int) -> np.ndarray:
    """Faces that turn, and also differ point by point."""
    rng = np.random.default_rng(100 + seed)
    return faces(n, seed) + rng.normal(size=(n, 1, 1)) * TURN + rng.normal(0, 0.8, (n, 68, 2))


class Toy:
    """Synthetic faces held out and to train on, real faces to fit and to choose on, and a network's answers for them, which
    on real faces may be ``unlike`` those on synthetic ones."""

    def __init__(self, to_real: Callable[[np.ndarray], np.ndarray], n_real: int = 300, **unlike: float | np.ndarray) -> None:
        self.held_out, self.labels = people(300, 0), people(200, 1)
        self.known = network(self.held_out, 2)
        real, val = people(n_real, 3), people(150, 4)
        self.answers = network(real, 5, **unlike)  # type: ignore[arg-type]
        self.annotations = annotated(to_real(real), 6)
        self.val = (network(val, 7, **unlike), annotated(to_real(val), 8))  # type: ignore[arg-type]
        self.right = to_real(self.labels)
        self.repair = Repair.fit(self.known, self.held_out)

    def adapter(self, kind: str = "auto", difference: bool = True, on_val: bool = True) -> LabelAdapter:
        """Fitted for labels."""
        make = LabelsAdapterConfig if difference else AdapterConfig
        return LabelAdapter.fit(
            self.answers,
            self.annotations,
            validation=self.val if on_val else None,
            labels=self.labels,
            config=make(kind=kind, epochs=40, hidden=16),  # type: ignore[arg-type]
            repair=self.repair if difference else None,
        )

    def away(self, adapter: LabelAdapter | None) -> float:
        """Mean distance of adapted labels from the right ones, in % of the eyes' distance."""
        points = adapter.adapt(self.labels) if adapter is not None else self.labels
        return float(100 * np.linalg.norm(points - self.right, axis=-1).mean() / EYES)

    @property
    def parts(self) -> GapAndError:
        return gap_and_error(self.repair, self.answers, self.annotations)


@pytest.mark.parametrize(("kind", "on_val"), [("shift", True), ("modes", True), ("auto", False)])
def test_labels_that_are_right_stay_where_they_are(kind: str, on_val: bool) -> None:
    """No label gap: all that lies between answers and annotations is the network's own error."""
    toy = Toy(same)
    assert toy.away(toy.adapter("shift", difference=False)) > 1.9, "the trap"
    corrected = toy.adapter(kind, on_val=on_val)
    assert movement(corrected, toy.labels)["all"] == pytest.approx(toy.away(corrected), rel=0.1)
    assert toy.away(corrected) < 0.4


@pytest.mark.parametrize(("kind", "on_val"), [("shift", True), ("modes", True), ("auto", False)])
def test_the_label_gap_goes_and_nothing_else(kind: str, on_val: bool) -> None:
    toy = Toy(shifted)
    assert toy.away(toy.adapter("shift", difference=False)) > 1.9 > toy.away(None) > 1.6, "the trap: worse than leaving it"
    assert toy.away(toy.adapter(kind, on_val=on_val)) < 0.35


def test_a_gap_that_depends_on_the_face(tmp_path: Path) -> None:
    """It goes, too, where it depends on how faces differ most; the rest of the face stays; the file holds it."""
    toy = Toy(turned)
    shift, modes = toy.adapter("shift"), toy.adapter()
    assert modes.kind == "modes" and modes.strength > 0
    assert toy.away(modes) < 0.5 * toy.away(shift) < 0.5 * toy.away(None)
    moved = np.abs(modes.adapt(toy.labels) - toy.labels)
    assert moved[:, 27:48].max() < 0.2 * moved[:, :17].max(), "nose and eyes have no gap"
    # Nothing is known of heads that turn farther than real ones: they are moved as those that turn the most.
    far, farther = (modes.adapt(points) - points for points in (MEAN_FACE + 6 * TURN[None], MEAN_FACE + 12 * TURN[None]))
    assert np.abs(far).max() < 1.5 * moved.max() and np.abs(farther).max() < 1.5 * np.abs(far).max()
    modes.save(tmp_path / "a.ckpt")
    assert LabelAdapter.load(tmp_path / "a.ckpt").adapt(toy.labels) == pytest.approx(modes.adapt(toy.labels), abs=1e-12)
    # A face's mirror image is moved as the mirror image of its movement.
    points = frame_of(torch.from_numpy(toy.labels), modes.reference).enter(torch.from_numpy(toy.labels))
    assert mirror(modes.part(mirror(points))) == pytest.approx(modes.part(points), abs=1e-9)


def test_what_an_adapter_was_chosen_on_and_what_its_nme_is_of() -> None:
    """Halves of the pairs choose; the NME is of validation faces, or of each half with the other one's adapter."""
    toy, aim = Toy(turned, n_real=60), LabelsAdapterConfig()
    seen = choose_difference(toy.repair, toy.answers, toy.annotations, toy.labels, aim, toy.val)
    assert (seen.adapter.kind, seen.chosen_on) == ("modes", "halves of the pairs")
    repaired = toy.repair.adapter.adapt(toy.val[0])
    assert seen.nme == seen.scores["modes"] == pytest.approx(nme(seen.adapter.adapt(repaired), toy.val[1]))
    blind = choose_difference(toy.repair, toy.answers, toy.annotations, toy.labels, aim)
    assert blind.chosen_on == "halves of the pairs" and torch.equal(blind.adapter.weight, seen.adapter.weight)
    own = nme(blind.adapter.adapt(toy.repair.adapter.adapt(toy.answers)), toy.annotations)
    assert 1.01 * own < blind.nme < 1.3 * own, "faces that an adapter was fitted on are flattered by it"
    shift = choose_difference(
        toy.repair, toy.answers, toy.annotations, toy.labels, LabelsAdapterConfig(kind="shift"), toy.val
    )
    assert shift.chosen_on == "validation"


def test_labels_may_take_the_spread_of_the_annotations() -> None:
    """Annotations that vary more than exact labels: the spread may become theirs, which 0.95 of the labels' own forbids."""
    toy = Toy(lambda truth: turned(truth, 2.0))
    modes, aim = toy.adapter(), spread_beside(toy.labels, toy.annotations)
    ratio = spread_ratio(modes, toy.labels)
    assert keeps_spread(modes, toy.labels, 0.95, aim)
    told = diagnose(modes, toy.val[0], toy.labels, toy.annotations)
    assert told["spread_aim"] == aim and spread_warning(told, "labels") is None
    assert aim > 1.08 and ratio > 1.12 and not keeps_spread(modes, toy.labels, 0.95)
    assert spread_warning({**told, "spread_aim": 1.0}, "labels") is not None


def test_few_faces_make_no_gap_up() -> None:
    """A mean of ten faces is off by chance; so much is taken off it."""
    without, with_gap = Toy(same, 10), Toy(shifted, 10)
    assert without.away(without.adapter("shift")) < 0.3 < without.parts.chance["all"]
    assert with_gap.away(with_gap.adapter("shift")) < 0.5 * with_gap.away(None)


def test_neither_gap_nor_error_is_the_identity() -> None:
    truth, labels = people(60, 0), people(50, 1)
    repair = Repair.fit(truth, truth)
    parts = gap_and_error(repair, labels, labels)
    assert max(*parts.together.values(), *parts.error.values(), *parts.gap.values(), *parts.chance.values()) < 1e-9
    assert parts.scatter_ratio is None and (parts.nme_before, parts.nme_after) == pytest.approx((0, 0), abs=1e-9)
    for kind in ("shift", "modes"):
        adapter = LabelAdapter.fit(labels, labels, kind=kind, labels=labels, repair=repair)
        assert adapter.adapt(labels) == pytest.approx(labels, abs=1e-9), kind


def test_the_parts_add_up_and_say_what_the_toy_was_made_of() -> None:
    toy = Toy(shifted)
    parts, none = toy.parts, Toy(same).parts
    known = 100 * np.linalg.norm(BIAS, axis=-1).mean() / EYES
    gap = 100 * np.linalg.norm(SHIFT, axis=-1)
    assert parts.error["all"] == pytest.approx(known, abs=0.25) and none.error == pytest.approx(parts.error)
    assert parts.gap["all"] == pytest.approx(gap.mean() / EYES, abs=0.15)
    assert parts.gap["jaw"] == pytest.approx(gap[:17].mean() / EYES, rel=0.15) and parts.gap["jaw"] > 5 * parts.gap["eyes"]
    assert none.gap["all"] < 2 * none.chance["all"] < 0.3 * none.error["all"]
    assert parts.together["all"] < parts.gap["all"] + parts.error["all"]
    assert parts.scatter_ratio == pytest.approx(1, abs=0.1) and not parts.errs_otherwise
    # Repair alone: there is no gap in the held-out faces, and an adapter gains all the same.
    assert parts.n_synthetic == 300 and parts.nme_after < 0.9 * parts.nme_before
    assert parts.nme_before == pytest.approx(nme(toy.known, toy.held_out))


def test_domains_that_err_otherwise() -> None:
    """What the difference can't know: a mean error half as large on real faces is taken for a gap, most of it, and nothing
    shows it. Answers that are noisier on real faces show."""
    biased = Toy(same, bias=0.5 * BIAS)
    half = 50 * np.linalg.norm(BIAS, axis=-1).mean() / EYES
    assert 0.7 * half < biased.away(biased.adapter()) < 1.1 * half
    assert 0.7 * half < biased.parts.gap["all"] < 1.1 * half and not biased.parts.errs_otherwise
    noisy = Toy(same, noise=1.7)
    assert noisy.parts.errs_otherwise and noisy.parts.scatter_ratio == pytest.approx(1.55, abs=0.15)
    assert noisy.away(noisy.adapter("shift")) < 0.5, "noise alone shifts nothing"
    assert noisy.away(noisy.adapter()) < 0.8, "though it makes a slope"
    moved = {"movement_labels": {"all": 1.0}}
    assert "1.6 times as far" in str(movement_warning(moved, "labels", True, noisy.parts))
    assert "times as far" not in str(movement_warning(moved, "labels", True, biased.parts))


def test_what_is_said_of_a_movement() -> None:
    parts = Toy(shifted).parts
    for distance, use, told in ((0.49, "labels", False), (0.5, "labels", True), (3.0, "predictions", False)):
        for difference in (True, False):
            said = movement_warning({"movement_labels": {"all": distance}}, use, difference, parts)
            assert (said is not None) == told
            assert said is None or ("real images alone can't tell" in said) == (not difference)
    said = str(movement_warning({"movement_labels": {"all": 1.6}}, "labels", True, parts))
    assert f"{parts.gap['all']:.1f}% is label gap" in said and f"{parts.error['all']:.1f}% the network's own error" in said
    assert "300 held-out synthetic faces" in said


def test_what_chance_makes_of_none_is_taken_off() -> None:
    """Each region for itself: 1 - variance / square of it is left, worked out by hand."""
    shift, variance = torch.zeros(68, 2), torch.zeros(68, 2)
    shift[:17, 0], variance[:17] = 2.0, 0.5  # square 17 * 4, variance 17 * 2 * 0.5: three quarters are left
    shift[27:36, 1], variance[27:36] = 0.5, 0.5  # square 9 / 4, variance 9: nothing is
    left = beyond_chance(shift, variance)
    assert left[:17, 0] == pytest.approx(1.5) and left[17:].abs().max() == 0
    scatter = Scatter.of(torch.stack([shift, -shift, shift, -shift]).double())
    # Its mirror image has the jaw's 2 to the other side, and so no mean of both; the nose's 0.5 stays: variance 4 / 3 of it.
    assert scatter.n == 4 and scatter.variance[:17].abs().max() == 0
    assert scatter.variance[27:36, 1] == pytest.approx(0.25 * 4 / 3)
    alone = Scatter.of(shift[None].double())
    assert torch.equal(alone.mean_with(scatter), scatter.variance / 1 + scatter.variance / 4)


def test_two_halves_agree_on_what_is_no_chance() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 2, (500, 68, 2))
    one, other = (torch.from_numpy(signal + rng.normal(0, 1, signal.shape)) for _ in range(2))
    # Signal 4; a half's chance part 1, so that of both halves 1 / 2.
    assert agreement(one, other) == pytest.approx((4, 0.5), rel=0.05)
    groups = np.repeat(np.arange(10), 3)
    first, second = halved(groups, 30, 1)
    assert (first ^ second).all() and first.sum() == 15 and all(first.reshape(10, 3).all(1) | second.reshape(10, 3).all(1))


def test_spread_of_other_people_as_far_as_it_is_known() -> None:
    def wide(n: int, seed: int, by: float) -> np.ndarray:
        return MEAN_FACE + by * (people(n, seed) - MEAN_FACE)

    labels = people(400, 0)
    assert spread_beside(labels, wide(400, 1, 0.8)) == pytest.approx(0.85, abs=0.05), "two standard errors nearer to 1"
    assert spread_beside(labels, wide(19, 1, 0.5)) == 1 == spread_beside(labels, labels) == spread_beside(labels, labels[:1])
    assert spread_bounds(0.95) == (0.95, 1 / 0.95)
    assert spread_bounds(0.95, 0.8) == pytest.approx((0.76, 1 / 0.95)) and spread_bounds(0.95, 1.2)[1] == 1.2 / 0.95


def test_few_held_out_faces_and_bad_input() -> None:
    truth = people(19, 0)
    assert Repair.fit(network(truth, 1), truth).adapter.kind == "shift", "too few to tell how its error depends on the face"
    for n in (1, 2):
        repair, real = Repair.fit(network(truth[:n], 1), truth[:n]), people(n, 2)
        parts = gap_and_error(repair, network(real, 3), real)
        assert parts.n_synthetic == n and np.isfinite(list(parts.chance.values())).all()
        for kind in ("shift", "modes"):
            adapter = LabelAdapter.fit(network(real, 3), real, kind=kind, labels=truth, repair=repair)
            assert np.isfinite(adapter.adapt(truth)).all()
    with pytest.raises(UserError, match="it is for labels"):
        LabelAdapter.fit(truth, truth, repair=repair)
    with pytest.raises(UserError, match="19 inputs, but 18 targets"):
        Repair.fit(truth, truth[:18])
