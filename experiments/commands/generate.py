"""``domaingap data generate``: faces with exact labels as files, or a sheet of them."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from domaingap.config import FACE_PARTS, POPULATION, Geometry, PopulationConfig, parts_named
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
    if geometry == "built-in":
        for name, folder in (("model", model), ("albedo", albedo), ("light", light)):
            if folder is not None:
                raise UserError(f"--{name} goes with --geometry avatars, ict or both; the built-in head takes no files")
        if population is not None:
            raise UserError("--population goes with --geometry avatars or ict; the built-in head's is domaingap's own")
    elif model is None:
        raise UserError(f"--geometry {geometry} needs --model, the folder of {MODELS[geometry]}")
    people = read_population(population) if population is not None else POPULATION
    if out is not None:
        check_folder(out, "--out")
    if preview is not None:
        check_file(preview, "--preview")
    from domaingap.data.generated import Dials
    from domaingap.data.generated.sets import generator_of
    from domaingap.data.render import write_faces

    dials = Dials(**{name: 1.0 if value is None else value for name, value in gaps.items()} if domain == "target" else {})
    generator = generator_of(
        domain, seed, geometry, model, albedo, light, prepared_dir, dials=dials, labels=labels, without=parts,
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
        _write_sheet(generator, shown, size, preview, plain)
        terminal().print(f"{shown} {domain} faces: {preview}")
    return 0


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


def _write_sheet(generator: FaceGenerator, n: int, size: int, path: Path, plain: bool) -> None:

    from domaingap.landmarks import to_ibug68
    from domaingap.pictures import GREEN, draw_face, save_picture, sheet
    from domaingap.progress import track

    tiles = []
    for face in track((generator.photograph(i, size) for i in range(n)), n, f"drawing {path.name}"):
        points = [] if plain else [(to_ibug68(face.landmarks), GREEN)]
        tiles.append(draw_face(face.image, points, side=192))
    save_picture(path, sheet(tiles, 6), "--preview")
