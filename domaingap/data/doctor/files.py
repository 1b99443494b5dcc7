"""Which faces lie in the folders of a release, and what is wrong with their files."""

from __future__ import annotations

from collections import Counter

import numpy as np

from domaingap.data.doctor.faces import Face, Part
from domaingap.data.doctor.findings import Finding
from domaingap.data.readers import Reader, Record
from domaingap.data.sanity import annotation_fault
from domaingap.errors import DataError
from domaingap.progress import track


def find_faces(reader: Reader, findings: list[Finding]) -> tuple[list[Face], dict[str, Part]]:
    """The faces of a source, and its parts; problems with files are findings."""
    source, faces, parts = reader.source, [], {}
    if not reader.parts():
        detail = f"holds none of {', '.join(source.parts)}"
        advice = "see README, section Data"
        findings.append(Finding("file problem", source.name, "", file=reader.where, detail=detail, todo=advice))
    for part in reader.parts():
        records, problems = _records(reader, part)
        findings += [
            Finding("file problem", source.name, part, file=str(p.path), detail=p.problem, todo=p.advice) for p in problems
        ]
        published, skipped = source.published(part, len(records)), dict(reader.skipped[part])
        parts[part] = Part(len(records), published, skipped)
        if published is not None and len(records) < published:
            findings.append(Finding("fewer than published", source.name, part, detail=f"{len(records)} of {published}"))
        for why, n in skipped.items():
            # Half of a face is something that was lost; all else is what people and systems put beside a release.
            kind = "half of a face" if " without " in why else "passed over"
            folder = str(reader.part_folder(part))
            findings.append(Finding(kind, source.name, part, file=folder, detail=f"{n} × {why}", weight=n))
        reader.doubts.clear()
        for record in track(records, len(records), f"reading {source.name} {part}"):
            face = Face(source, record)
            before = Counter(reader.doubts)
            try:
                face.points = np.asarray(reader.read_landmarks(record.annotation_path), dtype=np.float64)
                face.fault = annotation_fault(face.points) or ""
            except DataError as error:
                line = f"line {error.line}: " if error.line is not None else ""
                findings.append(face.found("unreadable annotation", line + error.problem, todo=error.advice))
            findings += [face.found("doubtful file", doubt) for doubt in reader.doubts - before]
            faces.append(face)
    return faces, parts


def _records(reader: Reader, part: str) -> tuple[list[Record], list[DataError]]:
    """The faces of a part and what makes it unusable: preparation refuses such a part, and here its faces are looked at."""
    try:
        return reader.records(part), []
    except DataError as error:
        problems = list(reader.problems[part]) or [error]
    reader.skipped[part], reader.problems[part] = Counter(), []
    try:
        return sorted(reader.find(part)), problems
    except DataError:  # is among the problems
        return [], problems
