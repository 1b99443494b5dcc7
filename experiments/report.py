"""Tables of finished runs."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from domaingap.errors import UserError
from domaingap.hashing import flat, write_atomically
from domaingap.progress import console as notices
from experiments.result import Result

Content = dict[str, Any]
Rows = list[list[str]]

Style = Literal["gap", "strategies", "pairs", "adapters", "runs", "original_study"]
ORDER: tuple[Style, ...] = ("strategies", "pairs", "adapters", "runs")
NOTHING = {
    "pairs": "no two runs here can be compared (a strategy, and real_only or synthetic_only with the same seeds)",
    "adapters": "no run here has a label adapter",
}
RECIPE_ORDER = ("synthetic_only", "label_adaptation", "data_adaptation", "mixing", "fine_tuning", "real_only")
KINDS = ("identity", "shift", "linear", "mlp")
REGIONS = ("all", "jaw", "brows", "nose", "eyes", "mouth")
TEST_ORDER = ("common", "challenging", "full", "private", "generated")

# The table of the original study (protocol, section 5); what its minutes and losses were measured in isn't known.
ORIGINAL_STUDY = {
    "resnet18": ("10000", "173", "0.0205", "0.0179", "83"),
    "resnet50": ("10000", "192", "0.0169", "0.0147", "99"),
    "legacy_xception": ("10000", "206", "0.0214", "0.0184", "87"),
}


def terminal() -> Console:
    """Where tables are printed: standard output, not cut at 80 characters where that is a pipe."""
    out = Console(highlight=False, soft_wrap=True)
    return out if out.is_terminal else Console(highlight=False, soft_wrap=True, width=300)


def summary(result: Result) -> None:
    """Print a run's figures and where its files are."""
    content = result.content
    table = Table(title=result.content["name"], title_justify="left")
    for column in ("faces", "images", "NME %", "95% interval", "FR@8 %", "AUC@8", "NME without jaw"):
        table.add_column(column, justify="left" if column == "faces" else "right")
    for name, count in content["counts"].items():
        metrics, interval = content["metrics"], content["intervals"][f"{name}/nme"]
        table.add_row(
            name.removeprefix("test/") + _partial(count),
            str(count["images"]),
            f"{metrics[f'{name}/nme']:.2f}",
            f"{interval[0]:.2f} to {interval[1]:.2f}",
            f"{metrics[f'{name}/fr@8']:.1f}",
            f"{metrics[f'{name}/auc@8']:.3f}",
            f"{metrics[f'{name}/nme_no_jaw']:.2f}",
        )
    out = terminal()
    out.print(table)
    out.print(
        f"trained on {_budget(content)} real and {content['n_synthetic']} synthetic images; "
        f"checkpoint{' and adapter' if content.get('adapter') else ''} by {content['selection']}; "
        f"{content['steps_answering']} steps; boxes: {content['box_rule']}; {_minutes(content['wall_time_s'])}"
    )
    if adapter := content.get("adapter"):
        out.print(f"label adapter for {adapter['use']}: {describe_adapter(adapter)}")
        if adapter["warning"]:
            out.print(f"warning: {adapter['warning']}")
        if adapter.get("movement_warning"):  # absent from records of before
            out.print(f"caution: {adapter['movement_warning']}")
    pictures = "val_faces.png" + (", adapter.png" if content.get("adapter") else "")
    out.print(f"files: {result.folder} (result.json, predictions.npz, {pictures}, checkpoints/)")


