"""fine_tuning: a network trained on synthetic faces, then trained on n real ones with a fresh optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from domaingap.config import (
    AugmentConfig,
    CropConfig,
    FineTuneConfig,
    FitConfig,
    ModelConfig,
    RealConfig,
    SyntheticConfig,
    WandbConfig,
)
from experiments.result import Result


def fine_tuning(
    data_root: Path = Path("data"),
    n_real: int | None = None,
    n_synthetic: int | None = None,
    seed: int = 0,
    selection: Literal["real_val", "budget"] = "real_val",
    synthetic: SyntheticConfig = SyntheticConfig(),  # noqa: B008 - frozen
    real: RealConfig = RealConfig(),  # noqa: B008
    crop: CropConfig = CropConfig(),  # noqa: B008
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008
    model: ModelConfig = ModelConfig(),  # noqa: B008
    fit: FitConfig = FitConfig(),  # noqa: B008
    finetune: FineTuneConfig = FineTuneConfig(),  # noqa: B008
    wandb: WandbConfig = WandbConfig(),  # noqa: B008
    runs_dir: Path = Path("runs"),
    prepared_dir: Path = Path("prepared"),
) -> Result:
    """Train on synthetic faces, then on n real ones; score on real faces.

    Args:
        data_root: folder that holds the data sets.
        n_real: real faces to fine-tune on; all by default.
        n_synthetic: synthetic images to use, hold-out included; all by default.
        seed: of weights, subsets, order and augmentation.
        selection: real_val picks both stages' checkpoints on the real validation subset; budget uses the n real faces
            only: the first stage is picked on held-out synthetic images, the second is its last averaged weights.
        synthetic: synthetic data.
        real: real data.
        crop: face crops.
        augment: augmentation.
        model: network.
        fit: training of the first stage; the same stage as synthetic_only's.
        finetune: what differs in the second stage.
        wandb: Weights & Biases.
        runs_dir: where runs and finished stages are kept.
        prepared_dir: where prepared crops are kept.
    """
    settings = dict(locals())
    from domaingap.training import resolve
    from experiments.run import Run, open_real, open_synthetic

    synthetic_faces = open_synthetic(data_root, prepared_dir, synthetic, n_synthetic, seed, crop, augment)
    real_faces = open_real(data_root, prepared_dir, real, n_real, seed, crop, augment)
    run = Run("fine_tuning", settings, real_faces, synthetic_faces)
    if (result := run.finished()) is not None:
        return result
    second = finetune.of(resolve(fit, len(synthetic_faces.train_positions), model.backbone))
    with run:
        pretrained = run.fit(
            "synthetic", synthetic_faces, {"source_val": synthetic_faces, "val": real_faces}, fit, answering=False
        )
        picked_by = "source_val" if selection == "budget" else selection
        tuned = run.fit("real", real_faces, {"val": real_faces}, second, start=(pretrained, picked_by))
        return run.finish(
            tuned,
            n_real_train=len(real_faces.train_positions),
            n_real_selection=len(real_faces.val_positions) if selection == "real_val" else 0,
        )
