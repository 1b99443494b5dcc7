"""Generated faces through the command line: files, all recipes, the demo, and what a detector says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from domaingap.data import render
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.readers.face_synthetics import FaceSyntheticsReader
from domaingap.models.label_adapter import LabelAdapter
from domaingap.statistics import Interval
from domaingap.study.record import RunRecord
from experiments.commands import demo as demo_module
from experiments.commands import judge as judge_module
from experiments.recipes import RECIPES
from tests.conftest import Answer
from tests.experiments.test_cli import fails
from tests.study.records import run_record

Cli = Callable[..., Answer]
ROOT = Path(__file__).parents[2]


def test_files_are_face_synthetics(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    answer = cli("data", "generate", "--domain=target", "--n=4", "--seed=3", "--size=64", "--label_gap=0.5", f"--out={out}")
    assert answer.code == 0 and "4 target faces, 4 made in" in answer.out and "faces/s" in answer.out
    reader, generator = FaceSyntheticsReader(out), FaceGenerator("target", 3, Dials(0.5, 1.0, 1.0))
    records = reader.records("all")
    assert [record.name for record in records] == ["000000", "000001", "000002", "000003"]
    for i, record in enumerate(records):
        face, sample = generator.photograph(i, 64), reader.read(record)
        np.testing.assert_array_equal(sample.landmarks, face.landmarks[:68])  # to the last digit
        np.testing.assert_array_equal(sample.read_image(), face.image)
        with Image.open(out / f"{record.name}_seg.png") as segmentation:
            assert segmentation.mode == "L"
            np.testing.assert_array_equal(np.asarray(segmentation), face.segmentation)
        assert len((out / f"{record.name}_ldmks.txt").read_text().splitlines()) == 70
        with np.load(out / f"{record.name}_face.npz") as arrays:
            assert set(arrays.files) == {"landmarks_s", "landmarks_r", "landmarks_r_exact", "visible", "pose", "box"}
            for name in arrays.files:
                np.testing.assert_array_equal(arrays[name], getattr(face, name), err_msg=name)
    said = json.loads((out / "generated.json").read_text())
    assert (said["domain"], said["seed"], said["size"], said["n"]) == ("target", 3, 64, 4)
    assert said["dials"] == {"label_gap": 0.5, "appearance_gap": 1.0, "population_gap": 1.0}
    assert {path.name for path in out.glob(".*")} == set()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"}


def test_files_are_the_same_after_a_kill_and_from_two_processes(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ["data", "generate", "--n=9", "--size=48"]
    assert cli(*generate, "--workers=2", f"--out={tmp_path / 'whole'}").code == 0
    original, made = render._write_one, []

    def killed(number: int) -> None:
        if len(made) == 4:
            (tmp_path / "killed" / f"{number:06d}.png").write_bytes(b"half of it")
            raise KeyboardInterrupt
        made.append(number)
        original(number)

    out = f"--out={tmp_path / 'killed'}"
    monkeypatch.setattr(render, "_write_one", killed)
    answer = cli(*generate, out)
    assert answer.code == 130 and "again to go on" in answer.err
    assert not (tmp_path / "killed" / "generated.json").exists()
    monkeypatch.setattr(render, "_write_one", lambda number: (made.append(number), original(number))[1])
    answer = cli(*generate, out)
    assert answer.code == 0 and "9 synthetic faces, 5 made" in answer.out and "4 there already" in answer.out
    assert made == list(range(9)), "every face is made once"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert "all 9 there already" in cli(*generate, out).out and len(made) == 9
    # More of the same are added, with the smaller set as their beginning.
    assert "10 synthetic faces, 1 made" in cli("data", "generate", "--n=10", "--size=48", out).out
    differing = contents(tmp_path / "whole").items() - contents(tmp_path / "killed").items()
    assert {name for name, _ in differing} == {"generated.json", "croissant.json"}, "they say how many faces there are"


def test_a_folder_with_something_else_is_refused(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    generate = ["data", "generate", "--size=32", f"--out={out}"]
    assert cli(*generate, "--n=2").code == 0
    before = contents(out)
    fails(cli(*generate, "--n=2", "--seed=1"), str(out), "faces of seed 0", "another --out")
    fails(cli(*generate, "--n=2", "--domain=target"), "faces of domain synthetic")
    fails(cli("data", "generate", "--n=2", "--size=64", f"--out={out}"), "faces of size 32")
    fails(cli(*generate, "--n=1"), "holds 2 such faces, more than 1")
    assert contents(out) == before
    (out / "holiday.jpg").write_bytes(b"")
    fails(cli(*generate, "--n=3"), "holds holiday.jpg", "empty folder")
    (out / "holiday.jpg").unlink()
    (out / "generated.json").unlink()
    fails(cli(*generate, "--n=3"), "without a generated.json")
    (out / "generated.json").write_text("{")
    fails(cli(*generate, "--n=3"), "damaged")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["nothing to write", "--out", "--preview"]),
        (["--label_gap=0.5", "--preview=f.png"], ["--label_gap belongs to --domain target"]),
        (["--domain=target", "--population_gap=1.5", "--preview=f.png"], ["--population_gap is 1.5", "between 0 and 1"]),
        (["--domain=target", "--appearance_gap=-1", "--preview=f.png"], ["--appearance_gap is -1", "between 0 and 1"]),
        (["--domain=real", "--preview=f.png"], ["real"]),
        (["--n=0", "--preview=f.png"], ["--n is 0"]),
        (["--n=601", "--preview=f.png"], ["600", "--out"]),
        (["--size=8", "--preview=f.png"], ["--size is 8"]),
        (["--seed=-1", "--preview=f.png"], ["--seed is -1"]),
        (["--workers=0", "--preview=f.png"], ["--workers is 0"]),
        (["--n=1", "--size=32", "--preview=no/such/folder/f.png"], ["no/such/folder/f.png", "can't be written"]),
    ],
)
def test_bad_input_of_generate(cli: Cli, arguments: list[str], fragments: list[str]) -> None:
    fails(cli("data", "generate", *arguments), *fragments)


def test_sheet(cli: Cli, tmp_path: Path) -> None:
    sheets = {}
    for name, options in {"labels": [], "plain": ["--plain"]}.items():
        path = tmp_path / f"{name}.png"
        answer = cli("data", "generate", "--n=7", "--domain=target", "--size=64", f"--preview={path}", *options)
        assert answer.code == 0 and "7 target faces" in answer.out
        with Image.open(path) as image:
            sheets[name] = np.asarray(image)
    assert sheets["plain"].shape == (2 * 192, 6 * 192, 3)
    assert not np.array_equal(sheets["labels"], sheets["plain"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Runs and prepared faces, shared by the recipes, as in a sweep."""
    root = tmp_path_factory.mktemp("generated")
    return [f"--runs_dir={root / 'runs'}", f"--prepared_dir={root / 'prepared'}", "--data_root=no/such/folder"]


