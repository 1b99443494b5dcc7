"""The label adapter: from landmarks in one convention (a synthetic data set's, a network's) to another (the annotators').

Usable without the rest of the suite::

    adapter = LabelAdapter.fit(predicted, annotated)  # two arrays [N, 68, 2], any similarity frame
    adapter.save("adapter.ckpt")
    annotated_style = LabelAdapter.load("adapter.ckpt").adapt(points)

It sees coordinates, never pixels. Its frame (centre, scale and roll) comes from its input alone: a similarity of the
input is the same similarity of the output.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from domaingap.config import AdapterConfig
from domaingap.errors import UserError
from domaingap.hashing import digest
from domaingap.landmarks import IBUG68
from domaingap.metrics import normalized_mean_error, normalizer_length

Points = NDArray[np.float64]
Kind = Literal["identity", "shift", "linear", "mlp"]
KINDS: tuple[Kind, ...] = ("identity", "shift", "linear", "mlp")
"""From the simplest: of two that do equally well, the first is taken."""

RIDGE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Ridge penalties tried, in units of the mean variance of an input coordinate."""
STRENGTHS = tuple(round(0.05 * i, 2) for i in range(20, 0, -1))
KEEPS_ON = 500
"""Exact labels on which every candidate's spread is checked; the chosen one's is on all."""
LOOK_EVERY = 20
"""Epochs of the MLP between two looks at the faces that choose."""

N = IBUG68.n_points
_FLIP = torch.from_numpy(IBUG68.flip_permutation)


class Frame(NamedTuple):
    """Centre [..., 1, 2] and a rotation with scale [..., 2, 2]: ``(points - centre) @ turn`` lies in the frame."""

    centre: Tensor
    turn: Tensor

    def enter(self, points: Tensor) -> Tensor:
        inside: Tensor = (points - self.centre) @ self.turn
        return inside

    def leave(self, points: Tensor) -> Tensor:
        outside: Tensor = points @ torch.linalg.inv(self.turn) + self.centre
        return outside


def frame_of(points: Tensor, reference: Tensor) -> Frame:
    """The frame of points [..., 68, 2]: their mean, their root-mean-square distance from it as the unit of length, and
    the roll that brings them closest to a reference shape [68, 2] (least squares; Kendall's shape space in two dimensions).

    Raises:
        ValueError: points that all lie in one place.
    """
    centre = points.mean(dim=-2, keepdim=True)
    centred = points - centre
    scale = centred.square().sum(dim=-1).mean(dim=-1).sqrt()
    if bool((scale <= 0).any()) or not bool(torch.isfinite(scale).all()):
        raise ValueError("landmarks that all lie in one place, or aren't numbers, have no frame")
    # The angle of sum(conj(z) m) for points z and reference m as complex numbers.
    dot = (centred * reference).sum(dim=(-1, -2))
    cross = (centred[..., 0] * reference[..., 1] - centred[..., 1] * reference[..., 0]).sum(dim=-1)
    angle = torch.atan2(cross, dot)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    return Frame(centre, torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2))


def mirror(points: Tensor) -> Tensor:
    """Points [..., 68, 2] in a frame, mirrored left to right."""
    flipped: Tensor = points[..., _FLIP, :] * torch.tensor([-1.0, 1.0], dtype=points.dtype)
    return flipped


def mean_shape_of(points: Tensor) -> Tensor:
    """Mean shape [68, 2] of points [n, 68, 2] and their mirror images: centred, of unit size, upright (generalised
    Procrustes analysis with unit-size shapes)."""
    eyes = [points[:, list(eye)].mean(dim=1) for eye in IBUG68.eyes]
    level = eyes[1] - eyes[0]
    angle = -torch.atan2(level[:, 1], level[:, 0])
    turn = torch.stack(
        [torch.stack([angle.cos(), angle.sin()], dim=-1), torch.stack([-angle.sin(), angle.cos()], dim=-1)], dim=-2
    )
    shapes = (points - points.mean(dim=1, keepdim=True)) @ turn
    shapes = shapes / shapes.square().sum(dim=-1).mean(dim=-1).sqrt()[:, None, None]
    for _ in range(5):
        mean = shapes.mean(dim=0)
        mean = (mean + mirror(mean)) / 2
        mean = mean / mean.square().sum(dim=-1).mean().sqrt()
        shapes = frame_of(shapes, mean).enter(shapes)
    return mean