def describe_adapter(record: Content) -> str:
    """One line on an adapter: what was chosen, and how far it moves predictions and exact labels."""
    setting = {"linear": "ridge penalty", "mlp": "epochs"}.get(record["kind"])
    details = [f"{setting} {record['setting']:g}"] if setting else []
    details += [f"strength {record['strength']:g}"] if setting and record["strength"] != 1 else []
    return (
        f"{record['kind']}"
        + (f" ({', '.join(details)})" if details else "")
        + f" by {record['chosen_on']}, NME {record['nme_before']:.2f} to {record['nme']:.2f}; "
        + f"moves predictions {record['movement_predictions']['all']:.2f}%, "
        + f"true synthetic labels {record['movement_labels']['all']:.2f}%, "
        + f"of whose spread {record['spread_ratio']:.2f} is left"
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _partial(count: Content) -> str:
    if not count["partial"]:
        return ""
    if count["images"] != sum(count["parts"].values()):
        return " (of a partial release)"  # drawn from the parts, not all of them
    return f" (partial: {count['images']} of {count['published']})" if count["published"] else " (partial)"


def _budget(content: Content) -> str:
    """Real images as ``n + 300``: fitted on, plus those that picked something."""
    n, extra = content["n_real_train"], content["n_real_selection"]
    return f"{n} + {extra}" if extra else str(n)


def report(
    runs_dir: Path, format: Literal["table", "markdown", "csv"], style: Style, out: Path | None, on: str = "common"
) -> None:
    """Print the tables of all finished runs below a folder, or write them to a file.

    Args:
        runs_dir: folder of runs.
        format: how; csv holds a single table, for ``gap`` that of all runs.
        style: which tables; ``gap`` is all but the original study's.
        out: the file to write instead.
        on: the faces whose NME the tables of strategies and of pairs are about.
    """
    from domaingap.results import read_results

    runs = [Finished(folder, content) for folder, content in read_results(runs_dir)]
    if not runs:
        raise UserError(f"{runs_dir}: no finished run (no result.json) in it; start with 'domaingap run real_only'")
    if style == "original_study":
        sections = [Section("", *original_study_table([run.content for run in runs]))]
    else:
        if style != "runs":
            on = _scored(runs, on)
        wanted = ("runs",) if style == "gap" and format == "csv" else ORDER if style == "gap" else (style,)
        made = {
            "strategies": lambda: strategies_tables(runs, on),
            "pairs": lambda: pairs_tables(runs, on),
            "adapters": lambda: adapters_table(runs),
            "runs": lambda: [Section("All runs", *runs_table([run.content for run in runs]))],
        }
        sections = [section for name in wanted for section in made[name]()]
        if not sections:
            raise UserError(f"{runs_dir}: nothing to print for --style {style}: {NOTHING[style]}")
    if format == "table" and out is None:
        print_sections(sections)
        return
    text = _csv(sections) if format == "csv" else markdown(sections)
    if out is None:
        print(text, end="")
        return
    try:
        write_atomically(out, text)
    except OSError as error:
        raise UserError(f"{out}: can't be written ({error.strerror})") from error
    notices.print(f"{sum(len(section.rows) for section in sections)} rows written to {out}")


def _scored(runs: Sequence[Finished], on: str) -> str:
    """The set of faces to report on: the wanted one, or the first there is where the default isn't."""
    sets = ["val", *(name for name in TEST_ORDER if any(f"test/{name}/nme" in run.content["metrics"] for run in runs))]
    if on in sets:
        return on
    if on != "common":
        raise UserError(f"--on {on}: no run was scored on it; there are {', '.join(sets)}")
    return sets[1] if len(sets) > 1 else "val"


def print_sections(sections: Sequence[Section]) -> None:
    """Print tables to standard output."""
    output = terminal()
    for number, section in enumerate(sections):
        if number:
            output.print()
        table = Table(title=section.title or None, title_justify="left", title_style="bold")
        for i, column in enumerate(section.header):
            # In a narrow terminal cells break rather than being cut off; a file has room.
            table.add_column(column, justify="right" if i > 1 else "left", no_wrap=not output.is_terminal)
        for row in section.rows:
            table.add_row(*row)
        output.print(table)
        for note in _unsaid(section, sections[:number]):
            output.print(note)


def _unsaid(section: Section, before: Sequence[Section]) -> list[str]:
    """Notes that don't stand under an earlier table already."""
    said = {note for other in before for note in other.notes}
    return [note for note in section.notes if note not in said]


@dataclass(frozen=True)
class Section:
    """A table with what stands above and below it."""

    title: str
    header: list[str]
    rows: Rows
    notes: list[str]


@dataclass(frozen=True)
class Finished:
    """A finished run, and what tables ask of it."""

    folder: Path
    content: Content
    picked: bool = False
    """Its α was picked on validation, from among several."""

    @property
    def recipe(self) -> str:
        return str(self.content["recipe"])

    @property
    def seed(self) -> int:
        return int(self.content["seed"])

    @property
    def label(self) -> str:
        """The strategy, with α where it has one."""
        alpha = self.content["alpha"]
        if self.picked:
            return f"{self.recipe} α by val"
        return self.recipe + (f" α={alpha:g}" if alpha is not None else "")

    @property
    def source(self) -> str:
        """The synthetic data; empty where there is none."""
        data = self.content["data"].get("synthetic")
        return str(data["source"]) if data else ""

    @property
    def n(self) -> int:
        """Real images that anything was fitted on."""
        return int(self.content["n_real_train"])

    @property
    def scratch(self) -> int:
        """Optimiser steps of a network trained from scratch."""
        return int(self.content["stages"][0]["steps"])

    @property
    def answering(self) -> int:
        return int(self.content["steps_answering"])

    @property
    def rule(self) -> str:
        return str(self.content["selection"])

    @property
    def setting(self) -> tuple[str, ...]:
        """What runs must share to be compared: network, crops, augmentation, real faces."""
        config = self.content["config"]
        shared = {key: config[key] for key in ("model", "crop", "augment", "real")}
        return (json.dumps(shared, sort_keys=True), self.content["data"]["real"]["fingerprint"])

    def nme(self, on: str) -> float | None:
        """NME in % on a set of faces."""
        value = self.content["metrics"].get("val/nme" if on == "val" else f"test/{on}/nme")
        return float(value) if value is not None else None


Group = list[Finished]
"""Runs that differ in their seed alone."""


def grouped(runs: Sequence[Finished]) -> list[Group]:
    """The runs by everything but their seed, in the order of tables."""
    groups: dict[tuple[Any, ...], Group] = {}
    for run in sorted(runs, key=lambda run: _order(run.content)):
        groups.setdefault(_group(run.content), []).append(run)
    return list(groups.values())


def comparable(groups: Sequence[Group]) -> list[tuple[tuple[str, ...], str, list[Group]]]:
    """Groups that belong in one table, with their setting and synthetic source: those of one source, and beside them the
    ones without any at the same numbers of real images."""
    result = []
    for setting in dict.fromkeys(group[0].setting for group in groups):
        here = [group for group in groups if group[0].setting == setting]
        sources = sorted({group[0].source for group in here} - {""}, key=lambda s: (-sum(g[0].source == s for g in here), s))
        for source in sources or [""]:
            budgets = {group[0].n for group in here if group[0].source == source}
            members = [g for g in here if g[0].source == source or (not g[0].source and g[0].n in budgets | {0})]
            # A single synthetic source leaves nobody out.
            result.append((setting, source, members if len(sources) > 1 else here))
    return result


def picked_alphas(groups: Sequence[Group]) -> list[tuple[Group, list[Group]]]:
    """Where mixing ran at several α: for each seed the run with the lowest NME on validation, beside the groups that it
    was picked from. A test set must not pick α; under the rule ``budget`` nothing may."""
    alike: dict[tuple[Any, ...], list[Group]] = {}
    for group in groups:
        run = group[0]
        if run.content["alpha"] is not None and run.rule == "real_val":
            config = {k: v for k, v in run.content["config"].items() if k != "alpha"}
            alike.setdefault(_group({**run.content, "config": config}), []).append(group)
    result = []
    for members in alike.values():
        if len(members) < 2:
            continue
        seeds = sorted(set.intersection(*({run.seed for run in group} for group in members)))
        candidates = [[run for group in members for run in group if run.seed == seed] for seed in seeds]
        best = [replace(min(runs, key=lambda run: run.nme("val") or 0.0), picked=True) for runs in candidates]
        if best:
            result.append((best, members))
    return result


def labelled(groups: Sequence[Group]) -> list[str]:
    """A name for each group: strategy and α, and the settings that tell apart groups which would look the same."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for i, group in enumerate(groups):
        run = group[0]
        alike.setdefault((run.setting, run.label, run.source, run.n, run.rule, run.answering), []).append(i)
    names = [group[0].label for group in groups]
    for members in alike.values():
        by_key = {i: flat(groups[i][0].content["config"]) for i in members}
        keys = sorted({key for values in by_key.values() for key in values})
        for key in keys if len(members) > 1 else ():
            if key.partition(".")[0] not in OWN and len({by_key[i].get(key) for i in members}) > 1:
                for i in members:
                    names[i] += f" {key}={by_key[i].get(key)}"
    return names


def _mean(values: Sequence[float], single: tuple[float, float] | None = None) -> str:
    """Mean with its interval: over seeds where there are several, else the given one over images."""
    from domaingap.statistics import t_interval

    if len(values) > 1:
        mean, low, high = t_interval(values)
        return f"{mean:.2f} [{low:.2f}, {high:.2f}]"
    return f"{values[0]:.2f}" + (f" [{single[0]:.2f}, {single[1]:.2f}]" if single is not None else "")


def _cell(group: Group, name: str) -> str:
    values = [run.content["metrics"][f"{name}/nme"] for run in group if f"{name}/nme" in run.content["metrics"]]
    return _mean(values, group[0].content["intervals"].get(f"{name}/nme")) if values else "-"


def strategies_tables(runs: Sequence[Finished], on: str) -> list[Section]:
    """Strategies by budgets of real images: NME on one set of faces, a table for each network and set of real faces."""
    sections = []
    groups = grouped(runs)
    picked = [group for group, _ in picked_alphas(groups)]
    groups += picked
    names = dict(zip(map(id, groups), labelled(groups), strict=True))
    key = "val" if on == "val" else f"test/{on}"
    for setting, source, members in comparable(groups):
        budgets = sorted({group[0].n for group in members})
        lines: dict[tuple[Any, ...], dict[int, Group]] = {}
        for group in members:
            run = group[0]
            steps = f"{run.answering} / {run.content['steps_total']}"
            extra = run.content["n_real_selection"]
            rule = run.rule + (f" (+ {extra})" if extra else "")
            lines.setdefault((names[id(group)], run.source or "-", steps, rule), {})[run.n] = group
        order = sorted(lines, key=lambda line: (_rank(line[0]), line[1] != "-", line[1], line[2], line[3]))
        rows = []
        for line in order:
            seeds = sorted({len(group) for group in lines[line].values()})
            cells = [_cell(lines[line][n], key) if n in lines[line] else "" for n in budgets]
            rows.append([*line, " to ".join(map(str, (seeds[0], seeds[-1])[: len(seeds)])), *cells])
        header = ["strategy", "synthetic", "steps", "picked by", "seeds", *(f"{n} real" for n in budgets)]
        config = members[0][0].content["config"]
        network = f"{config['model']['backbone']} {config['crop']['size']} px {config['crop']['channels']}"
        title = f"NME % on {on}, {network}" + (f", {source}" if source else "")
        contents = [run.content for group in members for run in group]
        notes = _notes(contents, [] if on == "val" else [on], RULES)
        for group in picked:
            if group[0].setting == setting and group[0].source == source:
                counts = Counter(f"{run.content['alpha']:g}" for run in group)
                chosen = ", ".join(f"{alpha} for {count}" for alpha, count in sorted(counts.items()))
                notes.append(f"α by val, {group[0].n} real: for each seed the α with the lowest validation NME ({chosen}).")
        sections.append(Section(title, header, rows, notes))
    return sections


def pairs_tables(runs: Sequence[Finished], on: str) -> list[Section]:
    """Differences in pairs: every strategy against synthetic_only, and against real_only at the same budget; a table,
    and a family of comparisons for Holm's correction, for each network and synthetic source."""
    groups = grouped(runs)
    for best, members in picked_alphas(groups):
        # The α that validation picked is compared, not each: the best of several on a test set isn't a result.
        groups = [group for group in groups if group not in members] + [best]
    several = len(comparable(groups)) > 1
    sections = []
    for _, source, members in comparable(groups):
        crop = members[0][0].content["config"]["crop"]
        title = f"Differences in pairs, NME % on {on}"
        if several:
            title += f", {members[0][0].content['config']['model']['backbone']} {crop['size']} px, {source or 'real'}"
        sections += _pairs(members, on, title)
    return sections


def _pairs(groups: Sequence[Group], on: str, title: str) -> list[Section]:
    from domaingap.statistics import holm

    names = dict(zip(map(id, groups), labelled(groups), strict=True))
    rows: Rows = []
    p_values: list[float | None] = []
    verdicts: list[int] = []
    missing = False
    for group in groups:
        run = group[0]
        for base, note in _bases(group, groups):
            compared = difference(group, base, on)
            if compared is None:
                continue
            seeds, (mean, low, high), p = compared
            missing |= note == "shorter"
            against = names[id(base)] + (f" ({base[0].answering} steps)" if note else "")
            rows.append(
                [names[id(group)], run.source or base[0].source, against, f"{run.n}", run.rule, str(seeds),
                 f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]", f"{p:.4f}" if p is not None else "-"]
            )  # fmt: skip
            p_values.append(p)
            verdicts.append(0 if low <= 0 <= high else -1 if high < 0 else 1)
    if not rows:
        return []
    tested = [p for p in p_values if p is not None]
    corrected = iter(holm(tested))
    for row, p, side in zip(rows, p_values, verdicts, strict=True):
        adjusted = next(corrected) if p is not None else None
        row.append(f"{adjusted:.3f}" if adjusted is not None else "-")
        word = {-1: "better", 0: "open", 1: "worse"}[side]
        row.append(word if not side or (adjusted is not None and adjusted < 0.05) else f"{word}, uncorrected")
    header = ["strategy", "synthetic", "against", "real images", "picked by", "seeds", "difference in NME"]
    header += ["p", "p, Holm", "verdict"]
    few = min(int(row[5]) for row in rows)
    notes = [
        "difference: strategy minus what it is compared with, on the same images and seeds; below zero it is better.",
        "[ ]: 95% interval over seeds (Student's t on paired differences); of a single seed over images (photographs "
        "resampled in pairs), without a p-value.",
        f"p, Holm: corrected for the {len(tested)} comparisons of this table. verdict: better or worse where the corrected "
        "p lies below 0.05; uncorrected where only the interval excludes zero; open otherwise.",
        "fine_tuning is compared with the better on validation of real_only at its own and at the shorter number of steps.",
    ]
    if missing:
        notes.append("real_only at fine_tuning's number of steps isn't among these runs: its rows favour fine_tuning.")
    if few < 5:
        notes.append(f"{few} seed{'s' if few > 1 else ''} in some rows: a headline needs five.")
    return [Section(title, header, rows, notes)]


def _bases(group: Group, groups: Sequence[Group]) -> Iterator[tuple[Group, str]]:
    """What a strategy is compared with: synthetic_only, and real_only at its budget."""
    run = group[0]

    def alike(other: Finished, recipe: str) -> bool:
        return other.recipe == recipe and other.setting == run.setting

    # A budget of n real images and nothing else has no 300 to pick the synthetic network with.
    rule = "source_val" if run.rule == "budget" else run.rule
    if run.recipe != "synthetic_only":
        for other in groups:
            same = not run.source or other[0].source == run.source
            if alike(other[0], "synthetic_only") and other[0].rule == rule and same and other[0].scratch == run.scratch:
                yield other, ""
    if run.recipe in ("real_only", "synthetic_only"):
        return
    at_budget = [g for g in groups if alike(g[0], "real_only") and g[0].n == run.n and g[0].rule == run.rule]
    shorter = [g for g in at_budget if g[0].scratch == run.scratch]
    if run.recipe != "fine_tuning":
        yield from ((other, "") for other in shorter)
        return
    equal = [g for g in at_budget if g[0].scratch == run.answering]
    candidates = shorter + equal
    if candidates:
        best = min(candidates, key=lambda g: sum(r.nme("val") or 0.0 for r in g) / len(g))
        yield best, "better" if equal else "shorter"


def difference(a: Group, b: Group, on: str) -> tuple[int, tuple[float, float, float], float | None] | None:
    """Number of shared seeds, mean difference a - b with its interval, and p; None without a shared seed."""
    import numpy as np

    from domaingap.statistics import cluster_bootstrap, paired_t_test

    left, right = ({run.seed: run for run in group if run.nme(on) is not None} for group in (a, b))
    seeds = sorted(set(left) & set(right))
    if not seeds:
        return None
    if len(seeds) > 1:
        one_nme, other_nme = ([float(side[seed].nme(on) or 0.0) for seed in seeds] for side in (left, right))
        interval, p = paired_t_test(one_nme, other_nme)
        return len(seeds), interval, p
    from domaingap.predictions import load_predictions

    one, other = (load_predictions(side[seeds[0]].folder / "predictions.npz").get(on) for side in (left, right))
    if one is None or other is None or not np.array_equal(one.names, other.names):
        return None
    return 1, cluster_bootstrap(one.nme() - other.nme(), one.photographs), None


def adapters_table(runs: Sequence[Finished]) -> list[Section]:
    """What label adapters do: how far they move predictions and exact labels, and whether these keep their spread."""
    groups = [group for group in grouped(runs) if group[0].content.get("adapter")]
    rows = []
    for group, name in zip(groups, labelled(groups), strict=True):
        records = [run.content["adapter"] for run in group]
        kinds = Counter(record["kind"] for record in records)

        def mean(key: str, records: Sequence[Content] = records) -> str:
            return f"{sum(record[key] for record in records) / len(records):.2f}"

        def moves(key: str, records: Sequence[Content] = records) -> str:
            values = [sum(record[key][region] for record in records) / len(records) for region in REGIONS]
            return f"{values[0]:.1f} ({' '.join(f'{value:.1f}' for value in values[1:])})"

        def by_kind(records: Sequence[Content] = records) -> str:
            scores = [{**record["nme_by_kind"], "identity": record["nme_before"]} for record in records]
            kinds = [[score[kind] for score in scores if kind in score] for kind in KINDS]
            return " / ".join(f"{sum(values) / len(values):.2f}" if values else "-" for values in kinds)

        rows.append(
            [
                name,
                group[0].source,
                str(group[0].n),
                records[0]["use"],
                ", ".join(f"{kind} {count}" if len(kinds) > 1 else kind for kind, count in kinds.items()),
                mean("strength"),
                by_kind(),
                moves("movement_predictions"),
                moves("movement_labels"),
                mean("spread_ratio"),
                mean("shape_kept"),
                f"{sum(record['warning'] is not None for record in records)} of {len(records)}",
            ]
        )
    if not rows:
        return []
    header = ["strategy", "synthetic", "real images", "for", "kind", "strength", "NME % by kind", "predictions move %"]
    header += ["labels move %", "spread", "own shape", "warned"]
    notes = [
        "means over seeds. NME % by kind: the synthetic network's answers on the faces that chose, with no adapter / the "
        "best shift / linear / mlp that the use allows. What the shift takes away is systematic, as a label gap is; what "
        "the others take away beyond it depends on the face, and is the network's own error as well.",
        f"move: mean distance in % of the mean distance of the outer eye corners, of all points ({', '.join(REGIONS[1:])}); "
        "predictions on the validation faces, true labels of the synthetic training faces.",
        "spread: shape spread of these labels after over before, warned of outside 0.95 to 1.05; own shape: share of each "
        "label's own deviation from the mean that is left, warned of below 0.95. An adapter for predictions may undo the "
        "network's errors; one for labels is chosen so that both are kept.",
    ]
    return [Section("Label adapters", header, rows, notes)]


def runs_table(results: Sequence[Content]) -> tuple[list[str], Rows, list[str]]:
    """Runs that differ in their seed alone in one row: NME on validation and every test set, with intervals."""
    groups = grouped([Finished(Path(), content) for content in results])
    sets = [name for name in TEST_ORDER if any(f"test/{name}/nme" in content["metrics"] for content in results)]
    header = ["strategy", "network", "real images", "synthetic", "steps", "picked by", "seeds", "val NME %"]
    header += [f"{name.capitalize()} NME %" for name in sets] + ([f"{sets[0].capitalize()} FR@8 %", "AUC@8"] if sets else [])
    rows = []
    for group, name in zip(groups, labelled(groups), strict=True):
        first, crop = group[0].content, group[0].content["config"]["crop"]
        row = [
            name,
            f"{first['config']['model']['backbone']} {crop['size']} {crop['channels']}",
            _budget(first),
            f"{first['n_synthetic']} {group[0].source}" if group[0].source else "0",
            str(first["steps_answering"]),
            first["selection"],
            str(len(group)),
            *(_cell(group, on) for on in ["val", *(f"test/{name}" for name in sets)]),
        ]
        if sets:
            for metric, digits in (("fr@8", 1), ("auc@8", 3)):
                key = f"test/{sets[0]}/{metric}"
                values = [run.content["metrics"][key] for run in group if key in run.content["metrics"]]
                row.append(f"{sum(values) / len(values):.{digits}f}" if values else "-")
        rows.append(row)
    rule = "real images: trained on + used to pick a checkpoint or an adapter."
    return header, rows, _notes(results, sets, [rule])


OWN = ("seed", "runs_dir", "prepared_dir", "data_root", "wandb")
"""Settings in which the runs of a group may differ."""


def _group(content: Content) -> tuple[Any, ...]:
    """What runs share that differ in their seed alone."""
    config = {key: value for key, value in content["config"].items() if key not in OWN}
    data = tuple(data["fingerprint"] for data in content["data"].values())
    return (content["recipe"], json.dumps(config, sort_keys=True), data)


def _rank(label: str) -> int:
    recipe = label.partition(" ")[0]
    return RECIPE_ORDER.index(recipe) if recipe in RECIPE_ORDER else len(RECIPE_ORDER)


def _order(content: Content) -> tuple[Any, ...]:
    recipe = content["recipe"]
    n = content["n_real_train"] if recipe != "synthetic_only" else -1
    data = content["data"].get("synthetic")
    source = data["source"] if data else ""
    return (n, _rank(recipe), source, content["selection"], content["steps_answering"], content["name"])


RULES = (
    "columns: real images that anything was fitted on; (+ 300): further ones that picked checkpoint and adapter.",
    "steps: optimiser steps behind the answering network / of all stages of the run.",
)


def _notes(results: Sequence[Content], sets: Sequence[str], rules: Sequence[str]) -> list[str]:
    notes = [
        *rules,
        "NME in % of the outer eye corners' distance, in image pixels.",
        "[ ]: 95% interval, over seeds (Student's t) where there are several, else over images (bootstrap of photographs).",
    ]
    for name in ["val", *(f"test/{name}" for name in sets)]:
        seen = Counter(
            (c["counts"][name]["images"], c["counts"][name]["fallback_boxes"], _partial(c["counts"][name]), c["box_rule"])
            for c in results
            if name in c["counts"]
        )
        for (images, fallbacks, partial, rule), runs in seen.items():
            where = f" in {runs} of {len(results)} runs" if len(seen) > 1 else ""
            notes.append(
                f"{name.removeprefix('test/')}{partial}: {images} images, boxes {rule}, "
                f"{fallbacks} of them fell back to the landmarks' box{where}."
            )
    return notes


def original_study_table(results: Sequence[Content]) -> tuple[list[str], Rows, list[str]]:
    """Synthetic-only runs beside the original study's published row of the same network."""
    header = ["network", "", "images", "minutes", "training loss", "best validation loss", "best epoch", "settings"]
    rows: Rows = []
    for content in sorted(results, key=_order):
        model, fit = content["config"]["model"], content["stages"][0]["fit"]
        if content["recipe"] != "synthetic_only" or model["backbone"] not in ORIGINAL_STUDY:
            continue
        stage = content["stages"][0]
        best = stage["best"]["source_val"]
        per_epoch = -(-stage["n_train"] // fit["batch_size"])
        n = content["n_synthetic"] + content["n_synthetic_selection"]
        settings = f"{fit['steps'] / per_epoch:g} epochs, lr {fit['lr']:g}, {content['config']['crop']['size']} px"
        settings += ", pretrained" if model["pretrained"] else ", from scratch"
        rows.append([model["backbone"], "published", *ORIGINAL_STUDY[model["backbone"]], "100 epochs, 128 px"])
        rows.append(
            [
                model["backbone"],
                "here",
                str(n),
                f"{stage['seconds'] / 60:.1f}",
                f"{stage['train_loss']:.4f}",
                f"{best['source_val/loss']:.4f}",
                f"{best['step'] / per_epoch:g}",
                settings,
            ]
        )
    if not rows:
        raise UserError(
            "no synthetic_only run of resnet18, resnet50 or legacy_xception among these; see configs/original_study"
        )
    notes = [
        "losses: RMSE in units of the crop's side, on the synthetic hold-out for validation; the published table's unit,",
        "and that of its minutes, isn't known. A reduced number of images or epochs is named in its row.",
    ]
    return header, rows, notes


def _csv(sections: Sequence[Section]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header: list[str] = []
    for section in sections:
        if section.header != header:  # one header where tables share it
            header = section.header
            writer.writerow(header)
        writer.writerows(section.rows)
    return text.getvalue()


def markdown(sections: Sequence[Section]) -> str:
    """Tables as Markdown."""
    parts = []
    for number, section in enumerate(sections):
        lines = [f"**{section.title}**", ""] if section.title else []
        lines += ["| " + " | ".join(section.header) + " |", "|" + "---|" * len(section.header)]
        lines += ["| " + " | ".join(row) + " |" for row in section.rows]
        parts.append("\n".join([*lines, "", *(f"{note}  " for note in _unsaid(section, sections[:number]))]).rstrip("\n"))
    return "\n\n".join(parts) + "\n"
