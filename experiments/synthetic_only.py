"""synthetic_only: a network trained on synthetic faces, scored on real ones as it is (the raw gap)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from domaingap.config import AugmentConfig, CropConfig, FitConfig, ModelConfig, RealConfig, SyntheticConfig, WandbConfig
from experiments.result import Result


def synthetic_only(
    data_root: Path = Path("data"),
    n_synthetic: int | None = None,
    seed: int = 0,
    selection: Literal["real_val", "source_val"] = "real_val",
    synthetic: SyntheticConfig = SyntheticConfig(),  # noqa: B008 - frozen
    real: RealConfig = RealConfig(),  # noqa: B008
    crop: CropConfig = CropConfig(),  # noqa: B008
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008
    model: ModelConfig = ModelConfig(),  # noqa: B008
    fit: FitConfig = FitConfig(),  # noqa: B008
    wandb: WandbConfig = WandbConfig(),  # noqa: B008
    runs_dir: Path = Path("runs"),
    prepared_dir: Path = Path("prepared"),
) -> Result:
    """Train on synthetic faces with their own labels; score on real faces as it is.

    Args:
        data_root: folder that holds the data sets.
        n_synthetic: synthetic images to use, hold-out included; all by default.
        seed: of weights, subset, order and augmentation.
        selection: real_val picks the checkpoint on the real validation subset, source_val on held-out synthetic
            images (no real image used). Both come from one training.
        synthetic: synthetic data.
        real: real data, for validation and test.
        crop: face crops.
        augment: augmentation.
        model: network.
        fit: training.
        wandb: Weights & Biases.
        runs_dir: where runs and finished stages are kept.
        prepared_dir: where prepared crops are kept.
    """
    settings = dict(locals())
    from experiments.run import Run, open_real, open_synthetic

    synthetic_faces = open_synthetic(data_root, prepared_dir, synthetic, n_synthetic, seed, crop, augment)
    real_faces = open_real(data_root, prepared_dir, real, None, seed, crop, augment)
    run = Run("synthetic_only", settings, real_faces, synthetic_faces)
    if (result := run.finished()) is not None:
        return result
    with run:
        network = run.fit("synthetic", synthetic_faces, {"source_val": synthetic_faces, "val": real_faces}, fit)
        return run.finish(
            network, n_real_train=0, n_real_selection=len(real_faces.val_positions) if selection == "real_val" else 0
        )
