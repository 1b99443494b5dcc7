"""Licences travel from the data to every network that has seen them, and generated faces describe themselves to others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from domaingap.data.generated import FaceGenerator
from domaingap.data.generated.geometries.builtin import parametric_head
from domaingap.data.readers import open_reader
from domaingap.data.render import write_faces
from domaingap.models.regressor import read_checkpoint
from domaingap.provenance import IMAGENET, OWN, Seen, Terms
from domaingap.sources import source
from domaingap.stages import checkpoint_seen
from tests.conftest import Answer

Cli = Callable[..., Answer]
PHOTOGRAPHS = "300-W (research only, non-commercial)"
RENDERINGS = "FaceSynthetics (Research Use of Data Agreement v1.0, non-commercial)"
DATAGEN = "DGFaces (research only, non-commercial [unverified])"
OURS = "generated faces (made by this program, without others' data)"
CLEAN = f"licences of all data seen: {OURS}; no non-commercial data behind it"


def result(runs: Path) -> dict[str, Any]:
    """The only run's record."""
    (path,) = runs.glob("*/result.json")
    return {**json.loads(path.read_text()), "folder": path.parent}


@pytest.mark.parametrize(
    ("recipe", "options", "expected"),
    [
        ("real_only", [], {PHOTOGRAPHS}),
        # Scored on photographs, but nothing was picked on them.
        ("synthetic_only", ["--selection=source_val"], {RENDERINGS}),
        ("synthetic_only", ["--selection=real_val"], {RENDERINGS, PHOTOGRAPHS}),
        ("synthetic_only", ["--synthetic.source=dgfaces", "--selection=source_val"], {DATAGEN}),
        ("label_adaptation", ["--n_real=8", "--adapter.kind=linear"], {RENDERINGS, PHOTOGRAPHS}),
        ("data_adaptation", ["--n_real=8", "--selection=budget"], {RENDERINGS, PHOTOGRAPHS}),
        ("mixing", ["--n_real=8", "--alpha=0.5", "--adapter.kind=identity"], {RENDERINGS, PHOTOGRAPHS}),
        ("fine_tuning", ["--n_real=8", "--selection=budget"], {RENDERINGS, PHOTOGRAPHS}),
    ],
)
def test_a_run_names_the_licences_of_all_that_it_saw(
    cli: Cli, quick: list[str], tmp_path: Path, recipe: str, options: list[str], expected: set[str]
) -> None:
    answer = cli("run", recipe, *quick, *options)
    assert answer.code == 0, answer.err
    record = result(tmp_path / "runs")
    assert set(record["licences"]) == expected and record["non_commercial"] is True
    line = f"licences of all data seen: {', '.join(sorted(expected))}; for non-commercial use only"
    assert line in answer.out.splitlines()
    assert "ICCV" in record["data"].get("synthetic", record["data"]["real"])["citation"] or "dgfaces" in str(options)
    seen = checkpoint_seen(record["folder"] / "checkpoints" / "answering.ckpt")
    assert set(seen.named()) <= expected and seen.non_commercial
    for adapter in (record["folder"] / "checkpoints").glob("adapter_*.ckpt"):
        assert set(Seen.of(read_checkpoint(adapter)["seen"]).named()) == expected
    if recipe in ("mixing", "fine_tuning"):
        assert set(seen.named()) == expected, "the answering network alone"
    assert line in cli("evaluate", record["folder"], *quick[:2], "--on=val").out.splitlines()


