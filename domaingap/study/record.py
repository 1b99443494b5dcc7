"""What a run leaves behind: ``result.json`` as a typed record, and which records are equal, alike, or comparable."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from domaingap.config import determining, spelled
from domaingap.errors import UserError
from domaingap.hashing import content_key, write_json
from domaingap.models.gap_and_error import GapAndError
from domaingap.progress import console

SCHEMA = 1
"""Raised when ``result.json`` changes its form."""

T = TypeVar("T")


@dataclass(frozen=True)
class SetRecord:
    """A scored set of faces.

    ``published`` is what the whole of it would count, absent parts included; ``fingerprint`` the faces' identity by content;
    ``pictures`` the key of their small pictures (:mod:`domaingap.study.thumbnails`). The last two are empty where the run
    kept none, as earlier versions.
    """

    images: int
    photographs: int
    fallback_boxes: int
    partial: bool
    parts: dict[str, int]
    published: int | None
    boxes: str
    fingerprint: str = ""
    pictures: str = ""


@dataclass(frozen=True)
class PartRecord:
    """A prepared part of a data set.

    ``skipped`` counts what was passed over, by reason; ``doubts`` annotations and pictures that look wrong, by what looks
    wrong; ``left_out`` names the faces that can't be used, and says why: they are counted in ``skipped``, too.
    """

    n_faces: int
    n_published: int | None
    partial: bool
    skipped: dict[str, int]
    doubts: dict[str, int]
    box_sources: dict[str, int]
    fingerprint: str
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DataRecord:
    """A data set as a run saw it; ``moved`` names training faces left out because their photograph is in a test set."""

    source: str
    fingerprint: str
    partial: bool
    absent_parts: list[str]
    parts: dict[str, PartRecord]
    n_train: int
    n_val: int
    boxes: str
    licence: str
    moved: dict[str, str] = field(default_factory=dict)
    citation: str = ""


@dataclass(frozen=True)
class StageRecord:
    """A network that the run trained or found trained; ``steps`` are its own, ``best`` its validations by name."""

    title: str
    key: str
    reused: bool
    steps: int
    picked_step: int
    n_train: int
    fit: dict[str, Any]
    seconds: float
    train_loss: float
    best: dict[str, dict[str, float]]


@dataclass(frozen=True)
class AdapterStageRecord:
    """A fit of label adapters."""

    key: str
    reused: bool
    n_pairs: int
    seconds: float


@dataclass(frozen=True)
class AdapterRecord:
    """The label adapter that a run used, and what it does; movements in % of the outer eye corners' distance.

    ``nme_before`` and ``nme`` are on the faces that chose; where it learned the difference of both domains' errors, they are
    of answers freed from the network's own error. Runs of earlier versions are as the last three's defaults say: plain,
    without parts, and held to the labels' own spread.
    """

    use: str
    kind: str
    strength: float
    setting: float | None
    chosen_on: str
    nme_before: float
    nme: float
    nme_by_kind: dict[str, float]
    movement_predictions: dict[str, float]
    movement_labels: dict[str, float]
    spread_ratio: float | None
    shape_kept: float | None
    warning: str | None
    movement_warning: str | None
    learned: Literal["plain", "difference"] = "plain"
    parts: GapAndError | None = None
    spread_aim: float = 1.0


@dataclass(frozen=True)
class StartRecord:
    """The checkpoint that the first stage started from: what it had seen, where it carries a record (``known``), and how
    many of its training faces are in this run's validation and test sets (``overlap``)."""

    checkpoint: str
    known: bool
    n_real: int
    steps: int
    overlap: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DomainDistance:
    """How far synthetic hold-out and real validation faces lie apart in a network's features; see
    :mod:`domaingap.domain_distance`.

    Attributes:
        features: which ones, in words.
        width: how many.
        n_synthetic: synthetic faces that were looked at.
        n_real: real ones.
        kid: unbiased MMD² under the polynomial kernel (the kernel Inception distance's, on these features).
        kid_interval: its 95% interval.
        kid_null: the middle 95% of what permutations give.
        kid_p: that the two are one distribution.
        mmd: unbiased MMD² under the Gaussian kernel at the median distance.
        mmd_interval: likewise.
        mmd_null: likewise.
        mmd_p: likewise.
    """

    features: str
    width: int
    n_synthetic: int
    n_real: int
    kid: float
    kid_interval: tuple[float, float]
    kid_null: tuple[float, float]
    kid_p: float
    mmd: float
    mmd_interval: tuple[float, float]
    mmd_null: tuple[float, float]
    mmd_p: float


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        schema: form of this record.
        key: identity by content of all that determines the figures.
        request: identity of what was asked for, before any data was opened.
        identity: what is hashed to it, but for seed and splits: settings as resolved, data fingerprints, formats.
        metrics: by name (``val/nme``, ``test/common/nme``); None where a figure isn't a number. Test sets are missing where
            they weren't scored.
        files: checksums of its predictions and checkpoints.
        licences: of all data that its networks and adapters have seen, with the data sets' titles.
        non_commercial: whether any of them excludes commercial use; None where that isn't known.
        domain_distance: of synthetic and real faces in the answering network's features; None without synthetic faces, and
            of earlier versions.
        sigma_factor: what the network's standard deviations are multiplied by, from its errors on ``val``; None of a network
            that tells none, and of earlier versions.
        folder: where it was read from; not part of the file.
    """

    schema: int
    key: str
    request: str
    recipe: str
    name: str
    seed: int
    alpha: float | None
    n_real_train: int
    n_real_selection: int
    selection: str
    n_synthetic: int
    n_synthetic_selection: int
    adapter: AdapterRecord | None
    steps_answering: int
    steps_total: int
    start: StartRecord | None
    licences: list[str]
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    interval_rule: str
    counts: dict[str, SetRecord]
    data: dict[str, DataRecord]
    box_rule: str
    stages: list[StageRecord]
    adapter_stages: list[AdapterStageRecord]
    identity: dict[str, Any]
    config: dict[str, Any]
    git_commit: str | None
    wall_time_s: float
    wandb: str
    hardware: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str]
    non_commercial: bool | None = None
    domain_distance: DomainDistance | None = None
    sigma_factor: float | None = None
    folder: Path = field(default=Path(), compare=False)

    # What it is

    @property
    def source(self) -> str:
        """The synthetic data set; empty where there is none."""
        return self.data["synthetic"].source if "synthetic" in self.data else ""

    @property
    def appearance(self) -> str:
        """What was done to the look of its synthetic training pictures, by unlabelled real ones; empty where nothing."""
        look = self.identity.get("synthetic", {}).get("appearance", "none")
        return "" if look == "none" else str(look)

    @property
    def strategy(self) -> str:
        """Its recipe, with α and with the look of its synthetic pictures where that isn't their own."""
        return strategy(self.recipe, self.alpha, self.appearance)

    @property
    def n_real(self) -> str:
        """Real images as ``n + 300``: fitted on, and those that picked something."""
        least = ">= " if self.start is not None and not self.start.known else ""
        return f"{least}{self.n_real_train}" + (f" + {self.n_real_selection}" if self.n_real_selection else "")

    @property
    def scratch_steps(self) -> int:
        """Optimiser steps of the first network."""
        return self.stages[0].steps

    def value(self, on: str, metric: str = "nme") -> float | None:
        """A metric on a set of faces (``val``, ``source_val``, ``common``, …); None where there is none."""
        return self.metrics.get(f"{set_key(on)}/{metric}")

    # What it may be put beside

    @functools.cached_property
    def group_key(self) -> str:
        """The same for runs that differ in their seed alone."""
        return content_key([self.recipe, self.identity])

    @functools.cached_property
    def spelled(self) -> dict[str, Any]:
        """Its identity for people to read: also with what an identity leaves out."""
        return spelled(self.identity)

    @functools.cached_property
    def setting(self) -> dict[str, Any]:
        """What any two runs must share to be compared: network, crops, augmentation, how both are trained but for the
        number of steps and of processes, whether they answer by mirrored looks, too, and the real faces by content."""
        given = self.spelled
        fit = {key: value for key, value in given["fit"].items() if key not in ("steps", "val_every", "processes")}
        shared = ("model", "init_from", "crop", "augment", "real", "mirror_test")
        return {**{key: given[key] for key in shared}, "fit": fit, "faces": self.data["real"].fingerprint}

    @functools.cached_property
    def synthetic_setting(self) -> dict[str, Any] | None:
        """Likewise of the synthetic faces, for two runs that both have some; what is done to their look is a strategy."""
        if "synthetic" not in self.data:
            return None
        faces = {key: value for key, value in self.spelled["synthetic"].items() if not key.startswith("appearance")}
        return {"synthetic": faces, "n_synthetic": self.identity["n_synthetic"], "faces": self.data["synthetic"].fingerprint}

    def comparable_with(self, other: RunRecord) -> bool:
        """Whether the two differ in nothing but strategy, budget, selection rule, number of steps and seed."""
        both = self.synthetic_setting is not None and other.synthetic_setting is not None
        return self.setting == other.setting and (not both or self.synthetic_setting == other.synthetic_setting)

    def write(self) -> None:
        """Write ``result.json``, atomically."""
        content = _adapter(RunRecord).dump_python(self, mode="json", exclude={"folder"})
        write_json(self.folder / "result.json", content)


