"""``domaingap evaluate``: score a finished run's network again, or recompute its metrics from its predictions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domaingap.errors import UserError
from domaingap.hashing import write_json
from domaingap.sources import source
from experiments.commands.evaluate_clips import evaluate_clips, is_clips
from experiments.recipes import RECIPES

if TYPE_CHECKING:
    from domaingap.predictions import Predictions
    from domaingap.study.record import RunRecord


def evaluate(
    run: Path,
    on: str | None,
    data_root: Path | None,
    prepared_dir: Path | None,
    checkpoint: Path | None,
    from_predictions: bool,
    faces_from: str | None,
    smooth: bool,
) -> int:
    """Score a run's network on sets of faces or clips; print and keep the figures below ``RUN/evaluation/``."""
    from domaingap.data.readers.ibug300vw import NAME, SETS, holds_clips
    from domaingap.paths import expand
    from domaingap.predictions import load_predictions, save_predictions
    from domaingap.study.record import read_record
    from domaingap.study.tables import terminal

    if not run.is_dir():
        problem = "a file, no run" if run.exists() else "no such run"
        raise UserError(f"{run}: {problem}; give a folder below --runs_dir")
    if not (run / "result.json").is_file():
        raise UserError(f"{run}: no result.json, so this run isn't finished; give its command again to go on")
    record = read_record(run / "result.json")
    tests = [name.removeprefix("test/") for name in record.counts if name.startswith("test/")]
    wanted = on if on is not None else "common" if "common" in tests or not tests else tests[0]
    # A folder's name may hold a comma.
    asked = [wanted] if _is_folder(wanted) else wanted.split(",")
    names = list(dict.fromkeys(name.strip() for name in asked if name.strip()))
    if not names:
        raise UserError("--on names no set; give val, common, challenging, full or private")
    if len(names) == 1 and names[0] not in SETS and _is_folder(names[0]) and holds_clips(expand(names[0])):
        data_root, names = expand(names[0]), [NAME]
    clips = [name for name in names if is_clips(name)]
    if clips and len(clips) < len(names):
        other = next(name for name in names if name not in clips)
        raise UserError(f"--on names clips ({clips[0]}) and faces ({other}); give them in two commands")
    if clips:
        if from_predictions:
            raise UserError("--from_predictions is of faces; of clips nothing that was scored before is computed again")
        return evaluate_clips(run, clips, data_root, checkpoint, faces_from, smooth)
    if faces_from is not None or smooth:
        raise UserError("--faces_from and --smooth are of clips, such as --on 300vw; leave them out")
    if from_predictions:
        kept = load_predictions(run / "predictions.npz")
        if missing := [name for name in names if name not in kept]:
            raise UserError(f"{run}: predictions.npz has no {missing[0]!r}; it has {', '.join(kept)}")
        scored = {name: kept[name] for name in names}
    else:
        scored = _score(record, names, data_root, prepared_dir, checkpoint)
    figures = _print(f"{record.name}{' from predictions.npz' if from_predictions else ''}", scored)
    terminal().print(_licences(record, checkpoint), markup=False)
    if not from_predictions:
        folder = run / "evaluation"
        folder.mkdir(exist_ok=True)
        stem = "-".join(scored) + (f"-{checkpoint.stem}" if checkpoint is not None else "")
        save_predictions(folder / f"{stem}.npz", scored)
        write_json(folder / f"{stem}.json", {"checkpoint": str(checkpoint or "answering.ckpt"), **figures})
        terminal().print(f"files: {folder / stem}.json, .npz", markup=False)
    return 0


def _licences(record: RunRecord, checkpoint: Path | None) -> str:
    """What the scored network may be used for."""
    from domaingap.provenance import licence_line

    if checkpoint is None:
        return licence_line(record.licences, record.non_commercial)
    from domaingap.stages import checkpoint_seen

    seen = checkpoint_seen(checkpoint)
    return licence_line(seen.named(), seen.non_commercial)