def test_generated_files_are_not_called_microsofts(cli: Cli, quick: list[str], data_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(data_root / "300w", root / "300w")
    assert cli("data", "generate", "--n=12", "--size=48", f"--out={root / 'made'}", "--workers=1").code == 0
    options = [
        *quick,
        f"--data_root={root}",
        f"--prepared_dir={tmp_path / 'p'}",
        "--synthetic.root=made",
        "--selection=source_val",
    ]

    def run(runs: str) -> dict[str, Any]:
        answer = cli("run", "synthetic_only", *options, f"--runs_dir={tmp_path / runs}")
        assert answer.code == 0, answer.err
        return {**result(tmp_path / runs), "out": answer.out}

    made = run("made")
    assert made["licences"] == [OURS] and made["non_commercial"] is False and CLEAN in made["out"].splitlines()
    assert made["data"]["synthetic"]["licence"] == OURS
    assert checkpoint_seen(made["folder"] / "checkpoints" / "answering.ckpt").licences == {OWN}
    report = cli("report", tmp_path / "made", "--style=runs").out
    assert f"{CLEAN}." in report.splitlines()
    prepared = cli("data", "prepare", *options[-4:-2], "--source=300w", "--size=32", "--box=landmarks")
    assert f"300w: {PHOTOGRAPHS}; Sagonas et al." in prepared.out
    # One of Microsoft's among them: both hold.
    shutil.copy(root / "made" / "000000.png", root / "made" / "000500.png")
    shutil.copy(root / "made" / "000000_ldmks.txt", root / "made" / "000500_ldmks.txt")
    assert run("mixed")["licences"] == [RENDERINGS, OURS]
    # Nothing says that they are generated.
    for name in ("000500.png", "000500_ldmks.txt", "generated.json"):
        (root / "made" / name).unlink()
    assert run("unknown")["licences"] == [RENDERINGS]
    report = cli("report", tmp_path, "--style=runs").out
    assert "no non-commercial data behind 1 of 2 runs, non-commercial data behind 1 of 2 runs" in report, (
        "equal runs count once"
    )


def test_a_start_brings_its_licences(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "synthetic_only", *quick, "--selection=source_val", "--synthetic.source=dgfaces").code == 0
    start = result(tmp_path / "runs")["folder"] / "checkpoints" / "answering.ckpt"
    generated = ["--synthetic.source=generated", "--synthetic.generated.n=12", "--selection=source_val"]
    generated += [f"--model.init_from={start}", f"--runs_dir={tmp_path / 'more'}", "--crop.channels=gray"]
    answer = cli("run", "synthetic_only", *quick, *generated)
    assert answer.code == 0, answer.err
    record = result(tmp_path / "more")
    assert record["licences"] == [DATAGEN, OURS] and record["non_commercial"] is True and DATAGEN in answer.out


def test_what_an_export_carries() -> None:
    photographs = Terms.of(source("300w"))
    assert Seen(licences=frozenset({OWN})).notice() == {
        "notice": CLEAN,
        "non_commercial": False,
        "licences": [
            {
                "data": "generated faces",
                "licence": "made by this program, without others' data",
                "non_commercial": False,
                "verified": True,
                "url": "",
                "citation": "this program",
            }
        ],
        "complete": True,
        "real_images": 0,
        "real_images_that_picked": 0,
        "steps": 0,
    }
    mit = Terms("ICT-FaceKit", "MIT", False)
    assert Seen(licences=frozenset({OWN, mit})).notice()["non_commercial"] is False
    both = Seen(frozenset({"300w/a"}), frozenset({"300w/a", "300w/b"}), 7, frozenset({OWN, photographs}))
    said = json.loads(json.dumps(both.notice()))
    assert said["notice"].endswith(f"{PHOTOGRAPHS}, {OURS}; for non-commercial use only")
    assert (said["real_images"], said["real_images_that_picked"], said["steps"]) == (1, 1, 7)
    assert [one["data"] for one in said["licences"]] == ["300-W", "generated faces"]
    unknown = Seen(licences=frozenset({OWN})) | Seen.of(None)
    assert unknown.notice()["non_commercial"] is None and "unknown (of the start)" in unknown.notice()["notice"]
    assert (unknown | both).non_commercial is True, "what is known is enough"
    assert "[unverified]" in str(Terms.of(source("dgfaces"))) and "[unverified]" in str(IMAGENET) and IMAGENET.non_commercial


def test_checkpoints_of_earlier_versions_are_read() -> None:
    """They named licences alone."""
    old = {"real": [], "selected_on": [], "steps": 3, "complete": True}
    names = [s.licence.name for s in map(source, ("300w", "generated", "face_synthetics"))]
    seen = Seen.of({**old, "licences": [*names, "ImageNet (timm's pretrained weights)", "a licence of a fork"]})
    assert {terms.licence: terms.non_commercial for terms in seen.licences} == {
        names[0]: True, names[1]: False, names[2]: True, IMAGENET.licence: True, "a licence of a fork": None,
    }  # fmt: skip
    assert Seen.of(seen.plain()) == seen
    picked = Seen.of({**old, "licences": names[1:2], "selected_on": ["300w/afw/1"]})
    assert picked.non_commercial is True and PHOTOGRAPHS in picked.named(), "what only picked was left out"
    assert Seen.of({**old, "licences": names[1:2]}).non_commercial is False
    assert Seen.of({**old, "licences": ["a licence of a fork"]}).non_commercial is None


def test_a_damaged_record_of_what_was_seen_is_named(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "real_only", *quick).code == 0
    content = read_checkpoint(result(tmp_path / "runs")["folder"] / "checkpoints" / "answering.ckpt")
    good = content["seen"]
    for damaged in (
        {**good, "licences": [{"data": "x"}]},
        {**good, "licences": [{"data": "x", "licence": "MIT", "non_commercial": "no"}]},
        {**good, "licences": 7},
        {"real": []},
        [1],
    ):
        torch.save({**content, "seen": damaged}, tmp_path / "x.ckpt")
        answer = cli("run", "real_only", *quick, "--n_real=5", f"--model.init_from={tmp_path / 'x.ckpt'}")
        assert answer.code == 2 and "x.ckpt: what it says that it has seen can't be read" in answer.err, answer.err


def test_faces_made_with_another_mesh_carry_its_terms(tmp_path: Path) -> None:
    mit = Terms("ICT-FaceKit", "MIT", False, url="https://example.org/LICENSE", citation="Li et al., CVPR 2020")
    for terms, expected in (((mit,), {mit}), ((), {Terms("faces made with another", "not known", None, False)})):
        geometry = replace(parametric_head(), name="another", terms=terms)
        generator = FaceGenerator("synthetic", 0, geometry=geometry)
        out = tmp_path / f"{len(terms)}"
        write_faces(generator, 1, 32, out, 1)
        assert generator.terms() == expected == open_reader("face_synthetics", tmp_path, out).terms()
        licence = json.loads((out / "croissant.json").read_text())["license"]
        assert licence == (["https://example.org/LICENSE"] if terms else ["faces made with another: not known"])
    assert replace(geometry, terms=(mit,)).key() == geometry.key(), "whose it is doesn't change the faces"


def test_croissant_is_valid_and_leads_to_the_same_faces(cli: Cli, tmp_path: Path) -> None:
    import mlcroissant

    out = tmp_path / "made"
    generate = ["data", "generate", "--domain=target", "--label_gap=0.5", "--n=3", "--size=48", "--seed=4", "--workers=1"]
    assert cli(*generate, f"--out={out}").code == 0
    described = mlcroissant.Dataset(out / "croissant.json")
    issues = described.metadata.ctx.issues
    assert not issues.errors and not issues.warnings, issues.report()
    metadata = described.metadata.to_json()
    assert metadata["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert metadata["license"] in (f"{OWN.data}: {OWN.licence}", [f"{OWN.data}: {OWN.licence}"])
    assert "--label_gap 0.5" in metadata["description"] and metadata["citeAs"] and metadata["version"]
    pictures = {row["faces/id"].decode(): row["faces/image"] for row in described.records("faces")}
    classes = {
        row["segmentations/id"].decode(): row["segmentations/segmentation"] for row in described.records("segmentations")
    }
    points: dict[str, list[list[float]]] = {}
    for row in described.records("landmarks"):
        of = points.setdefault(row["landmarks/id"].decode(), [])
        assert row["landmarks/point"] == len(of)
        of.append(row["landmarks/xy"])
    assert sorted(pictures) == sorted(classes) == sorted(points) == ["000000", "000001", "000002"]
    for name in sorted(points):
        np.testing.assert_array_equal(np.array(points[name]), np.loadtxt(out / f"{name}_ldmks.txt"))
        assert np.array(points[name]).shape == (70, 2)
        np.testing.assert_array_equal(np.asarray(pictures[name]), np.asarray(Image.open(out / f"{name}.png")))
        np.testing.assert_array_equal(np.asarray(classes[name])[..., 0], np.asarray(Image.open(out / f"{name}_seg.png")))
    arrays = {row["arrays/array"]: row for row in described.records("arrays")}
    with np.load(out / "000000_face.npz") as held:
        assert {name: (str(held[name].dtype), ",".join(map(str, held[name].shape))) for name in held.files} == {
            name: (row["arrays/type"], row["arrays/shape"]) for name, row in arrays.items()
        }


def test_folders_of_earlier_versions_get_their_description(cli: Cli, tmp_path: Path) -> None:
    generate = ["data", "generate", "--n=2", "--size=32", f"--out={tmp_path / 'made'}", "--workers=1"]
    assert cli(*generate).code == 0
    file = tmp_path / "made" / "croissant.json"
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    file.unlink()
    answer = cli(*generate)
    assert answer.code == 0 and "all 2 there already" in answer.out
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before, "to the last byte"
    # More faces: described anew.
    assert cli(*generate[:2], "--n=3", *generate[3:]).code == 0
    assert "3 synthetic faces" in json.loads(file.read_text())["description"]
    (file.parent / "croissant2.json").write_text("{}")
    refused = cli(*generate[:2], "--n=3", *generate[3:])
    assert refused.code == 2 and "holds croissant2.json, which isn't a generated face" in refused.err
