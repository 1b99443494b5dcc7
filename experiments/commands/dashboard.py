"""``domaingap dashboard``: the W&B workspace and the W&B report of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from domaingap.config import DashboardConfig
from domaingap.dashboard.about import of_a_project, of_runs, project_of, whereabouts
from domaingap.errors import UserError
from domaingap.progress import console
from domaingap.study.compare import Strategies
from domaingap.study.record import RunRecord, read_records
from experiments.recipes import RECIPES

STRATEGIES = Strategies.of(RECIPES)


def dashboard(
    runs_dir: Path | None,
    project: str | None,
    entity: str | None,
    group: str | None,
    name: str | None,
    on: str,
    dry_run: bool,
) -> None:
    """Make or update the workspace and the report, and print their addresses.

    Args:
        runs_dir: folder of runs; their records tell test sets, strategies and axes, and fill the report. None without.
        project: W&B project; that of the runs by default.
        entity: W&B user or team.
        group: W&B group of the runs.
        name: title of both.
        on: the test set that the panels are about.
        dry_run: print the specification as JSON instead.
    """
    from domaingap.dashboard.service import Service, publish

    settings = DashboardConfig(DashboardConfig().project if project is None else project, entity, group, name, on)
    service = None if dry_run else Service(settings.entity)
    records: list[RunRecord] = []
    page = None
    if runs_dir is None:
        about = of_a_project(settings, list(RECIPES))
    else:
        found = read_records(runs_dir)
        found.say()
        records = found.records
        if not records:
            raise UserError(f"{runs_dir}: no finished run (no result.json) in it; start with 'domaingap run real_only'")
        if project is None:
            settings = replace(settings, project=project_of(records) or settings.project)
        from domaingap.study.page.study import Study

        about = of_runs(settings, runs_dir, records, STRATEGIES)
        page = Study(runs_dir, records, found.passed_over, about.on, STRATEGIES).page()
    if service is None:
        from domaingap.dashboard.specs import as_json

        print(as_json(about, page, settings.entity, settings.project))
        return
    for line in whereabouts(records, settings.project, service.entity):
        console.print(line)
    for done in publish(service, about, page, settings.project, settings.name, runs_dir):
        print(f"{done.kind} {'made' if done.made else 'updated'}: {done.url}", flush=True)
