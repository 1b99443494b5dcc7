"""Heads made of others' files: a geometry with its pictures and light, kept in compact form after the first load."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from domaingap.data.downloads import downloads
from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.light import environments_content, read_environments
from domaingap.data.generated.materials import Materials, WigMesh
from domaingap.data.generated.mesh import Mesh
from domaingap.errors import UserError
from domaingap.hashing import content_key
from domaingap.progress import console, track
from domaingap.provenance import Terms
from domaingap.store import Store

Array = NDArray[Any]
HeadKind = Literal["avatars", "ict"]

VERSION = 10
"""Of how files become a head: raised where the same files would become another one."""
POLY_HAVEN = Terms("Poly Haven HDRIs", "CC0", False, url="https://polyhaven.com/license", citation="Poly Haven")


@dataclass(frozen=True)
class Head:
    """A geometry and what it is coloured with; pickled as the call that loads it."""

    geometry: FaceGeometry
    materials: Materials | None
    made_of: tuple[HeadKind, str, str | None, str | None, str, str | None]

    def __reduce__(self) -> tuple[Any, ...]:
        return load_head, self.made_of

    def key(self) -> str:
        """Identity by content of all the files."""
        return content_key([VERSION, self.geometry.key(), self.materials.content if self.materials is not None else ""])

    def terms(self) -> frozenset[Terms]:
        """Of the mesh, the pictures and the light."""
        return frozenset((*self.geometry.terms, *(self.materials.terms if self.materials is not None else ())))


def terms_of(name: str) -> Terms:
    """Under what terms a data set that can be fetched may be used."""
    about = downloads()[name]
    return Terms(
        about.title, about.licence.name, about.licence.non_commercial, url=about.licence.url, citation=about.citation
    )


@cache
def load_head(
    kind: HeadKind, model: str, albedo: str | None, light: str | None, prepared: str, backgrounds: str | None = None
) -> Head:
    """The head of a folder of files.

    Args:
        kind: avatars (VALID), or ict (ICT-FaceKit).
        model: folder of its release.
        albedo: folder of the avatars whose colour maps it gets; the avatars' own by default.
        light: folder of HDRIs; drawn light by default.
        prepared: where compact copies are kept.
        backgrounds: folder of pictures that stand behind half of the faces; light's own places by default.

    Raises:
        UserError: what is missing or damaged.
    """
    store = Store(prepared, "--prepared_dir")
    materials: Materials | None
    if kind == "avatars":
        if albedo is not None:
            raise UserError("--albedo goes with --geometry ict; avatars have colour maps of their own")
        geometry, materials = avatars_head(store, Path(model))
    else:
        from domaingap.data.generated.geometries.ict.head import prepare_ict

        geometry, materials = prepare_ict(store, Path(model), Path(albedo) if albedo is not None else None)
    if light is not None:
        if materials is None:
            raise UserError("--light goes with colour maps; give --albedo, the folder of the avatars, too")
        places = tuple(read_environments(Path(light)))
        content = content_key([materials.content, environments_content(Path(light))])
        materials = replace(materials, environments=places, content=content, terms=(*materials.terms, POLY_HAVEN))
    if backgrounds is not None:
        if materials is None:
            raise UserError("--backgrounds goes with colour maps; give --albedo, the folder of the avatars, too")
        pictures = background_files(Path(backgrounds))
        content = content_key([materials.content, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures)])
        materials = replace(materials, backgrounds=pictures, content=content)
    return Head(geometry, materials, (kind, model, albedo, light, prepared, backgrounds))


def background_files(folder: Path) -> tuple[Path, ...]:
    """The JPEG and PNG pictures of a folder and below, by name; UserError where there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give --backgrounds a folder of .jpg or .png pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png") and path.is_file())
    if not found:
        raise UserError(f"{folder}: holds no .jpg or .png pictures; give --backgrounds a folder of them, without faces")
    return tuple(found)


