"""``domaingap dashboard`` against a stand-in for W&B's service (``tests/wandb_views.py``), whose views are read back with
W&B's own classes.

Never run against the service: these show what is sent, and that a second call updates what the first one made.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domaingap.dashboard.about import told_settings
from domaingap.study.record import read_record
from tests.conftest import Answer
from tests.experiments.test_cli import fails
from tests.experiments.test_wandb import history, offline, records, summary
from tests.study.records import run_record, write
from tests.wandb_server import KEY
from tests.wandb_views import Views

Cli = Callable[..., Answer]


def environment(patch: pytest.MonkeyPatch, folder: Path, url: str | None) -> None:
    """Nobody is logged in, or somebody at the stand-in. W&B keeps what it read for the life of the process."""
    import wandb

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT"):
        patch.delenv(name, raising=False)
    patch.setenv("NETRC", str(folder / "netrc"))
    patch.setenv("WANDB_CONFIG_DIR", str(folder / "config"))
    if url is not None:
        patch.setenv("WANDB_BASE_URL", url)
        patch.setenv("WANDB_API_KEY", KEY)
    wandb.teardown()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """W&B remembers a login for as long as the process lives; other tests are to find none."""
    yield
    import wandb

    wandb.teardown()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Views]:
    """The stand-in, with somebody logged in there."""
    import wandb

    with Views() as server:
        environment(monkeypatch, tmp_path_factory.mktemp("home"), server.url)
        yield server
        wandb.teardown()


def study(root: Path, group: str | None = "alpha", on: str = "common") -> Path:
    """Runs of four strategies and two seeds, of which mixing has two α, and real_only two numbers of images."""
    config = {"wandb": {"project": "faces", "group": group}}
    for recipe, nme, more in (
        ("synthetic_only", 9.0, {"n_real": None}),
        ("real_only", 7.0, {"n_real": 4}),
        ("real_only", 6.5, {}),
        ("mixing", 6.3, {"alpha": 0.5}),
        ("mixing", 6.1, {"alpha": 0.25}),
        ("fine_tuning", 6.0, {"answering": 5}),
    ):
        made: dict[str, Any] = {**more, "config": config}
        write(root, [run_record(recipe, seed, {"val": nme + 1, on: nme + seed / 10}, **made) for seed in range(2)])
    return root


def few(root: Path, group: str | None = "alpha") -> Path:
    """Two runs."""
    config = {"wandb": {"project": "faces", "group": group}}
    write(root, [run_record("real_only", seed, 6.0 + seed, config=config) for seed in range(2)])
    return root


def addresses(answer: Answer) -> dict[str, str]:
    """Where workspace and report are, as the command prints it; and that it prints nothing else."""
    assert answer.code == 0, answer.err
    lines = [(line.partition(": ")[0], line.partition(": ")[2]) for line in answer.out.splitlines()]
    assert [what.split()[0] for what, _ in lines] == ["workspace", "report"]
    return dict(lines)


def panels(of: Any, kind: type) -> list[Any]:
    """A section's or a grid's panels of a kind."""
    return [panel for panel in of.panels if isinstance(panel, kind)]


def test_two_calls_leave_one_workspace_and_one_report(cli: Cli, server: Views, tmp_path: Path) -> None:
    runs = few(tmp_path / "alpha")
    made = addresses(cli("dashboard", runs))
    assert set(made) == {"workspace made", "report made"}
    before = server.of("workspace")[0].content
    updated = addresses(cli("dashboard", runs, "--project=faces"))
    assert set(updated) == {"workspace updated", "report updated"} and list(updated.values()) == list(made.values())
    assert [len(server.of(kind)) for kind in ("workspace", "report")] == [1, 1] and not server.unknown
    assert all(view.saved == 2 and view.title == "alpha" for view in server.views.values())
    assert server.of("workspace")[0].content == before, "the ids of panels stay"


def test_the_workspace_as_wandbs_classes_read_it(cli: Cli, server: Views, tmp_path: Path) -> None:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    address = addresses(cli("dashboard", study(tmp_path / "alpha"), "--project=faces"))["workspace made"]
    assert address.startswith(f"{server.url}/us/faces?nw=")
    read = ws.Workspace.from_url(address)
    assert (read.entity, read.project, read.name, read.auto_generate_panels) == ("us", "faces", "alpha", False)
    sections = {section.name: section for section in read.sections}
    assert list(sections) == [
        "About", "Strategies compared", "NME against α", "NME against n", "CED", "Regions and tails", "Pictures",
        "Worst faces", "Learning curves", "Label adapters", "Cost",
    ]  # fmt: skip
    assert all(panels(section, wr.MarkdownPanel)[0] is section.panels[0] for section in read.sections), "words first"

    bars = panels(sections["Strategies compared"], wr.BarPlot)
    assert [bar.metrics for bar in bars] == [
        [wr.Metric("test/common/nme")], [wr.Metric("test/common/fr@8")], [wr.Metric("test/common/auc@8")]
    ]  # fmt: skip
    # real_only has two numbers of images: a mean by strategy alone would be one of unlike runs.
    assert [key.name for key in read.runset_settings.groupby] == ["strategy", "n_real"]
    assert all(bar.groupby is None and bar.groupby_aggfunc == "mean" for bar in bars)
    (beside,) = panels(sections["Strategies compared"], wr.ScatterPlot)
    assert (beside.x, beside.y) == (wr.SummaryMetric("val/nme"), wr.SummaryMetric("test/common/nme"))

    test, val = panels(sections["NME against α"], wr.ScatterPlot)
    assert test.x == val.x == wr.Config("alpha") and test.y == wr.SummaryMetric("test/common/nme")
    assert val.y == wr.SummaryMetric("val/nme") and test.running_ymean and not test.log_x
    (n,) = panels(sections["NME against n"], wr.ScatterPlot)
    assert (n.x, n.y, n.log_x) == (wr.SummaryMetric("n_real_train"), wr.SummaryMetric("test/common/nme"), True)

    (ced,) = panels(sections["CED"], wr.CustomChart)
    assert ced.chart_name == "wandb/lineseries/v0" and "ced/common_table" in json.dumps(ced.query)
    (regions, tails) = panels(sections["Regions and tails"], wr.BarPlot)
    assert regions.metrics == [wr.Metric(f"test/common/nme_{r}") for r in ("jaw", "brows", "nose", "eyes", "mouth")]
    assert tails.metrics == [wr.Metric(f"test/common/nme_{p}") for p in ("p90", "p95", "p99")]
    assert [panel.media_keys for panel in panels(sections["Pictures"], wr.MediaBrowser)] == [["val/faces"]]
    assert [panel.table_name for panel in panels(sections["Worst faces"], wr.WeavePanelSummaryTable)] == [
        "worst_faces/common"
    ]
    curves = panels(sections["Learning curves"], wr.LinePlot)
    assert {plot.x for plot in curves} == {wr.Metric("progress/step")}
    assert [plot.y for plot in curves] == [
        [wr.Metric(key)] for key in ("val/nme", "val/loss", "train/loss", "source_val/nme", "phase")
    ]
    cost = [bar.metrics[0].name for bar in panels(sections["Cost"], wr.BarPlot)]
    assert cost == ["wall_time_s", "steps_total", "steps_answering"]
    assert read.settings.x_axis == "progress/step"
    assert {section.panel_settings.x_axis for section in read.sections[1:]} == {"progress/step"}

    # Colours: each recipe's own, of several α the largest in full, and of each group by (strategy, n_real) the same.
    colours = read.runset_settings.group_colors
    assert colours["real_only"] == colours[ws.GroupPath("real_only", "4")] == "#000000"
    assert colours["synthetic_only"] == "#D55E00" and colours["fine_tuning"] == colours[ws.GroupPath("fine_tuning", "9")]
    assert colours["mixing α=0.5"] == "#0072B2" and colours["mixing α=0.25"] == "#99C7E0"
    assert ws.GroupPath("synthetic_only", "None") not in colours
    assert read.runset_settings.filters == """Metric("Group") in ['alpha']"""
    assert "summary:test/common/nme" in read.runset_settings.pinned_columns


def test_the_report_as_wandbs_classes_read_it(cli: Cli, server: Views, tmp_path: Path) -> None:
    import wandb_workspaces.reports.v2 as wr

    runs = study(tmp_path / "alpha")
    address = addresses(cli("dashboard", runs, "--project=faces"))["report made"]
    assert address.startswith(f"{server.url}/us/faces/reports/alpha--")
    read = wr.Report.from_url(address)
    assert (read.entity, read.project, read.title) == ("us", "faces", "alpha") and "domaingap dashboard" in read.description
    headings = [block.text for block in read.blocks if isinstance(block, wr.H2)]
    page = [
        "The answer",
        "Strategies compared",
        "With how many images, at which α",
        "Where the errors are",
        "All runs",
        "Where this comes from",
    ]
    assert [heading for heading in headings if heading in page] == page
    text = "\n".join(block.text for block in read.blocks if isinstance(block, wr.MarkdownBlock))
    # The numbers of 'domaingap report', as it prints them.
    for style in ("strategies", "pairs", "runs"):
        for line in cli("report", runs, "--format=markdown", f"--style={style}").out.splitlines():
            assert line in text, line
    grids = [block for block in read.blocks if isinstance(block, wr.PanelGrid)]
    shown = [panel.title for grid in grids for panel in grid.panels if isinstance(panel, wr.ScatterPlot)]
    assert "NME % on common against α" in shown and "NME % on common against real images" in shown
    for grid in grids:
        (runset,) = grid.runsets
        assert grid.hide_run_sets == (
            "Failure rate at 8% NME on common" not in [getattr(p, "title", "") for p in grid.panels]
        )
        assert (runset.entity, runset.project) == ("us", "faces")
        assert runset.groupby == ["config.strategy.value", "config.n_real.value"]
        assert runset.filters == """Metric("Group") in ['alpha']"""
        named = {tuple(key.value for key in group.keys): colour for group, colour in grid.custom_run_colors.items()}
        assert named["real_only",] == named["real_only", "9"] == "#000000" and named["mixing α=0.5",] == "#0072B2"
        places = [(p.layout.x, p.layout.y, p.layout.w, p.layout.h) for p in grid.panels]
        assert all(x + w <= 24 for x, _, w, _ in places)
        for i, (x, y, w, h) in enumerate(places):
            assert not any(x < a + c and a < x + w and y < b + d and b < y + h for a, b, c, d in places[i + 1 :])
    assert len({grid.panels[0]._id for grid in grids}) == len(grids)


def test_a_forgotten_a_deleted_and_a_renamed_one(cli: Cli, server: Views, tmp_path: Path) -> None:
    runs = few(tmp_path / "alpha")
    first = addresses(cli("dashboard", runs, "--project=faces"))
    memory = runs / "dashboard.json"
    (entry,) = json.loads(memory.read_text())
    assert entry == {
        "address": server.url, "entity": "us", "project": "faces", "title": None,
        "workspace": server.of("workspace")[0].name, "report": server.of("report")[0].id,
    }  # fmt: skip
    # A colleague's copy of the folder has no memory, and another name; the group is the same, and so is the title.
    theirs = shutil.copytree(runs, tmp_path / "theirs", ignore=shutil.ignore_patterns("dashboard.json"))
    assert list(addresses(cli("dashboard", theirs, "--project=faces")).values()) == list(first.values())
    assert (theirs / "dashboard.json").exists()
    # In W&B somebody renames the workspace; the folder knows it by its id.
    server.of("workspace")[0].title = "something else"
    assert "workspace updated" in addresses(cli("dashboard", runs, "--project=faces"))
    assert [view.title for view in server.of("workspace")] == ["alpha"]
    # Somebody deletes the report: it is made again, and the new one is remembered.
    del server.views[server.of("report")[0].id]
    again = addresses(cli("dashboard", runs, "--project=faces"))
    assert set(again) == {"workspace updated", "report made"}
    assert json.loads(memory.read_text())[0]["report"] == server.of("report")[0].id
    # What can't be read is forgotten, and said.
    memory.write_text("[1")
    answer = cli("dashboard", runs, "--project=faces")
    assert set(addresses(answer)) == {"workspace updated", "report updated"} and "can't be read" in answer.err
    assert json.loads(memory.read_text())[0]["report"] == server.of("report")[0].id
    assert [len(server.of(kind)) for kind in ("workspace", "report")] == [1, 1]


def test_a_moved_folder_keeps_its_dashboard_and_another_title_is_another_one(
    cli: Cli, server: Views, tmp_path: Path
) -> None:
    runs = few(tmp_path / "alpha", group=None)
    first = addresses(cli("dashboard", runs, "--project=faces"))
    moved = runs.rename(tmp_path / "archive = old")
    again = addresses(cli("dashboard", moved, "--project=faces"))
    assert again["workspace updated"] == first["workspace made"]
    assert {view.title for view in server.views.values()} == {"archive - old"}, "as W&B takes it"
    other = cli("dashboard", moved, "--project=faces", "--name", "For the paper")
    assert set(addresses(other)) == {"workspace made", "report made"} and len(server.views) == 4
    assert set(addresses(cli("dashboard", moved, "--project=faces"))) == {"workspace updated", "report updated"}
    assert [entry["title"] for entry in json.loads((moved / "dashboard.json").read_text())] == [None, "For the paper"]


def test_where_nothing_can_be_remembered_it_is_found_by_its_title(cli: Cli, server: Views, tmp_path: Path) -> None:
    runs = few(tmp_path / "alpha")
    (runs / "dashboard.json").mkdir()
    answer = cli("dashboard", runs, "--project=faces")
    assert set(addresses(answer)) == {"workspace made", "report made"} and "found by its title the next time" in answer.err
    assert set(addresses(cli("dashboard", runs, "--project=faces"))) == {"workspace updated", "report updated"}


def test_other_peoples_views_are_not_touched(cli: Cli, server: Views, tmp_path: Path) -> None:
    for kind in ("project-view", "runs"):
        own = {"id": "", "type": kind, "entityName": "us", "projectName": "faces", "name": "x", "displayName": "alpha"}
        server._upsertView({**own, "spec": "{}"})
    fails(cli("dashboard", few(tmp_path / "alpha"), "--project=faces"), "us/faces", "'alpha'", "--name")
    assert [view.saved for view in server.views.values()] == [1, 1]


def test_the_newest_of_several_is_updated_and_pages_are_read_to_their_end(cli: Cli, server: Views, tmp_path: Path) -> None:
    server.page = 2
    for number in range(5):
        asked = {"type": "project-view", "entityName": "us", "projectName": "faces", "name": f"nw-{number}-v"}
        spec = '{"a": "Made by `domaingap dashboard`"}'
        server._upsertView({**asked, "displayName": "alpha" if number in (2, 4) else "other", "spec": spec})
    answer = cli("dashboard", few(tmp_path / "alpha"), "--project=faces")
    assert addresses(answer)["workspace updated"].endswith("?nw=4") and "2 workspaces are called 'alpha'" in answer.err
    assert [view.saved for view in server.of("workspace")] == [1, 1, 1, 1, 2]


def test_without_a_folder_the_panels_are_of_a_group_or_the_project(cli: Cli, server: Views) -> None:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    odd = 'it\'s <α> = "x" and 1'
    answer = addresses(cli("dashboard", "--project=faces", "--group", odd, "--name=Ours", "--on=generated"))
    read = ws.Workspace.from_url(answer["workspace made"])
    (one,) = read._stashed_filters_v2["filters"]
    assert (one["key"], one["op"], one["value"]) == ({"section": "run", "name": "group"}, "IN", [odd])
    assert read.name == "Ours" and [key.name for key in read.runset_settings.groupby] == [
        "strategy", "n_real", "selection", "fit.steps"
    ]  # fmt: skip
    sections = {section.name: section for section in read.sections}
    assert panels(sections["NME against n"], wr.ScatterPlot)[0].y == wr.SummaryMetric("test/generated/nme")
    assert read.runset_settings.group_colors["data_adaptation"] == "#CC79A7"
    report = wr.Report.from_url(answer["report made"])
    assert sum(isinstance(block, wr.PanelGrid) for block in report.blocks) == len(sections) - 1
    addresses(cli("dashboard", "--project=faces"))
    everything = next(view for view in server.of("workspace") if view.title == "faces")
    assert everything.content["section"]["runSets"][0]["filters"]["filters"] == []
    assert set(addresses(cli("dashboard", "--project=faces"))) == {"workspace updated", "report updated"}
    assert len(server.views) == 4


def test_the_studys_own_test_set_and_axes(cli: Cli, server: Views, tmp_path: Path) -> None:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    runs = tmp_path / "own"
    for recipe, nme in (("synthetic_only", 9.0), ("real_only", 6.0)):
        write(runs, [run_record(recipe, seed, {"val": nme, "generated": nme + seed}) for seed in range(2)])
    read = ws.Workspace.from_url(addresses(cli("dashboard", runs, "--project=faces"))["workspace made"])
    names = [section.name for section in read.sections]
    assert "NME against α" not in names and "NME against n" not in names and "Label adapters" not in names
    bars = panels(read.sections[names.index("Strategies compared")], wr.BarPlot)
    assert bars[0].metrics == [wr.Metric("test/generated/nme")] and bars[0].groupby == wr.Config("strategy")
    # Runs without a group of their own are of the folder's; told to W&B before groups were written down, they have ids.
    assert read.runset_settings.filters == """Metric("Group") in ['own']"""
    for number, path in enumerate(runs.glob("*/result.json")):
        entry = {"id": f"w{number}", "project": "faces", "entity": "us", "sweep": "", "mode": "online"}
        (path.parent / "wandb.json").write_text(json.dumps({**entry, "files": "run-1", "state": "finished"}))
    read = ws.Workspace.from_url(addresses(cli("dashboard", runs, "--project=faces"))["workspace updated"])
    assert read.runset_settings.filters == """Metric("ID") in ['w0', 'w1', 'w2', 'w3']"""
    fails(cli("dashboard", runs, "--project=faces", "--on=common_"), "common_", "generated")
    on_val = json.loads(cli("dashboard", runs, "--dry-run", "--on=val").out)
    assert "val/nme" in json.dumps(on_val["workspace"]) and "test/val/nme" not in json.dumps(on_val)


def test_means_are_over_seeds_alone(cli: Cli, tmp_path: Path) -> None:
    """Whatever else runs of a strategy differ in, they are grouped by it."""
    for number, lr in enumerate((0.001, 0.002)):
        write(tmp_path / "lr", [run_record("real_only", s, 6.0 + number, settings={"fit.lr": lr}) for s in range(2)])
    write(tmp_path / "lr", [run_record("mixing", 0, 5.0, alpha=alpha, n_synthetic=24) for alpha in (0.25, 0.5)])
    sections = json.loads(cli("dashboard", tmp_path / "lr", "--dry-run").out)["workspace"]["spec"]["section"]
    keys = [key["name"] for key in sections["runSets"][0]["grouping"]]
    assert keys == ["strategy.value", "fit.value.lr"]
    decoded = [urllib.parse.unquote(key) for key in sections["customRunColors"]]
    assert any('"value":"real_only"' in key and '"value":"0.001"' in key for key in decoded)
    assert any('"value":"mixing α=0.5"' in key and '"value":"0.002"' in key for key in decoded)


def test_runs_that_are_not_in_the_project_are_said(cli: Cli, server: Views, tmp_path: Path) -> None:
    runs = study(tmp_path / "alpha")
    folders = sorted(path.parent for path in runs.glob("*/result.json"))
    for folder, (mode, project) in zip(
        folders, [("offline", "faces"), ("online", "other"), ("online", "faces")], strict=False
    ):
        entry = {"id": f"w{mode}", "project": project, "entity": "us", "sweep": "", "group": "alpha", "mode": mode}
        (folder / "wandb.json").write_text(json.dumps({**entry, "files": "offline-run-1", "state": "finished"}))
    answer = cli("dashboard", runs, "--project=faces")
    addresses(answer)
    assert "1 of 12 runs were written offline" in answer.err and "wandb sync" in answer.err
    assert "1 of 12 runs in W&B's project us/other" in answer.err
    assert "9 of 12 runs without a W&B run" in answer.err


def test_a_dry_run_needs_neither_login_nor_network(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment(monkeypatch, tmp_path, "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY")
    runs = study(tmp_path / "alpha")
    answer = cli("dashboard", runs, "--dry-run", "--entity=us")
    assert answer.code == 0, answer.err
    specs = json.loads(answer.out)
    assert (specs["entity"], specs["project"], specs["workspace"]["title"]) == ("us", "faces", "alpha")
    assert len(specs["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]) == 11
    assert specs["report"]["spec"]["blocks"] and not (runs / "dashboard.json").exists()
    again = json.loads(cli("dashboard", runs, "--dry_run", "--entity=us").out)
    assert again["workspace"] == specs["workspace"], "the same each time"


def test_what_stands_in_the_way_is_a_line(cli: Cli, server: Views, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = few(tmp_path / "alpha")
    fails(cli("dashboard", runs, "--project=face"), "no project us/face", "--entity", "--project")
    fails(cli("dashboard", runs, "--entity=them"), "no project them/faces")
    server.refuses = {"upsertView": "permission denied"}
    answer = cli("dashboard", runs)
    assert answer.out.startswith("workspace made: ")
    fails(answer, "can't save the report", "permission denied")
    server.refuses = {}
    assert set(addresses(cli("dashboard", runs))) == {"workspace updated", "report made"}, "what was made is remembered"
    fails(cli("dashboard", tmp_path / "none"), "no such folder")
    (tmp_path / "empty").mkdir()
    fails(cli("dashboard", tmp_path / "empty"), "no finished run")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--project=a/b"], ["--project is a/b"]),
        (["--project="], ["--project"]),
        (["--entity=a?b"], ["--entity is a?b"]),
        (["--group="], ["--group", "1 to 128"]),
        (["--name=a=b"], ["--name is a=b", "symbols such as ="]),
        (["--name", "x" * 129], ["--name", "129"]),
        (["--name=a/b"], ["--name is a/b"]),
        (["--on=../x"], ["--on is ../x"]),
        (["--colour=red"], ["--colour"]),
        (["a", "b"], ["b"]),
    ],
)
def test_bad_options_are_a_line(cli: Cli, arguments: list[str], fragments: list[str]) -> None:
    fails(cli("dashboard", *arguments), *fragments)


def test_without_login_or_network(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment(monkeypatch, tmp_path, None)
    fails(cli("dashboard", "--project=faces"), "not logged in", "wandb login", "--dry_run")
    monkeypatch.setenv("WANDB_MODE", "offline")
    fails(cli("dashboard", "--project=faces"), "WANDB_MODE is offline", "--dry_run")
    monkeypatch.setattr("domaingap.dashboard.service.RETRIES", 1)
    monkeypatch.setattr("domaingap.dashboard.service.WAIT_S", 0.1)
    environment(monkeypatch, tmp_path, "http://127.0.0.1:9")
    fails(cli("dashboard", "--project=faces"), "can't be reached", "connection refused", "network")


@pytest.mark.slow
def test_every_key_that_a_panel_names_is_logged_by_runs(
    cli: Cli, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs log and what panels show are two places with one list of names."""
    environment(monkeypatch, tmp_path, None)
    assert cli("run", "mixing", *quick, "--wandb.mode=offline", "--alpha=0.5", "--adapter.kind=shift").code == 0
    answer = cli("dashboard", tmp_path / "runs", "--dry_run")
    assert answer.code == 0, answer.err
    section = json.loads(answer.out)["workspace"]["spec"]["section"]
    text = json.dumps(section["panelBankConfig"])
    named = set(re.findall(r'"(?:summary:)?([\w@]+(?:/[\w@]+)+)"', text))
    named |= set(re.findall(r'"summary:(\w+)"', text))
    shown = [panel["config"] for part in section["panelBankConfig"]["sections"] for panel in part["panels"]]
    named |= {key for config in shown for key in config.get("metrics", [])}
    assert {"phase", "steps_total", "wall_time_s", "adapter/spread_ratio"} <= named
    assert {"val/nme", "test/common/nme", "ced/common_table", "worst_faces/common", "val/faces", "progress/step"} <= named
    folder = offline(tmp_path / "runs")
    kept = summary(folder)
    logged = {key for row in history(folder) for key in row} | set(kept["summary"])
    # Of media and tables the reader has fields, such as val/faces.width.
    logged |= {key.rpartition(".")[0] for key in logged}
    charts = {"wandb/lineseries/v0"}
    assert named - charts - logged == set()
    configured = {"strategy", "n_real", "n_synthetic", "selection", "synthetic_source", "backbone", "crop_size", "alpha"}
    assert configured <= set(kept["config"]) and "steps" in kept["config"]["fit"]
    for key, value in told_settings(read_record(folder.parents[1] / "result.json")).items():
        found: Any = kept["config"]
        for name in key.split("."):
            found = found[name]
        written = str(found) if found is None or isinstance(found, str) else json.dumps(found)
        assert written == value or key == "model.init_from", f"{key}, by which runs may be grouped"
    (run,) = [of["run"] for of in records(folder) if of["type"] == "run"]
    (one,) = section["runSets"][0]["filters"]["filters"]
    assert one["value"] == [run["run_group"]], "the group that runs have"
    columns = section["runSets"][0]["runFeed"]["columnOrder"]
    assert {"config:seed.value", "config:recipe.value", "summary:n_real_train"} <= set(columns)


def test_help_says_that_it_was_never_run_against_the_service(cli: Cli) -> None:
    answer = cli("dashboard", "--help")
    text = " ".join(answer.out.split())
    assert answer.code == 0 and "example: domaingap dashboard" in text and "never run against the service itself" in text
