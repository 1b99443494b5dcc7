"""Finished runs, each trained once for all tests that ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main


def finished(recipe: str, *options: str, data_root: Path, prepared_dir: Path, folder: Path) -> Path:
    """The folder of a tiny run of a recipe; trained below ``folder`` where it isn't yet."""
    with pytest.raises(SystemExit) as exit:
        main(
            [
                "run",
                recipe,
                f"--data_root={data_root}",
                f"--prepared_dir={prepared_dir}",
                f"--runs_dir={folder}",
                "--real.n_val=6",
                "--crop.size=32",
                "--crop.box=landmarks",
                "--model.backbone=test_resnet",
                "--fit.steps=4",
                "--fit.val_every=2",
                "--fit.batch_size=4",
                "--fit.precision=32",
                "--wandb.mode=off",
                *options,
            ]
        )
    assert not exit.value.code
    (path,) = folder.glob("*/result.json")
    return path.parent