def avatars_head(store: Store, folder: Path) -> tuple[FaceGeometry, Materials]:
    """The avatars' head and what it is coloured with, from the store where they were made before."""
    from domaingap.data.generated.geometries.avatars.reader import avatars_content

    content = avatars_content(folder)

    def build(place: Path, _: Mapping[str, Any] | None) -> Mapping[str, Any]:
        from domaingap.data.generated.geometries.avatars.head import avatar_head, avatar_materials
        from domaingap.data.generated.geometries.avatars.reader import avatar_files, read_avatars

        files = avatar_files(folder)
        avatars = read_avatars(folder, iter(track(files, len(files), "reading avatars")))
        geometry = avatar_head(avatars, content)
        save_geometry(place / "geometry.npz", geometry)
        save_materials(place, avatar_materials(avatars, geometry))
        return {"people": avatars.names}

    entry = store.get("heads/avatars", {"version": VERSION, "content": content}, build, "the avatars' heads")
    if not entry.reused:
        console.print(f"{folder}: {len(entry.record['people'])} people, kept in {entry.folder}", markup=False)
    terms = (terms_of("valid_avatars"),)
    geometry = load_geometry(entry.folder / "geometry.npz", terms)
    return geometry, load_materials(entry.folder, content, terms)


# Geometries and materials in files: plain arrays, no pickles.


def save_geometry(path: Path, geometry: FaceGeometry) -> None:
    """All of a geometry but its terms."""
    arrays: dict[str, Any] = {f"mesh.{name}": value for name, value in vars(geometry.mesh).items()}
    for field in fields(geometry):
        value = getattr(geometry, field.name)
        if field.name in ("mesh", "terms"):
            continue
        if isinstance(value, dict):
            arrays |= {f"{field.name}.{name}": array for name, array in value.items()}
        elif isinstance(value, tuple):
            arrays |= {f"{field.name}.{k:03d}": array for k, array in enumerate(value)}
        else:
            arrays[field.name] = np.asarray(value)
    np.savez(path, **arrays)


def load_geometry(path: Path, terms: tuple[Terms, ...]) -> FaceGeometry:
    """What :func:`save_geometry` wrote."""
    found: dict[str, Any] = {}
    grouped: dict[str, dict[str, Array]] = {
        "mesh": {},
        "expression": {},
        "eye_vertices": {},
        "lid_vertices": {},
        "contours": {},
    }
    with np.load(path) as arrays:
        for key in arrays.files:
            name, _, part = key.partition(".")
            if part:
                grouped[name][part] = arrays[key]
            else:
                found[name] = arrays[key] if arrays[key].ndim else arrays[key].item()
    pairs: dict[str, Any] = {name: tuple(grouped[name].values()) for name in ("eye_vertices", "lid_vertices", "contours")}
    return FaceGeometry(mesh=Mesh(**grouped["mesh"]), expression=grouped["expression"], terms=terms, **pairs, **found)


def save_materials(folder: Path, materials: Materials) -> None:
    """All but light, content and terms."""
    np.save(folder / "textures.npy", materials.textures)
    np.save(folder / "small.npy", materials.small)
    arrays = {f"wig{k:03d}.{name}": value for k, wig in enumerate(materials.wigs) for name, value in vars(wig).items()}
    np.savez(folder / "materials.npz", names=np.array(materials.names), bald=materials.bald, skin=materials.skin, **arrays)


def load_materials(folder: Path, content: str, terms: tuple[Terms, ...]) -> Materials:
    """What :func:`save_materials` wrote; pictures stay on the disk until they are looked at."""
    wigs: dict[str, dict[str, Array]] = {}
    with np.load(folder / "materials.npz") as arrays:
        for key in arrays.files:
            wig, _, name = key.partition(".")
            if name:
                wigs.setdefault(wig, {})[name] = arrays[key]
        names, bald, skin = tuple(arrays["names"].tolist()), arrays["bald"], arrays["skin"]
    textures, small = (np.load(folder / name, mmap_mode="r") for name in ("textures.npy", "small.npy"))
    return Materials(
        names, np.asarray(textures), np.asarray(small), bald, tuple(WigMesh(**wig) for _, wig in sorted(wigs.items())),
        (), content, terms, skin,
    )  # fmt: skip


__all__ = ["Head", "HeadKind", "load_head"]
