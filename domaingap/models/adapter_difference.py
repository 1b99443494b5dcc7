"""What of the distance between a network's answers and the annotators' labels is the network's own error.

On held-out faces of the network's own domain the exact labels are known in its own convention: there its error holds no
label gap. A :class:`Repair` learns to take that error away. What is left between repaired answers on real faces and their
annotations, less what is left on the held-out faces, is the label gap, as far as the network errs alike in both domains
(protocol, section 3)::

    repair = Repair.fit(answers_on_synthetic, synthetic_labels)
    gap = LabelAdapter.fit(answers_on_real, annotations, repair=repair, labels=synthetic_labels)

Which argument the error has. ``repair`` is the mean of the exact label *given the answer*, E[s | f(x)], and the gap is
fitted as a function of this mean. An exact label is then the argument plus a rest that the argument doesn't know of
(Berkson's error; regression calibration, Carroll et al., Measurement Error in Nonlinear Models, chapter 4), so the slopes
aren't diluted, though answers are noisy.

Which functions. A cubic in the two main modes of faces' shapes, fitted on both domains alike, the same least squares with
the same terms: what either fit leaves undone is the same in both and goes with their difference. What the annotators do with
a turned or nodding head is seen by so few terms; many (a ridge regression on all coordinates, an MLP) have to be held back
by a penalty, and then learn what the penalty left of the network's error for a gap. On generated faces with a label gap
that made labels worse: see MEASURED.

Chance. A mean displacement is cut down by what chance makes of none (:func:`domaingap.models.adapter_choice.beyond_chance`).
The part that depends on the shape is fitted on halves of both domains' faces, too, and is kept, region by region, as far as
two halves agree on the labels (:func:`agreement`). Validation faces can't tell this: to correct the repair's own chance
errors helps repaired answers, and is wrong for labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domaingap.config import AdapterConfig
from domaingap.landmarks import IBUG68
from domaingap.metrics import normalizer_length
from domaingap.models.adapter_choice import (
    KEEPS_ON,
    STRENGTHS,
    AdapterFamily,
    Choice,
    Scatter,
    beyond_chance,
    keeps,
    nme_after,
    pairs,
)
from domaingap.models.adapter_diagnosis import spread_beside
from domaingap.models.gap_and_error import GapAndError
from domaingap.models.label_adapter import MODES, LabelAdapter, checked
from domaingap.shapes import frame_of, mirror, with_mirror

ENOUGH = 20
"""Held-out faces below which a network's error is taken for the same whatever the face."""
ENOUGH_FOR_MODES = 40
"""Faces of either domain below which a gap is: halves of them have to tell seven terms."""
WITHIN = 0.98
"""Share of the repaired answers on real faces that lie between a mode's limits."""
DOUBT = 0.35
"""Signal, as a share of the noise's power, that halves show by chance: its standard deviation is the root of 2 / d for
movements in d independent directions, and faces vary in about 16."""
SPLITS = 6
"""How often the faces are halved."""
HALVES = "halves of the pairs"
"""What an adapter of kind ``modes`` is chosen on: how much of its part that depends on the shape is kept."""
REGIONS = [list(IBUG68.region_indices(region)) for region in IBUG68.regions]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Repair:
    """What takes a network's answers to the exact labels of its own convention.

    Attributes:
        adapter: answers to exact labels, a ridge regression on the shape; of fewer than :data:`ENOUGH` faces a mean shift.
        scatter: what it leaves of the error on faces that it wasn't fitted on.
        before: NME in % of the answers on these faces.
        after: likewise after it.
        predictions: [N, 68, 2] the answers that it was learned on.
        labels: [N, 68, 2] their exact labels.
        halves: pairs of repairs of the same make, each learned on one half of these faces, and which these are.
    """

    adapter: LabelAdapter
    scatter: Scatter
    before: float
    after: float
    predictions: NDArray[Any]
    labels: NDArray[Any]
    halves: tuple[tuple[tuple[LabelAdapter, Mask], tuple[LabelAdapter, Mask]], ...]

    @classmethod
    def fit(
        cls,
        predictions: NDArray[Any],
        labels: NDArray[Any],
        config: AdapterConfig | None = None,
        groups: Sequence[Any] | NDArray[Any] | None = None,
        seed: int = 0,
    ) -> Repair:
        """Learn it on pairs, by cross-validation.

        Args:
            predictions: [N, 68, 2] the network's answers on faces that it wasn't trained on. That they picked its
                checkpoint does no harm to speak of: there are a dozen checkpoints, and hundreds of such faces.
            labels: [N, 68, 2] their exact labels, in the convention that it was trained on.
            config: settings; ``kind`` is not looked at. An MLP knows nothing of shapes outside those that it saw, and real
                faces may lie there; a ridge regression goes on as a straight line.
            groups: [N] what belongs together in the cross-validation.
            seed: of the folds.

        Raises:
            UserError: too few pairs, or arrays of other shapes.
        """
        kind = "linear" if len(predictions) >= ENOUGH else "shift"
        family = AdapterFamily(predictions, labels, (config or AdapterConfig()).of_pairs(kind), None, groups, seed)
        choice = family.choose()
        own = choice.adapter

        def half(which: Mask) -> tuple[LabelAdapter, Mask]:
            # Of a single group's faces one half has none.
            fitted = family.refitted(own.kind, predictions, labels, which)[own.setting] if which.any() else own
            return fitted, which

        splits = [halved(groups, len(labels), seed + i) for i in range(SPLITS)]
        halves = tuple((half(one), half(other)) for one, other in splits)
        answers, truth = np.asarray(predictions), np.asarray(labels)
        return cls(own, family.scatter(own), choice.before, choice.nme, answers, truth, halves)


