"""Settings, YAML files, paths and names as people give them: one line for what can't be, and nothing made before it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domaingap.config import (
    AdapterConfig,
    AugmentConfig,
    CropConfig,
    FineTuneConfig,
    FitConfig,
    GeneratedConfig,
    LabelsAdapterConfig,
    ModelConfig,
    RealConfig,
    RunSettings,
    SyntheticConfig,
    TargetConfig,
    WandbConfig,
    determining,
)
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.errors import UserError
from domaingap.study.arguments import parse_settings
from experiments.recipes import RECIPES
from tests.conftest import Answer
from tests.experiments.test_cli import fails

Cli = Callable[..., Answer]
GENERATED = ["--real.source=generated_target", "--real.generated.n_train=30", "--real.generated.n_test=5", "--real.n_val=6"]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which a refused command has to leave nothing."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def option(name: str, *values: object, says: str | None = None) -> list[Any]:
    """Cases of ``--name=value``: the line names the option with the value, and says what it takes."""
    return [pytest.param(f"--{name}={v}", [f"--{name} is {v}", *([says] if says else [])], id=f"{name}={v}") for v in values]


WRONG_SETTINGS = [
    *option("seed", -1, 2**32, says="between 0 and 4294967295"),
    *option("seed", "1.5", "x", "true", "12:30", "1e3", says="whole number"),
    *option("crop.size", 0, -64, 15, 1025, 10**9, says="between 16 and 1024"),
    *option("crop.size", "nan", "64.5", says="whole number between 16 and 1024"),
    *option("crop.scale", 0, -1, 100, "1e-9", says="between 0.5 and 5"),
    *option("crop.scale", "nan", "inf", "wide", says="a number between 0.5 and 5"),
    *option("crop.channels", "cmyk", says="known: gray, rgb"),
    *option("crop.box", "none", says="known: mtcnn, landmarks"),
    *option("augment.strength", -0.1, 3, says="between 0 and 2"),
    *option("augment.mirror", "perhaps", says="true or false"),
    *option("fit.steps", 0, -5, 10**12, says="between 1 and 10000000"),
    *option("fit.epochs", 0, -1),
    *option("fit.batch_size", 0, -32, 10**6, says="between 1 and 65536"),
    *option("fit.lr", 0, -1, says="above 0"),
    *option("fit.lr", "nan", "inf", "fast", says="a number above 0"),
    *option("fit.weight_decay", -0.1),
    *option("fit.ema", 1, -0.5, 1.5, says="at least 0 and below 1; 0 is off"),
    *option("fit.val_every", 0),
    *option("fit.num_workers", -1, 10**6, says="between 0 and 256"),
    *option("fit.num_workers", "many", says="a whole number or auto"),
    *option("real.n_val", 0, -1),
    ("--real.source=wflw", ["--real.source 'wflw' is unknown", "300w"]),
    *option("real.generated.n_train", 0, 10**9),
    *option("real.generated.label_gap", -0.1, 1.1, says="between 0 and 1"),
    *option("real.generated.appearance_gap", "nan", says="a number between 0 and 1"),
    *option("real.generated.seed", -1),
    *option("synthetic.val_split", 0, 1, -0.5, says="above 0 and below 1"),
    *option("synthetic.val_split", "nan"),
    *option("synthetic.generated.n", 0),
    *option("synthetic.generated.seed", -3),
    *option("n_real", 0, -1, says="leave it out for all"),
    *option("n_synthetic", 1, 0, says="one is held out"),
    *option("alpha", -0.1, 1.5, says="between 0 and 1"),
    *option("alpha", "nan", says="a number between 0 and 1"),
    *option("adapter.epochs", 5),
    *option("adapter.folds", 1),
    *option("adapter.hidden", 0),
    *option("adapter.min_spread", 1.2),
    *option("adapter.kind", "cubic", says="known: auto"),
    *option("adapter.labels", "clean", says="difference"),
    *option("wandb.mode", "sometimes", says="known: auto, online, offline, off"),
    *option("wandb.project", "a/b", "a#b", "a?b", "a%b", "a:b", "a\\b", says="W&B takes none of / \\ # ? % :"),
    *option("wandb.entity", "a/b"),
    ("--wandb.project=" + "p" * 129, ["--wandb.project has 129 characters", "1 to 128"]),
    ("--wandb.project=", ["--wandb.project has 0 characters"]),
    ("--wandb.group=" + "g" * 129, ["--wandb.group has 129 characters"]),
    ("--wandb.tags=a," + "t" * 65, ["--wandb.tags has a tag of 65 characters", "1 to 64"]),
    ("--real.parts=afw,hellen", ["--real.parts is hellen", "known: afw, helen"]),
    ("--real.parts=", ["--real.parts is empty"]),
    ("--n_real=", ["--n_real is empty"]),
    ("--real.source=", ["--real.source"]),
    ("--model.backbone=", ["--model.backbone is empty"]),
    ("--crop.size=", ["--crop.size is empty"]),
    ("--runs_dir=", ["--runs_dir is an empty path"]),
    ("--runs_dir=" + "r" * 256, ["--runs_dir", "256 bytes", "255"]),
    ("--data_root=$NO_SUCH_VARIABLE/x", ["--data_root is $NO_SUCH_VARIABLE/x", "NO_SUCH_VARIABLE is not set"]),
    ("--prepared_dir=${NO_SUCH_VARIABLE}", ["--prepared_dir is ${NO_SUCH_VARIABLE}", "not set"]),
    ("--data_root=~no_such_user/x", ["--data_root is ~no_such_user/x", "no_such_user"]),
    ("--fit=3", ["3: no such file", "--fit.NAME"]),
    ("--fit.stepz=3", ["--fit.stepz", "close: --fit.steps"]),
    ("--steps=3", ["--steps", "close: --fit.steps"]),
    ("--real={n_vol: 3}", ["--real:1: real.n_vol", "close: real.n_val"]),
    ("--fit.steps", ["--fit.steps needs a value"]),
    ("more", ["more: unexpected"]),
    ("--model.init_from=", ["--model.init_from is an empty path"]),
]


@pytest.mark.parametrize(("argument", "fragments"), WRONG_SETTINGS)
def test_a_wrong_setting_is_named_and_nothing_made(cli: Cli, empty: Path, argument: str, fragments: list[str]) -> None:
    recipe = "fine_tuning" if argument.startswith("--finetune") else "mixing"
    fails(cli("run", recipe, argument), *fragments)
    assert not list(empty.iterdir())


@pytest.mark.parametrize(
    ("command", "fragments"),
    [
        (["data", "generate", "--preview=f.png", "--n=0"], ["--n is 0", "between 1 and"]),
        (["data", "generate", "--preview=f.png", "--size=10000"], ["--size is 10000", "between 32 and 1024"]),
        (["data", "generate", "--preview=f.png", "--seed=-1"], ["--seed is -1"]),
        (["data", "generate", "--preview=f.png", "--seed=4294967296"], ["--seed is 4294967296"]),
        (["data", "generate", "--preview=f.png", "--workers=0"], ["--workers is 0"]),
        (["data", "generate", "--domain=target", "--preview=f.png", "--label_gap=nan"], ["--label_gap is nan"]),
        (["data", "generate", "--domain=target", "--preview=f.png", "--label_gap=2"], ["--label_gap is 2"]),
        (["data", "generate", "--preview=no/f.png"], ["no/f.png", "no folder no"]),
        (["data", "generate", "--out=file/x"], ["file: not a folder", "--out"]),
        (["data", "generate", "--out"], ["--out", "expected one argument", "--out=-"]),
        (["data", "prepare", "--size=0"], ["--size is 0", "between 16 and 1024"]),
        (["data", "prepare", "--size=big"], ["--size is big", "whole number"]),
        (["data", "prepare", "--workers=-1"], ["--workers is -1"]),
        (["data", "prepare", "--workers=0"], ["--workers is 0"]),
        (["data", "prepare", "--source=wflw"], ["wflw", "300w"]),
        (["data", "prepare", "--data_root=file"], ["file"]),
        (["data", "prepare", "--prepared_dir=file"], ["file: not a folder", "--prepared_dir"]),
        (["data", "prepare", "--data_root=$NO_SUCH_VARIABLE"], ["NO_SUCH_VARIABLE is not set"]),
        (["data", "prepare", "--config=none.yaml"], ["none.yaml: no such file"]),
        (["data", "prepare", "--config=."], [".: a folder"]),
        (["data", "preview", "--strength=3"], ["--strength is 3"]),
        (["data", "preview", "--seed=-1"], ["--seed is -1"]),
        (["data", "preview", "--out=no/a.png"], ["no/a.png", "no folder no"]),
        (["data", "judge", "--n=0"], ["--n is 0"]),
        (["data", "judge", "--seed=-1"], ["--seed is -1"]),
        (["data", "judge", "--out=no/a.json"], ["no/a.json", "no folder no"]),
        (["data", "judge", "--size=31"], ["--size is 31"]),
        (["data", "judge", "--workers=0"], ["--workers is 0"]),
        (["bench", "--seconds=0"], ["--seconds is 0", "above 0"]),
        (["bench", "--seconds=nan"], ["--seconds is nan"]),
        (["bench", "--threads=0"], ["--threads is 0"]),
        (["bench", "--cases=video", "--heads=file"], ["--heads", "--cases video"]),
        (["bench", "--cases=training", "--heads=no"], ["no/ict_facekit"]),
        (["bench", "--out=no/a.json"], ["no/a.json", "no folder no"]),
        (["bench", "--data_root=file"], ["file"]),
        (["demo", "--seed=-1"], ["--seed is -1"]),
        (["demo", "--runs_dir=file"], ["file: not a folder", "--runs_dir"]),
        (["report", "file"], ["file: not a folder"]),
        (["report", "~no_such_user/x"], ["no user 'no_such_user'"]),
        (["evaluate", "file"], ["file: a file, no run"]),
        (["laboratory", "none.yaml"], ["none.yaml: no such file"]),
        (["sweep", "."], [".: a folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].islower() else "",
)
def test_wrong_options_of_other_commands(cli: Cli, empty: Path, command: list[str], fragments: list[str]) -> None:
    (empty / "file").write_text("")
    fails(cli(*command), *fragments)
    assert [path.name for path in empty.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--model.backbone=resnet19"], ["--model.backbone is resnet19", "close: resnet18"]),
        (["--model.backbone=vit_tiny"], ["--model.backbone is vit_tiny", "close: vit_tiny_patch16_224"]),
        (["--model.backbone=resnet18.nope"], ["--model.backbone is resnet18.nope", "a1_in1k"]),
        (["--model.backbone=test_vit", "--crop.size=60"], ["--crop.size is 60", "test_vit can't take", "48, 64"]),
        (["--model.backbone=csatv2", "--crop.size=64"], ["--crop.channels is gray", "rgb"]),
        (["--model.backbone=test_resnet", "--crop.size=32", "--fit.batch_size=1"], ["--fit.batch_size is 1", "2 or more"]),
        (["--model.init_from=none.ckpt"], ["--model.init_from is none.ckpt", "no such file"]),
        (["--n_real=25"], ["--n_real is 25", "24 training faces"]),
        (["--real.n_val=30"], ["--real.n_val is 30", "30 training faces"]),
        (["--real.parts=afw"], ["generated_target", "no parts to choose"]),
        (["--runs_dir=file"], ["file: not a folder", "--runs_dir"]),
        (["--runs_dir=file/runs"], ["file: not a folder", "--runs_dir"]),
        (["--prepared_dir=nowhere/p"], ["nowhere: a link to nothing", "--prepared_dir"]),
        (["--real.source=300w", "--data_root=file"], ["--data_root is file", "no folder"]),
        (["--real.source=300w", "--data_root=none"], ["none/300w: no such folder", "--data_root"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].startswith("--") else "",
)
def test_what_only_shows_together_is_found_before_anything_is_made(
    cli: Cli, empty: Path, arguments: list[str], fragments: list[str]
) -> None:
    (empty / "file").write_text("")
    (empty / "nowhere").symlink_to(empty / "gone")
    fails(cli("run", "real_only", *GENERATED, "--wandb.mode=off", *arguments), *fragments)
    assert {path.name for path in empty.iterdir()} == {"file", "nowhere"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CropConfig(size=0), "--crop.size is 0"),
        (lambda: CropConfig(size=64.0), "--crop.size is 64.0; it is a whole number"),  # type: ignore[arg-type]
        (lambda: CropConfig(scale=math.nan), "--crop.scale is nan"),
        (lambda: CropConfig(channels="cmyk"), "--crop.channels is cmyk"),  # type: ignore[arg-type]
        (lambda: AugmentConfig(strength=-1), "--augment.strength is -1"),
        (lambda: GeneratedConfig(n=0), "--synthetic.generated.n is 0"),
        (lambda: TargetConfig(n_test=0), "--real.generated.n_test is 0"),
        (lambda: RealConfig(n_val=0), "--real.n_val is 0"),
        (lambda: SyntheticConfig(val_split=1), "--synthetic.val_split is 1"),
        (lambda: ModelConfig(loss="none"), "--model.loss is none"),
        (lambda: FitConfig(ema=1), "--fit.ema is 1"),
        (lambda: FitConfig(steps=True), "--fit.steps is True"),
        (lambda: FineTuneConfig(lr=0), "--finetune.lr is 0"),
        (lambda: AdapterConfig(folds=1), "--adapter.folds is 1"),
        (lambda: WandbConfig(tags="t" * 65), "--wandb.tags"),
        (lambda: RunSettings(seed=-1), "--seed is -1"),
        (lambda: RunSettings(crop=None), "--crop is None"),  # type: ignore[arg-type]
        (lambda: RealDataModule(seed=-1), "--seed is -1"),
        (lambda: RealDataModule(n_val=0), "--real.n_val is 0"),
        (lambda: RealDataModule(batch_size=0), "--fit.batch_size is 0"),
        (lambda: RealDataModule(num_workers=-1), "--fit.num_workers is -1"),
        (lambda: RealDataModule(parts=["afw", "x"]), "--real.parts is x"),
        (lambda: RealDataModule(data_root="$NO_SUCH_VARIABLE"), "NO_SUCH_VARIABLE is not set"),
        (lambda: SyntheticDataModule(val_split=0), "--synthetic.val_split is 0"),
    ],
)
def test_own_code_meets_the_same_limits(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert says in str(error.value)


def test_numbers_of_numpy_are_numbers() -> None:
    assert RealDataModule(seed=np.int64(3), n_real=np.int64(5)).seed == 3
    assert CropConfig(scale=np.float32(1.5)).scale == 1.5
    with pytest.raises(UserError, match="--seed is 1"):
        RunSettings(seed=10**400)


def test_a_kind_of_adapter_that_its_use_does_not_have(cli: Cli, quick: list[str]) -> None:
    fails(
        cli("run", "data_adaptation", *quick, "--adapter.kind=mlp"),
        "adapter.kind",
        "is mlp",
        "modes",
        "--adapter.labels plain",
    )
    fails(cli("run", "label_adaptation", *quick, "--adapter.kind=modes"), "adapter.kind", "is modes", "linear, mlp")
    plain = ["--adapter.labels=plain", "--adapter.kind=modes"]
    fails(cli("run", "mixing", *quick, *plain), "adapter.kind", "is modes")


def test_what_an_adapter_for_labels_learns_changes_no_other_identity() -> None:
    """Earlier versions' runs are found: label_adaptation's as it is, the others' where they are asked for as they were."""
    earlier = dataclasses.asdict(AdapterConfig())
    assert "labels" not in earlier
    for adapter in (AdapterConfig(), LabelsAdapterConfig(labels="plain"), RECIPES["label_adaptation"].settings().adapter):
        assert determining(adapter) == earlier and not adapter.difference
    for recipe in ("data_adaptation", "mixing"):
        adapter = RECIPES[recipe].settings().adapter
        assert determining(adapter) == {**earlier, "labels": "difference"} and adapter.difference


