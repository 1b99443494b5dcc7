"""Tables of finished runs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from domaingap.errors import UserError
from domaingap.hashing import write_atomically
from domaingap.progress import console as notices
from experiments.result import Result

Content = dict[str, Any]
Rows = list[list[str]]

TEST_ORDER = ("common", "challenging", "full", "private")

# The table of the original study (protocol, section 5); what its minutes and losses were measured in isn't known.
ORIGINAL_STUDY = {
    "resnet18": ("10000", "173", "0.0205", "0.0179", "83"),
    "resnet50": ("10000", "192", "0.0169", "0.0147", "99"),
    "legacy_xception": ("10000", "206", "0.0214", "0.0184", "87"),
}


def terminal() -> Console:
    """Where tables are printed: standard output, not cut at 80 characters when that is a pipe."""
    out = Console(highlight=False, soft_wrap=True)
    return out if out.is_terminal else Console(highlight=False, soft_wrap=True, width=200)


def summary(result: Result) -> None:
    """Print a run's figures and where its files are."""
    content = result.content
    table = Table(title=result.content["name"], title_justify="left")
    for column in ("faces", "images", "NME %", "95% interval", "FR@8 %", "AUC@8", "NME without jaw"):
        table.add_column(column, justify="left" if column == "faces" else "right")
    for name, count in content["counts"].items():
        metrics, interval = content["metrics"], content["intervals"][f"{name}/nme"]
        table.add_row(
            name.removeprefix("test/") + _partial(count),
            str(count["images"]),
            f"{metrics[f'{name}/nme']:.2f}",
            f"{interval[0]:.2f} to {interval[1]:.2f}",
            f"{metrics[f'{name}/fr@8']:.1f}",
            f"{metrics[f'{name}/auc@8']:.3f}",
            f"{metrics[f'{name}/nme_no_jaw']:.2f}",
        )
    out = terminal()
    out.print(table)
    out.print(
        f"trained on {_budget(content)} real and {content['n_synthetic']} synthetic images; "
        f"checkpoint by {content['selection']}; "
        f"{content['steps_answering']} steps; boxes: {content['box_rule']}; {_minutes(content['wall_time_s'])}"
    )
    out.print(f"files: {result.folder} (result.json, predictions.npz, val_faces.png, checkpoints/)")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _partial(count: Content) -> str:
    if not count["partial"]:
        return ""
    if count["images"] != sum(count["parts"].values()):
        return " (of a partial release)"  # drawn from the parts, not all of them
    return f" (partial: {count['images']} of {count['published']})" if count["published"] else " (partial)"


def _budget(content: Content) -> str:
    """Real images as ``n + 300``: fitted on, plus those that picked something."""
    n, extra = content["n_real_train"], content["n_real_selection"]
    return f"{n} + {extra}" if extra else str(n)


