"""Which faces a page shows, and with what on them: the same faces under every strategy, and each strategy's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domaingap.predictions import Predictions
from domaingap.study.page.blocks import Face, FaceRow, Gallery

SAME = 6
"""Faces that all strategies are shown on."""
TYPICAL = 3
WORST = 3


class Pictures(Protocol):
    """Small pictures of a set of faces.

    Attributes:
        names: [N] of the faces in their data set.
        to_picture: [N, 2, 3] from original-image pixels to those of the picture.
        side: of a picture in pixels.
    """

    @property
    def names(self) -> NDArray[np.str_]: ...

    @property
    def to_picture(self) -> NDArray[np.float64]: ...

    @property
    def side(self) -> int: ...

    def jpeg(self, i: int) -> bytes:
        """The picture of face ``i``, as a file."""
        ...


# Which faces: indices into errors [N].


def ranked(errors: NDArray[np.float64]) -> NDArray[np.intp]:
    """Faces [N] from the lowest error to the highest; one that isn't a number is the highest."""
    return np.argsort(errors, kind="stable")


def from_easy_to_hard(errors: NDArray[np.float64], count: int) -> list[int]:
    """At most so many faces, evenly by rank from the lowest error to the highest, both included."""
    order = ranked(errors)
    places = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [int(i) for i in order[places]]


def around_the_median(errors: NDArray[np.float64], count: int) -> list[int]:
    """At most so many faces whose ranks lie around the middle, in their order."""
    order = ranked(errors)
    count = min(count, len(order))
    first = (len(order) - count) // 2
    return [int(i) for i in order[first : first + count]]


def highest(errors: NDArray[np.float64], count: int) -> list[int]:
    """At most so many faces with the highest error, the highest first."""
    return [int(i) for i in ranked(errors)[::-1][:count]]


# What is drawn.


@dataclass(frozen=True, eq=False)
class Answers:
    """What strategies answer on the faces that they share and that there is a picture of.

    Attributes:
        names: [N] of the faces.
        nme: [S, N] in %.
        prediction: [S, N, 68, 2] in pixels of the picture.
        truth: [N, 68, 2] likewise.
        strategies: [S] their labels.
        pictures: of these faces, at ``places`` [N].
    """

    names: NDArray[np.str_]
    nme: NDArray[np.float64]
    prediction: NDArray[np.float64]
    truth: NDArray[np.float64]
    strategies: Sequence[str]
    pictures: Pictures
    places: Sequence[int]

    @classmethod
    def of(cls, predictions: Mapping[str, Predictions], pictures: Pictures) -> Answers | None:
        """Of strategies by their labels; None where they share no face that there is a picture of."""
        if not predictions:
            return None
        at = {label: {str(name): i for i, name in enumerate(of.names)} for label, of in predictions.items()}
        places = [i for i, name in enumerate(pictures.names) if all(str(name) in places for places in at.values())]
        if not places:
            return None
        names = pictures.names[places]
        rows = {label: [places[str(name)] for name in names] for label, places in at.items()}
        matrices = pictures.to_picture[places]
        points = [through(matrices, of.prediction[rows[label]]) for label, of in predictions.items()]
        first, truth = next((label, of.truth) for label, of in predictions.items())
        return cls(
            names,
            np.stack([of.nme()[rows[label]] for label, of in predictions.items()]),
            np.stack(points),
            through(matrices, truth[rows[first]]),
            list(predictions),
            pictures,
            places,
        )

    def face(self, strategy: int, i: int) -> Face:
        """Face ``i`` with the answer of a strategy."""
        return Face(
            self.pictures.jpeg(self.places[i]), self.pictures.side, self.truth[i], self.prediction[strategy, i],
            float(self.nme[strategy, i]), str(self.names[i]),
        )  # fmt: skip


def through(matrices: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [N, 68, 2] through affine maps [N, 2, 3]."""
    return np.asarray(np.einsum("nij,npj->npi", matrices[:, :, :2], points) + matrices[:, None, :, 2], dtype=np.float64)


def side_by_side(id: str, answers: Answers, of: str, count: int = SAME) -> Gallery:
    """The same faces under every strategy, from the easiest to the hardest by NME averaged over strategies.

    Args:
        id: of the gallery.
        answers: of the strategies.
        of: which faces and runs, in words, as ``common, seed 0``.
        count: rows at most.
    """
    mean = answers.nme.mean(axis=0)
    chosen, n = from_easy_to_hard(mean, count), len(mean)
    rows = []
    for i in chosen:
        place = int((mean < mean[i]).sum()) + 1
        where = "The easiest" if i == chosen[0] and n > 1 else "The hardest" if i == chosen[-1] else f"Number {place}"
        faces = [(label, answers.face(s, i)) for s, label in enumerate(answers.strategies)]
        rows.append(FaceRow(f"{where} of {n:,}: {answers.names[i]}, NME {mean[i]:.1f}% on average", faces))
    words = (
        f"{len(rows)} of {n:,} faces ({of}), evenly by rank from the easiest to the hardest of all, by NME averaged over "
        "these strategies. Dots: truth. Crosses: prediction. Lines join the two."
    )
    return Gallery(id, "The same faces side by side", rows, words)


def typical_and_worst(id: str, answers: Answers, of: str, typical: int = TYPICAL, worst: int = WORST) -> Gallery:
    """Each strategy's own faces: around its median, and with its highest errors.

    Args:
        id: of the gallery.
        answers: of the strategies.
        of: which faces and runs, in words.
        typical: faces around the median, of each strategy.
        worst: faces with the highest errors.
    """
    rows = []
    for s, label in enumerate(answers.strategies):
        errors = answers.nme[s]
        hard = highest(errors, worst)
        usual = [i for i in around_the_median(errors, typical) if i not in hard]
        chosen = [*(("typical", i) for i in usual), *(("worst", i) for i in hard)]
        rows.append(FaceRow(label, [(f"{why}: {answers.names[i]}", answers.face(s, i)) for why, i in chosen]))
    words = (
        f"Of each strategy the faces around its median NME and those with its highest, the highest first ({of}). "
        "Dots: truth. Crosses: prediction."
    )
    return Gallery(id, "Typical and worst faces of each strategy", rows, words)