def test_every_number_among_the_settings_has_limits() -> None:
    for kind in (CropConfig, AugmentConfig, GeneratedConfig, TargetConfig, RealConfig, SyntheticConfig, FitConfig):
        for item in dataclasses.fields(kind):
            if isinstance(item.default, int | float) and not isinstance(item.default, bool):
                assert "limits" in item.metadata, f"{kind.__name__}.{item.name}"


# YAML.


def settings(path: Path, text: str | bytes, recipe: str = "mixing") -> Any:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse_settings(RECIPES[recipe], [f"--config={path}"])


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("wandb:\n  mode: off", "wandb.mode", "off"),
        ("wandb: {mode: Off}", "wandb.mode", "off"),
        ("wandb: {group: no}", "wandb.group", "no"),
        ("wandb: {group: 007}", "wandb.group", "007"),
        ("wandb: {group: 1.10}", "wandb.group", "1.10"),
        ("wandb: {group: 2026-11-25}", "wandb.group", "2026-11-25"),
        ("wandb: {group: 12:30}", "wandb.group", "12:30"),
        ("wandb: {group: '[bold]'}", "wandb.group", "[bold]"),
        ("wandb: {tags: 12}", "wandb.tags", "12"),
        ("augment: {mirror: off}", "augment.mirror", False),
        ("augment: {mirror: no}", "augment.mirror", False),
        ("model: {pretrained: yes}", "model.pretrained", True),
        ("model: {pretrained: Package, backbone: tf_efficientnet_lite0}", "model.pretrained", "package"),
        ("seed: 007", "seed", 7),
        ("seed: 1_000", "seed", 1000),
        ("fit: {lr: 1e-4}", "fit.lr", 1e-4),
        ("fit: {lr: 1E-4}", "fit.lr", 1e-4),
        ("fit: {lr: .5}", "fit.lr", 0.5),
        ("fit: {precision: 32}", "fit.precision", "32"),
        ("fit: {epochs: ~}", "fit.epochs", None),
        ("fit: {epochs: }", "fit.epochs", None),
        ("n_real: null", "n_real", None),
        ("real: {parts: null}", "real.parts", None),
        ("real:\nseed: 3", "real", RealConfig()),
        ("real: {}\nreal.n_val: 3", "real.n_val", 3),
        ("real.n_val: 5", "real.n_val", 5),
        ("fit.steps: 5\nfit: {lr: 0.1}", "fit.steps", 5),
        ("real: {generated: {n_test: 4}}\nreal.generated: {seed: 2}", "real.generated.n_test", 4),
        ("fit: {<<: {lr: 0.5, steps: 3}, steps: 4}", "fit.steps", 4),
        ("# nothing", "seed", 0),
        ("", "seed", 0),
        ("---\nseed: 4\n...\n", "seed", 4),
        ("\ufeffseed: 4", "seed", 4),
        ("seed: 4".encode("utf-16"), "seed", 4),
        ("wandb: {group: Übung}".encode("utf-16"), "wandb.group", "Übung"),
        ("seed: 4\r\nfit:\r\n  steps: 5\r\n", "fit.steps", 5),
        ("data_root: ~/data/", "data_root", Path.home() / "data"),
        ("data_root: $HOME/data", "data_root", Path.home() / "data"),
        ("data_root: ${HOME}/a b", "data_root", Path.home() / "a b"),
        ("data_root: 2026", "data_root", Path("2026")),
        ("data_root: '[a]'", "data_root", Path("[a]")),
        ("real: {root: -x}", "real.root", Path("-x")),
    ],
)
def test_yaml_means_what_people_mean(tmp_path: Path, text: str | bytes, key: str, value: object) -> None:
    found = settings(tmp_path / "s.yaml", text)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value and type(found) is type(value)


