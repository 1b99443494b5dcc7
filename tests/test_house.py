"""The house's rules: the library never imports the experiments, configurations are valid, no drift of defaults."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from domaingap.config import (
    PACKAGE,
    PACKAGED_BACKBONE,
    AugmentConfig,
    CropConfig,
    ModelConfig,
    RealConfig,
    SyntheticConfig,
    determining,
    spelled,
)
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.limits import kinds_of
from domaingap.study.arguments import parse_settings
from domaingap.study.outline import Outline
from domaingap.study.plan import planned_runs
from domaingap.study.recipe import Recipe
from domaingap.study.record import request_key
from experiments.recipes import RECIPES

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "domaingap").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_library_never_imports_experiments(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        assert not any(name.split(".")[0] == "experiments" for name in names)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_configuration_is_valid_and_names_its_command(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    first = path.read_text().splitlines()[0]
    # Generated faces aren't read from anywhere.
    data_root = "" if path.name == "generated.yaml" or path.parent.name == "small" else " --data_root data"
    if "sweeps" in path.relative_to(ROOT).parts:
        assert first == f"# domaingap sweep {path.relative_to(ROOT)}{data_root}"
        assert len(planned_runs(path.relative_to(ROOT), [], RECIPES)) > 1
        return
    if path.name == "laboratory.yaml":
        # A sweep with a command of its own.
        assert first == "# domaingap laboratory"
        assert len(planned_runs(path.relative_to(ROOT), [], RECIPES)) > 1
        return
    match = re.fullmatch(r"# domaingap run (\w+) --config (\S+)" + data_root, first)
    assert match and match[1] in RECIPES and ROOT / match[2] == path
    settings = parse_settings(RECIPES[match[1]], [f"--config={path}"])
    assert settings.crop.size == yaml.safe_load(path.read_text())["crop"]["size"]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_one_configuration_serves_all_recipes(recipe: Recipe) -> None:
    # The file spells out the recommended setting, which is also the default.
    assert parse_settings(recipe, [f"--config={ROOT / 'configs' / '300w.yaml'}"]) == parse_settings(recipe, [])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_generated_faces_serve_all_recipes(recipe: Recipe) -> None:
    settings: Any = parse_settings(recipe, [f"--config={ROOT / 'configs' / 'generated.yaml'}"])
    assert (settings.real.source, settings.model.backbone) == ("generated_target", "resnet10t")
    assert recipe.name == "real_only" or settings.synthetic.source == "generated"


def test_what_determines_figures_and_what_does_not() -> None:
    settings: Any = parse_settings(RECIPES["mixing"], [])
    values = determining(settings)
    assert {"data_root", "prepared_dir", "runs_dir", "wandb", "score_test"}.isdisjoint(values)
    assert "generated" not in values["real"] and "generated" not in values["synthetic"], (
        "nothing is made where files are read"
    )
    both = determining(parse_settings(RECIPES["mixing"], [f"--config={ROOT / 'configs' / 'generated.yaml'}"]))
    assert both["synthetic"]["generated"]["n"] == 3000 and both["real"]["generated"]["label_gap"] == 1.0
    # A path whose content counts is part of what is asked for, but its content is what is hashed for a run.
    for section in (values["real"], values["synthetic"]):
        assert "root" in section
    assert "init_from" in values["model"]
    without = determining(settings, by_content=False)
    assert "root" not in without["real"] and "root" not in without["synthetic"] and "init_from" not in without["model"]
    same = replace(settings, runs_dir=Path("x"), score_test=False)
    assert request_key("mixing", settings) == request_key("mixing", same)


def test_people_read_what_an_identity_leaves_out() -> None:
    """Settings that earlier versions hadn't, by their values then: the head is named, also that which was the only one."""
    files = f"--config={ROOT / 'configs' / 'generated.yaml'}"
    settings: Any = parse_settings(RECIPES["mixing"], [files, "--model.head=regression"])
    held, full = determining(settings), determining(settings, spelled_out=True)
    assert "head" not in held["model"] and "mirror_test" not in held and "geometry" not in held["synthetic"]["generated"]
    read = spelled(held)
    assert full["synthetic"]["generated"].pop("population")
    assert all(read[key] == full[key] for key in ("model", "synthetic", "real", "mirror_test"))
    assert (read["model"]["head"], read["synthetic"]["appearance"]) == ("regression", "none")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_setting_tells_requests_apart_or_is_a_place(recipe: Recipe) -> None:
    """A setting that no key holds would let two unlike runs be taken for one."""
    # synthetic_only has a number of real faces only where it takes their look.
    look = ["--synthetic.appearance=fourier", "--n_real=5"] if recipe.name == "synthetic_only" else []
    settings: Any = parse_settings(recipe, ["--real.source=generated_target", *look])

    def changed(part: Any, name: str, value: Any) -> Any:
        words = [word for kind in kinds_of(type(part))[name] if isinstance(kind, tuple) for word in kind]
        if isinstance(value, bool):
            return not value
        if words:
            return next((word for word in words if word != value), 1)
        if isinstance(value, str):
            return value + "x"
        if isinstance(value, int):
            return value + 1
        # Dials and shares lie between 0 and 1.
        if isinstance(value, float):
            return value * 0.5 or 0.25
        return Path("elsewhere") if name in ("root", "init_from") else 7

    def others(part: Any) -> Iterator[tuple[str, Any]]:
        for item in fields(part):
            name, value = item.name, getattr(part, item.name)
            made_from_files = name == "generated" and isinstance(part, SyntheticConfig)
            if item.metadata.get("determines") == "nothing" or made_from_files:
                continue
            if is_dataclass(value):
                yield from ((f"{name}.{more}", replace(part, **{name: other})) for more, other in others(value))
            elif name not in ("source", "parts"):  # checked against what is known
                yield name, replace(part, **{name: changed(part, name, value)})

    known = {request_key(recipe.name, settings)}
    for name, other in others(settings):
        key = request_key(recipe.name, other)
        assert key not in known, name
        known.add(key)
    assert len(known) > 30
    parts = [request_key(recipe.name, parse_settings(recipe, [f"--real.parts={name}"])) for name in ("afw", "helen")]
    assert len({*parts, *known}) == len(known) + 2
    # Two sources of pretrained weights are two settings.
    lite = [replace(settings, model=ModelConfig(PACKAGED_BACKBONE, start)) for start in (False, True, PACKAGE)]
    assert len({request_key(recipe.name, one) for one in lite} | known) == len(known) + 3