def strategy(recipe: str, alpha: float | None, appearance: str = "") -> str:
    """A recipe, with α where it has one, and with what was done to the look of its synthetic pictures: another strategy."""
    return recipe + (f" α={alpha:g}" if alpha is not None else "") + (f" + {appearance}" if appearance else "")


def appearance_of(settings: Any) -> str:
    """What a run's settings do to the look of its synthetic training pictures; empty where nothing."""
    look = settings.synthetic.appearance if hasattr(settings, "synthetic") else "none"
    return "" if look == "none" else str(look)


def request_key(recipe: str, settings: Any) -> str:
    """Identity of what is asked for: recipe and settings, as a dataclass or as :func:`determining` gives them."""
    return content_key([recipe, settings if isinstance(settings, dict) else determining(settings)])


def set_key(on: str) -> str:
    """A set's name in front of metrics: test sets lie behind ``test/``."""
    return on if on in ("val", "source_val") else f"test/{on}"


_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


def typed(kind: type[T], value: Any, where: str) -> T:
    """Plain settings or a plain record as the dataclass that they are of; UserError names the place where they aren't."""
    try:
        made: T = _adapter(kind).validate_python(value)
        return made
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from error
    except UserError as error:  # of settings that look at themselves
        raise UserError(f"{where}: {error}") from error


