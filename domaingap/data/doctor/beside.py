"""Annotations that don't lie on the face of their picture, and what would explain that: the picture was mirrored or rescaled
without its points, or they belong to another one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from domaingap.data.doctor.faces import Face
from domaingap.data.doctor.findings import Finding
from domaingap.data.doctor.fit import Fit
from domaingap.data.doctor.look import views_of
from domaingap.data.doctor.shape_model import Array
from domaingap.data.sample import read_rgb
from domaingap.errors import DataError

# Chosen on AFW and half of FaceSynthetics (387 faces), with their pictures mirrored, rescaled and exchanged; the figures say
# what share of AFW's is found, and what share of untouched ones would be named.
MIRRORED, MIRRORED_LEAST = 0.15, 1.5
"""How much smaller, as a logarithm and at least, a misfit is if the picture is taken for mirrored: 0.96 and 0.003."""

BESIDE = 5.0
"""How many spreads above the usual logarithm an annotation's misfit is that lies beside its face: none untouched, and an
eighth of the annotations of other pictures: faces before a camera are much alike."""

_DOUBTED, _EXPLAINED, _BETTER = 0.8, 3.0, 0.6
"""A picture was rescaled if the misfit is above the first (in spreads), with its points scaled below the second, and at most
this share of what it was: 0.93, and none untouched."""

_SPREAD, _FEW = 0.25, 30
"""The smallest spread; sets of fewer faces are judged by what is usual in all."""

_SCALED = 0.08
_SCALES = np.exp(np.linspace(np.log(0.3), np.log(3.3), 29))


@dataclass
class Misfits:
    """What a localiser says of faces by their number: misfits as annotated and as if the picture were mirrored [2].

    Attributes:
        fit: the localiser.
        values: of each face.
        folds: which of its localisers hasn't seen a face.
        odd: faces that aren't judged here, since their points make no face.
        outside: faces whose points lie outside their picture, and how.
        one_size: sources whose pictures are of one size, so that a rescaled one is seen by that.
    """

    fit: Fit
    values: dict[int, Array]
    folds: dict[int, int]
    odd: set[int]
    outside: dict[int, str] = field(default_factory=dict)
    one_size: set[str] = field(default_factory=set)


def judge_misfits(faces: list[Face], misfits: Misfits) -> list[Finding]:
    """Findings about annotations that don't fit their pictures; doubtful faces are decoded once more."""
    by_source: dict[str, list[int]] = {}
    for i in misfits.values:
        by_source.setdefault(faces[i].source.name, []).append(i)
    everything = _usual([misfits.values[i][0] for i in misfits.values])
    found = []
    for numbers in by_source.values():
        usual = _usual([misfits.values[i][0] for i in numbers]) if len(numbers) >= _FEW else everything
        found += [finding for i in numbers if i not in misfits.odd and (finding := _explain(faces[i], misfits, i, usual))]
    return found


def _usual(values: list[float]) -> tuple[float, float]:
    """Median and spread of the logarithms of misfits, as few odd ones leave them."""
    logs = np.log(values)
    median = float(np.median(logs))
    return median, max(_SPREAD, 1.4826 * float(np.median(np.abs(logs - median))))


def _explain(face: Face, misfits: Misfits, i: int, usual: tuple[float, float]) -> Finding | None:
    def spreads(misfit: float) -> float:
        return (float(np.log(max(misfit, 1e-9))) - usual[0]) / usual[1]

    as_is, mirrored = (float(value) for value in misfits.values[i])
    off, fault = spreads(as_is), misfits.outside.get(i)
    if face.source.name not in misfits.one_size and (off > _DOUBTED or fault):
        scale, left = _best_scale(face, misfits, i)
        better = fault is not None or left < min(_BETTER * as_is, mirrored)
        if better and spreads(left) < _EXPLAINED and abs(np.log(scale)) > _SCALED:
            size = face.look.size if face.look else (0, 0)
            detail = f"its points fit if they are scaled by {scale:.2f} (picture: {size[0]} x {size[1]})"
            return face.found("picture rescaled", detail, off, fatal=fault is not None)
    if fault is not None:
        return face.found("impossible annotation", fault)
    gain = float(np.log(as_is / max(mirrored, 1e-9)))
    if gain > MIRRORED and as_is - mirrored > MIRRORED_LEAST and spreads(mirrored) < BESIDE:
        return face.found("picture mirrored", "its points fit if they are mirrored", gain)
    if off > BESIDE:
        missed = "; the detector finds no face there either" if face.look and face.look.box == "fallback" else ""
        detail = f"{as_is / np.exp(usual[0]):.0f} times as far off as usual{missed}"
        return face.found("annotation beside its face", detail, off)
    return None


def _best_scale(face: Face, misfits: Misfits, i: int) -> tuple[float, float]:
    """The scale of the points that fits the picture best, and the misfit that it leaves."""
    assert face.points is not None
    try:
        gray = np.asarray(cv2.cvtColor(read_rgb(Path(face.record.image)), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    except DataError:  # taken away meanwhile
        return 1.0, float("inf")
    inside = [scale for scale in _SCALES if (face.points.mean(axis=0) * scale < gray.shape[::-1]).all()]
    if not inside:
        return 1.0, float("inf")
    views, points = views_of(gray, [face.points * scale for scale in inside])
    left = misfits.fit.misfit(views, points, misfits.folds[i])
    best = int(left.argmin())
    return float(inside[best]), float(left[best])
