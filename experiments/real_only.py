"""real_only: a network trained on real faces."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from domaingap.config import AugmentConfig, CropConfig, FitConfig, ModelConfig, RealConfig, WandbConfig
from experiments.result import Result


def real_only(
    data_root: Path = Path("data"),
    n_real: int | None = None,
    seed: int = 0,
    selection: Literal["real_val", "budget"] = "real_val",
    real: RealConfig = RealConfig(),  # noqa: B008 - frozen
    crop: CropConfig = CropConfig(),  # noqa: B008
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008
    model: ModelConfig = ModelConfig(),  # noqa: B008
    fit: FitConfig = FitConfig(),  # noqa: B008
    wandb: WandbConfig = WandbConfig(),  # noqa: B008
    runs_dir: Path = Path("runs"),
    prepared_dir: Path = Path("prepared"),
) -> Result:
    """Train on real faces; score on real faces.

    Args:
        data_root: folder that holds 300w/.
        n_real: real faces to train on; all by default.
        seed: of weights, subset, order and augmentation.
        selection: real_val picks the checkpoint on the validation subset; budget takes the last averaged weights.
        real: real data.
        crop: face crops.
        augment: augmentation.
        model: network.
        fit: training.
        wandb: Weights & Biases.
        runs_dir: where runs and finished stages are kept.
        prepared_dir: where prepared crops are kept.
    """
    settings = dict(locals())
    from experiments.run import Run, open_real

    real_faces = open_real(data_root, prepared_dir, real, n_real, seed, crop, augment)
    run = Run("real_only", settings, real_faces)
    if (result := run.finished()) is not None:
        return result
    with run:
        network = run.fit("real", real_faces, {"val": real_faces}, fit)
        return run.finish(
            network,
            n_real_train=len(real_faces.train_positions),
            n_real_selection=len(real_faces.val_positions) if selection == "real_val" else 0,
        )