def read_record(path: Path) -> RunRecord:
    """A run's record from its ``result.json``.

    Raises:
        UserError: damaged, no result of this suite, or of another version of it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and give the run's command again") from error
    if not isinstance(content, dict) or "recipe" not in content or "metrics" not in content:
        raise UserError(f"{path}: not a result of this suite; move it away")
    if content.get("schema") != SCHEMA:
        found = content.get("schema", 0)
        raise UserError(f"{path}: a result of schema {found}, this version reads {SCHEMA}; give the run's command again")
    record = typed(RunRecord, {**content, "folder": path.parent}, str(path))
    if lacking := _lacking(record):
        raise UserError(f"{path}: {lacking}: not as a result of this suite has it; move it away")
    return record


NUMBER = (int, float)
ASKED: dict[str, Any] = {
    "model": {"backbone": str, "pretrained": (bool, str)},
    "init_from": (str, type(None)),
    "crop": {"size": int, "channels": str},
    "augment": dict,
    "real": dict,
    "fit": dict,
}
"""What comparisons and tables ask of an identity, and of which type."""
ASKED_OF_FIT = {"steps": int, "batch_size": int, "lr": NUMBER}
ASKED_OF_SYNTHETIC = {"synthetic": dict, "n_synthetic": (int, type(None))}


def _lacking(record: RunRecord) -> str | None:
    """What a record lacks, or has of another type, that pydantic doesn't look into; None where it is whole."""

    def first(value: Any, asked: Any, place: str) -> str | None:
        if not isinstance(asked, dict):
            return None if isinstance(value, asked) else place
        if not isinstance(value, dict):
            return place
        inner = (first(value[k], a, f"{place}.{k}") if k in value else f"{place}.{k}" for k, a in asked.items())
        return next((found for found in inner if found), None)

    asked = {**ASKED, **(ASKED_OF_SYNTHETIC if "synthetic" in record.data else {})}
    stages = (first(stage.fit, ASKED_OF_FIT, f"stages.{i}.fit") for i, stage in enumerate(record.stages))
    real = None if "real" in record.data else "data.real"
    batches = (f"stages.{i}.fit.batch_size" for i, stage in enumerate(record.stages) if stage.fit.get("batch_size", 0) < 1)
    problems = [first(record.identity, asked, "identity"), real, "stages" if not record.stages else None, *stages]
    return next((problem for problem in problems if problem), None) or next(batches, None)


