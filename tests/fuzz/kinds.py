"""The kinds of input: data sets and pictures here, files of our own and YAML in modules beside."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.harness import Case, Kind
from tests.fuzz.mutate import Damage, encode, mutate_bytes, mutate_text, mutate_tree
from tests.fuzz.seeds import CUT


def prepare(folder: Path, source: str, target: Path, *names: str) -> Case:
    """The command that reads a data set."""
    arguments = [
        "data",
        "prepare",
        "--data_root",
        str(folder),
        "--source",
        source,
        "--prepared_dir",
        str(folder / "prepared"),
    ]
    return Case(target, [*arguments, *CUT], names)


def damaged_json(rng: Damage, content: Any) -> bytes:
    """JSON with damage to its structure, its text, or its bytes."""
    if rng.whole:
        return json.dumps(content).encode()
    match rng.randrange(5):
        case 0:
            return mutate_text(rng, json.dumps(content, indent=rng.choice((None, 1))))
        case 1:
            return mutate_bytes(rng, json.dumps(content).encode())
        case 2 if rng.random() < 0.3:
            depth = rng.choice((100, 900, 1100, 100_000))
            return rng.choice((b"[" * depth + b"]" * depth, b'{"face":' * depth + b"1" + b"}" * depth, b"[" * depth))
        case _:
            return encode(rng, dump_json(mutate_tree(rng, content)))


def dump_json(value: Any) -> str:
    """JSON, also of what ``json`` has no words for."""
    try:
        return json.dumps(value, ensure_ascii=bool(len(str(value)) % 2))
    except (TypeError, ValueError):  # keys that don't fit, numbers of too many digits
        return json.dumps(value, default=repr, skipkeys=True) if not _huge(value) else json.dumps(_without_huge(value))


def _huge(value: Any) -> bool:
    try:
        repr(value)
    except ValueError:
        return True
    return False


def _without_huge(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_huge(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_huge(item) for item in value]
    return 10**4000 if isinstance(value, int) and abs(value) > 10**4000 else value if not callable(value) else None


def damage_text(rng: Damage, target: Path) -> None:
    """Damage a text file as text or as bytes."""
    text = target.read_text()
    target.write_bytes(mutate_text(rng, text) if rng.random() < 0.7 else mutate_bytes(rng, text.encode()))


def pts(rng: Damage, seeds: Path, folder: Path) -> Case:
    part = folder / "300w" / "afw"
    shutil.copytree(seeds / "few" / "300w" / "afw", part)
    target = part / "b.pts"
    damage_text(rng, target)
    return prepare(folder, "300w", target)


def landmarks(rng: Damage, seeds: Path, folder: Path) -> Case:
    shutil.copytree(seeds / "few" / "face_synthetics", folder / "face_synthetics")
    target = folder / "face_synthetics" / "000001_ldmks.txt"
    damage_text(rng, target)
    return prepare(folder, "face_synthetics", target)


def dgfaces(rng: Damage, seeds: Path, folder: Path) -> Case:
    shutil.copytree(seeds / "data" / "dgfaces", folder / "dgfaces")
    point = folder / "dgfaces" / "datapoint_00001"
    target = point / "camera" / "key_points" / "face_standard_key_points.json"
    if rng.random() < 0.15:
        target = point / "actor_metadata.json"
    elif rng.random() < 0.4:
        shutil.copyfile(seeds / "dgfaces_v1.json", target)
    target.write_bytes(damaged_json(rng, json.loads(target.read_text())))
    return prepare(folder, "dgfaces", target)


def synthface(rng: Damage, seeds: Path, folder: Path) -> Case:
    shutil.copytree(seeds / "data" / "synth_face", folder / "synth_face")
    target = folder / "synth_face" / "metadata_0000001_000.json"
    target.write_bytes(damaged_json(rng, json.loads(target.read_text())))
    return prepare(folder, "synthface", target)


def pictures(rng: Damage, seeds: Path, folder: Path) -> Case:
    part = folder / "300w" / "afw"
    shutil.copytree(seeds / "few" / "300w" / "afw", part)
    source = rng.choice(sorted((seeds / "pictures").iterdir()))
    data = source.read_bytes()
    whole = rng.random() < (0.5 if source.name.startswith(("bomb", "script")) else 0.1)
    (part / "b.png").unlink()
    target = part / f"b{rng.choice(('.png', '.jpg'))}"
    target.write_bytes(data if whole else mutate_bytes(rng, data))
    return prepare(folder, "300w", target)


def start_training(seeds: Path, folder: Path, on_point: Callable[[dict[str, float]], None] | None = None) -> Any:
    """A training of four steps; goes on with what is in the folder."""
    from domaingap.config import AugmentConfig, CropConfig, FitConfig, ModelConfig
    from domaingap.data.datamodules import RealDataModule
    from domaingap.stages import build_network
    from domaingap.training import fit_stage, resolve

    crop = CropConfig(size=32, box="landmarks")
    module = RealDataModule(
        None, None, seeds / "data", None, 6, 0, crop, AugmentConfig(strength=0), prepared_dir=seeds / "prepared"
    )
    train = module.train_set()
    fit = resolve(FitConfig(steps=4, val_every=2, batch_size=4, precision="32"), len(train), "test_resnet")
    network = build_network(ModelConfig("test_resnet"), module, fit, 0, ["val"])
    return fit_stage("real", network, train, {"val": module.val_set()}, fit, 0, folder, on_point)


def _kinds() -> tuple[Kind, ...]:
    from tests.fuzz import own_files as own
    from tests.fuzz import yaml_files as yaml

    return (
        Kind("pts", 1100, pts),
        Kind("landmark text", 800, landmarks),
        Kind("dgfaces json", 1000, dgfaces),
        Kind("synthface json", 700, synthface),
        Kind("picture", 1500, pictures),
        Kind("config yaml", 900, yaml.config),
        Kind("sweep yaml", 600, yaml.sweep),
        Kind("prepare config", 300, yaml.prepare_config),
        Kind("network checkpoint", 600, own.network),
        Kind("adapter checkpoint", 400, own.adapter),
        Kind("resume checkpoint", 100, own.resume),
        Kind("predictions npz", 600, own.predictions),
        Kind("prepared part", 300, own.prepared),
        Kind("result json", 500, own.result),
        Kind("manifest json", 250, own.manifest),
        Kind("jsonl", 250, own.lines),
        Kind("generated json", 100, own.generated),
    )


KINDS = _kinds()
