"""Any data set in a known layout scores any run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from domaingap.errors import UserError
from domaingap.predictions import load_predictions
from domaingap.study.other_faces import layouts, read_folder
from tests.conftest import Answer, write_300w
from tests.experiments.test_cli import fails
from tests.inference.runs import finished

Cli = Callable[..., Answer]


@pytest.fixture(scope="module")
def run(data_root: Path, prepared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of synthetic_only."""
    folder = tmp_path_factory.mktemp("runs")
    return finished("synthetic_only", data_root=data_root, prepared_dir=prepared_dir, folder=folder)


def test_layouts_tell_data_sets_apart(data_root: Path, tmp_path: Path) -> None:
    assert layouts() == ["300w", "dgfaces", "face_synthetics", "synthface"]
    for folder, name in (("300w", "300w"), ("dgfaces", "dgfaces"), ("face_synthetics",) * 2, ("synth_face", "synthface")):
        shutil.copytree(data_root / folder, tmp_path / f"some {name}")
        assert read_folder(tmp_path / f"some {name}").source.name == name
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no layout of a known data set; expected 300-W: afw/.*DGFaces: "):
        read_folder(tmp_path / "empty")
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "absent")


def test_evaluate_on_other_faces(cli: Cli, run: Path, tmp_path: Path) -> None:
    done = cli("evaluate", run, "--on", "dgfaces,300w")
    assert done.code == 0, done.err
    said = json.loads((run / "evaluation" / "dgfaces-300w-common-300w-challenging-300w-full.json").read_text())
    assert {name: said[name]["images"] for name in said if name != "checkpoint"} == {
        "dgfaces": 6, "300w-common": 11, "300w-challenging": 3, "300w-full": 14,
    }  # fmt: skip
    # The same faces under their own name score the same.
    own = json.loads((run / "result.json").read_text())["metrics"]["test/common/nme"]
    assert said["300w-common"]["metrics"]["nme"] == pytest.approx(own, rel=1e-9)
    low, high = said["dgfaces"]["intervals"]["nme"]
    assert low < said["dgfaces"]["metrics"]["nme"] < high


def test_evaluate_on_a_folder(cli: Cli, run: Path, data_root: Path, tmp_path: Path) -> None:
    write_300w(tmp_path / "a, b", seed=9)
    done = cli("evaluate", run, "--on", tmp_path / "a, b", "--data_root", tmp_path / "nowhere")
    assert done.code == 0, done.err
    kept = load_predictions(run / "evaluation" / "300w-common-300w-challenging-300w-full.npz")
    assert len(kept["300w-full"].names) == 14
    # Renderings that it was trained on aren't real images that were seen; photographs are, and that is said.
    other = finished("real_only", data_root=data_root, prepared_dir=tmp_path / "prepared", folder=tmp_path / "runs")
    (tmp_path / "afw").mkdir()
    shutil.copytree(data_root / "300w" / "afw", tmp_path / "mine" / "afw")
    done = cli("evaluate", other, "--on", tmp_path / "mine")
    assert done.code == 0 and "caution: the network was trained on" in done.err and "of the 12 faces of 300w" in done.err
    fails(cli("evaluate", run, "--on", tmp_path / "absent"), "absent: no such folder")
    fails(cli("evaluate", run, "--on", "wflw"), "wflw", "known: val, source_val, common", "dgfaces", "or a folder")
    fails(cli("evaluate", run, "--on", tmp_path / "prepared"), "no layout of a known data set")
