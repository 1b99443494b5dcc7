"""Which W&B run a run's folder is taken for: by project, group, and what was told before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from domaingap.config import WandbConfig
from domaingap.tracking_places import Entry, Place, entries, note, place_of, told

ASKED = WandbConfig(project="faces")


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)


def place(folder: Path, settings: WandbConfig = ASKED, study: str = "alpha", mode: str = "online") -> Place:
    return place_of(settings, folder, "0123456789abcdef", study, mode)


def test_an_id_follows_from_key_project_and_group(tmp_path: Path) -> None:
    one = place(tmp_path / "here")
    assert one == place(tmp_path / "there"), "the same on any machine"
    assert one.id.startswith("0123456789abcdef-") and one.group == "alpha"
    others = [
        place(tmp_path, study="beta"),
        place(tmp_path, replace(ASKED, project="other")),
        place(tmp_path, replace(ASKED, group="gamma")),
    ]
    assert len({one.id, *(of.id for of in others)}) == 4, "nobody else's run is taken"
    assert place(tmp_path, replace(ASKED, group="alpha")) == one, "said or not"


def test_what_was_told_before_is_found_again(tmp_path: Path) -> None:
    first = place(tmp_path)
    note(tmp_path, Entry(first, "online", "run-1", "running"))
    assert not told(ASKED, tmp_path), "it hasn't ended"
    note(tmp_path, Entry(first, "online", "run-1", "finished"))
    other = replace(ASKED, group="beta")
    note(tmp_path, Entry(place(tmp_path, other), "online", "run-2", "finished"))
    assert [of.place.group for of in entries(tmp_path)] == ["alpha", "beta"]
    assert told(ASKED, tmp_path) and told(other, tmp_path) and told(replace(ASKED, group="alpha"), tmp_path)
    assert not told(replace(ASKED, group="gamma"), tmp_path) and not told(replace(ASKED, project="x"), tmp_path)
    assert place(tmp_path, replace(ASKED, group="alpha"), "elsewhere") == first
    assert place(tmp_path, study="elsewhere").group == "beta", "where no group is asked for, the last one"


def test_a_run_of_a_sweep_is_gone_on_with_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    """Its project is known to the sweep's file alone; offline it can't be taken up."""
    trial = Place("trial0", "tiny", "us", "s", "sweep0")
    note(tmp_path, Entry(trial, "online", "run-1", "killed"))
    assert place(tmp_path, WandbConfig()) == trial == place(tmp_path, WandbConfig(group="s"))
    assert place(tmp_path, WandbConfig(group="t")).sweep == "" == place(tmp_path, ASKED).sweep
    assert place(tmp_path, WandbConfig(), mode="offline").sweep == ""


def test_a_ledger_of_before_is_read_and_a_damaged_one_passed_over(tmp_path: Path) -> None:
    old = {"id": "k", "project": "faces", "entity": None, "sweep": "", "mode": "offline", "files": "f", "state": "finished"}
    (tmp_path / "wandb.json").write_text(json.dumps(old))
    assert told(ASKED, tmp_path) and place(tmp_path).id == "k"
    assert not told(replace(ASKED, group="alpha"), tmp_path), "its group isn't known"
    for content in ("", "[1, {}]", "7", json.dumps([{**old, "group": 3}])):
        (tmp_path / "wandb.json").write_text(content)
        assert entries(tmp_path) == []
