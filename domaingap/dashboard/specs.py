"""The W&B workspace and the W&B report of a study, as W&B's own classes have them. Nothing here asks the network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from domaingap.dashboard.about import About
from domaingap.dashboard.panels import STEP, Part, parts
from domaingap.hashing import content_key
from domaingap.study.page.blocks import Block, Listing, Page, Words
from domaingap.study.record import set_key
from domaingap.study.tables import Table, markdown

MARK = "Made by `domaingap dashboard`"
"""What a workspace and a report have in them by which they are known as this command's; other people's aren't touched."""
LAST = ("runs", "provenance")
"""Sections of the page that are looked up rather than read: panels without a section stand before them."""
KEPT = "it is written anew each time, so changes by hand are lost: copy it under another title to keep them."


def workspace(about: About, entity: str, project: str) -> ws.Workspace:
    """The workspace: a section for each part, over runs grouped by strategy.

    Args:
        about: what it is about.
        entity: W&B user or team.
        project: W&B project.
    """
    sections = [ws.Section(name="About", panels=[_about_panel(about)], is_open=True)]
    for part in parts(about):
        words = wr.MarkdownPanel(markdown=part.words)
        words._id = content_key([part.title, "words"], 12)
        sections.append(
            ws.Section(
                name=part.title,
                panels=[words, *part.panels],
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=2, rows=3),
                panel_settings=ws.SectionPanelSettings(x_axis=STEP),
            )
        )
    made = ws.Workspace(
        entity=entity,
        project=project,
        name=about.name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=100, smoothing_type="none"),
        runset_settings=ws.RunsetSettings(
            groupby=[expr.Config(key) for key in _keys(about)],
            order=[expr.Ordering(expr.Summary("val/nme"), ascending=True)],
            group_colors={_path(values): colour for values, colour in about.colours.items()},
            pinned_columns=_columns(about),
        ),
    )
    made._internal_runset_id = content_key(["workspace", about.name], 12)
    # Not as text: a group's name may hold what W&B's expressions take for an operator, or for a string's end.
    made._stashed_filters_v2 = _filters(about)
    made._stashed_filter_string = made.runset_settings.filters
    return made


def report(about: About, page: Page | None, entity: str, project: str) -> wr.Report:
    """The report: the words and tables of the study's page, and the panels where the page has plots.

    Args:
        about: what it is about.
        page: the study's page; None where no runs were looked at.
        entity: W&B user or team; empty for a report that is looked at and not sent, whose run sets name no project.
        project: W&B project.
    """
    left = parts(about)
    facts = f"{page.facts}. " if page is not None else ""
    blocks: list[Any] = [wr.P(text=[facts, _made(about)]), wr.TableOfContents()]
    sections = page.sections if page is not None else ()
    apart = [part for part in left if part.belongs not in {section.id for section in sections}]
    for section in sections:
        if section.id in LAST:
            blocks += [block for part in apart for block in _panels(part, about, entity, project, 2)]
            apart = []
        blocks += [wr.H2(text=section.title), *_in_words(section.blocks)]
        own = (part for part in left if part.belongs == section.id)
        blocks += [block for part in own for block in _panels(part, about, entity, project, 3)]
    blocks += [block for part in apart for block in _panels(part, about, entity, project, 2)]
    made = wr.Report(
        entity=entity or "entity",
        project=project,
        title=about.name,
        description=f"{MARK}: {KEPT}",
        blocks=blocks,
        width="fluid",
    )
    return made


def as_json(about: About, page: Page | None, entity: str | None, project: str) -> str:
    """Both as they would be sent, without asking W&B for anything: without the ids that only the service knows."""
    view = workspace(about, entity or "entity", project)._to_model()
    text = report(about, page, "", project)._to_model()
    specs = {
        "entity": entity,
        "project": project,
        "workspace": {"title": view.display_name, "spec": view.spec.model_dump(by_alias=True, exclude_none=True)},
        "report": {
            "title": text.display_name,
            "description": text.description,
            "spec": text.spec.model_dump(by_alias=True, exclude_none=True),
        },
    }
    return json.dumps(specs, indent=2, ensure_ascii=False, default=str)


