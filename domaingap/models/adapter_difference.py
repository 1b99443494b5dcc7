"""What of the distance between a network's answers and the annotators' labels is the network's own error.

On held-out faces of the network's own domain the exact labels are known in its own convention: there its error holds no
label gap. A :class:`Repair` learns to take that error away. What is left between repaired answers on real faces and their
annotations is the label gap, as far as the network errs alike in both domains (protocol, section 3)::

    repair = Repair.fit(answers_on_synthetic, synthetic_labels)
    gap = LabelAdapter.fit(answers_on_real, annotations, repair=repair, labels=synthetic_labels)

Which argument the error has. ``repair`` is the mean of the exact label *given the answer*, E[s | f(x)], and the gap is
fitted as a function of this mean. An exact label is then the argument plus a rest that the argument doesn't know of
(Berkson's error; regression calibration, Carroll et al., Measurement Error in Nonlinear Models, chapter 4), so the slopes
aren't diluted, though answers are noisy. With the bare answer as the argument they would be, by the share of noise in its
variance. With the annotation as the argument the annotator's noise stands on both sides and turns into a slope of its own.
And the error as a function of the exact label, E[f(x) | s], would have to be inverted at real faces, which makes a
difference between the domains larger by 1 / (1 - shrinkage).

Chance. Both fits are of so many faces. A mean displacement is cut down by what chance makes of none
(:func:`domaingap.models.adapter_choice.beyond_chance`). The part that depends on the shape is fitted on halves of both
domains' faces, too, and is kept as far as two halves agree on the labels (:func:`agreement`). Validation faces can't tell
this: to correct the repair's own chance errors helps repaired answers, and is wrong for labels. So they choose the kind, and
the halves its ridge penalty or its number of epochs, and its strength.

The two fits need no cross-fitting beside that. The repair is applied to real faces alone and the adapter to labels of
synthetic training faces, and neither was fitted on them.
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
from domaingap.models.adapter_choice import KEEPS_ON, AdapterFamily, Choice, Scatter, pairs
from domaingap.models.gap_and_error import GapAndError
from domaingap.models.label_adapter import LabelAdapter, checked
from domaingap.shapes import frame_of, mirror

ENOUGH = 20
"""Held-out faces below which a network's error is taken for the same whatever the face."""


DOUBT = 0.35
"""Signal, as a share of the noise's power, that halves show by chance: its standard deviation is the root of 2 / d for
movements in d independent directions, and faces vary in about 16."""
SPLITS, MLP_SPLITS = 6, 2
"""How often the faces are halved; training an MLP takes long."""


@dataclass(frozen=True)
class Repair:
    """What takes a network's answers to the exact labels of its own convention.

    Attributes:
        adapter: answers to exact labels, a ridge regression on the shape; of fewer than :data:`ENOUGH` faces a mean shift.
        scatter: what it leaves of the error on faces that it wasn't fitted on.
        before: NME in % of the answers on these faces.
        after: likewise after it.
        halves: pairs of repairs of the same make, each learned on one half of these faces.
    """

    adapter: LabelAdapter
    scatter: Scatter
    before: float
    after: float
    halves: tuple[tuple[LabelAdapter, LabelAdapter], ...]

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
        kind: Any = "linear" if len(predictions) >= ENOUGH else "shift"
        family = AdapterFamily(predictions, labels, replace(config or AdapterConfig(), kind=kind), None, groups, seed)
        choice = family.choose()
        own = choice.adapter

        def half(which: NDArray[np.bool_]) -> LabelAdapter:
            # Of a single group's faces one half has none.
            return family.refitted(own.kind, predictions, labels, which)[own.setting] if which.any() else own

        splits = [halved(groups, len(labels), seed + i) for i in range(SPLITS)]
        halves = tuple((half(one), half(other)) for one, other in splits)
        return cls(own, family.scatter(own), choice.before, choice.nme, halves)


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
        config: settings.
        validation: answers and annotations that choose; without them a cross-validation inside the pairs does.
        groups: [N] what belongs together in the cross-validation.
        seed: of the MLP's weights, the folds and the halves.

    Raises:
        UserError: too few pairs, or arrays of other shapes.
    """
    inputs = repair.adapter.adapt(checked(predictions, "predictions").numpy())
    chosen_on = (repair.adapter.adapt(validation[0]), validation[1]) if validation is not None else None
    family = AdapterFamily(inputs, annotations, config, chosen_on, groups, seed, repair.scatter)
    choice = family.choose()
    kind = choice.adapter.kind
    if kind not in ("linear", "mlp"):
        return choice
    answers, truth = np.asarray(predictions), np.asarray(annotations)
    some = checked(labels, "labels")[:: -(-len(labels) // KEEPS_ON)]
    inside = frame_of(some, family.reference).enter(some)
    agreed: dict[float | None, list[tuple[float, float]]] = {}
    for i, repairs in enumerate(repair.halves[: MLP_SPLITS if kind == "mlp" else SPLITS]):
        halves = halved(groups, len(answers), seed + i)
        if not all(half.any() for half in halves):
            continue
        one, other = (
            family.refitted(kind, of.adapt(answers), truth, half) for of, half in zip(repairs, halves, strict=True)
        )
        with torch.no_grad():
            for setting in one:
                agreed.setdefault(setting, []).append(agreement(one[setting].part(inside), other[setting].part(inside)))
    best, gain = choice.adapter.at(0.0), 0.0
    for candidate in family.candidates(kind):
        signal, noise = np.mean(agreed.get(candidate.setting, [(0.0, 0.0)]), axis=0).tolist()
        signal -= DOUBT * noise
        if signal > 0 and signal**2 / (signal + noise) > gain:
            best, gain = candidate.at(signal / (signal + noise)), signal**2 / (signal + noise)
    return family.of_labels(choice, best, np.asarray(labels), truth)


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
