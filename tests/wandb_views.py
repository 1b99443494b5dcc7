"""A stand-in for W&B's server on loopback, for workspaces and reports.

It has never been compared with the service: it answers what ``wandb`` 0.31 and ``wandb_workspaces`` 0.4 ask for, so a test
with it shows what is sent, not that the service takes it. The names of the operations are private to W&B's packages.
"""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from tests.wandb_server import Server


@dataclass
class View:
    """A workspace (``project-view``) or a report (``runs``)."""

    id: str
    type: str
    entity: str
    project: str
    name: str
    title: str
    description: str
    spec: str
    updated: int
    saved: int = 1
    """How many times."""

    @property
    def content(self) -> dict[str, Any]:
        return dict(json.loads(self.spec))

    @property
    def node(self) -> dict[str, Any]:
        """As the service answers, as far as W&B's packages read it."""
        return {
            "id": self.id, "type": self.type, "name": self.name, "displayName": self.title, "description": self.description,
            "project": {"id": "p", "name": self.project, "entityName": self.entity}, "spec": self.spec,
            "createdAt": "2026-11-28T00:00:00Z", "updatedAt": f"2026-11-28T00:00:{self.updated:02d}Z",
        }  # fmt: skip


@dataclass
class Views(Server):
    """The stand-in.

    Attributes:
        projects: (entity, name) of those that are there.
        views: by id.
        page: views in an answer at most.
        refuses: mutations that are answered with an error, and what it says.
    """

    projects: set[tuple[str, str]] = field(default_factory=lambda: {("us", "faces")})
    views: dict[str, View] = field(default_factory=dict)
    page: int = 50
    refuses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Server.__init__(self)
        self._clock = itertools.count(1)

    def of(self, kind: str) -> list[View]:
        """The workspaces, or the reports."""
        return [view for view in self.views.values() if view.type == {"workspace": "project-view", "report": "runs"}[kind]]

    def graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        name = next((name for name in self.refuses if f"mutation {name}(" in " ".join(request["query"].split())), None)
        return super().graphql(request) if name is None else {"data": None, "errors": [{"message": self.refuses[name]}]}

    def _upsertView(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = self.views.get(asked.get("id") or "")
        # The service's ids are base64 as well: W&B's classes take them apart and put them together again.
        id = known.id if known is not None else base64.b64encode(f"View:{len(self.views) + 100}".encode()).decode()
        self.views[id] = View(
            id, asked["type"], asked["entityName"], asked["projectName"], asked["name"], asked["displayName"],
            asked.get("description") or "", asked["spec"], next(self._clock), known.saved + 1 if known is not None else 1,
        )  # fmt: skip
        return {"upsertView": {"view": self.views[id].node, "inserted": known is None}}

    _UpsertView2 = _upsertView

    def _SpecificReport(self, asked: dict[str, Any]) -> dict[str, Any]:
        view = self.views.get(asked["reportId"])
        return {"view": view.node if view is not None else None}

    def _ProjectViews(self, asked: dict[str, Any]) -> dict[str, Any]:
        place = (asked["entity"], asked["project"])
        if place not in self.projects:
            return {"project": None}
        found = [v for v in self.views.values() if (v.entity, v.project) == place and v.type == asked["viewType"]]
        first = int(asked.get("reportCursor") or 0)
        shown = found[first : first + min(self.page, asked["reportLimit"])]
        edges = [{"node": view.node, "cursor": str(first + i + 1)} for i, view in enumerate(shown)]
        last = first + len(shown)
        pages = {"endCursor": str(last), "hasNextPage": last < len(found)}
        return {"project": {"allViews": {"edges": edges, "pageInfo": pages}}}

    def _View(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A workspace by its name, as ``Workspace.from_url`` asks."""
        place, kind = (asked["entityName"], asked["name"]), asked["viewType"]
        if place not in self.projects:
            return {"project": None}
        found = [v for v in self.views.values() if (v.entity, v.project) == place and v.type == kind]
        edges = [{"node": view.node} for view in found if view.name == asked["viewName"]]
        return {"project": {"allViews": {"edges": edges}}}

    def _ProjectInternalId(self, asked: dict[str, Any]) -> dict[str, Any]:
        there = (asked["entityName"], asked["projectName"]) in self.projects
        return {"project": {"id": "p", "internalId": "7"} if there else None}

    def _GetDefaultEntity(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "VXNlcjox", "entity": "us"}}

    def _GetProjects(self, asked: dict[str, Any]) -> dict[str, Any]:
        common = {
            "__typename": "Project",
            "id": "p",
            "isBenchmark": False,
            "user": None,
            "createdAt": "2026-11-28T00:00:00Z",
        }
        edges = [{"node": {**common, "name": name, "entityName": entity}} for entity, name in sorted(self.projects)]
        pages = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"edges": edges, "pageInfo": pages}}
