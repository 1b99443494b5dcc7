"""How far a network's answers on real faces lie from their annotations, and why; as numbers."""

from __future__ import annotations

from dataclasses import dataclass

APART = 1.25
"""How much farther answers may scatter on real faces before the network is said to err otherwise there."""


@dataclass(frozen=True)
class GapAndError:
    """The mean displacement from answers to annotations of real faces, in its two parts.

    Each is a length by region and over ``all``: of the points' mean displacements, in % of the distance of the mean face's
    outer eye corners. As vectors ``gap`` and ``error`` add up to ``together``; as lengths they need not.

    Attributes:
        together: from the network's answers to the annotations.
        error: what takes the network's own error away, as held-out synthetic faces show it.
        gap: the rest.
        chance: how long the gap would be by chance alone, from so many faces of both domains.
        scatter_ratio: how far answers scatter about annotations after both parts, over how far they do about exact labels of
            synthetic faces; None where too few faces tell. Well above 1 the network errs otherwise on real faces (or
            annotators are noisy), and the parts aren't to be trusted. A mean error that differs doesn't show in it.
        n_synthetic: held-out synthetic faces.
        nme_before: NME in % of the answers on these, where there is no label gap.
        nme_after: likewise after an adapter towards their labels: what it gains by repair alone.
    """

    together: dict[str, float]
    error: dict[str, float]
    gap: dict[str, float]
    chance: dict[str, float]
    scatter_ratio: float | None
    n_synthetic: int
    nme_before: float
    nme_after: float

    @property
    def errs_otherwise(self) -> bool:
        """Whether the network's answers scatter so much farther on real faces that it can't err alike."""
        return self.scatter_ratio is not None and self.scatter_ratio > APART

    def __str__(self) -> str:
        by_chance = f" ({self.chance['all']:.1f}% by chance alone)"
        return (
            f"annotations lie {self.together['all']:.1f}% from the network's answers on the mean: "
            f"{self.gap['all']:.1f}% is label gap{by_chance}, {self.error['all']:.1f}% the network's own error, "
            f"as {self.n_synthetic} held-out synthetic faces show it"
        )