def _score(
    record: RunRecord, names: list[str], data_root: Path | None, prepared_dir: Path | None, checkpoint: Path | None
) -> dict[str, Predictions]:
    """A network's answers on sets by name, moved by the run's adapter for predictions where it has one."""
    from domaingap.data.readers.ibug300vw import SETS
    from domaingap.models.regressor import load_network
    from domaingap.study.other_faces import layouts
    from domaingap.study.record import typed
    from domaingap.study.run import CHECKPOINT, open_real, open_synthetic, score_sets

    if record.recipe not in RECIPES:
        raise UserError(f"{record.folder}: a run of {record.recipe}, which isn't a recipe here; known: {', '.join(RECIPES)}")
    settings = typed(RECIPES[record.recipe].settings, record.config, f"{record.folder / 'result.json'}: config")
    known = ["val", *(["source_val"] if hasattr(settings, "synthetic") else []), *source(settings.real.source).test_sets]
    others = [name for name in names if name not in known]
    if unknown := [name for name in others if not _is_folder(name) and name not in layouts()]:
        raise UserError(
            f"--on is {unknown[0]}, and there is no such set; known: {', '.join([*known, *layouts(), *SETS])}, or a folder"
        )
    roots = {"data_root": data_root, "prepared_dir": prepared_dir}
    settings = replace(settings, **{name: path for name, path in roots.items() if path is not None})  # type: ignore[arg-type]
    path = checkpoint or record.folder / CHECKPOINT
    network, crop = load_network(path), settings.crop
    network.mirror_test = settings.mirror_test
    own = (network.hparams["in_channels"], network.input_size)
    if own != (crop.n_channels, crop.size):
        raise UserError(
            f"{path}: a network for {own[1]} px crops of {own[0]} channels; the run has {crop.size} px {crop.channels}"
        )
    sets: dict[str, Any] = {}
    own_sets = [name for name in names if name in known]
    real = open_real(settings, settings.real) if set(own_sets) - {"source_val"} else None
    for name in own_sets:
        if name == "source_val":
            sets[name] = open_synthetic(settings).val_set()
        elif real is not None and name == "val":
            sets[name] = real.val_set()
        elif real is not None and name in real.test_positions:
            sets[name] = real.test_set(name)
        else:
            there = real.test_positions if real is not None else {}
            raise UserError(f"--on: no set {name!r} here; there are val, {', '.join(there) or 'no test sets'}")
    for name in others:
        _add_others(sets, name, settings, path)
    return score_sets(record.folder, network, sets)


def _is_folder(name: str) -> bool:
    """Whether ``--on`` means a folder rather than a set."""
    return os.sep in name or name in (".", "..") or (name.startswith("~")) or Path(name).is_dir()


def _add_others(sets: dict[str, Any], name: str, settings: Any, checkpoint: Path) -> None:
    """Add the sets of faces of a data set that isn't the run's own, by name or by folder."""
    from domaingap.paths import expand
    from domaingap.progress import console
    from domaingap.stages import checkpoint_seen
    from domaingap.study.other_faces import layouts, open_other_faces

    folder = None if name in layouts() else expand(name)
    found = open_other_faces(name, folder, settings.data_root, settings.prepared_dir, settings.crop)
    trained_on = checkpoint_seen(checkpoint)
    for label, dataset in found.sets.items():
        if label in sets:
            raise UserError(f"--on: {label} stands for two sets of faces; give them in two commands")
        sets[label] = dataset
        if n := len(trained_on.real & dataset.seen().real):
            console.print(f"caution: the network was trained on {n} of the {len(dataset)} faces of {label} in {found.where}")


def _print(title: str, scored: Mapping[str, Predictions]) -> dict[str, Any]:
    """Print every metric of every set with its interval; the same as numbers."""
    from rich.table import Table

    from domaingap.study.tables import terminal

    table = Table(title=title, title_justify="left")
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
        images = len(predictions.names)
        figures[name] = {"metrics": metrics, "intervals": intervals, "images": images, "fallback_boxes": fallbacks}
    for metric, cells in rows.items():
        table.add_row(metric, *cells)
    terminal().print(table)
    if any("sigma_rms_z" in of["metrics"] for of in figures.values()):
        from domaingap.study.report_tables import SIGMA_RULE

        terminal().print(SIGMA_RULE, markup=False)
    terminal().print("NME and FR in %, AUC between 0 and 1; [ ]: 95% interval, bootstrap over photographs", markup=False)
    return figures
