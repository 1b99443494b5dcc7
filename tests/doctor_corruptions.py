"""What ``domaingap data doctor`` finds of seeded corruptions of the samples: ``python -m tests.doctor_corruptions``.

Links to the samples stand in a temporary folder, and copies of what is changed; nothing of it stays. The thresholds were
chosen on AFW and the odd half of FaceSynthetics, so that the corrupted faces are HELEN's, DGFaces' and the even half of
FaceSynthetics by default (``--on chosen`` corrupts the others). Takes about five minutes on two cores, without the detector.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from domaingap.data.doctor.examine import examine
from domaingap.data.doctor.findings import Finding
from domaingap.data.readers import Reader, Record, open_reader, sources_in
from domaingap.landmarks import FACE_SYNTHETICS70, IBUG68
from tests.conftest import write_pts

FLIP = IBUG68.flip_permutation
FLIP70 = FACE_SYNTHETICS70.flip_permutation


@dataclass
class Copy:
    """A data root of links, whose faces can be changed."""

    root: Path
    readers: dict[str, Reader]
    involved: set[str] = field(default_factory=set)
    """Names of faces that aren't changed, and yet have a part in it."""

    def source(self, record: Record) -> str:
        return Path(record.annotation).relative_to(self.root).parts[0]

    def picture(self, record: Record) -> Image.Image:
        with Image.open(record.image) as image:
            return image.convert("RGB")

    def points(self, record: Record) -> np.ndarray:
        return self.readers[self.source(record)].read_landmarks(record.annotation_path)

    def write_picture(self, record: Record, picture: Image.Image) -> None:
        path = Path(record.image)
        path.unlink()
        # As well as a JPEG can: what is asked is whether a changed picture is seen, not a compressed one.
        picture.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))

    def write_points(self, record: Record, points: np.ndarray) -> None:
        path, source = Path(record.annotation), self.source(record)
        old = path.read_text()
        path.unlink()
        if source == "300w":
            write_pts(path, points)
        elif source == "face_synthetics":
            pupils = old.splitlines()[68:70]
            path.write_text("\n".join([*(f"{x:.4f} {y:.4f}" for x, y in points), *pupils]) + "\n")
        else:
            content = json.loads(old)
            standard = content["face"]["standard"]
            for key, (x, y) in zip(sorted(standard, key=int), points, strict=True):
                standard[key]["pixel_2d"] = {"x": float(y), "y": float(x)}
            path.write_text(json.dumps(content))

    def add(self, record: Record, part: str, name: str, picture: bytes | Image.Image, points: np.ndarray) -> str:
        """A face of 300-W under another name in another part; returns what it is called."""
        folder = self.root / "300w" / part
        path = folder / f"{name}.jpg"
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path, quality=95)
        write_pts(path.with_suffix(".pts"), points)
        return f"{part}/{name}"


Draw = np.random.Generator
Corrupt = Callable[[Copy, Record, Draw, int], str]
"""Changes a face; returns the name of the one to be found."""