LAUGHS = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("seed: 1\nfit: {lr: 1}\nseed: 2", [":3: seed stands twice, first in line 1"]),
        ("fit:\n  steps: 3\n  lr: 1\n  steps: 4", [":4: fit.steps stands twice, first in line 2", "steps stands twice"]),
        ("fit:\n  steps: 3\nfit.steps: 4", [":3: fit.steps stands twice, first in line 2"]),
        ("fit: 3\nfit.steps: 4", [":2: fit.steps is set, and line 1 sets fit itself"]),
        ("seed: 1\n---\nseed: 2", [":3: a second document"]),
        ("- seed: 1", [":1: holds no 'key: value'"]),
        ("seed", [":1: holds no 'key: value'"]),
        ("fit:\n\tsteps: 3", [":2: not YAML", "indent with blanks"]),
        ("seed: 1\nfit: [1, 2", [":2: not YAML"]),
        ("seed: 1\n\n\nseed2: 3", [":4: seed2: not a setting of mixing", "close: seed"]),
        ("fit:\n  stepz: 3", [":2: fit.stepz", "close: fit.steps"]),
        ("seed: 1\nfit:\n  steps: soon", [":3: fit.steps is soon", "whole number"]),
        ("seed: 12:30", [":1: seed is 12:30"]),
        ("crop:\n  size: 0", [":2: crop.size is 0; it lies between 16 and 1024"]),
        ("fit: {lr: .nan}", [":1: fit.lr is .nan"]),
        ("fit: {lr: -.inf}", [":1: fit.lr is -.inf"]),
        ("wandb: {mode: 1}", [":1: wandb.mode is 1", "known: auto"]),
        ("real:\n  parts: [afw, helen]", [":2: real.parts is a list", "comma-separated"]),
        ("seed: {a: 1}", [":1: seed.a"]),
        ("seed: {}", [":1: seed is a list or mapping"]),
        ("seed: []", [":1: seed is a list or mapping"]),
        ("seed:", [":1: seed has no value"]),
        ("seed: ~", [":1: seed has no value"]),
        ("wandb: {tags: null}", [":1: wandb.tags has no value"]),
        ("data_root: $NO_SUCH_VARIABLE", [":1: data_root is $NO_SUCH_VARIABLE", "not set"]),
        ("a: &a [*a]", ["holds itself"]),
        ("fit: &a {steps: *a}", ["holds itself"]),
        (LAUGHS, ["more than"]),
        ("a: " + "[" * 3000, ["nested too deeply"]),
        ("seed: !!python/object/apply:os.getpid []", ["python/object"]),
        ("? [a]\n: 1", [":1: a key is a word"]),
        ("a: *b", [":1: not YAML", "alias"]),
        ("seed: " + "9" * 5000, [":1: seed is 999"]),
        ("method: grid\nparameters: {}", ["a sweep's file", "domaingap sweep"]),
        ("# réglages\nseed: 1".encode("latin-1"), [":1: not UTF-8 (byte 0xe9)", "UTF-8"]),
        ("seed: 1\n\n# ü".encode("latin-1"), [":3: not UTF-8"]),
        ("seed: 1".encode("utf-16-le"), ["not a text file in UTF-8"]),
        (b"\x89PNG\r\n\x1a\n\0\0", ["UTF-8"]),
        (b"\xff\xfes\0e", ["UTF"]),
        (b"x" * (2 << 20), ["larger than 1 MB"]),
    ],
)  # fmt: skip
def test_wrong_yaml_names_file_and_line(cli: Cli, empty: Path, text: str | bytes, fragments: list[str]) -> None:
    path = empty / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for command in (["run", "mixing"], ["data", "prepare"]):
        answer = cli(*command, "--config", path)
        fails(answer, str(path))
        expected = [f.replace("a setting of mixing", "a setting of") for f in fragments]
        assert all(f in answer.err or ("stands twice" in f and "stands twice" in answer.err) for f in expected), answer.err
    assert [path.name for path in empty.iterdir()] == ["s.yaml"]


