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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domaingap.config import AdapterConfig, LabelsAdapterConfig
from domaingap.errors import UserError
from domaingap.hashing import digest, is_number, write_archive
from domaingap.landmarks import IBUG68
from domaingap.provenance import Seen
from domaingap.shapes import frame_of, mirror

if TYPE_CHECKING:
    from domaingap.models.adapter_difference import Repair

Points = NDArray[np.float64]
Kind = Literal["identity", "shift", "linear", "mlp", "modes"]
KINDS: tuple[Kind, ...] = ("identity", "shift", "linear", "mlp")
"""What pairs alone can tell, from the simplest: of two that do equally well, the first is taken. ``modes`` needs two domains
(:mod:`domaingap.models.adapter_difference`)."""
MODES = 2
"""Directions in which faces' shapes differ most, as the 2D image has them: mostly turning and nodding."""
TERMS = 7
"""Of a cubic in them, see :meth:`LabelAdapter.terms`."""

N = IBUG68.n_points


class LabelAdapter(nn.Module):
    """Moves landmarks from one convention to another: ``x + shift + strength * part(x - mean)`` in the input's own frame.

    Args:
        kind: ``identity`` moves nothing; ``shift`` moves each point by its mean displacement; ``linear`` adds a ridge
            regression of the displacements on the shape; ``mlp`` a small network instead, averaged with its own mirror
            image; ``modes`` a cubic in the faces' main modes of shape.
        strength: share of the shape-dependent part that is applied; the mean shift always is.
        hidden: width of the MLP's hidden layer.
        setting: what else was chosen: the ridge penalty or the number of epochs.
    """

    reference: Tensor
    mean: Tensor
    shift: Tensor
    weight: Tensor
    directions: Tensor
    middle: Tensor
    limits: Tensor

    def __init__(
        self, kind: Kind = "identity", strength: float = 1.0, hidden: int = 64, setting: float | None = None
    ) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.strength, self.hidden, self.setting = strength, hidden, setting
        self.register_buffer("reference", torch.zeros(N, 2, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(N, 2, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(N, 2, dtype=torch.float64))
        rows = {"linear": 2 * N, "modes": TERMS}.get(kind, 0)
        self.register_buffer("weight", torch.zeros(rows, 2 * N, dtype=torch.float64))
        if kind == "modes":
            self.register_buffer("directions", torch.zeros(2 * N, MODES, dtype=torch.float64))
            self.register_buffer("middle", torch.zeros(TERMS, dtype=torch.float64))
            self.register_buffer("limits", torch.full((MODES,), torch.inf, dtype=torch.float64))
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
        repair: Repair | None = None,
    ) -> LabelAdapter:
        """Fit an adapter on pairs of landmarks of the same faces.

        Args:
            inputs: [N, 68, 2] landmarks in the convention to leave: labels, or a network's predictions.
            targets: [N, 68, 2] landmarks of the same faces, in the same pixels, in the convention to reach.
            kind: one of :data:`KINDS`, or ``auto`` to choose among them; with a repair ``identity``, ``shift``, or
                ``modes``, which ``auto`` is.
            validation: pairs (inputs, targets) that choose; without them a cross-validation inside the pairs does.
            groups: [N] what belongs together in the cross-validation (photographs); each pair for itself by default.
            labels: [n, 68, 2] exact labels that the adapter is meant for. Kind and strength are then chosen so that
                their shape spread is kept (``spread_ratio`` and ``shape_kept`` of
                :mod:`domaingap.models.adapter_diagnosis`): an adapter fitted on predictions also learns to undo the
                network's errors, which would damage labels.
            config: other settings; takes the place of ``kind``.
            seed: of the MLP's weights and of the folds.
            repair: where the inputs are a network's predictions: what takes its own error away, learned on held-out faces
                of its own domain (:mod:`domaingap.models.adapter_difference`). The adapter is then the difference between
                the conventions, for labels; their spread may become that of the targets.

        Raises:
            UserError: too few pairs, arrays of other shapes, or an unknown kind.
        """
        from domaingap.models.adapter_choice import AdapterFamily  # it is made of adapters

        make = AdapterConfig if repair is None else LabelsAdapterConfig
        settings = config or make(kind=kind)  # type: ignore[arg-type]
        if repair is None:
            return AdapterFamily(inputs, targets, settings, validation, groups, seed).choose(labels).adapter
        if labels is None:
            raise UserError("adapter: with a repair it is for labels; give these as labels=")
        from domaingap.models.adapter_difference import choose_difference

        return choose_difference(repair, inputs, targets, labels, settings, validation, groups, seed).adapter

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
        if self.kind == "modes":
            return ((self.terms(inside) - self.middle) @ self.weight).view_as(inside)
        if self.mlp is not None:
            off = inside - self.mean
            # Half of it from the mirrored face: left and right can't be treated differently.
            one: Tensor = self.mlp(off.flatten(1)).view_as(off)
            return (one + mirror(self.mlp(mirror(off).flatten(1)).view_as(off))) / 2
        return torch.zeros_like(inside)

    def terms(self, inside: Tensor) -> Tensor:
        """A cubic in the modes [B, :data:`TERMS`] of shapes [B, 68, 2] in the frame; of the second mode, in which faces
        vary less, the square alone. Beyond the limits a mode counts as at them: a cubic runs away where nothing was seen."""
        one, two = ((inside - self.mean).flatten(1) @ self.directions).clamp(-self.limits, self.limits).unbind(dim=1)
        return torch.stack([one, two, one**2, one * two, two**2, one**3, one**2 * two], dim=1)

    def at(self, strength: float) -> LabelAdapter:
        """The same adapter with another strength."""
        other = copy.deepcopy(self)
        other.strength = strength
        return other

    # Files

    @property
    def settings(self) -> dict[str, Any]:
        """What the adapter is made with, by the name of the argument."""
        return {name: getattr(self, name) for name in ("kind", "strength", "hidden", "setting")}

    def key(self) -> str:
        """Identity by content."""
        state = {name: value.numpy().tobytes() for name, value in self.state_dict().items()}
        return digest([repr(sorted(self.settings.items())).encode(), *(state[name] for name in sorted(state))])

    def save(self, path: Path | str, seen: Seen | None = None) -> None:
        """Write it (a few hundred kB at most): settings and weights, nothing that would have to be unpickled as code; with
        what it has ``seen``."""
        content = {
            "label_adapter": "ibug68",
            "hyper_parameters": self.settings,
            "state_dict": self.state_dict(),
            "seen": seen.plain() if seen is not None else None,
        }
        write_archive(Path(path), lambda file: torch.save(content, file))

    @classmethod
    def load(cls, path: Path | str) -> LabelAdapter:
        """An adapter from its file.

        Raises:
            UserError: no such file, or one that holds no adapter.
        """
        from domaingap.models.backbone import differs
        from domaingap.models.regressor import read_checkpoint

        content, wanted = read_checkpoint(path), "give a file that LabelAdapter.save wrote"
        if content.get("label_adapter") != "ibug68":
            raise UserError(f"{path}: holds no label adapter; {wanted}")
        settings = content.get("hyper_parameters")
        if not isinstance(settings, dict) or not _are_settings(settings):
            raise UserError(f"{path}: the label adapter's settings are damaged; {wanted}")
        with torch.device("meta"):  # sizes alone: those that don't fit the weights are never made
            problem = differs(content["state_dict"], cls(**settings))
        if problem is not None:
            raise UserError(f"{path}: its weights aren't those of its label adapter ({problem}); {wanted}")
        adapter = cls(**settings).double()
        adapter.load_state_dict(content["state_dict"])
        return adapter.eval()


def _are_settings(settings: dict[Any, Any]) -> bool:
    """Whether a file's settings are those of :class:`LabelAdapter`."""
    numbers = [settings.get("strength"), *([] if settings.get("setting") is None else [settings["setting"]])]
    return (
        settings.keys() == {"kind", "strength", "hidden", "setting"}
        and settings["kind"] in get_args(Kind)
        and type(settings["hidden"]) is int
        and 1 <= settings["hidden"] < 1 << 20
        and all(map(is_number, numbers))
    )


def _mlp(hidden: int) -> nn.Module:
    last = nn.Linear(hidden, 2 * N)
    # It begins as the mean shift.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(2 * N, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)


def checked(points: NDArray[Any], name: str) -> Tensor:
    """Landmarks [N, 68, 2] in double precision; UserError, which calls them ``name``, where they are none."""
    given = np.asarray(points, dtype=np.float64)
    if given.ndim != 3 or given.shape[1:] != (N, 2) or not len(given):
        raise UserError(f"adapter: {name} are {given.shape}; give at least one face, [N, {N}, 2]")
    if not np.isfinite(given).all():
        raise UserError(f"adapter: {name} of face {int(np.argwhere(~np.isfinite(given))[0][0])} aren't finite numbers")
    return torch.from_numpy(given.copy())
