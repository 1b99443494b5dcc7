"""What a recipe would do, written down by running it without data: its stages, who shares them, which one answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domaingap.config import FitConfig, RunSettings, determining
from domaingap.hashing import content_key
from domaingap.study.recipe import Answer, Recipe

EPOCH = 100
"""Steps that an epoch is taken for: how many it has depends on the data."""


@dataclass(frozen=True)
class OutlinedStage:
    """A network that would be trained; ``key`` is the same for runs that share it."""

    title: str
    key: str
    how: FitConfig
    steps: int


@dataclass(frozen=True)
class OutlinedAdapter:
    """A label adapter that would be fitted; ``key`` as that of a network."""

    key: str
    title: str = "label adapter"
    steps: int = 0


class Outline:
    """Stands where a run does (:class:`domaingap.study.recipe.Steps`).

    Attributes:
        stages: the networks, in order.
        parts: the networks and adapters, in order.
        answering: which of them answers.
    """

    def __init__(self, recipe: Recipe, settings: RunSettings) -> None:
        self._settings: Any = settings
        own = determining(settings)
        self._shared = {key: own[key] for key in ("seed", "crop", "augment", "model")}
        self.real = ["real", own["real"], own.get("n_real")]
        self.synthetic = ["synthetic", own.get("synthetic"), own.get("n_synthetic")]
        if (own.get("synthetic") or {}).get("appearance"):
            self.synthetic.append(self.real)
        self.stages: list[OutlinedStage] = []
        self.parts: list[OutlinedStage | OutlinedAdapter] = []
        answer: Answer = recipe.body(self, settings)
        self.answering = self.stages.index(answer.network)

    def train(
        self, title: str, faces: Any, on: tuple[str, ...] = (), fit: FitConfig | None = None, start: Any = None
    ) -> OutlinedStage:
        """Write a network down."""
        how = fit if fit is not None else self._settings.fit
        steps = how.steps if how.epochs is None else EPOCH * how.epochs
        trained = {key: value for key, value in how.values().items() if key not in ("num_workers", "monitor")}
        key = content_key([faces, trained, self._shared, start and start.key])
        stage = OutlinedStage(title, key, how, steps)
        self.stages.append(stage)
        self.parts.append(stage)
        return stage

    def fit_adapter(self, network: OutlinedStage) -> Any:
        """An adapter as part of keys."""
        own = self._settings
        adapter = ["adapter", network.key, determining(own.adapter), self.real, own.selection]
        self.parts.append(OutlinedAdapter(content_key(adapter)))
        return adapter

    def adapted(self, adapter: Any) -> Any:
        """Adapted faces as part of keys."""
        return [self.synthetic, adapter]

    def mixed(self, synthetic: Any, alpha: float) -> Any:
        """Mixed faces as part of keys; at 0 and 1 those of one domain."""
        return [self.real, synthetic][int(alpha)] if alpha in (0, 1) else [self.real, synthetic, alpha]
