"""``domaingap data generate``: faces with exact labels as files, or a sheet of them."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from domaingap.config import FACE_PARTS, POPULATION, CropConfig, Geometry, PopulationConfig, parts_named
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.crops import apply_transform, crop_transform, cut_crop
from domaingap.errors import SettingError, UserError
from domaingap.paths import check_file, check_folder
from domaingap.settings_files import settings_in, text_file
from domaingap.study.tables import terminal

if TYPE_CHECKING:
    from domaingap.data.generated import FaceGenerator

GAPS = ("label_gap", "appearance_gap", "population_gap")
MODELS = {
    "avatars": "VALID's avatars (data fetch valid_avatars)",
    "ict": "ICT-FaceKit (data fetch ict_facekit)",
    "both": "ICT-FaceKit (data fetch ict_facekit)",
}
DENSE = 320
"""Dense points, unless another number is asked for: as many as one tells a face's shape by."""
_HALF = 5  # faces in a row of a sheet's half, where photographs are beside them
SHEET, LARGEST_SHEET = 24, 600
"""Faces of a preview, unless another number is asked for, and at most."""


def generate(
    domain: str,
    n: int | None,
    out: Path | None,
    seed: int,
    size: int,
    label_gap: float | None,
    appearance_gap: float | None,
    population_gap: float | None,
    preview: Path | None,
    plain: bool,
    workers: int | None,
    geometry: Geometry = "built-in",
    model: Path | None = None,
    albedo: Path | None = None,
    light: Path | None = None,
    labels: str = "rendered",
    without: str = "",
    landmarks: str = "68",
    points: int | None = None,
    prepared_dir: Path = Path("prepared"),
    population: Path | None = None,
    beside: Path | None = None,
    backgrounds: Path | None = None,
) -> int:
    """Write faces to a folder in FaceSynthetics' layout, a sheet of the first ones, or both.

    Args:
        domain: synthetic or target.
        n: faces; by default 100, or as many as a sheet has where nothing else is written.
        out: the folder.
        seed: of the whole set: face i of a seed is always the same.
        size: side of the pictures in pixels.
        label_gap: a gap of the target domain, 0 to 1; each is 1 there by default.
        appearance_gap: likewise.
        population_gap: likewise.
        preview: the sheet's PNG.
        plain: draw no landmarks into it.
        workers: processes; all cores by default.
        geometry: built-in, avatars, ict, or both: ICT-FaceKit's heads and the avatars' in turn.
        model: folder of the avatars or of ICT-FaceKit (both: of the latter).
        albedo: folder of the avatars whose colour maps ICT-FaceKit's heads get.
        light: folder of HDRIs.
        labels: rendered, or people, of the synthetic domain.
        landmarks: 68, or dense: many points in the picture and in space beside them.
        points: how many dense ones; 320 by default.
        without: what heads with colour maps are to lack, comma-separated.
        prepared_dir: where compact copies of models are kept.
        population: YAML file of who is drawn, of heads with colour maps (config.PopulationConfig's names).
        backgrounds: folder of pictures that stand behind half of the faces.
        beside: folder of data sets whose 300-W photographs stand on the other half of the sheet.
    """
    if out is None and preview is None:
        raise UserError("nothing to write; give --out FOLDER for files, --preview FILE.png for a sheet, or both")
    number = n if n is not None else 100 if out is not None else SHEET
    if out is None and number > LARGEST_SHEET:
        raise UserError(f"--n is {number}; a sheet holds {LARGEST_SHEET} faces at most; give --out for more")
    gaps = dict(zip(GAPS, (label_gap, appearance_gap, population_gap), strict=True))
    for name, value in gaps.items():
        if value is not None and domain != "target":
            raise UserError(f"--{name} belongs to --domain target; the synthetic domain has no gap")
    if labels != "rendered" and domain == "target":
        raise UserError("--labels belongs to --domain synthetic; the target domain has --label_gap")
    if points is not None and landmarks != "dense":
        raise UserError("--points goes with --landmarks dense")
    parts = parts_named(without)
    if unknown := sorted(set(parts) - set(FACE_PARTS)):
        raise UserError(f"--without names {unknown[0]}; there are {', '.join(FACE_PARTS)}")
    people = check_heads(geometry, model, albedo, light, population, backgrounds)
    if beside is not None and preview is None:
        raise UserError("--beside goes with --preview FILE.png")
    if out is not None:
        check_folder(out, "--out")
    if preview is not None:
        check_file(preview, "--preview")
    from domaingap.data.generated import Dials
    from domaingap.data.generated.sets import generator_of
    from domaingap.data.render import write_faces

    dials = Dials(**{name: 1.0 if value is None else value for name, value in gaps.items()} if domain == "target" else {})
    generator = generator_of(
        domain, seed, geometry, model, albedo, light, prepared_dir, backgrounds, dials=dials, labels=labels, without=parts,
        dense=(points or DENSE) if landmarks == "dense" else 0, population=people,
    )  # fmt: skip
    if geometry != "built-in":
        terminal().print("terms: " + "; ".join(sorted(map(str, generator.terms()))), markup=False)
    if out is not None:
        began = time.monotonic()
        written = write_faces(generator, number, size, out, workers)
        seconds = time.monotonic() - began
        how = f"all {written.total} there already" if not written.made else f"{written.made} made in {seconds:.1f} s"
        if 0 < written.made < written.total:
            how += f", {written.total - written.made} there already"
        speed = f" ({written.made / seconds:.0f} faces/s)" if written.made else ""
        terminal().print(f"{written.total} {domain} faces, {how}{speed}: {out}")
    if preview is not None:
        shown = min(number, SHEET) if out is not None else number
        _write_sheet(generator, shown, size, preview, plain, beside)
        terminal().print(f"{shown} {domain} faces{' beside as many photographs' if beside is not None else ''}: {preview}")
    return 0


