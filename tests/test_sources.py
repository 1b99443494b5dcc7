"""The register of data sets: what is derived from a description, and that one module adds a data set."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from domaingap import sources
from domaingap.data import readers
from domaingap.data.readers import open_source, sources_in
from domaingap.errors import UserError
from domaingap.sources import Licence, Source, names, source
from tests.conftest import Answer, write_300w, write_face_synthetics

Cli = Callable[..., Answer]


def test_every_source_describes_itself() -> None:
    assert names("real") + names("synthetic") == names()
    for about in map(source, names()):
        assert {about.role} == {sources.face_sources()[about.name].source.role}
        known = {*about.train_parts, *about.apart, *(p for parts in about.test_sets.values() for p in parts)}
        known |= {p for parts in about.choices.values() for p in parts}
        assert known <= set(about.parts), about.name
        assert not set(about.train_parts) & {p for parts in about.test_sets.values() for p in parts}, "trained and tested on"
        assert bool(about.test_sets) == (about.role == "real")
        assert (about.folder is None) == (about.boxes == "simulated")


def test_300w_adds_up_as_published() -> None:
    about = source("300w")
    assert about.published_size("val", {}) == 3148
    assert [about.published_size(name, {}) for name in ("common", "challenging", "full", "private")] == [554, 135, 689, 600]
    assert about.absent(["afw", "ibug"]) == ["helen/trainset", "lfpw/trainset", "helen/testset", "lfpw/testset"]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["afw", "helen/trainset"], []),
        (["lfpw/testset"], ["common"]),
        (["helen/testset", "lfpw/testset"], ["common"]),
        (["ibug"], ["challenging"]),
        (["ibug", "helen/testset"], ["common", "challenging", "full"]),
        (["02_Outdoor"], ["private"]),
    ],
)
def test_full_is_common_and_challenging_or_it_is_not_full(present: list[str], expected: list[str]) -> None:
    assert source("300w").test_sets_in(present) == expected


def test_a_release_in_several_sizes_is_held_against_the_next() -> None:
    about = source("face_synthetics")
    assert [about.published("all", n) for n in (1, 100, 101, 99_999, 100_001)] == [100, 100, 1_000, 100_000, None]
    assert about.published_size("source_val", {"all": 700}) == 1_000
    assert source("synthface").published_size("source_val", {"all": 700}) is None


def test_parts_are_chosen_by_name(tmp_path: Path) -> None:
    write_300w(tmp_path / "300w")
    faces = open_source("300w", tmp_path)
    assert faces.chosen(["helen", "afw"]) == ["afw", "helen/trainset", "helen/testset"]
    assert faces.chosen(["lfpw/testset"]) == ["lfpw/testset"] and len(faces.chosen()) == 6
    with pytest.raises(UserError, match=r"300-W has no part 'helena'; known: afw, helen, lfpw, ibug, private"):
        faces.chosen(["helena"])
    with pytest.raises(UserError, match=r"private isn't in .*300w; present: afw, "):
        faces.chosen(["afw", "private"])


def test_boxes_are_named_by_domain() -> None:
    """Photographs beside generated renderings: the two domains' boxes are not of one origin."""
    real, synthetic = source("300w"), source("generated")
    assert (real.box_rule("mtcnn"), synthetic.box_rule("mtcnn")) == ("mtcnn", "simulated mtcnn")
    assert (real.box_rule("landmarks"), synthetic.box_rule("landmarks")) == ("oracle (landmarks)",) * 2


def test_unknown_names_list_what_is_known(cli: Cli, quick: list[str]) -> None:
    for option, known in (("real", "300w, generated_target"), ("synthetic", "face_synthetics, synthface, generated")):
        answer = cli("run", "synthetic_only", *quick, f"--{option}.source=wflw")
        assert answer.code == 2 and f"{option}.source 'wflw' is unknown; known: " in answer.err and known in answer.err
        assert answer.err.count("\n") == 1
    answer = cli("run", "synthetic_only", *quick, "--synthetic.source=300w")
    assert answer.code == 2 and "synthetic.source '300w' is unknown" in answer.err, "a real source renders nothing"


def test_the_register_loads_nothing_heavy() -> None:
    program = "import sys; from domaingap.sources import names; names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "domaingap.data.readers.generated" in loaded
    assert not {"torch", "cv2", "numba", "scipy", "timm"} & set(loaded)


TOY = """
from dataclasses import replace
from domaingap.data.readers.face_synthetics import FaceSyntheticsReader as Other

class ToyReader(Other):
    source = replace(Other.source, name="toy", folder="toys", title="Toy faces")
"""


def test_one_module_adds_a_data_set(cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "toy.py").write_text(TOY)
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path / "modules")])
    sources.face_sources.cache_clear()
    try:
        write_300w(tmp_path / "data" / "300w")
        write_face_synthetics(tmp_path / "data" / "toys", n=9)
        assert [about.name for about in sources_in(tmp_path / "data")] == ["300w", "toy"]
        data = f"--data_root={tmp_path / 'data'}"
        answer = cli("run", "synthetic_only", *quick, data, "--synthetic.source=toy")
        assert answer.code == 0, answer.err
        (path,) = (tmp_path / "runs").glob("synthetic_only-toy-*/result.json")
        assert json.loads(path.read_text())["data"]["synthetic"]["parts"]["all"]["n_faces"] == 9
        (tmp_path / "modules" / "toy2.py").write_text(TOY)
        sources.face_sources.cache_clear()
        with pytest.raises(ValueError, match="same name"):
            names()
    finally:
        monkeypatch.undo()
        sources.face_sources.cache_clear()


def test_synthface_end_to_end(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    answer = cli("run", "synthetic_only", *quick, "--synthetic.source=synthface", "--synthetic.val_split=0.2")
    assert answer.code == 0, answer.err
    (path,) = (tmp_path / "runs").glob("synthetic_only-synthface-*/result.json")
    result = json.loads(path.read_text())
    assert (result["n_synthetic"], result["n_synthetic_selection"]) == (8, 2)
    split = json.loads((path.parent / "split.json").read_text())["synthetic"]
    identities = [{name[:7] for name in split[half]["names"]} for half in ("train", "val")]
    assert len(identities[1]) == 1 and not identities[0] & identities[1], "the frames of a person stay on one side"


def test_prepare_names_what_a_release_lacks(cli: Cli, tmp_path: Path) -> None:
    write_300w(tmp_path / "300w")
    options = [f"--data_root={tmp_path}", f"--prepared_dir={tmp_path / 'p'}", "--size=32", "--box=landmarks", "--workers=1"]
    assert "absent" not in cli("data", "prepare", *options).out
    (tmp_path / "300w" / "ibug").rename(tmp_path / "elsewhere")
    assert "300w: a partial release; absent: ibug" in cli("data", "prepare", *options).out


def test_the_readme_lists_every_data_set_with_its_licence() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    section = text[text.index("\n## Data\n") :]
    rows = [line for line in section[: section.index("\n## ", 1)].splitlines() if line.startswith("|")]
    for about in map(source, names()):
        if about.folder is not None:
            (row,) = [row for row in rows if row.startswith(f"| {about.title} |")]
            assert str(about.licence) in row and f"`{about.folder}/" in row, row
            assert re.sub(r"^https://", "", about.homepage).rstrip("/") in row, row
            assert f"`{about.name}`" in row, row


def test_licences_say_what_is_not_verified() -> None:
    assert str(Licence("research only", True, verified=False)) == "research only, non-commercial [unverified]"
    assert str(Licence("MIT", False)) == "MIT"
    assert not source("dgfaces").licence.verified and isinstance(source("dgfaces"), Source)
