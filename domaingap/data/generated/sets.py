"""Sets of faces by what the command line and recipes say of them: one geometry's, or two geometries' in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domaingap.config import CropConfig, Geometry
from domaingap.data.generated.face import FaceGenerator, GeneratedFace
from domaingap.data.generated.heads import load_head
from domaingap.data.generated.population import FaceParameters
from domaingap.errors import UserError
from domaingap.hashing import content_key
from domaingap.provenance import Terms


class FacesInTurn(FaceGenerator):
    """Faces of several generators as one set: face i is face i of the generator whose turn it is.

    Args:
        generators: of one domain, seed and dials, two or more.
    """

    def __init__(self, generators: Sequence[FaceGenerator]) -> None:
        vars(self).update(vars(generators[0]))
        self.generators = tuple(generators)

    def _whose(self, index: int) -> FaceGenerator:
        return self.generators[index % len(self.generators)]

    def key(self) -> str:
        return content_key([generator.key() for generator in self.generators])

    def options(self) -> dict[str, Any]:
        return {**super().options(), "geometry": "both"}

    def heads(self) -> str:
        return ", ".join(generator.heads() for generator in self.generators)

    def terms(self) -> frozenset[Terms]:
        return frozenset().union(*(generator.terms() for generator in self.generators))

    def parameters(self, index: int) -> FaceParameters:
        return self._whose(index).parameters(index)

    def _render(self, index: int, size: int, crop: CropConfig | None) -> GeneratedFace:
        return self._whose(index)._render(index, size, crop)


def generator_of(
    domain: Any,
    seed: int,
    geometry: Geometry,
    model: Path | None,
    albedo: Path | None,
    light: Path | None,
    heads_dir: Path,
    backgrounds: Path | None = None,
    **options: Any,
) -> FaceGenerator:
    """What makes a set of faces.

    Args:
        domain: synthetic, or target.
        seed: of the set.
        geometry: built-in, avatars, ict, or both: ICT-FaceKit's heads and the avatars' in turn.
        model: folder of the avatars or of ICT-FaceKit (both: of the latter).
        albedo: folder of the avatars whose colour maps ICT-FaceKit's heads get.
        light: folder of HDRIs.
        heads_dir: where compact copies of models are kept.
        backgrounds: folder of pictures that stand behind half of the faces.
        options: FaceGenerator's.

    Raises:
        UserError: what is missing or damaged, or doesn't go together.
    """
    if geometry == "built-in":
        return FaceGenerator(domain, seed, **options)
    skin, lamps, behind = (None if folder is None else str(folder) for folder in (albedo, light, backgrounds))
    if geometry != "both":
        head = load_head(geometry, str(model), skin, lamps, str(heads_dir), behind)
        return FaceGenerator(domain, seed, head=head, **options)
    if skin is None:
        raise UserError("--geometry both needs --albedo, the folder of the avatars (data fetch valid_avatars)")
    if options.get("dense"):
        raise UserError("--landmarks dense goes with one geometry: its points are that one's vertices")
    heads = (
        load_head("ict", str(model), skin, lamps, str(heads_dir), behind),
        load_head("avatars", skin, None, lamps, str(heads_dir), behind),
    )
    return FacesInTurn([FaceGenerator(domain, seed, head=head, **options) for head in heads])
