"""How a dashboard gets to W&B: found again where it is there, made where it isn't, and remembered."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from domaingap.dashboard.about import About
from domaingap.errors import UserError, trouble
from domaingap.hashing import write_json
from domaingap.progress import console
from domaingap.study.page.blocks import Page

MEMORY = "dashboard.json"
"""In the folder of runs: which dashboards are its own."""
RETRIES, WAIT_S, ANSWER_S = 3, 1.0, 30.0
"""How often a request is sent again, after how long, and how long an answer may take: a person is waiting."""
Kind = Literal["workspace", "report"]
T = TypeVar("T")

VIEWS = """
query ProjectViews($project: String!, $entity: String!, $reportCursor: String,
    $reportLimit: Int!, $viewType: String = "runs") {
  project(name: $project, entityName: $entity) {
    allViews(viewType: $viewType, first: $reportLimit, after: $reportCursor) {
      edges { node { id name displayName updatedAt } cursor }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
"""As wandb.apis.public.Reports asks for reports, less their content; a workspace is a view of another type."""
REPORT = """
query SpecificReport($reportId: ID!) {
  view(id: $reportId) { id name displayName project { id name entityName } updatedAt spec }
}
"""
WORKSPACE = """
query View($entityName: String, $name: String, $viewType: String = "runs", $viewName: String) {
  project(name: $name, entityName: $entityName) {
    allViews(viewType: $viewType, viewName: $viewName) { edges { node { id name displayName updatedAt spec } } }
  }
}
"""
"""As wandb_workspaces reads them: a report by its id, a workspace by its name."""
TYPES: dict[Kind, str] = {"workspace": "project-view", "report": "runs"}
PER_PAGE = 50


@dataclass(frozen=True)
class View:
    """A workspace or report that is there.

    Attributes:
        id: its id; what a report is known by.
        name: its name in addresses; what a workspace is known by.
        title: its title.
        updated: when, as W&B writes it.
    """

    id: str
    name: str
    title: str
    updated: str

    def key(self, kind: Kind) -> str:
        """What W&B reads it by."""
        return self.id if kind == "report" else self.name


@dataclass(frozen=True)
class Published:
    """What became of a workspace or a report."""

    kind: Kind
    url: str
    made: bool


def publish(
    service: Service, about: About, page: Page | None, project: str, asked: str | None, folder: Path | None
) -> Iterator[Published]:
    """Make or update the workspace and the report, one after the other.

    Each is looked for under the id that the folder remembers, then by its title among those that this command has made;
    where neither is there it is made.

    Args:
        service: W&B.
        about: what they are about.
        page: the study's page; None where no runs were looked at.
        project: W&B project.
        asked: the title where one was given.
        folder: the folder of runs, which remembers the ids.

    Raises:
        UserError: W&B can't be reached or refuses, has no such project, or has a view of this title that isn't ours.
    """
    from domaingap.dashboard import specs

    entity = service.entity
    memory = Memory(folder, service.address, entity, project, asked)
    workspace = specs.workspace(about, entity, project)
    if (found := service.find("workspace", about.name, project, memory.keys.get("workspace"))) is not None:
        workspace._internal_id, workspace._internal_name = found.id, found.name
    service.told(f"save the workspace{_hint(found)}", workspace.save)
    memory.remember("workspace", workspace._internal_name)
    yield Published("workspace", workspace.url, found is None)

    report = specs.report(about, page, entity, project)
    if (found := service.find("report", about.name, project, memory.keys.get("report"))) is not None:
        report.id = found.id
    service.told(f"save the report{_hint(found)}", report.save)
    memory.remember("report", report.id)
    yield Published("report", report.url, found is None)


def _hint(found: View | None) -> str:
    return "" if found is None else f" {found.title} anew (--name makes another one)"


def need_login() -> None:
    """UserError that says what to do where nobody is logged in to W&B."""
    from domaingap.tracking import require_login

    os.environ.setdefault("WANDB_SILENT", "true")  # what matters is printed by us
    mode = os.environ.get("WANDB_MODE")
    advice = "run 'wandb login', or look at the dashboard without W&B: --dry_run"
    if mode in ("offline", "dryrun", "disabled"):
        raise UserError(
            f"WANDB_MODE is {mode} in the environment, and a dashboard is made online; unset it, or give --dry_run"
        )
    require_login(advice)


class Service:
    """W&B's service, as the login on this machine reaches it.

    Args:
        entity: user or team; the login's own by default.
    """

    def __init__(self, entity: str | None) -> None:
        need_login()
        import wandb

        from domaingap.tracking_places import set_up

        patience = {
            "x_graphql_retry_max": RETRIES, "x_graphql_retry_wait_min_seconds": WAIT_S,
            "x_graphql_retry_wait_max_seconds": WAIT_S, "x_graphql_timeout_seconds": ANSWER_S,
        }  # fmt: skip
        self.told("be reached", lambda: set_up(**patience))
        self._api: Any = self.told("be reached", lambda: wandb.Api(timeout=int(4 * ANSWER_S)))
        self.address: str = self._api.settings["base_url"]
        chosen = entity or self._api.settings["entity"] or self.told("be reached", lambda: self._api.default_entity)
        if not chosen:
            raise UserError("Weights & Biases: the login has no entity of its own; name the user or team: --entity")
        self.entity: str = chosen

    def told(self, what: str, how: Callable[[], T]) -> T:
        """What W&B answers; its errors, and the network's, as one line."""
        try:
            return how()
        except Exception as error:  # of W&B, of the network
            text = " ".join(str(error).split()).partition(" while retrying")[0][:300].rstrip(".") or type(error).__name__
            raise UserError(
                f"Weights & Biases: can't {what} ({text}); look at the network, at --entity and --project and at your "
                "rights there, or give --dry_run"
            ) from error

    def query(self, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        """A query's answer."""
        from wandb_workspaces._graphql import execute_graphql

        return dict(execute_graphql(self._api, document, variables))

    def find(self, kind: Kind, title: str, project: str, known: str | None) -> View | None:
        """The view that was made before: the known one, else the newest of this title that has this command's mark.

        Raises:
            UserError: there is one of this title without the mark: somebody's own.
        """
        if known is not None and (there := self.view(kind, known, project)) is not None:
            return there[0]
        alike = [view for view in self.views(kind, project) if view.title == title]
        ours: list[View] = []
        others: list[View] = []
        for view in sorted(alike, key=lambda view: view.updated, reverse=True):
            there = self.view(kind, view.key(kind), project)
            if there is not None:
                (ours if _marked(there[1]) else others).append(view)
        if not ours and others:
            raise UserError(
                f"{self.entity}/{project} has a {kind} {title!r} that this command hasn't made; give another title: --name"
            )
        if len(ours) > 1:
            console.print(f"{len(ours)} {kind}s are called {title!r}; the newest is updated, the others can be deleted")
        return ours[0] if ours else None

    def view(self, kind: Kind, key: str, project: str) -> tuple[View, str] | None:
        """A view of the project by what it is known by, with its content; None where it isn't there (any more)."""
        try:
            if kind == "report":
                found = self.query(REPORT, {"reportId": key}).get("view")
                of = (found or {}).get("project") or {}
                if of.get("name") != project or of.get("entityName") not in (self.entity, None):
                    return None
            else:
                asked = {"entityName": self.entity, "name": project, "viewType": TYPES[kind], "viewName": key}
                views = (self.query(WORKSPACE, asked).get("project") or {}).get("allViews") or {}
                found = next((edge["node"] for edge in views.get("edges") or [] if edge["node"]["name"] == key), None)
        except Exception:  # a deleted one may be an error as well; that of the network comes again with the next question
            return None
        return None if found is None else (_view(found), str(found.get("spec") or ""))

    def views(self, kind: Kind, project: str) -> Iterator[View]:
        """All views of a kind in a project.

        Raises:
            UserError: no such project.
        """
        cursor = None
        while True:
            asked = {"project": project, "entity": self.entity, "viewType": TYPES[kind]}
            answer = self.told(
                f"list the {kind}s of {self.entity}/{project}",
                lambda: self.query(VIEWS, {**asked, "reportLimit": PER_PAGE, "reportCursor": cursor}),  # noqa: B023
            )
            found = answer.get("project")
            if found is None:
                raise UserError(
                    f"Weights & Biases has no project {self.entity}/{project}, or you may not see it; look at --entity and "
                    "--project (runs make their project when they are tracked or uploaded)"
                )
            views = found.get("allViews") or {}
            edges = views.get("edges") or []
            yield from (_view(edge["node"]) for edge in edges)
            pages = views.get("pageInfo") or {}
            cursor = pages.get("endCursor") or (edges[-1].get("cursor") if edges else None)
            if not pages.get("hasNextPage") or cursor is None:
                return


def _view(node: dict[str, Any]) -> View:
    return View(node["id"], node.get("name") or "", node.get("displayName") or "", str(node.get("updatedAt") or ""))


def _marked(spec: str) -> bool:
    from domaingap.dashboard.specs import MARK

    return MARK in spec


class Memory:
    """What a folder's dashboards are known by: a workspace's name and a report's id, for each service, entity, project and
    given title.

    The title by which a dashboard is remembered is the one that was asked for; one that follows from the group's or the
    folder's name is none, so that a folder that was moved or renamed keeps its dashboard.
    """

    def __init__(self, folder: Path | None, address: str, entity: str, project: str, asked: str | None) -> None:
        self._path = None if folder is None else folder / MEMORY
        self._place = {"address": address, "entity": entity, "project": project, "title": asked}
        self.keys: dict[str, str] = {}
        for entry in self._entries():
            if all(entry.get(key) == value for key, value in self._place.items()):
                self.keys = {kind: entry[kind] for kind in TYPES if isinstance(entry.get(kind), str)}

    def _entries(self) -> list[dict[str, Any]]:
        if self._path is None or not self._path.exists():
            return []
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            content = None
        if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
            console.print(f"{self._path}: can't be read; the dashboard is looked for by its title")
            return []
        return content

    def remember(self, kind: Kind, key: str) -> None:
        """Write down what a view is known by; where that can't be, the dashboard is found by its title the next time."""
        if self._path is None or self.keys.get(kind) == key:
            return
        self.keys[kind] = key
        others = [e for e in self._entries() if any(e.get(key) != value for key, value in self._place.items())]
        try:
            write_json(self._path, [*others, {**self._place, **self.keys}])
        except OSError as error:
            console.print(f"{trouble(error, 'can not be written', place=self._path)}: found by its title the next time")
            with contextlib.suppress(KeyError):
                del self.keys[kind]
