"""Where a page's figures come from: data, settings, software, time, licences, what is missing, and how to repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from domaingap.errors import UserError
from domaingap.hashing import flat
from domaingap.provenance import licence_line
from domaingap.sources import source
from domaingap.study.page.blocks import Block, Listing, Section, Words
from domaingap.study.record import DataRecord, RunRecord
from domaingap.study.tables import Column, Table, number_column

PLACES = ("data_root", "runs_dir", "prepared_dir", "wandb", "reuse", "real.root", "synthetic.root", "fit.num_workers",
          "synthetic.generated.heads_dir")  # fmt: skip
"""Settings that say where things lie and determine no figure; the page is for people on other machines."""


def provenance_section(
    records: Sequence[RunRecord], passed_over: Sequence[str] = (), made: str = "", faces_shown: bool = False
) -> Section:
    """All of it.

    Args:
        records: the runs of the page, one at least.
        passed_over: results that couldn't be read, and why.
        made: when the page was made, in words; empty where it shouldn't say.
        faces_shown: whether the page holds pictures of faces.
    """
    lacking = missing(records, passed_over)
    blocks: list[Block] = [*map(Words, licence_words(records, faces_shown))]
    blocks += (
        [lacking] if lacking.rows else [Words("No data set is partial, no run unscored, no face fell back to another box.")]
    )
    blocks += [data_table(records), parts_table(records), sets_table(records)]
    blocks += [time_table(records), software_table(records)]
    differing = differing_table(records)
    blocks += [differing] if differing.rows else []
    blocks += repeating(records)
    if made:
        blocks.append(Words(f"This page was made {made}."))
    return Section("provenance", "Where this comes from", blocks)


# Licences.


def licence_words(records: Sequence[RunRecord], faces_shown: bool = False) -> list[str]:
    """What the networks, and the pictures on the page, may be used for."""
    uses = {record.non_commercial for record in records}
    worst = True if True in uses else None if None in uses else False
    named = sorted({name for record in records for name in record.licences})
    line = licence_line(named, worst)
    said = [line[0].upper() + line[1:] + "."]
    people = sorted({_title(data.source) for data in _data(records, "real") if _photographs(data.source)})
    if people and faces_shown:
        said.append(
            f"This page holds photographs of people, from {' and '.join(people)}. Before you publish it, or put it where "
            "others can read it, look at the licence of these photographs."
        )
    return said


def _data(records: Iterable[RunRecord], role: str) -> list[DataRecord]:
    return [record.data[role] for record in records if role in record.data]


def _title(name: str) -> str:
    try:
        return source(name).title
    except UserError:  # a data set that this version doesn't know
        return name


def _photographs(name: str) -> bool:
    """Whether a data set's faces are people's: all that are read from files as real ones, or not known."""
    try:
        return source(name).folder is not None and source(name).role == "real"
    except UserError:
        return True


# Tables. Each row stands for all runs that say the same.


def _spread(numbers: Iterable[int]) -> tuple[int, ...] | None:
    """Lowest and highest of some numbers; one where they are equal, None of none."""
    found = sorted(set(numbers))
    return (found[0], found[-1])[: len(found)] if found else None


def _to(ends: tuple[int, ...]) -> str:
    return " to ".join(f"{end:,}" for end in ends)


def _whole(partial: bool) -> str:
    return "partial" if partial else "complete"


def _count(number: int) -> str:
    return f"{number:,}"


def _counted(counts: Mapping[str, int]) -> str | None:
    return "; ".join(f"{number:,} {why}" for why, number in counts.items() if number) or None


def data_table(records: Sequence[RunRecord]) -> Table:
    """Data sets, each version by its fingerprint."""
    alike: dict[tuple[str, str, str], list[DataRecord]] = {}
    for record in records:
        for role, data in record.data.items():
            alike.setdefault((role, data.source, data.fingerprint), []).append(data)
    rows = [
        [_title(name), role, print_, _spread(d.n_train for d in of), _spread(d.n_val for d in of),
         _whole(of[0].partial), ", ".join(of[0].absent_parts) or None, of[0].boxes, of[0].licence or None,
         of[0].citation or None, len(of)]
        for (role, name, print_), of in sorted(alike.items())
    ]  # fmt: skip
    columns = [
        Column("data set"), Column("as"), Column("fingerprint"), number_column("for training", _to),
        number_column("for validation", _to), Column("release"), Column("absent parts"), Column("face boxes"),
        Column("licence"), Column("made by"), number_column("runs"),
    ]  # fmt: skip
    notes = ["for training: the faces that budgets are drawn from. fingerprint: of all pictures and annotations by content."]
    return Table("Data sets", columns, rows, notes)


def parts_table(records: Sequence[RunRecord]) -> Table:
    """What was found of each data set, part by part."""
    found: dict[tuple[str, str, str], list[Any]] = {}
    for record in records:
        for data in record.data.values():
            for name, part in data.parts.items():
                left_out = Counter(part.left_out.values())
                passed = {why: count for why, count in part.skipped.items() if why not in left_out}
                found.setdefault(
                    (data.source, name, part.fingerprint),
                    [_title(data.source), name, part.n_faces, part.n_published, _counted(passed), _counted(left_out),
                     _counted(part.doubts), _counted(part.box_sources), part.fingerprint],
                )  # fmt: skip
    columns = [
        Column("data set"), Column("part"), number_column("faces", _count), number_column("published", _count),
        Column("passed over"), Column("left out"), Column("doubtful"), Column("boxes from"), Column("fingerprint"),
    ]  # fmt: skip
    return Table("Parts of the data sets", columns, [row for _, row in sorted(found.items())])


def sets_table(records: Sequence[RunRecord]) -> Table:
    """The scored sets of faces."""
    found: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        for name, of in record.counts.items():
            found[name, of.images, of.photographs, of.published, of.partial, of.fallback_boxes, of.boxes] += 1
    rows = [
        [
            name.removeprefix("test/"),
            images,
            photographs,
            published,
            "partial" if partial else "complete",
            fallbacks,
            boxes,
            runs,
        ]
        for (name, images, photographs, published, partial, fallbacks, boxes), runs in found.items()
    ]
    columns = [
        Column("faces"), number_column("images", _count), number_column("photographs", _count),
        number_column("published", _count), Column("set"), number_column("fell back to another box", _count),
        Column("face boxes"), number_column("runs"),
    ]  # fmt: skip
    return Table("Scored sets of faces", columns, rows)


def time_table(records: Sequence[RunRecord]) -> Table:
    """What it took, by recipe and together."""
    by_recipe: dict[str, list[RunRecord]] = {}
    for record in records:
        by_recipe.setdefault(record.recipe, []).append(record)
    rows = [_time(recipe, of) for recipe, of in by_recipe.items()]
    rows += [_time("together", records)] if len(rows) > 1 else []
    columns = [
        Column("recipe"), number_column("runs"), number_column("networks trained"), number_column("found trained"),
        number_column("steps", _count), number_column("time training", _duration), number_column("wall time", _duration),
    ]  # fmt: skip
    notes = [
        "wall time: of all runs one behind the other, preparing and scoring included. found trained: networks that another "
        "run had trained already. time training: of the networks trained here."
    ]
    return Table("Time", columns, rows, notes)


def _time(name: str, records: Sequence[RunRecord]) -> list[Any]:
    stages = [stage for record in records for stage in record.stages]
    own = [stage for stage in stages if not stage.reused]
    return [
        name, len(records), len(own), len(stages) - len(own), sum(stage.steps for stage in own),
        sum(stage.seconds for stage in own), sum(record.wall_time_s for record in records),
    ]  # fmt: skip


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
    )


def software_table(records: Sequence[RunRecord]) -> Table:
    """Commits, machines and versions, with how many runs have each."""
    found: dict[str, list[Any]] = {"git commit": [record.git_commit or "not known" for record in records]}
    tellers: tuple[Callable[[RunRecord], Mapping[str, Any]], ...] = (lambda r: r.hardware, lambda r: r.versions)
    for told in tellers:
        for key in dict.fromkeys(key for record in records for key in told(record)):
            found[key] = [told(record).get(key, "not recorded") for record in records]
    rows = []
    for name, values in found.items():
        counts = Counter(map(_shown, values))
        rows += [[name, value, runs] for value, runs in counts.most_common()]
    return Table("Software and machines", [Column("what"), Column("value"), number_column("runs")], rows)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def missing(records: Sequence[RunRecord], passed_over: Sequence[str] = ()) -> Table:
    """What is partial, missing or doubtful."""
    rows: list[list[Any]] = []
    n = len(records)

    def add(what: str, found: Iterable[Hashable]) -> None:
        rows.extend([what, str(value), runs] for value, runs in Counter(found).items())

    for role in ("real", "synthetic"):
        of = _data(records, role)
        add("partial release", (_title(d.source) for d in of if d.partial))
        add("absent parts", (f"{_title(d.source)}: {', '.join(d.absent_parts)}" for d in of if d.absent_parts))
        add("left out of training, as the photograph is in a test set",
            (f"{_title(d.source)}: {len(d.moved)} faces" for d in of if d.moved))  # fmt: skip
    add("fell back to another face box",
        (f"{name.removeprefix('test/')}: {s.fallback_boxes} of {s.images} faces"
         for record in records for name, s in record.counts.items() if s.fallback_boxes))  # fmt: skip
    scored = [any(name.startswith("test/") for name in record.counts) for record in records]
    if not all(scored):
        rows.append(["not scored on any test set", "validation picked another α, or score_test was off", n - sum(scored)])
    unsure = [set_name for record in records for set_name in record.counts if record.metrics.get(f"{set_name}/nme") is None]
    add("NME that isn't a number", (name.removeprefix("test/") for name in unsure))
    add("unknown start", (Path(r.start.checkpoint).name for r in records if r.start is not None and not r.start.known))
    add("start that had seen faces of these sets",
        (f"{Path(r.start.checkpoint).name}: " + ", ".join(f"{v} of {k}" for k, v in r.start.overlap.items() if v)
         for r in records if r.start is not None and any(r.start.overlap.values())))  # fmt: skip
    warned = [r.adapter.warning for r in records if r.adapter is not None and r.adapter.warning]
    rows += [["label adapter with a warning", f"as: {warned[0]}", len(warned)]] if warned else []
    add("commit with changes that aren't in it", ("" for r in records if r.git_commit and r.git_commit.endswith("+changes")))
    add("no commit known", ("" for r in records if r.git_commit is None))
    commits = {r.git_commit for r in records}
    if len(commits) > 1:
        rows.append(["several commits", f"{len(commits)}: see Software and machines", n])
    rows += [["result passed over", problem, None] for problem in passed_over]
    return Table("Partial, missing or doubtful", [Column("what"), Column("which"), number_column("runs")], rows)


# Settings, and the commands that repeat it.


def _settings(record: RunRecord) -> dict[str, Any]:
    """A run's settings as they were resolved, without those of :data:`PLACES`. In earlier versions an adapter for labels had
    no choice of what to learn: now the command must say what it did."""
    config, adapter = record.config, record.adapter
    if adapter is not None and adapter.use == "labels" and isinstance(config.get("adapter"), Mapping):
        config = {**config, "adapter": {"labels": adapter.learned, **config["adapter"]}}
    return _without(config, frozenset(PLACES))


def _without(settings: Mapping[str, Any], dropped: frozenset[str], prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if dotted in dropped:
            continue
        if isinstance(value, Mapping):
            inner = _without(value, dropped, f"{dotted}.")
            if inner or not value:
                kept[key] = inner
        else:
            kept[key] = value
    return kept


def differing_table(records: Sequence[RunRecord]) -> Table:
    """Settings that aren't the same in all runs that have them, with their values and how many runs have each."""
    given = [flat(_settings(record)) for record in records]
    rows = []
    for key in dict.fromkeys(key for of in given for key in of):
        counts = Counter(of[key] for of in given if key in of)
        if len(counts) > 1:
            rows.append([key, ", ".join(f"{value} ({runs})" for value, runs in counts.items()), sum(counts.values())])
    columns = [Column("setting"), Column("values (runs)"), number_column("runs that have it")]
    return Table("Settings that differ between runs", columns, rows)


