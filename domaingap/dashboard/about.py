"""What a dashboard is about: which runs, which of their settings differ, which test sets they have."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domaingap.config import DashboardConfig, title_problem
from domaingap.errors import UserError
from domaingap.hashing import flat
from domaingap.study.compare import Strategies
from domaingap.study.page.palette import look
from domaingap.study.record import RunRecord
from domaingap.study.report_tables import scored_sets
from domaingap.tracking_places import Entry, entries

TOP = {
    "model.backbone": "backbone", "crop.size": "crop_size", "synthetic.source": "synthetic_source",
    "init_from": "model.init_from",
}  # fmt: skip
"""Settings that have another key in W&B's configuration of a run than in its identity."""
WHOLE = re.compile(r"(?<=\d)\.0$")
BOOLS = {"True": "true", "False": "false"}
"""How W&B writes values: 1.0 as 1, and true."""
ELSEWHERE = ("faces", "formats", "alpha")
"""Parts of a run's identity that aren't settings, or are in its strategy's name."""
USUAL = ("n_real", "n_synthetic", "selection", "synthetic_source", "backbone", "crop_size", "fit.steps")
"""The settings that studies go over, in the order in which runs are grouped by them."""
AXES = ("alpha", "n_real", "n_synthetic")
PROTOCOL = ("n_real", "selection", "fit.steps")
"""The settings in which the protocol itself has runs of one strategy differ, for a study whose runs aren't known."""


@dataclass(frozen=True)
class About:
    """What panels are made from.

    Attributes:
        name: title of workspace and report.
        sets: test sets, the one that the panels are about first; ``val`` where nothing was tested.
        splits: keys of W&B's configuration in which runs of one strategy differ, beside the seed. A mean over such runs
            would be one of nothing.
        axes: which of α, real and synthetic images the study goes along.
        colours: ``#RRGGBB`` of run groups by the values of ``strategy`` and then of ``splits``, as far as they are known.
        adapters: whether any run has a label adapter.
        groups: W&B groups of the runs.
        ids: the runs' own ids in W&B, to be shown where their groups aren't known.
    """

    name: str
    sets: tuple[str, ...] = ("common",)
    splits: tuple[str, ...] = PROTOCOL
    axes: tuple[str, ...] = AXES
    colours: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    adapters: bool = True
    groups: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def on(self) -> str:
        """The faces that the panels are about."""
        return self.sets[0]


def of_a_project(settings: DashboardConfig, recipes: Sequence[str]) -> About:
    """What is asked for, where no run is looked at: every axis, and the test set by its usual name.

    Args:
        settings: project, group, name and test set.
        recipes: names of all strategies; those without α have this label in W&B.
    """
    group = (settings.group,) if settings.group is not None else ()
    name = settings.name or title(settings.group or settings.project)
    colours: dict[tuple[str, ...], str] = {(recipe,): look(recipe).colour for recipe in recipes}
    return About(name, (settings.on,), colours=colours, groups=group)


def of_runs(settings: DashboardConfig, folder: Path, records: Sequence[RunRecord], strategies: Strategies) -> About:
    """What finished runs say.

    Args:
        settings: project, group, name and test set.
        folder: where the runs lie.
        records: of the runs, one at least.
        strategies: their order.

    Raises:
        UserError: none of the runs was scored on the wanted test set, though some on others.
    """
    ordered = sorted(records, key=lambda run: (strategies.rank(run.recipe), run.alpha or 0, run.seed))
    splits = _splits(ordered)
    told = {run.key: _told(run, settings.project, settings.entity) for run in records}
    groups = {settings.group} if settings.group is not None else {_group(run, told[run.key], folder) for run in records}
    named = tuple(sorted(group for group in groups if group)) if all(groups) else ()
    usual = named[0] if len(named) == 1 else folder.resolve().name
    axes: dict[str, Callable[[RunRecord], Any]] = {
        "alpha": lambda run: run.alpha,
        "n_real": _budget,
        "n_synthetic": lambda run: run.identity.get("n_synthetic"),
    }
    return About(
        settings.name or title(usual),
        _sets(records, settings.on),
        splits,
        tuple(name for name, of in axes.items() if len({of(run) for run in records} - {None}) > 1),
        _colours(ordered, splits),
        any(run.adapter is not None for run in records),
        named,
        () if named else tuple(sorted(_id(run, told[run.key]) for run in records)),
    )


def title(text: str) -> str:
    """Text as a title that W&B takes, made from a group's or a folder's name."""
    kept = "".join(character if title_problem(character + "x") is None else "-" for character in text.strip())
    return kept[:128] if kept.strip() else "domaingap"