@pytest.mark.parametrize(
    ("lines", "fragments"),
    [
        ("  fit.steps: {values: [3, 0]}", [":5: parameters: fit.steps is 0", "between 1 and"]),
        ("  crop.size: {values: [64, 8]}", [":5: parameters: crop.size is 8"]),
        ("  fit: {parameters: {steps: {value: 3}}}\n  fit.steps: {value: 4}", [":6: parameters: fit.steps stands twice"]),
        ("  seed: {value: 1}", [":5: ", "seed stands twice, first in line 4"]),
        ("  model.backbone: {values: [test_resnet, resnet19]}", [":5: parameters: model.backbone is resnet19", "resnet18"]),
        ("  real.n_val: {values: [6, 30]}", [":5: parameters: real.n_val is 30"]),
        ("  fit.lr: {values: [0.1, {a: 1}]}", [":5: parameters: fit.lr", "a word or a number"]),
        ("  config: {value: none.yaml}", [":5: parameters: config: none.yaml: no such file"]),
        ("  config: {value: bad.yaml}", ["bad.yaml:2: fit.steps is 0"]),
        ("  wandb.tags: {value: " + "t" * 65 + "}", [":5: parameters: wandb.tags has a tag of 65"]),
        ("  runs_dir: {value: $NO_SUCH_VARIABLE}", [":5: parameters: runs_dir", "not set"]),
        ("  colour: {value: 1}", [":5: parameters: colour", "not a setting of real_only"]),
        ("  fit.STEPS: {value: 375}", [":5: parameters: fit.STEPS", "not a setting of real_only"]),
    ],
)
def test_a_wrong_cell_is_found_before_the_first_run(cli: Cli, empty: Path, lines: str, fragments: list[str]) -> None:
    (empty / "bad.yaml").write_text("fit:\n  steps: 0\n")
    file = empty / "s.yaml"
    file.write_text(f"method: grid\nparameters:\n  recipe: {{value: real_only}}\n  seed: {{values: [0, 1]}}\n{lines}\n")
    small = ["--crop.size=32", "--model.backbone=test_resnet"]
    chosen = [option for option in small if option.split("=")[0][2:] not in lines]
    answer = cli("sweep", file, *GENERATED[:3], *([] if "n_val" in lines else GENERATED[3:]), *chosen, "--wandb.mode=off")
    fails(answer, *fragments)
    assert {path.name for path in empty.iterdir()} == {"bad.yaml", "s.yaml"}


