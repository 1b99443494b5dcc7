"""Faces of our own as a source beside the releases: nothing is read, every face is made when it is asked for."""

from __future__ import annotations

from typing import ClassVar, Literal

from domaingap.config import MAX_FACES, GeneratedConfig, TargetConfig
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.readers.base import PartCount
from domaingap.data.sample import Domain
from domaingap.errors import UserError

GeneratedSource = Literal["generated", "generated_target"]


class GeneratedReader:
    """The faces of one domain by part and index; stands where a :class:`Reader` does, but has no files.

    Face i is the same whatever the size of its part. Every face is of a person of its own.

    Attributes:
        source: its name in configurations and results.
        domain: ``real`` for the target domain, which stands in for real photographs.
        generator: what makes the faces.
        indices: the generator's numbers of the faces of each part.
    """

    published: ClassVar[dict[str, int | None]] = {}

    def __init__(self, config: GeneratedConfig | TargetConfig) -> None:
        self.source: GeneratedSource
        self.domain: Domain
        if isinstance(config, GeneratedConfig):
            self.source, self.domain = "generated", "synthetic"
            self.generator = FaceGenerator("synthetic", config.seed)
            self.indices = {"all": range(config.n)}
        else:
            dials = Dials(config.label_gap, config.appearance_gap, config.population_gap)
            self.source, self.domain = "generated_target", "real"
            self.generator = FaceGenerator("target", config.seed, dials)
            # From a fixed number on: the test faces stay the same where n_train changes, and never train.
            self.indices = {"train": range(config.n_train), "test": range(MAX_FACES, MAX_FACES + config.n_test)}

    def parts(self) -> list[str]:
        """All of its parts."""
        return list(self.indices)

    def numbers(self, part: str) -> range:
        """The generator's numbers of a part's faces."""
        if part not in self.indices:
            raise UserError(f"{self.source} has no part {part!r}; its parts: {', '.join(self.indices)}")
        return self.indices[part]

    def names(self, part: str) -> list[str]:
        """The faces' names: their numbers."""
        return [f"{number:06d}" for number in self.numbers(part)]

    def count(self, part: str) -> PartCount:
        """The number of faces of a part; there is no published one."""
        return PartCount(part, len(self.numbers(part)), None, {})
