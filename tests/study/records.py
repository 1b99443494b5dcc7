"""Records of runs that never ran, a line each: what recipes leave behind by default, and what a test says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from domaingap.hashing import content_key
from domaingap.predictions import Predictions, save_predictions
from domaingap.study.compare import Strategies
from domaingap.study.record import (
    SCHEMA,
    AdapterRecord,
    DataRecord,
    PartRecord,
    RunRecord,
    SetRecord,
    StageRecord,
    StartRecord,
    set_key,
)
from experiments.recipes import RECIPES
from tests.conftest import MEAN_FACE

STRATEGIES = Strategies.of(RECIPES)
FIT: dict[str, Any] = {
    "steps": 4, "batch_size": 4, "optimizer": "adamw", "lr": 0.002, "weight_decay": 0.05, "schedule": "one_cycle",
    "ema": 0.995, "val_every": 2, "monitor": "nme", "precision": "32",
}  # fmt: skip
ADAPTER = {"kind": "auto", "hidden": 64, "epochs": 600, "folds": 5, "min_spread": 0.95}
REGIONS = ("all", "jaw", "brows", "nose", "eyes", "mouth")


def adapter_record(use: str = "labels", moves: float = 0.1, **fields: Any) -> AdapterRecord:
    """What an adapter did; it moves exact labels by ``moves`` everywhere."""
    record = AdapterRecord(
        use, "linear", 0.5, 100.0, "validation", 8.0, 7.5, {"shift": 7.8, "linear": 7.5}, dict.fromkeys(REGIONS, 1.0),
        dict.fromkeys(REGIONS, moves), 0.97, 0.98, None, None,
    )  # fmt: skip
    return replace(record, **fields)


def run_record(
    recipe: str = "real_only",
    seed: int = 0,
    nme: Mapping[str, float | None] | float = 6.0,
    *,
    n_real: int | None = 9,
    alpha: float | None = None,
    selection: str = "real_val",
    answering: int | None = None,
    source: str = "face_synthetics",
    faces: Mapping[str, str] | None = None,
    n_synthetic: int = 24,
    start: StartRecord | None = None,
    folder: Path = Path(),
    appearance: str = "",
    settings: Mapping[str, Any] | None = None,
    **fields: Any,
) -> RunRecord:
    """A finished run of a recipe.

    Args:
        recipe: its name; those but real_only have synthetic faces.
        seed: of the run.
        nme: NME in % by set, or on common, with validation half a point above.
        n_real: real faces; all, which are 18, where it is None.
        alpha: of mixing.
        selection: rule.
        answering: optimiser steps behind the answers; a network from scratch has ``fit.steps``.
        source: of the synthetic faces.
        faces: fingerprints, ``real`` or ``synthetic``.
        n_synthetic: synthetic images, hold-out included.
        start: what the first stage started from.
        folder: where it lies.
        appearance: what was done to the look of the synthetic pictures, by the real faces.
        settings: what differs in the identity, by dotted key.
        fields: of the record itself.
    """
    synthetic, real = recipe != "real_only", recipe != "synthetic_only" or bool(appearance)
    prints = {"real": "aaaa0000aaaa0000", **({"synthetic": "5555000055550000"} if synthetic else {}), **(faces or {})}
    identity: dict[str, Any] = {
        "selection": selection,
        "real": {"parts": None, "n_val": 6},
        "crop": {"size": 32, "channels": "gray", "box": "landmarks", "scale": 1.3},
        "augment": {"strength": 1.0},
        "model": {"backbone": "test_resnet", "pretrained": False, "loss": "rmse"},
        "init_from": "abcdef0123456789" if start is not None else None,
        "fit": dict(FIT),
        "formats": {"crop": 1},
        "faces": prints,
    }
    identity |= {"n_real": n_real} if real else {}
    identity |= {"n_synthetic": n_synthetic, "synthetic": {"source": source, "val_split": 0.1}} if synthetic else {}
    if appearance:
        identity["synthetic"] |= {"appearance": appearance}
    identity |= {"alpha": alpha} if alpha is not None else {}
    identity |= {"adapter": dict(ADAPTER)} if recipe in ("label_adaptation", "data_adaptation", "mixing") else {}
    identity |= {"finetune": {"steps": None, "lr": None}} if recipe == "fine_tuning" else {}
    for dotted, value in (settings or {}).items():
        *path, last = dotted.split(".")
        place = identity
        for name in path:
            place = place[name]
        assert last in place, f"no setting {dotted}"
        place[last] = value
    values = {"val": nme + 0.5, "common": nme} if isinstance(nme, (int, float)) else dict(nme)
    steps = identity["fit"]["steps"]
    known = {on: value for on, value in values.items() if value is not None}
    least = start.n_real if start is not None else 0
    use = "predictions" if recipe == "label_adaptation" else "labels"
    scored = SetRecord(11, 10, 0, True, {"helen/testset": 7, "lfpw/testset": 4}, 554, "landmarks")
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "key": content_key([recipe, identity, seed]),
        "request": content_key([recipe, identity, seed, "asked"]),
        "recipe": recipe,
        "name": f"{recipe}-s{seed}-{content_key([recipe, identity, seed], 8)}",
        "seed": seed,
        "alpha": alpha,
        "n_real_train": least + (0 if not real else 18 if n_real is None else n_real),
        "n_real_selection": 6 if selection == "real_val" else 0,
        "selection": selection,
        "n_synthetic": 21 if synthetic else 0,
        "n_synthetic_selection": 3 if synthetic else 0,
        "adapter": adapter_record(use) if "adapter" in identity else None,
        "steps_answering": answering if answering is not None else steps + (start.steps if start is not None else 0),
        "steps_total": answering or steps,
        "start": start,
        "licences": [],
        "metrics": {f"{set_key(on)}/nme": value for on, value in values.items()}
        | {f"{set_key(on)}/{name}": 0.25 for on in known for name in ("fr@8", "auc@8", "nme_no_jaw")},
        "intervals": {f"{set_key(on)}/nme": (value - 0.1, value + 0.2) for on, value in known.items()},
        "interval_rule": "95%, bootstrap over photographs",
        "counts": {set_key(on): scored for on in values},
        "data": {name: _data(source if name == "synthetic" else "300w", print_) for name, print_ in prints.items()},
        "box_rule": "oracle (landmarks)",
        "stages": [StageRecord("network", "k", False, steps, steps, 18, identity["fit"], 60.0, 0.1, {})],
        "adapter_stages": [],
        "identity": identity,
        "config": {**identity, "seed": seed},
        "git_commit": None,
        "wall_time_s": 1.0,
        "wandb": "off",
        "hardware": {},
        "versions": {},
        "files": {},
        "folder": folder,
    }  # fmt: skip
    return RunRecord(**{**content, **fields})


def _data(source: str, fingerprint: str) -> DataRecord:
    part = PartRecord(24, None, True, {}, {}, {}, fingerprint)
    return DataRecord(source, fingerprint, True, [], {"part": part}, 18, 6, "landmarks", "")


def seeds(recipe: str, figures: Sequence[float | None], **more: Any) -> list[RunRecord]:
    """A run for each figure, its NME on common, with seeds from 0."""
    return [
        run_record(recipe, seed, nme if nme is not None else {"val": None, "common": None}, **more)
        for seed, nme in enumerate(figures)
    ]


def write(root: Path, records: Sequence[RunRecord]) -> list[Path]:
    """Results in folders of their own below ``root``; where they lie."""
    folders = []
    for record in records:
        folder = root / record.name
        folder.mkdir(parents=True)
        replace(record, folder=folder).write()
        folders.append(folder)
    return folders


def write_predictions(folder: Path, on: str, off: Sequence[float]) -> None:
    """Predictions of as many faces as there are numbers: the mean face, each off by so many pixels; two to a photograph."""
    n = len(off)
    truth = np.repeat(MEAN_FACE[None], n, axis=0)
    photographs, names = np.array([f"p{i // 2}" for i in range(n)]), np.array([f"f{i}" for i in range(n)])
    moved = truth + np.array(off, dtype=float)[:, None, None] * np.array([1.0, 0.0])
    save_predictions(folder / "predictions.npz", {on: Predictions(names, photographs, moved, truth, np.array(["x"] * n))})
