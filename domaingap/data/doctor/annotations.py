"""Annotations as shapes: which can't be a face's as they stand, and which mistake would make them so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor.orders import OTHER_ORDER, best_mistake, mistakes, sorted_into_order
from domaingap.data.doctor.shape_model import FOLDS, Array, ShapeModel, folds

GAIN = 0.3
"""Logarithm of the distances with and without a mistake from which it is named. Of faces in order the largest is 0.01 (AFW
and half of FaceSynthetics); the mistakes that are hardest to see, an eye's points shifted by one, reach 0.4 in 99%."""

WILD, WILD_SHARE = 110.0, 0.4
"""A point is wild where a face's distance is so much smaller without it, and by that share."""

SCRAMBLED = 40.0
"""Points in an order that is none of the known mistakes: how many times the usual distance they have at least, and ..."""

SORTED = 1.5
"""... the logarithm of how much smaller it must be once they are sorted."""

UNUSUAL = 10.0
"""How many times the usual distance an unusual shape has."""

_TRIED = 1.3
"""Mistakes are tried on faces whose distance is more times the usual one."""

_LEARNED = 4.0
"""Faces with a distance of more times the usual one aren't learned from."""

_SOUND = 1000.0
"""No set of faces in order has a larger median distance, by the prior alone (FaceSynthetics: 720)."""

_FEW, _ASKED = 5, 1000


@dataclass(frozen=True)
class Verdict:
    """What an annotation looks like: a kind of finding, in words, how clearly, and which point is to blame where one is."""

    kind: str
    detail: str
    weight: float
    point: int | None = None


@dataclass(frozen=True)
class Shapes:
    """Verdicts on faces, and on whole sets.

    Attributes:
        verdicts: of each face; None where it looks like a face.
        distances: from the mean shape, squared [n].
        whole: of sets of which more than half of the faces have the same mistake: that, and in about how many.
    """

    verdicts: list[Verdict | None]
    distances: Array
    whole: dict[str, tuple[Verdict, int]]


def judge_shapes(points: Array, groups: Sequence[str], sets: Sequence[str]) -> Shapes:
    """What annotations look like as shapes.

    Args:
        points: [n, 68, 2], each sane on its own.
        groups: whose photograph each is in; no face is judged by what was learned from its photograph.
        sets: which set each belongs to, such as a part; what is usual is usual in a set.
    """
    n, in_set = len(points), np.array(sets)
    if not n:
        return Shapes([], np.zeros(0), {})
    bare = ShapeModel(points[:0])
    whole = _whole_sets(bare, points, in_set)
    points = points.copy()
    for name, (number, _) in whole.items():
        points[in_set == name] = mistakes()[number].undo(points[in_set == name])
    distances, _ = bare.distance(points)
    fold, usual = folds(groups), _usual(distances, in_set)
    words = {}
    for name, (number, share) in whole.items():
        mistake = mistakes()[number]
        words[name] = (_verdict(mistake.kind, mistake.detail, 1.0), round(share * int((in_set == name).sum())))
    for name in set(sets) - whole.keys():
        own = in_set == name
        if own.sum() >= _FEW and np.median(distances[own]) > SCRAMBLED * _SOUND:
            words[name] = (_verdict(OTHER_ORDER, "no order that is known makes faces of them", 1.0), int(own.sum()))
    # Exchanged points of a frontal face aren't far off by the prior; learned from, they would excuse each other.
    doubted = np.flatnonzero(distances > _TRIED * usual)
    in_order = np.ones(n, dtype=bool)
    in_order[doubted] = np.log(distances[doubted] / best_mistake(bare, points[doubted])[1]) < GAIN
    learned = in_order & (distances < _LEARNED * np.minimum(usual, _SOUND))
    for _ in range(2):
        models = [ShapeModel(points[learned & (fold != number)]) for number in range(FOLDS)]
        for number, model in enumerate(models):
            distances[fold == number] = model.distance(points[fold == number])[0]
        usual = _usual(distances, in_set)
        learned = in_order & (distances < _LEARNED * np.minimum(usual, _SOUND))
    verdicts: list[Verdict | None] = [None] * n
    for number, model in enumerate(models):
        own = np.flatnonzero((fold == number) & (distances > _TRIED * usual))
        if len(own):
            for i, verdict in zip(own, _judge(model, points[own], distances[own], usual[own]), strict=True):
                verdicts[i] = verdict
    return Shapes(verdicts, distances, words)


