"""Which label adapter: every one that can be fitted on pairs of landmarks, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domaingap.config import AdapterConfig
from domaingap.errors import UserError
from domaingap.landmarks import IBUG68
from domaingap.metrics import normalized_mean_error
from domaingap.models.adapter_diagnosis import keeps_spread
from domaingap.models.label_adapter import KINDS, Kind, LabelAdapter, checked
from domaingap.shapes import frame_of, mean_shape_of, mirror, with_mirror

RIDGE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Ridge penalties tried, in units of the mean variance of an input coordinate."""
STRENGTHS = tuple(round(0.05 * i, 2) for i in range(20, 0, -1))
KEEPS_ON = 500
"""Exact labels on which every candidate's spread is checked; the chosen one's is on all."""
LOOK_EVERY = 20
"""Epochs of the MLP between two looks at the faces that choose."""


class Scatter(NamedTuple):
    """How displacements differ from face to face: their variance [68, 2] in the frame, each face's averaged with its mirror
    image's as fits do, and of how many faces it is."""

    variance: Tensor
    n: int

    @classmethod
    def of(cls, d: Tensor) -> Scatter:
        """Of displacements [n, 68, 2]; a single face has none."""
        both = (d + mirror(d)) / 2
        return cls(both.var(dim=0) if len(d) > 1 else torch.zeros_like(d[0]), len(d))

    def mean_with(self, other: Scatter) -> Tensor:
        """Variance [68, 2] of the difference of both means. A single face is taken to scatter as the others do."""
        own = self if self.n > 1 else other
        return own.variance / self.n + other.variance / other.n


@dataclass(frozen=True)
class Choice:
    """A chosen adapter and what it was chosen from.

    Attributes:
        adapter: the adapter.
        nme: NME in % on the faces that chose, after it.
        before: NME in % on the same faces without it.
        scores: best NME in % of each kind on those faces, at the strength that the use allows.
        chosen_on: ``validation``, ``cross-validation``, or ``halves of the pairs`` for kind ``modes``, whose NME is of
            validation faces where there are some.
    """

    adapter: LabelAdapter
    nme: float
    before: float
    scores: dict[str, float]
    chosen_on: str


