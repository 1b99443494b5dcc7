"""What recipes can be told beyond what all share (``domaingap.config.RunSettings``), each setting documented once."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass
from typing import Any, Literal

from domaingap.config import (
    LARGEST_NUMBER,
    LATER,
    AdapterConfig,
    FineTuneConfig,
    LabelsAdapterConfig,
    RunSettings,
    Selection,
    SyntheticConfig,
)
from domaingap.errors import SettingError
from domaingap.limits import limited

ALL = ", or leave it out for all"


@dataclass(frozen=True)
class OnReal(RunSettings):
    """Real training faces.

    Args:
        n_real: real faces that anything is fitted on, the first of the seed's order; all by default.
    """

    n_real: int | None = limited(None, 1, LARGEST_NUMBER, hint=ALL)


@dataclass(frozen=True)
class OnSynthetic(RunSettings):
    """Synthetic training faces.

    Args:
        synthetic: synthetic data.
        n_synthetic: synthetic images to use, hold-out included; all by default.
        n_real: with a synthetic.appearance, the unlabelled real faces whose look is taken, the first of the seed's order;
            without one, no real face is used.
        selection: real_val picks the checkpoint on the real validation subset, source_val on held-out synthetic images,
            with no real image used. Both come from one training.
    """

    synthetic: SyntheticConfig = SyntheticConfig()
    n_synthetic: int | None = limited(None, 2, LARGEST_NUMBER, hint=f" (one is held out){ALL}")
    n_real: int | None = limited(None, 1, LARGEST_NUMBER, hint="; it is the real faces whose look is taken", **LATER)
    selection: Literal["real_val", "source_val"] = "real_val"  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fits_real:
            # A sweep gives a number to all of its strategies: here it determines nothing.
            object.__setattr__(self, "n_real", None)
        elif self.n_real is None:
            look = self.synthetic.appearance
            raise SettingError("n_real", f"is missing: synthetic.appearance {look} takes the look of so many real faces")

    @property
    def fits_real(self) -> bool:
        return bool(self.synthetic.appearance != "none")


@dataclass(frozen=True)
class OnBoth(OnReal):
    """Synthetic training faces, then real ones.

    Args:
        synthetic: synthetic data.
        n_synthetic: synthetic images to use, hold-out included; all by default.
    """

    synthetic: SyntheticConfig = SyntheticConfig()
    n_synthetic: int | None = limited(None, 2, LARGEST_NUMBER, hint=f" (one is held out){ALL}")


@dataclass(frozen=True)
class WithAdapter(OnBoth):
    """A label adapter between them.

    Args:
        adapter: label adapter.
    """

    adapter: AdapterConfig = AdapterConfig()


@dataclass(frozen=True)
class WithLabelsAdapter(WithAdapter):
    """A label adapter that moves synthetic labels.

    Args:
        adapter: label adapter.
    """

    adapter: LabelsAdapterConfig = LabelsAdapterConfig()


@dataclass(frozen=True)
class Mixed(WithLabelsAdapter):
    """Both in every batch.

    Args:
        alpha: share of synthetic samples in a batch: 0 trains as real_only does, 1 as data_adaptation does.
    """

    alpha: float = limited(0.5, 0, 1, hint="; it is the share of synthetic samples in a batch")


@dataclass(frozen=True)
class FineTuned(OnBoth):
    """A second stage on real faces.

    Args:
        finetune: what differs in the second stage.
    """

    finetune: FineTuneConfig = FineTuneConfig()


Everything: Any = make_dataclass("Everything", [("selection", Selection, "real_val")], bases=(Mixed, FineTuned), frozen=True)
"""What any recipe can be told: of a configuration whose recipe isn't known."""
