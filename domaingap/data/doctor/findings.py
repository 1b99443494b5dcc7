"""What can be wrong with a face or a part, how bad that is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fault", "suspect", "note"]
"""fault: preparation refuses it or leaves it out. suspect: look at it. note: nothing to mend, but to know."""

SEVERITIES: tuple[Severity, ...] = ("fault", "suspect", "note")


@dataclass(frozen=True)
class Kind:
    """A kind of finding: its severity, and what a user does about it."""

    severity: Severity
    todo: str


_FILE = "fetch or unpack this file again, or take both files of the face out"
_LOOK = "look at it (--sheet); mend the annotation, or take the face out"

KINDS: dict[str, Kind] = {
    # Worst first: in this order they are reported.
    "file problem": Kind("fault", "mend what is named; nothing of this part can be used until then"),
    "unreadable picture": Kind("fault", _FILE),
    "unreadable annotation": Kind("fault", _FILE),
    "impossible annotation": Kind("fault", "fetch this annotation again, or take the face out"),
    "same picture in train and test": Kind("fault", "delete one of the two; preparation leaves the one in train out"),
    "left and right exchanged": Kind("suspect", "exchange the points back, or take the face out"),
    "points shifted by one": Kind("suspect", "shift the points back, or take the face out"),
    "rows and columns exchanged": Kind("suspect", "exchange x and y in this annotation, or take the face out"),
    "rows counted from below": Kind("suspect", "count y from the top in this annotation, or take the face out"),
    "points in another order": Kind("suspect", "bring the points into iBUG's order, or take the face out"),
    "wild point": Kind("suspect", "look at this point (--sheet); mend it, or take the face out"),
    "picture rescaled": Kind(
        "suspect", "fetch this picture again, or scale its points alike; points of another picture can look so, too"
    ),
    "picture mirrored": Kind("suspect", "fetch this picture again, or mirror its points alike"),
    "annotation beside its face": Kind("suspect", "look whether it belongs to another picture; fetch both files again"),
    "unusual shape": Kind("suspect", _LOOK),
    "wrong size": Kind("suspect", "fetch this picture again; its points hold for the release's size"),
    "points outside": Kind("suspect", _LOOK),
    "nearly the same picture in train and test": Kind("suspect", "look at both; take one out of training"),
    "mirrored picture in train and test": Kind("suspect", "look at both; take one out of training"),
    "same annotation twice": Kind("suspect", "look at both; one belongs to another picture"),
    "same picture twice": Kind("suspect", "look at both; take one out"),
    "nearly the same picture twice": Kind("suspect", "look at both; take one out"),
    "mirrored picture twice": Kind("suspect", "look at both; take one out"),
    "half of a face": Kind("suspect", "fetch the files that are missing, or take these out"),
    "all pictures of another size": Kind("suspect", "fetch the release again, or know that it was rescaled"),
    "doubtful file": Kind("note", "look at some; preparation counts these and goes on"),
    "detector missed": Kind("note", "preparation puts the box where the landmarks say (fallback), and counts it"),
    "fewer than published": Kind("note", "fetch what is missing, or name the result partial"),
    "part absent": Kind("note", "fetch it where it is needed"),
    "passed over": Kind("note", "nothing, if these files aren't part of the release"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: a key of ``KINDS``.
        source: the data set.
        part: its part; empty where it is about the whole set.
        face: the face's name; empty where it is about a part.
        file: the file to look at.
        detail: what exactly.
        weight: the larger, the worse among findings of this kind.
        also: the other face, where it is about two.
        todo: what to do; the kind's by default.
        point: the landmark to look at, where it is about one.
    """

    kind: str
    source: str
    part: str
    face: str = ""
    file: str = ""
    detail: str = ""
    weight: float = 0.0
    also: str = ""
    todo: str = ""
    point: int | None = None
    fatal: bool = False
    """A fault though its kind is only suspect: preparation refuses this one."""

    @property
    def severity(self) -> Severity:
        return "fault" if self.fatal else KINDS[self.kind].severity

    @property
    def advice(self) -> str:
        return self.todo or KINDS[self.kind].todo


_ORDER = {kind: number for number, kind in enumerate(KINDS)}


def worst_first(findings: list[Finding]) -> list[Finding]:
    """By severity, then by kind, then by weight, then by name."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), _ORDER[f.kind], -f.weight, f.part, f.face, f.file))