class AdapterFamily:
    """Every adapter that can be fitted on pairs, and the choice among them; see :meth:`LabelAdapter.fit`.

    ``repaired`` is what a repair of the inputs left of their errors (:mod:`domaingap.models.adapter_difference`): given, a
    shift is the mean displacement as far as it is beyond chance, region by region.
    """

    def __init__(
        self,
        inputs: NDArray[Any],
        targets: NDArray[Any],
        config: AdapterConfig | None = None,
        validation: tuple[NDArray[Any], NDArray[Any]] | None = None,
        groups: Sequence[Any] | NDArray[Any] | None = None,
        seed: int = 0,
        repaired: Scatter | None = None,
    ) -> None:
        config = config or AdapterConfig()
        self.config, self.seed, self.repaired = config, seed, repaired
        points, truth = checked(inputs, "inputs"), checked(targets, "targets")
        if len(points) != len(truth):
            raise UserError(f"adapter: {len(points)} inputs, but {len(truth)} targets; give a target for each")
        self.reference = mean_shape_of(points)
        x, d = pairs(points, truth, self.reference)
        self.n_pairs = len(points)
        kinds = KINDS if config.kind == "auto" else (config.kind,)
        if validation is not None:
            chosen_inputs, chosen_targets = (checked(v, "validation") for v in validation)
            everyone = torch.ones(len(points), dtype=torch.bool)
            checks = [(everyone, *pairs(chosen_inputs, chosen_targets, self.reference))]
            self.chosen_on = "validation"
        else:
            checks = [(~held, x[held], d[held]) for held in _folds(groups, len(points), config.folds, seed)]
            self.chosen_on = "cross-validation"
            if not checks:  # one photograph: nothing to hold out
                kinds = ("shift",) if config.kind == "auto" else kinds
                checks = [(torch.ones(len(points), dtype=torch.bool), x, d)]
                self.chosen_on = "the pairs themselves"
        # For each candidate, movements of the faces that choose, from fits that haven't seen them.
        moved: dict[tuple[Kind, float | None], list[tuple[Tensor, Tensor]]] = {}
        self._after: list[tuple[Tensor, Tensor]] = [(x_held, d_held) for _, x_held, d_held in checks]
        fitted: dict[tuple[Kind, float | None], LabelAdapter] = {}
        for train, x_held, _ in checks:
            for adapter in self._fit_all(x[train], d[train], kinds):
                key = (adapter.kind, adapter.setting)
                with torch.no_grad():
                    moved.setdefault(key, []).append((adapter.shift, adapter.part(x_held)))
                fitted[key] = adapter
        self._moved = moved
        self._fitted = fitted if validation is not None else {}
        self._data = (x, d)

    def choose(self, labels: NDArray[Any] | None = None) -> Choice:
        """The adapter that does best on the faces that choose; for exact ``labels`` [n, 68, 2], of those that keep their
        shape spread."""
        true_labels = checked(labels, "labels") if labels is not None else None
        share = self.config.min_spread
        # There are hundreds of candidates: of many labels some tell which keep the spread, and all confirm the best.
        some = true_labels[:: -(-len(true_labels) // KEEPS_ON)] if true_labels is not None else None
        candidates: list[tuple[float, tuple[Kind, float | None], float]] = []
        scores: dict[str, float] = {}
        for key in self._moved:
            strengths: tuple[float, ...] = (1.0,)
            if some is not None and key[0] in ("linear", "mlp"):
                adapter = self._final(key)
                strengths = tuple(s for s in STRENGTHS if keeps(adapter, s, some, share))
            for strength in strengths:
                nme = self._nme(key, strength)
                scores[key[0]] = min(nme, scores.get(key[0], np.inf))
                candidates.append((nme, key, strength))
        # A kind asked for by name that keeps the spread at no strength: its shift is what is left of it.
        key = next(iter(self._moved))
        best = (self._nme(key, 0.0), key, 0.0)
        for candidate in sorted(candidates, key=lambda c: c[0]):
            _, key, strength = candidate
            sampled = true_labels is not None and len(true_labels) > KEEPS_ON and key[0] in ("linear", "mlp")
            unseen = true_labels if sampled else None
            if unseen is None or keeps(self._final(key), strength, unseen, share):
                best = candidate
                break
        nme, key, strength = best
        adapter = self._final(key).at(strength)
        before = float(np.mean([v for x, d in self._after for v in nme_after(torch.zeros_like(d), x, d)]))
        return Choice(adapter, nme, before, scores, self.chosen_on)

    def refitted(
        self, kind: Kind, inputs: NDArray[Any], targets: NDArray[Any], which: NDArray[np.bool_]
    ) -> dict[float | None, LabelAdapter]:
        """Likewise by setting, fitted on some pairs: ``which`` [N] of inputs and targets [N, 68, 2]."""
        x, d = pairs(checked(inputs[which], "inputs"), checked(targets[which], "targets"), self.reference)
        return {fitted.setting: fitted for fitted in self._fit_all(x, d, [kind])}

    def scatter(self, adapter: LabelAdapter) -> Scatter:
        """What a chosen adapter leaves of the displacements of the faces that choose."""
        moved = self._moved[adapter.kind, adapter.setting]
        left = [d - shift - adapter.strength * part for (shift, part), (_, d) in zip(moved, self._after, strict=True)]
        return Scatter.of(torch.cat(left))

    def _nme(self, key: tuple[Kind, float | None], strength: float) -> float:
        """NME in % over the faces that choose."""
        values = [
            nme_after(shift + strength * part, x, d)
            for (shift, part), (x, d) in zip(self._moved[key], self._after, strict=True)
        ]
        return float(np.concatenate(values).mean())

    def _final(self, key: tuple[Kind, float | None]) -> LabelAdapter:
        """The candidate, fitted on all pairs."""
        if key not in self._fitted:
            for adapter in self._fit_all(*self._data, [key[0]]):
                self._fitted[(adapter.kind, adapter.setting)] = adapter
        return self._fitted[key]

    def _fit_all(self, x: Tensor, d: Tensor, kinds: Sequence[Kind]) -> Iterator[LabelAdapter]:
        """Every candidate fitted on shapes x [n, 68, 2] and their displacements d, both in the frame."""
        chance = Scatter.of(d).mean_with(self.repaired) if self.repaired is not None else None
        x, d = with_mirror(x), with_mirror(d)
        mean, shift = x.mean(dim=0), d.mean(dim=0)
        off, left = x - mean, d - shift
        if chance is not None:
            shift = beyond_chance(shift, chance)

        def new(kind: Kind, setting: float | None = None) -> LabelAdapter:
            adapter = LabelAdapter(kind, 1.0, self.config.hidden, setting).double().eval()
            adapter.reference.copy_(self.reference)
            adapter.mean.copy_(mean)
            adapter.shift.copy_(shift if kind != "identity" else torch.zeros_like(shift))
            return adapter

        for kind in kinds:
            if kind in ("identity", "shift"):
                yield new(kind)
            elif kind == "linear":
                rows, answers = off.flatten(1), left.flatten(1)
                covariance, cross = rows.T @ rows / len(rows), rows.T @ answers / len(rows)
                values, vectors = torch.linalg.eigh(covariance)
                for penalty in RIDGE:
                    adapter = new(kind, penalty)
                    scaled = (vectors.T @ cross) / (values.clamp(min=0) + penalty * values.mean() + 1e-12)[:, None]
                    adapter.weight.copy_(vectors @ scaled)
                    yield adapter
            else:
                torch.manual_seed(self.seed)
                for epoch, weights in _train(_mlp_of(new(kind)), off.float(), left.float(), self.config.epochs):
                    adapter = new(kind, float(epoch))
                    _mlp_of(adapter).load_state_dict(weights)
                    yield adapter


def beyond_chance(shift: Tensor, variance: Tensor) -> Tensor:
    """A mean displacement [68, 2] without what chance, of variance [68, 2], would make of none: in each region
    ``1 - variance / square`` of it, if that is above 0 (the Wiener filter, with the signal's power from the data, as James
    and Stein's estimator has it). So labels that are right stay where they are, and few faces make no gap up.
    """
    kept = torch.zeros_like(shift)
    for region in IBUG68.regions:
        points = list(IBUG68.region_indices(region))
        power, noise = float(shift[points].square().sum()), float(variance[points].sum())
        if power > noise:
            kept[points] = (1 - noise / power) * shift[points]
    return kept


def _mlp_of(adapter: LabelAdapter) -> nn.Module:
    assert adapter.mlp is not None
    return adapter.mlp


def _train(mlp: nn.Module, off: Tensor, left: Tensor, epochs: int) -> list[tuple[int, dict[str, Tensor]]]:
    """Train the MLP in 32 bits, each epoch one step on all pairs; its weights after every :data:`LOOK_EVERY` epochs.

    Args:
        mlp: the MLP, with its initial weights.
        off: [n, 68, 2] deviations from the mean shape.
        left: [n, 68, 2] what is left of the displacements without their mean; the loss is the mean distance to it.
        epochs: length; what goes beyond the last look isn't trained.
    """
    mlp.float()
    optimizer = torch.optim.Adam(mlp.parameters(), lr=1e-3)
    states = []
    threads = torch.get_num_threads()
    # The layers are too small to share: where other processes hold the cores, threads that wait for each other take ten
    # times as long.
    torch.set_num_threads(1)
    try:
        for epoch in range(1, epochs // LOOK_EVERY * LOOK_EVERY + 1):
            optimizer.zero_grad()
            loss = (mlp(off.flatten(1)).view_as(off) - left).square().sum(dim=-1).add(1e-12).sqrt().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if epoch % LOOK_EVERY == 0:
                states.append((epoch, {name: value.clone() for name, value in mlp.state_dict().items()}))
    finally:
        torch.set_num_threads(threads)
    return states


def pairs(points: Tensor, truth: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes in their own frames and the displacements to their targets, moved by the same similarities."""
    frame = frame_of(points, reference)
    x = frame.enter(points)
    return x, frame.enter(truth) - x


def nme_after(movement: Tensor, x: Tensor, d: Tensor) -> NDArray[np.float64]:
    """NME in % of each face after a movement; a similarity changes no NME, so the frame's is the image's."""
    return np.asarray(normalized_mean_error(x + movement, x + d).numpy())


def _folds(groups: Any, n: int, folds: int, seed: int) -> list[Tensor]:
    """Masks [n] of the held-out faces, whole groups together; none where there is a single group."""
    names = np.arange(n) if groups is None else np.asarray(groups)
    if len(names) != n:
        raise UserError(f"adapter: {len(names)} groups for {n} pairs; give one for each")
    _, group_of = np.unique(names, return_inverse=True)
    n_groups = int(group_of.max()) + 1
    if n_groups < 2:
        return []
    fold_of = np.random.default_rng(seed).permutation(n_groups) % min(folds, n_groups)
    return [torch.from_numpy(fold_of[group_of] == k) for k in range(min(folds, n_groups))]


def keeps(adapter: LabelAdapter, strength: float, labels: Tensor, share: float, aim: float = 1.0) -> bool:
    """Whether labels keep their spread or take that of their aim, see :func:`keeps_spread`; a share of 0 allows anything."""
    return share == 0 or keeps_spread(adapter.at(strength), labels.numpy(), share, aim)