def choose_difference(
    repair: Repair,
    predictions: NDArray[Any],
    annotations: NDArray[Any],
    labels: NDArray[Any],
    config: AdapterConfig | None = None,
    validation: tuple[NDArray[Any], NDArray[Any]] | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    seed: int = 0,
) -> Choice:
    """The adapter that moves exact labels into the annotators' convention and knows nothing of the network's error.

    Args:
        repair: of the network that answered.
        predictions: [N, 68, 2] its answers on real faces.
        annotations: [N, 68, 2] these faces' labels in the annotators' convention.
        labels: [n, 68, 2] exact labels that the adapter is meant for. It may bring their shape spread to that of the
            annotations.
        config: settings. ``auto`` is ``modes``, or ``shift`` where either domain has fewer than :data:`ENOUGH_FOR_MODES`
            faces or all are of one photograph.
        validation: answers and annotations that show what it does to repaired answers; without them each half of the pairs
            shows it of an adapter that was learned on the other.
        groups: [N] what belongs together in the cross-validation and in halves.
        seed: of the folds and the halves.

    Raises:
        UserError: too few pairs, or arrays of other shapes.
    """
    config = config or AdapterConfig()
    answers, truth = checked(predictions, "predictions").numpy(), np.asarray(annotations)
    inputs = repair.adapter.adapt(answers)
    chosen_on = (repair.adapter.adapt(validation[0]), validation[1]) if validation is not None else None
    simple = config.of_pairs("identity" if config.kind == "identity" else "shift")
    choice = AdapterFamily(inputs, annotations, simple, chosen_on, groups, seed, repair.scatter).choose()
    splits = [halved(groups, len(answers), seed + i) for i in range(SPLITS)]
    few = min(len(answers), len(repair.labels)) < ENOUGH_FOR_MODES
    if config.kind in ("identity", "shift") or few or not all(half.any() for half in splits[0]):
        return choice
    exact = checked(labels, "labels")
    blank = modes_of(exact, choice.adapter.reference)
    real = pairs_of(repair.adapter, answers, truth, blank)
    x = real[0][: len(answers)]
    blank.limits.copy_(((x - blank.mean).flatten(1) @ blank.directions).abs().quantile(WITHIN, dim=0))
    some = exact[:: -(-len(exact) // KEEPS_ON)]
    inside = frame_of(some, blank.reference).enter(some)

    def learned_on(half: Mask, repaired_by: LabelAdapter, synthetic: Mask) -> LabelAdapter:
        ours = pairs_of(repaired_by, repair.predictions[synthetic], repair.labels[synthetic], blank)
        return difference(blank, pairs_of(repaired_by, answers[half], truth[half], blank), ours)

    signal, noise = torch.zeros(len(REGIONS)), torch.zeros(len(REGIONS))
    by_halves: list[list[LabelAdapter]] = []
    for halves, known in zip(splits, repair.halves, strict=True):
        by_halves.append([learned_on(half, *of) for half, of in zip(halves, known, strict=True)])
        parts = [one.part(inside) for one in by_halves[-1]]
        moved = [part - part.mean(dim=0) for part in parts]
        for i, points in enumerate(REGIONS):
            agreed = agreement(moved[0][:, points], moved[1][:, points])
            signal[i] += agreed[0] / SPLITS
            noise[i] += agreed[1] / SPLITS
    whole = difference(blank, real, pairs_of(repair.adapter, repair.predictions, repair.labels, blank))
    variance = _left(whole, real).mean_with(repair.scatter)
    sure = (signal - DOUBT * noise).clamp(min=0)
    share = each_of(sure / (sure + noise).clamp(min=1e-12))

    def held_back(of: LabelAdapter) -> LabelAdapter:
        less = centred(of, inside)
        less.shift.copy_(beyond_chance(less.shift, variance))
        less.weight.mul_(share)
        return less

    adapter = held_back(whole)
    aim = spread_beside(np.asarray(labels), truth)
    strengths = (*STRENGTHS, 0.0)
    kept = next(s for s in strengths if s == 0 or keeps(adapter, s, exact, config.min_spread, aim))
    chosen = adapter.at(kept)
    if chosen_on is not None:
        checks = [(chosen, *chosen_on)]
    else:  # each half by the adapter of the other one
        checks = [
            (held_back(by).at(kept), repaired_by.adapt(answers[~half]), truth[~half])
            for by, half, (repaired_by, _) in zip(by_halves[0], splits[0], repair.halves[0], strict=True)
        ]
    after = []
    with torch.no_grad():
        for by, answered, right in checks:
            x, d = pairs(checked(answered, "validation"), checked(right, "validation"), blank.reference)
            after.append(nme_after(by.movement(x), x, d))
    nme = float(np.concatenate(after).mean())
    return replace(choice, adapter=chosen, nme=nme, scores={**choice.scores, "modes": nme}, chosen_on=HALVES)


def each_of(values: Tensor) -> Tensor:
    """A value for each coordinate [136] from one for each region."""
    each = torch.zeros(IBUG68.n_points, 2, dtype=torch.float64)
    for points, value in zip(REGIONS, values, strict=True):
        each[points] = value.double()
    return each.flatten()


def modes_of(labels: Tensor, reference: Tensor) -> LabelAdapter:
    """An adapter that moves nothing yet, in the main modes of labels [n, 68, 2] and their mirror images, each mode in units
    of its standard deviation."""
    adapter = LabelAdapter("modes").double().eval()
    adapter.reference.copy_(reference)
    inside = frame_of(labels, reference).enter(labels)
    inside = with_mirror(inside)
    adapter.mean.copy_(inside.mean(dim=0))
    off = (inside - adapter.mean).flatten(1)
    values, vectors = torch.linalg.eigh(off.T @ off / len(off))
    # Labels that don't differ have no modes: a shift is all that they can be given.
    scale = torch.where(values > 1e-12, values, torch.inf).rsqrt()
    adapter.directions.copy_((vectors * scale)[:, -MODES:].flip(dims=[1]))
    return adapter


def pairs_of(
    repaired: LabelAdapter, predictions: NDArray[Any], truth: NDArray[Any], blank: LabelAdapter
) -> tuple[Tensor, Tensor]:
    """Repaired answers and their displacements to the truth, with their mirror images, in the frame of ``blank``."""
    answers, targets = torch.from_numpy(repaired.adapt(predictions)), checked(truth, "labels")
    x, d = pairs(answers, targets, blank.reference)
    return with_mirror(x), with_mirror(d)


def difference(blank: LabelAdapter, real: tuple[Tensor, Tensor], synthetic: tuple[Tensor, Tensor]) -> LabelAdapter:
    """The adapter whose movement is the least-squares fit on real pairs less that on synthetic ones."""
    adapter = blank.at(1.0)
    for sign, (x, d) in ((1, real), (-1, synthetic)):
        terms = adapter.terms(x)
        middle, mean = terms.mean(dim=0), d.mean(dim=0)
        # The minimum-norm solution where faces don't tell all terms.
        weight = torch.linalg.lstsq(terms - middle, (d - mean).flatten(1), driver="gelsd").solution
        adapter.weight.add_(sign * weight)
        adapter.shift.add_(sign * (mean - (middle @ weight).view_as(mean)))
    return adapter


def centred(adapter: LabelAdapter, inside: Tensor) -> LabelAdapter:
    """The same adapter with the mean movement of shapes [n, 68, 2] and their mirror images as its shift."""
    other = adapter.at(1.0)
    both = with_mirror(inside)
    other.shift.copy_(adapter.movement(both).mean(dim=0))
    other.middle.copy_(adapter.terms(both).mean(dim=0))
    return other


def _left(adapter: LabelAdapter, pairs: tuple[Tensor, Tensor]) -> Scatter:
    """What the adapter leaves of real faces' displacements; their mirror images are behind them."""
    x, d = (of[: len(of) // 2] for of in pairs)
    return Scatter.of(d - adapter.movement(x))


def halved(groups: Sequence[Any] | NDArray[Any] | None, n: int, seed: int) -> list[NDArray[np.bool_]]:
    """Two masks [n] of halves of the faces, whole groups together; of a single group the first has all."""
    names = np.arange(n) if groups is None else np.asarray(groups)
    _, group_of = np.unique(names, return_inverse=True)
    first = np.random.default_rng(seed).permutation(int(group_of.max()) + 1) % 2 == 0
    return [first[group_of], ~first[group_of]]


def agreement(one: Tensor, other: Tensor) -> tuple[float, float]:
    """How much of a movement is no chance and how much is, from the movements [n, 68, 2] that two halves of the faces give.

    Returns:
        Mean squares: S of the signal, which the two have in common, as the mean of their product; N of the chance part of a
        fit on all faces: half the variance of one on half of them, which is half the mean square of the two's difference.
        The share S / (S + N) of the movement leaves the least error, and takes S² / (S + N) of it away (Wiener).
    """
    return float((one * other).mean()), float((one - other).square().mean()) / 4


def gap_and_error(repair: Repair, predictions: NDArray[Any], annotations: NDArray[Any]) -> GapAndError:
    """The parts, from answers [n, 68, 2] on real faces and their annotations [n, 68, 2]."""
    reference = repair.adapter.reference
    answers, truth = checked(predictions, "predictions"), checked(annotations, "annotations")
    repaired = torch.from_numpy(repair.adapter.adapt(predictions))
    x, together = pairs(answers, truth, reference)
    _, error = pairs(answers, repaired, reference)
    gap = together - error
    unit = 100 / float(normalizer_length(x.mean(dim=0)))
    own = Scatter.of(gap)
    known, found = float(repair.scatter.variance.sum()), float(own.variance.sum())
    ratio = (found / known) ** 0.5 if known > 0 and own.n > 1 else None
    # As vectors of two coordinates: the mean length of normal noise is sqrt(pi) / 2 of the root of their variances' sum.
    variance = own.mean_with(repair.scatter)
    noise = variance.sum(dim=-1).sqrt() * float(np.sqrt(np.pi) / 2)

    def lengths(movements: Tensor) -> dict[str, float]:
        # Averaged with its mirror image, as fits do: what isn't the same left and right is chance.
        mean = movements.mean(dim=0)
        return _by_region(torch.linalg.vector_norm((mean + mirror(mean)) / 2, dim=-1) * unit)

    return GapAndError(
        lengths(together),
        lengths(error),
        lengths(gap),
        _by_region(noise * unit),
        ratio,
        repair.scatter.n,
        repair.before,
        repair.after,
    )


def _by_region(values: Tensor) -> dict[str, float]:
    """Means of values [68] by region."""
    return {r: float(values[list(IBUG68.region_indices(r))].mean()) for r in ("all", *IBUG68.regions)}