def _made(about: About) -> str:
    return f"{MARK}, over {_over(about)}; {KEPT}"


def _over(about: About) -> str:
    if about.groups:
        return f"the runs of group{'s' * (len(about.groups) > 1)} {', '.join(about.groups)}"
    return f"{len(about.ids)} runs by their ids" if about.ids else "all runs of the project"


def _about_panel(about: About) -> Any:
    lines = [
        f"# {about.name}",
        "",
        f"{_made(about)}",
        "",
        f"Test faces: {', '.join(about.sets)}. Runs are grouped by {', '.join(_keys(about))}; seeds are averaged over.",
        "Colours are safe for colour-blind readers; of several α the largest has the full colour.",
    ]
    panel = wr.MarkdownPanel(markdown="\n".join(lines))
    panel._id = content_key(["about"], 12)
    return panel


def _keys(about: About) -> list[str]:
    return ["strategy", *about.splits]


def _path(values: Sequence[str]) -> Any:
    return values[0] if len(values) == 1 else ws.GroupPath(*values)


def _columns(about: About) -> list[str]:
    """Columns of the list of runs, the ones that are never scrolled away."""
    figures = [f"summary:{set_key(on)}/nme" for on in dict.fromkeys((*about.sets, "val"))]
    keys = ["recipe", *about.axes, *(key for key in about.splits if key not in about.axes), "seed"]
    settings = [".".join(["config:" + key.split(".")[0], "value", *key.split(".")[1:]]) for key in keys]
    return ["run:displayName", *figures, *settings, "summary:n_real_train"]


def _filters(about: About) -> dict[str, Any]:
    """The runs as W&B's filter: those of the groups, or by their ids, or all."""
    if about.groups:
        chosen = expr.Metric("Group").isin(list(about.groups))
    elif about.ids:
        chosen = expr.Metric("ID").isin(list(about.ids))
    else:
        return {"filterFormat": expr.FILTER_FORMAT_V2, "filters": []}
    return dict(expr.filters_tree_to_v2(expr.And(chosen).to_model()))


def _runset(about: About, part: str, entity: str, project: str) -> Any:
    """The runs of a panel grid in a report; each grid has its own."""
    made = wr.Runset(
        entity=entity,
        project=project if entity else "",
        name=about.name,
        groupby=[f"config.{key}" for key in _keys(about)],
        order=[wr.OrderBy(wr.SummaryMetric("val/nme"), ascending=True)],
        pinned_columns=_columns(about),
    )
    made._id = content_key(["report", about.name, part], 12)
    made._stashed_filters_v2 = _filters(about)
    made._stashed_filter_string = made.filters
    return made


def _panels(part: Part, about: About, entity: str, project: str, level: int) -> list[Any]:
    """A part of the report: its heading, what one sees, and its panels in a grid."""
    heading = wr.H2(text=part.title) if level == 2 else wr.H3(text=part.title)
    runset = _runset(about, part.title, entity, project)
    colours = {
        wr.RunsetGroup(
            runset_name=runset.name,
            keys=tuple(
                wr.RunsetGroupKey(key=wr.Config(key), value=value) for key, value in zip(_keys(about), values, strict=False)
            ),
        ): colour
        for values, colour in about.colours.items()
    }
    grid = wr.PanelGrid(
        runsets=[runset], panels=part.panels, custom_run_colors=colours, hide_run_sets=part.belongs != "strategies"
    )
    return [heading, wr.P(text=part.words), grid]


def _in_words(blocks: Sequence[Block]) -> list[Any]:
    """A section of the page as far as a report can hold it: words, tables and what is to be copied. Its plots are panels."""
    made: list[Any] = []
    for block in blocks:
        if isinstance(block, Words):
            made.append(wr.CalloutBlock(text=block.text) if block.emphasis else wr.P(text=block.text))
        elif isinstance(block, Table):
            made.append(wr.MarkdownBlock(text=markdown([block])))
        elif isinstance(block, Listing):
            made += [wr.H3(text=block.title), wr.MarkdownBlock(text=_fenced(block.text))]
    return made


def _fenced(text: str) -> str:
    """Text as a block of code in Markdown, behind a fence that isn't in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}"
