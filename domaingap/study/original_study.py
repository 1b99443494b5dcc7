"""Runs on synthetic data alone beside the original study's published table (protocol, section 5)."""

from __future__ import annotations

from collections.abc import Sequence

from domaingap.errors import UserError
from domaingap.study.compare import Strategies, grouped
from domaingap.study.record import RunRecord
from domaingap.study.tables import Column, Table, number, number_column

# What its minutes and losses were measured in isn't known.
PUBLISHED = {
    "resnet18": (10000, 173, 0.0205, 0.0179, 83),
    "resnet50": (10000, 192, 0.0169, 0.0147, 99),
    "legacy_xception": (10000, 206, 0.0214, 0.0184, 87),
}


def original_study_table(records: Sequence[RunRecord], strategies: Strategies) -> Table:
    """Runs of the three networks, each below the published row.

    Raises:
        UserError: no such run.
    """
    rows = []
    for record in (run for group in grouped(records, strategies) for run in group.runs):
        model, stage = record.identity["model"], record.stages[0]
        best, fit = stage.best.get("source_val", {}), stage.fit
        if (
            not strategies.is_floor(record)
            or model["backbone"] not in PUBLISHED
            or not {"step", "source_val/loss"} <= set(best)
        ):
            continue
        per_epoch = -(-stage.n_train // fit["batch_size"])
        settings = f"{fit['steps'] / per_epoch:g} epochs, lr {fit['lr']:g}, {record.identity['crop']['size']} px"
        settings += ", pretrained" if model["pretrained"] else ", from scratch"
        images = record.n_synthetic + record.n_synthetic_selection
        own = (images, stage.seconds / 60, stage.train_loss, best["source_val/loss"], best["step"] / per_epoch)
        rows.append([model["backbone"], "published", *PUBLISHED[model["backbone"]], "100 epochs, 128 px"])
        rows.append([model["backbone"], "here", *own, settings])
    if not rows:
        raise UserError(
            "no synthetic_only run of resnet18, resnet50 or legacy_xception among these; see configs/original_study"
        )
    minutes = number_column("minutes", lambda value: str(value) if isinstance(value, int) else f"{value:.1f}")
    columns = [
        Column("network"), Column(""), number_column("images"), minutes, number_column("training loss", number(4)),
        number_column("best validation loss", number(4)), number_column("best epoch", lambda value: f"{value:g}"),
        Column("settings"),
    ]  # fmt: skip
    notes = [
        "losses: RMSE in units of the crop's side, on the synthetic hold-out for validation; the published table's unit,",
        "and that of its minutes, isn't known. A reduced number of images or epochs is named in its row.",
    ]
    return Table("", columns, rows, notes)
