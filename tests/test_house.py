"""The house's rules: the library never imports the experiments, configurations are valid, no drift of defaults."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from experiments.sweep import planned_runs

from domaingap.config import AugmentConfig, CropConfig, RealConfig, SyntheticConfig, read_settings
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from experiments.__main__ import RECIPES, docstring_of, parse_recipe

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
    data_root = "" if path.name == "generated.yaml" else " --data_root data"
    if path.parent.name == "sweeps":
        assert first == f"# domaingap sweep {path.relative_to(ROOT)}{data_root}"
        assert len(planned_runs(path.relative_to(ROOT), [])) > 1
        return
    if path.name == "laboratory.yaml":
        # A sweep with a command of its own.
        assert first == "# domaingap laboratory"
        assert len(planned_runs(path.relative_to(ROOT), [])) > 1
        return
    match = re.fullmatch(r"# domaingap run (\w+) --config (\S+)" + data_root, first)
    assert match and match[1] in RECIPES and ROOT / match[2] == path
    function = getattr(importlib.import_module(f"experiments.{match[1]}"), match[1])
    values = parse_recipe(match[1], function, [f"--config={path}"])
    assert values["crop"].size == yaml.safe_load(path.read_text())["crop"]["size"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_configuration_serves_all_recipes(recipe: str) -> None:
    function = getattr(importlib.import_module(f"experiments.{recipe}"), recipe)
    values = parse_recipe(recipe, function, [f"--config={ROOT / 'configs' / '300w.yaml'}"])
    # The file spells out the recommended setting, which is also the default.
    defaults = parse_recipe(recipe, function, [])
    assert values == defaults


@pytest.mark.parametrize("recipe", RECIPES)
def test_generated_faces_serve_all_recipes(recipe: str) -> None:
    function = getattr(importlib.import_module(f"experiments.{recipe}"), recipe)
    values = parse_recipe(recipe, function, [f"--config={ROOT / 'configs' / 'generated.yaml'}"])
    assert (values["real"].source, values["model"].backbone) == ("generated_target", "resnet10t")
    assert recipe == "real_only" or values["synthetic"].source == "generated"


def test_settings_of_generated_faces_tell_no_runs_on_releases_apart() -> None:
    from experiments.mixing import mixing

    values = read_settings(parse_recipe("mixing", mixing, []))
    assert values["synthetic"] == {"source": "face_synthetics", "val_split": 0.1, "root": None}
    assert values["real"] == {"parts": None, "n_val": 300, "root": None, "source": "300w"}
    both = read_settings(parse_recipe("mixing", mixing, [f"--config={ROOT / 'configs' / 'generated.yaml'}"]))
    assert both["synthetic"]["generated"]["n"] == 3000 and both["real"]["generated"]["label_gap"] == 1.0


def test_original_study_is_as_published() -> None:
    from experiments.synthetic_only import synthetic_only

    for name, backbone, pretrained, lr in (
        ("resnet18", "resnet18", True, 1e-4),
        ("resnet50", "resnet50", True, 1e-4),
        ("xception", "legacy_xception", False, 8e-4),
    ):
        values = parse_recipe("synthetic_only", synthetic_only, [f"--config={ROOT}/configs/original_study/{name}.yaml"])
        model, fit, crop = values["model"], values["fit"], values["crop"]
        assert (model.backbone, model.pretrained, model.loss) == (backbone, pretrained, "rmse")
        assert (fit.optimizer, fit.lr, fit.batch_size, fit.epochs, fit.schedule, fit.ema) == (
            "adam",
            lr,
            32,
            100,
            "constant",
            0,
        )
        assert (values["n_synthetic"], values["synthetic"].val_split, crop.size, crop.channels) == (10000, 0.1, 128, "gray")
        assert (crop.box, values["selection"], fit.monitor) == ("mtcnn", "source_val", "loss")


@pytest.mark.parametrize(("module", "config"), [(RealDataModule, RealConfig), (SyntheticDataModule, SyntheticConfig)])
def test_modules_and_settings_have_the_same_defaults(module: type, config: type) -> None:
    parameters = inspect.signature(module).parameters
    for name, field in config.__dataclass_fields__.items():
        default = parameters[name].default
        assert (str(default) if isinstance(field.default, Path) else default) == (
            str(field.default) if isinstance(field.default, Path) else field.default
        ), name
    assert parameters["crop"].default == CropConfig() and parameters["augment"].default == AugmentConfig()


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_documented_flat_functions(recipe: str) -> None:
    assert docstring_of(recipe).startswith(f"{recipe}: ")
    function = getattr(importlib.import_module(f"experiments.{recipe}"), recipe)
    documented = set(re.findall(r"^        (\w+):", inspect.getdoc(function) and function.__doc__, re.MULTILINE))
    assert documented == set(inspect.signature(function).parameters)


def test_pins_are_one_list_and_name_no_host() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["constraint-dependencies"] == pins
    assert all(re.match(r"^[a-z0-9.\-]+==[^/]+$", pin) for pin in pins)
    names = {re.split(r"[<>=\[]", name)[0] for name in project["project"]["dependencies"]}
    assert names <= {pin.split("==")[0] for pin in pins}