def repeating(records: Sequence[RunRecord]) -> list[Block]:
    """The commands that repeat the runs, and a file of settings for each recipe.

    A recipe's file holds what all its runs share; each command names what its run has of its own. They are right whatever
    made the runs: a sweep, an agent, a shell.
    """
    by_recipe: dict[str, list[RunRecord]] = {}
    for record in records:
        by_recipe.setdefault(record.recipe, []).append(record)
    commands: list[str] = []
    files: list[Block] = []
    for recipe, of in by_recipe.items():
        given = [_leaves(_settings(record)) for record in of]
        own = [
            key for key in dict.fromkeys(key for leaves in given for key in leaves)
            if len({repr(leaves.get(key, _settings)) for leaves in given}) > 1
        ]  # fmt: skip
        shared = _without(_settings(of[0]), frozenset(own))
        text = yaml.safe_dump(shared, sort_keys=False, allow_unicode=True)
        files.append(Listing(f"{recipe}.yaml: what its {len(of)} runs share" if len(of) > 1 else f"{recipe}.yaml", text))
        for leaves in given:
            options = [f"--{key} {_argument(leaves[key])}" for key in own if key in leaves]
            commands.append(" ".join([f"uv run domaingap run {recipe} --config {recipe}.yaml", *options]))
    words = Words(
        "These commands repeat the runs"
        + (", one a line" if len(commands) > 1 else "")
        + ". They read the settings below, each saved under its name, and need --data_root DIR where the data sets lie "
        "elsewhere than in data. Networks that several runs share are trained once."
    )
    return [words, Listing("Commands", "\n".join(commands) + "\n", folded=len(commands) > 12), *files]


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key, with their values."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _argument(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, str):
        return shlex.quote(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6).split("\n...")[0].strip()
    return shlex.quote(text)