def _strategy(run: RunRecord) -> str:
    return run.strategy


def _budget(run: RunRecord) -> int | None:
    return run.n_real_train or None


def told_settings(run: RunRecord) -> dict[str, str]:
    """A run's settings by their keys in W&B, as W&B writes their values."""
    own = {key: value for key, value in run.identity.items() if key not in ELSEWHERE}
    return {TOP.get(key, key): BOOLS.get(value, WHOLE.sub("", value)) for key, value in flat(own).items()}


def _splits(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The settings of which runs of one strategy have several values."""
    values: dict[tuple[str, str], set[str]] = {}
    for run in records:
        for key, value in told_settings(run).items():
            values.setdefault((_strategy(run), key), set()).add(value)
    found = dict.fromkeys(key for (_, key), seen in values.items() if len(seen) > 1)
    return (*(key for key in USUAL if key in found), *(key for key in found if key not in USUAL))


def _sets(records: Sequence[RunRecord], on: str) -> tuple[str, ...]:
    sets = scored_sets(records)
    if on == "val" or not sets:
        return ("val", *sets)
    if on not in sets:
        if on != "common":
            raise UserError(f"--on {on}: no run was scored on it; there are val, {', '.join(sets)}")
        on = sets[0]
    return (on, *(name for name in sets if name != on))


def _colours(records: Sequence[RunRecord], splits: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Of each strategy, and of each of its groups; several α of one recipe are shades of its colour, the largest α full."""
    alphas: dict[str, list[float | None]] = {}
    for run in records:
        known = alphas.setdefault(run.recipe, [])
        known += [run.alpha] if run.alpha not in known else []
    colours: dict[tuple[str, ...], str] = {}
    for run in records:
        several = alphas[run.recipe]
        share = 1.0 if len(several) == 1 else 0.4 + 0.6 * several.index(run.alpha) / (len(several) - 1)
        colour = _mixed(look(run.recipe).colour, share)
        settings = told_settings(run)
        values = [settings.get(key, "None") for key in splits]
        colours[_strategy(run),] = colour
        if "None" not in values:  # how W&B calls a group without a value isn't known
            colours[_strategy(run), *values] = colour
    return colours


def _mixed(colour: str, share: float) -> str:
    """A colour ``#RRGGBB`` mixed with white; ``share`` of it is left."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * share):02X}" for part in parts)


def _told(run: RunRecord, project: str, entity: str | None) -> Entry | None:
    """A run's W&B run in a project, the last one that was told; None where its folder knows of none."""
    found = (e for e in reversed(entries(run.folder)) if e.place.project == project)
    return next((e for e in found if entity is None or e.place.entity in (entity, None)), None)


def _group(run: RunRecord, told: Entry | None, folder: Path) -> str:
    """A run's W&B group: as it was told, else as it would be; empty where it was told before groups were written down."""
    if told is not None:
        return told.place.group
    return str(run.config.get("wandb", {}).get("group") or folder.resolve().name[:128])


def _id(run: RunRecord, told: Entry | None) -> str:
    return told.place.id if told is not None else run.key


def project_of(records: Sequence[RunRecord]) -> str | None:
    """The W&B project that most runs are in, or were to be in."""
    found: Counter[str] = Counter()
    for run in records:
        own = {entry.place.project for entry in entries(run.folder)} or {run.config.get("wandb", {}).get("project")}
        found.update(project for project in own if project)
    return found.most_common(1)[0][0] if found else None


def whereabouts(records: Sequence[RunRecord], project: str, entity: str) -> list[str]:
    """Of which runs the panels may show nothing, and why, as far as the runs' folders tell."""
    found: Counter[str] = Counter()
    offline: list[Path] = []
    for run in records:
        told = _told(run, project, entity)
        if told is not None:
            offline += [run.folder] if told.mode == "offline" else []
        elif own := entries(run.folder):
            place = own[-1].place
            found[f"in W&B's project {place.entity or 'of the login'}/{place.project}"] += 1
        else:
            found["without a W&B run (--wandb.mode off)"] += run.wandb == "off"
    lines = [f"{count} of {len(records)} runs {what}" for what, count in found.items() if count]
    if offline:
        where = shlex.quote(f"{offline[0].parent}") + "/*/wandb/offline-run-*"
        lines.append(
            f"{len(offline)} of {len(records)} runs were written offline; once uploaded they appear: wandb sync {where}"
        )
    return lines
