"""Everything below a data root looked at once, and what was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from domaingap.data.doctor import look as looking
from domaingap.data.doctor.annotations import Shapes, judge_shapes
from domaingap.data.doctor.beside import Misfits, judge_misfits
from domaingap.data.doctor.duplicates import HASH, near_pairs
from domaingap.data.doctor.findings import Finding, worst_first
from domaingap.data.doctor.fit import LEAST_FACES, Fit, fit_faces
from domaingap.data.doctor.look import Job, Look, look, start_looking
from domaingap.data.doctor.orders import ORDERS
from domaingap.data.doctor.shape_model import Array
from domaingap.data.images import turned_size
from domaingap.data.readers import Reader, Record
from domaingap.data.sanity import annotation_fault
from domaingap.errors import DataError
from domaingap.hashing import digest, read_lines
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
    ) -> Finding:
        """A finding about this face, in its annotation where no other file is named."""
        other = f"{also.source.name} {also.record.name}" if also else ""
        file = file or self.record.annotation
        return Finding(
            kind, self.source.name, self.part, self.record.name, file, detail, weight, also=other, todo=todo, fatal=fatal
        )


@dataclass
class Part:
    """A part: how many faces lie there, how many were published, what was passed over and what is doubtful."""

    faces: int
    published: int | None
    skipped: dict[str, int]
    boxes: dict[str, int] = field(default_factory=dict)


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
        found, there = _find(reader, findings)
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
    _judge_duplicates(faces, findings)
    for face in faces:
        if (box := _look(face).box) is not None:
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


def _find(reader: Reader, findings: list[Finding]) -> tuple[list[Face], dict[str, Part]]:
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
        findings.append(face.found(verdict.kind, detail, verdict.weight, fatal=bool(face.fault)))
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
    views = np.stack([_known(_look(faces[i]).views) for i in kept])
    points = np.stack([_known(_look(faces[i]).view_points) for i in kept])
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


def _look(face: Face) -> Look:
    assert face.look is not None
    return face.look


def _known(values: NDArray[T] | None) -> NDArray[T]:
    assert values is not None
    return values


def _outside(face: Face) -> bool:
    seen = _look(face)
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
        seen = _look(face)
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
            elif misfits is not None:
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
        if _look(face).error is None:
            by_source[face.source.name].append(face)
    for name, own in by_source.items():
        ((usual, n),) = Counter(_look(face).size for face in own).most_common(1)
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
            face.found("wrong size", f"{_size(_look(face).size)}, not {_size(usual)}", file=face.record.image)
            for face in own
            if _look(face).size != usual
        ]
    return one_size


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _judge_duplicates(faces: list[Face], findings: list[Finding]) -> None:
    """The same picture, nearly the same and mirrored, and the same annotation, under several names."""
    seen = [i for i, face in enumerate(faces) if _look(face).error is None]
    same: set[tuple[int, int]] = set()
    findings += _pairs(faces, _first_with_others([(_look(faces[i]).picture, i) for i in seen]), "same", same)
    with_points = [
        (digest([points.round(3).tobytes()]), i)
        for i in seen
        if (points := faces[i].points) is not None and not faces[i].fault
    ]
    for a, b in _first_with_others(with_points):
        if (a, b) not in same:
            findings.append(faces[b].found("same annotation twice", "point for point", also=faces[a]))
    hashes = np.array([_known(_look(faces[i]).hashes) for i in seen], np.float16).reshape(-1, 2, HASH)
    for mirrored in (False, True):
        near: dict[tuple[int, int], float] = {}
        for which in (0, 1):
            for a, b, alike in near_pairs(hashes[:, which], mirrored):
                pair = seen[a], seen[b]
                near[pair] = max(alike, near.get(pair, 0.0))
        pairs = [(a, b) for (a, b) in sorted(near, key=lambda pair: -near[pair]) if (a, b) not in same]
        findings += _pairs(faces, _spanning(pairs), "mirrored" if mirrored else "near", same, near)


def _first_with_others(keys: list[tuple[str, int]]) -> Iterator[tuple[int, int]]:
    """The first face with each key, with every other that has it."""
    first: dict[str, int] = {}
    for key, i in keys:
        if key and (a := first.setdefault(key, i)) != i:
            yield a, i


def _spanning(pairs: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those of many pairs that are needed to tell what belongs together."""
    leader: dict[int, int] = {}

    def lead(i: int) -> int:
        while leader.setdefault(i, i) != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in pairs:
        if lead(a) != lead(b):
            leader[lead(b)] = lead(a)
            yield a, b


_WORDS = {
    "same": ("same picture in train and test", "same picture twice"),
    "near": ("nearly the same picture in train and test", "nearly the same picture twice"),
    "mirrored": ("mirrored picture in train and test", "mirrored picture twice"),
}


def _pairs(
    faces: list[Face],
    pairs: Iterator[tuple[int, int]],
    how: str,
    same: set[tuple[int, int]],
    alike: dict[tuple[int, int], float] | None = None,
) -> list[Finding]:
    """Findings of pairs; the faces of one photograph share their picture by design, unless train and test do."""
    found = []
    for a, b in pairs:
        one, other = faces[a], faces[b]
        if how == "same":
            same.add((a, b))
        across = one.side != other.side
        if not across and one.source is other.source and one.record.photograph == other.record.photograph:
            continue
        # Of train and test the one in training is the one to take out.
        if across and other.side == "test":
            one, other = other, one
        weight = alike[(a, b)] if alike else 1.0
        detail = "pixel for pixel" if how == "same" else f"alike to {weight:.3f} (perceptual hash)"
        found.append(other.found(_WORDS[how][0 if across else 1], detail, weight, one, file=other.record.image))
    return found