TINY = [
    "--real.generated.n_train=30",
    "--real.generated.n_test=9",
    "--real.n_val=8",
    "--crop.size=32",
    "--model.backbone=test_resnet",
    "--fit.steps=4",
    "--fit.val_every=2",
    "--fit.batch_size=4",
    "--wandb.mode=off",
]


@pytest.mark.parametrize("selection", ["real_val", "budget"])
def test_enough_faces_tell_a_gap_that_depends_on_the_face(
    cli: Cli, folders: list[str], tmp_path: Path, selection: str
) -> None:
    """Forty faces of either domain: the adapter for labels is of kind modes, by halves of them, and serves as a file."""
    options = [*folders[1:], f"--runs_dir={tmp_path}", *TINY, "--real.generated.n_train=90", f"--selection={selection}"]
    more = ["--real.n_val=45", "--synthetic.generated.n=84", "--synthetic.val_split=0.5"]
    answer = cli("run", "data_adaptation", "--config", ROOT / "configs" / "generated.yaml", *options, *more)
    assert answer.code == 0, answer.err
    assert "modes of the difference between both domains' errors by halves of the pairs, NME" in " ".join(answer.out.split())
    (folder,) = tmp_path.glob("data_adaptation-*")
    record = json.loads((folder / "result.json").read_text())["adapter"]
    assert record["kind"] == "modes" and record["nme_by_kind"]["modes"] == record["nme"]
    (path,) = tmp_path.glob("stages/adapter-*/labels.ckpt")
    points = np.random.default_rng(0).normal(size=(2, 68, 2)) * 40
    assert LabelAdapter.load(path).adapt(points) == pytest.approx(LabelAdapter.load(path).adapt(points * 3) / 3)


