"""Data sources: each is described once, by the module in ``domaingap/data/readers/`` that also opens it.

A data set is added by adding such a module: a :class:`Source`, and a class of faces that has it as ``source``. Nothing
else lists them. What is asked here imports no torch and no OpenCV.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal

from domaingap.errors import SettingError, UserError

if TYPE_CHECKING:
    from domaingap.data.readers.base import FaceSource

Role = Literal["real", "synthetic"]


@dataclass(frozen=True)
class Licence:
    """Under what terms a data set may be used; ``verified`` where they were seen in the release or a copy of it."""

    name: str
    non_commercial: bool
    url: str = ""
    verified: bool = True

    def __str__(self) -> str:
        return self.name + ", non-commercial" * self.non_commercial + " [unverified]" * (not self.verified)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of a data set before it is opened.

    Attributes:
        name: in configurations and results.
        title: in text.
        role: real faces train, validate and test; synthetic ones train.
        folder: its usual folder below the data root; None where faces are made rather than read.
        parts: number of faces of each part in the publication; None where there is no fixed one.
        train_parts: the parts that train and validate.
        test_sets: test sets and the parts that form them.
        choices: what ``--real.parts`` takes, and the parts that it stands for.
        apart: parts that are a release of their own, so that a release without them isn't partial.
        release_sizes: the numbers of faces that the release comes in, where there are several.
        photograph: whose faces no split may separate, in words.
        boxes: under ``crop.box mtcnn`` a face box comes from the detector, or is where one would typically put it.
        licence: terms of use.
        citation: who made it.
        homepage: where it is from.
        layout: what is expected in its folder, in words.
    """

    name: str
    title: str
    role: Role
    folder: str | None
    parts: Mapping[str, int | None]
    train_parts: tuple[str, ...]
    test_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    release_sizes: tuple[int, ...] = ()
    photograph: str
    boxes: Literal["detector", "simulated"] = "detector"
    licence: Licence
    citation: str
    homepage: str
    layout: str = ""

    def published(self, part: str, found: int = 0) -> int | None:
        """Faces that a part has in the publication; of several releases, in the smallest that holds those found."""
        if self.release_sizes:
            return next((size for size in self.release_sizes if size >= found), None)
        return self.parts[part]

    def absent(self, present: Collection[str]) -> list[str]:
        """Parts of the release that aren't among those present."""
        return [part for part in self.parts if part not in self.apart and part not in present]

    def parts_of(self, name: str) -> tuple[str, ...]:
        """The parts that form a test set, or any other set of faces: those come from the parts that train."""
        return self.test_sets.get(name, self.train_parts)

    def published_size(self, name: str, found: Mapping[str, int]) -> int | None:
        """Faces of a test set (else of the training parts) when it is whole, absent parts included.

        Args:
            name: the set.
            found: faces of the parts that are present.
        """
        sizes = [self.published(part, found.get(part, 0)) for part in self.parts_of(name)]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def test_sets_in(self, present: Collection[str]) -> list[str]:
        """The test sets that can be scored. One that is formed of others (Full of Common and Challenging) needs something
        of each of them, or it would be another set under its name."""
        there = {name for name, parts in self.test_sets.items() if not set(parts).isdisjoint(present)}
        return [name for name in self.test_sets if name in there and self._formed_of(name) <= there]

    def _formed_of(self, name: str) -> set[str]:
        return {other for other, parts in self.test_sets.items() if set(parts) < set(self.test_sets[name])}

    def choice(self, name: str) -> tuple[str, ...]:
        """The parts that a name in ``--real.parts`` stands for; UserError where it stands for none."""
        if not self.choices:
            raise SettingError("real.parts", f"is {name}, but {self.name} has no parts to choose; leave it out")
        if name in self.parts:
            return (name,)
        if name not in self.choices:
            raise SettingError(
                "real.parts", f"is {name}, but {self.title} has no part {name!r}; known: {', '.join(self.choices)}"
            )
        return self.choices[name]

    def box_rule(self, box: str) -> str:
        """Where face boxes come from under ``crop.box``, in words: detector, its typical box, or the annotation."""
        if box != "mtcnn":
            return "oracle (landmarks)"
        return "mtcnn" if self.boxes == "detector" else "simulated mtcnn"


@cache
def face_sources() -> dict[str, type[FaceSource]]:
    """What opens each source, by its name: real ones first, and files before faces that are made."""
    from domaingap.data import readers
    from domaingap.data.readers.base import FaceSource

    found: dict[str, type[FaceSource]] = {}
    for module in pkgutil.iter_modules(readers.__path__, readers.__name__ + "."):
        for kind in vars(importlib.import_module(module.name)).values():
            if not (isinstance(kind, type) and issubclass(kind, FaceSource) and "source" in vars(kind)):
                continue
            if found.setdefault(kind.source.name, kind) is not kind:
                raise ValueError(f"{kind} and {found[kind.source.name]} have a source of the same name")
    return dict(sorted(found.items(), key=lambda item: (item[1].source.role, item[1].source.folder is None, item[0])))


def names(role: Role | None = None) -> list[str]:
    """The sources' names, of one role or of both."""
    return [name for name, kind in face_sources().items() if role in (None, kind.source.role)]


def source(name: str, role: Role | None = None, setting: str = "data source") -> Source:
    """A source by name; UserError that lists what is known, under the name of the setting that asked for it."""
    if name not in names(role):
        problem = f"{name!r} is unknown; known: {', '.join(names(role))}"
        raise SettingError(setting[2:], problem) if setting.startswith("--") else UserError(f"{setting} {problem}")
    return face_sources()[name].source