class LabelAdapter(pl.LightningModule):
    """Moves landmarks from one convention to another: ``x + shift + strength * part(x - mean)`` in the input's own frame.

    Args:
        kind: ``identity`` moves nothing; ``shift`` moves each point by its mean displacement; ``linear`` adds a ridge
            regression of the displacements on the shape; ``mlp`` a small network instead, averaged with its own mirror
            image.
        strength: share of the shape-dependent part that is applied; the mean shift always is.
        hidden: width of the MLP's hidden layer.
        setting: what else was chosen: the ridge penalty or the number of epochs.
    """

    reference: Tensor
    mean: Tensor
    shift: Tensor
    weight: Tensor

    def __init__(
        self, kind: Kind = "identity", strength: float = 1.0, hidden: int = 64, setting: float | None = None
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.kind: Kind = kind
        self.strength, self.setting = strength, setting
        self.register_buffer("reference", torch.zeros(N, 2, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(N, 2, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(N, 2, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(2 * N if kind == "linear" else 0, 2 * N, dtype=torch.float64))
        self.mlp = _mlp(hidden) if kind == "mlp" else None

    # Fitting

    @classmethod
    def fit(
        cls,
        inputs: NDArray[Any],
        targets: NDArray[Any],
        kind: str = "auto",
        validation: tuple[NDArray[Any], NDArray[Any]] | None = None,
        groups: Sequence[Any] | NDArray[Any] | None = None,
        labels: NDArray[Any] | None = None,
        config: AdapterConfig | None = None,
        seed: int = 0,
    ) -> LabelAdapter:
        """Fit an adapter on pairs of landmarks of the same faces.

        Args:
            inputs: [N, 68, 2] landmarks in the convention to leave: labels, or a network's predictions.
            targets: [N, 68, 2] landmarks of the same faces, in the same pixels, in the convention to reach.
            kind: one of :data:`KINDS`, or ``auto`` to choose among them.
            validation: pairs (inputs, targets) that choose; without them a cross-validation inside the pairs does.
            groups: [N] what belongs together in the cross-validation (photographs); each pair for itself by default.
            labels: [n, 68, 2] exact labels that the adapter is meant for. Kind and strength are then chosen so that
                their shape spread is kept (:func:`spread_ratio`, :func:`shape_kept`): an adapter fitted on predictions
                also learns to undo the network's errors, which would damage labels.
            config: other settings; takes the place of ``kind``.
            seed: of the MLP's weights and of the folds.

        Raises:
            UserError: too few pairs, arrays of other shapes, or an unknown kind.
        """
        settings = config or AdapterConfig(kind=kind)  # type: ignore[arg-type]
        family = AdapterFamily(inputs, targets, settings, validation, groups, seed)
        return family.choose(labels).adapter

    # Use

    def adapt(self, points: NDArray[Any]) -> Points:
        """Landmarks [..., 68, 2] in the convention that the adapter reaches, in the pixels of the input.

        Raises:
            ValueError: another number of landmarks, or some that have no frame (all in one place, NaN).
        """
        given = np.asarray(points, dtype=np.float64)
        if given.shape[-2:] != (N, 2):
            raise ValueError(f"expected landmarks [..., {N}, 2], got {given.shape}")
        with torch.no_grad():
            return np.asarray(self(torch.from_numpy(given.reshape(-1, N, 2))).numpy().reshape(given.shape))

    def forward(self, points: Tensor) -> Tensor:
        """Points [B, 68, 2], any similarity frame → adapted points [B, 68, 2] in the same."""
        if self.kind == "identity" or not len(points):
            return points
        frame = frame_of(points, self.reference)
        inside = frame.enter(points)
        return frame.leave(inside + self.movement(inside))

    def movement(self, inside: Tensor) -> Tensor:
        """How far each point moves [B, 68, 2], in the frame."""
        return self.shift + self.strength * self.part(inside)

    def part(self, inside: Tensor) -> Tensor:
        """The shape-dependent part of the movement [B, 68, 2], at full strength, in the frame."""
        if self.kind == "linear":
            return ((inside - self.mean).flatten(1) @ self.weight).view_as(inside)
        if self.mlp is not None:
            off = inside - self.mean
            # Half of it from the mirrored face: left and right can't be treated differently.
            return (self._answer(off) + mirror(self._answer(mirror(off)))) / 2
        return torch.zeros_like(inside)

    def _answer(self, off: Tensor) -> Tensor:
        assert self.mlp is not None
        answer: Tensor = self.mlp(off.flatten(1)).view_as(off)
        return answer

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The MLP's loss: mean distance of points, in the frame."""
        off, left = batch
        return (self._answer(off) - left).square().sum(dim=-1).add(1e-12).sqrt().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)

    # Files

    def key(self) -> str:
        """Identity by content."""
        state = {name: value.numpy().tobytes() for name, value in self.state_dict().items()}
        return digest([repr(sorted(self.hparams.items())).encode(), *(state[name] for name in sorted(state))])

    def save(self, path: Path | str) -> None:
        """Write it as a Lightning checkpoint (a few hundred kB at most)."""
        path = Path(path)
        content = {
            "state_dict": self.state_dict(),
            "hyper_parameters": dict(self.hparams),
            "label_adapter": "ibug68",
            "pytorch-lightning_version": version("pytorch-lightning"),
        }
        temporary = path.with_name(f".{path.name}.tmp")
        torch.save(content, temporary)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path | str) -> LabelAdapter:
        """An adapter from its file.

        Raises:
            UserError: no such file, or one that holds no adapter.
        """
        from domaingap.models.regressor import read_checkpoint

        content = read_checkpoint(path)
        if "label_adapter" not in content:
            raise UserError(f"{path}: holds no label adapter; give a file that LabelAdapter.save wrote")
        adapter = cls(**content["hyper_parameters"]).double()
        adapter.load_state_dict(content["state_dict"])
        return adapter.eval()


def _mlp(hidden: int) -> nn.Module:
    last = nn.Linear(hidden, 2 * N)
    # It begins as the mean shift.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(2 * N, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)


@dataclass(frozen=True)
class Choice:
    """A chosen adapter and what it was chosen from.

    Attributes:
        adapter: the adapter.
        nme: NME in % on the faces that chose, after it.
        before: NME in % on the same faces without it.
        scores: best NME in % of each kind on those faces, at the strength that the use allows.
        chosen_on: ``validation`` or ``cross-validation``.
    """

    adapter: LabelAdapter
    nme: float
    before: float
    scores: dict[str, float]
    chosen_on: str


class AdapterFamily:
    """Every adapter that can be fitted on pairs, and the choice among them; see :meth:`LabelAdapter.fit`."""

    def __init__(
        self,
        inputs: NDArray[Any],
        targets: NDArray[Any],
        config: AdapterConfig | None = None,
        validation: tuple[NDArray[Any], NDArray[Any]] | None = None,
        groups: Sequence[Any] | NDArray[Any] | None = None,
        seed: int = 0,
    ) -> None:
        config = config or AdapterConfig()
        self.config, self.seed = config, seed
        points, truth = _checked(inputs, "inputs"), _checked(targets, "targets")
        if len(points) != len(truth):
            raise UserError(f"adapter: {len(points)} inputs, but {len(truth)} targets; give a target for each")
        self.reference = mean_shape_of(points)
        x, d = _pairs(points, truth, self.reference)
        self.n_pairs = len(points)
        kinds = KINDS if config.kind == "auto" else (config.kind,)
        if validation is not None:
            chosen_inputs, chosen_targets = (_checked(v, "validation") for v in validation)
            everyone = torch.ones(len(points), dtype=torch.bool)
            checks = [(everyone, *_pairs(chosen_inputs, chosen_targets, self.reference))]
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
        true_labels = _checked(labels, "labels") if labels is not None else None
        # There are hundreds of candidates: of many labels some tell which keep the spread, and all confirm the best.
        some = true_labels[:: -(-len(true_labels) // KEEPS_ON)] if true_labels is not None else None
        candidates: list[tuple[float, tuple[Kind, float | None], float]] = []
        scores: dict[str, float] = {}
        for key in self._moved:
            strengths: tuple[float, ...] = (1.0,)
            if some is not None and key[0] in ("linear", "mlp"):
                adapter = self._final(key)
                strengths = tuple(s for s in STRENGTHS if _keeps(adapter, s, some, self.config.min_spread))
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
            if unseen is None or _keeps(self._final(key), strength, unseen, self.config.min_spread):
                best = candidate
                break
        nme, key, strength = best
        adapter = _at(self._final(key), strength)
        before = float(np.mean([v for x, d in self._after for v in _nme(torch.zeros_like(d), x, d)]))
        return Choice(adapter, nme, before, scores, self.chosen_on)

    def _nme(self, key: tuple[Kind, float | None], strength: float) -> float:
        """NME in % over the faces that choose."""
        values = [
            _nme(shift + strength * part, x, d) for (shift, part), (x, d) in zip(self._moved[key], self._after, strict=True)
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
        x, d = torch.cat([x, mirror(x)]), torch.cat([d, mirror(d)])
        mean, shift = x.mean(dim=0), d.mean(dim=0)
        off, left = x - mean, d - shift

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
                for epoch, state in _train(new(kind), off, left, self.config.epochs):
                    adapter = new(kind, float(epoch))
                    adapter.load_state_dict({**adapter.state_dict(), **state})
                    yield adapter


def _train(adapter: LabelAdapter, off: Tensor, left: Tensor, epochs: int) -> list[tuple[int, dict[str, Tensor]]]:
    """Train the MLP on all pairs at once, in 32 bits; its weights after every :data:`LOOK_EVERY` epochs."""
    from domaingap.training import quiet_lightning

    states: list[tuple[int, dict[str, Tensor]]] = []
    adapter.float().train()

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            state = {k: v.detach().clone() for k, v in pl_module.state_dict().items() if k.startswith("mlp.")}
            states.append((trainer.global_step, state))

    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            precision="32-true",
            max_epochs=epochs // LOOK_EVERY,
            callbacks=[Keep()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        # One pass over all pairs is one step; Lightning's epoch is the time between two looks.
        trainer.fit(adapter, DataLoader([(off.float(), left.float())] * LOOK_EVERY, batch_size=None))  # type: ignore[arg-type]
    return states


def _at(adapter: LabelAdapter, strength: float) -> LabelAdapter:
    other = copy.deepcopy(adapter)
    other.strength = strength
    other.hparams["strength"] = strength
    return other


def _checked(points: NDArray[Any], name: str) -> Tensor:
    given = np.asarray(points, dtype=np.float64)
    if given.ndim != 3 or given.shape[1:] != (N, 2) or not len(given):
        raise UserError(f"adapter: {name} are {given.shape}; give at least one face, [N, {N}, 2]")
    if not np.isfinite(given).all():
        raise UserError(f"adapter: {name} of face {int(np.argwhere(~np.isfinite(given))[0][0])} aren't finite numbers")
    return torch.from_numpy(given.copy())


def _pairs(points: Tensor, truth: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Shapes in their own frames and the displacements to their targets, moved by the same similarities."""
    frame = frame_of(points, reference)
    x = frame.enter(points)
    return x, frame.enter(truth) - x


def _nme(movement: Tensor, x: Tensor, d: Tensor) -> NDArray[np.float64]:
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


def _keeps(adapter: LabelAdapter, strength: float, labels: Tensor, share: float) -> bool:
    """Whether labels keep their spread, and keep it as their own: not drawn together, not blown up, and not replaced by
    other variety, as by an adapter fitted on the predictions of a network that hardly tells faces apart."""
    if share == 0:
        return True
    scaled, points = _at(adapter, strength), labels.numpy()
    return shape_kept(scaled, points) >= share and share <= spread_ratio(scaled, points) <= 1 / share


# What an adapter does


def spread_ratio(adapter: LabelAdapter, points: NDArray[Any]) -> float:
    """Shape spread after the adapter over that before it, of points [n, 68, 2].

    The spread is the root-mean-square deviation from the mean, each shape in its own frame. 1 keeps it; below, shapes are
    drawn towards their mean. NaN for fewer than two faces.
    """
    spreads = []
    for shapes in (_checked(points, "points"), _checked(adapter.adapt(points), "points")):
        inside = frame_of(shapes, adapter.reference).enter(shapes) if adapter.kind != "identity" else shapes
        spreads.append(float((inside - inside.mean(dim=0)).square().mean().sqrt()))
    return spreads[1] / spreads[0] if len(points) > 1 and spreads[0] > 0 else float("nan")


def shape_kept(adapter: LabelAdapter, points: NDArray[Any]) -> float:
    """Share of each face's own deviation from the mean that is left, of points [n, 68, 2]: the slope of the deviations
    after the adapter on those before. 1 keeps it; an adapter that exchanges a face's shape for another's can keep the
    spread, but not this. NaN for fewer than two faces."""
    inside, moved = _inside(adapter, points)
    before, change = inside - inside.mean(dim=0), moved - moved.mean(dim=0)
    return float(1 + (before * change).sum() / before.square().sum()) if len(points) > 1 else float("nan")


def movement(adapter: LabelAdapter, points: NDArray[Any]) -> dict[str, float]:
    """How far the adapter moves points [n, 68, 2], per region: mean distance in % of the mean distance of the outer eye
    corners, each face in its own frame. (A mean of ratios would be ruled by faces in profile, whose eyes lie close.)"""
    inside, moved = _inside(adapter, points)
    distance, eyes = torch.linalg.vector_norm(moved, dim=-1), normalizer_length(inside).mean()
    return {
        region: float(100 * distance[:, list(IBUG68.region_indices(region))].mean() / eyes)
        for region in ("all", *IBUG68.regions)
    }


def _inside(adapter: LabelAdapter, points: NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Points [n, 68, 2] and their displacements, both in the points' own frames."""
    before = _checked(points, "points")
    frame = frame_of(before, adapter.reference if adapter.kind != "identity" else mean_shape_of(before))
    inside = frame.enter(before)
    return inside, frame.enter(torch.from_numpy(adapter.adapt(points))) - inside


def mean_movement(adapter: LabelAdapter, points: NDArray[Any]) -> tuple[Points, Points]:
    """Mean shape [68, 2] of points [n, 68, 2] and its mean displacement [68, 2], both upright and in % of the outer eye
    corners' distance of the mean shape."""
    inside, moved = _inside(adapter, points)
    mean = inside.mean(dim=0)
    unit = 100 / float(normalizer_length(mean))
    return mean.numpy() * unit, moved.mean(dim=0).numpy() * unit


def diagnose(adapter: LabelAdapter, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, Any]:
    """What an adapter does to a network's predictions and to exact synthetic labels (protocol, section 3).

    Args:
        adapter: the adapter.
        predictions: [n, 68, 2] the network's answers on real faces that the adapter wasn't fitted on.
        labels: [m, 68, 2] exact labels of the synthetic training faces.

    Returns:
        ``movement_predictions`` and ``movement_labels`` per region in %, ``spread_ratio`` and ``shape_kept`` of the labels.
    """
    return {
        "movement_predictions": movement(adapter, predictions),
        "movement_labels": movement(adapter, labels),
        "spread_ratio": spread_ratio(adapter, labels),
        "shape_kept": shape_kept(adapter, labels),
    }


MOVES = 0.5
"""How far, in % of the outer eye corners' distance, an adapter may move exact labels before that is worth a word."""


def movement_warning(diagnosis: Mapping[str, Any], use: str) -> str | None:
    """One sentence where an adapter for labels moves exact ones noticeably; else None.

    Real images alone can't tell another convention from the network's own mean error: on generated faces without any
    label gap an adapter fitted on predictions moves labels as well (``domaingap laboratory``).
    """
    distance = diagnosis["movement_labels"]["all"]
    if use != "labels" or not distance >= MOVES:
        return None
    return (
        f"it moves true synthetic labels by {distance:.1f}% of the eyes' distance: right as far as the annotators follow "
        "another convention, wrong as far as it is the network's own mean error, which real images alone can't tell apart"
    )


def spread_warning(diagnosis: Mapping[str, Any], use: str, floor: float = 0.95) -> str | None:
    """One sentence where an adapter draws exact labels together, blows them up, or exchanges their shapes; else None."""
    ratio, kept = diagnosis["spread_ratio"], diagnosis["shape_kept"]
    if (floor <= ratio <= 1 / floor and kept >= floor) or not np.isfinite(ratio):
        return None
    effect = (
        "the labels it makes don't vary as faces do"
        if use == "labels"
        else "right for predictions, but don't use it on labels"
    )
    return (
        f"true synthetic labels have {ratio:.2f} of their shape spread after this adapter, and each keeps {kept:.2f} of its "
        f"own deviation from the mean (bound {floor}): it also undoes the network's own errors; {effect}"
    )
