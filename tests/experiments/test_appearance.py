"""The look of real faces on synthetic ones, through the command line: records, budgets, keys, mistakes."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from domaingap.config import CropConfig, FitConfig, ModelConfig, determining
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.models.regressor import read_checkpoint
from domaingap.provenance import Seen
from domaingap.stages import Stage, StageStore
from domaingap.study.arguments import parse_settings
from domaingap.study.outline import Outline
from domaingap.study.plan import planned_runs
from domaingap.study.record import request_key
from experiments.recipes import RECIPES
from tests.experiments.test_cli import fails
from tests.experiments.test_recipes import Cli, result_of

LOOK = "--synthetic.appearance=fourier"


def test_its_real_faces_are_counted_and_named(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    for options in (["--selection=source_val", LOOK, "--n_real=5"], []):
        answer = cli("run", "synthetic_only", *quick, "--score_test=false", *options)
        assert answer.code == 0, answer.err
        assert ("fourier, beta 0.05: 100% of the synthetic training pictures have the look of 5 real" in answer.out) == bool(
            options
        )
    changed = result_of(tmp_path, "synthetic_only-face_synthetics-fourier-n5-s0")
    assert (changed["n_real_train"], changed["n_real_selection"], changed["n_synthetic"]) == (5, 0, 22)
    assert any("300-W" in str(line) for line in changed["licences"])  # type: ignore[attr-defined]
    plain = result_of(tmp_path, "synthetic_only-face_synthetics-s0")
    assert (plain["n_real_train"], plain["n_real_selection"]) == (0, 6)
    assert plain["metrics"]["source_val/nme"] != changed["metrics"]["source_val/nme"]  # type: ignore[index]
    answer = cli("report", tmp_path / "runs", "--style", "strategies", "--on", "val")
    lines = [line for line in answer.out.splitlines() if "synthetic_only" in line]
    assert answer.code == 0 and len(lines) == 2 and sum("synthetic_only + fourier" in line for line in lines) == 1, (
        answer.out
    )


@pytest.fixture
def modules(data_root: Path, prepared_dir: Path) -> tuple[SyntheticDataModule, RealDataModule]:
    shared: dict[str, Any] = {"data_root": data_root, "prepared_dir": prepared_dir}
    shared["crop"] = CropConfig(size=32, box="landmarks")
    real = RealDataModule(5, n_val=6, **shared)
    synthetic = SyntheticDataModule(appearance="fourier", appearance_share=0.7, like=real, **shared)
    synthetic.setup()
    real.setup()
    return synthetic, real


def fit(root: Path, data: SyntheticDataModule, **options: Any) -> Stage:
    how = FitConfig(steps=6, batch_size=4, val_every=2, precision="32")
    return StageStore(root).fit("synthetic", ModelConfig("test_resnet"), data, {"source_val": data}, how, 0, **options)


def weights(stage: Stage) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(stage.checkpoint("budget"))["state_dict"]
    return state


def test_networks_are_the_same_again_after_a_kill_and_without_their_labels(
    modules: tuple[SyntheticDataModule, RealDataModule], tmp_path: Path
) -> None:
    synthetic, real = modules
    whole = fit(tmp_path / "whole", synthetic)
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", synthetic, on_point=lambda point: sys.exit() if point["step"] == 4 else None)
    blind = copy.copy(synthetic)
    blind.like = copy.copy(real)
    blind.like._faces = real.faces.relabelled(np.full_like(real.faces.landmarks, np.nan), "blind", Seen())
    for other in (fit(tmp_path / "killed", synthetic), fit(tmp_path / "blind", blind)):
        assert other.entry.key == whole.entry.key
        assert all(torch.equal(value, weights(other)[key]) for key, value in weights(whole).items())
        assert [row["source_val/nme"] for row in other.history] == [row["source_val/nme"] for row in whole.history]
    assert whole.seen("budget").real == {f"300w/{name}" for name in real.faces.names[real.train_positions]}
    plain = copy.copy(synthetic)
    plain.like = None
    untouched = fit(tmp_path / "whole", plain)
    assert untouched.entry.key != whole.entry.key
    assert any(not torch.equal(value, weights(untouched)[key]) for key, value in weights(whole).items())


def keys(recipe: str, *options: str) -> tuple[str, list[str]]:
    """What is asked for, and its networks."""
    settings = parse_settings(RECIPES[recipe], options)
    return request_key(recipe, settings), [stage.key for stage in Outline(RECIPES[recipe], settings).stages]


def test_what_was_asked_for_before_is_known_by_the_same_key() -> None:
    for recipe in RECIPES.values():
        own = determining(parse_settings(recipe, []))
        assert not [key for key in own.get("synthetic", {}) if key.startswith("appearance")]
        assert ("n_real" in own) == (recipe.name != "synthetic_only")
    assert keys("synthetic_only", "--synthetic.appearance=none") == keys("synthetic_only")
    assert keys("mixing", "--synthetic.appearance=none") == keys("mixing")


def test_keys_hold_which_faces_and_how() -> None:
    given = [
        keys("synthetic_only", *options)
        for options in (
            [], [LOOK, "--n_real=5"], [LOOK, "--n_real=6"], ["--synthetic.appearance=histogram", "--n_real=5"],
            [LOOK, "--n_real=5", "--synthetic.appearance_beta=0.1"],
            [LOOK, "--n_real=5", "--synthetic.appearance_share=0.5"],
            [LOOK, "--n_real=5", "--real.parts=afw"],
        )
    ]  # fmt: skip
    assert len({key for key, _ in given}) == len({stages[0] for _, stages in given}) == 7
    # The synthetic network is shared with strategies of the same look and number, and with no other.
    for recipe in ("label_adaptation", "mixing", "fine_tuning"):
        assert keys(recipe, LOOK, "--n_real=5")[1][0] == given[1][1][0] != keys(recipe, "--n_real=5")[1][0]
    assert keys("mixing", LOOK, "--n_real=5", "--alpha=0")[1][-1] == keys("real_only", "--n_real=5")[1][-1]


def test_a_sweep_over_numbers_has_plain_synthetic_data_once(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "method: grid\nmetric: {name: val/nme, goal: minimize}\nparameters:\n  n_real: {values: [5, 9]}\n"
        "  recipe: {values: [synthetic_only]}\n  synthetic.appearance: {values: [none, histogram]}\n"
    )
    titles = [run.title for run in planned_runs(file, [], RECIPES, exact=True)]
    assert titles == [
        "synthetic_only seed 0", "synthetic_only + histogram n_real 5 seed 0", "synthetic_only + histogram n_real 9 seed 0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([LOOK], "n_real is missing: synthetic.appearance fourier takes the look of so many real faces"),
        ([LOOK, "--n_real=0"], "n_real is 0; it lies between 1 and"),
        ([LOOK, "--n_real=29"], "n_real is 29, but there are 28 training faces"),
        (["--n_real=5"], "n_real is 5, but synthetic_only uses no real face; give it with a --synthetic.appearance"),
        (["--synthetic.appearance=fda"], "appearance is fda; known: none, fourier, histogram"),
        ([LOOK, "--n_real=5", "--synthetic.appearance_beta=0.7"], "appearance_beta is 0.7; it lies between 0 and 0.5"),
        ([LOOK, "--n_real=5", "--synthetic.appearance_share=0"], "appearance_share is 0; it lies above 0 and at most 1"),
    ],
)
def test_mistakes(cli: Cli, quick: list[str], options: list[str], said: str) -> None:
    fails(cli("run", "synthetic_only", *quick, *options), said)


def test_a_file_says_where_a_number_has_no_use(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("seed: 0\nn_real: 5\n")
    fails(cli("run", "synthetic_only", f"--config={tmp_path}/c.yaml", *quick), "c.yaml:2: n_real is 5, but synthetic_only")