def _verdict(kind: str, detail: str, weight: float, point: int | None = None) -> Verdict:
    return Verdict(kind, detail, round(float(weight), 2), point)


def _usual(distances: Array, in_set: NDArray[np.str_]) -> Array:
    """The median distance of the set that each face belongs to; of all where a set has few faces."""
    usual = np.full(len(distances), float(np.median(distances)))
    for name in np.unique(in_set):
        own = in_set == name
        if own.sum() >= _FEW:
            usual[own] = np.median(distances[own])
    return usual


def _whole_sets(model: ShapeModel, points: Array, in_set: NDArray[np.str_]) -> dict[str, tuple[int, float]]:
    """Sets in which more than half of the faces have one mistake, and in what share; a thousand of each set are asked."""
    whole = {}
    for name in np.unique(in_set):
        own = np.flatnonzero(in_set == name)
        some = points[own[:: -(-len(own) // _ASKED)]]
        found, left = best_mistake(model, some)
        counts = Counter(found[np.log(model.distance(some)[0] / left) > GAIN].tolist())
        if len(own) >= _FEW and counts:
            number, n = counts.most_common(1)[0]
            if n > len(some) / 2:
                whole[str(name)] = (int(number), n / len(some))
    return whole


def _judge(model: ShapeModel, points: Array, distances: Array, usual: Array) -> list[Verdict | None]:
    found, left = best_mistake(model, points)
    gains = np.log(distances / left)
    given_rest = model.points_given_rest(points)
    verdicts: list[Verdict | None] = []
    for i in range(len(points)):
        worst = int(given_rest[i].argmax())
        drop = float(given_rest[i, worst])
        without = max(float(distances[i]) - drop, 1.0)
        wild = drop > WILD and drop > WILD_SHARE * distances[i]
        if gains[i] > GAIN and not (wild and without < left[i]):
            mistake = mistakes()[found[i]]
            if left[i] > SCRAMBLED * usual[i]:
                # The least bad of the known mistakes leaves no face: look for another order.
                verdicts.append(_scrambled(model, points[i], float(distances[i]), float(usual[i])))
                if verdicts[-1] is None:
                    verdicts[-1] = _unusual(float(distances[i]), float(usual[i]))
            else:
                verdicts.append(_verdict(mistake.kind, mistake.detail, gains[i]))
        elif wild and without < UNUSUAL * usual[i]:
            verdicts.append(_verdict("wild point", f"point {worst} (counted from 0)", drop / usual[i], worst))
        elif distances[i] > UNUSUAL * usual[i]:
            scrambled = _scrambled(model, points[i], float(distances[i]), float(usual[i]))
            verdicts.append(scrambled or _unusual(float(distances[i]), float(usual[i])))
        else:
            verdicts.append(None)
    return verdicts


def _unusual(distance: float, usual: float) -> Verdict:
    return _verdict("unusual shape", f"{distance / usual:.0f} times as far from the mean shape as usual", distance / usual)


def _scrambled(model: ShapeModel, points: Array, distance: float, usual: float) -> Verdict | None:
    if distance < SCRAMBLED * usual:
        return None
    left = float(model.distance(sorted_into_order(points, model)[None])[0][0])
    gain = float(np.log(distance / left))
    return _verdict(OTHER_ORDER, "sorted by place they make a face", gain) if gain > SORTED else None
