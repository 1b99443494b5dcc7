"""What a run says of its data: parts with counts, published ones beside, and what isn't as it should be."""

from __future__ import annotations

from collections import Counter
from typing import Any

from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.data.faces import FaceDataset
from domaingap.hashing import digest
from domaingap.sources import source
from domaingap.study.record import DataRecord, PartRecord, SetRecord

Module = RealDataModule | SyntheticDataModule


def describe(data: DataRecord) -> str:
    """One line on a data set."""
    parts = []
    for name, part in data.parts.items():
        count = f"{part.n_faces}" + (f" of {part.n_published}" if part.n_published else "")
        out = Counter(part.left_out.values())
        notes = [f"{n} {why} passed over" for why, n in part.skipped.items() if why not in out]
        notes += [f"{n} left out: {why}" for why, n in out.items()]
        notes += [f"{n} doubtful: {why}" for why, n in part.doubts.items()]
        if part.box_sources.get("fallback"):
            notes.append(f"{part.box_sources['fallback']} fell back to the landmarks' box")
        parts.append(f"{name} {count}" + (f" ({', '.join(notes)})" if notes else ""))
    text = f"{data.source}"
    if source(data.source).folder is not None:
        text += f", {'partial release' if data.partial else 'complete'}"
    text += ": " + ", ".join(parts)
    if data.absent_parts:
        text += f"; absent: {', '.join(data.absent_parts)}"
    if data.moved:
        named = [f"{name} (as {test})" for name, test in list(data.moved.items())[:3]]
        more = f" and {len(data.moved) - 3} more" if len(data.moved) > 3 else ""
        text += f"; left out of training, since the photograph is in a test set: {', '.join(named)}{more}"
    return text


def describe_data(module: Module) -> DataRecord:
    """A module's data set."""
    metas = {part.name: part.meta for part in module.faces.prepared}
    absent = module.about.absent(metas)
    terms = sorted(module.faces.seen(module.train_positions[:0]).licences, key=str)
    return DataRecord(
        source=module.source,
        fingerprint=digest(meta["fingerprint"].encode() for meta in metas.values()),
        partial=bool(absent) or any(meta["partial"] for meta in metas.values()),
        absent_parts=absent,
        parts={
            name: PartRecord(**{key: meta[key] for key in PartRecord.__dataclass_fields__}) for name, meta in metas.items()
        },
        n_train=len(module.train_positions),
        n_val=len(module.val_positions),
        boxes=module.box_rule(),
        licence=", ".join(map(str, terms)),
        citation="; ".join(one.citation for one in terms),
        moved=module.moved if isinstance(module, RealDataModule) else {},
    )


def describe_split(module: Module) -> dict[str, Any]:
    """Which faces train, validate and test, by fingerprint and by name."""
    faces = module.faces
    positions = {"train": module.train_positions, "val": module.val_positions, **module.test_positions}
    return {
        name: {"fingerprint": faces.fingerprint(p), "n": len(p), "names": faces.names[p].tolist()}
        for name, p in positions.items()
    }


def describe_set(name: str, dataset: FaceDataset, module: Module, pictures: str = "") -> SetRecord:
    """Counts of a scored set of a module's faces, and the key of their pictures."""
    faces, positions = dataset.faces, dataset.positions
    metas = {part.name: part.meta for part in faces.prepared if part.name in set(faces.parts[positions].tolist())}
    of, found = module.about, {p: meta["n_faces"] for p, meta in metas.items()}
    whole = name.removeprefix("test/")
    return SetRecord(
        images=len(positions),
        photographs=len(set(faces.photographs[positions].tolist())),
        fallback_boxes=int((faces.box_sources[positions] == "fallback").sum()),
        partial=any(p not in metas or metas[p]["partial"] for p in of.parts_of(whole)),
        parts=found,
        published=of.published_size(whole, found),
        boxes=module.box_rule(),
        fingerprint=dataset.fingerprint(),
        pictures=pictures,
    )
