"""Everything below a data root looked at once, and what was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor import look as looking
from domaingap.data.doctor.annotations import Shapes, judge_shapes
from domaingap.data.doctor.beside import Misfits, judge_misfits
from domaingap.data.doctor.faces import Face, Part
from domaingap.data.doctor.files import find_faces
from domaingap.data.doctor.findings import Finding, worst_first
from domaingap.data.doctor.fit import LEAST_FACES, Fit, fit_faces
from domaingap.data.doctor.look import Job, Look, look, start_looking
from domaingap.data.doctor.orders import ORDERS
from domaingap.data.doctor.shape_model import Array
from domaingap.data.doctor.twice import judge_duplicates
from domaingap.data.images import turned_size
from domaingap.data.readers import Reader
from domaingap.data.sanity import annotation_fault
from domaingap.errors import DataError
from domaingap.hashing import read_lines
from domaingap.parallel import spread, worker_count
from domaingap.progress import track
from domaingap.provenance import Terms
from domaingap.sources import Source
from domaingap.sources import source as source_of

T = TypeVar("T", bound=np.generic)

KEPT = 4000
"""Faces whose views are kept and that the localiser may learn from; further ones are judged as they are looked at."""

SIDES = {"face_synthetics": 512, "synthface": 512}
"""Of every picture of a release, in pixels."""

_ALIKE = 0.9
"""Share of a source's pictures of one size from which the others are odd."""

_WORTHWHILE = 64

_PLACES = 60
"""So many places have the points of a face at least whose lids and lips are closed."""


@dataclass
class Examination:
    """All that was found.

    Attributes:
        sources: the data sets, by name.
        terms: under what terms the faces of each may be used.
        parts: by source and part.
        absent: parts of each source's release that aren't there.
        findings: worst first.
        faces: every face, by source and name.
        not_checked: what was not done, and why.
    """

    sources: dict[str, Source]
    terms: dict[str, list[Terms]]
    parts: dict[str, dict[str, Part]]
    absent: dict[str, list[str]]
    findings: list[Finding]
    faces: dict[tuple[str, str], Face]
    not_checked: list[str]


def examine(
    readers: Sequence[Reader],
    workers: int | None = None,
    detect: bool = True,
    prepared_dir: Path | None = None,
    unopened: Mapping[str, DataError] | None = None,
) -> Examination:
    """Look at everything that readers find.

    Args:
        readers: of the data sets.
        unopened: of further data sets, by name, why they have no reader.
        workers: processes; all cores by default.
        detect: ask the face detector.
        prepared_dir: prepared crops, of which known boxes are taken.
    """
    about = {reader.source.name: reader.source for reader in readers}
    findings: list[Finding] = []
    for name, error in (unopened or {}).items():
        about[name] = source_of(name)
        findings.append(Finding("file problem", name, "", file=str(error.path), detail=error.problem, todo=error.advice))
    parts: dict[str, dict[str, Part]] = {name: {} for name in about}
    absent: dict[str, list[str]] = {name: [] for name in about}
    terms = {name: [Terms.of(source)] for name, source in about.items()}
    faces: list[Face] = []
    for reader in readers:
        found, there = find_faces(reader, findings)
        terms[reader.source.name] = sorted(reader.terms(), key=str)
        findings += [
            Finding("passed over", reader.source.name, "", file=name, detail="no part is called so")
            for name in reader.strangers()
        ]
        parts[reader.source.name] = there
        absent[reader.source.name] = reader.source.absent(list(there))
        faces += found
    findings += [
        Finding("part absent", name, part, detail="not there") for name, missing in absent.items() for part in missing
    ]
    shapes = _judge_shapes(faces, findings)
    not_checked: list[str] = []
    misfits = _look_at_all(faces, shapes, workers, detect, _known_boxes(readers, prepared_dir), not_checked)
    _judge_pictures(faces, findings, misfits)
    one_size = _judge_sizes(faces, findings)
    if misfits is not None:
        misfits.one_size = one_size
        findings += judge_misfits(faces, misfits)
    judge_duplicates(faces, findings)
    for face in faces:
        if (box := face.seen.box) is not None:
            boxes = parts[face.source.name][face.part].boxes
            boxes[box] = boxes.get(box, 0) + 1
    by_name = {(face.source.name, face.record.name): face for face in faces}
    return Examination(about, terms, parts, absent, worst_first(_once(findings)), by_name, not_checked)


