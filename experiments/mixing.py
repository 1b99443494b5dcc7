"""mixing: a network trained on real faces and on synthetic ones with adapted labels, α of each batch synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from domaingap.config import (
    AdapterConfig,
    AugmentConfig,
    CropConfig,
    FitConfig,
    ModelConfig,
    RealConfig,
    SyntheticConfig,
    WandbConfig,
)
from experiments.result import Result


def mixing(
    data_root: Path = Path("data"),
    n_real: int | None = None,
    alpha: float = 0.5,
    n_synthetic: int | None = None,
    seed: int = 0,
    selection: Literal["real_val", "budget"] = "real_val",
    synthetic: SyntheticConfig = SyntheticConfig(),  # noqa: B008 - frozen
    real: RealConfig = RealConfig(),  # noqa: B008
    crop: CropConfig = CropConfig(),  # noqa: B008
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008
    model: ModelConfig = ModelConfig(),  # noqa: B008
    fit: FitConfig = FitConfig(),  # noqa: B008
    adapter: AdapterConfig = AdapterConfig(),  # noqa: B008
    wandb: WandbConfig = WandbConfig(),  # noqa: B008
    runs_dir: Path = Path("runs"),
    prepared_dir: Path = Path("prepared"),
) -> Result:
    """Train on n real faces and on synthetic ones with adapted labels, α of each batch synthetic; score on real faces.

    Args:
        data_root: folder that holds the data sets.
        n_real: real faces to train on, also the ones that the adapter is fitted on; all by default.
        alpha: share of synthetic samples in a batch: 0 trains as real_only does, 1 as data_adaptation does.
        n_synthetic: synthetic images to use, hold-out included; all by default.
        seed: of weights, subsets, order and augmentation.
        selection: real_val picks every checkpoint and the adapter on the real validation subset; budget uses the n real
            images only: the first network is picked on held-out synthetic images, the adapter is chosen by
            cross-validation among them, the answering
            network is its last averaged weights.
        synthetic: synthetic data.
        real: real data.
        crop: face crops.
        augment: augmentation.
        model: network.
        fit: training of each of the two networks; the first is the same stage as synthetic_only's.
        adapter: label adapter.
        wandb: Weights & Biases.
        runs_dir: where runs and finished stages are kept.
        prepared_dir: where prepared crops are kept.
    """
    settings = dict(locals())
    from domaingap.data.datamodules import MixedDataModule
    from experiments.run import Run, open_real, open_synthetic

    synthetic_faces = open_synthetic(data_root, prepared_dir, synthetic, n_synthetic, seed, crop, augment)
    real_faces = open_real(data_root, prepared_dir, real, n_real, seed, crop, augment)
    # Before anything is trained: a wrong alpha ends here.
    MixedDataModule(synthetic_faces, real_faces, alpha)
    run = Run("mixing", settings, real_faces, synthetic_faces)
    if (result := run.finished()) is not None:
        return result
    with run:
        teacher = run.fit(
            "synthetic", synthetic_faces, {"source_val": synthetic_faces, "val": real_faces}, fit, answering=False
        )
        h = run.fit_adapter(teacher, adapter)
        adapted_faces = synthetic_faces.adapted(h.load("labels").adapt, h.key)
        network = run.fit("mixed", MixedDataModule(adapted_faces, real_faces, alpha), {"val": real_faces}, fit)
        return run.finish(
            network,
            n_real_train=len(real_faces.train_positions),
            n_real_selection=len(real_faces.val_positions) if selection == "real_val" else 0,
            adapter=(h, "labels"),
        )
