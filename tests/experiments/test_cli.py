"""The command line: help that is instant, and every kind of bad input in one line with exit code 2."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.__main__ import normalize
from experiments.recipes import RECIPES
from tests.conftest import Answer, write_300w

Cli = Callable[..., Answer]


def fails(answer: Answer, *fragments: str) -> None:
    """Exit code 2, one line on standard error that holds the fragments, no traceback."""
    lines = [line for line in answer.err.splitlines() if line.startswith("domaingap:")]
    assert answer.code == 2, answer
    assert len(lines) == 1 and answer.err.rstrip().endswith(lines[0]), answer.err
    for fragment in fragments:
        assert fragment in lines[0], answer.err
    assert "Traceback" not in answer.err + answer.out


@pytest.mark.parametrize(
    "command",
    ["", "demo", "run", "data", "data generate", "data judge", "data prepare", "data preview", "evaluate", "report", "sweep"]
    + ["laboratory", "bench", "dashboard", "export", "predict"],
)
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    answer = cli(*command.split(), "--help")
    assert answer.code == 0 and "example" in answer.out and "domaingap " in answer.out


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_help_shows_every_setting_with_its_default(cli: Cli, recipe: str) -> None:
    answer = cli("run", recipe, "--help")
    assert answer.code == 0 and "example: domaingap run" in answer.out
    for setting in (
        "--data_root",
        "--seed",
        "--real.parts",
        "--crop.size",
        "--augment.strength",
        "--model.backbone",
        "--fit.lr",
        "--wandb.mode",
    ):
        assert setting in answer.out
    text = " ".join(answer.out.split())
    assert "default: resnet18" in text and "default: 0.002" in text and "default: 300" in text


def test_help_imports_nothing_heavy() -> None:
    """Seconds are the machine's; what they depend on is that torch and its like aren't imported."""
    for arguments in (
        ["--help"],
        ["run", "--help"],
        ["run", "real_only", "--help"],
        ["report", "--help"],
        ["demo", "--help"],
        ["dashboard", "--help"],
        ["predict", "--help"],
        ["predict", "photo.jpg"],
    ):
        code = f"""
import sys
from experiments.__main__ import main
try:
    main({arguments!r})
except SystemExit:
    pass
heavy = {{"torch", "timm", "pytorch_lightning", "albumentations", "wandb", "cv2", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
        )
        assert done.returncode == 0, done.stderr


def test_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "report", "no/such/folder"],
        capture_output=True,
        check=False,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert (
        done.returncode == 2
        and done.stderr == "domaingap: no/such/folder: no such folder; give the --runs_dir of your runs\n"
    )


