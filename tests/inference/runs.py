"""Finished runs, each trained once for all tests that ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from tests.conftest import quick_options


def finished(recipe: str, *options: str, data_root: Path, prepared_dir: Path, folder: Path) -> Path:
    """The folder of a tiny run of a recipe; trained below ``folder`` where it isn't yet."""
    with pytest.raises(SystemExit) as exit:
        main(["run", recipe, *quick_options(data_root, prepared_dir, folder), *options])
    assert not exit.value.code
    (path,) = folder.glob("*/result.json")
    return path.parent


def two_finished(data_root: Path, prepared_dir: Path, folder: Path) -> tuple[Path, Path]:
    """Folders of tiny runs of real_only and synthetic_only, below a folder."""
    real, synthetic = (
        finished(recipe, data_root=data_root, prepared_dir=prepared_dir, folder=folder / recipe)
        for recipe in ("real_only", "synthetic_only")
    )
    return real, synthetic
