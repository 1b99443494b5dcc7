"""Seeded splits: which face trains, validates or tests. Orders depend on names and a seed alone.

Groups (photographs, rendered identities) are put in the order of a hash of seed and name, so a partial
release keeps the order of the complete one, and no split depends on the order of files on a disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

VALIDATION_SEED = 300
"""Seed of the validation subset and the synthetic hold-out: one of its own, the same for every run."""


def seeded_order(names: Sequence[str], groups: Sequence[str], seed: int | str) -> Indices:
    """All positions, group after group in seeded order, by name within a group.

    The first n of it are the nested subset of n faces: for one seed, that of 10 lies in that of 25.
    """
    rank = {group: hashlib.sha256(f"{seed}/{group}".encode()).digest() for group in set(groups)}
    return np.array(sorted(range(len(names)), key=lambda i: (rank[groups[i]], names[i])), dtype=np.int64)


def draw_groups(names: Sequence[str], groups: Sequence[str], n: int, seed: int | str) -> NDArray[np.bool_]:
    """Mask of ``n`` faces that form whole groups: in seeded order, passing over a group that no longer fits.

    Fewer than n come out only where no later group fits the rest exactly.
    """
    mask = np.zeros(len(names), dtype=bool)
    members: dict[str, list[int]] = {}
    for i in seeded_order(names, groups, seed):
        members.setdefault(groups[i], []).append(int(i))
    room = n
    for positions in members.values():
        if len(positions) <= room:
            mask[positions] = True
            room -= len(positions)
        if room == 0:
            break
    return mask


def merge_groups(names: Sequence[str], contents: Sequence[str]) -> NDArray[np.str_]:
    """Groups by name [N] made one where they share a content [N]: a photograph is one, however its files are called.

    Each takes the first of its names in alphabetical order.
    """
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    first_with: dict[str, str] = {}
    for name, content in zip(names, contents, strict=True):
        one, other = sorted((root(name), root(first_with.setdefault(content, name))))
        parent[other] = one
    return np.array([root(name) for name in names], dtype=np.str_)