def _once(findings: list[Finding]) -> list[Finding]:
    """A face that can't be read, or isn't a face, isn't also called odd in other ways."""
    dead = {(f.source, f.face) for f in findings if f.face and f.kind in ("unreadable picture", "unreadable annotation")}
    return [
        f for f in findings if (f.source, f.face) not in dead or f.kind in ("unreadable picture", "unreadable annotation")
    ]


def _distinct(points: Array) -> bool:
    """Whether nearly all points have a place of their own."""
    if not np.isfinite(points).all():
        return False
    _, counts = np.unique(points, axis=0, return_counts=True)
    return len(counts) >= _PLACES and int(counts.max()) <= 2


def _judge_shapes(faces: list[Face], findings: list[Finding]) -> dict[int, float]:
    """Adds what annotations look like as shapes; returns the numbers of the faces that look like none."""
    # Points in a wrong order can be insane for that alone: the order is what to mend then.
    sane = [i for i, face in enumerate(faces) if face.points is not None and (not face.fault or _distinct(face.points))]
    points = np.array([faces[i].points for i in sane]).reshape(-1, 68, 2)
    sets = [f"{faces[i].source.name} {faces[i].part}" for i in sane]
    groups = [f"{faces[i].source.name} {faces[i].record.photograph}" for i in sane]
    shapes: Shapes = judge_shapes(points, groups, sets)
    odd = {}
    for i, verdict in zip(sane, shapes.verdicts, strict=True):
        face = faces[i]
        if verdict is None or (face.fault and verdict.kind not in ORDERS):
            continue
        detail = verdict.detail + (f" ({face.fault})" if face.fault else "")
        findings.append(face.found(verdict.kind, detail, verdict.weight, fatal=bool(face.fault), point=verdict.point))
        odd[i] = verdict.weight
    findings += [
        face.found("impossible annotation", face.fault) for i, face in enumerate(faces) if face.fault and i not in odd
    ]
    for name, (verdict, n) in shapes.whole.items():
        source, _, part = name.partition(" ")
        detail = f"in {n} of {sets.count(name)} faces of this part: {verdict.detail}"
        advice = "mend the whole part alike"
        findings.append(Finding(verdict.kind, source, part, detail=detail, weight=float(n), todo=advice))
        odd |= {i: 0.0 for i, own in zip(sane, sets, strict=True) if own == name}
    return odd


def _known_boxes(readers: Sequence[Reader], prepared_dir: Path | None) -> dict[str, str]:
    """Where the boxes came from that preparation has detected, by face."""
    if prepared_dir is None or not prepared_dir.is_dir():
        return {}
    from domaingap.data.prepare import boxes_file

    known = {}
    for reader in readers:
        for part in reader.parts():
            for row in read_lines(boxes_file(prepared_dir / reader.source.name / part.replace("/", "-"))):
                known[str(row["face"])] = str(row["source"])
    return known


def _look_at_all(
    faces: list[Face],
    odd: dict[int, float],
    workers: int | None,
    detect: bool,
    boxes: dict[str, str],
    not_checked: list[str],
) -> Misfits | None:
    """Looks at every picture once; what the localiser says of the annotations, where there are enough to fit it."""
    chosen = np.random.default_rng(0).permutation(len(faces))
    first, rest = np.sort(chosen[:KEPT]), np.sort(chosen[KEPT:])
    _look_at(faces, first, workers, detect, boxes, None)
    kept = np.array([i for i in first if (seen := faces[i].look) is not None and seen.views is not None], dtype=np.int64)
    learn = np.array([i not in odd and not _outside(faces[i]) for i in kept], dtype=bool)
    if learn.sum() < LEAST_FACES:
        not_checked.append(
            f"whether annotations lie on the faces of their pictures: {LEAST_FACES} sound faces are needed to learn from, "
            f"{int(learn.sum())} are here"
        )
        _look_at(faces, rest, workers, detect, boxes, None)
        return None
    views = np.stack([_known(faces[i].seen.views) for i in kept])
    points = np.stack([_known(faces[i].seen.view_points) for i in kept])
    groups = [f"{faces[i].source.name} {faces[i].record.photograph}" for i in kept]
    fit, values, fold = fit_faces(views, points, groups, learn, workers)
    _look_at(faces, rest, workers, detect, boxes, fit)
    misfits = Misfits(fit, {}, {}, set(odd))
    for i, value, number in zip(kept.tolist(), values, fold.tolist(), strict=True):
        misfits.values[i], misfits.folds[i] = value, number
    for i in rest.tolist():
        seen = faces[i].look
        if seen is not None and seen.misfits is not None:
            misfits.values[i], misfits.folds[i] = seen.misfits, 0
    return misfits


