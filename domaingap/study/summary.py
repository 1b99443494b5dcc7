"""A run's figures for a person: a table of the sets that it was scored on, and what stands behind them."""

from __future__ import annotations

from rich.table import Table

from domaingap.progress import terminal
from domaingap.study.record import AdapterRecord, RunRecord, SetRecord


def print_summary(record: RunRecord) -> None:
    """Print a run's figures and where its files are."""
    table = Table(title=record.name, title_justify="left")
    for column in ("faces", "images", "NME %", "95% interval", "FR@8 %", "AUC@8", "NME without jaw"):
        table.add_column(column, justify="left" if column == "faces" else "right")
    for name, count in record.counts.items():
        figures = {metric: record.metrics[f"{name}/{metric}"] for metric in ("nme", "fr@8", "auc@8", "nme_no_jaw")}
        nme, failures, area, inner = (float("nan") if value is None else value for value in figures.values())
        low, high = record.intervals[f"{name}/nme"]
        table.add_row(
            name.removeprefix("test/") + partial(count), str(count.images), f"{nme:.2f}", f"{low:.2f} to {high:.2f}",
            f"{failures:.1f}", f"{area:.3f}", f"{inner:.2f}",
        )  # fmt: skip
    out = terminal()
    out.print(table)
    lines = [
        f"trained on {record.n_real} real and {record.n_synthetic} synthetic images; "
        f"checkpoint{' and adapter' if record.adapter else ''} by {record.selection}; "
        f"{record.steps_answering} steps; boxes: {record.box_rule}; {record.wall_time_s / 60:.1f} min"
    ]
    if record.start is not None and not record.start.known:
        lines.append(f"started from {record.start.checkpoint}, which doesn't say what it had seen: an unknown start")
    if adapter := record.adapter:
        lines.append(f"label adapter for {adapter.use}: {describe_adapter(adapter)}")
        lines += [f"warning: {adapter.warning}"] if adapter.warning else []
        lines += [f"caution: {adapter.movement_warning}"] if adapter.movement_warning else []
    pictures = "val_faces.png" + (", adapter.png" if record.adapter else "")
    lines.append(f"files: {record.folder} (result.json, predictions.npz, {pictures}, checkpoints/)")
    for line in lines:
        out.print(line, markup=False)


def describe_adapter(record: AdapterRecord) -> str:
    """One line on an adapter: what was chosen, and how far it moves predictions and exact labels."""
    setting = {"linear": "ridge penalty", "mlp": "epochs"}.get(record.kind)
    details = [f"{setting} {record.setting:g}"] if setting else []
    details += [f"strength {record.strength:g}"] if setting and record.strength != 1 else []
    spread = float("nan") if record.spread_ratio is None else record.spread_ratio
    return (
        f"{record.kind}"
        + (f" ({', '.join(details)})" if details else "")
        + f" by {record.chosen_on}, NME {record.nme_before:.2f} to {record.nme:.2f}; "
        + f"moves predictions {record.movement_predictions['all']:.2f}%, "
        + f"true synthetic labels {record.movement_labels['all']:.2f}%, of whose spread {spread:.2f} is left"
    )


def partial(count: SetRecord) -> str:
    """What to put behind a set's name where it isn't whole."""
    if not count.partial:
        return ""
    if count.images != sum(count.parts.values()):
        return " (of a partial release)"  # drawn from the parts, not all of them
    return f" (partial: {count.images} of {count.published})" if count.published else " (partial)"
