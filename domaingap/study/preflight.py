"""What can be known of a run before anything is made: no data prepared, no folder created, no network trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from domaingap.config import Precision, RealConfig
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.errors import SettingError
from domaingap.launch import check_processes
from domaingap.models.backbone import fetch_weights
from domaingap.models.heatmaps import check_model
from domaingap.models.regressor import LandmarkRegressor, load_weights, network_settings
from domaingap.paths import check_folder
from domaingap.tracking import effective_mode


def settled(settings: Any, precision: Precision | None = None) -> Any:
    """Settings with ``fit.precision auto`` as it is meant: as given, or as it is best on this machine."""
    if settings.fit.precision != "auto":
        return settings
    return replace(settings, fit=replace(settings.fit, precision=precision or best_precision(settings.model.backbone)))


def best_precision(backbone: str) -> Precision:
    """What ``fit.precision auto`` is on this machine for a backbone."""
    from domaingap.training import gains_from_bf16

    return "bf16" if gains_from_bf16(backbone) else "32"


def check_run(settings: Any, counts: dict[Any, int] | None = None) -> None:
    """Look at a run's settings together, at its folders, and at the data that they name.

    Args:
        settings: the run's.
        counts: faces of data sets that were counted for other runs; added to.

    Raises:
        UserError: what would end the run later: a network that can't take such crops or start from that checkpoint, a folder
            that can't be made, data that isn't there or less of it than asked for, no login.
    """
    s = settings
    effective_mode(s.wandb.mode)
    check_model(s.model, s.crop.n_channels, s.crop.size, s.fit.batch_size // s.fit.processes)
    if s.fit.processes > 1:
        check_processes(s.fit)
    if s.model.pretrained and not any((s.runs_dir / "stages").glob("network-*")):
        # Where there are networks, the one that is needed may be there, and its weights need no network connection.
        fetch_weights(s.model.backbone, s.crop.n_channels, s.crop.size, s.model.pretrained)
    check_folder(s.runs_dir, "--runs_dir")
    check_folder(s.prepared_dir, "--prepared_dir")
    if s.data_root.exists() and not s.data_root.is_dir():
        raise SettingError("data_root", f"is {s.data_root}, which is no folder; give the one that holds the data sets")
    counts = counts if counts is not None else {}
    real = real_module(s)
    n_real, n_val, found = getattr(s, "n_real", None), s.real.n_val, _count(real, counts)
    if n_val >= found:
        more = real.open().more
        raise SettingError("real.n_val", f"is {n_val}, but there are {found} training faces; {more}, or set it lower")
    if n_real is not None and n_real > found - n_val:
        left = f"{found - n_val} training faces (after the {n_val} validation faces)"
        raise SettingError("n_real", f"is {n_real}, but there are {left}")
    if hasattr(s, "synthetic"):
        synthetic = synthetic_module(s)
        if s.n_synthetic is not None and s.n_synthetic > (found := _count(synthetic, counts)):
            name, more = s.synthetic.source, synthetic.open().more
            raise SettingError("n_synthetic", f"is {s.n_synthetic}, but {name} has {found} images here; {more}")
        if s.n_synthetic is None:
            synthetic.chosen(synthetic.open())
    if s.model.init_from is not None:
        if not s.model.init_from.is_file():
            raise SettingError("model.init_from", f"is {s.model.init_from}, and there is no such file")
        load_weights(
            LandmarkRegressor(
                input_size=s.crop.size,
                in_channels=s.crop.n_channels,
                **{**network_settings(s.model), "pretrained": False},
            ),
            s.model.init_from,
        )


def _count(module: RealDataModule | SyntheticDataModule, counts: dict[Any, int]) -> int:
    """The annotated training faces that are there; listed, not read."""
    source = module.open()
    parts = [part for part in module.chosen(source) if part in module.about.train_parts]
    key = (module.source, module.data_root, module.root, module.generated, *parts)
    if key not in counts:
        counts[key] = sum(source.count(part).found for part in parts)
    return counts[key]


def real_module(settings: Any, real: RealConfig | None = None) -> RealDataModule:
    """A run's real faces, or those of another configuration under its other settings; not set up."""
    n_real = getattr(settings, "n_real", None) if real is None else None
    s, real = settings, real if real is not None else settings.real
    return RealDataModule(
        n_real, real.parts, s.data_root, real.root, real.n_val, s.seed, s.crop, s.augment,
        prepared_dir=s.prepared_dir, source=real.source, generated=real.generated,
    )  # fmt: skip


def synthetic_module(settings: Any) -> SyntheticDataModule:
    """A run's synthetic faces; not set up."""
    s, synthetic = settings, settings.synthetic
    return SyntheticDataModule(
        s.n_synthetic, synthetic.val_split, synthetic.source, s.data_root, synthetic.root, s.seed, s.crop, s.augment,
        prepared_dir=s.prepared_dir, generated=synthetic.generated, appearance=synthetic.appearance,
        appearance_beta=synthetic.appearance_beta, appearance_share=synthetic.appearance_share,
        like=real_module(s) if synthetic.appearance != "none" else None,
    )  # fmt: skip