def check_heads(
    geometry: Geometry,
    model: Path | None,
    albedo: Path | None,
    light: Path | None,
    population: Path | None,
    backgrounds: Path | None = None,
) -> PopulationConfig:
    """Who is drawn; UserError where options of heads don't go together."""
    if geometry == "built-in":
        given = {"model": model, "albedo": albedo, "light": light, "population": population, "backgrounds": backgrounds}
        for name, path in given.items():
            if path is not None:
                raise UserError(f"--{name} goes with --geometry avatars, ict or both; the built-in head takes no files")
    elif model is None:
        raise UserError(f"--geometry {geometry} needs --model, the folder of {MODELS[geometry]}")
    return read_population(population) if population is not None else POPULATION


def read_population(path: Path) -> PopulationConfig:
    """Who is drawn, from a YAML file of PopulationConfig's names; what it doesn't name is as by default.

    Raises:
        UserError: with file and line: a name or a value that isn't one.
    """
    what = "--population a YAML file such as 'yaw: 25'"
    found = settings_in(text_file(path, what), str(path), what)
    names = [item.name for item in fields(PopulationConfig)]
    for key, line in found.lines.items():
        if key not in names:
            raise UserError(f"{path}:{line}: unknown name {key}; known: {', '.join(names)}")
    try:
        return PopulationConfig(**found.content)
    except SettingError as error:
        name = error.key.rpartition(".")[2]
        raise UserError(f"{path}:{found.lines.get(name, 1)}: {name} {error.problem}") from error


def _write_sheet(generator: FaceGenerator, n: int, size: int, path: Path, plain: bool, beside: Path | None) -> None:
    from domaingap.landmarks import to_ibug68
    from domaingap.pictures import GREEN, draw_face, save_picture, sheet
    from domaingap.progress import track

    def drawn(image: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.uint8]:
        return draw_face(image, [] if plain else [(points, GREEN)], side=192)

    theirs = [drawn(*face) for face in _photographs(beside, n)] if beside is not None else []
    faces = track((generator.photograph(i, size) for i in range(n)), n, f"drawing {path.name}")
    pairs = ((face.image, np.asarray(to_ibug68(face.landmarks), np.float64)) for face in faces)
    ours = [drawn(*(_face_alone(*pair) if theirs else pair)) for pair in pairs]
    if not theirs:
        save_picture(path, sheet(ours, 6), "--preview")
        return
    tiles: list[NDArray[np.uint8]] = []
    for start in range(0, n, _HALF):
        for group in (theirs, ours):
            part = group[start : start + _HALF]
            tiles += part + [np.zeros_like(ours[0])] * (_HALF - len(part))
    save_picture(path, sheet(tiles, 2 * _HALF), "--preview")


def _photographs(data_root: Path, n: int) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Faces of 300-W's training photographs and their points, evenly chosen."""
    from domaingap.data.readers import open_reader
    from domaingap.data.sample import read_rgb

    reader = open_reader("300w", data_root)
    records = [record for part in reader.source.train_parts if part in reader.parts() for record in reader.records(part)]
    chosen = [records[int(i)] for i in np.linspace(0, len(records) - 1, min(n, len(records))).round()]
    samples = [reader.read(record) for record in chosen]
    return [_face_alone(read_rgb(sample.image_path), sample.landmarks) for sample in samples]


def _face_alone(image: NDArray[np.uint8], points: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A face cut out by its points [68, 2], so that photographs and renderings show it equally large."""
    crop = CropConfig(size=192, channels="rgb", scale=1.6)
    transform = crop_transform(box_from_landmarks(points), crop)
    return cut_crop(image, transform, crop, 0), apply_transform(transform, points)