def _known(values: NDArray[T] | None) -> NDArray[T]:
    assert values is not None
    return values


def _outside(face: Face) -> bool:
    seen = face.seen
    return face.points is None or bool(face.fault) or annotation_fault(face.points, seen.size) is not None


def _look_at(
    faces: list[Face], which: NDArray[np.int64], workers: int | None, detect: bool, boxes: dict[str, str], fit: Fit | None
) -> None:
    jobs = [Job(faces[i].record.image, None if faces[i].fault else faces[i].points) for i in which]
    n_workers = worker_count(workers, len(jobs), 16 if detect else _WORTHWHILE) if jobs else 1
    looks = _spread(jobs, n_workers, (detect, boxes, fit))
    for i, seen in zip(which, track(looks, len(jobs), "looking at pictures"), strict=True):
        faces[i].look = seen


def _spread(jobs: list[Job], n_workers: int, state: tuple[bool, dict[str, str], Fit | None]) -> Iterator[Look]:
    if n_workers == 1:
        start_looking(*state)
        yield from map(look, jobs)
        looking._state.clear()
        return
    yield from spread(look, jobs, n_workers, start_looking, state)


def _judge_pictures(faces: list[Face], findings: list[Finding], misfits: Misfits | None) -> None:
    """Unreadable pictures, faces that the detector missed, and points outside their pictures."""
    for i, face in enumerate(faces):
        seen = face.seen
        if seen.error is not None:
            error = seen.error
            findings.append(face.found("unreadable picture", error.problem, file=face.record.image, todo=error.advice))
            continue
        findings += [face.found("doubtful file", doubt, file=face.record.image) for doubt in seen.doubts]
        if seen.box == "fallback":
            findings.append(face.found("detector missed", file=face.record.image))
        if face.points is None or face.fault:
            continue
        fault = annotation_fault(face.points, seen.size)
        if fault is not None:
            if _fits_turned(face):
                findings.append(face.found("impossible annotation", "fits its picture only as EXIF turns it"))
            elif misfits is not None and i not in misfits.odd:
                # A picture of another size explains it better; that is looked into with the other misfits.
                misfits.outside[i] = fault
            else:
                findings.append(face.found("impossible annotation", fault))


def _fits_turned(face: Face) -> bool:
    """Whether points that lie outside their picture lie in it as its EXIF orientation turns it."""
    try:
        turned = turned_size(face.record.image_path)
    except DataError:  # taken away meanwhile
        return False
    return turned is not None and face.points is not None and annotation_fault(face.points, turned) is None


def _judge_sizes(faces: list[Face], findings: list[Finding]) -> set[str]:
    """Pictures of another size than their release has, or than nearly all beside them; returns the sources of one size."""
    by_source = defaultdict(list)
    one_size = set()
    for face in faces:
        if face.seen.error is None:
            by_source[face.source.name].append(face)
    for name, own in by_source.items():
        ((usual, n),) = Counter(face.seen.size for face in own).most_common(1)
        side = SIDES.get(name)
        if n < _ALIKE * len(own) or n < 2:
            if side is None:
                continue
            usual = (side, side)
        elif side is not None and usual != (side, side):
            detail = f"{n} of {len(own)} pictures are {_size(usual)}; the release has {_size((side, side))}"
            findings.append(Finding("all pictures of another size", name, "", detail=detail))
        one_size.add(name)
        findings += [
            face.found("wrong size", f"{_size(face.seen.size)}, not {_size(usual)}", file=face.record.image)
            for face in own
            if face.seen.size != usual
        ]
    return one_size


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
