"""Faces of our own as sources beside the releases: nothing is read, every face is made when it is asked for."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from domaingap.config import MAX_FACES, GeneratedConfig, TargetConfig, parts_named
from domaingap.data.readers.base import FaceSource, PartCount
from domaingap.provenance import OWN, Terms, read_terms
from domaingap.sources import Licence, Source

if TYPE_CHECKING:
    from domaingap.data.generated import FaceGenerator

_NO_LICENCE = Licence("none: made by this program, without others' data", False)
SPECIFICATION, MARKER = "generated.json", ".generating.json"
"""Beside faces in files: what they are, once all are there, and before."""


def written_terms(folder: Path) -> frozenset[Terms] | None:
    """The terms of generated faces in files; None where a folder doesn't say that it holds some."""
    for name in (SPECIFICATION, MARKER):
        try:
            said = json.loads((folder / name).read_text(encoding="utf-8"))
            return read_terms(said["terms"]) if "terms" in said else frozenset({OWN})
        except (OSError, ValueError, TypeError, RecursionError):
            continue
    return None


class GeneratedReader(FaceSource):
    """The faces of one domain by part and index; stands where a reader does, but has no files.

    Face i is the same whatever the size of its part. Every face is of a person of its own.

    Attributes:
        config: the class of its settings.
        generator: what makes the faces.
        indices: the generator's numbers of the faces of each part.
    """

    config: ClassVar[type[GeneratedConfig] | type[TargetConfig]]
    knows = ("yaw", "pitch", "roll", "occlusion", "light_ratio", "brightness")

    def __init__(self, generator: FaceGenerator, indices: Mapping[str, range]) -> None:
        self.where = self.source.name
        self.generator, self.indices = generator, dict(indices)

    @classmethod
    def open(cls, data_root: Path | str = "", root: Path | str | None = None, generated: Any = None) -> Self:
        return cls.of(generated if isinstance(generated, cls.config) else cls.config(**(generated or {})))

    @classmethod
    @abstractmethod
    def of(cls, config: Any) -> Self:
        """The faces that settings describe."""

    def parts(self) -> list[str]:
        return list(self.indices)

    def numbers(self, part: str) -> range:
        """The generator's numbers of a part's faces."""
        self._check_part(part)
        return self.indices[part]

    def names(self, part: str) -> list[str]:
        return [f"{number:06d}" for number in self.numbers(part)]

    def count(self, part: str) -> PartCount:
        return PartCount(part, len(self.numbers(part)), None, {})

    def conditions(self, names: Sequence[str], columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """Pose and visibility as they were rendered; light from the face's parameters, which are drawn again."""
        from domaingap.data.generated.appearance import light_on_face

        light = np.array([light_on_face(self.generator.parameters(int(name))) for name in names]).reshape(-1, 2)
        hidden = 100 * (1 - columns["visible"][:, :68].mean(axis=1))
        values = [*columns["pose"].T, hidden, *light.T]
        return {name: np.asarray(value, dtype=np.float64) for name, value in zip(self.knows, values, strict=True)}

    def terms(self) -> frozenset[Terms]:
        return self.generator.terms()


class GeneratedFaces(GeneratedReader):
    """Renderings, labelled as renderings are."""

    source = Source(
        name="generated",
        title="generated faces",
        role="synthetic",
        folder=None,
        parts={"all": None},
        train_parts=("all",),
        photograph="every face is of a person of its own",
        boxes="simulated",
        licence=_NO_LICENCE,
        citation="this program",
        homepage="domaingap data generate",
    )
    config = GeneratedConfig
    more = "raise --synthetic.generated.n"

    @classmethod
    def of(cls, config: GeneratedConfig) -> Self:
        from domaingap.data.generated.sets import generator_of

        generator = generator_of(
            "synthetic",
            config.seed,
            config.geometry,
            config.model,
            config.albedo,
            config.light,
            config.heads_dir,
            config.backgrounds,
            labels=config.labels,
            without=parts_named(config.without),
            population=config.population,
        )
        return cls(generator, {"all": range(config.n)})


class GeneratedTarget(GeneratedReader):
    """Faces that stand in for photographs: other people and cameras, labelled as people label."""

    source = Source(
        name="generated_target",
        title="generated faces of the target domain",
        role="real",
        folder=None,
        parts={"train": None, "test": None},
        train_parts=("train",),
        test_sets={"generated": ("test",)},
        photograph="every face is of a person of its own",
        boxes="simulated",
        licence=_NO_LICENCE,
        citation="this program",
        homepage="domaingap data generate --domain target",
    )
    config = TargetConfig
    more = "raise --real.generated.n_train"

    @classmethod
    def of(cls, config: TargetConfig) -> Self:
        from domaingap.data.generated import Dials, FaceGenerator

        dials = Dials(config.label_gap, config.appearance_gap, config.population_gap)
        # From a fixed number on: the test faces stay the same where n_train changes, and never train.
        indices = {"train": range(config.n_train), "test": range(MAX_FACES, MAX_FACES + config.n_test)}
        return cls(FaceGenerator("target", config.seed, dials), indices)
