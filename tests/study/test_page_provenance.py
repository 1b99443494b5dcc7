"""Where a page says that its figures come from, and commands that repeat them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domaingap.hashing import plain
from domaingap.study.arguments import parse_settings
from domaingap.study.page.blocks import Listing, Words
from domaingap.study.page.provenance import (
    data_table,
    differing_table,
    licence_words,
    missing,
    parts_table,
    provenance_section,
    repeating,
    sets_table,
    software_table,
    time_table,
)
from domaingap.study.record import RunRecord, StartRecord, request_key
from domaingap.study.tables import Table, to_csv
from experiments.recipes import RECIPES
from tests.study.records import run_record


def partial(record: RunRecord, **fields: Any) -> RunRecord:
    """A record whose real data set is otherwise."""
    return replace(record, data={**record.data, "real": replace(record.data["real"], **fields)})


def whole(record: RunRecord) -> RunRecord:
    """A record of complete data sets, of a commit."""
    data = {role: replace(of, partial=False) for role, of in record.data.items()}
    return replace(record, data=data, git_commit="a" * 40)


def test_data_sets_stand_once_for_each_version() -> None:
    runs = [run_record("mixing", seed, alpha=0.5) for seed in range(3)]
    runs.append(run_record("real_only", faces={"real": "bbbb0000bbbb0000"}))
    runs[1] = partial(runs[1], n_train=9)
    rows = Table.cells(data_table(runs))
    assert [(row[0], row[1], row[2], row[3], row[5], row[-1]) for row in rows] == [
        ("300-W", "real", "aaaa0000aaaa0000", "9 to 18", "partial", "3"),
        ("300-W", "real", "bbbb0000bbbb0000", "18", "partial", "1"),
        ("FaceSynthetics", "synthetic", "5555000055550000", "18", "partial", "3"),
    ]


def test_parts_say_what_was_passed_over() -> None:
    run = run_record()
    part = replace(run.data["real"].parts["part"], skipped={"mirrored": 3, "broken": 1}, doubts={"far off": 2},
                   left_out={"image_1": "broken"}, box_sources={"mtcnn": 20, "fallback": 4}, n_published=337)  # fmt: skip
    (row,) = Table.cells(parts_table([partial(run, parts={"afw": part})]))
    assert row == [
        "300-W",
        "afw",
        "24",
        "337",
        "3 mirrored",
        "1 broken",
        "2 far off",
        "20 mtcnn; 4 fallback",
        part.fingerprint,
    ]


def test_scored_sets() -> None:
    rows = Table.cells(sets_table([run_record(), run_record(seed=1)]))
    assert rows[0] == ["val", "11", "10", "554", "partial", "0", "landmarks", "2"]
    assert [row[0] for row in rows] == ["val", "common"]


def test_time_counts_networks_that_were_trained() -> None:
    run = run_record("fine_tuning")
    found = replace(run.stages[0], reused=True, seconds=500.0)
    runs = [replace(run, stages=[found, run.stages[0]], wall_time_s=5400.0), run_record("real_only")]
    assert Table.cells(time_table(runs)) == [
        ["fine_tuning", "1", "1", "1", "4", "1.0 min", "1.5 h"],
        ["real_only", "1", "1", "0", "4", "1.0 min", "1 s"],
        ["together", "2", "2", "1", "8", "2.0 min", "1.5 h"],
    ]


def test_software_and_machines_that_differ_stand_beside_each_other() -> None:
    one = run_record(git_commit="c1", hardware={"cores": 2, "gpu": None}, versions={"torch": "2.15"})
    other = run_record(seed=1, git_commit=None, hardware={"cores": 2}, versions={"torch": "2.14"})
    assert Table.cells(software_table([one, other])) == [
        ["git commit", "c1", "1"], ["git commit", "not known", "1"], ["cores", "2", "2"], ["gpu", "none", "1"],
        ["gpu", "not recorded", "1"], ["torch", "2.15", "1"], ["torch", "2.14", "1"],
    ]  # fmt: skip


def test_what_is_missing_is_said() -> None:
    fine = whole(run_record())
    assert Table.cells(missing([fine])) == []
    assert any("No data set is partial" in b.text for b in provenance_section([fine]).blocks if isinstance(b, Words))
    run = replace(fine, git_commit="b" * 40 + "+changes")
    run = partial(run, partial=True, absent_parts=["ibug", "afw"], moved={"a": "b"})
    run = replace(run, counts={**run.counts, "test/common": replace(run.counts["test/common"], fallback_boxes=2)})
    run = replace(run, start=StartRecord("some/start.ckpt", False, 0, 10, {"val": 3, "common": 0}))
    unscored = whole(run_record(seed=2, nme={"val": None}))
    rows = {(row[0], row[1]): row[2] for row in Table.cells(missing([fine, run, unscored], ["x: damaged"]))}
    assert rows == {
        ("partial release", "300-W"): "1",
        ("absent parts", "300-W: ibug, afw"): "1",
        ("left out of training, as the photograph is in a test set", "300-W: 1 faces"): "1",
        ("fell back to another face box", "common: 2 of 11 faces"): "1",
        ("not scored on any test set", "validation picked another α, or score_test was off"): "1",
        ("NME that isn't a number", "val"): "1",
        ("unknown start", "start.ckpt"): "1",
        ("start that had seen faces of these sets", "start.ckpt: 3 of val"): "1",
        ("commit with changes that aren't in it", ""): "1",
        ("several commits", "2: see Software and machines"): "3",
        ("result passed over", "x: damaged"): "-",
    }


def test_photographs_of_people_come_with_a_warning() -> None:
    run = run_record(licences=["300-W (its terms, non-commercial)"], non_commercial=True)
    assert "for non-commercial use only" in licence_words([run])[0]
    (_, warning) = licence_words([run, run_record(seed=1, non_commercial=False)], faces_shown=True)
    assert "photographs of people, from 300-W" in warning
    made = partial(run_record(), source="generated_target")
    assert len(licence_words([made], faces_shown=True)) == 1


def test_settings_that_differ() -> None:
    runs = [run_record("mixing", seed, alpha=alpha) for seed in (0, 1) for alpha in (0.25, 0.5)]
    assert Table.cells(differing_table([*runs, run_record()])) == [
        ["alpha", "0.25 (2), 0.5 (2)", "4"], ["seed", "0 (3), 1 (2)", "5"],
    ]  # fmt: skip
    assert Table.cells(differing_table(runs[:1])) == []


def test_places_on_this_machine_are_left_out() -> None:
    run = run_record()
    run = replace(run, config={**run.config, "data_root": "/home/me/data", "runs_dir": "/home/me/runs"})
    section = provenance_section([run], made="today")
    for block in section.blocks:
        text = block.text if isinstance(block, Words | Listing) else to_csv([block])  # type: ignore[list-item]
        assert "/home/me" not in text
    assert isinstance(section.blocks[-1], Words) and "today" in section.blocks[-1].text


GIVEN = [
    ("mixing", "--alpha 0.25 --n_real 9"),
    ("mixing", "--alpha 0.5 --seed 1"),
    ("mixing", "--alpha 0.5 --adapter.kind shift --fit.lr 1e-05 --augment.mirror false"),
    ("real_only", "--fit.steps 75 --crop.size 32 --real.parts 'helen/trainset' --model.init_from 'my start/α.ckpt'"),
    ("synthetic_only", "--selection source_val --synthetic.source generated --synthetic.generated.n 50 --n_synthetic 30"),
]


def test_the_commands_repeat_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by the command line, with the files of settings beside them, they ask for the same."""
    records, asked = [], []
    for recipe, options in GIVEN:
        settings = parse_settings(
            RECIPES[recipe], [*shlex.split(options), "--data_root", "/elsewhere", "--wandb.mode", "off"]
        )
        records.append(replace(run_record(recipe), config=plain(settings)))
        asked.append(request_key(recipe, settings))
    listings = [block for block in repeating(records) if isinstance(block, Listing)]
    for block in listings[1:]:
        (tmp_path / block.title.partition(":")[0]).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in listings[0].text.splitlines()]
    assert [command[:4] for command in commands] == [["uv", "run", "domaingap", "run"]] * len(GIVEN)
    again = [request_key(command[4], parse_settings(RECIPES[command[4]], command[5:])) for command in commands]
    assert again == asked and len(set(asked)) == len(GIVEN)
