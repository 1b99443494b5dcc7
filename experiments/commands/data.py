"""``domaingap data``: prepare crops, look at augmented faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from domaingap import sources
from domaingap.config import RealConfig, SyntheticConfig
from domaingap.errors import SettingError, UserError, printable
from domaingap.paths import check_file, check_folder
from domaingap.study.arguments import parse_settings
from domaingap.study.recipe import Answer, Recipe
from domaingap.study.tables import terminal
from experiments.settings import Everything

if TYPE_CHECKING:
    from domaingap.data.readers import FaceSource


SHOWN = 5
"""Faces that are named where some are left out; the rest are counted."""


def RECIPE(run: Any, s: Any) -> Answer:
    """Stands for the recipe where a configuration is read whose recipe isn't known."""
    raise NotImplementedError


OPTIONS = {"crop.size": "--size", "crop.channels": "--channels", "crop.box": "--box", "augment.strength": "--strength"}
"""What these commands call settings."""


def read_settings(config: Path | None, options: dict[str, Any]) -> Any:
    """Settings of a recipe's configuration, with what the command line changes.

    Args:
        config: the configuration.
        options: settings by key; None leaves what the configuration says.
    """
    arguments = [f"--config={config}"] if config is not None else []
    arguments += [f"--{key}={value}" for key, value in options.items() if value is not None]
    try:
        settings = parse_settings(Recipe(RECIPE, Everything), arguments)
    except SettingError as error:
        if error.key in OPTIONS:
            raise UserError(f"{OPTIONS[error.key]} {error.problem}") from error
        raise
    check_folder(settings.prepared_dir, "--prepared_dir")
    return settings


def _open_sources(settings: Any, name: str | None) -> list[FaceSource]:
    """The data sets to look at: the named one; else those that a configuration makes, and those present as files unless it
    makes both domains."""
    from domaingap.data.readers import open_source, sources_in

    sections: dict[str, RealConfig | SyntheticConfig] = {"real": settings.real, "synthetic": settings.synthetic}
    if name is not None:
        wanted = [sources.source(name, setting="--source")]
    else:
        wanted = [about for section in sections.values() if (about := sources.source(section.source)).folder is None]
    opened = [open_source(s.name, settings.data_root, generated=sections[s.role].generated) for s in wanted]
    if name is None and len(opened) < len(sections):
        opened += [open_source(about.name, settings.data_root) for about in sources_in(settings.data_root)]
    return opened


def prepare(
    data_root: Path | None,
    prepared_dir: Path | None,
    config: Path | None,
    size: int | None,
    channels: str | None,
    box: str | None,
    source: str | None,
    workers: int | None,
) -> int:
    """Prepare every part that is present and print what was found."""
    from domaingap.data.prepare import prepare_part
    from domaingap.data.readers import Reader

    options = {"data_root": data_root, "prepared_dir": prepared_dir, "crop.size": size}
    settings = read_settings(config, {**options, "crop.channels": channels, "crop.box": box})
    crop = settings.crop
    table = Table(title=f"{crop.size} px {crop.channels} crops, boxes: {crop.box}", title_justify="left")
    for column in ("data set", "part", "faces", "published", "", "detector missed", "passed over", "prepared in"):
        table.add_column(column, justify="right" if column in ("faces", "published", "detector missed") else "left")
    failures: list[UserError] = []
    notes: list[str] = []
    for faces in _open_sources(settings, source):
        about = faces.source
        try:
            parts = faces.chosen()
        except UserError as error:
            failures.append(error)
            continue
        if absent := about.absent(parts):
            notes.append(f"{about.name}: a partial release; absent: {', '.join(absent)}")
        if isinstance(faces, Reader) and (strangers := faces.strangers()):
            notes.append(f"{about.name}: passed over, since no part is called so: {', '.join(strangers)}")
        notes += [f"{about.name}: {terms}; {terms.citation}" for terms in sorted(faces.terms(), key=str)]
        for part in parts:
            try:
                prepared = prepare_part(faces, part, crop, settings.prepared_dir, workers)
            except UserError as error:
                # One bad file in one part keeps no other part from being prepared.
                failures.append(error)
                continue
            meta = prepared.meta
            left_out: dict[str, str] = meta["left_out"]
            notes += [f"{about.name} {part}: left out {name}: {why}" for name, why in list(left_out.items())[:SHOWN]]
            if len(left_out) > SHOWN:
                rest = len(left_out) - SHOWN
                notes.append(f"{about.name} {part}: left out {rest} more, named in {prepared.folder / 'manifest.json'}")
            notes += [f"{about.name} {part}: {n} doubtful: {why}" for why, n in meta["doubts"].items()]
            table.add_row(
                about.name,
                part,
                str(meta["n_faces"]),
                str(meta["n_published"] or "-"),
                "partial" if meta["partial"] else "complete" if meta["n_published"] else "",
                str(meta["box_sources"].get("fallback", 0)) if about.box_rule(crop.box) == "mtcnn" else "-",
                ", ".join(f"{n} {why}" for why, n in meta["skipped"].items()),
                str(prepared.folder),
            )
    if table.rows:
        terminal().print(table)
        for note in notes:
            terminal().print(printable(note), markup=False)
    if failures:
        more = f" (and {len(failures) - 1} more parts failed)" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{more}")
    return 0


def preview(
    data_root: Path | None,
    prepared_dir: Path | None,
    config: Path | None,
    size: int | None,
    channels: str | None,
    box: str | None,
    source: str | None,
    out: Path,
    strength: float | None,
    seed: int | None,
) -> int:
    """Write a sheet: a face a row, as stored first, then as training sees it at eight steps."""

    from domaingap.data.faces import FaceDataset, PreparedFaces
    from domaingap.data.prepare import prepare_part
    from domaingap.data.splits import seeded_order
    from domaingap.data.transforms import Augmenter
    from domaingap.pictures import GREEN, draw_face, save_picture, sheet

    options = {"data_root": data_root, "prepared_dir": prepared_dir, "crop.size": size, "crop.channels": channels}
    settings = read_settings(config, {**options, "crop.box": box, "augment.strength": strength, "seed": seed})
    crop, augment = settings.crop, settings.augment
    check_file(out, "--out")
    tiles = []
    for data_set in _open_sources(settings, source):
        faces = PreparedFaces([prepare_part(data_set, data_set.chosen()[0], crop, settings.prepared_dir)])
        positions = seeded_order(faces.names.tolist(), faces.photographs.tolist(), settings.seed)[:5]
        plain = FaceDataset(faces, positions)
        augmented = FaceDataset(faces, positions, Augmenter(crop, augment, settings.seed))
        for row in range(len(positions)):
            items = [plain[row], *(augmented[(step, row, 0)] for step in range(8))]
            captions = [
                f"{data_set.source.name} {faces.names[positions[row]]}"[-32:],
                *(f"step {step}" for step in range(8)),
            ]
            tiles += [
                draw_face(item["image"].numpy(), [(item["landmarks"].numpy(), GREEN)], side=192, caption=caption)
                for item, caption in zip(items, captions, strict=True)
            ]
    save_picture(out, sheet(tiles, 9), "--out")
    terminal().print(f"{len(tiles) // 9} faces with 8 looks each (strength {augment.strength:g}): {out}")
    return 0