def test_hyphens_and_underscores() -> None:
    assert normalize(["run", "--n-real=3", "--real.n-val", "my-file", "--data-root=a-b"]) == [
        "run", "--n_real=3", "--real.n_val", "my-file", "--data_root=a-b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["frobnicate"], ["frobnicate"]),
        (["run"], ["which recipe", "real_only"]),
        (["run", "real_only", "--config"], ["--config needs a file"]),
        (["run", "real_only", "--config", "--seed=3"], ["--config needs a file"]),
        (["run", "real_onyl"], ["unknown recipe 'real_onyl'", "real_only"]),
        (["run", "real_only", "--fit.stepz", "3"], ["fit.stepz"]),
        (["run", "real_only", "--alpha", "0.5"], ["alpha"]),
        (["run", "real_only", "--fit.steps", "many"], ["fit.steps", "many"]),
        (["run", "real_only", "--n_real", "ten"], ["n_real", "ten"]),
        (["run", "real_only", "--selection", "test"], ["selection", "test"]),
        (["run", "real_only", "--crop.channels", "cmyk"], ["crop.channels", "cmyk"]),
        (["run", "real_only", "--config", "no/such.yaml"], ["no/such.yaml"]),
        (["run", "real_only", "--seed=4", "--config", "configs/300w.yaml"], ["--seed", "before --config"]),
        (["evaluate"], ["RUN"]),
        (["evaluate", "no/such/run"], ["no/such/run", "no such run"]),
        (["report", "--format", "pdf"], ["pdf"]),
        (["data", "prepare", "--source", "wflw", "--data_root", "."], ["wflw", "300w"]),
        (["bench", "--seconds", "0"], ["--seconds"]),
    ],
)
def test_wrong_arguments(cli: Cli, arguments: list[str], fragments: list[str]) -> None:
    fails(cli(*arguments), *fragments)


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("fit:\n  stepz: 3\n", ["mine.yaml:2: ", "stepz"]),
        ("fit:\n  lr: 0.1\n  steps: soon\n", ["mine.yaml:3: ", "steps", "soon"]),
        ("seed: 1\ncolour: red\n", ["mine.yaml:2: ", "colour"]),
        ("seed: 1\nfit: [1, 2\n", ["mine.yaml:3: ", "not YAML"]),
        ("model:\n  backbone: [1]\n", ["mine.yaml:2: ", "backbone"]),
    ],
)
def test_wrong_configuration_names_file_and_key(cli: Cli, tmp_path: Path, text: str, fragments: list[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    fails(cli("run", "real_only", "--config", path), "mine.yaml", *fragments)


def test_configurations_layer_and_the_command_line_wins(cli: Cli, tmp_path: Path) -> None:
    for name, text in (("a", "seed: 1\nfit:\n  steps: 5\n  lr: 0.5\n"), ("b", "fit:\n  steps: 6\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    answer = cli(
        "run", "real_only", "--config", tmp_path / "a.yaml", "--config", tmp_path / "b.yaml", "--seed", "9", "--print_config"
    )
    assert answer.code == 0
    assert "seed: 9" in answer.out and "steps: 6" in answer.out and "lr: 0.5" in answer.out


def test_bad_data_folders(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for command in (
        ["run", "real_only", *quick],
        ["run", "synthetic_only", *quick],
        ["data", "prepare", f"--prepared_dir={tmp_path}"],
    ):
        fails(cli(*command, f"--data_root={tmp_path / 'absent'}"), "absent", "no such folder", "--data_root")
        fails(cli(*command, f"--data_root={empty}"), "empty")
    (empty / "300w").mkdir()
    fails(cli("run", "real_only", *quick, f"--data_root={empty}"), "300w", "holds none of")
    (empty / "300w" / "afw").mkdir()
    fails(cli("run", "real_only", *quick, f"--data_root={empty}"), "afw", "no annotated face")


@pytest.mark.parametrize(
    ("edit", "fragments"),
    [
        (lambda lines: lines[:69] + lines[70:], ["100_1.pts:70", "67 points"]),
        (lambda lines: [*lines[:9], "nan 4.0", *lines[10:]], ["100_1.pts:10", "not finite"]),
        (lambda lines: ["version: 1", "points: 68", *lines[2:]], ["100_1.pts:2", "points: 68"]),
    ],
)
def test_malformed_points(
    cli: Cli, quick: list[str], tmp_path: Path, edit: Callable[[list[str]], list[str]], fragments: list[str]
) -> None:
    write_300w(tmp_path / "data" / "300w")
    path = tmp_path / "data" / "300w" / "afw" / "100_1.pts"
    path.write_text("\n".join(edit(path.read_text().splitlines())))
    fails(
        cli("run", "real_only", *quick, f"--data_root={tmp_path / 'data'}", f"--prepared_dir={tmp_path / 'p'}"), *fragments
    )


def test_truncated_image(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    write_300w(tmp_path / "data" / "300w")
    path = tmp_path / "data" / "300w" / "afw" / "100_1.jpg"
    path.write_bytes(path.read_bytes()[:700])
    options = [f"--data_root={tmp_path / 'data'}", f"--prepared_dir={tmp_path / 'p'}"]
    fails(cli("run", "real_only", *quick, *options), "100_1.jpg", "can't be decoded")
    answer = cli("data", "prepare", *options, "--box=landmarks", "--size=32", "--workers=1")
    fails(answer, "100_1.jpg")
    assert "helen/testset" in answer.out, "the other parts are prepared and shown"


def test_no_arguments_at_all(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no data/
    fails(cli("run", "real_only"), "data/300w", "no such folder", "--data_root")


def test_asking_for_too_much(cli: Cli, quick: list[str]) -> None:
    fails(cli("run", "real_only", *quick, "--n_real=1000"), "--n_real is 1000", "28 training faces")
    fails(cli("run", "synthetic_only", *quick, "--n_synthetic=1000"), "--n_synthetic is 1000", "24")
    fails(cli("run", "real_only", *quick, "--real.n_val=300"), "34 training faces", "--real.n_val")
    fails(cli("run", "real_only", *quick, "--augment.strength=5"), "augment.strength")
    fails(cli("run", "real_only", *quick, "--model.backbone=resnet19"), "resnet19")
    fails(cli("run", "real_only", *quick, "--fit.lr=-1"), "lr")
    fails(cli("run", "mixing", *quick, "--alpha=1.5"), "--alpha is 1.5", "between 0 and 1")
    fails(cli("run", "label_adaptation", *quick, "--adapter.epochs=5"), "adapter.epochs is 5")
    fails(cli("run", "mixing", *quick, "--adapter.min_spread=2"), "adapter.min_spread")
    fails(cli("run", "mixing", *quick, "--adapter.kind=cubic"), "adapter.kind")


def test_pretrained_weights_without_network(
    cli: Cli, quick: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    fails(
        cli("run", "real_only", *quick, "--model.backbone=resnet18", "--model.pretrained=true"),
        "pretrained weights of resnet18 can't be fetched",
        "--model.pretrained false",
    )


def test_unwritable_folders(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fails(cli("run", "real_only", *quick, f"--runs_dir={tmp_path / 'file'}"), "file", "--runs_dir")
    fails(
        cli(
            "data",
            "preview",
            *[o for o in quick if o.startswith(("--data_root", "--prepared"))],
            "--source=300w",
            "--size=32",
            "--box=landmarks",
            f"--out={tmp_path / 'no' / 'a.png'}",
        ),
        "a.png",
    )


def test_prepare_and_preview(cli: Cli, data_root: Path, tmp_path: Path) -> None:
    options = [f"--data_root={data_root}", f"--prepared_dir={tmp_path / 'p'}", "--size=32", "--box=landmarks"]
    answer = cli("data", "prepare", *options, "--workers=1")
    assert answer.code == 0, answer.err
    for text in ("helen/trainset", "2000", "partial", "1 mirrored copy", "face_synthetics", "dgfaces"):
        assert text in answer.out
    assert "absent" not in answer.out
    out = tmp_path / "sheet.png"
    assert cli("data", "preview", *options, "--source=face_synthetics", f"--out={out}").code == 0
    picture = np.asarray(Image.open(out))
    assert picture.shape == (5 * 192, 9 * 192, 3)
    # Landmarks are drawn in green, in every tile.
    green = (picture[..., 1].astype(int) - picture[..., 0] > 60).reshape(5, 192, 9, 192).sum(axis=(1, 3))
    assert (green > 50).all()


def test_interrupted_is_said_and_resumable(
    cli: Cli, quick: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from domaingap import stages

    original = stages.fit_stage

    def interrupted(*args: object, **kwargs: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "fit_stage", interrupted)
    answer = cli("run", "real_only", *quick)
    assert answer.code == 130 and "give the same command again to go on" in answer.err
    monkeypatch.setattr(stages, "fit_stage", original)
    assert cli("run", "real_only", *quick).code == 0


@pytest.mark.slow
def test_a_real_kill_of_a_real_process(quick: list[str], tmp_path: Path) -> None:
    """SIGKILL in the middle of training; the same command then ends with the digits of an uninterrupted run."""

    def command(runs: str) -> list[str]:
        options = [*quick, "--fit.steps=60", "--fit.val_every=4", f"--runs_dir={tmp_path / runs}"]
        return [sys.executable, "-m", "experiments", "run", "real_only", *options]

    root = Path(__file__).parents[2]
    process = subprocess.Popen(command("killed"), cwd=root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not list(tmp_path.glob("killed/stages/*/.training-*/resume.ckpt")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("killed/*/result.json")), "killed too late to test anything"
    metrics = []
    for runs in ("killed", "whole"):
        done = subprocess.run(command(runs), cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("going on from its last checkpoint" in done.stderr) == (runs == "killed")
        (path,) = tmp_path.glob(f"{runs}/*/result.json")
        metrics.append(json.loads(path.read_text())["metrics"])
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_bench(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.commands.bench.TRAINING_CASES", (("test_resnet", 64), ("test_resnet", 32)))
    out = tmp_path / "bench.json"
    answer = cli("bench", "--seconds=0.01", "--cases=training", f"--out={out}")
    assert answer.code == 0, answer.err
    cases = json.loads(out.read_text())["cases"]
    assert len(cases) == 7 and all(case["ratio"] > 0 for case in cases)
    assert cases[4]["ratio"] > 1, "reading prepared crops is faster than decoding"


@pytest.mark.slow
def test_bench_of_photo_like_faces(cli: Cli, sample_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.commands.bench.TRAINING_CASES", ())
    out = tmp_path / "bench.json"
    answer = cli("bench", "--seconds=0.01", "--cases=training", f"--heads={sample_data}", f"--out={out}")
    assert answer.code == 0, answer.err
    rates = {case["case"].split(",")[1].strip(): case["images_per_s"] for case in json.loads(out.read_text())["cases"][1:]}
    assert list(rates) == ["synthetic", "target", "ict", "avatars"] and min(rates.values()) > 0