def test_all_recipes_and_the_report(cli: Cli, folders: list[str]) -> None:
    runs = Path(folders[0].partition("=")[2])
    for recipe in RECIPES:
        options = [] if recipe == "real_only" else ["--synthetic.generated.n=20"]
        options += ["--adapter.kind=linear"] if recipe == "label_adaptation" else []
        answer = cli("run", recipe, "--config", ROOT / "configs" / "generated.yaml", *folders, *TINY, *options)
        assert answer.code == 0, answer.err
        assert "partial" not in answer.out + answer.err and "complete" not in answer.err
        (folder,) = runs.glob(f"{recipe}-*")
        result = json.loads((folder / "result.json").read_text())
        assert np.isfinite(result["metrics"]["test/generated/nme"])
        counted = result["counts"]["test/generated"]
        assert len(counted.pop("fingerprint")) == len(counted.pop("pictures")) == 16
        assert counted == {
            "images": 9, "photographs": 9, "fallback_boxes": 0, "partial": False, "parts": {"test": 9}, "published": None,
            "boxes": "simulated mtcnn",
        }  # fmt: skip
        assert result["counts"]["val"]["images"] == 8 and not result["data"]["real"]["absent_parts"]
        assert result["n_synthetic"] == (0 if recipe == "real_only" else 18)
        assert result["data"]["real"]["source"] == "generated_target" and "simulated" in result["box_rule"]
    answer = cli("report", runs)
    assert answer.code == 0 and "NME % on generated" in answer.out and "Generated NME %" in answer.out
    for recipe in RECIPES:
        assert recipe in answer.out
    fails(cli("report", runs, "--on=full"), "there are val, generated")
    (mixing,) = runs.glob("mixing-*")
    assert "generated, 9 images" in cli("evaluate", mixing, "--from_predictions").out
    answer = cli("evaluate", mixing, "--on=val,source_val,generated")
    assert answer.code == 0, answer.err
    kept = json.loads((mixing / "result.json").read_text())["metrics"]
    again = json.loads((mixing / "evaluation" / "val-source_val-generated.json").read_text())
    assert again["generated"]["metrics"]["nme"] == pytest.approx(kept["test/generated/nme"])
    assert again["source_val"]["metrics"]["nme"] == pytest.approx(kept["source_val/nme"])


@pytest.mark.parametrize(("labels", "looked_at"), [("rendered", 0), ("people", 300)])
def test_labels_read_off_photographs_count_these(
    cli: Cli, quick: list[str], tmp_path: Path, labels: str, looked_at: int
) -> None:
    options = ["--synthetic.source=generated", "--synthetic.generated.n=8", f"--synthetic.generated.labels={labels}"]
    answer = cli("run", "synthetic_only", *quick, *options, "--selection=source_val")
    assert answer.code == 0, answer.err
    (found,) = (tmp_path / "runs").glob("*/result.json")
    record = json.loads(found.read_text())
    assert (record["n_real_train"], record["n_real_selection"]) == (0, looked_at)
    assert f"trained on 0{' + 300' if looked_at else ''} real" in answer.out