def test_words_in_a_sweep(cli: Cli, empty: Path) -> None:
    file = empty / "s.yaml"
    file.write_text(
        "method: grid\nparameters:\n  recipe: {value: real_only}\n  wandb.mode: {value: off}\n"
        "  n_real: {values: [5, null]}\n  fit.lr: {values: [1e-3, 2e-3]}\n  augment.mirror: {values: [on, off]}\n"
    )
    answer = cli("sweep", file, *GENERATED, "--plan")
    assert answer.code == 0 and "8 runs" in answer.err, answer.err
    assert "augment.mirror True, False" in answer.err and "fit.lr 0.001, 0.002" in answer.err


def test_what_print_config_prints_reads_back_the_same(cli: Cli, tmp_path: Path) -> None:
    odd = ["--wandb.group=1e-4", "--wandb.tags=007, off", "--fit.lr=1e-05", "--runs_dir=[x]/ü", "--model.pretrained=on"]
    answer = cli("run", "mixing", *odd, "--print_config")
    assert answer.code == 0, answer.err
    found = settings(tmp_path / "c.yaml", answer.out)
    assert found == parse_settings(RECIPES["mixing"], odd)
    assert (found.wandb.group, found.wandb.tags, found.fit.lr) == ("1e-4", "007, off", 1e-5)


