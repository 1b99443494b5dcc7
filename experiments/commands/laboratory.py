"""``domaingap laboratory``: does the suite measure what it should? Generated faces with one gap at a time, and the answers
that are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from domaingap.errors import UserError, trouble
from domaingap.hashing import write_atomically, write_json
from domaingap.progress import console
from domaingap.study.environment import git_commit
from domaingap.study.laboratory import (
    checks_table,
    network_checks,
    nme_table,
    plain_check,
    plain_condition,
    read_conditions,
)
from domaingap.study.laboratory_pairs import pairs_of, pairs_settings
from domaingap.study.launchers.local import launcher_for
from domaingap.study.plan import finished_runs, planned_runs
from domaingap.study.run import open_real, open_synthetic
from domaingap.study.tables import markdown, print_tables
from domaingap.study.workers import run_all
from experiments.commands.report import STRATEGIES
from experiments.recipes import RECIPES

SHORT = (
    "--finetune.steps=2", "--synthetic.generated.n=240", "--synthetic.val_split=0.1667", "--real.generated.n_train=240",
    "--real.n_val=40",
    "--real.generated.n_test=60", "--crop.size=32", "--model.backbone=test_resnet", "--fit.steps=8", "--fit.val_every=4",
    "--fit.batch_size=16", "--fit.precision=32", "--adapter.epochs=20", "--wandb.mode=off",
)  # fmt: skip
"""What --short makes smaller: 200 faces of each domain to train on, and too few steps for any network's answer."""
SHORT_SEEDS = 2


def laboratory(file: Path, short: bool, check_only: bool, jobs: int | None, overrides: Sequence[str]) -> int:
    """Run the study, then print and write what it should have found and what it did.

    Args:
        file: the study's sweep file.
        short: a small one, for a look at whether it works: two seeds, few faces and steps.
        check_only: train nothing; check the runs that are finished.
        jobs: processes; one a core by default.
        overrides: options of the runs, over the file.

    Returns:
        0, whatever the checks say, as a miss is a finding; 1 where some runs failed.
    """
    small = [*SHORT, f"--runs_dir={Path('runs') / f'{file.stem}-short'}"] if short else []
    plan = planned_runs(file, [*small, *overrides], RECIPES)
    if short:
        seeds = sorted({run.settings.seed for run in plan})[:SHORT_SEEDS]
        plan = [run for run in plan if run.settings.seed in seeds]
    for run in plan:
        if run.settings.real.source != "generated_target":
            raise UserError(f"{file}: a laboratory is of generated faces; set real.source to generated_target")
    folder = plan[0].settings.runs_dir
    failed = []
    if not check_only:
        before = finished_runs(folder)
        done = sum(run.key in before for run in plan)
        console.print(f"{file}: {len(plan)} runs, {done} of them finished before; files go to {folder}", markup=False)
        failed = run_all(plan, before, launcher=launcher_for(jobs))
    finished = finished_runs(folder)
    conditions = read_conditions(plan, {run.key: finished[run.key] for run in plan if run.key in finished}, folder)
    checks, pairs = [], []
    for condition in conditions:
        checks += network_checks(condition, STRATEGIES)
        if "label_gap" in condition.gaps:
            settings = pairs_settings(condition, plan)
            found = pairs_of(condition, settings, open_real(settings), open_synthetic(settings))
            pairs += [found] if found.rows else []
            checks += found.checks()
    tables = [checks_table(checks, short), nme_table(conditions, STRATEGIES), *(of.table() for of in pairs)]
    content = {
        "file": str(file),
        "short": short,
        "git_commit": git_commit(),
        "checks": [plain_check(check) for check in checks],
        "conditions": {condition.name: plain_condition(condition) for condition in conditions},
        "pairs": [of.plain() for of in pairs],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "laboratory.json", content)
        write_atomically(folder / "laboratory.md", markdown(tables))
    except OSError as error:
        raise UserError(trouble(error, "can't be written", "--runs_dir", folder)) from error
    print_tables(tables)
    console.print(f"written to {folder / 'laboratory.json'} and {folder / 'laboratory.md'}", markup=False)
    return 1 if failed else 0