def report(
    runs_dir: Path, format: Literal["table", "markdown", "csv"], style: Literal["gap", "original_study"], out: Path | None
) -> None:
    """Print the table of all finished runs below a folder, or write it to a file."""
    from domaingap.results import read_results

    results = [content for _, content in read_results(runs_dir)]
    if not results:
        raise UserError(f"{runs_dir}: no finished run (no result.json) in it; start with 'domaingap run real_only'")
    header, rows, notes = gap_table(results) if style == "gap" else original_study_table(results)
    if format == "table" and out is None:
        table = Table()
        for i, column in enumerate(header):
            table.add_column(column, justify="right" if i > 1 else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        output = terminal()
        output.print(table)
        for note in notes:
            output.print(note)
        return
    text = _csv(header, rows) if format == "csv" else _markdown(header, rows, notes)
    if out is None:
        print(text, end="")
    else:
        try:
            write_atomically(out, text)
        except OSError as error:
            raise UserError(f"{out}: can't be written ({error.strerror})") from error
        notices.print(f"{len(rows)} rows written to {out}")


def gap_table(results: Sequence[Content]) -> tuple[list[str], Rows, list[str]]:
    """Runs that differ in their seed alone in one row: NME on validation and every test set, with intervals."""
    from domaingap.statistics import t_interval

    groups: dict[tuple[Any, ...], list[Content]] = {}
    for content in sorted(results, key=_order):
        groups.setdefault(_group(content), []).append(content)
    sets = [name for name in TEST_ORDER if any(f"test/{name}/nme" in content["metrics"] for content in results)]
    header = ["strategy", "network", "real images", "synthetic", "steps", "picked by", "seeds", "val NME %"]
    header += [f"{name.capitalize()} NME %" for name in sets] + ([f"{sets[0].capitalize()} FR@8 %", "AUC@8"] if sets else [])
    rows = []
    for members in groups.values():
        first, crop = members[0], members[0]["config"]["crop"]
        label = first["recipe"] + (f" α={first['alpha']:g}" if first["alpha"] is not None else "")
        synthetic = first["data"].get("synthetic")
        row = [
            label,
            f"{first['config']['model']['backbone']} {crop['size']} {crop['channels']}",
            _budget(first),
            f"{first['n_synthetic']} {synthetic['source']}" if synthetic else "0",
            str(first["steps_answering"]),
            first["selection"],
            str(len(members)),
        ]
        for name in ["val", *(f"test/{name}" for name in sets)]:
            values = [m["metrics"][f"{name}/nme"] for m in members if f"{name}/nme" in m["metrics"]]
            if not values:
                row.append("-")
            elif len(values) > 1:
                mean, low, high = t_interval(values)
                row.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
            else:
                low, high = first["intervals"][f"{name}/nme"]
                row.append(f"{values[0]:.2f} [{low:.2f}, {high:.2f}]")
        if sets:
            for metric, digits in (("fr@8", 1), ("auc@8", 3)):
                values = [
                    m["metrics"][f"test/{sets[0]}/{metric}"] for m in members if f"test/{sets[0]}/{metric}" in m["metrics"]
                ]
                row.append(f"{sum(values) / len(values):.{digits}f}" if values else "-")
        rows.append(row)
    return header, rows, _notes(results, sets)


def _group(content: Content) -> tuple[Any, ...]:
    """What runs share that differ in their seed alone."""
    import json

    own = ("seed", "runs_dir", "prepared_dir", "data_root", "wandb")
    config = {key: value for key, value in content["config"].items() if key not in own}
    data = tuple(data["fingerprint"] for data in content["data"].values())
    return (content["recipe"], json.dumps(config, sort_keys=True), data)


def _order(content: Content) -> tuple[Any, ...]:
    recipes = ("real_only", "synthetic_only", "label_adaptation", "data_adaptation", "mixing", "fine_tuning")
    recipe = content["recipe"]
    rank = recipes.index(recipe) if recipe in recipes else len(recipes)
    return (content["n_real_train"] if recipe != "synthetic_only" else -1, rank, content["selection"], content["name"])


def _notes(results: Sequence[Content], sets: Sequence[str]) -> list[str]:
    notes = [
        "real images: trained on + used to pick a checkpoint. NME in % of the outer eye corners' distance, in image pixels.",
        "[ ]: 95% interval, over seeds (Student's t) where there are several, else over images (bootstrap of photographs).",
    ]
    for name in ["val", *(f"test/{name}" for name in sets)]:
        seen = Counter(
            (c["counts"][name]["images"], c["counts"][name]["fallback_boxes"], _partial(c["counts"][name]), c["box_rule"])
            for c in results
            if name in c["counts"]
        )
        for (images, fallbacks, partial, rule), runs in seen.items():
            where = f" in {runs} of {len(results)} runs" if len(seen) > 1 else ""
            notes.append(
                f"{name.removeprefix('test/')}{partial}: {images} images, boxes {rule}, "
                f"{fallbacks} of them fell back to the landmarks' box{where}."
            )
    return notes


def original_study_table(results: Sequence[Content]) -> tuple[list[str], Rows, list[str]]:
    """Synthetic-only runs beside the original study's published row of the same network."""
    header = ["network", "", "images", "minutes", "training loss", "best validation loss", "best epoch", "settings"]
    rows: Rows = []
    for content in sorted(results, key=_order):
        model, fit = content["config"]["model"], content["stages"][0]["fit"]
        if content["recipe"] != "synthetic_only" or model["backbone"] not in ORIGINAL_STUDY:
            continue
        stage = content["stages"][0]
        best = stage["best"]["source_val"]
        per_epoch = -(-stage["n_train"] // fit["batch_size"])
        n = content["n_synthetic"] + content["n_synthetic_selection"]
        settings = f"{fit['steps'] / per_epoch:g} epochs, lr {fit['lr']:g}, {content['config']['crop']['size']} px"
        settings += ", pretrained" if model["pretrained"] else ", from scratch"
        rows.append([model["backbone"], "published", *ORIGINAL_STUDY[model["backbone"]], "100 epochs, 128 px"])
        rows.append(
            [
                model["backbone"],
                "here",
                str(n),
                f"{stage['seconds'] / 60:.1f}",
                f"{stage['train_loss']:.4f}",
                f"{best['source_val/loss']:.4f}",
                f"{best['step'] / per_epoch:g}",
                settings,
            ]
        )
    if not rows:
        raise UserError(
            "no synthetic_only run of resnet18, resnet50 or legacy_xception among these; see configs/original_study"
        )
    notes = [
        "losses: RMSE in units of the crop's side, on the synthetic hold-out for validation; the published table's unit,",
        "and that of its minutes, isn't known. A reduced number of images or epochs is named in its row.",
    ]
    return header, rows, notes


def _csv(header: Sequence[str], rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def _markdown(header: Sequence[str], rows: Rows, notes: Sequence[str]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{note}  " for note in notes)]) + "\n"
