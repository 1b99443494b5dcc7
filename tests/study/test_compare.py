"""Groups, families, baselines: which runs are put beside which."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from domaingap.errors import UserError
from domaingap.study import compare, report_tables
from domaingap.study.compare import (
    Strategies,
    Verdict,
    difference,
    families,
    picked_alphas,
    told_apart,
)
from domaingap.study.gap_parts import gap_parts
from domaingap.study.page.answer import ends
from domaingap.study.record import RunRecord, StartRecord, read_records
from domaingap.study.report_tables import run_table
from tests.study.records import STRATEGIES, run_record, seeds, write

grouped = partial(compare.grouped, strategies=STRATEGIES)
comparisons = partial(compare.comparisons, strategies=STRATEGIES)
strategies_tables = partial(report_tables.strategies_tables, strategies=STRATEGIES)
runs_table = partial(report_tables.runs_table, strategies=STRATEGIES)

KNOWN = StartRecord("seen.ckpt", True, 907, 100)
UNKNOWN = StartRecord("found.ckpt", False, 0, 0)


def compared(records: list[RunRecord], on: str = "common", **more: Strategies) -> dict[tuple[str, str, int], str | None]:
    """Which strategies are compared with which baselines of how many steps."""
    found = {}
    for family in families(grouped(records)):
        for c in comparisons(family.groups, on, **more)[0]:
            found[c.group.first.recipe, c.baseline.first.recipe, c.baseline.first.scratch_steps] = c.lengths
    return found


def test_a_group_is_runs_that_differ_in_their_seed_alone() -> None:
    records = [*seeds("real_only", [6.2, 6.0, 6.4]), *seeds("real_only", [5.0, 5.1], settings={"fit.lr": 0.1})]
    one, other = grouped(records[::-1])
    assert {len(one.runs), len(other.runs)} == {2, 3} and [run.seed for run in one.runs] == sorted(r.seed for r in one.runs)
    cell = (one if len(one.runs) == 3 else other).cell("common")
    assert cell.by_seed == {0: 6.2, 1: 6.0, 2: 6.4} and (cell.over, cell.left_out) == ("seeds", 0)
    # t(0.975, 2) = 4.303; standard deviation 0.2; over the root of 3.
    assert cell.interval == pytest.approx((6.2, 6.2 - 4.302653 * 0.2 / 3**0.5, 6.2 + 4.302653 * 0.2 / 3**0.5), rel=1e-6)


def test_a_single_run_has_its_own_interval_over_images() -> None:
    (group,) = grouped([run_record(nme=6.0)])
    assert group.cell("common").interval == (6.0, 5.9, 6.2) and group.cell("common").over == "images"
    nothing = group.cell("private")
    assert (nothing.by_seed, nothing.left_out) == ({}, 1) and nothing.interval.mean != nothing.interval.mean


def test_every_group_is_in_a_family_also_where_no_strategy_has_its_budget() -> None:
    records = [run_record("synthetic_only", source=source) for source in ("face_synthetics", "dgfaces")]
    records += [run_record("label_adaptation", n_real=n, source=s) for n, s in ((9, "face_synthetics"), (5, "dgfaces"))]
    records += [run_record("real_only", n_real=n) for n in (5, 9, 14)]
    found = {
        family.source: sorted(g.first.n_real_train for g in family.groups if g.first.recipe == "real_only")
        for family in families(grouped(records))
    }
    assert found == {"face_synthetics": [9, 14], "dgfaces": [5, 14]}


def test_families_are_named_by_what_tells_them_apart() -> None:
    records = [
        run_record("mixing", alpha=0.5),
        run_record("mixing", alpha=0.5, n_synthetic=12),
        run_record("mixing", alpha=0.5, settings={"fit.lr": 0.1}),
        run_record("mixing", alpha=0.5, source="dgfaces"),
        run_record("real_only", settings={"fit.lr": 0.5}),
    ]
    assert {family.name for family in families(grouped(records))} == {
        "test_resnet 32 px gray fit.lr=0.002, face_synthetics n_synthetic=24",
        "test_resnet 32 px gray fit.lr=0.002, face_synthetics n_synthetic=12",
        "test_resnet 32 px gray fit.lr=0.002, dgfaces",
        "test_resnet 32 px gray fit.lr=0.1, face_synthetics",
        "test_resnet 32 px gray fit.lr=0.5",
    }
    # The number of steps is a strategy's own, so these are one family.
    assert len(families(grouped([run_record(), run_record(settings={"fit.steps": 5, "fit.val_every": 5})]))) == 1


def test_networks_are_named_by_what_earlier_versions_had_too_and_mirrored_answers_are_compared_with_such() -> None:
    plain, heat, mirrored = run_record(), run_record(), run_record()
    heat.identity["model"]["head"] = "soft_argmax"
    mirrored.identity["mirror_test"] = True
    heads = {family.name for family in families(grouped([plain, heat]))}
    assert heads == {f"test_resnet 32 px gray model.head={head}" for head in ("regression", "soft_argmax")}
    looks = {family.name for family in families(grouped([plain, mirrored]))}
    assert looks == {f"test_resnet 32 px gray mirror_test={mirror}" for mirror in (False, True)}
    assert not plain.comparable_with(mirrored) and not plain.comparable_with(heat)


def test_names_say_no_more_than_tells() -> None:
    settings = [{"a": 1, "faces": {"real": "0123456789"}}, {"a": 2, "faces": {"real": "9876543210"}}]
    assert told_apart(settings, ["x", "x"]) == [" a=1", " a=2"]
    assert told_apart(settings, ["x", "y"]) == ["", ""]
    same = [{**of, "a": 1} for of in settings]
    assert told_apart(same, ["x", "x"]) == [" faces.real=01234567", " faces.real=98765432"]
    assert told_apart([*settings, {"b": 1}], ["x", "x", "x"])[2].startswith(" a=- b=1")


def test_baselines_are_floor_and_ceiling_at_the_same_budget_rule_and_steps() -> None:
    mine = run_record("label_adaptation", nme=5.0, selection="budget")
    floors = [run_record("synthetic_only", nme=8.0, selection=rule) for rule in ("real_val", "source_val")]
    ceilings = [
        run_record("real_only", nme=6.0, n_real=n, selection=rule, settings={"fit.steps": steps})
        for n, rule, steps in ((9, "budget", 4), (9, "real_val", 4), (5, "budget", 4), (9, "budget", 8))
    ]
    groups = grouped([mine, *floors, *ceilings])
    # A single seed's difference needs predictions, which these haven't; that is counted, and said once for each file.
    found, problems = comparisons(groups, "common")
    assert not found and problems[0] == "5 comparisons of a single seed left out: no predictions."
    assert len(problems) == 2 and "predictions.npz: no such file" in problems[1]
    with pytest.raises(UserError, match="no such file"):
        difference(groups[0], groups[1], "common")
    pairs = seeds("label_adaptation", [5.0, 5.1], selection="budget")
    pairs += [replace(run, seed=seed, key=f"{run.key}{seed}") for run in floors + ceilings for seed in (0, 1)]
    (family,) = families(grouped(pairs))
    of = [c.baseline.first for c in comparisons(family.groups, "common")[0] if c.group.first.recipe == "label_adaptation"]
    assert [(run.recipe, run.selection, run.n_real_train, run.scratch_steps) for run in of] == [
        ("synthetic_only", "source_val", 0, 4),
        ("real_only", "budget", 9, 4),
    ]


def test_another_look_is_a_strategy_of_its_own_in_the_same_table() -> None:
    figures = {"synthetic_only": 9.0, "fourier": 8.0, "histogram": 8.5, "real_only": 6.0}
    records = [
        run_record("synthetic_only", nme=figures["synthetic_only"]),
        *(run_record("synthetic_only", nme=figures[look], appearance=look) for look in ("fourier", "histogram")),
        run_record("mixing", nme=5.0, alpha=0.5, appearance="fourier"),
        run_record("label_adaptation", nme=7.0, appearance="fourier"),
        run_record(nme=figures["real_only"]),
    ]
    (family,) = families(grouped(records))
    assert "fourier" not in family.name and len(family.groups) == 6
    assert [(g.label, g.budget.n) for g in family.groups if g.first.recipe == "synthetic_only"] == [
        ("synthetic_only", 0), ("synthetic_only + fourier", 9), ("synthetic_only + histogram", 9),
    ]  # fmt: skip
    multi = [replace(record, seed=seed) for record in records for seed in (0, 1)]
    (family,) = families(grouped(multi))
    found = {(c.group.label, c.baseline.label) for c in comparisons(family.groups, "common")[0]}
    others = (
        "synthetic_only + fourier",
        "synthetic_only + histogram",
        "mixing α=0.5 + fourier",
        "label_adaptation + fourier",
    )
    pairs = {(name, base) for name in others for base in ("synthetic_only", "real_only")}
    assert found == {*pairs, ("real_only", "synthetic_only")}, "never is another look the floor"
    (table,) = strategies_tables(records, "common")
    cells = {row[0]: [None if v is None else v.mean for v in row[5:]] for row in table.rows}
    assert cells["synthetic_only"] == [9.0, None] and cells["synthetic_only + fourier"] == [None, 8.0]
    assert cells["real_only"] == [None, 6.0] and set(cells) == {"synthetic_only", *others, "real_only"}
    low, high = ends(family, "common", STRATEGIES)
    assert low is not None and high is not None and (low.label, high.label) == ("synthetic_only", "real_only")
    assert gap_parts(multi, "common", STRATEGIES) == [], "its label_adaptation closes more than a label gap"
    (line,) = [note for note in run_table(described(records[1])).notes if note.startswith("fourier")]
    assert "beta 0.1: 50% of the synthetic training pictures have the look of 9 real training images" in line


def described(record: RunRecord) -> RunRecord:
    """With what its note is made of."""
    config = {"synthetic": {"appearance": "fourier", "appearance_beta": 0.1, "appearance_share": 0.5}}
    return replace(record, config=config, data={**record.data, "real": replace(record.data["real"], n_train=9)})


def test_a_longer_network_has_the_better_baseline_of_two_lengths_whatever_its_name() -> None:
    protocol = Strategies(order=("renderings", "pretrained", "photographs"), floor="renderings", ceiling="photographs")
    names = {"synthetic_only": "renderings", "fine_tuning": "pretrained", "real_only": "photographs"}
    records = [*seeds("synthetic_only", [9.0, 9.1]), *seeds("fine_tuning", [6.0, 6.2], answering=6)]
    short = seeds("real_only", [6.5, 6.6])
    long = seeds("real_only", [6.3, 6.4], settings={"fit.steps": 6})
    renamed = [replace(run, recipe=names[run.recipe]) for run in records + short]
    assert compared(renamed, strategies=protocol)["pretrained", "photographs", 4] == "shorter"
    renamed += [replace(run, recipe="photographs") for run in long]
    found = compared(renamed, strategies=protocol)
    assert found["pretrained", "photographs", 6] == "both" and ("pretrained", "photographs", 4) not in found
    # Without a validation NME a baseline isn't the better one.
    blind = [replace(run, metrics={**run.metrics, "val/nme": None}) for run in renamed if run.scratch_steps == 6]
    found = compared([run for run in renamed if run.scratch_steps == 4] + blind, strategies=protocol)
    assert ("pretrained", "photographs", 4) in found


def test_verdicts_and_their_correction() -> None:
    a, b = (grouped(seeds("real_only", figures))[0] for figures in ([5.0, 5.1, 5.3], [6.0, 6.2, 6.2]))
    found = difference(a, b, "common")
    assert found is not None and found.verdict is Verdict.BETTER and found.seeds == (0, 1, 2)
    back = difference(b, a, "common")
    assert back is not None and back.verdict is Verdict.WORSE and back.interval.mean == -found.interval.mean
    same = difference(a, a, "common")
    assert same is not None and same.verdict is Verdict.OPEN
    assert difference(a, b, "private") is None


def test_alpha_needs_several_and_a_rule_that_may_pick() -> None:
    several = [*seeds("mixing", [8.0, 7.0], alpha=0.25), *seeds("mixing", [7.5, None], alpha=0.75)]
    (best,) = picked_alphas(grouped(several))
    assert [run.alpha for run in best.runs] == [0.75, 0.25], "no value isn't the best"
    assert sorted(group.first.alpha or 0 for group in best.picked_from) == [0.25, 0.75]
    assert picked_alphas(grouped(several[:2])) == []
    budget = [run for alpha in (0.25, 0.75) for run in seeds("mixing", [8.0], alpha=alpha, selection="budget")]
    assert picked_alphas(grouped(budget)) == []
    unlike = [*several[:2], *seeds("mixing", [7.5, 7.5], alpha=0.75, settings={"adapter.kind": "shift"})]
    assert picked_alphas(grouped(unlike)) == [], "of another adapter"


def test_an_unknown_start_is_said_and_sorts_behind_the_known() -> None:
    records = [run_record(n_real=9), run_record(n_real=5), run_record(n_real=5, start=UNKNOWN)]
    plain, started = strategies_tables(records, "common")
    assert [column.header for column in plain.columns][-2:] == ["5 real", "9 real"]
    assert [column.header for column in started.columns][-1] == ">= 5 real" and "init_from=abcdef01" in started.title
    assert [row[2] for row in runs_table(records).cells()] == ["5 + 6", ">= 5 + 6", "9 + 6"]
    assert "unknown start" in " ".join(run_table(records[2]).notes) and "unknown" not in " ".join(
        run_table(records[0]).notes
    )


def test_inherited_steps_are_not_taken_for_further_training() -> None:
    """With 100 steps in the checkpoint that all start from, the answering networks have 4, 4 and 5 of their own."""
    records = seeds("real_only", [6.0, 6.1], start=KNOWN)
    records += seeds("real_only", [6.2, 6.3], start=KNOWN, settings={"fit.steps": 5})
    records += seeds("label_adaptation", [7.0, 7.1], start=KNOWN)
    records += seeds("fine_tuning", [5.0, 5.1], start=KNOWN, answering=105)
    assert grouped(records)[0].budget == (916, False)
    assert compared(records) == {
        ("label_adaptation", "real_only", 4): None,
        ("fine_tuning", "real_only", 4): "both",
    }


def test_records_are_written_and_read_back(tmp_path: Path) -> None:
    records = [run_record("mixing", alpha=0.5, start=KNOWN), run_record(nme={"val": None, "common": 5.0})]
    folders = write(tmp_path, records)
    found = read_records(tmp_path)
    assert {r.key for r in found.records} == {r.key for r in records} and not found.passed_over and found.repeated == 0
    for folder, record in zip(folders, records, strict=True):
        (same,) = (r for r in found.records if r.folder == folder)
        assert same == record and same.group_key == record.group_key
    with pytest.raises(UserError, match="no such folder"):
        read_records(tmp_path / "none")