def test_generated_renderings_beside_real_photographs(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    options = ["--synthetic.source=generated", "--synthetic.generated.n=20"]
    answer = cli("run", "synthetic_only", *quick, *options)
    assert answer.code == 0, answer.err
    (path,) = (tmp_path / "runs").glob("synthetic_only-generated-*/result.json")
    result = json.loads(path.read_text())
    assert result["n_synthetic"] == 18 and "test/common/nme" in result["metrics"]
    assert result["data"]["synthetic"]["source"] == "generated" and result["data"]["real"]["source"] == "300w"
    assert result["config"]["synthetic"]["generated"].items() >= {"n": 20, "seed": 1}.items()


def test_a_file_for_both_domains_is_still_checked(cli: Cli, tmp_path: Path) -> None:
    """real_only passes over the section of synthetic faces, and nothing else."""
    config = tmp_path / "wrong.yaml"
    config.write_text("synthetic:\n  source: generated\nfit:\n  stepz: 3\n")
    fails(cli("run", "real_only", "--config", config), f"{config}:4", "stepz")
    config.write_text("synthetic:\n  source: generated\n")
    fails(cli("run", "real_only", f"--config={config}", "--synthetic.source=generated"), "synthetic")


def test_prepare_takes_the_sources_of_a_configuration(cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "synthetic:\n  source: generated\n  generated: {n: 3}\n"
        "real:\n  source: generated_target\n  generated: {n_train: 5, n_test: 4}\ncrop: {size: 32}\n"
    )
    prepare = ["data", "prepare", "--data_root=no/such/folder", f"--prepared_dir={tmp_path / 'prepared'}"]
    answer = cli(*prepare, "--config", config)
    assert answer.code == 0, answer.err
    parts = sorted(str(path.parents[1].relative_to(tmp_path / "prepared")) for path in tmp_path.rglob("manifest.json"))
    assert parts == ["generated/all", "generated_target/test", "generated_target/train"]
    config.write_text("synthetic:\n  source: generated\n  generated: {number: 3}\n")
    fails(cli(*prepare, "--config", config), "number")
    fails(cli(*prepare, "--source=generatd"), "generated_target")


def test_demo(cli: Cli, tmp_path: Path) -> None:
    demo = ["demo", "--quick", f"--runs_dir={tmp_path / 'demo'}", f"--prepared_dir={tmp_path / 'prepared'}"]
    answer = cli(*demo)
    assert answer.code == 0, answer.err
    assert "NME % on generated" in answer.out and "Differences in pairs" in answer.out
    for recipe in RECIPES:
        assert recipe in answer.out
    last = answer.out.rstrip().splitlines()[-3:]
    assert last[0].startswith("The gap: on 12 target faces") and "README" in last[2] and demo_module.NEXT in last[2]
    with Image.open(tmp_path / "demo" / "faces.png") as image:
        assert image.size == (6 * 256, demo_module.ROWS * 256)
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "on 12 faces of the generated target domain" in page and "the page of 7 runs" in answer.err
    again = cli(*demo)
    assert again.code == 0 and again.err.count("finished before)") == 7
    assert again.out.rstrip().splitlines()[-3:] == last
    assert (ROOT / demo_module.NEXT.split()[2]).is_file(), "what it says to type next is there"


@pytest.mark.parametrize(
    ("gap", "against_synthetic", "against_real", "expected"),
    [
        (
            (2.0, 1.5, 2.5),
            {"mixing": (-1.5, -2.0, -1.0), "fine_tuning": (-1.0, -1.5, -0.5), "data_adaptation": (0.5, 0.2, 0.8)},
            (0.5, 0.2, 0.8),
            (
                "a gap of 2.00 points (95% interval 1.50 to 2.50).",
                "What closed it: mixing (6.50%, 75% of the gap), the best on validation faces, falls short of training on "
                "the target faces alone by 0.50 points; fine_tuning (7.00%, 50% of the gap) helped as well; "
                "label_adaptation (8.00%) made no measurable difference; data_adaptation (8.50%) made it worse.",
            ),
        ),
        (
            (2.0, 1.5, 2.5),
            {"mixing": (-2.5, -3.0, -2.0)},
            (-0.5, -0.8, -0.2),
            ("a gap of 2.00", "mixing (5.50%, 125% of the gap), the best on validation faces, beats even training on"),
        ),
        (
            (2.0, 1.5, 2.5),
            {},
            (0.5, 0.2, 0.8),
            ("a gap of 2.00", "What closed it: none of the four ways of using both domains did measurably better"),
        ),
        (
            (0.1, -0.2, 0.4),
            {"mixing": (-0.5, -0.8, -0.2)},
            (0.1, -0.2, 0.4),
            (
                "a difference of 0.10 points (95% interval -0.20 to 0.40), too small",
                "What helped: mixing (7.50%), the best on validation faces, equals training on the target faces alone, as ",
            ),
        ),
        (
            (-0.5, -0.8, -0.2),
            {},
            (0.1, -0.2, 0.4),
            ("the better ones, by 0.50 points (95% interval 0.20 to 0.80).", "None of the four ways"),
        ),
    ],
)
def test_sentences_say_what_the_figures_say(
    monkeypatch: pytest.MonkeyPatch,
    gap: tuple[float, float, float],
    against_synthetic: dict[str, tuple[float, float, float]],
    against_real: tuple[float, float, float],
    expected: tuple[str, str],
) -> None:
    nothing = (0.0, -0.1, 0.1)

    def difference(one: RunRecord, other: RunRecord) -> Interval:
        if one.recipe == "synthetic_only":
            return Interval(*gap)
        return Interval(*(against_real if other.recipe == "real_only" else against_synthetic.get(one.recipe, nothing)))

    monkeypatch.setattr(demo_module, "_difference", difference)

    def run(name: str, worse: float = 0.0) -> RunRecord:
        nme = 8.0 - gap[0] + worse if name == "real_only" else 8.0 + against_synthetic.get(name, nothing)[0]
        return run_record(name, nme={"val": nme, "generated": nme})

    runs = {name: run(name) for name in RECIPES}
    said = demo_module.sentences(runs, run("real_only", 0.1), Path("runs/demo/report.html"), Path("runs/demo/faces.png"))
    assert said[0].startswith("The gap: on 11 target faces") and expected[0] in said[0]
    assert expected[1] in said[1]
    assert "runs/demo/report.html" in said[2] and "runs/demo/faces.png" in said[2] and said[2].endswith(demo_module.NEXT)


def test_fine_tuning_is_held_against_as_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"synthetic_only": 9.0, "real_only": 7.0, "fine_tuning": 6.5}
    runs = {name: run_record(name, nme=figures.get(name, 9.0)) for name in RECIPES}
    longer = run_record("real_only", nme=6.2, settings={"fit.steps": 5})
    asked = []

    def difference(one: RunRecord, other: RunRecord) -> Interval:
        asked.append((one.recipe, other))
        mean = (one.value("generated") or 0) - (other.value("generated") or 0)
        return Interval(mean, mean - 0.1, mean + 0.1)

    monkeypatch.setattr(demo_module, "_difference", difference)
    for runs_of in (runs.values(), [longer]):
        for record in runs_of:
            record.metrics["test/generated/nme"] = record.metrics["test/common/nme"]
            record.counts["test/generated"] = record.counts["test/common"]
    said = demo_module.sentences(runs, longer, Path("d"), Path("f.png"))
    assert [other for one, other in asked if one == "fine_tuning"] == [runs["synthetic_only"], longer]
    assert [other for one, other in asked if one == "mixing"] == [runs["synthetic_only"], runs["real_only"]]
    # 9.0 - 6.5 of 9.0 - 6.2: of the gap to the network of as many steps.
    assert "fine_tuning (6.50%, 89% of the gap)" in said[1]
    assert "falls short of training on the target faces alone for as many steps (6.20%) by 0.30 points" in said[1]


