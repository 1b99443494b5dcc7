"""What is there twice: pictures, also nearly and mirrored, and annotations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from domaingap.data.doctor.duplicates import HASH, near_pairs
from domaingap.data.doctor.faces import Face
from domaingap.data.doctor.findings import Finding
from domaingap.hashing import digest


def judge_duplicates(faces: list[Face], findings: list[Finding]) -> None:
    """The same picture, nearly the same and mirrored, and the same annotation, under several names."""
    seen = [i for i, face in enumerate(faces) if face.seen.error is None]
    same: set[tuple[int, int]] = set()
    findings += _pairs(faces, _first_with_others([(faces[i].seen.picture, i) for i in seen]), "same", same)
    with_points = [
        (digest([points.round(3).tobytes()]), i)
        for i in seen
        if (points := faces[i].points) is not None and not faces[i].fault
    ]
    for a, b in _first_with_others(with_points):
        if (a, b) not in same:
            findings.append(faces[b].found("same annotation twice", "point for point", also=faces[a]))
    hashes = np.array([faces[i].seen.hashes for i in seen], np.float16).reshape(-1, 2, HASH)
    for mirrored in (False, True):
        near: dict[tuple[int, int], float] = {}
        for which in (0, 1):
            for a, b, alike in near_pairs(hashes[:, which], mirrored):
                pair = seen[a], seen[b]
                near[pair] = max(alike, near.get(pair, 0.0))
        pairs = [(a, b) for (a, b) in sorted(near, key=lambda pair: -near[pair]) if (a, b) not in same]
        findings += _pairs(faces, _spanning(pairs), "mirrored" if mirrored else "near", same, near)


def _first_with_others(keys: list[tuple[str, int]]) -> Iterator[tuple[int, int]]:
    """The first face with each key, with every other that has it."""
    first: dict[str, int] = {}
    for key, i in keys:
        if key and (a := first.setdefault(key, i)) != i:
            yield a, i


def _spanning(pairs: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those of many pairs that are needed to tell what belongs together."""
    leader: dict[int, int] = {}

    def lead(i: int) -> int:
        while leader.setdefault(i, i) != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in pairs:
        if lead(a) != lead(b):
            leader[lead(b)] = lead(a)
            yield a, b


_WORDS = {
    "same": ("same picture in train and test", "same picture twice"),
    "near": ("nearly the same picture in train and test", "nearly the same picture twice"),
    "mirrored": ("mirrored picture in train and test", "mirrored picture twice"),
}


def _pairs(
    faces: list[Face],
    pairs: Iterator[tuple[int, int]],
    how: str,
    same: set[tuple[int, int]],
    alike: dict[tuple[int, int], float] | None = None,
) -> list[Finding]:
    """Findings of pairs; the faces of one photograph share their picture by design, unless train and test do."""
    found = []
    for a, b in pairs:
        one, other = faces[a], faces[b]
        if how == "same":
            same.add((a, b))
        across = one.side != other.side
        if not across and one.source is other.source and one.record.photograph == other.record.photograph:
            continue
        # Of train and test the one in training is the one to take out.
        if across and other.side == "test":
            one, other = other, one
        weight = alike[(a, b)] if alike else 1.0
        detail = "pixel for pixel" if how == "same" else f"alike to {weight:.3f} (perceptual hash)"
        found.append(other.found(_WORDS[how][0 if across else 1], detail, weight, one, file=other.record.image))
    return found