# Paths and names.


def test_paths_as_a_shell_user_writes_them(
    cli: Cli, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "höme [x] $5"
    home.mkdir()
    (home / "data").symlink_to(data_root)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PREPARED", str(tmp_path / "p"))
    monkeypatch.chdir(tmp_path)
    options = ["--source=300w", "--size=32", "--box=landmarks", "--workers=1"]
    answer = cli("data", "prepare", "--data_root=~/data/", "--prepared_dir=${PREPARED}/[a]", *options)
    assert answer.code == 0, answer.err
    assert str(tmp_path / "p" / "[a]") in answer.out and (tmp_path / "p" / "[a]").is_dir()
    (tmp_path / "c.yaml").write_text("data_root: ~/data\nprepared_dir: $PREPARED/[a]\n")
    found = parse_settings(RECIPES["real_only"], ["--config=$PREPARED/../c.yaml"])
    assert (found.data_root, found.prepared_dir) == (home / "data", tmp_path / "p" / "[a]")
    # What exists as it is written is meant.
    Path("$PREPARED").mkdir()
    assert parse_settings(RECIPES["real_only"], ["--data_root=$PREPARED"]).data_root == Path("$PREPARED")
    assert RealDataModule(data_root="~/data").data_root == home / "data"


ODD = "[bold]x[/] [link=a] :smile: *a* _b_ 100% a&b #1"


def test_odd_names_are_printed_as_they_are(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    runs = tmp_path / ODD / "esc\x1b[31m"
    options = [option for option in quick if not option.startswith("--runs_dir")]
    answer = cli("run", "real_only", *options, f"--runs_dir={runs}", f"--wandb.group={ODD}")
    assert answer.code == 0, answer.err
    assert ODD in answer.out and "esc\\x1b[31m" in answer.out and "\x1b" not in answer.out + answer.err
    answer = cli("report", runs)
    assert answer.code == 0, answer.err
    for name in ("[/]", "[bold]", "a\x1b[2Jb", "new\nline"):
        answer = cli("report", tmp_path / name)
        fails(answer, "no such folder", name.replace("\x1b", "\\x1b").replace("\n", "\\n"))
        fails(cli("run", "real_only", *options, f"--runs_dir={runs}", f"--data_root={tmp_path / name}"), "no such folder")
    out = tmp_path / ODD / "table.md"
    assert cli("report", runs, "--format=markdown", f"--out={out}").code == 0 and out.is_file()
    answer = cli("sweep", tmp_path / "[/].yaml")
    fails(answer, "[/].yaml")


def test_a_run_by_several_paths_is_one(cli: Cli, quick: list[str], tmp_path: Path) -> None:
    assert cli("run", "real_only", *quick).code == 0
    runs = tmp_path / "runs"
    (run,) = (path.parent for path in runs.glob("*/result.json"))
    elsewhere = tmp_path / "elsewhere"
    run.rename(elsewhere)
    run.symlink_to(elsewhere)  # kept on another disk
    (runs / "loop").symlink_to(runs)
    (runs / "again").symlink_to(elsewhere)
    (runs / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(runs)
    for folder in (runs, tmp_path / "linked"):
        answer = cli("report", folder, "--style=runs")
        assert answer.code == 0, answer.err
        assert "1 result found more than once, counted once" in answer.err
        assert "1 result passed over" in answer.err and "gone: a link to nothing" in answer.err
        assert sum("real_only" in line for line in answer.out.splitlines()) == 1


def test_a_closed_folder_is_named(cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("run", "real_only", *quick).code == 0
    (tmp_path / "runs" / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)  # nothing is closed to root
    answer = cli("report", tmp_path / "runs", "--style=runs")
    assert answer.code == 0 and "closed: can't be looked into (Permission denied)" in answer.err
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    fails(cli("run", "real_only", *quick, f"--runs_dir={tmp_path / 'no' / 'x'}"), str(tmp_path), "no rights", "--runs_dir")
    assert not (tmp_path / "no").exists()


# Networks.


def test_a_transformer_gets_the_size_of_its_picture(cli: Cli, quick: list[str]) -> None:
    options = [option for option in quick if not option.startswith(("--model.backbone", "--crop.size"))]
    options += ["--model.backbone=vit_tiny_patch16_224", "--crop.size=64", "--fit.batch_size=1", "--score_test=false"]
    run = ("run", "real_only", *options, "--n_real=1", "--fit.steps=2")
    fails(cli(*run), "--model.head is soft_argmax", "vit_tiny_patch16_224 has none at 64 px: set it to regression")
    answer = cli(*run, "--model.head=regression")
    assert answer.code == 0, answer.err
    (path,) = Path(next(o for o in quick if o.startswith("--runs_dir")).partition("=")[2]).glob("*/result.json")
    assert json.loads(path.read_text())["config"]["model"]["backbone"] == "vit_tiny_patch16_224"
    answer = cli("evaluate", path.parent, "--on=val,val")
    assert answer.code == 0, answer.err
    fails(cli("evaluate", path.parent, "--on=commen"), "--on is commen", "known: val, common")


def test_a_batch_of_one_in_own_code() -> None:
    import torch

    from domaingap.models.regressor import LandmarkRegressor

    network = LandmarkRegressor("test_resnet", 32)
    with pytest.raises(UserError, match="batch_size is 1, but test_resnet at 32 px"):
        network(torch.zeros(1, 1, 32, 32))
    assert np.isfinite(network.eval()(torch.zeros(1, 1, 32, 32)).detach().numpy()).all()