def test_judge(cli: Cli, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a detector that finds every second face, a tenth of the box's width to the right of where it is expected."""

    class Half:
        calls = 0

        def face_box(self, image: Any, landmarks: Any) -> tuple[Any, str]:
            Half.calls += 1
            box = box_from_landmarks(landmarks)
            return box + 0.1 * (box[2] - box[0]) * np.array([1, 0, 1, 0]), "mtcnn" if Half.calls % 2 else "fallback"

    monkeypatch.setattr(judge_module, "FaceDetector", Half)
    monkeypatch.setattr(judge_module, "_detector", [])
    out = tmp_path / "judge.json"
    judge = ["data", "judge", f"--data_root={data_root}", "--n=4", "--size=64", "--workers=1"]
    answer = cli(*judge, f"--out={out}")
    assert answer.code == 0, answer.err
    sets = json.loads(out.read_text())["sets"]
    assert {name: (s["found"], s["faces"]) for name, s in sets.items()} == {
        "HELEN": (11, 21), "synthetic": (2, 4), "target": (2, 4),
    }  # fmt: skip
    assert sets["target"]["points_from_helen"] == pytest.approx(100 * (2 / 4 - 11 / 21))
    for figures in sets.values():
        detected = figures["detected"]
        means = [detected[name]["mean"] for name in ("width", "height", "x", "y")]
        assert means == pytest.approx([0.95, 1.30, 0.095, -0.15])
        assert all(detected[name]["sd"] < 1e-9 for name in detected)
    assert "simulated" in sets["synthetic"] and "simulated" not in sets["HELEN"]
    assert "52.4 [" in answer.out and "-2.4 points" in answer.out and str(out) in answer.out
    (tmp_path / "empty" / "300w" / "afw").mkdir(parents=True)
    fails(cli("data", "judge", f"--data_root={tmp_path / 'empty'}"), "helen", "no such folder")
    fails(cli(*judge, "--n=0"), "--n is 0")
    fails(cli(*judge, "--geometry=ict"), "--geometry ict needs --model")
    fails(cli(*judge, "--light=somewhere"), "--light goes with --geometry")


def test_a_sheet_with_photographs_beside(cli: Cli, data_root: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    draw = ["data", "generate", "--n=7", "--size=64", "--plain"]
    answer = cli(*draw, f"--preview={sheet}", f"--beside={data_root}")
    assert answer.code == 0 and "7 synthetic faces beside as many photographs" in answer.out
    tiles = np.asarray(Image.open(sheet)).reshape(2, 192, 10, 192, 3).swapaxes(1, 2)
    # Five a row on both halves; the second row has two of each, and all are different.
    shown = [tiles[row, column] for row, columns in ((0, range(10)), (1, (0, 1, 5, 6))) for column in columns]
    assert all(tile.std() > 0 for tile in shown) and len({tile.tobytes() for tile in shown}) == 14
    assert not tiles[1, 2:5].any() and not tiles[1, 7:].any()
    alone = tmp_path / "alone.png"
    assert cli(*draw, f"--preview={alone}").code == 0
    assert Image.open(alone).size == (6 * 192, 2 * 192)
    fails(cli(*draw, f"--out={tmp_path / 'faces'}", f"--beside={data_root}"), "--beside goes with --preview")
    fails(cli(*draw, f"--preview={sheet}", f"--beside={tmp_path / 'none'}"), "none")


def test_offsets_by_hand() -> None:
    points = np.array([[10.0, 20.0], [30.0, 60.0]])
    offsets = judge_module.box_offsets(np.array([12.0, 10.0, 32.0, 70.0]), points)
    np.testing.assert_allclose(offsets, [1.0, 1.5, 0.1, 0.0])
