"""``domaingap data``: prepare crops, look at augmented faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table

from domaingap import sources
from domaingap.config import AugmentConfig, CropConfig
from domaingap.errors import UserError

if TYPE_CHECKING:
    from domaingap.data.readers import FaceSource


def crop_and_augment(
    config: Path | None, size: int | None, channels: str | None, box: str | None, strength: float | None = None
) -> tuple[CropConfig, AugmentConfig]:
    """Crop and augment settings of a recipe's configuration, with what the command line changes."""
    content = _read_config(config)
    changes = {key: value for key, value in {"size": size, "channels": channels, "box": box}.items() if value is not None}
    changed = {"strength": strength} if strength is not None else {}
    try:
        crop = CropConfig(**{**content.get("crop", {}), **changes})
        augment = AugmentConfig(**{**content.get("augment", {}), **changed})
    except TypeError as error:
        raise UserError(f"{config}: {error}") from error
    if crop.size < 16:
        raise UserError(f"--size is {crop.size}; at least 16 pixels are needed")
    return crop, augment


def _read_config(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        content = yaml.safe_load(config.read_text()) or {}
    except OSError as error:
        raise UserError(f"{config}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{config}:{mark.line + 1 if mark else 1}: not YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(content, dict):
        raise UserError(f"{config}: holds no settings")
    return content


def _open_sources(data_root: Path, name: str | None, config: Path | None) -> list[FaceSource]:
    """The data sets to look at: the named one; else those that a configuration makes, and those present as files unless it
    makes both domains."""
    from domaingap.data.readers import open_source, sources_in

    content = _read_config(config)
    sections: dict[str, dict[str, Any]] = {role: content.get(role) or {} for role in ("real", "synthetic")}
    if name is not None:
        wanted = [sources.source(name, setting="--source")]
    else:
        chosen = {role: section["source"] for role, section in sections.items() if "source" in section}
        wanted = [sources.source(chosen[role], setting=f"{role}.source") for role in chosen]
        wanted = [about for about in wanted if about.folder is None]
    try:
        opened = [open_source(s.name, data_root, generated=sections[s.role].get("generated")) for s in wanted]
    except TypeError as error:
        raise UserError(f"{config}: {error}") from error
    if name is None and len(opened) < len(sections):
        opened += [open_source(about.name, data_root) for about in sources_in(data_root)]
    return opened


def prepare(
    data_root: Path,
    prepared_dir: Path,
    config: Path | None,
    size: int | None,
    channels: str | None,
    box: str | None,
    source: str | None,
    workers: int | None,
) -> int:
    """Prepare every part that is present and print what was found."""
    from domaingap.data.prepare import prepare_part

    crop, _ = crop_and_augment(config, size, channels, box)
    table = Table(title=f"{crop.size} px {crop.channels} crops, boxes: {crop.box}", title_justify="left")
    for column in ("data set", "part", "faces", "published", "", "detector missed", "passed over", "prepared in"):
        table.add_column(column, justify="right" if column in ("faces", "published", "detector missed") else "left")
    failures: list[UserError] = []
    notes: list[str] = []
    for faces in _open_sources(data_root, source, config):
        about, parts = faces.source, faces.chosen()
        if absent := about.absent(parts):
            notes.append(f"{about.name}: a partial release; absent: {', '.join(absent)}")
        notes += [f"{about.name}: {terms}; {terms.citation}" for terms in sorted(faces.terms(), key=str)]
        for part in parts:
            try:
                prepared = prepare_part(faces, part, crop, prepared_dir, workers)
            except UserError as error:
                # One bad file in one part keeps no other part from being prepared.
                failures.append(error)
                continue
            meta = prepared.meta
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
        from domaingap.study.tables import terminal

        terminal().print(table)
        for note in notes:
            terminal().print(note, markup=False)
    if failures:
        more = f" (and {len(failures) - 1} more parts failed)" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{more}")
    return 0


def preview(
    data_root: Path,
    prepared_dir: Path,
    config: Path | None,
    size: int | None,
    channels: str | None,
    box: str | None,
    source: str | None,
    out: Path,
    strength: float | None,
    seed: int,
) -> int:
    """Write a sheet: a face a row, as stored first, then as training sees it at eight steps."""

    from domaingap.data.faces import FaceDataset, PreparedFaces
    from domaingap.data.prepare import prepare_part
    from domaingap.data.splits import seeded_order
    from domaingap.data.transforms import Augmenter
    from domaingap.pictures import GREEN, draw_face, save_picture, sheet

    crop, augment = crop_and_augment(config, size, channels, box, strength)
    tiles = []
    for data_set in _open_sources(data_root, source, config):
        faces = PreparedFaces([prepare_part(data_set, data_set.chosen()[0], crop, prepared_dir)])
        positions = seeded_order(faces.names.tolist(), faces.photographs.tolist(), seed)[:5]
        plain = FaceDataset(faces, positions)
        augmented = FaceDataset(faces, positions, Augmenter(crop, augment, seed))
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
    print(f"{len(tiles) // 9} faces with 8 looks each (strength {augment.strength:g}): {out}")
    return 0