def truncated(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    content = Path(record.image).read_bytes()
    Path(record.image).unlink()
    Path(record.image).write_bytes(content[: int(len(content) * draw.uniform(0.2, 0.9))])
    return record.name


def rescaled(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    picture, factor = copy.picture(record), draw.choice([0.5, 0.6, 0.75, 1.3, 1.5, 2.0])
    size = tuple(round(side * factor) for side in picture.size)
    copy.write_picture(record, picture.resize(size, Image.Resampling.LANCZOS))  # type: ignore[arg-type]
    return record.name


def mirrored(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    copy.write_picture(record, copy.picture(record).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    return record.name


def moved(change: Callable[[np.ndarray, Draw, int], np.ndarray]) -> Corrupt:
    def corrupt(copy: Copy, record: Record, draw: Draw, i: int) -> str:
        copy.write_points(record, change(copy.points(record), draw, i))
        return record.name

    return corrupt


def shifted(points: np.ndarray, draw: Draw, i: int) -> np.ndarray:
    step = int(draw.choice([-1, 1]))
    if i % 3 == 0:
        return np.roll(points, step, axis=0)
    points = points.copy()
    contours = IBUG68.contours if i % 3 == 1 else (IBUG68.contours[int(draw.integers(len(IBUG68.contours)))],)
    for contour in contours:
        points[list(contour.indices)] = np.roll(points[list(contour.indices)], step, axis=0)
    return points


def reordered(points: np.ndarray, draw: Draw, i: int) -> np.ndarray:
    if i % 3 == 0:
        return points[draw.permutation(68)]
    if i % 3 == 1:
        return points[::-1]
    regions = [list(indices) for indices in IBUG68.regions.values()]
    order = [regions[k] for k in (1, 2, 3, 4, 0)]
    return points[[i for region in order for i in region]]


def placeholders(points: np.ndarray, draw: Draw, i: int) -> np.ndarray:
    points = points.copy()
    if i % 5 == 0:
        points[:] = -1.0
    elif i % 5 == 1:
        points[draw.permutation(68)[:8]] = -2.0
    elif i % 5 == 2:
        points[45] = points[36]
    elif i % 5 == 3:
        points[48:68] = points[48]
    else:
        points[:] = points.mean(axis=0)
    return points


def wild(points: np.ndarray, draw: Draw, i: int) -> np.ndarray:
    points, angle = points.copy(), draw.uniform(0, 2 * np.pi)
    length = draw.uniform(0.25, 1.0) * np.linalg.norm(points[36] - points[45])
    points[draw.integers(68)] += length * np.array([np.cos(angle), np.sin(angle)])
    return points


def other_region(points: np.ndarray, draw: Draw, i: int) -> np.ndarray:
    region = list(IBUG68.regions[("eyes", "brows", "mouth", "nose")[i % 4]])
    points = points.copy()
    points[region] = points[FLIP[region]]
    return points


def _other_part(part: str) -> str:
    return "helen/trainset" if part == "helen/testset" else "helen/testset"


def duplicate(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    name = f"99{i:05d}_1"
    return copy.add(record, _other_part(record.part), name, Path(record.image).read_bytes(), copy.points(record))


def near_duplicate(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    picture, points = copy.picture(record), copy.points(record)
    if i % 3 == 0:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(draw.integers(40, 90)))
        picture = Image.open(buffer)
    elif i % 3 == 1:
        factor = draw.uniform(0.4, 0.9)
        size = [round(side * factor) for side in picture.size]
        points = (points + 0.5) * (np.array(size) / picture.size) - 0.5
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    else:
        left, top, right, bottom = (int(draw.uniform(0, 0.03) * side) for side in (*picture.size, *picture.size))
        picture = picture.crop((left, top, picture.width - right, picture.height - bottom))
        points = points - [left, top]
    return copy.add(record, _other_part(record.part), f"98{i:05d}_1", picture, points)


def mirrored_duplicate(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    picture = copy.picture(record)
    points = IBUG68.flip(copy.points(record), picture.width)
    flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return copy.add(record, _other_part(record.part), f"97{i:05d}_1", flipped, points)


_exchanged: list[Record] = []


def exchanged(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    """The annotations of two faces change places, every two."""
    _exchanged.append(record)
    if i % 2:
        one, other = _exchanged[-2], record
        points = copy.points(one), copy.points(other)
        copy.write_points(one, points[1])
        copy.write_points(other, points[0])
    return record.name


def copied(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    """The annotation of a face that isn't changed."""
    donors = [r for r in copy.readers[copy.source(record)].records(record.part) if r.photograph != record.photograph]
    donor = donors[int(draw.integers(len(donors)))]
    copy.write_points(record, copy.points(donor))
    copy.involved.add(donor.name)
    return record.name


def missing(copy: Copy, record: Record, draw: Draw, i: int) -> str:
    Path(record.image if i % 2 else record.annotation).unlink()
    return record.name


@dataclass(frozen=True)
class Kind:
    """A corruption: what makes it, which findings name it rightly, and whether only HELEN's faces can have it."""

    corrupt: Corrupt
    right: tuple[str, ...]
    helen: bool = False
    pairs: bool = False


TEN: dict[str, Kind] = {
    "truncated picture": Kind(truncated, ("unreadable picture",)),
    "picture rescaled, points not": Kind(rescaled, ("picture rescaled", "wrong size")),
    "left and right exchanged": Kind(moved(lambda p, d, i: p[FLIP]), ("left and right exchanged",)),
    "points shifted by one": Kind(moved(shifted), ("points shifted by one",)),
    "picture mirrored, points not": Kind(mirrored, ("picture mirrored",)),
    "points in another order": Kind(moved(reordered), ("points in another order",)),
    "placeholder, coinciding points": Kind(moved(placeholders), ("impossible annotation",)),
    "one wild point": Kind(moved(wild), ("wild point",)),
    "same picture in train and test": Kind(duplicate, ("same picture in train and test",), helen=True, pairs=True),
    "nearly the same in train and test": Kind(
        near_duplicate, ("nearly the same picture in train and test",), helen=True, pairs=True
    ),
}
FURTHER: dict[str, Kind] = {
    "rows and columns exchanged": Kind(moved(lambda p, d, i: p[:, ::-1]), ("rows and columns exchanged",)),
    "left and right of one region": Kind(moved(other_region), ("left and right exchanged",)),
    "mirrored copy in train and test": Kind(
        mirrored_duplicate, ("mirrored picture in train and test",), helen=True, pairs=True
    ),
    "another face's annotation, copied": Kind(copied, ("same annotation twice",), pairs=True),
    "two annotations exchanged": Kind(
        exchanged, ("annotation beside its face", "picture rescaled", "impossible annotation")
    ),
    "all points off by one pixel": Kind(moved(lambda p, d, i: p + 1.0), ()),
    "one file of two missing": Kind(missing, ("file problem", "half of a face")),
}


def linked(samples: Path, root: Path) -> Copy:
    """The samples as links below a folder, in folders of its own."""
    for about in sources_in(samples):
        assert about.folder is not None
        for path in (samples / about.folder).rglob("*"):
            place = root / path.relative_to(samples)
            if path.is_dir():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(path.resolve(), place)
    return Copy(root, {about.name: open_reader(about.name, root) for about in sources_in(root)})


def candidates(copy: Copy, on: str) -> tuple[list[Record], list[Record]]:
    """The faces to corrupt: HELEN's, and those of the other data sets."""
    helen, others = [], []
    for name, reader in copy.readers.items():
        for part in reader.parts():
            for record in reader.records(part):
                chosen = part == "afw" or (name == "face_synthetics" and int(record.name) % 2 == 1)
                if chosen == (on == "chosen"):
                    (helen if name == "300w" else others).append(record)
    return helen, others


def alarms(findings: list[Finding]) -> dict[str, list[str]]:
    """Kinds of the faults and suspects by the face that they name, the other of a pair included."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        if finding.severity != "note":
            for name in (finding.face, finding.also.partition(" ")[2]):
                if name:
                    found.setdefault(name, []).append(finding.kind)
    return found


def examined(copy: Copy, workers: int | None) -> list[Finding]:
    """What the doctor says of a folder, opened anew."""
    return examine([open_reader(name, copy.root) for name in copy.readers], workers, detect=False).findings


def corrupted(
    samples: Path, kinds: dict[str, Kind], n: int, seed: int, on: str, workers: int | None
) -> tuple[dict[str, dict[str, object]], set[str]]:
    """What is found of n corruptions of each kind in one folder; and the faces named that nobody touched."""
    draw = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as temporary:
        copy = linked(samples, Path(temporary))
        helen, others = (list(draw.permutation(np.array(group, dtype=object))) for group in candidates(copy, on))
        helen, others = ([Record(*map(str, row)) for row in group] for group in (helen, others))
        touched: dict[str, list[str]] = {}
        originals: set[str] = set()
        for kind, about in kinds.items():
            touched[kind] = []
            for i in range(n):
                # Every fourth from another data set, where that can be.
                record = (others if others and i % 4 == 3 and not about.helen else helen).pop()
                touched[kind].append(about.corrupt(copy, record, draw, i))
                originals.add(record.name)
        findings = examined(copy, workers)
        originals |= copy.involved
    found = alarms(findings)
    unpaired = " ".join(f"{f.detail} {f.file}" for f in findings if f.kind == "half of a face")
    result: dict[str, dict[str, object]] = {}
    for kind, about in kinds.items():
        names = touched[kind]
        if kind == "one file of two missing":
            counts = sum(int(m) for m in re.findall(r"(\d+) × (?:image|datapoint) without", unpaired))
            problems = sum(f.kind == "file problem" for f in findings)
            result[kind] = {"n": n, "found": counts + problems, "right": counts + problems, "missed": []}
            continue
        right = [name for name in names if set(found.get(name, [])) & set(about.right)]
        missed = {name: found.get(name, []) for name in names if name not in right}
        result[kind] = {"n": n, "found": sum(name in found for name in names), "right": len(right), "missed": missed}
    every = originals | {name for names in touched.values() for name in names}
    return result, set(found) - every


def untouched(samples: Path, workers: int | None) -> tuple[int, dict[str, list[str]]]:
    """How many faces there are, and the alarms where nothing was changed."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = linked(samples, Path(temporary))
        n = sum(len(reader.records(part)) for reader in copy.readers.values() for part in reader.parts())
        return n, alarms(examined(copy, workers))


def main() -> None:
    """Corrupt, examine, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", type=Path, required=True, help="the samples")
    parser.add_argument("--seed", type=int, default=0, help="of the faces and of what is done to them (0)")
    parser.add_argument("--n", type=int, default=30, help="faces of each kind (30)")
    parser.add_argument("--at_once", type=int, default=5, help="kinds in one folder (5)")
    parser.add_argument("--on", choices=("held_out", "chosen"), default="held_out")
    parser.add_argument("--only", help="kinds that have this in their names")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, help="write it to this JSON file")
    options = parser.parse_args()
    began = time.monotonic()
    n_faces, false = untouched(options.data_root, options.workers)
    print(f"untouched: {len(false)} of {n_faces} faces named ({100 * len(false) / n_faces:.2f}%)")
    for name, kinds in sorted(false.items()):
        print(f"  {name}: {', '.join(kinds)}")
    results: dict[str, dict[str, object]] = {}
    beside: set[str] = set()
    for group in (TEN, FURTHER):
        wanted = {name: kind for name, kind in group.items() if not options.only or options.only in name}
        for start in range(0, len(wanted), options.at_once):
            some = dict(list(wanted.items())[start : start + options.at_once])
            result, also = corrupted(options.data_root, some, options.n, options.seed + start, options.on, options.workers)
            results |= result
            beside |= also - false.keys()
            for name, row in result.items():
                print(f"{name:36} {row['found']:>3} found, {row['right']:>3} of {row['n']} rightly named", flush=True)
                for missed, instead in dict(row["missed"] or {}).items():  # type: ignore[call-overload]
                    print(f"    {missed}: {', '.join(instead) or 'nothing'}")
    ten = [results[name] for name in TEN if name in results]
    if ten:
        total = sum(int(str(row["n"])) for row in ten)
        right = sum(int(str(row["right"])) for row in ten)
        print(f"the ten: {right} of {total} found and rightly named ({100 * right / total:.1f}%)")
    print(f"beside corrupted faces, {len(beside)} further untouched ones were named; {time.monotonic() - began:.0f} s")
    if options.out:
        content = {"untouched": {"faces": n_faces, "named": false}, "kinds": results, "beside": sorted(beside)}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