@dataclass(frozen=True)
class Found:
    """The records below a folder: each run once, and what was passed over and why."""

    records: list[RunRecord]
    repeated: int
    passed_over: list[str]

    def say(self) -> None:
        """Print what isn't in the records."""
        if self.repeated:
            s = "s" if self.repeated > 1 else ""
            console.print(f"{self.repeated} result{s} found more than once, counted once", markup=False)
        if self.passed_over:
            s = "s" if len(self.passed_over) > 1 else ""
            console.print(f"{len(self.passed_over)} result{s} passed over:", markup=False)
            for problem in self.passed_over:
                console.print(f"  {problem}", markup=False)


def read_records(folder: Path) -> Found:
    """Every finished run below a folder, each once, wherever its copies lie.

    Raises:
        UserError: no such folder, or two results of one run that contradict each other.
    """
    if not folder.is_dir():
        problem = "not a folder" if folder.exists() else "a link to nothing" if folder.is_symlink() else "no such folder"
        raise UserError(f"{folder}: {problem}; give the --runs_dir of your runs")
    records = []
    paths, again, passed_over = _results(folder)
    for path in paths:
        try:
            records.append(read_record(path))
        except UserError as error:
            passed_over.append(str(error))
    once = distinct(records)
    return Found(once, again + len(records) - len(once), passed_over)


def _results(folder: Path) -> tuple[list[Path], int, list[str]]:
    """The ``result.json`` below a folder, links to folders followed; how many of them a second path leads to; and what
    can't be looked into."""
    paths: list[Path] = []
    seen: set[tuple[int, int]] = set()
    again, refused, places = 0, [], [folder]
    while places:
        place = places.pop()
        try:
            stat = place.stat()
            with os.scandir(place) as entries:
                inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            refused.append(f"{place}: can't be looked into ({error.strerror})")
            continue
        found = any(entry.name == "result.json" for entry in inside)
        if (stat.st_dev, stat.st_ino) in seen:
            # A link: to a folder that was looked into, or to one that it lies in.
            again += found
            continue
        seen.add((stat.st_dev, stat.st_ino))
        paths.extend([place / "result.json"] if found else [])
        places += [place / entry.name for entry in inside if os.path.isdir(entry)]
        if not found and place.name != "wandb":  # which links to files of its own, wherever they were
            lost = [place / entry.name for entry in inside if not os.path.exists(entry)]
            refused += [f"{path}: a link to nothing" for path in lost]
    return paths, again, refused


def distinct(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Each run once; of equal ones the one with the most figures.

    Raises:
        UserError: two results of one run whose figures differ.
    """
    once: dict[str, RunRecord] = {}
    for record in records:
        kept = once.setdefault(record.key, record)
        for name in sorted(kept.metrics.keys() & record.metrics.keys()):
            if kept.metrics[name] != record.metrics[name]:
                both = f"{kept.metrics[name]} and {record.metrics[name]}"
                raise UserError(
                    f"{kept.folder} and {record.folder} are results of one run, but their {name} is {both}; move one away"
                )
        if len(record.metrics) > len(kept.metrics):
            once[record.key] = record
    return list(once.values())


def by_seed(records: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """Records of a group by their seed, in order."""
    return {record.seed: record for record in sorted(records, key=lambda record: record.seed)}
