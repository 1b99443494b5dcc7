"""What is known of a face and of a part while they are examined."""

from __future__ import annotations

from dataclasses import dataclass, field

from domaingap.data.doctor.findings import Finding
from domaingap.data.doctor.look import Look
from domaingap.data.doctor.shape_model import Array
from domaingap.data.readers import Record
from domaingap.sources import Source


@dataclass
class Face:
    """A face and all that was seen of it."""

    source: Source
    record: Record
    points: Array | None = None
    look: Look | None = None
    fault: str = ""

    @property
    def part(self) -> str:
        return self.record.part

    @property
    def seen(self) -> Look:
        """What was seen of it, once all were looked at."""
        assert self.look is not None
        return self.look

    @property
    def side(self) -> str:
        """What it is for: train or test."""
        return "train" if self.part in self.source.train_parts else "test"

    def found(
        self,
        kind: str,
        detail: str = "",
        weight: float = 0.0,
        also: Face | None = None,
        file: str = "",
        todo: str = "",
        fatal: bool = False,
        point: int | None = None,
    ) -> Finding:
        """A finding about this face, in its annotation where no other file is named."""
        other = f"{also.source.name} {also.record.name}" if also else ""
        file = file or self.record.annotation
        return Finding(kind, self.source.name, self.part, self.record.name, file, detail, weight, other, todo, point, fatal)


@dataclass
class Part:
    """A part: how many faces lie there, how many were published, what was passed over and what is doubtful."""

    faces: int
    published: int | None
    skipped: dict[str, int]
    boxes: dict[str, int] = field(default_factory=dict)