def test_original_study_is_as_published() -> None:
    for name, backbone, pretrained, lr in (
        ("resnet18", "resnet18", True, 1e-4),
        ("resnet50", "resnet50", True, 1e-4),
        ("xception", "legacy_xception", False, 8e-4),
    ):
        settings: Any = parse_settings(RECIPES["synthetic_only"], [f"--config={ROOT}/configs/original_study/{name}.yaml"])
        model, fit, crop = settings.model, settings.fit, settings.crop
        assert (model.backbone, model.pretrained, model.loss) == (backbone, pretrained, "rmse")
        assert (fit.optimizer, fit.lr, fit.batch_size, fit.epochs, fit.schedule, fit.ema) == (
            "adam",
            lr,
            32,
            100,
            "constant",
            0,
        )
        assert (settings.n_synthetic, settings.synthetic.val_split, crop.size, crop.channels) == (10000, 0.1, 128, "gray")
        assert (crop.box, settings.selection, fit.monitor) == ("mtcnn", "source_val", "loss")


@pytest.mark.parametrize(("module", "config"), [(RealDataModule, RealConfig), (SyntheticDataModule, SyntheticConfig)])
def test_modules_and_settings_have_the_same_defaults(module: type, config: type) -> None:
    parameters = inspect.signature(module).parameters
    for name, field in config.__dataclass_fields__.items():
        default = parameters[name].default
        assert (str(default) if isinstance(field.default, Path) else default) == (
            str(field.default) if isinstance(field.default, Path) else field.default
        ), name
    assert parameters["crop"].default == CropConfig() and parameters["augment"].default == AugmentConfig()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_recipes_are_short_and_their_settings_documented(recipe: Recipe) -> None:
    assert recipe.summary.endswith(".") and len(inspect.getsource(recipe.body).splitlines()) <= 15
    documented = {
        name for kind in recipe.settings.__mro__ for name in re.findall(r"^        (\w+):", kind.__doc__ or "", re.MULTILINE)
    }
    assert set(recipe.settings.__dataclass_fields__) <= documented


def test_outlines_name_the_networks_that_runs_share() -> None:
    outlines = {name: Outline(recipe, parse_settings(recipe, [])) for name, recipe in RECIPES.items()}
    titles = {name: [stage.title for stage in outline.stages] for name, outline in outlines.items()}
    assert titles["mixing"] == ["synthetic", "mixed"] and outlines["mixing"].answering == 1
    assert titles["label_adaptation"] == ["synthetic"] and outlines["label_adaptation"].answering == 0
    firsts = {outline.stages[0].key for name, outline in outlines.items() if name != "real_only"}
    assert len(firsts) == 1, "one synthetic network"

    def last(name: str, *options: str) -> str:
        return Outline(RECIPES[name], parse_settings(RECIPES[name], options)).stages[-1].key

    assert last("mixing", "--alpha=0") == last("real_only") != last("mixing", "--alpha=0.5")
    assert last("mixing", "--alpha=1") == last("data_adaptation") != last("data_adaptation", "--n_real=9")
    assert last("synthetic_only", "--selection=source_val") == last("synthetic_only", "--real.n_val=5")
    assert last("fine_tuning") != last("real_only")


def test_pins_are_one_list_and_name_no_host() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["constraint-dependencies"] == pins
    assert all(re.match(r"^[a-z0-9.\-]+==[^/]+$", pin) for pin in pins)
    names = {re.split(r"[<>=\[]", name)[0] for name in project["project"]["dependencies"]}
    assert names <= {pin.split("==")[0] for pin in pins}


def test_the_table_of_kinds_names_tests_that_exist() -> None:
    folder = Path(__file__).parent
    shortened = {"E/": "experiments/", "D/": "data/", "S/": "study/", "I/": "inference/"}
    text = (folder / "README.md").read_text(encoding="utf-8")
    named, file = 0, ""
    for found in re.finditer(r"([\w/]*test_\w+)?::(test_\w+)", text):
        if found[1]:
            file = found[1]
            for short, whole in shortened.items():
                file = whole + file.removeprefix(short) if file.startswith(short) else file
        named += 1
        source = (folder / f"{file}.py").read_text(encoding="utf-8")
        assert f"def {found[2]}(" in source, f"tests/README.md names {file}::{found[2]}, which isn't there"
    assert named > 50
