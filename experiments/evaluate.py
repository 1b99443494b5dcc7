"""``domaingap evaluate``: score a finished run's network again, or recompute its metrics from its predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from domaingap.config import AugmentConfig, CropConfig, GeneratedConfig, RealConfig, SyntheticConfig, TargetConfig
from domaingap.errors import UserError
from domaingap.hashing import write_json


def evaluate(
    run: Path,
    on: str | None,
    data_root: Path | None,
    prepared_dir: Path | None,
    checkpoint: Path | None,
    from_predictions: bool,
) -> int:
    """Score a run's network on sets of faces; print and keep the figures below ``RUN/evaluation/``."""
    from domaingap.predictions import load_predictions, save_predictions

    content = _read_result(run)
    tests = [name.removeprefix("test/") for name in content["counts"] if name.startswith("test/")]
    wanted = on if on is not None else "common" if "common" in tests or not tests else tests[0]
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if not names:
        raise UserError("--on names no set; give val, common, challenging, full or private")
    config = content["config"]
    if from_predictions:
        kept = load_predictions(run / "predictions.npz")
        missing = [name for name in names if name not in kept]
        if missing:
            raise UserError(f"{run}: predictions.npz has no {missing[0]!r}; it has {', '.join(kept)}")
        scored = {name: kept[name] for name in names}
    else:
        from domaingap.models.label_adapter import LabelAdapter
        from domaingap.stages import load_network
        from domaingap.training import predict
        from experiments.run import adapter_file, open_real, open_synthetic

        roots = (data_root or Path(config["data_root"]), prepared_dir or Path(config["prepared_dir"]))
        crop, augment = CropConfig(**config["crop"]), AugmentConfig(**config["augment"])
        path = checkpoint or run / "checkpoints" / "answering.ckpt"
        network = load_network(path)
        own = (network.hparams["in_channels"], network.input_size)
        if own != (crop.n_channels, crop.size):
            raise UserError(
                f"{path}: a network for {own[1]} px crops of {own[0]} channels; the run has {crop.size} px {crop.channels}"
            )
        datasets: dict[str, Any] = {}
        real = open_real(*roots, _real(config), None, content["seed"], crop, augment)
        for name in names:
            if name == "val":
                datasets[name] = real.val_set()
            elif name == "source_val" and "synthetic" in config:
                module = open_synthetic(
                    *roots, _synthetic(config), config.get("n_synthetic"), content["seed"], crop, augment
                )
                datasets[name] = module.val_set()
            elif name in real.test_positions:
                datasets[name] = real.test_set(name)
            else:
                raise UserError(
                    f"--on: no set {name!r} here; there are val, {', '.join(real.test_positions) or 'no test sets'}"
                )
        scored = {name: predict(network, dataset) for name, dataset in datasets.items()}
        if (content.get("adapter") or {}).get("use") == "predictions":
            # The run's answer is the network's, moved by its adapter.
            adapter = LabelAdapter.load(run / "checkpoints" / adapter_file("predictions"))
            scored = {name: replace(p, prediction=adapter.adapt(p.prediction)) for name, p in scored.items()}
    table = Table(title=f"{content['name']}{' from predictions.npz' if from_predictions else ''}", title_justify="left")
    table.add_column("metric")
    figures: dict[str, Any] = {}
    rows: dict[str, list[str]] = {}
    for name, predictions in scored.items():
        metrics, intervals = predictions.metrics()
        fallbacks = int((predictions.box_sources == "fallback").sum())
        table.add_column(f"{name}, {len(predictions.names)} images", justify="right")
        for metric, value in metrics.items():
            low, high = intervals[metric]
            rows.setdefault(metric, []).append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
        rows.setdefault("faces with a fallback box", []).append(str(fallbacks))
        figures[name] = {
            "metrics": metrics,
            "intervals": intervals,
            "images": len(predictions.names),
            "fallback_boxes": fallbacks,
        }
    for metric, cells in rows.items():
        table.add_row(metric, *cells)
    from experiments.report import terminal

    out = terminal()
    out.print(table)
    out.print("NME and FR in %, AUC between 0 and 1; [ ]: 95% interval, bootstrap over photographs")
    if not from_predictions:
        folder = run / "evaluation"
        folder.mkdir(exist_ok=True)
        stem = "-".join(names) + (f"-{checkpoint.stem}" if checkpoint is not None else "")
        save_predictions(folder / f"{stem}.npz", scored)
        write_json(folder / f"{stem}.json", {"checkpoint": str(checkpoint or "answering.ckpt"), **figures})
        out.print(f"files: {folder / stem}.json, .npz")
    return 0


def _read_result(run: Path) -> dict[str, Any]:
    path = run / "result.json"
    if not run.is_dir():
        raise UserError(f"{run}: no such run; give a folder below --runs_dir")
    if not path.is_file():
        raise UserError(f"{run}: no result.json, so this run isn't finished; give its command again to go on")
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error})") from error


def _synthetic(config: dict[str, Any]) -> SyntheticConfig:
    values = config["synthetic"]
    root = Path(values["root"]) if values["root"] is not None else None
    return SyntheticConfig(**{**values, "root": root, "generated": GeneratedConfig(**values.get("generated", {}))})


def _real(config: dict[str, Any]) -> RealConfig:
    values = config["real"]
    generated = TargetConfig(**values.get("generated", {}))
    return RealConfig(**{**values, "root": Path(values["root"]), "generated": generated})
